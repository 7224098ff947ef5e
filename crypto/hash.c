#include "crypto/hash.h"

#include <assert.h>
#include <nettle/sha2.h>
#include <sodium.h>
#include <string.h>

#include "base/check.h"
#include "crypto/secret.h"

static_assert(sizeof(struct hash) >= sizeof(struct sha256_ctx) && _Alignof(struct hash) >= _Alignof(struct sha256_ctx),
              "struct hash holds nettle's state");

static struct sha256_ctx *state_of(struct hash *h) { return (void *)h->state; }

/* --- SHA-256 --- */

void hash_start(struct hash *h) { sha256_init(state_of(h)); }

void hash_add(struct hash *h, const void *data, size_t size)
{
    if (size) sha256_update(state_of(h), size, data);
}

void hash_end(struct digest *out, struct hash *h)
{
    sha256_digest(state_of(h), sizeof out->bytes, out->bytes);
    secret_wipe(h, sizeof *h);
}

void hash_sha256(struct digest *out, const void *data, size_t size)
{
    struct hash h;
    hash_start(&h);
    hash_add(&h, data, size);
    hash_end(out, &h);
}

void hash_sha256_parts(struct digest *out, const struct bytes *parts, size_t count)
{
    struct hash h;
    hash_start(&h);
    for (size_t i = 0; i < count; i++)
        hash_add(&h, parts[i].data, parts[i].size);
    hash_end(out, &h);
}

void hash_sha512(uint8_t out[static 64], const void *data, size_t size)
{
    struct bytes part = bytes_of(data, size);
    hash_sha512_parts(out, &part, 1);
}

void hash_sha512_parts(uint8_t out[static 64], const struct bytes *parts, size_t count)
{
    crypto_hash_sha512_state h;
    crypto_hash_sha512_init(&h);
    for (size_t i = 0; i < count; i++)
        if (parts[i].size) crypto_hash_sha512_update(&h, parts[i].data, parts[i].size);
    crypto_hash_sha512_final(&h, out);
    secret_wipe(&h, sizeof h);
}

void hmac_sha256(struct digest *out, struct bytes key, struct bytes message)
{
    hmac_sha256_parts(out, key, &message, 1);
}

void hmac_sha256_parts(struct digest *out, struct bytes key, const struct bytes *parts, size_t count)
{
    static const uint8_t none[1];
    crypto_auth_hmacsha256_state h;
    crypto_auth_hmacsha256_init(&h, key.size ? key.data : none, key.size);
    for (size_t i = 0; i < count; i++)
        if (parts[i].size) crypto_auth_hmacsha256_update(&h, parts[i].data, parts[i].size);
    crypto_auth_hmacsha256_final(&h, out->bytes);
    secret_wipe(&h, sizeof h);
}

void hkdf_sha256(uint8_t *out, size_t size, struct bytes ikm, struct bytes salt, struct bytes info)
{
    CHECK(size > 0 && size <= 255 * sizeof(struct digest));
    struct digest key, block;
    hmac_sha256(&key, salt, ikm); /* RFC 5869 2.2; HMAC pads an empty salt to zeros by itself */
    struct bytes previous = {0};
    for (uint8_t counter = 1; size; counter++) {
        const struct bytes parts[] = {previous, info, bytes_of(&counter, 1)};
        hmac_sha256_parts(&block, BYTES(key.bytes), parts, 3);
        size_t n = size < sizeof block.bytes ? size : sizeof block.bytes;
        memcpy(out, block.bytes, n);
        out += n;
        size -= n;
        previous = BYTES(block.bytes);
    }
    secret_wipe(&key, sizeof key);
    secret_wipe(&block, sizeof block);
}

/* --- SipHash --- */

static_assert(SIPHASH_KEY == crypto_shorthash_siphashx24_KEYBYTES && SIPHASH_SIZE == crypto_shorthash_siphashx24_BYTES,
              "libsodium's sizes");

void siphash(uint8_t out[static SIPHASH_SIZE], const uint8_t key[static SIPHASH_KEY], const void *data, size_t size)
{
    crypto_shorthash_siphashx24(out, data, size, key);
}
