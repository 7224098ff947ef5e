/* The driver: Raft core, log thread, state thread and peers put together.
 *
 * Happy path of a write:
 *   1. driver_submit takes a checked request. Leading, it waits in the intake;
 *      following, it is forwarded to the leader (again at each change of leader).
 *   2. The intake becomes a block as soon as the pipeline has room: what waited
 *      goes into one block, signed by the leader, proposed to the core.
 *   3. Messages leave at once; the block goes to the log thread (one write, one
 *      fdatasync for all that waits) and to workers that verify its requests.
 *   4. Committed, durable here and verified: the state thread applies it inside
 *      its open transaction and hands results back to the loop.
 *   5. The submission's callback runs with the outcome; observers hear of the
 *      new size and root.
 * Failures: no leader or a lost one: the submission stays until its deadline
 * (ERR_NO_QUORUM then; unknown, may still happen). A failed disk: on_fatal, the
 * node acknowledges nothing more and stops.
 *
 * Threads: every function here is for the loop thread; callbacks run there.
 * Blocks are shared by reference count between core, log, workers and state.
 */
#ifndef CONSENSUS_DRIVER_H
#define CONSENSUS_DRIVER_H

#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

#include "base/bytes.h"
#include "base/limits.h"
#include "base/table.h"
#include "consensus/jobs.h"
#include "net/workers.h"
#include "crypto/sign.h"

struct genesis;
struct node_secrets;
struct log;
struct store;
struct peers;
struct ledger;
struct driver;

/* Told after each block that this node applied (and after each replayed chunk). */
struct driver_applied {
    uint64_t raft_index, raft_term;
    uint64_t size; /* leaves */
    struct digest root;
    uint64_t time_ms;     /* of the last leaf */
    bool keygen_changed;  /* the key generation's state moved */
    bool policy_changed;
    bool alarms_changed;  /* an alarm was raised, told of or closed (ledger/alarm.h) */
    bool awaited;  /* a node that we know of waits for a checkpoint that covers this block */
    bool replayed; /* came from catching up, not from a block */
};

/* A leaf that asks for a digest of the state (ledger/state_digest.h) was applied here. */
struct driver_digest {
    uint64_t time_ms;    /* of that state's last leaf */
    uint64_t leaf, size; /* the state is that after `size` leaves, the end of the block with this leaf */
    struct table_txn *snapshot; /* on exactly that state; the callback takes it over */
    enum err code;              /* why there is none: ERR_BUSY: the one before was not ended so far; else the store's */
};

struct driver_options {
    uv_loop_t *loop;
    const struct genesis *genesis;
    unsigned self; /* member index, 1-based */
    const struct node_secrets *keys;
    struct log *log;
    struct store *store;
    struct peers *peers; /* the owner routes PEER_RAFT, _FORWARD, _BLOCK_ASK, _BLOCK and _PAST to driver_message */
    uint64_t seed;       /* for the core's time-outs */
    unsigned workers;    /* threads that check signatures; 0: one per processor, at least two */
    unsigned tick_ms;    /* the core's unit of time; 0: 50, an election time-out of 1 to 2 s */
    uint64_t log_keep_bytes; /* compact the log beyond this; at most LIMIT_LOG_KEEP_MIB */
    bool accept_loss;        /* the operator's word, for this start: what it forgot is not waited for (driver_past.c) */
    void *data;
    void (*on_applied)(void *data, const struct driver_applied *applied);
    /* After on_applied. NULL: nobody digests. */
    void (*on_digest)(void *data, const struct driver_digest *digest);
    void (*on_role)(void *data, bool leads, unsigned leader, uint64_t term);
    /* The core was offered a snapshot: state up to `raft_index` must be pulled
     * (consensus/catchup.h), then driver_caught_up or driver_catch_up_failed. */
    void (*on_install)(void *data, uint64_t raft_index, uint64_t raft_term, struct bytes manifest);
    /* A newest (raft index, term, manifest) behind which the log may be trimmed: one that is witnessed. */
    bool (*snapshot)(void *data, uint64_t *raft_index, uint64_t *raft_term, struct buffer *manifest);
    /* New evidence against a member (ledger/evidence.h), found here or sent by a peer; verified and
     * on its way to the disk. `index`: of the log, or a size. May be NULL. */
    void (*on_evidence)(void *data, const char *kind, unsigned named, uint64_t index, struct bytes evidence);
    /* Member `member` may take back what it told of roots after entries up to there: it must not count before
     * this returns (witness_withdraw). 0, 0: it counts again. May be NULL. */
    void (*on_withdraw)(void *data, unsigned member, uint64_t raft_term, uint64_t raft_index);
    /* This node has another history than the others, and cosigned none of that: the owner stops the node, rebuilds it
     * (node/rebuild.h) and starts it again. `told`: a leader that lies gave it that, so its log is cut; else nothing shows
     * that, and its state may be damaged, to be derived anew from its log. `again`: it was rebuilt before, and has cosigned
     * nothing since, so its log is in doubt, too. Once; may be NULL. */
    void (*on_deceived)(void *data, bool told, bool again, const char *why);
    /* What cannot go on: disk failed, own inconsistency. The owner stops the node with exit code 1. */
    void (*on_fatal)(void *data, enum err code, const char *text);
    /* This node's disk is older than what the node signed before; optional. Raft indexes: the first
     * that is not there any more, and the last that was. Each time that it finds out, and with accept_loss. */
    void (*on_set_back)(void *data, uint64_t first, uint64_t last);
};

