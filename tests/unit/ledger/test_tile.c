/* Tiles against RFC 9162 written down recursively, and the paths of C2SP tlog-tiles. */
#include "tests/lib/unit.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "ledger/proof.h"
#include "ledger/tile.h"
#include "tests/lib/dies.h"
#include "tests/lib/ledger_kit.h"

#define LEAVES 70000u

static struct digest *leaves;
static struct tree_row *rows;
static unsigned tampered_level, fetches;
static uint64_t tampered_index = UINT64_MAX;

static int setup(void **state)
{
    (void)state;
    struct tree tree = {0};
    leaves = xcalloc(LEAVES, sizeof *leaves);
    rows = xcalloc(LEAVES, sizeof *rows);
    for (uint32_t i = 0; i < LEAVES; i++) {
        uint8_t leaf[4];
        put_be32(leaf, i);
        tree_leaf_hash(&leaves[i], BYTES(leaf));
        tree_append(&tree, &rows[i], &leaves[i]);
    }
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    free(leaves);
    free(rows);
    return 0;
}

/* MTH of RFC 9162 2.1, as it stands there. */
static struct digest mth(uint64_t from, uint64_t n)
{
    struct digest out;
    uint64_t k = 1;
    if (n == 0) {
        tree_empty_root(&out);
        return out;
    }
    if (n == 1) return leaves[from];
    while (k * 2 < n)
        k *= 2;
    struct digest left = mth(from, k), right = mth(from + k, n - k);
    tree_node_hash(&out, &left, &right);
    return out;
}

static enum err fetch_row(void *context, struct digest *out, unsigned level, uint64_t index)
{
    uint64_t size = *(uint64_t *)context, row = tree_row_of(level, index);
    assert_true(row < size);
    *out = rows[row].hashes[level];
    return OK;
}

/* The tiles of the tree of *context leaves; one of them may be wrong. */
static enum err fetch_tile(void *context, struct digest hashes[static TILE_WIDTH], const struct tile *tile)
{
    uint64_t size = *(uint64_t *)context;
    assert_int_equal(tile->width, tile_width_at(size, tile->level, tile->index));
    enum err e = tile_from_rows(hashes, tile, fetch_row, context);
    if (tile->level == tampered_level && tile->index == tampered_index) hashes[tile->width / 2].bytes[7] ^= 1;
    fetches++;
    return e;
}

static struct bytes text(const char *t) { return bytes_text(t); }

static void a_path_and_a_tile_are_one(void **state)
{
    (void)state;
    static const struct { const char *path; struct tile tile; bool entries; } rows_of[] = {
        {"tile/0/000", {0, 0, 256}, false},
        {"tile/0/000.p/1", {0, 0, 1}, false},
        {"tile/2/x001/x234/067", {2, 1234067, 256}, false},
        {"tile/5/x001/000.p/255", {5, 1000, 255}, false},
        {"tile/63/999", {63, 999, 256}, false},
        {"tile/0/x009/x223/x372/x036/x854/x775/807", {0, TREE_SIZE_MAX, 256}, false},
        {"tile/entries/x999/999.p/17", {0, 999999, 17}, true},
        {"tile/entries/007", {0, 7, 256}, true},
    };
    for (size_t i = 0; i < sizeof rows_of / sizeof rows_of[0]; i++) {
        struct tile tile;
        struct buffer path = {0};
        bool entries = !rows_of[i].entries;
        assert_int_equal(tile_path_parse(&tile, &entries, text(rows_of[i].path)), OK);
        assert_memory_equal(&tile, &rows_of[i].tile, sizeof tile);
        assert_int_equal(entries, rows_of[i].entries);
        tile_path_append(&path, &tile, entries);
        assert_true(path.size <= TILE_PATH_MAX && bytes_equal(buffer_bytes(&path), text(rows_of[i].path)));
        buffer_free(&path);
    }
}

static void other_texts_are_no_paths(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "", "tile", "tile/", "tile/0", "tile/0/", "/tile/0/000", "tile/00/000", "tile/64/000", "tile/-1/000",
        "tile/0/0", "tile/0/00", "tile/0/0000", "tile/0/x000/001", "tile/0/x001", "tile/0/x001/", "tile/0/001/002",
        "tile/0/x01/002", "tile/0/x001/x002", "tile/0/000.p", "tile/0/000.p/", "tile/0/000.p/0", "tile/0/000.p/256",
        "tile/0/000.p/01", "tile/0/000.p/1/", "tile/0/000/", "tile/0/000 ", "tile/0/00a", "tile/x/000", "tile/data/000",
        "tile/entries/", "tile/entries/0/000", "tile/entries/x000/x000/000", "tile/0/x009/x223/x372/x036/x854/x775/808",
        "tile/0/x999/x999/x999/x999/x999/x999/x999/x999/999", "tile/4294967296/000", "tile/0/000.p/4294967297",
        "tile/0/..", "tile/0/x001/../000", "tile//000", "Tile/0/000",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct tile tile;
        bool entries;
        if (tile_path_parse(&tile, &entries, text(bad[i])) != ERR_SYNTAX)
            fail_msg("\"%s\" is taken for a path", bad[i]);
    }
}

