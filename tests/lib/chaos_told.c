#include "tests/lib/chaos_internal.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

unsigned chaos_acknowledged(const struct chaos *c)
{
    unsigned count = 0;
    for (unsigned i = 1; i <= CHAOS_CLIENTS; i++) count += atomic_load(&c->shared->clients[i].count);
    return count;
}

const char *chaos_refusal(const struct chaos *c, unsigned client)
{
    const struct client *own = &c->shared->clients[client];
    return atomic_load(&own->refused) ? own->refusal : NULL;
}

uint64_t chaos_longest_gap(const struct chaos *c)
{
    uint64_t longest = 0;
    for (unsigned i = c->bed.n + 1; i <= CHAOS_CLIENTS; i++) {
        const struct client *own = &c->shared->clients[i];
        unsigned count = atomic_load(&own->count);
        for (unsigned j = 1; j < count; j++) {
            uint64_t gap = own->told[j].ended_ms - own->told[j - 1].ended_ms;
            if (gap > longest) longest = gap;
        }
    }
    return longest;
}

static int compare_ms(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Adds what this client's operations since then took; how many they are. */
static unsigned times_since(const struct client *own, uint64_t *ms, size_t *count, size_t room, uint64_t since_ms)
{
    unsigned found = 0;
    for (unsigned i = atomic_load(&own->count); i-- > 0 && own->told[i].begun_ms >= since_ms; found++)
        if (*count < room) ms[(*count)++] = own->told[i].ended_ms - own->told[i].begun_ms;
    return found;
}

void chaos_measure(struct chaos *c, struct chaos_times *out, unsigned each, uint64_t since_ms)
{
    static uint64_t ms[1 << 16];
    unsigned least;
    size_t count;
    do {
        sleep_ms(20);
        chaos_look_for_failure(c);
        if (chaos_now_ms() - since_ms > TESTBED_PATIENCE_S * 1000)
            testbed_fail(&c->bed, "seed %llu: not all clients get on", (unsigned long long)c->seed);
        least = UINT_MAX;
        count = 0;
        for (unsigned i = 1; i <= CHAOS_CLIENTS; i++) {
            unsigned own = times_since(&c->shared->clients[i], ms, &count, sizeof ms / sizeof ms[0], since_ms);
            if (own < least) least = own;
        }
    } while (least < each);
    qsort(ms, count, sizeof ms[0], compare_ms);
    *out = (struct chaos_times){(unsigned)count, ms[count / 2], ms[count - 1 - count / 100], ms[count - 1]};
}

/* The last thing this client was told that began at or after `since_ms`; NULL: nothing. */
static const struct told *told_since(const struct chaos *c, unsigned client, uint64_t since_ms)
{
    const struct client *own = &c->shared->clients[client];
    unsigned count = atomic_load(&own->count);
    return count && own->told[count - 1].begun_ms >= since_ms ? &own->told[count - 1] : NULL;
}

bool chaos_gone_on(struct chaos *c, unsigned nodes, uint64_t since_ms)
{
    bool all = true, any = false;
    chaos_look_for_failure(c);
    for (unsigned i = 1; i <= CHAOS_CLIENTS; i++) {
        bool told = told_since(c, i, since_ms) != NULL;
        any = any || told;
        if (i <= c->bed.n && (nodes >> i & 1)) all = all && told;
    }
    return nodes ? all : any;
}

uint64_t chaos_went_on(struct chaos *c, unsigned nodes, const char *what, uint64_t since_ms)
{
    for (uint64_t start = chaos_now_ms(); !chaos_gone_on(c, nodes, since_ms); sleep_ms(20))
        if (chaos_now_ms() - start > TESTBED_PATIENCE_S * 1000)
            testbed_fail(&c->bed, "seed %llu: %s: work does not go on", (unsigned long long)c->seed, what);
    uint64_t ms = chaos_now_ms() - since_ms;
    printf("%s: goes on after %llu ms\n", what, (unsigned long long)ms);
    fflush(stdout);
    return ms;
}

uint64_t chaos_goes_on(struct chaos *c, unsigned nodes, const char *what)
{
    return chaos_went_on(c, nodes, what, chaos_now_ms());
}

/* The clients may still wait for what they asked before. */
static void probe(struct chaos *c, unsigned node, const char *what)
{
    struct buffer out = {0};
    int write = testbed_cli(&c->bed, &out, NULL, "-i %s/doctor.key --via node-%u --timeout 1 event add %s probe p%llu",
                            c->bed.dir, node, c->patient, (unsigned long long)chaos_now_ms());
    int read = testbed_cli(&c->bed, &out, NULL, "-i %s/doctor.key --via node-%u --timeout 1 record show %s", c->bed.dir,
                           node, c->shared->clients[node].record);
    if (write == 0 || read == 0)
        testbed_fail(&c->bed, "seed %llu: %s: node %u %s", (unsigned long long)c->seed, what, node,
                     write == 0 ? "acknowledged an event" : "opened a record");
    buffer_free(&out);
}

void chaos_was_silent(struct chaos *c, unsigned nodes, uint64_t since_ms, const char *what)
{
    static const char *const kinds[] = {"an event", "a new version", "a record's content"};
    unsigned probed = 0;
    chaos_look_for_failure(c);
    for (unsigned i = 1; i <= c->bed.n; i++)
        if (nodes >> i & 1 && (!probed || chaos_below(c, 2))) probed = i;
    if (probed) probe(c, probed, what);
    for (unsigned i = 1; i <= c->bed.n; i++) {
        if (!(nodes >> i & 1)) continue;
        const struct told *told = told_since(c, i, since_ms);
        if (told)
            testbed_fail(&c->bed, "seed %llu: %s: node %u acknowledged %s %u, begun after %llu ms of it",
                         (unsigned long long)c->seed, what, i, kinds[told->kind], told->number,
                         (unsigned long long)(told->begun_ms - since_ms));
    }
}

void chaos_forget(struct chaos *c)
{
    chaos_unload(c);
    for (unsigned i = 1; i <= CHAOS_CLIENTS; i++) {
        atomic_store(&c->shared->clients[i].count, 0);
        atomic_store(&c->shared->clients[i].content, 0);
    }
}
