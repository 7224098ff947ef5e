/* Five nodes under load that die at each write of the log and each commit in turn, as leader and
 * while they start; all at once; and a leader that stops for a while and wakes: it answers nothing that is stale,
 * and takes the lead from nobody.
 *
 * ROUNDS in the environment: up to which call of each kind (1).
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/chaos_bed.h"
#include "tests/lib/unit.h"

#define READERS 4
#define TRIES 4

static unsigned rounds(void)
{
    const char *text = getenv("ROUNDS");
    return text ? (unsigned)atoi(text) : 1;
}

/* --- death at a call --- */

static void await_death(unsigned node, const char *order)
{
    uint64_t start = chaos_now_ms();
    int status;
    while (waitpid(chaos.bed.pids[node], &status, WNOHANG) != chaos.bed.pids[node]) {
        if (chaos_now_ms() - start > TESTBED_PATIENCE_S * 1000)
            testbed_fail(&chaos.bed, "node %u goes on, with the order: %s", node, order);
        usleep(10000);
    }
    chaos.bed.pids[node] = 0;
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
        testbed_fail(&chaos.bed, "node %u ended with status %d, with the order: %s", node, status, order);
}

static void return_of(unsigned node)
{
    chaos_order_disk(&chaos, node, NULL);
    testbed_start(&chaos.bed, node);
}

/* The leader dies at the n-th such call from now on, and another node at the n-th of its life. */
static void die_at(unsigned n, const char *call, const char *where, const char *how)
{
    char order[80];
    unsigned leader = chaos_await_leader(&chaos, NULL), other = 1 + (leader + chaos_below(&chaos, 4)) % CHAOS_NODES;
    snprintf(order, sizeof order, "%s %u %s %s\n", call, n, where, how);
    testbed_signal(&chaos.bed, other, SIGKILL);
    chaos_order_disk(&chaos, other, order);
    chaos_order_disk(&chaos, leader, order);
    testbed_start(&chaos.bed, other);
    await_death(leader, order);
    return_of(leader);
    await_death(other, order);
    return_of(other);
}

static void killed_at_every_call(void **state)
{
    (void)state;
    static const char *const log[] = {"KILL", "KILL_HALF", "KILL_AFTER"}, *const plain[] = {"KILL", "KILL_AFTER"};
    for (unsigned n = 1; n <= rounds(); n++) {
        for (unsigned i = 0; i < 3; i++) die_at(n, "write", "/log/", log[i]);
        for (unsigned i = 0; i < 2; i++) {
            die_at(n, "fdatasync", "/log/", plain[i]);
            die_at(n, "write", "data.mdb", plain[i]);
            die_at(n, "fdatasync", "data.mdb", plain[i]);
        }
    }
    chaos_goes_on(&chaos, CHAOS_ALL, "after deaths at each call");
}

/* --- all at once --- */

static void all_are_killed(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned node = 1; node <= CHAOS_NODES; node++) testbed_signal(&chaos.bed, node, SIGKILL);
        testbed_start_all(&chaos.bed);
        chaos_goes_on(&chaos, CHAOS_ALL, "after all were killed");
    }
}

/* --- a leader that stops --- */

/* Whether the others' leader stayed when it woke. */
static bool pause_leader(unsigned ms)
{
    pid_t readers[READERS];
    uint64_t term, later;
    char what[60];
    unsigned leader = chaos_await_leader(&chaos, NULL);
    snprintf(what, sizeof what, "the leader stopped for %u ms", ms);
    uint64_t since = chaos_now_ms();
    testbed_signal(&chaos.bed, leader, SIGSTOP);
    if (ms > 1000) chaos_goes_on(&chaos, CHAOS_ALL & ~(1u << leader), what);
    unsigned other = ms > 1000 ? chaos_await_leader(&chaos, &term) : 0; /* else it may lead on */
    uint64_t passed = chaos_now_ms() - since;
    if (passed < ms) usleep((unsigned)(ms - passed) * 1000);
    chaos_readers(&chaos, leader, readers, READERS);
    usleep(100000); /* they are there, waiting, when it wakes */
    testbed_signal(&chaos.bed, leader, SIGCONT);
    chaos_readers_end(&chaos, readers, READERS);
    chaos_goes_on(&chaos, CHAOS_ALL, "  awake again");
    unsigned now = chaos_await_leader(&chaos, &later);
    return !other || (now == other && later == term);
}

static void a_leader_that_stopped_is_not_stale(void **state)
{
    (void)state;
    static const unsigned pauses[] = {500, 1500, 4000, 12000, 30000};
    unsigned most = rounds() > 1 ? 5 : 3;
    for (unsigned i = 0; i < most; i++) {
        bool stays = false;
        for (unsigned attempt = 0; attempt < TRIES && !stays; attempt++) stays = pause_leader(pauses[i]);
        if (!stays) testbed_fail(&chaos.bed, "a leader that wakes after %u ms unseats the next one", pauses[i]);
    }
}

static int setup(void **state)
{
    (void)state;
    return chaos_begin(0, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(killed_at_every_call),
        cmocka_unit_test(all_are_killed),
        cmocka_unit_test(a_leader_that_stopped_is_not_stale),
        cmocka_unit_test(nothing_is_lost),
    };
    return cmocka_run_group_tests(tests, setup, chaos_end);
}
