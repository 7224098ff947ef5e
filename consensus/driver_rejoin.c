/* A node that forgot what it voted and acknowledged, since its disk was set back or its log damaged, becomes a voter
 * again: consensus/rejoin.h between the core and the links.
 *
 * Happy path: it is found to have forgotten something (driver_past.c, driver_open.c) -> it follows, and asks -> it has all
 * that it ever claimed again, and enough voters hold an entry that was made since -> its leader counts as whom it voted
 * for in this term -> it votes -> once that vote is durable, the disk says nothing more of it.
 * A kill in between asks anew. The alarm of a disk that was set back stays until an administrator clears it: who set the
 * disk back, and why, is not answered by this.
 * Where so many forgot that no majority is left to ask, only people can go on: with accept_loss (driver.h) a node votes at
 * once, and what it signed before counts as if it had it.
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

static void keep_own(struct driver *d, const struct past *row)
{
    d->pasts[d->o.self] = *row;
    if (d->raft)
        driver_past_keep(d, d->o.self);
    else
        d->past_due[d->o.self] = true; /* with the first tick */
}

static void tell_log(struct driver *d, enum log_job_kind what)
{
    struct job *job = xcalloc(1, sizeof *job);
    job->kind = what;
    log_thread_push(d->log, job);
    d->log_says_forgot = what == LOG_JOB_FORGOTTEN;
}

/* The state can be lost alone, and is derived anew then: that votes were forgotten is said where votes stand, too. */
void driver_note_forgotten(struct driver *d)
{
    if (d->log && d->forgot && !d->log_says_forgot) tell_log(d, LOG_JOB_FORGOTTEN);
}

/* That it forgot something, on the disk, too. */
static void forget(struct driver *d)
{
    struct log_status log;
    d->forgot = false;
    keep_own(d, &(struct past){0});
    if (!d->log) return; /* no thread yet: driver_open.c looks once more */
    log_status(d->o.log, &log);
    if (log.state_damaged || log.tail_damaged || d->log_says_forgot) tell_log(d, LOG_JOB_RECOVERED);
}

/* It is as if it had never signed more than it has. */
static void accept_loss(struct driver *d, const struct past *lost, const char *why)
{
    char up_to[120] = "";
    if (lost->term)
        snprintf(up_to, sizeof up_to, " up to term %llu, Raft index %llu and cosigned size %llu",
                 (unsigned long long)lost->term, (unsigned long long)lost->index, (unsigned long long)lost->size);
    log_error("driver", "%s. Its operator accepted that: it votes, and of what it signed%s is lost what nobody else "
              "has", why, up_to);
    driver_past_raise(&d->excused, lost);
    if (lost->index > d->accepted) d->accepted = lost->index;
    d->tells_loss = true;
    forget(d);
}

/* Others are to know what people decided; not while the owner still starts this node. */
static void tell_loss(struct driver *d)
{
    struct log_status log;
    log_status(d->o.log, &log);
    uint64_t first = log.last + 1, last = d->accepted > first ? d->accepted : first;
    d->tells_loss = false;
    if (d->o.on_set_back) d->o.on_set_back(d->o.data, first, last);
}

void driver_forgets(struct driver *d, const struct past *lost, const char *why)
{
    uint64_t nonce;
    if (d->o.accept_loss) {
        accept_loss(d, lost, why);
        return;
    }
    log_error("driver", "%s. This node forgot votes that it gave, or may have: it follows and serves, but does not vote. Leave "
              "it running: it gets its vote back by itself, once it has everything again and a majority of all nodes, "
              "itself not counted, is there", why);
    do random_bytes(&nonce, sizeof nonce);
    while (nonce == 0);
    rejoin_begin(&d->rejoin, nonce);
    d->rejoined_in = 0;
    d->forgot = true;
    struct past row = *lost;
    driver_past_raise(&row, &d->past);
    driver_past_raise(&row, &d->excused);
    keep_own(d, &row);
    driver_note_forgotten(d);
    driver_apply_settings(d);
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
static void vote_again(struct driver *d)
{
    struct log_status log;
    log_status(d->o.log, &log);
    if (log.term < d->rejoined_in || (log.term == d->rejoined_in && log.vote == 0)) return;
    d->rejoined_in = 0;
    if (d->past.term > d->excused.term && d->past.term > log.term) d->excused.term = d->past.term;
    forget(d);
    driver_apply_settings(d);
    log_notice("driver", "this node votes again. Where an alarm tells of its disk, that stays until an administrator "
               "clears it");
}

void driver_rejoin_tick(struct driver *d)
{
    if (!driver_alive(d)) return;
    if (d->tells_loss) tell_loss(d);
    rejoin_tick(&d->rejoin, d->raft, !d->log_full && !d->space_low);
    if (d->forgot && driver_past_reached(d) && rejoin_may(&d->rejoin, d->raft)) rejoin(d);
    if (d->rejoined_in) vote_again(d);
    d->dirty = true;
}

void driver_rejoin_came(struct driver *d, unsigned from, struct bytes body)
{
    struct rejoin_message m;
    enum err e = rejoin_decode(&m, body);
    if (e == OK && driver_alive(d)) e = rejoin_came(&d->rejoin, d->raft, (raft_id)from, &m);
    if (e != OK) driver_every(&d->counters.bad_messages, "about its vote", from, e);
}
