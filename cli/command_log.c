/* event add, log. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/nearest.h"
#include "cli/alarms.h"
#include "cli/commands.h"
#include "cli/moment.h"
#include "cli/people.h"
#include "cli/profile.h"
#include "cli/proved_rows.h"
#include "cli/rows.h"
#include "cli/tool.h"
#include "ledger/arguments.h"
#include "ledger/policy.h"

/* --- event add --- */

/* Printable ASCII without spaces: names and free text have no place in a leaf. */
static enum err check_code(struct tool *t, const char *what, const char *text, size_t least, size_t most)
{
    size_t size = strlen(text);
    bool good = size >= least && size <= most;
    for (size_t i = 0; i < size; i++)
        good = good && text[i] > 0x20 && text[i] < 0x7f;
    return good ? OK
                : fail(&t->failure, ERR_USAGE,
                       "%s is a code of %zu to %zu printable ASCII characters without spaces "
                       "(names and free text go into --note), not '%s'",
                       what, least, most, text);
}

int command_event_add(struct tool *t)
{
    static const struct column columns[] = {{"patient", "patient", COLUMN_TEXT}};
    struct args_event_add args;
    struct submission s = {0};
    struct buffer encoded = {0};
    const char *what = tool_operand(t, 1), *object = t->line->operand_count > 2 ? tool_operand(t, 2) : "";
    const char *note = option_text(t->line, "note");
    enum purpose purpose;
    enum err e = tool_purpose(t, &purpose, PURPOSE_OPERATIONS);
    if (e == OK) e = check_code(t, "WHAT", what, 1, 64);
    if (e == OK) e = check_code(t, "OBJECT", object, 0, 128);
    if (e == OK && note && strlen(note) > LIMIT_NOTE)
        e = fail(&t->failure, ERR_USAGE, "a note has at most %u bytes", LIMIT_NOTE);
    if (e == OK) e = people_resolve(t, &args.patient, tool_operand(t, 0));
    if (e == OK) {
        args.what = bytes_text(what), args.object = bytes_text(object);
        args_event_add_encode(&encoded, &args);
        e = tool_submit(t, &s,
                        &(struct draft){.action = ACTION_EVENT_ADD,
                                        .args = buffer_bytes(&encoded),
                                        .purpose = purpose,
                                        .attached = note != NULL,
                                        .attachment = note ? bytes_text(note) : (struct bytes){0}});
    }
    if (e == OK) tool_done(t, &s, columns, 1, json_pack("{s:o}", "patient", json_id(&args.patient)));
    buffer_free(&encoded);
    submission_free(&s);
    return e == OK ? EXIT_DONE : tool_failed(t);
}

/* --- the filter --- */

static enum err take_action(struct tool *t, uint32_t *action)
{
    static const char *const names[] = {
#define X(name, number, permission, actor) permission,
        ACTION_LIST(X)
#undef X
    };
    const char *name = option_text(t->line, "action");
    if (!name) return OK;
    int number = action_from_name(name);
    if (number > 0) {
        *action = (uint32_t)number;
        return OK;
    }
    const char *near = nearest(name, names, sizeof names / sizeof names[0]);
    return fail(&t->failure, ERR_USAGE, "there is no action '%s'%s%s%s", name, near ? "; did you mean '" : "",
                near ? near : "", near ? "'?" : "");
}

static enum err take_decision(struct tool *t, uint32_t *decision)
{
    const char *text = option_text(t->line, "decision");
    if (!text) return OK;
    *decision = strcmp(text, "approved") == 0 ? DECISION_APPROVED : strcmp(text, "denied") == 0 ? DECISION_DENIED : 0;
    return *decision ? OK : fail(&t->failure, ERR_USAGE, "--decision is approved or denied, not '%s'", text);
}

static enum err take_times(struct tool *t, struct args_log_query *args)
{
    const char *since = option_text(t->line, "since"), *until = option_text(t->line, "until");
    enum err e = since ? moment_parse(&args->from_ms, since, &t->failure) : OK;
    if (e == OK && until) e = moment_parse(&args->to_ms, until, &t->failure);
    if (e == OK && args->to_ms && args->from_ms > args->to_ms)
        e = fail(&t->failure, ERR_USAGE, "--since is later than --until");
    return e;
}

/* Whether the first policy lets that role see the whole log. A guess (the policy
 * may have changed since), for choosing a default; the nodes decide. */
static bool sees_all(const struct genesis *genesis, const char *role)
{
    struct policy *policy = xcalloc(1, sizeof *policy);
    bool all = policy_parse(policy, genesis->policy, NULL) == OK &&
               policy_decide(policy, policy_role(policy, bytes_text(role)), ACTION_LOG_QUERY, SCOPE_BIT(SCOPE_ANY),
                             CONF_NORMAL) == REASON_NONE;
    free(policy);
    return all;
}

