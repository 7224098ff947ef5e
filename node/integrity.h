/* What this node knows to be wrong, with itself or with others, and who hears of it.
 *
 * Any part that finds something calls integrity_found. From there on, in order: a line
 * in the log; a durable note in the node's own table (survives kill -9); a node.alarm in the ledger,
 * tried again until it stands there (once per kind, node and first index, whoever raises it); a
 * notice to every client of this node. Alarms of others arrive through the ledger.
 * A finding about this node itself counts at once, before any ledger knows of it.
 *
 * Loop thread. Bounded: INTEGRITY_FINDINGS; what comes beyond is counted and logged.
 */
#ifndef NODE_INTEGRITY_H
#define NODE_INTEGRITY_H

#include "ledger/alarm.h"
#include "node/node.h"

#define INTEGRITY_FINDINGS 64
#define INTEGRITY_TEXT 240

struct finding {
    enum alarm_kind kind;
    unsigned named;        /* member index; the node itself: node->self */
    uint64_t first, last;  /* leaf indexes, sizes or Raft indexes */
    char text[INTEGRITY_TEXT]; /* what happened, to what, for people; no secret and no personal data */
};

enum err integrity_new(struct integrity **out, struct node *node); /* reads what was kept */
void integrity_stop(struct node *node);
void integrity_free(struct integrity *integrity);

/* `evidence` (may be empty; at most LIMIT_ALARM_EVIDENCE): an encoded ledger/evidence.h, copied. */
void integrity_found(struct node *node, const struct finding *finding, struct bytes evidence);
/* What this node found about `named` with first in [from, to] is repaired: its own
 * findings end, and the alarms that this node raised are closed in the ledger. */
void integrity_repaired(struct node *node, unsigned named, uint64_t from, uint64_t to);

void integrity_applied(struct node *node, const struct driver_applied *applied);

/* Open findings and alarms together, own first; views until the loop turns. */
struct integrity_view {
    bool own;                  /* this node itself is named */
    bool quarantined;          /* and serves no more */
    size_t count;
    const struct alarm *alarms; /* index 0: not in the ledger yet */
};
void integrity_view(const struct node *node, struct integrity_view *out);

#endif
