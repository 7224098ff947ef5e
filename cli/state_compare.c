#include "cli/state_compare.h"

#include <stdlib.h>
#include <time.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/pack.h"

#define POLL_MS 200

struct digests {
    struct tool *t;
    struct cluster *const *sources;
    uint32_t source_count;
    uint32_t gone;   /* bit i = sources[i]: it is not asked again */
    struct failure lied; /* what the first said that handed out what can't be; code OK: none did */
    uint32_t liar;
    uint64_t entry;    /* that asked */
    uint64_t leaf;     /* at which the nodes digested: this one, or one behind it that asked, too */
    uint32_t awaited;  /* bit i = member i: the asked node has a link to it */
    struct state_statement *by[LIMIT_NODES + 1]; /* NULL: no answer so far */
};

static unsigned members(const struct digests *d) { return d->t->cluster.genesis.member_count; }

static bool is_in(uint32_t mask, unsigned member) { return mask >> member & 1; }

/* --- asking --- */

static enum err raise(struct digests *d)
{
    struct submission s = {0};
    struct buffer args = {0};
    pack_array(&args, 0);
    enum err e = tool_submit(d->t, &s, &(struct draft){.action = ACTION_STATE_DIGEST, .args = buffer_bytes(&args),
                                                       .purpose = PURPOSE_OPERATIONS});
    d->entry = e == OK ? s.outcomes[0].index : 0;
    buffer_free(&args);
    submission_free(&s);
    return e;
}

/* Who can answer at all, as one node sees it; only for how long to wait. */
static enum err ask_reachable(struct digests *d, struct cluster *c, struct failure *why)
{
    struct message_status_ok *m = xcalloc(1, sizeof *m);
    cluster_renew(c);
    enum err e = cluster_status(c, m, why);
    for (uint32_t i = 0; e == OK && i < m->member_count; i++)
        if (m->members[i].reachable) d->awaited |= UINT32_C(1) << m->members[i].member;
    free(m);
    return e;
}

static enum err take(struct digests *d, struct cluster *c, struct bytes encoded, uint64_t leaf, struct failure *why)
{
    struct state_statement s;
    enum err e = state_statement_decode(&s, encoded);
    if (e == OK && s.leaf != leaf) e = ERR_MALFORMED;
    if (e == OK) e = state_statement_verify(&s, &c->genesis);
    if (e != OK)
        return fail(why, ERR_BAD_SIGNATURE, "%s passed on a statement about a state that %s did not sign "
                    "(%s)", cluster_member_name(c, c->member),
                    s.member <= members(d) ? cluster_member_name(c, s.member) : "?", err_text(e));
    if (!d->by[s.member]) d->by[s.member] = xmalloc(sizeof s);
    *d->by[s.member] = s;
    return OK;
}

static void forget(struct digests *d)
{
    for (unsigned i = 0; i <= LIMIT_NODES; i++) {
        free(d->by[i]);
        d->by[i] = NULL;
    }
}

/* Of the oldest leaf that any of them names: one that came later to know of it names a later one. */
static enum err ask_digests(struct digests *d, struct cluster *c, struct failure *why)
{
    struct frame answer;
    struct message_digests_ok m;
    struct buffer question = {0};
    message_digests_encode(&question, &(struct message_digests){d->entry});
    cluster_renew(c);
    enum err e = cluster_ask(c, &answer, MESSAGE_DIGESTS, buffer_bytes(&question), MESSAGE_DIGESTS_OK, why);
    if (e == OK) {
        e = message_digests_ok_decode(&m, answer.body);
        if (e == OK && m.leaf && m.leaf < d->entry) e = ERR_MALFORMED;
        if (e != OK)
            e = fail(why, ERR_MALFORMED, "what %s answers about the states can't be read: %s",
                     cluster_member_name(c, c->member), err_text(e));
    }
    buffer_free(&question);
    if (e != OK || m.leaf == 0 || (d->source_count > 1 && d->leaf && m.leaf > d->leaf)) return e;
    if (m.leaf != d->leaf) forget(d);
    d->leaf = m.leaf;
    for (uint32_t i = 0; e == OK && i < m.count; i++) e = take(d, c, m.statements[i], m.leaf, why);
    return e;
}

static bool is_lie(enum err e) { return e == ERR_BAD_SIGNATURE || e == ERR_MALFORMED || e == ERR_UNEXPECTED; }

