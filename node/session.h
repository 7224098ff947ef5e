/* A client's connection: greets, hands each message to the part that answers it.
 *
 * A session knows which actor it speaks for once a new request of that actor's has
 * verified here, and stands in the ledger. What an approved entry allows afterwards
 * (content, shares, leaves, following the log) is for that actor's sessions only.
 * A request that was there already, sent again, may come from anybody who saw its
 * entry, which holds all of it but attachments: so it opens its own entries, at
 * whichever node its sender goes on, and no others of its actor's, nor the ledger (admit.c).
 * Answers may come after the session is gone: jobs hold a session_ref.
 */
#ifndef NODE_SESSION_H
#define NODE_SESSION_H

#include "ledger/operation.h"
#include "net/connection.h"
#include "net/protocol.h"
#include "node/node.h"

struct session_follow;

/* What an approved ledger.export opens, to whom: entries [from, to); to 0: no end. */
struct export_permit {
    struct actor exporter;
    uint64_t from, to;
    uint64_t entry; /* its own */
};

/* The last request that this session sent and that stood in the ledger already. */
struct session_again {
    struct actor actor;
    uint32_t count;
    uint64_t leaves[LIMIT_OPERATIONS];
};

struct session {
    struct node *node;
    struct connection *connection; /* NULL once closed */
    struct session *next, *previous;
    unsigned references; /* jobs under way and the connection */
    bool greeted;
    bool known;          /* `actor` is set */
    struct actor actor;
    struct session_again again;
    struct actor key_actor;  /* whose key `key` is; ACTOR_NONE: none was looked up so far */
    struct sign_public key;
    bool may_export;     /* an approved ledger.export of this session, or shown to it, the last one */
    struct export_permit exported;
    bool export_again;   /* an approved ledger.export was sent to it that stood in the ledger already */
    size_t request_bytes; /* of its requests in flight */
    unsigned in_flight;  /* questions not answered yet */
    struct session_follow *follow;
};

/* For the listener: ALPN consilium/1. */
struct listener_handler session_handler(struct node *node);
void session_hold(struct session *s);
void session_release(struct session *s); /* frees with the last reference */

/* Answers; nothing happens when the session is closed. */
void session_send(struct session *s, uint32_t type, uint64_t id, const struct buffer *body);
void session_fail(struct session *s, uint64_t id, enum err code, const char *text, uint64_t retry_after_ms);

/* One question taken or answered, for the limit per connection. */
bool session_begin(struct session *s, uint64_t id); /* false: answered ERR_BUSY */
void session_end(struct session *s);

/* As whom the session may ask for all of these leaves, whoever's they are; false: as nobody. */
bool session_actor(struct actor *out, const struct session *s, const uint64_t *leaves, size_t count);

/* Whether the entries [from, to), not none, are among those. */
bool export_permits(const struct export_permit *permit, uint64_t from, uint64_t to);

/* Answers LEAVES, STORED and EVIDENCE that were not well-formed, or are of nobody who may export. A client of before
 * ADMIT, which sends its export to each node, is told what it lacks, by a code that says nothing of the ledger here. */
void session_refuse_export(struct session *s, uint64_t id, enum err code);

/* A notice to sessions that follow the log: new leaves are applied. */
void session_applied(struct node *node, uint64_t size);

#endif
