/* The Raft log on disk: all that a node must have durable before it speaks.
 *
 * One stream of records in preallocated segment files: blocks, term and vote,
 * truncations, repairs, the cosigned mark, compactions. (storage/log_format.h
 * describes the bytes.) An append to a zero-filled file of fixed size changes no
 * metadata, so that a batch costs one write and one fdatasync.
 *
 * Happy path, on the log thread:
 *   1. log_append, log_set_vote, ... seal what they are given into the batch.
 *   2. log_sync writes the batch and makes it durable; only then do log_read,
 *      log_status and the rest show it.
 *   3. log_idle, when nothing waits, notes that the last batch is durable and
 *      prepares the next segment ahead.
 * Failures: a failed write or sync is final. That call and every later one
 * returns the first error (ERR_IO, ERR_FULL); nothing is tried again, since after
 * a failed fsync the kernel may drop the pages and report success. Restart.
 *
 * Limits: LIMIT_LOG_SEGMENTS, and LIMIT_LOG_ENTRIES blocks. Who appends has to stop there
 * (`filled` in struct log_status is 1000 then). A quarter more is a reserve for the
 * blocks that were under way; beyond it a block is ERR_LOG_FULL, and that is final.
 * Term and vote, marks, and the compaction that makes room again, are always taken.
 *
 * Opening tells apart
 *   - a torn tail: the last, never acknowledged batch, partly written: cut;
 *   - damage: anything that a later record proves to have been acknowledged, or
 *     that was written in full and changed afterwards: never cut, but named.
 * Of damaged blocks the index range is known, and each block is got from a peer
 * and put back with log_repair. See struct log_status for the other kinds.
 *
 * Threads: one, the owner, calls everything; functions marked "any thread" may
 * run beside it. (The names are apart from those of base/log.h, the program's
 * log of lines.)
 */
#ifndef STORAGE_LOG_H
#define STORAGE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/limits.h"
#include "crypto/seal.h"
#include "storage/disk.h"

struct log;

struct log_options {
    const char *directory;      /* must exist; ours alone */
    const char *name;           /* bound into every seal; at most LIMIT_NAME */
    const struct seal_key *key; /* the storage key; copied into secret memory */
    const struct disk *disk;    /* NULL: the real one; must outlive the log */
    uint32_t segment_size;      /* 0: LOG_SEGMENT_SIZE; multiple of 4 KiB; of new segments */
    uint32_t segment_limit;     /* 0: LIMIT_LOG_SEGMENTS, which is the most; multiple of 4 */
};

/* Makes the log if the folder has none. ERR_IN_USE: another process has it;
 * ERR_DECRYPT: not this storage key or name; ERR_VERSION; ERR_CORRUPT: files, but no
 * readable header in any; ERR_IO, ERR_FULL, ERR_NOMEM. Other damage is no error here:
 * see log_status. An empty folder gives an empty log: whether there should be one is
 * for the caller to know. */
enum err log_open(struct log **out, const struct log_options *options, struct failure *failure);
void log_close(struct log *log); /* what was not synced is not written; NULL is nothing */

struct log_entry {
    uint64_t index, term;
    uint8_t kind; /* the caller's */
    struct bytes payload;
};

struct log_cosigned {
    uint64_t index, size; /* Raft index and leaves; all zero: never cosigned */
    struct digest root;
};

/* --- the batch: owner thread --- */

/* Stages entries that follow the last one staged (misuse otherwise); payloads of
 * at most LIMIT_BLOCK are sealed at once and not referred to afterwards. May
 * write and sync a full segment. The sticky error. */
enum err log_append(struct log *log, const struct log_entry *entries, size_t count);
/* Stages term and vote (0: none). A lower term, or another vote in a term, is misuse. */
enum err log_set_vote(struct log *log, uint64_t term, uint64_t vote);
/* Stages the cosigned mark. ERR_CONFLICT, without any change: smaller than the
 * mark there is, or another root for its size. */
enum err log_set_cosigned(struct log *log, const struct log_cosigned *mark);
/* Stages the removal of all blocks from `from` on. ERR_CONFLICT, without any
 * change: at or below the cosigned or the compacted index. */
enum err log_truncate(struct log *log, uint64_t from);
/* Stages a block in the place of a damaged one (term 0 in the log, or the same). Without any change: ERR_NOT_FOUND, that
 * index is not damaged, or what was damaged there has been truncated; ERR_CONFLICT, the damaged one is of another term. */
enum err log_repair(struct log *log, const struct log_entry *entry);
/* Stages "everything up to `index` is in a synced state": blocks to there are
 * forgotten, whole segments behind are removed by the next log_sync. An index
 * beyond the last starts the log anew after a snapshot. ERR_CONFLICT, without any
 * change: below the compacted index. config and manifest: LIMIT_LOG_SNAPSHOT each. */
enum err log_compact(struct log *log, uint64_t index, uint64_t term, struct bytes config,
                     struct bytes manifest);
