/* Events into the Raft core, and its ready out of it.
 *
 * All events of one turn of the loop are fed first; then, before the loop waits
 * again (prepare) and after it handled its input (check), driver_turn takes what
 * the core wants: so many messages make one write and few sends.
 */
#include <stdlib.h>
#include <string.h>

#include "base/pack.h"
#include "consensus/driver_internal.h"
#include "net/peers.h"
#include "storage/log.h"

#define ROUNDS_MAX 16 /* of one turn, before others on the loop have theirs */
#define OUT_KEPT (256 * KIB)
#define STUCK_TICKS 100 /* 5 s */

void driver_every(uint64_t *count, const char *what, unsigned from, enum err e)
{
    ++*count;
    if ((*count & (*count - 1)) == 0)
        log_warning("driver", "%s from node %u was refused: %s (%llu so far)", what, from, err_text(e),
                    (unsigned long long)*count);
}

/* ---- out ---- */

static void write_log(struct driver *d, const struct raft_ready *ready)
{
    struct log_write *w = log_write_new(ready);
    if (w->reset) {
        raft_config_encode(&w->config, raft_config_of(d->raft, w->reset_to.index), (struct bytes){0});
        buffer_append_bytes(&w->manifest, raft_blob_bytes(d->manifest));
    }
    log_thread_push(d->log, &w->job);
}

/* So that logs tell afterwards why a leader went. Peers ask as often as they like, but a leader is heard for a second
 * before it is missed: the first word of each term is said. */
static void say_wish(struct driver *d, raft_id candidate, raft_term term)
{
    struct raft_status status;
    if (!log_seldom(&d->wished_ns)) return;
    raft_status_get(d->raft, &status);
    log_info("raft", "would have node %u lead in term %llu: no leader was heard for %llu ms", candidate,
             (unsigned long long)term, (unsigned long long)status.unheard_ticks * DRIVER_TICK_MS);
}

static void release_blob(void *blob) { raft_blob_release(blob); }

/* Large entries are lent to the link: they stand in memory once, for however many peers they wait. */
static void send_encoded(struct driver *d, raft_id to, const struct raft_lent *lent)
{
    struct send_part parts[2 * RAFT_LENT_MAX + 1];
    size_t count = 0, at = 0;
    for (size_t i = 0; i < lent->count; i++) {
        struct raft_blob *blob = lent->blobs[i];
        parts[count++] = (struct send_part){bytes_of(d->out.data + at, lent->at[i] - at)};
        parts[count++] = (struct send_part){raft_blob_bytes(blob), release_blob, blob};
        at = lent->at[i];
    }
    if (at < d->out.size) parts[count++] = (struct send_part){bytes_of(d->out.data + at, d->out.size - at)};
    /* A link that is down or full loses it, as the core expects. */
    if (!d->out.failed && peers_send_parts(d->o.peers, to, PEER_RAFT, 0, parts, count) == OK) return;
    for (size_t i = 0; i < lent->count; i++)
        raft_blob_release(lent->blobs[i]);
}

static void send_message(struct driver *d, struct raft_message *m)
{
    if (m->type == RAFT_PREVOTE_ANSWER && m->granted) say_wish(d, m->to, m->proposed);
    if (m->type == RAFT_HEARTBEAT) {
        driver_state_commit(d);
        m->extra = buffer_bytes(&d->statement);
    }
    unsigned version = peers_version(d->o.peers, m->to);
    raft_peer_counts(d->raft, m->to, version >= PEER_VERSION_DURABLE);
    struct raft_lent lent;
    buffer_clear(&d->out);
    raft_message_encode(&d->out, &lent, m, version);
    send_encoded(d, m->to, &lent);
    if (d->out.capacity > OUT_KEPT) buffer_free(&d->out);
}

static void start_reads(struct driver *d, const struct raft_ready *ready)
{
    for (size_t i = 0; i < ready->read_count; i++) {
        const struct raft_read *r = &ready->reads[i];
        struct fetch what = {.first = r->first, .last = r->last, .max_bytes = r->max_bytes, .peer = r->peer};
        driver_fetch(d, &what);
    }
}

/* Of a leader that steps down by itself others take whatever still comes for its word, and elect nobody before the last
 * of it: on a slow link that may be minutes. */
