/* Five nodes under load that die at each write of the log and each commit in turn, as leader and
 * while they start; at random, one or two of them and whoever leads; all at once; and a leader that stops for a while and wakes: it answers nothing that is stale,
 * and takes the lead from nobody.
 *
 * ROUNDS in the environment: up to which call of each kind (1), and so many times 10 deaths at random; from 2 on also
 * each call of a whole commit of LMDB, of which otherwise some are chosen. SEED=n the same choices again.
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
#define COMMITS 21  /* that are looked at to learn how many pages one writes */
#define SOME 2      /* deaths within a commit where not all are wanted */

static unsigned deaths;

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

/* As the node wrote down what it died at: of LMDB, the n-th page of a commit is that and no other. */
static void check_death(unsigned node, const char *order)
{
    char path[340], line[120] = "", last[120] = "", meant[16], died[16];
    unsigned n = 0, at = 0;
    snprintf(path, sizeof path, "%s.calls", chaos.orders[node]);
    FILE *f = fopen(path, "r");
    while (f && fgets(line, sizeof line, f)) snprintf(last, sizeof last, "%s", line);
    if (f) fclose(f);
    bool both = sscanf(order, "%15s %u", meant, &n) == 2 && sscanf(last, "%15s %u", died, &at) == 2;
    bool commit = both && (strcmp(meant, "page") == 0 || strcmp(meant, "meta") == 0);
    if (!both || (commit && strcmp(meant, died) != 0) || (commit && strcmp(meant, "page") == 0 && n != at))
        testbed_fail(&chaos.bed, "node %u died at \"%s\", with the order: %s", node, last, order);
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
    check_death(leader, order);
    return_of(leader);
    await_death(other, order);
    check_death(other, order);
    return_of(other);
    deaths += 2;
}

static void at_each_kind_of_call(unsigned n)
{
    static const char *const log[] = {"KILL", "KILL_HALF", "KILL_AFTER"}, *const plain[] = {"KILL", "KILL_AFTER"};
    for (unsigned i = 0; i < 3; i++) die_at(n, "write", "/log/", log[i]);
    for (unsigned i = 0; i < 2; i++) {
        die_at(n, "fdatasync", "/log/", plain[i]);
        die_at(n, "write", "data.mdb", plain[i]);
        die_at(n, "fdatasync", "data.mdb", plain[i]);
    }
}

static int compare(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }

/* What is noted so far: how many commits ended, and how many writes of pages each had. The first may be half noted. */
static unsigned read_commits(const char *path, int *writes)
{
    char line[120];
    unsigned count = 0;
    bool whole = false;
    FILE *f = fopen(path, "r");
    for (int pages = 0; f && count < COMMITS && fgets(line, sizeof line, f);) {
        if (strncmp(line, "page ", 5) == 0) pages++;
        if (strncmp(line, "meta ", 5) != 0) continue;
        if (whole) writes[count++] = pages;
        whole = true;
        pages = 0;
    }
    if (f) fclose(f);
    return count;
}

/* How many writes of pages a commit of the leader has; as many have more as less. */
static unsigned commit_writes(void)
{
    int writes[COMMITS];
    char path[340];
    unsigned leader = chaos_await_leader(&chaos, NULL);
    snprintf(path, sizeof path, "%s.calls", chaos.orders[leader]);
    unlink(path);
    chaos_order_disk(&chaos, leader, "any 1 data.mdb NOTE\n");
    for (uint64_t start = chaos_now_ms(); read_commits(path, writes) < COMMITS; usleep(20000))
        if (chaos_now_ms() - start > TESTBED_PATIENCE_S * 1000)
            testbed_fail(&chaos.bed, "node %u notes no commits", leader);
    chaos_order_disk(&chaos, leader, NULL);
    unlink(path);
    qsort(writes, COMMITS, sizeof writes[0], compare);
    printf("  a commit writes %d to %d times, mostly %d, and its meta page\n", writes[0], writes[COMMITS - 1],
           writes[COMMITS / 2]);
    fflush(stdout);
    return (unsigned)writes[COMMITS / 2];
}

/* Deaths of one commit, in the order of its calls: before and within each write of a page (after it is before the next
 * one), after the last, at the sync, and before and after the write of the meta page, which lies in one sector. */
static void at_call_of_commit(unsigned i, unsigned writes)
{
    static const struct { const char *call, *how; } ends[] = {
        {"fdatasync", "KILL"}, {"fdatasync", "KILL_AFTER"}, {"meta", "KILL"}, {"meta", "KILL_AFTER"}};
    if (i < 2 * writes)
        die_at(1 + i / 2, "page", "data.mdb", i % 2 ? "KILL_HALF" : "KILL");
    else if (i == 2 * writes)
        die_at(writes, "page", "data.mdb", "KILL_AFTER");
    else
        die_at(1, ends[i - 2 * writes - 1].call, "data.mdb", ends[i - 2 * writes - 1].how);
}

static void killed_at_every_call(void **state)
{
    (void)state;
    for (unsigned n = 1; n <= rounds(); n++) at_each_kind_of_call(n);
    unsigned writes = commit_writes(), all = 2 * writes + 5;
    if (writes == 0) testbed_fail(&chaos.bed, "a commit writes no page");
    for (unsigned i = 0; i < 2 && rounds() > 1; i++) /* who starts: at the sync of the folder */
        die_at(2, "fdatasync", "/log", i ? "KILL_AFTER" : "KILL");
    for (unsigned i = 0; i < all && rounds() > 1; i++) at_call_of_commit(i, writes);
    for (unsigned i = 0; i < SOME && rounds() == 1; i++) at_call_of_commit(chaos_below(&chaos, all - 2), writes);
    if (rounds() == 1) at_call_of_commit(all - 1 - chaos_below(&chaos, 2), writes); /* the meta page each time */
    printf("  %u deaths at the call that was meant\n", deaths);
    chaos_goes_on(&chaos, CHAOS_ALL, "after deaths at each call");
}

/* --- at random --- */

static unsigned random_victim(void)
{
    return chaos_below(&chaos, 3) ? 1 + chaos_below(&chaos, CHAOS_NODES) : chaos_await_leader(&chaos, NULL);
}

/* By nothing but that: one that had ended by itself before would start again as if nothing had been. */
static void kill_running(unsigned node)
{
    int status = testbed_signal(&chaos.bed, node, SIGKILL);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
        testbed_fail(&chaos.bed, "node %u had ended by itself, with status %d", node, status);
}

/* A third of them whoever leads then; every other time a second one as well, before the first one is back. A node may so
 * die again while it starts or catches up. */
static void killed_at_random(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 10 * rounds(); i++) {
        unsigned first = random_victim(), second = i % 2 ? random_victim() : first;
        kill_running(first);
        usleep(1000 * chaos_below(&chaos, 600));
        if (second != first) kill_running(second);
        usleep(1000 * chaos_below(&chaos, 600));
        testbed_start(&chaos.bed, first);
        if (second != first) testbed_start(&chaos.bed, second);
        usleep(1000 * chaos_below(&chaos, 800));
    }
    chaos_goes_on(&chaos, CHAOS_ALL, "after deaths at random");
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
    if (chaos_readers_end(&chaos, readers, READERS) == 0)
        testbed_fail(&chaos.bed, "%s: none of those who asked it then had an answer when it woke", what);
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
        cmocka_unit_test(killed_at_random),
        cmocka_unit_test(all_are_killed),
        cmocka_unit_test(a_leader_that_stopped_is_not_stale),
        cmocka_unit_test(nothing_is_lost),
    };
    return cmocka_run_group_tests(tests, setup, chaos_end);
}
