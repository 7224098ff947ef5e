#include "cli/export.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

#define BAR_WIDTH 24

/* --- which node --- */

static struct ledger_node *node_of(struct export *x) { return &x->nodes[x->current]; }

/* One that is silent is passed by: whoever serves, everything is proved. False: all were tried. */
static bool next_node(struct export *x, uint32_t *tried)
{
    if (++*tried >= x->count) return false;
    x->current = (x->current + 1) % x->count;
    x->page.count = 0;
    return true;
}

static enum err fetch_tile(void *context, struct digest hashes[static TILE_WIDTH], const struct tile *tile)
{
    struct export *x = context;
    uint32_t tried = 0;
    enum err e;
    do
        e = ledger_node_tile(node_of(x), hashes, tile, &x->t->failure);
    while ((source_silent(e) || e == ERR_NOT_FOUND) && next_node(x, &tried));
    return e;
}

static enum err open_nodes(struct export *x)
{
    const struct cluster *c = &x->t->cluster;
    uint32_t n = c->via ? 1 : c->genesis.member_count;
    enum err e = OK;
    x->nodes = xcalloc(n, sizeof *x->nodes);
    x->current = c->via || c->member == 0 ? 0 : c->member - 1; /* the one that took the operation */
    for (uint32_t i = 0; e == OK && i < n; i++) {
        e = ledger_node_open(&x->nodes[i], &x->pass, c->via ? c->via : i + 1, &x->t->failure);
        x->count++; /* closed also when it failed */
    }
    return e;
}

/* --- the checkpoint --- */

/* One that covers this export's own entry, so that what was exported says who did. */
static enum err take_checkpoint(struct export *x)
{
    struct failure *failure = &x->t->failure;
    uint32_t waited = 0, tried = 0;
    for (;;) {
        const struct ledger_source *source = &node_of(x)->source;
        buffer_clear(&x->note);
        enum err e = source->checkpoint(source->data, &x->note, failure);
        if (e == OK && x->note.size > 0)
            e = checkpoint_verify(&x->checkpoint, buffer_bytes(&x->note), &x->t->cluster.genesis);
        if (e == OK && x->note.size > 0 && x->checkpoint.size > x->pass.index) return OK;
        if (e == OK && source->wait(source->data, waited)) {
            waited += SOURCE_WAIT_MS;
            continue;
        }
        if (next_node(x, &tried)) continue;
        if (source_silent(e)) return e;
        return fail(failure, e == OK ? ERR_NOT_WITNESSED : e,
                    "%s shows no checkpoint of %u nodes that covers this export", source->name,
                    x->t->cluster.genesis.quorum);
    }
}

static enum err take_range(struct export *x, uint64_t from, uint64_t to)
{
    uint64_t size = x->checkpoint.size;
    x->from = from;
    x->to = to == 0 ? size : to;
    if (from < size && x->to <= size) return OK;
    return fail(&x->t->failure, ERR_INVALID,
                "the ledger has %" PRIu64 " entries that are co-signed, the last is %" PRIu64, size, size - 1);
}

static uint64_t round_up(uint64_t index) { return (index + TILE_WIDTH - 1) / TILE_WIDTH * TILE_WIDTH; }

enum err export_open(struct export *x, struct tool *t, uint64_t from, uint64_t to, bool whole_tiles,
                     enum purpose purpose)
{
    CHECK(to == 0 || from < to);
    x->t = t;
    x->pass = (struct export_pass){.tool = t, .purpose = purpose};
    /* Tiles are proved as a whole, so that the entries beside are read, too: the ledger says so. */
    x->pass.from = from / TILE_WIDTH * TILE_WIDTH;
    x->pass.to = to == 0 ? 0 : round_up(to);
    x->tree = xcalloc(1, sizeof *x->tree);
    x->leaves = xcalloc(TILE_WIDTH, sizeof *x->leaves);
    x->hashes = xcalloc(TILE_WIDTH, sizeof *x->hashes);
    enum err e = tool_cluster(t);
    t->cluster.one_deadline = false; /* as long as the ledger is; each request has the time-out */
    if (e == OK) e = tool_signer(t);
    if (e == OK) e = export_pass_make(&x->pass, &t->failure);
    if (e == OK) e = open_nodes(x);
    if (e == OK) e = take_checkpoint(x);
    if (e == OK) e = take_range(x, from, to);
    if (e == OK && whole_tiles) {
        x->from = x->pass.from;
        x->to = round_up(x->to) < x->checkpoint.size ? round_up(x->to) : x->checkpoint.size;
    }
    if (e != OK) return e;
    e = tile_tree_open(x->tree, x->checkpoint.size, &x->checkpoint.root, fetch_tile, x);
    if (e != ERR_ROOT) return e;
    return fail(&t->failure, e, "the hashes that %s serves don't lead to the root that was co-signed; don't trust it",
                node_of(x)->source.name);
}

void export_close(struct export *x)
{
    for (uint32_t i = 0; i < x->count; i++)
        ledger_node_close(&x->nodes[i]);
    export_pass_free(&x->pass);
    buffer_free(&x->note);
    buffer_free(&x->copies);
    free(x->nodes);
    free(x->tree);
    free(x->leaves);
    free(x->hashes);
    *x = (struct export){0};
}

