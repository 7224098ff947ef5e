/* How a node that forgot its votes becomes a voter again: each step of consensus/rejoin.h, and who is not believed. In the
 * rig node 1 leads and node 2 forgot, if nothing else is said. */
#include "consensus/rejoin.h"

#include "base/check.h"
#include "tests/lib/raft_rig.h"
#include "tests/lib/unit.h"

#define NONCE 77
#define REST 5
#define PATIENCE 30

struct bed {
    struct rig *rig;
    struct rejoin nodes[RIG_NODES + 1];
    bool mute[RIG_NODES + 1]; /* what it says of this is lost */
    struct sent {
        raft_id from, to;
        struct rejoin_message m;
    } sent[512];
    size_t sent_count, delivered;
    struct speaker {
        struct bed *bed;
        raft_id id;
    } speakers[RIG_NODES + 1];
};

static void keep_sent(void *data, raft_id to, const struct rejoin_message *m)
{
    const struct speaker *s = data;
    if (s->bed->mute[s->id]) return;
    assert_true(s->bed->sent_count < 512);
    s->bed->sent[s->bed->sent_count++] = (struct sent){s->id, to, *m};
}

static void start_rejoin(struct bed *bed, raft_id id)
{
    bed->speakers[id] = (struct speaker){bed, id};
    bed->nodes[id] = (struct rejoin){.self = id, .send = keep_sent, .data = &bed->speakers[id]};
}

static void forget_votes(struct bed *bed, raft_id id, uint64_t nonce)
{
    raft_set_may_vote(bed->rig->nodes[id].raft, false);
    raft_set_may_acknowledge(bed->rig->nodes[id].raft, false);
    rejoin_begin(&bed->nodes[id], nonce);
}

static struct bed *bed_new(unsigned voters)
{
    struct bed *bed = xcalloc(1, sizeof *bed);
    bed->rig = rig_new(voters, voters);
    for (raft_id id = 1; id <= voters; id++) start_rejoin(bed, id);
    rig_elect(bed->rig, 1);
    rig_ticks(bed->rig, 4);
    forget_votes(bed, 2, NONCE);
    return bed;
}

static void bed_free(struct bed *bed)
{
    rig_free(bed->rig);
    free(bed);
}

static enum err came(struct bed *bed, raft_id to, raft_id from, struct rejoin_message m)
{
    enum err e = rejoin_came(&bed->nodes[to], bed->rig->nodes[to].raft, from, &m);
    rig_take(bed->rig, to);
    return e;
}

static void deliver(struct bed *bed)
{
    while (bed->delivered < bed->sent_count) {
        struct sent s = bed->sent[bed->delivered++];
        if (!bed->rig->cut[s.from][s.to]) assert_int_equal(came(bed, s.to, s.from, s.m), OK);
    }
    rig_run(bed->rig);
}

static void tick_one(struct bed *bed, raft_id id, bool room)
{
    rejoin_tick(&bed->nodes[id], bed->rig->nodes[id].raft, room);
    rig_run(bed->rig);
}

/* A second on all nodes. */
static void tick(struct bed *bed)
{
    for (raft_id id = 1; id <= RIG_NODES; id++) {
        if (!bed->rig->nodes[id].raft) continue;
        tick_one(bed, id, true);
        deliver(bed);
    }
    rig_ticks(bed->rig, 2);
}

static void hand_over(struct bed *bed, raft_id from, raft_id to)
{
    assert_int_equal(raft_transfer(bed->rig->nodes[from].raft, to), OK);
    rig_run(bed->rig);
    assert_int_equal(rig_status(bed->rig, to).role, RAFT_LEADER);
    rig_ticks(bed->rig, 4);
}

static bool may(struct bed *bed, raft_id id) { return rejoin_may(&bed->nodes[id], bed->rig->nodes[id].raft); }
static raft_index last(struct bed *bed) { return rig_status(bed->rig, 1).last.index; }

