#include "tests/lib/unit.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "ledger/tree.h"
#include "tests/lib/dies.h"
#include "tests/lib/unhex.h"

/* --- RFC 9162 2.1 as it stands there, recursive --- */

static uint64_t largest_power_below(uint64_t n)
{
    uint64_t k = 1;
    while (k * 2 < n)
        k *= 2;
    return k;
}

static struct digest naive_root(const struct digest *leaves, uint64_t n)
{
    struct digest out;
    if (n == 0) {
        tree_empty_root(&out);
        return out;
    }
    if (n == 1) return leaves[0];
    uint64_t k = largest_power_below(n);
    struct digest left = naive_root(leaves, k), right = naive_root(leaves + k, n - k);
    tree_node_hash(&out, &left, &right);
    return out;
}

static void naive_path(struct tree_proof *p, uint64_t m, const struct digest *leaves, uint64_t n)
{
    if (n == 1) return;
    uint64_t k = largest_power_below(n);
    if (m < k) {
        naive_path(p, m, leaves, k);
        p->hashes[p->count++] = naive_root(leaves + k, n - k);
    } else {
        naive_path(p, m - k, leaves + k, n - k);
        p->hashes[p->count++] = naive_root(leaves, k);
    }
}

static void naive_subproof(struct tree_proof *p, uint64_t m, const struct digest *leaves, uint64_t n, bool b)
{
    if (m == n) {
        if (!b) p->hashes[p->count++] = naive_root(leaves, n);
        return;
    }
    uint64_t k = largest_power_below(n);
    if (m <= k) {
        naive_subproof(p, m, leaves, k, b);
        p->hashes[p->count++] = naive_root(leaves + k, n - k);
    } else {
        naive_subproof(p, m - k, leaves + k, n - k, false);
        p->hashes[p->count++] = naive_root(leaves, k);
    }
}

/* --- a store of rows in memory --- */

#define LEAVES 132
static struct digest leaf_hashes[LEAVES];
static struct tree_row rows[LEAVES];
static struct tree frontiers[LEAVES + 1]; /* after so many leaves */

static enum err fetch_row(void *context, struct digest *out, unsigned level, uint64_t index)
{
    uint64_t *size = context, row = tree_row_of(level, index);
    CHECK(row < *size); /* never asks for what that size does not have */
    return tree_row_pick(out, bytes_of(rows[row].hashes, rows[row].count * sizeof(struct digest)), row, level);
}

static int build(void **state)
{
    (void)state;
    struct tree tree = {0};
    for (uint32_t i = 0; i < LEAVES; i++) {
        uint8_t data[4];
        put_be32(data, i);
        tree_leaf_hash(&leaf_hashes[i], BYTES(data));
        tree_append(&tree, &rows[i], &leaf_hashes[i]);
        frontiers[i + 1] = tree;
    }
    return 0;
}

static void assert_proof(const struct tree_proof *a, const struct tree_proof *b)
{
    assert_int_equal(a->count, b->count);
    assert_memory_equal(a->hashes, b->hashes, a->count * sizeof a->hashes[0]);
}

static void test_roots_match_the_definition(void **state)
{
    (void)state;
    for (uint64_t n = 0; n <= LEAVES; n++) {
        struct digest expected = naive_root(leaf_hashes, n), root;
        struct tree restored;
        tree_root(&root, &frontiers[n]);
        assert_memory_equal(&root, &expected, sizeof root);
        assert_int_equal(tree_root_at(&root, n, fetch_row, &n), OK);
        assert_memory_equal(&root, &expected, sizeof root);
        assert_int_equal(tree_restore(&restored, n, fetch_row, &n), OK);
        assert_int_equal(restored.size, n);
        for (unsigned level = 0; level < 8; level++)
            if (n >> level & 1)
                assert_memory_equal(&restored.peaks[level], &frontiers[n].peaks[level], sizeof root);
    }
}

