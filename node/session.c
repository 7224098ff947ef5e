#include "node/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "node/digest.h"
#include "node/notice.h"
#include "node/release.h"
#include "node/request.h"
#include "node/serve.h"
#include "node/status.h"

void session_hold(struct session *s) { s->references++; }

void session_release(struct session *s)
{
    CHECK(s->references > 0);
    if (--s->references == 0) free(s);
}

void session_send(struct session *s, uint32_t type, uint64_t id, const struct buffer *body)
{
    if (!s->connection) return;
    enum err e = body->failed ? ERR_TOO_LARGE : connection_send(s->connection, type, id, buffer_bytes(body));
    if (e == OK) return;
    /* A client that does not read its answers can't be told so either. */
    if (e == ERR_BUSY || e == ERR_CLOSED)
        connection_close(s->connection, ERR_BUSY, "answers are not read");
    else
        session_fail(s, id, e, "the answer is too large: ask for less at once", 0);
}

void session_fail(struct session *s, uint64_t id, enum err code, const char *text, uint64_t retry_after_ms)
{
    if (!s->connection) return;
    struct buffer body = {.limit = LIMIT_ANSWER};
    struct message_failed m = {.code = code, .text = bytes_text(text ? text : err_text(code)),
                               .retry_after_ms = retry_after_ms};
    message_failed_encode(&body, &m);
    if (connection_send(s->connection, MESSAGE_FAILED, id, buffer_bytes(&body)) != OK)
        connection_close(s->connection, ERR_BUSY, "answers are not read");
    buffer_free(&body);
}

bool session_begin(struct session *s, uint64_t id)
{
    if (s->in_flight >= LIMIT_REQUESTS_PER_CONNECTION) {
        session_fail(s, id, ERR_BUSY, "too many questions at once on this connection", 100);
        return false;
    }
    s->in_flight++;
    session_hold(s);
    return true;
}

void session_end(struct session *s)
{
    CHECK(s->in_flight > 0);
    s->in_flight--;
    session_release(s);
}

bool session_actor(struct actor *out, const struct session *s, const uint64_t *leaves, size_t count)
{
    size_t found = 0;
    for (size_t i = 0; i < count; i++)
        for (uint32_t j = 0; j < s->again.count; j++)
            if (s->again.leaves[j] == leaves[i]) {
                found++;
                break;
            }
    bool of_it = count > 0 && found == count;
    *out = of_it ? s->again.actor : s->actor;
    return of_it || s->known;
}

bool export_permits(const struct export_permit *permit, uint64_t from, uint64_t to)
{
    return from < to && from >= permit->from && (permit->to == 0 || to <= permit->to);
}

void session_refuse_export(struct session *s, uint64_t id, enum err code)
{
    if (code == ERR_UNAUTHORIZED && s->export_again)
        session_fail(s, id, ERR_ALPN, "an export made on another connection counts here only with its maker's "
                     "signature, which this consilium is too old to give", 0);
    else
        session_fail(s, id, code, NULL, 0);
}

static const char *warning_of(const struct node *node)
{
    struct driver_status d;
    driver_status(node->driver, &d);
    if (d.quarantined) return "COMPROMISED: this node's ledger contradicts the other nodes'; use another node";
    if (node->genesis.faulty == 0)
        return "this cluster survives crashes, but not a node that lies (b = 0)";
    return "";
}

static void greet(struct session *s, uint64_t id, struct bytes body)
{
    struct message_hello hello;
    enum err e = message_hello_decode(&hello, body);
    if (e == OK && hello.version != PROTOCOL_VERSION) e = ERR_VERSION;
    if (e != OK) {
        session_fail(s, id, e, NULL, 0);
        connection_close(s->connection, e, NULL);
        return;
    }
    struct node *node = s->node;
    struct message_welcome w = {
        .node = node->identity.descriptor.id,
        .member = node->self,
        .cluster = node->genesis.cluster,
        .now_ms = clock_wall_ms(),
        .nodes = node->genesis.member_count,
        .faulty = node->genesis.faulty,
        .quorum = node->genesis.quorum,
        .state = bytes_text(node_state(node)),
        .warning = bytes_text(warning_of(node)),
    };
    struct buffer out = {.limit = LIMIT_ANSWER};
    message_welcome_encode(&out, &w);
    s->greeted = true;
    notice_greet(s);
    session_send(s, MESSAGE_WELCOME, id, &out);
    buffer_free(&out);
}

/* What a node that can't trust its own state still answers: how it is, and what proves itself or
 * serves to find out what is wrong with it. */
