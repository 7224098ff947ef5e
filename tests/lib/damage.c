#include "tests/lib/damage.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/lib/unit.h"

#define PAGE 4096
#define SECTOR 512
#define CHOICES 20 /* of a place for damage of a kind */

const char *const damage_names[DAMAGE_KINDS] = {"bits turned", "a page as it was before", "sectors lost at the end",
                                                "a page of zeros", "cut short"};

static uint64_t any(struct damage *d, uint64_t below) { return chaos_below(d->chaos, below ? (unsigned)below : 1); }

struct buffer damage_load(const struct testbed *bed, const char *path)
{
    struct buffer all = {0};
    int file = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (file < 0 || fstat(file, &st) != 0) testbed_fail(bed, "%s: %s", path, strerror(errno));
    uint8_t *at = st.st_size ? buffer_extend(&all, (size_t)st.st_size) : NULL;
    if (at && pread(file, at, (size_t)st.st_size, 0) != st.st_size) testbed_fail(bed, "%s: read", path);
    close(file);
    return all;
}

static void overwrite(struct damage *d, const char *path, const void *bytes, size_t size, off_t at)
{
    int file = open(path, O_WRONLY | O_CLOEXEC);
    if (file < 0 || pwrite(file, bytes, size, at) != (ssize_t)size)
        testbed_fail(&d->chaos->bed, "%s: %s", path, strerror(errno));
    close(file);
}

static off_t used_of(const struct buffer *all)
{
    size_t used = all->size;
    while (used > 0 && all->data[used - 1] == 0) used--;
    return (off_t)used;
}

void damage_choose(struct damage *d, struct victim *v, const char *node, bool log)
{
    char folder[350], names[64][16];
    unsigned count = 0;
    *v = (struct victim){.log = log};
    snprintf(folder, sizeof folder, "%s/%s", node, log ? "log" : "state");
    snprintf(v->path, sizeof v->path, "%s/data.mdb", folder);
    snprintf(v->old, sizeof v->old, "%s/old-data.mdb", d->chaos->bed.dir);
    if (log) {
        DIR *segments = opendir(folder);
        for (struct dirent *e; segments && (e = readdir(segments)) && count < 64;)
            if (strstr(e->d_name, ".seg")) snprintf(names[count++], sizeof names[0], "%.15s", e->d_name);
        if (segments) closedir(segments);
        assert_true(count > 0);
        unsigned which = (unsigned)any(d, count);
        snprintf(v->path, sizeof v->path, "%s/%s", folder, names[which]);
        snprintf(v->old, sizeof v->old, "%s/old-%s", d->chaos->bed.dir, names[which]);
    }
    struct buffer all = damage_load(&d->chaos->bed, v->path);
    v->size = (off_t)all.size;
    v->used = used_of(&all);
    buffer_free(&all);
}

static void flip(struct damage *d, const struct victim *v, const struct buffer *now)
{
    for (uint64_t n = 1 + any(d, 8); n > 0; n--) {
        off_t at = (off_t)any(d, (uint64_t)v->used);
        uint8_t byte = now->data[at] ^ (uint8_t)(1u << any(d, 8));
        overwrite(d, v->path, &byte, 1, at);
    }
}

/* The first page from a random one on that is not what it was in this copy; false: none. */
static bool stale_of(struct damage *d, const struct victim *v, const struct buffer *now, const char *copy)
{
    if (access(copy, R_OK) != 0) return false;
    struct buffer old = damage_load(&d->chaos->bed, copy);
    size_t pages = (old.size < now->size ? old.size : now->size) / PAGE, from = pages ? (size_t)any(d, pages) : 0;
    bool found = false;
    for (size_t i = 0; i < pages && !found; i++) {
        size_t at = (from + i) % pages * PAGE;
        found = memcmp(old.data + at, now->data + at, PAGE) != 0;
        if (found) overwrite(d, v->path, old.data + at, PAGE, (off_t)at);
    }
    buffer_free(&old);
    return found;
}

