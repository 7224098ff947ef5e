#include "ledger/proof.h"

#include "ledger/state.h"
#include "ledger/tables.h"

struct source {
    struct table_txn *txn;
    struct buffer row;
};

static enum err fetch(void *context, struct digest *out, unsigned level, uint64_t index)
{
    struct source *source = context;
    uint8_t key[8];
    uint64_t row = tree_row_of(level, index);
    put_be64(key, row);
    enum err err = table_get(source->txn, TABLE_TREE, BYTES(key), &source->row);
    if (err == ERR_NOT_FOUND) return ERR_CORRUPT; /* every leaf has its row */
    if (err != OK) return err;
    return tree_row_pick(out, buffer_bytes(&source->row), row, level);
}

struct cached_source {
    struct source source;
    struct proof_cache *cache;
};

static enum err fetch_cached(void *context, struct digest *out, unsigned level, uint64_t index)
{
    struct cached_source *cached = context;
    size_t slot = (size_t)(index + level * 37u) % PROOF_KEPT;
    if (cached->cache->kept[slot].used && cached->cache->kept[slot].level == level &&
        cached->cache->kept[slot].index == index) {
        *out = cached->cache->kept[slot].hash;
        return OK;
    }
    enum err err = fetch(&cached->source, out, level, index);
    if (err != OK) return err;
    cached->cache->kept[slot].used = true;
    cached->cache->kept[slot].level = (uint8_t)level;
    cached->cache->kept[slot].index = index;
    cached->cache->kept[slot].hash = *out;
    return OK;
}

enum err proof_size(uint64_t *size, struct table_txn *txn)
{
    struct meta meta;
    enum err err = state_meta_get(&meta, txn);
    *size = err == OK ? meta.size : 0;
    return err == ERR_NOT_FOUND ? OK : err;
}

/* ERR_INVALID unless size <= present. */
static enum err check_size(struct table_txn *txn, uint64_t size)
{
    uint64_t present;
    enum err err = proof_size(&present, txn);
    if (err != OK) return err;
    return size <= present ? OK : ERR_INVALID;
}

enum err proof_leaf(struct buffer *out, struct table_txn *txn, uint64_t index)
{
    uint8_t key[8];
    put_be64(key, index);
    return table_get(txn, TABLE_LEAF, BYTES(key), out);
}

enum err proof_tree(struct tree *out, struct table_txn *txn, uint64_t size)
{
    struct source source = {.txn = txn};
    enum err err = tree_restore(out, size, fetch, &source);
    buffer_free(&source.row);
    return err;
}

enum err proof_root(struct digest *out, struct table_txn *txn, uint64_t size)
{
    struct source source = {.txn = txn};
    enum err err = check_size(txn, size);
    if (err == OK) err = tree_root_at(out, size, fetch, &source);
    buffer_free(&source.row);
    return err;
}

enum err proof_inclusion(struct tree_proof *out, struct table_txn *txn, uint64_t index, uint64_t size)
{
    struct source source = {.txn = txn};
    enum err err = check_size(txn, size);
    if (err == OK) err = tree_inclusion(out, index, size, fetch, &source);
    buffer_free(&source.row);
    return err;
}

enum err proof_inclusion_cached(struct tree_proof *out, struct proof_cache *cache, struct table_txn *txn,
                                uint64_t index,
                                uint64_t size)
{
    struct cached_source cached = {.source = {.txn = txn}, .cache = cache};
    enum err err = cache->present ? OK : proof_size(&cache->present, txn);
    if (err == OK && size > cache->present) err = ERR_INVALID;
    if (err == OK) err = tree_inclusion(out, index, size, fetch_cached, &cached);
    buffer_free(&cached.source.row);
    return err;
}

enum err proof_consistency(struct tree_proof *out, struct table_txn *txn, uint64_t old_size, uint64_t new_size)
{
    struct source source = {.txn = txn};
    enum err err = check_size(txn, new_size);
    if (err == OK) err = tree_consistency(out, old_size, new_size, fetch, &source);
    buffer_free(&source.row);
    return err;
}

enum err proof_tile(struct digest hashes[static TILE_WIDTH], struct table_txn *txn, const struct tile *tile)
{
    struct source source = {.txn = txn};
    uint64_t present;
    enum err err = proof_size(&present, txn);
    if (err == OK && tile_width_at(present, tile->level, tile->index) < tile->width) err = ERR_NOT_FOUND;
    if (err == OK) err = tile_from_rows(hashes, tile, fetch, &source);
    buffer_free(&source.row);
    return err;
}
