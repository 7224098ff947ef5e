/* What a node makes of the others' state digests and of its own: who is named, who is well
 * again, what is kept, what is handed out. Everything around the desk is played here. */
#include "node/digest.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "consensus/node_request.h"
#include "crypto/random.h"
#include "ledger/state_digest.h"
#include "ledger/tables.h"
#include "node/digest_scan.h"
#include "node/integrity.h"
#include "node/session.h"
#include "tests/lib/folder.h"
#define PACED_CLOCK_FAST 1000
#include "tests/lib/paced_clock.h"
#include "tests/lib/samples.h"
#include "tests/lib/unit.h"

#define N 4
#define SELF 1

static struct node node;
static struct config config;
static struct node_secrets secrets[N + 1];
static struct buffer genesis_text;
static char folder[FOLDER_PATH];

/* --- what stands around it --- */

static struct finding found[16];
static size_t found_count, quarantines, ended, asked;
static struct {
    unsigned named;
    uint64_t from, to;
} repaired[16];
static size_t repaired_count;
static size_t sent[N + 1];
static struct driver_status status;
static node_request_done asked_done;
static void *asked_data;
static struct buffer answer;
static enum err failed;
static struct alarm alarms[2]; /* open ones */
static size_t row_count;

void integrity_view(const struct node *n, struct integrity_view *out)
{
    (void)n;
    *out = (struct integrity_view){.count = row_count, .alarms = alarms, .quarantined = status.quarantined};
}

void integrity_found(struct node *n, const struct finding *f, struct bytes evidence)
{
    (void)n, (void)evidence;
    CHECK(found_count < 16);
    found[found_count++] = *f;
}

void integrity_repaired(struct node *n, unsigned named, uint64_t from, uint64_t to)
{
    (void)n;
    CHECK(repaired_count < 16);
    repaired[repaired_count].named = named;
    repaired[repaired_count].from = from;
    repaired[repaired_count++].to = to;
}

void integrity_quarantine(struct node *n, const char *why)
{
    (void)n;
    CHECK(strstr(why, "rebuild"));
    quarantines++;
}

enum err peers_send(struct peers *p, uint32_t index, uint32_t type, uint64_t id, struct bytes body)
{
    struct state_statement s;
    (void)p, (void)type, (void)id;
    CHECK(index >= 1 && index <= N && index != SELF);
    CHECK(state_statement_decode(&s, body) == OK && s.member == SELF);
    CHECK(state_statement_verify(&s, &node.genesis) == OK);
    sent[index]++;
    return OK;
}

enum err driver_write(struct driver *d, struct state_write *w)
{
    struct table_txn *txn;
    (void)d;
    CHECK(store_begin_write(&txn, node.store) == OK);
    enum err e = w->run(w, txn, NULL);
    CHECK(e == OK && store_commit(txn) == OK);
    w->done(w, e);
    return OK;
}

enum err driver_read(struct driver *d, struct state_read *r)
{
    struct table_txn *txn;
    (void)d;
    CHECK(store_begin_read(&txn, node.store) == OK);
    enum err e = r->run(r, txn);
    store_abort(txn);
    r->done(r, e);
    return OK;
}

void driver_status(const struct driver *d, struct driver_status *out)
{
    (void)d;
    *out = status;
}

void driver_digest_ended(struct driver *d)
{
    (void)d;
    ended++;
}

enum err node_request_submit(const struct node_signer *signer, enum action action, struct bytes args,
                             struct bytes attachment, void *data, node_request_done done)
{
    static const uint8_t none[] = {0x90};
    CHECK(signer->self == SELF && action == ACTION_NODE_DIGEST && bytes_equal(args, BYTES(none)));
    CHECK(attachment.size == 0);
    asked++;
    asked_done = done;
    asked_data = data;
    return OK;
}

void session_send(struct session *s, uint32_t type, uint64_t id, const struct buffer *body)
{
    (void)s;
    CHECK(type == MESSAGE_DIGESTS_OK && id == 7 && !body->failed);
    buffer_clear(&answer);
    buffer_append_bytes(&answer, buffer_bytes(body));
}

void session_fail(struct session *s, uint64_t id, enum err code, const char *text, uint64_t retry_after_ms)
{
    (void)s, (void)id, (void)text, (void)retry_after_ms;
    failed = code;
}

/* --- a node with a store --- */

