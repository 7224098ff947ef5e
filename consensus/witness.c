#include "consensus/witness.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/pack.h"
#include "consensus/peer_messages.h"
#include "consensus/witness_rows.h"
#include "crypto/keys.h"
#include "ledger/checkpoint.h"
#include "ledger/genesis.h"
#include "ledger/proof.h"
#include "net/peers.h"

#define ENDS_KEPT 4096   /* ends of applied blocks that a peer may still ask about */
#define TICK_MS 50
#define OVERDUE_MS 1000  /* any node paces after so long with applied leaves unwitnessed */
#define AGAIN_MS 200     /* a pace for what was told already is answered to one member so often */
/* A round costs n nodes about 600 us of signatures, three messages each way and a write of the log each.
 * So the leader's rounds begin at least so far apart: */
#define GAP_UNAWAITED_MS 50 /* when nobody waits, as far as it knows */
#define GAP_BUSY_MS 4       /* when several blocks come in a round: more share the next one */

/* The end of a block that this node applied. */
struct end {
    uint64_t raft_index, raft_term, size, time_ms;
    struct digest root;
};

/* What a member last told, and last cosigned. */
struct told {
    struct end end; /* raft_index 0: nothing yet */
    struct signature signature;
};
struct cosigned {
    uint64_t size; /* 0: nothing yet */
    struct digest root;
    struct cosignature cosignature;
};

struct witness {
    struct witness_options o;
    struct cosigner cosigners[LIMIT_NODES];
    unsigned n, k;
    uv_timer_t timer, pace_timer; /* pace_timer: the next round isn't due yet */
    bool leads, stopped, quarantined;
    uint64_t term;

    struct end ends[ENDS_KEPT]; /* by raft_index modulo the size */
    struct end newest;          /* applied */
    struct told told[LIMIT_NODES + 1];
    struct cosigned cosigned[LIMIT_NODES + 1];
    struct end pace;        /* what this node asked all to tell, not witnessed so far; raft_index 0: nothing */
    struct end asked[LIMIT_NODES + 1]; /* of each member: its last pace, until answered */
    uint64_t again_ns[LIMIT_NODES + 1]; /* when each member's pace was last answered with what was told before */
    uint64_t moved_ns;      /* when a round last began or ended */
    uint64_t begun_ns, begun_index; /* when the last round of this node began, and for which block */
    uint64_t awaited;       /* somebody waits for this size */
    bool marking;           /* a cosigned mark is on its way to the disk */
    struct cosigned_mark mark;
    struct end mark_end;

    struct witnessed kept[WITNESS_KEPT]; /* by kept_next modulo the size, newest at kept_next - 1 */
    uint64_t kept_next;
    uint64_t size; /* witnessed */
    struct buffer later; /* a note beyond what is applied here */
    struct checkpoint later_checkpoint;
    bool checking;       /* the own root at its size is being read */
    struct witness_wait *waits, *due; /* due: about to be called back */
    uint64_t warned_ns[LIMIT_NODES + 1];
    uint32_t named; /* members whose different root was reported already, until they tell this node's again */
};

/* --- waiting --- */

/* It is in one of the two lists, or in none: then it was called back already. */
static void unlink_wait(struct witness *w, struct witness_wait *wait)
{
    if (wait->witness.previous)
        wait->witness.previous->witness.next = wait->witness.next;
    else if (w->waits == wait)
        w->waits = wait->witness.next;
    else if (w->due == wait)
        w->due = wait->witness.next;
    if (wait->witness.next) wait->witness.next->witness.previous = wait->witness.previous;
    wait->witness.next = wait->witness.previous = NULL;
}

static void pace_next(struct witness *w);

static void link_wait(struct witness_wait **list, struct witness_wait *wait)
{
    wait->witness.previous = NULL;
    wait->witness.next = *list;
    if (*list) (*list)->witness.previous = wait;
    *list = wait;
}

/* A callback may add waits, cancel any, due ones too, and come back here: the due
 * ones go to a list of their own first, and each is off it before it is called. */
static void run_waits(struct witness *w, uint64_t now_ns, bool all)
{
    for (struct witness_wait *at = w->waits, *next; at; at = next) {
        next = at->witness.next;
        if (!all && at->leaf_index >= w->size && now_ns < at->deadline_ns) continue;
        unlink_wait(w, at);
        link_wait(&w->due, at);
    }
    while (w->due) {
        struct witness_wait *at = w->due;
        unlink_wait(w, at);
        at->done(at, at->leaf_index < w->size ? OK : w->stopped ? ERR_STOPPED : ERR_NOT_WITNESSED);
    }
}

