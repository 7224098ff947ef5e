/* Leaves that differ from the one before, packed and unpacked. */
#include "net/leaf_pack.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/limits.h"
#include "tests/lib/unit.h"

#define LEAVES 300u
#define SIZE_MOST 3000u

/* SEED=n replays a run. */
static uint32_t seed;

static unsigned pick(unsigned below) { return (unsigned)rand_r(&seed) % below; }

static int set_seed(void **state)
{
    const char *given_seed = getenv("SEED");
    (void)state;
    seed = given_seed ? (uint32_t)atoi(given_seed) : (uint32_t)clock_monotonic_ns();
    print_message("SEED=%u\n", seed);
    return 0;
}

static uint8_t content[LEAVES][SIZE_MOST];
static struct bytes given[LEAVES], taken[LEAVES];

static void pack_all(struct buffer *out, const struct bytes *leaves, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) leaf_pack(out, i > 0 ? leaves[i - 1] : (struct bytes){0}, leaves[i]);
    assert_false(out->failed);
}

/* So many at a time. */
static void expect_steps(struct bytes packed, uint32_t count, uint32_t most)
{
    struct buffer plain = {0};
    struct leaf_unpacker u = leaf_unpack_start(packed);
    for (uint32_t done = 0, n; done < count; done += n) {
        n = count - done < most ? count - done : most;
        assert_int_equal(leaf_unpack_done(&u), ERR_TRAILING);
        assert_int_equal(leaf_unpack_next(&u, &plain, taken, n), OK);
        for (uint32_t i = 0; i < n; i++) assert_true(bytes_equal(given[done + i], taken[i]));
    }
    assert_int_equal(leaf_unpack_done(&u), OK);
    buffer_free(&plain);
}

static void expect_same(uint32_t count)
{
    struct buffer packed = {0}, plain = {0};
    pack_all(&packed, given, count);
    assert_int_equal(leaf_unpack(&plain, taken, count, buffer_bytes(&packed)), OK);
    for (uint32_t i = 0; i < count; i++) assert_true(bytes_equal(given[i], taken[i]));
    for (uint32_t most = 1; most < count + 2; most += 1 + count / 3) expect_steps(buffer_bytes(&packed), count, most);
    buffer_free(&packed);
    buffer_free(&plain);
}

/* As a leaf follows from the one before: a few bytes others, some put in or taken out, or nothing in common. */
static void make_leaf(uint32_t i)
{
    size_t size = i > 0 ? given[i - 1].size : 1 + pick(SIZE_MOST - 1);
    if (i > 0) memcpy(content[i], content[i - 1], size);
    switch (i > 0 ? pick(6) : 0) {
    case 0:
        for (size_t j = 0; j < size; j++) content[i][j] = (uint8_t)pick(256);
        break;
    case 1: break;
    case 2: size = 1 + pick((unsigned)size); break;
    case 3: {
        size_t more = pick(40), at = pick((unsigned)size);
        if (more > SIZE_MOST - size) more = SIZE_MOST - size;
        memmove(content[i] + at + more, content[i] + at, size - at);
        size += more;
        break;
    }
    case 4: {
        size_t at = pick((unsigned)size), less = pick((unsigned)(size - at));
        memmove(content[i] + at, content[i] + at + less, size - at - less);
        size -= less;
        break;
    }
    case 5:
        for (unsigned n = pick(30); n > 0; n--) content[i][pick((unsigned)size)] ^= 1;
        break;
    }
    given[i] = bytes_of(content[i], size);
}

static void what_was_packed_comes_back(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 60; round++) {
        for (uint32_t i = 0; i < LEAVES; i++) make_leaf(i);
        expect_same(LEAVES);
    }
    expect_same(0);
}

static void every_length_of_a_run_comes_back(void **state)
{
    (void)state;
    for (size_t size = 1; size < 600; size++) {
        for (size_t same = 0; same <= size; same += same < 20 ? 1 : 37) {
            memset(content[0], 1, size);
            memset(content[1], 2, size);
            memset(content[2], 1, size);
            memcpy(content[1] + (size - same) / 2, content[0], same);
            for (unsigned i = 0; i < 3; i++) given[i] = bytes_of(content[i], size);
            expect_same(3);
        }
    }
}

static void neighbours_take_little_room(void **state)
{
    (void)state;
    struct buffer packed = {0};
    for (size_t j = 0; j < 512; j++) content[0][j] = (uint8_t)pick(256);
    memcpy(content[1], content[0], 512);
    memset(content[1] + 100, 0, 16); /* others in its place */
    memmove(content[1] + 342, content[1] + 310, 202);
    for (size_t j = 310; j < 342; j++) content[1][j] ^= 1; /* 32 more */
    given[0] = bytes_of(content[0], 512);
    given[1] = bytes_of(content[1], 544);
    pack_all(&packed, given, 1);
    size_t first = packed.size;
    assert_true(first <= 512 + 2 + 6);
    leaf_pack(&packed, given[0], given[1]);
    assert_true(packed.size - first <= 16 + 32 + 2 + 2 * 7);
    assert_true(packed.size - first > 16 + 32);
    buffer_free(&packed);
    expect_same(2);
}

/* --- what no encoder writes --- */

