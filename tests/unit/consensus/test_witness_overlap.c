/* Rounds begin while others are under way. A turn of the bed is what a message takes. */
#include "base/clock.h"
#include "consensus/peer_messages.h"
#include "tests/lib/samples.h"
#include "tests/unit/consensus/bed_witness.h"

/* PACE, TELL, COSIGN: a turn each. Who just missed a round waits for one before the next begins; or for two, where
 * turns are so short that rounds begin no sooner than words have come. */
#define ROUND_TURNS 3
#define FAR_TURNS 4
#define NEAR_TURNS 5
#define ROUNDS 4 /* of a leader, at once */

static void apply_all_unawaited(void)
{
    for (unsigned i = 1; i <= N; i++) {
        struct driver_applied a = grow(&nodes[i].driver, 1, false);
        a.awaited = false;
        witness_applied(nodes[i].witness, &a);
    }
}

/* Turns from now until all have a checkpoint of that size. */
static unsigned turns_until(uint64_t size)
{
    unsigned turns = 0;
    for (; !all_at(size) && turns < 100; turns++) turn();
    return turns;
}

static void who_missed_a_round_waits_for_its_words_at_most(void **state)
{
    (void)state;
    lead(1, 1);
    for (unsigned offset = 0; offset <= ROUND_TURNS + 1; offset++) {
        uint64_t size = 2 * (uint64_t)offset;
        settle();
        assert_true(all_at(size));
        apply_all(1);
        for (unsigned i = 0; i < offset; i++) turn();
        apply_all(1);
        unsigned turns = turns_until(size + 2);
        assert_true(turns >= ROUND_TURNS && turns <= NEAR_TURNS);
        if (offset == 0) assert_int_equal(turns, NEAR_TURNS);
    }
}

/* A turn in which more time passes than a busy leader leaves between two rounds. */
static void long_turn(void)
{
    uv_sleep(5);
    turn();
}

static void a_stream_of_blocks_waits_for_half_of_the_words(void **state)
{
    (void)state;
    lead(1, 1);
    apply_all(1); /* how long words take is known from then on */
    for (unsigned i = 0; i < ROUND_TURNS; i++) long_turn();
    assert_true(all_at(1));
    for (uint64_t size = 2; size <= 60; size++) {
        apply_all(1);
        assert_int_equal(sent[PEER_PACE], size * (N - 1));
        long_turn();
        for (unsigned node = 1; node <= N; node++)
            assert_true(witness_size(nodes[node].witness) + FAR_TURNS > size);
    }
    for (unsigned node = 1; node <= N; node++)
        assert_int_equal(nodes[node].quarantined, 0);
}

static void nobody_waits_so_none_overlap(void **state)
{
    (void)state;
    lead(1, 1);
    apply_all(1);
    apply_all_unawaited();
    turn();
    turn();
    assert_int_equal(nodes[1].driver.durable.size, 1); /* the leader has cosigned */
    assert_int_equal(sent[PEER_PACE], N - 1);
    assert_true(wait_all_at(2, 3000));
}

static void so_many_are_under_way_at_most(void **state)
{
    (void)state;
    lead(1, 1);
    drop_type = PEER_COSIGN; /* no round ends at the leader */
    drop_to = 1;
    for (int i = 0; i < 10; i++) {
        apply_all(1);
        long_turn();
        turn();
    }
    assert_int_equal(witness_size(nodes[1].witness), 0);
    assert_int_equal(sent[PEER_PACE], ROUNDS * (N - 1));
    drop_type = 0;
    assert_true(wait_all_at(10, 6000));
    assert_note(1, 10);
}

/* --- out of order --- */

