/* The snapshot for a state digest: of exactly the state after the asking block, on
 * every node, one at a time, whatever is applied meanwhile or dies. */
#include "ledger/state_digest.h"
#include "storage/store.h"
#include "tests/lib/driver_bed.h"
#include "tests/lib/unit.h"

#define NODES 3

static struct bed bed;
static struct driver_digest given[NODES + 1], refused[NODES + 1]; /* the last of each node */

static void take(struct bed_node *node, const struct driver_digest *digest)
{
    if (digest->snapshot)
        given[node->index] = *digest;
    else
        refused[node->index] = *digest;
}

static void up(void)
{
    memset(given, 0, sizeof given);
    memset(refused, 0, sizeof refused);
    bed_open(&bed, NODES, 0);
    for (unsigned i = 1; i <= NODES; i++) bed.nodes[i].on_digest = take;
    bed_start_people(&bed);
}

static uint64_t ask_through(unsigned node)
{
    struct bed_request r;
    struct arguments ask = {.action = ACTION_STATE_DIGEST};
    bed_event(&bed, &r, &bed.doctor, BED_PATIENT); /* its time and limits; the request is another one */
    buffer_clear(&r.s.request);
    kit_request(&bed.kit, &r.s.request, &bed.kit.root, &ask, (struct bytes){0});
    assert_int_equal(bed_submit(&bed, &r, node, BED_PATIENCE_MS), OK);
    assert_true(bed_await(&bed, &r));
    assert_int_equal(r.code, OK);
    assert_int_equal(r.outcome.decision, DECISION_APPROVED);
    bed_request_free(&r);
    return r.outcome.leaf_index;
}

static void end(unsigned node)
{
    store_abort(given[node].snapshot);
    if (given[node].snapshot) driver_digest_ended(bed.nodes[node].driver);
    given[node].snapshot = NULL;
}

static struct digest digest_of(unsigned node)
{
    struct state_digest d;
    assert_int_equal(given[node].code, OK);
    assert_int_equal(state_digest_now(&d, given[node].snapshot), OK);
    return state_digest_whole(&d);
}

static void the_same_state_on_every_node(void **state)
{
    (void)state;
    up();
    for (unsigned i = 0; i < 10; i++) bed_event_through(&bed, 1 + i % NODES);
    uint64_t leaf = ask_through(1);
    for (unsigned i = 0; i < 10; i++) bed_event_through(&bed, 1 + i % NODES);
    assert_true(bed_await_same(&bed, leaf + 11));
    struct digest first = digest_of(1);
    for (unsigned i = 1; i <= NODES; i++) { /* of then, though more was applied since */
        struct digest d = digest_of(i);
        assert_int_equal(given[i].leaf, leaf);
        assert_int_equal(given[i].size, leaf + 1);
        assert_true(digest_equal(&d, &first));
        end(i);
    }
    bed_close(&bed);
}

static void one_at_a_time(void **state)
{
    (void)state;
    up();
    uint64_t first = ask_through(2), second = ask_through(2);
    assert_true(bed_await_same(&bed, second + 1));
    for (unsigned i = 1; i <= NODES; i++) {
        assert_int_equal(given[i].leaf, first);
        assert_int_equal(refused[i].leaf, second);
        assert_int_equal(refused[i].code, ERR_BUSY);
        end(i);
    }
    uint64_t third = ask_through(3);
    assert_true(bed_await_same(&bed, third + 1));
    for (unsigned i = 1; i <= NODES; i++) {
        assert_int_equal(given[i].leaf, third);
        assert_int_equal(refused[i].leaf, second);
        end(i);
    }
    bed_close(&bed);
}

/* A snapshot on its way to the loop is nobody's: the store closes with none open, and a
 * restart, which may apply that block again, gives the same state. */
static void whenever_it_dies(void **state)
{
    (void)state;
    struct bed_request r;
    struct arguments ask = {.action = ACTION_STATE_DIGEST};
    up();
    for (unsigned ms = 0; ms < 12; ms++) {
        unsigned leader = bed_await_leader(&bed);
        bed_event(&bed, &r, &bed.doctor, BED_PATIENT);
        buffer_clear(&r.s.request);
        kit_request(&bed.kit, &r.s.request, &bed.kit.root, &ask, (struct bytes){0});
        assert_int_equal(bed_submit(&bed, &r, leader, 20000), OK);
        bed_turn(&bed, ms);
        for (unsigned i = 1; i <= NODES; i++) {
            end(i);
            bed_crash(&bed, i);
        }
        buffer_free(&r.s.request);
        bed_start_all(&bed);
    }
    bed_await_leader(&bed);
    assert_true(bed_await_same(&bed, 1));
    for (unsigned i = 1; i <= NODES; i++) end(i);
    uint64_t leaf = ask_through(1);
    assert_true(bed_await_same(&bed, leaf + 1));
    struct digest first = digest_of(1);
    for (unsigned i = 1; i <= NODES; i++) {
        struct digest d = digest_of(i);
        assert_int_equal(given[i].leaf, leaf);
        assert_true(digest_equal(&d, &first));
        end(i);
    }
    bed_close(&bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_state_on_every_node),
        cmocka_unit_test(one_at_a_time),
        cmocka_unit_test(whenever_it_dies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