static unsigned said(struct bed *bed, raft_id from, enum rejoin_step step)
{
    unsigned count = 0;
    for (size_t i = 0; i < bed->sent_count; i++) count += bed->sent[i].from == from && bed->sent[i].m.step == step;
    return count;
}

static struct rejoin_message last_said(struct bed *bed, raft_id from)
{
    size_t i = bed->sent_count;
    while (i && bed->sent[i - 1].from != from) i--;
    assert_true(i > 0);
    return bed->sent[i - 1].m;
}

static void forget_sent(struct bed *bed) { bed->sent_count = bed->delivered = 0; }

static struct rejoin_message message(enum rejoin_step step, uint64_t nonce, raft_term term, raft_index index)
{
    return (struct rejoin_message){.step = step, .nonce = nonce, .term = term, .index = index};
}

/* ---- the whole way ---- */

static void it_comes_back(void **state)
{
    (void)state;
    struct bed *bed = bed_new(3);
    raft_index before = last(bed);
    assert_false(may(bed, 2));
    tick(bed); /* asks; the leader names the next entry */
    assert_int_equal(bed->nodes[2].point, before + 1);
    tick(bed); /* the leader appends it, the others hold it */
    assert_int_equal(last(bed), before + 1);
    tick(bed);
    assert_true(may(bed, 2));
    assert_false(may(bed, 1));
    assert_false(may(bed, 3));
    raft_rejoin(bed->rig->nodes[2].raft);
    rejoin_end(&bed->nodes[2]);
    assert_false(may(bed, 2));
    forget_sent(bed);
    tick(bed);
    assert_int_equal(bed->sent_count, 0);
    bed_free(bed);
}

static void each_step_may_be_lost(void **state)
{
    (void)state;
    for (size_t lost = 0; lost < 6; lost++) {
        struct bed *bed = bed_new(3);
        for (unsigned seconds = 0; !may(bed, 2); seconds++) {
            assert_true(seconds < 2 * REST);
            for (raft_id id = 1; id <= 3; id++) tick_one(bed, id, true);
            if (bed->delivered <= lost && lost < bed->sent_count) bed->sent[lost].to = 0;
            while (bed->delivered < bed->sent_count) {
                struct sent s = bed->sent[bed->delivered++];
                if (s.to) (void)came(bed, s.to, s.from, s.m);
            }
            rig_ticks(bed->rig, 2);
        }
        bed_free(bed);
    }
}

/* ---- the leader ---- */

static void nothing_is_appended_where_something_comes(void **state)
{
    (void)state;
    struct bed *bed = bed_new(3);
    raft_index before = last(bed);
    tick_one(bed, 2, true);
    deliver(bed);
    raft_index index = rig_propose(bed->rig, 1, "comes anyway");
    assert_int_equal(index, bed->nodes[2].point);
    for (unsigned i = 0; i < 2 * REST; i++) tick(bed);
    assert_int_equal(last(bed), before + 1);
    assert_true(may(bed, 2));
    bed_free(bed);
}

static void nothing_is_appended_that_nobody_asked_for(void **state)
{
    (void)state;
    struct bed *bed = bed_new(3);
    rejoin_end(&bed->nodes[2]);
    raft_index before = last(bed);
    for (unsigned i = 0; i < 2 * REST; i++) tick(bed);
    assert_int_equal(last(bed), before);
    bed_free(bed);
}

static void who_asks_often_gets_few_entries(void **state)
{
    (void)state;
    struct bed *bed = bed_new(3);
    raft_index before = last(bed);
    for (unsigned i = 0; i < 4 * REST; i++) {
        assert_int_equal(came(bed, 1, 2, message(REJOIN_ASK, i + 1, 1, 0)), OK);
        tick_one(bed, 1, true);
    }
    assert_int_equal(last(bed), before + 4);
    bed_free(bed);
}

