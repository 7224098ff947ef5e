/* Looking at what is durable, from any thread: a copy of the places is taken
 * under the lock, the disk is read without it. */
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "storage/log_internal.h"

static unsigned thousandths(uint64_t part, uint64_t whole) { return (unsigned)(part * 1000 / whole); }

void log_status(struct log *log, struct log_status *out)
{
    const struct log_view *v = &log->view;
    pthread_mutex_lock(&log->mutex);
    unsigned segments = thousandths(log->segment_count, log->segment_limit);
    unsigned blocks = thousandths(v->count, LIMIT_LOG_ENTRIES);
    *out = (struct log_status){
        .term = v->term,
        .vote = v->vote,
        .cosigned = v->cosigned,
        .first = v->base + 1,
        .last = log_view_last(v),
        .last_term = log_view_last_term(v),
        .compact_index = v->base,
        .compact_term = v->base_term,
        .damaged = v->damaged,
        .state_damaged = v->flags & LOG_STATE_DAMAGED,
        .tail_damaged = v->flags & LOG_TAIL_DAMAGED,
        .votes_forgotten = v->flags & LOG_VOTES_FORGOTTEN,
        .snapshot_damaged = log_view_snapshot_damaged(v),
        .torn = log->torn,
        .unreadable = log->unreadable,
        .syncs = log->syncs,
        .written = log->written,
        .segments = (uint32_t)log->segment_count,
        .filled = segments > blocks ? segments : blocks,
    };
    pthread_mutex_unlock(&log->mutex);
}

void log_failure(struct log *log, struct failure *out)
{
    pthread_mutex_lock(&log->mutex);
    *out = log->failure;
    pthread_mutex_unlock(&log->mutex);
}

static enum err term_of(const struct log_view *v, uint64_t *term, uint64_t index)
{
    const struct log_slot *slot = log_view_slot(v, index);
    if (!slot && index != v->base) return ERR_NOT_FOUND;
    *term = slot ? slot->term : v->base_term;
    return slot && slot->term == 0 && slot->place.segment == 0 ? ERR_CORRUPT : OK;
}

enum err log_term(struct log *log, uint64_t *term, uint64_t index)
{
    pthread_mutex_lock(&log->mutex);
    enum err code = term_of(&log->view, term, index);
    pthread_mutex_unlock(&log->mutex);
    return code;
}

static bool damaged_at(const struct log_view *v, uint64_t index)
{
    const struct log_slot *slot = log_view_slot(v, index);
    return slot && slot->place.segment == 0;
}

static enum err find_damage(const struct log_view *v, uint64_t *first, uint64_t *last, uint64_t from)
{
    uint64_t index = from > v->base ? from : v->base + 1, end = log_view_last(v);
    if (v->damaged == 0) return ERR_NOT_FOUND;
    while (index <= end && !damaged_at(v, index)) index++;
    if (index > end) return ERR_NOT_FOUND;
    for (*first = *last = index; damaged_at(v, index); index++) *last = index;
    return OK;
}

enum err log_damage(struct log *log, uint64_t *first, uint64_t *last, uint64_t from)
{
    pthread_mutex_lock(&log->mutex);
    enum err code = find_damage(&log->view, first, last, from);
    pthread_mutex_unlock(&log->mutex);
    return code;
}

enum err log_snapshot(struct log *log, uint64_t *index, uint64_t *term, struct buffer *config,
                      struct buffer *manifest)
{
    const struct log_view *v = &log->view;
    struct bytes c, m;
    enum err code = OK;
    pthread_mutex_lock(&log->mutex);
    if (v->base == 0)
        code = ERR_NOT_FOUND;
    else if (log_view_snapshot_damaged(v))
        code = ERR_CORRUPT;
    if (code == OK) {
        CHECK(log_snapshot_decode(&c, &m, buffer_bytes(&v->snapshot)) == OK); /* checked when it came in */
        *index = v->base;
        *term = v->base_term;
        buffer_append_bytes(config, c);
        buffer_append_bytes(manifest, m);
        if (config->failed || manifest->failed) code = ERR_NOMEM;
    }
    pthread_mutex_unlock(&log->mutex);
    return code;
}

/* --- reading blocks --- */

/* Blocks that follow each other in one segment: one read. */
#define RUN_ENTRIES 256
#define RUN_BYTES (1 * MIB)
#define RUN_GAP 1024 /* other records between them that are read along */

struct run {
    struct log_segment *segment;
    uint32_t offset, size, count;
    struct log_place places[RUN_ENTRIES];
};

static bool run_takes(const struct run *r, const struct log_slot *slot, size_t capacity, size_t max_bytes)
{
    const struct log_place *p = &slot->place;
    uint32_t end = r->offset + r->size;
    if (r->count == capacity || r->count == RUN_ENTRIES || p->segment != r->segment->sequence) return false;
    if (p->offset < end || p->offset - end > RUN_GAP) return false;
    uint32_t size = p->offset + p->span - r->offset;
    return size <= RUN_BYTES && size <= max_bytes;
}

