/* What waits to be sent on a connection: bytes in order. Small parts are copied together; large ones may be lent,
 * so that what goes to several peers, and is needed here besides, stands in memory once. Memory goes back piece by
 * piece, as soon as all bytes of a piece were taken.
 */
#ifndef NET_SEND_QUEUE_H
#define NET_SEND_QUEUE_H

#include "base/bytes.h"
#include "base/limits.h"
#include "base/queue.h"

#define SEND_RECORD (16 * KIB) /* a TLS record's most (RFC 8446, 5.1): no less is encrypted at once, if there is more */

struct send_part {
    struct bytes bytes;
    /* NULL: the bytes are copied. Else they stay as they are until release(owner), which comes once: when they were
     * taken, or with send_queue_free. */
    void (*release)(void *owner);
    void *owner;
};

/* Zero-initialised is empty. */
struct send_queue {
    struct queue pieces;
    size_t size; /* bytes not taken yet */
};

/* All parts, or nothing (ERR_NOMEM): then nothing of them is released. */
enum err send_queue_add(struct send_queue *q, const struct send_part *parts, size_t count);
/* The first bytes, at most `most`, which is a record or more: whole records as long as there are more than that. A
 * view into the queue, or, gathered from small pieces, into `record`. Empty: nothing waits. */
struct bytes send_queue_first(const struct send_queue *q, uint8_t record[static SEND_RECORD], size_t most);
/* So many of the first bytes are done with; there are no fewer. */
void send_queue_take(struct send_queue *q, size_t size);
/* Empties it. */
void send_queue_free(struct send_queue *q);

#endif
