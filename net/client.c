#include "net/client.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"

#define INPUT_SIZE (64 * KIB)
#define WRITE_SIZE (256 * KIB) /* encrypted at once */

struct client {
    int fd, stop;
    struct tls_session *tls;
    struct frame_reader reader;
    struct buffer out;   /* encrypted, to be sent */
    struct buffer reply; /* TLS's own answers, sent before the next of ours */
    struct buffer early; /* plaintext that came while sending */
    size_t early_at;
    bool ended; /* the other side closed */
    struct tls_ticket **ticket;
    char name[ADDRESS_TEXT_SIZE];
    uint8_t input[INPUT_SIZE], plain[INPUT_SIZE];
};

/* --- time --- */

static uint64_t deadline_after(uint32_t ms) { return clock_monotonic_ns() / 1000000 + ms; }

static int left_ms(uint64_t deadline)
{
    uint64_t now = clock_monotonic_ns() / 1000000;
    return now >= deadline ? 0 : deadline - now > 0x7fffffff ? 0x7fffffff : (int)(deadline - now);
}

/* OK when one of `events` can be done (or will fail at once), ERR_TIMEOUT. */
static enum err wait_for(const struct client *c, int fd, short events, uint64_t deadline)
{
    for (;;) {
        struct pollfd p[] = {{.fd = fd, .events = events}, {.fd = c->stop, .events = POLLIN}};
        int n = poll(p, c->stop ? 2 : 1, left_ms(deadline));
        if (n > 0) return p[1].revents ? ERR_TIMEOUT : OK;
        if (n == 0) return ERR_TIMEOUT;
        if (errno != EINTR) return ERR_IO;
    }
}

static enum err timed_out(const struct client *c, const char *what, struct failure *failure)
{
    return fail(failure, ERR_TIMEOUT, "%s: timed out %s", c->name, what);
}

/* --- bytes --- */

static enum err lost(const struct client *c, int error, struct failure *failure)
{
    return fail(failure, ERR_CLOSED, "%s: connection lost: %s", c->name, strerror(error));
}

static enum err tls_failed(const struct client *c, struct failure *failure)
{
    return fail(failure, tls_error(c->tls), "%s: %s", c->name, tls_error_text(c->tls));
}

/* Sends what the kernel takes. */
static enum err send_some(struct client *c, size_t *at, struct failure *failure)
{
    ssize_t n = send(c->fd, c->out.data + *at, c->out.size - *at, MSG_NOSIGNAL);
    if (n > 0) *at += (size_t)n;
    if (n < 0 && errno != EAGAIN && errno != EINTR) return lost(c, errno, failure);
    return OK;
}

/* Reads once. `*size` is 0 when nothing is there yet or the other side ended (c->ended). */
static enum err receive_some(struct client *c, size_t *size, struct failure *failure)
{
    ssize_t n = recv(c->fd, c->input, sizeof c->input, 0);
    *size = n > 0 ? (size_t)n : 0;
    if (n == 0) c->ended = true;
    if (n < 0 && errno != EAGAIN && errno != EINTR) return lost(c, errno, failure);
    return OK;
}

/* Everything that came is decrypted and kept for later. */
static enum err drain_input(struct client *c, struct failure *failure)
{
    size_t size;
    if (c->early_at == c->early.size) {
        buffer_clear(&c->early);
        c->early_at = 0;
    }
    c->early.limit = LIMIT_SEND_QUEUE;
    while ((size = tls_read(c->tls, c->plain, sizeof c->plain, &c->reply)) > 0)
        buffer_append(&c->early, c->plain, size);
    if (tls_state(c->tls) == TLS_FAILED) return tls_failed(c, failure);
    return c->early.failed ? fail(failure, ERR_TOO_LARGE, "%s sends without reading", c->name) : OK;
}

static enum err receive_early(struct client *c, struct failure *failure)
{
    size_t size;
    enum err err = receive_some(c, &size, failure);
    if (err != OK || size == 0) return err;
    tls_feed(c->tls, bytes_of(c->input, size));
    return drain_input(c, failure);
}

/* Sends c->out. Once the connection is open, input is taken meanwhile. */
static enum err send_all(struct client *c, uint64_t deadline, struct failure *failure)
{
    size_t at = 0;
    enum err err = OK;
    while (err == OK && at < c->out.size) {
        size_t before = at;
        err = send_some(c, &at, failure);
        if (err != OK || at > before) continue;
        bool reads = tls_state(c->tls) == TLS_OPEN && !c->ended;
        if (wait_for(c, c->fd, (short)(reads ? POLLIN | POLLOUT : POLLOUT), deadline) != OK)
            err = timed_out(c, "while sending", failure);
        else if (reads)
            err = receive_early(c, failure);
    }
    buffer_free(&c->out);
    return err;
}

