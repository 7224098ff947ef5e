#include "ledger/release.h"

#include <string.h>

#include "crypto/hash.h"
#include "ledger/arguments.h"
#include "ledger/attachment.h"
#include "ledger/leaf.h"
#include "ledger/proof.h"
#include "ledger/tables.h"

/* The one that signed it must still be a user who may sign. */
static enum err still_usable(struct table_txn *txn, const struct actor *actor)
{
    struct user user;
    enum err err = state_user_get(&user, txn, &actor->id);
    if (err != OK) return err == ERR_NOT_FOUND ? ERR_CORRUPT : err;
    int key = user_key_find(&user, &actor->key);
    return user.disabled || key < 0 || user.keys[key].revoked ? ERR_DENIED : OK;
}

static enum err load_read(struct release *out, struct table_txn *txn, const struct leaf *leaf)
{
    struct args_record_read args;
    if (leaf->index == 0 || leaf->operation.action != ACTION_RECORD_READ || leaf->decision != DECISION_APPROVED)
        return ERR_NOT_FOUND;
    if (args_record_read_decode(&args, leaf->operation.args) != OK) return ERR_CORRUPT;
    out->leaf_index = leaf->index;
    out->reader = leaf->operation.actor.id;
    memcpy(out->reader_key, args.reader_key.bytes, sizeof out->reader_key);
    enum err err = still_usable(txn, &leaf->operation.actor);
    return err == OK ? state_opened_get(out->items, &out->count, &out->rest, txn, leaf->index) : err;
}

enum err release_load(struct release *out, struct table_txn *txn, uint64_t leaf_index)
{
    struct buffer raw = {0};
    struct leaf leaf;
    enum err err = proof_leaf(&raw, txn, leaf_index);
    if (err == OK && leaf_decode(&leaf, buffer_bytes(&raw)) != OK) err = ERR_CORRUPT;
    if (err == OK) err = load_read(out, txn, &leaf);
    buffer_free(&raw);
    return err;
}

enum err release_info(struct content_info *out, struct table_txn *txn, const struct release *release, size_t position)
{
    uint8_t key[8];
    if (position >= release->count) return ERR_INVALID;
    put_be64(key, release->items[position].content);
    enum err err = table_exists(txn, TABLE_ATTACHMENT, BYTES(key));
    return err == OK ? state_content_get(out, txn, release->items[position].content) : err;
}

enum err release_ciphertext(struct buffer *out, struct table_txn *txn, const struct release *release, size_t position,
                            const struct content_info *info)
{
    uint8_t key[8];
    struct buffer value = {0};
    struct attachment attachment;
    struct content content;
    struct digest hash;
    if (position >= release->count) return ERR_INVALID;
    put_be64(key, release->items[position].content);
    enum err err = table_get(txn, TABLE_ATTACHMENT, BYTES(key), &value);
    if (err == OK) err = attachment_decode(&attachment, buffer_bytes(&value));
    if (err == OK) err = content_decode(&content, attachment.content);
    if (err == OK) {
        hash_sha256(&hash, content.ciphertext.data, content.ciphertext.size);
        if (!digest_equal(&hash, &info->ciphertext_hash)) err = ERR_CORRUPT;
    }
    buffer_clear(out);
    if (err == OK) {
        buffer_append_bytes(out, content.ciphertext);
        if (out->failed) err = ERR_NOMEM;
    }
    buffer_free(&value);
    return err;
}
