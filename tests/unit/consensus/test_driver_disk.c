/* Disks that fail, and logs that are damaged. */
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/pack.h"
#include "base/table.h"
#include "consensus/raft.h"
#include "tests/lib/driver_bed.h"
#include "tests/lib/flip.h"
#include "tests/lib/folder.h"
#include "tests/lib/unit.h"

static struct bed bed;

static struct driver_status status_of(unsigned node) { return bed_status(&bed, node); }

static bool is_fatal(struct bed *b, void *data)
{
    (void)b;
    return ((struct bed_node *)data)->fatal;
}

/* The node says so once, answers what it has with "stopped", takes nothing more; the others go on. */
static void check_failed_disk(unsigned node, enum fault_call call, int number, enum err expected)
{
    struct bed_request lost, more;
    struct bed_node *failing = &bed.nodes[node];
    assert_true(bed_await_same(&bed, 3));
    uint64_t size = failing->applied.size;
    bed_event(&bed, &lost, &bed.doctor, BED_PATIENT);
    failing->fault.lasting = true;
    fault_arm(&failing->fault, call, 1, number);
    assert_int_equal(bed_submit(&bed, &lost, node, BED_PATIENCE_MS), OK);
    assert_true(bed_until(&bed, BED_PATIENCE_MS, is_fatal, failing));
    assert_int_equal(failing->fatal_code, expected);
    assert_int_equal(lost.done, 1);
    assert_int_equal(lost.code, ERR_STOPPED);
    assert_int_equal(failing->applied.size, size); /* nothing was applied, so nothing acknowledged */
    bed_event(&bed, &more, &bed.doctor, BED_PATIENT);
    assert_int_equal(bed_submit(&bed, &more, node, 1000), ERR_STOPPED);
    bed_request_free(&more);
    bed_request_free(&lost);
    uint64_t index = bed_event_through(&bed, node % 3 + 1);
    assert_true(index >= size);
    bed_crash(&bed, node);
    fault_arm(&failing->fault, call, 0, 0);
    failing->fault.lasting = false;
    bed_start(&bed, node);
    assert_true(bed_await_same(&bed, index + 1));
}

static void a_leaders_disk_fails(void **state)
{
    (void)state;
    bed_up(&bed, 3, 0);
    check_failed_disk(bed_await_leader(&bed), FAULT_FDATASYNC, EIO, ERR_IO);
    check_failed_disk(bed_await_leader(&bed), FAULT_PWRITE, ENOSPC, ERR_FULL);
    bed_close(&bed);
}

static void a_followers_disk_fails(void **state)
{
    (void)state;
    bed_up(&bed, 3, 0);
    check_failed_disk(bed_await_leader(&bed) % 3 + 1, FAULT_FDATASYNC, EIO, ERR_IO);
    bed_close(&bed);
}

static bool whole(struct bed *b, void *data)
{
    struct log_status status;
    (void)b;
    log_status(((struct bed_node *)data)->log, &status);
    return status.damaged == 0;
}

static void damaged_entries_come_from_the_peers(void **state)
{
    (void)state;
    bed_up(&bed, 4, 1);
    uint64_t last = 0;
    for (unsigned i = 0; i < 12; i++)
        last = bed_event_through(&bed, i % 4 + 1);
    assert_true(bed_await_same(&bed, last + 1));
    unsigned node = bed_await_leader(&bed) % 4 + 1;
    struct driver_status before = status_of(node);
    bed_stop(&bed, node);
    bed_damage(&bed, node, before.last - 3);
    bed_damage(&bed, node, before.last - 8);
    bed_start(&bed, node);
    assert_false(status_of(node).may_vote); /* no part in elections while the log has holes */
    assert_true(bed_until(&bed, BED_PATIENCE_MS, whole, &bed.nodes[node]));
    last = bed_event_through(&bed, node);
    assert_true(bed_await_same(&bed, last + 1));
    assert_true(status_of(node).may_vote);
    bed_close(&bed);
}

