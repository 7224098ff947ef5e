#include "consensus/raft.h"

#include "consensus/raft_internal.h"

/* ---- start ---- */

void raft_options_default(struct raft_options *options)
{
    raft_id id = options->id;
    uint64_t seed = options->seed;
    *options = (struct raft_options){
        .id = id,
        .seed = seed,
        .election_ticks = 20,
        .heartbeat_ticks = 2,
        .stall_ticks = 100,
        .slow_ticks = 4,
        .slow_writes = 4,
        .window_messages = 64,
        .window_bytes = 16 * MIB,
        .message_bytes = 1 * MIB,
        .cache_bytes = 64 * MIB,
        .spent_bytes = 2 * MIB,
        .backlog_bytes = 32 * MIB,
    };
}

static bool options_valid(const struct raft_options *o)
{
    return o->id && o->election_ticks >= 4 && o->heartbeat_ticks && 3 * o->heartbeat_ticks < o->election_ticks &&
           o->window_messages && o->window_messages <= LIMIT_RAFT_WINDOW && o->message_bytes &&
           o->message_bytes <= LIMIT_BLOCK && o->window_bytes && o->backlog_bytes &&
           o->cache_bytes >= o->backlog_bytes; /* what is uncommitted is counted in the cache */
}

static bool runs_valid(const struct raft_state *s)
{
    if ((s->run_count == 0) != (s->last == s->compacted.index)) return false;
    raft_term term = s->compacted.term;
    for (size_t i = 0; i < s->run_count; i++) {
        raft_index after = i ? s->runs[i - 1].first : s->compacted.index;
        bool starts = i ? s->runs[i].first > after : s->runs[i].first == after + 1;
        bool rises = i ? s->runs[i].term > term : s->runs[i].term >= term;
        if (!starts || !rises || !s->runs[i].term || s->runs[i].first > s->last) return false;
        term = s->runs[i].term;
    }
    return term <= s->term;
}

static bool state_valid(const struct raft_state *s)
{
    if (s->last < s->compacted.index || s->last > RAFT_INDEX_MAX || s->term > RAFT_TERM_MAX) return false;
    if ((s->compacted.index == 0) != (s->compacted.term == 0)) return false;
    if (s->applied < s->compacted.index || s->applied > s->last) return false;
    if (s->snapshot && (s->snapshot < s->compacted.index || s->snapshot > s->applied || !s->manifest)) return false;
    /* A node that only joins later may start without members. */
    if (s->compacted_config.count && !raft_config_valid(&s->compacted_config)) return false;
    raft_index before = s->compacted.index;
    for (size_t i = 0; i < s->config_count; i++) {
        if (s->configs[i].index <= before || s->configs[i].index > s->last) return false;
        if (!raft_config_valid(&s->configs[i].config)) return false;
        before = s->configs[i].index;
    }
    return runs_valid(s);
}

enum err raft_new(struct raft **out, const struct raft_options *options, const struct raft_state *state)
{
    *out = NULL;
    if (!options_valid(options)) return ERR_INVALID;
    if (!state_valid(state)) return ERR_CORRUPT;
    struct raft *r = xcalloc(1, sizeof *r);
    r->options = *options;
    r->random = options->seed;
    r->term = state->term;
    r->vote = state->vote;
    r->role = RAFT_FOLLOWER;
    raft_log_init(&r->log, state->compacted);
    for (size_t i = 0; i < state->run_count; i++) {
        raft_index last = i + 1 < state->run_count ? state->runs[i + 1].first - 1 : state->last;
        raft_log_append_run(&r->log, state->runs[i].first, last, state->runs[i].term);
    }
    config_history_init(&r->configs, state->compacted.index, &state->compacted_config);
    for (size_t i = 0; i < state->config_count; i++)
        config_history_add(&r->configs, state->configs[i].index, &state->configs[i].config);
    r->commit = r->applied = r->apply_given = state->applied;
    r->written = r->persisted = state->last;
    r->snapshot = state->snapshot;
    r->manifest = raft_blob_retain(state->manifest);
    r->may_vote = r->may_lead = r->may_acknowledge = true;
    raft_reset_election_timer(r);
    raft_ready_init(r);
    *out = r;
    return OK;
}

