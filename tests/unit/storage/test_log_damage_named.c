/* Damage of a log whose place is known: what is said of it, exactly, and how it is made good
 * again. */
#include <stdlib.h>

#include "tests/lib/fault.h"
#include "tests/lib/trace.h"
#include "tests/unit/storage/bed_log_damage.h"

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

/* A leader's other block comes, and then the damaged one that was asked for before, in one batch. */
static void test_a_repair_behind_a_truncation_is_refused(void **state)
{
    struct sample s = plain_sample(20);
    struct search block = find_record(LOG_BLOCK, 20);
    struct log_entry old = {.index = 20, .kind = 1, .payload = bytes_text("the old one")},
                     new = {.index = 20, .kind = 1, .payload = bytes_text("the new one")}, found;
    struct buffer out = {0};
    size_t count;
    (void)state;
    s.files[0].data[block.offset + 100] ^= 4;
    put_files(&s, -1);
    struct log *log = open_log();
    assert_int_equal(status(log).damaged, 1);
    assert_int_equal(log_term(log, &old.term, 20), OK);
    new.term = old.term + 1;
    assert_int_equal(log_truncate(log, 20), OK);
    assert_int_equal(log_append(log, &new, 1), OK);
    assert_int_equal(log_repair(log, &old), ERR_NOT_FOUND);
    assert_int_equal(log_sync(log), OK);
    for (int i = 0; i < 2; i++) {
        buffer_clear(&out);
        assert_int_equal(log_read(log, &out, &found, &count, 1, 20, 1), OK);
        assert_true(found.term == new.term && bytes_equal(found.payload, new.payload));
        log_close(log);
        log = open_log();
    }
    buffer_free(&out);
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

/* What the caller found out: noted over lives, each of which begins a segment, and compactions. */
static void test_forgotten_votes_stay_until_recovered(void **state)
{
    struct sample s = plain_sample(6);
    (void)state;
    put_files(&s, -1);
    for (int i = 0; i < 3; i++) {
        struct log *log = open_log();
        assert_int_equal(status(log).votes_forgotten, i > 0);
        assert_false(status(log).state_damaged || status(log).tail_damaged);
        if (i == 0) assert_int_equal(log_set_forgotten(log), OK);
        if (i == 1) assert_int_equal(log_compact(log, 99, 60, (struct bytes){0}, (struct bytes){0}), OK);
        if (i == 2) assert_int_equal(log_set_recovered(log), OK);
        assert_int_equal(log_sync(log), OK);
        assert_int_equal(status(log).votes_forgotten, i < 2);
        log_close(log);
    }
    struct log *log = open_log();
    assert_false(status(log).votes_forgotten);
    log_close(log);
    free_sample(&s);
}

/* What a later record says again is lost by no damage; yet the device is to be looked at, and opening says so each time. */
static void test_damage_of_what_is_said_again_is_counted(void **state)
{
    struct sample s = plain_sample(6);
    struct search old = find_record(LOG_STATE, 3);
    (void)state;
    for (uint32_t at = old.offset; at < old.offset + old.size; at++) {
        s.files[0].data[at] ^= 0x10;
        put_files(&s, -1);
        expect_right(&s, "an old state", 0, at);
        for (int life = 0; life < 2; life++) {
            struct log *log = open_log();
            struct log_status st = status(log);
            assert_true(st.unreadable == 1 && st.last == 6 && st.damaged == 0 && st.torn == 0);
            assert_false(st.state_damaged || st.tail_damaged);
            log_close(log);
        }
        s.files[0].data[at] ^= 0x10;
    }
    put_files(&s, -1);
    struct log *log = open_log();
    assert_int_equal(status(log).unreadable, 0);
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

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, bed_open, bed_close)
    const struct CMUnitTest tests[] = {
        TEST(test_one_block_is_named_and_repaired),
        TEST(test_a_repair_behind_a_truncation_is_refused),
        TEST(test_a_range_is_named_and_repaired),
        TEST(test_truncation_ends_damage),
        TEST(test_a_lost_truncation_is_not_forgotten),
        TEST(test_doubt_stays_until_recovered),
        TEST(test_forgotten_votes_stay_until_recovered),
        TEST(test_damage_of_what_is_said_again_is_counted),
        TEST(test_damage_at_the_end_is_not_a_torn_tail),
        TEST(test_a_cut_keeps_what_it_proved),
        TEST(test_compaction_survives_in_a_later_head),
        TEST(test_bad_seal_is_found_when_read),
        TEST(test_an_unreadable_end_comes_back),
    };
    bed_begin();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