static void a_damaged_node_takes_no_part_alone(void **state)
{
    (void)state;
    struct bed_request r;
    bed_up(&bed, 3, 0);
    uint64_t last = 0;
    for (unsigned i = 0; i < 9; i++)
        last = bed_event_through(&bed, i % 3 + 1);
    assert_true(bed_await_same(&bed, last + 1));
    struct driver_status before = status_of(1);
    for (unsigned i = 1; i <= 3; i++)
        bed_stop(&bed, i);
    bed_damage(&bed, 1, before.last - 2);
    bed_damage(&bed, 2, before.last - 4);
    bed_start(&bed, 1);
    bed_start(&bed, 2);
    bed_event(&bed, &r, &bed.doctor, BED_PATIENT);
    /* Two of three, each with a hole at another place: they mend each other, then elect. */
    assert_int_equal(bed_submit(&bed, &r, 1, BED_PATIENCE_MS), OK);
    assert_true(bed_await(&bed, &r));
    assert_int_equal(r.code, OK);
    bed_request_free(&r);
    bed_start(&bed, 3);
    assert_true(bed_await_same(&bed, last + 2));
    bed_close(&bed);
}

/* ---- a disk that is almost full ---- */

static void a_node_without_space_takes_no_blocks(void **state)
{
    (void)state;
    struct bed_request r;
    bed_up(&bed, 3, 0);
    unsigned node = bed_await_leader(&bed);
    uint64_t last = bed_event_through(&bed, node);
    assert_true(bed_await_same(&bed, last + 1));
    bed_stop(&bed, node);
    bed.nodes[node].map_size = STORE_WATERMARK / 2; /* less left than the watermark from the start */
    bed_start(&bed, node);
    BED_AWAIT(&bed, status_of(node).space_low);
    bed_event(&bed, &r, &bed.doctor, BED_PATIENT);
    assert_int_equal(bed_submit(&bed, &r, node, 1000), ERR_FULL);
    bed_request_free(&r);
    for (unsigned i = 0; i < 5; i++)
        last = bed_event_through(&bed, node % 3 + 1); /* the others go on */
    BED_AWAIT(&bed, status_of(node).refused_blocks > 0);
    bed_turn(&bed, 50 * BED_TICK_MS);
    BED_AWAIT(&bed, bed_leader(&bed) != 0 && bed_leader(&bed) != node);
    assert_int_equal(status_of(node).size, last + 1 - 5);
    assert_false(bed.nodes[node].fatal);
    bed_stop(&bed, node);
    bed.nodes[node].map_size = UINT64_C(4) << 30;
    bed_start(&bed, node);
    assert_true(bed_await_same(&bed, last + 1));
    bed_close(&bed);
}

/* ---- a disk that is set back ---- */

static void copy_disk(const char *to, const char *from)
{
    char a[FOLDER_PATH], b[FOLDER_PATH];
    const char *names[] = {"log", "store"};
    for (unsigned i = 0; i < 2; i++) {
        folder_join(a, to, names[i]);
        folder_join(b, from, names[i]);
        mkdir(a, 0700);
        folder_copy(a, b);
    }
}

static void put_back_state(unsigned node, const char *image)
{
    char to[FOLDER_PATH], from[FOLDER_PATH];
    folder_join(to, bed.nodes[node].folder, "store");
    folder_join(from, image, "store");
    folder_remove(to);
    mkdir(to, 0700);
    folder_copy(to, from);
}

/* How far a peer has kept, on its disk, that `node` came. */
struct kept {
    struct state_read read;
    unsigned node;
    uint64_t index;
    bool done;
};

