/* A ledger checked from its leaves alone: replayed, decision by decision, into a
 * private store that nothing remains of.
 *
 * Two kinds of trouble are kept apart. What is wrong with the ledger is a finding;
 * what fails on this machine (memory, disk) is an error. One thread at a time. */
#ifndef CLI_VERIFIER_H
#define CLI_VERIFIER_H

#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "ledger/genesis.h"

/* What is wrong with a ledger, and where first. */
struct finding {
    enum err code;  /* OK: nothing found */
    uint64_t index; /* the entry */
    bool located;   /* that entry is the first wrong one, as far as this copy can show */
    char text[400]; /* in a sentence */
    char expected[240], found[240]; /* in a few words; may be empty */
};
/* Sets code, index and text of a finding without one. */
void finding_set(struct finding *f, enum err code, uint64_t index, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

struct verifier;

/* In $TMPDIR or /var/tmp, as large as a node's state; the folder is gone from there as soon as this returns. */
enum err verifier_open(struct verifier **out, const struct genesis *genesis, struct failure *failure);
void verifier_close(struct verifier *v); /* NULL is nothing */

/* `count` leaves that come next, at most LIMIT_LEAVES. Stops at the first wrong one: a finding, and
 * verifier_size is its index. An error is this machine's. */
enum err verifier_take(struct verifier *v, struct finding *finding, const struct bytes *leaves, uint32_t count,
                       struct failure *failure);
uint64_t verifier_size(const struct verifier *v);
/* The root of the first `size` leaves; at most verifier_size. */
enum err verifier_root(struct digest *out, struct verifier *v, uint64_t size, struct failure *failure);

/* A leaf that was taken; a view until the next call. */
enum err verifier_leaf(struct bytes *out, struct verifier *v, uint64_t index, struct failure *failure);
/* Another node's leaf against the one taken here, byte for byte: a finding that
 * says what differs. index < verifier_size. */
enum err verifier_compare(struct verifier *v, struct finding *finding, uint64_t index, struct bytes leaf,
                          struct failure *failure);

#endif
