/* One node: a core and what a driver does for it, following the contract at the
 * head of consensus/raft.h, with as much delay, joining and tearing as it allows. */
#include <string.h>

#include "base/check.h"
#include "consensus/peer_messages.h"
#include "tests/sim/sim.h"

static void schedule(struct world *w, struct node *n, uint64_t delay, enum event_kind kind)
{
    sim_schedule(w, delay, (struct event){.kind = kind, .node = n->id, .incarnation = n->incarnation});
}

/* ---- start and crash ---- */

static struct raft_blob *manifest_of(const struct state *s)
{
    struct raft_blob *blob = raft_blob_copy(bytes_of(&s->chain, sizeof s->chain));
    CHECK(blob);
    return blob;
}

/* In the log, or in the state of an installed snapshot, which the log may not follow yet; with its term. */
static bool holds(const struct disk *d, raft_term term, raft_index index)
{
    if (d->term == term && disk_term_at(d, index) == term) return true;
    return d->term <= term && d->state.position.term == term && d->state.position.index >= index;
}

static void send_rejoin(void *data, raft_id to, const struct rejoin_message *m)
{
    const struct node *n = data;
    struct world *w = n->world;
    if (m->step == REJOIN_HELD && !holds(&n->disk, m->term, m->index))
        sim_fail(w, "node %u says that it holds %llu of term %llu", n->id, (unsigned long long)m->index,
                 (unsigned long long)m->term);
    sim_send_rejoin(w, n->id, to, m);
}

static void start_rejoin(struct world *w, struct node *n)
{
    n->world = w;
    n->forgot = n->set_back;
    n->rejoin = (struct rejoin){.self = n->id, .send = send_rejoin, .data = n};
    if (n->forgot) rejoin_begin(&n->rejoin, sim_random(w) | 1);
}

static void settle_vote(struct node *n)
{
    raft_set_may_acknowledge(n->raft, !n->forgot);
    raft_set_may_vote(n->raft, !n->forgot && !n->no_vote);
}

void node_start(struct world *w, struct node *n)
{
    CHECK(!n->raft);
    n->incarnation++;
    struct raft_state state;
    disk_recover(&n->disk, &state, &w->genesis);
    struct raft_blob *manifest = manifest_of(&n->disk.state);
    if (state.applied && sim_chance(w, 500)) {
        state.snapshot = state.applied;
        state.manifest = manifest;
    }
    struct raft_options options = w->plan.options;
    options.id = n->id;
    options.seed = sim_random(w);
    enum err e = raft_new(&n->raft, &options, &state);
    if (e) sim_fail(w, "node %u does not start: %s", n->id, err_text(e));
    if (state.applied && !state.snapshot) raft_set_snapshot(n->raft, state.applied, manifest);
    raft_blob_release(manifest);
    free((void *)(uintptr_t)state.runs);
    free((void *)(uintptr_t)state.configs);
    n->no_vote = false;
    if (w->vote_plot.until)
        for (unsigned to = 1; to <= SIM_NODES; to++) w->cut[n->id][to] = false;
    start_rejoin(w, n);
    settle_vote(n);
    n->applied = n->disk.state;
    n->apply_to = state.applied;
    n->apply_scheduled = n->installing = false;
    n->disk_free_at = w->now;
    n->commit_seen = state.applied;
    raft_status_get(n->raft, &n->before);
    schedule(w, n, sim_below(w, n->tick_us), EVENT_TICK);
    sim_trace(w, "node %u starts: term %llu, log %llu..%llu, applied %llu", n->id, (unsigned long long)state.term,
              (unsigned long long)state.compacted.index, (unsigned long long)state.last,
              (unsigned long long)state.applied);
    node_handle_ready(w, n);
}

/* Unsynced writes: a random number of them got through, and a part of the next. */
static void tear(struct world *w, struct node *n)
{
    size_t whole = w->plan.torn ? sim_below(w, n->write_count + 1) : 0;
    for (size_t i = 0; i < whole; i++) disk_write(w, &n->disk, &n->writes[i], SIZE_MAX);
    if (whole < n->write_count && w->plan.torn)
        disk_write(w, &n->disk, &n->writes[whole], sim_below(w, write_parts(&n->writes[whole])));
    for (size_t i = 0; i < n->write_count; i++) write_free(&n->writes[i]);
    n->write_count = 0;
}

