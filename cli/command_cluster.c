/* status, checkpoint, lookup. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "cli/alarms.h"
#include "cli/commands.h"
#include "cli/outlook.h"
#include "cli/profile.h"
#include "cli/receipt.h"
#include "cli/tool.h"
#include "ledger/checkpoint.h"

/* --- status --- */

/* Who the members are says the genesis file; a node, only how they are. */
static json_t *member_json(const struct message_member *m, const struct genesis *genesis, uint64_t ledger_end)
{
    const struct descriptor *d = genesis_member(genesis, m->member);
    char root[17];
    hex_format(root, m->root.bytes, 8);
    uint64_t lag = ledger_end > m->ledger_size ? ledger_end - m->ledger_size : 0;
    struct bytes state = m->reachable ? m->state : bytes_text("unreachable");
    json_t *o =
        json_pack("{s:i, s:s, s:s, s:b, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:s, s:o, s:b, s:o}", "node",
                  (int)m->member, "name", d->name, "hospital", d->hospital, "reachable", m->reachable, "state",
                  json_text(state), "term", (json_int_t)m->term, "last", (json_int_t)m->last, "applied",
                  (json_int_t)m->applied, "cosigned", (json_int_t)m->cosigned_size, "witnessed",
                  (json_int_t)m->witnessed_size, "size", (json_int_t)m->ledger_size, "lag", (json_int_t)lag, "root",
                  json_digest(&m->root), "root_start", root, "version", json_text(m->version), "leads",
                  m->reachable && m->leads, "time", json_time(m->time_ms));
    CHECK(o != NULL);
    return o;
}

static json_t *status_json(const struct cluster *c, const struct message_status_ok *m)
{
    json_t *rows = json_array(), *counters = json_object();
    uint64_t end = 0;
    for (uint32_t i = 0; i < m->member_count; i++)
        if (m->members[i].reachable && m->members[i].ledger_size > end) end = m->members[i].ledger_size;
    for (uint32_t i = 0; i < m->member_count; i++) {
        json_t *row = member_json(&m->members[i], &c->genesis, end);
        json_object_set_new(row, "clock_ahead_ms", json_integer(outlook_clock_ahead(m, i)));
        alarms_integrity(row, c, &m->members[i]);
        json_array_append_new(rows, row);
    }
    for (uint32_t i = 0; i < m->counter_count; i++) {
        char name[LIMIT_NAME + 1];
        snprintf(name, sizeof name, "%.*s", (int)m->counters[i].name.size, (const char *)m->counters[i].name.data);
        json_object_set_new(counters, name, json_integer((json_int_t)m->counters[i].value));
    }
    struct outlook o = outlook_of(rows);
    return json_pack("{s:s, s:s, s:i, s:i, s:i, s:i, s:i, s:b, s:b, s:o, s:o, s:s, s:s, s:o}", "asked",
                     cluster_member_name(c, c->member), "origin", c->genesis.origin, "nodes",
                     (int)c->genesis.member_count, "faulty", (int)c->genesis.faulty, "quorum", (int)c->genesis.quorum,
                     "reachable", (int)o.reachable, "ready", (int)o.opening, "opening_possible",
                     outlook_opens(&o, &c->genesis), "recording_possible", outlook_records(&o, &c->genesis), "members",
                     rows, "counters", counters, "state", c->state, "warning", c->warning, "alarms",
                     alarms_open_json(c));
}

static void say_what_is_possible(struct tool *t, const json_t *status)
{
    const struct genesis *g = &t->cluster.genesis;
    const json_t *members = json_object_get(status, "members");
    struct outlook o = outlook_of(members);
    struct buffer text = {0};
    outlook_text(&text, &o, g);
    outlook_clocks(&text, members);
    printf("\n%.*s", (int)text.size, (const char *)text.data);
    buffer_free(&text);
    if (g->faulty == 0)
        puts("Crash-safe only (b = 0): a single node that lies is not caught; see 'consilium genesis show'.");
    if (strcmp(t->cluster.state, "ready") != 0)
        output_message(&t->output, "%s is not ready: %s", cluster_member_name(&t->cluster, t->cluster.member),
                       t->cluster.state);
    if (t->cluster.warning[0]) output_message(&t->output, "%s", t->cluster.warning);
}

/* How far the node that was asked is with re-reading its store. */
static void say_scrub(struct tool *t, const json_t *status)
{
    const json_t *counters = json_object_get(status, "counters");
    const json_t *passes = json_object_get(counters, "scrub_passes");
    const char *name = cluster_member_name(&t->cluster, t->cluster.member);
    char ended[CLOCK_TEXT_SIZE] = "none so far";
    if (!passes) return; /* an older node */
    if (json_integer_value(json_object_get(counters, "scrub_rate_kib")) == 0) {
        printf("%s does not check its store by itself (scrub-rate = 0).\n", name);
        return;
    }
    json_int_t ended_ms = json_integer_value(json_object_get(counters, "scrub_finished_ms"));
    json_int_t permille = json_integer_value(json_object_get(counters, "scrub_permille"));
    if (ended_ms > 0) clock_format(ended, (uint64_t)ended_ms);
    printf("%s re-reads its whole store: passes so far %lld (last: %s), now at %lld.%lld %%; damaged values found "
           "%lld, repaired %lld.\n", name, (long long)json_integer_value(passes), ended, (long long)(permille / 10),
           (long long)(permille % 10), (long long)json_integer_value(json_object_get(counters, "scrub_found")),
           (long long)json_integer_value(json_object_get(counters, "scrub_repaired")));
}

