/* The log on a disk that fails: every call in turn. A failure is final, says what it
 * was, and what was acknowledged before it is there after a restart. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "crypto/random.h"
#include "tests/lib/fault.h"
#include "tests/lib/folder.h"
#include "tests/lib/log_model.h"
#include "tests/lib/trace.h"
#include "tests/lib/unit.h"

static struct fault fault;
static struct model model;

static enum err open_log(struct log **out, bool faulty)
{
    struct log_options o = model_options(test_folder, faulty ? &fault.disk : NULL);
    *out = NULL;
    return log_open(out, &o, NULL);
}

static void expect_sticky(struct log *log, enum err expected)
{
    struct log_status before, after;
    struct failure failure;
    struct log_cosigned mark = {.index = UINT64_MAX, .size = UINT64_MAX};
    bool more = true;
    log_status(log, &before);
    fault_setup(&fault); /* the disk is well again: too late */
    assert_int_equal(log_sync(log), expected);
    assert_int_equal(model_append(&model, 1), expected);
    assert_int_equal(log_set_vote(log, 1 << 30, 1), expected);
    assert_int_equal(log_set_cosigned(log, &mark), expected);
    assert_int_equal(log_compact(log, 1 << 30, 1, (struct bytes){0}, (struct bytes){0}), expected);
    assert_int_equal(log_set_forgotten(log), expected);
    assert_int_equal(log_set_recovered(log), expected);
    assert_int_equal(log_idle(log, &more), expected);
    assert_false(more);
    assert_int_equal(log_sync(log), expected);
    log_failure(log, &failure);
    assert_int_equal(failure.code, expected);
    assert_non_null(strstr(failure.text, "cannot"));
    assert_int_equal(fault_total(&fault), 0); /* nothing was tried again */
    log_status(log, &after);
    assert_int_equal(after.last, before.last);
    assert_int_equal(after.term, before.term);
}

static void expect_recovers(const struct model *m)
{
    struct log *log;
    struct log_status s;
    assert_int_equal(open_log(&log, false), OK);
    log_status(log, &s);
    assert_int_equal(s.damaged, 0);
    assert_false(s.state_damaged || s.tail_damaged || s.snapshot_damaged);
    assert_true(model_explains(m, log, m->durable, m->count - 1));
    log_close(log);
}

/* Runs the same steps with the n-th call failing; false once there is no n-th call. */
static bool run_with_fault(enum fault_call which, unsigned nth, int number, bool partial)
{
    struct log *log;
    enum err code = OK, expected = number == ENOSPC ? ERR_FULL : ERR_IO;
    folder_remove(test_folder);
    folder_make(test_folder, 1);
    fault_setup(&fault);
    fault_arm(&fault, which, nth, number);
    fault.partial = partial;
    if (open_log(&log, true) != OK) {
        assert_int_equal(fault.failed, 1);
        assert_int_equal(open_log(&log, false), OK); /* what was half made is no hindrance */
        log_close(log);
        return true;
    }
    model_start(&model, log, 4);
    for (int i = 0; i < 120 && code == OK; i++) code = model_step(&model);
    if (code == OK) code = model_sync(&model);
    bool failed = fault.failed > 0;
    assert_true(code == OK || failed);
    if (code != OK) {
        struct model kept = model; /* what follows is refused, so it may not be there */
        assert_int_equal(code, expected);
        expect_sticky(log, expected);
        model = kept;
    }
    log_close(log);
    expect_recovers(&model);
    model_free(&model);
    return failed;
}

static void fail_each(enum fault_call which, int number, bool partial)
{
    unsigned nth = 1;
    while (run_with_fault(which, nth, number, partial)) nth++;
    assert_true(nth > 1);
}

static void test_each_write_fails(void **state)
{
    (void)state;
    fail_each(FAULT_PWRITE, EIO, false);
    fail_each(FAULT_PWRITE, EIO, true);
    fail_each(FAULT_PWRITE, ENOSPC, true);
}