static void open_desk(void)
{
    struct failure failure = {0};
    assert_int_equal(digest_new(&node.digest, &node, &failure), OK);
}

static void close_desk(void)
{
    digest_stop(&node);
    uv_run(&node.loop, UV_RUN_DEFAULT);
    digest_free(node.digest);
    node.digest = NULL;
}

static void restart(void)
{
    close_desk();
    open_desk();
}

static int setup(void **state)
{
    (void)state;
    static struct seal_key key = {{7}};
    struct failure failure = {0};
    memset(&node, 0, sizeof node);
    found_count = repaired_count = quarantines = ended = asked = row_count = 0;
    memset(sent, 0, sizeof sent);
    sample_genesis_parsed(&node.genesis, &genesis_text, N, 1);
    for (uint32_t i = 1; i <= N; i++) sample_node_secrets(&secrets[i], i);
    config_defaults(&config);
    config.digest_seconds.number = 0;
    node.config = &config;
    node.self = SELF;
    node.identity.secrets = &secrets[SELF];
    node.ready = true;
    status = (struct driver_status){.leads = true, .leader = SELF};
    CHECK(uv_loop_init(&node.loop) == 0);
    folder_make(folder, 1);
    struct store_options options = {.directory = folder, .tables = ledger_tables, .table_count = ledger_tables_count,
                                    .key = &key, .map_size = 64 * MIB, .watermark = 1};
    CHECK(store_open(&node.store, &options, &failure) == OK);
    open_desk();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    close_desk();
    store_close(node.store);
    CHECK(uv_loop_close(&node.loop) == 0);
    folder_remove(folder);
    buffer_free(&genesis_text);
    buffer_free(&answer);
    return 0;
}

/* --- statements --- */

/* 0: none, as a reason why not. */
static struct state_statement statement(unsigned member, uint64_t leaf, unsigned content)
{
    struct state_statement s = {.member = member, .leaf = leaf, .size = leaf + 1};
    s.outcome = content ? STATE_COMPUTED : STATE_BUSY;
    if (content) {
        s.digest.count = 2;
        s.digest.tables[0] = (struct table_digest){TABLE_LEAF, leaf + 1, sample_digest(1)};
        s.digest.tables[1] = (struct table_digest){TABLE_USER, 5, sample_digest(content)};
    }
    state_statement_sign(&s, &node.genesis, &secrets[member].message);
    return s;
}

static void hear_as(unsigned from, const struct state_statement *s)
{
    struct buffer body = {0};
    state_statement_encode(&body, s);
    digest_message(&node, from, buffer_bytes(&body));
    buffer_free(&body);
}

static void hear(unsigned member, uint64_t leaf, unsigned content)
{
    struct state_statement s = statement(member, leaf, content);
    hear_as(member, &s);
}

/* This node applies a leaf that asks, over what stands in its store, and digests. */
static void digest_own(uint64_t leaf)
{
    struct driver_digest d = {.leaf = leaf, .size = leaf + 1, .time_ms = clock_wall_ms()};
    size_t before = ended;
    CHECK(store_begin_read(&d.snapshot, node.store) == OK);
    digest_begin(&node, &d);
    while (ended == before) uv_run(&node.loop, UV_RUN_ONCE);
}

static void not_own(uint64_t leaf)
{
    digest_begin(&node, &(struct driver_digest){.time_ms = clock_wall_ms(), .leaf = leaf, .size = leaf + 1,
                                                .code = ERR_BUSY});
}

static void put_user(const char *value)
{
    struct table_txn *txn;
    CHECK(store_begin_write(&txn, node.store) == OK);
    CHECK(table_put(txn, TABLE_USER, bytes_text("0123456789abcdef"), bytes_text(value)) == OK);
    CHECK(store_commit(txn) == OK);
}

/* What a node with that in its store says. */
static struct state_statement as_stored(unsigned member, uint64_t leaf)
{
    struct table_txn *txn;
    struct state_statement s = {.member = member, .leaf = leaf, .size = leaf + 1};
    CHECK(store_begin_read(&txn, node.store) == OK);
    CHECK(state_digest_now(&s.digest, txn) == OK);
    store_abort(txn);
    state_statement_sign(&s, &node.genesis, &secrets[member].message);
    return s;
}

/* The loop turns for so long, of real time, which the desk's clock doesn't follow. */
static void turn(unsigned ms)
{
    uint64_t end = paced_real_ns() + ms * UINT64_C(1000000);
    while (paced_real_ns() < end) {
        uv_run(&node.loop, UV_RUN_NOWAIT);
        uv_sleep(10);
    }
}

