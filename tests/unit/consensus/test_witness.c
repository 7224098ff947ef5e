/* Four witnesses over drivers, disks and a network made by the test: a network that
 * loses, doubles and reorders by a seed (SEED=n replays), drivers whose marks take a
 * while, a ledger of a tree whose leaves are numbers. */
#include "tests/lib/unit.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/log.h"
#include "base/pack.h"
#include "consensus/peer_messages.h"
#include "consensus/witness.h"
#include "consensus/witness_rows.h"
#include "crypto/keys.h"
#include "crypto/random.h"
#include "ledger/checkpoint.h"
#include "ledger/evidence.h"
#include "ledger/state.h"
#include "ledger/tables.h"
#include "ledger/tree.h"
#include "net/peers.h"
#include "storage/store.h"
#include "tests/lib/paced_clock.h"
#include "tests/lib/samples.h"
#include "tests/lib/trace.h"

#define N 4
#define MAP_SIZE (UINT64_C(1) << 30) /* of address space a sanitizer has little */
#define K 3

struct message {
    unsigned from, to, delay;
    uint32_t type;
    struct buffer body;
};

struct peers {
    unsigned self;
};

struct pending { /* a job of the fake driver, finished in a later turn */
    struct state_read *read;
    struct state_write *write;
    struct cosigned_mark *mark;
};

struct driver {
    unsigned self;
    struct store *store;
    struct tree tree;
    uint64_t raft_index, raft_term, time_ms;
    struct cosigned_mark durable;
    bool any_mark;
    enum err read_refused;
    enum err mark_error, mark_refused; /* what the next mark ends with; driver_log_cosigned returns */
    bool hold_marks;
    struct pending pending[256];
    size_t pending_count;
};

struct node {
    struct driver driver;
    struct peers peers;
    struct witness *witness;
    struct node_secrets keys;
    bool cut; /* nothing comes or goes */
    unsigned witnessed_calls, quarantined, deceived, evidence[N + 1];
    char kind[64];
    struct buffer last_evidence;
    uint64_t cosigned_most; /* largest size in a COSIGN it sent */
    uint64_t told_most;     /* largest raft index that it told */
};

static uv_loop_t loop;
static struct genesis genesis;
static struct buffer genesis_text;
static struct node nodes[N + 1];
static struct message queue[8192];
static size_t queued;
static uint64_t seed, sent[128];
static unsigned lose_percent, double_percent, delay_most;
static bool reorder;
static uint32_t drop_type;  /* messages of this type, and ... */
static unsigned drop_to;    /* ... to this node (0: all) are lost */
static bool apart[N + 1][N + 1]; /* no message from the one reaches the other */

/* --- the doubles --- */

enum err peers_send(struct peers *p, uint32_t index, uint32_t type, uint64_t id, struct bytes body)
{
    (void)id;
    assert_true(index >= 1 && index <= N && index != p->self && type < 128);
    sent[type]++;
    if (type == PEER_COSIGN) {
        struct unpack u = unpack_start(body);
        unpack_array_of(&u, 4);
        uint64_t size = unpack_uint(&u);
        assert_true(size >= nodes[p->self].cosigned_most);
        nodes[p->self].cosigned_most = size;
    }
    if (type == PEER_TELL || type == PEER_PACE) {
        struct unpack u = unpack_start(body);
        unpack_array_of(&u, 5);
        unpack_uint(&u);
        unpack_digest(&u);
        uint64_t raft_index = unpack_uint(&u);
        assert_true(raft_index >= nodes[p->self].told_most);
        nodes[p->self].told_most = raft_index;
    }
    if (apart[p->self][index] || (type == drop_type && (drop_to == 0 || drop_to == index))) return OK;
    for (int copies = 1 + (trace_random(&seed) % 100 < double_percent); copies > 0; copies--) {
        if (trace_random(&seed) % 100 < lose_percent || nodes[p->self].cut || nodes[index].cut) continue;
        CHECK(queued < sizeof queue / sizeof queue[0]);
        struct message *m = &queue[queued++];
        *m = (struct message){.from = p->self, .to = index, .type = type};
        if (delay_most) m->delay = (unsigned)(trace_random(&seed) % delay_most);
        buffer_append_bytes(&m->body, body);
    }
    return OK;
}

static void later(struct driver *d, struct pending what)
{
    CHECK(d->pending_count < sizeof d->pending / sizeof d->pending[0]);
    d->pending[d->pending_count++] = what;
}

enum err driver_read(struct driver *d, struct state_read *r)
{
    if (d->read_refused != OK) return d->read_refused;
    later(d, (struct pending){.read = r});
    return OK;
}

enum err driver_write(struct driver *d, struct state_write *w)
{
    later(d, (struct pending){.write = w});
    return OK;
}

enum err driver_log_cosigned(struct driver *d, struct cosigned_mark *m)
{
    if (d->mark_refused != OK) return d->mark_refused;
    later(d, (struct pending){.mark = m});
    return OK;
}

bool driver_cosigned(const struct driver *d, struct cosigned_mark *out)
{
    if (d->any_mark) *out = d->durable;
    return d->any_mark;
}

void driver_status(const struct driver *d, struct driver_status *out)
{
    *out = (struct driver_status){.size = d->tree.size, .synced_size = d->tree.size, .synced_index = d->raft_index};
}

static void run_pending(struct driver *d, const struct pending *p)
{
    struct table_txn *txn;
    if (p->mark) {
        enum err e = d->mark_error;
        if (e == OK) {
            assert_true(!d->any_mark || p->mark->size > d->durable.size);
            d->durable = *p->mark;
            d->any_mark = true;
        }
        p->mark->done(p->mark, e);
    } else if (p->read) {
        assert_int_equal(store_begin_read(&txn, d->store), OK);
        enum err e = p->read->run(p->read, txn);
        store_abort(txn);
        p->read->done(p->read, e);
    } else {
        assert_int_equal(store_begin_write(&txn, d->store), OK);
        enum err e = p->write->run(p->write, txn, NULL);
        assert_int_equal(store_commit(txn), OK);
        p->write->done(p->write, e);
    }
}

static void run_driver(struct driver *d)
{
    struct pending work[256];
    size_t count = d->pending_count, kept = 0;
    memcpy(work, d->pending, count * sizeof work[0]);
    d->pending_count = 0;
    for (size_t i = 0; i < count; i++) {
        if (work[i].mark && d->hold_marks)
            work[kept++] = work[i];
        else
            run_pending(d, &work[i]);
    }
    for (size_t i = 0; i < kept; i++)
        later(d, work[i]);
}

/* --- the ledger --- */

static struct digest leaf_of(uint64_t index, bool forked)
{
    struct digest d = sample_digest((unsigned)index + 1);
    if (forked) d.bytes[1] = 0xee;
    return d;
}

