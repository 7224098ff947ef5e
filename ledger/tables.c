#include "ledger/tables.h"

#include "crypto/hash.h"

const struct table_name ledger_tables[] = {
#define X(name, number, text, replicated) {number, text},
    TABLE_LIST(X)
#undef X
};
const size_t ledger_tables_count = sizeof ledger_tables / sizeof ledger_tables[0];

bool table_is_replicated(enum table_number table)
{
    switch (table) {
#define X(name, number, text, replicated)                                                          \
    case name: return replicated;
        TABLE_LIST(X)
#undef X
    }
    return false;
}

static void add_sized(struct hash *h, struct bytes data)
{
    uint8_t size[8];
    put_be64(size, data.size);
    hash_add(h, size, sizeof size);
    hash_add(h, data.data, data.size);
}

static enum err add_table(struct hash *h, struct table_txn *txn, enum table_number table)
{
    struct table_cursor *c;
    struct buffer value = {0};
    uint8_t number = (uint8_t)table;
    enum err err = table_cursor_open(&c, txn, number);
    if (err != OK) return err;
    hash_add(h, &number, 1);
    for (err = table_cursor_seek(c, (struct bytes){0}); err == OK; err = table_cursor_next(c)) {
        err = table_cursor_value(c, &value);
        if (err != OK) break;
        add_sized(h, table_cursor_key(c));
        add_sized(h, buffer_bytes(&value));
    }
    buffer_free(&value);
    table_cursor_close(c);
    return err == ERR_NOT_FOUND ? OK : err;
}

enum err ledger_digest_table(struct digest *out, struct table_txn *txn, enum table_number table)
{
    struct hash h;
    hash_start(&h);
    enum err err = add_table(&h, txn, table);
    hash_end(out, &h);
    return err;
}

enum err ledger_digest(struct digest *out, struct table_txn *txn)
{
    struct hash h;
    enum err err = OK;
    hash_start(&h);
    for (size_t i = 0; i < ledger_tables_count && err == OK; i++) {
        enum table_number table = (enum table_number)ledger_tables[i].table;
        if (table_is_replicated(table)) err = add_table(&h, txn, table);
    }
    hash_end(out, &h);
    return err;
}
