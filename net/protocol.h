/* Messages between a client and a node (ALPN consilium/1): types and bodies.
 *
 * Frame: [type, id, body] (net/frame.h). The client picks ids; an answer carries
 * its question's id. Several questions may be under way on one connection.
 * Bodies are msgpack arrays in canonical form; an encoder and its decoder stand
 * side by side in protocol.c. `note` = a signed checkpoint note, as bin.
 *
 * HELLO        [version (1), program name]                        first message of a client
 * WELCOME      [node id, member index, cluster id(32), now_ms, n, b, k, state ("ready", ...), warning text]
 * SUBMIT       [request (bin, ledger/request.h with its attachments), wait]   wait: WAIT_APPLIED or WAIT_COSIGNED
 * APPLIED      [[code, leaf_index, decision, reason, answer (bin)] per operation]
 *              code: OK, or enum err of what was refused without a leaf (ERR_DUPLICATE with the first index,
 *              decision and reason). Comes for every SUBMIT that got into the ledger or was decided.
 * COSIGNED     [note, [[leaf (bin), [hash(32) ...] inclusion proof] per operation, empty leaf where none]]
 *              follows APPLIED when the client waits for it; sent again in answer to PROVE.
 * FAILED       [code, text, retry_after_ms]                       in place of any answer
 * LOOKUP       [actor_kind, actor id, issued_at_ms, request_id]   what became of an operation
 * FOUND        [found (bool), leaf_index, decision, reason, witnessed_time_ms, leader known (bool)]
 * PROVE        [leaf_index ...]  (array of 1..64)                 -> COSIGNED, once witnessed (or FAILED ERR_NOT_WITNESSED)
 * CONTENT      [leaf_index, first, count]                         items opened by an approved read of this session's actor
 * CONTENTS     [first, [[context (bin), capsule (bin), ciphertext (bin)] ...]]   as many as fit into LIMIT_ANSWER, at least one
 * SHARES       [leaf_index, first, count, with_proofs (bool), [member index not to ask ...]]
 * SHARED       [[member index, sealed (bin), signature(64)] ...]  k of them, or as many as could be had
 *              sealed = box to the reader key of [leaf_index, first, member index, [[SHA-256(label), epoch, D(32), proof (bin 0 or 64)] ...]]
 *              signature: of the node's message key over "consilium/share/v1\n" || leaf_index be64 || SHA-256(sealed)
 * STATUS       []
 * STATUS_OK    [[row per member], counters]  row: [member index, name, hospital, reachable, state, term, last, applied,
 *              cosigned size, witnessed size, ledger size, root(32), version, leads (bool), time_ms]; counters: [[name, value] ...]
 * CHECKPOINT   []                          -> NOTE [note]         the newest witnessed checkpoint (empty before the first)
 * KEYS         [secret]                    -> KEY  [activation leaf (bin), index, [hash(32) ...], note]
 *              the activation leaf of the collective key, proved under the checkpoint kept for it
 * LEAVES       [from, max]                 -> LEAVES_OK [from, [leaf (bin) ...], ledger size]   after an approved ledger.export on this connection
 * CONSISTENCY  [old size, new size]        -> CONSISTENT [[hash(32) ...]]
 * FOLLOW       [leaf_index of the approved log.query with follow]  -> ROWS [[row ...]] now and again until the connection closes
 */
#ifndef NET_PROTOCOL_H
#define NET_PROTOCOL_H

#define PROTOCOL_VERSION 1

enum message_type {
    MESSAGE_HELLO = 1,
    MESSAGE_WELCOME = 2,
    MESSAGE_SUBMIT = 3,
    MESSAGE_APPLIED = 4,
    MESSAGE_COSIGNED = 5,
    MESSAGE_FAILED = 6,
    MESSAGE_LOOKUP = 7,
    MESSAGE_FOUND = 8,
    MESSAGE_PROVE = 9,
    MESSAGE_CONTENT = 10,
    MESSAGE_CONTENTS = 11,
    MESSAGE_SHARES = 12,
    MESSAGE_SHARED = 13,
    MESSAGE_STATUS = 14,
    MESSAGE_STATUS_OK = 15,
    MESSAGE_CHECKPOINT = 16,
    MESSAGE_NOTE = 17,
    MESSAGE_KEYS = 18,
    MESSAGE_KEY = 19,
    MESSAGE_LEAVES = 20,
    MESSAGE_LEAVES_OK = 21,
    MESSAGE_CONSISTENCY = 22,
    MESSAGE_CONSISTENT = 23,
    MESSAGE_FOLLOW = 24,
    MESSAGE_ROWS = 25,
    /* 64..127: between nodes (consilium-peer/1), see consensus/peer_messages.h */
};

enum wait { WAIT_APPLIED = 0, WAIT_COSIGNED = 1 };

#endif