static void later(unsigned seconds)
{
    uint64_t end = clock_monotonic_ns() + seconds * UINT64_C(1000000000);
    while (clock_monotonic_ns() < end) {
        paced_clock_turn();
        uv_sleep(5);
    }
    turn(1200);
}

/* --- who is named --- */

static void who_differs_from_those_who_are_right_is_named_once(void **state)
{
    (void)state;
    not_own(10);
    hear(2, 10, 1);
    hear(3, 10, 2);
    assert_int_equal(found_count, 0); /* nobody knows yet who is right */
    hear(4, 10, 3);
    assert_int_equal(found_count, 0); /* nor then */
    put_user("as it must be");
    uint64_t leaf = 11;
    struct state_statement good2 = as_stored(2, leaf), good4 = as_stored(4, leaf);
    hear_as(2, &good2);
    hear(3, leaf, 2);
    hear_as(4, &good4);
    digest_own(leaf);
    assert_int_equal(found_count, 1);
    assert_int_equal(found[0].named, 3);
    assert_int_equal(found[0].kind, ALARM_MODIFIED);
    assert_int_equal(found[0].first, leaf);
    assert_non_null(strstr(found[0].text, "user"));
    leaf = 12; /* still so: the same finding, told once more, should somebody have closed it */
    good2 = as_stored(2, leaf), good4 = as_stored(4, leaf);
    hear_as(4, &good4);
    digest_own(leaf);
    hear_as(2, &good2);
    hear(3, leaf, 5);
    hear(3, leaf, 6);
    assert_int_equal(found_count, 2);
    assert_true(found[1].named == 3 && found[1].first == 11 && found[1].last == 11);
    assert_int_equal(quarantines, 0);
    leaf = 13; /* rebuilt */
    struct state_statement good3 = as_stored(3, leaf);
    good2 = as_stored(2, leaf);
    digest_own(leaf);
    hear_as(3, &good3);
    assert_int_equal(repaired_count, 0);
    hear_as(2, &good2);
    assert_int_equal(repaired_count, 1);
    assert_int_equal(repaired[0].named, 3);
    assert_int_equal(repaired[0].from, 11);
    assert_int_equal(repaired[0].to, 11);
}

/* Of two that say the same one is honest and well, for one at most is not. */
static void more_than_may_be_wrong_name_a_node(void **state)
{
    (void)state;
    not_own(10);
    hear(2, 10, 1);
    hear(3, 10, 2);
    hear(4, 10, 1);
    assert_int_equal(found_count, 1);
    assert_int_equal(found[0].named, 3);
    assert_non_null(strstr(found[0].text, "2 other nodes"));
    not_own(11);
    hear(3, 11, 1);
    assert_int_equal(repaired_count, 0);
    hear(4, 11, 1);
    assert_int_equal(repaired_count, 1); /* whatever the others say now, they are not two */
    assert_int_equal(quarantines, 0);
}

static void two_that_agree_make_a_third_leave(void **state)
{
    (void)state;
    put_user("altered");
    digest_own(20);
    hear(2, 20, 1);
    hear(3, 20, 1);
    assert_int_equal(quarantines, 0); /* the fourth may say what this one says */
    hear(4, 20, 0);
    assert_int_equal(quarantines, 1);
    assert_int_equal(found_count, 1);
    assert_int_equal(found[0].named, SELF);
}

static void the_silent_are_not_waited_for_for_ever(void **state)
{
    (void)state;
    put_user("altered");
    digest_own(20);
    hear(2, 20, 1);
    hear(3, 20, 1);
    later(30);
    assert_int_equal(quarantines, 0);
    restart();
    later(40); /* what was heard so long ago is not taken for old news: nobody was told */
    assert_int_equal(quarantines, 0);
    later(30);
    assert_int_equal(quarantines, 1);
    assert_int_equal(found_count, 1);
    later(70);
    assert_int_equal(quarantines, 1);
}

/* A liar that says what a damaged node says, and is faster than the honest ones. */
static void of_two_groups_nobody_is_named(void **state)
{
    (void)state;
    put_user("as it must be");
    for (uint64_t leaf = 20; leaf < 22; leaf++) {
        struct state_statement good2 = as_stored(2, leaf);
        digest_own(leaf);
        hear(3, leaf, 1);
        hear(4, leaf, 1);
        assert_int_equal(quarantines, 0);
        hear_as(2, &good2);
    }
    later(61);
    assert_int_equal(quarantines + found_count + repaired_count, 0);
}

