/* The traps about disks that are slow, full or forgetful, and about memory that must stay
 * bounded, one scripted test each. (11, 20 and 21 belong to the driver and the log; here is
 * what the core owes them. The others: test_raft_traps.c.) */
#include "tests/lib/raft_rig.h"
#include "tests/lib/unit.h"

/* 11. After a failed write the node says nothing any more. */
static void trap_11_halted_core_is_silent(void **state)
{
    (void)state;
    struct rig *rig = rig_new(3, 3);
    rig_elect(rig, 1);
    rig_disk(rig, 1, true);
    rig_propose(rig, 1, "the write of this fails");
    rig_drop(rig);
    raft_halt(rig->nodes[1].raft);
    rig_forget(rig);
    rig_tick(rig, 1, 50);
    struct raft_message m = {.type = RAFT_HEARTBEAT, .from = 2, .term = 5};
    assert_int_equal(rig_step(rig, 1, m), ERR_STOPPED);
    assert_int_equal(rig_propose(rig, 1, "no"), 0);
    raft_set_may_lead(rig->nodes[1].raft, false);
    assert_int_equal(raft_transfer(rig->nodes[1].raft, 2), ERR_STOPPED);
    assert_int_equal(rig->seen_count, 0);
    assert_false(raft_take(rig->nodes[1].raft)->any);
    rig_free(rig);
}

/* 12. Neither a vote nor a term is told before it is durable. */
static void trap_12_vote_and_term_are_durable_first(void **state)
{
    (void)state;
    struct rig *rig = rig_new(3, 3);
    rig_disk(rig, 3, true);
    struct raft_message ask = {.type = RAFT_VOTE, .from = 1, .term = 4};
    assert_int_equal(rig_step(rig, 3, ask), OK);
    struct raft_message beat = {.type = RAFT_HEARTBEAT, .from = 1, .term = 4};
    assert_int_equal(rig_step(rig, 3, beat), OK);
    struct raft_message pre = {.type = RAFT_PREVOTE, .from = 2, .term = 1, .proposed = 2};
    assert_int_equal(rig_step(rig, 3, pre), OK);
    assert_int_equal(rig->seen_count, 0);
    rig_persist(rig, 3, 1);
    assert_int_equal(rig->nodes[3].term, 4);
    assert_int_equal(rig->nodes[3].vote, 1);
    assert_true(rig_sent(rig, 3, 1, RAFT_VOTE_ANSWER)->granted);
    assert_non_null(rig_sent(rig, 3, 1, RAFT_HEARTBEAT_ANSWER));
    assert_int_equal(rig_sent(rig, 3, 2, RAFT_PREVOTE_ANSWER)->term, 4);
    /* The vote is for one candidate, also after a crash. */
    rig_crash(rig, 3);
    rig_start_node(rig, 3);
    ask.from = 2;
    rig_step(rig, 3, ask);
    assert_false(rig_sent(rig, 3, 2, RAFT_VOTE_ANSWER)->granted);
    rig_free(rig);
}

/* 12. What was held back for a term that is over meanwhile is never sent. */
static void trap_12_held_back_messages_of_an_old_term_are_dropped(void **state)
{
    (void)state;
    struct rig *rig = rig_new(3, 3);
    rig_disk(rig, 3, true);
    struct raft_message ask = {.type = RAFT_VOTE, .from = 1, .term = 4};
    rig_step(rig, 3, ask);
    ask = (struct raft_message){.type = RAFT_VOTE, .from = 2, .term = 5};
    rig_step(rig, 3, ask);
    rig_persist(rig, 3, 1);
    assert_int_equal(rig->seen_count, 0);
    rig_persist(rig, 3, 1);
    assert_int_equal(rig->seen_count, 1);
    assert_true(rig_sent(rig, 3, 2, RAFT_VOTE_ANSWER)->granted);
    rig_free(rig);
}

