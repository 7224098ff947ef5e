/* Time. Only node and cli read clocks; the ledger and the Raft core are given times. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

uint64_t clock_wall_ms(void);      /* milliseconds since 1970-01-01 UTC */
uint64_t clock_monotonic_ns(void); /* never goes back */
uint64_t clock_thread_ns(void);    /* of a processor, taken by the calling thread */

/* "2026-01-31T12:34:56.789Z" */
#define CLOCK_TEXT_SIZE 32
void clock_format(char out[CLOCK_TEXT_SIZE], uint64_t wall_ms);

#endif
