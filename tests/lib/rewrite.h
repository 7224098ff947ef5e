/* A ledger rewritten so that it fits together: what an administrator who knows every rule could make of a node's
 * store. All tables are derived anew from the leaves, as a node derives them, so that nothing of the old ones
 * gives the change away. In one transaction that the caller ends; attachments stay where their leaves do. */
#ifndef TESTS_LIB_REWRITE_H
#define TESTS_LIB_REWRITE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/table.h"
#include "crypto/sign.h"

/* The node's own key for checkpoints. */
struct rewrite_cosigner {
    struct sign_public public_key;
    const struct sign_secret *secret;
};

/* Entry `index` happened when the one before it did, and every later entry hangs on that. The kept checkpoint is one of
 * that ledger, of this node's own cosignature; `copied`: the others are those of the right one.
 * ERR_INVALID: both have the same time already, or there is no checkpoint to replace. */
enum err rewrite_forge(struct table_txn *txn, uint64_t index, const struct rewrite_cosigner *own, bool copied);

/* Nothing is left of what came after the first `size` entries, but the mark up to where the Raft log was applied: the
 * node goes on from there. ERR_INVALID: it has fewer. */
enum err rewrite_cut(struct table_txn *txn, uint64_t size);
/* Nothing of what came after the newest kept checkpoint of at most `most` entries, nor that mark: where the node stood
 * then. ERR_NOT_FOUND: no such checkpoint. */
enum err rewrite_cut_back(struct table_txn *txn, uint64_t most);

#endif
