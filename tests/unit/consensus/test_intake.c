#include <stdlib.h>

#include "consensus/intake.h"
#include "consensus/jobs.h"
#include "consensus/raft.h"
#include "ledger/block.h"
#include "tests/lib/samples.h"
#include "tests/lib/unit.h"

/* Too large for the stack of some systems. */
static struct intake in;

static void fill(struct submission *s, unsigned n, size_t size)
{
    memset(s, 0, sizeof *s);
    assert_non_null(buffer_extend(&s->request, size));
    memset(s->request.data, 0x55, size);
    put_be32(s->request.data + size - 64, n);
}

static struct bytes bytes_in(const struct submission *s) { return buffer_bytes(&s->request); }

static void setup_empty(void) { memset(&in, 0, sizeof in); }

static void own_requests_wait_are_proposed_and_found(void **state)
{
    (void)state;
    struct submission s[3];
    struct bytes requests[LIMIT_BLOCK_REQUESTS];
    setup_empty();
    for (unsigned i = 0; i < 3; i++) {
        fill(&s[i], i + 1, 200);
        assert_int_equal(intake_add_own(&in, &s[i]), OK);
        assert_ptr_equal(intake_find(&in, bytes_in(&s[i])), &s[i].driver);
    }
    assert_int_equal(intake_propose(&in, requests), 0); /* none waits */
    assert_true(intake_wait(&in, &s[0].driver) && intake_wait(&in, &s[2].driver));
    assert_int_equal(intake_propose(&in, requests), 2);
    assert_ptr_equal(requests[0].data, s[0].request.data); /* views, oldest first */
    assert_ptr_equal(requests[1].data, s[2].request.data);
    intake_withdraw(&in, requests, 2);
    assert_true(intake_wait(&in, &s[1].driver));
    assert_int_equal(intake_propose(&in, requests), 3);
    assert_ptr_equal(requests[0].data, s[0].request.data); /* in front again, in their order */
    assert_ptr_equal(requests[2].data, s[1].request.data);
    intake_abdicate(&in);
    assert_int_equal(in.aside.count, 3);
    for (unsigned i = 0; i < 3; i++) {
        intake_remove(&in, &s[i].driver);
        assert_null(intake_find(&in, bytes_in(&s[i])));
        buffer_free(&s[i].request);
    }
    assert_int_equal(in.own_count + in.own_bytes + in.aside.count + in.aside.bytes, 0);
}

static void equal_requests_go_out_once(void **state)
{
    (void)state;
    struct submission a, b, c;
    setup_empty();
    fill(&a, 7, 100);
    fill(&b, 7, 100);
    fill(&c, 7, 100);
    c.request.data[3] ^= 1; /* same end, other bytes */
    assert_int_equal(intake_add_own(&in, &a) | intake_add_own(&in, &b) | intake_add_own(&in, &c), OK);
    assert_true(intake_wait(&in, &a.driver));
    assert_false(intake_wait(&in, &b.driver));
    assert_true(intake_wait(&in, &c.driver));
    const struct intake_item *first = intake_find(&in, bytes_in(&a));
    const struct intake_item *second = intake_find_next(first);
    assert_non_null(second);
    assert_null(intake_find_next(second));
    intake_remove(&in, &a.driver);
    assert_true(intake_wait(&in, &b.driver));
    intake_remove(&in, &b.driver);
    intake_remove(&in, &c.driver);
    buffer_free(&a.request);
    buffer_free(&b.request);
    buffer_free(&c.request);
}

static void forwarded_requests_are_checked_and_bounded(void **state)
{
    (void)state;
    struct buffer request = {0};
    struct bytes requests[LIMIT_BLOCK_REQUESTS];
    setup_empty();
    sample_request(&request, 1, 2);
    assert_int_equal(intake_add_forwarded(&in, &(struct intake_sender){.index = 2, .now_ns = 1}, buffer_bytes(&request),
                                          false), OK);
    assert_int_equal(intake_add_forwarded(&in, &(struct intake_sender){.index = 3, .now_ns = 1}, buffer_bytes(&request),
                                          false), ERR_EXISTS);
    assert_int_equal(intake_propose(&in, requests), 1);
    assert_true(bytes_equal(requests[0], buffer_bytes(&request)));
    assert_true(requests[0].data != request.data); /* a copy */
    assert_int_equal(intake_add_forwarded(&in, &(struct intake_sender){.index = 3, .now_ns = 1}, buffer_bytes(&request),
                                          false), ERR_EXISTS);
    intake_abdicate(&in);
    assert_null(intake_find(&in, buffer_bytes(&request)));
    assert_int_equal(in.forwarded_count + in.forwarded_bytes + in.peers[2].count, 0);
    assert_int_not_equal(intake_add_forwarded(&in, &(struct intake_sender){.index = 2, .now_ns = 1},
                                              bytes_of(request.data, request.size - 1), false), OK);
    assert_int_not_equal(intake_add_forwarded(&in, &(struct intake_sender){.index = 2, .now_ns = 1}, (struct bytes){0},
                                              false), OK);
    assert_int_equal(in.forwarded_count, 0);
    buffer_free(&request);
}

