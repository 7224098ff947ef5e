/* The open log, shared by log.c (batches), log_open.c, log_read.c. */
#ifndef STORAGE_LOG_INTERNAL_H
#define STORAGE_LOG_INTERNAL_H

#include <pthread.h>

#include "storage/log_replay.h"
#include "storage/log_segment.h"

/* A staged record: told to the view once it is durable. */
struct log_pending {
    struct log_header header;
    struct log_place place;
    struct buffer payload; /* of LOG_STATE and LOG_COMPACT */
};

/* What the staged batch will make of the log; equal to the view when nothing is staged. */
struct log_ahead {
    uint64_t last, compacted, term, vote, low;
    uint32_t truncations, flags;
    struct log_cosigned cosigned;
};

struct log {
    struct log_folder folder; /* owns path, name and key */
    struct log_cipher cipher;
    struct file_lock lock;

    /* Guards what readers on other threads see: view, segments, counters, failure. */
    pthread_mutex_t mutex;
    struct log_view view;
    struct log_segment **segments; /* sequence numbers without gaps; the last one is written to */
    size_t segment_count, segment_capacity;
    uint32_t segment_limit;
    struct failure failure; /* code OK: none */
    uint64_t syncs, written, torn, unreadable;

    /* The owner's alone. */
    struct buffer batch;     /* as it will be on disk, from `position` on */
    struct log_pending *pending;
    size_t pending_count, pending_capacity;
    struct log_ahead ahead;
    uint64_t batch_number;
    uint32_t position, batch_start; /* in the last segment */
    bool noted;              /* that the last batch is durable stands on the disk */
    struct log_segment *next; /* prepared, or NULL */
    struct log_preparation preparation;
    enum err prepare_failure; /* of the last attempt ahead of need */
    unsigned prepare_pause;   /* calls until the next attempt */
};

static inline struct log_segment *log_active(const struct log *log)
{
    return log->segments[log->segment_count - 1];
}

/* NULL: removed. */
static inline struct log_segment *log_segment_find(const struct log *log, uint32_t sequence)
{
    uint32_t first = log->segments[0]->sequence;
    return sequence >= first && sequence - first < log->segment_count ? log->segments[sequence - first] : NULL;
}

void log_segments_push(struct log *log, struct log_segment *s);
void log_ahead_reset(struct log *log); /* from the view */
/* Goes over to another segment and writes its first record, durably. */
enum err log_begin_segment(struct log *log);
/* Writes, without a sync, a record that proves the last batch to be durable. */
enum err log_note_durable(struct log *log);

#endif