static void fall_silent(struct driver *d)
{
    for (unsigned peer = 1; peer <= d->o.genesis->member_count; peer++)
        if (peer != d->o.self && peers_unacked(d->o.peers, peer) > DRIVER_JAMMED) peers_renew(d->o.peers, peer);
}

/* One line and one callback per change that others see. */
static void tell_role(struct driver *d)
{
    struct raft_status status;
    raft_status_get(d->raft, &status);
    bool leads = status.role == RAFT_LEADER;
    bool moved = leads != d->leads || status.leader != d->leader || status.term != d->term;
    if (d->leads && !leads) intake_abdicate(&d->intake);
    if (d->leads && !leads && status.term == d->term) fall_silent(d);
    d->leads = leads;
    d->leader = status.leader;
    d->term = status.term;
    if (!moved) return;
    if (leads)
        log_notice("raft", "leads in term %llu%s", (unsigned long long)status.term,
                   status.asked ? ", which the leader before handed over" : "");
    else if (status.leader != 0)
        log_info("raft", "follows node %u in term %llu", status.leader, (unsigned long long)status.term);
    else if (status.role == RAFT_PRECANDIDATE)
        say_wish(d, status.id, status.term + 1);
    else if (status.role == RAFT_CANDIDATE)
        log_info("raft", "stands for election in term %llu%s", (unsigned long long)status.term,
                 status.asked ? ", as the leader asked" : "");
    driver_unsent(d);
    driver_route_all(d);
    if (d->o.on_role) d->o.on_role(d->o.data, leads, d->leader, d->term);
}

static void take_log_changes(struct driver *d, const struct raft_ready *ready)
{
    if (ready->reset) driver_pipeline_reset(d, ready->reset_to.index);
    if (ready->truncate_from != 0) driver_truncate(d, ready->truncate_from);
    for (size_t i = 0; i < ready->entry_count; i++)
        driver_adopt(d, &ready->entries[i]);
    driver_drop_admitted(&d->admitted);
    if (ready->write != 0) write_log(d, ready);
}

static void handle(struct driver *d, struct raft_ready *ready)
{
    take_log_changes(d, ready);
    if (ready->apply_to > d->apply_due) d->apply_due = ready->apply_to;
    if (!ready->conflict && !ready->install) driver_pump(d); /* applied while the messages go out */
    if (!driver_alive(d)) return;
    for (size_t i = 0; i < ready->message_count; i++)
        send_message(d, &ready->messages[i]);
    start_reads(d, ready);
    if (ready->conflict) driver_conflict(d, ready->conflict);
    if (ready->install) driver_install(d, ready->install);
    if (ready->role_changed) tell_role(d);
}

void driver_turn(struct driver *d)
{
    if (d->turning) return;
    d->turning = true;
    for (unsigned round = 0; d->dirty && driver_alive(d); round++) {
        if (round == ROUNDS_MAX) {
            wake_send(&d->handles->wake);
            break;
        }
        d->dirty = false;
        driver_propose(d);
        struct raft_ready *ready = raft_take(d->raft);
        if (ready->any) {
            handle(d, ready);
            d->dirty = true;
        }
        if (driver_alive(d)) driver_pump(d);
    }
    d->turning = false;
}

/* ---- in: messages ---- */

/* A block's entry, as a follower takes it: decodes, is signed by its leader, isn't from the
 * future. NULL: refused, *code says why. */
static struct block_job *admit_block(struct driver *d, const struct raft_message *m, const struct raft_entry *e,
                                     enum err *code)
{
    struct entry entry;
    *code = entry_open(&entry, raft_blob_bytes(e->blob));
    if (*code != OK) return NULL;
    const struct descriptor *signer = genesis_member(d->o.genesis, entry.signer);
    bool own_term = e->term == m->term;
    struct block_place place = {.cluster = d->o.genesis->cluster, .term = e->term, .index = e->index};
    *code = ERR_BAD_SIGNATURE;
    if (!signer || (own_term && entry.signer != m->from)) return NULL;
    *code = entry_verify(&entry, &place, &signer->keys.message);
    if (*code != OK) return NULL;
    struct block_job *job = block_job_new(d, e);
    job->hash = place.hash;
    *code = block_job_decode(job);
    if (*code == OK && !job->decoded) *code = ERR_MALFORMED;
    if (*code == OK && job->block.time_ms > clock_wall_ms() + LIMIT_BLOCK_AHEAD_MS) *code = ERR_CLOCK;
    if (*code == OK) return job;
    block_job_drop(job);
    return NULL;
}

