/* What a node has signed binds it after a restart, and notes of peers tell it what it has missed. */
#include <stdlib.h>

#include "base/check.h"
#include "base/pack.h"
#include "consensus/peer_messages.h"
#include "consensus/witness_internal.h"
#include "ledger/checkpoint.h"
#include "ledger/tables.h"
#include "storage/store.h"
#include "tests/lib/samples.h"
#include "tests/unit/consensus/bed_witness.h"

/* --- what was signed --- */

/* Node 4 applies a block, and the others, whom it doesn't reach, tell it the same root. */
static void apply_and_hear(unsigned leaves)
{
    nodes[1].cut = nodes[2].cut = nodes[3].cut = true;
    apply(4, leaves);
    struct claim c = own_claim(4);
    for (unsigned i = 1; i <= 3; i++)
        send_tell(i, 4, PEER_TELL, &c);
    settle();
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
    apply_and_hear(4);
    assert_int_equal(nodes[4].cosigned_most, 0);
    assert_int_equal(d->durable.size, 6);
    /* The size of its mark: the same again, without another mark. */
    apply_and_hear(2);
    assert_int_equal(nodes[4].cosigned_most, 6);
    assert_int_equal(nodes[4].quarantined, 0);
}

static void a_restart_never_signs_another_root(void **state)
{
    (void)state;
    struct driver *d = &nodes[4].driver;
    d->any_mark = true;
    d->durable = (struct cosigned_mark){.raft_index = 1, .size = 4, .root = sample_digest(77)};
    apply_and_hear(4);
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

/* A row is this node's own note: without it, it has the checkpoint before. */
static void a_checkpoint_that_cannot_be_read_is_passed_over(void **state)
{
    (void)state;
    struct table_txn *txn;
    uint8_t key[8];
    lead(1, 1);
    apply_all(3);
    assert_true(wait_all_at(3, 60000));
    apply_all(2);
    assert_true(wait_all_at(5, 60000));
    stop_witness(4);
    put_be64(key, 5);
    assert_int_equal(store_begin_write(&txn, nodes[4].driver.store), OK);
    assert_int_equal(table_put(txn, TABLE_CHECKPOINT, BYTES(key), bytes_text("no checkpoint")), OK);
    assert_int_equal(store_commit(txn), OK);
    start_witness(4);
    assert_note(4, 3);
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

/* The rows that its root follows from are gone: it is given up for a newer one, and only for that. */
static void a_note_that_cannot_be_judged_holds_up_none(void **state)
{
    (void)state;
    struct buffer first = make_note(7, false, K), second = make_note(9, false, K);
    struct table_txn *txn;
    uint8_t key[8];
    apply(1, 6);
    apply(1, 6);
    put_be64(key, 6);
    assert_int_equal(store_begin_write(&txn, nodes[1].driver.store), OK);
    assert_int_equal(table_delete(txn, TABLE_TREE, BYTES(key)), OK);
    assert_int_equal(store_commit(txn), OK);
    witness_take_note(nodes[1].witness, buffer_bytes(&first));
    settle();
    sleep_ms(120);
    assert_int_equal(witness_size(nodes[1].witness), 0);
    witness_take_note(nodes[1].witness, buffer_bytes(&second));
    for (unsigned i = 0; i < 3000 && witness_size(nodes[1].witness) == 0; i++) sleep_ms(20);
    assert_note(1, 9);
    buffer_free(&first);
    buffer_free(&second);
}

static void push(unsigned from, unsigned to, struct bytes note)
{
    struct buffer body = {0};
    pack_array(&body, 1);
    pack_bytes(&body, note);
    witness_message(nodes[to].witness, from, PEER_NOTE_PUSH, buffer_bytes(&body));
    buffer_free(&body);
}

/* Who says the same again pays nothing, and costs nothing: one whose signatures are bad isn't noticed even. What is newer
 * is verified, and so is what may show that somebody cosigned two roots. */
static void what_a_note_says_again_is_not_verified(void **state)
{
    (void)state;
    const struct witness *w = nodes[1].witness;
    lead(1, 1);
    apply_all(4);
    assert_true(wait_all_at(4, 60000));
    struct buffer witnessed = make_note(4, false, K), waits = make_note(7, false, K), newer = make_note(9, false, K);
    struct buffer between = make_note(8, false, K), forked = make_note(4, true, K);
    push(4, 1, buffer_bytes(&waits));
    push(4, 1, buffer_bytes(&newer));
    struct buffer *same[] = {&witnessed, &waits, &between, &newer};
    for (unsigned i = 0; i < 4; i++) {
        same[i]->data[same[i]->size - 10] ^= 1;
        push(4, 1, buffer_bytes(same[i]));
    }
    assert_int_equal(w->wrong[4], 0);
    struct buffer newest = make_note(10, false, K);
    newest.data[newest.size - 10] ^= 1;
    push(4, 1, buffer_bytes(&newest));
    assert_int_equal(w->wrong[4], 1);
    push(4, 1, buffer_bytes(&forked));
    assert_true(nodes[1].evidence[2] + nodes[1].evidence[3] > 0);
    for (unsigned i = 0; i < 4; i++) buffer_free(same[i]);
    buffer_free(&newest);
    buffer_free(&forked);
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

/* Who cosigned the note has applied what this node's root contradicts. */
static void a_note_that_contradicts_says_who_does(void **state)
{
    (void)state;
    struct buffer note = make_note(7, true, K), end = make_note(10, true, K);
    may_be_rebuilt(4);
    apply(4, 5);
    apply(4, 5);
    witness_take_note(nodes[4].witness, buffer_bytes(&note));
    settle();
    assert_int_equal(nodes[4].quarantined, 0);
    assert_int_equal(nodes[4].deceived, 1);
    assert_int_equal(nodes[4].contradicting, 1u << 1 | 1u << 2 | 1u << 3);
    assert_int_equal(nodes[4].contradicted_at, 2); /* within a block: all that is applied */
    may_be_rebuilt(1);
    apply(1, 10); /* the end of the first of two blocks */
    apply(1, 1);
    witness_take_note(nodes[1].witness, buffer_bytes(&end));
    settle();
    assert_int_equal(nodes[1].deceived, 1);
    assert_int_equal(nodes[1].contradicting, 1u << 2 | 1u << 3); /* not itself */
    assert_int_equal(nodes[1].contradicted_at, 1);
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

/* --- a disk that was set back --- */

/* All that it has is witnessed without it, so it would cosign nothing again before something new is written. */
static void who_forgot_what_it_cosigned_is_bound_by_what_others_did(void **state)
{
    (void)state;
    struct driver *d = &nodes[4].driver;
    struct buffer note = make_note(7, false, K);
    apply(4, 5);
    apply(4, 2);
    witness_take_note(nodes[4].witness, buffer_bytes(&note));
    sleep_ms(120);
    assert_false(d->any_mark); /* it forgot nothing: as ever */
    d->forgot = true;
    sleep_ms(120);
    settle();
    assert_true(d->any_mark);
    assert_int_equal(d->durable.size, 7);
    assert_int_equal(d->durable.raft_index, 2);
    assert_int_equal(nodes[4].cosigned_most, 0); /* nobody asked */
    buffer_free(&note);
}

static void what_is_not_witnessed_binds_nobody(void **state)
{
    (void)state;
    struct driver *d = &nodes[4].driver;
    struct buffer note = make_note(7, false, K);
    d->forgot = true;
    apply(4, 7);
    sleep_ms(120);
    assert_false(d->any_mark);
    apply(4, 1); /* more than the note has */
    witness_take_note(nodes[4].witness, buffer_bytes(&note));
    sleep_ms(120);
    settle();
    assert_int_equal(witness_size(nodes[4].witness), 7);
    assert_false(d->any_mark);
    buffer_free(&note);
}

/* Entries without a leaf leave one size with several positions; whoever kept which must agree when one who catches up
 * asks (consensus/catchup_serve.c): who co-signed behind such an entry, and who was sent the note. */
static void one_size_is_kept_with_one_position(void **state)
{
    (void)state;
    lead(1, 1);
    nodes[4].cut = true;
    apply_all(6);
    for (unsigned i = 0; i < 3; i++) apply_all(0); /* told of: the last of them */
    settle();
    nodes[4].cut = false;
    assert_true(wait_all_at(6, 5000));
    for (unsigned i = 1; i <= N; i++) {
        const struct witnessed *kept = witness_before(nodes[i].witness, UINT64_MAX);
        assert_true(kept && kept->size == 6 && kept->raft_index == 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BED_TEST(a_restart_never_signs_anything_smaller),
        BED_TEST(a_restart_never_signs_another_root),
        BED_TEST(no_cosignature_before_its_mark_is_durable),
        BED_TEST(a_checkpoint_that_cannot_be_read_is_passed_over),
        BED_TEST(a_note_waits_until_its_size_is_applied),
        BED_TEST(a_note_is_judged_without_another_block),
        BED_TEST(a_note_is_judged_later_when_the_state_is_busy),
        BED_TEST(a_note_that_cannot_be_judged_holds_up_none),
        BED_TEST(what_a_note_says_again_is_not_verified),
        BED_TEST(a_note_that_contradicts_quarantines),
        BED_TEST(a_note_that_contradicts_says_who_does),
        BED_TEST(a_replayed_state_takes_the_note_but_states_no_position),
        BED_TEST(who_forgot_what_it_cosigned_is_bound_by_what_others_did),
        BED_TEST(what_is_not_witnessed_binds_nobody),
        BED_TEST(one_size_is_kept_with_one_position),
    };
    return cmocka_run_group_tests(tests, bed_open, bed_close);
}
