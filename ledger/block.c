#include "ledger/block.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "crypto/hash.h"
#include "ledger/fields.h"

static const char signed_tag[] = "consilium/block/v1\n";
static_assert(sizeof signed_tag - 1 + 2 * sizeof(struct digest) + 16 == BLOCK_SIGNED_SIZE,
              "tag, cluster, term, index, hash");

void block_encode(struct buffer *out, uint64_t time_ms, const struct bytes *requests, uint32_t count)
{
    CHECK(count <= LIMIT_BLOCK_REQUESTS && time_ms <= TIME_MAX_MS);
    pack_array(out, 2);
    pack_uint(out, time_ms);
    pack_array(out, count);
    for (uint32_t i = 0; i < count; i++)
        pack_bytes(out, requests[i]);
}

static struct unpack block_start(uint64_t *time_ms, struct bytes in)
{
    struct unpack u = unpack_start(in);
    unpack_array_of(&u, 2);
    *time_ms = unpack_time(&u);
    return u;
}

enum err block_decode(struct block *out, struct bytes in)
{
    *out = (struct block){.raw = in};
    if (in.size > LIMIT_BLOCK) return ERR_TOO_LARGE;
    struct unpack u = block_start(&out->time_ms, in);
    uint32_t count = unpack_array(&u, LIMIT_BLOCK_REQUESTS);
    if (count != 0 && !(out->requests = calloc(count, sizeof *out->requests))) return ERR_NOMEM;
    enum err e = u.error;
    for (; e == OK && out->count < count; out->count += e == OK) {
        struct bytes raw = unpack_bin(&u, LIMIT_REQUEST);
        e = u.error != OK ? u.error : request_decode(&out->requests[out->count], raw);
    }
    if (e == OK) e = unpack_done(&u);
    if (e != OK) block_free(out);
    return e;
}

void block_free(struct block *block)
{
    for (uint32_t i = 0; i < block->count; i++)
        request_free(&block->requests[i]);
    free(block->requests);
    *block = (struct block){0};
}

void block_hash(struct digest *out, struct bytes block) { hash_sha256(out, block.data, block.size); }

void block_signed_bytes(uint8_t out[static BLOCK_SIGNED_SIZE], const struct block_place *place)
{
    memcpy(out, signed_tag, sizeof signed_tag - 1);
    out += sizeof signed_tag - 1;
    memcpy(out, place->cluster.bytes, sizeof place->cluster.bytes);
    out += sizeof place->cluster.bytes;
    put_be64(out, place->term);
    put_be64(out + 8, place->index);
    memcpy(out + 16, place->hash.bytes, sizeof place->hash.bytes);
}

void block_sign(struct signature *out, const struct block_place *place, const struct sign_secret *secret)
{
    uint8_t message[BLOCK_SIGNED_SIZE];
    block_signed_bytes(message, place);
    sign_message(out, secret, BYTES(message));
}

enum err block_verify(const struct signature *signature, const struct block_place *place,
                      const struct sign_public *leader)
{
    uint8_t message[BLOCK_SIGNED_SIZE];
    block_signed_bytes(message, place);
    return sign_verify(signature, leader, BYTES(message));
}
