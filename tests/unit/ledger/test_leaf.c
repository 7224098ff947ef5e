#include "tests/lib/unit.h"

#include "tests/lib/dies.h"
#include "tests/lib/mutate.h"
#include "tests/lib/recode.h"
#include "tests/lib/samples.h"

static struct buffer request_bytes;
static struct request request_of(uint32_t count)
{
    struct request r;
    buffer_free(&request_bytes);
    sample_request(&request_bytes, 1, count);
    assert_int_equal(request_decode(&r, buffer_bytes(&request_bytes)), OK);
    return r;
}

static void test_round_trip_and_verification(void **state)
{
    (void)state;
    struct sign_secret secret;
    struct sign_public key, other;
    sample_key(&secret, &other, 2);
    sample_key(&secret, &key, 1);
    for (uint32_t count = 1; count <= LIMIT_OPERATIONS; count = count < 10 ? count + 1 : count + 9) {
        struct request r = request_of(count);
        for (uint32_t i = 0; i < count; i++) {
            struct buffer out = {0};
            struct leaf leaf;
            sample_leaf(&out, i + 1, &r, i);
            assert_int_equal(leaf_decode(&leaf, buffer_bytes(&out)), OK);
            assert_true(bytes_equal(leaf.operation.raw, r.items[i].operation.raw));
            assert_int_equal(leaf.index, i + 1);
            assert_int_equal(leaf.position, i);
            assert_int_equal(leaf.count, count);
            assert_int_equal(leaf_verify(&leaf, &key), OK);
            assert_int_equal(leaf_verify(&leaf, &other), ERR_BAD_SIGNATURE);
            buffer_free(&out);
        }
        request_free(&r);
    }
}

/* A leaf shows nothing of the other operations of its request but hashes. */
static void test_tampered_leaves_do_not_verify(void **state)
{
    (void)state;
    struct sign_secret secret;
    struct sign_public key;
    struct request r = request_of(5);
    struct buffer out = {0};
    struct leaf leaf;
    sample_key(&secret, &key, 1);
    sample_leaf(&out, 7, &r, 2);
    assert_int_equal(leaf_decode(&leaf, buffer_bytes(&out)), OK);
    struct leaf changed = leaf;
    changed.path[0].bytes[0] ^= 1;
    assert_int_equal(leaf_verify(&changed, &key), ERR_BAD_SIGNATURE);
    changed = leaf;
    changed.position = 3;
    assert_int_equal(leaf_verify(&changed, &key), ERR_BAD_SIGNATURE);
    changed = leaf;
    changed.count = 6;
    assert_int_equal(leaf_verify(&changed, &key), ERR_BAD_SIGNATURE);
    changed = leaf;
    changed.signature.bytes[63] ^= 1;
    assert_int_equal(leaf_verify(&changed, &key), ERR_BAD_SIGNATURE);
    changed = leaf;
    changed.operation.raw = r.items[3].operation.raw; /* another signed operation in this one's place */
    assert_int_equal(leaf_verify(&changed, &key), ERR_BAD_SIGNATURE);
    request_free(&r);
    buffer_free(&out);
}

static void test_layout_and_hash(void **state)
{
    (void)state;
    struct request r = request_of(1);
    struct leaf leaf = {.index = 1, .time_ms = 2, .previous = {{3}}, .decision = DECISION_APPROVED};
    struct buffer out = {0}, expected = {0};
    struct digest hash, again;
    leaf_set_operation(&leaf, &r, 0);
    leaf_encode(&out, &leaf);
    buffer_append(&expected, "\x9a\x01\x01\x02\xc4\x20\x03", 7);
    memset(buffer_extend(&expected, 31), 0, 31);
    pack_bytes(&expected, r.items[0].operation.raw);
    buffer_append(&expected, "\x93\x00\x01\x90\xc4\x40", 6);
    buffer_append(&expected, r.signature.bytes, 64);
    buffer_append(&expected, "\x01\x00\xc4\x00", 4);
    assert_true(bytes_equal(buffer_bytes(&out), buffer_bytes(&expected)));
    leaf_hash(&hash, buffer_bytes(&out));
    tree_leaf_hash(&again, buffer_bytes(&expected));
    assert_memory_equal(&hash, &again, sizeof hash);
    request_free(&r);
    buffer_free(&out);
    buffer_free(&expected);
}

static void test_leaf_0(void **state)
{
    (void)state;
    struct genesis g;
    struct buffer text = {0}, out = {0}, head = {0};
    struct leaf leaf;
    sample_genesis_parsed(&g, &text, 4, 1);
    genesis_leaf(&out, &g);
    buffer_append(&head, "\x95\x01\x00\x00\xc4\x20", 6);
    memset(buffer_extend(&head, 32), 0, 32);
    pack_bytes(&head, buffer_bytes(&text));
    assert_true(bytes_equal(buffer_bytes(&out), buffer_bytes(&head)));
    assert_int_equal(leaf_decode(&leaf, buffer_bytes(&out)), OK);
    assert_true(leaf.index == 0 && bytes_equal(leaf.genesis, buffer_bytes(&text)));
    struct mutants m = mutate(recode_leaf, buffer_bytes(&out));
    assert_true(m.accepted > 0 && m.accepted < m.tried); /* the text inside is judged by its own parser */
    buffer_free(&text);
    buffer_free(&out);
    buffer_free(&head);
}

