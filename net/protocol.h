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
 * PROVE        [leaf_index ...]  (array of 1..64)                 -> COSIGNED, once witnessed (or FAILED
 *              ERR_NOT_WITNESSED)
 * PROVE_ROWS   [leaf_index of an approved log.query, [leaf_index ...]]  (1..64)   -> COSIGNED, as of PROVE: of leaves
 *              whose rows that query shows to this session's actor
 * CONTENT      [leaf_index, first, count, with_proofs (bool), [member index not to ask ...]]
 *              items opened by an approved read of this session's actor -> CONTENTS, then SHARED of as many items as
 *              that has
 * CONTENTS     [first, [[context (bin), capsule (bin), ciphertext (bin)] ...]]
 *              as many as fit into LIMIT_ANSWER, at least one of those asked for
 * SHARES       as CONTENT                  -> SHARED alone
 * SHARED       [[member index, sealed (bin), signature(64)] ...]  k of them, or as many as could be had
 *              sealed = box to the reader key of [leaf_index, first, member index, [how many the read opens, next
 *              page's first (0: none), how many it leaves out], [[SHA-256(label), epoch, D(32), proof (bin 0 or 64)]
 *              ...]]
 *              signature: of the node's message key over "consilium/shares/v2\n" || leaf_index be64 || first be32 ||
 *              count be32 || with_proofs (1 byte) || SHA-256(sealed)
 * STATUS       []
 * STATUS_OK    [[row per member], counters]  row: [member index, name, hospital, reachable, state, term, last, applied,
 *              cosigned size, witnessed size, ledger size, root(32), version, leads (bool), time_ms]; counters: [[name,
 *              value] ...]
 * CHECKPOINT   []                          -> NOTE [note]         the newest witnessed checkpoint (empty before the
 *              first)
 * KEYS         [secret]                    -> KEY  [activation leaf (bin), index, [hash(32) ...], note]
 *              the activation leaf of the collective key, proved under the checkpoint kept for it
 * LEAVES       [from, max]                 -> LEAVES_OK [from, count, packed leaves (bin, net/leaf_pack.h), ledger
 *              size]
 *              after an approved ledger.export on this connection, of its entries, or ADMITTED
 * ADMIT        [actor id (a user's), issued_at_ms, request id, signature(64)]   -> ADMITTED []
 *              an approved ledger.export of the last five minutes, which stands in the ledger already, counts on this
 *              connection, too
 *              signature: of the key that it was made with over "consilium/admit/v1\n" || cluster id || id of the node
 *              that is asked || actor id || issued_at_ms be64 || request id
 * CONSISTENCY  [old size, new size]        -> CONSISTENT [[hash(32) ...]]
 * EVIDENCE     []                          -> EVIDENCE_OK [[evidence (bin, ledger/evidence.h) ...]]   all that the node
 *              keeps; after an approved ledger.export on this connection, or ADMITTED
 * STORED       [from, to, listed]          -> STORED_OK [next, count, sum(32), [[leaf_index, hash(32)] ...]]
 *              the hash, computed now, of each
 *              attachment that the node stores for the leaves from .. next - 1 (zeros: it can't be read); next <= to.
 *              After an approved ledger.export on this connection, or ADMITTED
 * TILE         [level, index, width (1..256)]   -> TILE_OK [hashes (bin, 32 each)]   a tile of the tree (ledger/tile.h)
 * NOTICE       [quarantined (bool), how many are open, [alarm ...]]
 *              without a question, with id 0: before WELCOME when
 *              something is open, and at each change, also to none. net/protocol_alarms.h
 * ALARMS       [all (bool), before, max]   -> ALARMS_OK [more (bool), [alarm ...]]   open ones, oldest first; or all,
 *              newest first, below a leaf index
 *              alarm: [leaf_index (0: about to be raised), kind, named, raiser, first, last, since_ms, status, closed,
 *              told, told_ms, told_by, told_ways, saying (bit i = member i)]   as in ledger/alarm.h
 * DIGESTS      [leaf_index]                -> DIGESTS_OK [leaf_index, [statement (bin, ledger/state_digest.h) ...]]
 *              what the
 *              nodes state of their states at the first leaf from leaf_index on that asked for it (0: at the newest
 *              one);
 *              nothing so far: leaf 0. Each is signed by the node that states it
 * FOLLOW       [leaf_index of the approved log.query with follow]
 *              -> ROWS [[row ...]] now and again until the connection closes
 */
#ifndef NET_PROTOCOL_H
#define NET_PROTOCOL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/limits.h"
#include "crypto/sign.h"

/* 1: LEAVES_OK was not packed, STORED_OK had no sum. Of 2 there are two ways to open records: in the former one CONTENT
 * brought no shares (and had three fields), and their boxes did not tell the read's extent. Each side refuses the
 * other's, one question at a time, so that all else goes on while a cluster is upgraded. */
#define PROTOCOL_VERSION 2

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
    MESSAGE_EVIDENCE = 26,
    MESSAGE_EVIDENCE_OK = 27,
    MESSAGE_NOTICE = 28,
    MESSAGE_ALARMS = 29,
    MESSAGE_ALARMS_OK = 30,
    MESSAGE_STORED = 36,
    MESSAGE_STORED_OK = 37,
    MESSAGE_PROVE_ROWS = 38,
    MESSAGE_TILE = 40,
    MESSAGE_TILE_OK = 41,
    MESSAGE_DIGESTS = 44,
    MESSAGE_DIGESTS_OK = 45,
    MESSAGE_ADMIT = 46,
    MESSAGE_ADMITTED = 47,
    /* 64..127: between nodes (consilium-peer/1), see consensus/peer_messages.h */
};

enum wait { WAIT_APPLIED = 0, WAIT_COSIGNED = 1 };

/* One struct, one encoder, one decoder per body.
 *
 * Encoders append to `out`; running out of memory or over the buffer's limit
 * shows in out->failed. They CHECK counts against the limits named here.
 * Decoders take exactly one whole body. Views point into it and live as long as
 * it does; nothing is allocated. Where a body holds a long list, the caller
 * brings the room for it (`items`, `capacity`) and the struct then points there.
 * Errors: those of base/pack.h (ERR_MALFORMED, ERR_NOT_CANONICAL, ERR_TRUNCATED,
 * ERR_TRAILING, ERR_TOO_LARGE when a list is longer than its limit or `capacity`);
 * on an error the struct's content means nothing. Any thread.
 */

struct message_hello {
    uint64_t version;
    struct bytes program; /* at most LIMIT_NAME */
};
void message_hello_encode(struct buffer *out, const struct message_hello *m);
enum err message_hello_decode(struct message_hello *m, struct bytes body);

struct message_welcome {
    struct id node;
    uint32_t member;
    struct digest cluster;
    uint64_t now_ms;
    uint32_t nodes, faulty, quorum; /* n, b, k */
    struct bytes state;             /* at most LIMIT_NAME; "ready" or why not */
    struct bytes warning;           /* at most LIMIT_NOTE; empty: none */
};
void message_welcome_encode(struct buffer *out, const struct message_welcome *m);
enum err message_welcome_decode(struct message_welcome *m, struct bytes body);

struct message_submit {
    struct bytes request; /* at most LIMIT_REQUEST */
    enum wait wait;
};
void message_submit_encode(struct buffer *out, const struct message_submit *m);
enum err message_submit_decode(struct message_submit *m, struct bytes body);

struct message_result {
    enum err code;       /* may be a number this program doesn't know */
    uint64_t leaf_index; /* 0 where nothing was recorded */
    uint32_t decision;   /* enum decision of ledger/action.h; 0 where nothing was decided */
    uint32_t reason;     /* enum reason, or a newer number */
    struct bytes answer; /* at most LIMIT_ANSWER: [rows, cursor, left_out], or empty */
};
struct message_applied {
    uint32_t count; /* 1 .. LIMIT_OPERATIONS */
    struct message_result results[LIMIT_OPERATIONS];
};
void message_applied_encode(struct buffer *out, const struct message_applied *m);
enum err message_applied_decode(struct message_applied *m, struct bytes body);

struct message_proof {
    struct bytes leaf; /* empty where the operation left none */
    const struct digest *hashes;
    uint32_t count; /* 0 .. LIMIT_PROOF */
};
struct message_cosigned {
    struct bytes note;
    uint32_t count; /* 1 .. LIMIT_OPERATIONS */
    struct message_proof proofs[LIMIT_OPERATIONS];
};
void message_cosigned_encode(struct buffer *out, const struct message_cosigned *m);
/* `hashes`: room for `capacity` digests; LIMIT_PROOFS is always enough. */
enum err message_cosigned_decode(struct message_cosigned *m, struct digest *hashes, size_t capacity,
                                 struct bytes body);

struct message_failed {
    enum err code;     /* may be a number this program doesn't know */
    struct bytes text; /* at most LIMIT_NOTE */
    uint64_t retry_after_ms; /* 0: no advice */
};
void message_failed_encode(struct buffer *out, const struct message_failed *m);
enum err message_failed_decode(struct message_failed *m, struct bytes body);

struct message_lookup {
    uint32_t kind; /* enum actor_kind of ledger/action.h: 1 user, 2 node */
    struct id actor;
    uint64_t issued_at_ms;
    struct id request;
};
void message_lookup_encode(struct buffer *out, const struct message_lookup *m);
enum err message_lookup_decode(struct message_lookup *m, struct bytes body);

struct message_found {
    bool found;
    uint64_t leaf_index;
    uint32_t decision, reason;
    uint64_t witnessed_time_ms;
    bool leader_known;
};
void message_found_encode(struct buffer *out, const struct message_found *m);
enum err message_found_decode(struct message_found *m, struct bytes body);

struct message_prove {
    uint32_t count; /* 1 .. LIMIT_OPERATIONS */
    uint64_t leaves[LIMIT_OPERATIONS];
};
void message_prove_encode(struct buffer *out, const struct message_prove *m);
enum err message_prove_decode(struct message_prove *m, struct bytes body);

struct message_prove_rows {
    uint64_t query;
    struct message_prove rows;
};
void message_prove_rows_encode(struct buffer *out, const struct message_prove_rows *m);
enum err message_prove_rows_decode(struct message_prove_rows *m, struct bytes body);

/* CONTENT and SHARES. */
struct message_opening {
    uint64_t leaf_index;
    uint32_t first, count; /* count: 0 .. LIMIT_OPENED; 0: the extent alone */
    bool with_proofs;
    uint32_t excluded_count; /* 0 .. LIMIT_NODES */
    uint32_t excluded[LIMIT_NODES];
};
void message_opening_encode(struct buffer *out, const struct message_opening *m);
enum err message_opening_decode(struct message_opening *m, struct bytes body);

struct message_item {
    struct bytes context, capsule, ciphertext; /* the first two at most LIMIT_CAPSULE */
};
struct message_contents {
    uint32_t first, count; /* count: 0 .. LIMIT_OPENED */
    const struct message_item *items;
};
void message_contents_encode(struct buffer *out, const struct message_contents *m);
enum err message_contents_decode(struct message_contents *m, struct message_item *items,
                                 size_t capacity, struct bytes body);

struct message_sealed {
    uint32_t member;
    struct bytes sealed; /* a box for the reader, see struct share_box */
    uint8_t signature[64];
};
struct message_shared {
    uint32_t count; /* 0 .. LIMIT_NODES */
    struct message_sealed shares[LIMIT_NODES];
};
void message_shared_encode(struct buffer *out, const struct message_shared *m);
enum err message_shared_decode(struct message_shared *m, struct bytes body);

/* What a node seals to the reader's key: its shares of items first .. first + count - 1. */
struct share_item {
    struct digest label; /* SHA-256 of the capsule's label */
    uint64_t epoch;
    uint8_t share[32]; /* D = x * U */
    bool has_proof;
    uint8_t proof[64];
};
/* What a read opened in all, as its apply fixed it. */
struct read_extent {
    uint32_t count;
    uint64_t next, left_out; /* struct opened_rest */
};
bool read_extent_equal(const struct read_extent *a, const struct read_extent *b);
struct share_box {
    uint64_t leaf_index;
    uint32_t first, member, count; /* count: 0 .. LIMIT_OPENED */
    struct read_extent extent;
    const struct share_item *items;
};
void share_box_encode(struct buffer *out, const struct share_box *b);
enum err share_box_decode(struct share_box *b, struct share_item *items, size_t capacity,
                          struct bytes plain);
/* Shares of items first .. first + count - 1; count 0: the read's extent alone. */
struct share_ask {
    uint64_t leaf_index;
    uint32_t first, count;
    bool with_proofs;
};
/* Appends the bytes a node signs with its message key over a sealed box that answers this. Of another question its box
 * does not fit, and whoever serves could else show that as its lie. */
void share_box_signing(struct buffer *out, const struct share_ask *ask, struct bytes sealed);

struct message_member {
    uint32_t member;
    struct bytes name, hospital; /* at most LIMIT_NAME */
    bool reachable;
    struct bytes state; /* "leader", "follower", ...; at most LIMIT_NAME */
    uint64_t term, last, applied;
    uint64_t cosigned_size, witnessed_size, ledger_size;
    struct digest root;
    struct bytes version; /* at most LIMIT_NAME */
    bool leads;
    uint64_t time_ms;
};
struct message_counter {
    struct bytes name; /* at most LIMIT_NAME */
    uint64_t value;
};
struct message_status_ok {
    uint32_t member_count, counter_count;
    struct message_member members[LIMIT_NODES];
    struct message_counter counters[LIMIT_COUNTERS];
};
void message_status_ok_encode(struct buffer *out, const struct message_status_ok *m);
enum err message_status_ok_decode(struct message_status_ok *m, struct bytes body);

/* STATUS and CHECKPOINT ask with the empty array. */
void message_empty_encode(struct buffer *out);
enum err message_empty_decode(struct bytes body);

struct message_note {
    struct bytes note; /* empty before the first checkpoint */
};
void message_note_encode(struct buffer *out, const struct message_note *m);
enum err message_note_decode(struct message_note *m, struct bytes body);

struct message_keys {
    uint32_t secret; /* 1 records, 2 passwords */
};
void message_keys_encode(struct buffer *out, const struct message_keys *m);
enum err message_keys_decode(struct message_keys *m, struct bytes body);

struct message_key {
    struct bytes leaf;
    uint64_t index;
    uint32_t hash_count; /* 0 .. LIMIT_PROOF */
    struct digest hashes[LIMIT_PROOF];
    struct bytes note;
};
void message_key_encode(struct buffer *out, const struct message_key *m);
enum err message_key_decode(struct message_key *m, struct bytes body);

struct message_leaves {
    uint64_t from;
    uint32_t max; /* 1 .. LIMIT_LEAVES */
};
void message_leaves_encode(struct buffer *out, const struct message_leaves *m);
enum err message_leaves_decode(struct message_leaves *m, struct bytes body);

struct message_leaves_ok {
    uint64_t from;
    uint32_t count;      /* 0 .. LIMIT_LEAVES */
    struct bytes packed; /* net/leaf_pack.h: leaves of LIMIT_ANSWER bytes at most in all; empty when count is 0 */
    uint64_t ledger_size;
};
void message_leaves_ok_encode(struct buffer *out, const struct message_leaves_ok *m);
enum err message_leaves_ok_decode(struct message_leaves_ok *m, struct bytes body); /* does not look into `packed` */

struct message_consistency {
    uint64_t old_size, new_size;
};
void message_consistency_encode(struct buffer *out, const struct message_consistency *m);
enum err message_consistency_decode(struct message_consistency *m, struct bytes body);

struct message_consistent {
    uint32_t count; /* 0 .. LIMIT_CONSISTENCY */
    struct digest hashes[LIMIT_CONSISTENCY];
};
void message_consistent_encode(struct buffer *out, const struct message_consistent *m);
enum err message_consistent_decode(struct message_consistent *m, struct bytes body);

struct message_stored {
    uint64_t from, to; /* from < to */
    bool listed;       /* each hash, not their sum alone */
};
void message_stored_encode(struct buffer *out, const struct message_stored *m);
enum err message_stored_decode(struct message_stored *m, struct bytes body);

struct stored_hash {
    uint64_t index;
    struct digest hash; /* zeros: there, but can't be read */
};
struct message_stored_ok {
    uint64_t next;  /* where to go on */
    uint32_t count; /* 0 .. LIMIT_STORED */
    struct digest sum;
    const struct stored_hash *items; /* `count`, if listed; else NULL. Indexes ascend, all below `next` */
};
/* SHA-256 over what each of them says: its index (8 bytes, the highest first), and its hash. */
void message_stored_sum(struct digest *out, const struct stored_hash *items, uint32_t count);
void message_stored_ok_encode(struct buffer *out, const struct message_stored_ok *m);
enum err message_stored_ok_decode(struct message_stored_ok *m, struct stored_hash *items, size_t capacity,
                                  struct bytes body);

struct message_tile {
    uint32_t level; /* 0 .. 63 */
    uint64_t index;
    uint32_t width; /* 1 .. LIMIT_TILE */
};
void message_tile_encode(struct buffer *out, const struct message_tile *m);
enum err message_tile_decode(struct message_tile *m, struct bytes body);

struct message_tile_ok {
    struct bytes hashes; /* 1 .. LIMIT_TILE of 32 bytes */
};
void message_tile_ok_encode(struct buffer *out, const struct message_tile_ok *m);
enum err message_tile_ok_decode(struct message_tile_ok *m, struct bytes body);

struct message_admit {
    struct id actor;
    uint64_t issued_at_ms;
    struct id request;
    struct signature signature;
};
void message_admit_encode(struct buffer *out, const struct message_admit *m);
enum err message_admit_decode(struct message_admit *m, struct bytes body);
/* Appends the bytes that the actor signs for this node. */
void message_admit_signing(struct buffer *out, const struct digest *cluster, const struct id *node,
                           const struct message_admit *m);

struct message_digests {
    uint64_t leaf; /* 0: the newest */
};
void message_digests_encode(struct buffer *out, const struct message_digests *m);
enum err message_digests_decode(struct message_digests *m, struct bytes body);

struct message_digests_ok {
    uint64_t leaf;  /* 0: nothing is known */
    uint32_t count; /* 0 .. LIMIT_NODES */
    struct bytes statements[LIMIT_NODES]; /* at most LIMIT_STATEMENT each */
};
void message_digests_ok_encode(struct buffer *out, const struct message_digests_ok *m);
enum err message_digests_ok_decode(struct message_digests_ok *m, struct bytes body);

struct message_follow {
    uint64_t leaf_index;
};
void message_follow_encode(struct buffer *out, const struct message_follow *m);
enum err message_follow_decode(struct message_follow *m, struct bytes body);

/* Rows as log.query answers them (ledger/action.h): `rows` is the msgpack array itself. */
struct message_rows {
    struct bytes rows; /* at most LIMIT_ANSWER */
};
void message_rows_encode(struct buffer *out, const struct message_rows *m);
enum err message_rows_decode(struct message_rows *m, struct bytes body);

#endif
