/* Nodes are stopped and started again one after the other while clients work: whoever may go
 * through any node is refused nothing, a leader hands over before it goes, and nothing that was
 * acknowledged is missing. The same where they come back as another release (tests/lib/older.h),
 * with nodes of both among each other meanwhile.
 *
 * SECONDS in the environment (make soak): the same for so long, and what each node holds of memory and
 * descriptors does not grow.
 */
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "net/tls.h"
#include "tests/lib/chaos_bed.h"
#include "tests/lib/reign.h"
#include "tests/lib/unit.h"

#define PATIENCE_S 60 /* on a machine that pauses us: what fails then has failed */
#define TRIES 8       /* to stop a leader, which may be unseated by a pause just before */

static unsigned handovers; /* since the cluster was made */

/* ---- what a node holds ---- */

struct held {
    unsigned long private_kib, files;
};

static unsigned long private_kib(pid_t pid)
{
    char path[64], line[200];
    unsigned long sum = 0, kib;
    snprintf(path, sizeof path, "/proc/%d/smaps_rollup", (int)pid);
    FILE *f = fopen(path, "r");
    if (!f) testbed_fail(&chaos.bed, "cannot read %s", path);
    while (fgets(line, sizeof line, f))
        if (sscanf(line, "Anonymous: %lu kB", &kib) == 1) sum += kib;
    fclose(f);
    return sum;
}

static unsigned long open_files(pid_t pid)
{
    char path[64];
    unsigned long count = 0;
    snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    DIR *d = opendir(path);
    if (!d) testbed_fail(&chaos.bed, "cannot read %s", path);
    while (readdir(d)) count++;
    closedir(d);
    return count;
}

static struct held held_by(unsigned node)
{
    return (struct held){private_kib(chaos.bed.pids[node]), open_files(chaos.bed.pids[node])};
}

/* ---- restarts ---- */

/* Who led in `term` ended only after another one stood, as it had been asked to; and that one leads in the very next
 * term, so that no election time-out had to pass. Of two who stood, since the first was late, neither may have won. */
static void was_handed_over(unsigned node, uint64_t term, bool handed_over)
{
    bool asked = false;
    if (!handed_over)
        testbed_fail(&chaos.bed, "node %u led in term %llu, and ended before it had handed over", node,
                     (unsigned long long)term);
    chaos_await_leader(&chaos, NULL);
    unsigned heir = reign_leader(&chaos.bed, term + 1, &asked), heirs = reign_heirs(&chaos.bed, term + 1);
    if (heirs == 0 || (heir && !asked) || (!heir && heirs < 2))
        testbed_fail(&chaos.bed, "node %u led in term %llu, and was asked to stop; in the next one %u stood as asked, and "
                     "node %u leads", node, (unsigned long long)term, heirs, heir);
    handovers += heir != 0;
}

/* Told again and again, as by somebody who is in a hurry: it ends by itself all the same. */
static int stop(unsigned node)
{
    pid_t pid = chaos.bed.pids[node];
    int status = 0;
    kill(pid, SIGTERM);
    for (; waitpid(pid, &status, WNOHANG) == 0; usleep(500)) kill(pid, SIGTERM);
    chaos.bed.pids[node] = 0;
    return status;
}

/* SIGTERM, the end, and a start on the same store; the others go on meanwhile. */
static void restart(unsigned node)
{
    bool handed_over;
    int status = stop(node);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        testbed_fail(&chaos.bed, "node %u did not end by itself: %d", node, status);
    uint64_t term = reign_left(&chaos.bed, node, &handed_over);
    chaos_goes_on(&chaos, CHAOS_ALL & ~(1u << node), term ? "the leader is stopped" : "a follower is stopped");
    if (term) was_handed_over(node, term, handed_over);
    testbed_start(&chaos.bed, node);
    testbed_wait_ready(&chaos.bed, PATIENCE_S);
    chaos_goes_on(&chaos, CHAOS_ALL, "  it is back");
}

