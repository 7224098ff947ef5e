#include "crypto/seal.h"

#include <assert.h>
#include <pthread.h>
#include <sodium.h>
#include <string.h>

#include "base/check.h"
#include "crypto/random.h"

static_assert(sizeof(struct seal_public) == crypto_box_PUBLICKEYBYTES &&
                  sizeof(struct seal_secret) == crypto_box_SECRETKEYBYTES &&
                  SEAL_BOX_OVERHEAD == crypto_box_SEALBYTES,
              "libsodium's sizes of boxes");
static_assert(sizeof(struct seal_key) == crypto_aead_xchacha20poly1305_ietf_KEYBYTES &&
                  SEAL_NONCE == crypto_aead_xchacha20poly1305_ietf_NPUBBYTES &&
                  SEAL_OVERHEAD == SEAL_NONCE + crypto_aead_xchacha20poly1305_ietf_ABYTES,
              "libsodium's sizes of XChaCha20-Poly1305");

void seal_keypair_random(struct seal_secret *secret, struct seal_public *public_key)
{
    CHECK(crypto_box_keypair(public_key->bytes, secret->bytes) == 0);
}

void seal_keypair_from_seed(struct seal_secret *secret, struct seal_public *public_key,
                            const uint8_t seed[static 32])
{
    CHECK(crypto_box_seed_keypair(public_key->bytes, secret->bytes, seed) == 0);
}

enum err seal_box(struct buffer *out, const struct seal_public *to, struct bytes plain)
{
    if (plain.size > SIZE_MAX - SEAL_BOX_OVERHEAD) return ERR_TOO_LARGE;
    uint8_t *at = buffer_extend(out, plain.size + SEAL_BOX_OVERHEAD);
    if (!at) return ERR_TOO_LARGE;
    if (crypto_box_seal(at, plain.data, plain.size, to->bytes) == 0) return OK;
    out->size -= plain.size + SEAL_BOX_OVERHEAD;
    return ERR_INVALID;
}

enum err seal_box_open(struct buffer *out, const struct seal_public *public_key,
                       const struct seal_secret *secret, struct bytes box)
{
    if (box.size < SEAL_BOX_OVERHEAD) return ERR_DECRYPT;
    size_t size = box.size - SEAL_BOX_OVERHEAD;
    uint8_t none[1], *at = size ? buffer_extend(out, size) : none;
    if (!at) return ERR_TOO_LARGE;
    if (crypto_box_seal_open(at, box.data, box.size, public_key->bytes, secret->bytes) == 0) return OK;
    out->size -= size;
    return ERR_DECRYPT;
}

/* Nonces are drawn many at once: a system call for each costs as much as sealing a small value.
 * They are no secrets, so they may lie here; a child of fork must not use its parent's. */
#define NONCES_DRAWN 64
static _Thread_local struct {
    uint8_t bytes[NONCES_DRAWN * SEAL_NONCE];
    size_t left;
} nonces;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* In the child, on the one thread that lives on there. */
static void forget_nonces(void) { nonces.left = 0; }

static void guard_fork(void) { CHECK(pthread_atfork(NULL, NULL, forget_nonces) == 0); }

static void next_nonce(uint8_t out[static SEAL_NONCE])
{
    if (nonces.left == 0) {
        CHECK(pthread_once(&once, guard_fork) == 0);
        random_bytes(nonces.bytes, sizeof nonces.bytes);
        nonces.left = NONCES_DRAWN;
    }
    memcpy(out, nonces.bytes + --nonces.left * SEAL_NONCE, SEAL_NONCE);
}

void seal_rest(uint8_t *out, const struct seal_key *key, struct bytes plain, struct bytes additional)
{
    uint8_t *cipher = out + SEAL_NONCE;
    next_nonce(out);
    CHECK(crypto_aead_xchacha20poly1305_ietf_encrypt_detached(cipher, cipher + plain.size, NULL, plain.data,
                                                              plain.size, additional.data, additional.size, NULL,
                                                              out, key->bytes) == 0);
}

enum err seal_rest_open(uint8_t *out, const struct seal_key *key, struct bytes sealed,
                        struct bytes additional)
{
    if (sealed.size < SEAL_OVERHEAD) return ERR_DECRYPT;
    size_t size = sealed.size - SEAL_OVERHEAD;
    const uint8_t *cipher = sealed.data + SEAL_NONCE;
    int bad = crypto_aead_xchacha20poly1305_ietf_decrypt_detached(out, NULL, cipher, size, cipher + size,
                                                                  additional.data, additional.size,
                                                                  sealed.data, key->bytes);
    return bad ? ERR_DECRYPT : OK;
}
