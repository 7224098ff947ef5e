#include "tests/bench/growth.h"

#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "tests/bench/fill.h"
#include "tests/bench/world.h"

#define SMALL_SIZE 10000
#define CLIENTS 64
#define EVENT_BYTES 256
#define ROUNDS_MAX 64
#define LOAD_PATIENCE_S 600.0

struct cluster_bed {
    struct testbed t;
    struct bench_world w;
    double rate[ROUNDS_MAX], cpu_us[ROUNDS_MAX], device[ROUNDS_MAX]; /* for an operation, by round */
    double p99_ms;                                                   /* the worst round's */
    uint64_t first, last;                                            /* sizes, before the rounds and after */
};

struct figures {
    uint64_t size;
    double filled_bytes, single_bytes; /* a node's state, for an entry: of a full request, alone in a request */
    double start_idle_s, start_cold_s, start_load_s;
    uint64_t private_kib; /* of the largest node */
};

/* --- clusters --- */

static void bed_open(struct cluster_bed *b, unsigned nodes, const char *dir)
{
    *b = (struct cluster_bed){.p99_ms = 0};
    if (dir) {
        testbed_keep(&b->t, dir, nodes, nodes > 3 ? 1 : 0);
    } else {
        testbed_make(&b->t, nodes, nodes > 3 ? 1 : 0);
        b->t.extra = "--map-gib 1024 --log-level notice"; /* like one that stays */
    }
    testbed_start_all(&b->t);
    testbed_wait_ready(&b->t, TESTBED_PATIENCE_S);
}

static void bed_close(struct cluster_bed *b)
{
    world_close(&b->w);
    testbed_end(&b->t);
}

/* Of one node: the mean over all. Its log has a bounded size besides. */
static double state_bytes(const struct testbed *t)
{
    double sum = 0;
    char folder[320];
    for (unsigned i = 1; i <= t->n; i++) {
        snprintf(folder, sizeof folder, "%s/node-%u/state", t->dir, i);
        sum += (double)stored_bytes(folder);
    }
    return sum / t->n;
}

/* --- rounds --- */

static void one_round(struct cluster_bed *b, unsigned round, double seconds)
{
    const struct job job = {.work = WORK_EVENT, .clients = CLIENTS, .operations = 1, .bytes = EVENT_BYTES,
                            .wait = WAIT_APPLIED, .seconds = seconds};
    struct job_result r;
    double cpu = nodes_cpu_us(&b->t);
    uint64_t device = device_written(b->t.dir);
    lanes_run(&r, &b->w, &job);
    double n = r.operations ? (double)r.operations : 1;
    double warm = LANES_WARM_UP_S * n / r.seconds; /* not counted, but in the nodes' time */
    b->rate[round] = n / r.seconds;
    b->cpu_us[round] = (nodes_cpu_us(&b->t) - cpu) / (n + warm);
    b->device[round] = (double)(device_written(b->t.dir) - device) / (n + warm);
    double p99 = samples_percentile(&r.applied, 99);
    if (p99 > b->p99_ms) b->p99_ms = p99;
    samples_clear(&r.applied);
    samples_clear(&r.cosigned);
}

static void all_rounds(struct cluster_bed *small, struct cluster_bed *large, const struct growth *g)
{
    small->first = fill_size(&small->t);
    large->first = fill_size(&large->t);
    for (unsigned i = 0; i < g->rounds; i++) {
        struct cluster_bed *first = i % 2 ? large : small;
        one_round(first, i, g->seconds);
        one_round(first == small ? large : small, i, g->seconds);
        fprintf(stderr, "\rround %u of %u ", i + 1, g->rounds);
    }
    fputs("\n", stderr);
    small->last = fill_size(&small->t);
    large->last = fill_size(&large->t);
}

/* --- starting again --- */

static int forget_file(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)at;
    int file = type == FTW_F ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return 0;
    (void)fdatasync(file); /* what isn't written stays in memory */
    (void)posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
    close(file);
    return 0;
}

