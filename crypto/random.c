#include "crypto/random.h"

#include <sodium.h>

#include "base/check.h"

void crypto_init(void) { CHECK(sodium_init() >= 0); }

void random_bytes(void *out, size_t size)
{
    if (size) randombytes_buf(out, size);
}

struct id random_id(void)
{
    struct id id = {{0}};
    random_bytes(id.bytes, sizeof id.bytes);
    return id;
}

uint32_t random_below(uint32_t bound)
{
    CHECK(bound > 0);
    return randombytes_uniform(bound);
}
