/* The log through power cuts and kills: a random workload on a disk that records
 * everything, then the power fails after each single operation, and the log must
 * open with all that was acknowledged, with nothing invented, and go on.
 *
 * Repeat a failure with SEED=n (printed). */
#include <stdio.h>
#include <stdlib.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "crypto/random.h"
#include "storage/log_format.h"
#include "tests/lib/folder.h"
#include "tests/lib/log_model.h"
#include "tests/lib/trace.h"
#include "tests/lib/unit.h"

static const enum trace_loss losses[] = {TRACE_LOSE_ALL, TRACE_KEEP_ALL, TRACE_LOSE_RANDOM, TRACE_LOSE_RANDOM,
                                         TRACE_LOSE_TAIL};
#define LOSSES (sizeof losses / sizeof *losses)

static uint64_t first_seed(void)
{
    const char *text = getenv("SEED");
    uint64_t seed = text ? strtoull(text, NULL, 10) : 0;
    return seed;
}

/* What was acknowledged, and what had begun, when the disk had done so many operations. */
struct moment {
    size_t length, durable, issued;
};

struct run {
    char folder[FOLDER_PATH];
    struct trace *trace;
    struct model model;
    struct moment *moments;
    size_t count;
};

static struct log *open_in(const char *folder, const struct disk *disk)
{
    struct log_options o = model_options(folder, disk);
    struct log *log = NULL;
    struct failure failure = {0};
    if (log_open(&log, &o, &failure) != OK) print_message("%s\n", failure.text);
    return log;
}

static void note_moment(struct run *r)
{
    r->moments[r->count++] = (struct moment){trace_length(r->trace), r->model.durable, r->model.count - 1};
}

#define STEPS 160

static void record_run(struct run *r, uint64_t seed)
{
    folder_make(r->folder, 1);
    r->trace = trace_start(r->folder);
    r->moments = calloc(STEPS + 1, sizeof *r->moments);
    r->count = 0;
    struct log *log = open_in(r->folder, trace_disk(r->trace));
    assert_non_null(log);
    model_start(&r->model, log, seed);
    r->model.largest = seed % 3 == 0 ? 200 : 4000;
    note_moment(r);
    for (int i = 0; i < STEPS; i++) {
        assert_int_equal(model_step(&r->model), OK);
        note_moment(r);
    }
    log_close(log);
}

static void end_run(struct run *r)
{
    model_free(&r->model);
    trace_free(r->trace);
    folder_remove(r->folder);
    free(r->moments);
}

/* Of a crash after `length` operations: acknowledged is what was when the last step
 * that had ended by then ended; begun may be the step after it too. */
static void window(const struct run *r, size_t length, size_t *durable, size_t *issued)
{
    size_t k = 0;
    while (k + 1 < r->count && r->moments[k + 1].length <= length) k++;
    *durable = r->moments[k].durable;
    *issued = k + 1 < r->count ? r->moments[k + 1].issued : r->moments[k].issued;
}

static bool healthy(struct log *log)
{
    struct log_status s;
    log_status(log, &s);
    if (!s.damaged && !s.state_damaged && !s.tail_damaged && !s.snapshot_damaged) return true;
    print_message("damaged %llu state %d tail %d snapshot %d last %llu\n", (unsigned long long)s.damaged,
                  s.state_damaged, s.tail_damaged, s.snapshot_damaged, (unsigned long long)s.last);
    return false;
}

/* After the crash the log must be whole, explained by the model, and usable: a few
 * more steps, a clean end, and all is there again. */
static bool check_folder(const struct run *r, const char *folder, size_t durable, size_t issued)
{
    struct log *log = open_in(folder, NULL);
    if (!log) return false;
    bool good = healthy(log) && model_explains(&r->model, log, durable, issued);
    if (!good) {
        log_close(log);
        return false;
    }
    struct model after = r->model;
    after.steps = calloc(MODEL_STEPS, sizeof *after.steps);
    memcpy(after.steps, r->model.steps, r->model.count * sizeof *after.steps);
    model_adopt(&after, log);
    for (int i = 0; i < 6 && good; i++) good = model_step(&after) == OK;
    good = good && model_sync(&after) == OK;
    log_close(log);
    log = good ? open_in(folder, NULL) : NULL;
    good = log && healthy(log) && model_explains(&after, log, after.count - 1, after.count - 1);
    log_close(log);
    free(after.steps);
    return good;
}

