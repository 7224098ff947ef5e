/* Peers that lie about leaves, are silent, or prove that this node's own history is another: each named or passed
 * over, and nothing false is ever replayed. */
#include <stdlib.h>

#include "base/check.h"
#include "consensus/catchup_messages.h"
#include "consensus/peer_messages.h"
#include "ledger/leaf.h"
#include "ledger/proof.h"
#include "ledger/tables.h"
#include "storage/store.h"
#include "tests/unit/consensus/bed_catching_up.h"

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

/* True, and as little as can be. */
static void one_leaf(struct pulled *p, struct buffer *leaves)
{
    p->count = 1;
    CHECK(proof_consistency(&p->end_proof, kit.txn, p->from + 1, p->to) == OK);
    pack_all(p, leaves);
}

/* However soon it answers: the others give as many as fit. */
static void who_gives_little_is_asked_last(void **state)
{
    (void)state;
    tamper = lie_in_pulled;
    lie = one_leaf;
    liar = 1;
    install(&marks[2]);
    assert_true(wait_for(caught_up, 20000));
    assert_in_range(answers_of[1][PEER_PULLED], 1, 4);
    assert_at(&marks[2]);
}

static bool all_lie(struct message *m)
{
    liar = m->from;
    return lie_in_pulled(m);
}

static bool caught_up_again(void) { return nodes[TARGET].driver.caught_up == 2; }

/* As much as fits, and just in time: asked once, as each is, and then who takes least. */
static void who_answers_late_is_asked_last(void **state)
{
    (void)state;
    late_ms[1] = LIMIT_PULL_MS / 5;
    install(&marks[2]);
    assert_true(wait_for(caught_up, 20000));
    assert_at(&marks[2]);
    assert_int_equal(answers_of[1][PEER_PULLED], 1);
}

/* It was the fastest once: not for ever. */
static void who_becomes_late_is_left(void **state)
{
    (void)state;
    late_ms[2] = late_ms[3] = LIMIT_PULL_MS / 20;
    install(&marks[0]);
    assert_true(wait_for(caught_up, 20000));
    unsigned before = answers_of[1][PEER_PULLED];
    late_ms[1] = LIMIT_PULL_MS / 5;
    install(&marks[2]);
    assert_true(wait_for(caught_up_again, 20000));
    assert_at(&marks[2]);
    assert_in_range(answers_of[1][PEER_PULLED], before, before + 1);
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
    wait_for(never, LIMIT_COMMIT_MS + 100); /* what was replayed is committed */
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        BED_TEST(lies_about_leaves_are_refused),
        BED_TEST(a_liar_is_not_asked_again),
        BED_TEST(who_gives_little_is_asked_last),
        BED_TEST(who_answers_late_is_asked_last),
        BED_TEST(who_becomes_late_is_left),
        BED_TEST(when_all_lie_it_fails_and_tries_again),
        BED_TEST(silent_and_garbled_peers_are_passed_over),
        BED_TEST(a_peer_that_goes_away_is_replaced),
        BED_TEST(unasked_answers_are_ignored),
        BED_TEST(a_fork_is_quarantined),
        BED_TEST(a_fork_of_a_power_of_two_is_quarantined),
        BED_TEST(a_longer_fork_is_quarantined),
        BED_TEST(a_fork_of_the_same_size_is_quarantined),
        BED_TEST(a_leaf_against_the_rules_is_not_replayed),
    };
    return cmocka_run_group_tests(tests, bed_open, bed_close);
}
