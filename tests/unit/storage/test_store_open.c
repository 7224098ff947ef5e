/* What may be opened and what is refused: wrong keys, owners, later formats, garbage; values whose seals are not
 * theirs. */
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "tests/lib/dies.h"
#include "tests/unit/storage/bed_store.h"

/* --- seals: bytes changed behind the store's back --- */

static void test_a_value_opens_only_in_its_place(void **state)
{
    struct buffer b = {0}, bad_key = {0};
    struct store_position position = {0};
    uint8_t bad_table;
    unsigned bad = 0;
    (void)state;
    begin();
    put(USERS, "a", "plain text");
    commit();
    behind_the_back(exchange);
    begin_read();
    assert_true(has(USERS, "a", "plain text"));
    static const char *const damaged[] = {"moved", "short", "cut", "flipped"};
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(table_get(txn, USERS, bytes_text(damaged[i]), &b), ERR_CORRUPT);
        assert_int_equal(b.size, 0);
    }
    assert_int_equal(table_get(txn, RECORDS, bytes_text("a"), &b), ERR_CORRUPT);
    struct table_cursor *c;
    assert_int_equal(table_cursor_open(&c, txn, RECORDS), OK);
    assert_int_equal(table_cursor_seek(c, bytes_text("")), OK);
    assert_int_equal(table_cursor_value(c, &b), ERR_CORRUPT);
    table_cursor_close(c);
    store_abort(txn);
    while (!position.done) {
        enum err code = store_check(store, &position, 2, &bad_table, &bad_key);
        if (code == OK) continue;
        assert_int_equal(code, ERR_CORRUPT);
        assert_true(bad_table == USERS || bytes_equal(buffer_bytes(&bad_key), bytes_text("a")));
        bad++;
    }
    assert_int_equal(bad, 5);
    assert_int_equal(position.checked, 6);
    buffer_free(&b);
    buffer_free(&bad_key);
}

static void test_check_resumes_everywhere(void **state)
{
    struct buffer bad_key = {0};
    uint8_t bad_table;
    (void)state;
    begin();
    for (int i = 0; i < 50; i++) {
        char name[16];
        snprintf(name, sizeof name, "%d", i);
        put(USERS, name, "u");
        if (i < 20) put(ROWS, name, "r");
    }
    commit();
    for (size_t rows = 1; rows < 80; rows += 13) {
        struct store_position position = {0};
        unsigned calls = 0;
        for (; !position.done; calls++) {
            uint64_t before = position.checked;
            assert_int_equal(store_check(store, &position, rows, &bad_table, &bad_key), OK);
            assert_true(position.checked - before <= rows);
        }
        assert_int_equal(position.checked, 70);
        assert_true(calls >= 70 / rows);
    }
    buffer_free(&bad_key);
}

/* --- opening --- */

static void test_wrong_key(void **state)
{
    struct store_options o = options();
    struct seal_key other = key;
    struct store *s = NULL;
    struct failure failure;
    (void)state;
    other.bytes[7] ^= 1;
    o.key = &other;
    store_close(store);
    assert_int_equal(store_open(&s, &o, &failure), ERR_DECRYPT);
    assert_non_null(strstr(failure.text, "another storage key"));
    assert_null(s);
    store = open_store();
}

static void test_in_use(void **state)
{
    struct store_options o = options();
    struct store *s = NULL;
    struct failure failure;
    char byte;
    int ends[2];
    (void)state;
    assert_int_equal(store_open(&s, &o, &failure), ERR_IN_USE);
    assert_non_null(strstr(failure.text, "held by process"));
    store_close(store);
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        store = open_store();
        if (write(ends[1], "x", 1) == 1) pause();
        _exit(0);
    }
    assert_int_equal(read(ends[0], &byte, 1), 1);
    assert_int_equal(store_open(&s, &o, &failure), ERR_IN_USE);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    close(ends[0]);
    close(ends[1]);
    store = open_store();
}

static void set_format(MDB_txn *t, MDB_dbi users, MDB_dbi records)
{
    MDB_dbi meta;
    (void)users;
    (void)records;
    assert_int_equal(mdb_dbi_open(t, "meta", 0, &meta), 0);
    raw_put(t, meta, "format", "\0\0\0\2", 4);
}

static void test_later_format(void **state)
{
    struct store_options o = options();
    struct failure failure;
    struct store *s = NULL;
    MDB_env *env;
    MDB_txn *t;
    (void)state;
    store_close(store);
    store = NULL;
    assert_int_equal(mdb_env_create(&env), 0);
    mdb_env_set_maxdbs(env, 60);
    assert_int_equal(mdb_env_open(env, folder, 0, 0600), 0);
    assert_int_equal(mdb_txn_begin(env, NULL, 0, &t), 0);
    set_format(t, 0, 0);
    assert_int_equal(mdb_txn_commit(t), 0);
    mdb_env_close(env);
    assert_int_equal(store_open(&s, &o, &failure), ERR_VERSION);
    assert_non_null(strstr(failure.text, "format 2"));
}

