#include "tests/unit/consensus/bed_catching_up.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/log.h"
#include "consensus/catchup_messages.h"
#include "consensus/peer_messages.h"
#include "consensus/witness_rows.h"
#include "crypto/random.h"
#include "ledger/tables.h"
#include "net/peers.h"
#include "storage/store.h"
#include "tests/lib/paced_clock.h"
#include "tests/lib/samples.h"

/* --- the source: one ledger that nodes 1 to 3 have --- */

struct kit kit;
struct digest kit_whole;
struct mark marks[MARKS];

struct buffer make_note(uint64_t size, const struct digest *root, unsigned signers)
{
    struct checkpoint checkpoint;
    struct cosigner cosigners[LIMIT_NODES];
    struct cosignature list[LIMIT_NODES] = {{0}};
    struct buffer note = {0};
    checkpoint_set(&checkpoint, &kit.genesis, size, root);
    cosigners_of_genesis(cosigners, &kit.genesis);
    for (unsigned i = 1; i <= signers; i++) {
        list[i - 1].time_s = 1790000000;
        checkpoint_cosign(&list[i - 1], &checkpoint, 1790000000, &kit.nodes[i].cosign);
    }
    checkpoint_format(&note, &checkpoint, cosigners, list, N);
    return note;
}

void put_row(struct table_txn *txn, const struct mark *m)
{
    struct witnessed w = {m->size, m->raft_index, m->raft_term, SAMPLE_TIME, m->root, m->note};
    struct buffer row = {0};
    uint8_t key[8];
    put_be64(key, m->size);
    witnessed_encode(&row, &w);
    CHECK(table_put(txn, TABLE_CHECKPOINT, BYTES(key), buffer_bytes(&row)) == OK);
    buffer_free(&row);
}

static void set_mark(struct mark *m)
{
    m->size = ledger_size(kit.ledger);
    m->root = ledger_root(kit.ledger);
    ledger_applied(kit.ledger, &m->raft_index, &m->raft_term);
    m->note = make_note(m->size, &m->root, kit.genesis.quorum);
    put_row(kit.txn, m);
}

static void add_records(const struct kit_actor *doctor)
{
    struct arguments a = {.action = ACTION_RECORD_CREATE};
    char *text = xmalloc(LARGE + 1);
    memset(text, 'x', LARGE);
    text[LARGE] = 0;
    for (unsigned i = 0; i < RECORDS; i++) {
        struct buffer content = {0};
        /* The last ones are large: several answers' worth. */
        kit_content(&content, i < RECORDS - 10 ? "thirty eight and a half" : text);
        a.record_create = (struct args_record_create){sample_id(9000 + i), sample_id(5), bytes_text("Observation"),
                                                      CONF_NORMAL, {{0}}};
        CHECK(kit_do(&kit, doctor, &a, buffer_bytes(&content))->decision == DECISION_APPROVED);
        buffer_free(&content);
    }
    free(text);
}

static void build_source(void)
{
    kit_open(&kit, N, 1, (struct bytes){0});
    kit_activate(&kit, KEY_RECORDS);
    struct kit_actor doctor = kit_add_user(&kit, 1, "doctor", "Mercy", "Dr. House");
    kit_add_user(&kit, 5, "patient", "Mercy", "Jane Doe");
    kit_add_team(&kit, 5, 1);
    struct arguments a = {.action = ACTION_EVENT_ADD};
    for (unsigned i = 0; i < EVENTS; i++) {
        /* Some denied, some with a note. */
        a.event_add = (struct args_event_add){sample_id(i % 50 == 7 ? 6 : 5), bytes_text("bill.print"),
                                              bytes_text("B-17")};
        kit_do(&kit, &doctor, &a, i % 3 ? (struct bytes){0} : bytes_text("printed at the desk"));
        if (i == EVENTS / 3) set_mark(&marks[0]);
        if (i == 2 * EVENTS / 3) set_mark(&marks[1]);
    }
    add_records(&doctor);
    set_mark(&marks[2]);
    kit_whole = kit_digest(&kit);
    kit_reopen(&kit); /* commits */
}

/* --- nodes --- */

static uv_loop_t loop;
static struct wake wake;
struct node nodes[N + 1];
char folder[FOLDER_PATH];
static struct message queue[4096];
static size_t queued;
bool down[N + 1];
bool (*tamper)(struct message *m);
static unsigned asked_of[N + 1][128];     /* messages to a node, by type */
unsigned answers_of[N + 1][128];
unsigned late_ms[N + 1];
uint64_t pulls_from_least;

