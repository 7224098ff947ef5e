/* Connections and the listener over real sockets on the loopback, server and client in one loop. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/pack.h"
#include "crypto/random.h"
#include "net/client.h"
#include "net/listener.h"
#include "tests/lib/identities.h"
#include "tests/lib/unit.h"

enum { ASK = 1, ANSWER = 2, FAULT = 3 };

#define PATIENCE_MS 120000u

struct world {
    uv_loop_t loop;
    struct tls_context *server_tls, *client_tls;
    struct network *server, *client;
    struct listener *listener;
    unsigned closed_networks;
    /* of the server's side */
    unsigned opened, closed, frames, faults, writable;
    enum err closed_code, fault_code;
    char closed_text[200];
    struct connection *last;
    bool pausing;
    struct connection *asked[4];
    struct buffer raw;
};

/* --- the server: echoes --- */

static void server_open(struct connection *c, void *data)
{
    struct world *w = data;
    w->opened++;
    w->last = c;
    if (w->pausing) connection_pause(c);
}

static void server_frame(struct connection *c, const struct frame *f, void *data)
{
    struct world *w = data;
    w->frames++;
    if (f->type == ASK) (void)connection_send(c, ANSWER, f->id, f->body);
}

static void server_writable(struct connection *c, void *data)
{
    (void)c;
    ((struct world *)data)->writable++;
}

