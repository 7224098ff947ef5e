/* The core's everyday work, its settings and its answers to nonsense. */
#include "tests/lib/dies.h"
#include "tests/lib/raft_rig.h"
#include "tests/lib/unit.h"

static void one_node_alone(void **state)
{
    (void)state;
    struct rig *rig = rig_new(1, 1);
    rig_disk(rig, 1, true);
    rig_tick(rig, 1, 30);
    assert_int_equal(rig_status(rig, 1).role, RAFT_CANDIDATE); /* its own vote is not durable */
    rig_disk(rig, 1, false);
    assert_int_equal(rig_status(rig, 1).role, RAFT_LEADER);
    raft_index index = rig_propose(rig, 1, "x");
    assert_int_equal(index, 2);
    assert_int_equal(rig->nodes[1].apply_to, 2);
    rig_sync(rig, 1);
    rig_crash(rig, 1);
    rig_start_node(rig, 1);
    assert_int_equal(rig_status(rig, 1).commit, 2);
    rig_elect(rig, 1);
    assert_int_equal(rig_status(rig, 1).term, 2);
    rig_free(rig);
}

static void three_nodes_replicate(void **state)
{
    (void)state;
    struct rig *rig = rig_new(3, 3);
    rig_ticks(rig, 40);
    raft_id leader = rig_status(rig, 1).leader;
    assert_int_not_equal(leader, 0);
    for (int i = 0; i < 50; i++) rig_propose(rig, leader, "block");
    rig_run(rig);
    for (raft_id id = 1; id <= 3; id++) {
        assert_int_equal(rig_status(rig, id).commit, rig_status(rig, leader).last.index);
        assert_string_equal(rig_text(rig, id, 20), "block");
    }
    assert_int_equal(raft_next_index(rig->nodes[leader].raft), rig_status(rig, leader).last.index + 1);
    struct raft_peer peer;
    raft_id other = leader == 1 ? 2 : 1;
    assert_int_equal(raft_peer_get(rig->nodes[leader].raft, other, &peer), OK);
    assert_int_equal(peer.match, rig_status(rig, leader).last.index);
    assert_int_equal(peer.progress, RAFT_REPLICATE);
    assert_true(peer.active && peer.voter);
    assert_int_equal(raft_peer_get(rig->nodes[leader].raft, 9, &peer), ERR_NOT_FOUND);
    assert_int_equal(raft_peer_get(rig->nodes[other].raft, leader, &peer), ERR_NOT_LEADER);
    rig_free(rig);
}

/* What many calls bring leaves in one write and one message per peer. */
static void calls_are_joined(void **state)
{
    (void)state;
    struct rig *rig = rig_new(3, 3);
    rig_elect(rig, 1);
    rig_forget(rig);
    struct raft_blob *blobs[3];
    for (int i = 0; i < 3; i++) blobs[i] = raft_blob_copy(bytes_text("x"));
    raft_index first;
    assert_int_equal(raft_propose(rig->nodes[1].raft, &first, blobs, 3), OK);
    assert_int_equal(raft_propose(rig->nodes[1].raft, &first, blobs, 2), OK);
    struct raft_ready *ready = raft_take(rig->nodes[1].raft);
    assert_int_equal(ready->entry_count, 5);
    assert_int_equal(ready->message_count, 2);
    assert_int_equal(ready->messages[0].entry_count, 5);
    assert_ptr_equal(ready->messages[0].entries[0].blob, blobs[0]); /* nothing is copied */
    assert_ptr_equal(ready->entries[0].blob, blobs[0]);
    raft_persisted(rig->nodes[1].raft, ready->write);
    ready = raft_take(rig->nodes[1].raft);
    assert_int_equal(ready->message_count, 2); /* that they are durable here */
    assert_true(!ready->write && !ready->apply_to);
    assert_false(raft_take(rig->nodes[1].raft)->any);
    for (int i = 0; i < 3; i++) raft_blob_release(blobs[i]);
    rig_free(rig);
}

static void logs_that_differ_are_repaired(void **state)
{
    (void)state;
    struct rig *rig = rig_new(3, 3);
    /* Node 3 alone has a long suffix of terms 2, 4 and 6; nodes 1 and 2 have terms 3 and 5. */
    for (raft_id id = 1; id <= 3; id++) {
        rig_crash(rig, id);
        struct rig_node *n = &rig->nodes[id];
        for (raft_index i = 1; i <= 30; i++) {
            raft_term term = i <= 5 ? 1 : id == 3 ? 2 + 2 * ((i - 6) / 10) : i <= 20 ? 3 : 5;
            if (id != 3 && i > 25) break;
            n->log[n->log_count++] = (struct raft_entry){i, term, RAFT_ENTRY_NOOP, NULL};
        }
        n->term = 6;
    }
    for (raft_id id = 1; id <= 3; id++) rig_start_node(rig, id);
    rig_elect(rig, 1);
    rig_forget(rig);
    rig_ticks(rig, 8);
    assert_int_equal(rig_status(rig, 3).last.index, 26);
    for (raft_index i = 1; i <= 26; i++)
        assert_int_equal(raft_term_of(rig->nodes[3].raft, i), raft_term_of(rig->nodes[1].raft, i));
    assert_int_equal(raft_term_of(rig->nodes[3].raft, 6), 3);
    assert_int_equal(rig_status(rig, 3).commit, 26);
    rig_free(rig);
}