/* Each source, but those that failed before. An error when none is left. */
static enum err ask_sources(struct digests *d, enum err (*ask)(struct digests *, struct cluster *, struct failure *))
{
    bool any = false;
    for (uint32_t i = 0; i < d->source_count; i++) {
        struct failure why = {0};
        if (is_in(d->gone, i)) continue;
        enum err e = ask(d, d->sources[i], &why);
        if (e == OK || (e == ERR_BUSY && d->source_count > 1)) {
            any = true;
            continue;
        }
        d->gone |= UINT32_C(1) << i;
        d->t->failure = why;
        if (!is_lie(e) || d->lied.code != OK) continue;
        d->lied = why;
        d->liar = d->sources[i]->member;
    }
    if (any) return OK;
    if (d->lied.code != OK) d->t->failure = d->lied;
    return d->t->failure.code;
}

static bool is_complete(const struct digests *d)
{
    for (unsigned i = 1; i <= members(d); i++)
        if (!d->by[i] && is_in(d->awaited, i)) return false;
    return d->leaf != 0;
}

static void pause_ms(unsigned ms)
{
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    nanosleep(&t, NULL);
}

static enum err collect(struct digests *d, uint64_t wait_s)
{
    uint64_t end = clock_monotonic_ns() + wait_s * 1000000000;
    enum err e = ask_sources(d, ask_reachable);
    while (e == OK) {
        e = ask_sources(d, ask_digests);
        if (e != OK || is_complete(d) || clock_monotonic_ns() >= end) break;
        output_progress(&d->t->output, "waiting for the nodes to digest their states");
        pause_ms(POLL_MS);
    }
    output_progress_end(&d->t->output);
    return e;
}

/* --- what came of it --- */

struct judging {
    const struct genesis *genesis;
    const struct state_statement *by[LIMIT_NODES + 1]; /* NULL: said nothing */
    struct state_comparison result;
    uint32_t broken; /* can't read their own state */
};

static bool is_broken(const struct state_statement *s)
{
    if (!s) return false;
    switch (s->outcome) {
    case STATE_COMPUTED:
    case STATE_BUSY:
    case STATE_NO_SPACE:
    case STATE_TOO_LONG: return false;
    case STATE_UNREADABLE:
    case STATE_FAILED: break;
    }
    return true;
}

static const char *name_of(const struct judging *j, unsigned member)
{
    return genesis_member(j->genesis, member)->name;
}

/* "equal", "DIFFERS", or why there is nothing to compare. */
static const char *word_of(const struct judging *j, unsigned member)
{
    const struct state_comparison *r = &j->result;
    if (!j->by[member]) return "no answer";
    if (j->by[member]->outcome != STATE_COMPUTED) return state_outcome_text(j->by[member]->outcome);
    if (!is_in(r->same, member)) return "DIFFERS";
    return r->computed > 1 ? "equal" : "alone";
}

static void add_digest(json_t *row, const struct judging *j, unsigned member)
{
    const struct state_statement *s = j->by[member];
    struct buffer tables = {0};
    char start[17];
    if (!s || s->outcome != STATE_COMPUTED) return;
    struct digest whole = state_digest_whole(&s->digest);
    hex_format(start, whole.bytes, 8);
    json_object_set_new(row, "digest", json_digest(&whole));
    json_object_set_new(row, "digest_start", json_string(start));
    json_object_set_new(row, "size", json_integer((json_int_t)s->size));
    if (is_in(j->result.other, member)) state_differences(&tables, j->by[j->result.model], s);
    json_object_set_new(row, "differs_in", tables.size ? json_text(buffer_bytes(&tables)) : json_string(""));
    buffer_free(&tables);
}

static json_t *rows_of(const struct judging *j)
{
    json_t *rows = json_array();
    for (unsigned i = 1; i <= j->genesis->member_count; i++) {
        const struct descriptor *m = genesis_member(j->genesis, i);
        json_t *row = json_pack("{s:i, s:s, s:s, s:s}", "node", (int)i, "name", m->name, "hospital", m->hospital,
                                "state", word_of(j, i));
        CHECK(row != NULL);
        add_digest(row, j, i);
        json_array_append_new(rows, row);
    }
    return rows;
}

json_t *states_names(const struct genesis *genesis, uint32_t mask)
{
    json_t *names = json_array();
    for (unsigned i = 1; i <= genesis->member_count; i++)
        if (is_in(mask, i)) json_array_append_new(names, json_string(genesis_member(genesis, i)->name));
    return names;
}

static bool is_decided(const struct judging *j)
{
    return state_decided(&j->result, j->genesis->quorum, j->genesis->faulty);
}

static enum states_verdict judge(const struct judging *j)
{
    const struct state_comparison *r = &j->result;
    if (r->other) return is_decided(j) ? STATES_DIFFER : STATES_UNDECIDED;
    if (j->broken) return STATES_UNREADABLE;
    if (!r->agreed) return STATES_TOO_FEW;
    return r->equal == j->genesis->member_count ? STATES_SAME : STATES_SOME_SILENT;
}

