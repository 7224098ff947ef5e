#include "node/scrub.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/pack.h"
#include "consensus/mend.h"
#include "ledger/scan.h"
#include "ledger/tables.h"
#include "node/integrity.h"
#include "node/scrub_pace.h"

#define TICK_MS 100
#define KEEP_MS 5000          /* the position is kept so often */
#define AGAIN_MS 3000         /* what peers could not repair is tried again */
#define STEP_MOST (1 * MIB)   /* read in one transaction */
#define STEP_NS UINT64_C(50000000) /* of a processor: pages are held as long, and who stops the node waits for it */
#define TRIES 3               /* the same finding again after so many repairs: rebuild */
#define FAILURES 5            /* of reading, one after the other: rebuild */
#define LOG_TRIES 20u         /* of repairing an entry of the log; what nobody has any more goes when it is trimmed */
#define LOG_ENTRIES 64u
#define NOTE bytes_text("scrub")
#define NOTE_VERSION 1

enum phase { PAUSED, SCANNING, LOG, MENDING, WAITING, STOPPED };

struct scrub {
    struct node *node;
    uv_timer_t timer;
    enum phase phase;
    bool closed;
    struct mender *mender;

    struct scan scan;
    uint64_t log_index;    /* the next block of the log to read */
    bool whole;            /* this pass began in this life, not where the last one ended */
    bool log_damaged, log_left;   /* log_left: not repaired in this pass */
    unsigned log_tries;
    uint64_t log_first, log_last; /* what of the log was found damaged */
    struct scrub_pace pace;
    uint64_t until_ns, kept_ns, warned_ns;

    struct damage damage;  /* in hand */
    bool told;             /* ... and integrity knows of it */
    unsigned tries;        /* repairs of it */
    unsigned failures;     /* of reading, since the last step that went well */
    bool open;             /* found and not seen repaired: [first, last] */
    uint64_t first, last;
    uint64_t alarm_first;  /* of the alarm that `damage` belongs to */

    struct scrub_status status;
    uint64_t before;       /* bytes of the scan before this step */
    uint64_t budget;       /* of this step */
    uint64_t took_ns;      /* of a processor, by this step */
    uint64_t seen;         /* entries of the ledger at the end of the last step */

    bool reading, writing, keeping; /* jobs under way */
    struct state_read read;
    struct damage found;
    struct buffer block;
    struct log_entry entries[LOG_ENTRIES];
    size_t entry_count;
    struct state_write write;
    struct mend mend;
    struct keep {
        struct state_write write;
        struct buffer row;
    } keep;
};

static unsigned long long u(uint64_t n) { return (unsigned long long)n; }

/* --- the position, kept --- */

static enum err keep_run(struct state_write *write, struct table_txn *txn, struct ledger *ledger)
{
    struct scrub *s = write->data;
    (void)ledger;
    return table_put(txn, TABLE_BLOB, NOTE, buffer_bytes(&s->keep.row));
}

static void keep_done(struct state_write *write, enum err code)
{
    struct scrub *s = write->data;
    (void)code; /* a store that failed stops the node elsewhere; else a later one will be kept */
    s->keeping = false;
}

static void encode_note(struct buffer *row, const struct scrub *s)
{
    struct buffer position = {0};
    scan_encode(&position, &s->scan);
    pack_array(row, 13);
    pack_uint(row, NOTE_VERSION);
    pack_uint(row, s->status.passes);
    pack_uint(row, s->status.found);
    pack_uint(row, s->status.repaired);
    pack_uint(row, s->status.finished_ms);
    pack_bool(row, s->open);
    pack_uint(row, s->first);
    pack_uint(row, s->last);
    pack_uint(row, s->tries);
    pack_bool(row, s->log_damaged);
    pack_uint(row, s->log_first);
    pack_uint(row, s->log_last);
    pack_bytes(row, buffer_bytes(&position));
    buffer_free(&position);
}

/* Never while a step is under way: it has the position in its hands. */
static void keep(struct scrub *s)
{
    if (s->keeping || s->reading) return;
    buffer_clear(&s->keep.row);
    encode_note(&s->keep.row, s);
    s->kept_ns = clock_monotonic_ns();
    s->keep.write = (struct state_write){.data = s, .run = keep_run, .done = keep_done};
    s->keeping = !s->keep.row.failed && driver_write(s->node->driver, &s->keep.write) == OK;
}

