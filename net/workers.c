#include "net/workers.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/check.h"
#include "net/wake.h"

struct task_list {
    struct worker_task *first, *last;
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
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t filled;
    struct task_list waiting, finished;
    unsigned asleep; /* threads that wait and were not signalled */
    bool closing;
};

static void list_add(struct task_list *list, struct worker_task *task)
{
    task->next = NULL;
    if (list->last)
        list->last->next = task;
    else
        list->first = task;
    list->last = task;
}

static struct worker_task *list_pop(struct task_list *list)
{
    struct worker_task *task = list->first;
    if (!task) return NULL;
    list->first = task->next;
    if (!list->first) list->last = NULL;
    return task;
}

/* --- on a worker --- */

static struct worker_task *wait_for_task(struct workers *w)
{
    while (!w->waiting.first && !w->closing) {
        w->asleep++; /* whoever signals takes it back */
        pthread_cond_wait(&w->filled, &w->lock);
    }
    return w->closing ? NULL : list_pop(&w->waiting);
}

/* A thread's own, which only Linux has. One that can't be set costs the others some time, and nothing else. */
static void be_nice(int niceness)
{
    id_t self = (id_t)syscall(SYS_gettid);
    if (niceness != 0) (void)setpriority(PRIO_PROCESS, self, getpriority(PRIO_PROCESS, self) + niceness);
}

static void *work(void *data)
{
    struct workers *w = data;
    be_nice(w->options.niceness);
    pthread_mutex_lock(&w->lock);
    for (struct worker_task *task; (task = wait_for_task(w));) {
        pthread_mutex_unlock(&w->lock);
        task->run(task);
        task->ran = true;
        pthread_mutex_lock(&w->lock);
        list_add(&w->finished, task);
        pthread_mutex_unlock(&w->lock); /* the loop, once awake, wants it, and should not wait for who is nice */
        wake_send(&w->wake);
        pthread_mutex_lock(&w->lock);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

/* --- on the loop --- */

static void on_closed(uv_handle_t *handle)
{
    struct workers *w = (struct workers *)handle;
    void (*closed)(void *) = w->closed;
    void *data = w->data;
    pthread_cond_destroy(&w->filled);
    pthread_mutex_destroy(&w->lock);
    free(w);
    if (closed) closed(data);
}

static void woken(struct wake *wake)
{
    struct workers *w = (struct workers *)wake;
    pthread_mutex_lock(&w->lock);
    struct task_list finished = w->finished;
    w->finished = (struct task_list){0};
    pthread_mutex_unlock(&w->lock);
    for (struct worker_task *task; (task = list_pop(&finished));) {
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
    CHECK(pthread_mutex_init(&w->lock, NULL) == 0 && pthread_cond_init(&w->filled, NULL) == 0);
    w->options = *options;
    uv_unref((uv_handle_t *)&w->wake.poll);
    return w;
}

static void start(struct workers *w)
{
    for (unsigned count = thread_count(w->options.threads); w->thread_count < count; w->thread_count++)
        CHECK(pthread_create(&w->threads[w->thread_count], NULL, work, w) == 0);
}

void workers_queue(struct workers *w, struct worker_task *task)
{
    CHECK(!w->stopped);
    if (w->thread_count == 0) start(w);
    if (w->count++ == 0) uv_ref((uv_handle_t *)&w->wake.poll);
    task->ran = false;
    pthread_mutex_lock(&w->lock);
    list_add(&w->waiting, task);
    bool signal = w->asleep > 0;
    if (signal) w->asleep--;
    pthread_mutex_unlock(&w->lock);
    if (signal) pthread_cond_signal(&w->filled);
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
    pthread_cond_broadcast(&w->filled);
    pthread_mutex_unlock(&w->lock);
    for (unsigned i = 0; i < w->thread_count; i++)
        CHECK(pthread_join(w->threads[i], NULL) == 0);
    for (struct worker_task *task; (task = list_pop(&w->waiting));)
        list_add(&w->finished, task);
    wake_send(&w->wake); /* never a `done`, nor the end, from within this call */
}
