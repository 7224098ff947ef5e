/* evidence list, evidence show, evidence verify. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "cli/commands.h"
#include "cli/files.h"
#include "cli/ledger_node.h"
#include "ledger/evidence.h"

#define ID_SHOWN 16  /* hex digits of an id in tables */
#define ID_LEAST 8   /* that name one */

/* One piece, and which nodes keep it. */
struct piece {
    struct evidence evidence;
    struct digest id;
    struct buffer encoded;
    uint32_t kept_by; /* bits: member indexes */
};

struct collection {
    struct piece *pieces;
    uint32_t count;
    unsigned asked, answered;
};

static void collection_free(struct collection *c)
{
    for (uint32_t i = 0; i < c->count; i++)
        buffer_free(&c->pieces[i].encoded);
    free(c->pieces);
}

/* --- asking --- */

/* Checked here: a node's word proves nothing. */
static void add(struct tool *t, struct collection *c, uint32_t member, struct bytes encoded)
{
    struct evidence e;
    struct digest id;
    uint32_t bit = UINT32_C(1) << member;
    enum err code = evidence_open(&e, encoded, &t->cluster.genesis);
    if (code != OK) {
        output_message(&t->output, "%s showed evidence that proves nothing (%s)",
                       cluster_member_name(&t->cluster, member), err_text(code));
        return;
    }
    evidence_id(&id, encoded);
    for (uint32_t i = 0; i < c->count; i++)
        if (digest_equal(&c->pieces[i].id, &id)) {
            c->pieces[i].kept_by |= bit;
            return;
        }
    c->pieces = xrealloc(c->pieces, (c->count + 1) * sizeof *c->pieces);
    struct piece *p = &c->pieces[c->count++];
    *p = (struct piece){.evidence = e, .id = id, .kept_by = bit};
    buffer_append_bytes(&p->encoded, encoded);
    CHECK(!p->encoded.failed);
}

static enum err ask_one(struct tool *t, struct collection *c, struct export_pass *pass, uint32_t member)
{
    struct ledger_node n;
    struct bytes items[LIMIT_EVIDENCE];
    struct message_evidence_ok m = {0};
    c->asked++;
    enum err e = ledger_node_open(&n, pass, member, &t->failure);
    if (e == OK) e = ledger_node_evidence(&n, &m, items, LIMIT_EVIDENCE, &t->failure);
    if (e == OK) c->answered++;
    for (uint32_t i = 0; e == OK && i < m.count; i++)
        add(t, c, member, m.items[i]);
    ledger_node_close(&n);
    return e;
}

/* All nodes that answer, or the one of --via. */
static enum err collect(struct tool *t, struct collection *c)
{
    struct export_pass pass = {.tool = t, .purpose = PURPOSE_AUDIT};
    enum err e = tool_cluster(t);
    if (e == OK) e = export_pass_make(&pass, &t->failure);
    for (uint32_t i = 1; e == OK && i <= t->cluster.genesis.member_count; i++) {
        if (t->cluster.via && t->cluster.via != i) continue;
        enum err code = ask_one(t, c, &pass, i);
        if (code == ERR_DENIED || code == ERR_NOMEM || (code != OK && t->cluster.via)) e = code;
        else if (code != OK) output_message(&t->output, "not asked: %s", t->failure.text);
    }
    export_pass_free(&pass);
    if (e == OK && c->answered == 0) e = fail(&t->failure, ERR_UNREACHABLE, "none of %u nodes answered", c->asked);
    return e;
}

/* --- showing --- */

static json_t *statement_json(const struct statement *s)
{
    json_t *o = json_pack("{s:o}", s->kind == STATEMENT_BLOCK || s->kind == STATEMENT_COMMIT ? "block" : "root",
                          json_digest(&s->hash));
    if (s->kind != STATEMENT_COSIGNED) {
        json_object_set_new(o, "term", json_integer((json_int_t)s->term));
        json_object_set_new(o, "index", json_integer((json_int_t)s->index));
    }
    if (s->kind == STATEMENT_TELL || s->kind == STATEMENT_COSIGNED)
        json_object_set_new(o, "size", json_integer((json_int_t)s->size));
    if (s->kind == STATEMENT_COSIGNED) json_object_set_new(o, "time", json_time(s->time_s * 1000));
    return o;
}

static json_t *evidence_json(const struct tool *t, const struct evidence *e, const struct digest *id)
{
    const struct descriptor *member = genesis_member(&t->cluster.genesis, e->signer);
    enum evidence_kind kind = evidence_kind(e);
    return json_pack("{s:o, s:s, s:i, s:s, s:s, s:I, s:o, s:o}", "id", json_digest(id), "node", member->name, "member",
                     (int)e->signer, "kind", evidence_kind_text(kind), "meaning", evidence_kind_meaning(kind), "place",
                     (json_int_t)evidence_place(e), "first", statement_json(&e->first), "second",
                     statement_json(&e->second));
}

static void add_keepers(const struct tool *t, json_t *row, uint32_t kept_by)
{
    struct buffer text = {0};
    char start[ID_SHOWN + 1];
    snprintf(start, sizeof start, "%.*s", ID_SHOWN, json_string_value(json_object_get(row, "id")));
    json_object_set_new(row, "id_start", json_string(start));
    for (uint32_t i = 1; i <= t->cluster.genesis.member_count; i++)
        if (kept_by >> i & 1)
            buffer_printf(&text, "%s%s", text.size ? ", " : "", genesis_member(&t->cluster.genesis, i)->name);
    json_object_set_new(row, "kept_by", json_text(buffer_bytes(&text)));
    buffer_free(&text);
}