static enum err kept_run(struct state_read *r, struct table_txn *txn)
{
    struct kept *k = r->data;
    struct buffer row = {0};
    uint8_t key = (uint8_t)k->node;
    if (table_get(txn, TABLE_PEER_MARK, bytes_of(&key, 1), &row) == OK) {
        struct unpack u = unpack_start(buffer_bytes(&row)); /* [term, index, ...] */
        if (unpack_array(&u, 4) == 4 && unpack_uint(&u) > 0) k->index = unpack_uint(&u);
    }
    buffer_free(&row);
    return OK;
}

static void kept_done(struct state_read *r, enum err code)
{
    assert_int_equal(code, OK);
    ((struct kept *)r->data)->done = true;
}

static void await_kept(unsigned by, unsigned node, uint64_t index)
{
    struct kept k = {.read = {.run = kept_run, .done = kept_done}, .node = node};
    k.read.data = &k;
    do {
        k.done = false;
        assert_int_equal(driver_read(bed.nodes[by].driver, &k.read), OK);
        BED_AWAIT(&bed, k.done);
    } while (k.index < index);
}

static bool votes_no_more(struct bed *b, void *data)
{
    struct driver_status status;
    (void)b;
    driver_status(((struct bed_node *)data)->driver, &status);
    return !status.may_vote;
}

/* Stopped, with a disk of before the last entries; its peers keep, on disk, how far it came. `other`: the third one, which
 * doesn't reach the leader. */
static unsigned set_back(char image[static FOLDER_PATH], unsigned *leader, unsigned *other)
{
    bed_up(&bed, 3, 0);
    uint64_t last = bed_event_through(&bed, 1);
    assert_true(bed_await_same(&bed, last + 1));
    unsigned node = bed_await_leader(&bed) % 3 + 1, third = node % 3 + 1;
    bed_stop(&bed, node);
    folder_make(image, 1);
    copy_disk(image, bed.nodes[node].folder);
    bed_start(&bed, node);
    for (unsigned i = 0; i < 10; i++)
        bed_event_through(&bed, node);
    struct driver_status status = status_of(node);
    for (unsigned i = 1; i <= 3; i++)
        if (i != node) await_kept(i, node, status.applied);
    bed_stop(&bed, node);
    bed_crash(&bed, third); /* what it keeps it keeps on disk */
    bed_start(&bed, third);
    bed_await_leader(&bed);
    bed_start(&bed, node); /* as it was: nothing is wrong */
    bed_turn(&bed, 50 * BED_TICK_MS);
    BED_AWAIT(&bed, status_of(node).may_vote);
    bed_stop(&bed, node);
    bed_wipe(&bed, node);
    copy_disk(bed.nodes[node].folder, image);
    *leader = bed_await_leader(&bed);
    *other = 6 - node - *leader;
    bed_cut(&bed, *leader, *other, true);
    return node;
}

/* Nobody can say that a majority besides the node has what was made since. */
static void an_old_image_of_a_disk_does_not_vote(void **state)
{
    (void)state;
    char image[FOLDER_PATH];
    unsigned leader, other, node = set_back(image, &leader, &other);
    bed_start(&bed, node);
    assert_true(bed_until(&bed, BED_PATIENCE_MS, votes_no_more, &bed.nodes[node]));
    bed_turn(&bed, 250 * BED_TICK_MS);
    assert_false(status_of(node).may_vote);
    bed_stop(&bed, node); /* that it has caught up gives it no vote back, whoever is there to tell */
    bed_stop(&bed, other);
    bed_start(&bed, node);
    bed_turn(&bed, 250 * BED_TICK_MS);
    assert_false(status_of(node).may_vote);
    folder_remove(image);
    bed_close(&bed);
}