/* What was open of a round is settled by a later one: the node was rebuilt meanwhile. */
static void a_later_round_counts(void **state)
{
    (void)state;
    put_user("as it must be");
    struct state_statement good[N + 1];
    digest_own(20);
    good[2] = as_stored(2, 20);
    hear_as(2, &good[2]);
    hear(3, 20, 1);
    digest_own(21);
    for (unsigned i = 2; i <= N; i++) {
        good[i] = as_stored(i, 21);
        hear_as(i, &good[i]);
    }
    later(61);
    assert_int_equal(found_count + quarantines, 0);
}

static void one_that_differs_from_k_others_leaves_itself(void **state)
{
    (void)state;
    put_user("altered");
    digest_own(20);
    for (unsigned i = 2; i <= N; i++) assert_int_equal(sent[i], 1);
    hear(2, 20, 1);
    hear(3, 20, 1);
    assert_int_equal(quarantines, 0);
    hear(4, 20, 1);
    assert_int_equal(quarantines, 1);
    assert_int_equal(found_count, 1);
    assert_int_equal(found[0].named, SELF);
    digest_own(21);
    for (unsigned i = 2; i <= N; i++) hear(i, 21, 1);
    assert_int_equal(quarantines, 1);
    assert_int_equal(found_count, 1);
}

static void without_a_digest_nobody_differs(void **state)
{
    (void)state;
    not_own(30);
    hear(2, 30, 1);
    hear(3, 30, 1);
    hear(4, 30, 1);
    not_own(31);
    hear(2, 31, 0);
    hear(3, 31, 0);
    hear(4, 31, 0);
    assert_int_equal(found_count + quarantines + repaired_count, 0);
}

/* Altered, named, rebuilt, and asked about the same leaf again. */
static void the_last_word_counts(void **state)
{
    (void)state;
    not_own(40);
    put_user("as it must be");
    struct state_statement good2 = as_stored(2, 41), good3 = as_stored(3, 41), good4 = as_stored(4, 41);
    hear(2, 41, 1);
    hear(2, 41, 1); /* the same again */
    hear_as(3, &good3);
    hear_as(4, &good4);
    digest_own(41);
    assert_int_equal(found_count, 1);
    assert_int_equal(found[0].named, 2);
    hear(2, 41, 2); /* another wrong one */
    assert_int_equal(found_count, 1);
    assert_int_equal(repaired_count, 0);
    hear_as(2, &good2);
    assert_int_equal(found_count, 1);
    assert_int_equal(found[0].kind, ALARM_MODIFIED);
    assert_int_equal(repaired_count, 1);
}

static size_t kept_rows(void)
{
    struct table_txn *txn;
    CHECK(store_begin_read(&txn, node.store) == OK);
    size_t count = (size_t)table_count(txn, TABLE_STATEMENT);
    store_abort(txn);
    return count;
}

/* A liar that takes its word back again and again fills neither ledgers nor mailboxes: a few times for each leaf, and
 * one finding for a day. */
static void who_comes_and_goes_is_one_finding(void **state)
{
    (void)state;
    put_user("as it must be");
    for (uint64_t leaf = 60; leaf < 63; leaf++) {
        size_t found_before = found_count, repaired_before = repaired_count;
        struct state_statement good2 = as_stored(2, leaf), good3 = as_stored(3, leaf), good4 = as_stored(4, leaf);
        hear_as(3, &good3);
        hear_as(4, &good4);
        digest_own(leaf);
        for (unsigned i = 0; i < 20; i++) {
            hear(2, leaf, 1 + i);
            hear_as(2, &good2);
        }
        assert_true(found_count <= found_before + 2);
        assert_true(repaired_count <= repaired_before + 1);
        hear(2, leaf - 1, 99); /* nor of the leaf before */
        assert_true(found_count <= found_before + 2);
    }
    assert_true(found_count >= 3); /* and it is seen in each round */
    for (size_t i = 0; i < found_count; i++) assert_int_equal(found[i].first, 60);
    for (size_t i = 0; i < repaired_count; i++) assert_int_equal(repaired[i].from, 60);
    assert_int_equal(kept_rows(), 12);
}

