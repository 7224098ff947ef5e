/* Witnessed checkpoints on the disk: node-local table checkpoint,
 * size(8) -> [size, raft index, raft term, time_ms, root, note]. The newest
 * CHECKPOINTS_STORED are kept, so that a snapshot can be offered right after a
 * restart and peers that catch up find the size that they were offered. */
#ifndef CONSENSUS_WITNESS_ROWS_H
#define CONSENSUS_WITNESS_ROWS_H

#include "consensus/witness.h"

#define CHECKPOINTS_STORED 256

/* Not waited for: what a crash loses is made again, or comes from a peer. Loop thread. */
void witness_row_keep(struct driver *driver, const struct witnessed *kept);
/* The newest `most`, newest first; the caller frees their notes. On error none. */
enum err witness_rows_load(struct witnessed *out, unsigned *count, unsigned most, struct store *store);
void witnessed_encode(struct buffer *out, const struct witnessed *kept);

#endif
