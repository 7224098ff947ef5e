/* Vector: draft-irtf-cfrg-xchacha-03 appendix A.3.1. */
#include <pthread.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "crypto/random.h"
#include "crypto/seal.h"
#include "tests/lib/unhex.h"
#include "tests/lib/unit.h"

static const char sunscreen[] = "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for "
                                "the future, sunscreen would be it.";

static void test_xchacha_vector(void **state)
{
    struct seal_key key;
    struct bytes ad = unhex("50515253c0c1c2c3c4c5c6c7");
    struct bytes sealed = unhex("404142434445464748494a4b4c4d4e4f5051525354555657"
                                "bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb"
                                "731c7f1b0b4aa6440bf3a82f4eda7e39ae64c6708c54c216cb96b72e1213b452"
                                "2f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff9"
                                "21f9664c97637da9768812f615c68b13b52e"
                                "c0875924c1c7987947deafd8780acf49");
    uint8_t plain[sizeof sunscreen];
    (void)state;
    for (size_t i = 0; i < 32; i++)
        key.bytes[i] = (uint8_t)(0x80 + i);
    assert_int_equal(sealed.size, sizeof sunscreen - 1 + SEAL_OVERHEAD);
    assert_int_equal(seal_rest_open(plain, &key, sealed, ad), OK);
    assert_memory_equal(plain, sunscreen, sizeof sunscreen - 1);
    unhex_free(ad);
    unhex_free(sealed);
}

static void test_rest_sizes_and_places(void **state)
{
    struct seal_key key;
    uint8_t plain[200], sealed[200 + SEAL_OVERHEAD], opened[200];
    (void)state;
    random_bytes(&key, sizeof key);
    random_bytes(plain, sizeof plain);
    for (size_t size = 0; size <= sizeof plain; size++) {
        struct bytes ad = bytes_of(plain, size % 17);
        seal_rest(sealed, &key, bytes_of(plain, size), ad);
        assert_int_equal(seal_rest_open(opened, &key, bytes_of(sealed, size + SEAL_OVERHEAD), ad), OK);
        assert_memory_equal(opened, plain, size);
        /* both in place */
        memcpy(sealed + SEAL_NONCE, plain, size);
        seal_rest(sealed, &key, bytes_of(sealed + SEAL_NONCE, size), ad);
        if (size > 8) assert_memory_not_equal(sealed + SEAL_NONCE, plain, size);
        assert_int_equal(seal_rest_open(sealed + SEAL_NONCE, &key, bytes_of(sealed, size + SEAL_OVERHEAD), ad), OK);
        assert_memory_equal(sealed + SEAL_NONCE, plain, size);
    }
}

