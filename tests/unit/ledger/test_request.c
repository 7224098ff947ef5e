#include "tests/lib/unit.h"

#include "tests/lib/dies.h"
#include "tests/lib/mutate.h"
#include "tests/lib/recode.h"
#include "tests/lib/samples.h"

static struct buffer event_args(void)
{
    struct arguments a;
    struct buffer out = {0};
    assert_true(sample_arguments(&a, ACTION_EVENT_ADD, true));
    arguments_encode(&out, &a);
    return out;
}

static void test_round_trip(void **state)
{
    (void)state;
    struct sign_secret secret;
    struct sign_public key, other;
    sample_key(&secret, &other, 2);
    sample_key(&secret, &key, 1);
    for (uint32_t count = 1; count <= LIMIT_OPERATIONS; count++) {
        struct buffer out = {0};
        struct request r;
        sample_request(&out, 1, count);
        assert_int_equal(request_decode(&r, buffer_bytes(&out)), OK);
        assert_int_equal(r.count, count);
        assert_int_equal(r.verified, VERDICT_UNKNOWN);
        assert_int_equal(request_verify(&r, &other), ERR_BAD_SIGNATURE);
        assert_int_equal(request_verify(&r, &key), OK);
        for (uint32_t i = 0; i < count; i++) {
            struct attachment a;
            struct tree_proof path;
            struct digest hash;
            assert_int_equal(request_item_attachment(&r.items[i], &a), OK);
            assert_int_equal(a.content.size != 0, i % 2);
            request_path(&path, &r, i);
            tree_leaf_hash(&hash, r.items[i].operation.raw);
            assert_int_equal(tree_inclusion_verify(&hash, i, count, path.hashes, path.count, &r.root), OK);
        }
        request_free(&r);
        request_free(&r); /* harmless */
        buffer_free(&out);
    }
}

/* The signed bytes, spelled out: tag, count in 8 bytes, root. */
static void test_what_is_signed(void **state)
{
    (void)state;
    struct buffer out = {0};
    struct request r;
    struct sign_secret secret;
    struct sign_public key;
    uint8_t message[REQUEST_SIGNED_SIZE];
    sample_key(&secret, &key, 1);
    sample_request(&out, 1, 3);
    assert_int_equal(request_decode(&r, buffer_bytes(&out)), OK);
    request_signed_bytes(message, 3, &r.root);
    assert_memory_equal(message, "consilium/request/v1\n\0\0\0\0\0\0\0\3", 29);
    assert_memory_equal(message + 29, &r.root, 32);
    assert_int_equal(sign_verify(&r.signature, &key, BYTES(message)), OK);
    struct digest l[3], left, root;
    for (int i = 0; i < 3; i++)
        tree_leaf_hash(&l[i], r.items[i].operation.raw);
    tree_node_hash(&left, &l[0], &l[1]);
    tree_node_hash(&root, &left, &l[2]);
    assert_memory_equal(&root, &r.root, 32);
    request_free(&r);
    buffer_free(&out);
}

/* The kept verdict holds for its key only. */
static void test_verdict_is_bound_to_the_key(void **state)
{
    (void)state;
    struct buffer out = {0};
    struct request r;
    struct sign_secret secret;
    struct sign_public key, other;
    sample_key(&secret, &other, 2);
    sample_key(&secret, &key, 1);
    sample_request(&out, 1, 4);
    assert_int_equal(request_decode(&r, buffer_bytes(&out)), OK);
    request_check(&r, &key);
    assert_int_equal(r.verified, VERDICT_GOOD);
    for (int i = 0; i < 4; i++)
        assert_int_equal(r.items[i].attachment_good, VERDICT_GOOD);
    assert_int_equal(request_verify(&r, &other), ERR_BAD_SIGNATURE);
    assert_int_equal(request_verify(&r, &other), ERR_BAD_SIGNATURE);
    assert_int_equal(request_verify(&r, &key), OK);
    r.signature.bytes[0] ^= 1; /* kept: not asked again */
    assert_int_equal(request_verify(&r, &key), OK);
    request_free(&r);
    assert_int_equal(request_decode(&r, buffer_bytes(&out)), OK);
    r.signature.bytes[0] ^= 1;
    request_check(&r, &key); /* a bad signature saves the rest of the work */
    assert_int_equal(r.verified, VERDICT_BAD);
    assert_int_equal(r.items[1].attachment_good, VERDICT_UNKNOWN);
    assert_int_equal(request_verify(&r, &key), ERR_BAD_SIGNATURE);
    request_free(&r);
    buffer_free(&out);
}

/* A request put together by hand, so that it can be wrong. */
static void assemble(struct buffer *out, const struct operation *ops, const struct bytes *attachments, uint32_t count)
{
    static const uint8_t signature[64] = {1};
    pack_array(out, 3);
    pack_array(out, count);
    for (uint32_t i = 0; i < count; i++) {
        struct buffer op = {0};
        operation_encode(&op, &ops[i]);
        pack_bytes(out, buffer_bytes(&op));
        buffer_free(&op);
    }
    pack_array(out, count);
    for (uint32_t i = 0; i < count; i++)
        pack_bytes(out, attachments[i]);
    pack_bin(out, signature, 64);
}