/* A block of so many leaves; `forked`: other ones than the others'. */
static struct driver_applied grow(struct driver *d, unsigned leaves, bool forked)
{
    struct table_txn *txn;
    struct digest leaf;
    assert_int_equal(store_begin_write(&txn, d->store), OK);
    for (unsigned i = 0; i < leaves; i++) {
        struct tree_row row;
        uint8_t key[8];
        leaf = leaf_of(d->tree.size, forked);
        put_be64(key, d->tree.size);
        tree_append(&d->tree, &row, &leaf);
        assert_int_equal(table_put(txn, TABLE_TREE, BYTES(key), bytes_of(row.hashes, row.count * 32)), OK);
    }
    struct meta meta = {.rules = RULES_VERSION, .size = d->tree.size};
    assert_int_equal(state_meta_put(txn, &meta), OK);
    assert_int_equal(store_commit(txn), OK);
    d->raft_index++;
    d->time_ms = SAMPLE_TIME + d->raft_index;
    struct driver_applied a = {.raft_index = d->raft_index, .raft_term = d->raft_term, .size = d->tree.size,
                               .time_ms = d->time_ms, .awaited = true};
    tree_root(&a.root, &d->tree);
    return a;
}

static void apply_forked(unsigned node, unsigned leaves, bool forked)
{
    struct driver_applied a = grow(&nodes[node].driver, leaves, forked);
    witness_applied(nodes[node].witness, &a);
}

static void apply(unsigned node, unsigned leaves) { apply_forked(node, leaves, false); }

static void apply_all(unsigned leaves)
{
    for (unsigned i = 1; i <= N; i++)
        apply(i, leaves);
}

/* --- nodes --- */

static void on_witnessed(void *data, uint64_t size)
{
    struct node *n = data;
    assert_int_equal(witness_size(n->witness), size);
    n->witnessed_calls++;
}

static void on_quarantine(void *data, const char *why)
{
    struct node *n = data;
    assert_non_null(strstr(why, "contradicts"));
    n->quarantined++;
}

static void on_evidence(void *data, const char *kind, unsigned named, uint64_t size, struct bytes evidence)
{
    struct node *n = data;
    struct evidence e;
    assert_true(named >= 1 && named <= N && size > 0);
    if (evidence.size) assert_true(evidence_open(&e, evidence, &genesis) == OK && e.signer == named);
    n->evidence[named]++;
    snprintf(n->kind, sizeof n->kind, "%s", kind);
    buffer_clear(&n->last_evidence);
    buffer_append_bytes(&n->last_evidence, evidence);
}

static void on_deceived(void *data, const char *why)
{
    struct node *n = data;
    assert_non_null(strstr(why, "contradicts"));
    n->deceived++;
}

static uint64_t quiet_index, quiet_term; /* of the next start */
static bool takes_deceived;

static void start_witness(unsigned i)
{
    struct node *n = &nodes[i];
    struct witness_options options = {
        .loop = &loop, .genesis = &genesis, .self = i, .keys = &n->keys, .driver = &n->driver, .peers = &n->peers,
        .store = n->driver.store, .data = n, .on_witnessed = on_witnessed, .on_quarantine = on_quarantine,
        .on_evidence = on_evidence, .quiet_index = quiet_index, .quiet_term = quiet_term,
    };
    if (takes_deceived) options.on_deceived = on_deceived;
    assert_int_equal(witness_start(&n->witness, &options, NULL), OK);
}

static void stop_witness(unsigned i)
{
    struct node *n = &nodes[i];
    n->driver.hold_marks = false;
    witness_stop(n->witness);
    while (n->driver.pending_count)
        run_driver(&n->driver);
    uv_run(&loop, UV_RUN_NOWAIT);
    witness_free(n->witness);
    n->witness = NULL;
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
    lose_percent = double_percent = delay_most = drop_type = drop_to = 0;
    reorder = false;
    memset(sent, 0, sizeof sent);
    memset(apart, 0, sizeof apart);
    for (unsigned i = 1; i <= N; i++) {
        struct store_options options = {.tables = ledger_tables, .table_count = ledger_tables_count,
                                        .map_size = MAP_SIZE, .scratch = true};
        char folder[] = "/tmp/witness-XXXXXX";
        struct node *n = &nodes[i];
        *n = (struct node){.driver.self = i, .driver.raft_term = 1, .peers.self = i};
        CHECK(mkdtemp(folder));
        options.directory = folder;
        assert_int_equal(store_open(&n->driver.store, &options, NULL), OK);
        sample_node_secrets(&n->keys, i);
        start_witness(i);
    }
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    drop_messages();
    for (unsigned i = 1; i <= N; i++) {
        stop_witness(i);
        store_close(nodes[i].driver.store);
        buffer_free(&nodes[i].last_evidence);
    }
    drop_messages();
    return 0;
}

/* --- turning --- */

static void deliver(void)
{
    struct message due[64];
    size_t count = 0, kept = 0;
    for (size_t i = 0; i < queued; i++) {
        if (queue[i].delay > 0 || count == sizeof due / sizeof due[0]) {
            if (queue[i].delay > 0) queue[i].delay--;
            queue[kept++] = queue[i];
        } else {
            due[count++] = queue[i];
        }
    }
    queued = kept;
    while (count > 0) {
        size_t pick = reorder ? trace_random(&seed) % count : 0;
        struct message m = due[pick];
        memmove(&due[pick], &due[pick + 1], (count - pick - 1) * sizeof due[0]);
        count--;
        witness_message(nodes[m.to].witness, m.from, m.type, buffer_bytes(&m.body));
        buffer_free(&m.body);
    }
}

static void turn(void)
{
    paced_clock_turn();
    uv_run(&loop, UV_RUN_NOWAIT);
    deliver();
    for (unsigned i = 1; i <= N; i++)
        run_driver(&nodes[i].driver);
}

static void settle(void)
{
    for (int quiet = 0; quiet < 3; quiet++) {
        size_t work = queued;
        for (unsigned i = 1; i <= N; i++)
            work += nodes[i].driver.hold_marks ? 0 : nodes[i].driver.pending_count;
        if (work) quiet = 0;
        turn();
    }
}

static void sleep_ms(unsigned ms)
{
    uint64_t until = clock_monotonic_ns() + ms * UINT64_C(1000000);
    while (clock_monotonic_ns() < until) {
        turn();
        uv_sleep(2);
    }
}

static bool all_at(uint64_t size)
{
    for (unsigned i = 1; i <= N; i++)
        if (witness_size(nodes[i].witness) != size) return false;
    return true;
}

static bool wait_all_at(uint64_t size, unsigned ms)
{
    uint64_t until = clock_monotonic_ns() + ms * UINT64_C(1000000);
    while (!all_at(size) && clock_monotonic_ns() < until) {
        turn();
        uv_sleep(1);
    }
    return all_at(size);
}

static void lead(unsigned leader, uint64_t term)
{
    for (unsigned i = 1; i <= N; i++) {
        nodes[i].driver.raft_term = term;
        witness_role(nodes[i].witness, i == leader, term);
    }
}

static void assert_note(unsigned node, uint64_t size)
{
    struct bytes note;
    struct digest root, own;
    struct checkpoint checkpoint;
    uint64_t noted, index, term;
    struct tree tree = {0};
    for (uint64_t i = 0; i < size; i++) {
        struct digest leaf = leaf_of(i, false);
        tree_append(&tree, NULL, &leaf);
    }
    tree_root(&own, &tree);
    assert_true(witness_newest(nodes[node].witness, &note, &noted, &root, &index, &term));
    assert_int_equal(noted, size);
    assert_int_equal(checkpoint_verify(&checkpoint, note, &genesis), OK);
    assert_int_equal(checkpoint.size, size);
    assert_true(digest_equal(&checkpoint.root, &own) && digest_equal(&root, &own));
}

