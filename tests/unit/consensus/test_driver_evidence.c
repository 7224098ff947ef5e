/* What a leader that lies can do to three honest nodes of four: named by what it signed, followed no
 * more, and whom it deceived yields, where nothing cosigned is undone. Node 4 is played by the test. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/pack.h"
#include "consensus/driver_internal.h"
#include "consensus/entry.h"
#include "consensus/peer_messages.h"
#include "consensus/raft.h"
#include "ledger/evidence.h"
#include "ledger/tables.h"
#include "tests/lib/driver_bed.h"
#include "tests/lib/flip.h"
#include "tests/lib/samples.h"
#include "tests/lib/unit.h"

#define LIAR 4
#define HONEST 3
#define LIARS_TERM 5

static struct bed bed;
static uint64_t term, block_ms; /* of the liar's blocks: what is meant to be the same block is */

static void up(unsigned nodes)
{
    bed_open(&bed, 4, 1);
    for (unsigned i = 1; i <= nodes; i++)
        bed_start(&bed, i);
    term = LIARS_TERM;
    block_ms = clock_wall_ms();
}

static void down(void) { bed_close(&bed); }

static struct driver_status status_of(unsigned node) { return bed_status(&bed, node); }

static const struct sign_secret *key_of(unsigned node) { return &bed.kit.nodes[node].message; }

static struct statement block_at(uint64_t index, unsigned hash, unsigned signer)
{
    struct statement s = {.kind = STATEMENT_BLOCK, .term = 9, .index = index, .hash = sample_digest(hash)};
    evidence_statement_sign(&s, &bed.kit.genesis.cluster, key_of(signer));
    return s;
}

static void make_evidence(struct buffer *out, uint64_t index, unsigned signer)
{
    struct statement a = block_at(index, 1, signer), b = block_at(index, 2, signer);
    struct evidence e;
    assert_int_equal(evidence_make(&e, &bed.kit.genesis, signer, &a, &b), OK);
    buffer_clear(out);
    evidence_encode(out, &e);
}

/* --- keeping --- */

static bool all_have_some(struct bed *b, void *data)
{
    (void)data;
    for (unsigned i = 1; i <= HONEST; i++)
        if (!b->nodes[i].evidence) return false;
    return true;
}

static size_t rows_on_disk(unsigned node)
{
    struct table_txn *txn;
    assert_int_equal(store_begin_read(&txn, bed.nodes[node].store), OK);
    size_t count = (size_t)table_count(txn, TABLE_EVIDENCE);
    store_abort(txn);
    return count;
}

static bool kept(struct bed *b, void *data)
{
    (void)b;
    return rows_on_disk(1) == *(const size_t *)data;
}

static void evidence_is_kept_bounded_and_told_to_all(void **state)
{
    (void)state;
    struct buffer encoded = {0};
    size_t most = 4;
    up(HONEST);
    for (uint64_t index = 1; index <= 7; index++) {
        make_evidence(&encoded, index, LIAR);
        assert_int_equal(driver_evidence(bed.nodes[1].driver, buffer_bytes(&encoded)), OK);
        assert_int_equal(driver_evidence(bed.nodes[1].driver, buffer_bytes(&encoded)), OK); /* no news */
    }
    assert_int_equal(bed.nodes[1].evidence, most);
    assert_true(driver_is_named(bed.nodes[1].driver, LIAR));
    assert_true(bed_until(&bed, 60000, all_have_some, NULL));
    for (unsigned i = 1; i <= HONEST; i++)
        assert_true(driver_is_named(bed.nodes[i].driver, LIAR));
    assert_true(bed_until(&bed, 60000, kept, &most));
    bed_crash(&bed, 1); /* as kill -9 */
    bed_start(&bed, 1);
    assert_true(driver_is_named(bed.nodes[1].driver, LIAR));
    make_evidence(&encoded, 99, LIAR);
    assert_int_equal(driver_evidence(bed.nodes[1].driver, buffer_bytes(&encoded)), OK);
    bed_turn(&bed, 100);
    assert_int_equal(bed.nodes[1].evidence, most); /* none in this life */
    assert_int_equal(rows_on_disk(1), most);
    /* Who was away hears of it when its link comes up. */
    bed_crash(&bed, 3);
    bed_wipe(&bed, 3);
    bed.nodes[3].evidence = 0;
    bed_start(&bed, 3);
    assert_true(bed_until(&bed, 60000, all_have_some, NULL));
    assert_true(driver_is_named(bed.nodes[3].driver, LIAR));
    buffer_free(&encoded);
    down();
}

