#include "node/digest_ask.h"

#include "base/clock.h"
#include "consensus/node_request.h"
#include "ledger/state_digest.h"
#include "node/integrity.h"

#define STAGGER_MS 30000 /* who doesn't lead asks later, each member in its turn: one digest, not n */
#define AGAIN_MS 15000   /* after an attempt to ask that came to nothing */
#define CLEAR_MS 600000  /* who is said to differ asks as soon as it may, so much later again, then twice that, ... */
#define CLEAR_DOUBLED 7  /* so often: once a day */
#define GAP_MARGIN_MS 500 /* this clock may be ahead of the ledger's */
#define IDLE_PERIODS 24  /* without new leaves a digest comes so much more rarely */

static uint64_t steady_ms(void) { return clock_monotonic_ns() / 1000000; }

static void asked_done(void *data, enum err code, uint64_t leaf_index, enum decision decision, enum reason reason)
{
    struct digest_ask *ask = data;
    (void)leaf_index;
    ask->asking = false;
    ask->again_ms = steady_ms() + AGAIN_MS;
    if (code == OK && decision == DECISION_APPROVED) {
        ask->clear_ms = steady_ms() + ((uint64_t)CLEAR_MS << ask->cleared);
        if (ask->cleared < CLEAR_DOUBLED) ask->cleared++;
    }
    if (code != OK && code != ERR_STOPPED) log_info("digest", "asking for a state digest: %s", err_text(code));
    if (code == OK && reason != REASON_NONE) log_debug("digest", "no digest now: %s", reason_text(reason));
}

/* More others than may lie say that this node's data were modified, and it doesn't (any more): it was rebuilt. What they
 * found by a digest ends by one at which it is the same, and not before: without this one, in an hour, a day, or never.
 * Fewer can't make every node digest its state: what they say does nobody harm. */
static bool is_to_be_cleared(const struct digest_ask *ask)
{
    struct integrity_view view;
    unsigned self = ask->node->self;
    uint32_t saying = 0;
    integrity_view(ask->node, &view);
    for (size_t i = 0; i < view.count; i++) {
        const struct alarm *a = &view.alarms[i];
        if (a->named != self || a->kind != ALARM_MODIFIED) continue;
        if (a->index == 0 || alarm_says(a, self)) return false;
        saying |= a->saying;
    }
    return alarm_counts(ALARM_MODIFIED, self, saying, ask->node->genesis.faulty) && !view.quarantined;
}

/* Whatever `digest-seconds` says: it is about this node alone, and soon over. */
static bool is_clearing_due(struct digest_ask *ask, uint64_t now_ms)
{
    if (!is_to_be_cleared(ask)) {
        ask->cleared = 0;
        return false;
    }
    return steady_ms() >= ask->clear_ms && now_ms >= ask->last_ms + STATE_DIGEST_GAP_MS + GAP_MARGIN_MS;
}

static bool is_due(struct digest_ask *ask, uint64_t now_ms)
{
    const struct node *node = ask->node;
    struct driver_status d;
    uint64_t wait = node->config->digest_seconds.number * 1000;
    if (ask->asking || steady_ms() < ask->again_ms || !node->ready) return false;
    driver_status(node->driver, &d);
    if (d.quarantined || !d.leader) return false;
    if (is_clearing_due(ask, now_ms)) return true;
    if (wait == 0) return false;
    bool changed = ask->last_leaf == 0 || d.size > ask->last_leaf + 1;
    uint64_t stagger = wait < STAGGER_MS ? wait : STAGGER_MS;
    if (!changed) wait *= IDLE_PERIODS;
    if (!d.leads) wait += stagger * node->self;
    return now_ms >= ask->last_ms && now_ms - ask->last_ms >= wait;
}

void digest_ask_turn(struct digest_ask *ask, bool busy)
{
    struct node *node = ask->node;
    uint64_t now = clock_wall_ms();
    if (ask->last_ms > now) ask->last_ms = now; /* the clock was set back */
    if (busy || !is_due(ask, now)) return;
    struct node_signer signer = {node->driver, &node->genesis, node->identity.secrets, node->self};
    struct buffer args = {0};
    pack_array(&args, 0);
    ask->asking = true;
    enum err e = node_request_submit(&signer, ACTION_NODE_DIGEST, buffer_bytes(&args), (struct bytes){0}, ask,
                                     asked_done);
    if (e != OK) asked_done(ask, e, 0, DECISION_DENIED, REASON_NONE);
    buffer_free(&args);
}

/* --- who asked last --- */

void digest_ask_begin(struct digest_ask *ask, struct node *node)
{
    *ask = (struct digest_ask){.node = node, .last_ms = clock_wall_ms()};
}

enum err digest_ask_load(struct digest_ask *ask, struct table_txn *txn)
{
    enum err e = state_digest_asked_get(&ask->last_leaf, &ask->last_ms, txn);
    return e == ERR_NOT_FOUND ? OK : e;
}

void digest_ask_noted(struct digest_ask *ask, uint64_t leaf)
{
    ask->last_leaf = leaf;
    ask->last_ms = clock_wall_ms();
}

static enum err asked_run(struct state_read *read, struct table_txn *txn)
{
    struct digest_ask *ask = read->data;
    enum err e = state_digest_asked_get(&ask->read_leaf, &ask->read_ms, txn);
    return e == ERR_NOT_FOUND ? OK : e;
}

static void asked_read(struct state_read *read, enum err code)
{
    struct digest_ask *ask = read->data;
    ask->reading = false;
    if (code != OK || ask->read_leaf <= ask->last_leaf) return;
    ask->last_leaf = ask->read_leaf;
    ask->last_ms = ask->read_ms;
}

void digest_ask_replayed(struct digest_ask *ask)
{
    if (ask->reading) return;
    ask->read = (struct state_read){.fresh = true, .data = ask, .run = asked_run, .done = asked_read};
    ask->reading = driver_read(ask->node->driver, &ask->read) == OK;
}
