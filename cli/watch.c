#include "cli/watch.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "cli/alarms.h"
#include "cli/cluster.h"

#define AGAIN_MS 5000       /* after a connection that failed or broke */
#define NEXT_MS 1000        /* between two notices of one node: a liar has many to make up */
#define SILENCE_MS 240000   /* then a new connection: a node closes silent ones a little later, and its machine may have
                               lost this one */
#define CONNECT_MS 9000     /* a third of it each for connecting and greeting */

struct watcher {
    struct watch *watch;
    uint32_t member;
    pthread_t thread;
    bool runs;
};

struct watch {
    const struct cluster *of;
    struct output output;
    uint32_t after_ms;
    int stop; /* readable: it ends */
    pthread_t thread;
    struct watcher watchers[LIMIT_NODES];
};

/* False: it ends. */
static bool pause_for(const struct watch *w, uint32_t ms)
{
    struct pollfd p = {.fd = w->stop, .events = POLLIN};
    return poll(&p, 1, (int)ms) <= 0;
}

static void listen_to(const struct watch *w, struct cluster *c)
{
    struct frame frame;
    while (client_receive(c->client, &frame, SILENCE_MS, NULL) == OK) {
        if (frame.type != MESSAGE_NOTICE || frame.id != 0) continue;
        alarms_take(c, frame.body);
        if (!pause_for(w, NEXT_MS)) return;
    }
}

static void *watch_node(void *data)
{
    struct watcher *me = data;
    struct watch *w = me->watch;
    struct cluster c;
    if (cluster_share(&c, w->of, &w->output) == OK) {
        c.listens = true;
        c.stop = w->stop;
        c.timeout_ms = CONNECT_MS;
        do {
            if (cluster_connect_to(&c, me->member, NULL) == OK) listen_to(w, &c);
            cluster_drop(&c);
        } while (pause_for(w, AGAIN_MS));
    }
    cluster_close(&c);
    return NULL;
}

/* Most commands end before this has anything to do. */
static void *watch_all(void *data)
{
    struct watch *w = data;
    uint32_t n = w->of->genesis.member_count;
    if (!pause_for(w, w->after_ms)) return NULL;
    for (uint32_t i = 0; i < n; i++) {
        struct watcher *watcher = &w->watchers[i];
        *watcher = (struct watcher){.watch = w, .member = i + 1};
        watcher->runs = pthread_create(&watcher->thread, NULL, watch_node, watcher) == 0;
    }
    for (uint32_t i = 0; i < n; i++)
        if (w->watchers[i].runs) CHECK(pthread_join(w->watchers[i].thread, NULL) == 0);
    return NULL;
}

/* Signals stay the command's: one that came in here would not wake what it waits for. */
static bool begin_thread(struct watch *w)
{
    sigset_t all, before;
    sigfillset(&all);
    CHECK(pthread_sigmask(SIG_SETMASK, &all, &before) == 0);
    bool begun = pthread_create(&w->thread, NULL, watch_all, w) == 0;
    CHECK(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
    return begun;
}

struct watch *watch_begin(const struct cluster *c, uint32_t after_ms)
{
    if (!c->output) return NULL;
    struct watch *w = xcalloc(1, sizeof *w);
    *w = (struct watch){.of = c, .output = *c->output, .after_ms = after_ms, .stop = eventfd(0, EFD_CLOEXEC)};
    w->output.beside = true;
    if (w->stop > 0 && begin_thread(w)) return w;
    if (w->stop >= 0) close(w->stop);
    free(w);
    return NULL;
}

void watch_end(struct watch *w)
{
    if (!w) return;
    uint64_t one = 1;
    CHECK(write(w->stop, &one, sizeof one) == sizeof one);
    CHECK(pthread_join(w->thread, NULL) == 0);
    close(w->stop);
    free(w);
}
