/* Faults by countdown: the n-th write, sync, ... of a disk fails. Also counts the
 * calls, so that a test can first measure a run and then fail each call of it. */
#ifndef TESTS_LIB_FAULT_H
#define TESTS_LIB_FAULT_H

#include <stdbool.h>

#include "storage/disk.h"

enum fault_call {
    FAULT_OPEN,
    FAULT_PREAD,
    FAULT_PWRITE,
    FAULT_FDATASYNC,
    FAULT_FSYNC,
    FAULT_RENAME,
    FAULT_UNLINK,
    FAULT_CALLS /* how many; as `which`: any of them but FAULT_PREAD */
};

struct fault {
    struct disk disk; /* hand &fault.disk to what is tested */
    enum fault_call which;
    unsigned countdown; /* 1: the next call fails; 0: none */
    int number;         /* errno of the failing call */
    bool lasting;       /* every later call of the kind fails as well */
    bool partial;       /* a failing write writes half before, up to a sector's end */
    unsigned failed;    /* calls that were made to fail */
    uint64_t unreadable_from, unreadable_to; /* reads that touch these offsets of any file: EIO */
    unsigned short_writes; /* every write writes at most this; 0: all */
    unsigned calls[FAULT_CALLS];
    bool holds;       /* syncs of data, see fault_hold */
    unsigned waiting; /* of these, now */
};

void fault_setup(struct fault *f); /* passes everything on to the real disk */
void fault_arm(struct fault *f, enum fault_call which, unsigned nth, int number);
/* From now on no fdatasync begins; false: they go on. */
void fault_hold(struct fault *f, bool holds);
void fault_await_held(struct fault *f); /* until a thread waits there */
unsigned fault_total(const struct fault *f); /* calls so far, without reads */

#endif
