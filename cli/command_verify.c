/* verify: is what the nodes hold the ledger that they co-signed?
 *
 * One node's ledger is replayed from genesis into a private store, decision by
 * decision, up to a checkpoint that k nodes co-signed; with --all the others are
 * compared with it byte for byte. The checkpoint is kept, and the next verification
 * proves that the ledger goes on from it. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "cli/audit_content.h"
#include "cli/commands.h"
#include "cli/files.h"
#include "cli/ledger_node.h"
#include "cli/state_compare.h"
#include "cli/verify_alarms.h"

#define BAR_WIDTH 24

struct verifying {
    struct tool *t;
    bool all;
    struct export_pass pass;
    struct audit_known known;
    struct verifier *reference; /* a replayed ledger that is fine; NULL: none yet */
    struct buffer note;         /* its checkpoint */
    uint32_t count;             /* nodes that may be asked, in the order of their members' indexes */
    uint32_t start;             /* the one that is asked first */
    struct ledger_node *nodes;
    struct audit *audits;
    bool *asked;
    struct alarmed_node *alarmed;
    uint64_t compared;          /* attachments, of all nodes, that are what the ledger says */
    uint64_t states_wait_s;
    bool states_known;           /* --all */
    struct states_report states;
    struct failure states_why;   /* they were to be compared, and could not be */
};

/* --- the checkpoint of the last time --- */

static void load_seen(struct verifying *vf)
{
    struct cluster *c = &vf->t->cluster;
    char *path = cluster_cache_path(c, "checkpoint");
    struct buffer note = {0};
    if (path && file_read(&note, path, LIMIT_CHECKPOINT_NOTE, NULL) == OK &&
        checkpoint_verify(&vf->known.seen, buffer_bytes(&note), &c->genesis) != OK) {
        vf->known.seen = (struct checkpoint){.size = 0};
        output_message(&vf->t->output, "%s, from an earlier verification, is damaged and is not used", path);
    }
    buffer_free(&note);
    free(path);
}

/* Only of a ledger that is fine and goes on from the last one. */
static void save_seen(struct verifying *vf)
{
    struct failure why = {0};
    char *path = cluster_cache_path(&vf->t->cluster, "checkpoint");
    if (path && file_write(path, buffer_bytes(&vf->note), 0600, false, &why) != OK)
        output_message(&vf->t->output, "the checkpoint could not be kept for the next time: %s", why.text);
    free(path);
}

/* --- the nodes --- */

static void show_progress(void *data, const char *name, uint64_t checked, uint64_t size)
{
    struct verifying *vf = data;
    char bar[BAR_WIDTH + 1];
    unsigned full = size ? (unsigned)((double)checked * BAR_WIDTH / (double)size) : 0;
    memset(bar, '.', BAR_WIDTH);
    memset(bar, '#', full < BAR_WIDTH ? full : BAR_WIDTH);
    bar[BAR_WIDTH] = '\0';
    output_progress(&vf->t->output, "%s: [%s] checked %" PRIu64 " of %" PRIu64 " entries", name, bar, checked, size);
}

/* All, or the one of --via. The one that took the export is asked first. */
static enum err open_nodes(struct verifying *vf)
{
    const struct cluster *c = &vf->t->cluster;
    uint32_t n = c->via ? 1 : c->genesis.member_count;
    enum err e = OK;
    vf->start = c->via ? 0 : c->member - 1;
    vf->nodes = xcalloc(n, sizeof *vf->nodes);
    vf->audits = xcalloc(n, sizeof *vf->audits);
    vf->asked = xcalloc(n, sizeof *vf->asked);
    vf->alarmed = xcalloc(n, sizeof *vf->alarmed);
    for (uint32_t i = 0; e == OK && i < n; i++) {
        e = ledger_node_open(&vf->nodes[i], &vf->pass, c->via ? c->via : i + 1, &vf->t->failure);
        vf->count++; /* closed also when it failed */
    }
    return e;
}

