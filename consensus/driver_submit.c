/* Submissions, forwarding, and the leader's blocks.
 *
 * A leader's blocks follow each other by consensus/pace.h: one client sees no delay, and many share
 * the cost of a block.
 * A follower's requests go to the leader, again at each change of leader or link,
 * and by timer, until the own apply or the deadline: the leader forgets, restarts,
 * is full; none of that is told. No more than a share of what a leader takes is there
 * at once: the rest waits here, where it stands anyway, until some of that is applied.
 */
#include <stdlib.h>

#include "base/pack.h"
#include "consensus/driver_internal.h"
#include "net/peers.h"

#define RESEND_NS (1000ull * 1000000)
#define RESEND_MOST 4 /* times that: more and more as long as nothing says that it was dropped */
#define RESEND_LAST_NS (16 * RESEND_NS)
#define SLOW_NS UINT64_C(250000000) /* a link that is jammed for so long, or on which a frame is coming, is slow */
#define CLOCK_SETTLED_NS UINT64_C(1000000000)

/* ---- submissions ---- */

void driver_finish(struct driver *d, struct intake_item *item, enum err code, const struct outcome *outcomes,
                   size_t count)
{
    struct submission *s = item->submission;
    if (item->slot) *item->slot = NULL;
    item->slot = NULL;
    intake_remove(&d->intake, item);
    s->done(s, code, outcomes, count);
}

static void finish_list(struct driver *d, const struct intake_list *list, enum err code, uint64_t deadline_ns)
{
    for (struct intake_item *i = list->first, *next; i; i = next) {
        next = i->next;
        /* What a block being applied answers is not given up: the answer is almost here. */
        if (i->submission && (deadline_ns == UINT64_MAX || (i->submission->deadline_ns <= deadline_ns && !i->slot)))
            driver_finish(d, i, code, NULL, 0);
    }
}

void driver_finish_all(struct driver *d, enum err code)
{
    intake_abdicate(&d->intake);
    finish_list(d, &d->intake.aside, code, UINT64_MAX);
}

/* body: [request (bin), awaited] */
static bool forward(struct driver *d, const struct intake_item *item)
{
    buffer_clear(&d->out);
    pack_array(&d->out, 2);
    pack_bytes(&d->out, item->request);
    pack_bool(&d->out, item->awaited);
    if (d->out.failed) return false;
    return peers_send(d->o.peers, d->leader, PEER_FORWARD, 0, buffer_bytes(&d->out)) == OK;
}

static void route(struct driver *d, struct intake_item *item, uint64_t now)
{
    if (item->place != INTAKE_ASIDE || item->slot) return;
    if (d->leads) {
        if (intake_wait(&d->intake, item))
            d->dirty = true;
        else
            intake_sent(&d->intake, item, now);
        return;
    }
    if (d->leader == 0) return;
    if (!intake_may_send(&d->intake, item, LIMIT_FORWARDED_WINDOW / (d->o.genesis->member_count - 1))) {
        d->held = true;
    } else if (forward(d, item)) {
        d->counters.forwarded++;
        intake_sent(&d->intake, item, now);
    }
}

/* On a slow link what was sent is still on its way after RESEND_NS, or comes back in a block just now; once more would
 * only make that later. */
static void note_transfer(struct driver *d, uint64_t now)
{
    if (d->leads || d->leader == 0) return;
    bool sends = peers_unacked(d->o.peers, d->leader) > DRIVER_JAMMED;
    if (!sends || d->sending_ns == 0) d->sending_ns = sends ? now : 0;
    bool sends_long = sends && now - d->sending_ns >= SLOW_NS;
    if (sends_long || peers_receiving_ms(d->o.peers, d->leader) * 1000000 >= SLOW_NS) d->transfer_ns = now;
}

/* Links and leaders keep the order: what was sent before something that came back, and did not, was dropped. Else it may
 * stand in line behind what is too small, each for itself, to show that the link is slow: the next copy waits longer. */
static bool send_again(const struct driver *d, const struct intake_item *item, uint64_t now)
{
    bool dropped = item->sent_ns < d->returned_ns;
    uint64_t quiet_since = d->transfer_ns > item->sent_ns && !dropped ? d->transfer_ns : item->sent_ns;
    unsigned times = item->copies < 3 ? 1u << (item->copies - 1) : RESEND_MOST;
    return now - quiet_since >= (dropped ? 1 : times) * RESEND_NS || now - item->sent_ns >= RESEND_LAST_NS;
}

