/* The smaller questions of clients, answered from the state: LOOKUP, CHECKPOINT,
 * KEYS, LEAVES, STORED, CONSISTENCY, FOLLOW; ADMIT (admit.c). */
#ifndef NODE_SERVE_H
#define NODE_SERVE_H

#include "node/session.h"

void serve_lookup(struct session *s, uint64_t id, struct bytes body);
void serve_checkpoint(struct session *s, uint64_t id, struct bytes body);
void serve_keys(struct session *s, uint64_t id, struct bytes body);
void serve_leaves(struct session *s, uint64_t id, struct bytes body);
void serve_stored(struct session *s, uint64_t id, struct bytes body);
void serve_consistency(struct session *s, uint64_t id, struct bytes body);
void serve_tile(struct session *s, uint64_t id, struct bytes body);
void serve_admit(struct session *s, uint64_t id, struct bytes body);    /* admit.c */
void serve_evidence(struct session *s, uint64_t id, struct bytes body); /* serve_evidence.c */
void serve_follow(struct session *s, uint64_t id, struct bytes body);

/* Sends new rows to a session that follows; called after each applied block. */
void follow_applied(struct session *s, uint64_t size);
void follow_end(struct session *s);
void follow_refuse(struct session *s, enum err code); /* ends it with that answer; fine when there is none */

#endif
