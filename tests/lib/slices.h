/* How long writes took, in slices of time of one kind: of each slice its median and its 99th percentile count, and
 * of the slices the median of these, in ms. One slice in which something else disturbed them changes little.
 */
#ifndef TESTS_LIB_SLICES_H
#define TESTS_LIB_SLICES_H

#include <stdint.h>

#define SLICES_MAX 32

struct slices {
    unsigned count, writes; /* slices; writes in all of them */
    double p50_ms[SLICES_MAX], p99_ms[SLICES_MAX];
};

void slices_add(struct slices *s, const uint32_t *took_us, unsigned count); /* sorted, one at least */
double slices_p99_ms(const struct slices *s);                               /* of one slice at least */
/* The beginning of a line, which the caller ends: so many writes, p50 and p99. */
void slices_print(const struct slices *s, const char *name);
/* A line: of each slice. */
void slices_print_p99s(const struct slices *s, const char *name);

#endif