/* The last node: a client that names none goes to the first. */
static double start_after_kill(struct testbed *t, bool cold)
{
    unsigned node = t->n;
    char folder[320];
    testbed_signal(t, node, SIGKILL);
    snprintf(folder, sizeof folder, "%s/node-%u", t->dir, node);
    if (cold) CHECK(nftw(folder, forget_file, 16, FTW_PHYS) == 0);
    uint64_t begin = clock_monotonic_ns();
    testbed_start(t, node);
    testbed_wait_ready(t, TESTBED_PATIENCE_S);
    return (double)(clock_monotonic_ns() - begin) / 1e9;
}

struct interruption {
    struct testbed *t;
    uint64_t began_ns, looked_ns, started_ns, ready_ns;
};

/* After a second of load the last node is killed and started; ends when it is ready. */
static bool interrupt(void *data)
{
    struct interruption *n = data;
    uint64_t now = clock_monotonic_ns();
    if (n->began_ns == 0) n->began_ns = now;
    if (now - n->looked_ns < 50000000 || now - n->began_ns < 1000000000) return false;
    n->looked_ns = now;
    if (n->started_ns == 0) {
        testbed_signal(n->t, n->t->n, SIGKILL);
        n->started_ns = clock_monotonic_ns();
        testbed_start(n->t, n->t->n);
        return false;
    }
    if (!testbed_life_has(n->t, n->t->n, " ready: ")) return false;
    n->ready_ns = now;
    return true;
}

static double start_under_load(struct cluster_bed *b)
{
    struct interruption n = {.t = &b->t};
    const struct job job = {.work = WORK_EVENT, .clients = CLIENTS, .operations = 1, .bytes = EVENT_BYTES, .member = 1,
                            .wait = WAIT_APPLIED, .seconds = LOAD_PATIENCE_S, .patient = true, .ended = interrupt,
                            .data = &n};
    struct job_result r;
    lanes_run(&r, &b->w, &job);
    samples_clear(&r.applied);
    samples_clear(&r.cosigned);
    if (n.ready_ns == 0) testbed_fail(&b->t, "the node that was killed is not ready");
    return (double)(n.ready_ns - n.started_ns) / 1e9;
}

/* --- the report --- */

static void print_bed(const char *name, const struct cluster_bed *b, unsigned rounds)
{
    struct spread rate = spread_of(b->rate, rounds), cpu = spread_of(b->cpu_us, rounds);
    printf("%-6s %9llu - %9llu %8.0f/s (%6.0f to %6.0f) %8.1f (%6.1f to %6.1f) %9.1f %9.1f\n", name,
           (unsigned long long)b->first, (unsigned long long)b->last, rate.median, rate.least, rate.most, cpu.median,
           cpu.least, cpu.most, b->p99_ms, spread_of(b->device, rounds).median / 1024);
}

static void print_all(const struct cluster_bed *small, const struct cluster_bed *large, const struct figures *f,
                      unsigned rounds, FILE *json)
{
    double cpu_ratio[ROUNDS_MAX], rate_ratio[ROUNDS_MAX];
    for (unsigned i = 0; i < rounds; i++) {
        cpu_ratio[i] = large->cpu_us[i] / small->cpu_us[i];
        rate_ratio[i] = small->rate[i] / large->rate[i];
    }
    struct spread cpu = spread_of(cpu_ratio, rounds), rate = spread_of(rate_ratio, rounds);
    print_bed("small", small, rounds);
    print_bed("large", large, rounds);
    printf("an operation on the large one costs %.2f times what it costs on the small one (middle half of the "
           "rounds: %.2f to %.2f); by the rate %.2f (%.2f to %.2f)\n",
           cpu.median, cpu.lower, cpu.upper, rate.median, rate.lower, rate.upper);
    printf("a node's state takes %.0f bytes for an entry of a request of 64, %.0f for one alone in its request; "
           "private memory %.1f MiB\n", f->filled_bytes, f->single_bytes, (double)f->private_kib / 1024);
    printf("ready after kill -9: %.2f s; with nothing of its store in memory %.2f s; under load %.2f s\n\n",
           f->start_idle_s, f->start_cold_s, f->start_load_s);
    fflush(stdout);
    if (!json) return;
    fprintf(json, "{\"name\":\"growth\",\"entries\":%llu,\"rounds\":%u,\"operations_per_s\":%.1f,\"nodes_cpu_us\":%.2f,"
            "\"small_operations_per_s\":%.1f,\"small_nodes_cpu_us\":%.2f,\"cost\":%.3f,\"cost_lower\":%.3f,"
            "\"cost_upper\":%.3f,\"p99_ms\":%.2f,\"stored_bytes_full\":%.0f,\"stored_bytes_single\":%.0f,"
            "\"private_mib\":%.1f,\"start_s\":%.2f,\"start_cold_s\":%.2f,\"start_load_s\":%.2f}\n",
            (unsigned long long)f->size, rounds, spread_of(large->rate, rounds).median,
            spread_of(large->cpu_us, rounds).median, spread_of(small->rate, rounds).median,
            spread_of(small->cpu_us, rounds).median, cpu.median, cpu.lower, cpu.upper, large->p99_ms, f->filled_bytes,
            f->single_bytes, (double)f->private_kib / 1024, f->start_idle_s, f->start_cold_s, f->start_load_s);
    fflush(json);
}