/* A block that is applied again, or long after the others did: nobody waits for it. */
static void an_old_leaf_is_not_answered(void **state)
{
    (void)state;
    struct driver_digest d = {.leaf = 45, .size = 46, .time_ms = clock_wall_ms() - 3600 * 1000};
    CHECK(store_begin_read(&d.snapshot, node.store) == OK);
    digest_begin(&node, &d);
    assert_int_equal(ended, 1);
    d.snapshot = NULL, d.code = ERR_BUSY;
    digest_begin(&node, &d);
    assert_int_equal(ended, 1);
    assert_int_equal(sent[2], 0);
}

static void only_its_own_word_counts(void **state)
{
    (void)state;
    struct state_statement s = statement(3, 50, 1);
    hear_as(2, &s); /* passed on as its own */
    s.member = 2;
    hear_as(2, &s); /* ... and signed by another */
    digest_message(&node, 2, bytes_text("no statement"));
    not_own(50);
    struct message_digests question = {50};
    struct buffer body = {0};
    struct session session = {.node = &node};
    struct message_digests_ok ok;
    message_digests_encode(&body, &question);
    digest_serve(&session, 7, buffer_bytes(&body));
    assert_int_equal(message_digests_ok_decode(&ok, buffer_bytes(&answer)), OK);
    assert_int_equal(ok.leaf, 50);
    assert_int_equal(ok.count, 1); /* its own */
    buffer_free(&body);
}

/* --- what is kept and handed out --- */

static uint64_t serve(uint64_t leaf, uint32_t *count)
{
    struct buffer body = {0};
    struct session session = {.node = &node};
    struct message_digests_ok ok;
    message_digests_encode(&body, &(struct message_digests){leaf});
    digest_serve(&session, 7, buffer_bytes(&body));
    buffer_free(&body);
    assert_int_equal(message_digests_ok_decode(&ok, buffer_bytes(&answer)), OK);
    for (uint32_t i = 0; i < ok.count; i++) {
        struct state_statement s;
        assert_int_equal(state_statement_decode(&s, ok.statements[i]), OK);
        assert_int_equal(state_statement_verify(&s, &node.genesis), OK);
        assert_int_equal(s.leaf, ok.leaf);
    }
    *count = ok.count;
    return ok.leaf;
}

static uint64_t stored(void)
{
    struct table_txn *txn;
    CHECK(store_begin_read(&txn, node.store) == OK);
    uint64_t rows = table_count(txn, TABLE_STATEMENT);
    store_abort(txn);
    return rows;
}

static void rounds_are_kept_through_a_restart(void **state)
{
    (void)state;
    uint32_t count;
    assert_int_equal(serve(0, &count), 0);
    hear(2, 60, 1); /* it is ahead of this node */
    assert_int_equal(stored(), 0);
    not_own(60);
    hear(3, 60, 1);
    not_own(65);
    hear(4, 65, 1);
    assert_int_equal(stored(), 5);
    restart();
    assert_int_equal(serve(1, &count), 60);
    assert_int_equal(count, 3);
    assert_int_equal(serve(61, &count), 65);
    assert_int_equal(count, 2);
    assert_int_equal(serve(0, &count), 65);
    assert_int_equal(serve(66, &count), 0);
    assert_int_equal(count, 0);
}

static void a_restart_tells_nothing_twice(void **state)
{
    (void)state;
    put_user("as it must be");
    struct state_statement good2 = as_stored(2, 70), good4 = as_stored(4, 70);
    digest_own(70);
    hear_as(2, &good2);
    hear_as(4, &good4);
    hear(3, 70, 2);
    assert_int_equal(found_count, 1);
    restart();
    assert_int_equal(found_count, 1);
    good2 = as_stored(2, 71), good4 = as_stored(4, 71);
    struct state_statement good3 = as_stored(3, 71);
    digest_own(71);
    hear_as(2, &good2);
    hear_as(3, &good3);
    assert_int_equal(found_count, 1);
    assert_int_equal(repaired_count, 1);
    assert_int_equal(repaired[0].from, 70);
}