enum err peers_send(struct peers *p, uint32_t index, uint32_t type, uint64_t id, struct bytes body)
{
    CHECK(index >= 1 && index <= N && index != p->self && type < 128);
    asked_of[index][type]++;
    answers_of[p->self][type]++;
    if (down[index] || down[p->self]) return ERR_UNREACHABLE;
    assert_true(body.size < LIMIT_FRAME);
    if (type == PEER_PULL) {
        struct pull pull;
        if (pull_decode(&pull, body) == OK && pull.from < pulls_from_least) pulls_from_least = pull.from;
    }
    CHECK(queued < sizeof queue / sizeof queue[0]);
    struct message *m = &queue[queued++];
    uint64_t due_ns = clock_monotonic_ns() + late_ms[p->self] * UINT64_C(1000000);
    *m = (struct message){p->self, index, type, id, {0}, due_ns};
    buffer_append_bytes(&m->body, body);
    if (tamper && !tamper(m)) {
        buffer_free(&m->body);
        queued--;
    }
    return OK;
}

bool peers_up(const struct peers *p, uint32_t index) { return !down[p->self] && !down[index] && index != p->self; }

enum err driver_read(struct driver *d, struct state_read *r)
{
    if (d->refuse) return ERR_BUSY;
    if (d->state && r->fresh) {
        r->driver.job.kind = STATE_JOB_READ;
        state_thread_push(d->state, &r->driver.job);
        return OK;
    }
    CHECK(d->read_count < sizeof d->reads / sizeof d->reads[0]);
    d->reads[d->read_count++] = r;
    return OK;
}

enum err driver_write(struct driver *d, struct state_write *w)
{
    if (d->refuse) return ERR_BUSY;
    CHECK(d->state);
    d->writes++;
    w->driver.job.kind = STATE_JOB_WRITE;
    state_thread_push(d->state, &w->driver.job);
    return OK;
}

void driver_status(const struct driver *d, struct driver_status *out)
{
    *out = (struct driver_status){.leader = d->leader, .synced_index = d->synced_index, .size = UINT64_MAX,
                                  .log_filled = d->log_filled};
}

bool driver_cosigned(const struct driver *d, struct cosigned_mark *out)
{
    (void)d, (void)out;
    return false;
}

bool driver_forgot_cosigned(const struct driver *d)
{
    (void)d;
    return false;
}

enum err driver_log_cosigned(struct driver *d, struct cosigned_mark *m)
{
    (void)d, (void)m;
    return ERR_BUSY;
}

void driver_caught_up(struct driver *d, uint64_t index, uint64_t term, uint64_t size, struct bytes manifest)
{
    struct offer offer;
    struct checkpoint checkpoint;
    struct state_synced synced;
    assert_int_equal(offer_decode(&offer, manifest), OK);
    assert_int_equal(checkpoint_verify(&checkpoint, offer.note, &kit.genesis), OK);
    assert_int_equal(checkpoint.size, size);
    state_thread_synced(d->state, &synced);
    assert_true(synced.position.raft_index >= index); /* durable by then */
    assert_false(synced.position.ahead);
    d->caught_up++;
    d->caught_index = index;
    d->caught_term = term;
    d->caught_size = size;
}

void driver_catch_up_failed(struct driver *d, uint64_t index)
{
    d->failed++;
    d->failed_index = index;
}

void driver_quarantine(struct driver *d, const char *why)
{
    (void)why;
    d->quarantined++;
}

/* --- turning --- */

static void finished(struct driver *d, struct job *job)
{
    if (job->kind == STATE_JOB_READ) {
        struct state_read *r = container(job, struct state_read, driver.job);
        r->done(r, job->code);
    } else {
        struct state_write *w = container(job, struct state_write, driver.job);
        w->done(w, job->code);
    }
    (void)d;
}

static void on_wake(struct wake *woken)
{
    struct driver *d = &nodes[TARGET].driver;
    struct queue jobs = {0};
    (void)woken;
    if (d->state && state_thread_finished(d->state, &jobs))
        for (struct job *job; (job = queue_pop(&jobs, struct job, link));)
            finished(d, job);
}

