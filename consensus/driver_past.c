/* A node that was set back to an old image of its disk, or whose log lost its end, must not vote.
 *
 * Each node signs, once a second while it changes, the furthest that it has come:
 * its durable term, its last index that is committed and durable, the size that it
 * cosigned. Each of the three only ever grows, whatever leaders do. Peers keep each
 * other's newest such claim, durably, and give it back when a link comes up, before
 * anything else, and with each claim of their own. Who finds itself behind its own
 * past, under its own signature, forgot votes and acknowledgements: it follows and
 * serves, but neither votes nor leads, its copies count in no majority, and it cosigns
 * nothing below what it cosigned before. That stays so over restarts, also once it has
 * caught up: nobody can give back the votes that it gave in the second before, which it
 * never claimed. (Its own row among the peers' says so, and its log, if the state with that row is lost.)
 * It ends when none of them can matter any more (driver_rejoin.c).
 * So that it knows before it acts, it waits after each start: it gives no vote, and counts in no majority, until each
 * other member has told what it knows, or PAST_WAIT is over, since who can't be reached mustn't keep it. Else the first
 * link that is up could be to a leader that knows nothing of what was forgotten, and commits by its copy what a vote
 * given and forgotten undoes. (An acknowledgement of such a time is not taken back by a leader.)
 * A log that is known to be damaged (driver_open.c) forgot the same, whatever peers know:
 * such a node is kept from voting in the same way, and has its past to reach again.
 * Of disks that were set back that is promised only where a peer that saw it is reachable.
 *
 * A vote that it forgot in a term which the others never came to would keep it waiting for the next election. It isn't
 * waited for: what was forgotten of that term matters no more by then either. The term counts as reached from then on, and
 * in what the node claims; so does everything whose loss its operator accepted, in the start that he said so for, since
 * too few others are left for it to rejoin.
 *
 *   PAST  [claim, claim or []]   the sender's own; the receiver's, as the sender keeps it
 *   claim [term, index, size, signature(64)]
 *         over "consilium/past/v1\n" || cluster || term (8) || index (8) || size (8)
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/pack.h"
#include "consensus/driver_internal.h"
#include "crypto/sign.h"
#include "ledger/tables.h"
#include "net/peers.h"
#include "storage/log.h"

#define PAST_WAIT_TICKS 40 /* 2 s, the most that a peer that was away waits until it dials again (net/peers.c) */

static const char tag[] = "consilium/past/v1\n";
#define SIGNED_SIZE (sizeof tag - 1 + 32 + 3 * 8)

static void signed_bytes(uint8_t out[static SIGNED_SIZE], const struct driver *d, const struct past *p)
{
    size_t at = sizeof tag - 1;
    memcpy(out, tag, at);
    memcpy(out + at, d->o.genesis->cluster.bytes, 32);
    put_be64(out + at + 32, p->term);
    put_be64(out + at + 40, p->index);
    put_be64(out + at + 48, p->size);
}

static bool is_signed_by(const struct driver *d, const struct past *p, unsigned node)
{
    uint8_t message[SIGNED_SIZE];
    signed_bytes(message, d, p);
    return sign_verify(&p->signature, &genesis_member(d->o.genesis, node)->keys.message, BYTES(message)) == OK;
}

static bool is_behind(const struct past *a, const struct past *b)
{
    return a->term < b->term || a->index < b->index || a->size < b->size;
}

static bool is_none(const struct past *p) { return p->term == 0; }

void driver_past_raise(struct past *p, const struct past *by)
{
    if (by->term > p->term) p->term = by->term;
    if (by->index > p->index) p->index = by->index;
    if (by->size > p->size) p->size = by->size;
}

/* ---- encoding ---- */

static void pack_past(struct buffer *out, const struct past *p)
{
    pack_array(out, is_none(p) ? 0 : 4);
    if (is_none(p)) return;
    pack_uint(out, p->term);
    pack_uint(out, p->index);
    pack_uint(out, p->size);
    pack_bin(out, p->signature.bytes, sizeof p->signature.bytes);
}

static struct past unpack_past(struct unpack *u)
{
    struct past p = {0};
    uint32_t count = unpack_array(u, 4);
    if (count == 0) return p;
    if (count != 4) unpack_fail(u, ERR_MALFORMED);
    p.term = unpack_uint_max(u, RAFT_TERM_MAX);
    p.index = unpack_uint_max(u, RAFT_INDEX_MAX);
    p.size = unpack_uint(u);
    unpack_bin_exact(u, p.signature.bytes, sizeof p.signature.bytes);
    return p;
}

