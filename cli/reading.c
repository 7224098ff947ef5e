#include "cli/reading.h"

#include <stdlib.h>

#include "base/check.h"
#include "crypto/secret.h"

/* Views are into the submission's answer, which stays. */
static enum err take_rows(struct tool *t, struct reading *r)
{
    struct answer answer;
    enum err e = answer_open(&answer, buffer_bytes(&r->submission.outcomes[0].answer), LIMIT_OPENED);
    r->rows = xcalloc(LIMIT_OPENED, sizeof *r->rows);
    for (uint32_t i = 0; e == OK && i < answer.count; i++) {
        record_row_read(&r->rows[i], &answer.rows);
        e = answer.rows.error;
    }
    if (e != OK) return fail(&t->failure, e, "the node's answer can't be read: %s", err_text(e));
    r->count = answer.count;
    r->cursor = answer.cursor;
    r->left_out = answer.left_out;
    return OK;
}

enum err reading_ask(struct tool *t, struct reading *r, struct args_record_read *args)
{
    struct buffer encoded = {0};
    enum purpose purpose;
    enum err e = tool_purpose(t, &purpose, PURPOSE_TREATMENT);
    if (e != OK) return e;
    seal_keypair_random(&r->reader.secret, &r->reader.public_key);
    args->reader_key = r->reader.public_key;
    args_record_read_encode(&encoded, args);
    e = tool_submit(t, &r->submission,
                    &(struct draft){.action = ACTION_RECORD_READ, .args = buffer_bytes(&encoded), .purpose = purpose});
    buffer_free(&encoded);
    return e == OK ? take_rows(t, r) : e;
}

enum err reading_ask_record(struct tool *t, struct reading *r, const struct id *record, uint64_t version)
{
    struct args_record_read args = {.record = *record, .version = version, .limit = 1};
    enum err e = reading_ask(t, r, &args);
    if (e != OK) return e;
    if (r->count == 0 && r->left_out > 0)
        return fail(&t->failure, ERR_DENIED, "the record's confidentiality is above what your role may see");
    if (r->count != 1 || !id_equal(&r->rows[0].record, record) || (version && r->rows[0].version != version))
        return fail(&t->failure, ERR_BAD_PROOF, "%s answered with another record than was asked for",
                    cluster_member_name(&t->cluster, t->cluster.member));
    return OK;
}

/* --- content --- */

struct opening_rows {
    struct tool *tool;
    struct reading *reading;
    enum err (*take)(void *data, uint32_t position, struct opened_content *item);
    void *data;
    struct failure failure;
};

/* A row is one node's word; the context came through the authenticated encryption. */
static enum err take_checked(void *data, uint32_t position, struct opened_content *item)
{
    struct opening_rows *o = data;
    const struct record_row *row = &o->reading->rows[position];
    const struct record_context *c = &item->context;
    bool fits = id_equal(&row->record, &c->record) && id_equal(&row->patient, &c->patient) &&
                id_equal(&row->author, &c->author) && row->version == c->version && row->conf == c->conf;
    if (!fits)
        return fail(&o->failure, ERR_BAD_PROOF,
                    "%s says another record, version, patient or author than the content itself",
                    cluster_member_name(&o->tool->cluster, o->tool->cluster.member));
    enum err e = o->take(o->data, position, item);
    return e == OK ? OK : fail(&o->failure, e, "%s", o->tool->failure.text);
}

enum err reading_open(struct tool *t, struct reading *r,
                      enum err (*take)(void *data, uint32_t position, struct opened_content *item), void *data)
{
    struct opening_rows o = {.tool = t, .reading = r, .take = take, .data = data};
    if (r->count == 0) return OK;
    enum err e = tool_collective(t);
    if (e == OK)
        e = content_open(&t->cluster, &t->collective, &r->reader, &r->submission, 0, r->count, take_checked, &o,
                         &t->failure);
    if (e != OK && o.failure.code != OK) return fail(&t->failure, o.failure.code, "%s", o.failure.text);
    return e;
}

static enum err keep_one(void *data, uint32_t position, struct opened_content *item)
{
    struct buffer *out = data;
    CHECK(position == 0);
    *out = item->plain;
    item->plain = (struct buffer){0};
    return OK;
}

enum err reading_open_one(struct tool *t, struct reading *r, struct buffer *out)
{
    CHECK(r->count == 1);
    return reading_open(t, r, keep_one, out);
}

void reading_end(struct reading *r)
{
    secret_wipe(&r->reader, sizeof r->reader);
    submission_free(&r->submission);
    free(r->rows);
    *r = (struct reading){0};
}
