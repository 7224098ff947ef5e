/* Alarms: raised and taken back by nodes, told of by one of them, cleared by people (ledger/alarm.h). */
#include "base/check.h"
#include "ledger/rules.h"

/* --- deciding --- */

/* Found: step->alarm. Reasons when it is not there, or not open. */
static enum reason open_alarm(struct step *step, enum err found)
{
    if (found == ERR_NOT_FOUND) return REASON_UNKNOWN_ALARM;
    if (found != OK) return step_failed(step, found);
    return step->alarm.status == ALARM_OPEN ? REASON_NONE : REASON_ALARM_CLOSED;
}

/* Nobody's table grows without end: a node has so many alarms open, whatever it says. */
static enum reason decide_new(struct step *step)
{
    uint32_t count;
    enum err err = state_alarms_raised(&count, step->txn, step->member);
    if (err != OK) return step_failed(step, err);
    return count >= ALARM_OPEN_MOST ? REASON_TOO_MANY_ALARMS : REASON_NONE;
}

static enum reason decide_repaired(struct step *step, enum reason found)
{
    if (found != REASON_NONE) return found;
    if (step->alarm.raiser != step->member) return REASON_NOT_RAISER;
    return step->alarm.kind == ALARM_FORKED ? REASON_PROVEN : REASON_NONE;
}

static enum reason decide_raise(struct step *step)
{
    const struct args_node_alarm *args = &step->args.node_alarm;
    if (args->named > step->ledger->genesis.member_count) return REASON_FIELDS;
    enum err err = state_alarm_last(&step->alarm, step->txn, args->kind, args->named, args->first);
    enum reason found = open_alarm(step, err);
    if (step->err != OK) return found;
    if (args->status == ALARM_REPAIRED) return decide_repaired(step, found);
    if (found != REASON_NONE) return decide_new(step);
    bool extends = step->alarm.raiser == step->member && args->last > step->alarm.last;
    return extends ? REASON_NONE : REASON_ALREADY_RAISED;
}

static enum reason decide_tell(struct step *step)
{
    const struct args_alarm_tell *args = &step->args.alarm_tell;
    enum reason found = open_alarm(step, state_alarm_get(&step->alarm, step->txn, args->index));
    const struct alarm *a = &step->alarm;
    if (found == REASON_UNKNOWN_ALARM || step->err != OK) return found;
    /* Else who is proved to lie could claim each alarm about itself, say that it told people, and tell nobody. */
    if (a->kind == ALARM_FORKED && a->named == step->member) return REASON_PROVEN;
    /* Mail may be on its way when an alarm is closed: that it was sent is true all the same. */
    if (args->step == ALARM_TOLD) return a->claimed_by == step->member ? REASON_NONE : REASON_NOT_CLAIMED;
    if (found != REASON_NONE) return found;
    if (alarm_was_told(a, step->time_ms)) return REASON_ALREADY_TOLD;
    return alarm_is_claimed(a, step->time_ms) ? REASON_CLAIMED : REASON_NONE;
}

static enum reason decide_clear(struct step *step)
{
    enum reason reason = step_permit_any(step, ACTION_ALARM_CLEAR);
    if (reason != REASON_NONE) return reason;
    return open_alarm(step, state_alarm_get(&step->alarm, step->txn, step->args.alarm_clear.index));
}

enum reason decide_alarms(struct step *step)
{
    switch (step->op->action) {
    case ACTION_NODE_ALARM: return decide_raise(step);
    case ACTION_ALARM_TELL: return decide_tell(step);
    case ACTION_ALARM_CLEAR: return decide_clear(step);
    }
    CHECK(!"not an action of alarms");
    return REASON_FIELDS;
}

/* --- changes --- */

static void close_alarm(struct step *step, enum alarm_status status)
{
    step->alarm.status = status;
    step->alarm.closed = step->index;
}

/* A new one, or the raiser's own with a later end. From an earlier one of the same key it
 * has who tells people, and when they were told: raising it anew doesn't tell them anew. */
static enum err change_raise(struct step *step)
{
    const struct args_node_alarm *args = &step->args.node_alarm;
    struct alarm before = {0}, *a = &step->alarm;
    enum err err = state_alarm_last(&before, step->txn, args->kind, args->named, args->first);
    if (err != OK && err != ERR_NOT_FOUND) return err;
    if (err == OK && before.status == ALARM_OPEN) {
        a->last = args->last;
        return OK;
    }
    *a = (struct alarm){.index = step->index,
                        .kind = args->kind,
                        .named = args->named,
                        .raiser = step->member,
                        .first = args->first,
                        .last = args->last,
                        .since_ms = step->time_ms,
                        .status = ALARM_OPEN,
                        .claimed_by = before.claimed_by,
                        .claimed_ms = before.claimed_ms,
                        .told = before.told,
                        .told_ms = before.told_ms};
    return state_alarm_put_last(step->txn, a);
}

static void set_told(struct alarm *a, const struct step *step)
{
    a->told = step->index;
    a->told_ms = step->time_ms;
    if (a->claimed_by != step->member) return;
    a->claimed_by = 0;
    a->claimed_ms = 0;
}

/* The alarm may have been closed and raised anew while people were being told. */
static enum err change_tell(struct step *step)
{
    struct alarm latest, *a = &step->alarm;
    if (step->args.alarm_tell.step == ALARM_CLAIM) {
        a->claimed_by = step->member;
        a->claimed_ms = step->time_ms;
        return OK;
    }
    set_told(a, step);
    enum err err = state_alarm_last(&latest, step->txn, a->kind, a->named, a->first);
    if (err != OK || latest.index == a->index) return err;
    set_told(&latest, step);
    return state_alarm_put(step->txn, &latest);
}

void change_alarms(struct step *step)
{
    enum err err = OK;
    switch (step->op->action) {
    case ACTION_NODE_ALARM:
        if (step->args.node_alarm.status == ALARM_REPAIRED)
            close_alarm(step, ALARM_REPAIRED);
        else
            err = change_raise(step);
        break;
    case ACTION_ALARM_TELL: err = change_tell(step); break;
    case ACTION_ALARM_CLEAR: close_alarm(step, ALARM_CLEARED); break;
    }
    if (err == OK) err = state_alarm_put(step->txn, &step->alarm);
    if (err != OK) step_failed(step, err);
    step->alarms_changed = true;
}
