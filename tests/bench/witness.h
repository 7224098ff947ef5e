/* What witnessing costs writes: the same load on one cluster with it on and off, by turns. */
#ifndef TESTS_BENCH_WITNESS_H
#define TESTS_BENCH_WITNESS_H

#include <stdio.h>

#include "tests/bench/lanes.h"
#include "tests/lib/testbed.h"

/* For the nodes of a testbed that was made and not started: they are the test build that can be told not to witness. */
void bench_witness_programs(struct testbed *t);
/* `rounds` times each way for `seconds`, under a load that goes on. Prints rates with their spread and the ratios (and
 * JSON lines where `json` isn't NULL). */
void bench_witness(struct bench_world *world, const struct testbed *t, unsigned rounds, double seconds,
                   unsigned clients, FILE *json);

/* Of all nodes of that build. WITNESSING_ON returns once an entry is witnessed again. */
enum witnessing { WITNESSING_ON, WITNESSING_OFF, WITNESSING_TAKEN_FOR_GRANTED /* shares are given without */ };
void bench_witnessing(struct bench_world *world, enum witnessing how);

#endif
