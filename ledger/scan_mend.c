/* Repairs. Whatever is written here was proved before: a leaf by the tree's frontier
 * and a co-signed root (by the caller), an attachment by its leaf, a row by the leaf or
 * the rows that it follows from. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "ledger/apply.h"
#include "ledger/attachment.h"
#include "ledger/content.h"
#include "ledger/proof.h"
#include "ledger/replay.h"
#include "ledger/rules.h"
#include "ledger/scan_internal.h"

/* Puts a value unless it is there already. */
static enum err put_if_other(struct table_txn *txn, bool *changed, bool *gone, enum table_number table,
                             struct bytes key, struct bytes value, struct buffer *old)
{
    enum err err = table_get(txn, (uint8_t)table, key, old);
    if (err == OK && bytes_equal(buffer_bytes(old), value)) return OK;
    if (err != OK && err != ERR_NOT_FOUND && err != ERR_CORRUPT) return err;
    *changed = true;
    *gone |= err == ERR_NOT_FOUND;
    return table_put(txn, (uint8_t)table, key, value);
}

enum err scan_mend_leaf(struct table_txn *txn, bool *changed, bool *gone, const struct tree *before,
                        struct bytes leaf)
{
    struct tree after = *before;
    struct tree_row row;
    struct digest hash;
    struct buffer old = {0};
    uint8_t key[8];
    struct bytes at = scan_key(key, before->size);
    *changed = *gone = false;
    leaf_hash(&hash, leaf);
    tree_append(&after, &row, &hash);
    enum err err = put_if_other(txn, changed, gone, TABLE_LEAF, at, leaf, &old);
    struct bytes hashes = bytes_of(row.hashes, row.count * sizeof row.hashes[0]);
    if (err == OK) err = put_if_other(txn, changed, gone, TABLE_TREE, at, hashes, &old);
    buffer_free(&old);
    return err;
}

enum err scan_mend_attachment(struct ledger *ledger, struct table_txn *txn, uint64_t index, struct bytes attachment)
{
    struct buffer bytes = {0};
    struct leaf leaf;
    struct attachment decoded;
    uint8_t key[8];
    enum err err = proof_leaf(&bytes, txn, index);
    if (err == OK && (leaf_decode(&leaf, buffer_bytes(&bytes)) != OK || leaf.index != index)) err = ERR_CORRUPT;
    if (err == OK && (index == 0 || !content_kept(&leaf.operation, leaf.decision))) err = ERR_NOT_FOUND;
    if (err == OK) err = attachment_check(&decoded, attachment, &leaf.operation.attachment);
    buffer_free(&bytes);
    if (err == OK) err = table_delete(txn, TABLE_ATTACHMENT, scan_key(key, index));
    return err == OK ? ledger_attach(ledger, txn, index, attachment) : err;
}

/* --- rows of a leaf --- */

/* The leaf's rows as they must be; *made says whether the damaged one is among them. */
static enum err mend_of_leaf(struct scan_work *w, struct table_txn *txn, bool *made, const struct genesis *genesis,
                             const struct damage *d, uint64_t index)
{
    struct meta meta;
    struct attachment decoded = {{0}, {0}};
    uint8_t key[8];
    *made = false;
    enum err err = state_meta_get(&meta, txn);
    if (err == OK) err = proof_leaf(&w->leaf_bytes, txn, index);
    if (err == OK && leaf_decode(&w->leaf, buffer_bytes(&w->leaf_bytes)) != OK) err = ERR_CORRUPT;
    if (err != OK) return err == ERR_NOT_FOUND || err == ERR_CORRUPT ? ERR_INVALID : err;
    bool good = index > 0 && arguments_decode(&w->args, w->leaf.operation.action, w->leaf.operation.args) == OK;
    if (index > 0 && content_kept(&w->leaf.operation, w->leaf.decision)) {
        err = table_get(txn, TABLE_ATTACHMENT, scan_key(key, index), &w->attachment);
        if (err == OK && attachment_check(&decoded, buffer_bytes(&w->attachment), &w->leaf.operation.attachment) != OK)
            decoded = (struct attachment){{0}, {0}};
        if (err == ERR_NOT_FOUND || err == ERR_CORRUPT) err = OK;
    }
    if (err == OK)
        err = derive_leaf(&w->derivation, txn, &w->leaf, &w->args, good, decoded.content, meta.time_ms,
                          genesis->policy);
    if (err != OK) return err;
    *made = derived_find(&w->derivation, (enum table_number)d->table, bytes_of(d->key, d->key_size)) != NULL;
    return derived_mend(&w->derivation, txn, genesis, &w->value);
}

static enum err mend_seen(struct scan_work *w, struct table_txn *txn, bool *made, const struct genesis *genesis,
                          const struct damage *d)
{
    struct id actor, request;
    uint64_t index;
    uint8_t decision;
    uint16_t reason;
    memcpy(actor.bytes, d->key + 9, sizeof actor.bytes);
    memcpy(request.bytes, d->key + 25, sizeof request.bytes);
    *made = false;
    /* The row itself answers first where it can be read: it is damaged, so it goes. */
    enum err err = table_delete(txn, TABLE_SEEN, bytes_of(d->key, d->key_size));
    if (err == OK)
        err = ledger_lookup(&index, &decision, &reason, txn, (enum actor_kind)d->key[8], &actor, get_be64(d->key),
                            &request);
    if (err == OK) return mend_of_leaf(w, txn, made, genesis, d, index);
    *made = err == ERR_NOT_FOUND; /* it is gone already */
    return err == ERR_NOT_FOUND ? OK : err;
}

