#include "tests/lib/bundle_kit.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "cli/export_bundle.h"
#include "ledger/leaf.h"
#include "ledger/proof.h"

static void append_leaf(struct bundle_kit *b, struct tree *tree, struct leaf *leaf, struct bundle_flaws flaws)
{
    uint32_t i = b->count++;
    leaf->index = i;
    leaf->time_ms += i == flaws.altered;
    leaf->previous = b->hashes[i == flaws.unchained ? i - 2 : i - 1];
    buffer_clear(&b->leaves[i]);
    leaf_encode(&b->leaves[i], leaf);
    leaf->time_ms -= i == flaws.altered;
    b->views[i] = buffer_bytes(&b->leaves[i]);
    leaf_hash(&b->hashes[i], b->views[i]);
    tree_append(tree, &b->rows[i], &b->hashes[i]);
}

static void append_genesis(struct bundle_kit *b, struct tree *tree)
{
    struct buffer text = {0};
    memset(buffer_extend(&text, BUNDLE_KIT_LONG), 'g', BUNDLE_KIT_LONG);
    buffer_clear(&b->leaves[0]);
    leaf_encode(&b->leaves[0], &(struct leaf){.genesis = buffer_bytes(&text)});
    b->views[0] = buffer_bytes(&b->leaves[0]);
    leaf_hash(&b->hashes[0], b->views[0]);
    tree_append(tree, &b->rows[0], &b->hashes[0]);
    b->count = 1;
    buffer_free(&text);
}

void bundle_kit_make(struct bundle_kit *b, struct kit *kit, uint32_t count, struct bundle_flaws flaws)
{
    struct buffer raw = {0};
    struct tree tree = {0};
    struct leaf leaf;
    CHECK(count >= 1 && count <= BUNDLE_KIT_MOST && flaws.unchained != 1);
    b->kit = kit;
    append_genesis(b, &tree);
    CHECK(proof_leaf(&raw, kit->txn, 1) == OK && leaf_decode(&leaf, buffer_bytes(&raw)) == OK);
    while (b->count < count) append_leaf(b, &tree, &leaf, flaws);
    buffer_free(&raw);
}

void bundle_kit_free(struct bundle_kit *b)
{
    for (uint32_t i = 0; i < BUNDLE_KIT_MOST; i++) buffer_free(&b->leaves[i]);
}

/* --- exports --- */

static enum err fetch_row(void *context, struct digest *out, unsigned level, uint64_t index)
{
    const struct bundle_kit *b = context;
    *out = b->rows[tree_row_of(level, index)].hashes[level];
    return OK;
}

static enum err fetch_tile(void *context, struct digest out[static TILE_WIDTH], const struct tile *tile)
{
    return tile_from_rows(out, tile, fetch_row, context);
}

/* As after export_open. */
static void open_export(struct export *x, const struct bundle_kit *b, uint32_t size, uint32_t signers)
{
    const struct genesis *genesis = &b->kit->genesis;
    struct digest root;
    struct cosigner cosigners[LIMIT_NODES];
    struct cosignature cosignatures[LIMIT_NODES] = {0};
    CHECK(tree_root_at(&root, size, fetch_row, (void *)b) == OK);
    checkpoint_set(&x->checkpoint, genesis, size, &root);
    uint32_t n = cosigners_of_genesis(cosigners, genesis);
    for (uint32_t i = 0; i < signers; i++)
        checkpoint_cosign(&cosignatures[i], &x->checkpoint, 1790000000, &b->kit->nodes[i + 1].cosign);
    checkpoint_format(&x->note, &x->checkpoint, cosigners, cosignatures, n);
    x->tree = xcalloc(1, sizeof *x->tree);
    CHECK(tile_tree_open(x->tree, size, &root, fetch_tile, (void *)b) == OK);
}

/* A tile that is written is found, and found right, and the same again changes nothing. */
static void put_tile(const struct bundle_kit *b, const struct export_sink *sink, const struct tile *tile)
{
    struct failure failure;
    uint64_t first = tile->index * TILE_WIDTH;
    const struct export_tile t = {*tile, &b->views[first], &b->hashes[first]};
    CHECK(!sink->has(sink->data, tile));
    CHECK(sink->take(sink->data, &t, &failure) == OK);
    CHECK(sink->has(sink->data, tile));
    CHECK(sink->check(sink->data, tile, t.hashes, &failure) == OK);
    CHECK(sink->take(sink->data, &t, &failure) == OK);
}

void bundle_kit_export(const struct bundle_kit *b, const char *folder, uint32_t size, uint32_t from, uint32_t to,
                       uint32_t signers)
{
    struct export x = {.from = from, .to = to};
    struct bundle_writer w;
    struct failure failure;
    CHECK(from < to && to <= size && size <= b->count);
    open_export(&x, b, size, signers);
    CHECK(bundle_writer_open(&w, &x, folder, &b->kit->genesis, &failure) == OK);
    struct export_sink sink = bundle_writer_sink(&w);
    for (uint64_t n = from / TILE_WIDTH; n * TILE_WIDTH < to; n++)
        put_tile(b, &sink, &(struct tile){0, n, tile_width_at(size, 0, n)});
    CHECK(bundle_writer_finish(&w, &failure) == OK);
    bundle_writer_free(&w);
    buffer_free(&x.note);
    free(x.tree);
}
