/* Alarms: who raises and who closes them, each rule with both verdicts; rows and their damage. */
#include "base/check.h"
#include "tests/unit/ledger/bed_alarm.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_raise),
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_only_what_is_proved_is_forked),
        cmocka_unit_test(test_what_counts),
        cmocka_unit_test(test_words_of_many),
        cmocka_unit_test(test_bound),
        cmocka_unit_test(test_repaired),
        cmocka_unit_test(test_proven),
        cmocka_unit_test(test_pages),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_replay),
    };
    return cmocka_run_group_tests_name("ledger/alarm: raised", tests, open_kit, close_kit);
}
