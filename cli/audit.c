#include "cli/audit.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "cli/leaf_words.h"

const char *audit_word(enum audit_verdict verdict)
{
    static const char *const words[] = {
#define X(name, word) word,
        AUDIT_VERDICTS(X)
#undef X
    };
    return words[verdict];
}

bool audit_failed(enum audit_verdict verdict)
{
    switch (verdict) {
    case AUDIT_UNREACHABLE:
    case AUDIT_SILENT:
    case AUDIT_FINE: return false;
    case AUDIT_WRONG:
    case AUDIT_CONTENT:
    case AUDIT_REFUSED:
    case AUDIT_STATE:
    case AUDIT_ALARMED:
    case AUDIT_SHORT:
    case AUDIT_QUARANTINED:
    case AUDIT_SET_BACK:
    case AUDIT_UNPROVEN:
    case AUDIT_FORKED: break;
    }
    return true;
}

bool audit_entries_right(enum audit_verdict verdict)
{
    switch (verdict) {
    case AUDIT_FINE:
    case AUDIT_CONTENT:
    case AUDIT_REFUSED:
    case AUDIT_STATE:
    case AUDIT_ALARMED:
    case AUDIT_SET_BACK: return true;
    case AUDIT_UNREACHABLE:
    case AUDIT_SILENT:
    case AUDIT_WRONG:
    case AUDIT_SHORT:
    case AUDIT_QUARANTINED:
    case AUDIT_UNPROVEN:
    case AUDIT_FORKED: break;
    }
    return false;
}

/* One audit on its way. */
struct auditing {
    struct audit *out;
    struct verifier *v;
    const struct ledger_source *source;
    const struct audit_known *known;
    uint32_t waited_ms;
};

static bool wait_more(struct auditing *a)
{
    bool more = a->source->wait(a->source->data, a->waited_ms);
    a->waited_ms += SOURCE_WAIT_MS;
    return more;
}

static void set_silent(struct auditing *a, enum audit_verdict verdict, const struct failure *why)
{
    a->out->verdict = verdict;
    finding_set(&a->out->finding, why->code, a->out->checked, "%s", why->text[0] ? why->text : err_text(why->code));
    a->out->finding.located = false;
}

/* --- the checkpoint that the source shows --- */

static uint64_t least_size(const struct audit_known *known)
{
    return known->least > known->seen.size ? known->least : known->seen.size;
}

static void set_unproven(struct auditing *a, enum err code, const char *why)
{
    a->out->verdict = AUDIT_UNPROVEN;
    finding_set(&a->out->finding, code, 0, "%s", why);
    a->out->finding.located = false;
}

static bool take_note(struct auditing *a, struct checkpoint *out, const struct buffer *note)
{
    char why[CHECKPOINT_WHY], text[CHECKPOINT_WHY + 60];
    enum err e = checkpoint_verify(out, buffer_bytes(note), a->known->genesis);
    if (e == OK) return true;
    checkpoint_explain(why, buffer_bytes(note), a->known->genesis);
    snprintf(text, sizeof text, "the checkpoint that it shows is not valid: %s", why);
    set_unproven(a, e, text);
    snprintf(a->out->finding.expected, sizeof a->out->finding.expected, "cosignatures of %u nodes",
             a->known->genesis->quorum);
    return false;
}

/* The newest one. False: the verdict is set. A note with nothing in it: size 0. */
static bool ask_checkpoint(struct auditing *a, struct checkpoint *out, struct buffer *note)
{
    struct failure why = {0};
    char text[sizeof why.text + 60];
    *out = (struct checkpoint){.size = 0};
    buffer_clear(note);
    enum err e = a->source->checkpoint(a->source->data, note, &why);
    if (source_silent(e)) {
        set_silent(a, AUDIT_UNREACHABLE, &why);
    } else if (e != OK) {
        snprintf(text, sizeof text, "it shows no checkpoint: %s", why.text);
        set_unproven(a, e, text);
    } else {
        return note->size == 0 || take_note(a, out, note);
    }
    return false;
}

/* One that covers what is known to be recorded. A node that lags gets some time. */
static bool await_checkpoint(struct auditing *a, struct checkpoint *out, struct buffer *note)
{
    uint64_t least = least_size(a->known);
    do {
        if (!ask_checkpoint(a, out, note)) return false;
        if (out->size >= least && out->size > 0) return true;
    } while (wait_more(a));
    if (out->size == 0) {
        set_unproven(a, ERR_TOO_FEW_COSIGNATURES, "it shows no co-signed checkpoint");
        return false;
    }
    a->out->verdict = AUDIT_SHORT;
    a->out->size = least;
    finding_set(&a->out->finding, ERR_ROOT, out->size, "its newest checkpoint has %" PRIu64 " entries, but %" PRIu64
                " are recorded and co-signed: it is behind, or was cut", out->size, least);
    snprintf(a->out->finding.expected, sizeof a->out->finding.expected, "%" PRIu64 " entries", least);
    snprintf(a->out->finding.found, sizeof a->out->finding.found, "%" PRIu64 " entries", out->size);
    return false;
}