/* Replays this node's ledger; one that is fine becomes the reference. */
static enum err replay_node(struct verifying *vf, uint32_t i)
{
    struct verifier *v;
    struct failure *failure = &vf->t->failure;
    enum err e = verifier_open(&v, &vf->t->cluster.genesis, failure);
    if (e != OK) return e;
    vf->asked[i] = true;
    e = audit_replay(&vf->audits[i], &vf->note, v, &vf->nodes[i].source, &vf->known, failure);
    if (e == OK && vf->audits[i].verdict == AUDIT_FINE) {
        vf->reference = v;
        vf->known.reference = (struct checkpoint){.size = vf->audits[i].size, .root = vf->audits[i].root};
        vf->known.origin = &vf->nodes[i].source;
    } else {
        verifier_close(v);
    }
    return e;
}

/* What a replay found wrong stands, unless the comparison says it more exactly. */
static enum err compare_node(struct verifying *vf, uint32_t i)
{
    struct audit before = vf->audits[i];
    bool failed = vf->asked[i] && audit_failed(before.verdict);
    vf->asked[i] = true;
    enum err e = audit_compare(&vf->audits[i], vf->reference, &vf->nodes[i].source, &vf->known, &vf->t->failure);
    if (failed && !audit_failed(vf->audits[i].verdict)) vf->audits[i] = before;
    return e;
}

static enum err find_reference(struct verifying *vf, uint32_t *place)
{
    enum err e = OK;
    for (uint32_t tried = 0; e == OK && tried < vf->count; tried++) {
        *place = (vf->start + tried) % vf->count;
        e = replay_node(vf, *place);
        if (vf->reference || (!vf->all && audit_failed(vf->audits[*place].verdict))) break;
    }
    return e;
}

/* What the nodes whose ledgers are fine store beside them. */
static enum err compare_contents(struct verifying *vf)
{
    struct content_node *nodes = xcalloc(vf->count, sizeof *nodes);
    uint32_t count = 0;
    for (uint32_t i = 0; i < vf->count; i++)
        if (vf->asked[i])
            nodes[count++] = (struct content_node){.source = &vf->nodes[i].source, .audit = &vf->audits[i]};
    enum err e = audit_contents(nodes, count, vf->reference, &vf->known, &vf->t->failure);
    for (uint32_t i = 0; i < count; i++) vf->compared += nodes[i].compared;
    free(nodes);
    return e;
}

static enum err verify_nodes(struct verifying *vf)
{
    uint32_t place = 0;
    enum err e = find_reference(vf, &place);
    for (uint32_t i = 0; e == OK && vf->all && vf->reference && i < vf->count; i++)
        if (i != place) e = compare_node(vf, i);
    if (e == OK && vf->reference) e = compare_contents(vf);
    return e;
}

/* --- the states --- */

/* The entry that asks is not to go through a node whose ledger is wrong: it quarantines itself on that. */
static void ask_through(struct cluster *c, const struct verifying *vf, uint32_t place)
{
    for (uint32_t i = 0; c->client && i < vf->count; i++)
        if (vf->nodes[i].member == c->member && !audit_entries_right(vf->audits[i].verdict)) cluster_drop(c);
    if (!c->client) c->started = vf->nodes[place].member;
}

/* What the nodes' tables hold beside the ledger. Last of all that is asked for: a node whose ledger is wrong has
 * another state, too, finds so when all digest theirs, quarantines itself, and shows no entry any more. What the others
 * stated is asked of those whose ledgers are right. */
static void compare_states(struct verifying *vf)
{
    struct tool *t = vf->t;
    struct cluster *sources[LIMIT_NODES];
    uint32_t count = 0, first = 0;
    if (!vf->all) return;
    if (!vf->reference) {
        fail(&vf->states_why, ERR_NOT_READY, "no node's ledger could be verified, so there is nothing to hold them to");
        return;
    }
    for (uint32_t i = 0; i < vf->count; i++) {
        if (!vf->asked[i] || !audit_entries_right(vf->audits[i].verdict)) continue;
        if (count == 0) first = i;
        sources[count++] = &vf->nodes[i].cluster;
    }
    if (count == 0) {
        fail(&vf->states_why, ERR_UNREACHABLE, "no node whose ledger is right answers any more");
        return;
    }
    ask_through(&t->cluster, vf, first);
    output_progress(&t->output, "comparing the nodes' states");
    vf->states_known = states_compare(&vf->states, t, sources, count, vf->states_wait_s) == OK;
    if (!vf->states_known) vf->states_why = t->failure;
}