/* Once a block holds it, no copy of it is kept, nor counted; the block stays with it. */
static void what_is_forwarded_stands_in_memory_once(void **state)
{
    (void)state;
    struct intake_sender sender = {.index = 2, .now_ns = 1};
    struct submission own;
    struct buffer request[2] = {{0}}, encoded = {0};
    struct bytes requests[LIMIT_BLOCK_REQUESTS];
    struct block block;
    setup_empty();
    for (unsigned i = 0; i < 2; i++) {
        sample_request(&request[i], 1 + i, 2);
        assert_int_equal(intake_add_forwarded(&in, &sender, buffer_bytes(&request[i]), false), OK);
        if (i == 1) continue;
        memset(&own, 0, sizeof own);
        sample_request(&own.request, 7, 1);
        assert_int_equal(intake_add_own(&in, &own), OK);
        assert_true(intake_wait(&in, &own.driver));
    }
    assert_int_equal(in.forwarded_bytes, request[0].size + request[1].size);
    uint32_t count = intake_propose(&in, requests);
    assert_int_equal(count, 3);
    block_encode(&encoded, 1, requests, count);
    struct raft_blob *blob = raft_blob_copy(buffer_bytes(&encoded));
    assert_int_equal(block_decode(&block, raft_blob_bytes(blob)), OK);
    intake_in_block(&in, blob, block.requests, block.count);
    raft_blob_release(blob);
    assert_int_equal(in.forwarded_count, 2);
    assert_int_equal(in.forwarded_bytes + in.peers[2].bytes, 0);
    for (unsigned i = 0; i < 2; i++) {
        struct intake_item *item = intake_find(&in, buffer_bytes(&request[i]));
        assert_non_null(item);
        assert_ptr_equal(item->request.data, block.requests[2 * i].raw.data);
        intake_remove(&in, item);
        buffer_free(&request[i]);
    }
    assert_int_equal(in.forwarded_count + in.forwarded_bytes + in.peers[2].count + in.peers[2].bytes, 0);
    assert_ptr_equal(own.driver.request.data, own.request.data); /* its owner's */
    intake_remove(&in, &own.driver);
    block_free(&block);
    buffer_free(&own.request);
    buffer_free(&encoded);
}

static void one_follower_sends_no_more_than_its_share(void **state)
{
    (void)state;
    struct submission s[4];
    setup_empty();
    for (unsigned i = 0; i < 4; i++) {
        fill(&s[i], i + 1, 1000);
        assert_int_equal(intake_add_own(&in, &s[i]), OK);
    }
    assert_true(intake_may_send(&in, &s[0].driver, 100)); /* one may always */
    intake_sent(&in, &s[0].driver, 5);
    assert_false(intake_may_send(&in, &s[1].driver, 1999));
    assert_true(intake_may_send(&in, &s[1].driver, 2000));
    intake_sent(&in, &s[1].driver, 6);
    assert_true(intake_may_send(&in, &s[0].driver, 2000)); /* again */
    intake_sent(&in, &s[0].driver, 7);
    assert_int_equal(in.sent_bytes, 2000);
    assert_false(intake_may_send(&in, &s[2].driver, 2000));
    intake_remove(&in, &s[0].driver);
    assert_int_equal(in.sent_bytes, 1000);
    assert_true(intake_may_send(&in, &s[2].driver, 2000));
    intake_sent(&in, &s[2].driver, 8);
    assert_true(intake_wait(&in, &s[2].driver)); /* it leads now */
    assert_int_equal(in.sent_bytes, 1000);
    intake_unsent(&in);
    assert_int_equal(in.sent_bytes, 0);
    intake_abdicate(&in);
    assert_int_equal(in.sent_bytes, 0);
    for (unsigned i = 0; i < 4; i++) {
        if (i > 0) intake_remove(&in, &s[i].driver);
        buffer_free(&s[i].request);
    }
    assert_int_equal(in.sent_bytes + in.own_bytes, 0);
}

