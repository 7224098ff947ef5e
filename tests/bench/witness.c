#include "tests/bench/witness.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/bench/world.h"

#define SWITCH "UNWITNESSED_WHILE" /* tests/lib/unwitnessed.c */
#define ROUNDS_MOST 64
#define EVENT_BYTES 1024

enum way { WAY_OFF, WAY_ON, WAY_AWAITED, WAY_PROVED, WAYS };

static const char *const way_names[WAYS] = {"off", "on", "on, one of the clients waits for co-signed",
                                            "on, every client waits for co-signed and checks its proof"};

struct figures { /* of each way, by round */
    double rate[WAYS][ROUNDS_MOST], cpu_us[WAYS][ROUNDS_MOST], p50[WAYS][ROUNDS_MOST], p99[WAYS][ROUNDS_MOST];
};

void bench_witness_programs(struct testbed *t)
{
    char path[400];
    snprintf(path, sizeof path, "%s/unwitnessed", t->dir);
    setenv(SWITCH, path, 1);
    for (unsigned i = 1; i <= t->n; i++)
        t->program[i] = "unwitnessed";
}

void bench_witnessing(struct bench_world *world, bool on)
{
    const char *path = getenv(SWITCH);
    const struct job job = {.work = WORK_EVENT, .clients = 1, .operations = 1, .bytes = 64, .wait = WAIT_COSIGNED,
                            .seconds = 0.1};
    struct job_result r;
    if (on) {
        unlink(path);
        lanes_run(&r, world, &job);
        samples_clear(&r.applied);
        samples_clear(&r.cosigned);
        return;
    }
    int file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0) {
        fprintf(stderr, "bench: cannot write %s\n", path);
        exit(1);
    }
    close(file);
}

static void run(struct figures *f, struct bench_world *w, const struct testbed *t, enum way way, unsigned round,
                double seconds, unsigned clients)
{
    const struct job job = {.work = WORK_EVENT, .clients = clients, .operations = 1, .bytes = EVENT_BYTES,
                            .wait = way == WAY_PROVED ? WAIT_COSIGNED : WAIT_APPLIED, .awaiting = way == WAY_AWAITED,
                            .seconds = seconds};
    struct job_result r;
    bench_witnessing(w, way != WAY_OFF);
    double before = nodes_cpu_us(t);
    lanes_run(&r, w, &job);
    f->rate[way][round] = (double)r.operations / r.seconds;
    /* The warm-up's operations are not counted, its processor time is: the same in each way. */
    double cpu = (nodes_cpu_us(t) - before) * r.seconds / (r.seconds + LANES_WARM_UP_S);
    f->cpu_us[way][round] = cpu / (double)r.operations;
    f->p50[way][round] = samples_percentile(&r.applied, 50);
    f->p99[way][round] = samples_percentile(&r.applied, 99);
    samples_clear(&r.applied);
    samples_clear(&r.cosigned);
}

static void print_ways(const struct figures *f, unsigned rounds, FILE *json)
{
    printf("%-60s %27s %9s %9s %19s\n", "witnessing", "rate: median (from - to)", "p50 ms", "p99 ms", "nodes us/op");
    for (unsigned way = 0; way < WAYS; way++) {
        struct spread rate = spread_of(f->rate[way], rounds), cpu = spread_of(f->cpu_us[way], rounds);
        double p50 = spread_of(f->p50[way], rounds).median, p99 = spread_of(f->p99[way], rounds).median;
        printf("%-60s %9.0f (%6.0f - %6.0f) %9.2f %9.2f %7.0f (%4.0f-%4.0f)\n", way_names[way], rate.median, rate.least,
               rate.most, p50, p99, cpu.median, cpu.least, cpu.most);
        if (json)
            fprintf(json, "{\"name\":\"witnessing\",\"way\":\"%s\",\"rounds\":%u,\"operations_per_s\":%.1f,"
                    "\"least\":%.1f,\"most\":%.1f,\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"nodes_cpu_us\":%.1f}\n",
                    way_names[way], rounds, rate.median, rate.least, rate.most, p50, p99, cpu.median);
    }
}

/* Neighbours of one round saw about the same machine, so each is compared with its own round. */
static void print_cost(const struct figures *f, unsigned rounds, enum way way, FILE *json)
{
    double slower[ROUNDS_MOST], dearer[ROUNDS_MOST];
    for (unsigned i = 0; i < rounds; i++) {
        slower[i] = 100 * (1 - f->rate[way][i] / f->rate[WAY_OFF][i]);
        dearer[i] = 100 * (f->cpu_us[way][i] / f->cpu_us[WAY_OFF][i] - 1);
    }
    struct spread rate = spread_of(slower, rounds), cpu = spread_of(dearer, rounds);
    printf("%-60s %5.1f%% of throughput (median; rounds from %.1f to %.1f), %5.1f%% more CPU in nodes (%.1f to %.1f)\n",
           way_names[way], rate.median, rate.least, rate.most, cpu.median, cpu.least, cpu.most);
    if (json)
        fprintf(json, "{\"name\":\"witnessing costs\",\"way\":\"%s\",\"rounds\":%u,\"throughput_percent\":%.2f,"
                "\"least\":%.2f,\"most\":%.2f,\"nodes_cpu_percent\":%.2f}\n", way_names[way], rounds, rate.median,
                rate.least, rate.most, cpu.median);
}

void bench_witness(struct bench_world *world, const struct testbed *t, unsigned rounds, double seconds,
                   unsigned clients, FILE *json)
{
    static struct figures f;
    if (rounds > ROUNDS_MOST) rounds = ROUNDS_MOST;
    for (unsigned round = 0; round < rounds; round++)
        for (unsigned i = 0; i < WAYS; i++) { /* each way comes first, second, ... as often */
            enum way way = (enum way)((i + round) % WAYS);
            run(&f, world, t, way, round, seconds, clients);
            fprintf(stderr, "round %u of %u, %s: %.0f/s\n", round + 1, rounds, way_names[way], f.rate[way][round]);
        }
    printf("event add, 1 KiB, %u clients, %u nodes, %u rounds of %.1f s each way, by turns on one cluster\n", clients,
           t->n, rounds, seconds);
    print_ways(&f, rounds, json);
    printf("\nwhat it costs, against witnessing off in the same round:\n");
    for (unsigned way = WAY_ON; way < WAYS; way++)
        print_cost(&f, rounds, (enum way)way, json);
}
