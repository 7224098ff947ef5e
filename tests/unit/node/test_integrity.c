/* Findings on their way into the ledger, over kills, denials and repairs. The ledger and the store are real;
 * the driver around them is played here: what it takes is done when the test says so. */
#include "node/integrity.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "consensus/node_request.h"
#include "ledger/arguments.h"
#include "node/integrity_internal.h"
#include "node/notice.h"
#include "tests/lib/ledger_kit.h"
#include "tests/lib/samples.h"
#include "tests/lib/unit.h"

#define SELF 1
#define JOBS 64
#define NONE ((struct bytes){0})

static struct kit kit;
static struct node node;

/* --- what stands around it --- */

static struct state_write *writes[JOBS];
static struct state_read *reads[JOBS];
static size_t write_count, read_count, pushes, quarantines;
static bool busy;        /* the driver takes nothing */
static bool contradicted; /* and why is not known so far */
static enum err refuses; /* requests get no further */
static struct asked {
    bool waits;
    struct arguments args;
    struct buffer evidence; /* `args` points into it */
    void *data;
    node_request_done done;
} asked;
static size_t asks;

enum err driver_write(struct driver *d, struct state_write *w)
{
    (void)d;
    if (busy || write_count == JOBS) return ERR_BUSY;
    CHECK(w->durable);
    writes[write_count++] = w;
    return OK;
}

enum err driver_read(struct driver *d, struct state_read *r)
{
    (void)d;
    if (busy || read_count == JOBS) return ERR_BUSY;
    reads[read_count++] = r;
    return OK;
}

void driver_status(const struct driver *d, struct driver_status *out)
{
    (void)d;
    *out = (struct driver_status){.size = ledger_size(kit.ledger), .quarantined = quarantines > 0,
                                    .contradicted = contradicted};
}

void driver_quarantine(struct driver *d, const char *why)
{
    (void)d;
    CHECK(*why);
    quarantines++;
}

const char *driver_quarantined_why(const struct driver *d)
{
    (void)d;
    return "why";
}

void notice_push(struct node *n)
{
    (void)n;
    pushes++;
}

enum err node_request_submit(const struct node_signer *signer, enum action action, struct bytes args,
                             struct bytes attachment, void *data, node_request_done done)
{
    CHECK(signer->self == SELF && !asked.waits && attachment.size == 0);
    if (busy) return ERR_BUSY;
    asked = (struct asked){.waits = true, .data = data, .done = done};
    CHECK(arguments_decode(&asked.args, action, args) == OK);
    if (asked.args.action == ACTION_NODE_ALARM) {
        buffer_append_bytes(&asked.evidence, asked.args.node_alarm.evidence);
        asked.args.node_alarm.evidence = buffer_bytes(&asked.evidence);
    }
    asks++;
    return OK;
}

/* --- turns of the loop --- */

static void applied(void)
{
    integrity_applied(&node, &(struct driver_applied){.alarms_changed = true});
}

static void do_writes(void)
{
    for (size_t i = 0; i < write_count; i++) {
        struct state_write *w = writes[i];
        CHECK(w->run(w, kit.txn, kit.ledger) == OK);
    }
    size_t count = write_count;
    struct state_write *done[JOBS];
    memcpy(done, writes, sizeof done);
    write_count = 0;
    for (size_t i = 0; i < count; i++) done[i]->done(done[i], OK);
}

static void do_reads(void)
{
    while (read_count > 0) {
        struct state_read *r = reads[--read_count];
        r->done(r, r->run(r, kit.txn));
    }
}

static void do_request(void)
{
    if (!asked.waits) return;
    struct asked a = asked;
    asked = (struct asked){0};
    if (refuses != OK) {
        a.done(a.data, refuses, 0, DECISION_DENIED, REASON_NONE);
    } else {
        struct kit_actor self = kit_node(&kit, SELF);
        const struct ledger_result *r = kit_do(&kit, &self, &a.args, NONE);
        uint64_t index = r->leaf_index;
        enum decision decision = (enum decision)r->decision;
        enum reason reason = (enum reason)r->reason;
        if (kit.results.alarms_changed) applied();
        a.done(a.data, OK, index, decision, reason);
    }
    buffer_free(&a.evidence);
}

