/* Opening: list the segments, find the last batch, replay, cut a torn tail. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/log.h"
#include "crypto/random.h"
#include "crypto/secret.h"
#include "storage/log_internal.h"

void log_segments_push(struct log *log, struct log_segment *s)
{
    if (log->segment_count == log->segment_capacity) {
        log->segment_capacity = log->segment_capacity ? 2 * log->segment_capacity : 16;
        log->segments = xrealloc(log->segments, log->segment_capacity * sizeof *log->segments);
    }
    log->segments[log->segment_count++] = s;
}

void log_ahead_reset(struct log *log)
{
    const struct log_view *v = &log->view;
    log->ahead = (struct log_ahead){
        .last = log_view_last(v),
        .compacted = v->base,
        .term = v->term,
        .vote = v->vote,
        .low = v->low,
        .truncations = v->truncations,
        .flags = v->flags,
        .cosigned = v->cosigned,
    };
}

static void count_live(void *data, uint32_t sequence, int change)
{
    struct log_segment *s = log_segment_find(data, sequence);
    CHECK(s != NULL);
    s->live += (uint32_t)change;
}

static void free_log(struct log *log)
{
    for (size_t i = 0; i < log->segment_count; i++) log_segment_release(log->segments[i], &log->folder);
    if (log->next) log_segment_release(log->next, &log->folder);
    log_prepare_abandon(&log->preparation, &log->folder);
    log_view_free(&log->view);
    buffer_free(&log->batch);
    for (size_t i = 0; i < log->pending_count; i++) buffer_free(&log->pending[i].payload);
    free(log->segments);
    free(log->pending);
    secret_free((void *)log->folder.key);
    free(log->folder.path);
    free(log->folder.name);
    files_unlock(&log->lock);
    pthread_mutex_destroy(&log->mutex);
    free(log);
}

static struct log *new_log(const struct log_options *options)
{
    struct log *log = xcalloc(1, sizeof *log);
    struct seal_key *key = secret_alloc(sizeof *key);
    uint32_t size = options->segment_size ? options->segment_size : LOG_SEGMENT_SIZE;
    CHECK(size >= LOG_SEGMENT_MIN && size <= LOG_SEGMENT_MAX && size % LOG_PAGE == 0);
    CHECK(strlen(options->name) <= LIMIT_NAME);
    *key = *options->key;
    log->folder = (struct log_folder){
        .path = xstrdup(options->directory),
        .name = xstrdup(options->name),
        .disk = options->disk ? options->disk : &disk_real,
        .key = key,
        .segment_size = size,
    };
    log->segment_limit = options->segment_limit ? options->segment_limit : LIMIT_LOG_SEGMENTS;
    CHECK(log->segment_limit <= LIMIT_LOG_SEGMENTS);
    log->lock.file = -1;
    log->preparation.file = -1;
    log->view.low = LOG_NEVER;
    log->view.on_live = count_live;
    log->view.data = log;
    CHECK(pthread_mutex_init(&log->mutex, NULL) == 0);
    return log;
}

/* --- finding the segments --- */

/* Opens those of the list, and stands in for those missing between them. */
static enum err open_segments(struct log *log, const uint32_t *sequences, size_t count, bool read_only,
                              struct failure *failure)
{
    struct log_segment *s;
    enum err code = OK;
    if (count && sequences[count - 1] - sequences[0] >= 2 * LIMIT_LOG_SEGMENTS)
        return fail(failure, ERR_CORRUPT, "%s: segments %08x to %08x are not one log", log->folder.path,
                    sequences[0], sequences[count - 1]);
    for (uint32_t n = count ? sequences[0] : 1; count && code == OK && n <= sequences[count - 1]; n++) {
        code = log_segment_open(&s, &log->folder, n, read_only, failure);
        if (code == OK) log_segments_push(log, s);
    }
    if (code == OK && count && id_is_zero(&log->folder.log_id))
        code = fail(failure, ERR_CORRUPT, "%s: no segment of the log has a readable header", log->folder.path);
    return code;
}

