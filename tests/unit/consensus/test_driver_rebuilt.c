/* A node whose state k others contradict, without anybody knowing why, is rebuilt: nothing that was acknowledged with its
 * copy is lost by that. */
#include "tests/lib/driver_bed.h"
#include "tests/lib/unit.h"

static struct bed bed;
static unsigned leader, node, other; /* of three */

static struct driver_status status_of(unsigned index) { return bed_status(&bed, index); }

static bool is_deceived(struct bed *b, void *data)
{
    (void)data;
    return b->nodes[node].deceived;
}

static void marked(struct cosigned_mark *mark, enum err code)
{
    (void)mark;
    assert_int_equal(code, OK);
}

static void cosign_all(unsigned index)
{
    static struct cosigned_mark mark;
    struct driver_status s = status_of(index);
    mark = (struct cosigned_mark){.raft_index = s.applied, .size = s.size, .root = s.root, .done = marked};
    assert_int_equal(driver_log_cosigned(bed.nodes[index].driver, &mark), OK);
}

/* Contradicted, the node still makes a majority with the leader; then it is rebuilt, and the leader is gone with its
 * disk in order. Returns the leaf that was acknowledged in between. */
static uint64_t acknowledge_and_rebuild(bool again)
{
    bed_up(&bed, 3, 0);
    leader = bed_await_leader(&bed);
    node = leader % 3 + 1;
    other = node % 3 + 1;
    assert_true(bed_await_same(&bed, bed_event_through(&bed, leader) + 1));
    cosign_all(node);
    assert_true(bed_await_same(&bed, bed_event_through(&bed, leader) + 1));
    driver_contradicted(bed.nodes[node].driver, 1u << leader | 1u << other, status_of(node).applied, "its root is another");
    bed_cut(&bed, other, leader, true);
    bed_cut(&bed, other, node, true);
    uint64_t leaf = bed_event_through(&bed, leader);
    assert_true(bed_until(&bed, BED_PATIENCE_MS, is_deceived, NULL));
    assert_false(bed.nodes[node].told || bed.nodes[node].again);
    bed.nodes[node].again = again;
    bed_stop(&bed, node);
    bed_rebuild(&bed, node);
    bed_crash(&bed, leader);
    bed_cut(&bed, other, node, false);
    bed_start(&bed, node);
    return leaf;
}

/* The log stays, and the acknowledged entry with it: the two that are left go on from there. */
static void the_first_time_its_log_stays(void **state)
{
    (void)state;
    uint64_t leaf = acknowledge_and_rebuild(false);
    unsigned next = bed_await_leader(&bed);
    assert_true(next == node || next == other);
    assert_int_equal(bed_event_through(&bed, next), leaf + 1);
    bed_cut(&bed, other, leader, false);
    bed_start(&bed, leader);
    assert_true(bed_await_same(&bed, leaf + 2));
    bed_close(&bed);
}

/* What comes to the same again is cut off, but then nobody is elected with this node's vote before who has it is back. */
static void the_second_time_it_counts_in_no_majority(void **state)
{
    (void)state;
    uint64_t leaf = acknowledge_and_rebuild(true);
    bed_turn(&bed, 100 * BED_TICK_MS);
    assert_false(status_of(node).may_vote);
    assert_int_equal(bed_leader(&bed), 0);
    bed_cut(&bed, other, leader, false);
    bed_start(&bed, leader);
    assert_true(bed_await_same(&bed, leaf + 1));
    BED_AWAIT(&bed, status_of(node).may_vote);
    bed_close(&bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_time_its_log_stays),
        cmocka_unit_test(the_second_time_it_counts_in_no_majority),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
