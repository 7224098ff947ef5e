/* storage/log.h on a healthy disk: batches, reading, truncating, compacting, reopening. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "crypto/random.h"
#include "storage/log.h"
#include "tests/lib/dies.h"
#include "tests/lib/folder.h"
#include "tests/lib/log_model.h"
#include "tests/lib/trace.h"
#include "tests/lib/unit.h"

static char folder[FOLDER_PATH];
static struct log *log_now;

static struct log *open_log(uint32_t segment_size)
{
    struct log_options o = model_options(folder, NULL);
    struct log *log = NULL;
    struct failure failure = {0};
    o.segment_size = segment_size;
    if (log_open(&log, &o, &failure) != OK) print_message("%s\n", failure.text);
    assert_non_null(log);
    return log;
}

static int setup(void **state)
{
    (void)state;
    folder_make(folder, 1);
    log_now = open_log(64 * KIB);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    log_close(log_now);
    folder_remove(folder);
    return 0;
}

static void reopen(void)
{
    log_close(log_now);
    log_now = open_log(64 * KIB);
}

static enum err append(uint64_t index, uint64_t term, const char *text)
{
    struct log_entry e = {.index = index, .term = term, .kind = 7, .payload = bytes_text(text)};
    return log_append(log_now, &e, 1);
}

static void expect(uint64_t index, uint64_t term, const char *text)
{
    struct buffer out = {0};
    struct log_entry e;
    size_t count;
    assert_int_equal(log_read(log_now, &out, &e, &count, 1, index, 1), OK);
    assert_int_equal(e.index, index);
    assert_int_equal(e.term, term);
    assert_int_equal(e.kind, 7);
    assert_true(bytes_equal(e.payload, bytes_text(text)));
    buffer_free(&out);
}

static struct log_status status(void)
{
    struct log_status s;
    log_status(log_now, &s);
    return s;
}

static void expect_healthy(void)
{
    struct log_status s = status();
    uint64_t first, last;
    assert_int_equal(s.damaged, 0);
    assert_false(s.state_damaged || s.tail_damaged || s.snapshot_damaged);
    assert_int_equal(s.torn, 0);
    assert_int_equal(log_damage(log_now, &first, &last, 0), ERR_NOT_FOUND);
}

static void test_new_log_is_empty(void **state)
{
    uint64_t term = 9;
    struct buffer out = {0};
    struct log_entry e;
    size_t count;
    (void)state;
    for (int i = 0; i < 3; i++) {
        struct log_status s = status();
        assert_int_equal(s.first, 1);
        assert_int_equal(s.last, 0);
        assert_int_equal(s.term, 0);
        assert_int_equal(log_term(log_now, &term, 0), OK);
        assert_int_equal(term, 0);
        assert_int_equal(log_term(log_now, &term, 1), ERR_NOT_FOUND);
        assert_int_equal(log_read(log_now, &out, &e, &count, 1, 1, 1000), ERR_NOT_FOUND);
        assert_int_equal(log_snapshot(log_now, &term, &term, &out, &out), ERR_NOT_FOUND);
        assert_int_equal(log_sync(log_now), OK);
        expect_healthy();
        reopen();
    }
}

static void test_nothing_shows_before_sync(void **state)
{
    (void)state;
    assert_int_equal(append(1, 1, "one"), OK);
    assert_int_equal(log_set_vote(log_now, 4, 2), OK);
    assert_int_equal(status().last, 0);
    assert_int_equal(status().term, 0);
    assert_true(log_staged(log_now) > 0);
    assert_int_equal(log_sync(log_now), OK);
    assert_int_equal(log_staged(log_now), 0);
    assert_int_equal(status().last, 1);
    assert_int_equal(status().term, 4);
    assert_int_equal(status().vote, 2);
    expect(1, 1, "one");
}

static void test_unsynced_is_not_kept(void **state)
{
    (void)state;
    append(1, 1, "one");
    assert_int_equal(log_sync(log_now), OK);
    append(2, 1, "two");
    log_set_vote(log_now, 9, 1);
    reopen();
    assert_int_equal(status().last, 1);
    assert_int_equal(status().term, 0);
    expect_healthy();
}

static void test_reopens_with_everything(void **state)
{
    struct log_cosigned mark = {.index = 2, .size = 20, .root = {{1, 2, 3}}};
    (void)state;
    append(1, 1, "one");
    append(2, 1, "");
    assert_int_equal(log_set_vote(log_now, 3, 5), OK);
    assert_int_equal(log_sync(log_now), OK);
    append(3, 3, "three");
    assert_int_equal(log_set_cosigned(log_now, &mark), OK);
    assert_int_equal(log_sync(log_now), OK);
    for (int i = 0; i < 3; i++) {
        reopen();
        struct log_status s = status();
        assert_int_equal(s.last, 3);
        assert_int_equal(s.last_term, 3);
        assert_int_equal(s.term, 3);
        assert_int_equal(s.vote, 5);
        assert_int_equal(s.cosigned.index, 2);
        assert_int_equal(s.cosigned.size, 20);
        assert_true(digest_equal(&s.cosigned.root, &mark.root));
        expect(1, 1, "one");
        expect(2, 1, "");
        expect(3, 3, "three");
        expect_healthy();
    }
}

static void test_truncates_and_goes_on(void **state)
{
    (void)state;
    for (uint64_t i = 1; i <= 5; i++) append(i, 1, "old");
    log_sync(log_now);
    assert_int_equal(log_truncate(log_now, 3), OK);
    assert_int_equal(status().last, 5);
    append(3, 2, "new");
    assert_int_equal(log_truncate(log_now, 9), OK); /* beyond the end: nothing */
    assert_int_equal(log_sync(log_now), OK);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(status().last, 3);
        assert_int_equal(status().last_term, 2);
        expect(2, 1, "old");
        expect(3, 2, "new");
        expect_healthy();
        reopen();
    }
}