static enum err find_segments(struct log *log, bool read_only, struct failure *failure)
{
    uint32_t *sequences = NULL;
    size_t count = 0;
    enum err code = log_folder_list(&sequences, &count, &log->folder, read_only, failure);
    if (code == OK) code = open_segments(log, sequences, count, read_only, failure);
    free(sequences);
    if (code == OK && count) log_cipher_setup(&log->cipher, log->folder.key, log->folder.name, &log->folder.log_id);
    return code;
}

static enum err make_first(struct log *log, struct failure *failure)
{
    struct log_segment *s = NULL;
    log->folder.log_id = random_id();
    log_cipher_setup(&log->cipher, log->folder.key, log->folder.name, &log->folder.log_id);
    while (!s) {
        enum err code = log_prepare_step(&s, &log->preparation, &log->folder, 1);
        if (code != OK)
            return fail(failure, code, "cannot make the log in %s: %s", log->folder.path, strerror(errno));
    }
    log_segments_push(log, s);
    log->position = log->batch_start = LOG_DATA_START;
    log->batch_number = 1;
    log_ahead_reset(log);
    return OK;
}

/* --- replaying them --- */

static struct log_image load(struct log *log, struct log_segment *s, uint8_t *data)
{
    struct log_image image = {.sequence = s->sequence, .size = s->size, .tag = s->tag};
    if (s->file < 0) return image;
    log_segment_load(data, s, &log->folder);
    image.data = data;
    return image;
}

static uint8_t *image_memory(const struct log *log)
{
    uint32_t size = 0;
    for (size_t i = 0; i < log->segment_count; i++)
        if (log->segments[i]->size > size) size = log->segments[i]->size;
    return malloc(size);
}

struct ends {
    size_t active; /* the last segment that holds anything; none: the first */
    uint32_t end;
};

static enum err replay_all(struct log *log, struct log_replay *r, struct ends *ends, uint8_t *data)
{
    *ends = (struct ends){.end = LOG_DATA_START};
    for (size_t i = log->segment_count; i-- > 0;) {
        struct log_image image = load(log, log->segments[i], data);
        if (log_replay_probe(r, &image)) break;
    }
    for (size_t i = 0; i < log->segment_count; i++) {
        struct log_image image = load(log, log->segments[i], data);
        enum err code = log_replay_segment(r, &image);
        if (code != OK) return code;
        if (r->cut) log->segments[i]->cut = r->end;
        if (!r->empty) *ends = (struct ends){.active = i, .end = r->end};
    }
    log_view_finish(&log->view);
    return OK;
}

/* Zeros up to the end, so that nothing of the torn batch is found again, and synced,
 * since what follows is written over these zeros. */
static enum err cut_tail(const struct log_folder *f, const struct log_segment *s)
{
    static const uint8_t zeros[64 * KIB];
    for (uint32_t at = s->cut; at < s->size; at += sizeof zeros) {
        uint32_t size = s->size - at < sizeof zeros ? s->size - at : sizeof zeros;
        enum err code = disk_write(f->disk, s->file, zeros, size, at);
        if (code != OK) return code;
    }
    return f->disk->fdatasync(f->disk->context, s->file) == 0 ? OK : disk_error(errno);
}

static enum err cut_tails(struct log *log)
{
    enum err code = OK;
    for (size_t i = 0; i < log->segment_count && code == OK; i++)
        if (log->segments[i]->cut) code = cut_tail(&log->folder, log->segments[i]);
    return code;
}

/* A segment after the active one is the prepared one; more than one cannot be ours. */
static enum err keep_next(struct log *log, size_t active)
{
    while (log->segment_count > active + 1) {
        struct log_segment *s = log->segments[--log->segment_count];
        if (log->segment_count == active + 1 && s->file >= 0 && s->whole) {
            log->next = s;
            return OK;
        }
        enum err code = log_segment_remove(s, false, &log->preparation, &log->folder);
        log_segment_release(s, &log->folder);
        if (code != OK) return code;
    }
    return OK;
}

