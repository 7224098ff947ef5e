#include "ledger/tile.h"

#include <assert.h>
#include <string.h>

#include "base/check.h"

static_assert(TILE_WIDTH == LIMIT_TILE, "what messages hold");

/* --- paths --- */

struct path {
    const uint8_t *at, *end;
};

static bool take_text(struct path *p, const char *text)
{
    size_t size = strlen(text);
    if ((size_t)(p->end - p->at) < size || memcmp(p->at, text, size) != 0) return false;
    p->at += size;
    return true;
}

static bool is_digit(uint8_t c) { return c >= '0' && c <= '9'; }

/* A decimal number without leading zeroes, at most `most`. */
static bool take_number(struct path *p, unsigned *out, unsigned most)
{
    const uint8_t *start = p->at;
    for (*out = 0; p->at < p->end && is_digit(*p->at); p->at++) {
        *out = *out * 10 + (unsigned)(*p->at - '0');
        if (*out > most) return false;
    }
    return p->at > start && (*start != '0' || p->at == start + 1);
}

/* Exactly three digits. */
static bool take_element(struct path *p, uint64_t *index)
{
    if (p->end - p->at < 3 || !is_digit(p->at[0]) || !is_digit(p->at[1]) || !is_digit(p->at[2])) return false;
    unsigned value = (unsigned)(p->at[0] - '0') * 100u + (unsigned)(p->at[1] - '0') * 10u + (unsigned)(p->at[2] - '0');
    if (*index > (TREE_SIZE_MAX - value) / 1000) return false;
    *index = *index * 1000 + value;
    p->at += 3;
    return true;
}

/* No more elements than the number needs: the first of several is not 000. */
static bool take_index(struct path *p, uint64_t *index)
{
    const uint8_t *start = p->at;
    *index = 0;
    while (take_text(p, "x"))
        if (!take_element(p, index) || !take_text(p, "/") || *index == 0) return false;
    return take_element(p, index) && (p->at == start + 3 || *index >= 1000);
}

enum err tile_path_parse(struct tile *out, bool *entries, struct bytes path)
{
    struct path p = {path.data, path.data + path.size};
    *out = (struct tile){.width = TILE_WIDTH};
    if (path.size == 0 || !take_text(&p, "tile/")) return ERR_SYNTAX;
    *entries = take_text(&p, "entries/");
    if (!*entries && (!take_number(&p, &out->level, 63) || !take_text(&p, "/"))) return ERR_SYNTAX;
    if (!take_index(&p, &out->index)) return ERR_SYNTAX;
    if (take_text(&p, ".p/") && (!take_number(&p, &out->width, TILE_WIDTH - 1) || out->width == 0)) return ERR_SYNTAX;
    return p.at == p.end ? OK : ERR_SYNTAX;
}

static void append_index(struct buffer *out, uint64_t index, bool last)
{
    if (index >= 1000) append_index(out, index / 1000, false);
    buffer_printf(out, last ? "%03u" : "x%03u/", (unsigned)(index % 1000));
}

void tile_path_append(struct buffer *out, const struct tile *tile, bool entries)
{
    CHECK(tile->width >= 1 && tile->width <= TILE_WIDTH);
    if (entries)
        buffer_append_text(out, "tile/entries/");
    else
        buffer_printf(out, "tile/%u/", tile->level);
    append_index(out, tile->index, true);
    if (tile->width < TILE_WIDTH) buffer_printf(out, ".p/%u", tile->width);
}

/* --- tiles --- */

unsigned tile_width_at(uint64_t size, unsigned level, uint64_t index)
{
    if (level >= TILE_LEVELS) return 0;
    uint64_t hashes = size >> (TILE_HEIGHT * level);
    uint64_t full = hashes / TILE_WIDTH;
    if (index < full) return TILE_WIDTH;
    return index == full ? (unsigned)(hashes % TILE_WIDTH) : 0;
}

uint64_t tile_end(const struct tile *tile)
{
    CHECK(tile->level < TILE_LEVELS);
    return (tile->index * TILE_WIDTH + tile->width) << (TILE_HEIGHT * tile->level);
}