/* As it was lately; where nothing was written since, as at first. */
static bool stale(struct damage *d, const struct victim *v, const struct buffer *now)
{
    char first[420];
    snprintf(first, sizeof first, "%s/first/%s", d->chaos->bed.dir, strrchr(v->old, '/') + 1);
    return stale_of(d, v, now, v->old) || stale_of(d, v, now, first);
}

static bool is_zero(const struct buffer *now, off_t at, size_t size)
{
    for (size_t i = (size_t)at; i < (size_t)at + size && i < now->size; i++)
        if (now->data[i]) return false;
    return true;
}

/* Of the last 16 KiB that were written some sectors, as after a power cut on a disk that lied. */
static bool lose(struct damage *d, const struct victim *v, const struct buffer *now)
{
    static const uint8_t zeros[SECTOR];
    bool lost = false;
    off_t from = v->used > 16384 ? (v->used - 16384) / SECTOR * SECTOR : 0;
    for (off_t at = from; at < v->used; at += SECTOR) {
        if (any(d, 3) != 0 || at + SECTOR > v->size || is_zero(now, at, SECTOR)) continue;
        overwrite(d, v->path, zeros, SECTOR, at);
        lost = true;
    }
    return lost;
}

static bool blank(struct damage *d, const struct victim *v, const struct buffer *now)
{
    static const uint8_t zeros[PAGE];
    off_t at = (off_t)any(d, (uint64_t)v->used) / PAGE * PAGE;
    bool blanks = at + PAGE <= v->size && !is_zero(now, at, PAGE);
    if (blanks) overwrite(d, v->path, zeros, PAGE, at);
    return blanks;
}

/* False: there is nothing to damage in this way, and nothing was done. */
static bool do_damage(struct damage *d, const struct victim *v, enum damage_kind kind)
{
    struct buffer now = damage_load(&d->chaos->bed, v->path);
    bool made = true;
    switch (kind) {
    case DAMAGE_FLIP: flip(d, v, &now); break;
    case DAMAGE_STALE: made = stale(d, v, &now); break;
    case DAMAGE_LOSE: made = lose(d, v, &now); break;
    case DAMAGE_ZERO: made = blank(d, v, &now); break;
    case DAMAGE_CUT: made = truncate(v->path, (off_t)any(d, (uint64_t)(any(d, 2) ? v->used : v->size))) == 0; break;
    case DAMAGE_KINDS: break;
    }
    buffer_free(&now);
    return made;
}

void damage_open(struct damage *d, struct chaos *chaos)
{
    *d = (struct damage){.chaos = chaos};
    for (unsigned i = 0; i < DAMAGE_KINDS; i++) d->turn[i] = (enum damage_kind)i;
    for (unsigned i = DAMAGE_KINDS - 1; i > 0; i--) {
        unsigned other = (unsigned)any(d, i + 1);
        enum damage_kind kind = d->turn[i];
        d->turn[i] = d->turn[other];
        d->turn[other] = kind;
    }
}

bool damage_make(struct damage *d, struct victim *v, const char *node, bool log, enum damage_kind kind)
{
    bool made = false;
    for (unsigned i = 0; i < CHOICES && !made; i++) {
        damage_choose(d, v, node, log);
        made = do_damage(d, v, kind);
    }
    (made ? d->made : d->unmade)[log][kind]++;
    printf("  %s: %s%s\n", v->path + strlen(d->chaos->bed.dir) + 1, damage_names[kind], made ? "" : ": NOT MADE");
    fflush(stdout);
    return made;
}

void damage_keep_old(struct damage *d, const char *node, const char *to)
{
    testbed_shell(&d->chaos->bed,
                  "cp %s/state/data.mdb %s/old-data.mdb; for f in %s/log/*.seg; do cp $f %s/old-${f##*/}; done", node,
                  to, node, to);
}
