/* Times as people type them, and differences as people read them. */
#include <stdlib.h>
#include <time.h>

#include "cli/difference.h"
#include "cli/moment.h"
#include "tests/lib/unit.h"

#define NOW 1790000000000ull /* 2026-09-21T14:13:20Z */

static uint64_t moment(const char *text)
{
    uint64_t ms;
    struct failure failure;
    return moment_parse_at(&ms, text, NOW, &failure) == OK ? ms : 0;
}

static void test_moments(void **state)
{
    (void)state;
    assert_int_equal(moment("30s"), NOW - 30000);
    assert_int_equal(moment("90m"), NOW - 90 * 60000ull);
    assert_int_equal(moment("12h"), NOW - 12 * 3600000ull);
    assert_int_equal(moment("7d"), NOW - 7 * 86400000ull);
    assert_int_equal(moment("2w"), NOW - 14 * 86400000ull);
    assert_int_equal(moment("2026-01-31"), 1769817600000ull);
    assert_int_equal(moment("2026-01-31 14:00"), 1769868000000ull);
    assert_int_equal(moment("2026-01-31T14:00:30"), 1769868030000ull);
    assert_int_equal(moment("2026-01-31T14:00:30Z"), 1769868030000ull);
    assert_int_equal(moment("2024-02-29"), 1709164800000ull);
    assert_int_equal(moment("today"), 1789948800000ull);
    assert_int_equal(moment("yesterday"), 1789862400000ull);
}

static void test_moments_elsewhere(void **state)
{
    (void)state;
    setenv("TZ", "Europe/Berlin", 1);
    tzset();
    assert_int_equal(moment("2026-01-31 14:00"), 1769868000000ull - 3600000);
    assert_int_equal(moment("2026-07-31 14:00"), 1785499200000ull); /* summer time */
    assert_int_equal(moment("2026-01-31 14:00Z"), 1769868000000ull);
    setenv("TZ", "UTC", 1);
    tzset();
}

static void test_no_moments(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "x",
                                      "12",
                                      "h",
                                      "12x",
                                      "12hh",
                                      "-12h",
                                      "1234567s",
                                      "2026",
                                      "26-01-31",
                                      "2026-13-01",
                                      "2026-02-29",
                                      "2026-04-31",
                                      "2026-01-31 25:00",
                                      "2026-01-31x",
                                      "2026-01-31 14:00ZZ",
                                      "tomorrow",
                                      "999999w"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (moment(bad[i]) != 0) fail_msg("'%s' was taken", bad[i]);
}

static void assert_difference(const char *before, const char *after, const char *expected)
{
    struct buffer out = {0};
    difference_format(&out, bytes_text(before), bytes_text(after));
    buffer_append(&out, "", 1);
    assert_string_equal((const char *)out.data, expected);
    buffer_free(&out);
}

static void test_differences(void **state)
{
    (void)state;
    assert_difference("a\nb\nc\n", "a\nx\nc\n", "  a\n- b\n+ x\n  c\n");
    assert_difference("", "a\n", "+ a\n");
    assert_difference("a\n", "", "- a\n");
    assert_difference("1\n2\n3\n4\n5\n6\nold\n7\n8\n9\n10\n11\n", "1\n2\n3\n4\n5\n6\nnew\n7\n8\n9\n10\n11\n",
                      "  4\n  5\n  6\n- old\n+ new\n  7\n  8\n  9\n");
    /* two changes with much in between */
    assert_difference("a\n1\n2\n3\n4\n5\n6\n7\n8\nb\n", "A\n1\n2\n3\n4\n5\n6\n7\n8\nB\n",
                      "- a\n+ A\n  1\n  2\n  3\n  ...\n- b\n+ B\n");
    assert_difference("x\x1b[2J\n", "y\n", "  6 bytes become 2 bytes (not shown line by line)\n");
    assert_difference("x\xe2\x80\xaey\n", "y\n", "- x\\u{202e}y\n+ y\n");
}

static void test_large_differences(void **state)
{
    (void)state;
    struct buffer before = {0}, after = {0}, out = {0};
    for (int i = 0; i < 5000; i++) {
        buffer_printf(&before, "a%d\n", i);
        buffer_printf(&after, "b%d\n", i);
    }
    difference_format(&out, buffer_bytes(&before), buffer_bytes(&after));
    assert_true(out.size < 200);
    buffer_free(&before);
    buffer_free(&after);
    buffer_free(&out);
}

static void test_what_is_text(void **state)
{
    (void)state;
    assert_true(is_text(bytes_text("")));
    assert_true(is_text(bytes_text("Gr\xc3\xbc\xc3\x9f\x65\r\n\tx")));
    assert_false(is_text(bytes_of("a\0b", 3)));
    assert_false(is_text(bytes_text("\xff")));
    assert_false(is_text(bytes_text("\x1b")));
}

int main(void)
{
    setenv("TZ", "UTC", 1);
    tzset();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_moments),           cmocka_unit_test(test_moments_elsewhere),
        cmocka_unit_test(test_no_moments),        cmocka_unit_test(test_differences),
        cmocka_unit_test(test_large_differences), cmocka_unit_test(test_what_is_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
