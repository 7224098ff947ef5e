#include <string.h>

#include "base/check.h"
#include "tests/sim/sim.h"

void disk_init(struct disk *d, const struct raft_config *genesis)
{
    *d = (struct disk){.base_config = *genesis, .state = {.config = *genesis}};
}

static void cut_log(struct disk *d, size_t count)
{
    while (d->log_count > count) raft_blob_release(d->log[--d->log_count].blob);
}

void disk_free(struct disk *d)
{
    cut_log(d, 0);
    free(d->log);
    d->log = NULL;
}

void disk_copy(struct disk *out, const struct disk *d)
{
    disk_free(out);
    *out = *d;
    out->log_capacity = d->log_count;
    out->log = xcalloc(d->log_count + 1, sizeof *out->log);
    for (size_t i = 0; i < d->log_count; i++) {
        out->log[i] = d->log[i];
        raft_blob_retain(d->log[i].blob);
    }
}

raft_index disk_last(const struct disk *d) { return d->base.index + d->log_count; }

const struct raft_entry *disk_entry(const struct disk *d, raft_index index)
{
    if (index <= d->base.index || index > disk_last(d)) return NULL;
    return &d->log[index - d->base.index - 1];
}

raft_term disk_term_at(const struct disk *d, raft_index index)
{
    if (index == d->base.index) return d->base.term;
    const struct raft_entry *e = disk_entry(d, index);
    return e ? e->term : 0;
}

/* ---- writes ---- */

size_t write_parts(const struct write *write) { return 3 + write->entry_count; }

void write_free(struct write *write)
{
    for (size_t i = 0; i < write->entry_count; i++) raft_blob_release(write->entries[i].blob);
    free(write->entries);
    *write = (struct write){0};
}

static void write_hard_state(struct world *w, struct disk *d, const struct write *write)
{
    if (write->term < d->term) sim_fail(w, "durable term goes back");
    if (write->term == d->term && d->vote && write->vote != d->vote)
        sim_fail(w, "durable vote changes within a term");
    d->term = write->term;
    d->vote = write->vote;
}

static void append(struct world *w, struct disk *d, const struct raft_entry *e)
{
    if (e->index <= d->base.index) sim_fail(w, "entry below the start of the log");
    if (e->index != disk_last(d) + 1) sim_fail(w, "entry leaves a hole in the log");
    if (e->term < disk_term_at(d, disk_last(d))) sim_fail(w, "term goes back within the log");
    if (e->term > d->term) sim_fail(w, "entry of a term that is not durable");
    if (d->log_count == d->log_capacity) {
        d->log_capacity = d->log_capacity ? 2 * d->log_capacity : 64;
        d->log = xrealloc(d->log, d->log_capacity * sizeof *d->log);
    }
    d->log[d->log_count++] = *e;
    raft_blob_retain(e->blob);
}

void disk_write(struct world *w, struct disk *d, const struct write *write, size_t parts)
{
    if (parts >= 1 && write->hard_state) write_hard_state(w, d, write);
    if (parts >= 2 && write->reset) {
        cut_log(d, 0);
        d->base = write->reset_to;
        d->base_config = write->reset_config;
    }
    if (parts >= 3 && write->truncate_from && write->truncate_from <= disk_last(d)) {
        raft_index applied = d->state.position.index; /* by this log, or by a snapshot beyond it */
        if (write->truncate_from <= applied && disk_term_at(d, applied) == d->state.position.term)
            sim_fail(w, "applied entry is truncated");
        cut_log(d, write->truncate_from - d->base.index - 1);
    }
    for (size_t i = 0; i < write->entry_count && i + 3 < parts; i++) append(w, d, &write->entries[i]);
}

void disk_damage(struct disk *d, size_t count) { cut_log(d, d->log_count - count); }

void disk_lose_vote(struct world *w, struct disk *d)
{
    raft_term known = disk_term_at(d, disk_last(d));
    if (known < d->state.position.term) known = d->state.position.term;
    d->vote = 0;
    if (known < d->term) d->term = known + sim_below(w, d->term - known + 1);
}

void disk_compact(struct disk *d, raft_index index, const struct raft_config *config)
{
    CHECK(index >= d->base.index && index <= disk_last(d) && index <= d->state.position.index);
    struct raft_position position = {index, disk_term_at(d, index)};
    size_t gone = (size_t)(index - d->base.index);
    for (size_t i = 0; i < gone; i++) raft_blob_release(d->log[i].blob);
    if (gone) memmove(d->log, d->log + gone, (d->log_count - gone) * sizeof *d->log);
    d->log_count -= gone;
    d->base = position;
    d->base_config = *config;
}

/* ---- start ---- */

static void find_runs(const struct disk *d, struct raft_state *out)
{
    struct raft_run *runs = xcalloc(d->log_count + 1, sizeof *runs);
    struct raft_config_at *configs = xcalloc(d->log_count + 1, sizeof *configs);
    for (size_t i = 0; i < d->log_count; i++) {
        const struct raft_entry *e = &d->log[i];
        if (!out->run_count || runs[out->run_count - 1].term != e->term)
            runs[out->run_count++] = (struct raft_run){e->index, e->term};
        if (e->type == RAFT_ENTRY_CONFIG) {
            configs[out->config_count].index = e->index;
            CHECK(!raft_config_decode(&configs[out->config_count++].config, NULL, raft_blob_bytes(e->blob)));
        }
    }
    out->runs = runs;
    out->configs = configs;
}

void disk_recover(struct disk *d, struct raft_state *out, const struct raft_config *genesis)
{
    const struct state *s = &d->state;
    /* A crash between a snapshot's state and the log's reset. */
    if (s->position.index > disk_last(d) || disk_term_at(d, s->position.index) != s->position.term) {
        CHECK(s->position.index >= d->base.index);
        cut_log(d, 0);
        d->base = s->position;
        d->base_config = s->config;
        /* Its term may have been on no disk yet: then nothing was said in it, nor a vote given. (The driver can't
         * tell that from a damaged log, and waits with voting.) */
        if (d->term < s->position.term) d->term = s->position.term, d->vote = 0;
    }
    if (!d->base.index) d->base_config = *genesis;
    *out = (struct raft_state){.term = d->term,
                               .vote = d->vote,
                               .compacted = d->base,
                               .compacted_config = d->base_config,
                               .last = disk_last(d),
                               .applied = s->position.index};
    find_runs(d, out);
}