static void test_rows_hold_the_perfect_subtrees(void **state)
{
    (void)state;
    for (unsigned level = 0; level < 8; level++) {
        for (uint64_t index = 0; (index + 1) << level <= LEAVES; index++) {
            uint64_t size = LEAVES;
            struct digest expected = naive_root(leaf_hashes + (index << level), 1ull << level), actual;
            assert_int_equal(fetch_row(&size, &actual, level, index), OK);
            assert_memory_equal(&actual, &expected, sizeof actual);
        }
    }
}

static void test_damaged_rows(void **state)
{
    (void)state;
    struct digest out;
    struct bytes row = bytes_of(rows[7].hashes, 4 * 32);
    assert_int_equal(tree_row_pick(&out, row, 7, 3), OK);
    assert_int_equal(tree_row_pick(&out, row, 7, 4), ERR_CORRUPT);
    assert_int_equal(tree_row_pick(&out, row, 8, 0), ERR_CORRUPT);
    row.size--;
    assert_int_equal(tree_row_pick(&out, row, 7, 0), ERR_CORRUPT);
    row.size = 0;
    assert_int_equal(tree_row_pick(&out, row, 7, 0), ERR_CORRUPT);
}

static void test_inclusion_matches_the_definition(void **state)
{
    (void)state;
    for (uint64_t n = 1; n <= LEAVES; n++) {
        struct digest root = naive_root(leaf_hashes, n);
        for (uint64_t m = 0; m < n; m++) {
            struct tree_proof expected = {0}, actual;
            naive_path(&expected, m, leaf_hashes, n);
            assert_int_equal(tree_inclusion(&actual, m, n, fetch_row, &n), OK);
            assert_proof(&actual, &expected);
            assert_int_equal(tree_inclusion_size(m, n), expected.count);
            assert_int_equal(
                tree_inclusion_verify(&leaf_hashes[m], m, n, actual.hashes, actual.count, &root), OK);
        }
    }
}

static void test_consistency_matches_the_definition(void **state)
{
    (void)state;
    for (uint64_t n = 1; n <= LEAVES; n++) {
        struct digest new_root = naive_root(leaf_hashes, n);
        for (uint64_t m = 1; m <= n; m++) {
            struct digest old_root = naive_root(leaf_hashes, m);
            struct tree_proof expected = {0}, actual;
            naive_subproof(&expected, m, leaf_hashes, n, true);
            assert_int_equal(tree_consistency(&actual, m, n, fetch_row, &n), OK);
            assert_proof(&actual, &expected);
            assert_int_equal(tree_consistency_verify(m, n, actual.hashes, actual.count, &old_root, &new_root), OK);
        }
    }
}

/* For every size up to 17: no other index, size, count, or changed hash is accepted. */
static void test_wrong_inclusion_is_refused(void **state)
{
    (void)state;
    for (uint64_t n = 1; n <= 17; n++) {
        struct digest root = naive_root(leaf_hashes, n);
        for (uint64_t m = 0; m < n; m++) {
            struct tree_proof p;
            assert_int_equal(tree_inclusion(&p, m, n, fetch_row, &n), OK);
            for (uint64_t index = 0; index < n + 2; index++)
                if (index != m)
                    assert_int_not_equal(
                        tree_inclusion_verify(&leaf_hashes[m], index, n, p.hashes, p.count, &root), OK);
            for (uint32_t count = 0; count <= p.count + 1; count++)
                if (count != p.count)
                    assert_int_not_equal(tree_inclusion_verify(&leaf_hashes[m], m, n, p.hashes, count, &root), OK);
            for (uint32_t i = 0; i < p.count; i++) {
                p.hashes[i].bytes[i] ^= 1;
                assert_int_not_equal(tree_inclusion_verify(&leaf_hashes[m], m, n, p.hashes, p.count, &root), OK);
                p.hashes[i].bytes[i] ^= 1;
            }
            assert_int_not_equal(
                tree_inclusion_verify(&leaf_hashes[m + 1], m, n, p.hashes, p.count, &root), OK);
        }
    }
}

