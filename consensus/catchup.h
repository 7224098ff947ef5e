/* Catching up: a node whose log ends before its peers' begins pulls leaves and
 * attachments and derives its state from them. State is never copied.
 *
 * Happy path: catchup_install -> (raft index, term) of the offered size S is taken
 * only where b + 1 members state the same and the note of S has k cosignatures ->
 * leaves in chunks, each proved against S's root with a consistency proof before
 * ledger_replay -> the position, durably -> driver_caught_up -> the attachments
 * that the new leaves name, each checked against its leaf. The node takes part in
 * consensus as soon as it has the leaves; it is ready when every attachment that
 * is not erased is there, which is looked at when it starts, too.
 * An install without a manifest asks for the newest that peers have.
 * Failures: a peer that sends what does not prove is named in the log and not asked
 * again in this run; nobody left, or no b + 1 for the position: driver_catch_up_failed,
 * and the next run begins after a pause that doubles up to 10 s. It goes on from the
 * size that the state has by then. A co-signed root that the own state contradicts:
 * driver_quarantine.
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
