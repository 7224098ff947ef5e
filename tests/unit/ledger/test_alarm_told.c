/* Alarms: which node tells people, in which order and how often, and what a node that lies about it can do. */
#include "tests/unit/ledger/bed_alarm.h"

static enum reason tell_by(unsigned node, uint64_t index, enum alarm_step step, unsigned ways)
{
    struct kit_actor actor = kit_node(&kit, node);
    struct arguments a = {.action = ACTION_ALARM_TELL};
    a.alarm_tell = (struct args_alarm_tell){index, step, ways};
    return act(&actor, &a, NONE, NULL);
}

static enum reason tell(unsigned node, uint64_t index, enum alarm_step step)
{
    return tell_by(node, index, step, step == ALARM_TOLD ? ALARM_BY_HOOK : 0);
}

static void pass(uint64_t ms) { kit.now += ms; }

static uint64_t turn_of(unsigned node, uint64_t index)
{
    struct alarm a;
    assert_int_equal(state_alarm_get(&a, kit.txn, index), OK);
    return alarm_turn_ms(&a, node, 4, &kit.genesis.cluster);
}

/* Once its turn has come. */
static enum reason claim(unsigned node, uint64_t index)
{
    uint64_t turn = turn_of(node, index);
    if (turn > kit.now) pass(turn - kit.now);
    return tell(node, index, ALARM_CLAIM);
}

/* The members in the order of their turns, from the next one on; the one that is named is the last. */
static void order_of(unsigned order[static 4], uint64_t index)
{
    uint64_t before = 0;
    for (unsigned at = 0; at < 4; at++) {
        uint64_t least = UINT64_MAX;
        for (unsigned node = 1; node <= 4; node++) {
            uint64_t turn = turn_of(node, index);
            if (turn <= before || turn >= least) continue;
            least = turn;
            order[at] = node;
        }
        assert_true(least > before && (at == 0 || at == 3 || least == before + ALARM_TURN_MS));
        before = least;
    }
}

static void test_claims(void **state)
{
    (void)state;
    uint64_t index;
    unsigned order[4];
    assert_int_equal(raise_alarm(1, (struct key){ALARM_ROLLED_BACK, 4, 40}, &index), REASON_NONE);
    order_of(order, index);
    assert_int_equal(order[3], 4);
    unsigned first = order[0], second = order[1];
    assert_int_equal(tell(first, index + 100000, ALARM_CLAIM), REASON_UNKNOWN_ALARM);
    assert_int_equal(tell(first, index, ALARM_TOLD), REASON_NOT_CLAIMED);
    assert_int_equal(tell(second, index, ALARM_CLAIM), REASON_NOT_ITS_TURN);
    assert_int_equal(tell(first, index, ALARM_CLAIM), REASON_NONE);
    struct alarm a = row(index);
    assert_int_equal(a.claimed_by, first);
    pass(ALARM_TURN_MS);
    assert_int_equal(tell(second, index, ALARM_CLAIM), REASON_CLAIMED);
    assert_int_equal(tell(first, index, ALARM_CLAIM), REASON_CLAIMED); /* its own as well: it may have sent it */
    assert_int_equal(tell(second, index, ALARM_TOLD), REASON_NOT_CLAIMED);
    pass(a.claimed_ms + ALARM_CLAIM_MS - 1 - kit.now); /* the last millisecond in which it holds */
    assert_true(alarm_is_claimed(&a, kit.now));
    assert_int_equal(tell(second, index, ALARM_CLAIM), REASON_CLAIMED);
    assert_false(alarm_is_claimed(&a, a.claimed_ms + ALARM_CLAIM_MS));
    assert_int_equal(tell(first, index, ALARM_CLAIM), REASON_NOT_ITS_TURN); /* it had its chance */
    assert_int_equal(tell(second, index, ALARM_CLAIM), REASON_NONE);        /* its sender died */
    assert_int_equal(tell(first, index, ALARM_TOLD), REASON_NOT_CLAIMED);
    assert_int_equal(tell(second, index, ALARM_TOLD), REASON_NONE);
    a = row(index);
    assert_true(a.told == ledger_size(kit.ledger) - 1 && a.told_ms == ledger_time_ms(kit.ledger) && !a.claimed_by);
    assert_true(a.told_by == second && a.told_ways == ALARM_BY_HOOK);
    assert_int_equal(tell(second, index, ALARM_TOLD), REASON_NOT_CLAIMED);
    assert_int_equal(tell(order[2], index, ALARM_CLAIM), REASON_ALREADY_TOLD);
    clear_all();
}