/* ---- handing over ---- */

static void leadership_moves_on_request(void **state)
{
    (void)state;
    struct rig *rig = rig_new(3, 3);
    rig_elect(rig, 1);
    assert_int_equal(raft_transfer(rig->nodes[1].raft, 9), ERR_INVALID);
    assert_int_equal(raft_transfer(rig->nodes[1].raft, 1), ERR_INVALID);
    assert_int_equal(raft_transfer(rig->nodes[2].raft, 3), ERR_NOT_LEADER);
    rig_disk(rig, 3, true); /* behind: must get everything first */
    raft_index index = rig_propose(rig, 1, "first");
    rig_run(rig);
    assert_int_equal(raft_transfer(rig->nodes[1].raft, 3), OK);
    assert_int_equal(raft_transfer(rig->nodes[1].raft, 2), ERR_BUSY);
    assert_int_equal(rig_propose(rig, 1, "refused meanwhile"), 0);
    rig_run(rig);
    assert_int_equal(rig_status(rig, 1).role, RAFT_LEADER);
    rig_disk(rig, 3, false);
    rig_run(rig);
    assert_int_equal(rig_status(rig, 3).role, RAFT_LEADER);
    assert_true(rig_status(rig, 3).commit >= index);
    assert_int_not_equal(rig_propose(rig, 3, "second"), 0);
    rig_free(rig);
}

static void handing_over_to_nobody_ends(void **state)
{
    (void)state;
    struct rig *rig = rig_new(3, 3);
    rig_elect(rig, 1);
    rig_isolate(rig, 3);
    rig_propose(rig, 1, "3 has not this");
    rig_run(rig);
    assert_int_equal(raft_transfer(rig->nodes[1].raft, 3), OK);
    rig_ticks(rig, 11);
    assert_int_equal(rig_status(rig, 1).role, RAFT_LEADER);
    assert_int_equal(rig_status(rig, 1).transfer, 0);
    assert_int_not_equal(rig_propose(rig, 1, "goes on"), 0);
    rig_free(rig);
}

/* A node with a wrong clock hands over, and starts no election. */
static void who_may_not_lead_hands_over(void **state)
{
    (void)state;
    struct rig *rig = rig_new(3, 3);
    rig_elect(rig, 1);
    raft_set_may_lead(rig->nodes[1].raft, false);
    rig_run(rig);
    rig_ticks(rig, 3);
    assert_int_equal(rig_status(rig, 1).role, RAFT_FOLLOWER);
    raft_id leader = rig_status(rig, 1).leader;
    assert_int_not_equal(leader, 0);
    assert_int_not_equal(leader, 1);
    unsigned elections = (unsigned)rig_status(rig, 1).elections;
    rig_crash(rig, leader);
    rig_ticks(rig, 60);
    assert_int_equal(rig_status(rig, 1).elections, elections);
    assert_int_equal(rig_status(rig, 1).leader, leader == 2 ? 3 : 2); /* but votes */
    raft_set_may_lead(rig->nodes[1].raft, true);
    rig_free(rig);
}

/* Whoever may not stand for election, for whatever reason, knows as well as others that its leader is gone. */
static void who_may_not_stand_loses_a_silent_leader(void **state)
{
    (void)state;
    enum { NO_LEAD, NO_VOTE, LEARNER, WAYS };
    for (int way = 0; way < WAYS; way++) {
        struct rig *rig = rig_new(3, 4);
        rig_elect(rig, 1);
        raft_id id = way == LEARNER ? 4 : 3;
        if (way == LEARNER) assert_int_equal(rig_change(rig, 1, 4, 0), OK);
        if (way == NO_LEAD) raft_set_may_lead(rig->nodes[id].raft, false);
        if (way == NO_VOTE) raft_set_may_vote(rig->nodes[id].raft, false);
        rig_ticks(rig, 30);
        assert_int_equal(rig_status(rig, id).leader, 1);
        raft_term term = rig_status(rig, id).term;
        rig_isolate(rig, id);
        rig_tick(rig, id, 40);
        assert_int_equal(rig_status(rig, id).leader, 0);
        assert_int_equal(rig_status(rig, id).term, term);
        rig_heal(rig);
        rig_ticks(rig, 3);
        assert_int_equal(rig_status(rig, id).leader, 1);
        rig_free(rig);
    }
}

