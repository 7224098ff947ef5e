/* Elections.
 *
 * 1. Nothing was heard from a leader for a randomised time: pre-votes are asked
 *    for, in a term that is not entered yet, so a node that cannot win disturbs
 *    nobody (dissertation, section 9.6).
 * 2. With a majority of those the term is entered and the own vote written; the
 *    requests leave only once that is durable, and only then does the own vote count.
 * 3. With a majority of votes the node leads, and appends a no-op of its term.
 * Failures: any sight of a higher term ends a campaign; a time-out starts over at 1.
 *
 * Every request is answered, also a stale one, with the true term of who answers:
 * a silent or disguised "no" would leave two nodes with different terms waiting
 * for each other for ever. Answers are never answered.
 */
#include "consensus/raft_internal.h"

/* splitmix64 */
static uint64_t next_random(struct raft *r)
{
    uint64_t z = (r->random += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

void raft_reset_election_timer(struct raft *r)
{
    uint32_t base = r->options.election_ticks;
    r->election_elapsed = 0;
    r->election_timeout = base + (uint32_t)(next_random(r) % base);
}

bool raft_in_lease(const struct raft *r)
{
    if (r->role == RAFT_LEADER) return true; /* check-quorum ends it */
    return r->leader && r->election_elapsed < r->options.election_ticks;
}

/* A voter may be elected; so may one whose removal is not known to be committed: it may be the only
 * one that has that entry, and then nobody else can win (dissertation, section 4.2.2). */
bool raft_electable(const struct raft *r)
{
    if (!r->may_vote || !r->may_lead || r->installing || r->term >= RAFT_TERM_MAX) return false;
    const struct raft_config_at *latest = config_history_latest(&r->configs);
    if (raft_config_votes(&latest->config, r->options.id)) return true;
    return latest->index > r->commit && r->configs.count > 1 &&
           raft_config_votes(&r->configs.at[r->configs.count - 2].config, r->options.id);
}

void raft_become_follower(struct raft *r, raft_term term, raft_id leader)
{
    if (r->role == RAFT_LEADER) {
        r->heard_tick = r->ticks;
        r->transfer = 0;
        r->progress_count = 0;
        r->reads.count = 0;
        r->checked = r->acknowledged = 0;
    }
    raft_drop_campaign(r);
    if (term > r->term) raft_set_hard_state(r, term, 0);
    r->role = RAFT_FOLLOWER;
    r->leader = leader;
    raft_reset_election_timer(r);
}

/* ---- campaigns ---- */

enum outcome { OPEN, WON, LOST };

static enum outcome count_vote(struct raft *r, raft_id id, bool granted)
{
    const struct raft_config *config = &config_history_latest(&r->configs)->config;
    unsigned yes = 0, no = 0, quorum = raft_config_voters(config) / 2 + 1;
    for (unsigned i = 0; i < config->count; i++) {
        if (!config->members[i].voter) continue;
        if (config->members[i].id == id) r->votes[i] = granted ? VOTE_YES : VOTE_NO;
        yes += r->votes[i] == VOTE_YES;
        no += r->votes[i] == VOTE_NO;
    }
    if (yes >= quorum) return WON;
    return no > raft_config_voters(config) - quorum ? LOST : OPEN;
}

static void request_votes(struct raft *r, struct raft_message request)
{
    const struct raft_config *config = &config_history_latest(&r->configs)->config;
    for (unsigned i = 0; i < LIMIT_NODES; i++) r->votes[i] = VOTE_NONE;
    for (unsigned i = 0; i < config->count; i++) {
        if (!config->members[i].voter || config->members[i].id == r->options.id) continue;
        struct raft_message m = request;
        m.to = config->members[i].id;
        raft_emit(r, &m);
    }
}

static void become_candidate(struct raft *r, bool transfer)
{
    r->role = RAFT_CANDIDATE;
    r->leader = 0;
    r->asked = transfer;
    raft_reset_election_timer(r);
    raft_drop_campaign(r);
    raft_set_hard_state(r, r->term + 1, r->options.id);
    /* All entries before this write are durable when it is, so the last one may be advertised. */
    request_votes(r, (struct raft_message){.type = RAFT_VOTE,
                                           .log = raft_log_position(&r->log, r->log.last),
                                           .transfer = transfer});
}

static void become_leader(struct raft *r)
{
    CHECK(raft_hard_state_is_durable(r) && r->vote == r->options.id);
    r->role = RAFT_LEADER;
    r->leader = r->options.id;
    raft_leader_start(r);
}

static void tally(struct raft *r, raft_id id, bool granted)
{
    enum outcome outcome = count_vote(r, id, granted);
    if (outcome == LOST) {
        raft_become_follower(r, r->term, 0);
    } else if (outcome == WON) {
        if (r->role == RAFT_PRECANDIDATE)
            become_candidate(r, false);
        else
            become_leader(r);
    }
}

void raft_campaign(struct raft *r, bool transfer)
{
    r->elections++;
    if (transfer) {
        become_candidate(r, true);
        return;
    }
    r->role = RAFT_PRECANDIDATE;
    r->leader = 0;
    raft_reset_election_timer(r);
    request_votes(r, (struct raft_message){.type = RAFT_PREVOTE,
                                           .log = raft_log_position(&r->log, r->persisted),
                                           .proposed = r->term + 1});
    tally(r, r->options.id, true);
}

void raft_hard_state_durable(struct raft *r)
{
    if (r->role == RAFT_CANDIDATE) tally(r, r->options.id, true);
}

/* ---- requests ---- */

static bool up_to_date(const struct raft *r, struct raft_position theirs)
{
    struct raft_position ours = raft_log_position(&r->log, r->log.last);
    return theirs.term > ours.term || (theirs.term == ours.term && theirs.index >= ours.index);
}

static void answer_vote(struct raft *r, const struct raft_message *m, bool granted)
{
    struct raft_message answer = {.type = m->type == RAFT_PREVOTE ? RAFT_PREVOTE_ANSWER : RAFT_VOTE_ANSWER,
                                  .to = m->from,
                                  .proposed = m->proposed,
                                  .granted = granted};
    raft_emit(r, &answer);
}

void raft_deny_vote(struct raft *r, const struct raft_message *m) { answer_vote(r, m, false); }

enum err raft_handle_prevote(struct raft *r, const struct raft_message *m)
{
    answer_vote(r, m,
                r->may_vote && m->proposed > r->term && !raft_in_lease(r) && up_to_date(r, m->log));
    return OK;
}

enum err raft_handle_vote(struct raft *r, const struct raft_message *m)
{
    bool free_to = r->vote == m->from || (!r->vote && !r->leader);
    bool granted = r->may_vote && free_to && r->role != RAFT_LEADER && up_to_date(r, m->log);
    if (granted) {
        if (r->vote != m->from) raft_set_hard_state(r, r->term, m->from);
        raft_become_follower(r, r->term, r->leader);
    }
    answer_vote(r, m, granted);
    return OK;
}

enum err raft_handle_prevote_answer(struct raft *r, const struct raft_message *m)
{
    if (r->role == RAFT_PRECANDIDATE && m->proposed == r->term + 1) tally(r, m->from, m->granted);
    return OK;
}

enum err raft_handle_vote_answer(struct raft *r, const struct raft_message *m)
{
    /* Before our own vote is durable nobody was asked. */
    if (r->role == RAFT_CANDIDATE && raft_hard_state_is_durable(r)) tally(r, m->from, m->granted);
    return OK;
}

enum err raft_handle_timeout_now(struct raft *r, const struct raft_message *m)
{
    if (r->role == RAFT_FOLLOWER && r->leader == m->from && raft_electable(r)) raft_campaign(r, true);
    return OK;
}
