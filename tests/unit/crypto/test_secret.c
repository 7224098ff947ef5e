#include "crypto/random.h"
#include "crypto/secret.h"
#include "tests/lib/dies.h"
#include "tests/lib/unit.h"

static void test_alloc(void **state)
{
    (void)state;
    for (size_t size = 0; size < 100; size++) {
        uint8_t *p = secret_alloc(size);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % _Alignof(max_align_t), 0);
        assert_true(secret_is_zero(p, size));
        for (size_t i = 0; i < size; i++)
            p[i] = 0xff;
        secret_free(p);
    }
    secret_free(NULL);
}

static void write_past_end(void)
{
    volatile uint8_t *p = secret_alloc(64);
    p[64] = 1;
}
static void write_before_start(void)
{
    uint8_t *p = secret_alloc(64);
    volatile uint8_t *q = p;
    q[-1] ^= 1;
    secret_free(p); /* the canary shows it */
}
static void use_after_free(void)
{
    volatile uint8_t *p = secret_alloc(64);
    secret_free((void *)(uintptr_t)p);
    p[0] = 1;
}
static void test_guards(void **state)
{
    (void)state;
    assert_true(dies(write_past_end));
    assert_true(dies(write_before_start));
    assert_true(dies(use_after_free));
}

static void test_locked_or_not(void **state)
{
    (void)state;
    print_message("secret memory is %s here\n", secret_memory_locked() ? "locked" : "not locked");
}

static void test_equal(void **state)
{
    uint8_t a[33], b[33];
    (void)state;
    random_bytes(a, sizeof a);
    for (size_t i = 0; i < sizeof a; i++) {
        for (size_t j = 0; j < sizeof a; j++)
            b[j] = a[j];
        assert_true(secret_equal(a, b, sizeof a));
        b[i] ^= 0x80;
        assert_false(secret_equal(a, b, sizeof a));
        assert_true(secret_equal(a, b, i));
    }
    assert_true(secret_equal(NULL, NULL, 0));
    assert_true(secret_is_zero(NULL, 0));
}

static void test_wipe(void **state)
{
    uint8_t a[40];
    struct buffer b = {.limit = 7};
    (void)state;
    random_bytes(a, sizeof a);
    a[39] = 1;
    secret_wipe(a, 39);
    assert_true(secret_is_zero(a, 39));
    assert_int_equal(a[39], 1);
    secret_wipe(NULL, 0);
    buffer_append_text(&b, "secret");
    secret_wipe_buffer(&b);
    assert_null(b.data);
    assert_int_equal(b.limit, 7);
    secret_wipe_buffer(&b);
}

static void test_random(void **state)
{
    uint8_t a[64] = {0}, seen[256] = {0};
    (void)state;
    random_bytes(NULL, 0);
    random_bytes(a, sizeof a);
    assert_false(secret_is_zero(a, sizeof a));
    struct id x = random_id(), y = random_id();
    assert_false(id_equal(&x, &y));
    for (int i = 0; i < 1000; i++) {
        uint32_t v = random_below(7);
        assert_true(v < 7);
        seen[v]++;
    }
    for (int i = 0; i < 7; i++)
        assert_true(seen[i] > 50);
    assert_int_equal(random_below(1), 0);
}

int main(void)
{
    crypto_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alloc), cmocka_unit_test(test_guards), cmocka_unit_test(test_locked_or_not),
        cmocka_unit_test(test_equal), cmocka_unit_test(test_wipe),   cmocka_unit_test(test_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
