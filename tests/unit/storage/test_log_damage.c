/* The log on media that forget and flip: whatever happens to the files, a block is
 * either right or named as damaged, term, vote and mark are right or said to be in
 * doubt, and nothing that was acknowledged is cut. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "crypto/random.h"
#include "storage/log_format.h"
#include "tests/lib/fault.h"
#include "tests/lib/folder.h"
#include "tests/lib/log_model.h"
#include "tests/lib/trace.h"
#include "tests/lib/unit.h"

#define SEGMENTS 16

/* A closed log, in memory. */
struct sample {
    struct model model;
    const struct model_state *truth;
    size_t count;
    char names[SEGMENTS][32];
    struct buffer files[SEGMENTS];
    uint32_t used[SEGMENTS]; /* where their records end */
    bool may_cut;            /* the change was behind the last record */
};

static char folder[FOLDER_PATH];

static struct log *open_log(void)
{
    struct log_options o = model_options(folder, NULL);
    struct log *log = NULL;
    struct failure failure = {0};
    if (log_open(&log, &o, &failure) != OK) print_message("%s\n", failure.text);
    return log;
}

static int compare_names(const void *a, const void *b) { return strcmp(a, b); }

static void load_files(struct sample *s)
{
    DIR *directory = opendir(folder);
    assert_non_null(directory);
    for (struct dirent *e; (e = readdir(directory)) != NULL;)
        if (strstr(e->d_name, ".seg")) {
            assert_true(s->count < SEGMENTS && strlen(e->d_name) < 32);
            strcpy(s->names[s->count++], e->d_name);
        }
    closedir(directory);
    qsort(s->names, s->count, sizeof *s->names, compare_names);
    for (size_t i = 0; i < s->count; i++) {
        s->files[i] = folder_load(folder, s->names[i]);
        uint32_t used = (uint32_t)s->files[i].size;
        while (used > LOG_DATA_START && s->files[i].data[used - 1] == 0) used--;
        s->used[i] = used;
    }
}

static void clear_folder(void)
{
    folder_remove(folder);
    folder_make(folder, 1);
}

/* The sample's files, but for those that are NULLed out by `without`. */
static void put_files(const struct sample *s, int without)
{
    clear_folder();
    for (size_t i = 0; i < s->count; i++)
        if ((int)i != without) folder_store(folder, s->names[i], buffer_bytes(&s->files[i]));
}

static struct sample make_sample(uint64_t seed, int steps, size_t largest)
{
    struct sample s = {0};
    clear_folder();
    struct log *log = open_log();
    model_start(&s.model, log, seed);
    s.model.largest = largest;
    for (int i = 0; i < steps; i++) assert_int_equal(model_step(&s.model), OK);
    assert_int_equal(model_sync(&s.model), OK);
    log_close(log);
    s.truth = &s.model.steps[s.model.count - 1];
    load_files(&s);
    return s;
}

/* One of several segments, with truncations, and a compaction early on. */
static struct sample make_long_sample(uint64_t seed)
{
    struct sample s = {0};
    clear_folder();
    struct log *log = open_log();
    model_start(&s.model, log, seed);
    s.model.largest = 3000;
    for (int i = 0; i < 40; i++) {
        assert_int_equal(model_append(&s.model, 5), OK);
        if (i % 3 == 0) assert_int_equal(model_vote(&s.model), OK);
        if (i == 5) assert_int_equal(model_compact(&s.model, 4), OK);
        if (i % 6 == 0) assert_int_equal(model_truncate(&s.model), OK);
        if (i % 7 == 0) assert_int_equal(model_cosign(&s.model), OK);
        if (i % 2 == 0) assert_int_equal(model_sync(&s.model), OK);
    }
    assert_int_equal(model_sync(&s.model), OK);
    log_close(log);
    s.truth = &s.model.steps[s.model.count - 1];
    load_files(&s);
    assert_true(s.count >= 4);
    return s;
}