/* Under the lock: the places of a run from `from` on; its segment cannot go away
 * until run_release. */
static enum err run_take(struct log *log, struct run *r, uint64_t from, size_t capacity, size_t max_bytes)
{
    const struct log_slot *slot = log_view_slot(&log->view, from);
    if (!slot) return ERR_NOT_FOUND;
    if (slot->place.segment == 0) return ERR_CORRUPT;
    r->segment = log_segment_find(log, slot->place.segment);
    CHECK(r->segment != NULL);
    r->segment->users++;
    r->offset = slot->place.offset;
    r->size = slot->place.span;
    r->places[0] = slot->place;
    r->count = 1;
    while ((slot = log_view_slot(&log->view, from + r->count)) && run_takes(r, slot, capacity, max_bytes)) {
        r->places[r->count++] = slot->place;
        r->size = slot->place.offset + slot->place.span - r->offset;
    }
    return OK;
}

static bool same_place(const struct log_place *a, const struct log_place *b)
{
    return a->segment == b->segment && a->offset == b->offset;
}

/* Gives the segment back; a block that turned out bad is damaged from now on,
 * unless another has taken its place meanwhile. */
static void run_release(struct log *log, const struct run *r, uint64_t from, uint32_t good)
{
    pthread_mutex_lock(&log->mutex);
    log_segment_release(r->segment, &log->folder);
    if (good < r->count) {
        const struct log_slot *slot = log_view_slot(&log->view, from + good);
        if (slot && same_place(&slot->place, &r->places[good])) {
            log_view_mark_damaged(&log->view, from + good);
            log_error("log", "block %llu is damaged", (unsigned long long)(from + good));
        }
    }
    pthread_mutex_unlock(&log->mutex);
}

static bool open_block(struct log_entry *out, uint8_t *at, uint64_t index, const struct run *r,
                       const struct log_place *place, const struct log_cipher *cipher)
{
    struct log_header h;
    if (!log_header_decode(&h, at) || (h.type != LOG_BLOCK && h.type != LOG_REPAIR)) return false;
    if (h.tag != r->segment->tag || h.offset != place->offset || h.index != index) return false;
    if (log_record_span(h.size) != place->span || !log_record_check(at, &h)) return false;
    if (log_record_open(&out->payload, at, &h, cipher) != OK) return false;
    out->index = index;
    out->term = h.term;
    out->kind = h.kind;
    return true;
}

/* Blocks of the run that are good, in order. */
static uint32_t run_open(struct log *log, const struct run *r, struct log_entry *entries, uint64_t from, uint8_t *at)
{
    if (disk_read(log->folder.disk, r->segment->file, at, r->size, r->offset) != OK) return 0;
    uint32_t n = 0;
    while (n < r->count && open_block(&entries[n], at + (r->places[n].offset - r->offset), from + n, r,
                                      &r->places[n], &log->cipher))
        n++;
    return n;
}

static enum err read_run(struct log *log, struct buffer *out, struct log_entry *entries, size_t *count,
                         size_t capacity, uint64_t from, size_t max_bytes)
{
    struct run r;
    *count = 0;
    pthread_mutex_lock(&log->mutex);
    enum err code = run_take(log, &r, from, capacity, max_bytes);
    pthread_mutex_unlock(&log->mutex);
    if (code != OK) return code;
    uint8_t *at = buffer_extend(out, r.size);
    *count = at ? run_open(log, &r, entries, from, at) : 0;
    run_release(log, &r, from, at ? (uint32_t)*count : r.count);
    if (!at) return ERR_NOMEM;
    return *count > 0 ? OK : ERR_CORRUPT;
}

/* The buffer may move as it grows: until the end, a payload is kept as its offset. */
static void to_offsets(struct log_entry *entries, size_t count, const uint8_t *base)
{
    for (size_t i = 0; i < count; i++)
        entries[i].payload.data = (const uint8_t *)(uintptr_t)(entries[i].payload.data - base);
}

static void to_views(struct log_entry *entries, size_t count, const uint8_t *base)
{
    for (size_t i = 0; i < count; i++) entries[i].payload.data = base + (uintptr_t)entries[i].payload.data;
}

enum err log_read(struct log *log, struct buffer *out, struct log_entry *entries, size_t *count,
                  size_t capacity, uint64_t from, size_t max_bytes)
{
    size_t start = out->size, n;
    enum err code = OK;
    CHECK(capacity > 0);
    *count = 0;
    while (*count < capacity && code == OK) {
        size_t used = out->size - start;
        if (*count > 0 && used >= max_bytes) break;
        code = read_run(log, out, entries + *count, &n, capacity - *count, from + *count,
                        used < max_bytes ? max_bytes - used : 0);
        to_offsets(entries + *count, n, out->data);
        *count += n;
    }
    to_views(entries, *count, out->data);
    return *count > 0 ? OK : code;
}