static void server_raw(struct connection *c, struct bytes bytes, void *data)
{
    struct world *w = data;
    buffer_append_bytes(&w->raw, bytes);
    if (w->raw.size >= 4 && memcmp(w->raw.data + w->raw.size - 4, "\r\n\r\n", 4) == 0) {
        connection_write(c, bytes_text("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));
        connection_close(c, OK, NULL);
    }
}

static void server_fault(struct connection *c, enum err code, void *data)
{
    struct world *w = data;
    struct buffer body = {0};
    w->faults++;
    w->fault_code = code;
    pack_uint(&body, (uint64_t)code);
    assert_int_equal(connection_send(c, FAULT, 0, buffer_bytes(&body)), OK);
    buffer_free(&body);
}

static void server_close(struct connection *c, enum err code, const char *text, void *data)
{
    struct world *w = data;
    (void)c;
    w->closed++;
    w->closed_code = code;
    snprintf(w->closed_text, sizeof w->closed_text, "%s", text);
}

static const struct connection_events server_events = {
    .on_open = server_open,
    .on_frame = server_frame,
    .on_raw = server_raw,
    .on_writable = server_writable,
    .on_fault = server_fault,
    .on_close = server_close,
};

/* --- a client --- */

struct caller {
    struct connection *connection;
    unsigned opened, closed, frames, writable;
    uint64_t last_id;
    size_t last_size;
    enum err code;
    char text[200];
    bool resumed;
    struct tls_ticket *ticket;
    struct buffer last;
};

static void caller_open(struct connection *c, void *data)
{
    struct caller *a = data;
    a->opened++;
    a->resumed = connection_resumed(c);
}

static void caller_frame(struct connection *c, const struct frame *f, void *data)
{
    struct caller *a = data;
    a->frames++;
    a->last_id = f->id;
    a->last_size = f->body.size;
    buffer_clear(&a->last);
    buffer_append_bytes(&a->last, f->body);
    struct tls_ticket *ticket = connection_ticket_take(c);
    if (ticket) {
        tls_ticket_free(a->ticket);
        a->ticket = ticket;
    }
}

static void caller_writable(struct connection *c, void *data)
{
    (void)c;
    ((struct caller *)data)->writable++;
}

static void caller_close(struct connection *c, enum err code, const char *text, void *data)
{
    struct caller *a = data;
    assert_ptr_equal(a->connection, c);
    a->connection = NULL;
    a->closed++;
    a->code = code;
    snprintf(a->text, sizeof a->text, "%s", text);
}

static const struct connection_events caller_events = {
    .on_open = caller_open,
    .on_frame = caller_frame,
    .on_writable = caller_writable,
    .on_close = caller_close,
};

/* --- the world --- */

static void on_network_closed(void *data) { ((struct world *)data)->closed_networks++; }

/* Time-outs that a test doesn't ask for never end anything here, however slow the machine is. */
static struct network_options patient(const struct network_options *given)
{
    struct network_options o = given ? *given : (struct network_options){0};
    uint32_t *const times[] = {&o.handshake_ms, &o.idle_ms, &o.stall_ms, &o.frame_ms, &o.linger_ms};
    for (size_t i = 0; i < sizeof times / sizeof *times; i++)
        if (!*times[i]) *times[i] = PATIENCE_MS;
    return o;
}

static void world_start(struct world *w, const struct network_options *given, const struct listener_options *limits)
{
    struct network_options server = patient(given), client = patient(NULL);
    memset(w, 0, sizeof *w);
    assert_int_equal(uv_loop_init(&w->loop), 0);
    w->server_tls = identity_context(0, 0);
    w->client_tls = identity_context(1, 0);
    assert_int_equal(network_new(&w->server, &w->loop, w->server_tls, &server), OK);
    assert_int_equal(network_new(&w->client, &w->loop, w->client_tls, &client), OK);
    const struct listener_handler handlers[] = {
        {.alpn = TLS_ALPN_CLIENT, .events = server_events, .data = w},
        {.alpn = TLS_ALPN_HTTP, .raw = true, .events = server_events, .data = w},
    };
    struct address any;
    struct failure f;
    assert_int_equal(address_parse(&any, "127.0.0.1:0", true, &f), OK);
    assert_int_equal(listener_new(&w->listener, w->server, &any, handlers, 2, limits, &f), OK);
}

static void world_end(struct world *w)
{
    listener_close(w->listener);
    network_close(w->server, on_network_closed, w);
    network_close(w->client, on_network_closed, w);
    assert_int_equal(uv_run(&w->loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(w->closed_networks, 2);
    network_free(w->server);
    network_free(w->client);
    assert_int_equal(uv_loop_close(&w->loop), 0);
    tls_context_free(w->server_tls);
    tls_context_free(w->client_tls);
    buffer_free(&w->raw);
}

static bool turn(struct world *w, uint64_t deadline)
{
    assert_true(clock_monotonic_ns() < deadline);
    uv_run(&w->loop, UV_RUN_ONCE);
    return true;
}

/* Runs the loop until the condition holds. */
#define RUN_UNTIL(w, condition)                                                                                      \
    do {                                                                                                             \
        uint64_t end = clock_monotonic_ns() + PATIENCE_MS * UINT64_C(1000000);                                       \
        uv_timer_t tick;                                                                                             \
        uv_timer_init(&(w)->loop, &tick);                                                                            \
        uv_timer_start(&tick, on_tick, 5, 5);                                                                        \
        while (!(condition) && turn(w, end)) {}                                                                      \
        uv_close((uv_handle_t *)&tick, NULL);                                                                        \
        uv_run(&(w)->loop, UV_RUN_NOWAIT);                                                                           \
    } while (0)

static void on_tick(uv_timer_t *timer) { (void)timer; }

static void run_for(struct world *w, unsigned ms)
{
    uint64_t until = clock_monotonic_ns() + (uint64_t)ms * 1000000;
    RUN_UNTIL(w, clock_monotonic_ns() >= until);
}

static void call(struct world *w, struct caller *a, const char *alpn, const struct digest *pin)
{
    assert_int_equal(connection_dial(&a->connection, w->client, listener_address(w->listener), NULL, alpn, pin,
                                     a->ticket, &caller_events, a),
                     OK);
}

static void caller_end(struct caller *a)
{
    tls_ticket_free(a->ticket);
    buffer_free(&a->last);
}

static void body_of(struct buffer *out, size_t size)
{
    uint8_t *data = malloc(size + 1);
    for (size_t i = 0; i < size; i++)
        data[i] = (uint8_t)(i * 7 + size);
    pack_bin(out, data, size);
    free(data);
}

/* --- a blocking client on a thread of its own, which sends bytes as they are --- */

struct background {
    struct world *w;
    struct bytes bytes;
    bool hang_up, http, waits;
    pthread_t thread;
    enum err answer; /* the code in the server's FAULT, or why none came */
    char text[400];
};

static void background_frames(struct background *b, struct client *c)
{
    struct frame f;
    if (client_write(c, b->bytes, PATIENCE_MS, NULL) != OK || b->hang_up) return;
    static const uint8_t more[200000];
    if (!b->waits) (void)client_write(c, BYTES(more), PATIENCE_MS, NULL); /* sending on must not cost the answer */
    b->answer = client_receive(c, &f, PATIENCE_MS, NULL);
    if (b->answer != OK) return;
    struct unpack u = unpack_start(f.body);
    b->answer = f.type == FAULT ? (enum err)unpack_uint(&u) : ERR_UNEXPECTED;
}

static void *background_main(void *data)
{
    struct background *b = data;
    struct client *c;
    struct failure f = {0};
    struct client_options o = {.alpn = b->http ? TLS_ALPN_HTTP : NULL, .timeout_ms = PATIENCE_MS};
    struct tls_context *tls = identity_none();
    b->answer = client_connect(&c, tls, listener_address(b->w->listener), &identity_of(0)->pin, &o, &f);
    snprintf(b->text, sizeof b->text, "%s", f.text);
    if (b->answer == OK) {
        size_t got = 0;
        if (!b->http)
            background_frames(b, c);
        else if (client_write(c, b->bytes, PATIENCE_MS, NULL) == OK &&
                 client_read(c, (uint8_t *)b->text, sizeof b->text - 1, &got, PATIENCE_MS, NULL) == OK)
            b->text[got] = '\0';
        client_close(c);
    }
    tls_context_free(tls);
    return NULL;
}

static void background_run(struct background *b)
{
    assert_int_equal(pthread_create(&b->thread, NULL, background_main, b), 0);
}

static void background_join(struct background *b) { pthread_join(b->thread, NULL); }

/* --- tests --- */

static void test_echo(void **state)
{
    (void)state;
    struct world w;
    struct caller a = {0};
    static const size_t sizes[] = {0, 1, 100, 16000, 16384, 70000, 1u << 20, FRAME_BODY_MAX - 5};
    world_start(&w, NULL, NULL);
    call(&w, &a, TLS_ALPN_CLIENT, &identity_of(0)->pin);
    assert_int_equal(a.opened, 0);
    RUN_UNTIL(&w, a.opened == 1);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct buffer body = {0};
        body_of(&body, sizes[i]);
        assert_int_equal(connection_send(a.connection, ASK, i + 1000000, buffer_bytes(&body)), OK);
        RUN_UNTIL(&w, a.frames == i + 1 || a.closed);
        assert_int_equal(a.last_id, i + 1000000);
        assert_true(bytes_equal(buffer_bytes(&a.last), buffer_bytes(&body)));
        buffer_free(&body);
    }
    connection_close(a.connection, OK, NULL);
    RUN_UNTIL(&w, a.closed == 1 && w.closed == 1);
    assert_int_equal(a.code, OK);
    assert_int_equal(w.closed_code, OK);
    assert_int_equal(listener_connections(w.listener), 0);
    world_end(&w);
    caller_end(&a);
}


static int raw_socket(struct world *w)
{
    struct sockaddr_storage to;
    assert_true(address_to_socket(&to, listener_address(w->listener)));
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(struct sockaddr_in)), 0);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

/* true once the other side has closed; what it sent is thrown away. */
static bool is_closed(int fd)
{
    char sink[4096];
    ssize_t n;
    while ((n = recv(fd, sink, sizeof sink, 0)) > 0) {}
    return n == 0 || (errno != EAGAIN && errno != EINTR);
}

static void test_resumed_reconnect(void **state)
{
    (void)state;
    struct world w;
    struct caller a = {0};
    world_start(&w, NULL, NULL);
    for (unsigned i = 0; i < 3; i++) {
        call(&w, &a, TLS_ALPN_CLIENT, &identity_of(0)->pin);
        RUN_UNTIL(&w, a.opened == i + 1);
        assert_int_equal(a.resumed, i > 0);
        assert_int_equal(connection_send(a.connection, ASK, 1, (struct bytes){0}), OK);
        RUN_UNTIL(&w, a.frames == i + 1);
        connection_close(a.connection, OK, NULL);
        RUN_UNTIL(&w, a.closed == i + 1 && w.closed == i + 1);
    }
    assert_int_equal(network_counters(w.server)->handshakes_full, 1);
    assert_int_equal(network_counters(w.server)->handshakes_resumed, 2);
    world_end(&w);
    caller_end(&a);
}

static void test_wrong_pin(void **state)
{
    (void)state;
    struct world w;
    struct caller a = {0};
    world_start(&w, NULL, NULL);
    call(&w, &a, TLS_ALPN_CLIENT, &identity_of(2)->pin);
    RUN_UNTIL(&w, a.closed == 1 && listener_connections(w.listener) == 0);
    assert_int_equal(a.opened, 0);
    assert_int_equal(a.code, ERR_WRONG_PEER);
    assert_int_equal(w.opened, 0);
    assert_int_equal(network_counters(w.server)->handshakes_failed, 1);
    world_end(&w);
}

/* A protocol that this listener has no handler for. */
static void test_unserved_protocol(void **state)
{
    (void)state;
    struct world w;
    struct caller a = {0};
    world_start(&w, NULL, NULL);
    call(&w, &a, TLS_ALPN_PEER, &identity_of(0)->pin);
    RUN_UNTIL(&w, a.closed == 1 && listener_connections(w.listener) == 0);
    assert_int_equal(w.opened, 0);
    world_end(&w);
    caller_end(&a);
}

static void test_unreachable(void **state)
{
    (void)state;
    struct world w;
    struct caller a = {0};
    struct address to = {.kind = ADDRESS_IPV4, .host = "127.0.0.1"};
    world_start(&w, NULL, NULL);
    /* A port on which nobody listens: bound here, so that nobody else gets it. */
    struct sockaddr_storage any, got;
    socklen_t size = sizeof got;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(address_to_socket(&any, &to));
    assert_int_equal(bind(fd, (struct sockaddr *)&any, sizeof(struct sockaddr_in)), 0);
    getsockname(fd, (struct sockaddr *)&got, &size);
    address_from_socket(&to, (struct sockaddr *)&got);
    assert_int_equal(connection_dial(&a.connection, w.client, &to, NULL, TLS_ALPN_CLIENT, &identity_of(0)->pin, NULL,
                                     &caller_events, &a),
                     OK);
    assert_int_equal(a.closed, 0);
    RUN_UNTIL(&w, a.closed == 1);
    assert_int_equal(a.code, ERR_UNREACHABLE);
    assert_non_null(strstr(a.text, "connection refused"));
    close(fd);
    /* A name that cannot exist (RFC 6761). */
    assert_int_equal(address_parse(&to, "nobody.invalid:7001", false, NULL), OK);
    assert_int_equal(connection_dial(&a.connection, w.client, &to, NULL, TLS_ALPN_CLIENT, &identity_of(0)->pin, NULL,
                                     &caller_events, &a),
                     OK);
    RUN_UNTIL(&w, a.closed == 2);
    assert_int_equal(a.code, ERR_UNREACHABLE);
    world_end(&w);
}

/* A name with several addresses; the source address is bound. */
static void test_name_and_bind(void **state)
{
    (void)state;
    struct world w;
    struct caller a = {0};
    struct address to, from;
    world_start(&w, NULL, NULL);
    assert_int_equal(address_parse(&to, "localhost:1", false, NULL), OK);
    to.port = listener_address(w.listener)->port;
    assert_int_equal(address_parse(&from, "127.0.0.7:9", false, NULL), OK);
    assert_int_equal(connection_dial(&a.connection, w.client, &to, &from, TLS_ALPN_CLIENT, &identity_of(0)->pin, NULL,
                                     &caller_events, &a),
                     OK);
    RUN_UNTIL(&w, w.opened == 1 && a.opened == 1);
    assert_string_equal(connection_remote(w.last)->host, "127.0.0.7");
    world_end(&w);
    assert_int_equal(a.code, ERR_CANCELED);
    caller_end(&a);
}

/* Each closed in every phase of a dial, for the sanitizers. */
static void test_abort_anywhere(void **state)
{
    (void)state;
    for (unsigned turns = 0; turns < 30; turns++) {
        struct world w;
        struct caller a = {0};
        world_start(&w, NULL, NULL);
        call(&w, &a, TLS_ALPN_CLIENT, &identity_of(0)->pin);
        for (unsigned i = 0; i < turns && !a.opened; i++)
            uv_run(&w.loop, UV_RUN_NOWAIT);
        if (turns % 2 && a.connection) connection_abort(a.connection, ERR_CANCELED, NULL);
        world_end(&w);
        assert_int_equal(a.closed, 1);
        caller_end(&a);
    }
}

static void test_not_tls(void **state)
{
    (void)state;
    static const char *const garbage[] = {"GET / HTTP/1.1\r\n\r\n", "SSH-2.0-x\r\n", "\x16\x02\x01\x02\x03garbage",
                                          "\x16\x03\x01\xff\xff", "\x16\x03\x01\x00\x05\xff\xff\xff\xff\xff", "\x80"};
    struct world w;
    struct network_options options = {.handshake_ms = 2000}; /* 3.x waits for more of a message that claims 16 MiB */
    world_start(&w, &options, NULL);
    for (size_t i = 0; i < sizeof garbage / sizeof *garbage; i++) {
        int fd = raw_socket(&w);
        size_t size = i == 4 ? 10 : strlen(garbage[i]);
        assert_int_equal(send(fd, garbage[i], size, 0), size);
        RUN_UNTIL(&w, is_closed(fd));
        close(fd);
    }
    RUN_UNTIL(&w, listener_connections(w.listener) == 0);
    assert_int_equal(w.opened, 0);
    assert_int_equal(network_counters(w.server)->handshakes_failed, sizeof garbage / sizeof *garbage);
    world_end(&w);
}

/* Connected and silent, and a byte now and then, which wins no time: both end with the time for handshakes. */
static void test_slow_handshake(void **state)
{
    (void)state;
    struct world w;
    struct network_options options = {.handshake_ms = 200};
    world_start(&w, &options, NULL);
    int silent = raw_socket(&w), slow = raw_socket(&w);
    uint64_t start = clock_monotonic_ns();
    assert_int_equal(send(slow, "\x16\x03\x01\x02", 4, 0), 4); /* of a record of 512 bytes and more */
    for (unsigned i = 0; !is_closed(slow); i++) {
        assert_true(i < 256);
        (void)send(slow, "\0", 1, MSG_NOSIGNAL);
        run_for(&w, 20);
    }
    RUN_UNTIL(&w, is_closed(silent));
    assert_true((clock_monotonic_ns() - start) / 1000000 >= 195); /* accepted after the start; whole milliseconds */
    RUN_UNTIL(&w, listener_connections(w.listener) == 0);
    close(silent);
    close(slow);
    world_end(&w);
}

/* Messages keep a connection alive, silence ends it. false, with nothing said, when the machine held
 * the test up, so that the server may have heard nothing for the idle time. A silence is measured from
 * before a message is sent until the next has arrived: never shorter than what the server measures. */
static bool try_idle(uint32_t idle_ms)
{
    enum { MESSAGES = 6 };
    struct world w;
    struct caller a = {0};
    struct network_options options = {.idle_ms = idle_ms};
    uint64_t sent = clock_monotonic_ns(), silence = 0;
    world_start(&w, &options, NULL);
    call(&w, &a, TLS_ALPN_CLIENT, &identity_of(0)->pin);
    RUN_UNTIL(&w, a.opened == 1 || a.closed);
    for (unsigned i = 0; i < MESSAGES && !a.closed; i++) {
        uint64_t next = sent;
        run_for(&w, idle_ms * 3 / 10);
        if (!a.closed) {
            next = clock_monotonic_ns();
            assert_int_equal(connection_send(a.connection, ASK, i, (struct bytes){0}), OK);
            RUN_UNTIL(&w, w.frames == i + 1 || a.closed || w.closed);
        }
        uint64_t now = clock_monotonic_ns();
        if (now - sent > silence) silence = now - sent;
        sent = next;
    }
    bool held_up = silence / 1000000 + 5 >= idle_ms;
    assert_true(held_up || (!a.closed && !w.closed));
    RUN_UNTIL(&w, a.closed == 1 && w.closed == w.opened);
    if (!held_up) {
        assert_int_equal(w.closed_code, ERR_IDLE);
        assert_int_equal(a.code, OK);
        assert_int_equal(a.frames, MESSAGES);
    }
    world_end(&w);
    caller_end(&a);
    return !held_up;
}

static void test_idle(void **state)
{
    (void)state;
    unsigned attempts = 1;
    uint32_t idle_ms = 200;
    while (!try_idle(idle_ms)) {
        assert_true(attempts++ < 50);
        if (idle_ms < 10000) idle_ms *= 2;
    }
    if (attempts > 1) print_message("idle: the machine held up %u attempts\n", attempts - 1);
}

/* What came while this process was held up for longer than the idle time is heard first. false: it was
 * held up before there was anything to hear. */
static bool try_held_up(uint32_t idle_ms)
{
    struct world w;
    struct caller a = {0};
    struct network_options options = {.idle_ms = idle_ms};
    world_start(&w, &options, NULL);
    uint64_t start = clock_monotonic_ns();
    call(&w, &a, TLS_ALPN_CLIENT, &identity_of(0)->pin);
    RUN_UNTIL(&w, (a.opened == 1 && w.opened == 1) || a.closed);
    if (!a.closed) {
        assert_int_equal(connection_send(a.connection, ASK, 1, (struct bytes){0}), OK);
        connection_flush(a.connection);
    }
    bool in_time = (clock_monotonic_ns() - start) / 1000000 + 5 < idle_ms;
    if (in_time) {
        usleep((idle_ms + 100) * 1000);
        uv_run(&w.loop, UV_RUN_NOWAIT);
        assert_int_equal(w.frames, 1);
        RUN_UNTIL(&w, a.frames == 1);
    }
    world_end(&w);
    caller_end(&a);
    return in_time;
}

static void test_held_up(void **state)
{
    (void)state;
    uint32_t idle_ms = 200;
    for (unsigned i = 0; !try_held_up(idle_ms); i++) {
        assert_true(i < 50);
        if (idle_ms < 10000) idle_ms *= 2;
    }
}

/* Bad frames through good TLS: the code reaches the server's handler, and an
 * answer reaches the client although it goes on sending. */
static void test_bad_frames(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t size;
        enum err code;
    } bad[] = {
        {"\xff\xff\xff\xff", 4, ERR_FRAME_TOO_LONG},
        {"\x00\x40\x00\x01", 4, ERR_FRAME_TOO_LONG},
        {"\x00\x00\x00\x00", 4, ERR_TRUNCATED},
        {"\x00\x00\x00\x03\x93\x01\x02", 7, ERR_TRUNCATED},
        {"\x00\x00\x00\x05\x93\x01\x02\x90\x90", 9, ERR_TRAILING},
        {"\x00\x00\x00\x01\xc0", 5, ERR_MALFORMED},
        {"\x00\x00\x00\x04\x92\x01\x02\x90", 8, ERR_MALFORMED},
        {"\x00\x00\x00\x05\x93\xcc\x01\x02\x90", 9, ERR_NOT_CANONICAL},
        {"\x00\x00\x00\x10\x93\x01\x02\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x90", 20, ERR_TOO_DEEP},
        {"\x00\x00\x00\x08GET / ok", 12, ERR_MALFORMED},
    };
    struct world w;
    world_start(&w, NULL, NULL);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        unsigned closed = w.closed;
        struct background b = {.w = &w, .bytes = bytes_of(bad[i].bytes, bad[i].size)};
        background_run(&b);
        RUN_UNTIL(&w, w.closed == closed + 1);
        background_join(&b);
        assert_string_equal(err_name(w.fault_code), err_name(bad[i].code));
        assert_int_equal(w.closed_code, bad[i].code);
        assert_int_equal(b.answer, bad[i].code);
    }
    assert_int_equal(w.faults, sizeof bad / sizeof *bad);
    assert_int_equal(network_counters(w.server)->faults, w.faults);
    world_end(&w);
}

