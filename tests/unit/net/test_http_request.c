/* Requests of HTTP, whole and cut into bytes, and what is refused with which status. */
#include "tests/lib/unit.h"

#include <stdio.h>
#include <string.h>

#include "net/http_request.h"

/* Feeds `text` in pieces of `piece` bytes up to the first outcome; the rest that is unused. */
static enum http_outcome feed(struct http_reader *r, const char *text, size_t size, size_t piece, size_t *used)
{
    enum http_outcome outcome = HTTP_INCOMPLETE;
    for (*used = 0; *used < size && outcome == HTTP_INCOMPLETE;) {
        size_t n = size - *used < piece ? size - *used : piece, done;
        outcome = http_reader_feed(r, &done, bytes_of(text + *used, n));
        assert_true(done <= n);
        if (outcome == HTTP_INCOMPLETE) assert_int_equal(done, n);
        *used += done;
    }
    return outcome;
}

static void a_request_is_read_whole_and_in_pieces(void **state)
{
    (void)state;
    static const struct { const char *text, *path, *tag; bool head, keep; } rows[] = {
        {"GET /checkpoint HTTP/1.1\r\nHost: a\r\n\r\n", "/checkpoint", "", false, true},
        {"HEAD /tile/0/000 HTTP/1.1\r\nhost: a:1\r\nConnection: close\r\n\r\n", "/tile/0/000", "", true, false},
        {"GET / HTTP/1.0\r\n\r\n", "/", "", false, false},
        {"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "/", "", false, true},
        {"\r\n\r\nGET /a HTTP/1.1\r\nHost: a\r\n\r\n", "/a", "", false, true},
        {"GET https://node.example:7401/a?b=/c HTTP/1.1\r\nHost: node\r\n\r\n", "/a", "", false, true},
        {"GET HTTP://node.example HTTP/1.1\r\nHost: node\r\n\r\n", "/", "", false, true},
        {"GET /a?b HTTP/1.1\r\nHost: a\r\nIf-None-Match: \"x\"\r\nIF-NONE-MATCH: W/\"y\"\r\n\r\n", "/a",
         "\"x\", W/\"y\"", false, true},
        {"GET /%2e%2e/a HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", "/%2e%2e/a", "", false, true},
        {"GET /up HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", "/up", "", false, true},
        {"GET /empty HTTP/1.1\r\nHost:\r\nX-Very-Long-Name-Of-A-Field: b\r\n\r\n", "/empty", "", false, true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        for (size_t piece = 1; piece <= strlen(rows[i].text); piece = piece * 3 + 1) {
            size_t used;
            struct http_reader *r = http_reader_new();
            if (feed(r, rows[i].text, strlen(rows[i].text), piece, &used) != HTTP_COMPLETE)
                fail_msg("%s", rows[i].text);
            assert_int_equal(used, strlen(rows[i].text));
            const struct http_request *q = http_reader_request(r);
            assert_string_equal(q->path, rows[i].path);
            assert_string_equal(q->if_none_match, rows[i].tag);
            assert_int_equal(q->head, rows[i].head);
            assert_int_equal(q->keep_alive, rows[i].keep);
            assert_false(http_reader_begun(r));
            http_reader_free(r);
        }
}

static void pipelined_requests_come_one_by_one(void **state)
{
    (void)state;
    static const char text[] = "GET /1 HTTP/1.1\r\nHost: a\r\nIf-None-Match: x\r\n\r\n"
                               "HEAD /22 HTTP/1.1\r\nHost: a\r\n\r\n"
                               "GET /333 HTTP/1.1\r\nHost: a\r\n\r\nGET /4";
    static const char *const paths[] = {"/1", "/22", "/333"};
    for (size_t piece = 1; piece < sizeof text; piece += 7) {
        size_t at = 0, used;
        struct http_reader *r = http_reader_new();
        for (int i = 0; i < 3; i++) {
            assert_int_equal(feed(r, text + at, sizeof text - 1 - at, piece, &used), HTTP_COMPLETE);
            assert_string_equal(http_reader_request(r)->path, paths[i]);
            assert_string_equal(http_reader_request(r)->if_none_match, i ? "" : "x");
            at += used;
        }
        assert_int_equal(feed(r, text + at, sizeof text - 1 - at, piece, &used), HTTP_INCOMPLETE);
        assert_true(http_reader_begun(r));
        http_reader_free(r);
    }
}

static void expect_refusal(const char *text, size_t size, unsigned status)
{
    for (size_t piece = 1; piece <= size; piece = piece * 5 + 3) {
        size_t used;
        struct http_reader *r = http_reader_new();
        if (feed(r, text, size, piece, &used) != HTTP_REFUSED) fail_msg("\"%.60s\" is not refused", text);
        if (http_reader_status(r) != status)
            fail_msg("%u for \"%.60s\" in pieces of %zu, not %u", http_reader_status(r), text, piece, status);
        assert_int_equal(http_reader_feed(r, &used, bytes_text("GET / HTTP/1.1\r\nHost: a\r\n\r\n")), HTTP_REFUSED);
        http_reader_free(r);
    }
}

static void what_is_not_served_is_refused(void **state)
{
    (void)state;
    static const struct { const char *text; unsigned status; } rows[] = {
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", 405},
        {"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 405},
        {"DELETE /checkpoint HTTP/1.1\r\nHost: a\r\n\r\n", 405},
        {"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 405},
        {"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", 413},
        {"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 413},
        {"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551616\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400},
        {"GET checkpoint HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400},
        {"\x16\x03\x01\x02", 501},
        {"hello\r\n", 501},
        {"FROB / HTTP/1.1\r\nHost: a\r\n\r\n", 501},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        expect_refusal(rows[i].text, strlen(rows[i].text), rows[i].status);
}

static void each_length_has_its_limit(void **state)
{
    (void)state;
    struct buffer b = {0};
    size_t used;
    buffer_printf(&b, "GET /%0*d HTTP/1.1\r\nHost: a\r\n\r\n", LIMIT_HTTP_TARGET - 1, 0);
    struct http_reader *r = http_reader_new();
    assert_int_equal(feed(r, (char *)b.data, b.size, b.size, &used), HTTP_COMPLETE);
    http_reader_free(r);
    buffer_clear(&b);
    buffer_printf(&b, "GET /%0*d HTTP/1.1\r\nHost: a\r\n\r\n", LIMIT_HTTP_TARGET, 0);
    expect_refusal((char *)b.data, b.size, 414);
    buffer_clear(&b);
    buffer_printf(&b, "GET / HTTP/1.1\r\nHost: a\r\nX: %0*d\r\n\r\n", (int)LIMIT_HTTP_HEAD, 0);
    expect_refusal((char *)b.data, b.size, 431);
    buffer_clear(&b);
    buffer_printf(&b, "GET / HTTP/1.1\r\nHost: a\r\n");
    for (unsigned i = 0; i < LIMIT_HTTP_FIELDS; i++) buffer_append_text(&b, "X: y\r\n");
    buffer_append_text(&b, "\r\n");
    expect_refusal((char *)b.data, b.size, 431);
    /* A list of tags that is too long is as good as none. */
    buffer_clear(&b);
    buffer_printf(&b, "GET / HTTP/1.1\r\nHost: a\r\nIf-None-Match: %0*d\r\nIf-None-Match: \"x\"\r\n\r\n",
                  LIMIT_HTTP_TAG + 1, 0);
    r = http_reader_new();
    assert_int_equal(feed(r, (char *)b.data, b.size, 3, &used), HTTP_COMPLETE);
    assert_string_equal(http_reader_request(r)->if_none_match, "");
    http_reader_free(r);
    buffer_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_is_read_whole_and_in_pieces),
        cmocka_unit_test(pipelined_requests_come_one_by_one),
        cmocka_unit_test(what_is_not_served_is_refused),
        cmocka_unit_test(each_length_has_its_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