int command_status(struct tool *t)
{
    static const struct column columns[] = {
        {"name", "NODE", COLUMN_TEXT},         {"hospital", "HOSPITAL", COLUMN_TEXT},
        {"state", "STATE", COLUMN_VERDICT},    {"integrity", "INTEGRITY", COLUMN_VERDICT},
        {"leads", "LEADS", COLUMN_YES},
        {"term", "TERM", COLUMN_NUMBER},       {"last", "LAST", COLUMN_NUMBER},
        {"applied", "APPLIED", COLUMN_NUMBER}, {"witnessed", "WITNESSED", COLUMN_NUMBER},
        {"size", "LEDGER", COLUMN_NUMBER},     {"lag", "LAG", COLUMN_NUMBER},
        {"root_start", "ROOT", COLUMN_TEXT},   {"version", "VERSION", COLUMN_TEXT}};
    if (option_given(t->line, "state-digest")) return command_state_digest(t);
    struct message_status_ok *m = xcalloc(1, sizeof *m);
    enum err e = tool_cluster(t);
    if (e == OK) e = cluster_status(&t->cluster, m, &t->failure);
    int code = EXIT_DONE;
    if (e == OK) {
        json_t *status = status_json(&t->cluster, m);
        CHECK(status != NULL);
        struct outlook o = outlook_of(json_object_get(status, "members"));
        if (!outlook_opens(&o, &t->cluster.genesis)) code = EXIT_NO_QUORUM;
        if (t->output.json) {
            output_json(&t->output, status);
        } else {
            output_rows(&t->output, columns, sizeof columns / sizeof columns[0],
                        json_incref(json_object_get(status, "members")), NULL);
            say_what_is_possible(t, status);
            say_scrub(t, status);
            alarms_print_integrity(t, status);
            json_decref(status);
        }
    }
    free(m);
    return e == OK ? code : tool_failed(t);
}

/* --- checkpoint --- */

int command_checkpoint(struct tool *t)
{
    struct frame answer;
    struct message_note m;
    struct checkpoint checkpoint;
    char why[CHECKPOINT_WHY];
    struct buffer question = {0};
    message_empty_encode(&question);
    enum err e = tool_cluster(t);
    if (e == OK)
        e = cluster_ask(&t->cluster, &answer, MESSAGE_CHECKPOINT, buffer_bytes(&question), MESSAGE_NOTE, &t->failure);
    buffer_free(&question);
    if (e != OK) return tool_failed(t);
    output_progress_end(&t->output);
    e = message_note_decode(&m, answer.body);
    if (e == OK && m.note.size == 0)
        e = fail(&t->failure, ERR_NOT_WITNESSED, "there is no co-signed checkpoint yet");
    else if (e == OK) {
        e = checkpoint_verify(&checkpoint, m.note, &t->cluster.genesis);
        if (e != OK) checkpoint_explain(why, m.note, &t->cluster.genesis);
        if (e != OK) fail(&t->failure, e, "the checkpoint of %s does not verify: %s",
                          cluster_member_name(&t->cluster, t->cluster.member), why);
    } else {
        fail(&t->failure, e, "the node's answer can't be read: %s", err_text(e));
    }
    if (e != OK) return tool_failed(t);
    if (t->output.json)
        output_json(&t->output, json_pack("{s:s, s:I, s:o, s:o}", "origin", checkpoint.origin, "size",
                                          (json_int_t)checkpoint.size, "root", json_digest(&checkpoint.root), "note",
                                          json_text(m.note)));
    else
        fwrite(m.note.data, 1, m.note.size, stdout); /* exactly: it is what other tools of C2SP verify */
    return EXIT_DONE;
}

/* --- lookup --- */

/* The leaf must be of this request and of this identity: the node names only its index. */
static enum err prove_found(struct tool *t, struct leaf *leaf, const struct frame *answer, struct message_cosigned *m,
                            struct digest *hashes, const struct id *request)
{
    enum err e = message_cosigned_decode(m, hashes, LIMIT_PROOFS, answer->body);
    if (e == OK && m->count != 1) e = ERR_MALFORMED;
    if (e != OK) return fail(&t->failure, ERR_BAD_PROOF, "the node's receipt can't be read: %s", err_text(e));
    e = receipt_check_leaf(leaf, &t->cluster.genesis, m->note, m->proofs[0].leaf, m->proofs[0].hashes,
                           m->proofs[0].count, &t->failure);
    if (e != OK) return e;
    bool mine = leaf->genesis.size == 0 && id_equal(&leaf->operation.request_id, request) &&
                id_equal(&leaf->operation.actor.id, &t->signer.user) &&
                leaf_verify(leaf, &t->signer.public_key) == OK;
    return mine ? OK : fail(&t->failure, ERR_BAD_PROOF, "entry %" PRIu64 " is not this request", leaf->index);
}

