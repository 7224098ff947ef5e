/* Who goes first: clients that ask much and clients that ask little; whose unfinished frame is the oldest. */
#include <stdlib.h>
#include <unistd.h>

#include "net/connection_state.h"
#include "tests/unit/net/bed_connection.h"

/* The clock that turns are measured by, in place of libuv's: with a `tick_ns` whatever is measured takes that much at
 * least, so that what has to fit into a turn is the same on fast machines and slow ones. */
static uint64_t tick_ns, ticked_ns;

uint64_t uv_hrtime(void)
{
    ticked_ns += tick_ns;
    return clock_monotonic_ns() + ticked_ns;
}

/* --- turns --- */

/* Somebody asks thousands of questions at once: who asks one later is answered long before all of these are. */
static void test_one_question_beside_many(void **state)
{
    (void)state;
    enum { MANY = 5000 };
    struct world w;
    struct caller a = {0}, b = {0};
    static const uint8_t empty = 0x90;
    world_start(&w, NULL, NULL);
    call(&w, &a, TLS_ALPN_CLIENT, &identity_of(0)->pin);
    call(&w, &b, TLS_ALPN_CLIENT, &identity_of(0)->pin);
    RUN_UNTIL(&w, w.opened == 2 && a.opened == 1 && b.opened == 1);
    for (unsigned i = 0; i < MANY; i++)
        assert_int_equal(connection_send(a.connection, ASK, i, bytes_of(&empty, 1)), OK);
    while (w.frames < 100)
        uv_run(&w.loop, UV_RUN_NOWAIT);
    assert_int_equal(connection_send(b.connection, ASK, 7, bytes_of(&empty, 1)), OK);
    while (b.frames == 0)
        uv_run(&w.loop, UV_RUN_NOWAIT);
    assert_in_range(w.frames, 100, MANY / 2);
    RUN_UNTIL(&w, a.frames == MANY);
    assert_int_equal(a.last_id, MANY - 1);
    world_end(&w);
    caller_end(&a);
    caller_end(&b);
}

/* Dear to answer: two of these are more than all clients have of a turn. */
static void answer_slowly(struct connection *c, const struct frame *frame, void *data)
{
    struct world *w = data;
    uint64_t end = uv_hrtime() + 350000;
    while (uv_hrtime() < end) {}
    w->frames++;
    assert_int_equal(connection_send(c, ANSWER, frame->id, (struct bytes){0}), OK);
}

typedef void frame_event(struct connection *c, const struct frame *frame, void *data);

static void start_with(struct world *w, const char *alpn, frame_event *answer)
{
    struct address any;
    struct connection_events events = server_events;
    events.on_frame = answer;
    world_start(w, NULL, NULL);
    listener_close(w->listener);
    const struct listener_handler handler = {.alpn = alpn, .events = events, .data = w};
    assert_int_equal(address_parse(&any, "127.0.0.1:0", true, NULL), OK);
    assert_int_equal(listener_new(&w->listener, w->server, &any, &handler, 1, NULL, NULL), OK);
}

/* The most that were answered in one round of the loop. */
static unsigned most_at_once(struct world *w, unsigned many)
{
    unsigned most = 0;
    while (w->frames < many) {
        unsigned before = w->frames;
        uv_run(&w->loop, UV_RUN_NOWAIT);
        if (w->frames - before > most) most = w->frames - before;
    }
    return most;
}

/* Many clients with a question each, all at once: the loop goes round between them, nobody is forgotten. */
static void test_time_of_all_clients(void **state)
{
    (void)state;
    enum { MANY = 40, LISTS = 3, AT_ONCE = 2 };
    struct world w;
    static struct caller a[MANY];
    unsigned opened = 0;
    memset(a, 0, sizeof a);
    start_with(&w, TLS_ALPN_CLIENT, answer_slowly);
    for (unsigned i = 0; i < MANY; i++, opened++) {
        call(&w, &a[i], TLS_ALPN_CLIENT, &identity_of(0)->pin);
        RUN_UNTIL(&w, w.opened == opened + 1 && a[i].opened == 1);
    }
    for (unsigned i = 0; i < MANY; i++)
        assert_int_equal(connection_send(a[i].connection, ASK, i, (struct bytes){0}), OK);
    assert_in_range(most_at_once(&w, MANY), 1, LISTS * AT_ONCE);
    for (unsigned i = 0; i < MANY; i++)
        RUN_UNTIL(&w, a[i].frames == 1);
    world_end(&w);
    for (unsigned i = 0; i < MANY; i++)
        caller_end(&a[i]);
}