/* Until then it takes entries, and its copies make no majority: one of the votes that it forgot may still be under way. */
static void once_the_others_hold_a_new_entry_it_votes_again(void **state)
{
    (void)state;
    char image[FOLDER_PATH];
    struct bed_request r;
    unsigned leader, other, node = set_back(image, &leader, &other);
    bed_start(&bed, node);
    assert_true(bed_until(&bed, BED_PATIENCE_MS, votes_no_more, &bed.nodes[node]));
    uint64_t before = status_of(leader).last;
    bed_event(&bed, &r, &bed.doctor, BED_PATIENT);
    assert_int_equal(bed_submit(&bed, &r, leader, BED_PATIENCE_MS), OK);
    BED_AWAIT(&bed, status_of(node).last > before);
    bed_turn(&bed, 50 * BED_TICK_MS);
    assert_true(status_of(leader).leads && status_of(leader).commit == before && !r.done);
    bed_cut(&bed, leader, other, false);
    BED_AWAIT(&bed, status_of(node).may_vote);
    assert_true(bed_await(&bed, &r));
    assert_int_equal(r.code, OK);
    uint64_t size = r.outcome.leaf_index + 1;
    bed_request_free(&r);
    bed_stop(&bed, node); /* nor does its disk say otherwise any more */
    bed_start(&bed, node);
    assert_true(status_of(node).may_vote);
    assert_true(bed_await_same(&bed, size));
    assert_true(status_of(node).may_vote);
    bed_stop(&bed, leader); /* of the two that are left it is one */
    bed_await_leader(&bed);
    assert_int_equal(bed_event_through(&bed, node), size);
    folder_remove(image);
    bed_close(&bed);
}

/* The others may come there only with an election, which nothing calls for. */
static void a_term_that_only_it_came_to_is_not_waited_for(void **state)
{
    (void)state;
    char image[FOLDER_PATH];
    unsigned leader, other, node = set_back(image, &leader, &other);
    struct driver_status before = status_of(leader);
    for (unsigned i = 1; i <= 3; i++)
        if (i != node) bed_claim(&bed, node, i, before.term + 5, before.commit);
    bed_start(&bed, node);
    assert_true(bed_until(&bed, BED_PATIENCE_MS, votes_no_more, &bed.nodes[node]));
    bed_cut(&bed, leader, other, false);
    BED_AWAIT(&bed, status_of(node).may_vote);
    for (unsigned i = 0; i < 2; i++) { /* who tells it of that term again, with each start, says nothing new */
        bed_stop(&bed, node);
        bed_start(&bed, node);
        bed_turn(&bed, 100 * BED_TICK_MS);
        assert_true(status_of(node).may_vote);
        assert_int_equal(bed.nodes[node].set_backs, 1);
    }
    assert_int_equal(status_of(leader).term, before.term);
    folder_remove(image);
    bed_close(&bed);
}

/* ---- a log whose end is lost ---- */

/* Of a node that is down, from block `index` on; nothing says what was there. */
static void lose_end(unsigned node, uint64_t index)
{
    struct bed_record r = bed_find(&bed, node, index);
    struct buffer content = folder_load(r.folder, r.file);
    size_t end = content.size;
    while (end > r.offset && content.data[end - 1] == 0) end--;
    for (size_t at = r.offset; at < end; at++) content.data[at] ^= 0x5a;
    folder_store(r.folder, r.file, buffer_bytes(&content));
    buffer_free(&content);
}

static void start_without_space(unsigned node)
{
    bed.nodes[node].map_size = STORE_WATERMARK / 2;
    bed_start(&bed, node);
    BED_AWAIT(&bed, status_of(node).space_low);
}

static void start_with_space(unsigned node)
{
    bed.nodes[node].map_size = UINT64_C(4) << 30;
    bed_start(&bed, node);
}

/* An entry that this leader and `node` have committed, of which the leader does not know: `node` applied it, and is
 * down since then. The third takes no blocks. */