/* The same bytes once more. What the device can't read (damage) is left as it is. */
static enum err write_again(const struct disk *disk, int file, uint32_t from, uint32_t to)
{
    uint8_t piece[16 * KIB];
    for (uint32_t size; from < to; from += size) {
        size = to - from < sizeof piece ? to - from : sizeof piece;
        if (disk_read(disk, file, piece, size, from) != OK) continue;
        enum err code = disk_write(disk, file, piece, size, from);
        if (code != OK) return code;
    }
    return OK;
}

/* What a killed process wrote but did not sync is readable, yet not durable; it is
 * made so before anybody is told of it. The same for names in the folder.
 * The last batch is written again first: if its sync failed, the kernel has its pages
 * still, but as clean ones, and another sync would succeed and write nothing. (What
 * batches before it hold was proved by the sync that the last one had to wait for.) */
static enum err make_durable(struct log *log, const struct log_replay *r, const struct ends *ends)
{
    const struct disk *disk = log->folder.disk;
    const struct log_segment *s = log->segments[ends->active];
    enum err code = OK;
    if (s->file >= 0 && s->sequence == r->last_segment) code = write_again(disk, s->file, r->last_start, ends->end);
    if (code != OK) return code;
    if (s->file >= 0 && disk->fdatasync(disk->context, s->file) != 0) return disk_error(errno);
    return disk_sync_directory(disk, log->folder.path);
}

/* The usual end: what is torn is cut, and writing goes on in its place. */
static enum err settle(struct log *log, const struct log_replay *r, const struct ends *ends)
{
    enum err code = cut_tails(log);
    if (code == OK) code = keep_next(log, ends->active);
    if (code == OK) code = make_durable(log, r, ends);
    const struct log_segment *active = log_active(log);
    bool usable = active->file >= 0 && active->whole;
    log->position = log->batch_start = usable ? ends->end : active->size;
    return code;
}

/* With damage, the torn batch may be all that proves older records to have been
 * durable, and so their loss to be damage. Before it is cut, the first record of a
 * new segment has to prove the same. */
static enum err settle_damage(struct log *log, const struct log_replay *r, const struct ends *ends)
{
    enum err code = make_durable(log, r, ends);
    if (code == OK) code = log_begin_segment(log);
    return code == OK ? cut_tails(log) : code;
}

static void report(const struct log *log)
{
    const struct log_view *v = &log->view;
    if (log->torn) log_notice("log", "cut %llu bytes of a torn tail", (unsigned long long)log->torn);
    if (v->damaged) log_error("log", "%llu blocks are damaged", (unsigned long long)v->damaged);
    if (v->flags & LOG_TAIL_DAMAGED)
        log_error("log", "the log is damaged after block %llu", (unsigned long long)log_view_last(v));
    if (v->flags & LOG_STATE_DAMAGED) log_error("log", "term, vote or cosigned mark may be lost");
    if (log_view_snapshot_damaged(v)) log_error("log", "the record of the last compaction is damaged");
    if (log->unreadable && !v->damaged && !(v->flags & (LOG_STATE_DAMAGED | LOG_TAIL_DAMAGED)) && !log_view_snapshot_damaged(v))
        log_warning("log", "%llu records are damaged, and nothing is missing: what stood there, later ones say, too. Check "
                    "the device", (unsigned long long)log->unreadable);
}

