#include "consensus/keygen_agent.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/pack.h"
#include "consensus/keygen_agent_internal.h"
#include "consensus/keygen_store.h"
#include "consensus/node_request.h"
#include "consensus/peer_messages.h"
#include "crypto/hash.h"
#include "crypto/secret.h"
#include "ledger/arguments.h"
#include "ledger/genesis.h"
#include "ledger/keygen.h"
#include "ledger/state.h"
#include "net/peers.h"
#include "storage/files.h"

#define LOOK_MS 200
#define ASK_AGAIN_MS 500     /* for a sub-share that has not come */
#define COMPLAIN_MS 2500     /* into the CONFIRM phase: a sub-share that has not come is complained about */
#define STAGGER_MS 150       /* per member index, where any member may do it */
#define BEHIND_BLOCKS 64     /* committed and not applied: this node is behind */

/* --- reading what is to do --- */

static enum err read_dealings(struct keygen_agent *a, struct look *l, struct table_txn *txn)
{
    const struct keygen *state = &l->view.state;
    for (unsigned i = 1; i <= a->n; i++) {
        enum err e = keygen_dealing_get(&l->dealings[i], txn, a->secret, state->attempt, i);
        if (e != OK && e != ERR_NOT_FOUND) return e;
        l->has_dealing[i] = e == OK;
        e = keygen_answer_get(&l->answers[i], txn, state, a->o.self, i);
        if (e != OK && e != ERR_NOT_FOUND) return e;
        l->answered[i] = e == OK;
    }
    return OK;
}

static enum err look_run(struct state_read *read, struct table_txn *txn)
{
    struct keygen_agent *a = read->data;
    struct look *l = a->next; /* wiped */
    enum err e = keygen_view(&l->view, txn, a->secret, a->o.self, a->n, a->k);
    uint32_t attempt = l->view.state.attempt;
    if (e == OK) e = keygen_own_get(&l->own, txn, a->secret, attempt, a->n);
    if (e == OK) e = keygen_received_get(&l->received, txn, a->secret, attempt, a->n);
    if (e == OK) e = read_dealings(a, l, txn);
    if (e != OK) return e;
    l->has_keys = keygen_keys(&l->key, l->verification, txn, a->secret, a->n) == OK;
    e = state_epoch_get(&l->epoch, txn, a->secret, 0);
    if (e == ERR_NOT_FOUND) return OK;
    if (e == OK) e = keygen_share_get(&l->share, txn, a->secret, l->epoch.epoch);
    l->has_share = e == OK;
    return e == ERR_NOT_FOUND ? OK : e;
}

static void act(struct keygen_agent *a);

/* What an old state calls for was done, or missed, long ago: not while this node
 * catches up, or applies what was committed while it was away. */
static bool behind(const struct keygen_agent *a)
{
    struct driver_status d;
    driver_status(a->o.driver, &d);
    uint64_t committed = driver_committed(&d);
    return committed > d.applied && committed - d.applied > BEHIND_BLOCKS;
}

/* What was read takes the place of the last look, whose secrets go: there may be no other look for as long as the node
 * runs. */
static void take_look(struct keygen_agent *a, bool good)
{
    if (good) {
        struct look *l = a->look;
        a->look = a->next;
        a->next = l;
    }
    secret_wipe(a->next, sizeof *a->next);
}

static void look_done(struct state_read *read, enum err code)
{
    struct keygen_agent *a = read->data;
    a->reading = false;
    take_look(a, !a->stopped && code == OK && !a->outdated);
    if (a->stopped || code != OK) {
        if (code != OK && code != ERR_STOPPED && code != ERR_BUSY && log_seldom(&a->unread_ns))
            log_error("keygen", "the state of key generation can't be read: %s", err_text(code));
        return;
    }
    if (a->outdated) {
        a->outdated = false;
        keygen_agent_look(a);
        return;
    }
    if (!behind(a)) act(a);
    if (a->look_again) keygen_agent_look(a);
}

void keygen_agent_look(struct keygen_agent *a)
{
    if (a->stopped) return;
    if (a->reading || a->writing) {
        a->look_again = true;
        return;
    }
    a->look_again = false;
    a->reading = true;
    a->read = (struct state_read){.fresh = true, .data = a, .run = look_run, .done = look_done};
    if (driver_read(a->o.driver, &a->read) != OK) a->reading = false; /* the timer comes back to it */
}