/* ---- kept ---- */

/* Its own row: a claim that it has to reach again, or [term, index, size] that count as reached, or []. */
static void pack_row(struct buffer *out, const struct driver *d, unsigned peer)
{
    if (peer == d->o.self && is_none(&d->pasts[peer]) && !is_none(&d->excused)) {
        pack_array(out, 3);
        pack_uint(out, d->excused.term);
        pack_uint(out, d->excused.index);
        pack_uint(out, d->excused.size);
    } else {
        pack_past(out, &d->pasts[peer]);
    }
}

struct keep {
    struct state_write write;
    uint8_t member;
    struct buffer value;
};

static enum err keep_run(struct state_write *w, struct table_txn *txn, struct ledger *ledger)
{
    struct keep *k = w->data;
    (void)ledger;
    return table_put(txn, TABLE_PEER_MARK, bytes_of(&k->member, 1), buffer_bytes(&k->value));
}

static void keep_done(struct state_write *w, enum err code)
{
    struct keep *k = w->data;
    (void)code; /* a store that fails stops the node */
    buffer_free(&k->value);
    free(k);
}

static bool keep(struct driver *d, unsigned peer)
{
    struct keep *k = xcalloc(1, sizeof *k);
    k->member = (uint8_t)peer;
    pack_row(&k->value, d, peer);
    k->write = (struct state_write){.detached = true, .data = k, .run = keep_run, .done = keep_done};
    if (!k->value.failed && driver_write(d, &k->write) == OK) return true;
    buffer_free(&k->value);
    free(k);
    return false;
}

/* Where the store takes nothing now, with the next tick. */
void driver_past_keep(struct driver *d, unsigned node)
{
    d->past_kept[node] = d->ticks;
    d->past_due[node] = !keep(d, node);
}

/* An honest peer claims once a second; one that lies must not fill the store's queue, where others' writes wait. */
static bool was_kept_just_now(const struct driver *d, unsigned peer)
{
    return d->past_kept[peer] && d->ticks - d->past_kept[peer] < DRIVER_SLOW_TICKS / 2;
}

/* ---- what this node claims ---- */

/* Only what is durable: it will be there whatever happens, unless the disk is exchanged. */
static struct past present(const struct driver *d)
{
    struct log_status log;
    struct raft_status status = {0};
    log_status(d->o.log, &log);
    if (d->raft) raft_status_get(d->raft, &status);
    uint64_t index = status.persisted < status.commit ? status.persisted : status.commit;
    struct past now = {.term = log.term, .index = index, .size = log.cosigned.size};
    driver_past_raise(&now, &d->excused);
    return now;
}

static void send_past(struct driver *d, unsigned peer)
{
    buffer_clear(&d->out);
    pack_array(&d->out, 2);
    pack_past(&d->out, &d->claim);
    pack_past(&d->out, &d->pasts[peer]);
    if (!d->out.failed) peers_send(d->o.peers, peer, PEER_PAST, 0, buffer_bytes(&d->out));
}

static void send_to_all(struct driver *d)
{
    for (unsigned i = 1; i <= d->o.genesis->member_count; i++)
        if (i != d->o.self) send_past(d, i);
}

void driver_past_tick(struct driver *d)
{
    uint8_t message[SIGNED_SIZE];
    struct past now = present(d);
    for (unsigned i = 1; i <= d->o.genesis->member_count; i++)
        if (d->past_due[i]) driver_past_keep(d, i);
    if (!driver_alive(d) || d->forgot || now.term == 0) return;
    /* Before peers told more: never less than was claimed. */
    if (is_behind(&now, &d->claim) || !is_behind(&d->claim, &now)) return;
    signed_bytes(message, d, &now);
    sign_message(&now.signature, &d->o.keys->message, BYTES(message));
    d->claim = now;
    send_to_all(d);
}

void driver_past_up(struct driver *d, unsigned peer) { send_past(d, peer); }

/* ---- what peers claim ---- */

static void load_own(struct driver *d, struct bytes row)
{
    struct unpack u = unpack_start(row);
    unpack_array_of(&u, 3);
    struct past p = {.term = unpack_uint_max(&u, RAFT_TERM_MAX), .index = unpack_uint_max(&u, RAFT_INDEX_MAX)};
    p.size = unpack_uint(&u);
    static const struct past lost = {.term = 1};
    if (unpack_done(&u) == OK)
        d->excused = p;
    else if (row.size && !bytes_equal(row, bytes_text("\x90")))
        driver_forgets(d, &lost, "what this node noted of its own past can't be read");
}