static void test_each_sync_fails(void **state)
{
    (void)state;
    fail_each(FAULT_FDATASYNC, EIO, false);
    fail_each(FAULT_FSYNC, EIO, false);
    fail_each(FAULT_FDATASYNC, ENOSPC, false);
}

static void test_each_name_change_fails(void **state)
{
    (void)state;
    fail_each(FAULT_RENAME, EIO, false);
    fail_each(FAULT_OPEN, EIO, false);
}

static void test_short_writes_are_continued(void **state)
{
    struct log *log;
    (void)state;
    fault_setup(&fault);
    fault.short_writes = 1000;
    assert_int_equal(open_log(&log, true), OK);
    model_start(&model, log, 12);
    for (int i = 0; i < 60; i++) assert_int_equal(model_step(&model), OK);
    assert_int_equal(model_sync(&model), OK);
    log_close(log);
    expect_recovers(&model);
    model_free(&model);
}

/* A full device hurts only when the next segment is due: until then it is a warning. */
static void test_full_disk_is_a_warning_first(void **state)
{
    struct log *log;
    bool more;
    (void)state;
    fault_setup(&fault);
    assert_int_equal(open_log(&log, true), OK);
    model_start(&model, log, 1);
    fault_arm(&fault, FAULT_OPEN, 1, ENOSPC);
    fault.lasting = true;
    assert_int_equal(log_idle(log, &more), ERR_FULL);
    assert_int_equal(log_idle(log, &more), ERR_FULL); /* without another attempt */
    assert_int_equal(fault.failed, 1);
    assert_int_equal(model_append(&model, 3), OK);
    assert_int_equal(model_sync(&model), OK);
    enum err code = OK;
    for (int i = 0; i < 100 && code == OK; i++) {
        code = model_append(&model, 1);
        if (code == OK) code = model_sync(&model);
    }
    assert_int_equal(code, ERR_FULL);
    log_close(log);
    expect_recovers(&model);
    model_free(&model);
}

/* A real limit of the system instead of ours. */
static void test_file_size_limit(void **state)
{
    struct rlimit old, small;
    struct log *log;
    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = old;
    small.rlim_cur = 40 * 1024;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    assert_int_equal(open_log(&log, false), ERR_FULL);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(open_log(&log, false), OK);
    log_close(log);
}

/* A block that cannot be read now is damaged; the others are not. */
static void test_read_error(void **state)
{
    struct log_entry entries[20];
    struct buffer out = {0};
    struct log_status s;
    struct log *log;
    size_t count;
    (void)state;
    fault_setup(&fault);
    assert_int_equal(open_log(&log, true), OK);
    model_start(&model, log, 3);
    assert_int_equal(model_append(&model, 10), OK);
    assert_int_equal(model_sync(&model), OK);
    fault_arm(&fault, FAULT_PREAD, 1, EIO);
    assert_int_equal(log_read(log, &out, entries, &count, 1, 4, 1), ERR_CORRUPT);
    log_status(log, &s);
    assert_int_equal(s.damaged, 1);
    assert_int_equal(log_read(log, &out, entries, &count, 20, 5, 1 << 20), OK);
    assert_int_equal(count, 6);
    assert_int_equal(model_append(&model, 1), OK); /* and the log goes on */
    assert_int_equal(model_sync(&model), OK);
    log_close(log);
    expect_recovers(&model);
    buffer_free(&out);
    model_free(&model);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, folder_setup, folder_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_each_write_fails),
        TEST(test_each_sync_fails),
        TEST(test_each_name_change_fails),
        TEST(test_short_writes_are_continued),
        TEST(test_full_disk_is_a_warning_first),
        TEST(test_file_size_limit),
        TEST(test_read_error),
    };
    crypto_init();
    log_setup(LOG_ERROR + 1, false);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
