/* The traps that other Raft implementations fell into, one scripted test each: what counts as
 * committed, votes and terms, snapshots, who disturbs whom. (Those of disks and of memory:
 * test_raft_traps_disk.c; those about members: test_raft_members.c.) */
#include "tests/lib/raft_rig.h"
#include "tests/lib/unit.h"

static struct raft_message acknowledgement(raft_id from, raft_term term, raft_index match)
{
    return (struct raft_message){
        .type = RAFT_APPEND_ANSWER, .from = from, .term = term, .match = match, .checked = match};
}

/* 1. The paper's Figure 8: an entry of an older term on a majority is not committed by that. */
static void trap_1_old_term_is_not_committed_by_counting(void **state)
{
    (void)state;
    struct rig *rig = rig_new(5, 5);
    rig->options.message_bytes = 1; /* one entry per message */
    rig->options.window_messages = 1;
    for (unsigned id = 1; id <= 5; id++) {
        rig_crash(rig, (raft_id)id);
        rig_start_node(rig, (raft_id)id);
    }
    rig_elect(rig, 1);
    /* (a) S1 leads and gets an entry to S2 only. */
    for (unsigned other = 3; other <= 5; other++) rig->cut[1][other] = true;
    raft_index old = rig_propose(rig, 1, "old");
    rig_run(rig);
    assert_string_equal(rig_text(rig, 2, old), "old");
    rig_crash(rig, 1);
    /* (b) S5 leads by the votes of S3 and S4, and has another entry at that index, alone. */
    rig->votes_only = true;
    rig_isolate(rig, 2);
    rig_elect(rig, 5);
    assert_int_not_equal(rig_propose(rig, 5, "rival"), 0);
    assert_int_equal(rig_status(rig, 5).commit, rig_status(rig, 3).commit);
    rig_crash(rig, 5);
    /* (c) S1 is back, leads, and replicates "old" to a majority, but nothing of its own term. */
    rig_heal(rig);
    rig_start_node(rig, 1);
    rig_elect(rig, 1);
    raft_term term = rig_status(rig, 1).term;
    rig_drop(rig);
    for (unsigned id = 2; id <= 4; id++) {
        assert_int_equal(rig_step(rig, 1, acknowledgement((raft_id)id, term, old)), OK);
    }
    assert_true(rig_status(rig, 1).commit < old);
    /* Its own entry commits both. */
    raft_index own = rig_status(rig, 1).last.index;
    for (unsigned id = 2; id <= 3; id++) {
        rig_step(rig, 1, acknowledgement((raft_id)id, term, own));
    }
    assert_int_equal(rig_status(rig, 1).commit, own);
    rig_free(rig);
}

/* 2. A follower acknowledges what this message checked, not its own last index. */
static void trap_2_unchecked_suffix_is_not_acknowledged(void **state)
{
    (void)state;
    struct rig *rig = rig_new(3, 3);
    rig_elect(rig, 1);
    rig_isolate(rig, 1);
    for (int i = 0; i < 3; i++) assert_int_not_equal(rig_propose(rig, 1, "alone"), 0);
    rig_run(rig);
    raft_index suffix = rig_status(rig, 1).last.index;
    rig_elect(rig, 2);
    raft_term term = rig_status(rig, 2).term;
    /* Node 1 hears an empty append of the new leader about the place where both agree. */
    rig_forget(rig);
    struct raft_message m = {.type = RAFT_APPEND, .from = 2, .term = term, .log = {1, 1}, .commit = 100};
    assert_int_equal(rig_step(rig, 1, m), OK);
    const struct raft_message *answer = rig_sent(rig, 1, 2, RAFT_APPEND_ANSWER);
    assert_non_null(answer);
    assert_int_equal(answer->match, 1);
    assert_int_equal(rig_status(rig, 1).last.index, suffix);
    assert_int_equal(rig_status(rig, 1).commit, 1); /* nor is the suffix committed */
    struct raft_message beat = {
        .type = RAFT_HEARTBEAT, .from = 2, .term = term, .commit = 100, .durable = suffix};
    assert_int_equal(rig_step(rig, 1, beat), OK);
    assert_int_equal(rig_sent(rig, 1, 2, RAFT_HEARTBEAT_ANSWER)->match, 1);
    assert_int_equal(rig_status(rig, 1).commit, 1);
    rig_free(rig);
}

