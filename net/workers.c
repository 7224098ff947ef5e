#include "net/workers.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/log.h"
#include "net/wake.h"

#define SLICE_NS 100000000 /* the longest that there is */
#define MOMENT_NS 10000

/* Linux' struct sched_attr as first published, which glibc has from 2.41 on. */
struct attributes {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime_ns, deadline_ns, period_ns;
};

struct workers {
    struct wake wake; /* the first member */
    struct workers_options options;
    pthread_t threads[WORKERS_MAX];
    unsigned thread_count; /* the loop's, like all that comes before `lock` */
    size_t count;
    bool stopped;
    void (*closed)(void *data);
    void *data;
    uint64_t warned_ns;
    sem_t filled; /* as many as `waiting` has, and one for each thread at the end. No condition variable: with several
                   * who wait, that of glibc before 2.41 can lose a signal (its bug 25847) */
    pthread_mutex_t lock; /* guards what follows */
    struct queue waiting, finished;
    bool closing;
};

/* --- on a worker --- */

/* NULL: the end. */
static struct worker_task *wait_for_task(struct workers *w)
{
    while (sem_wait(&w->filled) != 0) CHECK(errno == EINTR);
    pthread_mutex_lock(&w->lock);
    struct worker_task *task = w->closing ? NULL : queue_pop(&w->waiting, struct worker_task, link);
    pthread_mutex_unlock(&w->lock);
    return task;
}

static void finish(struct workers *w, struct worker_task *task)
{
    task->run(task);
    task->ran = true;
    pthread_mutex_lock(&w->lock);
    queue_add(&w->finished, &task->link);
    pthread_mutex_unlock(&w->lock); /* the loop, once awake, wants it, and should not wait for who is nice */
    wake_send(&w->wake);
}

/* A thread's own, which only Linux has. One that can't be set costs the others some time, and nothing else.
 * Its share is less, and it is had in long slices: from Linux 6.12 on a thread with short ones, as all others have,
 * does not wait for the end of a longer one (sched_setattr(2); before, the slice of such threads is ignored). */
static void be_nice(int niceness)
{
    struct attributes own = {.size = sizeof own};
    if (niceness != 0) (void)prctl(PR_SET_TIMERSLACK, 1000ul); /* nanoseconds; of let_others */
    if (niceness == 0 || syscall(SYS_sched_getattr, 0, &own, sizeof own, 0) != 0) return;
    own.nice += niceness;
    own.runtime_ns = SLICE_NS;
    (void)syscall(SYS_sched_setattr, 0, &own, 0);
}

/* Whoever waits for this processor has it now. Without, a thread that never sleeps keeps it up to the kernel's next tick
 * each time, for 4 ms and more, however nice it is; sched_yield gives less away, or much more, as kernels differ. */
static void let_others(void)
{
    const struct timespec moment = {.tv_nsec = MOMENT_NS};
    (void)nanosleep(&moment, NULL);
}

static void *work(void *data)
{
    struct workers *w = data;
    be_nice(w->options.niceness);
    for (struct worker_task *task; (task = wait_for_task(w));) {
        finish(w, task);
        if (w->options.niceness) let_others();
    }
    return NULL;
}

/* --- on the loop --- */

static void on_closed(uv_handle_t *handle)
{
    struct workers *w = (struct workers *)handle;
    void (*closed)(void *) = w->closed;
    void *data = w->data;
    sem_destroy(&w->filled);
    pthread_mutex_destroy(&w->lock);
    free(w);
    if (closed) closed(data);
}

static void woken(struct wake *wake)
{
    struct workers *w = (struct workers *)wake;
    pthread_mutex_lock(&w->lock);
    struct queue finished = w->finished;
    w->finished = (struct queue){0};
    pthread_mutex_unlock(&w->lock);
    for (struct worker_task *task; (task = queue_pop(&finished, struct worker_task, link));) {
        if (--w->count == 0 && !w->stopped) uv_unref((uv_handle_t *)&w->wake.poll);
        task->done(task, w->stopped || !task->ran);
    }
    if (w->stopped && w->count == 0 && !uv_is_closing((uv_handle_t *)&w->wake.poll)) wake_close(&w->wake, on_closed);
}

static unsigned thread_count(unsigned wanted)
{
    unsigned processors = uv_available_parallelism();
    if (wanted == 0) wanted = processors > 2 ? processors : 2;
    return wanted < WORKERS_MAX ? wanted : WORKERS_MAX;
}

struct workers *workers_new(uv_loop_t *loop, const struct workers_options *options)
{
    struct workers *w = xcalloc(1, sizeof *w);
    if (wake_open(&w->wake, loop, woken) != OK) {
        free(w);
        return NULL;
    }
    CHECK(pthread_mutex_init(&w->lock, NULL) == 0 && sem_init(&w->filled, 0, 0) == 0);
    w->options = *options;
    uv_unref((uv_handle_t *)&w->wake.poll);
    return w;
}

/* Fewer threads than wanted are slower; none: the loop does the work, and the next task tries again. */
static void start(struct workers *w)
{
    unsigned count = thread_count(w->options.threads);
    int failed = 0;
    while (w->thread_count < count && failed == 0) {
        failed = pthread_create(&w->threads[w->thread_count], NULL, work, w);
        if (failed == 0) w->thread_count++;
    }
    if (failed && log_seldom(&w->warned_ns))
        log_warning("workers", "%u of %u threads could be begun: %s. Raise the limits of tasks and memory, or work "
                    "stays slow", w->thread_count, count, strerror(failed));
}

void workers_queue(struct workers *w, struct worker_task *task)
{
    CHECK(!w->stopped);
    if (w->thread_count == 0) start(w);
    if (w->count++ == 0) uv_ref((uv_handle_t *)&w->wake.poll);
    task->ran = false;
    if (w->thread_count == 0) {
        finish(w, task);
        return;
    }
    pthread_mutex_lock(&w->lock);
    queue_add(&w->waiting, &task->link);
    pthread_mutex_unlock(&w->lock);
    CHECK(sem_post(&w->filled) == 0); /* what waits is bounded, far below what it counts to */
}

size_t workers_count(const struct workers *w) { return w->count; }

void workers_stop(struct workers *w, void (*closed)(void *data), void *data)
{
    CHECK(!w->stopped);
    w->stopped = true;
    w->closed = closed;
    w->data = data;
    uv_ref((uv_handle_t *)&w->wake.poll);
    pthread_mutex_lock(&w->lock);
    w->closing = true;
    pthread_mutex_unlock(&w->lock);
    for (unsigned i = 0; i < w->thread_count; i++) CHECK(sem_post(&w->filled) == 0);
    for (unsigned i = 0; i < w->thread_count; i++)
        CHECK(pthread_join(w->threads[i], NULL) == 0);
    queue_move(&w->finished, &w->waiting);
    wake_send(&w->wake); /* never a `done`, nor the end, from within this call */
}
