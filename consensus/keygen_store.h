/* What a node keeps for itself of a key generation: rows of the node-local table
 * dkg_secret, sealed like every value. Functions of the state thread (or of any
 * thread with a transaction); secrets are wiped by the caller.
 *
 *   secret(1) 'p' attempt(4)   [polynomial, [sealed sub-share for member 1 .. n]]
 *   secret(1) 'r' attempt(4)   [[sub-share of dealer 1 .. n, or empty]]
 *   secret(1) 'x' epoch(8)     share
 */
#ifndef CONSENSUS_KEYGEN_STORE_H
#define CONSENSUS_KEYGEN_STORE_H

#include "base/limits.h"
#include "base/table.h"
#include "crypto/dkg.h"
#include "crypto/seal.h"

struct keygen_own {
    bool exists;
    uint32_t attempt;
    struct dkg_polynomial polynomial;
    uint8_t sealed[LIMIT_NODES + 1][32 + SEAL_BOX_OVERHEAD]; /* for member i; the same bytes at every sending */
};
struct keygen_received {
    bool any;
    bool has[LIMIT_NODES + 1];
    struct scalar subshares[LIMIT_NODES + 1]; /* of dealer i, verified */
};

/* Absent rows: exists or any is false, and OK. */
enum err keygen_own_get(struct keygen_own *out, struct table_txn *txn, uint8_t secret, uint32_t attempt, unsigned n);
enum err keygen_own_put(struct table_txn *txn, uint8_t secret, const struct keygen_own *own, unsigned n);
enum err keygen_received_get(struct keygen_received *out, struct table_txn *txn, uint8_t secret, uint32_t attempt,
                             unsigned n);
enum err keygen_received_put(struct table_txn *txn, uint8_t secret, uint32_t attempt,
                             const struct keygen_received *received, unsigned n);
/* ERR_NOT_FOUND */
enum err keygen_share_get(struct scalar *out, struct table_txn *txn, uint8_t secret, uint64_t epoch);
enum err keygen_share_put(struct table_txn *txn, uint8_t secret, uint64_t epoch, const struct scalar *share);
/* Polynomials and sub-shares of this attempt and the ones before; shares stay. */
enum err keygen_wipe(struct table_txn *txn, uint8_t secret, uint32_t attempt);

#endif
