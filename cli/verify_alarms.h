/* What alarms make of a node whose ledger verifies: nothing in there says what its node did or lost before.
 *
 * Who tells of an alarm may lie. So one makes a node fail only where it is proved: signatures, the named node itself
 * or more than b nodes say it, in the ledger that was replayed or each to us. What fewer say is shown as their
 * word, and nothing follows from it: one of them and the one that they accuse is wrong, and nobody knows which. */
#ifndef CLI_VERIFY_ALARMS_H
#define CLI_VERIFY_ALARMS_H

#include "cli/audit.h"
#include "cli/cluster.h"
#include "ledger/alarm.h"

struct alarmed_node {
    const struct cluster *cluster; /* connected to it, with its last notice */
    struct audit *audit;
    uint32_t member;
    bool asked;          /* the verification is about it */
    bool reached;        /* it has answered */
    char unproved[400];  /* set: what others say of it without a proof, in a clause; empty: nothing */
};

/* Sets the verdicts AUDIT_SET_BACK and AUDIT_ALARMED, of nodes that nothing else is known against, and all `unproved`.
 * `rows`: those that are open in the replayed ledger. */
void verify_alarms(struct alarmed_node *nodes, uint32_t count, const struct genesis *genesis, const struct alarm *rows,
                   size_t row_count);

#endif