void driver_route_all(struct driver *d)
{
    uint64_t now = clock_monotonic_ns();
    if (!driver_alive(d)) return;
    d->held = false;
    note_transfer(d, now);
    for (struct intake_item *i = d->intake.aside.first, *next; i; i = next) {
        next = i->next;
        if (i->sent_ns == 0 ? !d->held : send_again(d, i, now)) route(d, i, now);
    }
}

void driver_unsent(struct driver *d)
{
    intake_unsent(&d->intake);
}

void driver_deadlines(struct driver *d)
{
    uint64_t now = clock_monotonic_ns();
    finish_list(d, &d->intake.aside, ERR_NO_QUORUM, now);
    finish_list(d, &d->intake.waiting, ERR_NO_QUORUM, now);
    finish_list(d, &d->intake.proposed, ERR_NO_QUORUM, now);
    driver_route_all(d);
}

enum err driver_submit(struct driver *d, struct submission *s)
{
    if (d->phase != DRIVER_RUNNING && d->phase != DRIVER_OPENING) return ERR_STOPPED;
    if (d->quarantined) return ERR_QUARANTINED;
    if (d->space_low) return ERR_FULL;
    if (d->log_full) return ERR_LOG_FULL;
    enum err e = intake_add_own(&d->intake, s);
    if (e != OK) {
        d->counters.busy++;
        return e;
    }
    d->counters.submitted++;
    if (d->raft && !d->held) route(d, &s->driver, clock_monotonic_ns());
    return OK;
}

static bool takes_blocks(const struct driver *d) { return !d->quarantined && !d->space_low && !d->log_full; }

void driver_forwarded(struct driver *d, unsigned from, struct bytes body)
{
    struct unpack u = unpack_start(body);
    unpack_array_of(&u, 2);
    struct bytes request = unpack_bin(&u, LIMIT_REQUEST);
    bool awaited = unpack_bool(&u);
    enum err e = unpack_done(&u);
    if (e != OK) {
        driver_every(&d->counters.bad_messages, "a forwarded request", from, e);
        return;
    }
    if (!d->leads || !takes_blocks(d)) return; /* it is sent again, to the leader of then */
    struct intake_sender sender = {from, genesis_member(d->o.genesis, from)->id, clock_monotonic_ns()};
    e = intake_add_forwarded(&d->intake, &sender, request, awaited);
    if (e == ERR_BUSY)
        d->counters.busy++;
    else if (e != OK && e != ERR_EXISTS)
        driver_every(&d->counters.bad_messages, "a forwarded request", from, e);
    if (e == OK) d->dirty = true;
}

/* ---- blocks ---- */

/* Too early for so small a block; then the timer is set. */
static bool wait_for_pace(struct driver *d, uint64_t in_flight)
{
    const struct intake *in = &d->intake;
    struct pace_load load = {.waiting = in->waiting.count, .here = in->waiting.count + in->proposed.count,
                             .in_flight = in_flight > 0, .full = intake_fills_block(in)};
    uint64_t wait = pace_wait(&d->pace, &load, clock_monotonic_ns());
    if (wait == 0) return false;
    if (!uv_is_active((uv_handle_t *)&d->handles->pace)) driver_wake_in(d, wait / 1000000 + 1);
    return true;
}

void driver_watch_clock(struct driver *d)
{
    uint64_t now = clock_monotonic_ns();
    int64_t ahead = (int64_t)clock_wall_ms() - (int64_t)(now / 1000000), moved = ahead - d->clock_ahead_ms;
    if (d->clock_ahead_ms != 0 && (moved > LIMIT_BLOCK_AHEAD_MS || moved < -LIMIT_BLOCK_AHEAD_MS)) {
        d->clock_set_ns = now;
        log_warning("driver", "this machine's clock was set by %lld ms: nothing is proposed for a moment",
                    (long long)moved);
    }
    d->clock_ahead_ms = ahead;
}

/* When the wall clock was just set, nobody has compared it with the others' yet (node/status.c does, and then this node
 * may not lead): a leader that is an hour slow could let into a ledger that was idle for an hour what expired
 * long ago, and no follower would know. */