enum { HEAVY = 8, HEAVY_EACH = 40, LIGHT_FIRST = 4 };
static struct caller heavy[HEAVY];

/* Clients that ask without end, each of which had its share of a turn. */
static void start_heavy(struct world *w, frame_event *answer)
{
    memset(heavy, 0, sizeof heavy);
    start_with(w, TLS_ALPN_CLIENT, answer);
    for (unsigned i = 0; i < HEAVY; i++) {
        call(w, &heavy[i], TLS_ALPN_CLIENT, &identity_of(0)->pin);
        RUN_UNTIL(w, w->opened == i + 1 && heavy[i].opened == 1);
    }
    for (unsigned n = 0; n < HEAVY_EACH; n++)
        for (unsigned i = 0; i < HEAVY; i++)
            assert_int_equal(connection_send(heavy[i].connection, ASK, n, (struct bytes){0}), OK);
    RUN_UNTIL(w, w->server->turn_counts[TURN_HEAVY] == HEAVY && w->frames >= HEAVY * LIGHT_FIRST);
}

static void end_heavy(struct world *w)
{
    for (unsigned i = 0; i < HEAVY; i++)
        RUN_UNTIL(w, heavy[i].frames == HEAVY_EACH);
    world_end(w);
    for (unsigned i = 0; i < HEAVY; i++)
        caller_end(&heavy[i]);
}

/* Clients that ask without end: once they had their share, all of them together have half of the time that others
 * have, and what is asked now and then waits for no more than that. */
static void test_time_of_the_heavy(void **state)
{
    (void)state;
    enum { AT_ONCE = 2 }; /* one that waited, one that is read from */
    struct world w;
    start_heavy(&w, answer_slowly);
    assert_in_range(most_at_once(&w, HEAVY * HEAVY_EACH), 1, AT_ONCE);
    end_heavy(&w);
}

/* The same without taking so long. */
static void answer_dearly(struct connection *c, const struct frame *frame, void *data)
{
    struct world *w = data;
    ticked_ns += 350000;
    w->frames++;
    assert_int_equal(connection_send(c, ANSWER, frame->id, (struct bytes){0}), OK);
}

/* And though nobody else asks, the loop rests for half of the time. */
static void test_share_of_the_heavy(void **state)
{
    (void)state;
    struct world w;
    start_heavy(&w, answer_dearly);
    uint64_t begun = uv_hrtime(), before = w.frames;
    RUN_UNTIL(&w, w.frames == HEAVY * HEAVY_EACH);
    assert_true((w.frames - before) * 350000 * 10 <= (uv_hrtime() - begun) * 6);
    end_heavy(&w);
}

/* Who asks one thing at a time is never put behind those that ask without end, however many it shares a turn with. */
static void test_one_question_at_a_time(void **state)
{
    (void)state;
    enum { MANY = 40 };
    struct world w;
    static struct caller a[MANY];
    unsigned waited = 0;
    memset(a, 0, sizeof a);
    start_with(&w, TLS_ALPN_CLIENT, answer_dearly);
    callers_open(&w, a, MANY);
    callers_ask(a, MANY, 1);
    while (w.frames < MANY) {
        uv_run(&w.loop, UV_RUN_NOWAIT);
        assert_int_equal(w.server->turn_counts[TURN_HEAVY], 0);
        waited += w.server->turn_counts[TURN_LIGHT] > 0;
    }
    assert_true(waited > 0);
    world_end(&w);
    callers_end(a, MANY);
}

/* The next bytes of a frame, from all at once. */
static void write_part(struct caller *a, unsigned count, struct bytes part)
{
    for (unsigned i = 0; i < count; i++)
        assert_int_equal(connection_write(a[i].connection, part), OK);
}

/* Who is in the middle of a large frame waits with others that are, not with those that ask little: also when it had
 * nothing to be given in the turn before. */
