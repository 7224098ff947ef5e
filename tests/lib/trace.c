#include "tests/lib/trace.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "tests/lib/folder.h"

#define FILES 512
#define SECTOR 512u
#define NAME 64

enum kind { OP_CREATE, OP_WRITE, OP_SYNC, OP_SYNC_FAILED, OP_RENAME, OP_UNLINK, OP_SYNC_FOLDER };

struct op {
    enum kind kind;
    int inode;
    char name[NAME], to[NAME];
    uint64_t at;
    struct buffer data;
};

struct name {
    char text[NAME];
    int inode; /* -1: free */
};

struct trace {
    struct disk disk;
    char folder[FOLDER_PATH];
    struct op *ops;
    size_t count, capacity;
    struct name names[FILES]; /* of now */
    struct name first[FILES]; /* at the start */
    struct buffer content[FILES]; /* of inodes at the start */
    int inodes;
    int fail_files, fail_folders;
    int open_inode[1024]; /* by descriptor; -1: a folder */
};

uint64_t trace_random(uint64_t *seed)
{
    uint64_t z = (*seed += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* --- names --- */

static struct name *name_find(struct name *names, const char *text)
{
    for (int i = 0; i < FILES; i++)
        if (names[i].inode >= 0 && strcmp(names[i].text, text) == 0) return &names[i];
    return NULL;
}

static void name_set(struct name *names, const char *text, int inode)
{
    struct name *n = name_find(names, text);
    for (int i = 0; !n && i < FILES; i++)
        if (names[i].inode < 0) n = &names[i];
    CHECK(n != NULL && strlen(text) < NAME);
    strcpy(n->text, text);
    n->inode = inode;
}

static void name_apply(struct name *names, const struct op *op)
{
    struct name *n = name_find(names, op->name);
    if (op->kind == OP_CREATE) name_set(names, op->name, op->inode);
    if (op->kind == OP_UNLINK && n) n->inode = -1;
    if (op->kind == OP_RENAME && n) {
        int inode = n->inode;
        n->inode = -1;
        name_set(names, op->to, inode);
    }
}

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* --- recording --- */

static struct op *record(struct trace *t, enum kind kind, int inode, const char *name)
{
    if (t->count == t->capacity) {
        t->capacity = t->capacity ? 2 * t->capacity : 256;
        t->ops = xrealloc(t->ops, t->capacity * sizeof *t->ops);
    }
    struct op *op = &t->ops[t->count++];
    *op = (struct op){.kind = kind, .inode = inode};
    CHECK(strlen(name) < NAME);
    strcpy(op->name, name);
    return op;
}

static int trace_open(void *context, const char *path, int flags, mode_t mode)
{
    struct trace *t = context;
    int file = disk_real.open(NULL, path, flags, mode);
    if (file < 0) return file;
    CHECK(file < 1024);
    t->open_inode[file] = -1;
    if (flags & O_DIRECTORY) return file;
    struct name *n = name_find(t->names, last_part(path));
    if (!n) {
        CHECK(t->inodes < FILES);
        struct op *op = record(t, OP_CREATE, t->inodes++, last_part(path));
        name_apply(t->names, op);
        n = name_find(t->names, last_part(path));
    }
    t->open_inode[file] = n->inode;
    return file;
}

static ssize_t trace_pread(void *context, int file, void *data, size_t size, off_t at)
{
    (void)context;
    return disk_real.pread(NULL, file, data, size, at);
}

static ssize_t trace_pwrite(void *context, int file, const void *data, size_t size, off_t at)
{
    struct trace *t = context;
    struct op *op = record(t, OP_WRITE, t->open_inode[file], "");
    op->at = (uint64_t)at;
    buffer_append(&op->data, data, size);
    return disk_real.pwrite(NULL, file, data, size, at);
}

static int trace_sync(void *context, int file)
{
    struct trace *t = context;
    int inode = t->open_inode[file];
    if (inode < 0 ? t->fail_folders : t->fail_files) {
        if (inode >= 0) record(t, OP_SYNC_FAILED, inode, "");
        errno = EIO;
        return -1;
    }
    record(t, inode < 0 ? OP_SYNC_FOLDER : OP_SYNC, inode, "");
    return 0; /* the real one would only take time */
}

static int trace_rename(void *context, const char *from, const char *to)
{
    struct trace *t = context;
    struct op *op = record(t, OP_RENAME, -1, last_part(from));
    strcpy(op->to, last_part(to));
    name_apply(t->names, op);
    return disk_real.rename(NULL, from, to);
}

static int trace_unlink(void *context, const char *path)
{
    struct trace *t = context;
    if (name_find(t->names, last_part(path))) {
        struct op *op = record(t, OP_UNLINK, -1, last_part(path));
        name_apply(t->names, op);
    }
    return disk_real.unlink(NULL, path);
}

static int trace_close(void *context, int file)
{
    (void)context;
    return disk_real.close(NULL, file);
}

/* What is in the folder already, but for the lock. */
static void take_present(struct trace *t)
{
    DIR *directory = opendir(t->folder);
    CHECK(directory != NULL);
    for (struct dirent *e; (e = readdir(directory)) != NULL;) {
        if (e->d_name[0] == '.' || strcmp(e->d_name, "lock") == 0) continue;
        CHECK(t->inodes < FILES);
        t->content[t->inodes] = folder_load(t->folder, e->d_name);
        name_set(t->names, e->d_name, t->inodes++);
    }
    closedir(directory);
}

struct trace *trace_start(const char *folder)
{
    struct trace *t = xcalloc(1, sizeof *t);
    t->disk = (struct disk){t, trace_open, trace_pread, trace_pwrite, trace_sync, trace_sync, trace_rename,
                            trace_unlink,
                            trace_close};
    CHECK(strlen(folder) < sizeof t->folder);
    strcpy(t->folder, folder);
    for (int i = 0; i < FILES; i++) t->names[i].inode = -1;
    take_present(t);
    memcpy(t->first, t->names, sizeof t->first);
    return t;
}

void trace_free(struct trace *t)
{
    for (size_t i = 0; i < t->count; i++) buffer_free(&t->ops[i].data);
    for (int i = 0; i < FILES; i++) buffer_free(&t->content[i]);
    free(t->ops);
    free(t);
}

const struct disk *trace_disk(struct trace *t) { return &t->disk; }
size_t trace_length(const struct trace *t) { return t->count; }

void trace_fail_syncs(struct trace *t, int files, int folders)
{
    t->fail_files = files;
    t->fail_folders = folders;
}

/* --- crashing --- */

static void put(struct buffer *content, const struct op *op, uint64_t from, uint64_t to)
{
    while (content->size < to) {
        uint8_t zero = 0;
        buffer_append(content, &zero, 1);
    }
    CHECK(!content->failed);
    memcpy(content->data + from, op->data.data + (from - op->at), to - from);
}

/* One unsynced write, sector by sector. */
static void put_some(struct buffer *content, const struct op *op, enum trace_loss loss, bool last, uint64_t *seed)
{
    uint64_t end = op->at + op->data.size;
    uint64_t cut = last && op->data.size ? op->at + trace_random(seed) % op->data.size : end;
    for (uint64_t from = op->at; from < end;) {
        uint64_t to = (from / SECTOR + 1) * SECTOR;
        if (to > end) to = end;
        bool keep = loss == TRACE_KEEP_ALL;
        if (loss == TRACE_LOSE_RANDOM) keep = trace_random(seed) & 1;
        if (loss == TRACE_LOSE_TAIL) keep = to <= cut;
        if (keep) put(content, op, from, to);
        from = to;
    }
}

static size_t last_sync(const struct trace *t, enum kind kind, int inode, size_t length)
{
    while (length > 0 && !(t->ops[length - 1].kind == kind && t->ops[length - 1].inode == inode)) length--;
    return length;
}

static size_t last_write(const struct trace *t, int inode, size_t length)
{
    while (length > 0 && !(t->ops[length - 1].kind == OP_WRITE && t->ops[length - 1].inode == inode)) length--;
    return length;
}

/* Whether a write is on the disk: the next sync of its file succeeded. After one that failed the kernel takes its
 * pages for clean: readable, and no later sync writes them. */
static bool *find_durable(const struct trace *t, int inode, size_t length)
{
    bool *durable = xcalloc(length, sizeof *durable), synced = false;
    for (size_t i = length; i-- > 0;) {
        const struct op *op = &t->ops[i];
        if (op->inode != inode) continue;
        if (op->kind == OP_SYNC || op->kind == OP_SYNC_FAILED) synced = op->kind == OP_SYNC;
        durable[i] = op->kind == OP_WRITE && synced;
    }
    return durable;
}

static void crash_file(const struct trace *t, struct buffer *content, int inode, size_t length, enum trace_loss loss,
                       uint64_t *seed)
{
    bool *durable = find_durable(t, inode, length);
    size_t last = last_write(t, inode, length);
    buffer_append_bytes(content, buffer_bytes(&t->content[inode]));
    for (size_t i = 0; i < length; i++) {
        const struct op *op = &t->ops[i];
        if (op->kind != OP_WRITE || op->inode != inode || op->data.size == 0) continue;
        if (durable[i])
            put(content, op, op->at, op->at + op->data.size);
        else
            put_some(content, op, loss, i + 1 == last, seed);
    }
    free(durable);
}

void trace_crash(const struct trace *t, const char *to, size_t length, enum trace_loss loss, uint64_t *seed)
{
    struct name names[FILES];
    size_t synced = last_sync(t, OP_SYNC_FOLDER, -1, length), names_end = length;
    if (loss == TRACE_LOSE_ALL) names_end = synced;
    if (loss == TRACE_LOSE_RANDOM || loss == TRACE_LOSE_TAIL)
        names_end = synced + trace_random(seed) % (length - synced + 1);
    memcpy(names, t->first, sizeof names);
    for (size_t i = 0; i < names_end; i++) name_apply(names, &t->ops[i]);
    for (int i = 0; i < FILES; i++) {
        struct buffer content = {0};
        if (names[i].inode < 0) continue;
        crash_file(t, &content, names[i].inode, length, loss, seed);
        folder_store(to, names[i].text, buffer_bytes(&content));
        buffer_free(&content);
    }
}
