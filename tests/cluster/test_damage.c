/* Damage of any kind, at random places, to the files of one of five nodes under load: bits turned,
 * pages gone back to what they were, sectors lost from the last write, files cut short,
 * in the log and in the state. Each time the node either repairs itself and has the same
 * root as the others again, or stops (or is quarantined) with words that say what to do,
 * and that works; what only others can know is named when the nodes' states are compared. It never dies of a signal or an assertion, never gives a wrong answer,
 * and the others go on; what was acknowledged meanwhile is on every node (tests/lib/chaos.h).
 *
 * Then the node alone: where a file is cut short, or damaged and repaired by nobody, the node names it before it stops
 * or goes on, or each row and record that was there is there still; and what it answers is what it answered before.
 *
 * DAMAGES=n: so many in the cluster (and as many starts of the node alone), SEED=n repeats them. Each kind takes its
 * turn, on the log and on the state. */
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "ledger/alarm.h"
#include "tests/lib/chaos_bed.h"
#include "tests/lib/damage.h"
#include "tests/lib/lone_node.h"
#include "tests/lib/unit.h"

#define BAD 4u
#define OTHERS (CHAOS_ALL & ~(1u << BAD))
#define FIRST 40 /* operations before the first damage */
#define LONG 100 /* damages, of a run that must make each kind wherever its turn comes */

static struct damage damage;
static struct damaged_node bad;
static struct lone_node lone;
static char record[ID_TEXT_SIZE];
static struct buffer content;
static unsigned damages = 2 * DAMAGE_KINDS, acknowledged; /* the latter of clusters that were put back */

static bool any_of_two(void) { return chaos_below(&chaos, 2) == 1; }

/* --- the cluster --- */

/* Whether it shows the record; not another one. */
static bool shows(unsigned seconds)
{
    int code = testbed_cli(&chaos.bed, &bad.out, &bad.errors,
                           "-i %s/doctor.key --via node-%u --timeout %u record show %s", chaos.bed.dir, BAD, seconds,
                           record);
    if (code == 0 && (bad.out.size < content.size || !memmem(bad.out.data, bad.out.size, content.data, content.size)))
        testbed_fail(&chaos.bed, "node %u shows another record", BAD);
    return code == 0;
}

/* A damaged row is an error until a scrub has come by; a damaged node may find out only now. */
static bool comes_to_show(void)
{
    for (uint64_t since = clock_monotonic_ns(); damaged_in_time(since);) {
        if (shows(5)) return true;
        if (damaged_has_ended(&bad) || damaged_is_quarantined(&bad)) return false;
        usleep(200000);
    }
    testbed_fail(&chaos.bed, "node %u shows no record: %s", BAD, bad.errors.data ? (const char *)bad.errors.data : "");
}

static void put_back(unsigned node)
{
    testbed_signal(&chaos.bed, node, SIGKILL);
    testbed_shell(&chaos.bed, "rm -rf %s/node-%u && cp -a %s/first/node-%u %s/", chaos.bed.dir, node, chaos.bed.dir,
                  node, chaos.bed.dir);
}

static void all_start(void)
{
    testbed_start_all(&chaos.bed);
    testbed_wait_ready(&chaos.bed, 60);
    chaos_load(&chaos);
}

/* All five as they were at first: after damage that only a new node could make up for. What was acknowledged since then
 * goes with that, and is looked for before. */
static void reset(void)
{
    chaos_check_on(&chaos, OTHERS);
    acknowledged += chaos_acknowledged(&chaos);
    chaos_forget(&chaos);
    for (unsigned node = 1; node <= CHAOS_NODES; node++) put_back(node);
    testbed_shell(&chaos.bed, "cp %s/first/old-* %s/", chaos.bed.dir, chaos.bed.dir);
    all_start();
}

