/* When this node asks all nodes to digest their states (node/digest.h): none did so for a while, or its own alarms
 * would end by that. Loop thread. */
#ifndef NODE_DIGEST_ASK_H
#define NODE_DIGEST_ASK_H

#include "node/node.h"

struct digest_ask {
    struct node *node;
    uint64_t last_leaf, last_ms; /* the last that asked, wall clock; leaf 0: none so far, since last_ms */
    bool asking;                 /* a node.digest of this node is under way */
    uint64_t again_ms, clear_ms; /* not before; monotonic */
    unsigned cleared;            /* so often it asked in vain, as long as it is said to differ */
    bool reading;                /* the state's row is being read again: leaves were replayed */
    struct state_read read;
    uint64_t read_leaf, read_ms;
};

void digest_ask_begin(struct digest_ask *ask, struct node *node);
enum err digest_ask_load(struct digest_ask *ask, struct table_txn *txn); /* who asked last stands in the state */
void digest_ask_noted(struct digest_ask *ask, uint64_t leaf);            /* that leaf asked, now */
void digest_ask_replayed(struct digest_ask *ask);                        /* leaves were: reads the state's row again */
void digest_ask_turn(struct digest_ask *ask, bool busy);                 /* each second; busy: a digest is being made */

#endif
