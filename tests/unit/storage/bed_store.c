#include "tests/unit/storage/bed_store.h"

#include "base/log.h"
#include "crypto/random.h"

const struct table_name tables[] = {{USERS, "users"}, {RECORDS, "notes"}, {ROWS, "rows"}};
const struct seal_key key = {.bytes = "storage key of these tests......"};

char folder[FOLDER_PATH];
struct store *store;
struct table_txn *txn;

struct store_options options(void)
{
    return (struct store_options){.directory = folder, .tables = tables, .table_count = 3, .key = &key,
                                  .map_size = MAP};
}

struct store *open_store(void)
{
    struct store_options o = options();
    struct store *s = NULL;
    struct failure failure = {0};
    if (store_open(&s, &o, &failure) != OK) print_message("%s\n", failure.text);
    assert_non_null(s);
    return s;
}

void reopen(void)
{
    store_close(store);
    store = open_store();
}

void put(uint8_t table, const char *k, const char *value)
{
    assert_int_equal(table_put(txn, table, bytes_text(k), bytes_text(value)), OK);
}

bool has(uint8_t table, const char *k, const char *value)
{
    struct buffer b = {0};
    enum err code = table_get(txn, table, bytes_text(k), &b);
    bool same = value ? code == OK && bytes_equal(buffer_bytes(&b), bytes_text(value)) : code == ERR_NOT_FOUND;
    assert_int_equal(table_exists(txn, table, bytes_text(k)), code == ERR_CORRUPT ? OK : code);
    buffer_free(&b);
    return same;
}

void begin(void) { assert_int_equal(store_begin_write(&txn, store), OK); }
void begin_read(void) { assert_int_equal(store_begin_read(&txn, store), OK); }
void commit(void) { assert_int_equal(store_commit(txn), OK); }

/* --- seals: bytes changed behind the store's back --- */

/* With the store closed: calls `change` on the raw data bases. */
void behind_the_back(void (*change)(MDB_txn *, MDB_dbi users, MDB_dbi records))
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

void raw_put(MDB_txn *t, MDB_dbi table, const char *k, const void *data, size_t size)
{
    MDB_val name = {strlen(k), (void *)(uintptr_t)k}, value = {size, (void *)(uintptr_t)data};
    assert_int_equal(mdb_put(t, table, &name, &value, 0), 0);
}

void exchange(MDB_txn *t, MDB_dbi users, MDB_dbi records)
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

/* --- pages that are not what LMDB left --- */

int setup(void **state)
{
    (void)state;
    folder_make(folder, 1);
    store = open_store();
    return 0;
}

int teardown(void **state)
{
    (void)state;
    store_close(store);
    folder_remove(folder);
    return 0;
}

int bed_open(void **state)
{
    (void)state;
    crypto_init();
    log_setup(LOG_ERROR + 1, false);
    return 0;
}
