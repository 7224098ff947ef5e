/* Faults of the network between the nodes of a testbed: packets are dropped by
 * nftables in a network namespace of the test's own, so nothing of the host is
 * touched. Needs nodes with addresses of their own (testbed_make_apart). Clients
 * are never cut off: a test asks each side.
 */
#ifndef TESTS_LIB_PARTITION_H
#define TESTS_LIB_PARTITION_H

#include <stdbool.h>

#include "tests/lib/testbed.h"

struct partition {
    /* Packets from the first to the second are lost. TCP needs both ways, so one of them already stops both links. */
    bool drop[LIMIT_NODES + 1][LIMIT_NODES + 1];
    /* The first one's own link to the second is dead, both ways, and the other one's link works: only what the
     * first says is not heard. (Each node sends on the connection that it dialed.) */
    bool mute[LIMIT_NODES + 1][LIMIT_NODES + 1];
    unsigned loss; /* per cent of all packets between nodes, at random */
};

/* The calling process, and what it starts from now on, gets a network namespace with nothing but a loopback
 * device: before testbed_make_apart, while there is one thread. False where that is impossible here (no
 * privilege, no nft), after saying so; with CI in the environment the program fails instead. */
bool partition_possible(void);

/* From the next packet on these faults hold, and no others; all zero: none. */
void partition_set(const struct testbed *t, const struct partition *p);

/* Between those in `side` (bit 1 << index) and all others, both ways. Adds to *p. */
void partition_split(struct partition *p, const struct testbed *t, unsigned side);

/* From now on each node's packets to each other node pass at so many kbit a second, and wait in line; once for a
 * testbed. False where the kernel or this machine has no such thing, after saying so. */
bool partition_slow(const struct testbed *t, unsigned kbit);

#endif