static enum verdict damaged(bool log, enum damage_kind kind)
{
    struct victim v;
    damaged_stop(&bad, any_of_two() ? SIGTERM : SIGKILL);
    damage_make(&damage, &v, bad.folder, log, kind);
    chaos_goes_on(&chaos, OTHERS, "    without it");
    testbed_start(&chaos.bed, BAD);
    uint64_t since = chaos_now_ms();
    shows(1); /* what is damaged is asked for at once */
    enum verdict how = damaged_verdict(&bad);
    if (how == VERDICT_SET_BACK && !damaged_votes_again(&bad)) how = VERDICT_REFUSED;
    if (how != VERDICT_REFUSED && !comes_to_show()) how = VERDICT_REFUSED;
    chaos_went_on(&chaos, OTHERS, "    beside it", since);
    return how;
}

static void each_damage_is_repaired_or_refused(void **state)
{
    (void)state;
    unsigned counts[3] = {0}, anew = 0;
    unsigned first = chaos_below(&chaos, 2);
    for (unsigned i = 0; i < damages; i++) { /* each kind on log and state by turns */
        enum verdict how = damaged((i % DAMAGE_KINDS + i / DAMAGE_KINDS + first) % 2, damage.turn[i % DAMAGE_KINDS]);
        counts[how]++;
        bool whole = how != VERDICT_REFUSED || (damaged_rebuilt(&bad) && comes_to_show());
        if (!whole) {
            anew++;
            reset();
        }
        if (whole && any_of_two()) damage_keep_old(&damage, bad.folder, chaos.bed.dir);
    }
    printf("%u damages: %u repaired, %u refused, %u set back; %u times nothing but a new node\n", damages,
           counts[VERDICT_WHOLE], counts[VERDICT_REFUSED], counts[VERDICT_SET_BACK], anew);
}

/* Only an administrator does, and once it votes again. */
static void clear_set_back(void)
{
    if (damaged_is_set_back(&bad) && !testbed_life_has(&chaos.bed, BAD, "this node votes again")) return;
    json_t *rows = json_loadb((const char *)bad.out.data, bad.out.size, 0, NULL), *row;
    size_t i;
    json_array_foreach(rows, i, row) {
        long long entry = (long long)json_integer_value(json_object_get(row, "entry"));
        const char *kind = json_string_value(json_object_get(row, "kind"));
        if (entry == 0 || strcmp(kind, alarm_kind_text(ALARM_ROLLED_BACK)) != 0) continue;
        testbed_expect(&chaos.bed, 0, NULL, "-i %s alarm clear %lld --note 'it votes again'", chaos.bed.admin, entry);
    }
    json_decref(rows);
}

/* Whether no alarm is open; *since is now when others are than before: many take long, one after the other. */
static bool alarms_end(uint64_t *since)
{
    static struct buffer before;
    testbed_expect(&chaos.bed, 0, &bad.out, "-i %s/auditor.key --json alarm list", chaos.bed.dir);
    if (!bytes_equal(buffer_bytes(&bad.out), buffer_bytes(&before))) *since = clock_monotonic_ns();
    buffer_clear(&before);
    buffer_append_bytes(&before, buffer_bytes(&bad.out));
    clear_set_back();
    return chaos_mended(&chaos);
}

/* Until it has read all that it holds since its start, and no alarm is open; false: it found what it refuses. A pass of
 * the scrub may have begun in the node's last life. */
static bool finds_no_more(void)
{
    for (uint64_t since = clock_monotonic_ns(); damaged_in_time(since); usleep(100000)) {
        if (damaged_has_ended(&bad) || damaged_is_quarantined(&bad)) return false;
        bool read = testbed_life_count(&chaos.bed, BAD, " of the state checked") >= 2;
        if (read && alarms_end(&since)) return true;
    }
    testbed_fail(&chaos.bed, "node %u has not mended what it found: %s", BAD,
                 bad.out.data ? (const char *)bad.out.data : "");
}

static void await_refusal(void)
{
    uint64_t since = clock_monotonic_ns();
    while (!damaged_has_ended(&bad) && !damaged_is_quarantined(&bad)) {
        if (!damaged_in_time(since)) testbed_fail(&chaos.bed, "node %u goes on with another state", BAD);
        usleep(100000);
    }
}

/* A page of an earlier time is a good page, and no scrub finds it: the state digest tells its rows from the others'.
 * False: it names this node, which has stopped its work by now. */
