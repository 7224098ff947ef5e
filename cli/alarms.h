/* Open alarms, as the node that we are connected to tells them (NOTICE): the warning on every
 * command, and whose word counts for less.
 *
 * A node that an open alarm names is avoided where another one answers, if the alarm counts (ledger/alarm.h): it is
 * proved, the node says so itself, or b + 1 nodes say so, in whatever alarms. Fewer accuse: that is shown,
 * as their word, and nothing follows from it, since one of the two is wrong and nobody knows which. Who serves us may
 * lie about all of this: when more than b nodes are named by the words of others, none is avoided for that.
 * A proved fork needs nobody's word: it names in each case, and is no part of that count.
 * A quarantined node, and one that raised an alarm about itself, is avoided in each case. */
#ifndef CLI_ALARMS_H
#define CLI_ALARMS_H

#include "cli/cluster.h"

struct tool;

/* A NOTICE came: kept in c->notice; what is new in this run is said on standard error (a JSON line with --json), with
 * the node that it came from: what counts is that node's word, too. Of each node that one names, a bounded number. */
void alarms_take(struct cluster *c, struct bytes body);
/* Whether this one, with what is open besides, is more than what liars could say. */
bool alarm_is_good(const struct cluster *c, const struct message_alarm *a);
/* Whether a member is to be avoided. */
bool alarms_name(const struct cluster *c, uint32_t member);

json_t *alarm_json(const struct cluster *c, const struct message_alarm *a);
/* Of one member of STATUS, with its state there: "verified", "COMPROMISED", "accused" or "unknown" (not reachable), and
 * by what alarm, or null. */
void alarms_integrity(json_t *row, const struct cluster *c, const struct message_member *m);
json_t *alarms_open_json(const struct cluster *c);
void alarms_print_integrity(struct tool *t, const json_t *status); /* the lines below status' table */

#endif
