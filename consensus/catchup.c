#include "consensus/catchup.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "consensus/catchup_internal.h"
#include "ledger/apply.h"
#include "ledger/checkpoint.h"
#include "ledger/proof.h"
#include "ledger/state.h"

#define FIRST_PAUSE_MS 250
#define LONGEST_PAUSE_MS 10000
#define PHASE_NS (UINT64_C(5000) * 1000000)      /* for choosing, and for confirming */
#define ASK_AGAIN_NS (UINT64_C(1000) * 1000000)  /* for manifests that have not come */
#define CHOOSE_NS (UINT64_C(500) * 1000000)      /* the newest one of those that came by then */

static void begin_run(struct catchup *c);

/* --- helpers of all files --- */

const char *catchup_name(const struct catchup *c, unsigned peer)
{
    const struct descriptor *d = genesis_member(c->o.genesis, peer);
    return d ? d->name : "?";
}

void catchup_send(struct catchup *c, unsigned peer, uint32_t type, uint64_t id, const struct buffer *body)
{
    if (!body->failed) peers_send(c->o.peers, peer, type, id, buffer_bytes(body)); /* lost: its time runs out */
}

unsigned catchup_next_peer(const struct catchup *c, unsigned last, peer_mask without)
{
    for (unsigned i = 1; i <= c->n; i++) {
        unsigned peer = (last + i - 1) % c->n + 1;
        if (peer != c->o.self && !(without & PEER_BIT(peer)) && peers_up(c->o.peers, peer)) return peer;
    }
    return 0;
}

unsigned catchup_fastest_peer(const struct catchup *c, unsigned last, peer_mask without, const struct speeds *speeds)
{
    unsigned best = 0;
    for (unsigned peer; (peer = catchup_next_peer(c, last, without)) != 0; without |= PEER_BIT(peer))
        if (!best || speeds->took_ns[peer] < speeds->took_ns[best]) best = peer;
    return best;
}

struct ask ask_begin(struct catchup *c, unsigned peer)
{
    uint64_t now = clock_monotonic_ns();
    return (struct ask){peer, ++c->next_id, now, now + LIMIT_PULL_MS * UINT64_C(1000000)};
}

void speeds_note(struct speeds *speeds, const struct ask *ask, bool helped)
{
    uint64_t took = clock_monotonic_ns() - ask->since_ns;
    speeds->took_ns[ask->peer] = !helped ? TOOK_FOR_EVER : took ? took : 1;
}

void catchup_update_ready(struct catchup *c)
{
    bool ready = c->phase == CATCHUP_IDLE && !c->contradicted && fill_done(c);
    if (ready == c->ready || c->stopped) return;
    c->ready = ready;
    c->o.on_ready(c->o.data, ready);
}

static unsigned count_of(peer_mask mask) { return (unsigned)__builtin_popcount(mask); }

static unsigned votes_needed(const struct catchup *c) { return c->o.genesis->faulty + 1; }

static void set_phase(struct catchup *c, enum catchup_phase phase, uint64_t until_ns)
{
    c->phase = phase;
    c->until_ns = until_ns;
}

static void target_clear(struct target *t)
{
    buffer_free(&t->note);
    *t = (struct target){0};
}

static void target_copy(struct target *to, const struct target *from)
{
    struct buffer note = to->note;
    buffer_clear(&note);
    buffer_append_bytes(&note, buffer_bytes(&from->note));
    *to = *from;
    to->note = note;
}

/* --- the end of a run --- */

static void end_run(struct catchup *c)
{
    c->run++;
    c->pull.peer = 0;
    c->chunks = 0;
    set_phase(c, CATCHUP_IDLE, 0);
}

void catchup_fail(struct catchup *c, const char *format, ...)
{
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    c->pause_ms = c->pause_ms ? 2 * c->pause_ms : FIRST_PAUSE_MS;
    if (c->pause_ms > LONGEST_PAUSE_MS) c->pause_ms = LONGEST_PAUSE_MS;
    c->resume_ns = clock_monotonic_ns() + c->pause_ms * 1000000;
    log_warning("catchup", "catching up is put off for %llu ms: %s", (unsigned long long)c->pause_ms, text);
    end_run(c);
    fill_begin(c); /* what was replayed may name attachments */
    driver_catch_up_failed(c->o.driver, c->offered.raft_index);
}

/* Offers go on coming, until the node is rebuilt. */
static void end_contradicted(struct catchup *c)
{
    c->resume_ns = clock_monotonic_ns() + LONGEST_PAUSE_MS * UINT64_C(1000000);
    end_run(c);
    driver_catch_up_failed(c->o.driver, c->offered.raft_index);
}