/* 14. A leader neither waits for its own disk nor needs it for a commit. */
static void trap_14_leader_with_a_slow_disk(void **state)
{
    (void)state;
    struct rig *rig = rig_new(3, 3);
    rig_elect(rig, 1);
    rig_disk(rig, 1, true);
    raft_index index = rig_propose(rig, 1, "fast elsewhere");
    rig_run(rig);
    assert_int_equal(rig_status(rig, 1).commit, index);
    assert_int_equal(rig->nodes[2].apply_to, index);
    assert_true(rig->nodes[1].apply_to < index); /* but here only what is durable here */
    rig_disk(rig, 1, false);
    assert_int_equal(rig->nodes[1].apply_to, index);
    /* And it does not count itself before. */
    rig_disk(rig, 1, true);
    rig_isolate(rig, 3);
    rig_disk(rig, 2, true);
    index = rig_propose(rig, 1, "nowhere durable");
    rig_run(rig);
    rig_persist(rig, 2, SIZE_MAX);
    rig_run(rig);
    assert_true(rig_status(rig, 1).commit < index); /* one of three */
    rig_disk(rig, 1, false);
    rig_run(rig);
    assert_int_equal(rig_status(rig, 1).commit, index);
    rig_free(rig);
}

/* 14. A leader whose disk hangs for long hands over. */
static void trap_14_stalled_leader_hands_over(void **state)
{
    (void)state;
    struct rig *rig = rig_new(3, 3);
    rig->options.stall_ticks = 20;
    rig_crash(rig, 1);
    rig_start_node(rig, 1);
    rig_elect(rig, 1);
    rig_disk(rig, 1, true);
    rig_propose(rig, 1, "stuck");
    rig_run(rig);
    rig_ticks(rig, 40);
    assert_int_not_equal(rig_status(rig, 1).role, RAFT_LEADER);
    assert_true(rig_status(rig, 1).yielded > 0); /* as who reads the node's log is told */
    assert_int_not_equal(rig_status(rig, 2).leader, 0);
    assert_int_not_equal(rig_status(rig, 2).leader, 1);
    rig_free(rig);
}

/* Each of so many writes is done here only long after the others have it, but one that is quick. */
static void write_late(struct rig *rig, unsigned count, unsigned quick)
{
    for (unsigned i = 1; i <= count && rig_status(rig, 1).role == RAFT_LEADER; i++) {
        rig_ticks(rig, 3);
        rig_propose(rig, 1, "late");
        rig_run(rig);
        if (i != quick) rig_ticks(rig, 10);
        rig_persist(rig, 1, SIZE_MAX);
        rig_run(rig);
    }
}

static struct rig *slow_leader(void)
{
    struct rig *rig = rig_new(3, 3);
    rig->options.slow_ticks = 5;
    rig->options.slow_writes = 4;
    rig_crash(rig, 1);
    rig_start_node(rig, 1);
    rig_elect(rig, 1);
    rig_ticks(rig, 10);
    rig_disk(rig, 1, true);
    return rig;
}

/* So does one whose disk is slow again and again, while the others' are not: not at a pause. */
static void trap_14_slow_leader_hands_over(void **state)
{
    (void)state;
    struct rig *rig = slow_leader();
    write_late(rig, 3, 0);
    assert_int_equal(rig_status(rig, 1).role, RAFT_LEADER);
    write_late(rig, 4, 1);
    assert_int_equal(rig_status(rig, 1).role, RAFT_LEADER);
    assert_int_equal(rig_status(rig, 1).yielded, 0);
    write_late(rig, 2, 0);
    rig_ticks(rig, 4);
    assert_int_not_equal(rig_status(rig, 1).role, RAFT_LEADER);
    assert_int_equal(rig_status(rig, 1).yielded, 1);
    assert_int_not_equal(rig_status(rig, 2).leader, 0);
    assert_int_not_equal(rig_status(rig, 2).leader, 1);
    rig_free(rig);
}