/* The pauses between attempts are over, and the timer came. */
static void tick(void)
{
    for (size_t i = 0; i < node.integrity->count; i++) node.integrity->kept[i]->next_ms = 0;
    node.integrity->timer.timer_cb(&node.integrity->timer);
}

static void settle(void)
{
    for (int i = 0; i < 12; i++) {
        do_writes();
        do_reads();
        do_request();
        tick();
    }
}

/* kill -9: what is not in the store is gone. */
static void drop(void)
{
    node.stopping = true;
    integrity_stop(&node);
    uv_run(&node.loop, UV_RUN_DEFAULT);
    while (write_count > 0) {
        struct state_write *w = writes[--write_count];
        w->done(w, ERR_STOPPED);
    }
    while (read_count > 0) {
        struct state_read *r = reads[--read_count];
        r->done(r, ERR_STOPPED);
    }
    if (asked.waits) asked.done(asked.data, ERR_STOPPED, 0, DECISION_DENIED, REASON_NONE);
    buffer_free(&asked.evidence);
    asked.waits = false;
    integrity_free(node.integrity);
    node.integrity = NULL;
    node.stopping = false;
}

static void start(void)
{
    kit_reopen(&kit); /* commits */
    quarantines = 0;
    node.store = kit.store;
    assert_int_equal(integrity_new(&node.integrity, &node), OK);
}

static int open_node(void **state)
{
    (void)state;
    kit_open(&kit, 4, 1, NONE);
    node = (struct node){.self = SELF, .genesis = kit.genesis, .ready = true};
    CHECK(uv_loop_init(&node.loop) == 0);
    busy = false;
    refuses = OK;
    asks = 0;
    start();
    settle();
    return 0;
}

static int close_node(void **state)
{
    (void)state;
    settle();
    drop();
    uv_loop_close(&node.loop);
    kit_close(&kit);
    return 0;
}

/* --- short ways --- */

static void find(enum alarm_kind kind, unsigned named, uint64_t first, uint64_t last)
{
    struct finding f = {.kind = kind, .named = named, .first = first, .last = last, .text = "found by a test"};
    struct buffer evidence = {0};
    if (kind == ALARM_FORKED) kit_evidence(&evidence, &kit, named, first);
    integrity_found(&node, &f, buffer_bytes(&evidence));
    buffer_free(&evidence);
}

static struct integrity_view view(void)
{
    struct integrity_view v;
    integrity_view(&node, &v);
    return v;
}

static size_t open_rows(struct alarm rows[static ALARMS_OPEN_MOST])
{
    size_t count;
    CHECK(state_alarms_open(rows, &count, kit.txn, ALARMS_OPEN_MOST) == OK);
    return count;
}

static size_t notes(void) { return (size_t)table_count(kit.txn, TABLE_FINDING); }

static uint64_t said_by(unsigned member, enum alarm_kind kind, unsigned named, uint64_t first, enum alarm_status status)
{
    struct kit_actor actor = kit_node(&kit, member);
    struct arguments a = {.action = ACTION_NODE_ALARM};
    struct buffer evidence = {0};
    if (kind == ALARM_FORKED) kit_evidence(&evidence, &kit, named, first);
    a.node_alarm = (struct args_node_alarm){kind, named, first, first, status, buffer_bytes(&evidence)};
    const struct ledger_result *r = kit_do(&kit, &actor, &a, NONE);
    CHECK(r->code == OK && r->reason == REASON_NONE);
    uint64_t index = r->leaf_index;
    buffer_free(&evidence);
    applied();
    return index;
}

static uint64_t raised_by(unsigned member, enum alarm_kind kind, unsigned named, uint64_t first)
{
    return said_by(member, kind, named, first, ALARM_OPEN);
}

static void cleared(uint64_t index)
{
    struct arguments a = {.action = ACTION_ALARM_CLEAR, .alarm_clear = {index}};
    const struct ledger_result *r = kit_do(&kit, &kit.root, &a, NONE);
    CHECK(r->code == OK && r->reason == REASON_NONE);
    applied();
}

static struct alarm rows[ALARMS_OPEN_MOST];

/* --- tests --- */

