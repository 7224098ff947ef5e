/* Bounds and settings: full intakes, a state that lags, reads and writes, marks,
 * quarantine, clocks, stopping. */
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/table.h"
#include "consensus/peer_messages.h"
#include "tests/lib/driver_bed.h"
#include "tests/lib/samples.h"
#include "tests/lib/unit.h"

static struct bed bed;

static struct driver *driver_of(unsigned node) { return bed.nodes[node].driver; }

static struct driver_status status_of(unsigned node) { return bed_status(&bed, node); }

/* ---- many at once ---- */

struct batch {
    struct bed_request *requests;
    unsigned count;
};

static bool all_done(struct bed *b, void *data)
{
    const struct batch *batch = data;
    (void)b;
    for (unsigned i = 0; i < batch->count; i++)
        if (batch->requests[i].done == 0) return false;
    return true;
}

static void more_than_the_intake_holds(void **state)
{
    (void)state;
    bed_up(&bed, 3, 0);
    unsigned leader = bed_await_leader(&bed);
    for (unsigned round = 0; round < 2; round++) {
        unsigned node = round == 0 ? leader : leader % 3 + 1, refused = 0;
        struct batch batch = {calloc(LIMIT_REQUESTS + 100, sizeof *batch.requests), 0};
        uint64_t size = status_of(leader).size;
        for (unsigned i = 0; i < LIMIT_REQUESTS + 100; i++) {
            struct bed_request *r = &batch.requests[batch.count];
            bed_event(&bed, r, &bed.doctor, BED_PATIENT);
            enum err e = bed_submit(&bed, r, node, BED_PATIENCE_MS);
            assert_true(e == OK || e == ERR_BUSY);
            if (e == OK)
                batch.count++;
            else
                bed_request_free(r);
            refused += e == ERR_BUSY;
        }
        assert_int_equal(batch.count, LIMIT_REQUESTS);
        assert_int_equal(refused, 100);
        assert_true(bed_until(&bed, BED_PATIENCE_MS, all_done, &batch));
        for (unsigned i = 0; i < batch.count; i++) {
            assert_int_equal(batch.requests[i].done, 1);
            assert_int_equal(batch.requests[i].code, OK);
            assert_int_equal(batch.requests[i].outcome.code, OK);
            bed_request_free(&batch.requests[i]);
        }
        assert_true(bed_await_same(&bed, size + LIMIT_REQUESTS));
        assert_int_equal(status_of(1).size, size + LIMIT_REQUESTS);
        free(batch.requests);
    }
    bed_close(&bed);
}

static void too_large_and_empty_requests(void **state)
{
    (void)state;
    struct bed_request r = {0};
    bed_up(&bed, 3, 0);
    assert_int_equal(bed_submit(&bed, &r, 1, 1000), ERR_TOO_LARGE);
    assert_non_null(buffer_extend(&r.s.request, LIMIT_REQUEST + 1));
    memset(r.s.request.data, 0, r.s.request.size);
    assert_int_equal(bed_submit(&bed, &r, 1, 1000), ERR_TOO_LARGE);
    bed_request_free(&r);
    bed_close(&bed);
}

static void large_request(struct bed_request *r)
{
    static uint8_t note[LIMIT_RECORD];
    struct arguments args = {.action = ACTION_EVENT_ADD};
    args.event_add = (struct args_event_add){sample_id(2), bytes_text("bill.print"), bytes_text("x")};
    memset(r, 0, sizeof *r);
    bed.kit.now = clock_wall_ms();
    kit_request(&bed.kit, &r->s.request, &bed.doctor, &args, BYTES(note));
}

/* What waits anyway waits where it came in; all is served. */
static void a_follower_sends_a_leader_its_share(void **state)
{
    (void)state;
    enum { MANY = 12 };
    struct bed_request requests[MANY];
    struct batch batch = {requests, MANY};
    bed_up(&bed, 3, 0);
    unsigned leader = bed_await_leader(&bed), follower = leader % 3 + 1;
    assert_true(bed_await_same(&bed, 3));
    uint64_t before = bed.sent[PEER_FORWARD];
    for (unsigned i = 0; i < MANY; i++) {
        large_request(&requests[i]);
        assert_int_equal(bed_submit(&bed, &requests[i], follower, BED_PATIENCE_MS), OK);
    }
    assert_in_range(bed.sent[PEER_FORWARD] - before, 1, LIMIT_FORWARDED_WINDOW / 2 / LIMIT_RECORD);
    assert_true(bed_until(&bed, BED_PATIENCE_MS, all_done, &batch));
    for (unsigned i = 0; i < MANY; i++) {
        assert_int_equal(requests[i].code, OK);
        bed_request_free(&requests[i]);
    }
    bed_close(&bed);
}

