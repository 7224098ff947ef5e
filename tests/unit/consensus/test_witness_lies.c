/* Forks, lies and messages that are not well formed: who is named, who quarantines itself, and that nothing stops. */
#include "base/clock.h"
#include "base/pack.h"
#include "consensus/peer_messages.h"
#include "consensus/witness_internal.h"
#include "ledger/checkpoint.h"
#include "ledger/state.h"
#include "tests/lib/samples.h"
#include "tests/unit/consensus/bed_witness.h"

static void a_fork_is_named_and_quarantines_itself(void **state)
{
    (void)state;
    lead(1, 1);
    for (unsigned i = 1; i <= 3; i++)
        apply(i, 4);
    apply_forked(4, 4, true);
    settle();
    for (unsigned i = 1; i <= 3; i++) {
        assert_int_equal(witness_size(nodes[i].witness), 4);
        assert_int_equal(nodes[i].evidence[4], 1);
        assert_int_equal(nodes[i].quarantined, 0);
    }
    assert_int_equal(nodes[4].quarantined, 1);
    assert_int_equal(witness_size(nodes[4].witness), 0);
    assert_false(nodes[4].driver.any_mark);
    apply_all(2);
    settle();
    assert_int_equal(witness_size(nodes[1].witness), 6);
    assert_int_equal(nodes[4].quarantined, 1);
    assert_int_equal(nodes[4].cosigned_most, 0);
}

static void a_leader_that_lies_about_its_root_stops_nobody(void **state)
{
    (void)state;
    lead(4, 1);
    for (unsigned i = 1; i <= 3; i++)
        apply(i, 4);
    apply_forked(4, 4, true);
    sleep_ms(1300);
    for (unsigned i = 1; i <= 3; i++) {
        assert_int_equal(witness_size(nodes[i].witness), 4);
        assert_true(nodes[i].evidence[4] >= 1);
        assert_int_equal(nodes[i].evidence[1] + nodes[i].evidence[2] + nodes[i].evidence[3], 0);
    }
}

static void assert_proves(unsigned node, unsigned named, enum evidence_kind kind)
{
    struct evidence e;
    assert_int_equal(evidence_open(&e, buffer_bytes(&nodes[node].last_evidence), &genesis), OK);
    assert_int_equal(e.signer, named);
    assert_int_equal(evidence_kind(&e), kind);
}

static void two_roots_under_one_signature_are_evidence(void **state)
{
    (void)state;
    struct claim one = {5, 1, 1, sample_digest(1)}, two = {5, 1, 1, sample_digest(2)};
    struct claim later = {5, 1, 2, sample_digest(2)};
    send_tell(4, 1, PEER_TELL, &one);
    send_tell(4, 1, PEER_TELL, &one);
    send_tell(4, 1, PEER_TELL, &later); /* as after a rebuild: no lie that could be proved */
    assert_int_equal(nodes[1].evidence[4], 0);
    send_tell(4, 1, PEER_TELL, &one);
    send_tell(4, 1, PEER_TELL, &two);
    assert_int_equal(nodes[1].evidence[4], 1);
    assert_proves(1, 4, EVIDENCE_ROOTS);
    send_cosign(3, 1, 5, &one.root);
    send_cosign(3, 1, 5, &two.root);
    assert_int_equal(nodes[1].evidence[3], 1);
    assert_proves(1, 3, EVIDENCE_CHECKPOINTS);
}

/* --- what was told is shown around --- */

static struct claim claim_of(unsigned node) /* what it would tell of its newest block */
{
    const struct driver *d = &nodes[node].driver;
    struct claim c = {d->tree.size, d->raft_index, d->raft_term, {{0}}};
    tree_root(&c.root, &d->tree);
    return c;
}

static void send_shown(unsigned from, unsigned to, const unsigned *members, const struct claim *claims, unsigned count)
{
    struct buffer body = {0};
    pack_array(&body, count);
    for (unsigned i = 0; i < count; i++) {
        struct buffer tell = {0};
        make_tell(&tell, members[i], &claims[i]);
        pack_array(&body, 2);
        pack_uint(&body, members[i]);
        pack_bytes(&body, buffer_bytes(&tell));
        buffer_free(&tell);
    }
    witness_message(nodes[to].witness, from, PEER_TOLD, buffer_bytes(&body));
    buffer_free(&body);
}

