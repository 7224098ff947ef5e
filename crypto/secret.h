/* Memory for secrets, wiping, comparison in constant time.
 *
 * secret_alloc gives zeroed memory with inaccessible pages before and after it
 * and a canary, kept out of core dumps, and out of swap where the system lets
 * this process lock memory (RLIMIT_MEMLOCK). Where it does not, secrets still
 * work and secret_memory_locked() says false, so that the node can tell its
 * operator once instead of refusing to run. Each allocation costs four pages:
 * for long-lived keys; short-lived secrets live on the stack and are wiped. */
#ifndef CRYPTO_SECRET_H
#define CRYPTO_SECRET_H

#include <stdbool.h>
#include <stddef.h>

#include "base/bytes.h"

/* Never NULL; aligned for any type; secret_free wipes. Any thread. */
void *secret_alloc(size_t size);
void secret_free(void *secret); /* NULL is nothing */

/* Whether a page can be locked now (tries one). */
bool secret_memory_locked(void);

/* Not removed by the compiler. */
void secret_wipe(void *data, size_t size);
void secret_wipe_buffer(struct buffer *b); /* all its capacity, then frees it; where it grew, see its `secret` */

/* Time depends on `size` only. */
bool secret_equal(const void *a, const void *b, size_t size);
bool secret_is_zero(const void *data, size_t size);

#endif
