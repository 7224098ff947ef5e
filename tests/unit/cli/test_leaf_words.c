/* What differs between two leaves is told so that the two texts differ too. */
#include "cli/leaf_words.h"

#include "base/check.h"
#include "ledger/leaf.h"
#include "tests/lib/samples.h"
#include "tests/lib/unit.h"

/* An event with these words in it, approved; appends. */
static void event_leaf(struct buffer *out, const char *object, uint64_t index)
{
    struct arguments a = {.action = ACTION_EVENT_ADD,
                          .event_add = {sample_id(9), bytes_text("bill.print"), bytes_text(object)}};
    struct buffer args = {0}, bytes = {0};
    struct request_builder b = {0};
    struct request request;
    struct sign_secret secret;
    struct sign_public key;
    sample_key(&secret, &key, 1);
    arguments_encode(&args, &a);
    struct operation op = sample_operation(1, 1, ACTION_EVENT_ADD, buffer_bytes(&args));
    assert_int_equal(request_builder_add(&b, &op, (struct bytes){0}), OK);
    assert_int_equal(request_builder_sign(&bytes, &b, &secret), OK);
    assert_int_equal(request_decode(&request, buffer_bytes(&bytes)), OK);
    struct leaf leaf = {.index = index, .time_ms = SAMPLE_TIME, .previous = sample_digest(3),
                        .decision = DECISION_APPROVED, .reason = REASON_NONE, .subject = sample_id(9)};
    leaf_set_operation(&leaf, &request, 0);
    leaf_encode(out, &leaf);
    request_free(&request);
    request_builder_free(&b);
    buffer_free(&bytes);
    buffer_free(&args);
}

static void assert_difference(const struct buffer *right, const struct buffer *wrong, const char *words)
{
    char expected[200], found[200];
    leaf_difference(expected, found, sizeof expected, buffer_bytes(right), buffer_bytes(wrong));
    assert_string_not_equal(expected, found);
    assert_non_null(strstr(expected, words));
    assert_non_null(strstr(found, words));
}

static void test_difference(void **state)
{
    (void)state;
    struct buffer right = {0}, other = {0}, later = {0};
    event_leaf(&right, "invoice-1", 5);
    event_leaf(&other, "invoice-2", 5);
    event_leaf(&later, "invoice-1", 6);
    assert_difference(&right, &later, "entry ");
    assert_difference(&right, &other, "hash "); /* only its arguments */
    other.data[0] ^= 0xff;
    char expected[200], found[200];
    leaf_difference(expected, found, sizeof expected, buffer_bytes(&right), buffer_bytes(&other));
    assert_non_null(strstr(expected, "event.add"));
    assert_non_null(strstr(found, "that are no entry"));
    buffer_free(&right);
    buffer_free(&other);
    buffer_free(&later);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_difference)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
