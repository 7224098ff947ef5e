/* Changes of members: learners, single steps, and traps 5, 6, 22 and 23. */
#include "tests/lib/raft_rig.h"
#include "tests/lib/unit.h"

static void learner_then_voter_then_gone(void **state)
{
    (void)state;
    struct rig *rig = rig_new(3, 4);
    rig_elect(rig, 1);
    for (int i = 0; i < 5; i++) rig_propose(rig, 1, "before");
    rig_run(rig);
    assert_int_equal(rig_change(rig, 1, 4, 1), ERR_INVALID); /* a newcomer learns first */
    assert_int_equal(rig_change(rig, 1, 4, 0), OK);
    rig_run(rig);
    rig_ticks(rig, 6);
    assert_int_equal(rig_status(rig, 4).persisted, rig_status(rig, 1).last.index);
    assert_string_equal(rig_text(rig, 4, 2), "before");
    /* A learner counts in no majority. */
    rig_isolate(rig, 2);
    rig_isolate(rig, 3);
    raft_index index = rig_propose(rig, 1, "learner only");
    rig_run(rig);
    assert_int_equal(rig_status(rig, 4).persisted, index);
    assert_true(rig_status(rig, 1).commit < index);
    rig_tick(rig, 4, 100);
    assert_int_equal(rig_status(rig, 4).elections, 0);
    rig_heal(rig);
    rig_ticks(rig, 6);
    assert_int_equal(rig_change(rig, 1, 4, 1), OK);
    rig_ticks(rig, 6);
    assert_int_equal(raft_config_voters(raft_config_latest(rig->nodes[2].raft, NULL)), 4);
    rig_elect(rig, 4);
    assert_int_equal(rig_change(rig, 4, 1, -1), OK);
    rig_ticks(rig, 6);
    assert_null(raft_config_find(raft_config_latest(rig->nodes[4].raft, NULL), 1));
    assert_int_equal(rig_status(rig, 4).commit, rig_status(rig, 4).last.index);
    rig_free(rig);
}

/* 5. A configuration whose entry is truncated is not in force any more. */
static void trap_5_configuration_is_rolled_back(void **state)
{
    (void)state;
    struct rig *rig = rig_new(3, 4);
    rig_elect(rig, 1);
    rig_isolate(rig, 1);
    assert_int_equal(rig_change(rig, 1, 4, 0), OK);
    rig_run(rig);
    assert_non_null(raft_config_find(raft_config_latest(rig->nodes[1].raft, NULL), 4));
    rig_elect(rig, 2);
    rig_propose(rig, 2, "other");
    rig_run(rig);
    rig_heal(rig);
    rig_ticks(rig, 6);
    raft_index at;
    assert_null(raft_config_find(raft_config_latest(rig->nodes[1].raft, &at), 4));
    assert_int_equal(at, 0);
    assert_int_equal(rig_status(rig, 1).last.index, rig_status(rig, 2).last.index);
    rig_free(rig);
}

/* 5. Also when all before it was compacted: the base configuration stays. */
static void trap_5_roll_back_after_compaction(void **state)
{
    (void)state;
    struct rig *rig = rig_new(3, 4);
    rig_elect(rig, 1);
    assert_int_equal(rig_change(rig, 1, 4, 0), OK);
    rig_ticks(rig, 4);
    for (int i = 0; i < 5; i++) rig_propose(rig, 1, "x");
    rig_ticks(rig, 4);
    rig_compact(rig, 1, rig_status(rig, 1).commit);
    rig_isolate(rig, 1);
    assert_int_equal(rig_change(rig, 1, 4, 1), OK);
    rig_run(rig);
    rig_crash(rig, 1); /* the roll-back must work from what the disk says, too */
    rig_start_node(rig, 1);
    assert_true(raft_config_find(raft_config_latest(rig->nodes[1].raft, NULL), 4)->voter);
    rig_elect(rig, 2);
    rig_propose(rig, 2, "other");
    rig_run(rig);
    rig_heal(rig);
    rig_ticks(rig, 8);
    const struct raft_member *m = raft_config_find(raft_config_latest(rig->nodes[1].raft, NULL), 4);
    assert_non_null(m);
    assert_false(m->voter);
    rig_free(rig);
}

/* 6. One change at a time, and none before an entry of the leader's own term is committed. */
static void trap_6_one_change_at_a_time(void **state)
{
    (void)state;
    struct rig *rig = rig_new(4, 6);
    rig->votes_only = true;
    rig_elect(rig, 1);
    assert_int_equal(rig_change(rig, 1, 5, 0), ERR_NOT_READY); /* its no-op is nowhere yet */
    rig->votes_only = false;
    rig_ticks(rig, 4);
    assert_int_equal(rig_change(rig, 1, 5, 0), OK);
    assert_int_equal(rig_change(rig, 1, 6, 0), ERR_BUSY);
    rig_run(rig);
    assert_int_equal(rig_change(rig, 1, 6, 0), OK);
    rig_run(rig);
    /* Two steps in one entry. */
    struct raft_config config = *raft_config_latest(rig->nodes[1].raft, NULL);
    raft_config_remove(&config, 2);
    raft_config_remove(&config, 3);
    raft_index index;
    assert_int_equal(raft_propose_config(rig->nodes[1].raft, &index, &config, (struct bytes){0}), ERR_INVALID);
    assert_int_equal(rig_change(rig, 2, 3, -1), ERR_NOT_LEADER);
    rig_free(rig);
}