static void nothing_is_appended_without_room(void **state)
{
    (void)state;
    struct bed *bed = bed_new(3);
    raft_index before = last(bed);
    assert_int_equal(came(bed, 1, 2, message(REJOIN_ASK, NONCE, 1, 0)), OK);
    for (unsigned i = 0; i < 2 * REST; i++) tick_one(bed, 1, false);
    assert_int_equal(last(bed), before);
    tick_one(bed, 1, true);
    assert_int_equal(last(bed), before + 1);
    bed_free(bed);
}

/* What was named in a term in which it doesn't lead any more. */
static void who_leads_no_more_appends_nothing(void **state)
{
    (void)state;
    struct bed *bed = bed_new(3);
    assert_int_equal(came(bed, 1, 2, message(REJOIN_ASK, NONCE, 1, 0)), OK);
    hand_over(bed, 1, 3);
    hand_over(bed, 3, 1);
    raft_index before = last(bed);
    bed->nodes[1].wanted = before + 1; /* as of the first term, whatever came since */
    tick_one(bed, 1, true);
    assert_int_equal(last(bed), before);
    bed_free(bed);
}

static void an_entry_is_named_that_was_not_appended(void **state)
{
    (void)state;
    struct bed *bed = bed_new(3);
    raft_index before = last(bed);
    (void)came(bed, 1, 2, message(REJOIN_ASK, NONCE, 1, 0));
    (void)came(bed, 1, 2, message(REJOIN_ASK, NONCE, 1, 0));
    (void)came(bed, 1, 3, message(REJOIN_ASK, NONCE + 1, 1, 0));
    assert_int_equal(bed->sent_count, 3);
    for (size_t i = 0; i < 3; i++) assert_int_equal(bed->sent[i].m.index, before + 1);
    assert_int_equal(bed->sent[2].m.nonce, NONCE + 1);
    raft_index index = rig_propose(bed->rig, 1, "is there now");
    (void)came(bed, 1, 2, message(REJOIN_ASK, NONCE, 1, 0));
    assert_int_equal(last_said(bed, 1).index, index + 1);
    bed_free(bed);
}

static void only_the_leader_of_that_term_names_one(void **state)
{
    (void)state;
    struct bed *bed = bed_new(3);
    assert_int_equal(came(bed, 3, 2, message(REJOIN_ASK, NONCE, 1, 0)), OK);
    assert_int_equal(came(bed, 1, 2, message(REJOIN_ASK, NONCE, 2, 0)), OK);
    assert_int_equal(bed->sent_count, 0);
    assert_int_equal(raft_transfer(bed->rig->nodes[1].raft, 3), OK);
    assert_int_equal(came(bed, 1, 2, message(REJOIN_ASK, NONCE, 1, 0)), OK);
    assert_int_equal(bed->sent_count, 0);
    bed_free(bed);
}

/* ---- who forgot ---- */

static void only_its_leader_points(void **state)
{
    (void)state;
    struct bed *bed = bed_new(3);
    bed->mute[1] = true;
    tick(bed);
    raft_index next = last(bed) + 1;
    const struct {
        raft_id from;
        struct rejoin_message m;
    } wrong[] = {
        {3, message(REJOIN_POINT, NONCE, 1, next)},
        {1, message(REJOIN_POINT, NONCE + 1, 1, next)},
        {1, message(REJOIN_POINT, NONCE, 2, next)},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(came(bed, 2, wrong[i].from, wrong[i].m), OK);
        assert_int_equal(bed->nodes[2].point, 0);
    }
    assert_int_equal(came(bed, 2, 1, message(REJOIN_POINT, NONCE, 1, next)), OK);
    assert_int_equal(bed->nodes[2].point, next);
    assert_int_equal(came(bed, 2, 1, message(REJOIN_POINT, NONCE, 1, next + 5)), OK);
    assert_int_equal(bed->nodes[2].point, next);
    bed_free(bed);
}

