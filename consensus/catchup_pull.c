/* Leaves: one chunk is asked for at a time, while up to CATCHUP_CHUNKS that were
 * proved before are being replayed.
 *
 * A chunk counts only as a whole: with the hashes of its leaves behind the own
 * frontier, the root must be one that leads to the co-signed root of the target.
 * So a peer can't change, leave out or reorder anything. The peer states its root
 * of the chunk's beginning as well, proved in the same way: when that is not this
 * node's root, it is this node's state that contradicts the co-signed one.
 */
#include <stdlib.h>

#include "consensus/catchup_internal.h"
#include "ledger/apply.h"
#include "ledger/leaf.h"
#include "ledger/replay.h"

/* A proved chunk on its way through the state thread. */
struct chunk {
    struct state_write write;
    struct catchup *c;
    uint64_t run;
    struct buffer bytes; /* the answer; `pulled` has views into it */
    struct pulled pulled;
    struct failure failure;
};

static void chunk_free(struct chunk *k)
{
    buffer_free(&k->bytes);
    free(k);
}

static void go_on(struct catchup *c);

/* --- replaying --- */

/* Errors of this node's own disk or memory: it tries again. All others say that the proved leaf does not follow from
 * its state, whichever peer gave it. So does ERR_NOT_FOUND, a row that an earlier leaf made and that is not there: no
 * other try brings it, a rebuild does. */
static bool is_own_failure(enum err code)
{
    return code == ERR_IO || code == ERR_FULL || code == ERR_NOMEM || code == ERR_CORRUPT || code == ERR_CONFLICT ||
           code == ERR_BUSY || code == ERR_PERMISSION;
}

/* A leaf that fails for a reason of this node's own may stand in some tables and not in others. */
static enum err chunk_run(struct state_write *write, struct table_txn *txn, struct ledger *ledger)
{
    struct chunk *k = write->data;
    if (ledger_size(ledger) != k->pulled.from) return ERR_CONFLICT;
    enum err e = OK;
    for (uint32_t i = 0; i < k->pulled.count && e == OK; i++)
        e = ledger_replay(ledger, txn, k->pulled.leaves[i], &k->failure);
    write->torn = is_own_failure(e);
    return e;
}

static void chunk_done(struct state_write *write, enum err code)
{
    struct chunk *k = write->data;
    struct catchup *c = k->c;
    bool stale = c->stopped || k->run != c->run || code == ERR_STOPPED;
    c->in_flight--;
    if (!stale) {
        c->chunks--;
        if (code == OK) {
            c->replayed = k->pulled.from + k->pulled.count;
            go_on(c);
        } else if (is_own_failure(code)) {
            catchup_fail(c, "leaves can't be replayed: %s", err_text(code));
        } else {
            log_error("catchup", "%s", k->failure.text);
            catchup_contradicted(c, "a leaf that k nodes co-signed does not follow from its state");
        }
    }
    chunk_free(k);
}

static void replay(struct catchup *c, struct chunk *k)
{
    k->write = (struct state_write){.data = k, .run = chunk_run, .done = chunk_done};
    c->in_flight++;
    c->chunks++;
    enum err e = driver_write(c->o.driver, &k->write);
    if (e == OK) return;
    c->in_flight--;
    c->chunks--;
    chunk_free(k);
    catchup_fail(c, "leaves can't be replayed: %s", err_text(e));
}

/* --- asking --- */

static bool all_proved(const struct catchup *c) { return c->tree.size == c->target.size; }

static void ask_next(struct catchup *c)
{
    unsigned peer = catchup_fastest_peer(c, c->puller - 1, c->liars, &c->pull_speeds);
    struct buffer body = {0};
    if (!peer) return; /* the timer comes back to it */
    c->puller = peer;
    c->pull = ask_begin(c, peer);
    c->until_ns = c->pull.until_ns;
    pull_encode(&body, &(struct pull){c->tree.size, c->target.size});
    catchup_send(c, peer, PEER_PULL, c->pull.id, &body);
    buffer_free(&body);
}

static void go_on(struct catchup *c)
{
    if (c->phase != CATCHUP_PULLING) return;
    if (c->replayed == c->target.size)
        catchup_pulled_all(c);
    else if (!c->pull.peer && !all_proved(c) && c->chunks < CATCHUP_CHUNKS)
        ask_next(c);
}

void pull_begin(struct catchup *c, const struct tree *own)
{
    c->tree = *own;
    c->replayed = own->size;
    c->chunks = 0;
    c->pull.peer = 0;
    c->pull_failures = 0;
    if (c->puller < 1 || c->puller > c->n) c->puller = c->o.self % c->n + 1;
    c->until_ns = clock_monotonic_ns() + LIMIT_PULL_MS * UINT64_C(1000000);
    go_on(c);
}

