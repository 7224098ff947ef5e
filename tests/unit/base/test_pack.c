/* Bytes of the expected forms: https://github.com/msgpack/msgpack/blob/master/spec.md */
#include <stdlib.h>

#include "base/limits.h"
#include "base/pack.h"
#include "tests/lib/unhex.h"
#include "tests/lib/unit.h"

static void assert_packed(struct buffer *b, const char *expected)
{
    struct bytes e = unhex(expected);
    assert_false(b->failed);
    assert_int_equal(b->size, e.size);
    assert_memory_equal(b->data, e.data, e.size);
    unhex_free(e);
    buffer_clear(b);
}

static const struct {
    uint64_t value;
    const char *form;
} uints[] = {
    {0, "00"}, {127, "7f"}, {128, "cc80"}, {255, "ccff"}, {256, "cd0100"}, {65535, "cdffff"}, {65536, "ce00010000"},
    {UINT32_MAX, "ceffffffff"}, {UINT64_C(4294967296), "cf0000000100000000"}, {UINT64_MAX, "cfffffffffffffffff"},
};

static void test_uint(void **state)
{
    struct buffer b = {0};
    (void)state;
    for (size_t i = 0; i < sizeof uints / sizeof uints[0]; i++) {
        pack_uint(&b, uints[i].value);
        struct unpack u = unpack_start(buffer_bytes(&b));
        assert_int_equal(unpack_uint(&u), uints[i].value);
        assert_int_equal(unpack_done(&u), OK);
        u = unpack_start(buffer_bytes(&b));
        assert_int_equal(unpack_uint_max(&u, uints[i].value), uints[i].value);
        assert_int_equal(unpack_done(&u), OK);
        if (uints[i].value) {
            u = unpack_start(buffer_bytes(&b));
            assert_int_equal(unpack_uint_max(&u, uints[i].value - 1), 0);
            assert_int_equal(unpack_done(&u), ERR_MALFORMED);
        }
        for (size_t size = 0; size < b.size; size++) {
            u = unpack_start(bytes_of(b.data, size));
            assert_int_equal(unpack_uint(&u), 0);
            assert_int_equal(unpack_done(&u), ERR_TRUNCATED);
        }
        assert_packed(&b, uints[i].form);
    }
    buffer_free(&b);
}

