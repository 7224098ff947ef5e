/* The key is generated whoever is absent, lies, or sends something else: who is excluded, who gets a share later. */
#include "base/check.h"
#include "base/clock.h"
#include "consensus/keygen_agent_internal.h"
#include "consensus/peer_messages.h"
#include "crypto/secret.h"
#include "tests/unit/consensus/bed_keygen_agent.h"

static void all_present(void **state)
{
    (void)state;
    start_all(0);
    assert_true(wait_shares(0, 8000)); /* nothing waits for a time-out */
    assert_key(1, 2, 3);
    assert_key(4, 2, 1);
    assert_true(wait_wiped(4000));
    for (unsigned i = 1; i <= N; i++) {
        assert_int_equal(nodes[i].shares, 1);
        assert_true(keygen_agent_active(nodes[i].agent, KEY_RECORDS));
        assert_false(keygen_agent_share_lost(nodes[i].agent));
        assert_null(keygen_agent_share(nodes[i].agent, KEY_RECORDS, 2));
        assert_null(keygen_agent_share(nodes[i].agent, KEY_PASSWORDS, 1));
    }
    uint64_t size = ledger_size(nodes[1].driver.kit.ledger);
    assert_int_equal(size, 1 + 3 * N + 1 + denied()); /* commit, reveal, confirm of each, one activation */
    assert_int_equal(denied(), leaves_of(ACTION_KEY_ACTIVATE, DECISION_DENIED)); /* at the same moment */
    assert_true(denied() <= 3);
    run_for(10000);
    assert_int_equal(ledger_size(nodes[1].driver.kit.ledger), size); /* and then silence */
}

/* What is gone from the disk stays in no memory either: no other look comes that would write over it. */
static void no_memory_keeps_what_was_dealt(void **state)
{
    (void)state;
    start_all(0);
    assert_true(wait_shares(0, 60000));
    assert_true(wait_wiped(60000));
    run_for(2000);
    for (unsigned i = 1; i <= N; i++) {
        const struct keygen_agent *a = nodes[i].agent;
        while (!a->idle || a->reading || a->writing) turn();
        assert_true(secret_is_zero(&a->look->own, sizeof a->look->own));
        assert_true(secret_is_zero(&a->look->received, sizeof a->look->received));
        assert_true(secret_is_zero(a->next, sizeof *a->next));
        assert_true(secret_is_zero(a->to_write, sizeof *a->to_write));
    }
}

static void one_absent_for_ever(void **state)
{
    (void)state;
    start_all(4);
    assert_true(wait_shares(4, 30000));
    assert_key(1, 2, 3);
    assert_int_equal(keygen_qualified(&(struct keygen){.revealed = state_of(1).revealed}),
                     MEMBER_BIT(1) | MEMBER_BIT(2) | MEMBER_BIT(3));
    uint64_t size = ledger_size(nodes[1].driver.kit.ledger);
    run_for(20000);
    assert_int_equal(ledger_size(nodes[1].driver.kit.ledger), size);
    assert_false(wiped(1)); /* for the one that is away */
}

static void one_absent_returns_late(void **state)
{
    (void)state;
    start_all(4);
    assert_true(wait_shares(4, 30000));
    run_for(3000);
    come_back(4);
    assert_true(wait_shares(0, 10000));
    assert_key(1, 4, 3);
    assert_true(wait_wiped(10000));
    assert_int_equal(leaves_of(ACTION_KEY_ANSWER, DECISION_APPROVED), 0);
}

/* It committed and revealed, then went away before it dealt anything; the others do without. */
static void a_dealer_that_goes_away_is_excluded(void **state)
{
    (void)state;
    start_all(0);
    silent = 3;
    while (!(state_of(1).revealed & MEMBER_BIT(3)))
        turn();
    nodes[3].away = true;
    assert_true(wait_shares(3, 40000));
    assert_false(keygen_qualified(&(struct keygen){.revealed = state_of(1).revealed,
                                                   .excluded = state_of(1).excluded}) &
                 MEMBER_BIT(3));
    assert_key(1, 2, 4);
    silent = 0;
    come_back(3);
    assert_true(wait_shares(0, 20000));
    assert_key(3, 2, 4);
    assert_true(wait_wiped(10000));
}

/* All are there and hold shares in time; nodes 1, 2 and 4 open what is sealed to the key, and all secrets go. */
static void all_get_through(unsigned ms)
{
    start_all(0);
    assert_true(wait_shares(0, ms));
    assert_key(1, 2, 4);
    assert_true(wait_wiped(10000));
}

static void a_wrong_subshare_is_complained_about_and_answered(void **state)
{
    (void)state;
    lying_dealer = 4;
    lied_to = 1;
    all_get_through(30000);
    assert_int_equal(leaves_of(ACTION_KEY_ANSWER, DECISION_APPROVED), 1);
    assert_int_equal(state_of(1).excluded, 0);
    for (int i = 0; i < 50; i++) turn();
    unsigned written = nodes[1].driver.written;
    for (int i = 0; i < 200; i++) turn();
    assert_int_equal(nodes[1].driver.written, written); /* the answer stands there still, and is not taken again */
    assert_true(wiped(1));
}

