#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/pack.h"
#include "consensus/peer_messages.h"
#include "consensus/witness_internal.h"
#include "consensus/witness_rows.h"
#include "crypto/keys.h"
#include "net/peers.h"

#define TICK_MS 50
#define STALLED_MS 30000 /* different roots are looked at so long, before another leader is wanted */
#define ALONE_MS 200     /* what this node cosigned is witnessed sooner, where all members reach each other */
#define AGAIN_MS 200     /* a pace for what was told already is answered to one member so often */
#define WRONG_MOST 16    /* so many messages of one member that are wrong, and it is not heard ... */
#define WRONG_NS 1000000000ull /* ... until a second after the first of them */

/* --- statements --- */

static void pack_cosigned(struct buffer *out, const struct cosigned *c)
{
    pack_array(out, 4);
    pack_uint(out, c->size);
    pack_digest(out, &c->root);
    pack_uint(out, c->cosignature.time_s);
    pack_bin(out, c->cosignature.signature.bytes, sizeof c->cosignature.signature.bytes);
}

bool witness_end_equal(const struct end *a, const struct end *b)
{
    return a->raft_index == b->raft_index && a->raft_term == b->raft_term && a->size == b->size &&
           digest_equal(&a->root, &b->root);
}

static void send_all(struct witness *w, uint32_t type, const struct buffer *body)
{
    for (unsigned i = 1; i <= w->n; i++)
        if (i != w->o.self) peers_send(w->o.peers, i, type, 0, buffer_bytes(body)); /* lost: the next pace repeats */
}

/* Before a rebuild this node may have told another root after an entry up to there, in good faith; whoever
 * holds both would call it a lie. A later term's entries are told of again. */
bool witness_is_quiet(const struct witness *w, const struct end *end)
{
    return end->raft_index <= w->o.quiet_index && end->raft_term <= w->o.quiet_term;
}

void witness_tell(struct witness *w, const struct end *end, uint32_t type)
{
    struct told own = w->told[w->o.self];
    struct buffer body = {0};
    if (!witness_end_equal(&own.end, end)) {
        witness_sign_tell(&own, w, end);
        witness_set_told(w, w->o.self, &own);
    }
    witness_keep_own(w, &own);
    witness_pack_tell(&body, &own);
    send_all(w, type, &body);
    buffer_free(&body);
}

void witness_send_cosignature(struct witness *w, unsigned to)
{
    struct buffer body = {0};
    pack_cosigned(&body, &w->cosigned[w->o.self][0]);
    if (to)
        peers_send(w->o.peers, to, PEER_COSIGN, 0, buffer_bytes(&body));
    else
        send_all(w, PEER_COSIGN, &body);
    buffer_free(&body);
}

const struct end *witness_end_at(const struct witness *w, uint64_t raft_index)
{
    const struct end *end = &w->ends[raft_index % ENDS_KEPT];
    return end->raft_index == raft_index && raft_index ? end : NULL;
}

const struct end *witness_end_of_size(const struct witness *w, uint64_t size)
{
    const struct end *first = NULL;
    for (uint64_t i = w->newest.raft_index; i && i + ENDS_KEPT > w->newest.raft_index; i--) {
        const struct end *end = witness_end_at(w, i);
        if (end && end->size == size) first = end;
        if (end && end->size < size) break;
    }
    return first;
}

bool witness_was_at(const struct witness *w, struct digest *root, uint64_t raft_index, uint64_t raft_term,
                    uint64_t size)
{
    const struct end *end = witness_end_at(w, raft_index);
    if (!end || end->raft_term != raft_term || end->size != size) return false;
    *root = end->root;
    return true;
}

/* --- a checkpoint is witnessed --- */

void witness_quarantine(struct witness *w, const char *why)
{
    if (w->quarantined) return;
    w->quarantined = true;
    w->o.on_quarantine(w->o.data, why);
}

