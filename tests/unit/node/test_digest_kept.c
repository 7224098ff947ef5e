/* State digests: which words are kept and handed out, and which digests are begun and ended. */
#include "base/check.h"
#include "crypto/random.h"
#include "ledger/tables.h"
#include "tests/unit/node/bed_digest.h"

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

static void only_its_own_word_counts(void **state)
{
    (void)state;
    struct state_statement s = statement(3, 50, 1);
    hear_as(2, &s); /* passed on as its own */
    s.member = 2;
    hear_as(2, &s); /* ... and signed by another */
    digest_message(&node, 2, bytes_text("no statement"));
    not_own(50);
    uint32_t count;
    assert_int_equal(serve(50, &count), 50);
    assert_int_equal(count, 1); /* its own */
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

/* It is this node's own note, and no reason to be without the node. */
static void a_statement_that_cannot_be_read_is_passed_over(void **state)
{
    (void)state;
    struct table_txn *txn;
    uint8_t key[9] = {[8] = 2};
    uint32_t count;
    not_own(60);
    hear(3, 60, 1);
    put_be64(key, 61);
    assert_int_equal(store_begin_write(&txn, node.store), OK);
    assert_int_equal(table_put(txn, TABLE_STATEMENT, BYTES(key), bytes_text("no statement")), OK);
    assert_int_equal(store_commit(txn), OK);
    not_own(62);
    restart();
    assert_int_equal(serve(60, &count), 60);
    assert_int_equal(count, 2);
    assert_int_equal(serve(61, &count), 62);
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

int main(void)
{
    crypto_init();
    const struct CMUnitTest tests[] = {
        BED_TEST(only_its_own_word_counts),
        BED_TEST(rounds_are_kept_through_a_restart),
        BED_TEST(a_statement_that_cannot_be_read_is_passed_over),
        BED_TEST(a_restart_tells_nothing_twice),
        BED_TEST(one_member_cannot_push_out_the_others),
        BED_TEST(an_old_leaf_is_not_answered),
        BED_TEST(a_link_that_comes_up_hears_the_newest),
        BED_TEST(a_stop_ends_a_scan),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
