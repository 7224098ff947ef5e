#include "storage/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/log.h"
#include "base/path.h"
#include "crypto/random.h"
#include "crypto/secret.h"

enum err files_path(char out[static FILES_PATH], const char *directory, const char *name,
                    struct failure *failure)
{
    int n = snprintf(out, FILES_PATH, "%s/%s", directory, name);
    if (n < 0 || n >= FILES_PATH) return fail(failure, ERR_TOO_LARGE, "the path %s/%s is too long", directory, name);
    return OK;
}

static enum err fail_system(struct failure *failure, const char *what, const char *path)
{
    int number = errno;
    return fail(failure, disk_error(number), "cannot %s %s: %s", what, path, path_trouble(number));
}

enum err files_make_directory(const char *path, struct failure *failure)
{
    struct stat st;
    if (mkdir(path, 0700) == 0) return OK;
    if (errno != EEXIST) return fail_system(failure, "make the folder", path);
    if (stat(path, &st) != 0) return fail_system(failure, "look at", path);
    return S_ISDIR(st.st_mode) ? OK : fail(failure, ERR_EXISTS, "%s exists and is no folder", path);
}

bool files_exists(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

/* --- writing --- */

static enum err sync_parent(const char *path, const struct disk *disk)
{
    char parent[FILES_PATH];
    const char *slash = strrchr(path, '/');
    size_t length = slash ? (size_t)(slash - path) : 0;
    if (length >= sizeof parent) return ERR_TOO_LARGE;
    memcpy(parent, path, length);
    parent[length] = 0;
    return disk_sync_directory(disk, slash ? (length ? parent : "/") : ".");
}

static enum err write_synced(int file, struct bytes content, const struct disk *disk)
{
    enum err code = disk_write(disk, file, content.data, content.size, 0);
    if (code == OK && disk->fsync(disk->context, file) != 0) code = disk_error(errno);
    return code;
}

/* A whole, synced file under a temporary name beside `path`. */
static enum err write_temporary(char temporary[static FILES_PATH], const char *path, struct bytes content,
                                mode_t mode, const struct disk *disk)
{
    uint32_t random;
    random_bytes(&random, sizeof random);
    int n = snprintf(temporary, FILES_PATH, "%s.%08x.tmp", path, random);
    if (n < 0 || n >= FILES_PATH) return ERR_TOO_LARGE;
    int file = disk->open(disk->context, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode);
    if (file < 0) return disk_error(errno);
    enum err code = write_synced(file, content, disk);
    int number = errno;
    disk->close(disk->context, file);
    if (code != OK) disk->unlink(disk->context, temporary);
    errno = number;
    return code;
}

/* Gives the temporary file its name; `replace`: whether over another file. */
static enum err name_temporary(const char *temporary, const char *path, bool replace, const struct disk *disk)
{
    int bad = replace ? disk->rename(disk->context, temporary, path) : link(temporary, path);
    int number = errno;
    if (bad || !replace) disk->unlink(disk->context, temporary);
    errno = number;
    return bad ? disk_error(errno) : sync_parent(path, disk);
}

static enum err write_whole(const char *path, struct bytes content, mode_t mode, bool replace,
                            const struct disk *disk, struct failure *failure)
{
    char temporary[FILES_PATH];
    if (!disk) disk = &disk_real;
    enum err code = write_temporary(temporary, path, content, mode, disk);
    if (code == OK) code = name_temporary(temporary, path, replace, disk);
    if (code == ERR_TOO_LARGE) return fail(failure, code, "the path %s is too long", path);
    if (code == ERR_EXISTS) return fail(failure, code, "%s exists already", path);
    return code == OK ? OK : fail(failure, code, "cannot write %s: %s", path, path_trouble(errno));
}

enum err files_write(const char *path, struct bytes content, mode_t mode, const struct disk *disk,
                     struct failure *failure)
{
    return write_whole(path, content, mode, true, disk, failure);
}

enum err files_create(const char *path, struct bytes content, mode_t mode, const struct disk *disk,
                      struct failure *failure)
{
    return write_whole(path, content, mode, false, disk, failure);
}

enum err files_remove(const char *path, struct failure *failure)
{
    if (unlink(path) != 0) return errno == ENOENT ? OK : fail_system(failure, "remove", path);
    return sync_parent(path, &disk_real) == OK ? OK : fail_system(failure, "sync the folder of", path);
}

/* --- reading --- */

static enum err read_all(struct buffer *out, int file, size_t limit, const char *path, struct failure *failure)
{
    uint8_t piece[4096];
    size_t total = 0;
    enum err code = OK;
    for (ssize_t n = 1; n != 0 && code == OK;) {
        n = read(file, piece, sizeof piece);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) {
            code = fail_system(failure, "read", path);
            break;
        }
        total += (size_t)n;
        if (total > limit) code = fail(failure, ERR_TOO_LARGE, "%s is longer than %zu bytes", path, limit);
        buffer_append(out, piece, (size_t)n);
        if (code == OK && out->failed) code = fail(failure, ERR_NOMEM, "out of memory reading %s", path);
    }
    secret_wipe(piece, sizeof piece); /* the file may be a key */
    return code;
}

