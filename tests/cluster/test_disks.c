/* Disks that fail under load, on five nodes: the n-th write or sync of log or state fails, of a follower, of
 * the leader, of all; the device is full; each sync of the leader takes half a second more, or hangs. A node whose
 * disk fails says so and stops in order; the others go on; nothing that was acknowledged is lost (tests/lib/chaos.h).
 *
 * FAULTS=n: so many calls that fail (4), SEED=n the same choices again.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/chaos_bed.h"
#include "tests/lib/reign.h"
#include "tests/lib/unit.h"

#define SLOW_EACH 6   /* operations of each client, and as many before, for comparison */
#define SLOW_ROUNDS 8 /* so many leaders may be unseated by a pause before they hand over */

static unsigned faults(void)
{
    const char *text = getenv("FAULTS");
    return text && *text ? (unsigned)atoi(text) : 4;
}

static unsigned below(unsigned n) { return chaos_below(&chaos, n); }

/* Whether it has ended; by itself, in order, and with words. */
static bool has_stopped(unsigned node, const char *order)
{
    int status;
    if (chaos.bed.pids[node] <= 0) return true;
    if (waitpid(chaos.bed.pids[node], &status, WNOHANG) != chaos.bed.pids[node]) return false;
    chaos.bed.pids[node] = 0;
    bool said = testbed_life_has(&chaos.bed, node, "nothing more is acknowledged") ||
                testbed_life_has(&chaos.bed, node, "cannot start: ");
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 1 || !said)
        testbed_fail(&chaos.bed, "node %u ended with status %d, %s, with the order: %s", node, status,
                     said ? "in words" : "without a word", order);
    return true;
}

static void await_stop(unsigned node, const char *order)
{
    for (uint64_t start = chaos_now_ms(); !has_stopped(node, order); usleep(20000))
        if (chaos_now_ms() - start > TESTBED_PATIENCE_S * 1000)
            testbed_fail(&chaos.bed, "node %u goes on, with the order: %s", node, order);
}

/* Waits for a node that stopped to be ready again with a good disk. */
static void return_of(unsigned node)
{
    chaos_order_disk(&chaos, node, NULL);
    testbed_start(&chaos.bed, node);
    testbed_wait_ready(&chaos.bed, 60);
}

static void a_call_fails(unsigned node, const char *call, const char *where, unsigned n, const char *error)
{
    char order[80];
    snprintf(order, sizeof order, "%s %u %s %s\n", call, n, where, error);
    printf("  node %u: %s", node, order);
    fflush(stdout);
    chaos_order_disk(&chaos, node, order);
    await_stop(node, order);
    chaos_goes_on(&chaos, CHAOS_ALL & ~(1u << node), "without the node whose disk fails");
    return_of(node);
}

static void calls_fail_one_after_another(void **state)
{
    (void)state;
    static const char *const calls[] = {"write", "fdatasync"}, *const places[] = {"/log/", "/state/"},
                     *const errors_of[] = {"EIO", "ENOSPC"};
    for (unsigned i = 0; i < faults(); i++) {
        unsigned leader = chaos_await_leader(&chaos, NULL), node = i % 2 ? leader : 1 + below(CHAOS_NODES);
        unsigned call = below(2);
        const char *error = errors_of[call ? 0 : below(2)]; /* a sync doesn't run out of space */
        a_call_fails(node, calls[call], places[below(2)], 1 + below(i < 4 ? 10 : 200), error);
    }
}

/* ---- the leader's disk is slow ---- */

/* The order holds until another one leads, and eight clients work through it. */
static void slow_round(unsigned leader, uint64_t term)
{
    static const char order[] = "fdatasync 1 / SLOW\n";
    struct chaos_times before, slow;
    chaos_measure(&chaos, &before, SLOW_EACH, chaos_now_ms());
    chaos_order_disk(&chaos, leader, order);
    uint64_t start = chaos_now_ms(), later = term;
    chaos_measure(&chaos, &slow, SLOW_EACH, start);
    for (; later == term; usleep(20000)) {
        chaos_await_leader(&chaos, &later);
        if (later == term && chaos_now_ms() - start > TESTBED_PATIENCE_S * 1000)
            testbed_fail(&chaos.bed, "node %u leads on with the order: %s", leader, order);
    }
    chaos_order_disk(&chaos, leader, NULL);
    printf("  8 clients, the leader's syncs take 500 ms more: %u operations, p50 %llu ms, p99 %llu ms, most %llu ms; "
           "before, %u: %llu, %llu, %llu ms; another one led after %llu ms at most\n", slow.count,
           (unsigned long long)slow.median_ms, (unsigned long long)slow.p99_ms, (unsigned long long)slow.most_ms,
           before.count, (unsigned long long)before.median_ms, (unsigned long long)before.p99_ms,
           (unsigned long long)before.most_ms, (unsigned long long)(chaos_now_ms() - start));
    fflush(stdout);
}

/* Who is to write through others waits for the leader's disk as long as it leads. So it hands over, on however slow a
 * machine: the next leader says that it was asked to. One that a pause unseated before that says nothing. */