/* This peer did not help: the next one is asked. */
static void ask_other(struct catchup *c)
{
    speeds_note(&c->pull_speeds, &c->pull, false);
    c->pull.peer = 0;
    c->pull_failures++;
    c->puller = c->puller % c->n + 1;
    if (c->pull_failures >= CATCHUP_TRIES_PER_PEER * (c->n - 1))
        catchup_fail(c, "no peer gives leaf %llu", (unsigned long long)c->tree.size);
    else
        go_on(c);
}

void pull_tick(struct catchup *c, uint64_t now)
{
    if (c->pull.peer && now >= c->pull.until_ns) {
        log_info("catchup", "node %u (%s) did not give leaf %llu in time", c->pull.peer,
                 catchup_name(c, c->pull.peer), (unsigned long long)c->tree.size);
        ask_other(c);
    } else if (!c->pull.peer && !all_proved(c) && c->chunks < CATCHUP_CHUNKS) {
        go_on(c);
        if (c->phase == CATCHUP_PULLING && !c->pull.peer && now >= c->until_ns)
            catchup_fail(c, "no peer that could give leaf %llu is reachable", (unsigned long long)c->tree.size);
    }
}

bool pull_refused(struct catchup *c, unsigned from, uint64_t id, const struct refusal *refusal)
{
    if (c->phase != CATCHUP_PULLING || c->pull.peer != from || c->pull.id != id) return false;
    log_info("catchup", "node %u (%s) does not give leaf %llu: %s", from, catchup_name(c, from),
             (unsigned long long)c->tree.size, err_text(refusal->code));
    ask_other(c);
    return true;
}

/* --- proving --- */

static enum err proved(const struct tree_proof *proof, uint64_t size, const struct digest *root, const struct target *t)
{
    return tree_consistency_verify(size, t->size, proof->hashes, proof->count, root, &t->root);
}

/* NULL: the chunk stands, and `after` is the frontier behind it; else what is wrong. */
static const char *chunk_wrong(struct tree *after, const struct catchup *c, const struct pulled *p)
{
    struct digest root, hash;
    if (p->from != c->tree.size || p->to != c->target.size) return "other leaves than it was asked for";
    if (proved(&p->base_proof, p->from, &p->base, &c->target) != OK)
        return "a root that does not lead to the co-signed one";
    *after = c->tree;
    for (uint32_t i = 0; i < p->count; i++) {
        leaf_hash(&hash, p->leaves[i]);
        tree_append(after, NULL, &hash);
    }
    tree_root(&root, after);
    return proved(&p->end_proof, after->size, &root, &c->target) == OK ? NULL
                                                                       : "leaves that do not lead to the co-signed "
                                                                         "root";
}

/* A proved root of the chunk's beginning that isn't this node's. */
static bool own_root_differs(const struct catchup *c, const struct pulled *p)
{
    struct digest own;
    tree_root(&own, &c->tree);
    return p->from == c->tree.size && p->to == c->target.size && !digest_equal(&own, &p->base) &&
           proved(&p->base_proof, p->from, &p->base, &c->target) == OK;
}

static void name_liar(struct catchup *c, unsigned from, const char *what)
{
    log_error("catchup", "node %u (%s) sent %s, from leaf %llu on: it is not asked again in this run", from,
              catchup_name(c, from), what, (unsigned long long)c->tree.size);
    c->liars |= PEER_BIT(from);
    ask_other(c);
}

/* An honest peer ends a chunk where the next leaf does not fit. */
static bool gave_little(const struct pulled *p, size_t bytes)
{
    return p->count < p->to - p->from && p->count < LIMIT_PULL_LEAVES && bytes + LIMIT_LEAF < LIMIT_PULL_BYTES;
}

static void take_chunk(struct catchup *c, unsigned from, struct chunk *k)
{
    struct tree after;
    if (own_root_differs(c, &k->pulled)) {
        chunk_free(k);
        catchup_contradicted(c, "its root contradicts one that k nodes co-signed");
        return;
    }
    const char *wrong = chunk_wrong(&after, c, &k->pulled);
    if (wrong) {
        chunk_free(k);
        name_liar(c, from, wrong);
        return;
    }
    c->tree = after;
    speeds_note(&c->pull_speeds, &c->pull, !gave_little(&k->pulled, k->bytes.size));
    c->pull.peer = 0;
    c->pull_failures = 0;
    replay(c, k);
    go_on(c);
}

void pull_answer(struct catchup *c, unsigned from, uint64_t id, struct bytes body)
{
    if (c->phase != CATCHUP_PULLING || c->pull.peer != from || c->pull.id != id) return; /* too late */
    struct chunk *k = xcalloc(1, sizeof *k);
    k->c = c;
    k->run = c->run;
    buffer_append_bytes(&k->bytes, body);
    if (k->bytes.failed) {
        chunk_free(k);
        catchup_fail(c, "out of memory");
    } else if (pulled_decode(&k->pulled, buffer_bytes(&k->bytes)) != OK) {
        chunk_free(k);
        name_liar(c, from, "an answer that is not well-formed");
    } else {
        take_chunk(c, from, k);
    }
}