/* Without --patient, --actor or --all: auditors see everything, patients what
 * happened to their data, others what they did themselves. */
static enum err take_people(struct tool *t, struct args_log_query *args)
{
    const char *patient = option_text(t->line, "patient"), *actor = option_text(t->line, "actor");
    char role[LIMIT_NAME + 1];
    enum err e = patient ? people_resolve(t, &args->patient, patient) : OK;
    if (e == OK && actor) e = people_resolve(t, &args->actor, actor);
    if (e != OK || patient || actor || option_given(t->line, "all")) return e;
    e = profile_role(t, role);
    if (e != OK) return e;
    if (strcmp(role, ROLE_PATIENT) == 0)
        args->patient = t->signer.user;
    else if (!sees_all(&t->cluster.genesis, role))
        args->actor = t->signer.user;
    return OK;
}

static enum err take_filter(struct tool *t, struct args_log_query *args, struct buffer *cursor)
{
    enum err e = tool_page(t, &args->limit, 50, LIMIT_ROWS, cursor);
    if (e == OK) e = take_action(t, &args->action);
    if (e == OK) e = take_decision(t, &args->decision);
    if (e == OK) e = take_times(t, args);
    if (e == OK) e = take_people(t, args);
    args->cursor = buffer_bytes(cursor);
    args->follow = option_given(t->line, "follow");
    return e;
}

/* --- the rows --- */

/* All of a row but the role is proved: that stands in no leaf, and is the answering node's word. */
static const struct column LOG_COLUMNS[] = {
    {"index", "ENTRY", COLUMN_NUMBER},       {"time", "TIME", COLUMN_TIME},       {"actor", "ACTOR", COLUMN_TEXT},
    {"role_said", "ROLE (UNPROVED)", COLUMN_TEXT}, {"patient", "PATIENT", COLUMN_TEXT},
    {"action", "ACTION", COLUMN_TEXT},       {"object", "OBJECT", COLUMN_TEXT},
    {"decision", "DECISION", COLUMN_VERDICT}, {"reason", "REASON", COLUMN_TEXT},  {"note", "NOTE", COLUMN_TEXT}};
#define LOG_COLUMN_COUNT (sizeof LOG_COLUMNS / sizeof LOG_COLUMNS[0])

/* A page of rows on its way to the screen. */
struct page {
    uint32_t count;
    uint32_t unproved; /* of all pages so far */
    bool doubtful;     /* a node showed some that an open alarm names */
    struct log_row rows[LIMIT_ROWS];
    bool proved[LIMIT_ROWS];
};

/* Rows up to entry `shown` are passed by; 0: none are (entry 0 is never followed). */
static enum err read_rows(struct page *page, struct unpack *u, uint32_t count, uint64_t shown)
{
    page->count = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct log_row *row = &page->rows[page->count];
        log_row_read(row, u);
        if (u->error != OK) return u->error;
        if (!shown || row->index > shown) page->count++;
    }
    return OK;
}

static enum err unreadable(struct tool *t, enum err e)
{
    return fail(&t->failure, e, "the node's rows can't be read: %s", err_text(e));
}

/* Only with --via, or when no other node answers. What rows it left out nobody can tell. */
static void say_doubtful(struct tool *t, struct page *page)
{
    if (!alarms_name(&t->cluster, t->cluster.member)) return;
    if (!page->doubtful)
        output_message(&t->output, "these rows come from %s, which an open alarm names: don't trust that they are all; "
                                   "ask another node", cluster_member_name(&t->cluster, t->cluster.member));
    page->doubtful = true;
}

/* A column that people read says what a program is told by `trusted`. */
static void mark_untrusted(json_t *row)
{
    const char *decision = json_string_value(json_object_get(row, "decision"));
    json_object_set_new(row, "decision", json_sprintf("%s (untrusted)", decision));
}

/* The rows as JSON. A table shows only those that are proved; a program is told which are. */
static json_t *good_rows(struct tool *t, struct page *page, bool backwards)
{
    json_t *rows = json_array();
    say_doubtful(t, page);
    for (uint32_t i = 0; i < page->count; i++) {
        uint32_t at = backwards ? page->count - 1 - i : i;
        if (!page->proved[at]) {
            page->unproved++;
            output_message(&t->output, "entry %" PRIu64 ", as %s shows it, is not what the nodes co-signed%s",
                           page->rows[at].index, cluster_member_name(&t->cluster, t->cluster.member),
                           t->output.json ? "" : ": it is left out");
            if (!t->output.json) continue;
        }
        json_t *row = log_row_json(&page->rows[at]);
        json_object_set_new(row, "proved", json_boolean(page->proved[at]));
        json_object_set_new(row, "trusted", json_boolean(page->proved[at] && !page->doubtful));
        if (page->doubtful && !t->output.json) mark_untrusted(row);
        json_array_append_new(rows, row);
    }
    return rows;
}

