/* What programs that torment one cluster under load share: the cluster, how it begins and how it ends. */
#ifndef TESTS_LIB_CHAOS_BED_H
#define TESTS_LIB_CHAOS_BED_H

#include "tests/lib/chaos.h"

extern struct chaos chaos;

/* Five nodes, and chaos_open's other arguments; then the clients work, through every node, and rest between what they do
 * (those of `make chaos` don't). For a cmocka setup: 0. */
int chaos_begin(unsigned faulty, bool frail);
int chaos_end(void **state); /* a cmocka teardown */
/* The last test of each: chaos_check. */
void nothing_is_lost(void **state);

#endif