void witness_wait(struct witness *w, struct witness_wait *wait)
{
    wait->witness.next = wait->witness.previous = NULL;
    if (wait->leaf_index < w->size || w->stopped) {
        wait->done(wait, wait->leaf_index < w->size ? OK : ERR_STOPPED);
        return;
    }
    link_wait(&w->waits, wait);
    if (!w->leads || wait->leaf_index < w->awaited || wait->leaf_index >= w->newest.size) return;
    w->awaited = wait->leaf_index + 1;
    pace_next(w);
}

void witness_wait_cancel(struct witness *w, struct witness_wait *wait) { unlink_wait(w, wait); }

/* --- statements --- */

#define TELL_TAG "consilium/tell/v1\n"
#define TELL_SIZE (sizeof TELL_TAG - 1 + 32 + 8 + 32 + 8 + 8)

static void tell_bytes(uint8_t out[static TELL_SIZE], const struct witness *w, const struct end *end)
{
    uint8_t *at = out;
    memcpy(at, TELL_TAG, sizeof TELL_TAG - 1), at += sizeof TELL_TAG - 1;
    memcpy(at, w->o.genesis->cluster.bytes, 32), at += 32;
    put_be64(at, end->size), at += 8;
    memcpy(at, end->root.bytes, 32), at += 32;
    put_be64(at, end->raft_index), at += 8;
    put_be64(at, end->raft_term), at += 8;
    CHECK(at == out + TELL_SIZE);
}

static void pack_end(struct buffer *out, const struct end *end)
{
    pack_uint(out, end->size);
    pack_digest(out, &end->root);
    pack_uint(out, end->raft_index);
    pack_uint(out, end->raft_term);
}

static void pack_tell(struct buffer *out, const struct told *told)
{
    pack_array(out, 5);
    pack_end(out, &told->end);
    pack_bin(out, told->signature.bytes, sizeof told->signature.bytes);
}

static void pack_cosigned(struct buffer *out, const struct cosigned *c)
{
    pack_array(out, 4);
    pack_uint(out, c->size);
    pack_digest(out, &c->root);
    pack_uint(out, c->cosignature.time_s);
    pack_bin(out, c->cosignature.signature.bytes, sizeof c->cosignature.signature.bytes);
}

static void unpack_end(struct end *end, struct unpack *u)
{
    end->size = unpack_uint(u);
    end->root = unpack_digest(u);
    end->raft_index = unpack_uint(u);
    end->raft_term = unpack_uint(u);
    if (end->size == 0 || end->raft_index == 0) unpack_fail(u, ERR_MALFORMED);
}

static bool end_equal(const struct end *a, const struct end *b)
{
    return a->raft_index == b->raft_index && a->raft_term == b->raft_term && a->size == b->size &&
           digest_equal(&a->root, &b->root);
}

static void send_all(struct witness *w, uint32_t type, const struct buffer *body)
{
    for (unsigned i = 1; i <= w->n; i++)
        if (i != w->o.self) peers_send(w->o.peers, i, type, 0, buffer_bytes(body)); /* lost: the next pace repeats */
}

static void tell(struct witness *w, const struct end *end, uint32_t type)
{
    uint8_t bytes[TELL_SIZE];
    struct told *own = &w->told[w->o.self];
    if (!end_equal(&own->end, end)) {
        own->end = *end;
        tell_bytes(bytes, w, end);
        sign_message(&own->signature, &w->o.keys->message, BYTES(bytes));
    }
    struct buffer body = {0};
    pack_tell(&body, own);
    send_all(w, type, &body);
    buffer_free(&body);
}

static void send_cosignature(struct witness *w, unsigned to)
{
    struct buffer body = {0};
    pack_cosigned(&body, &w->cosigned[w->o.self]);
    if (to)
        peers_send(w->o.peers, to, PEER_COSIGN, 0, buffer_bytes(&body));
    else
        send_all(w, PEER_COSIGN, &body);
    buffer_free(&body);
}

static const struct end *end_at(const struct witness *w, uint64_t raft_index)
{
    const struct end *end = &w->ends[raft_index % ENDS_KEPT];
    return end->raft_index == raft_index && raft_index ? end : NULL;
}

