#include "tests/unit/consensus/bed_witness.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/log.h"
#include "base/pack.h"
#include "consensus/peer_messages.h"
#include "crypto/random.h"
#include "ledger/checkpoint.h"
#include "ledger/state.h"
#include "ledger/tables.h"
#include "net/peers.h"
#include "storage/store.h"
#include "tests/lib/paced_clock.h"
#include "tests/lib/samples.h"
#include "tests/lib/trace.h"

static uv_loop_t loop;
struct genesis genesis;
static struct buffer genesis_text;
struct node nodes[N + 1];
static struct message queue[8192];
size_t queued;
uint64_t seed, sent[128];
unsigned lose_percent, double_percent, delay_most;
bool reorder;
uint32_t drop_type;
unsigned drop_to;
bool apart[N + 1][N + 1];

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

void later(struct driver *d, struct pending what)
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

bool driver_forgot_cosigned(const struct driver *d) { return d->forgot && !d->any_mark; }

void driver_status(const struct driver *d, struct driver_status *out)
{
    *out = (struct driver_status){.size = d->tree.size, .synced_size = d->tree.size, .synced_index = d->raft_index,
                                    .applied = d->raft_index};
    tree_root(&out->root, &d->tree);
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

struct digest leaf_of(uint64_t index, bool forked)
{
    struct digest d = sample_digest((unsigned)index + 1);
    if (forked) d.bytes[1] = 0xee;
    return d;
}

/* A block of so many leaves; `forked`: other ones than the others'. */
struct driver_applied grow(struct driver *d, unsigned leaves, bool forked)
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

void apply_forked(unsigned node, unsigned leaves, bool forked)
{
    struct driver_applied a = grow(&nodes[node].driver, leaves, forked);
    witness_applied(nodes[node].witness, &a);
}

void apply(unsigned node, unsigned leaves) { apply_forked(node, leaves, false); }

void apply_all(unsigned leaves)
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

static void on_contradicted(void *data, uint32_t members, uint64_t raft_index, const char *why)
{
    struct node *n = data;
    assert_non_null(strstr(why, "contradicts"));
    n->deceived++;
    n->contradicting = members;
    n->contradicted_at = raft_index;
}

uint64_t quiet_index, quiet_term;
bool takes_deceived;
uint64_t turn_takes_ns;

static void on_stalled(void *data)
{
    struct node *n = data;
    n->stalled++;
}

void start_witness(unsigned i)
{
    struct node *n = &nodes[i];
    struct witness_options options = {
        .loop = &loop, .genesis = &genesis, .self = i, .keys = &n->keys, .driver = &n->driver, .peers = &n->peers,
        .store = n->driver.store, .data = n, .on_witnessed = on_witnessed, .on_quarantine = on_quarantine,
        .on_evidence = on_evidence, .on_stalled = on_stalled, .quiet_index = quiet_index, .quiet_term = quiet_term,
    };
    if (takes_deceived) options.on_contradicted = on_contradicted;
    assert_int_equal(witness_start(&n->witness, &options, NULL), OK);
}

void stop_witness(unsigned i)
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

void may_be_rebuilt(unsigned node)
{
    stop_witness(node);
    takes_deceived = true;
    start_witness(node);
    takes_deceived = false;
}

static void drop_messages(void)
{
    for (size_t i = 0; i < queued; i++)
        buffer_free(&queue[i].body);
    queued = 0;
}

int setup(void **state)
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

int teardown(void **state)
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

void turn(void)
{
    if (turn_takes_ns)
        paced_ns += turn_takes_ns;
    else
        paced_clock_turn();
    uv_run(&loop, UV_RUN_NOWAIT);
    deliver();
    for (unsigned i = 1; i <= N; i++)
        run_driver(&nodes[i].driver);
}

void settle(void)
{
    for (int quiet = 0; quiet < 3; quiet++) {
        size_t work = queued;
        for (unsigned i = 1; i <= N; i++)
            work += nodes[i].driver.hold_marks ? 0 : nodes[i].driver.pending_count;
        if (work) quiet = 0;
        turn();
    }
}

void sleep_ms(unsigned ms)
{
    uint64_t until = clock_monotonic_ns() + ms * UINT64_C(1000000);
    while (clock_monotonic_ns() < until) {
        turn();
        uv_sleep(2);
    }
}

bool all_at(uint64_t size)
{
    for (unsigned i = 1; i <= N; i++)
        if (witness_size(nodes[i].witness) != size) return false;
    return true;
}

bool wait_all_at(uint64_t size, unsigned ms)
{
    uint64_t until = clock_monotonic_ns() + ms * UINT64_C(1000000);
    while (!all_at(size) && clock_monotonic_ns() < until) {
        turn();
        uv_sleep(1);
    }
    return all_at(size);
}

void lead(unsigned leader, uint64_t term)
{
    for (unsigned i = 1; i <= N; i++) {
        nodes[i].driver.raft_term = term;
        witness_role(nodes[i].witness, i == leader, term);
    }
}

void assert_note(unsigned node, uint64_t size)
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

void make_tell(struct buffer *out, unsigned signer, const struct claim *c)
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

void send_tell(unsigned from, unsigned to, uint32_t type, const struct claim *c)
{
    struct buffer body = {0};
    make_tell(&body, from, c);
    witness_message(nodes[to].witness, from, type, buffer_bytes(&body));
    buffer_free(&body);
}

void send_cosign(unsigned from, unsigned to, uint64_t size, const struct digest *root)
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

struct claim own_claim(unsigned node)
{
    const struct driver *d = &nodes[node].driver;
    struct claim c = {d->tree.size, d->raft_index, d->raft_term, {{0}}};
    tree_root(&c.root, &d->tree);
    return c;
}

int bed_open(void **state)
{
    (void)state;
    crypto_init();
    log_setup(LOG_ERROR, false);
    const char *given = getenv("SEED");
    seed = given ? strtoull(given, NULL, 10) : 20240607;
    CHECK(uv_loop_init(&loop) == 0);
    paced_clock_turn();
    sample_genesis_parsed(&genesis, &genesis_text, N, 1);
    CHECK(genesis.quorum == K);
    return 0;
}

int bed_close(void **state)
{
    (void)state;
    uv_run(&loop, UV_RUN_DEFAULT);
    CHECK(uv_loop_close(&loop) == 0);
    buffer_free(&genesis_text);
    return 0;
}
