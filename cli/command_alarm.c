/* alarm list, alarm clear. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "cli/alarms.h"
#include "cli/commands.h"
#include "cli/tool.h"
#include "ledger/arguments.h"

#define PAGES_MOST 4096 /* of LIMIT_ALARMS: a node that never ends would keep us for ever */

/* --- alarm list --- */

/* What the node found and has not put into the ledger so far has no entry. */
static void add_findings(json_t *rows, const struct cluster *c)
{
    for (uint32_t i = 0; i < c->notice.count; i++)
        if (c->notice.alarms[i].index == 0)
            json_array_append_new(rows, alarm_json(c, &c->notice.alarms[i]));
}

/* One page; *before: where the next one begins. */
static enum err add_page(struct tool *t, json_t *rows, struct message_alarm *alarms, uint64_t *before, bool all,
                         bool *more)
{
    struct buffer question = {0};
    struct frame answer;
    struct message_alarms_ok m;
    message_alarms_encode(&question, &(struct message_alarms){.all = all, .before = *before, .max = LIMIT_ALARMS});
    enum err e = cluster_ask(&t->cluster, &answer, MESSAGE_ALARMS, buffer_bytes(&question), MESSAGE_ALARMS_OK,
                             &t->failure);
    buffer_free(&question);
    if (e != OK) return e;
    e = message_alarms_ok_decode(&m, alarms, answer.body);
    for (uint32_t i = 0; e == OK && i < m.count; i++) {
        if (all && m.alarms[i].index >= *before) e = ERR_MALFORMED; /* newest first */
        if (all) *before = m.alarms[i].index;
        json_array_append_new(rows, alarm_json(&t->cluster, &m.alarms[i]));
    }
    if (e != OK) return fail(&t->failure, e, "the node's alarms can't be read: %s", err_text(e));
    *more = m.more && m.count > 0;
    return OK;
}

static enum err collect(struct tool *t, json_t *rows, bool all)
{
    struct message_alarm *alarms = xcalloc(LIMIT_ALARMS, sizeof *alarms);
    uint64_t before = UINT64_MAX;
    bool more = true;
    enum err e = tool_cluster(t);
    if (e == OK) e = cluster_connect(&t->cluster, &t->failure);
    if (e == OK) add_findings(rows, &t->cluster);
    for (unsigned page = 0; e == OK && more && page < PAGES_MOST; page++) {
        e = add_page(t, rows, alarms, &before, all, &more);
        if (!all) break;
    }
    if (e == OK && more)
        output_message(&t->output, all ? "there are more: not all of them are shown"
                                       : "more are open; --all lists every one");
    free(alarms);
    return e;
}

int command_alarm_list(struct tool *t)
{
    static const struct column columns[] = {
        {"entry", "ENTRY", COLUMN_NUMBER}, {"node", "NODE", COLUMN_TEXT},      {"kind", "KIND", COLUMN_TEXT},
        {"first", "FIRST", COLUMN_NUMBER}, {"last", "LAST", COLUMN_NUMBER},    {"since", "SINCE", COLUMN_TIME},
        {"said_by", "SAID BY", COLUMN_TEXT},     {"counts", "COUNTS", COLUMN_YES},
        {"status", "STATUS", COLUMN_TEXT},       {"closed", "CLOSED", COLUMN_NUMBER},  {"told", "TOLD", COLUMN_TIME},
        {"told_by", "TOLD BY", COLUMN_TEXT}};
    bool all = option_given(t->line, "all");
    json_t *rows = json_array();
    enum err e = collect(t, rows, all);
    if (e != OK) {
        json_decref(rows);
        return tool_failed(t);
    }
    output_rows(&t->output, columns, sizeof columns / sizeof columns[0], rows,
                all ? "no alarm was ever raised" : "no alarm is open");
    return EXIT_DONE;
}

/* --- alarm clear --- */

static enum err take_index(struct tool *t, uint64_t *index)
{
    const char *text = tool_operand(t, 0);
    char *end;
    *index = strtoull(text, &end, 10);
    bool good = *text >= '0' && *text <= '9' && *end == '\0' && strlen(text) <= 19;
    return good ? OK : fail(&t->failure, ERR_USAGE, "INDEX is the alarm's entry, as 'consilium alarm list' shows it, "
                                                    "not '%s'", text);
}

int command_alarm_clear(struct tool *t)
{
    static const struct column columns[] = {{"alarm", "cleared alarm", COLUMN_NUMBER}};
    struct args_alarm_clear args = {0};
    struct submission s = {0};
    struct buffer encoded = {0};
    const char *note = option_text(t->line, "note");
    enum err e = take_index(t, &args.index);
    if (e == OK && note && strlen(note) > LIMIT_NOTE)
        e = fail(&t->failure, ERR_USAGE, "a note has at most %u bytes", LIMIT_NOTE);
    if (e == OK) {
        args_alarm_clear_encode(&encoded, &args);
        e = tool_submit(t, &s,
                        &(struct draft){.action = ACTION_ALARM_CLEAR,
                                        .args = buffer_bytes(&encoded),
                                        .purpose = PURPOSE_OPERATIONS,
                                        .attached = note != NULL,
                                        .attachment = note ? bytes_text(note) : (struct bytes){0}});
    }
    if (e == OK) tool_done(t, &s, columns, 1, json_pack("{s:I}", "alarm", (json_int_t)args.index));
    buffer_free(&encoded);
    submission_free(&s);
    return e == OK ? EXIT_DONE : tool_failed(t);
}