static bool crash_once(const struct run *r, size_t length, enum trace_loss loss, uint64_t *seed)
{
    char folder[FOLDER_PATH];
    size_t durable, issued;
    folder_make(folder, 1);
    trace_crash(r->trace, folder, length, loss, seed);
    window(r, length, &durable, &issued);
    bool good = check_folder(r, folder, durable, issued);
    folder_remove(folder);
    return good;
}

/* What is lost depends on seed and place alone, so that SEED= finds it again. */
static void crash_everywhere(uint64_t seed, size_t step)
{
    struct run r;
    record_run(&r, seed);
    size_t length = r.moments[0].length; /* from when the log had been made */
    for (; length <= trace_length(r.trace); length += step)
        for (size_t i = 0; i < LOSSES; i++) {
            uint64_t random = seed + length * LOSSES + i;
            if (!crash_once(&r, length, losses[i], &random)) {
                print_message("SEED=%llu, after operation %zu of %zu, loss %d\n", (unsigned long long)seed, length,
                              trace_length(r.trace), losses[i]);
                fail_test();
            }
        }
    end_run(&r);
}

static void test_power_cut_after_each_operation(void **state)
{
    (void)state;
    if (first_seed())
        crash_everywhere(first_seed(), 1);
    else
        for (uint64_t seed = 1; seed <= 4; seed++) crash_everywhere(seed, 1);
}

static void test_power_cuts_with_fresh_seeds(void **state)
{
    uint64_t seed;
    (void)state;
    for (int i = 0; i < 6; i++) {
        random_bytes(&seed, sizeof seed);
        crash_everywhere(seed % 1000000 + 1, 7);
    }
}

/* While the log is being made there is nothing to lose, but it must open. */
static void test_power_cut_while_the_log_is_made(void **state)
{
    struct run r;
    uint64_t random = 3;
    (void)state;
    record_run(&r, 5);
    for (size_t length = 0; length <= r.moments[0].length; length++)
        for (size_t i = 0; i < LOSSES; i++) {
            char folder[FOLDER_PATH];
            folder_make(folder, 1);
            trace_crash(r.trace, folder, length, losses[i], &random);
            struct log *log = open_in(folder, NULL);
            assert_non_null(log);
            assert_true(healthy(log));
            log_close(log);
            folder_remove(folder);
        }
    end_run(&r);
}

/* The power fails again while the log is being opened after a cut. */
static bool crash_twice(const struct run *r, size_t length, uint64_t *seed)
{
    char once[FOLDER_PATH], twice[FOLDER_PATH];
    size_t durable, issued;
    bool good = true;
    folder_make(once, 1);
    trace_crash(r->trace, once, length, TRACE_LOSE_RANDOM, seed);
    window(r, length, &durable, &issued);
    struct trace *second = trace_start(once);
    log_close(open_in(once, trace_disk(second)));
    for (size_t at = 0; at <= trace_length(second) && good; at++) {
        folder_make(twice, 1);
        trace_crash(second, twice, at, TRACE_LOSE_RANDOM, seed);
        good = check_folder(r, twice, durable, issued);
        folder_remove(twice);
    }
    trace_free(second);
    folder_remove(once);
    return good;
}

static void test_power_cut_during_recovery(void **state)
{
    struct run r;
    uint64_t random = 11;
    (void)state;
    for (uint64_t seed = 20; seed < 22; seed++) {
        record_run(&r, seed);
        for (size_t length = r.moments[0].length; length <= trace_length(r.trace); length += 5)
            if (!crash_twice(&r, length, &random)) {
                print_message("seed %llu, after operation %zu\n", (unsigned long long)seed, length);
                fail_test();
            }
        end_run(&r);
    }
}

