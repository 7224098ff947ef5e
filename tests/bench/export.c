/* Two measurements. What the nodes spend on an auditor: their processor time for each entry, with nothing else to do.
 * And what writers notice of it, in slices of one long load:
 *
 *   began        the load runs; the first slice is one without the auditor
 *   slice_end    its figures; one with the auditor has a neighbour on either side, of which the mean is taken
 *   slice_begin  the auditor's program is started, stopped (SIGSTOP) or goes on (SIGCONT)
 *   looked       over, once the program has ended by itself
 *
 * Nodes have one processor and all clients the other. There the auditor's program has the lowest priority (SCHED_IDLE):
 * it gets what the writers leave, as if it had another machine, so that a slice with it differs from its neighbours by
 * what the nodes do for it. The first part of a slice isn't counted: what was asked before a stop is still answered.
 */
#include "tests/bench/export.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "tests/bench/fill.h"
#include "tests/bench/world.h"

#define PAIRS_MOST SPREAD_MOST
#define EVENT_BYTES 1024
#define FILL_BYTES 64
#define SETTLING 0.15 /* of a slice */
#define PATIENCE_S 14400.0

enum way { WAY_EXPORT, WAY_VERIFY, WAYS };

static const char *const way_names[WAYS] = {"export", "verification"};

struct slice {
    double rate, cpu_us; /* writes a second; of all nodes, for each write */
};

struct quiet { /* for each entry, without writers */
    double served_us, taken_us, per_s; /* of all nodes; of the auditor's program; entries a second */
};

struct pairs { /* of slices */
    double with[PAIRS_MOST], without[PAIRS_MOST];         /* writes a second */
    double with_us[PAIRS_MOST], without_us[PAIRS_MOST];   /* processor time of all nodes for each write */
    double slower[PAIRS_MOST], dearer[PAIRS_MOST];        /* per cent */
    unsigned count;
    struct samples late_with, late_without;               /* of writes */
    double running_s, entries;                            /* of the auditor's program, without its stops */
};

