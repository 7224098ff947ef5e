/* Who waits for a checkpoint hears of it once; a round that nobody waits for comes later. */
#include "base/clock.h"
#include "consensus/peer_messages.h"
#include "tests/unit/consensus/bed_witness.h"

/* --- waiting --- */

struct waiter {
    struct witness_wait wait;
    unsigned calls;
    enum err code;
    struct waiter *cancels;
    bool again;
};

static void waited(struct witness_wait *wait, enum err code)
{
    struct waiter *w = wait->data;
    w->calls++;
    w->code = code;
    if (w->cancels) witness_wait_cancel(nodes[1].witness, &w->cancels->wait);
    if (w->again) {
        w->again = false;
        wait->leaf_index = 1000;
        witness_wait(nodes[1].witness, wait);
    }
}

static void begin_wait(struct waiter *w, uint64_t leaf, unsigned ms)
{
    w->wait = (struct witness_wait){.leaf_index = leaf, .data = w, .done = waited,
                                    .deadline_ns = clock_monotonic_ns() + ms * UINT64_C(1000000)};
    witness_wait(nodes[1].witness, &w->wait);
}

static void waiters_hear_once(void **state)
{
    (void)state;
    struct waiter a = {0}, b = {0}, c = {0}, d = {0}, e = {0};
    lead(1, 1);
    begin_wait(&a, 2, 5000); /* the last leaf of three */
    begin_wait(&b, 3, 5000); /* one further */
    begin_wait(&c, 0, 5000);
    witness_wait_cancel(nodes[1].witness, &c.wait);
    begin_wait(&d, 100, 100);
    apply_all(3);
    settle();
    assert_true(a.calls == 1 && a.code == OK);
    assert_int_equal(b.calls + c.calls + d.calls, 0);
    begin_wait(&e, 1, 5000); /* at once */
    assert_true(e.calls == 1 && e.code == OK);
    sleep_ms(250);
    assert_true(d.calls == 1 && d.code == ERR_NOT_WITNESSED);
    apply_all(1);
    settle();
    assert_true(b.calls == 1 && b.code == OK);
    assert_int_equal(a.calls + c.calls + d.calls + e.calls, 3);
    begin_wait(&a, 50, 5000);
    begin_wait(&b, 51, 5000);
    witness_wait_cancel(nodes[1].witness, &a.wait);
    witness_wait_cancel(nodes[1].witness, &a.wait); /* no matter */
    stop_witness(1);
    assert_true(a.calls == 1 && b.calls == 2 && b.code == ERR_STOPPED);
    start_witness(1);
}

static void a_callback_may_cancel_others_that_are_due(void **state)
{
    (void)state;
    enum { WAITERS = 9 };
    struct waiter w[WAITERS] = {{.calls = 0}}, far = {0};
    lead(1, 1);
    begin_wait(&far, 500, 5000);
    for (int i = 0; i < WAITERS; i++) {
        w[i].again = i == 4;
        begin_wait(&w[i], 0, 5000);
    }
    for (int i = 0; i < WAITERS; i++)
        w[i].cancels = i % 3 == 0 ? &w[(i + 1) % WAITERS] : NULL;
    apply_all(1);
    settle();
    unsigned calls = 0;
    for (int i = 0; i < WAITERS; i++) {
        assert_true(w[i].calls <= 1);
        calls += w[i].calls;
    }
    assert_true(calls >= WAITERS - 3 && far.calls == 0);
    for (int i = 0; i < WAITERS; i++)
        w[i].cancels = NULL;
    for (unsigned i = 1; i <= N; i++)
        for (int block = 0; block < 1; block++)
            apply(i, 1200);
    settle();
    assert_int_equal(far.calls, 1);
    if (w[4].calls) assert_int_equal(w[4].calls, 2);
}

/* --- rounds that nobody waits for --- */

static void apply_unawaited(void)
{
    for (unsigned i = 1; i <= N; i++) {
        struct driver_applied a = grow(&nodes[i].driver, 1, false);
        a.awaited = false;
        witness_applied(nodes[i].witness, &a);
    }
}

/* A round, then a block that nobody waits for. False: the machine was so slow that its round was due. */
static bool leave_one_unawaited(void)
{
    uint64_t begun = clock_monotonic_ns();
    lead(1, 1);
    apply_all(1);
    settle();
    assert_true(all_at(1));
    apply_unawaited();
    settle();
    if (clock_monotonic_ns() - begun >= UINT64_C(45) * 1000000) return false;
    assert_true(all_at(1));
    return true;
}

static void a_round_that_nobody_waits_for_comes_later(void **state)
{
    (void)state;
    leave_one_unawaited();
    assert_true(wait_all_at(2, 3000));
}

static void a_block_that_is_awaited_begins_the_round(void **state)
{
    (void)state;
    leave_one_unawaited();
    apply_all(1);
    assert_true(wait_all_at(3, 3000));
    assert_true(sent[PEER_PACE] <= 3 * (N - 1));
}

static void a_wait_at_the_leader_begins_the_round(void **state)
{
    struct waiter w = {0};
    (void)state;
    bool early = leave_one_unawaited();
    begin_wait(&w, 1, 3000);
    settle();
    assert_true(!early || all_at(2));
    assert_true(wait_all_at(2, 3000));
    assert_int_equal(w.calls, 1);
    assert_int_equal(w.code, OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BED_TEST(a_round_that_nobody_waits_for_comes_later),
        BED_TEST(a_block_that_is_awaited_begins_the_round),
        BED_TEST(a_wait_at_the_leader_begins_the_round),
        BED_TEST(waiters_hear_once),
        BED_TEST(a_callback_may_cancel_others_that_are_due),
    };
    return cmocka_run_group_tests(tests, bed_open, bed_close);
}
