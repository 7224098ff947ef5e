#include "tests/unit/consensus/bed_keygen_agent.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/log.h"
#include "consensus/keygen_store.h"
#include "consensus/peer_messages.h"
#include "crypto/random.h"
#include "ledger/leaf.h"
#include "ledger/proof.h"
#include "net/peers.h"
#define PACED_CLOCK_FAST 8
#include "tests/lib/paced_clock.h"
#include "tests/lib/trace.h"

/* --- nodes --- */

static uv_loop_t loop;
struct node nodes[N + 1];
struct buffer blocks[BLOCKS];
uint64_t block_times[BLOCKS];
size_t block_count;
struct message queue[4096];
size_t queued;
unsigned lose_percent;
uint64_t seed;
uint32_t mute_action;
unsigned mute_node;
unsigned lying_dealer, lied_to;
unsigned garbling;
unsigned silent;
unsigned leads;
bool nothing_of_term;
static const struct seal_key storage_key = {{9}};

/* --- the doubles --- */

enum err peers_send(struct peers *p, uint32_t index, uint32_t type, uint64_t id, struct bytes body)
{
    (void)id;
    CHECK(index >= 1 && index <= N && index != p->self);
    if (nodes[p->self].away || nodes[index].away) return ERR_UNREACHABLE;
    if (type == PEER_SUBSHARE && p->self == silent) return OK;
    if (trace_random(&seed) % 100 < lose_percent) return OK;
    CHECK(queued < sizeof queue / sizeof queue[0]);
    struct message *m = &queue[queued++];
    *m = (struct message){.from = p->self, .to = index, .type = type};
    buffer_append_bytes(&m->body, body);
    if (type == PEER_SUBSHARE && p->self == garbling) m->body.data[m->body.size - 1] ^= 1;
    return OK;
}

enum err driver_read(struct driver *d, struct state_read *r)
{
    CHECK(d->read_count < 16 && r->fresh);
    d->reads[d->read_count++] = r;
    return OK;
}

enum err driver_write(struct driver *d, struct state_write *w)
{
    CHECK(d->write_count < 16 && w->durable);
    d->writes[d->write_count++] = w;
    return OK;
}

enum err driver_submit(struct driver *d, struct submission *s)
{
    d->submits++;
    if (nodes[d->self].away) return ERR_NO_QUORUM;
    CHECK(d->submission_count < 16);
    d->submissions[d->submission_count++] = s;
    return OK;
}

void driver_status(const struct driver *d, struct driver_status *out)
{
    *out = (struct driver_status){.commit = d->applied, .applied = d->applied, .last = d->applied, .leader = leads,
                                  .leader_commit = leads ? block_count : 0, .term = 1,
                                  .applied_term = nothing_of_term ? 0 : 1};
}

/* --- one turn of a driver --- */

static void lie_in_own(struct driver *d)
{
    struct keygen_own own;
    struct scalar wrong;
    struct buffer sealed = {0};
    CHECK(keygen_own_get(&own, d->kit.txn, KEY_RECORDS, 1, N) == OK);
    if (!own.exists) return;
    dkg_subshare(&wrong, &own.polynomial, 2); /* right for another */
    CHECK(seal_box(&sealed, &genesis_member(&d->kit.genesis, lied_to)->keys.seal, BYTES(wrong.bytes)) == OK);
    memcpy(own.sealed[lied_to], sealed.data, sealed.size);
    CHECK(keygen_own_put(d->kit.txn, KEY_RECORDS, &own, N) == OK);
    buffer_free(&sealed);
}

void apply_block(struct driver *d, const struct submission *of, enum err *code, struct outcome *outcome)
{
    struct bytes request = buffer_bytes(&blocks[d->applied]);
    d->kit.now = block_times[d->applied];
    kit_apply(&d->kit, &request, 1);
    d->applied++;
    const struct ledger_result *r = &d->kit.results.items[0];
    CHECK(r->code == OK || r->code == ERR_DUPLICATE);
    if (of) {
        *code = OK;
        *outcome = (struct outcome){.code = r->code, .leaf_index = r->leaf_index, .decision = r->decision,
                                    .reason = r->reason};
    }
    struct driver_applied a = {.raft_index = d->applied, .raft_term = 1, .size = ledger_size(d->kit.ledger),
                               .keygen_changed = d->kit.results.keygen_changed};
    if (nodes[d->self].agent) keygen_agent_applied(nodes[d->self].agent, &a);
}

static bool muted(const struct driver *d, struct bytes request)
{
    struct request r;
    CHECK(request_decode(&r, request) == OK);
    bool is = d->self == mute_node && r.items[0].operation.action == mute_action;
    request_free(&r);
    return is;
}