/* Somewhere stands a list of members that is not committed. */
static bool members_change(const struct world *w)
{
    for (unsigned id = 1; id <= w->plan.nodes; id++) {
        const struct disk *d = &w->nodes[id].disk;
        for (size_t i = 0; i < d->log_count; i++)
            if (d->log[i].type == RAFT_ENTRY_CONFIG && d->log[i].index > w->oracle.last_committed) return true;
    }
    return false;
}

static bool may_forget(const struct world *w, const struct node *n)
{
    return n->set_back || faults_impaired(w) < w->plan.most_set_back;
}

static void has_forgotten(struct node *n)
{
    n->set_back = true;
    n->set_backs++;
}

/* The log's end is lost, often with the last term and vote, and the node knows that it is. Not while members change: who
 * alone has the newest entry may be a voter by somebody else's log only, so that it does not stand itself, and has to
 * refuse those who do. */
static void damage(struct world *w, struct node *n)
{
    struct disk *d = &n->disk;
    if (n->set_back || !may_forget(w, n) || members_change(w)) return;
    size_t lost = sim_below(w, d->log_count + 1);
    if (!lost) return;
    oracle_lost(w, n);
    disk_damage(d, lost);
    if (sim_chance(w, 700)) disk_lose_vote(w, d);
    has_forgotten(n);
    w->totals->damages++;
    sim_trace(w, "disk %u loses %zu entries after %llu: term %llu, vote %u", n->id, lost, (unsigned long long)disk_last(d),
              (unsigned long long)d->term, d->vote);
}

/* The disk is what it was at an earlier moment, perhaps at the very beginning, and the node will know. */
static void set_back(struct world *w, struct node *n)
{
    if (!may_forget(w, n)) return;
    oracle_lost(w, n);
    if (n->disk.state.position.index > n->once_applied) n->once_applied = n->disk.state.position.index;
    if (sim_chance(w, 150) || !n->image.base_config.count) {
        disk_free(&n->disk);
        disk_init(&n->disk, &w->genesis);
    } else {
        disk_copy(&n->disk, &n->image);
    }
    has_forgotten(n);
    w->totals->set_backs++;
    sim_trace(w, "disk %u is set back to term %llu, vote %u, log %llu..%llu", n->id, (unsigned long long)n->disk.term,
              n->disk.vote, (unsigned long long)n->disk.base.index, (unsigned long long)disk_last(&n->disk));
}

static void rejoin(struct world *w, struct node *n)
{
    if (!n->forgot || !rejoin_may(&n->rejoin, n->raft)) return;
    w->totals->rejoins++;
    sim_trace(w, "node %u forgot nothing that matters above term %llu", n->id, (unsigned long long)n->rejoin.term);
    raft_rejoin(n->raft);
    rejoin_end(&n->rejoin);
    n->forgot = false;
    settle_vote(n);
}

/* Not before the vote in that term, or a higher term, is durable. */
static void forget_set_back(struct node *n)
{
    const struct disk *d = &n->disk;
    if (n->forgot || d->term < n->rejoin.term || (d->term == n->rejoin.term && !d->vote)) return;
    n->set_back = false;
}

void node_set_may_vote(struct node *n, bool may)
{
    n->no_vote = !may;
    settle_vote(n);
}

void node_settle(struct node *n)
{
    raft_set_may_lead(n->raft, true);
    node_set_may_vote(n, true);
}

void node_crash(struct world *w, struct node *n)
{
    CHECK(n->raft);
    sim_trace(w, "node %u crashes with %zu writes under way", n->id, n->write_count);
    tear(w, n);
    if (!w->healed && sim_chance(w, w->plan.damage)) damage(w, n);
    if (!w->healed && w->plan.set_back && sim_chance(w, w->plan.set_back)) set_back(w, n);
    raft_free(n->raft);
    n->raft = NULL;
    n->incarnation++;
    n->disk_stalled_until = n->paused_until = 0;
    w->totals->crashes++;
}

/* ---- the ready ---- */