/* 6. Ongaro's example: four nodes, two leaders that each change the members without the other. */
static void trap_6_changes_of_two_leaders(void **state)
{
    (void)state;
    struct rig *rig = rig_new(4, 4);
    rig_elect(rig, 1);
    rig_isolate(rig, 1);
    assert_int_equal(rig_change(rig, 1, 4, -1), OK); /* {1, 2, 3}, on node 1 only */
    rig_crash(rig, 1);
    rig->votes_only = true;
    rig_elect(rig, 2);
    assert_int_equal(rig_change(rig, 2, 1, -1), ERR_NOT_READY); /* {2, 3, 4} could commit with 2 and 4 alone */
    rig->votes_only = false;
    rig_ticks(rig, 4);
    assert_int_equal(rig_change(rig, 2, 1, -1), OK); /* now a majority of {1, 2, 3, 4} has node 2's term */
    rig_ticks(rig, 4);
    /* Node 1 with its own {1, 2, 3} finds nobody to vote for it. */
    rig_crash(rig, 2);
    rig_heal(rig);
    rig_start_node(rig, 1);
    for (int i = 0; i < 100; i++) {
        rig_tick(rig, 1, 1);
        raft_set_may_lead(rig->nodes[3].raft, false);
        rig_tick(rig, 3, 1);
        rig_run(rig);
        assert_int_not_equal(rig_status(rig, 1).role, RAFT_LEADER);
    }
    rig_free(rig);
}

/* A far learner is no help in a majority. */
static void promotion_waits_for_the_learner(void **state)
{
    (void)state;
    struct rig *rig = rig_new(1, 2);
    rig_elect(rig, 1);
    rig_isolate(rig, 2);
    assert_int_equal(rig_change(rig, 1, 2, 0), OK);
    rig_ticks(rig, 3);
    assert_int_equal(rig_change(rig, 1, 2, 1), ERR_NOT_READY);
    rig_heal(rig);
    rig_ticks(rig, 6);
    assert_int_equal(rig_change(rig, 1, 2, 1), OK);
    rig_ticks(rig, 6);
    assert_int_equal(rig_status(rig, 2).commit, rig_status(rig, 1).last.index);
    assert_int_equal(rig_change(rig, 1, 2, -1), OK);
    rig_ticks(rig, 6);
    struct raft_config none = *raft_config_latest(rig->nodes[1].raft, NULL);
    assert_int_equal(none.count, 1);
    assert_int_equal(rig_change(rig, 1, 1, -1), ERR_INVALID); /* nobody would be left */
    assert_int_equal(rig_change(rig, 1, 1, 0), ERR_INVALID);
    rig_free(rig);
}

/* 22. Who was removed but still runs starts elections in vain, and disturbs nobody. */
static void trap_22_removed_member_does_not_disturb(void **state)
{
    (void)state;
    struct rig *rig = rig_new(4, 4);
    rig_elect(rig, 1);
    rig_ticks(rig, 4);
    rig_isolate(rig, 4); /* it never hears of its removal */
    assert_int_equal(rig_change(rig, 1, 4, -1), OK);
    rig_ticks(rig, 4);
    rig_heal(rig);
    raft_term term = rig_status(rig, 1).term;
    rig_ticks(rig, 200);
    assert_true(rig_status(rig, 4).elections > 3);
    assert_int_equal(rig_status(rig, 1).role, RAFT_LEADER);
    assert_int_equal(rig_status(rig, 1).term, term);
    assert_int_equal(rig_status(rig, 4).term, term);
    /* Nor would it with real votes. */
    for (raft_id id = 1; id <= 3; id++) {
        struct raft_message ask = {.type = RAFT_VOTE, .from = 4, .term = term + 1, .log = {100, term}};
        rig_step(rig, id, ask);
        assert_int_equal(rig_status(rig, id).term, term);
    }
    rig_free(rig);
}

/* 23. A leader that removes itself does not count itself, leads until it is committed, then hands over. */
static void trap_23_leader_removes_itself(void **state)
{
    (void)state;
    struct rig *rig = rig_new(3, 3);
    rig_elect(rig, 1);
    rig_ticks(rig, 4);
    rig_isolate(rig, 3);
    assert_int_equal(rig_change(rig, 1, 1, -1), OK);
    rig_run(rig);
    raft_index index = rig_status(rig, 1).last.index;
    assert_true(rig_status(rig, 1).commit < index); /* durable on 1 and 2, but 1 does not count: one of {2, 3} */
    assert_int_equal(rig_status(rig, 1).role, RAFT_LEADER);
    rig_forget(rig);
    rig_heal(rig);
    rig_ticks(rig, 4);
    assert_int_equal(rig_status(rig, 1).role, RAFT_FOLLOWER);
    assert_non_null(rig_sent(rig, 1, 0, RAFT_TIMEOUT_NOW));
    raft_id leader = rig_status(rig, 2).leader;
    assert_true(leader == 2 || leader == 3);
    rig_ticks(rig, 4);
    assert_true(rig_status(rig, leader).commit > index);
    rig_ticks(rig, 100);
    assert_int_equal(rig_status(rig, 1).elections, 1); /* its first one */
    rig_free(rig);
}

