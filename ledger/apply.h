/* Applying blocks: every node's own decision on every operation.
 *
 * Happy path of an operation: authentic (cluster, freshness, not a duplicate,
 * signature, attachment) -> decided by the policy and the state at its index ->
 * leaf, chain, tree -> the changes it makes -> its answer.
 * Without a leaf and without any change: ERR_BAD_SIGNATURE, ERR_UNKNOWN_ACTOR,
 * ERR_UNKNOWN_ACTION, ERR_OPERATION_FIELDS, ERR_OTHER_CLUSTER, ERR_STALE,
 * ERR_DUPLICATE, ERR_ATTACHMENT. Everything else leaves a leaf, approved or denied.
 *
 * Pure and deterministic: what it needs of the world are its arguments. All state
 * is in the transaction's tables; `struct ledger` holds what follows from them
 * (the tree's frontier, the parsed policy, caches), so: when a call fails, or the
 * transaction is aborted after one, free it and open it anew.
 * One thread at a time (the state thread).
 */
#ifndef LEDGER_APPLY_H
#define LEDGER_APPLY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/table.h"
#include "ledger/action.h"

struct block;
struct genesis;
struct ledger;

/* Leaf 0, the genesis members and administrators, the first policy, into empty
 * tables. ERR_EXISTS: not empty; ERR_CORRUPT: entries, but no ledger's mark; ERR_SYNTAX ...:
 * the genesis text is not valid. */
enum err ledger_create(struct ledger **out, struct table_txn *txn, struct bytes genesis_text,
                       struct failure *failure);
/* ERR_NOT_FOUND: the tables are empty (ledger_create is next). ERR_CORRUPT: some of it is lost. */
enum err ledger_open(struct ledger **out, struct table_txn *txn, struct failure *failure);
void ledger_free(struct ledger *ledger); /* NULL is fine */

/* --- what stands --- */

uint64_t ledger_size(const struct ledger *ledger); /* leaves */
struct digest ledger_root(const struct ledger *ledger);
struct digest ledger_last(const struct ledger *ledger); /* hash of the last leaf */
uint64_t ledger_time_ms(const struct ledger *ledger);   /* of the last leaf */
const struct genesis *ledger_genesis(const struct ledger *ledger);
/* Position of the last block applied; 0, 0 before the first. */
void ledger_applied(const struct ledger *ledger, uint64_t *raft_index, uint64_t *raft_term);
/* After replaying instead of applying: states the position. */
enum err ledger_set_applied(struct ledger *ledger, struct table_txn *txn, uint64_t raft_index, uint64_t raft_term);

/* --- blocks --- */

struct ledger_result {
    enum err code;       /* OK: a leaf; ERR_DUPLICATE: fields of the first; else none of them */
    uint64_t leaf_index;
    uint8_t decision;
    uint16_t reason;
    struct bytes leaf;   /* encoded; empty without one */
    struct bytes answer; /* [rows, cursor, left_out] (ledger/action.h); empty unless wanted and approved */
};

/* One per operation, in the block's order; reused from block to block. Views
 * stay valid until the next call with the same struct. Zero-initialise. */
struct ledger_results {
    struct ledger_result *items;
    size_t count, capacity;
    bool keygen_changed, policy_changed, alarms_changed;
    uint64_t digest_leaf; /* the last that asks for a digest of the state after this block; 0: none */
    struct buffer bytes; /* leaves and answers */
};
void ledger_results_free(struct ledger_results *results);

/* Applies a committed block. Signatures and attachments that a worker has checked
 * (request_check: the verdicts are kept in the block) are not checked again; all
 * others are. `wanted`: per request, whether this node answers its client, so
 * that answers are made; NULL: none. ERR_IO and the like: the store failed, the
 * ledger is not usable any more. */
enum err ledger_apply(struct ledger *ledger, struct table_txn *txn, struct ledger_results *results,
                      struct block *block, const bool *wanted, uint64_t raft_index, uint64_t raft_term);

/* What became of an operation, however long ago (ledger/lookup.c). ERR_NOT_FOUND:
 * not recorded so far; and it never will be once the ledger's time is past
 * issued_at + 5 minutes. ERR_TOO_LARGE: the actor made too many entries
 * within these minutes to look through. Any transaction and thread. */
enum err ledger_lookup(uint64_t *leaf_index, uint8_t *decision, uint16_t *reason, struct table_txn *txn,
                       enum actor_kind kind, const struct id *actor, uint64_t issued_at_ms,
                       const struct id *request_id);

#endif