static void test_turns_of_large_frames(void **state)
{
    (void)state;
    enum { COUNT = 12, PART = 16 * KIB, FIRST = 40 * KIB, BODY = 1 * MIB };
    static struct caller a[COUNT];
    static uint8_t body[FIRST];
    uint8_t head[FRAME_HEAD_MAX];
    struct bytes begin = bytes_of(head, frame_head(head, ASK, 1, BODY)), part = bytes_of(body, PART);
    struct world w;
    unsigned waited = 0;
    memset(a, 0, sizeof a);
    world_start(&w, NULL, NULL);
    for (unsigned i = 0; i < COUNT; i++) {
        call(&w, &a[i], TLS_ALPN_CLIENT, &identity_of(0)->pin);
        RUN_UNTIL(&w, w.opened == i + 1 && a[i].opened == 1);
        a[i].connection->raw = true; /* frames in parts */
    }
    write_part(a, COUNT, begin);
    write_part(a, COUNT, bytes_of(body, FIRST));
    RUN_UNTIL(&w, w.server->counters.bytes_in > COUNT * FIRST && w.server->sender_count == COUNT);
    uint64_t until = w.server->counters.bytes_in + COUNT * PART;
    tick_ns = 50000;
    write_part(a, COUNT, part);
    while (w.server->counters.bytes_in < until) {
        uv_run(&w.loop, UV_RUN_NOWAIT);
        assert_int_equal(w.server->turn_counts[TURN_LIGHT], 0);
        waited += w.server->turn_counts[TURN_BULK] > 0;
    }
    tick_ns = 0;
    assert_true(waited > 0);
    world_end(&w);
    for (unsigned i = 0; i < COUNT; i++)
        caller_end(&a[i]);
}

/* A large frame beside many that ask without end: it waits for a few of them between two parts, not for all. */
static void test_large_frame_beside_many(void **state)
{
    (void)state;
    enum { BODY = 1 * MIB };
    struct world w;
    struct caller a = {0};
    struct buffer body = {0};
    start_heavy(&w, answer_dearly);
    call(&w, &a, TLS_ALPN_CLIENT, &identity_of(0)->pin);
    RUN_UNTIL(&w, w.opened == HEAVY + 1 && a.opened == 1);
    body_of(&body, BODY);
    unsigned before = w.frames;
    assert_int_equal(connection_send(a.connection, ASK, 1, buffer_bytes(&body)), OK);
    while (a.frames == 0)
        uv_run(&w.loop, UV_RUN_NOWAIT);
    assert_in_range(w.frames - before, 1, HEAVY * HEAVY_EACH / 4);
    buffer_free(&body);
    end_heavy(&w);
    caller_end(&a);
}

/* As `heavy_ns`: the heavy, and those in the middle of a large frame, have no time. */
#define NO_TIME (UINT64_MAX / 2)

/* Begins a large frame, and goes on with a part of it: it waits for its turn with that. */
static struct connection *wait_with_part(struct world *w, struct caller *a, size_t size)
{
    static uint8_t body[40 * KIB];
    uint8_t head[FRAME_HEAD_MAX];
    call(w, a, TLS_ALPN_CLIENT, &identity_of(0)->pin);
    RUN_UNTIL(w, a->opened == 1 && w->opened == 1);
    a->connection->raw = true;
    write_part(a, 1, bytes_of(head, frame_head(head, ASK, 1, 1 * MIB)));
    write_part(a, 1, BYTES(body));
    struct connection *c = w->last;
    RUN_UNTIL(w, frame_memory(&c->reader) >= sizeof body);
    w->server->heavy_ns = NO_TIME;
    write_part(a, 1, bytes_of(body, size));
    RUN_UNTIL(w, w->server->turn_counts[TURN_BULK] == 1);
    return c;
}

/* Whose turn does not come is not slow for it, neither alone nor over the total; who sends a byte now and then is. */
static void test_wait_is_not_slowness(void **state)
{
    (void)state;
    enum { WAIT_MS = 200 };
    for (unsigned slow = 0; slow < 2; slow++) {
        struct world w;
        struct caller a = {0};
        world_start(&w, NULL, NULL);
        struct connection *c = wait_with_part(&w, &a, slow ? 1 : 16 * KIB);
        uv_timer_stop(&w.server->sweep);
        uint64_t begun = uv_now(&w.loop), age = begun - c->begun_ms;
        RUN_UNTIL(&w, uv_now(&w.loop) - begun >= WAIT_MS);
        assert_true(c->in_turns);
        w.server->options.crowd_ms = w.server->options.frame_ms = (uint32_t)age + WAIT_MS / 2;
        w.server->options.receive_total = 1;
        crowd_limit_receiving(c);
        assert_int_equal(w.faults, slow);
        if (!slow) connection_sweep(c, uv_now(&w.loop));
        assert_int_equal(w.faults, slow);
        if (slow) assert_int_equal(w.fault_code, ERR_BUSY);
        world_end(&w);
        caller_end(&a);
    }
}

