/* What a leader does: append, count, commit, hand over.
 *
 * An entry is committed when a majority of the voters has it durable, the leader
 * being one of them only once its own write is done, and only if it is of the
 * leader's own term: older ones are committed with it (paper, section 5.4.2).
 */
#include "consensus/raft_internal.h"

static const struct raft_config_at *latest(const struct raft *r) { return config_history_latest(&r->configs); }

static bool leads_itself(const struct raft *r)
{
    return raft_config_votes(&latest(r)->config, r->options.id);
}

void raft_append_own(struct raft *r, enum raft_entry_type type, struct raft_blob *blob)
{
    struct raft_entry e = {.index = r->log.last + 1, .term = r->term, .type = type, .blob = blob};
    raft_log_append(&r->log, &e);
}

void raft_leader_start(struct raft *r)
{
    r->heartbeat_elapsed = 0;
    r->transfer = 0;
    r->slow_writes = 0;
    r->yield_after = 0;
    r->progress_count = 0;
    raft_progress_sync(r);
    raft_append_own(r, RAFT_ENTRY_NOOP, NULL);
    r->term_start = r->log.last;
    raft_broadcast_heartbeat(r); /* ends other campaigns even where the appends take long */
}

/* ---- commit ---- */

static bool is_removed(const struct raft *r) { return latest(r)->index <= r->commit && !leads_itself(r); }

void raft_maybe_commit(struct raft *r)
{
    raft_index matches[LIMIT_NODES + 1] = {0};
    unsigned count = 0;
    if (leads_itself(r)) matches[count++] = raft_own_copy(r);
    for (unsigned i = 0; i < r->progress_count; i++)
        if (r->progress[i].voter) matches[count++] = r->progress[i].match;
    for (unsigned i = 1; i < count; i++) /* insertion sort, highest first */
        for (unsigned j = i; j && matches[j] > matches[j - 1]; j--) {
            raft_index swap = matches[j];
            matches[j] = matches[j - 1];
            matches[j - 1] = swap;
        }
    raft_index majority = matches[count / 2];
    if (majority <= r->commit || raft_log_term(&r->log, majority) != r->term) return;
    CHECK(majority >= r->term_start && majority <= r->log.last);
    r->commit = majority;
    if (is_removed(r)) raft_hand_over(r);
}

/* ---- proposals ---- */

static enum err may_propose(const struct raft *r, size_t bytes)
{
    if (r->halted) return ERR_STOPPED;
    if (r->role != RAFT_LEADER) return ERR_NOT_LEADER;
    if (r->transfer) return ERR_BUSY;
    size_t waiting = raft_log_bytes_after(&r->log, index_min(r->commit, r->persisted));
    if (waiting && waiting + bytes > r->options.backlog_bytes) return ERR_BUSY;
    return OK;
}

enum err raft_propose(struct raft *r, raft_index *first, struct raft_blob *const *blocks, size_t count)
{
    CHECK(count);
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++) {
        if (blocks[i]->size > LIMIT_BLOCK) return ERR_TOO_LARGE;
        bytes += blocks[i]->size + ENTRY_OVERHEAD;
    }
    enum err e = may_propose(r, bytes);
    if (e) return e;
    *first = r->log.last + 1;
    for (size_t i = 0; i < count; i++) raft_append_own(r, RAFT_ENTRY_BLOCK, blocks[i]);
    return OK;
}

enum err raft_propose_empty(struct raft *r)
{
    enum err e = may_propose(r, ENTRY_OVERHEAD);
    if (e == OK) raft_append_own(r, RAFT_ENTRY_NOOP, NULL);
    return e;
}

static enum err may_promote(struct raft *r, raft_id id)
{
    if (!id || id == r->options.id) return OK;
    const struct progress *p = raft_progress_of(r, id);
    bool near = p && p->state == RAFT_REPLICATE && raft_progress_active(r, p) &&
                r->log.last - p->match <= PROMOTION_LAG;
    return near ? OK : ERR_NOT_READY;
}

enum err raft_propose_config(struct raft *r, raft_index *index, const struct raft_config *config,
                             struct bytes context)
{
    if (context.size > LIMIT_RAFT_CONTEXT) return ERR_TOO_LARGE;
    enum err e = may_propose(r, ENTRY_OVERHEAD);
    if (e) return e;
    raft_id promoted;
    if (!raft_config_is_step(&latest(r)->config, config, &promoted)) return ERR_INVALID;
    /* Ongaro's correction of 2015: with changes of two leaders uncommitted, majorities may not meet. */
    if (r->commit < r->term_start) return ERR_NOT_READY;
    if (latest(r)->index > r->commit) return ERR_BUSY;
    e = may_promote(r, promoted);
    if (e) return e;
    struct buffer encoded = {0};
    raft_config_encode(&encoded, config, context);
    struct raft_blob *blob = encoded.failed ? NULL : raft_blob_copy(buffer_bytes(&encoded));
    buffer_free(&encoded);
    if (!blob) return ERR_NOMEM;
    raft_append_own(r, RAFT_ENTRY_CONFIG, blob);
    raft_blob_release(blob);
    *index = r->log.last;
    config_history_add(&r->configs, *index, config);
    r->config_notice = true;
    raft_progress_sync(r);
    return OK;
}

