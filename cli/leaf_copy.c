#include "cli/leaf_copy.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/limits.h"
#include "cli/scratch_file.h"
#include "crypto/aead.h"
#include "crypto/random.h"
#include "crypto/secret.h"
#include "storage/disk.h"

#define ROOT_STEP 4096u /* leaves that a root may have to hash; the frontier is kept so often */

struct chunk {
    uint64_t first; /* leaf */
    struct leaf_place place;
    uint32_t count;
};

struct frontier {
    uint64_t size;
    size_t peaks; /* where they begin, lowest level first */
};

struct leaf_copy {
    int file;
    uint8_t key[AEAD_KEY_SIZE];
    atomic_uint_fast64_t end; /* of the file */
    uint64_t count; /* leaves */
    struct chunk *chunks;
    size_t chunk_count, chunk_room;
    struct frontier *frontiers;
    size_t frontier_count, frontier_room;
    struct digest *peaks;
    size_t peak_count, peak_room;
    /* The chunk that was read last, and where its next leaf is. */
    const struct chunk *open;
    struct buffer sealed, plain;
    size_t at;
    uint64_t next;
};

/* --- a chunk --- */

void leaf_chunk_append(struct buffer *chunk, struct bytes leaf)
{
    uint8_t size[4];
    put_be32(size, (uint32_t)leaf.size);
    buffer_append(chunk, size, sizeof size);
    buffer_append_bytes(chunk, leaf);
}

bool leaf_chunk_next(struct bytes *leaf, struct bytes chunk, size_t *at)
{
    if (*at == chunk.size) return false;
    CHECK(chunk.size - *at >= 4);
    uint32_t size = get_be32(chunk.data + *at);
    CHECK(size <= chunk.size - *at - 4);
    *leaf = bytes_of(chunk.data + *at + 4, size);
    *at += 4 + (size_t)size;
    return true;
}

/* --- opening --- */

enum err leaf_copy_open(struct leaf_copy **out, struct failure *failure)
{
    int file = scratch_file(failure);
    if (file < 0) return ERR_IO;
    struct leaf_copy *c = xcalloc(1, sizeof *c);
    c->file = file;
    random_bytes(c->key, sizeof c->key);
    *out = c;
    return OK;
}

void leaf_copy_close(struct leaf_copy *c)
{
    if (!c) return;
    close(c->file);
    secret_wipe(c->key, sizeof c->key);
    free(c->chunks);
    free(c->frontiers);
    free(c->peaks);
    buffer_free(&c->sealed);
    buffer_free(&c->plain);
    free(c);
}

/* --- writing --- */

/* A place in the file is written once, so its offset is a nonce for this key. */
static void nonce_of(uint8_t nonce[static AEAD_NONCE_SIZE], uint64_t at)
{
    memset(nonce, 0, AEAD_NONCE_SIZE);
    put_be64(nonce + AEAD_NONCE_SIZE - 8, at);
}

enum err leaf_copy_write(struct leaf_copy *c, struct leaf_place *out, struct buffer *room, struct bytes chunk)
{
    uint8_t nonce[AEAD_NONCE_SIZE];
    buffer_clear(room);
    uint8_t *sealed = buffer_extend(room, chunk.size + AEAD_TAG_SIZE);
    if (!sealed) return ERR_NOMEM;
    *out = (struct leaf_place){atomic_fetch_add(&c->end, room->size), (uint32_t)chunk.size};
    nonce_of(nonce, out->at);
    aead_encrypt(sealed, c->key, nonce, chunk, (struct bytes){0});
    return disk_write(&disk_real, c->file, sealed, room->size, out->at);
}

static void *grown(void *list, size_t *room, size_t wanted, size_t size)
{
    if (wanted <= *room) return list;
    *room = *room ? 2 * *room : 64;
    while (*room < wanted) *room *= 2;
    return xrealloc(list, *room * size);
}

