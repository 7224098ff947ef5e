/* storage/store.h and base/table.h: tables, cursors, snapshots, seals, commits through
 * kills, and full disks. Some tests put bytes into LMDB behind the store's back. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <lmdb.h>

#include "base/check.h"
#include "base/log.h"
#include "crypto/random.h"
#include "storage/store.h"
#include "storage/store_guard.h"
#include "tests/lib/dies.h"
#include "tests/lib/folder.h"
#include "tests/lib/trace.h"
#include "tests/lib/unit.h"

enum { USERS = 1, RECORDS = 2, ROWS = 40 };
static const struct table_name tables[] = {{USERS, "users"}, {RECORDS, "notes"}, {ROWS, "rows"}};
static const struct seal_key key = {.bytes = "storage key of these tests......"};
#define MAP (UINT64_C(256) << 20)

static char folder[FOLDER_PATH];
static struct store *store;
static struct table_txn *txn;

static struct store_options options(void)
{
    return (struct store_options){.directory = folder, .tables = tables, .table_count = 3, .key = &key, .map_size = MAP};
}

static struct store *open_store(void)
{
    struct store_options o = options();
    struct store *s = NULL;
    struct failure failure = {0};
    if (store_open(&s, &o, &failure) != OK) print_message("%s\n", failure.text);
    assert_non_null(s);
    return s;
}

static void reopen(void)
{
    store_close(store);
    store = open_store();
}

static void put(uint8_t table, const char *k, const char *value)
{
    assert_int_equal(table_put(txn, table, bytes_text(k), bytes_text(value)), OK);
}

static bool has(uint8_t table, const char *k, const char *value)
{
    struct buffer b = {0};
    enum err code = table_get(txn, table, bytes_text(k), &b);
    bool same = value ? code == OK && bytes_equal(buffer_bytes(&b), bytes_text(value)) : code == ERR_NOT_FOUND;
    assert_int_equal(table_exists(txn, table, bytes_text(k)), code == ERR_CORRUPT ? OK : code);
    buffer_free(&b);
    return same;
}

static void begin(void) { assert_int_equal(store_begin_write(&txn, store), OK); }
static void begin_read(void) { assert_int_equal(store_begin_read(&txn, store), OK); }
static void commit(void) { assert_int_equal(store_commit(txn), OK); }

static void test_puts_gets_deletes(void **state)
{
    (void)state;
    begin();
    assert_true(has(USERS, "a", NULL));
    put(USERS, "a", "1");
    put(USERS, "b", "");
    put(RECORDS, "a", "other table");
    assert_true(has(USERS, "a", "1") && has(USERS, "b", "") && has(RECORDS, "a", "other table"));
    put(USERS, "a", "replaced");
    assert_true(has(USERS, "a", "replaced"));
    assert_int_equal(table_count(txn, USERS), 2);
    assert_int_equal(table_delete(txn, USERS, bytes_text("b")), OK);
    assert_int_equal(table_delete(txn, USERS, bytes_text("never")), OK);
    assert_true(has(USERS, "b", NULL));
    assert_true(store_txn_bytes(txn) > 3 * SEAL_OVERHEAD);
    commit();
    for (int i = 0; i < 2; i++) {
        begin_read();
        assert_true(has(USERS, "a", "replaced") && has(USERS, "b", NULL) && has(RECORDS, "a", "other table"));
        assert_int_equal(table_count(txn, USERS), 1);
        assert_int_equal(store_txn_bytes(txn), 0);
        store_abort(txn);
        reopen();
    }
    begin();
    put(USERS, "c", "3");
    store_abort(txn);
    begin_read();
    assert_true(has(USERS, "c", NULL));
    store_abort(txn);
}

static void test_the_oldest_goes(void **state)
{
    (void)state;
    begin();
    assert_int_equal(table_drop_oldest(txn, USERS, 0), OK); /* nothing there */
    put(USERS, "b", "2");
    put(USERS, "a-longer-key", "1");
    put(USERS, "c", "3");
    assert_int_equal(table_drop_oldest(txn, USERS, 3), OK);
    assert_int_equal(table_count(txn, USERS), 3);
    assert_int_equal(table_drop_oldest(txn, USERS, 2), OK);
    assert_true(has(USERS, "a-longer-key", NULL) && has(USERS, "b", "2") && has(USERS, "c", "3"));
    assert_int_equal(table_drop_oldest(txn, USERS, 0), OK); /* one at a time */
    assert_int_equal(table_count(txn, USERS), 1);
    commit();
}

