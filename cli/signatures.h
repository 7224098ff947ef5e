/* Request signatures of leaves, verified ahead on all processors: they are most of
 * what replaying a ledger costs. Only a speed-up: replay takes a verdict for a leaf
 * only with exactly the key that the state names, and verifies what it has none for. */
#ifndef CLI_SIGNATURES_H
#define CLI_SIGNATURES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/table.h"
#include "crypto/sign.h"
#include "ledger/genesis.h"
#include "ledger/leaf.h"

struct signature_check {
    bool good; /* it was verified, under this key */
    bool due, again; /* again: the same as that of the leaf before */
    uint32_t count; /* of operations in the request */
    struct digest root;
    struct sign_public key;
    struct signature signature;
};

struct signatures; /* room, and keys seen before */
struct signatures *signatures_new(const struct genesis *genesis);
void signatures_free(struct signatures *s); /* NULL is nothing */

/* Checks of `count` leaves, in order, at most LIMIT_LEAVES; valid until the next
 * call. Keys are looked for in the state as the transaction has it. Leaves that
 * don't decode, or whose actor is not there yet, are not checked. */
const struct signature_check *signatures_check(struct signatures *s, struct table_txn *txn, const struct bytes *leaves,
                                               uint32_t count);

#endif
