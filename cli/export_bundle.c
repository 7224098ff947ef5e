#include "cli/export_bundle.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/path.h"
#include "cli/files.h"
#include "ledger/leaf.h"

/* The longest bundle: every entry of the longest size. */
#define BUNDLE_MAX ((size_t)TILE_WIDTH * (2 + BUNDLE_ENTRY_MAX))

/* --- names --- */

static const char *path_of(struct buffer *path, const char *folder, const struct tile *tile, bool entries)
{
    buffer_clear(path);
    buffer_printf(path, "%s/", folder);
    tile_path_append(path, tile, entries);
    buffer_append(path, "", 1);
    CHECK(!path->failed);
    return (const char *)path->data;
}

static const char *large_path(struct buffer *path, const char *folder, uint64_t index)
{
    buffer_clear(path);
    buffer_printf(path, "%s/large/%" PRIu64, folder, index);
    buffer_append(path, "", 1);
    CHECK(!path->failed);
    return (const char *)path->data;
}

/* --- what was exported --- */

#define RANGE_FILE_MAX ((size_t)BUNDLE_RANGES * 60)

/* Joined with those that it meets. False: there are `most` others. */
static bool add_range(struct bundle_report *r, struct bundle_range range, uint32_t most)
{
    for (uint32_t i = 0; i < r->range_count;) {
        struct bundle_range old = r->ranges[i];
        if (old.from > range.to + 1 || range.from > old.to + 1) {
            i++;
            continue;
        }
        if (old.from < range.from) range.from = old.from;
        if (old.to > range.to) range.to = old.to;
        r->ranges[i] = r->ranges[--r->range_count];
        i = 0;
    }
    if (r->range_count == most) return false;
    r->ranges[r->range_count++] = range;
    return true;
}

static bool take_number(uint64_t *out, const char **at, const char *before)
{
    size_t size = strlen(before);
    if (strncmp(*at, before, size) != 0 || (*at)[size] < '0' || (*at)[size] > '9') return false;
    char *end;
    errno = 0;
    unsigned long long value = strtoull(*at + size, &end, 10);
    *at = end;
    *out = value;
    return errno == 0 && value < TREE_SIZE_MAX;
}

/* None where there is no such file. */
static enum err read_ranges(struct bundle_report *r, const char *folder, struct failure *failure)
{
    struct buffer text = {0};
    char *path = path_join(folder, "range");
    enum err e = file_read(&text, path, RANGE_FILE_MAX, NULL);
    if (e != OK && e != ERR_NO_FILE) fail(failure, e, "cannot read %s: %s", path, err_text(e));
    buffer_append(&text, "", 1);
    if (text.failed) e = fail(failure, ERR_NOMEM, "no memory for %s", path);
    const char *at = e == OK ? (const char *)text.data : "", *end = at + (e == OK ? text.size - 1 : 0);
    while (e == OK && at < end) {
        struct bundle_range range;
        bool good = take_number(&range.from, &at, "entries ") && take_number(&range.to, &at, " to ") && *at == '\n' &&
                    range.from <= range.to && add_range(r, range, BUNDLE_RANGES);
        if (!good) e = fail(failure, ERR_ROOT, "%s can't be read: it was altered, or is no export's", path);
        at += good;
    }
    if (e == OK && r->range_count == 0) e = fail(failure, ERR_ROOT, "%s is empty: it was altered", path);
    buffer_free(&text);
    free(path);
    return e == ERR_NO_FILE ? OK : e;
}

/* What is there from before, and this. */
static enum err put_range(const char *folder, struct bundle_range range, struct failure *failure)
{
    struct bundle_report *r = xcalloc(1, sizeof *r);
    struct buffer text = {0};
    enum err e = read_ranges(r, folder, failure);
    if (e == OK && !add_range(r, range, BUNDLE_RANGES))
        e = fail(failure, ERR_FULL, "%s holds parts of too many exports; export into another folder", folder);
    for (uint32_t i = 0; i < r->range_count; i++)
        buffer_printf(&text, "entries %" PRIu64 " to %" PRIu64 "\n", r->ranges[i].from, r->ranges[i].to);
    CHECK(!text.failed);
    char *path = path_join(folder, "range");
    if (e == OK) e = file_write(path, buffer_bytes(&text), 0600, false, failure);
    free(path);
    buffer_free(&text);
    free(r);
    return e;
}

/* --- writing --- */

static enum err make_folder_of(const char *path, struct failure *failure)
{
    char *copy = xstrdup(path);
    *strrchr(copy, '/') = '\0';
    enum err e = folder_create(copy, failure);
    free(copy);
    return e;
}

