/* What becomes of a log with damaged entries: they are put back only as what stood there, and none keeps a node out. */
#include <stdlib.h>
#include <sys/stat.h>

#include "base/pack.h"
#include "consensus/driver_internal.h"
#include "storage/crc32c.h"
#include "storage/log_format.h"
#include "tests/lib/driver_bed.h"
#include "tests/lib/folder.h"
#include "tests/lib/samples.h"
#include "tests/lib/unit.h"

static struct bed bed;

static struct driver_status status_of(unsigned node) { return bed_status(&bed, node); }

static struct log_status log_of(unsigned node)
{
    struct log_status status;
    log_status(bed.nodes[node].log, &status);
    return status;
}

static raft_term term_at(unsigned node, raft_index index)
{
    raft_term term = 0;
    log_term(bed.nodes[node].log, &term, index);
    return term;
}

static void cut_from_all(unsigned node, bool cut)
{
    for (unsigned i = 1; i <= bed.n; i++) bed.cut[node][i] = bed.cut[i][node] = cut;
}

/* This leader appends so many blocks that nobody else gets, and is down. The index of the first. */
static raft_index append_alone(unsigned leader, unsigned count)
{
    raft_index first = status_of(leader).last + 1;
    cut_from_all(leader, true);
    struct bed_request r[4] = {0}; /* in its driver's hands until it is gone */
    for (unsigned i = 0; i < count; i++) {
        bed_event(&bed, &r[i], &bed.doctor, BED_PATIENT);
        assert_int_equal(bed_submit(&bed, &r[i], leader, BED_PATIENCE_MS), OK);
        BED_AWAIT(&bed, log_of(leader).last == first + i);
    }
    bed_crash(&bed, leader);
    for (unsigned i = 0; i < count; i++) bed_request_free(&r[i]);
    cut_from_all(leader, false);
    return first;
}

static void copy_folder(const char *to, const char *from, const char *name)
{
    char a[FOLDER_PATH], b[FOLDER_PATH];
    folder_join(a, to, name);
    folder_join(b, from, name);
    mkdir(a, 0700);
    folder_copy(a, b);
}

/* A state of before is in the place of the node's, as after a crash before it was synced. */
static void put_back_state(unsigned node, const char *image)
{
    char path[FOLDER_PATH];
    folder_join(path, bed.nodes[node].folder, "store");
    folder_remove(path);
    copy_folder(bed.nodes[node].folder, image, "store");
}

/* ---- what is put back ---- */

/* Of five, `stale` alone has an entry at the returned index that was never committed, and all others another one.
 * `node` got that and the next in one batch, lost what it says of its term, and its state does not have it. Both are
 * down. */
static raft_index lose_one_of_two(unsigned *stale, unsigned *node, uint64_t *size)
{
    char image[FOLDER_PATH];
    bed_up(&bed, 5, 0);
    *stale = bed_await_leader(&bed);
    *node = *stale % 5 + 1;
    *size = bed_event_through(&bed, *stale) + 1;
    assert_true(bed_await_same(&bed, *size));
    bed_stop(&bed, *node);
    folder_make(image, 1);
    copy_folder(image, bed.nodes[*node].folder, "store");
    raft_index index = append_alone(*stale, 1);
    for (unsigned i = 0; i < 3; i++) *size = bed_event_through(&bed, *node % 5 + 1) + 1;
    bed_start(&bed, *node);
    BED_AWAIT(&bed, bed.nodes[*node].applied.size == *size);
    bed_crash(&bed, *node);
    put_back_state(*node, image);
    folder_remove(image);
    assert_int_equal(bed_find(&bed, *node, index).batch, bed_find(&bed, *node, index + 1).batch);
    bed_damage_header(&bed, *node, index);
    return index;
}