void catchup_contradicted(struct catchup *c, const char *why)
{
    log_error("catchup", "%s: nothing more is replayed", why);
    c->contradicted = true;
    driver_quarantine(c->o.driver, why);
    end_contradicted(c);
}

static void run_succeeded(struct catchup *c)
{
    struct buffer manifest = {0};
    struct target t = c->target;
    struct offer offer = {t.size, t.root, buffer_bytes(&t.note)};
    bool offered = c->offered.size != 0;
    c->target = (struct target){0};
    c->pause_ms = 0;
    c->doubted = c->liars = 0;
    end_run(c);
    offer_encode(&manifest, &offer);
    witness_take_note(c->o.witness, buffer_bytes(&t.note));
    fill_begin(c);
    if (offered)
        driver_caught_up(c->o.driver, c->offered.raft_index, c->offered.raft_term, t.size, buffer_bytes(&manifest));
    else
        driver_caught_up(c->o.driver, t.raft_index, t.raft_term, t.size, buffer_bytes(&manifest));
    buffer_free(&manifest);
    target_clear(&t);
    catchup_update_ready(c);
}

/* --- the position, durably --- */

struct settle {
    struct state_write write;
    struct catchup *c;
    uint64_t run, raft_index, raft_term, size;
    struct digest root;
};

static enum err settle_run(struct state_write *write, struct table_txn *txn, struct ledger *ledger)
{
    struct settle *s = write->data;
    uint64_t index, term;
    struct digest root;
    ledger_applied(ledger, &index, &term);
    if (index >= s->raft_index) return OK; /* the state is there, and further, already */
    if (ledger_size(ledger) != s->size) return ERR_CONFLICT;
    root = ledger_root(ledger);
    CHECK(digest_equal(&root, &s->root));
    return ledger_set_applied(ledger, txn, s->raft_index, s->raft_term);
}

static void settle_done(struct state_write *write, enum err code)
{
    struct settle *s = write->data;
    struct catchup *c = s->c;
    bool stale = c->stopped || s->run != c->run;
    c->in_flight--;
    free(s);
    if (stale || code == ERR_STOPPED) return;
    if (code == OK)
        run_succeeded(c);
    else
        catchup_fail(c, "its position can't be stored: %s", err_text(code));
}

void catchup_pulled_all(struct catchup *c)
{
    struct settle *s = xcalloc(1, sizeof *s);
    set_phase(c, CATCHUP_SETTLING, 0);
    *s = (struct settle){.c = c, .run = c->run, .raft_index = c->target.raft_index, .raft_term = c->target.raft_term,
                         .size = c->target.size, .root = c->target.root};
    s->write = (struct state_write){.durable = true, .data = s, .run = settle_run, .done = settle_done};
    c->in_flight++;
    enum err e = driver_write(c->o.driver, &s->write);
    if (e == OK) return;
    c->in_flight--;
    free(s);
    catchup_fail(c, "its position can't be stored: %s", err_text(e));
}

/* --- the own state --- */

struct look {
    struct state_read read;
    struct catchup *c;
    uint64_t run, target_size;
    uint64_t size;
    struct applied applied;
    struct tree tree;
    struct digest root; /* of the smaller of both sizes */
};

static enum err look_run(struct state_read *read, struct table_txn *txn)
{
    struct look *l = read->data;
    enum err e = proof_size(&l->size, txn);
    if (e == OK) e = state_applied_get(&l->applied, txn);
    if (e == OK) e = proof_tree(&l->tree, txn, l->size);
    if (e == OK) e = proof_root(&l->root, txn, l->size < l->target_size ? l->size : l->target_size);
    return e;
}

static void begin_choosing(struct catchup *c);

static void looked(struct catchup *c, const struct look *l)
{
    const struct target *t = &c->target;
    if (l->size >= t->size && !digest_equal(&l->root, &t->root)) {
        catchup_contradicted(c, "its root contradicts one that k nodes co-signed");
    } else if (l->size == t->size) {
        catchup_pulled_all(c);
    } else if (l->size > t->size) { /* replayed further before: only a later position fits */
        c->least_size = l->size;
        c->least_index = l->applied.raft_index > t->raft_index ? l->applied.raft_index : t->raft_index;
        begin_choosing(c);
    } else if (l->applied.raft_index >= t->raft_index) {
        catchup_fail(c, "the state is at raft index %llu already, but has %llu leaves less than it should",
                     (unsigned long long)l->applied.raft_index, (unsigned long long)(t->size - l->size));
    } else if (l->size == 0) {
        catchup_fail(c, "the state has no leaf 0");
    } else {
        c->began_size = l->size;
        log_notice("catchup", "replaying leaves %llu to %llu", (unsigned long long)l->size,
                   (unsigned long long)t->size - 1);
        set_phase(c, CATCHUP_PULLING, 0);
        pull_begin(c, &l->tree);
    }
}

