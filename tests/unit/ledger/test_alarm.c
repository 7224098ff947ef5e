/* Alarms: each rule with both verdicts, who tells people and how often, rows and their damage. */
#include "tests/lib/unit.h"

#include <stdio.h>

#include "base/check.h"
#include "ledger/alarm.h"
#include "tests/lib/ledger_kit.h"
#include "tests/lib/samples.h"

#define NONE ((struct bytes){0})

static struct kit kit;
static struct kit_actor doctor;

static int open_kit(void **state)
{
    (void)state;
    kit_open(&kit, 4, 1, NONE);
    doctor = kit_add_user(&kit, 1, "doctor", "Mercy", "Dr. House");
    return 0;
}

static int close_kit(void **state)
{
    (void)state;
    kit_close(&kit);
    return 0;
}

/* The reason, and in `index` the leaf; alarms_changed must follow the verdict. */
static enum reason act(const struct kit_actor *who, const struct arguments *args, struct bytes content, uint64_t *index)
{
    const struct ledger_result *r = kit_do(&kit, who, args, content);
    assert_int_equal(r->code, OK);
    assert_int_equal(r->decision, r->reason ? DECISION_DENIED : DECISION_APPROVED);
    assert_int_equal(kit.results.alarms_changed, r->reason == REASON_NONE);
    if (index) *index = r->leaf_index;
    return (enum reason)r->reason;
}

struct key {
    enum alarm_kind kind;
    unsigned named;
    uint64_t first;
};

static enum reason say(unsigned raiser, struct key k, uint64_t last, enum alarm_status status, uint64_t *index)
{
    struct kit_actor node = kit_node(&kit, raiser);
    struct arguments a = {.action = ACTION_NODE_ALARM};
    struct buffer evidence = {0};
    if (k.kind == ALARM_FORKED && status == ALARM_OPEN) kit_evidence(&evidence, &kit, k.named, k.first);
    a.node_alarm = (struct args_node_alarm){k.kind, k.named, k.first, last, status, buffer_bytes(&evidence)};
    enum reason reason = act(&node, &a, NONE, index);
    buffer_free(&evidence);
    return reason;
}

static enum reason raise_alarm(unsigned raiser, struct key k, uint64_t *index)
{
    return say(raiser, k, k.first, ALARM_OPEN, index);
}

static enum reason repaired(unsigned raiser, struct key k) { return say(raiser, k, k.first, ALARM_REPAIRED, NULL); }

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

static enum reason clear(const struct kit_actor *who, uint64_t index, const char *note)
{
    struct arguments a = {.action = ACTION_ALARM_CLEAR, .alarm_clear = {index}};
    return act(who, &a, bytes_text(note), NULL);
}

static struct alarm row(uint64_t index)
{
    struct alarm a;
    assert_int_equal(state_alarm_get(&a, kit.txn, index), OK);
    return a;
}

static size_t open_rows(struct alarm rows[static ALARMS_OPEN_MOST])
{
    size_t count;
    assert_int_equal(state_alarms_open(rows, &count, kit.txn, ALARMS_OPEN_MOST), OK);
    return count;
}

static void clear_all(void)
{
    static struct alarm rows[ALARMS_OPEN_MOST];
    size_t count = open_rows(rows);
    for (size_t i = 0; i < count; i++) assert_int_equal(clear(&kit.root, rows[i].index, ""), REASON_NONE);
    assert_int_equal(open_rows(rows), 0);
}

/* --- raising --- */