/* --- where the leaves go wrong --- */

/* Whether the first `size` leaves taken are the beginning of the tree that the
 * checkpoint signs. The proof is the source's, so "no" may mean a bad proof. */
static enum err prefix_is_right(bool *out, struct auditing *a, uint64_t size, const struct checkpoint *signed_tree,
                                struct failure *failure)
{
    struct digest root;
    struct tree_proof proof;
    *out = false;
    enum err e = verifier_root(&root, a->v, size, failure);
    if (e != OK) return e;
    if (size == signed_tree->size) {
        *out = digest_equal(&root, &signed_tree->root);
        return OK;
    }
    if (a->source->consistency(a->source->data, &proof, size, signed_tree->size, NULL) != OK) return OK;
    *out = tree_consistency_verify(size, signed_tree->size, proof.hashes, proof.count, &root, &signed_tree->root) == OK;
    return OK;
}

/* The number of leaves from the first on that are right: binary search. Leaf 0 is
 * (its hash is the cluster's id), so where not even that is proved, the proofs are no use. */
static enum err find_right_prefix(uint64_t *out, bool *proved, struct auditing *a, const struct checkpoint *signed_tree,
                                  struct failure *failure)
{
    uint64_t right = 0, wrong = verifier_size(a->v) + 1;
    enum err e = OK;
    while (e == OK && wrong - right > 1) {
        bool good;
        uint64_t middle = right == 0 && wrong > verifier_size(a->v) ? verifier_size(a->v) : right + (wrong - right) / 2;
        e = prefix_is_right(&good, a, middle, signed_tree, failure);
        if (good)
            right = middle;
        else
            wrong = middle;
    }
    *proved = right > 0;
    *out = right;
    return e;
}

/* Leaf `index` of those that were replayed, from a source that has given it before; a view until its next call.
 * ERR_NOT_FOUND: it does not give it again. */
static enum err leaf_again(struct bytes *out, struct verifier *v, const struct ledger_source *source, uint64_t index,
                           struct failure *failure)
{
    struct leaf_page page = {0};
    bool same = false;
    if (!source || source->leaves(source->data, &page, index, 1, NULL) != OK || page.count != 1) return ERR_NOT_FOUND;
    enum err e = verifier_is(&same, v, index, page.leaves[0], failure);
    *out = page.leaves[0];
    return e == OK && !same ? ERR_NOT_FOUND : e;
}

/* Moves a finding to the first wrong leaf, where an earlier one is wrong than the
 * one that was noticed: a leaf that was altered may only show in the next one's hash. */
static enum err locate(struct auditing *a, const struct checkpoint *signed_tree, struct failure *failure)
{
    struct finding *f = &a->out->finding;
    uint64_t right;
    bool proved;
    if (verifier_size(a->v) == 0) return OK;
    enum err e = find_right_prefix(&right, &proved, a, signed_tree, failure);
    if (proved) f->located = true;
    if (e != OK || !proved || right >= f->index) return e;
    finding_set(f, ERR_ROOT, right,
                "entry %" PRIu64 " is not the one that %u nodes co-signed, though it fits the entries "
                                    "before it", right, a->known->genesis->quorum);
    a->out->checked = right;
    struct bytes leaf;
    e = leaf_again(&leaf, a->v, a->source, right, failure);
    if (e == OK) leaf_words(f->found, sizeof f->found, leaf);
    return e == ERR_NOT_FOUND ? OK : e;
}

/* --- the walk --- */

typedef enum err (*take_page)(void *data, const struct leaf_page *page, uint64_t from, bool *stop,
                              struct failure *failure);

static void show_progress(const struct auditing *a)
{
    if (a->known->progress) a->known->progress(a->known->data, a->source->name, a->out->checked, a->out->size);
}

static enum err replay_page(void *data, const struct leaf_page *page, uint64_t from, bool *stop,
                            struct failure *failure)
{
    struct auditing *a = data;
    (void)from;
    enum err e = verifier_take(a->v, &a->out->finding, page->leaves, page->count, failure);
    *stop = a->out->finding.code != OK;
    a->out->checked = verifier_size(a->v);
    show_progress(a);
    return e;
}

