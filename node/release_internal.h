/* Between the parts of node/release.h. All on the loop thread, but where it says otherwise. */
#ifndef NODE_RELEASE_INTERNAL_H
#define NODE_RELEASE_INTERNAL_H

#include "crypto/sign.h"
#include "ledger/release.h"
#include "net/protocol.h"
#include "node/release.h"

#define VERIFIED_MAX 4096 /* capsules known to be good */
#define COLLECT_MS 4000   /* a client waits longer for one node, and asks again while it has time */

struct collect;

struct release_desk {
    struct node *node;
    struct {
        unsigned computes, items;
    } asked[LIMIT_NODES + 1]; /* by member; this node's own: its clients */
    unsigned collects;
    uint64_t next_serial;
    struct collect *list;
    uint64_t warned_ns[LIMIT_NODES + 1];
    uint64_t verified[VERIFIED_MAX]; /* content leaf index + 1, by index modulo the size */
};

/* A member's messages can't fill the log. */
void release_warn(struct release_desk *desk, unsigned from, const char *what, enum err code);
/* A read of the state that has that leaf: of the synced state where that goes so far. */
bool release_is_fresh(struct node *node, uint64_t leaf_index);

/* --- what a read opens --- */

/* One run of its items, as one reading of the state has them. */
struct opening {
    struct release release;
    uint32_t first, count;
    struct content_info *infos; /* of each; owned */
    bool *present;
};
/* With room for `count` items, of which none is loaded; NULL: no memory. */
struct opening *opening_new(uint32_t first, uint32_t count);
void opening_free(struct opening *o); /* NULL is allowed */
/* The read, and how many of the items there are. ERR_NOT_FOUND: none of them; else as release_load. Any thread. */
enum err opening_load(struct opening *o, struct table_txn *txn, uint64_t leaf_index);
/* Those items, from number `from` on (below count). Any thread. */
enum err opening_load_items(struct opening *o, struct table_txn *txn, uint32_t from);

/* --- this node's shares --- */

/* Of one asker. Freed after `done`. */
struct compute {
    struct worker_task task; /* the first member */
    struct node *node;
    struct share_ask ask;
    unsigned asker; /* member index */
    bool admitted;
    struct witness_wait witnessing;
    struct state_read read;
    struct opening *opening; /* owned */
    bool *verified;          /* whose capsules */
    const struct scalar *share;
    struct epoch epoch;
    enum err code;
    struct buffer sealed;
    struct signature signature;
    void *data;
    void (*done)(struct compute *c, enum err code);
};
/* Calls `done` once, maybe before it returns. `opening`: what the asker loaded of the same items by now, or NULL;
 * taken over. */
void compute_start(struct node *node, const struct share_ask *ask, unsigned asker, struct opening *opening, void *data,
                   void (*done)(struct compute *c, enum err code));
void share_asked(struct node *node, unsigned from, uint64_t id, struct bytes body);
void share_ask_encode(struct buffer *out, const struct share_ask *ask);
enum err share_ask_decode(struct share_ask *ask, struct bytes body); /* exactly one */

/* --- of k nodes --- */

void share_given(struct node *node, unsigned from, uint64_t id, struct bytes body);

/* --- CONTENT --- */

/* CONTENTS of as many of the opening's items as fit, at least one: opening->count is how many then. Any thread. */
enum err contents_load(struct buffer *out, struct opening *o, struct table_txn *txn);

#endif
