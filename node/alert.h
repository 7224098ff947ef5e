/* Telling people of alarms, once in the whole cluster.
 *
 * Happy path: an open alarm that nobody was told of appears -> once it is this node's
 * turn (ledger/alarm.h: who may tell, and when) it claims it in the ledger (alarm.tell 1) ->
 * approved: it alone sends, on a thread of its own, with pauses between attempts ->
 * says so in the ledger (alarm.tell 2), as soon as one way took it, with the ways that did. What that telling lacks,
 * as far as this node's settings have it, is claimed by itself (alarm.tell 1 with these ways): first by who told, then
 * by the others, so that a second mail doesn't come because of a webhook that is down, nor a webhook stays out because
 * who sent the mail has died. This node tries that RESENDS times, and anew after a restart.
 * Failures: a sender that dies, or can't reach its servers, leaves a claim that runs
 * out after ALARM_CLAIM_MS; then another node claims (or this one, later and later). A sender
 * that dies between sending and saying so makes one repetition, with the same key.
 * Without a majority, a node tells its own administrators of what is wrong with itself alone, and of a log that takes
 * nothing more (node/alert_alone.h).
 * A node without settings for it never claims. What stays open is told again a day later, by the next one.
 *
 * Loop thread.
 */
#ifndef NODE_ALERT_H
#define NODE_ALERT_H

#include "node/node.h"

struct alert;

enum err alert_new(struct alert **out, struct node *node);
void alert_stop(struct node *node); /* waits for its thread, which ends soon */
void alert_free(struct alert *alert);

/* `consiliumd alert-test`: sends one now from the calling thread, and prints what became of it.
 * `genesis` names cluster and node. Exit code 0, or 1 when a way failed or none is set up. */
int alert_test(const struct config *config, const struct genesis *genesis, unsigned self);

#endif
