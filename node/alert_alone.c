#include "node/alert_alone.h"

#include "node/status.h"

/* A node in quarantine doesn't stand for election, so it keeps the leader that it had. */
static bool is_alone(const struct node *node)
{
    struct driver_status d;
    driver_status(node->driver, &d);
    return d.leader == 0 || board_reached(node) < node->genesis.member_count / 2 + 1;
}

const struct alarm *alert_alone_due(struct alert_alone *a, const struct node *node, const struct integrity_view *view,
                                    uint64_t now_ms)
{
    if (!is_alone(node)) {
        a->since_ms = 0;
        return NULL;
    }
    if (a->since_ms == 0) a->since_ms = now_ms;
    if (now_ms - a->since_ms < ALONE_MS || (a->told_ms && now_ms - a->told_ms < ALARM_AGAIN_MS)) return NULL;
    for (size_t i = 0; i < view->count; i++)
        if (view->alarms[i].named == node->self && view->alarms[i].index == 0) return &view->alarms[i];
    return NULL;
}