static enum err decode_two(const struct operation *a, const struct operation *b)
{
    struct buffer out = {0};
    struct request r;
    struct operation ops[2] = {*a, *b};
    struct bytes none[2] = {{0}};
    assemble(&out, ops, none, 2);
    enum err e = request_decode(&r, buffer_bytes(&out));
    if (e == OK) request_free(&r);
    buffer_free(&out);
    return e;
}

static void test_one_sender_and_different_ids(void **state)
{
    (void)state;
    struct buffer args = event_args();
    const struct operation a = sample_operation(1, 1, ACTION_EVENT_ADD, buffer_bytes(&args));
    struct operation b = sample_operation(1, 2, ACTION_EVENT_ADD, buffer_bytes(&args));
    assert_int_equal(decode_two(&a, &b), OK);
    b.request_id = a.request_id;
    assert_int_equal(decode_two(&a, &b), ERR_INVALID);
    b = sample_operation(2, 2, ACTION_EVENT_ADD, buffer_bytes(&args));
    assert_int_equal(decode_two(&a, &b), ERR_INVALID);
    b = sample_operation(1, 2, ACTION_EVENT_ADD, buffer_bytes(&args));
    b.actor.key.bytes[0] ^= 1;
    assert_int_equal(decode_two(&a, &b), ERR_INVALID);
    b.actor = a.actor;
    b.actor.kind = ACTOR_NODE;
    assert_int_equal(decode_two(&a, &b), ERR_INVALID);
    b.actor = a.actor;
    b.cluster.bytes[5] ^= 1;
    assert_int_equal(decode_two(&a, &b), ERR_INVALID);
    buffer_free(&args);
}

static enum err attachment_of(const struct digest *hash, struct bytes attachment)
{
    struct buffer out = {0}, args = event_args();
    struct request r;
    struct operation op = sample_operation(1, 1, ACTION_EVENT_ADD, buffer_bytes(&args));
    if (hash) op.attachment = *hash;
    assemble(&out, &op, &attachment, 1);
    assert_int_equal(request_decode(&r, buffer_bytes(&out)), OK);
    enum err e = request_item_attachment(&r.items[0], NULL);
    assert_int_equal(request_item_attachment(&r.items[0], NULL), e);
    request_free(&r);
    buffer_free(&out);
    buffer_free(&args);
    return e;
}

static void test_attachments_match_their_hash(void **state)
{
    (void)state;
    static const uint8_t salt[ATTACHMENT_SALT] = {5};
    struct buffer good = {0};
    struct bytes none = {0};
    attachment_encode(&good, salt, bytes_text("note"));
    struct digest hash = attachment_hash(salt, bytes_text("note")), other = attachment_hash(salt, bytes_text("nope"));
    assert_int_equal(attachment_of(&hash, buffer_bytes(&good)), OK);
    assert_int_equal(attachment_of(&other, buffer_bytes(&good)), ERR_ATTACHMENT);
    assert_int_equal(attachment_of(NULL, buffer_bytes(&good)), ERR_ATTACHMENT);
    assert_int_equal(attachment_of(&hash, none), ERR_ATTACHMENT);
    assert_int_equal(attachment_of(NULL, none), OK);
    assert_int_equal(attachment_of(&hash, bytes_of(good.data, good.size - 1)), ERR_ATTACHMENT);
    buffer_free(&good);
}

static void test_shapes(void **state)
{
    (void)state;
    struct request r;
    struct buffer out = {0};
    assert_int_equal(request_decode(&r, (struct bytes){0}), ERR_TRUNCATED);
    pack_array(&out, 3);
    pack_array(&out, 0);
    pack_array(&out, 0);
    uint8_t signature[64] = {0};
    pack_bin(&out, signature, 64);
    assert_int_equal(request_decode(&r, buffer_bytes(&out)), ERR_MALFORMED); /* no operation */
    buffer_clear(&out);
    pack_array(&out, 3);
    pack_array(&out, LIMIT_OPERATIONS + 1);
    memset(buffer_extend(&out, 200), 0, 200);
    assert_int_equal(request_decode(&r, buffer_bytes(&out)), ERR_TOO_LARGE);
    uint8_t *huge = calloc(1, LIMIT_REQUEST + 1);
    assert_int_equal(request_decode(&r, bytes_of(huge, LIMIT_REQUEST + 1)), ERR_TOO_LARGE);
    free(huge);
    buffer_free(&out);
}

static void test_mutations(void **state)
{
    (void)state;
    struct buffer out = {0};
    sample_request(&out, 1, 2);
    struct mutants m = mutate(recode_request, buffer_bytes(&out));
    assert_true(m.accepted > 0 && m.accepted < m.tried);
    buffer_free(&out);
}