static const json_t *state_row(const struct verifying *vf, uint32_t member)
{
    return json_array_get(vf->states.nodes, member - 1);
}

static void mark_liar(struct audit *a, const struct failure *lie)
{
    a->verdict = AUDIT_REFUSED;
    finding_set(&a->finding, lie->code, 0, "%s", lie->text);
    a->finding.located = false;
}

/* Of a node that nothing else is known against. */
static void mark_states(struct verifying *vf)
{
    for (uint32_t i = 0; vf->states_known && i < vf->count; i++) {
        struct audit *a = &vf->audits[i];
        uint32_t member = vf->nodes[i].member;
        if (member == vf->states.liar && !audit_failed(a->verdict)) mark_liar(a, &vf->states.lie);
        if (!(vf->states.wrong >> member & 1) || audit_failed(a->verdict)) continue;
        const json_t *row = state_row(vf, member);
        const char *tables = json_string_value(json_object_get(row, "differs_in"));
        a->verdict = AUDIT_STATE;
        if (tables)
            finding_set(&a->finding, ERR_ROOT, vf->states.leaf, "its state at entry %" PRIu64 " is not that of the "
                        "nodes that agree, in: %s", vf->states.leaf, tables);
        else
            finding_set(&a->finding, ERR_CORRUPT, vf->states.leaf, "its state at entry %" PRIu64 " is %s",
                        vf->states.leaf, json_string_value(json_object_get(row, "state")));
        a->finding.located = false; /* the table, not an entry */
    }
}

/* Nonsense in place of an answer, or a made-up one. */
static bool states_were_refused(const struct verifying *vf)
{
    enum err e = vf->states_why.code;
    return e == ERR_BAD_SIGNATURE || e == ERR_MALFORMED || e == ERR_UNEXPECTED || e == ERR_CORRUPT;
}

static bool states_are_wrong(const struct verifying *vf)
{
    return vf->states_known ? states_failed(&vf->states) : states_were_refused(vf);
}

static json_t *states_json(const struct verifying *vf)
{
    const struct states_report *r = &vf->states;
    const struct genesis *g = &vf->t->cluster.genesis;
    uint32_t all = ((UINT32_C(1) << g->member_count) - 1) << 1;
    if (vf->states_known)
        return json_pack("{s:s, s:I, s:s, s:o, s:o, s:O}", "verdict", states_word(r), "entry", (json_int_t)r->leaf,
                         "text", (const char *)r->text.data, "compared", states_names(g, r->compared), "not_compared",
                         states_names(g, all & ~r->compared), "nodes", r->nodes);
    if (vf->states_why.code == OK) return json_null();
    return json_pack("{s:s, s:n, s:o, s:o, s:o, s:o}", "verdict", "not compared", "entry", "text",
                     json_text(bytes_text(vf->states_why.text)), "compared", json_array(), "not_compared",
                     states_names(g, all), "nodes", json_array());
}

/* Findings quote what nodes sent. */
static void print_quoting(const char *label, const char *text)
{
    printf("%s", label);
    output_text(bytes_text(text), false);
    putchar('\n');
}

static void print_states(const struct verifying *vf)
{
    if (vf->states_known)
        printf("states at entry %" PRIu64 ": %s\n", vf->states.leaf, (const char *)vf->states.text.data);
    else if (vf->states_why.code != OK)
        print_quoting("states: not compared. ", vf->states_why.text);
}

/* --- what else is proved against a node, or said of it --- */