static void a_liar_that_does_not_answer_is_excluded(void **state)
{
    (void)state;
    lying_dealer = 4;
    lied_to = 1;
    mute_node = 4;
    mute_action = ACTION_KEY_ANSWER;
    all_get_through(40000); /* it holds a share all the same */
    assert_int_equal(state_of(1).excluded, MEMBER_BIT(4));
}

/* The key stands when it comes: it complains, once, and holds its share as soon as that is answered. */
static void a_late_one_that_was_lied_to(void **state)
{
    (void)state;
    lying_dealer = mute_node = 3;
    lied_to = 4;
    mute_action = ACTION_KEY_ANSWER;
    start_all(4);
    assert_true(wait_shares(4, 30000));
    come_back(4);
    run_for(12000);
    assert_false(has_share(4));
    assert_int_equal(state_of(1).complaints[4], MEMBER_BIT(3));
    assert_int_equal(leaves_of(ACTION_KEY_CONFIRM, DECISION_APPROVED), 4);
    assert_int_equal(leaves_of(ACTION_KEY_CONFIRM, DECISION_DENIED), 0);
    mute_node = 0;
    assert_true(wait_shares(0, 15000));
    assert_key(1, 4, 3);
    assert_int_equal(leaves_of(ACTION_KEY_ANSWER, DECISION_APPROVED), 1);
    assert_true(wait_wiped(10000));
}

static void other_bytes_than_published_are_complained_about(void **state)
{
    (void)state;
    garbling = 2;
    all_get_through(30000);
    assert_int_equal(leaves_of(ACTION_KEY_ANSWER, DECISION_APPROVED), 3);
    assert_int_equal(state_of(1).excluded, 0);
}

static void send_of_attempt(uint32_t attempt)
{
    static const uint8_t sealed[32 + SEAL_BOX_OVERHEAD] = {7};
    struct buffer body = {0};
    pack_array(&body, 4);
    pack_uint(&body, KEY_RECORDS);
    pack_uint(&body, attempt);
    pack_uint(&body, 2);
    pack_bin(&body, sealed, sizeof sealed);
    keygen_agent_message(nodes[1].agent, 2, PEER_SUBSHARE, 0, buffer_bytes(&body));
    buffer_free(&body);
}

/* Old ones on their way, and those of an attempt that is not here yet, are held against nobody: the dealer of this
 * attempt is neither complained about nor made to publish. */
static void a_subshare_of_another_attempt(void **state)
{
    unsigned published = 1;
    for (unsigned tries = 0; published && tries < 5; tries++) { /* where this machine paused, a time ran out */
        if (tries > 0) {
            teardown(state);
            setup(state);
        }
        start_all(0);
        while (state_of(1).phase < KEYGEN_CONFIRM) {
            turn();
            send_of_attempt(tries % 2 ? 0 : 2);
        }
        assert_true(wait_shares(0, 30000));
        assert_key(1, 2, 4);
        assert_int_equal(state_of(1).excluded, 0);
        published = leaves_of(ACTION_KEY_ANSWER, DECISION_APPROVED);
    }
    assert_int_equal(published, 0);
}

/* Its own link is the trouble: no complaint that would have all dealers publish what is its. */
static void who_lacks_too_many_waits(void **state)
{
    (void)state;
    start_all(0);
    while (!(state_of(4).revealed & MEMBER_BIT(4)))
        turn();
    lose_percent = 100;
    for (uint64_t until = clock_monotonic_ns() + UINT64_C(3000) * 1000000; clock_monotonic_ns() < until;) {
        for (size_t i = 0; i < queued; i++)
            buffer_free(&queue[i].body);
        queued = 0;
        turn();
    }
    lose_percent = 0;
    assert_int_equal(leaves_of(ACTION_KEY_CONFIRM, DECISION_APPROVED), 0);
    assert_true(wait_shares(0, 30000));
    assert_int_equal(leaves_of(ACTION_KEY_ANSWER, DECISION_APPROVED), 0);
    assert_key(1, 2, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BED_TEST(all_present),
        BED_TEST(no_memory_keeps_what_was_dealt),
        BED_TEST(one_absent_for_ever),
        BED_TEST(one_absent_returns_late),
        BED_TEST(a_dealer_that_goes_away_is_excluded),
        BED_TEST(a_wrong_subshare_is_complained_about_and_answered),
        BED_TEST(a_liar_that_does_not_answer_is_excluded),
        BED_TEST(a_late_one_that_was_lied_to),
        BED_TEST(other_bytes_than_published_are_complained_about),
        BED_TEST(a_subshare_of_another_attempt),
        BED_TEST(who_lacks_too_many_waits),
    };
    return cmocka_run_group_tests(tests, bed_open, bed_close);
}
