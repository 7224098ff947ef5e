/* What proves a lie to anyone with the genesis, and what does not. */
#include "ledger/evidence.h"

#include <string.h>

#include "base/pack.h"
#include "crypto/hash.h"
#include "crypto/keys.h"
#include "ledger/block.h"
#include "ledger/checkpoint.h"
#include "tests/lib/samples.h"
#include "tests/lib/unit.h"

#define SIGNER 3

static struct genesis genesis;
static struct buffer genesis_text;
static struct node_secrets secrets[5];

static int setup(void **state)
{
    (void)state;
    sample_genesis_parsed(&genesis, &genesis_text, 4, 1);
    for (unsigned i = 1; i <= 4; i++)
        sample_node_secrets(&secrets[i], i);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    buffer_free(&genesis_text);
    return 0;
}

static struct statement say_in(enum statement_kind kind, uint64_t term, uint64_t index, uint64_t size, unsigned hash,
                               unsigned signer, const struct genesis *in)
{
    struct statement s = {.kind = kind, .hash = sample_digest(hash)};
    if (kind == STATEMENT_TELL || kind == STATEMENT_COSIGNED) s.size = size;
    if (kind != STATEMENT_COSIGNED) {
        s.term = term;
        s.index = index;
        evidence_statement_sign(&s, &in->cluster, &secrets[signer].message);
        return s;
    }
    struct checkpoint checkpoint;
    struct cosignature cosignature;
    checkpoint_set(&checkpoint, in, size, &s.hash);
    checkpoint_cosign(&cosignature, &checkpoint, 1000 + hash, &secrets[signer].cosign);
    s.time_s = cosignature.time_s;
    s.signature = cosignature.signature;
    return s;
}

static struct statement say(enum statement_kind kind, unsigned hash)
{
    return say_in(kind, 7, 42, 99, hash, SIGNER, &genesis);
}

static const struct {
    enum statement_kind first, second;
    enum evidence_kind kind;
} pairs[] = {
    {STATEMENT_BLOCK, STATEMENT_BLOCK, EVIDENCE_BLOCKS},
    {STATEMENT_COMMIT, STATEMENT_COMMIT, EVIDENCE_COMMITS},
    {STATEMENT_BLOCK, STATEMENT_COMMIT, EVIDENCE_OTHER_COMMIT},
    {STATEMENT_TELL, STATEMENT_TELL, EVIDENCE_ROOTS},
    {STATEMENT_COSIGNED, STATEMENT_COSIGNED, EVIDENCE_CHECKPOINTS},
};
#define PAIRS (sizeof pairs / sizeof pairs[0])

static void make(struct evidence *e, size_t pair)
{
    struct statement a = say(pairs[pair].first, 1), b = say(pairs[pair].second, 2);
    assert_int_equal(evidence_make(e, &genesis, SIGNER, &a, &b), OK);
}

static void each_kind_proves_it(void **state)
{
    (void)state;
    for (size_t i = 0; i < PAIRS; i++) {
        struct evidence e, again;
        struct buffer one = {0}, other = {0};
        make(&e, i);
        assert_int_equal(evidence_kind(&e), pairs[i].kind);
        assert_int_equal(evidence_place(&e), pairs[i].kind == EVIDENCE_CHECKPOINTS ? 99 : 42);
        evidence_encode(&one, &e);
        assert_true(one.size <= EVIDENCE_SIZE);
        assert_int_equal(evidence_open(&again, buffer_bytes(&one), &genesis), OK);
        assert_int_equal(again.signer, SIGNER);
        /* The order in which they were heard makes no difference. */
        struct statement a = say(pairs[i].first, 1), b = say(pairs[i].second, 2);
        assert_int_equal(evidence_make(&again, &genesis, SIGNER, &b, &a), OK);
        evidence_encode(&other, &again);
        assert_true(bytes_equal(buffer_bytes(&one), buffer_bytes(&other)));
        buffer_free(&one);
        buffer_free(&other);
    }
}

static void the_block_is_the_one_that_entries_carry(void **state)
{
    (void)state;
    struct statement s = say(STATEMENT_BLOCK, 1);
    struct block_place place = {.cluster = genesis.cluster, .term = 7, .index = 42, .hash = sample_digest(1)};
    struct signature signature;
    block_sign(&signature, &place, &secrets[SIGNER].message);
    assert_memory_equal(signature.bytes, s.signature.bytes, sizeof signature.bytes);
}

