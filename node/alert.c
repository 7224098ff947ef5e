#include "node/alert.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "consensus/node_request.h"
#include "ledger/arguments.h"
#include "node/alert_kept.h"
#include "node/alert_send.h"
#include "node/integrity.h"

#define LOOK_MS 1000
#define TURN_MARGIN_MS 500      /* this clock may be ahead of the ledger's: a claim that is too early is denied */
#define PAUSE_MS 5000           /* after the first failure of a claim; then twice as long each time */
#define PAUSE_MOST_MS 3600000
#define SEND_MARGIN_MS 40000    /* a claim that runs out sooner is not sent on: another may have it by then */
#define RESENDS 10              /* of the ways that failed, once people were told by another: 1 h 25 min in all */

/* All that can be open, or is looked at: a liar's many take nobody's place. */
#define ATTEMPTS (INTEGRITY_FINDINGS + ALARMS_OPEN_MOST + INTEGRITY_REPAIRED)

enum alert_state { ALERT_IDLE, ALERT_CLAIMING, ALERT_SENDING, ALERT_TELLING };

/* What this node tried for one alarm. */
struct attempt {
    uint64_t index;      /* leaf of the alarm; 0: free */
    uint64_t next_ms;    /* no claim before; clock_monotonic */
    unsigned failures;
    unsigned sent;       /* ways that took it ... */
    uint64_t told;       /* ... since this leaf said that people were told ... */
    unsigned failing;    /* ... by other ways than these, which this node goes on trying */
};

struct alert {
    struct node *node;
    uv_timer_t timer;
    uv_async_t done;     /* the thread has ended */
    uv_thread_t thread;
    atomic_bool stop;
    bool running;        /* a thread is to be joined */
    enum alert_state state;
    struct attempt attempts[ATTEMPTS];
    struct attempt *current;
    struct alert_message message;
    struct alert_kept kept;
    /* the thread's result */
    unsigned ways, sent;
    struct alert_refused refused;
    enum err code;
    struct failure failure;
};

static uint64_t now_ms(void) { return clock_monotonic_ns() / 1000000; }

/* ---- attempts ---- */

static struct attempt *find(struct alert *t, uint64_t index)
{
    for (size_t i = 0; i < ATTEMPTS; i++)
        if (t->attempts[i].index == index) return &t->attempts[i];
    return NULL;
}

static struct attempt *know(struct alert *t, const struct alarm *a)
{
    struct attempt *known = find(t, a->index);
    if (known && known->told >= a->told) return known;
    if (!known) known = find(t, 0);
    CHECK(known != NULL);
    *known = (struct attempt){.index = a->index, .told = a->told};
    return known;
}

static void forget_closed(struct alert *t, const struct integrity_view *view)
{
    for (size_t i = 0; i < ATTEMPTS; i++) {
        bool shown = false;
        if (t->attempts[i].index == 0) continue;
        for (size_t j = 0; j < view->count && !shown; j++) shown = view->alarms[j].index == t->attempts[i].index;
        for (size_t j = 0; j < view->repaired_count && !shown; j++)
            shown = view->repaired[j].index == t->attempts[i].index;
        if (!shown && &t->attempts[i] != t->current) t->attempts[i] = (struct attempt){0};
    }
}

static void finish(struct alert *t, bool failed)
{
    struct attempt *a = t->current;
    if (a && failed) {
        uint64_t pause = (uint64_t)PAUSE_MS << (a->failures < 10 ? a->failures : 10);
        a->failures++;
        a->next_ms = now_ms() + (pause < PAUSE_MOST_MS ? pause : PAUSE_MOST_MS);
    }
    t->current = NULL;
    t->state = ALERT_IDLE;
}

/* ---- the ledger ---- */

static enum err submit(struct alert *t, enum alarm_step step, node_request_done done)
{
    struct node *node = t->node;
    struct buffer args = {0};
    const struct node_signer signer = {node->driver, &node->genesis, node->identity.secrets, node->self};
    unsigned sent = step == ALARM_TOLD ? t->current->sent : 0;
    const struct args_alarm_tell tell = {
        .index = t->current->index,
        .step = step,
        .ways = (sent & ALERT_MAIL ? ALARM_BY_MAIL : 0) | (sent & ALERT_HOOK ? ALARM_BY_HOOK : 0)};
    args_alarm_tell_encode(&args, &tell);
    enum err e = args.failed ? ERR_NOMEM
                             : node_request_submit(&signer, ACTION_ALARM_TELL, buffer_bytes(&args),
                                                   (struct bytes){0}, t, done);
    buffer_free(&args);
    return e;
}

/* From here on nobody claims it for a day, whichever nodes live: what failed is this node's own to try again. */
static void on_told(void *data, enum err code, uint64_t leaf, enum decision decision, enum reason reason)
{
    struct alert *t = data;
    struct attempt *a = t->current;
    (void)reason;
    if (code != OK || decision != DECISION_APPROVED) {
        log_warning("alert", "people were told of the alarm in leaf %llu, but the ledger does not say so: another node "
                             "may tell them again", (unsigned long long)a->index);
        finish(t, true);
        return;
    }
    *a = (struct attempt){.index = a->index, .told = leaf, .failing = alert_ways(t->node->config) & ~a->sent};
    finish(t, a->failing != 0);
}

