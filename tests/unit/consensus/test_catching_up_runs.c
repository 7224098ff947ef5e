/* Runs that come to their end: from nothing, from a part, over restarts, busy states and stops; what offers
 * and positions are believed. */
#include "consensus/catchup_messages.h"
#include "consensus/peer_messages.h"
#include "ledger/leaf.h"
#include "tests/unit/consensus/bed_catching_up.h"

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

static void a_restart_goes_on_in_the_middle(void **state)
{
    (void)state;
    tamper = stop_after_two;
    pulled_seen = 0;
    install(&marks[2]);
    assert_true(wait_for(two_pulled, 5000));
    wait_for(never, LIMIT_COMMIT_MS + 150); /* a commit */
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
    wait_for(never, LIMIT_COMMIT_MS + 150);
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

static uint64_t offered_by(struct node *n)
{
    struct buffer manifest = {0};
    uint64_t index = 0, term = 0;
    assert_true(catchup_manifest(n->catchup, &index, &term, &manifest));
    assert_int_equal(term, marks[2].raft_term + (index != marks[2].raft_index));
    buffer_free(&manifest);
    return index;
}

static void apply_after(struct node *n, unsigned entries, unsigned leaves)
{
    const struct mark *m = &marks[2];
    n->driver.synced_index = m->raft_index + entries;
    struct driver_applied a = {.raft_index = m->raft_index + entries, .raft_term = m->raft_term + 1,
                               .size = m->size + leaves, .root = m->root};
    witness_applied(n->witness, &a);
}

/* Entries that left no leaf: a log that is short of room is trimmed of them. */
static void what_left_no_leaf_is_trimmed_where_room_is_scarce(void **state)
{
    (void)state;
    struct node *n = &nodes[1];
    apply_after(n, 3, 0);
    assert_int_equal(offered_by(n), marks[2].raft_index);
    n->driver.log_filled = LIMIT_LOG_SCARCE;
    assert_int_equal(offered_by(n), marks[2].raft_index + 3);
    apply_after(n, 4, 1); /* not witnessed */
    assert_int_equal(offered_by(n), marks[2].raft_index);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BED_TEST(what_left_no_leaf_is_trimmed_where_room_is_scarce),
        BED_TEST(an_empty_node_catches_up),
        BED_TEST(a_node_that_has_a_part_goes_on_from_there),
        BED_TEST(the_same_again_needs_no_leaf),
        BED_TEST(without_an_offer_the_newest_is_taken),
        BED_TEST(a_restart_goes_on_in_the_middle),
        BED_TEST(a_state_beyond_the_offer_goes_to_the_newest),
        BED_TEST(a_new_offer_replaces_the_one_before),
        BED_TEST(an_offer_without_k_cosignatures_is_refused),
        BED_TEST(a_false_position_is_refused),
        BED_TEST(the_leader_alone_is_not_enough),
        BED_TEST(nobody_who_states_it_ends_the_run),
        BED_TEST(a_boast_about_the_newest_is_passed_over),
        BED_TEST(a_position_never_goes_back),
        BED_TEST(a_busy_state_is_tried_again),
        BED_TEST(it_stops_at_any_moment),
    };
    return cmocka_run_group_tests(tests, bed_open, bed_close);
}