/* One request of a follower that its leader drops, as it does where it has no room: nobody is told. */
static unsigned drop_one(struct bed_request *r, uint64_t *sent)
{
    bed_up(&bed, 3, 0);
    unsigned leader = bed_await_leader(&bed), follower = leader % 3 + 1;
    assert_true(bed_await_same(&bed, 3));
    *sent = bed.sent[PEER_FORWARD];
    bed.lost[PEER_FORWARD] = true;
    bed_event(&bed, r, &bed.doctor, BED_PATIENT);
    assert_int_equal(bed_submit(&bed, r, follower, BED_PATIENCE_MS), OK);
    bed_turn(&bed, 50);
    assert_int_equal(bed.sent[PEER_FORWARD] - *sent, 1);
    return follower;
}

static void it_is_done_in_the_end(struct bed_request *r)
{
    bed.lost[PEER_FORWARD] = false;
    assert_true(bed_await(&bed, r));
    assert_int_equal(r->code, OK);
    bed_request_free(r);
    bed_close(&bed);
}

/* A slow link: what was sent is not sent again while it is still on its way, or a large message of the leader takes long;
 * but later it is, since the leader tells nobody what it did not take. */
static void what_is_on_its_way_is_sent_once(void **state)
{
    (void)state;
    struct bed_request r;
    uint64_t before;
    drop_one(&r, &before);
    uint64_t term = status_of(1).term;
    bed.unacked = 200 * KIB;
    bed_turn(&bed, 1500);
    assert_true(bed.sent[PEER_FORWARD] - before == 1 || status_of(1).term != term);
    bed.unacked = 0;
    bed.receiving_ms = 300;
    bed_turn(&bed, 1500);
    assert_true(bed.sent[PEER_FORWARD] - before == 1 || status_of(1).term != term);
    bed.receiving_ms = 0;
    BED_AWAIT(&bed, bed.sent[PEER_FORWARD] - before > 1);
    it_is_done_in_the_end(&r);
}

/* A fast link that is busy: most of what is read of it ends within a message, and the next read brings the rest. */
static void a_busy_link_is_no_slow_one(void **state)
{
    (void)state;
    struct bed_request r;
    uint64_t before;
    drop_one(&r, &before);
    bed.receiving_ms = 20;
    bed.unacked = 40 * KIB;
    bed_turn(&bed, 3000);
    assert_true(bed.sent[PEER_FORWARD] - before > 1);
    it_is_done_in_the_end(&r);
}

/* It may be in line behind others, none of which takes long: no copy each second, which would be in that line, too. */
static void a_second_copy_waits_longer(void **state)
{
    (void)state;
    struct bed_request r;
    uint64_t before, start = clock_monotonic_ns();
    drop_one(&r, &before);
    uint64_t term = status_of(1).term;
    bed_turn(&bed, 4000);
    uint64_t took_ms = (clock_monotonic_ns() - start) / 1000000, copies = bed.sent[PEER_FORWARD] - before;
    assert_true(copies > 1);
    assert_true(copies <= 2u + (took_ms >= 3000) + took_ms / 7000 || status_of(1).term != term);
    it_is_done_in_the_end(&r);
}

/* However slow it seems: a later request has come back, so this one was dropped. */
static void what_later_ones_overtook_is_sent_again(void **state)
{
    (void)state;
    struct bed_request r;
    uint64_t before;
    unsigned follower = drop_one(&r, &before);
    bed.unacked = 200 * KIB;
    bed.lost[PEER_FORWARD] = false;
    bed_event_through(&bed, follower);
    bed_turn(&bed, 3000);
    assert_true(bed.sent[PEER_FORWARD] - before > 2);
    it_is_done_in_the_end(&r);
}

