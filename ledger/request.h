/* A request: 1 to 64 operations of one actor under one signature.
 *
 *   [[operation (bin) ...], [attachment (bin, empty if none) ...], signature(64)]
 *
 * Both lists have the same length. Ed25519 signs
 *   "consilium/request/v1\n" || count (8 bytes, big-endian) || root (32)
 * where root is the RFC 9162 tree hash over the operations' bytes. The key is
 * found by the actor's id and key id. So a leaf can carry one operation with its
 * path to the root and is verified alone, and a node checks one signature for all.
 *
 * All operations have the same cluster and actor, and different request ids. */
#ifndef LEDGER_REQUEST_H
#define LEDGER_REQUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/limits.h"
#include "crypto/sign.h"
#include "ledger/attachment.h"
#include "ledger/operation.h"
#include "ledger/tree.h"

#define LIMIT_REQUEST_PATH 6 /* hashes: log2(LIMIT_OPERATIONS) */

#define REQUEST_SIGNED_SIZE (21 + 8 + 32)
/* The bytes that are signed. */
void request_signed_bytes(uint8_t out[static REQUEST_SIGNED_SIZE], uint64_t count, const struct digest *root);

/* --- reading --- */

enum verdict { VERDICT_UNKNOWN, VERDICT_GOOD, VERDICT_BAD };

struct request_item {
    struct operation operation;
    struct bytes attachment;      /* encoded; empty if none */
    enum verdict attachment_good; /* see request_item_attachment */
};
struct request {
    struct bytes raw;
    uint32_t count;
    struct request_item *items; /* owned */
    struct digest *nodes;       /* owned: tree_list_build over the operations */
    struct digest root;
    struct signature signature;
    /* The signature's verdict and the key it holds for; see request_verify. */
    enum verdict verified;
    struct sign_public verified_key;
};

/* Views into `in`, which outlives the request. Hashes the operations; checks no
 * signature and no attachment. ERR_TOO_LARGE above LIMIT_REQUEST; ERR_INVALID:
 * different actors or clusters, or a request id twice; ERR_NOMEM; the errors of
 * operation_decode and base/pack.h. On error nothing is owned. */
enum err request_decode(struct request *out, struct bytes in);
void request_free(struct request *request); /* also of a zero-initialised one */

/* OK or ERR_BAD_SIGNATURE under this key. The verdict is kept with the key: a
 * worker asks first, in parallel with persistence, and apply's question with the
 * key that the state names costs nothing when it is the same key. One thread at
 * a time. */
enum err request_verify(struct request *request, const struct sign_public *key);
/* OK, or ERR_ATTACHMENT: not well-formed, another hash, missing, or there
 * without a hash. Kept likewise, so that a worker hashes large attachments.
 * `out` may be NULL; OK with zeroed `out` where the operation has none. */
enum err request_item_attachment(struct request_item *item, struct attachment *out);
/* Both for all, in a worker. Errors are kept in the verdicts, not returned. */
void request_check(struct request *request, const struct sign_public *key);
/* Whether any of its actions is one that this program knows; else it leaves nothing, whoever signed it. */
bool request_is_known(const struct request *request);
/* The path of one operation, for its leaf. */
void request_path(struct tree_proof *out, const struct request *request, uint32_t position);

/* --- making --- */

/* Zero-initialised is empty; request_builder_free when done or given up. */
struct request_builder {
    uint32_t count;
    struct digest cluster;
    struct actor actor;
    struct id request_ids[LIMIT_OPERATIONS];
    struct buffer operations[LIMIT_OPERATIONS];
    struct buffer attachments[LIMIT_OPERATIONS];
    size_t size;                            /* of the request so far, rounded up */
};
/* Adds an operation. `attachment` is the encoded attachment, or empty; its hash
 * is put into the operation (op->attachment is ignored). ERR_TOO_LARGE: too many,
 * or over a limit (nothing added: sign what there is and start another);
 * ERR_INVALID: another actor or cluster, or a request id twice; ERR_NOMEM. */
enum err request_builder_add(struct request_builder *b, const struct operation *op, struct bytes attachment);
/* Signs and appends the encoding; at least one operation (CHECK). ERR_NOMEM. */
enum err request_builder_sign(struct buffer *out, const struct request_builder *b, const struct sign_secret *secret);
void request_builder_free(struct request_builder *b);

#endif
