/* Two measurements. What the nodes spend on an auditor: their processor time for each entry, with nothing else to do.
 * And what writers notice: nodes have one processor and all clients the other, so that an auditor's program, which
 * works hard itself, takes nothing from the nodes but what they do for it; and the writers' program goes before it
 * (nice), so that it doesn't take from them either.
 */
#include "tests/bench/export.h"

#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/bench/fill.h"
#include "tests/bench/world.h"

#define ROUNDS_MOST 16
#define EVENT_BYTES 1024
#define NICE 3
#define PATIENCE_S 1800.0

enum way { WAY_ALONE, WAY_EXPORT, WAY_VERIFY, WAYS };

static const char *const way_names[WAYS] = {"writes alone", "with an export", "with a verification"};

struct figures { /* of each way, by round */
    double rate[WAYS][ROUNDS_MOST], cpu_us[WAYS][ROUNDS_MOST], p99[WAYS][ROUNDS_MOST];
    double sent[WAYS][ROUNDS_MOST];      /* entries a second, to the auditor */
};

struct quiet { /* for each entry, without writers */
    double served_us, taken_us, per_s; /* of all nodes; of the auditor's program; entries a second */
};

struct bed {
    struct testbed t;
    struct quiet quiet[WAYS];
    struct bench_world w;
    struct figures f;
    uint64_t leaves;
    unsigned clients, rounds;
    double seconds;
    bool pinned;
};

/* This process, and what it starts from now on. */
static bool pin(unsigned processor)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(processor, &set);
    return sched_setaffinity(0, sizeof set, &set) == 0;
}

/* --- the auditor --- */

/* Takes the ledger again and again until the time is over; then the last one is waited for. */
struct auditor {
    const struct bed *b;
    enum way way;
    unsigned round, times;
    pid_t pid; /* 0: none is wanted, or it has ended */
    uint64_t began_ns, ended_ns;
    double cpu_us; /* of the nodes, until it began; then, since */
};

