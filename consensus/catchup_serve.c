/* What peers ask for: answered from the synced state on a worker, a few at once for
 * each peer. What can't be answered is answered with FAILED, so that the other
 * side goes on with another peer at once. */
#include <stdlib.h>

#include "consensus/catchup_internal.h"
#include "ledger/leaf.h"
#include "ledger/proof.h"
#include "ledger/replay.h"
#include "ledger/tables.h"

struct serving {
    struct state_read read;
    struct catchup *c;
    unsigned peer;
    uint32_t answer_type;
    uint64_t id;
    union {
        struct manifest_ask manifest;
        struct pull pull;
        struct attachments_ask attachments;
    } ask;
    struct witnessed row; /* of a manifest */
    struct buffer body;
};

static void refuse(struct catchup *c, unsigned peer, uint64_t id, enum err code)
{
    struct buffer body = {0};
    refusal_encode(&body, code);
    catchup_send(c, peer, PEER_FAILED, id, &body);
    buffer_free(&body);
}

/* --- manifests --- */

static enum err manifest_run(struct state_read *read, struct table_txn *txn)
{
    struct serving *s = read->data;
    struct buffer row = {0};
    uint8_t key[8];
    put_be64(key, s->ask.manifest.size);
    enum err e = table_get(txn, TABLE_CHECKPOINT, BYTES(key), &row);
    if (e == OK && witnessed_decode(&s->row, buffer_bytes(&row)) != OK) e = ERR_CORRUPT;
    if (e == ERR_NOT_FOUND) e = OK; /* the position may be known without a note */
    buffer_free(&row);
    return e;
}

static void encode_manifest(struct serving *s)
{
    const struct manifest_ask *ask = &s->ask.manifest;
    struct manifest m = {s->row.raft_index, s->row.raft_term, s->row.size, s->row.root, buffer_bytes(&s->row.note)};
    /* Blocks without a leaf leave the size as it is, so that one size has several positions. */
    if (witness_was_at(s->c->o.witness, &m.root, ask->raft_index, ask->raft_term, ask->size)) {
        m.raft_index = ask->raft_index;
        m.raft_term = ask->raft_term;
        m.size = ask->size;
    }
    manifest_encode(&s->body, &m);
}

static void send_newest(struct catchup *c, unsigned peer, uint64_t id)
{
    struct driver_status d;
    struct manifest m = {0};
    struct buffer body = {0};
    driver_status(c->o.driver, &d);
    const struct witnessed *w = witness_before(c->o.witness, d.synced_index);
    if (w) m = (struct manifest){w->raft_index, w->raft_term, w->size, w->root, buffer_bytes(&w->note)};
    manifest_encode(&body, &m);
    catchup_send(c, peer, PEER_MANIFEST, id, &body);
    buffer_free(&body);
}

/* --- leaves --- */

/* As many as fit. The first one always does. */
static enum err add_leaves(struct pulled *p, struct buffer *leaves, struct table_txn *txn)
{
    struct buffer leaf = {0};
    enum err e = OK;
    uint64_t left = p->to - p->from;
    while (p->count < left && p->count < LIMIT_PULL_LEAVES) {
        e = proof_leaf(&leaf, txn, p->from + p->count);
        if (e != OK || (p->count > 0 && leaves->size + leaf.size > LIMIT_PULL_BYTES)) break;
        pulled_add_leaf(leaves, buffer_bytes(&leaf));
        p->count++;
    }
    buffer_free(&leaf);
    return e == OK && leaves->failed ? ERR_NOMEM : e;
}

static enum err pull_run(struct state_read *read, struct table_txn *txn)
{
    struct serving *s = read->data;
    struct buffer leaves = {0};
    uint64_t size;
    struct pulled *p = xcalloc(1, sizeof *p);
    p->from = s->ask.pull.from;
    p->to = s->ask.pull.to;
    enum err e = proof_size(&size, txn);
    if (e == OK && size < p->to) e = ERR_NOT_FOUND;
    if (e == OK) e = proof_root(&p->base, txn, p->from);
    if (e == OK) e = proof_consistency(&p->base_proof, txn, p->from, p->to);
    if (e == OK) e = add_leaves(p, &leaves, txn);
    if (e == OK) e = proof_consistency(&p->end_proof, txn, p->from + p->count, p->to);
    if (e == OK) pulled_encode(&s->body, p, buffer_bytes(&leaves));
    buffer_free(&leaves);
    free(p);
    return e;
}

