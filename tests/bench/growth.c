#include "tests/bench/growth.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/bench/world.h"

#define FIRST_SIZE 10000
#define CLIENTS 64
#define EVENT_BYTES 256
#define ROUNDS_MAX 64

struct cost {
    double rate[ROUNDS_MAX], cpu_us[ROUNDS_MAX], device[ROUNDS_MAX];
    double p99_ms;
};

/* Of one node, log included: the mean over all. */
static double node_bytes(const struct testbed *t)
{
    double sum = 0;
    char folder[320];
    for (unsigned i = 1; i <= t->n; i++) {
        snprintf(folder, sizeof folder, "%s/node-%u/state", t->dir, i);
        sum += (double)stored_bytes(folder);
    }
    return sum / t->n;
}

static void one_round(struct cost *c, unsigned round, struct bench_world *w, const struct testbed *t, double seconds)
{
    const struct job job = {.work = WORK_EVENT, .clients = CLIENTS, .operations = 1, .bytes = EVENT_BYTES,
                            .wait = WAIT_APPLIED, .seconds = seconds};
    struct job_result r;
    double cpu = nodes_cpu_us(t);
    uint64_t device = device_written(t->dir);
    lanes_run(&r, w, &job);
    double n = r.operations ? (double)r.operations : 1;
    c->rate[round] = n / r.seconds;
    c->cpu_us[round] = (nodes_cpu_us(t) - cpu) / n;
    c->device[round] = (double)(device_written(t->dir) - device) / n;
    double p99 = samples_percentile(&r.applied, 99);
    if (p99 > c->p99_ms) c->p99_ms = p99;
    samples_clear(&r.applied);
    samples_clear(&r.cosigned);
}

/* A node that is not the first one, where the clients of `status` go. */
static double start_after_kill(struct testbed *t)
{
    unsigned node = t->n;
    testbed_signal(t, node, SIGKILL);
    uint64_t begin = clock_monotonic_ns();
    testbed_start(t, node);
    testbed_wait_ready(t, TESTBED_PATIENCE_S);
    return (double)(clock_monotonic_ns() - begin) / 1e9;
}

static void print_size(const struct cost *c, unsigned rounds, uint64_t size, double per_entry, double start_s, FILE *json)
{
    struct spread rate = spread_of(c->rate, rounds), cpu = spread_of(c->cpu_us, rounds);
    struct spread device = spread_of(c->device, rounds);
    printf("%9llu %8.0f/s (%6.0f to %6.0f) %8.1f (%6.1f to %6.1f) %9.1f %9.1f %8.0f %8.2f\n", (unsigned long long)size,
           rate.median, rate.least, rate.most, cpu.median, cpu.least, cpu.most, c->p99_ms, device.median / 1024,
           per_entry, start_s);
    fflush(stdout);
    if (!json) return;
    fprintf(json, "{\"name\":\"growth\",\"entries\":%llu,\"operations_per_s\":%.1f,\"nodes_cpu_us\":%.2f,\"p99_ms\":%.2f,"
            "\"device_bytes\":%.0f,\"stored_bytes_per_node\":%.0f,\"start_s\":%.2f}\n", (unsigned long long)size,
            rate.median, cpu.median, c->p99_ms, device.median, per_entry, start_s);
    fflush(json);
}

void bench_growth(struct bench_world *w, struct testbed *t, uint64_t leaves, unsigned rounds, double seconds, FILE *json)
{
    double cpu_first = 0, rate_first = 0;
    if (rounds > ROUNDS_MAX) rounds = ROUNDS_MAX;
    printf("event add, %u B, %u clients, applied; median (least to most) of %u rounds of %.0f s\n", EVENT_BYTES, CLIENTS,
           rounds, seconds);
    printf("%9s %10s %18s %8s %18s %9s %9s %8s %8s\n", "entries", "rate", "", "us/op", "", "p99 ms", "dev KiB", "stored B",
           "start s");
    for (uint64_t size = FIRST_SIZE; size <= leaves; size *= 10) {
        struct cost c = {.p99_ms = 0};
        double bytes = node_bytes(t);
        uint64_t before = fill_size(t);
        fill_ledger(w, t, size, LIMIT_OPERATIONS, EVENT_BYTES);
        double added = (double)(fill_size(t) - before);
        double per_entry = added > 0 ? (node_bytes(t) - bytes) / added : 0;
        for (unsigned i = 0; i < rounds; i++) one_round(&c, i, w, t, seconds);
        print_size(&c, rounds, size, per_entry, start_after_kill(t), json);
        double cpu = spread_of(c.cpu_us, rounds).median, rate = spread_of(c.rate, rounds).median;
        if (size == FIRST_SIZE) {
            cpu_first = cpu;
            rate_first = rate;
        } else {
            printf("          an operation costs %.2f times what it costs at %u entries (by the rate: %.2f)\n",
                   cpu / cpu_first, FIRST_SIZE, rate_first / rate);
        }
    }
}
