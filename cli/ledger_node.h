/* One node as a source of a ledger (cli/ledger_source.h).
 *
 * A node gives leaves only to a connection on which an approved ledger.export came,
 * or whose client shows, by a signature for that node, that it made one (ADMIT). So
 * one such operation serves all nodes of an audit. */
#ifndef CLI_LEDGER_NODE_H
#define CLI_LEDGER_NODE_H

#include "cli/ledger_source.h"
#include "cli/patience.h"
#include "cli/tool.h"
#include "ledger/tile.h"
#include "net/leaf_pack.h"
#include "net/protocol_evidence.h"

/* The ledger.export operation that the nodes are shown. Zero-initialise. */
struct export_pass {
    struct tool *tool;
    enum purpose purpose;
    uint64_t from, to; /* the entries that it is for, as args_ledger_export; 0, 0: all */
    bool made;
    uint64_t index; /* its entry */
    struct submission submission;
};
/* Makes it, through whichever node answers: an operation, with its entry.
 * ERR_DENIED: this identity may not export. */
enum err export_pass_make(struct export_pass *pass, struct failure *failure);
void export_pass_free(struct export_pass *pass);

struct ledger_node {
    struct ledger_source source; /* its data is this struct */
    struct cluster cluster;      /* connects to this node only */
    struct export_pass *pass;
    uint32_t member;
    bool reached;  /* it has answered before: worth connecting again */
    bool admitted; /* this connection has shown the pass */
    struct patience patience; /* with its pages; over: it counts as silent */
    /* The last page of leaves, unpacked some at a time. */
    struct buffer packed;
    struct leaf_unpacker unpacker;
    uint64_t at, ledger_size; /* the next of its leaves; as it said */
    uint32_t left;            /* of its leaves, from there on */
    struct buffer page;       /* what the last views point into */
    struct bytes *leaves;
    struct stored_hash *stored; /* of the last page of hashes */
    /* The next page, asked for while the last one is worked on. */
    bool ahead;
    uint64_t ahead_id;
    struct page_question {
        enum message_type type; /* LEAVES, or STORED */
        uint64_t from, to;      /* LEAVES: `to` is how many at most */
        bool listed;            /* STORED */
    } next;
};

/* No connection yet. Close in every case. */
enum err ledger_node_open(struct ledger_node *n, struct export_pass *pass, uint32_t member, struct failure *failure);
void ledger_node_close(struct ledger_node *n);
/* Connects. */
enum err ledger_node_reach(struct ledger_node *n, struct failure *failure);
/* Connects and shows the pass; a new one when it is too old. */
enum err ledger_node_admit(struct ledger_node *n, struct failure *failure);
/* A tile of its tree, as it says; tile->width hashes. ERR_NOT_FOUND: it has no such tile. */
enum err ledger_node_tile(struct ledger_node *n, struct digest hashes[static TILE_WIDTH], const struct tile *tile,
                          struct failure *failure);
/* The evidence that it keeps (net/protocol_evidence.h), for who may export; views until the next question. */
enum err ledger_node_evidence(struct ledger_node *n, struct message_evidence_ok *out, struct bytes *items,
                              size_t capacity, struct failure *failure);

#endif
