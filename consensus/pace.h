/* When a leader's next block is due.
 *
 * A block costs every node signatures, messages and writes whatever is in it, and so does the checkpoint that
 * covers it, about 900 us of processors together. One who asks alone is not to wait for others; but where many ask,
 * each finds a block under way or just gone, and blocks of few requests take the processors that all of them wait
 * for. So:
 *
 *   nothing in flight   at once, if half as many wait as were here together lately, at the most
 *   a block in flight   when it is committed, if as many wait by then
 *   else                PACE_NS after the block before
 *   enough for a block  at once
 *
 * With one or two that is at once, and nobody waits for more than half of those who come again anyway. Against "at
 * once when nothing is in flight", by turns on 2 processors, 1 KiB: record show with 64 clients 1,680/s instead of
 * 1,450 (p50 36 and 42 ms), with 16 1,600 and 1,290; co-signed events with 16 3,900 and 2,900/s (p50 3.9 and 5.2
 * ms), with 4 1,750 and 1,330. Three quarters instead of the half make 4 clients wait for PACE_NS (p99 9 ms), three
 * eighths gain less.
 *
 * Where those who were here do not come again, waiting is in vain: of eight clients, of whom seven wrote each 100 ms,
 * by and by all at once, the eighth waited for PACE_NS time and again. So each wait is judged by who came in it, as is
 * each that was not waited for; after some in vain blocks go at once until it would have been worth it again. (To
 * count fewer than the most who were here ends that too, but with 16 and 64 clients cost 8 to 16 % and 3 to 10 % of
 * the above.)
 * Pure: the time is an argument, monotonic.
 */
#ifndef CONSENSUS_PACE_H
#define CONSENSUS_PACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PACE_NS (8ull * 1000000)
#define PACE_LATELY_NS (128ull * 1000000) /* what was here longer ago than twice this does not count */

#define PACE_WORTH 4u         /* a wait is worth it when a quarter as many come as wait already, one at least */
#define PACE_IN_VAIN 4u       /* from so many on nobody is waited for ... */
#define PACE_IN_VAIN_MOST 8u  /* ... until so many more were worth it */

/* Of one wait, from the first who is to wait until somebody came, or its time is over. */
struct pace_judgement {
    bool open;
    uint64_t until_ns;
    size_t waiting, here; /* at its beginning, and at the most */
    size_t most_waiting, most_here;
};

/* Of a node; all zero at the beginning. */
struct pace {
    uint64_t proposed_ns;  /* when the last block was; 0: never */
    size_t most, most_before; /* requests here together, since turned_ns and in the stretch before */
    uint64_t turned_ns;
    unsigned in_vain; /* waits lately, less those that were worth it */
    struct pace_judgement judgement;
};

struct pace_load {
    size_t waiting; /* for the next block; at least one */
    size_t here;    /* and those in blocks that are not applied yet */
    bool in_flight; /* a block is not committed yet */
    bool full;      /* what waits fills a block */
};

/* For how many nanoseconds the next block must wait still; 0: it is due. To be asked whenever a request comes or a
 * block is committed, since it learns from that how many are here together. */
uint64_t pace_wait(struct pace *p, const struct pace_load *load, uint64_t now_ns);
void pace_proposed(struct pace *p, uint64_t now_ns);

#endif
