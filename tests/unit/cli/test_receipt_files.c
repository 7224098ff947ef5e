/* Where receipts are kept: one for each entry, none written over, and a place that can't be used is said first. */
#include "cli/receipt_files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/files.h"
#include "tests/lib/folder.h"
#include "tests/lib/unit.h"

static char path[2 * FOLDER_PATH];
static struct failure failure;

static const char *in_dir(const char *name)
{
    snprintf(path, sizeof path, "%s/%s", test_folder, name);
    return path;
}

static bool is_there(const char *name) { return access(in_dir(name), F_OK) == 0; }

static void holds(const char *name, const char *expected)
{
    struct buffer content = folder_load(test_folder, name);
    assert_true(bytes_equal(buffer_bytes(&content), bytes_text(expected)));
    buffer_free(&content);
}

static enum err keep(struct receipt_files *r, uint64_t index, const char *text)
{
    return receipt_files_keep(r, index, bytes_text(text), &failure);
}

/* FILE is the last entry's, the earlier ones' are beside it; nothing else stays. */
static void a_file_is_the_last_ones(void **state)
{
    (void)state;
    struct receipt_files r;
    char file[FOLDER_PATH];
    folder_join(file, test_folder, "r");
    assert_int_equal(receipt_files_open(&r, file, &failure), OK);
    assert_false(is_there("r"));
    assert_int_equal(keep(&r, 7, "seven"), OK);
    holds("r", "seven");
    assert_int_equal(keep(&r, 8, ""), OK); /* no entry, no file */
    holds("r", "seven");
    assert_int_equal(keep(&r, 9, "nine"), OK);
    holds("r", "nine");
    holds("r.7", "seven");
    /* The next one fails: what FILE holds is not taken for its receipt. */
    assert_int_equal(receipt_files_next(&r, &failure), OK);
    assert_false(is_there("r"));
    holds("r.9", "nine");
    assert_int_equal(receipt_files_close(&r, &failure), OK);
    assert_int_equal(r.kept, 2);
    assert_false(r.failed);
}

static void nothing_is_written_over(void **state)
{
    (void)state;
    struct receipt_files r;
    char file[FOLDER_PATH], folder[FOLDER_PATH];
    folder_join(file, test_folder, "r");
    folder_store(test_folder, "r", bytes_text("mine"));
    assert_int_equal(receipt_files_open(&r, file, &failure), ERR_EXISTS);
    holds("r", "mine");
    assert_int_equal(unlink(in_dir("r")), 0);
    assert_int_equal(symlink("nowhere", in_dir("r")), 0);
    assert_int_equal(receipt_files_open(&r, file, &failure), ERR_EXISTS);
    assert_int_equal(unlink(in_dir("r")), 0);

    folder_store(test_folder, "r.3", bytes_text("mine"));
    assert_int_equal(receipt_files_open(&r, file, &failure), OK);
    assert_int_equal(keep(&r, 3, "three"), OK);
    assert_int_equal(keep(&r, 4, "four"), ERR_EXISTS);
    holds("r", "three");
    holds("r.3", "mine");
    assert_true(r.failed);
    receipt_files_close(&r, &failure);

    folder_join(folder, test_folder, "f");
    assert_int_equal(mkdir(folder, 0700), 0);
    folder_store(folder, "5.tlog-proof", bytes_text("mine"));
    assert_int_equal(receipt_files_open(&r, folder, &failure), OK);
    assert_int_equal(keep(&r, 5, "five"), ERR_EXISTS);
    assert_int_equal(keep(&r, 6, "six"), OK);
    holds("f/5.tlog-proof", "mine");
    holds("f/6.tlog-proof", "six");
    receipt_files_close(&r, &failure);
    assert_true(r.failed);
}

static void a_folder_holds_each(void **state)
{
    (void)state;
    struct receipt_files r;
    char folder[FOLDER_PATH], name[40], text[40];
    folder_join(folder, test_folder, "a/b/");
    assert_int_equal(receipt_files_open(&r, folder, &failure), OK);
    for (unsigned i = 0; i < 100; i++) { /* more than are synced one by one */
        snprintf(text, sizeof text, "proof %u", i);
        assert_int_equal(keep(&r, i, text), OK);
    }
    assert_int_equal(receipt_files_next(&r, &failure), OK);
    assert_int_equal(receipt_files_close(&r, &failure), OK);
    for (unsigned i = 0; i < 100; i++) {
        snprintf(name, sizeof name, "a/b/%u.tlog-proof", i);
        snprintf(text, sizeof text, "proof %u", i);
        holds(name, text);
    }
    /* Without the slash, and one that is there: as well. */
    folder[strlen(folder) - 1] = '\0';
    assert_int_equal(receipt_files_open(&r, folder, &failure), OK);
    assert_int_equal(keep(&r, 100, "proof 100"), OK);
    receipt_files_close(&r, &failure);
    holds("a/b/100.tlog-proof", "proof 100");
}

static void a_folder_for_nothing_is_removed(void **state)
{
    (void)state;
    struct receipt_files r;
    char folder[FOLDER_PATH];
    folder_join(folder, test_folder, "made/");
    assert_int_equal(receipt_files_open(&r, folder, &failure), OK);
    assert_int_equal(receipt_files_close(&r, &failure), OK);
    assert_false(is_there("made"));
    assert_int_equal(mkdir(in_dir("made"), 0700), 0); /* not this run's */
    assert_int_equal(receipt_files_open(&r, folder, &failure), OK);
    assert_int_equal(receipt_files_close(&r, &failure), OK);
    assert_true(is_there("made"));
}

/* Before anything is recorded, and without a trace. */
static void an_unusable_place_is_refused(void **state)
{
    (void)state;
    struct receipt_files r;
    char name[FOLDER_PATH];
    static const char *const wrong[] = {"no/such/r", "file/r", "file/r/"};
    folder_store(test_folder, "file", bytes_text("a file, no folder"));
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        folder_join(name, test_folder, wrong[i]);
        failure = (struct failure){0};
        assert_int_not_equal(receipt_files_open(&r, name, &failure), OK);
        assert_non_null(strstr(failure.text, test_folder)); /* as it was given, not the name that was tried */
        assert_null(strstr(failure.text, "try-"));
        assert_int_equal(r.place, RECEIPT_NOWHERE);
        assert_int_equal(keep(&r, 1, "one"), OK);
        assert_int_equal(receipt_files_close(&r, &failure), OK);
    }
    assert_int_equal(receipt_files_open(&r, "", &failure), ERR_USAGE);
    assert_int_not_equal(receipt_files_open(&r, "/proc/", &failure), OK);
    assert_int_equal(receipt_files_open(&r, "/dev/null", &failure), OK);
    assert_int_equal(keep(&r, 1, "one"), OK);
    assert_int_equal(receipt_files_close(&r, &failure), OK);
    assert_int_equal(receipt_files_open(&r, NULL, &failure), OK);
    assert_int_equal(keep(&r, 1, "one"), OK);
    assert_int_equal(receipt_files_close(&r, &failure), OK);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, folder_setup, folder_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_file_is_the_last_ones),          TEST(nothing_is_written_over),      TEST(a_folder_holds_each),
        TEST(a_folder_for_nothing_is_removed), TEST(an_unusable_place_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
