#include "ledger/tree.h"

#include <assert.h>
#include <string.h>

#include "base/check.h"
#include "crypto/hash.h"

static_assert(sizeof(struct digest) == 32, "rows are digests one after the other");

void tree_leaf_hash(struct digest *out, struct bytes leaf)
{
    static const uint8_t tag[1] = {0};
    struct bytes parts[] = {BYTES(tag), leaf};
    hash_sha256_parts(out, parts, 2);
}

void tree_node_hash(struct digest *out, const struct digest *left, const struct digest *right)
{
    uint8_t input[1 + 2 * sizeof(struct digest)] = {1};
    memcpy(input + 1, left, sizeof *left);
    memcpy(input + 1 + sizeof *left, right, sizeof *right);
    hash_sha256(out, input, sizeof input);
}

void tree_empty_root(struct digest *out) { hash_sha256(out, "", 0); }

/* --- the frontier --- */

/* Folds peaks, lowest first, into the root of what they cover. */
static void fold(struct digest *acc, bool *any, const struct digest *left)
{
    if (*any)
        tree_node_hash(acc, left, acc);
    else
        *acc = *left;
    *any = true;
}

void tree_append(struct tree *tree, struct tree_row *row, const struct digest *leaf_hash)
{
    CHECK(tree->size < TREE_SIZE_MAX);
    struct digest h = *leaf_hash;
    unsigned level = 0;
    if (row) row->hashes[0] = h;
    for (uint64_t n = tree->size; n & 1; n >>= 1) {
        tree_node_hash(&h, &tree->peaks[level], &h);
        level++;
        if (row) row->hashes[level] = h;
    }
    if (row) row->count = level + 1;
    tree->peaks[level] = h;
    tree->size++;
}

void tree_root(struct digest *out, const struct tree *tree)
{
    bool any = false;
    tree_empty_root(out);
    for (unsigned level = 0; level < TREE_LEVELS; level++)
        if (tree->size >> level & 1) fold(out, &any, &tree->peaks[level]);
}

/* --- from stored rows --- */

uint64_t tree_row_of(unsigned level, uint64_t index)
{
    CHECK(level < TREE_LEVELS && index < TREE_SIZE_MAX >> level);
    return ((index + 1) << level) - 1;
}

enum err tree_row_pick(struct digest *out, struct bytes row, uint64_t row_index, unsigned level)
{
    unsigned count = 1 + (unsigned)__builtin_ctzll(row_index + 1);
    if (row.size != count * sizeof *out || level >= count) return ERR_CORRUPT;
    memcpy(out, row.data + level * sizeof *out, sizeof *out);
    return OK;
}

enum err tree_restore(struct tree *out, uint64_t size, tree_fetch fetch, void *context)
{
    if (size > TREE_SIZE_MAX) return ERR_INVALID;
    *out = (struct tree){.size = size};
    for (unsigned level = 0; level < TREE_LEVELS; level++) {
        if (!(size >> level & 1)) continue;
        /* The peak is the last subtree of its level that fits. */
        enum err e = fetch(context, &out->peaks[level], level, (size >> level) - 1);
        if (e != OK) return e;
    }
    return OK;
}

enum err tree_root_at(struct digest *out, uint64_t size, tree_fetch fetch, void *context)
{
    struct tree tree;
    enum err e = tree_restore(&tree, size, fetch, context);
    if (e == OK) tree_root(out, &tree);
    return e;
}

/* MTH(D[start:end]) for a range that is a node of some RFC 9162 tree: `start` is a
 * multiple of the smallest power of two >= end - start. Its perfect subtrees are
 * those of the binary digits of its length, the largest first. */
static enum err range_root(struct digest *out, uint64_t start, uint64_t end, tree_fetch fetch, void *context)
{
    bool any = false;
    uint64_t length = end - start;
    for (unsigned level = 0; level < TREE_LEVELS; level++) {
        if (!(length >> level & 1)) continue;
        struct digest peak;
        uint64_t last = start + (length >> level << level); /* where the peak of this level ends */
        enum err e = fetch(context, &peak, level, (last >> level) - 1);
        if (e != OK) return e;
        fold(out, &any, &peak);
    }
    return OK;
}

