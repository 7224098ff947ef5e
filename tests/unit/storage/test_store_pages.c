/* LMDB's books of its pages: they balance whatever is written, and where a page of the file is not what it was,
 * writing ends soon, in an error or in words, and fills neither memory nor device. */
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "storage/store_guard.h"
#include "tests/lib/trace.h"
#include "tests/unit/storage/bed_store.h"

#define PAGE 4096
#define SMALL 200
#define LARGE 20000 /* pages of its own */

static uint64_t seed = 11;

static uint64_t any(uint64_t below) { return trace_random(&seed) % below; }

/* A few rows more, others, or fewer; now and then dropped. */
static enum err write_some(void)
{
    static uint8_t value[LARGE];
    enum err e = store_begin_write(&txn, store);
    if (e != OK) return e;
    for (uint64_t n = 1 + any(30); n > 0 && e == OK; n--) {
        uint8_t k[8];
        put_be64(k, any(600));
        uint8_t table = any(2) ? USERS : ROWS;
        size_t size = any(10) == 0 ? LARGE : SMALL;
        e = any(3) == 0 ? table_delete(txn, table, BYTES(k)) : table_put(txn, table, BYTES(k), bytes_of(value, size));
    }
    if (any(10)) return store_commit(txn);
    store_abort(txn);
    return e;
}

static enum err check_now(void)
{
    struct failure failure = {.code = OK};
    begin_read();
    enum err e = store_check_pages(txn, &failure);
    store_abort(txn);
    if (e != OK) print_error("%s\n", failure.text);
    return e;
}

static void test_books_balance(void **state)
{
    (void)state;
    struct table_txn *reader = NULL; /* keeps freed pages from being used again */
    for (unsigned i = 0; i < 1500; i++) {
        assert_int_equal(write_some(), OK);
        assert_int_equal(check_now(), OK);
        if (any(40) == 0) {
            store_abort(reader);
            assert_int_equal(store_begin_read(&reader, store), OK);
        }
        if (any(100) == 0) {
            store_abort(reader);
            reader = NULL;
            reopen();
        }
    }
    store_abort(reader);
}

static void test_a_later_commit_is_no_damage(void **state)
{
    (void)state;
    struct table_txn *before;
    struct failure failure = {.code = OK};
    assert_int_equal(store_begin_read(&before, store), OK);
    begin();
    put(USERS, "k", "v");
    commit();
    assert_int_equal(store_check_pages(before, &failure), ERR_BUSY);
    assert_int_equal(store_renew(before), OK);
    assert_int_equal(store_check_pages(before, &failure), OK);
    store_abort(before);
}

/* --- damage --- */

/* ODD and more: an error that says nothing of damage. */
enum { WROTE = 0, IN_WORDS = 1, REFUSED = 2, WRITE_FAILED = 3, ODD = 4 };

static _Noreturn void child(void)
{
    struct store_options o = options();
    struct failure failure = {.code = OK};
    const struct rlimit memory = {UINT64_C(2) << 30, UINT64_C(2) << 30};
    alarm(120);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    CHECK(setrlimit(RLIMIT_AS, &memory) == 0);
#else
    (void)memory;
#endif
    CHECK(freopen("/dev/null", "w", stderr) != NULL);
    store_guard_install(NULL);
    enum err e = store_open(&store, &o, &failure);
    if (e != OK) _exit(e == ERR_CORRUPT && strstr(failure.text, folder) ? REFUSED : ODD + (int)e);
    for (unsigned i = 0; i < 60 && e == OK; i++) e = write_some();
    _exit(e == OK ? WROTE : e == ERR_CORRUPT ? WRITE_FAILED : ODD + (int)e);
}

/* How it went, and that the file did not grow beyond what was written. */
static int try_damaged(const struct buffer *file)
{
    char path[FOLDER_PATH + 16];
    struct stat st;
    int status;
    folder_store(folder, "data.mdb", buffer_bytes(file));
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) child();
    assert_int_equal(waitpid(pid, &status, 0), pid);
    snprintf(path, sizeof path, "%s/data.mdb", folder);
    assert_int_equal(stat(path, &st), 0);
    if (!WIFEXITED(status) || WEXITSTATUS(status) >= ODD) fail_msg("ended with status %x", status);
    assert_true((uint64_t)st.st_blocks * 512 < 64u << 20);
    return WEXITSTATUS(status);
}

/* Each page of the file as it was at an earlier commit, alone. */
static void test_pages_of_another_time(void **state)
{
    (void)state;
    struct buffer olds[4] = {{0}}, now;
    unsigned ends[ODD] = {0};
    for (unsigned i = 0; i < 4; i++) {
        for (unsigned n = 0; n < 25; n++) assert_int_equal(write_some(), OK);
        reopen();
        olds[i] = folder_load(folder, "data.mdb");
    }
    for (unsigned n = 0; n < 5; n++) assert_int_equal(write_some(), OK);
    store_close(store);
    store = NULL;
    now = folder_load(folder, "data.mdb");
    for (unsigned i = 0; i < 4; i++)
        for (size_t at = 2 * PAGE; at + PAGE <= olds[i].size && at + PAGE <= now.size; at += PAGE) {
            uint8_t page[PAGE];
            if (memcmp(olds[i].data + at, now.data + at, PAGE) == 0) continue;
            memcpy(page, now.data + at, PAGE);
            memcpy(now.data + at, olds[i].data + at, PAGE);
            ends[try_damaged(&now)]++;
            memcpy(now.data + at, page, PAGE);
        }
    print_message("%u went on, %u ended in words, %u refused at the start, %u while writing\n", ends[WROTE],
                  ends[IN_WORDS], ends[REFUSED], ends[WRITE_FAILED]);
    assert_true(ends[WROTE] > 0 && ends[REFUSED] > 0);
    for (unsigned i = 0; i < 4; i++) buffer_free(&olds[i]);
    buffer_free(&now);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BED_TEST(test_books_balance),
        BED_TEST(test_a_later_commit_is_no_damage),
        BED_TEST(test_pages_of_another_time),
    };
    return cmocka_run_group_tests(tests, bed_open, NULL);
}
