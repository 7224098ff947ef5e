/* Links on which one message takes longer than an election: the leader stays, and what takes so long is committed. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "tests/lib/raft_rig.h"
#include "tests/lib/unit.h"

#define ELECTION 10u /* the rig's, in ticks */
#define LARGE 2000   /* bytes of a block that takes its time */
#define QUEUE 4096
#define PATIENCE 3000u

/* Messages of one direction, one behind the other as in a TCP connection. */
struct link {
    struct raft_message waiting[QUEUE];
    unsigned ready[QUEUE]; /* the tick at which it is whole */
    unsigned count, free_at;
};

static struct slow {
    struct rig *rig;
    unsigned now, takes; /* ticks, a large message */
    bool unsaid;         /* the cores hear nothing of parts */
    struct link links[RIG_NODES + 1][RIG_NODES + 1];
} *slow;

static void begin(unsigned voters, unsigned takes)
{
    slow = calloc(1, sizeof *slow);
    CHECK(slow);
    slow->rig = rig_new(voters, voters);
    slow->takes = takes;
    rig_elect(slow->rig, 1);
    rig_ticks(slow->rig, 2);
    rig_forget(slow->rig);
}

static void end(void)
{
    for (unsigned i = 0; i < (RIG_NODES + 1) * (RIG_NODES + 1); i++) {
        struct link *l = &slow->links[i / (RIG_NODES + 1)][i % (RIG_NODES + 1)];
        for (unsigned k = 0; k < l->count; k++) raft_message_clear(&l->waiting[k]);
    }
    rig_free(slow->rig);
    free(slow);
}

static bool is_large(const struct raft_message *m)
{
    size_t bytes = 0;
    for (size_t i = 0; i < m->entry_count; i++) bytes += raft_blob_bytes(m->entries[i].blob).size;
    return bytes >= LARGE;
}

/* What the cores gave out goes to its links. */
static void put_on_links(void)
{
    for (size_t i = 0; i < slow->rig->wire_count; i++) {
        struct raft_message *m = &slow->rig->wire[i];
        struct link *l = &slow->links[m->from][m->to];
        unsigned start = l->free_at > slow->now ? l->free_at : slow->now;
        l->free_at = start + (is_large(m) ? slow->takes : 0);
        assert_true(l->count < QUEUE);
        l->ready[l->count] = l->free_at;
        l->waiting[l->count++] = *m;
    }
    slow->rig->wire_count = 0;
}

static bool deliver_one(struct link *l)
{
    if (l->count == 0 || l->ready[0] > slow->now) return false;
    struct raft_message m = l->waiting[0];
    memmove(l->waiting, l->waiting + 1, --l->count * sizeof *l->waiting);
    memmove(l->ready, l->ready + 1, l->count * sizeof *l->ready);
    struct rig_node *to = &slow->rig->nodes[m.to];
    if (to->raft && !slow->rig->cut[m.from][m.to]) {
        (void)raft_step(to->raft, &m);
        rig_take(slow->rig, m.to);
    }
    raft_message_clear(&m);
    put_on_links();
    return true;
}

/* A part of the message that is on its way comes. */
static void receive_part(const struct link *l, raft_id from, raft_id to)
{
    struct raft *raft = slow->rig->nodes[to].raft;
    if (l->count == 0 || l->ready[0] <= slow->now || slow->unsaid || !raft) return;
    (void)raft_receiving(raft, from);
    rig_take(slow->rig, to);
}

static void tick(void)
{
    slow->now++;
    for (unsigned id = 1; id <= RIG_NODES; id++) rig_tick(slow->rig, (raft_id)id, 1);
    put_on_links();
    for (bool any = true; any;) {
        any = false;
        for (unsigned from = 1; from <= RIG_NODES; from++)
            for (unsigned to = 1; to <= RIG_NODES; to++) any = deliver_one(&slow->links[from][to]) || any;
    }
    for (unsigned from = 1; from <= RIG_NODES; from++)
        for (unsigned to = 1; to <= RIG_NODES; to++)
            receive_part(&slow->links[from][to], (raft_id)from, (raft_id)to);
    put_on_links();
}

static raft_index propose_large(raft_id leader)
{
    char text[LARGE + 1];
    memset(text, 'x', LARGE);
    text[LARGE] = '\0';
    raft_index index = rig_propose(slow->rig, leader, text);
    assert_int_not_equal(index, 0);
    rig_take(slow->rig, leader);
    put_on_links();
    return index;
}

