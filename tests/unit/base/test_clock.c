#include "base/clock.h"
#include "tests/lib/unit.h"

static void test_format(void **state)
{
    static const struct {
        uint64_t ms;
        const char *text;
    } cases[] = {
        {0, "1970-01-01T00:00:00.000Z"},
        {1, "1970-01-01T00:00:00.001Z"},
        {951782399999, "2000-02-28T23:59:59.999Z"},
        {951782400000, "2000-02-29T00:00:00.000Z"},
        {1769862896789, "2026-01-31T12:34:56.789Z"},
        {253402300799999, "9999-12-31T23:59:59.999Z"},
        {253402300800000, "(out of range)"},
        {UINT64_MAX, "(out of range)"},
    };
    char text[CLOCK_TEXT_SIZE];
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        clock_format(text, cases[i].ms);
        assert_string_equal(text, cases[i].text);
    }
}

static void test_clocks(void **state)
{
    (void)state;
    uint64_t wall = clock_wall_ms(), before = clock_monotonic_ns();
    assert_true(wall > 1700000000000 && wall < 253402300800000);
    for (int i = 0; i < 1000; i++) {
        uint64_t now = clock_monotonic_ns();
        assert_true(now >= before);
        before = now;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_format), cmocka_unit_test(test_clocks)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