static void take_note(struct scrub *s, struct bytes row)
{
    struct unpack in = unpack_start(row);
    struct scrub_status status = {0};
    unpack_array_of(&in, 13);
    if (unpack_uint(&in) != NOTE_VERSION) unpack_fail(&in, ERR_VERSION);
    status.passes = unpack_uint(&in);
    status.found = unpack_uint(&in);
    status.repaired = unpack_uint(&in);
    status.finished_ms = unpack_uint(&in);
    bool open = unpack_bool(&in);
    uint64_t first = unpack_uint(&in), last = unpack_uint(&in);
    unsigned tries = (unsigned)unpack_uint_max(&in, UINT32_MAX);
    bool log_damaged = unpack_bool(&in);
    uint64_t log_first = unpack_uint(&in), log_last = unpack_uint(&in);
    struct bytes position = unpack_bin(&in, LIMIT_SCAN_POSITION);
    if (unpack_done(&in) != OK) return; /* of another version: a pass begins anew */
    s->status = status;
    s->open = open;
    s->first = first;
    s->last = last;
    s->tries = tries;
    s->log_damaged = log_damaged;
    s->log_first = log_first;
    s->log_last = log_last;
    if (scan_decode(&s->scan, &s->node->genesis, position) != OK || s->scan.phase == SCAN_DONE)
        scan_begin(&s->scan, &s->node->genesis);
}

static enum err load(struct scrub *s)
{
    struct table_txn *txn;
    struct buffer row = {0};
    enum err e = store_begin_read(&txn, s->node->store);
    if (e != OK) return e;
    e = table_get(txn, TABLE_BLOB, NOTE, &row);
    if (e == OK) take_note(s, buffer_bytes(&row));
    store_abort(txn);
    buffer_free(&row);
    return e == ERR_NOT_FOUND || e == ERR_CORRUPT ? OK : e;
}

/* --- findings --- */

/* Rows behind one another that can be derived, one table's: a single stale page of the store holds hundreds. They make
 * one alarm, of the first to the last; the program's log names each. */
static bool goes_on(const struct scrub *s, const struct damage *found)
{
    bool derived = found->kind == DAMAGE_DERIVED || found->kind == DAMAGE_STRAY || found->kind == DAMAGE_LOCAL;
    return s->open && derived && found->kind == s->damage.kind && found->table == s->damage.table &&
           found->gone == s->damage.gone && found->index >= s->alarm_first;
}

static void tell(struct scrub *s)
{
    uint64_t index = s->damage.index;
    struct finding f = {.kind = s->damage.gone ? ALARM_DELETED : ALARM_MODIFIED, .named = s->node->self,
                        .first = s->alarm_first, .last = index};
    if (s->told) return;
    s->told = true;
    if (!s->open || index < s->first) s->first = index;
    if (!s->open || index > s->last) s->last = index;
    s->open = true;
    s->status.found++;
    if (index != s->alarm_first) log_error("scrub", "%s", s->damage.text); /* integrity says the first one */
    snprintf(f.text, sizeof f.text, "%s", s->damage.text);
    integrity_found(s->node, &f, (struct bytes){0});
}

static void quarantine(struct scrub *s, const char *why)
{
    char text[INTEGRITY_TEXT];
    tell(s);
    snprintf(text, sizeof text, "%s; %s", s->damage.text, why);
    log_error("scrub", "%s. Stop this node and run 'consiliumd rebuild --dir %s'", text, s->node->identity.directory);
    s->phase = STOPPED;
    keep(s);
    integrity_quarantine(s->node, text);
}

static void wait_for(struct scrub *s, enum phase phase, uint64_t ms)
{
    s->phase = phase;
    s->until_ns = clock_monotonic_ns() + ms * UINT64_C(1000000);
}