/* --- messages made by the test --- */

struct claim {
    uint64_t size, raft_index, raft_term;
    struct digest root;
};

static void make_tell(struct buffer *out, unsigned signer, const struct claim *c)
{
    static const char tag[] = "consilium/tell/v1\n";
    uint8_t bytes[sizeof tag - 1 + 32 + 8 + 32 + 8 + 8], *at = bytes;
    struct signature signature;
    memcpy(at, tag, sizeof tag - 1), at += sizeof tag - 1;
    memcpy(at, genesis.cluster.bytes, 32), at += 32;
    put_be64(at, c->size), at += 8;
    memcpy(at, c->root.bytes, 32), at += 32;
    put_be64(at, c->raft_index), at += 8;
    put_be64(at, c->raft_term);
    sign_message(&signature, &nodes[signer].keys.message, BYTES(bytes));
    pack_array(out, 5);
    pack_uint(out, c->size);
    pack_digest(out, &c->root);
    pack_uint(out, c->raft_index);
    pack_uint(out, c->raft_term);
    pack_bin(out, signature.bytes, sizeof signature.bytes);
}

static void send_tell(unsigned from, unsigned to, uint32_t type, const struct claim *c)
{
    struct buffer body = {0};
    make_tell(&body, from, c);
    witness_message(nodes[to].witness, from, type, buffer_bytes(&body));
    buffer_free(&body);
}

static void send_cosign(unsigned from, unsigned to, uint64_t size, const struct digest *root)
{
    struct checkpoint checkpoint;
    struct cosignature c = {.time_s = 1790000000};
    struct buffer body = {0};
    checkpoint_set(&checkpoint, &genesis, size, root);
    checkpoint_cosign(&c, &checkpoint, c.time_s, &nodes[from].keys.cosign);
    pack_array(&body, 4);
    pack_uint(&body, size);
    pack_digest(&body, root);
    pack_uint(&body, c.time_s);
    pack_bin(&body, c.signature.bytes, sizeof c.signature.bytes);
    witness_message(nodes[to].witness, from, PEER_COSIGN, buffer_bytes(&body));
    buffer_free(&body);
}

static struct claim own_claim(unsigned node)
{
    const struct driver *d = &nodes[node].driver;
    struct claim c = {d->tree.size, d->raft_index, d->raft_term, {{0}}};
    tree_root(&c.root, &d->tree);
    return c;
}

/* --- tests --- */

static void a_block_is_told_cosigned_and_witnessed(void **state)
{
    (void)state;
    lead(1, 1);
    apply_all(3);
    settle();
    assert_true(all_at(3));
    for (unsigned i = 1; i <= N; i++) {
        assert_note(i, 3);
        assert_int_equal(nodes[i].witnessed_calls, 1);
        assert_int_equal(nodes[i].driver.durable.size, 3);
        assert_int_equal(nodes[i].driver.durable.raft_index, 1);
        assert_int_equal(witness_time_ms(nodes[i].witness), SAMPLE_TIME + 1);
        assert_int_equal(nodes[i].quarantined, 0);
    }
    /* k nodes paced by one PACE each: nobody else asked. */
    assert_int_equal(sent[PEER_PACE], N - 1);
}

static void blocks_while_a_round_runs_wait_for_the_next(void **state)
{
    (void)state;
    lead(2, 1);
    for (int i = 0; i < 20; i++)
        apply_all(2);
    assert_true(wait_all_at(40, 3000)); /* many blocks in a round: the next one waits for more */
    assert_true(nodes[2].witnessed_calls >= 2 && nodes[2].witnessed_calls < 20);
    assert_true(sent[PEER_PACE] <= 3 * (N - 1)); /* one in flight: sizes between are skipped */
    assert_note(4, 40);
}

static void it_is_kept_on_disk_with_the_position_that_k_told(void **state)
{
    (void)state;
    lead(1, 7);
    apply_all(5);
    settle();
    for (unsigned i = 1; i <= N; i++) {
        struct witnessed row;
        unsigned count;
        assert_int_equal(witness_rows_load(&row, &count, 1, nodes[i].driver.store), OK);
        assert_int_equal(count, 1);
        assert_int_equal(row.size, 5);
        assert_int_equal(row.raft_index, 1);
        assert_int_equal(row.raft_term, 7);
        buffer_free(&row.note);
    }
    stop_witness(3);
    start_witness(3);
    assert_int_equal(witness_size(nodes[3].witness), 5);
    assert_note(3, 5);
    assert_non_null(witness_before(nodes[3].witness, 1));
    assert_null(witness_before(nodes[3].witness, 0));
}

/* Blocks without leaves come while the round for the one before is under way. */
static void of_several_positions_the_one_that_k_told_is_kept(void **state)
{
    (void)state;
    lead(1, 1);
    for (unsigned i = 1; i <= N; i++)
        nodes[i].driver.hold_marks = true;
    apply_all(4);
    settle();
    apply_all(0);
    apply_all(0);
    for (unsigned i = 1; i <= N; i++)
        nodes[i].driver.hold_marks = false;
    settle();
    assert_true(all_at(4));
    for (unsigned i = 1; i <= N; i++) {
        const struct witnessed *w = witness_before(nodes[i].witness, UINT64_MAX);
        assert_non_null(w);
        assert_int_equal(w->raft_index, 1);
    }
}

static void only_so_many_rows_are_kept(void **state)
{
    (void)state;
    struct witnessed rows[8];
    unsigned count;
    lead(1, 1);
    for (int i = 0; i < CHECKPOINTS_STORED + 10; i++) {
        apply_all(1);
        settle();
    }
    assert_true(all_at(CHECKPOINTS_STORED + 10));
    struct table_txn *txn;
    assert_int_equal(store_begin_read(&txn, nodes[1].driver.store), OK);
    assert_int_equal(table_count(txn, TABLE_CHECKPOINT), CHECKPOINTS_STORED);
    store_abort(txn);
    assert_int_equal(witness_rows_load(rows, &count, 8, nodes[1].driver.store), OK);
    assert_int_equal(count, 8);
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(rows[i].size, CHECKPOINTS_STORED + 10 - i);
        buffer_free(&rows[i].note);
    }
    /* In memory, too, the newest are there, and the ones before them are not. */
    const struct witnessed *w = witness_before(nodes[1].witness, CHECKPOINTS_STORED);
    assert_non_null(w);
    assert_int_equal(w->raft_index, CHECKPOINTS_STORED);
    assert_null(witness_before(nodes[1].witness, CHECKPOINTS_STORED + 10 - WITNESS_KEPT));
}

static void a_block_without_leaves_needs_no_checkpoint(void **state)
{
    (void)state;
    lead(1, 1);
    apply_all(2);
    settle();
    uint64_t tells = sent[PEER_TELL];
    apply_all(0);
    sleep_ms(1200);
    assert_int_equal(sent[PEER_TELL], tells);
    apply_all(1);
    settle();
    assert_true(all_at(3));
    struct digest root;
    assert_true(witness_was_at(nodes[2].witness, &root, 1, 1, 2));
    assert_true(witness_was_at(nodes[2].witness, &root, 2, 1, 2)); /* the same size, a later position */
    assert_false(witness_was_at(nodes[2].witness, &root, 2, 2, 2));
    assert_false(witness_was_at(nodes[2].witness, &root, 3, 1, 2));
    assert_false(witness_was_at(nodes[2].witness, &root, 0, 0, 0));
}

