#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "base/bytes.h"
#include "tests/lib/unit.h"

static void test_views(void **state)
{
    static const struct {
        const char *a, *b;
        int order;
    } cases[] = {{"", "", 0}, {"", "a", -1}, {"a", "", 1}, {"a", "b", -1}, {"ab", "a", 1}, {"b", "ab", 1},
                 {"x", "x", 0}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int c = bytes_compare(bytes_text(cases[i].a), bytes_text(cases[i].b));
        assert_int_equal((c > 0) - (c < 0), cases[i].order);
        assert_int_equal(bytes_equal(bytes_text(cases[i].a), bytes_text(cases[i].b)), cases[i].order == 0);
    }
    assert_true(bytes_equal((struct bytes){0}, bytes_text("")));
    assert_int_equal(bytes_compare((struct bytes){0}, bytes_text("")), 0);
    assert_true(bytes_compare(bytes_of("\x80", 1), bytes_of("\x7f", 1)) > 0); /* unsigned */
}

static void test_buffer_grows(void **state)
{
    struct buffer b = {0};
    (void)state;
    for (size_t i = 0; i < 10000; i++) {
        uint8_t c = (uint8_t)i;
        buffer_append(&b, &c, 1);
    }
    assert_int_equal(b.size, 10000);
    for (size_t i = 0; i < 10000; i++)
        assert_int_equal(b.data[i], (uint8_t)i);
    buffer_append(&b, NULL, 0);
    buffer_append_bytes(&b, (struct bytes){0});
    assert_false(b.failed);
    buffer_free(&b);
    assert_null(b.data);
    buffer_free(&b);
    assert_non_null(buffer_extend(&b, 0)); /* NULL would say that it failed */
    assert_false(b.failed);
    assert_int_equal(b.size, 0);
    buffer_free(&b);
}

#define BLOCKS 64
#define BLOCK 512

/* Whether memory that was given back, and is handed out again, still says what it did. A sanitizer hands none out
 * again, and nothing is found. */
static bool is_left(const char *text, size_t size)
{
    uint8_t *blocks[BLOCKS];
    bool found = false;
    for (size_t i = 0; i < BLOCKS; i++) {
        blocks[i] = malloc(size);
        assert_non_null(blocks[i]);
        for (volatile const uint8_t *at = blocks[i]; at <= blocks[i] + size - strlen(text) && !found; at++) {
            size_t same = 0;
            while (text[same] && at[same] == (uint8_t)text[same]) same++;
            found = !text[same];
        }
    }
    for (size_t i = 0; i < BLOCKS; i++) free(blocks[i]);
    return found;
}

#define NEIGHBOURS 16u /* that none can grow where it is but the last */

static void test_secrets_are_wiped(void **state)
{
    static const char text[] = "the passphrase of a root user";
    struct buffer all[NEIGHBOURS];
    (void)state;
    for (unsigned i = 0; i < NEIGHBOURS; i++) {
        all[i] = (struct buffer){.secret = true};
        buffer_extend(&all[i], BLOCK / 2);
        buffer_append_text(&all[i], text);
        assert_int_equal(all[i].capacity, BLOCK);
    }
    for (unsigned i = 0; i < NEIGHBOURS; i++) {
        buffer_extend(&all[i], 3 * BLOCK);
        assert_memory_equal(all[i].data + BLOCK / 2, text, strlen(text));
    }
    assert_false(is_left(text, BLOCK));
    for (unsigned i = 0; i < NEIGHBOURS; i++) {
        size_t capacity = all[i].capacity;
        buffer_free(&all[i]);
        assert_true(all[i].secret);
        assert_false(is_left(text, capacity));
    }
}