void raft_free(struct raft *r)
{
    if (!r) return;
    raft_ready_free(r);
    raft_log_free(&r->log);
    config_history_free(&r->configs);
    raft_blob_release(r->manifest);
    raft_blob_release(r->install.manifest);
    free(r);
}

void raft_halt(struct raft *r)
{
    if (r->role != RAFT_FOLLOWER) raft_become_follower(r, r->term, 0);
    r->leader = 0;
    r->halted = true;
    raft_drop_outbox(r);
}

/* ---- time ---- */

void raft_tick(struct raft *r)
{
    if (r->halted) return;
    r->ticks++;
    if (r->role == RAFT_LEADER) {
        raft_leader_tick(r);
        return;
    }
    if (r->election_elapsed < UINT32_MAX) r->election_elapsed++;
    if (r->election_elapsed < r->election_timeout) return;
    if (raft_electable(r))
        raft_campaign(r, false);
    else
        r->leader = 0; /* not heard either by who may not stand: it must not be told as if it were there */
}

/* ---- messages ---- */

static bool from_leader(enum raft_message_type type)
{
    return type == RAFT_APPEND || type == RAFT_HEARTBEAT || type == RAFT_SNAPSHOT;
}

static bool position_valid(struct raft_position p, raft_term most)
{
    return p.index <= RAFT_INDEX_MAX && p.term <= most && (p.index == 0) == (p.term == 0);
}

static bool entries_valid(const struct raft_message *m)
{
    if (m->entry_count > LIMIT_RAFT_ENTRIES || (m->entry_count && m->type != RAFT_APPEND)) return false;
    raft_term term = m->log.term;
    for (size_t i = 0; i < m->entry_count; i++) {
        const struct raft_entry *e = &m->entries[i];
        if (e->index != m->log.index + 1 + i || e->term < term || !e->term || e->term > m->term) return false;
        size_t size = raft_blob_bytes(e->blob).size;
        if (size > LIMIT_BLOCK || (e->type == RAFT_ENTRY_NOOP && size)) return false;
        if (e->type != RAFT_ENTRY_BLOCK && e->type != RAFT_ENTRY_NOOP && e->type != RAFT_ENTRY_CONFIG)
            return false;
        term = e->term;
    }
    return true;
}

static bool message_valid(const struct raft *r, const struct raft_message *m)
{
    if (m->type < RAFT_PREVOTE || m->type > RAFT_TIMEOUT_NOW) return false;
    if (!m->from || m->from == r->options.id || m->to != r->options.id || m->term > RAFT_TERM_MAX) return false;
    if (!m->term && (from_leader(m->type) || m->type == RAFT_VOTE || m->type == RAFT_TIMEOUT_NOW)) return false;
    if (m->type == RAFT_PREVOTE && m->proposed != m->term + 1) return false;
    /* What an answer says back may be of another term. */
    if (!position_valid(m->log, from_leader(m->type) || m->type == RAFT_VOTE || m->type == RAFT_PREVOTE
                                    ? m->term
                                    : RAFT_TERM_MAX))
        return false;
    if (!position_valid(m->conflict, m->term) || m->conflict_first > RAFT_INDEX_MAX) return false;
    if (m->commit > RAFT_INDEX_MAX || m->durable > RAFT_INDEX_MAX || m->sent > RAFT_INDEX_MAX || m->match > m->checked ||
        m->checked > RAFT_INDEX_MAX || m->installing > RAFT_INDEX_MAX)
        return false;
    if (m->type == RAFT_SNAPSHOT &&
        (!m->log.index || !raft_config_valid(&m->config) ||
         raft_blob_bytes(m->manifest).size > LIMIT_RAFT_MANIFEST))
        return false;
    return entries_valid(m);
}

