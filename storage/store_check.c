/* Scrubbing: every value is opened, table by table, key by key, and resumed anywhere. Knows no LMDB. */
#include <string.h>

#include "storage/store.h"
#include "storage/store_internal.h"

static void position_table(struct store_position *at, uint8_t table)
{
    at->table = table;
    at->key_size = 0;
    at->done = table == 0;
}

static void position_key(struct store_position *at, struct bytes key)
{
    memcpy(at->key, key.data, key.size);
    at->key_size = (uint16_t)key.size;
    at->checked++;
}

/* Past the last key that was checked. */
static enum err cursor_resume(struct table_cursor *c, const struct store_position *at)
{
    struct bytes key = bytes_of(at->key, at->key_size);
    enum err code = table_cursor_seek(c, key);
    return code == OK && at->key_size && bytes_equal(table_cursor_key(c), key) ? table_cursor_next(c) : code;
}

/* Up to `rows` values of the table; ERR_NOT_FOUND at its end. */
static enum err check_table(struct table_cursor *c, struct store_position *at, size_t *rows)
{
    struct buffer value = {0};
    enum err code = cursor_resume(c, at);
    while (code == OK && *rows > 0) {
        code = table_cursor_value(c, &value);
        if (code == OK || code == ERR_CORRUPT) position_key(at, table_cursor_key(c));
        if (code == OK) code = --*rows ? table_cursor_next(c) : OK;
    }
    buffer_free(&value);
    return code;
}

enum err store_check(struct store *s, struct store_position *at, size_t rows, uint8_t *bad_table,
                     struct buffer *bad_key)
{
    struct table_txn *t;
    struct table_cursor *c;
    if (at->table == 0) position_table(at, store_table_from(s, 1));
    enum err code = at->done ? OK : store_begin_read(&t, s);
    if (code != OK || at->done) return code;
    while (code == OK && rows > 0 && !at->done) {
        code = table_cursor_open(&c, t, at->table);
        if (code != OK) break;
        code = check_table(c, at, &rows);
        table_cursor_close(c);
        if (code != ERR_NOT_FOUND) continue;
        position_table(at, store_table_from(s, at->table + 1u));
        code = OK;
    }
    store_abort(t);
    if (code == ERR_CORRUPT) {
        *bad_table = at->table;
        buffer_clear(bad_key);
        buffer_append(bad_key, at->key, at->key_size);
    }
    return code;
}
