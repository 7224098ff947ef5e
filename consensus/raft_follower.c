/* What a follower does with its leader's messages.
 *
 * `checked` is the highest index at which this log is known to agree with the
 * leader of this term; everything that a follower claims or commits is bounded
 * by it. What lies behind it is an unchecked suffix and counts for nothing.
 */
#include <string.h>

#include "consensus/raft_internal.h"

/* A leader of our term spoke. */
static enum err note_leader(struct raft *r, const struct raft_message *m)
{
    if (r->role == RAFT_LEADER || (r->leader && r->leader != m->from)) return ERR_UNEXPECTED;
    if (r->role != RAFT_FOLLOWER) raft_become_follower(r, r->term, m->from);
    r->leader = m->from;
    r->leader_commit = index_max(r->leader_commit, m->commit);
    r->leader_durable = index_max(r->leader_durable, m->durable);
    r->election_elapsed = 0;
    return OK;
}

static raft_index durable_match(const struct raft *r) { return index_min(raft_own_copy(r), r->checked); }

/* Where the leader and this node alone are a majority, what both have durable is committed, as soon as this node
 * has heard of the leader's copy: its acknowledgement need not go there and the commit index come back. Lamport,
 * "Paxos Made Simple" (2001), 2.3: a learner may count the acceptors itself. As the leader's own counting it holds for
 * entries of its term only (paper, 5.4.2), and only while that is our term, so that whoever is elected later without the
 * leader's vote needs ours, given after the entry was durable. Where more than two are needed the leader's word for a
 * third's copy might be outdated by a disk that lost it; then the commit index decides. */
static raft_index commit_of_two(const struct raft *r)
{
    raft_index both = index_min(durable_match(r), r->leader_durable);
    return raft_two_decide(r, r->leader, r->options.id) && raft_log_term(&r->log, both) == r->term ? both : 0;
}

/* While a snapshot is being installed the state is somewhere between, so nothing is committed. */
static void follow_commit(struct raft *r, raft_index commit)
{
    if (r->installing) return;
    commit = index_max(index_min(commit, r->checked), commit_of_two(r));
    r->commit = index_max(r->commit, commit);
}

static void send_acknowledgement(struct raft *r)
{
    struct raft_message m = {
        .type = RAFT_APPEND_ANSWER, .to = r->leader, .match = durable_match(r), .checked = r->checked};
    r->acknowledged = m.match;
    raft_emit(r, &m);
}

void raft_acknowledge(struct raft *r)
{
    if (r->role != RAFT_FOLLOWER || !r->leader || durable_match(r) <= r->acknowledged) return;
    follow_commit(r, 0);
    send_acknowledgement(r);
}

void raft_answer_stale_leader(struct raft *r, const struct raft_message *m)
{
    /* Only its term matters: the old leader steps down. */
    struct raft_message answer = {.type = RAFT_APPEND_ANSWER, .to = m->from, .rejected = true, .log = m->log};
    raft_emit(r, &answer);
}

/* Tells where the logs may agree: our highest entry that the leader could have, given the term it named. */
static void reject(struct raft *r, const struct raft_message *m, raft_index from)
{
    raft_index index = raft_log_find(&r->log, from, m->log.term);
    index = index_max(index, r->log.compacted.index);
    struct raft_message answer = {.type = RAFT_APPEND_ANSWER,
                                  .to = m->from,
                                  .rejected = true,
                                  .round = m->round,
                                  .log = m->log,
                                  .match = durable_match(r),
                                  .checked = r->checked,
                                  .conflict = raft_log_position(&r->log, index),
                                  .conflict_first = raft_log_run_first(&r->log, index)};
    raft_emit(r, &answer);
}

/* ---- appends ---- */

static struct bytes said_by(const struct raft *r, const struct raft_entry *e)
{
    struct bytes all = raft_blob_bytes(e->blob);
    size_t head = e->type == RAFT_ENTRY_BLOCK && all.size > r->options.block_head ? r->options.block_head : 0;
    return head ? bytes_of(all.data + head, all.size - head) : all;
}

/* A second, different entry with the index and term of one that we have: only a lying leader makes two. One block that
 * it signed twice is not that: the next leader, who may have the other signature, did nothing wrong. */