/* The end of the stream inside a frame is told apart from one between frames. */
static void test_truncated(void **state)
{
    (void)state;
    struct world w;
    world_start(&w, NULL, NULL);
    struct background b = {.w = &w, .bytes = bytes_of("\x00\x00\x00\x09\x93\x01", 6), .hang_up = true};
    background_run(&b);
    RUN_UNTIL(&w, w.closed == 1);
    background_join(&b);
    assert_int_equal(w.closed_code, ERR_TRUNCATED);
    assert_int_equal(w.faults, 0);
    world_end(&w);
}

/* A client that asks and never reads: bounded memory, then closed with its own code. false: this process
 * was held up until the kernel closed it instead, which waits three times as long. */
static bool try_never_reads(uint32_t stall_ms)
{
    struct world w;
    struct network_options options = {.send_queue = 1u << 20, .stall_ms = stall_ms};
    struct caller a = {0};
    struct buffer body = {0};
    world_start(&w, &options, NULL);
    call(&w, &a, TLS_ALPN_CLIENT, &identity_of(0)->pin);
    RUN_UNTIL(&w, a.opened == 1 && w.opened == 1);
    connection_pause(a.connection);
    body_of(&body, 100000);
    enum err err;
    size_t sent = 0, most = 0;
    uint64_t start = clock_monotonic_ns();
    /* The kernel's buffers take some MiB first. */
    for (unsigned i = 0; i < 400 && !w.closed; i++) {
        while ((err = connection_send(w.last, ANSWER, 1, buffer_bytes(&body))) == OK)
            sent++;
        assert_int_equal(err, ERR_BUSY);
        if (connection_queued(w.last) > most) most = connection_queued(w.last);
        uv_run(&w.loop, UV_RUN_NOWAIT);
    }
    assert_in_range(most, 900000, 1u << 20);
    RUN_UNTIL(&w, w.closed == 1);
    bool in_time = (clock_monotonic_ns() - start) / 1000000 + 5 < 3 * stall_ms;
    if (in_time) {
        assert_int_equal(w.closed_code, ERR_SLOW_READER);
        print_message("never read: %zu answers of 100 KB went into the kernel, at most %zu bytes queued\n", sent, most);
    }
    world_end(&w);
    buffer_free(&body);
    caller_end(&a);
    return in_time;
}

