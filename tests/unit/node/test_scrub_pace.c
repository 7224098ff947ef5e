/* The scrub's rate, by its own clock: bytes are counted against time that the test gives, so that no
 * machine is too slow for it. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/limits.h"
#include "node/scrub_pace.h"
#include "tests/lib/unit.h"

#define MS UINT64_C(1000000)
#define SECOND_NS (1000 * MS)
#define DEFAULT_RATE (4 * MIB)
#define STEP (1 * MIB)

static uint64_t state = 88172645463325252u; /* xorshift64, https://www.jstatsoft.org/article/view/v008i14 */

static uint64_t draw(uint64_t below)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state % below;
}

static void no_more_than_the_rate_in_an_hour(void **unused)
{
    (void)unused;
    static const uint64_t rates[] = {1024, 65535, 65536, 65537, DEFAULT_RATE, UINT64_C(1) << 30, SCRUB_RATE_MOST};
    for (size_t i = 0; i < sizeof rates / sizeof *rates; i++) {
        struct scrub_pace p;
        uint64_t now = 12345, read = 0;
        scrub_pace_begin(&p, rates[i], now);
        assert_int_equal(scrub_pace_budget(&p, STEP), 0);
        for (unsigned tick = 1; tick <= 36000; tick++) { /* each reads all that it may */
            scrub_pace_earn(&p, now += 100 * MS);
            uint64_t budget = scrub_pace_budget(&p, UINT64_MAX / 4);
            scrub_pace_spend(&p, budget);
            read += budget;
            assert_true(read <= rates[i] * tick / 10);
        }
        assert_true(read >= rates[i] * 3600 - 36000); /* ... and all of it, but for parts of a byte a tick */
    }
}

/* A value is read as a whole, though less was left: that is owed. The log comes in pieces of any size. */
static void what_was_too_much_is_paid_back(void **unused)
{
    (void)unused;
    struct scrub_pace p;
    uint64_t now = 0, read = 0, most_over = 0;
    scrub_pace_begin(&p, DEFAULT_RATE, now);
    for (unsigned i = 0; i < 200000; i++) {
        now += draw(3) ? 100 * MS : draw(5 * SECOND_NS);
        scrub_pace_earn(&p, now);
        if (scrub_pace_budget(&p, 1) == 0) continue;
        uint64_t over = draw(50) ? draw(1000) : draw(LIMIT_STORE_VALUE), bytes = scrub_pace_budget(&p, STEP) + over;
        scrub_pace_spend(&p, bytes);
        read += bytes;
        if (over > most_over) most_over = over;
        uint64_t earned = (uint64_t)((double)DEFAULT_RATE * ((double)now / (double)SECOND_NS));
        if (read > earned + 1 + most_over) fail_msg("%" PRIu64 " bytes after %" PRIu64 " ns", read, now);
    }
}

/* After a long silence no more than a second's worth is there at once, or SCRUB_BURST of a slow one. */
static void a_pause_saves_up_a_second(void **unused)
{
    (void)unused;
    struct scrub_pace p;
    scrub_pace_begin(&p, DEFAULT_RATE, 0);
    scrub_pace_earn(&p, 3600 * SECOND_NS);
    assert_int_equal(scrub_pace_budget(&p, UINT64_MAX), DEFAULT_RATE);
    scrub_pace_earn(&p, 7200 * SECOND_NS);
    assert_int_equal(scrub_pace_budget(&p, UINT64_MAX), DEFAULT_RATE);
    assert_int_equal(scrub_pace_budget(&p, STEP), STEP);
    scrub_pace_begin(&p, 1024, 0);
    for (unsigned s = 1; s <= 1000; s++) scrub_pace_earn(&p, s * SECOND_NS);
    assert_int_equal(scrub_pace_budget(&p, UINT64_MAX), SCRUB_BURST);
}

static void a_rate_of_nothing_reads_nothing(void **unused)
{
    (void)unused;
    struct scrub_pace p;
    scrub_pace_begin(&p, 0, 0);
    for (unsigned s = 1; s <= 1000; s++) scrub_pace_earn(&p, s * SECOND_NS);
    assert_int_equal(scrub_pace_budget(&p, UINT64_MAX), 0);
}

/* Others go first: a read of 10 ms is followed by 310 ms without, however much was saved up. */
static void a_rest_is_as_long_as_the_share_wants(void **unused)
{
    (void)unused;
    struct scrub_pace p;
    scrub_pace_begin(&p, DEFAULT_RATE, 0);
    scrub_pace_earn(&p, SECOND_NS);
    scrub_pace_rest(&p, 10 * MS, SECOND_NS);
    scrub_pace_earn(&p, SECOND_NS + (SCRUB_SHARE - 1) * 10 * MS - 1);
    assert_int_equal(scrub_pace_budget(&p, STEP), 0);
    scrub_pace_earn(&p, SECOND_NS + (SCRUB_SHARE - 1) * 10 * MS);
    assert_int_equal(scrub_pace_budget(&p, STEP), STEP);
    scrub_pace_rest(&p, UINT64_MAX, 2 * SECOND_NS); /* a bounded one, whatever was measured */
    scrub_pace_earn(&p, 2 * SECOND_NS + SCRUB_REST_NS);
    assert_int_equal(scrub_pace_budget(&p, STEP), STEP);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_more_than_the_rate_in_an_hour),
        cmocka_unit_test(what_was_too_much_is_paid_back),
        cmocka_unit_test(a_pause_saves_up_a_second),
        cmocka_unit_test(a_rate_of_nothing_reads_nothing),
        cmocka_unit_test(a_rest_is_as_long_as_the_share_wants),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