/* What it has sent and is on its way still would pass for the word of a leader. */
static void who_steps_down_falls_silent(void **state)
{
    (void)state;
    for (unsigned jammed = 0; jammed < 2; jammed++) {
        bed_up(&bed, 3, 0);
        unsigned leader = bed_await_leader(&bed);
        bed.unacked = jammed * 200 * KIB;
        assert_int_equal(bed.renewed, 0);
        bed.lost[PEER_RAFT] = true;
        BED_AWAIT(&bed, !status_of(leader).leads);
        assert_int_equal(bed.renewed, jammed * 2);
        bed_close(&bed);
    }
}

/* However many peers an entry goes to, it stands in the leader's memory once. */
static void large_entries_are_lent_to_the_links(void **state)
{
    (void)state;
    struct bed_request r;
    bed_up(&bed, 3, 0);
    unsigned leader = bed_await_leader(&bed);
    large_request(&r);
    assert_true(bed_await_same(&bed, 3));
    uint64_t before = bed.copied, blocks = status_of(leader).last;
    assert_int_equal(bed_submit(&bed, &r, leader, BED_PATIENCE_MS), OK);
    assert_true(bed_await(&bed, &r));
    BED_AWAIT(&bed, status_of(1).applied > blocks && status_of(2).applied > blocks && status_of(3).applied > blocks);
    assert_true(bed.copied - before < LIMIT_RECORD);
    bed_request_free(&r);
    bed_close(&bed);
}

/* ---- a state that lags ---- */

static enum err sleep_a_while(struct state_write *w, struct table_txn *txn, struct ledger *ledger)
{
    struct timespec time = {.tv_nsec = 700 * 1000000};
    (void)w;
    (void)txn;
    (void)ledger;
    nanosleep(&time, NULL);
    return OK;
}

static void write_done(struct state_write *w, enum err code)
{
    assert_int_equal(code, OK);
    ++*(unsigned *)w->data;
}

/* Large attachments, so that bytes count. */
static void large_event(struct bed_request *r)
{
    struct arguments args = {.action = ACTION_EVENT_ADD};
    static uint8_t note[LIMIT_NOTE];
    memset(note, 'n', sizeof note);
    args.event_add = (struct args_event_add){sample_id(2), bytes_text("bill.print"), bytes_text("x")};
    memset(r, 0, sizeof *r);
    bed.kit.now = clock_wall_ms();
    kit_request(&bed.kit, &r->s.request, &bed.doctor, &args, BYTES(note));
}

static void a_lagging_state_holds_the_leader_back(void **state)
{
    (void)state;
    bed_up(&bed, 3, 0);
    unsigned leader = bed_await_leader(&bed), slept = 0;
    struct state_write slow = {.data = &slept, .run = sleep_a_while, .done = write_done};
    struct batch batch = {calloc(3000, sizeof *batch.requests), 3000};
    uint64_t size = status_of(leader).size;
    for (unsigned i = 0; i < batch.count; i++)
        large_event(&batch.requests[i]);
    assert_int_equal(driver_write(driver_of(leader), &slow), OK);
    uint64_t most = 0;
    for (unsigned i = 0; i < batch.count; i++) {
        assert_int_equal(bed_submit(&bed, &batch.requests[i], leader, BED_PATIENCE_MS), OK);
        if (i % 8 == 0) uv_run(&bed.loop, UV_RUN_NOWAIT);
        struct driver_status s = status_of(leader);
        if (s.last - s.applied > most) most = s.last - s.applied;
    }
    assert_true(most <= LIMIT_PIPELINE / 2 + LIMIT_BLOCKS_IN_FLIGHT);
    assert_true(bed_until(&bed, BED_PATIENCE_MS, all_done, &batch));
    assert_int_equal(slept, 1);
    for (unsigned i = 0; i < batch.count; i++) {
        assert_int_equal(batch.requests[i].code, OK);
        bed_request_free(&batch.requests[i]);
    }
    assert_true(bed_await_same(&bed, size + 3000));
    free(batch.requests);
    bed_close(&bed);
}

static atomic_bool hangs;

