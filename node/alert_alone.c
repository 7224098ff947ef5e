#include "node/alert_alone.h"

#include "node/status.h"

/* A node in quarantine doesn't stand for election, so it keeps the leader that it had. */
static bool is_alone(const struct node *node)
{
    struct driver_status d;
    driver_status(node->driver, &d);
    return d.leader == 0 || board_reached(node) < node->genesis.member_count / 2 + 1;
}

static void keep_account(struct alert_lasting *l, bool holds, uint64_t limit_ms, uint64_t now_ms)
{
    uint64_t passed = l->seen_ms ? now_ms - l->seen_ms : 0, most = holds ? limit_ms - l->lasts_ms : l->lasts_ms;
    if (passed > most) passed = most;
    l->lasts_ms = holds ? l->lasts_ms + passed : l->lasts_ms - passed;
    l->seen_ms = now_ms;
}

static bool is_due(struct alert_lasting *l, bool holds, uint64_t limit_ms, uint64_t now_ms)
{
    keep_account(l, holds, limit_ms, now_ms);
    return holds && l->lasts_ms >= limit_ms && (!l->told_ms || now_ms - l->told_ms >= ALARM_AGAIN_MS);
}

const struct alarm *alert_alone_due(struct alert_lasting *alone, const struct node *node,
                                    const struct integrity_view *view, uint64_t now_ms)
{
    if (!is_due(alone, is_alone(node), ALONE_MS, now_ms)) return NULL;
    for (size_t i = 0; i < view->count; i++)
        if (view->alarms[i].named == node->self && view->alarms[i].index == 0) return &view->alarms[i];
    return NULL;
}

bool alert_full_due(struct alert_lasting *full, const struct node *node, uint64_t now_ms)
{
    return is_due(full, board_log_full(node), FULL_MS, now_ms);
}
