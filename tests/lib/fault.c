#include "tests/lib/fault.h"

#include <errno.h>
#include <pthread.h>

/* Armed by a test while a thread of the program under test uses the disk. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

static bool count_down(struct fault *f, enum fault_call call)
{
    f->calls[call]++;
    if (f->which != call && !(f->which == FAULT_CALLS && call != FAULT_PREAD)) return false;
    if (f->countdown == 0 || --f->countdown > 0) return false;
    if (f->lasting) f->countdown = 1;
    f->failed++;
    return true;
}

/* Whether this call is the one to fail; sets errno. */
static bool strikes(struct fault *f, enum fault_call call)
{
    pthread_mutex_lock(&lock);
    bool now = count_down(f, call);
    int number = f->number;
    pthread_mutex_unlock(&lock);
    if (now) errno = number;
    return now;
}

static int fault_open(void *context, const char *path, int flags, mode_t mode)
{
    return strikes(context, FAULT_OPEN) ? -1 : disk_real.open(NULL, path, flags, mode);
}

static ssize_t fault_pread(void *context, int file, void *data, size_t size, off_t at)
{
    const struct fault *f = context;
    uint64_t from = (uint64_t)at, to = from + size;
    if (strikes(context, FAULT_PREAD)) return -1;
    if (from < f->unreadable_to && to > f->unreadable_from) {
        errno = EIO;
        return -1;
    }
    return disk_real.pread(NULL, file, data, size, at);
}

static ssize_t fault_pwrite(void *context, int file, const void *data, size_t size, off_t at)
{
    struct fault *f = context;
    if (strikes(f, FAULT_PWRITE)) {
        size_t half = size / 2, over = (size_t)(at + (off_t)half) % 512; /* kernels stop at a page or sector */
        if (f->partial && half > over) disk_real.pwrite(NULL, file, data, half - over, at);
        errno = f->number;
        return -1;
    }
    if (f->short_writes && size > f->short_writes) size = f->short_writes;
    return disk_real.pwrite(NULL, file, data, size, at);
}

static void wait_while_held(struct fault *f)
{
    pthread_mutex_lock(&lock);
    f->waiting++;
    pthread_cond_broadcast(&changed);
    while (f->holds) pthread_cond_wait(&changed, &lock);
    f->waiting--;
    pthread_mutex_unlock(&lock);
}

static int fault_fdatasync(void *context, int file)
{
    wait_while_held(context);
    return strikes(context, FAULT_FDATASYNC) ? -1 : disk_real.fdatasync(NULL, file);
}

static int fault_fsync(void *context, int file)
{
    return strikes(context, FAULT_FSYNC) ? -1 : disk_real.fsync(NULL, file);
}

static int fault_rename(void *context, const char *from, const char *to)
{
    return strikes(context, FAULT_RENAME) ? -1 : disk_real.rename(NULL, from, to);
}

static int fault_unlink(void *context, const char *path)
{
    return strikes(context, FAULT_UNLINK) ? -1 : disk_real.unlink(NULL, path);
}

static int fault_close(void *context, int file)
{
    (void)context;
    return disk_real.close(NULL, file);
}

void fault_setup(struct fault *f)
{
    *f = (struct fault){
        .disk = {f, fault_open, fault_pread, fault_pwrite, fault_fdatasync, fault_fsync, fault_rename, fault_unlink,
                 fault_close},
        .which = FAULT_CALLS,
    };
}

void fault_arm(struct fault *f, enum fault_call which, unsigned nth, int number)
{
    pthread_mutex_lock(&lock);
    f->which = which;
    f->countdown = nth;
    f->number = number;
    pthread_mutex_unlock(&lock);
}

void fault_hold(struct fault *f, bool holds)
{
    pthread_mutex_lock(&lock);
    f->holds = holds;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

void fault_await_held(struct fault *f)
{
    pthread_mutex_lock(&lock);
    while (!f->holds || !f->waiting) pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
}

unsigned fault_total(const struct fault *f)
{
    unsigned total = 0;
    for (int i = 0; i < FAULT_CALLS; i++)
        if (i != FAULT_PREAD) total += f->calls[i];
    return total;
}
