#include "node/bulk.h"

#include <stdbool.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/limits.h"
#include "tests/lib/unit.h"

#define TURNS (LIMIT_SCANS + 8)
#define MS UINT64_C(1000000)

struct world {
    uv_loop_t loop;
    struct bulk *bulk;
    uint64_t entries;
    struct bulk_turn turns[TURNS];
    unsigned begun, refused;
    bool at_once; /* each turn ends as it begins */
    struct bulk_turn *last;
};

static uint64_t entries(void *data) { return ((struct world *)data)->entries; }

static void begin(struct bulk_turn *turn)
{
    struct world *w = turn->data;
    w->begun++;
    assert_true(!w->last || turn == w->last + 1); /* in order */
    w->last = turn;
    if (w->at_once) bulk_end(w->bulk, 0);
}

static void refuse(struct bulk_turn *turn) { ((struct world *)turn->data)->refused++; }

static void close_it(uv_timer_t *timer) { uv_close((uv_handle_t *)timer, NULL); }

/* A loop says its time-out only once it has waited for something. */
static void let_loop_wait(uv_loop_t *loop)
{
    uv_timer_t timer;
    assert_int_equal(uv_timer_init(loop, &timer), 0);
    assert_int_equal(uv_timer_start(&timer, close_it, 0, 0), 0);
    uv_run(loop, UV_RUN_DEFAULT);
}

static int set_up(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    assert_int_equal(uv_loop_init(&w->loop), 0);
    let_loop_wait(&w->loop);
    w->bulk = bulk_new(&w->loop, w, entries);
    for (unsigned i = 0; i < TURNS; i++)
        w->turns[i] = (struct bulk_turn){.data = w, .begin = begin, .refuse = refuse};
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    bulk_stop(w->bulk);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    bulk_free(w->bulk);
    assert_int_equal(uv_loop_close(&w->loop), 0);
    free(w);
    return 0;
}

static void add(struct world *w, unsigned from, unsigned count)
{
    for (unsigned i = from; i < from + count; i++) assert_int_equal(bulk_add(w->bulk, &w->turns[i]), OK);
}

static void test_one_at_a_time(void **state)
{
    struct world *w = *state;
    add(w, 0, 3);
    assert_int_equal(w->begun, 1);
    bulk_end(w->bulk, 400 * MS);
    assert_int_equal(w->begun, 2); /* nobody writes: no rest */
    bulk_end(w->bulk, 400 * MS);
    assert_int_equal(w->begun, 3);
    bulk_end(w->bulk, 0);
    assert_int_equal(w->begun, 3);
}

static void test_rests_while_entries_are_written(void **state)
{
    struct world *w = *state;
    add(w, 0, 3);
    w->entries++;
    bulk_end(w->bulk, 1 * MS);
    assert_int_equal(w->begun, 1);
    add(w, 3, 1); /* one that comes during the rest waits, too */
    assert_int_equal(w->begun, 1);
    while (w->begun == 1) uv_run(&w->loop, UV_RUN_ONCE);
    assert_int_equal(w->begun, 2);
    bulk_end(w->bulk, 1 * MS); /* nothing was written since */
    assert_int_equal(w->begun, 3);
}

/* The rest is fifteen times what a turn took, and no more than BULK_REST_MS: by the loop's clock, which stands
 * still. */
static void test_how_long_it_rests(void **state)
{
    static const struct { uint64_t took_ns; int rest_ms; } rows[] = {
        {50000, -1}, {10 * MS, 10 * (BULK_SHARE - 1)}, {1000 * MS, BULK_REST_MS}};
    struct world *w = *state;
    for (unsigned i = 0; i < 3; i++) {
        add(w, 2 * i, 2);
        if (i > 0) CHECK(w->begun == 2 * i + 1);
        w->entries++;
        uv_update_time(&w->loop);
        bulk_end(w->bulk, rows[i].took_ns);
        int timeout = uv_backend_timeout(&w->loop);
        assert_int_equal(timeout, rows[i].rest_ms < 0 ? 0 : rows[i].rest_ms);
        while (w->begun < 2 * i + 2) uv_run(&w->loop, UV_RUN_ONCE);
        bulk_end(w->bulk, 0);
    }
}

static void test_a_turn_that_ends_at_once(void **state)
{
    struct world *w = *state;
    enum { MANY = 100 };
    add(w, 0, MANY); /* the first one runs */
    w->at_once = true;
    bulk_end(w->bulk, 0);
    assert_int_equal(w->begun, MANY);
    add(w, MANY, 1);
    assert_int_equal(w->begun, MANY + 1);
    assert_int_equal(bulk_waiting(w->bulk), 0);
}

/* The one that does not find a place is not kept, and neither begins nor is refused later; a place that becomes
 * free is somebody's again. */
static void test_full(void **state)
{
    struct world *w = *state;
    struct bulk_turn *late = &w->turns[LIMIT_SCANS + 2];
    add(w, 0, 1 + LIMIT_SCANS); /* the first one runs */
    assert_int_equal(bulk_waiting(w->bulk), LIMIT_SCANS);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(bulk_add(w->bulk, late), ERR_BUSY);
    bulk_end(w->bulk, 0);
    assert_int_equal(bulk_waiting(w->bulk), LIMIT_SCANS - 1);
    add(w, LIMIT_SCANS + 1, 1);
    assert_int_equal(bulk_add(w->bulk, late), ERR_BUSY);
    w->at_once = true;
    bulk_end(w->bulk, 0);
    assert_int_equal(w->begun, LIMIT_SCANS + 2);
    assert_ptr_equal(w->last, late - 1);
    assert_int_equal(w->refused, 0);
}

static void test_stop_refuses(void **state)
{
    struct world *w = *state;
    add(w, 0, 5);
    bulk_stop(w->bulk);
    assert_int_equal(w->refused, 4);
    bulk_end(w->bulk, 400 * MS); /* the one that runs comes to its end */
    add(w, 5, 1);
    assert_int_equal(w->refused, 5);
    assert_int_equal(w->begun, 1);
    bulk_stop(w->bulk);
    bulk_stop(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_one_at_a_time, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_rests_while_entries_are_written, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_how_long_it_rests, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_turn_that_ends_at_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_full, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_stop_refuses, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
