/* Accepting: count, make a connection, start its handshake; when that is done,
 * the handler of its ALPN takes it over. */
#include "net/listener.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "net/connection_state.h"

#define BACKLOG 1024
#define HANDLERS_MAX 4
#define RESERVED 64        /* places that clients never have: for links between nodes, and for handshakes */
#define FRESH_MS 250       /* so long a handshake, or a silent client, is left alone, however many come */
#define LOOKED_AT 64       /* clients that wait, for one that does not */

struct listener {
    struct connection_owner owner; /* first: the connections know only this */
    struct network *network;
    uv_tcp_t tcp;
    uv_timer_t next_turn;
    struct address address;
    struct listener_options options;
    struct listener_handler handlers[HANDLERS_MAX];
    size_t handler_count;
    uint32_t connections;
    uint32_t leaving; /* of these: closed to make room */
    uint32_t clients; /* of these: open, no link between nodes, and not leaving */
    struct connection_list fresh; /* in the handshake, oldest first */
    struct connection_list open;  /* these clients, the one that was silent for longest first */
    uint64_t refused;
    uint64_t told_ms, made_room_ms; /* when a refusal was last logged; who left for another one */
    bool closing;
    unsigned handles; /* not yet closed */
    struct parties parties;
};

/* --- what connections ask and tell --- */

static void free_if_done(struct listener *l)
{
    if (l->closing && l->handles == 0 && l->connections == 0) free(l);
}

static void begin_fresh(struct listener *l, struct connection *c)
{
    c->is_fresh = true;
    TAILQ_INSERT_TAIL(&l->fresh, c, heard);
    TAILQ_INSERT_TAIL(&c->party->fresh, c, kin);
}

static void no_longer_fresh(struct listener *l, struct connection *c)
{
    if (!c->is_fresh) return;
    c->is_fresh = false;
    TAILQ_REMOVE(&l->fresh, c, heard);
    TAILQ_REMOVE(&c->party->fresh, c, kin);
}

/* Places that clients never have; of few, an eighth. */
static uint32_t reserve_of(uint32_t places) { return places / 8 < RESERVED ? places / 8 : RESERVED; }

static uint32_t most_clients(const struct listener *l)
{
    uint32_t most = l->options.connections - reserve_of(l->options.connections);
    return l->options.clients < most ? l->options.clients : most;
}

/* One party's clients are limited; beside them it may have links between nodes, and handshakes. */
static uint32_t most_of_party(const struct listener *l)
{
    uint32_t clients = l->options.connections_per_address;
    return clients + reserve_of(clients);
}

static void count_client(struct listener *l, struct connection *c)
{
    c->is_counted = true;
    c->party->clients++;
    l->clients++;
    TAILQ_INSERT_TAIL(&l->open, c, heard);
}

static void no_longer_client(struct listener *l, struct connection *c)
{
    if (!c->is_counted) return;
    c->is_counted = false;
    c->party->clients--;
    l->clients--;
    TAILQ_REMOVE(&l->open, c, heard);
}

static bool is_waiting(struct connection *c)
{
    return c->phase != PHASE_OPEN || crowd_queued(c) > 0 ||
           (c->events.is_waiting && c->events.is_waiting(c, c->data));
}

static void leave(struct listener *l, struct connection *c)
{
    c->is_leaving = true;
    c->party->leaving++;
    l->leaving++;
}

static void is_active(struct connection_owner *owner, struct connection *c)
{
    struct listener *l = (struct listener *)owner;
    if (!c->is_counted) return;
    TAILQ_REMOVE(&l->open, c, heard);
    TAILQ_INSERT_TAIL(&l->open, c, heard);
}

/* Who waits is looked at again once all others were. */
static struct connection *idle_client(struct listener *l)
{
    struct connection *c = TAILQ_FIRST(&l->open);
    for (unsigned i = 0; i < LOOKED_AT && i < l->clients && is_waiting(c); i++) {
        is_active(&l->owner, c);
        c = TAILQ_FIRST(&l->open);
    }
    return c && !is_waiting(c) && uv_now(l->network->loop) - c->active_ms >= FRESH_MS ? c : NULL;
}