/* The finding in hand was dealt with: the same place is looked at again. */
static void mended(struct scrub *s)
{
    s->status.repaired++;
    log_notice("scrub", "repaired: %s", s->damage.text);
    if (s->damage.table == TABLE_PEER_MARK) driver_past_rewrite(s->node->driver);
    s->phase = SCANNING;
}

/* What the same answer of a peer mended further on, before this came there. */
static void tell_also(struct scrub *s, const struct mend_run *run)
{
    struct finding f = {.kind = run->gone ? ALARM_DELETED : ALARM_MODIFIED, .named = s->node->self,
                        .first = run->first, .last = run->last};
    if (run->first <= s->damage.index && run->last >= s->damage.index) {
        if (run->last > s->last) s->last = run->last;
        if (run->last == run->first) return;
        f.first = s->damage.index + 1;
    } else {
        s->status.found++;
        s->status.repaired++;
    }
    snprintf(f.text, sizeof f.text, "leaves %llu to %llu, or their rows of the tree, %s", u(f.first), u(f.last),
             run->gone ? "were gone" : "were altered");
    integrity_found(s->node, &f, (struct bytes){0});
    integrity_repaired(s->node, s->node->self, f.first, f.last);
    log_notice("scrub", "repaired: %s", f.text);
}

/* The store has passed the place where something was found: that is over. */
static void close_finding(struct scrub *s)
{
    integrity_repaired(s->node, s->node->self, s->first, s->last);
    s->open = false;
    s->tries = 0;
    s->damage.kind = DAMAGE_NONE;
    keep(s);
}

/* --- repairs --- */

static enum err mend_run(struct state_write *write, struct table_txn *txn, struct ledger *ledger)
{
    struct scrub *s = write->data;
    static const struct tree empty;
    struct buffer leaf = {0};
    bool changed, gone;
    if (s->damage.kind != DAMAGE_LEAF) return scan_mend_row(ledger, txn, &s->node->genesis, &s->damage);
    genesis_leaf(&leaf, &s->node->genesis); /* leaf 0: every node has it */
    enum err e = leaf.failed ? ERR_NOMEM : scan_mend_leaf(txn, &changed, &gone, &empty, buffer_bytes(&leaf));
    buffer_free(&leaf);
    return e;
}

static void mend_done(struct state_write *write, enum err code)
{
    struct scrub *s = write->data;
    s->writing = false;
    if (s->closed || code == ERR_STOPPED || s->phase == STOPPED) return;
    if (code == OK)
        mended(s);
    else if (code == ERR_INVALID)
        quarantine(s, "what it must be does not follow from what is left");
    else
        wait_for(s, WAITING, AGAIN_MS); /* a store that failed stops the node elsewhere */
}

static void mend_here(struct scrub *s)
{
    s->write = (struct state_write){.durable = true, .data = s, .run = mend_run, .done = mend_done};
    s->writing = true;
    if (driver_write(s->node->driver, &s->write) == OK) return;
    s->writing = false;
    wait_for(s, WAITING, AGAIN_MS);
}

static void from_peer_done(struct mend *m, enum err code)
{
    struct scrub *s = m->data;
    if (s->closed || code == ERR_STOPPED || s->phase == STOPPED) return;
    if (code == ERR_UNCHANGED) { /* erased, as it should be: no finding */
        scan_pass_over(&s->scan, &s->damage);
        s->phase = SCANNING;
        return;
    }
    tell(s);
    if (code == OK) {
        mended(s);
        for (unsigned i = 0; i < m->count; i++) tell_also(s, &m->runs[i]);
    } else if (code == ERR_ROOT) {
        quarantine(s, "its ledger before that contradicts what k nodes co-signed");
    } else if (code == ERR_NOT_FOUND) {
        quarantine(s, "no other node has it");
    } else {
        if (log_seldom(&s->warned_ns))
            log_warning("scrub", "%s: no other node can give it now (%s)", s->damage.text, err_text(code));
        wait_for(s, WAITING, AGAIN_MS);
    }
}

static void mend_from_peer(struct scrub *s)
{
    s->mend = (struct mend){.index = s->damage.index, .attachment = s->damage.kind == DAMAGE_ATTACHMENT, .data = s,
                            .done = from_peer_done, .before = s->scan.tree};
    if (mender_begin(s->mender, &s->mend) != OK) wait_for(s, WAITING, AGAIN_MS);
}