/* 3. What became durable for an earlier term is neither sent to a new leader nor taken by one. */
static void trap_3_results_of_an_earlier_term(void **state)
{
    (void)state;
    struct rig *rig = rig_new(3, 3);
    rig_elect(rig, 1);
    raft_term term = rig_status(rig, 1).term;
    raft_index last = rig_status(rig, 3).last.index;
    rig_disk(rig, 3, true);
    rig->cut[1][2] = true; /* so that it is not committed */
    assert_int_not_equal(rig_propose(rig, 1, "slow on 3"), 0);
    rig_run(rig);
    assert_int_equal(rig->nodes[3].write_count, 1);
    /* Node 2 becomes leader and says that this index holds another entry. */
    struct raft_entry other = {.index = last + 1, .term = term + 1, .type = RAFT_ENTRY_NOOP};
    struct raft_message m = {.type = RAFT_APPEND,
                             .from = 2,
                             .term = term + 1,
                             .log = {last, term},
                             .entries = &other,
                             .entry_count = 1};
    rig_forget(rig);
    assert_int_equal(rig_step(rig, 3, m), OK);
    assert_int_equal(rig->nodes[3].write_count, 2);
    rig_persist(rig, 3, 1); /* the old leader's entry is durable now, and no longer ours */
    assert_null(rig_sent(rig, 3, 2, RAFT_APPEND_ANSWER));
    assert_int_equal(rig_status(rig, 3).persisted, last);
    rig_persist(rig, 3, 1);
    assert_int_equal(rig_sent(rig, 3, 2, RAFT_APPEND_ANSWER)->match, last + 1);
    assert_int_equal(rig_sent(rig, 3, 2, RAFT_APPEND_ANSWER)->term, term + 1);
    assert_null(rig_sent(rig, 3, 1, RAFT_APPEND_ANSWER));
    /* And a leader takes no acknowledgement of another term. */
    raft_index end = rig_propose(rig, 1, "more");
    rig_isolate(rig, 1);
    rig_run(rig);
    for (raft_id id = 2; id <= 3; id++) {
        assert_int_equal(rig_step(rig, 1, acknowledgement(id, term - 1, end)), OK);
    }
    assert_true(rig_status(rig, 1).commit < end);
    rig_free(rig);
}

/* 4. Only durable entries are advertised in an election. */
static void trap_4_only_durable_entries_are_advertised(void **state)
{
    (void)state;
    struct rig *rig = rig_new(3, 3);
    rig_elect(rig, 1);
    raft_index durable = rig_status(rig, 2).last.index;
    rig_disk(rig, 2, true);
    assert_int_not_equal(rig_propose(rig, 1, "not durable on 2"), 0);
    rig_run(rig);
    assert_int_equal(rig_status(rig, 2).last.index, durable + 1);
    rig_isolate(rig, 1);
    rig_forget(rig);
    rig_tick(rig, 2, 30);
    assert_int_equal(rig_sent(rig, 2, 3, RAFT_PREVOTE)->log.index, durable);
    /* It may win the pre-vote, but asks for votes only after its entry and its vote are durable. */
    struct raft_message yes = {.type = RAFT_PREVOTE_ANSWER, .from = 3, .term = 1, .proposed = 2, .granted = true};
    rig_step(rig, 2, yes);
    assert_int_equal(rig_status(rig, 2).role, RAFT_CANDIDATE);
    assert_null(rig_sent(rig, 2, 3, RAFT_VOTE));
    rig_persist(rig, 2, 1);
    assert_null(rig_sent(rig, 2, 3, RAFT_VOTE));
    rig_persist(rig, 2, 1);
    assert_int_equal(rig_sent(rig, 2, 3, RAFT_VOTE)->log.index, durable + 1);
    rig_free(rig);
}

