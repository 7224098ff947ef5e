/* The invariants of Raft, checked with knowledge that no node has: all disks, all
 * logs, everything that was ever committed.
 *
 *   election safety        one leader a term                     check_leader
 *   leader append-only     a leader's log only grows              oracle_step, oracle_ready
 *   log matching           an (index, term) is one entry after one predecessor, for ever  oracle_entry
 *   leader completeness    a leader has all that was committed in earlier terms  check_leader, check_commit
 *   state machine safety   one entry committed and applied at an index  check_commit, oracle_applied
 *   durability             committed: on a majority of disks; said: durable before
 *                                                                 check_majority, oracle_message
 *   own term (5.4.2)       who counts copies counts those of its own term's entries only  check_commit
 *   monotony               term, vote, commit index               oracle_step, disk_write
 */
#include <string.h>

#include "base/check.h"
#include "tests/sim/sim.h"

#define ULL(x) ((unsigned long long)(x))

void oracle_init(struct oracle *o) { *o = (struct oracle){0}; }

void oracle_free(struct oracle *o)
{
    for (raft_index i = 0; i < o->capacity; i++)
        while (o->entries[i]) {
            struct term_entry *next = o->entries[i]->next;
            free(o->entries[i]);
            o->entries[i] = next;
        }
    free(o->entries);
    free(o->committed);
    free(o->committed_in);
    free(o->chains);
    free(o->leaders);
    *o = (struct oracle){0};
}

static void reach(struct oracle *o, raft_index index)
{
    if (index < o->capacity) return;
    raft_index capacity = o->capacity ? o->capacity : 256;
    while (capacity <= index) capacity *= 2;
    o->entries = xrealloc(o->entries, capacity * sizeof *o->entries);
    o->committed = xrealloc(o->committed, capacity * sizeof *o->committed);
    o->committed_in = xrealloc(o->committed_in, capacity * sizeof *o->committed_in);
    o->chains = xrealloc(o->chains, capacity * sizeof *o->chains);
    size_t more = capacity - o->capacity;
    memset(o->entries + o->capacity, 0, more * sizeof *o->entries);
    memset(o->committed + o->capacity, 0, more * sizeof *o->committed);
    memset(o->committed_in + o->capacity, 0, more * sizeof *o->committed_in);
    memset(o->chains + o->capacity, 0, more * sizeof *o->chains);
    o->capacity = capacity;
}

uint64_t oracle_entry_hash(const struct raft_entry *e)
{
    uint64_t head[3] = {e->index, e->term, e->type};
    struct bytes b = raft_blob_bytes(e->blob);
    return sim_hash(sim_hash(UINT64_C(0xcbf29ce484222325), head, sizeof head), b.data, b.size);
}

void oracle_entry(struct world *w, const struct raft_entry *e, raft_term previous_term)
{
    struct oracle *o = &w->oracle;
    reach(o, e->index);
    uint64_t hash = oracle_entry_hash(e);
    for (struct term_entry *t = o->entries[e->index]; t; t = t->next) {
        if (t->term != e->term) continue;
        if (t->hash != hash) sim_fail(w, "two entries at index %llu in term %llu", ULL(e->index), ULL(e->term));
        if (t->previous_term != previous_term)
            sim_fail(w, "log matching: entry %llu of term %llu after two predecessors", ULL(e->index), ULL(e->term));
        return;
    }
    struct term_entry *t = xcalloc(1, sizeof *t);
    *t = (struct term_entry){
        .term = e->term, .previous_term = previous_term, .hash = hash, .next = o->entries[e->index]};
    o->entries[e->index] = t;
}

/* ---- leaders ---- */

/* Whoever wins an old term's election late need not have what a later one's leader committed meanwhile. */
static void has_committed(struct world *w, struct node *n, raft_index from, raft_index to)
{
    const struct oracle *o = &w->oracle;
    struct raft_status s;
    raft_status_get(n->raft, &s);
    if (from < s.compacted.index) from = s.compacted.index;
    for (raft_index i = from ? from : 1; i <= to; i++)
        if (o->committed_in[i] < s.term && raft_term_of(n->raft, i) != o->committed[i])
            sim_fail(w, "leader completeness: leader %u of term %llu has not the committed entry %llu", n->id,
                     ULL(s.term), ULL(i));
}

static void check_leader(struct world *w, struct node *n, const struct raft_status *s)
{
    struct oracle *o = &w->oracle;
    if (n->before.role == RAFT_LEADER && n->before.term == s->term) return;
    if (s->term >= o->leader_capacity) {
        raft_term capacity = 2 * s->term + 64;
        o->leaders = xrealloc(o->leaders, capacity * sizeof *o->leaders);
        memset(o->leaders + o->leader_capacity, 0, (capacity - o->leader_capacity) * sizeof *o->leaders);
        o->leader_capacity = capacity;
    }
    raft_id *leader = &o->leaders[s->term];
    if (*leader) sim_fail(w, "election safety: %u and %u lead in term %llu", *leader, n->id, ULL(s->term));
    *leader = n->id;
    has_committed(w, n, 1, o->last_committed);
}

