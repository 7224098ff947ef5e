#include "consensus/entry.h"

#include <string.h>

#include "base/check.h"
#include "base/pack.h"
#include "crypto/hash.h"
#include "ledger/evidence.h"

enum err entry_open(struct entry *out, struct bytes in)
{
    *out = (struct entry){0};
    if (in.size <= ENTRY_HEAD) return ERR_TRUNCATED;
    memcpy(out->signature.bytes, in.data, sizeof out->signature.bytes);
    out->signer = in.data[ENTRY_HEAD - 1];
    out->block = (struct bytes){in.data + ENTRY_HEAD, in.size - ENTRY_HEAD};
    return OK;
}

void entry_sign(struct buffer *out, struct block_place *place, unsigned signer, const struct sign_secret *secret)
{
    struct signature signature;
    CHECK(out->size > ENTRY_HEAD && signer >= 1 && signer <= LIMIT_NODES);
    block_hash(&place->hash, (struct bytes){out->data + ENTRY_HEAD, out->size - ENTRY_HEAD});
    block_sign(&signature, place, secret);
    memcpy(out->data, signature.bytes, sizeof signature.bytes);
    out->data[ENTRY_HEAD - 1] = (uint8_t)signer;
}

enum err entry_verify(const struct entry *entry, struct block_place *place, const struct sign_public *signer)
{
    block_hash(&place->hash, entry->block);
    return block_verify(&entry->signature, place, signer);
}

void entry_hash(struct digest *out, const struct raft_entry *entry)
{
    struct bytes bytes = raft_blob_bytes(entry->blob);
    struct entry opened;
    if (entry->type == RAFT_ENTRY_BLOCK && entry_open(&opened, bytes) == OK)
        block_hash(out, opened.block);
    else
        hash_sha256(out, bytes.data, bytes.size);
}

void statement_sign(struct buffer *out, const struct block_place *place, const struct sign_secret *secret)
{
    struct statement s = {.kind = STATEMENT_COMMIT, .term = place->term, .index = place->index, .hash = place->hash};
    evidence_statement_sign(&s, &place->cluster, secret);
    pack_array(out, 3);
    pack_uint(out, place->index);
    pack_digest(out, &place->hash);
    pack_bin(out, s.signature.bytes, sizeof s.signature.bytes);
}

enum err statement_open(struct block_place *place, struct signature *signature, struct bytes in)
{
    struct unpack u = unpack_start(in);
    unpack_array_of(&u, 3);
    place->index = unpack_uint(&u);
    place->hash = unpack_digest(&u);
    unpack_bin_exact(&u, signature->bytes, sizeof signature->bytes);
    return unpack_done(&u);
}
