/* Ordinary clients of a cluster: processes that write events, one after the other, while a test does something to a
 * node. The first one writes through that node without a pause, and is measured; the others write now and then,
 * through all nodes. Of each write they note in shared memory whether they were told that it is done: afterwards each
 * can be looked for.
 *
 * The test owns the struct, which outlives them; what they share stays mapped. They end with the test. What fails by
 * the test's own fault ends the test (testbed_fail).
 */
#ifndef TESTS_LIB_WRITERS_H
#define TESTS_LIB_WRITERS_H

#include "tests/lib/testbed.h"

#define WRITERS 8

struct writers {
    const struct testbed *bed;
    unsigned node;                /* the first one's */
    struct id patient;            /* whom the events are about */
    pid_t pids[WRITERS];
    struct writer *each;          /* shared with its process */
    struct writers_watch *watch;  /* shared with the first one's */
};

/* All nodes are ready; `patient` is one of doctor.key's (testbed_care). */
void writers_start(struct writers *w, const struct testbed *bed, unsigned node, const struct id *patient);
void writers_stop(struct writers *w); /* also within a write */

/* Of one of them, 0 .. WRITERS - 1. */
unsigned writers_done(const struct writers *w, unsigned number); /* writes that were acknowledged, so far */
unsigned writers_failed(const struct writers *w, unsigned number);
const char *writers_why(const struct writers *w, unsigned number); /* the last one that failed did; "": none */

/* Once they have stopped: fails unless all writes that were acknowledged are on this node, and nothing twice. Returns
 * how many they are. */
unsigned writers_look_up(const struct writers *w, unsigned node);

/* --- what the first one's writes took, in slices, which the test numbers from 1 on --- */

/* It begins this one with its next write; 0: it rests, as it does at first. */
void writers_want_slice(struct writers *w, unsigned slice);
unsigned writers_slice(const struct writers *w);    /* that its last write began in; 0: it rests */
unsigned writers_measured(const struct writers *w); /* its writes in that slice, or, while it rests, in the last one */
/* While it rests: how long each of these took, in microseconds, sorted. Lent until the next slice. */
const uint32_t *writers_took_us(struct writers *w);

#endif
