#include "base/table.h"

#include <string.h>

enum err table_drop_oldest(struct table_txn *txn, uint8_t table, uint64_t most)
{
    struct table_cursor *c;
    uint8_t key[TABLE_KEY_MAX];
    size_t size = 0;
    if (table_count(txn, table) <= most) return OK;
    enum err e = table_cursor_open(&c, txn, table);
    if (e != OK) return e;
    e = table_cursor_seek(c, (struct bytes){0});
    if (e == OK) {
        struct bytes first = table_cursor_key(c); /* moves when the table is written to */
        size = first.size;
        memcpy(key, first.data, size);
    }
    table_cursor_close(c);
    return e == OK ? table_delete(txn, table, bytes_of(key, size)) : e;
}
