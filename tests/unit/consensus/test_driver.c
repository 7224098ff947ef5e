/* The driver in clusters of three and four in one process: writes through every
 * node, crashes, restarts, forwarding. */
#include "consensus/driver_internal.h"
#include "tests/lib/driver_bed.h"
#include "tests/lib/unit.h"

static struct bed bed;

static void writes_through_every_node(void **state)
{
    (void)state;
    bed_up(&bed, 3, 0);
    uint64_t last = 2;
    for (unsigned round = 0; round < 5; round++)
        for (unsigned node = 1; node <= 3; node++) {
            uint64_t index = bed_event_through(&bed, node);
            assert_int_equal(index, last + 1);
            last = index;
        }
    assert_true(bed_await_same(&bed, last + 1));
    bed_close(&bed);
}

static void stop_ticks(struct bed *b, bool stop)
{
    for (unsigned i = 1; i <= b->n; i++) {
        uv_timer_t *tick = &b->nodes[i].driver->handles->tick;
        if (stop)
            uv_timer_stop(tick);
        else
            uv_timer_again(tick);
    }
}

static bool all_applied(struct bed *b, uint64_t size)
{
    for (unsigned i = 1; i <= b->n; i++)
        if (b->nodes[i].applied.size < size) return false;
    return true;
}

/* No heartbeat comes of itself while the ticks stand still. */
static void every_release_hears_of_commits_at_once(void **state)
{
    (void)state;
    bed_up(&bed, 3, 0);
    uint64_t last = 2;
    for (unsigned older = 0; older < 8; older++) { /* a bit each */
        for (unsigned node = 1; node <= 3; node++) {
            bool before = bed.older[node], now = older >> (node - 1) & 1;
            if (before == now) continue;
            bed_stop(&bed, node);
            bed.older[node] = now;
            bed_start(&bed, node);
        }
        bed_await_leader(&bed);
        last = bed_event_through(&bed, 1);
        assert_true(bed_await_same(&bed, last + 1));
        stop_ticks(&bed, true);
        for (unsigned node = 1; node <= 3; node++) {
            assert_int_equal(bed_event_through(&bed, node), ++last);
            BED_AWAIT(&bed, all_applied(&bed, last + 1));
        }
        stop_ticks(&bed, false);
    }
    bed_close(&bed);
}

/* See test_raft_two.c; here, that the driver lets the core know who may. */
static void a_follower_counts_two_copies(void **state)
{
    (void)state;
    struct bed_request r;
    bed_up(&bed, 3, 0);
    unsigned leader = bed_await_leader(&bed), other = leader % 3 + 1;
    uint64_t size = bed_event_through(&bed, leader) + 2;
    assert_true(bed_await_same(&bed, size - 1));
    stop_ticks(&bed, true);
    bed_event(&bed, &r, &bed.doctor, BED_PATIENT);
    for (unsigned i = 1; i <= 3; i++) bed.cut[i][leader] = true; /* no acknowledgement comes */
    assert_int_equal(bed_submit(&bed, &r, leader, BED_PATIENCE_MS), OK);
    BED_AWAIT(&bed, bed.nodes[other].applied.size >= size);
    assert_true(bed.nodes[leader].applied.size < size);
    for (unsigned i = 1; i <= 3; i++) bed.cut[i][leader] = false;
    stop_ticks(&bed, false);
    assert_true(bed_await(&bed, &r));
    assert_int_equal(r.code, OK);
    bed_request_free(&r);
    bed_close(&bed);
}

static void four_nodes(void **state)
{
    (void)state;
    bed_up(&bed, 4, 1);
    for (unsigned node = 1; node <= 4; node++)
        bed_event_through(&bed, node);
    assert_true(bed_await_same(&bed, 7));
    bed_close(&bed);
}

static void a_killed_leader_loses_nothing(void **state)
{
    (void)state;
    bed_up(&bed, 3, 0);
    for (unsigned round = 0; round < 3; round++) {
        unsigned leader = bed_await_leader(&bed), other = leader % 3 + 1;
        uint64_t index = bed_event_through(&bed, other);
        bed_crash(&bed, leader);
        uint64_t next = bed_event_through(&bed, other);
        assert_true(next > index);
        bed_start(&bed, leader);
        assert_true(bed_await_same(&bed, next + 1));
    }
    bed_close(&bed);
}