static bool same_members(const struct raft_config *a, const struct raft_config *b)
{
    bool same = a->count == b->count;
    for (unsigned i = 0; same && i < a->count; i++)
        same = a->members[i].id == b->members[i].id && a->members[i].voter == b->members[i].voter;
    return same;
}

/* Nothing but the leader's word stands behind a list of members in the log or with a snapshot:
 * one that lies could vote all others out, for good. So there are those of the genesis,
 * until an approved leaf says otherwise. */
static bool members_stand(struct driver *d, const struct raft_message *m)
{
    struct raft_config genesis;
    if (m->type != RAFT_SNAPSHOT) return true;
    driver_genesis_config(&genesis, d->o.genesis);
    return same_members(&m->config, &genesis);
}

/* A leader's empty entry is taken where blocks no longer are, or a new one could not commit what is there. */
static enum err has_room(const struct driver *d, enum raft_entry_type type)
{
    if (type == RAFT_ENTRY_NOOP) return d->log_filled < LIMIT_LOG_EMPTY ? OK : ERR_LOG_FULL;
    if (d->space_low) return ERR_FULL;
    return d->log_filled < LIMIT_LOG_BLOCKS ? OK : ERR_LOG_FULL;
}

/* How many of the entries the core has already. Behind the first that differs all others are new to it, also one of the
 * term that the log has there now. */
static size_t count_known(const struct driver *d, const struct raft_message *m)
{
    struct raft_status status;
    size_t known = 0;
    raft_status_get(d->raft, &status);
    for (; known < m->entry_count; known++) {
        const struct raft_entry *e = &m->entries[known];
        if (e->index >= status.compacted.index && raft_term_of(d->raft, e->index) != e->term) break;
    }
    return known;
}

/* Whether the core may see this append; to `fresh`, what is new in it. What it has already was admitted before. */
static bool admit(struct driver *d, const struct raft_message *m, struct queue *fresh)
{
    if (m->term < d->term) return true; /* the core answers with its own term, and takes nothing */
    for (size_t i = count_known(d, m); i < m->entry_count; i++) {
        const struct raft_entry *e = &m->entries[i];
        enum err code = e->type == RAFT_ENTRY_CONFIG ? ERR_UNAUTHORIZED : has_room(d, e->type);
        if (e->type == RAFT_ENTRY_NOOP && code == OK) continue;
        struct block_job *job = code == OK ? admit_block(d, m, e, &code) : NULL;
        if (!job) {
            driver_every(&d->counters.refused_blocks, "a block", m->from, code);
            driver_refused(d, m->from, code);
            return false;
        }
        driver_accepted(d, m->from);
        queue_add(fresh, &job->apply.job.link);
    }
    return true;
}

static enum err step(struct driver *d, const struct raft_message *m)
{
    enum err e = raft_step(d->raft, m);
    d->dirty = true;
    /* Busy: it comes again. Conflict: the ready has it, see driver_evidence.c. */
    if (e != OK && e != ERR_BUSY && e != ERR_CONFLICT)
        driver_every(&d->counters.bad_messages, raft_message_name(m->type), m->from, e);
    return e;
}

/* What the core does not take is not kept either: who does not lead has no end of it, and the next ready may be long in
 * coming. */
static void step_append(struct driver *d, const struct raft_message *m)
{
    struct queue fresh = {0};
    if (m->entry_count) d->distrust[m->from].overlong = false;
    if (admit(d, m, &fresh) && step(d, m) == OK)
        queue_move(&d->admitted, &fresh);
    else
        driver_drop_admitted(&fresh);
}

/* What the leader signed of its commit is evidence for the case that it lies; nothing waits while it is verified. */
static void step_heartbeat(struct driver *d, struct raft_message *m)
{
    uint8_t kept[LIMIT_RAFT_EXTRA];
    if (m->extra.size) memcpy(kept, m->extra.data, m->extra.size); /* a turn may end the link, and its buffer */
    m->extra = bytes_of(kept, m->extra.size);
    step(d, m);
    driver_turn(d);
    if (driver_alive(d)) driver_check_statement(d, m);
}