static enum err hang(struct state_write *w, struct table_txn *txn, struct ledger *ledger)
{
    struct timespec time = {.tv_nsec = 5 * 1000000};
    (void)w;
    (void)txn;
    (void)ledger;
    while (atomic_load(&hangs))
        nanosleep(&time, NULL);
    return OK;
}

/* ... by what its entries hold in memory, however few they are. */
static void a_lagging_state_holds_few_bytes(void **state)
{
    (void)state;
    enum { MANY = 14 };
    static struct bed_request requests[MANY];
    struct batch batch = {requests, MANY};
    unsigned woken = 0;
    struct state_write slow[4];
    bed_up(&bed, 3, 0);
    unsigned leader = bed_await_leader(&bed);
    assert_true(bed_await_same(&bed, 3));
    atomic_store(&hangs, true);
    for (unsigned node = 1; node <= 3; node++) { /* all: whoever leads meanwhile */
        slow[node] = (struct state_write){.data = &woken, .run = hang, .done = write_done};
        assert_int_equal(driver_write(driver_of(node), &slow[node]), OK);
    }
    for (unsigned i = 0; i < MANY; i++) {
        large_request(&requests[i]);
        assert_int_equal(bed_submit(&bed, &requests[i], leader, BED_PATIENCE_MS), OK);
    }
    BED_AWAIT(&bed, status_of(leader).last - status_of(leader).applied >= LIMIT_UNAPPLIED_BYTES / LIMIT_RECORD);
    bed_turn(&bed, 500);
    struct driver_status s = status_of(leader);
    assert_in_range(s.last - s.applied, 1, LIMIT_UNAPPLIED_BYTES / LIMIT_RECORD + 1);
    atomic_store(&hangs, false);
    assert_true(bed_until(&bed, BED_PATIENCE_MS, all_done, &batch));
    for (unsigned i = 0; i < MANY; i++) {
        assert_int_equal(requests[i].code, OK);
        bed_request_free(&requests[i]);
    }
    bed_close(&bed);
}

static bool others_lead(struct bed *b, void *data)
{
    unsigned leader = bed_leader(b);
    return leader != 0 && leader != *(unsigned *)data;
}

/* Its log's disk goes on, so it is a leader like any, but for proposing nothing once it lags too far itself. */
static void a_leader_whose_state_hangs_hands_over(void **state)
{
    (void)state;
    struct bed_request r, own;
    unsigned woken = 0;
    struct state_write slow = {.data = &woken, .run = hang, .done = write_done};
    bed_up(&bed, 3, 0);
    unsigned leader = bed_await_leader(&bed);
    assert_true(bed_await_same(&bed, 3));
    atomic_store(&hangs, true);
    assert_int_equal(driver_write(driver_of(leader), &slow), OK);
    bed_event(&bed, &own, &bed.doctor, BED_PATIENT);
    assert_int_equal(bed_submit(&bed, &own, leader, BED_PATIENCE_MS), OK);
    assert_true(bed_until(&bed, BED_PATIENCE_MS, others_lead, &leader));
    bed_event(&bed, &r, &bed.doctor, BED_PATIENT);
    assert_int_equal(bed_submit(&bed, &r, leader % 3 + 1, BED_PATIENCE_MS), OK);
    assert_true(bed_await(&bed, &r));
    assert_int_equal(r.code, OK);
    bed_request_free(&r);
    assert_int_equal(own.done, 0);
    atomic_store(&hangs, false);
    assert_true(bed_await(&bed, &own));
    assert_int_equal(own.code, OK);
    bed_request_free(&own);
    assert_int_equal(woken, 1);
    assert_true(bed_await_same(&bed, 5));
    /* It may lead again. */
    for (unsigned other = 1; other <= 3; other++)
        if (other != leader) driver_set_clock_ok(driver_of(other), false);
    BED_AWAIT(&bed, bed_leader(&bed) == leader);
    bed_close(&bed);
}

/* ---- reads, writes, marks ---- */

static enum err put_row(struct state_write *w, struct table_txn *txn, struct ledger *ledger)
{
    (void)w;
    (void)ledger;
    return table_put(txn, TABLE_BLOB, bytes_text("test"), bytes_text("here"));
}

