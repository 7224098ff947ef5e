/* When a node with a damaged log may vote again; see the head of raft.h.
 *
 * It must not vote for somebody who lacks an entry that was committed by a copy it had and lost. A leader elected
 * since then was elected without its vote, and has all of those. One elected before counts the lost copies until it
 * is told of the loss. An append of its that fits this log (`checked`) shows that it was: it sends from behind what it
 * counts. From then on it counts what is here, and what it had committed till then it says with each message. Time
 * alone proves nothing: it may have died after its first heartbeat, or not hear this node.
 */
#include "consensus/raft_internal.h"

/* Election time-outs of hearing a leader: two, so that a candidate that this node may have voted for before, and
 * forgot, has shown itself; and twice that for messages that were under way. */
#define RECOVERY_WAIT 4u

/* What the leader may have committed by lost copies, or this node itself, where it and the leader were a majority:
 * even if they are none by what is left of this log, since its end may have removed a member. */
static raft_index may_be_committed(const struct raft *r)
{
    raft_index told = index_max(r->leader_commit, r->leader_durable);
    return index_max(told, index_max(r->commit, r->checked));
}

bool raft_recovered(struct raft_recovery *recovery, const struct raft *r)
{
    if (r->role != RAFT_FOLLOWER || !raft_in_lease(r)) {
        *recovery = (struct raft_recovery){0};
        return false;
    }
    if (recovery->term != r->term) *recovery = (struct raft_recovery){.term = r->term, .since = r->ticks};
    if (r->ticks - recovery->since < RECOVERY_WAIT * r->options.election_ticks || !r->checked) return false;
    if (!recovery->bound) recovery->bound = may_be_committed(r);
    return raft_log_term(&r->log, r->commit) == r->term && r->persisted >= recovery->bound;
}
