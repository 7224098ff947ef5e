/* The blocking client against a server on a thread with its own loop. */
#include <dlfcn.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/pack.h"
#include "crypto/random.h"
#include "net/client.h"
#include "net/listener.h"
#include "tests/lib/bad_frames.h"
#include "tests/lib/identities.h"
#include "tests/lib/unit.h"

/* What the server does with a frame of this type. */
enum { ECHO_BACK = 1, KEEP_SILENT, CLOSE, FLOOD };

#define PATIENCE_MS 120000u /* for what must come, on however slow a machine */

struct server {
    pthread_t thread;
    uv_loop_t loop;
    uv_async_t stop;
    struct tls_context *tls;
    struct network *network;
    struct listener *listener;
    struct address address;
};

static void on_frame(struct connection *c, const struct frame *f, void *data)
{
    (void)data;
    switch (f->type) {
    case ECHO_BACK: (void)connection_send(c, ECHO_BACK, f->id, f->body); break;
    case CLOSE: connection_close(c, OK, NULL); break;
    case FLOOD:
        for (uint64_t id = 0; id < 12; id++)
            (void)connection_send(c, FLOOD, id, f->body);
        break;
    default: break;
    }
}

/* Over HTTP's protocol bytes go out as they are: half a frame, for once. */
static void on_raw(struct connection *c, struct bytes bytes, void *data)
{
    (void)data;
    (void)connection_write(c, bytes);
    connection_close(c, OK, NULL);
}

static void on_close(struct connection *c, enum err code, const char *text, void *data)
{
    (void)c, (void)code, (void)text, (void)data;
}

static void on_done(void *data) { (void)data; }

static void on_stop(uv_async_t *async)
{
    struct server *s = async->data;
    listener_close(s->listener);
    network_close(s->network, on_done, s);
    uv_close((uv_handle_t *)async, NULL);
}

static void *serve(void *data)
{
    uv_run(&((struct server *)data)->loop, UV_RUN_DEFAULT);
    return NULL;
}

static void server_start(struct server *s, unsigned identity)
{
    struct connection_events events = {.on_frame = on_frame, .on_raw = on_raw, .on_close = on_close};
    struct listener_handler handlers[] = {
        {.alpn = TLS_ALPN_CLIENT, .events = events},
        {.alpn = TLS_ALPN_HTTP, .raw = true, .events = events},
    };
    struct address any;
    struct network_options patient = {.handshake_ms = PATIENCE_MS, .idle_ms = PATIENCE_MS, .stall_ms = PATIENCE_MS,
                                      .frame_ms = PATIENCE_MS, .linger_ms = PATIENCE_MS};
    assert_int_equal(uv_loop_init(&s->loop), 0);
    s->tls = identity_context(identity, 0);
    assert_int_equal(network_new(&s->network, &s->loop, s->tls, &patient), OK);
    assert_int_equal(address_parse(&any, "127.0.0.1:0", true, NULL), OK);
    assert_int_equal(listener_new(&s->listener, s->network, &any, handlers, 2, NULL, NULL), OK);
    s->address = *listener_address(s->listener);
    s->stop.data = s;
    assert_int_equal(uv_async_init(&s->loop, &s->stop, on_stop), 0);
    assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
}

static void server_stop(struct server *s)
{
    uv_async_send(&s->stop);
    pthread_join(s->thread, NULL);
    network_free(s->network);
    assert_int_equal(uv_loop_close(&s->loop), 0);
    tls_context_free(s->tls);
}

static struct server server;
static struct tls_context *tls;

static int setup(void **state)
{
    (void)state;
    server_start(&server, 0);
    tls = identity_none();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    server_stop(&server);
    tls_context_free(tls);
    identities_free();
    return 0;
}

static struct client *connected(const struct client_options *options)
{
    struct client *c;
    struct failure f = {0};
    struct client_options o = options ? *options : (struct client_options){0};
    if (!o.timeout_ms) o.timeout_ms = PATIENCE_MS;
    enum err err = client_connect(&c, tls, &server.address, &identity_of(0)->pin, &o, &f);
    if (err != OK) print_error("%s\n", f.text);
    assert_int_equal(err, OK);
    return c;
}

static void body_of(struct buffer *out, size_t size)
{
    uint8_t *data = calloc(1, size + 1);
    pack_bin(out, data, size);
    free(data);
}

