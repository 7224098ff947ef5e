/* The store: LMDB behind base/table.h, every value sealed.
 *
 * One write transaction at a time, which may stay open for long; any number of
 * readers beside it, up to a limit, each on the state of the last commit. A
 * commit is durable when it returns. Values are sealed with the storage key,
 * additional data = table name and key, so that a value put under another key or
 * into another table does not open. Keys are plain.
 *
 * Failures: an error of LMDB or of the device in a write transaction is final;
 * the store takes no more writes and store_failed says which error it was. The
 * node stops then; a restart finds the last commit. A value that was changed is
 * ERR_CORRUPT for itself; pages that are not what LMDB left are ERR_CORRUPT where it
 * can be told, else the end of the process (storage/store_guard.h).
 *
 * Threads: open and close by the owner; a transaction, its cursors and table_*
 * calls stay on the thread that began it, but a read transaction without cursors may
 * be handed over to another thread; store_space, store_failed: any.
 */
#ifndef STORAGE_STORE_H
#define STORAGE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/limits.h"
#include "base/table.h"
#include "crypto/seal.h"

struct store;

struct store_options {
    const char *directory; /* must exist, but for scratch: made, and removed by store_close */
    const struct table_name *tables; /* must outlive the store */
    size_t table_count;
    const struct seal_key *key; /* the storage key; copied into secret memory; scratch: NULL, a random one */
    uint64_t map_size;          /* 0: STORE_MAP_SIZE; address space, not disk */
    uint64_t watermark;         /* 0: STORE_WATERMARK; see store_space */
    unsigned readers;           /* 0: LIMIT_STORE_READERS */
    bool scratch;               /* for a verification that is thrown away: commits are not synced */
    bool read_only;             /* beside a running owner, for dumps: takes no folder lock */
};

/* ERR_IN_USE: another process has the folder; ERR_DECRYPT: it was made with
 * another storage key; ERR_VERSION: of a later format, or LMDB's; ERR_CORRUPT;
 * ERR_IO, ERR_FULL, ERR_PERMISSION, ERR_NOMEM. */
enum err store_open(struct store **out, const struct store_options *options, struct failure *failure);
void store_close(struct store *store); /* no transaction may be open; NULL is nothing */

/* Waits for the end of another write transaction. The sticky error. */
enum err store_begin_write(struct table_txn **out, struct store *store);
/* ERR_BUSY: as many readers as allowed. A reader pins the pages of its snapshot:
 * keep it short, or renew it. */
enum err store_begin_read(struct table_txn **out, struct store *store);
/* Moves a read transaction without open cursors to the newest commit. */
enum err store_renew(struct table_txn *txn);
/* Ends the transaction in each case. ERR_FULL, ERR_IO: nothing of it is kept. */
enum err store_commit(struct table_txn *txn);
void store_abort(struct table_txn *txn); /* also ends a read transaction; NULL is nothing */

/* Sizes of keys and sealed values put and deleted so far: when to commit. */
uint64_t store_txn_bytes(const struct table_txn *txn);
/* Why the store takes no more writes; OK: it does. Any thread. */
enum err store_failed(const struct store *store);

struct store_space {
    uint64_t device_free; /* bytes that this user may still write on the device */
    uint64_t map_size, map_used;
    uint64_t file_size; /* what the data file takes on the device */
    bool low;           /* device or map has less left than the watermark: refuse new blocks */
};
enum err store_space(struct store *store, struct store_space *out); /* any thread */

struct store_table_size {
    uint64_t entries, pages, bytes; /* of the pages */
    unsigned depth;
};
enum err store_table_size(struct table_txn *txn, uint8_t table, struct store_table_size *out);

/* Scrubbing: opens the seal of each value, in short read transactions. Start
 * with a zeroed position; call until `done`. */
struct store_position {
    uint8_t table, key[TABLE_KEY_MAX];
    uint16_t key_size;
    bool done;
    uint64_t checked;
};
/* Checks up to `rows` values further. ERR_CORRUPT: `at` is moved past the first
 * damaged value, whose table and key are in bad_table and bad_key; go on by
 * calling again. Any thread, one transaction for the call. */
enum err store_check(struct store *store, struct store_position *at, size_t rows, uint8_t *bad_table,
                     struct buffer *bad_key);

/* Whether the list of free pages, where LMDB writes next, can be true. ERR_CORRUPT: it can't, and
 * whoever writes may lose what is stored; rebuild. ERR_BUSY: something was committed since the read
 * transaction began, ask again with another one. ERR_NOMEM. store_open asks before it writes. */
enum err store_check_pages(struct table_txn *read, struct failure *failure);

#endif
