/* Blocks are told, cosigned and witnessed, in any order and over any network that ends up working. */
#include "base/check.h"
#include "base/clock.h"
#include "consensus/peer_messages.h"
#include "consensus/witness_rows.h"
#include "ledger/checkpoint.h"
#include "ledger/tables.h"
#include "storage/store.h"
#include "tests/lib/samples.h"
#include "tests/lib/trace.h"
#include "tests/unit/consensus/bed_witness.h"

static void a_block_is_told_cosigned_and_witnessed(void **state)
{
    (void)state;
    lead(1, 1);
    apply_all(3);
    settle();
    assert_true(all_at(3));
    for (unsigned i = 1; i <= N; i++) {
        assert_note(i, 3);
        assert_int_equal(nodes[i].witnessed_calls, 1);
        assert_int_equal(nodes[i].driver.durable.size, 3);
        assert_int_equal(nodes[i].driver.durable.raft_index, 1);
        assert_int_equal(witness_time_ms(nodes[i].witness), SAMPLE_TIME + 1);
        assert_int_equal(nodes[i].quarantined, 0);
    }
    /* k nodes paced by one PACE each: nobody else asked. */
    assert_int_equal(sent[PEER_PACE], N - 1);
}

static void blocks_while_a_round_runs_wait_for_the_next(void **state)
{
    (void)state;
    lead(2, 1);
    for (int i = 0; i < 20; i++)
        apply_all(2);
    assert_true(wait_all_at(40, 3000)); /* many blocks in a round: the next one waits for more */
    assert_true(nodes[2].witnessed_calls >= 2 && nodes[2].witnessed_calls < 20);
    assert_true(sent[PEER_PACE] <= 3 * (N - 1)); /* sizes between are skipped */
    assert_note(4, 40);
}

static void it_is_kept_on_disk_with_the_position_that_k_told(void **state)
{
    (void)state;
    lead(1, 7);
    apply_all(5);
    settle();
    for (unsigned i = 1; i <= N; i++) {
        struct witnessed row;
        unsigned count;
        assert_int_equal(witness_rows_load(&row, &count, 1, nodes[i].driver.store), OK);
        assert_int_equal(count, 1);
        assert_int_equal(row.size, 5);
        assert_int_equal(row.raft_index, 1);
        assert_int_equal(row.raft_term, 7);
        buffer_free(&row.note);
    }
    stop_witness(3);
    start_witness(3);
    assert_int_equal(witness_size(nodes[3].witness), 5);
    assert_note(3, 5);
    assert_non_null(witness_before(nodes[3].witness, 1));
    assert_null(witness_before(nodes[3].witness, 0));
}

/* Blocks without leaves come while the round for the one before is under way. */
static void of_several_positions_the_one_that_k_told_is_kept(void **state)
{
    (void)state;
    lead(1, 1);
    for (unsigned i = 1; i <= N; i++)
        nodes[i].driver.hold_marks = true;
    apply_all(4);
    settle();
    apply_all(0);
    apply_all(0);
    for (unsigned i = 1; i <= N; i++)
        nodes[i].driver.hold_marks = false;
    settle();
    assert_true(all_at(4));
    for (unsigned i = 1; i <= N; i++) {
        const struct witnessed *w = witness_before(nodes[i].witness, UINT64_MAX);
        assert_non_null(w);
        assert_int_equal(w->raft_index, 1);
    }
}

static void only_so_many_rows_are_kept(void **state)
{
    (void)state;
    struct witnessed rows[8];
    unsigned count;
    lead(1, 1);
    for (int i = 0; i < CHECKPOINTS_STORED + 10; i++) {
        apply_all(1);
        settle();
    }
    assert_true(all_at(CHECKPOINTS_STORED + 10));
    struct table_txn *txn;
    assert_int_equal(store_begin_read(&txn, nodes[1].driver.store), OK);
    assert_int_equal(table_count(txn, TABLE_CHECKPOINT), CHECKPOINTS_STORED);
    store_abort(txn);
    assert_int_equal(witness_rows_load(rows, &count, 8, nodes[1].driver.store), OK);
    assert_int_equal(count, 8);
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(rows[i].size, CHECKPOINTS_STORED + 10 - i);
        buffer_free(&rows[i].note);
    }
    /* In memory, too, the newest are there, and the ones before them are not. */
    const struct witnessed *w = witness_before(nodes[1].witness, CHECKPOINTS_STORED);
    assert_non_null(w);
    assert_int_equal(w->raft_index, CHECKPOINTS_STORED);
    assert_null(witness_before(nodes[1].witness, CHECKPOINTS_STORED + 10 - WITNESS_KEPT));
}

