/* Threads for what would hold up the loop: signatures and handshakes above all.
 *
 * Our own threads instead of libuv's pool, since that one tells the loop by uv_async (net/wake.h says what that
 * costs), and since each kind of work has its own here: strangers' handshakes, some milliseconds of a processor
 * each, must not stand before requests of users.
 *
 * Loop thread for all but `run`. A task stays valid until its `done`, which comes exactly once: on the loop, with
 * `canceled` when it was not run or its owner has stopped (then it may only free itself).
 */
#ifndef NET_WORKERS_H
#define NET_WORKERS_H

#include <stdbool.h>
#include <stddef.h>

#include <uv.h>

#include "base/queue.h"

#define WORKERS_MAX 128

struct workers;

struct worker_task {
    void (*run)(struct worker_task *task);                  /* on a worker */
    void (*done)(struct worker_task *task, bool canceled);  /* on the loop */
    struct queue_link link;
    bool ran;
};

struct workers_options {
    unsigned threads; /* 0: one per processor, at least two; at most WORKERS_MAX */
    int niceness;     /* above the process' own, as of setpriority(2) */
};

/* The threads begin with the first task; where none can be begun, the loop runs the tasks itself. While tasks are
 * under way, they keep the loop alive. NULL: no descriptor is left. */
struct workers *workers_new(uv_loop_t *loop, const struct workers_options *options);
/* In order. How many may wait is for the callers to bound. */
void workers_queue(struct workers *w, struct worker_task *task);
size_t workers_count(const struct workers *w); /* tasks whose `done` has not come */
/* Returns when no task runs any more and none will start; their `done` still comes, canceled, as the loop turns.
 * After the last it frees itself, then calls `closed`, if not NULL. Also from within a `done`. */
void workers_stop(struct workers *w, void (*closed)(void *data), void *data);

#endif