static void two_roots_for_two_nodes_show_when_shown(void **state)
{
    (void)state;
    struct claim one = {5, 1, 1, sample_digest(1)}, two = {5, 1, 1, sample_digest(2)};
    send_tell(4, 1, PEER_TELL, &one);
    send_shown(2, 1, (const unsigned[]){4}, &one, 1);
    assert_int_equal(nodes[1].evidence[4], 0);
    send_shown(2, 1, (const unsigned[]){4}, &two, 1);
    assert_int_equal(nodes[1].evidence[4], 1);
    assert_proves(1, 4, EVIDENCE_ROOTS);
    /* Nobody else can say it in its name. */
    struct buffer body = {0}, tell = {0};
    make_tell(&tell, 2, &two);
    pack_array(&body, 1);
    pack_array(&body, 2);
    pack_uint(&body, 3);
    pack_bytes(&body, buffer_bytes(&tell));
    witness_message(nodes[1].witness, 2, PEER_TOLD, buffer_bytes(&body));
    assert_int_equal(nodes[1].evidence[3], 0);
    for (size_t cut = 0; cut < body.size; cut++)
        witness_message(nodes[1].witness, 2, PEER_TOLD, bytes_of(body.data, cut));
    witness_exclude(nodes[1].witness, 4); /* and who was caught isn't heard any more */
    send_tell(4, 1, PEER_TELL, &two);
    assert_int_equal(nodes[1].evidence[4], 1);
    buffer_free(&body);
    buffer_free(&tell);
}

/* A tell that comes before its block is applied here is compared once it is. */
static void roots_told_too_early_are_compared_later(void **state)
{
    (void)state;
    struct claim other = {4, 1, 1, sample_digest(9)};
    lead(1, 1);
    send_tell(4, 1, PEER_TELL, &other);
    assert_int_equal(nodes[1].evidence[4], 0);
    apply(1, 4);
    assert_int_equal(nodes[1].evidence[4], 1);
    assert_true(sent[PEER_TOLD] > 0);
}

/* It told of a later block meanwhile. */
static void roots_of_earlier_rounds_are_compared_too(void **state)
{
    (void)state;
    struct claim first = {4, 1, 1, sample_digest(9)}, second = {8, 2, 1, sample_digest(10)};
    send_tell(4, 1, PEER_TELL, &first);
    send_tell(4, 1, PEER_TELL, &second);
    apply(1, 4);
    assert_int_equal(nodes[1].evidence[4], 1);
}

/* What it told is kept for some dozens of blocks. */
static void two_roots_are_evidence_some_blocks_later(void **state)
{
    (void)state;
    struct claim one = {5, 1, 1, sample_digest(1)}, two = {5, 1, 1, sample_digest(2)};
    struct claim later = {9, 1, 1, sample_digest(3)};
    send_tell(4, 1, PEER_TELL, &one);
    for (later.raft_index = 2; later.raft_index < 60; later.raft_index++)
        send_tell(4, 1, PEER_TELL, &later);
    assert_int_equal(nodes[1].evidence[4], 0);
    send_tell(4, 1, PEER_TELL, &two);
    assert_int_equal(nodes[1].evidence[4], 1);
}

/* What a node shows has its own word, though it told of a later block since. */
static void its_own_earlier_word_is_shown(void **state)
{
    (void)state;
    struct claim first, second, other = {1, 1, 1, sample_digest(9)};
    nodes[3].cut = nodes[4].cut = apart[1][2] = true;
    apply(1, 1);
    apply(2, 1);
    first = own_claim(1);
    send_tell(3, 1, PEER_PACE, &first);
    apply(1, 1);
    second = own_claim(1);
    send_tell(3, 1, PEER_PACE, &second);
    send_tell(3, 2, PEER_PACE, &first);
    settle();
    assert_false(nodes[2].driver.any_mark); /* 2 and 3 */
    apart[1][2] = false;
    send_tell(4, 1, PEER_TELL, &other);
    settle();
    assert_true(nodes[2].driver.any_mark);
    assert_int_equal(nodes[2].driver.durable.size, 1);
}

/* k words against its own root: it yields, if it has cosigned nothing of that. */
static void k_words_bind_who_stands_elsewhere(void **state)
{
    (void)state;
    struct claim other = {4, 1, 1, sample_digest(9)}, claims[3] = {other, other, other};
    may_be_rebuilt(1);
    lead(1, 1);
    apply(1, 4);
    send_shown(2, 1, (const unsigned[]){2, 3}, claims, 2);
    assert_int_equal(nodes[1].deceived + nodes[1].quarantined, 0);
    send_shown(2, 1, (const unsigned[]){2, 3, 3}, claims, 3); /* one twice is one */
    assert_int_equal(nodes[1].deceived + nodes[1].quarantined, 0);
    witness_withdraw(nodes[1].witness, 4, 1, 1); /* its word is taken back */
    send_shown(2, 1, (const unsigned[]){2, 3, 4}, claims, 3);
    assert_int_equal(nodes[1].deceived + nodes[1].quarantined, 0);
    witness_withdraw(nodes[1].witness, 4, 0, 0);
    send_shown(2, 1, (const unsigned[]){2, 3, 4}, claims, 3);
    assert_int_equal(nodes[1].deceived, 1);
    assert_int_equal(nodes[1].contradicting, 1u << 2 | 1u << 3 | 1u << 4);
    assert_int_equal(nodes[1].contradicted_at, 1);
    assert_int_equal(nodes[1].quarantined, 0);
}

