/* What the store's files share; nobody else includes this. */
#ifndef STORAGE_STORE_INTERNAL_H
#define STORAGE_STORE_INTERNAL_H

#include "storage/store.h"

/* The first of the store's tables at or after `table`; 0: none. Any thread. */
uint8_t store_table_from(const struct store *store, unsigned table);

#endif
