/* Inside chaos: what the clients and the test share, and what its files call of each other.
 *
 * chaos.c          what is drawn from the seed; begin and end
 * chaos_clients.c  the clients: what they do, and write down
 * chaos_told.c     what they were told, as a test asks for it under load
 * chaos_nodes.c    the nodes: who leads, orders to disks and clocks, ends and new starts
 * chaos_check.c    the check after the last fault
 */
#ifndef TESTS_LIB_CHAOS_INTERNAL_H
#define TESTS_LIB_CHAOS_INTERNAL_H

#include <jansson.h>
#include <stdatomic.h>
#include <unistd.h>

#include "tests/lib/chaos.h"

#define TOLD_MOST 200000u /* operations told to one client */

enum kind { EVENT, UPDATE, SHOW };

struct told {
    enum kind kind;
    unsigned number; /* of the event; the content */
    unsigned record; /* whose: the client's number; 0: none */
    uint64_t entry, version; /* of the ledger; of the record */
    uint64_t begun_ms, ended_ms;
};

/* Of each client (0: of chaos_readers). While it works nobody else writes there, but for `content`. */
struct client {
    atomic_uint count;
    char record[ID_TEXT_SIZE];
    atomic_uint content; /* of its record: acknowledged, or shown to anybody */
    atomic_uint event_tried, content_tried; /* the last numbers: who takes its place uses others, told of them or not */
    struct told told[TOLD_MOST];
    atomic_bool refused;
    char refusal[300]; /* when `refused` */
};

/* Mapped by the test before it forks, so that all write to the same; until chaos_close. */
struct chaos_shared {
    atomic_bool failed;
    char failure[2000];
    atomic_uint answered; /* chaos_readers */
    struct client clients[CHAOS_CLIENTS + 1];
};

static inline void sleep_ms(unsigned ms) { usleep(ms * 1000); }

/* ---- chaos.c ---- */

uint64_t chaos_random(uint64_t *state); /* advances it; not zero */

/* ---- chaos_clients.c ---- */

/* Fails the test with what a client found wrong, if one did. */
void chaos_look_for_failure(struct chaos *c);
/* Raises it, unless it is that high already. */
void chaos_at_least(atomic_uint *value, unsigned least);

/* ---- chaos_nodes.c ---- */

/* Of the row that a node tells about itself; NULL: no answer. Lent by *status, which is the caller's own. */
json_t *chaos_status_row(struct chaos *c, unsigned node, json_t **status);

#endif
