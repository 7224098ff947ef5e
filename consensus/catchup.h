/* Catching up: a node whose log ends before its peers' begins pulls leaves and
 * attachments and derives its state from them. State is never copied.
 *
 * Happy path: on_install -> manifests asked from all peers; (raft index, term) of
 * a size S is taken only where b + 1 peers state the same and the note of S has k
 * cosignatures -> PULL chunks, each proved against S's root with a consistency
 * proof before ledger_replay -> ATTACHMENTS for the same range, each checked
 * against its leaf -> driver_caught_up. Also `attachments_missing` at start: a
 * node is ready only when every attachment that is not erased is there.
 * Failures: a peer that sends a chunk that does not prove is named in the log and
 * not asked again in this run; no peer left: driver_catch_up_failed and again
 * after a pause that doubles up to 10 s.
 * Threads: loop; replay on the state thread through driver_write; serving PULL
 * and ATTACHMENTS through driver_read.
 */
#ifndef CONSENSUS_CATCHUP_H
#define CONSENSUS_CATCHUP_H

#include <uv.h>

#include "consensus/driver.h"
#include "consensus/witness.h"

struct catchup;

struct catchup_options {
    uv_loop_t *loop;
    const struct genesis *genesis;
    unsigned self;
    struct driver *driver;
    struct witness *witness;
    struct peers *peers;
    void *data;
    void (*on_ready)(void *data, bool ready); /* false while state or attachments are missing */
};
enum err catchup_start(struct catchup **out, const struct catchup_options *options, struct failure *failure);
void catchup_stop(struct catchup *c);
void catchup_free(struct catchup *c);
void catchup_install(struct catchup *c, uint64_t raft_index, uint64_t raft_term, struct bytes manifest);
void catchup_message(struct catchup *c, unsigned from, uint32_t type, uint64_t id, struct bytes body);
bool catchup_ready(const struct catchup *c);

/* For driver_options.snapshot: the newest witnessed checkpoint that the synced state covers, as
 * [size, root, note], and its raft position; false when there is none. */
bool catchup_manifest(const struct catchup *c, uint64_t *raft_index, uint64_t *raft_term, struct buffer *manifest);

#endif
