/* Threads for what would hold up the loop: signatures above all.
 *
 * Our own threads instead of libuv's pool, since that one tells the loop by uv_async (net/wake.h says what that
 * costs), and since what stays there, handshakes above all, must not stand before requests of users.
 *
 * Loop thread for all but `run`. A task stays valid until its `done`, which comes exactly once: on the loop, with
 * `canceled` when it was not run or its owner has stopped (then it may only free itself).
 */
#ifndef CONSENSUS_WORKERS_H
#define CONSENSUS_WORKERS_H

#include <stdbool.h>
#include <stddef.h>

#include <uv.h>

#define WORKERS_MAX 128

struct workers;

struct worker_task {
    void (*run)(struct worker_task *task);                  /* on a worker */
    void (*done)(struct worker_task *task, bool canceled);  /* on the loop */
    struct worker_task *next;
    bool ran;
};

/* `threads`: 0 for one per processor, at least two; at most WORKERS_MAX. NULL: no descriptor is left. */
struct workers *workers_new(uv_loop_t *loop, unsigned threads);
/* In order. How many may wait is for the callers to bound. */
void workers_queue(struct workers *w, struct worker_task *task);
size_t workers_count(const struct workers *w); /* tasks whose `done` has not come */
/* Returns when no task runs any more and none will start; their `done` still
 * comes, canceled, as the loop turns. Frees itself after the last. */
void workers_stop(struct workers *w);

#endif
