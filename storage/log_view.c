#include "storage/log_view.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"

void log_view_free(struct log_view *v)
{
    free(v->slots);
    buffer_free(&v->snapshot);
    *v = (struct log_view){0};
}

uint64_t log_view_last(const struct log_view *v) { return v->base + v->count; }

struct log_slot *log_view_slot(const struct log_view *v, uint64_t index)
{
    if (index <= v->base || index - v->base > v->count) return NULL;
    return &v->slots[v->start + (size_t)(index - v->base - 1)];
}

uint64_t log_view_last_term(const struct log_view *v)
{
    return v->count ? v->slots[v->start + v->count - 1].term : v->base_term;
}

bool log_view_snapshot_damaged(const struct log_view *v)
{
    return v->base > 0 && (v->snapshot_place.segment == 0 || v->snapshot_index != v->base);
}

static void live(struct log_view *v, uint32_t segment, int change)
{
    if (segment && v->on_live) v->on_live(v->data, segment, change);
}

static void slot_clear(struct log_view *v, struct log_slot *slot)
{
    if (slot->place.segment)
        live(v, slot->place.segment, -1);
    else
        v->damaged--;
}

static void slot_set(struct log_view *v, struct log_slot *slot, uint64_t term, struct log_place place)
{
    *slot = (struct log_slot){term, place};
    if (place.segment)
        live(v, place.segment, 1);
    else
        v->damaged++;
}

/* Room for one more slot at the end; the free front is used before more memory is taken. */
static enum err slots_reserve(struct log_view *v)
{
    if (v->start + v->count < v->capacity) return OK;
    if (v->count >= LOG_ENTRIES_MAX) return ERR_FULL;
    if (v->start > v->capacity / 2) {
        memmove(v->slots, v->slots + v->start, v->count * sizeof *v->slots);
        v->start = 0;
        return OK;
    }
    size_t capacity = v->capacity ? v->capacity * 2 : 256;
    struct log_slot *slots = realloc(v->slots, capacity * sizeof *slots);
    if (!slots) return ERR_NOMEM;
    v->slots = slots;
    v->capacity = capacity;
    return OK;
}

static enum err slots_push(struct log_view *v, uint64_t term, struct log_place place)
{
    enum err code = slots_reserve(v);
    if (code != OK) return code;
    slot_set(v, &v->slots[v->start + v->count++], term, place);
    return OK;
}

/* Blocks up to `index` are there or were there: those not seen are damaged. */
static enum err slots_fill(struct log_view *v, uint64_t index)
{
    if (index > log_view_last(v) && index - v->base > LOG_ENTRIES_MAX) return ERR_CORRUPT; /* no writer goes so far */
    while (log_view_last(v) < index) {
        enum err code = slots_push(v, 0, (struct log_place){0});
        if (code != OK) return code;
    }
    return OK;
}

static void slots_drop_from(struct log_view *v, uint64_t index)
{
    while (v->count > 0 && log_view_last(v) >= index)
        slot_clear(v, &v->slots[v->start + --v->count]);
}

/* Forgets blocks up to `index`, which may be beyond the last. */
static void slots_drop_to(struct log_view *v, uint64_t index, uint64_t term)
{
    while (v->count > 0 && v->base < index) {
        slot_clear(v, &v->slots[v->start++]);
        v->count--;
        v->base++;
    }
    if (v->count == 0) v->start = 0;
    v->base = index;
    v->base_term = term;
}

void log_view_mark_damaged(struct log_view *v, uint64_t index)
{
    struct log_slot *slot = log_view_slot(v, index);
    if (!slot || slot->place.segment == 0) return;
    slot_clear(v, slot);
    slot_set(v, slot, slot->term, (struct log_place){0});
}

void log_view_hole(struct log_view *v, bool across)
{
    v->hole = across || v->hole == HOLE_ACROSS ? HOLE_ACROSS : HOLE_WITHIN;
    v->state_lost = true;
}

void log_view_segment(struct log_view *v)
{
    v->low = LOG_NEVER;
    if (v->hole != HOLE_NONE) v->hole = HOLE_ACROSS;
}

