/* Does the ledger of today begin with the one that an older checkpoint signs? Two
 * checkpoints under k cosignatures each and a consistency proof (RFC 9162 2.1.4)
 * between them answer that without a single entry being read.
 *
 * Decided over cli/ledger_source.h, so without a network. */
#ifndef CLI_EXTENSION_H
#define CLI_EXTENSION_H

#include "cli/audit.h"

/* About one source. */
struct extension {
    enum audit_verdict verdict; /* AUDIT_FINE: it is proved; AUDIT_UNREACHABLE, _SHORT, _UNPROVEN, _FORKED: text says
                                 * why not */
    struct checkpoint now;      /* its newest one under k cosignatures; size 0: none */
    char text[400];
};

/* The checkpoint in a file's content: a note, or a receipt that carries one
 * (ledger/tlog_proof.h). ERR_CHECKPOINT, ERR_TOO_FEW_COSIGNATURES, ERR_OTHER_CLUSTER. */
enum err extension_read_old(struct checkpoint *out, struct bytes text, const struct genesis *genesis,
                            struct failure *failure);
/* `old` is under k cosignatures, too. A source that lags is given its time (source->wait). */
void extension_check(struct extension *out, const struct ledger_source *source, const struct genesis *genesis,
                     const struct checkpoint *old);

#endif
