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
#include "cli/alarms.h"
#include "cli/audit_content.h"
#include "cli/commands.h"
#include "cli/files.h"
#include "cli/ledger_node.h"
#include "cli/state_compare.h"
#include "ledger/alarm.h"

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
    uint64_t compared;          /* attachments, of all nodes, that are what the ledger says */
    bool states_known;           /* --all, once the ledgers are the same */
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

/* What a node's tables hold beside the ledger: only once the ledgers are the same, else it is named already. Of one in
 * quarantine they may say why. */
static void compare_states(struct verifying *vf)
{
    struct tool *t = vf->t;
    for (uint32_t i = 0; i < vf->count; i++)
        if (vf->asked[i] && audit_failed(vf->audits[i].verdict) && vf->audits[i].verdict != AUDIT_QUARANTINED) return;
    if (!vf->all || !vf->reference) return;
    output_progress(&t->output, "comparing the nodes' states");
    vf->states_known = states_compare(&vf->states, t, STATES_WAIT_S) == OK;
    if (!vf->states_known) vf->states_why = t->failure;
}

static bool states_are_wrong(const struct verifying *vf)
{
    return (vf->states_known && states_failed(&vf->states)) || vf->states_why.code == ERR_BAD_SIGNATURE;
}

static json_t *states_json(const struct verifying *vf)
{
    const struct states_report *r = &vf->states;
    if (!vf->states_known) return json_null();
    return json_pack("{s:s, s:I, s:s, s:O}", "verdict", states_word(r), "entry", (json_int_t)r->leaf, "text",
                     (const char *)r->text.data, "nodes", r->nodes);
}

static void print_states(const struct verifying *vf)
{
    if (vf->states_known)
        printf("states at entry %" PRIu64 ": %s\n", vf->states.leaf, (const char *)vf->states.text.data);
    else if (vf->states_why.code != OK)
        printf("states: not compared. %s\n", vf->states_why.text);
}

/* --- old copies of disks --- */

static const struct message_alarm *set_back_alarm(const struct cluster *c, uint32_t member)
{
    if (!alarms_name(c, member)) return NULL; /* as far as accusers can be believed */
    for (uint32_t i = 0; i < c->notice.count; i++) {
        const struct message_alarm *a = &c->notice.alarms[i];
        if (a->kind == ALARM_ROLLED_BACK && a->named == member && alarm_is_good(c, a)) return a;
    }
    return NULL;
}

/* What such a node holds may be right again, taken from its peers; but what it signed meanwhile it does not know. */
static void mark_set_back(struct verifying *vf)
{
    for (uint32_t i = 0; i < vf->count; i++) {
        struct audit *a = &vf->audits[i];
        const struct message_alarm *alarm = NULL;
        for (uint32_t j = 0; j < vf->count && !alarm; j++)
            if (vf->asked[j]) alarm = set_back_alarm(&vf->nodes[j].cluster, vf->nodes[i].member);
        if (!alarm || !vf->asked[i] || a->verdict != AUDIT_FINE) continue;
        a->verdict = AUDIT_SET_BACK;
        finding_set(&a->finding, ERR_ROOT, alarm->first, "its disk is older than what it has signed: Raft index %"
                    PRIu64 " to %" PRIu64 " of the cluster's log were not on it", alarm->first, alarm->last);
        a->finding.located = false; /* the log's numbers are not those of entries */
    }
}

/* --- the report --- */

struct tally {
    uint32_t fine, failed, silent;
    const struct audit *first; /* that failed */
    const char *name;
};

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
        if (!tally.first && audit_failed(a->verdict)) tally.first = a, tally.name = vf->nodes[i].source.name;
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
    json_t *o = json_pack("{s:s, s:s, s:I, s:o, s:I, s:o, s:o, s:o, s:o}", "name", vf->nodes[i].source.name, "verdict",
                          audit_word(a->verdict), "size", (json_int_t)a->size, "root", root, "checked",
                          (json_int_t)a->checked, "first_wrong", index, "expected", text_or_null(a->finding.expected),
                          "found", text_or_null(a->finding.found), "text", text_or_null(a->finding.text));
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

/* Findings quote what nodes sent. */
static void print_indented(const char *label, const char *text)
{
    struct buffer clean = {0};
    if (!*text) return;
    text_clean(&clean, bytes_text(text), false);
    printf("    %s%.*s\n", label, (int)clean.size, clean.data ? (const char *)clean.data : "");
    buffer_free(&clean);
}

static void print_node(const struct verifying *vf, uint32_t i)
{
    const struct audit *a = &vf->audits[i];
    char root[17] = "";
    printf("%s: ", vf->nodes[i].source.name);
    if (a->verdict == AUDIT_UNREACHABLE) {
        printf("unreachable\n");
        print_indented("", a->finding.text);
        return;
    }
    printf("checked %" PRIu64 " of %" PRIu64, a->checked, a->size);
    hex_format(root, a->root.bytes, 8);
    if (a->verdict == AUDIT_FINE) {
        printf(", root %s...: fine\n", root);
        return;
    }
    printf(": %s", audit_word(a->verdict));
    if (first_wrong(a)) printf(" from entry %" PRIu64 " on", a->finding.index);
    putchar('\n');
    print_indented("", a->finding.text);
    print_indented("expected: ", a->finding.expected);
    print_indented("found:    ", a->finding.found);
}

static void print_failed_verdict(const struct verifying *vf, const struct tally *tally)
{
    const struct audit *a = tally->first;
    printf("verdict: FAILED. %s's ledger is %s", tally->name, audit_word(a->verdict));
    if (first_wrong(a)) printf(" from entry %" PRIu64 " on", a->finding.index);
    if (tally->failed > 1) printf(", and that of %u more", tally->failed - 1);
    if (vf->reference && vf->all)
        printf("; %u of %u hold the %" PRIu64 " entries that were co-signed", tally->fine, vf->count,
               vf->known.reference.size);
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
    if (tally->failed)
        print_failed_verdict(vf, tally);
    else if (states_are_wrong(vf))
        puts("verdict: FAILED. The ledgers are the same, but not the states that the nodes keep beside them.");
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
        output_message(o, "do not trust %s; its disk can only come back as a new member", tally->name);
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
    enum err e = tool_purpose(t, &vf->pass.purpose, PURPOSE_AUDIT);
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
        mark_set_back(&vf);
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
    return code;
}
