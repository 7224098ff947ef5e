/* Key generation over the ledger: phases, exclusion, absent and lying members. */
#include "tests/lib/unit.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "crypto/dkg.h"
#include "ledger/keygen.h"
#include "tests/lib/ledger_kit.h"
#include "tests/lib/samples.h"

#define NONE ((struct bytes){0})

/* n members with a polynomial each, made anew per attempt. */
struct table {
    struct kit kit;
    unsigned n, k;
    uint32_t attempt;
    enum key_secret secret;
    struct dkg_polynomial polynomials[LIMIT_NODES + 1];
};

static void make_polynomials(struct table *t)
{
    for (unsigned i = 1; i <= t->n; i++) {
        t->polynomials[i].k = t->k;
        for (unsigned j = 0; j < t->k; j++)
            t->polynomials[i].coefficients[j] = scalar_from_uint(100000 * t->attempt + 1000 * i + 7 * j + t->secret);
    }
}

static void table_open(struct table *t, unsigned n, unsigned b)
{
    kit_open(&t->kit, n, b, NONE);
    t->n = n;
    t->k = t->kit.genesis.quorum;
    t->attempt = 1;
    t->secret = KEY_RECORDS;
    make_polynomials(t);
}

static void next_attempt(struct table *t)
{
    t->attempt++;
    make_polynomials(t);
}

static enum reason act(struct table *t, unsigned member, const struct arguments *args)
{
    struct kit_actor node = kit_node(&t->kit, member);
    const struct ledger_result *r = kit_do(&t->kit, &node, args, NONE);
    assert_int_equal(r->code, OK);
    assert_int_equal(t->kit.results.keygen_changed, r->reason == REASON_NONE);
    return (enum reason)r->reason;
}

static enum reason commit(struct table *t, unsigned member)
{
    struct arguments a = {.action = ACTION_KEY_COMMIT};
    struct dkg_commitments commitments;
    uint8_t context[KEYGEN_CONTEXT_SIZE];
    dkg_commit(&commitments, &t->polynomials[member]);
    keygen_context(context, &t->kit.genesis.cluster, (uint8_t)t->secret, t->attempt, member);
    a.key_commit = (struct args_key_commit){t->secret, t->attempt, dkg_commitments_hash(&commitments, BYTES(context))};
    return act(t, member, &a);
}

static struct arguments reveal_args(struct table *t, unsigned of)
{
    struct arguments a = {.action = ACTION_KEY_REVEAL};
    struct dkg_commitments commitments;
    dkg_commit(&commitments, &t->polynomials[of]);
    a.key_reveal = (struct args_key_reveal){.secret = t->secret, .attempt = t->attempt, .k = t->k, .n = t->n};
    memcpy(a.key_reveal.commitments, commitments.points, sizeof commitments.points);
    for (unsigned i = 0; i < t->n; i++) a.key_reveal.subshares[i] = sample_digest(100 * of + i + 1);
    return a;
}

static enum reason reveal(struct table *t, unsigned member)
{
    struct arguments a = reveal_args(t, member);
    return act(t, member, &a);
}

static enum reason confirm(struct table *t, unsigned member, member_mask complaints)
{
    struct arguments a = {.action = ACTION_KEY_CONFIRM, .key_confirm = {t->secret, t->attempt, complaints}};
    return act(t, member, &a);
}

static enum reason answer(struct table *t, unsigned dealer, unsigned receiver, bool right)
{
    struct arguments a = {.action = ACTION_KEY_ANSWER};
    struct scalar subshare;
    dkg_subshare(&subshare, &t->polynomials[dealer], right ? receiver : receiver + 1);
    a.key_answer = (struct args_key_answer){.secret = t->secret, .attempt = t->attempt, .receiver = receiver};
    memcpy(a.key_answer.subshare, subshare.bytes, sizeof subshare.bytes);
    return act(t, dealer, &a);
}

static enum reason close_phase(struct table *t, unsigned member, enum keygen_phase phase)
{
    struct arguments a = {.action = ACTION_KEY_CLOSE, .key_close = {t->secret, t->attempt, phase}};
    return act(t, member, &a);
}