/* What each reader refuses, and why. */
static void test_refusals(void **state)
{
    enum kind { UINT, BOOL, BIN, STR, ARRAY, RAW };
    static const struct {
        enum kind kind;
        const char *form;
        enum err expected;
    } cases[] = {
        {UINT, "cc7f", ERR_NOT_CANONICAL}, {UINT, "cd00ff", ERR_NOT_CANONICAL},
        {UINT, "ce0000ffff", ERR_NOT_CANONICAL}, {UINT, "cf00000000ffffffff", ERR_NOT_CANONICAL},
        {UINT, "d005", ERR_MALFORMED}, {UINT, "d30000000000000005", ERR_MALFORMED}, {UINT, "e0", ERR_MALFORMED},
        {UINT, "ca00000000", ERR_MALFORMED}, {UINT, "c0", ERR_MALFORMED}, {UINT, "c3", ERR_MALFORMED},
        {UINT, "0000", ERR_TRAILING},
        {BOOL, "c2", OK}, {BOOL, "c3", OK}, {BOOL, "00", ERR_MALFORMED}, {BOOL, "01", ERR_MALFORMED},
        {BOOL, "c0", ERR_MALFORMED}, {BOOL, "c1", ERR_MALFORMED}, {BOOL, "", ERR_TRUNCATED},
        {BIN, "c400", OK}, {BIN, "c40141", OK}, {BIN, "c50001" "41", ERR_NOT_CANONICAL},
        {BIN, "c60000000141", ERR_NOT_CANONICAL}, {BIN, "c402" "41", ERR_TRUNCATED}, {BIN, "c4", ERR_TRUNCATED},
        {BIN, "c6ffffffff", ERR_TOO_LARGE}, {BIN, "a141", ERR_MALFORMED}, {BIN, "c4014100", ERR_TRAILING},
        {STR, "a0", OK}, {STR, "a141", OK}, {STR, "d90141", ERR_NOT_CANONICAL}, {STR, "da000141", ERR_NOT_CANONICAL},
        {STR, "db0000000141", ERR_NOT_CANONICAL}, {STR, "c40141", ERR_MALFORMED}, {STR, "a2" "41", ERR_TRUNCATED},
        {STR, "a100", ERR_MALFORMED}, {STR, "a11f", ERR_MALFORMED}, {STR, "a17f", ERR_MALFORMED}, {STR, "a10a", OK},
        {STR, "a109", OK}, {STR, "a10d", ERR_MALFORMED}, {STR, "a11b", ERR_MALFORMED},
        {ARRAY, "90", OK}, {ARRAY, "9100", ERR_TRAILING}, {ARRAY, "dc0000", ERR_NOT_CANONICAL},
        {ARRAY, "dc000f", ERR_NOT_CANONICAL}, {ARRAY, "dd0000000f", ERR_NOT_CANONICAL},
        {ARRAY, "dd0000ffff", ERR_NOT_CANONICAL}, {ARRAY, "91", ERR_TRUNCATED}, {ARRAY, "dcffff", ERR_TRUNCATED},
        {ARRAY, "ddffffffff", ERR_TOO_LARGE}, {ARRAY, "80", ERR_MALFORMED}, {ARRAY, "c400", ERR_MALFORMED},
        {RAW, "9100", OK}, {RAW, "9291c3c400", OK}, {RAW, "80", ERR_MALFORMED}, {RAW, "c0", ERR_MALFORMED},
        {RAW, "cb0000000000000000", ERR_MALFORMED}, {RAW, "c70101" "00", ERR_MALFORMED}, {RAW, "c1", ERR_MALFORMED},
        {RAW, "ff", ERR_MALFORMED}, {RAW, "9200", ERR_TRUNCATED}, {RAW, "91cc01", ERR_NOT_CANONICAL},
        {RAW, "91a1ff", ERR_MALFORMED}, {RAW, "", ERR_TRUNCATED},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct bytes in = unhex(cases[i].form);
        struct unpack u = unpack_start(in);
        switch (cases[i].kind) {
        case UINT: unpack_uint(&u); break;
        case BOOL: unpack_bool(&u); break;
        case BIN: unpack_bin(&u, 1000); break;
        case STR: unpack_str(&u, 1000); break;
        case ARRAY: unpack_array(&u, 100000); break;
        case RAW: unpack_raw(&u); break;
        }
        if (unpack_done(&u) != cases[i].expected)
            print_error("case %zu: %s gives %s\n", i, cases[i].form, err_name(unpack_done(&u)));
        assert_int_equal(unpack_done(&u), cases[i].expected);
        unhex_free(in);
    }
}

/* Bin, str and array around the borders of their header forms. */
static void test_sizes(void **state)
{
    static const size_t sizes[] = {0, 1, 15, 16, 31, 32, 255, 256, 65535, 65536, 70000};
    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        size_t n = sizes[i];
        char *data = calloc(1, n + 1);
        struct buffer b = {0};
        memset(data, 'a', n);
        pack_bin(&b, data, n);
        pack_text(&b, data);
        pack_array(&b, (uint32_t)n);
        for (size_t j = 0; j < n; j++)
            pack_bool(&b, j % 2);
        struct unpack u = unpack_start(buffer_bytes(&b));
        assert_true(bytes_equal(unpack_bin(&u, n), bytes_of(data, n)));
        assert_true(bytes_equal(unpack_str(&u, n), bytes_of(data, n)));
        assert_int_equal(unpack_array(&u, (uint32_t)n), n);
        for (size_t j = 0; j < n; j++)
            assert_int_equal(unpack_bool(&u), j % 2);
        assert_int_equal(unpack_done(&u), OK);
        u = unpack_start(buffer_bytes(&b));
        for (int j = 0; j < 3; j++) /* skipped whole */
            assert_true(unpack_raw(&u).size > n);
        assert_int_equal(unpack_done(&u), OK);
        if (n) {
            u = unpack_start(buffer_bytes(&b));
            unpack_bin(&u, n - 1);
            assert_int_equal(u.error, ERR_TOO_LARGE);
        }
        buffer_free(&b);
        free(data);
    }
}

