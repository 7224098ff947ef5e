/* Work on libuv's pool whose owner may go away: counted, and stopped safely.
 *
 * Loop thread. A task stays valid until its `done`, which comes exactly once:
 * on the loop, with `canceled` when it was not run or its owner has stopped (then
 * it may only free itself).
 */
#ifndef CONSENSUS_WORKERS_H
#define CONSENSUS_WORKERS_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include <uv.h>

struct workers;

struct worker_task {
    void (*run)(struct worker_task *task);                  /* on a worker */
    void (*done)(struct worker_task *task, bool canceled);  /* on the loop */
    uv_work_t work;
    struct workers *workers;
    struct worker_task *next, *previous;
};

struct workers *workers_new(uv_loop_t *loop);
void workers_queue(struct workers *w, struct worker_task *task);
size_t workers_count(const struct workers *w); /* tasks whose `done` has not come */
/* Returns when no task runs any more and none will start; their `done` still
 * comes, canceled, as the loop turns. Frees itself after the last. */
void workers_stop(struct workers *w);

#endif
