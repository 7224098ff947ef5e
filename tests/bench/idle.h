/* What clients that only wait cost a node. */
#ifndef TESTS_BENCH_IDLE_H
#define TESTS_BENCH_IDLE_H

#include <stdio.h>

#include "tests/bench/world.h"

/* So many clients connect to one node and say hello, and nothing more: the node's private memory for each, at once and
 * after it has given back what idle connections don't need. One line (and JSON where `json` isn't NULL). */
void bench_idle(struct bench_world *w, const struct testbed *t, unsigned clients, FILE *json);

#endif