static void mend(struct scrub *s)
{
    s->phase = MENDING;
    switch (s->damage.kind) {
    case DAMAGE_LEAF:
        if (s->damage.index > 0)
            mend_from_peer(s);
        else
            mend_here(s);
        return;
    case DAMAGE_ATTACHMENT: mend_from_peer(s); return;
    case DAMAGE_DERIVED:
    case DAMAGE_STRAY:
    case DAMAGE_LOCAL: mend_here(s); return;
    case DAMAGE_STATE: quarantine(s, "only the ledger of its peers tells what it must be"); return;
    case DAMAGE_ROOT: quarantine(s, "its ledger contradicts what k nodes co-signed"); return;
    case DAMAGE_STORE: quarantine(s, "the store can't be repaired"); return;
    case DAMAGE_NONE: s->phase = SCANNING; return;
    }
}

static bool same_damage(const struct damage *a, const struct damage *b)
{
    return a->kind == b->kind && a->table == b->table && a->index == b->index &&
           bytes_equal(bytes_of(a->key, a->key_size), bytes_of(b->key, b->key_size));
}

static void take_finding(struct scrub *s, const struct damage *found)
{
    bool again = same_damage(&s->damage, found);
    bool within = found->index >= s->first && found->index <= s->last;
    bool on = !again && goes_on(s, found);
    if (!again && !on && s->open && !within) close_finding(s); /* further on */
    if (!again && !on) s->alarm_first = found->index;
    s->told = again && s->told;
    s->tries = again ? s->tries + 1 : 0;
    s->damage = *found;
    /* Whether an attachment that is gone was erased, only the others tell. */
    if (!(found->kind == DAMAGE_ATTACHMENT && found->gone)) tell(s);
    keep(s);
    if (s->tries >= TRIES)
        quarantine(s, "and repairs did not help");
    else
        mend(s);
}

/* --- the log --- */

static enum err log_run(struct state_read *read, struct table_txn *txn)
{
    struct scrub *s = read->data;
    (void)txn; /* of the log's own threads, not the state's: any worker reads it */
    buffer_clear(&s->block);
    return log_read(s->node->log, &s->block, s->entries, &s->entry_count, LOG_ENTRIES, s->log_index, 256 * KIB);
}

static void end_pass(struct scrub *s)
{
    if (s->log_damaged && !s->log_left) { /* read once more since, and good, or trimmed */
        integrity_repaired(s->node, s->node->self, s->log_first, s->log_last);
        s->status.repaired++;
        s->log_damaged = false;
    }
    s->log_left = false;
    if (s->whole && !s->open && !s->log_damaged) integrity_scrubbed(s->node);
    s->whole = true;
    s->status.passes++;
    s->status.finished_ms = clock_wall_ms();
    log_info("scrub", "pass %llu: %llu rows, %llu bytes of the state checked", u(s->status.passes), u(s->scan.rows),
             u(s->scan.bytes));
    scan_begin(&s->scan, &s->node->genesis);
    s->status.permille = 0;
    s->log_index = 0;
    wait_for(s, PAUSED, s->node->config->scrub_pause.number * 1000);
    keep(s);
}

static void tell_log(struct scrub *s, uint64_t first, uint64_t last)
{
    struct finding f = {.kind = ALARM_MODIFIED, .named = s->node->self, .first = first, .last = last};
    if (s->log_damaged && first >= s->log_first && last <= s->log_last) return;
    snprintf(f.text, sizeof f.text, "entries %llu to %llu of the replicated log are damaged", u(first), u(last));
    if (!s->log_damaged || first < s->log_first) s->log_first = first;
    if (!s->log_damaged || last > s->log_last) s->log_last = last;
    s->log_damaged = true;
    s->status.found++;
    integrity_found(s->node, &f, (struct bytes){0});
}

static void damaged_log(struct scrub *s, uint64_t first, uint64_t last)
{
    tell_log(s, first, last);
    if (++s->log_tries > LOG_TRIES) {
        s->log_index = last + 1;
        s->log_left = true;
        s->log_tries = 0;
        return;
    }
    driver_repair_log(s->node->driver);
    wait_for(s, WAITING, AGAIN_MS);
}