static bool has_the_state_of_others(void)
{
    for (uint64_t since = clock_monotonic_ns(); damaged_in_time(since); usleep(200000)) {
        int code = testbed_cli(&chaos.bed, &bad.out, &bad.errors,
                               "-i %s/auditor.key --via node-1 --timeout 60 status --state-digest --wait 30",
                               chaos.bed.dir);
        const char *text = bad.out.data ? (const char *)bad.out.data : "";
        if (code == 0 && strstr(text, "all 5 nodes have the same state")) return true;
        if (code != 6) continue;
        if (!strstr(text, "COMPROMISED: node-4 (")) testbed_fail(&chaos.bed, "the wrong node is named: %s", text);
        await_refusal();
        return false;
    }
    testbed_fail(&chaos.bed, "the states were not compared: %s",
                 bad.errors.data ? (const char *)bad.errors.data : "");
}

/* What is found late may end it, too. */
static void nothing_is_lost_by_damage(void **state)
{
    (void)state;
    unsigned compared = 0;
    chaos_unload(&chaos);
    while (!finds_no_more() || (compared++, !has_the_state_of_others()))
        if (!damaged_rebuilt(&bad)) reset();
    printf("its state was another one than the others' %u times\n", compared - 1);
    chaos_check_mended(&chaos);
    printf("%u acknowledged in all\n", acknowledged + chaos_acknowledged(&chaos));
}

/* --- alone --- */

static void stand_alone(void)
{
    for (unsigned node = 1; node <= CHAOS_NODES; node++) testbed_signal(&chaos.bed, node, SIGKILL);
    put_back(BAD); /* what was damaged above may not be repaired everywhere */
    /* No page is of a later time than that. */
    testbed_shell(&chaos.bed, "cp %s/first/old-* %s/", chaos.bed.dir, chaos.bed.dir);
    lone_open(&lone, &bad);
}

/* Of the file: a part of what is written, of what is reserved, by turns. */
static off_t length_of(const struct victim *v, unsigned i, unsigned lengths)
{
    off_t most = i % 2 || v->used == 0 ? v->size : v->used;
    return most / (off_t)lengths * (off_t)i;
}

/* Each start names it; or nothing was there that is gone. Whoever lacks anything has it found by a scrub, too. */
static void files_cut_at_any_length(void **state)
{
    (void)state;
    struct victim v;
    unsigned lengths = damages < LONG ? damages / 2 : LONG, started = 0, tried = 0, harmless = 0;
    stand_alone();
    for (unsigned i = 0; i < 2 * lengths; i++) {
        bool log = i % 2;
        damage_choose(&damage, &v, bad.folder, log);
        off_t length = length_of(&v, i / 2, lengths);
        if (truncate(v.path, length) != 0) fail_test();
        printf("  %s: %lld of %lld bytes\n", v.path + strlen(chaos.bed.dir) + 1, (long long)length, (long long)v.size);
        fflush(stdout);
        bool found = lone_scrub_finds(&lone, &v);
        lone_compare(&lone);
        if (lone.differing[0] && !found)
            testbed_fail(&chaos.bed, "a scrub finds nothing, but these differ: %s", lone.differing);
        harmless += !found;
        started += lone_starts(&lone, log, log ? length < v.size : found);
        tried++;
    }
    printf("%u lengths: %u started, %u refused; %u times nothing was gone\n", tried, started, tried - started,
           harmless);
}

/* What nobody can know who has this disk only: the log without its last writes. The state as it was with an older meta
 * page of LMDB's, all of it: as after a crash, the log has the rest. And what only a replay of the ledger tells
 * (README): rows of the state, of an earlier time. Never another ledger. */
static bool only_others_know(bool log, enum damage_kind how)
{
    if (log)
        return how != DAMAGE_FLIP && how != DAMAGE_CUT && strcmp(lone.differing, "log ") == 0 &&
               lone_is_older(&lone, "log");
    bool tree = lone_differs(&lone, "tree"), checkpoint = lone_differs(&lone, "checkpoint");
    bool same = !tree && !lone_differs(&lone, "leaf") && !lone_differs(&lone, "attachment");
    return how == DAMAGE_STALE && (same || (lone_is_older(&lone, "leaf") && checkpoint && tree));
}