static void free_sample(struct sample *s)
{
    model_free(&s->model);
    for (size_t i = 0; i < s->count; i++) buffer_free(&s->files[i]);
}

/* --- never a wrong answer --- */

static bool hard_right(const struct log_status *st, const struct model_state *t)
{
    return st->term == t->term && st->vote == t->vote && st->cosigned.index == t->cosigned.index &&
           st->cosigned.size == t->cosigned.size && digest_equal(&st->cosigned.root, &t->cosigned.root);
}

static bool named_damaged(struct log *log, uint64_t index)
{
    uint64_t first, last;
    return log_damage(log, &first, &last, index) == OK && first <= index && index <= last;
}

static bool block_right(struct log *log, const struct sample *s, uint64_t index)
{
    uint64_t term = 0;
    enum err code = log_term(log, &term, index);
    const struct model_block *b = &s->truth->blocks[index - s->truth->base - 1];
    if (code == OK && term != b->term) return false;
    code = model_compare(log, &s->model, s->truth, index);
    return code == OK || (code == ERR_CORRUPT && named_damaged(log, index));
}

/* Says what is wrong, or NULL. */
static const char *wrong(struct log *log, const struct sample *s)
{
    const struct model_state *t = s->truth;
    struct log_status st;
    log_status(log, &st);
    uint64_t last = t->base + t->count;
    if (st.torn && !s->may_cut) return "cut something acknowledged";
    if (st.last > last && !st.tail_damaged) return "more blocks than there were";
    if (st.last < last && !st.tail_damaged) return "fewer blocks than there were, and does not say so";
    if (!hard_right(&st, t) && !st.state_damaged) return "wrong term, vote or mark";
    if (st.first - 1 > t->base) return "compacted too far";
    if (st.first - 1 < t->base && !st.state_damaged) return "not compacted far enough";
    for (uint64_t i = st.first; i <= st.last && i <= last; i++)
        if (i > t->base && !block_right(log, s, i)) return st.tail_damaged ? NULL : "wrong block";
    return NULL;
}

static void expect_right(const struct sample *s, const char *what, size_t file, size_t at)
{
    struct log *log = open_log();
    const char *complaint = log ? wrong(log, s) : "does not open";
    if (complaint) {
        print_message("%s: %s, file %zu offset %zu of %u\n", what, complaint, file, at, s->used[file]);
        fail_test();
    }
    log_close(log);
}

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

/* --- what is said, exactly, and made good again --- */

/* A log of `count` blocks, a batch each, closed; its only segment in memory. */
static struct sample plain_sample(uint64_t count)
{
    struct sample s = {0};
    clear_folder();
    struct log *log = open_log();
    model_start(&s.model, log, 1);
    s.model.largest = 700;
    for (uint64_t i = 0; i < count; i++) {
        assert_int_equal(model_append(&s.model, 1), OK);
        if (i % 4 == 0) assert_int_equal(model_vote(&s.model), OK);
        assert_int_equal(model_sync(&s.model), OK);
    }
    log_close(log);
    s.truth = &s.model.steps[s.model.count - 1];
    load_files(&s);
    return s;
}

/* Offset of the n-th record of a type; its size. */
struct search {
    enum log_record_type type;
    unsigned n;
    uint32_t offset, size;
};

static bool search_record(void *data, const struct log_record *r)
{
    struct search *s = data;
    if (r->damaged || r->type != s->type || --s->n > 0) return true;
    s->offset = r->offset;
    s->size = r->size;
    return false;
}

static struct search find_record(enum log_record_type type, unsigned n)
{
    struct search s = {.type = type, .n = n};
    struct log_options o = model_options(folder, NULL);
    assert_int_equal(log_visit(&o, search_record, &s, NULL), OK);
    assert_int_not_equal(s.offset, 0);
    return s;
}

static struct log_status status(struct log *log)
{
    struct log_status s;
    log_status(log, &s);
    return s;
}

