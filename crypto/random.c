#include "crypto/random.h"

#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/log.h"
#include "crypto/sign.h"

static void check_rules(void)
{
    if (sign_rules_hold()) return;
    log_error("crypto",
              "libsodium %s takes Ed25519 signatures that other nodes refuse (it verifies with the cofactor): build with "
              "libsodium 1.0.18",
              sodium_version_string());
    exit(1);
}

void crypto_init(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    CHECK(sodium_init() >= 0);
    CHECK(pthread_once(&once, check_rules) == 0);
}

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