/* ---- sending ---- */

static void run(void *data)
{
    struct alert *t = data;
    t->code = alert_send(&t->sent, t->ways, t->node->config, &t->message, &t->stop, &t->refused,
                         &t->failure);
    uv_async_send(&t->done);
}

static const char *ways_text(unsigned ways)
{
    return ways == ALERT_MAIL ? "mail" : ways == ALERT_HOOK ? "webhook" : "mail and webhook";
}

static bool start_thread(struct alert *t)
{
    const struct attempt *a = t->current;
    t->ways = a->failing ? a->failing : alert_ways(t->node->config) & ~a->sent;
    t->failure = (struct failure){0};
    t->sent = 0;
    t->running = uv_thread_create(&t->thread, run, t) == 0;
    if (t->running) t->state = ALERT_SENDING;
    return t->running;
}

/* What came by the ways that failed before. */
static unsigned take_rest(struct alert *t)
{
    struct attempt *a = t->current;
    unsigned came = a->failing & t->sent;
    a->failing &= ~t->sent;
    if (came && !a->failing) alert_kept_add(&t->kept, a->told);
    return came;
}

/* What people were told of already, by the ways that failed then. */
static void end_rest(struct alert *t)
{
    struct attempt *a = t->current;
    unsigned long long leaf = a->index;
    unsigned came = take_rest(t);
    if (came) log_notice("alert", "people were told of the alarm in leaf %llu by %s, too", leaf, ways_text(came));
    if (a->failing && a->failures + 1 >= RESENDS) {
        log_error("alert", "the alarm in leaf %llu is not sent by %s any more, after %d attempts: %s: %s; correct the "
                  "settings, try them with 'consiliumd alert-test', and restart this node: then it is sent", leaf,
                  ways_text(a->failing), RESENDS, alert_error_text(t->code), t->failure.text);
        a->failing = 0;
    } else if (a->failing) {
        log_warning("alert", "the alarm in leaf %llu could not be sent by %s again: %s: %s", leaf,
                    ways_text(a->failing), alert_error_text(t->code), t->failure.text);
    }
    finish(t, a->failing != 0);
}

static void say_sent(const struct alert *t)
{
    unsigned long long leaf = t->current->index;
    if (t->code == OK)
        log_notice("alert", "people were told of the alarm in leaf %llu", leaf);
    else
        log_error("alert", "people were told of the alarm in leaf %llu by %s, but by %s it could not be sent, which "
                  "this node goes on trying: %s: %s", leaf, ways_text(t->current->sent), ways_text(t->ways & ~t->sent),
                  alert_error_text(t->code), t->failure.text);
}

static void say_refused(const struct alert *t)
{
    for (size_t i = 0; i < t->refused.count; i++)
        log_error("alert", "the mail server refused %s for the alarm in leaf %llu: %s; %s", t->refused.list[i].receiver,
                  (unsigned long long)t->current->index, t->refused.list[i].answer, ALERT_REFUSED_HINT);
}

static void on_done(uv_async_t *handle)
{
    struct alert *t = handle->data;
    if (!t->running) return;
    uv_thread_join(&t->thread);
    t->running = false;
    if (t->node->stopping) return;
    say_refused(t);
    if (t->current->failing) {
        end_rest(t);
        return;
    }
    t->current->sent |= t->sent;
    if (t->current->sent == 0) {
        log_error("alert", "the alarm in leaf %llu could not be sent: %s: %s", (unsigned long long)t->current->index,
                  alert_error_text(t->code), t->failure.text);
        finish(t, true);
        return;
    }
    say_sent(t);
    t->state = ALERT_TELLING;
    if (submit(t, ALARM_TOLD, on_told) != OK) on_told(t, ERR_BUSY, 0, DECISION_DENIED, REASON_NONE);
}

/* ---- claims ---- */

static void on_claimed(void *data, enum err code, uint64_t leaf, enum decision decision, enum reason reason)
{
    struct alert *t = data;
    (void)leaf, (void)reason;
    if (t->node->stopping || code != OK || decision != DECISION_APPROVED) {
        finish(t, true); /* denied: somebody else has it; a clock that is ahead asks too early, and not every second */
        return;
    }
    if (!start_thread(t)) finish(t, true);
}

/* A claim of this node's that still holds: from before an attempt that failed, or a restart. */
static bool goes_on(struct alert *t, const struct alarm *a, uint64_t wall)
{
    if (a->claimed_by != t->node->self || wall + SEND_MARGIN_MS > a->claimed_ms + ALARM_CLAIM_MS) return false;
    return start_thread(t);
}

static bool is_our_turn(const struct alert *t, const struct alarm *a, uint64_t wall)
{
    const struct genesis *g = &t->node->genesis;
    if (alarm_is_claimed(a, wall) || alarm_was_told(a, t->node->self, wall)) return false;
    if (a->status == ALARM_REPAIRED && wall >= a->since_ms + ALARM_AGAIN_MS) return false;
    uint64_t turn = alarm_turn_ms(a, t->node->self, g->member_count, &g->cluster);
    return wall > TURN_MARGIN_MS && wall - TURN_MARGIN_MS >= turn;
}