static void on_raft(struct driver *d, unsigned from, struct bytes body)
{
    struct raft_message m;
    enum err e = raft_message_decode(&m, body, peers_version_heard(d->o.peers, from));
    if (e == OK && (m.from != from || m.to != d->o.self)) {
        raft_message_clear(&m);
        e = ERR_WRONG_PEER;
    }
    if (e == OK && !members_stand(d, &m)) {
        raft_message_clear(&m);
        e = ERR_UNAUTHORIZED;
    }
    if (e != OK) {
        driver_every(&d->counters.bad_messages, "a message", from, e);
        return;
    }
    if (driver_hears(d, &m)) {
        if (m.type == RAFT_HEARTBEAT)
            step_heartbeat(d, &m);
        else if (m.type == RAFT_APPEND)
            step_append(d, &m);
        else
            step(d, &m);
    }
    raft_message_clear(&m);
}

void driver_message(struct driver *d, unsigned from, uint32_t type, uint64_t id, struct bytes body)
{
    CHECK(from >= 1 && from <= LIMIT_NODES && from != d->o.self);
    if (d->phase == DRIVER_STOPPED || d->phase == DRIVER_FAILED || d->phase == DRIVER_FLUSHING) return;
    if (type == PEER_RAFT && d->raft)
        on_raft(d, from, body);
    else if (type == PEER_FORWARD && d->raft)
        driver_forwarded(d, from, body);
    else if (type == PEER_PAST)
        driver_past_came(d, from, body);
    else if (type == PEER_REJOIN)
        driver_rejoin_came(d, from, body);
    else if (type == PEER_EVIDENCE)
        driver_evidence_came(d, from, body);
    else if (type == PEER_WITHDRAW)
        driver_withdraw_came(d, from, body);
    else if (type == PEER_WITHDRAWN)
        driver_withdrawn_came(d, from, body);
    else if (type == PEER_HEADS_ASK)
        driver_heads_asked(d, from, body);
    else if (type == PEER_HEADS)
        driver_heads_came(d, from, body);
    else if (type == PEER_BLOCK_ASK)
        driver_block_asked(d, from, id, body);
    else if (type == PEER_BLOCK)
        driver_block_came(d, from, id, body);
}

void driver_receiving(struct driver *d, unsigned from)
{
    if (!driver_alive(d) || (!d->leads && driver_shuns(d, from))) return;
    if (!d->leads && d->distrust[from].overlong) return;
    driver_refused_lately(d, from);
    if (raft_receiving(d->raft, (raft_id)from)) d->dirty = true;
}

/* A leader that can't get an entry through would try again without end, and its parts keep all others from leading, of
 * whom one may have better links. Heard by whole messages alone it is missed, once its entry is on its way again. */
void driver_overlong(struct driver *d, unsigned from)
{
    d->distrust[from].overlong = true;
}

void driver_peer_up(struct driver *d, unsigned peer)
{
    driver_past_up(d, peer); /* before anything that could make it vote */
    driver_blame_up(d, peer);
    if (driver_alive(d) && peer == d->leader) {
        driver_unsent(d);
        driver_route_all(d);
    }
    if (d->phase == DRIVER_OPENING) driver_repair_tick(d);
}

void driver_peer_down(struct driver *d, unsigned peer)
{
    if (!driver_alive(d)) return;
    if (peer == d->leader) driver_unsent(d);
    raft_peer_lost(d->raft, (raft_id)peer);
    d->dirty = true;
}

/* ---- in: time ---- */

void driver_apply_settings(struct driver *d)
{
    if (!d->raft) return;
    bool sure = d->past_known && !d->forgot;
    raft_set_may_vote(d->raft, !d->quarantined && sure);
    raft_set_may_acknowledge(d->raft, sure);
    raft_set_may_lead(d->raft, d->phase != DRIVER_LEAVING && d->clock_ok && !d->space_low && !d->quarantined &&
                                   !d->stuck && !driver_is_named(d, d->o.self));
    d->dirty = true;
}

/* A state that hangs (its device, a worker that reads from it) while the log's disk goes on: others commit still, but
 * a leader proposes nothing more once it lags too far itself, and its heartbeats would keep all others from leading. */