void run_reads(struct driver *d)
{
    struct state_read *reads[64];
    size_t count = d->read_count;
    memcpy(reads, d->reads, sizeof reads);
    d->read_count = 0;
    for (size_t i = 0; i < count; i++) {
        struct table_txn *txn;
        CHECK(store_begin_read(&txn, d->store) == OK);
        enum err e = reads[i]->run(reads[i], txn);
        store_abort(txn);
        reads[i]->done(reads[i], e);
    }
}

static size_t take_due(struct message *out, size_t most)
{
    size_t count = 0, left = 0;
    for (size_t i = 0; i < queued; i++) {
        if (count < most && queue[i].due_ns <= clock_monotonic_ns())
            out[count++] = queue[i];
        else
            queue[left++] = queue[i];
    }
    queued = left;
    return count;
}

void turn(void)
{
    paced_clock_turn();
    uv_run(&loop, UV_RUN_NOWAIT);
    struct message now[64];
    size_t count = take_due(now, sizeof now / sizeof now[0]);
    for (size_t i = 0; i < count; i++) {
        struct catchup *to = nodes[now[i].to].catchup;
        if (to && !down[now[i].to])
            catchup_message(to, now[i].from, now[i].type, now[i].id, buffer_bytes(&now[i].body));
        buffer_free(&now[i].body);
    }
    for (unsigned i = 1; i <= N; i++)
        run_reads(&nodes[i].driver);
}

bool wait_for(bool (*met)(void), unsigned ms)
{
    uint64_t until = clock_monotonic_ns() + ms * UINT64_C(1000000);
    while (!met() && clock_monotonic_ns() < until) {
        turn();
        uv_sleep(1);
    }
    return met();
}

bool never(void) { return false; }
bool caught_up(void) { return nodes[TARGET].driver.caught_up > 0; }
bool ready(void) { return nodes[TARGET].ready; }
bool has_failed(void) { return nodes[TARGET].driver.failed > 0; }
bool quarantined(void) { return nodes[TARGET].driver.quarantined > 0; }

/* --- starting and stopping --- */

static void on_ready(void *data, bool is)
{
    struct node *n = data;
    assert_true(is != n->ready);
    n->ready = is;
    n->ready_calls++;
    assert_int_equal(catchup_ready(n->catchup), is);
}

static void on_witnessed(void *data, uint64_t size) { (void)data, (void)size; }
static void on_quarantine(void *data, const char *why) { (void)data, (void)why; }

static void on_evidence(void *data, const char *kind, unsigned named, uint64_t size, struct bytes evidence)
{
    (void)data, (void)kind, (void)named, (void)size, (void)evidence;
}

static void start_parts(unsigned i)
{
    struct node *n = &nodes[i];
    struct witness_options w = {
        .loop = &loop, .genesis = &kit.genesis, .self = i, .keys = &n->keys, .driver = &n->driver, .peers = &n->peers,
        .store = n->driver.store, .data = n, .on_witnessed = on_witnessed, .on_quarantine = on_quarantine,
        .on_evidence = on_evidence,
    };
    CHECK(witness_start(&n->witness, &w, NULL) == OK);
    struct catchup_options c = {
        .loop = &loop, .genesis = &kit.genesis, .self = i, .driver = &n->driver, .witness = n->witness,
        .peers = &n->peers, .data = n, .on_ready = on_ready,
    };
    n->ready = false;
    CHECK(catchup_start(&n->catchup, &c, NULL) == OK);
}

void open_target(void)
{
    struct driver *d = &nodes[TARGET].driver;
    struct store_options options = {.directory = folder, .tables = ledger_tables, .table_count = ledger_tables_count,
                                    .map_size = 1u << 30};
    static const struct seal_key key = {{7}};
    struct state_position position;
    struct failure failure = {0};
    options.key = &key;
    if (store_open(&d->store, &options, &failure) != OK) fprintf(stderr, "%s\n", failure.text);
    CHECK(d->store);
    struct buffer peer_marks[LIMIT_NODES + 1] = {{0}};
    CHECK(state_thread_start(&d->state, &position, peer_marks, d->store, kit.genesis.text, &wake, &failure) == OK);
    for (unsigned i = 0; i <= LIMIT_NODES; i++)
        buffer_free(&peer_marks[i]);
    start_parts(TARGET);
}

