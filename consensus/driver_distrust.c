/* Leaders whose blocks can't be taken: not followed for long.
 *
 * A follower refuses a block from the future, badly signed or not well-formed,
 * and the leader tries again. If that were all, a leader that lies about the time
 * could keep its term with heartbeats and freeze the ledger. So a node whose
 * leader has offered nothing acceptable for DISTRUST_AFTER ticks stops hearing it:
 * its own election time-out runs, others do the same, and a later term has
 * another leader. For a while the node is given no vote either.
 *
 * A node that evidence names (driver_blame.c) is treated so for good.
 *
 * The reasons that lie on our own side (no space, no memory, a full log, our own clock off the
 * others') never count.
 */
#include <stdio.h>

#include "consensus/driver_internal.h"

#define DISTRUST_AFTER (1500 / DRIVER_TICK_MS)
#define DISTRUST_FOR (120000 / DRIVER_TICK_MS)
#define FORGET_AFTER (1000 / DRIVER_TICK_MS) /* between two refusals that belong together */

void driver_refused(struct driver *d, unsigned from, enum err code)
{
    struct distrust *t = &d->distrust[from];
    if (code == ERR_FULL || code == ERR_LOG_FULL || code == ERR_NOMEM || code == ERR_BUSY || !d->clock_ok) return;
    if (t->first == 0 || d->ticks - t->last > FORGET_AFTER) t->first = d->ticks ? d->ticks : 1;
    t->last = d->ticks;
    if (d->ticks - t->first < DISTRUST_AFTER) return;
    char why[128];
    snprintf(why, sizeof why, "its blocks can't be taken: %s",
             code == ERR_CLOCK ? "their time is in the future" : err_text(code));
    driver_distrust(d, from, why);
}

void driver_distrust(struct driver *d, unsigned node, const char *why)
{
    struct distrust *t = &d->distrust[node];
    const struct descriptor *named = genesis_member(d->o.genesis, node);
    if (t->until > d->ticks) return;
    t->until = d->ticks + DISTRUST_FOR;
    log_error("driver", "ALARM: node %u (%s) leads, but %s. It is not followed, and gets no vote, for %d s", node,
              named ? named->name : "?", why, DISTRUST_FOR * DRIVER_TICK_MS / 1000);
}

void driver_stalled(struct driver *d)
{
    if (!driver_alive(d) || d->leader == 0 || d->leader == d->o.self) return;
    driver_distrust(d, d->leader, "nodes that follow it have different roots, and none of them can be co-signed");
}

void driver_accepted(struct driver *d, unsigned from)
{
    d->distrust[from].first = 0;
}

/* On a slow link its next block may be that long in coming. */
void driver_refused_lately(struct driver *d, unsigned from)
{
    struct distrust *t = &d->distrust[from];
    if (t->first != 0 && d->ticks - t->last <= FORGET_AFTER) t->last = d->ticks;
}

bool driver_shuns(const struct driver *d, unsigned node)
{
    return driver_is_named(d, node) || d->distrust[node].until > d->ticks;
}

bool driver_hears(const struct driver *d, const struct raft_message *m)
{
    /* Or it could end every other leader's term by an answer. */
    if (driver_is_named(d, m->from) && m->term > d->term) return false;
    if (!driver_shuns(d, m->from)) return true;
    switch (m->type) {
    case RAFT_PREVOTE:
    case RAFT_VOTE:
    case RAFT_APPEND:
    case RAFT_HEARTBEAT:
    case RAFT_SNAPSHOT:
    case RAFT_TIMEOUT_NOW: return false;
    case RAFT_PREVOTE_ANSWER:
    case RAFT_VOTE_ANSWER:
    case RAFT_APPEND_ANSWER:
    case RAFT_HEARTBEAT_ANSWER:
    case RAFT_SNAPSHOT_ANSWER: return true;
    }
    return true;
}
