#include "ledger/replay.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "ledger/content.h"
#include "ledger/proof.h"
#include "ledger/rules.h"

enum err ledger_replay_genesis(struct ledger **out, struct table_txn *txn, struct bytes leaf_bytes,
                               const struct digest *expected_cluster, struct failure *failure)
{
    struct leaf leaf;
    struct genesis *genesis = xcalloc(1, sizeof *genesis);
    enum err err = leaf_decode(&leaf, leaf_bytes);
    if (err != OK)
        fail(failure, err, "leaf 0 does not decode: %s", err_text(err));
    else if (leaf.index != 0)
        err = fail(failure, ERR_CHAIN, "leaf 0 says that it is leaf %llu", (unsigned long long)leaf.index);
    if (err == OK) err = genesis_parse(genesis, leaf.genesis, failure);
    if (err == OK && expected_cluster && !digest_equal(&genesis->cluster, expected_cluster))
        err = fail(failure, ERR_OTHER_CLUSTER, "leaf 0: the genesis is another cluster's");
    if (err == OK) err = ledger_create(out, txn, leaf.genesis, failure);
    free(genesis);
    return err;
}

/* --- the chain --- */

static enum err check_chain(const struct ledger *ledger, const struct leaf *leaf, struct failure *failure)
{
    const struct meta *meta = &ledger->meta;
    unsigned long long index = (unsigned long long)meta->size;
    char expected[65], found[65];
    if (leaf->index != meta->size)
        return fail(failure, ERR_CHAIN, "leaf %llu: it says that it is leaf %llu", index,
                    (unsigned long long)leaf->index);
    if (!digest_equal(&leaf->previous, &meta->last)) {
        hex_format(expected, meta->last.bytes, sizeof meta->last.bytes);
        hex_format(found, leaf->previous.bytes, sizeof leaf->previous.bytes);
        return fail(failure, ERR_CHAIN, "leaf %llu: previous hash is %s, leaf %llu has %s", index, found, index - 1,
                    expected);
    }
    if (leaf->time_ms < meta->time_ms) {
        char now[CLOCK_TEXT_SIZE], before[CLOCK_TEXT_SIZE];
        clock_format(now, leaf->time_ms);
        clock_format(before, meta->time_ms);
        return fail(failure, ERR_CHAIN, "leaf %llu: its time %s is before that of leaf %llu, %s", index, now, index - 1,
                    before);
    }
    return OK;
}

/* --- the signature --- */

/* Leaves of one request share its signature: one verification for all. */
static enum err check_signature(struct ledger *ledger, const struct leaf *leaf, const struct sign_public *key)
{
    struct verified_root *last = &ledger->verified;
    struct digest hash, root;
    tree_leaf_hash(&hash, leaf->operation.raw);
    enum err err = tree_inclusion_root(&root, &hash, leaf->position, leaf->count, leaf->path, leaf->path_count);
    if (err != OK) return ERR_BAD_SIGNATURE;
    bool same = last->valid && last->count == leaf->count && digest_equal(&last->root, &root) &&
                memcmp(&last->key, key, sizeof *key) == 0 &&
                memcmp(&last->signature, &leaf->signature, sizeof leaf->signature) == 0;
    if (same) return OK;
    err = leaf_verify(leaf, key);
    if (err == OK) *last = (struct verified_root){true, leaf->count, root, *key, leaf->signature};
    return err;
}

void ledger_replay_verified(struct ledger *ledger, uint32_t count, const struct digest *root,
                            const struct sign_public *key, const struct signature *signature)
{
    ledger->verified = (struct verified_root){true, count, *root, *key, *signature};
}

static enum err check_authentic(struct step *step, const struct leaf *leaf, struct failure *failure)
{
    unsigned long long index = (unsigned long long)step->index;
    char actor[ID_TEXT_SIZE];
    struct seen first;
    id_format(actor, &leaf->operation.actor.id);
    enum err err = step_authenticate(step);
    if (err != OK) return fail(failure, err, "leaf %llu, by %s: %s", index, actor, err_text(err));
    err = check_signature(step->ledger, leaf, &step->key);
    if (err != OK) return fail(failure, err, "leaf %llu, by %s: %s", index, actor, err_text(err));
    err = step_fresh(step, &first);
    if (err == ERR_STALE)
        return fail(failure, ERR_DECISION, "leaf %llu: its operation was issued more than 5 minutes off the leaf's time",
                    index);
    if (err == ERR_DUPLICATE)
        return fail(failure, ERR_DECISION, "leaf %llu: its operation is in leaf %llu already", index,
                    (unsigned long long)first.index);
    return err == OK ? OK : fail(failure, err, "leaf %llu: the store failed: %s", index, err_text(err));
}

/* --- the decision --- */

static const char *decision_text(enum decision decision) { return decision == DECISION_APPROVED ? "approved" : "denied"; }

static void subject_text(char out[static ID_TEXT_SIZE], const struct id *subject)
{
    if (id_is_zero(subject))
        snprintf(out, ID_TEXT_SIZE, "nobody");
    else
        id_format(out, subject);
}