/* That a node co-signed what it doesn't show any more is its own signature's word. */
static void mark_short(struct verifying *vf)
{
    struct cosigner cosigners[LIMIT_NODES];
    struct note note;
    const struct genesis *g = &vf->t->cluster.genesis;
    uint32_t valid = 0, members = cosigners_of_genesis(cosigners, g);
    if (!vf->reference || note_parse(&note, buffer_bytes(&vf->note)) != OK) return;
    if (note_verify(&valid, &note, g->checkpoint_origin, cosigners, members, g->quorum) != OK) return;
    for (uint32_t i = 0; i < vf->count; i++) {
        struct finding *f = &vf->audits[i].finding;
        size_t at = strlen(f->text);
        bool signed_more = valid >> (vf->nodes[i].member - 1) & 1 && f->index < note.checkpoint.size;
        if (!vf->asked[i] || vf->audits[i].verdict != AUDIT_SHORT || !signed_more) continue;
        snprintf(f->text + at, sizeof f->text - at, "; it co-signed %" PRIu64 " itself, so its disk is older than that",
                 note.checkpoint.size);
    }
}

static void mark_alarms(struct verifying *vf)
{
    const struct alarm *rows = NULL;
    size_t count = vf->reference ? verifier_alarms(&rows, vf->reference) : 0;
    for (uint32_t i = 0; i < vf->count; i++)
        vf->alarmed[i] = (struct alarmed_node){.cluster = &vf->nodes[i].cluster, .audit = &vf->audits[i],
                                               .member = vf->nodes[i].member, .asked = vf->asked[i],
                                               .reached = vf->nodes[i].reached};
    verify_alarms(vf->alarmed, vf->count, &vf->t->cluster.genesis, rows, count);
}

/* --- the report --- */

struct tally {
    uint32_t fine, failed, silent;
    uint32_t beside;           /* of those that failed: their ledgers are right */
    const struct audit *first; /* that failed: one whose ledger is wrong before others */
    const char *name;
};

/* What is wrong is not the ledger, nor a thing that an entry speaks for. */
static bool beside_ledger(enum audit_verdict v)
{
    return v == AUDIT_REFUSED || v == AUDIT_STATE || v == AUDIT_ALARMED;
}

static struct tally count_verdicts(const struct verifying *vf)
{
    struct tally tally = {0};
    for (uint32_t i = 0; i < vf->count; i++) {
        const struct audit *a = &vf->audits[i];
        if (!vf->asked[i]) continue;
        if (a->verdict == AUDIT_FINE)
            tally.fine++;
        else if (audit_failed(a->verdict))
            tally.failed++;
        else
            tally.silent++;
        tally.beside += audit_failed(a->verdict) && beside_ledger(a->verdict);
        bool graver = !tally.first || (beside_ledger(tally.first->verdict) && !beside_ledger(a->verdict));
        if (audit_failed(a->verdict) && graver) tally.first = a, tally.name = vf->nodes[i].source.name;
    }
    return tally;
}

/* The entry from which on the ledger is wrong, where it is known. */
static bool first_wrong(const struct audit *a)
{
    return (a->verdict == AUDIT_WRONG || a->verdict == AUDIT_SHORT || a->verdict == AUDIT_CONTENT) &&
           a->finding.located;
}

static json_t *text_or_null(const char *text) { return *text ? json_text(bytes_text(text)) : json_null(); }

static json_t *node_json(const struct verifying *vf, uint32_t i)
{
    const struct audit *a = &vf->audits[i];
    static const struct digest none;
    json_t *index = first_wrong(a) ? json_integer((json_int_t)a->finding.index) : json_null();
    json_t *root = memcmp(&a->root, &none, sizeof none) == 0 ? json_null() : json_digest(&a->root);
    json_t *o = json_pack("{s:s, s:s, s:I, s:o, s:I, s:o, s:o, s:o, s:o, s:o}", "name", vf->nodes[i].source.name,
                          "verdict", audit_word(a->verdict), "size", (json_int_t)a->size, "root", root, "checked",
                          (json_int_t)a->checked, "first_wrong", index, "expected", text_or_null(a->finding.expected),
                          "found", text_or_null(a->finding.found), "text", text_or_null(a->finding.text), "unproved",
                          text_or_null(vf->alarmed[i].unproved));
    CHECK(o != NULL);
    return o;
}

static const char *verdict_word(const struct verifying *vf, const struct tally *tally)
{
    return tally->failed || states_are_wrong(vf) ? "failed" : vf->reference ? "fine" : "unknown";
}

