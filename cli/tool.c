#include "cli/tool.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/nearest.h"
#include "cli/terminal.h"

#define HEAR_MS 3000 /* for what a command hears that can't do more */

/* --- what a command needs --- */

enum err tool_cluster(struct tool *t)
{
    const struct settings *s = &t->settings;
    if (t->cluster_opened) return OK;
    if (!s->values[SETTING_CLUSTER])
        return fail(&t->failure, ERR_USAGE,
                    "which cluster? Give --cluster FILE (its genesis file), set "
                    "CONSILIUM_CLUSTER, or write 'cluster = FILE' into ~/.config/consilium/config");
    enum err e = cluster_open(&t->cluster, s->values[SETTING_CLUSTER], s->values[SETTING_VIA], settings_timeout_ms(s),
                              &t->output, &t->failure);
    t->cluster_opened = e == OK;
    t->cluster.one_deadline = true;
    t->cluster.watches = true;
    return e;
}

/* Who can't be recorded is warned all the same. */
static void hear_alarms(struct tool *t)
{
    struct cluster *c = &t->cluster;
    if (!t->cluster_opened || c->member != 0) return; /* it has connected, or tried to */
    c->give_up_ns = clock_monotonic_ns() + (uint64_t)HEAR_MS * 1000000;
    cluster_connect(c, NULL);
    c->give_up_ns = 0;
}

static enum err open_signer(struct tool *t)
{
    const struct settings *s = &t->settings;
    if (!s->values[SETTING_IDENTITY])
        return fail(&t->failure, ERR_NO_KEY, "who are you? Give --identity FILE, set CONSILIUM_IDENTITY, or write "
                                             "'identity = FILE' into ~/.config/consilium/config; "
                                             "'consilium key new -o FILE' makes one");
    return signer_open(&t->signer, s->values[SETTING_IDENTITY], s->values[SETTING_PASSPHRASE_FILE], &t->failure);
}

enum err tool_signer(struct tool *t)
{
    if (t->signer_opened) return OK;
    if (t->cluster_opened) cluster_watch(&t->cluster); /* unlocking may wait for a person */
    enum err e = open_signer(t);
    t->signer_opened = e == OK;
    cluster_renew(&t->cluster);
    if (e != OK) hear_alarms(t);
    return e;
}

enum err tool_collective(struct tool *t)
{
    if (t->collective_known) return OK;
    enum err e = tool_cluster(t);
    if (e == OK) e = collective_get(&t->collective, &t->cluster, &t->failure);
    t->collective_known = e == OK;
    return e;
}

void tool_close(struct tool *t)
{
    output_progress_end(&t->output);
    if (t->signer_opened) signer_close(&t->signer);
    if (t->cluster_opened) cluster_close(&t->cluster);
    settings_free(&t->settings);
}

int tool_failed(struct tool *t)
{
    CHECK(t->failure.code != OK);
    return output_failure(&t->output, &t->failure);
}

const char *tool_operand(const struct tool *t, size_t i)
{
    CHECK(i < t->line->operand_count);
    return t->line->operands[i];
}

enum err tool_confirm(struct tool *t, const char *question)
{
    if (option_given(t->line, "yes")) return OK;
    enum err e = tool_cluster(t);
    if (e != OK) return e;
    cluster_watch(&t->cluster);
    output_progress_end(&t->output);
    e = terminal_confirm(question, &t->failure);
    cluster_renew(&t->cluster);
    return e;
}

enum err tool_purpose(struct tool *t, enum purpose *out, enum purpose otherwise)
{
    static const char *const codes[] = {
#define X(name, number, code, text) code,
        PURPOSE_LIST(X)
#undef X
    };
    const char *code = option_text(t->line, "purpose");
    *out = otherwise;
    if (!code) return OK;
    int number = purpose_from_code(code);
    if (number > 0) {
        *out = (enum purpose)number;
        return OK;
    }
    const char *near = nearest(code, codes + 1, sizeof codes / sizeof codes[0] - 1);
    return fail(&t->failure, ERR_USAGE, "there is no purpose '%s'%s%s%s", code,
                near ? "; did you mean '"
                     : " (TREAT, ETREAT, "
                       "HPAYMT, HOPERAT, PATRQT, PUBHLTH, HRESCH, HLEGAL, HSYSADMIN, HCOMPL)",
                near ? near : "", near ? "'?" : "");
}

