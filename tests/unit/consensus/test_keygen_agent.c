/* Four agents, each over a ledger of its own that applies the same blocks; their
 * drivers, network and clock are the test's. The clock runs eight times as fast. */
#include "tests/lib/unit.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/log.h"
#include "consensus/keygen_agent.h"
#include "consensus/keygen_store.h"
#include "consensus/peer_messages.h"
#include "crypto/random.h"
#include "crypto/secret.h"
#include "ledger/keygen.h"
#include "net/peers.h"
#include "ledger/leaf.h"
#include "ledger/proof.h"
#include "tests/lib/ledger_kit.h"
#define PACED_CLOCK_FAST 8
#include "tests/lib/paced_clock.h"
#include "tests/lib/samples.h"
#include "tests/lib/trace.h"

#define N 4
#define K 3
#define BLOCKS 4096

/* --- nodes --- */

struct peers {
    unsigned self;
};

struct driver {
    unsigned self;
    struct kit kit; /* its state */
    size_t applied; /* blocks */
    struct state_read *reads[16];
    size_t read_count;
    struct state_write *writes[16];
    size_t write_count;
    struct submission *submissions[16]; /* in order */
    size_t submission_count;
    unsigned written, submits;
};

struct node {
    struct driver driver;
    struct peers peers;
    struct keygen_agent *agent;
    char folder[FOLDER_PATH];
    unsigned shares; /* on_share calls */
    bool away;       /* neither applies nor sends nor receives */
};

struct message {
    unsigned from, to;
    uint32_t type;
    struct buffer body;
};