static enum err prove_page(struct tool *t, struct page *page, const struct submission *s)
{
    return rows_prove(page->proved, &t->cluster, s, page->rows, page->count, &t->failure);
}

static enum err print_page(struct tool *t, struct page *page, const struct submission *s, bool follow)
{
    struct answer answer;
    enum err e = answer_open(&answer, buffer_bytes(&s->outcomes[0].answer), LIMIT_ROWS);
    if (e == OK) e = read_rows(page, &answer.rows, answer.count, 0);
    if (e != OK) return unreadable(t, e);
    e = prove_page(t, page, s);
    if (e != OK) return e;
    json_t *rows = good_rows(t, page, follow);
    if (follow && t->output.json) {
        output_more_rows(&t->output, LOG_COLUMNS, LOG_COLUMN_COUNT, rows);
        return OK;
    }
    if (!follow) tool_page_mark(t, rows, answer.cursor, answer.left_out);
    output_rows(&t->output, LOG_COLUMNS, LOG_COLUMN_COUNT, rows,
                follow            ? NULL
                : answer.cursor.size ? "nothing so far that fits and that you may see"
                                     : "nothing recorded that fits and that you may see");
    if (!follow) tool_page_end(t, answer.cursor, answer.left_out);
    return OK;
}

/* --- following --- */

#define FOLLOW_SILENCE_MS 60000 /* a fifth of the time after which nodes close by default */

/* A stream that is opened anew begins at the query's entry again: *shown says what stands on the screen. */
static enum err print_followed(struct tool *t, struct page *page, const struct submission *s, struct bytes body,
                               uint64_t *shown)
{
    struct message_rows m;
    struct buffer kept = {0}; /* the rows are views, and the proof is another message */
    enum err e = message_rows_decode(&m, body);
    if (e == OK) buffer_append_bytes(&kept, m.rows);
    struct unpack u = unpack_start(buffer_bytes(&kept));
    if (e == OK) e = kept.failed ? ERR_NOMEM : read_rows(page, &u, unpack_array(&u, LIMIT_ROWS), *shown);
    if (e != OK) e = unreadable(t, e);
    if (e == OK) e = prove_page(t, page, s);
    if (e == OK) {
        if (page->count > 0) *shown = page->rows[page->count - 1].index;
        output_more_rows(&t->output, LOG_COLUMNS, LOG_COLUMN_COUNT, good_rows(t, page, false));
    }
    buffer_free(&kept);
    return e;
}

static enum err open_stream(struct tool *t, const struct submission *s, uint64_t *id)
{
    struct buffer question = {0};
    message_follow_encode(&question, &(struct message_follow){s->outcomes[0].index});
    enum err e = t->cluster.client ? OK : cluster_connect(&t->cluster, &t->failure);
    if (e == OK) e = cluster_send(&t->cluster, id, MESSAGE_FOLLOW, buffer_bytes(&question), &t->failure);
    buffer_free(&question);
    return e;
}

/* The entry stands in the ledger, so the stream goes on at another node when this
 * one dies, with what was recorded in between. */
static enum err reopen_stream(struct tool *t, const struct submission *s, uint64_t *id)
{
    output_message(&t->output, "%s; following %s", t->failure.text, t->cluster.via ? "it again" : "at another node");
    enum err e = cluster_connect(&t->cluster, &t->failure);
    if (e == OK) e = submit_again(&t->cluster, s, &t->failure);
    return e == OK ? open_stream(t, s, id) : e;
}

/* A node closes a connection on which it hears nothing for long. The answer is passed by. */
static void show_life(struct tool *t)
{
    uint64_t id;
    struct buffer question = {0};
    message_empty_encode(&question);
    if (t->cluster.client) cluster_send(&t->cluster, &id, MESSAGE_STATUS, buffer_bytes(&question), NULL);
    buffer_free(&question);
}

/* Rows of the stream that come while proofs of others are waited for. */
#define ROWS_WAITING 64
struct stream {
    uint64_t id;
    uint32_t first, count;
    struct buffer waiting[ROWS_WAITING]; /* a ring of bodies of ROWS */
    bool lost;                           /* more came than there is room for */
};

static void keep_rows(void *data, const struct frame *frame)
{
    struct stream *s = data;
    if (frame->id != s->id || frame->type != MESSAGE_ROWS) return;
    struct buffer *place = &s->waiting[(s->first + s->count) % ROWS_WAITING];
    if (s->count == ROWS_WAITING) {
        s->lost = true;
        return;
    }
    buffer_clear(place);
    buffer_append_bytes(place, frame->body);
    s->lost = s->lost || place->failed;
    s->count++;
}

