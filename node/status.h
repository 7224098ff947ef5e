/* The board: what every node last said of itself; for STATUS, and for the
 * comparison of clocks (a node more than 30 s off the lower median of the clocks
 * it knows, its own included, does not lead). */
#ifndef NODE_STATUS_H
#define NODE_STATUS_H

#include "node/session.h"

enum err board_new(struct board **out, struct node *node);
void board_stop(struct board *board); /* before the loop ends */
void board_free(struct board *board);
void board_message(struct node *node, unsigned from, struct bytes body); /* STATE */
void board_status(struct session *s, uint64_t id, struct bytes body);    /* STATUS */
/* How many members can be reached, this node included. */
unsigned board_reached(const struct node *node);
/* No new entries are taken: this node's log can't be trimmed, or the leader's, as it says. */
bool board_log_full(const struct node *node);
/* Whether this node's clock is right enough to lead by, and how far it is ahead of the lower median (behind: below
 * 0; at most 30,000 s), as of when a majority of the clocks was last known. */
bool board_clock_ok(const struct node *node, int64_t *ahead_ms);
/* Appends this node's counters; no personal data. */
void board_counters(struct message_status_ok *m, const struct node *node);

#endif
