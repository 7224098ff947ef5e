/* bad_disk: a node whose disk fails, for tests. The real node; calls that write to
 * files are interposed, for storage and for LMDB alike, so that the product has no
 * hook for it:
 *
 *   bad_disk --orders FILE ...
 *
 * Nothing fails until FILE is there. It holds one line: "CALL COUNT WHERE ERROR", e.g.
 * "fdatasync 3 /log/ EIO": from the third such call on, on files with WHERE in their
 * path, each fails. CALL is write (all of that family) or fdatasync (fsync too).
 * The other arguments are consiliumd's.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static const char *orders_file;
static atomic_long calls;

int __real_main(int argc, char **argv);
int __wrap_main(int argc, char **argv);

struct orders {
    char call[16], where[64];
    long count;
    int error;
};

/* Read anew at each call: the test writes the file when it likes, and removes it. */
static bool read_orders(struct orders *o)
{
    char text[160], error[16];
    int file = orders_file ? (int)syscall(SYS_openat, AT_FDCWD, orders_file, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return false;
    /* As it was opened: ThreadSanitizer, which sees only the library's calls, would take it for another file. */
    ssize_t n = (ssize_t)syscall(SYS_read, file, text, sizeof text - 1);
    (void)syscall(SYS_close, file);
    text[n > 0 ? n : 0] = '\0';
    if (sscanf(text, "%15s %ld %63s %15s", o->call, &o->count, o->where, error) != 4) return false;
    o->error = strcmp(error, "ENOSPC") == 0 ? ENOSPC : EIO;
    return true;
}

static bool fails(const char *call, int file)
{
    char link[64], path[PATH_MAX];
    struct orders o;
    int before = errno;
    bool fail = false;
    if (read_orders(&o) && strcmp(o.call, call) == 0) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", file);
        ssize_t n = readlink(link, path, sizeof path - 1);
        path[n > 0 ? n : 0] = '\0';
        fail = strstr(path, o.where) && atomic_fetch_add(&calls, 1) + 1 >= o.count;
    }
    errno = fail ? o.error : before;
    return fail;
}

/* With 64-bit offsets the headers give this the name pwrite64; LMDB's reference is to the other one. */
ssize_t pwrite(int file, const void *data, size_t size, off_t at)
{
    return fails("write", file) ? -1 : syscall(SYS_pwrite64, file, data, size, at);
}

ssize_t pwrite_of_libraries(int file, const void *data, size_t size, off_t at) __asm__("pwrite");
ssize_t pwrite_of_libraries(int file, const void *data, size_t size, off_t at)
{
    return fails("write", file) ? -1 : syscall(SYS_pwrite64, file, data, size, at);
}

ssize_t pwritev(int file, const struct iovec *parts, int count, off_t at)
{
    return fails("write", file) ? -1 : syscall(SYS_pwritev, file, parts, count, at, 0);
}

/* LMDB writes its pages with these, too. */
ssize_t writev(int file, const struct iovec *parts, int count)
{
    return fails("write", file) ? -1 : syscall(SYS_writev, file, parts, count);
}

ssize_t write(int file, const void *data, size_t size)
{
    return fails("write", file) ? -1 : syscall(SYS_write, file, data, size);
}

int fdatasync(int file) { return fails("fdatasync", file) ? -1 : (int)syscall(SYS_fdatasync, file); }
int fsync(int file) { return fails("fdatasync", file) ? -1 : (int)syscall(SYS_fsync, file); }

int __wrap_main(int argc, char **argv)
{
    if (argc < 3 || strcmp(argv[1], "--orders") != 0) {
        fprintf(stderr, "usage: bad_disk --orders FILE run ...\n");
        return 2;
    }
    orders_file = argv[2];
    argv[2] = argv[0];
    return __real_main(argc - 2, argv + 2);
}
