/* A cluster for the bench, with the people and records that its clients need. */
#ifndef TESTS_BENCH_WORLD_H
#define TESTS_BENCH_WORLD_H

#include "tests/bench/lanes.h"
#include "tests/lib/testbed.h"

/* Of a testbed that is ready: a doctor, a patient in their care, records to show; those of the last time where its
 * folder has them. Ends the program when it can't. */
void world_open(struct bench_world *w, const struct testbed *t);
void world_open_people(struct bench_world *w, const struct testbed *t); /* the same, without records */
void world_close(struct bench_world *w);

unsigned world_leader(const struct testbed *t); /* member index; ends the program when nobody leads */
double nodes_cpu_us(const struct testbed *t); /* of all, since they started */

#endif
