/* bad_disk: a node whose disk fails, for tests. The real node; calls that write to
 * files are interposed, for storage and for LMDB alike, so that the product has no
 * hook for it:
 *
 *   bad_disk --orders FILE ...
 *   frail --orders FILE ...       the same node, whose clock may be wrong, too (bad_clock.c)
 *
 * Nothing fails until FILE is there. It holds one line: "CALL COUNT WHERE ERROR", e.g.
 * "fdatasync 3 /log/ EIO": from the third such call on, on files with WHERE in their
 * path, each fails. CALL is write (all of that family) or fdatasync (fsync too); or, of LMDB's
 * file, page: the COUNT-th write of one commit, or meta: the write of its meta page, which ends it;
 * or any. Instead of an error, the node dies as by kill -9 before the call (KILL), after it
 * (KILL_AFTER), or with only the first half of a write done (KILL_HALF), which ends between two
 * sectors, as a torn write does: nothing of it is done where it lies in one; or each call takes half
 * a second longer (SLOW), or does not return before FILE is gone (HANG). NOTE does nothing to it.
 * What the node dies at, and each call with NOTE, is a line of FILE.calls: "page 3 4096 81920" is the
 * third write of a commit, of so many bytes at that offset.
 * The other arguments are consiliumd's.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define SECTOR 512u
#define META_PAGES 2 /* LMDB's, at the file's beginning; a commit writes one of them last */

static const char *orders_file;
static atomic_long calls;
static atomic_long pages;          /* writes of this commit of LMDB so far */
static atomic_bool in_step = true; /* all of them were seen */

int __real_main(int argc, char **argv);
int __wrap_main(int argc, char **argv);

enum fault { NONE, FAILS, SLOW, HANG, NOTE, KILL_BEFORE, KILL_HALF, KILL_AFTER };

struct call {
    const char *name; /* write, fdatasync */
    int file;
    off_t at; /* -1: where the file is */
    size_t size;
};

struct orders {
    char call[16], where[64];
    long count;
    enum fault fault;
    int error;
};

static enum fault fault_of(const char *word)
{
    if (strcmp(word, "KILL") == 0) return KILL_BEFORE;
    if (strcmp(word, "KILL_HALF") == 0) return KILL_HALF;
    if (strcmp(word, "SLOW") == 0) return SLOW;
    if (strcmp(word, "HANG") == 0) return HANG;
    if (strcmp(word, "NOTE") == 0) return NOTE;
    return strcmp(word, "KILL_AFTER") == 0 ? KILL_AFTER : FAILS;
}

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
    o->fault = fault_of(error);
    o->error = strcmp(error, "ENOSPC") == 0 ? ENOSPC : EIO;
    return true;
}

/* No other thread gets any further, either. */
static void die(void)
{
    (void)syscall(SYS_kill, getpid(), SIGKILL);
    for (;;) pause();
}

static bool is_meta(const struct call *c)
{
    return c->at >= 0 && c->at < META_PAGES * sysconf(_SC_PAGESIZE);
}

/* Whether an order on LMDB's file is for this call of it. One that came in the middle of a commit waits for the next. */
static bool in_commit(const struct orders *o, const struct call *c)
{
    if (is_meta(c)) {
        atomic_store(&pages, 0);
        atomic_store(&in_step, true);
        return strcmp(o->call, "meta") == 0;
    }
    long n = c->at >= 0 ? atomic_fetch_add(&pages, 1) + 1 : 0;
    return strcmp(o->call, "page") == 0 && n >= o->count && atomic_load(&in_step);
}

static bool is_for(const struct orders *o, const struct call *c)
{
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", c->file);
    ssize_t n = readlink(link, path, sizeof path - 1);
    path[n > 0 ? n : 0] = '\0';
    if (!strstr(path, o->where)) return false;
    bool here = strstr(path, "data.mdb") && in_commit(o, c);
    if (strcmp(o->call, "page") == 0 || strcmp(o->call, "meta") == 0) return here;
    if (strcmp(o->call, "any") != 0 && strcmp(o->call, c->name) != 0) return false;
    return atomic_fetch_add(&calls, 1) + 1 >= o->count;
}