/* One bit of it is wrong on the disk: the node is there all the same, and a peer that has it sends it again. */
static void evidence_that_cannot_be_read_keeps_no_node_away(void **state)
{
    (void)state;
    struct buffer encoded = {0};
    struct digest id;
    char folder[FOLDER_PATH];
    size_t one = 1;
    up(HONEST);
    make_evidence(&encoded, 1, LIAR);
    evidence_id(&id, buffer_bytes(&encoded));
    assert_int_equal(driver_evidence(bed.nodes[1].driver, buffer_bytes(&encoded)), OK);
    assert_true(bed_until(&bed, 60000, all_have_some, NULL));
    assert_true(bed_until(&bed, 60000, kept, &one));
    bed_crash(&bed, 1);
    folder_join(folder, bed.nodes[1].folder, "store");
    assert_int_equal(flip_value(folder, "evidence", BYTES(id.bytes), 100), 0);
    bed.nodes[1].evidence = 0;
    bed_start(&bed, 1);
    assert_true(bed_until(&bed, 60000, all_have_some, NULL));
    assert_true(driver_is_named(bed.nodes[1].driver, LIAR));
    buffer_free(&encoded);
    down();
}

static void send_evidence(struct bytes encoded)
{
    struct buffer body = {0};
    pack_array(&body, 1);
    pack_bytes(&body, encoded);
    driver_message(bed.nodes[1].driver, LIAR, PEER_EVIDENCE, 0, buffer_bytes(&body));
    buffer_free(&body);
}

static void nobody_is_named_by_anothers_word(void **state)
{
    (void)state;
    struct buffer good = {0}, bad = {0};
    up(1);
    make_evidence(&good, 5, 2);
    uint64_t before = status_of(1).bad_messages;
    for (size_t at = 0; at < good.size; at += 3) {
        buffer_clear(&bad);
        buffer_append_bytes(&bad, buffer_bytes(&good));
        bad.data[at] ^= 1;
        send_evidence(buffer_bytes(&bad));
        send_evidence(bytes_of(good.data, at));
    }
    for (unsigned type = PEER_HEADS_ASK; type <= PEER_WITHDRAWN; type++) {
        driver_message(bed.nodes[1].driver, LIAR, type, 0, bytes_text("x"));
        driver_message(bed.nodes[1].driver, LIAR, type, 0, (struct bytes){0});
    }
    assert_true(status_of(1).bad_messages > before);
    for (unsigned i = 1; i <= 4; i++)
        assert_false(driver_is_named(bed.nodes[1].driver, i));
    assert_int_equal(bed.nodes[1].evidence, 0);
    assert_int_equal(rows_on_disk(1), 0);
    send_evidence(buffer_bytes(&good)); /* whoever brings it */
    assert_true(driver_is_named(bed.nodes[1].driver, 2));
    buffer_free(&good);
    buffer_free(&bad);
    down();
}

/* --- not followed --- */

static void send_raft(unsigned to, struct raft_message *m)
{
    struct buffer out = {0};
    m->from = LIAR;
    m->to = (raft_id)to;
    m->term = term;
    raft_message_encode(&out, NULL, m, PEER_VERSION);
    driver_message(bed.nodes[to].driver, LIAR, PEER_RAFT, 0, buffer_bytes(&out));
    buffer_free(&out);
    bed_turn(&bed, 30);
}

static void who_is_named_neither_leads_nor_disturbs(void **state)
{
    (void)state;
    struct buffer encoded = {0};
    up(1);
    send_raft(1, &(struct raft_message){.type = RAFT_HEARTBEAT});
    assert_int_equal(status_of(1).leader, LIAR);
    make_evidence(&encoded, 5, LIAR);
    assert_int_equal(driver_evidence(bed.nodes[1].driver, buffer_bytes(&encoded)), OK);
    uint64_t before = status_of(1).term;
    term = before + 50;
    send_raft(1, &(struct raft_message){.type = RAFT_HEARTBEAT});
    send_raft(1, &(struct raft_message){.type = RAFT_VOTE});
    send_raft(1, &(struct raft_message){.type = RAFT_APPEND_ANSWER, .rejected = true});
    send_raft(1, &(struct raft_message){.type = RAFT_VOTE_ANSWER});
    assert_true(status_of(1).term < term);
    assert_true(status_of(1).leader != LIAR || status_of(1).term == before);
    buffer_free(&encoded);
    down();
}

