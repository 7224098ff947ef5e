/* What is said of a path that is no file, and of one that waits. */
#include "base/path.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/lib/folder.h"
#include "tests/lib/unit.h"

static void test_trouble(void **state)
{
    (void)state;
    assert_string_equal(path_trouble(EISDIR), "it is a folder, not a file");
    assert_string_equal(path_trouble(ENOTDIR), "what should be a folder in this path is a file");
    assert_string_equal(path_trouble(ENOENT), strerror(ENOENT));
}

static unsigned waited;

static void no_waiting(const char *path)
{
    (void)path;
    waited++;
}

/* Somebody comes only now: the pipe has a reader, so that this doesn't wait. */
static void write_late(const char *path)
{
    waited++;
    int file = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    assert_true(file >= 0);
    assert_int_equal(write(file, "late", 4), 4);
    close(file);
}

static void test_open(void **state)
{
    (void)state;
    char path[FOLDER_PATH], text[8];
    folder_store(test_folder, "file", bytes_text("text"));
    folder_join(path, test_folder, "file");
    int file = path_open(path, no_waiting);
    assert_true(file >= 0 && waited == 0);
    assert_int_equal(read(file, text, sizeof text), 4);
    close(file);
    folder_join(path, test_folder, "nothing");
    assert_int_equal(path_open(path, no_waiting), -1);
    assert_int_equal(errno, ENOENT);
}

static void test_pipe(void **state)
{
    (void)state;
    char path[FOLDER_PATH], text[8];
    folder_join(path, test_folder, "pipe");
    assert_int_equal(mkfifo(path, 0600), 0);
    waited = 0;
    int file = path_open(path, write_late);
    assert_true(file >= 0 && waited == 1);
    assert_int_equal(read(file, text, sizeof text), 4);
    assert_int_equal(read(file, text, sizeof text), 0);
    close(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trouble),
        cmocka_unit_test_setup_teardown(test_open, folder_setup, folder_teardown),
        cmocka_unit_test_setup_teardown(test_pipe, folder_setup, folder_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