static void the_leaders_disk_is_slow(void **state)
{
    (void)state;
    bool handed_over = false;
    chaos_unload(&chaos);
    chaos.patience_s = TESTBED_PATIENCE_S / 2; /* what would be given up counts, too */
    chaos_load(&chaos);
    for (unsigned i = 0; i < SLOW_ROUNDS && !handed_over; i++) {
        uint64_t term;
        unsigned leader = chaos_await_leader(&chaos, &term);
        slow_round(leader, term);
        reign_leader(&chaos.bed, term + 1, &handed_over);
        if (handed_over && !testbed_life_has(&chaos.bed, leader, "it hands leadership over"))
            testbed_fail(&chaos.bed, "node %u hands leadership over, and does not say that its disk is slow", leader);
    }
    if (!handed_over) testbed_fail(&chaos.bed, "no leader whose disk is slow hands over");
    chaos_unload(&chaos);
    chaos.patience_s = 0;
    chaos_load(&chaos);
    chaos_goes_on(&chaos, CHAOS_ALL, "with the leader's disk as it was");
}

/* Its heartbeats go on, and so would the others' waiting for it. Takes 10 s each: for the long version. */
static void the_leaders_disk_hangs(void **state)
{
    (void)state;
    static const char *const orders[] = {"fdatasync 1 /state/ HANG\n", "fdatasync 1 /log/ HANG\n"};
    for (unsigned i = 0; i < 2 && faults() > 4; i++) {
        unsigned leader = chaos_await_leader(&chaos, NULL);
        printf("  node %u, the leader: %s", leader, orders[i]);
        chaos_order_disk(&chaos, leader, orders[i]);
        for (uint64_t start = chaos_now_ms(); chaos_await_leader(&chaos, NULL) == leader; usleep(100000))
            if (chaos_now_ms() - start > TESTBED_PATIENCE_S * 1000)
                testbed_fail(&chaos.bed, "node %u leads on with the order: %s", leader, orders[i]);
        chaos_goes_on(&chaos, CHAOS_ALL & ~(1u << leader), "without the one whose disk hangs");
        chaos_order_disk(&chaos, leader, NULL);
        chaos_goes_on(&chaos, CHAOS_ALL, "with its disk as it was");
    }
}

/* What it waits for then never comes: it ends by itself all the same, and says why. */
static void who_has_a_disk_that_hangs_stops(void **state)
{
    (void)state;
    static const char *const orders[] = {"write 1 /state/ HANG\n", "fdatasync 1 /log/ HANG\n"};
    for (unsigned i = 0; i < 2 && (i == 0 || faults() > 4); i++) {
        unsigned node = 1 + chaos_below(&chaos, CHAOS_NODES);
        printf("  node %u, told to stop: %s", node, orders[i]);
        fflush(stdout);
        chaos_disk_ails(&chaos, node, orders[i]);
        chaos_goes_on(&chaos, CHAOS_ALL & ~(1u << node), "without the one whose disk hangs");
        chaos_stop(&chaos, node);
        if (!testbed_life_has(&chaos.bed, node, "the stop took longer than"))
            testbed_fail(&chaos.bed, "node %u had a disk that hangs, and stopped without a word of it", node);
        chaos_heal(&chaos);
        chaos_goes_on(&chaos, CHAOS_ALL, "with its disk as it was");
    }
}

static void all_are_full(void **state)
{
    (void)state;
    static const char order[] = "write 1 /log/ ENOSPC\n";
    unsigned stopped = 0;
    for (unsigned node = 1; node <= CHAOS_NODES; node++)
        chaos_order_disk(&chaos, node, order);
    uint64_t since = chaos_now_ms();
    for (uint64_t start = chaos_now_ms(); stopped < 3; usleep(20000)) {
        stopped = 0;
        for (unsigned node = 1; node <= CHAOS_NODES; node++)
            stopped += has_stopped(node, order);
        if (chaos_now_ms() - start > TESTBED_PATIENCE_S * 1000) testbed_fail(&chaos.bed, "nodes go on with full disks");
    }
    chaos_was_silent(&chaos, CHAOS_ALL, since, "all devices are full");
    if (chaos_gone_on(&chaos, 0, since)) testbed_fail(&chaos.bed, "all devices are full: a client was told of more");
    printf("  %u of %u nodes stopped, and nothing was acknowledged\n", stopped, CHAOS_NODES);
    /* Those that had nothing to write yet, too: one may be about to stop. */
    for (unsigned node = 1; node <= CHAOS_NODES; node++) {
        chaos_order_disk(&chaos, node, NULL);
        if (!has_stopped(node, order)) testbed_signal(&chaos.bed, node, SIGKILL);
        testbed_start(&chaos.bed, node);
    }
    testbed_wait_ready(&chaos.bed, 60);
    chaos_goes_on(&chaos, CHAOS_ALL, "with room on the devices again");
}

static int begin(void **state)
{
    (void)state;
    return chaos_begin(1, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_fail_one_after_another),
        cmocka_unit_test(the_leaders_disk_is_slow),
        cmocka_unit_test(the_leaders_disk_hangs),
        cmocka_unit_test(who_has_a_disk_that_hangs_stops),
        cmocka_unit_test(all_are_full),
        cmocka_unit_test(nothing_is_lost),
    };
    return cmocka_run_group_tests(tests, begin, chaos_end);
}