int command_evidence_list(struct tool *t)
{
    static const struct column columns[] = {{"id_start", "ID", COLUMN_TEXT},     {"node", "NODE", COLUMN_TEXT},
                                            {"kind", "KIND", COLUMN_TEXT},       {"place", "AT", COLUMN_NUMBER},
                                            {"kept_by", "KEPT BY", COLUMN_TEXT}};
    struct collection c = {0};
    enum err e = collect(t, &c);
    if (e == OK) {
        json_t *rows = json_array();
        for (uint32_t i = 0; i < c.count; i++) {
            json_t *row = evidence_json(t, &c.pieces[i].evidence, &c.pieces[i].id);
            add_keepers(t, row, c.pieces[i].kept_by);
            json_array_append_new(rows, row);
        }
        output_rows(&t->output, columns, sizeof columns / sizeof columns[0], rows,
                    "no node keeps evidence against another");
    }
    collection_free(&c);
    return e == OK ? EXIT_DONE : tool_failed(t);
}

static void print_evidence(struct tool *t, const struct evidence *e, const struct digest *id)
{
    if (t->output.json) {
        output_json(&t->output, evidence_json(t, e, id));
        return;
    }
    struct buffer text = {0};
    char hex[65];
    hex_format(hex, id->bytes, sizeof id->bytes);
    evidence_explain(&text, e, &t->cluster.genesis);
    printf("%.*sNo honest node signs both. Id: %s\n", (int)text.size, (const char *)text.data, hex);
    buffer_free(&text);
}

/* --- one piece --- */

static enum err read_evidence(struct tool *t, struct evidence *e, struct digest *id, const char *file)
{
    struct buffer text = {0}, encoded = {0};
    enum err code = tool_cluster(t);
    if (code == OK) code = file_read(&text, file, EVIDENCE_TEXT, &t->failure);
    if (code == ERR_TOO_LARGE) code = fail(&t->failure, ERR_BAD_PROOF, "%s is too large to be evidence", file);
    if (code == OK && text.size == 0) code = fail(&t->failure, ERR_BAD_PROOF, "%s is empty, and proves nothing", file);
    if (code == OK) {
        code = evidence_parse(&encoded, buffer_bytes(&text));
        if (code == OK) code = evidence_open(e, buffer_bytes(&encoded), &t->cluster.genesis);
        if (code != OK)
            code = fail(&t->failure, ERR_BAD_PROOF, "%s proves nothing: %s", file,
                        code == ERR_INVALID  ? "its statements don't contradict each other"
                        : code == ERR_SYNTAX ? "it is no evidence file, or is damaged"
                                             : err_text(code));
    }
    if (code == OK) evidence_id(id, buffer_bytes(&encoded));
    buffer_free(&text);
    buffer_free(&encoded);
    return code;
}

int command_evidence_verify(struct tool *t)
{
    struct evidence evidence;
    struct digest id;
    enum err e = read_evidence(t, &evidence, &id, tool_operand(t, 0));
    if (e != OK) return tool_failed(t);
    print_evidence(t, &evidence, &id);
    if (!t->output.json) {
        const struct descriptor *member = genesis_member(&t->cluster.genesis, evidence.signer);
        printf("verdict: proved. Both signatures are those of %s, and they contradict each other: it %s.\n",
               member->name, evidence_kind_meaning(evidence_kind(&evidence)));
    }
    return EXIT_DONE;
}

static bool is_id(const char *text)
{
    size_t size = strlen(text);
    return size >= ID_LEAST && size <= 64 && strspn(text, "0123456789abcdef") == size;
}

static enum err find(struct tool *t, const struct piece **out, const struct collection *c, const char *id)
{
    *out = NULL;
    for (uint32_t i = 0; i < c->count; i++) {
        char hex[65];
        hex_format(hex, c->pieces[i].id.bytes, 32);
        if (strncmp(hex, id, strlen(id)) != 0) continue;
        if (*out) return fail(&t->failure, ERR_USAGE, "%s begins several ids: give more digits", id);
        *out = &c->pieces[i];
    }
    return *out ? OK : fail(&t->failure, ERR_NOT_FOUND, "no node that was asked keeps evidence with the id %s", id);
}

static enum err write_evidence(struct tool *t, const struct evidence *e, const char *file)
{
    struct buffer text = {0};
    evidence_format(&text, e, &t->cluster.genesis);
    enum err code = text.failed ? fail(&t->failure, ERR_NOMEM, "no memory")
                                : file_write(file, buffer_bytes(&text), 0644, true, &t->failure);
    if (code == OK) output_message(&t->output, "written to %s", file);
    buffer_free(&text);
    return code;
}

static enum err show(struct tool *t, const struct evidence *e, const struct digest *id)
{
    const char *file = option_text(t->line, "output");
    enum err code = file ? write_evidence(t, e, file) : OK;
    if (code == OK) print_evidence(t, e, id);
    return code;
}

int command_evidence_show(struct tool *t)
{
    const char *what = tool_operand(t, 0);
    struct collection c = {0};
    struct evidence evidence;
    struct digest id;
    const struct piece *piece = NULL;
    enum err e;
    if (is_id(what)) {
        e = collect(t, &c);
        if (e == OK) e = find(t, &piece, &c, what);
        if (e == OK) e = show(t, &piece->evidence, &piece->id);
    } else {
        e = read_evidence(t, &evidence, &id, what);
        if (e == OK) e = show(t, &evidence, &id);
    }
    collection_free(&c);
    return e == OK ? EXIT_DONE : tool_failed(t);
}