static enum err write_plain(struct client *c, struct bytes plain, uint64_t deadline, struct failure *failure)
{
    /* Sending reads too, into the buffers that views still point into. */
    enum err err = frame_keep(&c->reader);
    if (err == OK) err = drain_input(c, failure);
    buffer_append_bytes(&c->out, buffer_bytes(&c->reply));
    buffer_free(&c->reply);
    while (err == OK && plain.size) {
        size_t size = plain.size < WRITE_SIZE ? plain.size : WRITE_SIZE;
        err = tls_write(c->tls, &c->out, bytes_of(plain.data, size));
        if (err != OK) return tls_failed(c, failure);
        plain.data += size;
        plain.size -= size;
        err = send_all(c, deadline, failure);
    }
    return err;
}

/* --- names --- */

/* getaddrinfo takes as long as the name servers let it, and nothing ends it: a thread of its own waits for it, one for
 * each name at a time, however many ask. Who waits no longer leaves it behind. */
struct lookup {
    struct lookup *next; /* under way */
    struct address of;
    int done;               /* readable: it is */
    int code;               /* of getaddrinfo */
    struct addrinfo *found; /* once it is done: doesn't change any more */
    unsigned users;         /* the thread is one */
};

static struct {
    pthread_mutex_t lock;
    struct lookup *under_way;
} lookups = {.lock = PTHREAD_MUTEX_INITIALIZER};

