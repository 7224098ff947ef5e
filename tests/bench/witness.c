/* One load goes on, and witnessing is switched off and on beneath it, so that both ways see the same machine, the same
 * ledger and the same connections. What happens just after a switch is not counted.
 */
#include "tests/bench/witness.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/bench/world.h"

#define SWITCH "UNWITNESSED_WHILE" /* tests/lib/unwitnessed.c */
#define ROUNDS_MOST 64
#define EVENT_BYTES 1024
#define SETTLE_NS 150000000 /* checkpoints catch up after a switch */
#define FOREVER_S 3600.0

struct slice {
    double rate, cpu_us; /* operations a second; of all nodes, for each */
};

struct bench {
    const struct testbed *t;
    const struct job_result *r;
    struct slice off[ROUNDS_MOST], on[ROUNDS_MOST];
    unsigned rounds, done; /* done: slices, two for a round */
    double seconds;
    bool settling;
    uint64_t since_ns, operations; /* at the last switch, or since it settled */
    double cpu_us;
};

void bench_witness_programs(struct testbed *t)
{
    char path[400];
    snprintf(path, sizeof path, "%s/unwitnessed", t->dir);
    setenv(SWITCH, path, 1);
    for (unsigned i = 1; i <= t->n; i++)
        t->program[i] = "unwitnessed";
}

static void switch_to(enum witnessing how)
{
    const char *path = getenv(SWITCH);
    if (how == WITNESSING_ON) {
        unlink(path);
        return;
    }
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool written = file >= 0 && (how == WITNESSING_OFF || write(file, "shares", 6) == 6);
    if (!written) {
        fprintf(stderr, "bench: cannot write %s\n", path);
        exit(1);
    }
    close(file);
}

void bench_witnessing(struct bench_world *world, enum witnessing how)
{
    const struct job job = {.work = WORK_EVENT, .clients = 1, .operations = 1, .bytes = 64, .wait = WAIT_COSIGNED,
                            .seconds = 0.1};
    struct job_result r;
    switch_to(how);
    if (how != WITNESSING_ON) return;
    lanes_run(&r, world, &job);
    samples_clear(&r.applied);
    samples_clear(&r.cosigned);
}

/* off, on, on, off, off, ...: neither is always the later one of its round. */
static bool is_off(unsigned slice) { return (slice + 1) / 2 % 2 == 0; }

static void turn(struct bench *b)
{
    switch_to(is_off(b->done) ? WITNESSING_OFF : WITNESSING_ON);
    b->settling = true;
    b->since_ns = clock_monotonic_ns();
}

static void begin_slice(struct bench *b, uint64_t now)
{
    b->settling = false;
    b->since_ns = now;
    b->operations = b->r->operations;
    b->cpu_us = nodes_cpu_us(b->t);
}

static void end_slice(struct bench *b, uint64_t now)
{
    double n = (double)(b->r->operations - b->operations), seconds = (double)(now - b->since_ns) / 1e9;
    struct slice *s = is_off(b->done) ? &b->off[b->done / 2] : &b->on[b->done / 2];
    *s = (struct slice){n / seconds, n > 0 ? (nodes_cpu_us(b->t) - b->cpu_us) / n : 0};
    b->done++;
}

static void began(void *data) { turn(data); }

static bool ended(void *data)
{
    struct bench *b = data;
    uint64_t now = clock_monotonic_ns(), passed = now - b->since_ns;
    if (b->settling) {
        if (passed >= SETTLE_NS) begin_slice(b, now);
    } else if ((double)passed >= b->seconds * 1e9) {
        end_slice(b, now);
        if (b->done < 2 * b->rounds) turn(b);
    }
    if (b->done < 2 * b->rounds) return false;
    switch_to(WITNESSING_ON); /* or who waits for a checkpoint is never answered */
    return true;
}

static struct spread rates(const struct slice *slices, unsigned count)
{
    double values[ROUNDS_MOST] = {0};
    for (unsigned i = 0; i < count; i++) values[i] = slices[i].rate;
    return spread_of(values, count);
}

