/* What a node makes of the others' state digests and of its own: who is named, who is well again. */
#include "crypto/random.h"
#include "tests/unit/node/bed_digest.h"

static void who_differs_from_those_who_are_right_is_named_once(void **state)
{
    (void)state;
    not_own(10);
    hear(2, 10, 1);
    hear(3, 10, 2);
    assert_int_equal(found_count, 0); /* nobody knows yet who is right */
    hear(4, 10, 3);
    assert_int_equal(found_count, 0); /* nor then */
    put_user("as it must be");
    uint64_t leaf = 11;
    struct state_statement good2 = as_stored(2, leaf), good4 = as_stored(4, leaf);
    hear_as(2, &good2);
    hear(3, leaf, 2);
    hear_as(4, &good4);
    digest_own(leaf);
    assert_int_equal(found_count, 1);
    assert_int_equal(found[0].named, 3);
    assert_int_equal(found[0].kind, ALARM_MODIFIED);
    assert_int_equal(found[0].first, leaf);
    assert_non_null(strstr(found[0].text, "user"));
    leaf = 12; /* still so: the same finding, told once more, should somebody have closed it */
    good2 = as_stored(2, leaf), good4 = as_stored(4, leaf);
    hear_as(4, &good4);
    digest_own(leaf);
    hear_as(2, &good2);
    hear(3, leaf, 5);
    hear(3, leaf, 6);
    assert_int_equal(found_count, 2);
    assert_true(found[1].named == 3 && found[1].first == 11 && found[1].last == 11);
    assert_int_equal(quarantines, 0);
    leaf = 13; /* rebuilt */
    struct state_statement good3 = as_stored(3, leaf);
    good2 = as_stored(2, leaf);
    digest_own(leaf);
    hear_as(3, &good3);
    assert_int_equal(repaired_count, 0);
    hear_as(2, &good2);
    assert_int_equal(repaired_count, 1);
    assert_int_equal(repaired[0].named, 3);
    assert_int_equal(repaired[0].from, 11);
    assert_int_equal(repaired[0].to, 11);
}

/* Of two that say the same one is honest and well, for one at most is not. */
static void more_than_may_be_wrong_name_a_node(void **state)
{
    (void)state;
    not_own(10);
    hear(2, 10, 1);
    hear(3, 10, 2);
    hear(4, 10, 1);
    assert_int_equal(found_count, 1);
    assert_int_equal(found[0].named, 3);
    assert_non_null(strstr(found[0].text, "2 other nodes"));
    not_own(11);
    hear(3, 11, 1);
    assert_int_equal(repaired_count, 0);
    hear(4, 11, 1);
    assert_int_equal(repaired_count, 1); /* whatever the others say now, they are not two */
    assert_int_equal(quarantines, 0);
}

static void two_that_agree_make_a_third_leave(void **state)
{
    (void)state;
    put_user("altered");
    digest_own(20);
    hear(2, 20, 1);
    hear(3, 20, 1);
    assert_int_equal(quarantines, 0); /* the fourth may say what this one says */
    hear(4, 20, 0);
    assert_int_equal(quarantines, 1);
    assert_int_equal(found_count, 1);
    assert_int_equal(found[0].named, SELF);
}

static void the_silent_are_not_waited_for_for_ever(void **state)
{
    (void)state;
    put_user("altered");
    digest_own(20);
    hear(2, 20, 1);
    hear(3, 20, 1);
    later(30);
    assert_int_equal(quarantines, 0);
    restart();
    later(40); /* what was heard so long ago is not taken for old news: nobody was told */
    assert_int_equal(quarantines, 0);
    later(30);
    assert_int_equal(quarantines, 1);
    assert_int_equal(found_count, 1);
    later(70);
    assert_int_equal(quarantines, 1);
}

/* A liar that says what a damaged node says, and is faster than the honest ones. */
static void of_two_groups_nobody_is_named(void **state)
{
    (void)state;
    put_user("as it must be");
    for (uint64_t leaf = 20; leaf < 22; leaf++) {
        struct state_statement good2 = as_stored(2, leaf);
        digest_own(leaf);
        hear(3, leaf, 1);
        hear(4, leaf, 1);
        assert_int_equal(quarantines, 0);
        hear_as(2, &good2);
    }
    later(61);
    assert_int_equal(quarantines + found_count + repaired_count, 0);
}

