/* Attachments that replayed leaves name and that are not here yet (table missing),
 * in batches from the lowest index up.
 *
 * Happy path: the next indexes are read -> a peer is asked for them -> what came is
 * checked against its leaf while it is written (ledger_attach) -> the rest is asked
 * of the same peer, then what that one didn't have of the others -> the next batch.
 * Erased: b + 1 members said so; one that only waits for it itself says that
 * instead. What nobody has at present is passed over, and looked for again after a
 * pause: until then the node is not ready.
 * It runs beside the replaying of leaves; at the end of a run it begins anew, for
 * rows that appeared behind the position that it had reached.
 */
#include <stdlib.h>
#include <string.h>

#include "consensus/catchup_internal.h"
#include "ledger/replay.h"
#include "ledger/tables.h"

#define FIRST_PAUSE_MS 250
#define LONGEST_PAUSE_MS 10000

enum fill_phase {
    FILL_LOOK,    /* the next batch is to be read */
    FILL_READING,
    FILL_ASK,     /* a peer is to be asked */
    FILL_ASKED,
    FILL_WRITING,
    FILL_PAUSE,
    FILL_DONE,    /* nothing is missing */
};

enum item_state { ITEM_WANTED, ITEM_THERE, ITEM_ERASED, ITEM_PASSED_OVER };
struct item {
    uint64_t index;
    enum item_state state;
    peer_mask asked, erased; /* members that answered about it; that said it is erased */
};

struct fill {
    enum fill_phase phase;
    bool again;        /* fill_begin came meanwhile */
    uint64_t from;     /* where the next batch begins */
    uint64_t left;     /* passed over in this round */
    uint64_t fetched, erased; /* in this round */
    uint64_t until_ns, pause_ms;
    unsigned peer;     /* asked last */
    peer_mask silent;  /* did not help with this batch */
    peer_mask liars;   /* sent a wrong one: not asked again in this round */
    struct speeds speeds;
    unsigned cut_by;   /* whose answer before had not all that was asked for; 0: nobody's */
    size_t cut_bytes;  /* its size */
    struct ask ask;
    uint32_t count;
    struct item items[LIMIT_PULL_ATTACHMENTS];
    uint32_t asked[LIMIT_PULL_ATTACHMENTS]; /* items of the ask */
    uint32_t asked_count;
};

struct fill *fill_new(void) { return xcalloc(1, sizeof(struct fill)); }
void fill_free(struct fill *f) { free(f); }
bool fill_done(const struct catchup *c) { return c->fill->phase == FILL_DONE && !c->fill->again; }

static void begin_round(struct fill *f)
{
    f->phase = FILL_LOOK;
    f->from = f->left = f->fetched = f->erased = 0;
    f->liars = 0;
    f->again = false;
}

void fill_begin(struct catchup *c)
{
    struct fill *f = c->fill;
    if (f->phase == FILL_DONE || f->phase == FILL_PAUSE)
        begin_round(f);
    else
        f->again = f->phase != FILL_LOOK || f->from > 0;
}

/* --- what is missing --- */

struct missing {
    struct state_read read;
    struct catchup *c;
    uint64_t from;
    uint32_t count;
    uint64_t indexes[LIMIT_PULL_ATTACHMENTS];
};

static enum err missing_run(struct state_read *read, struct table_txn *txn)
{
    struct missing *m = read->data;
    uint64_t from = m->from;
    while (m->count < LIMIT_PULL_ATTACHMENTS) {
        enum err e = ledger_attachment_missing(&m->indexes[m->count], txn, from);
        if (e == ERR_NOT_FOUND) return OK;
        if (e != OK) return e;
        from = m->indexes[m->count++] + 1;
    }
    return OK;
}

static void pause_fill(struct fill *f)
{
    f->pause_ms = f->pause_ms ? 2 * f->pause_ms : FIRST_PAUSE_MS;
    if (f->pause_ms > LONGEST_PAUSE_MS) f->pause_ms = LONGEST_PAUSE_MS;
    f->until_ns = clock_monotonic_ns() + f->pause_ms * 1000000;
    f->phase = FILL_PAUSE;
}

/* Nothing more at or after `from`. */
static void end_round(struct catchup *c)
{
    struct fill *f = c->fill;
    if (f->fetched || f->erased)
        log_notice("catchup", "%llu attachments fetched, %llu are erased", (unsigned long long)f->fetched,
                   (unsigned long long)f->erased);
    if (f->left)
        log_warning("catchup", "%llu attachments are not here, and no peer gives them now: not ready",
                    (unsigned long long)f->left);
    if (f->again) {
        begin_round(f);
    } else if (f->left) {
        pause_fill(f);
    } else {
        f->phase = FILL_DONE;
        f->pause_ms = 0;
    }
}