static void test_sizes(void **state)
{
    uint8_t long_key[TABLE_KEY_MAX];
    uint8_t *large = malloc(LIMIT_STORE_VALUE + 1);
    struct buffer b = {0};
    (void)state;
    memset(long_key, 'k', sizeof long_key);
    memset(large, 'v', LIMIT_STORE_VALUE + 1);
    begin();
    for (size_t size = 1; size <= TABLE_KEY_MAX; size += 51)
        assert_int_equal(table_put(txn, ROWS, bytes_of(long_key, size), bytes_of(large, size * 100)), OK);
    assert_int_equal(table_put(txn, ROWS, bytes_text("large"), bytes_of(large, LIMIT_STORE_VALUE)), OK);
    assert_int_equal(table_put(txn, ROWS, bytes_text("larger"), bytes_of(large, LIMIT_STORE_VALUE + 1)), ERR_TOO_LARGE);
    commit();
    assert_int_equal(store_failed(store), OK);
    begin_read();
    for (size_t size = 1; size <= TABLE_KEY_MAX; size += 51) {
        assert_int_equal(table_get(txn, ROWS, bytes_of(long_key, size), &b), OK);
        assert_int_equal(b.size, size * 100);
    }
    assert_int_equal(table_get(txn, ROWS, bytes_text("large"), &b), OK);
    assert_true(bytes_equal(buffer_bytes(&b), bytes_of(large, LIMIT_STORE_VALUE)));
    store_abort(txn);
    buffer_free(&b);
    free(large);
}

static void empty_key(void) { table_put(txn, USERS, bytes_text(""), bytes_text("")); }
static void unknown_table(void) { table_put(txn, 7, bytes_text("k"), bytes_text("")); }
static void close_with_open_txn(void) { store_close(store); }
static void write_in_read(void)
{
    struct table_txn *read;
    store_abort(txn);
    if (store_begin_read(&read, store) == OK) table_put(read, USERS, bytes_text("k"), bytes_text(""));
}
static void commit_with_open_cursor(void)
{
    struct table_cursor *c;
    if (table_cursor_open(&c, txn, USERS) == OK) store_commit(txn);
}

static void test_misuse_ends_the_process(void **state)
{
    (void)state;
    begin();
    assert_true(dies(empty_key));
    assert_true(dies(unknown_table));
    assert_true(dies(write_in_read));
    assert_true(dies(commit_with_open_cursor));
    assert_true(dies(close_with_open_txn));
    store_abort(txn);
}

/* --- cursors --- */

static bool at(struct table_cursor *c, enum err code, const char *k)
{
    if (!k) return code == ERR_NOT_FOUND;
    return code == OK && bytes_equal(table_cursor_key(c), bytes_text(k));
}