static int look_up(struct addrinfo **out, const struct address *of, int flags)
{
    struct addrinfo hints = {.ai_flags = flags, .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    char port[8];
    snprintf(port, sizeof port, "%u", (unsigned)of->port);
    return getaddrinfo(of->host, port, &hints, out);
}

static void lookup_leave(struct lookup *l)
{
    pthread_mutex_lock(&lookups.lock);
    bool last = --l->users == 0;
    pthread_mutex_unlock(&lookups.lock);
    if (!last) return;
    if (l->found) freeaddrinfo(l->found);
    close(l->done);
    free(l);
}

static void *lookup_run(void *data)
{
    struct lookup *l = data, **at = &lookups.under_way;
    struct addrinfo *found = NULL;
    uint64_t one = 1;
    int code = look_up(&found, &l->of, 0);
    pthread_mutex_lock(&lookups.lock);
    while (*at != l) at = &(*at)->next;
    *at = l->next;
    l->code = code;
    l->found = code == 0 ? found : NULL;
    pthread_mutex_unlock(&lookups.lock);
    CHECK(write(l->done, &one, sizeof one) == sizeof one);
    lookup_leave(l);
    return NULL;
}

/* Signals stay the others'. Without a thread for it, who asked first waits. */
static void lookup_begin(struct lookup *l)
{
    sigset_t all, before;
    pthread_t thread;
    sigfillset(&all);
    CHECK(pthread_sigmask(SIG_SETMASK, &all, &before) == 0);
    bool begun = pthread_create(&thread, NULL, lookup_run, l) == 0;
    CHECK(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
    if (!begun) {
        lookup_run(l);
        return;
    }
    CHECK(pthread_detach(thread) == 0);
}

/* The one under way, or a new one; for lookup_leave. NULL with errno. */
static struct lookup *lookup_join(const struct address *of)
{
    pthread_mutex_lock(&lookups.lock);
    struct lookup *l = lookups.under_way;
    while (l && !address_equal(&l->of, of)) l = l->next;
    if (l) l->users++;
    int done = l ? -1 : eventfd(0, EFD_CLOEXEC);
    bool begins = done >= 0;
    if (begins) {
        l = xcalloc(1, sizeof *l);
        *l = (struct lookup){.next = lookups.under_way, .of = *of, .done = done, .users = 2};
        lookups.under_way = l;
    }
    pthread_mutex_unlock(&lookups.lock);
    if (begins) lookup_begin(l);
    return l;
}

static enum err await_lookup(const struct client *c, struct lookup *l, uint64_t deadline, struct failure *failure)
{
    const char *why = "timed out";
    int code = EAI_AGAIN;
    if (wait_for(c, l->done, POLLIN, deadline) == OK) {
        pthread_mutex_lock(&lookups.lock);
        code = l->code;
        pthread_mutex_unlock(&lookups.lock);
        why = gai_strerror(code);
    }
    if (code == 0) return OK;
    return fail(failure, ERR_UNREACHABLE, "cannot find the address of %s: %s", c->name, why);
}

/* --- connecting --- */

static enum err shake(struct client *c, uint64_t deadline, struct failure *failure)
{
    for (;;) {
        size_t size = 0;
        enum tls_state state = tls_handshake(c->tls, &c->out);
        /* A failure is told by the alert; that it did not arrive is no matter. */
        enum err err = send_all(c, deadline, state == TLS_FAILED ? NULL : failure);
        if (state == TLS_FAILED) return tls_failed(c, failure);
        if (err != OK || state == TLS_OPEN) return err;
        while (size == 0) {
            if (c->ended) return fail(failure, ERR_CLOSED, "%s closed during the TLS handshake", c->name);
            if (wait_for(c, c->fd, POLLIN, deadline) != OK) return timed_out(c, "during the TLS handshake", failure);
            if ((err = receive_some(c, &size, failure)) != OK) return err;
        }
        tls_feed(c->tls, bytes_of(c->input, size));
        if ((err = tls_keep(c->tls)) != OK) return fail(failure, err, "out of memory");
    }
}

/* -1 with errno. */
static int connect_one(const struct client *c, const struct addrinfo *to, uint64_t deadline)
{
    int one = 1, error = 0;
    socklen_t size = sizeof error;
    int fd = socket(to->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(fd, to->ai_addr, to->ai_addrlen) == 0) return fd;
    error = errno;
    if (error == EINPROGRESS) {
        error = wait_for(c, fd, POLLOUT, deadline) == OK ? 0 : ETIMEDOUT;
        if (error == 0) getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
    }
    if (error == 0) return fd;
    close(fd);
    errno = error;
    return -1;
}

/* Every address gets its share of the time. */
static enum err connect_first(struct client *c, const struct addrinfo *all, uint64_t deadline,
                              struct failure *failure)
{
    int left = 0;
    for (const struct addrinfo *a = all; a; a = a->ai_next)
        left++;
    for (const struct addrinfo *a = all; a && c->fd < 0; a = a->ai_next, left--)
        c->fd = connect_one(c, a, deadline_after((uint32_t)(left_ms(deadline) / left)));
    if (c->fd >= 0) return OK;
    return fail(failure, ERR_UNREACHABLE, "cannot connect to %s: %s", c->name, strerror(errno));
}

static enum err connect_any(struct client *c, const struct address *to, uint64_t deadline, struct failure *failure)
{
    struct addrinfo *numeric = NULL;
    enum err err;
    if (look_up(&numeric, to, AI_NUMERICHOST) == 0) {
        err = connect_first(c, numeric, deadline, failure);
        freeaddrinfo(numeric);
        return err;
    }
    struct lookup *l = lookup_join(to);
    if (!l) return fail(failure, ERR_UNREACHABLE, "cannot find the address of %s: %s", c->name, strerror(errno));
    err = await_lookup(c, l, deadline, failure);
    if (err == OK) err = connect_first(c, l->found, deadline, failure);
    lookup_leave(l);
    return err;
}

enum err client_connect(struct client **out, struct tls_context *tls, const struct address *to,
                        const struct digest *pin, const struct client_options *options, struct failure *failure)
{
    static const struct client_options none;
    const struct client_options *o = options ? options : &none;
    uint64_t deadline = deadline_after(o->timeout_ms ? o->timeout_ms : LIMIT_REQUEST_MS);
    struct client *c = xcalloc(1, sizeof *c);
    c->fd = -1;
    c->stop = o->stop;
    address_format(c->name, to);
    enum err err = connect_any(c, to, deadline, failure);
    if (err == OK) {
        err = tls_client_new(&c->tls, tls, o->alpn ? o->alpn : TLS_ALPN_CLIENT, pin, o->ticket ? *o->ticket : NULL);
        err = err == OK ? shake(c, deadline, failure) : fail(failure, err, "%s: %s", c->name, err_text(err));
    }
    if (err != OK) {
        client_close(c);
        return err;
    }
    c->ticket = o->ticket;
    *out = c;
    return OK;
}

static void keep_ticket(struct client *c)
{
    struct tls_ticket *ticket = c->ticket ? tls_ticket_take(c->tls) : NULL;
    if (!ticket) return;
    tls_ticket_free(*c->ticket);
    *c->ticket = ticket;
}

void client_close(struct client *c)
{
    if (!c) return;
    if (c->tls) {
        keep_ticket(c);
        tls_close(c->tls, &c->out);
        if (c->out.size) (void)send(c->fd, c->out.data, c->out.size, MSG_NOSIGNAL); /* a courtesy */
    }
    if (c->fd >= 0) close(c->fd);
    tls_session_free(c->tls);
    frame_reader_free(&c->reader);
    buffer_free(&c->out);
    buffer_free(&c->reply);
    buffer_free(&c->early);
    free(c);
}

/* --- frames --- */

enum err client_send(struct client *c, uint32_t type, uint64_t id, struct bytes body, uint32_t timeout_ms,
                     struct failure *failure)
{
    struct buffer frame = {0};
    enum err err = frame_append(&frame, type, id, body);
    if (err != OK)
        err = fail(failure, err, "%s", err_text(err));
    else
        err = write_plain(c, buffer_bytes(&frame), deadline_after(timeout_ms), failure);
    buffer_free(&frame);
    return err;
}

enum err client_write(struct client *c, struct bytes bytes, uint32_t timeout_ms, struct failure *failure)
{
    return write_plain(c, bytes, deadline_after(timeout_ms), failure);
}

/* Plaintext that is there without waiting; empty when none is. Valid until the next call. */
static struct bytes take_plain(struct client *c)
{
    if (c->early_at < c->early.size) {
        struct bytes early = bytes_of(c->early.data + c->early_at, c->early.size - c->early_at);
        c->early_at = c->early.size;
        return early;
    }
    buffer_free(&c->early);
    c->early_at = 0;
    size_t size = tls_read(c->tls, c->plain, sizeof c->plain, &c->reply);
    return bytes_of(c->plain, size);
}

/* Waits for more of the other side's bytes and decrypts. ERR_CLOSED at the end. */
static enum err more_plain(struct client *c, struct bytes *plain, uint64_t deadline, struct failure *failure)
{
    size_t size;
    for (;;) {
        *plain = take_plain(c);
        if (plain->size) return OK;
        if (tls_state(c->tls) == TLS_FAILED) return tls_failed(c, failure);
        if (c->ended || tls_state(c->tls) == TLS_CLOSED)
            return fail(failure, ERR_CLOSED, "%s closed the connection", c->name);
        if (wait_for(c, c->fd, POLLIN, deadline) != OK) return timed_out(c, "waiting for an answer", failure);
        enum err err = receive_some(c, &size, failure);
        if (err != OK) return err;
        tls_feed(c->tls, bytes_of(c->input, size));
    }
}

enum err client_receive(struct client *c, struct frame *out, uint32_t timeout_ms, struct failure *failure)
{
    uint64_t deadline = deadline_after(timeout_ms);
    for (;;) {
        struct bytes plain;
        enum err err = frame_next(&c->reader, out);
        if (err == OK) return OK;
        if (err != ERR_NOT_FOUND) return fail(failure, err, "%s: %s", c->name, err_text(err));
        err = more_plain(c, &plain, deadline, failure);
        if (err == ERR_CLOSED && frame_end(&c->reader) != OK)
            return fail(failure, ERR_TRUNCATED, "%s closed the connection inside a message", c->name);
        if (err != OK) return err;
        frame_feed(&c->reader, plain);
    }
}

enum err client_read(struct client *c, uint8_t *out, size_t size, size_t *got, uint32_t timeout_ms,
                     struct failure *failure)
{
    struct bytes plain;
    *got = 0;
    CHECK(size > 0);
    if (c->early_at == c->early.size) {
        enum err err = more_plain(c, &plain, deadline_after(timeout_ms), failure);
        if (err == ERR_CLOSED) return OK;
        if (err != OK) return err;
        buffer_append_bytes(&c->early, plain);
        if (c->early.failed) return fail(failure, ERR_NOMEM, "out of memory");
    }
    *got = c->early.size - c->early_at < size ? c->early.size - c->early_at : size;
    memcpy(out, c->early.data + c->early_at, *got);
    c->early_at += *got;
    return OK;
}

int client_descriptor(const struct client *c) { return c->fd; }
bool client_resumed(const struct client *c) { return tls_resumed(c->tls); }
const char *client_version(const struct client *c) { return tls_version(c->tls); }