/* Ticks until all have it applied, or so many. */
static unsigned until_applied(raft_index index, unsigned voters, unsigned most)
{
    unsigned ticks = 0;
    for (unsigned done = 0; ticks < most && done < voters; ticks++) {
        tick();
        done = 0;
        for (unsigned id = 1; id <= voters; id++) done += rig_status(slow->rig, (raft_id)id).applied >= index;
    }
    return ticks;
}

static unsigned large_sent(raft_id from, raft_id to)
{
    unsigned count = 0;
    for (size_t i = 0; i < slow->rig->seen_count; i++) {
        const struct raft_message *m = &slow->rig->seen[i];
        count += m->from == from && m->to == to && m->type == RAFT_APPEND && slow->rig->seen_entries[i] > 0;
    }
    return count;
}

static void the_leader_stays_and_commits(void **state)
{
    (void)state;
    for (unsigned voters = 2; voters <= 5; voters++)
        for (unsigned takes = ELECTION / 2; takes <= 20 * ELECTION; takes += takes / 2) {
            begin(voters, takes);
            raft_index index = propose_large(1);
            assert_true(until_applied(index, voters, PATIENCE) <= takes + 2 * ELECTION);
            assert_int_equal(rig_status(slow->rig, 1).role, RAFT_LEADER);
            for (unsigned id = 1; id <= voters; id++) assert_int_equal(rig_status(slow->rig, (raft_id)id).term, 1);
            assert_null(rig_sent(slow->rig, 0, 0, RAFT_PREVOTE));
            for (unsigned id = 2; id <= voters; id++) assert_int_equal(large_sent(1, (raft_id)id), 1);
            end();
        }
}

/* One behind the other, for many elections: and what is small in between is committed with them. */
static void so_it_does_under_load(void **state)
{
    (void)state;
    begin(3, 3 * ELECTION);
    raft_index last = 0;
    for (unsigned i = 0; i < 6; i++) {
        propose_large(1);
        last = rig_propose(slow->rig, 1, "small");
    }
    assert_true(until_applied(last, 3, PATIENCE) < PATIENCE);
    assert_int_equal(rig_status(slow->rig, 1).role, RAFT_LEADER);
    assert_int_equal(rig_status(slow->rig, 1).term, 1);
    end();
}

/* What the others are for: where nothing is said of parts, the same links have no leader that lasts. */
static void without_parts_it_would_not(void **state)
{
    (void)state;
    begin(4, 6 * ELECTION);
    slow->unsaid = true;
    propose_large(1);
    for (unsigned i = 0; i < 6 * ELECTION; i++) tick();
    assert_true(rig_status(slow->rig, 2).term > 1 || rig_status(slow->rig, 1).role != RAFT_LEADER);
    end();
}

/* What it had sent still comes for a while; then the others go on without it. */
static void a_leader_that_is_gone_is_missed_in_the_end(void **state)
{
    (void)state;
    begin(3, 8 * ELECTION);
    propose_large(1);
    for (unsigned i = 0; i < ELECTION; i++) tick();
    rig_crash(slow->rig, 1);
    for (unsigned id = 2; id <= 3; id++)
        for (unsigned k = 0; k < slow->links[1][id].count; k++) slow->links[1][id].ready[k] = slow->now + 2 * ELECTION;
    unsigned ticks = 0;
    for (bool led = false; !led; ticks++) {
        assert_true(ticks < PATIENCE);
        tick();
        led = rig_status(slow->rig, 2).role == RAFT_LEADER || rig_status(slow->rig, 3).role == RAFT_LEADER;
    }
    assert_in_range(ticks, 2 * ELECTION, 10 * ELECTION);
    end();
}