static struct arguments activate_args(struct table *t)
{
    struct arguments a = {.action = ACTION_KEY_ACTIVATE};
    struct keygen keygen;
    a.key_activate = (struct args_key_activate){.secret = t->secret, .attempt = t->attempt, .n = t->n};
    CHECK(keygen_get(&keygen, t->kit.txn, (uint8_t)t->secret) == OK);
    a.key_activate.qualified = keygen_qualified(&keygen);
    CHECK(keygen_keys(&a.key_activate.key, a.key_activate.verification, t->kit.txn, (uint8_t)t->secret, t->n) == OK);
    return a;
}

static enum reason activate(struct table *t, unsigned member)
{
    struct arguments a = activate_args(t);
    return act(t, member, &a);
}

static struct keygen now(struct table *t)
{
    struct keygen keygen;
    assert_int_equal(keygen_get(&keygen, t->kit.txn, (uint8_t)t->secret), OK);
    return keygen;
}

static void wait_ms(struct table *t, uint64_t ms) { t->kit.now += ms; }

static void expect_phase(struct table *t, enum keygen_phase phase)
{
    struct keygen keygen = now(t);
    assert_int_equal(keygen.phase, phase);
    assert_int_equal(keygen.attempt, t->attempt);
}

static void all(struct table *t, enum reason (*part)(struct table *, unsigned), unsigned from, unsigned to)
{
    for (unsigned i = from; i <= to; i++) assert_int_equal(part(t, i), REASON_NONE);
}

static void confirm_all(struct table *t, unsigned from, unsigned to)
{
    for (unsigned i = from; i <= to; i++) assert_int_equal(confirm(t, i, 0), REASON_NONE);
}

/* The shares of the qualified dealers' polynomials give Y and the Y_i of the epoch. */
static void expect_key(struct table *t)
{
    struct epoch epoch;
    struct keygen keygen = now(t);
    member_mask qualified = keygen_qualified(&keygen);
    uint32_t indices[LIMIT_NODES];
    struct scalar shares[LIMIT_NODES + 1], lagrange[LIMIT_NODES], x = {{0}};
    struct point p;
    assert_int_equal(state_epoch_get(&epoch, t->kit.txn, (uint8_t)t->secret, 0), OK);
    assert_int_equal(epoch.epoch, 1);
    assert_int_equal(epoch.n, t->n);
    assert_int_equal(epoch.k, t->k);
    assert_int_equal(epoch.attempt, t->attempt);
    for (unsigned i = 1; i <= t->n; i++) {
        shares[i] = scalar_from_uint(0);
        for (unsigned d = 1; d <= t->n; d++) {
            struct scalar subshare;
            dkg_subshare(&subshare, &t->polynomials[d], i);
            if (qualified & MEMBER_BIT(d)) scalar_add(&shares[i], &shares[i], &subshare);
        }
        point_multiply_generator(&p, &shares[i]);
        assert_true(point_equal(&p, &epoch.verification[i - 1]));
    }
    for (unsigned i = 0; i < t->k; i++) indices[i] = t->n - i; /* the last k of them */
    assert_int_equal(scalar_lagrange(lagrange, indices, t->k), OK);
    for (unsigned i = 0; i < t->k; i++) {
        struct scalar part;
        scalar_multiply(&part, &lagrange[i], &shares[indices[i]]);
        scalar_add(&x, &x, &part);
    }
    point_multiply_generator(&p, &x);
    assert_true(point_equal(&p, &epoch.key));
}

static void assert_replays(struct table *t)
{
    struct kit other;
    kit_open_empty(&other, &t->kit);
    kit_replay_all(&other, &t->kit);
    assert_string_equal(kit_difference(&t->kit, &other), "");
    kit_close(&other);
}

static void table_close(struct table *t)
{
    assert_replays(t);
    kit_close(&t->kit);
}