static void test_echo(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 1000, 65536, 1000000, FRAME_BODY_MAX - 5};
    struct client *c = connected(NULL);
    struct failure f;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct buffer body = {0};
        struct frame frame;
        body_of(&body, sizes[i]);
        assert_int_equal(client_send(c, ECHO_BACK, i, buffer_bytes(&body), PATIENCE_MS, &f), OK);
        assert_int_equal(client_receive(c, &frame, PATIENCE_MS, &f), OK);
        assert_int_equal(frame.id, i);
        assert_true(bytes_equal(frame.body, buffer_bytes(&body)));
        buffer_free(&body);
    }
    client_close(c);
}

/* Many questions before the first answer is read, more than all buffers on the way hold. */
static void test_pipelined(void **state)
{
    (void)state;
    enum { MANY = 14 };
    struct client *c = connected(NULL);
    struct failure f = {0};
    struct buffer body = {0};
    struct frame frame;
    body_of(&body, 1u << 20);
    for (uint64_t id = 0; id < MANY; id++)
        assert_int_equal(client_send(c, ECHO_BACK, id, buffer_bytes(&body), PATIENCE_MS, &f), OK);
    for (uint64_t id = 0; id < MANY; id++) {
        assert_int_equal(client_receive(c, &frame, PATIENCE_MS, &f), OK);
        assert_int_equal(frame.id, id);
        assert_int_equal(frame.body.size, body.size);
        /* A question in between does not disturb the answers that wait. */
        if (id % 5 == 0) assert_int_equal(client_send(c, KEEP_SILENT, 0, (struct bytes){0}, PATIENCE_MS, &f), OK);
    }
    assert_int_equal(client_receive(c, &frame, 0, &f), ERR_TIMEOUT);
    buffer_free(&body);
    client_close(c);
}

static void test_timeouts(void **state)
{
    (void)state;
    struct client *c = connected(NULL);
    struct failure f;
    struct frame frame;
    assert_int_equal(client_send(c, KEEP_SILENT, 1, (struct bytes){0}, PATIENCE_MS, &f), OK);
    uint64_t start = clock_monotonic_ns();
    assert_int_equal(client_receive(c, &frame, 150, &f), ERR_TIMEOUT);
    assert_true((clock_monotonic_ns() - start) / 1000000 >= 145);
    assert_non_null(strstr(f.text, "127.0.0.1:"));
    /* And is still of use. */
    assert_int_equal(client_send(c, ECHO_BACK, 2, (struct bytes){0}, PATIENCE_MS, &f), OK);
    assert_int_equal(client_receive(c, &frame, PATIENCE_MS, &f), OK);
    assert_int_equal(frame.id, 2);
    assert_int_equal(frame.body.size, 1);
    client_close(c);
}

static void test_closed(void **state)
{
    (void)state;
    struct client *c = connected(NULL);
    struct failure f;
    struct frame frame;
    assert_int_equal(client_send(c, ECHO_BACK, 1, (struct bytes){0}, PATIENCE_MS, &f), OK);
    assert_int_equal(client_send(c, CLOSE, 2, (struct bytes){0}, PATIENCE_MS, &f), OK);
    assert_int_equal(client_receive(c, &frame, PATIENCE_MS, &f), OK); /* what came before the end */
    assert_int_equal(client_receive(c, &frame, PATIENCE_MS, &f), ERR_CLOSED);
    assert_int_equal(client_receive(c, &frame, PATIENCE_MS, &f), ERR_CLOSED);
    client_close(c);
}

static void test_truncated_and_bad(void **state)
{
    (void)state;
    static const struct bad_bytes bad[] = {
        {"\x00\x00\x00\x09\x93\x01", 6, ERR_TRUNCATED},
        {"\xff\x00\x00\x00", 4, ERR_FRAME_TOO_LONG},
        {"\x00\x00\x00\x01\xc0", 5, ERR_MALFORMED},
    };
    struct client_options o = {.alpn = TLS_ALPN_HTTP};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct client *c = connected(&o);
        struct failure f;
        struct frame frame;
        assert_int_equal(client_write(c, bytes_of(bad[i].bytes, bad[i].size), PATIENCE_MS, &f), OK);
        assert_string_equal(err_name(client_receive(c, &frame, PATIENCE_MS, &f)), err_name(bad[i].code));
        client_close(c);
    }
}

static void test_raw(void **state)
{
    (void)state;
    struct client_options o = {.alpn = TLS_ALPN_HTTP};
    struct client *c = connected(&o);
    struct failure f;
    uint8_t out[3];
    size_t got;
    assert_int_equal(client_write(c, bytes_text("abcdefgh"), PATIENCE_MS, &f), OK);
    static const char *const parts[] = {"abc", "def", "gh", ""};
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(client_read(c, out, sizeof out, &got, PATIENCE_MS, &f), OK);
        assert_int_equal(got, strlen(parts[i]));
        assert_memory_equal(out, parts[i], got);
    }
    client_close(c);
}

