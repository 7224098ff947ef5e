#include "storage/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static int real_open(void *context, const char *path, int flags, mode_t mode)
{
    (void)context;
    return open(path, flags | O_CLOEXEC, mode);
}

static ssize_t real_pread(void *context, int file, void *data, size_t size, off_t at)
{
    (void)context;
    return pread(file, data, size, at);
}

static ssize_t real_pwrite(void *context, int file, const void *data, size_t size, off_t at)
{
    (void)context;
    return pwrite(file, data, size, at);
}

static int real_fdatasync(void *context, int file)
{
    (void)context;
    return fdatasync(file);
}

static int real_fsync(void *context, int file)
{
    (void)context;
    return fsync(file);
}

static int real_rename(void *context, const char *from, const char *to)
{
    (void)context;
    return rename(from, to);
}

static int real_unlink(void *context, const char *path)
{
    (void)context;
    return unlink(path);
}

static int real_close(void *context, int file)
{
    (void)context;
    return close(file);
}

const struct disk disk_real = {
    .open = real_open,
    .pread = real_pread,
    .pwrite = real_pwrite,
    .fdatasync = real_fdatasync,
    .fsync = real_fsync,
    .rename = real_rename,
    .unlink = real_unlink,
    .close = real_close,
};

enum err disk_error(int number)
{
    switch (number) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG: return ERR_FULL;
    case EACCES:
    case EPERM:
    case EROFS: return ERR_PERMISSION;
    case ENOENT:
    case ENOTDIR: return ERR_NOT_FOUND;
    case EISDIR: return ERR_IS_FOLDER;
    case EEXIST: return ERR_EXISTS;
    case ENOMEM: return ERR_NOMEM;
    default: return ERR_IO;
    }
}

enum err disk_write(const struct disk *disk, int file, const void *data, size_t size, uint64_t at)
{
    const uint8_t *p = data;
    while (size > 0) {
        ssize_t n = disk->pwrite(disk->context, file, p, size, (off_t)at);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return disk_error(errno);
        if (n == 0) {
            errno = EIO;
            return ERR_IO;
        }
        p += n;
        at += (uint64_t)n;
        size -= (size_t)n;
    }
    return OK;
}

enum err disk_read(const struct disk *disk, int file, void *data, size_t size, uint64_t at)
{
    uint8_t *p = data;
    while (size > 0) {
        ssize_t n = disk->pread(disk->context, file, p, size, (off_t)at);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return disk_error(errno);
        if (n == 0) return ERR_TRUNCATED;
        p += n;
        at += (uint64_t)n;
        size -= (size_t)n;
    }
    return OK;
}

enum err disk_sync_directory(const struct disk *disk, const char *path)
{
    int file = disk->open(disk->context, path, O_RDONLY | O_DIRECTORY, 0);
    if (file < 0) return disk_error(errno);
    enum err code = disk->fsync(disk->context, file) == 0 ? OK : disk_error(errno);
    int number = errno;
    disk->close(disk->context, file);
    errno = number;
    return code;
}
