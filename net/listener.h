/* One port for everybody: peers, clients and HTTP, told apart by ALPN. */
#ifndef NET_LISTENER_H
#define NET_LISTENER_H

#include "net/connection.h"

struct listener;

/* Who gets the connections of one ALPN. */
struct listener_handler {
    const char *alpn; /* one of TLS_ALPN_* */
    bool raw;         /* on_raw instead of on_frame */
    struct connection_events events;
    void *data;
    uint32_t idle_ms; /* 0: the network's; UINT32_MAX: none */
};

struct listener_options {
    uint32_t connections;             /* 0: LIMIT_CONNECTIONS */
    uint32_t clients;                 /* of these; 0: LIMIT_CLIENTS */
    uint32_t connections_per_address; /* clients; 0: LIMIT_CONNECTIONS_PER_ADDRESS */
};

/* Listens on a numeric address. Handlers are copied; an ALPN without a handler is refused.
 * ERR_IN_USE, ERR_PERMISSION, ERR_INVALID, ERR_IO, with a text that names the address.
 * A client over the limit of clients takes the place of one that was idle for long (ERR_TOO_MANY_CONNECTIONS).
 * Any other connection over a limit is accepted and closed at once, and counted; so is one that comes when
 * the process has no file descriptors left (EMFILE). Connections per address: per /64 for IPv6. */
enum err listener_new(struct listener **out, struct network *n, const struct address *address,
                      const struct listener_handler *handlers, size_t count,
                      const struct listener_options *options, struct failure *failure);
/* Stops accepting; open connections stay. Frees itself. Before network_close. */
void listener_close(struct listener *l);
/* The address listened on, with the port that the kernel chose for port 0. */
const struct address *listener_address(const struct listener *l);
uint32_t listener_connections(const struct listener *l); /* accepted and not yet closed */
uint64_t listener_refused(const struct listener *l);     /* for a limit, since the start */

#endif
