/* status --state-digest. */
#include <inttypes.h>
#include <stdio.h>

#include "cli/commands.h"
#include "cli/state_compare.h"

static void print_states(struct tool *t, const struct states_report *r)
{
    static const struct column columns[] = {{"name", "NODE", COLUMN_TEXT},
                                            {"hospital", "HOSPITAL", COLUMN_TEXT},
                                            {"digest_start", "DIGEST", COLUMN_TEXT},
                                            {"size", "ENTRIES", COLUMN_NUMBER},
                                            {"state", "STATE", COLUMN_VERDICT},
                                            {"differs_in", "DIFFERS IN", COLUMN_TEXT}};
    if (t->output.json) {
        output_json(&t->output, json_pack("{s:I, s:I, s:s, s:s, s:O}", "entry", (json_int_t)r->entry, "leaf",
                                          (json_int_t)r->leaf, "verdict", states_word(r), "text",
                                          (const char *)r->text.data, "nodes", r->nodes));
        return;
    }
    output_rows(&t->output, columns, sizeof columns / sizeof columns[0], json_incref(r->nodes), NULL);
    printf("\nstate at entry %" PRIu64 ": %s.\n", r->leaf ? r->leaf : r->entry, (const char *)r->text.data);
}

int command_state_digest(struct tool *t)
{
    struct states_report report;
    uint64_t wait_s;
    enum err e = option_number(&wait_s, t->line, "wait", STATES_WAIT_S, 1, 3600, &t->failure);
    if (e == OK) e = states_compare(&report, t, NULL, 0, wait_s);
    if (e != OK) return tool_failed(t);
    print_states(t, &report);
    int code = report.verdict == STATES_TOO_FEW ? EXIT_NO_QUORUM : EXIT_DONE;
    if (states_failed(&report)) code = EXIT_VERIFICATION;
    states_report_free(&report);
    return code;
}
