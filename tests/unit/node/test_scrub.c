/* A pass of the scrub that finds something in its middle: what other nodes have is fetched and proved, what follows
 * from the rest is written anew; the pass goes on behind it and ends, each finding is told once and closed once. What
 * an operator's own pass (`consiliumd scrub --now`) says of the same store before and after, with its exit code.
 * Store, log, ledger and mender are real; the driver, the links and the other nodes are played here. */
#include "node/scrub.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/log.h"
#include "consensus/catchup_messages.h"
#include "consensus/peer_messages.h"
#include "crypto/random.h"
#include "ledger/apply.h"
#include "ledger/proof.h"
#include "ledger/replay.h"
#include "node/integrity.h"
#include "node/node.h"
#include "tests/lib/flip.h"
#include "tests/lib/folder.h"
#include "tests/lib/ledger_kit.h"
#include "tests/lib/samples.h"
#include "tests/lib/unit.h"

#define SELF 1
#define EVENTS 200
#define RATE_KIB 1024 /* a tenth of it in each tick: a pass takes several steps */
#define EXIT_DAMAGED 6

static const struct seal_key storage_key = {{7}};
static struct node node;
static struct config config;
static struct node_identity identity;
static struct kit whole; /* what the others have */
static struct kit own;   /* this node's ledger, in its own store */
static char folder[FOLDER_PATH];
static char said[64 * KIB]; /* by scrub --now */

static struct state_read *reading;
static struct state_write *writing[4]; /* a repair, and the position */
static unsigned write_count;
static struct question { /* to a peer */
    unsigned of;
    uint32_t type;
    uint64_t id;
    struct buffer body;
} question;
static unsigned found, closed, scrubbed, quarantined, asked, rewritten;
static struct finding last_found;
static struct finding alarms[256]; /* raised, each once, and not closed so far */
static unsigned alarm_count, raised;
static uint32_t leaves_given = 1; /* by a peer at once */
static unsigned permille_found; /* how far the pass was */

/* --- what stands around it --- */

bool catchup_ready(const struct catchup *c) { return (void)c, true; }
uint64_t driver_repair_log(struct driver *d) { return (void)d, 0; }
void driver_past_rewrite(struct driver *d) { (void)d, rewritten++; }
bool peers_up(const struct peers *p, uint32_t index) { return (void)p, index != SELF; }

void driver_status(const struct driver *d, struct driver_status *out)
{
    (void)d;
    *out = (struct driver_status){.size = ledger_size(own.ledger)};
}

enum err driver_read(struct driver *d, struct state_read *r)
{
    (void)d;
    CHECK(!reading);
    reading = r;
    return OK;
}

enum err driver_write(struct driver *d, struct state_write *w)
{
    (void)d;
    if (write_count == sizeof writing / sizeof writing[0]) return ERR_BUSY;
    writing[write_count++] = w;
    return OK;
}

enum err peers_send(struct peers *p, uint32_t index, uint32_t type, uint64_t id, struct bytes body)
{
    (void)p;
    CHECK(index != SELF && !question.of);
    asked++;
    question = (struct question){.of = index, .type = type, .id = id};
    buffer_append_bytes(&question.body, body);
    return OK;
}

bool witness_newest(const struct witness *w, struct bytes *note, uint64_t *size, struct digest *root,
                    uint64_t *raft_index, uint64_t *raft_term)
{
    (void)w;
    *note = (struct bytes){0};
    *size = ledger_size(whole.ledger);
    *root = ledger_root(whole.ledger);
    *raft_index = *raft_term = 1;
    return true;
}

void integrity_found(struct node *n, const struct finding *f, struct bytes evidence)
{
    struct scrub_status status;
    (void)evidence;
    scrub_status(n, &status);
    permille_found = status.permille;
    last_found = *f;
    found++;
    for (unsigned i = 0; i < alarm_count; i++) {
        if (alarms[i].kind != f->kind || alarms[i].first != f->first) continue;
        if (f->last > alarms[i].last) alarms[i].last = f->last;
        return;
    }
    CHECK(alarm_count < sizeof alarms / sizeof alarms[0]);
    alarms[alarm_count++] = *f;
    raised++;
}

void integrity_repaired(struct node *n, unsigned named, uint64_t from, uint64_t to)
{
    (void)n;
    assert_int_equal(named, SELF);
    assert_true(from <= last_found.first && to >= last_found.first);
    closed++;
    for (unsigned i = 0; i < alarm_count;)
        if (alarms[i].first >= from && alarms[i].first <= to)
            alarms[i] = alarms[--alarm_count];
        else
            i++;
}