static void who_is_named_itself_does_not_lead(void **state)
{
    (void)state;
    struct buffer encoded = {0};
    up(HONEST);
    unsigned leader = bed_await_leader(&bed);
    make_evidence(&encoded, 5, leader); /* somebody has its key */
    for (unsigned i = 1; i <= HONEST; i++)
        assert_int_equal(driver_evidence(bed.nodes[i].driver, buffer_bytes(&encoded)), OK);
    for (unsigned i = 0; i < 400 && (status_of(1).leader == leader || bed_leader(&bed) == 0); i++)
        bed_turn(&bed, 100);
    assert_int_not_equal(bed_await_leader(&bed), leader);
    for (unsigned i = 1; i <= HONEST; i++)
        assert_false(bed.nodes[i].fatal);
    buffer_free(&encoded);
    down();
}

/* --- forks --- */

static struct raft_entry signed_entry(uint64_t index, struct bytes request, unsigned signer)
{
    struct buffer b = {0};
    struct block_place place = {.cluster = bed.kit.genesis.cluster, .term = term, .index = index};
    assert_non_null(buffer_extend(&b, ENTRY_HEAD));
    block_encode(&b, block_ms, &request, request.size ? 1 : 0);
    entry_sign(&b, &place, signer, key_of(signer));
    struct raft_entry e = {.index = index, .term = term, .type = RAFT_ENTRY_BLOCK,
                           .blob = raft_blob_copy(buffer_bytes(&b))};
    buffer_free(&b);
    return e;
}

static struct raft_entry make_entry(uint64_t index, struct bytes request) { return signed_entry(index, request, LIAR); }

static void append_to(unsigned node, uint64_t index, struct bytes request)
{
    struct raft_entry e = make_entry(index, request);
    send_raft(node, &(struct raft_message){.type = RAFT_APPEND, .log = {index - 1, index == 1 ? 0 : term},
                                           .commit = index, .entries = &e, .entry_count = 1});
    raft_blob_release(e.blob);
}

static void request_by_root(struct buffer *out, const char *object)
{
    struct arguments args = {.action = ACTION_EVENT_ADD};
    args.event_add = (struct args_event_add){sample_id(2), bytes_text("bill.print"), bytes_text(object)};
    bed.kit.now = clock_wall_ms();
    buffer_clear(out);
    kit_request(&bed.kit, out, &bed.kit.root, &args, (struct bytes){0});
}

static bool is_applied(struct bed *b, void *data)
{
    uint64_t index = *(const uint64_t *)data;
    for (unsigned i = 1; i <= HONEST; i++)
        if (b->nodes[i].driver && b->nodes[i].applied.raft_index < index) return false;
    return true;
}

/* The liar gave its block to each node under another signature, which is no second block: whoever leads next, and sends
 * again what it has, is believed. */
static void one_block_under_two_signatures(void **state)
{
    (void)state;
    struct buffer request = {0};
    up(1);
    request_by_root(&request, "common");
    struct raft_entry other = signed_entry(1, buffer_bytes(&request), 2);
    append_to(1, 1, buffer_bytes(&request));
    BED_AWAIT(&bed, bed.nodes[1].applied.raft_index == 1);
    const uint64_t evidence = status_of(1).evidence;
    term = LIARS_TERM + 1;
    struct raft_entry again[2] = {other, {.index = 2, .term = term, .type = RAFT_ENTRY_NOOP}};
    send_raft(1, &(struct raft_message){.type = RAFT_APPEND, .commit = 2, .entries = again, .entry_count = 2});
    BED_AWAIT(&bed, status_of(1).evidence > evidence || status_of(1).last == 2);
    assert_int_equal(status_of(1).last, 2);
    assert_int_equal(status_of(1).evidence, evidence);
    raft_blob_release(other.blob);
    buffer_free(&request);
    down();
}

