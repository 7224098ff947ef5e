/* Power cuts: a disk that records what is written and synced, and builds the
 * folders that a crash at any moment may have left behind.
 *
 * What was synced is there. Of what was written since, each sector of 512 bytes
 * is there or not, on its own; of what happened to names since the folder was
 * last synced, the first so many changes are there (journals keep their order). */
#ifndef TESTS_LIB_TRACE_H
#define TESTS_LIB_TRACE_H

#include <stddef.h>
#include <stdint.h>

#include "storage/disk.h"

struct trace;

/* Passes all on to the real disk, inside `folder`, which is empty or was left by
 * trace_crash: what is there counts as durable. */
struct trace *trace_start(const char *folder);
void trace_free(struct trace *t);
const struct disk *trace_disk(struct trace *t);
size_t trace_length(const struct trace *t); /* operations so far */
/* From now on syncs of files, or of folders, fail with EIO; what was written to a file before then counts as clean,
 * so that no later sync makes it durable (as Linux does it). */
void trace_fail_syncs(struct trace *t, int files, int folders);

enum trace_loss {
    TRACE_LOSE_ALL,    /* nothing unsynced is there */
    TRACE_KEEP_ALL,    /* as after kill -9 */
    TRACE_LOSE_RANDOM, /* any subset of sectors */
    TRACE_LOSE_TAIL,   /* random, but of the last write only a part of its front */
};
/* Builds in the empty folder `to` what is left when the power fails after the first
 * `length` operations. `seed` is advanced. */
void trace_crash(const struct trace *t, const char *to, size_t length, enum trace_loss loss, uint64_t *seed);

/* A small generator of repeatable numbers (splitmix64). */
uint64_t trace_random(uint64_t *seed);

#endif