/* Of five, with an entry named that all have; what node 2 was told is for the test to say. */
static struct bed *pointed(unsigned voters)
{
    struct bed *bed = bed_new(voters);
    for (raft_id id = 3; id <= voters; id++) bed->mute[id] = true;
    bed->mute[1] = true;
    tick(bed);
    raft_index index = rig_propose(bed->rig, 1, "comes after");
    rig_ticks(bed->rig, 4);
    assert_int_equal(came(bed, 2, 1, message(REJOIN_POINT, NONCE, 1, index)), OK);
    assert_int_equal(bed->nodes[2].point, index);
    return bed;
}

static void held_by(struct bed *bed, raft_id id)
{
    assert_int_equal(came(bed, 2, id, message(REJOIN_HELD, NONCE, 1, bed->nodes[2].point)), OK);
}

static void a_majority_without_itself_is_needed(void **state)
{
    (void)state;
    const unsigned needed[] = {0, 0, 0, 2, 3, 3, 4, 4};
    for (unsigned voters = 3; voters <= 7; voters++) {
        struct bed *bed = pointed(voters);
        held_by(bed, 1);
        bed->nodes[2].held[2] = true; /* its own copy is none */
        for (unsigned count = 1; count < needed[voters]; count++) {
            assert_false(may(bed, 2));
            held_by(bed, count == 1 ? 1 : (raft_id)(count + 1)); /* once more is not another */
            held_by(bed, (raft_id)(count + 2));
        }
        assert_true(may(bed, 2));
        bed_free(bed);
    }
}

static void other_answers_do_not_count(void **state)
{
    (void)state;
    struct bed *bed = pointed(3);
    raft_index point = bed->nodes[2].point;
    held_by(bed, 1);
    const struct rejoin_message wrong[] = {
        message(REJOIN_HELD, NONCE + 1, 1, point),
        message(REJOIN_HELD, NONCE, 2, point),
        message(REJOIN_HELD, NONCE, 1, point - 1),
        message(REJOIN_HELD, NONCE, 1, point + 1),
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(came(bed, 2, 3, wrong[i]), OK);
        assert_false(may(bed, 2));
    }
    held_by(bed, 3);
    assert_true(may(bed, 2));
    bed_free(bed);
}

static void who_is_no_member_says_nothing_of_it(void **state)
{
    (void)state;
    struct bed *bed = bed_new(4);
    assert_int_equal(rig_change(bed->rig, 1, 4, -1), OK);
    rig_ticks(bed->rig, 4);
    for (enum rejoin_step step = REJOIN_ASK; step <= REJOIN_HELD; step++) {
        struct rejoin_message m = message(step, NONCE, 1, step == REJOIN_ASK ? 0 : 1);
        assert_int_equal(came(bed, 1, 4, m), ERR_INVALID);
        assert_int_equal(came(bed, 1, 5, m), ERR_INVALID);
        assert_int_equal(came(bed, 1, 1, m), ERR_INVALID);
    }
    assert_int_equal(bed->sent_count, 0);
    bed_free(bed);
}

/* It may be a voter again one day; till then its word is none of theirs. */
static void who_only_learns_comes_back_too(void **state)
{
    (void)state;
    struct bed *bed = bed_new(5);
    assert_int_equal(rig_change(bed->rig, 1, 2, 0), OK);
    rig_ticks(bed->rig, 4);
    assert_int_equal(rig_change(bed->rig, 1, 5, 0), OK);
    rig_ticks(bed->rig, 4);
    bed->mute[4] = true;
    for (unsigned i = 0; i < 3; i++) tick(bed);
    assert_true(bed->nodes[2].held[1] && bed->nodes[2].held[3]);
    assert_true(may(bed, 2)); /* two of three voters */
    bed->nodes[2].held[3] = false;
    bed->nodes[2].held[5] = true;
    assert_false(may(bed, 2));
    bed_free(bed);
}

