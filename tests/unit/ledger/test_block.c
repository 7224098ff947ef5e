#include "tests/lib/unit.h"

#include "tests/lib/dies.h"
#include "tests/lib/mutate.h"
#include "tests/lib/recode.h"
#include "tests/lib/samples.h"

static void sample_block(struct buffer *out, uint32_t count)
{
    struct buffer requests[4] = {{0}};
    struct bytes views[4] = {{0}};
    for (uint32_t i = 0; i < count; i++) {
        sample_request(&requests[i], i + 1, i + 1);
        views[i] = buffer_bytes(&requests[i]);
    }
    block_encode(out, SAMPLE_TIME, views, count);
    for (uint32_t i = 0; i < count; i++)
        buffer_free(&requests[i]);
}

static void test_round_trip(void **state)
{
    (void)state;
    for (uint32_t count = 0; count <= 4; count++) {
        struct buffer out = {0};
        struct block b;
        sample_block(&out, count);
        assert_int_equal(block_decode(&b, buffer_bytes(&out)), OK);
        assert_int_equal(b.time_ms, SAMPLE_TIME);
        assert_int_equal(b.count, count);
        size_t size = BLOCK_OVERHEAD;
        for (uint32_t i = 0; i < count; i++) {
            struct sign_secret secret;
            struct sign_public key;
            sample_key(&secret, &key, i + 1);
            assert_int_equal(b.requests[i].count, i + 1);
            assert_int_equal(request_verify(&b.requests[i], &key), OK);
            size += b.requests[i].raw.size + BLOCK_REQUEST_OVERHEAD;
        }
        assert_true(out.size <= size);
        block_free(&b);
        block_free(&b);
        buffer_free(&out);
    }
}

static void test_a_bad_request_spoils_the_block(void **state)
{
    (void)state;
    struct buffer good = {0}, out = {0};
    struct block b;
    sample_request(&good, 1, 2);
    struct bytes views[2] = {buffer_bytes(&good), bytes_of(good.data, good.size - 1)};
    block_encode(&out, 0, views, 2);
    assert_int_equal(block_decode(&b, buffer_bytes(&out)), ERR_TRUNCATED);
    assert_null(b.requests);
    buffer_free(&good);
    buffer_free(&out);
}

static void test_limits(void **state)
{
    (void)state;
    struct block b;
    struct buffer out = {0};
    pack_array(&out, 2);
    pack_uint(&out, 0);
    pack_array(&out, LIMIT_BLOCK_REQUESTS + 1);
    memset(buffer_extend(&out, 1000), 0xc4, 1000);
    assert_int_equal(block_decode(&b, buffer_bytes(&out)), ERR_TOO_LARGE);
    buffer_clear(&out);
    pack_array(&out, 2);
    pack_uint(&out, TIME_MAX_MS + 1);
    pack_array(&out, 0);
    assert_int_equal(block_decode(&b, buffer_bytes(&out)), ERR_MALFORMED);
    assert_int_equal(block_decode(&b, (struct bytes){0}), ERR_TRUNCATED);
    uint8_t *huge = calloc(1, LIMIT_BLOCK + 1);
    assert_int_equal(block_decode(&b, bytes_of(huge, LIMIT_BLOCK + 1)), ERR_TOO_LARGE);
    free(huge);
    buffer_free(&out);
}

static void test_mutations(void **state)
{
    (void)state;
    struct buffer out = {0};
    sample_block(&out, 2);
    struct mutants m = mutate(recode_block, buffer_bytes(&out));
    assert_true(m.accepted > 0 && m.accepted < m.tried);
    buffer_free(&out);
}

static void test_signature_names_the_place(void **state)
{
    (void)state;
    struct sign_secret secret;
    struct sign_public key, other;
    struct signature s;
    struct block_place place = {.cluster = sample_digest(1), .term = 3, .index = 9, .hash = sample_digest(2)}, wrong;
    uint8_t message[BLOCK_SIGNED_SIZE];
    sample_key(&secret, &other, 2);
    sample_key(&secret, &key, 1);
    block_sign(&s, &place, &secret);
    assert_int_equal(block_verify(&s, &place, &key), OK);
    assert_int_equal(block_verify(&s, &place, &other), ERR_BAD_SIGNATURE);
    wrong = place;
    wrong.term++;
    assert_int_equal(block_verify(&s, &wrong, &key), ERR_BAD_SIGNATURE);
    wrong = place;
    wrong.index++;
    assert_int_equal(block_verify(&s, &wrong, &key), ERR_BAD_SIGNATURE);
    wrong = place;
    wrong.cluster.bytes[0] ^= 1;
    assert_int_equal(block_verify(&s, &wrong, &key), ERR_BAD_SIGNATURE);
    wrong = place;
    wrong.hash.bytes[0] ^= 1;
    assert_int_equal(block_verify(&s, &wrong, &key), ERR_BAD_SIGNATURE);
    block_signed_bytes(message, &place);
    assert_memory_equal(message, "consilium/block/v1\n", 19);
    assert_memory_equal(message + 19, place.cluster.bytes, 32);
    assert_memory_equal(message + 51, "\0\0\0\0\0\0\0\3\0\0\0\0\0\0\0\x09", 16);
    assert_memory_equal(message + 67, place.hash.bytes, 32);
}

static void too_many(void)
{
    struct buffer out = {0};
    static struct bytes views[LIMIT_BLOCK_REQUESTS + 1];
    block_encode(&out, 0, views, LIMIT_BLOCK_REQUESTS + 1);
}
static void test_misuse_dies(void **state)
{
    (void)state;
    assert_true(dies(too_many));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_a_bad_request_spoils_the_block),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_mutations),
        cmocka_unit_test(test_signature_names_the_place),
        cmocka_unit_test(test_misuse_dies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
