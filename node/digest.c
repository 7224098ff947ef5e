#include "node/digest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "consensus/peer_messages.h"
#include "ledger/tables.h"
#include "node/digest_ask.h"
#include "node/digest_scan.h"
#include "node/integrity.h"
#include "node/session.h"

#define TIMER_MS 1000
#define OLD_MS 60000     /* a leaf that asked longer ago isn't answered any more */
#define AGAIN_MOST 2     /* so often a node may take back what it said of one leaf */
#define WAIT_MS 60000    /* for who said nothing, where their word could change who is right */

/* What one member said, newest last; a member's own words can only push out its own. */
struct said {
    struct state_statement *statements[DIGEST_ROUNDS]; /* by `next` modulo the size */
    uint64_t next;
    bool differs;          /* from those who are right, when last compared; of itself: or a row couldn't be read */
    uint64_t first, last;  /* leaves: the finding's, and the newest at which it differed */
    uint64_t found_ns;     /* when `first` was; 0: never */
    uint64_t again_leaf;   /* the last leaf of which it took its word back ... */
    unsigned again;        /* ... so often */
    uint64_t warned_ns;
};

/* A leaf that asked for a digest, applied here. */
struct asked {
    uint64_t leaf, ns; /* since when it is known here */
    bool over;         /* nobody who said nothing of it is waited for any more */
};

struct digest_desk {
    struct node *node;
    struct said said[LIMIT_NODES + 1];
    struct asked asked[DIGEST_ROUNDS]; /* newest at asked_next - 1 */
    uint64_t asked_next;
    uint64_t decided;   /* the newest leaf of which it was known who is right */
    uint64_t undecided; /* the last one of which it was said that nobody knows */
    uv_async_t wake;
    uv_timer_t timer;
    struct digest_scan *scan; /* NULL: none runs */
    uint64_t scan_leaf, scan_size;
    struct digest_ask ask;
};

/* --- what is kept --- */

static const struct state_statement *newest_of(const struct said *said)
{
    return said->next ? said->statements[(said->next - 1) % DIGEST_ROUNDS] : NULL;
}

static struct state_statement *said_of(const struct said *said, uint64_t leaf)
{
    for (uint64_t i = said->next; i > 0 && i + DIGEST_ROUNDS > said->next; i--) {
        struct state_statement *s = said->statements[(i - 1) % DIGEST_ROUNDS];
        if (s->leaf == leaf) return s;
    }
    return NULL;
}

static void remember(struct said *said, const struct state_statement *s)
{
    struct state_statement **slot = &said->statements[said->next++ % DIGEST_ROUNDS];
    if (!*slot) *slot = xmalloc(sizeof **slot);
    **slot = *s;
}

static struct asked *asked_of(struct digest_desk *desk, uint64_t leaf)
{
    for (uint64_t i = desk->asked_next; i > 0 && i + DIGEST_ROUNDS > desk->asked_next; i--) {
        struct asked *a = &desk->asked[(i - 1) % DIGEST_ROUNDS];
        if (a->leaf == leaf) return a;
    }
    return NULL;
}

static void add_asked(struct digest_desk *desk, uint64_t leaf)
{
    if (!asked_of(desk, leaf))
        desk->asked[desk->asked_next++ % DIGEST_ROUNDS] = (struct asked){.leaf = leaf, .ns = clock_monotonic_ns()};
}

/* --- kept on disk: leaf(8) member(1) -> the statement --- */

#define KEY_SIZE 9

struct keeping {
    struct state_write write;
    uint8_t key[KEY_SIZE];
    struct buffer row;
};

static enum err keep_run(struct state_write *w, struct table_txn *txn, struct ledger *ledger)
{
    struct keeping *k = w->data;
    (void)ledger;
    enum err e = table_put(txn, TABLE_STATEMENT, BYTES(k->key), buffer_bytes(&k->row));
    return e == OK ? table_drop_oldest(txn, TABLE_STATEMENT, DIGEST_ROUNDS * LIMIT_NODES) : e;
}

static void keep_done(struct state_write *w, enum err code)
{
    struct keeping *k = w->data;
    if (code != OK && code != ERR_STOPPED) log_warning("digest", "a statement is not kept: %s", err_text(code));
    buffer_free(&k->row);
    free(k);
}

