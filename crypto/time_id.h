/* Ids in the order of their making: UUID version 7 (RFC 9562, 5.7).
 *
 * Rows that are keyed by such ids and written together stand together, so that a commit
 * writes few pages. Nobody may rely on the time in one: it is what its maker's clock said.
 * Its 74 random bits keep ids apart, and from being guessed ahead.
 */
#ifndef CRYPTO_TIME_ID_H
#define CRYPTO_TIME_ID_H

#include <stdint.h>

#include "base/bytes.h"

#define TIME_ID_RANDOM 10 /* bytes, of which 74 bits are used */

/* A new one; only the low 48 bits of the time count. Any thread. */
struct id time_id(uint64_t unix_ms);
/* The same of given random bytes: bits 76 .. 79 and 62 .. 63 (from the right end) make way for version and variant. */
struct id time_id_of(uint64_t unix_ms, const uint8_t random[static TIME_ID_RANDOM]);

#endif