static void test_raise(void **state)
{
    (void)state;
    static struct alarm rows[ALARMS_OPEN_MOST];
    struct key k = {ALARM_MODIFIED, 3, 10};
    uint64_t index, denied;
    assert_int_equal(say(1, k, 12, ALARM_OPEN, &index), REASON_NONE);
    struct alarm a = row(index);
    assert_true(a.index == index && a.kind == ALARM_MODIFIED && a.named == 3 && a.raiser == 1);
    assert_true(a.first == 10 && a.last == 12 && a.status == ALARM_OPEN && !a.closed && !a.claimed_by && !a.told);
    assert_int_equal(a.since_ms, ledger_time_ms(kit.ledger));
    /* open already, by anyone: nothing changes, and the leaf that was denied is no row */
    assert_int_equal(say(1, k, 12, ALARM_OPEN, &denied), REASON_ALREADY_RAISED);
    assert_int_equal(state_alarm_get(&a, kit.txn, denied), ERR_NOT_FOUND);
    assert_int_equal(say(1, k, 11, ALARM_OPEN, NULL), REASON_ALREADY_RAISED);
    assert_int_equal(row(index).last, 12);
    /* its raiser may say that it goes on */
    assert_int_equal(say(1, k, 15, ALARM_OPEN, &denied), REASON_NONE);
    assert_int_equal(row(index).last, 15);
    assert_int_equal(state_alarm_get(&a, kit.txn, denied), ERR_NOT_FOUND);
    /* another kind, node or first index is another alarm */
    assert_int_equal(raise_alarm(2, (struct key){ALARM_DELETED, 3, 10}, NULL), REASON_NONE);
    assert_int_equal(raise_alarm(2, (struct key){ALARM_MODIFIED, 4, 10}, NULL), REASON_NONE);
    assert_int_equal(raise_alarm(2, (struct key){ALARM_MODIFIED, 3, 11}, NULL), REASON_NONE);
    assert_int_equal(open_rows(rows), 4);
    assert_int_equal(rows[0].index, index);
    assert_true(rows[1].index < rows[2].index && rows[2].index < rows[3].index);
    clear_all();
}

static void test_fields(void **state)
{
    (void)state;
    assert_int_equal(raise_alarm(1, (struct key){ALARM_MODIFIED, 5, 1}, NULL), REASON_FIELDS); /* n = 4 */
    assert_int_equal(repaired(1, (struct key){ALARM_MODIFIED, 5, 1}), REASON_FIELDS);
    struct arguments a = {.action = ACTION_NODE_ALARM};
    a.node_alarm = (struct args_node_alarm){ALARM_MODIFIED, 1, 1, 1, ALARM_OPEN, {0}};
    assert_int_equal(act(&kit.root, &a, NONE, NULL), REASON_NO_PERMISSION); /* people raise none */
    a = (struct arguments){.action = ACTION_ALARM_CLEAR, .alarm_clear = {1}};
    struct kit_actor node = kit_node(&kit, 1);
    assert_int_equal(act(&node, &a, NONE, NULL), REASON_NO_PERMISSION); /* and nodes clear none */
    a = (struct arguments){.action = ACTION_ALARM_TELL, .alarm_tell = {1, ALARM_CLAIM}};
    assert_int_equal(act(&kit.root, &a, NONE, NULL), REASON_NO_PERMISSION);
    uint64_t index;
    assert_int_equal(raise_alarm(1, (struct key){ALARM_FORKED, 2, 1}, &index), REASON_NONE);
    a.alarm_tell = (struct args_alarm_tell){index, ALARM_CLAIM, 0};
    assert_int_equal(act(&node, &a, bytes_text("a note"), NULL), REASON_FIELDS); /* none is allowed there */
    clear_all();
}

/* Nobody's word makes a node FORKED: the leaf proves it, of that node and at that place, or it is denied. */
static void test_only_what_is_proved_is_forked(void **state)
{
    (void)state;
    struct buffer good = {0}, other = {0}, bad = {0};
    struct kit_actor node = kit_node(&kit, 1), self = kit_node(&kit, 2);
    struct arguments a = {.action = ACTION_NODE_ALARM};
    kit_evidence(&good, &kit, 2, 7);
    kit_evidence(&other, &kit, 3, 7);
    buffer_append_bytes(&bad, buffer_bytes(&good));
    bad.data[bad.size - 1] ^= 1; /* of a signature */
    a.node_alarm = (struct args_node_alarm){ALARM_FORKED, 2, 7, 7, ALARM_OPEN, {0}};
    assert_int_equal(act(&node, &a, NONE, NULL), REASON_NOT_PROVEN);
    assert_int_equal(act(&self, &a, NONE, NULL), REASON_NOT_PROVEN); /* nor its own */
    a.node_alarm.evidence = buffer_bytes(&other);
    assert_int_equal(act(&node, &a, NONE, NULL), REASON_NOT_PROVEN); /* somebody else lied */
    a.node_alarm.evidence = buffer_bytes(&bad);
    assert_int_equal(act(&node, &a, NONE, NULL), REASON_NOT_PROVEN);
    a.node_alarm.evidence = buffer_bytes(&good);
    a.node_alarm.first = 6; /* else one proof would make as many alarms as there are numbers */
    assert_int_equal(act(&node, &a, NONE, NULL), REASON_NOT_PROVEN);
    a.node_alarm.kind = ALARM_MODIFIED;
    assert_int_equal(act(&node, &a, NONE, NULL), REASON_FIELDS); /* and it proves nothing else */
    a.node_alarm.kind = ALARM_FORKED;
    a.node_alarm.first = 7;
    assert_int_equal(act(&node, &a, bytes_text("more"), NULL), REASON_FIELDS);
    uint64_t index;
    assert_int_equal(act(&node, &a, NONE, &index), REASON_NONE);
    assert_true(alarm_counts(ALARM_FORKED, 2, row(index).saying, 1));
    assert_int_equal(act(&self, &a, NONE, NULL), REASON_ALREADY_RAISED);
    a.node_alarm = (struct args_node_alarm){ALARM_FORKED, 2, 7, 7, ALARM_REPAIRED, buffer_bytes(&good)};
    assert_int_equal(act(&node, &a, NONE, NULL), REASON_FIELDS);
    buffer_free(&good);
    buffer_free(&other);
    buffer_free(&bad);
    clear_all();
}