/* The rest comes again when the stream is opened anew. */
static enum err print_waiting(struct tool *t, struct stream *stream, struct page *page, const struct submission *s,
                              uint64_t *shown)
{
    enum err e = OK;
    while (e == OK && stream->count > 0) {
        uint32_t at = stream->first;
        stream->first = (at + 1) % ROWS_WAITING;
        stream->count--;
        struct buffer body = stream->waiting[at];
        stream->waiting[at] = (struct buffer){0};
        e = print_followed(t, page, s, buffer_bytes(&body), shown);
        buffer_free(&body);
    }
    if (stream->lost) {
        stream->lost = false;
        stream->count = 0;
        cluster_drop(&t->cluster);
        return fail(&t->failure, ERR_CLOSED, "more is recorded than can be checked at once");
    }
    return e;
}

static enum err follow_stream(struct tool *t, struct stream *stream, struct page *page, const struct submission *s)
{
    uint64_t shown = 0;
    enum err e = open_stream(t, s, &stream->id);
    while (e == OK || e == ERR_TIMEOUT) {
        struct frame frame;
        e = cluster_receive(&t->cluster, &frame, stream->id, FOLLOW_SILENCE_MS, NULL, &t->failure);
        if (e == ERR_TIMEOUT) show_life(t);
        if (e == OK && frame.type == MESSAGE_ROWS) {
            e = print_followed(t, page, s, frame.body, &shown);
            if (e == OK) e = print_waiting(t, stream, page, s, &shown);
            if (e == ERR_TIMEOUT) e = ERR_NOT_WITNESSED; /* of the proof, not silence */
        }
        if (e == ERR_QUARANTINED && !t->cluster.via) { /* it ended the stream */
            cluster_drop(&t->cluster);
            e = ERR_CLOSED;
        }
        if ((e == ERR_CLOSED || e == ERR_TLS || e == ERR_TRUNCATED) && !t->cluster.client) {
            stream->count = 0;
            e = reopen_stream(t, s, &stream->id);
        }
        if (ferror(stdout)) return fail(&t->failure, ERR_IO, "cannot write to standard output");
    }
    return e;
}

static enum err follow(struct tool *t, struct page *page, const struct submission *s)
{
    struct stream *stream = xcalloc(1, sizeof *stream);
    t->cluster.one_deadline = false; /* until it is interrupted; each request has the time-out */
    t->cluster.leaves_named = true;
    t->cluster.on_other = keep_rows;
    t->cluster.other_data = stream;
    enum err e = follow_stream(t, stream, page, s);
    t->cluster.on_other = NULL;
    for (uint32_t i = 0; i < ROWS_WAITING; i++) buffer_free(&stream->waiting[i]);
    free(stream);
    return e;
}

/* A page examines so much and no more: an empty one is no end. It is gone on from while half of the
 * time is left; each question is an entry. */
static enum err ask(struct tool *t, struct submission *s, struct args_log_query *args, struct buffer *cursor,
                    enum purpose purpose)
{
    for (;;) {
        struct answer answer;
        struct buffer encoded = {0};
        args_log_query_encode(&encoded, args);
        enum err e = tool_submit(
            t, s, &(struct draft){.action = ACTION_LOG_QUERY, .args = buffer_bytes(&encoded), .purpose = purpose});
        buffer_free(&encoded);
        if (e == ERR_DENIED) profile_forget(t);
        if (e != OK || answer_open(&answer, buffer_bytes(&s->outcomes[0].answer), LIMIT_ROWS) != OK) return e;
        bool late = cluster_left_ms(cluster_deadline(&t->cluster)) < t->cluster.timeout_ms / 2;
        if (answer.count > 0 || answer.cursor.size == 0 || args->follow || late) return OK;
        buffer_clear(cursor);
        buffer_append_bytes(cursor, answer.cursor);
        args->cursor = buffer_bytes(cursor);
    }
}

int command_log(struct tool *t)
{
    struct args_log_query args = {0};
    struct submission s = {0};
    struct buffer cursor = {0};
    enum purpose purpose;
    enum err e = tool_purpose(t, &purpose, PURPOSE_AUDIT);
    if (e == OK) e = take_filter(t, &args, &cursor);
    if (e == OK) e = ask(t, &s, &args, &cursor, purpose);
    struct page *page = xcalloc(1, sizeof *page);
    if (e == OK) e = print_page(t, page, &s, args.follow);
    if (e == OK && args.follow) e = follow(t, page, &s);
    bool bad = page->unproved || page->doubtful;
    free(page);
    buffer_free(&cursor);
    submission_free(&s);
    if (e != OK) return tool_failed(t);
    return bad ? EXIT_VERIFICATION : EXIT_DONE;
}
