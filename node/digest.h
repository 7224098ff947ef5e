/* State digests: every node digests its whole state at the same leaf, signs it, and
 * tells the others; whoever differs from those who are right is named (state_decided, ledger/state_digest.h).
 *
 * Happy path: a state.digest of a user, or a node.digest of a node when none came for
 * a while (or, whatever the period, others, more than may lie, say that its data were modified, and it doesn't: it was
 * rebuilt, and only a digest shows them), is applied -> the state thread commits there and opens a read transaction
 * on exactly that state -> a thread of low priority scans it at a bounded rate, writers go on ->
 * signed, kept (the newest DIGEST_ROUNDS leaves of all nodes, in a node-local table) and
 * sent to all -> each compares: a node that differs from b + 1 equal ones (k, where b is 0) is told to
 * node/integrity.h; one that finds itself different from them quarantines itself. Among b + 1 is one that is honest and
 * well, as long as no more than b nodes are damaged or lie, so one that is down hides nobody's damage.
 * Where more are: as long as the silent could make up another group of b + 1, they are waited for (a minute), and
 * of two such groups nobody is named; the log says that the states are not the same. So a liar that copies what a
 * damaged node states, and is faster than an honest one, doesn't drive the others into quarantine.
 * A node never states what it applied long after the others (OLD_MS). One that was rebuilt may state a leaf
 * again, so two words of one node are no proof of a lie; the last one counts, of a few. What differs is told
 * once more in each round, in case its alarm was closed meanwhile; under one first leaf for a day, however
 * often it comes and goes.
 * Failures: another scan runs, it takes too long, space runs low, a row can't be read: a
 * signed statement says so instead. A node that was down, or came past the leaf by
 * replaying, says nothing: the next digest finds what there is.
 *
 * Loop thread, but for the scan itself. One scan at a time.
 */
#ifndef NODE_DIGEST_H
#define NODE_DIGEST_H

#include "node/node.h"

struct session;

#define DIGEST_ROUNDS 16 /* leaves whose statements are kept */

/* Reads what was kept. ERR_IO and the like. */
enum err digest_new(struct digest_desk **out, struct node *node, struct failure *failure);
void digest_stop(struct node *node); /* ends a scan, at once */
void digest_free(struct digest_desk *desk);

void digest_applied(struct node *node, const struct driver_applied *applied);
/* The driver's on_digest: takes the transaction over. */
void digest_begin(struct node *node, const struct driver_digest *asked);
void digest_message(struct node *node, unsigned from, struct bytes body); /* PEER_DIGEST */
void digest_peer_up(struct node *node, unsigned peer);
void digest_serve(struct session *s, uint64_t id, struct bytes body); /* MESSAGE_DIGESTS */

#endif
