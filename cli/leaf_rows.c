#include "cli/leaf_rows.h"

#include <assert.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/check.h"
#include "cli/scratch_file.h"
#include "storage/disk.h"

#define ROOT_STEP 4096u /* leaves that a root may have to take one by one; the frontier is kept so often */
#define READ_ROWS 1024u /* at once */

static_assert(sizeof(struct leaf_row) == 64, "rows have no padding");

struct frontier {
    uint64_t size;
    size_t peaks; /* where they begin, lowest level first */
};

struct leaf_rows {
    int file;
    uint64_t count; /* leaves */
    struct frontier *frontiers;
    size_t frontier_count, frontier_room;
    struct digest *peaks;
    size_t peak_count, peak_room;
    uint64_t read_first, read_count; /* what `read` holds */
    struct leaf_row read[READ_ROWS];
};

enum err leaf_rows_open(struct leaf_rows **out, struct failure *failure)
{
    int file = scratch_file(failure);
    if (file < 0) return ERR_IO;
    struct leaf_rows *l = xcalloc(1, sizeof *l);
    l->file = file;
    *out = l;
    return OK;
}

void leaf_rows_close(struct leaf_rows *l)
{
    if (!l) return;
    close(l->file);
    free(l->frontiers);
    free(l->peaks);
    free(l);
}

/* --- writing --- */

enum err leaf_rows_write(struct leaf_rows *l, uint64_t first, const struct leaf_row *rows, uint32_t count)
{
    return disk_write(&disk_real, l->file, rows, count * sizeof *rows, first * sizeof *rows);
}

static void *grown(void *list, size_t *room, size_t wanted, size_t size)
{
    if (wanted <= *room) return list;
    *room = *room ? 2 * *room : 64;
    while (*room < wanted) *room *= 2;
    return xrealloc(list, *room * size);
}

static void add_frontier(struct leaf_rows *l, const struct tree *tree)
{
    l->frontiers = grown(l->frontiers, &l->frontier_room, l->frontier_count + 1, sizeof *l->frontiers);
    l->peaks = grown(l->peaks, &l->peak_room, l->peak_count + TREE_LEVELS, sizeof *l->peaks);
    l->frontiers[l->frontier_count++] = (struct frontier){tree->size, l->peak_count};
    for (unsigned level = 0; level < TREE_LEVELS; level++)
        if (tree->size >> level & 1) l->peaks[l->peak_count++] = tree->peaks[level];
}

void leaf_rows_add(struct leaf_rows *l, uint32_t count, const struct tree *tree)
{
    CHECK(tree->size == l->count && count > 0);
    if (l->frontier_count == 0 || l->count - l->frontiers[l->frontier_count - 1].size >= ROOT_STEP)
        add_frontier(l, tree);
    l->count += count;
}

/* --- reading --- */

static enum err read_from(struct leaf_rows *l, uint64_t index)
{
    uint64_t left = l->count - index, count = left < READ_ROWS ? left : READ_ROWS;
    l->read_count = 0;
    enum err e = disk_read(&disk_real, l->file, l->read, count * sizeof l->read[0], index * sizeof l->read[0]);
    if (e != OK) return e;
    l->read_first = index;
    l->read_count = count;
    return OK;
}

enum err leaf_rows_get(struct leaf_row *out, struct leaf_rows *l, uint64_t index)
{
    CHECK(index < l->count);
    bool here = index >= l->read_first && index - l->read_first < l->read_count;
    enum err e = here ? OK : read_from(l, index);
    if (e == OK) *out = l->read[index - l->read_first];
    return e;
}

/* The last frontier that is not beyond. */
static void restore(struct tree *tree, const struct leaf_rows *l, uint64_t size)
{
    size_t low = 0, high = l->frontier_count;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (l->frontiers[middle].size <= size)
            low = middle;
        else
            high = middle;
    }
    const struct digest *peak = l->peaks + l->frontiers[low].peaks;
    *tree = (struct tree){.size = l->frontiers[low].size};
    for (unsigned level = 0; level < TREE_LEVELS; level++)
        if (tree->size >> level & 1) tree->peaks[level] = *peak++;
}

enum err leaf_rows_root(struct digest *out, struct leaf_rows *l, uint64_t size)
{
    struct tree tree = {.size = 0};
    struct leaf_row row;
    CHECK(size <= l->count);
    if (size > 0) restore(&tree, l, size);
    while (tree.size < size) {
        enum err e = leaf_rows_get(&row, l, tree.size);
        if (e != OK) return e;
        tree_append(&tree, NULL, &row.leaf);
    }
    tree_root(out, &tree);
    return OK;
}
