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

void replay_leaf_read(struct replay_leaf *out, struct tree_memo *memo, struct bytes bytes)
{
    const struct leaf *leaf = &out->leaf;
    struct digest hash;
    out->decoded = leaf_decode(&out->leaf, bytes);
    out->rooted = out->verified = false;
    leaf_hash(&out->hash, bytes);
    if (out->decoded != OK || leaf->genesis.size > 0) return;
    tree_leaf_hash(&hash, leaf->operation.raw);
    out->rooted = tree_inclusion_root_memo(&out->root, memo, &hash, leaf->position, leaf->count, leaf->path,
                                           leaf->path_count) == OK;
}

/* Leaves of one request share its signature: one verification for all. */
static enum err check_signature(struct ledger *ledger, struct replay_leaf *read, const struct sign_public *key)
{
    struct verified_root *last = &ledger->verified;
    const struct leaf *leaf = &read->leaf;
    uint8_t message[REQUEST_SIGNED_SIZE];
    if (!read->rooted) return ERR_BAD_SIGNATURE;
    if (read->verified && memcmp(&read->key, key, sizeof *key) == 0) return OK;
    bool same = last->valid && last->count == leaf->count && digest_equal(&last->root, &read->root) &&
                memcmp(&last->key, key, sizeof *key) == 0 &&
                memcmp(&last->signature, &leaf->signature, sizeof leaf->signature) == 0;
    if (same) return OK;
    request_signed_bytes(message, leaf->count, &read->root);
    if (sign_verify(&leaf->signature, key, BYTES(message)) != OK) return ERR_BAD_SIGNATURE;
    *last = (struct verified_root){true, leaf->count, read->root, *key, leaf->signature};
    read->verified = true;
    read->key = *key;
    return OK;
}

static enum err check_fresh(struct step *step, const struct replay_leaf *read, uint64_t *first)
{
    const struct replay_aside *aside = step->ledger->aside;
    struct seen row = {0};
    enum err err;
    if (aside) {
        if (step_stale(step)) return ERR_STALE;
        err = aside->find(aside->data, first, read);
        return err == OK ? ERR_DUPLICATE : err == ERR_NOT_FOUND ? OK : err;
    }
    err = step_fresh(step, &row);
    *first = row.index;
    return err;
}

static enum err check_authentic(struct step *step, struct replay_leaf *read, struct failure *failure)
{
    unsigned long long index = (unsigned long long)step->index;
    const struct leaf *leaf = &read->leaf;
    char actor[ID_TEXT_SIZE];
    uint64_t first = 0;
    enum err err = step_authenticate(step);
    if (err == OK) err = check_signature(step->ledger, read, &step->key);
    if (err != OK) {
        id_format(actor, &leaf->operation.actor.id);
        return fail(failure, err, "leaf %llu, by %s: %s", index, actor, err_text(err));
    }
    err = check_fresh(step, read, &first);
    if (err == ERR_STALE)
        return fail(failure, ERR_DECISION,
                    "leaf %llu: its operation was issued more than 5 minutes off the leaf's time",
                    index);
    if (err == ERR_DUPLICATE)
        return fail(failure, ERR_DECISION, "leaf %llu: its operation is in leaf %llu already", index,
                    (unsigned long long)first);
    return err == OK ? OK : fail(failure, err, "leaf %llu: the store failed: %s", index, err_text(err));
}

/* --- the decision --- */

static const char *decision_text(enum decision decision)
{
    return decision == DECISION_APPROVED ? "approved" : "denied";
}

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
        return fail(failure, ERR_DECISION,
                    "leaf %llu: %s is %s there (reason %u: %s), the rules say %s (reason %u: %s)",
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
static void append(struct step *step, const struct leaf *given)
{
    struct ledger *ledger = step->ledger;
    struct leaf leaf = *given;
    buffer_clear(&ledger->scratch);
    step_append(step, &ledger->scratch, &leaf);
    CHECK(step->err != OK || bytes_equal(buffer_bytes(&ledger->scratch), given->raw));
}

/* What key generation was answered it reads again from the leaf; nothing else reads one. */
static enum err put_answer(struct step *step, struct bytes leaf)
{
    uint8_t key[8];
    if (step->op->action != ACTION_KEY_ANSWER) return OK;
    put_be64(key, step->index);
    return table_put(step->txn, TABLE_LEAF, BYTES(key), leaf);
}

/* The same, of a ledger that is only verified. */
static void append_aside(struct step *step, const struct replay_leaf *read)
{
    struct ledger *ledger = step->ledger;
    const struct replay_aside *aside = ledger->aside;
    enum err err = put_answer(step, read->leaf.raw);
    if (err == OK) err = aside->add(aside->data, read, step->index, step->time_ms);
    if (err != OK) {
        step_failed(step, err);
        return;
    }
    tree_append(&ledger->tree, NULL, &read->hash);
    ledger->meta.last = read->hash;
    ledger->meta.size = step->index + 1;
    ledger->meta.time_ms = step->time_ms;
    if (step->reason != REASON_NONE) ledger->meta.denied++;
}

static enum err take(struct step *step, const struct replay_leaf *read, struct failure *failure)
{
    struct ledger *ledger = step->ledger;
    if (ledger->aside)
        append_aside(step, read);
    else
        append(step, &read->leaf);
    if (step->err == OK) step_change(step);
    if (step->err == OK) content_put(step);
    if (step->err == OK && !ledger->aside) step->err = state_meta_put(step->txn, &ledger->meta);
    if (step->err == OK) return OK;
    return fail(failure, step->err, "leaf %llu: the store failed: %s", (unsigned long long)step->index,
                err_text(step->err));
}

enum err ledger_replay_read(struct ledger *ledger, struct table_txn *txn, struct replay_leaf *read,
                            struct failure *failure)
{
    struct step *step = ledger->step;
    const struct leaf *leaf = &read->leaf;
    unsigned long long index = (unsigned long long)ledger->meta.size;
    enum err err = read->decoded;
    if (err != OK) return fail(failure, err, "leaf %llu does not decode: %s", index, err_text(err));
    err = check_chain(ledger, leaf, failure);
    if (err != OK) return err;
    step_begin(step, ledger, txn, &leaf->operation, leaf->time_ms);
    err = check_authentic(step, read, failure);
    if (err != OK) return err;
    step_decide(step);
    if (step->err != OK) return fail(failure, step->err, "leaf %llu: the store failed: %s", index, err_text(step->err));
    err = check_decision(step, leaf, failure);
    return err == OK ? take(step, read, failure) : err;
}

enum err ledger_replay(struct ledger *ledger, struct table_txn *txn, struct bytes leaf, struct failure *failure)
{
    struct replay_leaf read;
    replay_leaf_read(&read, NULL, leaf);
    return ledger_replay_read(ledger, txn, &read, failure);
}

void ledger_replay_aside(struct ledger *ledger, const struct replay_aside *aside) { ledger->aside = aside; }

void ledger_tree(struct tree *out, const struct ledger *ledger) { *out = ledger->tree; }

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