static void only_the_leaders_part_counts(void **state)
{
    (void)state;
    struct rig *rig = rig_new(3, 3);
    rig_elect(rig, 1);
    rig_isolate(rig, 1);
    rig_elect(rig, 2);
    rig_ticks(rig, 2);
    assert_int_equal(rig_status(rig, 3).leader, 2);
    rig_isolate(rig, 2);
    bool stood = false;
    for (unsigned i = 0; i < 2 * ELECTION && !stood; i++) { /* of the leader before, and of nobody */
        assert_false(raft_receiving(rig->nodes[3].raft, 1));
        assert_false(raft_receiving(rig->nodes[3].raft, 0));
        rig_tick(rig, 3, 1);
        stood = rig_status(rig, 3).role == RAFT_PRECANDIDATE;
    }
    assert_true(stood);
    assert_false(raft_receiving(rig->nodes[3].raft, 2)); /* who stands follows nobody */
    assert_int_equal(rig_status(rig, 3).role, RAFT_PRECANDIDATE);
    rig_free(rig);
}

/* A follower's own large message keeps its answers: what comes of it is as good. */
static void a_leader_hears_parts(void **state)
{
    (void)state;
    for (int heard = 1; heard >= 0; heard--) {
        struct rig *rig = rig_new(3, 3);
        rig_elect(rig, 1);
        rig_isolate(rig, 1);
        for (unsigned i = 0; i < 5 * ELECTION; i++) {
            if (heard) assert_false(raft_receiving(rig->nodes[1].raft, 2));
            assert_false(raft_receiving(rig->nodes[1].raft, 7)); /* no member */
            rig_tick(rig, 1, 1);
        }
        assert_int_equal(rig_status(rig, 1).role == RAFT_LEADER, heard);
        rig_free(rig);
    }
}

/* No more often than it would answer heartbeats; and it is no answer to one, which would have appends sent again. */
static void what_a_follower_says_of_it(void **state)
{
    (void)state;
    struct rig *rig = rig_new(3, 3);
    rig_elect(rig, 1);
    rig_ticks(rig, 2);
    rig_forget(rig);
    unsigned said = 0;
    for (unsigned i = 0; i < 4 * ELECTION; i++) {
        rig_tick(rig, 2, 1);
        for (unsigned k = 0; k < 5; k++) said += raft_receiving(rig->nodes[2].raft, 1);
        rig_take(rig, 2);
    }
    assert_in_range(said, 2 * ELECTION / rig->options.heartbeat_ticks, 4 * ELECTION / rig->options.heartbeat_ticks);
    assert_int_equal(rig_count(rig, 2, RAFT_HEARTBEAT_ANSWER), said);
    const struct raft_message *m = rig_sent(rig, 2, 1, RAFT_HEARTBEAT_ANSWER);
    assert_true(m->round == 0 && m->sent == 0 && m->match == rig_status(rig, 2).persisted);
    assert_int_equal(rig_status(rig, 2).role, RAFT_FOLLOWER);
    assert_int_equal(rig_status(rig, 2).unheard_ticks, 0);
    rig_forget(rig);
    rig_run(rig);
    assert_null(rig_sent(rig, 1, 2, RAFT_APPEND));
    rig_free(rig);
}

/* Heartbeats that waited in line are answered all at once: a probe that was lost is sent again once, not for each. */
static void answers_at_once_bring_one_probe(void **state)
{
    (void)state;
    struct rig *rig = rig_new(3, 3);
    rig_elect(rig, 1);
    rig_ticks(rig, 2);
    raft_peer_lost(rig->nodes[1].raft, 3);
    assert_int_not_equal(rig_propose(rig, 1, "x"), 0);
    rig_take(rig, 1);
    rig_isolate(rig, 3);
    rig_run(rig); /* the probe is lost */
    rig_heal(rig);
    rig_forget(rig);
    rig_tick(rig, 1, ELECTION - 2);
    assert_true(rig_count(rig, 1, RAFT_HEARTBEAT) >= 2 * 4);
    rig_run(rig);
    unsigned probes = 0;
    for (size_t i = 0; i < rig->seen_count; i++)
        probes += rig->seen[i].type == RAFT_APPEND && rig->seen[i].to == 3 && rig->seen[i].log.index > 0;
    assert_int_equal(probes, 1);
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_leader_stays_and_commits),
        cmocka_unit_test(so_it_does_under_load),
        cmocka_unit_test(without_parts_it_would_not),
        cmocka_unit_test(a_leader_that_is_gone_is_missed_in_the_end),
        cmocka_unit_test(only_the_leaders_part_counts),
        cmocka_unit_test(a_leader_hears_parts),
        cmocka_unit_test(what_a_follower_says_of_it),
        cmocka_unit_test(answers_at_once_bring_one_probe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
