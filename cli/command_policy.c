/* policy show, policy set. */
#include <stdlib.h>

#include "base/check.h"
#include "base/pack.h"
#include "cli/commands.h"
#include "cli/files.h"
#include "cli/rows.h"
#include "cli/tool.h"
#include "ledger/arguments.h"
#include "ledger/policy.h"

static enum err print_policy(struct tool *t, struct bytes bytes)
{
    struct answer answer;
    enum err e = answer_open(&answer, bytes, 1);
    if (e == OK && answer.count != 1) e = ERR_MALFORMED;
    if (e == OK) unpack_array_of(&answer.rows, 2);
    uint64_t index = e == OK ? unpack_uint(&answer.rows) : 0;
    struct bytes text = e == OK ? unpack_bin(&answer.rows, LIMIT_POLICY) : (struct bytes){0};
    if (e == OK) e = answer.rows.error;
    if (e != OK) return fail(&t->failure, e, "the node's answer can't be read: %s", err_text(e));
    if (t->output.json) {
        output_json(&t->output, json_pack("{s:I, s:o}", "index", (json_int_t)index, "policy", json_text(text)));
        return OK;
    }
    output_message(&t->output, "the policy since entry %llu", (unsigned long long)index);
    output_text(text, true);
    return OK;
}

int command_policy_show(struct tool *t)
{
    struct submission s = {0};
    struct buffer args = {0};
    pack_array(&args, 0);
    enum err e = tool_submit(
        t, &s,
        &(struct draft){.action = ACTION_POLICY_SHOW, .args = buffer_bytes(&args), .purpose = PURPOSE_OPERATIONS});
    if (e == OK) e = print_policy(t, buffer_bytes(&s.outcomes[0].answer));
    buffer_free(&args);
    submission_free(&s);
    return e == OK ? EXIT_DONE : tool_failed(t);
}

/* Checked here too: a slip should cost no entry in the ledger. */
static enum err check_policy(struct tool *t, const char *file, struct bytes text)
{
    struct policy *policy = xcalloc(1, sizeof *policy);
    struct failure why = {0};
    enum err e = policy_parse(policy, text, &why);
    free(policy);
    return e == OK ? OK : fail(&t->failure, e, "%s: %s", file, why.text);
}

int command_policy_set(struct tool *t)
{
    const char *file = tool_operand(t, 0);
    struct submission s = {0};
    struct buffer args = {0}, text = {0};
    enum err e = file_read(&text, file, LIMIT_POLICY, &t->failure);
    if (e == OK) e = check_policy(t, file, buffer_bytes(&text));
    if (e == OK) e = tool_confirm(t, "Set this policy for the whole cluster?");
    if (e == OK) {
        args_policy_set_encode(&args, &(struct args_policy_set){buffer_bytes(&text)});
        e = tool_submit(t, &s,
                        &(struct draft){.action = ACTION_POLICY_SET,
                                        .args = buffer_bytes(&args),
                                        .purpose = PURPOSE_ADMINISTRATION});
    }
    if (e == OK) tool_done(t, &s, NULL, 0, NULL);
    buffer_free(&args);
    buffer_free(&text);
    submission_free(&s);
    return e == OK ? EXIT_DONE : tool_failed(t);
}