static void a_node_that_has_not_applied_it_yet_tells_later(void **state)
{
    (void)state;
    lead(1, 1);
    apply(1, 4);
    apply(2, 4);
    settle();
    assert_int_equal(witness_size(nodes[1].witness), 0);
    apply(3, 4);
    settle();
    assert_int_equal(witness_size(nodes[1].witness), 4);
    assert_int_equal(witness_size(nodes[4].witness), 0); /* cosignatures came before its state */
    apply(4, 4);
    settle();
    assert_true(all_at(4));
    assert_note(4, 4);
}

static void fewer_than_k_make_nothing(void **state)
{
    (void)state;
    nodes[3].cut = nodes[4].cut = true;
    lead(1, 1);
    apply_all(4);
    sleep_ms(1300);
    assert_int_equal(witness_size(nodes[1].witness), 0);
    assert_false(nodes[1].driver.any_mark);
    assert_false(nodes[2].driver.any_mark);
    nodes[3].cut = false;
    sleep_ms(1300);
    assert_int_equal(witness_size(nodes[1].witness), 4);
    assert_int_equal(witness_size(nodes[3].witness), 4);
    assert_int_equal(witness_size(nodes[4].witness), 0);
    nodes[4].cut = false;
    witness_peer_up(nodes[1].witness, 4);
    settle();
    assert_int_equal(witness_size(nodes[4].witness), 4);
    assert_note(4, 4);
}

static void a_fork_is_named_and_quarantines_itself(void **state)
{
    (void)state;
    lead(1, 1);
    for (unsigned i = 1; i <= 3; i++)
        apply(i, 4);
    apply_forked(4, 4, true);
    settle();
    for (unsigned i = 1; i <= 3; i++) {
        assert_int_equal(witness_size(nodes[i].witness), 4);
        assert_int_equal(nodes[i].evidence[4], 1);
        assert_int_equal(nodes[i].quarantined, 0);
    }
    assert_int_equal(nodes[4].quarantined, 1);
    assert_int_equal(witness_size(nodes[4].witness), 0);
    assert_false(nodes[4].driver.any_mark);
    apply_all(2);
    settle();
    assert_int_equal(witness_size(nodes[1].witness), 6);
    assert_int_equal(nodes[4].quarantined, 1);
    assert_int_equal(nodes[4].cosigned_most, 0);
}

static void a_leader_that_lies_about_its_root_stops_nobody(void **state)
{
    (void)state;
    lead(4, 1);
    for (unsigned i = 1; i <= 3; i++)
        apply(i, 4);
    apply_forked(4, 4, true);
    sleep_ms(1300);
    for (unsigned i = 1; i <= 3; i++) {
        assert_int_equal(witness_size(nodes[i].witness), 4);
        assert_true(nodes[i].evidence[4] >= 1);
        assert_int_equal(nodes[i].evidence[1] + nodes[i].evidence[2] + nodes[i].evidence[3], 0);
    }
}

static void assert_proves(unsigned node, unsigned named, enum evidence_kind kind)
{
    struct evidence e;
    assert_int_equal(evidence_open(&e, buffer_bytes(&nodes[node].last_evidence), &genesis), OK);
    assert_int_equal(e.signer, named);
    assert_int_equal(evidence_kind(&e), kind);
}

static void two_roots_under_one_signature_are_evidence(void **state)
{
    (void)state;
    struct claim one = {5, 1, 1, sample_digest(1)}, two = {5, 1, 1, sample_digest(2)};
    struct claim later = {5, 1, 2, sample_digest(2)};
    send_tell(4, 1, PEER_TELL, &one);
    send_tell(4, 1, PEER_TELL, &one);
    send_tell(4, 1, PEER_TELL, &later); /* as after a rebuild: no lie that could be proved */
    assert_int_equal(nodes[1].evidence[4], 0);
    send_tell(4, 1, PEER_TELL, &one);
    send_tell(4, 1, PEER_TELL, &two);
    assert_int_equal(nodes[1].evidence[4], 1);
    assert_proves(1, 4, EVIDENCE_ROOTS);
    send_cosign(3, 1, 5, &one.root);
    send_cosign(3, 1, 5, &two.root);
    assert_int_equal(nodes[1].evidence[3], 1);
    assert_proves(1, 3, EVIDENCE_CHECKPOINTS);
}

/* --- what was told is shown around --- */

static struct claim claim_of(unsigned node) /* what it would tell of its newest block */
{
    const struct driver *d = &nodes[node].driver;
    struct claim c = {d->tree.size, d->raft_index, d->raft_term, {{0}}};
    tree_root(&c.root, &d->tree);
    return c;
}

static void send_shown(unsigned from, unsigned to, const unsigned *members, const struct claim *claims, unsigned count)
{
    struct buffer body = {0};
    pack_array(&body, count);
    for (unsigned i = 0; i < count; i++) {
        struct buffer tell = {0};
        make_tell(&tell, members[i], &claims[i]);
        pack_array(&body, 2);
        pack_uint(&body, members[i]);
        pack_bytes(&body, buffer_bytes(&tell));
        buffer_free(&tell);
    }
    witness_message(nodes[to].witness, from, PEER_TOLD, buffer_bytes(&body));
    buffer_free(&body);
}

static void two_roots_for_two_nodes_show_when_shown(void **state)
{
    (void)state;
    struct claim one = {5, 1, 1, sample_digest(1)}, two = {5, 1, 1, sample_digest(2)};
    send_tell(4, 1, PEER_TELL, &one);
    send_shown(2, 1, (const unsigned[]){4}, &one, 1);
    assert_int_equal(nodes[1].evidence[4], 0);
    send_shown(2, 1, (const unsigned[]){4}, &two, 1);
    assert_int_equal(nodes[1].evidence[4], 1);
    assert_proves(1, 4, EVIDENCE_ROOTS);
    /* Nobody else can say it in its name. */
    struct buffer body = {0}, tell = {0};
    make_tell(&tell, 2, &two);
    pack_array(&body, 1);
    pack_array(&body, 2);
    pack_uint(&body, 3);
    pack_bytes(&body, buffer_bytes(&tell));
    witness_message(nodes[1].witness, 2, PEER_TOLD, buffer_bytes(&body));
    assert_int_equal(nodes[1].evidence[3], 0);
    for (size_t cut = 0; cut < body.size; cut++)
        witness_message(nodes[1].witness, 2, PEER_TOLD, bytes_of(body.data, cut));
    witness_exclude(nodes[1].witness, 4); /* and who was caught isn't heard any more */
    send_tell(4, 1, PEER_TELL, &two);
    assert_int_equal(nodes[1].evidence[4], 1);
    buffer_free(&body);
    buffer_free(&tell);
}

