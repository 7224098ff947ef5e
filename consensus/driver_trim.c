/* Snapshots, compaction, and catching up.
 *
 * Trimming: the owner names a witnessed position; once the state is synced past it
 * the core may offer it to peers, and entries behind it may go. They go only when
 * the log is longer than log_keep_bytes, and half of that always stays as a trail,
 * so that a peer that was away for a while needs no state; while an active peer
 * still reads further back, up to twice that. The log forgets durably before the
 * core does.
 * A log that can't be trimmed, since too few nodes are there to witness anything:
 * beyond LIMIT_LOG_SCARCE thousandths of its limits what is witnessed goes for lagging
 * peers' needs, too; beyond LIMIT_LOG_NEW nothing new is submitted, forwarded or
 * proposed, but the leader leads on, since who comes back has to get from it what is
 * to be co-signed. A follower goes on to LIMIT_LOG_BLOCKS: its log may have been longer
 * by twice log_keep_bytes when the last trimming was. Beyond that it drops blocks as
 * with a full device, and nobody loses an office by it. A leader's empty entries go on to
 * LIMIT_LOG_EMPTY: one that lies has no end of them.
 * Catching up: the owner pulls the state (consensus/catchup.h); nothing is applied
 * from on_install until it is told and synced, since a half replayed state belongs
 * to no position of the log.
 */
#include <assert.h>
#include <stdlib.h>

#include "consensus/driver_internal.h"

#define SIZE_MARK_BYTES (256ull * 1024)
#define ENTRY_OVERHEAD_BYTES 128u /* of a record in the log, about */
#define ASK_AGAIN_TICKS 40

/* ---- how long the log is ---- */

/* Truncated entries stay counted, from the mark before them: their bytes stay in the log's files, too, until those are
 * trimmed up to there, and then both are gone. */
void driver_count_size(struct driver *d, raft_index index, size_t bytes)
{
    while (d->size_count > 0 && d->sizes[d->size_count - 1].index >= index)
        d->size_count--; /* truncated */
    if (d->size_count == 0 || d->log_bytes - d->sizes[d->size_count - 1].bytes >= SIZE_MARK_BYTES) {
        if (d->size_count == d->size_capacity) {
            d->size_capacity = d->size_capacity ? 2 * d->size_capacity : 64;
            d->sizes = xrealloc(d->sizes, d->size_capacity * sizeof *d->sizes);
        }
        d->sizes[d->size_count++] = (struct size_mark){.index = index, .bytes = d->log_bytes};
    }
    d->log_bytes += bytes + ENTRY_OVERHEAD_BYTES;
}

/* Twice what is kept, and all that may come while nothing is trimmed, leave a follower a quarter of the limit. */
static_assert(2ull * LIMIT_LOG_KEEP_MIB * MIB <= (uint64_t)LIMIT_LOG_SEGMENTS * LOG_SEGMENT_SIZE / 4 &&
              LIMIT_LOG_NEW <= LIMIT_LOG_BLOCKS / 2, "the log's limits");

static uint64_t log_size(const struct driver *d) { return d->size_count ? d->log_bytes - d->sizes[0].bytes : 0; }

/* The last index that may go so that `trail` bytes stay; 0: none. */
static raft_index trail_end(const struct driver *d, uint64_t trail)
{
    raft_index end = 0;
    for (size_t i = 0; i < d->size_count && d->log_bytes - d->sizes[i].bytes >= trail; i++)
        end = d->sizes[i].index - 1;
    return end;
}

static void forget_sizes(struct driver *d, raft_index until)
{
    size_t gone = 0;
    while (gone + 1 < d->size_count && d->sizes[gone + 1].index <= until + 1)
        gone++;
    d->size_count -= gone;
    for (size_t i = 0; gone > 0 && i < d->size_count; i++)
        d->sizes[i] = d->sizes[i + gone];
}

/* ---- compaction ---- */

static void offer_snapshot(struct driver *d)
{
    struct buffer manifest = {.limit = LIMIT_RAFT_MANIFEST};
    struct raft_status status;
    uint64_t index, term;
    raft_status_get(d->raft, &status);
    bool named = d->o.snapshot && d->o.snapshot(d->o.data, &index, &term, &manifest);
    if (named && !manifest.failed && index > status.snapshot && index <= status.applied &&
        index <= d->synced.position.raft_index && index > status.compacted.index &&
        raft_term_of(d->raft, index) == term) {
        struct raft_blob *blob = raft_blob_copy(buffer_bytes(&manifest));
        if (blob) raft_set_snapshot(d->raft, index, blob);
        if (blob) {
            raft_blob_release(d->manifest);
            d->manifest = blob;
        }
    }
    buffer_free(&manifest);
}

static raft_index trim_target(const struct driver *d, const struct raft_status *status)
{
    uint64_t size = log_size(d), keep = d->o.log_keep_bytes;
    bool scarce = d->log_filled >= LIMIT_LOG_SCARCE; /* also by what isn't counted here: records beside the entries */
    if (size <= keep && !scarce) return 0;
    raft_index target = size > keep ? trail_end(d, keep / 2) : status->snapshot;
    if (target > status->snapshot) target = status->snapshot;
    raft_index needed = raft_needed_from(d->raft);
    if (size < 2 * keep && !scarce && needed > 0 && target > needed - 1) target = needed - 1;
    return target > status->compacted.index ? target : 0;
}

