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

/* By the key of RFC 8032 section 7.1, test 1. R is r times the base point plus a point of order 8, so S*B - h*A is not
 * R, but 8 times the one is 8 times the other. */
bool sign_rules_hold(void)
{
    static const struct sign_public key = {{0xd7, 0x5a, 0x98, 0x01, 0x82, 0xb1, 0x0a, 0xb7, 0xd5, 0x4b, 0xfe,
                                            0xd3, 0xc9, 0x64, 0x07, 0x3a, 0x0e, 0xe1, 0x72, 0xf3, 0xda, 0xa6,
                                            0x23, 0x25, 0xaf, 0x02, 0x1a, 0x68, 0xf7, 0x07, 0x51, 0x1a}};
    static const struct signature mixed = {
        {0x03, 0x21, 0x33, 0x0b, 0x6c, 0x5f, 0x18, 0x46, 0x91, 0xaa, 0xb4, 0x70, 0x33, 0x96, 0x02, 0xbc,
         0x6b, 0xdb, 0x50, 0xbd, 0xfe, 0x85, 0x11, 0x6f, 0xc2, 0x78, 0x94, 0xe2, 0x7e, 0x44, 0xdd, 0x52,
         0xf8, 0xc9, 0x2b, 0x0a, 0x97, 0x22, 0x2a, 0xde, 0x85, 0x91, 0xd1, 0x6e, 0x95, 0x2f, 0x6d, 0xac,
         0xba, 0x81, 0x1d, 0x38, 0xa8, 0x91, 0x04, 0x8c, 0x6d, 0x13, 0xa7, 0x16, 0xdb, 0xb6, 0x96, 0x06}};
    return sign_verify(&mixed, &key, bytes_text("consilium")) != OK;
}