/* ---- commits ---- */

static struct term_entry *entry_made(const struct oracle *o, raft_index index, raft_term term)
{
    struct term_entry *t = index < o->capacity ? o->entries[index] : NULL;
    while (t && t->term != term) t = t->next;
    return t;
}

void oracle_lost(struct world *w, const struct node *n)
{
    for (size_t i = 0; i < n->disk.log_count; i++) {
        struct term_entry *t = entry_made(&w->oracle, n->disk.log[i].index, n->disk.log[i].term);
        if (t) t->lost_by |= 1u << n->id;
    }
}

static bool durable_on(const struct world *w, const struct node *n, raft_index index, raft_term term)
{
    const struct term_entry *t = entry_made(&w->oracle, index, term);
    /* said so truly, and lost it since */
    if (n->once_applied >= index || (t && t->lost_by & 1u << n->id)) return true;
    return disk_term_at(&n->disk, index) == term || n->disk.state.position.index >= index;
}

static void check_majority(struct world *w, struct node *n, raft_index index)
{
    const struct raft_config *config = raft_config_latest(n->raft, NULL);
    unsigned have = 0;
    for (unsigned i = 0; i < config->count; i++)
        if (config->members[i].voter)
            have += durable_on(w, &w->nodes[config->members[i].id], index, raft_term_of(n->raft, index));
    if (have < raft_config_voters(config) / 2 + 1)
        sim_fail(w, "node %u commits %llu which %u of %u disks have", n->id, ULL(index), have,
                 raft_config_voters(config));
}

static void check_commit(struct world *w, struct node *n, const struct raft_status *s)
{
    struct oracle *o = &w->oracle;
    if (s->commit <= n->commit_seen) return;
    reach(o, s->commit);
    raft_index fresh = o->last_committed + 1;
    bool first = s->commit >= fresh; /* nobody else knew: it has counted copies */
    for (raft_index i = n->commit_seen + 1; i <= s->commit; i++) {
        if (i < s->compacted.index) continue;
        raft_term term = raft_term_of(n->raft, i);
        if (o->committed[i] && o->committed[i] != term)
            sim_fail(w, "state machine safety: node %u commits term %llu at %llu, where term %llu was committed",
                     n->id, ULL(term), ULL(i), ULL(o->committed[i]));
        o->committed[i] = term;
        if (!o->committed_in[i]) o->committed_in[i] = s->term;
        if (i > o->last_committed) o->last_committed = i;
    }
    /* In a later term a former leader has it from whoever leads that one, as every follower. */
    bool leads = s->role == RAFT_LEADER || (n->before.role == RAFT_LEADER && n->before.term == s->term);
    if (first || leads) {
        if (raft_term_of(n->raft, s->commit) != (leads ? n->before.term : s->term))
            sim_fail(w, "node %u commits %llu by counting copies of another term's entry", n->id, ULL(s->commit));
        check_majority(w, n, s->commit);
    }
    n->commit_seen = s->commit;
    for (unsigned id = 1; id <= SIM_NODES && fresh <= o->last_committed; id++) {
        struct node *other = &w->nodes[id];
        struct raft_status theirs;
        if (!other->raft || other == n) continue;
        raft_status_get(other->raft, &theirs);
        if (theirs.role == RAFT_LEADER && theirs.term > s->term) has_committed(w, other, fresh, o->last_committed);
    }
}

void oracle_applied(struct world *w, struct node *n, const struct raft_entry *e, uint64_t chain)
{
    struct oracle *o = &w->oracle;
    if (o->committed[e->index] != e->term)
        sim_fail(w, "node %u applies %llu of term %llu, which is not committed", n->id, ULL(e->index), ULL(e->term));
    if (e->index <= o->last_applied) {
        if (o->chains[e->index] != chain)
            sim_fail(w, "state machine safety: node %u has another state at %llu", n->id, ULL(e->index));
        return;
    }
    if (e->index != o->last_applied + 1) sim_fail(w, "node %u skips to %llu", n->id, ULL(e->index));
    o->chains[e->index] = chain;
    o->last_applied = e->index;
}

/* ---- what leaves a node ---- */

