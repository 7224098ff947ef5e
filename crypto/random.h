/* Random bytes from the kernel, and the library's start. */
#ifndef CRYPTO_RANDOM_H
#define CRYPTO_RANDOM_H

#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

/* Call first in main, and in each test program; again is harmless. Ends the
 * process when the system has no source of randomness, or its libsodium other
 * rules for signatures than the ledger (crypto/sign.h). Any thread. */
void crypto_init(void);

/* Never fail; any thread; safe after fork. */
void random_bytes(void *out, size_t size);
struct id random_id(void);
uint32_t random_below(uint32_t bound); /* uniform in 0 .. bound - 1; bound > 0 */

#endif