static void test_buffer_limit(void **state)
{
    struct buffer b = {.limit = 10};
    (void)state;
    buffer_append_text(&b, "1234567890");
    assert_false(b.failed);
    buffer_append_text(&b, "x");
    assert_true(b.failed);
    assert_int_equal(b.size, 10);
    assert_null(buffer_extend(&b, 0)); /* sticky */
    buffer_clear(&b);
    buffer_append_text(&b, "123");
    buffer_append_text(&b, "45678901"); /* whole or not at all */
    buffer_append_text(&b, "4");
    assert_true(b.failed);
    assert_true(bytes_equal(buffer_bytes(&b), bytes_text("123")));
    buffer_free(&b);
    assert_int_equal(b.limit, 10);
    assert_false(b.failed);
    buffer_append_text(&b, "12345678901");
    assert_true(b.failed);
    buffer_free(&b);
}

/* AddressSanitizer ends the process at such a size unless told otherwise. */
const char *__asan_default_options(void);
const char *__asan_default_options(void) { return "allocator_may_return_null=1"; }

static void test_buffer_huge(void **state)
{
    struct buffer b = {0};
    (void)state;
    buffer_append_text(&b, "kept");
    assert_null(buffer_extend(&b, SIZE_MAX)); /* no overflow */
    assert_null(buffer_extend(&b, SIZE_MAX - 3));
    b.failed = false;
    assert_null(buffer_extend(&b, SIZE_MAX - 4)); /* more than any object: nobody is asked */
    b.failed = false;
    assert_null(buffer_extend(&b, PTRDIFF_MAX - 4)); /* there isn't so much */
    assert_true(b.failed);
    assert_true(bytes_equal(buffer_bytes(&b), bytes_text("kept")));
    buffer_free(&b);
}

/* What is appended at once takes no more than it needs, what grows by little is not copied each time. */
static void test_capacity(void **state)
{
    static const uint8_t some[5000];
    struct buffer b = {0};
    size_t moves = 0, capacity = 0;
    (void)state;
    buffer_append(&b, some, 1);
    assert_int_equal(b.capacity, 64);
    buffer_append(&b, some, sizeof some);
    assert_int_equal(b.capacity, 1 + sizeof some);
    buffer_append(&b, some, 1);
    assert_int_equal(b.capacity, 2 * (1 + sizeof some));
    buffer_clear(&b);
    assert_non_null(buffer_extend(&b, 2 * (1 + sizeof some)));
    assert_int_equal(b.capacity, 2 * (1 + sizeof some));
    buffer_free(&b);
    for (size_t i = 0; i < 1000000; i++) {
        buffer_append(&b, some, 1);
        if (b.capacity != capacity) moves++;
        capacity = b.capacity;
    }
    assert_true(moves <= 16);
    buffer_free(&b);
    b.limit = 100; /* never beyond */
    buffer_append(&b, some, 70);
    assert_int_equal(b.capacity, 70);
    buffer_append(&b, some, 30);
    assert_int_equal(b.capacity, 100);
    buffer_append(&b, some, 1);
    assert_true(b.failed && b.size == 100);
    buffer_free(&b);
}

/* Room is made once, within the limit; what there was stays, and less room than there is changes nothing. */
static void test_reserve(void **state)
{
    (void)state;
    struct buffer b = {.limit = 1000};
    buffer_append_text(&b, "here");
    assert_true(buffer_reserve(&b, 600));
    assert_int_equal(b.capacity, 600);
    assert_int_equal(b.size, 4);
    assert_memory_equal(b.data, "here", 4);
    uint8_t *at = b.data;
    assert_non_null(buffer_extend(&b, 596));
    assert_ptr_equal(b.data, at);
    assert_true(buffer_reserve(&b, 5));
    assert_int_equal(b.capacity, 600);
    assert_true(buffer_reserve(&b, 5000));
    assert_int_equal(b.capacity, 1000);
    assert_false(b.failed);
    buffer_free(&b);
    b.limit = 0;
    assert_false(buffer_reserve(&b, PTRDIFF_MAX));
    assert_int_equal(b.capacity, 0);
    assert_false(b.failed);
}

