/* A whole chart at once against its records one by one. */
#ifndef TESTS_BENCH_CHART_H
#define TESTS_BENCH_CHART_H

#include <stdio.h>

#include "tests/bench/world.h"

/* `record show --patient` of all the patient's records, by the CLI with its start and connection, against as many
 * single reads over one connection that is open: time, processor time of the nodes, and the ratio; `rounds` times by
 * turns. JSON lines to `json`. */
void bench_chart(struct bench_world *w, const struct testbed *t, unsigned rounds, double seconds, FILE *json);

#endif