/* --- writing secrets, durably, before what depends on them --- */

static void end_writing(struct keygen_agent *a)
{
    a->writing = false;
    secret_wipe(a->to_write, sizeof *a->to_write); /* it is read again, or made anew */
}

static void written(struct state_write *write, enum err code)
{
    struct keygen_agent *a = write->data;
    end_writing(a);
    if (code != OK && code != ERR_STOPPED && log_seldom(&a->unwritten_ns))
        log_error("keygen", "a secret can't be stored: %s", err_text(code));
    if (!a->stopped && code == OK) keygen_agent_look(a); /* else the timer comes back to it: not without a pause */
}

static void write_secret(struct keygen_agent *a,
                         enum err (*run)(struct state_write *, struct table_txn *, struct ledger *))
{
    a->writing = true;
    a->write = (struct state_write){.durable = true, .data = a, .run = run, .done = written};
    if (driver_write(a->o.driver, &a->write) != OK) end_writing(a);
}

static enum err own_run(struct state_write *write, struct table_txn *txn, struct ledger *ledger)
{
    struct keygen_agent *a = write->data;
    (void)ledger;
    return keygen_own_put(txn, a->secret, a->to_write, a->n);
}

static void make_polynomial(struct keygen_agent *a)
{
    struct keygen_own *own = a->to_write;
    struct buffer sealed = {0};
    own->exists = true;
    own->attempt = a->look->view.state.attempt;
    dkg_polynomial_random(&own->polynomial, a->k);
    for (unsigned i = 1; i <= a->n; i++) {
        struct scalar subshare;
        dkg_subshare(&subshare, &own->polynomial, i);
        buffer_clear(&sealed);
        enum err e = seal_box(&sealed, &genesis_member(a->o.genesis, i)->keys.seal, BYTES(subshare.bytes));
        secret_wipe(&subshare, sizeof subshare);
        CHECK(e != OK || sealed.size == SEALED_SIZE);
        if (e != OK) { /* a member with a key that can't be sealed to: it gets nothing, and complains */
            log_error("keygen", "node %u has a sealing key of small order", i);
            continue;
        }
        memcpy(own->sealed[i], sealed.data, SEALED_SIZE);
    }
    buffer_free(&sealed);
    write_secret(a, own_run);
}

/* --- sub-shares --- */

static void send_subshare(struct keygen_agent *a, unsigned to)
{
    const struct look *l = a->look;
    struct buffer body = {0};
    if (to == a->o.self || !l->own.exists) return;
    pack_array(&body, 4);
    pack_uint(&body, a->secret);
    pack_uint(&body, l->own.attempt);
    pack_uint(&body, a->o.self);
    pack_bin(&body, l->own.sealed[to], SEALED_SIZE);
    peers_send(a->o.peers, to, PEER_SUBSHARE, 0, buffer_bytes(&body)); /* lost: the receiver asks */
    buffer_free(&body);
}

static void ask_subshares(struct keygen_agent *a, member_mask missing)
{
    uint64_t now = clock_monotonic_ns();
    if (!missing || (a->asked_ns && now - a->asked_ns < (uint64_t)ASK_AGAIN_MS * 1000000)) return;
    a->asked_ns = now;
    for (unsigned i = 1; i <= a->n; i++) {
        if (!(missing & MEMBER_BIT(i)) || i == a->o.self) continue;
        struct buffer body = {0};
        pack_array(&body, 2);
        pack_uint(&body, a->secret);
        pack_uint(&body, a->look->view.state.attempt);
        peers_send(a->o.peers, i, PEER_SUBSHARE_ASK, 0, buffer_bytes(&body));
        buffer_free(&body);
    }
}

/* The sub-share a dealer sealed to us, if it is the one whose hash it published and
 * fits its commitments. ERR_BAD_SHARE: the dealer lied: it alone sends on its link, and always the same bytes. */
