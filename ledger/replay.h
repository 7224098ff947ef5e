/* Replaying leaves: the same state from the ledger alone.
 *
 * Each leaf is checked as if nobody could be trusted: index, chain, time, the
 * signature over the path's root, and the decision, reason and subject, which are
 * decided anew and compared. Verifiers and nodes that catch up use nothing else.
 */
#ifndef LEDGER_REPLAY_H
#define LEDGER_REPLAY_H

#include "base/bytes.h"
#include "base/error.h"
#include "base/table.h"
#include "crypto/sign.h"
#include "ledger/leaf.h"
#include "ledger/tree.h"

struct ledger;

/* Leaf 0 into empty tables. When `expected` is not NULL, its genesis must have
 * that cluster id (ERR_OTHER_CLUSTER). */
enum err ledger_replay_genesis(struct ledger **out, struct table_txn *txn, struct bytes leaf,
                               const struct digest *expected_cluster, struct failure *failure);

/* The next leaf. ERR_CHAIN (index, previous hash, time), ERR_BAD_SIGNATURE,
 * ERR_DECISION, ERR_MALFORMED ...: `failure` says for an auditor what was expected
 * and what was found; nothing is changed then, and the ledger stays usable.
 * Errors of the store: as for ledger_apply. */
enum err ledger_replay(struct ledger *ledger, struct table_txn *txn, struct bytes leaf, struct failure *failure);

/* --- in two parts, so that many threads do most of the work --- */

#define REPLAY_MARK 12
/* All of a leaf that needs no state: decoded and hashed. */
struct replay_leaf {
    struct leaf leaf; /* views into the leaf's bytes */
    enum err decoded; /* else only `hash` below is set */
    struct digest hash;
    bool rooted;        /* the path fits its place; `root` is its request's */
    struct digest root; /* of the operations under one signature */
    /* That signature was verified, under this key. Counts only when the state names this very key. */
    bool verified;
    struct sign_public key;
    uint8_t mark[REPLAY_MARK]; /* the caller's, for struct replay_aside */
};
/* Any thread. `memo` for leaves in their order; zeroed before the first. */
void replay_leaf_read(struct replay_leaf *out, struct tree_memo *memo, struct bytes leaf);
/* ledger_replay of a leaf that was read. Sets verified and key when it had to verify the signature itself. */
enum err ledger_replay_read(struct ledger *ledger, struct table_txn *txn, struct replay_leaf *read,
                            struct failure *failure);

/* --- for who only verifies --- */

/* Who replays a ledger to verify it, and never asks it for an entry, a proof, a row of the log or an attachment,
 * keeps what was seen in a way of its own. Then no rows are written but those that some decision reads. */
struct replay_aside {
    void *data;
    /* OK: an earlier leaf, `index`, has the same issued_at, actor and request id; ERR_NOT_FOUND. It may
     * have forgotten those that were added 10 minutes earlier by the leaves' times: they are stale by now. */
    enum err (*find)(void *data, uint64_t *index, const struct replay_leaf *read);
    enum err (*add)(void *data, const struct replay_leaf *read, uint64_t index, uint64_t time_ms);
};
/* From the next leaf on, for good; `aside` outlives the ledger. Its tables can't be opened as a ledger afterwards. */
void ledger_replay_aside(struct ledger *ledger, const struct replay_aside *aside);
/* The tree so far. */
void ledger_tree(struct tree *out, const struct ledger *ledger);

/* The attachment of a leaf, as encoded, after it was replayed. ERR_ATTACHMENT:
 * not the one that the leaf's operation names; ERR_NOT_FOUND: no such leaf or it
 * names none. OK and no change when it is there already. `ledger` may be NULL
 * (then a name search learns of it at the next open). */
enum err ledger_attach(struct ledger *ledger, struct table_txn *txn, uint64_t leaf_index, struct bytes attachment);

/* The first leaf at or after `from` whose attachment was named by a replayed leaf
 * and is not here yet; ERR_NOT_FOUND: none. */
enum err ledger_attachment_missing(uint64_t *leaf_index, struct table_txn *txn, uint64_t from);

/* One attachment as encoded, for a peer that pulls; ERR_NOT_FOUND: none, or erased. */
enum err ledger_attachment(struct buffer *out, struct table_txn *txn, uint64_t leaf_index);

#endif