static void one_member_cannot_push_out_the_others(void **state)
{
    (void)state;
    uint32_t count;
    not_own(80);
    hear(2, 80, 1);
    for (unsigned i = 0; i < 5 * DIGEST_ROUNDS; i++) hear(3, 1000000 + i, 1);
    assert_int_equal(stored(), 2);
    assert_int_equal(serve(0, &count), 80);
    assert_int_equal(count, 2);
    for (uint64_t leaf = 90; leaf < 90 + 5 * DIGEST_ROUNDS; leaf++) {
        not_own(leaf);
        hear(2, leaf, 1);
        hear(4, leaf, 1);
    }
    assert_true(stored() <= DIGEST_ROUNDS * LIMIT_NODES);
    restart();
    assert_int_equal(serve(0, &count), 90 + 5 * DIGEST_ROUNDS - 1);
    assert_int_equal(count, 3);
}

/* --- scanning --- */

static void a_link_that_comes_up_hears_the_newest(void **state)
{
    (void)state;
    digest_peer_up(&node, 2);
    assert_int_equal(sent[2], 0);
    not_own(100);
    assert_int_equal(sent[2], 1);
    digest_peer_up(&node, 2);
    assert_int_equal(sent[2], 2);
    assert_int_equal(sent[3], 1);
}

static void a_stop_ends_a_scan(void **state)
{
    (void)state;
    struct driver_digest d = {.leaf = 110, .size = 111, .time_ms = clock_wall_ms()};
    for (char c = 'a'; c < 'z'; c++) put_user((char[]){c, '\0'});
    CHECK(store_begin_read(&d.snapshot, node.store) == OK);
    digest_begin(&node, &d);
    restart(); /* teardown's store_close checks that no transaction is left open */
    CHECK(store_begin_read(&d.snapshot, node.store) == OK);
    node.stopping = true;
    digest_begin(&node, &d);
}

/* --- asking --- */

static void put_asked(uint64_t leaf, uint64_t time_ms)
{
    struct table_txn *txn;
    CHECK(store_begin_write(&txn, node.store) == OK);
    CHECK(state_digest_asked_put(txn, leaf, time_ms) == OK && store_commit(txn) == OK);
}

static void nodes_ask_when_nobody_did(void **state)
{
    (void)state;
    config.digest_seconds.number = 3600;
    status.size = 200;
    put_asked(120, clock_wall_ms() - 3500 * 1000);
    restart();
    turn(1500);
    assert_int_equal(asked, 0); /* not long ago */
    put_asked(121, clock_wall_ms() - 3700 * 1000);
    status.leads = false; /* others ask later than the leader */
    restart();
    status.leads = true;
    status.size = 122; /* nothing came since */
    turn(1500);
    assert_int_equal(asked, 0);
    status.size = 200;
    status.quarantined = true;
    turn(1500);
    assert_int_equal(asked, 0);
    status.quarantined = false;
    for (unsigned i = 0; i < 600 && asked == 0; i++) turn(100);
    assert_int_equal(asked, 1);
    turn(1500);
    assert_int_equal(asked, 1); /* one is under way */
    asked_done(asked_data, ERR_NO_QUORUM, 0, DECISION_DENIED, REASON_NONE);
}

/* The desk's timer comes at once. */
static void hasten(uv_handle_t *handle, void *data)
{
    (void)data;
    if (handle->type != UV_TIMER) return;
    uv_timer_set_repeat((uv_timer_t *)handle, 1);
    uv_timer_again((uv_timer_t *)handle);
}

static void hasty_restart(void)
{
    restart();
    uv_walk(&node.loop, hasten, NULL);
}

static void pass(unsigned seconds)
{
    uint64_t end = clock_monotonic_ns() + seconds * UINT64_C(1000000000);
    while (clock_monotonic_ns() < end) {
        paced_clock_turn();
        uv_sleep(5);
    }
}

static void await_asked(size_t times)
{
    for (unsigned i = 0; i < 6000 && asked < times; i++) turn(10);
    turn(100);
    assert_int_equal(asked, times);
}

