/* The ledger's Merkle tree: RFC 9162 section 2.1, SHA-256.
 *
 *   leaf SHA-256(0x00 || leaf), interior SHA-256(0x01 || left || right), empty SHA-256("")
 *
 * Storage: the perfect subtree of level L and index j covers leaves j*2^L up to
 * (j+1)*2^L - 1 and never changes once they are there. Row i of the store holds,
 * lowest level first, the hashes of all perfect subtrees whose last leaf is i:
 * so (L, j) stands in row (j+1)*2^L - 1 at L*32, one row is written per leaf,
 * and nothing is ever rewritten. Everything else (any root, any proof, also of
 * an earlier size) is computed from O(log n) of them through a fetch callback.
 *
 * Pure; any thread on its own struct. */
#ifndef LEDGER_TREE_H
#define LEDGER_TREE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/limits.h"

#define TREE_LEVELS 63 /* sizes below 2^63 */
#define TREE_SIZE_MAX ((1ull << TREE_LEVELS) - 1)

void tree_leaf_hash(struct digest *out, struct bytes leaf);
void tree_node_hash(struct digest *out, const struct digest *left, const struct digest *right);
void tree_empty_root(struct digest *out);

/* --- appending: the frontier --- */

/* peaks[L] is the perfect subtree of level L at the right edge, valid where bit L of `size` is set. */
struct tree {
    uint64_t size;
    struct digest peaks[TREE_LEVELS];
};
/* The row to store for an appended leaf; count = 1 + trailing one bits of its index. */
struct tree_row {
    uint32_t count;
    struct digest hashes[TREE_LEVELS + 1];
};
/* Zero-initialised is the empty tree. */
void tree_append(struct tree *tree, struct tree_row *row, const struct digest *leaf_hash); /* row may be NULL */
void tree_root(struct digest *out, const struct tree *tree);

/* --- from stored rows --- */

/* OK, or the store's error, which the callers below hand on. */
typedef enum err (*tree_fetch)(void *context, struct digest *out, unsigned level, uint64_t index);
/* Where (level, index) stands. */
uint64_t tree_row_of(unsigned level, uint64_t index);
/* Picks a level's hash out of a stored row; ERR_CORRUPT when the row is not `32 * count` bytes of its index. */
enum err tree_row_pick(struct digest *out, struct bytes row, uint64_t row_index, unsigned level);

/* The frontier at `size`, for going on after a restart. */
enum err tree_restore(struct tree *out, uint64_t size, tree_fetch fetch, void *context);
enum err tree_root_at(struct digest *out, uint64_t size, tree_fetch fetch, void *context);

struct tree_proof {
    uint32_t count;
    struct digest hashes[TREE_LEVELS + 1];
};
/* RFC 9162 2.1.3.1; index < size (else ERR_INVALID). */
enum err tree_inclusion(struct tree_proof *out, uint64_t index, uint64_t size, tree_fetch fetch, void *context);
/* RFC 9162 2.1.4.1; 0 < old_size <= new_size (else ERR_INVALID); empty when they are equal. */
enum err tree_consistency(struct tree_proof *out, uint64_t old_size, uint64_t new_size, tree_fetch fetch,
                          void *context);

/* --- verifying --- */

/* The number of hashes that an inclusion proof must have. */
uint32_t tree_inclusion_size(uint64_t index, uint64_t size);
/* RFC 9162 2.1.3.2 up to the comparison: the root that the path leads to.
 * ERR_BAD_PROOF: index >= size, or another number of hashes than it must have. */
enum err tree_inclusion_root(struct digest *out, const struct digest *leaf_hash, uint64_t index, uint64_t size,
                             const struct digest *hashes, uint32_t count);
/* The same for leaves of one small tree, one after another: what they have in common is hashed once.
 * Zero-initialise. */
#define TREE_MEMO_LEVELS 6
struct tree_memo {
    struct {
        bool used;
        struct digest left, right, parent;
    } levels[TREE_MEMO_LEVELS];
};
enum err tree_inclusion_root_memo(struct digest *out, struct tree_memo *memo, const struct digest *leaf_hash,
                                  uint64_t index, uint64_t size, const struct digest *hashes, uint32_t count);
/* OK or ERR_BAD_PROOF. */
enum err tree_inclusion_verify(const struct digest *leaf_hash, uint64_t index, uint64_t size,
                               const struct digest *hashes, uint32_t count, const struct digest *root);
/* RFC 9162 2.1.4.2. OK or ERR_BAD_PROOF; equal sizes: no hashes and equal roots;
 * old_size 0 is refused, for it proves nothing. */
enum err tree_consistency_verify(uint64_t old_size, uint64_t new_size, const struct digest *hashes, uint32_t count,
                                 const struct digest *old_root, const struct digest *new_root);

/* --- small trees in memory (the operations of a request) --- */

/* All nodes of a tree over `count` leaf hashes, level after level from the
 * leaves; a node without a sibling is repeated one level up. The root is the
 * last one. */
#define TREE_LIST_NODES(count) (2 * (count) + 31) /* room: 2^k + 1 leaves have 2 * leaves + k - 1 nodes, the most */
/* nodes[0 .. count - 1] are given; the rest is filled in. The number of nodes; count > 0 (CHECK). */
uint32_t tree_list_build(struct digest *nodes, uint32_t count);
/* Inclusion proof of leaf `index`; index < count (CHECK). */
void tree_list_path(struct tree_proof *out, const struct digest *nodes, uint32_t count, uint32_t index);

#endif