/* on_contradicted quarantines, too. */
void witness_contradicted(struct witness *w, uint32_t members, uint64_t size, uint64_t raft_index, const char *why)
{
    struct cosigned_mark last = {0};
    bool bound = w->marking || (driver_cosigned(w->o.driver, &last) && last.size >= size);
    if (w->quarantined) return;
    if (bound || !w->o.on_contradicted) {
        witness_quarantine(w, why);
        return;
    }
    w->quarantined = true;
    w->o.on_contradicted(w->o.data, members & ~(UINT32_C(1) << w->o.self), raft_index, why);
}

static void keep_witnessed(struct witness *w, struct witnessed *fresh)
{
    struct witnessed *slot = &w->kept[w->kept_next++ % WITNESS_KEPT];
    buffer_free(&slot->note);
    *slot = *fresh; /* takes the note over */
    w->size = slot->size;
    w->moved_ns = clock_monotonic_ns();
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

/* Members that don't reach each other don't get each other's cosignatures, either: the note has them. */
static void push_when_alone(struct witness *w)
{
    if (!w->alone_size || w->alone_size > w->size) return;
    w->alone_size = 0;
    for (unsigned i = 1; i <= w->n; i++)
        if (i != w->o.self) push_note(w, i);
}

void witness_take_witnessed(struct witness *w, struct witnessed *fresh)
{
    keep_witnessed(w, fresh);
    const struct witnessed *kept = &w->kept[(w->kept_next - 1) % WITNESS_KEPT];
    witness_row_keep(w->o.driver, kept);
    push_when_alone(w);
    witness_run_waits(w, w->moved_ns, false);
    w->o.on_witnessed(w->o.data, w->size);
    if (w->leads) witness_next_round(w);
}

/* What was told may be of a later entry, without a leaf; who took the note late doesn't know that. Only where the first
 * isn't remembered it is the next best. */
static const struct end *end_of_completed(const struct witness *w, uint64_t size, const struct digest *root)
{
    const struct end *first = witness_end_of_size(w, size);
    for (unsigned i = 0; i < ROUNDS_MOST && !first; i++)
        if (w->marks[i].size == size && digest_equal(&w->marks[i].root, root)) first = &w->marks[i];
    return first;
}

/* k cosignatures for one (size, root)? */
static void try_complete(struct witness *w, uint64_t size, const struct digest *root)
{
    unsigned count = 0;
    uint32_t members = 0;
    struct cosignature list[LIMIT_NODES] = {{0}};
    if (size <= w->size) return;
    for (unsigned i = 1; i <= w->n; i++) {
        const struct cosigned *c = witness_cosigned_at(w, i, size);
        if (!c || !digest_equal(&c->root, root)) continue;
        list[i - 1] = c->cosignature;
        members |= UINT32_C(1) << i;
        count++;
    }
    if (count < w->k) return;
    const struct end *end = end_of_completed(w, size, root);
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
        witness_contradicted(w, members, size, end->raft_index, "its root contradicts one that k nodes co-signed");
        return;
    }
    fresh.raft_index = end->raft_index, fresh.raft_term = end->raft_term, fresh.time_ms = end->time_ms;
    witness_take_witnessed(w, &fresh);
}

/* --- cosigning --- */

static void cosign(struct witness *w, const struct end *end)
{
    struct checkpoint checkpoint;
    struct cosigned own = {.size = end->size, .root = end->root, .cosignature.time_s = clock_wall_ms() / 1000};
    checkpoint_set(&checkpoint, w->o.genesis, end->size, &end->root);
    checkpoint_cosign(&own.cosignature, &checkpoint, own.cosignature.time_s, &w->o.keys->cosign);
    witness_keep_cosigned(w, w->o.self, &own);
    w->cosigned_end = *end;
    w->cosigned_ns = clock_monotonic_ns();
    witness_round_cosigned(w, end);
    witness_send_cosignature(w, 0);
    try_complete(w, end->size, &end->root);
    if (w->leads) witness_next_round(w);
}