static void what_was_never_committed_is_not_put_back(void **state)
{
    (void)state;
    unsigned stale, node;
    uint64_t size;
    raft_index index = lose_one_of_two(&stale, &node, &size);
    raft_term right = term_at(node % 5 + 1, index);
    for (unsigned i = 1; i <= 5; i++)
        if (bed.nodes[i].driver) bed_stop(&bed, i);
    bed_start(&bed, stale); /* of all peers only this one is there */
    bed_start(&bed, node);
    bed_turn(&bed, 100 * BED_TICK_MS);
    assert_int_equal(log_of(node).damaged, 1);
    assert_true(term_at(stale, index) != right);
    for (unsigned i = 1; i <= 5; i++)
        if (!bed.nodes[i].driver) bed_start(&bed, i);
    BED_AWAIT(&bed, log_of(node).damaged == 0);
    assert_int_equal(term_at(node, index), right);
    assert_true(bed_await_same(&bed, size));
    assert_true(status_of(node).may_vote);
    bed_close(&bed);
}

/* ---- what too few have ---- */

#define KEEP (1u * MIB)

static bool name_synced(struct bed_node *node, uint64_t *index, uint64_t *term, struct buffer *manifest)
{
    struct driver_status status;
    driver_status(node->driver, &status);
    *index = status.synced_index;
    buffer_append_text(manifest, "a manifest");
    return log_term(node->log, term, *index) == OK;
}

static bool all_done(struct bed *b, void *data)
{
    struct bed_request *r = data;
    (void)b;
    for (unsigned i = 0; i < 16; i++)
        if (r[i].done == 0) return false;
    return true;
}

/* So many bytes of events with long notes. */
static void write_much(unsigned node, size_t bytes)
{
    static uint8_t note[LIMIT_NOTE];
    struct arguments args = {.action = ACTION_EVENT_ADD};
    args.event_add = (struct args_event_add){sample_id(2), bytes_text("bill.print"), bytes_text("x")};
    for (size_t written = 0; written < bytes;) {
        struct bed_request r[16] = {0};
        for (unsigned i = 0; i < 16; i++) {
            bed.kit.now = clock_wall_ms();
            kit_request(&bed.kit, &r[i].s.request, &bed.doctor, &args, BYTES(note));
            assert_int_equal(bed_submit(&bed, &r[i], node, BED_PATIENCE_MS), OK);
            written += r[i].s.request.size;
        }
        assert_true(bed_until(&bed, BED_PATIENCE_MS, all_done, r));
        for (unsigned i = 0; i < 16; i++) bed_request_free(&r[i]);
    }
}

#define GONE 15 /* an early entry */

/* The first `trimmed` nodes have trimmed it; the last one, which applied it long ago, is down, and lost it. */
static uint64_t lose_what_others_trimmed(unsigned n, unsigned b, unsigned trimmed)
{
    bed_open(&bed, n, b);
    for (unsigned i = 1; i <= n; i++) {
        bed.nodes[i].keep_bytes = i <= trimmed ? KEEP : 64 * KEEP;
        bed.nodes[i].snapshot = name_synced;
    }
    bed_start_people(&bed);
    write_much(1, 2 * KEEP);
    for (unsigned i = 1; i <= trimmed; i++) BED_AWAIT(&bed, status_of(i).first > GONE);
    uint64_t size = bed_event_through(&bed, n) + 1;
    assert_true(bed_await_same(&bed, size));
    bed_stop(&bed, n);
    bed_damage(&bed, n, GONE);
    return size;
}

static void what_the_state_has_keeps_nobody_out(void **state)
{
    (void)state;
    uint64_t size = lose_what_others_trimmed(4, 1, 2);
    bed_start(&bed, 4); /* only node 3 has it, and that could lie */
    BED_AWAIT(&bed, status_of(4).may_vote);
    assert_int_equal(log_of(4).damaged, 0);
    assert_int_equal(log_of(4).first, GONE + 1); /* the others may need the rest */
    assert_false(log_of(4).votes_forgotten);
    bed_stop(&bed, 1); /* of the three that are left it is one */
    bed_await_leader(&bed);
    assert_int_equal(bed_event_through(&bed, 4), size);
    bed_close(&bed);
}

static void who_has_it_may_be_away(void **state)
{
    (void)state;
    uint64_t size = lose_what_others_trimmed(3, 0, 1);
    bed_stop(&bed, 2);
    bed_start(&bed, 3);
    bed_await_leader(&bed);
    assert_int_equal(bed_event_through(&bed, 3), size);
    assert_int_equal(log_of(3).damaged, 0);
    bed_start(&bed, 2);
    assert_true(bed_await_same(&bed, size + 1));
    bed_close(&bed);
}

