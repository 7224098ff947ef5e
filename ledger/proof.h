/* Leaves and proofs from the tables, at any size up to the present one (ledger/tree.h).
 * Only transactions: any thread. */
#ifndef LEDGER_PROOF_H
#define LEDGER_PROOF_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/table.h"
#include "ledger/tile.h"
#include "ledger/tree.h"

/* The number of leaves in this transaction. */
enum err proof_size(uint64_t *size, struct table_txn *txn);
/* The leaf as encoded; ERR_NOT_FOUND. */
enum err proof_leaf(struct buffer *out, struct table_txn *txn, uint64_t index);
/* The root of the first `size` leaves. ERR_INVALID: more than there are. */
enum err proof_root(struct digest *out, struct table_txn *txn, uint64_t size);
/* The frontier at `size`, to go on appending to. */
enum err proof_tree(struct tree *out, struct table_txn *txn, uint64_t size);
/* That leaf `index` is in the tree of `size` leaves. ERR_INVALID unless index < size <= present. */
enum err proof_inclusion(struct tree_proof *out, struct table_txn *txn, uint64_t index, uint64_t size);
/* The same for several proofs in one transaction, which read each hash once. Zero it first. */
#define PROOF_KEPT 256
struct proof_cache {
    uint64_t present; /* leaves; 0: not read so far */
    struct {
        bool used;
        uint8_t level;
        uint64_t index;
        struct digest hash;
    } kept[PROOF_KEPT];
};
enum err proof_inclusion_cached(struct tree_proof *out, struct proof_cache *cache, struct table_txn *txn,
                                uint64_t index,
                                uint64_t size);
/* That the first `old_size` leaves of the tree of `new_size` are the old tree.
 * ERR_INVALID unless 0 < old_size <= new_size <= present. Equal sizes: no hashes. */
enum err proof_consistency(struct tree_proof *out, struct table_txn *txn, uint64_t old_size, uint64_t new_size);
/* A tile's hashes. ERR_NOT_FOUND: this transaction's tree has no such tile, or fewer hashes in it. */
enum err proof_tile(struct digest hashes[static TILE_WIDTH], struct table_txn *txn, const struct tile *tile);

#endif