static bool serves_quarantined(uint32_t type)
{
    return type == MESSAGE_STATUS || type == MESSAGE_CHECKPOINT || type == MESSAGE_LEAVES || type == MESSAGE_TILE ||
           type == MESSAGE_CONSISTENCY || type == MESSAGE_ALARMS || type == MESSAGE_STORED || type == MESSAGE_EVIDENCE;
}

static bool refuse_quarantined(struct session *s, const struct frame *frame)
{
    char text[300];
    const char *why = driver_quarantined_why(s->node->driver);
    if (!why[0] || serves_quarantined(frame->type)) return false;
    snprintf(text, sizeof text, "this node is quarantined: %s. Use another node", why);
    session_fail(s, frame->id, ERR_QUARANTINED, text, 0);
    return true;
}

/* What a client may ask; anything else is answered ERR_UNKNOWN_TYPE. */
static const struct {
    uint32_t type;
    void (*answer)(struct session *s, uint64_t id, struct bytes body);
} questions[] = {
    {MESSAGE_SUBMIT, request_submit},      {MESSAGE_PROVE, request_prove},
    {MESSAGE_LOOKUP, serve_lookup},        {MESSAGE_CONTENT, release_content},
    {MESSAGE_SHARES, release_shares},      {MESSAGE_STATUS, board_status},
    {MESSAGE_CHECKPOINT, serve_checkpoint}, {MESSAGE_KEYS, serve_keys},
    {MESSAGE_LEAVES, serve_leaves},        {MESSAGE_CONSISTENCY, serve_consistency},
    {MESSAGE_FOLLOW, serve_follow},        {MESSAGE_ALARMS, notice_alarms},
    {MESSAGE_DIGESTS, digest_serve},
    {MESSAGE_TILE, serve_tile},        {MESSAGE_STORED, serve_stored},
    {MESSAGE_PROVE_ROWS, request_prove_rows}, {MESSAGE_EVIDENCE, serve_evidence},
    {MESSAGE_ADMIT, serve_admit},
};

static void on_frame(struct connection *c, const struct frame *frame, void *data)
{
    (void)c;
    struct session *s = data;
    if (!s->greeted) {
        if (frame->type == MESSAGE_HELLO) {
            greet(s, frame->id, frame->body);
            return;
        }
        session_fail(s, frame->id, ERR_UNEXPECTED, "the first message must be HELLO", 0);
        connection_close(s->connection, ERR_UNEXPECTED, NULL);
        return;
    }
    for (size_t i = 0; i < sizeof questions / sizeof questions[0]; i++)
        if (questions[i].type == frame->type) {
            if (refuse_quarantined(s, frame)) return;
            questions[i].answer(s, frame->id, frame->body);
            return;
        }
    session_fail(s, frame->id, frame->type == MESSAGE_HELLO ? ERR_UNEXPECTED : ERR_UNKNOWN_TYPE, NULL, 0);
}

static void on_open(struct connection *c, void *data)
{
    struct node *node = data;
    struct session *s = xcalloc(1, sizeof *s);
    s->node = node;
    s->connection = c;
    s->references = 1;
    s->next = node->sessions;
    if (s->next) s->next->previous = s;
    node->sessions = s;
    node->counters.sessions++;
    connection_set_data(c, s);
}

/* Bad input: says what was wrong before the connection closes. */
static void on_fault(struct connection *c, enum err code, void *data)
{
    (void)c;
    struct session *s = data;
    s->node->counters.refused++;
    session_fail(s, 0, code, NULL, 0);
}

static bool is_waiting(struct connection *c, void *data)
{
    const struct session *s = data;
    (void)c;
    return s->references > 1 || s->follow;
}

static void on_close(struct connection *c, enum err code, const char *text, void *data)
{
    (void)code;
    (void)text;
    struct session *s = data;
    (void)c;
    follow_end(s);
    s->connection = NULL;
    if (s->previous)
        s->previous->next = s->next;
    else
        s->node->sessions = s->next;
    if (s->next) s->next->previous = s->previous;
    session_release(s);
}

void session_applied(struct node *node, uint64_t size)
{
    for (struct session *s = node->sessions, *next; s; s = next) {
        next = s->next;
        if (s->follow) follow_applied(s, size);
    }
}

struct listener_handler session_handler(struct node *node)
{
    return (struct listener_handler){
        .alpn = TLS_ALPN_CLIENT,
        .events = {.on_open = on_open, .on_frame = on_frame, .on_fault = on_fault, .is_waiting = is_waiting,
                   .on_close = on_close},
        .data = node,
        .idle_ms = (uint32_t)node->config->idle_seconds.number * 1000,
    };
}