static void test_marks_cannot_go_back(void **state)
{
    struct log_cosigned mark = {.index = 2, .size = 20}, other;
    (void)state;
    for (uint64_t i = 1; i <= 4; i++) append(i, 1, "block");
    assert_int_equal(log_set_cosigned(log_now, &mark), OK);
    assert_int_equal(log_truncate(log_now, 2), ERR_CONFLICT); /* also before the sync */
    assert_int_equal(log_sync(log_now), OK);
    assert_int_equal(log_truncate(log_now, 1), ERR_CONFLICT);
    other = (struct log_cosigned){.index = 1, .size = 20};
    assert_int_equal(log_set_cosigned(log_now, &other), ERR_CONFLICT);
    other = (struct log_cosigned){.index = 2, .size = 19};
    assert_int_equal(log_set_cosigned(log_now, &other), ERR_CONFLICT);
    other = (struct log_cosigned){.index = 3, .size = 20, .root = {{1}}};
    assert_int_equal(log_set_cosigned(log_now, &other), ERR_CONFLICT);
    assert_int_equal(log_set_cosigned(log_now, &mark), OK); /* the same again */
    reopen();
    assert_int_equal(log_truncate(log_now, 2), ERR_CONFLICT);
    assert_int_equal(log_truncate(log_now, 3), OK);
}

static void lower_term(void) { log_set_vote(log_now, 4, 0); }
static void second_vote(void) { log_set_vote(log_now, 5, 2); }
static void gap(void) { append(3, 1, "gap"); }

static void test_misuse_ends_the_process(void **state)
{
    (void)state;
    log_set_vote(log_now, 5, 1);
    append(1, 1, "one");
    assert_true(dies(lower_term));
    assert_true(dies(second_vote));
    assert_true(dies(gap));
}

static void test_compacts(void **state)
{
    struct buffer config = {0}, manifest = {0};
    uint64_t index, term;
    (void)state;
    for (uint64_t i = 1; i <= 10; i++) append(i, i < 5 ? 1 : 2, "block");
    log_sync(log_now);
    assert_int_equal(log_compact(log_now, 6, 2, bytes_text("c"), bytes_text("manifest")), OK);
    assert_int_equal(log_compact(log_now, 5, 2, bytes_text("c"), bytes_text("m")), ERR_CONFLICT);
    assert_int_equal(log_truncate(log_now, 6), ERR_CONFLICT);
    assert_int_equal(log_sync(log_now), OK);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(status().first, 7);
        assert_int_equal(status().last, 10);
        assert_int_equal(status().compact_index, 6);
        assert_int_equal(log_term(log_now, &term, 5), ERR_NOT_FOUND);
        assert_int_equal(log_term(log_now, &term, 6), OK);
        assert_int_equal(term, 2);
        expect(7, 2, "block");
        buffer_clear(&config);
        buffer_clear(&manifest);
        assert_int_equal(log_snapshot(log_now, &index, &term, &config, &manifest), OK);
        assert_int_equal(index, 6);
        assert_true(bytes_equal(buffer_bytes(&manifest), bytes_text("manifest")));
        expect_healthy();
        reopen();
    }
    buffer_free(&config);
    buffer_free(&manifest);
}

