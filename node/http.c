#include "node/http.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "node/http_desk.h"

#define TIMER_MS 250

/* --- answers --- */

static const char *reason_of(unsigned status)
{
    static const struct { unsigned status; const char *reason; } known[] = {
        {200, "OK"}, {304, "Not Modified"}, {400, "Bad Request"}, {403, "Forbidden"}, {404, "Not Found"},
        {405, "Method Not Allowed"}, {408, "Request Timeout"}, {413, "Content Too Large"}, {414, "URI Too Long"},
        {431, "Request Header Fields Too Large"}, {500, "Internal Server Error"}, {501, "Not Implemented"},
        {503, "Service Unavailable"}, {505, "HTTP Version Not Supported"}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (known[i].status == status) return known[i].reason;
    CHECK(!"a status that is answered");
    return "";
}

/* RFC 9110 5.6.7, in no locale. */
static void append_date(struct buffer *out)
{
    static const char days[] = "SunMonTueWedThuFriSat", months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    time_t now = time(NULL);
    struct tm tm;
    gmtime_r(&now, &tm);
    buffer_printf(out, "Date: %.3s, %02d %.3s %d %02d:%02d:%02d GMT\r\n", days + 3 * tm.tm_wday, tm.tm_mday,
                  months + 3 * tm.tm_mon, tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
}

static void append_head(struct buffer *out, const struct http_client *k, const struct http_answer *a)
{
    buffer_printf(out, "HTTP/1.1 %u %s\r\n", a->status, reason_of(a->status));
    append_date(out);
    buffer_printf(out, "Cache-Control: %s\r\n", a->cache ? a->cache : "no-store");
    if (a->tag) buffer_printf(out, "ETag: %s\r\n", a->tag);
    if (a->retry_after_s) buffer_printf(out, "Retry-After: %u\r\n", a->retry_after_s);
    if (a->status == 405) buffer_append_text(out, "Allow: GET, HEAD\r\n");
    if (a->status != 304)
        buffer_printf(out, "Content-Type: %s\r\nContent-Length: %zu\r\nX-Content-Type-Options: nosniff\r\n",
                      a->type ? a->type : "text/plain; charset=utf-8", a->body.size);
    buffer_printf(out, "Connection: %s\r\n\r\n", k->keep_alive ? "keep-alive" : "close");
}

static void close_client(struct http_client *k, enum err code)
{
    k->closing = true;
    if (k->connection) connection_close(k->connection, code, NULL);
}

void http_answer(struct http_client *k, const struct http_answer *a)
{
    struct buffer out = {.limit = LIMIT_HTTP_QUEUE};
    k->answering = false;
    if (!k->connection || k->closing) return;
    append_head(&out, k, a);
    if (!k->head && a->status != 304) buffer_append_bytes(&out, a->body);
    if (out.failed || connection_write(k->connection, buffer_bytes(&out)) != OK) {
        close_client(k, ERR_BUSY);
    } else if (!k->keep_alive) {
        close_client(k, OK);
    }
    buffer_free(&out);
}

void http_say(struct http_client *k, unsigned status, const char *text)
{
    struct buffer body = {0};
    buffer_printf(&body, "%s\n", text);
    http_answer(k, &(struct http_answer){.status = status, .retry_after_s = status == 503,
                                         .body = buffer_bytes(&body)});
    buffer_free(&body);
}

/* A request that can't be read is the connection's last. */
static void refuse(struct http_client *k, unsigned status)
{
    k->desk->refused++;
    k->keep_alive = false;
    k->head = false;
    http_say(k, status, reason_of(status));
}

/* --- requests --- */

static void take_request(struct http_client *k)
{
    const struct http_request *request = http_reader_request(k->reader);
    k->desk->requests++;
    k->head = request->head;
    k->keep_alive = request->keep_alive;
    http_page(k, request);
}

static void drop_used(struct http_client *k, size_t used)
{
    if (used == k->pending.size) {
        buffer_free(&k->pending); /* most connections are silent most of the time */
        return;
    }
    memmove(k->pending.data, k->pending.data + used, k->pending.size - used);
    k->pending.size -= used;
}

static bool may_go_on(const struct http_client *k) { return !k->answering && !k->closing && k->connection; }

/* Requests that came together are answered in order, a few in a row; the others wait for the timer or
 * for their turn, with everybody else's. What all of them may have until the timer comes is limited, too: a
 * thousand connections of somebody outside must not keep the loop from the other nodes. */
void http_go_on(struct http_client *k)
{
    struct http_desk *desk = k->desk;
    size_t at = 0, used;
    unsigned turn = 0;
    k->blocked = desk->left == 0;
    while (may_go_on(k) && at < k->pending.size && !k->blocked) {
        bool begun = http_reader_begun(k->reader);
        enum http_outcome outcome =
            http_reader_feed(k->reader, &used, bytes_of(k->pending.data + at, k->pending.size - at));
        at += used;
        if (!begun) k->since_ms = uv_now(&desk->node->loop);
        if (outcome != HTTP_INCOMPLETE) desk->left--;
        switch (outcome) {
        case HTTP_INCOMPLETE: break;
        case HTTP_COMPLETE: take_request(k); break;
        case HTTP_REFUSED: refuse(k, http_reader_status(k->reader)); break;
        }
        k->blocked = ++turn >= desk->turn || desk->left == 0 ||
                     (k->connection && connection_queued(k->connection) > LIMIT_HTTP_QUEUE);
    }
    drop_used(k, at);
    if (!k->connection || k->closing) return;
    if (k->answering || k->blocked)
        connection_pause(k->connection);
    else
        connection_resume(k->connection);
}

/* --- connections --- */

static void on_raw(struct connection *c, struct bytes bytes, void *data)
{
    struct http_client *k = data;
    (void)c;
    if (k->closing) return;
    buffer_append_bytes(&k->pending, bytes);
    if (k->pending.failed) {
        close_client(k, ERR_NOMEM);
    } else if (may_go_on(k)) {
        http_go_on(k);
    }
}

static void on_open(struct connection *c, void *data)
{
    struct http_desk *desk = ((struct node *)data)->http;
    struct http_client *k = xcalloc(1, sizeof *k);
    k->desk = desk;
    k->connection = c;
    k->reader = http_reader_new();
    k->next = desk->clients;
    if (k->next) k->next->previous = k;
    desk->clients = k;
    connection_set_data(c, k);
    if (++desk->count <= LIMIT_HTTP_CONNECTIONS && k->reader) return;
    desk->refused++;
    http_say(k, 503, "too many connections"); /* keep_alive is not set: it closes */
}

static bool is_waiting(struct connection *c, void *data)
{
    const struct http_client *k = data;
    (void)c;
    return k->answering || k->blocked;
}

void http_client_free(struct http_client *k)
{
    http_reader_free(k->reader);
    buffer_free(&k->pending);
    buffer_free(&k->body);
    free(k);
}

static void on_close(struct connection *c, enum err code, const char *text, void *data)
{
    struct http_client *k = data;
    struct http_desk *desk = k->desk;
    (void)c;
    (void)code;
    (void)text;
    k->connection = NULL;
    desk->count--;
    if (k->previous)
        k->previous->next = k->next;
    else
        desk->clients = k->next;
    if (k->next) k->next->previous = k->previous;
    if (http_leave(k)) http_client_free(k);
}

static bool is_ready(const struct http_client *k)
{
    return may_go_on(k) && k->blocked && connection_queued(k->connection) <= LIMIT_HTTP_QUEUE / 2;
}

/* Those that waited in vain last time come first, so that everybody comes. */
static void serve_blocked(struct http_desk *desk, bool missed)
{
    for (struct http_client *k = desk->clients, *next; k && desk->left > 0; k = next) {
        next = k->next;
        if (k->served || k->missed != missed || !is_ready(k)) continue;
        k->missed = false;
        k->served = true;
        http_go_on(k);
    }
}

static void on_timer(uv_timer_t *timer)
{
    struct http_desk *desk = timer->data;
    uint64_t now = uv_now(timer->loop);
    unsigned blocked = 0;
    for (struct http_client *k = desk->clients; k; k = k->next) {
        k->served = false;
        blocked += is_ready(k);
    }
    desk->left = LIMIT_HTTP_TICK;
    desk->turn = blocked > LIMIT_HTTP_TICK / LIMIT_HTTP_TURN ? LIMIT_HTTP_TICK / blocked : LIMIT_HTTP_TURN;
    if (desk->turn == 0) desk->turn = 1;
    serve_blocked(desk, true);
    serve_blocked(desk, false);
    for (struct http_client *k = desk->clients, *next; k; k = next) {
        next = k->next;
        k->missed = !k->served && is_ready(k);
        if (may_go_on(k) && !k->blocked && http_reader_begun(k->reader) && now - k->since_ms >= LIMIT_HTTP_REQUEST_MS)
            refuse(k, 408);
    }
}

/* --- the desk --- */

enum err http_desk_new(struct http_desk **out, struct node *node)
{
    struct http_desk *desk = xcalloc(1, sizeof *desk);
    desk->node = node;
    desk->left = LIMIT_HTTP_TICK;
    desk->turn = LIMIT_HTTP_TURN;
    CHECK(uv_timer_init(&node->loop, &desk->timer) == 0);
    desk->timer.data = desk;
    CHECK(uv_timer_start(&desk->timer, on_timer, TIMER_MS, TIMER_MS) == 0);
    *out = desk;
    return OK;
}

struct listener_handler http_handler(struct node *node)
{
    return (struct listener_handler){
        .alpn = TLS_ALPN_HTTP,
        .raw = true,
        .events = {.on_open = on_open, .on_raw = on_raw, .is_waiting = is_waiting, .on_close = on_close},
        .data = node,
        .idle_ms = LIMIT_HTTP_IDLE_MS,
    };
}

void http_desk_stop(struct http_desk *desk)
{
    if (!desk || uv_is_closing((uv_handle_t *)&desk->timer)) return;
    uv_close((uv_handle_t *)&desk->timer, NULL);
    for (struct http_client *k = desk->clients; k; k = k->next)
        close_client(k, ERR_STOPPED);
}

void http_desk_free(struct http_desk *desk)
{
    if (!desk) return;
    CHECK(!desk->clients);
    free(desk);
}