/* ---- an end that is lost ---- */

static void no_state(struct bed_node *node, uint64_t index, uint64_t term, struct bytes manifest)
{
    (void)term;
    (void)manifest;
    driver_catch_up_failed(node->driver, index);
}

/* Of four a leader, whose state is on its disk, appended some that nobody got, and its peers went on without it. */
static unsigned append_in_vain(unsigned count, raft_index *first, uint64_t *size)
{
    bed_up(&bed, 4, 1);
    unsigned node = bed_await_leader(&bed);
    *size = bed_event_through(&bed, node) + 1;
    assert_true(bed_await_same(&bed, *size));
    BED_AWAIT(&bed, status_of(node).synced_index == status_of(node).last);
    assert_int_equal(bed_leader(&bed), node);
    bed.nodes[node].on_install = no_state;
    *first = append_alone(node, count);
    for (unsigned i = 0; i < 5; i++) *size = bed_event_through(&bed, node % 4 + 1) + 1;
    return node;
}

/* It has dropped its end, follows, and votes again once that can't matter any more; it is one of three then. */
static void check_comes_back(unsigned node, uint64_t size)
{
    bed_start(&bed, node);
    BED_AWAIT(&bed, log_of(node).votes_forgotten);
    BED_AWAIT(&bed, status_of(node).may_vote);
    assert_int_equal(log_of(node).damaged, 0);
    assert_true(bed_await_same(&bed, size));
    assert_int_equal(status_of(node).bad_messages, 0); /* nobody is blamed for having another one */
    bed_stop(&bed, node % 4 + 1);
    bed_await_leader(&bed);
    assert_int_equal(bed_event_through(&bed, node), size);
    bed_close(&bed);
}

static void a_damaged_end_that_others_replaced_is_dropped(void **state)
{
    (void)state;
    raft_index first;
    uint64_t size;
    unsigned node = append_in_vain(1, &first, &size);
    bed_damage(&bed, node, first);
    check_comes_back(node, size);
}

static void so_is_one_that_has_lost_its_header(void **state)
{
    (void)state;
    raft_index first;
    uint64_t size;
    unsigned node = append_in_vain(3, &first, &size);
    bed_damage_header(&bed, node, first);
    check_comes_back(node, size);
}

/* Three of five have the same entry damaged, which was acknowledged: who lacks it never had it, and who has it comes
 * late. */
static void what_only_a_late_one_has_is_waited_for(void **state)
{
    (void)state;
    char image[4][FOLDER_PATH];
    bed_up(&bed, 5, 0);
    assert_true(bed_await_same(&bed, bed_event_through(&bed, 1) + 1));
    for (unsigned i = 1; i <= 5; i++) bed_stop(&bed, i);
    for (unsigned i = 1; i <= 3; i++) {
        folder_make(image[i], 1);
        copy_folder(image[i], bed.nodes[i].folder, "store");
        bed_start(&bed, i);
        bed.nodes[i].on_install = no_state;
    }
    bed_start(&bed, 5);
    bed_await_leader(&bed);
    uint64_t size = bed_event_through(&bed, 1) + 1;
    assert_true(bed_await_same(&bed, size));
    raft_index index = bed.nodes[1].applied.raft_index;
    bed_crash(&bed, 5);
    for (unsigned i = 1; i <= 3; i++) {
        bed_crash(&bed, i);
        put_back_state(i, image[i]);
        folder_remove(image[i]);
        bed_damage(&bed, i, index);
    }
    for (unsigned i = 1; i <= 4; i++) bed_start(&bed, i);
    bed_turn(&bed, 500 * BED_TICK_MS);
    for (unsigned i = 1; i <= 3; i++) assert_true(log_of(i).damaged == 1 && log_of(i).last >= index);
    bed_start(&bed, 5);
    assert_true(bed_await_same(&bed, size));
    for (unsigned i = 1; i <= 3; i++) assert_false(log_of(i).votes_forgotten);
    bed_close(&bed);
}

