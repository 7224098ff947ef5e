/* Vectors: D. McGrew, J. Viega, "The Galois/Counter Mode of Operation (GCM)",
 * appendix B, test cases 13 to 16 (also NIST's). Each with every engine. */
#include "crypto/aead.h"
#include "crypto/random.h"
#include "tests/lib/unhex.h"
#include "tests/lib/unit.h"

#define ZERO32 "0000000000000000000000000000000000000000000000000000000000000000"
#define FEFF "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308"

static const struct {
    const char *key, *nonce, *plain, *additional, *sealed;
} cases[] = {
    {ZERO32, "000000000000000000000000", "", "", "530f8afbc74536b9a963b4f1c4cb738b"},
    {ZERO32, "000000000000000000000000", "00000000000000000000000000000000", "",
     "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919"},
    {FEFF, "cafebabefacedbaddecaf888",
     "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
     "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255",
     "",
     "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
     "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662898015ad"
     "b094dac5d93471bdec1a502270e3cc6c"},
    {FEFF, "cafebabefacedbaddecaf888",
     "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
     "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
     "feedfacedeadbeeffeedfacedeadbeefabaddad2",
     "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
     "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"
     "76fc6ece0f4e1768cddf8853bb2d551b"},
};

static void check_vectors(enum aead_engine engine)
{
    aead_use(engine);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t key[32], nonce[12], out[128];
        unhex_to(key, 32, cases[i].key);
        unhex_to(nonce, 12, cases[i].nonce);
        struct bytes plain = unhex(cases[i].plain), ad = unhex(cases[i].additional), sealed = unhex(cases[i].sealed);
        aead_encrypt(out, key, nonce, plain, ad);
        assert_memory_equal(out, sealed.data, sealed.size);
        assert_int_equal(aead_decrypt(out, key, nonce, sealed, ad), OK);
        assert_memory_equal(out, plain.data, plain.size);
        unhex_free(plain);
        unhex_free(ad);
        unhex_free(sealed);
    }
}

static void check_refuses(enum aead_engine engine)
{
    uint8_t key[32], other[32], sealed[37 + AEAD_TAG_SIZE], out[37];
    struct bytes all = BYTES(sealed), ad = bytes_text("context");
    aead_use(engine);
    random_bytes(key, sizeof key);
    random_bytes(other, sizeof other);
    memset(out, 'p', sizeof out);
    aead_encrypt(sealed, key, AEAD_ZERO_NONCE, BYTES(out), ad);
    for (size_t bit = 0; bit < 8 * sizeof sealed; bit++) {
        sealed[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_equal(aead_decrypt(out, key, AEAD_ZERO_NONCE, all, ad), ERR_DECRYPT);
        assert_null(memchr(out, 'p', sizeof out));
        sealed[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (size_t size = 0; size < all.size; size++)
        assert_int_equal(aead_decrypt(out, key, AEAD_ZERO_NONCE, bytes_of(sealed, size), ad), ERR_DECRYPT);
    assert_int_equal(aead_decrypt(out, other, AEAD_ZERO_NONCE, all, ad), ERR_DECRYPT);
    assert_int_equal(aead_decrypt(out, key, (const uint8_t[12]){1}, all, ad), ERR_DECRYPT);
    assert_int_equal(aead_decrypt(out, key, AEAD_ZERO_NONCE, all, (struct bytes){0}), ERR_DECRYPT);
    assert_int_equal(aead_decrypt(out, key, AEAD_ZERO_NONCE, all, ad), OK);
}

static void test_mbedtls(void **state)
{
    (void)state;
    check_vectors(AEAD_MBEDTLS);
    check_refuses(AEAD_MBEDTLS);
}

static void test_sodium(void **state)
{
    (void)state;
    if (!aead_available(AEAD_SODIUM)) {
        print_message("this CPU has no AES for libsodium: skipped\n");
        skip();
    }
    check_vectors(AEAD_SODIUM);
    check_refuses(AEAD_SODIUM);
}

/* What one engine seals the other opens, at many sizes, in place too. */
static void test_engines_agree(void **state)
{
    static uint8_t plain[5000], a[5000 + AEAD_TAG_SIZE], b[5000 + AEAD_TAG_SIZE];
    (void)state;
    if (!aead_available(AEAD_SODIUM)) skip();
    for (size_t size = 0; size <= sizeof plain; size += size < 300 ? 1 : 997) {
        uint8_t key[32], nonce[12];
        random_bytes(plain, size);
        random_bytes(key, sizeof key);
        random_bytes(nonce, sizeof nonce);
        struct bytes ad = bytes_of(plain, size % 41);
        aead_use(AEAD_SODIUM);
        aead_encrypt(a, key, nonce, bytes_of(plain, size), ad);
        aead_use(AEAD_MBEDTLS);
        memcpy(b, plain, size);
        aead_encrypt(b, key, nonce, bytes_of(b, size), ad);
        assert_memory_equal(a, b, size + AEAD_TAG_SIZE);
        assert_int_equal(aead_decrypt(a, key, nonce, bytes_of(a, size + AEAD_TAG_SIZE), ad), OK);
        assert_memory_equal(a, plain, size);
        aead_use(AEAD_SODIUM);
        assert_int_equal(aead_decrypt(b, key, nonce, bytes_of(b, size + AEAD_TAG_SIZE), ad), OK);
        assert_memory_equal(b, plain, size);
        memcpy(a, plain, size);
        aead_encrypt(a, key, nonce, bytes_of(a, size), ad);
        aead_encrypt(b, key, nonce, bytes_of(plain, size), ad);
        assert_memory_equal(a, b, size + AEAD_TAG_SIZE);
    }
}

int main(void)
{
    crypto_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mbedtls),
        cmocka_unit_test(test_sodium),
        cmocka_unit_test(test_engines_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
