/* The intake: requests under way at this node, their own and those forwarded to it.
 *
 * A request is known by its exact bytes, found by the beginning of its signature:
 * so the submission of a client is recognised in whatever block it arrives in, and
 * the leader puts the same request into its blocks only once at a time.
 *
 *   own        from driver_submit until its callback; when we lead it waits or is
 *              proposed here, else it was forwarded, and is again by timer
 *   forwarded  from a follower, only while we lead: from its arrival until the
 *              block with it is applied
 *
 * Pure bookkeeping: no I/O, no clock. Loop thread.
 */
#ifndef CONSENSUS_INTAKE_H
#define CONSENSUS_INTAKE_H

#include "consensus/driver.h"
#include "consensus/quota.h"

struct raft_blob;
struct request;

enum intake_place {
    INTAKE_ASIDE,    /* own: not in our hands as a leader (forwarded, or not yet) */
    INTAKE_WAITING,  /* for the next block */
    INTAKE_PROPOSED, /* in a block of ours */
};

#define INTAKE_BUCKETS 4096u
/* A block of several requests ends here: larger ones would only be written and sent in one
 * piece where two overlap. One request alone may be as large as it may be. */
#define INTAKE_BLOCK_BYTES (1 * MIB)

struct intake_list {
    struct intake_item *first, *last;
    size_t count, bytes;
};

struct intake {
    struct intake_item *buckets[INTAKE_BUCKETS];
    struct intake_list waiting; /* oldest first */
    struct intake_list aside;   /* own ones */
    struct intake_list proposed;
    size_t own_count, own_bytes;
    size_t sent_bytes; /* of those ASIDE, at the leader as far as is known */
    struct { size_t count, bytes; struct quota quota; } peers[LIMIT_NODES + 1];
    size_t forwarded_count, forwarded_bytes; /* bytes, as of each peer: copied ones, which are in no block so far */
};

/* The submission's request is well-formed. It comes ASIDE. ERR_BUSY over the limits. */
enum err intake_add_own(struct intake *in, struct submission *s);
/* Who forwards: member index and node id; and when, monotonic. */
struct intake_sender {
    unsigned index;
    struct id id;
    uint64_t now_ns;
};
/* A forwarded one, WAITING, its bytes copied. ERR_EXISTS: the same request waits or is
 * proposed already; ERR_BUSY: that peer, or all, have too many, or its quota is used up;
 * ERR_UNAUTHORIZED: another node's own; ERR_TOO_LARGE: over LIMIT_REQUEST, of its own over
 * LIMIT_OWN_REQUEST; else what request_decode says: a request that followers' admission
 * would refuse never gets into a block. */
enum err intake_add_forwarded(struct intake *in, const struct intake_sender *from, struct bytes request, bool awaited);
/* Whether this one of ASIDE may go to the leader, who is to hold no more than `most` bytes of this node's at once; one
 * alone may always, and so may one that is sent again. */
bool intake_may_send(const struct intake *in, const struct intake_item *item, size_t most);
void intake_sent(struct intake *in, struct intake_item *item, uint64_t now_ns); /* a copy of it, to the leader */
void intake_unsent(struct intake *in); /* all: whoever had them has them no more */
/* ASIDE to WAITING, unless the same request waits or is proposed already (then false). */
bool intake_wait(struct intake *in, struct intake_item *item);
/* Takes the oldest waiting requests that fit into one block: they are PROPOSED. Views
 * stay valid as long as the items. At least one when any waits. */
uint32_t intake_propose(struct intake *in, struct bytes requests[static LIMIT_BLOCK_REQUESTS]);
/* All that intake_propose gave last, the core took as this block, in which they stand so: forwarded ones need no copy
 * of theirs any more, and keep the block instead. */
void intake_in_block(struct intake *in, struct raft_blob *block, const struct request *requests, uint32_t count);
/* The core did not take them: WAITING again, in front. */
void intake_withdraw(struct intake *in, const struct bytes *requests, uint32_t count);
/* Whether what waits fills a block. */
bool intake_fills_block(const struct intake *in);
/* The first item with these bytes, then the next; NULL: none (more). */
struct intake_item *intake_find(const struct intake *in, struct bytes request);
struct intake_item *intake_find_next(const struct intake_item *item);
/* Frees a forwarded item; an own one is only taken out (its submission belongs to its owner). */
void intake_remove(struct intake *in, struct intake_item *item);
/* What this peer forwarded and is in no block so far goes. */
void intake_silence(struct intake *in, unsigned peer);
/* No longer the leader: own items are ASIDE, forwarded ones go (who forwarded them sends them again). */
void intake_abdicate(struct intake *in);

#endif
