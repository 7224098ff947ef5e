/* Reading and writing one row, for ledger/state_*.c: get, decode, CORRUPT when it
 * does not decode; encode, put, NOMEM when the buffer failed. */
#ifndef LEDGER_ROWS_H
#define LEDGER_ROWS_H

#include "base/pack.h"
#include "base/table.h"
#include "ledger/tables.h"

/* A row being read: `row_close` frees it and says what became of it. */
struct row {
    enum err err; /* of the get */
    struct buffer value;
    struct unpack u;
};

static inline void row_open(struct row *row, struct table_txn *txn, enum table_number table, struct bytes key)
{
    *row = (struct row){0};
    row->err = table_get(txn, (uint8_t)table, key, &row->value);
    row->u = unpack_start(buffer_bytes(&row->value));
}

static inline enum err row_close(struct row *row)
{
    enum err err = row->err;
    if (err == OK && unpack_done(&row->u) != OK) err = ERR_CORRUPT;
    buffer_free(&row->value);
    return err;
}

/* A row of fixed fields: exactly `size` bytes into `out`. */
static inline enum err row_get_fixed(void *out, size_t size, struct table_txn *txn, enum table_number table,
                                     struct bytes key)
{
    struct buffer value = {0};
    enum err err = table_get(txn, (uint8_t)table, key, &value);
    if (err == OK && value.size != size) err = ERR_CORRUPT;
    if (err == OK)
        for (size_t i = 0; i < size; i++)
            ((uint8_t *)out)[i] = value.data[i];
    buffer_free(&value);
    return err;
}

static inline enum err row_put(struct table_txn *txn, enum table_number table, struct bytes key, struct buffer *value)
{
    enum err err = value->failed ? ERR_NOMEM : table_put(txn, (uint8_t)table, key, buffer_bytes(value));
    buffer_free(value);
    return err;
}

/* Text into an array of LIMIT + 1 with its final zero; too long, or with a zero inside, is damage. */
void row_text(char *out, size_t size, struct unpack *u);

#endif