/* A liar that claims and sends nothing: the others are all heard before it is again. */
static void test_a_claim_and_nothing_sent(void **state)
{
    (void)state;
    uint64_t index;
    unsigned order[4], again[4];
    assert_int_equal(raise_alarm(1, (struct key){ALARM_DELETED, 3, 42}, &index), REASON_NONE);
    order_of(order, index);
    for (unsigned round = 0; round < 3; round++) {
        assert_int_equal(claim(order[round], index), REASON_NONE);
        order_of(again, index);
        for (unsigned i = 0; i < 3; i++) assert_int_equal(again[i], order[(round + 1 + i) % 3]);
        assert_int_equal(again[3], 3); /* who is named */
        pass(ALARM_CLAIM_MS - KIT_TICK);
    }
    assert_int_equal(claim(order[0], index), REASON_NONE); /* all of them failed: round again */
    assert_int_equal(claim(order[1], index), REASON_NONE);
    assert_int_equal(tell(order[1], index, ALARM_TOLD), REASON_NONE);
    clear_all();
}

/* A liar that says it told: a day later the next one tells. */
static void test_told_and_nothing_sent(void **state)
{
    (void)state;
    uint64_t index;
    unsigned order[4], again[4];
    assert_int_equal(raise_alarm(1, (struct key){ALARM_DELETED, 3, 43}, &index), REASON_NONE);
    order_of(order, index);
    assert_int_equal(claim(order[0], index), REASON_NONE);
    assert_int_equal(tell(order[0], index, ALARM_TOLD), REASON_NONE);
    uint64_t told_ms = row(index).told_ms;
    assert_int_equal(tell(order[1], index, ALARM_CLAIM), REASON_ALREADY_TOLD);
    order_of(again, index);
    assert_true(again[0] == order[1] && again[1] == order[2] && again[2] == order[0] && again[3] == 3);
    pass(told_ms + ALARM_AGAIN_MS - kit.now);
    assert_int_equal(tell(order[0], index, ALARM_CLAIM), REASON_NOT_ITS_TURN);
    assert_int_equal(tell(order[1], index, ALARM_CLAIM), REASON_NONE);
    assert_int_equal(tell(order[1], index, ALARM_TOLD), REASON_NONE);
    assert_int_equal(row(index).told_by, order[1]);
    clear_all();
}

/* Late, but nobody else took over: what it sent is recorded. */
static void test_told_late(void **state)
{
    (void)state;
    uint64_t index;
    assert_int_equal(raise_alarm(1, (struct key){ALARM_DELETED, 4, 41}, &index), REASON_NONE);
    assert_int_equal(claim(2, index), REASON_NONE);
    pass(2 * ALARM_CLAIM_MS);
    assert_int_equal(tell(2, index, ALARM_TOLD), REASON_NONE);
    clear_all();
}

static void test_told_again(void **state)
{
    (void)state;
    struct key k = {ALARM_MODIFIED, 1, 50};
    uint64_t index, again, third;
    assert_int_equal(raise_alarm(1, k, &index), REASON_NONE);
    assert_int_equal(claim(2, index), REASON_NONE);
    assert_int_equal(tell(2, index, ALARM_TOLD), REASON_NONE);
    uint64_t told_ms = row(index).told_ms;
    assert_int_equal(repaired(1, k), REASON_NONE);
    assert_int_equal(tell(2, index, ALARM_CLAIM), REASON_ALREADY_TOLD);
    /* the same once more within a day: nobody is told */
    assert_int_equal(raise_alarm(2, k, &again), REASON_NONE);
    struct alarm a = row(again);
    assert_true(a.told_ms == told_ms && a.told_by == 2 && a.told_ways == ALARM_BY_HOOK);
    assert_true(alarm_was_told(&a, 3, ledger_time_ms(kit.ledger)));
    assert_int_equal(tell(3, again, ALARM_CLAIM), REASON_ALREADY_TOLD);
    pass(told_ms + ALARM_AGAIN_MS - 1 - kit.now);
    assert_int_equal(tell(3, again, ALARM_CLAIM), REASON_ALREADY_TOLD);
    assert_int_equal(claim(3, again), REASON_NONE); /* still open after a day */
    assert_int_equal(tell(3, again, ALARM_TOLD), REASON_NONE);
    assert_int_equal(clear(&kit.root, again, ""), REASON_NONE);
    /* another key is told of at once */
    k.first++;
    assert_int_equal(raise_alarm(2, k, &third), REASON_NONE);
    a = row(third);
    assert_false(alarm_was_told(&a, 3, ledger_time_ms(kit.ledger)));
    clear_all();
}