static uint64_t commit_at_follower(struct bed_request *r, unsigned leader, unsigned node, uint64_t size)
{
    for (unsigned i = 1; i <= 3; i++) bed.cut[node][i] = true;
    bed_event(&bed, r, &bed.doctor, BED_PATIENT);
    assert_int_equal(bed_submit(&bed, r, leader, BED_PATIENCE_MS), OK);
    BED_AWAIT(&bed, bed.nodes[node].applied.size > size);
    uint64_t index = bed.nodes[node].applied.raft_index;
    bed_crash(&bed, node);
    for (unsigned i = 1; i <= 3; i++) bed.cut[node][i] = false;
    struct driver_status status = status_of(leader);
    assert_true(status.leads && status.commit == index - 1);
    return index;
}

/* It loses the entry and all that came of it: it must not vote before it has it again, and all others what was made since,
 * whatever the leader says is committed. */
static void what_only_a_follower_knew_committed_is_awaited(void **state)
{
    (void)state;
    char image[FOLDER_PATH];
    struct bed_request r;
    bed_up(&bed, 3, 0);
    unsigned leader = bed_await_leader(&bed), node = leader % 3 + 1, other = node % 3 + 1;
    uint64_t size = bed_event_through(&bed, leader) + 1;
    assert_true(bed_await_same(&bed, size));
    bed_stop(&bed, other);
    start_without_space(other); /* it follows, so that the leader stays */
    bed_stop(&bed, node);
    folder_make(image, 1);
    copy_disk(image, bed.nodes[node].folder);
    bed_start(&bed, node);
    BED_AWAIT(&bed, status_of(node).leader == leader);
    bed_turn(&bed, 40 * BED_TICK_MS); /* the leader finds its log, and sends entries as they come */
    uint64_t index = commit_at_follower(&r, leader, node, size);
    lose_end(node, index);
    put_back_state(node, image);
    bed.cut[leader][node] = true;
    start_without_space(node);
    bed.cut[leader][node] = false;
    bed_turn(&bed, 200 * BED_TICK_MS);
    struct driver_status status = status_of(node);
    assert_true(status.leader == leader && status.last == index - 1);
    assert_false(status.may_vote);
    bed_stop(&bed, node);
    start_with_space(node);
    BED_AWAIT(&bed, status_of(node).last >= index);
    bed_turn(&bed, 200 * BED_TICK_MS); /* the third has none of it */
    assert_false(status_of(node).may_vote);
    bed_stop(&bed, other);
    start_with_space(other);
    BED_AWAIT(&bed, status_of(node).may_vote);
    assert_true(bed_await(&bed, &r));
    assert_int_equal(r.code, OK);
    bed_request_free(&r);
    folder_remove(image);
    bed_close(&bed);
}

/* An entry that the leader and `node` have; nobody else takes any. */
static uint64_t acknowledge_alone(struct bed_request *r, unsigned leader, unsigned node)
{
    for (unsigned i = 1; i <= 5; i++) {
        if (i == leader || i == node) continue;
        bed_stop(&bed, i);
        start_without_space(i);
    }
    struct driver_status status = status_of(leader);
    assert_true(status.leads);
    uint64_t index = status.last + 1;
    bed_event(&bed, r, &bed.doctor, BED_PATIENT);
    assert_int_equal(bed_submit(&bed, r, leader, BED_PATIENCE_MS), OK);
    BED_AWAIT(&bed, status_of(node).last >= index);
    bed_turn(&bed, 40 * BED_TICK_MS); /* it is durable there, and the leader knows */
    status = status_of(leader);
    assert_true(status.leads && status.last == index && status.commit == index - 1);
    return index;
}

static void cut_from_all(unsigned node, bool cut)
{
    for (unsigned i = 1; i <= 5; i++) bed.cut[node][i] = bed.cut[i][node] = cut;
}

/* A leader that does not know of the loss may count the lost copy until it is gone: that it was heard says nothing of
 * what it commits later. */
