/* A block: the content of one Raft entry.
 *
 *   [leader_time_ms, [request (bin) ...]]
 *
 * No requests: a no-op block, which makes no leaf. The leader signs
 *   "consilium/block/v1\n" || cluster(32) || term (8, big-endian) || index (8) || hash(32)
 * with its message key, hash = SHA-256(block): two such signatures for one
 * (term, index) are evidence against it. The signature travels beside the block. */
#ifndef LEDGER_BLOCK_H
#define LEDGER_BLOCK_H

#include <stdint.h>

#include "base/bytes.h"
#include "base/limits.h"
#include "crypto/sign.h"
#include "ledger/request.h"

/* Sizes for filling a block up to LIMIT_BLOCK. */
#define BLOCK_OVERHEAD 16        /* of a block, at most */
#define BLOCK_REQUEST_OVERHEAD 5 /* of each request, at most */

struct block {
    uint64_t time_ms;
    uint32_t count;
    struct request *requests; /* owned; their bytes are views */
    struct bytes raw;
};

/* Appends. At most LIMIT_BLOCK_REQUESTS (CHECK). */
void block_encode(struct buffer *out, uint64_t time_ms, const struct bytes *requests, uint32_t count);
/* Views into `in`, which outlives the block. ERR_TOO_LARGE, ERR_NOMEM, or what
 * request_decode says of the first bad request: a follower refuses such a block
 * at admission. Pure: a block that does not decode is, should a malicious
 * majority commit it, a no-op for every node (all but ERR_NOMEM). */
enum err block_decode(struct block *out, struct bytes in);
void block_free(struct block *block); /* also of a zero-initialised one */

void block_hash(struct digest *out, struct bytes block);
struct block_place {
    struct digest cluster;
    uint64_t term, index; /* of Raft */
    struct digest hash;
};
#define BLOCK_SIGNED_SIZE (19 + 32 + 8 + 8 + 32)
void block_signed_bytes(uint8_t out[static BLOCK_SIGNED_SIZE], const struct block_place *place);
void block_sign(struct signature *out, const struct block_place *place, const struct sign_secret *secret);
enum err block_verify(const struct signature *signature, const struct block_place *place,
                      const struct sign_public *leader); /* OK or ERR_BAD_SIGNATURE */

#endif
