/* Connections that are cut, in time and with a reason: no TLS, slow, idle, malformed, never read. */
#include <unistd.h>

#include "tests/lib/bad_frames.h"
#include "tests/unit/net/bed_connection.h"

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

static void send_bad(struct world *w, struct bytes bytes, enum err code)
{
    unsigned closed = w->closed;
    struct background b = {.w = w, .bytes = bytes};
    background_run(&b);
    RUN_UNTIL(w, w->closed == closed + 1);
    background_join(&b);
    assert_string_equal(err_name(w->fault_code), err_name(code));
    assert_int_equal(w->closed_code, code);
    assert_int_equal(b.answer, code);
}

/* Bad frames through good TLS: the code reaches the server's handler, and an
 * answer reaches the client although it goes on sending. */
static void test_bad_frames(void **state)
{
    (void)state;
    struct world w;
    struct buffer frame = {0};
    world_start(&w, NULL, NULL);
    for (size_t i = 0; i < BAD_LENGTHS; i++)
        send_bad(&w, bytes_of(bad_lengths[i].bytes, bad_lengths[i].size), bad_lengths[i].code);
    for (size_t i = 0; i < BAD_FRAMES; i++) {
        bad_frame_put(&frame, &bad_frames[i]);
        send_bad(&w, buffer_bytes(&frame), bad_frames[i].code);
    }
    assert_int_equal(w.faults, BAD_LENGTHS + BAD_FRAMES);
    assert_int_equal(network_counters(w.server)->faults, w.faults);
    world_end(&w);
    buffer_free(&frame);
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
    world_start(&w, &options, NULL);
    callers_open(&w, callers, MANY);
    callers_ask(callers, MANY, 3u << 20);
    RUN_UNTIL(&w, w.closed + w.frames >= MANY);
    assert_int_equal(w.frames, MANY);
    assert_int_equal(w.faults, 0);
    world_end(&w);
    callers_end(callers, MANY);
}

/* While more was taken of clients than is answered, nobody's long frame is read, and nobody is closed for it. */
static void test_taken_total(void **state)
{
    (void)state;
    enum { MANY = 4 };
    struct world w;
    struct network_options options = {.taken_total = 1u << 20, .crowd_ms = 1};
    struct caller callers[MANY] = {{0}};
    world_start(&w, &options, NULL);
    callers_open(&w, callers, MANY);
    network_take(w.server, options.taken_total + 1);
    callers_ask(callers, MANY, 2u << 20);
    RUN_UNTIL(&w, network_counters(w.server)->bytes_in > MANY * 8u * KIB);
    for (unsigned i = 0; i < 200; i++)
        uv_run(&w.loop, UV_RUN_NOWAIT);
    assert_in_range(network_counters(w.server)->bytes_in, 1, MANY * 32u * KIB);
    assert_int_equal(w.frames + w.faults + w.closed, 0);
    network_give(w.server, 1);
    RUN_UNTIL(&w, w.frames + w.closed == MANY);
    assert_int_equal(w.frames, MANY);
    network_give(w.server, options.taken_total);
    world_end(&w);
    callers_end(callers, MANY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_not_tls),
        cmocka_unit_test(test_slow_handshake),
        cmocka_unit_test(test_idle),
        cmocka_unit_test(test_held_up),
        cmocka_unit_test(test_bad_frames),
        cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_never_reads),
        cmocka_unit_test(test_backpressure),
        cmocka_unit_test(test_unfinished_frame),
        cmocka_unit_test(test_receive_total),
        cmocka_unit_test(test_taken_total),
    };
    return cmocka_run_group_tests(tests, bed_open, bed_close);
}
