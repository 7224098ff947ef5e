/* Do all nodes hold the same state? For status --state-digest and verify --all.
 *
 * Asking is an operation of its own; at its entry every node digests its whole state
 * and signs what it found (ledger/state_digest.h). One node hands out what it has
 * heard; each statement is checked against the genesis file, so it can withhold some, but make none up. */
#ifndef CLI_STATE_COMPARE_H
#define CLI_STATE_COMPARE_H

#include <jansson.h>

#include "cli/tool.h"

/* X(NAME, "word") */
#define STATES_VERDICTS(X)                                                                         \
    X(STATES_SAME, "equal")                                                                        \
    X(STATES_SOME_SILENT, "equal")    /* k are; of others there is nothing to compare */           \
    X(STATES_DIFFER, "compromised")   /* k are the same, and some are not */                       \
    X(STATES_UNDECIDED, "undecided")  /* some differ, and no k are the same */                     \
    X(STATES_TOO_FEW, "unknown")

enum states_verdict {
#define X(name, word) name,
    STATES_VERDICTS(X)
#undef X
};

struct states_report {
    enum states_verdict verdict;
    uint64_t entry;     /* that asked */
    uint64_t leaf;      /* at which the nodes digested: that one, or one behind it that asked, too; 0: none did */
    struct buffer text; /* in a sentence, without its end; ends in a zero byte */
    json_t *nodes;      /* a row for each: name, state, digest, differs_in ... */
};

#define STATES_WAIT_S 30

/* Makes the entry, and waits at most `wait_s` for the nodes that are reachable. Errors of tool_submit (ERR_DENIED ...),
 * ERR_BAD_SIGNATURE for a statement that was made up; tool->failure says why. Free after OK. */
enum err states_compare(struct states_report *out, struct tool *t, uint64_t wait_s);
void states_report_free(struct states_report *r);
bool states_failed(const struct states_report *r); /* a node's state is wrong, or whose is right can't be said */
const char *states_word(const struct states_report *r);

#endif