static const struct end *end_of_size(const struct witness *w, uint64_t size)
{
    for (uint64_t i = w->newest.raft_index; i && i + ENDS_KEPT > w->newest.raft_index; i--) {
        const struct end *end = end_at(w, i);
        if (end && end->size == size) return end;
        if (end && end->size < size) break;
    }
    return NULL;
}

bool witness_was_at(const struct witness *w, struct digest *root, uint64_t raft_index, uint64_t raft_term, uint64_t size)
{
    const struct end *end = end_at(w, raft_index);
    if (!end || end->raft_term != raft_term || end->size != size) return false;
    *root = end->root;
    return true;
}

/* --- a checkpoint is witnessed --- */

static void quarantine(struct witness *w, const char *why)
{
    if (w->quarantined) return;
    w->quarantined = true;
    w->o.on_quarantine(w->o.data, why);
}

static void keep_witnessed(struct witness *w, struct witnessed *fresh)
{
    struct witnessed *slot = &w->kept[w->kept_next++ % WITNESS_KEPT];
    buffer_free(&slot->note);
    *slot = *fresh; /* takes the note over */
    w->size = slot->size;
    w->moved_ns = clock_monotonic_ns();
}

static void take_witnessed(struct witness *w, struct witnessed *fresh)
{
    keep_witnessed(w, fresh);
    const struct witnessed *kept = &w->kept[(w->kept_next - 1) % WITNESS_KEPT];
    witness_row_keep(w->o.driver, kept);
    if (w->pace.size <= w->size) w->pace.raft_index = 0;
    run_waits(w, w->moved_ns, false);
    w->o.on_witnessed(w->o.data, w->size);
    if (w->leads) pace_next(w);
}

/* k cosignatures for one (size, root)? */
static void try_complete(struct witness *w, uint64_t size, const struct digest *root)
{
    unsigned count = 0;
    struct cosignature list[LIMIT_NODES] = {{0}};
    if (size <= w->size) return;
    for (unsigned i = 1; i <= w->n; i++)
        if (w->cosigned[i].size == size && digest_equal(&w->cosigned[i].root, root)) {
            list[i - 1] = w->cosigned[i].cosignature;
            count++;
        }
    if (count < w->k) return;
    const struct end *end = end_of_size(w, size);
    struct checkpoint checkpoint;
    struct witnessed fresh = {.size = size, .root = *root};
    checkpoint_set(&checkpoint, w->o.genesis, size, root);
    checkpoint_format(&fresh.note, &checkpoint, w->cosigners, list, w->n);
    CHECK(!fresh.note.failed);
    if (!end) { /* not applied so far here: as if a peer had sent it */
        witness_take_note(w, buffer_bytes(&fresh.note));
        buffer_free(&fresh.note);
        return;
    }
    if (!digest_equal(&end->root, root)) {
        buffer_free(&fresh.note);
        quarantine(w, "its root contradicts one that k nodes co-signed");
        return;
    }
    /* Several positions may have one size; the one that k nodes told is the one that others keep, too. */
    if (w->mark_end.size == size && digest_equal(&w->mark_end.root, root)) end = &w->mark_end;
    fresh.raft_index = end->raft_index, fresh.raft_term = end->raft_term, fresh.time_ms = end->time_ms;
    take_witnessed(w, &fresh);
}

/* --- cosigning --- */

static void cosign(struct witness *w, const struct end *end)
{
    struct checkpoint checkpoint;
    struct cosigned *own = &w->cosigned[w->o.self];
    checkpoint_set(&checkpoint, w->o.genesis, end->size, &end->root);
    own->size = end->size;
    own->root = end->root;
    own->cosignature.time_s = clock_wall_ms() / 1000;
    checkpoint_cosign(&own->cosignature, &checkpoint, own->cosignature.time_s, &w->o.keys->cosign);
    send_cosignature(w, 0);
    try_complete(w, own->size, &own->root);
}

static void try_cosign(struct witness *w, const struct end *own);

static void marked(struct cosigned_mark *m, enum err code)
{
    struct witness *w = m->data;
    w->marking = false;
    if (w->stopped || code == ERR_STOPPED) return;
    if (code == OK) {
        cosign(w, &w->mark_end);
        try_cosign(w, end_at(w, w->told[w->o.self].end.raft_index)); /* what was told meanwhile */
    } else {
        log_error("witness", "size %llu is not cosigned: %s", (unsigned long long)m->size, err_text(code));
    }
}