enum err driver_start(struct driver **out, const struct driver_options *options, struct failure *failure);
/* Hands leadership over if leading, finishes what is durable, then `done`. */
void driver_stop(struct driver *d, void (*done)(void *data), void *data);
void driver_free(struct driver *d);

void driver_message(struct driver *d, unsigned from, uint32_t type, uint64_t id, struct bytes body);
void driver_receiving(struct driver *d, unsigned from); /* bytes of a message that is not whole yet: raft_receiving */
void driver_overlong(struct driver *d, unsigned from); /* one was not whole in time: parts of the next don't count */
void driver_peer_up(struct driver *d, unsigned peer);
void driver_peer_down(struct driver *d, unsigned peer);

/* What became of one operation of a submission. */
struct outcome {
    enum err code; /* OK: has a leaf; ERR_DUPLICATE: the first one's; else refused without a leaf */
    uint64_t leaf_index;
    uint8_t decision;
    uint16_t reason;
    struct bytes answer; /* valid during the callback */
    struct bytes leaf;   /* encoded; valid during the callback */
};

/* A request under way. Embedded by the owner, who keeps it until the callback. */
struct submission {
    struct buffer request; /* encoded (ledger/request.h), attachments included; the driver's until the callback */
    uint64_t deadline_ns;  /* clock_monotonic_ns; at most LIMIT_REQUEST_MS away */
    bool verified;         /* signature, attachments and capsules were checked here already ... */
    struct sign_public verified_key; /* ... with this key; all zero: not told, so apply checks once more */
    bool awaited;          /* somebody waits until it is witnessed: the leader is told */
    void *data;
    /* Exactly once. code OK: outcomes are those of each operation, applied at this node.
     * ERR_NO_QUORUM: deadline without knowing; ERR_BUSY: not taken; ERR_STOPPED. */
    void (*done)(struct submission *s, enum err code, const struct outcome *outcomes, size_t count);
    struct intake_item { /* the driver's own; see consensus/intake.h */
        struct intake_item *next, *previous, *chain;
        struct submission *submission;
        struct submission **slot;
        struct bytes request;
        uint64_t key, first_ns, sent_ns; /* sent to this leader: first, last; 0: not */
        uint8_t place, from, copies;
        bool awaited;
    } driver;
};
/* Takes it, or returns ERR_BUSY (intake full), ERR_TOO_LARGE, ERR_FULL (no space left on this node's disk),
 * ERR_LOG_FULL (it can't be trimmed), ERR_QUARANTINED, ERR_STOPPED without calling `done`. */
enum err driver_submit(struct driver *d, struct submission *s);

/* Reads of the state. `run` is called with a transaction, on a worker over the
 * synced state, or on the state thread inside the open transaction when `fresh`
 * (sees everything applied so far; must be short). Then `done` on the loop. */
struct state_read {
    bool fresh;
    void *data;
    enum err (*run)(struct state_read *r, struct table_txn *txn);
    void (*done)(struct state_read *r, enum err code);
    struct { struct job job; } driver; /* the driver's own */
};
enum err driver_read(struct driver *d, struct state_read *r); /* ERR_BUSY over the limit, ERR_STOPPED */

/* A task of the owner's on the driver's workers; how many is for the caller to bound. ERR_STOPPED: no `done` comes. */
enum err driver_work(struct driver *d, struct worker_task *task);

/* Writes to node-local tables (never replicated state), in order, on the state
 * thread. `done` runs when applied, or with `durable` when synced to the disk. */
struct state_write {
    bool durable;
    bool detached; /* nobody waits for it, `done` only frees it: driver_free calls that too where no stop came first */
    bool torn;     /* set by a run that failed half-way: nothing since the last commit is kept, and the node stops */
    void *data;
    enum err (*run)(struct state_write *w, struct table_txn *txn, struct ledger *ledger);
    void (*done)(struct state_write *w, enum err code);
    struct { struct job job; } driver; /* the driver's own */
};
enum err driver_write(struct driver *d, struct state_write *w); /* ERR_BUSY over the limit, ERR_STOPPED */

/* The snapshot that on_digest gave is aborted: the next may be made. Not after driver_stop's callback. */
void driver_digest_ended(struct driver *d);

/* Makes a cosigned mark durable in the log, before `done`. From then on the core
 * refuses to truncate at or below raft_index. */
