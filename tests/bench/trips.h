/* What witnessing adds to a write's and a read's latency, in round trips between nodes. */
#ifndef TESTS_BENCH_TRIPS_H
#define TESTS_BENCH_TRIPS_H

#include <stdio.h>

/* On a cluster of its own, of `nodes`, whose nodes are `one_way_ms` apart. Prints a table (and JSON lines where `json`
 * isn't NULL). */
void bench_trips(unsigned nodes, double one_way_ms, double seconds, FILE *json);

#endif
