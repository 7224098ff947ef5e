/* To whom a leader hands over when nobody was named: it does not know who may lead, or vote. The rig's election
 * time-out is ten ticks, so each heir's turn is two. */
#include "tests/lib/raft_rig.h"
#include "tests/lib/unit.h"

static void check_leader(struct rig *rig, raft_id id, raft_term term)
{
    assert_int_equal(rig_status(rig, id).role, RAFT_LEADER);
    assert_int_equal(rig_status(rig, id).term, term);
    assert_int_not_equal(rig_propose(rig, id, "goes on"), 0);
    rig_run(rig);
    for (raft_id node = 1; node <= 3; node++) assert_int_equal(rig_status(rig, node).leader, id);
}

static struct rig *leader_hands_over(raft_id target)
{
    struct rig *rig = rig_new(3, 3);
    rig_elect(rig, 1);
    rig_ticks(rig, 2);
    rig_forget(rig);
    assert_int_equal(raft_transfer(rig->nodes[1].raft, target), OK);
    return rig;
}

static void who_may_not_lead_is_passed_over(void **state)
{
    (void)state;
    for (raft_id unfit = 2; unfit <= 3; unfit++) {
        struct rig *rig = leader_hands_over(0);
        raft_set_may_lead(rig->nodes[unfit].raft, false);
        rig_run(rig);
        rig_ticks(rig, 4);
        check_leader(rig, unfit == 2 ? 3 : 2, 2);
        rig_free(rig);
    }
}

/* In five: the last two turns' heirs are as good as the first. */
static void who_may_not_vote_is_passed_over(void **state)
{
    (void)state;
    for (raft_id fit = 2; fit <= 5; fit++) {
        struct rig *rig = rig_new(5, 5);
        rig_elect(rig, 1);
        for (raft_id id = 2; id <= 5; id++)
            if (id == 2 || id == 3) raft_set_may_vote(rig->nodes[id].raft, id == fit);
            else raft_set_may_lead(rig->nodes[id].raft, id == fit);
        assert_int_equal(raft_transfer(rig->nodes[1].raft, 0), OK);
        rig_run(rig);
        rig_ticks(rig, 8);
        assert_int_equal(rig_status(rig, fit).role, RAFT_LEADER);
        assert_int_equal(rig_status(rig, fit).term, 2);
        rig_free(rig);
    }
}

static void with_no_heir_the_leader_goes_on(void **state)
{
    (void)state;
    struct rig *rig = leader_hands_over(0);
    for (raft_id id = 2; id <= 3; id++) raft_set_may_lead(rig->nodes[id].raft, false);
    for (unsigned i = 1; i < 10; i++) {
        rig_ticks(rig, 1);
        assert_int_not_equal(rig_status(rig, 1).transfer, 0);
        assert_int_equal(rig_propose(rig, 1, "refused meanwhile"), 0);
    }
    for (raft_id id = 2; id <= 3; id++) assert_non_null(rig_sent(rig, 1, id, RAFT_TIMEOUT_NOW));
    rig_ticks(rig, 1);
    assert_int_equal(rig_status(rig, 1).transfer, 0);
    check_leader(rig, 1, 1);
    rig_forget(rig);
    rig_ticks(rig, 20);
    assert_null(rig_sent(rig, 1, 0, RAFT_TIMEOUT_NOW));
    rig_free(rig);
}

/* The heir's disk is late with its vote for itself, so another was asked, and leads: what the first asks for then is
 * of the same term, where the votes are given. */
static void who_campaigns_late_disturbs_nobody(void **state)
{
    (void)state;
    struct rig *rig = leader_hands_over(0);
    raft_id late = rig_status(rig, 1).transfer, heir = late == 2 ? 3 : 2;
    rig_disk(rig, late, true);
    rig_run(rig);
    assert_int_equal(rig_status(rig, late).role, RAFT_CANDIDATE);
    rig->cut[heir][late] = true;
    rig_ticks(rig, 4);
    assert_int_equal(rig_status(rig, heir).role, RAFT_LEADER);
    assert_int_equal(rig_status(rig, late).role, RAFT_CANDIDATE);
    rig_disk(rig, late, false);
    rig_run(rig);
    assert_non_null(rig_sent(rig, late, heir, RAFT_VOTE));
    rig_heal(rig);
    rig_ticks(rig, 2);
    check_leader(rig, heir, 2);
    rig_free(rig);
}

/* What the former leader asked of it arrives only when there is another. */
static void who_is_asked_late_starts_no_election(void **state)
{
    (void)state;
    struct rig *rig = leader_hands_over(0);
    raft_id late = rig_status(rig, 1).transfer, heir = late == 2 ? 3 : 2;
    rig_take(rig, 1);
    rig_drop(rig);
    rig->cut[1][late] = true;
    rig_ticks(rig, 4);
    check_leader(rig, heir, 2);
    struct raft_message ask = {.type = RAFT_TIMEOUT_NOW, .from = 1, .term = 1};
    assert_int_equal(rig_step(rig, late, ask), OK);
    rig_run(rig);
    check_leader(rig, heir, 2);
    rig_free(rig);
}