/* Cuts the power with the log open, losing all that is not synced; the last block
 * that is then there. */
static uint64_t last_after_cut(const struct run *r)
{
    char left[FOLDER_PATH];
    struct log_status after;
    uint64_t random = 5;
    folder_make(left, 1);
    trace_crash(r->trace, left, trace_length(r->trace), TRACE_LOSE_ALL, &random);
    struct log *log = open_in(left, NULL);
    assert_non_null(log);
    log_status(log, &after);
    assert_true(healthy(log));
    log_close(log);
    folder_remove(left);
    return after.last;
}

static enum err append_synced(struct log *log, struct log_status *st)
{
    log_status(log, st);
    struct log_entry e = {.index = st->last + 1, .term = 1000, .payload = bytes_text("one more")};
    enum err code = log_append(log, &e, 1);
    if (code == OK) code = log_sync(log);
    log_status(log, st);
    return code;
}

/* Appends until the log goes over to the next segment. */
static void append_over(struct log *log, struct log_status *st)
{
    uint32_t before;
    do {
        log_status(log, st);
        before = st->segments;
        assert_int_equal(append_synced(log, st), OK);
    } while (st->segments == before);
}

/* What a killed process left written but not synced is read at the next opening:
 * from then on it counts as durable, so it has to be. */
static void test_what_opening_shows_is_durable(void **state)
{
    struct log_status seen;
    struct run r;
    (void)state;
    record_run(&r, 31);
    struct log *log = open_in(r.folder, trace_disk(r.trace));
    trace_fail_syncs(r.trace, 1, 0);
    assert_int_equal(append_synced(log, &seen), ERR_IO);
    log_close(log);
    trace_fail_syncs(r.trace, 0, 0);
    log = open_in(r.folder, trace_disk(r.trace));
    log_status(log, &seen);
    assert_int_equal(seen.last_term, 1000);
    assert_int_equal(last_after_cut(&r), seen.last);
    log_close(log);
    end_run(&r);
}

/* The same for the name of a segment that was prepared, but not synced. */
static void test_names_are_durable_before_they_are_used(void **state)
{
    struct log_status seen;
    bool more = true;
    struct run r;
    (void)state;
    record_run(&r, 31);
    struct log *log = open_in(r.folder, trace_disk(r.trace));
    append_over(log, &seen);
    trace_fail_syncs(r.trace, 0, 1);
    while (log_idle(log, &more) == OK) assert_true(more);
    trace_fail_syncs(r.trace, 0, 0);
    log_close(log);
    log = open_in(r.folder, trace_disk(r.trace));
    append_over(log, &seen);
    assert_int_equal(last_after_cut(&r), seen.last);
    log_close(log);
    end_run(&r);
}

/* So many blocks of one size, in one batch. */
static void append_batch(struct log *log, size_t count, uint32_t size)
{
    struct log_status st;
    uint8_t payload[32 * KIB] = {0};
    log_status(log, &st);
    for (size_t i = 0; i < count; i++) {
        struct log_entry e = {.index = st.last + 1 + i, .term = 1, .payload = bytes_of(payload, size)};
        assert_int_equal(log_append(log, &e, 1), OK);
    }
    assert_int_equal(log_sync(log), OK);
}

static void open_after_cut(const struct run *r, size_t length, uint64_t *random)
{
    char left[FOLDER_PATH];
    folder_make(left, 1);
    trace_crash(r->trace, left, length, TRACE_LOSE_RANDOM, random);
    struct log *log = open_in(left, NULL);
    assert_non_null(log);
    assert_true(healthy(log));
    log_close(log);
    folder_remove(left);
}

/* The note that the last batch is durable is written without a sync. If the next
 * block doesn't fit behind it, the next batch stands in another file: what is left of
 * that must not prove a note durable that can still be torn. Sizes move the note over
 * the borders of sectors. */
