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

/* The caller has verified this signature over a request's count and root under this
 * key. A leaf replayed next that carries exactly it is not verified once more,
 * provided that the state names this very key. */
void ledger_replay_verified(struct ledger *ledger, uint32_t count, const struct digest *root,
                            const struct sign_public *key, const struct signature *signature);

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
