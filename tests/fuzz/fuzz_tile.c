/* First byte
 *   't':  the whole input is a tile's path, of which there is one text for each tile;
 *   odd:  bundles of entries: what is read comes back byte for byte;
 *   even: a tree by its tiles from somebody who lies: where the tiles are altered as the input says, nothing is taken
 *         for the tree's that isn't. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "ledger/tile.h"
#include "tests/lib/taken.h"

#define LEAVES 70000u /* three levels of tiles */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct tree_row *rows;

static void make(void)
{
    struct tree tree = {0};
    rows = xcalloc(LEAVES, sizeof *rows);
    for (uint32_t i = 0; i < LEAVES; i++) {
        uint8_t leaf[4];
        struct digest hash;
        put_be32(leaf, i);
        tree_leaf_hash(&hash, BYTES(leaf));
        tree_append(&tree, &rows[i], &hash);
    }
}

static enum err fetch_row(void *context, struct digest *out, unsigned level, uint64_t index)
{
    (void)context;
    *out = rows[tree_row_of(level, index)].hashes[level];
    return OK;
}

/* Each fetch takes three bytes of the input: whether it lies, where and by what. */
struct liar {
    const uint8_t *at, *end;
    uint64_t size;
};

static enum err fetch(void *context, struct digest hashes[static TILE_WIDTH], const struct tile *tile)
{
    struct liar *liar = context;
    CHECK(tile->width == tile_width_at(liar->size, tile->level, tile->index));
    enum err e = tile_from_rows(hashes, tile, fetch_row, NULL);
    if (liar->end - liar->at < 3) return e;
    const uint8_t *word = liar->at;
    liar->at += 3;
    if (word[0] % 3 == 1) hashes[word[1] % tile->width].bytes[word[1] % 32] ^= word[2];
    if (word[0] % 3 == 2 && tile->width > 1) hashes[word[1] % tile->width] = hashes[word[2] % tile->width];
    return word[0] == 255 ? ERR_IO : e;
}

static uint64_t size_of(const uint8_t *data) { return 1 + get_be32(data) % LEAVES; }

static void look(struct tile_tree *t, unsigned level, uint64_t index)
{
    static struct digest right[TILE_WIDTH];
    const struct digest *hashes;
    struct tile tile = {level, index, tile_width_at(t->size, level, index)};
    if (tile.width == 0) CHECK(tile_tree_get(&hashes, t, level, index) == ERR_INVALID);
    if (tile_tree_get(&hashes, t, level, index) != OK) return;
    CHECK(tile_end(&tile) <= t->size);
    CHECK(tile.width > 0 && tile_from_rows(right, &tile, fetch_row, NULL) == OK);
    CHECK(memcmp(hashes, right, tile.width * sizeof right[0]) == 0);
}

static void tree(struct bytes in)
{
    static struct tile_tree t;
    if (in.size < 8) return;
    struct liar liar = {in.data + 8, in.data + in.size, size_of(in.data)};
    struct digest root;
    CHECK(tree_root_at(&root, liar.size, fetch_row, NULL) == OK);
    if (tile_tree_open(&t, liar.size, &root, fetch, &liar) != OK) return;
    fuzz_taken = true;
    for (unsigned i = 0; i < 4; i++) look(&t, in.data[4 + i] % 4, in.data[4 + i] >> 2);
    look(&t, 0, (liar.size - 1) / TILE_WIDTH);
}

static void bundle(struct bytes in)
{
    struct buffer again = {0};
    struct bytes entry, rest = in;
    enum err e;
    while ((e = bundle_next(&entry, &rest)) == OK) CHECK(bundle_append(&again, entry));
    CHECK(again.size <= in.size && (again.size == 0 || memcmp(again.data, in.data, again.size) == 0));
    CHECK((e == ERR_NOT_FOUND) == (again.size == in.size));
    fuzz_taken = e == ERR_NOT_FOUND;
    buffer_free(&again);
}

static void path(struct bytes in)
{
    struct tile tile;
    bool entries;
    struct buffer again = {0};
    if (tile_path_parse(&tile, &entries, in) != OK) return;
    fuzz_taken = true;
    CHECK(tile.width >= 1 && tile.width <= TILE_WIDTH && tile.index <= TREE_SIZE_MAX && tile.level <= 63);
    CHECK(!entries || tile.level == 0);
    tile_path_append(&again, &tile, entries);
    CHECK(bytes_equal(buffer_bytes(&again), in));
    buffer_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!rows) make();
    if (size == 0) return 0;
    struct bytes in = bytes_of(data + 1, size - 1);
    if (data[0] == 't')
        path(bytes_of(data, size));
    else if (data[0] & 1)
        bundle(in);
    else
        tree(in);
    return 0;
}