static void submit_write(struct world *w, struct node *n, const struct raft_ready *ready)
{
    if (!ready->write) return;
    if (n->write_count == n->write_capacity) {
        n->write_capacity = n->write_capacity ? 2 * n->write_capacity : 16;
        n->writes = xrealloc(n->writes, n->write_capacity * sizeof *n->writes);
    }
    struct write *write = &n->writes[n->write_count++];
    *write = (struct write){.number = ready->write,
                            .hard_state = ready->hard_state,
                            .term = ready->term,
                            .vote = ready->vote,
                            .reset = ready->reset,
                            .reset_to = ready->reset_to,
                            .truncate_from = ready->truncate_from,
                            .entry_count = ready->entry_count};
    if (write->reset) write->reset_config = *raft_config_of(n->raft, ready->reset_to.index);
    write->entries = xcalloc(ready->entry_count + 1, sizeof *write->entries);
    for (size_t i = 0; i < ready->entry_count; i++) {
        write->entries[i] = ready->entries[i];
        raft_blob_retain(ready->entries[i].blob);
    }
    if (n->disk_free_at < w->now) n->disk_free_at = w->now;
    if (n->disk_free_at < n->disk_stalled_until) n->disk_free_at = n->disk_stalled_until;
    n->disk_free_at += 50 + sim_below(w, w->plan.write_us);
    write->done_at = n->disk_free_at;
    schedule(w, n, write->done_at - w->now, EVENT_WRITE_DONE);
}

static void schedule_reads(struct world *w, struct node *n, const struct raft_ready *ready)
{
    for (size_t i = 0; i < ready->read_count; i++) {
        w->totals->reads++;
        sim_schedule(w, 100 + sim_below(w, w->plan.write_us),
                     (struct event){.kind = EVENT_READ_DONE,
                                    .node = n->id,
                                    .incarnation = n->incarnation,
                                    .read = ready->reads[i]});
    }
}

static void note_ready(struct world *w, struct node *n, const struct raft_ready *ready)
{
    struct raft_status s;
    raft_status_get(n->raft, &s);
    if (ready->truncate_from) w->totals->truncations++;
    if (ready->conflict) w->totals->conflicts++;
    if (ready->role_changed) {
        sim_trace(w, "node %u: %s, term %llu, leader %u", n->id, raft_role_name(s.role),
                  (unsigned long long)s.term, s.leader);
        if (s.role == RAFT_LEADER) {
            w->totals->leaders++;
            /* Just when what it found in its log goes out, and its own first entry perhaps not yet. */
            if (!w->healed && sim_chance(w, w->plan.crash_new_leader))
                schedule(w, n, sim_below(w, 4 * w->plan.delay_us), EVENT_CRASH);
            if (!w->healed && w->plan.members && sim_chance(w, 500))
                schedule(w, n, sim_below(w, w->plan.delay_us), EVENT_MEMBERS);
        }
    }
    if (ready->write)
        sim_trace(w, "node %u: write %llu%s%s, truncation %llu, %zu entries to %llu", n->id,
                  (unsigned long long)ready->write, ready->hard_state ? ", term and vote" : "",
                  ready->reset ? ", reset" : "", (unsigned long long)ready->truncate_from, ready->entry_count,
                  (unsigned long long)s.last.index);
}

/* A vote is under way, or asked for, and who gave it forgets, or who asked hears of it only late. */
static void leave_in_between(struct world *w, struct node *n, const struct raft_message *m)
{
    if (w->healed || !w->plan.set_back) return;
    if (m->type == RAFT_VOTE_ANSWER && m->granted && sim_chance(w, w->plan.crash_voter))
        schedule(w, n, sim_below(w, 2 * w->plan.delay_us), EVENT_CRASH);
    if (m->type == RAFT_VOTE && w->now >= n->paused_until && sim_chance(w, w->plan.pause_candidate))
        n->paused_until = w->now + sim_below(w, 1500000);
}