/* What logs say of it: handed over, or for how long no leader was heard. */
static void it_is_known_why_one_stands(void **state)
{
    (void)state;
    struct rig *rig = leader_hands_over(2);
    assert_false(rig_status(rig, 1).asked);
    rig_run(rig);
    check_leader(rig, 2, 2);
    assert_true(rig_status(rig, 2).asked);
    assert_int_equal(rig_status(rig, 2).unheard_ticks, 0);
    rig_ticks(rig, 30);
    assert_true(rig_status(rig, 1).unheard_ticks < rig->options.election_ticks);
    rig_isolate(rig, 2);
    while (rig_status(rig, 1).role != RAFT_LEADER && rig_status(rig, 3).role != RAFT_LEADER) {
        raft_id stands = rig_status(rig, 1).role == RAFT_FOLLOWER ? 3 : 1;
        assert_true(rig_status(rig, stands).role == RAFT_FOLLOWER ||
                    rig_status(rig, stands).unheard_ticks >= rig->options.election_ticks);
        rig_ticks(rig, 1);
    }
    raft_id leader = rig_status(rig, 1).role == RAFT_LEADER ? 1 : 3;
    assert_false(rig_status(rig, leader).asked);
    assert_true(rig_status(rig, 2).unheard_ticks < 2 * rig->options.election_ticks); /* it led until then */
    rig_free(rig);
}

static void who_was_behind_gets_another_turn(void **state)
{
    (void)state;
    struct rig *rig = rig_new(3, 3);
    rig_elect(rig, 1);
    raft_set_may_lead(rig->nodes[3].raft, false);
    rig_disk(rig, 2, true);
    raft_index index = rig_propose(rig, 1, "not durable at 2");
    rig_run(rig);
    rig_forget(rig);
    assert_int_equal(raft_transfer(rig->nodes[1].raft, 0), OK);
    rig_ticks(rig, 4); /* the turns of both */
    assert_null(rig_sent(rig, 1, 2, RAFT_TIMEOUT_NOW));
    rig_disk(rig, 2, false);
    rig_ticks(rig, 4);
    check_leader(rig, 2, 2);
    assert_true(rig_status(rig, 2).commit > index);
    rig_free(rig);
}

static void who_was_named_has_all_turns(void **state)
{
    (void)state;
    struct rig *rig = leader_hands_over(3);
    raft_set_may_lead(rig->nodes[3].raft, false);
    rig_ticks(rig, 9);
    assert_int_equal(rig_status(rig, 1).transfer, 3);
    assert_null(rig_sent(rig, 1, 2, RAFT_TIMEOUT_NOW));
    rig_ticks(rig, 1);
    check_leader(rig, 1, 1);
    rig_free(rig);
}

/* A leader that removed itself, of four; 0: none of the others may lead. */
static struct rig *removed_leader(raft_id fit)
{
    struct rig *rig = rig_new(4, 4);
    rig_elect(rig, 1);
    rig_ticks(rig, 2);
    for (raft_id id = 2; id <= 4; id++) raft_set_may_lead(rig->nodes[id].raft, id == fit);
    assert_int_equal(rig_change(rig, 1, 1, -1), OK);
    raft_index index = rig_status(rig, 1).last.index;
    rig_run(rig);
    assert_int_equal(rig_status(rig, 1).commit, index);
    return rig;
}

static void who_is_removed_passes_over_who_may_not_lead(void **state)
{
    (void)state;
    for (raft_id fit = 2; fit <= 4; fit++) {
        struct rig *rig = removed_leader(fit);
        rig_ticks(rig, 6);
        assert_int_equal(rig_status(rig, fit).role, RAFT_LEADER);
        assert_int_equal(rig_status(rig, fit).term, 2);
        assert_int_equal(rig_status(rig, 1).role, RAFT_FOLLOWER);
        rig_free(rig);
    }
}

static void who_is_removed_and_finds_no_heir_steps_down(void **state)
{
    (void)state;
    struct rig *rig = removed_leader(0);
    rig_ticks(rig, 9);
    for (raft_id id = 2; id <= 4; id++) assert_non_null(rig_sent(rig, 1, id, RAFT_TIMEOUT_NOW));
    rig_ticks(rig, 1);
    assert_int_equal(rig_status(rig, 1).role, RAFT_FOLLOWER);
    raft_set_may_lead(rig->nodes[3].raft, true);
    rig_ticks(rig, 40);
    assert_int_equal(rig_status(rig, 3).role, RAFT_LEADER);
    assert_int_equal(rig_status(rig, 1).elections, 1); /* its first one */
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_may_not_lead_is_passed_over),
        cmocka_unit_test(who_may_not_vote_is_passed_over),
        cmocka_unit_test(with_no_heir_the_leader_goes_on),
        cmocka_unit_test(who_campaigns_late_disturbs_nobody),
        cmocka_unit_test(who_is_asked_late_starts_no_election),
        cmocka_unit_test(it_is_known_why_one_stands),
        cmocka_unit_test(who_was_behind_gets_another_turn),
        cmocka_unit_test(who_was_named_has_all_turns),
        cmocka_unit_test(who_is_removed_passes_over_who_may_not_lead),
        cmocka_unit_test(who_is_removed_and_finds_no_heir_steps_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