/* --- attachments --- */

static enum err state_of(enum attachment_state *out, struct buffer *attachment, struct table_txn *txn, uint64_t index,
                         uint64_t size)
{
    uint8_t key[8];
    put_be64(key, index);
    enum err e = ledger_attachment(attachment, txn, index);
    *out = ATTACHMENT_HERE;
    if (e != ERR_NOT_FOUND) return e;
    buffer_clear(attachment);
    e = table_exists(txn, TABLE_MISSING, BYTES(key));
    *out = e == OK || index >= size ? ATTACHMENT_NOT_YET : ATTACHMENT_ERASED;
    return e == ERR_NOT_FOUND ? OK : e;
}

static enum err attachments_run(struct state_read *read, struct table_txn *txn)
{
    struct serving *s = read->data;
    const struct attachments_ask *ask = &s->ask.attachments;
    struct buffer items = {0}, attachment = {0};
    uint64_t size;
    uint32_t count = 0;
    enum err e = proof_size(&size, txn);
    while (e == OK && count < ask->count) {
        enum attachment_state state;
        e = state_of(&state, &attachment, txn, ask->indexes[count], size);
        if (e != OK || (count > 0 && items.size + attachment.size > LIMIT_PULL_BYTES)) break;
        attached_add(&items, state, buffer_bytes(&attachment));
        count++;
    }
    if (e == OK && items.failed) e = ERR_NOMEM;
    if (e == OK) attached_encode(&s->body, count, buffer_bytes(&items));
    buffer_free(&items);
    buffer_free(&attachment);
    return e;
}

/* --- asks and answers --- */

static void serve_done(struct state_read *read, enum err code)
{
    struct serving *s = read->data;
    struct catchup *c = s->c;
    c->in_flight--;
    c->serving[s->peer]--;
    if (!c->stopped && code != ERR_STOPPED) {
        if (code == OK && s->answer_type == PEER_MANIFEST) encode_manifest(s);
        if (code == OK && s->body.failed) code = ERR_NOMEM;
        if (code == OK)
            catchup_send(c, s->peer, s->answer_type, s->id, &s->body);
        else
            refuse(c, s->peer, s->id, code);
    }
    buffer_free(&s->row.note);
    buffer_free(&s->body);
    free(s);
}

static enum err decode_ask(struct serving *s, uint32_t type, struct bytes body)
{
    switch (type) {
    case PEER_MANIFEST_ASK:
        s->answer_type = PEER_MANIFEST;
        s->read.run = manifest_run;
        return manifest_ask_decode(&s->ask.manifest, body);
    case PEER_PULL:
        s->answer_type = PEER_PULLED;
        s->read.run = pull_run;
        return pull_decode(&s->ask.pull, body);
    default:
        s->answer_type = PEER_ATTACHED;
        s->read.run = attachments_run;
        return attachments_ask_decode(&s->ask.attachments, body);
    }
}

static enum err begin_serving(struct serving *s)
{
    struct catchup *c = s->c;
    if (c->serving[s->peer] >= LIMIT_PULL_SERVED) return ERR_BUSY;
    c->in_flight++;
    c->serving[s->peer]++;
    enum err e = driver_read(c->o.driver, &s->read);
    if (e == OK) return OK;
    c->in_flight--;
    c->serving[s->peer]--;
    return e;
}

void serve_ask(struct catchup *c, unsigned from, uint32_t type, uint64_t id, struct bytes body)
{
    struct serving *s = xcalloc(1, sizeof *s);
    s->c = c;
    s->peer = from;
    s->id = id;
    s->read.data = s;
    s->read.done = serve_done;
    enum err e = decode_ask(s, type, body);
    if (e != OK) {
        if (log_seldom(&c->warned_ns[from]))
            log_warning("catchup", "node %u (%s) asked for a state in a message that is not well-formed: %s", from,
                        catchup_name(c, from), err_text(e));
    } else if (type == PEER_MANIFEST_ASK && s->ask.manifest.size == 0) {
        send_newest(c, from, id);
        free(s);
        return;
    } else {
        e = begin_serving(s);
    }
    if (e == OK) return;
    if (e != ERR_STOPPED) refuse(c, from, id, e);
    free(s);
}