static void repair_all(struct log *log, const struct sample *s)
{
    uint64_t first, last;
    while (log_damage(log, &first, &last, 0) == OK) {
        for (uint64_t i = first; i <= last; i++) {
            const struct model_block *b = &s->truth->blocks[i - s->truth->base - 1];
            struct buffer payload = model_payload(&s->model, b->content);
            struct log_entry e = {.index = i, .term = b->term, .kind = b->content & 3,
                                  .payload = buffer_bytes(&payload)};
            assert_int_equal(log_repair(log, &e), OK);
            buffer_free(&payload);
        }
        assert_int_equal(log_sync(log), OK);
    }
}

static void test_one_block_is_named_and_repaired(void **state)
{
    struct sample s = plain_sample(20);
    struct search block = find_record(LOG_BLOCK, 7);
    uint64_t first, last, term;
    struct log_entry wrong_term = {.index = 7, .term = 99};
    (void)state;
    s.files[0].data[block.offset + 100] ^= 4; /* in the payload: the header is known */
    put_files(&s, -1);
    struct log *log = open_log();
    assert_int_equal(status(log).damaged, 1);
    assert_int_equal(log_damage(log, &first, &last, 0), OK);
    assert_int_equal(first, 7);
    assert_int_equal(last, 7);
    assert_int_equal(log_damage(log, &first, &last, 8), ERR_NOT_FOUND);
    assert_int_equal(log_term(log, &term, 7), OK);
    assert_false(status(log).state_damaged || status(log).tail_damaged);
    assert_int_equal(log_repair(log, &wrong_term), ERR_CONFLICT);
    wrong_term.index = 8;
    assert_int_equal(log_repair(log, &wrong_term), ERR_NOT_FOUND);
    repair_all(log, &s);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(status(log).damaged, 0);
        assert_true(model_blocks_equal(log, &s.model, s.truth));
        log_close(log);
        log = open_log();
    }
    log_close(log);
    free_sample(&s);
}

static void test_a_range_is_named_and_repaired(void **state)
{
    struct sample s = plain_sample(20);
    struct search from = find_record(LOG_STATE, 5), to = find_record(LOG_BLOCK, 9);
    uint64_t first, last, term;
    (void)state;
    memset(s.files[0].data + from.offset, 0, to.offset + to.size - from.offset);
    put_files(&s, -1);
    for (int i = 0; i < 2; i++) { /* stays named until it is repaired */
        struct log *log = open_log();
        assert_int_equal(log_damage(log, &first, &last, 0), OK);
        assert_int_equal(first, 5);
        assert_int_equal(last, 9);
        assert_int_equal(log_term(log, &term, 5), ERR_CORRUPT);
        assert_int_equal(log_term(log, &term, 9), OK); /* the next batch says it */
        assert_false(status(log).state_damaged || status(log).tail_damaged);
        if (i == 1) repair_all(log, &s);
        log_close(log);
    }
    struct log *log = open_log();
    assert_true(model_blocks_equal(log, &s.model, s.truth));
    assert_int_equal(status(log).damaged, 0);
    log_close(log);
    free_sample(&s);
}

/* A damaged block that a new leader replaces: truncation ends the damage too. */
static void test_truncation_ends_damage(void **state)
{
    struct sample s = plain_sample(10);
    struct search block = find_record(LOG_BLOCK, 9);
    (void)state;
    s.files[0].data[block.offset + 80] ^= 1;
    put_files(&s, -1);
    struct log *log = open_log();
    assert_int_equal(status(log).damaged, 1);
    assert_int_equal(log_truncate(log, 9), OK);
    assert_int_equal(log_sync(log), OK);
    assert_int_equal(status(log).damaged, 0);
    assert_int_equal(status(log).last, 8);
    log_close(log);
    log = open_log();
    assert_int_equal(status(log).damaged, 0);
    assert_int_equal(status(log).last, 8);
    log_close(log);
    free_sample(&s);
}

/* The old blocks 8 to 10 were truncated and replaced, and just that is lost: the old
 * ones must not come back to life. */
