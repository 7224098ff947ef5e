/* What became of an operation, also when the row against duplicates is gone. */
#include "tests/lib/ledger_kit.h"
#include "tests/lib/samples.h"
#include "tests/lib/unit.h"

struct asked {
    uint64_t issued_at_ms, index;
    struct id request_id;
    uint8_t decision;
};

static enum err lookup(struct kit *kit, const struct kit_actor *who, const struct asked *asked, struct asked *found)
{
    uint16_t reason;
    return ledger_lookup(&found->index, &found->decision, &reason, kit->txn, ACTOR_USER, &who->actor.id,
                         asked->issued_at_ms, &asked->request_id);
}

static struct asked add_event(struct kit *kit, const struct kit_actor *who)
{
    struct arguments a = {.action = ACTION_EVENT_ADD,
                          .event_add = {.patient = sample_id(9), .what = bytes_text("bill.print")}};
    struct asked asked = {.issued_at_ms = kit->now};
    const struct ledger_result *r = kit_do(kit, who, &a, (struct bytes){0});
    assert_int_equal(r->code, OK);
    asked.index = r->leaf_index;
    asked.decision = r->decision;
    asked.request_id = sample_id(kit->ids);
    return asked;
}

static void test_long_ago(void **state)
{
    (void)state;
    struct kit kit;
    struct asked all[20], found;
    kit_open(&kit, 4, 1, (struct bytes){0});
    kit_add_user(&kit, 9, "patient", "Mercy", "Pat");
    struct kit_actor doctor = kit_add_user(&kit, 7, "doctor", "Mercy", "Doc");
    struct kit_actor other = kit_add_user(&kit, 8, "doctor", "Hope", "Other"); /* is denied */
    for (int i = 0; i < 20; i++) {
        all[i] = add_event(&kit, i % 5 == 4 ? &other : &doctor);
        kit.now += 40000; /* so that rows expire on the way */
    }
    for (int i = 0; i < 20; i++) {
        const struct kit_actor *who = i % 5 == 4 ? &other : &doctor;
        assert_int_equal(lookup(&kit, who, &all[i], &found), OK);
        assert_int_equal(found.index, all[i].index);
        assert_int_equal(found.decision, i % 5 == 4 ? DECISION_DENIED : DECISION_APPROVED);
        /* by nobody else, at no other time, under no other id */
        assert_int_equal(lookup(&kit, i % 5 == 4 ? &doctor : &other, &all[i], &found), ERR_NOT_FOUND);
        struct asked off = all[i];
        off.issued_at_ms++;
        assert_int_equal(lookup(&kit, who, &off, &found), ERR_NOT_FOUND);
        off = all[i];
        off.request_id = sample_id(kit.ids + 1);
        assert_int_equal(lookup(&kit, who, &off, &found), ERR_NOT_FOUND);
    }
    struct kit_actor nobody = kit_user(99);
    assert_int_equal(lookup(&kit, &nobody, &all[0], &found), ERR_NOT_FOUND);
    kit_close(&kit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_long_ago)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
