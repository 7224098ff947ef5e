/* The log's own thread: everything that must be durable before the node speaks.
 *
 * Happy path: the loop pushes jobs -> the thread takes all that wait, stages them
 * in order, and makes them durable with one write and one fdatasync -> they come
 * back finished, in order. When nothing waits it prepares the next segment.
 * Failures: the first failed job's code is the code of it and of every later one;
 * nothing is tried again (storage/log.h). The node stops.
 *
 * Functions are for the loop thread.
 */
#ifndef CONSENSUS_LOG_THREAD_H
#define CONSENSUS_LOG_THREAD_H

#include "base/bytes.h"
#include "consensus/jobs.h"
#include "consensus/raft.h"
#include "net/wake.h"

struct log;

enum log_job_kind {
    LOG_JOB_WRITE,     /* struct log_write */
    LOG_JOB_MARK,      /* struct cosigned_mark's job (consensus/driver.h); ERR_CONFLICT fails only itself */
    LOG_JOB_COMPACT,   /* struct log_compaction */
    LOG_JOB_REPAIR,    /* struct log_patch */
    LOG_JOB_FORGOTTEN, /* a bare job: the log says that votes were forgotten */
    LOG_JOB_RECOVERED, /* a bare job: what that, state_damaged and tail_damaged stood for is made up for */
};

/* One write of the core, in its order: term and vote, reset, truncation, entries. */
struct log_write {
    struct job job;
    uint64_t number;
    bool hard_state, reset;
    uint64_t term, vote;
    struct raft_position reset_to;
    struct buffer config, manifest; /* of reset_to */
    uint64_t truncate_from;         /* 0: none */
    size_t count;
    struct raft_entry entries[];    /* a reference to each blob */
};
struct log_write *log_write_new(const struct raft_ready *ready);
void log_write_free(struct log_write *w);

struct log_compaction {
    struct job job;
    struct raft_position at;
    struct buffer config, manifest;
};
void log_compaction_free(struct log_compaction *c);

struct log_patch { /* a damaged entry, from a peer */
    struct job job;
    struct raft_entry entry;
};
void log_patch_free(struct log_patch *p);

struct log_thread;
struct log_thread *log_thread_start(struct log *log, struct wake *wake);
void log_thread_push(struct log_thread *t, struct job *job);
bool log_thread_finished(struct log_thread *t, struct queue *out); /* false: none */
/* Ends the thread; `flush`: after everything pushed is durable. Jobs not done come
 * back in `left` with ERR_STOPPED, finished ones too. Frees it. */
void log_thread_stop(struct log_thread *t, bool flush, struct queue *left);

/* The entry of a log record and back; blob with one reference. ERR_NOMEM. */
struct log_entry;
enum err log_entry_to_raft(struct raft_entry *out, const struct log_entry *entry);

#endif
