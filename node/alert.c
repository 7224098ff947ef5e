#include "node/alert.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "consensus/node_request.h"
#include "ledger/arguments.h"
#include "node/alert_alone.h"
#include "node/alert_send.h"
#include "node/integrity.h"

#define LOOK_MS 1000
#define TURN_MARGIN_MS 500      /* this clock may be ahead of the ledger's: a claim that is too early is denied */
#define PAUSE_MS 5000           /* after the first failure of a claim; then twice as long each time */
#define PAUSE_MOST_MS 3600000
#define SEND_MARGIN_MS 40000    /* a claim that runs out sooner is not sent on: another may have it by then */
#define RESENDS 10              /* of the ways that a telling lacks, by this node */

/* All that can be open, or is looked at: a liar's many take nobody's place. */
#define ATTEMPTS (INTEGRITY_FINDINGS + ALARMS_OPEN_MOST + INTEGRITY_REPAIRED)

enum alert_state { ALERT_IDLE, ALERT_CLAIMING, ALERT_SENDING, ALERT_TELLING };

/* What this node tried for one alarm, since it was last told. */
struct attempt {
    uint64_t index;      /* leaf of the alarm; 0: free */
    uint64_t told;       /* leaf of that telling; 0: none */
    uint64_t next_ms;    /* no claim before; clock_monotonic */
    unsigned failures;   /* to have a claim, and to send */
    unsigned resends;    /* of what the telling lacks, that failed */
    unsigned sent;       /* ways that took it from this node, and the ledger doesn't say so yet */
    unsigned said;       /* those of which it does, though the row may be read later */
};