/* `flush` false: as after a crash, what was not committed is lost. */
void close_target(bool flush)
{
    struct node *n = &nodes[TARGET];
    struct driver *d = &n->driver;
    struct queue left = {0};
    catchup_stop(n->catchup);
    witness_stop(n->witness);
    state_thread_stop(d->state, flush, &left);
    d->state = NULL;
    for (struct job *job; (job = queue_pop(&left, struct job, link));)
        finished(d, job);
    while (d->read_count)
        run_reads(d);
    uv_run(&loop, UV_RUN_NOWAIT);
    catchup_free(n->catchup);
    witness_free(n->witness);
    n->catchup = NULL;
    store_close(d->store);
    d->store = NULL;
}

void drop_messages(void)
{
    for (size_t i = 0; i < queued; i++)
        buffer_free(&queue[i].body);
    queued = 0;
}

int setup(void **state)
{
    (void)state;
    tamper = NULL;
    memset(down, 0, sizeof down);
    memset(late_ms, 0, sizeof late_ms);
    memset(asked_of, 0, sizeof asked_of);
    memset(answers_of, 0, sizeof answers_of);
    pulls_from_least = UINT64_MAX;
    folder_make(folder, 1);
    CHECK(wake_open(&wake, &loop, on_wake) == OK);
    for (unsigned i = 1; i <= N; i++) {
        nodes[i] = (struct node){.driver.self = i, .driver.leader = 1, .peers.self = i};
        sample_node_secrets(&nodes[i].keys, i);
        if (i == TARGET) continue;
        nodes[i].driver.store = kit.store;
        nodes[i].driver.synced_index = UINT64_MAX;
        start_parts(i);
    }
    open_target();
    return 0;
}

int teardown(void **state)
{
    (void)state;
    drop_messages();
    close_target(true);
    for (unsigned i = 1; i < N; i++) {
        catchup_stop(nodes[i].catchup);
        witness_stop(nodes[i].witness);
        run_reads(&nodes[i].driver);
        uv_run(&loop, UV_RUN_NOWAIT);
        catchup_free(nodes[i].catchup);
        witness_free(nodes[i].witness);
    }
    wake_close(&wake, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    drop_messages();
    folder_remove(folder);
    return 0;
}

static struct buffer offer_of(const struct mark *m)
{
    struct offer offer = {m->size, m->root, buffer_bytes(&m->note)};
    struct buffer out = {0};
    offer_encode(&out, &offer);
    return out;
}

void install(const struct mark *m)
{
    struct buffer manifest = offer_of(m);
    catchup_install(nodes[TARGET].catchup, m->raft_index, m->raft_term, buffer_bytes(&manifest));
    buffer_free(&manifest);
}

struct state_position position(void)
{
    struct state_synced synced;
    state_thread_synced(nodes[TARGET].driver.state, &synced);
    return synced.position;
}

static struct digest target_digest(void)
{
    struct table_txn *txn;
    CHECK(store_begin_read(&txn, nodes[TARGET].driver.store) == OK);
    struct digest digest = kit_digest_of(txn);
    store_abort(txn);
    return digest;
}

void assert_at(const struct mark *m)
{
    struct state_position p = position();
    assert_int_equal(p.size, m->size);
    assert_true(digest_equal(&p.root, &m->root));
    assert_int_equal(p.raft_index, m->raft_index);
    assert_int_equal(p.raft_term, m->raft_term);
    assert_false(p.ahead);
}

static bool synced_digest_equal(void)
{
    struct digest now = target_digest();
    return digest_equal(&now, &kit_whole);
}

/* Everything, attachments too, as the source has it. */
void assert_whole(void)
{
    assert_true(wait_for(ready, 20000));
    assert_at(&marks[2]);
    assert_true(wait_for(synced_digest_equal, 2000));
}

/* --- the happy path --- */

unsigned pulled_seen;
bool stop_after_two(struct message *m) { return m->type != PEER_PULLED || pulled_seen++ < 2; }
bool two_pulled(void) { return pulled_seen > 2; }

int bed_open(void **state)
{
    (void)state;
    crypto_init();
    log_setup(LOG_ERROR, false);
    CHECK(uv_loop_init(&loop) == 0);
    build_source();
    return 0;
}

int bed_close(void **state)
{
    (void)state;
    for (unsigned i = 0; i < MARKS; i++)
        buffer_free(&marks[i].note);
    kit_close(&kit);
    CHECK(uv_loop_close(&loop) == 0);
    return 0;
}