/* Rebuilt, it is what the others are again: they know by a digest. */
static void who_is_said_to_differ_asks(void **state)
{
    (void)state;
    config.digest_seconds.number = 3600;
    status.size = 200;
    status.leads = false;
    put_asked(120, clock_wall_ms() - 60 * 1000);
    alarms[0] = (struct alarm){.index = 90, .kind = ALARM_MODIFIED, .named = 2, .saying = 1u << 3,
                               .status = ALARM_OPEN};
    alarms[1] = (struct alarm){.index = 110, .kind = ALARM_MODIFIED, .named = SELF, .saying = 1u << 2 | 1u << SELF,
                               .status = ALARM_OPEN};
    row_count = 1;
    hasty_restart();
    await_asked(0); /* of another one */
    row_count = 2;
    await_asked(0); /* so it says itself */
    alarms[1].saying = 1u << 2;
    await_asked(0); /* one may lie */
    alarms[1].saying = 1u << 2 | 1u << 3;
    put_asked(121, clock_wall_ms() - 2000);
    hasty_restart();
    await_asked(0); /* the rules allow none so soon */
    pass(15);
    await_asked(1);
    asked_done(asked_data, OK, 130, DECISION_APPROVED, REASON_NONE);
    pass(60);
    await_asked(1); /* where b are wrong and others are down it may be so for long */
    pass(600);
    await_asked(2);
    asked_done(asked_data, ERR_NO_QUORUM, 0, DECISION_DENIED, REASON_NONE);
    row_count = 1;
    pass(60);
    await_asked(2);
}

/* Words about one thing or about two, they are of two members. */
static void words_of_several_alarms_count_together(void **state)
{
    (void)state;
    config.digest_seconds.number = 3600;
    status.leads = false;
    put_asked(120, clock_wall_ms() - 60 * 1000);
    alarms[0] = (struct alarm){.index = 90, .kind = ALARM_MODIFIED, .named = SELF, .first = 80, .saying = 1u << 3,
                               .status = ALARM_OPEN};
    alarms[1] = (struct alarm){.index = 91, .kind = ALARM_DELETED, .named = SELF, .first = 80, .saying = 1u << 4,
                               .status = ALARM_OPEN};
    row_count = 2;
    hasty_restart();
    await_asked(0); /* no digest shows what the other kind is about */
    alarms[1].kind = ALARM_MODIFIED;
    await_asked(1);
    asked_done(asked_data, ERR_STOPPED, 0, DECISION_DENIED, REASON_NONE);
}

/* Nobody else asks where the setting is 0: the alarm would stay. */
static void without_a_period_it_asks_for_itself(void **state)
{
    (void)state;
    status.size = 200;
    put_asked(120, clock_wall_ms() - 100000 * 1000);
    hasty_restart();
    await_asked(0);
    alarms[0] = (struct alarm){.index = 110, .kind = ALARM_MODIFIED, .named = SELF, .saying = 1u << 2 | 1u << 3,
                               .status = ALARM_OPEN};
    row_count = 1;
    await_asked(1);
    asked_done(asked_data, OK, 130, DECISION_APPROVED, REASON_NONE);
    paced_wall_begun_ms += 24 * 60 * 60 * 1000;
    await_asked(1); /* no more time has passed by that */
    pass(620);
    await_asked(2);
    asked_done(asked_data, OK, 131, DECISION_APPROVED, REASON_NONE);
    pass(620);
    await_asked(2); /* in vain: later and later */
    pass(620);
    await_asked(3);
    asked_done(asked_data, OK, 132, DECISION_APPROVED, REASON_NONE);
    row_count = 0;
    pass(2500);
    await_asked(3);
    row_count = 1; /* anew, now that it was over */
    await_asked(4);
    asked_done(asked_data, OK, 133, DECISION_APPROVED, REASON_NONE);
    pass(620);
    await_asked(5);
    asked_done(asked_data, ERR_STOPPED, 0, DECISION_DENIED, REASON_NONE);
}

int main(void)
{
    crypto_init();
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(who_differs_from_those_who_are_right_is_named_once),
        TEST(more_than_may_be_wrong_name_a_node),
        TEST(two_that_agree_make_a_third_leave),
        TEST(the_silent_are_not_waited_for_for_ever),
        TEST(of_two_groups_nobody_is_named),
        TEST(a_later_round_counts),
        TEST(one_that_differs_from_k_others_leaves_itself),
        TEST(without_a_digest_nobody_differs),
        TEST(the_last_word_counts),
        TEST(who_comes_and_goes_is_one_finding),
        TEST(an_old_leaf_is_not_answered),
        TEST(only_its_own_word_counts),
        TEST(rounds_are_kept_through_a_restart),
        TEST(a_restart_tells_nothing_twice),
        TEST(one_member_cannot_push_out_the_others),
        TEST(a_link_that_comes_up_hears_the_newest),
        TEST(a_stop_ends_a_scan),
        TEST(nodes_ask_when_nobody_did),
        TEST(who_is_said_to_differ_asks),
        TEST(words_of_several_alarms_count_together),
        TEST(without_a_period_it_asks_for_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