static void all_killed_replay_from_the_log(void **state)
{
    (void)state;
    bed_up(&bed, 3, 0);
    uint64_t last = 0;
    for (unsigned i = 0; i < 20; i++)
        last = bed_event_through(&bed, i % 3 + 1);
    assert_true(bed_await_same(&bed, last + 1));
    struct driver_status before = bed_status(&bed, 1);
    for (unsigned i = 1; i <= 3; i++)
        bed_crash(&bed, i);
    bed_start_all(&bed);
    bed_await_leader(&bed);
    assert_true(bed_await_same(&bed, last + 1));
    struct driver_status after = bed_status(&bed, 2);
    assert_int_equal(after.size, before.size);
    assert_true(digest_equal(&after.root, &before.root));
    assert_int_equal(bed_event_through(&bed, 3), last + 1);
    bed_close(&bed);
}

static void a_stop_in_order_leaves_nothing_to_replay(void **state)
{
    (void)state;
    bed_up(&bed, 3, 0);
    uint64_t last = bed_event_through(&bed, 1);
    assert_true(bed_await_same(&bed, last + 1));
    unsigned leader = bed_await_leader(&bed);
    bed_stop(&bed, leader);
    bed_event_through(&bed, leader % 3 + 1);
    bed_start(&bed, leader);
    struct driver_status status = bed_status(&bed, leader);
    assert_int_equal(status.synced_size, last + 1); /* from the store alone */
    assert_true(bed_await_same(&bed, last + 2));
    bed_close(&bed);
}

/* Of four nodes one doesn't vote: who leads and stops gives its own vote to the heir first, or nobody would lead. */
static void who_stops_votes_for_its_heir(void **state)
{
    (void)state;
    bed_up(&bed, 4, 1);
    uint64_t last = bed_event_through(&bed, 1);
    assert_true(bed_await_same(&bed, last + 1));
    unsigned leader = bed_await_leader(&bed);
    driver_quarantine(bed.nodes[leader % 4 + 1].driver, "a test's");
    bed_turn(&bed, 10 * BED_TICK_MS);
    uint64_t term = bed_status(&bed, leader).term;
    bed_stop(&bed, leader);
    unsigned heir = bed_await_leader(&bed);
    assert_int_equal(bed_status(&bed, heir).term, term + 1);
    bed_close(&bed);
}

static void the_same_request_twice_is_one_leaf(void **state)
{
    (void)state;
    struct bed_request first, second, third;
    bed_up(&bed, 3, 0);
    bed_event(&bed, &first, &bed.doctor, BED_PATIENT);
    bed_copy(&second, &first);
    bed_copy(&third, &first);
    assert_int_equal(bed_submit(&bed, &first, 1, BED_PATIENCE_MS), OK);
    assert_int_equal(bed_submit(&bed, &second, 2, BED_PATIENCE_MS), OK);
    assert_true(bed_await(&bed, &first) && bed_await(&bed, &second));
    assert_int_equal(first.code, OK);
    assert_int_equal(second.code, OK);
    assert_int_equal(first.outcome.leaf_index, second.outcome.leaf_index);
    assert_true(bed_await_same(&bed, first.outcome.leaf_index + 1)); /* or node 3 could answer by that same block */
    assert_int_equal(bed_submit(&bed, &third, 3, BED_PATIENCE_MS), OK); /* long after */
    assert_true(bed_await(&bed, &third));
    assert_int_equal(third.outcome.code, ERR_DUPLICATE);
    assert_int_equal(third.outcome.leaf_index, first.outcome.leaf_index);
    assert_true(bed_await_same(&bed, first.outcome.leaf_index + 1));
    bed_request_free(&first);
    bed_request_free(&second);
    bed_request_free(&third);
    bed_close(&bed);
}

static void one_node_twice_the_same_request(void **state)
{
    (void)state;
    struct bed_request first, second;
    bed_up(&bed, 3, 0);
    for (unsigned node = 1; node <= 3; node++) {
        bed_event(&bed, &first, &bed.doctor, BED_PATIENT);
        bed_copy(&second, &first);
        assert_int_equal(bed_submit(&bed, &first, node, BED_PATIENCE_MS), OK);
        assert_int_equal(bed_submit(&bed, &second, node, BED_PATIENCE_MS), OK);
        assert_true(bed_await(&bed, &first) && bed_await(&bed, &second));
        assert_int_equal(first.outcome.leaf_index, second.outcome.leaf_index);
        assert_int_equal(first.code | second.code, OK);
        bed_request_free(&first);
        bed_request_free(&second);
    }
    bed_close(&bed);
}

