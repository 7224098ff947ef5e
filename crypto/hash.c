#include "crypto/hash.h"

#include <assert.h>
#include <sodium.h>
#include <string.h>

#include "base/check.h"
#include "crypto/secret.h"
#include "crypto/sha256.h"

static_assert(sizeof(struct hash) >= sizeof(crypto_hash_sha256_state) &&
                  _Alignof(struct hash) >= _Alignof(crypto_hash_sha256_state),
              "struct hash holds libsodium's state");

static crypto_hash_sha256_state *state_of(struct hash *h) { return (void *)h->state.sodium; }

/* --- with the CPU's instructions --- */

static void own_start(struct hash *h)
{
    static const uint32_t initial[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                        0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    memcpy(h->state.own.words, initial, sizeof initial);
    h->state.own.size = 0;
}

static void own_add(struct hash *h, const uint8_t *data, size_t size)
{
    size_t held = h->state.own.size % 64;
    h->state.own.size += size;
    if (held > 0) {
        size_t n = size < 64 - held ? size : 64 - held;
        memcpy(h->state.own.tail + held, data, n);
        if (held + n < 64) return;
        sha256_blocks(h->state.own.words, h->state.own.tail, 1);
        data += n;
        size -= n;
    }
    sha256_blocks(h->state.own.words, data, size / 64);
    memcpy(h->state.own.tail, data + size / 64 * 64, size % 64);
}

/* FIPS 180-4, 5.1.1: a one bit, zeros, and the length in bits end the last block. */
static void own_end(struct digest *out, struct hash *h)
{
    uint8_t *tail = h->state.own.tail;
    size_t held = h->state.own.size % 64;
    tail[held++] = 0x80;
    if (held > 56) {
        memset(tail + held, 0, 64 - held);
        sha256_blocks(h->state.own.words, tail, 1);
        held = 0;
    }
    memset(tail + held, 0, 56 - held);
    put_be64(tail + 56, h->state.own.size * 8);
    sha256_blocks(h->state.own.words, tail, 1);
    for (size_t i = 0; i < 8; i++)
        put_be32(out->bytes + 4 * i, h->state.own.words[i]);
}

/* --- SHA-256 --- */

void hash_start(struct hash *h)
{
    if (sha256_has_instructions())
        own_start(h);
    else
        crypto_hash_sha256_init(state_of(h));
}

void hash_add(struct hash *h, const void *data, size_t size)
{
    if (size == 0) return;
    if (sha256_has_instructions())
        own_add(h, data, size);
    else
        crypto_hash_sha256_update(state_of(h), data, size);
}

void hash_end(struct digest *out, struct hash *h)
{
    if (sha256_has_instructions())
        own_end(out, h);
    else
        crypto_hash_sha256_final(state_of(h), out->bytes);
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
