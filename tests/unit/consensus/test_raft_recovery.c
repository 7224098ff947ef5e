/* When a node with a damaged log may vote again. */
#include "tests/lib/raft_rig.h"
#include "tests/lib/unit.h"

static struct raft_recovery recovery;

/* Node 2 of five lost the last entry, which it had acknowledged, and which only the leader, node 1, has else. */
static struct rig *lost_entry(void)
{
    struct rig *rig = rig_new(5, 5);
    rig_elect(rig, 1);
    rig_ticks(rig, 4);
    for (raft_id id = 3; id <= 5; id++) rig_isolate(rig, id);
    assert_int_equal(rig_propose(rig, 1, "acknowledged, then lost"), 2);
    rig_run(rig);
    rig_heal(rig);
    struct rig_node *n = &rig->nodes[2];
    assert_int_equal(n->log_count, 2);
    rig_sync(rig, 2);
    rig_crash(rig, 2);
    raft_blob_release(n->log[--n->log_count].blob);
    rig_start_node(rig, 2);
    raft_set_may_vote(n->raft, false);
    recovery = (struct raft_recovery){0};
    return rig;
}

static bool recovers(struct rig *rig, unsigned ticks)
{
    for (unsigned i = 0; i < ticks; i++) {
        if (raft_recovered(&recovery, rig->nodes[2].raft)) return true;
        rig_ticks(rig, 1);
    }
    return false;
}

static void what_a_leader_has_is_awaited(void **state)
{
    (void)state;
    struct rig *rig = lost_entry();
    assert_false(recovers(rig, 40));
    assert_true(recovers(rig, 10));
    assert_string_equal(rig_text(rig, 2, 2), "acknowledged, then lost");
    rig_free(rig);
}

/* It was heard, and may have committed the entry since. */
static void a_leader_that_falls_silent_is_not_counted(void **state)
{
    (void)state;
    struct rig *rig = lost_entry();
    rig_isolate(rig, 2);
    struct raft_message beat = {.type = RAFT_HEARTBEAT, .from = 1, .term = 1, .commit = 1};
    assert_int_equal(rig_step(rig, 2, beat), OK);
    assert_int_equal(rig_status(rig, 2).leader, 1);
    assert_false(recovers(rig, 200));
    assert_int_equal(rig_status(rig, 2).leader, 1);
    rig_free(rig);
}

/* Nor one that does not hear this node, and still counts what it acknowledged. */
static void a_leader_that_does_not_know_is_not_counted(void **state)
{
    (void)state;
    struct rig *rig = lost_entry();
    struct raft_message beat = {.type = RAFT_HEARTBEAT, .from = 1, .term = 1, .commit = 1};
    for (unsigned i = 0; i < 100; i++) {
        assert_int_equal(rig_step(rig, 2, beat), OK);
        rig_tick(rig, 2, 1);
        rig_drop(rig);
        assert_false(raft_recovered(&recovery, rig->nodes[2].raft));
    }
    assert_true(recovers(rig, 100));
    assert_string_equal(rig_text(rig, 2, 2), "acknowledged, then lost");
    rig_free(rig);
}

/* Node 2 counted its copy and the leader's, after a change from four voters to three; with the rest it lost that, too. */
static void what_it_counted_itself_is_awaited(void **state)
{
    (void)state;
    struct rig *rig = rig_new(4, 4);
    rig_elect(rig, 1);
    rig_ticks(rig, 4);
    rig_sync(rig, 2);
    for (raft_id id = 3; id <= 4; id++) rig_isolate(rig, id);
    rig->cut[2][1] = true;
    assert_int_equal(rig_change(rig, 1, 4, -1), OK);
    assert_int_equal(rig_propose(rig, 1, "of two"), 3);
    rig_run(rig);
    assert_int_equal(rig_status(rig, 2).commit, 3);
    assert_int_equal(rig_status(rig, 1).commit, 1);
    struct rig_node *n = &rig->nodes[2];
    rig_crash(rig, 2);
    while (n->log_count > 1) raft_blob_release(n->log[--n->log_count].blob);
    rig_start_node(rig, 2);
    raft_set_may_vote(n->raft, false);
    recovery = (struct raft_recovery){0};
    struct raft_message empty = {
        .type = RAFT_APPEND, .from = 1, .term = 1, .log = {1, 1}, .commit = 1, .durable = 3};
    for (unsigned i = 0; i < 100; i++) {
        assert_int_equal(rig_step(rig, 2, empty), OK);
        rig_tick(rig, 2, 1);
        rig_drop(rig);
        assert_false(raft_recovered(&recovery, n->raft));
    }
    rig_heal(rig);
    assert_true(recovers(rig, 100));
    assert_string_equal(rig_text(rig, 2, 3), "of two");
    rig_free(rig);
}

/* With each silence it begins anew. */
static void a_pause_begins_anew(void **state)
{
    (void)state;
    struct rig *rig = lost_entry();
    assert_false(recovers(rig, 30));
    rig_isolate(rig, 2);
    assert_false(recovers(rig, 30));
    assert_int_equal(rig_status(rig, 2).leader, 1);
    rig_heal(rig);
    assert_false(recovers(rig, 40));
    assert_true(recovers(rig, 10));
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_leader_has_is_awaited),
        cmocka_unit_test(a_leader_that_falls_silent_is_not_counted),
        cmocka_unit_test(a_leader_that_does_not_know_is_not_counted),
        cmocka_unit_test(what_it_counted_itself_is_awaited),
        cmocka_unit_test(a_pause_begins_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
