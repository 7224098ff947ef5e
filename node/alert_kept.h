/* Which tellings of people have come by every way: the leaves of alarm.tell 2, kept in the node-local table blob.
 * The ledger says by which ways people were told first; what this node did by the others afterwards only it knows.
 * So a sender that restarts goes on with what is not kept here, and repeats nothing that is. Killed between sending
 * and keeping, it sends once more. Loop thread. */
#ifndef NODE_ALERT_KEPT_H
#define NODE_ALERT_KEPT_H

#include "consensus/driver.h"
#include "node/node.h"

#define ALERT_KEPT_MOST 256 /* the newest; a telling counts for ALARM_AGAIN_MS */

struct alert_kept {
    struct node *node;
    uint64_t told[ALERT_KEPT_MOST]; /* oldest first */
    size_t count;
    bool dirty, storing;
    struct state_write write;
    struct buffer row;
};

/* What was kept before. Damaged or absent: nothing. */
enum err alert_kept_load(struct alert_kept *k, struct node *node);
void alert_kept_free(struct alert_kept *k); /* after the driver */
bool alert_kept_has(const struct alert_kept *k, uint64_t told);
void alert_kept_add(struct alert_kept *k, uint64_t told);
void alert_kept_store(struct alert_kept *k); /* now and again: what could not be stored yet */

#endif
