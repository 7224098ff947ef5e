/* A node that can't say in the ledger what is wrong with itself, for want of a majority: when its own administrators
 * are to be told without that.
 *
 * Only of what it finds in itself, so that nobody else sends the same; only after ALONE_MS in which it reached no
 * majority or no leader, since the others take that up and tell people otherwise; and no more than one message in
 * ALARM_AGAIN_MS, whatever it finds. It is told once more, in the usual way, once it stands in the ledger.
 * Pure but for what it asks the node. Loop thread. */
#ifndef NODE_ALERT_ALONE_H
#define NODE_ALERT_ALONE_H

#include "node/integrity.h"

#define ALONE_MS (15 * 60 * 1000)

/* Zero-initialised. */
struct alert_alone {
    uint64_t since_ms; /* monotonic; 0: it isn't alone */
    uint64_t told_ms;  /* 0: not so far */
};

/* To be called now and again. What is due now, a view from `view`; NULL: nothing. */
const struct alarm *alert_alone_due(struct alert_alone *a, const struct node *node, const struct integrity_view *view,
                                    uint64_t now_ms);

#endif
