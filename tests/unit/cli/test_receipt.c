/* Receipts: genuine ones say what the entry says; nothing altered is accepted. */
#include "cli/receipt.h"

#include <stdlib.h>

#include "base/check.h"
#include "ledger/request.h"
#include "ledger/tlog_proof.h"
#include "tests/lib/samples.h"
#include "tests/lib/unit.h"

#define LEAVES 7
#define INDEX 4

/* A cluster of four, a tree of seven leaves, and the proof of one of them. */
static struct genesis genesis, other;
static struct buffer genesis_text, other_text, request_bytes, leaves[LEAVES];
static struct digest nodes[TREE_LIST_NODES(LEAVES)];
static struct tree_proof path;
static struct checkpoint checkpoint;
static struct cosigner cosigners[LIMIT_NODES];
static struct cosignature cosignatures[LIMIT_NODES];
static struct buffer room;
static struct failure failure;

static void cosign(const struct genesis *by, const struct digest *root, uint64_t size)
{
    checkpoint_set(&checkpoint, by, size, root);
    cosigners_of_genesis(cosigners, by);
    for (uint32_t i = 0; i < 4; i++) {
        struct node_secrets secrets;
        sample_node_secrets(&secrets, i + 1);
        checkpoint_cosign(&cosignatures[i], &checkpoint, 1790000000 + i, &secrets.cosign);
    }
}

static int setup(void **state)
{
    (void)state;
    struct request *request = xcalloc(1, sizeof *request);
    sample_genesis_parsed(&genesis, &genesis_text, 4, 1);
    sample_genesis_parsed(&other, &other_text, 5, 1); /* its first four members have the same keys */
    sample_request(&request_bytes, 1, LEAVES);
    assert_int_equal(request_decode(request, buffer_bytes(&request_bytes)), OK);
    genesis_leaf(&leaves[0], &genesis);
    tree_leaf_hash(&nodes[0], buffer_bytes(&leaves[0]));
    for (uint32_t i = 1; i < LEAVES; i++) {
        sample_leaf(&leaves[i], i, request, i - 1);
        tree_leaf_hash(&nodes[i], buffer_bytes(&leaves[i]));
    }
    uint32_t count = tree_list_build(nodes, LEAVES);
    tree_list_path(&path, nodes, LEAVES, INDEX);
    cosign(&genesis, &nodes[count - 1], LEAVES);
    request_free(request);
    free(request);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    buffer_free(&genesis_text);
    buffer_free(&other_text);
    buffer_free(&request_bytes);
    buffer_free(&room);
    for (uint32_t i = 0; i < LEAVES; i++) buffer_free(&leaves[i]);
    return 0;
}

/* With the cosignatures of those in `mask`. */
static struct buffer note_of(uint32_t mask)
{
    struct buffer note = {0};
    struct cosignature chosen[4];
    for (uint32_t i = 0; i < 4; i++) chosen[i] = mask >> i & 1 ? cosignatures[i] : (struct cosignature){0};
    checkpoint_format(&note, &checkpoint, cosigners, chosen, 4);
    return note;
}

static struct buffer receipt_of(uint32_t mask)
{
    struct buffer out = {0}, note = note_of(mask);
    receipt_format(&out, buffer_bytes(&leaves[INDEX]), INDEX, path.hashes, path.count, buffer_bytes(&note));
    buffer_free(&note);
    assert_false(out.failed);
    return out;
}

static enum err check(struct receipt *out, const struct genesis *of, struct bytes text)
{
    failure = (struct failure){0};
    return receipt_check(out, &room, of, text, &failure);
}

static void test_genuine(void **state)
{
    (void)state;
    for (uint32_t mask = 1; mask < 16; mask++) {
        struct buffer text = receipt_of(mask);
        struct receipt r;
        enum err e = check(&r, &genesis, buffer_bytes(&text));
        assert_int_equal(e, __builtin_popcount(mask) >= 3 ? OK : ERR_TOO_FEW_COSIGNATURES);
        if (e == OK) {
            assert_int_equal(r.leaf.index, INDEX);
            assert_int_equal(r.cosigners, mask);
            assert_int_equal(r.checkpoint.size, LEAVES);
            assert_true(bytes_equal(r.leaf.raw, buffer_bytes(&leaves[INDEX])));
        }
        buffer_free(&text);
    }
}

/* A note that was checked for the one before counts for the next one only if it is the same, byte for byte. */
static void test_a_shared_note(void **state)
{
    (void)state;
    struct buffer good = receipt_of(7), weak = receipt_of(3);
    struct receipt_note last = {0};
    struct receipt r;
    failure = (struct failure){0};
    assert_int_equal(receipt_check_next(&r, &room, &last, &genesis, buffer_bytes(&good), &failure), OK);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(receipt_check_next(&r, &room, &last, &genesis, buffer_bytes(&good), &failure), OK);
        assert_int_equal(r.cosigners, 7);
        assert_int_equal(r.checkpoint.size, LEAVES);
        for (int j = 0; j < 2; j++)
            assert_int_equal(receipt_check_next(&r, &room, &last, &genesis, buffer_bytes(&weak), &failure),
                             ERR_TOO_FEW_COSIGNATURES);
    }
    /* The leaf is checked each time. */
    assert_int_equal(receipt_check_next(&r, &room, &last, &genesis, buffer_bytes(&good), &failure), OK);
    struct buffer false_one = {0}, note = note_of(7);
    receipt_format(&false_one, buffer_bytes(&leaves[INDEX - 1]), INDEX, path.hashes, path.count, buffer_bytes(&note));
    assert_int_equal(receipt_check_next(&r, &room, &last, &genesis, buffer_bytes(&false_one), &failure), ERR_BAD_PROOF);
    buffer_free(&false_one);
    buffer_free(&note);
    buffer_free(&last.text);
    buffer_free(&good);
    buffer_free(&weak);
}

