#include "consensus/workers.h"

#include <stdlib.h>

#include "base/check.h"

struct workers {
    uv_loop_t *loop;
    struct worker_task *first;
    size_t count;
    bool stopped;
    pthread_mutex_t lock; /* guards `running` and `refuse` */
    pthread_cond_t idle;
    unsigned running;
    bool refuse;
};

struct workers *workers_new(uv_loop_t *loop)
{
    struct workers *w = xcalloc(1, sizeof *w);
    w->loop = loop;
    CHECK(pthread_mutex_init(&w->lock, NULL) == 0 && pthread_cond_init(&w->idle, NULL) == 0);
    return w;
}

static void free_workers(struct workers *w)
{
    pthread_cond_destroy(&w->idle);
    pthread_mutex_destroy(&w->lock);
    free(w);
}

static void run(uv_work_t *work)
{
    struct worker_task *task = work->data;
    struct workers *w = task->workers;
    pthread_mutex_lock(&w->lock);
    bool refuse = w->refuse;
    if (!refuse) w->running++;
    pthread_mutex_unlock(&w->lock);
    if (refuse) return;
    task->run(task);
    pthread_mutex_lock(&w->lock);
    if (--w->running == 0) pthread_cond_signal(&w->idle);
    pthread_mutex_unlock(&w->lock);
}

static void after(uv_work_t *work, int status)
{
    struct worker_task *task = work->data;
    struct workers *w = task->workers;
    if (task->next) task->next->previous = task->previous;
    if (task->previous)
        task->previous->next = task->next;
    else
        w->first = task->next;
    w->count--;
    bool stopped = w->stopped, last = stopped && w->count == 0;
    task->done(task, stopped || status != 0);
    if (last) free_workers(w);
}

void workers_queue(struct workers *w, struct worker_task *task)
{
    CHECK(!w->stopped);
    task->work.data = task;
    task->workers = w;
    task->previous = NULL;
    task->next = w->first;
    if (w->first) w->first->previous = task;
    w->first = task;
    w->count++;
    CHECK(uv_queue_work(w->loop, &task->work, run, after) == 0);
}

size_t workers_count(const struct workers *w) { return w->count; }

void workers_stop(struct workers *w)
{
    w->stopped = true;
    for (struct worker_task *t = w->first; t; t = t->next)
        uv_cancel((uv_req_t *)&t->work);
    pthread_mutex_lock(&w->lock);
    w->refuse = true;
    while (w->running > 0)
        pthread_cond_wait(&w->idle, &w->lock);
    pthread_mutex_unlock(&w->lock);
    if (w->count == 0) free_workers(w);
}