static void look_done(struct state_read *read, enum err code)
{
    struct look *l = read->data;
    struct catchup *c = l->c;
    c->in_flight--;
    if (!c->stopped && l->run == c->run && code != ERR_STOPPED) {
        if (code == OK)
            looked(c, l);
        else
            catchup_fail(c, "its own state can't be read: %s", err_text(code));
    }
    free(l);
}

static void look(struct catchup *c)
{
    struct look *l = xcalloc(1, sizeof *l);
    set_phase(c, CATCHUP_LOOKING, 0);
    l->c = c;
    l->run = c->run;
    l->target_size = c->target.size;
    l->read = (struct state_read){.fresh = true, .data = l, .run = look_run, .done = look_done};
    c->in_flight++;
    enum err e = driver_read(c->o.driver, &l->read);
    if (e == OK) return;
    c->in_flight--;
    free(l);
    catchup_fail(c, "its own state can't be read: %s", err_text(e));
}

/* --- the position of a size: b + 1 members state the same --- */

static void ask_manifests(struct catchup *c, const struct manifest_ask *what)
{
    struct buffer body = {0};
    c->manifest_ns = clock_monotonic_ns();
    manifest_ask_encode(&body, what);
    for (unsigned i = 1; i <= c->n; i++)
        if (i != c->o.self && !(c->answered & PEER_BIT(i)) && peers_up(c->o.peers, i))
            catchup_send(c, i, PEER_MANIFEST_ASK, c->manifest_id, &body);
    buffer_free(&body);
}

static void ask_position(struct catchup *c)
{
    const struct target *t = &c->target;
    ask_manifests(c, &(struct manifest_ask){t->size, t->raft_index, t->raft_term});
}

/* Enough others state another position: whoever stated this one is wrong, or lies. */
static void position_refused(struct catchup *c)
{
    const struct target *t = &c->target;
    if (t->from) c->doubted |= PEER_BIT(t->from);
    log_error("catchup", "node %u (%s) states that size %llu stands at raft index %llu, term %llu: %u others deny it",
              t->from, catchup_name(c, t->from), (unsigned long long)t->size, (unsigned long long)t->raft_index,
              (unsigned long long)t->raft_term, count_of(c->differ));
    catchup_fail(c, "the place of size %llu in the raft log is not certain", (unsigned long long)t->size);
}

static void judge_position(struct catchup *c)
{
    if (count_of(c->agree) >= votes_needed(c))
        look(c);
    else if (count_of(c->differ) >= votes_needed(c))
        position_refused(c);
}

static void begin_confirming(struct catchup *c)
{
    set_phase(c, CATCHUP_CONFIRMING, clock_monotonic_ns() + PHASE_NS);
    c->manifest_id = ++c->next_id;
    c->differ = 0;
    c->answered = c->agree = c->target.from ? PEER_BIT(c->target.from) : 0;
    if (count_of(c->agree) < votes_needed(c)) ask_position(c);
    judge_position(c);
}

static void take_position(struct catchup *c, unsigned from, const struct manifest *m)
{
    const struct target *t = &c->target;
    if (m->size != t->size || m->raft_index == 0 || !digest_equal(&m->root, &t->root)) return; /* it can't say (yet) */
    bool same = m->raft_index == t->raft_index && m->raft_term == t->raft_term;
    c->answered |= PEER_BIT(from);
    if (same)
        c->agree |= PEER_BIT(from);
    else
        c->differ |= PEER_BIT(from);
    judge_position(c);
}

/* --- choosing: nobody offered one that fits --- */

static void begin_choosing(struct catchup *c)
{
    set_phase(c, CATCHUP_CHOOSING, clock_monotonic_ns() + PHASE_NS);
    target_clear(&c->target);
    c->manifest_id = ++c->next_id;
    c->answered = 0;
    ask_manifests(c, &(struct manifest_ask){0});
}

static bool all_answered(const struct catchup *c) { return !catchup_next_peer(c, c->o.self, c->answered); }

