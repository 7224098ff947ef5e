/* What a verification remembers of operations: found for ten minutes, forgotten some time after. */
#include "tests/lib/unit.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/check.h"
#include "base/limits.h"
#include "cli/seen_marks.h"
#include "tests/lib/samples.h"

#define START UINT64_C(1790000000000)
#define MANY 1500000u /* of 16 bytes each, at most two thirds of a table */

static void mark_of(uint8_t mark[static REPLAY_MARK], const struct seen_marks *s, unsigned n)
{
    struct operation op = {.issued_at_ms = START + n / 7, .actor = {ACTOR_USER, sample_id(n % 5), {{0}}},
                           .request_id = sample_id(n)};
    seen_marks_of(mark, s, &op);
}

static void add(struct seen_marks *s, unsigned n, uint64_t time_ms)
{
    uint8_t mark[REPLAY_MARK];
    uint64_t index;
    mark_of(mark, s, n);
    assert_int_equal(seen_marks_find(&index, s, mark), ERR_NOT_FOUND);
    assert_int_equal(seen_marks_add(s, mark, n, time_ms), OK);
}

static bool has(const struct seen_marks *s, unsigned n)
{
    uint8_t mark[REPLAY_MARK];
    uint64_t index = UINT64_MAX;
    mark_of(mark, s, n);
    seen_marks_expect(s, mark);
    if (seen_marks_find(&index, s, mark) != OK) return false;
    assert_int_equal(index, n);
    return true;
}

/* More than the first table holds, many times, and than memory does. */
static void test_grows(void **state)
{
    (void)state;
    struct seen_marks *s;
    assert_int_equal(seen_marks_open(&s, NULL), OK);
    for (unsigned n = 0; n < MANY; n++) add(s, n, START + n / 4); /* within ten minutes */
    for (unsigned n = 0; n < MANY; n++) assert_true(has(s, n));
    assert_false(has(s, MANY));
    seen_marks_close(s);
}

/* Each part of what makes a duplicate counts, and nothing else does. */
static void test_marks(void **state)
{
    (void)state;
    struct seen_marks *s, *other;
    struct operation op = {.issued_at_ms = 5, .actor = {ACTOR_USER, sample_id(1), {{1}}}, .request_id = sample_id(2)};
    struct operation same = op, variant;
    uint8_t mark[REPLAY_MARK], again[REPLAY_MARK];
    assert_int_equal(seen_marks_open(&s, NULL), OK);
    assert_int_equal(seen_marks_open(&other, NULL), OK);
    seen_marks_of(mark, s, &op);
    same.actor.key.bytes[0] = 9;
    same.action = 7;
    same.purpose = 3;
    seen_marks_of(again, s, &same);
    assert_memory_equal(mark, again, sizeof mark);
    for (int i = 0; i < 4; i++) {
        variant = op;
        if (i == 0) variant.issued_at_ms++;
        if (i == 1) variant.actor.kind = ACTOR_NODE;
        if (i == 2) variant.actor.id.bytes[15] ^= 1;
        if (i == 3) variant.request_id.bytes[15] ^= 1;
        seen_marks_of(again, s, &variant);
        assert_memory_not_equal(mark, again, sizeof mark);
    }
    seen_marks_of(again, other, &op); /* keyed */
    assert_memory_not_equal(mark, again, sizeof mark);
    seen_marks_close(s);
    seen_marks_close(other);
}

/* At least ten minutes, whenever the generations change. */
static void test_forgets_late_enough(void **state)
{
    (void)state;
    struct seen_marks *s;
    const unsigned step_ms = 7000, count = 1000;
    unsigned oldest = 0;
    assert_int_equal(seen_marks_open(&s, NULL), OK);
    for (unsigned n = 0; n < count; n++) {
        add(s, n, START + (uint64_t)n * step_ms);
        while (!has(s, oldest)) oldest++;
        if (oldest > 0) assert_true((n - (oldest - 1)) * step_ms > 2 * LIMIT_SKEW_MS);
        for (unsigned i = oldest; i <= n; i++) assert_true(has(s, i));
    }
    assert_true(oldest > count / 2); /* it does forget */
    seen_marks_close(s);
}

/* What is foreseen makes room, and no difference. */
static void test_foreseen(void **state)
{
    static const uint64_t foreseen[] = {0, 1, 5000, MANY, UINT64_C(1) << 40};
    (void)state;
    for (size_t i = 0; i < sizeof foreseen / sizeof *foreseen; i++) {
        struct seen_marks *s;
        assert_int_equal(seen_marks_open(&s, NULL), OK);
        seen_marks_foresee(s, foreseen[i]);
        for (unsigned n = 0; n < 20000; n++) add(s, n, START + n);
        for (unsigned n = 0; n < 20000; n++) assert_true(has(s, n));
        seen_marks_close(s);
    }
}

/* A scratch file that is needed and can't be made: nothing is forgotten by that. */
static void test_no_folder(void **state)
{
    (void)state;
    struct seen_marks *s;
    unsigned n = 0;
    setenv("TMPDIR", "/nowhere/at/all", 1);
    assert_int_equal(seen_marks_open(&s, NULL), OK);
    enum err e = OK;
    for (; n < MANY && e == OK; n++) {
        uint8_t mark[REPLAY_MARK];
        mark_of(mark, s, n);
        e = seen_marks_add(s, mark, n, START);
    }
    assert_int_equal(e, ERR_IO);
    for (unsigned i = 0; i < n - 1; i++) assert_true(has(s, i));
    seen_marks_close(s);
    unsetenv("TMPDIR");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_grows), cmocka_unit_test(test_marks),
                                       cmocka_unit_test(test_forgets_late_enough), cmocka_unit_test(test_foreseen),
                                       cmocka_unit_test(test_no_folder)};
    return cmocka_run_group_tests_name("cli/seen_marks", tests, NULL, NULL);
}