/* Clients that only hold a connection fill all places, and memory, for little: one that was idle for long goes, and
 * comes again when it has something to say. */
static bool make_room_for_client(struct listener *l)
{
    struct connection *c = idle_client(l);
    uint64_t now = uv_now(l->network->loop);
    if (!c) return false;
    no_longer_client(l, c);
    leave(l, c);
    connection_finish(c, ERR_TOO_MANY_CONNECTIONS, "idle, and others needed its place");
    if (l->made_room_ms && now - l->made_room_ms < 60000) return true;
    l->made_room_ms = now;
    log_warning("net", "all %u places of clients are taken: those that were idle for long are closed for others",
                most_clients(l));
    return true;
}

static bool choose(struct connection_owner *owner, struct connection *c)
{
    struct listener *l = (struct listener *)owner;
    no_longer_fresh(l, c);
    if (l->closing) return false;
    bool client = strcmp(tls_alpn(c->tls), TLS_ALPN_PEER) != 0;
    if (client && (c->party->clients >= l->options.connections_per_address ||
                   (l->clients >= most_clients(l) && !make_room_for_client(l)))) {
        connection_finish(c, ERR_TOO_MANY_CONNECTIONS, NULL);
        return false;
    }
    if (client) count_client(l, c);
    for (size_t i = 0; i < l->handler_count; i++) {
        const struct listener_handler *h = &l->handlers[i];
        if (strcmp(h->alpn, tls_alpn(c->tls)) != 0) continue;
        c->events = h->events;
        c->data = h->data;
        c->raw = h->raw;
        c->idle_ms = h->idle_ms == UINT32_MAX ? 0 : h->idle_ms ? h->idle_ms : l->network->options.idle_ms;
        return true;
    }
    return false;
}

static void gone(struct connection_owner *owner, struct connection *c)
{
    struct listener *l = (struct listener *)owner;
    no_longer_fresh(l, c);
    no_longer_client(l, c);
    c->party->leaving -= c->is_leaving;
    l->leaving -= c->is_leaving;
    party_leave(&l->parties, c);
    l->connections--;
    free_if_done(l);
}

/* --- accepting --- */

/* At most a line a second: who floods us with connections must not flood the log too. */
static void refuse(struct listener *l, const char *why)
{
    uint64_t now = uv_now(l->network->loop);
    l->refused++;
    if (l->told_ms && now - l->told_ms < 1000) return;
    l->told_ms = now;
    log_warning("net", "connection refused: %s (%llu so far)", why, (unsigned long long)l->refused);
}

/* Connections that say nothing fill all places, or those of their party, for little: the one that has
 * been at its handshake for longest goes, so that other nodes and clients still come in. */
static bool make_room(struct listener *l, struct connection *oldest)
{
    if (!oldest || uv_now(l->network->loop) - oldest->since_ms < FRESH_MS) return false;
    no_longer_fresh(l, oldest);
    leave(l, oldest);
    connection_finish(oldest, ERR_TOO_MANY_CONNECTIONS, NULL);
    return true;
}

/* With this one. */
static const char *over_limit(struct listener *l, const struct connection *c)
{
    const struct party *p = c->party;
    if (p->connections - p->leaving > most_of_party(l) && !make_room(l, TAILQ_FIRST(&p->fresh)))
        return "too many connections from one address";
    if (l->connections - l->leaving > l->options.connections && !make_room(l, TAILQ_FIRST(&l->fresh)))
        return err_text(ERR_TOO_MANY_CONNECTIONS);
    return NULL;
}

static void take(struct listener *l)
{
    uint64_t begun = uv_hrtime();
    struct connection *c = network_add(l->network);
    CHECK(uv_tcp_init(l->network->loop, &c->tcp) == 0);
    c->tcp.data = c;
    CHECK(uv_accept((uv_stream_t *)&l->tcp, (uv_stream_t *)&c->tcp) == 0);
    connection_connected(c);
    party_join(&l->parties, c);
    l->connections++;
    const char *why = over_limit(l, c);
    c->owner = &l->owner;
    if (why) {
        refuse(l, why);
        connection_finish(c, ERR_TOO_MANY_CONNECTIONS, why);
    } else {
        begin_fresh(l, c);
        connection_accepted(c, &l->owner);
    }
    turn_took_time(l->network, TURN_ACCEPT, begun);
}