static void choose(struct catchup *c, uint64_t now)
{
    bool enough = all_answered(c) || now - c->manifest_ns >= CHOOSE_NS;
    if (c->target.size && enough) {
        log_info("catchup", "chosen: size %llu at raft index %llu", (unsigned long long)c->target.size,
                 (unsigned long long)c->target.raft_index);
        begin_confirming(c);
    }
}

static void take_newest(struct catchup *c, unsigned from, const struct manifest *m)
{
    struct checkpoint checkpoint;
    c->answered |= PEER_BIT(from);
    if (m->size > c->target.size && m->size >= c->least_size && m->raft_index > c->least_index &&
        !(c->doubted & PEER_BIT(from))) {
        if (checkpoint_verify(&checkpoint, m->note, c->o.genesis) == OK && checkpoint.size == m->size &&
            digest_equal(&checkpoint.root, &m->root)) {
            struct target t = {m->raft_index, m->raft_term, m->size, m->root, {0}, from};
            buffer_append_bytes(&t.note, m->note);
            target_clear(&c->target);
            c->target = t;
        } else {
            c->doubted |= PEER_BIT(from);
            log_error("catchup", "node %u (%s) sent a manifest of size %llu without %u valid cosignatures", from,
                      catchup_name(c, from), (unsigned long long)m->size, c->o.genesis->quorum);
        }
    }
    choose(c, clock_monotonic_ns());
}

static void take_manifest(struct catchup *c, unsigned from, uint64_t id, struct bytes body)
{
    struct manifest m;
    bool asked = c->phase == CATCHUP_CHOOSING || c->phase == CATCHUP_CONFIRMING;
    if (!asked || id != c->manifest_id || c->answered & PEER_BIT(from)) return;
    if (manifest_decode(&m, body) != OK)
        c->answered |= PEER_BIT(from);
    else if (c->phase == CATCHUP_CHOOSING)
        take_newest(c, from, &m);
    else
        take_position(c, from, &m);
}

/* --- the beginning of a run --- */

/* The core's offer: readable, and k nodes co-signed its root? */
static void take_offer(struct catchup *c, struct bytes manifest, unsigned leader)
{
    struct offer o;
    struct checkpoint checkpoint;
    c->offered.from = leader;
    enum err e = offer_decode(&o, manifest);
    if (e == OK) e = checkpoint_verify(&checkpoint, o.note, c->o.genesis);
    if (e == OK && (checkpoint.size != o.size || !digest_equal(&checkpoint.root, &o.root))) e = ERR_CHECKPOINT;
    c->offer_good = e == OK;
    if (e == OK) {
        c->offered.size = o.size;
        c->offered.root = o.root;
        buffer_append_bytes(&c->offered.note, o.note);
    } else {
        log_error("catchup", "the leader, node %u (%s), offers a state without a valid checkpoint: %s", leader,
                  catchup_name(c, leader), err_text(e));
    }
}

void catchup_install(struct catchup *c, uint64_t raft_index, uint64_t raft_term, struct bytes manifest)
{
    struct driver_status d;
    if (c->stopped) return;
    driver_status(c->o.driver, &d);
    if (c->phase != CATCHUP_IDLE) end_run(c); /* another offer: the newer one counts */
    target_clear(&c->offered);
    c->offered.raft_index = raft_index;
    c->offered.raft_term = raft_term;
    c->offer_good = true;
    if (manifest.size) take_offer(c, manifest, d.leader == c->o.self ? 0 : d.leader);
    uint64_t now = clock_monotonic_ns();
    if (now < c->resume_ns)
        set_phase(c, CATCHUP_PAUSED, c->resume_ns);
    else
        begin_run(c);
    catchup_update_ready(c);
}

static void begin_run(struct catchup *c)
{
    c->run++;
    c->liars = 0;
    c->least_size = 0;
    c->least_index = 0;
    if (c->contradicted) {
        end_contradicted(c);
    } else if (!c->offer_good) {
        catchup_fail(c, "what the leader offers is not valid");
    } else if (c->offered.size) {
        target_copy(&c->target, &c->offered);
        begin_confirming(c);
    } else {
        begin_choosing(c);
    }
}

/* --- time --- */