static void test_wrong_consistency_is_refused(void **state)
{
    (void)state;
    for (uint64_t n = 1; n <= 17; n++) {
        struct digest new_root = naive_root(leaf_hashes, n);
        for (uint64_t m = 1; m <= n; m++) {
            struct digest old_root = naive_root(leaf_hashes, m), other = naive_root(leaf_hashes, m + 1);
            struct tree_proof p = {0};
            assert_int_equal(tree_consistency(&p, m, n, fetch_row, &n), OK);
            assert_int_not_equal(tree_consistency_verify(m, n, p.hashes, p.count, &other, &new_root), OK);
            assert_int_not_equal(tree_consistency_verify(m, n, p.hashes, p.count, &old_root, &leaf_hashes[100]), OK);
            for (uint32_t count = 0; count <= p.count + 1; count++)
                if (count != p.count)
                    assert_int_not_equal(tree_consistency_verify(m, n, p.hashes, count, &old_root, &new_root), OK);
            for (uint32_t i = 0; i < p.count; i++) {
                p.hashes[i].bytes[31] ^= 0x80;
                assert_int_not_equal(tree_consistency_verify(m, n, p.hashes, p.count, &old_root, &new_root), OK);
                p.hashes[i].bytes[31] ^= 0x80;
            }
        }
    }
}

static void test_arguments_out_of_range(void **state)
{
    (void)state;
    uint64_t size = LEAVES;
    struct tree_proof p;
    struct tree t;
    struct digest root = leaf_hashes[0];
    assert_int_equal(tree_inclusion(&p, 5, 5, fetch_row, &size), ERR_INVALID);
    assert_int_equal(tree_inclusion(&p, 0, 0, fetch_row, &size), ERR_INVALID);
    assert_int_equal(tree_inclusion(&p, 0, UINT64_MAX, fetch_row, &size), ERR_INVALID);
    assert_int_equal(tree_consistency(&p, 0, 5, fetch_row, &size), ERR_INVALID);
    assert_int_equal(tree_consistency(&p, 6, 5, fetch_row, &size), ERR_INVALID);
    assert_int_equal(tree_restore(&t, UINT64_MAX, fetch_row, &size), ERR_INVALID);
    assert_int_equal(tree_inclusion_verify(&root, 5, 5, NULL, 0, &root), ERR_BAD_PROOF);
    assert_int_equal(tree_inclusion_verify(&root, 0, 0, NULL, 0, &root), ERR_BAD_PROOF);
    assert_int_equal(tree_inclusion_verify(&root, UINT64_MAX - 1, UINT64_MAX, NULL, 0, &root), ERR_BAD_PROOF);
    assert_int_equal(tree_consistency_verify(0, 0, NULL, 0, &root, &root), ERR_BAD_PROOF);
    assert_int_equal(tree_consistency_verify(6, 5, NULL, 0, &root, &root), ERR_BAD_PROOF);
    assert_int_equal(tree_consistency_verify(1, 5, NULL, 0, &root, &root), ERR_BAD_PROOF);
    assert_int_equal(tree_consistency_verify(5, 5, NULL, 0, &root, &root), OK);
}

/* A store's error reaches the caller, whichever fetch fails. */
static int fetches_left;
static enum err fetch_failing(void *context, struct digest *out, unsigned level, uint64_t index)
{
    return fetches_left-- == 0 ? ERR_IO : fetch_row(context, out, level, index);
}