static void the_entry_has_to_be_committed_here(void **state)
{
    (void)state;
    struct bed *bed = bed_new(3);
    tick_one(bed, 2, true);
    deliver(bed);
    bed->rig->cut[3][1] = true; /* its acknowledgement; and node 2's doesn't count */
    raft_index index = rig_propose(bed->rig, 1, "comes after");
    rig_run(bed->rig);
    held_by(bed, 1);
    held_by(bed, 3);
    assert_int_equal(rig_status(bed->rig, 2).persisted, index);
    assert_false(may(bed, 2));
    rig_heal(bed->rig);
    rig_ticks(bed->rig, 4);
    assert_true(may(bed, 2));
    bed_free(bed);
}

static void the_entry_has_to_be_durable_here(void **state)
{
    (void)state;
    struct bed *bed = bed_new(3);
    tick_one(bed, 2, true);
    deliver(bed);
    rig_disk(bed->rig, 2, true);
    raft_index index = rig_propose(bed->rig, 1, "comes after");
    rig_ticks(bed->rig, 4);
    held_by(bed, 1);
    held_by(bed, 3);
    assert_int_equal(rig_status(bed->rig, 2).commit, index);
    assert_false(may(bed, 2));
    rig_disk(bed->rig, 2, false);
    assert_true(may(bed, 2));
    bed_free(bed);
}

/* What the voters hold of term 1 says nothing of votes under way above term 2. */
static void another_term_begins_anew(void **state)
{
    (void)state;
    struct bed *bed = pointed(3);
    held_by(bed, 1);
    held_by(bed, 3);
    assert_true(may(bed, 2));
    hand_over(bed, 1, 3);
    assert_false(may(bed, 2));
    raft_index first = bed->nodes[2].point;
    bed->mute[1] = bed->mute[3] = false;
    for (unsigned i = 0; i < 3; i++) tick(bed);
    assert_int_equal(bed->nodes[2].term, 2);
    assert_true(bed->nodes[2].point > first);
    assert_true(may(bed, 2));
    bed_free(bed);
}

static void without_a_leader_it_waits(void **state)
{
    (void)state;
    struct bed *bed = pointed(3);
    held_by(bed, 1);
    held_by(bed, 3);
    rig_crash(bed->rig, 2);
    rig_start_node(bed->rig, 2); /* with what was said before: as if it was the same life */
    raft_set_may_vote(bed->rig->nodes[2].raft, false);
    assert_false(may(bed, 2));
    forget_sent(bed);
    tick_one(bed, 2, true);
    assert_int_equal(bed->sent_count, 0);
    bed_free(bed);
}

static void each_start_asks_anew(void **state)
{
    (void)state;
    struct bed *bed = pointed(3);
    held_by(bed, 1);
    struct rejoin_message late = message(REJOIN_HELD, NONCE, 1, bed->nodes[2].point);
    struct rejoin_message point = message(REJOIN_POINT, NONCE, 1, bed->nodes[2].point);
    rejoin_begin(&bed->nodes[2], NONCE + 1);
    assert_false(may(bed, 2));
    tick_one(bed, 2, true);
    assert_int_equal(last_said(bed, 2).step, REJOIN_ASK);
    assert_int_equal(last_said(bed, 2).nonce, NONCE + 1);
    assert_int_equal(came(bed, 2, 1, point), OK);
    assert_int_equal(came(bed, 2, 3, late), OK);
    assert_int_equal(came(bed, 2, 1, late), OK);
    assert_int_equal(bed->nodes[2].point, 0);
    assert_false(may(bed, 2));
    bed_free(bed);
}

static void what_cannot_be_had_is_not_waited_for(void **state)
{
    (void)state;
    struct bed *bed = pointed(3);
    raft_index first = bed->nodes[2].point;
    bed->mute[1] = false;
    for (unsigned i = 0; i < PATIENCE; i++) tick(bed); /* node 3 says nothing */
    tick(bed);
    assert_true(bed->nodes[2].point > first);
    bed_free(bed);
}

