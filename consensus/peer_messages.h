/* Messages between nodes (ALPN consilium-peer/3): types and bodies.
 *
 * Frame [type, id, body], body = canonical msgpack. A link is mutually
 * authenticated TLS with pinned keys (net/peers.h), so the sender is known; what
 * must be shown to others later carries a signature of its own, made with the
 * node's message key over a domain tag and the fields.
 *
 * VERSIONS, so that nodes are upgraded one after the other: a link speaks the newest one that both ends know (net/peers.h).
 * Whoever changes a format adds a version here and to net/tls.c, and goes on writing and reading the older form on
 * links of older versions; a peer that lacks what is new must lose nothing that it had.
 *   3  REJOIN
 *   2  RAFT: APPEND and HEARTBEAT have `durable`
 *   1  they don't
 *
 * RAFT          one encoded raft message (consensus/raft.h), whole body
 * FORWARD       [request (bin), awaited]   a follower hands a client's request to the leader; no answer, the block is
 *               the answer. awaited: somebody waits until it is witnessed, so the leader paces at once
 * TELL          [size, root(32), raft index, raft term, signature]   "having applied up to `size`, my root is `root`"
 *               over "consilium/tell/v1\n" || cluster || size || root || index || term (integers be64)
 * PACE          TELL's body from the node that asks all others to tell for this size now
 * COSIGN        [size, root(32), timestamp_s, cosignature(64)]   C2SP cosignature/v1 by the sender
 * STATE         [role, term, last, commit, applied, synced, cosigned size, witnessed size, ledger size, root(32),
 *               time_ms,
 *                state, version text, raft leader, quarantined (bool), [[kind, first, last, since_ms] ...]]
 *                every 200 ms, for status and the comparison of clocks; at last what it found about itself, at most 4
 *                (ledger/alarm.h): its peers raise that when it is quarantined
 * SHARE_ASK     [leaf_index, first, count, with_proofs]    -> SHARE_GIVEN [code, sealed (bin), signature(64)]
 * SUBSHARE_ASK  [secret, attempt]                          -> SUBSHARE [secret, attempt, dealer, sealed (bin)]
 * SUBSHARE      also unasked, when a dealer deals
 * MANIFEST_ASK  [size, raft index, raft term] -> MANIFEST   size 0: your newest witnessed checkpoint that is durable;
 *               else of that size, and with that position if you applied it there, too
 * MANIFEST      [raft index, raft term, size, root(32), note]   raft index 0: the position isn't known; size 0: nothing
 * PULL          [from, to] -> PULLED   a chunk of leaves from `from` on, below `to`, proved against the root of size
 *               `to`
 * PULLED        [from, to, root(32) of size `from`, [hash ...], [leaf (bin) ...], [hash ...]]   the first list proves
 *               consistency of `from` with `to`, the second of the chunk's end with `to`
 * ATTACHMENTS   [[leaf index ...]] -> ATTACHED   ascending
 * ATTACHED      [[[state, attachment (bin)] ...]]   of the first ones asked for, as many as fit, at least one; states:
 *               0 here it is, 1 erased, 2 not here yet
 * NOTE_PUSH     [note]                 a witnessed note, for a node that missed cosignatures
 * BLOCK_ASK    [raft index]           -> BLOCK [raft index, term, kind, entry (bin)]   repair of a damaged log entry;
 *                                     term 0: not here any more
 * HEADS_ASK    [first raft index, count] -> HEADS [[index, term, signer, hash(32), signature(64)] ...]   what stands
 *              where in the sender's log, of those asked for that it remembers; signer 0: an entry that no leader signs
 * EVIDENCE     [evidence (bin)]   unasked: a proof against a member (ledger/evidence.h)
 * TOLD         [[member, TELL (bin)] ...]   what members told the sender after one block, for one that says otherwise
 * WITHDRAW     [raft term, raft index, at] -> WITHDRAWN [raft term, raft index, at, cosigned raft index, term,
 *              hash(32)]   "I may take back what I told up to there: don't count it any more, and say how far you have
 *              cosigned, and what stands at index `at` in your log" (term 0: nothing that it remembers);
 *              0, 0, 0: it counts again
 * REJOIN       see consensus/rejoin.h, whole body
 * DIGEST       what the sender states of its state, whole body (ledger/state_digest.h): when it is computed, and
 *              the newest one again to a node whose link comes up
 */
#ifndef CONSENSUS_PEER_MESSAGES_H
#define CONSENSUS_PEER_MESSAGES_H

#define PEER_VERSION 3         /* the newest */
#define PEER_VERSION_REJOIN 3
#define PEER_VERSION_DURABLE 2 /* the first with that */

enum peer_message {
    PEER_RAFT = 64,
    PEER_FORWARD = 65,
    PEER_TELL = 66,
    PEER_PACE = 67,
    PEER_COSIGN = 68,
    PEER_STATE = 69,
    PEER_SHARE_ASK = 70,
    PEER_SHARE_GIVEN = 71,
    PEER_SUBSHARE_ASK = 72,
    PEER_SUBSHARE = 73,
    PEER_MANIFEST_ASK = 74,
    PEER_MANIFEST = 75,
    PEER_PULL = 76,
    PEER_PULLED = 77,
    PEER_ATTACHMENTS = 78,
    PEER_ATTACHED = 79,
    PEER_NOTE_PUSH = 80,
    PEER_BLOCK_ASK = 81,
    PEER_BLOCK = 82,
    PEER_FAILED = 83, /* [code, text] in answer to an ASK */
    PEER_PAST = 84,   /* see consensus/driver_past.c */
    PEER_HEADS_ASK = 85,
    PEER_HEADS = 86,
    PEER_EVIDENCE = 87,
    PEER_TOLD = 88,
    PEER_WITHDRAW = 89,
    PEER_WITHDRAWN = 90,
    PEER_REJOIN = 91,
    PEER_DIGEST = 96,
};

#endif