static void test_compacts_beyond_the_end(void **state)
{
    (void)state;
    for (uint64_t i = 1; i <= 3; i++) append(i, 1, "block");
    assert_int_equal(log_compact(log_now, 100, 7, (struct bytes){0}, (struct bytes){0}), OK);
    append(101, 8, "after");
    assert_int_equal(log_sync(log_now), OK);
    reopen();
    assert_int_equal(status().first, 101);
    assert_int_equal(status().last, 101);
    assert_int_equal(status().compact_term, 7);
    expect(101, 8, "after");
    expect_healthy();
}

static unsigned files_in_folder(void)
{
    char command[FOLDER_PATH + 64], answer[32] = "0";
    snprintf(command, sizeof command, "ls %s | grep -c seg", folder);
    FILE *p = popen(command, "r");
    assert_non_null(fgets(answer, sizeof answer, p));
    pclose(p);
    return (unsigned)atoi(answer);
}

/* Old segments go away, the next one is ready, and their number stays small for ever. */
static void test_segments_are_removed_and_used_again(void **state)
{
    char text[2000];
    (void)state;
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    for (uint64_t i = 1; i <= 1000; i++) {
        assert_int_equal(append(i, 1, text), OK);
        if (i % 10 == 0) assert_int_equal(log_compact(log_now, i - 5, 1, bytes_text("c"), bytes_text("m")), OK);
        if (i % 5 == 0) assert_int_equal(log_sync(log_now), OK);
        if (i % 20 == 0) assert_int_equal(log_idle(log_now, NULL), OK);
    }
    assert_true(status().segments <= 2);
    assert_true(files_in_folder() <= 3);
    reopen();
    assert_int_equal(status().first, 996);
    assert_int_equal(status().last, 1000);
    expect(1000, 1, text);
    expect_healthy();
}

/* Blocks that nothing compacts stay readable over many segments. */
static void test_reads_over_segments(void **state)
{
    struct log_entry entries[64];
    struct buffer out = {0};
    struct model m;
    size_t count;
    (void)state;
    model_start(&m, log_now, 1);
    for (int i = 0; i < 40; i++) {
        assert_int_equal(model_append(&m, 5), OK);
        if (i % 3 == 0) assert_int_equal(model_sync(&m), OK);
    }
    assert_int_equal(model_sync(&m), OK);
    assert_true(status().segments > 3);
    reopen();
    assert_true(model_blocks_equal(log_now, &m, &m.steps[m.count - 1]));
    for (uint64_t from = 1; from <= 200; from += count) {
        buffer_clear(&out);
        assert_int_equal(log_read(log_now, &out, entries, &count, 64, from, 50000), OK);
        assert_in_range(count, 1, 64);
        assert_true(out.size <= 50000 + 4000);
        for (size_t i = 0; i < count; i++) {
            struct buffer expected = model_payload(&m, m.steps[m.count - 1].blocks[from + i - 1].content);
            assert_int_equal(entries[i].index, from + i);
            assert_true(bytes_equal(entries[i].payload, buffer_bytes(&expected)));
            buffer_free(&expected);
        }
    }
    buffer_clear(&out);
    assert_int_equal(log_read(log_now, &out, entries, &count, 64, 198, 1 << 20), OK);
    assert_int_equal(count, 3);
    buffer_free(&out);
    model_free(&m);
}

