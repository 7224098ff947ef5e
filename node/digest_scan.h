/* One scan of the state for its digest, on a thread of its own and of low priority.
 *
 * The tables that change are read from the snapshot at DIGEST_SNAPSHOT_RATE, so that it is
 * given back soon; the tables that only grow at DIGEST_RATE, each step in a read
 * transaction of its own. Both are bounds on bytes; nothing waits for the scan. */
#ifndef NODE_DIGEST_SCAN_H
#define NODE_DIGEST_SCAN_H

#include <uv.h>

#include "ledger/state_digest.h"
#include "storage/store.h"

#define DIGEST_SNAPSHOT_RATE (128 * MIB)   /* a second */
#define DIGEST_RATE (32 * MIB)             /* a second */
#define DIGEST_SNAPSHOT_MS (5 * 60 * 1000) /* longer, and it is given up: the store's file would grow without need */
#define DIGEST_STEP (256 * KIB)            /* read at once */

struct digest_scan;

/* Takes the snapshot over. `wake` is sent when it is finished. */
struct digest_scan *digest_scan_start(struct store *store, struct table_txn *snapshot, uint64_t size,
                                      uv_async_t *wake);
bool digest_scan_finished(const struct digest_scan *scan);

struct digest_scanned {
    enum state_outcome outcome;
    enum err code;              /* of STATE_UNREADABLE and STATE_FAILED */
    uint8_t table;              /* STATE_UNREADABLE: where */
    struct state_digest digest; /* STATE_COMPUTED */
    uint64_t bytes;             /* read */
    uint64_t snapshot_ms, took_ms, cpu_ms;
};
/* Ends it, within a step, waits for the thread, and frees the scan. `out` may be NULL. Loop thread. */
void digest_scan_end(struct digest_scan *scan, struct digest_scanned *out);

#endif