/* Who is proved to lie keeps no alarm about itself from people. */
static void test_told_by_the_liar(void **state)
{
    (void)state;
    uint64_t index;
    assert_int_equal(raise_alarm(1, (struct key){ALARM_FORKED, 3, 70}, &index), REASON_NONE);
    assert_int_equal(turn_of(3, index), UINT64_MAX);
    pass(ALARM_AGAIN_MS);
    assert_int_equal(tell(3, index, ALARM_CLAIM), REASON_PROVEN);
    assert_int_equal(tell(3, index, ALARM_TOLD), REASON_PROVEN);
    assert_int_equal(row(index).claimed_by, 0);
    assert_int_equal(claim(2, index), REASON_NONE);
    assert_int_equal(tell(3, index, ALARM_TOLD), REASON_PROVEN);
    assert_int_equal(tell(2, index, ALARM_TOLD), REASON_NONE);
    assert_int_equal(tell(3, index + 1000, ALARM_CLAIM), REASON_UNKNOWN_ALARM);
    clear_all();
}

/* The only one that has settings may tell of itself, late; but its word for it keeps nobody else from telling. */
static void test_told_of_itself(void **state)
{
    (void)state;
    uint64_t index;
    assert_int_equal(raise_alarm(3, (struct key){ALARM_MODIFIED, 3, 71}, &index), REASON_NONE);
    assert_int_equal(turn_of(3, index), row(index).since_ms + ALARM_SELF_MS);
    assert_int_equal(tell(3, index, ALARM_CLAIM), REASON_NOT_ITS_TURN);
    assert_int_equal(claim(3, index), REASON_NONE);
    assert_int_equal(tell(1, index, ALARM_CLAIM), REASON_CLAIMED);
    assert_int_equal(tell(3, index, ALARM_TOLD), REASON_NONE);
    assert_int_equal(claim(3, index), REASON_ALREADY_TOLD);
    assert_int_equal(claim(1, index), REASON_NONE);
    assert_int_equal(tell(1, index, ALARM_TOLD), REASON_NONE);
    assert_int_equal(tell(2, index, ALARM_CLAIM), REASON_ALREADY_TOLD);
    assert_int_equal(tell(3, index, ALARM_CLAIM), REASON_ALREADY_TOLD);
    clear_all();
}

/* Over many alarms each member has its share, and an alarm has the same order on each node and each time. */
static void test_turns_are_shared(void **state)
{
    (void)state;
    unsigned first[5] = {0}, seconds = 0;
    struct alarm a = {.kind = ALARM_DELETED, .named = 2, .since_ms = 1000};
    for (a.first = 0; a.first < 300; a.first++) {
        for (unsigned node = 1; node <= 4; node++) {
            uint64_t turn = alarm_turn_ms(&a, node, 4, &kit.genesis.cluster);
            first[node] += turn == a.since_ms;
            seconds += turn == a.since_ms + ALARM_TURN_MS;
            assert_int_equal(turn, alarm_turn_ms(&a, node, 4, &kit.genesis.cluster));
        }
    }
    assert_true(first[1] > 60 && first[3] > 60 && first[4] > 60 && first[2] == 0);
    assert_int_equal(first[1] + first[3] + first[4], 300);
    assert_int_equal(seconds, 300);
}

