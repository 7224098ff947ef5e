/* Many connections that ask without end: what is answered at once, and that everybody comes.
 * Connections and pages are played here. */
#include "node/http.h"

#include "base/check.h"
#include "node/http_desk.h"
#include "tests/lib/unit.h"

#define CLIENTS 600
#define REQUESTS 3

struct connection {
    void *data;
    unsigned answers;
    bool paused, closed;
};

static struct node node;
static struct connection connections[CLIENTS];
static struct listener_handler handler;
static unsigned answered;

/* --- what stands around it --- */

enum err connection_write(struct connection *c, struct bytes bytes)
{
    CHECK(bytes.size > 0 && !c->closed);
    c->answers++;
    answered++;
    return OK;
}

void connection_close(struct connection *c, enum err code, const char *text)
{
    (void)code, (void)text;
    c->closed = true;
}

void connection_pause(struct connection *c) { c->paused = true; }
void connection_resume(struct connection *c) { c->paused = false; }
void connection_set_data(struct connection *c, void *data) { c->data = data; }

size_t connection_queued(const struct connection *c)
{
    (void)c;
    return 0;
}

void http_page(struct http_client *k, const struct http_request *request)
{
    CHECK(strcmp(request->path, "/health") == 0);
    http_say(k, 200, "ready");
}

bool http_leave(struct http_client *k)
{
    (void)k;
    return true;
}

/* --- connections --- */

static void come(struct connection *c)
{
    *c = (struct connection){0};
    handler.events.on_open(c, handler.data);
    assert_non_null(c->data);
}

static void ask(struct connection *c, unsigned times)
{
    struct buffer bytes = {0};
    for (unsigned i = 0; i < times; i++) buffer_append_text(&bytes, "GET /health HTTP/1.1\r\nHost: h\r\n\r\n");
    handler.events.on_raw(c, buffer_bytes(&bytes), c->data);
    buffer_free(&bytes);
}

static int setup(void **state)
{
    (void)state;
    memset(&node, 0, sizeof node);
    CHECK(uv_loop_init(&node.loop) == 0);
    CHECK(http_desk_new(&node.http, &node) == OK);
    handler = http_handler(&node);
    answered = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    http_desk_stop(node.http);
    for (unsigned i = 0; i < CLIENTS; i++)
        if (connections[i].data) handler.events.on_close(&connections[i], OK, NULL, connections[i].data);
    uv_run(&node.loop, UV_RUN_DEFAULT);
    http_desk_free(node.http);
    CHECK(uv_loop_close(&node.loop) == 0);
    memset(connections, 0, sizeof connections);
    return 0;
}

/* --- tests --- */

static void many_get_a_bounded_part_of_the_loop(void **state)
{
    (void)state;
    for (unsigned i = 0; i < CLIENTS; i++) come(&connections[i]);
    for (unsigned i = 0; i < CLIENTS; i++) ask(&connections[i], REQUESTS);
    assert_int_equal(answered, LIMIT_HTTP_TICK);
    assert_true(connections[CLIENTS - 1].paused);
    while (answered < CLIENTS * REQUESTS) {
        unsigned before = answered;
        uv_run(&node.loop, UV_RUN_ONCE);
        assert_true(answered - before <= LIMIT_HTTP_TICK);
    }
    for (unsigned i = 0; i < CLIENTS; i++) {
        assert_int_equal(connections[i].answers, REQUESTS);
        assert_false(connections[i].closed);
    }
}

static void one_alone_waits_only_for_its_turn(void **state)
{
    (void)state;
    come(&connections[0]);
    ask(&connections[0], LIMIT_HTTP_TURN + 2);
    assert_int_equal(connections[0].answers, LIMIT_HTTP_TURN);
    while (answered < LIMIT_HTTP_TURN + 2) uv_run(&node.loop, UV_RUN_ONCE);
    assert_false(connections[0].paused);
    ask(&connections[0], 1);
    assert_int_equal(answered, LIMIT_HTTP_TURN + 3);
}

/* Who has waited in vain is the first one next time, however many others there are. */
static void who_waited_comes_first(void **state)
{
    (void)state;
    for (unsigned i = 0; i < CLIENTS; i++) come(&connections[i]);
    for (unsigned i = 0; i < CLIENTS; i++) ask(&connections[i], 8);
    for (unsigned ticks = 0; ticks < 3;) {
        unsigned before = answered;
        uv_run(&node.loop, UV_RUN_ONCE);
        ticks += answered > before;
    }
    for (unsigned i = 0; i < CLIENTS; i++) assert_true(connections[i].answers >= 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(many_get_a_bounded_part_of_the_loop, setup, teardown),
        cmocka_unit_test_setup_teardown(one_alone_waits_only_for_its_turn, setup, teardown),
        cmocka_unit_test_setup_teardown(who_waited_comes_first, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
