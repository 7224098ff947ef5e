#include "cli/extension.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/check.h"
#include "ledger/tlog_proof.h"

/* --- the older one --- */

enum err extension_read_old(struct checkpoint *out, struct bytes text, const struct genesis *genesis,
                            struct failure *failure)
{
    struct buffer entry = {0};
    struct tlog_proof receipt;
    struct note note;
    if (tlog_proof_parse(&receipt, &entry, text, NULL) == OK) text = receipt.note;
    buffer_free(&entry);
    enum err e = checkpoint_verify(out, text, genesis);
    if (e == OK && out->size > 0) return OK;
    if (e == OK) return fail(failure, ERR_CHECKPOINT, "it is of an empty ledger, which every other extends");
    bool parsed = note_parse(&note, text) == OK;
    if (parsed && !bytes_equal(bytes_text(note.checkpoint.origin), bytes_text(genesis->checkpoint_origin)))
        return fail(failure, ERR_OTHER_CLUSTER, "it is of '%s', not of '%s'", note.checkpoint.origin,
                    genesis->checkpoint_origin);
    if (e == ERR_TOO_FEW_COSIGNATURES)
        return fail(failure, e, "it carries fewer than %u valid cosignatures of this cluster's nodes", genesis->quorum);
    return fail(failure, ERR_CHECKPOINT, "it is no checkpoint of this cluster: %s", err_text(e));
}

/* --- that of today --- */

static void set(struct extension *x, enum audit_verdict verdict, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void set(struct extension *x, enum audit_verdict verdict, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    x->verdict = verdict;
    vsnprintf(x->text, sizeof x->text, format, args);
    va_end(args);
}

static const char *words_of(const struct failure *why, enum err e) { return why->text[0] ? why->text : err_text(e); }

/* The newest note. False: the verdict is set. */
static bool ask_now(struct extension *x, const struct ledger_source *source, const struct genesis *genesis)
{
    struct failure why = {0};
    struct buffer note = {0};
    enum err e = source->checkpoint(source->data, &note, &why), valid = OK;
    x->now = (struct checkpoint){.size = 0};
    if (e == OK && note.size > 0) valid = checkpoint_verify(&x->now, buffer_bytes(&note), genesis);
    buffer_free(&note);
    if (source_silent(e))
        set(x, AUDIT_UNREACHABLE, "%s", words_of(&why, e));
    else if (e != OK)
        set(x, AUDIT_UNPROVEN, "it shows no checkpoint: %s", words_of(&why, e));
    else if (valid != OK)
        set(x, AUDIT_UNPROVEN, "the checkpoint that it shows is not valid: %s", err_text(valid));
    return e == OK && valid == OK;
}

static bool await_size(struct extension *x, const struct ledger_source *source, const struct genesis *genesis,
                       uint64_t size)
{
    uint32_t waited_ms = 0;
    for (;;) {
        if (!ask_now(x, source, genesis)) return false;
        if (x->now.size >= size) return true;
        if (!source->wait(source->data, waited_ms)) break;
        waited_ms += SOURCE_WAIT_MS;
    }
    set(x, AUDIT_SHORT,
        "its newest checkpoint has %" PRIu64 " entries, the older one %" PRIu64 ": it is behind, or was cut",
        x->now.size, size);
    return false;
}

static void check_proof(struct extension *x, const struct ledger_source *source, const struct checkpoint *old)
{
    struct failure why = {0};
    struct tree_proof proof;
    enum err e = source->consistency(source->data, &proof, old->size, x->now.size, &why);
    if (source_silent(e))
        set(x, AUDIT_SILENT, "%s", words_of(&why, e));
    else if (e != OK)
        set(x, AUDIT_UNPROVEN, "it gives no proof that its %" PRIu64 " entries begin with those %" PRIu64 ": %s",
            x->now.size,
            old->size, words_of(&why, e));
    else if (tree_consistency_verify(old->size, x->now.size, proof.hashes, proof.count, &old->root, &x->now.root) != OK)
        set(x, AUDIT_UNPROVEN, "its proof that its %" PRIu64 " entries begin with those %" PRIu64 " does not hold",
            x->now.size,
            old->size);
    else
        set(x, AUDIT_FINE, "%s", "");
}

void extension_check(struct extension *out, const struct ledger_source *source, const struct genesis *genesis,
                     const struct checkpoint *old)
{
    *out = (struct extension){.verdict = AUDIT_UNREACHABLE};
    CHECK(old->size > 0);
    if (!await_size(out, source, genesis, old->size)) return;
    if (out->now.size > old->size)
        check_proof(out, source, old);
    else if (digest_equal(&out->now.root, &old->root))
        set(out, AUDIT_FINE, "%s", "");
    else
        set(out, AUDIT_FORKED, "%u nodes co-signed two different histories of %" PRIu64 " entries: more than %u lied",
            genesis->quorum, old->size, genesis->faulty);
}
