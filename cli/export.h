/* A part of the ledger, from nodes that nobody has to trust: tile by tile, each proved
 * against a checkpoint that k nodes co-signed, before anything is done with it.
 *
 * The memory needed is that of a few tiles, however much is exported. One thread. */
#ifndef CLI_EXPORT_H
#define CLI_EXPORT_H

#include "cli/ledger_node.h"
#include "ledger/checkpoint.h"
#include "ledger/tile.h"

/* 256 consecutive entries, fewer at the ledger's end, proved. Views during the call. */
struct export_tile {
    struct tile tile; /* level 0; entries from tile.index * 256 on */
    const struct bytes *leaves;
    const struct digest *hashes; /* theirs */
};
struct export_sink {
    void *data;
    /* Whether this tile's entries seem to be there already, from an export that was broken off; may be NULL.
     * Then `check` says whether they are right; `hashes` are proved. */
    bool (*has)(void *data, const struct tile *tile);
    enum err (*check)(void *data, const struct tile *tile, const struct digest *hashes, struct failure *failure);
    enum err (*take)(void *data, const struct export_tile *tile, struct failure *failure);
};

struct export
{
    struct tool *t;
    struct export_pass pass;   /* its from and to are set */
    struct ledger_node *nodes; /* those that may be asked */
    uint32_t count, current;
    struct buffer note; /* the checkpoint that everything is proved against */
    struct checkpoint checkpoint;
    struct tile_tree *tree;
    uint64_t from, to; /* entries [from, to), as asked for; within the checkpoint's */
    /* the leaves that come next */
    struct leaf_page page;
    uint64_t page_from, asked_to;
    struct buffer copies; /* of one tile */
    struct bytes *leaves;
    struct digest *hashes;
};

/* The operation and its entry, then a checkpoint that covers it. `to` 0: the checkpoint's end.
 * `whole_tiles`: what is asked for is what whole tiles hold. ERR_DENIED; ERR_INVALID: there are
 * not so many entries. Close in every case; zero-initialised before. */
enum err export_open(struct export *x, struct tool *t, uint64_t from, uint64_t to, bool whole_tiles,
                     enum purpose purpose);
void export_close(struct export *x);
/* All tiles that hold [from, to), in order. ERR_ROOT: a node served what is not the ledger that was
 * co-signed; the text names it, and the entry. Otherwise errors of the nodes and of the sink. */
enum err export_run(struct export *x, const struct export_sink *sink);
/* Of the tree, proved; see tile_tree_get. With a text. */
enum err export_tree_tile(struct export *x, const struct digest **hashes, unsigned level, uint64_t index);

/* A proved tile against these leaves' hashes: the first entry that differs, or UINT64_MAX. */
uint64_t export_first_wrong(const struct tile *tile, const struct digest *proved, const struct digest *found);

#endif