/* What was open of a round is settled by a later one: the node was rebuilt meanwhile. */
static void a_later_round_counts(void **state)
{
    (void)state;
    put_user("as it must be");
    struct state_statement good[N + 1];
    digest_own(20);
    good[2] = as_stored(2, 20);
    hear_as(2, &good[2]);
    hear(3, 20, 1);
    digest_own(21);
    for (unsigned i = 2; i <= N; i++) {
        good[i] = as_stored(i, 21);
        hear_as(i, &good[i]);
    }
    later(61);
    assert_int_equal(found_count + quarantines, 0);
}

static void one_that_differs_from_k_others_leaves_itself(void **state)
{
    (void)state;
    put_user("altered");
    digest_own(20);
    for (unsigned i = 2; i <= N; i++) assert_int_equal(sent[i], 1);
    hear(2, 20, 1);
    hear(3, 20, 1);
    assert_int_equal(quarantines, 0);
    hear(4, 20, 1);
    assert_int_equal(quarantines, 1);
    assert_int_equal(found_count, 1);
    assert_int_equal(found[0].named, SELF);
    digest_own(21);
    for (unsigned i = 2; i <= N; i++) hear(i, 21, 1);
    assert_int_equal(quarantines, 1);
    assert_int_equal(found_count, 1);
}

static void without_a_digest_nobody_differs(void **state)
{
    (void)state;
    not_own(30);
    hear(2, 30, 1);
    hear(3, 30, 1);
    hear(4, 30, 1);
    not_own(31);
    hear(2, 31, 0);
    hear(3, 31, 0);
    hear(4, 31, 0);
    assert_int_equal(found_count + quarantines + repaired_count, 0);
}

/* Altered, named, rebuilt, and asked about the same leaf again. */
static void the_last_word_counts(void **state)
{
    (void)state;
    not_own(40);
    put_user("as it must be");
    struct state_statement good2 = as_stored(2, 41), good3 = as_stored(3, 41), good4 = as_stored(4, 41);
    hear(2, 41, 1);
    hear(2, 41, 1); /* the same again */
    hear_as(3, &good3);
    hear_as(4, &good4);
    digest_own(41);
    assert_int_equal(found_count, 1);
    assert_int_equal(found[0].named, 2);
    hear(2, 41, 2); /* another wrong one */
    assert_int_equal(found_count, 1);
    assert_int_equal(repaired_count, 0);
    hear_as(2, &good2);
    assert_int_equal(found_count, 1);
    assert_int_equal(found[0].kind, ALARM_MODIFIED);
    assert_int_equal(repaired_count, 1);
}

/* A liar that takes its word back again and again fills neither ledgers nor mailboxes: a few times for each leaf, and
 * one finding for a day. */
static void who_comes_and_goes_is_one_finding(void **state)
{
    (void)state;
    put_user("as it must be");
    for (uint64_t leaf = 60; leaf < 63; leaf++) {
        size_t found_before = found_count, repaired_before = repaired_count;
        struct state_statement good2 = as_stored(2, leaf), good3 = as_stored(3, leaf), good4 = as_stored(4, leaf);
        hear_as(3, &good3);
        hear_as(4, &good4);
        digest_own(leaf);
        for (unsigned i = 0; i < 20; i++) {
            hear(2, leaf, 1 + i);
            hear_as(2, &good2);
        }
        assert_true(found_count <= found_before + 2);
        assert_true(repaired_count <= repaired_before + 1);
        hear(2, leaf - 1, 99); /* nor of the leaf before */
        assert_true(found_count <= found_before + 2);
    }
    assert_true(found_count >= 3); /* and it is seen in each round */
    for (size_t i = 0; i < found_count; i++) assert_int_equal(found[i].first, 60);
    for (size_t i = 0; i < repaired_count; i++) assert_int_equal(repaired[i].from, 60);
    assert_int_equal(stored(), 12);
}

int main(void)
{
    crypto_init();
    const struct CMUnitTest tests[] = {
        BED_TEST(who_differs_from_those_who_are_right_is_named_once),
        BED_TEST(more_than_may_be_wrong_name_a_node),
        BED_TEST(two_that_agree_make_a_third_leave),
        BED_TEST(the_silent_are_not_waited_for_for_ever),
        BED_TEST(of_two_groups_nobody_is_named),
        BED_TEST(a_later_round_counts),
        BED_TEST(one_that_differs_from_k_others_leaves_itself),
        BED_TEST(without_a_digest_nobody_differs),
        BED_TEST(the_last_word_counts),
        BED_TEST(who_comes_and_goes_is_one_finding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
