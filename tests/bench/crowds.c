#include "tests/bench/crowds.h"

#define ROUNDS_MOST 64

static double rate_of(struct bench_world *w, const struct job *job, unsigned clients, double seconds)
{
    struct job one = *job;
    struct job_result r;
    one.clients = clients;
    one.seconds = seconds;
    lanes_run(&r, w, &one);
    samples_clear(&r.applied);
    samples_clear(&r.cosigned);
    return (double)r.operations / r.seconds;
}

void bench_crowds_head(const struct crowds *c)
{
    printf("%u rounds by turns of %.1f s with %u clients and %.1f s with %u: median (least to most)\n", c->rounds,
           c->seconds, c->few, c->seconds, c->many);
}

void bench_crowds(struct bench_world *world, const char *name, const struct job *job, const struct crowds *c,
                  FILE *json)
{
    double few[ROUNDS_MOST], many[ROUNDS_MOST], ratios[ROUNDS_MOST];
    unsigned rounds = c->rounds < ROUNDS_MOST ? c->rounds : ROUNDS_MOST;
    for (unsigned i = 0; i < rounds; i++) {
        if (i % 2 == 0) few[i] = rate_of(world, job, c->few, c->seconds);
        many[i] = rate_of(world, job, c->many, c->seconds);
        if (i % 2 == 1) few[i] = rate_of(world, job, c->few, c->seconds);
        ratios[i] = few[i] > 0 ? many[i] / few[i] : 0;
    }
    struct spread a = spread_of(few, rounds), b = spread_of(many, rounds), r = spread_of(ratios, rounds);
    printf("%-22s %7.0f/s (%.0f to %.0f) %7.0f/s (%.0f to %.0f)   %.2f (%.2f to %.2f; middle half %.2f to %.2f)\n",
           name, a.median, a.least, a.most, b.median, b.least, b.most, r.median, r.least, r.most, r.lower, r.upper);
    fflush(stdout);
    if (!json) return;
    fprintf(json,
            "{\"name\":\"crowds\",\"operation\":\"%s\",\"few\":%u,\"many\":%u,\"rounds\":%u,\"few_per_s\":%.1f,"
            "\"many_per_s\":%.1f,\"ratio\":%.3f,\"least\":%.3f,\"most\":%.3f}\n",
            name, c->few, c->many, rounds, a.median, b.median, r.median, r.least, r.most);
}