static void who_may_not_lead_and_finds_no_heir_steps_down(void **state)
{
    (void)state;
    struct rig *rig = rig_new(3, 3);
    rig_elect(rig, 1);
    raft_set_may_lead(rig->nodes[2].raft, false);
    raft_set_may_lead(rig->nodes[3].raft, false);
    raft_set_may_lead(rig->nodes[1].raft, false);
    rig_run(rig);
    rig_ticks(rig, 12);
    assert_int_equal(rig_status(rig, 1).role, RAFT_FOLLOWER);
    rig_free(rig);
}

/* ---- the floor ---- */

static struct raft_message append(raft_id from, raft_term term, struct raft_position after,
                                  struct raft_entry *entries, size_t count)
{
    return (struct raft_message){
        .type = RAFT_APPEND, .from = from, .term = term, .log = after, .entries = entries, .entry_count = count};
}

static void nothing_at_or_below_the_floor_is_truncated(void **state)
{
    (void)state;
    struct rig *rig = rig_new(3, 3);
    struct raft_entry mine[4];
    for (raft_index i = 0; i < 4; i++) mine[i] = (struct raft_entry){i + 1, 1, RAFT_ENTRY_NOOP, NULL};
    rig_step(rig, 3, append(1, 1, (struct raft_position){0, 0}, mine, 4));
    raft_set_floor(rig->nodes[3].raft, 3);
    raft_set_floor(rig->nodes[3].raft, 2); /* never goes down */
    assert_int_equal(rig_status(rig, 3).floor, 3);
    assert_int_equal(rig_status(rig, 3).commit, 0);
    /* Another leader, whose log differs from 3 on. */
    rig_forget(rig);
    struct raft_entry theirs[2] = {{3, 2, RAFT_ENTRY_NOOP, NULL}, {4, 2, RAFT_ENTRY_NOOP, NULL}};
    assert_int_equal(rig_step(rig, 3, append(2, 2, (struct raft_position){2, 1}, theirs, 2)), ERR_CONFLICT);
    assert_int_equal(rig->nodes[3].conflicts, 1);
    assert_int_equal(rig->nodes[3].conflict.leader, 2);
    assert_int_equal(rig->nodes[3].conflict.index, 3);
    assert_int_equal(rig->nodes[3].conflict.own_term, 1);
    assert_int_equal(rig->nodes[3].conflict.entry.term, 2);
    assert_null(rig_sent(rig, 3, 2, RAFT_APPEND_ANSWER)); /* not acknowledged */
    assert_int_equal(rig_status(rig, 3).last.term, 1);
    /* From 4 on it is normal Raft. */
    theirs[0].index = 4;
    assert_int_equal(rig_step(rig, 3, append(2, 2, (struct raft_position){3, 1}, theirs, 1)), OK);
    assert_int_equal(rig_status(rig, 3).last.term, 2);
    assert_int_equal(rig_sent(rig, 3, 2, RAFT_APPEND_ANSWER)->match, 4);
    rig_free(rig);
}

static void nothing_committed_is_truncated(void **state)
{
    (void)state;
    struct rig *rig = rig_new(3, 3);
    rig_elect(rig, 1);
    rig_propose(rig, 1, "committed");
    rig_run(rig);
    rig_ticks(rig, 3);
    struct raft_entry theirs = {2, 7, RAFT_ENTRY_NOOP, NULL};
    assert_int_equal(rig_step(rig, 3, append(2, 7, (struct raft_position){1, 1}, &theirs, 1)), ERR_CONFLICT);
    struct raft_message offer = {.type = RAFT_SNAPSHOT, .from = 2, .term = 7, .log = {2, 7}, .config = rig->genesis};
    assert_int_equal(rig_step(rig, 3, offer), ERR_CONFLICT);
    assert_int_equal(rig->nodes[3].conflicts, 2);
    assert_string_equal(rig_text(rig, 3, 2), "committed");
    rig_free(rig);
}

/* Two blocks of one leader for one (index, term). */
static void a_second_block_is_seen(void **state)
{
    (void)state;
    struct rig *rig = rig_new(3, 3);
    struct raft_blob *a = raft_blob_copy(bytes_text("to one")), *b = raft_blob_copy(bytes_text("to another"));
    struct raft_entry e = {1, 1, RAFT_ENTRY_BLOCK, a};
    assert_int_equal(rig_step(rig, 3, append(1, 1, (struct raft_position){0, 0}, &e, 1)), OK);
    assert_int_equal(rig_step(rig, 3, append(1, 1, (struct raft_position){0, 0}, &e, 1)), OK);
    e.blob = b;
    assert_int_equal(rig_step(rig, 3, append(1, 1, (struct raft_position){0, 0}, &e, 1)), ERR_CONFLICT);
    assert_string_equal(rig_text(rig, 3, 1), "to one");
    raft_blob_release(a);
    raft_blob_release(b);
    rig_free(rig);
}