static void test_into_the_ledger(void **state)
{
    (void)state;
    size_t before = pushes;
    find(ALARM_MODIFIED, SELF, 10, 12);
    assert_true(view().own && view().count == 1 && view().alarms[0].index == 0); /* counts at once */
    assert_true(pushes > before);
    assert_int_equal(asks, 0); /* the note comes first */
    settle();
    assert_int_equal(open_rows(rows), 1);
    assert_true(rows[0].kind == ALARM_MODIFIED && rows[0].named == SELF && rows[0].raiser == SELF);
    assert_true(rows[0].first == 10 && rows[0].last == 12);
    assert_int_equal(view().count, 1);
    assert_int_equal(view().alarms[0].index, rows[0].index);
    assert_int_equal(notes(), 1);
    size_t asked_so_far = asks;
    find(ALARM_MODIFIED, SELF, 10, 11); /* known */
    settle();
    assert_int_equal(asks, asked_so_far);
    find(ALARM_MODIFIED, SELF, 10, 20); /* goes on */
    settle();
    assert_int_equal(open_rows(rows), 1);
    assert_int_equal(rows[0].last, 20);
    cleared(rows[0].index);
    settle();
    assert_int_equal(notes(), 0);
    assert_true(view().count == 0 && !view().own);
    find(ALARM_MODIFIED, SELF, 10, 20); /* the same again is another alarm */
    settle();
    assert_int_equal(open_rows(rows), 1);
}

static void test_kills(void **state)
{
    (void)state;
    find(ALARM_ROLLED_BACK, SELF, 5, 9);
    do_writes(); /* durable; and then the request is lost */
    assert_true(asked.waits);
    drop();
    start();
    assert_true(view().own); /* at once, from the note */
    settle();
    assert_int_equal(open_rows(rows), 1);
    /* the request got through, the answer did not */
    find(ALARM_DELETED, SELF, 7, 7);
    do_writes();
    assert_true(asked.waits);
    struct kit_actor self = kit_node(&kit, SELF);
    assert_int_equal(kit_do(&kit, &self, &asked.args, NONE)->reason, REASON_NONE);
    drop();
    start();
    size_t asked_so_far = asks;
    settle();
    assert_int_equal(open_rows(rows), 2);
    assert_int_equal(asks, asked_so_far); /* its row is read before anything is said */
    /* after any number of restarts: the same */
    for (int i = 0; i < 3; i++) {
        drop();
        start();
        settle();
    }
    assert_int_equal(open_rows(rows), 2);
    assert_int_equal(notes(), 2);
    assert_int_equal(asks, asked_so_far);
}

static void test_trouble(void **state)
{
    (void)state;
    busy = true; /* neither the note nor the read of the rows is taken */
    find(ALARM_MODIFIED, 3, 1, 1);
    settle();
    assert_int_equal(notes(), 0);
    busy = false;
    refuses = ERR_NO_QUORUM;
    settle();
    assert_int_equal(notes(), 1);
    assert_true(asks > 1);
    assert_int_equal(open_rows(rows), 0);
    size_t asked_so_far = asks;
    do_request();
    integrity_role(&node); /* another leader: at once */
    assert_true(asks > asked_so_far || asked.waits);
    refuses = OK;
    settle();
    assert_int_equal(open_rows(rows), 1);
}

/* However often it could not be raised: that it is repaired does not wait for that. */
static void test_repaired_after_trouble(void **state)
{
    (void)state;
    refuses = ERR_NO_QUORUM;
    find(ALARM_MODIFIED, SELF, 10, 10);
    integrity_repaired(&node, SELF, 10, 10);
    settle();
    assert_true(asks > 1 && asked.waits);
    refuses = OK;
    do_request(); /* raised; no pause is over */
    assert_int_equal(open_rows(rows), 1);
    assert_true(asked.waits);
    do_request();
    assert_int_equal(open_rows(rows), 0);
}

/* That another node is proved to lie explains nothing of this node's own. */
static void test_contradicted(void **state)
{
    (void)state;
    raised_by(2, ALARM_FORKED, 3, 41);
    settle();
    integrity_contradicted(&node, "a test says so");
    assert_true(view().own);
    settle();
    assert_int_equal(open_rows(rows), 2);
    integrity_contradicted(&node, "a test says so again"); /* known */
    settle();
    assert_int_equal(open_rows(rows), 2);
}