/* Not of leaves that nobody here knows to have asked: a peer can name any. */
static void keep(struct digest_desk *desk, const struct state_statement *s)
{
    if (!asked_of(desk, s->leaf)) return;
    struct keeping *k = xcalloc(1, sizeof *k);
    put_be64(k->key, s->leaf);
    k->key[8] = (uint8_t)s->member;
    state_statement_encode(&k->row, s);
    k->write = (struct state_write){.data = k, .run = keep_run, .done = keep_done};
    enum err e = k->row.failed ? ERR_NOMEM : driver_write(desk->node->driver, &k->write);
    if (e != OK) keep_done(&k->write, e);
}

static enum err load_rows(struct digest_desk *desk, struct table_txn *txn)
{
    struct table_cursor *c;
    struct buffer row = {0};
    struct state_statement s;
    enum err e = table_cursor_open(&c, txn, TABLE_STATEMENT);
    if (e != OK) return e;
    for (e = table_cursor_seek(c, (struct bytes){0}); e == OK; e = table_cursor_next(c)) {
        e = table_cursor_value(c, &row);
        if (e != OK && e != ERR_CORRUPT) break;
        if (e != OK || state_statement_decode(&s, buffer_bytes(&row)) != OK) { /* the scrub will remove it */
            log_warning("digest", "a kept statement can't be read, and is passed over");
            continue;
        }
        add_asked(desk, s.leaf);
        remember(&desk->said[s.member], &s); /* in the order of leaves */
    }
    table_cursor_close(c);
    buffer_free(&row);
    return e == ERR_NOT_FOUND ? OK : e;
}

/* --- comparing --- */

static unsigned members(const struct digest_desk *desk) { return desk->node->genesis.member_count; }
static const char *name_of(const struct digest_desk *desk, unsigned member)
{
    return genesis_member(&desk->node->genesis, member)->name;
}

static void gather(struct state_comparison *out, const struct state_statement **list, const struct digest_desk *desk,
                   uint64_t leaf)
{
    list[0] = NULL;
    for (unsigned i = 1; i <= members(desk); i++) list[i] = said_of(&desk->said[i], leaf);
    state_compare(out, list, members(desk), desk->node->genesis.quorum);
}

static void describe(struct finding *f, const struct digest_desk *desk, const struct state_statement *model,
                     const struct state_statement *s, unsigned equal)
{
    struct buffer tables = {.limit = 120};
    state_differences(&tables, model, s);
    int size = tables.failed ? 0 : (int)tables.size;
    *f = (struct finding){.kind = ALARM_MODIFIED, .named = s->member, .first = s->leaf, .last = s->leaf};
    snprintf(f->text, sizeof f->text, "its state after %llu entries differs from that of %u other nodes of %u, in: "
             "%.*s", (unsigned long long)s->size, equal, members(desk), size, size ? (const char *)tables.data : "");
    buffer_free(&tables);
}

/* Whether it did so before. Who comes and goes within a day makes one finding, so that nobody hears of each time. */
static bool note_differs(struct said *said, uint64_t leaf)
{
    bool before = said->differs;
    uint64_t now = clock_monotonic_ns();
    said->differs = true;
    if (leaf > said->last) said->last = leaf;
    if (before || (said->found_ns && now - said->found_ns < ALARM_AGAIN_MS * UINT64_C(1000000))) return before;
    said->first = leaf;
    said->found_ns = now;
    return false;
}

/* Said once more in each round as long as it is so: its alarm may have been closed by the node that it names. */
static void found_other(struct digest_desk *desk, const struct state_statement *model, const struct state_statement *s,
                        unsigned equal, bool tell)
{
    struct said *said = &desk->said[s->member];
    struct finding f;
    bool later = s->leaf > said->last, before = note_differs(said, s->leaf), self = s->member == desk->node->self;
    if (!tell || (before && (self || !later))) return;
    describe(&f, desk, model, s, equal);
    f.first = said->first;
    f.last = before ? said->first : s->leaf;
    integrity_found(desk->node, &f, (struct bytes){0});
    if (!self) return;
    integrity_quarantine(desk->node, "its state digest contradicts that of more other nodes than may be wrong: "
                                     "somebody or something altered this node's data. 'consiliumd rebuild' derives it "
                                     "anew from the ledger");
}

static void found_same(struct digest_desk *desk, const struct state_statement *s, bool tell)
{
    struct said *said = &desk->said[s->member];
    if (!said->differs || s->leaf < said->last) return;
    said->differs = false;
    if (!tell) return;
    log_notice("digest", "node %u (%s) has the same state as the others again", s->member, name_of(desk, s->member));
    integrity_repaired(desk->node, s->member, said->first, said->first);
}