static enum err get_row(struct state_read *r, struct table_txn *txn)
{
    struct buffer value = {0};
    enum err e = table_get(txn, TABLE_BLOB, bytes_text("test"), &value);
    (void)r;
    buffer_free(&value);
    return e;
}

struct read_once {
    struct state_read read;
    bool done;
    enum err code;
};

static void read_done(struct state_read *r, enum err code)
{
    struct read_once *once = r->data;
    once->done = true;
    once->code = code;
}

static bool is_read(struct bed *b, void *data)
{
    (void)b;
    return ((struct read_once *)data)->done;
}

static enum err read_row(unsigned node, bool fresh)
{
    struct read_once once = {.read = {.fresh = fresh, .run = get_row, .done = read_done}};
    once.read.data = &once;
    assert_int_equal(driver_read(driver_of(node), &once.read), OK);
    assert_true(bed_until(&bed, BED_PATIENCE_MS, is_read, &once));
    return once.code;
}

static bool counted(struct bed *b, void *data)
{
    (void)b;
    return *(unsigned *)data > 0;
}

static void reads_and_writes(void **state)
{
    (void)state;
    unsigned written = 0;
    bed_up(&bed, 3, 0);
    struct state_write write = {.durable = true, .data = &written, .run = put_row, .done = write_done};
    assert_int_equal(read_row(1, true), ERR_NOT_FOUND);
    assert_int_equal(read_row(1, false), ERR_NOT_FOUND);
    assert_int_equal(driver_write(driver_of(1), &write), OK);
    assert_true(bed_until(&bed, BED_PATIENCE_MS, counted, &written));
    bed_crash(&bed, 1); /* durable was promised */
    bed_start(&bed, 1);
    assert_int_equal(read_row(1, true), OK);
    assert_int_equal(read_row(1, false), OK);
    assert_int_equal(read_row(2, true), ERR_NOT_FOUND); /* node-local */
    bed_close(&bed);
}

static enum err last_code;
static unsigned marks;
static void mark_done(struct cosigned_mark *m, enum err code)
{
    (void)m;
    last_code = code;
    marks++;
}

static enum err log_mark(unsigned node, struct cosigned_mark *mark)
{
    marks = 0;
    mark->done = mark_done;
    assert_int_equal(driver_log_cosigned(driver_of(node), mark), OK);
    assert_true(bed_until(&bed, BED_PATIENCE_MS, counted, &marks));
    return last_code;
}

static void marks_last_and_only_grow(void **state)
{
    (void)state;
    struct cosigned_mark mark, read;
    bed_up(&bed, 3, 0);
    assert_true(bed_await_same(&bed, 3));
    struct driver_status s = status_of(1);
    assert_false(driver_cosigned(driver_of(1), &read));
    mark = (struct cosigned_mark){.raft_index = s.applied, .size = s.size, .root = s.root};
    assert_int_equal(log_mark(1, &mark), OK);
    mark.root.bytes[0] ^= 1; /* another root for the same size */
    assert_int_equal(log_mark(1, &mark), ERR_CONFLICT);
    mark.size--;
    assert_int_equal(log_mark(1, &mark), ERR_CONFLICT);
    bed_crash(&bed, 1);
    bed_start(&bed, 1);
    assert_true(driver_cosigned(driver_of(1), &read));
    assert_int_equal(read.size, s.size);
    assert_int_equal(read.raft_index, s.applied);
    assert_true(digest_equal(&read.root, &s.root));
    bed_close(&bed);
}

/* ---- settings ---- */

static void a_node_with_a_wrong_clock_hands_over(void **state)
{
    (void)state;
    bed_up(&bed, 3, 0);
    unsigned leader = bed_await_leader(&bed);
    driver_set_clock_ok(driver_of(leader), false);
    assert_true(bed_until(&bed, BED_PATIENCE_MS, others_lead, &leader));
    /* It follows and serves as ever. */
    struct bed_request r;
    bed_event(&bed, &r, &bed.doctor, BED_PATIENT);
    assert_int_equal(bed_submit(&bed, &r, leader, BED_PATIENCE_MS), OK);
    assert_true(bed_await(&bed, &r));
    assert_int_equal(r.code, OK);
    bed_request_free(&r);
    bed_close(&bed);
}