void driver_past_rewrite(struct driver *d)
{
    for (unsigned i = 1; i <= d->o.genesis->member_count; i++) d->past_due[i] = true;
}

void driver_past_load(struct driver *d, unsigned peer, struct bytes row)
{
    struct unpack u = unpack_start(row);
    struct past p = unpack_past(&u);
    if (unpack_done(&u) != OK || is_none(&p)) {
        if (peer == d->o.self) load_own(d, row);
        return;
    }
    d->pasts[peer] = p;
    if (peer != d->o.self) return;
    d->past = p;
    driver_forgets(d, &p, "this node's disk was set back before this start, or its log damaged");
}

/* Who signs less than before is set back or lies: what it signed first is kept for it. */
static void learn(struct driver *d, unsigned from, const struct past *theirs)
{
    struct past *known = &d->pasts[from];
    if (is_none(theirs) || is_behind(theirs, known) || !is_behind(known, theirs)) return;
    if (!is_signed_by(d, theirs, from)) {
        driver_every(&d->counters.bad_messages, "a claim of its past", from, ERR_BAD_SIGNATURE);
        return;
    }
    *known = *theirs;
    if (was_kept_just_now(d, from))
        d->past_due[from] = true;
    else
        driver_past_keep(d, from);
}

/* ---- this node's own past ---- */

void driver_past_judge(struct driver *d)
{
    struct log_status log;
    const struct past *p = &d->past;
    char why[200];
    if (!d->raft || d->forgot) return;
    log_status(d->o.log, &log);
    struct past now = present(d);
    /* What a rebuild cut off on purpose (driver_fork.c) is not missing: votes and cosignatures stay. */
    bool has_index = log.last >= p->index || p->index <= d->rebuilt.index || p->index <= d->excused.index;
    if (now.term >= p->term && has_index && now.size >= p->size) return;
    uint64_t first = log.last < p->index ? log.last + 1 : p->index;
    snprintf(why, sizeof why, "this node's disk is older than what it has signed before (term %llu, Raft index %llu, "
             "cosigned size %llu): it was set back", (unsigned long long)p->term, (unsigned long long)p->index,
             (unsigned long long)p->size);
    driver_forgets(d, p, why);
    if (d->forgot && d->o.on_set_back) d->o.on_set_back(d->o.data, first, p->index);
}

static void face(struct driver *d, const struct past *own)
{
    struct past *p = &d->past;
    if (is_none(own) || !is_behind(p, own) || !is_signed_by(d, own, d->o.self)) return;
    driver_past_raise(p, own);
    driver_past_judge(d);
}

/* Lists who told nothing; the number of these. */
static unsigned silent(const struct driver *d, char *out, size_t size)
{
    unsigned count = 0;
    size_t used = 0;
    out[0] = 0;
    for (unsigned i = 1; i <= d->o.genesis->member_count; i++) {
        if (i == d->o.self || d->past_told[i]) continue;
        used += (size_t)snprintf(out + used, size - used, count++ ? ", %u" : "%u", i);
    }
    return count;
}

void driver_past_wait(struct driver *d)
{
    char who[LIMIT_NODES * 4];
    if (d->past_known) return;
    unsigned count = silent(d, who, sizeof who);
    if (count && d->ticks <= PAST_WAIT_TICKS) return;
    if (count) log_info("driver", "goes on without the word of nodes %s, who may know of votes that it forgot", who);
    d->past_known = true;
    driver_apply_settings(d);
}

void driver_past_came(struct driver *d, unsigned from, struct bytes body)
{
    struct unpack u = unpack_start(body);
    unpack_array_of(&u, 2);
    struct past theirs = unpack_past(&u), own = unpack_past(&u);
    enum err e = unpack_done(&u);
    if (e != OK) {
        driver_every(&d->counters.bad_messages, "a claim of the past", from, e);
        return;
    }
    face(d, &own);
    learn(d, from, &theirs);
    d->past_told[from] = true;
    driver_past_wait(d);
}

bool driver_past_reached(const struct driver *d)
{
    struct past now = present(d);
    return now.index >= d->past.index && now.size >= d->past.size;
}

bool driver_forgot_cosigned(const struct driver *d)
{
    return d->forgot && present(d).size < d->past.size;
}
