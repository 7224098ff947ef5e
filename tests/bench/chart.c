#include "tests/bench/chart.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#define ROUNDS_MAX 64

struct readings {
    double chart_ms[ROUNDS_MAX], chart_cpu_us[ROUNDS_MAX];   /* of the whole chart */
    double single_ms[ROUNDS_MAX], single_cpu_us[ROUNDS_MAX]; /* of one record */
};

static void read_chart(struct readings *r, unsigned round, const struct bench_world *w, const struct testbed *t)
{
    char patient[ID_TEXT_SIZE];
    struct buffer out = {0};
    id_format(patient, &w->patient);
    double cpu = nodes_cpu_us(t);
    uint64_t begin = clock_monotonic_ns();
    testbed_expect(t, 0, &out, "-i %s/doctor.key --json record show --patient %s -n %zu", t->dir, patient,
                   w->record_count);
    r->chart_ms[round] = (double)(clock_monotonic_ns() - begin) / 1e6;
    r->chart_cpu_us[round] = nodes_cpu_us(t) - cpu;
    size_t shown = 0;
    for (const char *at = (const char *)out.data; (at = strstr(at, "\"record\"")) != NULL; at++) shown++;
    if (shown != w->record_count) testbed_fail(t, "a chart of %zu records shows %zu", w->record_count, shown);
    buffer_free(&out);
}

static void read_singles(struct readings *r, unsigned round, struct bench_world *w, const struct testbed *t,
                         double seconds)
{
    const struct job job = {.work = WORK_RECORD_SHOW, .clients = 1, .operations = 1, .wait = WAIT_COSIGNED,
                            .seconds = seconds};
    struct job_result result;
    double cpu = nodes_cpu_us(t);
    lanes_run(&result, w, &job);
    double n = result.operations ? (double)result.operations : 1;
    r->single_ms[round] = result.seconds * 1e3 / n;
    r->single_cpu_us[round] = (nodes_cpu_us(t) - cpu) / n;
    samples_clear(&result.applied);
    samples_clear(&result.cosigned);
}

void bench_chart(struct bench_world *w, const struct testbed *t, unsigned rounds, double seconds, FILE *json)
{
    struct readings r;
    if (rounds > ROUNDS_MAX) rounds = ROUNDS_MAX;
    for (unsigned i = 0; i < rounds; i++) {
        read_singles(&r, i, w, t, seconds);
        read_chart(&r, i, w, t);
    }
    double n = (double)w->record_count;
    struct spread chart = spread_of(r.chart_ms, rounds), single = spread_of(r.single_ms, rounds);
    struct spread chart_cpu = spread_of(r.chart_cpu_us, rounds), single_cpu = spread_of(r.single_cpu_us, rounds);
    printf("a chart of %.0f records: %.0f ms (%.0f to %.0f), nodes %.0f us a record (%.0f to %.0f)\n", n, chart.median,
           chart.least, chart.most, chart_cpu.median / n, chart_cpu.least / n, chart_cpu.most / n);
    printf("%.0f single reads: %.0f ms (%.0f to %.0f), nodes %.0f us a record (%.0f to %.0f)\n", n, n * single.median,
           n * single.least, n * single.most, single_cpu.median, single_cpu.least, single_cpu.most);
    printf("the chart takes %.3f of their time and %.3f of the nodes' processor time\n",
           chart.median / (n * single.median),
           chart_cpu.median / (n * single_cpu.median));
    if (json)
        fprintf(json,
                "{\"name\":\"chart\",\"records\":%.0f,\"chart_ms\":%.2f,\"chart_nodes_cpu_us\":%.1f,\"single_ms\":%.3f,"
                "\"single_nodes_cpu_us\":%.1f}\n", n, chart.median, chart_cpu.median, single.median, single_cpu.median);
}
