/* When a node asks all for a digest of the state: when nobody did for long, and when it is said to differ. */
#include "base/check.h"
#include "crypto/random.h"
#include "tests/unit/node/bed_digest.h"

static void put_asked(uint64_t leaf, uint64_t time_ms)
{
    struct table_txn *txn;
    CHECK(store_begin_write(&txn, node.store) == OK);
    CHECK(state_digest_asked_put(txn, leaf, time_ms) == OK && store_commit(txn) == OK);
}

static void nodes_ask_when_nobody_did(void **state)
{
    (void)state;
    config.digest_seconds.number = 3600;
    status.size = 200;
    put_asked(120, clock_wall_ms() - 3500 * 1000);
    restart();
    turn(1500);
    assert_int_equal(asked, 0); /* not long ago */
    put_asked(121, clock_wall_ms() - 3700 * 1000);
    status.leads = false; /* others ask later than the leader */
    restart();
    status.leads = true;
    status.size = 122; /* nothing came since */
    turn(1500);
    assert_int_equal(asked, 0);
    status.size = 200;
    status.quarantined = true;
    turn(1500);
    assert_int_equal(asked, 0);
    status.quarantined = false;
    for (unsigned i = 0; i < 600 && asked == 0; i++) turn(100);
    assert_int_equal(asked, 1);
    turn(1500);
    assert_int_equal(asked, 1); /* one is under way */
    asked_done(asked_data, ERR_NO_QUORUM, 0, DECISION_DENIED, REASON_NONE);
}

/* The desk's timer comes at once. */
static void hasten(uv_handle_t *handle, void *data)
{
    (void)data;
    if (handle->type != UV_TIMER) return;
    uv_timer_set_repeat((uv_timer_t *)handle, 1);
    uv_timer_again((uv_timer_t *)handle);
}

static void hasty_restart(void)
{
    restart();
    uv_walk(&node.loop, hasten, NULL);
}

static void await_asked(size_t times)
{
    for (unsigned i = 0; i < 6000 && asked < times; i++) turn(10);
    turn(100);
    assert_int_equal(asked, times);
}

/* Rebuilt, it is what the others are again: they know by a digest. */
static void who_is_said_to_differ_asks(void **state)
{
    (void)state;
    config.digest_seconds.number = 3600;
    status.size = 200;
    status.leads = false;
    put_asked(120, clock_wall_ms() - 60 * 1000);
    alarms[0] = (struct alarm){.index = 90, .kind = ALARM_MODIFIED, .named = 2, .saying = 1u << 3,
                               .status = ALARM_OPEN};
    alarms[1] = (struct alarm){.index = 110, .kind = ALARM_MODIFIED, .named = SELF, .saying = 1u << 2 | 1u << SELF,
                               .status = ALARM_OPEN};
    row_count = 1;
    hasty_restart();
    await_asked(0); /* of another one */
    row_count = 2;
    await_asked(0); /* so it says itself */
    alarms[1].saying = 1u << 2;
    await_asked(0); /* one may lie */
    alarms[1].saying = 1u << 2 | 1u << 3;
    put_asked(121, clock_wall_ms() - 2000);
    hasty_restart();
    await_asked(0); /* the rules allow none so soon */
    pass(15);
    await_asked(1);
    asked_done(asked_data, OK, 130, DECISION_APPROVED, REASON_NONE);
    pass(60);
    await_asked(1); /* where b are wrong and others are down it may be so for long */
    pass(600);
    await_asked(2);
    asked_done(asked_data, ERR_NO_QUORUM, 0, DECISION_DENIED, REASON_NONE);
    row_count = 1;
    pass(60);
    await_asked(2);
}

/* Words about one thing or about two, they are of two members. */
static void words_of_several_alarms_count_together(void **state)
{
    (void)state;
    config.digest_seconds.number = 3600;
    status.leads = false;
    put_asked(120, clock_wall_ms() - 60 * 1000);
    alarms[0] = (struct alarm){.index = 90, .kind = ALARM_MODIFIED, .named = SELF, .first = 80, .saying = 1u << 3,
                               .status = ALARM_OPEN};
    alarms[1] = (struct alarm){.index = 91, .kind = ALARM_DELETED, .named = SELF, .first = 80, .saying = 1u << 4,
                               .status = ALARM_OPEN};
    row_count = 2;
    hasty_restart();
    await_asked(0); /* no digest shows what the other kind is about */
    alarms[1].kind = ALARM_MODIFIED;
    await_asked(1);
    asked_done(asked_data, ERR_STOPPED, 0, DECISION_DENIED, REASON_NONE);
}

/* Nobody else asks where the setting is 0: the alarm would stay. */
static void without_a_period_it_asks_for_itself(void **state)
{
    (void)state;
    status.size = 200;
    put_asked(120, clock_wall_ms() - 100000 * 1000);
    hasty_restart();
    await_asked(0);
    alarms[0] = (struct alarm){.index = 110, .kind = ALARM_MODIFIED, .named = SELF, .saying = 1u << 2 | 1u << 3,
                               .status = ALARM_OPEN};
    row_count = 1;
    await_asked(1);
    asked_done(asked_data, OK, 130, DECISION_APPROVED, REASON_NONE);
    wall_clock_leaps(24 * 60 * 60 * 1000);
    await_asked(1); /* no more time has passed by that */
    pass(620);
    await_asked(2);
    asked_done(asked_data, OK, 131, DECISION_APPROVED, REASON_NONE);
    pass(620);
    await_asked(2); /* in vain: later and later */
    pass(620);
    await_asked(3);
    asked_done(asked_data, OK, 132, DECISION_APPROVED, REASON_NONE);
    row_count = 0;
    pass(2500);
    await_asked(3);
    row_count = 1; /* anew, now that it was over */
    await_asked(4);
    asked_done(asked_data, OK, 133, DECISION_APPROVED, REASON_NONE);
    pass(620);
    await_asked(5);
    asked_done(asked_data, ERR_STOPPED, 0, DECISION_DENIED, REASON_NONE);
}

int main(void)
{
    crypto_init();
    const struct CMUnitTest tests[] = {
        BED_TEST(nodes_ask_when_nobody_did),
        BED_TEST(who_is_said_to_differ_asks),
        BED_TEST(words_of_several_alarms_count_together),
        BED_TEST(without_a_period_it_asks_for_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
