/* The log on media that forget and flip, at any place and in any way: a block is either right
 * or named as damaged, term, vote and mark are right or said to be in doubt, and nothing that
 * was acknowledged is cut. */
#include <stdlib.h>

#include "tests/lib/trace.h"
#include "tests/unit/storage/bed_log_damage.h"

/* Every bit position in turn over a log of one small segment: every field of every
 * kind of record. */
static void test_flips_of_every_byte(void **state)
{
    struct sample s = make_sample(3, 60, 60);
    (void)state;
    assert_true(s.count >= 1);
    for (size_t at = 0; at < s.used[0]; at++) {
        if (at == LOG_SEGMENT_HEADER_SIZE) at = LOG_PAGE;
        if (at == LOG_PAGE + LOG_SEGMENT_HEADER_SIZE) at = LOG_DATA_START;
        s.files[0].data[at] ^= (uint8_t)(1 << at % 8);
        put_files(&s, -1);
        expect_right(&s, "flip", 0, at);
        s.files[0].data[at] ^= (uint8_t)(1 << at % 8);
    }
    free_sample(&s);
}

static size_t random_place(const struct sample *s, uint64_t *seed, size_t *file)
{
    do
        *file = trace_random(seed) % s->count;
    while (s->used[*file] <= LOG_DATA_START);
    return LOG_DATA_START + trace_random(seed) % (s->used[*file] - LOG_DATA_START);
}

static void test_flips_at_random(void **state)
{
    uint64_t seed = 77;
    (void)state;
    for (uint64_t k = 1; k <= 4; k++) {
        struct sample s = k % 2 ? make_sample(k, 120, 3000) : make_long_sample(k);
        for (int i = 0; i < 300; i++) {
            size_t file, flips = 1 + trace_random(&seed) % 3;
            struct buffer kept[SEGMENTS];
            size_t at = 0;
            for (size_t n = 0; n < s.count; n++) {
                kept[n] = (struct buffer){0};
                buffer_append_bytes(&kept[n], buffer_bytes(&s.files[n]));
            }
            for (size_t n = 0; n < flips; n++) {
                at = random_place(&s, &seed, &file);
                s.files[file].data[at] ^= (uint8_t)(1u << trace_random(&seed) % 8);
            }
            put_files(&s, -1);
            expect_right(&s, "flips", file, at);
            for (size_t n = 0; n < s.count; n++) {
                buffer_free(&s.files[n]);
                s.files[n] = kept[n];
            }
        }
        free_sample(&s);
    }
}

/* Sectors that lost their writes, or were overwritten with something else, from one
 * to many: the note at the end proves all of it to have been durable. The end itself
 * is left alone, since zeros there cannot be told from a write that never came. */
static void test_lost_and_foreign_sectors(void **state)
{
    uint64_t seed = 5;
    (void)state;
    for (uint64_t k = 1; k <= 6; k++) {
        struct sample s = k % 2 ? make_sample(40 + k, 120, 1500) : make_long_sample(40 + k);
        for (int i = 0; i < 200; i++) {
            size_t file, length = 512 * (1 + trace_random(&seed) % (i % 4 == 0 ? 40 : 3));
            size_t at = random_place(&s, &seed, &file) / 512 * 512;
            size_t last_record = s.used[file] - 300;
            if (at + length > last_record) length = at < last_record ? last_record - at : 0;
            uint8_t *kept = malloc(length + 1);
            memcpy(kept, s.files[file].data + at, length);
            memset(s.files[file].data + at, i % 3 == 0 ? 0x77 : 0, length);
            put_files(&s, -1);
            expect_right(&s, "sectors", file, at);
            memcpy(s.files[file].data + at, kept, length);
            free(kept);
        }
        free_sample(&s);
    }
}

static void test_files_cut_short(void **state)
{
    struct sample s = make_long_sample(8);
    (void)state;
    for (size_t file = 0; file < s.count; file++)
        for (size_t size = 0; size < s.files[file].size; size += 977) {
            size_t whole = s.files[file].size;
            s.files[file].size = size;
            s.may_cut = size > s.used[file];
            put_files(&s, -1);
            expect_right(&s, "cut short", file, size);
            s.files[file].size = whole;
        }
    free_sample(&s);
}

static void test_files_missing_exchanged_foreign(void **state)
{
    struct sample s = make_long_sample(9), other = make_long_sample(10);
    size_t nonempty = 0;
    (void)state;
    for (size_t i = 0; i < s.count; i++)
        if (s.used[i] > LOG_DATA_START) nonempty = i;
    assert_true(nonempty >= 2);
    for (size_t i = 0; i < nonempty; i++) { /* of the last one nothing would be left to prove that it was there */
        put_files(&s, (int)i);
        expect_right(&s, "missing", i, 0);
    }
    for (size_t i = 0; i + 1 <= nonempty; i++) {
        struct buffer kept = s.files[i];
        s.files[i] = s.files[i + 1];
        s.files[i + 1] = kept;
        put_files(&s, -1);
        expect_right(&s, "exchanged", i, 0);
        s.files[i + 1] = s.files[i];
        s.files[i] = kept;
    }
    for (size_t i = 1; i <= nonempty && i < other.count; i++) {
        struct buffer kept = s.files[i];
        s.files[i] = other.files[i];
        put_files(&s, -1);
        expect_right(&s, "of another log", i, 0);
        s.files[i] = kept;
    }
    free_sample(&s);
    free_sample(&other);
}

/* Records of another segment of the same log, at their own offsets. */
static void test_misdirected_writes(void **state)
{
    struct sample s = make_long_sample(12);
    (void)state;
    for (size_t to = 0; to < 3; to++)
        for (size_t from = 0; from < 3; from++) {
            struct buffer kept = {0};
            if (from == to) continue;
            buffer_append_bytes(&kept, buffer_bytes(&s.files[to]));
            memcpy(s.files[to].data + LOG_DATA_START, s.files[from].data + LOG_DATA_START, 30000);
            put_files(&s, -1);
            expect_right(&s, "misdirected", to, LOG_DATA_START);
            buffer_free(&s.files[to]);
            s.files[to] = kept;
        }
    free_sample(&s);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, bed_open, bed_close)
    const struct CMUnitTest tests[] = {
        TEST(test_flips_of_every_byte),
        TEST(test_flips_at_random),
        TEST(test_lost_and_foreign_sectors),
        TEST(test_files_cut_short),
        TEST(test_files_missing_exchanged_foreign),
        TEST(test_misdirected_writes),
    };
    bed_begin();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