static enum err try(const char *bytes, size_t size, uint32_t count, size_t limit)
{
    struct buffer plain = {.limit = limit};
    uint8_t *exact = xmalloc(size ? size : 1); /* of exactly this size, so that a sanitizer sees reads beyond it */
    memcpy(exact, bytes, size);
    enum err e = leaf_unpack(&plain, taken, count, bytes_of(exact, size));
    assert_true(limit == 0 || plain.size <= limit);
    free(exact);
    buffer_free(&plain);
    return e;
}
#define TRY(text, count) try(text, sizeof(text) - 1, count, 1000)

static void what_is_not_well_formed_is_refused(void **state)
{
    (void)state;
    assert_int_equal(TRY("", 0), OK);
    assert_int_equal(TRY("\3\3abc", 1), OK);
    assert_int_equal(TRY("\3\3abc\3\0\3", 2), OK);
    assert_int_equal(TRY("\3\3abc\3\0\203", 2), OK);
    assert_int_equal(TRY("\3\1a\0\2bc", 1), OK);
    assert_int_equal(TRY("\3\3abc", 0), ERR_TRAILING);
    assert_int_equal(TRY("\3\3abcd", 1), ERR_TRAILING);
    assert_int_equal(TRY("\3\3abc", 2), ERR_TRUNCATED);
    assert_int_equal(TRY("", 1), ERR_TRUNCATED);
    assert_int_equal(TRY("\3", 1), ERR_TRUNCATED);
    assert_int_equal(TRY("\3\3ab", 1), ERR_TRUNCATED);
    assert_int_equal(TRY("\3\2ab", 1), ERR_TRUNCATED);   /* no C */
    assert_int_equal(TRY("\3\2ab\0", 1), ERR_TRUNCATED); /* nothing after it */
    assert_int_equal(TRY("\3\4abcd", 1), ERR_MALFORMED); /* more than its size */
    assert_int_equal(TRY("\3\0\0\3abc", 1), ERR_MALFORMED); /* a run of nothing */
    assert_int_equal(TRY("\3\2ab\200\1c", 1), ERR_MALFORMED);
    assert_int_equal(TRY("\3\2ab\1", 1), ERR_MALFORMED); /* nothing stands before the first */
    assert_int_equal(TRY("\3\2ab\201", 1), ERR_MALFORMED);
    assert_int_equal(TRY("\3\3abc\4\0\4", 2), ERR_MALFORMED); /* beyond the end of the leaf before */
    assert_int_equal(TRY("\3\3abc\4\0\203\1d", 2), ERR_MALFORMED); /* before its beginning */
    assert_int_equal(TRY("\3\3abc\4\1x\203", 2), OK);
    assert_int_equal(TRY("\3\3abc\2\0\3", 2), ERR_MALFORMED); /* more than its size */
    assert_int_equal(TRY("\0", 1), ERR_MALFORMED);
    assert_int_equal(TRY("\203\0\3abc", 1), ERR_MALFORMED); /* a longer form of 3 */
    assert_int_equal(TRY("\377\377\377\377\1", 1), ERR_MALFORMED);
}

static void what_is_too_large_is_not_unpacked(void **state)
{
    (void)state;
    assert_int_equal(TRY("\377\377\377\177", 1), ERR_TOO_LARGE);
    assert_int_equal(try("\3\3abc\3\0\3", 8, 2, 6), OK);
    assert_int_equal(try("\3\3abc\3\0\3", 8, 2, 5), ERR_TOO_LARGE);
    /* a byte of a copy stands for up to 127 */
    struct buffer packed = {0};
    static struct bytes all[LIMIT_LEAVES];
    for (unsigned i = 0; i < LIMIT_LEAVES; i++) all[i] = bytes_of(content[0], SIZE_MOST);
    for (unsigned i = 0; i < LIMIT_LEAVES; i++) leaf_pack(&packed, i > 0 ? all[i - 1] : (struct bytes){0}, all[i]);
    struct buffer plain = {.limit = LIMIT_ANSWER};
    assert_true(packed.size < LIMIT_ANSWER / 4);
    assert_int_equal(leaf_unpack(&plain, all, LIMIT_LEAVES, buffer_bytes(&packed)), ERR_TOO_LARGE);
    assert_true(plain.size <= LIMIT_ANSWER);
    buffer_free(&plain);
    buffer_free(&packed);
}

/* Whatever a byte is altered to: another page, or an error. */
static void altered_bytes_are_read_within_bounds(void **state)
{
    (void)state;
    struct buffer packed = {0};
    for (uint32_t i = 0; i < 20; i++) make_leaf(i);
    pack_all(&packed, given, 20);
    for (unsigned n = 0; n < 4000; n++) {
        size_t at = pick((unsigned)packed.size), size = pick(8) ? packed.size : at;
        uint8_t was = packed.data[at];
        packed.data[at] = (uint8_t)pick(256);
        try((const char *)packed.data, size, 20, 20 * SIZE_MOST);
        packed.data[at] = was;
    }
    buffer_free(&packed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_packed_comes_back),
        cmocka_unit_test(every_length_of_a_run_comes_back),
        cmocka_unit_test(neighbours_take_little_room),
        cmocka_unit_test(what_is_not_well_formed_is_refused),
        cmocka_unit_test(what_is_too_large_is_not_unpacked),
        cmocka_unit_test(altered_bytes_are_read_within_bounds),
    };
    return cmocka_run_group_tests(tests, set_seed, NULL);
}
