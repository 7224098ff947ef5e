#include "node/alert_alone.h"

#include "node/status.h"

/* A node in quarantine doesn't stand for election, so it keeps the leader that it had. */
static bool is_alone(const struct node *node)
{
    struct driver_status d;
    driver_status(node->driver, &d);
    return d.leader == 0 || board_reached(node) < node->genesis.member_count / 2 + 1;
}

static void keep_account(struct alert_alone *a, bool alone, uint64_t now_ms)
{
    uint64_t passed = a->seen_ms ? now_ms - a->seen_ms : 0, most = alone ? ALONE_MS - a->alone_ms : a->alone_ms;
    if (passed > most) passed = most;
    a->alone_ms = alone ? a->alone_ms + passed : a->alone_ms - passed;
    a->seen_ms = now_ms;
}

const struct alarm *alert_alone_due(struct alert_alone *a, const struct node *node, const struct integrity_view *view,
                                    uint64_t now_ms)
{
    bool alone = is_alone(node);
    keep_account(a, alone, now_ms);
    if (!alone || a->alone_ms < ALONE_MS || (a->told_ms && now_ms - a->told_ms < ALARM_AGAIN_MS)) return NULL;
    for (size_t i = 0; i < view->count; i++)
        if (view->alarms[i].named == node->self && view->alarms[i].index == 0) return &view->alarms[i];
    return NULL;
}