static void test_resumes(void **state)
{
    (void)state;
    struct tls_ticket *ticket = NULL;
    struct client_options o = {.ticket = &ticket};
    for (unsigned i = 0; i < 3; i++) {
        struct client *c = connected(&o);
        struct failure f;
        struct frame frame;
        assert_int_equal(client_resumed(c), i > 0);
        assert_int_equal(client_send(c, ECHO_BACK, 1, (struct bytes){0}, PATIENCE_MS, &f), OK);
        assert_int_equal(client_receive(c, &frame, PATIENCE_MS, &f), OK);
        client_close(c);
        assert_non_null(ticket);
    }
    tls_ticket_free(ticket);
}

static void test_refusals(void **state)
{
    (void)state;
    struct client *c = NULL;
    struct failure f;
    struct address a = server.address;
    struct client_options patient = {.timeout_ms = PATIENCE_MS};
    /* another key */
    assert_int_equal(client_connect(&c, tls, &a, &identity_of(1)->pin, &patient, &f), ERR_WRONG_PEER);
    assert_non_null(strstr(f.text, "127.0.0.1:"));
    /* nobody there */
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof in;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof in), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &size), 0);
    a.port = ntohs(in.sin_port);
    assert_int_equal(client_connect(&c, tls, &a, &identity_of(0)->pin, &patient, &f), ERR_UNREACHABLE);
    assert_non_null(strstr(f.text, "refused"));
    /* somebody who says nothing */
    assert_int_equal(listen(fd, 1), 0);
    struct client_options o = {.timeout_ms = 200};
    uint64_t start = clock_monotonic_ns();
    assert_int_equal(client_connect(&c, tls, &a, &identity_of(0)->pin, &o, &f), ERR_TIMEOUT);
    assert_true((clock_monotonic_ns() - start) / 1000000 >= 195);
    close(fd);
    /* a name that cannot exist (RFC 6761) */
    assert_int_equal(address_parse(&a, "nobody.invalid:7001", false, NULL), OK);
    assert_int_equal(client_connect(&c, tls, &a, &identity_of(0)->pin, &patient, &f), ERR_UNREACHABLE);
    assert_non_null(strstr(f.text, "nobody.invalid:7001"));
    assert_null(c);
}

static void *speak_plainly(void *data)
{
    int fd = accept(*(int *)data, NULL, NULL);
    char sink[2000];
    ssize_t ignored = read(fd, sink, sizeof sink);
    ignored = write(fd, "HTTP/1.1 400 Bad Request\r\n\r\n", 28);
    (void)ignored;
    close(fd);
    return NULL;
}

static void test_not_tls(void **state)
{
    (void)state;
    struct client *c;
    struct failure f;
    struct address a = server.address;
    struct client_options patient = {.timeout_ms = PATIENCE_MS};
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof in;
    pthread_t thread;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof in), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &size), 0);
    assert_int_equal(listen(fd, 1), 0);
    a.port = ntohs(in.sin_port);
    assert_int_equal(pthread_create(&thread, NULL, speak_plainly, &fd), 0);
    assert_int_equal(client_connect(&c, tls, &a, &identity_of(0)->pin, &patient, &f), ERR_NOT_TLS);
    pthread_join(thread, NULL);
    close(fd);
}

/* A server that goes on sending does not keep a sender from its turn, nor fill its memory. */
static void test_flooded(void **state)
{
    (void)state;
    struct client *c = connected(NULL);
    struct failure f = {0};
    struct buffer body = {0};
    struct frame frame;
    body_of(&body, 1u << 20);
    assert_int_equal(client_send(c, FLOOD, 1, buffer_bytes(&body), PATIENCE_MS, &f), OK);
    assert_int_equal(client_send(c, ECHO_BACK, 99, buffer_bytes(&body), PATIENCE_MS, &f), OK);
    for (uint64_t id = 0; id < 12; id++) {
        assert_int_equal(client_receive(c, &frame, PATIENCE_MS, &f), OK);
        assert_int_equal(frame.id, id);
    }
    assert_int_equal(client_receive(c, &frame, PATIENCE_MS, &f), OK);
    assert_int_equal(frame.id, 99);
    buffer_free(&body);
    client_close(c);
}