/* A tell that comes before its block is applied here is compared once it is. */
static void roots_told_too_early_are_compared_later(void **state)
{
    (void)state;
    struct claim other = {4, 1, 1, sample_digest(9)};
    lead(1, 1);
    send_tell(4, 1, PEER_TELL, &other);
    assert_int_equal(nodes[1].evidence[4], 0);
    apply(1, 4);
    assert_int_equal(nodes[1].evidence[4], 1);
    assert_true(sent[PEER_TOLD] > 0);
}

static void may_be_rebuilt(unsigned node)
{
    stop_witness(node);
    takes_deceived = true;
    start_witness(node);
    takes_deceived = false;
}

/* k words against its own root: it yields, if it has cosigned nothing of that. */
static void k_words_bind_who_stands_elsewhere(void **state)
{
    (void)state;
    struct claim other = {4, 1, 1, sample_digest(9)}, claims[3] = {other, other, other};
    may_be_rebuilt(1);
    lead(1, 1);
    apply(1, 4);
    send_shown(2, 1, (const unsigned[]){2, 3}, claims, 2);
    assert_int_equal(nodes[1].deceived + nodes[1].quarantined, 0);
    send_shown(2, 1, (const unsigned[]){2, 3, 3}, claims, 3); /* one twice is one */
    assert_int_equal(nodes[1].deceived + nodes[1].quarantined, 0);
    witness_withdraw(nodes[1].witness, 4, 1, 1); /* its word is taken back */
    send_shown(2, 1, (const unsigned[]){2, 3, 4}, claims, 3);
    assert_int_equal(nodes[1].deceived + nodes[1].quarantined, 0);
    witness_withdraw(nodes[1].witness, 4, 0, 0);
    send_shown(2, 1, (const unsigned[]){2, 3, 4}, claims, 3);
    assert_int_equal(nodes[1].deceived, 1);
    assert_int_equal(nodes[1].quarantined, 0);
}

static void who_cosigned_is_quarantined_not_rebuilt(void **state)
{
    (void)state;
    may_be_rebuilt(1);
    lead(1, 1);
    apply_all(4);
    settle();
    assert_int_equal(nodes[1].driver.durable.size, 4);
    struct claim other = {4, 1, 1, sample_digest(9)}, claims[3] = {other, other, other};
    send_shown(2, 1, (const unsigned[]){2, 3, 4}, claims, 3);
    assert_int_equal(nodes[1].deceived, 0);
    assert_int_equal(nodes[1].quarantined, 1);
}

/* Words of who is excluded, and words that were taken back, make no cosignature. */
static void words_that_do_not_count(void **state)
{
    (void)state;
    lead(1, 1);
    drop_type = PEER_TELL; /* only what the test sends */
    witness_exclude(nodes[1].witness, 4);
    apply(1, 4);
    struct claim same = claim_of(1);
    send_tell(4, 1, PEER_TELL, &same);
    send_tell(3, 1, PEER_TELL, &same);
    settle();
    assert_false(nodes[1].driver.any_mark); /* 1 and 3 */
    witness_withdraw(nodes[1].witness, 3, same.raft_term, same.raft_index);
    send_tell(2, 1, PEER_TELL, &same);
    settle();
    assert_false(nodes[1].driver.any_mark); /* 1 and 2 */
    witness_withdraw(nodes[1].witness, 3, 0, 0);
    send_tell(3, 1, PEER_TELL, &same);
    settle();
    assert_true(nodes[1].driver.any_mark);
}

/* After a rebuild it tells nothing of what it may have told otherwise; a later term it does. */
static void quiet_up_to_where_it_told_before(void **state)
{
    (void)state;
    stop_witness(1);
    quiet_index = 2;
    quiet_term = 1;
    start_witness(1);
    quiet_index = quiet_term = 0;
    lead(1, 1);
    apply(1, 4);
    sleep_ms(1300);
    assert_int_equal(sent[PEER_TELL] + sent[PEER_PACE], 0);
    struct claim same = claim_of(1);
    send_tell(2, 1, PEER_PACE, &same);
    assert_int_equal(sent[PEER_TELL], 0);
    apply(1, 1);
    apply(1, 1);
    assert_true(sent[PEER_PACE] > 0); /* index 3 */
}

/* Its own root is not the one that it cosigned for k others: no k equal tells, no mark. */
static void tells_that_differ_anywhere_are_not_equal(void **state)
{
    (void)state;
    nodes[2].cut = nodes[3].cut = nodes[4].cut = true;
    apply(1, 4);
    struct claim good = own_claim(1);
    send_tell(2, 1, PEER_TELL, &good);
    struct claim other = good;
    other.raft_term++;
    send_tell(3, 1, PEER_TELL, &other);
    other = good;
    other.raft_index++;
    send_tell(4, 1, PEER_TELL, &other);
    lead(1, 1);
    settle();
    assert_false(nodes[1].driver.any_mark);
    send_tell(4, 1, PEER_TELL, &good);
    settle();
    assert_true(nodes[1].driver.any_mark);
    assert_int_equal(nodes[1].driver.durable.size, 4);
}

static void lost_messages_are_made_good_by_pacing(void **state)
{
    (void)state;
    lead(1, 1);
    lose_percent = 100;
    apply_all(3);
    settle();
    assert_true(all_at(0));
    lose_percent = 0;
    assert_true(wait_all_at(3, 3000));
}

/* Three, of which two reach each other only through the leader, and the fourth is away: as much as a ring gives. */
static void members_apart_learn_what_others_told(void **state)
{
    (void)state;
    uint64_t until = clock_monotonic_ns() + UINT64_C(60000000000);
    lead(1, 1);
    apart[2][3] = apart[3][2] = nodes[4].cut = true;
    for (unsigned i = 1; i < N; i++)
        apply(i, 3);
    while (witness_size(nodes[1].witness) + witness_size(nodes[2].witness) + witness_size(nodes[3].witness) < 9 &&
           clock_monotonic_ns() < until) {
        turn();
        uv_sleep(1);
    }
    for (unsigned i = 1; i < N; i++)
        assert_note(i, 3);
    assert_true(sent[PEER_TOLD] > 0);
}

static void who_missed_cosignatures_gets_the_note(void **state)
{
    (void)state;
    lead(1, 1);
    drop_type = PEER_COSIGN;
    drop_to = 4;
    apply_all(3);
    settle();
    assert_int_equal(witness_size(nodes[1].witness), 3);
    assert_int_equal(witness_size(nodes[4].witness), 0);
    sleep_ms(1200);
    assert_int_equal(witness_size(nodes[4].witness), 3);
    assert_true(sent[PEER_NOTE_PUSH] >= 1);
}

static void an_older_pace_gets_no_older_root(void **state)
{
    (void)state;
    for (unsigned i = 1; i <= N; i++)
        nodes[i].cut = true;
    apply(2, 2);
    struct claim old = own_claim(2);
    apply(2, 2);
    struct claim now = own_claim(2);
    send_tell(3, 2, PEER_PACE, &now);
    assert_int_equal(nodes[2].told_most, 2);
    uint64_t tells = sent[PEER_TELL];
    send_tell(4, 2, PEER_PACE, &old);
    assert_int_equal(sent[PEER_TELL], tells);
    send_tell(4, 2, PEER_PACE, &now); /* the same again: it may have been lost */
    assert_int_equal(sent[PEER_TELL], tells + N - 1);
}

