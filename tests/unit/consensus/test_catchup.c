/* Node 4 catches up from nodes 1 to 3, over a real state thread, store and ledger;
 * drivers and the network are the test's, and any message can be altered on its way. */
#include "tests/lib/unit.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/log.h"
#include "consensus/catchup.h"
#include "consensus/catchup_messages.h"
#include "consensus/peer_messages.h"
#include "consensus/state_thread.h"
#include "consensus/witness_rows.h"
#include "crypto/random.h"
#include "ledger/checkpoint.h"
#include "ledger/leaf.h"
#include "ledger/proof.h"
#include "ledger/tables.h"
#include "net/peers.h"
#include "storage/store.h"
#include "tests/lib/ledger_kit.h"
#include "tests/lib/paced_clock.h"
#include "tests/lib/samples.h"

#define N 4
#define TARGET 4
#define container(pointer, type, member) ((type *)((char *)(pointer)-offsetof(type, member)))

/* --- the source: one ledger that nodes 1 to 3 have --- */

#define EVENTS 2200
#define RECORDS 40
#define LARGE 400000
#define MARKS 3

struct mark {
    uint64_t size, raft_index, raft_term;
    struct digest root;
    struct buffer note;
};

static struct kit kit;
static struct digest kit_whole;
static struct mark marks[MARKS]; /* at a third, two thirds, and the end */

static struct buffer make_note(uint64_t size, const struct digest *root, unsigned signers)
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

static void put_row(struct table_txn *txn, const struct mark *m)
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
        a.event_add = (struct args_event_add){sample_id(i % 50 == 7 ? 6 : 5), bytes_text("bill.print"), bytes_text("B-17")};
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

struct message {
    unsigned from, to;
    uint32_t type;
    uint64_t id;
    struct buffer body;
};

struct peers {
    unsigned self;
};

struct driver {
    unsigned self, leader;
    struct store *store;
    struct state_thread *state; /* the target's */
    uint64_t synced_index;
    struct state_read *reads[64]; /* over the synced state; run in a later turn */
    size_t read_count;
    bool refuse; /* reads and writes: busy */
    unsigned caught_up, failed, quarantined;
    uint64_t caught_index, caught_term, caught_size, failed_index;
    unsigned writes;
};

struct node {
    struct driver driver;
    struct peers peers;
    struct witness *witness;
    struct catchup *catchup;
    struct node_secrets keys;
    bool ready;
    unsigned ready_calls;
};

static uv_loop_t loop;
static uv_async_t wake;
static struct node nodes[N + 1];
static char folder[FOLDER_PATH];
static struct message queue[4096];
static size_t queued;
static bool down[N + 1];
static bool (*tamper)(struct message *m); /* false: lost */
static unsigned asked_of[N + 1][128];     /* messages to a node, by type */
static unsigned answers_of[N + 1][128];   /* messages from a node, by type */
static uint64_t pulls_from_least;         /* least `from` of a PULL */

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
    *m = (struct message){p->self, index, type, id, {0}};
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
    *out = (struct driver_status){.leader = d->leader, .synced_index = d->synced_index, .size = UINT64_MAX};
}