static void print_json_report(struct verifying *vf, const struct tally *tally)
{
    json_t *nodes = json_array();
    for (uint32_t i = 0; i < vf->count; i++)
        if (vf->asked[i]) json_array_append_new(nodes, node_json(vf, i));
    json_t *o = json_pack("{s:s, s:I, s:I, s:I, s:o, s:o}", "verdict", verdict_word(vf, tally), "entry",
                          (json_int_t)vf->pass.index,
                          "verified_before", (json_int_t)vf->known.seen.size, "contents",
                          (json_int_t)vf->compared, "nodes", nodes, "states", states_json(vf));
    CHECK(o != NULL);
    output_json(&vf->t->output, o);
}

static void print_indented(const char *label, const char *text)
{
    if (!*text) return;
    printf("    ");
    print_quoting(label, text);
}

static void print_node(const struct verifying *vf, uint32_t i)
{
    const struct audit *a = &vf->audits[i];
    char root[17] = "";
    printf("%s: ", vf->nodes[i].source.name);
    if (a->verdict == AUDIT_UNREACHABLE) {
        printf("unreachable\n");
        print_indented("", a->finding.text);
        print_indented("", vf->alarmed[i].unproved);
        return;
    }
    printf("checked %" PRIu64 " of %" PRIu64, a->checked, a->size);
    hex_format(root, a->root.bytes, 8);
    if (a->verdict == AUDIT_FINE) {
        printf(", root %s...: fine\n", root);
        print_indented("", vf->alarmed[i].unproved);
        return;
    }
    printf(": %s", audit_word(a->verdict));
    if (first_wrong(a)) printf(" from entry %" PRIu64 " on", a->finding.index);
    putchar('\n');
    print_indented("", a->finding.text);
    print_indented("expected: ", a->finding.expected);
    print_indented("found:    ", a->finding.found);
    print_indented("", vf->alarmed[i].unproved);
}

/* Who has the right ledger, and fails all the same. */
static void print_beside(const struct verifying *vf, const struct tally *tally, const char *before)
{
    for (uint32_t i = 0; tally->beside && i < vf->count; i++) {
        const struct audit *a = &vf->audits[i];
        if (!vf->asked[i] || !beside_ledger(a->verdict)) continue;
        printf("%s%s is %s", before, vf->nodes[i].source.name, audit_word(a->verdict));
        before = ", ";
    }
}

static void print_failed_verdict(const struct verifying *vf, const struct tally *tally)
{
    const struct audit *a = tally->first;
    printf("verdict: FAILED. %s's ledger is %s", tally->name, audit_word(a->verdict));
    if (first_wrong(a)) printf(" from entry %" PRIu64 " on", a->finding.index);
    uint32_t ledgers = tally->failed - tally->beside;
    if (ledgers > 1) printf(", and that of %u more", ledgers - 1);
    if (vf->reference && vf->all)
        printf("; %u of %u hold the %" PRIu64 " entries that were co-signed", tally->fine + tally->beside,
               vf->count, vf->known.reference.size);
    print_beside(vf, tally, "; but ");
    puts(".");
}

/* All ledgers that could be verified are right; what is beside one is not. */
static void print_beside_verdict(const struct verifying *vf, const struct tally *tally)
{
    if (states_are_wrong(vf))
        printf("verdict: FAILED. The ledgers are the same, but not the states that the nodes keep beside them");
    else
        printf("verdict: FAILED. The ledgers are right, but a node is not");
    print_beside(vf, tally, ": ");
    puts(".");
}

static void print_fine_verdict(const struct verifying *vf, const struct tally *tally)
{
    uint64_t size = vf->known.reference.size;
    printf("verdict: fine. All %" PRIu64 " entries follow from genesis, %u nodes co-signed them", size,
           vf->t->cluster.genesis.quorum);
    if (vf->all) printf(", and %u of %u nodes hold exactly them", tally->fine, vf->count);
    if (vf->known.seen.size > 0)
        printf("; the %" PRIu64 " that were verified here before are their beginning", vf->known.seen.size);
    puts(".");
}