static enum err write_temporary(const char *name, struct bytes content, struct failure *failure)
{
    int fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    FILE *f = fd < 0 ? NULL : fdopen(fd, "w");
    if (!f && fd >= 0) close(fd);
    if (!f) return fail(failure, ERR_IO, "cannot make %s: %s", name, strerror(errno));
    bool written = fwrite(content.data, 1, content.size, f) == content.size;
    written &= fclose(f) == 0;
    return written ? OK
                   : fail(failure, errno == ENOSPC ? ERR_FULL : ERR_IO, "cannot write %s: %s", name, strerror(errno));
}

/* Whole or not at all; synced with all others before the checkpoint is there. A file that is there
 * already is right, or not ours to replace. */
static enum err put(struct bundle_writer *w, const char *path, struct bytes content, struct failure *failure)
{
    struct buffer old = {0}, name = {0};
    struct stat st;
    if (stat(path, &st) == 0) {
        enum err e = file_read(&old, path, BUNDLE_MAX, failure);
        if (e == OK && !bytes_equal(buffer_bytes(&old), content))
            e = fail(failure, ERR_EXISTS, "%s is there already, with something else in it; export into another folder",
                     path);
        buffer_free(&old);
        return e;
    }
    buffer_printf(&name, "%s.tmp-%ld", path, (long)getpid());
    buffer_append(&name, "", 1);
    enum err e = make_folder_of(path, failure);
    if (e == OK) e = write_temporary((const char *)name.data, content, failure);
    if (e == OK && rename((const char *)name.data, path) != 0)
        e = fail(failure, ERR_IO, "cannot make %s: %s", path, strerror(errno));
    if (e != OK) unlink((const char *)name.data);
    w->bytes += e == OK ? content.size : 0;
    buffer_free(&name);
    return e;
}

static enum err put_tile(struct bundle_writer *w, const struct tile *tile, const struct digest *hashes,
                         struct failure *failure)
{
    return put(w, path_of(&w->path, w->folder, tile, false), bytes_of(hashes, tile->width * sizeof *hashes), failure);
}

static enum err take(void *data, const struct export_tile *t, struct failure *failure)
{
    struct bundle_writer *w = data;
    enum err e = OK;
    buffer_clear(&w->file);
    for (unsigned i = 0; e == OK && i < t->tile.width; i++)
        if (!bundle_append(&w->file, t->leaves[i]))
            e = put(w, large_path(&w->path, w->folder, t->tile.index * TILE_WIDTH + i), t->leaves[i], failure);
    if (w->file.failed) return fail(failure, ERR_NOMEM, "no memory for a bundle of entries");
    if (e == OK) e = put_tile(w, &t->tile, t->hashes, failure);
    if (e == OK) e = put(w, path_of(&w->path, w->folder, &t->tile, true), buffer_bytes(&w->file), failure);
    w->written += e == OK ? t->tile.width : 0;
    return e;
}

/* --- reading --- */

/* The bundle's leaves against proved hashes; `leaf` (may be NULL) is told each. */
struct bundle_check {
    const char *folder;
    struct buffer file, large, path;
    enum err (*leaf)(void *data, uint64_t index, struct bytes leaf, const struct digest *hash, struct failure *failure);
    void *data;
};

static void bundle_check_free(struct bundle_check *c)
{
    buffer_free(&c->file);
    buffer_free(&c->large);
    buffer_free(&c->path);
}

/* An entry, or in its place the file beside. */
static enum err read_entry(struct bundle_check *c, struct bytes *out, struct bytes *rest, uint64_t index,
                           struct failure *failure)
{
    enum err e = bundle_next(out, rest);
    if (e != OK) return fail(failure, ERR_TRUNCATED, "the bundle ends before entry %" PRIu64, index);
    if (out->size > 0) return OK;
    buffer_clear(&c->large);
    e = file_read(&c->large, large_path(&c->path, c->folder, index), LIMIT_LEAF_0, failure);
    if (e == ERR_NO_FILE)
        e = fail(failure, ERR_ROOT, "%s, which holds entry %" PRIu64 ", is missing: the export is incomplete",
                 (const char *)c->path.data, index);
    *out = buffer_bytes(&c->large);
    return e;
}

