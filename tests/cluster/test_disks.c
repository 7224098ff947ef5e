/* Disks that fail under load, on five nodes: the n-th write or sync of log or state fails, of a follower, of
 * the leader, of all; the device is full; each sync of the leader takes half a second more, or hangs. A node whose
 * disk fails says so and stops in order; the others go on; nothing that was acknowledged is lost (tests/lib/chaos.h).
 *
 * FAULTS=n: so many calls that fail (4), SEED=n the same choices again.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/chaos_bed.h"
#include "tests/lib/unit.h"

#define SLOW_EACH 6         /* operations of each client, and as many before, for comparison */
#define SLOW_MS 2000u       /* what a hundredth of them may exceed */
#define SLOW_ROUNDS 3       /* so many that exceed it are no accident */
#define CALM_BEFORE_MS 1000u /* a machine on which it takes longer with good disks says nothing */
#define CALM_PAUSE_MS 250u  /* nor does one that holds up somebody who does next to nothing for so long */
#define CALM_WITHIN_MS 30000u

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

/* What the machine itself holds up: the longest time in which somebody slept for 10 ms and wrote a page to the disk. */
struct pauses {
    pid_t pid;
    atomic_uint_fast64_t *most_ms;
};

static _Noreturn void feel_pauses(const struct pauses *p)
{
    static const char page[4096];
    char path[300];
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    snprintf(path, sizeof path, "%s/pauses", chaos.bed.dir);
    int file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    for (;;) {
        uint64_t start = chaos_now_ms();
        usleep(10000);
        if (file < 0 || pwrite(file, page, sizeof page, 0) < 0 || fdatasync(file) != 0) _exit(1);
        uint64_t took = chaos_now_ms() - start;
        if (took > atomic_load(p->most_ms)) atomic_store(p->most_ms, took);
    }
}

static void pauses_begin(struct pauses *p)
{
    p->most_ms = mmap(NULL, sizeof *p->most_ms, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (p->most_ms == MAP_FAILED) testbed_fail(&chaos.bed, "no memory");
    fflush(NULL);
    p->pid = fork();
    if (p->pid < 0) testbed_fail(&chaos.bed, "cannot fork");
    if (p->pid == 0) feel_pauses(p);
}

static uint64_t pauses_end(struct pauses *p)
{
    kill(p->pid, SIGKILL);
    waitpid(p->pid, NULL, 0);
    uint64_t most = atomic_load(p->most_ms);
    munmap(p->most_ms, sizeof *p->most_ms);
    return most;
}

enum verdict { FAST, MOVED, TOO_SLOW, NOT_CALM };

static enum verdict slow_round(void)
{
    static const char *const words[] = {"fast enough", "leadership moved", "TOO SLOW", "the machine is not calm"};
    struct chaos_times before, slow;
    struct pauses pauses;
    uint64_t term, later;
    unsigned leader = chaos_await_leader(&chaos, &term);
    chaos_measure(&chaos, &before, SLOW_EACH, chaos_now_ms());
    pauses_begin(&pauses);
    chaos_order_disk(&chaos, leader, "fdatasync 1 / SLOW\n");
    chaos_measure(&chaos, &slow, SLOW_EACH, chaos_now_ms());
    unsigned now = chaos_await_leader(&chaos, &later);
    uint64_t pause = pauses_end(&pauses);
    chaos_order_disk(&chaos, leader, NULL);
    enum verdict verdict = now != leader || later != term ? MOVED
                           : slow.p99_ms < SLOW_MS        ? FAST
                           : before.p99_ms >= CALM_BEFORE_MS || pause >= CALM_PAUSE_MS ? NOT_CALM : TOO_SLOW;
    printf("  8 clients, the leader's syncs take 500 ms more: %u operations, p50 %llu ms, p99 %llu ms, most %llu ms; "
           "before, %u: %llu, %llu, %llu ms; the machine paused for %llu ms: %s\n", slow.count,
           (unsigned long long)slow.median_ms, (unsigned long long)slow.p99_ms, (unsigned long long)slow.most_ms,
           before.count, (unsigned long long)before.median_ms, (unsigned long long)before.p99_ms,
           (unsigned long long)before.most_ms, (unsigned long long)pause, words[verdict]);
    fflush(stdout);
    return verdict;
}

/* Its writes are done by those who go through others, or it loses the lead: neither is a matter of its disk's grace. A
 * round counts against it only on a machine that was calm meanwhile, and then again. */
static void the_leaders_disk_is_slow(void **state)
{
    (void)state;
    enum verdict verdict;
    unsigned bad = 0;
    uint64_t start = chaos_now_ms();
    chaos_unload(&chaos);
    chaos.patience_s = TESTBED_PATIENCE_S / 2; /* what would be given up counts, too */
    chaos_load(&chaos);
    do {
        verdict = slow_round();
        bad += verdict == TOO_SLOW;
    } while (verdict == TOO_SLOW ? bad < SLOW_ROUNDS
                                 : verdict == NOT_CALM && chaos_now_ms() - start < CALM_WITHIN_MS);
    if (verdict == TOO_SLOW)
        testbed_fail(&chaos.bed, "with a slow disk of the leader p99 is over %u ms, and leadership stays", SLOW_MS);
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

static void all_are_full(void **state)
{
    (void)state;
    static const char order[] = "write 1 /log/ ENOSPC\n";
    unsigned stopped = 0;
    for (unsigned node = 1; node <= CHAOS_NODES; node++)
        chaos_order_disk(&chaos, node, order);
    for (uint64_t start = chaos_now_ms(); stopped < 3; usleep(20000)) {
        stopped = 0;
        for (unsigned node = 1; node <= CHAOS_NODES; node++)
            stopped += has_stopped(node, order);
        if (chaos_now_ms() - start > TESTBED_PATIENCE_S * 1000) testbed_fail(&chaos.bed, "nodes go on with full disks");
    }
    printf("  %u of %u nodes stopped, and nothing could be acknowledged\n", stopped, CHAOS_NODES);
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
        cmocka_unit_test(all_are_full),
        cmocka_unit_test(nothing_is_lost),
    };
    return cmocka_run_group_tests(tests, begin, chaos_end);
}
