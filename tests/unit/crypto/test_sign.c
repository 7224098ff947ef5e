/* Vectors: RFC 8032 section 7.1. */
#include <dlfcn.h>
#include <sodium.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "crypto/random.h"
#include "crypto/sign.h"
#include "tests/lib/unhex.h"
#include "tests/lib/unit.h"

static const struct {
    const char *seed, *public_key, *message, *signature;
} cases[] = {
    {"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
     "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
     "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
     "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"},
    {"4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
     "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
     "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
     "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"},
    {"c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
     "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
     "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
     "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"},
};

static void test_vectors(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t seed[32];
        struct sign_secret secret;
        struct sign_public public_key, expected_public;
        struct signature signature, expected;
        struct bytes message = unhex(cases[i].message);
        unhex_to(seed, 32, cases[i].seed);
        unhex_to(&expected_public, 32, cases[i].public_key);
        unhex_to(&expected, 64, cases[i].signature);
        sign_keypair(&secret, &public_key, seed);
        assert_memory_equal(&public_key, &expected_public, 32);
        sign_message(&signature, &secret, message);
        assert_memory_equal(&signature, &expected, 64);
        assert_int_equal(sign_verify(&signature, &public_key, message), OK);
        unhex_free(message);
    }
}

static void test_every_bit_counts(void **state)
{
    uint8_t seed[32], message[21];
    struct sign_secret secret;
    struct sign_public public_key;
    struct signature signature;
    (void)state;
    random_bytes(seed, sizeof seed);
    random_bytes(message, sizeof message);
    sign_keypair(&secret, &public_key, seed);
    sign_message(&signature, &secret, BYTES(message));
    for (size_t bit = 0; bit < 512; bit++) {
        struct signature other = signature;
        other.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_equal(sign_verify(&other, &public_key, BYTES(message)), ERR_BAD_SIGNATURE);
    }
    for (size_t bit = 0; bit < 8 * sizeof message; bit++) {
        message[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_equal(sign_verify(&signature, &public_key, BYTES(message)), ERR_BAD_SIGNATURE);
        message[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_int_equal(sign_verify(&signature, &public_key, bytes_of(message, sizeof message - 1)), ERR_BAD_SIGNATURE);
    for (size_t bit = 0; bit < 256; bit++) {
        struct sign_public other = public_key;
        other.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_equal(sign_verify(&signature, &other, BYTES(message)), ERR_BAD_SIGNATURE);
    }
}

/* With a key of small order one signature would fit many messages: (R = identity
 * or that key, S = 0) must be refused. And S + q is another form of S. */
static void test_weak_keys_and_malleability(void **state)
{
    static const char *small_order[] = {
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    };
    (void)state;
    for (size_t i = 0; i < sizeof small_order / sizeof small_order[0]; i++) {
        struct sign_public weak;
        struct signature signature = {{0}};
        unhex_to(&weak, 32, small_order[i]);
        signature.bytes[0] = 1;
        assert_int_equal(sign_verify(&signature, &weak, bytes_text("x")), ERR_BAD_SIGNATURE);
        memcpy(signature.bytes, weak.bytes, 32);
        assert_int_equal(sign_verify(&signature, &weak, bytes_text("x")), ERR_BAD_SIGNATURE);
    }
    static const uint8_t q[32] = {0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7,
                                  0xa2, 0xde, 0xf9, 0xde, 0x14, [31] = 0x10};
    struct sign_public public_key;
    struct signature signature;
    unhex_to(&public_key, 32, cases[0].public_key);
    unhex_to(&signature, 64, cases[0].signature);
    unsigned carry = 0;
    for (size_t i = 0; i < 32; i++) {
        carry += (unsigned)signature.bytes[32 + i] + q[i];
        signature.bytes[32 + i] = (uint8_t)carry;
        carry >>= 8;
    }
    assert_int_equal(sign_verify(&signature, &public_key, (struct bytes){0}), ERR_BAD_SIGNATURE);
}

/* --- which signatures count --- */

/* RFC 8032 section 5.1.7, step 3, as later versions of libsodium: 8*R = 8*(S*B - h*A). */
static int cofactored(const uint8_t *signature, const uint8_t *message, size_t size, const uint8_t *key)
{
    uint8_t hash[64], h[32], sb[32], ha[32], other[32], zero[32], difference[32];
    crypto_hash_sha512_state state;
    crypto_hash_sha512_init(&state);
    crypto_hash_sha512_update(&state, signature, 32);
    crypto_hash_sha512_update(&state, key, 32);
    crypto_hash_sha512_update(&state, message, size);
    crypto_hash_sha512_final(&state, hash);
    crypto_core_ed25519_scalar_reduce(h, hash);
    if (crypto_scalarmult_ed25519_base_noclamp(sb, signature + 32) != 0) return -1;
    if (crypto_scalarmult_ed25519_noclamp(ha, h, key) != 0) return -1;
    if (crypto_core_ed25519_sub(other, sb, ha) != 0) return -1;
    if (crypto_core_ed25519_sub(difference, other, signature) != 0) return -1;
    for (int i = 0; i < 3; i++) crypto_core_ed25519_add(difference, difference, difference);
    crypto_core_ed25519_sub(zero, sb, sb);
    return memcmp(difference, zero, sizeof zero) == 0 ? 0 : -1;
}

static bool is_later;

/* Stands before the library's. */
int crypto_sign_verify_detached(const unsigned char *signature, const unsigned char *message, unsigned long long size,
                                const unsigned char *key)
{
    static int (*real)(const unsigned char *, const unsigned char *, unsigned long long, const unsigned char *);
    if (is_later) return cofactored(signature, message, (size_t)size, key);
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, "crypto_sign_verify_detached");
    return real(signature, message, size, key);
}

static void test_cofactored_verification_is_noticed(void **state)
{
    int status;
    (void)state;
    assert_true(sign_rules_hold());
    is_later = true;
    test_vectors(state);
    assert_false(sign_rules_hold());
    is_later = false;
    pid_t pid = fork();
    if (pid == 0) {
        execl("/proc/self/exe", "test_sign", "later", (char *)NULL);
        _exit(127);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
}

int main(int argc, char **argv)
{
    (void)argv;
    if (argc > 1) { /* a start with such a library */
        log_setup(LOG_ERROR + 1, false);
        is_later = true;
        crypto_init();
        return 0;
    }
    crypto_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_every_bit_counts),
        cmocka_unit_test(test_weak_keys_and_malleability),
        cmocka_unit_test(test_cofactored_verification_is_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