/* 7. The commit index never goes back, and an offered snapshot has the label of its state. */
static void trap_7_commit_index_only_grows(void **state)
{
    (void)state;
    struct rig *rig = rig_new(3, 3);
    rig_elect(rig, 1);
    for (int i = 0; i < 5; i++) rig_propose(rig, 1, "x");
    rig_run(rig);
    rig_ticks(rig, 3);
    raft_index commit = rig_status(rig, 3).commit;
    assert_int_equal(commit, rig_status(rig, 1).commit);
    raft_term term = rig_status(rig, 1).term;
    struct raft_message late = {.type = RAFT_HEARTBEAT, .from = 1, .term = term, .commit = 1};
    rig_step(rig, 3, late);
    struct raft_message append = {.type = RAFT_APPEND, .from = 1, .term = term, .log = {commit, term}, .commit = 2};
    rig_step(rig, 3, append);
    assert_int_equal(rig_status(rig, 3).commit, commit);
    /* An offer that is older than what is applied changes nothing. */
    struct raft_message offer = {
        .type = RAFT_SNAPSHOT, .from = 1, .term = term, .log = {2, term}, .config = rig->genesis};
    assert_int_equal(rig_step(rig, 3, offer), OK);
    assert_int_equal(rig->nodes[3].installs, 0);
    assert_int_equal(rig_status(rig, 3).commit, commit);
    /* The offer's label is the position that the driver named, not the commit index of now. */
    rig_crash(rig, 3);
    for (int i = 0; i < 3; i++) rig_propose(rig, 1, "y");
    rig_run(rig);
    rig_compact(rig, 1, rig_status(rig, 1).commit);
    raft_index labelled = rig_status(rig, 1).snapshot;
    rig_propose(rig, 1, "z");
    rig_run(rig);
    rig_start_node(rig, 3);
    rig_ticks(rig, 6);
    assert_int_equal(rig_sent(rig, 1, 3, RAFT_SNAPSHOT)->log.index, labelled);
    rig_free(rig);
}

/* 8. A denied pre-vote tells the denier's real term, so that a node with the longer log and the
 * lower term catches up with the term. */
static void trap_8_prevote_denial_tells_the_term(void **state)
{
    (void)state;
    struct rig *rig = rig_new(2, 2);
    rig_elect(rig, 1);
    /* Node 1 has one entry more, node 2 is some terms ahead. */
    rig_isolate(rig, 1);
    rig_propose(rig, 1, "longer");
    rig_run(rig);
    rig_crash(rig, 1);
    rig_crash(rig, 2);
    rig->nodes[2].term = 9;
    rig->nodes[2].vote = 0;
    rig_start_node(rig, 1);
    rig_start_node(rig, 2);
    rig_heal(rig);
    rig_tick(rig, 1, 30);
    rig_run(rig);
    assert_int_equal(rig_sent(rig, 2, 1, RAFT_PREVOTE_ANSWER)->term, 9);
    assert_false(rig_sent(rig, 2, 1, RAFT_PREVOTE_ANSWER)->granted);
    assert_int_equal(rig_status(rig, 1).term, 9);
    rig_elect(rig, 1);
    rig_free(rig);
}

/* 9. Messages of an older term are answered; answers are not. */
static void trap_9_stale_messages_are_answered(void **state)
{
    (void)state;
    struct rig *rig = rig_new(3, 3);
    rig_elect(rig, 1);
    rig_isolate(rig, 1);
    rig_elect(rig, 2);
    raft_term term = rig_status(rig, 2).term;
    static const enum raft_message_type requests[] = {RAFT_APPEND, RAFT_HEARTBEAT, RAFT_SNAPSHOT, RAFT_VOTE,
                                                      RAFT_PREVOTE};
    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
        rig_forget(rig);
        struct raft_message m = {
            .type = requests[i], .from = 1, .term = term - 1, .config = rig->genesis, .log = {1, 1}};
        if (m.type == RAFT_PREVOTE) m.proposed = term;
        assert_int_equal(rig_step(rig, 3, m), OK);
        assert_int_equal(rig->seen_count, 1);
        assert_int_equal(rig->seen[0].term, term);
        assert_false(rig->seen[0].granted);
    }
    static const enum raft_message_type answers[] = {RAFT_APPEND_ANSWER, RAFT_HEARTBEAT_ANSWER, RAFT_SNAPSHOT_ANSWER,
                                                     RAFT_VOTE_ANSWER, RAFT_PREVOTE_ANSWER};
    rig_forget(rig);
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        struct raft_message m = {.type = answers[i], .from = 1, .term = term - 1};
        assert_int_equal(rig_step(rig, 3, m), OK);
    }
    assert_int_equal(rig->seen_count, 0);
    /* The old leader learns of the new term from that, and steps down. */
    rig_heal(rig);
    rig_ticks(rig, 3);
    assert_int_equal(rig_status(rig, 1).role, RAFT_FOLLOWER);
    assert_int_equal(rig_status(rig, 1).term, term);
    rig_free(rig);
}