/* What was told while a mark was written; later rounds first, since no smaller one is cosigned after them. */
static void cosign_told(struct witness *w)
{
    witness_try_cosign(w, witness_end_at(w, w->told[w->o.self].end.raft_index));
    for (unsigned i = 0; i < ROUNDS_MOST - 1; i++)
        witness_try_cosign(w, witness_end_at(w, w->told_before[w->o.self][i].end.raft_index));
}

static void marked(struct cosigned_mark *m, enum err code)
{
    struct witness *w = m->data;
    struct end end = w->marks[0];
    w->marking = false;
    if (w->stopped || code == ERR_STOPPED) return;
    if (code == OK) {
        cosign(w, &end);
        cosign_told(w);
    } else {
        log_error("witness", "size %llu is not cosigned: %s", (unsigned long long)m->size, err_text(code));
    }
}

/* Once k nodes, this one included, told the same for the end of a block that is applied here. */
void witness_try_cosign(struct witness *w, const struct end *own)
{
    struct cosigned_mark last = {0};
    struct driver_status driver;
    unsigned count = 0;
    driver_status(w->o.driver, &driver);
    if (!own || w->marking || w->quarantined || w->stopped || driver.quarantined) return;
    for (unsigned i = 1; i <= w->n; i++)
        count += witness_has_told(w, i, own) && witness_counts(w, i, own);
    if (count < w->k) return;
    bool any = driver_cosigned(w->o.driver, &last);
    if (any && own->size < last.size) return; /* never anything smaller */
    if (any && own->size == last.size) {
        if (!digest_equal(&own->root, &last.root))
            witness_quarantine(w, "its root contradicts one that it cosigned before");
        else if (w->cosigned[w->o.self][0].size != own->size)
            cosign(w, own);
        return;
    }
    if (w->marks[0].size != own->size) memmove(&w->marks[1], &w->marks[0], sizeof w->marks - sizeof w->marks[0]);
    w->marks[0] = *own;
    w->mark = (struct cosigned_mark){.raft_index = own->raft_index, .size = own->size, .root = own->root, .data = w,
                                     .done = marked};
    w->marking = true;
    enum err e = driver_log_cosigned(w->o.driver, &w->mark);
    if (e != OK) w->marking = false; /* busy or stopping: the next tell or pace tries again */
}

static void bound(struct cosigned_mark *m, enum err code)
{
    struct witness *w = m->data;
    w->marking = false;
    if (!w->stopped && code == OK) cosign_told(w);
}

/* What a node cosigned binds it also after its disk was set back, and it gets no vote before its log says so again. All that
 * it has may be witnessed without it: till something new is written no round begins in which it would cosign. The same root
 * of k nodes binds it as well. */
static void bind_again(struct witness *w)
{
    struct driver_status d;
    if (!w->kept_next || w->marking || w->quarantined || !driver_forgot_cosigned(w->o.driver)) return;
    const struct witnessed *last = &w->kept[(w->kept_next - 1) % WITNESS_KEPT];
    driver_status(w->o.driver, &d);
    if (d.quarantined || d.catching_up || d.size != last->size || !digest_equal(&d.root, &last->root)) return;
    w->mark = (struct cosigned_mark){.raft_index = d.applied, .size = d.size, .root = d.root, .data = w, .done = bound};
    w->marking = driver_log_cosigned(w->o.driver, &w->mark) == OK;
}

/* --- telling --- */

/* What was told before goes to all again, in answer to one message: not as often as one likes. */
static bool may_repeat(struct witness *w, unsigned to)
{
    uint64_t now = clock_monotonic_ns();
    if (w->again_ns[to] && now - w->again_ns[to] < UINT64_C(1000000) * AGAIN_MS) return false;
    w->again_ns[to] = now;
    return true;
}

/* Tells what a member asked for, once it is applied here. Never anything older than told before. */
static void answer_pace(struct witness *w, unsigned from, struct end *asked)
{
    const struct end *own = witness_end_at(w, asked->raft_index), *last = &w->told[w->o.self].end;
    if (!own) return; /* not applied yet: witness_applied comes back to it */
    asked->raft_index = 0;
    if (witness_is_quiet(w, own) || own->raft_index < last->raft_index) return;
    if (witness_end_equal(own, last) && !may_repeat(w, from)) return;
    witness_tell(w, own, PEER_TELL);
    if (w->cosigned[w->o.self][0].size == own->size) witness_send_cosignature(w, from); /* ours was lost */
    witness_try_cosign(w, own);
}

