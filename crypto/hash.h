/* SHA-256, SHA-512 (FIPS 180-4), HMAC-SHA-256 (RFC 2104), HKDF-SHA-256 (RFC 5869).
 *
 * SHA-256 is nettle's, which uses the CPU's instructions for it where it has them:
 * four times as fast as libsodium's portable code, and a write is hashed about
 * twelve times on three nodes. The rest is libsodium's.
 * Pure functions of their input; any thread. What is hashed is domain-tagged by
 * the caller. A `parts` call hashes the concatenation, so that nobody copies
 * pieces together only to hash them. */
#ifndef CRYPTO_HASH_H
#define CRYPTO_HASH_H

#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

void hash_sha256(struct digest *out, const void *data, size_t size);
void hash_sha256_parts(struct digest *out, const struct bytes *parts, size_t count);
void hash_sha512(uint8_t out[static 64], const void *data, size_t size);
void hash_sha512_parts(uint8_t out[static 64], const struct bytes *parts, size_t count);

/* Incremental SHA-256: start, add any number of times, end (which wipes the state). */
struct hash {
    uint64_t state[16]; /* opaque */
};
void hash_start(struct hash *h);
void hash_add(struct hash *h, const void *data, size_t size);
void hash_end(struct digest *out, struct hash *h);

/* A key of any length. */
void hmac_sha256(struct digest *out, struct bytes key, struct bytes message);
void hmac_sha256_parts(struct digest *out, struct bytes key, const struct bytes *parts, size_t count);

/* Extract and expand. `size` is 1 .. 255 * 32; an empty salt is 32 zero bytes. */
void hkdf_sha256(uint8_t *out, size_t size, struct bytes ikm, struct bytes salt, struct bytes info);

/* SipHash-2-4 with 128 bits (Aumasson, Bernstein: SipHash, 2012; libsodium's siphashx24): a pseudorandom function for
 * short input, several times as fast as HMAC. For tables in memory under a random key, not for what is stored or
 * signed. */
#define SIPHASH_KEY 16
#define SIPHASH_SIZE 16
void siphash(uint8_t out[static SIPHASH_SIZE], const uint8_t key[static SIPHASH_KEY], const void *data, size_t size);

#endif
