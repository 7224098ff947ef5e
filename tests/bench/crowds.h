/* The same work by few clients and by many, by turns on one cluster: two runs of an hour differ by more than what is
 * asked here. */
#ifndef TESTS_BENCH_CROWDS_H
#define TESTS_BENCH_CROWDS_H

#include <stdio.h>

#include "tests/bench/lanes.h"

struct crowds {
    unsigned few, many; /* clients */
    unsigned rounds;    /* of a run each way; which way goes first changes */
    double seconds;     /* of each run */
};
/* `job` says the work (its clients and seconds are not looked at). Prints both rates with their spread and the ratio of
 * each round, many to few (and a JSON line where `json` isn't NULL). */
void bench_crowds(struct bench_world *world, const char *name, const struct job *job, const struct crowds *c,
                  FILE *json);
void bench_crowds_head(const struct crowds *c);

#endif