static void print_report(struct verifying *vf, const struct tally *tally)
{
    struct output *o = &vf->t->output;
    output_progress_end(o);
    if (o->json) {
        print_json_report(vf, tally);
        return;
    }
    for (uint32_t i = 0; i < vf->count; i++)
        if (vf->asked[i]) print_node(vf, i);
    print_states(vf);
    if (tally->failed && !beside_ledger(tally->first->verdict))
        print_failed_verdict(vf, tally);
    else if (tally->failed || states_are_wrong(vf))
        print_beside_verdict(vf, tally);
    else if (vf->reference)
        print_fine_verdict(vf, tally);
    else
        puts("verdict: unknown. No node could be verified.");
    fflush(stdout);
    if (tally->failed && !vf->all)
        output_message(o, "'verify --all' compares all nodes, and says which of them hold what was co-signed");
    else if (tally->failed && tally->first->verdict == AUDIT_FORKED)
        output_message(o,
                       "more nodes lied than may: trust none of them. The checkpoint of your last verification stays "
                          "kept as it is; with 'consilium checkpoint' of now it proves that there are two histories");
    else if (tally->failed && tally->first->verdict == AUDIT_SET_BACK)
        output_message(o, "do not trust %s alone: it forgot what it had signed. An administrator finds out how its disk "
                          "was set back, then 'consilium alarm clear'", tally->name);
    else if (tally->failed && tally->first->verdict == AUDIT_ALARMED)
        output_message(o, "'consilium alarm list' shows what is open; an administrator finds the cause, then "
                          "'consilium alarm clear'");
    else if (tally->failed)
        output_message(o, "do not trust %s; keep its folder as evidence, then let it derive its state from its peers "
                          "anew", tally->name);
    else if (tally->silent && vf->reference && vf->all)
        output_message(o, "%u of %u nodes could not be verified: try again when they answer", tally->silent, vf->count);
}

static int exit_code(struct verifying *vf, const struct tally *tally)
{
    if (tally->failed || states_are_wrong(vf)) return EXIT_VERIFICATION;
    return vf->reference ? EXIT_DONE : EXIT_NO_QUORUM;
}

/* --- the command --- */

static enum err prepare(struct verifying *vf)
{
    struct tool *t = vf->t;
    vf->all = option_given(t->line, "all");
    if (vf->all && t->settings.values[SETTING_VIA] && option_given(t->line, "via"))
        return fail(&t->failure, ERR_USAGE, "--all asks every node, --via only one; give one of them");
    enum err e = option_number(&vf->states_wait_s, t->line, "wait", STATES_WAIT_S, 1, 3600, &t->failure);
    if (e == OK) e = tool_purpose(t, &vf->pass.purpose, PURPOSE_AUDIT);
    if (e == OK) e = tool_cluster(t);
    if (e == OK && vf->all) t->cluster.via = 0;
    t->cluster.one_deadline = false; /* as long as the ledger is; each request has the time-out */
    if (e == OK) e = tool_signer(t);
    vf->pass.tool = t;
    if (e == OK) e = export_pass_make(&vf->pass, &t->failure);
    if (e != OK) return e;
    vf->known.genesis = &t->cluster.genesis;
    vf->known.least = vf->pass.index + 1;
    vf->known.progress = show_progress;
    vf->known.data = vf;
    load_seen(vf);
    return open_nodes(vf);
}

int command_verify(struct tool *t)
{
    if (option_given(t->line, "since")) return command_verify_since(t);
    struct verifying vf = {.t = t};
    enum err e = prepare(&vf);
    if (e == OK) e = verify_nodes(&vf);
    int code;
    if (e == OK) {
        compare_states(&vf);
        mark_states(&vf);
        mark_short(&vf);
        mark_alarms(&vf);
        struct tally tally = count_verdicts(&vf);
        print_report(&vf, &tally);
        if (vf.reference) save_seen(&vf);
        code = exit_code(&vf, &tally);
    } else {
        code = tool_failed(t);
    }
    if (vf.states_known) states_report_free(&vf.states);
    verifier_close(vf.reference);
    for (uint32_t i = 0; i < vf.count; i++) ledger_node_close(&vf.nodes[i]);
    export_pass_free(&vf.pass);
    buffer_free(&vf.note);
    free(vf.nodes);
    free(vf.audits);
    free(vf.asked);
    free(vf.alarmed);
    return code;
}