static void test_all_present(void **state)
{
    (void)state;
    static const struct { unsigned n, b; } sizes[] = {{3, 0}, {4, 1}, {7, 2}, {15, 4}};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct table t;
        table_open(&t, sizes[i].n, sizes[i].b);
        expect_phase(&t, KEYGEN_COMMIT);
        all(&t, commit, 1, t.n);
        expect_phase(&t, KEYGEN_REVEAL);
        all(&t, reveal, 1, t.n);
        expect_phase(&t, KEYGEN_CONFIRM);
        kit_reopen(&t.kit);
        confirm_all(&t, 1, t.n);
        expect_phase(&t, KEYGEN_READY);
        assert_int_equal(activate(&t, 2), REASON_NONE);
        expect_phase(&t, KEYGEN_ACTIVE);
        expect_key(&t);
        struct keygen keygen = now(&t);
        assert_true(keygen_settled(&keygen, t.n));
        table_close(&t);
    }
}

/* One member away from the beginning: the others go on by time, it gets its share later. */
static void test_absent(void **state)
{
    (void)state;
    struct table t;
    struct keygen keygen;
    table_open(&t, 4, 1);
    all(&t, commit, 1, 2);
    wait_ms(&t, 60000);
    assert_int_equal(close_phase(&t, 1, KEYGEN_COMMIT), REASON_TOO_EARLY); /* two are no quorum, however long */
    all(&t, commit, 3, 3);
    assert_int_equal(close_phase(&t, 1, KEYGEN_COMMIT), REASON_NONE);
    all(&t, reveal, 1, 2);
    assert_int_equal(commit(&t, 4), REASON_WRONG_PHASE);
    assert_int_equal(reveal(&t, 4), REASON_COMMITMENT);
    all(&t, reveal, 3, 3);
    expect_phase(&t, KEYGEN_CONFIRM); /* all that committed have revealed */
    confirm_all(&t, 1, 3);
    assert_int_equal(close_phase(&t, 2, KEYGEN_CONFIRM), REASON_TOO_EARLY);
    wait_ms(&t, KEYGEN_PHASE_MS);
    assert_int_equal(close_phase(&t, 2, KEYGEN_CONFIRM), REASON_NONE);
    assert_int_equal(activate(&t, 3), REASON_NONE);
    expect_key(&t);
    keygen = now(&t);
    assert_false(keygen_settled(&keygen, 4));
    assert_int_equal(confirm(&t, 4, 0), REASON_NONE);
    keygen = now(&t);
    assert_true(keygen_settled(&keygen, 4));
    assert_int_equal(confirm(&t, 4, 0), REASON_ALREADY_DONE);
    table_close(&t);
}

/* The phase's time in the ledger, to the millisecond. */
static void test_deadline(void **state)
{
    (void)state;
    struct table t;
    table_open(&t, 4, 1);
    struct keygen keygen = now(&t);
    assert_true(keygen_deadline(&keygen, t.k) == UINT64_MAX);
    uint64_t start = t.kit.now;
    all(&t, commit, 1, 3);
    keygen = now(&t);
    assert_true(keygen_deadline(&keygen, t.k) == start + KEYGEN_PHASE_MS);
    t.kit.now = start + KEYGEN_PHASE_MS - 1;
    assert_int_equal(close_phase(&t, 1, KEYGEN_COMMIT), REASON_TOO_EARLY);
    t.kit.now = start + KEYGEN_PHASE_MS;
    assert_int_equal(close_phase(&t, 1, KEYGEN_REVEAL), REASON_WRONG_PHASE);
    t.kit.now = start + KEYGEN_PHASE_MS;
    assert_int_equal(close_phase(&t, 1, KEYGEN_COMMIT), REASON_NONE);
    table_close(&t);
}

