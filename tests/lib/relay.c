#include "tests/lib/relay.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"

#define CHUNK 65536
#define QUEUE_MOST (16u << 20) /* bytes under way in one direction; beyond, the sender waits */
#define LISTENERS_MOST 32
#define LINKS_MOST 512

struct chunk {
    struct chunk *next;
    uint64_t due_ns;
    size_t size, sent;
    uint8_t bytes[];
};

struct flow { /* one direction */
    struct chunk *first, **last;
    size_t queued;
    bool ended; /* nothing more comes in */
};

struct link {
    int sides[2]; /* who connected; whom we connected to */
    struct flow flows[2]; /* from that side to the other */
};

struct relay {
    pthread_t thread;
    int stop[2]; /* a pipe: readable once it is to end */
    atomic_uint_fast64_t delay_ns;
    int listeners[LISTENERS_MOST];
    uint16_t to[LISTENERS_MOST];
    unsigned listener_count, link_count;
    struct link links[LINKS_MOST];
};

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "relay: %s: %s\n", what, strerror(errno));
    exit(1);
}

static struct sockaddr_in loopback(uint16_t port)
{
    return (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                .sin_port = htons(port)};
}

static void no_delay(int s)
{
    int one = 1;
    if (setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) != 0) die("TCP_NODELAY");
}

/* --- links --- */

