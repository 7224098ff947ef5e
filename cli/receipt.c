#include "cli/receipt.h"

#include <string.h>

#include "base/check.h"
#include "ledger/tlog_proof.h"
#include "ledger/tree.h"

/* A valid note of some other cluster is told apart, since the remedy is another genesis file. */
enum err receipt_check_note(struct checkpoint *out, const struct genesis *genesis, struct bytes text,
                            struct failure *failure)
{
    enum err e = checkpoint_verify(out, text, genesis);
    if (e == OK) return OK;
    struct note note;
    if (note_parse(&note, text) == OK && !bytes_equal(bytes_text(note.checkpoint.origin),
                                                      bytes_text(genesis->checkpoint_origin)))
        return fail(failure, ERR_OTHER_CLUSTER, "the checkpoint is of '%s', not of '%s'", note.checkpoint.origin,
                    genesis->checkpoint_origin);
    if (e == ERR_TOO_FEW_COSIGNATURES)
        return fail(failure, e, "the checkpoint carries fewer than %u valid cosignatures of this cluster's nodes",
                    genesis->quorum);
    if (e == ERR_CHECKPOINT) return fail(failure, e, "%s", err_text(e));
    return fail(failure, e, "the checkpoint is not valid: %s", err_text(e));
}

enum err receipt_check_inclusion(struct leaf *out, const struct genesis *genesis, const struct checkpoint *checkpoint,
                                 struct bytes leaf, const struct digest *hashes, uint32_t count,
                                 struct failure *failure)
{
    struct digest hash;
    enum err e = leaf_decode(out, leaf);
    if (e != OK) return fail(failure, ERR_BAD_PROOF, "the node sent a leaf that is none: %s", err_text(e));
    leaf_hash(&hash, leaf);
    if (tree_inclusion_verify(&hash, out->index, checkpoint->size, hashes, count, &checkpoint->root) != OK)
        return fail(failure, ERR_BAD_PROOF,
                    "the leaf at %llu is not in the tree of %llu leaves that %u nodes co-signed",
                    (unsigned long long)out->index, (unsigned long long)checkpoint->size, genesis->quorum);
    return OK;
}

enum err receipt_check_leaf(struct leaf *out, const struct genesis *genesis, struct bytes note, struct bytes leaf,
                            const struct digest *hashes, uint32_t count, struct failure *failure)
{
    struct checkpoint checkpoint;
    enum err e = receipt_check_note(&checkpoint, genesis, note, failure);
    return e == OK ? receipt_check_inclusion(out, genesis, &checkpoint, leaf, hashes, count, failure) : e;
}

enum err receipt_check_operation(const struct leaf *leaf, struct bytes operation, const struct sign_public *key,
                                 struct failure *failure)
{
    CHECK(operation.size > 0);
    if (leaf->genesis.size > 0 || !bytes_equal(leaf->operation.raw, operation))
        return fail(failure, ERR_BAD_PROOF, "the leaf at %llu holds another operation than the one that was sent",
                    (unsigned long long)leaf->index);
    if (leaf_verify(leaf, key) != OK)
        return fail(failure, ERR_BAD_PROOF, "the leaf at %llu does not carry this identity's signature",
                    (unsigned long long)leaf->index);
    return OK;
}

/* --- receipts as files --- */

void receipt_format(struct buffer *out, struct bytes leaf, uint64_t index, const struct digest *hashes, uint32_t count,
                    struct bytes note)
{
    struct tlog_proof proof = {.has_extra = true, .extra = leaf, .index = index, .note = note};
    CHECK(count <= sizeof proof.path.hashes / sizeof proof.path.hashes[0]);
    memcpy(proof.path.hashes, hashes, count * sizeof *hashes);
    proof.path.count = count;
    tlog_proof_format(out, &proof);
}

/* The note, and who has cosigned it. */
static enum err check_note(struct receipt_note *out, const struct genesis *genesis, struct bytes text,
                           struct failure *failure)
{
    struct cosigner cosigners[LIMIT_NODES];
    struct note note;
    buffer_clear(&out->text);
    enum err e = receipt_check_note(&out->checkpoint, genesis, text, failure);
    if (e != OK) return e;
    uint32_t count = cosigners_of_genesis(cosigners, genesis);
    CHECK(note_parse(&note, text) == OK);
    CHECK(note_verify(&out->cosigners, &note, genesis->checkpoint_origin, cosigners, count, genesis->quorum) == OK);
    buffer_append_bytes(&out->text, text);
    return out->text.failed ? fail(failure, ERR_NOMEM, "no memory for the checkpoint") : OK;
}

enum err receipt_check_next(struct receipt *out, struct buffer *room, struct receipt_note *last,
                            const struct genesis *genesis, struct bytes text, struct failure *failure)
{
    struct tlog_proof proof;
    struct failure why = {0};
    if (tlog_proof_parse(&proof, room, text, &why) != OK)
        return fail(failure, ERR_BAD_PROOF, "it is no receipt: %s", why.text);
    if (!proof.has_extra) return fail(failure, ERR_BAD_PROOF, "it does not hold the entry that it is about");
    enum err e = last->text.size > 0 && bytes_equal(buffer_bytes(&last->text), proof.note)
                     ? OK
                     : check_note(last, genesis, proof.note, failure);
    if (e == OK)
        e = receipt_check_inclusion(&out->leaf, genesis, &last->checkpoint, proof.extra, proof.path.hashes,
                                    proof.path.count, failure);
    if (e != OK) return e;
    if (out->leaf.index != proof.index)
        return fail(failure, ERR_BAD_PROOF, "it says entry %llu, but holds entry %llu", (unsigned long long)proof.index,
                    (unsigned long long)out->leaf.index);
    out->checkpoint = last->checkpoint;
    out->cosigners = last->cosigners;
    return OK;
}

enum err receipt_check(struct receipt *out, struct buffer *room, const struct genesis *genesis, struct bytes text,
                       struct failure *failure)
{
    struct receipt_note note = {0};
    enum err e = receipt_check_next(out, room, &note, genesis, text, failure);
    buffer_free(&note.text);
    return e;
}
