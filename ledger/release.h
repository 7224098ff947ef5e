/* What an approved read opens: fixed by its apply, by leaf index. The state of
 * now may only refuse. Only transactions, no struct ledger: any thread.
 *
 * A reader of CONTENT or SHARES loads the release, then its items one by one. A
 * node gives shares only once a checkpoint with k cosignatures covers leaf_index;
 * that is the caller's to check.
 */
#ifndef LEDGER_RELEASE_H
#define LEDGER_RELEASE_H

#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/limits.h"
#include "base/table.h"
#include "ledger/state.h"

struct release {
    uint64_t leaf_index;
    struct id reader;       /* the actor: only that user's session may ask */
    uint8_t reader_key[32]; /* X25519, of the operation: shares are sealed to it */
    size_t count;
    struct opened_rest rest;
    struct opened items[LIMIT_OPENED];
};

/* ERR_NOT_FOUND: no such leaf, or it is no approved record.read; ERR_DENIED: the
 * reader is disabled, or the key that signed it is revoked, by now. */
enum err release_load(struct release *out, struct table_txn *txn, uint64_t leaf_index);

/* What a share of item `position` (below count) is computed from: context, capsule
 * and the ciphertext's hash, without reading the ciphertext. ERR_NOT_FOUND: erased
 * by now, or not here yet. */
enum err release_info(struct content_info *out, struct table_txn *txn, const struct release *release, size_t position);

/* The ciphertext of item `position`, checked against the hash in `info`. */
enum err release_ciphertext(struct buffer *out, struct table_txn *txn, const struct release *release,
                            size_t position, const struct content_info *info);

#endif