/* ---- handing over ---- */

void raft_advance_transfer(struct raft *r, const struct progress *p)
{
    if (r->transfer != p->id || p->match != r->log.last) return;
    struct raft_message m = {.type = RAFT_TIMEOUT_NOW, .to = p->id};
    raft_emit(r, &m);
}

static bool better_heir(const struct progress *p, const struct progress *than)
{
    if (p->turns != than->turns) return p->turns < than->turns;
    if (p->match != than->match) return p->match > than->match;
    return p->silent_ticks < than->silent_ticks;
}

static struct progress *best_heir(struct raft *r)
{
    struct progress *best = NULL;
    for (unsigned i = 0; i < r->progress_count; i++) {
        struct progress *p = &r->progress[i];
        if (!p->voter || p->silent_ticks >= r->options.election_ticks) continue;
        if (!best || better_heir(p, best)) best = p;
    }
    return best;
}

static void try_heir(struct raft *r, struct progress *p)
{
    p->turns++;
    r->transfer = p->id;
    r->heir_elapsed = 0;
    raft_advance_transfer(r, p);
}

enum err raft_transfer(struct raft *r, raft_id target)
{
    if (r->halted) return ERR_STOPPED;
    if (r->role != RAFT_LEADER) return ERR_NOT_LEADER;
    if (r->transfer) return ERR_BUSY;
    struct progress *p = target ? raft_progress_of(r, target) : best_heir(r);
    if (!p && !target) return ERR_UNREACHABLE;
    if (!p || !p->voter) return ERR_INVALID;
    for (unsigned i = 0; i < r->progress_count; i++) r->progress[i].turns = 0;
    r->transfer_named = target != 0;
    r->transfer_elapsed = 0;
    try_heir(r, p);
    return OK;
}

void raft_hand_over(struct raft *r)
{
    if (r->role == RAFT_PRECANDIDATE || r->role == RAFT_CANDIDATE) raft_become_follower(r, r->term, 0);
    if (r->role != RAFT_LEADER || r->transfer) return;
    if (raft_transfer(r, 0) != OK) raft_become_follower(r, r->term, 0);
}

/* ---- time ---- */

static bool hears_majority(const struct raft *r)
{
    unsigned heard = leads_itself(r), voters = heard;
    for (unsigned i = 0; i < r->progress_count; i++) {
        voters += r->progress[i].voter;
        heard += r->progress[i].voter && r->progress[i].silent_ticks < r->options.election_ticks;
    }
    return heard >= voters / 2 + 1;
}

/* Who may not lead or vote (a clock that is off, a damaged log) lets its turn pass without a word. Who may asks for
 * votes after a round trip and a write, so most often before the next one's turn; else both campaign, in the one term
 * after this: at worst neither has a majority, and an election follows as without an heir. */
static void tick_heir(struct raft *r)
{
    if (r->transfer_named || ++r->heir_elapsed < r->options.election_ticks / HEIR_TURNS) return;
    struct progress *next = best_heir(r);
    if (next) try_heir(r, next);
}

static void tick_transfer(struct raft *r)
{
    if (!r->transfer) return;
    const struct progress *p = raft_progress_of(r, r->transfer);
    if (p && p->voter && ++r->transfer_elapsed < r->options.election_ticks) {
        tick_heir(r);
        return;
    }
    r->transfer = 0;
    if (!r->may_lead || !r->may_vote || is_removed(r)) raft_become_follower(r, r->term, 0);
}

/* Proposals are refused meanwhile: if nobody takes over, the next time is only after a rest. */
static void yield(struct raft *r)
{
    if (r->transfer || r->ticks < r->yield_after || raft_transfer(r, 0) != OK) return;
    r->yielded++;
    r->yield_after = r->ticks + YIELD_REST * r->options.election_ticks;
}

/* The own disk hangs: entries are still committed by others' disks, but soon the backlog is full. */
static void tick_stall(struct raft *r)
{
    if (!r->options.stall_ticks || !r->ticket_count) return;
    if (r->ticks - r->tickets[r->ticket_first].issued_tick > r->options.stall_ticks) yield(r);
}