/* The largest block, full-size segments, and one batch larger than a segment. */
static void test_largest_blocks(void **state)
{
    struct bytes payload;
    struct log_entry e, back;
    struct buffer out = {0};
    size_t count;
    uint8_t *data = malloc(LIMIT_BLOCK);
    (void)state;
    memset(data, 0x5a, LIMIT_BLOCK);
    payload = bytes_of(data, LIMIT_BLOCK);
    log_close(log_now);
    log_now = open_log(0);
    for (uint64_t i = 1; i <= 5; i++) {
        e = (struct log_entry){.index = i, .term = i, .payload = payload};
        assert_int_equal(log_append(log_now, &e, 1), OK);
    }
    assert_int_equal(log_sync(log_now), OK);
    log_close(log_now);
    log_now = open_log(0);
    for (uint64_t i = 1; i <= 5; i++) {
        buffer_clear(&out);
        assert_int_equal(log_read(log_now, &out, &back, &count, 1, i, 1), OK);
        assert_true(bytes_equal(back.payload, payload));
    }
    expect_healthy();
    buffer_free(&out);
    free(data);
}

static void test_random_against_the_model(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 30; seed++) {
        struct model m;
        folder_remove(folder);
        assert_int_equal(mkdir(folder, 0700), 0);
        log_close(log_now);
        log_now = open_log(64 * KIB);
        model_start(&m, log_now, seed);
        for (int i = 0; i < 300 && m.count < MODEL_STEPS - 10; i++) {
            assert_int_equal(model_step(&m), OK);
            if (i % 50 != 49) continue;
            assert_int_equal(model_sync(&m), OK);
            reopen();
            m.log = log_now;
            expect_healthy();
            if (!model_explains(&m, log_now, m.count - 1, m.count - 1)) {
                print_message("seed %llu step %d\n", (unsigned long long)seed, i);
                fail_test();
            }
        }
        model_free(&m);
    }
}

static void test_in_use_wrong_key_wrong_name(void **state)
{
    struct log_options o = model_options(folder, NULL);
    struct seal_key other = model_key;
    struct log *second = NULL;
    struct failure failure;
    (void)state;
    assert_int_equal(log_open(&second, &o, &failure), ERR_IN_USE);
    assert_non_null(strstr(failure.text, "is held by process"));
    log_close(log_now);
    log_now = NULL;
    other.bytes[0] ^= 1;
    o.key = &other;
    assert_int_equal(log_open(&second, &o, &failure), ERR_DECRYPT);
    assert_non_null(strstr(failure.text, "another storage key"));
    o.key = &model_key;
    o.name = "other";
    assert_int_equal(log_open(&second, &o, &failure), ERR_DECRYPT);
    o.directory = "/proc/nonexistent";
    assert_int_not_equal(log_open(&second, &o, &failure), OK);
    assert_null(second);
}

/* --- reading while it is written --- */

static atomic_bool writing;
static atomic_uint blocks_read;

static void *reader(void *data)
{
    const struct model *m = data;
    struct log_entry entries[16];
    struct buffer out = {0};
    uint64_t seed = 7;
    while (atomic_load(&writing)) {
        struct log_status s;
        size_t count = 0;
        log_status(log_now, &s);
        buffer_clear(&out);
        if (s.last < s.first) continue;
        enum err code = log_read(log_now, &out, entries, &count, 16,
                                 s.first + trace_random(&seed) % (s.last + 1 - s.first), 30000);
        CHECK(code == OK || code == ERR_NOT_FOUND);
        for (size_t i = 0; i < count; i++) {
            struct buffer expected = model_payload(m, get_be64(entries[i].payload.data));
            CHECK(bytes_equal(entries[i].payload, buffer_bytes(&expected)));
            buffer_free(&expected);
        }
        atomic_fetch_add(&blocks_read, (unsigned)count);
    }
    buffer_free(&out);
    return NULL;
}

static void test_reads_beside_writes(void **state)
{
    pthread_t threads[2];
    struct model m;
    (void)state;
    model_start(&m, log_now, 99);
    model_append(&m, 3);
    model_sync(&m);
    atomic_store(&writing, true);
    for (int i = 0; i < 2; i++) assert_int_equal(pthread_create(&threads[i], NULL, reader, &m), 0);
    while (atomic_load(&blocks_read) < 20000) {
        if (m.count > MODEL_STEPS - 10) model_adopt_last(&m);
        assert_int_equal(model_step(&m), OK);
    }
    atomic_store(&writing, false);
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    expect_healthy();
    model_free(&m);
}

/* --- dumps --- */

struct seen {
    unsigned count[6], damaged;
    uint64_t last_batch;
};

