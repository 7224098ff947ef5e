/* Identity files, public keys, and files in general. */
#include "cli/signer.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"
#include "cli/files.h"
#include "cli/people.h"
#include "crypto/random.h"
#include "tests/lib/folder.h"
#include "tests/lib/samples.h"
#include "tests/lib/unit.h"

static char folder[FOLDER_PATH], path[FOLDER_PATH], passphrase_path[FOLDER_PATH];
static struct failure failure;

static int setup(void **state)
{
    (void)state;
    folder_make(folder, 1);
    folder_join(path, folder, "me.key");
    folder_join(passphrase_path, folder, "passphrase");
    folder_store(folder, "passphrase", bytes_text("correct horse\nsecond line\n"));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    folder_remove(folder);
    return 0;
}

static void test_with_passphrase(void **state)
{
    (void)state;
    struct signer me;
    struct sign_public key;
    struct stat st;
    assert_int_equal(signer_create(path, bytes_text("correct horse"), NULL, &key, &failure), OK);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(signer_open(&me, path, passphrase_path, &failure), OK);
    struct id derived = id_of_key(&key);
    assert_true(id_equal(&me.user, &derived));
    struct sign_public again;
    struct sign_secret secret;
    sign_keypair(&secret, &again, me.secrets->sign.bytes); /* Ed25519: the seed is its first half */
    assert_memory_equal(again.bytes, key.bytes, 32);
    assert_memory_equal(me.secrets->sign.bytes, secret.bytes, 64);
    signer_close(&me);
    folder_store(folder, "passphrase", bytes_text("wrong\n"));
    assert_int_equal(signer_open(&me, path, passphrase_path, &failure), ERR_PASSPHRASE);
    assert_non_null(strstr(failure.text, path)); /* which of several keys was used may be what is wrong */
    folder_store(folder, "passphrase", bytes_text("\n"));
    assert_int_equal(signer_open(&me, path, passphrase_path, &failure), ERR_NO_KEY);
    /* No terminal here (standard input is none in the test run), so it says what to give. */
    if (!isatty(0)) {
        assert_int_equal(signer_open(&me, path, NULL, &failure), ERR_NO_KEY);
        assert_non_null(strstr(failure.text, "--passphrase-file"));
    }
}

static void test_without_passphrase(void **state)
{
    (void)state;
    struct signer me;
    struct sign_public key, other;
    struct id user = sample_id(9);
    assert_int_equal(signer_create(path, (struct bytes){0}, &user, &key, &failure), OK);
    assert_int_equal(signer_open(&me, path, NULL, &failure), OK);
    assert_true(id_equal(&me.user, &user));
    assert_true(me.user_written);
    signer_close(&me);
    /* Never over a file. */
    assert_int_equal(signer_create(path, (struct bytes){0}, NULL, &other, &failure), ERR_EXISTS);
    assert_int_equal(signer_open(&me, path, NULL, &failure), OK);
    assert_memory_equal(me.public_key.bytes, key.bytes, 32);
    signer_close(&me);
}

static void test_assign(void **state)
{
    (void)state;
    struct signer me;
    struct sign_public key;
    struct id first = sample_id(1), second = sample_id(2);
    assert_int_equal(signer_create(path, (struct bytes){0}, NULL, &key, &failure), OK);
    assert_int_equal(signer_assign(path, &first, &failure), OK);
    assert_int_equal(signer_assign(path, &second, &failure), OK);
    assert_int_equal(signer_open(&me, path, NULL, &failure), OK);
    assert_true(id_equal(&me.user, &second));
    assert_memory_equal(me.public_key.bytes, key.bytes, 32);
    signer_close(&me);
}

static void test_damaged_files(void **state)
{
    (void)state;
    struct signer me;
    struct sign_public key;
    assert_int_equal(signer_read(&me, path, &failure), ERR_NO_KEY);
    assert_non_null(strstr(failure.text, "consilium key new"));
    assert_int_equal(signer_create(path, (struct bytes){0}, NULL, &key, &failure), OK);
    struct buffer text = folder_load(folder, "me.key");
    static const char *const starts[] = {"consilium-user \n", "consilium-user abc\n", "consilium-user",
                                         "consilium-user aaaaaaaaaaaaaaaaaaaaaaaaaa\n", /* the zero id */
                                         "x\n", "\n"};
    for (size_t i = 0; i < sizeof starts / sizeof starts[0]; i++) {
        struct buffer bad = {0};
        buffer_append_text(&bad, starts[i]);
        buffer_append_bytes(&bad, buffer_bytes(&text));
        folder_store(folder, "me.key", buffer_bytes(&bad));
        assert_int_equal(signer_read(&me, path, &failure), ERR_NO_KEY);
        buffer_free(&bad);
    }
    for (size_t size = 0; size < text.size; size++) { /* cut anywhere */
        folder_store(folder, "me.key", bytes_of(text.data, size));
        assert_int_not_equal(signer_read(&me, path, &failure), OK);
    }
    buffer_free(&text);
    char large[8192];
    memset(large, 'x', sizeof large);
    folder_store(folder, "me.key", bytes_of((const uint8_t *)large, sizeof large));
    assert_int_equal(signer_read(&me, path, &failure), ERR_NO_KEY);
    assert_non_null(strstr(failure.text, "is not an identity file"));
    assert_int_equal(public_key_read(&key, path, &failure), ERR_INVALID);
    assert_non_null(strstr(failure.text, "neither a public key"));
}