/* With exactly k cosignatures every byte counts. */
static void test_every_truncation_and_bit_flip(void **state)
{
    (void)state;
    struct buffer text = receipt_of(7);
    struct receipt r;
    assert_int_equal(check(&r, &genesis, buffer_bytes(&text)), OK);
    for (size_t size = 0; size < text.size; size++) {
        uint8_t *exact = xmalloc(size ? size : 1);
        memcpy(exact, text.data, size);
        if (check(&r, &genesis, bytes_of(exact, size)) == OK) fail_msg("%zu of %zu bytes are enough", size, text.size);
        assert_int_not_equal(failure.text[0], '\0');
        free(exact);
    }
    for (size_t bit = 0; bit < 8 * text.size; bit++) {
        text.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (check(&r, &genesis, buffer_bytes(&text)) == OK) fail_msg("bit %zu of byte %zu is free", bit % 8, bit / 8);
        text.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    buffer_append_text(&text, "\n");
    assert_int_not_equal(check(&r, &genesis, buffer_bytes(&text)), OK);
    buffer_free(&text);
}

/* With one more than k, a line may go; what is proved stays the same. */
static void test_more_cosigners_than_needed(void **state)
{
    (void)state;
    struct buffer text = receipt_of(15);
    for (size_t at = 0; at < text.size; at++) {
        struct receipt r;
        text.data[at] ^= 1;
        if (check(&r, &genesis, buffer_bytes(&text)) == OK) {
            assert_true(bytes_equal(r.leaf.raw, buffer_bytes(&leaves[INDEX])));
            assert_memory_equal(&r.checkpoint.root, &checkpoint.root, sizeof r.checkpoint.root);
            assert_int_equal(__builtin_popcount(r.cosigners), 3);
        }
        text.data[at] ^= 1;
    }
    buffer_free(&text);
}

static void expect_refused(enum err code, const char *words, uint64_t index, struct bytes leaf, bool with_leaf,
                           const struct tree_proof *proof)
{
    struct receipt r;
    struct buffer text = {0}, note = note_of(15);
    struct tlog_proof form = {.has_extra = with_leaf, .extra = leaf, .index = index, .path = *proof,
                              .note = buffer_bytes(&note)};
    tlog_proof_format(&text, &form);
    enum err e = check(&r, &genesis, buffer_bytes(&text));
    if (e != code || !strstr(failure.text, words)) fail_msg("%s: %s, expected %s", err_name(e), failure.text, words);
    buffer_free(&text);
    buffer_free(&note);
}

static void test_parts_that_do_not_belong_together(void **state)
{
    (void)state;
    struct tree_proof wrong = path;
    struct bytes leaf = buffer_bytes(&leaves[INDEX]);
    expect_refused(ERR_BAD_PROOF, "says entry 5, but holds entry 4", INDEX + 1, leaf, true, &path);
    expect_refused(ERR_BAD_PROOF, "is not in the tree", INDEX + 1, buffer_bytes(&leaves[INDEX + 1]), true, &path);
    expect_refused(ERR_BAD_PROOF, "does not hold the entry", INDEX, leaf, false, &path);
    expect_refused(ERR_BAD_PROOF, "a leaf that is none", INDEX, bytes_of(leaf.data, leaf.size - 1), true, &path);
    wrong.count--;
    expect_refused(ERR_BAD_PROOF, "is not in the tree", INDEX, leaf, true, &wrong);
    wrong.count += 2;
    wrong.hashes[path.count] = wrong.hashes[0];
    expect_refused(ERR_BAD_PROOF, "is not in the tree", INDEX, leaf, true, &wrong);
}

static void test_the_first_entry(void **state)
{
    (void)state;
    struct receipt r;
    struct tree_proof first;
    struct buffer text = {0}, note = note_of(11);
    tree_list_path(&first, nodes, LEAVES, 0);
    receipt_format(&text, buffer_bytes(&leaves[0]), 0, first.hashes, first.count, buffer_bytes(&note));
    assert_int_equal(check(&r, &genesis, buffer_bytes(&text)), OK);
    assert_true(bytes_equal(r.leaf.genesis, genesis.text));
    assert_int_equal(r.cosigners, 11);
    buffer_free(&text);
    buffer_free(&note);
}

static void test_another_cluster(void **state)
{
    (void)state;
    struct buffer text = receipt_of(15);
    struct receipt r;
    assert_int_equal(check(&r, &other, buffer_bytes(&text)), ERR_OTHER_CLUSTER);
    assert_non_null(strstr(failure.text, genesis.checkpoint_origin));
    assert_non_null(strstr(failure.text, other.checkpoint_origin));
    buffer_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_genuine),
        cmocka_unit_test(test_a_shared_note),
        cmocka_unit_test(test_every_truncation_and_bit_flip),
        cmocka_unit_test(test_more_cosigners_than_needed),
        cmocka_unit_test(test_parts_that_do_not_belong_together),
        cmocka_unit_test(test_the_first_entry),
        cmocka_unit_test(test_another_cluster),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
