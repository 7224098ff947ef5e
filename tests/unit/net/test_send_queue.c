/* What waits to be sent: the same bytes come out in the same order, memory goes back piece by piece, and what is
 * lent is given back once. */
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "net/send_queue.h"
#include "tests/lib/unit.h"

#define LENT_MOST 64
#define PARTS_MOST 8
#define PART_MOST (100 * KIB)

struct loan {
    uint8_t *bytes;
    unsigned given_back;
};

static struct send_queue queue;
static uint8_t record[SEND_RECORD];
static struct loan loans[LENT_MOST];
static size_t loan_count;

static void give_back(void *owner)
{
    struct loan *loan = owner;
    loan->given_back++;
    free(loan->bytes); /* a sanitizer sees who still reads it */
    loan->bytes = NULL;
}

static struct send_part lend(struct bytes bytes)
{
    struct loan *loan = &loans[loan_count++];
    *loan = (struct loan){.bytes = xmalloc(bytes.size)};
    memcpy(loan->bytes, bytes.data, bytes.size);
    return (struct send_part){bytes_of(loan->bytes, bytes.size), give_back, loan};
}

static struct send_part copied(const char *text) { return (struct send_part){bytes_text(text)}; }

static void takes(const char *text)
{
    struct bytes first = send_queue_first(&queue, record, SEND_RECORD);
    assert_int_equal(first.size, strlen(text));
    assert_memory_equal(first.data, text, first.size);
    send_queue_take(&queue, first.size);
}

static void small_parts_come_out_together(void **state)
{
    (void)state;
    struct send_part parts[] = {copied("a"), copied("bc"), copied(""), copied("def")};
    assert_int_equal(send_queue_first(&queue, record, SEND_RECORD).size, 0);
    assert_int_equal(send_queue_add(&queue, parts, 4), OK);
    assert_int_equal(send_queue_add(&queue, parts, 2), OK);
    assert_int_equal(queue.size, 9);
    send_queue_take(&queue, 2);
    takes("cdefabc");
    assert_int_equal(queue.size, 0);
    assert_null(queue.pieces.first);
}

static void a_loan_is_given_back_once_it_is_sent(void **state)
{
    (void)state;
    loan_count = 0;
    struct send_part parts[] = {copied("head"), lend(bytes_text("first")), copied("between"),
                                lend(bytes_text("second"))};
    assert_int_equal(send_queue_add(&queue, parts, 4), OK);
    send_queue_take(&queue, 8);
    assert_int_equal(loans[0].given_back, 0);
    send_queue_take(&queue, 1);
    assert_int_equal(loans[0].given_back, 1);
    assert_int_equal(send_queue_add(&queue, parts, 1), OK); /* behind a lent one */
    takes("betweensecondhead");
    assert_int_equal(loans[1].given_back, 1);
    struct send_part again[] = {lend(bytes_text("third")), copied("tail")};
    assert_int_equal(send_queue_add(&queue, again, 2), OK);
    send_queue_take(&queue, 2);
    send_queue_free(&queue);
    assert_int_equal(loans[2].given_back, 1);
    assert_int_equal(loans[0].given_back, 1);
    assert_int_equal(queue.size, 0);
}

static void large_parts_are_not_copied(void **state)
{
    (void)state;
    static uint8_t large[3 * SEND_RECORD + 5];
    loan_count = 0;
    struct send_part parts[] = {lend(BYTES(large)), copied("tail")};
    assert_int_equal(send_queue_add(&queue, parts, 2), OK);
    struct bytes first = send_queue_first(&queue, record, 2 * SEND_RECORD + 7);
    assert_ptr_equal(first.data, loans[0].bytes);
    assert_int_equal(first.size, 2 * SEND_RECORD); /* whole records */
    send_queue_take(&queue, first.size);
    first = send_queue_first(&queue, record, 8 * SEND_RECORD);
    assert_int_equal(first.size, SEND_RECORD);
    send_queue_take(&queue, first.size);
    first = send_queue_first(&queue, record, 8 * SEND_RECORD);
    assert_int_equal(first.size, 9);
    send_queue_take(&queue, first.size);
}

static void add_some(struct buffer *model)
{
    static uint8_t noise[PART_MOST];
    struct send_part parts[PARTS_MOST];
    size_t count = 1 + (size_t)rand() % PARTS_MOST;
    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = (uint8_t)rand();
    for (size_t i = 0; i < count; i++) {
        size_t part = (size_t)rand() % (rand() % 4 ? 300 : PART_MOST);
        struct bytes bytes = bytes_of(noise + rand() % (PART_MOST - part), part);
        bool lent = rand() % 3 == 0 && loan_count < LENT_MOST;
        parts[i] = lent ? lend(bytes) : (struct send_part){bytes};
        buffer_append_bytes(model, bytes);
    }
    assert_int_equal(send_queue_add(&queue, parts, count), OK);
}

static void any_order_comes_out_as_it_went_in(void **state)
{
    (void)state;
    const char *text = getenv("SEED");
    unsigned seed = text ? (unsigned)strtoul(text, NULL, 10) : 1;
    for (unsigned last = text ? seed : seed + 199; seed <= last; seed++) {
        struct buffer model = {0};
        size_t at = 0;
        srand(seed);
        loan_count = 0;
        for (unsigned step = 0; step < 40; step++) {
            if (step < 20) add_some(&model);
            size_t most = SEND_RECORD + (size_t)rand() % (4 * SEND_RECORD);
            struct bytes first = send_queue_first(&queue, record, most);
            if (queue.size != model.size - at) print_message("SEED=%u\n", seed);
            assert_int_equal(queue.size, model.size - at);
            assert_true(first.size <= most && (first.size >= SEND_RECORD || first.size == queue.size));
            assert_memory_equal(first.data ? first.data : record, model.data + at, first.size);
            size_t taken = first.size && rand() % 2 ? (size_t)rand() % first.size : first.size;
            send_queue_take(&queue, taken);
            at += taken;
        }
        send_queue_free(&queue);
        for (size_t i = 0; i < loan_count; i++)
            assert_int_equal(loans[i].given_back, 1);
        buffer_free(&model);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_parts_come_out_together),
        cmocka_unit_test(a_loan_is_given_back_once_it_is_sent),
        cmocka_unit_test(large_parts_are_not_copied),
        cmocka_unit_test(any_order_comes_out_as_it_went_in),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