/* In words of both, where the replayed leaf can still be had. */
static enum err set_different(struct auditing *a, uint64_t index, struct bytes leaf, struct failure *failure)
{
    struct finding *f = &a->out->finding;
    struct bytes right;
    finding_set(f, ERR_ROOT, index, "entry %" PRIu64 " is not the one that was co-signed", index);
    enum err e = leaf_again(&right, a->v, a->known->origin, index, failure);
    if (e == OK) leaf_difference(f->expected, f->found, sizeof f->expected, right, leaf);
    if (e == ERR_NOT_FOUND) leaf_words(f->found, sizeof f->found, leaf);
    return e == ERR_NOT_FOUND ? OK : e;
}

static enum err compare_page(void *data, const struct leaf_page *page, uint64_t from, bool *stop,
                             struct failure *failure)
{
    struct auditing *a = data;
    enum err e = OK;
    for (uint32_t i = 0; e == OK && !*stop && i < page->count; i++) {
        bool same;
        e = verifier_is(&same, a->v, from + i, page->leaves[i], failure);
        *stop = e == OK && !same;
        if (*stop) e = set_different(a, from + i, page->leaves[i], failure);
        if (e == OK && !*stop) a->out->checked = from + i + 1;
    }
    show_progress(a);
    return e;
}

static void set_short(struct auditing *a, uint64_t at)
{
    struct finding *f = &a->out->finding;
    a->out->verdict = AUDIT_SHORT;
    finding_set(f, ERR_NOT_FOUND, at, "its ledger ends before entry %" PRIu64 ", but %u nodes co-signed %" PRIu64
                " entries: it is behind, or was cut", at, a->known->genesis->quorum, a->out->size);
    snprintf(f->expected, sizeof f->expected, "%" PRIu64 " entries", a->out->size);
    snprintf(f->found, sizeof f->found, "%" PRIu64 " entries", at);
}

static void set_quarantined(struct auditing *a, const struct failure *why)
{
    set_silent(a, AUDIT_QUARANTINED, why);
    snprintf(a->out->finding.text, sizeof a->out->finding.text,
             "it serves no more, as it says itself, until it is rebuilt");
}

static void set_hole(struct auditing *a, uint64_t at, const struct failure *why)
{
    struct finding *f = &a->out->finding;
    if (why->code == ERR_QUARANTINED) {
        set_quarantined(a, why);
        return;
    }
    a->out->verdict = AUDIT_WRONG;
    finding_set(f, ERR_NOT_FOUND, at, "it can't show entry %" PRIu64 ": %s", at,
                why->text[0] ? why->text : err_text(why->code));
    snprintf(f->found, sizeof f->found, "nothing");
}

/* However the walk ended: a leaf that came before is wrong, or all of them are right. */
static enum err settle(struct auditing *a, enum walk_end *end, struct failure *failure)
{
    enum err e = verifier_settle(a->v, &a->out->finding, failure);
    a->out->checked = verifier_size(a->v);
    show_progress(a);
    if (a->out->finding.code != OK) *end = WALK_STOPPED;
    return e;
}

/* Over all out->size leaves. The verdict is left alone only when all were good. */
static enum err walk_all(struct auditing *a, take_page take, struct failure *failure)
{
    struct walk walk = {.source = a->source, .to = a->out->size, .take = take, .data = a};
    struct failure why = {0};
    enum walk_end end;
    enum err e = OK;
    do {
        end = walk_leaves(&walk, &why);
        if (take == replay_page && end != WALK_FAILED) e = settle(a, &end, failure);
    } while (e == OK && end == WALK_SHORT && wait_more(a));
    if (e != OK) return e;
    switch (end) {
    case WALK_DONE: break;
    case WALK_STOPPED: a->out->verdict = AUDIT_WRONG; break;
    case WALK_SHORT: set_short(a, walk.at); break;
    case WALK_HOLE: set_hole(a, walk.at, &why); break;
    case WALK_SILENT: set_silent(a, walk.at ? AUDIT_SILENT : AUDIT_UNREACHABLE, &why); break;
    case WALK_FAILED: return fail(failure, why.code, "%s", why.text);
    }
    return OK;
}

/* --- one node by itself --- */