static void check_match(struct world *w, struct node *n, const struct raft_message *m)
{
    raft_index match = m->match;
    if (!match) return;
    if (match > disk_last(&n->disk) && match > n->disk.state.position.index)
        sim_fail(w, "node %u acknowledges %llu which is not durable", n->id, ULL(match));
    struct node *leader = &w->nodes[m->to];
    struct raft_status s;
    if (!leader->raft || match <= n->disk.state.position.index) return;
    raft_status_get(leader->raft, &s);
    if (s.role != RAFT_LEADER || s.term != m->term || match < s.compacted.index) return;
    /* What waits to be truncated on this disk was never acknowledged in this term. */
    if (raft_term_of(leader->raft, match) != disk_term_at(&n->disk, match))
        sim_fail(w, "node %u acknowledges %llu, but the leader has another entry there", n->id, ULL(match));
}

void oracle_message(struct world *w, struct node *n, const struct raft_message *m)
{
    const struct disk *d = &n->disk;
    if (m->from != n->id) sim_fail(w, "node %u sends as %u", n->id, m->from);
    if (m->term > d->term) sim_fail(w, "node %u speaks in term %llu before it is durable", n->id, ULL(m->term));
    if (m->type == RAFT_VOTE && m->term == d->term && d->vote != n->id)
        sim_fail(w, "node %u asks for votes without having voted for itself durably", n->id);
    if (m->type == RAFT_VOTE_ANSWER && m->granted && m->term == d->term && d->vote != m->to)
        sim_fail(w, "node %u grants a vote that is not durable", n->id);
    if (m->type == RAFT_VOTE || m->type == RAFT_PREVOTE)
        if (m->log.index > d->state.position.index && disk_term_at(d, m->log.index) != m->log.term)
            sim_fail(w, "node %u advertises entry %llu which is not durable", n->id, ULL(m->log.index));
    if (m->type == RAFT_APPEND_ANSWER || m->type == RAFT_HEARTBEAT_ANSWER) check_match(w, n, m);
    if (m->type == RAFT_APPEND) {
        size_t bytes = 0;
        for (size_t i = 0; i < m->entry_count; i++) bytes += raft_blob_bytes(m->entries[i].blob).size;
        if (m->entry_count > 1 && bytes > w->plan.options.message_bytes) sim_fail(w, "append over its limit");
    }
}

void oracle_ready(struct world *w, struct node *n, const struct raft_ready *ready)
{
    struct raft_status s;
    raft_status_get(n->raft, &s);
    if (ready->truncate_from && s.role == RAFT_LEADER && ready->truncate_from > s.commit &&
        n->before.role == RAFT_LEADER && !ready->role_changed)
        sim_fail(w, "leader append-only: leader %u truncates", n->id);
    if (ready->truncate_from && ready->truncate_from <= n->apply_to)
        sim_fail(w, "node %u truncates what it was told to apply", n->id);
    for (size_t i = 0; i < ready->entry_count; i++) {
        const struct raft_entry *e = &ready->entries[i];
        oracle_entry(w, e, i ? ready->entries[i - 1].term : raft_term_of(n->raft, e->index - 1));
    }
    if (ready->conflict) sim_fail(w, "node %u blames an honest leader", n->id);
    if (ready->apply_to > s.persisted) sim_fail(w, "node %u may apply what is not durable", n->id);
}

void oracle_step(struct world *w, struct node *n)
{
    struct raft_status s;
    raft_status_get(n->raft, &s);
    const struct raft_status *b = &n->before;
    if (s.term < b->term) sim_fail(w, "node %u: term goes back", n->id);
    if (s.commit < b->commit) sim_fail(w, "node %u: commit index goes back", n->id);
    if (s.term == b->term && b->vote && s.vote != b->vote) sim_fail(w, "node %u: vote changes", n->id);
    if (s.commit > s.last.index || s.persisted > s.last.index || s.checked > s.last.index || s.applied > s.commit)
        sim_fail(w, "node %u: indexes out of order", n->id);
    if (s.role == RAFT_LEADER && b->role == RAFT_LEADER && s.term == b->term && s.last.index < b->last.index)
        sim_fail(w, "leader append-only: the log of leader %u shrinks", n->id);
    if (s.persisted > n->disk.state.position.index && s.persisted >= s.compacted.index &&
        disk_term_at(&n->disk, s.persisted) != raft_term_of(n->raft, s.persisted) &&
        s.persisted <= disk_last(&n->disk) && s.persisted > n->disk.base.index)
        sim_fail(w, "node %u takes %llu for durable, but the disk has another entry", n->id, ULL(s.persisted));
    if (s.persisted > disk_last(&n->disk) && s.persisted > n->disk.state.position.index)
        sim_fail(w, "node %u takes %llu for durable", n->id, ULL(s.persisted));
    if (s.role == RAFT_LEADER) check_leader(w, n, &s);
    w->totals->elections += s.elections - b->elections;
    check_commit(w, n, &s);
    n->before = s;
}