static void log_done(struct state_read *read, enum err code)
{
    struct scrub *s = read->data;
    uint64_t first, last;
    s->reading = false;
    if (s->closed || code == ERR_STOPPED) return;
    scrub_pace_spend(&s->pace, s->block.size + 64);
    s->status.bytes += s->block.size;
    if (s->phase == STOPPED) return; /* quarantined meanwhile */
    if (code == OK) {
        s->log_index += s->entry_count;
        s->log_tries = 0;
    } else if (code == ERR_CORRUPT && log_damage(s->node->log, &first, &last, s->log_index) == OK) {
        damaged_log(s, first, last);
    } else if (code != ERR_NOT_FOUND) { /* trimmed meanwhile, when it is that */
        wait_for(s, WAITING, AGAIN_MS);
    }
}

/* False: at the log's end. */
static bool log_step(struct scrub *s)
{
    struct log_status status;
    log_status(s->node->log, &status);
    if (s->log_index < status.first) s->log_index = status.first;
    if (s->log_index > status.last) return false;
    s->read = (struct state_read){.data = s, .run = log_run, .done = log_done};
    s->entry_count = 0;
    s->reading = driver_read(s->node->driver, &s->read) == OK;
    return true;
}

/* --- the store --- */

enum err scrub_pages(struct damage *found, struct table_txn *txn)
{
    struct failure failure = {.code = OK};
    *found = (struct damage){.kind = DAMAGE_NONE};
    enum err e = store_check_pages(txn, &failure);
    if (e != ERR_CORRUPT) return e == ERR_BUSY ? OK : e;
    found->kind = DAMAGE_STORE;
    snprintf(found->text, sizeof found->text, "%.*s", DAMAGE_TEXT - 1, failure.text);
    return OK;
}

static enum err scan_run(struct state_read *read, struct table_txn *txn)
{
    struct scrub *s = read->data;
    uint64_t begin = clock_thread_ns();
    enum err e = OK;
    s->found.kind = DAMAGE_NONE;
    s->scan.most_ns = STEP_NS;
    if (s->scan.end == 0) e = scrub_pages(&s->found, txn); /* once in a pass */
    if (e == OK && s->found.kind == DAMAGE_NONE) e = scan_step(&s->scan, txn, s->budget, &s->found);
    s->took_ns = clock_thread_ns() - begin;
    return e;
}

/* A step that could not read on. Behind a damaged page of the store that is how it looks, for ever. */
static void failed(struct scrub *s, enum err code)
{
    wait_for(s, WAITING, AGAIN_MS);
    s->damage.kind = DAMAGE_NONE; /* nothing to mend when that is over */
    if (code == ERR_BUSY || code == ERR_NOMEM) return;
    if (log_seldom(&s->warned_ns)) log_error("scrub", "the store can't be read: %s", err_text(code));
    if (++s->failures < FAILURES) return;
    s->damage = (struct damage){.kind = DAMAGE_STORE};
    s->alarm_first = 0;
    s->told = false;
    snprintf(s->damage.text, sizeof s->damage.text, "the state's file can't be read: %s", err_text(code));
    quarantine(s, "tried several times");
}

/* While entries are written, these go first. */
static void rest(struct scrub *s)
{
    struct driver_status d;
    driver_status(s->node->driver, &d);
    if (d.size != s->seen) scrub_pace_rest(&s->pace, s->took_ns, clock_monotonic_ns());
    s->seen = d.size;
}

static void scan_done(struct state_read *read, enum err code)
{
    struct scrub *s = read->data;
    s->reading = false;
    if (s->closed || code == ERR_STOPPED) return;
    rest(s);
    uint64_t bytes = s->scan.bytes >= s->before ? s->scan.bytes - s->before : s->scan.bytes;
    scrub_pace_spend(&s->pace, bytes);
    s->status.bytes += bytes;
    s->status.permille = scan_permille(&s->scan);
    if (s->phase == STOPPED) return; /* quarantined meanwhile */
    if (code != OK) {
        failed(s, code);
        return;
    }
    s->failures = 0;
    if (s->found.kind != DAMAGE_NONE) {
        take_finding(s, &s->found);
    } else {
        if (s->open) close_finding(s);
        if (s->scan.phase == SCAN_DONE) s->phase = LOG;
    }
}