static void one_peer_can_not_fill_it(void **state)
{
    (void)state;
    struct buffer request = {0};
    unsigned taken = 0;
    setup_empty();
    for (unsigned i = 1; i <= LIMIT_REQUESTS; i++) {
        buffer_clear(&request);
        sample_request(&request, i, 1);
        enum err e = intake_add_forwarded(&in, &(struct intake_sender){.index = 2, .now_ns = 1}, buffer_bytes(&request),
                                          false);
        assert_true(e == OK || e == ERR_BUSY);
        taken += e == OK;
    }
    assert_int_equal(taken, LIMIT_REQUESTS / 2);
    assert_int_equal(intake_add_forwarded(&in, &(struct intake_sender){.index = 3, .now_ns = 1}, buffer_bytes(&request),
                                          false), OK);
    intake_abdicate(&in);
    assert_int_equal(in.waiting.count, 0);
    buffer_free(&request);
}

static void blocks_end_at_their_limits(void **state)
{
    (void)state;
    struct submission *s = calloc(LIMIT_BLOCK_REQUESTS + 10, sizeof *s);
    struct bytes requests[LIMIT_BLOCK_REQUESTS];
    setup_empty();
    for (unsigned i = 0; i < LIMIT_BLOCK_REQUESTS + 10; i++) {
        fill(&s[i], i, 100);
        assert_int_equal(intake_add_own(&in, &s[i]), OK);
        assert_true(intake_wait(&in, &s[i].driver));
    }
    assert_true(intake_fills_block(&in));
    assert_int_equal(intake_propose(&in, requests), LIMIT_BLOCK_REQUESTS);
    assert_false(intake_fills_block(&in));
    assert_int_equal(intake_propose(&in, requests), 10);
    for (unsigned i = 0; i < LIMIT_BLOCK_REQUESTS + 10; i++) {
        intake_remove(&in, &s[i].driver);
        buffer_free(&s[i].request);
    }
    /* Large ones: as many as fit, but always one. */
    size_t sizes[] = {LIMIT_REQUEST, 600 * KIB, 600 * KIB, 300 * KIB};
    for (unsigned i = 0; i < 4; i++) {
        fill(&s[i], i, sizes[i]);
        assert_int_equal(intake_add_own(&in, &s[i]), OK);
        assert_true(intake_wait(&in, &s[i].driver));
    }
    assert_int_equal(intake_propose(&in, requests), 1);
    assert_int_equal(intake_propose(&in, requests), 1);
    assert_int_equal(intake_propose(&in, requests), 2);
    for (unsigned i = 0; i < 4; i++) {
        intake_remove(&in, &s[i].driver);
        buffer_free(&s[i].request);
    }
    free(s);
}

static void a_queue_keeps_its_order_and_closes(void **state)
{
    (void)state;
    struct job_queue q;
    struct job jobs[5] = {0};
    struct queue list = {0}, more = {0};
    job_queue_init(&q);
    assert_int_equal(job_queue_wait(&q, &list, 1), JOB_WAIT_TIMEOUT);
    assert_false(job_queue_take(&q, &list));
    job_queue_push(&q, &jobs[0]);
    queue_add(&more, &jobs[1].link);
    queue_add(&more, &jobs[2].link);
    job_queue_push_all(&q, &more);
    assert_null(more.first);
    job_queue_push_all(&q, &more); /* nothing */
    job_queue_close(&q);
    assert_int_equal(job_queue_wait(&q, &list, UINT64_MAX), JOB_WAIT_FILLED); /* first what waits */
    for (unsigned i = 0; i < 3; i++)
        assert_ptr_equal(queue_pop(&list, struct job, link), &jobs[i]);
    assert_null(queue_pop(&list, struct job, link));
    assert_int_equal(job_queue_wait(&q, &list, UINT64_MAX), JOB_WAIT_CLOSED);
    job_queue_destroy(&q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(own_requests_wait_are_proposed_and_found),
        cmocka_unit_test(equal_requests_go_out_once),
        cmocka_unit_test(forwarded_requests_are_checked_and_bounded),
        cmocka_unit_test(what_is_forwarded_stands_in_memory_once),
        cmocka_unit_test(one_follower_sends_no_more_than_its_share),
        cmocka_unit_test(one_peer_can_not_fill_it),
        cmocka_unit_test(blocks_end_at_their_limits),
        cmocka_unit_test(a_queue_keeps_its_order_and_closes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
