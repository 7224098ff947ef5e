/* The state's own thread: it owns struct ledger and every write to the store.
 *
 * Happy path: the loop pushes jobs -> each is run in order inside one open write
 * transaction -> it comes back finished at once -> the transaction is committed,
 * with a full sync, after LIMIT_COMMIT_MS, LIMIT_COMMIT_LEAVES or
 * LIMIT_COMMIT_BYTES, whichever is first, or for a job that waits for it. What is
 * lost with an open transaction the Raft log replays: it is trimmed only behind
 * state_thread_synced.
 * Failures: an error of the ledger's apply or of the store is final; it is the
 * code of that job and all later ones. The node stops, a restart replays.
 *
 * Functions are for the loop thread.
 */
#ifndef CONSENSUS_STATE_THREAD_H
#define CONSENSUS_STATE_THREAD_H

#include "base/bytes.h"
#include "consensus/jobs.h"
#include "net/wake.h"

struct block;
struct ledger_results;
struct store;

enum state_job_kind {
    STATE_JOB_APPLY, /* struct state_apply */
    STATE_JOB_READ,  /* struct state_read's job (consensus/driver.h) */
    STATE_JOB_WRITE, /* struct state_write's job */
    STATE_JOB_SYNC,  /* a bare job: comes back when all before it is durable */
};

/* Where the state stands. */
struct state_position {
    uint64_t raft_index, raft_term; /* of the last entry applied */
    uint64_t size;                  /* leaves */
    uint64_t time_ms;               /* of the last leaf */
    struct digest root;
    /* Leaves were replayed beyond raft_index and it isn't said yet to which position
     * they belong. Applying would repeat some; only more replaying leads on. Durable. */
    bool ahead;
};

/* A committed entry of the Raft log, durable in this node's own log. */
struct state_apply {
    struct job job;
    uint64_t raft_index, raft_term;
    struct block *block;            /* NULL: nothing but the position */
    const bool *wanted;             /* per request; NULL: none */
    struct ledger_results *results; /* NULL: nobody wants any */
    /* afterwards */
    struct state_position position;
    uint64_t leaves; /* made by this block */
    bool skipped;    /* at or below the position, or the state is ahead: nothing was done */
    bool keygen_changed, policy_changed, alarms_changed;
    uint64_t digest_leaf; /* asks for a digest of the state after this block; 0: none does */
    struct table_txn *snapshot; /* then: a read transaction on exactly that state, which is durable; whoever takes
                                   it aborts it, on any thread, then calls state_thread_snapshot_ended */
    enum err snapshot_code; /* why there is none. ERR_BUSY: the last one is still out, or too many readers */
};

struct state_thread;

/* Opens the ledger, or makes it from the genesis text, then runs. marks[1 .. LIMIT_NODES]: rows of TABLE_PEER_MARK,
 * empty where there is none. ERR_OTHER_CLUSTER: the ledger is of another genesis. */
enum err state_thread_start(struct state_thread **out, struct state_position *position, struct buffer *marks,
                            struct store *store, struct bytes genesis_text, struct wake *wake,
                            struct failure *failure);
void state_thread_push(struct state_thread *t, struct job *job);
bool state_thread_finished(struct state_thread *t, struct queue *out); /* false: none */

struct state_synced {
    struct state_position position; /* of the last durable commit */
    struct state_position moved;    /* after the last job of STATE_JOB_WRITE that moved it */
    bool space_low;                 /* refuse new blocks */
    enum err failed;
    uint64_t commits;
};
void state_thread_synced(struct state_thread *t, struct state_synced *out);
/* One snapshot at a time: each keeps the pages that it sees from being used again. */
void state_thread_snapshot_ended(struct state_thread *t);
/* Ends the thread; `flush`: after everything pushed was run and is durable. Jobs not
 * run come back in `left` with ERR_STOPPED, finished ones too. Frees it. */
void state_thread_stop(struct state_thread *t, bool flush, struct queue *left);

#endif