static void a_leader_that_was_heard_once_is_no_proof(void **state)
{
    (void)state;
    struct bed_request r;
    bed_up(&bed, 5, 1);
    unsigned leader = bed_await_leader(&bed), node = leader % 5 + 1, third = node % 5 + 1;
    uint64_t size = bed_event_through(&bed, leader) + 1;
    assert_true(bed_await_same(&bed, size));
    bed_stop(&bed, node); /* its state is on disk */
    bed_start(&bed, node);
    uint64_t index = acknowledge_alone(&r, leader, node);
    bed_crash(&bed, node);
    lose_end(node, index);
    cut_from_all(node, true);
    bed.cut[leader][node] = false;
    bed_start(&bed, node);
    BED_AWAIT(&bed, status_of(node).leader == leader);
    bed.cut[leader][node] = true;
    bed_stop(&bed, third);
    start_with_space(third);
    assert_true(bed_await(&bed, &r)); /* committed by three of five, one of which has lost it */
    assert_int_equal(r.code, OK);
    bed_request_free(&r);
    bed_crash(&bed, leader);
    bed_crash(&bed, third);
    bed_turn(&bed, 200 * BED_TICK_MS);
    cut_from_all(node, false);
    struct driver_status status = status_of(node);
    assert_int_equal(status.last, index - 1);
    assert_false(status.may_vote);
    bed_start(&bed, third);
    bed_start(&bed, leader);
    for (unsigned i = 1; i <= 5; i++) {
        if (i == node || i == third || i == leader) continue;
        bed_stop(&bed, i);
        start_with_space(i);
    }
    BED_AWAIT(&bed, status_of(node).may_vote);
    assert_true(status_of(node).last >= index && bed.nodes[node].applied.size > size);
    bed_close(&bed);
}

/* It comes back without what it had last, or without any of its log. Of three it reaches only the leader. */
static uint64_t come_back_without(bool all, struct bed_request *r, unsigned *node, unsigned *leader)
{
    bed_up(&bed, 3, 0);
    *leader = bed_await_leader(&bed);
    *node = *leader % 3 + 1;
    uint64_t size = bed_event_through(&bed, *leader) + 1;
    assert_true(bed_await_same(&bed, size));
    bed_stop(&bed, *node);
    if (all) {
        char folder[FOLDER_PATH];
        folder_join(folder, bed.nodes[*node].folder, "log");
        folder_remove(folder);
        mkdir(folder, 0700);
    } else {
        lose_end(*node, status_of(*leader).last);
    }
    bed_start(&bed, *node);
    BED_AWAIT(&bed, status_of(*node).leader == *leader);
    bed_stop(&bed, 6 - *node - *leader);
    bed_event(&bed, r, &bed.doctor, BED_PATIENT);
    assert_int_equal(bed_submit(&bed, r, *leader, BED_PATIENCE_MS), OK);
    return size;
}

/* A vote that it forgot with the log's end may be under way in a later term: what it has makes no majority. */
static void what_lost_its_end_makes_no_majority(void **state)
{
    (void)state;
    struct bed_request r;
    unsigned node, leader;
    uint64_t size = come_back_without(false, &r, &node, &leader);
    bed_turn(&bed, 100 * BED_TICK_MS);
    assert_false(r.done || status_of(node).may_vote);
    bed_start(&bed, 6 - node - leader);
    assert_true(bed_await(&bed, &r));
    assert_int_equal(r.code, OK);
    bed_request_free(&r);
    BED_AWAIT(&bed, status_of(node).may_vote);
    bed_stop(&bed, node); /* nor does its disk say otherwise any more */
    bed_start(&bed, node);
    assert_true(bed_await_same(&bed, size + 1));
    assert_true(status_of(node).may_vote);
    bed_close(&bed);
}

