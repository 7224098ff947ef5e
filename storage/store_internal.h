/* What the store's files share; nobody else includes this. */
#ifndef STORAGE_STORE_INTERNAL_H
#define STORAGE_STORE_INTERNAL_H

#include <lmdb.h>
#include <stdbool.h>

#include "base/error.h"
#include "storage/store.h"

/* The first of the store's tables at or after `table`; 0: none. Any thread. */
uint8_t store_table_from(const struct store *store, unsigned table);

/* The pages that the snapshot of a read transaction uses and those that are free: ERR_CORRUPT
 * when that can't be true, in words in `failure`; ERR_BUSY: something was committed since;
 * ERR_NOMEM. *code: LMDB's own error, 0 for none. Takes a bit for each page of the file,
 * for the call, and the time to read the list of free ones. */
enum err store_pages_check(MDB_env *env, MDB_txn *txn, const MDB_dbi *tables, size_t count, int *code,
                           struct failure *failure);

/* Where the file is mapped. base 0: not known, and no value is looked at. */
struct store_map {
    uintptr_t base;
    size_t size, page_size; /* bytes */
};
/* From a value that a read transaction shows. */
void store_map_find(struct store_map *map, const MDB_val *value, size_t page_size, size_t size);
/* Whether the head of the page that a key or value lies on is as LMDB made it: one of a leaf, or
 * of a value's own pages, as many as it needs. Else LMDB must not be let write there. */
bool store_page_sound(const struct store_map *map, const MDB_val *value);

#endif