static void test_mutations(void **state)
{
    (void)state;
    for (uint32_t position = 0; position < 3; position += 2) {
        struct request r = request_of(3);
        struct buffer out = {0};
        sample_leaf(&out, 300 + position, &r, position);
        struct mutants m = mutate(recode_leaf, buffer_bytes(&out));
        assert_true(m.accepted > 0 && m.accepted < m.tried);
        buffer_free(&out);
        request_free(&r);
    }
}

/* Bytes at known places, counted from the end: [..., decision, reason, subject]. */
static void test_decisions_and_versions(void **state)
{
    (void)state;
    struct request r = request_of(1);
    struct buffer out = {0};
    struct leaf leaf;
    sample_leaf(&out, 3, &r, 0); /* denied, no subject */
    uint8_t *decision = out.data + out.size - 4, *reason = decision + 1;
    assert_int_equal(*decision, DECISION_DENIED);
    assert_int_equal(*reason, REASON_SCOPE);
    *decision = DECISION_APPROVED; /* approved with a reason */
    assert_int_equal(leaf_decode(&leaf, buffer_bytes(&out)), ERR_MALFORMED);
    *reason = REASON_NONE;
    assert_int_equal(leaf_decode(&leaf, buffer_bytes(&out)), OK);
    *decision = DECISION_DENIED; /* denied without one */
    assert_int_equal(leaf_decode(&leaf, buffer_bytes(&out)), ERR_MALFORMED);
    *decision = 3;
    *reason = REASON_SCOPE;
    assert_int_equal(leaf_decode(&leaf, buffer_bytes(&out)), ERR_MALFORMED);
    *decision = DECISION_DENIED;
    *reason = 0x7f; /* a newer version's reason */
    assert_int_equal(leaf_decode(&leaf, buffer_bytes(&out)), OK);
    out.data[2] = 0; /* index 0 with an operation */
    assert_int_equal(leaf_decode(&leaf, buffer_bytes(&out)), ERR_MALFORMED);
    out.data[2] = 3;
    out.data[1] = 2;
    assert_int_equal(leaf_decode(&leaf, buffer_bytes(&out)), ERR_VERSION);
    uint8_t *huge = calloc(1, LIMIT_LEAF_0 + 1);
    assert_int_equal(leaf_decode(&leaf, bytes_of(huge, LIMIT_LEAF_0 + 1)), ERR_TOO_LARGE);
    free(huge);
    request_free(&r);
    buffer_free(&out);
}

/* The largest operation makes a leaf within its limit. */
static void test_largest_leaf(void **state)
{
    (void)state;
    struct request_builder b = {0};
    struct buffer args = {0}, out = {0}, encoded = {0};
    struct sign_secret secret;
    struct sign_public key;
    struct request r;
    struct leaf leaf;
    uint8_t *zeros = calloc(1, LIMIT_OPERATION);
    sample_key(&secret, &key, 1);
    pack_array(&args, 1);
    pack_bin(&args, zeros, LIMIT_OPERATION - 160);
    for (unsigned i = 0; i < 50; i++) {
        struct operation op = sample_operation(1, i, 99, buffer_bytes(&args));
        assert_int_equal(request_builder_add(&b, &op, (struct bytes){0}), OK);
    }
    assert_int_equal(request_builder_sign(&out, &b, &secret), OK);
    assert_int_equal(request_decode(&r, buffer_bytes(&out)), OK);
    sample_leaf(&encoded, TREE_SIZE_MAX - 2, &r, 33);
    assert_true(encoded.size <= LIMIT_LEAF && encoded.size > LIMIT_OPERATION);
    assert_int_equal(leaf_decode(&leaf, buffer_bytes(&encoded)), OK);
    assert_int_equal(leaf_verify(&leaf, &key), OK);
    free(zeros);
    request_free(&r);
    request_builder_free(&b);
    buffer_free(&args);
    buffer_free(&out);
    buffer_free(&encoded);
}

static void approved_with_a_reason(void)
{
    struct request r = request_of(1);
    struct leaf leaf = {.index = 1, .decision = DECISION_APPROVED, .reason = REASON_SCOPE};
    struct buffer out = {0};
    leaf_set_operation(&leaf, &r, 0);
    leaf_encode(&out, &leaf);
}
static void verify_leaf_0(void)
{
    struct leaf leaf = {0};
    struct sign_public key = {{0}};
    leaf_verify(&leaf, &key);
}
static void test_misuse_dies(void **state)
{
    (void)state;
    assert_true(dies(approved_with_a_reason));
    assert_true(dies(verify_leaf_0));
}

static int done(void **state)
{
    (void)state;
    buffer_free(&request_bytes);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip_and_verification),
        cmocka_unit_test(test_tampered_leaves_do_not_verify),
        cmocka_unit_test(test_layout_and_hash),
        cmocka_unit_test(test_leaf_0),
        cmocka_unit_test(test_mutations),
        cmocka_unit_test(test_decisions_and_versions),
        cmocka_unit_test(test_largest_leaf),
        cmocka_unit_test(test_misuse_dies),
    };
    return cmocka_run_group_tests(tests, NULL, done);
}
