/* state.digest and node.digest: a leaf at which all nodes digest their state (ledger/state_digest.h). */
#include "base/check.h"
#include "ledger/rules.h"
#include "ledger/state_digest.h"

/* Nodes ask now and then; one that asks all the time must not keep all the others at work. */
static enum reason decide_node(struct step *step)
{
    uint64_t index, time_ms;
    enum err err = state_digest_asked_get(&index, &time_ms, step->txn);
    if (err == ERR_NOT_FOUND) return REASON_NONE;
    if (err != OK) return step_failed(step, err);
    return step->time_ms - time_ms < STATE_DIGEST_GAP_MS ? REASON_TOO_SOON : REASON_NONE;
}

enum reason decide_digest(struct step *step)
{
    switch (step->op->action) {
    case ACTION_STATE_DIGEST: return step_permit_any(step, ACTION_STATE_DIGEST);
    case ACTION_NODE_DIGEST: return decide_node(step);
    }
    CHECK(!"not a digest");
    return REASON_FIELDS;
}

void change_digest(struct step *step)
{
    enum err err = state_digest_asked_put(step->txn, step->index, step->time_ms);
    if (err != OK) step_failed(step, err);
    step->digest_asked = true;
}
