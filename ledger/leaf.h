/* A leaf of the ledger.
 *
 *   [1, index, time_ms, previous(32), operation (bin), [position, count, [hash(32) ...]], signature(64),
 *    decision, reason, subject (bin 0 or 16)]
 *   leaf 0: [1, 0, 0, 32 zero bytes, genesis (bin)]
 *
 * `previous` is the leaf hash of the leaf before: the chain lives inside the
 * leaves. `path` and `signature` are those of the request that the operation
 * came in, so a leaf is verified alone. Any thread. */
#ifndef LEDGER_LEAF_H
#define LEDGER_LEAF_H

#include <stdint.h>

#include "base/bytes.h"
#include "base/limits.h"
#include "ledger/operation.h"
#include "ledger/request.h"
#include "ledger/tree.h"

#define LEAF_VERSION 1
#define LIMIT_LEAF (LIMIT_OPERATION + 512)   /* all but leaf 0 */
#define LIMIT_LEAF_0 (LIMIT_GENESIS + 64)

struct leaf {
    uint64_t index;
    uint64_t time_ms;
    struct digest previous;
    struct bytes genesis; /* of leaf 0; then all below is zero */

    struct operation operation; /* operation.raw is what is encoded */
    uint32_t position, count;   /* in its request */
    uint32_t path_count;        /* always tree_inclusion_size(position, count) */
    struct digest path[LIMIT_REQUEST_PATH];
    struct signature signature;
    enum decision decision;
    uint32_t reason;   /* an enum reason; REASON_NONE exactly when approved */
    struct id subject; /* the person affected; zero: nobody */

    struct bytes raw; /* set by the decoder */
};

/* Appends. Fields are valid (CHECK). */
void leaf_encode(struct buffer *out, const struct leaf *leaf);
/* Sets operation (raw, from the request), path and signature of a leaf to be made. */
void leaf_set_operation(struct leaf *leaf, const struct request *request, uint32_t position);
/* Views into `in`. ERR_TOO_LARGE, ERR_VERSION, errors of base/pack.h and of operation_decode. */
enum err leaf_decode(struct leaf *out, struct bytes in);
/* SHA-256(0x00 || leaf) = tree_leaf_hash. */
void leaf_hash(struct digest *out, struct bytes leaf);
/* The signature over the request's root that operation and path lead to.
 * OK or ERR_BAD_SIGNATURE; not for leaf 0 (CHECK). Whose key it is, and that it
 * was valid then, only the state says. */
enum err leaf_verify(const struct leaf *leaf, const struct sign_public *key);

#endif