static void add_names(struct buffer *out, const struct digest_desk *desk, uint32_t mask)
{
    const char *before = "";
    for (unsigned i = 1; i <= members(desk); i++) {
        if (!(mask >> i & 1)) continue;
        buffer_printf(out, "%s%s", before, name_of(desk, i));
        before = ", ";
    }
}

/* More nodes are at fault than may be. An alarm names one that is wrong, and nobody here knows which that is. */
static void found_undecided(struct digest_desk *desk, const struct state_comparison *c, uint64_t leaf)
{
    struct buffer names = {.limit = LIMIT_NODES * (LIMIT_NAME + 2) + 20};
    if (!c->other || leaf <= desk->undecided) return;
    desk->undecided = leaf;
    add_names(&names, desk, c->same);
    buffer_append_text(&names, " against ");
    add_names(&names, desk, c->other);
    log_error("digest", "the nodes' states at entry %llu are not the same, and too few or too many agree to say who is "
                        "right: %.*s. An auditor's 'consilium verify --all' shows what differs",
              (unsigned long long)leaf, names.failed ? 0 : (int)names.size, names.data ? (char *)names.data : "");
    buffer_free(&names);
}

/* `tell`: not what was told before a restart. */
static void judge(struct digest_desk *desk, uint64_t leaf, bool tell)
{
    const struct genesis *g = &desk->node->genesis;
    const struct state_statement *list[LIMIT_NODES + 1];
    const struct asked *asked = asked_of(desk, leaf);
    struct state_comparison c;
    gather(&c, list, desk, leaf);
    bool waits = !state_settled(&c, g->quorum, g->faulty);
    if (waits && (!asked || !asked->over || leaf < desk->decided)) return;
    if (!state_decided(&c, g->quorum, g->faulty)) {
        if (tell) found_undecided(desk, &c, leaf);
        return;
    }
    if (leaf > desk->decided) desk->decided = leaf;
    for (unsigned i = 1; i <= members(desk); i++) {
        if (c.other >> i & 1) found_other(desk, list[c.model], list[i], c.equal, tell);
        if (c.same >> i & 1) found_same(desk, list[i], tell);
    }
}

/* Who said nothing for so long is down, or keeps silent. */
static void end_waiting(struct digest_desk *desk)
{
    uint64_t now = clock_monotonic_ns();
    for (size_t i = 0; i < DIGEST_ROUNDS && i < desk->asked_next; i++) {
        struct asked *a = &desk->asked[i];
        if (a->over || now - a->ns < WAIT_MS * UINT64_C(1000000)) continue;
        a->over = true;
        judge(desk, a->leaf, true);
    }
}

/* --- this node's own --- */

static void encode_and_send(struct digest_desk *desk, const struct state_statement *s, unsigned to)
{
    struct buffer body = {0};
    state_statement_encode(&body, s);
    for (unsigned i = 1; i <= members(desk); i++)
        if (i != desk->node->self && (to == 0 || to == i))
            peers_send(desk->node->peers, i, PEER_DIGEST, 0, buffer_bytes(&body)); /* lost: at the next link */
    buffer_free(&body);
}

static void state_own(struct digest_desk *desk, uint64_t leaf, uint64_t size, const struct digest_scanned *r)
{
    struct node *node = desk->node;
    struct state_statement s = {.member = node->self, .leaf = leaf, .size = size, .outcome = r->outcome,
                                .digest = r->digest};
    state_statement_sign(&s, &node->genesis, &node->identity.secrets->message);
    remember(&desk->said[node->self], &s);
    keep(desk, &s);
    encode_and_send(desk, &s, 0);
    judge(desk, leaf, true);
}

static void say_own(struct digest_desk *desk, const struct digest_scanned *r)
{
    struct digest whole = state_digest_whole(&r->digest);
    char text[17];
    hex_format(text, whole.bytes, 8);
    if (r->outcome == STATE_COMPUTED)
        log_info("digest", "state after %llu entries: %s..., %llu bytes in %llu ms (%llu of the processor, the "
                           "snapshot was held for %llu)", (unsigned long long)desk->scan_size, text,
                 (unsigned long long)r->bytes, (unsigned long long)r->took_ms, (unsigned long long)r->cpu_ms,
                 (unsigned long long)r->snapshot_ms);
    else
        log_warning("digest", "state after %llu entries: %s", (unsigned long long)desk->scan_size,
                    state_outcome_text(r->outcome));
}

static const char *table_text(uint8_t table)
{
    for (size_t i = 0; i < ledger_tables_count; i++)
        if (ledger_tables[i].table == table) return ledger_tables[i].name;
    return "?";
}

