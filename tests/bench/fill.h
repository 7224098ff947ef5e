/* Large ledgers quickly: events in full requests from many clients. */
#ifndef TESTS_BENCH_FILL_H
#define TESTS_BENCH_FILL_H

#include <signal.h>

#include "tests/bench/lanes.h"
#include "tests/lib/testbed.h"

struct fill {
    uint64_t leaves;      /* until the ledger has at least so many */
    unsigned operations;  /* in a request */
    unsigned connections; /* with one request under way each */
    size_t bytes;         /* of each event's note */
    const volatile sig_atomic_t *stop; /* may be NULL; once set, what is under way is waited for and that's all */
};
#define FILL_CONNECTIONS 64

/* Entries that a node has in its synced state; asked for with the first administrator's identity. */
uint64_t fill_size(const struct testbed *t);
/* Fills, showing on standard error how far it is, at what rate and how long it will take. What a node refuses for the
 * moment is sent again. The number of events added; `seconds` (may be NULL) gets the time it took. */
uint64_t fill_run(struct bench_world *w, const struct testbed *t, const struct fill *fill, double *seconds);
/* The same with FILL_CONNECTIONS. */
uint64_t fill_ledger(struct bench_world *w, const struct testbed *t, uint64_t leaves, unsigned operations,
                     size_t bytes);

/* What so many entries with events of `bytes` will take on the disk, for all nodes, in bytes: a little more than was
 * measured, logs included. */
uint64_t fill_needs(unsigned nodes, uint64_t leaves, size_t bytes);
/* Ends the program with a message unless `folder` has room for that many more. */
void fill_check_space(const char *folder, unsigned nodes, uint64_t leaves, size_t bytes);

#endif
