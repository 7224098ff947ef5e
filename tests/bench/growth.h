/* Whether a long ledger is as fast as a short one. */
#ifndef TESTS_BENCH_GROWTH_H
#define TESTS_BENCH_GROWTH_H

#include <stdint.h>
#include <stdio.h>

struct growth {
    unsigned nodes, rounds;
    uint64_t leaves;
    double seconds;  /* of a round */
    const char *dir; /* of a cluster that was filled before and stays, or NULL: one that is removed */
};

/* A cluster is filled to 100,000 entries and ten times as many again and again up to `leaves` (from the size that it
 * has, if `dir` says so: then only that size or the last). At each size, in rounds by turns with a new cluster of
 * 10,000 entries on the same machine: the rate of events of 256 B from 64 clients and their processor time on all
 * nodes, each on the long and on the short ledger, and the ratios round by round. Then what the state takes for an
 * entry, and the time from starting a node that was killed with -9 until it is ready: idle, with nothing of its store
 * in the page cache, and under load. JSON lines to `json` too. Ends the program when the disk has no room for it. */
void bench_growth(const struct growth *growth, FILE *json);

#endif
