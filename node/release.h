/* Releasing content: this node's shares, and collecting those of others.
 *
 * A share leaves this node only when a witnessed checkpoint covers the read's
 * leaf (release_compute waits for it), only for what apply fixed, and only
 * sealed to the reader's key. Capsules are verified once, and remembered in a
 * bounded cache that is never state.
 */
#ifndef NODE_RELEASE_H
#define NODE_RELEASE_H

#include "node/session.h"

enum err release_desk_new(struct release_desk **out, struct node *node);
void release_desk_free(struct release_desk *desk);

/* CONTENT: capsules and ciphertexts of what a read opened, then its shares. */
void release_content(struct session *s, uint64_t id, struct bytes body);
/* SHARES: collects k sealed shares, asking other nodes when one is slow or fails. */
void release_shares(struct session *s, uint64_t id, struct bytes body);
/* SHARE_ASK and SHARE_GIVEN of peers. */
void release_message(struct node *node, unsigned from, uint32_t type, uint64_t id, struct bytes body);

#endif