static enum err open_subshare(struct scalar *out, const struct keygen_agent *a, unsigned dealer, struct bytes sealed)
{
    const struct dealing *d = &a->look->dealings[dealer];
    struct digest hash;
    struct buffer plain = {.secret = true};
    hash_sha256(&hash, sealed.data, sealed.size);
    if (!digest_equal(&hash, &d->subshare_hash[a->o.self])) return ERR_BAD_SHARE;
    enum err e = seal_box_open(&plain, &genesis_member(a->o.genesis, a->o.self)->keys.seal, &a->o.keys->seal, sealed);
    if (e == OK && (plain.size != 32 || scalar_decode(out, plain.data) != OK)) e = ERR_BAD_SHARE;
    if (e == OK) e = dkg_subshare_verify(out, &d->commitments, a->o.self);
    secret_wipe_buffer(&plain);
    return e == OK ? OK : ERR_BAD_SHARE;
}

static enum err received_run(struct state_write *write, struct table_txn *txn, struct ledger *ledger)
{
    struct keygen_agent *a = write->data;
    (void)ledger;
    return keygen_received_put(txn, a->secret, a->look->view.state.attempt, &a->look->received, a->n);
}

/* Takes in what has come; true when something new must be written first. */
static bool take_subshares(struct keygen_agent *a)
{
    struct look *l = a->look;
    bool fresh = false;
    for (unsigned i = 1; i <= a->n; i++) {
        if (!l->has_dealing[i] || l->received.has[i]) continue;
        struct scalar subshare;
        enum err e = ERR_NOT_FOUND;
        if (i == a->o.self && l->own.exists) {
            dkg_subshare(&subshare, &l->own.polynomial, i);
            e = OK;
        } else if (l->answered[i]) {
            subshare = l->answers[i];
            e = dkg_subshare_verify(&subshare, &l->dealings[i].commitments, a->o.self);
        } else if (a->came[i].size && a->came_attempt[i] == l->view.state.attempt) {
            e = open_subshare(&subshare, a, i, buffer_bytes(&a->came[i]));
            buffer_free(&a->came[i]);
        }
        if (e == ERR_BAD_SHARE) a->bad |= MEMBER_BIT(i);
        if (e == OK) {
            l->received.has[i] = true;
            l->received.subshares[i] = subshare;
            a->bad &= ~MEMBER_BIT(i);
            fresh = true;
        }
        secret_wipe(&subshare, sizeof subshare);
    }
    if (fresh) write_secret(a, received_run);
    return fresh;
}

static member_mask missing_subshares(const struct keygen_agent *a, member_mask dealers)
{
    member_mask missing = 0;
    for (unsigned i = 1; i <= a->n; i++)
        if (dealers & MEMBER_BIT(i) && !a->look->received.has[i]) missing |= MEMBER_BIT(i);
    return missing;
}

/* --- the share --- */

static enum err share_path(char out[static FILES_PATH], const struct keygen_agent *a, uint64_t epoch)
{
    char name[64];
    snprintf(name, sizeof name, "key-share-%u-%llu", a->secret, (unsigned long long)epoch);
    return files_path(out, a->o.directory, name, NULL);
}

#define SHARE_PURPOSE "consilium/key-share"

static enum err write_file(struct keygen_agent *a)
{
    struct failure failure = {0};
    char path[FILES_PATH];
    enum err e = share_path(path, a, a->look->epoch.epoch);
    if (e == OK)
        e = files_write_sealed(path, a->o.storage_key, SHARE_PURPOSE, BYTES(a->look->share.bytes), &failure);
    if (e != OK && log_seldom(&a->unfiled_ns)) log_error("keygen", "the share can't be stored: %s", failure.text);
    return e;
}

static enum err share_run(struct state_write *write, struct table_txn *txn, struct ledger *ledger)
{
    struct keygen_agent *a = write->data;
    (void)ledger;
    enum err e = write_file(a);
    return e == OK ? keygen_share_put(txn, a->secret, a->look->epoch.epoch, &a->look->share) : e;
}

/* Only the file: the store has the share. */
static enum err file_run(struct state_write *write, struct table_txn *txn, struct ledger *ledger)
{
    (void)txn, (void)ledger;
    write_file(write->data);
    return OK;
}

static bool fits(const struct keygen_agent *a, const struct scalar *share)
{
    struct point public_share;
    point_multiply_generator(&public_share, share);
    return point_equal(&public_share, &a->look->epoch.verification[a->o.self - 1]);
}