static void a_second_leader_in_a_term_is_seen(void **state)
{
    (void)state;
    struct rig *rig = rig_new(3, 3);
    rig_elect(rig, 1);
    struct raft_message beat = {.type = RAFT_HEARTBEAT, .from = 2, .term = rig_status(rig, 1).term};
    assert_int_equal(rig_step(rig, 3, beat), ERR_UNEXPECTED);
    assert_int_equal(rig_step(rig, 1, beat), ERR_UNEXPECTED);
    assert_int_equal(rig_status(rig, 3).leader, 1);
    rig_free(rig);
}

/* ---- nonsense ---- */

static void nonsense_changes_nothing(void **state)
{
    (void)state;
    struct rig *rig = rig_new(3, 3);
    rig_elect(rig, 1);
    struct raft_entry e[2] = {{2, 1, RAFT_ENTRY_NOOP, NULL}, {3, 1, RAFT_ENTRY_NOOP, NULL}};
    struct raft_message good = append(1, 1, (struct raft_position){1, 1}, e, 2), m;
    struct raft_status before = rig_status(rig, 2);
#define REFUSED(change)                                                                            \
    do {                                                                                           \
        m = good;                                                                                  \
        change;                                                                                    \
        assert_int_equal(rig_step(rig, 2, m), ERR_INVALID);                                        \
    } while (0)
    REFUSED(m.from = 2);
    REFUSED(m.from = 0);
    REFUSED(m.type = (enum raft_message_type)12);
    REFUSED(m.type = (enum raft_message_type)0);
    REFUSED(m.term = 0);
    REFUSED(m.term = RAFT_TERM_MAX + 1);
    REFUSED(m.log.term = 2);
    REFUSED(m.log.term = 0);
    REFUSED(m.log.index = 0);
    REFUSED(m.log.index = RAFT_INDEX_MAX + 1);
    REFUSED(m.commit = UINT64_MAX);
    REFUSED(m.durable = RAFT_INDEX_MAX + 1);
    REFUSED(m.entry_count = LIMIT_RAFT_ENTRIES + 1);
    REFUSED(m.type = RAFT_HEARTBEAT);
    REFUSED((m.type = RAFT_PREVOTE, m.entry_count = 0, m.proposed = 5));
    REFUSED((m.type = RAFT_APPEND_ANSWER, m.entry_count = 0, m.match = 2, m.checked = 1));
    REFUSED((m.type = RAFT_SNAPSHOT, m.entry_count = 0)); /* no members */
    struct raft_entry bad[2] = {e[0], e[1]};
    good.entries = bad;
    REFUSED(bad[1].index = 4);
    bad[1] = e[1];
    REFUSED(bad[1].term = 0);
    REFUSED(bad[1].term = 2);
    bad[1] = e[1];
    REFUSED(bad[1].type = (enum raft_entry_type)9);
    bad[1] = e[1];
    /* A peer that claims more than we ever had. */
    m = (struct raft_message){.type = RAFT_APPEND_ANSWER, .from = 2, .term = 1, .match = 99, .checked = 99};
    assert_int_equal(rig_step(rig, 1, m), ERR_INVALID);
    m.type = RAFT_HEARTBEAT_ANSWER;
    assert_int_equal(rig_step(rig, 1, m), ERR_INVALID);
    m = (struct raft_message){.type = RAFT_APPEND_ANSWER, .from = 7, .term = 1, .match = 1, .checked = 1};
    assert_int_equal(rig_step(rig, 1, m), OK); /* not a member: ignored */
    struct raft_status after = rig_status(rig, 2);
    assert_true(after.role == before.role && after.leader == before.leader && after.term == before.term &&
                after.vote == before.vote && after.commit == before.commit && after.applied == before.applied &&
                after.last.index == before.last.index && after.last.term == before.last.term &&
                after.persisted == before.persisted && after.checked == before.checked &&
                after.leader_commit == before.leader_commit && after.installing == before.installing &&
                after.may_vote == before.may_vote && after.may_lead == before.may_lead);
    rig_free(rig);
}

