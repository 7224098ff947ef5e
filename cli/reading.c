#include "cli/reading.h"

#include <stdlib.h>

#include "base/bytes.h"
#include "base/check.h"
#include "crypto/secret.h"

static const char *answering_node(const struct tool *t, const struct reading *r)
{
    return cluster_member_name(&t->cluster, r->member);
}

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
    bool cursor_fits = answer.cursor.size == 0 || (answer.cursor.size == 8 && get_be64(answer.cursor.data) != 0);
    if (e == OK && !cursor_fits) e = ERR_MALFORMED;
    if (e != OK) {
        r->wrong = true;
        return fail(&t->failure, e, "the answer of %s can't be read: %s", answering_node(t, r), err_text(e));
    }
    r->count = answer.count;
    r->cursor = answer.cursor;
    r->left_out = answer.left_out;
    return OK;
}

static void forget_answer(struct reading *r)
{
    submission_free(&r->submission);
    r->submission = (struct submission){0};
    free(r->rows);
    r->rows = NULL;
}

static enum err ask(struct tool *t, struct reading *r)
{
    struct buffer encoded = {0};
    enum purpose purpose;
    enum err e = tool_purpose(t, &purpose, PURPOSE_TREATMENT);
    if (e != OK) return e;
    seal_keypair_random(&r->reader.secret, &r->reader.public_key);
    r->args.reader_key = r->reader.public_key;
    args_record_read_encode(&encoded, &r->args);
    e = tool_submit(t, &r->submission,
                    &(struct draft){.action = ACTION_RECORD_READ, .args = buffer_bytes(&encoded), .purpose = purpose});
    buffer_free(&encoded);
    r->member = r->submission.outcomes[0].member;
    r->wrong = false;
    r->asked++;
    return e == OK ? take_rows(t, r) : e;
}

static bool is_of_chart(const struct reading *r) { return id_is_zero(&r->args.record); }

/* What one record's read opens is known: the record, and nothing else. */
static enum err check_record(struct tool *t, struct reading *r)
{
    const struct args_record_read *args = &r->args;
    bool is_it = r->count == 1 && r->cursor.size == 0 && r->left_out == 0 &&
                 id_equal(&r->rows[0].record, &args->record) &&
                 (!args->version || r->rows[0].version == args->version);
    if (is_it) return OK;
    r->wrong = true;
    return fail(&t->failure, ERR_BAD_PROOF, "%s answered with another record than was asked for",
                answering_node(t, r));
}

/* Each node once; what was wrong with this one's answer is said by t->failure. */
static bool may_ask_elsewhere(const struct tool *t, const struct reading *r)
{
    return r->wrong && !t->cluster.via && r->asked < t->cluster.genesis.member_count;
}

static void turn_away(struct tool *t, struct reading *r)
{
    output_message(&t->output, "%s; asking another node", t->failure.text);
    t->failure = (struct failure){0};
    if (t->cluster.member == r->member) cluster_drop(&t->cluster);
    forget_answer(r);
}

static enum err ask_until_right(struct tool *t, struct reading *r)
{
    for (;;) {
        enum err e = ask(t, r);
        if (e == OK && !is_of_chart(r)) e = check_record(t, r);
        if (e == OK || !may_ask_elsewhere(t, r)) return e;
        turn_away(t, r);
    }
}

enum err reading_ask(struct tool *t, struct reading *r, const struct args_record_read *args)
{
    r->args = *args;
    return ask_until_right(t, r);
}

enum err reading_ask_record(struct tool *t, struct reading *r, const struct id *record, uint64_t version)
{
    return reading_ask(t, r, &(struct args_record_read){.record = *record, .version = version, .limit = 1});
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
    if (!fits) {
        o->reading->wrong = true; /* k nodes signed which content is at this place, so it is the row that is */
        return fail(&o->failure, ERR_BAD_PROOF,
                    "%s answered with another record, version, patient, author or confidentiality than the content has",
                    answering_node(o->tool, o->reading));
    }
    enum err e = o->take(o->data, position, item);
    o->reading->opened = true;
    return e == OK ? OK : fail(&o->failure, e, "%s", o->tool->failure.text);
}

static enum err open_rows(struct opening_rows *o)
{
    struct tool *t = o->tool;
    struct reading *r = o->reading;
    struct read_extent extent = {r->count, r->cursor.size == 8 ? get_be64(r->cursor.data) : 0, r->left_out};
    enum err e = tool_collective(t);
    if (e == OK)
        e = content_open(&t->cluster, &t->collective, &r->reader, &r->submission, 0, &extent, take_checked, o,
                         &t->failure);
    if (e != OK && o->failure.code != OK) return fail(&t->failure, o->failure.code, "%s", o->failure.text);
    if (e != ERR_LEFT_OUT) return e;
    struct failure why = t->failure;
    r->wrong = true;
    return fail(&t->failure, e, "%s answered with another list than this read opened: %s", answering_node(t, r),
                why.text);
}

enum err reading_open(struct tool *t, struct reading *r,
                      enum err (*take)(void *data, uint32_t position, struct opened_content *item), void *data)
{
    struct opening_rows o = {.tool = t, .reading = r, .take = take, .data = data};
    enum err e = open_rows(&o);
    while (e != OK && !r->opened && may_ask_elsewhere(t, r)) {
        turn_away(t, r);
        o.failure = (struct failure){0};
        e = ask_until_right(t, r);
        if (e == OK) e = open_rows(&o);
    }
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
    forget_answer(r);
    *r = (struct reading){0};
}