/* The liar leads term 5 and gives each node its own second block; all of them apply it. */
static void fork_log(const unsigned branch[HONEST + 1])
{
    struct buffer requests[4] = {{0}};
    const char *const objects[] = {"common", "a", "b", "c"};
    uint64_t second = 2;
    for (unsigned i = 0; i < 4; i++)
        request_by_root(&requests[i], objects[i]);
    for (unsigned i = 1; i <= HONEST; i++)
        append_to(i, 1, buffer_bytes(&requests[0]));
    for (unsigned i = 1; i <= HONEST; i++)
        append_to(i, 2, buffer_bytes(&requests[branch[i]]));
    assert_true(bed_until(&bed, 60000, is_applied, &second));
    for (unsigned i = 0; i < 4; i++)
        buffer_free(&requests[i]);
}

/* What the witness does when roots differ, until everybody is on one branch; who is deceived is rebuilt. */
static unsigned heal(void)
{
    unsigned rebuilt = 0;
    for (unsigned round = 0; round < 600; round++) {
        unsigned leader = bed_leader(&bed);
        bool same = leader != 0;
        for (unsigned i = 1; i <= HONEST; i++) {
            struct bed_node *node = &bed.nodes[i];
            if (node->deceived) {
                bed_stop(&bed, i);
                bed_rebuild(&bed, i);
                bed_start(&bed, i);
                rebuilt++;
            }
            const struct driver_applied *l = &bed.nodes[leader ? leader : 1].applied, *a = &node->applied;
            bool equal = a->size == l->size && digest_equal(&a->root, &l->root);
            if (leader && i != leader && !equal && a->raft_index >= 2)
                driver_compare(node->driver, leader, a->raft_index);
            same = same && equal;
        }
        if (same && bed.nodes[leader].applied.raft_term > LIARS_TERM) return rebuilt;
        bed_turn(&bed, 100);
    }
    return 99;
}

static void assert_all_alive(void)
{
    bed_add_user(&bed, bed_await_leader(&bed), 1, "doctor"); /* committed, and applied by all */
    assert_int_equal(heal(), 0);
    for (unsigned i = 1; i <= HONEST; i++) {
        assert_false(bed.nodes[i].fatal);
        assert_false(status_of(i).quarantined);
        assert_true(digest_equal(&bed.nodes[i].applied.root, &bed.nodes[1].applied.root));
    }
}

static void one_of_three_was_deceived(void **state)
{
    (void)state;
    up(HONEST);
    fork_log((const unsigned[]){0, 1, 1, 2});
    unsigned rebuilt = heal();
    assert_true(rebuilt == 1 || rebuilt == 2); /* who doesn't lead afterwards yields */
    for (unsigned i = 1; i <= HONEST; i++)
        assert_true(driver_is_named(bed.nodes[i].driver, LIAR));
    assert_all_alive();
    down();
}

static void three_nodes_three_branches(void **state)
{
    (void)state;
    up(HONEST);
    fork_log((const unsigned[]){0, 1, 2, 3});
    assert_int_equal(heal(), 2);
    assert_all_alive();
    down();
}

/* Entries that only one node got, and were called committed: no second signature shows that. */
static void a_commit_that_no_majority_stands_behind(void **state)
{
    (void)state;
    struct buffer requests[2] = {{0}};
    uint64_t first = 1;
    up(HONEST);
    request_by_root(&requests[0], "common");
    request_by_root(&requests[1], "alone");
    for (unsigned i = 1; i <= HONEST; i++)
        append_to(i, 1, buffer_bytes(&requests[0]));
    assert_true(bed_until(&bed, 60000, is_applied, &first));
    bed_cut(&bed, 3, 1, true);
    bed_cut(&bed, 3, 2, true);
    append_to(3, 2, buffer_bytes(&requests[1]));
    /* It votes for another one, and is silent then. */
    for (unsigned round = 0; round < 600 && !status_of(1).leads && !status_of(2).leads; round++) {
        for (unsigned i = 1; i <= 2; i++) {
            term = status_of(i).term;
            send_raft(i, &(struct raft_message){.type = RAFT_PREVOTE_ANSWER, .proposed = term + 1, .granted = true});
            term = status_of(i).term;
            send_raft(i, &(struct raft_message){.type = RAFT_VOTE_ANSWER, .granted = true});
        }
        bed_turn(&bed, 20);
    }
    bed_cut(&bed, 3, 1, false);
    bed_cut(&bed, 3, 2, false);
    assert_true(status_of(1).leads || status_of(2).leads);
    assert_int_equal(heal(), 1);
    for (unsigned i = 1; i <= HONEST; i++)
        assert_int_equal(bed.nodes[i].evidence, 0); /* no two signatures contradict each other */
    assert_all_alive();
    buffer_free(&requests[0]);
    buffer_free(&requests[1]);
    down();
}