static bool same_entry(const struct raft *r, const struct raft_entry *theirs)
{
    const struct raft_entry *ours = raft_log_cached(&r->log, theirs->index);
    if (!ours || ours->blob == theirs->blob) return true;
    return ours->type == theirs->type && bytes_equal(said_by(r, ours), said_by(r, theirs));
}

/* Configuration entries among the new ones must each be one permitted step. */
static enum err check_configs(const struct raft *r, const struct raft_entry *entries, size_t count)
{
    if (!count) return OK;
    struct raft_config before = config_history_of(&r->configs, entries[0].index - 1)->config;
    for (size_t i = 0; i < count; i++) {
        if (entries[i].type != RAFT_ENTRY_CONFIG) continue;
        struct raft_config after;
        raft_id promoted;
        if (raft_config_decode(&after, NULL, raft_blob_bytes(entries[i].blob)) ||
            !raft_config_is_step(&before, &after, &promoted))
            return ERR_INVALID;
        before = after;
    }
    return OK;
}

static void append_new(struct raft *r, const struct raft_entry *entries, size_t count)
{
    if (count && entries[0].index <= r->log.last) raft_truncate_log(r, entries[0].index);
    for (size_t i = 0; i < count; i++) {
        raft_log_append(&r->log, &entries[i]);
        if (entries[i].type != RAFT_ENTRY_CONFIG) continue;
        struct raft_config config;
        CHECK(!raft_config_decode(&config, NULL, raft_blob_bytes(entries[i].blob)));
        config_history_add(&r->configs, entries[i].index, &config);
        r->config_notice = true;
    }
}

static bool backlog_full(const struct raft *r, const struct raft_entry *entries, size_t count)
{
    size_t waiting = raft_log_bytes_after(&r->log, r->persisted), more = 0;
    for (size_t i = 0; i < count; i++) more += raft_entry_cost(&entries[i]);
    return count && waiting && waiting + more > r->options.backlog_bytes;
}

static enum err conflict_at(struct raft *r, const struct raft_message *m, const struct raft_entry *theirs)
{
    raft_note_conflict(r, m, theirs);
    return ERR_CONFLICT;
}

/* The log agrees with m up to m->log, or up to the compacted index inside m: take what follows. */
static enum err append_after(struct raft *r, const struct raft_message *m)
{
    size_t known = 0;
    for (; known < m->entry_count; known++) {
        const struct raft_entry *e = &m->entries[known];
        if (e->index < r->log.compacted.index) continue;
        if (e->index > r->log.last || raft_log_term(&r->log, e->index) != e->term) break;
        if (!same_entry(r, e)) return conflict_at(r, m, e);
    }
    size_t count = m->entry_count - known;
    const struct raft_entry *fresh = count ? m->entries + known : NULL; /* without any entry there is no array */
    if (count && fresh->index <= index_max(r->commit, r->floor) && fresh->index <= r->log.last)
        return conflict_at(r, m, fresh);
    enum err e = check_configs(r, fresh, count);
    if (e) return e;
    if (backlog_full(r, fresh, count)) return ERR_BUSY;
    append_new(r, fresh, count);
    r->checked = index_max(r->checked, m->log.index + m->entry_count);
    follow_commit(r, m->commit);
    /* New entries are acknowledged when they are durable. */
    if (!count || r->persisted >= r->checked) send_acknowledgement(r);
    return OK;
}

enum err raft_handle_append(struct raft *r, const struct raft_message *m)
{
    enum err e = note_leader(r, m);
    if (e) return e;
    if (r->installing) return ERR_BUSY;
    raft_index base = r->log.compacted.index, end = m->log.index + m->entry_count;
    if (m->log.index < base && end < base) {
        reject(r, m, base); /* all of it is compacted here: go on from there */
        return OK;
    }
    if (m->log.index < base) {
        const struct raft_entry *at_base = &m->entries[base - m->log.index - 1];
        if (at_base->term != r->log.compacted.term) return conflict_at(r, m, at_base);
    } else if (m->log.index > r->log.last) {
        reject(r, m, r->log.last);
        return OK;
    } else if (raft_log_term(&r->log, m->log.index) != m->log.term) {
        reject(r, m, m->log.index);
        return OK;
    }
    return append_after(r, m);
}