static void compact(struct driver *d, raft_index index)
{
    struct log_compaction *c = xcalloc(1, sizeof *c);
    c->job.kind = LOG_JOB_COMPACT;
    c->at = (struct raft_position){index, raft_term_of(d->raft, index)};
    raft_config_encode(&c->config, raft_config_of(d->raft, index), (struct bytes){0});
    buffer_append_bytes(&c->manifest, raft_blob_bytes(d->manifest));
    if (c->config.failed || c->manifest.failed) {
        log_compaction_free(c);
        return; /* no memory now; a second later perhaps */
    }
    d->compacting = true;
    log_thread_push(d->log, &c->job);
}

void driver_trim(struct driver *d)
{
    struct raft_status status;
    if (!driver_alive(d) || d->installing || d->hold) return;
    offer_snapshot(d);
    raft_status_get(d->raft, &status);
    raft_index target = d->compacting ? 0 : trim_target(d, &status);
    if (target != 0) compact(d, target);
}

void driver_compacted(struct driver *d, struct log_compaction *c)
{
    struct raft_position at = c->at;
    enum err e = c->job.code;
    log_compaction_free(c);
    d->compacting = false;
    if (e != OK) {
        driver_fail(d, e, "cannot compact the log: %s", err_text(e));
    } else if (d->phase == DRIVER_OPENING) {
        driver_open(d);
    } else if (driver_alive(d)) {
        raft_compact(d->raft, at.index);
        forget_sizes(d, at.index);
        log_info("driver", "log trimmed up to %llu", (unsigned long long)at.index);
    }
}

/* ---- catching up ---- */

static void ask(struct driver *d, struct raft_position position, struct bytes manifest)
{
    d->asked = true;
    d->asked_tick = d->ticks;
    if (d->o.on_install) d->o.on_install(d->o.data, position.index, position.term, manifest);
}

void driver_ask_state(struct driver *d)
{
    if (d->asked || d->installing || d->starting) return; /* the owner has no catch-up yet: a second later */
    if (d->asked_tick != 0 && d->ticks - d->asked_tick < ASK_AGAIN_TICKS) return;
    if (d->raft) d->hold = true;
    log_notice("driver", "the state has to be pulled from peers");
    ask(d, (struct raft_position){0, 0}, (struct bytes){0});
}

/* Comes back, once all before it is durable, in driver_state_done. */
static void sync_state(struct driver *d)
{
    struct job *job = xcalloc(1, sizeof *job);
    job->kind = STATE_JOB_SYNC;
    state_thread_push(d->state, job);
}

static bool is_position(const struct raft_position *p, uint64_t index, uint64_t term)
{
    return p->index == index && p->term == term;
}

/* What is offered is one leader's word, also where this state has passed it; an invented term would make this node's log
 * the newest of all. Here it stands so itself, or b + 1 members have said it. */
static bool is_certain(const struct driver *d)
{
    return is_position(&d->install, d->position.raft_index, d->position.raft_term) ||
           is_position(&d->install, d->confirmed.index, d->confirmed.term);
}

void driver_install(struct driver *d, const struct raft_install *install)
{
    d->installing = true;
    d->install = install->position;
    raft_blob_release(d->manifest);
    d->manifest = raft_blob_retain(install->manifest);
    log_notice("driver", "behind the beginning of the leader's log: catching up to index %llu",
               (unsigned long long)install->position.index);
    if (d->asked) return; /* pulling already, for the newest that there is */
    if (!d->hold && is_certain(d))
        sync_state(d);
    else
        ask(d, install->position, raft_blob_bytes(install->manifest));
}

void driver_caught_up(struct driver *d, uint64_t index, uint64_t term, uint64_t size, struct bytes manifest)
{
    (void)manifest;
    d->confirmed = (struct raft_position){.index = index, .term = term};
    log_notice("driver", "caught up to index %llu, %llu leaves", (unsigned long long)index,
               (unsigned long long)size);
    if (d->phase == DRIVER_RUNNING || d->phase == DRIVER_OPENING) sync_state(d);
}

static void end_install(struct driver *d)
{
    if (!d->installing || !driver_alive(d)) return;
    d->installing = false;
    if (!d->hold && d->position.raft_index >= d->install.index && is_certain(d))
        raft_snapshot_installed(d->raft, d->install);
    else
        raft_snapshot_failed(d->raft); /* it is offered again */
}

/* A job of sync_state came back. */
void driver_state_synced(struct driver *d)
{
    state_thread_synced(d->state, &d->synced);
    driver_state_moved(d);
    d->hold = d->synced.position.ahead;
    d->asked = false;
    end_install(d);
    d->dirty = true;
    if (d->phase == DRIVER_OPENING) driver_open(d);
}

void driver_catch_up_failed(struct driver *d, uint64_t index)
{
    (void)index;
    if (d->phase != DRIVER_RUNNING && d->phase != DRIVER_OPENING) return;
    d->asked_tick = d->ticks;
    sync_state(d); /* what was replayed so far is known then, and whether anything may be applied on top */
}

void driver_state_moved(struct driver *d)
{
    struct state_synced now;
    state_thread_synced(d->state, &now);
    const struct state_position *p = &now.moved;
    if (p->size < d->position.size || p->raft_index < d->position.raft_index ||
        (p->size == d->position.size && p->raft_index == d->position.raft_index))
        return;
    d->position = *p;
    if (p->ahead) d->hold = true;
    struct driver_applied told = {.raft_index = p->raft_index,
                                  .raft_term = p->raft_term,
                                  .size = p->size,
                                  .root = p->root,
                                  .time_ms = p->time_ms,
                                  .keygen_changed = true,
                                  .policy_changed = true,
                                  .alarms_changed = true,
                                  .replayed = true};
    d->dirty = true;
    if (d->o.on_applied) d->o.on_applied(d->o.data, &told);
}