/* Votes that come before they could have been asked for make no leader. */
static void early_votes_do_not_count(void **state)
{
    (void)state;
    struct rig *rig = rig_new(3, 3);
    rig_disk(rig, 1, true);
    struct raft_message now = {.type = RAFT_HEARTBEAT, .from = 2, .term = 1};
    rig_step(rig, 1, now);
    rig_persist(rig, 1, SIZE_MAX);
    now.type = RAFT_TIMEOUT_NOW;
    rig_step(rig, 1, now);
    assert_int_equal(rig_status(rig, 1).role, RAFT_CANDIDATE);
    for (raft_id id = 2; id <= 3; id++) {
        struct raft_message yes = {.type = RAFT_VOTE_ANSWER, .from = id, .term = 2, .granted = true};
        assert_int_equal(rig_step(rig, 1, yes), OK);
    }
    assert_int_equal(rig_status(rig, 1).role, RAFT_CANDIDATE);
    rig_free(rig);
}

static void a_leap_of_term_is_refused_but_climbed(void **state)
{
    (void)state;
    struct rig *rig = rig_new(3, 3);
    rig_elect(rig, 1);
    struct raft_message far = {.type = RAFT_HEARTBEAT, .from = 2, .term = 5 * RAFT_TERM_JUMP};
    /* While a leader is heard: refused, nothing else. */
    assert_int_equal(rig_step(rig, 3, far), ERR_TOO_LARGE);
    assert_int_equal(rig_step(rig, 1, far), ERR_TOO_LARGE);
    assert_int_equal(rig_status(rig, 3).term, 1);
    assert_int_equal(rig_status(rig, 1).term, 1);
    /* Without one: a step per election time-out, and in the end it follows. */
    rig_isolate(rig, 3);
    raft_set_may_lead(rig->nodes[3].raft, false);
    unsigned ticks = 0;
    for (; rig_status(rig, 3).term < far.term && ticks < 200; ticks++) {
        raft_term before = rig_status(rig, 3).term;
        rig_tick(rig, 3, 1);
        (void)rig_step(rig, 3, far);
        assert_true(rig_status(rig, 3).term <= before + RAFT_TERM_JUMP);
    }
    assert_int_equal(rig_status(rig, 3).term, far.term);
    assert_int_equal(rig_status(rig, 3).leader, 2);
    assert_true(ticks > 30 && ticks < 70);
    rig_free(rig);
}

/* ---- reads, cache, compaction ---- */

static void old_entries_are_read_from_the_log(void **state)
{
    (void)state;
    struct rig *rig = rig_new(3, 3);
    rig->options.cache_bytes = rig->options.backlog_bytes = 1000;
    for (raft_id id = 1; id <= 3; id++) {
        rig_crash(rig, id);
        rig_start_node(rig, id);
    }
    rig_elect(rig, 1);
    rig_crash(rig, 3);
    for (int i = 0; i < 100; i++) {
        rig_propose(rig, 1, "an entry");
        rig_run(rig);
    }
    assert_true(rig_status(rig, 1).cache_bytes <= 1000);
    assert_null(raft_entry_cached(rig->nodes[1].raft, 5));
    assert_non_null(raft_entry_cached(rig->nodes[1].raft, 100));
    rig_start_node(rig, 3);
    rig->nodes[1].slow_reads = true;
    rig_ticks(rig, 4);
    assert_int_equal(rig->nodes[1].reads, 1); /* one at a time per peer */
    assert_int_equal(rig->nodes[1].read.peer, 3);
    raft_index first = rig->nodes[1].read.first;
    /* Entries that are not those that were asked for. */
    struct raft_entry wrong = {first, 9, RAFT_ENTRY_NOOP, NULL};
    raft_read_done(rig->nodes[1].raft, 3, &wrong, 1);
    rig_run(rig);
    assert_int_equal(rig->nodes[1].reads, 2);
    raft_read_failed(rig->nodes[1].raft, 3);
    rig_run(rig);
    assert_int_equal(rig->nodes[1].reads, 2);
    rig_ticks(rig, 4); /* a heartbeat later */
    assert_int_equal(rig->nodes[1].reads, 3);
    rig->nodes[1].slow_reads = false;
    raft_read_failed(rig->nodes[1].raft, 3);
    rig_ticks(rig, 6);
    assert_int_equal(rig_status(rig, 3).persisted, rig_status(rig, 1).last.index);
    rig_free(rig);
}

static void propose_50(struct rig *rig)
{
    for (int i = 0; i < 50; i++) rig_propose(rig, 1, "an entry");
    rig_run(rig);
    rig_ticks(rig, 4); /* all know what is committed */
}

static size_t cached_bytes(struct rig *rig, raft_id id) { return rig_status(rig, id).cache_bytes; }

