/* Is what a node holds the ledger that the cluster co-signed?
 *
 * audit_replay answers that for one node by itself: its leaves up to its newest
 * checkpoint, which k nodes co-signed and which must cover what is known to be
 * recorded, are replayed, and their root compared. audit_compare answers it against
 * a ledger that was replayed before: only bytes need to be compared, and the first
 * entry that differs is the first wrong one.
 *
 * Decided over cli/ledger_source.h, so without a network. */
#ifndef CLI_AUDIT_H
#define CLI_AUDIT_H

#include "cli/ledger_source.h"
#include "cli/verifier.h"
#include "ledger/checkpoint.h"

/* X(NAME, "word") */
#define AUDIT_VERDICTS(X)                                                                          \
    X(AUDIT_UNREACHABLE, "unreachable") /* never answered */                                       \
    X(AUDIT_SILENT, "stopped answering")                                                           \
    X(AUDIT_FINE, "fine")                                                                          \
    X(AUDIT_WRONG, "wrong")           /* entries are altered, removed, added or in another order */ \
    X(AUDIT_CONTENT, "altered in its content") /* the entries are right, what is stored beside them is not */ \
    X(AUDIT_REFUSED, "giving nothing that can be compared") /* the entries are right; of what is stored beside them it \
                                                             * gives no answer, or one that makes no sense */ \
    X(AUDIT_STATE, "wrong in its state") /* the entries are right, the tables that it keeps beside them are not */ \
    X(AUDIT_ALARMED, "under alarm")   /* nothing wrong was found, but an open alarm counts against it */ \
    X(AUDIT_SHORT, "too short")       /* it ends before what k nodes co-signed */                  \
    X(AUDIT_QUARANTINED, "in quarantine") /* it says itself that it can't be trusted, and shows nothing */ \
    X(AUDIT_SET_BACK, "rolled back") /* its entries are right, but an alarm that is proved says: an old disk */ \
    X(AUDIT_UNPROVEN, "not co-signed") /* no checkpoint that k nodes co-signed */                  \
    X(AUDIT_FORKED, "forked")         /* k cosignatures on two histories: more than b nodes lied */

enum audit_verdict {
#define X(name, word) name,
    AUDIT_VERDICTS(X)
#undef X
};
const char *audit_word(enum audit_verdict verdict);
bool audit_failed(enum audit_verdict verdict); /* the node is wrong, not the connection */
bool audit_entries_right(enum audit_verdict verdict); /* its ledger is the one that was co-signed, whatever else */

/* About one node. */
struct audit {
    enum audit_verdict verdict;
    uint64_t size;    /* entries that were to be checked */
    uint64_t checked; /* that were, and are right */
    struct digest root; /* of the entries checked; zero: none was computed */
    struct finding finding; /* of a verdict that is not AUDIT_FINE; also says why a node is unreachable */
};

/* What is known before a node is asked. */
struct audit_known {
    const struct genesis *genesis;
    uint64_t least;              /* entries that are recorded, by proof */
    struct checkpoint seen;      /* the last good one of an earlier verification; size 0: none */
    struct checkpoint reference; /* audit_compare: the one that the replayed ledger has */
    const struct ledger_source *origin; /* audit_compare: whose ledger that was, asked for what a finding says; or
                                         * NULL */
    /* May be NULL. Called after each page. */
    void (*progress)(void *data, const char *name, uint64_t checked, uint64_t size);
    void *data;
};

/* `v` is empty and holds the leaves afterwards. `note` (cleared first) gets the
 * checkpoint of a ledger that is fine. An error is this machine's. */
enum err audit_replay(struct audit *out, struct buffer *note, struct verifier *v, const struct ledger_source *source,
                      const struct audit_known *known, struct failure *failure);
/* `v` holds a ledger that audit_replay found fine, known->reference its checkpoint. */
enum err audit_compare(struct audit *out, struct verifier *v, const struct ledger_source *source,
                       const struct audit_known *known, struct failure *failure);

#endif