/* As long as it is not known whether a leader lied to it, nothing is said, nor kept over a restart. */
static void test_contradicted_so_far(void **state)
{
    (void)state;
    contradicted = true;
    quarantines = 1; /* by the driver itself */
    settle();
    assert_true(!view().own && !view().quarantined && notes() == 0);
    contradicted = false;
    settle();
    assert_true(view().own && view().quarantined && notes() == 1);
}

static void test_others_raise(void **state)
{
    (void)state;
    uint64_t index = raised_by(2, ALARM_DELETED, SELF, 40);
    settle();
    assert_true(view().own && view().count == 1); /* the ledger's word about this node */
    find(ALARM_DELETED, SELF, 40, 43); /* another's word: this node's own makes it count */
    settle();
    assert_true(asks == 1 && open_rows(rows) == 1 && rows[0].saying == (1u << 2 | 1u << SELF) && rows[0].last == 43);
    settle();
    assert_int_equal(asks, 1);
    integrity_repaired(&node, SELF, 0, UINT64_MAX);
    settle();
    assert_int_equal(asks, 2); /* its word is taken back; the other one stays */
    assert_true(open_rows(rows) == 1 && rows[0].saying == 1u << 2);
    assert_int_equal(notes(), 0);
    cleared(index);
    settle();
    asks = 0;
    /* about another node: nothing of ours to be kept */
    raised_by(2, ALARM_FORKED, 3, 41);
    settle();
    find(ALARM_FORKED, 3, 77, 77);
    settle();
    assert_true(asks == 0 && notes() == 0 && open_rows(rows) == 1);
}

static void test_repaired(void **state)
{
    (void)state;
    find(ALARM_MODIFIED, SELF, 50, 50);
    find(ALARM_MODIFIED, SELF, 60, 60);
    integrity_repaired(&node, SELF, 50, 50); /* before the ledger has heard of it */
    settle();
    assert_int_equal(open_rows(rows), 1);
    assert_int_equal(rows[0].first, 60);
    struct alarm a;
    assert_int_equal(state_alarm_last(&a, kit.txn, ALARM_MODIFIED, SELF, 50), OK);
    assert_int_equal(a.status, ALARM_REPAIRED); /* it was told, and closed */
    integrity_repaired(&node, SELF, 0, UINT64_MAX);
    settle();
    assert_true(open_rows(rows) == 0 && notes() == 0 && view().count == 0);
    find(ALARM_FORKED, 2, 1, 1);
    settle();
    integrity_repaired(&node, 2, 0, UINT64_MAX);
    settle();
    assert_int_equal(open_rows(rows), 1); /* what signatures prove stays */
}

/* What another node says of a third counts only with this node's word, if it finds the same. */
static void test_words_of_two(void **state)
{
    (void)state;
    raised_by(2, ALARM_MODIFIED, 3, 42);
    settle();
    assert_int_equal(asks, 0); /* what it has not found it does not say */
    find(ALARM_MODIFIED, 3, 42, 42);
    settle();
    assert_true(asks == 1 && open_rows(rows) == 1 && rows[0].saying == (1u << 2 | 1u << SELF) && rows[0].raiser == 2);
    raised_by(2, ALARM_MODIFIED, 3, 43);
    raised_by(4, ALARM_MODIFIED, 3, 43);
    settle();
    find(ALARM_MODIFIED, 3, 43, 43); /* counts already */
    settle();
    assert_true(asks == 1 && notes() == 1);
    /* a kill between the word and its answer: said once, and taken back */
    drop();
    start();
    settle();
    assert_true(asks == 1 && notes() == 1);
    integrity_repaired(&node, 3, 42, 42);
    settle();
    assert_true(asks == 2 && notes() == 0 && open_rows(rows) == 2 && rows[0].saying == 1u << 2);
    said_by(2, ALARM_MODIFIED, 3, 42, ALARM_REPAIRED);
    settle();
    assert_int_equal(open_rows(rows), 1);
}

/* Repaired while its word was on the way: that is taken back as well. */
static void test_repaired_meanwhile(void **state)
{
    (void)state;
    raised_by(2, ALARM_MODIFIED, 3, 44);
    settle();
    find(ALARM_MODIFIED, 3, 44, 44);
    do_writes();
    assert_true(asked.waits);
    integrity_repaired(&node, 3, 44, 44);
    do_writes();
    assert_int_equal(notes(), 1);
    settle();
    assert_true(open_rows(rows) == 1 && rows[0].saying == 1u << 2 && notes() == 0);
}