/* Node 3 has cosigned its own branch: it never takes that back, whatever the leader has. */
static bool is_marked(struct bed *b, void *data)
{
    (void)data;
    struct cosigned_mark mark;
    return driver_cosigned(b->nodes[3].driver, &mark);
}

static void marked(struct cosigned_mark *m, enum err code) { *(enum err *)m->data = code; }

static void what_is_cosigned_is_never_undone(void **state)
{
    (void)state;
    enum err code = ERR_BUSY;
    up(HONEST);
    fork_log((const unsigned[]){0, 1, 1, 2});
    struct cosigned_mark mark = {.raft_index = 2, .size = bed.nodes[3].applied.size, .root = bed.nodes[3].applied.root,
                                 .data = &code, .done = marked};
    assert_int_equal(driver_log_cosigned(bed.nodes[3].driver, &mark), OK);
    assert_true(bed_until(&bed, 60000, is_marked, NULL));
    assert_int_equal(code, OK);
    for (unsigned round = 0; round < 60; round++) {
        unsigned leader = bed_leader(&bed);
        for (unsigned i = 1; leader && i <= HONEST; i++)
            if (i != leader && !bed.nodes[i].deceived) driver_compare(bed.nodes[i].driver, leader, 2);
        bed_turn(&bed, 50);
    }
    assert_false(bed.nodes[3].deceived);
    assert_int_equal(status_of(3).applied >= 2, 1);
    down();
}

/* What it gave all of them alike, nobody cosigned so far: then it says that its own log has something else there. */
static void say_other_head(unsigned to, uint64_t head_term)
{
    static const uint8_t no_signature[64];
    struct digest hash = sample_digest(9);
    struct buffer body = {0};
    driver_compare(bed.nodes[to].driver, LIAR, 2);
    pack_array(&body, 1);
    pack_array(&body, 5);
    pack_uint(&body, 2);
    pack_uint(&body, head_term);
    pack_uint(&body, head_term ? LIAR : 0);
    pack_digest(&body, &hash);
    pack_bin(&body, no_signature, sizeof no_signature);
    driver_message(bed.nodes[to].driver, LIAR, PEER_HEADS, 0, buffer_bytes(&body));
    buffer_free(&body);
}

/* ... and has cosigned nothing, in answer to who took back what it told up to index 2. */
static void say_nothing_cosigned(unsigned to, uint64_t head_term)
{
    struct digest hash = sample_digest(9);
    struct buffer body = {0};
    pack_array(&body, 6);
    pack_uint(&body, LIARS_TERM);
    pack_uint(&body, 2);
    pack_uint(&body, 2);
    pack_uint(&body, 0);
    pack_uint(&body, head_term);
    pack_digest(&body, &hash);
    driver_message(bed.nodes[to].driver, LIAR, PEER_WITHDRAWN, 0, buffer_bytes(&body));
    buffer_free(&body);
}

static void a_leader_cannot_make_up_a_fork(void **state)
{
    (void)state;
    unsigned followed = 0;
    up(HONEST);
    fork_log((const unsigned[]){0, 1, 1, 1});
    for (unsigned round = 0; round < 40; round++)
        for (unsigned i = 1; i <= HONEST; i++) {
            term = LIARS_TERM;
            send_raft(i, &(struct raft_message){.type = RAFT_HEARTBEAT, .commit = 2});
            followed += status_of(i).leader == LIAR;
            say_other_head(i, LIARS_TERM - round % 2);
            if (round % 5 == 4) say_other_head(i, 0);
            say_nothing_cosigned(i, LIARS_TERM);
        }
    assert_true(followed > 0);
    for (unsigned i = 1; i <= HONEST; i++) {
        assert_false(bed.nodes[i].deceived);
        for (unsigned other = 1; other <= HONEST; other++)
            assert_int_equal(bed.nodes[i].withdrawn[other].index, 0); /* nobody took its word back */
    }
    down();
}