static void test_what_counts(void **state)
{
    (void)state;
    assert_false(alarm_counts(ALARM_MODIFIED, 3, 1u << 1, 1));
    assert_true(alarm_counts(ALARM_MODIFIED, 3, 1u << 1, 0));
    assert_true(alarm_counts(ALARM_MODIFIED, 3, 1u << 1 | 1u << 4, 1));
    assert_false(alarm_counts(ALARM_DELETED, 3, 1u << 1 | 1u << 4, 2));
    assert_true(alarm_counts(ALARM_ROLLED_BACK, 3, 1u << 3, 2)); /* itself */
    assert_true(alarm_counts(ALARM_FORKED, 3, 1u << 1, 2));
}

/* One node's word is an accusation. Others join until it counts, and no more; it is open until all took it back. */
static void test_words_of_many(void **state)
{
    (void)state;
    struct key k = {ALARM_MODIFIED, 3, 15};
    uint64_t index;
    assert_int_equal(raise_alarm(1, k, &index), REASON_NONE);
    assert_int_equal(row(index).saying, 1u << 1);
    assert_int_equal(repaired(2, k), REASON_NOT_RAISER);
    assert_int_equal(say(2, k, 99, ALARM_OPEN, NULL), REASON_NONE);
    struct alarm a = row(index);
    assert_true(a.saying == (1u << 1 | 1u << 2) && a.raiser == 1);
    assert_int_equal(a.last, 15); /* how far it goes is its raiser's to say */
    assert_int_equal(raise_alarm(4, k, NULL), REASON_ALREADY_RAISED); /* b + 1 are enough */
    assert_int_equal(raise_alarm(3, k, NULL), REASON_ALREADY_RAISED);
    assert_int_equal(repaired(1, k), REASON_NONE);
    a = row(index);
    assert_true(a.status == ALARM_OPEN && a.saying == 1u << 2 && a.raiser == 2);
    assert_int_equal(repaired(1, k), REASON_NOT_RAISER);
    /* again an accusation: the named one may say so as well, and knows how far */
    assert_int_equal(say(3, k, 20, ALARM_OPEN, NULL), REASON_NONE);
    assert_int_equal(row(index).last, 20);
    assert_int_equal(raise_alarm(4, k, NULL), REASON_ALREADY_RAISED);
    assert_int_equal(repaired(3, k), REASON_NONE);
    assert_int_equal(row(index).status, ALARM_OPEN); /* who is named can't close what others say */
    assert_int_equal(repaired(2, k), REASON_NONE);
    assert_int_equal(row(index).status, ALARM_REPAIRED);
    assert_int_equal(row(index).raiser, 2);
}

/* One node fills no more than its part of the table, and closing one makes room. */
static void test_bound(void **state)
{
    (void)state;
    static struct alarm rows[ALARMS_OPEN_MOST];
    struct key k = {ALARM_DELETED, 2, 1000};
    for (unsigned i = 0; i < ALARM_OPEN_MOST; i++, k.first++) assert_int_equal(raise_alarm(1, k, NULL), REASON_NONE);
    assert_int_equal(raise_alarm(1, k, NULL), REASON_TOO_MANY_ALARMS);
    assert_int_equal(raise_alarm(3, k, NULL), REASON_NONE);
    assert_int_equal(open_rows(rows), ALARM_OPEN_MOST + 1);
    k.first = 1000;
    assert_int_equal(say(1, k, 1001, ALARM_OPEN, NULL), REASON_NONE); /* an open one may go on */
    assert_int_equal(repaired(1, k), REASON_NONE);
    k.first = 5000;
    assert_int_equal(raise_alarm(1, k, NULL), REASON_NONE);
    k.first = 1000 + ALARM_OPEN_MOST; /* a word about another's is one of its own, too */
    assert_int_equal(raise_alarm(1, k, NULL), REASON_TOO_MANY_ALARMS);
    assert_int_equal(raise_alarm(4, k, NULL), REASON_NONE);
    size_t count;
    assert_int_equal(state_alarms_open(rows, &count, kit.txn, 5), OK);
    assert_int_equal(count, 5);
    assert_int_equal(rows[0].first, 1001); /* the oldest that is open */
    clear_all();
}