static void test_wrong_reveal(void **state)
{
    (void)state;
    struct table t;
    table_open(&t, 4, 1);
    assert_int_equal(reveal(&t, 1), REASON_WRONG_PHASE);
    all(&t, commit, 1, 4);
    assert_int_equal(commit(&t, 1), REASON_WRONG_PHASE);
    struct arguments a = reveal_args(&t, 2); /* another's */
    assert_int_equal(act(&t, 1, &a), REASON_COMMITMENT);
    a = reveal_args(&t, 1);
    a.key_reveal.commitments[0].bytes[0] ^= 1; /* no point, or another */
    assert_int_equal(act(&t, 1, &a), REASON_COMMITMENT);
    a = reveal_args(&t, 1);
    memset(a.key_reveal.commitments[1].bytes, 0, 32); /* the identity */
    assert_int_equal(act(&t, 1, &a), REASON_COMMITMENT);
    a = reveal_args(&t, 1);
    a.key_reveal.k--;
    assert_int_equal(act(&t, 1, &a), REASON_FIELDS);
    a = reveal_args(&t, 1);
    a.key_reveal.n--;
    assert_int_equal(act(&t, 1, &a), REASON_FIELDS);
    a = reveal_args(&t, 1);
    a.key_reveal.attempt = 2;
    assert_int_equal(act(&t, 1, &a), REASON_WRONG_ATTEMPT);
    assert_int_equal(reveal(&t, 1), REASON_NONE);
    assert_int_equal(reveal(&t, 1), REASON_ALREADY_DONE);
    table_close(&t);
}

/* Who committed and does not reveal is left out, and named by `excluded`. */
static void test_silent_dealer(void **state)
{
    (void)state;
    struct table t;
    table_open(&t, 4, 1);
    all(&t, commit, 1, 4);
    all(&t, reveal, 1, 3);
    wait_ms(&t, KEYGEN_PHASE_MS);
    assert_int_equal(close_phase(&t, 1, KEYGEN_REVEAL), REASON_NONE);
    struct keygen keygen = now(&t);
    assert_int_equal(keygen.excluded, MEMBER_BIT(4));
    assert_int_equal(keygen_qualified(&keygen), MEMBER_BIT(1) | MEMBER_BIT(2) | MEMBER_BIT(3));
    assert_int_equal(confirm(&t, 1, MEMBER_BIT(4)), REASON_FIELDS); /* no dealer any more */
    confirm_all(&t, 1, 4); /* it still receives */
    assert_int_equal(activate(&t, 1), REASON_NONE);
    expect_key(&t);
    table_close(&t);
}

static void test_too_few_reveal(void **state)
{
    (void)state;
    struct table t;
    table_open(&t, 4, 1);
    all(&t, commit, 1, 3);
    wait_ms(&t, KEYGEN_PHASE_MS);
    assert_int_equal(close_phase(&t, 1, KEYGEN_COMMIT), REASON_NONE);
    all(&t, reveal, 1, 2);
    wait_ms(&t, KEYGEN_PHASE_MS);
    assert_int_equal(close_phase(&t, 1, KEYGEN_REVEAL), REASON_NONE);
    struct keygen keygen = now(&t);
    assert_int_equal(keygen.attempt, 2);
    assert_int_equal(keygen.phase, KEYGEN_COMMIT);
    assert_false(keygen.started);
    assert_int_equal(keygen.committed | keygen.revealed | keygen.excluded, 0);
    assert_int_equal(commit(&t, 1), REASON_WRONG_ATTEMPT);
    next_attempt(&t);
    all(&t, commit, 1, 4);
    all(&t, reveal, 1, 4);
    struct dealing dealing;
    assert_int_equal(keygen_dealing_get(&dealing, t.kit.txn, KEY_RECORDS, 1, 1), ERR_NOT_FOUND);
    assert_int_equal(keygen_dealing_get(&dealing, t.kit.txn, KEY_RECORDS, 2, 1), OK);
    confirm_all(&t, 1, 4);
    assert_int_equal(activate(&t, 4), REASON_NONE);
    expect_key(&t);
    table_close(&t);
}

static void start_confirm(struct table *t, unsigned n, unsigned b)
{
    table_open(t, n, b);
    all(t, commit, 1, n);
    all(t, reveal, 1, n);
    expect_phase(t, KEYGEN_CONFIRM);
}

