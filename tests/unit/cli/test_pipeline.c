/* Work by many threads that comes out in order, and stops at the first that says so. */
#include "tests/lib/unit.h"

#include <sched.h>
#include <stdatomic.h>

#include "base/check.h"
#include "cli/pipeline.h"

struct work {
    uint64_t in[PIPELINE_SLOTS], out[PIPELINE_SLOTS];
    uint64_t finished, stop_at; /* UINT64_MAX: never */
    atomic_uint prepared;
    bool begun, ended, refuses; /* refuses: to begin */
};

static void prepare(void *data, uint32_t slot)
{
    struct work *w = data;
    CHECK(slot < pipeline_slots());
    for (uint64_t i = w->in[slot] % 5; i; i--) sched_yield(); /* not all take as long */
    w->out[slot] = w->in[slot] * 3;
    atomic_fetch_add(&w->prepared, 1);
}

static bool finish(void *data, uint32_t slot)
{
    struct work *w = data;
    CHECK(w->begun && !w->ended && w->out[slot] == w->in[slot] * 3);
    CHECK(w->in[slot] == w->finished); /* in order, none twice */
    return w->finished++ != w->stop_at;
}

static bool begin(void *data)
{
    struct work *w = data;
    w->begun = true;
    return !w->refuses;
}

static void end(void *data) { ((struct work *)data)->ended = true; }

static struct pipeline *opened(struct work *w)
{
    struct pipeline *p;
    struct pipeline_work work = {w, prepare, finish, begin, end};
    assert_int_equal(pipeline_open(&p, &work, NULL), OK);
    return p;
}

static void submit(struct pipeline *p, struct work *w, uint64_t n)
{
    w->in[pipeline_slot(p)] = n;
    pipeline_submit(p);
}

static void test_order(void **state)
{
    (void)state;
    struct work w = {.stop_at = UINT64_MAX};
    struct pipeline *p = opened(&w);
    pipeline_drain(p); /* of nothing */
    for (uint64_t n = 0; n < 3000; n++) {
        submit(p, &w, n);
        if (n % 1000 == 17) {
            pipeline_drain(p);
            assert_int_equal(w.finished, n + 1);
        }
    }
    pipeline_drain(p);
    assert_int_equal(w.finished, 3000);
    assert_int_equal(atomic_load(&w.prepared), 3000);
    assert_false(pipeline_stopped(p));
    assert_false(w.ended);
    pipeline_close(p);
    assert_true(w.ended);
}

/* The owner may go on submitting for a while; nothing of that is finished. */
static void test_stops(void **state)
{
    (void)state;
    for (uint64_t stop = 0; stop < 40; stop += 3) {
        struct work w = {.stop_at = stop};
        struct pipeline *p = opened(&w);
        for (uint64_t n = 0; n < 100; n++) submit(p, &w, n);
        pipeline_drain(p);
        assert_true(pipeline_stopped(p));
        assert_int_equal(w.finished, stop + 1);
        pipeline_close(p);
    }
}

static void test_refused_beginning(void **state)
{
    (void)state;
    struct work w = {.stop_at = UINT64_MAX, .refuses = true};
    struct pipeline *p = opened(&w);
    for (uint64_t n = 0; n < 100; n++) submit(p, &w, n);
    pipeline_drain(p);
    assert_true(pipeline_stopped(p));
    assert_int_equal(w.finished, 0);
    pipeline_close(p);
    assert_true(w.ended);
}

/* Closed while work is under way: whatever was finished came first, in order. */
static void test_closed_early(void **state)
{
    (void)state;
    for (int round = 0; round < 50; round++) {
        struct work w = {.stop_at = UINT64_MAX};
        struct pipeline *p = opened(&w);
        for (uint64_t n = 0; n < (uint64_t)round; n++) submit(p, &w, n);
        pipeline_close(p);
        assert_true(w.finished <= (uint64_t)round && w.ended);
    }
    pipeline_close(NULL);
}

static cpu_set_t all;

static int use_one(void **state)
{
    (void)state;
    cpu_set_t one;
    int first = 0;
    CHECK(sched_getaffinity(0, sizeof all, &all) == 0);
    while (!CPU_ISSET(first, &all)) first++;
    CPU_ZERO(&one);
    CPU_SET(first, &one);
    CHECK(sched_setaffinity(0, sizeof one, &one) == 0);
    assert_int_equal(pipeline_workers(), 0);
    return 0;
}

static int use_all(void **state)
{
    (void)state;
    return sched_setaffinity(0, sizeof all, &all);
}

int main(void)
{
#define ALONE(name) {#name "_alone", name, use_one, use_all, NULL}
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_order), cmocka_unit_test(test_stops),
                                       cmocka_unit_test(test_refused_beginning), cmocka_unit_test(test_closed_early),
                                       ALONE(test_order), ALONE(test_stops), ALONE(test_refused_beginning),
                                       ALONE(test_closed_early)};
    return cmocka_run_group_tests_name("cli/pipeline", tests, NULL, NULL);
}