/* Its store was made anew: no note is left of alarms that it raised. */
static void test_no_note_left(void **state)
{
    (void)state;
    raised_by(SELF, ALARM_MODIFIED, SELF, 70);
    raised_by(SELF, ALARM_ROLLED_BACK, SELF, 71);
    raised_by(SELF, ALARM_MODIFIED, 2, 72);
    node.ready = false;
    settle();
    assert_int_equal(open_rows(rows), 3);
    node.ready = true;
    settle();
    assert_int_equal(open_rows(rows), 2);
    assert_int_equal(rows[0].first, 71);
    integrity_repaired(&node, 2, 72, 72);
    settle();
    assert_int_equal(open_rows(rows), 1);
}

static void test_bounds(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 100; i++) find(ALARM_FORKED, 2, i, i); /* one fact */
    for (unsigned i = 0; i < 100; i++) find(ALARM_MODIFIED, 3, i, i);
    assert_int_equal(view().count, 1 + FINDINGS_PER_NODE);
    for (unsigned i = 0; i < 100; i++) find(ALARM_DELETED, SELF, i, i);
    assert_int_equal(view().count, INTEGRITY_FINDINGS);
    assert_true(view().alarms[0].named == SELF && view().own); /* own first */
    for (int i = 0; i < 20; i++) settle();
    assert_int_equal(open_rows(rows), INTEGRITY_FINDINGS);
    assert_int_equal(notes(), INTEGRITY_FINDINGS);
}

/* --- what is shown first --- */

static struct alarm row_of(enum alarm_kind kind, unsigned named, uint32_t saying, uint64_t index)
{
    struct alarm a = {.index = index, .kind = kind, .named = named, .saying = saying, .first = index, .last = index};
    while (!alarm_says(&a, a.raiser)) a.raiser++;
    return a;
}

/* One liar accuses this node, or others, as often as it may, and calls itself damaged as often. */
static void test_liar_floods(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ALARM_OPEN_MOST; i++) raised_by(3, i % 2 ? ALARM_MODIFIED : ALARM_DELETED, SELF, 100 + i);
    raised_by(2, ALARM_FORKED, 3, 200);
    raised_by(2, ALARM_MODIFIED, 4, 201);
    settle();
    assert_int_equal(view().count, ALARM_OPEN_MOST + 2);
    assert_true(view().alarms[0].kind == ALARM_FORKED && view().alarms[0].named == 3); /* what convicts it */
    assert_true(view().alarms[1].named == SELF && view().alarms[1].raiser == 3 && view().own);
    assert_true(view().alarms[2].named == 4 && view().alarms[2].raiser == 2); /* each who accuses is heard */
}

static void test_order(void **state)
{
    (void)state;
    struct alarm all[200];
    size_t count = 0;
    /* member 3 lies: 64 times about itself, and 64 times about member 2 */
    for (unsigned i = 0; i < 64; i++) all[count++] = row_of(ALARM_MODIFIED, 3, 1u << 3, 1 + i);
    for (unsigned i = 0; i < 64; i++) all[count++] = row_of(ALARM_DELETED, 2, 1u << 3, 100 + i);
    all[count++] = row_of(ALARM_MODIFIED, 4, 1u << 1, 200); /* two words in two rows */
    all[count++] = row_of(ALARM_MODIFIED, 4, 1u << 1, 201);
    all[count++] = row_of(ALARM_DELETED, 4, 1u << 2, 202);
    all[count++] = row_of(ALARM_MODIFIED, 5, 1u << 1 | 1u << 2, 203);
    all[count++] = row_of(ALARM_FORKED, 5, 1u << 1, 204);
    all[count++] = row_of(ALARM_MODIFIED, 2, 1u << 5, 205); /* a named node's word is one, too */
    integrity_order(all, count, 1, 1);
    /* named are 2 (by 3 and 5 together), 3, 4 and 5: what convicts them comes before the rest */
    uint32_t named = 0;
    size_t convicting = 6; /* two rows each of 2 and 4, one of 3 and of 5 */
    for (size_t i = 0; i < convicting; i++) named |= 1u << all[i].named;
    assert_int_equal(named, 1u << 2 | 1u << 3 | 1u << 4 | 1u << 5);
    for (size_t i = 0; i < convicting; i++)
        if (all[i].named == 5) assert_int_equal(all[i].kind, ALARM_FORKED);
    /* then a round of each that is named */
    named = 0;
    for (size_t i = convicting; i < convicting + 4; i++) named |= 1u << all[i].named;
    assert_int_equal(named, 1u << 2 | 1u << 3 | 1u << 4 | 1u << 5);
    /* nothing is lost, or there twice */
    uint64_t sum = 0;
    for (size_t i = 0; i < count; i++) sum += all[i].index;
    assert_int_equal(sum, 64 * 1 + 63 * 32 + 64 * 100 + 63 * 32 + 200 + 201 + 202 + 203 + 204 + 205);
    /* a node's word about itself makes nothing else count */
    struct alarm few[] = {row_of(ALARM_MODIFIED, 2, 1u << 3, 1), row_of(ALARM_MODIFIED, 2, 1u << 3, 2),
                          row_of(ALARM_MODIFIED, 2, 1u << 2, 3)};
    integrity_order(few, 3, 2, 1);
    assert_true(few[0].index == 3 && few[1].index == 1 && few[2].index == 2);
    integrity_order(few, 0, 2, 1);
}