static void without_a_majority_the_deadline_answers(void **state)
{
    (void)state;
    struct bed_request r;
    bed_up(&bed, 3, 0);
    unsigned leader = bed_await_leader(&bed), alone = leader % 3 + 1, other = alone % 3 + 1;
    bed_crash(&bed, leader);
    bed_crash(&bed, other);
    bed_event(&bed, &r, &bed.doctor, BED_PATIENT);
    assert_int_equal(bed_submit(&bed, &r, alone, 500), OK);
    assert_true(bed_await(&bed, &r));
    assert_int_equal(r.code, ERR_NO_QUORUM);
    assert_int_equal(r.done, 1);
    bed_request_free(&r);
    /* Waiting over the election of a new leader is the driver's business. */
    bed_event(&bed, &r, &bed.doctor, BED_PATIENT);
    assert_int_equal(bed_submit(&bed, &r, alone, BED_PATIENCE_MS), OK);
    bed_start(&bed, other);
    assert_true(bed_await(&bed, &r));
    assert_int_equal(r.code, OK);
    bed_request_free(&r);
    bed_close(&bed);
}

static void a_cut_off_leader_is_replaced_and_follows(void **state)
{
    (void)state;
    struct bed_request lost;
    bed_up(&bed, 3, 0);
    unsigned leader = bed_await_leader(&bed), a = leader % 3 + 1, b = a % 3 + 1;
    bed_cut(&bed, leader, a, true);
    bed_cut(&bed, leader, b, true);
    bed_event(&bed, &lost, &bed.doctor, BED_PATIENT);
    assert_int_equal(bed_submit(&bed, &lost, leader, BED_PATIENCE_MS), OK);
    uint64_t index = bed_event_through(&bed, a);
    assert_int_equal(lost.done, 0);
    bed_cut(&bed, leader, a, false);
    bed_cut(&bed, leader, b, false);
    /* The old leader's own request, once in a block that is gone, goes on to the new leader. */
    assert_true(bed_await(&bed, &lost));
    assert_int_equal(lost.code, OK);
    assert_int_equal(lost.outcome.leaf_index, index + 1);
    assert_true(bed_await_same(&bed, index + 2));
    bed_request_free(&lost);
    bed_close(&bed);
}

static void bad_requests_are_answered_and_change_nothing(void **state)
{
    (void)state;
    struct bed_request r;
    bed_up(&bed, 3, 0);
    unsigned leader = bed_await_leader(&bed);
    for (unsigned node = 1; node <= 3; node++) {
        bed_event(&bed, &r, &bed.doctor, BED_PATIENT);
        r.s.request.data[r.s.request.size - 1] ^= 1; /* the signature's end */
        assert_int_equal(bed_submit(&bed, &r, node, BED_PATIENCE_MS), OK);
        assert_true(bed_await(&bed, &r));
        assert_int_equal(r.code, OK);
        assert_int_equal(r.outcome.code, ERR_BAD_SIGNATURE);
        assert_false(r.has_leaf);
        bed_request_free(&r);
    }
    (void)leader;
    assert_true(bed_await_same(&bed, 3));
    struct driver_status status = bed_status(&bed, 1);
    assert_int_equal(status.size, 3);
    bed_close(&bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_through_every_node),
        cmocka_unit_test(every_release_hears_of_commits_at_once),
        cmocka_unit_test(a_follower_counts_two_copies),
        cmocka_unit_test(four_nodes),
        cmocka_unit_test(a_killed_leader_loses_nothing),
        cmocka_unit_test(all_killed_replay_from_the_log),
        cmocka_unit_test(a_stop_in_order_leaves_nothing_to_replay),
        cmocka_unit_test(who_stops_votes_for_its_heir),
        cmocka_unit_test(the_same_request_twice_is_one_leaf),
        cmocka_unit_test(one_node_twice_the_same_request),
        cmocka_unit_test(without_a_majority_the_deadline_answers),
        cmocka_unit_test(a_cut_off_leader_is_replaced_and_follows),
        cmocka_unit_test(bad_requests_are_answered_and_change_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
