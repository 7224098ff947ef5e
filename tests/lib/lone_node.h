/* A damaged node alone, with nobody to repair it from: whether it names its damage, and never answers or holds another
 * ledger than it did. Its files are compared by what `consiliumd dump` shows of them.
 *
 * In the cluster's folder: `good` is a copy of the node's folder with all well, `before` what that holds, by table, and
 * `now` what was held when it was compared last. What a node may not do ends the test (testbed_fail).
 */
#ifndef TESTS_LIB_LONE_NODE_H
#define TESTS_LIB_LONE_NODE_H

#include "tests/lib/damage.h"
#include "tests/lib/damaged_node.h"

struct lone_node {
    struct damaged_node *node; /* outlives this */
    struct testbed *bed;       /* the node's */
    unsigned number;
    /* What it answers with nobody beside it, when all is well. */
    struct buffer checkpoint;
    char size[24], root[2 * 32 + 1];
    char differing[700]; /* tables that don't hold what they held, each with a space behind it: lone_compare */
    struct buffer out, errors; /* what a client said last */
};

/* No node runs, and the files of this one are whole: what it answers and holds now is what it must answer and hold. */
void lone_open(struct lone_node *l, struct damaged_node *node);
void lone_close(struct lone_node *l);
void lone_put_back(struct lone_node *l); /* its files, as they were then; ends the node */

/* Fills l->differing, while it stands still. */
void lone_compare(struct lone_node *l);
bool lone_differs(const struct lone_node *l, const char *table); /* as compared last */
/* As compared last: log or leaves (the table) are what they were some writes ago. */
bool lone_is_older(const struct lone_node *l, const char *table);
bool lone_scrub_finds(struct lone_node *l, const struct victim *v); /* anything that is damaged; v: for words */

/* Starts the damaged node, until it has ended, or listens, has answered, and has named its damage where it must. What
 * it doesn't meet at its start the scrub reads: a first pass may have begun before the damage. Then the files are put
 * back. Whether it listened. */
bool lone_starts(struct lone_node *l, bool log, bool must_name);

#endif
