/* Whether a command that waits says at once what its node tells it: a fake cluster withholds what the command waits
 * for until it has said so. */
#ifndef TESTS_LIB_LIVE_NOTICE_H
#define TESTS_LIB_LIVE_NOTICE_H

#include "tests/lib/fake_cluster.h"

/* Sends a notice of another open alarm now; live_notice_said tells. Standard error goes to a file from listen to
 * restore. */
void live_notice_listen(void);
void live_notice_send(struct fake_cluster *c);
bool live_notice_said(void);
void live_notice_restore(void);

/* From another thread: once *asked (a counter of a node of `c`) has moved, so that the command waits, a notice is sent;
 * when it is said, all nodes are fine again, and so it ends. Ends the listening, too: true when it was said before. */
void live_notice_begin(struct fake_cluster *c, const unsigned *asked);
bool live_notice_end(void);

#endif
