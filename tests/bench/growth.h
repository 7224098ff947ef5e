/* Whether a long ledger is as fast as a short one. */
#ifndef TESTS_BENCH_GROWTH_H
#define TESTS_BENCH_GROWTH_H

#include <stdio.h>

#include "tests/bench/fill.h"

/* At 10,000 entries, and at ten times as many again and again up to `leaves`: the rate of events of 256 B from 64
 * clients, their processor time on all nodes, what the nodes' folders took for each entry since the last size, and
 * the time from starting a node that was killed with -9 until it is ready. One line each; JSON lines to `json` too. */
void bench_growth(struct bench_world *w, struct testbed *t, uint64_t leaves, unsigned rounds, double seconds, FILE *json);

#endif
