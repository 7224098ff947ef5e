#include "crypto/hash.h"
#include "crypto/keys.h"
#include "crypto/random.h"
#include "crypto/secret.h"
#include "tests/lib/unhex.h"
#include "tests/lib/unit.h"

/* A node's seed gives the same node for ever. The expected keys were computed
 * with Python's hmac and OpenSSL. */
static void test_derivation_is_stable(void **state)
{
    static const char *const infos[] = {"consilium/node/message/v1", "consilium/node/cosign/v1"};
    uint8_t seed[NODE_SEED_SIZE];
    struct node_secrets *secrets = secret_alloc(sizeof *secrets), again;
    struct node_public public_keys, public_again;
    (void)state;
    for (size_t i = 0; i < sizeof seed; i++)
        seed[i] = (uint8_t)i;
    node_keys_derive(secrets, &public_keys, seed);
    node_keys_derive(&again, &public_again, seed);
    assert_memory_equal(secrets, &again, sizeof again);
    assert_memory_equal(&public_keys, &public_again, sizeof public_again);
    const struct sign_public *expected[] = {&public_keys.message, &public_keys.cosign};
    for (size_t i = 0; i < 2; i++) {
        uint8_t own[32];
        struct sign_secret secret;
        struct sign_public public_key;
        hkdf_sha256(own, 32, BYTES(seed), (struct bytes){0}, bytes_text(infos[i]));
        sign_keypair(&secret, &public_key, own);
        assert_memory_equal(&public_key, expected[i], 32);
    }
    assert_memory_not_equal(&public_keys.message, &public_keys.cosign, 32);
    assert_memory_not_equal(&public_keys.message, &public_keys.seal, 32);
    char text[65];
    hex_format(text, &public_keys.message, 32);
    assert_string_equal(text, "b119c1792f7d193d6fa667ad5e383897cc8741a9d643379501b7e929fa1b9c12");
    hex_format(text, &public_keys.cosign, 32);
    assert_string_equal(text, "435298bca491131c95068887a62305c84454c25f746f588d154187969852f301");
    hex_format(text, &public_keys.seal, 32);
    assert_string_equal(text, "04adc1d24b962ba8ca9750ed250210f3f3d41bfd3c5526bf0fbf033b016e7c40");
    secret_free(secrets);
}

static void test_keys_work(void **state)
{
    uint8_t seed[NODE_SEED_SIZE];
    struct node_secrets secrets;
    struct node_public public_keys;
    struct signature signature;
    struct buffer box = {0}, plain = {0};
    (void)state;
    random_bytes(seed, sizeof seed);
    node_keys_derive(&secrets, &public_keys, seed);
    sign_message(&signature, &secrets.message, bytes_text("m"));
    assert_int_equal(sign_verify(&signature, &public_keys.message, bytes_text("m")), OK);
    assert_int_equal(sign_verify(&signature, &public_keys.cosign, bytes_text("m")), ERR_BAD_SIGNATURE);
    assert_int_equal(seal_box(&box, &public_keys.seal, bytes_text("share")), OK);
    assert_int_equal(seal_box_open(&plain, &public_keys.seal, &secrets.seal, buffer_bytes(&box)), OK);
    assert_true(bytes_equal(buffer_bytes(&plain), bytes_text("share")));
    buffer_free(&box);
    buffer_free(&plain);
}

static void test_ids(void **state)
{
    struct sign_public key;
    struct digest digest;
    (void)state;
    random_bytes(&key, sizeof key);
    hash_sha256(&digest, &key, sizeof key);
    struct id id = id_of_key(&key);
    struct key_id key_id = key_id_of(&key);
    assert_memory_equal(&id, &digest, 16);
    assert_memory_equal(&key_id, &digest, 8);
    struct key_id other = key_id;
    assert_true(key_id_equal(&key_id, &other));
    other.bytes[7] ^= 1;
    assert_false(key_id_equal(&key_id, &other));
}

int main(void)
{
    crypto_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_derivation_is_stable),
        cmocka_unit_test(test_keys_work),
        cmocka_unit_test(test_ids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