static void say_waiting(const char *path)
{
    log_notice("files", "waiting for somebody to write into the pipe %s", path);
}

enum err files_read(struct buffer *out, const char *path, size_t limit, struct failure *failure)
{
    size_t before = out->size;
    int file = path_open(path, say_waiting);
    if (file < 0) return fail_system(failure, "read", path);
    enum err code = read_all(out, file, limit, path, failure);
    close(file);
    if (code != OK) out->size = before;
    return code;
}

/* --- locks --- */

/* The number that the holder wrote; 0: not readable. */
static long lock_holder(int file)
{
    char text[32] = {0};
    return pread(file, text, sizeof text - 1, 0) > 0 ? strtol(text, NULL, 10) : 0;
}

static enum err lock_refused(int file, int number, const char *path, struct failure *failure)
{
    if (number != EWOULDBLOCK)
        return fail(failure, disk_error(number), "cannot lock %s: %s", path, strerror(number));
    long holder = lock_holder(file);
    return holder ? fail(failure, ERR_IN_USE, "%s is held by process %ld", path, holder)
                  : fail(failure, ERR_IN_USE, "%s is held by another process", path);
}

enum err files_lock(struct file_lock *lock, const char *path, struct failure *failure)
{
    char text[32];
    lock->file = -1;
    int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (file < 0) return fail_system(failure, "open", path);
    if (flock(file, LOCK_EX | LOCK_NB) != 0) {
        enum err code = lock_refused(file, errno, path, failure);
        close(file);
        return code;
    }
    int n = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    /* Only to name the holder: a full disk is no reason not to hold the lock. */
    if (ftruncate(file, 0) != 0 || pwrite(file, text, (size_t)n, 0) != n) errno = 0;
    lock->file = file;
    return OK;
}

void files_unlock(struct file_lock *lock)
{
    if (lock->file >= 0) close(lock->file);
    lock->file = -1;
}

/* --- sealed files: "consilium/file/v1\n", then the sealed content --- */

static const char sealed_magic[] = "consilium/file/v1\n";
#define SEALED_MAGIC (sizeof sealed_magic - 1)

static void sealed_additional(struct buffer *out, const char *purpose)
{
    buffer_append(out, sealed_magic, SEALED_MAGIC);
    buffer_append_text(out, purpose);
    CHECK(!out->failed);
}

enum err files_write_sealed(const char *path, const struct seal_key *key, const char *purpose,
                            struct bytes plain, struct failure *failure)
{
    struct buffer additional = {0}, content = {0};
    CHECK(plain.size <= FILES_SEALED_MAX);
    sealed_additional(&additional, purpose);
    buffer_append(&content, sealed_magic, SEALED_MAGIC);
    uint8_t *at = buffer_extend(&content, plain.size + SEAL_OVERHEAD);
    enum err code = at ? OK : fail(failure, ERR_NOMEM, "out of memory writing %s", path);
    if (at) {
        seal_rest(at, key, plain, buffer_bytes(&additional));
        code = files_write(path, buffer_bytes(&content), 0600, NULL, failure);
    }
    buffer_free(&content);
    buffer_free(&additional);
    return code;
}

