/* All of base/clock.h, for a test whose loop is its own: a clock that passes only as the loop turns, so
 * that a machine which pauses or is slow seems neither to the code under test nor to the test's own
 * time-outs. Threads that don't turn the loop have the real one. To be included by one file of a
 * program, in place of base/clock.c.
 */
#ifndef TESTS_LIB_PACED_CLOCK_H
#define TESTS_LIB_PACED_CLOCK_H

#include <stdio.h>
#include <time.h>

#include "base/clock.h"

#ifndef PACED_CLOCK_FAST
#define PACED_CLOCK_FAST 1 /* how many times as fast as real time */
#endif
#define PACED_CLOCK_STEP_NS 5000000u /* of real time, at most, from turn to turn */

static _Thread_local uint64_t paced_ns, paced_seen_ns; /* the clock, 0: not on this thread; when it was set */
static _Thread_local uint64_t paced_begun_ns;
static _Atomic uint64_t paced_wall_begun_ms = UINT64_C(1790000000000); /* a test may set the wall clock by it */

static uint64_t paced_real_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* Once in every turn of the test's loop. */
static void paced_clock_turn(void)
{
    uint64_t now = paced_real_ns(), step = now - paced_seen_ns;
    if (!paced_ns)
        paced_ns = paced_begun_ns = now;
    else
        paced_ns += PACED_CLOCK_FAST * (step < PACED_CLOCK_STEP_NS ? step : PACED_CLOCK_STEP_NS);
    paced_seen_ns = now;
}

uint64_t clock_monotonic_ns(void) { return paced_ns ? paced_ns : paced_real_ns(); }
uint64_t clock_wall_ms(void) { return paced_wall_begun_ms + (paced_ns - paced_begun_ns) / 1000000; }
void clock_format(char out[CLOCK_TEXT_SIZE], uint64_t wall_ms)
{
    snprintf(out, CLOCK_TEXT_SIZE, "%llu", (unsigned long long)wall_ms);
}

#endif