/* --- closing --- */

static void test_repaired(void **state)
{
    (void)state;
    struct key k = {ALARM_MODIFIED, 2, 20};
    uint64_t index, again;
    assert_int_equal(repaired(2, k), REASON_UNKNOWN_ALARM);
    assert_int_equal(raise_alarm(2, k, &index), REASON_NONE);
    assert_int_equal(repaired(3, k), REASON_NOT_RAISER);
    assert_int_equal(row(index).status, ALARM_OPEN);
    assert_int_equal(repaired(2, k), REASON_NONE);
    struct alarm a = row(index);
    assert_int_equal(a.status, ALARM_REPAIRED);
    assert_int_equal(a.closed, ledger_size(kit.ledger) - 1);
    assert_int_equal(repaired(2, k), REASON_ALARM_CLOSED);
    assert_int_equal(clear(&kit.root, index, ""), REASON_ALARM_CLOSED);
    /* it may happen again: another row, by anyone */
    assert_int_equal(raise_alarm(3, k, &again), REASON_NONE);
    assert_int_not_equal(again, index);
    assert_int_equal(repaired(2, k), REASON_NOT_RAISER);
    assert_int_equal(repaired(3, k), REASON_NONE);
}

static void test_proven(void **state)
{
    (void)state;
    struct key k = {ALARM_FORKED, 2, 30};
    uint64_t index;
    assert_int_equal(repaired(1, k), REASON_UNKNOWN_ALARM);
    assert_int_equal(raise_alarm(1, k, &index), REASON_NONE);
    assert_int_equal(repaired(1, k), REASON_PROVEN);
    assert_int_equal(repaired(2, k), REASON_NOT_RAISER);
    assert_int_equal(clear(&doctor, index, ""), REASON_NO_PERMISSION);
    assert_int_equal(row(index).status, ALARM_OPEN);
    assert_int_equal(clear(&kit.root, index, "node 2 was replaced"), REASON_NONE);
    assert_int_equal(row(index).status, ALARM_CLEARED);
    assert_int_equal(clear(&kit.root, index, ""), REASON_ALARM_CLOSED);
    assert_int_equal(clear(&kit.root, index + 100000, ""), REASON_UNKNOWN_ALARM);
    assert_int_equal(clear(&doctor, index + 100000, ""), REASON_NO_PERMISSION);
    struct alarm by_key;
    assert_int_equal(state_alarm_last(&by_key, kit.txn, k.kind, k.named, k.first), OK);
    assert_int_equal(by_key.index, index);
}

/* --- telling --- */

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

/* --- rows --- */

static void test_pages(void **state)
{
    (void)state;
    static struct alarm rows[3];
    size_t count;
    uint64_t index[5], before = UINT64_MAX;
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(raise_alarm(1, (struct key){ALARM_MODIFIED, 1, 70 + i}, &index[i]), REASON_NONE);
    assert_int_equal(clear(&kit.root, index[3], ""), REASON_NONE);
    assert_int_equal(state_alarms_page(rows, &count, kit.txn, before, 3), OK);
    assert_int_equal(count, 3);
    for (unsigned i = 0; i < 3; i++) assert_int_equal(rows[i].index, index[4 - i]);
    assert_int_equal(rows[1].status, ALARM_CLEARED);
    assert_int_equal(state_alarms_page(rows, &count, kit.txn, rows[2].index, 2), OK);
    assert_int_equal(count, 2);
    assert_int_equal(rows[0].index, index[1]);
    assert_int_equal(state_alarms_page(rows, &count, kit.txn, 0, 3), OK);
    assert_int_equal(count, 0);
    clear_all();
}

static uint64_t damaged_index;
static enum err get_row(void)
{
    struct alarm a;
    return state_alarm_get(&a, kit.txn, damaged_index);
}