static void an_older_cosignature_displaces_none(void **state)
{
    (void)state;
    for (unsigned i = 2; i <= N; i++)
        nodes[i].cut = true;
    apply(1, 4);
    struct claim four = own_claim(1);
    apply(1, 2);
    struct claim six = own_claim(1);
    send_cosign(2, 1, 6, &six.root);
    send_cosign(2, 1, 4, &four.root);
    send_cosign(3, 1, 6, &six.root);
    assert_int_equal(witness_size(nodes[1].witness), 0);
    send_cosign(4, 1, 6, &six.root);
    assert_int_equal(witness_size(nodes[1].witness), 6);
    send_cosign(4, 1, 4, &four.root);
    assert_int_equal(witness_size(nodes[1].witness), 6);
}

static void without_a_leader_any_node_paces(void **state)
{
    (void)state;
    apply_all(3);
    assert_int_equal(queued, 0);
    assert_true(wait_all_at(3, 3000));
}

static void a_new_leader_paces_at_once(void **state)
{
    (void)state;
    lead(1, 1);
    nodes[1].cut = true;
    apply_all(3);
    settle();
    assert_true(all_at(0));
    witness_role(nodes[2].witness, true, 2);
    settle();
    for (unsigned i = 2; i <= N; i++)
        assert_int_equal(witness_size(nodes[i].witness), 3);
}

/* Loss, doubling, reordering, delay, and a leader that changes: in the end all agree. */
static void any_network_ends_well(void **state)
{
    (void)state;
    lose_percent = 30;
    double_percent = 20;
    delay_most = 12;
    reorder = true;
    unsigned behind[N + 1] = {0};
    for (int round = 0; round < 60; round++) {
        if (round % 15 == 0) lead(1 + (unsigned)(trace_random(&seed) % N), 1 + (unsigned)round);
        for (unsigned i = 1; i <= N; i++) {
            behind[i]++;
            while (behind[i] && trace_random(&seed) % 3)
                apply(i, 1), behind[i]--;
        }
        for (int t = 0; t < 10; t++)
            turn();
        uv_sleep(1);
    }
    lose_percent = 0;
    for (unsigned i = 1; i <= N; i++)
        for (; behind[i]; behind[i]--)
            apply(i, 1);
    bool done = wait_all_at(60, 6000);
    if (!done) print_message("SEED=%llu\n", (unsigned long long)seed);
    assert_true(done);
    for (unsigned i = 1; i <= N; i++) {
        assert_note(i, 60);
        assert_int_equal(nodes[i].quarantined, 0);
        for (unsigned j = 1; j <= N; j++)
            assert_int_equal(nodes[i].evidence[j], 0);
    }
}

static void a_restart_never_signs_anything_smaller(void **state)
{
    (void)state;
    lead(1, 1);
    nodes[4].driver.hold_marks = true; /* the others go on without it */
    apply_all(6);
    settle();
    nodes[4].driver.hold_marks = false;
    settle();
    assert_int_equal(nodes[4].driver.durable.size, 6);
    /* It restarts on a disk whose state is older than its mark. */
    stop_witness(4);
    struct driver *d = &nodes[4].driver;
    struct cosigned_mark mark = d->durable;
    store_close(d->store);
    char folder[] = "/tmp/witness-XXXXXX";
    CHECK(mkdtemp(folder));
    struct store_options options = {.directory = folder, .tables = ledger_tables,
                                    .table_count = ledger_tables_count, .map_size = MAP_SIZE, .scratch = true};
    *d = (struct driver){.self = 4, .raft_term = 1, .durable = mark, .any_mark = true};
    assert_int_equal(store_open(&d->store, &options, NULL), OK);
    start_witness(4);
    nodes[4].cosigned_most = 0;
    nodes[1].cut = nodes[2].cut = nodes[3].cut = true;
    apply(4, 4);
    struct claim c = own_claim(4);
    for (unsigned i = 1; i <= 3; i++)
        send_tell(i, 4, PEER_TELL, &c);
    settle();
    assert_int_equal(nodes[4].cosigned_most, 0);
    assert_int_equal(d->durable.size, 6);
    /* The size of its mark: the same again, without another mark. */
    apply(4, 2);
    c = own_claim(4);
    c.raft_index = 2;
    for (unsigned i = 1; i <= 3; i++)
        send_tell(i, 4, PEER_TELL, &c);
    settle();
    assert_int_equal(nodes[4].cosigned_most, 6);
    assert_int_equal(nodes[4].quarantined, 0);
}

static void a_restart_never_signs_another_root(void **state)
{
    (void)state;
    struct driver *d = &nodes[4].driver;
    d->any_mark = true;
    d->durable = (struct cosigned_mark){.raft_index = 1, .size = 4, .root = sample_digest(77)};
    nodes[1].cut = nodes[2].cut = nodes[3].cut = true;
    apply(4, 4);
    struct claim c = own_claim(4);
    for (unsigned i = 1; i <= 3; i++)
        send_tell(i, 4, PEER_TELL, &c);
    settle();
    assert_int_equal(nodes[4].quarantined, 1);
    assert_int_equal(nodes[4].cosigned_most, 0);
}

static void no_cosignature_before_its_mark_is_durable(void **state)
{
    (void)state;
    lead(1, 1);
    for (unsigned i = 1; i <= N; i++)
        nodes[i].driver.hold_marks = true;
    apply_all(3);
    settle();
    assert_int_equal(sent[PEER_COSIGN], 0);
    /* One's disk fails, one is busy: the others don't wait for them. */
    nodes[2].driver.mark_error = ERR_IO;
    for (unsigned i = 1; i <= N; i++)
        nodes[i].driver.hold_marks = false;
    settle();
    assert_int_equal(nodes[2].cosigned_most, 0);
    assert_true(all_at(3));
    nodes[2].driver.mark_error = OK;
    nodes[3].driver.mark_refused = ERR_BUSY;
    apply_all(1);
    settle();
    assert_true(all_at(4));
    assert_int_equal(nodes[3].cosigned_most, 3);
    nodes[3].driver.mark_refused = OK;
    apply_all(1);
    settle();
    assert_int_equal(nodes[3].cosigned_most, 5);
}

static void an_absurd_pace_blocks_nothing(void **state)
{
    (void)state;
    struct claim absurd = {UINT64_MAX, UINT64_MAX, UINT64_MAX, sample_digest(1)};
    lead(1, 1);
    for (unsigned i = 1; i <= 3; i++) {
        send_tell(4, i, PEER_PACE, &absurd);
        absurd.size = absurd.raft_index = UINT64_MAX / 2;
        send_tell(4, i, PEER_PACE, &absurd);
        send_cosign(4, i, UINT64_MAX, &absurd.root);
    }
    for (int i = 0; i < 5; i++) {
        apply_all(2);
        settle();
    }
    assert_true(all_at(10));
    /* From the one that sent it, a sensible one is answered later. */
    witness_role(nodes[1].witness, false, 2);
    witness_role(nodes[4].witness, true, 2);
    apply_all(2);
    settle();
    assert_true(all_at(12));
}

