/* A store in a folder of its own for each test, and what reads and writes it, also behind its back. */
#ifndef TESTS_UNIT_STORAGE_BED_STORE_H
#define TESTS_UNIT_STORAGE_BED_STORE_H

#include "tests/lib/unit.h"

#include <lmdb.h>

#include "storage/store.h"
#include "tests/lib/folder.h"

enum { USERS = 1, RECORDS = 2, ROWS = 40 };
#define MAP (UINT64_C(256) << 20)

extern const struct table_name tables[];
extern const struct seal_key key;
extern char folder[FOLDER_PATH];
extern struct store *store;
extern struct table_txn *txn;

struct store_options options(void);
struct store *open_store(void);
void reopen(void);
/* In the open transaction `txn`; has(…, NULL): nothing is there. */
void put(uint8_t table, const char *k, const char *value);
bool has(uint8_t table, const char *k, const char *value);
/* Transactions on `store`; they must work. */
void begin(void);
void begin_read(void);
void commit(void);

/* With the store closed: calls `change` on the raw data bases. */
void behind_the_back(void (*change)(MDB_txn *, MDB_dbi users, MDB_dbi records));
void raw_put(MDB_txn *t, MDB_dbi table, const char *k, const void *data, size_t size);
/* A `change`: two sealed values in each other's place. */
void exchange(MDB_txn *t, MDB_dbi users, MDB_dbi records);

int setup(void **state);
int teardown(void **state);

/* Before all tests of a program. */
int bed_open(void **state);
#define BED_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
