#include "storage/log_replay.h"

#include <string.h>

#include "base/check.h"

/* --- the scanner --- */

struct log_scanner log_scanner_start(const uint8_t *image, uint32_t size, uint64_t tag)
{
    struct log_scanner s = {.image = image, .size = size, .at = LOG_DATA_START, .used = size, .tag = tag};
    static const uint8_t zeros[LOG_PAGE];
    while (s.used >= s.at + LOG_PAGE && memcmp(image + s.used - LOG_PAGE, zeros, LOG_PAGE) == 0)
        s.used -= LOG_PAGE;
    while (s.used > s.at && image[s.used - 1] == 0) s.used--;
    s.used = (s.used + 7) / 8 * 8;
    return s;
}

/* A header that belongs here: of this life of this segment, at its own offset, no
 * older than what comes before. */
static bool header_at(const struct log_scanner *s, struct log_header *h, uint32_t at)
{
    return s->size - at >= LOG_HEADER_SIZE && log_header_decode(h, s->image + at) && h->tag == s->tag &&
           h->offset == at && h->batch >= s->batch && h->batch_start >= LOG_DATA_START &&
           h->batch_start <= at && log_record_span(h->size) <= s->size - at;
}

static void take_record(struct log_scanner *s, struct log_item *item)
{
    item->offset = s->at;
    item->span = log_record_span(item->header.size);
    item->kind = log_record_check(s->image + s->at, &item->header) ? ITEM_RECORD : ITEM_BAD;
    item->written = item->kind == ITEM_RECORD || log_written(s->image, s->at, s->at + item->span);
    s->batch = item->header.batch;
    s->at += item->span;
}

static void take_hole(struct log_scanner *s, struct log_item *item)
{
    uint32_t to = s->at + 8, header_end = s->at + LOG_HEADER_SIZE;
    while (to < s->used && !header_at(s, &item->header, to)) to += 8;
    if (to > s->used) to = s->used;
    item->kind = ITEM_HOLE;
    item->offset = s->at;
    item->span = to - s->at;
    item->written = log_written(s->image, s->at, header_end < s->size ? header_end : s->size);
    s->at = to;
}

bool log_scanner_next(struct log_scanner *s, struct log_item *item)
{
    if (s->at >= s->used) return false;
    if (header_at(s, &item->header, s->at))
        take_record(s, item);
    else
        take_hole(s, item);
    return true;
}

/* --- the replay --- */

bool log_replay_probe(struct log_replay *r, const struct log_image *image)
{
    struct log_item item;
    bool found = false;
    if (!image->data) return false;
    struct log_scanner s = log_scanner_start(image->data, image->size, image->tag);
    while (log_scanner_next(&s, &item)) {
        if (item.kind == ITEM_HOLE) continue;
        found = true;
        r->last_segment = image->sequence;
        r->last_start = item.header.batch_start;
        r->last_batch = item.header.batch;
    }
    return found;
}

/* Whether something unreadable is a torn tail: no later record proves that it was
 * durable, and it was not written in full. */
static bool item_torn(const struct log_replay *r, const struct log_image *image, const struct log_item *item)
{
    if (item->kind == ITEM_RECORD || item->written) return false;
    return image->sequence > r->last_segment ||
           (image->sequence == r->last_segment && item->offset >= r->last_start);
}

/* Gives one record to the view; what cannot be opened, or makes no sense, is a hole. */
static enum err replay_record(struct log_replay *r, const struct log_image *image, const struct log_item *item)
{
    const struct log_header *h = &item->header;
    struct log_place place = {image->sequence, item->offset, item->span};
    struct bytes plain = {0};
    bool good = item->kind == ITEM_RECORD;
    if (good && (h->type == LOG_STATE || h->type == LOG_COMPACT))
        good = log_record_open(&plain, image->data + item->offset, h, r->cipher) == OK;
    if (!good && item->kind == ITEM_RECORD) r->damage++;
    if (!good && h->type == LOG_STATE) {
        log_view_hole(r->view, item->offset == LOG_DATA_START);
        return OK;
    }
    if (!good) place = (struct log_place){0};
    enum err code = log_view_apply(r->view, h, place, plain);
    if (code == ERR_CORRUPT) log_view_hole(r->view, false);
    return code == ERR_CORRUPT ? OK : code;
}

static void cut(struct log_replay *r, const struct log_scanner *s, uint32_t at)
{
    r->cut = r->cut_any = true;
    r->end = at;
    r->torn += s->used > at ? s->used - at : 0;
}

/* At the first item of a segment that is not cut. */
static void enter_segment(struct log_replay *r, bool first)
{
    if (first && r->previous_sequence) log_view_segment(r->view);
}

static enum err replay_items(struct log_replay *r, const struct log_image *image)
{
    struct log_scanner s = log_scanner_start(image->data, image->size, image->tag);
    struct log_item item;
    if (r->cut_any && s.used > LOG_DATA_START) { /* follows a torn tail, so it is one itself */
        cut(r, &s, LOG_DATA_START);
        return OK;
    }
    while (log_scanner_next(&s, &item)) {
        if (item_torn(r, image, &item)) {
            cut(r, &s, item.offset);
            return OK;
        }
        enter_segment(r, item.offset == LOG_DATA_START);
        if (item.kind != ITEM_RECORD) r->damage++;
        if (item.kind == ITEM_HOLE) {
            log_view_hole(r->view, item.offset == LOG_DATA_START);
            continue;
        }
        enum err code = replay_record(r, image, &item);
        if (code != OK) return code;
    }
    r->end = s.at;
    return OK;
}

enum err log_replay_segment(struct log_replay *r, const struct log_image *image)
{
    enum err code = OK;
    r->cut = false;
    r->end = image->size;
    CHECK(image->sequence > r->previous_sequence);
    if (image->data) {
        code = replay_items(r, image);
    } else {
        enter_segment(r, true);
        r->damage++;
        log_view_hole(r->view, true);
    }
    r->empty = r->end == LOG_DATA_START;
    if (r->empty) return code; /* prepared ahead: not yet part of the log */
    r->previous_sequence = image->sequence;
    return code;
}