static void nobody_else_may_lead(struct rig *rig)
{
    for (raft_id id = 2; id <= 3; id++) raft_set_may_lead(rig->nodes[id].raft, false);
}

/* Proposals are refused during each attempt. */
static void trap_14_slow_leader_without_an_heir_leads_on(void **state)
{
    (void)state;
    struct rig *rig = slow_leader();
    nobody_else_may_lead(rig);
    write_late(rig, 4, 0);
    assert_int_equal(rig_status(rig, 1).yielded, 1);
    rig_ticks(rig, 10);
    unsigned taken = 0;
    for (unsigned i = 0; i < 5; i++) {
        rig_ticks(rig, 3);
        taken += rig_propose(rig, 1, "late") != 0;
        rig_run(rig);
        rig_ticks(rig, 10);
        rig_persist(rig, 1, SIZE_MAX);
        rig_run(rig);
    }
    assert_int_equal(taken, 5);
    assert_int_equal(rig_status(rig, 1).yielded, 1);
    write_late(rig, 8, 0); /* but in the end it asks again: who may lead may have changed */
    assert_int_equal(rig_status(rig, 1).yielded, 2);
    assert_int_equal(rig_status(rig, 1).role, RAFT_LEADER);
    rig_free(rig);
}

static void trap_14_stalled_leader_without_an_heir_leads_on(void **state)
{
    (void)state;
    struct rig *rig = slow_leader();
    rig_crash(rig, 1);
    rig->options.stall_ticks = 20;
    rig->options.slow_writes = 0;
    rig_start_node(rig, 1);
    rig_elect(rig, 1);
    nobody_else_may_lead(rig);
    rig_disk(rig, 1, true);
    rig_propose(rig, 1, "stuck");
    rig_ticks(rig, 40);
    assert_int_equal(rig_status(rig, 1).yielded, 1);
    assert_int_equal(rig_status(rig, 1).transfer, 0);
    raft_index index = rig_propose(rig, 1, "by the others' disks");
    rig_run(rig);
    assert_int_not_equal(index, 0);
    assert_int_equal(rig_status(rig, 1).commit, index);
    raft_set_may_lead(rig->nodes[3].raft, true);
    rig_ticks(rig, 100);
    assert_int_equal(rig_status(rig, 3).role, RAFT_LEADER);
    rig_free(rig);
}

/* Where no majority is ahead of it, nobody would be better. */
static void trap_14_slow_as_all_leads_on(void **state)
{
    (void)state;
    struct rig *rig = slow_leader();
    rig_disk(rig, 2, true);
    rig_disk(rig, 3, true);
    for (unsigned i = 0; i < 12; i++) {
        rig_propose(rig, 1, "slow");
        rig_run(rig);
        rig_ticks(rig, 10);
        for (raft_id id = 1; id <= 3; id++)
            rig_persist(rig, id, SIZE_MAX);
        rig_run(rig);
    }
    assert_int_equal(rig_status(rig, 1).role, RAFT_LEADER);
    rig_free(rig);
}

/* 15. What is in flight to a slow follower is bounded, in messages and in bytes. */
static void trap_15_window_is_bounded(void **state)
{
    (void)state;
    struct rig *rig = rig_new(3, 3);
    rig->options.window_messages = 4;
    rig->options.window_bytes = 1000;
    rig->options.message_bytes = 300;
    rig_crash(rig, 1);
    rig_start_node(rig, 1);
    rig_elect(rig, 1);
    rig_disk(rig, 3, true); /* receives, but does not get it durable */
    rig_forget(rig);
    for (int i = 0; i < 60; i++) {
        rig_propose(rig, 1, "forty bytes or so, to fill a little more");
        rig_run(rig);
    }
    struct raft_peer peer;
    assert_int_equal(raft_peer_get(rig->nodes[1].raft, 3, &peer), OK);
    assert_true(peer.window_messages <= 4);
    assert_true(peer.window_bytes <= 1000);
    assert_true(rig_status(rig, 3).last.index - rig_status(rig, 3).persisted <= 12);
    for (size_t i = 0; i < rig->seen_count; i++) assert_true(rig->seen_entries[i] <= 3);
    assert_int_equal(rig_status(rig, 1).commit, rig_status(rig, 1).last.index); /* the others go on */
    rig_disk(rig, 3, false);
    rig_ticks(rig, 3);
    assert_int_equal(rig_status(rig, 3).persisted, rig_status(rig, 1).last.index);
    rig_free(rig);
}

