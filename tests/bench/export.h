/* What auditors who export and verify the ledger cost those who write to it. */
#ifndef TESTS_BENCH_EXPORT_H
#define TESTS_BENCH_EXPORT_H

#include <stdint.h>
#include <stdio.h>

/* On a cluster of its own with a ledger of so many entries; `rounds` times. Prints a table (and JSON lines where `json`
 * isn't NULL). */
void bench_export(unsigned nodes, uint64_t leaves, unsigned rounds, unsigned clients, double seconds, FILE *json);

#endif