static void add_frontier(struct leaf_copy *c, const struct tree *tree)
{
    c->frontiers = grown(c->frontiers, &c->frontier_room, c->frontier_count + 1, sizeof *c->frontiers);
    c->peaks = grown(c->peaks, &c->peak_room, c->peak_count + TREE_LEVELS, sizeof *c->peaks);
    c->frontiers[c->frontier_count++] = (struct frontier){tree->size, c->peak_count};
    for (unsigned level = 0; level < TREE_LEVELS; level++)
        if (tree->size >> level & 1) c->peaks[c->peak_count++] = tree->peaks[level];
}

void leaf_copy_add(struct leaf_copy *c, const struct leaf_place *place, uint32_t count, const struct tree *tree)
{
    CHECK(tree->size == c->count && count > 0);
    if (c->frontier_count == 0 || c->count - c->frontiers[c->frontier_count - 1].size >= ROOT_STEP) add_frontier(c, tree);
    c->open = NULL; /* the list may move */
    c->chunks = grown(c->chunks, &c->chunk_room, c->chunk_count + 1, sizeof *c->chunks);
    c->chunks[c->chunk_count++] = (struct chunk){c->count, *place, count};
    c->count += count;
}

/* --- reading --- */

static enum err open_chunk(struct leaf_copy *c, const struct chunk *chunk)
{
    uint8_t nonce[AEAD_NONCE_SIZE];
    c->open = NULL;
    buffer_clear(&c->sealed);
    buffer_clear(&c->plain);
    size_t size = chunk->place.size + AEAD_TAG_SIZE;
    uint8_t *sealed = buffer_extend(&c->sealed, size), *plain = buffer_extend(&c->plain, size);
    if (!sealed || !plain) return ERR_NOMEM;
    enum err e = disk_read(&disk_real, c->file, sealed, size, chunk->place.at);
    nonce_of(nonce, chunk->place.at);
    if (e == OK) e = aead_decrypt(plain, c->key, nonce, bytes_of(sealed, size), (struct bytes){0});
    if (e != OK) return e == ERR_DECRYPT || e == ERR_TRUNCATED ? ERR_CORRUPT : e;
    c->plain.size = chunk->place.size;
    c->open = chunk;
    c->at = 0;
    c->next = chunk->first;
    return OK;
}

static const struct chunk *find_chunk(const struct leaf_copy *c, uint64_t index)
{
    size_t low = 0, high = c->chunk_count; /* the last one that begins at or before it */
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (c->chunks[middle].first <= index)
            low = middle;
        else
            high = middle;
    }
    return &c->chunks[low];
}

enum err leaf_copy_get(struct bytes *out, struct leaf_copy *c, uint64_t index)
{
    CHECK(index < c->count);
    enum err e = OK;
    if (!c->open || index < c->open->first || index - c->open->first >= c->open->count)
        e = open_chunk(c, find_chunk(c, index));
    if (e != OK) return e;
    if (index < c->next) {
        c->at = 0;
        c->next = c->open->first;
    }
    do CHECK(leaf_chunk_next(out, buffer_bytes(&c->plain), &c->at));
    while (c->next++ < index);
    return OK;
}

/* The last frontier that is not beyond. */
static void restore(struct tree *tree, const struct leaf_copy *c, uint64_t size)
{
    size_t low = 0, high = c->frontier_count;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (c->frontiers[middle].size <= size)
            low = middle;
        else
            high = middle;
    }
    const struct digest *peak = &c->peaks[c->frontiers[low].peaks];
    *tree = (struct tree){.size = c->frontiers[low].size};
    for (unsigned level = 0; level < TREE_LEVELS; level++)
        if (tree->size >> level & 1) tree->peaks[level] = *peak++;
}

enum err leaf_copy_root(struct digest *out, struct leaf_copy *c, uint64_t size)
{
    struct tree tree = {.size = 0};
    struct digest hash;
    struct bytes leaf;
    CHECK(size <= c->count);
    if (size > 0) restore(&tree, c, size);
    while (tree.size < size) {
        enum err e = leaf_copy_get(&leaf, c, tree.size);
        if (e != OK) return e;
        tree_leaf_hash(&hash, leaf);
        tree_append(&tree, NULL, &hash);
    }
    tree_root(out, &tree);
    return OK;
}
