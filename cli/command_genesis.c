/* genesis, genesis show, node keys: what needs no connection. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "cli/commands.h"
#include "cli/default_policy.h"
#include "cli/files.h"
#include "cli/tool.h"
#include "ledger/checkpoint.h"
#include "ledger/genesis.h"
#include "ledger/policy.h"

/* --- genesis --- */

/* The same file twice, or a copy of it: a slip that the rules below would call a key used twice. */
static enum err check_new(struct tool *t, const struct genesis *g, const char *file)
{
    const struct descriptor *d = &g->members[g->member_count];
    for (uint32_t i = 0; i < g->member_count; i++)
        if (id_equal(&g->members[i].id, &d->id))
            return fail(&t->failure, ERR_USAGE, "%s is the descriptor of %s, which is a member already", file,
                        d->name);
    return OK;
}

static enum err take_members(struct tool *t, struct genesis *g)
{
    size_t at = 0;
    for (const char *file; (file = option_next(t->line, "member", &at)) != NULL; g->member_count++) {
        if (g->member_count == LIMIT_NODES)
            return fail(&t->failure, ERR_USAGE, "a cluster has at most %d nodes", LIMIT_NODES);
        struct buffer line = {0};
        struct failure why = {0};
        enum err e = file_read(&line, file, 4 * KIB, &t->failure);
        if (e == OK) e = descriptor_parse(&g->members[g->member_count], buffer_bytes(&line), &why);
        buffer_free(&line);
        if (why.code != OK) fail(&t->failure, e, "%s is not a node's descriptor: %s", file, why.text);
        if (e == OK) e = check_new(t, g, file);
        if (e != OK) return e;
    }
    return OK;
}

static enum err take_admins(struct tool *t, struct genesis *g)
{
    size_t at = 0;
    for (const char *file; (file = option_next(t->line, "admin", &at)) != NULL; g->admin_count++) {
        if (g->admin_count == LIMIT_ADMINS)
            return fail(&t->failure, ERR_USAGE, "there are at most %d first administrators", LIMIT_ADMINS);
        struct genesis_admin *admin = &g->admins[g->admin_count];
        enum err e = public_key_read(&admin->key, file, &t->failure);
        if (e != OK) return e;
        admin->id = id_of_key(&admin->key);
        for (uint32_t i = 0; i < g->admin_count; i++)
            if (id_equal(&g->admins[i].id, &admin->id))
                return fail(&t->failure, ERR_USAGE, "%s is the key of an administrator who is named already", file);
    }
    return OK;
}

static enum err take_policy(struct tool *t, struct genesis *g, struct buffer *text)
{
    const char *file = option_text(t->line, "policy");
    struct policy *parsed = xcalloc(1, sizeof *parsed);
    struct failure why = {0};
    enum err e = OK;
    if (file)
        e = file_read(text, file, LIMIT_POLICY, &t->failure);
    else
        buffer_append_bytes(text, default_policy());
    if (e == OK) {
        e = policy_parse(parsed, buffer_bytes(text), &why);
        if (e != OK) fail(&t->failure, e, "%s: %s", file ? file : "the default policy", why.text);
    }
    free(parsed);
    g->policy = buffer_bytes(text);
    return e;
}

static enum err take_numbers(struct tool *t, struct genesis *g)
{
    uint64_t faulty = 0, approvals = 1;
    uint32_t usual = g->member_count >= 3 ? genesis_default_faulty(g->member_count) : 0;
    enum err e = option_number(&faulty, t->line, "faulty", usual, 0, LIMIT_NODES, &t->failure);
    if (e == OK) e = option_number(&approvals, t->line, "approvals", 1, 1, LIMIT_ADMINS, &t->failure);
    g->faulty = (uint32_t)faulty;
    g->approvals = (uint32_t)approvals;
    struct failure why = {0};
    if (e == OK && genesis_check_numbers(g, &why) != OK) e = fail(&t->failure, ERR_USAGE, "%s", why.text);
    return e;
}

/* n, b and k in plain words; ledger/genesis.h has the arithmetic. */
static void explain_numbers(struct buffer *out, const struct genesis *g)
{
    uint32_t n = g->member_count, b = g->faulty, k = g->quorum;
    buffer_printf(out, "%u nodes, of which %u may lie; %u must agree (n = %u, b = %u, k = %u).\n", n, b, k, n, b, k);
    buffer_printf(out, "- Nothing is acknowledged or opened without %u of the %u nodes. ", k, n);
    if (k < n)
        buffer_printf(out, "Up to %u may be down.\n", n - k);
    else
        buffer_append_text(out, "None may be down.\n");
    buffer_printf(
        out, "- Fewer than %u nodes together decrypt nothing. %u that conspire decrypt everything, silently.\n", k, k);
    if (b == 0)
        buffer_append_text(
            out, "- WARNING: this protects against crashes only. A single node that lies can have two halves\n"
                 "  of the cluster agree on different histories. Four nodes protect against one liar.\n");
    else
        buffer_printf(out,
                      "- Up to %u node%s may lie in any way without forging an operation or opening a record, and\n"
                      "  a history that forks is found, with the node that did it.\n",
                      b, b == 1 ? "" : "s");
    if (!genesis_live(n, b))
        buffer_printf(out, "- WARNING: when %u node%s silent or lying, nothing is released until they are back.\n", b,
                      b == 1 ? " is" : "s are");
    if (n == 3 && b == 0)
        buffer_append_text(out, "- With --faulty 1 three nodes are safe from a liar, but release nothing while one is "
                                "down.\n");
    if (n == 3) buffer_append_text(out, "- We recommend four nodes, of four hospitals.\n");
}