enum err tile_from_rows(struct digest hashes[static TILE_WIDTH], const struct tile *tile, tree_fetch fetch,
                        void *context)
{
    enum err e = OK;
    CHECK(tile->level < TILE_LEVELS && tile->width <= TILE_WIDTH);
    for (unsigned i = 0; e == OK && i < tile->width; i++)
        e = fetch(context, &hashes[i], TILE_HEIGHT * tile->level, tile->index * TILE_WIDTH + i);
    return e;
}

void tile_hash(struct digest *out, const struct digest *hashes, unsigned count)
{
    struct tree tree = {0};
    CHECK(count > 0 && (count & (count - 1)) == 0);
    for (unsigned i = 0; i < count; i++)
        tree_append(&tree, NULL, &hashes[i]);
    tree_root(out, &tree);
}

/* --- a tree known by its tiles --- */

/* A peak of the tree lies in the partial tile of its level: it is the subtree of the binary digit
 * `level` of the size, and the tile holds those of eight digits. */
static enum err fetch_peak(void *context, struct digest *out, unsigned level, uint64_t index)
{
    struct tile_tree *t = context;
    unsigned count = 1u << level % TILE_HEIGHT;
    uint64_t first = index * count % TILE_WIDTH;
    tile_hash(out, &t->edge[level / TILE_HEIGHT][first], count);
    return OK;
}

enum err tile_tree_open(struct tile_tree *t, uint64_t size, const struct digest *root, tile_fetch fetch, void *context)
{
    enum err e = size <= TREE_SIZE_MAX ? OK : ERR_INVALID;
    struct digest found;
    memset(t, 0, sizeof *t);
    t->size = size;
    t->root = *root;
    t->fetch = fetch;
    t->context = context;
    for (unsigned level = 0; e == OK && level < TILE_LEVELS; level++) {
        uint64_t hashes = size >> (TILE_HEIGHT * level);
        struct tile tile = {level, hashes / TILE_WIDTH, (unsigned)(hashes % TILE_WIDTH)};
        if (tile.width) e = fetch(context, t->edge[level], &tile);
    }
    if (e == OK) e = tree_root_at(&found, size, fetch_peak, t);
    return e == OK && !digest_equal(&found, root) ? ERR_ROOT : e;
}

enum err tile_tree_hash(struct digest *out, struct tile_tree *t, unsigned level, uint64_t index)
{
    const struct digest *above;
    if (tile_width_at(t->size, level, index) != TILE_WIDTH) return ERR_INVALID;
    enum err e = tile_tree_get(&above, t, level + 1, index / TILE_WIDTH);
    if (e == OK) *out = above[index % TILE_WIDTH];
    return e;
}

enum err tile_tree_get(const struct digest **hashes, struct tile_tree *t, unsigned level, uint64_t index)
{
    unsigned width = tile_width_at(t->size, level, index);
    struct digest expected, found;
    if (width == 0) return ERR_INVALID;
    if (width < TILE_WIDTH) {
        *hashes = t->edge[level];
        return OK;
    }
    *hashes = t->newest[level].hashes;
    if (t->newest[level].known && t->newest[level].index == index) return OK;
    enum err e = tile_tree_hash(&expected, t, level, index);
    t->newest[level].known = false;
    if (e == OK) e = t->fetch(t->context, t->newest[level].hashes, &(struct tile){level, index, TILE_WIDTH});
    if (e != OK) return e;
    tile_hash(&found, t->newest[level].hashes, TILE_WIDTH);
    if (!digest_equal(&found, &expected)) return ERR_BAD_PROOF;
    t->newest[level].known = true;
    t->newest[level].index = index;
    return OK;
}

/* --- entry bundles --- */

bool bundle_append(struct buffer *out, struct bytes entry)
{
    uint8_t size[2];
    bool fits = entry.size <= BUNDLE_ENTRY_MAX;
    put_be16(size, fits ? (uint16_t)entry.size : 0);
    buffer_append(out, size, sizeof size);
    if (fits) buffer_append_bytes(out, entry);
    return fits;
}

enum err bundle_next(struct bytes *entry, struct bytes *rest)
{
    if (rest->size == 0) return ERR_NOT_FOUND;
    if (rest->size < 2) return ERR_TRUNCATED;
    size_t size = get_be16(rest->data);
    if (rest->size - 2 < size) return ERR_TRUNCATED;
    *entry = bytes_of(rest->data + 2, size);
    *rest = bytes_of(rest->data + 2 + size, rest->size - 2 - size);
    return OK;
}
