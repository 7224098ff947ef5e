/* event add, log. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "cli/commands.h"
#include "cli/moment.h"
#include "cli/people.h"
#include "cli/profile.h"
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

static const struct column LOG_COLUMNS[] = {
    {"index", "ENTRY", COLUMN_NUMBER},       {"time", "TIME", COLUMN_TIME},       {"actor", "ACTOR", COLUMN_TEXT},
    {"role", "ROLE", COLUMN_TEXT},           {"patient", "PATIENT", COLUMN_TEXT}, {"action", "ACTION", COLUMN_TEXT},
    {"object", "OBJECT", COLUMN_TEXT},       {"decision", "DECISION", COLUMN_VERDICT},
    {"reason", "REASON", COLUMN_TEXT},       {"note", "NOTE", COLUMN_TEXT}};
#define LOG_COLUMN_COUNT (sizeof LOG_COLUMNS / sizeof LOG_COLUMNS[0])

/* Rows up to entry `shown` are passed by; 0: none are (entry 0 is never followed). */
static enum err read_rows(json_t *out, struct unpack *u, uint32_t count, bool backwards, uint64_t shown)
{
    for (uint32_t i = 0; i < count; i++) {
        struct log_row row;
        log_row_read(&row, u);
        if (u->error != OK) return u->error;
        if (shown && row.index <= shown) continue;
        if (backwards)
            json_array_insert_new(out, 0, log_row_json(&row));
        else
            json_array_append_new(out, log_row_json(&row));
    }
    return OK;
}

static enum err unreadable(struct tool *t, enum err e)
{
    return fail(&t->failure, e, "the node's rows can't be read: %s", err_text(e));
}

static enum err print_page(struct tool *t, struct bytes bytes, bool follow)
{
    struct answer answer;
    json_t *rows = json_array();
    enum err e = answer_open(&answer, bytes, LIMIT_ROWS);
    if (e == OK) e = read_rows(rows, &answer.rows, answer.count, follow, 0);
    if (e != OK) {
        json_decref(rows);
        return unreadable(t, e);
    }
    if (follow && t->output.json) {
        output_more_rows(&t->output, LOG_COLUMNS, LOG_COLUMN_COUNT, rows);
        return OK;
    }
    output_rows(&t->output, LOG_COLUMNS, LOG_COLUMN_COUNT, rows,
                follow ? NULL : "nothing recorded that fits and that you may see");
    if (!follow) tool_page_end(t, answer.cursor, answer.left_out);
    return OK;
}

/* --- following --- */

#define FOLLOW_SILENCE_MS 60000 /* a fifth of the time after which nodes close by default */

/* A stream that is opened anew begins at the query's entry again: *shown says what stands on the screen. */
static enum err print_followed(struct tool *t, struct bytes body, uint64_t *shown)
{
    struct message_rows m;
    json_t *rows = json_array();
    enum err e = message_rows_decode(&m, body);
    struct unpack u = unpack_start(m.rows);
    if (e == OK) e = read_rows(rows, &u, unpack_array(&u, LIMIT_ROWS), false, *shown);
    if (e != OK) {
        json_decref(rows);
        return unreadable(t, e);
    }
    const json_t *last = json_array_get(rows, json_array_size(rows) - 1);
    if (last) *shown = (uint64_t)json_integer_value(json_object_get(last, "index"));
    output_more_rows(&t->output, LOG_COLUMNS, LOG_COLUMN_COUNT, rows);
    return OK;
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
    output_message(&t->output, "%s; following at another node", t->failure.text);
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

static enum err follow(struct tool *t, const struct submission *s)
{
    uint64_t id, shown = 0;
    t->cluster.one_deadline = false; /* until it is interrupted; each request has the time-out */
    enum err e = open_stream(t, s, &id);
    while (e == OK || e == ERR_TIMEOUT) {
        struct frame frame;
        e = cluster_receive(&t->cluster, &frame, id, FOLLOW_SILENCE_MS, NULL, &t->failure);
        if (e == ERR_TIMEOUT) show_life(t);
        if (e == OK && frame.type == MESSAGE_ROWS) e = print_followed(t, frame.body, &shown);
        if ((e == ERR_CLOSED || e == ERR_TLS || e == ERR_TRUNCATED) && !t->cluster.client) e = reopen_stream(t, s, &id);
        if (ferror(stdout)) return fail(&t->failure, ERR_IO, "cannot write to standard output");
    }
    return e;
}

int command_log(struct tool *t)
{
    struct args_log_query args = {0};
    struct submission s = {0};
    struct buffer encoded = {0}, cursor = {0};
    enum purpose purpose;
    enum err e = tool_purpose(t, &purpose, PURPOSE_AUDIT);
    if (e == OK) e = take_filter(t, &args, &cursor);
    if (e == OK) {
        args_log_query_encode(&encoded, &args);
        e = tool_submit(
            t, &s, &(struct draft){.action = ACTION_LOG_QUERY, .args = buffer_bytes(&encoded), .purpose = purpose});
        if (e == ERR_DENIED) profile_forget(t);
    }
    if (e == OK) e = print_page(t, buffer_bytes(&s.outcomes[0].answer), args.follow);
    if (e == OK && args.follow) e = follow(t, &s);
    buffer_free(&encoded);
    buffer_free(&cursor);
    submission_free(&s);
    return e == OK ? EXIT_DONE : tool_failed(t);
}