static enum err check_decision(const struct step *step, const struct leaf *leaf, struct failure *failure)
{
    enum decision decision = step->reason == REASON_NONE ? DECISION_APPROVED : DECISION_DENIED;
    char expected[ID_TEXT_SIZE], found[ID_TEXT_SIZE];
    if (leaf->decision != decision || leaf->reason != (uint32_t)step->reason)
        return fail(failure, ERR_DECISION, "leaf %llu: %s is %s there (reason %u: %s), the rules say %s (reason %u: %s)",
                    (unsigned long long)step->index, action_name((enum action)step->op->action),
                    decision_text(leaf->decision), (unsigned)leaf->reason, reason_text((enum reason)leaf->reason),
                    decision_text(decision), (unsigned)step->reason, reason_text(step->reason));
    if (!id_equal(&leaf->subject, &step->subject)) {
        subject_text(expected, &step->subject);
        subject_text(found, &leaf->subject);
        return fail(failure, ERR_DECISION, "leaf %llu: the person affected is %s there, the rules say %s",
                    (unsigned long long)step->index, found, expected);
    }
    return OK;
}

/* The leaf as the rules make it must be the leaf given, byte for byte. The decoder
 * is strict, so after the checks above nothing can differ; a difference would be
 * our own error. */
static enum err take(struct step *step, const struct leaf *given, struct failure *failure)
{
    struct ledger *ledger = step->ledger;
    struct leaf leaf = *given;
    buffer_clear(&ledger->scratch);
    step_append(step, &ledger->scratch, &leaf);
    CHECK(step->err != OK || bytes_equal(buffer_bytes(&ledger->scratch), given->raw));
    if (step->err == OK) step_change(step);
    if (step->err == OK) content_put(step);
    if (step->err == OK) step->err = state_meta_put(step->txn, &ledger->meta);
    if (step->err == OK) return OK;
    return fail(failure, step->err, "leaf %llu: the store failed: %s", (unsigned long long)step->index,
                err_text(step->err));
}

enum err ledger_replay(struct ledger *ledger, struct table_txn *txn, struct bytes leaf_bytes, struct failure *failure)
{
    struct step *step = ledger->step;
    struct leaf leaf;
    unsigned long long index = (unsigned long long)ledger->meta.size;
    enum err err = leaf_decode(&leaf, leaf_bytes);
    if (err != OK) return fail(failure, err, "leaf %llu does not decode: %s", index, err_text(err));
    err = check_chain(ledger, &leaf, failure);
    if (err != OK) return err;
    step_begin(step, ledger, txn, &leaf.operation, leaf.time_ms);
    err = check_authentic(step, &leaf, failure);
    if (err != OK) return err;
    step_decide(step);
    if (step->err != OK) return fail(failure, step->err, "leaf %llu: the store failed: %s", index, err_text(step->err));
    err = check_decision(step, &leaf, failure);
    return err == OK ? take(step, &leaf, failure) : err;
}

/* --- attachments --- */

static enum err load_leaf(struct leaf *leaf, struct buffer *raw, struct table_txn *txn, uint64_t index)
{
    enum err err = proof_leaf(raw, txn, index);
    if (err == OK && leaf_decode(leaf, buffer_bytes(raw)) != OK) err = ERR_CORRUPT;
    return err == OK && leaf->index == 0 ? ERR_NOT_FOUND : err;
}

static enum err attach(struct ledger *ledger, struct table_txn *txn, const struct leaf *leaf, struct bytes attachment)
{
    uint8_t key[8];
    struct arguments *args = xmalloc(sizeof *args);
    enum err err = arguments_decode(args, leaf->operation.action, leaf->operation.args) == OK ? OK : ERR_CORRUPT;
    if (err == OK) err = content_store(ledger, txn, leaf->index, args, &leaf->operation, attachment);
    put_be64(key, leaf->index);
    if (err == OK) err = table_delete(txn, TABLE_MISSING, BYTES(key));
    free(args);
    return err;
}

enum err ledger_attach(struct ledger *ledger, struct table_txn *txn, uint64_t leaf_index, struct bytes attachment)
{
    struct buffer raw = {0};
    struct leaf leaf;
    struct attachment decoded;
    uint8_t key[8];
    put_be64(key, leaf_index);
    enum err err = load_leaf(&leaf, &raw, txn, leaf_index);
    if (err == OK && !content_kept(&leaf.operation, leaf.decision)) err = ERR_NOT_FOUND;
    if (err == OK) err = attachment_check(&decoded, attachment, &leaf.operation.attachment);
    if (err == OK) {
        err = table_exists(txn, TABLE_ATTACHMENT, BYTES(key));
        if (err == ERR_NOT_FOUND) err = attach(ledger, txn, &leaf, attachment);
    }
    buffer_free(&raw);
    return err;
}

enum err ledger_attachment_missing(uint64_t *leaf_index, struct table_txn *txn, uint64_t from)
{
    struct table_cursor *c;
    uint8_t key[8];
    put_be64(key, from);
    enum err err = table_cursor_open(&c, txn, TABLE_MISSING);
    if (err != OK) return err;
    err = table_cursor_seek(c, BYTES(key));
    if (err == OK && table_cursor_key(c).size != 8) err = ERR_CORRUPT;
    if (err == OK) *leaf_index = get_be64(table_cursor_key(c).data);
    table_cursor_close(c);
    return err;
}

enum err ledger_attachment(struct buffer *out, struct table_txn *txn, uint64_t leaf_index)
{
    uint8_t key[8];
    put_be64(key, leaf_index);
    return table_get(txn, TABLE_ATTACHMENT, BYTES(key), out);
}