static void test_a_lost_truncation_is_not_forgotten(void **state)
{
    struct sample s = {0};
    uint64_t first, last;
    (void)state;
    clear_folder();
    struct log *log = open_log();
    model_start(&s.model, log, 1);
    s.model.largest = 300;
    assert_int_equal(model_append(&s.model, 10), OK);
    assert_int_equal(model_sync(&s.model), OK);
    struct model_state *t = &s.model.steps[s.model.count];
    *t = s.model.steps[s.model.count - 1];
    t->count = 7;
    t->term = 2;
    s.model.count++;
    assert_int_equal(log_set_vote(log, 2, t->vote), OK);
    assert_int_equal(log_truncate(log, 8), OK);
    assert_int_equal(model_append(&s.model, 2), OK);
    assert_int_equal(model_sync(&s.model), OK);
    uint32_t lost_from = find_record(LOG_TRUNCATE, 1).offset;
    struct search lost_to = find_record(LOG_BLOCK, 12);
    assert_int_equal(model_append(&s.model, 1), OK); /* 10, behind the hole */
    assert_int_equal(model_sync(&s.model), OK);
    log_close(log);
    s.truth = &s.model.steps[s.model.count - 1];
    load_files(&s);
    memset(s.files[0].data + lost_from, 0, lost_to.offset + lost_to.size - lost_from);
    put_files(&s, -1);
    expect_right(&s, "lost truncation", 0, lost_from);
    log = open_log();
    assert_int_equal(log_damage(log, &first, &last, 0), OK);
    assert_int_equal(first, 8);
    assert_int_equal(last, 9);
    log_close(log);
    free_sample(&s);
}

/* The end is gone, and nothing says what was there: in doubt until made up for. */
static void test_doubt_stays_until_recovered(void **state)
{
    struct sample s = plain_sample(6);
    struct search block = find_record(LOG_BLOCK, 6);
    (void)state;
    for (uint32_t at = block.offset; at < s.used[0]; at++) s.files[0].data[at] ^= 0x5a;
    put_files(&s, -1);
    for (int i = 0; i < 3; i++) {
        struct log *log = open_log();
        struct log_status st = status(log);
        assert_int_equal(st.torn, 0);
        assert_int_equal(st.last, i == 0 ? 5 : 4 + i);
        assert_true(st.state_damaged && st.tail_damaged);
        struct log_entry e = {.index = st.last + 1, .term = 50, .payload = bytes_text("new")};
        if (i > 0) assert_int_equal(log_append(log, &e, 1), OK);
        if (i == 2) assert_int_equal(log_set_recovered(log), OK);
        assert_int_equal(log_sync(log), OK);
        log_close(log);
    }
    struct log *log = open_log();
    assert_false(status(log).state_damaged || status(log).tail_damaged);
    assert_int_equal(status(log).last, 7);
    log_close(log);
    free_sample(&s);
}

/* A flipped bit in the very last batch: it was written in full, so it is not torn. */
static void test_damage_at_the_end_is_not_a_torn_tail(void **state)
{
    struct sample s = plain_sample(4);
    struct search head = find_record(LOG_STATE, 4), block = find_record(LOG_BLOCK, 4);
    uint32_t end = block.offset + block.size;
    (void)state;
    memset(s.files[0].data + end, 0, s.used[0] - end); /* without the note behind it */
    s.used[0] = end;
    for (uint32_t at = head.offset; at < end; at++) {
        s.files[0].data[at] ^= 0x10;
        put_files(&s, -1);
        struct log *log = open_log();
        struct log_status st = status(log);
        assert_int_equal(st.torn, 0);
        if (at < block.offset)
            assert_true(st.last == 4 && st.damaged == 0 && st.state_damaged && !st.tail_damaged);
        else
            assert_true(st.damaged == 1 || (st.last == 3 && st.tail_damaged && st.state_damaged));
        log_close(log);
        s.files[0].data[at] ^= 0x10;
    }
    free_sample(&s);
}

/* Lost sectors in one batch, and the next one, of which only the end is there, is the
 * sole proof that they are a loss. It is torn and cut; what it proved has to stay,
 * over restarts and power cuts during the opening. */