static void test_fetch_errors(void **state)
{
    (void)state;
    uint64_t size = 119;
    struct tree_proof p;
    struct digest root;
    enum err e;
    int failed = 0;
    for (int i = 0; (fetches_left = i, e = tree_root_at(&root, size, fetch_failing, &size)) != OK; i++, failed++)
        assert_int_equal(e, ERR_IO);
    assert_int_equal(failed, 6); /* 119 = 64 + 32 + 16 + 4 + 2 + 1 */
    for (int i = 0; (fetches_left = i, e = tree_inclusion(&p, 70, size, fetch_failing, &size)) != OK; i++, failed++)
        assert_int_equal(e, ERR_IO);
    for (int i = 0; (fetches_left = i, e = tree_consistency(&p, 70, size, fetch_failing, &size)) != OK; i++, failed++)
        assert_int_equal(e, ERR_IO);
    assert_true(failed > 12);
}

/* Trees where all leaves are alike: any size, also the largest, without memory. */
static enum err fetch_uniform(void *context, struct digest *out, unsigned level, uint64_t index)
{
    const struct digest *levels = context;
    assert_true(level < TREE_LEVELS && index < TREE_SIZE_MAX >> level);
    *out = levels[level];
    return OK;
}

static void test_huge_trees(void **state)
{
    (void)state;
    struct digest levels[TREE_LEVELS];
    levels[0] = leaf_hashes[3];
    for (unsigned i = 1; i < TREE_LEVELS; i++)
        tree_node_hash(&levels[i], &levels[i - 1], &levels[i - 1]);
    const uint64_t sizes[] = {TREE_SIZE_MAX, TREE_SIZE_MAX - 1, 1ull << 62, (1ull << 62) + 1, 0x123456789abcdefull, 3};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        uint64_t n = sizes[i];
        struct digest root, old_root;
        struct tree_proof p;
        assert_int_equal(tree_root_at(&root, n, fetch_uniform, levels), OK);
        const uint64_t indices[] = {0, 1, n / 3, n / 2, n - 2, n - 1};
        for (size_t j = 0; j < 6; j++) {
            assert_int_equal(tree_inclusion(&p, indices[j], n, fetch_uniform, levels), OK);
            assert_int_equal(tree_inclusion_verify(&levels[0], indices[j], n, p.hashes, p.count, &root), OK);
            uint64_t old = indices[j] + 1;
            assert_int_equal(tree_root_at(&old_root, old, fetch_uniform, levels), OK);
            assert_int_equal(tree_consistency(&p, old, n, fetch_uniform, levels), OK);
            assert_int_equal(tree_consistency_verify(old, n, p.hashes, p.count, &old_root, &root), OK);
        }
    }
}

static void test_lists(void **state)
{
    (void)state;
    for (uint32_t n = 1; n <= 65; n++) {
        struct digest nodes[TREE_LIST_NODES(65)], expected = naive_root(leaf_hashes, n);
        memcpy(nodes, leaf_hashes, n * sizeof nodes[0]);
        uint32_t total = tree_list_build(nodes, n);
        assert_true(total <= TREE_LIST_NODES(n) - 31 + 6);
        assert_memory_equal(&nodes[total - 1], &expected, sizeof expected);
        for (uint32_t m = 0; m < n; m++) {
            struct tree_proof path = {0}, actual;
            naive_path(&path, m, leaf_hashes, n);
            tree_list_path(&actual, nodes, n, m);
            assert_proof(&actual, &path);
        }
    }
}

static void no_leaves(void)
{
    struct digest nodes[1];
    tree_list_build(nodes, 0);
}
static void beyond(void)
{
    struct digest nodes[1] = {{{0}}};
    struct tree_proof p;
    tree_list_path(&p, nodes, 1, 1);
}
static void full(void)
{
    static struct tree t = {.size = TREE_SIZE_MAX};
    tree_append(&t, NULL, &leaf_hashes[0]);
}

static void test_misuse_dies(void **state)
{
    (void)state;
    assert_true(dies(no_leaves));
    assert_true(dies(beyond));
    assert_true(dies(full));
}

/* --- the trees of RFC 6962's reference implementation, and its proofs of them --- */

static const char *const known_inputs[] = {"", "00", "10", "2021", "3031", "40414243", "5051525354555657",
                                           "606162636465666768696a6b6c6d6e6f"};
