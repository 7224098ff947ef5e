/* How fast the scrub may read: an account of bytes, filled by time and emptied by reading.
 *
 * Over any time of t seconds no more is read than rate * t, and a second's worth (SCRUB_BURST at
 * least), and what the last read took beyond what was left: it is paid back before the next one.
 * Time that nobody looked at (a busy loop, a machine that slept) fills no more than that second.
 * Pure: time is given. One thread. */
#ifndef NODE_SCRUB_PACE_H
#define NODE_SCRUB_PACE_H

#include <stdint.h>

#define SCRUB_BURST 65536        /* bytes that a slow rate saves up, too, so that a step is worth its while */
#define SCRUB_RATE_MOST (UINT64_C(1) << 32) /* bytes a second */

struct scrub_pace {
    uint64_t rate;  /* bytes a second */
    int64_t left;   /* bytes that may be read now; below 0: owed */
    uint64_t last_ns;
    uint64_t rest_until_ns;
};

/* Begins empty. `rate` is at most SCRUB_RATE_MOST; 0: nothing may ever be read. */
void scrub_pace_begin(struct scrub_pace *p, uint64_t rate, uint64_t now_ns);
/* Time has passed. A clock doesn't go back. */
void scrub_pace_earn(struct scrub_pace *p, uint64_t now_ns);
/* What may be read now, at most `most`; 0: wait. */
uint64_t scrub_pace_budget(const struct scrub_pace *p, uint64_t most);
void scrub_pace_spend(struct scrub_pace *p, uint64_t bytes);
/* Others want the processor, of which the last read took so much: none is read until that was one part of
 * SCRUB_SHARE, or SCRUB_REST_NS have passed. */
#define SCRUB_SHARE 32
#define SCRUB_REST_NS UINT64_C(1000000000)
void scrub_pace_rest(struct scrub_pace *p, uint64_t took_ns, uint64_t now_ns);

#endif