/* The largest power of two below n; n > 1. */
static uint64_t split(uint64_t n) { return 1ull << (63 - __builtin_clzll(n - 1)); }

static void reverse(struct tree_proof *proof)
{
    for (uint32_t i = 0, j = proof->count; i + 1 < j--; i++) {
        struct digest kept = proof->hashes[i];
        proof->hashes[i] = proof->hashes[j];
        proof->hashes[j] = kept;
    }
}

static enum err add_range(struct tree_proof *out, uint64_t start, uint64_t end, tree_fetch fetch, void *context)
{
    CHECK(out->count < sizeof out->hashes / sizeof out->hashes[0]);
    return range_root(&out->hashes[out->count++], start, end, fetch, context);
}

enum err tree_inclusion(struct tree_proof *out, uint64_t index, uint64_t size, tree_fetch fetch, void *context)
{
    if (index >= size || size > TREE_SIZE_MAX) return ERR_INVALID;
    uint64_t start = 0, end = size;
    out->count = 0;
    while (end - start > 1) { /* from the root down; PATH lists from the leaf up */
        uint64_t middle = start + split(end - start);
        bool left = index < middle;
        enum err e = left ? add_range(out, middle, end, fetch, context)
                          : add_range(out, start, middle, fetch, context);
        if (e != OK) return e;
        if (left)
            end = middle;
        else
            start = middle;
    }
    reverse(out);
    return OK;
}

enum err tree_consistency(struct tree_proof *out, uint64_t old_size, uint64_t new_size, tree_fetch fetch,
                          void *context)
{
    if (old_size == 0 || old_size > new_size || new_size > TREE_SIZE_MAX) return ERR_INVALID;
    uint64_t start = 0, end = new_size;
    bool known = true; /* RFC 9162's b: the old root is this subtree's, which the verifier has */
    enum err e = OK;
    out->count = 0;
    while (e == OK && end != old_size) {
        uint64_t middle = start + split(end - start);
        if (old_size <= middle) {
            e = add_range(out, middle, end, fetch, context);
            end = middle;
        } else {
            e = add_range(out, start, middle, fetch, context);
            start = middle;
            known = false;
        }
    }
    if (e == OK && !known) e = add_range(out, start, end, fetch, context);
    if (e == OK) reverse(out);
    return e;
}

/* --- verifying --- */

uint32_t tree_inclusion_size(uint64_t index, uint64_t size)
{
    CHECK(index < size);
    uint64_t differ = index ^ (size - 1);
    unsigned inner = differ ? 64 - (unsigned)__builtin_clzll(differ) : 0;
    return inner + (inner < 64 ? (uint32_t)__builtin_popcountll(index >> inner) : 0);
}

/* The node above these two, which may be the one that was above the last two of this level. */
static void memo_node_hash(struct digest *out, struct tree_memo *memo, uint32_t level, const struct digest *left,
                           const struct digest *right)
{
    if (!memo || level >= TREE_MEMO_LEVELS) {
        tree_node_hash(out, left, right);
        return;
    }
    if (!memo->levels[level].used || memcmp(&memo->levels[level].left, left, sizeof *left) != 0 ||
        memcmp(&memo->levels[level].right, right, sizeof *right) != 0) {
        memo->levels[level].used = true;
        memo->levels[level].left = *left;
        memo->levels[level].right = *right;
        tree_node_hash(&memo->levels[level].parent, left, right);
    }
    *out = memo->levels[level].parent;
}

enum err tree_inclusion_root(struct digest *out, const struct digest *leaf_hash, uint64_t index, uint64_t size,
                             const struct digest *hashes, uint32_t count)
{
    return tree_inclusion_root_memo(out, NULL, leaf_hash, index, size, hashes, count);
}