static enum reason claim_rest(unsigned node, uint64_t index, unsigned ways)
{
    return tell_by(node, index, ALARM_CLAIM, ways);
}

static uint64_t rest_turn_of(unsigned node, uint64_t index)
{
    struct alarm a = row(index);
    return alarm_rest_turn_ms(&a, node, 4, &kit.genesis.cluster);
}

static void until(uint64_t ms)
{
    if (ms > kit.now) pass(ms - kit.now);
}

/* A sender that told by one way and died leaves the other one to the next, and nothing else. */
static void test_the_rest(void **state)
{
    (void)state;
    uint64_t index;
    unsigned order[4];
    assert_int_equal(raise_alarm(1, (struct key){ALARM_DELETED, 3, 80}, &index), REASON_NONE);
    order_of(order, index);
    assert_int_equal(claim_rest(order[0], index, ALARM_BY_MAIL), REASON_NOT_ITS_TURN); /* of what? */
    assert_int_equal(claim(order[0], index), REASON_NONE);
    assert_false(alarm_claims_rest(&(struct alarm){0}));
    assert_int_equal(claim_rest(order[1], index, ALARM_BY_MAIL), REASON_CLAIMED);
    assert_int_equal(tell(order[0], index, ALARM_TOLD), REASON_NONE);
    struct alarm told = row(index);
    /* only what it lacks, and first who told */
    pass(ALARM_TURN_MS);
    assert_int_equal(claim_rest(order[0], index, ALARM_BY_HOOK), REASON_ALREADY_TOLD);
    assert_int_equal(claim_rest(order[0], index, ALARM_WAYS), REASON_ALREADY_TOLD);
    assert_int_equal(claim_rest(order[1], index, ALARM_BY_MAIL), REASON_NOT_ITS_TURN);
    assert_int_equal(rest_turn_of(order[1], index), told.told_ms + ALARM_CLAIM_MS);
    assert_int_equal(rest_turn_of(order[2], index), told.told_ms + ALARM_CLAIM_MS + ALARM_TURN_MS);
    assert_int_equal(rest_turn_of(3, index), told.told_ms + ALARM_CLAIM_MS + ALARM_SELF_MS);
    assert_int_equal(claim_rest(order[0], index, ALARM_BY_MAIL), REASON_NONE);
    struct alarm a = row(index);
    assert_true(alarm_claims_rest(&a) && a.claimed_by == order[0]);
    /* it dies: the next one's turn comes when that claim has run out */
    until(a.claimed_ms + ALARM_CLAIM_MS - 1);
    assert_int_equal(claim_rest(order[1], index, ALARM_BY_MAIL), REASON_CLAIMED);
    assert_int_equal(claim_rest(order[2], index, ALARM_BY_MAIL), REASON_NOT_ITS_TURN);
    assert_int_equal(rest_turn_of(order[0], index), a.claimed_ms + ALARM_CLAIM_MS + 2 * ALARM_TURN_MS);
    assert_int_equal(claim_rest(order[1], index, ALARM_BY_MAIL), REASON_NONE);
    assert_int_equal(tell_by(order[0], index, ALARM_TOLD, ALARM_BY_MAIL), REASON_NOT_CLAIMED);
    assert_int_equal(tell_by(order[1], index, ALARM_TOLD, ALARM_BY_MAIL), REASON_NONE);
    a = row(index);
    assert_true(a.told == told.told && a.told_ms == told.told_ms && a.told_by == order[0] && !a.claimed_by);
    assert_int_equal(a.told_ways, ALARM_WAYS);
    pass(ALARM_CLAIM_MS);
    assert_int_equal(claim_rest(order[2], index, ALARM_BY_MAIL), REASON_ALREADY_TOLD);
    clear_all();
}

