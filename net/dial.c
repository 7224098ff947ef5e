/* Dialing: look the name up, bind, connect to each address in turn, then hand
 * over to the handshake. Requests under way keep the connection's memory until
 * their callbacks have come, also when it is closed meanwhile. */
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "net/connection_state.h"

struct dial {
    uv_getaddrinfo_t lookup;
    uv_connect_t connect;
    struct addrinfo *results, *next; /* of the lookup; the next one to try */
    struct sockaddr_storage address; /* when numeric: no lookup */
    struct sockaddr_storage bind;
    bool has_bind, looking_up, connecting, retrying;
    uint64_t attempt_ms;
    struct address to;
};

static void give_up(struct connection *c, const char *what, int status)
{
    char to[ADDRESS_TEXT_SIZE], text[sizeof c->close_text];
    address_format(to, &c->dial->to);
    snprintf(text, sizeof text, "cannot %s %s: %s", what, to, uv_strerror(status));
    connection_finish(c, ERR_UNREACHABLE, text);
}

static void attempt(struct connection *c, const struct sockaddr *to);

static void on_retry(uv_handle_t *handle)
{
    struct connection *c = handle->data;
    struct dial *d = c->dial;
    d->retrying = false;
    if (c->phase == PHASE_CLOSED) {
        connection_handle_closed(handle);
        return;
    }
    struct addrinfo *next = d->next;
    d->next = next->ai_next;
    CHECK(uv_tcp_init(c->network->loop, &c->tcp) == 0);
    c->tcp.data = c;
    attempt(c, next->ai_addr);
}

/* A socket that failed to connect cannot be used again. */
static void try_next(struct connection *c)
{
    c->dial->retrying = true;
    uv_close((uv_handle_t *)&c->tcp, on_retry);
}

static void failed(struct connection *c, int status)
{
    if (c->dial->next)
        try_next(c);
    else
        give_up(c, "connect to", status);
}

static void on_connect(uv_connect_t *request, int status)
{
    struct connection *c = request->data;
    c->dial->connecting = false;
    if (c->phase == PHASE_CLOSED || c->dial->retrying) return; /* the closing handle's callback goes on */
    if (status != 0) {
        failed(c, status);
        return;
    }
    connection_connected(c);
    network_shake(c); /* writes the ClientHello */
}

static void attempt(struct connection *c, const struct sockaddr *to)
{
    struct dial *d = c->dial;
    d->attempt_ms = uv_now(c->network->loop);
    d->connect.data = c;
    address_from_socket(&c->remote, to);
    int code = 0;
    if (d->has_bind && d->bind.ss_family == to->sa_family)
        code = uv_tcp_bind(&c->tcp, (const struct sockaddr *)&d->bind, 0);
    if (code == 0) code = uv_tcp_connect(&d->connect, &c->tcp, to, on_connect);
    if (code == 0)
        d->connecting = true;
    else
        failed(c, code);
}

static void on_lookup(uv_getaddrinfo_t *request, int status, struct addrinfo *results)
{
    struct connection *c = request->data;
    struct dial *d = c->dial;
    d->looking_up = false;
    d->results = results;
    if (c->phase == PHASE_CLOSED) {
        if (c->gone_handle) connection_handle_closed((uv_handle_t *)&c->tcp);
        return;
    }
    if (status != 0) {
        give_up(c, "find the address of", status);
        return;
    }
    d->next = results->ai_next;
    attempt(c, results->ai_addr);
}

static int look_up(struct connection *c)
{
    struct dial *d = c->dial;
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    char port[8];
    snprintf(port, sizeof port, "%u", (unsigned)d->to.port);
    d->lookup.data = c;
    d->looking_up = true;
    int code = uv_getaddrinfo(c->network->loop, &d->lookup, on_lookup, d->to.host, port, &hints);
    if (code != 0) d->looking_up = false;
    return code;
}

static struct dial *dial_new(const struct address *to, const struct address *bind)
{
    struct dial *d = xcalloc(1, sizeof *d);
    d->to = *to;
    if (bind && !address_is_wildcard(bind)) {
        struct address any_port = *bind;
        any_port.port = 0;
        d->has_bind = address_to_socket(&d->bind, &any_port);
    }
    return d;
}

enum err connection_dial(struct connection **out, struct network *n, const struct address *to,
                         const struct address *bind, const char *alpn, const struct digest *pin,
                         const struct tls_ticket *ticket, const struct connection_events *events, void *data)
{
    struct tls_session *tls;
    if (n->closing) return ERR_CANCELED;
    enum err err = tls_client_new(&tls, n->tls, alpn, pin, ticket);
    if (err != OK) return err;
    struct connection *c = network_add(n);
    struct dial *d = c->dial = dial_new(to, bind);
    c->dialed = true;
    c->tls = tls;
    c->events = *events;
    c->data = data;
    CHECK(uv_tcp_init(n->loop, &c->tcp) == 0);
    c->tcp.data = c;
    if (address_to_socket(&d->address, to)) {
        attempt(c, (const struct sockaddr *)&d->address);
    } else {
        int code = look_up(c);
        if (code != 0) give_up(c, "find the address of", code);
    }
    *out = c;
    return OK;
}

void dial_sweep(struct connection *c, uint64_t now)
{
    struct dial *d = c->dial;
    if (d->retrying) return;
    if (now - c->since_ms >= c->network->options.handshake_ms)
        give_up(c, d->looking_up ? "find the address of" : "connect to", UV_ETIMEDOUT);
    else if (d->connecting && now - d->attempt_ms >= LIMIT_CONNECT_MS)
        failed(c, UV_ETIMEDOUT); /* a new attempt finds a healed network sooner than the kernel's next probe */
}

bool dial_cancel(struct connection *c)
{
    struct dial *d = c->dial;
    if (!d) return true;
    if (d->looking_up) (void)uv_cancel((uv_req_t *)&d->lookup); /* one on a worker comes back by itself */
    return !d->looking_up && !d->connecting;
}

void dial_free(struct connection *c)
{
    if (!c->dial) return;
    uv_freeaddrinfo(c->dial->results);
    free(c->dial);
    c->dial = NULL;
}