static void test_never_reads(void **state)
{
    (void)state;
    uint32_t stall_ms = 300;
    for (unsigned i = 0; !try_never_reads(stall_ms); i++) {
        assert_true(i < 50);
        if (stall_ms < 10000) stall_ms *= 2;
    }
}

/* A full queue empties, and on_writable says so. */
static void test_backpressure(void **state)
{
    (void)state;
    struct world w;
    struct caller a = {0};
    struct buffer body = {0};
    world_start(&w, NULL, NULL);
    call(&w, &a, TLS_ALPN_CLIENT, &identity_of(0)->pin);
    RUN_UNTIL(&w, a.opened == 1 && w.opened == 1);
    connection_pause(w.last);
    body_of(&body, 1u << 20);
    unsigned sent = 0;
    for (unsigned i = 0; i < 100; i++) {
        uv_run(&w.loop, UV_RUN_NOWAIT);
        while (connection_send(a.connection, ASK, sent, buffer_bytes(&body)) == OK)
            sent++;
    }
    assert_in_range(connection_queued(a.connection), LIMIT_SEND_QUEUE - (2u << 20), LIMIT_SEND_QUEUE);
    assert_int_equal(w.frames, 0);
    assert_int_equal(a.writable, 0);
    connection_resume(w.last);
    RUN_UNTIL(&w, a.writable == 1);
    assert_true(connection_queued(a.connection) <= LIMIT_SEND_QUEUE / 2);
    RUN_UNTIL(&w, w.frames == sent && a.frames == sent);
    assert_int_equal(a.last_id, sent - 1);
    assert_int_equal(connection_queued(a.connection), 0);
    world_end(&w);
    buffer_free(&body);
    caller_end(&a);
}