/* Stages "votes were given, or blocks acknowledged, that this log doesn't know of", until log_set_recovered. */
enum err log_set_forgotten(struct log *log);
/* Stages "what state_damaged, tail_damaged and votes_forgotten stood for has been made up for". */
enum err log_set_recovered(struct log *log);

/* One write, one fdatasync; OK at once when nothing is staged. */
enum err log_sync(struct log *log);
/* Bytes of the staged batch, for the caller's pacing. */
size_t log_staged(const struct log *log);

/* A step of what can be done ahead, at most a few milliseconds; `more` (may be
 * NULL) says whether another call would find work. ERR_FULL or ERR_IO while
 * preparing a segment is not sticky, but a warning that the log will stop. */
enum err log_idle(struct log *log, bool *more);

/* --- what is durable: any thread --- */

struct log_status {
    uint64_t term, vote;
    struct log_cosigned cosigned;
    uint64_t first, last;     /* blocks first .. last; empty when last + 1 == first */
    uint64_t last_term;       /* of `last`; of the compacted index when empty */
    uint64_t compact_index, compact_term;
    uint64_t damaged;         /* blocks between first and last to be repaired */
    bool state_damaged;       /* newer term, vote or mark may have been acknowledged */
    bool tail_damaged;        /* blocks after `last` may have been acknowledged */
    bool votes_forgotten;     /* log_set_forgotten */
    bool snapshot_damaged;    /* config and manifest of the compaction are lost */
    uint64_t torn;            /* bytes of a torn tail that opening cut */
    uint64_t unreadable;      /* places that opening found damaged, also where nothing is missing by it */
    uint64_t syncs, written;  /* fdatasyncs of batches, bytes written, since opening */
    uint32_t segments;        /* files with records */
    unsigned filled;          /* thousandths of the limit of segments, or of blocks, whichever is nearer */
};
void log_status(struct log *log, struct log_status *out);
/* Why every call fails now: the first error, in words; code OK: none. */
void log_failure(struct log *log, struct failure *out);

/* ERR_NOT_FOUND: not in first - 1 .. last; ERR_CORRUPT: damaged and unknown. */
enum err log_term(struct log *log, uint64_t *term, uint64_t index);
/* The first range of damaged blocks at or after `from`; ERR_NOT_FOUND: none. */
enum err log_damage(struct log *log, uint64_t *first, uint64_t *last, uint64_t from);
/* Appends payloads of consecutive blocks from `from` on to `out` and fills
 * `entries` (views into `out`, valid until it changes): at most `capacity`, and no
 * more than max_bytes on disk unless the first alone is larger. `count` > 0 with OK.
 * (`out` holds the records around the payloads too.)
 * ERR_NOT_FOUND: no such block; ERR_CORRUPT: the block at `from` is damaged (the
 * answer ends before a later one). Reads the disk without holding up appends. */
enum err log_read(struct log *log, struct buffer *out, struct log_entry *entries, size_t *count,
                  size_t capacity, uint64_t from, size_t max_bytes);
/* Appends config and manifest of the last compaction. ERR_NOT_FOUND: never
 * compacted; ERR_CORRUPT. */
enum err log_snapshot(struct log *log, uint64_t *index, uint64_t *term, struct buffer *config,
                      struct buffer *manifest);

/* --- looking at a log without opening it, for dumps --- */

enum log_record_type {
    LOG_STATE = 1,    /* first of each batch: term, vote, mark, bounds */
    LOG_BLOCK = 2,
    LOG_TRUNCATE = 3, /* index: the first removed */
    LOG_REPAIR = 4,
    LOG_COMPACT = 5,
};
const char *log_record_name(enum log_record_type type); /* "block" */

struct log_record {
    const char *file; /* of the segment */
    uint32_t segment, offset, size; /* size on disk, header and padding included */
    bool damaged;      /* a hole: only file, segment, offset and size hold, and what follows if header_known */
    bool header_known; /* of a damaged record: only its payload is bad */
    bool torn;         /* of a damaged record: not written in full; at the log's end the next opening cuts it */
    enum log_record_type type;
    uint8_t kind;
    uint64_t batch, index, term;
    struct bytes payload; /* opened; valid during the call; of LOG_BLOCK, LOG_REPAIR */
    uint64_t vote;                  /* of LOG_STATE; its term is `term` */
    struct log_cosigned cosigned;   /* of LOG_STATE */
    uint64_t last, compact_index;   /* of LOG_STATE; compact_index of LOG_COMPACT too */
    struct bytes config, manifest;  /* of LOG_COMPACT */
};
/* Calls `visit` for each record in order until it returns false. Changes nothing
 * and takes no lock: on a running node the end may be seen half written. */
enum err log_visit(const struct log_options *options,
                   bool (*visit)(void *data, const struct log_record *record), void *data,
                   struct failure *failure);

#endif
