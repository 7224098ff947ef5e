#include <stdio.h>

#include "crypto/passphrase.h"
#include "crypto/random.h"
#include "crypto/secret.h"
#include "tests/lib/unhex.h"
#include "tests/lib/unit.h"

static void make(struct key_file *file, uint8_t seed[static 32], const char *passphrase)
{
    random_bytes(seed, 32);
    assert_int_equal(key_file_seal(file, seed, bytes_text(passphrase), PASSPHRASE_COST_LEAST), OK);
}

static void test_round_trip(void **state)
{
    static const char *const passphrases[] = {"", "x", "correct horse battery staple", "zażółć gęślą jaźń"};
    (void)state;
    for (size_t i = 0; i < sizeof passphrases / sizeof passphrases[0]; i++) {
        struct key_file file, back;
        struct buffer text = {0};
        uint8_t seed[32], opened[32];
        struct sign_secret secret;
        struct sign_public public_key;
        make(&file, seed, passphrases[i]);
        assert_int_equal(key_file_format(&text, &file), OK);
        assert_true(text.size <= LIMIT_KEY_FILE);
        assert_int_equal(key_file_parse(&back, buffer_bytes(&text), NULL), OK);
        assert_memory_equal(&back, &file, sizeof file);
        assert_int_equal(key_file_open(opened, &back, bytes_text(passphrases[i])), OK);
        assert_memory_equal(opened, seed, 32);
        sign_keypair(&secret, &public_key, opened);
        assert_memory_equal(&public_key, &back.public_key, 32);
        assert_int_equal(key_file_open(opened, &back, bytes_text("wrong")), ERR_PASSPHRASE);
        assert_true(secret_is_zero(opened, 32));
        buffer_free(&text);
    }
}

/* No field of the file can be changed. */
static void test_altered(void **state)
{
    struct key_file file, other;
    uint8_t seed[32], opened[32];
    (void)state;
    make(&file, seed, "p");
    other = file;
    other.cost.passes = 2;
    assert_int_equal(key_file_open(opened, &other, bytes_text("p")), ERR_PASSPHRASE);
    other = file;
    other.cost.memory_kib++;
    assert_int_equal(key_file_open(opened, &other, bytes_text("p")), ERR_PASSPHRASE);
    other = file;
    other.salt[0] ^= 1;
    assert_int_equal(key_file_open(opened, &other, bytes_text("p")), ERR_PASSPHRASE);
    other = file;
    other.public_key.bytes[5] ^= 1;
    assert_int_equal(key_file_open(opened, &other, bytes_text("p")), ERR_PASSPHRASE);
    for (size_t i = 0; i < sizeof file.sealed; i++) {
        other = file;
        other.sealed[i] ^= 0x10;
        assert_int_equal(key_file_open(opened, &other, bytes_text("p")), ERR_PASSPHRASE);
    }
}

static void test_cost_limits(void **state)
{
    static const struct passphrase_cost bad[] = {
        {0, 1}, {7, 1}, {8, 0}, {8, 17}, {1048577, 1}, {UINT32_MAX, 1}, {1048576, 5}, {8, UINT32_MAX},
    };
    uint8_t seed[32] = {0};
    struct key_file file;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(key_file_seal(&file, seed, bytes_text("p"), bad[i]), ERR_INVALID);
    assert_int_equal(key_file_seal(&file, seed, bytes_text("p"), PASSPHRASE_COST_DEFAULT), OK);
    assert_int_equal(key_file_open(seed, &file, bytes_text("p")), OK);
}

#define PUBLIC "public 11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n"
#define SALT "salt AAECAwQFBgcICQoLDA0ODw==\n"
#define SEALED                                                                                     \
    "sealed AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n"

