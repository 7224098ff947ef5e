/* Large ledgers quickly: events in full requests from many clients. */
#ifndef TESTS_BENCH_FILL_H
#define TESTS_BENCH_FILL_H

#include "tests/bench/lanes.h"
#include "tests/lib/testbed.h"

/* Entries that a node has in its synced state; asked for with the first administrator's identity. */
uint64_t fill_size(const struct testbed *t);
/* Until the ledger has at least so many entries: events of `bytes`, `operations` in a request. Shows how far it is on
 * standard error. The number of events added. */
uint64_t fill_ledger(struct bench_world *w, const struct testbed *t, uint64_t leaves, unsigned operations, size_t bytes);

#endif
