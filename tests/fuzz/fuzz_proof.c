/* Inclusion and consistency proofs: the verifiers say what RFC 9162's definitions say, written down here once more as
 * the recursion that they are, of whatever is taken for a proof. The true proof of a small tree verifies; altered in
 * a hash, a root, their number or the leaf it does not, nor for another leaf of that tree.
 *
 *   what(1) salt(1) leaves(1) a(1) b(1), then alterations: how(1) where(1) value(1); or, raw (what & 2):
 *   what(1) a(8) b(8), then leaf hash or old root (32), root (32), hashes (32 each) */
#include <stdbool.h>
#include <string.h>

#include "base/check.h"
#include "ledger/tree.h"
#include "tests/lib/taken.h"

#define LEAVES_MOST 200u
#define HASHES_MOST 72u /* some more than any proof has */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* --- the definitions --- */

/* The largest power of two below n > 1. */
static uint64_t split(uint64_t n)
{
    uint64_t k = 1;
    while (k < n - k) k *= 2;
    return k;
}

/* MTH of RFC 9162 2.1.1. */
static struct digest root_of(const struct digest *leaves, uint64_t n)
{
    struct digest out;
    if (n == 1) return leaves[0];
    uint64_t k = split(n);
    struct digest left = root_of(leaves, k), right = root_of(leaves + k, n - k);
    tree_node_hash(&out, &left, &right);
    return out;
}

/* The root that PATH (2.1.3.1) leads to; false: it has not as many hashes. */
static bool path_root(struct digest *out, uint64_t index, uint64_t size, const struct digest *hashes, uint32_t count)
{
    if (size == 1) return count == 0;
    if (count == 0) return false;
    uint64_t k = split(size);
    bool right = index >= k;
    if (!path_root(out, right ? index - k : index, right ? size - k : k, hashes, count - 1)) return false;
    if (right)
        tree_node_hash(out, &hashes[count - 1], out);
    else
        tree_node_hash(out, out, &hashes[count - 1]);
    return true;
}

/* What SUBPROOF (2.1.4.1) leads to; `known`: the old root is this whole subtree's. */
static bool subproof_roots(struct digest *older, struct digest *newer, uint64_t m, uint64_t n, bool known,
                           const struct digest *hashes, uint32_t count, const struct digest *old_root)
{
    if (m == n) {
        if (count != (known ? 0 : 1)) return false;
        *older = *newer = known ? *old_root : hashes[0];
        return true;
    }
    if (count == 0) return false;
    uint64_t k = split(n);
    const struct digest *last = &hashes[count - 1];
    if (m <= k) {
        if (!subproof_roots(older, newer, m, k, known, hashes, count - 1, old_root)) return false;
        tree_node_hash(newer, newer, last);
    } else {
        if (!subproof_roots(older, newer, m - k, n - k, false, hashes, count - 1, old_root)) return false;
        tree_node_hash(older, last, older);
        tree_node_hash(newer, last, newer);
    }
    return true;
}

/* --- what is verified --- */

/* Inclusion: leaf `a` in a tree of b; consistency: b goes on from a. */
struct claim {
    bool consistency;
    uint64_t a, b;
    struct digest from, root; /* from: the leaf's hash; the old root */
    uint32_t count;
    struct digest hashes[HASHES_MOST];
};

static bool by_definition(const struct claim *c)
{
    struct digest older, newer = c->from;
    if (!c->consistency)
        return c->a < c->b && path_root(&newer, c->a, c->b, c->hashes, c->count) && digest_equal(&newer, &c->root);
    if (c->a == 0 || c->a > c->b) return false;
    return subproof_roots(&older, &newer, c->a, c->b, true, c->hashes, c->count, &c->from) &&
           digest_equal(&older, &c->from) && digest_equal(&newer, &c->root);
}

/* The product's word, which must be the definition's. */
static bool verify(const struct claim *c)
{
    enum err e = c->consistency ? tree_consistency_verify(c->a, c->b, c->hashes, c->count, &c->from, &c->root)
                                : tree_inclusion_verify(&c->from, c->a, c->b, c->hashes, c->count, &c->root);
    CHECK(e == OK || e == ERR_BAD_PROOF);
    CHECK((e == OK) == by_definition(c));
    return e == OK;
}

