/* team add, remove, list. */
#include "cli/commands.h"
#include "cli/people.h"
#include "cli/rows.h"
#include "cli/tool.h"
#include "ledger/arguments.h"

static int assign(struct tool *t, bool remove)
{
    static const struct column columns[] = {{"patient", "patient", COLUMN_TEXT}, {"user", "user", COLUMN_TEXT}};
    struct args_team_assign args = {.remove = remove};
    struct submission s = {0};
    struct buffer encoded = {0};
    enum purpose purpose;
    enum err e = tool_purpose(t, &purpose, PURPOSE_TREATMENT);
    if (e == OK) e = people_resolve(t, &args.patient, tool_operand(t, 0));
    if (e == OK) e = people_resolve(t, &args.user, tool_operand(t, 1));
    if (e == OK) {
        args_team_assign_encode(&encoded, &args);
        e = tool_submit(
            t, &s, &(struct draft){.action = ACTION_TEAM_ASSIGN, .args = buffer_bytes(&encoded), .purpose = purpose});
    }
    if (e == OK)
        tool_done(t, &s, columns, 2,
                  json_pack("{s:o, s:o}", "patient", json_id(&args.patient), "user", json_id(&args.user)));
    buffer_free(&encoded);
    submission_free(&s);
    return e == OK ? EXIT_DONE : tool_failed(t);
}

int command_team_add(struct tool *t) { return assign(t, false); }
int command_team_remove(struct tool *t) { return assign(t, true); }

static enum err print_team(struct tool *t, struct bytes bytes)
{
    static const struct column columns[] = {{"user", "USER", COLUMN_TEXT}, {"role", "ROLE", COLUMN_TEXT},
                                            {"hospital", "HOSPITAL", COLUMN_TEXT}, {"since", "SINCE", COLUMN_TIME}};
    struct answer answer;
    json_t *rows = json_array();
    enum err e = answer_open(&answer, bytes, LIMIT_ROWS);
    for (uint32_t i = 0; e == OK && i < answer.count; i++) {
        struct team_row_view row;
        team_row_read(&row, &answer.rows);
        e = answer.rows.error;
        if (e == OK) json_array_append_new(rows, team_row_json(&row));
    }
    if (e != OK) {
        json_decref(rows);
        return fail(&t->failure, e, "the node's answer can't be read: %s", err_text(e));
    }
    output_rows(&t->output, columns, sizeof columns / sizeof columns[0], rows, "the patient has no team");
    return OK;
}

int command_team_list(struct tool *t)
{
    struct args_team_list args;
    struct submission s = {0};
    struct buffer encoded = {0};
    enum err e = people_resolve(t, &args.patient, tool_operand(t, 0));
    if (e == OK) {
        args_team_list_encode(&encoded, &args);
        e = tool_submit(
            t, &s,
            &(struct draft){.action = ACTION_TEAM_LIST, .args = buffer_bytes(&encoded), .purpose = PURPOSE_TREATMENT});
    }
    if (e == OK) e = print_team(t, buffer_bytes(&s.outcomes[0].answer));
    buffer_free(&encoded);
    submission_free(&s);
    return e == OK ? EXIT_DONE : tool_failed(t);
}
