#include "cli/pipeline.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/limits.h"

#define STACK (1 * MIB) /* address space may be short, and the default is 8 MiB */

/* submitted >= taken >= finished, all counted from the beginning; slot of n: n % slots. */
struct pipeline {
    struct pipeline_work work;
    uint32_t slots, workers; /* no workers: no finisher either */
    pthread_t threads[PIPELINE_SLOTS], finisher;
    pthread_mutex_t mutex;
    pthread_cond_t changed;      /* for the workers: something to take */
    pthread_cond_t progress;     /* for the finisher: prepared */
    pthread_cond_t room;         /* for the owner: finished */
    uint64_t submitted, taken, finished;
    bool prepared[PIPELINE_SLOTS];
    bool stopped, closing;
};

uint32_t pipeline_workers(void)
{
    cpu_set_t set;
    int count = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    return count <= 1 ? 0 : count > (int)PIPELINE_SLOTS / 4 ? PIPELINE_SLOTS / 4 : (uint32_t)count;
}

uint32_t pipeline_slots(void)
{
    uint32_t workers = pipeline_workers();
    return workers == 0 ? 1 : workers + 3;
}

/* --- the threads --- */

static void *worker(void *data)
{
    struct pipeline *p = data;
    pthread_mutex_lock(&p->mutex);
    for (;;) {
        while (!p->closing && p->taken == p->submitted) pthread_cond_wait(&p->changed, &p->mutex);
        if (p->closing) break;
        uint32_t slot = (uint32_t)(p->taken++ % p->slots);
        bool dropped = p->stopped;
        pthread_mutex_unlock(&p->mutex);
        if (!dropped) p->work.prepare(p->work.data, slot);
        pthread_mutex_lock(&p->mutex);
        p->prepared[slot] = true;
        pthread_cond_signal(&p->progress);
    }
    pthread_mutex_unlock(&p->mutex);
    return NULL;
}

static void finish_all(struct pipeline *p)
{
    for (;;) {
        uint32_t slot = (uint32_t)(p->finished % p->slots);
        while (!p->closing && !p->prepared[slot]) pthread_cond_wait(&p->progress, &p->mutex);
        if (p->closing) return;
        bool on = !p->stopped;
        pthread_mutex_unlock(&p->mutex);
        on = on && p->work.finish(p->work.data, slot);
        pthread_mutex_lock(&p->mutex);
        if (!on) p->stopped = true;
        p->prepared[slot] = false;
        p->finished++;
        pthread_cond_signal(&p->room);
    }
}

static void *finisher(void *data)
{
    struct pipeline *p = data;
    bool on = p->work.begin(p->work.data);
    pthread_mutex_lock(&p->mutex);
    if (!on) p->stopped = true;
    finish_all(p);
    pthread_mutex_unlock(&p->mutex);
    p->work.end(p->work.data);
    return NULL;
}

/* --- opening --- */

static bool start(struct pipeline *p, uint32_t workers)
{
    pthread_attr_t attributes;
    CHECK(pthread_attr_init(&attributes) == 0 && pthread_attr_setstacksize(&attributes, STACK) == 0);
    bool good = pthread_create(&p->finisher, &attributes, finisher, p) == 0;
    while (good && p->workers < workers &&
           pthread_create(&p->threads[p->workers], &attributes, worker, p) == 0)
        p->workers++;
    pthread_attr_destroy(&attributes);
    if (good && p->workers > 0) return true;
    pthread_mutex_lock(&p->mutex);
    p->closing = true;
    pthread_cond_broadcast(&p->progress);
    pthread_mutex_unlock(&p->mutex);
    if (good) pthread_join(p->finisher, NULL);
    return false;
}

static void destroy(struct pipeline *p)
{
    pthread_cond_destroy(&p->room);
    pthread_cond_destroy(&p->progress);
    pthread_cond_destroy(&p->changed);
    pthread_mutex_destroy(&p->mutex);
    free(p);
}

enum err pipeline_open(struct pipeline **out, const struct pipeline_work *work, struct failure *failure)
{
    struct pipeline *p = xcalloc(1, sizeof *p);
    uint32_t workers = pipeline_workers();
    p->work = *work;
    p->slots = pipeline_slots();
    CHECK(p->slots <= PIPELINE_SLOTS);
    CHECK(pthread_mutex_init(&p->mutex, NULL) == 0 && pthread_cond_init(&p->changed, NULL) == 0);
    CHECK(pthread_cond_init(&p->progress, NULL) == 0 && pthread_cond_init(&p->room, NULL) == 0);
    if (workers == 0) {
        p->stopped = !p->work.begin(p->work.data);
    } else if (!start(p, workers)) {
        destroy(p);
        return fail(failure, ERR_NOMEM, "cannot start threads for the verification");
    }
    *out = p;
    return OK;
}

void pipeline_close(struct pipeline *p)
{
    if (!p) return;
    if (p->workers == 0) {
        p->work.end(p->work.data);
        destroy(p);
        return;
    }
    pthread_mutex_lock(&p->mutex);
    p->closing = true;
    pthread_cond_broadcast(&p->changed);
    pthread_cond_broadcast(&p->progress);
    pthread_mutex_unlock(&p->mutex);
    for (uint32_t i = 0; i < p->workers; i++) pthread_join(p->threads[i], NULL);
    pthread_join(p->finisher, NULL);
    destroy(p);
}

/* --- the owner's side --- */

uint32_t pipeline_slot(struct pipeline *p)
{
    pthread_mutex_lock(&p->mutex);
    while (p->submitted - p->finished == p->slots) pthread_cond_wait(&p->room, &p->mutex);
    uint32_t slot = (uint32_t)(p->submitted % p->slots);
    pthread_mutex_unlock(&p->mutex);
    return slot;
}

static void do_now(struct pipeline *p)
{
    uint32_t slot = (uint32_t)(p->submitted++ % p->slots);
    if (!p->stopped) p->work.prepare(p->work.data, slot);
    if (!p->stopped) p->stopped = !p->work.finish(p->work.data, slot);
    p->finished++;
}

void pipeline_submit(struct pipeline *p)
{
    if (p->workers == 0) {
        do_now(p);
        return;
    }
    pthread_mutex_lock(&p->mutex);
    CHECK(p->submitted - p->finished < p->slots);
    p->submitted++;
    pthread_cond_signal(&p->changed);
    pthread_mutex_unlock(&p->mutex);
}

void pipeline_drain(struct pipeline *p)
{
    pthread_mutex_lock(&p->mutex);
    while (p->finished < p->submitted) pthread_cond_wait(&p->room, &p->mutex);
    pthread_mutex_unlock(&p->mutex);
}

bool pipeline_stopped(struct pipeline *p)
{
    pthread_mutex_lock(&p->mutex);
    bool stopped = p->stopped;
    pthread_mutex_unlock(&p->mutex);
    return stopped;
}