/* --- sizes --- */

static void at_size(struct cluster_bed *large, const struct growth *g, struct figures *f, FILE *json)
{
    struct cluster_bed *small = xcalloc(1, sizeof *small);
    bed_open(small, g->nodes, NULL);
    world_open_people(&small->w, &small->t);
    fill_ledger(&small->w, &small->t, SMALL_SIZE, LIMIT_OPERATIONS, EVENT_BYTES);
    double bytes = state_bytes(&large->t);
    large->p99_ms = 0;
    all_rounds(small, large, g);
    f->size = large->first;
    f->single_bytes = (state_bytes(&large->t) - bytes) / (double)(large->last - large->first);
    for (unsigned i = 1; i <= large->t.n; i++) {
        uint64_t kib = usage_of(large->t.pids[i]).private_kib;
        if (kib > f->private_kib) f->private_kib = kib;
    }
    bed_close(small);
    setenv("HOME", large->t.dir, 1); /* what clients keep was in the other's */
    f->start_idle_s = start_after_kill(&large->t, false);
    f->start_cold_s = start_after_kill(&large->t, true);
    f->start_load_s = start_under_load(large);
    print_all(small, large, f, g->rounds, json);
    free(small);
}

void bench_growth(const struct growth *growth, FILE *json)
{
    struct growth g = *growth;
    struct cluster_bed *large = xcalloc(1, sizeof *large);
    if (g.rounds > ROUNDS_MAX) g.rounds = ROUNDS_MAX;
    bed_open(large, g.nodes, g.dir);
    uint64_t size = fill_size(&large->t), to = SMALL_SIZE * 10;
    if (size < g.leaves) fill_check_space(large->t.dir, large->t.n, g.leaves - size, EVENT_BYTES);
    world_open_people(&large->w, &large->t);
    printf("event add, %u B, %u clients, applied; median (least to most) of %u rounds of %.1f s by turns\n",
           EVENT_BYTES, CLIENTS, g.rounds, g.seconds);
    printf("%-6s %21s %10s %18s %8s %18s %9s %9s\n", "ledger", "entries", "rate", "", "us/op", "", "p99 ms", "dev KiB");
    while (to < size && to < g.leaves) to *= 10;
    for (;; to *= 10) {
        struct figures f = {.size = 0};
        if (to > g.leaves) to = g.leaves;
        double bytes = state_bytes(&large->t);
        uint64_t before = fill_size(&large->t);
        fill_ledger(&large->w, &large->t, to, LIMIT_OPERATIONS, EVENT_BYTES);
        uint64_t now = fill_size(&large->t);
        f.filled_bytes = now > before ? (state_bytes(&large->t) - bytes) / (double)(now - before)
                                      : state_bytes(&large->t) / (double)now; /* all that it has */
        at_size(large, &g, &f, json);
        if (to >= g.leaves) break;
    }
    bed_close(large);
    free(large);
}