static void who_said_it_is_not_asked_again(void **state)
{
    (void)state;
    struct bed *bed = pointed(3);
    held_by(bed, 3);
    forget_sent(bed);
    tick_one(bed, 2, true);
    assert_int_equal(bed->sent_count, 1);
    assert_int_equal(bed->sent[0].to, 1);
    bed_free(bed);
}

/* ---- who is asked ---- */

static void it_is_held_where_it_is_durable(void **state)
{
    (void)state;
    struct bed *bed = bed_new(3);
    rig_disk(bed->rig, 3, true);
    raft_index index = rig_propose(bed->rig, 1, "late at 3");
    rig_run(bed->rig);
    struct rejoin_message hold = message(REJOIN_HOLD, NONCE, 1, index);
    assert_int_equal(came(bed, 3, 2, hold), OK);
    assert_int_equal(said(bed, 3, REJOIN_HELD), 0);
    rig_disk(bed->rig, 3, false);
    assert_int_equal(came(bed, 3, 2, message(REJOIN_HOLD, NONCE, 1, index + 1)), OK);
    assert_int_equal(came(bed, 3, 2, message(REJOIN_HOLD, NONCE, 2, index)), OK);
    assert_int_equal(said(bed, 3, REJOIN_HELD), 0);
    assert_int_equal(came(bed, 3, 2, hold), OK);
    assert_int_equal(said(bed, 3, REJOIN_HELD), 1);
    struct rejoin_message held = last_said(bed, 3);
    assert_int_equal(held.nonce, NONCE);
    assert_int_equal(held.term, 1);
    assert_int_equal(held.index, index);
    bed_free(bed);
}

/* It may have voted for somebody who lacks the entry. */
static void who_is_in_a_later_term_does_not_hold_it(void **state)
{
    (void)state;
    struct bed *bed = pointed(3);
    bed->mute[3] = false;
    rig_isolate(bed->rig, 3);
    assert_int_equal(rig_step(bed->rig, 3, (struct raft_message){.type = RAFT_TIMEOUT_NOW, .from = 1, .term = 1}), OK);
    assert_int_equal(rig_status(bed->rig, 3).term, 2);
    assert_int_equal(came(bed, 3, 2, message(REJOIN_HOLD, NONCE, 1, bed->nodes[2].point)), OK);
    assert_int_equal(said(bed, 3, REJOIN_HELD), 0);
    bed_free(bed);
}

static void who_may_not_vote_or_forgot_does_not_hold_it(void **state)
{
    (void)state;
    struct bed *bed = pointed(3);
    struct rejoin_message hold = message(REJOIN_HOLD, NONCE, 1, bed->nodes[2].point);
    bed->mute[3] = false;
    raft_set_may_vote(bed->rig->nodes[3].raft, false);
    assert_int_equal(came(bed, 3, 2, hold), OK);
    raft_set_may_vote(bed->rig->nodes[3].raft, true);
    rejoin_begin(&bed->nodes[3], NONCE + 1);
    assert_int_equal(came(bed, 3, 2, hold), OK);
    assert_int_equal(said(bed, 3, REJOIN_HELD), 0);
    rejoin_end(&bed->nodes[3]);
    assert_int_equal(came(bed, 3, 2, hold), OK);
    assert_int_equal(said(bed, 3, REJOIN_HELD), 1);
    bed_free(bed);
}

/* Of three, two of which are set back: nobody can tell what was forgotten. */
static void two_of_three_stay_without_a_vote(void **state)
{
    (void)state;
    struct bed *bed = bed_new(3);
    forget_votes(bed, 3, NONCE + 1);
    for (unsigned i = 0; i < 2 * PATIENCE; i++) {
        tick(bed);
        assert_false(may(bed, 2) || may(bed, 3));
    }
    bed_free(bed);
}