/* A log that was begun anew shows nothing of it any more, once it has a term. */
static void a_lost_log_is_not_forgotten_with_the_next_start(void **state)
{
    (void)state;
    struct bed_request r;
    unsigned node, leader;
    uint64_t size = come_back_without(true, &r, &node, &leader);
    for (unsigned i = 0; i < 2; i++) {
        bed_turn(&bed, 100 * BED_TICK_MS);
        assert_false(r.done || status_of(node).may_vote);
        bed_stop(&bed, node);
        bed_start(&bed, node);
    }
    bed_start(&bed, 6 - node - leader);
    BED_AWAIT(&bed, status_of(node).may_vote);
    assert_true(bed_await(&bed, &r));
    bed_request_free(&r);
    assert_true(bed_await_same(&bed, size + 1));
    bed_close(&bed);
}

/* Damage says nothing of what the row said: it may have been that a vote was forgotten. */
static void an_unreadable_note_of_its_past_is_no_vote(void **state)
{
    (void)state;
    char image[FOLDER_PATH], store[FOLDER_PATH];
    unsigned leader, other, node = set_back(image, &leader, &other);
    uint8_t key = (uint8_t)node;
    bed_start(&bed, node);
    assert_true(bed_until(&bed, BED_PATIENCE_MS, votes_no_more, &bed.nodes[node]));
    bed_turn(&bed, 100 * BED_TICK_MS);
    bed_stop(&bed, node);
    folder_join(store, bed.nodes[node].folder, "store");
    assert_int_equal(flip_value(store, "peer_mark", bytes_of(&key, 1), 100), 0);
    bed_start(&bed, node);
    bed_turn(&bed, 50 * BED_TICK_MS);
    assert_false(status_of(node).may_vote);
    bed_cut(&bed, leader, other, false);
    BED_AWAIT(&bed, status_of(node).may_vote);
    bed_stop(&bed, node);
    bed_start(&bed, node);
    assert_true(status_of(node).may_vote);
    folder_remove(image);
    bed_close(&bed);
}

/* A state that is lost is derived anew, from a log that the node has caught up with since: the log says it as well. */
static void a_lost_state_brings_no_vote_back(void **state)
{
    (void)state;
    char image[FOLDER_PATH];
    unsigned leader, other, node = set_back(image, &leader, &other);
    bed_start(&bed, node);
    assert_true(bed_until(&bed, BED_PATIENCE_MS, votes_no_more, &bed.nodes[node]));
    bed_turn(&bed, 100 * BED_TICK_MS);
    for (int life = 0; life < 2; life++) {
        bed_stop(&bed, node);
        bed_rebuild(&bed, node);
        bed_start(&bed, node);
        bed_turn(&bed, 50 * BED_TICK_MS);
        assert_false(status_of(node).may_vote);
    }
    bed_cut(&bed, leader, other, false);
    BED_AWAIT(&bed, status_of(node).may_vote);
    bed_stop(&bed, node);
    bed_rebuild(&bed, node); /* nor does the log say it any more */
    bed_start(&bed, node);
    BED_AWAIT(&bed, status_of(node).may_vote);
    folder_remove(image);
    bed_close(&bed);
}

/* No majority is left to give either its vote back: people decide for one of them, and both others do for the second. */
static void only_an_operator_brings_back_two_of_three(void **state)
{
    (void)state;
    bed_up(&bed, 3, 0);
    unsigned healthy = bed_await_leader(&bed), first = healthy % 3 + 1, second = first % 3 + 1;
    uint64_t size = bed_event_through(&bed, healthy) + 1;
    assert_true(bed_await_same(&bed, size));
    uint64_t last = status_of(healthy).last;
    await_kept(healthy, first, last);
    bed_stop(&bed, first);
    bed_stop(&bed, second);
    lose_end(first, last);
    lose_end(second, last);
    bed_start(&bed, first);
    bed_start(&bed, second);
    struct bed_request r;
    bed_event(&bed, &r, &bed.doctor, BED_PATIENT);
    assert_int_equal(bed_submit(&bed, &r, healthy, BED_PATIENCE_MS), OK);
    bed_turn(&bed, 200 * BED_TICK_MS);
    assert_false(r.done || status_of(first).may_vote || status_of(second).may_vote);
    bed_stop(&bed, first);
    bed.nodes[first].accept_loss = true;
    bed_start(&bed, first);
    assert_int_equal(bed_await_leader(&bed), healthy);
    assert_true(bed_await(&bed, &r));
    assert_int_equal(r.code, OK);
    bed_request_free(&r);
    BED_AWAIT(&bed, status_of(second).may_vote);
    unsigned told = bed.nodes[first].set_backs;
    assert_true(told > 0); /* others are to know of it */
    bed_stop(&bed, first); /* once is enough */
    bed.nodes[first].accept_loss = false;
    bed_start(&bed, first);
    bed_stop(&bed, second);
    assert_int_equal(bed_event_through(&bed, healthy), size + 1);
    assert_true(status_of(first).may_vote);
    assert_int_equal(bed.nodes[first].set_backs, told);
    bed_start(&bed, second);
    assert_true(bed_await_same(&bed, size + 2));
    bed_close(&bed);
}

