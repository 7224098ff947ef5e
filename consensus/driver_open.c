/* The core from what the disk holds.
 *
 * Happy path: log whole, state at a position that the log contains: the core
 * starts as a follower, and what the state lacks is applied from the log.
 * Else, one thing at a time, each ending in driver_open again:
 *   - state ahead of the log (a crash between installing a state and the log's
 *     reset): the log is dropped and goes on from the state's position;
 *   - state behind the log's beginning: it is pulled from peers (catchup.h);
 *   - damaged entries: fetched from peers (driver_repair.c). Those that too few of them give: what our state has
 *     applied the log need not have, and is trimmed; others were compacted there, and lie behind a state
 *     that is pulled, or were replaced there, or never came there: then the log's end is lost.
 * A node whose log may have lost what it once acknowledged or voted takes part, but
 * counts in no majority until none of that can matter any more (driver_rejoin.c).
 */
#include <stdio.h>
#include <stdlib.h>

#include "consensus/driver_internal.h"
#include "storage/log.h"

#define SCAN_ENTRIES 1024u
#define SCAN_BYTES (1u * MIB)

/* What raft_new wants, while it is being collected. */
struct recovery {
    struct raft_state state;
    struct raft_run *runs;
    struct raft_config_at *configs;
    size_t run_capacity, config_capacity;
};

static void recovery_free(struct recovery *r)
{
    free(r->runs);
    free(r->configs);
}

/* ---- terms ---- */

static enum err add_run(struct recovery *r, raft_index first, raft_term term)
{
    if (r->state.run_count == r->run_capacity) {
        r->run_capacity = r->run_capacity ? 2 * r->run_capacity : 16;
        r->runs = xrealloc(r->runs, r->run_capacity * sizeof *r->runs);
    }
    r->runs[r->state.run_count++] = (struct raft_run){.first = first, .term = term};
    return OK;
}

/* The last index with the term of `first`; terms never fall along the log. */
static enum err run_end(struct log *log, raft_index *end, raft_index first, raft_index last, raft_term term)
{
    raft_index low = first, high = last;
    while (low < high) {
        raft_index middle = high - (high - low) / 2;
        raft_term found;
        enum err e = log_term(log, &found, middle);
        if (e != OK) return e;
        if (found == term)
            low = middle;
        else
            high = middle - 1;
    }
    *end = low;
    return OK;
}

static enum err collect_runs(struct recovery *r, struct log *log, const struct log_status *status)
{
    raft_index end = status->first - 1;
    enum err e = OK;
    while (end < status->last && e == OK) {
        raft_index first = end + 1;
        raft_term term;
        e = log_term(log, &term, first);
        if (e == OK) e = run_end(log, &end, first, status->last, term);
        if (e == OK) e = add_run(r, first, term);
    }
    r->state.runs = r->runs;
    return e;
}

/* ---- members, sizes, times ---- */

static enum err add_config(struct recovery *r, const struct log_entry *entry)
{
    if (r->state.config_count == r->config_capacity) {
        r->config_capacity = r->config_capacity ? 2 * r->config_capacity : 4;
        r->configs = xrealloc(r->configs, r->config_capacity * sizeof *r->configs);
    }
    struct raft_config_at *at = &r->configs[r->state.config_count++];
    at->index = entry->index;
    return raft_config_decode(&at->config, NULL, entry->payload);
}

/* Of what k nodes did not cosign: who gave it may be asked after a restart, too. */
static enum err note_head(struct driver *d, const struct log_entry *entry)
{
    struct raft_entry e;
    struct digest hash;
    enum err code = log_entry_to_raft(&e, entry);
    if (code != OK) return code;
    entry_hash(&hash, &e);
    driver_note_head(d, &e, &hash);
    raft_blob_release(e.blob);
    return OK;
}