/* The example of the C2SP text: a tree of 70,000. */
static void widths_are_those_of_the_specification(void **state)
{
    (void)state;
    assert_int_equal(tile_width_at(70000, 0, 272), 256);
    assert_int_equal(tile_width_at(70000, 0, 273), 112);
    assert_int_equal(tile_width_at(70000, 0, 274), 0);
    assert_int_equal(tile_width_at(70000, 1, 0), 256);
    assert_int_equal(tile_width_at(70000, 1, 1), 17);
    assert_int_equal(tile_width_at(70000, 2, 0), 1);
    assert_int_equal(tile_width_at(70000, 3, 0), 0);
    assert_int_equal(tile_width_at(256, 0, 0), 256);
    assert_int_equal(tile_width_at(256, 0, 1), 0);
    assert_int_equal(tile_width_at(256, 1, 0), 1);
    assert_int_equal(tile_width_at(0, 0, 0), 0);
    assert_int_equal(tile_width_at(TREE_SIZE_MAX, 63, 0), 0);
    assert_int_equal(tile_width_at(TREE_SIZE_MAX, 7, 0), 127);
}

static void a_tile_holds_the_hashes_of_its_subtrees(void **state)
{
    (void)state;
    static const struct tile tiles[] = {{0, 0, 256}, {0, 273, 112}, {1, 0, 256}, {1, 1, 17}, {2, 0, 1}, {0, 5, 3}};
    uint64_t size = LEAVES;
    for (size_t i = 0; i < sizeof tiles / sizeof tiles[0]; i++) {
        struct digest hashes[TILE_WIDTH];
        uint64_t each = 1ull << (8 * tiles[i].level);
        assert_int_equal(tile_from_rows(hashes, &tiles[i], fetch_row, &size), OK);
        for (unsigned j = 0; j < tiles[i].width; j += tiles[i].level ? 5 : 1) {
            struct digest expected = mth((tiles[i].index * 256 + j) * each, each);
            assert_memory_equal(&hashes[j], &expected, sizeof expected);
        }
    }
}

static const uint64_t SIZES[] = {0,   1,   2,    3,     128,   255,   256,   257,   511,
                                 512, 513, 4095, 65535, 65536, 65537, 65792, LEAVES};

static void the_root_follows_from_the_edge_alone(void **state)
{
    (void)state;
    struct tile_tree *tree = xmalloc(sizeof *tree);
    for (size_t i = 0; i < sizeof SIZES / sizeof SIZES[0]; i++) {
        uint64_t size = SIZES[i];
        struct digest root = mth(0, size);
        fetches = 0;
        assert_int_equal(tile_tree_open(tree, size, &root, fetch_tile, &size), OK);
        assert_true(fetches <= 3);
        root.bytes[31] ^= 1;
        assert_int_equal(tile_tree_open(tree, size, &root, fetch_tile, &size), ERR_ROOT);
    }
    free(tree);
}

static void each_tile_is_proved(void **state)
{
    (void)state;
    struct tile_tree *tree = xmalloc(sizeof *tree);
    uint64_t size = LEAVES;
    struct digest root = mth(0, size), hash;
    const struct digest *hashes;
    assert_int_equal(tile_tree_open(tree, size, &root, fetch_tile, &size), OK);
    fetches = 0;
    for (uint64_t n = 0; n <= 273; n++) {
        assert_int_equal(tile_tree_get(&hashes, tree, 0, n), OK);
        assert_memory_equal(hashes, &leaves[n * 256], tile_width_at(size, 0, n) * sizeof *hashes);
        assert_int_equal(tile_tree_hash(&hash, tree, 0, n), n < 273 ? OK : ERR_INVALID);
    }
    assert_int_equal(fetches, 273 + 1); /* each full one once, and the one full tile of level 1 */
    assert_int_equal(tile_tree_get(&hashes, tree, 0, 274), ERR_INVALID);
    assert_int_equal(tile_tree_get(&hashes, tree, 3, 0), ERR_INVALID);
    free(tree);
}