/* --- rows of people and records --- */

/* The user who has this login or key. ERR_NOT_FOUND. */
static enum err find_owner(struct id *out, struct table_txn *txn, const struct damage *d)
{
    struct table_cursor *c;
    struct user *user = xcalloc(1, sizeof *user);
    bool found = false;
    enum err err = table_cursor_open(&c, txn, TABLE_USER);
    if (err != OK) {
        free(user);
        return err;
    }
    for (err = table_cursor_seek(c, (struct bytes){0}); err == OK && !found; err = found ? OK : table_cursor_next(c)) {
        struct bytes key = table_cursor_key(c);
        if (key.size != sizeof out->bytes) continue;
        memcpy(out->bytes, key.data, sizeof out->bytes);
        if (state_user_get(user, txn, out) != OK) continue;
        found = d->table == TABLE_LOGIN && user->has_login && memcmp(user->login_tag.bytes, d->key, 32) == 0;
        for (uint32_t i = 0; d->table == TABLE_KEY && i < user->key_count; i++)
            found |= memcmp(user->keys[i].key.bytes, d->key, 32) == 0;
    }
    table_cursor_close(c);
    free(user);
    return found ? OK : err;
}

static enum err mend_owner(struct table_txn *txn, bool *made, const struct damage *d)
{
    struct id owner;
    enum err err = find_owner(&owner, txn, d);
    *made = err == OK;
    if (err == ERR_NOT_FOUND) return d->table == TABLE_KEY ? ERR_INVALID : OK; /* a key may be one that was dropped */
    return err == OK ? table_put(txn, d->table, bytes_of(d->key, d->key_size), BYTES(owner.bytes)) : err;
}

static enum err mend_record(struct table_txn *txn, bool *made, const struct damage *d)
{
    struct id id;
    struct record record;
    memcpy(id.bytes, d->key, sizeof id.bytes);
    enum err err = derive_record(&record, txn, &id);
    *made = err == OK;
    return err == OK ? state_record_put(txn, &id, &record, false) : err == ERR_CORRUPT ? ERR_INVALID : err;
}

/* The ledger remembers users that it has read: also what was damaged. */
static enum err mend_user(struct ledger *ledger, struct table_txn *txn, bool *made, const struct genesis *genesis,
                          const struct damage *d)
{
    struct id id;
    struct user user;
    memcpy(id.bytes, d->key, sizeof id.bytes);
    enum err err = derive_user(&user, txn, genesis, &id);
    *made = err == OK;
    if (err == ERR_CORRUPT || err == ERR_TOO_LARGE) return ERR_INVALID;
    if (err == ERR_NOT_FOUND) return OK;
    if (err != OK) return err;
    return ledger ? ledger_user_put(ledger, txn, &id, &user) : state_user_put(txn, &id, &user);
}

static enum err mend_team(struct table_txn *txn, bool *made, const struct damage *d)
{
    struct id patient, user;
    struct team_row row;
    memcpy(patient.bytes, d->key, sizeof patient.bytes);
    memcpy(user.bytes, d->key + 16, sizeof user.bytes);
    enum err err = derive_team(&row, txn, &patient, &user);
    *made = err == OK;
    if (err == ERR_NOT_FOUND) return OK;
    if (err == ERR_CORRUPT || err == ERR_TOO_LARGE) return ERR_INVALID;
    return err == OK ? state_team_put(txn, &patient, &user, &row) : err;
}

/* --- all of them --- */

static enum err mend_derived(struct ledger *ledger, struct scan_work *w, struct table_txn *txn, bool *made,
                             const struct genesis *genesis, const struct damage *d)
{
    if (d->table == TABLE_LOGIN || d->table == TABLE_KEY) return mend_owner(txn, made, d);
    if (d->table == TABLE_USER) return mend_user(ledger, txn, made, genesis, d);
    if (d->table == TABLE_RECORD) return mend_record(txn, made, d);
    if (d->table == TABLE_TEAM) return mend_team(txn, made, d);
    if (d->table == TABLE_SEEN && d->index == 0) return mend_seen(w, txn, made, genesis, d);
    return mend_of_leaf(w, txn, made, genesis, d, d->index);
}

enum err scan_mend_row(struct ledger *ledger, struct table_txn *txn, const struct genesis *genesis,
                       const struct damage *d)
{
    bool made = false;
    CHECK(d->kind == DAMAGE_DERIVED || d->kind == DAMAGE_STRAY || d->kind == DAMAGE_LOCAL);
    CHECK(table_is_replicated((enum table_number)d->table) || d->table != TABLE_BLOB);
    if (d->kind == DAMAGE_DERIVED) {
        struct scan_work *w = scan_work_new();
        enum err err = mend_derived(ledger, w, txn, &made, genesis, d);
        scan_work_free(w);
        if (err != OK || made) return err;
    }
    if (d->table == TABLE_PEER_MARK) return table_put(txn, d->table, bytes_of(d->key, d->key_size), bytes_text(MARK_LOST));
    return table_delete(txn, d->table, bytes_of(d->key, d->key_size)); /* nothing makes it */
}