static void commit_submissions(struct driver *d)
{
    struct submission *all[16];
    size_t count = d->submission_count;
    memcpy(all, d->submissions, sizeof all);
    d->submission_count = 0;
    for (size_t i = 0; i < count; i++) {
        struct outcome outcome = {0};
        enum err code = ERR_NO_QUORUM;
        if (!muted(d, buffer_bytes(&all[i]->request)) && !nodes[d->self].away) {
            CHECK(block_count < BLOCKS);
            block_times[block_count] = clock_wall_ms();
            buffer_append_bytes(&blocks[block_count++], buffer_bytes(&all[i]->request));
            while (d->applied + 1 < block_count)
                apply_block(d, NULL, NULL, NULL);
            apply_block(d, all[i], &code, &outcome);
        }
        all[i]->done(all[i], code, &outcome, code == OK);
    }
}

static void run_driver(struct driver *d)
{
    struct state_read *reads[16];
    struct state_write *writes[16];
    size_t read_count = d->read_count, write_count = d->write_count;
    memcpy(reads, d->reads, sizeof reads);
    memcpy(writes, d->writes, sizeof writes);
    d->read_count = d->write_count = 0;
    for (size_t i = 0; i < write_count; i++) {
        enum err e = writes[i]->run(writes[i], d->kit.txn, d->kit.ledger);
        d->written++;
        if (d->self == lying_dealer && d->written == 1) lie_in_own(d);
        writes[i]->done(writes[i], e);
    }
    /* What is read may be outdated when it comes: operations are applied in between. */
    enum err codes[16];
    for (size_t i = 0; i < read_count; i++)
        codes[i] = reads[i]->run(reads[i], d->kit.txn);
    commit_submissions(d);
    for (size_t i = 0; i < read_count; i++)
        reads[i]->done(reads[i], codes[i]);
    while (!nodes[d->self].away && d->applied < block_count)
        apply_block(d, NULL, NULL, NULL);
}

void turn(void)
{
    paced_clock_turn();
    uv_run(&loop, UV_RUN_NOWAIT);
    size_t count = queued < 64 ? queued : 64;
    struct message now[64];
    memcpy(now, queue, count * sizeof now[0]);
    queued -= count;
    memmove(queue, &queue[count], queued * sizeof queue[0]);
    for (size_t i = 0; i < count; i++) {
        struct node *to = &nodes[now[i].to];
        if (to->agent && !to->away)
            keygen_agent_message(to->agent, now[i].from, now[i].type, 0, buffer_bytes(&now[i].body));
        buffer_free(&now[i].body);
    }
    for (unsigned i = 1; i <= N; i++)
        run_driver(&nodes[i].driver);
}

/* --- starting and stopping --- */

static void on_share(void *data, uint8_t secret, uint64_t epoch)
{
    struct node *n = data;
    assert_int_equal(secret, KEY_RECORDS);
    assert_int_equal(epoch, 1);
    n->shares++;
}

void start_agent(unsigned i)
{
    struct node *n = &nodes[i];
    struct keygen_agent_options options = {
        .loop = &loop, .genesis = &n->driver.kit.genesis, .self = i, .keys = &n->driver.kit.nodes[i],
        .driver = &n->driver, .peers = &n->peers, .directory = n->folder, .storage_key = &storage_key, .data = n,
        .on_share = on_share,
    };
    CHECK(keygen_agent_start(&n->agent, &options, NULL) == OK);
}

void stop_agent(unsigned i)
{
    struct node *n = &nodes[i];
    struct driver *d = &n->driver;
    if (!n->agent) return;
    keygen_agent_stop(n->agent);
    for (size_t k = 0; k < d->submission_count; k++)
        d->submissions[k]->done(d->submissions[k], ERR_STOPPED, NULL, 0);
    d->submission_count = 0;
    while (d->read_count + d->write_count)
        run_driver(d);
    uv_run(&loop, UV_RUN_NOWAIT);
    keygen_agent_free(n->agent);
    n->agent = NULL;
}

int setup(void **state)
{
    (void)state;
    lose_percent = mute_action = mute_node = lying_dealer = garbling = silent = 0;
    nothing_of_term = false;
    leads = 1;
    for (unsigned i = 1; i <= N; i++) {
        struct node *n = &nodes[i];
        *n = (struct node){.driver.self = i, .peers.self = i};
        kit_open(&n->driver.kit, N, 1, (struct bytes){0});
        folder_make(n->folder, 1);
    }
    return 0;
}

