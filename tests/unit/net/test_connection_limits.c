/* Limits of connections, descriptors and memory, for all together: who goes, who is served first. */
#include <netinet/in.h>
#include <sys/resource.h>
#include <unistd.h>

#include "tests/unit/net/bed_connection.h"

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

/* The same where nobody goes on in time: the slow are told "busy", one by one, and others are served. */
static void test_receive_total_of_the_slow(void **state)
{
    (void)state;
    enum { MANY = 8 };
    struct world w;
    struct network_options options = {.receive_total = 1u << 20, .crowd_ms = 1};
    struct caller callers[MANY] = {{0}};
    unsigned told_busy = 0;
    world_start(&w, &options, NULL);
    callers_open(&w, callers, MANY);
    callers_ask(callers, MANY, 3u << 20);
    RUN_UNTIL(&w, w.closed + w.frames >= MANY);
    RUN_UNTIL(&w, network_counters(w.client)->open == MANY - w.closed);
    for (unsigned i = 0; i < MANY; i++)
        told_busy += callers[i].closed;
    assert_int_equal(told_busy, w.faults);
    assert_in_range(w.faults, 1, MANY);
    assert_int_equal(w.fault_code, ERR_BUSY);
    assert_int_equal(w.frames, MANY - w.faults);
    world_end(&w);
    callers_end(callers, MANY);
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
    callers_end(callers, MANY);
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

/* All places of clients are taken: who waits for an answer keeps its own, of the others the one that was idle for longest
 * goes. Nobody who comes is refused. */
static void test_the_idlest_goes(void **state)
{
    (void)state;
    enum { CLIENTS = 4, MORE = 3 };
    struct world w;
    static struct caller a[CLIENTS + MORE];
    struct listener_options limits = {.clients = CLIENTS};
    memset(a, 0, sizeof a);
    world_start(&w, NULL, &limits);
    for (unsigned i = 0; i < CLIENTS; i++) {
        call(&w, &a[i], TLS_ALPN_CLIENT, &identity_of(0)->pin);
        RUN_UNTIL(&w, w.opened == i + 1 && a[i].opened);
        if (i == 0) w.waiting = w.last;
    }
    run_for(&w, 300);
    callers_ask(&a[1], 1, 8);
    RUN_UNTIL(&w, a[1].frames == 1);
    for (unsigned i = 0; i < MORE; i++) { /* 2, 3, and then 1 goes */
        run_for(&w, 300);
        call(&w, &a[CLIENTS + i], TLS_ALPN_CLIENT, &identity_of(0)->pin);
        RUN_UNTIL(&w, a[CLIENTS + i].opened == 1 && w.closed == i + 1);
        assert_int_equal(w.closed_code, ERR_TOO_MANY_CONNECTIONS);
        RUN_UNTIL(&w, a[i < 2 ? i + 2 : 1].closed == 1);
    }
    assert_int_equal(a[0].closed, 0);
    assert_int_equal(listener_refused(w.listener), 0);
    assert_int_equal(listener_connections(w.listener), CLIENTS);
    callers_ask(&a[0], 1, 8);
    RUN_UNTIL(&w, a[0].frames == 1);
    world_end(&w);
    callers_end(a, CLIENTS + MORE);
}

/* More clients than are looked at for one place: each who comes gets one, as long as somebody is idle. */
static void test_many_idle_ones_go(void **state)
{
    (void)state;
    enum { CLIENTS = 70, MORE = 60 };
    struct world w;
    static struct caller idle[CLIENTS], a[MORE];
    struct listener_options limits = {.clients = CLIENTS};
    memset(idle, 0, sizeof idle);
    memset(a, 0, sizeof a);
    world_start(&w, NULL, &limits);
    callers_open(&w, idle, CLIENTS);
    run_for(&w, 300);
    for (unsigned i = 0; i < MORE; i++) {
        call(&w, &a[i], TLS_ALPN_CLIENT, &identity_of(0)->pin);
        RUN_UNTIL(&w, w.opened == CLIENTS + i + 1);
    }
    RUN_UNTIL(&w, w.closed == MORE);
    for (unsigned i = 0; i < MORE; i++)
        assert_int_equal(a[i].closed, 0);
    world_end(&w);
    callers_end(idle, CLIENTS);
    callers_end(a, MORE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_connection_limits),
        cmocka_unit_test(test_no_descriptors),
        cmocka_unit_test(test_receive_total_of_the_slow),
        cmocka_unit_test(test_send_total),
        cmocka_unit_test(test_frames_in_turns),
        cmocka_unit_test(test_room_for_who_speaks),
        cmocka_unit_test(test_room_for_nodes_of_an_address),
        cmocka_unit_test(test_the_idlest_goes),
        cmocka_unit_test(test_many_idle_ones_go),
    };
    return cmocka_run_group_tests(tests, bed_open, bed_close);
}