static void test_cursor(void **state)
{
    struct table_cursor *c;
    struct buffer b = {0};
    (void)state;
    begin();
    put(USERS, "b", "B");
    put(USERS, "d", "D");
    put(USERS, "dd", "DD");
    put(USERS, "f", "F");
    for (int i = 0; i < 2; i++) {
        assert_int_equal(table_cursor_open(&c, txn, USERS), OK);
        assert_true(at(c, table_cursor_seek(c, bytes_text("")), "b"));
        assert_true(at(c, table_cursor_seek(c, bytes_text("a")), "b"));
        assert_true(at(c, table_cursor_seek(c, bytes_text("c")), "d"));
        assert_true(at(c, table_cursor_next(c), "dd"));
        assert_int_equal(table_cursor_value(c, &b), OK);
        assert_true(bytes_equal(buffer_bytes(&b), bytes_text("DD")));
        assert_true(at(c, table_cursor_next(c), "f"));
        assert_true(at(c, table_cursor_next(c), NULL));
        assert_true(at(c, table_cursor_seek(c, bytes_text("g")), NULL));
        assert_true(at(c, table_cursor_seek_back(c, bytes_text("")), "f"));
        assert_true(at(c, table_cursor_seek_back(c, bytes_text("z")), "f"));
        assert_true(at(c, table_cursor_seek_back(c, bytes_text("e")), "dd"));
        assert_true(at(c, table_cursor_seek_back(c, bytes_text("d")), "d"));
        assert_true(at(c, table_cursor_previous(c), "b"));
        assert_true(at(c, table_cursor_previous(c), NULL));
        assert_true(at(c, table_cursor_seek_back(c, bytes_text("a")), NULL));
        table_cursor_close(c);
        assert_int_equal(table_cursor_open(&c, txn, RECORDS), OK); /* empty */
        assert_true(at(c, table_cursor_seek(c, bytes_text("")), NULL));
        assert_true(at(c, table_cursor_seek_back(c, bytes_text("")), NULL));
        assert_true(at(c, table_cursor_seek_back(c, bytes_text("x")), NULL));
        table_cursor_close(c);
        if (i == 1) break;
        commit();
        begin_read();
    }
    store_abort(txn);
    buffer_free(&b);
}

/* Deleting and putting under a cursor that walks: every key is seen once, the
 * deleted ones are not stumbled over. Over many pages, forwards and back. */
static void test_cursor_under_writes(void **state)
{
    char name[32];
    (void)state;
    for (int backwards = 0; backwards < 2; backwards++) {
        struct table_cursor *c;
        unsigned seen = 0;
        begin();
        for (int i = 0; i < 2000; i++) {
            snprintf(name, sizeof name, "key%05d", i);
            put(ROWS, name, "some value that takes a little room in the page");
        }
        assert_int_equal(table_cursor_open(&c, txn, ROWS), OK);
        enum err code = backwards ? table_cursor_seek_back(c, bytes_text("")) : table_cursor_seek(c, bytes_text(""));
        while (code == OK) {
            struct bytes k = table_cursor_key(c);
            snprintf(name, sizeof name, "key%05d", backwards ? 1999 - (int)seen : (int)seen);
            assert_true(bytes_equal(k, bytes_text(name)));
            if (seen % 3 != 1) assert_int_equal(table_delete(txn, ROWS, k), OK);
            put(USERS, name, "elsewhere");
            seen++;
            code = backwards ? table_cursor_previous(c) : table_cursor_next(c);
        }
        assert_int_equal(code, ERR_NOT_FOUND);
        assert_int_equal(seen, 2000);
        assert_int_equal(table_count(txn, ROWS), 667);
        table_cursor_close(c);
        store_abort(txn);
    }
}

static void test_cursor_value_after_writes(void **state)
{
    struct table_cursor *c;
    struct buffer b = {0};
    (void)state;
    begin();
    put(USERS, "a", "1");
    put(USERS, "b", "2");
    assert_int_equal(table_cursor_open(&c, txn, USERS), OK);
    assert_int_equal(table_cursor_seek(c, bytes_text("a")), OK);
    put(USERS, "a", "changed");
    assert_int_equal(table_cursor_value(c, &b), OK);
    assert_true(bytes_equal(buffer_bytes(&b), bytes_text("changed")));
    assert_int_equal(table_delete(txn, USERS, bytes_text("a")), OK);
    assert_int_equal(table_cursor_value(c, &b), ERR_NOT_FOUND);
    assert_true(bytes_equal(table_cursor_key(c), bytes_text("a")));
    assert_int_equal(table_cursor_next(c), OK);
    assert_true(bytes_equal(table_cursor_key(c), bytes_text("b")));
    table_cursor_close(c);
    store_abort(txn);
    buffer_free(&b);
}