static void the_same_twice_is_none(void **state)
{
    (void)state;
    struct evidence e;
    for (int kind = STATEMENT_BLOCK; kind <= STATEMENT_COSIGNED; kind++) {
        struct statement a = say((enum statement_kind)kind, 1), b = a;
        assert_int_equal(evidence_make(&e, &genesis, SIGNER, &a, &b), ERR_INVALID);
    }
    /* The same root cosigned at two times, the same block made and committed: as honest nodes do. */
    struct statement a = say(STATEMENT_COSIGNED, 1), b = a;
    struct checkpoint checkpoint;
    struct cosignature later;
    checkpoint_set(&checkpoint, &genesis, 99, &a.hash);
    checkpoint_cosign(&later, &checkpoint, 5000, &secrets[SIGNER].cosign);
    b.time_s = later.time_s;
    b.signature = later.signature;
    assert_int_equal(evidence_statement_verify(&b, &genesis, SIGNER), OK);
    assert_int_equal(evidence_make(&e, &genesis, SIGNER, &a, &b), ERR_INVALID);
    a = say(STATEMENT_BLOCK, 1);
    b = say(STATEMENT_COMMIT, 1);
    assert_int_equal(evidence_make(&e, &genesis, SIGNER, &a, &b), ERR_INVALID);
}

/* What honest nodes do say: other terms, other places, another size, and what a rebuilt node tells later. */
static void other_places_are_none(void **state)
{
    (void)state;
    struct evidence e;
    for (size_t i = 0; i < PAIRS; i++) {
        struct statement a = say(pairs[i].first, 1);
        struct statement b = say_in(pairs[i].second, 8, 42, 100, 2, SIGNER, &genesis);
        assert_int_equal(evidence_make(&e, &genesis, SIGNER, &a, &b), ERR_INVALID);
        b = say_in(pairs[i].second, 7, 43, 100, 2, SIGNER, &genesis);
        assert_int_equal(evidence_make(&e, &genesis, SIGNER, &a, &b), ERR_INVALID);
    }
    struct statement a = say(STATEMENT_TELL, 1), b = say_in(STATEMENT_TELL, 8, 42, 99, 2, SIGNER, &genesis);
    assert_int_equal(evidence_make(&e, &genesis, SIGNER, &a, &b), ERR_INVALID);
    b = say_in(STATEMENT_TELL, 7, 42, 100, 1, SIGNER, &genesis); /* but two sizes after one block are a lie */
    assert_int_equal(evidence_make(&e, &genesis, SIGNER, &a, &b), OK);
    for (int x = STATEMENT_BLOCK; x <= STATEMENT_COSIGNED; x++)
        for (int y = x + 1; y <= STATEMENT_COSIGNED; y++) {
            struct statement c = say((enum statement_kind)x, 1), d = say((enum statement_kind)y, 2);
            bool proves = x == STATEMENT_BLOCK && y == STATEMENT_COMMIT;
            assert_int_equal(evidence_make(&e, &genesis, SIGNER, &c, &d), proves ? OK : ERR_INVALID);
        }
}

static void others_cannot_be_blamed(void **state)
{
    (void)state;
    struct evidence e;
    for (size_t i = 0; i < PAIRS; i++) {
        struct statement a = say(pairs[i].first, 1), b = say(pairs[i].second, 2);
        struct statement foreign = say_in(pairs[i].second, 7, 42, 99, 2, 2, &genesis);
        for (unsigned named = 0; named <= 16; named++)
            if (named != SIGNER)
                assert_int_equal(evidence_make(&e, &genesis, named, &a, &b),
                                 named >= 1 && named <= 4 ? ERR_BAD_SIGNATURE : ERR_INVALID);
        assert_int_equal(evidence_make(&e, &genesis, SIGNER, &a, &foreign), ERR_BAD_SIGNATURE);
        assert_int_equal(evidence_make(&e, &genesis, 2, &a, &foreign), ERR_BAD_SIGNATURE);
    }
}

