/* Links between nodes: several of them in one loop, with real sockets. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/pack.h"
#include "consensus/peer_messages.h"
#include "crypto/random.h"
#include "net/peers.h"
#include "tests/lib/identities.h"
#include "tests/lib/older.h"
#include "tests/lib/unit.h"

#define NODES IDENTITIES
#define PATIENCE_MS 120000u /* for what must come, on however slow a machine */

struct node {
    uint32_t index;
    struct tls_context *tls;
    struct network *network;
    struct listener *listener;
    struct peers *peers;
    struct address address; /* kept for a restart */
    bool network_closed;
    unsigned ups[NODES + 1], downs[NODES + 1];
    uint64_t heard[NODES + 1], last_id[NODES + 1], bytes[NODES + 1];
    unsigned writable, parts[NODES + 1], overlong[NODES + 1];
};

static uv_loop_t loop;
static struct node nodes[NODES + 1];
static uint32_t frame_ms; /* of nodes started from now on; 0: as long as real ones */

static void on_message(uint32_t from, const struct frame *f, void *data)
{
    struct node *n = data;
    assert_int_equal(f->id, n->heard[from]); /* in order, none lost while the link holds */
    n->heard[from]++;
    n->last_id[from] = f->id;
    n->bytes[from] += f->body.size;
}

static void on_part(uint32_t from, void *data) { ((struct node *)data)->parts[from]++; }
static void on_overlong(uint32_t from, void *data) { ((struct node *)data)->overlong[from]++; }
static void on_up(uint32_t index, void *data) { ((struct node *)data)->ups[index]++; }
static void on_down(uint32_t index, void *data) { ((struct node *)data)->downs[index]++; }
static void on_writable(uint32_t index, void *data)
{
    (void)index;
    ((struct node *)data)->writable++;
}

static const struct peers_events events = {
    .on_message = on_message, .on_part = on_part, .on_overlong = on_overlong, .on_up = on_up, .on_down = on_down,
    .on_writable = on_writable};

static void node_start(struct node *n, uint32_t index, unsigned without)
{
    bool again = n->address.port != 0;
    struct address address = n->address;
    char text[32];
    memset(n, 0, sizeof *n);
    n->index = index;
    if (!again) {
        snprintf(text, sizeof text, "127.0.1.%u:0", index); /* each node an address of its own */
        assert_int_equal(address_parse(&address, text, true, NULL), OK);
    }
    n->tls = identity_context(index - 1, without);
    struct network_options patient = {.handshake_ms = PATIENCE_MS, .stall_ms = PATIENCE_MS, .frame_ms = frame_ms};
    assert_int_equal(network_new(&n->network, &loop, n->tls, &patient), OK);
    assert_int_equal(peers_new(&n->peers, n->network, index, &address, &events, n), OK);
    struct listener_handler handler = peers_handler(n->peers);
    assert_int_equal(listener_new(&n->listener, n->network, &address, &handler, 1, NULL, NULL), OK);
    n->address = *listener_address(n->listener);
}

static void on_network_closed(void *data) { ((struct node *)data)->network_closed = true; }

static void on_tick(uv_timer_t *timer) { (void)timer; }

#define RUN_UNTIL(condition)                                                                                          \
    do {                                                                                                              \
        uint64_t end = clock_monotonic_ns() + PATIENCE_MS * UINT64_C(1000000);                                         \
        uv_timer_t tick;                                                                                              \
        uv_timer_init(&loop, &tick);                                                                                  \
        uv_timer_start(&tick, on_tick, 5, 5);                                                                         \
        while (!(condition)) {                                                                                        \
            assert_true(clock_monotonic_ns() < end);                                                                  \
            uv_run(&loop, UV_RUN_ONCE);                                                                               \
        }                                                                                                             \
        uv_close((uv_handle_t *)&tick, NULL);                                                                         \
        uv_run(&loop, UV_RUN_NOWAIT);                                                                                 \
    } while (0)

static void node_stop(struct node *n)
{
    listener_close(n->listener);
    peers_close(n->peers);
    network_close(n->network, on_network_closed, n);
    RUN_UNTIL(n->network_closed);
    network_free(n->network);
    tls_context_free(n->tls);
}