static void answer_paces(struct witness *w, unsigned from)
{
    for (unsigned i = ROUNDS_MOST; i-- > 0;)
        if (w->asked[from][i].raft_index) answer_pace(w, from, &w->asked[from][i]);
}

/* A leader under which honest nodes have different roots may be the one that made them, and no signature shows it.
 * Words after one block may be known together for a moment only, where rounds overlap. So a split lasts until as
 * much is witnessed, or k words for as much are equal after all. */
static void watch_split(struct witness *w, uint64_t now_ns)
{
    if (w->quarantined) return;
    if (w->stalled_ns && (w->split.size <= w->size || witness_agree(w, w->split.size))) w->stalled_ns = 0;
    if (w->stalled_ns == 0) {
        const struct end *split = witness_find_split(w);
        if (!split) return;
        w->split = *split;
        w->stalled_ns = now_ns;
    }
    if (now_ns - w->stalled_ns < UINT64_C(1000000) * STALLED_MS) return;
    w->stalled_ns = 0;
    if (w->o.on_stalled) w->o.on_stalled(w->o.data);
}

/* k words came here, but k cosignatures don't follow: the others may not reach each other, only this node (a ring of
 * majorities, or one between two sides). So they are shown what each of them told. */
static void show_when_alone(struct witness *w, uint64_t now_ns)
{
    if (w->cosigned_end.size <= w->size || w->quarantined) return;
    if (now_ns - w->cosigned_ns < UINT64_C(1000000) * ALONE_MS) return;
    if (w->alone_size != w->cosigned_end.size) w->shown_ns = 0; /* of each round once, at once */
    w->alone_size = w->cosigned_end.size;
    witness_show(w, &w->cosigned_end);
}

static void on_tick(uv_timer_t *timer)
{
    struct witness *w = timer->data;
    uint64_t now = clock_monotonic_ns();
    witness_run_waits(w, now, false);
    watch_split(w, now);
    show_when_alone(w, now);
    witness_check_later(w);
    bind_again(w);
    witness_overdue_round(w, now);
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
        witness_look_back(w, &end);
    }
    witness_check_later(w);
    for (unsigned i = 1; i <= w->n; i++) answer_paces(w, i);
    if (w->leads) witness_next_round(w);
}

void witness_role(struct witness *w, bool leads, uint64_t term)
{
    if (w->stopped) return;
    w->leads = leads;
    if (term != w->term && leads) memset(w->rounds, 0, sizeof w->rounds); /* what was under way may be lost */
    w->term = term;
    w->stalled_ns = 0;
    if (leads) witness_next_round(w);
}

/* --- messages --- */

/* A member's messages can't fill the log. */
void witness_warn(struct witness *w, unsigned from, const char *what)
{
    uint64_t now = clock_monotonic_ns();
    if (now - w->wrong_ns[from] > WRONG_NS) w->wrong_ns[from] = now, w->wrong[from] = 0;
    w->wrong[from]++;
    if (w->warned_ns[from] && now - w->warned_ns[from] < UINT64_C(1000) * 1000000) return;
    w->warned_ns[from] = now;
    log_warning("witness", "node %u (%s) %s", from, genesis_member(w->o.genesis, from)->name, what);
}

/* It says what this node says, of what it cosigned or is about to: of no use any more, so not verified. */
static bool is_late(const struct witness *w, const struct end *told)
{
    const struct end *own = witness_end_at(w, told->raft_index);
    bool marked = w->marking && w->marks[0].size >= told->size;
    return own && witness_end_equal(own, told) && (marked || w->cosigned[w->o.self][0].size >= told->size);
}