/* The liar leads a later term, heard by node 1 alone, which has the others' log; it says so of its own to node 1 until
 * that follows it no more, or gives way. */
static void claim_another_branch(uint64_t in_term)
{
    for (unsigned round = 0; round < 400 && !bed.nodes[1].deceived; round++) {
        if (status_of(1).leader != LIAR && status_of(1).term > in_term) return;
        term = in_term;
        send_raft(1, &(struct raft_message){.type = RAFT_HEARTBEAT, .commit = 2});
        if (round % 10 == 5 && status_of(1).leader == LIAR) {
            say_other_head(1, in_term - 1);
            say_nothing_cosigned(1, in_term - 1);
        }
        bed_turn(&bed, 20);
    }
}

/* What a leader has from earlier terms is its word, that others don't share: it is distrusted, and nobody
 * takes back for good what it told. */
static void a_leader_alone_moves_nobody(void **state)
{
    (void)state;
    up(HONEST);
    fork_log((const unsigned[]){0, 1, 1, 1});
    for (unsigned other = 2; other <= HONEST; other++) assert_false(bed.nodes[other].deceived);
    claim_another_branch(status_of(1).term + 2);
    assert_false(bed.nodes[1].deceived);
    assert_int_not_equal(status_of(1).leader, LIAR);
    assert_int_equal(bed.nodes[2].withdrawn[1].index, 0); /* taken back, and given again */
    /* Their own leader is heard, and the cluster goes on with what all have. */
    assert_int_equal(heal(), 0);
    assert_all_alive();
    assert_true(bed.nodes[1].applied.raft_index > 2);
    down();
}

/* With nothing cosigned since it is believed the second time: two may have been deceived alike. But never as long as
 * that the node would stay out until a person comes. */
static void a_leader_that_says_so_again(void **state)
{
    (void)state;
    for (unsigned times = 0; times < DRIVER_REBUILDS; times++) {
        up(HONEST);
        fork_log((const unsigned[]){0, 1, 1, 1});
        struct driver *d = bed.nodes[1].driver;
        d->rebuilt.times = times;
        claim_another_branch(status_of(1).term + 2);
        assert_false(bed.nodes[1].deceived);
        d->distrust[LIAR].until = 0; /* two minutes later */
        claim_another_branch(status_of(1).term + 2);
        assert_int_equal(bed.nodes[1].deceived, times + 1 < DRIVER_REBUILDS);
        down();
    }
}

/* --- k members contradict this node's root --- */

#define OTHERS (1u << 1 | 1u << 2 | 1u << LIAR)

static bool is_deceived(struct bed *b, void *data)
{
    (void)data;
    return b->nodes[3].deceived;
}

/* Before anybody has seen two signatures of one leader. */
static void contradict(void)
{
    assert_int_equal(bed.nodes[3].evidence, 0);
    driver_contradicted(bed.nodes[3].driver, OTHERS, 2, "its root contradicts one that k nodes told");
    assert_false(bed.nodes[3].deceived);
    assert_true(status_of(3).quarantined && status_of(3).contradicted);
}

/* Its own data are in order. Its log has the only proof of the lie, which must not be cut off unseen. */
static void who_was_told_another_history(void **state)
{
    (void)state;
    up(HONEST);
    fork_log((const unsigned[]){0, 1, 1, 2});
    contradict();
    assert_true(bed_until(&bed, BED_PATIENCE_MS, is_deceived, NULL));
    assert_true(bed.nodes[3].told);
    assert_false(status_of(3).contradicted);
    assert_true(driver_is_named(bed.nodes[3].driver, LIAR));
    assert_true(bed_until(&bed, BED_PATIENCE_MS, all_have_some, NULL));
    down();
}