int teardown(void **state)
{
    (void)state;
    for (unsigned i = 1; i <= N; i++) {
        stop_agent(i);
        kit_close(&nodes[i].driver.kit);
        folder_remove(nodes[i].folder);
    }
    for (size_t i = 0; i < queued; i++)
        buffer_free(&queue[i].body);
    for (size_t i = 0; i < block_count; i++)
        buffer_free(&blocks[i]);
    queued = block_count = 0;
    return 0;
}

void start_all(unsigned but)
{
    for (unsigned i = 1; i <= N; i++)
        if (i != but)
            start_agent(i);
        else
            nodes[i].away = true;
}

void come_back(unsigned i)
{
    nodes[i].away = false;
    if (!nodes[i].agent) start_agent(i);
    for (unsigned j = 1; j <= N; j++)
        if (j != i && nodes[j].agent) keygen_agent_peer_up(nodes[j].agent, i), keygen_agent_peer_up(nodes[i].agent, j);
}

/* --- questions --- */

bool has_share(unsigned i) { return nodes[i].agent && keygen_agent_share(nodes[i].agent, KEY_RECORDS, 1); }

struct keygen state_of(unsigned i)
{
    struct keygen keygen;
    CHECK(keygen_get(&keygen, nodes[i].driver.kit.txn, KEY_RECORDS) == OK);
    return keygen;
}

bool wiped(unsigned i)
{
    /* all but the share */
    return table_count(nodes[i].driver.kit.txn, TABLE_DKG_SECRET) == 1;
}

/* `ms` of the fast clocks. */
bool wait_shares(unsigned but, unsigned ms)
{
    uint64_t until = clock_monotonic_ns() + ms * UINT64_C(1000000);
    for (;;) {
        bool all = true;
        for (unsigned i = 1; i <= N; i++)
            all = all && (i == but || has_share(i));
        if (all || clock_monotonic_ns() > until) return all;
        turn();
        uv_sleep(1);
    }
}

void run_for(unsigned ms)
{
    uint64_t until = clock_monotonic_ns() + ms * UINT64_C(1000000);
    while (clock_monotonic_ns() < until) {
        turn();
        uv_sleep(1);
    }
}

bool wait_wiped(unsigned ms)
{
    uint64_t until = clock_monotonic_ns() + ms * UINT64_C(1000000);
    for (;;) {
        bool all = true;
        for (unsigned i = 1; i <= N; i++)
            all = all && wiped(i);
        if (all || clock_monotonic_ns() > until) return all;
        turn();
        uv_sleep(1);
    }
}

/* Any k shares make the secret of Y, and each is that of its verification key. */
void assert_key(unsigned a, unsigned b, unsigned c)
{
    uint32_t at[K] = {a, b, c};
    struct scalar weights[K], sum = {{0}};
    struct epoch epoch;
    struct point y;
    CHECK(state_epoch_get(&epoch, nodes[a].driver.kit.txn, KEY_RECORDS, 1) == OK);
    assert_int_equal(scalar_lagrange(weights, at, K), OK);
    for (unsigned i = 0; i < K; i++) {
        const struct scalar *share = keygen_agent_share(nodes[at[i]].agent, KEY_RECORDS, 1);
        assert_non_null(share);
        struct scalar product;
        point_multiply_generator(&y, share);
        assert_true(point_equal(&y, &epoch.verification[at[i] - 1]));
        scalar_multiply(&product, share, &weights[i]);
        scalar_add(&sum, &sum, &product);
    }
    point_multiply_generator(&y, &sum);
    assert_true(point_equal(&y, &epoch.key));
}

unsigned leaves_of(uint32_t action, enum decision decision)
{
    struct kit *kit = &nodes[1].driver.kit;
    struct buffer raw = {0};
    unsigned count = 0;
    for (uint64_t i = 1; i < ledger_size(kit->ledger); i++) {
        struct leaf leaf;
        CHECK(proof_leaf(&raw, kit->txn, i) == OK && leaf_decode(&leaf, buffer_bytes(&raw)) == OK);
        count += leaf.operation.action == action && leaf.decision == decision;
    }
    buffer_free(&raw);
    return count;
}

unsigned denied(void)
{
    unsigned count = 0;
    for (uint32_t action = 0; action <= ACTION_KEY_ACTIVATE; action++)
        count += leaves_of(action, DECISION_DENIED);
    return count;
}

int bed_open(void **state)
{
    (void)state;
    crypto_init();
    log_setup(LOG_ERROR, false);
    const char *given = getenv("SEED");
    seed = given ? strtoull(given, NULL, 10) : 20240608;
    CHECK(uv_loop_init(&loop) == 0);
    return 0;
}

int bed_close(void **state)
{
    (void)state;
    uv_run(&loop, UV_RUN_DEFAULT);
    CHECK(uv_loop_close(&loop) == 0);
    return 0;
}