static void watch_state(struct driver *d)
{
    bool waits = d->position.raft_index < d->apply_due && !d->hold && !d->installing;
    if (!waits || d->position.raft_index != d->moved_to) d->moved_tick = d->ticks;
    d->moved_to = d->position.raft_index;
    bool stuck = d->ticks - d->moved_tick > STUCK_TICKS;
    if (stuck == d->stuck) return;
    d->stuck = stuck;
    if (stuck)
        log_error("driver", "entry %llu was committed %u s ago and this node's state does not take it: this node does "
                  "not lead meanwhile", (unsigned long long)d->moved_to + 1, STUCK_TICKS * DRIVER_TICK_MS / 1000);
    else
        log_notice("driver", "the state goes on");
    driver_apply_settings(d);
}

/* The core decides it, and can't say it. */
static void watch_disk(struct driver *d)
{
    struct raft_status s;
    raft_status_get(d->raft, &s);
    if (s.yielded != d->yielded && log_seldom(&d->warned_disk_ns))
        log_warning("driver", "this node's log is written much later than those of a majority: it hands leadership over. "
                    "Look for what slows its disk down");
    d->yielded = s.yielded;
}

static void watch_log(struct driver *d)
{
    struct log_status log;
    log_status(d->o.log, &log);
    d->log_filled = log.filled;
    bool full = log.filled >= LIMIT_LOG_NEW;
    if (full == d->log_full) return;
    d->log_full = full;
    d->dirty = true;
    if (full)
        log_error("driver", "the log holds half of what it can, and can't be trimmed, since too few nodes co-sign: no new "
                  "blocks are taken meanwhile. Start the nodes that are away");
    else
        log_notice("driver", "the log is trimmed: new blocks are taken again");
}

static void slow_tick(struct driver *d)
{
    if (d->phase == DRIVER_OPENING) {
        driver_repair_tick(d);
        driver_open(d);
        return;
    }
    driver_trim(d);
    driver_repair_tick(d);
    if (d->hold) driver_ask_state(d);
    driver_past_tick(d);
    driver_rejoin_tick(d);
}

void driver_tick(struct driver *d)
{
    d->ticks++;
    driver_watch_clock(d);
    if (d->phase == DRIVER_STOPPED || d->phase == DRIVER_FAILED) return;
    driver_past_wait(d);
    watch_log(d);
    if (driver_alive(d)) {
        watch_state(d);
        raft_tick(d->raft);
        watch_disk(d);
        d->dirty = true;
    }
    driver_deadlines(d);
    driver_fork_tick(d);
    driver_contradicted_tick(d);
    if (d->ticks % DRIVER_SLOW_TICKS == 0 && d->phase != DRIVER_FLUSHING) slow_tick(d);
}

/* ---- in: what the log thread finished ---- */

static void mark_done(struct driver *d, struct cosigned_mark *m, enum err code)
{
    if (d->marking == m->raft_index) d->marking = 0;
    if (code == OK) {
        d->mark = *m;
        d->marked = true;
        if (d->raft) raft_set_floor(d->raft, m->raft_index);
    }
    m->done(m, code);
}

static void written(struct driver *d, struct log_write *w)
{
    if (w->job.code != OK)
        driver_fail(d, w->job.code, "cannot write the log: %s", err_text(w->job.code));
    else if (w->number != 0 && driver_alive(d))
        raft_persisted(d->raft, w->number);
    else if (w->number == 0) { /* the driver's own reset, while opening */
        d->compacting = false;
        driver_open(d);
    }
    log_write_free(w);
    d->dirty = true;
}

static void noted(struct driver *d, struct job *job)
{
    if (job->code != OK) driver_fail(d, job->code, "cannot write the log: %s", err_text(job->code));
    free(job);
}

void driver_log_done(struct driver *d, struct job *job)
{
    switch ((enum log_job_kind)job->kind) {
    case LOG_JOB_WRITE: written(d, container(job, struct log_write, job)); break;
    case LOG_JOB_MARK: {
        enum err code = job->code;
        mark_done(d, container(job, struct cosigned_mark, driver.job), code);
        if (code != OK && code != ERR_CONFLICT && code != ERR_STOPPED)
            driver_fail(d, code, "cannot write the log: %s", err_text(code));
        break;
    }
    case LOG_JOB_COMPACT: driver_compacted(d, container(job, struct log_compaction, job)); break;
    case LOG_JOB_REPAIR: {
        struct log_patch *p = container(job, struct log_patch, job);
        enum err code = job->code;
        log_patch_free(p);
        driver_patched(d, code);
        break;
    }
    case LOG_JOB_FORGOTTEN:
    case LOG_JOB_RECOVERED: noted(d, job); break;
    }
}
