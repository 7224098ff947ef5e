#include "consensus/jobs.h"

#include <errno.h>
#include <time.h>

#include "base/check.h"

void job_queue_init(struct job_queue *q)
{
    *q = (struct job_queue){0};
    pthread_condattr_t attributes;
    CHECK(pthread_mutex_init(&q->lock, NULL) == 0);
    CHECK(pthread_condattr_init(&attributes) == 0);
    CHECK(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0);
    CHECK(pthread_cond_init(&q->filled, &attributes) == 0);
    pthread_condattr_destroy(&attributes);
}

void job_queue_destroy(struct job_queue *q)
{
    CHECK(q->list.first == NULL);
    pthread_cond_destroy(&q->filled);
    pthread_mutex_destroy(&q->lock);
}

void job_queue_push(struct job_queue *q, struct job *job)
{
    struct queue one = {0};
    queue_add(&one, &job->link);
    job_queue_push_all(q, &one);
}

void job_queue_push_all(struct job_queue *q, struct queue *jobs)
{
    if (!jobs->first) return;
    pthread_mutex_lock(&q->lock);
    queue_move(&q->list, jobs);
    bool wake = q->waiting;
    q->waiting = false; /* one signal is enough until the taker waits again */
    pthread_mutex_unlock(&q->lock);
    if (wake) pthread_cond_signal(&q->filled);
}

bool job_queue_take(struct job_queue *q, struct queue *out)
{
    pthread_mutex_lock(&q->lock);
    bool any = q->list.first != NULL;
    queue_move(out, &q->list);
    pthread_mutex_unlock(&q->lock);
    return any;
}

static bool wait_once(struct job_queue *q, uint64_t until_ns)
{
    q->waiting = true;
    if (until_ns == UINT64_MAX) {
        pthread_cond_wait(&q->filled, &q->lock);
        return true;
    }
    struct timespec until = {.tv_sec = (time_t)(until_ns / 1000000000u), .tv_nsec = (long)(until_ns % 1000000000u)};
    return pthread_cond_timedwait(&q->filled, &q->lock, &until) != ETIMEDOUT;
}

enum job_wait job_queue_wait(struct job_queue *q, struct queue *out, uint64_t until_ns)
{
    enum job_wait result;
    pthread_mutex_lock(&q->lock);
    bool in_time = true;
    while (!q->list.first && !q->closed && in_time)
        in_time = wait_once(q, until_ns);
    q->waiting = false;
    result = q->list.first ? JOB_WAIT_FILLED : q->closed ? JOB_WAIT_CLOSED : JOB_WAIT_TIMEOUT;
    queue_move(out, &q->list);
    pthread_mutex_unlock(&q->lock);
    return result;
}

void job_queue_close(struct job_queue *q)
{
    pthread_mutex_lock(&q->lock);
    q->closed = true;
    pthread_cond_signal(&q->filled);
    pthread_mutex_unlock(&q->lock);
}
