/* A node whose disk was set back may have voted, in a term above the one in which it follows now. Where that vote still
 * is under way, what is committed by this node's copy could be undone by it. */
#include "tests/lib/raft_rig.h"
#include "tests/lib/unit.h"

static void set_back_to_first_term(struct rig *rig, raft_id id)
{
    rig_crash(rig, id);
    rig->nodes[id].term = rig->nodes[id].vote = 1;
    rig_start_node(rig, id);
    raft_set_may_vote(rig->nodes[id].raft, false);
    raft_set_may_acknowledge(rig->nodes[id].raft, false);
}

/* Leader 1 is to hand over to 3 and doesn't hear that 3 stands for election; 2 votes for it, which is still under way,
 * and forgets that. */
static struct rig *vote_under_way(void)
{
    struct rig *rig = rig_new(3, 3);
    rig_elect(rig, 1);
    rig->cut[3][1] = rig->cut[2][3] = true;
    assert_int_equal(rig_step(rig, 3, (struct raft_message){.type = RAFT_TIMEOUT_NOW, .from = 1, .term = 1}), OK);
    rig_run(rig);
    assert_true(rig_sent(rig, 2, 3, RAFT_VOTE_ANSWER)->granted);
    rig_isolate(rig, 3);
    set_back_to_first_term(rig, 2);
    return rig;
}

static void vote_arrives(struct rig *rig)
{
    struct raft_message vote = {.type = RAFT_VOTE_ANSWER, .from = 2, .term = 2, .granted = true};
    assert_int_equal(rig_step(rig, 3, vote), OK);
    assert_int_equal(rig_status(rig, 3).role, RAFT_LEADER);
}

/* Neither by the leader's counting, nor by its own (test_raft_two.c). */
static void nothing_is_committed_that_a_forgotten_vote_undoes(void **state)
{
    (void)state;
    struct rig *rig = vote_under_way();
    raft_index index = rig_propose(rig, 1, "on two of three disks");
    rig_run(rig);
    rig_ticks(rig, 4);
    assert_string_equal(rig_text(rig, 2, index), "on two of three disks");
    assert_int_equal(rig_status(rig, 1).commit, index - 1);
    assert_int_equal(rig_status(rig, 2).commit, index - 1);
    vote_arrives(rig);
    rig_heal(rig);
    rig_ticks(rig, 4);
    assert_int_equal(rig_status(rig, 1).leader, 3);
    assert_int_equal(rig_status(rig, 1).commit, index); /* the new leader's first entry */
    assert_string_equal(rig_text(rig, 1, index), "");
    rig_free(rig);
}

static void it_counts_again_when_it_may(void **state)
{
    (void)state;
    struct rig *rig = vote_under_way();
    raft_index index = rig_propose(rig, 1, "on two of three disks");
    rig_ticks(rig, 4);
    assert_int_equal(rig_status(rig, 1).commit, index - 1);
    raft_set_may_acknowledge(rig->nodes[2].raft, true);
    rig_ticks(rig, 4);
    assert_int_equal(rig_status(rig, 1).commit, index);
    rig_free(rig);
}

/* Else its leader's window of what is under way to it would never move. */
static void it_acknowledges_what_others_committed(void **state)
{
    (void)state;
    struct rig *rig = rig_new(5, 5);
    struct raft_peer peer;
    rig_elect(rig, 1);
    set_back_to_first_term(rig, 2);
    rig_isolate(rig, 4);
    rig_isolate(rig, 5);
    raft_index index = rig_propose(rig, 1, "on three of five disks");
    rig_ticks(rig, 4);
    assert_int_equal(rig_status(rig, 2).persisted, index);
    assert_int_equal(raft_peer_get(rig->nodes[1].raft, 2, &peer), OK);
    assert_int_equal(peer.match, index - 1);
    assert_int_equal(rig_status(rig, 1).commit, index - 1);
    rig_heal(rig);
    rig_ticks(rig, 6);
    assert_int_equal(rig_status(rig, 1).commit, index);
    assert_int_equal(raft_peer_get(rig->nodes[1].raft, 2, &peer), OK);
    assert_int_equal(peer.match, index);
    rig_free(rig);
}

/* It may lead already when somebody tells it that its disk was set back. Till another one does, the others' copies count,
 * and not by their counting, either. */
static void who_leads_meanwhile_counts_the_others_only(void **state)
{
    (void)state;
    struct rig *rig = rig_new(3, 3);
    rig_elect(rig, 1);
    rig->cut[1][2] = rig->cut[1][3] = true;
    raft_index index = rig_propose(rig, 1, "of whoever forgot");
    rig_run(rig);
    assert_int_equal(rig_status(rig, 1).persisted, index);
    raft_set_may_vote(rig->nodes[1].raft, false);
    raft_set_may_acknowledge(rig->nodes[1].raft, false);
    struct raft_message copy = {
        .type = RAFT_APPEND_ANSWER, .from = 2, .term = 1, .match = index, .checked = index};
    assert_int_equal(rig_step(rig, 1, copy), OK);
    assert_int_equal(rig_status(rig, 1).commit, index - 1);
    rig_forget(rig);
    rig_tick(rig, 1, 2);
    assert_int_equal(rig_sent(rig, 1, 2, RAFT_HEARTBEAT)->durable, index - 1);
    copy.from = 3;
    assert_int_equal(rig_step(rig, 1, copy), OK);
    assert_int_equal(rig_status(rig, 1).commit, index);
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_committed_that_a_forgotten_vote_undoes),
        cmocka_unit_test(it_counts_again_when_it_may),
        cmocka_unit_test(it_acknowledges_what_others_committed),
        cmocka_unit_test(who_leads_meanwhile_counts_the_others_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