/* Paused in the middle of what one read brought: nothing is lost, nothing comes early. */
static void pause_after_frame(struct connection *c, const struct frame *f, void *data)
{
    struct world *w = data;
    assert_int_equal(f->id, w->frames);
    w->frames++;
    connection_pause(c);
}

static void test_pause_each_frame(void **state)
{
    (void)state;
    struct world w;
    struct caller a = {0};
    struct buffer body = {0};
    world_start(&w, NULL, NULL);
    listener_close(w.listener);
    struct connection_events events = server_events;
    events.on_frame = pause_after_frame;
    struct listener_handler handler = {.alpn = TLS_ALPN_CLIENT, .events = events, .data = &w};
    struct address any;
    assert_int_equal(address_parse(&any, "127.0.0.1:0", true, NULL), OK);
    assert_int_equal(listener_new(&w.listener, w.server, &any, &handler, 1, NULL, NULL), OK);
    call(&w, &a, TLS_ALPN_CLIENT, &identity_of(0)->pin);
    RUN_UNTIL(&w, a.opened == 1 && w.opened == 1);
    body_of(&body, 3000);
    for (unsigned i = 0; i < 200; i++)
        assert_int_equal(connection_send(a.connection, ASK, i, buffer_bytes(&body)), OK);
    for (unsigned i = 1; i <= 200; i++) {
        RUN_UNTIL(&w, w.frames == i);
        if (i % 50 == 0) {
            run_for(&w, 20);
            assert_int_equal(w.frames, i);
        }
        connection_resume(w.last);
    }
    world_end(&w);
    buffer_free(&body);
    caller_end(&a);
}

