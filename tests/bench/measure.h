/* What processes cost: CPU time, private memory, bytes written; percentiles. */
#ifndef TESTS_BENCH_MEASURE_H
#define TESTS_BENCH_MEASURE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct usage {
    double cpu_us;        /* user and system */
    uint64_t private_kib; /* memory shared with nobody and backed by no file */
};
struct usage usage_of(pid_t pid); /* zeros when it can't be read */
struct usage usage_self(void);
uint64_t device_written(const char *folder); /* bytes that its block device has written, of everybody; 0: unknown */
uint64_t stored_bytes(const char *folder); /* blocks that its files take, in bytes */

struct samples {
    uint32_t *us;
    size_t count, capacity;
};
void samples_add(struct samples *s, uint64_t ns);
double samples_percentile(struct samples *s, double percent); /* milliseconds; sorts */
void samples_clear(struct samples *s);

struct spread {
    double median, least, most, lower, upper; /* lower to upper: the middle half */
};
#define SPREAD_MOST 1024
struct spread spread_of(const double *values, unsigned count); /* at most SPREAD_MOST; zeros of none */

#endif