/* From a term that is too far ahead: follow by one bounded step, unless a leader is heard. */
static enum err climb(struct raft *r)
{
    bool rested = r->ticks >= r->climbed_tick + r->options.election_ticks;
    if (rested && !raft_in_lease(r) && r->term + RAFT_TERM_JUMP <= RAFT_TERM_MAX) {
        r->climbed_tick = r->ticks;
        raft_become_follower(r, r->term + RAFT_TERM_JUMP, 0);
    }
    return ERR_TOO_LARGE;
}

/* A message of an older term. True: it was dealt with. */
static bool step_older(struct raft *r, const struct raft_message *m)
{
    if (m->type == RAFT_PREVOTE || m->type == RAFT_PREVOTE_ANSWER) return false; /* compare `proposed` */
    if (m->type == RAFT_VOTE) raft_deny_vote(r, m);
    if (from_leader(m->type)) raft_answer_stale_leader(r, m);
    return true;
}

/* A message of a newer term: enter that term, with three exceptions. True: it was dealt with. */
static bool step_newer(struct raft *r, const struct raft_message *m)
{
    if (m->type == RAFT_PREVOTE) return false; /* enters no term */
    if (m->type == RAFT_VOTE && raft_in_lease(r) && !m->transfer) {
        raft_deny_vote(r, m); /* we hear a leader: no one that does not may unseat it */
        return true;
    }
    raft_become_follower(r, m->term, from_leader(m->type) ? m->from : 0);
    return false;
}

static enum err dispatch(struct raft *r, const struct raft_message *m)
{
    switch (m->type) {
    case RAFT_PREVOTE: return raft_handle_prevote(r, m);
    case RAFT_PREVOTE_ANSWER: return raft_handle_prevote_answer(r, m);
    case RAFT_VOTE: return raft_handle_vote(r, m);
    case RAFT_VOTE_ANSWER: return raft_handle_vote_answer(r, m);
    case RAFT_APPEND: return raft_handle_append(r, m);
    case RAFT_APPEND_ANSWER: return raft_handle_append_answer(r, m);
    case RAFT_HEARTBEAT: return raft_handle_heartbeat(r, m);
    case RAFT_HEARTBEAT_ANSWER: return raft_handle_heartbeat_answer(r, m);
    case RAFT_SNAPSHOT: return raft_handle_snapshot(r, m);
    case RAFT_SNAPSHOT_ANSWER: return raft_handle_snapshot_answer(r, m);
    case RAFT_TIMEOUT_NOW: return raft_handle_timeout_now(r, m);
    }
    return ERR_INVALID;
}

enum err raft_step(struct raft *r, const struct raft_message *m)
{
    if (r->halted) return ERR_STOPPED;
    if (!message_valid(r, m)) return ERR_INVALID;
    if (m->term > r->term && m->term - r->term > RAFT_TERM_JUMP) return climb(r);
    if (m->term < r->term && step_older(r, m)) return OK;
    if (m->term > r->term && step_newer(r, m)) return OK;
    if (from_leader(m->type)) r->heard_tick = r->ticks;
    return dispatch(r, m);
}

bool raft_receiving(struct raft *r, raft_id from)
{
    if (r->halted || !from) return false;
    if (r->role != RAFT_LEADER) return raft_follower_receiving(r, from);
    struct progress *p = raft_progress_of(r, from);
    if (p) p->silent_ticks = 0;
    return false;
}

/* ---- what the driver decides ---- */

void raft_applied(struct raft *r, raft_index index)
{
    CHECK(index <= r->apply_given);
    r->applied = index_max(r->applied, index);
    raft_evict(r);
}

void raft_set_floor(struct raft *r, raft_index floor) { r->floor = index_max(r->floor, floor); }

void raft_set_may_vote(struct raft *r, bool may)
{
    r->may_vote = may;
    if (!may && !r->halted) raft_hand_over(r);
}

void raft_set_may_acknowledge(struct raft *r, bool may) { r->may_acknowledge = may; }

void raft_rejoin(struct raft *r)
{
    CHECK(r->role == RAFT_FOLLOWER && r->leader);
    if (!r->vote) raft_set_hard_state(r, r->term, r->leader);
}

