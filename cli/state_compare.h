/* Do all nodes hold the same state? For status --state-digest and verify --all.
 *
 * Asking is an operation of its own; at its entry every node digests its whole state
 * and signs what it found (ledger/state_digest.h). The nodes that are asked hand out what they
 * have heard; each statement is checked against the genesis file, so one can withhold some, but make none up. */
#ifndef CLI_STATE_COMPARE_H
#define CLI_STATE_COMPARE_H

#include <jansson.h>

#include "cli/tool.h"
#include "ledger/state_digest.h"

/* X(NAME, "word") */
#define STATES_VERDICTS(X)                                                                         \
    X(STATES_SAME, "equal")                                                                        \
    X(STATES_SOME_SILENT, "incomplete") /* k are; of others there is nothing to compare */         \
    X(STATES_DIFFER, "compromised")   /* some differ, and it is decided who is right */            \
    X(STATES_UNDECIDED, "undecided")  /* some differ, and it is not */                             \
    X(STATES_UNREADABLE, "unreadable") /* none differs, but a node can't read its own */           \
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
    uint32_t compared;  /* bit i = member i: stated a digest */
    uint32_t wrong;     /* has another than those that are right, or can't read its own */
    uint32_t liar;      /* of several that were asked: one that handed out what can't be, and is left out; 0: none */
    struct failure lie; /* what that was */
};

#define STATES_WAIT_S 30

/* A value is right when b + 1 nodes state it, for at most b lie or fail, and b + 1 do not state another one, too;
 * where b is 0: when k do. */

/* What statements[1 .. members] say, NULL: nothing; all of one leaf, verified. Sets all but entry and
 * leaf; free. */
void states_judge(struct states_report *out, const struct state_statement *const *statements,
                  const struct genesis *genesis);

/* Makes the entry, and waits at most `wait_s` for the nodes that are reachable. `sources`: connections to nodes, each
 * to one, that are asked what all of them stated, as long as one answers; count 0: whichever node answers. Errors of
 * tool_submit (ERR_DENIED ...), ERR_BAD_SIGNATURE for a statement that was made up, ERR_MALFORMED for an answer that
 * can't be read; tool->failure says why. Free after OK. */
enum err states_compare(struct states_report *out, struct tool *t, struct cluster *const *sources, uint32_t count,
                        uint64_t wait_s);
void states_report_free(struct states_report *r);
bool states_failed(const struct states_report *r); /* a state is wrong or unreadable, or whose is right can't be said */
const char *states_word(const struct states_report *r);
/* The names of the members in `mask`. */
json_t *states_names(const struct genesis *genesis, uint32_t mask);

#endif