static void begin_batch(struct catchup *c, const struct missing *m)
{
    struct fill *f = c->fill;
    memset(f->items, 0, sizeof f->items);
    f->count = m->count;
    for (uint32_t i = 0; i < m->count; i++)
        f->items[i].index = m->indexes[i];
    f->from = m->indexes[m->count - 1] + 1;
    f->silent = 0;
    f->cut_by = 0;
    f->phase = FILL_ASK;
}

static void missing_done(struct state_read *read, enum err code)
{
    struct missing *m = read->data;
    struct catchup *c = m->c;
    c->in_flight--;
    if (!c->stopped && code != ERR_STOPPED) {
        if (code != OK) {
            log_error("catchup", "the list of missing attachments can't be read: %s", err_text(code));
            pause_fill(c->fill);
        } else if (m->count == 0) {
            end_round(c);
        } else {
            begin_batch(c, m);
        }
        catchup_update_ready(c);
    }
    free(m);
}

static void look(struct catchup *c)
{
    struct missing *m = xcalloc(1, sizeof *m);
    m->c = c;
    m->from = c->fill->from;
    m->read = (struct state_read){.fresh = true, .data = m, .run = missing_run, .done = missing_done};
    c->fill->phase = FILL_READING;
    c->in_flight++;
    if (driver_read(c->o.driver, &m->read) == OK) return;
    c->in_flight--;
    free(m);
    pause_fill(c->fill);
}

/* --- asking --- */

/* Items that this peer was not heard about so far. */
static uint32_t wanted_of(struct fill *f, unsigned peer, uint32_t out[static LIMIT_PULL_ATTACHMENTS])
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < f->count; i++)
        if (f->items[i].state == ITEM_WANTED && !(f->items[i].asked & PEER_BIT(peer))) out[count++] = i;
    return count;
}

static bool any_wanted(const struct fill *f)
{
    for (uint32_t i = 0; i < f->count; i++)
        if (f->items[i].state == ITEM_WANTED) return true;
    return false;
}

static void ask_peer(struct catchup *c, unsigned peer)
{
    struct fill *f = c->fill;
    struct attachments_ask ask = {.count = f->asked_count};
    struct buffer body = {0};
    for (uint32_t i = 0; i < f->asked_count; i++)
        ask.indexes[i] = f->items[f->asked[i]].index;
    f->peer = peer;
    f->ask = ask_begin(c, peer);
    f->phase = FILL_ASKED;
    attachments_ask_encode(&body, &ask);
    catchup_send(c, peer, PEER_ATTACHMENTS, f->ask.id, &body);
    buffer_free(&body);
}

/* Everybody reachable was asked. */
static void pass_over(struct fill *f)
{
    for (uint32_t i = 0; i < f->count; i++)
        if (f->items[i].state == ITEM_WANTED) {
            f->items[i].state = ITEM_PASSED_OVER;
            f->left++;
        }
}

static void ask_next(struct catchup *c)
{
    struct fill *f = c->fill;
    peer_mask without = f->silent | f->liars;
    if (f->peer < 1 || f->peer > c->n) f->peer = c->o.self % c->n + 1;
    while (any_wanted(f)) {
        unsigned peer = catchup_fastest_peer(c, f->peer - 1, without, &f->speeds);
        if (!peer) {
            pass_over(f);
            break;
        }
        f->asked_count = wanted_of(f, peer, f->asked);
        if (f->asked_count) {
            ask_peer(c, peer);
            return;
        }
        without |= PEER_BIT(peer); /* it said all that it can */
    }
    f->phase = FILL_LOOK;
}

static void no_help(struct fill *f)
{
    f->silent |= PEER_BIT(f->ask.peer);
    speeds_note(&f->speeds, &f->ask, false);
    f->ask.peer = 0;
    f->phase = FILL_ASK;
}

bool fill_refused(struct catchup *c, unsigned from, uint64_t id, const struct refusal *refusal)
{
    struct fill *f = c->fill;
    (void)refusal;
    if (f->phase != FILL_ASKED || f->ask.peer != from || f->ask.id != id) return false;
    no_help(f);
    return true;
}

/* --- what came --- */

struct filling {
    struct state_write write;
    struct catchup *c;
    unsigned peer;
    struct buffer bytes; /* the answer; `attached` has views into it */
    struct attached attached;
    bool erased[LIMIT_PULL_ATTACHMENTS];
    uint64_t indexes[LIMIT_PULL_ATTACHMENTS];
    uint32_t items[LIMIT_PULL_ATTACHMENTS];
    uint32_t wrong; /* the first one that isn't what its leaf names; count: none */
};

static void filling_free(struct filling *w)
{
    buffer_free(&w->bytes);
    free(w);
}

static enum err forget_missing(struct table_txn *txn, uint64_t index)
{
    uint8_t key[8];
    put_be64(key, index);
    return table_delete(txn, TABLE_MISSING, BYTES(key));
}

