#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "crypto/random.h"
#include "storage/files.h"
#include "tests/lib/fault.h"
#include "tests/lib/folder.h"
#include "tests/lib/trace.h"
#include "tests/lib/unit.h"

static char path[FOLDER_PATH];
static struct failure failure;

static bool holds(const char *text)
{
    struct buffer b = {0};
    bool same = files_read(&b, path, 100, &failure) == OK && bytes_equal(buffer_bytes(&b), bytes_text(text));
    buffer_free(&b);
    return same;
}

static unsigned mode_of(const char *file)
{
    struct stat st;
    assert_int_equal(stat(file, &st), 0);
    return st.st_mode & 0777;
}

static void test_writes_and_replaces(void **state)
{
    struct buffer b = {0};
    (void)state;
    assert_int_equal(files_read(&b, path, 100, &failure), ERR_NOT_FOUND);
    assert_non_null(strstr(failure.text, path));
    assert_int_equal(files_write(path, bytes_text("one"), 0600, NULL, &failure), OK);
    assert_true(holds("one"));
    assert_int_equal(mode_of(path), 0600);
    assert_int_equal(files_create(path, bytes_text("two"), 0600, NULL, &failure), ERR_EXISTS);
    assert_true(holds("one"));
    assert_int_equal(files_write(path, bytes_text(""), 0600, NULL, &failure), OK);
    assert_true(holds(""));
    assert_int_equal(files_write(path, bytes_text("1234567890"), 0600, NULL, &failure), OK);
    assert_int_equal(files_read(&b, path, 9, &failure), ERR_TOO_LARGE);
    assert_int_equal(b.size, 0);
    assert_int_equal(files_read(&b, path, 10, &failure), OK);
    assert_int_equal(b.size, 10);
    assert_int_equal(files_remove(path, &failure), OK);
    assert_int_equal(files_remove(path, &failure), OK);
    assert_false(files_exists(path));
    assert_int_equal(files_create(path, bytes_text("three"), 0640, NULL, &failure), OK);
    assert_true(holds("three"));
    buffer_free(&b);
}

/* Whatever fails, the file holds the old content or the new, and nothing is left over. */
static void test_each_call_fails(void **state)
{
    struct fault fault;
    char command[FOLDER_PATH + 32], answer[16] = "";
    (void)state;
    for (unsigned nth = 1;; nth++) {
        assert_int_equal(files_write(path, bytes_text("old"), 0600, NULL, &failure), OK);
        fault_setup(&fault);
        fault_arm(&fault, FAULT_CALLS, nth, ENOSPC);
        fault.partial = true;
        enum err code = files_write(path, bytes_text("new and longer"), 0600, &fault.disk, &failure);
        if (fault.failed == 0) break;
        assert_int_equal(code, ERR_FULL);
        assert_true(holds("old") || holds("new and longer"));
    }
    snprintf(command, sizeof command, "ls %s | wc -l", test_folder);
    FILE *p = popen(command, "r");
    assert_non_null(fgets(answer, sizeof answer, p));
    pclose(p);
    assert_int_equal(atoi(answer), 1);
}

static void test_power_cuts(void **state)
{
    static const enum trace_loss losses[] = {TRACE_LOSE_ALL, TRACE_KEEP_ALL, TRACE_LOSE_RANDOM, TRACE_LOSE_TAIL};
    char left[FOLDER_PATH], again[FOLDER_PATH];
    uint64_t seed = 1;
    (void)state;
    assert_int_equal(files_write(path, bytes_text("old"), 0600, NULL, &failure), OK);
    struct trace *t = trace_start(test_folder);
    assert_int_equal(files_write(path, bytes_text("new"), 0600, trace_disk(t), &failure), OK);
    for (size_t length = 0; length <= trace_length(t); length++)
        for (int i = 0; i < 16; i++) {
            folder_make(left, 1);
            trace_crash(t, left, length, losses[i % 4], &seed);
            folder_join(again, left, "file");
            struct buffer b = {0};
            assert_int_equal(files_read(&b, again, 100, &failure), OK);
            bool fresh = bytes_equal(buffer_bytes(&b), bytes_text("new"));
            assert_true(fresh || bytes_equal(buffer_bytes(&b), bytes_text("old")));
            if (length == trace_length(t)) assert_true(fresh);
            buffer_free(&b);
            folder_remove(left);
        }
    trace_free(t);
}

static void test_folders(void **state)
{
    char below[FOLDER_PATH], longest[FILES_PATH];
    (void)state;
    folder_join(below, test_folder, "below");
    assert_int_equal(files_make_directory(below, &failure), OK);
    assert_int_equal(mode_of(below), 0700);
    assert_int_equal(files_make_directory(below, &failure), OK);
    files_write(path, bytes_text(""), 0600, NULL, &failure);
    assert_int_equal(files_make_directory(path, &failure), ERR_EXISTS);
    folder_join(below, test_folder, "no/such");
    assert_int_equal(files_make_directory(below, &failure), ERR_NOT_FOUND);
    char *name = malloc(FILES_PATH);
    memset(name, 'x', FILES_PATH - 1);
    name[FILES_PATH - 1] = 0;
    assert_int_equal(files_path(longest, "a", name, &failure), ERR_TOO_LARGE);
    free(name);
}