/* Whatever becomes of the rest, the whole is told again a day after the telling, in the order behind who told. */
static void test_the_rest_moves_nothing(void **state)
{
    (void)state;
    uint64_t index;
    unsigned order[4], again[4];
    assert_int_equal(raise_alarm(1, (struct key){ALARM_DELETED, 3, 81}, &index), REASON_NONE);
    order_of(order, index);
    assert_int_equal(claim(order[0], index), REASON_NONE);
    assert_int_equal(tell(order[0], index, ALARM_TOLD), REASON_NONE);
    uint64_t told_ms = row(index).told_ms;
    until(told_ms + ALARM_AGAIN_MS - 2);
    assert_int_equal(claim_rest(order[2], index, ALARM_BY_MAIL), REASON_NONE); /* and sends nothing */
    order_of(again, index);
    assert_true(again[0] == order[1] && again[1] == order[2] && again[2] == order[0] && again[3] == 3);
    assert_int_equal(turn_of(order[1], index), told_ms + ALARM_AGAIN_MS);
    pass(ALARM_CLAIM_MS);
    assert_int_equal(claim_rest(order[1], index, ALARM_BY_MAIL), REASON_NOT_ITS_TURN); /* of yesterday's telling */
    assert_int_equal(claim(order[1], index), REASON_NONE);
    struct alarm a = row(index);
    assert_false(alarm_claims_rest(&a));
    assert_int_equal(tell(order[1], index, ALARM_TOLD), REASON_NONE);
    a = row(index);
    assert_true(a.told_by == order[1] && a.told_ms > told_ms && a.told_ways == ALARM_BY_HOOK);
    clear_all();
}

/* Closed and raised anew while the rest is sent; told by the one that is named; of what is proved. */
static void test_the_rest_of_others(void **state)
{
    (void)state;
    struct key k = {ALARM_MODIFIED, 1, 82};
    uint64_t index, again;
    assert_int_equal(raise_alarm(1, k, &index), REASON_NONE);
    assert_int_equal(claim(2, index), REASON_NONE);
    assert_int_equal(tell(2, index, ALARM_TOLD), REASON_NONE);
    pass(ALARM_TURN_MS);
    assert_int_equal(claim_rest(2, index, ALARM_BY_MAIL), REASON_NONE);
    assert_int_equal(repaired(1, k), REASON_NONE);
    assert_int_equal(raise_alarm(1, k, &again), REASON_NONE);
    assert_int_equal(tell_by(2, index, ALARM_TOLD, ALARM_BY_MAIL), REASON_NONE);
    struct alarm old = row(index), new = row(again);
    assert_true(old.told_ways == ALARM_WAYS && new.told_ways == ALARM_WAYS && new.told == old.told && !new.claimed_by);
    assert_int_equal(claim_rest(3, index, ALARM_BY_MAIL), REASON_ALARM_CLOSED);
    assert_int_equal(clear(&kit.root, again, ""), REASON_NONE);
    k.first++;
    assert_int_equal(raise_alarm(1, k, &index), REASON_NONE);
    assert_int_equal(claim(1, index), REASON_NONE);
    assert_int_equal(tell(1, index, ALARM_TOLD), REASON_NONE);
    pass(ALARM_TURN_MS);
    assert_int_equal(claim_rest(1, index, ALARM_BY_MAIL), REASON_NOT_ITS_TURN);
    pass(ALARM_CLAIM_MS + ALARM_SELF_MS);
    assert_int_equal(claim_rest(2, index, ALARM_BY_MAIL), REASON_NOT_ITS_TURN); /* for them nothing was told */
    assert_int_equal(claim_rest(1, index, ALARM_BY_MAIL), REASON_NONE);
    pass(ALARM_CLAIM_MS);
    assert_int_equal(claim_rest(1, index, ALARM_BY_MAIL), REASON_NOT_ITS_TURN); /* it leaves room for who tells all */
    assert_int_equal(claim(2, index), REASON_NONE);
    assert_int_equal(clear(&kit.root, index, ""), REASON_NONE);
    assert_int_equal(claim_rest(1, index, ALARM_BY_MAIL), REASON_ALARM_CLOSED);
    k = (struct key){ALARM_FORKED, 3, 84};
    assert_int_equal(raise_alarm(1, k, &index), REASON_NONE);
    assert_int_equal(claim(2, index), REASON_NONE);
    assert_int_equal(tell(2, index, ALARM_TOLD), REASON_NONE);
    pass(2 * ALARM_CLAIM_MS + 2 * ALARM_SELF_MS);
    assert_int_equal(claim_rest(3, index, ALARM_BY_MAIL), REASON_PROVEN);
    assert_int_equal(rest_turn_of(3, index), UINT64_MAX);
    assert_int_equal(claim_rest(4, index, ALARM_BY_MAIL), REASON_NONE);
    clear_all();
}