static void next_step(struct scrub *s)
{
    if (s->phase == LOG && !log_step(s)) end_pass(s);
    if (s->phase != SCANNING) return;
    s->before = s->scan.bytes;
    s->budget = scrub_pace_budget(&s->pace, STEP_MOST);
    s->read = (struct state_read){.data = s, .run = scan_run, .done = scan_done};
    s->reading = driver_read(s->node->driver, &s->read) == OK; /* else: the next tick */
}

/* --- time --- */

/* Waiting is over: the repair again, or the log's, or the next pass. */
static void resume(struct scrub *s)
{
    if (s->phase == PAUSED) {
        s->phase = SCANNING;
    } else if (s->scan.phase == SCAN_DONE) {
        s->phase = LOG;
    } else if (s->damage.kind != DAMAGE_NONE) {
        mend(s);
    } else {
        s->phase = SCANNING;
    }
}

static void on_timer(uv_timer_t *timer)
{
    struct scrub *s = timer->data;
    struct driver_status d;
    uint64_t now = clock_monotonic_ns();
    scrub_pace_earn(&s->pace, now);
    driver_status(s->node->driver, &d);
    if (d.quarantined) s->phase = STOPPED; /* also by others: nothing of it is worth repairing */
    bool busy = s->reading || s->writing || s->phase == MENDING || s->phase == STOPPED;
    if (busy || !catchup_ready(s->node->catchup)) return;
    if (now - s->kept_ns > KEEP_MS * UINT64_C(1000000) && s->phase != PAUSED) keep(s);
    if ((s->phase == PAUSED || s->phase == WAITING) && now >= s->until_ns) resume(s);
    if ((s->phase == SCANNING || s->phase == LOG) && scrub_pace_budget(&s->pace, 1) > 0) next_step(s);
}

bool scrub_message(struct node *node, unsigned from, uint32_t type, uint64_t id, struct bytes body)
{
    return node->scrub && mender_message(node->scrub->mender, from, type, id, body);
}

void scrub_status(const struct node *node, struct scrub_status *out)
{
    *out = node->scrub ? node->scrub->status : (struct scrub_status){0};
    if (node->scrub) out->scanning = node->scrub->phase != PAUSED && node->scrub->phase != STOPPED;
}

/* --- start and end --- */

enum err scrub_new(struct scrub **out, struct node *node)
{
    struct scrub *s = xcalloc(1, sizeof *s);
    struct mender_options options = {.loop = &node->loop, .genesis = &node->genesis, .self = node->self,
                                     .driver = node->driver, .witness = node->witness, .peers = node->peers};
    s->node = node;
    s->phase = SCANNING;
    s->kept_ns = clock_monotonic_ns();
    scrub_pace_begin(&s->pace, (uint64_t)node->config->scrub_rate.number * 1024, s->kept_ns);
    scan_begin(&s->scan, &node->genesis);
    enum err e = load(s);
    if (e != OK) {
        scan_free(&s->scan);
        free(s);
        return e;
    }
    s->mender = mender_new(&options);
    CHECK(uv_timer_init(&node->loop, &s->timer) == 0);
    s->timer.data = s;
    if (node->config->scrub_rate.number == 0)
        s->phase = STOPPED;
    else
        CHECK(uv_timer_start(&s->timer, on_timer, TICK_MS, TICK_MS) == 0);
    *out = s;
    return OK;
}

void scrub_stop(struct scrub *s)
{
    if (!s || s->closed) return;
    keep(s);
    s->closed = true;
    s->phase = STOPPED;
    mender_stop(s->mender);
    uv_close((uv_handle_t *)&s->timer, NULL);
}

void scrub_free(struct scrub *s)
{
    if (!s) return;
    mender_free(s->mender);
    scan_free(&s->scan);
    buffer_free(&s->block);
    buffer_free(&s->keep.row);
    free(s);
}