/* Of what this node can't say in the ledger (node/alert_alone.h). */
struct lone {
    struct alert_lasting lasting;
    struct attempt attempt;
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
    struct lone own, full; /* found in itself, and without a majority; its log takes nothing more */
    bool rest;           /* it is for what the last telling lacks */
    struct alert_message message;
    unsigned wanted;     /* by which ways people are to be told by this claim */
    /* the thread's part */
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

/* By which ways this node is to send: all, or those that the last telling lacks. 0: none. */
static unsigned lacking(const struct alert *t, const struct attempt *attempt, const struct alarm *a, bool rest)
{
    unsigned told = (a->told_ways & ALARM_BY_MAIL ? ALERT_MAIL : 0u) | (a->told_ways & ALARM_BY_HOOK ? ALERT_HOOK : 0u);
    unsigned said = attempt && attempt->told == a->told ? attempt->said : 0;
    return alert_ways(t->node->config) & ~(rest ? told | said : 0);
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

static unsigned in_the_ledger(unsigned ways)
{
    return (ways & ALERT_MAIL ? ALARM_BY_MAIL : 0u) | (ways & ALERT_HOOK ? ALARM_BY_HOOK : 0u);
}

static enum err submit(struct alert *t, enum alarm_step step, unsigned ways, node_request_done done)
{
    struct node *node = t->node;
    struct buffer args = {0};
    const struct node_signer signer = {node->driver, &node->genesis, node->identity.secrets, node->self};
    const struct args_alarm_tell tell = {.index = t->current->index, .step = step, .ways = in_the_ledger(ways)};
    args_alarm_tell_encode(&args, &tell);
    enum err e = args.failed ? ERR_NOMEM
                             : node_request_submit(&signer, ACTION_ALARM_TELL, buffer_bytes(&args),
                                                   (struct bytes){0}, t, done);
    buffer_free(&args);
    return e;
}

/* From here on nobody claims it for a day, whichever nodes live, but for the ways that failed: those are this node's to
 * try again first. */
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
    unsigned came = a->sent & t->wanted;
    if (!t->rest) *a = (struct attempt){.index = a->index, .told = leaf};
    a->said |= came;
    a->sent = 0;
    finish(t, (t->wanted & ~came) != 0);
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

/* What took it before is not sent again, only said. */
static bool start_thread(struct alert *t)
{
    t->ways = t->wanted & ~t->current->sent;
    t->failure = (struct failure){0};
    t->sent = 0;
    t->running = uv_thread_create(&t->thread, run, t) == 0;
    if (t->running) t->state = ALERT_SENDING;
    return t->running;
}

static void say_sent(const struct alert *t)
{
    unsigned long long leaf = t->current->index;
    if (t->code == OK)
        log_notice("alert", "people were told of the alarm in leaf %llu%s%s%s", leaf, t->rest ? " by " : "",
                   t->rest ? ways_text(t->wanted) : "", t->rest ? ", too" : "");
    else
        log_error("alert", "people were told of the alarm in leaf %llu by %s, but by %s it could not be sent, which "
                  "this node tries again, and others after it: %s", leaf, ways_text(t->current->sent & t->wanted),
                  ways_text(t->ways & ~t->sent), t->failure.text);
}

static void say_failed(struct alert *t)
{
    struct attempt *a = t->current;
    unsigned long long leaf = a->index;
    if (t->rest && ++a->resends >= RESENDS)
        log_error("alert", "the alarm in leaf %llu is not sent by %s by this node any more, after %d attempts: %s; "
                  "correct the settings, try them with 'consiliumd alert-test', and restart this node: then it is sent",
                  leaf, ways_text(t->ways), RESENDS, t->failure.text);
    else if (t->rest)
        log_warning("alert", "the alarm in leaf %llu could not be sent by %s: %s", leaf, ways_text(t->ways),
                    t->failure.text);
    else
        log_error("alert", "the alarm in leaf %llu could not be sent: %s", leaf, t->failure.text);
}

/* NULL: it is an alarm that the ledger has. */
static struct lone *lone_now(struct alert *t)
{
    return t->current == &t->own.attempt ? &t->own : t->current == &t->full.attempt ? &t->full : NULL;
}

static void say_refused(struct alert *t)
{
    char what[64] = "what is wrong with this node"; /* and in no leaf */
    if (!lone_now(t))
        snprintf(what, sizeof what, "the alarm in leaf %llu", (unsigned long long)t->current->index);
    for (size_t i = 0; i < t->refused.count; i++)
        log_error("alert", "the mail server refused %s for %s: %s; %s", t->refused.list[i].receiver, what,
                  t->refused.list[i].answer, ALERT_REFUSED_HINT);
}

/* No other node knows of it: nothing is said in the ledger, and by a way that works it is told. */
static void end_lone(struct alert *t, struct lone *lone)
{
    struct attempt *a = &lone->attempt;
    a->sent |= t->sent;
    bool all = (t->wanted & ~a->sent) == 0, enough = all || (a->sent && ++a->resends > RESENDS);
    if (t->sent)
        log_notice("alert", "people were told by %s of what is wrong with this node, though no ledger has it",
                   ways_text(t->sent));
    if (!all)
        log_error("alert", "what is wrong with this node, and in no ledger, could not be sent by %s: %s",
                  ways_text(t->wanted & ~a->sent), t->failure.text);
    if (enough) {
        lone->lasting.told_ms = now_ms();
        *a = (struct attempt){0};
    }
    finish(t, !enough);
}

static void on_done(uv_async_t *handle)
{
    struct alert *t = handle->data;
    if (!t->running) return;
    uv_thread_join(&t->thread);
    t->running = false;
    if (t->node->stopping) return;
    say_refused(t);
    if (lone_now(t)) {
        end_lone(t, lone_now(t));
        return;
    }
    t->current->sent |= t->sent;
    unsigned came = t->current->sent & t->wanted;
    if (came == 0) {
        say_failed(t);
        finish(t, true);
        return;
    }
    say_sent(t);
    t->state = ALERT_TELLING;
    if (submit(t, ALARM_TOLD, came, on_told) != OK) on_told(t, ERR_BUSY, 0, DECISION_DENIED, REASON_NONE);
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

static bool is_our_turn(const struct alert *t, const struct alarm *a, bool rest, uint64_t wall)
{
    const struct genesis *g = &t->node->genesis;
    if (alarm_is_claimed(a, wall)) return false;
    if (a->status == ALARM_REPAIRED && wall >= a->since_ms + ALARM_AGAIN_MS) return false;
    uint64_t turn = rest ? alarm_rest_turn_ms(a, t->node->self, g->member_count, &g->cluster)
                         : alarm_turn_ms(a, t->node->self, g->member_count, &g->cluster);
    return wall > TURN_MARGIN_MS && wall - TURN_MARGIN_MS >= turn;
}

static bool claim(struct alert *t)
{
    t->state = ALERT_CLAIMING;
    if (submit(t, ALARM_CLAIM, t->rest ? t->wanted : 0, on_claimed) == OK) return true;
    finish(t, true);
    return false;
}

/* Claims it, or goes on with a claim of its own. False: nothing is to be done, or can be done now. */
static bool begin_claim(struct alert *t, struct attempt *attempt, const struct alarm *a, bool own_claim, uint64_t wall)
{
    if (now_ms() < attempt->next_ms) return false;
    t->current = attempt;
    t->message = (struct alert_message){.genesis = &t->node->genesis, .sender = t->node->self, .alarm = *a};
    if (!own_claim) return claim(t);
    if (goes_on(t, a, wall)) return true;
    t->current = NULL;
    return false;
}

static bool begin(struct alert *t, const struct alarm *a)
{
    uint64_t wall = clock_wall_ms();
    struct attempt *known = a->index ? find(t, a->index) : NULL;
    if (a->index == 0 || (known && known->told > a->told)) return false; /* the row as it was before it was told */
    bool own_claim = a->claimed_by == t->node->self && alarm_is_claimed(a, wall);
    t->rest = own_claim ? alarm_claims_rest(a) : alarm_was_told(a, t->node->self, wall);
    t->wanted = lacking(t, known, a, t->rest);
    bool given_up = t->rest && known && known->told == a->told && known->resends >= RESENDS;
    if (!t->wanted || given_up || !(own_claim || is_our_turn(t, a, t->rest, wall))) return false;
    return begin_claim(t, know(t, a), a, own_claim, wall);
}

/* What is tried for it is forgotten once it is over. */
static bool may_begin_lone(struct lone *lone, bool due)
{
    if (lone->lasting.lasts_ms == 0) lone->attempt = (struct attempt){0};
    return due && now_ms() >= lone->attempt.next_ms;
}

static bool begin_lone(struct alert *t, struct lone *lone, const struct alert_message *message)
{
    t->current = &lone->attempt;
    t->wanted = alert_ways(t->node->config);
    t->message = *message;
    if (start_thread(t)) return true;
    finish(t, true);
    return false;
}

static bool begin_own(struct alert *t, const struct integrity_view *view)
{
    const struct alarm *a = alert_alone_due(&t->own.lasting, t->node, view, now_ms());
    if (!may_begin_lone(&t->own, a != NULL)) return false;
    return begin_lone(t, &t->own, &(struct alert_message){&t->node->genesis, t->node->self, *a, false});
}

static bool begin_full(struct alert *t)
{
    unsigned self = t->node->self;
    if (!may_begin_lone(&t->full, alert_full_due(&t->full.lasting, t->node, now_ms()))) return false;
    struct alarm about = {.named = self, .raiser = self, .since_ms = clock_wall_ms() - t->full.lasting.lasts_ms};
    return begin_lone(t, &t->full, &(struct alert_message){&t->node->genesis, self, about, true});
}

static void look(struct alert *t)
{
    struct node *node = t->node;
    struct integrity_view view;
    if (t->state != ALERT_IDLE || node->stopping || alert_ways(node->config) == 0) return;
    integrity_view(node, &view);
    if (begin_own(t, &view) || begin_full(t) || view.quarantined || !node->ready) return;
    forget_closed(t, &view);
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
    t->timer.data = t->done.data = t;
    CHECK(uv_timer_init(&node->loop, &t->timer) == 0);
    if (uv_async_init(&node->loop, &t->done, on_done) != 0) {
        uv_close((uv_handle_t *)&t->timer, NULL);
        free(t);
        return ERR_NOMEM;
    }
    uv_timer_start(&t->timer, on_timer, LOOK_MS, LOOK_MS);
    struct failure why = {0};
    if (alert_files_check(node->config, &why) != OK) /* no reason not to start: the others tell people, too */
        log_error("alert", "alarms can't be sent from here: %s; try it with 'consiliumd alert-test'", why.text);
    *out = t;
    return OK;
}

void alert_stop(struct node *node)
{
    struct alert *t = node->alert;
    if (!t) return;
    atomic_store(&t->stop, true);
    if (t->running) uv_thread_join(&t->thread);
    t->running = false;
    uv_close((uv_handle_t *)&t->timer, NULL);
    uv_close((uv_handle_t *)&t->done, NULL);
}

void alert_free(struct alert *alert) { free(alert); }