static void another_cluster(void **state)
{
    (void)state;
    struct buffer text = {0};
    struct genesis other;
    struct evidence e;
    sample_genesis_parsed(&other, &text, 5, 1); /* the same first members and keys */
    assert_false(digest_equal(&other.cluster, &genesis.cluster));
    for (size_t i = 0; i < PAIRS; i++) {
        make(&e, i);
        assert_int_equal(evidence_verify(&e, &other), ERR_OTHER_CLUSTER);
        e.cluster = other.cluster;
        assert_int_equal(evidence_verify(&e, &other), ERR_BAD_SIGNATURE);
        struct statement a = say(pairs[i].first, 1), b = say_in(pairs[i].second, 7, 42, 99, 2, SIGNER, &other);
        assert_int_equal(evidence_make(&e, &genesis, SIGNER, &a, &b), ERR_BAD_SIGNATURE);
    }
    buffer_free(&text);
}

/* Each byte altered, each cut, and one byte more. */
static void altered_bytes(void **state)
{
    (void)state;
    for (size_t i = 0; i < PAIRS; i++) {
        struct evidence e, read;
        struct buffer b = {0};
        make(&e, i);
        evidence_encode(&b, &e);
        for (size_t at = 0; at < b.size; at++)
            for (unsigned bit = 0; bit < 8; bit++) {
                b.data[at] ^= (uint8_t)(1u << bit);
                assert_int_not_equal(evidence_open(&read, buffer_bytes(&b), &genesis), OK);
                b.data[at] ^= (uint8_t)(1u << bit);
            }
        for (size_t cut = 0; cut < b.size; cut++)
            assert_int_not_equal(evidence_decode(&read, bytes_of(b.data, cut)), OK);
        buffer_append(&b, "", 1);
        assert_int_equal(evidence_decode(&read, buffer_bytes(&b)), ERR_TRAILING);
        buffer_free(&b);
    }
}

static void one_pair_has_one_encoding(void **state)
{
    (void)state;
    for (size_t i = 0; i < PAIRS; i++) {
        struct evidence e, read;
        struct buffer b = {0};
        make(&e, i);
        struct statement first = e.first;
        e.first = e.second;
        e.second = first;
        evidence_encode(&b, &e);
        assert_int_equal(evidence_decode(&read, buffer_bytes(&b)), ERR_NOT_CANONICAL);
        buffer_free(&b);
    }
}

static void files(void **state)
{
    (void)state;
    for (size_t i = 0; i < PAIRS; i++) {
        struct evidence e;
        struct buffer encoded = {0}, text = {0}, again = {0};
        make(&e, i);
        evidence_encode(&encoded, &e);
        evidence_format(&text, &e, &genesis);
        assert_true(!text.failed && text.size <= EVIDENCE_TEXT);
        assert_int_equal(evidence_parse(&again, buffer_bytes(&text)), OK);
        assert_true(bytes_equal(buffer_bytes(&encoded), buffer_bytes(&again)));
        buffer_append(&text, "", 1);
        text.data[text.size - 1] = 0;
        assert_non_null(strstr((char *)text.data, "node-3"));
        assert_non_null(strstr((char *)text.data, evidence_kind_meaning(pairs[i].kind)));
        /* Words above are for people: changed ones change nothing. */
        text.data[0] ^= 1;
        buffer_clear(&again);
        assert_int_equal(evidence_parse(&again, bytes_of(text.data, text.size - 1)), OK);
        for (size_t cut = 0; cut + 1 < text.size; cut++) {
            buffer_clear(&again);
            assert_int_not_equal(evidence_parse(&again, bytes_of(text.data, cut)), OK);
        }
        buffer_clear(&again);
        assert_int_equal(evidence_parse(&again, buffer_bytes(&text)), ERR_SYNTAX); /* something after the end */
        char *line = strstr((char *)text.data, "BEGIN CONSILIUM EVIDENCE-----\n") + 30;
        line[10] = '\n'; /* a short line */
        buffer_clear(&again);
        assert_int_not_equal(evidence_parse(&again, bytes_of(text.data, text.size - 1)), OK);
        buffer_free(&encoded);
        buffer_free(&text);
        buffer_free(&again);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_kind_proves_it),
        cmocka_unit_test(the_block_is_the_one_that_entries_carry),
        cmocka_unit_test(the_same_twice_is_none),
        cmocka_unit_test(other_places_are_none),
        cmocka_unit_test(others_cannot_be_blamed),
        cmocka_unit_test(another_cluster),
        cmocka_unit_test(altered_bytes),
        cmocka_unit_test(one_pair_has_one_encoding),
        cmocka_unit_test(files),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