/* What it was given before its start is shown by who signed it, alone. */
static void who_was_told_before_its_start(void **state)
{
    (void)state;
    for (unsigned altered = 0; altered < 2; altered++) {
        up(HONEST);
        fork_log((const unsigned[]){0, 1, 1, 2});
        bed_stop(&bed, 3);
        bed_start(&bed, 3);
        BED_AWAIT(&bed, driver_head(bed.nodes[3].driver, 2) != NULL);
        bed.nodes[3].driver->heads[2].signature.bytes[0] ^= (uint8_t)altered;
        contradict();
        assert_true(bed_until(&bed, BED_PATIENCE_MS, is_deceived, NULL));
        assert_int_equal(bed.nodes[3].told, !altered);
        down();
    }
}

/* All have one log, so its own data are wrong, whatever a liar says that stands in its own, and whatever is proved
 * against that. */
static void whose_data_are_wrong(void **state)
{
    (void)state;
    struct buffer encoded = {0};
    up(HONEST);
    fork_log((const unsigned[]){0, 1, 1, 1});
    contradict();
    say_other_head(3, LIARS_TERM - 1);
    make_evidence(&encoded, 2, LIAR);
    assert_int_equal(driver_evidence(bed.nodes[3].driver, buffer_bytes(&encoded)), OK);
    assert_true(bed_until(&bed, BED_PATIENCE_MS, is_deceived, NULL));
    assert_false(bed.nodes[3].told);
    buffer_free(&encoded);
    down();
}

/* Nobody answers, or only so many as may lie: nothing shows that it was told another history. */
static void who_is_answered_by_too_few(void **state)
{
    (void)state;
    up(HONEST);
    fork_log((const unsigned[]){0, 1, 1, 2});
    bed_cut(&bed, 3, 1, true);
    bed_cut(&bed, 3, 2, true);
    contradict();
    say_other_head(3, LIARS_TERM - 1);
    assert_true(bed_until(&bed, BED_PATIENCE_MS, is_deceived, NULL));
    assert_false(bed.nodes[3].told);
    down();
}

/* A withdrawn word is told to the owner before the answer says how far this node has cosigned. */

static void withdrawing(void **state)
{
    (void)state;
    struct buffer body = {0};
    up(HONEST);
    bed_await_leader(&bed);
    pack_array(&body, 3);
    pack_uint(&body, 7);
    pack_uint(&body, 11);
    pack_uint(&body, 0);
    driver_message(bed.nodes[1].driver, 2, PEER_WITHDRAW, 0, buffer_bytes(&body));
    assert_int_equal(bed.nodes[1].withdrawn[2].term, 7);
    assert_int_equal(bed.nodes[1].withdrawn[2].index, 11);
    /* An answer that nobody asked for changes nothing. */
    buffer_clear(&body);
    const struct digest hash = sample_digest(1);
    pack_array(&body, 6);
    for (unsigned i = 0; i < 5; i++)
        pack_uint(&body, 1);
    pack_digest(&body, &hash);
    driver_message(bed.nodes[1].driver, LIAR, PEER_WITHDRAWN, 0, buffer_bytes(&body));
    bed_turn(&bed, 200);
    assert_false(bed.nodes[1].deceived);

    buffer_free(&body);
    down();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(evidence_is_kept_bounded_and_told_to_all),
        cmocka_unit_test(evidence_that_cannot_be_read_keeps_no_node_away),
        cmocka_unit_test(nobody_is_named_by_anothers_word),
        cmocka_unit_test(who_is_named_neither_leads_nor_disturbs),
        cmocka_unit_test(who_is_named_itself_does_not_lead),
        cmocka_unit_test(one_block_under_two_signatures),
        cmocka_unit_test(one_of_three_was_deceived),
        cmocka_unit_test(three_nodes_three_branches),
        cmocka_unit_test(a_commit_that_no_majority_stands_behind),
        cmocka_unit_test(what_is_cosigned_is_never_undone),
        cmocka_unit_test(a_leader_cannot_make_up_a_fork),
        cmocka_unit_test(a_leader_alone_moves_nobody),
        cmocka_unit_test(a_leader_that_says_so_again),
        cmocka_unit_test(who_was_told_another_history),
        cmocka_unit_test(who_was_told_before_its_start),
        cmocka_unit_test(whose_data_are_wrong),
        cmocka_unit_test(who_is_answered_by_too_few),
        cmocka_unit_test(withdrawing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
