/* What a member may have the leader put into blocks. */
#include "consensus/quota.h"
#include "tests/lib/unit.h"

#define SECOND UINT64_C(1000000000)
#define MS UINT64_C(1000000)

static void the_budget_ends_and_refills(void **state)
{
    (void)state;
    struct quota q = {0};
    uint64_t now = 5 * SECOND;
    for (unsigned i = 0; i < LIMIT_OWN_BURST; i++)
        assert_true(quota_take(&q, 1, 100, now));
    assert_false(quota_take(&q, 1, 100, now));
    assert_false(quota_take(&q, 1, 100, now + SECOND / LIMIT_OWN_PER_S - 1));
    now += SECOND / LIMIT_OWN_PER_S;
    assert_true(quota_take(&q, 1, 100, now));
    assert_false(quota_take(&q, 1, 100, now));
    /* However often it is asked, a second gives what a second gives. */
    unsigned given = 0;
    for (unsigned i = 0; i < 1000; i++)
        given += quota_take(&q, 1, 0, now += SECOND / 1000);
    assert_int_equal(given, LIMIT_OWN_PER_S);
    /* After long it is full again, not more. */
    now += 1000 * SECOND;
    assert_true(quota_take(&q, LIMIT_OWN_BURST, 0, now));
    assert_false(quota_take(&q, 1, 0, now));
}

static void bytes_are_counted(void **state)
{
    (void)state;
    struct quota q = {0};
    uint64_t now = SECOND;
    assert_false(quota_take(&q, 1, LIMIT_OWN_BYTES + 1, now));
    assert_true(quota_take(&q, 1, LIMIT_OWN_BYTES - 10, now));
    assert_false(quota_take(&q, 1, 11, now));
    assert_true(quota_take(&q, 1, 10, now));
    now += SECOND;
    assert_false(quota_take(&q, 1, LIMIT_OWN_BYTES_PER_S + 1, now));
    assert_true(quota_take(&q, 1, LIMIT_OWN_BYTES_PER_S, now));
}

static void silence_grows_and_is_forgiven(void **state)
{
    (void)state;
    struct quota q = {0};
    uint64_t now = SECOND, ms = LIMIT_SILENCE_MS;
    assert_true(quota_heard(&q, now));
    for (unsigned i = 0; i < LIMIT_SILENCE_DOUBLED + 3; i++) {
        assert_int_equal(quota_strike(&q, now), ms);
        assert_false(quota_heard(&q, now + ms * MS - 1));
        assert_int_equal(quota_strike(&q, now + ms * MS - 1), 0); /* of before */
        now += ms * MS;
        assert_true(quota_heard(&q, now));
        if (i < LIMIT_SILENCE_DOUBLED) ms *= 2;
    }
    assert_int_equal(ms, (uint64_t)LIMIT_SILENCE_MS << LIMIT_SILENCE_DOUBLED);
    now += (LIMIT_FORGIVEN_MS + ms) * MS;
    assert_int_equal(quota_strike(&q, now), LIMIT_SILENCE_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_budget_ends_and_refills),
        cmocka_unit_test(bytes_are_counted),
        cmocka_unit_test(silence_grows_and_is_forgiven),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