/* With that nothing waits, however long it may. */
static void test_stops(void **state)
{
    (void)state;
    enum { HOUR_MS = 3600000 };
    uint64_t one = 1;
    struct frame frame;
    int stop = eventfd(0, EFD_CLOEXEC);
    assert_true(stop > 0);
    struct client *c = connected(&(struct client_options){.stop = stop});
    assert_int_equal(client_send(c, ECHO_BACK, 1, (struct bytes){0}, HOUR_MS, NULL), OK);
    assert_int_equal(client_receive(c, &frame, HOUR_MS, NULL), OK);
    assert_int_equal(write(stop, &one, sizeof one), sizeof one);
    assert_int_equal(client_receive(c, &frame, HOUR_MS, NULL), ERR_TIMEOUT);
    client_close(c);
    assert_int_not_equal(client_connect(&c, tls, &server.address, &identity_of(0)->pin,
                                        &(struct client_options){.timeout_ms = HOUR_MS, .stop = stop}, NULL), OK);
    close(stop);
}

/* --- names --- */

/* Name servers that don't answer until they are let: a minute at most. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool hang;
    unsigned asked, answered;
} names = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

/* Before the C library's: all names are this machine's. */
int getaddrinfo(const char *host, const char *port, const struct addrinfo *hints, struct addrinfo **out)
{
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    struct timespec end;
    *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
    if (strstr(host, ".example") == NULL || hints->ai_flags & AI_NUMERICHOST) return real(host, port, hints, out);
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += 60;
    pthread_mutex_lock(&names.lock);
    names.asked++;
    while (names.hang && pthread_cond_timedwait(&names.changed, &names.lock, &end) == 0) continue;
    names.answered++;
    pthread_cond_broadcast(&names.changed);
    pthread_mutex_unlock(&names.lock);
    return real("127.0.0.1", port, hints, out);
}

static void let_names_hang(bool hang)
{
    pthread_mutex_lock(&names.lock);
    names.hang = hang;
    pthread_cond_broadcast(&names.changed);
    pthread_mutex_unlock(&names.lock);
}

static unsigned names_answered(unsigned await)
{
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += PATIENCE_MS / 1000;
    pthread_mutex_lock(&names.lock);
    while (names.answered < await && pthread_cond_timedwait(&names.changed, &names.lock, &end) == 0) continue;
    unsigned answered = names.answered;
    pthread_mutex_unlock(&names.lock);
    return answered;
}

/* Nobody waits for them longer than for all else. */
static void test_names_that_hang(void **state)
{
    (void)state;
    enum { HOUR_MS = 3600000 };
    const struct digest *pin = &identity_of(0)->pin;
    uint64_t one = 1;
    struct client *c = NULL;
    struct failure f = {0};
    struct address a, other;
    int stop = eventfd(0, EFD_CLOEXEC);
    assert_true(stop > 0 && write(stop, &one, sizeof one) == sizeof one);
    assert_int_equal(address_parse(&a, "node.example:7001", false, NULL), OK);
    assert_int_equal(address_parse(&other, "other.example:7001", false, NULL), OK);
    a.port = other.port = server.address.port;
    let_names_hang(true);
    for (int i = 0; i < 3; i++) {
        struct client_options short_time = {.timeout_ms = 50}, stopped = {.timeout_ms = HOUR_MS, .stop = stop};
        assert_int_equal(client_connect(&c, tls, &a, pin, &short_time, &f), ERR_UNREACHABLE);
        assert_non_null(strstr(f.text, "cannot find the address of node.example:"));
        assert_int_equal(client_connect(&c, tls, &a, pin, &stopped, &f), ERR_UNREACHABLE);
    }
    assert_int_equal(client_connect(&c, tls, &other, pin, &(struct client_options){.timeout_ms = 50}, &f),
                     ERR_UNREACHABLE);
    assert_int_equal(names_answered(0), 0);
    client_close(connected(NULL)); /* a number needs none of them */
    let_names_hang(false);
    assert_int_equal(names_answered(2), 2); /* one thread for each name */
    struct client_options patient = {.timeout_ms = PATIENCE_MS};
    assert_int_equal(client_connect(&c, tls, &a, pin, &patient, &f), OK);
    client_close(c);
    assert_in_range(names.asked, 2, 3); /* anew, unless the last answer came that late */
    close(stop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_echo),     cmocka_unit_test(test_pipelined), cmocka_unit_test(test_timeouts),
        cmocka_unit_test(test_closed),   cmocka_unit_test(test_truncated_and_bad), cmocka_unit_test(test_raw),
        cmocka_unit_test(test_resumes),  cmocka_unit_test(test_refusals),  cmocka_unit_test(test_not_tls),
        cmocka_unit_test(test_flooded),  cmocka_unit_test(test_stops),
        cmocka_unit_test(test_names_that_hang),
    };
    crypto_init();
    return cmocka_run_group_tests(tests, setup, teardown);
}