static const char *const known_roots[] = {
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"};

struct known_proof {
    uint64_t from, size; /* the leaf, or the older size */
    uint32_t count;
    const char *hashes[3];
};
static const struct known_proof known_inclusion[] = {
    {0, 1, 0, {NULL}},
    {0, 8, 3, {"96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
               "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
               "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"}},
    {5, 8, 3, {"bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
               "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
               "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"}},
    {2, 3, 1, {"fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"}},
    {1, 5, 3, {"6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
               "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
               "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"}},
};
static const struct known_proof known_consistency[] = {
    {1, 1, 0, {NULL}},
    {1, 8, 3, {"96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
               "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
               "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"}},
    {6, 8, 3, {"0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
               "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
               "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"}},
    {2, 5, 2, {"5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
               "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"}},
    {6, 7, 3, {"0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
               "b08693ec2e721597130641e8211e7eedccb4c26413963eee6c1e2ed16ffb1a5f",
               "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"}},
};

static void known_leaf(struct digest *out, uint64_t index)
{
    struct bytes leaf = unhex(known_inputs[index]);
    tree_leaf_hash(out, leaf);
    unhex_free(leaf);
}

static void known_root(struct digest *out, uint64_t size) { unhex_to(out->bytes, 32, known_roots[size]); }

static void test_known_roots(void **state)
{
    (void)state;
    struct tree tree = {0};
    for (uint64_t i = 0; i <= 8; i++) {
        struct digest root, expected, hash;
        tree_root(&root, &tree);
        known_root(&expected, i);
        assert_memory_equal(&root, &expected, sizeof root);
        if (i == 8) break;
        known_leaf(&hash, i);
        tree_append(&tree, NULL, &hash);
    }
}

static enum err fetch_known(void *context, struct digest *out, unsigned level, uint64_t index)
{
    const struct tree_row *from = context;
    uint64_t row = tree_row_of(level, index);
    CHECK(row < 8);
    return tree_row_pick(out, bytes_of(from[row].hashes, from[row].count * sizeof(struct digest)), row, level);
}

static void known_proof(struct tree_proof *out, const struct known_proof *known)
{
    *out = (struct tree_proof){.count = known->count};
    for (uint32_t i = 0; i < known->count; i++)
        unhex_to(out->hashes[i].bytes, 32, known->hashes[i]);
}

/* Ours are those, those verify, and with any bit of theirs turned they don't. */
static void test_known_proofs(void **state)
{
    (void)state;
    struct tree tree = {0};
    struct tree_row known_rows[8];
    struct tree_proof proof, ours;
    struct digest leaf, root, old;
    for (uint64_t i = 0; i < 8; i++) {
        known_leaf(&leaf, i);
        tree_append(&tree, &known_rows[i], &leaf);
    }
    for (size_t i = 0; i < sizeof known_inclusion / sizeof *known_inclusion; i++) {
        uint64_t index = known_inclusion[i].from, size = known_inclusion[i].size;
        known_proof(&proof, &known_inclusion[i]);
        known_leaf(&leaf, index);
        known_root(&root, size);
        assert_int_equal(tree_inclusion(&ours, index, size, fetch_known, known_rows), OK);
        assert_proof(&ours, &proof);
        assert_int_equal(tree_inclusion_verify(&leaf, index, size, proof.hashes, proof.count, &root), OK);
        for (uint32_t bit = 0; bit < proof.count * 256; bit++) {
            proof.hashes[bit / 256].bytes[bit % 256 / 8] ^= 1u << bit % 8;
            assert_int_equal(tree_inclusion_verify(&leaf, index, size, proof.hashes, proof.count, &root),
                             ERR_BAD_PROOF);
            proof.hashes[bit / 256].bytes[bit % 256 / 8] ^= 1u << bit % 8;
        }
    }
    for (size_t i = 0; i < sizeof known_consistency / sizeof *known_consistency; i++) {
        uint64_t from = known_consistency[i].from, size = known_consistency[i].size;
        known_proof(&proof, &known_consistency[i]);
        known_root(&old, from);
        known_root(&root, size);
        assert_int_equal(tree_consistency(&ours, from, size, fetch_known, known_rows), OK);
        assert_proof(&ours, &proof);
        assert_int_equal(tree_consistency_verify(from, size, proof.hashes, proof.count, &old, &root), OK);
        for (uint32_t bit = 0; bit < proof.count * 256; bit++) {
            proof.hashes[bit / 256].bytes[bit % 256 / 8] ^= 1u << bit % 8;
            assert_int_equal(tree_consistency_verify(from, size, proof.hashes, proof.count, &old, &root),
                             ERR_BAD_PROOF);
            proof.hashes[bit / 256].bytes[bit % 256 / 8] ^= 1u << bit % 8;
        }
    }
}

/* --- published cases --- */

/* A digest in base64; false when it is not 32 bytes, which our types cannot even hold. */
static bool json_digest(struct digest *out, const json_t *value)
{
    struct buffer raw = {0};
    const char *text = json_string_value(value);
    bool ok = text && base64_decode(&raw, bytes_text(text)) == OK && raw.size == 32;
    if (ok) memcpy(out->bytes, raw.data, 32);
    buffer_free(&raw);
    return ok;
}

/* Numbers come as reals, since jansson has no 2^64 - 1, which some cases use; the others are small. */
static uint64_t json_number(const json_t *data, const char *name)
{
    const json_t *value = json_object_get(data, name);
    assert_true(json_is_real(value));
    double real = json_real_value(value);
    return real >= 18446744073709551615.0 ? UINT64_MAX : (uint64_t)real;
}

static bool json_proof(struct digest *hashes, uint32_t *count, const json_t *list)
{
    *count = (uint32_t)json_array_size(list);
    assert_true(*count <= 80);
    for (uint32_t i = 0; i < *count; i++)
        if (!json_digest(&hashes[i], json_array_get(list, i))) return false;
    return true;
}

/* draft-ietf-plants-merkle-tree-certs: [start, end) is a subtree when start is a
 * multiple of the smallest power of two that is at least end - start. */
static bool subtree_valid(uint64_t start, uint64_t end)
{
    if (start >= end) return false;
    uint64_t power = 1;
    while (power < end - start)
        power *= 2;
    return start % power == 0;
}

/* -1: not a question that this tree answers; else whether it was accepted. */
static int judge(const char *name, const json_t *d)
{
    struct digest hashes[80], a, b;
    uint32_t count = 0;
    bool readable = json_proof(hashes, &count, json_object_get(d, "proof"));
    if (strncmp(name, "consistency/", 12) == 0)
        return readable && json_digest(&a, json_object_get(d, "root1")) &&
               json_digest(&b, json_object_get(d, "root2")) &&
               tree_consistency_verify(json_number(d, "size1"), json_number(d, "size2"), hashes, count, &a, &b) == OK;
    if (strncmp(name, "inclusion/", 10) == 0)
        return readable && json_digest(&a, json_object_get(d, "leafHash")) &&
               json_digest(&b, json_object_get(d, "root")) &&
               tree_inclusion_verify(&a, json_number(d, "leafIdx"), json_number(d, "treeSize"), hashes, count, &b) ==
                   OK;
    if (strncmp(name, "subtreeinclusion/", 17) == 0) {
        uint64_t start = json_number(d, "start"), end = json_number(d, "end"), leaf = json_number(d, "leafIdx");
        return readable && subtree_valid(start, end) && leaf >= start &&
               json_digest(&a, json_object_get(d, "leafHash")) &&
               json_digest(&b, json_object_get(d, "root")) &&
               tree_inclusion_verify(&a, leaf - start, end - start, hashes, count, &b) == OK;
    }
    /* A subtree that starts at 0 is an earlier tree, and the proofs are the same. */
    if (strncmp(name, "subtreeconsistency/", 19) == 0 && json_number(d, "start") == 0)
        return readable && json_digest(&a, json_object_get(d, "root1")) &&
               json_digest(&b, json_object_get(d, "root2")) &&
               tree_consistency_verify(json_number(d, "end"), json_number(d, "size"), hashes, count, &a, &b) == OK;
    return -1;
}

static void test_published_cases(void **state)
{
    (void)state;
    const char *folder = getenv("VECTORS");
    char path[4096];
    if (!folder) {
        printf("VECTORS is not set: published proofs are not checked\n");
        skip();
    }
    snprintf(path, sizeof path, "%s/merkle-proofs.json", folder);
    json_error_t error;
    json_t *file = json_load_file(path, JSON_DECODE_INT_AS_REAL, &error), *entry;
    if (!file) printf("%s, line %d: %s\n", path, error.line, error.text);
    assert_non_null(file);
    size_t i, checked = 0, other = 0, wrong = 0;
    json_array_foreach(json_object_get(file, "cases"), i, entry) {
        const char *name = json_string_value(json_object_get(entry, "case"));
        const json_t *data = json_object_get(entry, "data");
        int accepted = judge(name, data);
        if (accepted < 0) {
            other++;
            continue;
        }
        checked++;
        if (accepted == json_is_true(json_object_get(data, "wantErr"))) {
            printf("%s: %s\n", name, accepted ? "accepted" : "refused");
            wrong++;
        }
    }
    printf("%zu cases checked; %zu are of subtrees that start elsewhere, which have no use here\n", checked, other);
    json_decref(file);
    assert_int_equal(wrong, 0);
    assert_true(checked > 200);
}

/* Paths one after another, also of other trees and altered ones: the same roots with and without a memo. */
static void test_memo(void **state)
{
    (void)state;
    struct tree_memo memo = {0};
    struct digest nodes[TREE_LIST_NODES(64)], plain, again;
    for (uint32_t count = 1; count <= 64; count++) {
        for (uint32_t i = 0; i < count; i++) {
            uint8_t bytes[] = {(uint8_t)(i % 5), (uint8_t)(i * count)};
            tree_leaf_hash(&nodes[i], BYTES(bytes));
        }
        uint32_t total = tree_list_build(nodes, count);
        for (uint32_t i = 0; i < 3 * count; i++) {
            struct tree_proof path;
            uint32_t at = i < count ? i : i * 7 % count;
            tree_list_path(&path, nodes, count, at);
            if (i % 11 == 3 && path.count > 0) path.hashes[i % path.count].bytes[i % 32] ^= 1;
            enum err e = tree_inclusion_root(&plain, &nodes[at], at, count, path.hashes, path.count);
            assert_int_equal(tree_inclusion_root_memo(&again, &memo, &nodes[at], at, count, path.hashes, path.count),
                             e);
            assert_int_equal(e, OK);
            assert_true(digest_equal(&plain, &again));
            if (i % 11 != 3) assert_true(digest_equal(&again, &nodes[total - 1]));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_roots_match_the_definition),
        cmocka_unit_test(test_rows_hold_the_perfect_subtrees),
        cmocka_unit_test(test_damaged_rows),
        cmocka_unit_test(test_inclusion_matches_the_definition),
        cmocka_unit_test(test_consistency_matches_the_definition),
        cmocka_unit_test(test_wrong_inclusion_is_refused),
        cmocka_unit_test(test_wrong_consistency_is_refused),
        cmocka_unit_test(test_arguments_out_of_range),
        cmocka_unit_test(test_fetch_errors),
        cmocka_unit_test(test_huge_trees),
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_misuse_dies),
        cmocka_unit_test(test_known_roots),
        cmocka_unit_test(test_known_proofs),
        cmocka_unit_test(test_memo), cmocka_unit_test(test_published_cases),
    };
    return cmocka_run_group_tests(tests, build, NULL);
}