static void test_public_keys(void **state)
{
    (void)state;
    struct sign_public key, out;
    struct buffer text = {0};
    char hex[65];
    assert_int_equal(signer_create(path, (struct bytes){0}, NULL, &key, &failure), OK);
    public_key_format(&text, &key);
    assert_int_equal(public_key_parse(&out, buffer_bytes(&text), &failure), OK);
    assert_memory_equal(out.bytes, key.bytes, 32);
    hex_format(hex, key.bytes, 32);
    assert_int_equal(public_key_read(&out, hex, &failure), OK);
    assert_memory_equal(out.bytes, key.bytes, 32);
    folder_store(folder, "me.pub", buffer_bytes(&text));
    char pub[FOLDER_PATH];
    folder_join(pub, folder, "me.pub");
    assert_int_equal(public_key_read(&out, pub, &failure), OK);
    assert_memory_equal(out.bytes, key.bytes, 32);
    assert_int_equal(public_key_read(&out, path, &failure), OK); /* the identity file itself */
    assert_memory_equal(out.bytes, key.bytes, 32);
    assert_int_equal(public_key_read(&out, "nothing", &failure), ERR_NO_FILE);
    assert_int_equal(public_key_parse(&out, bytes_text("QUJD"), &failure), ERR_INVALID);
    assert_int_equal(public_key_parse(&out, bytes_text(""), &failure), ERR_INVALID);
    buffer_free(&text);
}

/* --- files --- */

static void test_files(void **state)
{
    (void)state;
    char file[FOLDER_PATH];
    struct buffer text = {0};
    struct stat st;
    folder_join(file, folder, "f");
    assert_int_equal(file_write(file, bytes_text("one"), 0640, true, &failure), OK);
    assert_int_equal(file_write(file, bytes_text("two"), 0600, true, &failure), ERR_EXISTS);
    assert_int_equal(file_write(file, bytes_text("three"), 0600, false, &failure), OK);
    assert_int_equal(file_read(&text, file, 5, &failure), OK);
    assert_true(bytes_equal(buffer_bytes(&text), bytes_text("three")));
    buffer_clear(&text);
    assert_int_equal(file_read(&text, file, 4, &failure), ERR_TOO_LARGE);
    buffer_free(&text);
    assert_int_equal(stat(file, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    /* A dangling link is a file that exists. */
    char dangling[FOLDER_PATH];
    folder_join(dangling, folder, "dangling");
    assert_int_equal(symlink("/proc/nonexistent/x", dangling), 0);
    assert_int_equal(file_write(dangling, bytes_text("x"), 0600, true, &failure), ERR_EXISTS);
    assert_int_equal(file_write("/proc/nonexistent/x", bytes_text("x"), 0600, false, &failure), ERR_NO_FILE);
    folder_join(file, folder, "a/b//c");
    assert_int_equal(folder_create(file, &failure), OK);
    assert_int_equal(folder_create(file, &failure), OK);
    assert_int_equal(stat(file, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
}

static void test_home_folders(void **state)
{
    (void)state;
    setenv("HOME", "/home/me", 1);
    unsetenv("XDG_CONFIG_HOME");
    char *f = config_folder();
    assert_string_equal(f, "/home/me/.config/consilium");
    free(f);
    setenv("XDG_CONFIG_HOME", "/elsewhere", 1);
    f = config_folder();
    assert_string_equal(f, "/elsewhere/consilium");
    free(f);
    setenv("XDG_CONFIG_HOME", "relative", 1);
    f = config_folder();
    assert_string_equal(f, "/home/me/.config/consilium");
    free(f);
    unsetenv("HOME");
    unsetenv("XDG_CACHE_HOME");
    assert_null(cache_folder());
}

/* --- login names --- */

static void assert_folds(const char *a, const char *b, bool same)
{
    struct buffer x = {0}, y = {0};
    assert_int_equal(login_fold(&x, a, &failure), OK);
    assert_int_equal(login_fold(&y, b, &failure), OK);
    assert_true(bytes_equal(buffer_bytes(&x), buffer_bytes(&y)) == same);
    buffer_free(&x);
    buffer_free(&y);
}

static void test_login_names(void **state)
{
    (void)state;
    assert_folds("House", "hOUSE", true);
    assert_folds("\xc3\x84rzte", "a\xcc\x88RZTE", true);    /* composed or not */
    assert_folds("stra\xc3\x9f" "e", "STRASSE", true);
    assert_folds("\xef\xac\x81le", "file", true);           /* the fi ligature */
    assert_folds("a\xe2\x80\x8b" "b", "ab", true);          /* a zero-width space hides no other name */
    assert_folds("house", "h0use", false);
    struct buffer out = {0};
    char longer[200];
    memset(longer, 'a', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    assert_int_equal(login_fold(&out, "", &failure), ERR_INVALID);
    assert_int_equal(login_fold(&out, "\xff", &failure), ERR_INVALID);
    assert_int_equal(login_fold(&out, longer, &failure), ERR_INVALID);
    struct digest one, two, other, cluster = sample_digest(1), another = sample_digest(1);
    another.bytes[0] ^= 1; /* the salt is its first half */
    assert_int_equal(login_tag(&one, &cluster, "House", &failure), OK);
    assert_int_equal(login_tag(&two, &cluster, "house", &failure), OK);
    assert_int_equal(login_tag(&other, &another, "house", &failure), OK);
    assert_true(digest_equal(&one, &two));
    assert_false(digest_equal(&one, &other));
    buffer_free(&out);
}

int main(void)
{
    crypto_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_with_passphrase, setup, teardown),
        cmocka_unit_test_setup_teardown(test_without_passphrase, setup, teardown),
        cmocka_unit_test_setup_teardown(test_assign, setup, teardown),
        cmocka_unit_test_setup_teardown(test_damaged_files, setup, teardown),
        cmocka_unit_test_setup_teardown(test_public_keys, setup, teardown),
        cmocka_unit_test_setup_teardown(test_files, setup, teardown),
        cmocka_unit_test(test_login_names),
        cmocka_unit_test(test_home_folders),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