static void introduce(struct node *to, uint32_t index)
{
    assert_int_equal(peers_set(to->peers, index, &nodes[index].address, &identity_of(index - 1)->pin), OK);
}

static void cluster_start(uint32_t count)
{
    memset(nodes, 0, sizeof nodes);
    assert_int_equal(uv_loop_init(&loop), 0);
    for (uint32_t i = 1; i <= count; i++)
        node_start(&nodes[i], i, 0);
    for (uint32_t i = 1; i <= count; i++)
        for (uint32_t j = 1; j <= count; j++)
            introduce(&nodes[i], j);
}

static void cluster_end(uint32_t count)
{
    for (uint32_t i = 1; i <= count; i++)
        node_stop(&nodes[i]);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
}

static bool all_up(uint32_t count)
{
    for (uint32_t i = 1; i <= count; i++)
        for (uint32_t j = 1; j <= count; j++) {
            struct peers_status s;
            peers_status(nodes[i].peers, j, &s);
            if (i != j && (!s.up || !s.heard)) return false;
        }
    return true;
}

static void say(uint32_t from, uint32_t to, uint64_t id, size_t size)
{
    struct buffer body = {0};
    uint8_t *data = calloc(1, size + 1);
    pack_bin(&body, data, size);
    assert_int_equal(peers_send(nodes[from].peers, to, 70, id, buffer_bytes(&body)), OK);
    buffer_free(&body);
    free(data);
}

static void test_all_talk(void **state)
{
    (void)state;
    cluster_start(NODES);
    assert_int_equal(peers_send(nodes[1].peers, 2, 70, 0, (struct bytes){0}), ERR_UNREACHABLE);
    RUN_UNTIL(all_up(NODES));
    for (uint64_t id = 0; id < 300; id++)
        for (uint32_t i = 1; i <= NODES; i++)
            for (uint32_t j = 1; j <= NODES; j++)
                if (i != j) say(i, j, id, id * 11);
    for (uint32_t i = 1; i <= NODES; i++)
        for (uint32_t j = 1; j <= NODES; j++)
            if (i != j) RUN_UNTIL(nodes[i].heard[j] == 300);
    /* Sent to itself: never a link. */
    assert_int_equal(peers_send(nodes[1].peers, 1, 70, 0, (struct bytes){0}), ERR_UNREACHABLE);
    struct peers_status s;
    peers_status(nodes[1].peers, 1, &s);
    assert_false(s.up || s.heard);
    cluster_end(NODES);
}

/* While a large frame comes it is told of; a small one is there at once. */
static void test_parts(void **state)
{
    (void)state;
    cluster_start(2);
    RUN_UNTIL(all_up(2));
    for (uint64_t id = 0; id < 50; id++) {
        say(1, 2, id, 1000);
        RUN_UNTIL(nodes[2].heard[1] == id + 1);
    }
    assert_int_equal(nodes[2].parts[1], 0);
    say(1, 2, 50, 3 * MIB);
    assert_true(peers_unacked(nodes[1].peers, 2) >= 3 * MIB);
    RUN_UNTIL(nodes[2].heard[1] == 51);
    assert_true(nodes[2].parts[1] > 1);
    assert_int_equal(nodes[1].parts[2], 0);
    RUN_UNTIL(peers_unacked(nodes[1].peers, 2) == 0);
    assert_int_equal(peers_unacked(nodes[1].peers, 1), 0); /* itself: no link */
    cluster_end(2);
}

/* What waits on it is lost; what is sent then is not. */
static void test_renewal(void **state)
{
    (void)state;
    cluster_start(2);
    RUN_UNTIL(all_up(2));
    for (uint64_t id = 0; id < 3; id++) say(1, 2, id, 3 * MIB);
    peers_renew(nodes[1].peers, 2);
    RUN_UNTIL(nodes[1].downs[2] == 1);
    struct peers_status s;
    peers_status(nodes[1].peers, 2, &s);
    assert_non_null(strstr(s.text, "no use any more"));
    RUN_UNTIL(peers_up(nodes[1].peers, 2));
    assert_true(peers_unacked(nodes[1].peers, 2) < 1000);
    say(1, 2, 0, 1000);
    RUN_UNTIL(nodes[2].heard[1] == 1);
    assert_true(nodes[2].bytes[1] < 2000);
    cluster_end(2);
}

