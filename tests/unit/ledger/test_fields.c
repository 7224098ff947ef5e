/* Fields that may be empty: an id or a digest is whole, and not all zero, or it is not there. */
#include "tests/lib/unit.h"

#include "ledger/fields.h"

#define ID sizeof(struct id)
#define DIGEST sizeof(struct digest)

/* A bin of `size` bytes that are zero but for the one at `at` (size: none). */
static void put_bin(struct buffer *out, size_t size, size_t at)
{
    uint8_t content[DIGEST + 1] = {0};
    if (at < size) content[at] = 1;
    buffer_clear(out);
    pack_bin(out, content, size);
}

static void read_id(struct bytes in, enum err error, bool zero)
{
    struct unpack u = unpack_start(in);
    struct id id = unpack_id_optional(&u);
    assert_int_equal(unpack_done(&u), error);
    assert_int_equal(id_is_zero(&id), zero);
}

static void read_digest(struct bytes in, enum err error, bool zero)
{
    struct unpack u = unpack_start(in);
    struct digest digest = unpack_digest_optional(&u);
    assert_int_equal(unpack_done(&u), error);
    assert_int_equal(digest_is_zero(&digest), zero);
}

static void test_there(void **state)
{
    (void)state;
    struct buffer b = {0};
    for (size_t at = 0; at < ID; at++) {
        put_bin(&b, ID, at);
        read_id(buffer_bytes(&b), OK, false);
    }
    for (size_t at = 0; at < DIGEST; at++) {
        put_bin(&b, DIGEST, at);
        read_digest(buffer_bytes(&b), OK, false);
    }
    buffer_free(&b);
}

static void test_not_there(void **state)
{
    (void)state;
    struct buffer b = {0};
    put_bin(&b, 0, 0);
    read_id(buffer_bytes(&b), OK, true);
    read_digest(buffer_bytes(&b), OK, true);
    put_bin(&b, ID, ID);
    read_id(buffer_bytes(&b), ERR_MALFORMED, true);
    put_bin(&b, DIGEST, DIGEST);
    read_digest(buffer_bytes(&b), ERR_MALFORMED, true);
    buffer_free(&b);
}

static void test_other_sizes(void **state)
{
    (void)state;
    struct buffer b = {0};
    for (size_t size = 1; size <= DIGEST + 1; size++) {
        put_bin(&b, size, 0);
        if (size != ID) read_id(buffer_bytes(&b), size < ID ? ERR_MALFORMED : ERR_TOO_LARGE, true);
        if (size != DIGEST) read_digest(buffer_bytes(&b), size < DIGEST ? ERR_MALFORMED : ERR_TOO_LARGE, true);
    }
    buffer_free(&b);
}

/* Nothing but zeros comes of bytes that end too early, of a longer form, and of another type. */
static void test_spoiled(void **state)
{
    (void)state;
    struct buffer b = {0};
    put_bin(&b, DIGEST, 3);
    for (size_t size = 0; size < b.size; size++) read_digest(bytes_of(b.data, size), ERR_TRUNCATED, true);
    const uint8_t longer[3 + DIGEST] = {0xc5, 0, DIGEST, 7}, text[1 + 16] = {0xb0, 'a'};
    read_digest(BYTES(longer), ERR_NOT_CANONICAL, true);
    read_id(BYTES(text), ERR_MALFORMED, true);
    buffer_free(&b);
}

static void test_after_an_error(void **state)
{
    (void)state;
    struct buffer b = {0};
    put_bin(&b, ID, 3);
    struct unpack u = unpack_start(buffer_bytes(&b));
    unpack_fail(&u, ERR_STALE);
    struct id id = unpack_id_optional(&u);
    assert_true(id_is_zero(&id));
    assert_int_equal(unpack_done(&u), ERR_STALE);
    buffer_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_there),       cmocka_unit_test(test_not_there),
        cmocka_unit_test(test_other_sizes), cmocka_unit_test(test_spoiled),
        cmocka_unit_test(test_after_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
