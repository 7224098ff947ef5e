#include "tests/lib/chaos_internal.h"

#include <stdio.h>
#include <string.h>

#include "tests/lib/events.h"

#define VERSIONS 2u /* of each record, whose content is looked at on each node */

static const char *const actions[] = {"event.add", "record.update", "record.read"};

/* Each acknowledged operation is the entry that its client was told of. */
static void check_entries(struct chaos *c, const struct entries *entries, unsigned node)
{
    for (unsigned number = 1; number <= CHAOS_CLIENTS; number++) {
        const struct client *client = &c->shared->clients[number];
        for (unsigned i = 0; i < atomic_load(&client->count); i++) {
            const struct told *t = &client->told[i];
            const struct entry *e = entries_at(entries, t->entry);
            char object[sizeof e->object];
            if (t->kind == EVENT) snprintf(object, sizeof object, "c%u-%u", number, t->number);
            else snprintf(object, sizeof object, "%s", c->shared->clients[t->record].record);
            if (!e || !e->approved || strcmp(e->action, actions[t->kind]) != 0 || strcmp(e->object, object) != 0)
                testbed_fail(&c->bed, "seed %llu: node %u lost %s of %s, acknowledged as entry %llu, which is %s of %s",
                             (unsigned long long)c->seed, node, actions[t->kind], object, (unsigned long long)t->entry,
                             e ? e->action : "not there", e ? e->object : "anything");
        }
    }
}

static void check_events(struct chaos *c, const struct entries *entries, unsigned node)
{
    struct events events = {0};
    events_of(&events, &c->bed, entries);
    const char *twice = events_twice(&events);
    if (twice) testbed_fail(&c->bed, "seed %llu: node %u has %s twice", (unsigned long long)c->seed, node, twice);
    events_free(&events);
}

/* What the node shows of one record, or of one version of it. */
static unsigned content_of(struct chaos *c, unsigned node, const struct client *client, uint64_t version)
{
    struct buffer out = {0};
    char option[40] = "";
    unsigned shown = 0;
    if (version) snprintf(option, sizeof option, "--version %llu", (unsigned long long)version);
    testbed_expect(&c->bed, 0, &out, "-i %s/doctor.key --via node-%u record show %s %s", c->bed.dir, node,
                   client->record, option);
    buffer_append(&out, "", 1);
    if (sscanf((const char *)out.data, "%u", &shown) != 1)
        testbed_fail(&c->bed, "seed %llu: node %u shows no number: %s", (unsigned long long)c->seed, node,
                     (const char *)out.data);
    buffer_free(&out);
    return shown;
}

/* Some of the versions that were acknowledged, which have been overtaken since: their content. */
static void check_versions(struct chaos *c, unsigned node, const struct client *client, uint64_t *random)
{
    unsigned count = atomic_load(&client->count), looked = 0;
    for (unsigned tries = 0; count && tries < 40 && looked < VERSIONS; tries++) {
        const struct told *t = &client->told[(chaos_random(random) >> 33) % count];
        if (t->kind != UPDATE) continue;
        unsigned shown = content_of(c, node, client, t->version);
        if (shown != t->number)
            testbed_fail(&c->bed, "seed %llu: node %u shows %u in version %llu of %s, which was acknowledged with %u",
                         (unsigned long long)c->seed, node, shown, (unsigned long long)t->version, client->record,
                         t->number);
        looked++;
    }
}

static void check_records(struct chaos *c, unsigned node)
{
    uint64_t random = c->seed + node;
    for (unsigned i = 1; i <= CHAOS_CLIENTS; i++) {
        struct client *client = &c->shared->clients[i];
        unsigned least = atomic_load(&client->content), shown = content_of(c, node, client, 0);
        if (shown < least)
            testbed_fail(&c->bed, "seed %llu: node %u shows version %u of record %u, but %u was acknowledged",
                         (unsigned long long)c->seed, node, shown, i, least);
        chaos_at_least(&client->content, shown); /* and the next node shows no other */
        check_versions(c, node, client, &random);
    }
}

