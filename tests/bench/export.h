/* What auditors who export and verify the ledger cost those who write to it. */
#ifndef TESTS_BENCH_EXPORT_H
#define TESTS_BENCH_EXPORT_H

#include <stdint.h>
#include <stdio.h>

struct export_cost {
    unsigned nodes, clients;
    unsigned rounds;  /* an export and a verification each */
    uint64_t leaves;  /* to be exported; the ledger has at least so many, and all of them are verified */
    double seconds;   /* of a slice */
    const char *dir;  /* of a cluster that was filled before and stays, or NULL: one that is removed */
};

/* First each alone, then under a load of writes in slices by turns: the auditor's program runs in one and is stopped in
 * the next, until it has ended. An auditor has a machine of their own, so that the program only gets what of the
 * writers' processor is left over (SCHED_IDLE), and what the slices differ by is the nodes' work for it. Prints writes,
 * processor time of the nodes for each, and the ratios of neighbouring slices (JSON lines to `json` where it isn't
 * NULL). */
void bench_export(const struct export_cost *cost, FILE *json);

#endif
