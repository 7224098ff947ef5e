/* Batches: staging, writing, going over to the next segment, compaction. */
#include "storage/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "storage/log_internal.h"

#define STATE_SPAN ((LOG_HEADER_SIZE + LOG_STATE_SIZE + SEAL_OVERHEAD + 8) / 8 * 8)

/* The first failure stays; what failed, and errno's text, are for the operator. */
static enum err set_failed(struct log *log, enum err code, const char *what)
{
    int number = errno;
    pthread_mutex_lock(&log->mutex);
    if (log->failure.code == OK) {
        fail(&log->failure, code, "%s/%08x.seg: cannot %s: %s", log->folder.path, log_active(log)->sequence, what,
             number ? strerror(number) : err_text(code));
        log_error("log", "%s", log->failure.text);
    }
    pthread_mutex_unlock(&log->mutex);
    return log->failure.code;
}

/* --- writing the batch --- */

#define BATCH_KEPT (2 * MIB) /* of memory, for the next batch; that of a burst is given back */

static struct log_header new_header(const struct log *log, enum log_record_type type, uint64_t index,
                                    uint64_t term)
{
    return (struct log_header){
        .type = type,
        .tag = log_active(log)->tag,
        .batch = log->batch_number,
        .index = index,
        .term = term,
        .low = log->ahead.low,
        .truncations = log->ahead.truncations,
        .batch_start = log->batch_start,
        .offset = log->position + (uint32_t)log->batch.size,
    };
}

/* The first record of a batch: of the log before the batch, with the vote and
 * marks of after it. Its place was left free by begin_batch. */
static void write_state(struct log *log)
{
    const struct log_view *v = &log->view;
    struct log_pending *first = &log->pending[0];
    struct log_state s = {
        .vote = log->ahead.vote,
        .cosigned = log->ahead.cosigned,
        .last_term = log_view_last_term(v),
        .compact_index = v->base,
        .compact_term = v->base_term,
        .flags = log->ahead.flags,
    };
    first->header.term = log->ahead.term;
    log_state_encode(first->payload.data, &s);
    uint32_t span = log_record_encode(log->batch.data, &first->header, &log->cipher, buffer_bytes(&first->payload));
    CHECK(span == STATE_SPAN);
}

static enum err write_batch(struct log *log)
{
    write_state(log);
    enum err code = disk_write(log->folder.disk, log_active(log)->file, log->batch.data, log->batch.size,
                               log->position);
    return code == OK ? OK : set_failed(log, code, "write");
}

static void clear_batch(struct log *log)
{
    for (size_t i = 0; i < log->pending_count; i++) buffer_free(&log->pending[i].payload);
    log->pending_count = 0;
    log->position += (uint32_t)log->batch.size;
    if (log->batch.capacity > BATCH_KEPT) buffer_free(&log->batch);
    buffer_clear(&log->batch);
}

/* The batch is durable: the view takes it over. */
static enum err apply_batch(struct log *log)
{
    enum err code = OK;
    for (size_t i = 0; i < log->pending_count && code == OK; i++) {
        const struct log_pending *p = &log->pending[i];
        code = log_view_apply(&log->view, &p->header, p->place, buffer_bytes(&p->payload));
    }
    log->syncs++;
    log->written += log->batch.size;
    return code;
}

static enum err flush_batch(struct log *log)
{
    const struct disk *disk = log->folder.disk;
    if (log->batch.size == 0) return OK;
    enum err code = write_batch(log);
    if (code != OK) return code;
    if (disk->fdatasync(disk->context, log_active(log)->file) != 0)
        return set_failed(log, disk_error(errno), "sync");
    pthread_mutex_lock(&log->mutex);
    code = apply_batch(log);
    pthread_mutex_unlock(&log->mutex);
    CHECK(code == OK || code == ERR_NOMEM); /* what was staged was checked then */
    if (code != OK) return set_failed(log, code, "index");
    clear_batch(log);
    log->batch_start = log->position;
    log->batch_number++;
    log->noted = false;
    return OK;
}

/* --- the next segment --- */

static enum err prepare_next(struct log *log)
{
    uint32_t sequence = log_active(log)->sequence + 1;
    return log_prepare_step(&log->next, &log->preparation, &log->folder, sequence);
}