static void add_names(struct buffer *out, const struct judging *j, uint32_t mask)
{
    bool first = true;
    for (unsigned i = 1; i <= j->genesis->member_count; i++) {
        if (!is_in(mask, i)) continue;
        buffer_printf(out, "%s%s", first ? "" : ", ", name_of(j, i));
        first = false;
    }
}

static void add_differing(struct buffer *out, const struct judging *j)
{
    bool first = true;
    for (unsigned i = 1; i <= j->genesis->member_count; i++) {
        if (!is_in(j->result.other, i)) continue;
        buffer_printf(out, "%s%s (in: ", first ? "" : "; ", name_of(j, i));
        state_differences(out, j->by[j->result.model], j->by[i]);
        buffer_append_text(out, ")");
        first = false;
    }
}

static void add_uncompared(struct buffer *out, const struct judging *j, const char *before)
{
    uint32_t all = ((UINT32_C(1) << j->genesis->member_count) - 1) << 1;
    uint32_t silent = all & ~j->result.same & ~j->result.other & ~j->broken;
    if (!silent) return;
    buffer_printf(out, "%snothing to compare from ", before);
    add_names(out, j, silent);
}

static void sentence(struct buffer *out, const struct judging *j, enum states_verdict verdict)
{
    const struct state_comparison *r = &j->result;
    unsigned k = j->genesis->quorum, b = j->genesis->faulty;
    switch (verdict) {
    case STATES_SAME: buffer_printf(out, "all %u nodes have the same state", j->genesis->member_count); return;
    case STATES_SOME_SILENT:
        buffer_printf(out, "%u nodes have the same state", r->equal);
        add_uncompared(out, j, "; ");
        return;
    case STATES_DIFFER:
        buffer_append_text(out, "COMPROMISED: ");
        add_differing(out, j);
        buffer_printf(out, " has not the state of the %u nodes that agree", r->equal);
        break;
    case STATES_UNDECIDED:
        buffer_printf(out, "NOT THE SAME: it is not decided who is right, since no state is that of %u nodes%s; "
                           "different from %s: ", b ? b + 1 : k, b ? ", or more than one is" : "",
                      name_of(j, r->model));
        add_differing(out, j);
        break;
    case STATES_UNREADABLE:
        buffer_append_text(out, "COMPROMISED: ");
        add_names(out, j, j->broken);
        buffer_printf(out, " can't read what is stored there; %u nodes have the same state", r->equal);
        add_uncompared(out, j, "; ");
        return;
    case STATES_TOO_FEW:
        buffer_printf(out, "not known: %u of the %u nodes that must agree stated a digest", r->equal, k);
        return;
    }
    if (j->broken) {
        buffer_append_text(out, "; can't read what is stored there: ");
        add_names(out, j, j->broken);
    }
    add_uncompared(out, j, "; ");
}

void states_judge(struct states_report *out, const struct state_statement *const *statements,
                  const struct genesis *genesis)
{
    struct judging j = {.genesis = genesis};
    for (unsigned i = 1; i <= genesis->member_count; i++) {
        j.by[i] = statements[i];
        if (is_broken(j.by[i])) j.broken |= UINT32_C(1) << i;
    }
    state_compare(&j.result, j.by, genesis->member_count, genesis->quorum);
    *out = (struct states_report){.verdict = judge(&j), .nodes = rows_of(&j)};
    out->compared = j.result.same | j.result.other;
    out->wrong = j.broken | (out->verdict == STATES_DIFFER ? j.result.other : 0);
    sentence(&out->text, &j, out->verdict);
    buffer_append(&out->text, "", 1);
    CHECK(!out->text.failed);
}

bool states_failed(const struct states_report *r)
{
    return r->verdict == STATES_DIFFER || r->verdict == STATES_UNDECIDED || r->verdict == STATES_UNREADABLE;
}

const char *states_word(const struct states_report *r)
{
    switch (r->verdict) {
#define X(name, word)                                                                              \
    case name: return word;
        STATES_VERDICTS(X)
#undef X
    }
    return "unknown";
}

void states_report_free(struct states_report *r)
{
    buffer_free(&r->text);
    json_decref(r->nodes);
}

enum err states_compare(struct states_report *out, struct tool *t, struct cluster *const *sources, uint32_t count,
                        uint64_t wait_s)
{
    struct cluster *whichever = &t->cluster;
    struct digests d = {.t = t, .sources = count ? sources : &whichever, .source_count = count ? count : 1};
    CHECK(count <= LIMIT_NODES);
    enum err e = raise(&d);
    if (e == OK) e = collect(&d, wait_s);
    if (e == OK) {
        states_judge(out, (const struct state_statement *const *)d.by, &t->cluster.genesis);
        out->entry = d.entry;
        out->leaf = d.leaf;
        out->liar = d.liar;
        out->lie = d.lied;
    }
    forget(&d);
    return e;
}
