/* Findings into the ledger: the open rows as this node has applied them, and one request at a time for what isn't there
 * yet, is repaired, or goes on further than the ledger says. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "consensus/node_request.h"
#include "ledger/arguments.h"
#include "node/integrity_internal.h"

#define PAUSE_MS 1000
#define PAUSE_MOST_MS 60000

/* --- the ledger's rows --- */

struct rows {
    struct state_read read;
    struct integrity *integrity;
    struct alarm *items;
    size_t count;
    uint64_t size; /* leaves */
    struct alarm newest[INTEGRITY_REPAIRED];
    size_t repaired_count; /* of them, in front */
};

/* Of the newest rows those that are their key's latest, and closed as repaired. */
static enum err find_repaired(struct rows *r, struct table_txn *txn)
{
    size_t count;
    struct alarm latest;
    enum err e = state_alarms_page(r->newest, &count, txn, UINT64_MAX, INTEGRITY_REPAIRED);
    for (size_t at = 0; e == OK && at < count; at++) {
        const struct alarm *a = &r->newest[at];
        if (a->status != ALARM_REPAIRED) continue;
        e = state_alarm_last(&latest, txn, a->kind, a->named, a->first);
        if (e == OK && latest.index == a->index) r->newest[r->repaired_count++] = *a;
    }
    return e;
}

static enum err rows_run(struct state_read *read, struct table_txn *txn)
{
    struct rows *r = read->data;
    struct meta meta;
    enum err e = state_meta_get(&meta, txn);
    r->size = meta.size;
    if (e == OK) e = state_alarms_open(r->items, &r->count, txn, ALARMS_OPEN_MOST);
    return e == OK ? find_repaired(r, txn) : e;
}

static void rows_done(struct state_read *read, enum err code)
{
    struct rows *r = read->data;
    struct integrity *i = r->integrity;
    i->reading = false;
    if (code == OK) {
        free(i->open);
        i->open = r->items;
        i->open_count = r->count;
        memcpy(i->repaired, r->newest, r->repaired_count * sizeof *r->newest);
        i->repaired_count = r->repaired_count;
        i->open_known = true;
        integrity_opened(i, r->size);
        if (i->read_again) raise_read(i);
    } else {
        free(r->items);
        i->read_again = true; /* by the timer; a store that can't be read stops the node anyway */
        if (code != ERR_STOPPED) log_warning("integrity", "the ledger's alarms can't be read: %s", err_text(code));
    }
    free(r);
}

void raise_read(struct integrity *i)
{
    i->read_again = true;
    if (i->reading) return;
    struct rows *r = xcalloc(1, sizeof *r);
    r->integrity = i;
    r->items = xcalloc(ALARMS_OPEN_MOST, sizeof *r->items);
    r->read = (struct state_read){.fresh = true, .data = r, .run = rows_run, .done = rows_done};
    if (driver_read(i->node->driver, &r->read) == OK) {
        i->reading = true;
        i->read_again = false;
        return;
    }
    free(r->items);
    free(r);
}

/* --- saying --- */

/* Again later, later each time; at a change of leader at once. */
static void put_off(struct kept *k)
{
    uint64_t pause = (uint64_t)PAUSE_MS << (k->tries < 6 ? k->tries : 6);
    if (k->tries < 6) k->tries++;
    k->next_ms = integrity_now_ms() + (pause < PAUSE_MOST_MS ? pause : PAUSE_MOST_MS);
}

/* Raised or closed by others meanwhile is no trouble: the rows are read. */
static void was_denied(const struct kept *k, enum reason reason)
{
    if (reason == REASON_ALREADY_RAISED || reason == REASON_UNKNOWN_ALARM || reason == REASON_ALARM_CLOSED) return;
    log_warning("integrity", "the ledger denied an alarm about node %u: %s", k->alarm.named, reason_text(reason));
}

static void on_said(void *data, enum err code, uint64_t leaf, enum decision decision, enum reason reason)
{
    struct integrity *i = data;
    struct kept *k = i->said;
    bool repaired = i->said_repaired;
    i->saying = false;
    i->said = NULL;
    if (i->node->stopping) return;
    bool decided = code == OK || code == ERR_DUPLICATE;
    if (k && decided && decision == DECISION_APPROVED && !repaired && k->alarm.index == 0) {
        k->alarm.index = leaf;
        k->alarm.raiser = i->node->self;
        k->said_first = k->alarm.first;
        k->said_last = k->alarm.last;
        kept_store(i, k);
    }
    if (k && decided && decision == DECISION_APPROVED && repaired) k->alarm.saying &= ~(1u << i->node->self);
    if (k && decided && decision == DECISION_APPROVED && !repaired) k->alarm.saying |= 1u << i->node->self;
    if (k && decided && decision == DECISION_APPROVED && !repaired && k->repaired) k->next_ms = k->tries = 0;
    if (k && decided && decision == DECISION_DENIED) was_denied(k, reason);
    if (k && !decided) log_info("integrity", "an alarm is not in the ledger so far: %s", err_text(code));
    if (decided) raise_read(i); /* then it is known which rows are open */
    raise_next(i);
}

static bool is_due(const struct integrity *i, const struct kept *k, uint64_t now)
{
    bool mine = k->alarm.raiser == i->node->self, said = alarm_says(&k->alarm, i->node->self);
    if (!k->stored || k->gone || now < k->next_ms) return false;
    if (k->alarm.index == 0) return true;
    /* What is said to be repaired by a new state is so once that is all there. */
    if (k->repaired && k->carried && !i->node->ready) return false;
    if (k->repaired && said && k->alarm.kind != ALARM_FORKED) return true;
    if (!k->repaired && !said && !integrity_counts(i, &k->alarm)) return true;
    return mine && k->alarm.last > k->said_last;
}

static enum err say(struct integrity *i, struct kept *k)
{
    struct node *node = i->node;
    struct buffer args = {0};
    const struct node_signer signer = {node->driver, &node->genesis, node->identity.secrets, node->self};
    bool repaired = k->alarm.index != 0 && k->repaired;
    struct bytes evidence = k->alarm.index == 0 ? buffer_bytes(&k->evidence) : (struct bytes){0};
    uint64_t first = k->alarm.index ? k->said_first : k->alarm.first;
    struct args_node_alarm a = {.kind = k->alarm.kind, .named = k->alarm.named, .first = first,
                                .last = k->alarm.last, .status = repaired ? ALARM_REPAIRED : ALARM_OPEN,
                                .evidence = evidence};
    args_node_alarm_encode(&args, &a);
    i->said_repaired = repaired;
    struct bytes encoded = buffer_bytes(&args);
    enum err e = args.failed ? ERR_NOMEM
                             : node_request_submit(&signer, ACTION_NODE_ALARM, encoded, (struct bytes){0}, i, on_said);
    buffer_free(&args);
    return e;
}

/* Quarantined, the node's peers say it (integrity_peer). */
void raise_next(struct integrity *i)
{
    uint64_t now = integrity_now_ms();
    if (i->saying || i->quarantined || i->node->stopping || !i->open_known) return;
    for (size_t at = 0; at < i->count; at++) {
        struct kept *k = i->kept[at];
        if (!is_due(i, k, now)) continue;
        put_off(k);
        if (say(i, k) != OK) continue; /* busy, no space: the timer comes again */
        i->saying = true;
        i->said = k;
        return;
    }
}