static void test_lock(void **state)
{
    struct file_lock lock, second;
    char expected[64];
    int ends[2];
    char byte;
    (void)state;
    assert_int_equal(files_lock(&lock, path, &failure), OK);
    assert_int_equal(files_lock(&second, path, &failure), ERR_IN_USE);
    snprintf(expected, sizeof expected, "process %ld", (long)getpid());
    assert_non_null(strstr(failure.text, expected));
    assert_int_equal(second.file, -1);
    files_unlock(&second);
    files_unlock(&lock);
    files_unlock(&lock);
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        _exit(files_lock(&lock, path, NULL) == OK && write(ends[1], "x", 1) == 1 ? (pause(), 0) : 1);
    }
    assert_int_equal(read(ends[0], &byte, 1), 1);
    assert_int_equal(files_lock(&lock, path, &failure), ERR_IN_USE);
    snprintf(expected, sizeof expected, "process %ld", (long)child);
    assert_non_null(strstr(failure.text, expected));
    kill(child, SIGKILL); /* the lock goes with the process */
    waitpid(child, NULL, 0);
    assert_int_equal(files_lock(&lock, path, &failure), OK);
    files_unlock(&lock);
    close(ends[0]);
    close(ends[1]);
}

static void test_sealed(void **state)
{
    struct seal_key key, other;
    struct buffer b = {0};
    (void)state;
    random_bytes(&key, sizeof key);
    random_bytes(&other, sizeof other);
    assert_int_equal(files_write_sealed(path, &key, "seed", bytes_text("secret"), &failure), OK);
    assert_int_equal(mode_of(path), 0600);
    assert_int_equal(files_read_sealed(&b, path, &key, "seed", &failure), OK);
    assert_true(bytes_equal(buffer_bytes(&b), bytes_text("secret")));
    buffer_clear(&b);
    assert_int_equal(files_read_sealed(&b, path, &other, "seed", &failure), ERR_DECRYPT);
    assert_int_equal(files_read_sealed(&b, path, &key, "share", &failure), ERR_DECRYPT);
    assert_int_equal(b.size, 0);
    struct buffer raw = folder_load(test_folder, "file");
    assert_null(memmem(raw.data, raw.size, "secret", 6));
    for (size_t i = 0; i < raw.size; i++) {
        raw.data[i] ^= 1;
        folder_store(test_folder, "file", buffer_bytes(&raw));
        enum err code = files_read_sealed(&b, path, &key, "seed", &failure);
        assert_true(code == ERR_DECRYPT || code == ERR_CORRUPT);
        raw.data[i] ^= 1;
    }
    for (size_t size = 0; size < raw.size; size++) {
        folder_store(test_folder, "file", bytes_of(raw.data, size));
        assert_int_not_equal(files_read_sealed(&b, path, &key, "seed", &failure), OK);
    }
    assert_int_equal(files_write_sealed(path, &key, "", bytes_text(""), &failure), OK);
    assert_int_equal(files_read_sealed(&b, path, &key, "", &failure), OK);
    assert_int_equal(b.size, 0);
    buffer_free(&raw);
    buffer_free(&b);
}

static void test_storage_key(void **state)
{
    struct seal_key key, back;
    (void)state;
    assert_int_equal(storage_key_load(&back, path, &failure), ERR_NOT_FOUND);
    assert_int_equal(storage_key_create(path, &key, &failure), OK);
    assert_int_equal(mode_of(path), 0600);
    assert_int_equal(storage_key_load(&back, path, &failure), OK);
    assert_memory_equal(&key, &back, sizeof key);
    assert_int_equal(storage_key_create(path, &back, &failure), ERR_EXISTS);
    for (unsigned bit = 0; bit < 6; bit++) {
        assert_int_equal(chmod(path, 0600 | 1u << bit), 0);
        assert_int_equal(storage_key_load(&back, path, &failure), ERR_PERMISSION);
        assert_non_null(strstr(failure.text, "chmod 600"));
    }
    assert_int_equal(chmod(path, 0400), 0);
    assert_int_equal(storage_key_load(&back, path, &failure), OK);
}

static void test_bad_storage_keys(void **state)
{
    static const char *const bad[] = {
        "",
        "\n",
        "00112233445566778899aabbccddeeff00112233445566778899aabbccddeef",
        "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff0",
        "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n\n",
        "0011223344556677889gaabbccddeeff00112233445566778899aabbccddeeff\n",
    };
    struct seal_key key;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        files_write(path, bytes_text(bad[i]), 0600, NULL, NULL);
        assert_int_equal(storage_key_load(&key, path, &failure), ERR_INVALID);
    }
    files_write(path, bytes_text("00112233445566778899AABBCCDDEEFF00112233445566778899aabbccddeeff"), 0600, NULL, NULL);
    assert_int_equal(storage_key_load(&key, path, &failure), OK); /* no newline, either case */
    assert_int_equal(key.bytes[1], 0x11);
    assert_int_equal(storage_key_load(&key, test_folder, &failure), ERR_INVALID);
    assert_null(strstr(failure.text, "chmod")); /* nobody else could use what is in it */
}

static void test_credential(void **state)
{
    struct seal_key key, back;
    (void)state;
    unsetenv("CREDENTIALS_DIRECTORY");
    assert_int_equal(storage_key_load_credential(&back, "file", &failure), ERR_NOT_FOUND);
    setenv("CREDENTIALS_DIRECTORY", test_folder, 1);
    assert_int_equal(storage_key_load_credential(&back, "file", &failure), ERR_NOT_FOUND);
    assert_int_equal(storage_key_create(path, &key, &failure), OK);
    assert_int_equal(storage_key_load_credential(&back, "file", &failure), OK);
    assert_memory_equal(&key, &back, sizeof key);
    unsetenv("CREDENTIALS_DIRECTORY");
}

static int setup(void **state)
{
    folder_setup(state);
    folder_join(path, test_folder, "file");
    return 0;
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, folder_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_writes_and_replaces),
        TEST(test_each_call_fails),
        TEST(test_power_cuts),
        TEST(test_folders),
        TEST(test_lock),
        TEST(test_sealed),
        TEST(test_storage_key),
        TEST(test_bad_storage_keys),
        TEST(test_credential),
    };
    crypto_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
