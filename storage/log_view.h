/* What the log's records add up to: where each block is, and the small state.
 *
 * Built record by record, at opening and after each sync, by the same function.
 * Damage is told to it as a hole; the next record then shows what the hole can
 * have held: each header carries how often the log was truncated before it, each
 * LOG_STATE the last index. What no record proves to be there still is marked as
 * damaged rather than guessed.
 *
 * Not thread-safe; the log's lock covers it. */
#ifndef STORAGE_LOG_VIEW_H
#define STORAGE_LOG_VIEW_H

#include "storage/log_format.h"

#define LOG_ENTRIES_MAX (LIMIT_LOG_ENTRIES / 4 * 5) /* 24 bytes of memory each */

struct log_place {
    uint32_t segment; /* 0: nowhere, damaged */
    uint32_t offset, span;
};

struct log_slot {
    uint64_t term; /* 0 in a damaged slot: unknown */
    struct log_place place;
};

enum log_hole {
    HOLE_NONE,
    HOLE_WITHIN,  /* in the segment of the next record */
    HOLE_ACROSS,  /* reaches over a segment border */
};

struct log_view {
    struct log_slot *slots; /* of base + 1 .. base + count, from slots[start] on */
    size_t start, count, capacity;
    uint64_t base, base_term; /* the compacted index */
    uint64_t damaged;         /* slots without a place */
    uint64_t term, vote;
    struct log_cosigned cosigned;
    uint32_t truncations;
    uint64_t low;
    uint64_t batch;     /* the highest number seen */
    uint32_t flags;     /* LOG_STATE_DAMAGED, LOG_TAIL_DAMAGED, LOG_VOTES_FORGOTTEN, as the last LOG_STATE says */
    enum log_hole hole; /* since the last record that was applied */
    bool state_lost;    /* a hole since the last LOG_STATE */
    struct log_place snapshot_place; /* of the last LOG_COMPACT; segment 0: none */
    uint64_t snapshot_index;         /* what it is of */
    struct buffer snapshot;          /* its payload */
    /* Told of each place that becomes live (+1) or is given up (-1). */
    void (*on_live)(void *data, uint32_t segment, int change);
    void *data;
};

void log_view_free(struct log_view *v);
uint64_t log_view_last(const struct log_view *v);
/* NULL: outside base + 1 .. last. */
struct log_slot *log_view_slot(const struct log_view *v, uint64_t index);
uint64_t log_view_last_term(const struct log_view *v);
bool log_view_snapshot_damaged(const struct log_view *v);

/* Something unreadable: what it held is unknown. */
void log_view_hole(struct log_view *v, bool across);
/* A record. `place.segment` is 0 where only its header is good. `plain` is the
 * opened payload of LOG_STATE and LOG_COMPACT, and empty of others or of a bad one.
 * ERR_CORRUPT: a payload that no writer made; ERR_NOMEM; ERR_FULL: too many blocks. */
enum err log_view_apply(struct log_view *v, const struct log_header *h, struct log_place place,
                        struct bytes plain);
/* A block found bad after all. */
void log_view_mark_damaged(struct log_view *v, uint64_t index);
/* After the last record: an open hole becomes flags that stay until the caller has made up for it. */
void log_view_finish(struct log_view *v);
/* A new segment begins. */
void log_view_segment(struct log_view *v);

#endif