/* Closed and raised anew while somebody sends: that telling counts for the new one. */
static void test_told_meanwhile(void **state)
{
    (void)state;
    struct key k = {ALARM_MODIFIED, 1, 60};
    uint64_t index, again;
    assert_int_equal(raise_alarm(1, k, &index), REASON_NONE);
    assert_int_equal(claim(2, index), REASON_NONE);
    assert_int_equal(repaired(1, k), REASON_NONE);
    assert_int_equal(raise_alarm(1, k, &again), REASON_NONE);
    assert_int_equal(tell(3, again, ALARM_CLAIM), REASON_CLAIMED);
    assert_int_equal(tell(2, index, ALARM_TOLD), REASON_NONE);
    struct alarm old = row(index), new = row(again);
    assert_true(old.status == ALARM_REPAIRED && new.status == ALARM_OPEN);
    assert_true(old.told && old.told == new.told && !new.claimed_by);
    assert_int_equal(tell(3, again, ALARM_CLAIM), REASON_ALREADY_TOLD);
    struct alarm latest;
    assert_int_equal(state_alarm_last(&latest, kit.txn, k.kind, k.named, k.first), OK);
    assert_int_equal(latest.index, again);
    clear_all();
}

/* Damage that is repaired within a second is told of all the same, for a day, once; what people cleared is not. */
static void test_repaired_is_told(void **state)
{
    (void)state;
    struct key k = {ALARM_DELETED, 1, 61};
    uint64_t index, again;
    assert_int_equal(raise_alarm(1, k, &index), REASON_NONE);
    assert_int_equal(repaired(1, k), REASON_NONE);
    assert_int_equal(claim(2, index), REASON_NONE);
    assert_int_equal(tell(3, index, ALARM_CLAIM), REASON_CLAIMED);
    assert_int_equal(tell(2, index, ALARM_TOLD), REASON_NONE);
    assert_int_equal(row(index).status, ALARM_REPAIRED);
    assert_int_equal(row(index).told_by, 2);
    assert_int_equal(tell(3, index, ALARM_CLAIM), REASON_ALREADY_TOLD);
    /* raised anew within the day: nobody is told of either row again */
    assert_int_equal(raise_alarm(1, k, &again), REASON_NONE);
    assert_int_equal(tell(3, index, ALARM_CLAIM), REASON_ALARM_CLOSED);
    assert_int_equal(tell(3, again, ALARM_CLAIM), REASON_ALREADY_TOLD);
    assert_int_equal(repaired(1, k), REASON_NONE);
    pass(ALARM_AGAIN_MS);
    assert_int_equal(tell(3, again, ALARM_CLAIM), REASON_ALARM_CLOSED); /* too old by now */
    k.first++;
    assert_int_equal(raise_alarm(1, k, &index), REASON_NONE);
    assert_int_equal(clear(&kit.root, index, "known"), REASON_NONE);
    assert_int_equal(tell(2, index, ALARM_CLAIM), REASON_ALARM_CLOSED);
    clear_all();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_claims),
        cmocka_unit_test(test_told_late),
        cmocka_unit_test(test_told_again),
        cmocka_unit_test(test_told_meanwhile),
        cmocka_unit_test(test_repaired_is_told),
        cmocka_unit_test(test_the_rest),
        cmocka_unit_test(test_the_rest_moves_nothing),
        cmocka_unit_test(test_the_rest_of_others),
        cmocka_unit_test(test_a_claim_and_nothing_sent),
        cmocka_unit_test(test_told_and_nothing_sent),
        cmocka_unit_test(test_told_of_itself),
        cmocka_unit_test(test_turns_are_shared),
        cmocka_unit_test(test_told_by_the_liar),
        cmocka_unit_test(test_replay),
    };
    return cmocka_run_group_tests_name("ledger/alarm: told", tests, open_kit, close_kit);
}
