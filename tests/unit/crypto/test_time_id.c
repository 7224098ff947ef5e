#include "crypto/time_id.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "crypto/random.h"

/* RFC 9562, appendix A.6: 2022-02-22 19:22:22 UTC, rand_a 0xcc3, rand_b 0x18c4dc0c0c07398f. */
static void test_published(void **state)
{
    static const uint8_t random[TIME_ID_RANDOM] = {0x0c, 0xc3, 0x18, 0xc4, 0xdc, 0x0c, 0x0c, 0x07, 0x39, 0x8f};
    static const uint8_t expected[16] = {0x01, 0x7f, 0x22, 0xe2, 0x79, 0xb0, 0x7c, 0xc3,
                                         0x98, 0xc4, 0xdc, 0x0c, 0x0c, 0x07, 0x39, 0x8f};
    (void)state;
    struct id id = time_id_of(0x017f22e279b0, random);
    assert_memory_equal(id.bytes, expected, sizeof expected);
}

/* Bits that belong to version and variant are not the random ones', and the time has 48. */
static void test_fixed_bits(void **state)
{
    uint8_t random[TIME_ID_RANDOM];
    (void)state;
    memset(random, 0xff, sizeof random);
    struct id id = time_id_of(UINT64_MAX, random);
    assert_int_equal(id.bytes[0], 0xff);
    assert_int_equal(id.bytes[6], 0x7f);
    assert_int_equal(id.bytes[8], 0xbf);
    memset(random, 0, sizeof random);
    id = time_id_of(UINT64_C(1) << 48, random);
    static const uint8_t expected[16] = {[6] = 0x70, [8] = 0x80};
    assert_memory_equal(id.bytes, expected, sizeof expected);
    assert_false(id_is_zero(&id)); /* what a zero id means elsewhere */
}

static void test_order(void **state)
{
    uint64_t now = 1767225600000;
    (void)state;
    struct id before = time_id(now);
    for (int i = 1; i < 1000; i++) {
        struct id after = time_id(now + (uint64_t)i);
        assert_true(memcmp(before.bytes, after.bytes, sizeof after.bytes) < 0);
        before = after;
    }
}

/* Those of one millisecond differ, in each of the random bytes. */
static void test_distinct(void **state)
{
    struct id first = time_id(1), id;
    uint8_t differs[16] = {0};
    (void)state;
    for (int i = 0; i < 256; i++) {
        id = time_id(1);
        assert_false(id_equal(&first, &id));
        for (unsigned k = 0; k < 16; k++)
            differs[k] |= first.bytes[k] ^ id.bytes[k];
    }
    static const uint8_t expected[16] = {[6] = 0x0f, 0xff, 0x3f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    assert_memory_equal(differs, expected, sizeof expected);
}

int main(void)
{
    crypto_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_published),
        cmocka_unit_test(test_fixed_bits),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_distinct),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