/* The same ahead of need. A full device is not tried again at once: each attempt
 * writes until it fails. */
#define PREPARE_PAUSE 256
static enum err prepare_ahead(struct log *log)
{
    if (log->prepare_pause > 0) {
        log->prepare_pause--;
        return log->prepare_failure;
    }
    log->prepare_failure = prepare_next(log);
    if (log->prepare_failure != OK) log->prepare_pause = PREPARE_PAUSE;
    return log->prepare_failure;
}

/* A note stands in this segment without a sync. What is left of the first batch in the
 * next one would prove it durable, and a torn one then be taken for damage. */
static enum err sync_note(struct log *log)
{
    const struct disk *disk = log->folder.disk;
    if (log->position == log->batch_start) return OK;
    if (disk->fdatasync(disk->context, log_active(log)->file) == 0) return OK;
    return set_failed(log, disk_error(errno), "sync");
}

static enum err enter_next(struct log *log)
{
    enum err code = sync_note(log);
    if (code != OK) return code;
    while (!log->next) {
        code = prepare_next(log);
        if (code != OK) return set_failed(log, code, "prepare the next segment");
    }
    pthread_mutex_lock(&log->mutex);
    log_segments_push(log, log->next);
    log_view_segment(&log->view);
    pthread_mutex_unlock(&log->mutex);
    log->next = NULL;
    log->ahead.low = LOG_NEVER;
    log->position = log->batch_start = LOG_DATA_START;
    return OK;
}

/* --- staging --- */

static enum err no_memory(struct log *log)
{
    errno = ENOMEM;
    return set_failed(log, ERR_NOMEM, "stage a record");
}

/* `payload` is kept for the view, or empty. */
static enum err push_pending(struct log *log, const struct log_header *h, uint32_t span, struct bytes payload)
{
    if (log->pending_count == log->pending_capacity) {
        log->pending_capacity = log->pending_capacity ? 2 * log->pending_capacity : 64;
        log->pending = xrealloc(log->pending, log->pending_capacity * sizeof *log->pending);
    }
    struct log_pending *p = &log->pending[log->pending_count];
    *p = (struct log_pending){.header = *h, .place = {log_active(log)->sequence, h->offset, span}};
    buffer_append_bytes(&p->payload, payload);
    if (p->payload.failed) return no_memory(log);
    log->pending_count++;
    return OK;
}

static enum err stage(struct log *log, struct log_header h, struct bytes plain)
{
    uint32_t span = log_record_span((uint32_t)plain.size + SEAL_OVERHEAD);
    uint8_t *at = buffer_extend(&log->batch, span);
    if (!at) return no_memory(log);
    log_record_encode(at, &h, &log->cipher, plain);
    return push_pending(log, &h, span, h.type == LOG_COMPACT ? plain : (struct bytes){0});
}

/* A segment begins with the last compaction again, so that those before can go. */
static enum err stage_snapshot_again(struct log *log)
{
    const struct log_view *v = &log->view;
    if (v->base == 0 || log_view_snapshot_damaged(v)) return OK;
    return stage(log, new_header(log, LOG_COMPACT, v->base, v->base_term), buffer_bytes(&v->snapshot));
}

static enum err begin_batch(struct log *log)
{
    static const uint8_t later[LOG_STATE_SIZE]; /* write_state fills it in */
    if (log->batch.size) return OK;
    struct log_header h = new_header(log, LOG_STATE, log_view_last(&log->view), 0);
    if (!buffer_extend(&log->batch, STATE_SPAN)) return no_memory(log);
    enum err code = push_pending(log, &h, STATE_SPAN, BYTES(later));
    return code == OK && log->position == LOG_DATA_START ? stage_snapshot_again(log) : code;
}

static bool room_for(const struct log *log, uint32_t span)
{
    uint64_t end = (uint64_t)log->position + log->batch.size + (log->batch.size ? 0 : STATE_SPAN) + span;
    return end <= log_active(log)->size;
}