static void test_damage(void **state)
{
    (void)state;
    static struct alarm rows[ALARMS_OPEN_MOST];
    struct buffer value = {0};
    uint8_t key[8];
    struct alarm a;
    size_t count;
    assert_int_equal(raise_alarm(1, (struct key){ALARM_MODIFIED, 1, 80}, &damaged_index), REASON_NONE);
    put_be64(key, damaged_index);
    assert_int_equal(table_get(kit.txn, TABLE_ALARM, BYTES(key), &value), OK);
    for (size_t size = 0; size < value.size; size++) {
        assert_int_equal(table_put(kit.txn, TABLE_ALARM, BYTES(key), bytes_of(value.data, size)), OK);
        assert_int_equal(get_row(), ERR_CORRUPT);
    }
    assert_int_equal(state_alarm_last(&a, kit.txn, ALARM_MODIFIED, 1, 80), ERR_CORRUPT);
    assert_int_equal(state_alarms_open(rows, &count, kit.txn, ALARMS_OPEN_MOST), ERR_CORRUPT);
    /* a row that the index of open ones names is gone: damage, not an end */
    assert_int_equal(table_delete(kit.txn, TABLE_ALARM, BYTES(key)), OK);
    assert_int_equal(get_row(), ERR_NOT_FOUND);
    assert_int_equal(state_alarm_last(&a, kit.txn, ALARM_MODIFIED, 1, 80), ERR_CORRUPT);
    assert_int_equal(state_alarms_open(rows, &count, kit.txn, ALARMS_OPEN_MOST), ERR_CORRUPT);
    assert_int_equal(table_put(kit.txn, TABLE_ALARM, BYTES(key), buffer_bytes(&value)), OK);
    assert_int_equal(table_put(kit.txn, TABLE_ALARM_OPEN, BYTES(key), bytes_text("two")), OK);
    assert_int_equal(state_alarms_open(rows, &count, kit.txn, ALARMS_OPEN_MOST), ERR_CORRUPT);
    uint32_t raised;
    assert_int_equal(state_alarms_said(&raised, kit.txn, 1), ERR_CORRUPT);
    assert_int_equal(table_put(kit.txn, TABLE_ALARM_OPEN, BYTES(key), bytes_text("\1\2")), OK);
    assert_int_equal(state_alarms_said(&raised, kit.txn, 1), OK);
    assert_int_equal(raised, 1);
    buffer_free(&value);
    clear_all();
}

static void test_words(void **state)
{
    (void)state;
    enum alarm_kind kind;
    assert_string_equal(alarm_kind_text(ALARM_ROLLED_BACK), "rolled back");
    assert_string_equal(alarm_kind_text((enum alarm_kind)9), "unknown");
    assert_true(strlen(alarm_kind_meaning(ALARM_FORKED)) > 0 && strlen(alarm_kind_meaning((enum alarm_kind)9)) > 0);
#define X(name, number, text, meaning) assert_true(alarm_kind_parse(&kind, text) && kind == name);
    ALARM_LIST(X)
#undef X
    assert_false(alarm_kind_parse(&kind, "moved"));
}

/* Everything above, once more from the leaves alone: the same tables. Runs last. */
static void test_replay(void **state)
{
    (void)state;
    struct kit copy;
    kit_open_empty(&copy, &kit);
    kit_replay_all(&copy, &kit);
    assert_string_equal(kit_difference(&kit, &copy), "");
    kit_close(&copy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_raise),      cmocka_unit_test(test_fields),
        cmocka_unit_test(test_only_what_is_proved_is_forked),
        cmocka_unit_test(test_what_counts), cmocka_unit_test(test_words_of_many),
        cmocka_unit_test(test_bound),      cmocka_unit_test(test_repaired),   cmocka_unit_test(test_proven),
        cmocka_unit_test(test_claims),     cmocka_unit_test(test_told_late),  cmocka_unit_test(test_told_again),
        cmocka_unit_test(test_told_meanwhile), cmocka_unit_test(test_repaired_is_told),
        cmocka_unit_test(test_the_rest), cmocka_unit_test(test_the_rest_moves_nothing),
        cmocka_unit_test(test_the_rest_of_others),
        cmocka_unit_test(test_a_claim_and_nothing_sent),
        cmocka_unit_test(test_told_and_nothing_sent), cmocka_unit_test(test_told_of_itself),
        cmocka_unit_test(test_turns_are_shared),
        cmocka_unit_test(test_told_by_the_liar), cmocka_unit_test(test_pages),  cmocka_unit_test(test_damage),
        cmocka_unit_test(test_words),      cmocka_unit_test(test_replay),
    };
    return cmocka_run_group_tests_name("ledger/alarm", tests, open_kit, close_kit);
}
