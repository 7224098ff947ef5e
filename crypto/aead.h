/* AES-256-GCM (NIST SP 800-38D) with 12-byte nonces, ciphertext || tag(16).
 *
 * For record content: each key encrypts exactly one message, so the nonce is
 * zero (AEAD_ZERO_NONCE). A second message under the same key and nonce would
 * give both plaintexts away: make a new key instead.
 *
 * libsodium has AES only for CPUs with instructions for it; elsewhere
 * mbedTLS's software does the same bytes. Chosen at the first use. Any thread. */
#ifndef CRYPTO_AEAD_H
#define CRYPTO_AEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"

#define AEAD_KEY_SIZE 32
#define AEAD_NONCE_SIZE 12
#define AEAD_TAG_SIZE 16

extern const uint8_t AEAD_ZERO_NONCE[AEAD_NONCE_SIZE];

/* Writes plain.size + AEAD_TAG_SIZE bytes. In place when plain.data == out,
 * otherwise they must not overlap. */
void aead_encrypt(uint8_t *out, const uint8_t key[static AEAD_KEY_SIZE],
                  const uint8_t nonce[static AEAD_NONCE_SIZE], struct bytes plain, struct bytes additional);
/* Writes sealed.size - AEAD_TAG_SIZE bytes. In place when out == sealed.data.
 * ERR_DECRYPT: too short, altered, other key, nonce or additional data; `out`
 * then holds nothing of the plaintext. */
enum err aead_decrypt(uint8_t *out, const uint8_t key[static AEAD_KEY_SIZE],
                      const uint8_t nonce[static AEAD_NONCE_SIZE], struct bytes sealed,
                      struct bytes additional);

/* The implementations, for tests that compare them. */
enum aead_engine { AEAD_SODIUM, AEAD_MBEDTLS };
bool aead_available(enum aead_engine engine);
void aead_use(enum aead_engine engine); /* must be available; for the whole process */

#endif