static enum err check_bundle(struct bundle_check *c, const struct tile *tile, const struct digest *hashes,
                             struct failure *failure)
{
    struct digest hash;
    buffer_clear(&c->file);
    enum err e = file_read(&c->file, path_of(&c->path, c->folder, tile, true), BUNDLE_MAX, failure);
    struct bytes rest = buffer_bytes(&c->file);
    for (unsigned i = 0; e == OK && i < tile->width; i++) {
        struct bytes leaf;
        uint64_t index = tile->index * TILE_WIDTH + i;
        e = read_entry(c, &leaf, &rest, index, failure);
        if (e != OK) break;
        tree_leaf_hash(&hash, leaf);
        if (!digest_equal(&hash, &hashes[i]))
            return fail(failure, ERR_ROOT, "entry %" PRIu64 " in %s is not the one that was co-signed", index,
                        c->folder);
        if (c->leaf) e = c->leaf(c->data, index, leaf, &hash, failure);
    }
    if (e == OK && rest.size > 0)
        e = fail(failure, ERR_TRAILING, "%s holds more than its %u entries", path_of(&c->path, c->folder, tile, true),
                 tile->width);
    return e;
}

/* --- going on with an export that was broken off --- */

static bool has(void *data, const struct tile *tile)
{
    struct bundle_writer *w = data;
    return access(path_of(&w->path, w->folder, tile, true), F_OK) == 0;
}

static enum err check_found(void *data, const struct tile *tile, const struct digest *hashes, struct failure *failure)
{
    struct bundle_writer *w = data;
    struct bundle_check check = {.folder = w->folder};
    enum err e = check_bundle(&check, tile, hashes, failure);
    if (e == OK) e = put_tile(w, tile, hashes, failure);
    bundle_check_free(&check);
    w->found += e == OK ? tile->width : 0;
    return e;
}

struct export_sink bundle_writer_sink(struct bundle_writer *w)
{
    return (struct export_sink){.data = w, .has = has, .check = check_found, .take = take};
}

/* Nothing but what an export makes. */
static bool is_ours(const char *name)
{
    static const char *const names[] = {".", "..", "checkpoint", "range", "tile", "large"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(name, names[i]) == 0) return true;
    return false;
}

/* One that is there is this cluster's, so that what it proves is not replaced by another's. */
static enum err check_old(const struct bundle_writer *w, const struct genesis *genesis, struct failure *failure)
{
    struct checkpoint old;
    struct buffer note = {0};
    char *path = path_join(w->folder, "checkpoint");
    enum err e = file_read(&note, path, LIMIT_CHECKPOINT_NOTE, failure);
    if (e == ERR_NO_FILE)
        e = OK;
    else if (e == OK && checkpoint_verify(&old, buffer_bytes(&note), genesis) != OK)
        e = fail(failure, ERR_EXISTS, "%s is another cluster's, or damaged; export into another folder", path);
    buffer_free(&note);
    free(path);
    return e;
}

enum err bundle_writer_open(struct bundle_writer *w, struct export *x, const char *folder,
                            const struct genesis *genesis, struct failure *failure)
{
    *w = (struct bundle_writer){.folder = folder, .export = x};
    struct stat st;
    if (stat(folder, &st) == 0 && !S_ISDIR(st.st_mode))
        return fail(failure, ERR_EXISTS, "%s is a file; a bundle is a folder", folder);
    enum err e = folder_create(folder, failure);
    DIR *d = e == OK ? opendir(folder) : NULL;
    if (e == OK && !d) e = fail(failure, ERR_PERMISSION, "cannot read %s: %s", folder, path_trouble(errno));
    for (struct dirent *entry; e == OK && (entry = readdir(d));)
        if (!is_ours(entry->d_name))
            e = fail(failure, ERR_EXISTS, "%s holds other files (%s); export into a folder of its own", folder,
                     entry->d_name);
    if (d) closedir(d);
    return e == OK ? check_old(w, genesis, failure) : e;
}

/* --- the end --- */

/* Tiles above the entries, up to the last that the range needs. */
static enum err put_tiles_above(struct bundle_writer *w, struct failure *failure)
{
    struct export *x = w->export;
    enum err e = OK;
    for (unsigned level = 1; e == OK && level < TILE_LEVELS; level++) {
        unsigned shift = TILE_HEIGHT * (level + 1);
        uint64_t first = shift < 64 ? x->from >> shift : 0, last = shift < 64 ? (x->to - 1) >> shift : 0;
        for (uint64_t n = first; e == OK && n <= last; n++) {
            const struct digest *hashes;
            struct tile tile = {level, n, tile_width_at(x->checkpoint.size, level, n)};
            if (tile.width == 0) break;
            e = export_tree_tile(x, &hashes, level, n);
            if (e == OK) e = put_tile(w, &tile, hashes, failure);
        }
    }
    return e;
}