static enum err look_at(struct driver *d, struct recovery *r, const struct log_status *status,
                        const struct log_entry *entry)
{
    bool recent = entry->index > status->cosigned.index && entry->index + DRIVER_HEADS > status->last;
    driver_count_size(d, entry->index, entry->payload.size);
    enum err e = recent ? note_head(d, entry) : OK;
    return e == OK && entry->kind == RAFT_ENTRY_CONFIG ? add_config(r, entry) : e;
}

/* Member lists stand anywhere in the log, so all of it is read once. */
static enum err scan(struct driver *d, struct recovery *r, const struct log_status *status)
{
    struct buffer bytes = {0};
    struct log_entry *entries = xcalloc(SCAN_ENTRIES, sizeof *entries);
    enum err e = OK;
    for (raft_index at = status->first; at <= status->last && e == OK;) {
        size_t count;
        buffer_clear(&bytes);
        e = log_read(d->o.log, &bytes, entries, &count, SCAN_ENTRIES, at, SCAN_BYTES);
        for (size_t i = 0; e == OK && i < count; i++)
            e = look_at(d, r, status, &entries[i]);
        at += count;
    }
    free(entries);
    buffer_free(&bytes);
    r->state.configs = r->configs;
    return e;
}

void driver_genesis_config(struct raft_config *config, const struct genesis *genesis)
{
    *config = (struct raft_config){0};
    for (uint32_t i = 1; i <= genesis->member_count; i++)
        CHECK(raft_config_set(config, (raft_id)i, true));
}

/* Members as of the log's beginning. */
static enum err base_config(struct driver *d, struct raft_config *config)
{
    struct buffer encoded = {0}, manifest = {0};
    uint64_t index, term;
    enum err e = log_snapshot(d->o.log, &index, &term, &encoded, &manifest);
    if (e == OK) e = raft_config_decode(config, NULL, buffer_bytes(&encoded));
    if (e == ERR_NOT_FOUND || e == ERR_CORRUPT) {
        if (e == ERR_CORRUPT) log_warning("driver", "the log's member list is damaged: taking the genesis'");
        driver_genesis_config(config, d->o.genesis);
        e = OK;
    }
    buffer_free(&encoded);
    buffer_free(&manifest);
    return e;
}

/* ---- the core ---- */

static enum err collect(struct driver *d, struct recovery *r, const struct log_status *status)
{
    r->state.term = status->term;
    r->state.vote = (raft_id)status->vote;
    r->state.compacted = (struct raft_position){status->compact_index, status->compact_term};
    r->state.last = status->last;
    r->state.applied = d->position.raft_index;
    enum err e = base_config(d, &r->state.compacted_config);
    if (e == OK) e = collect_runs(r, d->o.log, status);
    if (e == OK) e = scan(d, r, status);
    /* Term and vote may be lost with damaged records, or with the whole log; the term is at least that of
     * what was appended or applied, and a vote in it counts as given. */
    raft_term known = status->last_term > d->position.raft_term ? status->last_term : d->position.raft_term;
    if (r->state.term < known) {
        r->state.term = known;
        r->state.vote = 0;
    }
    return e;
}

/* A log that was begun anew shows nothing of what it lost any more, once it has a term. */
static void judge_log(struct driver *d, const struct log_status *status)
{
    struct raft_status s;
    raft_status_get(d->raft, &s);
    struct past lost = {.term = s.term};
    bool term_lost = status->term < s.term && d->excused.term < s.term;
    d->log_says_forgot = status->votes_forgotten;
    if (d->forgot)
        driver_note_forgotten(d);
    else if (status->tail_damaged || term_lost)
        driver_forgets(d, &lost, "this node's log lost its end");
    else if (status->state_damaged)
        driver_forgets(d, &lost, "this node's log lost its last term, vote or cosigned mark");
    else if (status->votes_forgotten)
        driver_forgets(d, &lost, "this node's log says that its disk was set back, or it damaged, earlier");
}

