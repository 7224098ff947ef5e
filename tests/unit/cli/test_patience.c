/* Who is listened to, and for how long. */
#include "cli/patience.h"
#include "tests/lib/unit.h"

/* Pages until it is over; 0: not within `most`. */
static unsigned pages_until_over(uint64_t page_ms, uint64_t entries, unsigned most)
{
    struct patience p = patience_begin();
    for (unsigned i = 1; i <= most; i++) {
        patience_spend(&p, page_ms, entries);
        if (patience_over(&p)) return i;
    }
    return 0;
}

static void who_answers_in_the_last_moment_is_left(void **state)
{
    (void)state;
    assert_int_equal(pages_until_over(29000, 256, 4000), 5); /* of 4,000 pages, and 32 hours */
    assert_int_equal(pages_until_over(9000, 1, 4000), 14);
    assert_int_equal(pages_until_over(PATIENCE_MS + 1, 1000000, 1), 1); /* what comes too late earns nothing */
}

static void who_is_only_slow_is_not(void **state)
{
    (void)state;
    assert_int_equal(pages_until_over(2000, 256, 100000), 0);
    assert_int_equal(pages_until_over(10, 1, 1000000), 0);
    assert_int_equal(pages_until_over(0, 0, 1000000), 0);
}

static void a_pause_is_forgiven_once_it_goes_on(void **state)
{
    (void)state;
    struct patience p = patience_begin();
    for (unsigned i = 0; i < 100; i++) {
        patience_spend(&p, 60000, 0);
        for (unsigned page = 0; page < 40; page++) patience_spend(&p, 100, 256);
    }
    assert_false(patience_over(&p));
    for (unsigned i = 0; i < 3; i++) patience_spend(&p, 60000, 0);
    assert_true(patience_over(&p));
    patience_spend(&p, 0, UINT64_MAX); /* for good */
    assert_true(patience_over(&p));
}

static void no_number_overflows(void **state)
{
    (void)state;
    struct patience p = patience_begin();
    patience_spend(&p, 0, UINT64_MAX);
    assert_int_equal(p.left_ms, PATIENCE_MS);
    patience_spend(&p, UINT64_MAX, UINT64_MAX);
    assert_true(patience_over(&p));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_answers_in_the_last_moment_is_left),
        cmocka_unit_test(who_is_only_slow_is_not),
        cmocka_unit_test(a_pause_is_forgiven_once_it_goes_on),
        cmocka_unit_test(no_number_overflows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