static void all_others_were_served(void)
{
    for (unsigned i = chaos.bed.n + 1; i <= CHAOS_CLIENTS; i++) {
        const char *words = chaos_refusal(&chaos, i);
        if (words) testbed_fail(&chaos.bed, "client %u, who may go through any node: %s", i, words);
    }
    printf("longest time without an answer to one of those clients: %llu ms\n",
           (unsigned long long)chaos_longest_gap(&chaos));
}

static void begin(unsigned nodes, const char *program)
{
    chaos_open_as(&chaos, nodes, nodes > 3, program);
    chaos.patience_s = PATIENCE_S;
    chaos_load(&chaos);
    chaos_goes_on(&chaos, CHAOS_ALL, "all work");
    handovers = 0;
}

/* Whoever led at the end goes as well. */
static void a_leader_goes(void)
{
    unsigned before = handovers;
    for (unsigned i = 0; i < TRIES && handovers == before; i++) restart(chaos_await_leader(&chaos, NULL));
    if (handovers == before) testbed_fail(&chaos.bed, "no leader that was stopped handed over");
    printf("%u leaders handed over\n", handovers);
}

static void end(void)
{
    a_leader_goes();
    all_others_were_served();
    chaos_check(&chaos);
    chaos_close(&chaos);
}

static void no_operation_fails_while_nodes_restart_in_turn(void **state)
{
    (void)state;
    begin(CHAOS_NODES, NULL);
    for (unsigned node = 1; node <= CHAOS_NODES; node++) restart(node);
    end();
}

/* ---- another release ---- */

/* What was malformed, or in a form of another version. */
static void nothing_was_refused(const struct testbed *t)
{
    for (unsigned node = 1; node <= t->n; node++)
        if (testbed_log_has(t, node, "was refused")) testbed_fail(t, "node %u refused a message of another", node);
}

static void links_are_of(const struct testbed *t, unsigned node, bool older, bool newest)
{
    char latest[40];
    snprintf(latest, sizeof latest, "is up, of version %s", strrchr(TLS_ALPN_PEER, '/') + 1);
    const char *const words[] = {"is up, of version 1", latest};
    const bool has[] = {older, newest};
    for (unsigned i = 0; i < 2; i++) {
        if (has[i])
            testbed_await_log(t, node, words[i]);
        else if (testbed_life_has(t, node, words[i]))
            testbed_fail(t, "node %u has a link that %s", node, words[i]);
    }
}

/* Links are of version 1 until the last of the older nodes went, and of the latest among those that were upgraded. */
static void upgrade(unsigned nodes)
{
    begin(nodes, "older");
    for (unsigned node = 1; node <= nodes; node++) {
        links_are_of(&chaos.bed, node, true, false);
        chaos.bed.program[node] = NULL;
        restart(node);
        links_are_of(&chaos.bed, node, node < nodes, node > 1);
    }
    nothing_was_refused(&chaos.bed);
    end();
}

static void no_operation_fails_while_nodes_are_upgraded_in_turn(void **state)
{
    (void)state;
    upgrade(CHAOS_NODES);
}

/* Where two are a majority: a follower of the newest release counts the leader's copy and its own, an older one can't. */
static void nor_while_three_are(void **state)
{
    (void)state;
    upgrade(3);
}

/* ---- the soak ---- */

#define WARM_S 300u         /* so long a node knows a request again; a shorter warming up judges nobody */
#define SAMPLES 2000u
#define ROOM_KIB (2u << 10) /* a thread's first large request makes malloc keep some more, for good */

static struct held samples[CHAOS_NODES + 1][SAMPLES];
static unsigned sampled, acknowledged[SAMPLES];

static void sample(uint64_t since)
{
    if (sampled == SAMPLES) return;
    acknowledged[sampled] = chaos_acknowledged(&chaos);
    printf("%llu s, %u operations done; KiB and descriptors of each node:",
           (unsigned long long)(chaos_now_ms() - since) / 1000, acknowledged[sampled]);
    for (unsigned node = 1; node <= CHAOS_NODES; node++) {
        samples[node][sampled] = held_by(node);
        printf(" %lu %lu%s", samples[node][sampled].private_kib, samples[node][sampled].files,
               node < CHAOS_NODES ? "," : "\n");
    }
    fflush(stdout);
    sampled++;
}