/* Before the C library's: what the kernel says of acknowledgements, and the time. */
static bool acknowledges_nothing;
static unsigned looks;
static time_t ahead_s;

int getsockopt(int fd, int level, int name, void *restrict value, socklen_t *restrict size)
{
    bool look = level == IPPROTO_TCP && name == TCP_INFO;
    looks += look;
    if (!look || !acknowledges_nothing) return (int)syscall(SYS_getsockopt, fd, level, name, value, size);
    *(struct tcp_info *)value =
        (struct tcp_info){.tcpi_state = TCP_ESTABLISHED, .tcpi_unacked = 1, .tcpi_last_ack_recv = 1000};
    return 0;
}

int clock_gettime(clockid_t id, struct timespec *out)
{
    int code = (int)syscall(SYS_clock_gettime, id, out);
    if (id == CLOCK_MONOTONIC) out->tv_sec += ahead_s;
    return code;
}

static void look_on(unsigned times)
{
    looks = 0;
    RUN_UNTIL(looks >= times);
}

/* At a link that acknowledged something at first. */
static unsigned looks_before_it_is_given_up(void)
{
    unsigned downs = nodes[1].downs[2];
    RUN_UNTIL(peers_up(nodes[1].peers, 2));
    look_on(2);
    acknowledges_nothing = true;
    looks = 0;
    RUN_UNTIL(nodes[1].downs[2] > downs);
    acknowledges_nothing = false;
    return looks;
}

/* Longer for the next one, where it was given up soon after it was made; but not for ever. */
static void test_patience(void **state)
{
    (void)state;
    struct address nowhere;
    cluster_start(2);
    assert_int_equal(address_parse(&nowhere, "127.0.1.99:1", true, NULL), OK);
    assert_int_equal(peers_set(nodes[2].peers, 1, &nowhere, &identity_of(0)->pin), OK); /* one link is enough */
    RUN_UNTIL(!peers_up(nodes[2].peers, 1));
    assert_int_equal(looks_before_it_is_given_up(), LIMIT_PEER_UNHEARD);
    assert_int_equal(looks_before_it_is_given_up(), 2 * LIMIT_PEER_UNHEARD);
    RUN_UNTIL(peers_up(nodes[1].peers, 2));
    look_on(2);
    ahead_s = 3600;
    assert_int_equal(looks_before_it_is_given_up(), LIMIT_PEER_UNHEARD);
    cluster_end(2);
}

static bool one_was_overlong(void)
{
    if (nodes[2].overlong[1] > 0) return true;
    if (peers_up(nodes[1].peers, 2) && peers_unacked(nodes[1].peers, 2) == 0) say(1, 2, nodes[2].heard[1], 3 * MIB);
    return false;
}

/* A frame that is not whole in time is told of, and its link made anew. */
static void test_overlong(void **state)
{
    (void)state;
    frame_ms = 1; /* some 10 it takes, mostly */
    cluster_start(2);
    RUN_UNTIL(all_up(2));
    RUN_UNTIL(one_was_overlong());
    RUN_UNTIL(nodes[1].downs[2] > 0 && peers_up(nodes[1].peers, 2) && peers_unacked(nodes[1].peers, 2) == 0);
    uint64_t heard = nodes[2].heard[1];
    say(1, 2, heard, 1000);
    RUN_UNTIL(nodes[2].heard[1] == heard + 1);
    assert_int_equal(nodes[1].overlong[2], 0);
    cluster_end(2);
    frame_ms = 0;
}

