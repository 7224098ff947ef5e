/* Small durable files: written whole or not at all, read with a limit, sealed,
 * locked; and the storage key.
 *
 * Any thread. Every error names the path and the system's reason in `failure`
 * (which may be NULL). */
#ifndef STORAGE_FILES_H
#define STORAGE_FILES_H

#include <stdbool.h>
#include <stddef.h>

#include "base/bytes.h"
#include "base/error.h"
#include "crypto/seal.h"
#include "storage/disk.h"

#define FILES_PATH 4096 /* longest path, with the final zero */

/* "directory/name" into `out`; ERR_TOO_LARGE. */
enum err files_path(char out[static FILES_PATH], const char *directory, const char *name,
                    struct failure *failure);

/* With mode 0700; an existing folder is left as it is (OK). Its parent must exist. */
enum err files_make_directory(const char *path, struct failure *failure);
bool files_exists(const char *path);

/* Replaces or creates `path`: temporary file beside it, fsync, rename, fsync of
 * the folder. After a crash the file holds the old content or the new. `disk`
 * NULL: the real one. */
enum err files_write(const char *path, struct bytes content, mode_t mode, const struct disk *disk,
                     struct failure *failure);
/* As files_write, but ERR_EXISTS when the path is there already. */
enum err files_create(const char *path, struct bytes content, mode_t mode, const struct disk *disk,
                      struct failure *failure);
/* Appends the content to `out`. ERR_NOT_FOUND; ERR_TOO_LARGE: longer than `limit`. */
enum err files_read(struct buffer *out, const char *path, size_t limit, struct failure *failure);
enum err files_remove(const char *path, struct failure *failure); /* durable; OK also when absent */

/* An exclusive lock on a file, which is created and keeps the holder's process
 * id. Gone when the process ends, however it ends. ERR_IN_USE: `failure` says
 * which process has it. */
struct file_lock {
    int file; /* -1: not held */
};
enum err files_lock(struct file_lock *lock, const char *path, struct failure *failure);
void files_unlock(struct file_lock *lock);

/* A small file sealed with the storage key; `purpose` is its additional data, so
 * that one sealed file cannot stand in for another. */
#define FILES_SEALED_MAX (64 * 1024)
enum err files_write_sealed(const char *path, const struct seal_key *key, const char *purpose,
                            struct bytes plain, struct failure *failure);
/* Appends to `out`, which the caller wipes. ERR_CORRUPT: damaged; ERR_DECRYPT:
 * another storage key or another purpose. */
enum err files_read_sealed(struct buffer *out, const char *path, const struct seal_key *key,
                           const char *purpose, struct failure *failure);

/* The storage key: 32 random bytes as one line of 64 hexadecimal digits, mode 0600. */
enum err storage_key_create(const char *path, struct seal_key *key, struct failure *failure); /* ERR_EXISTS */
/* ERR_PERMISSION: not ours (nor root's), or others may read it. ERR_INVALID: not a key. */
enum err storage_key_load(struct seal_key *key, const char *path, struct failure *failure);
/* From $CREDENTIALS_DIRECTORY/name (systemd's LoadCredential=), whose modes are
 * systemd's business. ERR_NOT_FOUND: no such credential. */
enum err storage_key_load_credential(struct seal_key *key, const char *name, struct failure *failure);

#endif
