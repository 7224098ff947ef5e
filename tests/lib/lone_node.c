#include "tests/lib/lone_node.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/lib/unit.h"

/* --- what it holds --- */

/* Everything that is stored, as text; damage in the log is a line more than there was. */
static void dump_all(struct lone_node *l, const char *to)
{
    testbed_shell(l->bed,
                  "rm -rf %s/%s; mkdir %s/%s; for t in $(%s/consiliumd dump list | awk '{print $1}'); do "
                  "%s/consiliumd dump $t --dir %s 2>/dev/null | "
                  "if [ $t = log ]; then grep -v '(damaged)'; else cat; fi >%s/%s/$t; done; true",
                  l->bed->dir, to, l->bed->dir, to, testbed_build(), testbed_build(), l->node->folder, l->bed->dir, to);
}

void lone_compare(struct lone_node *l)
{
    char command[800];
    dump_all(l, "now");
    snprintf(command, sizeof command, "cd %s/before && for t in *; do cmp -s $t ../now/$t || printf '%%s ' $t; done",
             l->bed->dir);
    FILE *from = popen(command, "r");
    size_t size = from ? fread(l->differing, 1, sizeof l->differing - 1, from) : 0;
    if (!from || pclose(from) < 0) testbed_fail(l->bed, "%s failed", command);
    l->differing[size] = '\0';
}

bool lone_differs(const struct lone_node *l, const char *table)
{
    char with_space[40];
    snprintf(with_space, sizeof with_space, "%s ", table);
    const char *at = strstr(l->differing, with_space);
    return at && (at == l->differing || at[-1] == ' ');
}

bool lone_is_older(const struct lone_node *l, const char *table)
{
    char path[330];
    snprintf(path, sizeof path, "%s/before/%s", l->bed->dir, table);
    struct buffer before = damage_load(l->bed, path);
    snprintf(path, sizeof path, "%s/now/%s", l->bed->dir, table);
    struct buffer now = damage_load(l->bed, path);
    bool older = now.size < before.size && (now.size == 0 || memcmp(now.data, before.data, now.size) == 0);
    buffer_free(&before);
    buffer_free(&now);
    return older;
}

/* --- what it says --- */

static bool says_one_of(const struct lone_node *l, const char *const *words)
{
    for (; *words; words++)
        if (testbed_life_has(l->bed, l->number, *words)) return true;
    return false;
}

/* What is wrong, by the file's name or what it is: the log, the state. */
static bool is_named(const struct lone_node *l, bool log)
{
    static const char *const of_log[] = {"the log is damaged after block", "blocks are damaged", "of a torn tail",
                                         "term, vote or cosigned mark may be lost", "the last compaction is damaged",
                                         "no segment of the log has a readable header", "records are damaged", NULL};
    static const char *const of_state[] = {"data.mdb is damaged", "cannot start: cannot open the",
                                           "has no readable format mark", "the state is empty", "data.mdb: ",
                                           "/state: ", "ALARM: ", "QUARANTINED", "is damaged", "can't be read", NULL};
    return says_one_of(l, log ? of_log : of_state);
}

static const char *said(const struct lone_node *l) { return l->errors.data ? (const char *)l->errors.data : ""; }

/* Asks until it answers, or has ended: of itself, never of others. */
static bool is_asked(struct lone_node *l, const char *words)
{
    for (uint64_t since = clock_monotonic_ns(); damaged_in_time(since);) {
        int code = testbed_cli(l->bed, &l->out, &l->errors, "--via node-%u --timeout 5 %s", l->number, words);
        if (l->out.size > 0 || strstr(said(l), "no co-signed checkpoint")) return code == 0 || code == 5;
        if (damaged_has_ended(l->node)) return false;
        usleep(50000);
    }
    testbed_fail(l->bed, "node %u does not answer: %s", l->number, said(l));
}

static bool its_row(struct lone_node *l, char *size, size_t size_room, char *root, size_t root_room)
{
    char path[64];
    if (!is_asked(l, "--json status")) return false;
    snprintf(path, sizeof path, "members.%u.size", l->number - 1);
    testbed_json(&l->out, path, size, size_room);
    snprintf(path, sizeof path, "members.%u.root", l->number - 1);
    testbed_json(&l->out, path, root, root_room);
    return true;
}