static struct rig *rig_with_laggard(void)
{
    struct rig *rig = rig_new(3, 3);
    rig_elect(rig, 1);
    rig_crash(rig, 3);
    for (int i = 0; i < 10; i++) rig_propose(rig, 1, "x");
    rig_run(rig);
    rig_compact(rig, 1, 8);
    rig_start_node(rig, 3);
    rig_ticks(rig, 6);
    return rig;
}

static void install(struct rig *rig, raft_id id)
{
    struct rig_node *n = &rig->nodes[id];
    assert_true(n->has_install);
    n->has_install = false;
    n->base_config = n->install.config;
    n->durable_applied = n->apply_to = n->install.position.index;
    raft_snapshot_installed(n->raft, n->install.position);
    raft_blob_release(n->install.manifest);
    n->install = (struct raft_install){0};
    rig_run(rig);
}

/* 10. A snapshot that comes again, or another one, while one is being installed. */
static void trap_10_snapshot_while_installing(void **state)
{
    (void)state;
    struct rig *rig = rig_with_laggard();
    struct rig_node *n = &rig->nodes[3];
    assert_int_equal(n->installs, 1);
    assert_true(bytes_equal(raft_blob_bytes(n->install.manifest), bytes_text("manifest")));
    struct raft_message again = {.type = RAFT_SNAPSHOT,
                                 .from = 1,
                                 .term = rig_status(rig, 1).term,
                                 .log = n->install.position,
                                 .config = rig->genesis};
    for (int i = 0; i < 3; i++) assert_int_equal(rig_step(rig, 3, again), OK);
    again.log.index += 1;
    assert_int_equal(rig_step(rig, 3, again), OK);
    assert_int_equal(rig_sent(rig, 3, 1, RAFT_SNAPSHOT_ANSWER)->log.index, n->install.position.index);
    /* Entries wait; heartbeats say what is going on, and nothing is offered again for that. */
    rig_forget(rig);
    rig_ticks(rig, 25);
    assert_int_equal(n->installs, 1);
    assert_int_equal(rig_count(rig, 1, RAFT_SNAPSHOT), 0);
    assert_int_equal(rig_sent(rig, 3, 1, RAFT_HEARTBEAT_ANSWER)->installing, n->install.position.index);
    install(rig, 3);
    rig_ticks(rig, 6);
    assert_int_equal(rig_status(rig, 3).commit, rig_status(rig, 1).commit);
    assert_int_equal(rig_status(rig, 3).persisted, rig_status(rig, 1).last.index);
    rig_free(rig);
}

/* 10. An install that fails is told, and offered again a heartbeat later. */
static void trap_10_failed_install_is_offered_again(void **state)
{
    (void)state;
    struct rig *rig = rig_with_laggard();
    struct rig_node *n = &rig->nodes[3];
    raft_blob_release(n->install.manifest);
    n->install = (struct raft_install){0};
    n->has_install = false;
    raft_snapshot_failed(n->raft);
    rig_run(rig);
    assert_true(rig_sent(rig, 3, 1, RAFT_SNAPSHOT_ANSWER)->rejected);
    rig_ticks(rig, 6);
    assert_int_equal(n->installs, 2);
    install(rig, 3);
    rig_ticks(rig, 6);
    assert_int_equal(rig_status(rig, 3).commit, rig_status(rig, 1).commit);
    rig_free(rig);
}

/* 13. The leader's commit index counts only as far as the message's entries reach. */
static void trap_13_commit_is_clamped_to_the_message(void **state)
{
    (void)state;
    struct rig *rig = rig_new(3, 3);
    struct raft_entry entries[2] = {{1, 1, RAFT_ENTRY_NOOP, NULL}, {2, 1, RAFT_ENTRY_NOOP, NULL}};
    struct raft_message m = {
        .type = RAFT_APPEND, .from = 1, .term = 1, .entries = entries, .entry_count = 2, .commit = 1000};
    assert_int_equal(rig_step(rig, 3, m), OK);
    assert_int_equal(rig_status(rig, 3).commit, 2);
    assert_int_equal(rig->nodes[3].apply_to, 2);
    rig_free(rig);
}