void raft_set_may_lead(struct raft *r, bool may)
{
    r->may_lead = may;
    if (!may && !r->halted) raft_hand_over(r);
}

void raft_set_snapshot(struct raft *r, raft_index index, struct raft_blob *manifest)
{
    CHECK(index <= r->applied && index >= r->snapshot && index >= r->log.compacted.index && index > 0);
    CHECK(manifest && manifest->size <= LIMIT_RAFT_MANIFEST);
    raft_blob_retain(manifest);
    raft_blob_release(r->manifest);
    r->snapshot = index;
    r->manifest = manifest;
}

void raft_compact(struct raft *r, raft_index index)
{
    CHECK(index <= r->snapshot && index <= r->applied);
    if (index <= r->log.compacted.index) return;
    raft_log_compact(&r->log, index);
    config_history_compact(&r->configs, index);
}

/* ---- queries ---- */

const char *raft_role_name(enum raft_role role)
{
    switch (role) {
    case RAFT_FOLLOWER: return "follower";
    case RAFT_PRECANDIDATE: return "pre-candidate";
    case RAFT_CANDIDATE: return "candidate";
    case RAFT_LEADER: return "leader";
    }
    return "unknown";
}

raft_index raft_next_index(const struct raft *r) { return r->log.last + 1; }

void raft_status_get(const struct raft *r, struct raft_status *out)
{
    *out = (struct raft_status){
        .id = r->options.id,
        .role = r->role,
        .leader = r->leader,
        .term = r->term,
        .vote = r->vote,
        .commit = r->commit,
        .applied = r->applied,
        .last = raft_log_position(&r->log, r->log.last),
        .persisted = r->persisted,
        .checked = r->role == RAFT_LEADER ? r->log.last : r->checked,
        .leader_commit = r->role == RAFT_LEADER ? r->commit : r->leader_commit,
        .floor = r->floor,
        .compacted = r->log.compacted,
        .snapshot = r->snapshot,
        .installing = r->installing ? r->install.position.index : 0,
        .transfer = r->transfer,
        .may_vote = r->may_vote,
        .may_lead = r->may_lead,
        .backlog_bytes = raft_log_bytes_after(&r->log, index_min(r->commit, r->persisted)),
        .cache_bytes = (size_t)(r->log.bytes_total - r->log.bytes_evicted),
        .unheard_ticks = r->role == RAFT_LEADER ? 0 : r->ticks - r->heard_tick,
        .asked = r->asked,
        .elections = r->elections,
        .yielded = r->yielded,
    };
}

enum err raft_peer_get(const struct raft *r, raft_id peer, struct raft_peer *out)
{
    if (r->role != RAFT_LEADER) return ERR_NOT_LEADER;
    for (unsigned i = 0; i < r->progress_count; i++) {
        const struct progress *p = &r->progress[i];
        if (p->id != peer) continue;
        *out = (struct raft_peer){.id = p->id,
                                  .voter = p->voter,
                                  .active = raft_progress_active(r, p),
                                  .progress = p->state,
                                  .match = p->match,
                                  .next = p->next,
                                  .window_messages = p->window_count,
                                  .window_bytes = p->window_bytes,
                                  .silent_ticks = p->silent_ticks};
        return OK;
    }
    return ERR_NOT_FOUND;
}

const struct raft_config *raft_config_latest(const struct raft *r, raft_index *index)
{
    const struct raft_config_at *at = config_history_latest(&r->configs);
    if (index) *index = at->index;
    return &at->config;
}

const struct raft_config *raft_config_of(const struct raft *r, raft_index index)
{
    CHECK(index >= r->log.compacted.index && index <= r->log.last);
    return &config_history_of(&r->configs, index)->config;
}

raft_term raft_term_of(const struct raft *r, raft_index index) { return raft_log_term(&r->log, index); }

const struct raft_entry *raft_entry_cached(const struct raft *r, raft_index index)
{
    return raft_log_cached(&r->log, index);
}
