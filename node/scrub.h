/* Continuous scrubbing: this node re-reads its whole store and its log, one pass after the
 * other, at a bounded rate, repairs what the ledger proves, and quarantines itself else.
 *
 *   PAUSED    between two passes                              time -> SCANNING
 *   SCANNING  steps over the store on a worker, paced          finding -> MENDING; end -> LOG
 *   LOG       reads the log's segments, paced                  end -> PAUSED
 *   MENDING   one finding is being repaired                    done -> SCANNING, which looks again; not now -> WAITING
 *   WAITING   no peer could help                               time -> MENDING
 *   STOPPED   quarantined, scrub-rate is 0, or the node stops
 * Invariant: at most one read or repair is under way.
 *
 * Loop thread. */
#ifndef NODE_SCRUB_H
#define NODE_SCRUB_H

#include "ledger/scan.h"
#include "node/node.h"

struct scrub;

enum err scrub_new(struct scrub **out, struct node *node);
void scrub_stop(struct scrub *scrub); /* before the driver's end */
void scrub_free(struct scrub *scrub); /* after it */
/* Of catching up's messages: whether it answers an ask of a repair, and was taken. */
bool scrub_message(struct node *node, unsigned from, uint32_t type, uint64_t id, struct bytes body);

struct scrub_status {
    uint64_t passes;          /* finished by this store, over restarts */
    unsigned permille;        /* of the present pass; 0 between two */
    uint64_t found, repaired; /* since the store was made */
    uint64_t finished_ms;     /* wall time of the last finished pass; 0: none */
    uint64_t bytes;           /* read since start */
    bool scanning;
};
void scrub_status(const struct node *node, struct scrub_status *out);

/* A finding (DAMAGE_STORE) where LMDB's list of free pages can't be true; none while commits come in between.
 * Errors as store_check_pages. Any thread. */
enum err scrub_pages(struct damage *found, struct table_txn *txn);

/* One pass over a store and its log without changing them, beside a running node (`runs`) or
 * not: prints what was checked and found. 0 clean, 6 damaged, 1 could not be done (`failure`).
 * `genesis`: a file; NULL: the one in the store's own leaf 0 (said so). */
int scrub_once(const struct node_identity *identity, const char *genesis, bool runs, struct failure *failure);

#endif
