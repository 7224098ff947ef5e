/* consensus/log_thread.h: what it hands back as done is durable, so that nobody hears of it before. */
#include <errno.h>
#include <sched.h>

#include "consensus/driver.h"
#include "consensus/log_thread.h"
#include "crypto/random.h"
#include "storage/log.h"
#include "tests/lib/driver_bed.h"
#include "tests/lib/folder.h"
#include "tests/lib/unit.h"

static struct fault fault;
static struct log *log_now;
static uv_loop_t loop;
static struct wake wake;
static struct log_thread *thread;

static void woken(struct wake *w) { (void)w; }

/* With the next segment prepared: the thread finds nothing to sync for itself. */
static void open_all(void)
{
    static const struct seal_key key = {{7}};
    bool more = true;
    fault_setup(&fault);
    struct log_options o = {
        .directory = test_folder, .name = "test", .key = &key, .disk = &fault.disk, .segment_size = 64 * KIB};
    assert_int_equal(log_open(&log_now, &o, NULL), OK);
    while (more) assert_int_equal(log_idle(log_now, &more), OK);
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(wake_open(&wake, &loop, woken), OK);
    thread = log_thread_start(log_now, &wake);
}

static void close_all(void)
{
    struct queue left = {0};
    log_thread_stop(thread, true, &left);
    assert_null(left.first);
    wake_close(&wake, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    log_close(log_now);
}

static struct log_write *new_entry(uint64_t index)
{
    struct raft_entry e = {.index = index, .term = 1, .type = RAFT_ENTRY_NOOP};
    struct raft_ready ready = {
        .write = index, .hard_state = true, .term = 1, .vote = 1, .entries = &e, .entry_count = 1};
    return log_write_new(&ready);
}

static struct log_status status(void)
{
    struct log_status s;
    log_status(log_now, &s);
    return s;
}

static bool finished(struct queue *out) { return log_thread_finished(thread, out); }

/* The next that comes back, in the order of pushing. */
static struct job *take(struct queue *done)
{
    while (!done->first && !finished(done)) sched_yield();
    return queue_pop(done, struct job, link);
}

static void mark_done(struct cosigned_mark *m, enum err code)
{
    (void)m;
    (void)code;
}

static void nothing_is_done_before_its_sync(void **state)
{
    (void)state;
    struct queue done = {0};
    struct cosigned_mark mark = {.raft_index = 2, .size = 5, .driver.job.kind = LOG_JOB_MARK, .done = mark_done};
    struct log_write *first = new_entry(1), *second = new_entry(2);
    open_all();
    fault_hold(&fault, true);
    log_thread_push(thread, &first->job);
    fault_await_held(&fault);
    assert_false(finished(&done)); /* written, but not synced */
    assert_int_equal(status().last, 0);
    log_thread_push(thread, &second->job);
    log_thread_push(thread, &mark.driver.job);
    assert_false(finished(&done));
    fault_hold(&fault, false);
    assert_ptr_equal(take(&done), &first->job);
    assert_int_equal(first->job.code, OK);
    assert_int_equal(status().term, 1);
    assert_int_equal(status().vote, 1);
    assert_ptr_equal(take(&done), &second->job);
    assert_int_equal(status().last, 2);
    assert_ptr_equal(take(&done), &mark.driver.job);
    assert_int_equal(status().cosigned.index, 2);
    log_write_free(first);
    log_write_free(second);
    close_all();
}

static void what_a_failed_sync_held_is_not_done(void **state)
{
    (void)state;
    struct queue done = {0};
    struct log_write *first = new_entry(1), *second = new_entry(2);
    open_all();
    fault_arm(&fault, FAULT_FDATASYNC, 1, EIO);
    log_thread_push(thread, &first->job);
    assert_ptr_equal(take(&done), &first->job);
    assert_int_equal(first->job.code, ERR_IO);
    log_thread_push(thread, &second->job); /* the disk is whole again, but what it dropped nobody knows */
    assert_ptr_equal(take(&done), &second->job);
    assert_int_equal(second->job.code, ERR_IO);
    assert_int_equal(status().last, 0);
    log_write_free(first);
    log_write_free(second);
    close_all();
}

/* ---- with drivers: leader and client ---- */

static struct bed bed;

static bool has(unsigned node, uint64_t index) { return bed_status(&bed, node).last >= index; }

/* Of three, the leader and one follower wait for their disks: with the third's copy alone nothing is committed. */
static void nobody_hears_of_what_is_not_synced(void **state)
{
    (void)state;
    struct bed_request r;
    unsigned leader = bed_up(&bed, 3, 0), slow = leader % 3 + 1, quick = slow % 3 + 1;
    assert_true(bed_await_same(&bed, 3));
    uint64_t before = bed_status(&bed, leader).last;
    fault_hold(&bed.nodes[leader].fault, true);
    fault_hold(&bed.nodes[slow].fault, true);
    bed_event(&bed, &r, &bed.doctor, BED_PATIENT);
    assert_int_equal(bed_submit(&bed, &r, leader, BED_PATIENCE_MS), OK);
    BED_AWAIT(&bed, has(leader, before + 1) && has(slow, before + 1) && has(quick, before + 1));
    fault_await_held(&bed.nodes[leader].fault);
    fault_await_held(&bed.nodes[slow].fault);
    bed_turn(&bed, 5 * BED_TICK_MS); /* acknowledgements, and what they would commit, come at once */
    for (unsigned i = 1; i <= 3; i++) assert_true(bed_status(&bed, i).commit <= before);
    assert_int_equal(r.done, 0);
    fault_hold(&bed.nodes[slow].fault, false);
    BED_AWAIT(&bed, bed_status(&bed, slow).commit > before);
    assert_int_equal(r.done, 0); /* the client's own node has it on no disk yet */
    fault_hold(&bed.nodes[leader].fault, false);
    assert_true(bed_await(&bed, &r));
    assert_int_equal(r.code, OK);
    bed_request_free(&r);
    bed_close(&bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nothing_is_done_before_its_sync, folder_setup, folder_teardown),
        cmocka_unit_test_setup_teardown(what_a_failed_sync_held_is_not_done, folder_setup, folder_teardown),
        cmocka_unit_test(nobody_hears_of_what_is_not_synced),
    };
    crypto_init();
    return cmocka_run_group_tests_name("consensus/log_thread", tests, NULL, NULL);
}