static void test_rest_refuses(void **state)
{
    struct seal_key key, other;
    uint8_t sealed[20 + SEAL_OVERHEAD], opened[20];
    struct bytes all = BYTES(sealed);
    (void)state;
    random_bytes(&key, sizeof key);
    random_bytes(&other, sizeof other);
    seal_rest(sealed, &key, bytes_of(sunscreen, 20), bytes_text("table/key"));
    assert_int_equal(seal_rest_open(opened, &other, all, bytes_text("table/key")), ERR_DECRYPT);
    assert_int_equal(seal_rest_open(opened, &key, all, bytes_text("table/kez")), ERR_DECRYPT);
    assert_int_equal(seal_rest_open(opened, &key, all, (struct bytes){0}), ERR_DECRYPT);
    for (size_t size = 0; size < all.size; size++)
        assert_int_equal(seal_rest_open(opened, &key, bytes_of(sealed, size), bytes_text("table/key")), ERR_DECRYPT);
    for (size_t bit = 0; bit < 8 * sizeof sealed; bit++) {
        sealed[bit / 8] ^= (uint8_t)(1 << bit % 8);
        memset(opened, 'L', sizeof opened);
        assert_int_equal(seal_rest_open(opened, &key, all, bytes_text("table/key")), ERR_DECRYPT);
        assert_memory_not_equal(opened, sunscreen, 4);
        sealed[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_int_equal(seal_rest_open(opened, &key, all, bytes_text("table/key")), OK);
}

static void test_nonces_differ(void **state)
{
    struct seal_key key = {{0}};
    uint8_t a[SEAL_OVERHEAD], b[SEAL_OVERHEAD];
    (void)state;
    seal_rest(a, &key, (struct bytes){0}, (struct bytes){0});
    seal_rest(b, &key, (struct bytes){0}, (struct bytes){0});
    assert_memory_not_equal(a, b, SEAL_NONCE);
}

static void test_box(void **state)
{
    struct seal_secret secret, wrong_secret;
    struct seal_public public_key, wrong_public;
    (void)state;
    seal_keypair_random(&secret, &public_key);
    seal_keypair_random(&wrong_secret, &wrong_public);
    for (size_t size = 0; size <= 70; size++) {
        struct buffer box = {0}, plain = {0};
        buffer_append_text(&box, "before");
        assert_int_equal(seal_box(&box, &public_key, bytes_of(sunscreen, size)), OK);
        assert_int_equal(box.size, 6 + size + SEAL_BOX_OVERHEAD);
        struct bytes in = bytes_of(box.data + 6, box.size - 6);
        assert_int_equal(seal_box_open(&plain, &public_key, &secret, in), OK);
        assert_true(bytes_equal(buffer_bytes(&plain), bytes_of(sunscreen, size)));
        assert_int_equal(seal_box_open(&plain, &wrong_public, &wrong_secret, in), ERR_DECRYPT);
        assert_int_equal(plain.size, size); /* a failure appends nothing */
        box.data[6 + box.size / 2] ^= 1;
        assert_int_equal(seal_box_open(&plain, &public_key, &secret, in), ERR_DECRYPT);
        buffer_free(&box);
        buffer_free(&plain);
    }
}

static void test_box_limits(void **state)
{
    struct seal_secret secret;
    struct seal_public public_key, weak = {{0}};
    struct buffer box = {.limit = 50}, plain = {.limit = 1};
    (void)state;
    seal_keypair_from_seed(&secret, &public_key, (const uint8_t[32]){1});
    assert_int_equal(seal_box(&box, &weak, bytes_text("x")), ERR_INVALID);
    assert_int_equal(box.size, 0);
    assert_int_equal(seal_box(&box, &public_key, bytes_text("xyz")), ERR_TOO_LARGE);
    buffer_clear(&box);
    assert_int_equal(seal_box(&box, &public_key, bytes_text("xy")), OK);
    assert_int_equal(seal_box_open(&plain, &public_key, &secret, buffer_bytes(&box)), ERR_TOO_LARGE);
    for (size_t size = 0; size < 50; size++) {
        struct buffer out = {0};
        assert_int_equal(seal_box_open(&out, &public_key, &secret, bytes_of(box.data, size)), ERR_DECRYPT);
        buffer_free(&out);
    }
    buffer_free(&box);
    buffer_free(&plain);
}

#define NONCES 300 /* more than are drawn at once, several times */

static void collect_nonces(uint8_t out[static NONCES * SEAL_NONCE])
{
    static const struct seal_key key;
    uint8_t sealed[SEAL_OVERHEAD];
    for (size_t i = 0; i < NONCES; i++) {
        seal_rest(sealed, &key, (struct bytes){0}, (struct bytes){0});
        memcpy(out + i * SEAL_NONCE, sealed, SEAL_NONCE);
    }
}

static void *collect_on_thread(void *out)
{
    collect_nonces(out);
    return NULL;
}

static void collect_in_child(uint8_t out[static NONCES * SEAL_NONCE])
{
    int ends[2], status;
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        collect_nonces(out);
        _exit(write(ends[1], out, NONCES * SEAL_NONCE) == NONCES * SEAL_NONCE ? 0 : 1);
    }
    assert_int_equal(read(ends[0], out, NONCES * SEAL_NONCE), NONCES * SEAL_NONCE);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    close(ends[0]);
    close(ends[1]);
}

static int compare_nonces(const void *a, const void *b) { return memcmp(a, b, SEAL_NONCE); }

/* Also between threads, and between a process and its child. */
static void test_nonces_never_twice(void **state)
{
    enum { PART = NONCES * SEAL_NONCE };
    static uint8_t all[4 * PART];
    pthread_t thread;
    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, collect_on_thread, all), 0);
    collect_nonces(all + PART);
    collect_in_child(all + 2 * PART);
    collect_nonces(all + 3 * PART);
    assert_int_equal(pthread_join(thread, NULL), 0);
    qsort(all, 4 * NONCES, SEAL_NONCE, compare_nonces);
    for (size_t i = 1; i < 4 * NONCES; i++)
        assert_true(compare_nonces(all + (i - 1) * SEAL_NONCE, all + i * SEAL_NONCE) != 0);
}

int main(void)
{
    crypto_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_xchacha_vector), cmocka_unit_test(test_rest_sizes_and_places),
        cmocka_unit_test(test_rest_refuses),   cmocka_unit_test(test_nonces_differ),
        cmocka_unit_test(test_nonces_never_twice),
        cmocka_unit_test(test_box),            cmocka_unit_test(test_box_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