/* After this, a record of `span` bytes fits into the batch that has begun. */
static enum err make_room(struct log *log, uint32_t span)
{
    if (log->failure.code != OK) return log->failure.code;
    enum err code = OK;
    if (!room_for(log, span)) {
        code = flush_batch(log);
        if (code == OK) code = enter_next(log);
    }
    if (code == OK) code = begin_batch(log);
    if (code == OK && !room_for(log, span)) { /* only with segments smaller than LOG_SEGMENT_SIZE */
        errno = 0;
        return set_failed(log, ERR_TOO_LARGE, "hold so large a record");
    }
    return code;
}

static enum err stage_block(struct log *log, enum log_record_type type, const struct log_entry *e)
{
    uint32_t span = log_record_span((uint32_t)e->payload.size + SEAL_OVERHEAD);
    if (log->segment_count >= log->segment_limit / 4 * 5 && !room_for(log, span)) {
        errno = 0;
        return set_failed(log, ERR_LOG_FULL, "begin another segment for blocks");
    }
    enum err code = make_room(log, span);
    if (code != OK) return code;
    struct log_header h = new_header(log, type, e->index, e->term);
    h.kind = e->kind;
    return stage(log, h, e->payload);
}

static enum err append_one(struct log *log, const struct log_entry *e)
{
    CHECK(e->index == log->ahead.last + 1 && e->payload.size <= LIMIT_BLOCK);
    if (e->index - log->ahead.compacted > LOG_ENTRIES_MAX) {
        errno = 0;
        return set_failed(log, ERR_LOG_FULL, "hold more blocks");
    }
    enum err code = stage_block(log, LOG_BLOCK, e);
    if (code == OK) log->ahead.last = e->index;
    return code;
}

enum err log_append(struct log *log, const struct log_entry *entries, size_t count)
{
    enum err code = log->failure.code;
    for (size_t i = 0; i < count && code == OK; i++) code = append_one(log, &entries[i]);
    return code;
}

enum err log_set_vote(struct log *log, uint64_t term, uint64_t vote)
{
    CHECK(term >= log->ahead.term);
    CHECK(term > log->ahead.term || log->ahead.vote == 0 || log->ahead.vote == vote);
    if (term == log->ahead.term && vote == log->ahead.vote) return log->failure.code;
    enum err code = make_room(log, 0);
    if (code != OK) return code;
    log->ahead.term = term;
    log->ahead.vote = vote;
    return OK;
}

static bool contradicts(const struct log_cosigned *now, const struct log_cosigned *mark)
{
    if (mark->size < now->size || mark->index < now->index) return true;
    return mark->size == now->size && now->size > 0 && !digest_equal(&mark->root, &now->root);
}

enum err log_set_cosigned(struct log *log, const struct log_cosigned *mark)
{
    if (contradicts(&log->ahead.cosigned, mark)) return ERR_CONFLICT;
    enum err code = make_room(log, 0);
    if (code == OK) log->ahead.cosigned = *mark;
    return code;
}

enum err log_truncate(struct log *log, uint64_t from)
{
    if (from <= log->ahead.cosigned.index || from <= log->ahead.compacted) return ERR_CONFLICT;
    if (from > log->ahead.last) return log->failure.code;
    enum err code = make_room(log, log_record_span(SEAL_OVERHEAD));
    if (code != OK) return code;
    log->ahead.truncations++;
    if (from < log->ahead.low) log->ahead.low = from;
    code = stage(log, new_header(log, LOG_TRUNCATE, from, 0), (struct bytes){0});
    if (code == OK) log->ahead.last = from - 1;
    return code;
}

enum err log_repair(struct log *log, const struct log_entry *e)
{
    CHECK(e->payload.size <= LIMIT_BLOCK);
    const struct log_slot *slot = log_view_slot(&log->view, e->index);
    if (!slot || slot->place.segment || e->index > log->ahead.last || e->index <= log->ahead.compacted)
        return ERR_NOT_FOUND;
    if (e->index >= log->ahead.low) return ERR_NOT_FOUND; /* cut off in this batch: what stands there now is another */
    if (slot->term && slot->term != e->term) return ERR_CONFLICT;
    return stage_block(log, LOG_REPAIR, e);
}