/* 16. While a peer installs a snapshot, the core says which entries it will need. */
static void trap_16_trail_is_kept_for_an_installing_peer(void **state)
{
    (void)state;
    struct rig *rig = rig_with_laggard();
    raft_index from = rig->nodes[3].install.position.index;
    for (int i = 0; i < 20; i++) rig_propose(rig, 1, "meanwhile");
    rig_run(rig);
    assert_int_equal(raft_needed_from(rig->nodes[1].raft), from + 1);
    /* The driver minds it, so the peer goes on by appends, without another snapshot. */
    rig_compact(rig, 1, raft_needed_from(rig->nodes[1].raft) - 1);
    install(rig, 3);
    rig_ticks(rig, 6);
    assert_int_equal(rig->nodes[3].installs, 1);
    assert_int_equal(rig_status(rig, 3).persisted, rig_status(rig, 1).last.index);
    assert_int_equal(raft_needed_from(rig->nodes[1].raft), rig_status(rig, 1).last.index + 1);
    rig_free(rig);
}

/* 18. A node that was cut off comes back without unseating the leader. */
static void trap_18_returning_node_does_not_disturb(void **state)
{
    (void)state;
    struct rig *rig = rig_new(3, 3);
    rig_elect(rig, 1);
    raft_term term = rig_status(rig, 1).term;
    rig_isolate(rig, 3);
    rig_ticks(rig, 100);
    assert_true(rig_status(rig, 3).elections > 2);
    assert_int_equal(rig_status(rig, 3).term, term); /* pre-votes enter no term */
    rig_heal(rig);
    rig_ticks(rig, 30);
    assert_int_equal(rig_status(rig, 1).role, RAFT_LEADER);
    assert_int_equal(rig_status(rig, 1).term, term);
    assert_int_equal(rig_status(rig, 3).leader, 1);
    /* Nor does a vote request with a higher term, while the leader is heard. */
    struct raft_message ask = {.type = RAFT_VOTE, .from = 3, .term = term + 7, .log = {100, term + 6}};
    rig_step(rig, 2, ask);
    assert_int_equal(rig_status(rig, 2).term, term);
    assert_false(rig_sent(rig, 2, 3, RAFT_VOTE_ANSWER)->granted);
    rig_step(rig, 1, ask);
    assert_int_equal(rig_status(rig, 1).role, RAFT_LEADER);
    rig_free(rig);
}

/* 19. A leader that hears no majority for an election time-out steps down. */
static void trap_19_leader_without_majority_steps_down(void **state)
{
    (void)state;
    struct rig *rig = rig_new(5, 5);
    rig_elect(rig, 1);
    rig_crash(rig, 5);
    rig_crash(rig, 4);
    rig_ticks(rig, 50);
    assert_int_equal(rig_status(rig, 1).role, RAFT_LEADER); /* three of five */
    rig_crash(rig, 3);
    rig_tick(rig, 1, rig->options.election_ticks - 3);
    rig_drop(rig);
    rig_ticks(rig, 25);
    assert_int_not_equal(rig_status(rig, 1).role, RAFT_LEADER);
    assert_int_equal(rig_propose(rig, 1, "no"), 0);
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(trap_1_old_term_is_not_committed_by_counting),
        cmocka_unit_test(trap_2_unchecked_suffix_is_not_acknowledged),
        cmocka_unit_test(trap_3_results_of_an_earlier_term),
        cmocka_unit_test(trap_4_only_durable_entries_are_advertised),
        cmocka_unit_test(trap_7_commit_index_only_grows),
        cmocka_unit_test(trap_8_prevote_denial_tells_the_term),
        cmocka_unit_test(trap_9_stale_messages_are_answered),
        cmocka_unit_test(trap_10_snapshot_while_installing),
        cmocka_unit_test(trap_10_failed_install_is_offered_again),
        cmocka_unit_test(trap_13_commit_is_clamped_to_the_message),
        cmocka_unit_test(trap_16_trail_is_kept_for_an_installing_peer),
        cmocka_unit_test(trap_18_returning_node_does_not_disturb),
        cmocka_unit_test(trap_19_leader_without_majority_steps_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