static void two_of_five_help_each_other(void **state)
{
    (void)state;
    struct bed *bed = bed_new(5);
    forget_votes(bed, 3, NONCE + 1);
    for (unsigned i = 0; i < REST; i++) tick(bed);
    assert_true(may(bed, 2) && may(bed, 3));
    rig_isolate(bed->rig, 5);
    rejoin_begin(&bed->nodes[2], NONCE + 2);
    rejoin_begin(&bed->nodes[3], NONCE + 3);
    for (unsigned i = 0; i < 2 * REST; i++) tick(bed);
    assert_false(may(bed, 2) || may(bed, 3)); /* two others are left to each */
    bed_free(bed);
}

/* ---- the vote of this term ---- */

static void ask_for_vote(struct rig *rig, raft_id from, bool granted)
{
    struct raft_message m = {.type = RAFT_VOTE,
                             .from = from,
                             .term = 1,
                             .transfer = true,
                             .log = {.index = rig_status(rig, 2).last.index + 5, .term = 1}};
    rig_forget(rig);
    assert_int_equal(rig_step(rig, 2, m), OK);
    rig_take(rig, 2);
    assert_non_null(rig_sent(rig, 2, from, RAFT_VOTE_ANSWER));
    assert_int_equal(rig_sent(rig, 2, from, RAFT_VOTE_ANSWER)->granted, granted);
}

static void its_leader_is_whom_it_voted_for(void **state)
{
    (void)state;
    struct rig *rig = rig_new(3, 3);
    rig_isolate(rig, 2);
    rig_elect(rig, 1);
    rig_heal(rig);
    rig_ticks(rig, 4);
    assert_int_equal(rig_status(rig, 2).vote, 0);
    raft_rejoin(rig->nodes[2].raft);
    rig_take(rig, 2);
    assert_int_equal(rig->nodes[2].vote, 1);
    assert_int_equal(rig->nodes[2].term, 1);
    ask_for_vote(rig, 3, false);
    rig_crash(rig, 2);
    rig_start_node(rig, 2); /* hears no leader, yet */
    ask_for_vote(rig, 3, false);
    raft_free(rig->nodes[2].raft); /* what it would say without */
    rig->nodes[2].raft = NULL;
    rig->nodes[2].vote = 0;
    rig_start_node(rig, 2);
    ask_for_vote(rig, 3, true);
    rig_free(rig);
}

static void a_vote_that_it_knows_of_stays(void **state)
{
    (void)state;
    struct rig *rig = rig_new(5, 5);
    rig->nodes[2].term = 1; /* it voted for 3, who was not elected */
    rig->nodes[2].vote = 3;
    rig_crash(rig, 2);
    rig_start_node(rig, 2);
    rig_isolate(rig, 2);
    rig_elect(rig, 1);
    rig_heal(rig);
    rig_ticks(rig, 4);
    assert_int_equal(rig_status(rig, 2).leader, 1);
    assert_int_equal(rig_status(rig, 2).term, 1);
    raft_rejoin(rig->nodes[2].raft);
    rig_take(rig, 2);
    assert_int_equal(rig->nodes[2].vote, 3);
    rig_free(rig);
}

/* ---- encoding ---- */

static void what_is_encoded_decodes(void **state)
{
    (void)state;
    const struct rejoin_message all[] = {
        message(REJOIN_ASK, 1, 1, 0),
        message(REJOIN_POINT, UINT64_MAX, RAFT_TERM_MAX, RAFT_INDEX_MAX),
        message(REJOIN_HOLD, 200, 70000, 5),
        message(REJOIN_HELD, 7, 1, 1),
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        struct buffer out = {0};
        struct rejoin_message m;
        rejoin_encode(&out, &all[i]);
        struct bytes b = buffer_bytes(&out);
        assert_int_equal(rejoin_decode(&m, b), OK);
        assert_int_equal(m.step, all[i].step);
        assert_int_equal(m.nonce, all[i].nonce);
        assert_int_equal(m.term, all[i].term);
        assert_int_equal(m.index, all[i].index);
        for (size_t size = 0; size < b.size; size++)
            assert_int_not_equal(rejoin_decode(&m, bytes_of(b.data, size)), OK);
        buffer_append(&out, "\0", 1);
        assert_int_equal(rejoin_decode(&m, buffer_bytes(&out)), ERR_TRAILING);
        buffer_free(&out);
    }
}

