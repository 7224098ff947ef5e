/* What `consilium verify` costs on a large ledger: time, CPU and memory per entry. */
#ifndef TESTS_BENCH_VERIFY_H
#define TESTS_BENCH_VERIFY_H

#include <stdio.h>

#include "tests/bench/lanes.h"
#include "tests/lib/testbed.h"

/* Fills the ledger up to `leaves` entries with events, `operations` in a request (under one signature), then verifies one node's, and
 * prints a line (and one of JSON where `json` isn't NULL). Ends the program when the verdict isn't "fine". */
void bench_verify(struct bench_world *world, const struct testbed *t, uint64_t leaves, unsigned operations, FILE *json);

#endif