static void manifests_tick(struct catchup *c, uint64_t now)
{
    if (now >= c->until_ns) {
        if (c->phase == CATCHUP_CHOOSING) {
            c->doubted = 0; /* also those may be all there is */
            catchup_fail(c, "no peer has a co-signed state that fits");
        } else {
            catchup_fail(c, "only %u of %u nodes state where size %llu stands in the raft log", count_of(c->agree),
                         votes_needed(c), (unsigned long long)c->target.size);
        }
        return;
    }
    if (c->phase == CATCHUP_CHOOSING) choose(c, now);
    if (now - c->manifest_ns < ASK_AGAIN_NS) return;
    if (c->phase == CATCHUP_CHOOSING)
        ask_manifests(c, &(struct manifest_ask){0});
    else if (c->phase == CATCHUP_CONFIRMING)
        ask_position(c);
}

static void on_tick(uv_timer_t *timer)
{
    struct catchup *c = timer->data;
    uint64_t now = clock_monotonic_ns();
    switch (c->phase) {
    case CATCHUP_IDLE:
    case CATCHUP_LOOKING:
    case CATCHUP_SETTLING: break;
    case CATCHUP_PAUSED:
        if (now >= c->until_ns) begin_run(c);
        break;
    case CATCHUP_CHOOSING:
    case CATCHUP_CONFIRMING: manifests_tick(c, now); break;
    case CATCHUP_PULLING: pull_tick(c, now); break;
    }
    fill_tick(c, now);
    catchup_update_ready(c);
}

/* --- messages --- */

static void take_refusal(struct catchup *c, unsigned from, uint64_t id, struct bytes body)
{
    struct refusal r;
    if (refusal_decode(&r, body) != OK)
        r = (struct refusal){ERR_MALFORMED, bytes_text("in words that are not well-formed")};
    log_debug("catchup", "node %u (%s) refused: %.*s", from, catchup_name(c, from), (int)r.text.size,
              (const char *)r.text.data);
    if (!pull_refused(c, from, id, &r)) fill_refused(c, from, id, &r);
}

void catchup_message(struct catchup *c, unsigned from, uint32_t type, uint64_t id, struct bytes body)
{
    if (c->stopped || from == 0 || from > c->n || from == c->o.self) return;
    switch (type) {
    case PEER_MANIFEST_ASK:
    case PEER_PULL:
    case PEER_ATTACHMENTS: serve_ask(c, from, type, id, body); break;
    case PEER_MANIFEST: take_manifest(c, from, id, body); break;
    case PEER_PULLED: pull_answer(c, from, id, body); break;
    case PEER_ATTACHED: fill_answer(c, from, id, body); break;
    case PEER_FAILED: take_refusal(c, from, id, body); break;
    default: CHECK(!"a message of catching up");
    }
    catchup_update_ready(c);
}

/* --- start and end --- */

bool catchup_ready(const struct catchup *c) { return c->ready; }

bool catchup_manifest(const struct catchup *c, uint64_t *raft_index, uint64_t *raft_term, struct buffer *manifest)
{
    struct driver_status d;
    driver_status(c->o.driver, &d);
    const struct witnessed *w = witness_before(c->o.witness, d.synced_index);
    if (!w) return false;
    struct offer offer = {w->size, w->root, buffer_bytes(&w->note)};
    offer_encode(manifest, &offer);
    *raft_index = w->raft_index;
    *raft_term = w->raft_term;
    /* Entries that leave no leaf may come without end (one request again and again; a leader that lies): a log that
     * gets full of them must be trimmed of them, too. Else it is the position that most nodes keep with the note. */
    if (d.log_filled >= LIMIT_LOG_SCARCE && witness_stood_at(c->o.witness, raft_term, w, d.synced_index))
        *raft_index = d.synced_index;
    return !manifest->failed;
}

enum err catchup_start(struct catchup **out, const struct catchup_options *options, struct failure *failure)
{
    (void)failure; /* nothing here can fail but memory */
    struct catchup *c = xcalloc(1, sizeof *c);
    c->o = *options;
    c->n = options->genesis->member_count;
    c->fill = fill_new();
    CHECK(uv_timer_init(options->loop, &c->timer) == 0);
    c->timer.data = c;
    CHECK(uv_timer_start(&c->timer, on_tick, CATCHUP_TICK_MS, CATCHUP_TICK_MS) == 0);
    fill_begin(c);
    *out = c;
    return OK;
}

void catchup_stop(struct catchup *c)
{
    if (c->stopped) return;
    c->stopped = true;
    uv_close((uv_handle_t *)&c->timer, NULL);
}

void catchup_free(struct catchup *c)
{
    if (!c) return;
    CHECK(c->in_flight == 0);
    target_clear(&c->offered);
    target_clear(&c->target);
    fill_free(c->fill);
    free(c);
}
