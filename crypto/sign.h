/* Ed25519 (RFC 8032), detached signatures. What is signed starts with a domain
 * tag that the caller writes. Any thread.
 *
 * Verification is libsodium 1.0.18's: cofactorless, S below the group order, no
 * key or R of small order or in another than its one encoding. Every node must
 * reach the same verdict on the same bytes, so this is the only verifier in the
 * project. */
#ifndef CRYPTO_SIGN_H
#define CRYPTO_SIGN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"

#define SIGN_SEED_SIZE 32

struct sign_public {
    uint8_t bytes[32];
};
struct sign_secret {
    uint8_t bytes[64];
};
struct signature {
    uint8_t bytes[64];
};

/* The pair of a seed (RFC 8032 section 5.1.5). */
void sign_keypair(struct sign_secret *secret, struct sign_public *public_key,
                  const uint8_t seed[static SIGN_SEED_SIZE]);
void sign_message(struct signature *out, const struct sign_secret *secret, struct bytes message);
/* OK or ERR_BAD_SIGNATURE. */
enum err sign_verify(const struct signature *signature, const struct sign_public *public_key,
                     struct bytes message);
/* Whether the library verifies so. Later ones also take signatures that are right only after multiplication by the
 * cofactor: one user could make them, and part the nodes that have such a library from those that have not. */
bool sign_rules_hold(void);

#endif