static void what_is_not_well_formed_is_ignored(void **state)
{
    (void)state;
    struct buffer good = {0}, bad = {0};
    lead(2, 1); /* node 1 only listens */
    nodes[2].cut = nodes[3].cut = nodes[4].cut = true;
    apply(1, 4);
    struct claim c = own_claim(1);
    make_tell(&good, 3, &c);
    uint64_t first = clock_monotonic_ns();
    static const uint32_t types[] = {PEER_TELL, PEER_PACE, PEER_COSIGN, PEER_NOTE_PUSH};
    for (size_t t = 0; t < 4; t++)
        for (size_t cut = 0; cut < good.size; cut++)
            witness_message(nodes[1].witness, 3, types[t], bytes_of(good.data, cut));
    witness_message(nodes[1].witness, 0, PEER_TELL, buffer_bytes(&good));
    witness_message(nodes[1].witness, N + 1, PEER_TELL, buffer_bytes(&good));
    witness_message(nodes[1].witness, 2, PEER_TELL, buffer_bytes(&good)); /* 3's signature */
    struct claim none = {0, 1, 1, c.root}, nowhere = {4, 0, 1, c.root};
    send_tell(3, 1, PEER_TELL, &none);
    send_tell(3, 1, PEER_TELL, &nowhere);
    buffer_append_bytes(&bad, buffer_bytes(&good));
    for (size_t i = bad.size - 64; i < bad.size; i++) {
        bad.data[i] ^= 1;
        witness_message(nodes[1].witness, 3, PEER_TELL, buffer_bytes(&bad));
        bad.data[i] ^= 1;
    }
    send_tell(4, 1, PEER_TELL, &c);
    settle();
    assert_false(nodes[1].driver.any_mark); /* 1 and 4 only */
    witness_role(nodes[1].witness, true, 2);
    /* Who sent so much that is wrong is heard again a moment later, not at once. */
    witness_message(nodes[1].witness, 3, PEER_TELL, buffer_bytes(&good));
    settle();
    if (clock_monotonic_ns() - first < UINT64_C(900000000)) assert_false(nodes[1].driver.any_mark);
    for (unsigned tries = 0; tries < 3000 && !nodes[1].driver.any_mark; tries++) {
        witness_message(nodes[1].witness, 3, PEER_TELL, buffer_bytes(&good));
        settle();
        uv_sleep(20);
    }
    assert_true(nodes[1].driver.any_mark);
    /* Cosignatures of others that don't verify never complete it. */
    struct digest wrong = sample_digest(5);
    send_cosign(3, 1, 4, &wrong);
    send_cosign(4, 1, 4, &wrong);
    assert_int_equal(witness_size(nodes[1].witness), 0);
    buffer_free(&good);
    buffer_free(&bad);
}

/* --- notes of peers --- */

static struct buffer make_note(uint64_t size, bool forked, unsigned signers)
{
    struct tree tree = {0};
    struct digest root;
    struct checkpoint checkpoint;
    struct cosigner cosigners[LIMIT_NODES];
    struct cosignature list[LIMIT_NODES] = {{0}};
    struct buffer note = {0};
    for (uint64_t i = 0; i < size; i++) {
        struct digest leaf = leaf_of(i, forked);
        tree_append(&tree, NULL, &leaf);
    }
    tree_root(&root, &tree);
    checkpoint_set(&checkpoint, &genesis, size, &root);
    cosigners_of_genesis(cosigners, &genesis);
    for (unsigned i = 1; i <= signers; i++) {
        list[i - 1].time_s = 1790000000;
        checkpoint_cosign(&list[i - 1], &checkpoint, 1790000000, &nodes[i].keys.cosign);
    }
    checkpoint_format(&note, &checkpoint, cosigners, list, N);
    return note;
}

static void a_note_waits_until_its_size_is_applied(void **state)
{
    (void)state;
    struct buffer note = make_note(7, false, K), few = make_note(9, false, K - 1);
    witness_take_note(nodes[1].witness, buffer_bytes(&few));
    witness_take_note(nodes[1].witness, buffer_bytes(&note));
    apply(1, 5);
    settle();
    assert_int_equal(witness_size(nodes[1].witness), 0);
    apply(1, 5); /* past it: the tree in the store decides */
    settle();
    assert_int_equal(witness_size(nodes[1].witness), 7);
    assert_note(1, 7);
    assert_null(witness_before(nodes[1].witness, UINT64_MAX)); /* its place in the raft log is not known */
    buffer_free(&note);
    buffer_free(&few);
}

static void a_note_is_judged_without_another_block(void **state)
{
    (void)state;
    struct buffer note = make_note(7, false, K);
    apply(1, 5);
    apply(1, 5);
    witness_take_note(nodes[1].witness, buffer_bytes(&note));
    settle();
    assert_int_equal(witness_size(nodes[1].witness), 7);
    buffer_free(&note);
}

static void a_note_is_judged_later_when_the_state_is_busy(void **state)
{
    (void)state;
    struct buffer note = make_note(7, false, K);
    apply(1, 5);
    apply(1, 5);
    nodes[1].driver.read_refused = ERR_BUSY;
    witness_take_note(nodes[1].witness, buffer_bytes(&note));
    settle();
    assert_int_equal(witness_size(nodes[1].witness), 0);
    nodes[1].driver.read_refused = OK;
    sleep_ms(120);
    assert_int_equal(witness_size(nodes[1].witness), 7);
    buffer_free(&note);
}

static void a_note_that_contradicts_quarantines(void **state)
{
    (void)state;
    struct buffer note = make_note(7, true, K), end = make_note(10, true, N);
    apply(1, 5);
    apply(1, 5);
    witness_take_note(nodes[1].witness, buffer_bytes(&note));
    settle();
    assert_int_equal(nodes[1].quarantined, 1);
    assert_int_equal(witness_size(nodes[1].witness), 0);
    apply(2, 10); /* the end of a block */
    witness_take_note(nodes[2].witness, buffer_bytes(&end));
    settle();
    assert_int_equal(nodes[2].quarantined, 1);
    sleep_ms(150);
    assert_int_equal(nodes[1].quarantined + nodes[2].quarantined, 2);
    buffer_free(&note);
    buffer_free(&end);
}

static void a_replayed_state_takes_the_note_but_states_no_position(void **state)
{
    (void)state;
    struct buffer note = make_note(8, false, K);
    struct driver_applied a = grow(&nodes[3].driver, 8, false);
    a.replayed = true;
    witness_take_note(nodes[3].witness, buffer_bytes(&note));
    witness_applied(nodes[3].witness, &a);
    settle();
    assert_int_equal(witness_size(nodes[3].witness), 8);
    struct digest root;
    assert_false(witness_was_at(nodes[3].witness, &root, a.raft_index, a.raft_term, 8));
    buffer_free(&note);
}

/* --- waiting --- */

struct waiter {
    struct witness_wait wait;
    unsigned calls;
    enum err code;
    struct waiter *cancels;
    bool again;
};

static void waited(struct witness_wait *wait, enum err code)
{
    struct waiter *w = wait->data;
    w->calls++;
    w->code = code;
    if (w->cancels) witness_wait_cancel(nodes[1].witness, &w->cancels->wait);
    if (w->again) {
        w->again = false;
        wait->leaf_index = 1000;
        witness_wait(nodes[1].witness, wait);
    }
}