void log_view_finish(struct log_view *v)
{
    if (v->hole != HOLE_NONE) v->flags |= LOG_TAIL_DAMAGED | LOG_STATE_DAMAGED;
    if (v->state_lost) v->flags |= LOG_STATE_DAMAGED;
    v->hole = HOLE_NONE;
    v->state_lost = false;
}

/* Compares the count of truncations before this record with those seen. After a
 * hole they may differ: then from the lowest truncated index on nothing is known.
 * (Without a hole they differ only when somebody tampered: the same.) */
static void settle_truncations(struct log_view *v, const struct log_header *h)
{
    uint32_t before = h->truncations - (h->type == LOG_TRUNCATE);
    if (before != v->truncations) slots_drop_from(v, v->hole == HOLE_WITHIN ? h->low : 0);
    v->truncations = before;
    v->hole = HOLE_NONE;
}

static enum err apply_state(struct log_view *v, const struct log_header *h, struct bytes plain)
{
    struct log_state s;
    enum err code = log_state_decode(&s, plain);
    if (code != OK) return code;
    if (h->index < s.compact_index) return ERR_CORRUPT;
    if (s.compact_index > v->base) slots_drop_to(v, s.compact_index, s.compact_term); /* its record is lost */
    code = slots_fill(v, h->index);
    if (code != OK) return code;
    slots_drop_from(v, h->index + 1);
    struct log_slot *last = log_view_slot(v, h->index);
    if (last && last->place.segment == 0) last->term = s.last_term;
    v->term = h->term;
    v->vote = s.vote;
    v->cosigned = s.cosigned;
    v->flags = s.flags;
    v->state_lost = false;
    return OK;
}

static enum err apply_block(struct log_view *v, const struct log_header *h, struct log_place place)
{
    if (h->index <= v->base) return OK; /* of before a compaction */
    slots_drop_from(v, h->index);
    enum err code = slots_fill(v, h->index - 1);
    return code == OK ? slots_push(v, h->term, place) : code;
}

static enum err apply_truncate(struct log_view *v, const struct log_header *h)
{
    v->truncations++;
    if (h->index <= v->base) return OK;
    enum err code = slots_fill(v, h->index - 1);
    if (code == OK) slots_drop_from(v, h->index);
    return code;
}

static enum err apply_repair(struct log_view *v, const struct log_header *h, struct log_place place)
{
    if (h->index <= v->base) return OK;
    enum err code = slots_fill(v, h->index);
    if (code != OK) return code;
    struct log_slot *slot = log_view_slot(v, h->index);
    slot_clear(v, slot);
    slot_set(v, slot, h->term, place);
    return OK;
}

static enum err apply_compact(struct log_view *v, const struct log_header *h, struct log_place place,
                              struct bytes plain)
{
    struct bytes config, manifest;
    if (h->index < v->base) return OK;
    slots_drop_to(v, h->index, h->term);
    if (place.segment == 0 && v->snapshot_index == h->index) return OK; /* an earlier copy is good */
    live(v, v->snapshot_place.segment, -1);
    v->snapshot_place = (struct log_place){0};
    buffer_clear(&v->snapshot);
    if (place.segment == 0) return OK;
    if (log_snapshot_decode(&config, &manifest, plain) != OK) return ERR_CORRUPT;
    buffer_append_bytes(&v->snapshot, plain);
    if (v->snapshot.failed) return ERR_NOMEM;
    v->snapshot_place = place;
    v->snapshot_index = h->index;
    live(v, place.segment, 1);
    return OK;
}

enum err log_view_apply(struct log_view *v, const struct log_header *h, struct log_place place,
                        struct bytes plain)
{
    settle_truncations(v, h);
    v->low = h->low;
    if (h->batch > v->batch) v->batch = h->batch;
    switch (h->type) {
    case LOG_STATE: return apply_state(v, h, plain);
    case LOG_BLOCK: return apply_block(v, h, place);
    case LOG_TRUNCATE: return apply_truncate(v, h);
    case LOG_REPAIR: return apply_repair(v, h, place);
    case LOG_COMPACT: return apply_compact(v, h, place, plain);
    }
    CHECK(false);
}