/* --- quarantine --- */

static void test_quarantine(void **state)
{
    (void)state;
    integrity_quarantine(&node, "its root differs");
    assert_true(quarantines == 1 && view().quarantined && view().own && view().count == 1 && !node.ready);
    settle();
    assert_int_equal(asks, 0); /* it can't */
    struct peer_findings said;
    integrity_own(&node, &said);
    assert_true(said.quarantined && said.count == 1 && said.own[0].kind == ALARM_MODIFIED);
    drop();
    start();
    assert_true(quarantines == 1 && view().quarantined && view().own);
    settle();
    assert_int_equal(asks, 0);
    struct buffer out = {0};
    integrity_own_encode(&out, &said);
    struct unpack u = unpack_start(buffer_bytes(&out));
    struct peer_findings back;
    integrity_own_decode(&back, &u);
    assert_int_equal(unpack_done(&u), OK);
    assert_true(back.quarantined && back.count == 1 && back.own[0].first == said.own[0].first);
    buffer_free(&out);
}

/* Parts of the driver quarantine by themselves. */
static void test_quarantined_elsewhere(void **state)
{
    (void)state;
    driver_quarantine(NULL, "why");
    tick();
    assert_true(view().quarantined && view().own);
}

static void test_peers_finding(void **state)
{
    (void)state;
    struct peer_findings said = {.count = 1, .own = {{.kind = ALARM_MODIFIED, .first = 3, .last = 4}}};
    integrity_peer(&node, 4, &said, true); /* it can say so itself */
    settle();
    assert_int_equal(asks, 0);
    said.quarantined = true;
    for (int i = 0; i < 5; i++) integrity_peer(&node, 4, &said, false);
    settle();
    assert_int_equal(open_rows(rows), 1);
    assert_true(rows[0].named == 4 && rows[0].raiser == SELF && rows[0].first == 3 && rows[0].last == 4);
    /* an administrator clears it: the peer says it still, and it is not raised anew */
    cleared(rows[0].index);
    settle();
    integrity_peer(&node, 4, &said, false);
    settle();
    assert_int_equal(open_rows(rows), 0);
    /* that a quarantined node says it was forked is nothing: whoever has evidence has it from elsewhere */
    said.own[0] = (struct alarm){.kind = ALARM_FORKED, .first = 9, .last = 9};
    integrity_peer(&node, 4, &said, false);
    settle();
    assert_int_equal(open_rows(rows), 0);
    said.own[0].kind = ALARM_MODIFIED;
    /* a liar makes up more and more, and falls ill again and again */
    for (unsigned i = 0; i < 50; i++) {
        said.own[0].first = said.own[0].last = 100 + i;
        said.quarantined = true;
        integrity_peer(&node, 4, &said, false);
        integrity_peer(&node, 4, &(struct peer_findings){0}, true);
        settle();
    }
    assert_int_equal(open_rows(rows), 0); /* well again: closed */
    struct alarm all[64];
    size_t count;
    assert_int_equal(state_alarms_page(all, &count, kit.txn, UINT64_MAX, 64), OK);
    assert_int_equal(count, PEER_FINDINGS);
}

