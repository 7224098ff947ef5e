/* How a node that forgot its votes becomes a voter again.
 *
 * A node whose disk was set back, or is lost, or whose log is damaged, may have voted in terms and acknowledged entries
 * that it doesn't know of (consensus/driver_past.c). It follows, but counts in no majority: a second vote in one term, a
 * vote for somebody who lacks what it had acknowledged, or its copy of what one of the forgotten votes may undo still,
 * could lose what is committed. It votes and acknowledges again once none of that can matter any more:
 *
 *   ASK     it asks its leader, of term T, for an entry that comes after now
 *   POINT   the leader names the index of an entry of T that it had not appended yet (an empty one, if nothing else comes)
 *   HOLD    it asks each voter for that entry
 *   HELD    a voter that forgot nothing, and whose term is T, has that entry on its disk
 *   and     a majority of all voters, itself not among them, have said so; the entry is committed and durable here, too
 *
 * Why that is enough. Whoever stands in a term above T with one of the forgotten votes stood before the entry was made, so
 * its log lacks it. To be elected it needs a majority, which has one in common with those who HELD it, besides the node:
 * two majorities of n that leave the node out of one of them share another one. That one voted either before it took the
 * entry (then its term was above T, and it would not have taken it) or after (then it refuses a log that lacks it). So
 * nobody is elected by forgotten votes above T, and the node votes only above T (raft_rejoin counts T's vote as its
 * leader's). What forgotten acknowledgements helped to commit, in terms up to T, is in the leader's log, since elections
 * since went without the node; and so in the node's, which has all up to the entry. In terms above T nothing was: their
 * leaders were elected with a vote of the common one. It is what removing a member and adding it again comes to (Ongaro,
 * "Consensus: Bridging Theory and Practice", 2014, chapter 4), and what recovery without a disk needs of those who answer:
 * that they did so after the loss (Liskov and Cowling, "Viewstamped Replication Revisited", 2012, 4.3; what goes wrong
 * when answers from before count: Michael et al., "Recovering Shared Objects Without Stable Storage", DISC 2017).
 *
 * Two things are taken for granted: a vote that was given to a candidate's earlier life does not reach a later one (links
 * end with the process), and who forgot something knows it before it votes or acknowledges (consensus/driver_past.c).
 * HELD says again what the entry's commitment without the node's copy says already; each alone is enough.
 *
 * Each start asks anew, with another nonce: an answer to an earlier life says nothing about votes given since.
 * Of three voters both others are needed, of five three: where more forgot something, nobody can tell what was forgotten.
 * No I/O, no clock, no threads; the loop's. Nothing to free.
 */
#ifndef CONSENSUS_REJOIN_H
#define CONSENSUS_REJOIN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/limits.h"
#include "consensus/raft.h"

enum rejoin_step { REJOIN_ASK = 1, REJOIN_POINT, REJOIN_HOLD, REJOIN_HELD };

/* [step, nonce, term, index]; of ASK the index is 0. */
struct rejoin_message {
    enum rejoin_step step;
    uint64_t nonce; /* of who asks, of this life of it */
    raft_term term; /* T */
    raft_index index;
};
void rejoin_encode(struct buffer *out, const struct rejoin_message *m); /* appends */
enum err rejoin_decode(struct rejoin_message *out, struct bytes body);  /* ERR_MALFORMED */

/* Zero but for the first three at the beginning. */
struct rejoin {
    raft_id self;
    void (*send)(void *data, raft_id to, const struct rejoin_message *m); /* may be lost */
    void *data;

    /* as one that forgot */
    uint64_t nonce; /* 0: it didn't */
    raft_term term;
    raft_index point;              /* 0: none named yet in that term */
    bool held[LIMIT_NODES + 1];    /* by id */
    unsigned patience;             /* rejoin_tick's calls until it asks for another entry */

    /* as leader */
    raft_index wanted;    /* an entry that was named and isn't there yet; 0: none */
    raft_term wanted_in;
    unsigned rest;        /* rejoin_tick's calls until an empty entry may be appended again */
};

/* From now on, until rejoin_may: `nonce` is random and new, not 0. */
void rejoin_begin(struct rejoin *j, uint64_t nonce);
/* About once a second, on every node: asks, and appends the entry that was named. `room`: the log has some. */
void rejoin_tick(struct rejoin *j, struct raft *raft, bool room);
/* A message of that member's. ERR_INVALID: it makes no sense, or comes from no member; else OK, also where it is
 * too late or too early. */
enum err rejoin_came(struct rejoin *j, struct raft *raft, raft_id from, const struct rejoin_message *m);
/* Whether nothing that was forgotten matters any more. Then raft_rejoin and rejoin_end, in the same turn. */
bool rejoin_may(const struct rejoin *j, const struct raft *raft);
void rejoin_end(struct rejoin *j);

#endif