/* Damage where nobody repairs it: what reads it says so, and does not fall over, or all is there that was. */
static void damage_is_found_or_harmless(void **state)
{
    (void)state;
    struct victim v;
    unsigned tries = damages < LONG ? damages : 3 * damages, found = 0, harmless = 0, older = 0;
    for (unsigned i = 0; i < tries; i++) {
        bool log = i / DAMAGE_KINDS % 2;
        enum damage_kind how = damage.turn[i % DAMAGE_KINDS];
        if (!damage_make(&damage, &v, bad.folder, log, how)) continue;
        bool finds = lone_scrub_finds(&lone, &v);
        lone.differing[0] = '\0';
        if (!finds) lone_compare(&lone);
        bool known = lone.differing[0] && only_others_know(log, how);
        if (lone.differing[0] && !known)
            testbed_fail(&chaos.bed, "a scrub finds nothing, but these differ: %s", lone.differing);
        found += finds;
        harmless += !finds && !known;
        older += known;
        if (i % 3 == 0 && !known) lone_starts(&lone, log, finds);
        else lone_put_back(&lone);
    }
    printf("%u damages: %u found by a scrub, %u changed nothing that is read, %u for others to know\n",
           found + harmless + older, found, harmless, older);
}

/* Of all the above. One that could not be made is a fault of the test in its long version. */
static void each_kind_was_made(void **state)
{
    (void)state;
    bool all = true;
    for (unsigned how = 0; how < DAMAGE_KINDS; how++) {
        printf("  %s: of the state %u (and %u not made), of the log %u (%u)\n", damage_names[how],
               damage.made[false][how], damage.unmade[false][how], damage.made[true][how], damage.unmade[true][how]);
        for (int log = 0; log < 2; log++)
            all = all && damage.made[log][how] > 0 && (damages < LONG || damage.unmade[log][how] == 0);
    }
    if (!all && damages >= 2 * DAMAGE_KINDS) testbed_fail(&chaos.bed, "not every kind of damage was made");
}

static int begin(void **state)
{
    (void)state;
    const char *count = getenv("DAMAGES");
    char first[300];
    if (count) damages = (unsigned)strtoul(count, NULL, 10);
    chaos_prepare(&chaos, CHAOS_NODES, 1, false);
    damage_open(&damage, &chaos);
    damaged_open(&bad, &chaos, BAD);
    chaos.damaged = BAD;
    chaos.bed.extra = "--scrub-rate 65536 --scrub-pause 1 --map-gib 4";
    chaos_start(&chaos);
    for (unsigned i = 0; i < 2000; i++) {
        char line[40];
        snprintf(line, sizeof line, "line %u\n", i);
        buffer_append_text(&content, line);
    }
    buffer_append(&content, "", 1);
    testbed_record(&chaos.bed, record, chaos.patient, (const char *)content.data);
    content.size--;
    chaos_load(&chaos);
    chaos_goes_on(&chaos, CHAOS_ALL, "at first");
    testbed_shell(&chaos.bed, "mkdir %s/first", chaos.bed.dir);
    snprintf(first, sizeof first, "%s/first", chaos.bed.dir);
    damage_keep_old(&damage, bad.folder, first);
    while (chaos_acknowledged(&chaos) < FIRST) usleep(20000);
    chaos_unload(&chaos);
    for (unsigned node = 1; node <= CHAOS_NODES; node++)
        testbed_signal(&chaos.bed, node, SIGTERM);
    testbed_shell(&chaos.bed, "cp -a %s/node-[1-5] %s/first/", chaos.bed.dir, chaos.bed.dir);
    chaos.pause_ms = 300;
    all_start();
    damage_keep_old(&damage, bad.folder, chaos.bed.dir);
    return 0;
}

static int end(void **state)
{
    (void)state;
    chaos_close(&chaos);
    lone_close(&lone);
    damaged_close(&bad);
    buffer_free(&content);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_damage_is_repaired_or_refused),
        cmocka_unit_test(nothing_is_lost_by_damage),
        cmocka_unit_test(files_cut_at_any_length),
        cmocka_unit_test(damage_is_found_or_harmless),
        cmocka_unit_test(each_kind_was_made),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