static void who_cosigned_is_quarantined_not_rebuilt(void **state)
{
    (void)state;
    may_be_rebuilt(1);
    lead(1, 1);
    apply_all(4);
    settle();
    assert_int_equal(nodes[1].driver.durable.size, 4);
    struct claim other = {4, 1, 1, sample_digest(9)}, claims[3] = {other, other, other};
    send_shown(2, 1, (const unsigned[]){2, 3, 4}, claims, 3);
    assert_int_equal(nodes[1].deceived, 0);
    assert_int_equal(nodes[1].quarantined, 1);
}

/* Words of who is excluded, and words that were taken back, make no cosignature. */
static void words_that_do_not_count(void **state)
{
    (void)state;
    lead(1, 1);
    drop_type = PEER_TELL; /* only what the test sends */
    witness_exclude(nodes[1].witness, 4);
    apply(1, 4);
    struct claim same = claim_of(1);
    send_tell(4, 1, PEER_TELL, &same);
    send_tell(3, 1, PEER_TELL, &same);
    settle();
    assert_false(nodes[1].driver.any_mark); /* 1 and 3 */
    witness_withdraw(nodes[1].witness, 3, same.raft_term, same.raft_index);
    send_tell(2, 1, PEER_TELL, &same);
    settle();
    assert_false(nodes[1].driver.any_mark); /* 1 and 2 */
    witness_withdraw(nodes[1].witness, 3, 0, 0);
    send_tell(3, 1, PEER_TELL, &same);
    settle();
    assert_true(nodes[1].driver.any_mark);
}

/* After a rebuild it tells nothing of what it may have told otherwise; a later term it does. */
static void quiet_up_to_where_it_told_before(void **state)
{
    (void)state;
    stop_witness(1);
    quiet_index = 2;
    quiet_term = 1;
    start_witness(1);
    quiet_index = quiet_term = 0;
    lead(1, 1);
    apply(1, 4);
    sleep_ms(1300);
    assert_int_equal(sent[PEER_TELL] + sent[PEER_PACE], 0);
    struct claim same = claim_of(1);
    send_tell(2, 1, PEER_PACE, &same);
    assert_int_equal(sent[PEER_TELL], 0);
    apply(1, 1);
    apply(1, 1);
    assert_true(sent[PEER_PACE] > 0); /* index 3 */
}

/* Its own root is not the one that it cosigned for k others: no k equal tells, no mark. */
static void tells_that_differ_anywhere_are_not_equal(void **state)
{
    (void)state;
    nodes[2].cut = nodes[3].cut = nodes[4].cut = true;
    apply(1, 4);
    struct claim good = own_claim(1);
    send_tell(2, 1, PEER_TELL, &good);
    struct claim other = good;
    other.raft_term++;
    send_tell(3, 1, PEER_TELL, &other);
    other = good;
    other.raft_index++;
    send_tell(4, 1, PEER_TELL, &other);
    lead(1, 1);
    settle();
    assert_false(nodes[1].driver.any_mark);
    send_tell(4, 1, PEER_TELL, &good);
    settle();
    assert_true(nodes[1].driver.any_mark);
    assert_int_equal(nodes[1].driver.durable.size, 4);
}

static void an_absurd_pace_blocks_nothing(void **state)
{
    (void)state;
    struct claim absurd = {UINT64_MAX, UINT64_MAX, UINT64_MAX, sample_digest(1)};
    lead(1, 1);
    for (unsigned i = 1; i <= 3; i++) {
        send_tell(4, i, PEER_PACE, &absurd);
        absurd.size = absurd.raft_index = UINT64_MAX / 2;
        send_tell(4, i, PEER_PACE, &absurd);
        send_cosign(4, i, UINT64_MAX, &absurd.root);
    }
    for (int i = 0; i < 5; i++) {
        apply_all(2);
        settle();
    }
    assert_true(all_at(10));
    /* From the one that sent it, a sensible one is answered later. */
    witness_role(nodes[1].witness, false, 2);
    witness_role(nodes[4].witness, true, 2);
    apply_all(2);
    settle();
    assert_true(all_at(12));
}