static void test_many_at_once(void **state)
{
    (void)state;
    enum { MANY = 200 };
    struct world w;
    static struct caller callers[MANY];
    struct network_options patient = {.handshake_ms = 600000, .silent_ms = 600000}; /* both sides share this thread */
    unsigned open = 0, answered = 0;
    memset(callers, 0, sizeof callers);
    world_start(&w, &patient, NULL);
    uint64_t start = clock_monotonic_ns();
    for (unsigned i = 0; i < MANY; i++)
        call(&w, &callers[i], TLS_ALPN_CLIENT, &identity_of(0)->pin);
    RUN_UNTIL(&w, (open = network_counters(w.client)->handshakes_full) == MANY);
    uint64_t took = clock_monotonic_ns() - start;
    for (unsigned i = 0; i < MANY; i++)
        assert_int_equal(connection_send(callers[i].connection, ASK, i, bytes_of("\x2a", 1)), OK);
    RUN_UNTIL(&w, (answered = (unsigned)network_counters(w.client)->frames_in) == MANY);
    for (unsigned i = 0; i < MANY; i++)
        assert_int_equal(callers[i].last_id, i);
    assert_int_equal(listener_connections(w.listener), MANY);
    print_message("%d connections at once: %.0f ms until all %u were open\n", MANY, (double)took / 1e6, open);
    world_end(&w);
    for (unsigned i = 0; i < MANY; i++)
        caller_end(&callers[i]);
}

static void test_connection_limits(void **state)
{
    (void)state;
    struct world w;
    struct listener_options limits = {.connections = 5, .connections_per_address = 3};
    struct caller a[8] = {{0}};
    struct address from;
    world_start(&w, NULL, &limits);
    for (unsigned i = 0; i < 4; i++)
        call(&w, &a[i], TLS_ALPN_CLIENT, &identity_of(0)->pin);
    RUN_UNTIL(&w, a[0].opened + a[1].opened + a[2].opened + a[3].opened == 3 &&
                      a[0].closed + a[1].closed + a[2].closed + a[3].closed == 1);
    assert_int_equal(listener_refused(w.listener), 1);
    /* Another address still has room, until all together have none. */
    assert_int_equal(address_parse(&from, "127.0.0.9:1", false, NULL), OK);
    for (unsigned i = 4; i < 7; i++)
        assert_int_equal(connection_dial(&a[i].connection, w.client, listener_address(w.listener), &from,
                                         TLS_ALPN_CLIENT, &identity_of(0)->pin, NULL, &caller_events, &a[i]),
                         OK);
    RUN_UNTIL(&w, a[4].opened + a[5].opened + a[6].opened == 2 && a[4].closed + a[5].closed + a[6].closed == 1);
    assert_int_equal(listener_refused(w.listener), 2);
    /* One leaves, one may come. */
    connection_close(a[4].connection ? a[4].connection : a[5].connection, OK, NULL);
    RUN_UNTIL(&w, listener_connections(w.listener) == 4);
    assert_int_equal(connection_dial(&a[7].connection, w.client, listener_address(w.listener), &from, TLS_ALPN_CLIENT,
                                     &identity_of(0)->pin, NULL, &caller_events, &a[7]),
                     OK);
    RUN_UNTIL(&w, a[7].opened == 1);
    world_end(&w);
    for (unsigned i = 0; i < 8; i++)
        caller_end(&a[i]);
}

/* Out of file descriptors: those who come are turned away, who is there is served, and it recovers. */
static void test_no_descriptors(void **state)
{
    (void)state;
    struct world w;
    struct caller a = {0}, b = {0};
    struct rlimit old, low;
    world_start(&w, NULL, NULL);
    call(&w, &a, TLS_ALPN_CLIENT, &identity_of(0)->pin);
    RUN_UNTIL(&w, a.opened == 1);
    int fd = raw_socket(&w); /* not accepted yet */
    int next = dup(fd);
    close(next);
    getrlimit(RLIMIT_NOFILE, &old);
    low = old;
    low.rlim_cur = (rlim_t)next;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    RUN_UNTIL(&w, is_closed(fd));
    assert_int_equal(connection_send(a.connection, ASK, 7, (struct bytes){0}), OK);
    RUN_UNTIL(&w, a.frames == 1);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    close(fd);
    call(&w, &b, TLS_ALPN_CLIENT, &identity_of(0)->pin);
    RUN_UNTIL(&w, b.opened == 1);
    world_end(&w);
    caller_end(&a);
    caller_end(&b);
}

static void test_http(void **state)
{
    (void)state;
    struct world w;
    world_start(&w, NULL, NULL);
    struct background b = {.w = &w, .bytes = bytes_text("GET /health HTTP/1.1\r\n\r\n"), .http = true};
    background_run(&b);
    RUN_UNTIL(&w, w.closed == 1);
    background_join(&b);
    assert_non_null(strstr(b.text, "200 OK"));
    assert_int_equal(w.closed_code, OK);
    world_end(&w);
}

/* A frame that never ends is not waited for, while others' long frames pass. */
static void test_unfinished_frame(void **state)
{
    (void)state;
    struct world w;
    struct network_options options = {.frame_ms = 200};
    world_start(&w, &options, NULL);
    struct background b = {.w = &w, .bytes = bytes_of("\x00\x30\x00\x00\x93\x01", 6), .waits = true};
    background_run(&b);
    RUN_UNTIL(&w, w.closed == 1);
    background_join(&b);
    assert_int_equal(w.closed_code, ERR_TIMEOUT);
    assert_int_equal(b.answer, ERR_TIMEOUT);
    world_end(&w);
}

