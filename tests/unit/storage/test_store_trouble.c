/* Full maps and devices, kills within commits, files that are cut short or altered. */
#include <dlfcn.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "storage/store_guard.h"
#include "tests/lib/dies.h"
#include "tests/lib/trace.h"
#include "tests/unit/storage/bed_store.h"

/* --- trouble --- */

/* The map is full in the middle of a transaction: that is the end of writing, with
 * the last commit intact; after a restart with a larger map it goes on. */
static void test_full_map(void **state)
{
    struct store_options o = options();
    uint8_t value[8000];
    enum err code = OK;
    (void)state;
    memset(value, 1, sizeof value);
    store_close(store);
    o.map_size = 2 << 20;
    assert_int_equal(store_open(&store, &o, NULL), OK);
    begin();
    put(USERS, "kept", "yes");
    commit();
    begin();
    for (uint64_t i = 0; i < 2000 && code == OK; i++) {
        uint8_t k[8];
        put_be64(k, i);
        code = table_put(txn, ROWS, BYTES(k), BYTES(value));
    }
    assert_int_equal(code, ERR_FULL);
    assert_int_equal(table_put(txn, USERS, bytes_text("x"), bytes_text("y")), ERR_FULL);
    assert_int_equal(table_delete(txn, USERS, bytes_text("kept")), ERR_FULL);
    assert_int_equal(store_commit(txn), ERR_FULL);
    assert_int_equal(store_failed(store), ERR_FULL);
    assert_int_equal(store_begin_write(&txn, store), ERR_FULL);
    begin_read(); /* reading goes on */
    assert_true(has(USERS, "kept", "yes"));
    assert_int_equal(table_count(txn, ROWS), 0);
    store_abort(txn);
    reopen();
    begin();
    put(USERS, "more", "room");
    commit();
}

static void test_full_device(void **state)
{
    struct rlimit old, small;
    uint8_t value[100000];
    (void)state;
    memset(value, 1, sizeof value);
    begin();
    put(USERS, "kept", "yes");
    commit();
    begin();
    for (uint64_t i = 0; i < 50; i++) {
        uint8_t k[8];
        put_be64(k, i);
        assert_int_equal(table_put(txn, ROWS, BYTES(k), BYTES(value)), OK);
    }
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = old;
    small.rlim_cur = 1 << 20;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    enum err code = store_commit(txn);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_true(code == ERR_FULL || code == ERR_IO);
    assert_int_equal(store_failed(store), code);
    assert_int_equal(store_begin_write(&txn, store), code);
    reopen();
    begin_read();
    assert_true(has(USERS, "kept", "yes"));
    assert_int_equal(table_count(txn, ROWS), 0);
    store_abort(txn);
}

/* A device that is really full: LMDB says EIO of a write that was cut short. */
static _Noreturn void fill_device(void)
{
    static uint8_t value[100000];
    struct store_options o = options();
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("none", folder, "tmpfs", 0, "size=1500k") != 0)
        _exit(2);
    enum err e = store_open(&store, &o, NULL);
    for (unsigned i = 0; e == OK && i < 100; i++) {
        uint8_t k[8];
        put_be64(k, i);
        e = store_begin_write(&txn, store);
        if (e == OK) e = table_put(txn, ROWS, BYTES(k), BYTES(value));
        if (e == OK) e = store_commit(txn);
    }
    _exit(e == ERR_FULL ? 0 : 1);
}

static void test_really_full_device(void **state)
{
    (void)state;
    int status;
    pid_t child = fork();
    if (child == 0) fill_device();
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 2) {
        print_message("no mount without root: skipped\n");
        skip();
    }
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_space(void **state)
{
    struct store_space before, after;
    struct store_table_size size;
    uint8_t value[100000] = {1};
    (void)state;
    assert_int_equal(store_space(store, &before), OK);
    assert_int_equal(before.map_size, MAP);
    assert_true(before.device_free > 0);
    assert_true(before.low); /* a map of 256 MiB is below the watermark */
    begin();
    for (char k = 'a'; k < 'k'; k++) assert_int_equal(table_put(txn, ROWS, bytes_of(&k, 1), BYTES(value)), OK);
    assert_int_equal(store_table_size(txn, ROWS, &size), OK);
    assert_int_equal(size.entries, 10);
    assert_true(size.bytes >= 10 * sizeof value);
    commit();
    assert_int_equal(store_space(store, &after), OK);
    assert_true(after.map_used >= before.map_used + 10 * sizeof value);
    assert_true(after.file_size > before.file_size);
}