static void a_block_without_leaves_needs_no_checkpoint(void **state)
{
    (void)state;
    lead(1, 1);
    apply_all(2);
    settle();
    uint64_t tells = sent[PEER_TELL];
    apply_all(0);
    sleep_ms(1200);
    assert_int_equal(sent[PEER_TELL], tells);
    apply_all(1);
    settle();
    assert_true(all_at(3));
    struct digest root;
    assert_true(witness_was_at(nodes[2].witness, &root, 1, 1, 2));
    assert_true(witness_was_at(nodes[2].witness, &root, 2, 1, 2)); /* the same size, a later position */
    assert_false(witness_was_at(nodes[2].witness, &root, 2, 2, 2));
    assert_false(witness_was_at(nodes[2].witness, &root, 3, 1, 2));
    assert_false(witness_was_at(nodes[2].witness, &root, 0, 0, 0));
}

static void a_node_that_has_not_applied_it_yet_tells_later(void **state)
{
    (void)state;
    lead(1, 1);
    apply(1, 4);
    apply(2, 4);
    settle();
    assert_int_equal(witness_size(nodes[1].witness), 0);
    apply(3, 4);
    settle();
    assert_int_equal(witness_size(nodes[1].witness), 4);
    assert_int_equal(witness_size(nodes[4].witness), 0); /* cosignatures came before its state */
    apply(4, 4);
    settle();
    assert_true(all_at(4));
    assert_note(4, 4);
}

static void fewer_than_k_make_nothing(void **state)
{
    (void)state;
    nodes[3].cut = nodes[4].cut = true;
    lead(1, 1);
    apply_all(4);
    sleep_ms(1300);
    assert_int_equal(witness_size(nodes[1].witness), 0);
    assert_false(nodes[1].driver.any_mark);
    assert_false(nodes[2].driver.any_mark);
    nodes[3].cut = false;
    sleep_ms(1300);
    assert_int_equal(witness_size(nodes[1].witness), 4);
    assert_int_equal(witness_size(nodes[3].witness), 4);
    assert_int_equal(witness_size(nodes[4].witness), 0);
    nodes[4].cut = false;
    witness_peer_up(nodes[1].witness, 4);
    settle();
    assert_int_equal(witness_size(nodes[4].witness), 4);
    assert_note(4, 4);
}

/* --- what was told is shown around --- */

static void lost_messages_are_made_good_by_pacing(void **state)
{
    (void)state;
    lead(1, 1);
    lose_percent = 100;
    apply_all(3);
    settle();
    assert_true(all_at(0));
    lose_percent = 0;
    assert_true(wait_all_at(3, 3000));
}

/* Three, of which two reach each other only through the leader, and the fourth is away: as much as a ring gives. */
static void members_apart_learn_what_others_told(void **state)
{
    (void)state;
    uint64_t until = clock_monotonic_ns() + UINT64_C(60000000000);
    lead(1, 1);
    apart[2][3] = apart[3][2] = nodes[4].cut = true;
    for (unsigned i = 1; i < N; i++)
        apply(i, 3);
    while (witness_size(nodes[1].witness) + witness_size(nodes[2].witness) + witness_size(nodes[3].witness) < 9 &&
           clock_monotonic_ns() < until) {
        turn();
        uv_sleep(1);
    }
    for (unsigned i = 1; i < N; i++)
        assert_note(i, 3);
    assert_true(sent[PEER_TOLD] > 0);
}

/* They don't get each other's cosignatures, and what they ask of the leader is lost: it tells them unasked. */
static void members_apart_get_the_note(void **state)
{
    (void)state;
    uint64_t until = clock_monotonic_ns() + UINT64_C(60000000000);
    lead(1, 1);
    apart[2][3] = apart[3][2] = nodes[4].cut = true;
    drop_type = PEER_PACE;
    drop_to = 1;
    for (unsigned i = 1; i < N; i++)
        apply(i, 3);
    while (witness_size(nodes[2].witness) + witness_size(nodes[3].witness) < 6 && clock_monotonic_ns() < until) {
        turn();
        uv_sleep(1);
    }
    for (unsigned i = 1; i < N; i++)
        assert_note(i, 3);
}

static void who_missed_cosignatures_gets_the_note(void **state)
{
    (void)state;
    lead(1, 1);
    drop_type = PEER_COSIGN;
    drop_to = 4;
    apply_all(3);
    settle();
    assert_int_equal(witness_size(nodes[1].witness), 3);
    assert_int_equal(witness_size(nodes[4].witness), 0);
    sleep_ms(1200);
    assert_int_equal(witness_size(nodes[4].witness), 3);
    assert_true(sent[PEER_NOTE_PUSH] >= 1);
}

/* It would wait for the newest one for ever, under a load that goes on. */
static void who_lags_takes_the_notes_in_turn(void **state)
{
    (void)state;
    lead(1, 1);
    for (unsigned size = 2; size <= 8; size += 2) {
        for (unsigned i = 1; i < N; i++)
            apply(i, 2);
        settle();
        assert_int_equal(witness_size(nodes[1].witness), size);
    }
    apply(4, 2);
    settle();
    assert_note(4, 2);
    apply(4, 2);
    apply(4, 2);
    apply(4, 2);
    settle();
    assert_note(4, 8);
}