/* All are reachable, with one root. */
static bool agree(struct chaos *c)
{
    json_t *status, *row;
    size_t i;
    chaos_status_row(c, 1, &status);
    json_t *rows = json_object_get(status, "members");
    bool same = json_array_size(rows) == c->bed.n;
    json_array_foreach(rows, i, row) {
        same = same && json_is_true(json_object_get(row, "reachable")) &&
               json_equal(json_object_get(row, "root"), json_object_get(json_array_get(rows, 0), "root")) &&
               json_equal(json_object_get(row, "size"), json_object_get(json_array_get(rows, 0), "size"));
    }
    json_decref(status);
    return same;
}

static void await_agreement(struct chaos *c)
{
    uint64_t start = chaos_now_ms();
    while (!agree(c)) {
        if (chaos_now_ms() - start > TESTBED_PATIENCE_S * 1000)
            testbed_fail(&c->bed, "seed %llu: the nodes' roots do not become one", (unsigned long long)c->seed);
        sleep_ms(100);
    }
}

/* How many of these there are. */
static size_t alarms(struct chaos *c, struct buffer *out, const char *which)
{
    testbed_expect(&c->bed, 0, out, "-i %s/auditor.key --json alarm list %s", c->bed.dir, which);
    json_t *rows = json_loadb((const char *)out->data, out->size, 0, NULL);
    if (!json_is_array(rows)) testbed_fail(&c->bed, "no list of alarms: %s", (const char *)out->data);
    size_t count = json_array_size(rows);
    json_decref(rows);
    return count;
}

bool chaos_mended(struct chaos *c)
{
    struct buffer out = {0};
    bool none = alarms(c, &out, "") == 0;
    buffer_free(&out);
    return none;
}

/* An alarm may still be open, which fails the verification: chaos_check says whether it has a cause. */
static void check_ledgers(struct chaos *c, struct buffer *out)
{
    struct buffer errors = {0};
    int code = testbed_cli(&c->bed, out, &errors, "-i %s/auditor.key verify --all", c->bed.dir);
    buffer_append(out, "", 1);
    if (code != 0 && !(code == 6 && strstr((const char *)out->data, "The ledgers are right, but a node is not")))
        testbed_fail(&c->bed, "seed %llu: verify --all ends with %d:\n%s", (unsigned long long)c->seed, code,
                     (const char *)out->data);
    buffer_free(&errors);
}

static void check_on(struct chaos *c, unsigned nodes)
{
    struct entries entries = {0};
    for (unsigned node = 1; node <= c->bed.n; node++) {
        if (!(nodes >> node & 1)) continue;
        entries_read(&entries, &c->bed, node);
        check_entries(c, &entries, node);
        check_events(c, &entries, node);
        check_records(c, node);
    }
    entries_free(&entries);
}

void chaos_check_on(struct chaos *c, unsigned nodes)
{
    chaos_unload(c);
    check_on(c, nodes);
    printf("%u acknowledged, all on each of %u nodes\n", chaos_acknowledged(c), (unsigned)__builtin_popcount(nodes));
    fflush(stdout);
}

static void check(struct chaos *c)
{
    struct buffer out = {0};
    chaos_unload(c);
    chaos_heal(c);
    testbed_wait_ready(&c->bed, 60);
    await_agreement(c);
    check_on(c, CHAOS_ALL);
    check_ledgers(c, &out);
    await_agreement(c);
    printf("%u acknowledged, all on each of %u nodes; one root, and it verifies\n", chaos_acknowledged(c), c->bed.n);
    fflush(stdout);
    buffer_free(&out);
}

/* Nobody lied, and no disk was set back: whoever says so is wrong. */
void chaos_check(struct chaos *c)
{
    struct buffer out = {0};
    check(c);
    if (alarms(c, &out, "--all") > 0)
        testbed_fail(&c->bed, "seed %llu: an alarm without a cause: %s", (unsigned long long)c->seed,
                     (const char *)out.data);
    buffer_free(&out);
}

void chaos_check_mended(struct chaos *c)
{
    chaos_unload(c);
    for (uint64_t start = chaos_now_ms(); !chaos_mended(c); sleep_ms(100))
        if (chaos_now_ms() - start > TESTBED_PATIENCE_S * 1000)
            testbed_fail(&c->bed, "seed %llu: an alarm stays open", (unsigned long long)c->seed);
    check(c);
}
