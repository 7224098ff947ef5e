/* The table interface: ordered key-value tables read and written in one
 * transaction. storage/ implements it over LMDB with every value sealed;
 * ledger/ sees only this.
 *
 * A transaction belongs to one thread. Values come as copies in the caller's
 * buffer (they were unsealed), keys are plain.
 */
#ifndef BASE_TABLE_H
#define BASE_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"

#define TABLE_KEY_MAX 511 /* LMDB's limit on keys */
#define TABLE_COUNT_MAX 48

struct table_name {
    uint8_t table;    /* 1 .. TABLE_COUNT_MAX - 1 */
    const char *name; /* for dumps, and the name in the store; never changed */
};

struct table_txn;    /* an open transaction */
struct table_cursor; /* a position in one table */

/* ERR_NOT_FOUND when the key is absent; ERR_CORRUPT when the seal does not open.
 * `value` is cleared first. */
enum err table_get(struct table_txn *txn, uint8_t table, struct bytes key, struct buffer *value);
/* OK or ERR_NOT_FOUND, without opening the value. */
enum err table_exists(struct table_txn *txn, uint8_t table, struct bytes key);
enum err table_put(struct table_txn *txn, uint8_t table, struct bytes key, struct bytes value);
enum err table_delete(struct table_txn *txn, uint8_t table, struct bytes key); /* OK also when absent */
uint64_t table_count(struct table_txn *txn, uint8_t table);

/* A cursor sees the transaction's own writes; it ends before its transaction. */
enum err table_cursor_open(struct table_cursor **out, struct table_txn *txn, uint8_t table);
/* The first key at or after `key` (empty: the first of all); ERR_NOT_FOUND past the end. */
enum err table_cursor_seek(struct table_cursor *c, struct bytes key);
/* The last key at or before `key` (empty: the last of all). */
enum err table_cursor_seek_back(struct table_cursor *c, struct bytes key);
enum err table_cursor_next(struct table_cursor *c);
enum err table_cursor_previous(struct table_cursor *c);
/* Valid until the cursor moves or the transaction writes. */
struct bytes table_cursor_key(struct table_cursor *c);
enum err table_cursor_value(struct table_cursor *c, struct buffer *value);
void table_cursor_close(struct table_cursor *c);

/* Deletes the table's first key once there are more than `most`: for tables that grow
 * by one at a time at their end, and are to keep the newest. */
enum err table_drop_oldest(struct table_txn *txn, uint8_t table, uint64_t most);

#endif
