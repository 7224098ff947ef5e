/* HTTP/1.1 on the node's port, for monitors and operators' tools; nothing of any person.
 *
 *   /checkpoint            the newest witnessed checkpoint (C2SP tlog-checkpoint)
 *   /tile/<L>/<N>[.p/<W>]  hashes of the tree (C2SP tlog-tiles), as far as that checkpoint goes
 *   /tile/entries/...      403: entries are for auditors, who export them with the client
 *   /health                200 "ready", or 503 and why not
 *   /metrics               counters, as Prometheus reads them
 *
 * TLS like everything else, with the node's own certificate: clients that negotiate
 * http/1.1, or no protocol at all. GET and HEAD.
 *
 * The happy path of a connection:
 *   1. on_raw: bytes go through the reader (net/http_request.h) up to the end of one request
 *   2. its page is answered at once, or, a tile, read from the state on a worker; meanwhile the
 *      connection is paused
 *   3. the answer is queued; then the next request, of those that came with it
 * Failures: a request that is refused is answered, and the connection closes; one that isn't whole
 * after LIMIT_HTTP_REQUEST_MS gets 408. Who doesn't read gets no further answers, and the
 * connection's own limits end it. All connections together have LIMIT_HTTP_TICK requests answered in a quarter
 * of a second; others wait, and who waited in vain comes first. A tile waits its turn: LIMIT_HTTP_READS are
 * read at once, so that anybody's questions cost no more than one processor. None is kept in memory: to read
 * one takes half a millisecond, a TLS handshake ten times that, and what caches are in between may keep them
 * for ever.
 *
 * Loop thread. */
#ifndef NODE_HTTP_H
#define NODE_HTTP_H

#include "net/listener.h"
#include "node/node.h"

struct http_desk;

enum err http_desk_new(struct http_desk **out, struct node *node);
/* For the listener: ALPN http/1.1. */
struct listener_handler http_handler(struct node *node);
void http_desk_stop(struct http_desk *desk); /* before the loop ends; NULL is allowed */
void http_desk_free(struct http_desk *desk); /* after all connections are gone */

#endif
