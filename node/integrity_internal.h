/* Inside of node/integrity*.c: findings, and what became of each.
 *
 * A finding goes through, in this order:
 *   KEEPING   the durable note is being written             stored -> RAISING
 *   RAISING   not in the ledger so far, or there it doesn't count and this node hasn't said so; said again and again
 *                                                           a row of its key counts, or has this node's word -> RAISED
 *   RAISED    people are warned                             repaired -> CLOSING; the row is closed -> gone
 *   CLOSING   this node takes its word back                 the row is closed, or others' alone -> gone
 * `stored`, `alarm.index` and `repaired` say which; one request to the ledger is under way at a time. */
#ifndef NODE_INTEGRITY_INTERNAL_H
#define NODE_INTEGRITY_INTERNAL_H

#include "node/integrity.h"

#define FINDINGS_OF_OTHERS 48 /* of INTEGRITY_FINDINGS: the rest is for what this node finds in itself */
#define SPOKEN_MS (10 * 60 * 1000)
#define FINDINGS_PER_NODE 6   /* about one other node: it may make as much trouble as it likes */

struct kept {
    struct alarm alarm; /* index 0: not in the ledger so far; since_ms is this node's clock then */
    char text[INTEGRITY_TEXT];
    struct buffer evidence; /* of ALARM_FORKED */
    uint64_t said_first, said_last; /* as the ledger has it */
    bool spoken_for;        /* a quarantined peer's own finding: it can't raise it itself */
    bool repaired;
    bool carried;           /* from a state before this one */
    bool inherited;         /* found before this start, and not again since */
    bool stored, storing, dirty, gone; /* the durable note; gone: the entry is free once no write is under way */
    uint64_t next_ms;       /* not said before; monotonic */
    unsigned tries;
};

struct integrity {
    struct node *node;
    uv_timer_t timer;
    struct kept *kept[INTEGRITY_FINDINGS];
    size_t count;
    uint64_t lost, lost_ns;  /* findings beyond the bounds; when that was last said */

    struct alarm *open;      /* the ledger's open rows, oldest first */
    size_t open_count;
    bool open_known, reading, read_again;
    struct alarm repaired[INTEGRITY_REPAIRED]; /* newest first */
    size_t repaired_count;

    struct alarm *view, *spare; /* what integrity_view shows; for the next one */
    bool shown_quarantined;
    size_t view_count;
    bool news;               /* clients haven't heard of the last change */
    uint64_t told_ms;        /* when they last heard; monotonic */

    bool saying;             /* a request is under way ... */
    struct kept *said;       /* ... about this one; NULL: it went away meanwhile */
    bool said_repaired;

    bool quarantined, quarantine_stored, quarantine_storing;
    uint64_t quarantined_ms; /* this node's clock */
    char why[INTEGRITY_TEXT];

    struct mended {
        unsigned named;
        uint64_t from, to;
    } mended[8];             /* told before the ledger's rows were known */
    size_t mended_count;
    struct spoken {
        uint64_t began_ms; /* monotonic; a new count begins SPOKEN_MS later at the earliest */
        bool well;         /* it was, since it began */
        uint32_t count;
        struct alarm alarms[PEER_FINDINGS];
    } spoken[LIMIT_NODES + 1]; /* findings of quarantined peers that were taken up */
};

/* integrity_kept.c: the durable notes, in the table finding. */
void kept_store(struct integrity *i, struct kept *k);  /* writes it, or (gone) deletes it; again by timer while dirty */
void quarantine_store(struct integrity *i);
enum err integrity_load(struct integrity *i);          /* at start */

/* integrity_raise.c: the ledger. */
void raise_read(struct integrity *i); /* asks for the open rows */
void raise_next(struct integrity *i); /* says what is due */

/* integrity_order.c: `rows` in the order in which they are shown: first, of every node that anything counts against,
 * what makes it count. So the first LIMIT_NOTICE name them all, whatever one liar adds. Any thread. */
void integrity_order(struct alarm *rows, size_t count, unsigned self, unsigned faulty);

/* integrity.c */
/* The ledger's rows are here, in i->open: those after `size` leaves. */
void integrity_opened(struct integrity *i, uint64_t size);
void kept_remove(struct integrity *i, struct kept *k); /* once its durable note is deleted, too ... */
void kept_forget(struct integrity *i, struct kept *k); /* ... it is freed */
bool integrity_counts(const struct integrity *i, const struct alarm *a); /* a row, by itself */
const struct alarm *open_row(const struct integrity *i, enum alarm_kind kind, unsigned named, uint64_t first);
uint64_t integrity_now_ms(void); /* monotonic */

#endif
