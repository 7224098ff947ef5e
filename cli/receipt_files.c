#include "cli/receipt_files.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "cli/files.h"

#define SYNCED_EACH 16u /* an import's thousands are synced together, at the end */

/* The text that was made; allocated. */
static char *take_name(struct buffer *name)
{
    buffer_append(name, "", 1);
    CHECK(!name->failed);
    return (char *)name->data;
}

char *receipt_path(const char *folder, uint64_t index)
{
    struct buffer name = {0};
    size_t n = strlen(folder);
    buffer_printf(&name, "%s%s%" PRIu64 RECEIPT_SUFFIX, folder, n > 0 && folder[n - 1] == '/' ? "" : "/", index);
    return take_name(&name);
}

/* In the folder, or FILE.ENTRY; allocated. */
static char *name_of_entry(const struct receipt_files *r, uint64_t index)
{
    struct buffer name = {0};
    if (r->place == RECEIPT_FOLDER) return receipt_path(r->path, index);
    buffer_printf(&name, "%s.%" PRIu64, r->path, index);
    return take_name(&name);
}

static enum err check_absent(const char *path, struct failure *failure)
{
    struct stat st;
    if (lstat(path, &st) != 0) return OK;
    return fail(failure, ERR_EXISTS, "%s exists already; a receipt is never written over anything", path);
}

/* --- the place --- */

/* With a name as long as those that may come, and some content: a full disk takes the name alone. */
static enum err try_place(const struct receipt_files *r, struct failure *failure)
{
    static const uint8_t content[4096];
    char *longest = name_of_entry(r, UINT64_MAX);
    struct buffer text = {0};
    buffer_printf(&text, "%s.try-%ld", longest, (long)getpid());
    char *name = take_name(&text);
    struct failure why = {0};
    enum err e = file_write_lazily(name, (struct bytes){content, sizeof content}, 0600, true, &why);
    if (e == OK) unlink(name);
    if (e != OK) fail(failure, e, "no receipt can be written to %s: %s", r->path, err_text(e));
    free(name);
    free(longest);
    return e;
}

/* ERR_EXISTS: something that is none. */
static enum err find_place(struct receipt_files *r, struct failure *failure)
{
    struct stat st;
    size_t n = strlen(r->path);
    if (n == 0) return fail(failure, ERR_USAGE, "--receipt takes a file or a folder");
    if (stat(r->path, &st) == 0) {
        r->place = S_ISDIR(st.st_mode)                           ? RECEIPT_FOLDER
                   : S_ISCHR(st.st_mode) || S_ISFIFO(st.st_mode) ? RECEIPT_SPECIAL
                                                                 : RECEIPT_FILE;
        return r->place == RECEIPT_FILE ? check_absent(r->path, failure) : OK;
    }
    r->place = r->path[n - 1] == '/' ? RECEIPT_FOLDER : RECEIPT_FILE;
    r->made = r->place == RECEIPT_FOLDER;
    return r->made ? folder_create(r->path, failure) : check_absent(r->path, failure);
}

enum err receipt_files_open(struct receipt_files *r, const char *path, struct failure *failure)
{
    *r = (struct receipt_files){.path = path};
    if (!path) return OK;
    enum err e = find_place(r, failure);
    if (e == OK && r->place != RECEIPT_SPECIAL) e = try_place(r, failure);
    if (e != OK) {
        if (r->made) rmdir(path);
        r->place = RECEIPT_NOWHERE;
        return e;
    }
    CHECK(pthread_mutex_init(&r->lock, NULL) == 0);
    return OK;
}

/* --- keeping --- */

static enum err put(struct receipt_files *r, const char *path, struct bytes receipt, struct failure *failure)
{
    enum err e = check_absent(path, failure);
    if (e != OK) return e;
    if (r->kept < SYNCED_EACH) return file_write(path, receipt, 0600, false, failure);
    r->unsynced = true;
    return file_write_lazily(path, receipt, 0600, false, failure);
}

static enum err put_aside(struct receipt_files *r, struct failure *failure)
{
    if (!r->there) return OK;
    char *name = name_of_entry(r, r->newest);
    enum err e = check_absent(name, failure);
    if (e == OK) e = file_move(r->path, name, failure);
    if (e == OK) r->there = false;
    free(name);
    return e;
}

static enum err keep_in_file(struct receipt_files *r, uint64_t index, struct bytes receipt, struct failure *failure)
{
    enum err e = put_aside(r, failure);
    if (e == OK) e = put(r, r->path, receipt, failure);
    if (e != OK) return e;
    r->there = true;
    r->newest = index;
    return OK;
}

static enum err keep_in_folder(struct receipt_files *r, uint64_t index, struct bytes receipt, struct failure *failure)
{
    char *name = name_of_entry(r, index);
    enum err e = put(r, name, receipt, failure);
    free(name);
    return e;
}

enum err receipt_files_next(struct receipt_files *r, struct failure *failure)
{
    if (r->place != RECEIPT_FILE) return OK;
    pthread_mutex_lock(&r->lock);
    enum err e = put_aside(r, failure);
    if (e != OK) r->failed = true;
    pthread_mutex_unlock(&r->lock);
    return e;
}

enum err receipt_files_keep(struct receipt_files *r, uint64_t index, struct bytes receipt, struct failure *failure)
{
    enum err e = OK;
    if (r->place == RECEIPT_NOWHERE || receipt.size == 0) return OK;
    pthread_mutex_lock(&r->lock);
    switch (r->place) {
    case RECEIPT_NOWHERE: break;
    case RECEIPT_FILE: e = keep_in_file(r, index, receipt, failure); break;
    case RECEIPT_FOLDER: e = keep_in_folder(r, index, receipt, failure); break;
    case RECEIPT_SPECIAL: e = file_write(r->path, receipt, 0600, false, failure); break;
    }
    if (e == OK) r->kept++;
    if (e != OK) r->failed = true;
    pthread_mutex_unlock(&r->lock);
    return e;
}

static enum err sync_all(const struct receipt_files *r, struct failure *failure)
{
    if (!r->unsynced) return OK;
    if (r->place == RECEIPT_FOLDER) return folder_sync(r->path, failure);
    const char *slash = strrchr(r->path, '/');
    struct buffer text = {0};
    buffer_printf(&text, "%.*s", slash ? (int)(slash - r->path) + 1 : 1, slash ? r->path : ".");
    char *folder = take_name(&text);
    enum err e = folder_sync(folder, failure);
    free(folder);
    return e;
}

enum err receipt_files_close(struct receipt_files *r, struct failure *failure)
{
    if (r->place == RECEIPT_NOWHERE) return OK;
    enum err e = sync_all(r, failure);
    if (r->made && r->kept == 0) rmdir(r->path);
    if (e != OK) r->failed = true;
    pthread_mutex_destroy(&r->lock);
    r->place = RECEIPT_NOWHERE;
    return e;
}
