#include "crypto/secret.h"

#include <sodium.h>
#include <string.h>

#include "base/check.h"

/* sodium_malloc puts the end of the data at the guard page, so an odd size would be misaligned. */
static size_t aligned(size_t size)
{
    const size_t unit = _Alignof(max_align_t);
    CHECK(size <= SIZE_MAX - unit);
    return (size + unit - 1) / unit * unit;
}

void *secret_alloc(size_t size)
{
    void *secret = sodium_malloc(aligned(size ? size : 1)); /* goes on unlocked where mlock fails */
    CHECK(secret != NULL);
    memset(secret, 0, size);
    return secret;
}

void secret_free(void *secret) { sodium_free(secret); }

bool secret_memory_locked(void)
{
    void *probe = secret_alloc(1);
    bool locked = sodium_mlock(probe, 1) == 0;
    secret_free(probe);
    return locked;
}

void secret_wipe(void *data, size_t size)
{
    if (size) sodium_memzero(data, size);
}

void secret_wipe_buffer(struct buffer *b)
{
    secret_wipe(b->data, b->capacity);
    buffer_free(b);
}

bool secret_equal(const void *a, const void *b, size_t size)
{
    return size == 0 || sodium_memcmp(a, b, size) == 0;
}

bool secret_is_zero(const void *data, size_t size) { return size == 0 || sodium_is_zero(data, size); }