/* libuv kept the one that was not taken, and listens again once it is. */
static void on_next_turn(uv_timer_t *timer)
{
    struct listener *l = timer->data;
    if (!l->closing) take(l);
}

static void on_connection(uv_stream_t *stream, int status)
{
    struct listener *l = stream->data;
    if (status != 0) {
        /* Out of descriptors, libuv has taken the connection with one kept in reserve and closed it:
         * the backlog empties, nothing spins, and those who tried see a closed connection. */
        refuse(l, uv_strerror(status));
        return;
    }
    if (turn_has_time(l->network, TURN_ACCEPT))
        take(l);
    else /* libuv has no end: this one and those behind it wait, so that everybody else has a turn, too */
        CHECK(uv_timer_start(&l->next_turn, on_next_turn, TURN_SPAN_MS, 0) == 0);
}

static enum err listen_failed(const struct address *address, int status, struct failure *failure)
{
    char text[ADDRESS_TEXT_SIZE];
    address_format(text, address);
    enum err err = status == UV_EADDRINUSE                        ? ERR_IN_USE
                   : status == UV_EACCES || status == UV_EPERM    ? ERR_PERMISSION
                   : status == UV_EADDRNOTAVAIL                   ? ERR_INVALID
                                                                  : ERR_IO;
    return fail(failure, err, "cannot listen on %s: %s", text, uv_strerror(status));
}

static int start(struct listener *l, const struct sockaddr_storage *at)
{
    struct sockaddr_storage got;
    int size = sizeof got;
    int code = uv_tcp_bind(&l->tcp, (const struct sockaddr *)at, 0);
    if (code == 0) connection_tune_accepted(l->network, &l->tcp);
    if (code == 0) code = uv_listen((uv_stream_t *)&l->tcp, BACKLOG, on_connection);
    if (code == 0) code = uv_tcp_getsockname(&l->tcp, (struct sockaddr *)&got, &size);
    if (code == 0) address_from_socket(&l->address, (struct sockaddr *)&got);
    return code;
}

static void on_closed(uv_handle_t *handle)
{
    struct listener *l = handle->data;
    l->handles--;
    free_if_done(l);
}

enum err listener_new(struct listener **out, struct network *n, const struct address *address,
                      const struct listener_handler *handlers, size_t count, const struct listener_options *options,
                      struct failure *failure)
{
    struct sockaddr_storage at;
    CHECK(count > 0 && count <= HANDLERS_MAX);
    if (!address_to_socket(&at, address))
        return fail(failure, ERR_INVALID, "cannot listen on '%s': a numeric address is needed", address->host);
    struct listener *l = xcalloc(1, sizeof *l);
    l->owner = (struct connection_owner){choose, is_active, gone};
    TAILQ_INIT(&l->fresh);
    TAILQ_INIT(&l->open);
    l->network = n;
    l->options = options ? *options : (struct listener_options){0};
    if (!l->options.connections) l->options.connections = LIMIT_CONNECTIONS;
    if (!l->options.clients) l->options.clients = LIMIT_CLIENTS;
    if (!l->options.connections_per_address) l->options.connections_per_address = LIMIT_CONNECTIONS_PER_ADDRESS;
    memcpy(l->handlers, handlers, count * sizeof *handlers);
    l->handler_count = count;
    CHECK(uv_tcp_init(n->loop, &l->tcp) == 0 && uv_timer_init(n->loop, &l->next_turn) == 0);
    l->tcp.data = l->next_turn.data = l;
    l->handles = 2;
    int code = start(l, &at);
    if (code != 0) {
        listener_close(l);
        return listen_failed(address, code, failure);
    }
    *out = l;
    return OK;
}

void listener_close(struct listener *l)
{
    CHECK(!l->closing);
    l->closing = true;
    uv_close((uv_handle_t *)&l->tcp, on_closed);
    uv_close((uv_handle_t *)&l->next_turn, on_closed);
}

const struct address *listener_address(const struct listener *l) { return &l->address; }
uint32_t listener_connections(const struct listener *l) { return l->connections; }
uint64_t listener_refused(const struct listener *l) { return l->refused; }