/* Once k nodes, this one included, told the same for the end of a block that is applied here. */
static void try_cosign(struct witness *w, const struct end *own)
{
    struct cosigned_mark last = {0};
    unsigned count = 0;
    if (!own || w->marking || w->quarantined || w->stopped) return;
    for (unsigned i = 1; i <= w->n; i++)
        if (w->told[i].end.raft_index && end_equal(&w->told[i].end, own)) count++;
    if (count < w->k) return;
    bool any = driver_cosigned(w->o.driver, &last);
    if (any && own->size < last.size) return; /* never anything smaller */
    if (any && own->size == last.size) {
        if (!digest_equal(&own->root, &last.root))
            quarantine(w, "its root contradicts one that it cosigned before");
        else if (w->cosigned[w->o.self].size != own->size)
            cosign(w, own);
        return;
    }
    w->mark_end = *own;
    w->mark = (struct cosigned_mark){.raft_index = own->raft_index, .size = own->size, .root = own->root, .data = w,
                                     .done = marked};
    w->marking = true;
    enum err e = driver_log_cosigned(w->o.driver, &w->mark);
    if (e != OK) w->marking = false; /* busy or stopping: the next tell or pace tries again */
}

/* --- pacing and telling --- */

/* What was told before goes to all again, in answer to one message: not as often as one likes. */
static bool may_repeat(struct witness *w, unsigned to)
{
    uint64_t now = clock_monotonic_ns();
    if (w->again_ns[to] && now - w->again_ns[to] < UINT64_C(1000000) * AGAIN_MS) return false;
    w->again_ns[to] = now;
    return true;
}

/* Tells what a member asked for, once it is applied here. Never anything older than told before. */
static void answer_pace(struct witness *w, unsigned from)
{
    const struct end *own = end_at(w, w->asked[from].raft_index), *last = &w->told[w->o.self].end;
    if (!own) return; /* not applied yet: witness_applied comes back to it */
    w->asked[from].raft_index = 0;
    if (own->raft_index < last->raft_index || (end_equal(own, last) && !may_repeat(w, from))) return;
    tell(w, own, PEER_TELL);
    if (w->cosigned[w->o.self].size == own->size) send_cosignature(w, from); /* it asks again: ours was lost */
    try_cosign(w, own);
}

static void begin_pace(struct witness *w, const struct end *end)
{
    w->pace = *end;
    w->begun_ns = w->moved_ns = clock_monotonic_ns();
    w->begun_index = end->raft_index;
    tell(w, end, PEER_PACE);
    if (w->cosigned[w->o.self].size == end->size) send_cosignature(w, 0); /* again: it may have been lost */
    try_cosign(w, end);
}

/* Nanoseconds until the next round is due. One alone who waits has no delay. */
static uint64_t until_due(const struct witness *w)
{
    uint64_t gap = 0, since = clock_monotonic_ns() - w->begun_ns;
    if (w->awaited <= w->size)
        gap = GAP_UNAWAITED_MS;
    else if (w->newest.raft_index > w->begun_index + 1)
        gap = GAP_BUSY_MS;
    gap *= 1000000;
    return since < gap ? gap - since : 0;
}

static void on_pace_timer(uv_timer_t *timer)
{
    struct witness *w = timer->data;
    if (w->leads) pace_next(w);
}

static void pace_next(struct witness *w)
{
    if (w->pace.raft_index || w->stopped || w->quarantined) return;
    if (!w->newest.raft_index || w->newest.size <= w->size) return;
    uint64_t wait = until_due(w);
    if (wait == 0)
        begin_pace(w, &w->newest);
    else
        CHECK(uv_timer_start(&w->pace_timer, on_pace_timer, wait / 1000000 + 1, 0) == 0);
}

static void check_later(struct witness *w);

static void on_tick(uv_timer_t *timer)
{
    struct witness *w = timer->data;
    uint64_t now = clock_monotonic_ns();
    run_waits(w, now, false);
    check_later(w);
    if (w->newest.size > w->size && w->newest.raft_index && !w->quarantined &&
        now - w->moved_ns > (uint64_t)OVERDUE_MS * 1000000) {
        w->pace.raft_index = 0;
        begin_pace(w, &w->newest);
    }
}