static json_t *genesis_json(const struct genesis *g)
{
    json_t *members = json_array(), *admins = json_array();
    for (uint32_t i = 0; i < g->member_count; i++) {
        const struct descriptor *d = &g->members[i];
        json_array_append_new(members, json_pack("{s:i, s:s, s:s, s:s, s:o, s:o}", "index", (int)i + 1, "name", d->name,
                                                 "hospital", d->hospital, "address", d->address, "id", json_id(&d->id),
                                                 "tls_pin", json_digest(&d->tls_pin)));
    }
    for (uint32_t i = 0; i < g->admin_count; i++)
        json_array_append_new(admins, json_id(&g->admins[i].id));
    return json_pack("{s:s, s:o, s:s, s:i, s:i, s:i, s:i, s:o, s:o}", "origin", g->origin, "cluster",
                     json_digest(&g->cluster), "checkpoint_origin", g->checkpoint_origin, "nodes", (int)g->member_count,
                     "faulty", (int)g->faulty, "quorum", (int)g->quorum, "approvals", (int)g->approvals, "members",
                     members, "administrators", admins);
}

static void print_genesis(struct tool *t, const struct genesis *g)
{
    static const struct column fields[] = {{"origin", "origin", COLUMN_TEXT},
                                           {"cluster", "cluster id", COLUMN_TEXT},
                                           {"checkpoint_origin", "checkpoints of", COLUMN_TEXT},
                                           {"administrators", "administrators", COLUMN_TEXT}};
    static const struct column columns[] = {{"index", "NODE", COLUMN_NUMBER}, {"name", "NAME", COLUMN_TEXT},
                                            {"hospital", "HOSPITAL", COLUMN_TEXT}, {"address", "ADDRESS", COLUMN_TEXT},
                                            {"id", "ID", COLUMN_TEXT}};
    json_t *o = genesis_json(g);
    CHECK(o != NULL);
    if (t->output.json) {
        output_json(&t->output, o);
        return;
    }
    json_t *members = json_incref(json_object_get(o, "members"));
    output_fields(&t->output, fields, sizeof fields / sizeof fields[0], o);
    putchar('\n');
    output_rows(&t->output, columns, sizeof columns / sizeof columns[0], members, NULL);
    struct buffer words = {0};
    explain_numbers(&words, g);
    printf("\n%.*s", (int)words.size, (const char *)words.data);
    buffer_free(&words);
}

static enum err write_genesis(struct tool *t, const struct genesis *g)
{
    struct buffer text = {0};
    struct genesis parsed;
    const char *path = option_text(t->line, "output");
    enum err e = genesis_format(&text, g, &t->failure);
    if (e == OK) e = file_write(path, buffer_bytes(&text), 0644, true, &t->failure);
    if (e == OK) e = genesis_parse(&parsed, buffer_bytes(&text), &t->failure);
    if (e == OK) {
        print_genesis(t, &parsed);
        output_message(&t->output,
                       "every operator compares the cluster id with the others', by another way than this file came");
    }
    buffer_free(&text);
    return e;
}

int command_genesis(struct tool *t)
{
    struct genesis *g = xcalloc(1, sizeof *g);
    struct buffer policy = {0};
    const char *origin = option_text(t->line, "origin");
    enum err e = OK;
    if (strlen(origin) > LIMIT_ORIGIN)
        e = fail(&t->failure, ERR_USAGE, "an origin has at most %d characters", LIMIT_ORIGIN);
    if (e == OK) snprintf(g->origin, sizeof g->origin, "%s", origin);
    if (e == OK) e = take_members(t, g);
    if (e == OK) e = take_admins(t, g);
    if (e == OK) e = take_numbers(t, g);
    if (e == OK) e = take_policy(t, g, &policy);
    if (e == OK) e = write_genesis(t, g);
    buffer_free(&policy);
    free(g);
    return e == OK ? EXIT_DONE : tool_failed(t);
}

/* --- genesis show, node keys --- */

int command_genesis_show(struct tool *t)
{
    struct buffer text = {0};
    struct genesis *g = xcalloc(1, sizeof *g);
    const char *path = t->line->operand_count ? tool_operand(t, 0) : t->settings.values[SETTING_CLUSTER];
    enum err e = path ? file_read(&text, path, LIMIT_GENESIS, &t->failure)
                      : fail(&t->failure, ERR_USAGE, "'genesis show' needs FILE, or --cluster FILE");
    if (e == OK) {
        struct failure why = {0};
        e = genesis_parse(g, buffer_bytes(&text), &why);
        if (e != OK) fail(&t->failure, e, "%s is not a genesis file: %s", path, why.text);
    }
    if (e == OK) print_genesis(t, g);
    if (e == OK && option_given(t->line, "with-policy") && !t->output.json) {
        putchar('\n');
        output_text(g->policy, true);
    }
    free(g);
    buffer_free(&text);
    return e == OK ? EXIT_DONE : tool_failed(t);
}

int command_node_keys(struct tool *t)
{
    struct cosigner cosigners[LIMIT_NODES];
    if (tool_cluster(t) != OK) return tool_failed(t);
    uint32_t count = cosigners_of_genesis(cosigners, &t->cluster.genesis);
    json_t *rows = json_array();
    for (uint32_t i = 0; i < count; i++) {
        struct buffer key = {0};
        cosigner_vkey(&key, &cosigners[i]);
        json_array_append_new(rows, json_text(buffer_bytes(&key)));
        buffer_free(&key);
    }
    if (t->output.json) {
        output_json(&t->output, rows);
        return EXIT_DONE;
    }
    /* One key a line and nothing else: other tools of C2SP read this. */
    for (uint32_t i = 0; i < count; i++)
        puts(json_string_value(json_array_get(rows, i)));
    json_decref(rows);
    return EXIT_DONE;
}
