/* Vectors: RFC 3720 appendix B.4, and the check value of "123456789". */
#include <stdlib.h>

#include "storage/crc32c.h"
#include "tests/lib/trace.h"
#include "tests/lib/unit.h"

static void both(const void *data, size_t size, uint32_t expected)
{
    assert_int_equal(crc32c(data, size), expected);
    assert_int_equal(crc32c_by_table(data, size), expected);
}

static void test_vectors(void **state)
{
    uint8_t bytes[32];
    static const uint8_t read_command[48] = {
        0x01, 0xc0, 0, 0, 0, 0, 0, 0, 0,    0,    0, 0, 0, 0, 0, 0, 0x14, 0, 0, 0, 0, 0, 4, 0,
        0,    0,    0, 0x14, 0, 0, 0, 0x18, 0x28, 0, 0, 0, 0, 0, 0, 0,    2, 0, 0, 0, 0, 0, 0, 0};
    (void)state;
    both("", 0, 0);
    both("123456789", 9, 0xe3069283);
    memset(bytes, 0, 32);
    both(bytes, 32, 0x8a9136aa);
    memset(bytes, 0xff, 32);
    both(bytes, 32, 0x62a8ab43);
    for (int i = 0; i < 32; i++) bytes[i] = (uint8_t)i;
    both(bytes, 32, 0x46dd794e);
    for (int i = 0; i < 32; i++) bytes[i] = (uint8_t)(31 - i);
    both(bytes, 32, 0x113fdb5c);
    both(read_command, 48, 0xd9963a56);
}

static void test_table_and_instruction_agree(void **state)
{
    uint8_t data[200];
    uint64_t seed = 1;
    (void)state;
    for (size_t i = 0; i < sizeof data; i++) data[i] = (uint8_t)trace_random(&seed);
    for (size_t from = 0; from < 9; from++)
        for (size_t size = 0; from + size <= sizeof data; size++)
            assert_int_equal(crc32c(data + from, size), crc32c_by_table(data + from, size));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_table_and_instruction_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