void witness_applied(struct witness *w, const struct driver_applied *a)
{
    if (w->stopped) return;
    if (a->awaited) w->awaited = a->size;
    if (!a->replayed && a->raft_index) {
        struct end end = {a->raft_index, a->raft_term, a->size, a->time_ms, a->root};
        if (w->newest.size <= w->size) w->moved_ns = clock_monotonic_ns(); /* idle until now */
        w->ends[a->raft_index % ENDS_KEPT] = end;
        w->newest = end;
    }
    check_later(w);
    for (unsigned i = 1; i <= w->n; i++)
        if (w->asked[i].raft_index && w->asked[i].raft_index <= a->raft_index) answer_pace(w, i);
    if (w->leads) pace_next(w);
}

void witness_role(struct witness *w, bool leads, uint64_t term)
{
    if (w->stopped) return;
    w->leads = leads;
    if (term != w->term && leads) w->pace.raft_index = w->begun_ns = 0; /* a new term: what was in flight may be lost */
    w->term = term;
    if (leads) pace_next(w);
}

/* --- messages --- */

/* A member's messages can't fill the log. */
static void warn(struct witness *w, unsigned from, const char *what)
{
    uint64_t now = clock_monotonic_ns();
    if (w->warned_ns[from] && now - w->warned_ns[from] < UINT64_C(1000) * 1000000) return;
    w->warned_ns[from] = now;
    log_warning("witness", "node %u (%s) %s", from, genesis_member(w->o.genesis, from)->name, what);
}

/* One member's different root, told under its signature: named once. */
static void compare_roots(struct witness *w, unsigned from, const struct end *own, struct bytes body)
{
    const struct end *theirs = &w->told[from].end;
    uint32_t bit = UINT32_C(1) << from;
    if (own->size == theirs->size && digest_equal(&own->root, &theirs->root)) {
        w->named &= ~bit;
    } else if (!(w->named & bit)) {
        w->named |= bit;
        w->o.on_evidence(w->o.data, "another root than this node's", from, theirs->size, body);
    }
}

/* Two statements that contradict each other, each under the member's own signature: [before, now]. */
static void report_both(struct witness *w, const char *kind, unsigned from, uint64_t size, struct buffer *before,
                        struct bytes now)
{
    struct buffer evidence = {0};
    pack_array(&evidence, 2);
    pack_bytes(&evidence, buffer_bytes(before));
    pack_bytes(&evidence, now);
    w->o.on_evidence(w->o.data, kind, from, size, buffer_bytes(&evidence));
    buffer_free(&evidence);
    buffer_free(before);
}

static void push_note(struct witness *w, unsigned to)
{
    struct buffer push = {0};
    if (!w->kept_next) return;
    pack_array(&push, 1);
    pack_bytes(&push, buffer_bytes(&w->kept[(w->kept_next - 1) % WITNESS_KEPT].note));
    peers_send(w->o.peers, to, PEER_NOTE_PUSH, 0, buffer_bytes(&push));
    buffer_free(&push);
}

/* It says what this node says, of what it cosigned or is about to: of no use any more, so not verified. */
static bool is_late(const struct witness *w, const struct end *told)
{
    const struct end *own = end_at(w, told->raft_index);
    bool marked = w->marking && w->mark_end.size >= told->size;
    return own && end_equal(own, told) && (marked || w->cosigned[w->o.self].size >= told->size);
}

static void take_tell(struct witness *w, unsigned from, bool paces, struct bytes body)
{
    struct end end = {0};
    struct signature signature;
    uint8_t bytes[TELL_SIZE];
    struct unpack u = unpack_start(body);
    unpack_array_of(&u, 5);
    unpack_end(&end, &u);
    unpack_bin_exact(&u, signature.bytes, sizeof signature.bytes);
    if (unpack_done(&u) != OK) {
        warn(w, from, "told its root in a message that is not well-formed");
        return;
    }
    if (!paces && is_late(w, &end)) return;
    struct told *told = &w->told[from];
    if (!(told->end.raft_index && end_equal(&told->end, &end))) {
        tell_bytes(bytes, w, &end);
        if (sign_verify(&signature, &genesis_member(w->o.genesis, from)->keys.message, BYTES(bytes)) != OK) {
            warn(w, from, "told its root with a signature that does not verify");
            return;
        }
        if (told->end.raft_index && told->end.size == end.size && !digest_equal(&told->end.root, &end.root)) {
            struct buffer before = {0};
            pack_tell(&before, told);
            report_both(w, "two roots of one size", from, end.size, &before, body);
        }
        told->end = end;
        told->signature = signature;
    }
    const struct end *own = end_at(w, end.raft_index);
    if (own) compare_roots(w, from, own, body);
    if (!paces) {
        if (own) try_cosign(w, own);
    } else if (end.size > w->size) {
        w->asked[from] = end;
        answer_pace(w, from);
    } else {
        push_note(w, from); /* it is behind: the note we have says so */
    }
}

