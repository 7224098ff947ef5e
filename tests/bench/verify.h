/* What `consilium verify` costs on a large ledger: time, CPU and memory per entry, beside what no verifier can do
 * without: the hashes and signatures of these very entries. */
#ifndef TESTS_BENCH_VERIFY_H
#define TESTS_BENCH_VERIFY_H

#include <stdio.h>

#include "tests/bench/lanes.h"
#include "tests/lib/testbed.h"

/* Fills the ledger up to `leaves` entries with events, `operations` in a request (under one signature); then by turns,
 * `rounds` times: verifies one node's on one processor, and on all; hashes and verifies the same entries and nothing
 * else. Prints each one's lowest, median and highest rate (and lines of JSON where `json` isn't NULL). Ends the program
 * when a verdict isn't "fine". */
void bench_verify(struct bench_world *world, const struct testbed *t, uint64_t leaves, unsigned operations,
                  unsigned rounds, FILE *json);

#endif