enum err tree_inclusion_root_memo(struct digest *out, struct tree_memo *memo, const struct digest *leaf_hash,
                                  uint64_t index, uint64_t size, const struct digest *hashes, uint32_t count)
{
    if (index >= size || count != tree_inclusion_size(index, size)) return ERR_BAD_PROOF;
    uint64_t fn = index, sn = size - 1;
    struct digest r = *leaf_hash;
    for (uint32_t i = 0; i < count; i++) {
        if (fn & 1 || fn == sn) {
            memo_node_hash(&r, memo, i, &hashes[i], &r);
            while (!(fn & 1) && fn != 0) {
                fn >>= 1;
                sn >>= 1;
            }
        } else {
            memo_node_hash(&r, memo, i, &r, &hashes[i]);
        }
        fn >>= 1;
        sn >>= 1;
    }
    CHECK(sn == 0); /* what tree_inclusion_size counts */
    *out = r;
    return OK;
}

enum err tree_inclusion_verify(const struct digest *leaf_hash, uint64_t index, uint64_t size,
                               const struct digest *hashes, uint32_t count, const struct digest *root)
{
    struct digest actual;
    enum err e = tree_inclusion_root(&actual, leaf_hash, index, size, hashes, count);
    if (e != OK) return e;
    return digest_equal(&actual, root) ? OK : ERR_BAD_PROOF;
}

/* RFC 9162 2.1.4.2, steps 4 to 6, with old_size < new_size and at least one hash left. */
static bool consistent(uint64_t old_size, uint64_t new_size, const struct digest *first,
                       const struct digest *hashes, uint32_t count, const struct digest *old_root,
                       const struct digest *new_root)
{
    uint64_t fn = old_size - 1, sn = new_size - 1;
    while (fn & 1) {
        fn >>= 1;
        sn >>= 1;
    }
    struct digest fr = *first, sr = *first;
    for (uint32_t i = 0; i < count; i++) {
        if (sn == 0) return false;
        if (fn & 1 || fn == sn) {
            tree_node_hash(&fr, &hashes[i], &fr);
            tree_node_hash(&sr, &hashes[i], &sr);
            while (!(fn & 1) && fn != 0) {
                fn >>= 1;
                sn >>= 1;
            }
        } else {
            tree_node_hash(&sr, &sr, &hashes[i]);
        }
        fn >>= 1;
        sn >>= 1;
    }
    return sn == 0 && digest_equal(&fr, old_root) && digest_equal(&sr, new_root);
}

enum err tree_consistency_verify(uint64_t old_size, uint64_t new_size, const struct digest *hashes, uint32_t count,
                                 const struct digest *old_root, const struct digest *new_root)
{
    if (old_size == 0 || old_size > new_size) return ERR_BAD_PROOF;
    if (old_size == new_size)
        return count == 0 && digest_equal(old_root, new_root) ? OK : ERR_BAD_PROOF;
    if (count == 0) return ERR_BAD_PROOF;
    bool whole = (old_size & (old_size - 1)) == 0; /* the old tree is perfect: its root is the first hash */
    const struct digest *first = whole ? old_root : &hashes[0];
    if (!whole) {
        hashes++;
        count--;
    }
    return consistent(old_size, new_size, first, hashes, count, old_root, new_root) ? OK : ERR_BAD_PROOF;
}

/* --- small trees in memory --- */

uint32_t tree_list_build(struct digest *nodes, uint32_t count)
{
    CHECK(count > 0);
    struct digest *level = nodes;
    uint32_t total = count;
    for (uint32_t n = count; n > 1; n = (n + 1) / 2) {
        struct digest *up = level + n;
        for (uint32_t i = 0; i + 1 < n; i += 2)
            tree_node_hash(&up[i / 2], &level[i], &level[i + 1]);
        if (n & 1) up[n / 2] = level[n - 1];
        level = up;
        total += (n + 1) / 2;
    }
    return total;
}

void tree_list_path(struct tree_proof *out, const struct digest *nodes, uint32_t count, uint32_t index)
{
    CHECK(index < count);
    out->count = 0;
    for (uint32_t n = count; n > 1; n = (n + 1) / 2) {
        uint32_t sibling = index ^ 1;
        if (sibling < n) out->hashes[out->count++] = nodes[sibling];
        nodes += n;
        index /= 2;
    }
}