static enum err filling_run(struct state_write *write, struct table_txn *txn, struct ledger *ledger)
{
    struct filling *w = write->data;
    enum err e = OK;
    uint32_t i = 0;
    for (; i < w->attached.count && e == OK; i++) {
        if (w->attached.states[i] == ATTACHMENT_HERE)
            e = ledger_attach(ledger, txn, w->indexes[i], w->attached.attachments[i]);
        else if (w->erased[i])
            e = forget_missing(txn, w->indexes[i]);
    }
    w->wrong = e == ERR_ATTACHMENT ? i - 1 : w->attached.count;
    return e == ERR_ATTACHMENT ? OK : e;
}

static void filled(struct catchup *c, const struct filling *w)
{
    struct fill *f = c->fill;
    for (uint32_t i = 0; i < w->wrong; i++) {
        struct item *item = &f->items[w->items[i]];
        if (w->attached.states[i] == ATTACHMENT_HERE) {
            item->state = ITEM_THERE;
            f->fetched++;
        } else if (w->erased[i]) {
            item->state = ITEM_ERASED;
            f->erased++;
        }
    }
    if (w->wrong < w->attached.count) {
        log_error("catchup", "node %u (%s) sent an attachment of leaf %llu that is not the one it names: it is not "
                             "asked again in this round", w->peer, catchup_name(c, w->peer),
                  (unsigned long long)w->indexes[w->wrong]);
        f->liars |= PEER_BIT(w->peer);
    }
    f->phase = FILL_ASK;
}

static void filling_done(struct state_write *write, enum err code)
{
    struct filling *w = write->data;
    struct catchup *c = w->c;
    c->in_flight--;
    if (!c->stopped && code != ERR_STOPPED) {
        if (code == OK) {
            filled(c, w);
        } else {
            log_error("catchup", "attachments can't be stored: %s", err_text(code));
            pause_fill(c->fill);
        }
        if (c->fill->phase == FILL_ASK) ask_next(c);
    }
    filling_free(w);
}

/* b + 1 members say that it is erased: at least one honest one among them. */
static void note_statements(struct catchup *c, struct filling *w)
{
    struct fill *f = c->fill;
    for (uint32_t i = 0; i < w->attached.count; i++) {
        struct item *item = &f->items[f->asked[i]];
        w->items[i] = f->asked[i];
        w->indexes[i] = item->index;
        item->asked |= PEER_BIT(w->peer);
        if (w->attached.states[i] == ATTACHMENT_ERASED) item->erased |= PEER_BIT(w->peer);
        w->erased[i] = (unsigned)__builtin_popcount(item->erased) > c->o.genesis->faulty;
    }
}

/* An honest peer ends an answer where the next one does not fit: two in a row hold more than one may. */
static bool gave_little(struct fill *f, const struct filling *w)
{
    bool little = f->cut_by == w->peer && f->cut_bytes + w->bytes.size <= LIMIT_PULL_BYTES;
    f->cut_by = w->attached.count < f->asked_count ? w->peer : 0;
    f->cut_bytes = w->bytes.size;
    return little;
}

void fill_answer(struct catchup *c, unsigned from, uint64_t id, struct bytes body)
{
    struct fill *f = c->fill;
    if (f->phase != FILL_ASKED || f->ask.peer != from || f->ask.id != id) return; /* too late */
    struct filling *w = xcalloc(1, sizeof *w);
    w->c = c;
    w->peer = from;
    buffer_append_bytes(&w->bytes, body);
    enum err e = w->bytes.failed ? ERR_NOMEM : attached_decode(&w->attached, buffer_bytes(&w->bytes));
    if (e == OK && w->attached.count > f->asked_count) e = ERR_INVALID;
    if (e != OK) {
        if (e != ERR_NOMEM)
            log_warning("catchup", "node %u (%s) sent attachments in a message that is not well-formed", from,
                        catchup_name(c, from));
        no_help(f);
        filling_free(w);
        return;
    }
    speeds_note(&f->speeds, &f->ask, !gave_little(f, w));
    f->ask.peer = 0;
    note_statements(c, w);
    w->write = (struct state_write){.data = w, .run = filling_run, .done = filling_done};
    f->phase = FILL_WRITING;
    c->in_flight++;
    if (driver_write(c->o.driver, &w->write) == OK) return;
    c->in_flight--;
    filling_free(w);
    pause_fill(f);
}

/* --- time --- */

void fill_tick(struct catchup *c, uint64_t now)
{
    struct fill *f = c->fill;
    switch (f->phase) {
    case FILL_ASKED:
        if (now < f->ask.until_ns) return;
        no_help(f);
        ask_next(c);
        break;
    case FILL_ASK: ask_next(c); break;
    case FILL_PAUSE:
        if (now < f->until_ns) return;
        begin_round(f);
        break;
    case FILL_LOOK:
    case FILL_READING:
    case FILL_WRITING:
    case FILL_DONE: break;
    }
    if (f->phase == FILL_LOOK) look(c);
}