static void what_all_have_applied_is_let_go(void **state)
{
    (void)state;
    struct rig *rig = rig_new(3, 3);
    rig->options.spent_bytes = 1000;
    for (raft_id id = 1; id <= 3; id++) {
        rig_crash(rig, id);
        rig_start_node(rig, id);
    }
    rig_elect(rig, 1);
    propose_50(rig);
    for (raft_id id = 1; id <= 3; id++) {
        assert_true(cached_bytes(rig, id) <= 1000);
        assert_non_null(raft_entry_cached(rig->nodes[id].raft, rig_status(rig, id).last.index));
    }
    /* Who is away for a moment is given all of it from memory, and meanwhile only the leader keeps it. */
    raft_index first = rig_status(rig, 1).last.index + 1;
    rig_crash(rig, 3);
    propose_50(rig);
    assert_true(cached_bytes(rig, 1) > 1000 && cached_bytes(rig, 2) <= 1000);
    assert_non_null(raft_entry_cached(rig->nodes[1].raft, first));
    rig_start_node(rig, 3);
    rig_ticks(rig, 6);
    assert_int_equal(rig_status(rig, 3).applied, rig_status(rig, 1).last.index);
    assert_int_equal(rig->nodes[1].reads, 0);
    for (raft_id id = 1; id <= 3; id++) assert_true(cached_bytes(rig, id) <= 1000);
    /* Not for who stays away. */
    rig_crash(rig, 3);
    propose_50(rig);
    assert_true(cached_bytes(rig, 1) > 1000);
    rig_ticks(rig, 2 * rig->options.election_ticks);
    assert_true(cached_bytes(rig, 1) <= 1000);
    rig_free(rig);
}

static void lost_messages_are_found_by_heartbeats(void **state)
{
    (void)state;
    struct rig *rig = rig_new(3, 3);
    rig_elect(rig, 1);
    rig_ticks(rig, 3);
    rig_propose(rig, 1, "lost on the way");
    rig_drop(rig);
    rig_ticks(rig, 4);
    assert_int_equal(rig_status(rig, 2).persisted, rig_status(rig, 1).last.index);
    /* At once when the driver says that the connection broke. */
    rig_propose(rig, 1, "lost too");
    rig_drop(rig);
    for (raft_id id = 2; id <= 3; id++) raft_peer_lost(rig->nodes[1].raft, id);
    rig_run(rig);
    assert_int_equal(rig_status(rig, 1).commit, rig_status(rig, 1).last.index);
    rig_free(rig);
}

/* A peer that takes no entries (time admission) gets one append per heartbeat, not a window each. */
static void refused_appends_come_once_per_heartbeat(void **state)
{
    (void)state;
    struct rig *rig = rig_new(3, 3);
    rig->options.message_bytes = 1;
    rig_crash(rig, 1);
    rig_start_node(rig, 1);
    rig_elect(rig, 1);
    for (int i = 0; i < 20; i++) rig_propose(rig, 1, "x");
    /* Node 3 gets heartbeats only. */
    for (int tick = 0; tick < 60; tick++) {
        for (raft_id id = 1; id <= 3; id++) rig_tick(rig, id, 1);
        while (rig->wire_count) {
            struct raft_message m = rig->wire[0];
            memmove(rig->wire, rig->wire + 1, --rig->wire_count * sizeof m);
            if (!(m.to == 3 && m.type == RAFT_APPEND)) (void)raft_step(rig->nodes[m.to].raft, &m);
            rig_take(rig, m.to);
            raft_message_clear(&m);
        }
        if (tick == 10) rig_forget(rig);
    }
    unsigned appends = 0, beats = 0;
    for (size_t i = 0; i < rig->seen_count; i++) {
        appends += rig->seen[i].to == 3 && rig->seen[i].type == RAFT_APPEND;
        beats += rig->seen[i].to == 3 && rig->seen[i].type == RAFT_HEARTBEAT;
    }
    assert_true(appends > 5 && appends <= beats);
    rig_ticks(rig, 4);
    assert_int_equal(rig_status(rig, 3).persisted, rig_status(rig, 1).last.index);
    rig_free(rig);
}

/* Takes the first append to node 3 off the wire. */
static void lose_first_append(struct rig *rig)
{
    size_t at = 0;
    while (!(rig->wire[at].to == 3 && rig->wire[at].type == RAFT_APPEND)) at++;
    raft_message_clear(&rig->wire[at]);
    memmove(rig->wire + at, rig->wire + at + 1, (--rig->wire_count - at) * sizeof rig->wire[0]);
}

/* Each append of a window behind a lost one is rejected; only the first of these answers starts the window again. The
 * simulator's first find: each of them did, and each new window's were rejected in turn, more of them every time. */
static void rejections_of_one_lost_window_restart_it_once(void **state)
{
    (void)state;
    struct rig *rig = rig_new(3, 3);
    rig_elect(rig, 1);
    rig_ticks(rig, 4);
    rig_forget(rig);
    for (int i = 0; i < 20; i++) rig_propose(rig, 1, "x");
    unsigned sent = rig_count(rig, 1, RAFT_APPEND);
    assert_true(sent >= 20); /* a window of many to each follower */
    lose_first_append(rig);
    rig_run(rig);
    unsigned refused = 0;
    for (size_t i = 0; i < rig->seen_count; i++)
        refused += rig->seen[i].from == 3 && rig->seen[i].type == RAFT_APPEND_ANSWER && rig->seen[i].rejected;
    assert_true(refused > 5);
    assert_true(rig_count(rig, 1, RAFT_APPEND) <= sent + 2);
    assert_int_equal(rig_status(rig, 3).persisted, rig_status(rig, 1).last.index);
    rig_free(rig);
}

