/* The floor: what an operation costs this machine's processors when one thread does all that clients and nodes must
 * do for it, with the product's own functions, and nothing else: no network, no waiting, no switching between
 * programs. A cluster on this machine can't do more than processors / floor operations a second. All processors do
 * it at once, each by itself: they may share a core, its caches or its power, and what a cluster can have of them is
 * what they do together.
 *
 * Done once for each operation: content, operation and signature of the client; TLS records (client to node, to the
 * leader, to the followers, and the answer); for each node: decoding, hashing and verifying, sealing and writing the
 * log, deciding and writing the state. For a read of a record also the shares of k nodes, and opening.
 * Requests come in blocks and commits of fixed sizes, as under load. Checkpoints are left out: they cost by block.
 */
#ifndef TESTS_BENCH_FLOOR_H
#define TESTS_BENCH_FLOOR_H

#include <stdio.h>

#include "tests/bench/lanes.h"

enum floor_part {
    FLOOR_CLIENT, /* makes and signs the request */
    FLOOR_TLS,    /* records and frames, both ends */
    FLOOR_VERIFY, /* decoding, hashing, signatures, capsule: on each node */
    FLOOR_BLOCK,  /* the leader's block: made, hashed, signed; verified by the others */
    FLOOR_LOG,    /* sealed, written and synced on each node: processor time only */
    FLOOR_APPLY,  /* decided, leaf, chain, tree, state: on each node */
    FLOOR_COMMIT, /* LMDB's commit on each node: processor time only */
    FLOOR_SHARES, /* k nodes' shares, sealed and signed */
    FLOOR_OPEN,   /* the reader's: shares checked and combined, content decrypted */
    FLOOR_PARTS,
};

struct floor_cost {
    double us[FLOOR_PARTS]; /* of one operation */
    double total_us;
    double alone_us; /* the same as total_us, with the other processors at rest */
};

struct floor_kind {
    enum work work;
    unsigned operations; /* in a request */
    size_t bytes;        /* of each event's note, or of each record */
    unsigned nodes;
};
/* WORK_LOG has no floor: zeros. */
void floor_measure(struct floor_cost *out, const struct floor_kind *kind);
void floor_print_head(void);
void floor_print(const char *name, const struct floor_cost *cost, FILE *json);

#endif
