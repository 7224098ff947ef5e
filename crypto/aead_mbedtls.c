/* The one file of crypto that includes mbedTLS. These calls are the same in
 * 2.28 and 3.6. Without AES instructions its AES works with tables, whose
 * timing through the cache shows something to a neighbour on the same CPU: that
 * is the price of running on such a machine, and only there. */
#include "crypto/aead_mbedtls.h"

#include <mbedtls/gcm.h>

#include "base/check.h"

static void start(mbedtls_gcm_context *gcm, const uint8_t key[static AEAD_KEY_SIZE])
{
    mbedtls_gcm_init(gcm);
    CHECK(mbedtls_gcm_setkey(gcm, MBEDTLS_CIPHER_ID_AES, key, AEAD_KEY_SIZE * 8) == 0);
}

void aead_mbedtls_encrypt(uint8_t *out, const uint8_t key[static AEAD_KEY_SIZE],
                          const uint8_t nonce[static AEAD_NONCE_SIZE], struct bytes plain,
                          struct bytes additional)
{
    mbedtls_gcm_context gcm;
    start(&gcm, key);
    CHECK(mbedtls_gcm_crypt_and_tag(&gcm, MBEDTLS_GCM_ENCRYPT, plain.size, nonce, AEAD_NONCE_SIZE,
                                    additional.data, additional.size, plain.data, out, AEAD_TAG_SIZE,
                                    out + plain.size) == 0);
    mbedtls_gcm_free(&gcm); /* wipes */
}

enum err aead_mbedtls_decrypt(uint8_t *out, const uint8_t key[static AEAD_KEY_SIZE],
                              const uint8_t nonce[static AEAD_NONCE_SIZE], struct bytes sealed,
                              struct bytes additional)
{
    mbedtls_gcm_context gcm;
    size_t size = sealed.size - AEAD_TAG_SIZE;
    start(&gcm, key);
    int bad = mbedtls_gcm_auth_decrypt(&gcm, size, nonce, AEAD_NONCE_SIZE, additional.data, additional.size,
                                       sealed.data + size, AEAD_TAG_SIZE, sealed.data, out);
    mbedtls_gcm_free(&gcm);
    return bad ? ERR_DECRYPT : OK; /* mbedTLS has zeroed `out` */
}