static void what_makes_no_sense_is_refused(void **state)
{
    (void)state;
    const struct rejoin_message wrong[] = {
        message(0, 1, 1, 0),
        message(5, 1, 1, 1),
        message(REJOIN_ASK, 0, 1, 0),
        message(REJOIN_ASK, 1, 0, 0),
        message(REJOIN_ASK, 1, 1, 1),
        message(REJOIN_POINT, 1, 1, 0),
        message(REJOIN_HOLD, 1, 1, 0),
        message(REJOIN_HELD, 1, 1, 0),
        message(REJOIN_HELD, 1, RAFT_TERM_MAX + 1, 1),
        message(REJOIN_HELD, 1, 1, RAFT_INDEX_MAX + 1),
    };
    struct rejoin_message m;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct buffer out = {0};
        rejoin_encode(&out, &wrong[i]);
        assert_int_not_equal(rejoin_decode(&m, buffer_bytes(&out)), OK);
        buffer_free(&out);
    }
    static const uint8_t longer[] = {0x94, 0x01, 0xcc, 0x05, 0x01, 0x00}; /* 5 in two bytes */
    static const uint8_t shorter[] = {0x94, 0x01, 0x05, 0x01, 0x00};
    assert_int_equal(rejoin_decode(&m, BYTES(longer)), ERR_NOT_CANONICAL);
    assert_int_equal(rejoin_decode(&m, BYTES(shorter)), OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_comes_back),
        cmocka_unit_test(each_step_may_be_lost),
        cmocka_unit_test(nothing_is_appended_where_something_comes),
        cmocka_unit_test(nothing_is_appended_that_nobody_asked_for),
        cmocka_unit_test(who_asks_often_gets_few_entries),
        cmocka_unit_test(nothing_is_appended_without_room),
        cmocka_unit_test(who_leads_no_more_appends_nothing),
        cmocka_unit_test(an_entry_is_named_that_was_not_appended),
        cmocka_unit_test(only_the_leader_of_that_term_names_one),
        cmocka_unit_test(only_its_leader_points),
        cmocka_unit_test(a_majority_without_itself_is_needed),
        cmocka_unit_test(other_answers_do_not_count),
        cmocka_unit_test(who_is_no_member_says_nothing_of_it),
        cmocka_unit_test(who_only_learns_comes_back_too),
        cmocka_unit_test(the_entry_has_to_be_committed_here),
        cmocka_unit_test(the_entry_has_to_be_durable_here),
        cmocka_unit_test(another_term_begins_anew),
        cmocka_unit_test(without_a_leader_it_waits),
        cmocka_unit_test(each_start_asks_anew),
        cmocka_unit_test(what_cannot_be_had_is_not_waited_for),
        cmocka_unit_test(who_said_it_is_not_asked_again),
        cmocka_unit_test(it_is_held_where_it_is_durable),
        cmocka_unit_test(who_is_in_a_later_term_does_not_hold_it),
        cmocka_unit_test(who_may_not_vote_or_forgot_does_not_hold_it),
        cmocka_unit_test(two_of_three_stay_without_a_vote),
        cmocka_unit_test(two_of_five_help_each_other),
        cmocka_unit_test(its_leader_is_whom_it_voted_for),
        cmocka_unit_test(a_vote_that_it_knows_of_stays),
        cmocka_unit_test(what_is_encoded_decodes),
        cmocka_unit_test(what_makes_no_sense_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
