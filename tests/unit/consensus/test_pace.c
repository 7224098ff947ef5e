/* When the next block is due. */
#include "consensus/pace.h"
#include "tests/lib/unit.h"

#define MS UINT64_C(1000000)
#define START (UINT64_C(5000) * MS)

static uint64_t ask(struct pace *p, size_t waiting, size_t here, uint64_t now)
{
    struct pace_load load = {.waiting = waiting, .here = here};
    return pace_wait(p, &load, now);
}

/* Block after block, each as soon as the one before is applied. */
static void one_or_two_never_wait(void **state)
{
    (void)state;
    for (size_t clients = 1; clients <= 2; clients++) {
        struct pace p = {0};
        for (uint64_t now = START; now < START + 1000 * MS; now += MS / 2) {
            assert_int_equal(ask(&p, 1, clients, now), 0);
            pace_proposed(&p, now);
        }
    }
}

static void of_many_half_share_a_block(void **state)
{
    (void)state;
    struct pace p = {0};
    assert_int_equal(ask(&p, 1, 1, START), 0); /* the first one is alone, as far as is known */
    pace_proposed(&p, START);
    assert_int_equal(ask(&p, 15, 16, START + MS), 0);
    pace_proposed(&p, START + MS);
    assert_int_equal(ask(&p, 7, 7, START + 2 * MS), PACE_NS - MS);
    assert_int_equal(ask(&p, 8, 8, START + 2 * MS), 0);
    /* Nor does anybody wait longer than the pace. */
    assert_int_equal(ask(&p, 1, 1, START + MS + PACE_NS - 1), 1);
    assert_int_equal(ask(&p, 1, 1, START + MS + PACE_NS), 0);
}

static void a_block_in_flight_is_waited_for(void **state)
{
    (void)state;
    struct pace p = {0};
    struct pace_load load = {.waiting = 1, .here = 1, .in_flight = true};
    pace_proposed(&p, START);
    assert_int_equal(pace_wait(&p, &load, START + MS), PACE_NS - MS);
    load.waiting = load.here = 100;
    assert_int_equal(pace_wait(&p, &load, START + MS), PACE_NS - MS);
    assert_int_equal(pace_wait(&p, &load, START + PACE_NS), 0);
    load.full = true;
    assert_int_equal(pace_wait(&p, &load, START + MS), 0);
    load = (struct pace_load){.waiting = 100, .here = 100};
    assert_int_equal(pace_wait(&p, &load, START + MS), 0);
}

/* A burst long ago holds nobody up. */
static void what_was_long_ago_is_forgotten(void **state)
{
    (void)state;
    struct pace p = {0};
    uint64_t now = START;
    assert_int_equal(ask(&p, 64, 64, now), 0);
    for (unsigned i = 0; i < 10; i++) {
        pace_proposed(&p, now);
        assert_true(ask(&p, 1, 1, now + MS) > 0); /* the others may come again */
        now += PACE_NS;
    }
    now = START + 2 * PACE_LATELY_NS + 2;
    ask(&p, 1, 1, now - PACE_LATELY_NS - 1);
    pace_proposed(&p, now - MS);
    assert_int_equal(ask(&p, 1, 1, now), 0);
    assert_int_equal(ask(&p, 64, 64, now), 0);
    pace_proposed(&p, now + 10 * PACE_LATELY_NS - MS);
    assert_int_equal(ask(&p, 1, 1, now + 10 * PACE_LATELY_NS), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_or_two_never_wait),
        cmocka_unit_test(of_many_half_share_a_block),
        cmocka_unit_test(a_block_in_flight_is_waited_for),
        cmocka_unit_test(what_was_long_ago_is_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