static void begin_wait(struct waiter *w, uint64_t leaf, unsigned ms)
{
    w->wait = (struct witness_wait){.leaf_index = leaf, .data = w, .done = waited,
                                    .deadline_ns = clock_monotonic_ns() + ms * UINT64_C(1000000)};
    witness_wait(nodes[1].witness, &w->wait);
}

static void waiters_hear_once(void **state)
{
    (void)state;
    struct waiter a = {0}, b = {0}, c = {0}, d = {0}, e = {0};
    lead(1, 1);
    begin_wait(&a, 2, 5000); /* the last leaf of three */
    begin_wait(&b, 3, 5000); /* one further */
    begin_wait(&c, 0, 5000);
    witness_wait_cancel(nodes[1].witness, &c.wait);
    begin_wait(&d, 100, 100);
    apply_all(3);
    settle();
    assert_true(a.calls == 1 && a.code == OK);
    assert_int_equal(b.calls + c.calls + d.calls, 0);
    begin_wait(&e, 1, 5000); /* at once */
    assert_true(e.calls == 1 && e.code == OK);
    sleep_ms(250);
    assert_true(d.calls == 1 && d.code == ERR_NOT_WITNESSED);
    apply_all(1);
    settle();
    assert_true(b.calls == 1 && b.code == OK);
    assert_int_equal(a.calls + c.calls + d.calls + e.calls, 3);
    begin_wait(&a, 50, 5000);
    begin_wait(&b, 51, 5000);
    witness_wait_cancel(nodes[1].witness, &a.wait);
    witness_wait_cancel(nodes[1].witness, &a.wait); /* no matter */
    stop_witness(1);
    assert_true(a.calls == 1 && b.calls == 2 && b.code == ERR_STOPPED);
    start_witness(1);
}

static void a_callback_may_cancel_others_that_are_due(void **state)
{
    (void)state;
    enum { WAITERS = 9 };
    struct waiter w[WAITERS] = {{.calls = 0}}, far = {0};
    lead(1, 1);
    begin_wait(&far, 500, 5000);
    for (int i = 0; i < WAITERS; i++) {
        w[i].again = i == 4;
        begin_wait(&w[i], 0, 5000);
    }
    for (int i = 0; i < WAITERS; i++)
        w[i].cancels = i % 3 == 0 ? &w[(i + 1) % WAITERS] : NULL;
    apply_all(1);
    settle();
    unsigned calls = 0;
    for (int i = 0; i < WAITERS; i++) {
        assert_true(w[i].calls <= 1);
        calls += w[i].calls;
    }
    assert_true(calls >= WAITERS - 3 && far.calls == 0);
    for (int i = 0; i < WAITERS; i++)
        w[i].cancels = NULL;
    for (unsigned i = 1; i <= N; i++)
        for (int block = 0; block < 1; block++)
            apply(i, 1200);
    settle();
    assert_int_equal(far.calls, 1);
    if (w[4].calls) assert_int_equal(w[4].calls, 2);
}

/* --- rounds that nobody waits for --- */

static void apply_unawaited(void)
{
    for (unsigned i = 1; i <= N; i++) {
        struct driver_applied a = grow(&nodes[i].driver, 1, false);
        a.awaited = false;
        witness_applied(nodes[i].witness, &a);
    }
}

/* A round, then a block that nobody waits for. False: the machine was so slow that its round was due. */
static bool leave_one_unawaited(void)
{
    uint64_t begun = clock_monotonic_ns();
    lead(1, 1);
    apply_all(1);
    settle();
    assert_true(all_at(1));
    apply_unawaited();
    settle();
    if (clock_monotonic_ns() - begun >= UINT64_C(45) * 1000000) return false;
    assert_true(all_at(1));
    return true;
}

static void a_round_that_nobody_waits_for_comes_later(void **state)
{
    (void)state;
    leave_one_unawaited();
    assert_true(wait_all_at(2, 3000));
}

static void a_block_that_is_awaited_begins_the_round(void **state)
{
    (void)state;
    leave_one_unawaited();
    apply_all(1);
    assert_true(wait_all_at(3, 3000));
    assert_true(sent[PEER_PACE] <= 3 * (N - 1));
}

static void a_wait_at_the_leader_begins_the_round(void **state)
{
    struct waiter w = {0};
    (void)state;
    bool early = leave_one_unawaited();
    begin_wait(&w, 1, 3000);
    settle();
    assert_true(!early || all_at(2));
    assert_true(wait_all_at(2, 3000));
    assert_int_equal(w.calls, 1);
    assert_int_equal(w.code, OK);
}

int main(void)
{
    crypto_init();
    log_setup(LOG_ERROR, false);
    const char *given = getenv("SEED");
    seed = given ? strtoull(given, NULL, 10) : 20240607;
    CHECK(uv_loop_init(&loop) == 0);
    sample_genesis_parsed(&genesis, &genesis_text, N, 1);
    CHECK(genesis.quorum == K);
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_block_is_told_cosigned_and_witnessed),
        T(blocks_while_a_round_runs_wait_for_the_next),
        T(a_round_that_nobody_waits_for_comes_later),
        T(a_block_that_is_awaited_begins_the_round),
        T(a_wait_at_the_leader_begins_the_round),
        T(it_is_kept_on_disk_with_the_position_that_k_told),
        T(of_several_positions_the_one_that_k_told_is_kept),
        T(only_so_many_rows_are_kept),
        T(a_block_without_leaves_needs_no_checkpoint),
        T(a_node_that_has_not_applied_it_yet_tells_later),
        T(fewer_than_k_make_nothing),
        T(a_fork_is_named_and_quarantines_itself),
        T(a_leader_that_lies_about_its_root_stops_nobody),
        T(two_roots_under_one_signature_are_evidence),
        T(two_roots_for_two_nodes_show_when_shown),
        T(roots_told_too_early_are_compared_later),
        T(k_words_bind_who_stands_elsewhere),
        T(who_cosigned_is_quarantined_not_rebuilt),
        T(words_that_do_not_count),
        T(quiet_up_to_where_it_told_before),
        T(tells_that_differ_anywhere_are_not_equal),
        T(lost_messages_are_made_good_by_pacing),
        T(members_apart_learn_what_others_told),
        T(who_missed_cosignatures_gets_the_note),
        T(an_older_pace_gets_no_older_root),
        T(an_older_cosignature_displaces_none),
        T(without_a_leader_any_node_paces),
        T(a_new_leader_paces_at_once),
        T(any_network_ends_well),
        T(a_restart_never_signs_anything_smaller),
        T(a_restart_never_signs_another_root),
        T(no_cosignature_before_its_mark_is_durable),
        T(an_absurd_pace_blocks_nothing),
        T(what_is_not_well_formed_is_ignored),
        T(a_note_waits_until_its_size_is_applied),
        T(a_note_is_judged_without_another_block),
        T(a_note_is_judged_later_when_the_state_is_busy),
        T(a_note_that_contradicts_quarantines),
        T(a_replayed_state_takes_the_note_but_states_no_position),
        T(waiters_hear_once),
        T(a_callback_may_cancel_others_that_are_due),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    CHECK(uv_loop_close(&loop) == 0);
    buffer_free(&genesis_text);
    return failed;
}