static void test_restart(void **state)
{
    (void)state;
    cluster_start(3);
    RUN_UNTIL(all_up(3));
    uint64_t resumed = network_counters(nodes[1].network)->handshakes_resumed;
    assert_int_equal(resumed, 0);
    /* A link cut: the reconnect resumes the session. */
    node_stop(&nodes[3]);
    RUN_UNTIL(nodes[1].downs[3] == 1 && nodes[2].downs[3] == 1);
    assert_int_equal(peers_send(nodes[1].peers, 3, 70, 0, (struct bytes){0}), ERR_UNREACHABLE);
    struct peers_status s;
    RUN_UNTIL((peers_status(nodes[1].peers, 3, &s), s.failures > 2));
    assert_int_equal(s.last_error, ERR_UNREACHABLE);
    assert_non_null(strstr(s.text, "connection refused"));
    uint64_t start = clock_monotonic_ns();
    node_start(&nodes[3], 3, 0);
    for (uint32_t j = 1; j <= 2; j++)
        introduce(&nodes[3], j);
    RUN_UNTIL(all_up(3));
    print_message("all links up again %.0f ms after the restart\n", (double)(clock_monotonic_ns() - start) / 1e6);
    nodes[1].heard[2] = 0;
    say(2, 1, 0, 10);
    say(1, 3, 0, 10);
    RUN_UNTIL(nodes[1].heard[2] == 1 && nodes[3].heard[1] == 1);
    cluster_end(3);
}

static unsigned versions(uint32_t a, uint32_t b)
{
    struct peers *p = nodes[a].peers, *q = nodes[b].peers;
    unsigned version = peers_version(p, b);
    assert_int_equal(peers_version_heard(p, b), version);
    assert_int_equal(peers_version(q, a), version);
    assert_int_equal(peers_version_heard(q, a), version);
    return version;
}

/* Each link speaks what both its ends know, from the upgrade of the second one on the newest. */
static void test_upgrade(void **state)
{
    (void)state;
    memset(nodes, 0, sizeof nodes);
    assert_int_equal(uv_loop_init(&loop), 0);
    older_release = true;
    for (uint32_t i = 1; i <= 3; i++) node_start(&nodes[i], i, 0);
    older_release = false;
    for (uint32_t i = 1; i <= 3; i++)
        for (uint32_t j = 1; j <= 3; j++) introduce(&nodes[i], j);
    for (uint32_t upgraded = 0; upgraded <= 3; upgraded++) {
        if (upgraded) {
            node_stop(&nodes[upgraded]);
            for (uint32_t j = 1; j <= 3; j++)
                if (j != upgraded) RUN_UNTIL(!peers_up(nodes[j].peers, upgraded));
            assert_int_equal(peers_version(nodes[upgraded % 3 + 1].peers, upgraded), 0);
            node_start(&nodes[upgraded], upgraded, 0);
            for (uint32_t j = 1; j <= 3; j++) {
                introduce(&nodes[upgraded], j);
                nodes[j].heard[upgraded] = 0;
            }
        }
        RUN_UNTIL(all_up(3));
        for (uint32_t i = 1; i <= 3; i++)
            for (uint32_t j = i + 1; j <= 3; j++)
                assert_int_equal(versions(i, j), j <= upgraded ? PEER_VERSION : 1);
    }
    cluster_end(3);
}

/* A link that breaks while both nodes live comes back resumed. */
static void test_resumes(void **state)
{
    (void)state;
    cluster_start(2);
    RUN_UNTIL(all_up(2));
    struct address other = {ADDRESS_IPV4, "127.0.1.9", nodes[2].address.port}; /* nobody listens there */
    assert_int_equal(peers_set(nodes[1].peers, 2, &other, &identity_of(1)->pin), OK);
    RUN_UNTIL(nodes[1].downs[2] == 1);
    assert_int_equal(peers_set(nodes[1].peers, 2, &nodes[2].address, &identity_of(1)->pin), OK);
    RUN_UNTIL(all_up(2));
    assert_int_equal(nodes[1].ups[2], 2);
    assert_true(network_counters(nodes[1].network)->handshakes_resumed == 1);
    cluster_end(2);
}