static enum err stage_compaction(struct log *log, uint64_t index, uint64_t term, struct bytes plain)
{
    enum err code = make_room(log, log_record_span((uint32_t)plain.size + SEAL_OVERHEAD));
    if (code == OK) code = stage(log, new_header(log, LOG_COMPACT, index, term), plain);
    if (code != OK) return code;
    log->ahead.compacted = index;
    if (index > log->ahead.last) log->ahead.last = index;
    return OK;
}

enum err log_compact(struct log *log, uint64_t index, uint64_t term, struct bytes config,
                     struct bytes manifest)
{
    struct buffer plain = {0};
    CHECK(config.size <= LIMIT_LOG_SNAPSHOT && manifest.size <= LIMIT_LOG_SNAPSHOT);
    if (index < log->ahead.compacted) return ERR_CONFLICT;
    log_snapshot_encode(&plain, config, manifest);
    enum err code = plain.failed ? no_memory(log) : stage_compaction(log, index, term, buffer_bytes(&plain));
    buffer_free(&plain);
    return code;
}

enum err log_set_forgotten(struct log *log)
{
    enum err code = make_room(log, 0);
    if (code == OK) log->ahead.flags |= LOG_VOTES_FORGOTTEN;
    return code;
}

enum err log_set_recovered(struct log *log)
{
    enum err code = make_room(log, 0);
    if (code == OK) log->ahead.flags = 0;
    return code;
}

enum err log_begin_segment(struct log *log)
{
    enum err code = enter_next(log);
    if (code == OK) code = begin_batch(log);
    return code == OK ? flush_batch(log) : code;
}

size_t log_staged(const struct log *log) { return log->batch.size; }

/* --- syncing, and what is done ahead --- */

/* The oldest segments that nothing points to; their number is small, since each
 * compaction frees but what was written since the one before. */
static enum err remove_behind(struct log *log)
{
    bool removed = false;
    for (;;) {
        pthread_mutex_lock(&log->mutex);
        struct log_segment *s = log->segments[0];
        bool behind = log->segment_count > 1 && s->live == 0, unused = s->users == 1;
        if (behind) memmove(log->segments, log->segments + 1, --log->segment_count * sizeof *log->segments);
        pthread_mutex_unlock(&log->mutex);
        if (!behind) break;
        enum err code = log_segment_remove(s, unused, &log->preparation, &log->folder);
        pthread_mutex_lock(&log->mutex);
        log_segment_release(s, &log->folder);
        pthread_mutex_unlock(&log->mutex);
        if (code != OK) return set_failed(log, code, "remove a segment");
        removed = true;
    }
    if (!removed) return OK;
    enum err code = disk_sync_directory(log->folder.disk, log->folder.path);
    return code == OK ? OK : set_failed(log, code, "sync the folder");
}

/* Under load log_idle is never called: the second half of a segment pays for the
 * next one as it fills up. What fails here shows when the segment is needed. */
static void prepare_in_step(struct log *log)
{
    uint64_t half = log_active(log)->size / 2;
    if (log->next || log->position <= half) return;
    uint64_t due = (log->position - half) * log->folder.segment_size / half;
    while (!log->next && (log->preparation.file < 0 || log->preparation.done < due))
        if (prepare_ahead(log) != OK) return;
}

enum err log_sync(struct log *log)
{
    if (log->failure.code != OK) return log->failure.code;
    if (log->batch.size == 0) return OK;
    enum err code = flush_batch(log);
    if (code == OK) code = remove_behind(log);
    if (code == OK) prepare_in_step(log);
    return code;
}

enum err log_note_durable(struct log *log)
{
    if (log->failure.code != OK) return log->failure.code;
    if (log->noted || log->batch.size) return OK;
    log->noted = true;
    if (!room_for(log, 0)) return OK; /* the next segment's head will say it */
    enum err code = begin_batch(log);
    if (code == OK) code = write_batch(log);
    if (code == OK) clear_batch(log);
    return code;
}

enum err log_idle(struct log *log, bool *more)
{
    enum err code = log_note_durable(log);
    if (code == OK && !log->next && log->batch.size == 0) code = prepare_ahead(log);
    if (more) *more = code == OK && !log->next;
    return code;
}