/* 15. A proposal beyond the backlog is refused, not queued. */
static void trap_15_backlog_is_bounded(void **state)
{
    (void)state;
    struct rig *rig = rig_new(3, 3);
    rig->options.backlog_bytes = 500;
    rig_crash(rig, 1);
    rig_start_node(rig, 1);
    rig_elect(rig, 1);
    rig_isolate(rig, 1);
    int taken = 0;
    while (taken < 100 && rig_propose(rig, 1, "waits for a majority")) taken++;
    assert_true(taken > 2 && taken < 10);
    assert_true(rig_status(rig, 1).backlog_bytes <= 500);
    rig_heal(rig);
    rig_ticks(rig, 4);
    assert_int_not_equal(rig_propose(rig, 1, "now"), 0);
    /* A block larger than the whole backlog passes alone. */
    rig_ticks(rig, 4);
    static uint8_t large[2000];
    struct raft_blob *blob = raft_blob_copy(BYTES(large));
    raft_index index;
    assert_int_equal(raft_propose(rig->nodes[1].raft, &index, &blob, 1), OK);
    raft_blob_release(blob);
    rig_ticks(rig, 4);
    assert_int_equal(rig_status(rig, 2).commit, index);
    rig_free(rig);
}

/* 15. A follower whose disk is behind takes no more than its backlog. */
static void trap_15_follower_backlog_is_bounded(void **state)
{
    (void)state;
    struct rig *rig = rig_new(3, 3);
    rig->options.backlog_bytes = 500;
    rig_crash(rig, 3);
    rig_start_node(rig, 3);
    rig_elect(rig, 1);
    rig_disk(rig, 3, true);
    for (int i = 0; i < 30; i++) {
        rig_propose(rig, 1, "thirty bytes more or less here");
        rig_run(rig);
    }
    assert_true(rig_status(rig, 3).backlog_bytes <= 500);
    for (int i = 0; i < 100; i++) {
        rig_ticks(rig, 2);
        rig_persist(rig, 3, SIZE_MAX);
    }
    assert_int_equal(rig_status(rig, 3).persisted, rig_status(rig, 1).last.index);
    rig_free(rig);
}

/* 17. To be applied is only what is committed and durable here; what is lost is told. */
static void trap_17_apply_after_durable_and_losses_are_told(void **state)
{
    (void)state;
    struct rig *rig = rig_new(3, 3);
    rig_elect(rig, 1);
    rig_disk(rig, 3, true);
    raft_index index = rig_propose(rig, 1, "durable on 1 and 2");
    rig_run(rig);
    rig_ticks(rig, 2);
    assert_int_equal(rig_status(rig, 3).commit, index);
    assert_true(rig->nodes[3].apply_to < index);
    rig_disk(rig, 3, false);
    assert_int_equal(rig->nodes[3].apply_to, index);
    /* A proposal that another leader's entry replaces: announced by truncate_from, even though it never
     * left the core of the old leader. */
    rig_isolate(rig, 1);
    rig_drop(rig);
    struct raft_blob *blob = raft_blob_copy(bytes_text("lost"));
    raft_index lost;
    assert_int_equal(raft_propose(rig->nodes[1].raft, &lost, &blob, 1), OK); /* not even taken */
    raft_blob_release(blob);
    rig_elect(rig, 2);
    raft_term term = rig_status(rig, 2).term;
    struct raft_entry other = {.index = lost, .term = term, .type = RAFT_ENTRY_NOOP};
    struct raft_message m = {.type = RAFT_APPEND,
                             .from = 2,
                             .term = term,
                             .log = {lost - 1, term - 1},
                             .entries = &other,
                             .entry_count = 1};
    rig->nodes[1].truncated = 0;
    assert_int_equal(rig_step(rig, 1, m), OK);
    assert_int_equal(rig->nodes[1].truncated, lost);
    rig_free(rig);
}

