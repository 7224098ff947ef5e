/* AES-256-GCM where the CPU has no AES. Private to crypto: use crypto/aead.h,
 * whose contract these two share. */
#ifndef CRYPTO_AEAD_MBEDTLS_H
#define CRYPTO_AEAD_MBEDTLS_H

#include "crypto/aead.h"

void aead_mbedtls_encrypt(uint8_t *out, const uint8_t key[static AEAD_KEY_SIZE],
                          const uint8_t nonce[static AEAD_NONCE_SIZE], struct bytes plain,
                          struct bytes additional);
enum err aead_mbedtls_decrypt(uint8_t *out, const uint8_t key[static AEAD_KEY_SIZE],
                              const uint8_t nonce[static AEAD_NONCE_SIZE], struct bytes sealed,
                              struct bytes additional);

#endif
