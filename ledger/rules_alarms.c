/* Alarms: raised and taken back by nodes, told of by one of them, cleared by people (ledger/alarm.h says why so). */
#include "base/check.h"
#include "ledger/evidence.h"
#include "ledger/rules.h"

/* --- deciding --- */

/* Found: step->alarm. Reasons when it is not there, or not open. */
static enum reason open_alarm(struct step *step, enum err found)
{
    if (found == ERR_NOT_FOUND) return REASON_UNKNOWN_ALARM;
    if (found != OK) return step_failed(step, found);
    return step->alarm.status == ALARM_OPEN ? REASON_NONE : REASON_ALARM_CLOSED;
}

/* Nobody's table grows without end: a node says so of so many open alarms, whatever it finds. */
static enum reason decide_room(struct step *step)
{
    uint32_t count;
    enum err err = state_alarms_said(&count, step->txn, step->member);
    if (err != OK) return step_failed(step, err);
    return count >= ALARM_OPEN_MOST ? REASON_TOO_MANY_ALARMS : REASON_NONE;
}

/* That a node signed contradictions is nobody's word: what it signed is here, or it is not so. */
static bool is_proved(const struct step *step)
{
    const struct args_node_alarm *args = &step->args.node_alarm;
    struct evidence e;
    return evidence_open(&e, args->evidence, &step->ledger->genesis) == OK && e.signer == args->named &&
           evidence_place(&e) == args->first;
}

static enum reason decide_new(struct step *step)
{
    enum reason reason = decide_room(step);
    if (reason != REASON_NONE || step->args.node_alarm.kind != ALARM_FORKED) return reason;
    return is_proved(step) ? REASON_NONE : REASON_NOT_PROVEN;
}

static bool goes_on(const struct step *step)
{
    return step->alarm.raiser == step->member && step->args.node_alarm.last > step->alarm.last;
}

/* One that is open: its raiser says that it goes on, or another one says the same, until that counts. */
static enum reason decide_open(struct step *step)
{
    const struct alarm *a = &step->alarm;
    if (goes_on(step)) return REASON_NONE;
    bool counts = alarm_counts(a->kind, a->named, a->saying, step->ledger->genesis.faulty);
    return counts || alarm_says(a, step->member) ? REASON_ALREADY_RAISED : decide_room(step);
}

static enum reason decide_repaired(struct step *step, enum reason found)
{
    if (found != REASON_NONE) return found;
    if (!alarm_says(&step->alarm, step->member)) return REASON_NOT_RAISER;
    return step->alarm.kind == ALARM_FORKED ? REASON_PROVEN : REASON_NONE;
}

static enum reason decide_raise(struct step *step)
{
    const struct args_node_alarm *args = &step->args.node_alarm;
    bool evidence_fits = args->evidence.size == 0 || (args->kind == ALARM_FORKED && args->status == ALARM_OPEN);
    if (args->named > step->ledger->genesis.member_count || !evidence_fits) return REASON_FIELDS;
    enum err err = state_alarm_last(&step->alarm, step->txn, args->kind, args->named, args->first);
    enum reason found = open_alarm(step, err);
    if (step->err != OK) return found;
    if (args->status == ALARM_REPAIRED) return decide_repaired(step, found);
    return found == REASON_NONE ? decide_open(step) : decide_new(step);
}

/* What was repaired at once was wrong all the same: people hear of it, unless it was raised anew since. */
static enum reason repaired_alarm(struct step *step)
{
    struct alarm latest;
    const struct alarm *a = &step->alarm;
    if (a->status != ALARM_REPAIRED || step->time_ms >= a->since_ms + ALARM_AGAIN_MS) return REASON_ALARM_CLOSED;
    enum err err = state_alarm_last(&latest, step->txn, a->kind, a->named, a->first);
    if (err != OK) return step_failed(step, err);
    return latest.index == a->index ? REASON_NONE : REASON_ALARM_CLOSED;
}