/* Against a plain sorted array, at random. */
#define KEYS 300
static void test_random_against_an_array(void **state)
{
    uint64_t seed = 42, values[KEYS] = {0}; /* 0: absent */
    (void)state;
    begin();
    for (int i = 0; i < 20000; i++) {
        uint8_t k[2], v[8];
        unsigned n = (unsigned)(trace_random(&seed) % KEYS);
        put_be16(k, (uint16_t)n);
        if (trace_random(&seed) % 3) {
            values[n] = trace_random(&seed) | 1;
            put_be64(v, values[n]);
            assert_int_equal(table_put(txn, ROWS, BYTES(k), BYTES(v)), OK);
        } else {
            values[n] = 0;
            assert_int_equal(table_delete(txn, ROWS, BYTES(k)), OK);
        }
        if (i % 1000 != 999) continue;
        struct table_cursor *c;
        struct buffer b = {0};
        if (i % 2000 == 999) {
            commit();
            begin();
        }
        assert_int_equal(table_cursor_open(&c, txn, ROWS), OK);
        enum err code = table_cursor_seek(c, bytes_text(""));
        for (n = 0; n < KEYS; n++) {
            if (values[n] == 0) continue;
            assert_int_equal(code, OK);
            assert_int_equal(get_be16(table_cursor_key(c).data), n);
            assert_int_equal(table_cursor_value(c, &b), OK);
            assert_true(get_be64(b.data) == values[n]);
            code = table_cursor_next(c);
        }
        assert_int_equal(code, ERR_NOT_FOUND);
        table_cursor_close(c);
        buffer_free(&b);
    }
    store_abort(txn);
}

/* --- snapshots --- */

static void test_readers_see_their_snapshot(void **state)
{
    struct table_txn *reader;
    struct buffer b = {0};
    (void)state;
    begin();
    put(USERS, "a", "old");
    commit();
    assert_int_equal(store_begin_read(&reader, store), OK);
    begin();
    put(USERS, "a", "new");
    assert_int_equal(table_get(reader, USERS, bytes_text("a"), &b), OK);
    assert_true(bytes_equal(buffer_bytes(&b), bytes_text("old")));
    commit();
    assert_int_equal(table_get(reader, USERS, bytes_text("a"), &b), OK);
    assert_true(bytes_equal(buffer_bytes(&b), bytes_text("old")));
    assert_int_equal(store_renew(reader), OK);
    assert_int_equal(table_get(reader, USERS, bytes_text("a"), &b), OK);
    assert_true(bytes_equal(buffer_bytes(&b), bytes_text("new")));
    store_abort(reader);
    buffer_free(&b);
}

static void test_too_many_readers_are_busy(void **state)
{
    struct table_txn *readers[LIMIT_STORE_READERS], *more;
    (void)state;
    for (unsigned i = 0; i < LIMIT_STORE_READERS; i++) assert_int_equal(store_begin_read(&readers[i], store), OK);
    assert_int_equal(store_begin_read(&more, store), ERR_BUSY);
    store_abort(readers[3]);
    assert_int_equal(store_begin_read(&readers[3], store), OK);
    for (unsigned i = 0; i < LIMIT_STORE_READERS; i++) store_abort(readers[i]);
    assert_int_equal(store_failed(store), OK);
}

static atomic_bool stop;
static atomic_uint rounds; /* of reading */

static void *read_pairs(void *data)
{
    struct buffer a = {0}, b = {0};
    struct table_txn *t;
    (void)data;
    CHECK(store_begin_read(&t, store) == OK);
    for (; !atomic_load(&stop); atomic_fetch_add(&rounds, 1)) {
        CHECK(store_renew(t) == OK);
        enum err code = table_get(t, USERS, bytes_text("pair"), &a);
        CHECK(table_get(t, RECORDS, bytes_text("pair"), &b) == code);
        CHECK(code == ERR_NOT_FOUND || (code == OK && bytes_equal(buffer_bytes(&a), buffer_bytes(&b))));
    }
    store_abort(t);
    buffer_free(&a);
    buffer_free(&b);
    return NULL;
}