/* The ledger that it shows is the one it had, or a beginning of it, and then it says why. */
static void answers_as_before(struct lone_node *l, bool log)
{
    char size[24], root[sizeof l->root];
    if (!its_row(l, size, sizeof size, root, sizeof root)) return;
    bool whole = strcmp(size, l->size) == 0;
    if (strtoull(size, NULL, 10) > strtoull(l->size, NULL, 10) || (whole && strcmp(root, l->root) != 0))
        testbed_fail(l->bed, "node %u shows another ledger: %s leaves, root %s", l->number, size, root);
    if (!whole && !is_named(l, log)) testbed_fail(l->bed, "node %u lacks leaves, and does not say so", l->number);
    if (!is_asked(l, "checkpoint")) return;
    if (l->out.size > 0 && !bytes_equal(buffer_bytes(&l->out), buffer_bytes(&l->checkpoint)))
        testbed_fail(l->bed, "node %u shows another checkpoint: %s", l->number, (const char *)l->out.data);
    if (l->out.size == 0 && !is_named(l, log))
        testbed_fail(l->bed, "node %u lost its checkpoint without a word", l->number);
}

/* After it ran: no leaf but those it had, or one that it calls damaged itself; a dump may end within one. */
static void holds_no_other_leaf(struct lone_node *l)
{
    testbed_shell(l->bed,
                  "{ %s/consiliumd dump leaf --dir %s 2>/dev/null || echo '(damaged: ends)'; } | grep -v '(damaged: ' "
                  ">%s/leaves; ! grep -vxFf %s/before/leaf %s/leaves >&2",
                  testbed_build(), l->node->folder, l->bed->dir, l->bed->dir, l->bed->dir);
}

/* --- its starts --- */

void lone_put_back(struct lone_node *l)
{
    testbed_signal(l->bed, l->number, SIGKILL);
    testbed_shell(l->bed, "rm -rf %s && cp -a %s/good %s", l->node->folder, l->bed->dir, l->node->folder);
}

static bool listens(struct lone_node *l)
{
    for (uint64_t since = clock_monotonic_ns(); damaged_in_time(since); usleep(20000)) {
        if (damaged_has_ended(l->node)) return false;
        if (testbed_life_has(l->bed, l->number, "listening on")) return true;
    }
    testbed_fail(l->bed, "node %u neither listens nor ends", l->number);
}

bool lone_starts(struct lone_node *l, bool log, bool must_name)
{
    testbed_start(l->bed, l->number);
    bool listened = listens(l);
    if (listened) answers_as_before(l, log);
    for (uint64_t since = clock_monotonic_ns(); must_name && !is_named(l, log); usleep(50000)) {
        if (damaged_has_ended(l->node)) break;
        if (!damaged_in_time(since) || testbed_life_count(l->bed, l->number, " of the state checked") > 2) break;
    }
    if (must_name && !is_named(l, log)) /* one that has ended, too */
        testbed_fail(l->bed, "node %u is damaged (%s), and does not say where", l->number, l->differing);
    damaged_has_ended(l->node); /* it may just have */
    testbed_signal(l->bed, l->number, SIGKILL);
    if (listened) holds_no_other_leaf(l);
    lone_put_back(l);
    return listened;
}

bool lone_scrub_finds(struct lone_node *l, const struct victim *v)
{
    int code = damaged_consiliumd(l->node, "scrub --now");
    if (code != 0 && code != 1 && code != 6)
        testbed_fail(l->bed, "scrub of %s: exit code %d", v->path, code);
    return code == 6;
}

void lone_open(struct lone_node *l, struct damaged_node *node)
{
    *l = (struct lone_node){.node = node, .bed = node->bed, .number = node->number};
    assert_int_equal(damaged_consiliumd(node, "scrub --now"), 0);
    testbed_shell(l->bed, "cp -a %s %s/good", node->folder, l->bed->dir);
    dump_all(l, "before");
    testbed_start(l->bed, l->number);
    if (!listens(l) || !its_row(l, l->size, sizeof l->size, l->root, sizeof l->root) || !is_asked(l, "checkpoint"))
        testbed_fail(l->bed, "node %u does not answer alone", l->number);
    buffer_append_bytes(&l->checkpoint, buffer_bytes(&l->out));
    lone_put_back(l);
    lone_compare(l);
    if (l->differing[0] || l->checkpoint.size == 0) testbed_fail(l->bed, "what node %u holds changes", l->number);
}

void lone_close(struct lone_node *l)
{
    buffer_free(&l->checkpoint);
    buffer_free(&l->out);
    buffer_free(&l->errors);
}