/* A complaint that is answered rightly harms nobody; the receiver reads its sub-share in the ledger. */
static void test_complaint_answered(void **state)
{
    (void)state;
    struct table t;
    struct scalar subshare, expected;
    start_confirm(&t, 4, 1);
    assert_int_equal(answer(&t, 2, 1, true), REASON_FIELDS); /* nobody complained */
    assert_int_equal(confirm(&t, 1, MEMBER_BIT(1)), REASON_FIELDS); /* about itself */
    assert_int_equal(confirm(&t, 1, MEMBER_BIT(2)), REASON_NONE);
    confirm_all(&t, 2, 4);
    expect_phase(&t, KEYGEN_ANSWER);
    struct keygen keygen = now(&t);
    assert_int_equal(keygen_answer_get(&subshare, t.kit.txn, &keygen, 1, 2), ERR_NOT_FOUND);
    assert_int_equal(answer(&t, 2, 1, false), REASON_COMMITMENT);
    assert_int_equal(answer(&t, 3, 1, true), REASON_FIELDS); /* not complained about */
    assert_int_equal(answer(&t, 2, 1, true), REASON_NONE);
    expect_phase(&t, KEYGEN_READY);
    assert_int_equal(answer(&t, 2, 1, true), REASON_ALREADY_DONE);
    keygen = now(&t);
    assert_int_equal(keygen.excluded, 0);
    assert_int_equal(keygen_answer_get(&subshare, t.kit.txn, &keygen, 1, 2), OK);
    dkg_subshare(&expected, &t.polynomials[2], 1);
    assert_true(scalar_equal(&subshare, &expected));
    assert_int_equal(activate(&t, 1), REASON_NONE);
    expect_key(&t);
    keygen = now(&t);
    assert_true(keygen_settled(&keygen, 4));
    table_close(&t);
}

static void test_complaint_unanswered(void **state)
{
    (void)state;
    struct table t;
    start_confirm(&t, 4, 1);
    assert_int_equal(confirm(&t, 1, MEMBER_BIT(2)), REASON_NONE);
    confirm_all(&t, 2, 4);
    assert_int_equal(confirm(&t, 1, 0), REASON_WRONG_PHASE);
    assert_int_equal(close_phase(&t, 1, KEYGEN_ANSWER), REASON_TOO_EARLY);
    wait_ms(&t, KEYGEN_PHASE_MS);
    assert_int_equal(close_phase(&t, 1, KEYGEN_ANSWER), REASON_NONE);
    struct keygen keygen = now(&t);
    assert_int_equal(keygen.excluded, MEMBER_BIT(2));
    assert_int_equal(keygen.complaints[1], 0);
    expect_phase(&t, KEYGEN_READY);
    assert_int_equal(activate(&t, 1), REASON_NONE);
    expect_key(&t);
    table_close(&t);
}

/* Two excluded of four: too few qualify. */
static void test_complaints_end_attempt(void **state)
{
    (void)state;
    struct table t;
    start_confirm(&t, 4, 1);
    assert_int_equal(confirm(&t, 1, MEMBER_BIT(2) | MEMBER_BIT(3)), REASON_NONE);
    confirm_all(&t, 2, 4);
    wait_ms(&t, KEYGEN_PHASE_MS);
    assert_int_equal(close_phase(&t, 4, KEYGEN_ANSWER), REASON_NONE);
    struct keygen keygen = now(&t);
    assert_int_equal(keygen.attempt, 2);
    assert_int_equal(keygen.phase, KEYGEN_COMMIT);
    table_close(&t);
}

static void test_too_few_confirm(void **state)
{
    (void)state;
    struct table t;
    start_confirm(&t, 4, 1);
    confirm_all(&t, 1, 2);
    wait_ms(&t, KEYGEN_PHASE_MS);
    assert_int_equal(close_phase(&t, 1, KEYGEN_CONFIRM), REASON_TOO_EARLY);
    wait_ms(&t, KEYGEN_PHASE_MS);
    assert_int_equal(close_phase(&t, 1, KEYGEN_CONFIRM), REASON_NONE);
    struct keygen keygen = now(&t);
    assert_int_equal(keygen.attempt, 2);
    table_close(&t);
}