static bool same(const struct claim *x, const struct claim *y)
{
    return x->a == y->a && x->b == y->b && digest_equal(&x->from, &y->from) && digest_equal(&x->root, &y->root) &&
           x->count == y->count && memcmp(x->hashes, y->hashes, x->count * sizeof x->hashes[0]) == 0;
}

/* --- a small tree --- */

static struct tree_row rows[LEAVES_MOST];
static struct digest leaves[LEAVES_MOST];

static enum err fetch(void *context, struct digest *out, unsigned level, uint64_t index)
{
    (void)context;
    *out = rows[tree_row_of(level, index)].hashes[level];
    return OK;
}

static void grow(uint8_t salt, uint32_t count)
{
    struct tree tree = {0};
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t leaf[2] = {salt, (uint8_t)i};
        tree_leaf_hash(&leaves[i], BYTES(leaf));
        tree_append(&tree, &rows[i], &leaves[i]);
    }
}

static void prove(struct claim *out, bool consistency, uint32_t count, uint8_t a)
{
    struct tree_proof proof;
    *out = (struct claim){.consistency = consistency, .b = count, .root = root_of(leaves, count)};
    out->a = a % count + consistency;
    out->from = consistency ? root_of(leaves, out->a) : leaves[out->a];
    CHECK((consistency ? tree_consistency(&proof, out->a, count, fetch, NULL)
                       : tree_inclusion(&proof, out->a, count, fetch, NULL)) == OK);
    out->count = proof.count;
    memcpy(out->hashes, proof.hashes, proof.count * sizeof proof.hashes[0]);
    CHECK(consistency || proof.count == tree_inclusion_size(out->a, count));
}

static void alter(struct claim *c, uint8_t how, uint8_t where, uint8_t value)
{
    struct digest *hash = &c->hashes[c->count ? where % c->count : 0];
    switch (how % 9) {
    case 0: hash->bytes[value % 32] ^= (uint8_t)(1u << where % 8); break;
    case 1: c->from.bytes[value % 32] ^= where; break;
    case 2: c->root.bytes[value % 32] ^= where; break;
    case 3: c->count -= c->count > 0; break;
    case 4:
        if (c->count < HASHES_MOST) c->hashes[c->count++] = leaves[value % LEAVES_MOST];
        break;
    case 5: c->a = value; break;
    case 6: c->b = value; break;
    case 7: *hash = c->hashes[c->count ? value % c->count : 0]; break;
    case 8: c->root = c->from; break;
    }
}

static void small_tree(struct bytes in)
{
    struct claim right, altered;
    if (in.size < 4) return;
    uint32_t count = 1 + in.data[2] % LEAVES_MOST;
    grow(in.data[1], count);
    prove(&right, in.data[0] & 1, count, in.data[3]);
    CHECK(verify(&right));
    fuzz_taken = true;
    altered = right;
    for (size_t i = 4; i + 3 <= in.size; i += 3) {
        alter(&altered, in.data[i], in.data[i + 1], in.data[i + 2]);
        bool good = verify(&altered);
        if (same(&altered, &right)) CHECK(good);
        /* Size and root are what a checkpoint signs, and what all else is held to. (The same hashes may also be a
         * proof for a tree of another size or, of one leaf, for another root.) */
        bool held = altered.b == right.b && (!right.consistency || altered.a == right.a) &&
                    digest_equal(&altered.root, &right.root);
        if (held && !same(&altered, &right)) CHECK(!good);
    }
}

static void raw(struct bytes in)
{
    struct claim c = {.consistency = in.size > 0 && in.data[0] & 1};
    if (in.size < 1 + 16 + 64) return;
    c.a = get_be64(in.data + 1);
    c.b = get_be64(in.data + 9);
    memcpy(&c.from, in.data + 17, 32);
    memcpy(&c.root, in.data + 49, 32);
    for (size_t at = 81; at + 32 <= in.size && c.count < HASHES_MOST; at += 32)
        memcpy(&c.hashes[c.count++], in.data + at, 32);
    fuzz_taken = verify(&c);
    /* What the hashes lead to is the only root that they prove. */
    struct digest root;
    if (c.consistency || tree_inclusion_root(&root, &c.from, c.a, c.b, c.hashes, c.count) != OK) return;
    c.root = root;
    CHECK(verify(&c));
    fuzz_taken = true;
    c.root.bytes[0] ^= 1;
    CHECK(!verify(&c));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes in = bytes_of(data, size);
    if (size > 0 && data[0] & 2)
        raw(in);
    else
        small_tree(in);
    return 0;
}