static void test_a_note_before_the_next_segment(void **state)
{
    uint64_t random = 7;
    (void)state;
    for (uint32_t size = 30000; size < 30000 + LOG_SECTOR; size += 64) {
        struct run r = {0};
        folder_make(r.folder, 1);
        r.trace = trace_start(r.folder);
        struct log *log = open_in(r.folder, trace_disk(r.trace));
        append_batch(log, 1, size);
        assert_int_equal(log_idle(log, NULL), OK);
        size_t length = trace_length(r.trace);
        append_batch(log, 2, 27000);
        for (; length <= trace_length(r.trace); length++)
            for (int i = 0; i < 16; i++) open_after_cut(&r, length, &random);
        log_close(log);
        trace_free(r.trace);
        folder_remove(r.folder);
    }
}

/* --- kill -9 of a real process --- */

/* Writes blocks for ever, telling each acknowledged index through the pipe. */
static _Noreturn void writer(const char *folder, int pipe)
{
    struct model m = {.largest = 20000};
    struct log *log = open_in(folder, NULL);
    struct log_status s;
    if (!log) _exit(1);
    log_status(log, &s);
    for (uint64_t i = s.last + 1;; i++) {
        struct buffer payload = model_payload(&m, i);
        struct log_entry e = {.index = i, .term = 1, .payload = buffer_bytes(&payload)};
        if (log_append(log, &e, 1) != OK || log_sync(log) != OK) _exit(1);
        if (i > 100 && i % 50 == 0) log_compact(log, i - 60, 1, bytes_text("c"), bytes_text("m"));
        if (i % 7 == 0) log_idle(log, NULL);
        if (write(pipe, &i, sizeof i) != sizeof i) _exit(1);
        buffer_free(&payload);
    }
}

static uint64_t run_and_kill(const char *folder, useconds_t after)
{
    int ends[2];
    uint64_t last = 0, index;
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) writer(folder, ends[1]);
    close(ends[1]);
    usleep(after);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    while (read(ends[0], &index, sizeof index) == sizeof index) last = index;
    close(ends[0]);
    return last;
}

static void test_kill_9(void **state)
{
    char folder[FOLDER_PATH];
    struct model m = {.largest = 20000};
    uint64_t acknowledged = 0, seed = 1;
    (void)state;
    folder_make(folder, 1);
    for (int i = 0; i < 40 || (acknowledged == 0 && i < 400); i++) { /* longer lives where the machine is slow */
        uint64_t told = run_and_kill(folder, (2000 + trace_random(&seed) % 20000) * (1 + i / 20));
        if (told > acknowledged) acknowledged = told;
        struct log *log = open_in(folder, NULL);
        assert_non_null(log);
        assert_true(healthy(log));
        struct log_status s;
        log_status(log, &s);
        assert_true(s.last >= acknowledged && s.last <= acknowledged + 1);
        acknowledged = s.last;
        for (uint64_t index = s.first; index <= s.last; index++) {
            struct buffer out = {0}, expected = model_payload(&m, index);
            struct log_entry e;
            size_t count;
            assert_int_equal(log_read(log, &out, &e, &count, 1, index, 1), OK);
            assert_true(bytes_equal(e.payload, buffer_bytes(&expected)));
            buffer_free(&out);
            buffer_free(&expected);
        }
        log_close(log);
    }
    assert_true(acknowledged > 0);
    folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_power_cut_after_each_operation),
        cmocka_unit_test(test_power_cuts_with_fresh_seeds),
        cmocka_unit_test(test_power_cut_while_the_log_is_made),
        cmocka_unit_test(test_power_cut_during_recovery),
        cmocka_unit_test(test_what_opening_shows_is_durable),
        cmocka_unit_test(test_names_are_durable_before_they_are_used),
        cmocka_unit_test(test_a_note_before_the_next_segment),
        cmocka_unit_test(test_kill_9),
    };
    crypto_init();
    log_setup(LOG_ERROR, false); /* torn tails are noted thousands of times */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