static struct sample damage_and_torn_tail(void)
{
    struct sample s = {0};
    clear_folder();
    struct log *log = open_log();
    model_start(&s.model, log, 6);
    s.model.largest = 2000;
    assert_int_equal(model_append(&s.model, 3), OK);
    assert_int_equal(model_sync(&s.model), OK);
    assert_int_equal(model_append(&s.model, 4), OK); /* blocks 4 to 7: 5 gets lost */
    assert_int_equal(model_sync(&s.model), OK);
    struct search lost = find_record(LOG_BLOCK, 5);
    s.truth = &s.model.steps[s.model.count - 1];
    assert_int_equal(model_append(&s.model, 3), OK); /* blocks 8 to 10: torn, but for 10 */
    assert_int_equal(model_sync(&s.model), OK);
    struct search torn = find_record(LOG_STATE, 3), kept = find_record(LOG_BLOCK, 10);
    log_close(log);
    load_files(&s);
    memset(s.files[0].data + lost.offset, 0, lost.size);
    memset(s.files[0].data + torn.offset, 0, kept.offset - torn.offset);
    memset(s.files[0].data + kept.offset + kept.size, 0, s.files[0].size - kept.offset - kept.size);
    s.may_cut = true;
    return s;
}

static bool block_5_is_named(const struct sample *s)
{
    struct log *log = open_log();
    bool named = log && named_damaged(log, 5) && status(log).damaged == 1 && status(log).last == 7 &&
                 !wrong(log, s) && !status(log).tail_damaged;
    log_close(log);
    return named;
}

static void test_a_cut_keeps_what_it_proved(void **state)
{
    struct sample s = damage_and_torn_tail();
    char opened[FOLDER_PATH];
    uint64_t seed = 1;
    (void)state;
    put_files(&s, -1);
    for (int i = 0; i < 3; i++) assert_true(block_5_is_named(&s));
    put_files(&s, -1);
    strcpy(opened, folder);
    struct trace *t = trace_start(opened);
    struct log_options o = model_options(opened, trace_disk(t));
    struct log *log;
    assert_int_equal(log_open(&log, &o, NULL), OK);
    assert_int_equal(status(log).torn > 0, 1);
    log_close(log);
    for (size_t length = 0; length <= trace_length(t); length++)
        for (int i = 0; i < 8; i++) {
            folder_make(folder, 1);
            trace_crash(t, folder, length, i ? TRACE_LOSE_RANDOM : TRACE_LOSE_ALL, &seed);
            assert_true(block_5_is_named(&s));
            folder_remove(folder);
        }
    strcpy(folder, opened);
    trace_free(t);
    free_sample(&s);
}

/* The head of each segment repeats the last compaction. */
static void test_compaction_survives_in_a_later_head(void **state)
{
    struct sample s = {0};
    struct buffer config = {0}, manifest = {0};
    uint64_t index, term;
    (void)state;
    clear_folder();
    struct log *log = open_log();
    model_start(&s.model, log, 2);
    model_append(&s.model, 10);
    model_compact(&s.model, 5);
    model_append(&s.model, 60);
    assert_int_equal(model_sync(&s.model), OK);
    struct search compact = find_record(LOG_COMPACT, 1);
    log_close(log);
    s.truth = &s.model.steps[s.model.count - 1];
    load_files(&s);
    assert_true(s.count > 2);
    s.files[0].data[compact.offset + 90] ^= 1;
    put_files(&s, -1);
    log = open_log();
    assert_false(status(log).snapshot_damaged);
    assert_int_equal(log_snapshot(log, &index, &term, &config, &manifest), OK);
    assert_int_equal(index, 5);
    assert_int_equal(status(log).damaged, 0);
    buffer_free(&config);
    buffer_free(&manifest);
    log_close(log);
    free_sample(&s);
}

