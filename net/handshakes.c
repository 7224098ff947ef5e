#include "net/handshakes.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/check.h"
#include "net/wake.h"

#define THREADS_MAX 8
#define NICENESS 5 /* above the process' own: a quarter of a processor where others want all of it */

STAILQ_HEAD(step_list, handshake_step);

struct handshakes {
    struct wake back; /* the first member */
    unsigned under_way; /* loop only, like all that comes before `lock` */
    unsigned threads;
    pthread_t thread[THREADS_MAX];
    void (*closed)(void *data);
    void *data;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t more;
    struct step_list waiting, over;
    bool stop;
};

/* A thread's own, which only Linux has. One that can't be set costs the others some time, and nothing else. */
static void be_nice(void)
{
    id_t self = (id_t)syscall(SYS_gettid);
    (void)setpriority(PRIO_PROCESS, self, getpriority(PRIO_PROCESS, self) + NICENESS);
}

static void *run(void *data)
{
    struct handshakes *h = data;
    be_nice();
    pthread_mutex_lock(&h->lock);
    for (;;) {
        struct handshake_step *step = STAILQ_FIRST(&h->waiting);
        if (!step && h->stop) break;
        if (!step) {
            pthread_cond_wait(&h->more, &h->lock);
            continue;
        }
        STAILQ_REMOVE_HEAD(&h->waiting, next);
        pthread_mutex_unlock(&h->lock);
        step->run(step);
        pthread_mutex_lock(&h->lock);
        STAILQ_INSERT_TAIL(&h->over, step, next);
        pthread_mutex_unlock(&h->lock); /* the loop wants it, and should not wait for who is nice */
        wake_send(&h->back);
        pthread_mutex_lock(&h->lock);
    }
    pthread_mutex_unlock(&h->lock);
    return NULL;
}

/* Half of the processors at most; one is enough for hundreds of full handshakes a second. */
static unsigned thread_count(void)
{
    unsigned count = uv_available_parallelism() / 2;
    return count == 0 ? 1 : count > THREADS_MAX ? THREADS_MAX : count;
}

static void start(struct handshakes *h)
{
    for (unsigned count = thread_count(); h->threads < count; h->threads++)
        CHECK(pthread_create(&h->thread[h->threads], NULL, run, h) == 0);
}

static struct handshake_step *take_over(struct handshakes *h)
{
    pthread_mutex_lock(&h->lock);
    struct handshake_step *step = STAILQ_FIRST(&h->over);
    if (step) STAILQ_REMOVE_HEAD(&h->over, next);
    pthread_mutex_unlock(&h->lock);
    return step;
}

static void on_back(struct wake *wake)
{
    struct handshakes *h = (struct handshakes *)wake;
    struct handshake_step *step;
    while (h->under_way && (step = take_over(h))) {
        if (--h->under_way == 0) uv_unref((uv_handle_t *)&h->back.poll);
        step->done(step); /* the last one may close all this */
    }
}

struct handshakes *handshakes_new(uv_loop_t *loop)
{
    struct handshakes *h = xcalloc(1, sizeof *h);
    STAILQ_INIT(&h->waiting);
    STAILQ_INIT(&h->over);
    CHECK(pthread_mutex_init(&h->lock, NULL) == 0 && pthread_cond_init(&h->more, NULL) == 0);
    CHECK(wake_open(&h->back, loop, on_back) == OK);
    uv_unref((uv_handle_t *)&h->back.poll);
    return h;
}

void handshakes_add(struct handshakes *h, struct handshake_step *step)
{
    CHECK(!h->closed);
    if (h->threads == 0) start(h);
    if (h->under_way++ == 0) uv_ref((uv_handle_t *)&h->back.poll);
    pthread_mutex_lock(&h->lock);
    STAILQ_INSERT_TAIL(&h->waiting, step, next);
    pthread_cond_signal(&h->more);
    pthread_mutex_unlock(&h->lock);
}

static void on_closed(uv_handle_t *handle)
{
    struct handshakes *h = (struct handshakes *)handle;
    void (*closed)(void *) = h->closed;
    void *data = h->data;
    pthread_cond_destroy(&h->more);
    pthread_mutex_destroy(&h->lock);
    free(h);
    closed(data);
}

void handshakes_close(struct handshakes *h, void (*closed)(void *data), void *data)
{
    CHECK(h->under_way == 0 && !h->closed);
    h->closed = closed;
    h->data = data;
    pthread_mutex_lock(&h->lock);
    h->stop = true;
    pthread_cond_broadcast(&h->more);
    pthread_mutex_unlock(&h->lock);
    for (unsigned i = 0; i < h->threads; i++)
        CHECK(pthread_join(h->thread[i], NULL) == 0);
    wake_close(&h->back, on_closed);
}
