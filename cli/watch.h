/* What every node tells of alarms, while a command runs long.
 *
 * A command waits for one node at a time, or for a person, or works on what it has: beside that, a thread for each node
 * holds a connection of its own and does nothing but say the notices that come there (cli/alarms.h, once in a run). So
 * a node that hangs, or that keeps an alarm to itself, delays nobody else's word, whatever the command does. */
#ifndef CLI_WATCH_H
#define CLI_WATCH_H

#include <stdint.h>

struct cluster;
struct watch;

/* Once `after_ms` have passed: of all members, also where --via names one to ask. Whom it can't reach, or who closes,
 * is tried again; that is not said. `c` stays until the end, and only its genesis and output are looked at. NULL
 * without a thread for it: then the command's own connections are all that is heard. */
struct watch *watch_begin(const struct cluster *c, uint32_t after_ms);
void watch_end(struct watch *w); /* closes the connections; NULL is allowed */

#endif
