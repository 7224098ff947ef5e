/* Sealing: to somebody's X25519 key (anonymous boxes), and at rest under one's
 * own key. Any thread. */
#ifndef CRYPTO_SEAL_H
#define CRYPTO_SEAL_H

#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"

/* --- boxes: libsodium's crypto_box_seal, X25519 and XSalsa20-Poly1305 --- */

#define SEAL_BOX_OVERHEAD 48

struct seal_public {
    uint8_t bytes[32];
};
struct seal_secret {
    uint8_t bytes[32];
};

void seal_keypair_random(struct seal_secret *secret, struct seal_public *public_key); /* a reader's ephemeral key */
void seal_keypair_from_seed(struct seal_secret *secret, struct seal_public *public_key,
                            const uint8_t seed[static 32]);
/* Appends plain.size + SEAL_BOX_OVERHEAD bytes. ERR_INVALID: a key of small
 * order; ERR_TOO_LARGE: the buffer's limit. */
enum err seal_box(struct buffer *out, const struct seal_public *to, struct bytes plain);
/* Appends the plaintext; ERR_DECRYPT: not for this key, or altered. */
enum err seal_box_open(struct buffer *out, const struct seal_public *public_key,
                       const struct seal_secret *secret, struct bytes box);

/* --- at rest: XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03) with a random
 * nonce: nonce(24) || ciphertext || tag(16) --- */

#define SEAL_NONCE 24
#define SEAL_OVERHEAD 40

struct seal_key {
    uint8_t bytes[32];
};

/* Writes plain.size + SEAL_OVERHEAD bytes to `out`. In place without a copy
 * when plain.data == out + SEAL_NONCE; otherwise they must not overlap. */
void seal_rest(uint8_t *out, const struct seal_key *key, struct bytes plain, struct bytes additional);
/* Writes sealed.size - SEAL_OVERHEAD bytes to `out`. In place when
 * out == sealed.data + SEAL_NONCE (a view without a copy); otherwise they must
 * not overlap. ERR_DECRYPT: too short, altered, other key or other additional
 * data; `out` then holds nothing of the plaintext. */
enum err seal_rest_open(uint8_t *out, const struct seal_key *key, struct bytes sealed,
                        struct bytes additional);

#endif
