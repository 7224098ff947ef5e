/* Witnessing: nodes tell each other their roots; once k told the same root for a
 * size, each cosigns it; k cosignatures make a checkpoint witnessed.
 * DESIGN: tell, cosign, pace; C2SP tlog-checkpoint and cosignature/v1.
 *
 * Happy path: driver applied a block -> the leader picks its size when a round is due
 * (at once when somebody waits and blocks come one by one, a little later when many come, so that
 * they share it) and sends PACE -> every node that has applied that size sends TELL ->
 * at k equal tells the mark is logged durably -> COSIGN to all -> at k
 * cosignatures the note is complete, kept (node-local table), and waiters run.
 * For who waits for more, a round begins while others are under way, a few at most: about
 * when messages have taken one way since the last one did. They may end in any order, or not
 * at all; a later one covers what an earlier one would have.
 * Any node paces after a second with applied leaves unwitnessed, or in a new term.
 * Failures: unequal roots under k different signatures, or our own root against
 * k others': see on_evidence, on_quarantine. A node never cosigns anything
 * smaller than, or inconsistent with, its last mark, also after a restart.
 *
 * Threads: loop only. Signatures (51 us each) are verified in place; a round has
 * at most 2n of them, and rounds are paced.
 */
#ifndef CONSENSUS_WITNESS_H
#define CONSENSUS_WITNESS_H

#include <uv.h>

#include "consensus/driver.h"

struct witness;

struct witness_options {
    uv_loop_t *loop;
    const struct genesis *genesis;
    unsigned self;
    const struct node_secrets *keys;
    struct driver *driver;
    struct peers *peers;
    struct store *store; /* reads what it kept, at start */
    void *data;
    void (*on_witnessed)(void *data, uint64_t size); /* a larger checkpoint is complete */
    void (*on_quarantine)(void *data, const char *why);
    /* Instead of on_quarantine, where this node has cosigned nothing of what k members contradict, so that it may
     * be rebuilt (driver_contradicted, which quarantines): which members, as bits, and after which entry. May be
     * NULL. */
    void (*on_contradicted)(void *data, uint32_t members, uint64_t raft_index, const char *why);
    /* A member told another root than this node's after the block at `raft_index`. May be NULL. */
    void (*on_differs)(void *data, unsigned member, uint64_t raft_index);
    /* For long, k members told roots after one block, and no k the same. May be NULL. */
    void (*on_stalled)(void *data);
    /* It tells no root after entries up to this index and term: see struct driver_rebuilt. */
    uint64_t quiet_index, quiet_term;
    /* Two signed statements that contradict each other: encoded evidence (ledger/evidence.h) against `named`. Or, with
     * no evidence, what may be its lie or this node's error: one line in the log, no more. */
    void (*on_evidence)(void *data, const char *kind, unsigned named, uint64_t size, struct bytes evidence);
};
enum err witness_start(struct witness **out, const struct witness_options *options, struct failure *failure);
void witness_stop(struct witness *w); /* waiters get ERR_STOPPED */
void witness_free(struct witness *w);

void witness_applied(struct witness *w, const struct driver_applied *applied);
void witness_role(struct witness *w, bool leads, uint64_t term);
/* TELL, PACE, COSIGN, NOTE_PUSH, TOLD. */
void witness_message(struct witness *w, unsigned from, uint32_t type, struct bytes body);
/* From now on what this member tells of roots does not count: evidence proves that it lied. */
void witness_exclude(struct witness *w, unsigned member);
/* What this member told after entries up to there does not count for what is cosigned from now on; 0, 0: it
 * does again. */
void witness_withdraw(struct witness *w, unsigned member, uint64_t raft_term, uint64_t raft_index);

void witness_peer_up(struct witness *w, unsigned peer); /* sends it what it may have missed */

uint64_t witness_size(const struct witness *w); /* covered by the newest witnessed checkpoint; 0 before the first */
uint64_t witness_time_ms(const struct witness *w);
/* The newest witnessed note (valid until the loop turns) with its raft position; false before the first. */
bool witness_newest(const struct witness *w, struct bytes *note, uint64_t *size, struct digest *root,
                    uint64_t *raft_index, uint64_t *raft_term);

/* One witnessed checkpoint with its place in the Raft log. */
struct witnessed {
    uint64_t size, raft_index, raft_term, time_ms; /* raft_index 0: not known (the note came from a peer) */
    struct digest root;
    struct buffer note;
};
/* The newest with a known raft_index at or below `most`; NULL when none is remembered (the
 * last WITNESS_KEPT are). Valid until the loop turns. */
#define WITNESS_KEPT 64
const struct witnessed *witness_before(const struct witness *w, uint64_t most);
/* Whether this node applied the entry at `raft_index` itself, and had the leaves of `kept` then, no more; its term. */
bool witness_stood_at(const struct witness *w, uint64_t *raft_term, const struct witnessed *kept, uint64_t raft_index);
/* Whether this node applied the block at this position itself, and had so many leaves then; one of
 * the last some thousand. */
bool witness_was_at(const struct witness *w, struct digest *root, uint64_t raft_index, uint64_t raft_term,
                    uint64_t size);
/* What this node keeps of a checkpoint on disk: table checkpoint, size -> this. */
enum err witnessed_decode(struct witnessed *out, struct bytes row); /* the note is copied into `out` */

/* Calls `done` once witness_size > leaf_index (at once, if it is already), or at the deadline. */
struct witness_wait {
    uint64_t leaf_index;
    uint64_t deadline_ns;
    void *data;
    void (*done)(struct witness_wait *w, enum err code); /* OK, ERR_NOT_WITNESSED, ERR_STOPPED */
    struct { struct witness_wait *next, *previous; } witness;
};
void witness_wait(struct witness *w, struct witness_wait *wait);
void witness_wait_cancel(struct witness *w, struct witness_wait *wait); /* done is not called */

/* A note that covers a larger size than ours, from a peer: checked for k cosignatures, then taken
 * (if our own applied root at that size agrees, else evidence). */
void witness_take_note(struct witness *w, struct bytes note);

#endif
