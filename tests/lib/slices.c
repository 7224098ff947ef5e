#include "tests/lib/slices.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(const double *values, unsigned count)
{
    double sorted[SLICES_MAX];
    CHECK(count > 0 && count <= SLICES_MAX);
    memcpy(sorted, values, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, by_value);
    return count % 2 ? sorted[count / 2] : (sorted[count / 2 - 1] + sorted[count / 2]) / 2;
}

void slices_add(struct slices *s, const uint32_t *took_us, unsigned count)
{
    CHECK(count > 0 && s->count < SLICES_MAX);
    s->p50_ms[s->count] = took_us[count / 2] / 1000.0;
    s->p99_ms[s->count] = took_us[count - 1 - count / 100] / 1000.0;
    s->writes += count;
    s->count++;
}

double slices_p99_ms(const struct slices *s) { return median(s->p99_ms, s->count); }

void slices_print(const struct slices *s, const char *name)
{
    printf("  %-28s %6u writes, p50 %6.1f ms, p99 %6.1f ms", name, s->writes, median(s->p50_ms, s->count),
           median(s->p99_ms, s->count));
}

void slices_print_p99s(const struct slices *s, const char *name)
{
    printf("    p99 of the slices %s:", name);
    for (unsigned i = 0; i < s->count; i++)
        printf(" %.1f", s->p99_ms[i]);
    printf("\n");
}