static void ready_to_run(struct driver *d, const struct log_status *status)
{
    d->phase = DRIVER_RUNNING;
    d->apply_next = d->position.raft_index + 1;
    d->apply_due = d->position.raft_index;
    d->mark = (struct cosigned_mark){
        .raft_index = status->cosigned.index, .size = status->cosigned.size, .root = status->cosigned.root};
    d->marked = status->cosigned.index != 0;
    if (d->marked) raft_set_floor(d->raft, d->mark.raft_index);
    judge_log(d, status);
    driver_apply_settings(d);
    driver_past_judge(d);
    if (d->position.ahead) {
        d->hold = true;
        driver_ask_state(d);
    }
    log_info("driver", "log %llu..%llu, state at %llu with %llu leaves", (unsigned long long)status->first,
             (unsigned long long)status->last, (unsigned long long)d->position.raft_index,
             (unsigned long long)d->position.size);
}

/* Opening looks at checksums only: that a block does not open shows when it is read. */
static bool found_damage(const struct driver *d)
{
    struct log_status status;
    log_status(d->o.log, &status);
    return status.damaged > 0;
}

static void start_core(struct driver *d, const struct log_status *status)
{
    struct recovery r = {0};
    struct raft_options options = {.id = (raft_id)d->o.self, .seed = d->o.seed};
    raft_options_default(&options);
    options.backlog_bytes = 16 * MIB;
    options.cache_bytes = 16 * MIB;
    options.window_bytes = 8 * MIB;
    options.block_head = ENTRY_HEAD;
    enum err e = collect(d, &r, status);
    if (e == OK) e = raft_new(&d->raft, &options, &r.state);
    recovery_free(&r);
    if (e == ERR_CORRUPT && found_damage(d))
        driver_open(d);
    else if (e != OK)
        driver_fail(d, e, "cannot start from the log: %s", err_text(e));
    else
        ready_to_run(d, status);
}

/* The log is dropped and goes on after the state's position. */
static void drop_log(struct driver *d)
{
    struct raft_ready none = {0};
    struct raft_config config;
    struct log_write *w = log_write_new(&none);
    enum err e = base_config(d, &config);
    w->reset = true;
    w->reset_to = (struct raft_position){d->position.raft_index, d->position.raft_term};
    raft_config_encode(&w->config, &config, (struct bytes){0});
    if (e != OK || w->config.failed) {
        log_write_free(w);
        driver_fail(d, e != OK ? e : ERR_NOMEM, "cannot read the log's member list");
        return;
    }
    log_notice("driver", "the log does not contain the state's position %llu: starting it anew from there",
               (unsigned long long)d->position.raft_index);
    d->compacting = true;
    log_thread_push(d->log, &w->job);
}

static raft_index last_damage(struct log *log, raft_index from, raft_index to)
{
    uint64_t first, last = 0, found = 0;
    for (uint64_t at = from; log_damage(log, &first, &last, at) == OK && first <= to; at = last + 1)
        found = last < to ? last : to;
    return found;
}

/* What the state has applied it has durably: entries up to there are only for others who need them. No more of
 * them go than must, since the state may be ahead of what is witnessed, and then nobody could pull it. */
static void trim_damage(struct driver *d)
{
    struct raft_config config;
    struct log_status status;
    struct log_compaction *c = xcalloc(1, sizeof *c);
    enum err e = base_config(d, &config);
    c->job.kind = LOG_JOB_COMPACT;
    log_status(d->o.log, &status);
    c->at.index = last_damage(d->o.log, status.first, d->position.raft_index);
    while (c->at.index < d->position.raft_index && driver_known_term(d, c->at.index) == 0) c->at.index++;
    c->at.term = driver_known_term(d, c->at.index);
    raft_config_encode(&c->config, &config, (struct bytes){0});
    if (e != OK || c->config.failed) {
        log_compaction_free(c);
        driver_fail(d, e != OK ? e : ERR_NOMEM, "cannot read the log's member list");
        return;
    }
    log_notice("driver", "the log's entries up to %llu go, since some are damaged that no %u peers give; the state has "
               "what they did", (unsigned long long)c->at.index, d->o.genesis->faulty + 1);
    d->compacting = true;
    log_thread_push(d->log, &c->job);
}

