/* The log as the core sees it: which term each index has (a few runs), and the
 * entries at its end. Older entries are the driver's, on disk. */
#include <string.h>

#include "consensus/raft_internal.h"

#define RING_START 64u

void raft_log_init(struct raft_log *log, struct raft_position compacted)
{
    *log = (struct raft_log){
        .compacted = compacted, .last = compacted.index, .cached_first = compacted.index + 1};
    log->ring_capacity = RING_START;
    log->ring = xcalloc(RING_START, sizeof *log->ring);
}

static struct cached_entry *slot(const struct raft_log *log, raft_index index)
{
    return &log->ring[index & (log->ring_capacity - 1)];
}

static void drop_cached(struct raft_log *log, raft_index from, raft_index to)
{
    for (raft_index i = index_max(from, log->cached_first); i <= to && i <= log->last; i++) {
        struct cached_entry *c = slot(log, i);
        raft_blob_release(c->entry.blob);
        c->entry = (struct raft_entry){0};
    }
}

void raft_log_free(struct raft_log *log)
{
    drop_cached(log, log->cached_first, log->last);
    free(log->ring);
    free(log->runs);
    *log = (struct raft_log){0};
}

size_t raft_entry_cost(const struct raft_entry *entry)
{
    return ENTRY_OVERHEAD + (entry->blob ? entry->blob->size : 0);
}

static void extend(struct raft_log *log, raft_index last, raft_term term)
{
    CHECK(last > log->last);
    if (!log->run_count || log->runs[log->run_count - 1].term != term) {
        CHECK(!log->run_count || log->runs[log->run_count - 1].term < term);
        if (log->run_count == log->run_capacity) {
            log->run_capacity = log->run_capacity ? 2 * log->run_capacity : 16;
            log->runs = xrealloc(log->runs, log->run_capacity * sizeof *log->runs);
        }
        log->runs[log->run_count++] = (struct raft_run){log->last + 1, term};
    }
    log->last = last;
}

void raft_log_append_run(struct raft_log *log, raft_index first, raft_index last, raft_term term)
{
    CHECK(first == log->last + 1 && log->cached_first == first);
    extend(log, last, term);
    log->cached_first = last + 1; /* these are on disk only */
}

static void grow_ring(struct raft_log *log)
{
    size_t capacity = 2 * log->ring_capacity;
    struct cached_entry *ring = xcalloc(capacity, sizeof *ring);
    for (raft_index i = log->cached_first; i <= log->last; i++) ring[i & (capacity - 1)] = *slot(log, i);
    free(log->ring);
    log->ring = ring;
    log->ring_capacity = capacity;
}

void raft_log_append(struct raft_log *log, const struct raft_entry *entry)
{
    CHECK(entry->index == log->last + 1);
    if (log->last + 1 - log->cached_first == log->ring_capacity) grow_ring(log);
    extend(log, entry->index, entry->term);
    *slot(log, entry->index) = (struct cached_entry){*entry, log->bytes_total};
    raft_blob_retain(entry->blob);
    log->bytes_total += raft_entry_cost(entry);
}

void raft_log_truncate(struct raft_log *log, raft_index from)
{
    CHECK(from > log->compacted.index && from <= log->last);
    log->bytes_total = from >= log->cached_first ? slot(log, from)->bytes_before : log->bytes_evicted;
    drop_cached(log, from, log->last);
    log->last = from - 1;
    if (log->cached_first > from) log->cached_first = from;
    while (log->run_count && log->runs[log->run_count - 1].first >= from) log->run_count--;
}

void raft_log_reset(struct raft_log *log, struct raft_position position)
{
    drop_cached(log, log->cached_first, log->last);
    log->compacted = position;
    log->last = position.index;
    log->cached_first = position.index + 1;
    log->run_count = 0;
    log->bytes_total = log->bytes_evicted = 0;
}

static void evict_to(struct raft_log *log, raft_index first)
{
    log->bytes_evicted = first <= log->last ? slot(log, first)->bytes_before : log->bytes_total;
    drop_cached(log, log->cached_first, first - 1);
    log->cached_first = first;
}

void raft_log_evict(struct raft_log *log, raft_index until, size_t bytes)
{
    while (log->cached_first <= until && log->cached_first <= log->last &&
           log->bytes_total - log->bytes_evicted > bytes)
        evict_to(log, log->cached_first + 1);
}

void raft_log_compact(struct raft_log *log, raft_index index)
{
    CHECK(index >= log->compacted.index && index <= log->last);
    struct raft_position position = raft_log_position(log, index);
    if (log->cached_first <= index) evict_to(log, index + 1);
    size_t gone = 0;
    while (gone + 1 < log->run_count && log->runs[gone + 1].first <= index + 1) gone++;
    if (log->run_count && index == log->last) gone = log->run_count;
    log->run_count -= gone;
    if (gone) memmove(log->runs, log->runs + gone, log->run_count * sizeof *log->runs);
    if (log->run_count && log->runs[0].first <= index) log->runs[0].first = index + 1;
    log->compacted = position;
}

/* The run of an index compacted.index + 1 .. last. Mostly near the end. */
static size_t run_of(const struct raft_log *log, raft_index index)
{
    size_t low = 0, high = log->run_count - 1;
    if (log->runs[high].first <= index) return high;
    while (low < high) {
        size_t middle = (low + high + 1) / 2;
        if (log->runs[middle].first <= index)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

raft_term raft_log_term(const struct raft_log *log, raft_index index)
{
    if (index == log->compacted.index) return log->compacted.term;
    if (index < log->compacted.index || index > log->last) return 0;
    return log->runs[run_of(log, index)].term;
}

struct raft_position raft_log_position(const struct raft_log *log, raft_index index)
{
    return (struct raft_position){index, raft_log_term(log, index)};
}

raft_index raft_log_run_first(const struct raft_log *log, raft_index index)
{
    if (index <= log->compacted.index || index > log->last) return index;
    return log->runs[run_of(log, index)].first;
}

raft_index raft_log_find(const struct raft_log *log, raft_index index, raft_term term)
{
    index = index_min(index, log->last);
    while (index > log->compacted.index) {
        size_t run = run_of(log, index);
        if (log->runs[run].term <= term) return index;
        index = log->runs[run].first - 1;
    }
    if (index == log->compacted.index && log->compacted.term <= term) return index;
    return log->compacted.index ? log->compacted.index - 1 : 0;
}

const struct raft_entry *raft_log_cached(const struct raft_log *log, raft_index index)
{
    if (index < log->cached_first || index > log->last) return NULL;
    return &slot(log, index)->entry;
}

size_t raft_log_bytes_after(const struct raft_log *log, raft_index index)
{
    if (index >= log->last) return 0;
    raft_index first = index_max(index + 1, log->cached_first);
    return first > log->last ? 0 : (size_t)(log->bytes_total - slot(log, first)->bytes_before);
}
