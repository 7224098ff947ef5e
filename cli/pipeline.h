/* Work in order, prepared by many threads and finished by one.
 *
 * The owner fills a slot and submits it; any of the workers prepares it; one thread
 * finishes the slots, in the order in which they were submitted; then they are free
 * again. As many slots as there are is all that is under way at once. When a slot's
 * finish says so, nothing that was submitted later is finished any more: what stops
 * the work is the first in order, whichever thread came to it first.
 *
 * Where this process may use one processor only, all of it is done within
 * pipeline_submit: threads would take turns, and fetch from each other's caches. */
#ifndef CLI_PIPELINE_H
#define CLI_PIPELINE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

#define PIPELINE_SLOTS 32u

struct pipeline_work {
    void *data;
    /* On any worker, of which there are several at once; without workers all are called on the owner's thread. */
    void (*prepare)(void *data, uint32_t slot);
    /* On the finishing thread. False: stop. */
    bool (*finish)(void *data, uint32_t slot);
    /* On the finishing thread, first and last of all. False: stop. */
    bool (*begin)(void *data);
    void (*end)(void *data);
};

/* Workers: one for each processor that this process may use, at most PIPELINE_SLOTS / 4; 0: there is but one. */
uint32_t pipeline_workers(void);
uint32_t pipeline_slots(void); /* some more than workers */

struct pipeline;
/* ERR_NOMEM: the threads can't be started. `work` is copied. The owner stays the same thread until the end. */
enum err pipeline_open(struct pipeline **out, const struct pipeline_work *work, struct failure *failure);
/* Waits for the threads; what is not finished is dropped. NULL is nothing. */
void pipeline_close(struct pipeline *p);

/* --- for the owner's thread --- */

/* The slot to be filled next; waits until it is free. */
uint32_t pipeline_slot(struct pipeline *p);
void pipeline_submit(struct pipeline *p); /* that slot */
/* Until all that was submitted is finished or dropped. */
void pipeline_drain(struct pipeline *p);
bool pipeline_stopped(struct pipeline *p);

#endif
