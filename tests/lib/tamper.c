/* tamper: what an administrator of one hospital could do to that node's own
 * ledger, with the node's keys at hand. For tests and the demo, on a stopped node.
 *
 *   tamper --dir DIR leaf INDEX       turns the decision of a leaf round
 *   tamper --dir DIR remove INDEX     removes a leaf's row
 *   tamper --dir DIR swap INDEX       swaps a leaf with the one after it
 *   tamper --dir DIR forge INDEX      rewrites the ledger: that entry happened when the one before it did, all later
 *                                     ones hang on it, all tables follow, and the checkpoint is one of that ledger,
 *                                     cosigned by this node; forge-copied: the others' cosignatures are kept
 *   tamper --dir DIR cut SIZE         nothing is left of what came after the first SIZE entries, in any table
 *   tamper --dir DIR cut-back SIZE    nothing of what came after the last kept checkpoint of at most SIZE entries, nor
 *                                     the mark up to where the Raft log was applied: as it was then
 *   tamper --dir DIR chain 0          alters the hash of the last leaf: what comes next hangs on another one
 *   tamper --dir DIR role USER:ROLE   gives a user another role
 *   tamper --dir DIR attachment INDEX alters a byte of a leaf's attachment (a record's ciphertext)
 *   tamper --dir DIR alter TABLE KEY  alters a byte of any value, sealed anew
 *   tamper --dir DIR drop TABLE KEY   removes any row
 *   tamper --dir DIR flip TABLE KEY   turns a bit below the seal, as a bad device does
 *
 * KEY is a leaf's index, "first", "last", or x and hexadecimal digits.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/random.h"
#include "ledger/leaf.h"
#include "ledger/state.h"
#include "ledger/tables.h"
#include "node/identity.h"
#include "storage/store.h"
#include "tests/lib/flip.h"
#include "tests/lib/rewrite.h"

static void key_of(uint8_t key[static 8], uint64_t index) { put_be64(key, index); }

static enum err turn_decision(struct table_txn *txn, uint64_t index)
{
    uint8_t key[8];
    struct buffer old = {0}, fresh = {0};
    struct leaf leaf;
    key_of(key, index);
    enum err e = table_get(txn, TABLE_LEAF, BYTES(key), &old);
    if (e == OK) e = leaf_decode(&leaf, buffer_bytes(&old));
    if (e != OK) return e;
    bool approved = leaf.decision == DECISION_APPROVED;
    leaf.decision = approved ? DECISION_DENIED : DECISION_APPROVED;
    leaf.reason = approved ? REASON_NO_PERMISSION : REASON_NONE;
    leaf_encode(&fresh, &leaf);
    e = table_put(txn, TABLE_LEAF, BYTES(key), buffer_bytes(&fresh));
    buffer_free(&old);
    buffer_free(&fresh);
    return e;
}

static enum err swap_leaves(struct table_txn *txn, uint64_t index)
{
    uint8_t first[8], second[8];
    struct buffer a = {0}, b = {0};
    key_of(first, index);
    key_of(second, index + 1);
    enum err e = table_get(txn, TABLE_LEAF, BYTES(first), &a);
    if (e == OK) e = table_get(txn, TABLE_LEAF, BYTES(second), &b);
    if (e == OK) e = table_put(txn, TABLE_LEAF, BYTES(first), buffer_bytes(&b));
    if (e == OK) e = table_put(txn, TABLE_LEAF, BYTES(second), buffer_bytes(&a));
    buffer_free(&a);
    buffer_free(&b);
    return e;
}

static enum err alter_attachment(struct table_txn *txn, uint64_t index)
{
    uint8_t key[8];
    struct buffer value = {0};
    key_of(key, index);
    enum err e = table_get(txn, TABLE_ATTACHMENT, BYTES(key), &value);
    if (e == OK) value.data[value.size - 1] ^= 1;
    if (e == OK) e = table_put(txn, TABLE_ATTACHMENT, BYTES(key), buffer_bytes(&value));
    buffer_free(&value);
    return e;
}

static enum err alter_chain(struct table_txn *txn)
{
    struct meta meta;
    enum err e = state_meta_get(&meta, txn);
    meta.last.bytes[0] ^= 1;
    return e == OK ? state_meta_put(txn, &meta) : e;
}

/* `what` is ID:ROLE. */
static enum err alter_role(struct table_txn *txn, const char *what)
{
    char text[ID_TEXT_SIZE] = "";
    struct id id;
    struct user user;
    const char *colon = strchr(what, ':');
    if (!colon || colon - what != ID_TEXT_SIZE - 1 || strlen(colon + 1) >= sizeof user.role) return ERR_USAGE;
    memcpy(text, what, ID_TEXT_SIZE - 1);
    enum err e = id_parse(&id, text);
    if (e == OK) e = state_user_get(&user, txn, &id);
    if (e != OK) return e;
    strcpy(user.role, colon + 1);
    return state_user_put(txn, &id, &user);
}