/* A seal that does not open though the checksum is right: found by the read. */
static void test_bad_seal_is_found_when_read(void **state)
{
    struct sample s = plain_sample(5);
    struct search block = find_record(LOG_BLOCK, 3);
    struct log_header h;
    struct log_cipher cipher;
    struct seal_key other = model_key;
    struct id id = {{0}};
    struct buffer out = {0};
    struct log_entry entries[5];
    size_t count;
    (void)state;
    other.bytes[5] ^= 1;
    log_cipher_setup(&cipher, &other, "test", &id);
    assert_true(log_header_decode(&h, s.files[0].data + block.offset));
    uint8_t *forged = malloc(h.size);
    memset(forged, 1, h.size);
    log_record_encode(s.files[0].data + block.offset, &h, &cipher, bytes_of(forged, h.size - SEAL_OVERHEAD));
    free(forged);
    put_files(&s, -1);
    struct log *log = open_log();
    assert_int_equal(status(log).damaged, 0);
    assert_int_equal(log_read(log, &out, entries, &count, 5, 1, 1 << 20), OK);
    assert_int_equal(count, 2);
    assert_int_equal(status(log).damaged, 1);
    assert_int_equal(log_read(log, &out, entries, &count, 5, 3, 1 << 20), ERR_CORRUPT);
    assert_int_equal(count, 0);
    assert_int_equal(log_read(log, &out, entries, &count, 5, 4, 1 << 20), OK);
    assert_int_equal(count, 2);
    repair_all(log, &s);
    assert_true(model_blocks_equal(log, &s.model, s.truth));
    buffer_free(&out);
    log_close(log);
    free_sample(&s);
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

/* The device cannot read the end for a while: what is written then, and what comes
 * back later, are told apart. */
static void test_an_unreadable_end_comes_back(void **state)
{
    struct sample s = plain_sample(12);
    struct log_options o;
    struct fault fault;
    struct log *log;
    struct log_status st;
    (void)state;
    o = model_options(folder, &fault.disk);
    for (unsigned page = 2; page * LOG_PAGE < s.used[0]; page++) {
        put_files(&s, -1);
        fault_setup(&fault);
        fault.unreadable_from = page * LOG_PAGE;
        fault.unreadable_to = fault.unreadable_from + LOG_PAGE;
        assert_int_equal(log_open(&log, &o, NULL), OK);
        log_status(log, &st);
        assert_int_equal(st.torn, 0);
        assert_true(st.damaged > 0 || st.tail_damaged);
        struct log_entry e = {.index = st.last + 1, .term = 70, .payload = bytes_text("meanwhile")};
        assert_int_equal(log_append(log, &e, 1), OK);
        assert_int_equal(log_sync(log), OK);
        log_close(log);
        log = open_log();
        log_status(log, &st);
        assert_int_equal(st.last, e.index);
        assert_int_equal(st.last_term, 70);
        for (uint64_t i = 1; i < e.index; i++) assert_true(block_right(log, &s, i));
        log_close(log);
    }
    free_sample(&s);
}

static int setup(void **state)
{
    (void)state;
    folder_make(folder, 1);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    folder_remove(folder);
    return 0;
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_one_block_is_named_and_repaired),
        TEST(test_a_range_is_named_and_repaired),
        TEST(test_truncation_ends_damage),
        TEST(test_a_lost_truncation_is_not_forgotten),
        TEST(test_doubt_stays_until_recovered),
        TEST(test_damage_at_the_end_is_not_a_torn_tail),
        TEST(test_a_cut_keeps_what_it_proved),
        TEST(test_compaction_survives_in_a_later_head),
        TEST(test_bad_seal_is_found_when_read),
        TEST(test_flips_of_every_byte),
        TEST(test_flips_at_random),
        TEST(test_lost_and_foreign_sectors),
        TEST(test_files_cut_short),
        TEST(test_files_missing_exchanged_foreign),
        TEST(test_misdirected_writes),
        TEST(test_an_unreadable_end_comes_back),
    };
    crypto_init();
    log_setup(LOG_ERROR + 1, false); /* damage is reported thousands of times */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
