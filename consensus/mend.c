#include "consensus/mend.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "consensus/catchup_messages.h"
#include "consensus/peer_messages.h"
#include "ledger/apply.h"
#include "ledger/leaf.h"
#include "ledger/scan.h"
#include "net/peers.h"

#define TICK_MS 50
#define OWN_IDS (UINT64_C(1) << 62) /* ids of asks from here on are the mender's; catching up counts from 1 */

typedef uint32_t peer_mask;
#define PEER_BIT(i) ((peer_mask)1 << (i))

struct mender {
    struct mender_options o;
    uv_timer_t timer;
    unsigned n;
    bool stopped, writing;
    struct mend *mend;     /* under way; NULL: none */
    peer_mask tried;       /* asked for this repair */
    peer_mask answered;    /* ... who said something about it: that they have it not, that it is erased, or a lie;
                              not who can't say: who is busy, or hasn't synced as much as is co-signed */
    peer_mask erased;
    uint64_t size;         /* of the co-signed root that leaves are proved against */
    struct digest root;
    unsigned peer;         /* who is asked; 0: nobody */
    uint64_t id, until_ns; /* of the ask */
};

static const char *name_of(const struct mender *m, unsigned peer)
{
    return genesis_member(m->o.genesis, peer)->name;
}

static unsigned count_of(peer_mask mask) { return (unsigned)__builtin_popcount(mask); }

static void finish(struct mender *m, enum err code)
{
    struct mend *mend = m->mend;
    m->mend = NULL;
    m->peer = 0;
    uv_timer_stop(&m->timer);
    mend->done(mend, code);
}

/* --- asking --- */

static void ask(struct mender *m, unsigned peer)
{
    struct buffer body = {0};
    const struct mend *mend = m->mend;
    m->peer = peer;
    m->id++;
    m->tried |= PEER_BIT(peer);
    m->until_ns = clock_monotonic_ns() + LIMIT_PULL_MS * UINT64_C(1000000);
    if (mend->attachment)
        attachments_ask_encode(&body, &(struct attachments_ask){.count = 1, .indexes = {mend->index}});
    else
        pull_encode(&body, &(struct pull){mend->index, m->size});
    if (!body.failed)
        peers_send(m->o.peers, peer, mend->attachment ? PEER_ATTACHMENTS : PEER_PULL, m->id, buffer_bytes(&body));
    buffer_free(&body); /* lost: its time runs out */
}

/* Everybody was asked, or is out of reach. */
static void give_up(struct mender *m)
{
    bool all = count_of(m->answered) + 1 >= m->n;
    finish(m, all ? ERR_NOT_FOUND : ERR_UNREACHABLE);
}

static void ask_next(struct mender *m)
{
    m->peer = 0;
    for (unsigned i = 1; i <= m->n; i++) {
        unsigned peer = (m->o.self + i - 1) % m->n + 1;
        if (peer == m->o.self || m->tried & PEER_BIT(peer) || !peers_up(m->o.peers, peer)) continue;
        ask(m, peer);
        return;
    }
    give_up(m);
}

/* The newest co-signed root, once it covers the leaf. */
static bool has_proof(struct mender *m)
{
    struct bytes note;
    uint64_t raft_index, raft_term;
    return witness_newest(m->o.witness, &note, &m->size, &m->root, &raft_index, &raft_term) &&
           m->size > m->mend->index;
}

static void on_tick(uv_timer_t *timer)
{
    struct mender *m = timer->data;
    if (!m->mend || m->writing) return;
    if (m->stopped) {
        finish(m, ERR_STOPPED);
    } else if (!m->peer) {
        if (!m->mend->attachment && !has_proof(m))
            finish(m, ERR_UNREACHABLE);
        else
            ask_next(m);
    } else if (clock_monotonic_ns() >= m->until_ns) {
        log_info("mend", "node %u (%s) did not give leaf %llu in time", m->peer, name_of(m, m->peer),
                 (unsigned long long)m->mend->index);
        ask_next(m);
    }
}

