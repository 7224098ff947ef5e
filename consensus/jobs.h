/* Jobs that travel between the loop and a thread, in order and in batches.
 *
 * A job is embedded by whoever gives it, so that handing it over allocates
 * nothing. A queue has one taker, who takes all that waits at once: under load
 * one wake-up serves many. Queues are unbounded lists; whoever pushes has
 * counted before (base/limits.h).
 */
#ifndef CONSENSUS_JOBS_H
#define CONSENSUS_JOBS_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/queue.h"

struct job {
    struct queue_link link;
    uint8_t kind; /* the taker's */
    enum err code; /* of a finished one */
};

struct job_queue {
    pthread_mutex_t lock;
    pthread_cond_t filled;
    struct queue list;
    bool closed, waiting;
};
void job_queue_init(struct job_queue *q);
void job_queue_destroy(struct job_queue *q); /* empty (CHECK) */
void job_queue_push(struct job_queue *q, struct job *job);
void job_queue_push_all(struct job_queue *q, struct queue *jobs); /* `jobs` is empty after */
bool job_queue_take(struct job_queue *q, struct queue *out);      /* false: none waits */
/* Waits for jobs, until `until_ns` of clock_monotonic_ns (UINT64_MAX: for ever) or close. */
enum job_wait { JOB_WAIT_FILLED, JOB_WAIT_TIMEOUT, JOB_WAIT_CLOSED };
enum job_wait job_queue_wait(struct job_queue *q, struct queue *out, uint64_t until_ns);
/* The taker finds JOB_WAIT_CLOSED once it has taken everything. */
void job_queue_close(struct job_queue *q);

#endif
