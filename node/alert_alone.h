/* A node that can't say in the ledger what is wrong with itself, for want of a majority: when its own administrators
 * are to be told without that.
 *
 * Only of what it finds in itself, so that nobody else sends the same; only after ALONE_MS in which it reached no
 * majority or no leader, since the others take that up and tell people otherwise; and no more than one message in
 * ALARM_AGAIN_MS, whatever it finds. It is told once more, in the usual way, once it stands in the ledger.
 * Time in which it isn't alone is taken off that, not all of it at once: a leader that comes for a moment, again and
 * again, is too short for anything to get into the ledger, and keeps nothing back.
 * Pure but for what it asks the node. Loop thread. */
#ifndef NODE_ALERT_ALONE_H
#define NODE_ALERT_ALONE_H

#include "node/integrity.h"

#define ALONE_MS (15 * 60 * 1000)

/* Zero-initialised. */
struct alert_alone {
    uint64_t alone_ms; /* for so long, less the time that it was not; 0 to ALONE_MS */
    uint64_t seen_ms;  /* until then, monotonic; 0: not looked so far */
    uint64_t told_ms;  /* 0: not so far */
};

/* To be called now and again. What is due now, a view from `view`; NULL: nothing. */
const struct alarm *alert_alone_due(struct alert_alone *a, const struct node *node, const struct integrity_view *view,
                                    uint64_t now_ms);

#endif