enum err mender_begin(struct mender *m, struct mend *mend)
{
    if (m->stopped) return ERR_STOPPED;
    if (m->mend) return ERR_BUSY;
    CHECK(mend->attachment || (mend->index > 0 && mend->before.size == mend->index));
    m->mend = mend;
    m->tried = m->answered = m->erased = 0;
    m->peer = 0;
    mend->count = 0;
    CHECK(uv_timer_start(&m->timer, on_tick, 0, TICK_MS) == 0);
    return OK;
}

/* --- writing --- */

struct writing {
    struct state_write write;
    struct mender *m;
    unsigned peer;
    struct buffer bytes; /* the answer; what is decoded has views into it */
    struct pulled pulled;
    struct attached attached;
    struct tree before;
    uint64_t index;
    unsigned count;
    struct mend_run runs[MEND_RUNS];
};

static void writing_free(struct writing *w)
{
    buffer_free(&w->bytes);
    free(w);
}

static void note_changed(struct writing *w, uint64_t index, bool gone)
{
    struct mend_run *run = w->count ? &w->runs[w->count - 1] : NULL;
    bool goes_on = run && run->last + 1 == index && run->gone == gone;
    if (goes_on || (run && w->count == MEND_RUNS))
        run->last = index;
    else
        w->runs[w->count++] = (struct mend_run){index, index, gone};
}

static enum err leaves_run(struct state_write *write, struct table_txn *txn, struct ledger *ledger)
{
    struct writing *w = write->data;
    struct tree tree = w->before;
    enum err e = OK;
    /* Peers may have co-signed more than this node has applied. */
    for (uint32_t i = 0; i < w->pulled.count && tree.size < ledger_size(ledger) && e == OK; i++) {
        struct digest hash;
        bool changed, gone;
        e = scan_mend_leaf(txn, &changed, &gone, &tree, w->pulled.leaves[i]);
        if (e == OK && changed) note_changed(w, tree.size, gone);
        leaf_hash(&hash, w->pulled.leaves[i]);
        tree_append(&tree, NULL, &hash);
    }
    return e;
}

static enum err attachment_run(struct state_write *write, struct table_txn *txn, struct ledger *ledger)
{
    struct writing *w = write->data;
    return scan_mend_attachment(ledger, txn, w->index, w->attached.attachments[0]);
}

static void written(struct state_write *write, enum err code)
{
    struct writing *w = write->data;
    struct mender *m = w->m;
    m->writing = false;
    if (code == ERR_ATTACHMENT && !m->stopped) {
        log_error("mend", "node %u (%s) sent an attachment of leaf %llu that is not the one it names", w->peer,
                  name_of(m, w->peer), (unsigned long long)w->index);
        m->answered |= PEER_BIT(w->peer);
        ask_next(m);
    } else {
        m->mend->count = w->count;
        memcpy(m->mend->runs, w->runs, sizeof w->runs);
        finish(m, code);
    }
    writing_free(w);
}

static void begin_writing(struct writing *w, enum err (*run)(struct state_write *, struct table_txn *, struct ledger *))
{
    struct mender *m = w->m;
    w->write = (struct state_write){.durable = true, .data = w, .run = run, .done = written};
    m->writing = true;
    enum err e = driver_write(m->o.driver, &w->write);
    if (e == OK) return;
    m->writing = false;
    writing_free(w);
    finish(m, e == ERR_BUSY ? ERR_UNREACHABLE : e);
}

/* --- leaves that came --- */

static bool leads_to(const struct mender *m, const struct tree_proof *proof, uint64_t size, const struct digest *root)
{
    return tree_consistency_verify(size, m->size, proof->hashes, proof->count, root, &m->root) == OK;
}