static void test_parse(void **state)
{
    static const struct {
        const char *text;
        enum err expected;
        const char *line;
    } cases[] = {
        {"consilium-key 1\n" PUBLIC "argon2id 65536 2\n" SALT SEALED, OK, ""},
        {"consilium-key 1\n" PUBLIC "argon2id 1048576 4\n" SALT SEALED, OK, ""},
        {"", ERR_SYNTAX, "line 1"},
        {"consilium-key 2\n" PUBLIC "argon2id 65536 2\n" SALT SEALED, ERR_VERSION, "line 1"},
        {"consilium-key\n" PUBLIC "argon2id 65536 2\n" SALT SEALED, ERR_SYNTAX, "line 1"},
        {"consilium-key 1\r\n" PUBLIC "argon2id 65536 2\n" SALT SEALED, ERR_VERSION, "line 1"},
        {"consilium-key 1\n" PUBLIC, ERR_SYNTAX, "line 3"},
        {"consilium-key 1\npublic 11qY\nargon2id 65536 2\n" SALT SEALED, ERR_SYNTAX, "line 2"},
        {"consilium-key 1\npublic \nargon2id 65536 2\n" SALT SEALED, ERR_SYNTAX, "line 2"},
        {"consilium-key 1\npublic !!!!\nargon2id 65536 2\n" SALT SEALED, ERR_SYNTAX, "line 2"},
        {"consilium-key 1\n" PUBLIC PUBLIC "argon2id 65536 2\n" SALT SEALED, ERR_SYNTAX, "line 3"},
        {"consilium-key 1\n" PUBLIC "argon2id 104857600 1\n" SALT SEALED, ERR_TOO_LARGE, "line 3"},
        {"consilium-key 1\n" PUBLIC "argon2id 99999999999999999999999 1\n" SALT SEALED, ERR_TOO_LARGE, "line 3"},
        {"consilium-key 1\n" PUBLIC "argon2id 1048576 16\n" SALT SEALED, ERR_TOO_LARGE, "line 3"},
        {"consilium-key 1\n" PUBLIC "argon2id 65536 4294967295\n" SALT SEALED, ERR_TOO_LARGE, "line 3"},
        {"consilium-key 1\n" PUBLIC "argon2id 065536 2\n" SALT SEALED, ERR_SYNTAX, "line 3"},
        {"consilium-key 1\n" PUBLIC "argon2id 65536 +2\n" SALT SEALED, ERR_SYNTAX, "line 3"},
        {"consilium-key 1\n" PUBLIC "argon2id 65536\n" SALT SEALED, ERR_SYNTAX, "line 3"},
        {"consilium-key 1\n" PUBLIC "argon2id 65536 \n" SALT SEALED, ERR_SYNTAX, "line 3"},
        {"consilium-key 1\n" PUBLIC "argon2id 65536 2 \n" SALT SEALED, ERR_SYNTAX, "line 3"},
        {"consilium-key 1\n" PUBLIC "argon2id 65536 2\nsalt AAEC\n" SEALED, ERR_SYNTAX, "line 4"},
        {"consilium-key 1\n" PUBLIC "argon2id 65536 2\n" SALT "sealed AAAA\n", ERR_SYNTAX, "line 5"},
        {"consilium-key 1\n" PUBLIC "argon2id 65536 2\n" SALT SEALED "\n", ERR_SYNTAX, "line 5"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct failure failure = {0};
        struct key_file file;
        assert_int_equal(key_file_parse(&file, bytes_text(cases[i].text), &failure), cases[i].expected);
        assert_non_null(strstr(failure.text, cases[i].line));
    }
    static uint8_t long_text[LIMIT_KEY_FILE + 1];
    struct key_file file;
    assert_int_equal(key_file_parse(&file, BYTES(long_text), NULL), ERR_TOO_LARGE);
    assert_int_equal(key_file_parse(&file, (struct bytes){0}, NULL), ERR_SYNTAX);
}

/* Cut anywhere, or with a byte changed, a file either fails or formats back to the same bytes. */
static void test_parse_is_exact(void **state)
{
    struct key_file file, back;
    struct buffer text = {0}, again = {0};
    uint8_t seed[32];
    (void)state;
    make(&file, seed, "p");
    assert_int_equal(key_file_format(&text, &file), OK);
    for (size_t size = 0; size < text.size; size++)
        assert_int_not_equal(key_file_parse(&back, bytes_of(text.data, size), NULL), OK);
    for (size_t i = 0; i < text.size; i++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            text.data[i] ^= (uint8_t)(1 << bit);
            if (key_file_parse(&back, buffer_bytes(&text), NULL) == OK) {
                buffer_clear(&again);
                assert_int_equal(key_file_format(&again, &back), OK);
                assert_true(bytes_equal(buffer_bytes(&again), buffer_bytes(&text)));
            }
            text.data[i] ^= (uint8_t)(1 << bit);
        }
    }
    buffer_free(&text);
    buffer_free(&again);
}

static void test_small_buffer(void **state)
{
    struct key_file file = {.cost = PASSPHRASE_COST_LEAST};
    struct buffer text = {.limit = 100};
    (void)state;
    assert_int_equal(key_file_format(&text, &file), ERR_TOO_LARGE);
    buffer_free(&text);
}

/* The tag is part of the ledger's format: it must never change. */
static void test_tag_is_stable(void **state)
{
    uint8_t tag[32], salt[16], other[32];
    char text[65];
    (void)state;
    for (size_t i = 0; i < 16; i++)
        salt[i] = (uint8_t)i;
    assert_int_equal(argon2id_tag(tag, bytes_text("anna.kowalska"), salt), OK);
    hex_format(text, tag, 32);
    assert_string_equal(text, "2f1f89c389d1992bbab40e010e32f024d216a591d50890e2de14e373d67122ae");
    salt[0] ^= 1;
    assert_int_equal(argon2id_tag(other, bytes_text("anna.kowalska"), salt), OK);
    assert_memory_not_equal(tag, other, 32);
    assert_int_equal(argon2id_tag(other, (struct bytes){0}, salt), OK);
}

int main(void)
{
    crypto_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),     cmocka_unit_test(test_altered),
        cmocka_unit_test(test_cost_limits),    cmocka_unit_test(test_parse),
        cmocka_unit_test(test_parse_is_exact), cmocka_unit_test(test_small_buffer),
        cmocka_unit_test(test_tag_is_stable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