void node_handle_ready(struct world *w, struct node *n)
{
    oracle_step(w, n);
    struct raft_ready *ready = raft_take(n->raft);
    if (!ready->any) return;
    oracle_ready(w, n, ready);
    note_ready(w, n, ready);
    for (size_t i = 0; i < ready->message_count; i++) {
        oracle_message(w, n, &ready->messages[i]);
        raft_id to = ready->messages[i].to;
        raft_peer_counts(n->raft, to, sim_version(w, n->id, to) >= PEER_VERSION_DURABLE);
        sim_send(w, &ready->messages[i]);
        leave_in_between(w, n, &ready->messages[i]);
    }
    submit_write(w, n, ready);
    schedule_reads(w, n, ready);
    if (ready->apply_to) {
        if (ready->apply_from != n->apply_to + 1) sim_fail(w, "node %u: a hole in what is to be applied", n->id);
        n->apply_to = ready->apply_to;
        if (!n->apply_scheduled) schedule(w, n, sim_below(w, 3000), EVENT_APPLY);
        n->apply_scheduled = true;
    }
    if (ready->install) {
        if (n->installing) sim_fail(w, "node %u: two snapshots to install at once", n->id);
        n->installing = true;
        sim_trace(w, "node %u installs %llu from %u", n->id,
                  (unsigned long long)ready->install->position.index, ready->install->from);
        n->install.position = ready->install->position;
        n->install.config = ready->install->config;
        struct bytes manifest = raft_blob_bytes(ready->install->manifest);
        if (manifest.size != sizeof n->install.chain) sim_fail(w, "node %u: manifest is damaged", n->id);
        memcpy(&n->install.chain, manifest.data, manifest.size);
        schedule(w, n, 1000 + sim_below(w, 40000), EVENT_INSTALL_DONE);
    }
    oracle_step(w, n);
}

/* ---- events of a node ---- */

/* Mostly takes the ready at once; sometimes several events come before it is taken. */
static void after_call(struct world *w, struct node *n)
{
    rejoin(w, n);
    forget_set_back(n);
    oracle_step(w, n);
    if (!sim_chance(w, 150)) node_handle_ready(w, n);
}

void node_tick(struct world *w, struct node *n)
{
    raft_tick(n->raft);
    schedule(w, n, n->tick_us, EVENT_TICK);
    if (w->plan.rejoin_ticks && ++n->ticks % w->plan.rejoin_ticks == 0)
        rejoin_tick(&n->rejoin, n->raft, w->healed || sim_chance(w, 900));
    rejoin(w, n);
    forget_set_back(n);
    node_handle_ready(w, n);
}

/* Where members change it may come from nobody who votes, as far as this log tells. */
void node_deliver_rejoin(struct world *w, struct node *n, raft_id from, const struct rejoin_message *m)
{
    (void)rejoin_came(&n->rejoin, n->raft, from, m);
    after_call(w, n);
}

void node_deliver(struct world *w, struct node *n, const struct raft_message *m)
{
    if (m->entry_count && w->now < n->refuses_until) return;
    enum err e = raft_step(n->raft, m);
    if (e && e != ERR_BUSY)
        sim_fail(w, "node %u refuses '%s' of %u: %s", n->id, raft_message_name(m->type), m->from, err_text(e));
    after_call(w, n);
}

void node_receive_part(struct world *w, struct node *n, raft_id from)
{
    (void)raft_receiving(n->raft, from);
    after_call(w, n);
}

void node_write_done(struct world *w, struct node *n)
{
    size_t done = 0;
    while (done < n->write_count && n->writes[done].done_at <= w->now) done++;
    if (!done) return; /* told with an earlier one */
    if (done < n->write_count && sim_chance(w, 200)) return; /* told with a later one */
    uint64_t number = n->writes[done - 1].number;
    for (size_t i = 0; i < done; i++) {
        disk_write(w, &n->disk, &n->writes[i], SIZE_MAX);
        write_free(&n->writes[i]);
    }
    n->write_count -= done;
    memmove(n->writes, n->writes + done, n->write_count * sizeof *n->writes);
    raft_persisted(n->raft, number);
    after_call(w, n);
}

static bool leads(const struct node *n)
{
    struct raft_status s;
    raft_status_get(n->raft, &s);
    return s.role == RAFT_LEADER;
}

void node_read_done(struct world *w, struct node *n, const struct raft_read *read)
{
    struct raft_entry entries[256];
    size_t count = 0, bytes = 0;
    for (raft_index i = read->first; i <= read->last && count < 256; i++) {
        const struct raft_entry *e = disk_entry(&n->disk, i);
        if (!e && i > n->disk.base.index && leads(n)) /* who leads no more may have cut off what it was to send */
            sim_fail(w, "node %u: entry %llu is neither cached nor durable", n->id, (unsigned long long)i);
        size_t size = e ? raft_blob_bytes(e->blob).size : 0;
        if (!e || (count && bytes + size > read->max_bytes)) break;
        bytes += size;
        entries[count++] = *e;
    }
    if (!count || sim_chance(w, w->plan.read_fail))
        raft_read_failed(n->raft, read->peer);
    else
        raft_read_done(n->raft, read->peer, entries, count);
    after_call(w, n);
}

