/* storage/store.h and base/table.h: tables, cursors and snapshots. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/check.h"
#include "tests/lib/dies.h"
#include "tests/lib/trace.h"
#include "tests/unit/storage/bed_store.h"

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

/* --- pages --- */

enum { IN_ORDER = 900, A_PAGE = 3, VALUE = 1200 }; /* three of these values fit into a page */

static enum err put_number(uint32_t n, uint8_t filler)
{
    uint8_t k[4], value[VALUE];
    put_be32(k, n);
    memset(value, filler, sizeof value);
    return table_put(txn, ROWS, BYTES(k), BYTES(value));
}

static bool has_number(uint32_t n, uint8_t filler)
{
    uint8_t k[4], value[VALUE];
    struct buffer b = {0};
    put_be32(k, n);
    memset(value, filler, sizeof value);
    bool same = table_get(txn, ROWS, BYTES(k), &b) == OK && bytes_equal(buffer_bytes(&b), BYTES(value));
    buffer_free(&b);
    return same;
}

/* What comes in the order of its keys leaves no page half empty, over commits, too. */
static void test_rows_in_order_fill_pages(void **state)
{
    struct store_table_size size;
    (void)state;
    for (uint32_t n = 0; n < IN_ORDER; n++) {
        if (n % 100 == 0) begin();
        assert_int_equal(put_number(2 * n, 1), OK);
        if (n % 100 == 99) commit();
    }
    begin_read();
    assert_int_equal(store_table_size(txn, ROWS, &size), OK);
    assert_int_equal(size.entries, IN_ORDER);
    assert_true(size.pages <= IN_ORDER / A_PAGE + 8); /* and a few that lead to them */
    store_abort(txn);
}

/* Full pages take what belongs between, in place of, and before what they hold. */
static void test_full_pages_can_be_written(void **state)
{
    (void)state;
    begin();
    for (uint32_t n = 1; n <= IN_ORDER; n++) assert_int_equal(put_number(2 * n, 1), OK);
    assert_int_equal(put_number(2 * IN_ORDER, 2), OK); /* the last key again */
    assert_int_equal(put_number(0, 1), OK);
    commit();
    begin();
    for (uint32_t n = 0; n < IN_ORDER; n += 7) {
        assert_int_equal(put_number(2 * n, 3), OK);
        assert_int_equal(put_number(2 * n + 1, 4), OK);
    }
    commit();
    begin_read();
    for (uint32_t n = 0; n < IN_ORDER; n++) {
        assert_true(has_number(2 * n, n % 7 == 0 ? 3 : 1));
        assert_int_equal(has_number(2 * n + 1, 4), n % 7 == 0);
    }
    assert_true(has_number(2 * IN_ORDER, 2));
    assert_int_equal(table_count(txn, ROWS), IN_ORDER + 1 + (IN_ORDER + 6) / 7);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        BED_TEST(test_puts_gets_deletes),
        BED_TEST(test_the_oldest_goes),
        BED_TEST(test_sizes),
        BED_TEST(test_misuse_ends_the_process),
        BED_TEST(test_cursor),
        BED_TEST(test_cursor_under_writes),
        BED_TEST(test_cursor_value_after_writes),
        BED_TEST(test_random_against_an_array),
        BED_TEST(test_rows_in_order_fill_pages),
        BED_TEST(test_full_pages_can_be_written),
        BED_TEST(test_readers_see_their_snapshot),
        BED_TEST(test_too_many_readers_are_busy),
        BED_TEST(test_readers_beside_the_writer),
    };
    return cmocka_run_group_tests(tests, bed_open, NULL);
}
