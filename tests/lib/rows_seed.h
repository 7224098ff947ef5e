/* For fuzz targets of what stands in a node's tables: the input as a list of choices, and a scratch store with the rows
 * that it describes. */
#ifndef TESTS_LIB_ROWS_SEED_H
#define TESTS_LIB_ROWS_SEED_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "crypto/random.h"
#include "ledger/tables.h"
#include "storage/store.h"
#include "tests/lib/folder.h"

struct choices {
    const uint8_t *at, *end;
};

static inline struct choices choices_of(struct bytes in) { return (struct choices){in.data, in.data + in.size}; }
static inline uint8_t choose(struct choices *c) { return c->at < c->end ? *c->at++ : 0; }

/* As many as there are, at most. */
static inline struct bytes choose_bytes(struct choices *c, size_t size)
{
    size_t left = (size_t)(c->end - c->at);
    struct bytes out = bytes_of(c->at, left < size ? left : size);
    c->at += out.size;
    return out;
}

/* Changes one bit of it, or none; says whether. */
static inline bool choose_flip(struct choices *c, uint8_t *data, size_t size)
{
    unsigned how = choose(c), at = (unsigned)choose(c) << 8 | choose(c);
    if (!(how & 8) || size == 0) return false;
    data[at % size] ^= (uint8_t)(1u << how % 8);
    return true;
}

static struct store *rows_store_made; /* one of a program */

static inline void rows_store_close(void) { store_close(rows_store_made); /* a scratch store removes its folder */ }

static inline struct store *rows_store(void)
{
    static char folder[FOLDER_PATH];
    struct store_options o = {.directory = folder, .tables = ledger_tables, .scratch = true};
    if (rows_store_made) return rows_store_made;
    o.table_count = ledger_tables_count;
    o.map_size = 1u << 26;
    crypto_init();
    folder_make(folder, 1);
    CHECK(store_open(&rows_store_made, &o, NULL) == OK);
    atexit(rows_store_close);
    return rows_store_made;
}

/* A write transaction in which that table is empty; the caller commits or aborts it. */
static inline struct table_txn *rows_begin(uint8_t table)
{
    struct table_txn *txn;
    struct table_cursor *c;
    CHECK(store_begin_write(&txn, rows_store()) == OK);
    for (enum err e = OK; e == OK;) {
        uint8_t key[TABLE_KEY_MAX];
        CHECK(table_cursor_open(&c, txn, table) == OK);
        e = table_cursor_seek(c, (struct bytes){0});
        struct bytes at = e == OK ? table_cursor_key(c) : (struct bytes){0};
        if (at.size) memcpy(key, at.data, at.size);
        table_cursor_close(c);
        if (e == OK) CHECK(table_delete(txn, table, bytes_of(key, at.size)) == OK);
    }
    return txn;
}

#endif