static unsigned long least(unsigned long a, unsigned long b) { return a < b ? a : b; }
static unsigned long most(unsigned long a, unsigned long b) { return a > b ? a : b; }

/* What a node holds goes up and down. So it grows if the least of the last third of its samples is above the most of the
 * first third; however far it swings, and beyond ROOM_KIB that is a leak. What that overlooks is said: as
 * many bytes per operation as make up that room in the third between. */
static void is_flat(unsigned node, unsigned from)
{
    unsigned third = (sampled - from) / 3, last = sampled - third;
    const struct held *s = samples[node];
    if (third == 0) return;
    struct held high = s[from], low = s[last];
    for (unsigned i = 1; i < third; i++) {
        high = (struct held){most(high.private_kib, s[from + i].private_kib), most(high.files, s[from + i].files)};
        low = (struct held){least(low.private_kib, s[last + i].private_kib), least(low.files, s[last + i].files)};
    }
    unsigned between = acknowledged[last] - acknowledged[from + third - 1];
    printf("node %u held at most %lu KiB and %lu descriptors in the first third, at least %lu and %lu in the last; %u "
           "operations lie between: a leak of %u bytes each would show\n", node, high.private_kib, high.files,
           low.private_kib, low.files, between, between ? (ROOM_KIB << 10) / between : 0);
    if (low.private_kib > high.private_kib + ROOM_KIB)
        testbed_fail(&chaos.bed, "node %u grew from %lu to %lu KiB", node, high.private_kib, low.private_kib);
    if (low.files > high.files)
        testbed_fail(&chaos.bed, "node %u went from %lu to %lu descriptors", node, high.files, low.files);
}

/* For so long all but nodes first .. last live on: these are restarted, each half minute another one. Who lives on is
 * judged by the second half of that time, if its log was as long as it gets by then. */
static void half_of_them_live_on(unsigned first, unsigned last, uint64_t total)
{
    uint64_t start = chaos_now_ms();
    unsigned from = 0;
    bool warm[CHAOS_NODES + 1] = {false};
    sampled = 0;
    for (unsigned node = first; chaos_now_ms() - start < total; node = node == last ? first : node + 1) {
        restart(node);
        sleep(20);
        sample(start);
        if (chaos_now_ms() - start >= total / 2) continue;
        from = sampled;
        for (unsigned i = 1; i <= CHAOS_NODES && total / 2 >= WARM_S * 1000; i++)
            warm[i] = (i < first || i > last) && testbed_life_has(&chaos.bed, i, "log trimmed up to ");
    }
    for (unsigned node = 1; node <= CHAOS_NODES; node++)
        if (warm[node]) is_flat(node, from);
        else if (node < first || node > last) printf("node %u was not warm in time: too short a run\n", node);
}

/* So that each node lives for half of the time and is judged, whether it leads or not. */
static void nothing_grows(void **state)
{
    (void)state;
    uint64_t total = strtoull(getenv("SECONDS"), NULL, 10) * 1000;
    begin(CHAOS_NODES, "lean"); /* so that its log, whose last entries are in memory, too, is soon as long as it gets */
    half_of_them_live_on(4, CHAOS_NODES, total / 2);
    half_of_them_live_on(1, 3, total / 2);
    all_others_were_served();
    chaos_check(&chaos);
    chaos_close(&chaos);
}

int main(void)
{
    const struct CMUnitTest usual[] = {
        cmocka_unit_test(no_operation_fails_while_nodes_restart_in_turn),
        cmocka_unit_test(no_operation_fails_while_nodes_are_upgraded_in_turn),
        cmocka_unit_test(nor_while_three_are),
    };
    const struct CMUnitTest soak[] = {cmocka_unit_test(nothing_grows)};
    return getenv("SECONDS") ? cmocka_run_group_tests(soak, NULL, NULL) : cmocka_run_group_tests(usual, NULL, NULL);
}
