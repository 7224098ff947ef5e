/* Scrubbing a store: does everything in it still say what the ledger proves?
 *
 * One pass goes over
 *   1. the leaves, in order: leaf, chain, the tree's rows, the attachment against its
 *      hash, and every row that follows from the leaf alone (log indexes, duplicates,
 *      versions, lists of a patient, what a read opened, facts about content);
 *   2. the rows of every other table, in the order of their keys: the seal opens, the row
 *      decodes, the leaf that it names made it, rows that belong together agree, each
 *      kept checkpoint has k cosignatures and the root that this tree has.
 * What only a replay can tell (a role that was altered, with a good seal, in a row that
 * decodes) is not found here: the state digest compares that between nodes.
 *
 * A pass goes on over many short read transactions, each on a newer state: it covers the
 * leaves that there were when it began, and never more than a transaction's snapshot.
 * Memory is bounded by one leaf and its attachment. The position can be kept
 * (scan_encode) and taken up by another process.
 *
 * Findings: a step that finds something ends there. The same place is looked at again by
 * the next step, so that whoever repairs it sees whether that helped; scan_pass_over goes
 * on behind it instead.
 *
 * Pure; any thread, one at a time per struct. */
#ifndef LEDGER_SCAN_H
#define LEDGER_SCAN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/table.h"
#include "ledger/genesis.h"
#include "ledger/tree.h"

struct ledger;

/* What can be done about a finding. */
enum damage_kind {
    DAMAGE_NONE,
    DAMAGE_LEAF,       /* a leaf or its row of the tree: from a peer, proved by the tree (scan_mend_leaf) */
    DAMAGE_ATTACHMENT, /* from a peer, proved by the leaf (scan_mend_attachment) */
    DAMAGE_DERIVED,    /* follows from what is here: written anew (scan_mend_row) */
    DAMAGE_STRAY,      /* no leaf made this row: removed (scan_mend_row) */
    DAMAGE_LOCAL,      /* this node's own note, of no use now: removed, or marked as lost (scan_mend_row) */
    DAMAGE_STATE,      /* only a replay tells what it must be: rebuild */
    DAMAGE_ROOT,       /* the tree contradicts a checkpoint of k nodes: rebuild */
    DAMAGE_STORE,      /* the store's own structure: rebuild */
};

#define DAMAGE_TEXT 200

struct damage {
    enum damage_kind kind;
    bool gone;       /* it is absent; else altered */
    uint8_t table;
    uint16_t key_size;
    uint8_t key[TABLE_KEY_MAX];
    uint64_t index;  /* the leaf that it belongs to; 0 also where that isn't known */
    char text[DAMAGE_TEXT]; /* what, where: no secret and no personal data */
};

enum scan_phase { SCAN_LEAVES, SCAN_ROWS, SCAN_DONE };

struct scan {
    const struct genesis *genesis;
    enum scan_phase phase;
    uint64_t end;         /* leaves of this pass; 0: not begun */
    uint64_t bytes, rows; /* read so far, in this pass */
    uint64_t most_ns;     /* of a processor for one step, about; 0: no limit. For the caller to set before a step */
    uint64_t begun_ns, looks;
    bool late;
    /* leaves: the frontier before the next one, and the chain */
    struct tree tree;
    struct digest last;
    uint64_t time_ms;
    /* rows: the last key that was checked */
    uint8_t table, key[TABLE_KEY_MAX];
    uint16_t key_size;
    unsigned passed;      /* bit of each damage_kind passed over at the present place */
    struct scan_work *work;
};

/* The beginning of a pass, or of the next one. `genesis` outlives the scan. */
void scan_begin(struct scan *s, const struct genesis *genesis);
void scan_free(struct scan *s);
/* Goes on until `bytes` were read, or most_ns are over, or a finding, or the end of the pass (SCAN_DONE).
 * One row at least is checked. found->kind DAMAGE_NONE: nothing. Errors are the store's (ERR_IO,
 * ERR_NOMEM ...); what is damaged is a finding and no error. */
enum err scan_step(struct scan *s, struct table_txn *txn, uint64_t bytes, struct damage *found);
/* The next step does not report this kind at this place again. */
void scan_pass_over(struct scan *s, const struct damage *found);
/* 0 .. 1000, of what this snapshot holds. */
unsigned scan_permille(const struct scan *s);

/* The position, for another time; at most LIMIT_SCAN_POSITION bytes. */
#define LIMIT_SCAN_POSITION (4 * KIB)
void scan_encode(struct buffer *out, const struct scan *s);
/* ERR_CORRUPT, and a fresh pass: not a position. The rest as scan_begin. */
enum err scan_decode(struct scan *s, const struct genesis *genesis, struct bytes in);

/* --- repairs: in a write transaction; each looks again before it writes --- */

/* The leaf that was proved to be the one after the frontier `before`: puts leaf and row of the tree
 * where they differ. *changed says whether, *gone whether one of them was not there. */
enum err scan_mend_leaf(struct table_txn *txn, bool *changed, bool *gone, const struct tree *before,
                        struct bytes leaf);
/* The attachment of leaf `index` in the place of what is there. ERR_ATTACHMENT: not the one that
 * the leaf names. `ledger` as in ledger_attach. */
enum err scan_mend_attachment(struct ledger *ledger, struct table_txn *txn, uint64_t index, struct bytes attachment);
/* DERIVED, STRAY and LOCAL; `ledger` may be NULL. ERR_INVALID: it can't be derived after all (rebuild). */
enum err scan_mend_row(struct ledger *ledger, struct table_txn *txn, const struct genesis *genesis,
                       const struct damage *damage);

#endif
