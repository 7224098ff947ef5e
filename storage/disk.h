/* The system calls that storage makes on files, as a table, so that a test can
 * fail the n-th one or record them all, and the errno of each translated once. */
#ifndef STORAGE_DISK_H
#define STORAGE_DISK_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

/* Each behaves as the call of its name, errno included. */
struct disk {
    void *context; /* given to each call */
    int (*open)(void *context, const char *path, int flags, mode_t mode);
    ssize_t (*pread)(void *context, int file, void *data, size_t size, off_t at);
    ssize_t (*pwrite)(void *context, int file, const void *data, size_t size, off_t at);
    int (*fdatasync)(void *context, int file);
    int (*fsync)(void *context, int file); /* of directories */
    int (*rename)(void *context, const char *from, const char *to);
    int (*unlink)(void *context, const char *path);
    int (*close)(void *context, int file);
};

extern const struct disk disk_real;

/* ENOSPC, EDQUOT, EFBIG: ERR_FULL; EACCES, EPERM, EROFS: ERR_PERMISSION; ENOENT:
 * ERR_NOT_FOUND; EEXIST: ERR_EXISTS; ENOMEM: ERR_NOMEM; all else: ERR_IO. */
enum err disk_error(int number);

/* All of it, or the error of the call that failed (errno is kept). */
enum err disk_write(const struct disk *disk, int file, const void *data, size_t size, uint64_t at);
/* ERR_TRUNCATED: the file ends before; the bytes that are there were read. */
enum err disk_read(const struct disk *disk, int file, void *data, size_t size, uint64_t at);
/* Makes creations, renames and removals in a directory durable. */
enum err disk_sync_directory(const struct disk *disk, const char *path);

#endif