/* A node whose messages are dear, and come without end, has its share of each round, as others have. */
static void test_time_of_a_link(void **state)
{
    (void)state;
    enum { MANY = 200, AT_ONCE = 6 };
    struct world w;
    struct caller a = {0};
    start_with(&w, TLS_ALPN_PEER, answer_slowly);
    call(&w, &a, TLS_ALPN_PEER, &identity_of(0)->pin);
    RUN_UNTIL(&w, w.opened == 1 && a.opened == 1);
    for (unsigned i = 0; i < MANY; i++)
        assert_int_equal(connection_send(a.connection, ASK, i, (struct bytes){0}), OK);
    assert_in_range(most_at_once(&w, MANY), 1, AT_ONCE);
    RUN_UNTIL(&w, a.frames == MANY);
    world_end(&w);
    caller_end(&a);
}

/* The most that came, or went, in one round of the loop. */
static uint32_t most_changed(struct world *w, uint32_t until)
{
    uint32_t most = 0, before;
    while ((before = listener_connections(w->listener)) != until) {
        uv_run(&w->loop, UV_RUN_NOWAIT);
        uint32_t now = listener_connections(w->listener);
        uint32_t changed = now > before ? now - before : before - now;
        if (changed > most) most = changed;
    }
    return most;
}

/* Hundreds connect at once, and then hang up at once: the loop goes round many times meanwhile. */
static void test_time_of_the_fresh(void **state)
{
    (void)state;
    enum { MANY = 450 };
    struct world w;
    int fds[MANY];
    world_start(&w, NULL, NULL);
    for (unsigned i = 0; i < MANY; i++)
        fds[i] = raw_socket(&w);
    tick_ns = 5000;
    assert_in_range(most_changed(&w, MANY), 1, MANY / 2);
    for (unsigned i = 0; i < MANY; i++)
        close(fds[i]);
    assert_in_range(most_changed(&w, 0), 1, MANY / 2);
    tick_ns = 0;
    world_end(&w);
}

/* A TLS handshake's first record that says how long it is, and then comes by single bytes. */
static void begin_hello(int *fds, unsigned count)
{
    static const uint8_t head[] = {22, 3, 1, 0x0f, 0xf0};
    for (unsigned i = 0; i < count; i++)
        assert_int_equal(send(fds[i], head, sizeof head, 0), sizeof head);
}

static void say_hello(struct world *w, int fd)
{
    struct tls_session *tls;
    struct buffer hello = {0};
    assert_int_equal(tls_client_new(&tls, w->client_tls, TLS_ALPN_CLIENT, &identity_of(0)->pin, NULL), OK);
    tls_handshake(tls, &hello);
    assert_int_equal(send(fd, hello.data, hello.size, 0), hello.size);
    tls_session_free(tls);
    buffer_free(&hello);
}

/* Who stands in line for a place has the next one that is free, however many others say something in each round. */
static void test_line_beside_the_fresh(void **state)
{
    (void)state;
    enum { COUNT = 20, HOLDERS = 3, ROUNDS = 200 };
    struct network_options o = {.places = 4, .silent_ms = PATIENCE_MS};
    struct world w;
    int fds[COUNT], holders[HOLDERS + 1];
    world_start(&w, &o, NULL);
    for (unsigned i = 0; i <= HOLDERS; i++)
        say_hello(&w, holders[i] = raw_socket(&w));
    for (unsigned i = 0; i < COUNT; i++)
        fds[i] = raw_socket(&w);
    begin_hello(fds, COUNT);
    RUN_UNTIL(&w, w.server->places_taken == HOLDERS && !TAILQ_EMPTY(&w.server->lines) &&
                      listener_connections(w.listener) == HOLDERS + 1 + COUNT);
    RUN_UNTIL(&w, w.server->shaking == 0 && TAILQ_EMPTY(&w.server->shakes[SHAKE_NEW])); /* they are read from again */
    tick_ns = 200000; /* more than they have together */
    close(holders[0]);
    for (unsigned round = 0; round < ROUNDS && !TAILQ_EMPTY(&w.server->lines); round++) {
        for (unsigned i = 0; i < COUNT; i++)
            assert_int_equal(send(fds[i], "", 1, 0), 1);
        uv_run(&w.loop, UV_RUN_NOWAIT);
    }
    assert_true(TAILQ_EMPTY(&w.server->lines));
    tick_ns = 0;
    world_end(&w);
    for (unsigned i = 0; i < COUNT; i++)
        close(fds[i]);
    for (unsigned i = 1; i <= HOLDERS; i++)
        close(holders[i]);
}