static void auditor_start(struct auditor *a, bool nicely)
{
    const struct testbed *t = &a->b->t;
    const char *build = getenv("BUILD");
    char program[600], identity[400], last[24], output[400], log[400];
    snprintf(program, sizeof program, "%s/consilium", build && *build ? build : "build");
    snprintf(identity, sizeof identity, "%s/auditor.key", t->dir);
    snprintf(output, sizeof output, "%s/exported-%u-%u", t->dir, a->round, a->times);
    snprintf(log, sizeof log, "%s/auditor.log", t->dir);
    snprintf(last, sizeof last, "%llu", (unsigned long long)a->b->leaves - 1);
    a->pid = fork();
    if (a->pid != 0) return;
    int file = open(log, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (file < 0 || dup2(file, 1) < 0 || dup2(file, 2) < 0 || (nicely && nice(NICE) == -1)) _exit(127);
    if (a->way == WAY_EXPORT)
        execl(program, program, "--cluster", t->genesis, "-i", identity, "export", "--to", last, "-o", output,
              (char *)NULL);
    else
        execl(program, program, "--cluster", t->genesis, "-i", identity, "verify", (char *)NULL);
    _exit(127);
}

static void began(void *data)
{
    struct auditor *a = data;
    a->cpu_us = nodes_cpu_us(&a->b->t);
    a->began_ns = clock_monotonic_ns();
    if (a->way != WAY_ALONE) auditor_start(a, true);
}

static bool ended(void *data)
{
    struct auditor *a = data;
    int status;
    uint64_t now = clock_monotonic_ns();
    bool over = (double)(now - a->began_ns) / 1e9 >= a->b->seconds;
    if (a->way != WAY_ALONE) {
        if (waitpid(a->pid, &status, WNOHANG) == 0) return false;
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
            testbed_fail(&a->b->t, "the auditor failed: see %s/auditor.log", a->b->t.dir);
        a->times++;
        if (!over) auditor_start(a, true);
    }
    if (!over) return false;
    a->ended_ns = now;
    a->cpu_us = nodes_cpu_us(&a->b->t) - a->cpu_us;
    return true;
}

/* Nothing else happens on the cluster. */
static void run_quiet(struct bed *b, enum way way)
{
    struct auditor auditor = {.b = b, .way = way, .round = ROUNDS_MOST};
    struct rusage used;
    int status;
    double cpu = nodes_cpu_us(&b->t);
    uint64_t begin = clock_monotonic_ns();
    sleep(1);
    double idle_us = (nodes_cpu_us(&b->t) - cpu) / ((double)(clock_monotonic_ns() - begin) / 1e9); /* in a second */
    cpu = nodes_cpu_us(&b->t);
    begin = clock_monotonic_ns();
    auditor_start(&auditor, false);
    if (wait4(auditor.pid, &status, 0, &used) < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
        testbed_fail(&b->t, "the auditor failed: see %s/auditor.log", b->t.dir);
    double seconds = (double)(clock_monotonic_ns() - begin) / 1e9, n = (double)b->leaves;
    b->quiet[way].served_us = (nodes_cpu_us(&b->t) - cpu - idle_us * seconds) / n;
    b->quiet[way].taken_us = ((double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1e6 +
                              (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec)) / n;
    b->quiet[way].per_s = n / seconds;
}

/* --- rounds --- */

static void run(struct bed *b, enum way way, unsigned round)
{
    struct figures *f = &b->f;
    struct auditor auditor = {.b = b, .way = way, .round = round};
    struct job job = {.work = WORK_EVENT, .clients = b->clients, .operations = 1, .bytes = EVENT_BYTES,
                      .wait = WAIT_APPLIED, .seconds = PATIENCE_S, .began = began, .ended = ended, .data = &auditor};
    struct job_result r;
    lanes_run(&r, &b->w, &job);
    if (auditor.ended_ns == 0) testbed_fail(&b->t, "the auditor does not come to an end");
    double n = (double)r.operations, sent = (double)b->leaves * auditor.times;
    double seconds = (double)(auditor.ended_ns - auditor.began_ns) / 1e9;
    f->rate[way][round] = n / r.seconds;
    f->cpu_us[way][round] = auditor.cpu_us / n;
    f->p99[way][round] = samples_percentile(&r.applied, 99);
    f->sent[way][round] = sent / seconds;
    samples_clear(&r.applied);
    samples_clear(&r.cosigned);
    fprintf(stderr, "round %u, %s: %.0f/s\n", round + 1, way_names[way], f->rate[way][round]);
}

static void print_way(const struct bed *b, enum way way, FILE *json)
{
    const struct figures *f = &b->f;
    double slower[ROUNDS_MOST];
    for (unsigned i = 0; i < b->rounds; i++)
        slower[i] = 100 * (1 - f->rate[way][i] / f->rate[WAY_ALONE][i]);
    struct spread rate = spread_of(f->rate[way], b->rounds), cost = spread_of(slower, b->rounds);
    double cpu = spread_of(f->cpu_us[way], b->rounds).median, p99 = spread_of(f->p99[way], b->rounds).median;
    double sent = spread_of(f->sent[way], b->rounds).median;
    printf("%-20s %7.0f/s (%6.0f -%6.0f) %8.2f %8.0f", way_names[way], rate.median, rate.least, rate.most, p99, cpu);
    if (way != WAY_ALONE)
        printf(" %6.1f%% (%5.1f to %5.1f) %9.0f", cost.median, cost.least, cost.most, sent);
    printf("\n");
    if (json)
        fprintf(json, "{\"name\":\"%s\",\"entries\":%llu,\"rounds\":%u,\"operations_per_s\":%.1f,\"p99_ms\":%.3f,"
                "\"nodes_cpu_us\":%.1f,\"slower_percent\":%.2f,\"least\":%.2f,\"most\":%.2f,\"entries_per_s\":%.0f,"
                "\"quiet_nodes_us\":%.3f,\"quiet_auditor_us\":%.3f,\"quiet_entries_per_s\":%.0f}\n", way_names[way],
                (unsigned long long)b->leaves, b->rounds, rate.median, p99, cpu, cost.median, cost.least, cost.most,
                sent, b->quiet[way].served_us, b->quiet[way].taken_us, b->quiet[way].per_s);
}

static void print_all(const struct bed *b, FILE *json)
{
    printf("an auditor takes %llu entries from one of %u nodes that have nothing else to do:\n",
           (unsigned long long)b->leaves, b->t.n);
    for (unsigned way = WAY_EXPORT; way < WAYS; way++)
        printf("%-20s %7.0f entries/s; processor time for each: %.2f us of nodes, %.2f us of the auditor's program\n",
               way_names[way], b->quiet[way].per_s, b->quiet[way].served_us, b->quiet[way].taken_us);
    printf("\nevent add, 1 KiB, %u clients meanwhile, %u rounds by turns; ", b->clients, b->rounds);
    printf("%s\n", b->pinned ? "nodes have one processor, writers and auditor the other"
                             : "one processor for all: the auditor's program takes from the nodes, too");
    printf("%-20s %26s %8s %8s %25s %9s\n", "", "writes", "p99 ms", "us/op", "slower (rounds)", "entries/s");
    for (unsigned way = 0; way < WAYS; way++)
        print_way(b, (enum way)way, json);
    printf("us/op: processor time of all nodes for each write, serving the auditor included\n");
}

static void rounds(struct bed *b)
{
    char auditor[ID_TEXT_SIZE];
    testbed_user(&b->t, "auditor", "Hospital 1", "auditor", auditor);
    fill_ledger(&b->w, &b->t, b->leaves, LIMIT_OPERATIONS, 64);
    run_quiet(b, WAY_EXPORT);
    run_quiet(b, WAY_VERIFY);
    for (unsigned i = 0; i < b->rounds; i++)
        for (unsigned way = 0; way < WAYS; way++)
            run(b, (enum way)way, i);
}

void bench_export(unsigned nodes, uint64_t leaves, unsigned round_count, unsigned clients, double seconds, FILE *json)
{
    struct bed *b = calloc(1, sizeof *b);
    cpu_set_t before;
    if (!b) abort();
    b->leaves = leaves;
    b->clients = clients;
    b->rounds = round_count < ROUNDS_MOST ? round_count : ROUNDS_MOST;
    b->seconds = seconds;
    sched_getaffinity(0, sizeof before, &before);
    b->pinned = sysconf(_SC_NPROCESSORS_ONLN) > 1;
    testbed_make(&b->t, nodes, nodes > 3 ? 1 : 0);
    if (b->pinned) b->pinned = pin(0);
    testbed_start_all(&b->t);
    if (b->pinned) b->pinned = pin(1);
    testbed_wait_ready(&b->t, 60);
    world_open(&b->w, &b->t);
    rounds(b);
    print_all(b, json);
    world_close(&b->w);
    testbed_end(&b->t);
    sched_setaffinity(0, sizeof before, &before);
    free(b);
}