/* Commits pairs for ever, telling each through the pipe. */
static _Noreturn void committer(int pipe)
{
    store = open_store();
    for (uint32_t i = 0;; i++) {
        uint8_t v[4];
        struct buffer b = {0};
        begin();
        if (i == 0) {
            if (table_get(txn, USERS, bytes_text("n"), &b) == OK) i = get_be32(b.data) + 1;
            buffer_free(&b);
        }
        put_be32(v, i);
        CHECK(table_put(txn, USERS, bytes_text("n"), BYTES(v)) == OK);
        CHECK(table_put(txn, RECORDS, BYTES(v), BYTES(v)) == OK);
        commit();
        if (write(pipe, &i, sizeof i) != sizeof i) _exit(1);
    }
}

static void test_kill_9_during_commits(void **state)
{
    uint32_t told = 0, number;
    uint64_t seed = 5;
    (void)state;
    store_close(store);
    for (int i = 0; i < 25 || (told <= 10 && i < 400); i++) { /* longer lives where the machine is slow */
        int ends[2];
        struct buffer b = {0};
        assert_int_equal(pipe(ends), 0);
        pid_t child = fork();
        if (child == 0) committer(ends[1]);
        close(ends[1]);
        usleep((3000 + trace_random(&seed) % 20000) * (1 + i / 20));
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        while (read(ends[0], &number, sizeof number) == sizeof number) told = number;
        close(ends[0]);
        store = open_store();
        begin_read();
        if (table_get(txn, USERS, bytes_text("n"), &b) == OK) {
            uint32_t last = get_be32(b.data);
            assert_true(last >= told);
            assert_int_equal(table_count(txn, RECORDS), last + 1);
        } else {
            assert_int_equal(told, 0);
        }
        store_abort(txn);
        store_close(store);
        buffer_free(&b);
    }
    assert_true(told > 10);
    store = open_store();
}

/* --- pages that are not what LMDB left --- */

static void data_file(char path[static FOLDER_PATH + 16]) { snprintf(path, FOLDER_PATH + 16, "%s/data.mdb", folder); }

static void put_many(unsigned count)
{
    char k[16];
    begin();
    for (unsigned i = 0; i < count; i++) {
        snprintf(k, sizeof k, "key-%05u", i);
        put(USERS, k, "a value that takes some room on its page, and more, and more, and more, and more");
    }
    commit();
}

/* The last error of a walk through the table. */
static enum err walk(unsigned most)
{
    struct table_cursor *c;
    assert_int_equal(table_cursor_open(&c, txn, USERS), OK);
    enum err e = table_cursor_seek(c, (struct bytes){0});
    for (unsigned i = 0; e == OK && i < most; i++)
        e = table_cursor_next(c);
    table_cursor_close(c);
    return e;
}

/* The file loses its end under a reader: the process says so and ends with code 1, not by SIGBUS. */
static void test_a_file_cut_short_ends_in_words(void **state)
{
    (void)state;
    char path[FOLDER_PATH + 16], said[1000];
    int ends[2], status;
    data_file(path);
    put_many(3000);
    store_close(store);
    store = NULL;
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        store_guard_install(NULL);
        store = open_store();
        begin_read();
        if (truncate(path, 5 * 4096) == 0) walk(5000);
        _exit(0);
    }
    close(ends[1]);
    assert_int_equal(waitpid(child, &status, 0), child);
    ssize_t n = read(ends[0], said, sizeof said - 1);
    said[n > 0 ? n : 0] = 0;
    close(ends[0]);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
    assert_non_null(strstr(said, folder));
    assert_non_null(strstr(said, "rebuild"));
    unlink(path);
    store = open_store();
}