/* A node proves entries to their actor only, and knows whose session this is by a
 * request of theirs: asking for one's own row is one. */
static enum err ask_as_myself(struct tool *t, struct frame *answer, uint64_t index)
{
    struct buffer question = {0};
    struct submission s = {0};
    struct user_row row;
    enum err e = ERR_UNAUTHORIZED;
    message_prove_encode(&question, &(struct message_prove){.count = 1, .leaves = {index}});
    /* Twice: a request that had to be sent again, to another node, makes nobody known there. */
    for (int tries = 0; e == ERR_UNAUTHORIZED && tries < 2; tries++) {
        submission_free(&s);
        e = profile_ask(t, &s, &row);
        if (e == OK)
            e = cluster_ask(&t->cluster, answer, MESSAGE_PROVE, buffer_bytes(&question), MESSAGE_COSIGNED, &t->failure);
    }
    submission_free(&s);
    buffer_free(&question);
    return e;
}

static enum err ask_proof(struct tool *t, json_t *result, uint64_t index, const struct id *request)
{
    struct frame answer;
    struct leaf leaf;
    struct message_cosigned *m = xcalloc(1, sizeof *m);
    struct digest *hashes = xcalloc(LIMIT_PROOFS, sizeof *hashes);
    enum err e = ask_as_myself(t, &answer, index);
    if (e == OK) e = prove_found(t, &leaf, &answer, m, hashes, request);
    if (e == OK) {
        struct buffer receipt = {0};
        receipt_format(&receipt, leaf.raw, leaf.index, m->proofs[0].hashes, m->proofs[0].count, m->note);
        tool_receipt_keep(t, leaf.index, buffer_bytes(&receipt));
        buffer_free(&receipt);
        json_object_set_new(result, "decision",
                            json_string(leaf.decision == DECISION_APPROVED ? "approved" : "denied"));
        json_object_set_new(result, "reason", json_string(reason_text((enum reason)leaf.reason)));
        json_object_set_new(result, "action", json_string(action_name((enum action)leaf.operation.action)));
        json_object_set_new(result, "time", json_time(leaf.time_ms));
    } else if (e == ERR_NOT_WITNESSED || e == ERR_TIMEOUT || e == ERR_NO_QUORUM) {
        fail(&t->failure, ERR_NOT_WITNESSED, "recorded at %" PRIu64 ", not yet co-signed", index);
    }
    free(hashes);
    free(m);
    return e;
}

/* What is too old is taken no more: that is sure once the ledger's own time, and not only the clock here, is past. */
static enum err fail_unsure(struct tool *t, uint64_t issued_at_ms)
{
    uint64_t end_ms = issued_at_ms + LIMIT_SKEW_MS, now_ms = clock_wall_ms();
    const char *so_far = "not recorded so far, and not sure yet that it won't be";
    if (now_ms < end_ms)
        return fail(&t->failure, ERR_NO_QUORUM, "%s: ask again in %" PRIu64 " s, five minutes after it was made",
                    so_far, (end_ms - now_ms + 999) / 1000);
    return fail(&t->failure, ERR_NO_QUORUM, "%s: ask again once another entry was recorded, whatever it is, and "
                "%" PRIu32 " nodes answer", so_far, t->cluster.genesis.faulty + 1);
}

static enum err lookup(struct tool *t, json_t *result)
{
    struct id request;
    struct found found;
    uint64_t issued_at_ms;
    const char *token = tool_operand(t, 0);
    if (request_token_parse(&issued_at_ms, &request, token) != OK)
        return fail(&t->failure, ERR_USAGE, "'%s' is no request token; they look like 1767225600000-abc...", token);
    enum err e = tool_cluster(t);
    if (e == OK) e = tool_signer(t);
    if (e == OK) e = submit_lookup(&found, &t->cluster, &t->signer, issued_at_ms, &request, &t->failure);
    if (e != OK) return e;
    switch (found.fate) {
    case FATE_RECORDED: break;
    case FATE_NOT_RECORDED:
        json_object_set_new(result, "fate", json_string("not recorded, and never will be: it is safe to do it again"));
        return OK;
    case FATE_UNKNOWN:
        return fail_unsure(t, issued_at_ms);
    }
    json_object_set_new(result, "fate", json_string("recorded"));
    json_object_set_new(result, "entry", json_integer((json_int_t)found.index));
    return ask_proof(t, result, found.index, &request);
}

int command_lookup(struct tool *t)
{
    static const struct column columns[] = {{"fate", "fate", COLUMN_TEXT},       {"action", "action", COLUMN_TEXT},
                                            {"decision", "decision", COLUMN_VERDICT}, {"reason", "reason", COLUMN_TEXT},
                                            {"entry", "entry", COLUMN_NUMBER},   {"time", "at", COLUMN_TIME}};
    json_t *result = json_object();
    if (lookup(t, result) != OK) {
        json_decref(result);
        return tool_failed(t);
    }
    output_fields(&t->output, columns, sizeof columns / sizeof columns[0], result);
    return EXIT_DONE;
}