static bool read_file(struct scalar *share, const struct keygen_agent *a, const char *path)
{
    struct buffer plain = {.secret = true};
    enum err e = files_read_sealed(&plain, path, a->o.storage_key, SHARE_PURPOSE, NULL);
    bool good = e == OK && plain.size == 32 && scalar_decode(share, plain.data) == OK && fits(a, share);
    secret_wipe_buffer(&plain);
    return good;
}

/* After the state was thrown away: the share that the file has kept. */
static bool share_from_file(struct keygen_agent *a)
{
    char path[FILES_PATH];
    struct scalar share;
    if (share_path(path, a, a->look->epoch.epoch) != OK || !files_exists(path)) return false;
    bool good = read_file(&share, a, path);
    if (good) a->look->share = share;
    secret_wipe(&share, sizeof share);
    if (!good) log_warning("keygen", "%s does not hold this node's share; not used", path);
    return good;
}

/* The file that was there may be gone or damaged by now: whoever copies the folder's small files for the day on which
 * the disk is lost counts on it. Looked at once in each life. True when it must be written first. */
static bool file_is_due(struct keygen_agent *a)
{
    char path[FILES_PATH];
    struct scalar share;
    if (a->file_seen || share_path(path, a, a->look->epoch.epoch) != OK) return false;
    a->file_seen = true;
    bool good = read_file(&share, a, path);
    secret_wipe(&share, sizeof share);
    if (!good) log_warning("keygen", "%s was gone or damaged: it is written anew, from the state", path);
    return !good;
}

/* The sum of the qualified dealers' sub-shares, if it is what the activation leaf says. */
static bool sum_share(struct keygen_agent *a)
{
    struct look *l = a->look;
    member_mask qualified = keygen_qualified(&l->view.state);
    struct scalar *subshares = secret_alloc(LIMIT_NODES * sizeof *subshares);
    size_t count = 0;
    for (unsigned i = 1; i <= a->n; i++)
        if (qualified & MEMBER_BIT(i)) subshares[count++] = l->received.subshares[i];
    dkg_combine_subshares(&l->share, subshares, NULL, count);
    secret_free(subshares);
    if (fits(a, &l->share)) return true;
    if (log_seldom(&a->unfit_ns))
        log_error("keygen", "the sub-shares do not add up to this node's verification key: it has no share");
    return false;
}

static void hold_share(struct keygen_agent *a)
{
    const struct look *l = a->look;
    if (a->share_epoch == l->epoch.epoch) return;
    *a->share = l->share;
    a->share_epoch = l->epoch.epoch;
    a->o.on_share(a->o.data, a->secret, l->epoch.epoch);
}

/* --- what is due --- */

static void note_phase(struct keygen_agent *a)
{
    const struct keygen *s = &a->look->view.state;
    if (s->attempt == a->phase_attempt && s->phase == a->phase) return;
    if (s->attempt != a->phase_attempt) {
        a->bad = 0;
        a->forgotten = false;
    }
    a->phase_attempt = s->attempt;
    a->phase = s->phase;
    a->phase_ns = clock_monotonic_ns();
    memset(a->submitted_ns, 0, sizeof a->submitted_ns);
    log_info("keygen", "attempt %u, phase %d of 6", s->attempt, (int)s->phase);
}

static bool phase_older_than(const struct keygen_agent *a, uint64_t ms)
{
    return clock_monotonic_ns() - a->phase_ns >= ms * 1000000;
}

/* At most b dealers lie or are gone; when more sub-shares than that are missing, the cause is
 * this node's own link, and it waits: an answered complaint is public. */
static bool may_complain(const struct keygen_agent *a, member_mask missing)
{
    unsigned most = a->o.genesis->faulty > 1 ? a->o.genesis->faulty : 1;
    if ((missing & ~a->bad) == 0) return true;
    return phase_older_than(a, COMPLAIN_MS) && (unsigned)__builtin_popcount(missing) <= most;
}

