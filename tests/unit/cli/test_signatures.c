/* Signatures ahead of replaying: one verification for a request, also where a batch of leaves ends within it, and no
 * verdict for leaves of another. */
#include "tests/lib/unit.h"

#include <stdlib.h>

#include "base/check.h"
#include "cli/signatures.h"
#include "tests/lib/samples.h"

#define USER 3
#define FIRST 7u /* operations of the first request */
#define LEAVES 15u

/* The leaves of two requests, one after the other. */
struct bed {
    struct signatures *signatures;
    struct signed_request last;
    struct actor actor;
    struct sign_public key;
    struct buffer raw[LEAVES];
    struct replay_leaf leaves[LEAVES];
};

static void read_all(struct bed *b)
{
    struct tree_memo memo = {0};
    for (unsigned i = 0; i < LEAVES; i++) {
        replay_leaf_read(&b->leaves[i], &memo, buffer_bytes(&b->raw[i]));
        assert_int_equal(b->leaves[i].decoded, OK);
        assert_true(b->leaves[i].rooted);
    }
}

static struct bed *bed_new(void)
{
    struct bed *b = xcalloc(1, sizeof *b);
    struct genesis *genesis = xcalloc(1, sizeof *genesis);
    struct sign_secret secret;
    for (unsigned r = 0; r < 2; r++) {
        struct buffer raw = {0};
        struct request request;
        unsigned first = r * FIRST;
        sample_request(&raw, USER, r ? LEAVES - FIRST : FIRST);
        assert_int_equal(request_decode(&request, buffer_bytes(&raw)), OK);
        for (unsigned i = 0; i < request.count; i++) sample_leaf(&b->raw[first + i], 1 + first + i, &request, i);
        request_free(&request);
        buffer_free(&raw);
    }
    read_all(b);
    sample_key(&secret, &b->key, USER);
    b->actor = b->leaves[0].leaf.operation.actor;
    b->signatures = signatures_new(genesis);
    signatures_note(b->signatures, &b->actor, &b->key);
    free(genesis);
    return b;
}

static void bed_free(struct bed *b)
{
    for (unsigned i = 0; i < LEAVES; i++) buffer_free(&b->raw[i]);
    signatures_free(b->signatures);
    free(b);
}

static void check(struct bed *b, unsigned from, unsigned to)
{
    signatures_check(b->signatures, b->leaves + from, to - from);
}

static void carry(struct bed *b, unsigned from, unsigned to)
{
    signatures_carry(&b->last, b->leaves + from, to - from);
}

static void assert_verified(const struct bed *b, unsigned from, unsigned to, bool verified)
{
    for (unsigned i = from; i < to; i++) {
        assert_int_equal(b->leaves[i].verified, verified);
        if (verified) assert_memory_equal(&b->leaves[i].key, &b->key, sizeof b->key);
    }
}

/* --- */

static void test_within_a_batch(void **state)
{
    (void)state;
    struct bed *b = bed_new();
    check(b, 0, LEAVES);
    assert_verified(b, 0, LEAVES, true);
    bed_free(b);
}

/* Batches may be checked in any order: what goes on from one that was not is not verified twice. */
static void test_over_the_end_of_a_batch(void **state)
{
    (void)state;
    for (unsigned end = 1; end < FIRST; end++) {
        struct bed *b = bed_new();
        check(b, end, LEAVES);
        assert_verified(b, end, FIRST, false);
        assert_verified(b, FIRST, LEAVES, true);
        check(b, 0, end);
        carry(b, 0, end);
        assert_verified(b, 0, end, true);
        carry(b, end, LEAVES);
        assert_verified(b, end, LEAVES, true);
        bed_free(b);
    }
}

/* One request in three batches. */
static void test_a_whole_batch_goes_on(void **state)
{
    (void)state;
    struct bed *b = bed_new();
    check(b, 0, 2);
    carry(b, 0, 2);
    check(b, 2, 4);
    assert_verified(b, 2, 4, false);
    carry(b, 2, 4);
    check(b, 4, FIRST);
    carry(b, 4, FIRST);
    assert_verified(b, 0, FIRST, true);
    bed_free(b);
}