struct cosigned_mark {
    uint64_t raft_index, size;
    struct digest root;
    void *data;
    void (*done)(struct cosigned_mark *m, enum err code);
    struct { struct job job; } driver; /* the driver's own */
};
/* ERR_CONFLICT: this node, before its disk was set back, cosigned more; ERR_STOPPED. */
enum err driver_log_cosigned(struct driver *d, struct cosigned_mark *m);
/* The last durable mark, from start on; false when there is none. */
bool driver_cosigned(const struct driver *d, struct cosigned_mark *out);
/* Its disk was set back, and what it has cosigned since, as its log says, is less than before. */
bool driver_forgot_cosigned(const struct driver *d);

/* After on_install: the state was replayed up to this index. */
void driver_caught_up(struct driver *d, uint64_t raft_index, uint64_t raft_term, uint64_t size, struct bytes manifest);
void driver_catch_up_failed(struct driver *d, uint64_t raft_index);

/* Rows of TABLE_PEER_MARK could not be read, and were replaced: the driver, which has them in memory, puts them back. */
void driver_past_rewrite(struct driver *d);

/* Entries of the own log that reading found damaged while the node runs: asks peers for them, and puts back what
 * b + 1 of them agree on. How many are damaged now; call again after a while until it is 0. */
uint64_t driver_repair_log(struct driver *d);

/* Stops voting, leading and serving writes: own root contradicts k others'. */
void driver_quarantine(struct driver *d, const char *why);
const char *driver_quarantined_why(const struct driver *d); /* "" while it is not; lives as long as the driver */
/* --- evidence and forks (driver_blame.c, driver_fork.c) --- */

/* Encoded evidence that somebody else found: verified, kept, told to all peers. The errors of evidence_open. */
enum err driver_evidence(struct driver *d, struct bytes encoded);
/* Evidence proves that this member lied: it is not followed any more, and its word on roots must not count. */
bool driver_is_named(const struct driver *d, unsigned member);
/* This peer told another root than this node's after the block at `last`: find where the two logs part. */
void driver_compare(struct driver *d, unsigned peer, uint64_t last);
/* For long, k members have told roots under the present leader, and no k the same: another one should lead. */
void driver_stalled(struct driver *d);
/* k members, these and perhaps this one, contradict this node after the entry at `last`, by their signatures, and it
 * has cosigned none of that: quarantines, compares logs with them, then on_deceived. Once. */
void driver_contradicted(struct driver *d, uint32_t members, uint64_t last, const char *why);

/* What is kept about rebuilds: table blob, under this name. */
#define DRIVER_REBUILT "driver/rebuilt"
struct driver_rebuilt {
    uint64_t term, index; /* of the last entry that was cut off or replaced: this node may have told a
                             root after any entry up to there, and tells none again. 0: never rebuilt */
    uint64_t cosigned;    /* size, at the last rebuild */
    unsigned times;       /* in a row, with nothing cosigned between */
};
const struct driver_rebuilt *driver_rebuilt(const struct driver *d);
void driver_rebuilt_encode(struct buffer *out, const struct driver_rebuilt *r);
enum err driver_rebuilt_decode(struct driver_rebuilt *out, struct bytes row);

/* A clock more than 30 s off the lower median: does not lead, hands over. */
void driver_set_clock_ok(struct driver *d, bool ok);

struct driver_status {
    bool leads, quarantined, catching_up, may_vote;
    bool contradicted; /* and it is not known so far by whose fault: then comes on_deceived */
    bool space_low; /* the device, or the map, is almost full: no new blocks are taken */
    bool log_full;  /* k nodes co-signed nothing for so long that the log, untrimmed, came to LIMIT_LOG_NEW: the same */
    unsigned log_filled; /* thousandths of the log's limits */
    unsigned leader; /* 0: none known */
    uint64_t term, first, last, commit, applied, synced_index;
    uint64_t leader_commit; /* as this term's leader told it, perhaps beyond this log */
    uint64_t applied_term; /* of the entry applied last */
    uint64_t size, synced_size; /* leaves applied; leaves in the synced state */
    uint64_t synced_time_ms;    /* of the last of these */
    struct digest root;
    uint64_t last_time_ms;
    uint64_t submitted, applied_operations, blocks, busy, forwarded, refused_blocks; /* counters */
    uint64_t bad_messages, evidence;                                               /* counters */
    size_t waiting; /* in the intake */
};
void driver_status(const struct driver *d, struct driver_status *out);

/* Up to where a node must have applied to say for good that something is not there: all that is committed now, as far
 * as its leader told or it has counted itself. UINT64_MAX while it can't know that: it catches up, follows nobody, or
 * has applied nothing of this leader's term. (A leader that was just cut off is followed for an election time-out
 * more.) */
static inline uint64_t driver_committed(const struct driver_status *s)
{
    bool knows = !s->catching_up && s->leader != 0 && s->applied_term == s->term;
    if (!knows) return UINT64_MAX;
    return s->leader_commit > s->commit ? s->leader_commit : s->commit;
}

#endif