/* A task on the state that fails half-way: what it did in some tables is not committed for want of the rest. */
static struct bytes half_key(void) { return bytes_text("half"); }

static enum err fails_half_way(struct state_write *w, struct table_txn *txn, struct ledger *ledger)
{
    (void)ledger;
    assert_int_equal(table_put(txn, TABLE_BLOB, half_key(), bytes_text("x")), OK);
    w->torn = true;
    return ERR_CORRUPT;
}

static void was_told(struct state_write *w, enum err code) { *(enum err *)w->data = code; }

static void what_fails_half_way_is_not_kept(void **state)
{
    (void)state;
    enum err code = OK;
    struct state_write w = {.data = &code, .run = fails_half_way, .done = was_told};
    struct table_txn *txn;
    bed_up(&bed, 3, 0);
    unsigned node = bed_await_leader(&bed) % 3 + 1;
    uint64_t leaf = bed_event_through(&bed, node);
    assert_int_equal(driver_write(bed.nodes[node].driver, &w), OK);
    assert_true(bed_until(&bed, BED_PATIENCE_MS, is_fatal, &bed.nodes[node]));
    assert_int_equal(bed.nodes[node].fatal_code, ERR_CORRUPT);
    BED_AWAIT(&bed, code == ERR_CORRUPT);
    bed_stop(&bed, node);
    bed_start(&bed, node);
    assert_true(bed_await_same(&bed, leaf + 1));
    assert_int_equal(store_begin_read(&txn, bed.nodes[node].store), OK);
    assert_int_equal(table_exists(txn, TABLE_BLOB, half_key()), ERR_NOT_FOUND);
    store_abort(txn);
    bed_close(&bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_leaders_disk_fails),
        cmocka_unit_test(a_followers_disk_fails),
        cmocka_unit_test(what_fails_half_way_is_not_kept),
        cmocka_unit_test(damaged_entries_come_from_the_peers),
        cmocka_unit_test(a_damaged_node_takes_no_part_alone),
        cmocka_unit_test(a_node_without_space_takes_no_blocks),
        cmocka_unit_test(an_old_image_of_a_disk_does_not_vote),
        cmocka_unit_test(once_the_others_hold_a_new_entry_it_votes_again),
        cmocka_unit_test(a_term_that_only_it_came_to_is_not_waited_for),
        cmocka_unit_test(what_only_a_follower_knew_committed_is_awaited),
        cmocka_unit_test(a_leader_that_was_heard_once_is_no_proof),
        cmocka_unit_test(what_lost_its_end_makes_no_majority),
        cmocka_unit_test(an_unreadable_note_of_its_past_is_no_vote),
        cmocka_unit_test(a_lost_state_brings_no_vote_back),
        cmocka_unit_test(only_an_operator_brings_back_two_of_three),
        cmocka_unit_test(a_lost_log_is_not_forgotten_with_the_next_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