static void compacted_prefix_in_an_append(void **state)
{
    (void)state;
    struct rig *rig = rig_new(3, 3);
    rig_elect(rig, 1);
    for (int i = 0; i < 9; i++) rig_propose(rig, 1, "x");
    rig_run(rig);
    rig_ticks(rig, 3);
    rig_compact(rig, 3, 8);
    raft_term term = rig_status(rig, 1).term;
    /* Entirely below: told where to go on. */
    rig_forget(rig);
    assert_int_equal(rig_step(rig, 3, append(1, term, (struct raft_position){2, term}, NULL, 0)), OK);
    assert_true(rig_sent(rig, 3, 1, RAFT_APPEND_ANSWER)->rejected);
    assert_int_equal(rig_sent(rig, 3, 1, RAFT_APPEND_ANSWER)->conflict.index, 8);
    /* Reaching across. */
    struct raft_entry e[8];
    for (raft_index i = 0; i < 8; i++) e[i] = (struct raft_entry){i + 3, term, RAFT_ENTRY_BLOCK, NULL};
    for (raft_index i = 6; i < 8; i++) e[i] = *raft_entry_cached(rig->nodes[1].raft, i + 3);
    assert_int_equal(rig_step(rig, 3, append(1, term, (struct raft_position){2, term}, e, 8)), OK);
    assert_int_equal(rig_sent(rig, 3, 1, RAFT_APPEND_ANSWER)->match, 10);
    /* Reaching across with another entry at the compacted index. */
    e[5].term = term + 1;
    e[6].term = e[7].term = term + 1;
    assert_int_equal(rig_step(rig, 3, append(2, term + 1, (struct raft_position){2, term}, e, 8)), ERR_CONFLICT);
    assert_int_equal(rig->nodes[3].conflict.index, 8);
    rig_free(rig);
}

/* Writes that are not taken by the log in time are joined, and bounded. */
static void outstanding_writes_are_bounded(void **state)
{
    (void)state;
    struct rig *rig = rig_new(3, 3);
    rig_elect(rig, 1);
    rig_disk(rig, 3, true);
    for (int i = 0; i < LIMIT_RAFT_WRITES + 30; i++) {
        rig_propose(rig, 1, "x");
        rig_run(rig);
    }
    assert_int_equal(rig->nodes[3].write_count, LIMIT_RAFT_WRITES);
    rig_disk(rig, 3, false);
    rig_run(rig);
    assert_int_equal(rig_status(rig, 3).persisted, rig_status(rig, 1).last.index);
    rig_free(rig);
}

/* A snapshot's reset while older writes are still under way. */
static void writes_under_way_when_a_snapshot_is_installed(void **state)
{
    (void)state;
    struct rig *rig = rig_new(3, 3);
    struct raft_entry e[6];
    for (raft_index i = 0; i < 6; i++) e[i] = (struct raft_entry){i + 1, 1, RAFT_ENTRY_NOOP, NULL};
    rig_step(rig, 3, append(1, 1, (struct raft_position){0, 0}, e, 1));
    rig_disk(rig, 3, true);
    rig_step(rig, 3, append(1, 1, (struct raft_position){1, 1}, e + 1, 5));
    assert_int_equal(rig->nodes[3].write_count, 1);
    struct raft_message offer = {.type = RAFT_SNAPSHOT, .from = 2, .term = 2, .log = {4, 2}, .config = rig->genesis};
    rig_step(rig, 3, offer);
    assert_true(rig->nodes[3].has_install);
    rig->nodes[3].apply_to = 4;
    raft_snapshot_installed(rig->nodes[3].raft, (struct raft_position){4, 2});
    rig_take(rig, 3);
    assert_int_equal(rig->nodes[3].write_count, 3); /* term, reset */
    rig_persist(rig, 3, 1); /* the old entries, longer than the new log */
    assert_int_equal(rig_status(rig, 3).last.index, 4);
    assert_int_equal(rig_status(rig, 3).persisted, 4);
    rig_persist(rig, 3, 2);
    assert_int_equal(rig->nodes[3].log_count, 0);
    assert_int_equal(rig->nodes[3].base.index, 4);
    assert_int_equal(rig_sent(rig, 3, 2, RAFT_APPEND_ANSWER)->match, 4);
    rig_free(rig);
}

/* ---- start ---- */