static enum err open_sealed(struct buffer *out, struct bytes content, const struct seal_key *key, const char *purpose)
{
    struct buffer additional = {0};
    if (content.size < SEALED_MAGIC + SEAL_OVERHEAD || memcmp(content.data, sealed_magic, SEALED_MAGIC) != 0)
        return ERR_CORRUPT;
    struct bytes sealed = bytes_of(content.data + SEALED_MAGIC, content.size - SEALED_MAGIC);
    size_t size = sealed.size - SEAL_OVERHEAD;
    uint8_t none[1], *at = size ? buffer_extend(out, size) : none;
    if (!at) return ERR_NOMEM;
    sealed_additional(&additional, purpose);
    enum err code = seal_rest_open(at, key, sealed, buffer_bytes(&additional));
    buffer_free(&additional);
    if (code != OK) out->size -= size;
    return code;
}

enum err files_read_sealed(struct buffer *out, const char *path, const struct seal_key *key,
                           const char *purpose, struct failure *failure)
{
    struct buffer content = {0};
    enum err code = files_read(&content, path, FILES_SEALED_MAX + SEALED_MAGIC + SEAL_OVERHEAD, failure);
    if (code == OK) {
        code = open_sealed(out, buffer_bytes(&content), key, purpose);
        if (code == ERR_CORRUPT) fail(failure, code, "%s is damaged", path);
        if (code == ERR_DECRYPT)
            fail(failure, code, "%s does not open: it is damaged, or this is another storage key", path);
        if (code == ERR_NOMEM) fail(failure, code, "out of memory reading %s", path);
    }
    buffer_free(&content);
    return code;
}

/* --- the storage key --- */

#define KEY_DIGITS (2 * sizeof(struct seal_key))

enum err storage_key_create(const char *path, struct seal_key *key, struct failure *failure)
{
    char line[KEY_DIGITS + 2];
    random_bytes(key->bytes, sizeof key->bytes);
    hex_format(line, key->bytes, sizeof key->bytes);
    line[KEY_DIGITS] = '\n';
    enum err code = files_create(path, bytes_of(line, KEY_DIGITS + 1), 0600, NULL, failure);
    secret_wipe(line, sizeof line);
    if (code != OK) secret_wipe(key, sizeof *key);
    return code;
}

static enum err parse_key(struct seal_key *key, struct bytes text)
{
    char digits[KEY_DIGITS + 1];
    if (text.size == KEY_DIGITS + 1 && text.data[KEY_DIGITS] == '\n') text.size--;
    if (text.size != KEY_DIGITS) return ERR_INVALID;
    memcpy(digits, text.data, KEY_DIGITS);
    digits[KEY_DIGITS] = 0;
    enum err code = hex_parse(key->bytes, sizeof key->bytes, digits);
    secret_wipe(digits, sizeof digits);
    return code;
}

static enum err load_key(struct seal_key *key, const char *path, struct failure *failure)
{
    struct buffer text = {.secret = true};
    enum err code = files_read(&text, path, KEY_DIGITS + 1, failure);
    if (code == OK) code = parse_key(key, buffer_bytes(&text));
    if (code == ERR_INVALID || code == ERR_TOO_LARGE)
        code = fail(failure, ERR_INVALID, "%s is no storage key: it has to be one line of %zu hexadecimal digits", path,
                    KEY_DIGITS);
    secret_wipe_buffer(&text);
    return code;
}

enum err storage_key_load(struct seal_key *key, const char *path, struct failure *failure)
{
    struct stat st;
    if (stat(path, &st) != 0) return fail_system(failure, "read", path);
    if (S_ISDIR(st.st_mode)) /* whose mode is not to be changed */
        return fail(failure, ERR_INVALID, "%s is a folder: name the file with the storage key", path);
    if (st.st_mode & 077)
        return fail(failure, ERR_PERMISSION, "%s can be used by others (mode %03o): run chmod 600 on it", path,
                    (unsigned)(st.st_mode & 0777));
    if (st.st_uid != geteuid() && st.st_uid != 0)
        return fail(failure, ERR_PERMISSION, "%s belongs to user %u, neither to this one nor to root", path,
                    (unsigned)st.st_uid);
    return load_key(key, path, failure);
}

enum err storage_key_load_credential(struct seal_key *key, const char *name, struct failure *failure)
{
    char path[FILES_PATH];
    const char *directory = getenv("CREDENTIALS_DIRECTORY");
    if (!directory || !*directory)
        return fail(failure, ERR_NOT_FOUND,
                    "no credentials were passed to this process (CREDENTIALS_DIRECTORY is not set)");
    enum err code = files_path(path, directory, name, failure);
    return code == OK ? load_key(key, path, failure) : code;
}