/* After activation: a complaint excludes nobody, the dealer's answer settles it. */
static void test_late_complaint(void **state)
{
    (void)state;
    struct table t;
    start_confirm(&t, 4, 1);
    confirm_all(&t, 1, 3);
    wait_ms(&t, KEYGEN_PHASE_MS);
    assert_int_equal(close_phase(&t, 1, KEYGEN_CONFIRM), REASON_NONE);
    assert_int_equal(confirm(&t, 4, 0), REASON_WRONG_PHASE); /* READY is a moment only */
    assert_int_equal(activate(&t, 1), REASON_NONE);
    struct epoch before, after;
    assert_int_equal(state_epoch_get(&before, t.kit.txn, KEY_RECORDS, 1), OK);
    member_mask open = MEMBER_BIT(1) | MEMBER_BIT(2) | MEMBER_BIT(3);
    assert_int_equal(confirm(&t, 4, open), REASON_NONE);
    assert_int_equal(confirm(&t, 4, open), REASON_UNCHANGED);
    assert_int_equal(answer(&t, 1, 4, true), REASON_NONE);
    assert_int_equal(confirm(&t, 4, MEMBER_BIT(1)), REASON_FIELDS); /* more than are open */
    assert_int_equal(confirm(&t, 4, MEMBER_BIT(3)), REASON_NONE);
    struct keygen keygen = now(&t);
    assert_false(keygen_settled(&keygen, 4));
    assert_int_equal(answer(&t, 3, 4, false), REASON_COMMITMENT);
    assert_int_equal(answer(&t, 3, 4, true), REASON_NONE);
    keygen = now(&t);
    assert_true(keygen_settled(&keygen, 4));
    assert_int_equal(keygen.excluded, 0);
    assert_int_equal(state_epoch_get(&after, t.kit.txn, KEY_RECORDS, 1), OK);
    assert_memory_equal(&before, &after, sizeof before);
    table_close(&t);
}

static void test_wrong_activation(void **state)
{
    (void)state;
    struct table t;
    struct epoch epoch;
    start_confirm(&t, 4, 1);
    struct point key, verification[LIMIT_NODES];
    assert_int_equal(keygen_keys(&key, verification, t.kit.txn, KEY_RECORDS, 4), ERR_NOT_READY);
    confirm_all(&t, 1, 4);
    struct arguments good = activate_args(&t), a = good;
    a.key_activate.key = POINT_GENERATOR; /* a key that one node could know */
    assert_int_equal(act(&t, 1, &a), REASON_COMMITMENT);
    a = good;
    a.key_activate.verification[3] = POINT_GENERATOR;
    assert_int_equal(act(&t, 1, &a), REASON_COMMITMENT);
    a = good;
    a.key_activate.qualified &= ~MEMBER_BIT(1);
    assert_int_equal(act(&t, 1, &a), REASON_COMMITMENT);
    a = good;
    a.key_activate.n = 3;
    assert_int_equal(act(&t, 1, &a), REASON_FIELDS);
    assert_int_equal(state_epoch_get(&epoch, t.kit.txn, KEY_RECORDS, 0), ERR_NOT_FOUND);
    assert_int_equal(act(&t, 1, &good), REASON_NONE);
    assert_int_equal(act(&t, 2, &good), REASON_ALREADY_DONE);
    assert_int_equal(close_phase(&t, 2, KEYGEN_ACTIVE), REASON_WRONG_PHASE);
    table_close(&t);
}

/* The two secrets go on independently. */
static void test_two_secrets(void **state)
{
    (void)state;
    struct table t;
    struct epoch records, passwords;
    table_open(&t, 4, 1);
    all(&t, commit, 1, 4);
    all(&t, reveal, 1, 4);
    confirm_all(&t, 1, 4);
    assert_int_equal(activate(&t, 1), REASON_NONE);
    t.secret = KEY_PASSWORDS;
    make_polynomials(&t);
    assert_int_equal(state_epoch_get(&passwords, t.kit.txn, KEY_PASSWORDS, 0), ERR_NOT_FOUND);
    all(&t, commit, 1, 4);
    all(&t, reveal, 1, 4);
    confirm_all(&t, 1, 4);
    assert_int_equal(activate(&t, 1), REASON_NONE);
    expect_key(&t);
    assert_int_equal(state_epoch_get(&records, t.kit.txn, KEY_RECORDS, 0), OK);
    assert_int_equal(state_epoch_get(&passwords, t.kit.txn, KEY_PASSWORDS, 0), OK);
    assert_false(point_equal(&records.key, &passwords.key));
    table_close(&t);
}

