#include "tests/unit/ledger/bed_alarm.h"

#include "base/check.h"

struct kit kit;
struct kit_actor doctor;

int open_kit(void **state)
{
    (void)state;
    kit_open(&kit, 4, 1, NONE);
    doctor = kit_add_user(&kit, 1, "doctor", "Mercy", "Dr. House");
    return 0;
}

int close_kit(void **state)
{
    (void)state;
    kit_close(&kit);
    return 0;
}

enum reason act(const struct kit_actor *who, const struct arguments *args, struct bytes content, uint64_t *index)
{
    const struct ledger_result *r = kit_do(&kit, who, args, content);
    assert_int_equal(r->code, OK);
    assert_int_equal(r->decision, r->reason ? DECISION_DENIED : DECISION_APPROVED);
    assert_int_equal(kit.results.alarms_changed, r->reason == REASON_NONE);
    if (index) *index = r->leaf_index;
    return (enum reason)r->reason;
}

enum reason say(unsigned raiser, struct key k, uint64_t last, enum alarm_status status, uint64_t *index)
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

enum reason raise_alarm(unsigned raiser, struct key k, uint64_t *index)
{
    return say(raiser, k, k.first, ALARM_OPEN, index);
}

enum reason repaired(unsigned raiser, struct key k) { return say(raiser, k, k.first, ALARM_REPAIRED, NULL); }

enum reason clear(const struct kit_actor *who, uint64_t index, const char *note)
{
    struct arguments a = {.action = ACTION_ALARM_CLEAR, .alarm_clear = {index}};
    return act(who, &a, bytes_text(note), NULL);
}

struct alarm row(uint64_t index)
{
    struct alarm a;
    assert_int_equal(state_alarm_get(&a, kit.txn, index), OK);
    return a;
}

size_t open_rows(struct alarm rows[static ALARMS_OPEN_MOST])
{
    size_t count;
    assert_int_equal(state_alarms_open(rows, &count, kit.txn, ALARMS_OPEN_MOST), OK);
    return count;
}

void clear_all(void)
{
    static struct alarm rows[ALARMS_OPEN_MOST];
    size_t count = open_rows(rows);
    for (size_t i = 0; i < count; i++) assert_int_equal(clear(&kit.root, rows[i].index, ""), REASON_NONE);
    assert_int_equal(open_rows(rows), 0);
}

void test_replay(void **state)
{
    (void)state;
    struct kit copy;
    kit_open_empty(&copy, &kit);
    kit_replay_all(&copy, &kit);
    assert_string_equal(kit_difference(&kit, &copy), "");
    kit_close(&copy);
}