struct bed {
    struct testbed t;
    struct bench_world w;
    struct export_cost cost;
    struct quiet quiet[WAYS];
    struct pairs pairs[WAYS];
    uint64_t size; /* of the ledger before the writes */
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

static void forget_exported(const struct bed *b)
{
    char command[400];
    snprintf(command, sizeof command, "rm -rf '%s/exported'", b->t.dir);
    if (system(command) != 0) testbed_fail(&b->t, "%s failed", command);
}

static pid_t auditor_start(const struct bed *b, enum way way, bool leftovers_only)
{
    const struct testbed *t = &b->t;
    const struct sched_param none = {0};
    const char *build = getenv("BUILD");
    char program[600], identity[400], last[24], output[400], log[400];
    snprintf(program, sizeof program, "%s/consilium", build && *build ? build : "build");
    snprintf(identity, sizeof identity, "%s/auditor.key", t->dir);
    snprintf(output, sizeof output, "%s/exported", t->dir);
    snprintf(log, sizeof log, "%s/auditor.log", t->dir);
    snprintf(last, sizeof last, "%llu", (unsigned long long)b->cost.leaves - 1);
    forget_exported(b);
    pid_t pid = fork();
    if (pid != 0) return pid;
    int file = open(log, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (file < 0 || dup2(file, 1) < 0 || dup2(file, 2) < 0) _exit(127);
    if (leftovers_only && sched_setscheduler(0, SCHED_IDLE, &none) != 0) _exit(127);
    if (way == WAY_EXPORT)
        execl(program, program, "--cluster", t->genesis, "-i", identity, "export", "--to", last, "-o", output,
              (char *)NULL);
    else
        execl(program, program, "--cluster", t->genesis, "-i", identity, "verify", (char *)NULL);
    _exit(127);
}

static void auditor_check(const struct bed *b, int status)
{
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        testbed_fail(&b->t, "the auditor failed: see %s/auditor.log", b->t.dir);
}

/* Entries that it takes. */
static double auditor_entries(const struct bed *b, enum way way)
{
    switch (way) {
    case WAY_EXPORT: return (double)b->cost.leaves;
    case WAY_VERIFY: return (double)b->size;
    case WAYS: break;
    }
    abort();
}

/* Nothing else happens on the cluster. */
static void run_quiet(struct bed *b, enum way way)
{
    struct rusage used;
    int status;
    double cpu = nodes_cpu_us(&b->t);
    uint64_t begin = clock_monotonic_ns();
    sleep(1);
    double idle_us = (nodes_cpu_us(&b->t) - cpu) / ((double)(clock_monotonic_ns() - begin) / 1e9); /* in a second */
    cpu = nodes_cpu_us(&b->t);
    begin = clock_monotonic_ns();
    pid_t pid = auditor_start(b, way, false);
    CHECK(wait4(pid, &status, 0, &used) == pid);
    auditor_check(b, status);
    double seconds = (double)(clock_monotonic_ns() - begin) / 1e9, n = auditor_entries(b, way);
    b->quiet[way].served_us = (nodes_cpu_us(&b->t) - cpu - idle_us * seconds) / n;
    b->quiet[way].taken_us = ((double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1e6 +
                              (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec)) / n;
    b->quiet[way].per_s = n / seconds;
}

/* --- slices --- */

struct load {
    struct bed *b;
    struct job_result *result;
    enum way way;
    pid_t pid;                    /* of the auditor's program; 0: not started */
    bool with, counting;          /* the slice of now */
    bool over;                    /* the program has ended */
    bool has_before, has_with;
    struct slice before, last;    /* the last one without, and with */
    uint64_t slice_ns, counted_ns; /* when it began, and its counted part */
    uint64_t operations;          /* at that time, and so on */
    size_t samples;
    double cpu_us;
};

static void count_from(struct load *l, uint64_t now)
{
    l->counting = true;
    l->counted_ns = now;
    l->operations = l->result->operations;
    l->samples = l->result->applied.count;
    l->cpu_us = nodes_cpu_us(&l->b->t);
}

static void add_pair(struct pairs *p, const struct slice *before, const struct slice *with, const struct slice *after)
{
    double rate = (before->rate + after->rate) / 2, cpu_us = (before->cpu_us + after->cpu_us) / 2;
    unsigned i = p->count;
    if (i == PAIRS_MOST) return;
    p->without[i] = rate;
    p->without_us[i] = cpu_us;
    p->with[i] = with->rate;
    p->with_us[i] = with->cpu_us;
    p->slower[i] = 100 * (1 - with->rate / rate);
    p->dearer[i] = 100 * (with->cpu_us / cpu_us - 1);
    p->count++;
}

static void slice_end(struct load *l, uint64_t now)
{
    struct pairs *p = &l->b->pairs[l->way];
    struct samples *late = l->with ? &p->late_with : &p->late_without;
    double n = (double)(l->result->operations - l->operations);
    if (n <= 0) n = 1;
    struct slice slice = {.rate = n * 1e9 / (double)(now - l->counted_ns),
                          .cpu_us = (nodes_cpu_us(&l->b->t) - l->cpu_us) / n};
    for (size_t i = l->samples; i < l->result->applied.count; i++)
        samples_add(late, (uint64_t)l->result->applied.us[i] * 1000);
    if (l->with) {
        l->last = slice;
        l->has_with = true;
        p->running_s += (double)(now - l->slice_ns) / 1e9;
        return;
    }
    if (l->has_before && l->has_with) add_pair(p, &l->before, &l->last, &slice);
    l->before = slice;
    l->has_before = true;
}

static void slice_begin(struct load *l, uint64_t now)
{
    l->with = !l->with;
    l->counting = false;
    l->slice_ns = now;
    if (l->pid == 0)
        l->pid = auditor_start(l->b, l->way, true);
    else
        CHECK(kill(l->pid, l->with ? SIGCONT : SIGSTOP) == 0);
}

static void began(void *data)
{
    struct load *l = data;
    l->slice_ns = clock_monotonic_ns();
}

static bool looked(void *data)
{
    struct load *l = data;
    struct pairs *p = &l->b->pairs[l->way];
    int status;
    uint64_t now = clock_monotonic_ns();
    double seconds = (double)(now - l->slice_ns) / 1e9, whole = l->b->cost.seconds;
    if (l->with && waitpid(l->pid, &status, WNOHANG) == l->pid) {
        auditor_check(l->b, status);
        p->running_s += seconds;
        p->entries += auditor_entries(l->b, l->way);
        l->over = true;
        return true;
    }
    if (!l->counting && seconds >= SETTLING * whole) count_from(l, now);
    if (seconds < whole) return false;
    slice_end(l, now);
    slice_begin(l, now);
    if (l->with) fprintf(stderr, "\r%s: %u slices with it ", way_names[l->way], p->count);
    return false;
}

static void run(struct bed *b, enum way way)
{
    struct job_result r;
    struct load load = {.b = b, .result = &r, .way = way};
    struct job job = {.work = WORK_EVENT, .clients = b->cost.clients, .operations = 1, .bytes = EVENT_BYTES,
                      .wait = WAIT_APPLIED, .seconds = PATIENCE_S, .began = began, .ended = looked, .data = &load};
    b->size = fill_size(&b->t);
    lanes_run(&r, &b->w, &job);
    if (!load.over) testbed_fail(&b->t, "the auditor does not come to an end");
    samples_clear(&r.applied);
    samples_clear(&r.cosigned);
    fputs("\n", stderr);
}

/* --- the report --- */

static void print_way(struct bed *b, enum way way, FILE *json)
{
    struct pairs *p = &b->pairs[way];
    const struct quiet *q = &b->quiet[way];
    if (p->count == 0) testbed_fail(&b->t, "%s: over before three slices were: more --leaves, or fewer --seconds",
                                    way_names[way]);
    struct spread slower = spread_of(p->slower, p->count), dearer = spread_of(p->dearer, p->count);
    double with = spread_of(p->with, p->count).median, without = spread_of(p->without, p->count).median;
    double with_us = spread_of(p->with_us, p->count).median, without_us = spread_of(p->without_us, p->count).median;
    double late_with = samples_percentile(&p->late_with, 99), late = samples_percentile(&p->late_without, 99);
    double per_s = p->entries / p->running_s;
    printf("%-13s %5u %7.0f/s %7.0f/s %6.1f%% (%5.1f to %5.1f) %7.0f %7.0f %6.1f%% (%5.1f to %5.1f) %7.1f %7.1f "
           "%9.0f\n",
           way_names[way], p->count, without, with, slower.median, slower.lower, slower.upper, without_us, with_us,
           dearer.median, dearer.lower, dearer.upper, late, late_with, per_s);
    if (!json) return;
    fprintf(json, "{\"name\":\"writes beside: %s\",\"entries\":%.0f,\"slices\":%u,\"without_per_s\":%.1f,"
            "\"with_per_s\":%.1f,\"slower_percent\":%.2f,\"slower_lower\":%.2f,\"slower_upper\":%.2f,"
            "\"without_us\":%.2f,\"with_us\":%.2f,\"dearer_percent\":%.2f,\"dearer_lower\":%.2f,"
            "\"dearer_upper\":%.2f,\"without_p99_ms\":%.2f,\"with_p99_ms\":%.2f,\"entries_per_s\":%.0f,"
            "\"quiet_nodes_us\":%.3f,\"quiet_auditor_us\":%.3f,\"quiet_entries_per_s\":%.0f}\n", way_names[way],
            p->entries, p->count, without, with, slower.median, slower.lower, slower.upper, without_us, with_us,
            dearer.median, dearer.lower, dearer.upper, late, late_with, per_s, q->served_us, q->taken_us, q->per_s);
}

static void print_quiet(const struct bed *b)
{
    printf("an auditor takes %llu entries from one of %u nodes that have nothing else to do:\n",
           (unsigned long long)b->cost.leaves, b->t.n);
    for (unsigned way = 0; way < WAYS; way++)
        printf("%-13s %7.0f entries/s; processor time for each: %.2f us of nodes, %.2f us of the auditor's program\n",
               way_names[way], b->quiet[way].per_s, b->quiet[way].served_us, b->quiet[way].taken_us);
    printf("\n");
    fflush(stdout);
}

static void print_slices(struct bed *b, FILE *json)
{
    printf("event add, 1 KiB, %u clients, slices of %.1f s with the auditor's program running and stopped, by turns;\n",
           b->cost.clients, b->cost.seconds);
    printf("%s\n", b->pinned ? "nodes have one processor, writers the other; there the auditor's program, which has a "
                               "machine of its own in life,\nonly gets what the writers leave (SCHED_IDLE)"
                             : "one processor for all");
    printf("%-13s %5s %9s %9s %24s %7s %7s %24s %7s %7s %9s\n", "", "", "writes", "", "slower:", "nodes", "us",
           "dearer:", "p99 ms", "", "entries");
    printf("%-13s %5s %9s %9s %24s %7s %7s %24s %7s %7s %9s\n", "beside", "pairs", "without", "with",
           "median (middle half)", "without", "with", "median (middle half)", "without", "with", "a second");
    for (unsigned way = 0; way < WAYS; way++)
        print_way(b, (enum way)way, json);
    printf("us: processor time of all nodes for each write, serving the auditor included; entries a second: while the "
           "program runs\n");
}

static void measure(struct bed *b, FILE *json)
{
    char auditor[ID_TEXT_SIZE], key[320];
    snprintf(key, sizeof key, "%s/auditor.key", b->t.dir);
    if (access(key, F_OK) != 0) testbed_user(&b->t, "auditor", "Hospital 1", "auditor", auditor);
    fill_ledger(&b->w, &b->t, b->cost.leaves, LIMIT_OPERATIONS, FILL_BYTES);
    b->size = fill_size(&b->t);
    for (unsigned way = 0; way < WAYS; way++)
        run_quiet(b, (enum way)way);
    print_quiet(b);
    for (unsigned i = 0; i < b->cost.rounds; i++)
        for (unsigned way = 0; way < WAYS; way++)
            run(b, (enum way)way);
    forget_exported(b);
    print_slices(b, json);
    for (unsigned way = 0; way < WAYS; way++) {
        samples_clear(&b->pairs[way].late_with);
        samples_clear(&b->pairs[way].late_without);
    }
}

void bench_export(const struct export_cost *cost, FILE *json)
{
    struct bed *b = xcalloc(1, sizeof *b);
    cpu_set_t before;
    b->cost = *cost;
    sched_getaffinity(0, sizeof before, &before);
    b->pinned = sysconf(_SC_NPROCESSORS_ONLN) > 1;
    if (cost->dir)
        testbed_keep(&b->t, cost->dir, cost->nodes, cost->nodes > 3 ? 1 : 0);
    else
        testbed_make(&b->t, cost->nodes, cost->nodes > 3 ? 1 : 0);
    if (b->pinned) b->pinned = pin(0);
    testbed_start_all(&b->t);
    if (b->pinned) b->pinned = pin(1);
    testbed_wait_ready(&b->t, TESTBED_PATIENCE_S);
    world_open_people(&b->w, &b->t);
    measure(b, json);
    world_close(&b->w);
    testbed_end(&b->t);
    sched_setaffinity(0, sizeof before, &before);
    free(b);
}
