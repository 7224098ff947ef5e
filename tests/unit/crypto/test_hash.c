/* Vectors: FIPS 180-4 examples (NIST CSRC), RFC 4231 (HMAC), RFC 5869 appendix A (HKDF). */
#include "crypto/hash.h"
#include "crypto/random.h"
#include "tests/lib/dies.h"
#include "tests/lib/unhex.h"
#include "tests/lib/unit.h"

static void assert_hex(const void *data, size_t size, const char *expected)
{
    char text[2 * 128 + 1];
    assert_true(size <= 128);
    hex_format(text, data, size);
    assert_string_equal(text, expected);
}

static void test_sha256(void **state)
{
    static const struct {
        const char *message, *digest;
    } cases[] = {
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct digest d;
        hash_sha256(&d, cases[i].message, strlen(cases[i].message));
        assert_hex(&d, sizeof d, cases[i].digest);
    }
}

static void test_sha256_million(void **state)
{
    struct hash h;
    struct digest d;
    char block[997];
    (void)state;
    memset(block, 'a', sizeof block);
    hash_start(&h);
    for (size_t left = 1000000; left;) {
        size_t n = left < sizeof block ? left : sizeof block;
        hash_add(&h, block, n);
        left -= n;
    }
    hash_end(&d, &h);
    assert_hex(&d, sizeof d, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

/* HMAC hashes with libsodium whatever CPU this is, so it checks hash_sha256 for every length. */
static void test_sha256_against_hmac(void **state)
{
    uint8_t message[400], inner[64 + sizeof message], outer[64 + 32];
    struct digest expected, digest;
    (void)state;
    random_bytes(message, sizeof message);
    for (size_t size = 0; size <= sizeof message; size++) {
        hmac_sha256(&expected, (struct bytes){0}, bytes_of(message, size));
        memset(inner, 0x36, 64); /* RFC 2104 with an empty key */
        memset(outer, 0x5c, 64);
        memcpy(inner + 64, message, size);
        hash_sha256(&digest, inner, 64 + size);
        memcpy(outer + 64, digest.bytes, 32);
        hash_sha256(&digest, outer, sizeof outer);
        assert_memory_equal(digest.bytes, expected.bytes, 32);
    }
}

/* Any way of cutting a message into parts, empty ones too, hashes the same. */
static void test_parts(void **state)
{
    uint8_t message[300], one[64], two[64];
    struct digest a, b;
    (void)state;
    random_bytes(message, sizeof message);
    for (size_t cut = 0; cut <= sizeof message; cut++) {
        const struct bytes parts[] = {bytes_of(message, cut), {NULL, 0}, bytes_of(message + cut, sizeof message - cut)};
        hash_sha256(&a, message, sizeof message);
        hash_sha256_parts(&b, parts, 3);
        assert_true(digest_equal(&a, &b));
        hash_sha512(one, message, sizeof message);
        hash_sha512_parts(two, parts, 3);
        assert_memory_equal(one, two, 64);
        hmac_sha256(&a, BYTES(one), BYTES(message));
        hmac_sha256_parts(&b, BYTES(one), parts, 3);
        assert_true(digest_equal(&a, &b));
    }
}

static void test_sha512(void **state)
{
    uint8_t d[64];
    (void)state;
    hash_sha512(d, "abc", 3);
    assert_hex(d, 64,
               "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
               "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f");
    hash_sha512(d, NULL, 0);
    assert_hex(d, 64,
               "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce"
               "47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e");
}

static void test_hmac(void **state)
{
    struct digest d;
    uint8_t key[131];
    (void)state;
    memset(key, 0x0b, sizeof key);
    hmac_sha256(&d, bytes_of(key, 20), bytes_text("Hi There"));
    assert_hex(&d, 32, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    hmac_sha256(&d, bytes_text("Jefe"), bytes_text("what do ya want for nothing?"));
    assert_hex(&d, 32, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    memset(key, 0xaa, sizeof key);
    hmac_sha256(&d, BYTES(key), bytes_text("Test Using Larger Than Block-Size Key - Hash Key First"));
    assert_hex(&d, 32, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

static void test_hmac_empty(void **state)
{
    struct digest d;
    (void)state;
    hmac_sha256(&d, (struct bytes){0}, (struct bytes){0});
    assert_hex(&d, 32, "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

static void test_hkdf(void **state)
{
    static const struct {
        const char *ikm, *salt, *info, *okm;
    } cases[] = {
        {"0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "000102030405060708090a0b0c", "f0f1f2f3f4f5f6f7f8f9",
         "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"},
        {"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f3031323334"
         "35363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f",
         "606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f808182838485868788898a8b8c8d8e8f9091929394"
         "95969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeaf",
         "b0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4"
         "e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
         "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09da3275600c"
         "2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87"},
        {"0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "", "",
         "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct bytes ikm = unhex(cases[i].ikm), salt = unhex(cases[i].salt), info = unhex(cases[i].info);
        uint8_t okm[128];
        size_t size = strlen(cases[i].okm) / 2;
        hkdf_sha256(okm, size, ikm, salt, info);
        assert_hex(okm, size, cases[i].okm);
        unhex_free(ikm);
        unhex_free(salt);
        unhex_free(info);
    }
}

static void hkdf_nothing(void)
{
    uint8_t out[1];
    hkdf_sha256(out, 0, bytes_text("x"), (struct bytes){0}, (struct bytes){0});
}
static void hkdf_too_much(void)
{
    static uint8_t out[255 * 32 + 1];
    hkdf_sha256(out, sizeof out, bytes_text("x"), (struct bytes){0}, (struct bytes){0});
}
static void test_hkdf_limits(void **state)
{
    static uint8_t most[255 * 32], less[255 * 32 - 31];
    (void)state;
    assert_true(dies(hkdf_nothing));
    assert_true(dies(hkdf_too_much));
    hkdf_sha256(most, sizeof most, bytes_text("x"), (struct bytes){0}, (struct bytes){0});
    hkdf_sha256(less, sizeof less, bytes_text("x"), (struct bytes){0}, (struct bytes){0});
    assert_memory_equal(most, less, sizeof less); /* shorter output is a prefix */
}

/* Of its authors' reference code (vectors_sip128): key 00 01 .. 0f, messages 00 01 .. of each length. */
static void test_siphash(void **state)
{
    static const char *const expected[] = {"a3817f04ba25a8e66df67214c7550293", "da87c1d86b99af44347659119b22fc45",
                                           "8177228da4a45dc7fca38bdef60affe4", "9c70b60c5267a94e5f33b6b02985ed51"};
    uint8_t key[SIPHASH_KEY], message[4], hash[SIPHASH_SIZE];
    (void)state;
    for (uint8_t i = 0; i < sizeof key; i++) key[i] = i;
    for (uint8_t i = 0; i < sizeof message; i++) message[i] = i;
    for (size_t size = 0; size < sizeof expected / sizeof *expected; size++) {
        siphash(hash, key, message, size);
        assert_hex(hash, sizeof hash, expected[size]);
    }
}

int main(void)
{
    crypto_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sha256), cmocka_unit_test(test_sha256_million),
        cmocka_unit_test(test_sha256_against_hmac), cmocka_unit_test(test_parts),
        cmocka_unit_test(test_sha512), cmocka_unit_test(test_hmac),           cmocka_unit_test(test_hmac_empty),
        cmocka_unit_test(test_hkdf),   cmocka_unit_test(test_hkdf_limits), cmocka_unit_test(test_siphash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