static void apply_one(struct world *w, struct node *n)
{
    raft_index index = n->applied.position.index + 1;
    const struct raft_entry *e = raft_entry_cached(n->raft, index);
    if (!e) e = disk_entry(&n->disk, index);
    if (!e) sim_fail(w, "node %u: entry %llu to apply is nowhere", n->id, (unsigned long long)index);
    if (disk_term_at(&n->disk, index) != e->term)
        sim_fail(w, "node %u applies %llu before it is durable", n->id, (unsigned long long)index);
    uint64_t hash = oracle_entry_hash(e);
    n->applied.chain = sim_hash(n->applied.chain, &hash, sizeof hash);
    n->applied.position = (struct raft_position){e->index, e->term};
    oracle_applied(w, n, e, n->applied.chain);
}

void node_apply(struct world *w, struct node *n)
{
    n->apply_scheduled = false;
    if (n->installing) return; /* what is being fetched is further */
    for (uint64_t left = 1 + sim_below(w, 16); left && n->applied.position.index < n->apply_to; left--)
        apply_one(w, n);
    raft_applied(n->raft, n->applied.position.index);
    if (n->applied.position.index < n->apply_to) {
        schedule(w, n, sim_below(w, 3000), EVENT_APPLY);
        n->apply_scheduled = true;
    }
    after_call(w, n);
}

void node_install_done(struct world *w, struct node *n)
{
    n->installing = false;
    if (sim_chance(w, w->plan.install_fail)) {
        raft_snapshot_failed(n->raft);
        if (n->applied.position.index < n->apply_to && !n->apply_scheduled) {
            schedule(w, n, 0, EVENT_APPLY);
            n->apply_scheduled = true;
        }
    } else {
        raft_index index = n->install.position.index;
        if (index > w->oracle.last_applied || w->oracle.chains[index] != n->install.chain)
            sim_fail(w, "node %u: snapshot %llu is not the state at that index", n->id, (unsigned long long)index);
        w->totals->installs++;
        n->disk.state = n->applied = n->install;
        n->apply_to = n->commit_seen = index;
        raft_snapshot_installed(n->raft, n->install.position);
    }
    after_call(w, n);
}

/* The state becomes durable; then perhaps the log is trimmed behind it. */
void node_sync_state(struct world *w, struct node *n, bool compact)
{
    struct state *applied = &n->applied;
    if (n->installing || !applied->position.index) return;
    applied->config = *raft_config_of(n->raft, applied->position.index);
    n->disk.state = *applied;
    struct raft_status s;
    raft_status_get(n->raft, &s);
    if (!compact || applied->position.index <= s.snapshot) return;
    struct raft_blob *manifest = manifest_of(applied);
    raft_set_snapshot(n->raft, applied->position.index, manifest);
    raft_blob_release(manifest);
    raft_index until = applied->position.index - sim_below(w, 30);
    if (until > applied->position.index) return;
    /* Half the time a peer's needs are ignored: space is short. */
    if (sim_chance(w, 500) && until >= raft_needed_from(n->raft)) until = raft_needed_from(n->raft) - 1;
    if (until <= s.compacted.index || disk_term_at(&n->disk, until) != raft_term_of(n->raft, until)) return;
    disk_compact(&n->disk, until, raft_config_of(n->raft, until));
    raft_compact(n->raft, until);
    sim_trace(w, "node %u compacts to %llu", n->id, (unsigned long long)until);
    after_call(w, n);
}

void node_propose(struct world *w, struct node *n, unsigned count)
{
    struct raft_blob *blobs[16] = {0};
    if (count > 16) count = 16;
    for (unsigned i = 0; i < count; i++) {
        uint8_t *fill;
        size_t size = 8 + sim_below(w, w->plan.payload);
        blobs[i] = raft_blob_new(&fill, size);
        CHECK(blobs[i]);
        memset(fill, 0, size);
        put_be64(fill, ++w->next_payload);
    }
    raft_index first;
    enum err e = raft_propose(n->raft, &first, blobs, count);
    if (e && e != ERR_BUSY && e != ERR_NOT_LEADER) sim_fail(w, "proposal refused: %s", err_text(e));
    for (unsigned i = 0; i < count; i++) raft_blob_release(blobs[i]);
    after_call(w, n);
}
