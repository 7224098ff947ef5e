/* Turns for long scans of the ledger that clients ask for page by page (export and verification: LEAVES, STORED).
 *
 * Happy path: a page is asked for -> it waits for its turn -> it is read in a short transaction of its own and sent
 * -> the desk rests -> the next one. One page at a time in the whole node, so that checks of signatures wait for
 * none but that; and while entries are being written, pages take at most BULK_SHARE of a processor, however many
 * auditors there are. When nobody writes there is no rest.
 *
 * Loop thread only.
 */
#ifndef NODE_BULK_H
#define NODE_BULK_H

#include <uv.h>

#include "base/error.h"
#include "base/queue.h"

#define BULK_SHARE 16    /* one part in so many, of one processor, while entries are written */
#define BULK_REST_MS 500 /* the longest rest: a page is not so long, but its thread may have been held up */

struct bulk;

/* Embedded in what waits. */
struct bulk_turn {
    void *data;
    void (*begin)(struct bulk_turn *turn);  /* bulk_end follows, now or later */
    void (*refuse)(struct bulk_turn *turn); /* instead: the desk stops */
    struct queue_link link;
};

/* `size` says how many entries there are: whether it grew since the turn before decides about the rest. */
struct bulk *bulk_new(uv_loop_t *loop, void *data, uint64_t (*size)(void *data));
/* OK: `begin` or `refuse` is called once, maybe before this returns. ERR_BUSY, and neither: LIMIT_SCANS wait. */
enum err bulk_add(struct bulk *b, struct bulk_turn *turn);
size_t bulk_waiting(const struct bulk *b);
/* The turn that began is over; it took so much of a processor's time. */
void bulk_end(struct bulk *b, uint64_t took_ns);
void bulk_stop(struct bulk *b); /* refuses what waits, and from now on all; fine when NULL */
void bulk_free(struct bulk *b); /* after the loop has closed its handles */

#endif