/* The own disk is much slower than the others': whoever goes through this node waits for it, and who leads waits for
 * others only. One pause is one late write; where all disks are slow nobody is ahead. */
static void tick_slow(struct raft *r)
{
    const struct ticket *oldest = &r->tickets[r->ticket_first];
    if (!r->options.slow_writes || !r->ticket_count || r->commit < oldest->last) return;
    if (r->behind_write != oldest->number) {
        r->behind_write = oldest->number;
        r->behind_tick = r->ticks;
    }
    if (r->ticks - r->behind_tick != r->options.slow_ticks) return;
    if (++r->slow_writes >= r->options.slow_writes) yield(r);
}

void raft_leader_tick(struct raft *r)
{
    for (unsigned i = 0; i < r->progress_count; i++) r->progress[i].silent_ticks++;
    if (!hears_majority(r)) {
        raft_become_follower(r, r->term, 0);
        return;
    }
    tick_transfer(r);
    if (r->role != RAFT_LEADER) return;
    tick_stall(r);
    tick_slow(r);
    if (++r->heartbeat_elapsed < r->options.heartbeat_ticks) return;
    r->heartbeat_elapsed = 0;
    raft_broadcast_heartbeat(r);
    struct progress *heir = r->transfer ? raft_progress_of(r, r->transfer) : NULL;
    if (heir) raft_advance_transfer(r, heir); /* the last one may be lost */
}

/* ---- answers ---- */

static struct progress *hear(struct raft *r, const struct raft_message *m)
{
    struct progress *p = r->role == RAFT_LEADER ? raft_progress_of(r, m->from) : NULL;
    if (p) p->silent_ticks = 0;
    return p;
}

/* The peer's log agrees with ours up to `checked`, and is durable up to `match`. A probe is over when it
 * reached `enough`. */
static void agreed(struct raft *r, struct progress *p, const struct raft_message *m, raft_index enough)
{
    raft_progress_matched(p, m->match);
    raft_index have = index_max(p->match, m->checked);
    if (p->state == RAFT_PROBE && have >= enough) raft_progress_replicate(r, p, have + 1);
    if (p->state == RAFT_SNAPSHOT_SENT && have >= p->snapshot) raft_progress_replicate(r, p, have + 1);
    p->next = index_max(p->next, have + 1);
    raft_maybe_commit(r);
    raft_evict(r);
}

static void rejected(struct raft *r, struct progress *p, const struct raft_message *m)
{
    if (m->round != p->round) return;
    raft_index agree = raft_log_find(&r->log, m->conflict.index, m->conflict.term);
    /* A term that we never had: none of its entries can match. */
    if (raft_log_term(&r->log, agree) != m->conflict.term && m->conflict_first)
        agree = index_min(agree, m->conflict_first - 1);
    /* Below what it once had durable: its disk lost something. It stops counting for that. */
    p->match = index_min(p->match, agree);
    raft_progress_probe(r, p, agree + 1);
}

enum err raft_handle_append_answer(struct raft *r, const struct raft_message *m)
{
    struct progress *p = hear(r, m);
    if (!p) return OK;
    if (m->match > r->log.last || m->checked > r->log.last) return ERR_INVALID;
    if (m->rejected) {
        rejected(r, p, m);
        return OK;
    }
    agreed(r, p, m, p->next - 1);
    p = hear(r, m);
    if (p) raft_advance_transfer(r, p);
    return OK;
}

enum err raft_handle_heartbeat_answer(struct raft *r, const struct raft_message *m)
{
    struct progress *p = hear(r, m);
    if (!p) return OK;
    if (m->match > r->log.last || m->checked > r->log.last) return ERR_INVALID;
    bool current = m->round == p->round;
    bool lost = p->state == RAFT_REPLICATE && m->sent > m->checked;
    bool offer_lost = p->state == RAFT_SNAPSHOT_SENT && !m->installing && m->checked < p->snapshot;
    if (current && (lost || offer_lost)) raft_progress_probe(r, p, index_max(p->match, m->checked) + 1);
    if (current) p->paused = false;
    /* Only a probe whose entries arrived is over: a peer that refuses them gets one append per heartbeat. */
    agreed(r, p, m, p->next);
    return OK;
}

enum err raft_handle_snapshot_answer(struct raft *r, const struct raft_message *m)
{
    struct progress *p = hear(r, m);
    if (!p || !m->rejected || p->state != RAFT_SNAPSHOT_SENT) return OK;
    raft_progress_probe(r, p, p->match + 1);
    p->paused = true; /* a heartbeat later: it failed for a reason */
    return OK;
}