/* A signal that is not the store's is not taken for damage. */
static void test_other_signals_stay(void **state)
{
    (void)state;
    int status;
    pid_t child = fork();
    if (child == 0) {
        signal(SIGSEGV, SIG_DFL);
        store_guard_install(NULL);
        raise(SIGSEGV);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}

/* Nor is a failed assertion, though malloc's own, by the same signal, is. */
static void test_assertions_stay(void **state)
{
    (void)state;
    for (int own = 0; own < 2; own++) {
        int status;
        pid_t child = fork();
        if (child == 0) {
            signal(SIGABRT, SIG_DFL);
            fclose(stderr);
            store_guard_install(NULL);
            store_guard_enter("folder");
            CHECK(own);
            abort();
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        if (own)
            assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
        else
            assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    }
}

/* A key was changed on its page: who walks by is told, and does not go round in circles. */
static void test_keys_out_of_order(void **state)
{
    (void)state;
    char path[FOLDER_PATH + 16];
    put_many(300);
    store_close(store);
    store = NULL;
    data_file(path);
    struct buffer all = folder_load(folder, "data.mdb");
    for (uint8_t *at = all.data; (at = memmem(at, all.size - (size_t)(at - all.data), "key-00105", 9)); at++)
        at[4] = '9';
    folder_store(folder, "data.mdb", buffer_bytes(&all));
    buffer_free(&all);
    store = open_store();
    begin_read();
    assert_int_equal(walk(5000), ERR_CORRUPT);
    store_abort(txn);
    assert_int_equal(store_failed(store), OK);
    begin(); /* while writing it is the store's end */
    assert_int_equal(walk(5000), ERR_CORRUPT);
    assert_int_equal(store_failed(store), ERR_CORRUPT);
    store_abort(txn);
}

/* The pages of table users become of no type that LMDB knows. */
static void spoil_pages(void)
{
    store_close(store);
    store = NULL;
    struct buffer all = folder_load(folder, "data.mdb");
    for (size_t page = 0; page + 4096 <= all.size; page += 4096)
        if (memmem(all.data + page, 4096, "key-000", 7)) memset(all.data + page + 10, 0, 2); /* MDB_page.mp_flags */
    folder_store(folder, "data.mdb", buffer_bytes(&all));
    buffer_free(&all);
    store = open_store();
}

/* Of a transaction that met a damaged page LMDB says no more than that it is bad: what is said stays what was met,
 * so that nobody looks for a device that failed. */
static void test_what_was_met_stays(void **state)
{
    (void)state;
    put_many(30);
    begin();
    put(ROWS, "other", "row");
    commit();
    spoil_pages();
    begin_read();
    assert_true(has(ROWS, "other", "row"));
    assert_int_equal(table_exists(txn, USERS, bytes_text("key-00010")), ERR_CORRUPT);
    assert_int_equal(table_exists(txn, ROWS, bytes_text("other")), ERR_CORRUPT);
    assert_int_equal(store_renew(txn), OK);
    assert_true(has(ROWS, "other", "row"));
    store_abort(txn);
    begin();
    assert_int_equal(table_exists(txn, USERS, bytes_text("key-00010")), ERR_CORRUPT);
    assert_int_equal(table_exists(txn, ROWS, bytes_text("other")), ERR_CORRUPT);
    assert_int_equal(store_commit(txn), ERR_CORRUPT);
}

/* --- errors that are none of the device --- */

static int injected;

/* Stands before the library's. */
int mdb_txn_begin(MDB_env *env, MDB_txn *parent, unsigned flags, MDB_txn **out)
{
    static int (*real)(MDB_env *, MDB_txn *, unsigned, MDB_txn **);
    if (injected) return injected;
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, "mdb_txn_begin");
    return real(env, parent, flags, out);
}

/* Whatever LMDB says, in this version or a later one, ends in an error that says which. */
static void test_every_error_has_words(void **state)
{
    (void)state;
    char number[16];
    for (int code = MDB_KEYEXIST - 10; code < MDB_LAST_ERRCODE + 50; code++) {
        struct store_options o = options();
        struct failure failure = {.code = OK};
        injected = code;
        const enum err read = store_begin_read(&txn, store), write = store_begin_write(&txn, store);
        store_close(store);
        store = NULL;
        const enum err opened = store_open(&store, &o, &failure);
        injected = 0;
        assert_true(read != OK && write == read && opened != OK);
        assert_non_null(strstr(failure.text, folder));
        snprintf(number, sizeof number, "%d", code);
        if (!strstr(failure.text, "MDB_")) assert_non_null(strstr(failure.text, number));
        store = open_store();
    }
}

/* The table of readers is a file that others can write: a restored lock.mdb, or LMDB's own tools. */
static void test_a_reader_whose_slot_was_taken(void **state)
{
    (void)state;
    struct buffer all = folder_load(folder, "lock.mdb");
    begin_read();
    folder_store(folder, "lock.mdb", buffer_bytes(&all));
    assert_int_equal(store_renew(txn), ERR_IO);
    store_abort(txn);
    buffer_free(&all);
    begin_read(); /* a new one finds its place */
    store_abort(txn);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BED_TEST(test_full_map),
        BED_TEST(test_full_device),
        BED_TEST(test_really_full_device),
        BED_TEST(test_space),
        BED_TEST(test_kill_9_during_commits),
        BED_TEST(test_a_file_cut_short_ends_in_words),
        BED_TEST(test_other_signals_stay),
        BED_TEST(test_assertions_stay),
        BED_TEST(test_keys_out_of_order),
        BED_TEST(test_what_was_met_stays),
        BED_TEST(test_every_error_has_words),
        BED_TEST(test_a_reader_whose_slot_was_taken),
    };
    return cmocka_run_group_tests(tests, bed_open, NULL);
}
