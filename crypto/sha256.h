/* SHA-256's compression with the CPU's own instructions (x86-64 with the SHA
 * extensions). Private to crypto: use crypto/hash.h, which decides. */
#ifndef CRYPTO_SHA256_H
#define CRYPTO_SHA256_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whether this CPU has them. Any thread. */
bool sha256_has_instructions(void);
/* FIPS 180-4, 6.2.2, over so many blocks of 64 bytes. Only where sha256_has_instructions. */
void sha256_blocks(uint32_t state[static 8], const uint8_t *data, size_t blocks);

#endif
