/* A node whose disk was set back, or whose log is damaged, becomes a voter again: consensus/rejoin.h between the core and the links.
 *
 * Happy path: it is found to have forgotten something (driver_past.c) -> it follows, and asks -> it has all that it ever claimed again,
 * and enough voters hold an entry that was made since -> its leader counts as whom it voted for in this term -> it votes
 * -> once that vote is durable, the disk says nothing more of it.
 * A kill in between asks anew. The alarm of a disk that was set back stays until an administrator clears it: who set the disk back, and why, is not
 * answered by this.
 */
#include <stdio.h>
#include <stdlib.h>

#include "consensus/driver_internal.h"
#include "crypto/random.h"
#include "net/peers.h"
#include "storage/log.h"

static void send_rejoin(void *data, raft_id to, const struct rejoin_message *m)
{
    struct driver *d = data;
    if (peers_version(d->o.peers, to) < PEER_VERSION_REJOIN) return;
    buffer_clear(&d->out);
    rejoin_encode(&d->out, m);
    if (!d->out.failed) peers_send(d->o.peers, to, PEER_REJOIN, 0, buffer_bytes(&d->out));
}

void driver_rejoin_init(struct driver *d)
{
    d->rejoin = (struct rejoin){.self = (raft_id)d->o.self, .send = send_rejoin, .data = d};
}

void driver_rejoin_begin(struct driver *d)
{
    uint64_t nonce;
    do random_bytes(&nonce, sizeof nonce);
    while (nonce == 0);
    d->rejoined_in = 0;
    rejoin_begin(&d->rejoin, nonce);
}

static void rejoin(struct driver *d)
{
    char who[LIMIT_NODES * 4] = "";
    size_t used = 0;
    for (unsigned i = 1; i <= d->o.genesis->member_count; i++)
        if (d->rejoin.held[i]) used += (size_t)snprintf(who + used, sizeof who - used, used ? ", %u" : "%u", i);
    log_info("driver", "nodes %s hold entry %llu of term %llu, which was made after what this node forgot", who,
             (unsigned long long)d->rejoin.point, (unsigned long long)d->rejoin.term);
    raft_rejoin(d->raft);
    d->rejoined_in = d->rejoin.term;
    rejoin_end(&d->rejoin);
}

/* Not before the vote is durable: a start that knows nothing of either could give a second one. */
static void forget(struct driver *d)
{
    struct log_status log;
    log_status(d->o.log, &log);
    if (log.term < d->rejoined_in || (log.term == d->rejoined_in && log.vote == 0)) return;
    d->rejoined_in = 0;
    if (log.state_damaged || log.tail_damaged) {
        struct job *job = xcalloc(1, sizeof *job);
        job->kind = LOG_JOB_RECOVERED;
        log_thread_push(d->log, job);
    }
    driver_past_forget(d);
    driver_apply_settings(d);
    log_notice("driver", "this node votes again. An alarm of its disk stays until an administrator clears it");
}

void driver_rejoin_tick(struct driver *d)
{
    if (!driver_alive(d)) return;
    rejoin_tick(&d->rejoin, d->raft, !d->log_full && !d->space_low);
    if (d->forgot && driver_past_reached(d) && rejoin_may(&d->rejoin, d->raft)) rejoin(d);
    if (d->rejoined_in) forget(d);
    d->dirty = true;
}

void driver_rejoin_came(struct driver *d, unsigned from, struct bytes body)
{
    struct rejoin_message m;
    enum err e = rejoin_decode(&m, body);
    if (e == OK && driver_alive(d)) e = rejoin_came(&d->rejoin, d->raft, (raft_id)from, &m);
    if (e != OK) driver_every(&d->counters.bad_messages, "about its vote", from, e);
}