void integrity_scrubbed(struct node *n)
{
    (void)n;
    scrubbed++;
}

void integrity_quarantine(struct node *n, const char *why)
{
    (void)n;
    CHECK(strstr(why, "rebuild") || strstr(why, "; "));
    quarantined++;
}

/* --- what is under way --- */

static void run_read(void)
{
    struct state_read *r = reading;
    struct table_txn *txn;
    if (!r) return;
    reading = NULL;
    assert_int_equal(store_begin_read(&txn, node.store), OK);
    enum err e = r->run(r, txn);
    store_abort(txn);
    r->done(r, e);
}

static void run_write(void)
{
    struct state_write *w = writing[0];
    struct table_txn *txn;
    if (!write_count) return;
    memmove(&writing[0], &writing[1], --write_count * sizeof writing[0]);
    assert_int_equal(store_begin_write(&txn, node.store), OK);
    enum err e = w->run(w, txn, own.ledger);
    if (e == OK)
        assert_int_equal(store_commit(txn), OK);
    else
        store_abort(txn);
    w->done(w, e);
}

static void give_leaves(struct buffer *body, struct bytes ask)
{
    static struct pulled p;
    struct pull pull;
    struct buffer leaf = {0}, leaves = {0};
    assert_int_equal(pull_decode(&pull, ask), OK);
    p = (struct pulled){.from = pull.from, .to = pull.to, .count = leaves_given};
    assert_int_equal(proof_root(&p.base, whole.txn, p.from), OK);
    assert_int_equal(proof_consistency(&p.base_proof, whole.txn, p.from, p.to), OK);
    for (uint32_t i = 0; i < p.count; i++) {
        buffer_clear(&leaf);
        assert_int_equal(proof_leaf(&leaf, whole.txn, p.from + i), OK);
        pulled_add_leaf(&leaves, buffer_bytes(&leaf));
    }
    assert_int_equal(proof_consistency(&p.end_proof, whole.txn, p.from + p.count, p.to), OK);
    pulled_encode(body, &p, buffer_bytes(&leaves));
    buffer_free(&leaf);
    buffer_free(&leaves);
}

static void give_attachment(struct buffer *body, struct bytes ask)
{
    struct attachments_ask which;
    struct buffer items = {0}, attachment = {0};
    assert_int_equal(attachments_ask_decode(&which, ask), OK);
    assert_int_equal(ledger_attachment(&attachment, whole.txn, which.indexes[0]), OK);
    attached_add(&items, ATTACHMENT_HERE, buffer_bytes(&attachment));
    attached_encode(body, 1, buffer_bytes(&items));
    buffer_free(&items);
    buffer_free(&attachment);
}

static void answer(void)
{
    struct question q = question;
    struct buffer body = {0};
    if (!q.of) return;
    question = (struct question){0};
    bool leaves = q.type == PEER_PULL;
    if (leaves)
        give_leaves(&body, buffer_bytes(&q.body));
    else
        give_attachment(&body, buffer_bytes(&q.body));
    assert_true(scrub_message(&node, q.of, leaves ? PEER_PULLED : PEER_ATTACHED, q.id, buffer_bytes(&body)));
    buffer_free(&q.body);
    buffer_free(&body);
}

static void turn(void)
{
    uv_run(&node.loop, reading || write_count || question.of ? UV_RUN_NOWAIT : UV_RUN_ONCE);
    run_read();
    run_write();
    answer();
}

/* --- the node --- */

static void open_store(void)
{
    char log[FOLDER_PATH];
    folder_join(log, folder, "log");
    struct store_options options = {.directory = identity.state_directory, .tables = ledger_tables,
                                    .table_count = ledger_tables_count, .key = &storage_key,
                                    .map_size = UINT64_C(4) << 30};
    struct log_options log_options = {.directory = log, .name = "raft", .key = &storage_key};
    assert_int_equal(store_open(&node.store, &options, NULL), OK);
    assert_int_equal(log_open(&node.log, &log_options, NULL), OK);
    if (!own.ledger) return;
    struct table_txn *txn;
    ledger_free(own.ledger);
    assert_int_equal(store_begin_read(&txn, node.store), OK);
    assert_int_equal(ledger_open(&own.ledger, txn, NULL), OK);
    store_abort(txn);
}

