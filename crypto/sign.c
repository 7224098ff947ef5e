#include "crypto/sign.h"

#include <assert.h>
#include <sodium.h>

#include "base/check.h"

static_assert(sizeof(struct sign_public) == crypto_sign_PUBLICKEYBYTES &&
                  sizeof(struct sign_secret) == crypto_sign_SECRETKEYBYTES &&
                  sizeof(struct signature) == crypto_sign_BYTES && SIGN_SEED_SIZE == crypto_sign_SEEDBYTES,
              "libsodium's sizes");

void sign_keypair(struct sign_secret *secret, struct sign_public *public_key,
                  const uint8_t seed[static SIGN_SEED_SIZE])
{
    CHECK(crypto_sign_seed_keypair(public_key->bytes, secret->bytes, seed) == 0);
}

void sign_message(struct signature *out, const struct sign_secret *secret, struct bytes message)
{
    CHECK(crypto_sign_detached(out->bytes, NULL, message.data, message.size, secret->bytes) == 0);
}

enum err sign_verify(const struct signature *signature, const struct sign_public *public_key,
                     struct bytes message)
{
    int bad = crypto_sign_verify_detached(signature->bytes, message.data, message.size, public_key->bytes);
    return bad ? ERR_BAD_SIGNATURE : OK;
}