/* The partial tiles that the root follows from. */
static enum err put_edge(struct bundle_writer *w, struct failure *failure)
{
    struct export *x = w->export;
    enum err e = OK;
    for (unsigned level = 0; e == OK && level < TILE_LEVELS; level++) {
        uint64_t hashes = x->checkpoint.size >> (TILE_HEIGHT * level);
        struct tile tile = {level, hashes / TILE_WIDTH, (unsigned)(hashes % TILE_WIDTH)};
        if (tile.width) e = put_tile(w, &tile, x->tree->edge[level], failure);
    }
    return e;
}

enum err bundle_writer_finish(struct bundle_writer *w, struct failure *failure)
{
    enum err e = put_tiles_above(w, failure);
    if (e == OK) e = put_edge(w, failure);
    if (e == OK) e = put_range(w->folder, (struct bundle_range){w->export->from, w->export->to - 1}, failure);
    if (e == OK) e = folder_sync(w->folder, failure);
    if (e != OK) return e;
    char *path = path_join(w->folder, "checkpoint");
    e = file_write(path, buffer_bytes(&w->export->note), 0600, false, failure); /* a newer one replaces an older one */
    free(path);
    return e;
}

void bundle_writer_free(struct bundle_writer *w)
{
    buffer_free(&w->file);
    buffer_free(&w->path);
}

/* --- verifying --- */

struct verifying {
    struct bundle_check check;
    struct bundle_report *report;
    struct tile_tree *tree;
    struct digest last_hash; /* of entry report->last */
    const struct bundle_range *asked; /* NULL: nobody says what is to be there */
    struct bundle_range missing;      /* the first of them that should be there, and are not */
    uint64_t missing_count, first_gap;
    struct failure *failure;
};

static enum err fetch_file(void *context, struct digest hashes[static TILE_WIDTH], const struct tile *tile)
{
    struct verifying *v = context;
    struct buffer file = {0};
    const char *path = path_of(&v->check.path, v->check.folder, tile, false);
    enum err e = file_read(&file, path, TILE_BYTES, v->failure);
    if (e == ERR_NO_FILE)
        e = fail(v->failure, ERR_ROOT, "%s is missing, which has hashes: the export is incomplete", path);
    if (e == OK && file.size != tile->width * sizeof *hashes)
        e = fail(v->failure, ERR_TRUNCATED, "%s does not hold %u hashes", path, tile->width);
    if (e == OK) memcpy(hashes, file.data, file.size);
    buffer_free(&file);
    return e;
}

/* The chain inside the leaves: index, and the hash of the entry before. */
static enum err check_leaf(void *data, uint64_t index, struct bytes bytes, const struct digest *hash,
                           struct failure *failure)
{
    struct verifying *v = data;
    struct bundle_report *r = v->report;
    struct leaf leaf;
    enum err e = leaf_decode(&leaf, bytes);
    if (e != OK) return fail(failure, e, "entry %" PRIu64 " can't be read: %s", index, err_text(e));
    bool next = r->entries > 0 && r->last + 1 == index;
    if (leaf.index != index || (next && !digest_equal(&leaf.previous, &v->last_hash)))
        return fail(failure, ERR_CHAIN, "entry %" PRIu64 " does not follow the one before", index);
    if (r->entries == 0) r->first = index;
    if (r->entries > 0 && !next && r->gaps == 0) v->first_gap = r->last + 1;
    if (r->entries > 0 && !next) r->gaps += index - r->last - 1;
    r->entries++;
    r->last = index;
    v->last_hash = *hash;
    return OK;
}

static enum err read_checkpoint(struct verifying *v, const struct genesis *genesis)
{
    char *path = path_join(v->check.folder, "checkpoint");
    struct buffer note = {0};
    enum err e = file_read(&note, path, LIMIT_CHECKPOINT_NOTE, v->failure);
    if (e == ERR_NO_FILE)
        fail(v->failure, e, "%s has no checkpoint: it is no export, or an unfinished one", v->check.folder);
    if (e == OK && (e = checkpoint_verify(&v->report->checkpoint, buffer_bytes(&note), genesis)) != OK)
        e = fail(v->failure, ERR_CHECKPOINT, "%s is not valid: %s", path, err_text(e));
    buffer_free(&note);
    free(path);
    return e;
}