static void test_stranger(void **state)
{
    (void)state;
    struct peers_status s;
    memset(nodes, 0, sizeof nodes);
    assert_int_equal(uv_loop_init(&loop), 0);
    node_start(&nodes[1], 1, 0);
    node_start(&nodes[2], 2, 0);
    introduce(&nodes[2], 1); /* but 1 doesn't know 2 */
    RUN_UNTIL((peers_status(nodes[2].peers, 1, &s), s.failures >= 2));
    assert_int_equal(s.last_error, ERR_WRONG_PEER);
    assert_int_equal(nodes[2].ups[1], 0);
    /* And one that expects another key at that address. */
    assert_int_equal(peers_set(nodes[1].peers, 2, &nodes[2].address, &identity_of(2)->pin), OK);
    RUN_UNTIL((peers_status(nodes[1].peers, 2, &s), s.failures >= 2));
    assert_int_equal(s.last_error, ERR_WRONG_PEER);
    /* Introduced at last. */
    introduce(&nodes[1], 2);
    RUN_UNTIL(all_up(2));
    assert_int_equal(peers_set(nodes[1].peers, 3, &nodes[2].address, &identity_of(1)->pin), ERR_INVALID);
    assert_int_equal(peers_set(nodes[1].peers, 0, &nodes[2].address, &identity_of(2)->pin), ERR_INVALID);
    assert_int_equal(peers_set(nodes[1].peers, LIMIT_NODES + 1, &nodes[2].address, &identity_of(2)->pin), ERR_INVALID);
    cluster_end(2);
}

/* A member that was removed is out at once, and its resumable session is no way back in. */
static void test_removed(void **state)
{
    (void)state;
    struct peers_status s;
    cluster_start(2);
    RUN_UNTIL(all_up(2));
    peers_remove(nodes[1].peers, 2);
    RUN_UNTIL(nodes[1].downs[2] == 1 && nodes[2].downs[1] == 1);
    unsigned ups = nodes[2].ups[1];
    RUN_UNTIL((peers_status(nodes[2].peers, 1, &s), s.failures >= 4));
    assert_int_equal(s.last_error, ERR_WRONG_PEER);
    peers_status(nodes[1].peers, 2, &s);
    assert_false(s.up || s.heard);
    assert_true(nodes[2].ups[1] <= ups + 1); /* a resumed one is told a moment late */
    assert_int_equal(network_counters(nodes[1].network)->handshakes_resumed, 0);
    introduce(&nodes[1], 2);
    RUN_UNTIL(all_up(2));
    cluster_end(2);
}

/* Flooding a peer that is behind ends in ERR_BUSY, not in memory; nothing is dropped. */
static void test_backpressure(void **state)
{
    (void)state;
    cluster_start(2);
    RUN_UNTIL(all_up(2));
    peers_pause(nodes[2].peers, 1);
    struct buffer body = {0};
    uint8_t *data = calloc(1, 1u << 20);
    pack_bin(&body, data, 1u << 20);
    uint64_t sent = 0;
    for (unsigned i = 0; i < 100; i++) {
        while (peers_send(nodes[1].peers, 2, 70, sent, buffer_bytes(&body)) == OK)
            sent++;
        uv_run(&loop, UV_RUN_NOWAIT);
    }
    assert_true(peers_queued(nodes[1].peers, 2) <= LIMIT_SEND_QUEUE);
    assert_int_equal(nodes[2].heard[1], 0);
    peers_resume(nodes[2].peers, 1);
    RUN_UNTIL(nodes[2].heard[1] == sent);
    assert_int_equal(nodes[1].writable, 1);
    assert_int_equal(nodes[1].downs[2], 0);
    buffer_free(&body);
    free(data);
    cluster_end(2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_talk), cmocka_unit_test(test_parts), cmocka_unit_test(test_renewal),
        cmocka_unit_test(test_patience),
        cmocka_unit_test(test_overlong),
        cmocka_unit_test(test_restart), cmocka_unit_test(test_upgrade),
        cmocka_unit_test(test_resumes), cmocka_unit_test(test_stranger), cmocka_unit_test(test_removed),
        cmocka_unit_test(test_backpressure),
    };
    crypto_init();
    older_release = false;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    identities_free();
    return failed;
}