static void test_forms(void **state)
{
    struct buffer b = {0};
    struct id id = {{1, 2}};
    struct digest digest = {{3}};
    (void)state;
    pack_bool(&b, false);
    pack_bool(&b, true);
    assert_packed(&b, "c2c3");
    pack_array(&b, 3);
    assert_packed(&b, "93");
    pack_array(&b, 16);
    assert_packed(&b, "dc0010");
    pack_bytes(&b, (struct bytes){0});
    pack_str(&b, (struct bytes){0});
    assert_packed(&b, "c400a0");
    pack_id(&b, &id);
    assert_packed(&b, "c41001020000000000000000000000000000");
    pack_digest(&b, &digest);
    struct unpack u = unpack_start(buffer_bytes(&b));
    struct digest back = unpack_digest(&u);
    assert_int_equal(unpack_done(&u), OK);
    assert_true(digest_equal(&back, &digest));
    u = unpack_start(buffer_bytes(&b));
    struct id none = unpack_id(&u); /* 32 bytes are no id */
    assert_int_equal(unpack_done(&u), ERR_MALFORMED);
    assert_true(id_is_zero(&none));
    buffer_free(&b);
}

/* RFC 3629: what is and is not UTF-8, at the borders. */
static void test_utf8(void **state)
{
    static const struct {
        const char *text;
        bool valid;
    } cases[] = {
        {"\xc2\xa0", true},  {"\xdf\xbf", true},      {"\xe0\xa0\x80", true},  {"\xed\x9f\xbf", true},
        {"\xee\x80\x80", true}, {"\xef\xbf\xbf", true}, {"\xf0\x90\x80\x80", true}, {"\xf4\x8f\xbf\xbf", true},
        {"\xc0\x80", false}, {"\xc1\xbf", false},     {"\xe0\x9f\xbf", false}, {"\xed\xa0\x80", false},
        {"\xed\xbf\xbf", false}, {"\xf0\x8f\xbf\xbf", false}, {"\xf4\x90\x80\x80", false}, {"\xf5\x80\x80\x80", false},
        {"\x80", false},     {"\xbf", false},         {"\xff", false},         {"\xfe", false},
        {"\xc2", false},     {"\xe1\x80", false},     {"\xf1\x80\x80", false}, {"\xc2\x20", false},
        {"\xe1\x80\xc0", false}, {"a\xcc\x81", true}, {"\xc2\x80", false}, {"\xc2\x9f", false}, /* C1 controls */
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buffer b = {0};
        pack_text(&b, cases[i].text);
        struct unpack u = unpack_start(buffer_bytes(&b));
        struct bytes text = unpack_str(&u, 100);
        if ((unpack_done(&u) == OK) != cases[i].valid) print_error("case %zu\n", i);
        assert_int_equal(unpack_done(&u), cases[i].valid ? OK : ERR_MALFORMED);
        assert_int_equal(text.size, cases[i].valid ? strlen(cases[i].text) : 0);
        buffer_free(&b);
    }
}

/* Every byte at every place of texts that are looked at eight bytes at once, and of their ends. */
static void test_text_bytes(void **state)
{
    char text[20];
    (void)state;
    for (size_t size = 1; size <= sizeof text; size++) {
        for (size_t at = 0; at < size; at++) {
            for (unsigned byte = 0; byte < 256; byte++) {
                bool valid = byte == '\t' || byte == '\n' || (byte >= 0x20 && byte < 0x7f);
                memset(text, 'a' + (int)(at % 26), size);
                text[at] = (char)byte;
                assert_int_equal(text_valid(bytes_of(text, size)), valid);
            }
        }
    }
}

