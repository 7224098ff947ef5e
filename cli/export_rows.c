#include "cli/export_rows.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "cli/rows.h"
#include "ledger/arguments.h"
#include "ledger/leaf.h"

/* --- an entry as a row --- */

/* What `log` shows as the object: for an event with what was done to it (ledger/query_log.c). */
static void object_of(struct log_row *row, const struct operation *op, const struct arguments *args,
                      struct buffer *text)
{
    struct target target = {0};
    arguments_target(&target, args);
    if (target.object.size > 0) row->object = target.object;
    row->object_is_text = target.object_is_text;
    if (!target.object_is_text || op->action != ACTION_EVENT_ADD) return;
    buffer_append_bytes(text, args->event_add.what);
    if (target.object.size) buffer_append_text(text, " ");
    buffer_append_bytes(text, target.object);
    row->object = buffer_bytes(text);
}

/* Keys in this order are the columns of CSV. */
static const char *const COLUMNS[] = {"index",         "time",   "actor_kind", "actor",  "patient",       "action",
                                      "action_number", "object", "decision",   "reason", "reason_number", "hash"};
#define COLUMN_COUNT (sizeof COLUMNS / sizeof COLUMNS[0])

static json_t *row_json(const struct leaf *leaf, const struct digest *hash)
{
    const struct operation *op = &leaf->operation;
    struct log_row row = {.index = leaf->index, .time_ms = leaf->time_ms, .decision = DECISION_APPROVED};
    struct arguments args;
    struct buffer text = {0};
    row.actor_role = row.note = row.object = bytes_text("");
    if (leaf->genesis.size == 0) {
        row.actor_kind = op->actor.kind;
        row.actor = op->actor.id;
        row.subject = leaf->subject;
        row.action = op->action;
        row.decision = leaf->decision;
        row.reason = leaf->reason;
        if (arguments_decode(&args, op->action, op->args) == OK) object_of(&row, op, &args, &text);
    }
    json_t *o = log_row_json(&row);
    json_object_del(o, "role_said");
    json_object_del(o, "note");
    json_object_set_new(o, "hash", json_digest(hash));
    buffer_free(&text);
    return o;
}

void csv_field(struct buffer *out, struct bytes text)
{
    bool formula = text.size > 0 && memchr("=+-@\t\r", text.data[0], 6) != NULL;
    bool quoted = formula;
    for (size_t i = 0; i < text.size; i++)
        quoted |= memchr(",\"\r\n", text.data[i], 4) != NULL;
    if (quoted) buffer_append_text(out, "\"");
    if (formula) buffer_append_text(out, "'");
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] == '"') buffer_append_text(out, "\"");
        buffer_append(out, &text.data[i], 1);
    }
    if (quoted) buffer_append_text(out, "\"");
}

static void csv_value(struct buffer *out, const json_t *value)
{
    if (json_is_integer(value))
        buffer_printf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    else if (json_is_string(value))
        csv_field(out, bytes_of(json_string_value(value), json_string_length(value)));
}

static void csv_row(struct buffer *out, const json_t *o)
{
    for (size_t i = 0; i < COLUMN_COUNT; i++) {
        if (i > 0) buffer_append_text(out, ",");
        csv_value(out, json_object_get(o, COLUMNS[i]));
    }
    buffer_append_text(out, "\r\n");
}

static void ndjson_row(struct buffer *out, const json_t *o)
{
    char *text = json_dumps(o, JSON_COMPACT);
    CHECK(text != NULL);
    buffer_append_text(out, text);
    buffer_append_text(out, "\n");
    free(text);
}

enum err row_format_leaf(struct buffer *out, enum row_format format, struct bytes bytes, const struct digest *hash)
{
    struct leaf leaf;
    enum err e = leaf_decode(&leaf, bytes);
    if (e != OK) return e;
    json_t *o = row_json(&leaf, hash);
    switch (format) {
    case ROWS_NDJSON: ndjson_row(out, o); break;
    case ROWS_CSV: csv_row(out, o); break;
    }
    json_decref(o);
    return out->failed ? ERR_NOMEM : OK;
}

void row_format_head(struct buffer *out, enum row_format format)
{
    if (format == ROWS_NDJSON) return;
    for (size_t i = 0; i < COLUMN_COUNT; i++)
        buffer_printf(out, "%s%s", i > 0 ? "," : "", COLUMNS[i]);
    buffer_append_text(out, "\r\n");
}

/* --- the file --- */

static const char *name_of(const struct row_writer *w) { return w->path ? w->path : "standard output"; }

static enum err write_line(struct row_writer *w, struct failure *failure)
{
    bool written = fwrite(w->line.data, 1, w->line.size, w->file) == w->line.size;
    buffer_clear(&w->line);
    return written ? OK
                   : fail(failure, errno == ENOSPC ? ERR_FULL : ERR_IO, "cannot write to %s: %s", name_of(w),
                          strerror(errno));
}

static enum err open_file(struct row_writer *w, struct failure *failure)
{
    struct buffer name = {0};
    struct stat st;
    if (lstat(w->path, &st) == 0) return fail(failure, ERR_EXISTS, "%s exists already and is not overwritten", w->path);
    buffer_printf(&name, "%s.tmp-%ld", w->path, (long)getpid());
    buffer_append(&name, "", 1);
    w->temporary = (char *)name.data;
    int fd = open(w->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    w->file = fd < 0 ? NULL : fdopen(fd, "w");
    if (w->file) return OK;
    enum err e = fail(failure, ERR_IO, "cannot make %s: %s", w->temporary, strerror(errno));
    if (fd >= 0) close(fd);
    return e;
}

enum err row_writer_open(struct row_writer *w, const char *path, enum row_format format, struct failure *failure)
{
    *w = (struct row_writer){.file = path ? NULL : stdout, .path = path, .format = format};
    row_format_head(&w->line, format); /* goes out with the first row */
    return path ? open_file(w, failure) : OK;
}

static enum err take(void *data, const struct export_tile *t, struct failure *failure)
{
    struct row_writer *w = data;
    enum err e = OK;
    for (unsigned i = 0; e == OK && i < t->tile.width; i++) {
        uint64_t index = t->tile.index * TILE_WIDTH + i;
        if (index < w->from || index >= w->to) continue;
        e = row_format_leaf(&w->line, w->format, t->leaves[i], &t->hashes[i]);
        if (e != OK) return fail(failure, e, "entry %" PRIu64 " can't be read: %s", index, err_text(e));
        e = write_line(w, failure);
        w->rows += e == OK;
    }
    return e;
}

struct export_sink row_writer_sink(struct row_writer *w) { return (struct export_sink){.data = w, .take = take}; }

enum err row_writer_finish(struct row_writer *w, struct failure *failure)
{
    bool written = fflush(w->file) == 0 && (!w->path || fsync(fileno(w->file)) == 0);
    if (!written)
        return fail(failure, errno == ENOSPC ? ERR_FULL : ERR_IO, "cannot write to %s: %s", name_of(w),
                    strerror(errno));
    if (!w->path) return OK;
    /* link(2) refuses to replace what has come there meanwhile. */
    if (link(w->temporary, w->path) != 0)
        return fail(failure, errno == EEXIST ? ERR_EXISTS : ERR_IO, "cannot make %s: %s", w->path, strerror(errno));
    return OK;
}

void row_writer_free(struct row_writer *w)
{
    if (w->file && w->path) fclose(w->file);
    if (w->temporary) unlink(w->temporary);
    free(w->temporary);
    buffer_free(&w->line);
    *w = (struct row_writer){0};
}