static void act_confirm(struct keygen_agent *a)
{
    const struct keygen *state = &a->look->view.state;
    member_mask missing = missing_subshares(a, a->look->view.dealers), self = MEMBER_BIT(a->o.self);
    ask_subshares(a, missing & ~a->bad & ~self);
    if (missing & self) return; /* its own polynomial is lost: nothing can be said to be right */
    if (!missing) {
        keygen_submit_confirm(a, 0);
    } else if (state->phase == KEYGEN_CONFIRM) {
        if (may_complain(a, missing)) keygen_submit_confirm(a, missing);
    } else {
        /* The key stands: a complaint excludes nobody, but its dealer answers it. What was only not
         * received comes once that dealer is there. */
        member_mask wrong = missing & a->bad, open = state->complaints[a->o.self];
        bool fewer = !(wrong & ~open) && wrong != open;
        if (state->confirmed & self ? fewer : wrong == missing) keygen_submit_confirm(a, wrong);
    }
}

/* Shares of an active key: true when a write is under way. */
static bool act_share(struct keygen_agent *a)
{
    struct look *l = a->look;
    if (!l->epoch.epoch) return false;
    a->active = true;
    bool summed = !l->has_share && !missing_subshares(a, keygen_qualified(&l->view.state)) && sum_share(a);
    if (summed || (!l->has_share && !a->file_tried && share_from_file(a))) {
        write_secret(a, share_run);
        return true;
    }
    if (l->has_share && file_is_due(a)) {
        write_secret(a, file_run);
        return true;
    }
    a->file_tried = true;
    a->lost = !l->has_share && l->view.settled;
    if (l->has_share) hold_share(a);
    return false;
}

static enum err wipe_run(struct state_write *write, struct table_txn *txn, struct ledger *ledger)
{
    struct keygen_agent *a = write->data;
    (void)ledger;
    return keygen_wipe(txn, a->secret, a->look->view.state.attempt);
}

/* A disk that was emptied after the commitment leads to another polynomial: it must not be dealt. */
static void check_own(struct keygen_agent *a)
{
    struct look *l = a->look;
    uint8_t context[KEYGEN_CONTEXT_SIZE];
    struct dkg_commitments commitments;
    const struct keygen *state = &l->view.state;
    if (!(state->committed & MEMBER_BIT(a->o.self)) || l->view.settled) return;
    if (l->own.exists) {
        keygen_context(context, &a->o.genesis->cluster, a->secret, state->attempt, a->o.self);
        dkg_commit(&commitments, &l->own.polynomial);
        struct digest hash = dkg_commitments_hash(&commitments, BYTES(context));
        if (digest_equal(&hash, &state->commitment[a->o.self])) return;
        secret_wipe(&l->own, sizeof l->own);
    }
    if (!a->forgotten) log_error("keygen", "the polynomial that this node committed to is lost: it deals nothing");
    a->forgotten = true;
}

static void act(struct keygen_agent *a)
{
    struct look *l = a->look;
    note_phase(a);
    check_own(a);
    if (l->view.commit && !l->own.exists) {
        make_polynomial(a);
        return;
    }
    /* Answers to complaints stand in the ledger for ever: once all is done and wiped they must not be taken again. */
    bool done = l->view.settled && l->has_share;
    if ((!done && take_subshares(a)) || act_share(a)) return;
    if (l->view.commit) keygen_submit_commit(a);
    if (l->view.reveal && l->own.exists) keygen_submit_reveal(a);
    if (l->view.confirm) act_confirm(a);
    if (l->view.answer) keygen_submit_answer(a);
    if (l->view.activate && l->has_keys && phase_older_than(a, (uint64_t)STAGGER_MS * (a->o.self - 1)))
        keygen_submit_activate(a);
    if (l->view.deadline_ms != UINT64_MAX && clock_wall_ms() > l->view.deadline_ms + STAGGER_MS * a->o.self)
        keygen_submit_close(a);
    if (done && (l->own.exists || l->received.any)) write_secret(a, wipe_run);
    a->idle = done && !l->own.exists && !l->received.any;
}

/* --- messages --- */

/* A member's messages can't fill the log. */
static void warn(struct keygen_agent *a, unsigned from, const char *what)
{
    if (log_seldom(&a->warned_ns[from]))
        log_warning("keygen", "node %u (%s) %s", from, genesis_member(a->o.genesis, from)->name, what);
}