/* Grows into a mapping, and there; without memory it stays what it was; what it leaves is the system's at once. */
static void test_mapped(void **state)
{
    (void)state;
    static uint8_t some[100000];
    struct buffer b = {.mapped = true, .limit = 1u << 30};
    for (size_t i = 0; i < sizeof some; i++)
        some[i] = (uint8_t)(i * i >> 7);
    for (unsigned i = 0; i < 50; i++)
        buffer_append(&b, some, sizeof some);
    assert_false(b.failed);
    assert_int_equal(b.size, 50 * sizeof some);
    for (unsigned i = 0; i < 50; i++)
        assert_memory_equal(b.data + i * sizeof some, some, sizeof some);
    uint8_t *first = b.data;
    struct rlimit old, none = {0};
    assert_int_equal(getrlimit(RLIMIT_AS, &old), 0);
    none.rlim_max = old.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_AS, &none), 0);
    bool grew = buffer_reserve(&b, 1u << 30);
    assert_int_equal(setrlimit(RLIMIT_AS, &old), 0);
    assert_false(grew);
    assert_memory_equal(b.data + 49 * sizeof some, some, sizeof some);
    buffer_free(&b);
    assert_int_equal(msync(first, 1, MS_ASYNC), -1); /* ENOMEM: nothing is mapped there */
    assert_true(b.mapped);
    assert_true(buffer_reserve(&b, BUFFER_MAPPED - 1)); /* of malloc's */
    buffer_free(&b);
}

static void test_printf(void **state)
{
    struct buffer b = {0};
    char long_text[501];
    (void)state;
    memset(long_text, 'y', 500);
    long_text[500] = '\0';
    buffer_printf(&b, "%d-%s", -5, "x");
    buffer_printf(&b, "%s", "");
    buffer_printf(&b, "%s", long_text);
    assert_int_equal(b.size, 504);
    assert_memory_equal(b.data, "-5-xyyyy", 8);
    buffer_free(&b);
}

/* The final zero of vsnprintf needs no room of its own in the limit. */
static void test_printf_limit(void **state)
{
    struct buffer b = {.limit = 4};
    (void)state;
    buffer_printf(&b, "%s", "1234");
    assert_false(b.failed);
    assert_int_equal(b.size, 4);
    buffer_printf(&b, "%s", "");
    assert_false(b.failed);
    buffer_printf(&b, "5");
    assert_true(b.failed);
    assert_true(bytes_equal(buffer_bytes(&b), bytes_text("1234")));
    buffer_free(&b);
}

static void test_id_text(void **state)
{
    char text[ID_TEXT_SIZE];
    struct id zero = {{0}}, ones, back;
    (void)state;
    memset(&ones, 0xff, sizeof ones);
    id_format(text, &zero);
    assert_string_equal(text, "aaaaaaaaaaaaaaaaaaaaaaaaaa");
    id_format(text, &ones);
    assert_string_equal(text, "77777777777777777777777774");
    struct id fox; /* RFC 4648 section 10: "foobar" is MZXW6YTBOI */
    memcpy(fox.bytes, "foobarfoobarfoob", 16);
    id_format(text, &fox);
    assert_memory_equal(text, "mzxw6ytbo", 9);
    for (unsigned bit = 0; bit < 128; bit++) {
        struct id id = {{0}};
        id.bytes[bit / 8] = (uint8_t)(0x80 >> bit % 8);
        id_format(text, &id);
        assert_int_equal(id_parse(&back, text), OK);
        assert_true(id_equal(&id, &back));
        assert_false(id_is_zero(&back));
    }
    assert_true(id_is_zero(&zero));
}

static void test_id_parse_refuses(void **state)
{
    static const char *const bad[] = {
        "", "a", "aaaaaaaaaaaaaaaaaaaaaaaaa", "aaaaaaaaaaaaaaaaaaaaaaaaaaa", "aaaaaaaaaaaaaaaaaaaaaaaaa1",
        "aaaaaaaaaaaaaaaaaaaaaaaaa=", "aaaaaaaaaaaaaaaaaaaaaaaaab", /* bits beyond the 128th */
        "aaaaaaaaaaaa aaaaaaaaaaaaa", "\303\251aaaaaaaaaaaaaaaaaaaaaaaa",
    };
    struct id id = {{7}};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(id_parse(&id, bad[i]), ERR_INVALID);
    assert_int_equal(id.bytes[0], 7); /* untouched */
    assert_int_equal(id_parse(&id, "MZXW6YTBOJTG633CMFZGM33PMI"), OK);
    assert_memory_equal(id.bytes, "foobarfoobarfoob", 16);
}

