/* Checking the requests of a block on workers, while the block is written and
 * replicated: each node verifies each request once.
 *
 * The key to verify with comes from a bounded cache of keys that apply has found
 * right before; it is a hint only: apply compares it with the state's and verifies
 * anew when they differ. An actor that isn't cached is left to apply, too.
 * Loop thread, but for what the tasks do.
 */
#ifndef CONSENSUS_PREVERIFY_H
#define CONSENSUS_PREVERIFY_H

#include "net/workers.h"
#include "ledger/block.h"

struct genesis;
struct preverify;

struct preverify *preverify_new(struct workers *workers, const struct genesis *genesis);
void preverify_free(struct preverify *p); /* after workers_stop */

/* A block under way; embedded by the owner, who leaves `block` alone until `done`. */
struct preverify_job {
    struct block *block;
    unsigned running; /* tasks out; while > 0 neither the block nor this struct may go */
    /* All tasks have ended; canceled: the workers have stopped. Not called when none was needed. */
    void (*done)(struct preverify_job *job, bool canceled);
};
void preverify_start(struct preverify *p, struct preverify_job *job);
/* Learns the keys of a block that was applied. */
void preverify_learn(struct preverify *p, const struct block *block);

#endif