static void take_cosignature(struct witness *w, unsigned from, struct bytes body)
{
    struct cosigned c = {0};
    struct checkpoint checkpoint;
    struct unpack u = unpack_start(body);
    unpack_array_of(&u, 4);
    c.size = unpack_uint(&u);
    c.root = unpack_digest(&u);
    c.cosignature.time_s = unpack_uint(&u);
    unpack_bin_exact(&u, c.cosignature.signature.bytes, sizeof c.cosignature.signature.bytes);
    if (unpack_done(&u) != OK) {
        warn(w, from, "cosigned in a message that is not well-formed");
        return;
    }
    if (c.size <= w->size) return; /* k are there already */
    checkpoint_set(&checkpoint, w->o.genesis, c.size, &c.root);
    if (checkpoint_cosignature_verify(&c.cosignature, &checkpoint, &w->cosigners[from - 1].key) != OK) {
        warn(w, from, "sent a cosignature that does not verify");
        return;
    }
    struct cosigned *known = &w->cosigned[from];
    if (known->size == c.size && !digest_equal(&known->root, &c.root)) {
        struct buffer before = {0};
        pack_cosigned(&before, known);
        report_both(w, "two roots of one size cosigned", from, c.size, &before, body);
    }
    if (known->size > c.size) return;
    *known = c;
    try_complete(w, c.size, &c.root);
}

/* --- notes of peers --- */

struct root_check {
    struct witness *w;
    struct state_read read;
    uint64_t size;
    struct digest root;
};

static void accept_later(struct witness *w)
{
    const struct end *end = end_of_size(w, w->later_checkpoint.size);
    struct witnessed fresh = {.size = w->later_checkpoint.size, .root = w->later_checkpoint.root, .note = w->later};
    if (end) fresh.raft_index = end->raft_index, fresh.raft_term = end->raft_term, fresh.time_ms = end->time_ms;
    w->later = (struct buffer){0};
    w->later_checkpoint.size = 0;
    take_witnessed(w, &fresh);
}

static void judge_later(struct witness *w, const struct digest *own_root)
{
    if (!digest_equal(own_root, &w->later_checkpoint.root)) {
        quarantine(w, "its root contradicts one that k nodes co-signed");
        return;
    }
    accept_later(w);
}

static enum err root_run(struct state_read *read, struct table_txn *txn)
{
    struct root_check *c = read->data;
    return proof_root(&c->root, txn, c->size);
}

static void root_done(struct state_read *read, enum err code)
{
    struct root_check *c = read->data;
    struct witness *w = c->w;
    w->checking = false;
    if (code == OK && !w->stopped && w->later.size && w->later_checkpoint.size == c->size &&
        w->later_checkpoint.size > w->size)
        judge_later(w, &c->root);
    free(c);
}

/* The note waits until its size is applied here; then our own root decides. */
static void check_later(struct witness *w)
{
    struct driver_status d;
    if (!w->later.size || w->stopped || w->quarantined || w->checking) return;
    if (w->later_checkpoint.size <= w->size) {
        buffer_free(&w->later);
        return;
    }
    const struct end *end = end_of_size(w, w->later_checkpoint.size);
    if (end) {
        struct digest own = end->root;
        judge_later(w, &own);
        return;
    }
    driver_status(w->o.driver, &d);
    if (d.size < w->later_checkpoint.size) return;
    struct root_check *c = xcalloc(1, sizeof *c);
    c->w = w;
    c->size = w->later_checkpoint.size;
    c->read = (struct state_read){.fresh = true, .data = c, .run = root_run, .done = root_done};
    w->checking = true;
    if (driver_read(w->o.driver, &c->read) == OK) return;
    w->checking = false; /* busy: the timer comes back to it */
    free(c);
}

void witness_take_note(struct witness *w, struct bytes text)
{
    struct checkpoint checkpoint;
    if (w->stopped || checkpoint_verify(&checkpoint, text, w->o.genesis) != OK) return;
    if (checkpoint.size <= w->size || (w->later.size && w->later_checkpoint.size >= checkpoint.size)) return;
    buffer_clear(&w->later);
    buffer_append_bytes(&w->later, text);
    w->later_checkpoint = checkpoint;
    check_later(w);
}