static void a_lost_round_ends_with_the_next(void **state)
{
    (void)state;
    lead(1, 1);
    apply_all(1);
    apply_all(1);
    turn();
    drop_type = PEER_COSIGN;
    turn(); /* all cosign the first round */
    drop_type = 0;
    for (unsigned i = 1; i <= N; i++)
        assert_int_equal(nodes[i].cosigned_most, 1);
    assert_int_equal(sent[PEER_PACE], 2 * (N - 1));
    assert_int_equal(turns_until(2), ROUND_TURNS);
    for (unsigned i = 1; i <= N; i++) {
        assert_int_equal(nodes[i].witnessed_calls, 1);
        assert_note(i, 2);
    }
    apply_all(1); /* and nothing is left of it */
    assert_int_equal(turns_until(3), ROUND_TURNS);
}

static void words_lost_in_the_first_round_are_of_no_matter_in_the_second(void **state)
{
    (void)state;
    lead(1, 1);
    apply_all(1);
    apply_all(1);
    drop_type = PEER_TELL;
    drop_to = 4;
    turn(); /* 2 and 3 tell the first round; 4 hears the leader and itself */
    drop_type = 0;
    settle();
    assert_true(all_at(2));
    assert_note(4, 2);
    assert_int_equal(nodes[4].driver.durable.size, 2);
}

static void the_first_round_ends_after_the_second(void **state)
{
    (void)state;
    nodes[1].cut = nodes[2].cut = nodes[3].cut = true;
    apply(4, 1);
    struct claim first = own_claim(4);
    apply(4, 1);
    struct claim second = own_claim(4);
    for (unsigned i = 1; i <= 3; i++)
        send_cosign(i, 4, 2, &second.root);
    assert_int_equal(witness_size(nodes[4].witness), 2);
    for (unsigned i = 1; i <= 3; i++)
        send_cosign(i, 4, 1, &first.root);
    assert_int_equal(witness_size(nodes[4].witness), 2);
    assert_int_equal(nodes[4].witnessed_calls, 1);
    assert_note(4, 2);
    for (unsigned i = 1; i <= 3; i++)
        assert_int_equal(nodes[4].evidence[i], 0);
}

/* One member's cosignature of the second round overtakes another's of the first. */
static void cosignatures_of_all_rounds_count(void **state)
{
    (void)state;
    struct claim claims[ROUNDS];
    nodes[1].cut = nodes[2].cut = nodes[3].cut = true;
    for (unsigned i = 0; i < ROUNDS; i++) {
        apply(4, 1);
        claims[i] = own_claim(4);
        send_cosign(1, 4, i + 1, &claims[i].root);
    }
    for (unsigned i = ROUNDS; i-- > 0;) send_cosign(2, 4, i + 1, &claims[i].root); /* in the other order */
    assert_int_equal(witness_size(nodes[4].witness), 0);
    for (unsigned i = 0; i < ROUNDS; i++) {
        send_cosign(3, 4, i + 1, &claims[i].root);
        assert_note(4, i + 1);
    }
}

/* One member's words come when this node has told its own on the rounds after that. */
static void words_of_all_rounds_count(void **state)
{
    (void)state;
    struct claim claims[ROUNDS];
    nodes[1].cut = nodes[2].cut = nodes[3].cut = true;
    for (unsigned i = 0; i < ROUNDS; i++) {
        apply(4, 1);
        claims[i] = own_claim(4);
        send_tell(1, 4, PEER_PACE, &claims[i]);
    }
    settle();
    assert_false(nodes[4].driver.any_mark);
    for (unsigned i = 0; i < ROUNDS; i++) {
        send_tell(2, 4, PEER_TELL, &claims[i]);
        settle();
        assert_int_equal(nodes[4].driver.durable.size, i + 1);
    }
}

static void who_applies_late_tells_every_round(void **state)
{
    (void)state;
    nodes[1].cut = nodes[2].cut = nodes[3].cut = true;
    struct driver_applied blocks[ROUNDS];
    for (unsigned i = 0; i < ROUNDS; i++) {
        blocks[i] = grow(&nodes[4].driver, 1, false);
        struct claim c = own_claim(4);
        send_tell(1, 4, PEER_PACE, &c);
        send_tell(2, 4, PEER_TELL, &c);
    }
    for (unsigned i = 0; i < ROUNDS; i++) {
        witness_applied(nodes[4].witness, &blocks[i]);
        settle();
        assert_int_equal(sent[PEER_TELL], (i + 1) * (N - 1));
        assert_int_equal(nodes[4].driver.durable.size, i + 1);
    }
}

