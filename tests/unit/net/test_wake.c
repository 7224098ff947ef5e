#include <pthread.h>

#include <uv.h>

#include "net/wake.h"
#include "tests/lib/unit.h"

#define SENDERS 4
#define ITEMS 20000

/* What the senders did so far, as a queue would hold it. */
struct bed {
    struct wake wake;
    uv_loop_t loop;
    atomic_uint given;
    unsigned taken, calls;
    unsigned wanted;
};

static void on_closed(uv_handle_t *handle) { *(bool *)handle->data = true; }

static void woken(struct wake *wake)
{
    struct bed *bed = (struct bed *)wake;
    bed->calls++;
    bed->taken = atomic_load(&bed->given);
    if (bed->taken == bed->wanted) uv_stop(&bed->loop);
}

static void bed_open(struct bed *bed)
{
    *bed = (struct bed){.wanted = 0};
    assert_int_equal(uv_loop_init(&bed->loop), 0);
    assert_int_equal(wake_open(&bed->wake, &bed->loop, woken), OK);
}

static void bed_close(struct bed *bed)
{
    bool closed = false;
    bed->wake.poll.data = &closed;
    wake_close(&bed->wake, on_closed);
    uv_run(&bed->loop, UV_RUN_DEFAULT);
    assert_true(closed);
    assert_int_equal(uv_loop_close(&bed->loop), 0);
}

static void *sender(void *data)
{
    struct bed *bed = data;
    for (unsigned i = 0; i < ITEMS; i++) {
        atomic_fetch_add(&bed->given, 1);
        wake_send(&bed->wake);
    }
    return NULL;
}

/* The loop would wait for ever if one wake-up were lost. */
static void no_wake_is_lost(void **state)
{
    (void)state;
    struct bed bed;
    pthread_t threads[SENDERS];
    bed_open(&bed);
    bed.wanted = SENDERS * ITEMS;
    for (unsigned i = 0; i < SENDERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, sender, &bed), 0);
    uv_run(&bed.loop, UV_RUN_DEFAULT);
    for (unsigned i = 0; i < SENDERS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(bed.taken, SENDERS * ITEMS);
    assert_true(bed.calls <= SENDERS * ITEMS);
    bed_close(&bed);
}

static void many_before_a_turn_are_one(void **state)
{
    (void)state;
    struct bed bed;
    bed_open(&bed);
    bed.wanted = UINT32_MAX;
    for (unsigned i = 0; i < 1000; i++)
        wake_send(&bed.wake);
    while (uv_run(&bed.loop, UV_RUN_NOWAIT) && bed.calls == 0) {
    }
    for (unsigned i = 0; i < 10; i++)
        uv_run(&bed.loop, UV_RUN_NOWAIT);
    assert_int_equal(bed.calls, 1);
    wake_send(&bed.wake); /* and the next one counts again */
    for (unsigned i = 0; i < 10; i++)
        uv_run(&bed.loop, UV_RUN_NOWAIT);
    assert_int_equal(bed.calls, 2);
    bed_close(&bed);
}

static void closed_with_one_under_way(void **state)
{
    (void)state;
    struct bed bed;
    bed_open(&bed);
    bed.wanted = UINT32_MAX;
    wake_send(&bed.wake);
    bed_close(&bed);
    assert_int_equal(bed.calls, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_wake_is_lost),
        cmocka_unit_test(many_before_a_turn_are_one),
        cmocka_unit_test(closed_with_one_under_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