/* Unfinished frames of all together are over the total: they take turns, and all are served. */
static void test_receive_total(void **state)
{
    (void)state;
    enum { MANY = 8 };
    struct world w;
    struct network_options options = {.receive_total = 5u << 20, .crowd_ms = 60000};
    struct caller callers[MANY] = {{0}};
    struct buffer body = {0};
    world_start(&w, &options, NULL);
    for (unsigned i = 0; i < MANY; i++)
        call(&w, &callers[i], TLS_ALPN_CLIENT, &identity_of(0)->pin);
    RUN_UNTIL(&w, w.opened == MANY && network_counters(w.client)->handshakes_full == MANY);
    body_of(&body, 3u << 20);
    for (unsigned i = 0; i < MANY; i++)
        assert_int_equal(connection_send(callers[i].connection, ASK, i, buffer_bytes(&body)), OK);
    RUN_UNTIL(&w, w.closed + w.frames >= MANY);
    assert_int_equal(w.frames, MANY);
    assert_int_equal(w.faults, 0);
    world_end(&w);
    buffer_free(&body);
    for (unsigned i = 0; i < MANY; i++)
        caller_end(&callers[i]);
}

/* The same where nobody goes on in time: the slow are told "busy", one by one, and others are served. */
static void test_receive_total_of_the_slow(void **state)
{
    (void)state;
    enum { MANY = 8 };
    struct world w;
    struct network_options options = {.receive_total = 1u << 20, .crowd_ms = 1};
    struct caller callers[MANY] = {{0}};
    struct buffer body = {0};
    unsigned told_busy = 0;
    world_start(&w, &options, NULL);
    for (unsigned i = 0; i < MANY; i++)
        call(&w, &callers[i], TLS_ALPN_CLIENT, &identity_of(0)->pin);
    RUN_UNTIL(&w, w.opened == MANY && network_counters(w.client)->handshakes_full == MANY);
    body_of(&body, 3u << 20);
    for (unsigned i = 0; i < MANY; i++)
        assert_int_equal(connection_send(callers[i].connection, ASK, i, buffer_bytes(&body)), OK);
    RUN_UNTIL(&w, w.closed + w.frames >= MANY);
    RUN_UNTIL(&w, network_counters(w.client)->open == MANY - w.closed);
    for (unsigned i = 0; i < MANY; i++)
        told_busy += callers[i].closed;
    assert_int_equal(told_busy, w.faults);
    assert_in_range(w.faults, 1, MANY);
    assert_int_equal(w.fault_code, ERR_BUSY);
    assert_int_equal(w.frames, MANY - w.faults);
    world_end(&w);
    buffer_free(&body);
    for (unsigned i = 0; i < MANY; i++)
        caller_end(&callers[i]);
}

/* Answers nobody reads, on many connections: bounded together, and the one with most of them
 * goes, so that nobody else loses an answer. */
static void test_send_total(void **state)
{
    (void)state;
    enum { MANY = 4 };
    struct world w;
    struct network_options options = {.send_most = 4u << 20};
    struct caller callers[MANY] = {{0}};
    struct buffer body = {0};
    world_start(&w, &options, NULL);
    for (unsigned i = 0; i < MANY; i++) {
        call(&w, &callers[i], TLS_ALPN_CLIENT, &identity_of(0)->pin);
        RUN_UNTIL(&w, callers[i].opened == 1 && w.opened == i + 1);
        w.asked[i] = w.last;
        connection_pause(callers[i].connection);
    }
    body_of(&body, 1u << 20);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(connection_send(w.asked[0], ANSWER, 1, buffer_bytes(&body)), OK);
    assert_int_equal(connection_send(w.asked[0], ANSWER, 1, buffer_bytes(&body)), ERR_BUSY); /* it has most itself */
    for (unsigned i = 1; i < MANY; i++)
        assert_int_equal(connection_send(w.asked[i], ANSWER, 1, buffer_bytes(&body)), OK);
    size_t all = 0;
    for (unsigned i = 0; i < MANY; i++)
        all += connection_queued(w.asked[i]);
    assert_in_range(all, 3u << 20, 4u << 20);
    RUN_UNTIL(&w, w.closed == 1);
    assert_int_equal(w.closed_code, ERR_SLOW_READER);
    for (unsigned i = 1; i < MANY; i++)
        connection_resume(callers[i].connection);
    RUN_UNTIL(&w, callers[1].frames == 1 && callers[2].frames == 1 && callers[3].frames == 1);
    assert_int_equal(w.closed, 1);
    world_end(&w);
    buffer_free(&body);
    for (unsigned i = 0; i < MANY; i++)
        caller_end(&callers[i]);
}

/* Thousands of small questions at once: the loop goes round between them, all are answered in order. */
static void test_frames_in_turns(void **state)
{
    (void)state;
    enum { MANY = 5000 };
    struct world w;
    struct caller a = {0};
    static const uint8_t empty = 0x90;
    world_start(&w, NULL, NULL);
    call(&w, &a, TLS_ALPN_CLIENT, &identity_of(0)->pin);
    RUN_UNTIL(&w, w.opened == 1 && a.opened == 1);
    for (unsigned i = 0; i < MANY; i++)
        assert_int_equal(connection_send(a.connection, ASK, i, bytes_of(&empty, 1)), OK);
    unsigned most = 0;
    while (w.frames < MANY) {
        unsigned before = w.frames;
        uv_run(&w.loop, UV_RUN_NOWAIT);
        if (w.frames - before > most) most = w.frames - before;
    }
    assert_in_range(most, 1, 3 * 32);
    RUN_UNTIL(&w, a.frames == MANY);
    assert_int_equal(a.last_id, MANY - 1);
    world_end(&w);
    caller_end(&a);
}