static void answer_heartbeat(struct raft *r, uint64_t round, raft_index sent)
{
    struct raft_message answer = {.type = RAFT_HEARTBEAT_ANSWER,
                                  .to = r->leader,
                                  .round = round,
                                  .sent = sent,
                                  .match = durable_match(r),
                                  .checked = r->checked,
                                  .installing = r->installing ? r->install.position.index : 0};
    r->answered_tick = r->ticks;
    raft_emit(r, &answer);
}

enum err raft_handle_heartbeat(struct raft *r, const struct raft_message *m)
{
    enum err e = note_leader(r, m);
    if (e) return e;
    follow_commit(r, m->commit);
    answer_heartbeat(r, m->round, m->sent);
    return OK;
}

bool raft_follower_receiving(struct raft *r, raft_id from)
{
    if (r->role != RAFT_FOLLOWER || r->leader != from) return false;
    r->election_elapsed = 0;
    r->heard_tick = r->ticks;
    if (r->ticks - r->answered_tick < r->options.heartbeat_ticks) return false;
    answer_heartbeat(r, 0, 0);
    return true;
}

/* ---- snapshots ---- */

static void answer_snapshot(struct raft *r, raft_id to, struct raft_position position, bool failed)
{
    struct raft_message m = {
        .type = RAFT_SNAPSHOT_ANSWER, .to = to, .log = position, .rejected = failed};
    raft_emit(r, &m);
}

static void start_install(struct raft *r, const struct raft_message *m)
{
    r->installing = true;
    r->install = (struct raft_install){.from = m->from,
                                       .position = m->log,
                                       .config = m->config,
                                       .manifest = raft_blob_retain(m->manifest)};
    r->install_term = r->term;
    r->install_notice = true;
    answer_snapshot(r, m->from, m->log, false);
}

enum err raft_handle_snapshot(struct raft *r, const struct raft_message *m)
{
    enum err e = note_leader(r, m);
    if (e) return e;
    if (r->installing) { /* once is enough, whichever is offered now */
        answer_snapshot(r, m->from, r->install.position, false);
        return OK;
    }
    if (m->log.index < r->log.compacted.index) {
        reject(r, m, r->log.compacted.index);
    } else if (raft_log_term(&r->log, m->log.index) == m->log.term) {
        /* We have that entry, so all before it too; and it is committed. */
        r->checked = index_max(r->checked, m->log.index);
        follow_commit(r, m->log.index);
        send_acknowledgement(r);
    } else if (m->log.index <= index_max(r->commit, r->floor)) {
        struct raft_entry theirs = {.index = m->log.index, .term = m->log.term};
        return conflict_at(r, m, &theirs);
    } else {
        start_install(r, m);
    }
    return OK;
}

static struct raft_install end_install(struct raft *r)
{
    struct raft_install install = r->install;
    r->install = (struct raft_install){0};
    r->installing = r->install_notice = false;
    return install;
}

void raft_snapshot_installed(struct raft *r, struct raft_position position)
{
    if (r->halted) return;
    CHECK(r->installing && position.index == r->install.position.index &&
          position.term == r->install.position.term && position.index > r->commit);
    struct raft_install install = end_install(r);
    raft_reset_log(r, position);
    config_history_free(&r->configs);
    config_history_init(&r->configs, position.index, &install.config);
    r->config_notice = true;
    r->commit = r->applied = r->apply_given = r->snapshot = position.index;
    raft_blob_release(r->manifest);
    r->manifest = install.manifest;
    /* Another term's leader has it too, but that is for its own appends to show. */
    r->checked = r->term == r->install_term ? position.index : 0;
    if (r->role == RAFT_FOLLOWER && r->leader) send_acknowledgement(r);
}

void raft_snapshot_failed(struct raft *r)
{
    if (r->halted) return;
    CHECK(r->installing);
    struct raft_install install = end_install(r);
    raft_blob_release(install.manifest);
    if (r->role == RAFT_FOLLOWER && r->leader) answer_snapshot(r, r->leader, install.position, true);
}