/* --- receipts --- */

enum err tool_receipt_begin(struct tool *t)
{
    return receipt_files_open(&t->receipts, option_text(t->line, "receipt"), &t->failure);
}

static void say_receipt_lost(struct tool *t, const struct failure *why)
{
    output_message(&t->output, "the receipt could not be kept: %s", why->text);
}

/* What was kept is of an earlier entry of this run than the one that comes now. */
static void set_receipt_aside(struct tool *t)
{
    struct failure why = {0};
    if (receipt_files_next(&t->receipts, &why) != OK) say_receipt_lost(t, &why);
}

void tool_receipt_keep(struct tool *t, uint64_t index, struct bytes receipt)
{
    struct failure why = {0};
    if (receipt_files_keep(&t->receipts, index, receipt, &why) != OK) say_receipt_lost(t, &why);
}

int tool_receipt_end(struct tool *t, int code)
{
    struct failure why = {0};
    struct receipt_files *r = &t->receipts;
    if (r->place == RECEIPT_NOWHERE) return code;
    if (receipt_files_close(r, &why) != OK) say_receipt_lost(t, &why);
    if (code != EXIT_DONE) return code;
    if (r->failed) return EXIT_FAILED;
    if (r->kept > 0) return code;
    output_message(&t->output, "this made no entry in the ledger, so there is no receipt");
    return EXIT_USAGE;
}

/* --- submitting --- */

/* Whether an approved operation has rows to give. */
static bool is_query(enum action action)
{
    return action == ACTION_USER_SEARCH || action == ACTION_TEAM_LIST || action == ACTION_RECORD_READ ||
           action == ACTION_RECORD_HISTORY || action == ACTION_RECORD_LIST || action == ACTION_LOG_QUERY ||
           action == ACTION_POLICY_SHOW;
}

/* A new user's id that nobody chose is their key's. */
static bool id_of_given_key(const struct command_line *line)
{
    return strcmp(line->command->name, "user add") == 0 && option_given(line, "key") && !option_given(line, "id");
}

/* What the one who was denied can do, where it isn't plain; "" otherwise. Follows the reason and the entry. */
static const char *way_out(const struct command_line *line, enum action action, unsigned reason)
{
    bool of_user = action == ACTION_USER_CREATE || action == ACTION_USER_UPDATE || action == ACTION_USER_DISABLE;
    bool of_record = action == ACTION_RECORD_CREATE || action == ACTION_RECORD_READ || action == ACTION_RECORD_UPDATE ||
                     action == ACTION_RECORD_DELETE || action == ACTION_RECORD_HISTORY || action == ACTION_RECORD_LIST;
    if (reason == REASON_SCOPE && of_user)
        return "; it may be for your own hospital only, written as 'whoami' shows it";
    if (reason == REASON_SCOPE && of_record) return "; you may have to be in the patient's team first ('team add')";
    if (reason == REASON_UNKNOWN_ALARM || reason == REASON_ALARM_CLOSED)
        return "; 'consilium alarm list --all' shows them";
    if (reason == REASON_RECORD_DELETED && action == ACTION_RECORD_READ)
        return "; its versions stay: 'consilium record history' lists them, 'record show --version N' opens one";
    if (reason == REASON_UNKNOWN_ROLE) return "; 'consilium policy show' lists the roles";
    if (reason == REASON_USER_EXISTS && id_of_given_key(line))
        return "; without --id it comes from the key, so this key has its user";
    return "";
}

