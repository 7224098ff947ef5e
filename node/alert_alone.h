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
#define FULL_MS (60 * 1000) /* until then the nodes that came back have told what they co-signed, and the log is trimmed */

/* Of something that lasts. Zero-initialised. */
struct alert_lasting {
    uint64_t lasts_ms; /* for so long, less the time that it did not; 0 to ALONE_MS or FULL_MS */
    uint64_t seen_ms;  /* until then, monotonic; 0: not looked so far */
    uint64_t told_ms;  /* 0: not so far */
};

/* To be called now and again. What is due now, a view from `view`; NULL: nothing. */
const struct alarm *alert_alone_due(struct alert_lasting *alone, const struct node *node,
                                    const struct integrity_view *view, uint64_t now_ms);
/* The same, whether it is due that no log takes anything more (board_log_full): a majority may be there, but nothing gets
 * into any ledger, so each node tells its own administrators. */
bool alert_full_due(struct alert_lasting *full, const struct node *node, uint64_t now_ms);

#endif