/* A commitment of secret, attempt and dealer is no other's. */
static void test_context(void **state)
{
    (void)state;
    struct digest cluster = sample_digest(1);
    uint8_t a[KEYGEN_CONTEXT_SIZE], b[KEYGEN_CONTEXT_SIZE];
    keygen_context(a, &cluster, 1, 0x01020304, 5);
    assert_memory_equal(a, "consilium/keygen/v1\n", 20);
    assert_memory_equal(a + 20, cluster.bytes, 32);
    assert_memory_equal(a + 52, "\x01\x01\x02\x03\x04\x05", 6);
    keygen_context(b, &cluster, 2, 0x01020304, 5);
    assert_memory_not_equal(a, b, sizeof a);
}

/* What each member is told to do, all the way. */
static void test_view(void **state)
{
    (void)state;
    struct table t;
    struct keygen_view v;
    table_open(&t, 4, 1);
#define VIEW(member) assert_int_equal(keygen_view(&v, t.kit.txn, KEY_RECORDS, member, 4, 3), OK)
    VIEW(1);
    assert_true(v.commit && !v.reveal && !v.confirm && !v.activate && !v.settled);
    assert_true(v.deadline_ms == UINT64_MAX);
    all(&t, commit, 1, 3);
    VIEW(1);
    assert_false(v.commit);
    VIEW(4);
    assert_true(v.commit);
    wait_ms(&t, KEYGEN_PHASE_MS);
    assert_int_equal(close_phase(&t, 1, KEYGEN_COMMIT), REASON_NONE);
    VIEW(4);
    assert_true(!v.commit && !v.reveal);
    VIEW(3);
    assert_true(v.reveal);
    all(&t, reveal, 1, 3);
    VIEW(4);
    assert_true(v.confirm);
    assert_int_equal(v.dealers, MEMBER_BIT(1) | MEMBER_BIT(2) | MEMBER_BIT(3));
    assert_int_equal(confirm(&t, 4, MEMBER_BIT(2)), REASON_NONE);
    VIEW(4);
    assert_false(v.confirm);
    VIEW(2);
    assert_int_equal(v.answer, MEMBER_BIT(4));
    confirm_all(&t, 1, 3);
    VIEW(2);
    assert_int_equal(v.state.phase, KEYGEN_ANSWER);
    assert_int_equal(v.answer, MEMBER_BIT(4));
    assert_int_equal(answer(&t, 2, 4, true), REASON_NONE);
    VIEW(1);
    assert_true(v.activate && v.deadline_ms == UINT64_MAX);
    assert_int_equal(activate(&t, 1), REASON_NONE);
    VIEW(4);
    assert_true(v.settled && !v.activate && !v.confirm);
#undef VIEW
    table_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_present),
        cmocka_unit_test(test_absent),
        cmocka_unit_test(test_deadline),
        cmocka_unit_test(test_wrong_reveal),
        cmocka_unit_test(test_silent_dealer),
        cmocka_unit_test(test_too_few_reveal),
        cmocka_unit_test(test_complaint_answered),
        cmocka_unit_test(test_complaint_unanswered),
        cmocka_unit_test(test_complaints_end_attempt),
        cmocka_unit_test(test_too_few_confirm),
        cmocka_unit_test(test_late_complaint),
        cmocka_unit_test(test_wrong_activation),
        cmocka_unit_test(test_two_secrets),
        cmocka_unit_test(test_context),
        cmocka_unit_test(test_view),
    };
    return cmocka_run_group_tests_name("ledger/keygen", tests, NULL, NULL);
}