/* A place that is free, and waited for, is not who comes just then's. */
static void test_nobody_passes_the_line(void **state)
{
    (void)state;
    struct network n = {.options = {.places = 4}};
    struct party one = {.connections = 1}, other = {.connections = 1};
    struct connection first = {.network = &n, .party = &one}, second = {.network = &n, .party = &other};
    TAILQ_INIT(&n.lines);
    TAILQ_INIT(&one.line);
    TAILQ_INIT(&other.line);
    n.places_taken = 4;
    assert_false(network_place(&first));
    n.places_taken = 3;
    n.place_free = true;
    assert_false(network_place(&second));
    network_unplace(&first);
    network_unplace(&second);
    assert_true(network_place(&second));
    network_unplace(&second);
}

/* --- the crowd --- */

#define SENDERS 300

static struct connection *oldest(struct connection *all)
{
    struct connection *found = NULL;
    for (unsigned i = 0; i < SENDERS; i++)
        if (all[i].phase == PHASE_OPEN && all[i].charged_receive > 4 * KIB && all[i].frame_ms &&
            (!found || all[i].frame_ms < found->frame_ms))
            found = &all[i];
    return found;
}

/* A frame begins, grows, ends; a connection ends. */
static void change(struct connection *c, unsigned how, uint64_t now)
{
    switch (how) {
    case 0:
    case 1:
        c->frame_ms = now;
        c->reader.kept.capacity = (size_t)(1 + now % 64) * KIB;
        break;
    case 2: c->reader.kept.capacity *= 2; break;
    case 3: c->frame_ms += 40; break; /* it was not read from for so long */
    case 4:
        c->frame_ms = 0;
        c->reader.kept.capacity = 0;
        break;
    default: c->phase = c->phase == PHASE_OPEN ? PHASE_DRAINING : PHASE_OPEN;
    }
    crowd_charge(c);
}

static void test_oldest_frame(void **state)
{
    (void)state;
    static struct connection all[SENDERS];
    struct network n = {.options = {.receive_total = 1}};
    const char *given = getenv("SEED");
    unsigned seed = given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)clock_monotonic_ns();
    size_t sum = 0;
    printf("SEED=%u\n", seed);
    srand(seed);
    memset(all, 0, sizeof all);
    for (unsigned i = 0; i < SENDERS; i++) {
        all[i].network = &n;
        all[i].phase = PHASE_OPEN;
    }
    for (uint64_t now = 1; now < 20000; now++) {
        struct connection *c = &all[rand() % SENDERS], *first;
        change(c, (unsigned)rand() % 6, now);
        first = oldest(all);
        assert_int_equal(n.sender_count > 0, first != NULL);
        if (first) assert_int_equal(n.senders[0]->frame_ms, first->frame_ms);
        if (!first || n.receiving <= 1) continue;
        assert_true(crowd_room(n.senders[0]) == INPUT_SIZE);
        if (c != n.senders[0]) assert_int_equal(crowd_room(c) == 0, c->charged_receive > 4 * KIB);
    }
    for (unsigned i = 0; i < SENDERS; i++)
        sum += all[i].charged_receive;
    assert_int_equal(n.receiving, sum);
    free(n.senders);
}

/* Its frame began while it waited in the crowd already: what is forgiven is no more than that. */
static void test_forgiven_no_more_than_it_lasted(void **state)
{
    (void)state;
    static struct connection c; /* without a socket: nobody knows what more has come */
    uv_loop_t loop;
    struct network n = {.loop = &loop};
    assert_int_equal(uv_loop_init(&loop), 0);
    uint64_t now = uv_now(&loop);
    memset(&c, 0, sizeof c);
    c.network = &n;
    c.phase = PHASE_OPEN;
    c.crowded_ms = now - 100;
    c.frame_ms = now - 10;
    crowd_forgive(&c);
    assert_int_equal(c.frame_ms, now);
    assert_int_equal(c.crowded_ms, now);
    assert_int_equal(uv_loop_close(&loop), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_question_beside_many),
        cmocka_unit_test(test_time_of_all_clients),
        cmocka_unit_test(test_time_of_the_heavy),
        cmocka_unit_test(test_share_of_the_heavy),
        cmocka_unit_test(test_one_question_at_a_time),
        cmocka_unit_test(test_turns_of_large_frames),
        cmocka_unit_test(test_large_frame_beside_many),
        cmocka_unit_test(test_wait_is_not_slowness),
        cmocka_unit_test(test_time_of_a_link),
        cmocka_unit_test(test_time_of_the_fresh),
        cmocka_unit_test(test_line_beside_the_fresh),
        cmocka_unit_test(test_nobody_passes_the_line),
        cmocka_unit_test(test_oldest_frame),
        cmocka_unit_test(test_forgiven_no_more_than_it_lasted),
    };
    return cmocka_run_group_tests(tests, bed_open, bed_close);
}
