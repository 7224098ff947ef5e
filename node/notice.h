/* What clients of this node hear of findings and alarms: NOTICE at greeting and at each change,
 * ALARMS on request. Loop thread. */
#ifndef NODE_NOTICE_H
#define NODE_NOTICE_H

#include "node/session.h"

void notice_greet(struct session *s); /* before WELCOME: nothing when nothing is open */
void notice_push(struct node *node);  /* to every greeted session; a quarantined node's streams end */
void notice_alarms(struct session *s, uint64_t id, struct bytes body); /* ALARMS */

#endif