/* 20. A node that must not vote grants none, asks for none, and still helps to store. */
static void trap_20_no_vote_from_a_doubtful_disk(void **state)
{
    (void)state;
    struct rig *rig = rig_new(3, 3);
    raft_set_may_vote(rig->nodes[3].raft, false);
    struct raft_message pre = {.type = RAFT_PREVOTE, .from = 1, .term = 0, .proposed = 1};
    rig_step(rig, 3, pre);
    assert_false(rig_sent(rig, 3, 1, RAFT_PREVOTE_ANSWER)->granted);
    struct raft_message ask = {.type = RAFT_VOTE, .from = 1, .term = 1};
    rig_step(rig, 3, ask);
    assert_false(rig_sent(rig, 3, 1, RAFT_VOTE_ANSWER)->granted);
    rig_tick(rig, 3, 100);
    assert_int_equal(rig_status(rig, 3).elections, 0);
    rig_elect(rig, 1);
    rig_crash(rig, 2);
    raft_index index = rig_propose(rig, 1, "stored by 3");
    rig_run(rig);
    assert_int_equal(rig_status(rig, 1).commit, index);
    rig_free(rig);
}

/* 21. A node that lost acknowledged entries is found out by the leader and filled again. */
static void trap_21_lost_suffix_is_sent_again(void **state)
{
    (void)state;
    struct rig *rig = rig_new(3, 3);
    rig_elect(rig, 1);
    for (int i = 0; i < 6; i++) rig_propose(rig, 1, "kept");
    rig_run(rig);
    struct rig_node *n = &rig->nodes[3];
    rig_crash(rig, 3);
    while (n->log_count > 2) raft_blob_release(n->log[--n->log_count].blob);
    rig_start_node(rig, 3);
    raft_set_may_vote(n->raft, false);
    rig_ticks(rig, 8);
    assert_int_equal(rig_status(rig, 3).persisted, rig_status(rig, 1).last.index);
    assert_int_equal(rig_status(rig, 3).commit, rig_status(rig, 1).commit);
    raft_set_may_vote(n->raft, true);
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(trap_11_halted_core_is_silent),
        cmocka_unit_test(trap_12_vote_and_term_are_durable_first),
        cmocka_unit_test(trap_12_held_back_messages_of_an_old_term_are_dropped),
        cmocka_unit_test(trap_14_leader_with_a_slow_disk),
        cmocka_unit_test(trap_14_stalled_leader_hands_over),
        cmocka_unit_test(trap_14_slow_leader_hands_over),
        cmocka_unit_test(trap_14_slow_leader_without_an_heir_leads_on),
        cmocka_unit_test(trap_14_stalled_leader_without_an_heir_leads_on),
        cmocka_unit_test(trap_14_slow_as_all_leads_on),
        cmocka_unit_test(trap_15_window_is_bounded),
        cmocka_unit_test(trap_15_backlog_is_bounded),
        cmocka_unit_test(trap_15_follower_backlog_is_bounded),
        cmocka_unit_test(trap_17_apply_after_durable_and_losses_are_told),
        cmocka_unit_test(trap_20_no_vote_from_a_doubtful_disk),
        cmocka_unit_test(trap_21_lost_suffix_is_sent_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