enum err export_tree_tile(struct export *x, const struct digest **hashes, unsigned level, uint64_t index)
{
    enum err e = tile_tree_get(hashes, x->tree, level, index);
    if (e != ERR_BAD_PROOF) return e;
    return fail(&x->t->failure, ERR_ROOT,
                "the hashes that %s serves don't lead to the root that was co-signed; "
                "don't trust it",
                node_of(x)->source.name);
}

/* --- leaves --- */

/* A view until the next call: that leaf, of the page at hand or of the next one. */
static enum err next_leaf(struct export *x, struct bytes *out, uint64_t index)
{
    uint32_t tried = 0;
    bool here = x->page.count > 0 && index >= x->page_from && index - x->page_from < x->page.count;
    while (!here) {
        const struct ledger_source *source = &node_of(x)->source;
        uint64_t left = x->asked_to - index;
        uint32_t most = left < LIMIT_LEAVES ? (uint32_t)left : LIMIT_LEAVES;
        enum err e = source->leaves(source->data, &x->page, index, most, &x->t->failure);
        if (e == OK && x->page.count == 0) /* not there yet, or cut off */
            e = fail(&x->t->failure, ERR_NOT_FOUND, "%s does not have entry %" PRIu64, source->name, index);
        x->page_from = index;
        here = e == OK;
        if (e == OK) break;
        x->page.count = 0;
        if ((!source_silent(e) && e != ERR_NOT_FOUND) || !next_node(x, &tried)) return e;
    }
    *out = x->page.leaves[index - x->page_from];
    return OK;
}

static enum err collect(struct export *x, const struct tile *tile)
{
    uint64_t first = tile->index * TILE_WIDTH;
    enum err e = OK;
    buffer_clear(&x->copies);
    for (unsigned i = 0; e == OK && i < tile->width; i++) {
        struct bytes leaf = {0};
        e = next_leaf(x, &leaf, first + i);
        if (e != OK) return e;
        tree_leaf_hash(&x->hashes[i], leaf);
        buffer_append_bytes(&x->copies, leaf);
        x->leaves[i].size = leaf.size;
    }
    if (x->copies.failed) return fail(&x->t->failure, ERR_NOMEM, "no memory for %u entries", tile->width);
    for (size_t i = 0, at = 0; i < tile->width; at += x->leaves[i++].size)
        x->leaves[i].data = x->copies.data + at;
    return OK;
}

uint64_t export_first_wrong(const struct tile *tile, const struct digest *proved, const struct digest *found)
{
    for (unsigned i = 0; i < tile->width; i++)
        if (!digest_equal(&proved[i], &found[i])) return tile->index * TILE_WIDTH + i;
    return UINT64_MAX;
}

/* A full tile needs only its own hash, which stands in the tile above: its hashes are fetched only to
 * say which entry is wrong. */
static enum err prove(struct export *x, const struct tile *tile)
{
    struct digest expected, found;
    const struct digest *hashes;
    const char *name = node_of(x)->source.name;
    if (tile->width == TILE_WIDTH) {
        enum err e = tile_tree_hash(&expected, x->tree, 0, tile->index);
        tile_hash(&found, x->hashes, TILE_WIDTH);
        if (e == OK && digest_equal(&expected, &found)) return OK;
        if (e != OK && e != ERR_BAD_PROOF) return e;
    }
    enum err e = export_tree_tile(x, &hashes, 0, tile->index);
    if (e != OK) return e;
    uint64_t wrong = export_first_wrong(tile, hashes, x->hashes);
    if (wrong == UINT64_MAX) return OK;
    return fail(&x->t->failure, ERR_ROOT,
                "%s served an entry %" PRIu64 " that is not the one that was co-signed; "
                "'verify --all' says what each node holds",
                name, wrong);
}

/* --- the range --- */

static void show_progress(struct export *x, uint64_t at)
{
    char bar[BAR_WIDTH + 1];
    uint64_t all = x->to - x->from, done = at > x->to ? all : at < x->from ? 0 : at - x->from;
    unsigned full = (unsigned)(done * BAR_WIDTH / all);
    memset(bar, '.', BAR_WIDTH);
    memset(bar, '#', full);
    bar[BAR_WIDTH] = '\0';
    output_progress(&x->t->output, "[%s] %3u%%  %" PRIu64 " of %" PRIu64 " entries", bar, (unsigned)(done * 100 / all),
                    done, all);
}

static enum err export_one(struct export *x, const struct export_sink *sink, const struct tile *tile)
{
    enum err e;
    if (sink->has && sink->has(sink->data, tile)) {
        const struct digest *hashes;
        e = export_tree_tile(x, &hashes, 0, tile->index);
        return e == OK ? sink->check(sink->data, tile, hashes, &x->t->failure) : e;
    }
    e = collect(x, tile);
    if (e == OK) e = prove(x, tile);
    if (e == OK) e = sink->take(sink->data, &(struct export_tile){*tile, x->leaves, x->hashes}, &x->t->failure);
    return e;
}

enum err export_run(struct export *x, const struct export_sink *sink)
{
    enum err e = OK;
    x->asked_to = round_up(x->to) < x->checkpoint.size ? round_up(x->to) : x->checkpoint.size;
    for (uint64_t n = x->from / TILE_WIDTH; e == OK && n * TILE_WIDTH < x->to; n++) {
        struct tile tile = {0, n, tile_width_at(x->checkpoint.size, 0, n)};
        show_progress(x, n * TILE_WIDTH);
        e = export_one(x, sink, &tile);
    }
    output_progress_end(&x->t->output);
    return e;
}