static void what_is_not_well_formed_is_ignored(void **state)
{
    (void)state;
    struct buffer good = {0}, bad = {0};
    lead(2, 1); /* node 1 only listens */
    nodes[2].cut = nodes[3].cut = nodes[4].cut = true;
    apply(1, 4);
    struct claim c = own_claim(1);
    make_tell(&good, 3, &c);
    uint64_t first = clock_monotonic_ns();
    static const uint32_t types[] = {PEER_TELL, PEER_PACE, PEER_COSIGN, PEER_NOTE_PUSH};
    for (size_t t = 0; t < 4; t++)
        for (size_t cut = 0; cut < good.size; cut++)
            witness_message(nodes[1].witness, 3, types[t], bytes_of(good.data, cut));
    witness_message(nodes[1].witness, 0, PEER_TELL, buffer_bytes(&good));
    witness_message(nodes[1].witness, N + 1, PEER_TELL, buffer_bytes(&good));
    witness_message(nodes[1].witness, 2, PEER_TELL, buffer_bytes(&good)); /* 3's signature */
    struct claim none = {0, 1, 1, c.root}, nowhere = {4, 0, 1, c.root};
    send_tell(3, 1, PEER_TELL, &none);
    send_tell(3, 1, PEER_TELL, &nowhere);
    buffer_append_bytes(&bad, buffer_bytes(&good));
    for (size_t i = bad.size - 64; i < bad.size; i++) {
        bad.data[i] ^= 1;
        witness_message(nodes[1].witness, 3, PEER_TELL, buffer_bytes(&bad));
        bad.data[i] ^= 1;
    }
    send_tell(4, 1, PEER_TELL, &c);
    settle();
    assert_false(nodes[1].driver.any_mark); /* 1 and 4 only */
    witness_role(nodes[1].witness, true, 2);
    /* Who sent so much that is wrong is heard again a moment later, not at once. */
    witness_message(nodes[1].witness, 3, PEER_TELL, buffer_bytes(&good));
    settle();
    if (clock_monotonic_ns() - first < UINT64_C(900000000)) assert_false(nodes[1].driver.any_mark);
    for (unsigned tries = 0; tries < 3000 && !nodes[1].driver.any_mark; tries++) {
        witness_message(nodes[1].witness, 3, PEER_TELL, buffer_bytes(&good));
        settle();
        uv_sleep(20);
    }
    assert_true(nodes[1].driver.any_mark);
    /* Cosignatures of others that don't verify never complete it. */
    struct digest wrong = sample_digest(5);
    send_cosign(3, 1, 4, &wrong);
    send_cosign(4, 1, 4, &wrong);
    assert_int_equal(witness_size(nodes[1].witness), 0);
    buffer_free(&good);
    buffer_free(&bad);
}

/* Those of what is witnessed are looked at for lies only. One that verifies as no lie counts as wrong as any other does,
 * or a member could have this node verify without end. */
static void late_cosignatures_that_do_not_verify_count_as_wrong(void **state)
{
    (void)state;
    struct digest other = sample_digest(5);
    struct buffer body = {0};
    unsigned counted = 0;
    lead(1, 1);
    apply_all(4);
    assert_true(wait_all_at(4, 60000));
    pack_array(&body, 4);
    pack_uint(&body, 4);
    pack_digest(&body, &other);
    pack_uint(&body, 1790000000);
    pack_bin(&body, (uint8_t[64]){0}, 64);
    for (unsigned from = 2; from <= N; from++) {
        witness_message(nodes[1].witness, from, PEER_COSIGN, buffer_bytes(&body));
        counted += nodes[1].witness->wrong[from] == 1;
    }
    assert_true(counted >= K - 1); /* those whose cosignature the note has */
    for (unsigned i = 1; i <= N; i++) assert_int_equal(nodes[1].evidence[i], 0);
    buffer_free(&body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BED_TEST(a_fork_is_named_and_quarantines_itself),
        BED_TEST(a_leader_that_lies_about_its_root_stops_nobody),
        BED_TEST(two_roots_under_one_signature_are_evidence),
        BED_TEST(two_roots_for_two_nodes_show_when_shown),
        BED_TEST(roots_told_too_early_are_compared_later),
        BED_TEST(roots_of_earlier_rounds_are_compared_too),
        BED_TEST(two_roots_are_evidence_some_blocks_later),
        BED_TEST(its_own_earlier_word_is_shown),
        BED_TEST(k_words_bind_who_stands_elsewhere),
        BED_TEST(who_cosigned_is_quarantined_not_rebuilt),
        BED_TEST(words_that_do_not_count),
        BED_TEST(quiet_up_to_where_it_told_before),
        BED_TEST(tells_that_differ_anywhere_are_not_equal),
        BED_TEST(an_absurd_pace_blocks_nothing),
        BED_TEST(what_is_not_well_formed_is_ignored),
        BED_TEST(late_cosignatures_that_do_not_verify_count_as_wrong),
    };
    return cmocka_run_group_tests(tests, bed_open, bed_close);
}
