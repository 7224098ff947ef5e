/* What the nodes' logs say of how a leader's time came to its end (consensus/driver_core.c): who wanted another one, and
 * since when it had heard none; or that the leader itself asked the next one to stand. */
#ifndef TESTS_LIB_REIGN_H
#define TESTS_LIB_REIGN_H

#include "tests/lib/testbed.h"

/* How far each node's log goes, so that what is said from here on is told from what was said before. */
struct reign_mark {
    long at[LIMIT_NODES + 1];
};
void reign_mark(struct reign_mark *m, const struct testbed *t);

/* Who led in that term, as it said itself; 0: nobody. *asked (may be NULL): the leader before had handed over to it. */
unsigned reign_leader(const struct testbed *t, uint64_t term, bool *asked);
/* How many stood for election in that term because the leader before asked them to. */
unsigned reign_heirs(const struct testbed *t, uint64_t term);
/* The term in which the node led when it was last told to stop, and whether it ended only after another one stood; 0: it
 * did not lead then. */
uint64_t reign_left(const struct testbed *t, unsigned node, bool *handed_over);

/* Nobody unseated who led in `term`: it is the last one, or the leader handed over to the next; or one of `nodes` (bits
 * 1 << index), all of which it reached all the time since `m`, had heard no leader for the election time-out when it
 * wanted a node to lead in the next term. That is what a machine that pauses nodes does, and what no node that returns
 * can bring about: who hears a leader wants no other. */
bool reign_had_an_end_of_its_own(const struct testbed *t, const struct reign_mark *m, uint64_t term, unsigned nodes);

#endif
