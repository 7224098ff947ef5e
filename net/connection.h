/* A connection on the event loop: socket, TLS, frame reader, bounded send queue.
 *
 * The happy path of an accepted one:
 *   1. the listener accepts, counts, and makes a connection, which is read from at once; with
 *      hundreds more it waits its turn (connection_turn.c)
 *   2. its first record has come: it gets one of LIMIT_HANDSHAKE_PLACES, and with it a
 *      TLS session, or waits in its address's line (connection_party.c); handshake steps run on
 *      threads of their own, at a lower priority, at most LIMIT_HANDSHAKES at once (of dialed
 *      connections: on libuv's pool)
 *   3. the handshake is done: the handler for its ALPN is found, on_open
 *   4. frames come: on_frame for each, in turns (connection_turn.c); connection_send queues
 *      answers, and what one turn of the loop queued is encrypted and written together at its end
 *   5. connection_close or the other side's end: on_close, once; then it is gone
 * Failures, each with its code in on_close:
 *   - no handshake in LIMIT_HANDSHAKE_MS, or silent in it for LIMIT_HANDSHAKE_SILENT_MS while
 *     others wait for a place: ERR_HANDSHAKE_TIMEOUT; not TLS: ERR_NOT_TLS
 *   - wrong key, wrong ALPN: ERR_WRONG_PEER, ERR_ALPN
 *   - nothing heard for the idle time: ERR_IDLE; of LIMIT_CLIENTS the one that was idle for long, when another client
 *     comes: ERR_TOO_MANY_CONNECTIONS (listener.c)
 *   - a frame that is too long or not well-formed: its code; on_fault may answer first
 *   - a frame unfinished after LIMIT_FRAME_MS: ERR_TIMEOUT; the oldest one after LIMIT_CROWD_MS
 *     when all unfinished ones hold LIMIT_RECEIVE_TOTAL: ERR_BUSY; both through on_fault
 *   - more was taken of clients than is answered (network_take): no code, it is not read from for a while
 *   - the other side does not read: connection_send answers ERR_BUSY above
 *     LIMIT_SEND_QUEUE, and the connection is reset with ERR_SLOW_READER when nothing
 *     could be written for LIMIT_STALL_MS, or for LIMIT_CROWD_MS when all hold LIMIT_SEND_TOTAL;
 *     with LIMIT_UNREAD to read it is asked nothing more
 *   - the end of the stream inside a frame: ERR_TRUNCATED; between frames: OK
 *
 * All functions are called on the loop's thread. The network owns a connection
 * until on_close has returned; after connection_close no event but on_close comes.
 */
#ifndef NET_CONNECTION_H
#define NET_CONNECTION_H

#include <uv.h>

#include "net/address.h"
#include "net/frame.h"
#include "net/send_queue.h"
#include "net/tls.h"

struct network;    /* what the connections of one loop share: buffers, time-outs, the handshake queue */
struct connection;

struct network_options {
    uint32_t handshake_ms; /* 0: LIMIT_HANDSHAKE_MS */
    uint32_t idle_ms;      /* 0: LIMIT_IDLE_MS; of clients; links between peers have none (keepalive finds dead ones) */
    uint32_t stall_ms;     /* 0: LIMIT_STALL_MS */
    uint32_t frame_ms;     /* 0: LIMIT_FRAME_MS */
    uint32_t linger_ms;    /* 0: LIMIT_LINGER_MS */
    uint32_t handshakes;   /* 0: LIMIT_HANDSHAKES */
    uint32_t places;       /* 0: LIMIT_HANDSHAKE_PLACES */
    uint32_t silent_ms;    /* 0: LIMIT_HANDSHAKE_SILENT_MS */
    size_t send_queue;     /* 0: LIMIT_SEND_QUEUE; an empty queue takes any one frame */
    size_t send_total;     /* 0: LIMIT_SEND_TOTAL; this and the next two: of accepted connections */
    size_t send_most;      /* 0: LIMIT_SEND_MOST */
    size_t receive_total;  /* 0: LIMIT_RECEIVE_TOTAL */
    size_t taken_total;    /* 0: LIMIT_TAKEN_BYTES */
    uint32_t crowd_ms;     /* 0: LIMIT_CROWD_MS */
};

/* Counters since the start, for metrics. */
struct network_counters {
    uint64_t connections, open, handshakes_full, handshakes_resumed, handshakes_failed;
    uint64_t frames_in, frames_out, bytes_in, bytes_out; /* bytes encrypted, as on the wire */
    uint64_t faults;                                     /* closed for bad input */
};

/* What happens to a connection. `data` is the handler's, or what
 * connection_set_data said. Any callback but on_close may be NULL. */