static struct bed *bed_of_bad_signature(void)
{
    struct bed *b = bed_new();
    for (unsigned i = 0; i < FIRST; i++) b->leaves[i].leaf.signature.bytes[3] ^= 1;
    return b;
}

static void test_a_bad_one_is_not_carried(void **state)
{
    (void)state;
    struct bed *b = bed_of_bad_signature();
    check(b, 0, 3);
    carry(b, 0, 3);
    check(b, 3, LEAVES);
    carry(b, 3, LEAVES);
    assert_verified(b, 0, FIRST, false);
    assert_verified(b, FIRST, LEAVES, true);
    bed_free(b);
}

/* What differs in a leaf that seems to go on. */
static void spoil_root(struct replay_leaf *read) { read->root.bytes[0] ^= 1; }
static void spoil_count(struct replay_leaf *read) { read->leaf.count++; }
static void spoil_signature(struct replay_leaf *read) { read->leaf.signature.bytes[63] ^= 1; }
static void spoil_actor(struct replay_leaf *read) { read->leaf.operation.actor.id.bytes[0] ^= 1; }
static void spoil_key(struct replay_leaf *read) { read->leaf.operation.actor.key.bytes[0] ^= 1; }
static void spoil_path(struct replay_leaf *read) { read->rooted = false; }
static void spoil_bytes(struct replay_leaf *read) { read->decoded = ERR_MALFORMED; }

static void test_another_one_is_not_carried(void **state)
{
    (void)state;
    void (*const spoil[])(struct replay_leaf *) = {spoil_root, spoil_count, spoil_signature, spoil_actor, spoil_key,
                                                   spoil_path, spoil_bytes};
    for (unsigned i = 0; i < sizeof spoil / sizeof spoil[0]; i++) {
        struct bed *b = bed_new();
        check(b, 0, 3);
        carry(b, 0, 3);
        spoil[i](&b->leaves[4]);
        check(b, 3, FIRST);
        carry(b, 3, FIRST);
        assert_verified(b, 3, 4, true);
        assert_verified(b, 4, 5, false); /* the key is known, and the signature is another's */
        bed_free(b);
        b = bed_new();
        check(b, 0, 3);
        spoil[i](&b->leaves[2]);
        carry(b, 0, 3); /* nothing to go on with */
        check(b, 3, FIRST);
        carry(b, 3, FIRST);
        assert_verified(b, 3, FIRST, false);
        bed_free(b);
    }
}

static void test_nothing(void **state)
{
    (void)state;
    struct bed *b = bed_new();
    check(b, 0, 0);
    carry(b, 0, 0);
    check(b, 0, 3);
    carry(b, 0, 3);
    carry(b, 3, 3); /* and what it ended in is still known */
    check(b, 3, 5);
    carry(b, 3, 5);
    assert_verified(b, 3, 5, true);
    bed_free(b);
}

/* A key that nobody has seen: whoever replays verifies it. */
static void test_unknown_key(void **state)
{
    (void)state;
    struct bed *b = bed_new();
    struct genesis *genesis = xcalloc(1, sizeof *genesis);
    signatures_free(b->signatures);
    b->signatures = signatures_new(genesis);
    check(b, 0, LEAVES);
    carry(b, 0, LEAVES);
    assert_verified(b, 0, LEAVES, false);
    free(genesis);
    bed_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_within_a_batch),
        cmocka_unit_test(test_over_the_end_of_a_batch),
        cmocka_unit_test(test_a_whole_batch_goes_on),
        cmocka_unit_test(test_a_bad_one_is_not_carried),
        cmocka_unit_test(test_another_one_is_not_carried),
        cmocka_unit_test(test_nothing),
        cmocka_unit_test(test_unknown_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