static double cpu(const struct slice *slices, unsigned count)
{
    double values[ROUNDS_MOST] = {0};
    for (unsigned i = 0; i < count; i++) values[i] = slices[i].cpu_us;
    return spread_of(values, count).median;
}

/* In percent of their mean: a half in which the machine stood still counts for something, but not for everything. */
static double difference(double more, double less) { return more + less > 0 ? 200 * (more - less) / (more + less) : 0; }

/* Each round against itself: its two halves saw about the same machine. The middle half of the rounds is the spread:
 * what else the machine does makes some of them mean nothing. */
static void report(const struct bench *b, const char *how, FILE *json)
{
    double slower[ROUNDS_MOST] = {0}, dearer[ROUNDS_MOST] = {0};
    unsigned n = b->rounds;
    for (unsigned i = 0; i < n; i++) {
        slower[i] = difference(b->off[i].rate, b->on[i].rate);
        dearer[i] = difference(b->on[i].cpu_us, b->off[i].cpu_us);
    }
    struct spread off = rates(b->off, n), on = rates(b->on, n);
    struct spread rate = spread_of(slower, n), more = spread_of(dearer, n);
    double off_us = cpu(b->off, n), on_us = cpu(b->on, n);
    printf("%-38s %7.0f/s (%5.0f -%6.0f) %6.0f us | %7.0f/s (%5.0f -%6.0f) %6.0f us | %5.1f%% (%.1f to %.1f), "
           "%5.1f%% (%.1f to %.1f)\n", how, off.median, off.least, off.most, off_us, on.median, on.least, on.most,
           on_us, rate.median, rate.lower, rate.upper, more.median, more.lower, more.upper);
    if (json)
        fprintf(json, "{\"name\":\"witnessing costs\",\"rounds_are\":\"%s\",\"rounds\":%u,\"off_per_s\":%.1f,"
                "\"on_per_s\":%.1f,\"off_nodes_us\":%.1f,\"on_nodes_us\":%.1f,\"throughput_percent\":%.2f,"
                "\"lower\":%.2f,\"upper\":%.2f,\"cpu_percent\":%.2f,\"cpu_lower\":%.2f,\"cpu_upper\":%.2f}\n", how, n,
                off.median, on.median, off_us, on_us, rate.median, rate.lower, rate.upper, more.median, more.lower,
                more.upper);
}

static void run(struct bench_world *w, const struct testbed *t, const char *how, unsigned awaiting, unsigned rounds,
                double seconds, unsigned clients, FILE *json)
{
    static struct bench b;
    struct job_result r;
    const struct job job = {.work = WORK_EVENT, .clients = clients, .operations = 1, .bytes = EVENT_BYTES,
                            .wait = WAIT_APPLIED, .awaiting = awaiting, .seconds = FOREVER_S, .began = began,
                            .ended = ended, .data = &b};
    b = (struct bench){.t = t, .r = &r, .rounds = rounds, .seconds = seconds};
    lanes_run(&r, w, &job);
    bench_witnessing(w, WITNESSING_ON);
    report(&b, how, json);
    samples_clear(&r.applied);
    samples_clear(&r.cosigned);
}

void bench_witness(struct bench_world *world, const struct testbed *t, unsigned rounds, double seconds,
                   unsigned clients, FILE *json)
{
    if (rounds > ROUNDS_MOST) rounds = ROUNDS_MOST;
    printf("event add, 1 KiB, %u clients, %u nodes; %u rounds of %.1f s without witnessing and %.1f s with it\n",
           clients, t->n, rounds, seconds, seconds);
    printf("%-38s %34s | %34s | %s\n", "", "off: median (all), nodes/op", "on: median (all), nodes/op",
           "on costs: throughput, nodes' CPU (middle half)");
    run(world, t, "nobody waits for it", 0, rounds, seconds, clients, json);
    run(world, t, "one client always waits for co-signed", 1, rounds, seconds, clients, json);
}