static void take(struct alert *t, struct attempt *attempt, const struct alarm *a)
{
    t->current = attempt;
    t->message = (struct alert_message){.genesis = &t->node->genesis, .sender = t->node->self, .alarm = *a};
}

/* People were told, by this node and within a day, but not by each way that is set up, as far as it has kept: it
 * stopped or died meanwhile. The row of an alarm that is raised anew has that from the one before. */
static bool left_rest(const struct alert *t, const struct alarm *a, uint64_t wall)
{
    if (a->told_by != t->node->self || !a->told_ways || wall >= a->told_ms + ALARM_AGAIN_MS) return false;
    for (size_t i = 0; i < ATTEMPTS; i++)
        if (t->attempts[i].index && t->attempts[i].told == a->told) return false;
    return !alert_kept_has(&t->kept, a->told);
}

static void recall_rest(struct alert *t, const struct alarm *a)
{
    unsigned told = (a->told_ways & ALARM_BY_MAIL ? ALERT_MAIL : 0) | (a->told_ways & ALARM_BY_HOOK ? ALERT_HOOK : 0);
    struct attempt *attempt = know(t, a);
    attempt->failing = alert_ways(t->node->config) & ~told;
    if (attempt->failing)
        log_notice("alert", "people were told of the alarm in leaf %llu by %s, and may not have been by %s, which this "
                            "node tries again", (unsigned long long)a->index, ways_text(told),
                   ways_text(attempt->failing));
}

/* No claim for that: people were told. */
static bool begin_rest(struct alert *t, struct attempt *attempt, const struct alarm *a)
{
    if (now_ms() < attempt->next_ms) return false;
    take(t, attempt, a);
    if (start_thread(t)) return true;
    finish(t, true);
    return false;
}

static bool begin_claim(struct alert *t, struct attempt *attempt, const struct alarm *a, bool own_claim, uint64_t wall)
{
    if (now_ms() < attempt->next_ms) return false;
    take(t, attempt, a);
    if (own_claim) {
        if (goes_on(t, a, wall)) return true;
        t->current = NULL;
        return false;
    }
    t->state = ALERT_CLAIMING;
    if (submit(t, ALARM_CLAIM, on_claimed) == OK) return true;
    finish(t, true);
    return false;
}

static bool begin(struct alert *t, const struct alarm *a)
{
    uint64_t wall = clock_wall_ms();
    struct attempt *known = a->index ? find(t, a->index) : NULL;
    if (a->index == 0 || (known && known->told > a->told)) return false; /* the row as it was before it was told */
    if (left_rest(t, a, wall)) {
        recall_rest(t, a);
        known = find(t, a->index);
    }
    if (known && known->told == a->told && known->failing) return begin_rest(t, known, a);
    bool own_claim = a->claimed_by == t->node->self && alarm_is_claimed(a, wall);
    return (own_claim || is_our_turn(t, a, wall)) && begin_claim(t, know(t, a), a, own_claim, wall);
}

static void look(struct alert *t)
{
    struct node *node = t->node;
    struct integrity_view view;
    if (t->state != ALERT_IDLE || node->stopping || !node->ready || alert_ways(node->config) == 0) return;
    integrity_view(node, &view);
    if (view.quarantined) return;
    forget_closed(t, &view);
    alert_kept_store(&t->kept);
    for (size_t i = 0; i < view.count; i++)
        if (begin(t, &view.alarms[i])) return;
    for (size_t i = 0; i < view.repaired_count; i++)
        if (begin(t, &view.repaired[i])) return;
}

static void on_timer(uv_timer_t *timer) { look(timer->data); }

/* ---- life ---- */

enum err alert_new(struct alert **out, struct node *node)
{
    struct alert *t = xcalloc(1, sizeof *t);
    t->node = node;
    enum err e = alert_kept_load(&t->kept, node);
    if (e != OK) {
        free(t);
        return e;
    }
    t->timer.data = t->done.data = t;
    CHECK(uv_timer_init(&node->loop, &t->timer) == 0);
    if (uv_async_init(&node->loop, &t->done, on_done) != 0) {
        uv_close((uv_handle_t *)&t->timer, NULL);
        free(t);
        return ERR_NOMEM;
    }
    uv_timer_start(&t->timer, on_timer, LOOK_MS, LOOK_MS);
    *out = t;
    return OK;
}

void alert_stop(struct node *node)
{
    struct alert *t = node->alert;
    if (!t) return;
    atomic_store(&t->stop, true);
    if (t->running) {
        uv_thread_join(&t->thread);
        if (t->current->failing) take_rest(t); /* else it came, and would come again after the restart */
    }
    t->running = false;
    uv_close((uv_handle_t *)&t->timer, NULL);
    uv_close((uv_handle_t *)&t->done, NULL);
}

void alert_free(struct alert *alert)
{
    if (!alert) return;
    alert_kept_free(&alert->kept);
    free(alert);
}
