#include "tests/unit/net/bed_connection.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/pack.h"
#include "crypto/random.h"

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

static bool server_is_waiting(struct connection *c, void *data) { return ((struct world *)data)->waiting == c; }

static void server_close(struct connection *c, enum err code, const char *text, void *data)
{
    struct world *w = data;
    (void)c;
    w->closed++;
    w->closed_code = code;
    snprintf(w->closed_text, sizeof w->closed_text, "%s", text);
}

const struct connection_events server_events = {
    .on_open = server_open,
    .on_frame = server_frame,
    .on_raw = server_raw,
    .on_writable = server_writable,
    .on_fault = server_fault,
    .is_waiting = server_is_waiting,
    .on_close = server_close,
};

/* --- a client --- */

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

const struct connection_events caller_events = {
    .on_open = caller_open,
    .on_frame = caller_frame,
    .on_writable = caller_writable,
    .on_close = caller_close,
};

/* --- the world --- */

static void on_network_closed(void *data) { ((struct world *)data)->closed_networks++; }

/* Time-outs that a test doesn't ask for never end anything here, however slow the machine is. */
struct network_options patient(const struct network_options *given)
{
    struct network_options o = given ? *given : (struct network_options){0};
    uint32_t *const times[] = {&o.handshake_ms, &o.idle_ms, &o.stall_ms, &o.frame_ms, &o.linger_ms};
    for (size_t i = 0; i < sizeof times / sizeof *times; i++)
        if (!*times[i]) *times[i] = PATIENCE_MS;
    return o;
}

void world_start(struct world *w, const struct network_options *given, const struct listener_options *limits)
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

void world_end(struct world *w)
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

bool turn(struct world *w, uint64_t deadline)
{
    assert_true(clock_monotonic_ns() < deadline);
    uv_run(&w->loop, UV_RUN_ONCE);
    return true;
}

void on_tick(uv_timer_t *timer) { (void)timer; }

void run_for(struct world *w, unsigned ms)
{
    uint64_t until = clock_monotonic_ns() + (uint64_t)ms * 1000000;
    RUN_UNTIL(w, clock_monotonic_ns() >= until);
}

void call(struct world *w, struct caller *a, const char *alpn, const struct digest *pin)
{
    assert_int_equal(connection_dial(&a->connection, w->client, listener_address(w->listener), NULL, alpn, pin,
                                     a->ticket, &caller_events, a),
                     OK);
}

void caller_end(struct caller *a)
{
    tls_ticket_free(a->ticket);
    buffer_free(&a->last);
}

void body_of(struct buffer *out, size_t size)
{
    uint8_t *data = malloc(size + 1);
    for (size_t i = 0; i < size; i++)
        data[i] = (uint8_t)(i * 7 + size);
    pack_bin(out, data, size);
    free(data);
}

void callers_open(struct world *w, struct caller *callers, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        call(w, &callers[i], TLS_ALPN_CLIENT, &identity_of(0)->pin);
    RUN_UNTIL(w, w->opened == count && network_counters(w->client)->handshakes_full == count);
}

void callers_ask(struct caller *callers, unsigned count, size_t size)
{
    struct buffer body = {0};
    body_of(&body, size);
    for (unsigned i = 0; i < count; i++)
        assert_int_equal(connection_send(callers[i].connection, ASK, i, buffer_bytes(&body)), OK);
    buffer_free(&body);
}

void callers_end(struct caller *callers, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        caller_end(&callers[i]);
}

/* --- a blocking client on a thread of its own, which sends bytes as they are --- */

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

void background_run(struct background *b)
{
    assert_int_equal(pthread_create(&b->thread, NULL, background_main, b), 0);
}

void background_join(struct background *b) { pthread_join(b->thread, NULL); }

/* --- tests --- */

int raw_socket(struct world *w)
{
    struct sockaddr_storage to;
    assert_true(address_to_socket(&to, listener_address(w->listener)));
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(struct sockaddr_in)), 0);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

/* true once the other side has closed; what it sent is thrown away. */
bool is_closed(int fd)
{
    char sink[4096];
    ssize_t n;
    while ((n = recv(fd, sink, sizeof sink, 0)) > 0) {}
    return n == 0 || (errno != EAGAIN && errno != EINTR);
}

int bed_open(void **state)
{
    (void)state;
    crypto_init();
    return 0;
}

int bed_close(void **state)
{
    (void)state;
    identities_free();
    return 0;
}
