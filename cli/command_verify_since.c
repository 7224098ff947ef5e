/* verify --since: today's ledger begins with the one that an older checkpoint signs.
 * Checkpoints and proofs are public, so anybody may do that. An auditor's leaves an entry first, as all that auditors
 * do: the operation is that of an export, of the entries that the older checkpoint covers, though none is pulled. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "cli/commands.h"
#include "cli/extension.h"
#include "cli/files.h"
#include "cli/ledger_node.h"

struct since {
    struct tool *t;
    const char *file;
    struct checkpoint old;
    struct export_pass pass;
    bool recorded; /* under an identity that may audit */
    uint32_t asked, proved, failed;
    struct checkpoint now; /* the largest one that is proved */
    json_t *nodes;
};

/* --- the report --- */

static void root_start(char out[static 17], const struct checkpoint *c) { hex_format(out, c->root.bytes, 8); }

static void print_node(const struct since *s, const char *name, const struct extension *x)
{
    char root[17];
    if (s->t->output.json) return;
    root_start(root, &x->now);
    if (x->verdict == AUDIT_FINE) {
        printf("%s: %" PRIu64 " entries, root %s...: extends it\n", name, x->now.size, root);
        return;
    }
    printf("%s: %s\n    ", name, audit_word(x->verdict));
    output_text(bytes_text(x->text), false); /* quotes what nodes sent */
    putchar('\n');
}

static json_t *checkpoint_json(const struct checkpoint *c)
{
    return c->size == 0 ? json_null() : json_pack("{s:I, s:o}", "size", (json_int_t)c->size, "root",
                                                  json_digest(&c->root));
}

static void add_node(struct since *s, const char *name, const struct extension *x)
{
    json_t *o = json_pack("{s:s, s:s, s:o, s:o}", "name", name, "verdict", audit_word(x->verdict), "now",
                          checkpoint_json(&x->now), "text", x->text[0] ? json_text(bytes_text(x->text)) : json_null());
    CHECK(o != NULL);
    json_array_append_new(s->nodes, o);
}

static void print_verdict(const struct since *s)
{
    bool one = s->asked == 1 && s->t->cluster.genesis.member_count > 1 && !s->t->cluster.via;
    if (s->proved > 0)
        printf("verdict: %s. The ledger of %" PRIu64 " entries that %u nodes co-signed begins with the %" PRIu64 " of "
               "%s%s\n",
               s->failed ? "FAILED" : "extends", s->now.size, s->t->cluster.genesis.quorum, s->old.size, s->file,
               s->failed ? ", but not every node shows that." : one ? "; one node's proof is enough." : ".");
    else if (s->failed > 0)
        printf("verdict: FAILED. No node proves that today's ledger extends the %" PRIu64 " entries of %s.\n",
               s->old.size,
               s->file);
    else
        puts("verdict: unknown. No node answered.");
    fflush(stdout);
    if (s->failed > 0)
        output_message(&s->t->output, "keep %s: it is evidence; 'verify --all' names the node and the entry", s->file);
}

static int report(struct since *s)
{
    const char *word = s->failed ? "failed" : s->proved ? "extends" : "unknown";
    output_progress_end(&s->t->output);
    if (s->t->output.json)
        output_json(&s->t->output,
                    json_pack("{s:s, s:o, s:o, s:o, s:O}", "verdict", word, "entry",
                              s->recorded ? json_integer((json_int_t)s->pass.index) : json_null(), "since",
                              checkpoint_json(&s->old), "now", checkpoint_json(&s->now), "nodes", s->nodes));
    else
        print_verdict(s);
    return s->failed ? EXIT_VERIFICATION : s->proved ? EXIT_DONE : EXIT_NO_QUORUM;
}

/* --- the entry --- */

static bool may_do_without(enum err e) { return e == ERR_DENIED || e == ERR_UNKNOWN_ACTOR; }

/* Who has no identity can't be recorded, and who has no right to export needs none here. */
static enum err record(struct since *s)
{
    struct tool *t = s->t;
    struct output *o = &t->output;
    if (!t->settings.values[SETTING_IDENTITY]) {
        output_message(o, "no identity is given, so this leaves no entry; it needs none");
        return OK;
    }
    s->pass.from = 0;
    s->pass.to = s->old.size;
    enum err e = tool_purpose(t, &s->pass.purpose, PURPOSE_AUDIT);
    if (e == OK) e = tool_signer(t);
    if (e != OK) return e;
    e = export_pass_make(&s->pass, &t->failure);
    s->recorded = e == OK;
    if (!may_do_without(e)) return e;
    output_message(o, "%s: this leaves no auditor's entry; it needs none", t->failure.text);
    t->failure = (struct failure){0};
    return OK;
}

/* --- asking --- */

static enum err ask_node(struct since *s, uint32_t member)
{
    struct ledger_node node;
    struct extension x;
    enum err e = ledger_node_open(&node, &s->pass, member, &s->t->failure);
    if (e == OK) {
        output_progress(&s->t->output, "asking %s ...", node.source.name);
        extension_check(&x, &node.source, &s->t->cluster.genesis, &s->old);
        output_progress_end(&s->t->output);
        s->asked++;
        s->proved += x.verdict == AUDIT_FINE;
        s->failed += audit_failed(x.verdict);
        if (x.verdict == AUDIT_FINE && x.now.size > s->now.size) s->now = x.now;
        print_node(s, node.source.name, &x);
        add_node(s, node.source.name, &x);
    }
    ledger_node_close(&node);
    return e;
}

/* One proof is enough, whoever gives it; with --all everybody is asked. */
static enum err ask_nodes(struct since *s)
{
    const struct cluster *c = &s->t->cluster;
    bool all = option_given(s->t->line, "all");
    enum err e = OK;
    if (c->via && !all) return ask_node(s, c->via);
    for (uint32_t m = 1; e == OK && m <= c->genesis.member_count && (all || s->proved == 0); m++) e = ask_node(s, m);
    return e;
}

static enum err read_old(struct since *s)
{
    struct buffer text = {0};
    struct failure why = {0};
    enum err e = file_read(&text, s->file, LIMIT_RECEIPT, &s->t->failure);
    if (e == OK && text.size == 0)
        e = fail(&s->t->failure, ERR_CHECKPOINT, "%s is empty, not what 'consilium checkpoint' prints", s->file);
    if (e == OK) {
        e = extension_read_old(&s->old, buffer_bytes(&text), &s->t->cluster.genesis, &why);
        if (e != OK) fail(&s->t->failure, e, "%s can't be relied on: %s", s->file, why.text);
    }
    buffer_free(&text);
    return e;
}

int command_verify_since(struct tool *t)
{
    struct since s = {.t = t, .file = option_text(t->line, "since"), .pass = {.tool = t}, .nodes = json_array()};
    enum err e = OK;
    if (option_given(t->line, "all") && option_given(t->line, "via"))
        e = fail(&t->failure, ERR_USAGE, "--all asks every node, --via only one; give one of them");
    if (e == OK) e = tool_cluster(t);
    if (e == OK) e = read_old(&s);
    if (e == OK) e = record(&s);
    if (e == OK) e = ask_nodes(&s);
    int code = e == OK ? report(&s) : tool_failed(t);
    json_decref(s.nodes);
    export_pass_free(&s.pass);
    return code;
}