static void test_garbage_is_not_opened(void **state)
{
    struct store_options o = options();
    struct failure failure;
    struct store *s = NULL;
    uint8_t garbage[16384];
    (void)state;
    store_close(store);
    store = NULL;
    memset(garbage, 0x42, sizeof garbage);
    folder_store(folder, "data.mdb", BYTES(garbage));
    assert_int_equal(store_open(&s, &o, &failure), ERR_CORRUPT);
    o.directory = "/proc/nonexistent/folder";
    assert_int_not_equal(store_open(&s, &o, &failure), OK);
}

/* A page of the table of tables that another store's would fit: nothing is found in it, and nothing may be begun. */
static void test_a_store_without_its_tables_is_damaged(void **state)
{
    struct store_options o = options();
    struct store *s = NULL;
    (void)state;
    begin();
    put(USERS, "a", "1");
    commit();
    store_close(store);
    store = NULL;
    struct buffer file = folder_load(folder, "data.mdb");
    uint8_t *at = file.data;
    while ((at = memmem(at, file.size - (size_t)(at - file.data), "meta", 4)) != NULL) memcpy(at, "mate", 4);
    folder_store(folder, "data.mdb", buffer_bytes(&file));
    for (int read_only = 0; read_only < 2; read_only++) {
        struct failure failure = {0};
        o.read_only = read_only;
        assert_int_equal(store_open(&s, &o, &failure), ERR_CORRUPT);
    }
    struct buffer after = folder_load(folder, "data.mdb");
    assert_true(bytes_equal(buffer_bytes(&after), buffer_bytes(&file)));
    buffer_free(&file);
    buffer_free(&after);
}

/* Cut to nothing: said so, and not as LMDB's error. (Whoever may write would begin a store: the driver knows better.) */
static void test_an_empty_file_is_named(void **state)
{
    struct store_options o = options();
    struct failure failure = {0};
    (void)state;
    begin();
    commit();
    store_close(store);
    store = NULL;
    folder_store(folder, "data.mdb", (struct bytes){0});
    o.read_only = true;
    struct store *s = NULL;
    assert_int_equal(store_open(&s, &o, &failure), ERR_CORRUPT);
    assert_non_null(strstr(failure.text, "data.mdb is empty"));
}

static void test_read_only_beside_the_owner(void **state)
{
    static const struct table_name newer[] = {{USERS, "users"}, {RECORDS, "later"}};
    struct store_options o = options();
    struct table_txn *t;
    struct table_cursor *c;
    struct buffer b = {0};
    int status;
    (void)state;
    begin();
    put(USERS, "a", "1");
    commit();
    pid_t child = fork(); /* LMDB allows a folder once in a process */
    if (child == 0) {
        struct store *s;
        o.read_only = true;
        o.tables = newer;
        o.table_count = 2;
        CHECK(store_open(&s, &o, NULL) == OK);
        CHECK(store_begin_read(&t, s) == OK);
        CHECK(table_get(t, USERS, bytes_text("a"), &b) == OK);
        CHECK(table_get(t, RECORDS, bytes_text("a"), &b) == ERR_NOT_FOUND); /* a table it has not yet */
        CHECK(table_count(t, RECORDS) == 0);
        CHECK(table_cursor_open(&c, t, RECORDS) == OK);
        CHECK(table_cursor_seek(c, bytes_text("")) == ERR_NOT_FOUND);
        table_cursor_close(c);
        store_abort(t);
        store_close(s);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    begin();
    put(USERS, "b", "2");
    commit();
}

static void test_scratch_is_gone_afterwards(void **state)
{
    char path[FOLDER_PATH];
    struct store_options o = options();
    struct store *s;
    (void)state;
    folder_join(path, folder, "scratch");
    o.directory = path;
    o.scratch = true;
    o.key = NULL;
    assert_int_equal(store_open(&s, &o, NULL), OK);
    assert_int_equal(store_begin_write(&txn, s), OK);
    put(USERS, "a", "1");
    commit();
    struct buffer raw = folder_load(path, "data.mdb");
    assert_true(raw.size > 0);
    buffer_free(&raw);
    store_close(s);
    assert_int_not_equal(access(path, F_OK), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BED_TEST(test_a_value_opens_only_in_its_place),
        BED_TEST(test_check_resumes_everywhere),
        BED_TEST(test_wrong_key),
        BED_TEST(test_in_use),
        BED_TEST(test_later_format),
        BED_TEST(test_garbage_is_not_opened),
        BED_TEST(test_a_store_without_its_tables_is_damaged),
        BED_TEST(test_an_empty_file_is_named),
        BED_TEST(test_read_only_beside_the_owner),
        BED_TEST(test_scratch_is_gone_afterwards),
    };
    return cmocka_run_group_tests(tests, bed_open, NULL);
}