static enum err recover(struct log *log, struct failure *failure)
{
    struct log_replay replay = {.view = &log->view, .cipher = &log->cipher};
    struct ends ends;
    uint8_t *data = image_memory(log);
    enum err code = data ? replay_all(log, &replay, &ends, data) : ERR_NOMEM;
    free(data);
    log->batch_number = 1 + (log->view.batch > replay.last_batch ? log->view.batch : replay.last_batch);
    log->torn = replay.torn;
    log->unreadable = replay.damage;
    log_ahead_reset(log);
    if (code == OK) code = replay.cut_any && replay.damage ? settle_damage(log, &replay, &ends)
                                                               : settle(log, &replay, &ends);
    if (code != OK) return fail(failure, code, "cannot open the log in %s: %s", log->folder.path, strerror(errno));
    report(log);
    return OK;
}

enum err log_open(struct log **out, const struct log_options *options, struct failure *failure)
{
    char path[FILES_PATH];
    struct log *log = new_log(options);
    enum err code = files_path(path, options->directory, "lock", failure);
    if (code == OK) code = files_lock(&log->lock, path, failure);
    if (code == OK) code = find_segments(log, false, failure);
    if (code == OK) code = log->segment_count ? recover(log, failure) : make_first(log, failure);
    if (code != OK) {
        free_log(log);
        return code;
    }
    *out = log;
    return OK;
}

void log_close(struct log *log)
{
    if (!log) return;
    log_note_durable(log); /* so that a clean end leaves nothing in doubt */
    free_log(log);
}

/* --- dumps --- */

static bool describe(struct log_record *out, const struct log *log, const struct log_item *item, uint8_t *data)
{
    const struct log_header *h = &item->header;
    struct bytes plain = {0};
    struct log_state s;
    out->offset = item->offset;
    out->size = item->span;
    out->damaged = item->kind != ITEM_RECORD;
    out->header_known = item->kind != ITEM_HOLE;
    out->torn = out->damaged && !item->written;
    if (!out->header_known) return true;
    out->type = h->type;
    out->kind = h->kind;
    out->batch = h->batch;
    out->index = h->index;
    out->term = h->term;
    if (out->damaged) return true;
    bool good = log_record_open(&plain, data + item->offset, h, &log->cipher) == OK;
    if (good && h->type == LOG_STATE && (good = log_state_decode(&s, plain) == OK)) {
        out->vote = s.vote;
        out->cosigned = s.cosigned;
        out->last = h->index;
        out->compact_index = s.compact_index;
    }
    if (good && h->type == LOG_COMPACT) {
        good = log_snapshot_decode(&out->config, &out->manifest, plain) == OK;
        out->compact_index = h->index;
    }
    if (h->type == LOG_BLOCK || h->type == LOG_REPAIR) out->payload = plain;
    out->damaged = !good;
    return good;
}

static bool visit_segment(const struct log *log, const struct log_image *image,
                          bool (*visit)(void *data, const struct log_record *record), void *data)
{
    char name[LOG_FILE_NAME];
    struct log_item item;
    log_file_name(name, image->sequence);
    if (!image->data) {
        struct log_record r = {.file = name, .segment = image->sequence, .size = image->size, .damaged = true};
        return visit(data, &r);
    }
    struct log_scanner s = log_scanner_start(image->data, image->size, image->tag);
    while (log_scanner_next(&s, &item)) {
        struct log_record r = {.file = name, .segment = image->sequence};
        describe(&r, log, &item, image->data);
        if (!visit(data, &r)) return false;
    }
    return true;
}

enum err log_visit(const struct log_options *options,
                   bool (*visit)(void *data, const struct log_record *record), void *data,
                   struct failure *failure)
{
    struct log *log = new_log(options);
    uint8_t *memory = NULL;
    enum err code = find_segments(log, true, failure);
    if (code == OK && !(memory = image_memory(log)) && log->segment_count)
        code = fail(failure, ERR_NOMEM, "out of memory");
    for (size_t i = 0; code == OK && i < log->segment_count; i++) {
        struct log_image image = load(log, log->segments[i], memory);
        if (!visit_segment(log, &image, visit, data)) break;
    }
    free(memory);
    free_log(log);
    return code;
}