static void nested(struct buffer *b, size_t depth)
{
    for (size_t i = 0; i < depth; i++)
        pack_array(b, 1);
    pack_uint(b, 0);
}

static void test_depth(void **state)
{
    struct buffer b = {0};
    (void)state;
    nested(&b, LIMIT_PACK_DEPTH);
    struct unpack u = unpack_start(buffer_bytes(&b));
    assert_int_equal(unpack_raw(&u).size, b.size);
    assert_int_equal(unpack_done(&u), OK);
    buffer_clear(&b);
    nested(&b, LIMIT_PACK_DEPTH + 1);
    u = unpack_start(buffer_bytes(&b));
    assert_null(unpack_raw(&u).data);
    assert_int_equal(unpack_done(&u), ERR_TOO_DEEP);
    buffer_clear(&b);
    nested(&b, 1000000); /* no stack is eaten */
    u = unpack_start(buffer_bytes(&b));
    unpack_raw(&u);
    assert_int_equal(unpack_done(&u), ERR_TOO_DEEP);
    buffer_free(&b);
}

/* The first error stays; later reads give zeros and move nothing. */
static void test_sticky(void **state)
{
    struct bytes in = unhex("c0050607");
    struct unpack u = unpack_start(in);
    uint8_t out[2] = {9, 9};
    (void)state;
    unpack_uint(&u);
    const uint8_t *at = u.at;
    assert_int_equal(u.error, ERR_MALFORMED);
    assert_int_equal(unpack_uint(&u), 0);
    assert_int_equal(unpack_array(&u, 5), 0);
    assert_false(unpack_bool(&u));
    assert_null(unpack_bin(&u, 9).data);
    assert_null(unpack_str(&u, 9).data);
    assert_null(unpack_raw(&u).data);
    unpack_array_of(&u, 0);
    unpack_bin_exact(&u, out, 2);
    assert_int_equal(out[0], 0);
    unpack_fail(&u, ERR_STALE);
    assert_int_equal(u.error, ERR_MALFORMED);
    assert_ptr_equal(u.at, at);
    assert_int_equal(unpack_done(&u), ERR_MALFORMED);
    unhex_free(in);
    u = unpack_start((struct bytes){0});
    assert_int_equal(unpack_done(&u), OK);
    unpack_uint(&u);
    assert_int_equal(unpack_done(&u), ERR_TRUNCATED);
}