static enum err check_root(struct auditing *a, const struct checkpoint *signed_tree, struct failure *failure)
{
    struct finding *f = &a->out->finding;
    char hex[65];
    enum err e = verifier_root(&a->out->root, a->v, a->out->size, failure);
    if (e != OK || digest_equal(&a->out->root, &signed_tree->root)) return e;
    a->out->verdict = AUDIT_WRONG;
    finding_set(f, ERR_ROOT, a->out->size,
                "its %" PRIu64 " entries fit together, but are not those that %u nodes co-signed",
                a->out->size, a->known->genesis->quorum);
    f->located = false;
    e = locate(a, signed_tree, failure);
    if (f->located) return e;
    hex_format(hex, signed_tree->root.bytes, sizeof signed_tree->root.bytes);
    snprintf(f->expected, sizeof f->expected, "root %s", hex);
    hex_format(hex, a->out->root.bytes, sizeof a->out->root.bytes);
    snprintf(f->found, sizeof f->found, "root %s", hex);
    return e;
}

static void set_forked(struct auditing *a, uint64_t size, const char *other)
{
    a->out->verdict = AUDIT_FORKED;
    finding_set(&a->out->finding, ERR_ROOT, size, "%u nodes co-signed two different histories: this one of %" PRIu64
                " entries, and %s; more than %u nodes lied", a->known->genesis->quorum, a->out->size, other,
                a->known->genesis->faulty);
    a->out->finding.located = false;
}

/* The ledger goes on from the one that was verified before. */
static enum err check_seen(struct auditing *a, struct failure *failure)
{
    const struct checkpoint *seen = &a->known->seen;
    struct digest root;
    char other[100];
    if (seen->size == 0) return OK;
    enum err e = verifier_root(&root, a->v, seen->size, failure);
    if (e != OK || digest_equal(&root, &seen->root)) return e;
    snprintf(other, sizeof other, "the one of %" PRIu64 " entries that was verified here before", seen->size);
    set_forked(a, seen->size, other);
    return OK;
}

enum err audit_replay(struct audit *out, struct buffer *note, struct verifier *v, const struct ledger_source *source,
                      const struct audit_known *known, struct failure *failure)
{
    struct auditing a = {.out = out, .v = v, .source = source, .known = known};
    struct checkpoint signed_tree;
    *out = (struct audit){.verdict = AUDIT_FINE, .size = least_size(known)};
    CHECK(verifier_size(v) == 0);
    if (!await_checkpoint(&a, &signed_tree, note)) return OK;
    out->size = signed_tree.size;
    verifier_foresee(v, out->size);
    enum err e = walk_all(&a, replay_page, failure);
    if (e == OK && out->verdict == AUDIT_WRONG) e = locate(&a, &signed_tree, failure);
    if (e == OK && out->verdict == AUDIT_FINE) e = check_root(&a, &signed_tree, failure);
    if (e == OK && out->verdict == AUDIT_FINE) e = check_seen(&a, failure);
    return e;
}

/* --- against a replayed one --- */

/* Its own checkpoint belongs to the same history. That there is none yet (of a
 * node that has just begun), or an older one, is no fault. */
static enum err check_own_note(struct auditing *a, struct failure *failure)
{
    const struct checkpoint *reference = &a->known->reference;
    struct checkpoint own;
    struct buffer note = {0};
    bool good = true;
    char other[100];
    enum err e = OK;
    if (ask_checkpoint(a, &own, &note) && own.size > 0) {
        struct digest root;
        e = verifier_root(&root, a->v, own.size < a->out->size ? own.size : a->out->size, failure);
        if (e == OK && own.size <= a->out->size) {
            snprintf(other, sizeof other, "another one of %" PRIu64 " entries", own.size);
            if (!digest_equal(&root, &own.root)) set_forked(a, own.size, other);
        } else if (e == OK) {
            e = prefix_is_right(&good, a, reference->size, &own, failure);
        }
    }
    if (e == OK && !good)
        set_unproven(a, ERR_BAD_PROOF,
                     "it does not prove that its newest checkpoint goes on from the one that was verified");
    buffer_free(&note);
    return e;
}

enum err audit_compare(struct audit *out, struct verifier *v, const struct ledger_source *source,
                       const struct audit_known *known, struct failure *failure)
{
    struct auditing a = {.out = out, .v = v, .source = source, .known = known};
    *out = (struct audit){.verdict = AUDIT_FINE, .size = known->reference.size};
    CHECK(verifier_size(v) == known->reference.size);
    enum err e = walk_all(&a, compare_page, failure);
    if (e == OK && out->finding.code == ERR_NOT_FOUND && out->verdict == AUDIT_WRONG) {
        struct bytes leaf;
        e = leaf_again(&leaf, v, known->origin, out->finding.index, failure);
        if (e == OK) leaf_words(out->finding.expected, sizeof out->finding.expected, leaf);
        if (e == ERR_NOT_FOUND) e = OK;
    }
    if (e == OK && out->verdict == AUDIT_FINE) e = check_own_note(&a, failure);
    if (out->verdict == AUDIT_FINE) out->root = known->reference.root;
    return e;
}