static enum err verify_tile(struct verifying *v, const struct tile *tile)
{
    const struct digest *hashes;
    enum err e = tile_tree_get(&hashes, v->tree, 0, tile->index);
    if (e == ERR_BAD_PROOF)
        return fail(v->failure, ERR_ROOT,
                    "the hashes above entries %" PRIu64 " and following in %s are not those that were "
                    "co-signed",
                    tile->index * TILE_WIDTH, v->check.folder);
    return e == OK ? check_bundle(&v->check, tile, hashes, v->failure) : e;
}

static void miss(struct verifying *v, uint64_t from, uint64_t to)
{
    if (v->missing_count == 0)
        v->missing = (struct bundle_range){from, to};
    else if (v->missing.to + 1 == from)
        v->missing.to = to;
    v->missing_count += to - from + 1;
}

/* Entries from .. to are not in the folder: which of them should be. */
static void note_missing(struct verifying *v, uint64_t from, uint64_t to)
{
    struct bundle_report all = {.range_count = v->report->range_count};
    memcpy(all.ranges, v->report->ranges, sizeof all.ranges);
    if (v->asked) CHECK(add_range(&all, *v->asked, BUNDLE_RANGES + 1));
    for (uint32_t i = 0; i < all.range_count; i++) {
        uint64_t first = all.ranges[i].from > from ? all.ranges[i].from : from;
        uint64_t last = all.ranges[i].to < to ? all.ranges[i].to : to;
        if (first <= last) miss(v, first, last);
    }
}

/* Of the missing entries; the two kinds are counted together. */
static const char *why_expected(const struct verifying *v)
{
    if (!v->asked) return "it says were exported";
    return v->report->range_count > 0 ? "it says were exported, or that were asked for" : "were asked for";
}

static enum err say_missing(struct verifying *v)
{
    const struct bundle_report *r = v->report;
    const char *folder = v->check.folder;
    if (v->missing_count > 0)
        return fail(v->failure, ERR_ROOT, "entries %" PRIu64 " to %" PRIu64 " are missing in %s%s (%" PRIu64
                    " in all), of those that %s: files were removed, or the copy is incomplete", v->missing.from,
                    v->missing.to, folder, v->missing_count > v->missing.to - v->missing.from + 1 ? " and more" : "",
                    v->missing_count, why_expected(v));
    if (r->entries == 0) return fail(v->failure, ERR_ROOT, "%s holds no entries", folder);
    if (r->gaps == 0 || r->range_count > 0 || v->asked) return OK;
    return fail(v->failure, ERR_ROOT, "%" PRIu64 " entries between %" PRIu64 " and %" PRIu64 " are missing in %s, from "
                "entry %" PRIu64 " on", r->gaps, r->first, r->last, folder, v->first_gap);
}

static enum err verify_tiles(struct verifying *v, void (*progress)(void *data, const struct bundle_report *report),
                             void *data)
{
    uint64_t size = v->report->checkpoint.size;
    enum err e = OK;
    v->report->tile_count = size / TILE_WIDTH + (size % TILE_WIDTH != 0);
    for (uint64_t n = 0; e == OK && n < v->report->tile_count; n++) {
        struct tile tile = {0, n, tile_width_at(size, 0, n)};
        v->report->tiles_done = n;
        if (access(path_of(&v->check.path, v->check.folder, &tile, true), F_OK) != 0) {
            note_missing(v, n * TILE_WIDTH, n * TILE_WIDTH + tile.width - 1);
            continue;
        }
        if (progress) progress(data, v->report);
        e = verify_tile(v, &tile);
    }
    note_missing(v, size, UINT64_MAX - 1); /* more than the checkpoint covers */
    return e == OK ? say_missing(v) : e;
}

enum err bundle_verify(struct bundle_report *out, const char *folder, const struct genesis *genesis,
                       const struct bundle_range *asked,
                       void (*progress)(void *data, const struct bundle_report *report), void *data,
                       struct failure *failure)
{
    struct verifying v = {.check = {.folder = folder, .leaf = check_leaf}, .report = out, .asked = asked,
                          .failure = failure};
    v.check.data = &v;
    v.tree = xcalloc(1, sizeof *v.tree);
    *out = (struct bundle_report){0};
    enum err e = read_checkpoint(&v, genesis);
    if (e == OK) e = read_ranges(out, folder, failure);
    if (e == OK) e = tile_tree_open(v.tree, out->checkpoint.size, &out->checkpoint.root, fetch_file, &v);
    if (e == ERR_ROOT && !failure->text[0])
        fail(failure, e, "the hashes in %s don't lead to the root that was co-signed", folder);
    if (e == OK) e = verify_tiles(&v, progress, data);
    bundle_check_free(&v.check);
    free(v.tree);
    return e;
}