static bool see(void *data, const struct log_record *r)
{
    struct seen *s = data;
    if (r->damaged) {
        s->damaged++;
        return true;
    }
    s->count[r->type]++;
    assert_true(r->batch >= s->last_batch);
    s->last_batch = r->batch;
    if (r->type == LOG_BLOCK) assert_true(bytes_equal(r->payload, bytes_text("block")));
    if (r->type == LOG_COMPACT) assert_true(bytes_equal(r->manifest, bytes_text("manifest")));
    return true;
}

static void test_visits_every_record(void **state)
{
    struct log_options o = model_options(folder, NULL);
    struct seen seen = {0};
    struct failure failure;
    (void)state;
    for (uint64_t i = 1; i <= 6; i++) append(i, 1, "block");
    log_truncate(log_now, 6);
    log_compact(log_now, 2, 1, bytes_text("c"), bytes_text("manifest"));
    log_set_vote(log_now, 2, 1);
    log_sync(log_now);
    assert_int_equal(log_visit(&o, see, &seen, &failure), OK); /* beside the owner */
    assert_int_equal(seen.count[LOG_BLOCK], 6);
    assert_int_equal(seen.count[LOG_TRUNCATE], 1);
    assert_int_equal(seen.count[LOG_COMPACT], 1);
    assert_int_equal(seen.count[LOG_STATE], 1);
    assert_int_equal(seen.damaged, 0);
    assert_string_equal(log_record_name(LOG_BLOCK), "block");
}

/* ---- at the limit ---- */

#define SEGMENTS 8

static void reopen_limited(void)
{
    struct log_options o = model_options(folder, NULL);
    log_close(log_now);
    o.segment_size = 64 * KIB;
    o.segment_limit = SEGMENTS;
    assert_int_equal(log_open(&log_now, &o, NULL), OK);
}

static enum err append_until(unsigned filled, uint64_t *index)
{
    static char text[12 * KIB];
    enum err code = OK;
    memset(text, 'x', sizeof text - 1);
    while (status().filled < filled && code == OK) {
        code = append((*index)++, 1, text);
        if (code == OK) code = log_sync(log_now);
    }
    return code;
}

static void expect_room_again(uint64_t *index)
{
    struct log_status before = status();
    assert_int_equal(log_compact(log_now, before.last, 1, bytes_text("members"), bytes_text("state")), OK);
    assert_int_equal(log_sync(log_now), OK);
    assert_true(status().filled <= 2000 / SEGMENTS);
    *index = before.last + 1;
    assert_int_equal(append(*index, 1, "goes on"), OK);
    assert_int_equal(log_sync(log_now), OK);
    reopen_limited();
    expect((*index)++, 1, "goes on");
    expect_healthy();
}

static void test_at_its_limit_it_opens_and_compacts(void **state)
{
    (void)state;
    uint64_t index = 1;
    reopen_limited();
    assert_int_equal(append_until(1000, &index), OK);
    assert_int_equal(status().segments, SEGMENTS);
    for (uint64_t term = 2; term < 1500; term++) { /* more than one segment of votes */
        assert_int_equal(log_set_vote(log_now, term, 1), OK);
        assert_int_equal(log_sync(log_now), OK);
    }
    assert_true(status().segments > SEGMENTS);
    reopen_limited();
    assert_true(status().filled >= 1000);
    assert_int_equal(status().last, index - 1);
    expect_room_again(&index);
    /* With the reserve gone as well. */
    assert_int_equal(append_until(UINT32_MAX, &index), ERR_LOG_FULL);
    assert_int_equal(log_set_vote(log_now, 1 << 30, 1), ERR_LOG_FULL);
    reopen_limited();
    assert_true(status().segments > SEGMENTS);
    expect_room_again(&index);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_new_log_is_empty),
        TEST(test_nothing_shows_before_sync),
        TEST(test_unsynced_is_not_kept),
        TEST(test_reopens_with_everything),
        TEST(test_truncates_and_goes_on),
        TEST(test_marks_cannot_go_back),
        TEST(test_misuse_ends_the_process),
        TEST(test_compacts),
        TEST(test_compacts_beyond_the_end),
        TEST(test_segments_are_removed_and_used_again),
        TEST(test_reads_over_segments),
        TEST(test_largest_blocks),
        TEST(test_random_against_the_model),
        TEST(test_in_use_wrong_key_wrong_name),
        TEST(test_reads_beside_writes),
        TEST(test_visits_every_record),
        TEST(test_at_its_limit_it_opens_and_compacts),
    };
    crypto_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
