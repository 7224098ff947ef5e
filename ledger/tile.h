/* The tree in tiles: C2SP tlog-tiles, https://c2sp.org/tlog-tiles
 *
 * Tile (L, N) is the row of the hashes of 256 subtrees of 256^L leaves each, from
 * N * 256 on: MTH(D[(N*256+i) * 256^L : (N*256+i+1) * 256^L]). The last tile of a level
 * is partial, with floor(size / 256^L) mod 256 hashes. A tile holds hashes only: who
 * follows the tree by them sees nobody's data.
 *
 *   tile/<L>/<N>[.p/<W>]       W hashes of 32 bytes, 256 without .p
 *   tile/entries/<N>[.p/<W>]   an entry bundle: leaves, each after its size as 2 bytes big-endian
 *   <N>: three digits a path element, all but the last with an x before: 1234067 = x001/x234/067
 *
 * A leaf above 65,535 bytes (only a very long genesis) does not fit into a bundle: its
 * place there is an entry of size 0, and its bytes are in the file large/<index> beside.
 *
 * Pure; any thread on its own struct. */
#ifndef LEDGER_TILE_H
#define LEDGER_TILE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "ledger/tree.h"

#define TILE_HEIGHT 8
#define TILE_WIDTH (1u << TILE_HEIGHT)
#define TILE_LEVELS ((TREE_LEVELS + TILE_HEIGHT - 1) / TILE_HEIGHT)
#define TILE_BYTES (TILE_WIDTH * sizeof(struct digest))
#define TILE_PATH_MAX 64 /* "tile/entries/" and 7 elements, ".p/255" */
#define BUNDLE_ENTRY_MAX 65535u

struct tile {
    unsigned level; /* 0 .. 63 as written; with TREE_LEVELS only those below TILE_LEVELS have hashes */
    uint64_t index;
    unsigned width; /* 1 .. 256; 256: full */
};

/* "tile/..." without a slash before. Strict: exactly one text for each tile. `entries`: an entry
 * bundle's, with level 0. ERR_SYNTAX. */
enum err tile_path_parse(struct tile *out, bool *entries, struct bytes path);
/* Appends it, without a final zero. */
void tile_path_append(struct buffer *out, const struct tile *tile, bool entries);

/* The number of hashes that this tile has in a tree of `size` leaves: 256, fewer at the edge, 0: no such tile. */
unsigned tile_width_at(uint64_t size, unsigned level, uint64_t index);
/* The leaves that a tree must have for it to be there; the tile is one of a tree. */
uint64_t tile_end(const struct tile *tile);
/* The tile's hashes from stored rows (tree_fetch). The tile is one of a tree that is there (CHECK of its level). */
enum err tile_from_rows(struct digest hashes[static TILE_WIDTH], const struct tile *tile, tree_fetch fetch,
                        void *context);
/* The hash of the subtree over `count` hashes of a tile, a power of two. */
void tile_hash(struct digest *out, const struct digest *hashes, unsigned count);

/* --- a tree known by its tiles, none of which is believed unproved --- */

/* W = tile->width hashes. Its errors are handed on. */
typedef enum err (*tile_fetch)(void *context, struct digest hashes[static TILE_WIDTH], const struct tile *tile);

struct tile_tree {
    uint64_t size;
    struct digest root;
    tile_fetch fetch;
    void *context;
    struct digest edge[TILE_LEVELS][TILE_WIDTH]; /* the partial tile of each level */
    struct {
        bool known;
        uint64_t index;
        struct digest hashes[TILE_WIDTH];
    } newest[TILE_LEVELS]; /* the last full tile that was proved, of each level */
};
/* About 128 KiB: allocate it. Fetches the partial tiles of the right edge; ERR_ROOT when they don't lead
 * to this root. size 0 is the empty tree (ERR_ROOT for another root). */
enum err tile_tree_open(struct tile_tree *t, uint64_t size, const struct digest *root, tile_fetch fetch, void *context);
/* A tile with as many hashes as it has in this tree; a view until the next call. Its hash stands in the
 * tile above, up to the root: ERR_BAD_PROOF when not. ERR_INVALID: the tree has no such tile. */
enum err tile_tree_get(const struct digest **hashes, struct tile_tree *t, unsigned level, uint64_t index);
/* What a tile must hash to as a whole, without fetching it: full ones only (ERR_INVALID). */
enum err tile_tree_hash(struct digest *out, struct tile_tree *t, unsigned level, uint64_t index);

/* --- entry bundles --- */

/* An entry that is too long for a bundle is written as one of size 0; false says so. */
bool bundle_append(struct buffer *out, struct bytes entry);
/* The next entry, a view; *rest begins behind it. ERR_NOT_FOUND at the end, ERR_TRUNCATED. */
enum err bundle_next(struct bytes *entry, struct bytes *rest);

#endif
