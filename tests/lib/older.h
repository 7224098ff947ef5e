/* Nodes of an older release, for tests of upgrades: links of theirs speak version 1 of the nodes' protocol
 * (consensus/peer_messages.h), which they alone offer and accept. A program that uses this has mbedTLS's
 * function for that doubled; a node that links it (see the Makefile: older) is such a node. */
#ifndef TESTS_LIB_OLDER_H
#define TESTS_LIB_OLDER_H

#include <stdbool.h>

/* Of the TLS contexts made from now on; true at first, as for the node. */
extern bool older_release;

#endif
