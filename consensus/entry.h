/* The bytes of a block's Raft entry, and what a leader signs beside it.
 *
 *   entry      signature(64) || member index of the signer(1) || block (ledger/block.h)
 *
 * The signature goes where the block goes: into every log and to every peer, also
 * when a later leader sends it on. It names who made the block for (term, index).
 *
 *   statement  [index, hash(32), signature(64)] in a leader's heartbeats: "in my term
 *              I hold everything up to `index` committed, and the block there has this hash"
 *              over "consilium/commit/v1\n" || cluster || term (8) || index (8) || hash
 *
 * Two of either by one signer for one (term, index) are evidence against it (ledger/evidence.h).
 * Pure; any thread.
 */
#ifndef CONSENSUS_ENTRY_H
#define CONSENSUS_ENTRY_H

#include "consensus/raft.h"
#include "crypto/sign.h"
#include "ledger/block.h"

#define ENTRY_HEAD 65 /* before the block */

struct entry {
    struct signature signature;
    unsigned signer;
    struct bytes block;
};
/* Views into `in`. ERR_TRUNCATED. */
enum err entry_open(struct entry *out, struct bytes in);

/* `out` begins with ENTRY_HEAD bytes of room before the block: fills them. Hash of the block in place->hash. */
void entry_sign(struct buffer *out, struct block_place *place, unsigned signer, const struct sign_secret *secret);
/* OK or ERR_BAD_SIGNATURE. Sets place->hash. */
enum err entry_verify(const struct entry *entry, struct block_place *place, const struct sign_public *signer);

/* What identifies an entry of any type: a block's hash, else SHA-256 of its bytes. */
void entry_hash(struct digest *out, const struct raft_entry *entry);

void statement_sign(struct buffer *out, const struct block_place *place, const struct sign_secret *secret);
/* index and hash of *place (whose cluster and term are given) are filled; ledger/evidence.h verifies such a
 * statement. ERR_MALFORMED and the like. */
enum err statement_open(struct block_place *place, struct signature *signature, struct bytes in);

#endif
