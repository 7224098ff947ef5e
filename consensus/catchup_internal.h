/* Inside catching up: its state, and what its files call of each other.
 *
 * catchup.c           runs: targets, their confirmation, the own state, the end
 * catchup_pull.c      leaves: asked for, proved, replayed
 * catchup_fill.c      attachments that are missing
 * catchup_serve.c     what peers ask for
 * catchup_messages.c  messages
 */
#ifndef CONSENSUS_CATCHUP_INTERNAL_H
#define CONSENSUS_CATCHUP_INTERNAL_H

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "consensus/catchup.h"
#include "consensus/catchup_messages.h"
#include "consensus/peer_messages.h"
#include "ledger/genesis.h"
#include "net/peers.h"

#define CATCHUP_TICK_MS 50

#define CATCHUP_CHUNKS 2             /* proved, and on their way through the state thread */
#define CATCHUP_TRIES_PER_PEER 3     /* asks in a row without an answer that helps, before a run gives up */

typedef uint32_t peer_mask; /* bit i is member i */
#define PEER_BIT(i) ((peer_mask)1 << (i))

/* An ask that waits for its answer; peer 0: none. */
struct ask {
    unsigned peer;
    uint64_t id, since_ns, until_ns;
};

/* How long each peer took for its last answer; 0: it was not asked yet. Each gives as much of the same at once, so
 * times compare. */
struct speeds {
    uint64_t took_ns[LIMIT_NODES + 1];
};
#define TOOK_FOR_EVER UINT64_MAX /* gave nothing, or less than it could have: asked where no other is left */

/* A size with k cosignatures, and where in the Raft log it stands. */
struct target {
    uint64_t raft_index, raft_term, size; /* size 0: none */
    struct digest root;
    struct buffer note;
    unsigned from; /* who stated the position; 0: not known */
};

/*   IDLE -> (PAUSED ->) CHOOSING or CONFIRMING -> CONFIRMING -> LOOKING -> PULLING -> SETTLING -> IDLE
 *   LOOKING -> CHOOSING when the state is beyond the target; any -> IDLE when the run has failed */
enum catchup_phase {
    CATCHUP_IDLE,
    CATCHUP_PAUSED,     /* asked for, but too soon after a run that failed */
    CATCHUP_CHOOSING,   /* the newest manifests are asked for */
    CATCHUP_CONFIRMING, /* the target's position, from b + 1 members */
    CATCHUP_LOOKING,    /* at the own state */
    CATCHUP_PULLING,
    CATCHUP_SETTLING, /* the position is being made durable */
};

struct catchup {
    struct catchup_options o;
    uv_timer_t timer;
    unsigned n;
    bool stopped, ready;
    bool contradicted;  /* the own state contradicts the cluster's: for good */
    uint64_t next_id;   /* of asks */
    unsigned in_flight; /* reads and writes of the state under way */

    /* runs */
    enum catchup_phase phase;
    uint64_t run;            /* number of the present one: what an earlier one started is ignored */
    struct target offered;   /* what the core was offered; size 0: nothing, the newest is wanted */
    bool offer_good;         /* it could be read, and its note has k cosignatures */
    struct target target;
    uint64_t least_size, least_index; /* of a target that is chosen */
    uint64_t until_ns;       /* of the phase; PAUSED: its end */
    uint64_t resume_ns;      /* no run before */
    uint64_t pause_ms;       /* 0: the last run went well */
    uint64_t manifest_ns;    /* manifests were last asked for */
    uint64_t manifest_id;
    peer_mask answered, agree, differ; /* members that stated a position */
    peer_mask doubted;       /* whose position b + 1 others did not share */
    peer_mask liars;         /* sent what does not prove: not asked again in this run */

    /* leaves */
    struct tree tree;        /* the frontier after the last proved chunk */
    uint64_t replayed;
    unsigned chunks;         /* being replayed */
    struct ask pull;
    struct speeds pull_speeds;
    unsigned puller;         /* asked last */
    unsigned pull_failures;  /* in a row */
    uint64_t began_size;

    /* attachments */
    struct fill *fill;

    unsigned serving[LIMIT_NODES + 1]; /* asks of a peer being answered */
    uint64_t warned_ns[LIMIT_NODES + 1];
};

/* catchup.c */
const char *catchup_name(const struct catchup *c, unsigned peer);
void catchup_send(struct catchup *c, unsigned peer, uint32_t type, uint64_t id, const struct buffer *body);
/* The next member after `last` that is reachable and in none of the masks; 0: none. */
unsigned catchup_next_peer(const struct catchup *c, unsigned last, peer_mask without);
/* The same of those whose last answer took least; first who was never asked. So none holds a node up by answering just
 * in time: each late answer of one that others surpass is its last. */
unsigned catchup_fastest_peer(const struct catchup *c, unsigned last, peer_mask without, const struct speeds *speeds);
struct ask ask_begin(struct catchup *c, unsigned peer);
void speeds_note(struct speeds *speeds, const struct ask *ask, bool helped); /* it is over */
/* Ends the run with a line in the log; the next one waits longer. */
void catchup_fail(struct catchup *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Own state against k cosignatures: nothing is replayed on it any more. */
void catchup_contradicted(struct catchup *c, const char *why);
void catchup_pulled_all(struct catchup *c);
void catchup_update_ready(struct catchup *c);

/* catchup_pull.c */
void pull_begin(struct catchup *c, const struct tree *own); /* to c->target */
void pull_tick(struct catchup *c, uint64_t now_ns);
void pull_answer(struct catchup *c, unsigned from, uint64_t id, struct bytes body);
/* false: not of this */
bool pull_refused(struct catchup *c, unsigned from, uint64_t id, const struct refusal *refusal);

/* catchup_fill.c */
struct fill *fill_new(void);
void fill_free(struct fill *f);
void fill_begin(struct catchup *c); /* looks anew at what is missing */
bool fill_done(const struct catchup *c);
void fill_tick(struct catchup *c, uint64_t now_ns);
void fill_answer(struct catchup *c, unsigned from, uint64_t id, struct bytes body);
bool fill_refused(struct catchup *c, unsigned from, uint64_t id, const struct refusal *refusal);

/* catchup_serve.c */
void serve_ask(struct catchup *c, unsigned from, uint32_t type, uint64_t id, struct bytes body);

#endif
