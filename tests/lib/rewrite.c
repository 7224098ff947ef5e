#include "tests/lib/rewrite.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "consensus/witness_rows.h"
#include "ledger/apply.h"
#include "ledger/checkpoint.h"
#include "ledger/leaf.h"
#include "ledger/proof.h"
#include "ledger/replay.h"
#include "ledger/state.h"
#include "ledger/tables.h"

/* --- all leaves --- */

struct leaves {
    struct buffer *items;
    uint64_t count;
};

static enum err leaves_load(struct leaves *l, struct table_txn *txn)
{
    enum err e = proof_size(&l->count, txn);
    l->items = e == OK ? xcalloc(l->count, sizeof *l->items) : NULL;
    for (uint64_t i = 0; e == OK && i < l->count; i++) e = proof_leaf(&l->items[i], txn, i);
    return e;
}

static void leaves_free(struct leaves *l)
{
    for (uint64_t i = 0; l->items && i < l->count; i++) buffer_free(&l->items[i]);
    free(l->items);
}

/* --- deriving everything else from them --- */

/* Rows whose key is not below `from`. */
static enum err drop_rows(struct table_txn *txn, uint8_t table, struct bytes from)
{
    struct table_cursor *c;
    struct buffer key = {0};
    enum err e = table_cursor_open(&c, txn, table);
    if (e != OK) return e;
    while ((e = table_cursor_seek(c, from)) == OK) {
        buffer_clear(&key);
        buffer_append_bytes(&key, table_cursor_key(c));
        e = table_delete(txn, table, buffer_bytes(&key));
        if (e != OK) break;
    }
    table_cursor_close(c);
    buffer_free(&key);
    return e == ERR_NOT_FOUND ? OK : e;
}

static enum err drop_state(struct table_txn *txn)
{
    enum err e = OK;
    for (size_t i = 0; e == OK && i < ledger_tables_count; i++) {
        uint8_t table = ledger_tables[i].table;
        if (table_is_replicated((enum table_number)table) && table != TABLE_ATTACHMENT)
            e = drop_rows(txn, table, (struct bytes){0});
    }
    return e;
}

/* What replaying calls missing is there already. */
static enum err derive(struct table_txn *txn, const struct leaves *l)
{
    struct ledger *ledger = NULL;
    struct failure why = {0};
    enum err e = drop_state(txn);
    if (e == OK) e = ledger_replay_genesis(&ledger, txn, buffer_bytes(&l->items[0]), NULL, &why);
    for (uint64_t i = 1; e == OK && i < l->count; i++)
        e = ledger_replay(ledger, txn, buffer_bytes(&l->items[i]), &why);
    ledger_free(ledger);
    return e == OK ? drop_rows(txn, TABLE_MISSING, (struct bytes){0}) : e;
}

/* --- kept checkpoints --- */

/* The newest of at most so many entries, with where it stands in the Raft log. */
static enum err checkpoint_before(struct witnessed *out, struct table_txn *txn, uint64_t most)
{
    struct table_cursor *c;
    struct buffer value = {0};
    uint8_t key[8];
    put_be64(key, most);
    enum err e = table_cursor_open(&c, txn, TABLE_CHECKPOINT);
    if (e != OK) return e;
    for (e = table_cursor_seek_back(c, BYTES(key)); e == OK; e = table_cursor_previous(c)) {
        e = table_cursor_value(c, &value);
        if (e == OK) e = witnessed_decode(out, buffer_bytes(&value));
        if (e != OK || out->raft_index != 0) break;
        buffer_free(&out->note);
    }
    table_cursor_close(c);
    buffer_free(&value);
    return e;
}

/* Of the members whose lines a note has. */
static enum err copy_cosignatures(struct cosignature out[static LIMIT_NODES], const struct cosigner *cosigners,
                                  uint32_t count, const struct buffer *text)
{
    struct note note;
    enum err e = note_parse(&note, buffer_bytes(text));
    for (uint32_t line = 0; e == OK && line < note.count; line++)
        for (uint32_t i = 0; i < count; i++)
            if (bytes_equal(note.lines[line].name, bytes_text(cosigners[i].name)))
                out[i] = note.lines[line].cosignature;
    return e;
}