static void an_older_pace_gets_no_older_root(void **state)
{
    (void)state;
    for (unsigned i = 1; i <= N; i++)
        nodes[i].cut = true;
    apply(2, 2);
    struct claim old = own_claim(2);
    apply(2, 2);
    struct claim now = own_claim(2);
    send_tell(3, 2, PEER_PACE, &now);
    assert_int_equal(nodes[2].told_most, 2);
    uint64_t tells = sent[PEER_TELL];
    send_tell(4, 2, PEER_PACE, &old);
    assert_int_equal(sent[PEER_TELL], tells);
    send_tell(4, 2, PEER_PACE, &now); /* the same again: it may have been lost */
    assert_int_equal(sent[PEER_TELL], tells + N - 1);
}

static void an_older_cosignature_displaces_none(void **state)
{
    (void)state;
    for (unsigned i = 2; i <= N; i++)
        nodes[i].cut = true;
    apply(1, 4);
    struct claim four = own_claim(1);
    apply(1, 2);
    struct claim six = own_claim(1);
    send_cosign(2, 1, 6, &six.root);
    send_cosign(2, 1, 4, &four.root);
    send_cosign(3, 1, 6, &six.root);
    assert_int_equal(witness_size(nodes[1].witness), 0);
    send_cosign(4, 1, 6, &six.root);
    assert_int_equal(witness_size(nodes[1].witness), 6);
    send_cosign(4, 1, 4, &four.root);
    assert_int_equal(witness_size(nodes[1].witness), 6);
}

static void without_a_leader_any_node_paces(void **state)
{
    (void)state;
    apply_all(3);
    assert_int_equal(queued, 0);
    assert_true(wait_all_at(3, 3000));
}

static void a_new_leader_paces_at_once(void **state)
{
    (void)state;
    lead(1, 1);
    nodes[1].cut = true;
    apply_all(3);
    settle();
    assert_true(all_at(0));
    witness_role(nodes[2].witness, true, 2);
    settle();
    for (unsigned i = 2; i <= N; i++)
        assert_int_equal(witness_size(nodes[i].witness), 3);
}

/* Loss, doubling, reordering, delay, and a leader that changes: in the end all agree. */
static void any_network_ends_well(void **state)
{
    (void)state;
    lose_percent = 30;
    double_percent = 20;
    delay_most = 12;
    reorder = true;
    unsigned behind[N + 1] = {0};
    for (int round = 0; round < 60; round++) {
        if (round % 15 == 0) lead(1 + (unsigned)(trace_random(&seed) % N), 1 + (unsigned)round);
        for (unsigned i = 1; i <= N; i++) {
            behind[i]++;
            while (behind[i] && trace_random(&seed) % 3)
                apply(i, 1), behind[i]--;
        }
        for (int t = 0; t < 10; t++)
            turn();
        uv_sleep(1);
    }
    lose_percent = 0;
    for (unsigned i = 1; i <= N; i++)
        for (; behind[i]; behind[i]--)
            apply(i, 1);
    bool done = wait_all_at(60, 6000);
    if (!done) print_message("SEED=%llu\n", (unsigned long long)seed);
    assert_true(done);
    for (unsigned i = 1; i <= N; i++) {
        assert_note(i, 60);
        assert_int_equal(nodes[i].quarantined, 0);
        for (unsigned j = 1; j <= N; j++)
            assert_int_equal(nodes[i].evidence[j], 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BED_TEST(a_block_is_told_cosigned_and_witnessed),
        BED_TEST(blocks_while_a_round_runs_wait_for_the_next),
        BED_TEST(it_is_kept_on_disk_with_the_position_that_k_told),
        BED_TEST(of_several_positions_the_one_that_k_told_is_kept),
        BED_TEST(only_so_many_rows_are_kept),
        BED_TEST(a_block_without_leaves_needs_no_checkpoint),
        BED_TEST(a_node_that_has_not_applied_it_yet_tells_later),
        BED_TEST(fewer_than_k_make_nothing),
        BED_TEST(lost_messages_are_made_good_by_pacing),
        BED_TEST(members_apart_learn_what_others_told),
        BED_TEST(members_apart_get_the_note),
        BED_TEST(who_missed_cosignatures_gets_the_note),
        BED_TEST(who_lags_takes_the_notes_in_turn),
        BED_TEST(an_older_pace_gets_no_older_root),
        BED_TEST(an_older_cosignature_displaces_none),
        BED_TEST(without_a_leader_any_node_paces),
        BED_TEST(a_new_leader_paces_at_once),
        BED_TEST(any_network_ends_well),
    };
    return cmocka_run_group_tests(tests, bed_open, bed_close);
}
