#include "crypto/aead.h"

#include <assert.h>
#include <sodium.h>
#include <stdatomic.h>

#include "base/check.h"
#include "crypto/aead_mbedtls.h"

static_assert(AEAD_KEY_SIZE == crypto_aead_aes256gcm_KEYBYTES && AEAD_NONCE_SIZE == crypto_aead_aes256gcm_NPUBBYTES &&
                  AEAD_TAG_SIZE == crypto_aead_aes256gcm_ABYTES,
              "libsodium's sizes of AES-256-GCM");

const uint8_t AEAD_ZERO_NONCE[AEAD_NONCE_SIZE] = {0};

static atomic_int chosen = -1;

bool aead_available(enum aead_engine engine)
{
    switch (engine) {
    case AEAD_SODIUM: return crypto_aead_aes256gcm_is_available();
    case AEAD_MBEDTLS: return true;
    }
    return false;
}

void aead_use(enum aead_engine engine)
{
    CHECK(aead_available(engine));
    atomic_store(&chosen, (int)engine);
}

static enum aead_engine engine_now(void)
{
    int engine = atomic_load_explicit(&chosen, memory_order_relaxed);
    if (engine < 0) {
        CHECK(sodium_init() >= 0); /* before it libsodium knows no CPU feature */
        engine = aead_available(AEAD_SODIUM) ? AEAD_SODIUM : AEAD_MBEDTLS;
        atomic_store(&chosen, engine);
    }
    return (enum aead_engine)engine;
}

void aead_encrypt(uint8_t *out, const uint8_t key[static AEAD_KEY_SIZE],
                  const uint8_t nonce[static AEAD_NONCE_SIZE], struct bytes plain, struct bytes additional)
{
    if (engine_now() == AEAD_MBEDTLS) {
        aead_mbedtls_encrypt(out, key, nonce, plain, additional);
        return;
    }
    CHECK(crypto_aead_aes256gcm_encrypt_detached(out, out + plain.size, NULL, plain.data, plain.size,
                                                 additional.data, additional.size, NULL, nonce, key) == 0);
}

enum err aead_decrypt(uint8_t *out, const uint8_t key[static AEAD_KEY_SIZE],
                      const uint8_t nonce[static AEAD_NONCE_SIZE], struct bytes sealed,
                      struct bytes additional)
{
    if (sealed.size < AEAD_TAG_SIZE) return ERR_DECRYPT;
    if (engine_now() == AEAD_MBEDTLS) return aead_mbedtls_decrypt(out, key, nonce, sealed, additional);
    size_t size = sealed.size - AEAD_TAG_SIZE;
    int bad = crypto_aead_aes256gcm_decrypt_detached(out, NULL, sealed.data, size, sealed.data + size,
                                                     additional.data, additional.size, nonce, key);
    return bad ? ERR_DECRYPT : OK;
}