/* Silent connections have all places: the oldest one goes, and who speaks comes in. */
static void test_room_for_who_speaks(void **state)
{
    (void)state;
    enum { PLACES = 8 };
    struct world w;
    struct caller a = {0};
    struct sockaddr_storage to;
    int sockets[PLACES];
    world_start(&w, NULL, &(struct listener_options){.connections = PLACES});
    assert_true(address_to_socket(&to, listener_address(w.listener)));
    for (unsigned i = 0; i < PLACES; i++) {
        sockets[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(connect(sockets[i], (struct sockaddr *)&to, sizeof(struct sockaddr_in)), 0);
    }
    RUN_UNTIL(&w, listener_connections(w.listener) == PLACES);
    run_for(&w, 400); /* a new one is left alone for a moment */
    assert_int_equal(listener_connections(w.listener), PLACES);
    call(&w, &a, TLS_ALPN_CLIENT, &identity_of(0)->pin);
    RUN_UNTIL(&w, a.opened == 1);
    assert_int_equal(listener_refused(w.listener), 0);
    assert_int_equal(listener_connections(w.listener), PLACES);
    for (unsigned i = 0; i < PLACES; i++)
        close(sockets[i]);
    world_end(&w);
    caller_end(&a);
}

/* All clients of one address, and silent connections beside them: a node behind the same address comes in. */
static void test_room_for_nodes_of_an_address(void **state)
{
    (void)state;
    enum { CLIENTS = 24, SILENT = 12 }; /* an eighth of the clients' places is kept: 3 */
    struct world w;
    static struct caller a[CLIENTS + 1], peers[2];
    struct listener_options limits = {.connections = 400, .connections_per_address = CLIENTS};
    struct address any;
    int silent[SILENT];
    unsigned closed = 0;
    memset(a, 0, sizeof a);
    memset(peers, 0, sizeof peers);
    world_start(&w, NULL, NULL);
    listener_close(w.listener);
    const struct listener_handler handlers[] = {
        {.alpn = TLS_ALPN_CLIENT, .events = server_events, .data = &w},
        {.alpn = TLS_ALPN_PEER, .events = server_events, .data = &w},
    };
    assert_int_equal(address_parse(&any, "127.0.0.1:0", true, NULL), OK);
    assert_int_equal(listener_new(&w.listener, w.server, &any, handlers, 2, &limits, NULL), OK);
    for (unsigned i = 0; i <= CLIENTS; i++) { /* one more than may be */
        call(&w, &a[i], TLS_ALPN_CLIENT, &identity_of(0)->pin);
        RUN_UNTIL(&w, w.opened == (i < CLIENTS ? i + 1 : CLIENTS) && (i < CLIENTS || a[i].closed == 1));
    }
    for (unsigned i = 0; i <= CLIENTS; i++)
        closed += a[i].closed;
    assert_int_equal(closed, 1);
    call(&w, &peers[0], TLS_ALPN_PEER, &identity_of(0)->pin);
    RUN_UNTIL(&w, peers[0].opened == 1);
    for (unsigned i = 0; i < SILENT; i++)
        silent[i] = raw_socket(&w);
    for (unsigned tries = 0; !peers[1].opened; tries++) { /* it comes again, as nodes do */
        peers[1] = (struct caller){0};
        call(&w, &peers[1], TLS_ALPN_PEER, &identity_of(0)->pin);
        RUN_UNTIL(&w, peers[1].opened == 1 || peers[1].closed == 1);
        assert_true(tries < 3000);
        run_for(&w, 20);
    }
    assert_int_equal(w.opened, CLIENTS + 2);
    world_end(&w);
    for (unsigned i = 0; i < SILENT; i++)
        close(silent[i]);
    for (unsigned i = 0; i <= CLIENTS; i++)
        caller_end(&a[i]);
    caller_end(&peers[0]);
    caller_end(&peers[1]);
}

static void test_listen_errors(void **state)
{
    (void)state;
    struct world w;
    struct listener *l;
    struct failure f;
    struct address a;
    struct listener_handler handler = {.alpn = TLS_ALPN_CLIENT, .events = server_events, .data = &w};
    world_start(&w, NULL, NULL);
    assert_int_equal(listener_new(&l, w.server, listener_address(w.listener), &handler, 1, NULL, &f), ERR_IN_USE);
    assert_non_null(strstr(f.text, "cannot listen on 127.0.0.1:"));
    assert_int_equal(address_parse(&a, "192.0.2.1:7001", false, &f), OK); /* TEST-NET-1, RFC 5737 */
    assert_int_equal(listener_new(&l, w.server, &a, &handler, 1, NULL, &f), ERR_INVALID);
    assert_int_equal(address_parse(&a, "localhost:7001", false, &f), OK);
    assert_int_equal(listener_new(&l, w.server, &a, &handler, 1, NULL, &f), ERR_INVALID);
    assert_non_null(strstr(f.text, "numeric"));
    world_end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_echo),
        cmocka_unit_test(test_resumed_reconnect),
        cmocka_unit_test(test_wrong_pin),
        cmocka_unit_test(test_unserved_protocol),
        cmocka_unit_test(test_unreachable),
        cmocka_unit_test(test_name_and_bind),
        cmocka_unit_test(test_abort_anywhere),
        cmocka_unit_test(test_not_tls),
        cmocka_unit_test(test_slow_handshake),
        cmocka_unit_test(test_idle),
        cmocka_unit_test(test_held_up),
        cmocka_unit_test(test_bad_frames),
        cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_never_reads),
        cmocka_unit_test(test_backpressure),
        cmocka_unit_test(test_pause_each_frame),
        cmocka_unit_test(test_many_at_once),
        cmocka_unit_test(test_connection_limits),
        cmocka_unit_test(test_no_descriptors),
        cmocka_unit_test(test_http),
        cmocka_unit_test(test_unfinished_frame),
        cmocka_unit_test(test_receive_total),
        cmocka_unit_test(test_receive_total_of_the_slow),
        cmocka_unit_test(test_send_total),
        cmocka_unit_test(test_frames_in_turns),
        cmocka_unit_test(test_room_for_who_speaks),
        cmocka_unit_test(test_room_for_nodes_of_an_address),
        cmocka_unit_test(test_listen_errors),
    };
    crypto_init();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    identities_free();
    return failed;
}
