/* Calls that are answered, and those that nobody may answer: pins, protocols, tickets, back-pressure, HTTP. */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include "net/connection_state.h"
#include "tests/unit/net/bed_connection.h"

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

static int option_of(const struct connection *c, int level, int name)
{
    int fd, value = -1;
    socklen_t size = sizeof value;
    assert_int_equal(uv_fileno((const uv_handle_t *)&c->tcp, &fd), 0);
    assert_int_equal(getsockopt(fd, level, name, &value, &size), 0);
    return value;
}

/* Who called and who was called: small frames go at once, and a machine that is gone without a word is noticed. */
static void test_both_sides_are_tuned(void **state)
{
    (void)state;
    struct world w;
    struct caller a = {0};
    world_start(&w, NULL, NULL);
    call(&w, &a, TLS_ALPN_CLIENT, &identity_of(0)->pin);
    RUN_UNTIL(&w, w.opened == 1 && a.opened == 1);
    const struct connection *both[] = {w.last, a.connection};
    for (unsigned i = 0; i < 2; i++) {
        assert_true(option_of(both[i], IPPROTO_TCP, TCP_NODELAY));
        assert_true(option_of(both[i], SOL_SOCKET, SO_KEEPALIVE));
        assert_int_equal(option_of(both[i], IPPROTO_TCP, TCP_KEEPIDLE), 30);
        assert_int_equal(option_of(both[i], IPPROTO_TCP, TCP_KEEPINTVL), 10);
        assert_int_equal(option_of(both[i], IPPROTO_TCP, TCP_KEEPCNT), 3);
        assert_int_equal(option_of(both[i], IPPROTO_TCP, TCP_USER_TIMEOUT), 3 * both[i]->network->options.stall_ms);
    }
    world_end(&w);
    caller_end(&a);
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
        cmocka_unit_test(test_both_sides_are_tuned),
        cmocka_unit_test(test_resumed_reconnect),
        cmocka_unit_test(test_wrong_pin),
        cmocka_unit_test(test_unserved_protocol),
        cmocka_unit_test(test_unreachable),
        cmocka_unit_test(test_name_and_bind),
        cmocka_unit_test(test_abort_anywhere),
        cmocka_unit_test(test_pause_each_frame),
        cmocka_unit_test(test_many_at_once),
        cmocka_unit_test(test_http),
        cmocka_unit_test(test_listen_errors),
    };
    return cmocka_run_group_tests(tests, bed_open, bed_close);
}