static void a_tile_that_was_altered_is_refused(void **state)
{
    (void)state;
    struct tile_tree *tree = xmalloc(sizeof *tree);
    uint64_t size = LEAVES;
    struct digest root = mth(0, size);
    const struct digest *hashes;
    static const struct { unsigned level; uint64_t index; bool edge; } places[] = {
        {0, 0, false}, {0, 200, false}, {0, 272, false}, {1, 0, false}, {0, 273, true}, {1, 1, true}, {2, 0, true}};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        tampered_level = places[i].level;
        tampered_index = places[i].index;
        enum err e = tile_tree_open(tree, size, &root, fetch_tile, &size);
        assert_int_equal(e, places[i].edge ? ERR_ROOT : OK);
        if (e != OK) continue;
        assert_int_equal(tile_tree_get(&hashes, tree, places[i].level, places[i].index), ERR_BAD_PROOF);
        if (places[i].level == 1) assert_int_equal(tile_tree_get(&hashes, tree, 0, 17), ERR_BAD_PROOF);
        tampered_index = UINT64_MAX; /* what failed is not remembered as good */
        assert_int_equal(tile_tree_get(&hashes, tree, places[i].level, places[i].index), OK);
    }
    tampered_index = UINT64_MAX;
    free(tree);
}

static void tiles_come_from_the_tables(void **state)
{
    (void)state;
    struct kit kit;
    struct digest hashes[TILE_WIDTH], expected;
    kit_open(&kit, 4, 1, kit_default_policy());
    for (unsigned i = 0; i < 300; i++) kit_add_user(&kit, 10 + i, "patient", "Mercy", "name");
    uint64_t size;
    assert_int_equal(proof_size(&size, kit.txn), OK);
    assert_true(size > 300);
    for (uint64_t n = 0; n < 2; n++) {
        struct tile tile = {0, n, tile_width_at(size, 0, n)};
        assert_int_equal(proof_tile(hashes, kit.txn, &tile), OK);
        for (unsigned i = 0; i < tile.width; i++) {
            struct buffer leaf = {0};
            assert_int_equal(proof_leaf(&leaf, kit.txn, n * 256 + i), OK);
            tree_leaf_hash(&expected, buffer_bytes(&leaf));
            assert_memory_equal(&hashes[i], &expected, sizeof expected);
            buffer_free(&leaf);
        }
        tile.width++;
        if (n == 1) assert_int_equal(proof_tile(hashes, kit.txn, &tile), ERR_NOT_FOUND);
    }
    assert_int_equal(proof_tile(hashes, kit.txn, &(struct tile){1, 0, 1}), OK);
    assert_int_equal(proof_tile(hashes, kit.txn, &(struct tile){1, 0, 2}), ERR_NOT_FOUND);
    assert_int_equal(proof_tile(hashes, kit.txn, &(struct tile){9, 0, 1}), ERR_NOT_FOUND);
    kit_close(&kit);
}

static void bundles_are_read_as_they_were_written(void **state)
{
    (void)state;
    struct buffer bundle = {0}, longest = {0};
    struct bytes entry, rest;
    assert_non_null(buffer_extend(&longest, BUNDLE_ENTRY_MAX + 1));
    memset(longest.data, 'x', longest.size);
    assert_true(bundle_append(&bundle, text("one")));
    assert_true(bundle_append(&bundle, bytes_of(longest.data, BUNDLE_ENTRY_MAX)));
    assert_false(bundle_append(&bundle, buffer_bytes(&longest)));
    assert_true(bundle_append(&bundle, text("end")));
    assert_memory_equal(bundle.data, "\0\3one\xff\xff", 7);
    rest = buffer_bytes(&bundle);
    static const size_t sizes[] = {3, BUNDLE_ENTRY_MAX, 0, 3};
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(bundle_next(&entry, &rest), OK);
        assert_int_equal(entry.size, sizes[i]);
    }
    assert_int_equal(bundle_next(&entry, &rest), ERR_NOT_FOUND);
    rest = bytes_of(bundle.data, 4);
    assert_int_equal(bundle_next(&entry, &rest), ERR_TRUNCATED);
    rest = bytes_of(bundle.data, 1);
    assert_int_equal(bundle_next(&entry, &rest), ERR_TRUNCATED);
    buffer_free(&bundle);
    buffer_free(&longest);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_path_and_a_tile_are_one),
        cmocka_unit_test(other_texts_are_no_paths),
        cmocka_unit_test(widths_are_those_of_the_specification),
        cmocka_unit_test(a_tile_holds_the_hashes_of_its_subtrees),
        cmocka_unit_test(the_root_follows_from_the_edge_alone),
        cmocka_unit_test(each_tile_is_proved),
        cmocka_unit_test(a_tile_that_was_altered_is_refused),
        cmocka_unit_test(tiles_come_from_the_tables),
        cmocka_unit_test(bundles_are_read_as_they_were_written),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