static void pull_state(struct driver *d, raft_index index)
{
    driver_ask_state(d);
    if (!d->asked) return; /* not yet */
    d->pulled = index;
    driver_repair_free(d);
}

/* From this damaged entry on the log's end is lost, and with it what this node acknowledged: it counts in no majority
 * until that can't matter any more (consensus/rejoin.h), so that nobody is elected without what others have of it.
 * It knows that before the end is gone, also after a crash. */
static void cut_end(struct driver *d, raft_index from)
{
    struct log_status status;
    struct raft_ready cut = {.truncate_from = from};
    char why[200];
    log_status(d->o.log, &status);
    struct past lost = {.term = status.term > status.last_term ? status.term : status.last_term};
    if (lost.term == 0) lost.term = 1;
    snprintf(why, sizeof why, "this node's log is damaged at entry %llu, which the others don't have or have replaced: "
             "its entries from there to %llu are dropped", (unsigned long long)from, (unsigned long long)status.last);
    driver_forgets(d, &lost, why);
    d->compacting = true;
    log_thread_push(d->log, &log_write_new(&cut)->job);
}

/* A majority without this node lacks the entry, so that it was not committed, or is behind a state; they elect a
 * leader, and give this node its vote back. Of whom nothing was heard, or who has it damaged, is no reason: the late ones
 * of a cluster that starts may be all that have it. Unless people said that it is to go on without them. */
static bool may_cut(const struct driver *d, const struct without *w)
{
    struct log_status status;
    log_status(d->o.log, &status);
    bool enough = w->lacking > d->o.genesis->member_count / 2;
    return (enough || d->o.accept_loss) && w->index > status.cosigned.index && w->index > status.compact_index;
}

static bool give_up_opening(struct driver *d, const struct without *w)
{
    bool applied = w->index <= d->position.raft_index, pulls = w->behind && d->pulled != w->index;
    bool cuts = !applied && !pulls && w->waited && may_cut(d, w);
    if (applied || cuts) driver_repair_free(d);
    if (applied)
        trim_damage(d);
    else if (cuts)
        cut_end(d, w->index);
    if (applied || cuts) return true;
    if (pulls || (w->waited && w->lacking > 0)) pull_state(d, w->index);
    return false;
}

static void give_up_running(struct driver *d, const struct without *w)
{
    driver_repair_free(d);
    if (w->index > d->position.raft_index && w->index <= d->apply_due)
        driver_ask_state(d);
    /* else it was applied here, and goes with the next trimming; or is not committed yet */
}

bool driver_give_up(struct driver *d, const struct without *w)
{
    if (d->phase == DRIVER_OPENING) return give_up_opening(d, w);
    give_up_running(d, w);
    return true;
}

static bool contains_position(struct driver *d, const struct log_status *status)
{
    raft_term term;
    const struct state_position *p = &d->position;
    if (p->raft_index == 0) return true;
    if (p->raft_index > status->last) return false;
    if (log_term(d->o.log, &term, p->raft_index) == OK && term != 0) return term == p->raft_term;
    /* A damaged entry at the position proves nothing against it. But terms never fall along a log; and who made
     * one of the position's term or a later one had the position's entry, since that is committed. */
    for (raft_index i = p->raft_index + 1; i <= status->last; i++)
        if (log_term(d->o.log, &term, i) == OK && term != 0) return term >= p->raft_term;
    return true;
}

void driver_open(struct driver *d)
{
    struct log_status status;
    if (d->phase != DRIVER_OPENING || d->compacting || d->repair || d->asked) return;
    log_status(d->o.log, &status);
    if (d->position.raft_index < status.compact_index)
        driver_ask_state(d);
    else if (!contains_position(d, &status))
        drop_log(d);
    else if (status.damaged > 0)
        driver_repair_start(d);
    else
        start_core(d, &status);
    d->dirty = true;
}
