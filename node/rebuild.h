/* Rebuilding a stopped node: its derived state is set aside, to be derived anew from its log and
 * its peers at the next start; its keys, key share and log stay.
 *
 * What is not derived goes over into the new state: evidence, findings, how far its peers have signed
 * (driver_past.c), and up to where this node may have told roots (struct driver_rebuilt).
 * What the log has beyond the last cosigned entry may go, too (`beyond`). What is cosigned is never undone.
 * Order: the new state is made, then put in the old one's place, then the log is cut; a crash between leaves what a second
 * call finishes.
 * Of an old state whose file can't be read nothing goes over. That the node forgot votes its log says too. */
#ifndef NODE_REBUILD_H
#define NODE_REBUILD_H

#include "node/identity.h"

#define REBUILD_PATH (FILES_PATH + 32)

enum rebuild_log {
    REBUILD_KEEPS_LOG,
    REBUILD_CUTS_LOG, /* for a node that a lying leader gave another history than the others. Term and vote stay, so that
                         it votes as before: a liar could withhold what rejoining needs */
    REBUILD_FORGETS   /* ... whose log is wrong, nobody knows why: as it may have acknowledged what is cut off, and others
                         may count that, it is in no majority until it has rejoined (consensus/rejoin.h) */
};

/* The folder is locked by the caller (identity_open). `aside`: where the old state is now. */
enum err rebuild(char aside[static REBUILD_PATH], const struct node_identity *identity,
                 enum rebuild_log beyond, struct failure *failure);

#endif