static void close_store(void)
{
    log_close(node.log);
    store_close(node.store);
}

static void fill(void)
{
    struct kit_actor doctor;
    struct arguments args = {.action = ACTION_EVENT_ADD};
    kit_open(&whole, 4, 1, (struct bytes){0});
    doctor = kit_add_user(&whole, 1, "doctor", "North", "Dr. Maier");
    kit_add_user(&whole, 2, "patient", "North", "Somebody");
    kit_add_team(&whole, 2, 1);
    args.event_add = (struct args_event_add){sample_id(2), bytes_text("bill.print"), bytes_text("B-17")};
    for (unsigned i = 0; i < EVENTS; i++)
        assert_int_equal(kit_do(&whole, &doctor, &args, bytes_text("a note of some length about it"))->code, OK);
    assert_int_equal(store_begin_write(&own.txn, node.store), OK);
    kit_replay_all(&own, &whole);
    assert_int_equal(store_commit(own.txn), OK);
    own.txn = NULL;
}

static int setup(void **state)
{
    (void)state;
    crypto_init();
    log_setup(getenv("VERBOSE") ? LOG_INFO : LOG_ERROR, false);
    folder_make(folder, 1);
    folder_join(identity.state_directory, folder, "state");
    folder_join(identity.log_directory, folder, "log");
    snprintf(identity.directory, sizeof identity.directory, "%s", folder);
    assert_int_equal(mkdir(identity.state_directory, 0700) | mkdir(identity.log_directory, 0700), 0);
    identity.storage_key = xmalloc(sizeof storage_key);
    *identity.storage_key = storage_key;
    open_store();
    fill();
    node.identity = identity;
    node.genesis = whole.genesis;
    node.self = SELF;
    node.config = &config;
    config.scrub_rate.number = RATE_KIB;
    config.scrub_pause.number = 3600;
    assert_int_equal(uv_loop_init(&node.loop), 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    ledger_free(own.ledger);
    kit_close(&whole);
    close_store();
    free(identity.storage_key);
    folder_remove(folder);
    assert_int_equal(uv_loop_close(&node.loop), 0);
    return 0;
}

/* --- an operator's pass --- */

/* Its exit code; what it printed is in `said`. */
static int scrub_now(void)
{
    char path[FOLDER_PATH];
    struct failure failure = {0};
    folder_join(path, folder, "said");
    close_store(); /* LMDB opens a store once in a process */
    fflush(stdout);
    int console = dup(STDOUT_FILENO), file = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    assert_true(console >= 0 && file >= 0 && dup2(file, STDOUT_FILENO) >= 0);
    int code = scrub_once(&identity, NULL, false, &failure);
    fflush(stdout);
    assert_true(dup2(console, STDOUT_FILENO) >= 0);
    close(console);
    ssize_t size = pread(file, said, sizeof said - 1, 0);
    said[size > 0 ? size : 0] = '\0';
    close(file);
    unlink(path);
    open_store();
    return code;
}

static unsigned times_said(const char *words)
{
    unsigned count = 0;
    for (const char *at = said; (at = strstr(at, words)); at += strlen(words)) count++;
    return count;
}

/* So many findings, each in a line; and it went on to the end of state and log. */
static void assert_operators_pass(unsigned findings)
{
    char words[64];
    int code = scrub_now();
    if (code != (findings ? EXIT_DAMAGED : 0)) fail_msg("exit code %d:\n%s", code, said);
    assert_int_equal(times_said("MODIFIED") + times_said("DELETED"), findings);
    snprintf(words, sizeof words, "State: %u entries", (unsigned)ledger_size(own.ledger));
    assert_int_equal(times_said(words), 1);
    assert_int_equal(times_said("Log: "), 1);
    snprintf(words, sizeof words, "%u damaged.", findings);
    assert_int_equal(times_said(findings ? words : "Nothing is damaged."), 1);
}

/* --- the node's own pass --- */

static struct scrub_status status_now(void)
{
    struct scrub_status status;
    scrub_status(&node, &status);
    return status;
}

static void begin(void)
{
    raised = alarm_count = 0;
    found = closed = scrubbed = quarantined = asked = permille_found = 0;
    assert_int_equal(scrub_new(&node.scrub, &node), OK);
}

static void end(void)
{
    scrub_stop(node.scrub);
    while (reading || write_count || question.of) turn();
    uv_run(&node.loop, UV_RUN_DEFAULT);
    scrub_free(node.scrub);
    node.scrub = NULL;
    buffer_free(&question.body);
    question = (struct question){0};
}

/* One whole pass over what was damaged: found in its middle, told, mended, closed, once each. */
static void pass_mends(unsigned findings, unsigned asks)
{
    begin();
    struct scrub_status before = status_now();
    while (status_now().passes == before.passes && !quarantined) turn();
    struct scrub_status after = status_now();
    assert_int_equal(quarantined, 0);
    assert_int_equal(after.passes, before.passes + 1);
    assert_false(after.scanning);
    assert_int_equal(found, findings);
    assert_int_equal(closed, findings);
    assert_int_equal(after.found - before.found, findings);
    assert_int_equal(after.repaired - before.repaired, findings);
    assert_int_equal(asked, asks);
    if (findings) assert_true(permille_found > 0 && permille_found < 1000);
    end();
}

/* --- damage --- */

static struct buffer row_of(uint8_t table, uint64_t index)
{
    struct table_txn *txn;
    struct buffer value = {0};
    uint8_t key[8];
    put_be64(key, index);
    assert_int_equal(store_begin_read(&txn, node.store), OK);
    assert_int_equal(table_get(txn, table, BYTES(key), &value), OK);
    store_abort(txn);
    return value;
}

/* A byte of it is another; or the row is gone. */
static void damage_row(uint8_t table, uint64_t index, bool gone)
{
    struct table_txn *txn;
    struct buffer value = row_of(table, index);
    uint8_t key[8];
    put_be64(key, index);
    value.data[value.size / 2] ^= 1;
    assert_int_equal(store_begin_write(&txn, node.store), OK);
    if (gone)
        assert_int_equal(table_delete(txn, table, BYTES(key)), OK);
    else
        assert_int_equal(table_put(txn, table, BYTES(key), buffer_bytes(&value)), OK);
    assert_int_equal(store_commit(txn), OK);
    buffer_free(&value);
}

static void one_row(uint8_t table, bool gone, unsigned asks)
{
    uint64_t index = ledger_size(own.ledger) / 2;
    struct buffer before = row_of(table, index);
    damage_row(table, index, gone);
    assert_operators_pass(1);
    assert_operators_pass(1); /* it changes nothing */
    pass_mends(1, asks);
    assert_int_equal(last_found.first, index);
    assert_int_equal(last_found.kind, gone ? ALARM_DELETED : ALARM_MODIFIED);
    struct buffer after = row_of(table, index);
    assert_true(bytes_equal(buffer_bytes(&before), buffer_bytes(&after)));
    assert_operators_pass(0);
    buffer_free(&before);
    buffer_free(&after);
}

static void nothing_is_damaged(void **state)
{
    (void)state;
    assert_operators_pass(0);
    pass_mends(0, 0);
}

static void a_leaf_comes_from_a_peer(void **state)
{
    (void)state;
    one_row(TABLE_LEAF, false, 1);
    one_row(TABLE_LEAF, true, 1);
}

static void a_row_of_the_tree_comes_from_a_peer(void **state)
{
    (void)state;
    one_row(TABLE_TREE, false, 1);
    one_row(TABLE_TREE, true, 1);
}

static void an_attachment_comes_from_a_peer(void **state)
{
    (void)state;
    one_row(TABLE_ATTACHMENT, false, 1);
    one_row(TABLE_ATTACHMENT, true, 1);
}

/* Two in one pass: the second is another finding. */
static void the_pass_goes_on_to_the_next(void **state)
{
    uint64_t third = ledger_size(own.ledger) / 3;
    (void)state;
    damage_row(TABLE_LEAF, third, false);
    damage_row(TABLE_ATTACHMENT, 2 * third, true);
    assert_operators_pass(2);
    pass_mends(2, 2);
    assert_int_equal(last_found.first, 2 * third);
    assert_operators_pass(0);
}

/* One pass, at whose end all is repaired and nothing stands open. */
static void pass_closes_all(void)
{
    begin();
    struct scrub_status before = status_now();
    while (status_now().passes == before.passes && !quarantined) turn();
    struct scrub_status after = status_now();
    end();
    assert_int_equal(quarantined, 0);
    assert_int_equal(alarm_count, 0);
    assert_int_equal(after.found - before.found, after.repaired - before.repaired);
    assert_operators_pass(0);
}

#define ROWS 100
/* Of a table whose keys are sorted by somebody first, then by leaf: as a page of the store holds them. */
static void lose_rows(uint8_t table)
{
    struct table_txn *txn;
    struct table_cursor *c;
    unsigned skipped = 0, count = 0;
    assert_int_equal(store_begin_write(&txn, node.store), OK);
    while (count < ROWS) {
        uint8_t key[TABLE_KEY_MAX];
        assert_int_equal(table_cursor_open(&c, txn, table), OK);
        enum err e = table_cursor_seek(c, (struct bytes){0});
        for (skipped = 0; e == OK && skipped < 50; skipped++) e = table_cursor_next(c);
        assert_int_equal(e, OK);
        struct bytes found_key = table_cursor_key(c);
        size_t size = found_key.size;
        memcpy(key, found_key.data, size);
        table_cursor_close(c);
        assert_int_equal(table_delete(txn, table, bytes_of(key, size)), OK);
        count++;
    }
    assert_int_equal(store_commit(txn), OK);
}

/* One alarm for each, people would have to read hundreds; each row is counted and in the program's log all the same. */
static void rows_behind_one_another_are_one_alarm(void **state)
{
    (void)state;
    lose_rows(TABLE_LOG_ACTOR);
    assert_operators_pass(ROWS);
    pass_closes_all();
    assert_int_equal(found, ROWS);
    assert_int_equal(raised, 1);
    assert_int_equal(closed, 1);
    assert_true(last_found.last >= last_found.first + ROWS - 1);
}

/* What one answer of a peer mended covers several leaves; something else among these is another finding, and both end. */
static void a_finding_among_others_leaves_none_open(void **state)
{
    uint64_t at = ledger_size(own.ledger) / 2;
    (void)state;
    for (uint64_t i = at; i < at + 4; i++) damage_row(TABLE_LEAF, i, false);
    damage_row(TABLE_ATTACHMENT, at + 2, true);
    leaves_given = 4;
    pass_closes_all();
    leaves_given = 1;
}

/* It is no note that says nothing; what it said the driver knows. */
static void a_note_of_a_past_is_marked_as_lost(void **state)
{
    (void)state;
    struct table_txn *txn;
    struct buffer value = {0};
    const struct bytes key = bytes_text("\x02");
    assert_int_equal(store_begin_write(&txn, node.store), OK);
    assert_int_equal(table_put(txn, TABLE_PEER_MARK, key, bytes_text("how far it came")), OK);
    assert_int_equal(store_commit(txn), OK);
    close_store();
    assert_int_equal(flip_value(identity.state_directory, "peer_mark", key, 100), 0);
    open_store();
    rewritten = 0;
    begin();
    struct scrub_status before = status_now();
    while (status_now().passes == before.passes && !quarantined) turn();
    end();
    assert_int_equal(quarantined, 0);
    assert_int_equal(rewritten, 1);
    assert_int_equal(store_begin_read(&txn, node.store), OK);
    assert_int_equal(table_get(txn, TABLE_PEER_MARK, key, &value), OK);
    store_abort(txn);
    assert_true(bytes_equal(buffer_bytes(&value), bytes_text(MARK_LOST)));
    assert_operators_pass(0);
    buffer_free(&value);
}

/* The first pass of a life may be the end of another one's: only the next has read all. */
static void a_whole_pass_is_told(void **state)
{
    (void)state;
    config.scrub_pause.number = 0;
    begin();
    struct scrub_status before = status_now();
    while (status_now().passes == before.passes) turn();
    assert_int_equal(scrubbed, 0);
    while (status_now().passes == before.passes + 1) turn();
    assert_int_equal(scrubbed, 1);
    end();
    config.scrub_pause.number = 3600;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_damaged),
        cmocka_unit_test(a_leaf_comes_from_a_peer),
        cmocka_unit_test(a_row_of_the_tree_comes_from_a_peer),
        cmocka_unit_test(an_attachment_comes_from_a_peer),
        cmocka_unit_test(the_pass_goes_on_to_the_next),
        cmocka_unit_test(rows_behind_one_another_are_one_alarm),
        cmocka_unit_test(a_finding_among_others_leaves_none_open),
        cmocka_unit_test(a_note_of_a_past_is_marked_as_lost),
        cmocka_unit_test(a_whole_pass_is_told),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