struct connection_events {
    void (*on_open)(struct connection *c, void *data);
    /* Views valid during the call only. */
    void (*on_frame)(struct connection *c, const struct frame *frame, void *data);
    /* Bytes came of a frame that is not whole yet. */
    void (*on_part)(struct connection *c, void *data);
    /* Instead of on_frame on a raw connection: decrypted bytes as they come. */
    void (*on_raw)(struct connection *c, struct bytes bytes, void *data);
    /* Half or less of the send queue is used again, after ERR_BUSY. */
    void (*on_writable)(struct connection *c, void *data);
    /* Bad input: one last frame may be sent, it is flushed before the close. */
    void (*on_fault)(struct connection *c, enum err code, void *data);
    /* Whether it was asked something that is not answered yet, or waits for what it will be told: then it is not closed
     * to make room for others. NULL: never. */
    bool (*is_waiting)(struct connection *c, void *data);
    /* The last event. `code` OK: closed in order by either side. `text` for people. */
    void (*on_close)(struct connection *c, enum err code, const char *text, void *data);
};

/* The loop and the context outlive the network. The process ignores SIGPIPE from here on. ERR_IO: no file descriptor
 * is left. */
enum err network_new(struct network **out, uv_loop_t *loop, struct tls_context *tls,
                     const struct network_options *options);
/* Closes every connection (ERR_CANCELED), then calls `done`, in which the network may be freed. Once. */
void network_close(struct network *n, void (*done)(void *data), void *data);
void network_free(struct network *n); /* after `done` */
/* The upper layer holds so many bytes more of what clients asked, or fewer: above LIMIT_TAKEN_BYTES no client's large
 * frame is read on, which makes its sender wait. */
void network_take(struct network *n, size_t bytes);
void network_give(struct network *n, size_t bytes);
const struct network_counters *network_counters(const struct network *n);
uv_loop_t *network_loop(const struct network *n);
struct tls_context *network_tls(const struct network *n);

/* Dials. Names are resolved; `bind` (may be NULL) is the own address to dial from: its port is
 * ignored, and so is all of it when the family differs. on_open or on_close follows, never before
 * this returns. `ticket` (may be NULL) is read before this returns. */
enum err connection_dial(struct connection **out, struct network *n, const struct address *to,
                         const struct address *bind, const char *alpn, const struct digest *pin,
                         const struct tls_ticket *ticket, const struct connection_events *events,
                         void *data);

/* Queues a frame. OK: it will be written unless the connection closes. ERR_BUSY: the queue is
 * full, nothing queued (on_writable says when to go on). ERR_CLOSED. ERR_FRAME_TOO_LONG. */
enum err connection_send(struct connection *c, uint32_t type, uint64_t id, struct bytes body);
/* The same with the body's encoding in 1 to CONNECTION_PARTS_MAX parts, some of them lent (net/send_queue.h). Not
 * OK: nothing of them is released. */
#define CONNECTION_PARTS_MAX 32
enum err connection_send_parts(struct connection *c, uint32_t type, uint64_t id,
                               const struct send_part *parts, size_t count);
/* Bytes as they are, on a raw connection. */
enum err connection_write(struct connection *c, struct bytes bytes);
/* Something was sent, and the other machine's kernel acknowledged nothing in the last `ms` milliseconds. One whose
 * program doesn't read still acknowledges. false also where the kernel doesn't tell (tcp(7), TCP_INFO). Loop thread. */
bool connection_is_unheard(const struct connection *c, uint32_t ms);
size_t connection_queued(const struct connection *c); /* bytes not yet given to the kernel */
/* These, and those that the other machine's kernel has not acknowledged (tcp(7), SIOCOUTQ). Loop thread. */
size_t connection_unacked(const struct connection *c);
/* For how many ms a frame has been coming that is not whole yet; 0: none is. */
uint64_t connection_receiving_ms(const struct connection *c);
/* Writes now instead of at the end of the turn. */
void connection_flush(struct connection *c);

/* Stops and goes on with events for input; what has come is kept, and TCP slows the sender down. */
void connection_pause(struct connection *c);
void connection_resume(struct connection *c);

/* Closes after what is queued has been written (bounded by the stall time-out); on_close gets `code`
 * and `text` (NULL: the code's). A second call changes nothing. */
void connection_close(struct connection *c, enum err code, const char *text);
/* At once, dropping what is queued. on_close comes after this has returned. */
void connection_abort(struct connection *c, enum err code, const char *text);
/* The same, and the kernel, too, drops what waits, instead of offering it for minutes to who does not read. */
void connection_reset(struct connection *c, enum err code, const char *text);

void connection_set_data(struct connection *c, void *data);
void *connection_data(const struct connection *c);
const char *connection_alpn(const struct connection *c);                 /* from on_open; this, too: */
unsigned connection_alpn_version(const struct connection *c);
bool connection_peer_pin(const struct connection *c, struct digest *pin); /* false: showed none */
bool connection_resumed(const struct connection *c);
const struct address *connection_remote(const struct connection *c); /* numeric, with the port */
struct tls_ticket *connection_ticket_take(struct connection *c);     /* see tls_ticket_take */
uint64_t connection_serial(const struct connection *c);              /* unique in this process, for the log */

#endif