/* Of all of it, or of the ways that the last telling lacks. */
static enum reason decide_claim(const struct step *step)
{
    const struct genesis *g = &step->ledger->genesis;
    const struct alarm *a = &step->alarm;
    unsigned ways = step->args.alarm_tell.ways;
    bool told = alarm_was_told(a, step->member, step->time_ms);
    if (ways ? told && (ways & a->told_ways) : told) return REASON_ALREADY_TOLD;
    if (alarm_is_claimed(a, step->time_ms)) return REASON_CLAIMED;
    if (ways && !told) return REASON_NOT_ITS_TURN; /* it is told as a whole by now, if at all */
    uint64_t turn = ways ? alarm_rest_turn_ms(a, step->member, g->member_count, &g->cluster)
                         : alarm_turn_ms(a, step->member, g->member_count, &g->cluster);
    return step->time_ms >= turn ? REASON_NONE : REASON_NOT_ITS_TURN;
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
    if (found == REASON_ALARM_CLOSED) found = repaired_alarm(step);
    return found == REASON_NONE ? decide_claim(step) : found;
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

static void change_open(struct step *step)
{
    struct alarm *a = &step->alarm;
    uint64_t last = step->args.node_alarm.last;
    bool self = a->named == step->member; /* knows best how far it goes */
    if ((goes_on(step) || self) && last > a->last) a->last = last;
    a->saying |= 1u << step->member;
}

/* Those who still say so keep it open; it is then theirs. */
static void take_back(struct step *step)
{
    struct alarm *a = &step->alarm;
    uint32_t rest = a->saying & ~(1u << step->member);
    if (rest == 0) {
        close_alarm(step, ALARM_REPAIRED);
        return;
    }
    a->saying = rest;
    if (a->raiser != step->member) return;
    for (a->raiser = 1; !alarm_says(a, a->raiser);) a->raiser++;
}

/* A new one, or one more word about an open one. From an earlier one of the same key it
 * has who tells people, and when they were told: raising it anew doesn't tell them anew. */
static enum err change_raise(struct step *step)
{
    const struct args_node_alarm *args = &step->args.node_alarm;
    struct alarm before = {0}, *a = &step->alarm;
    enum err err = state_alarm_last(&before, step->txn, args->kind, args->named, args->first);
    if (err != OK && err != ERR_NOT_FOUND) return err;
    if (err == OK && before.status == ALARM_OPEN) {
        change_open(step);
        return OK;
    }
    *a = (struct alarm){.index = step->index,
                        .kind = args->kind,
                        .named = args->named,
                        .raiser = step->member,
                        .saying = 1u << step->member,
                        .first = args->first,
                        .last = args->last,
                        .since_ms = step->time_ms,
                        .status = ALARM_OPEN,
                        .claimed_by = before.claimed_by,
                        .claimed_ms = before.claimed_ms,
                        .told = before.told,
                        .told_ms = before.told_ms,
                        .told_by = before.told_by,
                        .told_ways = before.told_ways};
    return state_alarm_put_last(step->txn, a);
}

/* `rest`: what that telling lacked. */
static void set_told(struct alarm *a, const struct step *step, bool rest)
{
    unsigned ways = step->args.alarm_tell.ways;
    a->told_ways = rest ? a->told_ways | ways : ways;
    if (!rest) {
        a->told = step->index;
        a->told_ms = step->time_ms;
        a->told_by = step->member;
    }
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
    bool rest = alarm_claims_rest(a);
    uint64_t told = a->told;
    set_told(a, step, rest);
    enum err err = state_alarm_last(&latest, step->txn, a->kind, a->named, a->first);
    if (err != OK || latest.index == a->index || (rest && latest.told != told)) return err;
    set_told(&latest, step, rest);
    return state_alarm_put(step->txn, &latest);
}

void change_alarms(struct step *step)
{
    enum err err = OK;
    switch (step->op->action) {
    case ACTION_NODE_ALARM:
        if (step->args.node_alarm.status == ALARM_REPAIRED)
            take_back(step);
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