/* The first round's k words come while the mark of the round before is written. */
static void words_heard_while_a_mark_is_written_count(void **state)
{
    (void)state;
    struct claim claims[3];
    nodes[1].cut = nodes[2].cut = nodes[3].cut = nodes[4].driver.hold_marks = true;
    for (int i = 0; i < 3; i++) {
        apply(4, 1);
        claims[i] = own_claim(4);
        send_tell(1, 4, PEER_PACE, &claims[i]);
        if (i < 2) send_tell(2, 4, PEER_TELL, &claims[i]);
    }
    settle();
    nodes[4].driver.hold_marks = false;
    settle();
    assert_int_equal(nodes[4].driver.durable.size, 2);
}

/* --- lies --- */

static void a_liar_in_either_round_holds_up_neither(void **state)
{
    (void)state;
    lead(1, 1);
    apply_all(1);
    for (unsigned i = 1; i < N; i++)
        apply(i, 1);
    apply_forked(4, 1, true); /* the second */
    settle();
    for (unsigned i = 1; i < N; i++) {
        assert_note(i, 2);
        assert_int_equal(nodes[i].witnessed_calls, 2);
        assert_int_equal(nodes[i].evidence[4], 1);
        assert_int_equal(nodes[i].evidence[1] + nodes[i].evidence[2] + nodes[i].evidence[3], 0);
    }
    assert_int_equal(nodes[4].quarantined, 1);
}

/* Who goes back to an earlier word has taken the later one back. */
static void a_word_gone_back_on_does_not_count(void **state)
{
    (void)state;
    nodes[1].cut = nodes[2].cut = nodes[3].cut = true;
    apply(4, 1);
    struct claim first = own_claim(4);
    apply(4, 1);
    struct claim second = own_claim(4);
    send_tell(2, 4, PEER_TELL, &second);
    send_tell(2, 4, PEER_TELL, &first);
    send_tell(1, 4, PEER_PACE, &second);
    settle();
    assert_false(nodes[4].driver.any_mark); /* 1 and 4 */
    send_tell(3, 4, PEER_TELL, &second);
    settle();
    assert_int_equal(nodes[4].driver.durable.size, 2);
}

static void two_roots_are_evidence_in_the_round_before_too(void **state)
{
    (void)state;
    struct digest one = sample_digest(1), two = sample_digest(2), other = sample_digest(3);
    send_cosign(4, 1, 5, &one);
    send_cosign(4, 1, 6, &two);
    send_cosign(4, 1, 5, &one);
    assert_int_equal(nodes[1].evidence[4], 0);
    send_cosign(4, 1, 5, &other);
    assert_int_equal(nodes[1].evidence[4], 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BED_TEST(who_missed_a_round_waits_for_its_words_at_most),
        BED_TEST(a_stream_of_blocks_waits_for_half_of_the_words),
        BED_TEST(nobody_waits_so_none_overlap),
        BED_TEST(so_many_are_under_way_at_most),
        BED_TEST(a_lost_round_ends_with_the_next),
        BED_TEST(words_lost_in_the_first_round_are_of_no_matter_in_the_second),
        BED_TEST(the_first_round_ends_after_the_second),
        BED_TEST(cosignatures_of_all_rounds_count),
        BED_TEST(words_of_all_rounds_count),
        BED_TEST(who_applies_late_tells_every_round),
        BED_TEST(words_heard_while_a_mark_is_written_count),
        BED_TEST(a_liar_in_either_round_holds_up_neither),
        BED_TEST(a_word_gone_back_on_does_not_count),
        BED_TEST(two_roots_are_evidence_in_the_round_before_too),
    };
    return cmocka_run_group_tests(tests, bed_open, bed_close);
}
