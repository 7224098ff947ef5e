/* What a mistyped word was meant to be. */
#include "base/nearest.h"

#include <limits.h>
#include <string.h>

#include "tests/lib/unit.h"

static void test_distance(void **state)
{
    (void)state;
    assert_int_equal(edit_distance("", ""), 0);
    assert_int_equal(edit_distance("", "abc"), 3);
    assert_int_equal(edit_distance("kitten", "sitting"), 3);
    assert_int_equal(edit_distance("status", "sattus"), 1); /* neighbours swapped */
    assert_int_equal(edit_distance("Status", "sTATUS"), 0);
    assert_int_equal(edit_distance("ca", "abc"), 3); /* optimal string alignment, not Damerau's 2 */
    char longer[100];
    memset(longer, 'a', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    assert_int_equal(edit_distance(longer, "a"), UINT_MAX);
}

static void test_nearest(void **state)
{
    (void)state;
    const char *const names[] = {"log", "user", "record"};
    assert_string_equal(nearest("lgo", names, 3), "log");
    assert_null(nearest("x", names, 3));
    assert_null(nearest("entirely", names, 3));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_distance),
        cmocka_unit_test(test_nearest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