static enum err check_outcome(struct tool *t, const struct outcome *o, enum action action)
{
    if (o->code != OK)
        return fail(&t->failure, o->code, "%s was refused: %s", action_name(action), err_text(o->code));
    if (o->decision == DECISION_APPROVED) return OK;
    return fail(&t->failure, err_of_reason(o->reason), "%s was denied: %s (entry %llu)%s", action_name(action),
                reason_text((enum reason)o->reason), (unsigned long long)o->index,
                way_out(t->line, action, o->reason));
}

enum err tool_submit(struct tool *t, struct submission *out, const struct draft *draft)
{
    enum err e = tool_cluster(t);
    if (e == OK) e = tool_signer(t);
    for (int tries = 0; e == OK && tries < 2; tries++) {
        submission_free(out);
        set_receipt_aside(t);
        e = submit(out, &t->cluster, &t->signer, draft, 1, &t->failure);
        if (e == OK) tool_receipt_keep(t, out->outcomes[0].index, buffer_bytes(&out->outcomes[0].receipt));
        if (e == OK) e = check_outcome(t, &out->outcomes[0], draft->action);
        if (!is_query(draft->action) || out->outcomes[0].answer.size > 0) break;
    }
    if (e == OK && is_query(draft->action) && out->outcomes[0].answer.size == 0)
        e = fail(&t->failure, ERR_CLOSED, "entry %llu was recorded, but its answer was lost on the way",
                 (unsigned long long)out->outcomes[0].index);
    output_progress_end(&t->output);
    return e;
}

/* --- results --- */

int tool_done(struct tool *t, const struct submission *s, const struct column *columns, size_t count, json_t *more)
{
    struct column all[16] = {0};
    json_t *object = more ? more : json_object();
    CHECK(count + 2 <= sizeof all / sizeof all[0]);
    for (size_t i = 0; i < count; i++)
        all[i] = columns[i];
    all[count] = (struct column){"entry", "entry", COLUMN_NUMBER};
    all[count + 1] = (struct column){"entry_time", "at", COLUMN_TIME};
    json_object_set_new(object, "entry", json_integer((json_int_t)s->outcomes[0].index));
    json_object_set_new(object, "entry_time", json_time(s->outcomes[0].time_ms));
    output_fields(&t->output, all, count + 2, object);
    return EXIT_DONE;
}

enum err tool_page(struct tool *t, uint32_t *limit, uint32_t otherwise, uint32_t most, struct buffer *cursor)
{
    uint64_t number;
    enum err e = option_number(&number, t->line, "limit", otherwise, 1, most, &t->failure);
    const char *hex = option_text(t->line, "cursor");
    *limit = (uint32_t)number;
    if (e != OK || !hex) return e;
    size_t size = strlen(hex) / 2;
    uint8_t *room = size && size <= LIMIT_CURSOR ? buffer_extend(cursor, size) : NULL;
    if (!room || hex_parse(room, size, hex) != OK)
        return fail(&t->failure, ERR_USAGE, "--cursor takes what an earlier page ended with");
    return OK;
}

void tool_page_mark(const struct tool *t, json_t *rows, struct bytes cursor, uint64_t left_out)
{
    char hex[2 * LIMIT_CURSOR + 1];
    bool more = cursor.size > 0 && cursor.size <= LIMIT_CURSOR;
    if (!t->output.json || (!more && left_out == 0)) return;
    if (more) hex_format(hex, cursor.data, cursor.size);
    json_array_append_new(rows, json_pack("{s:o, s:I}", "next", more ? json_string(hex) : json_null(), "left_out",
                                          (json_int_t)left_out));
}

void tool_page_end(struct tool *t, struct bytes cursor, uint64_t left_out)
{
    char hex[2 * LIMIT_CURSOR + 1];
    if (t->output.json) return; /* its reader has the mark */
    if (left_out > 0)
        output_message(&t->output, "%llu more are above what your role may see", (unsigned long long)left_out);
    if (cursor.size == 0 || cursor.size > LIMIT_CURSOR) return;
    hex_format(hex, cursor.data, cursor.size);
    output_message(&t->output, "there is more: add --cursor %s", hex);
}