/* NULL, or what is wrong; ERR_ROOT in *code when it is this node's own leaves. */
static const char *wrong_leaves(const struct mender *m, const struct pulled *p, enum err *code)
{
    struct tree tree = m->mend->before;
    struct digest root, hash;
    *code = ERR_BAD_PROOF;
    if (p->from != m->mend->index || p->to != m->size) return "other leaves than it was asked for";
    if (!leads_to(m, &p->base_proof, p->from, &p->base)) return "a root that does not lead to the co-signed one";
    tree_root(&root, &tree);
    if (!digest_equal(&root, &p->base)) {
        *code = ERR_ROOT;
        return "leaves whose root contradicts this node's";
    }
    for (uint32_t i = 0; i < p->count; i++) {
        leaf_hash(&hash, p->leaves[i]);
        tree_append(&tree, NULL, &hash);
    }
    tree_root(&root, &tree);
    return leads_to(m, &p->end_proof, tree.size, &root) ? NULL : "leaves that do not lead to the co-signed root";
}

static void refuse(struct mender *m, unsigned from, const char *what)
{
    log_error("mend", "node %u (%s) sent %s, for leaf %llu: it is not asked again for this", from, name_of(m, from),
              what, (unsigned long long)m->mend->index);
    m->answered |= PEER_BIT(from);
    ask_next(m);
}

static void take_leaves(struct mender *m, unsigned from, struct writing *w)
{
    enum err code;
    if (pulled_decode(&w->pulled, buffer_bytes(&w->bytes)) != OK) {
        writing_free(w);
        refuse(m, from, "an answer that is not well-formed");
        return;
    }
    const char *wrong = wrong_leaves(m, &w->pulled, &code);
    if (!wrong) {
        w->before = m->mend->before;
        begin_writing(w, leaves_run);
        return;
    }
    writing_free(w);
    if (code == ERR_ROOT)
        finish(m, ERR_ROOT);
    else
        refuse(m, from, wrong);
}

/* --- an attachment that came --- */

static void take_attachment(struct mender *m, unsigned from, struct writing *w)
{
    enum err e = attached_decode(&w->attached, buffer_bytes(&w->bytes));
    if (e != OK || w->attached.count != 1) {
        writing_free(w);
        refuse(m, from, "an answer that is not well-formed");
        return;
    }
    w->index = m->mend->index;
    if (w->attached.states[0] == ATTACHMENT_HERE) {
        begin_writing(w, attachment_run);
        return;
    }
    m->answered |= PEER_BIT(from);
    if (w->attached.states[0] == ATTACHMENT_ERASED) m->erased |= PEER_BIT(from);
    writing_free(w);
    if (count_of(m->erased) > m->o.genesis->faulty)
        finish(m, ERR_UNCHANGED);
    else
        ask_next(m);
}

bool mender_message(struct mender *m, unsigned from, uint32_t type, uint64_t id, struct bytes body)
{
    if (id < OWN_IDS || (type != PEER_PULLED && type != PEER_ATTACHED && type != PEER_FAILED)) return false;
    if (!m->mend || m->writing || m->stopped || from != m->peer || id != m->id) return true; /* too late */
    m->peer = 0;
    if (type == PEER_FAILED || type != (m->mend->attachment ? PEER_ATTACHED : PEER_PULLED)) {
        ask_next(m);
        return true;
    }
    struct writing *w = xcalloc(1, sizeof *w);
    w->m = m;
    w->peer = from;
    buffer_append_bytes(&w->bytes, body);
    if (w->bytes.failed) {
        writing_free(w);
        finish(m, ERR_UNREACHABLE); /* out of memory: tried again later */
    } else if (m->mend->attachment) {
        take_attachment(m, from, w);
    } else {
        take_leaves(m, from, w);
    }
    return true;
}

/* --- start and end --- */

struct mender *mender_new(const struct mender_options *options)
{
    struct mender *m = xcalloc(1, sizeof *m);
    m->o = *options;
    m->n = options->genesis->member_count;
    m->id = OWN_IDS;
    CHECK(uv_timer_init(options->loop, &m->timer) == 0);
    m->timer.data = m;
    return m;
}

void mender_stop(struct mender *m)
{
    if (m->stopped) return;
    m->stopped = true;
    if (m->mend && !m->writing) finish(m, ERR_STOPPED);
    uv_close((uv_handle_t *)&m->timer, NULL);
}

void mender_free(struct mender *m)
{
    if (m) CHECK(!m->mend && !m->writing);
    free(m);
}