/* ---- what only reading finds ---- */

/* A bit fell over in memory, after the block was sealed and before its checksum was computed. */
static void seal_wrongly(unsigned node, raft_index index)
{
    struct bed_record r = bed_find(&bed, node, index);
    struct buffer content = folder_load(r.folder, r.file);
    uint8_t *at = content.data + r.offset;
    uint32_t size = r.size - LOG_HEADER_SIZE;
    at[LOG_HEADER_SIZE + 60] ^= 1;
    put_be32(at + 12, crc32c(at + LOG_HEADER_SIZE, size));
    put_be32(at + LOG_HEADER_SIZE - 4, crc32c(at, LOG_HEADER_SIZE - 4));
    folder_store(r.folder, r.file, buffer_bytes(&content));
    buffer_free(&content);
}

static void a_block_that_does_not_open_is_fetched(void **state)
{
    (void)state;
    bed_up(&bed, 3, 0);
    uint64_t size = 0;
    for (int i = 0; i < 5; i++) size = bed_event_through(&bed, 1) + 1;
    assert_true(bed_await_same(&bed, size));
    unsigned node = bed_await_leader(&bed) % 3 + 1;
    raft_index index = status_of(node).last - 1;
    bed_stop(&bed, node);
    seal_wrongly(node, index);
    bed_start(&bed, node);
    assert_int_equal(log_of(node).damaged, 1); /* it was found */
    BED_AWAIT(&bed, log_of(node).damaged == 0 && status_of(node).may_vote);
    bed_stop(&bed, node % 3 + 1);
    bed_await_leader(&bed);
    assert_int_equal(bed_event_through(&bed, node), size);
    bed_close(&bed);
}

static void an_entry_that_gets_damaged_before_it_is_applied_is_fetched(void **state)
{
    (void)state;
    char image[FOLDER_PATH];
    bed_up(&bed, 3, 0);
    unsigned node = bed_await_leader(&bed) % 3 + 1;
    bed_stop(&bed, node);
    folder_make(image, 1);
    copy_folder(image, bed.nodes[node].folder, "store");
    bed_start(&bed, node);
    uint64_t size = 0;
    for (int i = 0; i < 5; i++) size = bed_event_through(&bed, node) + 1;
    raft_index index = status_of(node).last - 2;
    bed_crash(&bed, node);
    put_back_state(node, image);
    folder_remove(image);
    struct bed_record r = bed_find(&bed, node, index);
    cut_from_all(node, true);
    bed_start(&bed, node);
    assert_true(status_of(node).applied < index && log_of(node).damaged == 0);
    bed_flip(&r, r.offset + r.size - 20); /* it has been read once, and stands in no memory */
    cut_from_all(node, false);
    assert_true(bed_await_same(&bed, size));
    assert_false(bed.nodes[node].fatal);
    assert_int_equal(log_of(node).damaged, 0);
    bed_close(&bed);
}

/* The log thread may trim what was seen damaged a moment ago. */
static void a_repair_may_find_nothing_to_do(void **state)
{
    (void)state;
    bed_up(&bed, 3, 0);
    driver_repair_start(bed.nodes[1].driver);
    assert_int_equal(driver_repair_log(bed.nodes[1].driver), 0);
    uint64_t size = bed_event_through(&bed, 1) + 1;
    assert_true(bed_await_same(&bed, size));
    bed_close(&bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_never_committed_is_not_put_back),
        cmocka_unit_test(what_the_state_has_keeps_nobody_out),
        cmocka_unit_test(who_has_it_may_be_away),
        cmocka_unit_test(a_damaged_end_that_others_replaced_is_dropped),
        cmocka_unit_test(so_is_one_that_has_lost_its_header),
        cmocka_unit_test(what_only_a_late_one_has_is_waited_for),
        cmocka_unit_test(a_block_that_does_not_open_is_fetched),
        cmocka_unit_test(a_repair_may_find_nothing_to_do),
        cmocka_unit_test(an_entry_that_gets_damaged_before_it_is_applied_is_fetched),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