bool driver_cosigned(const struct driver *d, struct cosigned_mark *out)
{
    (void)d, (void)out;
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

static void on_wake(uv_async_t *handle)
{
    struct driver *d = &nodes[TARGET].driver;
    struct job_list jobs = {0};
    (void)handle;
    if (d->state && state_thread_finished(d->state, &jobs))
        for (struct job *job; (job = job_list_pop(&jobs));)
            finished(d, job);
}

static void run_reads(struct driver *d)
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

static void turn(void)
{
    paced_clock_turn();
    uv_run(&loop, UV_RUN_NOWAIT);
    size_t count = queued;
    struct message now[64];
    if (count > 64) count = 64;
    memcpy(now, queue, count * sizeof now[0]);
    queued -= count;
    memmove(queue, &queue[count], queued * sizeof queue[0]);
    for (size_t i = 0; i < count; i++) {
        struct catchup *to = nodes[now[i].to].catchup;
        if (to && !down[now[i].to]) catchup_message(to, now[i].from, now[i].type, now[i].id, buffer_bytes(&now[i].body));
        buffer_free(&now[i].body);
    }
    for (unsigned i = 1; i <= N; i++)
        run_reads(&nodes[i].driver);
}

static bool wait_for(bool (*met)(void), unsigned ms)
{
    uint64_t until = clock_monotonic_ns() + ms * UINT64_C(1000000);
    while (!met() && clock_monotonic_ns() < until) {
        turn();
        uv_sleep(1);
    }
    return met();
}

static bool never(void) { return false; }
static bool caught_up(void) { return nodes[TARGET].driver.caught_up > 0; }
static bool ready(void) { return nodes[TARGET].ready; }
static bool has_failed(void) { return nodes[TARGET].driver.failed > 0; }
static bool quarantined(void) { return nodes[TARGET].driver.quarantined > 0; }

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

static void open_target(void)
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
static void close_target(bool flush)
{
    struct node *n = &nodes[TARGET];
    struct driver *d = &n->driver;
    struct job_list left = {0};
    catchup_stop(n->catchup);
    witness_stop(n->witness);
    state_thread_stop(d->state, flush, &left);
    d->state = NULL;
    for (struct job *job; (job = job_list_pop(&left));)
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

static void drop_messages(void)
{
    for (size_t i = 0; i < queued; i++)
        buffer_free(&queue[i].body);
    queued = 0;
}

static int setup(void **state)
{
    (void)state;
    tamper = NULL;
    memset(down, 0, sizeof down);
    memset(asked_of, 0, sizeof asked_of);
    memset(answers_of, 0, sizeof answers_of);
    pulls_from_least = UINT64_MAX;
    folder_make(folder, 1);
    CHECK(uv_async_init(&loop, &wake, on_wake) == 0);
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

static int teardown(void **state)
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
    uv_close((uv_handle_t *)&wake, NULL);
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

static void install(const struct mark *m)
{
    struct buffer manifest = offer_of(m);
    catchup_install(nodes[TARGET].catchup, m->raft_index, m->raft_term, buffer_bytes(&manifest));
    buffer_free(&manifest);
}

static struct state_position position(void)
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

static void assert_at(const struct mark *m)
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
static void assert_whole(void)
{
    assert_true(wait_for(ready, 20000));
    assert_at(&marks[2]);
    assert_true(wait_for(synced_digest_equal, 2000));
}

/* --- the happy path --- */

static void an_empty_node_catches_up(void **state)
{
    (void)state;
    assert_true(wait_for(ready, 2000)); /* nothing is missing yet */
    install(&marks[2]);
    assert_false(nodes[TARGET].ready);
    assert_true(wait_for(caught_up, 20000));
    const struct driver *d = &nodes[TARGET].driver;
    assert_int_equal(d->caught_index, marks[2].raft_index);
    assert_int_equal(d->caught_term, marks[2].raft_term);
    assert_int_equal(d->caught_size, marks[2].size);
    assert_at(&marks[2]);
    assert_int_equal(witness_size(nodes[TARGET].witness), 0); /* its root is judged by the witness itself */
    assert_whole();
    assert_int_equal(d->failed + d->quarantined, 0);
    assert_int_equal(witness_size(nodes[TARGET].witness), marks[2].size);
    unsigned chunks = answers_of[1][PEER_PULLED] + answers_of[2][PEER_PULLED] + answers_of[3][PEER_PULLED];
    assert_true(chunks >= marks[2].size / LIMIT_PULL_LEAVES && chunks <= marks[2].size / LIMIT_PULL_LEAVES + 2);
    unsigned batches = answers_of[1][PEER_ATTACHED] + answers_of[2][PEER_ATTACHED] + answers_of[3][PEER_ATTACHED];
    assert_true(batches >= 7); /* some 740 in three, and ten large ones, two at a time */
}

static void a_node_that_has_a_part_goes_on_from_there(void **state)
{
    (void)state;
    install(&marks[0]);
    assert_true(wait_for(caught_up, 20000));
    assert_at(&marks[0]);
    nodes[TARGET].driver.caught_up = 0;
    pulls_from_least = UINT64_MAX;
    install(&marks[2]);
    assert_true(wait_for(caught_up, 20000));
    assert_int_equal(pulls_from_least, marks[0].size);
    assert_whole();
}

static void the_same_again_needs_no_leaf(void **state)
{
    (void)state;
    install(&marks[0]);
    assert_true(wait_for(caught_up, 20000));
    nodes[TARGET].driver.caught_up = 0;
    pulls_from_least = UINT64_MAX;
    install(&marks[0]);
    assert_true(wait_for(caught_up, 5000));
    assert_int_equal(pulls_from_least, UINT64_MAX);
    assert_at(&marks[0]);
}

static void without_an_offer_the_newest_is_taken(void **state)
{
    (void)state;
    catchup_install(nodes[TARGET].catchup, 0, 0, (struct bytes){0});
    assert_true(wait_for(caught_up, 20000));
    assert_int_equal(nodes[TARGET].driver.caught_index, marks[2].raft_index);
    assert_whole();
}

static unsigned pulled_seen;
static bool stop_after_two(struct message *m) { return m->type != PEER_PULLED || pulled_seen++ < 2; }
static bool two_pulled(void) { return pulled_seen > 2; }

static void a_restart_goes_on_in_the_middle(void **state)
{
    (void)state;
    tamper = stop_after_two;
    pulled_seen = 0;
    install(&marks[2]);
    assert_true(wait_for(two_pulled, 5000));
    wait_for(never, 250); /* a commit */
    close_target(false);
    drop_messages();
    tamper = NULL;
    pulls_from_least = UINT64_MAX;
    open_target();
    struct state_position p = position();
    assert_int_equal(p.size, 1 + 2 * LIMIT_PULL_LEAVES);
    assert_true(p.ahead);
    assert_false(nodes[TARGET].ready);
    assert_true(wait_for(ready, 5000)); /* the attachments of what it has, by itself; the rest is the driver's to ask */
    assert_true(answers_of[1][PEER_ATTACHED] > 0);
    install(&marks[2]);
    assert_true(wait_for(caught_up, 20000));
    assert_int_equal(pulls_from_least, 1 + 2 * LIMIT_PULL_LEAVES);
    assert_whole();
}

/* Replayed beyond what a leader offers now: only a later position ends that. */
static void a_state_beyond_the_offer_goes_to_the_newest(void **state)
{
    (void)state;
    tamper = stop_after_two;
    pulled_seen = 0;
    install(&marks[2]);
    assert_true(wait_for(two_pulled, 5000));
    wait_for(never, 250);
    close_target(false);
    drop_messages();
    tamper = NULL;
    open_target();
    assert_true(position().size > marks[0].size && position().ahead);
    install(&marks[0]);
    assert_true(wait_for(caught_up, 20000));
    assert_int_equal(nodes[TARGET].driver.caught_index, marks[0].raft_index); /* what was asked */
    assert_whole();
}

static void a_new_offer_replaces_the_one_before(void **state)
{
    (void)state;
    install(&marks[0]);
    for (int i = 0; i < 3; i++)
        turn();
    install(&marks[2]);
    for (int i = 0; i < 3; i++)
        turn();
    install(&marks[1]);
    install(&marks[2]);
    assert_true(wait_for(caught_up, 20000));
    assert_int_equal(nodes[TARGET].driver.caught_index, marks[2].raft_index);
    assert_int_equal(nodes[TARGET].driver.caught_up, 1);
    assert_whole();
}

/* --- offers and positions --- */

static void expect_no_leaf(void)
{
    assert_int_equal(position().size, 1);
    assert_int_equal(nodes[TARGET].driver.caught_up, 0);
    assert_int_equal(pulls_from_least, UINT64_MAX);
}

static void an_offer_without_k_cosignatures_is_refused(void **state)
{
    (void)state;
    struct mark bad = marks[1];
    bad.note = make_note(bad.size, &bad.root, kit.genesis.quorum - 1);
    install(&bad);
    assert_true(wait_for(has_failed, 1000));
    buffer_free(&bad.note);
    bad = marks[1];
    bad.root.bytes[3] ^= 1;
    install(&bad);
    wait_for(never, 600);
    bad = marks[1];
    bad.size++;
    install(&bad);
    wait_for(never, 1200);
    catchup_install(nodes[TARGET].catchup, 5, 1, bytes_text("\x93"));
    wait_for(never, 2500);
    assert_int_equal(nodes[TARGET].driver.failed, 4);
    expect_no_leaf();
    install(&marks[2]); /* a good one is taken, after the pause */
    assert_true(wait_for(caught_up, 20000));
}

static void a_false_position_is_refused(void **state)
{
    (void)state;
    struct mark bad = marks[2];
    bad.raft_index += 3;
    install(&bad);
    assert_true(wait_for(has_failed, 1000));
    bad.raft_index -= 3;
    bad.raft_term++;
    install(&bad);
    wait_for(never, 700);
    assert_int_equal(nodes[TARGET].driver.failed, 2);
    expect_no_leaf();
    install(&marks[2]);
    assert_true(wait_for(caught_up, 20000));
    assert_at(&marks[2]);
}

static void the_leader_alone_is_not_enough(void **state)
{
    (void)state;
    down[2] = down[3] = true;
    install(&marks[2]);
    wait_for(never, 1500);
    expect_no_leaf();
    assert_int_equal(nodes[TARGET].driver.failed, 0);
    down[3] = false; /* one more says the same */
    assert_true(wait_for(caught_up, 20000));
}

static bool no_manifests(struct message *m) { return m->type != PEER_MANIFEST; }

static void nobody_who_states_it_ends_the_run(void **state)
{
    (void)state;
    tamper = no_manifests;
    install(&marks[2]);
    assert_true(wait_for(has_failed, 12000));
    assert_int_equal(nodes[TARGET].driver.failed_index, marks[2].raft_index);
    expect_no_leaf();
}

static bool boast(struct message *m)
{
    struct manifest mf;
    if (m->type != PEER_MANIFEST || m->from != 2 || manifest_decode(&mf, buffer_bytes(&m->body)) != OK) return true;
    struct buffer body = {0};
    mf.raft_index += 1000;
    manifest_encode(&body, &mf);
    buffer_free(&m->body);
    m->body = body;
    return true;
}

/* One that states a false position for the newest is not believed, and not chosen again. */
static void a_boast_about_the_newest_is_passed_over(void **state)
{
    (void)state;
    tamper = boast;
    nodes[1].driver.synced_index = nodes[3].driver.synced_index = marks[1].raft_index; /* the others offer less */
    catchup_install(nodes[TARGET].catchup, 0, 0, (struct bytes){0});
    assert_true(wait_for(has_failed, 3000));
    assert_int_equal(nodes[TARGET].driver.caught_up, 0);
    catchup_install(nodes[TARGET].catchup, 0, 0, (struct bytes){0});
    assert_true(wait_for(caught_up, 5000));
    assert_at(&marks[1]);
}

static bool one_earlier(struct message *m)
{
    struct manifest mf;
    if (m->type != PEER_MANIFEST || manifest_decode(&mf, buffer_bytes(&m->body)) != OK) return true;
    struct buffer body = {0};
    mf.raft_index--;
    manifest_encode(&body, &mf);
    buffer_free(&m->body);
    m->body = body;
    return true;
}

/* Of two positions with one size (a block between made no leaf) the state keeps the later. */
static void a_position_never_goes_back(void **state)
{
    (void)state;
    install(&marks[0]);
    assert_true(wait_for(caught_up, 20000));
    nodes[TARGET].driver.caught_up = 0;
    tamper = one_earlier;
    struct mark earlier = marks[0];
    earlier.raft_index--;
    install(&earlier);
    assert_true(wait_for(caught_up, 5000));
    assert_at(&marks[0]);
}

/* --- liars about leaves --- */

static unsigned liar;
static void (*lie)(struct pulled *p, struct buffer *leaves);

static void repack(struct message *m, const struct pulled *p, const struct buffer *leaves)
{
    struct buffer body = {0};
    pulled_encode(&body, p, buffer_bytes(leaves));
    buffer_free(&m->body);
    m->body = body;
}

static bool lie_in_pulled(struct message *m)
{
    if (m->type != PEER_PULLED || m->from != liar) return true;
    struct pulled *p = xcalloc(1, sizeof *p);
    struct buffer leaves = {0};
    CHECK(pulled_decode(p, buffer_bytes(&m->body)) == OK);
    for (uint32_t i = 0; i < p->count; i++)
        pulled_add_leaf(&leaves, p->leaves[i]);
    lie(p, &leaves);
    repack(m, p, &leaves);
    buffer_free(&leaves);
    free(p);
    return true;
}

static void pack_all(const struct pulled *p, struct buffer *leaves)
{
    buffer_clear(leaves);
    for (uint32_t i = 0; i < p->count; i++)
        pulled_add_leaf(leaves, p->leaves[i]);
}

static void alter_leaf(struct pulled *p, struct buffer *leaves)
{
    (void)p;
    leaves->data[leaves->size / 2] ^= 0x10;
}

static void remove_leaf(struct pulled *p, struct buffer *leaves)
{
    memmove(&p->leaves[1], &p->leaves[2], (p->count - 2) * sizeof p->leaves[0]);
    p->count--;
    pack_all(p, leaves);
}

static void swap_leaves(struct pulled *p, struct buffer *leaves)
{
    struct bytes first = p->leaves[0];
    p->leaves[0] = p->leaves[1];
    p->leaves[1] = first;
    pack_all(p, leaves);
}

static void repeat_leaf(struct pulled *p, struct buffer *leaves)
{
    p->leaves[1] = p->leaves[0];
    pack_all(p, leaves);
}

static void wrong_end_proof(struct pulled *p, struct buffer *leaves)
{
    (void)leaves;
    if (p->end_proof.count)
        p->end_proof.hashes[p->end_proof.count - 1].bytes[31] ^= 1;
    else
        p->end_proof = (struct tree_proof){.count = 1};
}

static void short_end_proof(struct pulled *p, struct buffer *leaves)
{
    (void)leaves;
    if (p->end_proof.count) p->end_proof.count--;
    else p->end_proof.count = 2;
}

/* As if this node's own root were wrong. */
static void other_base(struct pulled *p, struct buffer *leaves)
{
    (void)leaves;
    p->base.bytes[0] ^= 1;
}

static void other_range(struct pulled *p, struct buffer *leaves)
{
    (void)leaves;
    p->from++;
    p->to++;
}

static const struct {
    const char *name;
    void (*lie)(struct pulled *p, struct buffer *leaves);
} lies[] = {
    {"altered leaf", alter_leaf},       {"removed leaf", remove_leaf},         {"swapped leaves", swap_leaves},
    {"repeated leaf", repeat_leaf},     {"wrong end proof", wrong_end_proof},  {"short end proof", short_end_proof},
    {"another base", other_base},       {"another range", other_range},
};

static void lies_about_leaves_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        liar = 1; /* it is asked first */
        lie = lies[i].lie;
        tamper = lie_in_pulled;
        install(&marks[i % 2]);
        bool done = wait_for(caught_up, 20000);
        if (!done) print_message("%s\n", lies[i].name);
        assert_true(done);
        assert_at(&marks[i % 2]);
        assert_int_equal(answers_of[1][PEER_PULLED], 1); /* found out at once */
        assert_int_equal(nodes[TARGET].driver.failed + nodes[TARGET].driver.quarantined, 0);
        teardown(NULL);
        setup(NULL);
    }
}

/* Asked once, found out, and not again in this run. */
static void a_liar_is_not_asked_again(void **state)
{
    (void)state;
    tamper = lie_in_pulled;
    lie = alter_leaf;
    liar = 1;
    install(&marks[2]);
    assert_true(wait_for(caught_up, 20000));
    assert_true(answers_of[1][PEER_PULLED] == 1);
    assert_at(&marks[2]);
}

static bool all_lie(struct message *m)
{
    liar = m->from;
    return lie_in_pulled(m);
}

static void when_all_lie_it_fails_and_tries_again(void **state)
{
    (void)state;
    tamper = all_lie;
    lie = alter_leaf;
    install(&marks[2]);
    assert_true(wait_for(has_failed, 10000));
    assert_int_equal(position().size, 1);
    for (unsigned i = 1; i < N; i++)
        assert_int_equal(answers_of[i][PEER_PULLED], 1);
    tamper = NULL;
    install(&marks[2]);
    assert_true(wait_for(caught_up, 20000));
    assert_whole();
}

static bool silence(struct message *m) { return !(m->from == liar && m->type == PEER_PULLED); }
static bool garble(struct message *m)
{
    if (m->from == liar && (m->type == PEER_PULLED || m->type == PEER_ATTACHED)) m->body.size--;
    return true;
}

static void silent_and_garbled_peers_are_passed_over(void **state)
{
    (void)state;
    liar = 1;
    tamper = silence;
    install(&marks[0]);
    assert_true(wait_for(caught_up, 20000));
    liar = 2;
    tamper = garble;
    nodes[TARGET].driver.caught_up = 0;
    install(&marks[2]);
    assert_true(wait_for(caught_up, 20000));
    assert_int_equal(nodes[TARGET].driver.failed, 0);
    assert_whole();
}

static void a_peer_that_goes_away_is_replaced(void **state)
{
    (void)state;
    tamper = stop_after_two;
    pulled_seen = 0;
    install(&marks[2]);
    assert_true(wait_for(two_pulled, 5000));
    down[1] = true;
    tamper = NULL;
    assert_true(wait_for(caught_up, 20000));
    assert_whole();
}

/* Answers that nobody asked for, or that come too late, change nothing. */
static void unasked_answers_are_ignored(void **state)
{
    (void)state;
    struct buffer body = {0};
    struct pulled *p = xcalloc(1, sizeof *p);
    static const uint32_t types[] = {PEER_MANIFEST, PEER_PULLED, PEER_ATTACHED, PEER_FAILED};
    p->from = 1, p->to = 9, p->count = 1;
    pulled_encode(&body, p, bytes_text("\xc4\x01x"));
    for (uint64_t id = 0; id < 8; id++)
        for (unsigned t = 0; t < 4; t++)
            catchup_message(nodes[TARGET].catchup, 1, types[t], id, buffer_bytes(&body));
    catchup_message(nodes[TARGET].catchup, 0, PEER_PULLED, 1, buffer_bytes(&body));
    catchup_message(nodes[TARGET].catchup, N + 1, PEER_PULLED, 1, buffer_bytes(&body));
    catchup_message(nodes[TARGET].catchup, TARGET, PEER_PULLED, 1, buffer_bytes(&body));
    free(p);
    buffer_free(&body);
    install(&marks[2]);
    assert_true(wait_for(caught_up, 20000));
    assert_whole();
}

/* --- contradictions --- */

/* Other leaves than the cluster's, made with the same genesis. */
static void fork_target(unsigned users)
{
    struct kit other;
    close_target(true);
    kit_open(&other, N, 1, (struct bytes){0});
    for (unsigned i = 0; i < users; i++)
        kit_add_user(&other, 70000 + i, "nurse", "Mercy", "Somebody Else");
    kit_reopen(&other);
    struct driver *d = &nodes[TARGET].driver;
    struct store_options options = {.directory = folder, .tables = ledger_tables, .table_count = ledger_tables_count,
                                    .map_size = 1u << 30};
    static const struct seal_key key = {{7}};
    struct table_txn *txn;
    struct ledger *ledger;
    struct buffer leaf = {0};
    options.key = &key;
    CHECK(store_open(&d->store, &options, NULL) == OK);
    CHECK(store_begin_write(&txn, d->store) == OK);
    CHECK(ledger_open(&ledger, txn, NULL) == OK);
    for (uint64_t i = 1; i < ledger_size(other.ledger); i++) {
        CHECK(proof_leaf(&leaf, other.txn, i) == OK);
        CHECK(ledger_replay(ledger, txn, buffer_bytes(&leaf), NULL) == OK);
    }
    CHECK(ledger_set_applied(ledger, txn, users, 1) == OK);
    ledger_free(ledger);
    CHECK(store_commit(txn) == OK);
    store_close(d->store);
    buffer_free(&leaf);
    kit_close(&other);
    open_target();
}

static void assert_quarantined(uint64_t size)
{
    assert_true(wait_for(quarantined, 10000));
    wait_for(never, 200);
    assert_int_equal(position().size, size);
    assert_int_equal(nodes[TARGET].driver.caught_up, 0);
    assert_int_equal(nodes[TARGET].driver.quarantined, 1);
    assert_true(nodes[TARGET].driver.failed >= 1);
    assert_false(nodes[TARGET].ready);
}

static void a_fork_is_quarantined(void **state)
{
    (void)state;
    fork_target(6); /* 7 leaves: no power of two */
    uint64_t size = position().size;
    install(&marks[2]);
    assert_quarantined(size);
}

static void a_fork_of_a_power_of_two_is_quarantined(void **state)
{
    (void)state;
    fork_target(7);
    assert_int_equal(position().size, 8);
    install(&marks[2]);
    assert_quarantined(8);
}

/* Already longer than what is offered. */
static void a_longer_fork_is_quarantined(void **state)
{
    (void)state;
    fork_target((unsigned)marks[0].size + 10);
    uint64_t size = position().size;
    assert_true(size > marks[0].size);
    install(&marks[0]);
    assert_quarantined(size);
}

static void a_fork_of_the_same_size_is_quarantined(void **state)
{
    (void)state;
    fork_target((unsigned)marks[0].size - 1);
    assert_int_equal(position().size, marks[0].size);
    install(&marks[0]);
    assert_quarantined(marks[0].size);
}

/* k nodes co-signed a leaf that the rules refuse: this node does not follow them. */
static void a_leaf_against_the_rules_is_not_replayed(void **state)
{
    (void)state;
    struct kit bad;
    struct buffer raw = {0}, altered = {0};
    struct leaf leaf;
    struct mark m = {.raft_index = 90, .raft_term = 1};
    kit_open(&bad, N, 1, (struct bytes){0});
    for (unsigned i = 0; i < 6; i++)
        kit_add_user(&bad, 70000 + i, "nurse", "Mercy", "Somebody Else");
    uint64_t last = ledger_size(bad.ledger) - 1;
    CHECK(proof_leaf(&raw, bad.txn, last) == OK && leaf_decode(&leaf, buffer_bytes(&raw)) == OK);
    leaf.decision = DECISION_DENIED;
    leaf.reason = REASON_SCOPE;
    leaf_encode(&altered, &leaf);
    struct tree tree;
    struct tree_row row;
    struct digest hash;
    uint8_t key[8];
    CHECK(proof_tree(&tree, bad.txn, last) == OK);
    leaf_hash(&hash, buffer_bytes(&altered));
    tree_append(&tree, &row, &hash);
    put_be64(key, last);
    CHECK(table_put(bad.txn, TABLE_LEAF, BYTES(key), buffer_bytes(&altered)) == OK);
    CHECK(table_put(bad.txn, TABLE_TREE, BYTES(key), bytes_of(row.hashes, row.count * 32)) == OK);
    m.size = last + 1;
    tree_root(&m.root, &tree);
    m.note = make_note(m.size, &m.root, N);
    put_row(bad.txn, &m);
    CHECK(store_commit(bad.txn) == OK);
    for (unsigned i = 1; i < N; i++)
        nodes[i].driver.store = bad.store;
    install(&m);
    assert_quarantined(last); /* up to it, all was right */
    for (unsigned i = 1; i < N; i++) {
        run_reads(&nodes[i].driver);
        nodes[i].driver.store = kit.store;
    }
    CHECK(store_begin_write(&bad.txn, bad.store) == OK);
    buffer_free(&m.note);
    buffer_free(&raw);
    buffer_free(&altered);
    kit_close(&bad);
}

/* --- liars about attachments --- */

static void (*attachment_lie)(uint32_t i, enum attachment_state *state, struct bytes *attachment);

static bool lie_in_attached(struct message *m)
{
    if (m->type != PEER_ATTACHED || m->from != liar) return true;
    struct attached *a = xcalloc(1, sizeof *a);
    struct buffer items = {0}, body = {0};
    CHECK(attached_decode(a, buffer_bytes(&m->body)) == OK);
    for (uint32_t i = 0; i < a->count; i++) {
        attachment_lie(i, &a->states[i], &a->attachments[i]);
        attached_add(&items, a->states[i], a->attachments[i]);
    }
    attached_encode(&body, a->count, buffer_bytes(&items));
    buffer_free(&m->body);
    m->body = body;
    buffer_free(&items);
    free(a);
    return true;
}

static void alter_attachment(uint32_t i, enum attachment_state *state, struct bytes *attachment)
{
    if (i == 20 && *state == ATTACHMENT_HERE) ((uint8_t *)(uintptr_t)attachment->data)[attachment->size / 2] ^= 1;
}

static void deny_attachment(uint32_t i, enum attachment_state *state, struct bytes *attachment)
{
    (void)i;
    *state = ATTACHMENT_ERASED;
    *attachment = (struct bytes){0};
}

static void put_off_attachment(uint32_t i, enum attachment_state *state, struct bytes *attachment)
{
    (void)i;
    *state = ATTACHMENT_NOT_YET;
    *attachment = (struct bytes){0};
}

static void lies_about_attachments_are_refused(void **state)
{
    (void)state;
    liar = 1;
    tamper = lie_in_attached;
    attachment_lie = alter_attachment;
    install(&marks[2]);
    assert_true(wait_for(caught_up, 20000));
    assert_whole();
    assert_int_equal(answers_of[1][PEER_ATTACHED], 1);
}

static void one_that_says_erased_is_not_believed(void **state)
{
    (void)state;
    liar = 1;
    tamper = lie_in_attached;
    attachment_lie = deny_attachment;
    install(&marks[2]);
    assert_true(wait_for(caught_up, 20000));
    assert_whole();
}

static bool many_have_none(struct message *m)
{
    liar = m->from == 3 ? 0 : m->from;
    return lie_in_attached(m);
}

/* Two of three don't have them yet: the third does. */
static void what_others_wait_for_comes_from_who_has_it(void **state)
{
    (void)state;
    tamper = many_have_none;
    attachment_lie = put_off_attachment;
    install(&marks[2]);
    assert_true(wait_for(caught_up, 20000));
    assert_whole();
}

static bool nobody_has_any(struct message *m)
{
    liar = m->from;
    return lie_in_attached(m);
}

static void what_nobody_has_yet_keeps_it_from_being_ready(void **state)
{
    (void)state;
    tamper = nobody_has_any;
    attachment_lie = put_off_attachment;
    install(&marks[2]);
    assert_true(wait_for(caught_up, 20000));
    wait_for(never, 1000);
    assert_false(nodes[TARGET].ready);
    tamper = NULL;
    assert_whole();
}

/* The source forgets some: b + 1 that say so are enough. */
static void what_is_erased_is_done_without(void **state)
{
    (void)state;
    uint64_t erased[3];
    struct buffer kept[3] = {{0}};
    struct table_txn *txn = kit.txn;
    uint64_t from = marks[2].size - RECORDS;
    for (unsigned i = 0; i < 3; i++) {
        uint8_t key[8];
        erased[i] = from + i;
        put_be64(key, erased[i]);
        CHECK(table_get(txn, TABLE_ATTACHMENT, BYTES(key), &kept[i]) == OK);
        CHECK(table_delete(txn, TABLE_ATTACHMENT, BYTES(key)) == OK);
    }
    kit_reopen(&kit);
    struct digest whole = kit_whole;
    kit_whole = kit_digest(&kit);
    install(&marks[2]);
    assert_true(wait_for(caught_up, 20000));
    assert_whole();
    /* One alone that says so is not enough. */
    teardown(NULL);
    setup(NULL);
    install(&marks[2]);
    assert_true(wait_for(caught_up, 20000));
    down[2] = down[3] = true;
    wait_for(never, 1000);
    assert_false(nodes[TARGET].ready);
    down[2] = false;
    assert_whole();
    for (unsigned i = 0; i < 3; i++) {
        uint8_t key[8];
        put_be64(key, erased[i]);
        CHECK(table_put(kit.txn, TABLE_ATTACHMENT, BYTES(key), buffer_bytes(&kept[i])) == OK);
        buffer_free(&kept[i]);
    }
    kit_reopen(&kit);
    kit_whole = whole;
}

/* --- serving --- */

static unsigned seen_type;
static enum err seen_code;
static enum attachment_state seen_state;

static bool spy(struct message *m)
{
    if (m->to != TARGET) return true;
    struct attached *a = xcalloc(1, sizeof *a);
    seen_type = m->type;
    if (m->type == PEER_ATTACHED && attached_decode(a, buffer_bytes(&m->body)) == OK) seen_state = a->states[0];
    free(a);
    struct refusal r;
    if (m->type == PEER_FAILED) seen_code = refusal_decode(&r, buffer_bytes(&m->body)) == OK ? r.code : OK;
    return true;
}

static bool seen(void) { return seen_type != 0; }

static void ask(uint32_t type, struct bytes body)
{
    seen_type = 0;
    seen_code = OK;
    catchup_message(nodes[1].catchup, TARGET, type, 77, body);
    assert_true(wait_for(seen, 1000));
}

static void expect_refused(uint32_t type, struct bytes body, enum err code)
{
    ask(type, body);
    assert_int_equal(seen_type, PEER_FAILED);
    assert_int_equal(seen_code, code);
}

static void malformed_asks_are_refused(void **state)
{
    (void)state;
    struct buffer body = {0};
    tamper = spy;
    static const uint32_t types[] = {PEER_MANIFEST_ASK, PEER_PULL, PEER_ATTACHMENTS};
    for (unsigned i = 0; i < 3; i++) {
        expect_refused(types[i], (struct bytes){0}, ERR_TRUNCATED);
        expect_refused(types[i], bytes_text("\xc1"), ERR_MALFORMED);
        expect_refused(types[i], bytes_text("\x90"), ERR_MALFORMED);
    }
    static const struct pull pulls[] = {{0, 5}, {5, 5}, {6, 5}};
    for (unsigned i = 0; i < 3; i++) {
        buffer_clear(&body);
        pull_encode(&body, &pulls[i]);
        expect_refused(PEER_PULL, buffer_bytes(&body), ERR_INVALID);
    }
    buffer_clear(&body);
    pull_encode(&body, &(struct pull){1, marks[2].size + 1}); /* not there */
    expect_refused(PEER_PULL, buffer_bytes(&body), ERR_NOT_FOUND);
    buffer_clear(&body);
    attachments_ask_encode(&body, &(struct attachments_ask){2, {7, 7}});
    expect_refused(PEER_ATTACHMENTS, buffer_bytes(&body), ERR_INVALID);
    buffer_clear(&body);
    attachments_ask_encode(&body, &(struct attachments_ask){1, {UINT64_MAX}});
    ask(PEER_ATTACHMENTS, buffer_bytes(&body));
    assert_int_equal(seen_type, PEER_ATTACHED);
    assert_int_equal(seen_state, ATTACHMENT_NOT_YET);
    buffer_clear(&body);
    attachments_ask_encode(&body, &(struct attachments_ask){1, {marks[2].size - 1}});
    ask(PEER_ATTACHMENTS, buffer_bytes(&body));
    assert_int_equal(seen_state, ATTACHMENT_HERE);
    buffer_free(&body);
}

static unsigned refused_busy, served;

static bool count_answers(struct message *m)
{
    struct refusal r;
    if (m->to != TARGET) return true;
    if (m->type == PEER_FAILED && refusal_decode(&r, buffer_bytes(&m->body)) == OK && r.code == ERR_BUSY) refused_busy++;
    if (m->type == PEER_PULLED) served++;
    return true;
}

static void only_so_many_at_once_are_served(void **state)
{
    (void)state;
    struct buffer body = {0};
    tamper = count_answers;
    refused_busy = served = 0;
    pull_encode(&body, &(struct pull){1, marks[2].size});
    for (int i = 0; i < 10; i++)
        catchup_message(nodes[1].catchup, TARGET, PEER_PULL, 77, buffer_bytes(&body));
    catchup_message(nodes[1].catchup, 2, PEER_PULL, 77, buffer_bytes(&body)); /* another peer is served */
    assert_int_equal(refused_busy, 10 - LIMIT_PULL_SERVED);
    assert_int_equal(nodes[1].driver.read_count, LIMIT_PULL_SERVED + 1);
    wait_for(never, 20);
    assert_int_equal(served, LIMIT_PULL_SERVED);
    nodes[1].driver.refuse = true;
    catchup_message(nodes[1].catchup, TARGET, PEER_PULL, 77, buffer_bytes(&body));
    assert_int_equal(refused_busy, 10 - LIMIT_PULL_SERVED + 1);
    nodes[1].driver.refuse = false;
    buffer_free(&body);
}

static void the_manifest_is_one_that_is_synced(void **state)
{
    (void)state;
    struct buffer manifest = {0};
    struct offer offer;
    uint64_t index, term;
    assert_true(catchup_manifest(nodes[1].catchup, &index, &term, &manifest));
    assert_int_equal(index, marks[2].raft_index);
    nodes[1].driver.synced_index = marks[2].raft_index - 1;
    buffer_clear(&manifest);
    assert_true(catchup_manifest(nodes[1].catchup, &index, &term, &manifest));
    assert_int_equal(index, marks[1].raft_index);
    assert_int_equal(offer_decode(&offer, buffer_bytes(&manifest)), OK);
    assert_int_equal(offer.size, marks[1].size);
    nodes[1].driver.synced_index = marks[0].raft_index - 1;
    buffer_clear(&manifest);
    assert_false(catchup_manifest(nodes[1].catchup, &index, &term, &manifest));
    assert_false(catchup_manifest(nodes[TARGET].catchup, &index, &term, &manifest));
    buffer_free(&manifest);
}

/* --- a state that is busy, a stop in the middle --- */

static void a_busy_state_is_tried_again(void **state)
{
    (void)state;
    nodes[TARGET].driver.refuse = true;
    install(&marks[2]);
    assert_true(wait_for(has_failed, 2000));
    nodes[TARGET].driver.refuse = false;
    install(&marks[2]);
    assert_true(wait_for(caught_up, 20000));
    assert_whole();
}

static void it_stops_at_any_moment(void **state)
{
    (void)state;
    for (int turns = 0; turns < 40; turns++) {
        install(&marks[2]);
        for (int i = 0; i < turns; i++)
            turn();
        close_target(turns % 2);
        drop_messages();
        open_target();
    }
    install(&marks[2]);
    assert_true(wait_for(caught_up, 20000));
    assert_whole();
}

int main(void)
{
    crypto_init();
    log_setup(LOG_ERROR, false);
    CHECK(uv_loop_init(&loop) == 0);
    build_source();
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(an_empty_node_catches_up),
        T(a_node_that_has_a_part_goes_on_from_there),
        T(the_same_again_needs_no_leaf),
        T(without_an_offer_the_newest_is_taken),
        T(a_restart_goes_on_in_the_middle),
        T(a_state_beyond_the_offer_goes_to_the_newest),
        T(a_new_offer_replaces_the_one_before),
        T(an_offer_without_k_cosignatures_is_refused),
        T(a_false_position_is_refused),
        T(the_leader_alone_is_not_enough),
        T(nobody_who_states_it_ends_the_run),
        T(a_boast_about_the_newest_is_passed_over),
        T(a_position_never_goes_back),
        T(lies_about_leaves_are_refused),
        T(a_liar_is_not_asked_again),
        T(when_all_lie_it_fails_and_tries_again),
        T(silent_and_garbled_peers_are_passed_over),
        T(a_peer_that_goes_away_is_replaced),
        T(unasked_answers_are_ignored),
        T(a_fork_is_quarantined),
        T(a_fork_of_a_power_of_two_is_quarantined),
        T(a_longer_fork_is_quarantined),
        T(a_fork_of_the_same_size_is_quarantined),
        T(a_leaf_against_the_rules_is_not_replayed),
        T(lies_about_attachments_are_refused),
        T(one_that_says_erased_is_not_believed),
        T(what_others_wait_for_comes_from_who_has_it),
        T(what_nobody_has_yet_keeps_it_from_being_ready),
        T(what_is_erased_is_done_without),
        T(malformed_asks_are_refused),
        T(only_so_many_at_once_are_served),
        T(the_manifest_is_one_that_is_synced),
        T(a_busy_state_is_tried_again),
        T(it_stops_at_any_moment),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    for (unsigned i = 0; i < MARKS; i++)
        buffer_free(&marks[i].note);
    kit_close(&kit);
    CHECK(uv_loop_close(&loop) == 0);
    return failed;
}