static void link_add(struct relay *r, unsigned listener)
{
    int in = accept4(r->listeners[listener], NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (in < 0) return;
    struct sockaddr_in to = loopback(r->to[listener]);
    int out = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    bool connects = out >= 0 && (connect(out, (struct sockaddr *)&to, sizeof to) == 0 || errno == EINPROGRESS);
    if (!connects || r->link_count == LINKS_MOST) {
        close(in);
        if (out >= 0) close(out);
        return;
    }
    no_delay(in);
    no_delay(out);
    struct link *l = &r->links[r->link_count++];
    *l = (struct link){.sides = {in, out}};
    l->flows[0].last = &l->flows[0].first;
    l->flows[1].last = &l->flows[1].first;
}

static void chunk_drop(struct flow *f)
{
    struct chunk *c = f->first;
    f->queued -= c->size;
    f->first = c->next;
    if (!f->first) f->last = &f->first;
    free(c);
}

static void link_close(struct relay *r, unsigned i)
{
    struct link *l = &r->links[i];
    for (unsigned side = 0; side < 2; side++) {
        while (l->flows[side].first) chunk_drop(&l->flows[side]);
        close(l->sides[side]);
    }
    *l = r->links[--r->link_count];
    for (unsigned side = 0; side < 2; side++) /* an empty list's end is inside the struct, which moved */
        if (!l->flows[side].first) l->flows[side].last = &l->flows[side].first;
}

/* false: this direction broke. */
static bool take(struct relay *r, struct link *l, unsigned side)
{
    struct flow *f = &l->flows[side];
    struct chunk *c = malloc(sizeof *c + CHUNK);
    CHECK(c);
    ssize_t n = recv(l->sides[side], c->bytes, CHUNK, 0);
    if (n <= 0) {
        free(c);
        f->ended = n == 0;
        return n == 0 || errno == EAGAIN || errno == EINTR;
    }
    struct chunk *fitted = realloc(c, sizeof *c + (size_t)n);
    if (fitted) c = fitted;
    c->next = NULL;
    c->due_ns = clock_monotonic_ns() + atomic_load(&r->delay_ns);
    c->size = (size_t)n;
    c->sent = 0;
    *f->last = c;
    f->last = &c->next;
    f->queued += c->size;
    return true;
}

/* What is due. false: this direction broke, or has come to its end. */
static bool give(struct link *l, unsigned side, uint64_t now_ns)
{
    struct flow *f = &l->flows[side];
    while (f->first && f->first->due_ns <= now_ns) {
        struct chunk *c = f->first;
        ssize_t n = send(l->sides[1 - side], c->bytes + c->sent, c->size - c->sent, MSG_NOSIGNAL);
        if (n < 0) return errno == EAGAIN || errno == EINTR || errno == ENOTCONN;
        c->sent += (size_t)n;
        if (c->sent == c->size) chunk_drop(f);
    }
    return f->first || !f->ended;
}

/* --- the thread --- */

#define FDS_MOST (1 + LISTENERS_MOST + 2 * LINKS_MOST)

/* Nanoseconds until something queued is due; `most` if nothing is. */
static uint64_t next_due(const struct relay *r, uint64_t now_ns, uint64_t most)
{
    for (unsigned i = 0; i < r->link_count; i++)
        for (unsigned side = 0; side < 2; side++) {
            const struct chunk *c = r->links[i].flows[side].first;
            if (!c || c->due_ns <= now_ns) continue; /* due, and waiting for the socket: poll says when */
            if (c->due_ns - now_ns < most) most = c->due_ns - now_ns;
        }
    return most;
}

static unsigned fill_poll(const struct relay *r, struct pollfd *fds, uint64_t now_ns)
{
    unsigned n = 0;
    fds[n++] = (struct pollfd){.fd = r->stop[0], .events = POLLIN};
    for (unsigned i = 0; i < r->listener_count; i++)
        fds[n++] = (struct pollfd){.fd = r->listeners[i], .events = POLLIN};
    for (unsigned i = 0; i < r->link_count; i++)
        for (unsigned side = 0; side < 2; side++) {
            const struct link *l = &r->links[i];
            const struct flow *in = &l->flows[side], *out = &l->flows[1 - side];
            bool listens = !in->ended && in->queued < QUEUE_MOST, sends = out->first && out->first->due_ns <= now_ns;
            fds[n++] = (struct pollfd){.fd = listens || sends ? l->sides[side] : -1,
                                       .events = (short)((listens ? POLLIN : 0) | (sends ? POLLOUT : 0))};
        }
    return n;
}

static void serve_links(struct relay *r, const struct pollfd *fds)
{
    for (unsigned i = r->link_count; i-- > 0;) { /* from the end: a closed one's place is taken by the last */
        bool sound = true;
        for (unsigned side = 0; side < 2; side++)
            if (fds[2 * i + side].revents & (POLLIN | POLLHUP | POLLERR)) sound = take(r, &r->links[i], side) && sound;
        uint64_t now = clock_monotonic_ns();
        for (unsigned side = 0; side < 2; side++)
            sound = give(&r->links[i], side, now) && sound;
        if (!sound) link_close(r, i);
    }
}

static void *serve(void *data)
{
    struct relay *r = data;
    static struct pollfd fds[FDS_MOST];
    for (;;) {
        uint64_t now = clock_monotonic_ns(), wait = next_due(r, now, 1000000000);
        struct timespec most = {(time_t)(wait / 1000000000), (long)(wait % 1000000000)};
        unsigned n = fill_poll(r, fds, now);
        if (ppoll(fds, n, &most, NULL) < 0 && errno != EINTR) die("poll");
        if (fds[0].revents) return NULL;
        serve_links(r, &fds[1 + r->listener_count]);
        for (unsigned i = 0; i < r->listener_count; i++)
            if (fds[1 + i].revents) link_add(r, i);
    }
}

struct relay *relay_start(const uint16_t *from, const uint16_t *to, unsigned count)
{
    struct relay *r = calloc(1, sizeof *r);
    CHECK(r && count <= LISTENERS_MOST);
    if (pipe2(r->stop, O_CLOEXEC) != 0) die("pipe");
    for (unsigned i = 0; i < count; i++) {
        struct sockaddr_in at = loopback(from[i]);
        int one = 1, s = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (s < 0 || setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) != 0 ||
            bind(s, (struct sockaddr *)&at, sizeof at) != 0 || listen(s, 64) != 0)
            die("cannot listen");
        r->listeners[r->listener_count] = s;
        r->to[r->listener_count++] = to[i];
    }
    if (pthread_create(&r->thread, NULL, serve, r) != 0) die("no thread");
    return r;
}

void relay_delay(struct relay *r, uint64_t ns) { atomic_store(&r->delay_ns, ns); }

void relay_stop(struct relay *r)
{
    if (!r) return;
    if (write(r->stop[1], "", 1) != 1) die("pipe");
    pthread_join(r->thread, NULL);
    while (r->link_count) link_close(r, r->link_count - 1);
    for (unsigned i = 0; i < r->listener_count; i++)
        close(r->listeners[i]);
    close(r->stop[0]);
    close(r->stop[1]);
    free(r);
}