static void take_ask(struct keygen_agent *a, unsigned from, struct bytes body)
{
    struct unpack u = unpack_start(body);
    unpack_array_of(&u, 2);
    uint64_t secret = unpack_uint(&u), attempt = unpack_uint(&u);
    if (unpack_done(&u) != OK) {
        warn(a, from, "asked for a sub-share in a message that is not well-formed");
        return;
    }
    const struct look *l = a->look;
    bool revealed = l->view.state.revealed & MEMBER_BIT(a->o.self);
    if (secret == a->secret && l->own.exists && l->own.attempt == attempt && l->view.state.attempt == attempt &&
        revealed)
        send_subshare(a, from);
}

static void take_subshare(struct keygen_agent *a, unsigned from, struct bytes body)
{
    struct unpack u = unpack_start(body);
    unpack_array_of(&u, 4);
    uint64_t secret = unpack_uint(&u), attempt = unpack_uint_max(&u, UINT32_MAX), dealer = unpack_uint(&u);
    struct bytes sealed = unpack_bin(&u, SEALED_SIZE);
    if (unpack_done(&u) != OK || dealer != from || sealed.size != SEALED_SIZE) {
        warn(a, from, "sent a sub-share in a message that is not well-formed");
        return;
    }
    if (secret != a->secret || (a->look->view.state.attempt && attempt < a->look->view.state.attempt)) return;
    buffer_clear(&a->came[from]);
    buffer_append_bytes(&a->came[from], sealed);
    a->came_attempt[from] = (uint32_t)attempt;
    keygen_agent_look(a);
}

void keygen_agent_message(struct keygen_agent *a, unsigned from, uint32_t type, uint64_t id, struct bytes body)
{
    (void)id;
    if (a->stopped || from == 0 || from > a->n) return;
    if (type == PEER_SUBSHARE_ASK)
        take_ask(a, from, body);
    else
        take_subshare(a, from, body);
}

/* --- events --- */

void keygen_agent_applied(struct keygen_agent *a, const struct driver_applied *applied)
{
    if (applied->keygen_changed || applied->replayed) {
        a->idle = false;
        keygen_agent_look(a);
    }
}

void keygen_agent_peer_up(struct keygen_agent *a, unsigned peer)
{
    (void)peer;
    a->asked_ns = 0;
    if (!a->idle) keygen_agent_look(a);
}

static void on_timer(uv_timer_t *timer)
{
    struct keygen_agent *a = timer->data;
    /* Once the share is held only a member that is away is waited for: no hurry. */
    if (!a->idle && (!a->share_epoch || ++a->ticks % 10 == 0)) keygen_agent_look(a);
}

const struct scalar *keygen_agent_share(const struct keygen_agent *a, uint8_t secret, uint64_t epoch)
{
    return secret == a->secret && a->share_epoch == epoch && epoch ? a->share : NULL;
}

bool keygen_agent_share_lost(const struct keygen_agent *a) { return a->lost; }

bool keygen_agent_active(const struct keygen_agent *a, uint8_t secret) { return secret == a->secret && a->active; }

enum err keygen_agent_start(struct keygen_agent **out, const struct keygen_agent_options *options,
                            struct failure *failure)
{
    (void)failure; /* nothing here can fail but memory */
    struct keygen_agent *a = xcalloc(1, sizeof *a);
    a->o = *options;
    a->signer = (struct node_signer){options->driver, options->genesis, options->keys, options->self};
    a->n = options->genesis->member_count;
    a->k = options->genesis->quorum;
    a->secret = KEY_RECORDS;
    a->look = secret_alloc(sizeof *a->look);
    a->next = secret_alloc(sizeof *a->next);
    a->to_write = secret_alloc(sizeof *a->to_write);
    a->share = secret_alloc(sizeof *a->share);
    CHECK(uv_timer_init(options->loop, &a->timer) == 0);
    a->timer.data = a;
    CHECK(uv_timer_start(&a->timer, on_timer, LOOK_MS, LOOK_MS) == 0);
    *out = a;
    return OK;
}

void keygen_agent_stop(struct keygen_agent *a)
{
    if (a->stopped) return;
    a->stopped = true;
    uv_close((uv_handle_t *)&a->timer, NULL);
}

void keygen_agent_free(struct keygen_agent *a)
{
    if (!a) return;
    CHECK(a->in_flight == 0);
    secret_free(a->look);
    secret_free(a->next);
    secret_free(a->to_write);
    secret_free(a->share);
    for (unsigned i = 0; i <= LIMIT_NODES; i++)
        buffer_free(&a->came[i]);
    free(a);
}