/* No single changed byte of the operations or the signature leaves the signature valid. */
static void test_every_byte_is_signed(void **state)
{
    (void)state;
    struct buffer out = {0};
    struct sign_secret secret;
    struct sign_public key;
    sample_key(&secret, &key, 1);
    sample_request(&out, 1, 2);
    size_t verified = 0;
    for (size_t i = 0; i < out.size; i++) {
        struct request r;
        out.data[i] ^= 1;
        if (request_decode(&r, buffer_bytes(&out)) == OK) {
            bool good = request_verify(&r, &key) == OK;
            for (uint32_t j = 0; j < r.count; j++)
                good = good && request_item_attachment(&r.items[j], NULL) == OK;
            verified += good;
            request_free(&r);
        }
        out.data[i] ^= 1;
    }
    assert_int_equal(verified, 0);
    buffer_free(&out);
}

/* --- builder --- */

static void test_builder_refuses(void **state)
{
    (void)state;
    struct request_builder b = {0};
    struct buffer args = event_args();
    struct operation op = sample_operation(1, 1, ACTION_EVENT_ADD, buffer_bytes(&args));
    struct bytes none = {0};
    assert_int_equal(request_builder_add(&b, &op, bytes_text("not msgpack")), ERR_MALFORMED);
    assert_int_equal(request_builder_add(&b, &op, none), OK);
    assert_int_equal(request_builder_add(&b, &op, none), ERR_INVALID); /* the id twice */
    op = sample_operation(2, 2, ACTION_EVENT_ADD, buffer_bytes(&args));
    assert_int_equal(request_builder_add(&b, &op, none), ERR_INVALID); /* another actor */
    op = sample_operation(1, 2, ACTION_EVENT_ADD, buffer_bytes(&args));
    op.cluster = sample_digest(2);
    assert_int_equal(request_builder_add(&b, &op, none), ERR_INVALID);
    op = sample_operation(1, 2, ACTION_EVENT_ADD, buffer_bytes(&args));
    op.issued_at_ms = TIME_MAX_MS + 1;
    assert_int_equal(request_builder_add(&b, &op, none), ERR_MALFORMED); /* a node would refuse it */
    for (unsigned i = 2; i <= LIMIT_OPERATIONS; i++) {
        op = sample_operation(1, i, ACTION_EVENT_ADD, buffer_bytes(&args));
        assert_int_equal(request_builder_add(&b, &op, none), OK);
    }
    op = sample_operation(1, 999, ACTION_EVENT_ADD, buffer_bytes(&args));
    assert_int_equal(request_builder_add(&b, &op, none), ERR_TOO_LARGE);
    assert_int_equal(b.count, LIMIT_OPERATIONS);
    request_builder_free(&b);
    request_builder_free(&b);
    buffer_free(&args);
}

/* Three records of the largest size fit, the fourth is refused, and what was built is valid. */
static void test_builder_fills_to_the_limit(void **state)
{
    (void)state;
    static const uint8_t salt[ATTACHMENT_SALT];
    struct request_builder b = {0};
    struct buffer args = event_args(), attachment = {0}, out = {0};
    struct sign_secret secret;
    struct sign_public key;
    struct request r;
    uint8_t *zeros = calloc(1, LIMIT_ATTACHMENT);
    attachment_encode(&attachment, salt, bytes_of(zeros, LIMIT_ATTACHMENT - ATTACHMENT_OVERHEAD));
    assert_true(attachment.size <= LIMIT_ATTACHMENT);
    unsigned added = 0;
    for (enum err e = OK; e == OK; added += e == OK) {
        struct operation op = sample_operation(1, added, ACTION_EVENT_ADD, buffer_bytes(&args));
        e = request_builder_add(&b, &op, buffer_bytes(&attachment));
        assert_true(e == OK || e == ERR_TOO_LARGE);
    }
    assert_int_equal(added, 3);
    sample_key(&secret, &key, 1);
    assert_int_equal(request_builder_sign(&out, &b, &secret), OK);
    assert_true(out.size <= LIMIT_REQUEST);
    assert_int_equal(request_decode(&r, buffer_bytes(&out)), OK);
    request_check(&r, &key);
    assert_int_equal(r.verified, VERDICT_GOOD);
    assert_int_equal(r.items[2].attachment_good, VERDICT_GOOD);
    request_free(&r);
    request_builder_free(&b);
    free(zeros);
    buffer_free(&args);
    buffer_free(&attachment);
    buffer_free(&out);
}

static void sign_nothing(void)
{
    struct request_builder b = {0};
    struct sign_secret secret = {{0}};
    struct buffer out = {0};
    request_builder_sign(&out, &b, &secret);
}
static void test_misuse_dies(void **state)
{
    (void)state;
    assert_true(dies(sign_nothing));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_what_is_signed),
        cmocka_unit_test(test_verdict_is_bound_to_the_key),
        cmocka_unit_test(test_one_sender_and_different_ids),
        cmocka_unit_test(test_attachments_match_their_hash),
        cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_mutations),
        cmocka_unit_test(test_every_byte_is_signed),
        cmocka_unit_test(test_builder_refuses),
        cmocka_unit_test(test_builder_fills_to_the_limit),
        cmocka_unit_test(test_misuse_dies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