static void take_push(struct witness *w, unsigned from, struct bytes body)
{
    struct unpack u = unpack_start(body);
    unpack_array_of(&u, 1);
    struct bytes note = unpack_bin(&u, LIMIT_CHECKPOINT_NOTE);
    if (unpack_done(&u) == OK)
        witness_take_note(w, note);
    else
        warn(w, from, "sent a note in a message that is not well-formed");
}

void witness_message(struct witness *w, unsigned from, uint32_t type, struct bytes body)
{
    if (w->stopped || from == 0 || from > w->n) return;
    switch (type) {
    case PEER_TELL: take_tell(w, from, false, body); return;
    case PEER_PACE: take_tell(w, from, true, body); return;
    case PEER_COSIGN: take_cosignature(w, from, body); return;
    case PEER_NOTE_PUSH: take_push(w, from, body); return;
    default: CHECK(!"a message of the witness");
    }
}

/* A node that was away gets the newest note and our cosignature of what is under way. */
void witness_peer_up(struct witness *w, unsigned peer)
{
    if (w->stopped) return;
    if (w->cosigned[w->o.self].size > w->size) send_cosignature(w, peer);
    push_note(w, peer);
}

/* --- what was kept on disk --- */

static enum err load(struct witness *w, struct failure *failure)
{
    struct witnessed rows[WITNESS_KEPT / 2] = {{0}};
    unsigned count = 0;
    enum err e = witness_rows_load(rows, &count, WITNESS_KEPT / 2, w->o.store);
    for (unsigned i = count; i-- > 0;) /* oldest first */
        keep_witnessed(w, &rows[i]);
    return e == OK ? OK : fail(failure, e, "the kept checkpoints can't be read: %s", err_text(e));
}

/* --- start and end --- */

uint64_t witness_size(const struct witness *w) { return w->size; }

uint64_t witness_time_ms(const struct witness *w)
{
    return w->kept_next ? w->kept[(w->kept_next - 1) % WITNESS_KEPT].time_ms : 0;
}

const struct witnessed *witness_before(const struct witness *w, uint64_t most)
{
    for (uint64_t i = w->kept_next; i > 0 && i + WITNESS_KEPT > w->kept_next; i--) {
        const struct witnessed *kept = &w->kept[(i - 1) % WITNESS_KEPT];
        if (kept->raft_index && kept->raft_index <= most) return kept;
    }
    return NULL;
}

bool witness_newest(const struct witness *w, struct bytes *note, uint64_t *size, struct digest *root,
                    uint64_t *raft_index, uint64_t *raft_term)
{
    if (!w->kept_next) return false;
    const struct witnessed *kept = &w->kept[(w->kept_next - 1) % WITNESS_KEPT];
    *note = buffer_bytes(&kept->note);
    *size = kept->size;
    *root = kept->root;
    *raft_index = kept->raft_index;
    *raft_term = kept->raft_term;
    return true;
}

enum err witness_start(struct witness **out, const struct witness_options *options, struct failure *failure)
{
    struct witness *w = xcalloc(1, sizeof *w);
    w->o = *options;
    w->n = cosigners_of_genesis(w->cosigners, options->genesis);
    w->k = options->genesis->quorum;
    w->moved_ns = clock_monotonic_ns();
    enum err e = load(w, failure);
    if (e != OK) {
        free(w);
        return e;
    }
    CHECK(uv_timer_init(options->loop, &w->timer) == 0 && uv_timer_init(options->loop, &w->pace_timer) == 0);
    w->timer.data = w->pace_timer.data = w;
    CHECK(uv_timer_start(&w->timer, on_tick, TICK_MS, TICK_MS) == 0);
    *out = w;
    return OK;
}

void witness_stop(struct witness *w)
{
    if (w->stopped) return;
    w->stopped = true;
    uv_close((uv_handle_t *)&w->timer, NULL);
    uv_close((uv_handle_t *)&w->pace_timer, NULL);
    run_waits(w, 0, true);
}

void witness_free(struct witness *w)
{
    if (!w) return;
    for (unsigned i = 0; i < WITNESS_KEPT; i++)
        buffer_free(&w->kept[i].note);
    buffer_free(&w->later);
    free(w);
}