/* A seal that doesn't open. What it must be is the scrub's business; here it is told. */
static void found_unreadable(struct digest_desk *desk, uint8_t table)
{
    struct said *own = &desk->said[desk->node->self];
    if (note_differs(own, desk->scan_leaf)) return;
    struct finding f = {.kind = ALARM_MODIFIED, .named = desk->node->self, .first = own->first,
                        .last = desk->scan_leaf};
    snprintf(f.text, sizeof f.text, "a stored row of its table %s can't be read", table_text(table));
    integrity_found(desk->node, &f, (struct bytes){0});
}

static void on_wake(uv_async_t *handle)
{
    struct digest_desk *desk = handle->data;
    struct digest_scanned result;
    if (!desk->scan || !digest_scan_finished(desk->scan)) return;
    digest_scan_end(desk->scan, &result);
    desk->scan = NULL;
    driver_digest_ended(desk->node->driver);
    say_own(desk, &result);
    if (result.outcome == STATE_UNREADABLE) found_unreadable(desk, result.table);
    state_own(desk, desk->scan_leaf, desk->scan_size, &result);
}

/* What came from others before this node knew that leaf. */
static void take_asked(struct digest_desk *desk, uint64_t leaf)
{
    digest_ask_noted(&desk->ask, leaf);
    if (asked_of(desk, leaf)) return;
    add_asked(desk, leaf);
    for (unsigned i = 1; i <= members(desk); i++) {
        const struct state_statement *s = said_of(&desk->said[i], leaf);
        if (s) keep(desk, s);
    }
}

static bool is_old(const struct driver_digest *asked)
{
    uint64_t now = clock_wall_ms();
    return now > asked->time_ms && now - asked->time_ms > OLD_MS;
}

void digest_begin(struct node *node, const struct driver_digest *asked)
{
    struct digest_desk *desk = node->digest;
    if (!desk || node->stopping) { /* the driver's end frees what it holds */
        store_abort(asked->snapshot);
        return;
    }
    if (is_old(asked)) { /* applied again from the log, or long after: the others are done with it */
        store_abort(asked->snapshot);
        if (asked->snapshot) driver_digest_ended(node->driver);
        return;
    }
    take_asked(desk, asked->leaf);
    if (!asked->snapshot) {
        struct digest_scanned none = {.outcome = asked->code == ERR_BUSY ? STATE_BUSY : STATE_FAILED};
        state_own(desk, asked->leaf, asked->size, &none);
        return;
    }
    CHECK(!desk->scan);
    desk->scan_leaf = asked->leaf;
    desk->scan_size = asked->size;
    desk->scan = digest_scan_start(node->store, asked->snapshot, asked->size, &desk->wake);
}

/* --- of peers --- */

static void warn(struct digest_desk *desk, unsigned from, const char *what)
{
    if (log_seldom(&desk->said[from].warned_ns))
        log_warning("digest", "node %u (%s) %s", from, name_of(desk, from), what);
}

/* A second word on the same leaf takes the first one's place. It is no proof of a lie: whoever was
 * rebuilt after its data were altered tells the truth now. */
static void take_again(struct digest_desk *desk, struct state_statement *before, const struct state_statement *s)
{
    struct said *said = &desk->said[s->member];
    said->again = s->leaf == said->again_leaf ? said->again + 1 : 1;
    said->again_leaf = s->leaf;
    bool other = before->outcome == STATE_COMPUTED && s->outcome == STATE_COMPUTED && !state_statement_same(before, s);
    if (other) warn(desk, s->member, "states another digest of its state than before, for one entry");
    *before = *s;
}

void digest_message(struct node *node, unsigned from, struct bytes body)
{
    struct digest_desk *desk = node->digest;
    struct state_statement s;
    if (!desk || node->stopping) return;
    if (state_statement_decode(&s, body) != OK || s.member != from) {
        warn(desk, from, "stated its digest in a message that is not well-formed");
        return;
    }
    struct said *said = &desk->said[from];
    struct state_statement *before = said_of(said, s.leaf);
    const struct state_statement *newest = newest_of(said);
    if (before && memcmp(before->signature.bytes, s.signature.bytes, sizeof s.signature.bytes) == 0) return;
    if (!before && newest && s.leaf < newest->leaf) return; /* of a round that is over */
    /* Each word is verified, kept on disk, and may raise or close an alarm: not as often as a liar likes. */
    if (before && (s.leaf < said->again_leaf || (s.leaf == said->again_leaf && said->again >= AGAIN_MOST))) return;
    if (state_statement_verify(&s, &node->genesis) != OK) {
        warn(desk, from, "stated its digest with a signature that does not verify");
        return;
    }
    if (before)
        take_again(desk, before, &s);
    else
        remember(said, &s);
    keep(desk, &s);
    judge(desk, s.leaf, true);
}