static void take_tell(struct witness *w, unsigned from, bool paces, struct bytes body)
{
    struct told told;
    if (witness_unpack_tell(&told, body) != OK) {
        witness_warn(w, from, "told its root in a message that is not well-formed");
        return;
    }
    if (!witness_hears(w, from)) return;
    if (!paces && is_late(w, &told.end)) {
        witness_note_late(w, from, &told);
        return;
    }
    if (!witness_note_tell(w, from, &told)) {
        witness_warn(w, from, "told its root with a signature that does not verify");
        return;
    }
    witness_set_told(w, from, &told); /* also an older one: it is what this member says now */
    const struct end *own = witness_end_at(w, told.end.raft_index);
    if (own) witness_compare(w, from, own, &told.end);
    if (!paces) {
        if (own) witness_try_cosign(w, own);
    } else if (told.end.size > w->size) {
        struct end *asked = w->asked[from];
        memmove(&asked[1], &asked[0], (ROUNDS_MOST - 1) * sizeof asked[0]);
        asked[0] = told.end;
        answer_paces(w, from);
    } else {
        push_note(w, from); /* it is behind: the note we have says so */
    }
}

/* Verified when it came first. */
static bool is_known(const struct witness *w, unsigned from, const struct cosigned *c)
{
    const struct cosigned *known = witness_cosigned_at(w, from, c->size);
    return known && digest_equal(&known->root, &c->root) && known->cosignature.time_s == c->cosignature.time_s &&
           memcmp(&known->cosignature.signature, &c->cosignature.signature, sizeof c->cosignature.signature) == 0;
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
        witness_warn(w, from, "cosigned in a message that is not well-formed");
        return;
    }
    if (c.size <= w->size) {
        witness_late_cosigned(w, from, &c);
        return;
    }
    checkpoint_set(&checkpoint, w->o.genesis, c.size, &c.root);
    if (!is_known(w, from, &c) &&
        checkpoint_cosignature_verify(&c.cosignature, &checkpoint, &w->cosigners[from - 1].key) != OK) {
        witness_warn(w, from, "sent a cosignature that does not verify");
        return;
    }
    witness_keep_cosigned(w, from, &c);
    try_complete(w, c.size, &c.root);
}

/* Each signature takes the loop 50 us, that of a member which sends none but wrong ones, too. */
static bool is_deaf_to(const struct witness *w, unsigned from)
{
    return w->wrong[from] >= WRONG_MOST && clock_monotonic_ns() - w->wrong_ns[from] <= WRONG_NS;
}

void witness_message(struct witness *w, unsigned from, uint32_t type, struct bytes body)
{
    if (w->stopped || from == 0 || from > w->n || is_deaf_to(w, from)) return;
    switch (type) {
    case PEER_TELL: take_tell(w, from, false, body); return;
    case PEER_PACE: take_tell(w, from, true, body); return;
    case PEER_COSIGN: take_cosignature(w, from, body); return;
    case PEER_NOTE_PUSH: witness_take_push(w, from, body); return;
    case PEER_TOLD: witness_take_shown(w, from, body); return;
    default: CHECK(!"a message of the witness");
    }
}

/* A node that was away gets the newest note and our cosignature of what is under way. */
void witness_peer_up(struct witness *w, unsigned peer)
{
    if (w->stopped) return;
    if (w->cosigned[w->o.self][0].size > w->size) witness_send_cosignature(w, peer);
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

bool witness_stood_at(const struct witness *w, uint64_t *raft_term, const struct witnessed *kept, uint64_t raft_index)
{
    const struct end *end = witness_end_at(w, raft_index);
    if (!end || end->size != kept->size || !digest_equal(&end->root, &kept->root)) return false;
    *raft_term = end->raft_term;
    return true;
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
    witness_run_waits(w, 0, true);
}

void witness_free(struct witness *w)
{
    if (!w) return;
    for (unsigned i = 0; i < WITNESS_KEPT; i++)
        buffer_free(&w->kept[i].note);
    buffer_free(&w->later);
    buffer_free(&w->latest);
    free(w);
}