static void a_quarantined_node_serves_nothing(void **state)
{
    (void)state;
    struct bed_request waiting, r;
    bed_up(&bed, 4, 1);
    unsigned leader = bed_await_leader(&bed);
    bed_event(&bed, &waiting, &bed.doctor, BED_PATIENT);
    assert_int_equal(bed_submit(&bed, &waiting, leader, BED_PATIENCE_MS), OK);
    driver_quarantine(driver_of(leader), "a test says so");
    assert_int_equal(waiting.done, 1);
    assert_int_equal(waiting.code, ERR_QUARANTINED);
    bed_event(&bed, &r, &bed.doctor, BED_PATIENT);
    assert_int_equal(bed_submit(&bed, &r, leader, 1000), ERR_QUARANTINED);
    assert_true(bed_until(&bed, BED_PATIENCE_MS, others_lead, &leader));
    assert_true(status_of(leader).quarantined);
    assert_false(status_of(leader).may_vote);
    assert_int_equal(bed_submit(&bed, &r, leader % 4 + 1, BED_PATIENCE_MS), OK);
    assert_true(bed_await(&bed, &r));
    assert_int_equal(r.code, OK);
    bed_request_free(&r);
    bed_request_free(&waiting);
    bed_close(&bed);
}

static void a_stopping_leader_hands_over(void **state)
{
    (void)state;
    unsigned quick = 0;
    bed_up(&bed, 3, 0);
    for (unsigned round = 0; round < 3 || (!quick && round < 50); round++) {
        struct bed_request r;
        unsigned leader = bed_await_leader(&bed);
        assert_true(bed_await_same(&bed, 3));
        bed_stop(&bed, leader);
        uint64_t start = clock_monotonic_ns();
        bed_event(&bed, &r, &bed.doctor, BED_PATIENT);
        assert_int_equal(bed_submit(&bed, &r, leader % 3 + 1, BED_PATIENCE_MS), OK);
        assert_true(bed_await(&bed, &r));
        assert_int_equal(r.code, OK);
        /* An election time-out is 20 ticks at least; on a busy machine, anything may take long once. */
        quick += clock_monotonic_ns() - start < 18 * BED_TICK_MS * 1000000ull;
        bed_request_free(&r);
        bed_start(&bed, leader);
    }
    assert_true(quick > 0);
    bed_close(&bed);
}

static void stopping_answers_what_waits(void **state)
{
    (void)state;
    struct bed_request r;
    bed_up(&bed, 3, 0);
    unsigned leader = bed_await_leader(&bed), alone = leader % 3 + 1, other = alone % 3 + 1;
    bed_crash(&bed, leader);
    bed_crash(&bed, other);
    bed_event(&bed, &r, &bed.doctor, BED_PATIENT);
    assert_int_equal(bed_submit(&bed, &r, alone, BED_PATIENCE_MS), OK);
    bed_stop(&bed, alone);
    assert_int_equal(r.done, 1);
    assert_int_equal(r.code, ERR_STOPPED);
    bed_request_free(&r);
    bed_close(&bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(more_than_the_intake_holds),
        cmocka_unit_test(too_large_and_empty_requests),
        cmocka_unit_test(a_follower_sends_a_leader_its_share),
        cmocka_unit_test(what_is_on_its_way_is_sent_once),
        cmocka_unit_test(a_busy_link_is_no_slow_one),
        cmocka_unit_test(a_second_copy_waits_longer),
        cmocka_unit_test(what_later_ones_overtook_is_sent_again),
        cmocka_unit_test(who_steps_down_falls_silent),
        cmocka_unit_test(large_entries_are_lent_to_the_links),
        cmocka_unit_test(a_lagging_state_holds_the_leader_back),
        cmocka_unit_test(a_lagging_state_holds_few_bytes),
        cmocka_unit_test(a_leader_whose_state_hangs_hands_over),
        cmocka_unit_test(reads_and_writes),
        cmocka_unit_test(marks_last_and_only_grow),
        cmocka_unit_test(a_node_with_a_wrong_clock_hands_over),
        cmocka_unit_test(a_quarantined_node_serves_nothing),
        cmocka_unit_test(a_stopping_leader_hands_over),
        cmocka_unit_test(stopping_answers_what_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