/* One that may be the only holder of its own removal must still be able to commit it. */
static void uncommitted_removal_is_finished_by_the_removed(void **state)
{
    (void)state;
    struct rig *rig = rig_new(2, 2);
    rig_elect(rig, 1);
    rig_ticks(rig, 4);
    rig_isolate(rig, 1);
    assert_int_equal(rig_change(rig, 1, 1, -1), OK);
    raft_index index = rig_status(rig, 1).last.index;
    rig_drop(rig);
    rig_sync(rig, 1);
    rig_crash(rig, 1);
    rig_heal(rig);
    rig_start_node(rig, 1);
    rig_ticks(rig, 150);
    assert_int_equal(rig_status(rig, 2).role, RAFT_LEADER);
    assert_true(rig_status(rig, 2).commit > index);
    assert_int_equal(raft_config_latest(rig->nodes[2].raft, NULL)->count, 1);
    rig_free(rig);
}

/* A follower takes no configuration that is not one step from the one before, whoever sends it. */
static void follower_refuses_a_leap_of_members(void **state)
{
    (void)state;
    struct rig *rig = rig_new(3, 3);
    struct raft_config config = {0};
    raft_config_set(&config, 2, true);
    struct buffer encoded = {0};
    raft_config_encode(&encoded, &config, (struct bytes){0});
    struct raft_blob *blob = raft_blob_copy(buffer_bytes(&encoded));
    struct raft_entry e = {.index = 1, .term = 1, .type = RAFT_ENTRY_CONFIG, .blob = blob};
    struct raft_message m = {.type = RAFT_APPEND, .from = 2, .term = 1, .entries = &e, .entry_count = 1};
    assert_int_equal(rig_step(rig, 1, m), ERR_INVALID);
    assert_int_equal(rig_status(rig, 1).last.index, 0);
    raft_blob_release(blob);
    blob = raft_blob_copy(bytes_text("no members at all"));
    e.blob = blob;
    assert_int_equal(rig_step(rig, 1, m), ERR_INVALID);
    assert_int_equal(rig_status(rig, 1).checked, 0);
    raft_blob_release(blob);
    buffer_free(&encoded);
    rig_free(rig);
}

static void member_lists(void **state)
{
    (void)state;
    struct raft_config c = {0}, back;
    assert_false(raft_config_set(&c, 0, true));
    for (raft_id id = LIMIT_NODES; id > 0; id--) assert_true(raft_config_set(&c, id, id % 2));
    assert_false(raft_config_set(&c, 99, true));
    assert_true(raft_config_set(&c, 3, false)); /* full, but known */
    assert_false(raft_config_remove(&c, 99));
    assert_int_equal(raft_config_voters(&c), 7);
    for (unsigned i = 1; i < c.count; i++) assert_true(c.members[i - 1].id < c.members[i].id);
    struct buffer out = {0};
    struct bytes context;
    raft_config_encode(&out, &c, bytes_text("leaf"));
    assert_int_equal(raft_config_decode(&back, &context, buffer_bytes(&out)), OK);
    assert_int_equal(c.count, back.count);
    for (unsigned i = 0; i < c.count; i++)
        assert_true(c.members[i].id == back.members[i].id && c.members[i].voter == back.members[i].voter);
    assert_true(bytes_equal(context, bytes_text("leaf")));
    for (size_t cut = 0; cut < out.size; cut++) {
        assert_int_not_equal(raft_config_decode(&back, NULL, bytes_of(out.data, cut)), OK);
        assert_int_equal(back.count, 0);
    }
    buffer_clear(&out);
    struct raft_config learners = {0};
    raft_config_set(&learners, 1, false);
    raft_config_encode(&out, &learners, (struct bytes){0});
    assert_int_equal(raft_config_decode(&back, NULL, buffer_bytes(&out)), ERR_MALFORMED);
    buffer_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(learner_then_voter_then_gone),
        cmocka_unit_test(trap_5_configuration_is_rolled_back),
        cmocka_unit_test(trap_5_roll_back_after_compaction),
        cmocka_unit_test(trap_6_one_change_at_a_time),
        cmocka_unit_test(trap_6_changes_of_two_leaders),
        cmocka_unit_test(promotion_waits_for_the_learner),
        cmocka_unit_test(trap_22_removed_member_does_not_disturb),
        cmocka_unit_test(trap_23_leader_removes_itself),
        cmocka_unit_test(uncommitted_removal_is_finished_by_the_removed),
        cmocka_unit_test(follower_refuses_a_leap_of_members),
        cmocka_unit_test(member_lists),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
