/* What takes long: nodes that have different roots notice it while blocks come, however their rounds overlap,
 * and others don't. Time and timers pass with the turns of the bed, a millisecond each, so that minutes take
 * seconds, each time the same. */
#include "base/clock.h"
#include "consensus/peer_messages.h"
#include "tests/unit/consensus/bed_witness.h"

#define NS_PER_MS UINT64_C(1000000)
#define FORKED_FROM 3 /* nodes, in a split: two against two */

/* --- timers --- */

static struct timer {
    uv_timer_t *handle;
    uv_timer_cb run;
    uint64_t due_ns, repeat_ns;
} timers[2 * N];

/* In place of libuv's. */
int uv_timer_start(uv_timer_t *handle, uv_timer_cb run, uint64_t timeout_ms, uint64_t repeat_ms)
{
    struct timer *t = timers;
    while (t->handle && t->handle != handle) t++;
    assert_true(t < timers + 2 * N);
    *t = (struct timer){handle, run, clock_monotonic_ns() + timeout_ms * NS_PER_MS, repeat_ms * NS_PER_MS};
    return 0;
}

static void turn_timed(void)
{
    turn();
    for (struct timer *t = timers; t < timers + 2 * N; t++) {
        if (!t->run || clock_monotonic_ns() < t->due_ns) continue;
        uv_timer_cb run = t->run;
        if (t->repeat_ns)
            t->due_ns += t->repeat_ns;
        else
            t->run = NULL;
        run(t->handle);
    }
}

static int setup_timed(void **state)
{
    memset(timers, 0, sizeof timers);
    turn_takes_ns = NS_PER_MS;
    return setup(state);
}

/* --- a cluster that writes --- */

struct course {
    unsigned delay_most, every_ms, seconds;
    unsigned forked_from; /* these nodes' blocks are other ones; N + 1: none's */
    unsigned lose_percent;
};

static void write_for(const struct course *c)
{
    lead(1, 1);
    apply_all(1);
    for (unsigned i = 0; i < 100; i++) turn_timed();
    assert_true(all_at(1));
    delay_most = c->delay_most;
    lose_percent = c->lose_percent;
    for (unsigned ms = 0; ms < c->seconds * 1000; ms++) {
        for (unsigned i = 1; ms % c->every_ms == 0 && i <= N; i++)
            apply_forked(i, 1, i >= c->forked_from);
        turn_timed();
    }
}

static void assert_split_is_noticed(unsigned delay, unsigned every_ms)
{
    write_for(&(struct course){delay, every_ms, .seconds = 40, .forked_from = FORKED_FROM});
    for (unsigned i = 1; i <= N; i++) {
        assert_int_equal(witness_size(nodes[i].witness), 1);
        assert_int_equal(nodes[i].stalled, 1);
    }
}

static void a_split_is_noticed_while_blocks_come(void **state)
{
    (void)state;
    assert_split_is_noticed(10, 100);
}

static void a_split_is_noticed_while_messages_are_slow(void **state)
{
    (void)state;
    assert_split_is_noticed(40, 20);
}

/* --- no split --- */

static void assert_none_is_noticed(const struct course *c)
{
    write_for(c);
    for (unsigned i = 1; i < c->forked_from && i <= N; i++) {
        assert_true(witness_size(nodes[i].witness) + 2000 / c->every_ms > nodes[i].driver.tree.size);
        assert_int_equal(nodes[i].quarantined, 0);
    }
    for (unsigned i = 1; i <= N; i++)
        assert_int_equal(nodes[i].stalled, 0);
}

static void equal_roots_are_no_split(void **state)
{
    (void)state;
    assert_none_is_noticed(&(struct course){10, 100, .seconds = 40, .forked_from = N + 1, .lose_percent = 10});
}

static void equal_roots_are_no_split_while_messages_are_slow(void **state)
{
    (void)state;
    assert_none_is_noticed(&(struct course){40, 20, .seconds = 40, .forked_from = N + 1, .lose_percent = 10});
}

static void one_other_root_is_no_split(void **state)
{
    (void)state;
    assert_none_is_noticed(&(struct course){10, 100, .seconds = 40, .forked_from = N, .lose_percent = 10});
}

static void one_other_root_is_no_split_while_messages_are_slow(void **state)
{
    (void)state;
    assert_none_is_noticed(&(struct course){40, 20, .seconds = 40, .forked_from = N, .lose_percent = 10});
}

/* --- how long words take --- */

static void turns(unsigned count)
{
    for (unsigned i = 0; i < count; i++) turn_timed();
}

/* The leader's round, in which two others' words and all cosignatures come. */
static void end_round(void)
{
    struct claim c = own_claim(1);
    send_tell(2, 1, PEER_TELL, &c);
    send_tell(3, 1, PEER_TELL, &c);
    turns(3);
    for (unsigned i = 2; i <= N; i++)
        send_cosign(i, 1, c.size, &c.root);
    assert_int_equal(witness_size(nodes[1].witness), c.size);
}

static void a_round_paced_again_measures_no_words(void **state)
{
    (void)state;
    nodes[2].cut = nodes[3].cut = nodes[4].cut = true;
    lead(1, 1);
    apply(1, 1);
    turns(100); /* is what words take */
    end_round();
    apply(1, 1);
    uint64_t paces = sent[PEER_PACE];
    for (unsigned i = 0; sent[PEER_PACE] == paces && i < 5000; i++) turn_timed();
    assert_true(sent[PEER_PACE] > paces); /* again */
    end_round();
    paces = sent[PEER_PACE];
    apply(1, 1);
    assert_int_equal(sent[PEER_PACE], paces + N - 1);
    apply(1, 1);
    turns(40);
    assert_int_equal(sent[PEER_PACE], paces + N - 1);
    turns(40); /* half of what they take is over */
    assert_int_equal(sent[PEER_PACE], paces + 2 * (N - 1));
}

#define TIMED_TEST(name) cmocka_unit_test_setup_teardown(name, setup_timed, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TIMED_TEST(a_split_is_noticed_while_blocks_come),
        TIMED_TEST(a_split_is_noticed_while_messages_are_slow),
        TIMED_TEST(equal_roots_are_no_split),
        TIMED_TEST(equal_roots_are_no_split_while_messages_are_slow),
        TIMED_TEST(one_other_root_is_no_split),
        TIMED_TEST(one_other_root_is_no_split_while_messages_are_slow),
        TIMED_TEST(a_round_paced_again_measures_no_words),
    };
    return cmocka_run_group_tests(tests, bed_open, bed_close);
}