static enum err forge_note(struct witnessed *kept, const struct genesis *genesis, const struct rewrite_cosigner *own,
                           bool copied)
{
    struct cosigner cosigners[LIMIT_NODES];
    struct cosignature cosignatures[LIMIT_NODES] = {{0}};
    struct checkpoint checkpoint;
    uint32_t count = cosigners_of_genesis(cosigners, genesis);
    enum err e = copied ? copy_cosignatures(cosignatures, cosigners, count, &kept->note) : OK;
    if (e != OK) return e;
    checkpoint_set(&checkpoint, genesis, kept->size, &kept->root);
    for (uint32_t i = 0; i < count; i++)
        if (memcmp(&cosigners[i].key, &own->public_key, sizeof own->public_key) == 0)
            checkpoint_cosign(&cosignatures[i], &checkpoint, (uint64_t)time(NULL), own->secret);
    buffer_clear(&kept->note);
    checkpoint_format(&kept->note, &checkpoint, cosigners, cosignatures, count);
    return kept->note.failed ? ERR_NOMEM : OK;
}

/* In place of all that are kept. */
static enum err forge_checkpoint(struct table_txn *txn, const struct leaves *l, const struct rewrite_cosigner *own,
                                 bool copied)
{
    struct witnessed kept = {0};
    struct buffer row = {0};
    uint8_t key[8];
    struct leaf first;
    struct genesis *genesis = xcalloc(1, sizeof *genesis);
    enum err e = checkpoint_before(&kept, txn, l->count);
    if (e == OK) e = leaf_decode(&first, buffer_bytes(&l->items[0]));
    if (e == OK) e = genesis_parse(genesis, first.genesis, NULL);
    if (e == OK) e = proof_root(&kept.root, txn, kept.size);
    if (e == OK) e = forge_note(&kept, genesis, own, copied);
    if (e == OK) e = drop_rows(txn, TABLE_CHECKPOINT, (struct bytes){0});
    if (e == OK) {
        put_be64(key, kept.size);
        witnessed_encode(&row, &kept);
        e = row.failed ? ERR_NOMEM : table_put(txn, TABLE_CHECKPOINT, BYTES(key), buffer_bytes(&row));
    }
    buffer_free(&row);
    buffer_free(&kept.note);
    free(genesis);
    return e == ERR_NOT_FOUND ? ERR_INVALID : e;
}

/* --- another history --- */

static enum err rehang(struct leaves *l, uint64_t index)
{
    struct leaf before, leaf;
    struct buffer fresh = {0};
    enum err e = index > 1 && index < l->count ? leaf_decode(&before, buffer_bytes(&l->items[index - 1])) : ERR_INVALID;
    for (uint64_t i = index; e == OK && i < l->count; i++) {
        e = leaf_decode(&leaf, buffer_bytes(&l->items[i]));
        if (e != OK) break;
        if (i == index && leaf.time_ms == before.time_ms) e = ERR_INVALID;
        if (i == index) leaf.time_ms = before.time_ms;
        leaf_hash(&leaf.previous, buffer_bytes(&l->items[i - 1]));
        buffer_clear(&fresh);
        leaf_encode(&fresh, &leaf);
        buffer_clear(&l->items[i]);
        buffer_append_bytes(&l->items[i], buffer_bytes(&fresh));
    }
    buffer_free(&fresh);
    return e;
}

enum err rewrite_forge(struct table_txn *txn, uint64_t index, const struct rewrite_cosigner *own, bool copied)
{
    struct leaves l = {0};
    enum err e = leaves_load(&l, txn);
    if (e == OK) e = rehang(&l, index);
    if (e == OK) e = derive(txn, &l);
    if (e == OK) e = forge_checkpoint(txn, &l, own, copied);
    leaves_free(&l);
    return e;
}

/* --- a shorter one --- */

static enum err drop_after(struct table_txn *txn, uint64_t size)
{
    uint8_t leaf[8], checkpoint[8];
    put_be64(leaf, size);
    put_be64(checkpoint, size + 1);
    enum err e = drop_rows(txn, TABLE_ATTACHMENT, BYTES(leaf));
    if (e == OK) e = drop_rows(txn, TABLE_CONTENT_INFO, BYTES(leaf));
    return e == OK ? drop_rows(txn, TABLE_CHECKPOINT, BYTES(checkpoint)) : e;
}

enum err rewrite_cut(struct table_txn *txn, uint64_t size)
{
    struct leaves l = {0};
    enum err e = leaves_load(&l, txn);
    if (e == OK && (size == 0 || size > l.count)) e = ERR_INVALID;
    if (e == OK) {
        struct leaves beginning = {l.items, size};
        e = derive(txn, &beginning);
    }
    if (e == OK) e = drop_after(txn, size);
    leaves_free(&l);
    return e;
}

enum err rewrite_cut_back(struct table_txn *txn, uint64_t most)
{
    struct witnessed kept = {0};
    enum err e = checkpoint_before(&kept, txn, most);
    struct applied applied = {kept.raft_index, kept.raft_term};
    if (e == OK) e = rewrite_cut(txn, kept.size);
    if (e == OK) e = state_applied_put(txn, &applied);
    buffer_free(&kept.note);
    return e;
}