/* In the words of an order. */
static void note(const struct orders *o, const struct call *c)
{
    char path[PATH_MAX], line[120];
    bool commit = c->at >= 0 && strstr(o->where, "data.mdb");
    const char *name = !commit ? c->name : is_meta(c) ? "meta" : "page";
    int length = snprintf(line, sizeof line, "%s %ld %zu %lld\n", name, commit ? atomic_load(&pages) : 0, c->size,
                          (long long)c->at);
    snprintf(path, sizeof path, "%s.calls", orders_file);
    int file = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (file < 0) return;
    (void)syscall(SYS_write, file, line, length);
    (void)syscall(SYS_close, file);
}

/* What happens to this call; FAILS has set errno. */
static enum fault fault_at(const struct call *c)
{
    struct orders o;
    int before = errno;
    bool ordered = read_orders(&o), now = ordered && is_for(&o, c);
    if (!ordered) atomic_store(&in_step, false);
    if (now && o.fault >= NOTE) note(&o, c);
    errno = now && o.fault == FAILS ? o.error : before;
    if (now && o.fault == KILL_BEFORE) die();
    if (now && o.fault == SLOW) {
        usleep(500000);
        return NONE;
    }
    if (now && o.fault == HANG) {
        while (read_orders(&o)) usleep(50000);
        return NONE;
    }
    return now && o.fault != NOTE ? o.fault : NONE;
}

/* How much of a write at this offset is done by half: whole sectors of the file. */
static size_t half_of(size_t size, off_t at)
{
    uint64_t end = ((uint64_t)at + size / 2) / SECTOR * SECTOR;
    if (end <= (uint64_t)at) end = ((uint64_t)at / SECTOR + 1) * SECTOR;
    return end < (uint64_t)at + size ? (size_t)(end - (uint64_t)at) : 0;
}

static ssize_t write_at(int file, const void *data, size_t size, off_t at)
{
    enum fault fault = fault_at(&(struct call){"write", file, at, size});
    if (fault == FAILS) return -1;
    ssize_t n = syscall(SYS_pwrite64, file, data, fault == KILL_HALF ? half_of(size, at) : size, at);
    if (fault != NONE) die();
    return n;
}

static size_t size_of(const struct iovec *parts, int count)
{
    size_t size = 0;
    for (int i = 0; i < count; i++) size += parts[i].iov_len;
    return size;
}

/* A half: without the last part, or half of the only one. */
static ssize_t write_parts(int file, const struct iovec *parts, int count, off_t at, bool has_at)
{
    enum fault fault = fault_at(&(struct call){"write", file, has_at ? at : -1, size_of(parts, count)});
    if (fault == FAILS) return -1;
    size_t first = parts[0].iov_len;
    struct iovec half = {.iov_base = parts[0].iov_base, .iov_len = has_at ? half_of(first, at) : first / 2};
    if (fault == KILL_HALF && count == 1) parts = &half;
    if (fault == KILL_HALF && count > 1) count--;
    ssize_t n = has_at ? syscall(SYS_pwritev, file, parts, count, at, 0) : syscall(SYS_writev, file, parts, count);
    if (fault != NONE) die();
    return n;
}

static int sync_file(int file, long call)
{
    enum fault fault = fault_at(&(struct call){"fdatasync", file, -1, 0});
    if (fault == FAILS) return -1;
    int code = (int)syscall(call, file);
    if (fault != NONE) die();
    return code;
}

/* With 64-bit offsets the headers give this the name pwrite64; LMDB's reference is to the other one. */
ssize_t pwrite(int file, const void *data, size_t size, off_t at) { return write_at(file, data, size, at); }

ssize_t pwrite_of_libraries(int file, const void *data, size_t size, off_t at) __asm__("pwrite");
ssize_t pwrite_of_libraries(int file, const void *data, size_t size, off_t at)
{
    return write_at(file, data, size, at);
}

/* LMDB writes its pages with these, too. */
ssize_t pwritev(int file, const struct iovec *parts, int count, off_t at)
{
    return write_parts(file, parts, count, at, true);
}

ssize_t writev(int file, const struct iovec *parts, int count) { return write_parts(file, parts, count, 0, false); }

ssize_t write(int file, const void *data, size_t size)
{
    enum fault fault = fault_at(&(struct call){"write", file, -1, size});
    if (fault == FAILS) return -1;
    ssize_t n = syscall(SYS_write, file, data, fault == KILL_HALF ? size / 2 : size);
    if (fault != NONE) die();
    return n;
}

int fdatasync(int file) { return sync_file(file, SYS_fdatasync); }
int fsync(int file) { return sync_file(file, SYS_fsync); }

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