static uv_loop_t loop;
static struct node nodes[N + 1];
static struct buffer blocks[BLOCKS]; /* the common log: a request each */
static uint64_t block_times[BLOCKS];
static size_t block_count;
static struct message queue[4096];
static size_t queued;
static unsigned lose_percent;
static uint64_t seed;
static uint32_t mute_action;  /* operations of this action ... */
static unsigned mute_node;    /* ... by this node are lost */
static unsigned lying_dealer, lied_to; /* what one deals to the other is not on its polynomial */
static unsigned garbling;     /* other bytes than it published the hash of come from this node */
static unsigned silent;       /* no sub-share comes from this node */
static unsigned leads;        /* 0: none of the nodes has heard a leader */
static bool log_there;        /* all blocks are in the nodes' own logs */
static bool nothing_of_term;  /* a leader is known, and nothing of its term is applied */
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
    bool hears = leads != 0;
    *out = (struct driver_status){.commit = hears ? block_count : d->applied, .applied = d->applied, .leader = leads,
                                  .last = log_there ? block_count : 0, .term = 1,
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

static void apply_block(struct driver *d, const struct submission *of, enum err *code, struct outcome *outcome)
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

static void turn(void)
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
        if (to->agent && !to->away) keygen_agent_message(to->agent, now[i].from, now[i].type, 0, buffer_bytes(&now[i].body));
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

static void start_agent(unsigned i)
{
    struct node *n = &nodes[i];
    struct keygen_agent_options options = {
        .loop = &loop, .genesis = &n->driver.kit.genesis, .self = i, .keys = &n->driver.kit.nodes[i],
        .driver = &n->driver, .peers = &n->peers, .directory = n->folder, .storage_key = &storage_key, .data = n,
        .on_share = on_share,
    };
    CHECK(keygen_agent_start(&n->agent, &options, NULL) == OK);
}

static void stop_agent(unsigned i)
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

static int setup(void **state)
{
    (void)state;
    lose_percent = mute_action = mute_node = lying_dealer = garbling = silent = 0;
    log_there = nothing_of_term = false;
    leads = 1;
    for (unsigned i = 1; i <= N; i++) {
        struct node *n = &nodes[i];
        *n = (struct node){.driver.self = i, .peers.self = i};
        kit_open(&n->driver.kit, N, 1, (struct bytes){0});
        folder_make(n->folder, 1);
    }
    return 0;
}

static int teardown(void **state)
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

static void start_all(unsigned but)
{
    for (unsigned i = 1; i <= N; i++)
        if (i != but)
            start_agent(i);
        else
            nodes[i].away = true;
}

static void come_back(unsigned i)
{
    nodes[i].away = false;
    if (!nodes[i].agent) start_agent(i);
    for (unsigned j = 1; j <= N; j++)
        if (j != i && nodes[j].agent) keygen_agent_peer_up(nodes[j].agent, i), keygen_agent_peer_up(nodes[i].agent, j);
}

/* --- questions --- */

static bool has_share(unsigned i) { return nodes[i].agent && keygen_agent_share(nodes[i].agent, KEY_RECORDS, 1); }

static struct keygen state_of(unsigned i)
{
    struct keygen keygen;
    CHECK(keygen_get(&keygen, nodes[i].driver.kit.txn, KEY_RECORDS) == OK);
    return keygen;
}

static bool wiped(unsigned i)
{
    /* all but the share */
    return table_count(nodes[i].driver.kit.txn, TABLE_DKG_SECRET) == 1;
}

/* `ms` of the fast clocks. */
static bool wait_shares(unsigned but, unsigned ms)
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

static void run_for(unsigned ms)
{
    uint64_t until = clock_monotonic_ns() + ms * UINT64_C(1000000);
    while (clock_monotonic_ns() < until) {
        turn();
        uv_sleep(1);
    }
}

static bool wait_wiped(unsigned ms)
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
static void assert_key(unsigned a, unsigned b, unsigned c)
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

static unsigned leaves_of(uint32_t action, enum decision decision)
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

static unsigned denied(void)
{
    unsigned count = 0;
    for (uint32_t action = 0; action <= ACTION_KEY_ACTIVATE; action++)
        count += leaves_of(action, DECISION_DENIED);
    return count;
}

/* --- tests --- */

static void all_present(void **state)
{
    (void)state;
    start_all(0);
    assert_true(wait_shares(0, 8000)); /* nothing waits for a time-out */
    assert_key(1, 2, 3);
    assert_key(4, 2, 1);
    assert_true(wait_wiped(4000));
    for (unsigned i = 1; i <= N; i++) {
        assert_int_equal(nodes[i].shares, 1);
        assert_true(keygen_agent_active(nodes[i].agent, KEY_RECORDS));
        assert_false(keygen_agent_share_lost(nodes[i].agent));
        assert_null(keygen_agent_share(nodes[i].agent, KEY_RECORDS, 2));
        assert_null(keygen_agent_share(nodes[i].agent, KEY_PASSWORDS, 1));
    }
    uint64_t size = ledger_size(nodes[1].driver.kit.ledger);
    assert_int_equal(size, 1 + 3 * N + 1 + denied()); /* commit, reveal, confirm of each, one activation */
    assert_int_equal(denied(), leaves_of(ACTION_KEY_ACTIVATE, DECISION_DENIED)); /* at the same moment */
    assert_true(denied() <= 3);
    run_for(10000);
    assert_int_equal(ledger_size(nodes[1].driver.kit.ledger), size); /* and then silence */
}

static void one_absent_for_ever(void **state)
{
    (void)state;
    start_all(4);
    assert_true(wait_shares(4, 30000));
    assert_key(1, 2, 3);
    assert_int_equal(keygen_qualified(&(struct keygen){.revealed = state_of(1).revealed}),
                     MEMBER_BIT(1) | MEMBER_BIT(2) | MEMBER_BIT(3));
    uint64_t size = ledger_size(nodes[1].driver.kit.ledger);
    run_for(20000);
    assert_int_equal(ledger_size(nodes[1].driver.kit.ledger), size);
    assert_false(wiped(1)); /* for the one that is away */
}

static void one_absent_returns_late(void **state)
{
    (void)state;
    start_all(4);
    assert_true(wait_shares(4, 30000));
    run_for(3000);
    come_back(4);
    assert_true(wait_shares(0, 10000));
    assert_key(1, 4, 3);
    assert_true(wait_wiped(10000));
    assert_int_equal(leaves_of(ACTION_KEY_ANSWER, DECISION_APPROVED), 0);
}

/* It committed and revealed, then went away before it dealt anything; the others do without. */
static void a_dealer_that_goes_away_is_excluded(void **state)
{
    (void)state;
    start_all(0);
    silent = 3;
    while (!(state_of(1).revealed & MEMBER_BIT(3)))
        turn();
    nodes[3].away = true;
    assert_true(wait_shares(3, 40000));
    assert_false(keygen_qualified(&(struct keygen){.revealed = state_of(1).revealed, .excluded = state_of(1).excluded}) &
                 MEMBER_BIT(3));
    assert_key(1, 2, 4);
    silent = 0;
    come_back(3);
    assert_true(wait_shares(0, 20000));
    assert_key(3, 2, 4);
    assert_true(wait_wiped(10000));
}

static void a_wrong_subshare_is_complained_about_and_answered(void **state)
{
    (void)state;
    lying_dealer = 4;
    lied_to = 1;
    start_all(0);
    assert_true(wait_shares(0, 30000));
    assert_int_equal(leaves_of(ACTION_KEY_ANSWER, DECISION_APPROVED), 1);
    assert_int_equal(state_of(1).excluded, 0);
    assert_key(1, 2, 4);
    assert_true(wait_wiped(10000));
}

static void a_liar_that_does_not_answer_is_excluded(void **state)
{
    (void)state;
    lying_dealer = 4;
    lied_to = 1;
    mute_node = 4;
    mute_action = ACTION_KEY_ANSWER;
    start_all(0);
    assert_true(wait_shares(0, 40000));
    assert_int_equal(state_of(1).excluded, MEMBER_BIT(4));
    assert_key(1, 2, 4); /* it holds a share all the same */
    assert_true(wait_wiped(10000));
}

/* The key stands when it comes: it complains, once, and holds its share as soon as that is answered. */
static void a_late_one_that_was_lied_to(void **state)
{
    (void)state;
    lying_dealer = mute_node = 3;
    lied_to = 4;
    mute_action = ACTION_KEY_ANSWER;
    start_all(4);
    assert_true(wait_shares(4, 30000));
    come_back(4);
    run_for(12000);
    assert_false(has_share(4));
    assert_int_equal(state_of(1).complaints[4], MEMBER_BIT(3));
    assert_int_equal(leaves_of(ACTION_KEY_CONFIRM, DECISION_APPROVED), 4);
    assert_int_equal(leaves_of(ACTION_KEY_CONFIRM, DECISION_DENIED), 0);
    mute_node = 0;
    assert_true(wait_shares(0, 15000));
    assert_key(1, 4, 3);
    assert_int_equal(leaves_of(ACTION_KEY_ANSWER, DECISION_APPROVED), 1);
    assert_true(wait_wiped(10000));
}

static void other_bytes_than_published_are_complained_about(void **state)
{
    (void)state;
    garbling = 2;
    start_all(0);
    assert_true(wait_shares(0, 30000));
    assert_int_equal(leaves_of(ACTION_KEY_ANSWER, DECISION_APPROVED), 3);
    assert_int_equal(state_of(1).excluded, 0);
    assert_key(1, 2, 4);
    assert_true(wait_wiped(10000));
}

static void send_of_attempt(uint32_t attempt)
{
    static const uint8_t sealed[32 + SEAL_BOX_OVERHEAD] = {7};
    struct buffer body = {0};
    pack_array(&body, 4);
    pack_uint(&body, KEY_RECORDS);
    pack_uint(&body, attempt);
    pack_uint(&body, 2);
    pack_bin(&body, sealed, sizeof sealed);
    keygen_agent_message(nodes[1].agent, 2, PEER_SUBSHARE, 0, buffer_bytes(&body));
    buffer_free(&body);
}

/* Old ones on their way, and those of an attempt that is not here yet, are held against nobody: the dealer of this
 * attempt is neither complained about nor made to publish. */
static void a_subshare_of_another_attempt(void **state)
{
    unsigned published = 1;
    for (unsigned tries = 0; published && tries < 5; tries++) { /* where this machine paused, a time ran out */
        if (tries > 0) {
            teardown(state);
            setup(state);
        }
        start_all(0);
        while (state_of(1).phase < KEYGEN_CONFIRM) {
            turn();
            send_of_attempt(tries % 2 ? 0 : 2);
        }
        assert_true(wait_shares(0, 30000));
        assert_key(1, 2, 4);
        assert_int_equal(state_of(1).excluded, 0);
        published = leaves_of(ACTION_KEY_ANSWER, DECISION_APPROVED);
    }
    assert_int_equal(published, 0);
}

/* Its own link is the trouble: no complaint that would have all dealers publish what is its. */
static void who_lacks_too_many_waits(void **state)
{
    (void)state;
    start_all(0);
    while (!(state_of(4).revealed & MEMBER_BIT(4)))
        turn();
    lose_percent = 100;
    for (uint64_t until = clock_monotonic_ns() + UINT64_C(3000) * 1000000; clock_monotonic_ns() < until;) {
        for (size_t i = 0; i < queued; i++)
            buffer_free(&queue[i].body);
        queued = 0;
        turn();
    }
    lose_percent = 0;
    assert_int_equal(leaves_of(ACTION_KEY_CONFIRM, DECISION_APPROVED), 0);
    assert_true(wait_shares(0, 30000));
    assert_int_equal(leaves_of(ACTION_KEY_ANSWER, DECISION_APPROVED), 0);
    assert_key(1, 2, 4);
}

static void messages_get_lost(void **state)
{
    (void)state;
    lose_percent = 40;
    start_all(0);
    assert_true(wait_shares(0, 60000));
    assert_key(1, 2, 3);
    assert_key(2, 3, 4);
    lose_percent = 0;
    assert_true(wait_wiped(20000));
}

/* Each is stopped and started again in every phase. */
static void restarts_in_every_phase(void **state)
{
    (void)state;
    start_all(0);
    uint64_t until = clock_monotonic_ns() + UINT64_C(60000) * 1000000;
    for (unsigned round = 0; clock_monotonic_ns() < until; round++) {
        unsigned who = 1 + (unsigned)(trace_random(&seed) % N);
        for (int i = 0; i < 6; i++) {
            turn();
            uv_sleep(1);
        }
        if (round < 60) {
            stop_agent(who);
            start_agent(who);
        } else if (wait_shares(0, 100)) {
            break;
        }
    }
    assert_true(wait_shares(0, 100));
    assert_key(1, 2, 3);
    assert_key(1, 3, 4);
    assert_int_equal(state_of(1).attempt, 1);
    assert_int_equal(state_of(1).excluded, 0);
    assert_true(wait_wiped(20000));
    stop_agent(2);
    start_agent(2); /* from the table */
    assert_true(wait_shares(0, 5000));
}

/* Two of four can't make a key; they go on when the others come. */
static void too_few_wait(void **state)
{
    (void)state;
    nodes[3].away = nodes[4].away = true;
    start_agent(1);
    start_agent(2);
    run_for(15000);
    assert_int_equal(state_of(1).phase, KEYGEN_COMMIT);
    assert_int_equal(denied(), 0);
    come_back(3);
    come_back(4);
    assert_true(wait_shares(0, 30000));
    assert_key(1, 2, 4);
}

/* One that was away applies history, and does nothing in it that was due then. */
static void history_is_not_acted_upon(void **state)
{
    (void)state;
    start_all(4);
    assert_true(wait_shares(4, 30000));
    unsigned before = denied();
    uint64_t size = ledger_size(nodes[1].driver.kit.ledger);
    struct kit *kit = &nodes[1].driver.kit;
    for (int i = 0; i < 200; i++) { /* so that it is far behind */
        struct arguments a = {.action = ACTION_EVENT_ADD};
        a.event_add = (struct args_event_add){sample_id(5), bytes_text("x"), bytes_text("y")};
        block_times[block_count] = clock_wall_ms();
        kit->now = clock_wall_ms();
        kit_request(kit, &blocks[block_count], &kit->root, &a, (struct bytes){0});
        block_count++;
    }
    run_for(500);
    struct node *n = &nodes[4];
    start_agent(4);
    n->away = false;
    struct driver *d = &n->driver;
    while (d->applied < 40) { /* one block at a time, with time to act between */
        n->away = false;
        apply_block(d, NULL, NULL, NULL);
        n->away = true;
        for (int i = 0; i < 4; i++)
            turn();
        assert_int_equal(d->submits + d->written, 0);
    }
    come_back(4);
    assert_true(wait_shares(0, 20000));
    assert_true(wait_wiped(10000));
    assert_int_equal(denied(), before + 200); /* root adds no events */
    assert_int_equal(ledger_size(nodes[1].driver.kit.ledger), size + 200 + 1); /* its confirmation */
}

/* Before a leader says how far the others are, the own state may be an old one. */
static void nothing_is_done_before_a_leader_is_heard(void **state)
{
    (void)state;
    leads = 0;
    start_all(0);
    run_for(2000);
    leads = 1;
    nothing_of_term = true; /* known, but what stands at its beginning is not here yet */
    run_for(2000);
    for (unsigned i = 1; i <= N; i++)
        assert_int_equal(nodes[i].driver.submits + nodes[i].driver.written, 0);
    nothing_of_term = false;
    assert_true(wait_shares(0, 30000));
    assert_int_equal(denied(), 0);
    /* One whose state was thrown away has the others' blocks in its log: it applies them first. */
    for (int i = 0; i < 100; i++) {
        struct kit *kit = &nodes[1].driver.kit;
        struct arguments a = {.action = ACTION_EVENT_ADD};
        a.event_add = (struct args_event_add){sample_id(5), bytes_text("x"), bytes_text("y")};
        block_times[block_count] = clock_wall_ms();
        kit->now = clock_wall_ms();
        kit_request(kit, &blocks[block_count++], &kit->root, &a, (struct bytes){0});
    }
    run_for(500);
    stop_agent(4);
    struct driver *d = &nodes[4].driver;
    kit_close(&d->kit);
    kit_open(&d->kit, N, 1, (struct bytes){0});
    d->applied = d->submits = d->written = 0;
    nodes[4].away = log_there = true;
    start_agent(4);
    run_for(2000);
    assert_int_equal(d->submits + d->written, 0);
    come_back(4);
    assert_true(wait_shares(0, 20000)); /* from its file */
}

/* The state is gone, the share's file is not. */
static void the_share_outlives_the_state(void **state)
{
    (void)state;
    start_all(0);
    assert_true(wait_shares(0, 10000));
    assert_true(wait_wiped(5000));
    stop_agent(3);
    struct driver *d = &nodes[3].driver;
    CHECK(table_count(d->kit.txn, TABLE_DKG_SECRET) == 1);
    kit_close(&d->kit);
    kit_open(&d->kit, N, 1, (struct bytes){0});
    d->applied = 0;
    start_agent(3);
    assert_true(wait_shares(0, 5000));
    assert_key(1, 2, 3);
    /* Without the file, it says so. */
    stop_agent(3);
    kit_close(&d->kit);
    kit_open(&d->kit, N, 1, (struct bytes){0});
    d->applied = 0;
    folder_remove(nodes[3].folder);
    folder_make(nodes[3].folder, 1);
    start_agent(3);
    run_for(4000);
    assert_false(has_share(3));
    assert_true(keygen_agent_share_lost(nodes[3].agent));
}

/* A disk emptied between commitment and dealing: it makes another polynomial of none. */
static void a_lost_polynomial_is_not_dealt(void **state)
{
    (void)state;
    start_all(0);
    while (!(state_of(1).revealed & MEMBER_BIT(3)))
        turn();
    stop_agent(3);
    struct driver *d = &nodes[3].driver;
    struct keygen_own other = {.exists = true, .attempt = 1};
    dkg_polynomial_random(&other.polynomial, K);
    CHECK(keygen_own_put(d->kit.txn, KEY_RECORDS, &other, N) == OK);
    start_agent(3);
    assert_true(wait_shares(3, 40000));
    assert_key(1, 2, 4);
    assert_int_equal(leaves_of(ACTION_KEY_ANSWER, DECISION_DENIED), 0);
}

static void malformed_messages_change_nothing(void **state)
{
    (void)state;
    start_all(0);
    while (state_of(1).phase < KEYGEN_CONFIRM)
        turn();
    static const char *const bodies[] = {"", "\xc1", "\x92\x01\x01", "\x94\x01\x01\x02\xc4\x01x", "\x92\xff\xff", "\x90"};
    for (unsigned i = 0; i < sizeof bodies / sizeof bodies[0]; i++)
        for (unsigned from = 0; from <= N + 1; from++) {
            keygen_agent_message(nodes[1].agent, from, PEER_SUBSHARE, 0, bytes_text(bodies[i]));
            keygen_agent_message(nodes[1].agent, from, PEER_SUBSHARE_ASK, 0, bytes_text(bodies[i]));
        }
    assert_true(wait_shares(0, 30000));
    assert_key(1, 2, 3);
    assert_int_equal(leaves_of(ACTION_KEY_ANSWER, DECISION_APPROVED), 0);
}

int main(void)
{
    crypto_init();
    log_setup(LOG_ERROR, false);
    const char *given = getenv("SEED");
    seed = given ? strtoull(given, NULL, 10) : 20240608;
    CHECK(uv_loop_init(&loop) == 0);
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(all_present),
        T(one_absent_for_ever),
        T(one_absent_returns_late),
        T(a_dealer_that_goes_away_is_excluded),
        T(a_wrong_subshare_is_complained_about_and_answered),
        T(a_liar_that_does_not_answer_is_excluded),
        T(a_late_one_that_was_lied_to),
        T(other_bytes_than_published_are_complained_about),
        T(a_subshare_of_another_attempt),
        T(who_lacks_too_many_waits),
        T(messages_get_lost),
        T(restarts_in_every_phase),
        T(too_few_wait),
        T(history_is_not_acted_upon),
        T(nothing_is_done_before_a_leader_is_heard),
        T(the_share_outlives_the_state),
        T(a_lost_polynomial_is_not_dealt),
        T(malformed_messages_change_nothing),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    CHECK(uv_loop_close(&loop) == 0);
    return failed;
}
