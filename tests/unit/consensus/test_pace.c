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
    for (unsigned i = 0; i < PACE_IN_VAIN; i++) {
        pace_proposed(&p, now);
        assert_true(ask(&p, 1, 1, now + MS) > 0); /* the others may come again */
        now += PACE_NS;
        assert_int_equal(ask(&p, 1, 1, now), 0);
    }
    pace_proposed(&p, now); /* but they don't */
    assert_int_equal(ask(&p, 1, 1, now + MS), 0);
    now = START + 2 * PACE_LATELY_NS + 2;
    ask(&p, 1, 1, now - PACE_LATELY_NS - 1);
    pace_proposed(&p, now - MS);
    assert_int_equal(ask(&p, 1, 1, now), 0);
    assert_int_equal(ask(&p, 64, 64, now), 0);
    pace_proposed(&p, now + 10 * PACE_LATELY_NS - MS);
    assert_int_equal(ask(&p, 1, 1, now + 10 * PACE_LATELY_NS), 0);
}

/* --- clients that come again once they are answered --- */

#define STEP (MS / 20)
#define MOST 64

struct client {
    uint64_t asks_ns, asked_ns; /* when it comes next; since when it waits */
    bool waits, flies;
};

struct hospital {
    struct pace pace;
    struct client clients[MOST];
    size_t count, waiting, flying;
    uint64_t now, applied_ns;
    unsigned blocks, operations;
};

static uint64_t wait_of(struct hospital *h)
{
    struct pace_load load = {.waiting = h->waiting, .here = h->waiting + h->flying, .in_flight = h->flying > 0};
    return pace_wait(&h->pace, &load, h->now);
}

static void propose(struct hospital *h)
{
    for (size_t i = 0; i < h->count; i++)
        if (h->clients[i].waits) h->clients[i].flies = true;
    h->flying = h->waiting;
    h->waiting = 0;
    h->blocks++;
    h->operations += (unsigned)h->flying;
    h->applied_ns = h->now + MS;
    pace_proposed(&h->pace, h->now);
}

/* A step of the time. `again`: in how long who is answered asks anew. The longest wait of client 0 that ended. */
static uint64_t step(struct hospital *h, uint64_t (*again)(size_t client, uint64_t now))
{
    uint64_t longest = 0;
    if (h->flying && h->now >= h->applied_ns) {
        for (size_t i = 0; i < h->count; i++) {
            struct client *c = &h->clients[i];
            if (!c->flies) continue;
            if (i == 0) longest = h->now - c->asked_ns;
            *c = (struct client){.asks_ns = h->now + again(i, h->now)};
        }
        h->flying = 0;
    }
    for (size_t i = 0; i < h->count; i++) {
        struct client *c = &h->clients[i];
        if (c->waits || h->now < c->asks_ns) continue;
        c->waits = true;
        c->asked_ns = h->now;
        h->waiting++;
        if (!h->flying && wait_of(h) == 0) propose(h);
    }
    if (h->waiting && !h->flying && wait_of(h) == 0) propose(h);
    h->now += STEP;
    return longest;
}

/* One by one, in the order in which they read their answers. */
static uint64_t at_once(size_t client, uint64_t now)
{
    (void)now;
    return MS / 2 + client * (MS / 10);
}

/* Blocks stay as full as they are for who comes again anyway, and nobody finds out that waiting is in vain. */
static void who_comes_again_is_waited_for(void **state)
{
    (void)state;
    for (size_t clients = 4; clients <= MOST; clients *= 2) {
        struct hospital h = {.count = clients, .now = START};
        while (h.now < START + 2000 * MS) {
            step(&h, at_once);
            assert_true(h.pace.in_vain < PACE_IN_VAIN);
        }
        print_message("%zu clients: %.1f in a block\n", clients, (double)h.operations / h.blocks);
        assert_true(h.operations * 5 >= h.blocks * clients);
    }
}

/* The first one by itself, and seven together each 100 ms. */
static uint64_t seven_together(size_t client, uint64_t now)
{
    return client == 0 ? 2 * MS : 100 * MS - now % (100 * MS);
}

static void a_few_together_hold_up_nobody(void **state)
{
    (void)state;
    struct hospital h = {.count = 8, .now = START};
    unsigned asked = 0, slow = 0;
    while (h.now < START + 20000 * MS) {
        uint64_t took = step(&h, seven_together);
        asked += took > 0;
        slow += took > 4 * MS;
    }
    print_message("%u of %u waited\n", slow, asked);
    assert_true(asked > 4000 && slow * 200 < asked);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_or_two_never_wait),
        cmocka_unit_test(of_many_half_share_a_block),
        cmocka_unit_test(a_block_in_flight_is_waited_for),
        cmocka_unit_test(what_was_long_ago_is_forgotten),
        cmocka_unit_test(who_comes_again_is_waited_for),
        cmocka_unit_test(a_few_together_hold_up_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
