/* What this node knows to be wrong, with itself or with others, and who hears of it.
 *
 * Any part that finds something calls integrity_found. From there on, in order: a line
 * in the log; a durable note in the node's own table (survives kill -9); a node.alarm in the ledger,
 * tried again until it stands there (once per kind, node and first index: where another node raised it, this one
 * adds its word, until the alarm counts: ledger/alarm.h); a
 * notice to every client of this node. Alarms of others arrive through the ledger.
 * A finding about this node itself counts at once, before any ledger knows of it.
 * A quarantined node can't put anything into the ledger: it says what it found in its STATE
 * message, and its peers raise the alarm in its place (not ALARM_FORKED: who has no evidence of that has nothing).
 * A finding ends when its alarm is closed in the ledger: by those who said so, who take it
 * back once it is repaired, or by an administrator.
 *
 * ALARM_FORKED and ALARM_ROLLED_BACK are facts about a node: while one is open of a node,
 * further ones of that kind and node are the same finding, whatever their indexes.
 * Loop thread. Bounded: INTEGRITY_FINDINGS; what comes beyond is counted and logged.
 */
#ifndef NODE_INTEGRITY_H
#define NODE_INTEGRITY_H

#include "base/pack.h"
#include "ledger/alarm.h"
#include "node/node.h"

#define INTEGRITY_FINDINGS 64
#define INTEGRITY_TEXT 240
#define INTEGRITY_REPAIRED 64 /* of the newest alarms, those that are looked at for who has to be told still */

struct finding {
    enum alarm_kind kind;
    unsigned named;        /* member index; the node itself: node->self */
    uint64_t first, last;  /* leaf indexes, sizes or Raft indexes */
    char text[INTEGRITY_TEXT]; /* what happened, to what, for people; no secret and no personal data */
};

/* Reads what was kept, and quarantines the node again if it was. After the driver started. */
enum err integrity_new(struct integrity **out, struct node *node);
void integrity_stop(struct node *node);
void integrity_free(struct integrity *integrity); /* after the driver's end */

/* `evidence`: of ALARM_FORKED an encoded ledger/evidence.h, whose place is `first`, copied; else empty. */
void integrity_found(struct node *node, const struct finding *finding, struct bytes evidence);
/* What this node found about `named` with first in [from, to] is repaired: its own
 * findings end, and the alarms that this node raised are closed in the ledger (but ALARM_FORKED:
 * only an administrator clears that). A finding that isn't in the ledger yet is raised first:
 * that it happened is told in each case. */
void integrity_repaired(struct node *node, unsigned named, uint64_t from, uint64_t to);
/* A whole pass of the scrub since this start has read all data of this node, and left nothing unrepaired. So what the
 * node found in them before its start ends as well: it was killed before it could write down that that is repaired. */
void integrity_scrubbed(struct node *node);
/* driver_quarantine, and durably: a restart is quarantined again, until the state's folder is made
 * anew (rebuild). Without an open finding about this node, one is made: ALARM_MODIFIED at its size. */
void integrity_quarantine(struct node *node, const char *why);
/* This node's state contradicts what k nodes say, though no leader gave it another history (then nothing of its own
 * is wrong), and is derived anew at once (node/rebuild.h): found, unless a finding of its own is open that explains it.
 * Durable before the node has stopped. */
void integrity_contradicted(struct node *node, const char *why);
/* For a state that is made anew: the notes of findings go over into it. This node's own, of data, are
 * repaired by that; they are raised and closed once it is up to date. Any thread. */
enum err integrity_carry(struct table_txn *to, struct table_txn *from);

void integrity_applied(struct node *node, const struct driver_applied *applied);
void integrity_role(struct node *node); /* another leader, or none: what waits is tried at once */

/* Open findings and alarms together; what counts before what doesn't, and first what convicts each node
 * (integrity_order); views until the loop turns. */
struct integrity_view {
    bool own;                  /* this node itself is named, by itself or by others */
    bool quarantined;          /* and serves no more */
    size_t count;
    const struct alarm *alarms; /* index 0: not in the ledger yet */
    size_t repaired_count;         /* closed as repaired and not raised anew: people may not have been told yet */
    const struct alarm *repaired;
};
void integrity_view(const struct node *node, struct integrity_view *out);

/* --- between nodes: the end of a STATE message --- */

#define PEER_FINDINGS 4
struct peer_findings {
    bool quarantined;
    uint32_t count; /* what the node found about itself, oldest first */
    struct alarm own[PEER_FINDINGS]; /* kind, first, last, since_ms */
};
void integrity_own(const struct node *node, struct peer_findings *out);
/* What a peer says of itself. `ready`: it is up to date again. */
void integrity_peer(struct node *node, unsigned from, const struct peer_findings *said, bool ready);
void integrity_own_encode(struct buffer *out, const struct peer_findings *said); /* appends two values */
void integrity_own_decode(struct peer_findings *out, struct unpack *u);

#endif
