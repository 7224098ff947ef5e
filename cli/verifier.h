/* A ledger checked from its leaves alone: replayed, decision by decision, into a
 * private store that nothing remains of. No copy of the leaves is kept, but their hashes.
 *
 * Happy path of leaves, in batches, several at once under way (cli/pipeline.h):
 *   verifier_take   copies them into a batch                        the owner's thread
 *   read, hashed, signatures checked, hashes kept                   any worker
 *   replayed: chain, signature, policy and state                    one thread, in order
 * So the first wrong leaf is the one with the lowest index, always.
 *
 * Two kinds of trouble are kept apart. What is wrong with the ledger is a finding;
 * what fails on this machine (memory, disk) is an error. The owner calls from one
 * thread at a time. */
#ifndef CLI_VERIFIER_H
#define CLI_VERIFIER_H

#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "ledger/alarm.h"
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

/* In $TMPDIR or /var/tmp, 64 bytes an entry and what a node's state takes without its log; the files are gone from
 * there as soon as this returns. */
enum err verifier_open(struct verifier **out, const struct genesis *genesis, struct failure *failure);
void verifier_close(struct verifier *v); /* NULL is nothing */

/* Before the first is taken: so many leaves will come at most, as far as is known. */
void verifier_foresee(struct verifier *v, uint64_t leaves);

/* `count` leaves that come next; they are copied. A finding is about a leaf of this or an earlier call, or it comes
 * with a later one: the first wrong leaf, with which everything stops. An error is this machine's, and final. */
enum err verifier_take(struct verifier *v, struct finding *finding, const struct bytes *leaves, uint32_t count,
                       struct failure *failure);
/* Waits until all that were taken are checked. More may be taken after. */
enum err verifier_settle(struct verifier *v, struct finding *finding, struct failure *failure);
/* Leaves that are checked and right: the index of the first wrong one, once it is found. */
uint64_t verifier_size(const struct verifier *v);

/* --- once verifier_settle has returned, before more is taken --- */

/* The root of the first `size` leaves; at most verifier_size. */
enum err verifier_root(struct digest *out, struct verifier *v, uint64_t size, struct failure *failure);
/* Whether these bytes are the leaf that was taken. index < verifier_size. */
enum err verifier_is(bool *out, struct verifier *v, uint64_t index, struct bytes leaf, struct failure *failure);
/* The hash of the attachment that nodes keep for it; all zero: none. index < verifier_size. */
enum err verifier_attachment(struct digest *out, struct verifier *v, uint64_t index, struct failure *failure);
/* The alarms that are open after these leaves, a view until more are taken; how many. */
size_t verifier_alarms(const struct alarm **out, const struct verifier *v);

#endif