static bool clock_is_steady(struct driver *d)
{
    driver_watch_clock(d);
    return d->clock_set_ns == 0 || clock_monotonic_ns() - d->clock_set_ns > CLOCK_SETTLED_NS;
}

static bool may_propose(struct driver *d, const struct raft_status *status)
{
    uint64_t in_flight = status->last.index - status->commit;
    if (status->role != RAFT_LEADER || status->transfer != 0) return false;
    if (in_flight >= LIMIT_BLOCKS_IN_FLIGHT || !clock_is_steady(d)) return false;
    if (wait_for_pace(d, in_flight)) return false;
    return d->pipeline_bytes + d->applying_bytes < LIMIT_UNAPPLIED_BYTES &&
           status->last.index - (d->apply_next - 1) + d->applying < LIMIT_PIPELINE / 2;
}

static struct raft_blob *wrap(struct buffer *b)
{
    struct raft_blob *blob = b->failed ? NULL : raft_blob_wrap(buffer_bytes(b), free, b->data);
    if (!blob) buffer_free(b);
    return blob;
}

/* The entry's bytes: room for the head, the block, the leader's signature over both places. */
static struct raft_blob *assemble(struct driver *d, const struct raft_status *status, const struct bytes *requests,
                                  uint32_t count, struct digest *hash)
{
    struct buffer b = {0};
    size_t size = ENTRY_HEAD + BLOCK_OVERHEAD;
    for (uint32_t i = 0; i < count; i++)
        size += requests[i].size + BLOCK_REQUEST_OVERHEAD;
    if (!buffer_extend(&b, size)) return NULL; /* all at once: no copies as it grows */
    b.size = ENTRY_HEAD;
    /* Not the time of a block before, if that is later: who proposed it while its clock was fast, alone, would be
     * refused for as long once it is right. A leaf is never older than the one before it (ledger/step.c). */
    block_encode(&b, clock_wall_ms(), requests, count);
    if (b.failed || b.size > LIMIT_BLOCK) {
        buffer_free(&b);
        return NULL;
    }
    struct block_place place = {
        .cluster = d->o.genesis->cluster, .term = status->term, .index = status->last.index + 1};
    entry_sign(&b, &place, d->o.self, &d->o.keys->message);
    *hash = place.hash;
    return wrap(&b);
}

static enum err propose(struct driver *d, const struct raft_status *status, struct raft_blob *blob,
                        const struct digest *hash)
{
    struct raft_entry entry = {
        .index = status->last.index + 1, .term = status->term, .type = RAFT_ENTRY_BLOCK, .blob = blob};
    raft_index index;
    struct block_job *job = block_job_new(d, &entry);
    job->hash = *hash;
    enum err e = block_job_decode(job);
    /* Every follower would refuse it, for ever. Submissions are checked, and so was what was forwarded. */
    CHECK(e != OK || job->decoded);
    if (e == OK) e = raft_propose(d->raft, &index, &blob, 1);
    if (e == OK) {
        CHECK(index == entry.index);
        intake_in_block(&d->intake, entry.blob, job->block.requests, job->block.count);
        queue_add(&d->admitted, &job->apply.job.link);
    } else {
        block_job_drop(job);
    }
    return e;
}

static bool propose_block(struct driver *d, const struct raft_status *status)
{
    struct bytes requests[LIMIT_BLOCK_REQUESTS];
    struct digest hash;
    uint32_t count = intake_propose(&d->intake, requests);
    struct raft_blob *blob = assemble(d, status, requests, count, &hash);
    enum err e = blob ? propose(d, status, blob, &hash) : ERR_NOMEM;
    raft_blob_release(blob);
    if (e == OK) pace_proposed(&d->pace, clock_monotonic_ns());
    if (e == OK) return true;
    intake_withdraw(&d->intake, requests, count); /* backlog full, no memory: it goes on with the next event */
    return false;
}

void driver_propose(struct driver *d)
{
    struct raft_status status;
    if (!d->leads || !takes_blocks(d)) return;
    while (d->intake.waiting.count > 0) {
        raft_status_get(d->raft, &status);
        if (!may_propose(d, &status) || !propose_block(d, &status)) return;
    }
}