static void test_hex(void **state)
{
    uint8_t data[3] = {0x00, 0xaf, 0xff};
    char text[7];
    (void)state;
    hex_format(text, data, 3);
    assert_string_equal(text, "00afff");
    assert_int_equal(hex_parse(data, 3, "FE01ab"), OK);
    assert_memory_equal(data, "\xfe\x01\xab", 3);
    assert_int_equal(hex_parse(data, 3, "FE01a"), ERR_INVALID);
    assert_int_equal(hex_parse(data, 3, "FE01abc"), ERR_INVALID);
    assert_int_equal(hex_parse(data, 3, "FE01ag"), ERR_INVALID);
    assert_int_equal(hex_parse(data, 3, "0x01ab"), ERR_INVALID);
    assert_int_equal(hex_parse(data, 0, ""), OK);
}

/* RFC 4648 section 10 */
static void test_base64(void **state)
{
    static const char *const cases[][2] = {
        {"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {"foob", "Zm9vYg=="}, {"fooba", "Zm9vYmE="},
        {"foobar", "Zm9vYmFy"}, {"\xfb\xff\xfe", "+//+"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buffer b = {0};
        base64_append(&b, bytes_text(cases[i][0]));
        assert_true(bytes_equal(buffer_bytes(&b), bytes_text(cases[i][1])));
        buffer_clear(&b);
        assert_int_equal(base64_decode(&b, bytes_text(cases[i][1])), OK);
        assert_true(bytes_equal(buffer_bytes(&b), bytes_text(cases[i][0])));
        buffer_free(&b);
    }
}

static void test_base64_refuses(void **state)
{
    static const char *const bad[] = {
        "Z", "Zg", "Zg=", "Zg===", "====", "Z===", "=Zg=", "Zg==Zg==", "Zm8=Zm8=", "Zh==", "Zm9=", "Zm9v\n",
        "Zm 9", "-_-_", "Zm9\x80", "Zg=A",
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct buffer b = {0};
        assert_int_equal(base64_decode(&b, bytes_text(bad[i])), ERR_INVALID);
        buffer_free(&b);
    }
    struct buffer b = {.limit = 2};
    assert_int_equal(base64_decode(&b, bytes_text("Zm9v")), ERR_TOO_LARGE);
    buffer_clear(&b);
    assert_int_equal(base64_decode(&b, bytes_of("\0AAA", 4)), ERR_INVALID);
    buffer_free(&b);
}

static void test_big_endian(void **state)
{
    uint8_t b[8];
    (void)state;
    put_be16(b, 0x0102);
    assert_memory_equal(b, "\x01\x02", 2);
    put_be32(b, 0xfffefdfc);
    assert_memory_equal(b, "\xff\xfe\xfd\xfc", 4);
    assert_int_equal(get_be32(b), 0xfffefdfc);
    put_be64(b, 0x8000000000000001);
    assert_int_equal(get_be64(b), 0x8000000000000001);
    assert_int_equal(get_be16(b), 0x8000);
    assert_int_equal(get_be64((const uint8_t *)"\xff\xff\xff\xff\xff\xff\xff\xff"), UINT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_views),        cmocka_unit_test(test_buffer_grows),
        cmocka_unit_test(test_secrets_are_wiped),
        cmocka_unit_test(test_buffer_limit), cmocka_unit_test(test_buffer_huge),
        cmocka_unit_test(test_capacity),     cmocka_unit_test(test_reserve), cmocka_unit_test(test_mapped), cmocka_unit_test(test_printf),
        cmocka_unit_test(test_printf_limit), cmocka_unit_test(test_id_text),
        cmocka_unit_test(test_id_parse_refuses), cmocka_unit_test(test_hex),
        cmocka_unit_test(test_base64),       cmocka_unit_test(test_base64_refuses),
        cmocka_unit_test(test_big_endian),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