/* Ids, hashes, signatures are read by a shorter way where they are as they should be, and refused by the longer one. */
static void test_exact(void **state)
{
    (void)state;
    static const struct {
        const char *hex;
        size_t size;
        enum err error;
    } cases[] = {
        {"c403010203", 3, OK},
        {"c40301020304", 3, OK}, /* what follows is left */
        {"c400", 0, OK},
        {"c4020102", 3, ERR_MALFORMED},
        {"c40401020304", 3, ERR_MALFORMED},
        {"c400", 3, ERR_MALFORMED},
        {"c4030102", 3, ERR_TRUNCATED},
        {"c403", 3, ERR_TRUNCATED},
        {"c4", 3, ERR_TRUNCATED},
        {"", 3, ERR_TRUNCATED},
        {"c50003010203", 3, ERR_NOT_CANONICAL},
        {"c600000003010203", 3, ERR_NOT_CANONICAL},
        {"a3010203", 3, ERR_MALFORMED},
        {"03010203", 3, ERR_MALFORMED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct bytes in = unhex(cases[i].hex);
        struct unpack u = unpack_start(in);
        uint8_t out[3] = {9, 9, 9};
        unpack_bin_exact(&u, out, cases[i].size);
        assert_int_equal(u.error, cases[i].error);
        for (unsigned k = 0; k < cases[i].size; k++) assert_int_equal(out[k], u.error == OK ? k + 1 : 0);
        if (u.error == OK) assert_ptr_equal(u.at, in.data + 2 + cases[i].size);
        unhex_free(in);
    }
}

/* Longer than a short head can say. */
static void test_exact_long(void **state)
{
    (void)state;
    uint8_t content[300], out[300];
    for (size_t i = 0; i < sizeof content; i++) content[i] = (uint8_t)(i + 1);
    for (size_t size = 250; size <= sizeof content; size++) {
        struct buffer b = {0};
        pack_bin(&b, content, size);
        struct unpack u = unpack_start(buffer_bytes(&b));
        unpack_bin_exact(&u, out, size);
        assert_int_equal(unpack_done(&u), OK);
        assert_memory_equal(out, content, size);
        u = unpack_start(buffer_bytes(&b));
        unpack_bin_exact(&u, out, size - 1);
        assert_int_equal(unpack_done(&u), ERR_MALFORMED);
        buffer_free(&b);
    }
}

/* After an error ids and digests are zeros, wherever they are read. */
static void test_exact_after_an_error(void **state)
{
    (void)state;
    struct buffer b = {0};
    struct id id = {{1, 2, 3}}, zero_id = {{0}};
    struct digest digest = {{4, 5, 6}}, zero_digest = {{0}};
    pack_id(&b, &id);
    pack_digest(&b, &digest);
    struct unpack u = unpack_start(buffer_bytes(&b));
    struct id read_id = unpack_id(&u);
    struct digest read_digest = unpack_digest(&u);
    assert_int_equal(unpack_done(&u), OK);
    assert_memory_equal(&read_id, &id, sizeof id);
    assert_memory_equal(&read_digest, &digest, sizeof digest);
    u = unpack_start(buffer_bytes(&b));
    unpack_fail(&u, ERR_STALE);
    read_id = unpack_id(&u);
    read_digest = unpack_digest(&u);
    assert_int_equal(unpack_done(&u), ERR_STALE);
    assert_memory_equal(&read_id, &zero_id, sizeof id);
    assert_memory_equal(&read_digest, &zero_digest, sizeof digest);
    buffer_free(&b);
}

static void test_array_of(void **state)
{
    struct bytes in = unhex("920102");
    struct unpack u = unpack_start(in);
    (void)state;
    unpack_array_of(&u, 2);
    assert_int_equal(unpack_uint(&u), 1);
    assert_int_equal(unpack_uint(&u), 2);
    assert_int_equal(unpack_done(&u), OK);
    u = unpack_start(in);
    unpack_array_of(&u, 3);
    assert_int_equal(unpack_done(&u), ERR_MALFORMED);
    u = unpack_start(in);
    assert_int_equal(unpack_array(&u, 1), 0);
    assert_int_equal(unpack_done(&u), ERR_TOO_LARGE);
    unhex_free(in);
}

/* A buffer that is full makes the encoder fail, not write half a header and go on. */
static void test_buffer_limit(void **state)
{
    (void)state;
    for (size_t limit = 1; limit < 40; limit++) {
        struct buffer b = {.limit = limit};
        pack_array(&b, 2);
        pack_uint(&b, UINT64_MAX);
        pack_bin(&b, "0123456789012345678", 19);
        assert_int_equal(b.failed, limit < 1 + 9 + 2 + 19);
        assert_true(b.size <= limit);
        buffer_free(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_uint),   cmocka_unit_test(test_refusals), cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_forms),  cmocka_unit_test(test_utf8),     cmocka_unit_test(test_depth),
        cmocka_unit_test(test_sticky), cmocka_unit_test(test_exact), cmocka_unit_test(test_exact_long),
        cmocka_unit_test(test_exact_after_an_error), cmocka_unit_test(test_array_of),
        cmocka_unit_test(test_buffer_limit),
        cmocka_unit_test(test_text_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
