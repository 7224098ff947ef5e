/* Repairing what scrubbing found, from peers.
 *
 * Happy path, leaves: a peer is asked for the leaves from the damaged one on (PULL) -> what
 * came is proved: the root of this node's own leaves before it, and of all leaves behind it,
 * lead to a root that k nodes co-signed -> on the state thread, leaves and rows of the tree
 * that differ are put back, durably -> done. Attachments: asked for (ATTACHMENTS), checked
 * against the leaf's hash while they are written.
 * Failures: a peer that sends what does not prove is named in the log and not asked again
 * for this repair; the next one is asked. See mend.done for the end.
 *
 * Threads: loop; writes on the state thread through driver_write. One repair at a time. */
#ifndef CONSENSUS_MEND_H
#define CONSENSUS_MEND_H

#include "consensus/driver.h"
#include "consensus/witness.h"
#include "ledger/tree.h"

struct mender;

struct mender_options {
    uv_loop_t *loop;
    const struct genesis *genesis;
    unsigned self;
    struct driver *driver;
    struct witness *witness;
    struct peers *peers;
};
struct mender *mender_new(const struct mender_options *options);
void mender_stop(struct mender *m); /* ends what is under way with ERR_STOPPED, at once or by and by */
void mender_free(struct mender *m); /* NULL is nothing */

#define MEND_RUNS 32

/* A repair, embedded by its owner until `done`. */
struct mend {
    uint64_t index;       /* the leaf; > 0 for leaves: leaf 0 is the genesis, which every node has */
    bool attachment;      /* else the leaf and its row of the tree */
    struct tree before;   /* leaves: the frontier of those before `index` */
    void *data;
    /* Exactly once, never from within mender_begin. OK: it is as it must be now, durably.
     * ERR_UNREACHABLE: not at present: too few peers answered (who is busy or behind did not), or the leaf
     * isn't witnessed yet; try later.
     * ERR_NOT_FOUND: all peers answered, and none has it. ERR_UNCHANGED: it is erased, say b + 1 peers.
     * ERR_ROOT: this node's leaves before `index` contradict a co-signed root. Else the store's errors. */
    void (*done)(struct mend *mend, enum err code);
    /* OK, leaves: what was put back; the answer of a peer may mend more than was asked for. Beyond
     * MEND_RUNS the last one reaches to the end. */
    unsigned count;
    struct mend_run {
        uint64_t first, last;
        bool gone; /* they were not there; else others */
    } runs[MEND_RUNS];
};
/* ERR_BUSY: one is under way; ERR_STOPPED. */
enum err mender_begin(struct mender *m, struct mend *mend);
/* Whether it answers one of the mender's own asks (PULLED, ATTACHED, FAILED); false: catching up's. */
bool mender_message(struct mender *m, unsigned from, uint32_t type, uint64_t id, struct bytes body);

#endif