static enum err tamper(struct table_txn *txn, const struct node_identity *id, const char *what, const char *which)
{
    uint8_t key[8];
    const struct rewrite_cosigner own = {id->descriptor.keys.cosign, &id->secrets->cosign};
    uint64_t index = strtoull(which, NULL, 10);
    if (strcmp(what, "role") == 0) return alter_role(txn, which);
    key_of(key, index);
    if (strcmp(what, "leaf") == 0) return turn_decision(txn, index);
    if (strcmp(what, "swap") == 0) return swap_leaves(txn, index);
    if (strcmp(what, "forge") == 0) return rewrite_forge(txn, index, &own, false);
    if (strcmp(what, "forge-copied") == 0) return rewrite_forge(txn, index, &own, true);
    if (strcmp(what, "cut") == 0) return rewrite_cut(txn, index);
    if (strcmp(what, "cut-back") == 0) return rewrite_cut_back(txn, index);
    if (strcmp(what, "chain") == 0) return alter_chain(txn);
    if (strcmp(what, "attachment") == 0) return alter_attachment(txn, index);
    if (strcmp(what, "remove") == 0) {
        enum err e = table_exists(txn, TABLE_LEAF, BYTES(key));
        return e == OK ? table_delete(txn, TABLE_LEAF, BYTES(key)) : e;
    }
    return ERR_USAGE;
}

/* --- any row --- */

static uint8_t table_named(const char *name)
{
    for (size_t i = 0; i < ledger_tables_count; i++)
        if (strcmp(ledger_tables[i].name, name) == 0) return ledger_tables[i].table;
    return 0;
}

static enum err find_key(struct buffer *key, struct table_txn *txn, uint8_t table, const char *word)
{
    struct table_cursor *c;
    uint8_t index[8];
    bool first = strcmp(word, "first") == 0, last = strcmp(word, "last") == 0;
    if (word[0] == 'x') {
        uint8_t *at = buffer_extend(key, strlen(word + 1) / 2);
        return at ? hex_parse(at, key->size, word + 1) : ERR_NOMEM;
    }
    if (!first && !last) {
        key_of(index, strtoull(word, NULL, 10));
        buffer_append(key, index, sizeof index);
        return OK;
    }
    enum err e = table_cursor_open(&c, txn, table);
    if (e != OK) return e;
    e = first ? table_cursor_seek(c, (struct bytes){0}) : table_cursor_seek_back(c, (struct bytes){0});
    if (e == OK) buffer_append_bytes(key, table_cursor_key(c));
    table_cursor_close(c);
    return e;
}

static enum err alter_row(struct table_txn *txn, uint8_t table, struct bytes key, bool drop)
{
    struct buffer value = {0};
    enum err e = table_get(txn, table, key, &value);
    if (e == OK && value.size == 0) e = ERR_INVALID;
    if (e == OK && drop) e = table_delete(txn, table, key);
    if (e == OK && !drop) value.data[value.size / 2] ^= 1;
    if (e == OK && !drop) e = table_put(txn, table, key, buffer_bytes(&value));
    buffer_free(&value);
    return e;
}

struct row_change {
    const char *what, *table, *word;
    struct buffer key;
};

static enum err change_row(struct table_txn *txn, struct row_change *c)
{
    uint8_t table = table_named(c->table);
    if (!table) return ERR_NOT_FOUND;
    enum err e = find_key(&c->key, txn, table, c->word);
    if (e == OK) e = table_exists(txn, table, buffer_bytes(&c->key));
    if (e != OK || strcmp(c->what, "flip") == 0) return e;
    bool alter = strcmp(c->what, "alter") == 0, drop = strcmp(c->what, "drop") == 0;
    return alter || drop ? alter_row(txn, table, buffer_bytes(&c->key), drop) : ERR_USAGE;
}

static int complain(enum err e, const struct failure *f)
{
    fprintf(stderr, "tamper: %s\n", f && f->text[0] ? f->text : err_text(e));
    return 1;
}

int main(int argc, char **argv)
{
    struct node_identity id;
    struct config config;
    struct failure failure = {0};
    char path[FILES_PATH];
    if ((argc != 5 && argc != 6) || strcmp(argv[1], "--dir") != 0) return complain(ERR_USAGE, NULL);
    struct row_change change = {.what = argv[3], .table = argv[4], .word = argv[5]};
    crypto_init();
    config_defaults(&config);
    if (files_path(path, argv[2], "consiliumd.conf", NULL) == OK && files_exists(path))
        config_read_file(&config, path, NULL);
    enum err e = identity_open(&id, argv[2], &config, false, &failure);
    if (e != OK) return complain(e, &failure);
    struct store *store = NULL;
    struct table_txn *txn = NULL;
    struct store_options options = {.directory = id.state_directory, .tables = ledger_tables,
                                    .table_count = ledger_tables_count, .key = id.storage_key,
                                    .map_size = UINT64_C(16) << 30}; /* as the testbed's nodes: sanitizers have no 1
                                                                      * TiB */
    e = store_open(&store, &options, &failure);
    if (e == OK) e = store_begin_write(&txn, store);
    if (e == OK) {
        e = argc == 6 ? change_row(txn, &change) : tamper(txn, &id, argv[3], argv[4]);
        if (e == OK)
            e = store_commit(txn);
        else
            store_abort(txn);
    }
    store_close(store);
    if (e == OK && argc == 6 && strcmp(change.what, "flip") == 0 &&
        flip_value(id.state_directory, change.table, buffer_bytes(&change.key), 203) != 0)
        e = ERR_IO;
    buffer_free(&change.key);
    identity_close(&id);
    return e == OK ? 0 : complain(e, &failure);
}
