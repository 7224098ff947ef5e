/* A node that was set back hears of that before it acts (consensus/driver_past.c). */
#include "tests/lib/driver_bed.h"
#include "tests/lib/unit.h"

#define NO_TICKS_MS 3600000u

static struct bed bed;

static struct driver_status status_of(unsigned node) { return bed_status(&bed, node); }

/* As its peer `knows` will tell it, the node was in a term above the leader's: it may have voted there for somebody who
 * lacks what the leader makes now. */
static unsigned start_set_back(unsigned *leader, unsigned *knows, unsigned tick_ms)
{
    *leader = bed_up(&bed, 3, 0);
    unsigned node = *leader % 3 + 1;
    *knows = node % 3 + 1;
    assert_true(bed_await_same(&bed, 3));
    bed_stop(&bed, node);
    bed_claim(&bed, node, *knows, status_of(*leader).term + 1, status_of(*leader).last);
    bed_cut(&bed, *leader, *knows, true);
    bed_cut(&bed, node, *knows, true);
    bed.nodes[node].tick_ms = tick_ms;
    bed_start(&bed, node);
    return node;
}

static void its_copy_counts_only_once_each_peer_told_what_it_knows(void **state)
{
    (void)state;
    struct bed_request r;
    unsigned leader, knows, node = start_set_back(&leader, &knows, NO_TICKS_MS);
    uint64_t before = status_of(leader).last;
    bed_event(&bed, &r, &bed.doctor, BED_PATIENT);
    assert_int_equal(bed_submit(&bed, &r, leader, BED_PATIENCE_MS), OK);
    BED_AWAIT(&bed, status_of(node).last > before);
    bed_turn(&bed, 300); /* its disk has it, and the leader hears of it, if it may */
    assert_int_equal(status_of(leader).commit, before);
    bed_cut(&bed, node, knows, false);
    BED_AWAIT(&bed, !status_of(node).may_vote);
    bed_turn(&bed, 300);
    assert_int_equal(status_of(leader).commit, before);
    bed_cut(&bed, leader, knows, false);
    assert_true(bed_await(&bed, &r));
    assert_int_equal(r.code, OK);
    bed_request_free(&r);
    bed_stop(&bed, node);
    bed.nodes[node].tick_ms = 0;
    bed_start(&bed, node);
    BED_AWAIT(&bed, status_of(node).may_vote);
    bed_close(&bed);
}

static void it_gives_no_vote_before(void **state)
{
    (void)state;
    unsigned leader, knows, node = start_set_back(&leader, &knows, NO_TICKS_MS);
    bed_crash(&bed, leader); /* who forgets whom it led, and stands for election */
    bed_start(&bed, leader);
    uint64_t term = status_of(node).term;
    bed_turn(&bed, 100 * BED_TICK_MS);
    assert_int_equal(status_of(node).term, term);
    assert_int_equal(bed_leader(&bed), 0);
    bed_cut(&bed, node, knows, false);
    bed_cut(&bed, leader, knows, false);
    BED_AWAIT(&bed, !status_of(node).may_vote);
    bed_stop(&bed, node);
    bed.nodes[node].tick_ms = 0;
    bed_start(&bed, node);
    BED_AWAIT(&bed, status_of(node).may_vote);
    bed_close(&bed);
}

/* One peer that is away must not keep the others from going on. */
static void who_tells_nothing_is_not_waited_for_for_ever(void **state)
{
    (void)state;
    struct bed_request r;
    unsigned leader, knows, node = start_set_back(&leader, &knows, 0);
    bed_event(&bed, &r, &bed.doctor, BED_PATIENT);
    assert_int_equal(bed_submit(&bed, &r, leader, BED_PATIENCE_MS), OK);
    assert_true(bed_await(&bed, &r));
    assert_int_equal(r.code, OK);
    assert_true(status_of(node).may_vote);
    bed_request_free(&r);
    bed_close(&bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(its_copy_counts_only_once_each_peer_told_what_it_knows),
        cmocka_unit_test(it_gives_no_vote_before),
        cmocka_unit_test(who_tells_nothing_is_not_waited_for_for_ever),
    };
    return cmocka_run_group_tests_name("consensus/driver_past", tests, NULL, NULL);
}