static void test_readers_beside_the_writer(void **state)
{
    pthread_t threads[3];
    (void)state;
    atomic_store(&stop, false);
    for (int i = 0; i < 3; i++) assert_int_equal(pthread_create(&threads[i], NULL, read_pairs, NULL), 0);
    for (int i = 0; i < 200 || atomic_load(&rounds) < 1000; i++) {
        char text[32];
        snprintf(text, sizeof text, "value %d", i);
        begin();
        put(USERS, "pair", text);
        put(RECORDS, "pair", text);
        commit();
    }
    atomic_store(&stop, true);
    for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
}

/* --- seals: bytes changed behind the store's back --- */

/* With the store closed: calls `change` on the raw data bases. */
static void behind_the_back(void (*change)(MDB_txn *, MDB_dbi users, MDB_dbi records))
{
    MDB_env *env;
    MDB_txn *t;
    MDB_dbi users, records;
    store_close(store);
    store = NULL;
    assert_int_equal(mdb_env_create(&env), 0);
    mdb_env_set_maxdbs(env, 60);
    mdb_env_set_mapsize(env, MAP);
    assert_int_equal(mdb_env_open(env, folder, 0, 0600), 0);
    assert_int_equal(mdb_txn_begin(env, NULL, 0, &t), 0);
    assert_int_equal(mdb_dbi_open(t, "users", 0, &users), 0);
    assert_int_equal(mdb_dbi_open(t, "notes", 0, &records), 0);
    change(t, users, records);
    assert_int_equal(mdb_txn_commit(t), 0);
    mdb_env_close(env);
    store = open_store();
}

static MDB_val raw_get(MDB_txn *t, MDB_dbi table, const char *k)
{
    MDB_val name = {strlen(k), (void *)(uintptr_t)k}, value;
    assert_int_equal(mdb_get(t, table, &name, &value), 0);
    return value;
}

static void raw_put(MDB_txn *t, MDB_dbi table, const char *k, const void *data, size_t size)
{
    MDB_val name = {strlen(k), (void *)(uintptr_t)k}, value = {size, (void *)(uintptr_t)data};
    assert_int_equal(mdb_put(t, table, &name, &value, 0), 0);
}

static void exchange(MDB_txn *t, MDB_dbi users, MDB_dbi records)
{
    uint8_t copy[100];
    MDB_val a = raw_get(t, users, "a");
    size_t size = a.mv_size;
    memcpy(copy, a.mv_data, size);
    raw_put(t, users, "moved", copy, size);   /* under another key */
    raw_put(t, records, "a", copy, size);     /* in another table */
    raw_put(t, users, "short", copy, SEAL_OVERHEAD - 1);
    raw_put(t, users, "cut", copy, size - 1);
    copy[30] ^= 1;
    raw_put(t, users, "flipped", copy, size);
    assert_null(memmem(copy, size, "plain text", 10));
}

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

static int setup(void **state)
{
    (void)state;
    folder_make(folder, 1);
    store = open_store();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    store_close(store);
    folder_remove(folder);
    return 0;
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_puts_gets_deletes),
        TEST(test_the_oldest_goes),
        TEST(test_sizes),
        TEST(test_misuse_ends_the_process),
        TEST(test_cursor),
        TEST(test_cursor_under_writes),
        TEST(test_cursor_value_after_writes),
        TEST(test_random_against_an_array),
        TEST(test_readers_see_their_snapshot),
        TEST(test_too_many_readers_are_busy),
        TEST(test_readers_beside_the_writer),
        TEST(test_a_value_opens_only_in_its_place),
        TEST(test_check_resumes_everywhere),
        TEST(test_wrong_key),
        TEST(test_in_use),
        TEST(test_later_format),
        TEST(test_garbage_is_not_opened),
        TEST(test_a_store_without_its_tables_is_damaged),
        TEST(test_read_only_beside_the_owner),
        TEST(test_scratch_is_gone_afterwards),
        TEST(test_full_map),
        TEST(test_full_device),
        TEST(test_space),
        TEST(test_kill_9_during_commits),
        TEST(test_a_file_cut_short_ends_in_words),
        TEST(test_other_signals_stay),
        TEST(test_keys_out_of_order),
    };
    crypto_init();
    log_setup(LOG_ERROR + 1, false);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