/* --- notes --- */

static void test_carried(void **state)
{
    (void)state;
    find(ALARM_MODIFIED, SELF, 80, 80);
    find(ALARM_FORKED, 2, 81, 81);
    do_writes();
    struct kit other;
    kit_open_empty(&other, &kit);
    assert_int_equal(integrity_carry(other.txn, kit.txn), OK);
    assert_int_equal(table_count(other.txn, TABLE_FINDING), 2);
    /* as if the node went on with the new store */
    struct buffer row = {0};
    struct table_cursor *c;
    assert_int_equal(table_cursor_open(&c, other.txn, TABLE_FINDING), OK);
    for (enum err e = table_cursor_seek(c, NONE); e == OK; e = table_cursor_next(c)) {
        assert_int_equal(table_cursor_value(c, &row), OK);
        assert_int_equal(table_put(kit.txn, TABLE_FINDING, table_cursor_key(c), buffer_bytes(&row)), OK);
    }
    table_cursor_close(c);
    buffer_free(&row);
    kit_close(&other);
    drop();
    node.ready = false;
    start();
    settle();
    assert_int_equal(open_rows(rows), 2); /* told in each case, and closed once all is there again */
    node.ready = true;
    settle();
    assert_int_equal(open_rows(rows), 1);
    assert_int_equal(rows[0].kind, ALARM_FORKED);
}

static void test_damaged_notes(void **state)
{
    (void)state;
    find(ALARM_MODIFIED, SELF, 90, 90);
    do_writes();
    struct buffer row = {0};
    uint8_t key[10] = {ALARM_MODIFIED, SELF};
    put_be64(key + 2, 90);
    assert_int_equal(table_get(kit.txn, TABLE_FINDING, BYTES(key), &row), OK);
    for (size_t size = 0; size < row.size; size++) {
        assert_int_equal(table_put(kit.txn, TABLE_FINDING, BYTES(key), bytes_of(row.data, size)), OK);
        drop();
        start();
        assert_int_equal(view().count, 0);
    }
    assert_int_equal(table_put(kit.txn, TABLE_FINDING, BYTES(key), buffer_bytes(&row)), OK);
    key[0] = 9; /* no kind */
    assert_int_equal(table_put(kit.txn, TABLE_FINDING, BYTES(key), buffer_bytes(&row)), OK);
    assert_int_equal(table_put(kit.txn, TABLE_BLOB, bytes_text("quarantine"), bytes_text("x")), OK);
    drop();
    start();
    assert_int_equal(view().count, 1);
    assert_true(view().quarantined); /* damaged, but it was there */
    buffer_free(&row);
}

/* Killed after the repair, and before its end was written down: nothing finds that again. */
static void test_killed_before_the_end(void **state)
{
    (void)state;
    find(ALARM_DELETED, SELF, 8, 8);
    find(ALARM_MODIFIED, SELF, 9, 9);
    find(ALARM_ROLLED_BACK, SELF, 5, 9); /* no matter of data */
    settle();
    drop();
    start();
    settle();
    assert_int_equal(open_rows(rows), 3);
    find(ALARM_MODIFIED, SELF, 9, 9); /* in hand again: whoever found it says when it is over */
    find(ALARM_MODIFIED, SELF, 10, 10);
    settle();
    integrity_scrubbed(&node);
    settle();
    assert_int_equal(open_rows(rows), 3);
    assert_int_equal(notes(), 3);
    for (size_t at = 0; at < 3; at++) assert_int_not_equal(rows[at].kind, ALARM_DELETED);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, open_node, close_node)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_into_the_ledger), TEST(test_kills),      TEST(test_trouble),
        TEST(test_repaired_after_trouble), TEST(test_contradicted), TEST(test_contradicted_so_far),
        TEST(test_others_raise),    TEST(test_repaired),   TEST(test_no_note_left),
        TEST(test_killed_before_the_end),
        TEST(test_words_of_two),    TEST(test_repaired_meanwhile),
        TEST(test_liar_floods),     TEST(test_order),
        TEST(test_bounds),          TEST(test_quarantine), TEST(test_quarantined_elsewhere),
        TEST(test_peers_finding),   TEST(test_carried),    TEST(test_damaged_notes),
    };
    return cmocka_run_group_tests_name("node/integrity", tests, NULL, NULL);
}
