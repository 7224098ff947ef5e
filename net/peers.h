/* Links between the nodes of a cluster.
 *
 * Every node dials every other, and sends only on the connection that it dialed;
 * what others send comes on the connections that they dialed. So a link has one
 * owner: no two dials can collide, no message is lost because the loser of a
 * collision is closed under it, and a direction that a firewall blocks shows as
 * that direction being down. The price is a second TLS session a pair.
 *
 * A link that fails is dialed again: after 50 ms, doubling to 2 s, with full
 * jitter; at once when the peer connects to us, since then it is alive. A
 * reconnect resumes the TLS session when it can.
 *
 * The two links of a pair speak the newest version of the protocol that both
 * nodes know (net/tls.h). Each link has its own: whoever sends asks for it right
 * then, since the peer may come back as another release at any time.
 *
 * All functions run on the loop's thread.
 */
#ifndef NET_PEERS_H
#define NET_PEERS_H

#include "net/connection.h"
#include "net/listener.h"

struct peers;

struct peers_events {
    /* From a member, authenticated by its pin. Views valid during the call only. */
    void (*on_message)(uint32_t index, const struct frame *frame, void *data);
    /* Bytes came from it of a frame that is not whole yet; may be NULL. */
    void (*on_part)(uint32_t index, void *data);
    /* A frame of it was not whole in time (LIMIT_FRAME_MS), and its link is closed; may be NULL. */
    void (*on_overlong)(uint32_t index, void *data);
    void (*on_up)(uint32_t index, void *data);   /* peers_send works from here */
    void (*on_down)(uint32_t index, void *data); /* what was queued is lost */
    void (*on_writable)(uint32_t index, void *data); /* after ERR_BUSY; may be NULL */
};

struct peers_status {
    bool up;                /* our connection to it is open */
    bool heard;             /* its connection to us is open */
    uint64_t up_since_ns;   /* clock_monotonic_ns, 0: down */
    uint64_t heard_ns;      /* when a frame of it last came, or a part of one; 0: never */
    uint32_t failures;      /* dials failed since the last success */
    enum err last_error;    /* of the last dial or link */
    char text[160];         /* in words */
};

/* `self` is this node's index: never dialed. `bind` (may be NULL, copied): dial from this address. */
enum err peers_new(struct peers **out, struct network *n, uint32_t self, const struct address *bind,
                   const struct peers_events *events, void *data);
/* Stops dialing, closes all links, no more events; frees itself. After listener_close (the handler
 * points here), before network_close. */
void peers_close(struct peers *p);

/* Adds a member (index 1 .. LIMIT_NODES), or changes its address or pin; a changed one is dialed anew.
 * Keeps tls_set_pins of the network's context up to date. ERR_INVALID for a bad index or a pin twice. */
enum err peers_set(struct peers *p, uint32_t index, const struct address *address, const struct digest *pin);
/* Closes its links both ways and forgets it. */
void peers_remove(struct peers *p, uint32_t index);

/* Queues a frame on the link to `index`. ERR_UNREACHABLE: the link is down. ERR_BUSY: its queue is
 * full; nothing is ever dropped from it, the caller decides what to leave out. ERR_FRAME_TOO_LONG. */
enum err peers_send(struct peers *p, uint32_t index, uint32_t type, uint64_t id, struct bytes body);
/* The same in parts, some of them lent: see connection_send_parts. */
enum err peers_send_parts(struct peers *p, uint32_t index, uint32_t type, uint64_t id,
                          const struct send_part *parts, size_t count);
size_t peers_queued(const struct peers *p, uint32_t index); /* bytes not yet given to the kernel */
size_t peers_unacked(const struct peers *p, uint32_t index); /* these, and what its kernel did not acknowledge */
uint64_t peers_receiving_ms(const struct peers *p, uint32_t index); /* as connection_receiving_ms, of its link */
/* What waits to be sent to it is of no use any more: it is lost, and a new link is made. */
void peers_renew(struct peers *p, uint32_t index);
bool peers_up(const struct peers *p, uint32_t index);
unsigned peers_version(const struct peers *p, uint32_t index);       /* that we speak to it now; 0: the link is down */
unsigned peers_version_heard(const struct peers *p, uint32_t index); /* that it speaks to us: of what on_message gives */
void peers_status(const struct peers *p, uint32_t index, struct peers_status *out);

/* Stops and goes on with reading from a member (the driver is behind). When that lasts, its queue fills,
 * and after LIMIT_PEER_DEAD_MS without a byte taken it dials anew; what was queued is lost. */
void peers_pause(struct peers *p, uint32_t index);
void peers_resume(struct peers *p, uint32_t index);

/* What the listener needs to hand incoming links (TLS_ALPN_PEER) over. */
struct listener_handler peers_handler(struct peers *p);

#endif