static void a_state_that_contradicts_itself_is_refused(void **state)
{
    (void)state;
    struct raft_options o = {.id = 1};
    raft_options_default(&o);
    struct raft_run runs[2] = {{6, 2}, {9, 4}};
    struct raft_config_at at = {.index = 7};
    raft_config_set(&at.config, 1, true);
    struct raft_state good = {.term = 4,
                              .compacted = {5, 2},
                              .last = 10,
                              .runs = runs,
                              .run_count = 2,
                              .configs = &at,
                              .config_count = 1,
                              .applied = 6};
    raft_config_set(&good.compacted_config, 1, true);
    struct raft *r;
    assert_int_equal(raft_new(&r, &o, &good), OK);
    raft_free(r);
#define CORRUPT(change)                                                                            \
    do {                                                                                           \
        struct raft_state s = good;                                                                \
        change;                                                                                    \
        assert_int_equal(raft_new(&r, &o, &s), ERR_CORRUPT);                                       \
        assert_null(r);                                                                            \
    } while (0)
    CORRUPT(s.term = 3);
    CORRUPT(s.last = 4);
    CORRUPT(s.last = 8);
    CORRUPT(s.applied = 4);
    CORRUPT(s.applied = 11);
    CORRUPT(s.run_count = 0);
    CORRUPT(s.compacted.term = 0);
    CORRUPT(s.compacted.term = 3);
    CORRUPT(s.compacted.index = 4);
    CORRUPT(s.snapshot = 6);
    runs[1].term = 2;
    CORRUPT(s.vote = 1);
    runs[1].term = 4;
    at.index = 5;
    CORRUPT(s.vote = 1);
    at.index = 11;
    CORRUPT(s.vote = 1);
    struct raft_options bad = o;
    bad.id = 0;
    assert_int_equal(raft_new(&r, &bad, &good), ERR_INVALID);
    bad = o;
    bad.heartbeat_ticks = bad.election_ticks;
    assert_int_equal(raft_new(&r, &bad, &good), ERR_INVALID);
    bad = o;
    bad.window_messages = LIMIT_RAFT_WINDOW + 1;
    assert_int_equal(raft_new(&r, &bad, &good), ERR_INVALID);
}

static struct raft *lone(void)
{
    struct raft_options o = {.id = 1};
    raft_options_default(&o);
    struct raft_state s = {0};
    raft_config_set(&s.compacted_config, 1, true);
    struct raft *r;
    CHECK(!raft_new(&r, &o, &s));
    return r;
}

static void persist_unknown_write(void) { raft_persisted(lone(), 1); }
static void apply_too_much(void) { raft_applied(lone(), 1); }
static void compact_too_much(void) { raft_compact(lone(), 1); }
static void install_unasked(void) { raft_snapshot_installed(lone(), (struct raft_position){1, 1}); }

static void misuse_ends_the_process(void **state)
{
    (void)state;
    assert_true(dies(persist_unknown_write));
    assert_true(dies(apply_too_much));
    assert_true(dies(compact_too_much));
    assert_true(dies(install_unasked));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_node_alone),
        cmocka_unit_test(three_nodes_replicate),
        cmocka_unit_test(calls_are_joined),
        cmocka_unit_test(logs_that_differ_are_repaired),
        cmocka_unit_test(leadership_moves_on_request),
        cmocka_unit_test(handing_over_to_nobody_ends),
        cmocka_unit_test(who_may_not_lead_hands_over),
        cmocka_unit_test(who_may_not_stand_loses_a_silent_leader),
        cmocka_unit_test(who_may_not_lead_and_finds_no_heir_steps_down),
        cmocka_unit_test(nothing_at_or_below_the_floor_is_truncated),
        cmocka_unit_test(nothing_committed_is_truncated),
        cmocka_unit_test(a_second_block_is_seen),
        cmocka_unit_test(a_second_leader_in_a_term_is_seen),
        cmocka_unit_test(nonsense_changes_nothing),
        cmocka_unit_test(early_votes_do_not_count),
        cmocka_unit_test(a_leap_of_term_is_refused_but_climbed),
        cmocka_unit_test(old_entries_are_read_from_the_log),
        cmocka_unit_test(what_all_have_applied_is_let_go),
        cmocka_unit_test(lost_messages_are_found_by_heartbeats),
        cmocka_unit_test(refused_appends_come_once_per_heartbeat),
        cmocka_unit_test(rejections_of_one_lost_window_restart_it_once),
        cmocka_unit_test(compacted_prefix_in_an_append),
        cmocka_unit_test(outstanding_writes_are_bounded),
        cmocka_unit_test(writes_under_way_when_a_snapshot_is_installed),
        cmocka_unit_test(a_state_that_contradicts_itself_is_refused),
        cmocka_unit_test(misuse_ends_the_process),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
