/* Connections of one address, and of others: counted, in line for a place for the handshake, gone before their turn. */
#include <netinet/in.h>
#include <stdlib.h>
#include <unistd.h>

#include "net/connection_state.h"
#include "tests/unit/net/bed_connection.h"

/* --- the table --- */

static void party_count_is(struct parties *all, unsigned expected)
{
    unsigned count = 0;
    for (unsigned i = 0; i < PARTY_BUCKETS; i++)
        for (struct party *p = all->buckets[i]; p; p = p->next)
            count++;
    assert_int_equal(count, expected);
}

/* As many addresses as there are buckets, twice; each has what joined and did not leave, in whatever order. */
static void test_table(void **state)
{
    (void)state;
    enum { ADDRESSES = 2 * PARTY_BUCKETS, MOST = 3 };
    static struct parties all;
    static struct connection c[ADDRESSES][MOST];
    char text[40];
    for (unsigned n = 0; n < MOST; n++)
        for (unsigned i = 0; i < ADDRESSES; i++) {
            snprintf(text, sizeof text, i % 2 ? "10.1.%u.%u:%u" : "[2001:db8:%x:%x::%x]:7", i / 256, i % 256, n + 1);
            assert_int_equal(address_parse(&c[i][n].remote, text, false, NULL), OK);
            party_join(&all, &c[i][n]);
            assert_ptr_equal(c[i][n].party, c[i][0].party); /* a /64 is one party, and so are all ports */
            assert_int_equal(c[i][n].party->connections, n + 1);
        }
    party_count_is(&all, ADDRESSES);
    for (unsigned i = 0; i < ADDRESSES; i++)
        assert_true(i == 0 || c[i][0].party != c[i - 1][0].party);
    for (unsigned n = 0; n < MOST; n++)
        for (unsigned i = 0; i < ADDRESSES; i++) {
            struct connection *its = &c[i][(i + n) % MOST];
            assert_int_equal(its->party->connections, MOST - n);
            party_leave(&all, its);
        }
    party_count_is(&all, 0);
}

/* --- in line --- */

/* What a client says first, whole. */
static void hello_of(struct buffer *out, struct world *w)
{
    struct tls_session *tls;
    assert_int_equal(tls_client_new(&tls, w->client_tls, TLS_ALPN_CLIENT, &identity_of(0)->pin, NULL), OK);
    tls_handshake(tls, out);
    tls_session_free(tls);
}

static int say_hello(struct world *w)
{
    struct buffer hello = {0};
    int fd = raw_socket(w);
    hello_of(&hello, w);
    assert_int_equal(send(fd, hello.data, hello.size, 0), hello.size);
    buffer_free(&hello);
    return fd;
}

static unsigned in_line(const struct party *p)
{
    const struct connection *c;
    unsigned count = 0;
    TAILQ_FOREACH(c, &p->line, line)
        count++;
    return count;
}

static unsigned all_in_line(const struct world *w)
{
    const struct party *p;
    unsigned count = 0;
    TAILQ_FOREACH(p, &w->server->lines, in_line)
        count += in_line(p);
    return count;
}

/* With one place, which the returned socket has. */
static int start_with_one_place(struct world *w)
{
    static const struct network_options one = {.places = 1};
    world_start(w, &one, NULL);
    int holder = say_hello(w);
    RUN_UNTIL(w, w->server->places_taken == 1);
    return holder;
}

/* Many of one address wait before one of another: that one is second, not last. */
static void test_addresses_in_turn(void **state)
{
    (void)state;
    enum { MANY = 20 };
    struct world w;
    static struct caller a[MANY], b;
    struct address from;
    memset(a, 0, sizeof a);
    memset(&b, 0, sizeof b);
    int holder = start_with_one_place(&w);
    for (unsigned i = 0; i < MANY; i++)
        call(&w, &a[i], TLS_ALPN_CLIENT, &identity_of(0)->pin);
    RUN_UNTIL(&w, all_in_line(&w) == MANY);
    const struct party *many = TAILQ_FIRST(&w.server->lines);
    assert_int_equal(address_parse(&from, "127.0.0.9:1", false, NULL), OK);
    assert_int_equal(connection_dial(&b.connection, w.client, listener_address(w.listener), &from, TLS_ALPN_CLIENT,
                                     &identity_of(0)->pin, NULL, &caller_events, &b),
                     OK);
    RUN_UNTIL(&w, all_in_line(&w) == MANY + 1);
    close(holder);
    RUN_UNTIL(&w, all_in_line(&w) == in_line(many));
    assert_int_equal(in_line(many), MANY - 1);
    RUN_UNTIL(&w, w.opened == MANY + 1 && b.opened == 1);
    world_end(&w);
    caller_end(&b);
    for (unsigned i = 0; i < MANY; i++)
        caller_end(&a[i]);
}

/* Who hangs up in line has gone at once: nobody signs for it, and its place is free for others of its address. */
static void test_hung_up_in_line(void **state)
{
    (void)state;
    enum { MANY = 20 };
    struct world w;
    int fds[MANY], holder = start_with_one_place(&w);
    for (unsigned i = 0; i < MANY; i++)
        fds[i] = say_hello(&w);
    RUN_UNTIL(&w, all_in_line(&w) == MANY);
    for (unsigned i = 0; i < MANY; i++)
        close(fds[i]);
    RUN_UNTIL(&w, listener_connections(w.listener) == 1);
    assert_int_equal(w.server->places_taken, 1);
    assert_true(TAILQ_EMPTY(&w.server->lines));
    assert_int_equal(network_counters(w.server)->handshakes_failed, MANY);
    close(holder);
    world_end(&w);
}

/* The same with a place, while all threads have work. What comes before the first step is the step's, too. */
static void test_hung_up_before_a_thread(void **state)
{
    (void)state;
    struct world w;
    struct caller a = {0};
    struct buffer hello = {0};
    world_start(&w, NULL, NULL);
    uint32_t handshakes = w.server->options.handshakes;
    w.server->options.handshakes = 0;
    int fd = say_hello(&w);
    RUN_UNTIL(&w, w.server->places_taken == 1);
    close(fd);
    RUN_UNTIL(&w, listener_connections(w.listener) == 0);
    assert_int_equal(w.server->places_taken, 0);
    fd = say_hello(&w);
    RUN_UNTIL(&w, w.server->places_taken == 1);
    hello_of(&hello, &w); /* a second one, which ends it, but not before the threads are there */
    assert_int_equal(send(fd, hello.data, hello.size, 0), hello.size);
    run_for(&w, 50);
    assert_int_equal(listener_connections(w.listener), 1);
    w.server->options.handshakes = handshakes;
    call(&w, &a, TLS_ALPN_CLIENT, &identity_of(0)->pin); /* the next step begins all */
    RUN_UNTIL(&w, a.opened == 1 && is_closed(fd));
    close(fd);
    buffer_free(&hello);
    world_end(&w);
    caller_end(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_addresses_in_turn),
        cmocka_unit_test(test_hung_up_in_line),
        cmocka_unit_test(test_hung_up_before_a_thread),
    };
    return cmocka_run_group_tests(tests, bed_open, bed_close);
}