void digest_peer_up(struct node *node, unsigned peer)
{
    struct digest_desk *desk = node->digest;
    const struct state_statement *own = desk ? newest_of(&desk->said[node->self]) : NULL;
    if (own) encode_and_send(desk, own, peer);
}

/* --- of clients --- */

/* The oldest round at or after `leaf` of which anything is known; 0: the newest. */
static uint64_t round_for(const struct digest_desk *desk, uint64_t leaf)
{
    uint64_t best = 0;
    for (uint64_t i = 0; i < desk->asked_next && i < DIGEST_ROUNDS; i++) {
        uint64_t at = desk->asked[i].leaf;
        bool better = leaf == 0 ? at > best : at >= leaf && (best == 0 || at < best);
        if (better) best = at;
    }
    return best;
}

void digest_serve(struct session *s, uint64_t id, struct bytes body)
{
    struct digest_desk *desk = s->node->digest;
    struct message_digests question;
    struct message_digests_ok answer = {0};
    struct buffer statements[LIMIT_NODES] = {{0}}, out = {.limit = LIMIT_FRAME};
    enum err e = message_digests_decode(&question, body);
    if (e != OK) {
        session_fail(s, id, e, NULL, 0);
        return;
    }
    answer.leaf = round_for(desk, question.leaf);
    for (unsigned i = 1; answer.leaf && i <= members(desk); i++) {
        const struct state_statement *said = said_of(&desk->said[i], answer.leaf);
        if (!said) continue;
        state_statement_encode(&statements[answer.count], said);
        answer.statements[answer.count] = buffer_bytes(&statements[answer.count]);
        answer.count++;
    }
    message_digests_ok_encode(&out, &answer);
    session_send(s, MESSAGE_DIGESTS_OK, id, &out);
    buffer_free(&out);
    for (uint32_t i = 0; i < answer.count; i++) buffer_free(&statements[i]);
}

void digest_applied(struct node *node, const struct driver_applied *applied)
{
    struct digest_desk *desk = node->digest;
    if (desk && applied->replayed && !node->stopping) digest_ask_replayed(&desk->ask);
}

static void on_timer(uv_timer_t *timer)
{
    struct digest_desk *desk = timer->data;
    end_waiting(desk);
    digest_ask_turn(&desk->ask, desk->scan != NULL);
}

/* --- start and end --- */

static enum err load(struct digest_desk *desk)
{
    struct table_txn *txn;
    enum err e = store_begin_read(&txn, desk->node->store);
    if (e != OK) return e;
    e = digest_ask_load(&desk->ask, txn);
    if (e == OK) e = load_rows(desk, txn);
    store_abort(txn);
    uint64_t oldest = desk->asked_next > DIGEST_ROUNDS ? desk->asked_next - DIGEST_ROUNDS : 0;
    for (uint64_t i = oldest; e == OK && i < desk->asked_next; i++)
        judge(desk, desk->asked[i % DIGEST_ROUNDS].leaf, false);
    return e;
}

enum err digest_new(struct digest_desk **out, struct node *node, struct failure *failure)
{
    struct digest_desk *desk = xcalloc(1, sizeof *desk);
    desk->node = node;
    digest_ask_begin(&desk->ask, node);
    enum err e = load(desk);
    if (e != OK) {
        digest_free(desk);
        return fail(failure, e, "the kept state digests can't be read: %s", err_text(e));
    }
    CHECK(uv_async_init(&node->loop, &desk->wake, on_wake) == 0);
    CHECK(uv_timer_init(&node->loop, &desk->timer) == 0);
    desk->wake.data = desk->timer.data = desk;
    CHECK(uv_timer_start(&desk->timer, on_timer, TIMER_MS, TIMER_MS) == 0);
    *out = desk;
    return OK;
}

void digest_stop(struct node *node)
{
    struct digest_desk *desk = node->digest;
    if (!desk) return;
    if (desk->scan) digest_scan_end(desk->scan, NULL);
    desk->scan = NULL;
    uv_close((uv_handle_t *)&desk->wake, NULL);
    uv_close((uv_handle_t *)&desk->timer, NULL);
}

void digest_free(struct digest_desk *desk)
{
    if (!desk) return;
    for (unsigned i = 0; i <= LIMIT_NODES; i++)
        for (unsigned k = 0; k < DIGEST_ROUNDS; k++) free(desk->said[i].statements[k]);
    free(desk);
}
