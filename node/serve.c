#include "node/serve.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "ledger/apply.h"
#include "ledger/attachment.h"
#include "ledger/leaf.h"
#include "ledger/proof.h"
#include "ledger/query.h"
#include "ledger/tables.h"
#include "net/leaf_pack.h"
#include "node/bulk.h"

/* One question that is answered from the state. */
struct question {
    struct session *session;
    uint64_t id;
    struct state_read read;
    uint32_t answer_type;
    struct buffer answer;
    union {
        struct message_lookup lookup;
        struct message_leaves leaves;
        struct message_stored stored;
        struct message_consistency consistency;
        struct tile tile;
        uint32_t secret;
    };
    struct export_permit permit; /* of LEAVES, STORED */
    struct bulk_turn turn; /* of LEAVES, STORED */
    enum err (*scan)(struct state_read *read, struct table_txn *txn);
    uint64_t took_ns;
    uint64_t witnessed_time_ms;
    bool leader_known;
};

static void answered(struct state_read *read, enum err code)
{
    struct question *q = read->data;
    if (code == OK)
        session_send(q->session, q->answer_type, q->id, &q->answer);
    else
        session_fail(q->session, q->id, code, NULL, code == ERR_BUSY ? 100 : 0);
    buffer_free(&q->answer);
    session_end(q->session);
    free(q);
}

static struct question *question_new(struct session *s, uint64_t id, uint32_t answer_type)
{
    struct question *q = calloc(1, sizeof *q);
    if (!q) {
        session_fail(s, id, ERR_BUSY, "out of memory", 1000);
        return NULL;
    }
    if (!session_begin(s, id)) {
        free(q);
        return NULL;
    }
    q->session = s;
    q->id = id;
    q->answer_type = answer_type;
    q->answer.limit = LIMIT_FRAME;
    return q;
}

static void ask(struct question *q, bool fresh, enum err (*run)(struct state_read *, struct table_txn *))
{
    q->read = (struct state_read){.fresh = fresh, .data = q, .run = run, .done = answered};
    enum err e = driver_read(q->session->node->driver, &q->read);
    if (e != OK) answered(&q->read, e);
}

/* --- a page of a long scan, in its turn --- */

static enum err scan_run(struct state_read *read, struct table_txn *txn)
{
    struct question *q = read->data;
    uint64_t begin = clock_thread_ns();
    enum err e = q->scan(read, txn);
    q->took_ns = clock_thread_ns() - begin;
    return e;
}

/* Sending is a part of what it takes. */
static void scanned(struct state_read *read, enum err code)
{
    struct question *q = read->data;
    struct bulk *bulk = q->session->node->bulk;
    uint64_t took = q->took_ns, begin = clock_thread_ns();
    answered(read, code);
    bulk_end(bulk, took + (clock_thread_ns() - begin));
}

static void scan_begin(struct bulk_turn *turn)
{
    struct question *q = turn->data;
    enum err e = q->session->connection ? driver_read(q->session->node->driver, &q->read) : ERR_CLOSED;
    if (e != OK) scanned(&q->read, e);
}

static void scan_refuse(struct bulk_turn *turn)
{
    struct question *q = turn->data;
    answered(&q->read, ERR_STOPPED);
}

static void ask_scan(struct question *q, bool fresh, enum err (*scan)(struct state_read *, struct table_txn *))
{
    q->scan = scan;
    q->read = (struct state_read){.fresh = fresh, .data = q, .run = scan_run, .done = scanned};
    q->turn = (struct bulk_turn){.data = q, .begin = scan_begin, .refuse = scan_refuse};
    enum err e = bulk_add(q->session->node->bulk, &q->turn);
    if (e != OK) answered(&q->read, e);
}

/* --- LOOKUP --- */

static enum err lookup_run(struct state_read *read, struct table_txn *txn)
{
    struct question *q = read->data;
    const struct message_lookup *l = &q->lookup;
    struct message_found found = {.witnessed_time_ms = q->witnessed_time_ms, .leader_known = q->leader_known};
    uint8_t decision = 0;
    uint16_t reason = 0;
    enum err e = ledger_lookup(&found.leaf_index, &decision, &reason, txn, (enum actor_kind)l->kind, &l->actor,
                               l->issued_at_ms, &l->request);
    if (e != OK && e != ERR_NOT_FOUND) return e;
    found.found = e == OK;
    found.decision = decision;
    found.reason = reason;
    message_found_encode(&q->answer, &found);
    return OK;
}

static void looked_up(struct state_read *read, enum err code)
{
    struct question *q = read->data;
    q->session->node->lookups--;
    answered(read, code);
}

/* Anybody may ask, and some answers take the state's thread a while: so only a few at once. */
void serve_lookup(struct session *s, uint64_t id, struct bytes body)
{
    struct message_lookup m;
    enum err e = message_lookup_decode(&m, body);
    if (e == OK && s->node->lookups >= LIMIT_LOOKUPS) e = ERR_BUSY;
    if (e != OK) {
        session_fail(s, id, e, NULL, e == ERR_BUSY ? 100 : 0);
        return;
    }
    struct question *q = question_new(s, id, MESSAGE_FOUND);
    if (!q) return;
    struct driver_status d;
    driver_status(s->node->driver, &d);
    q->lookup = m;
    q->leader_known = d.leader != 0;
    q->witnessed_time_ms = witness_time_ms(s->node->witness);
    s->node->lookups++;
    /* What could be recorded so long after it was issued is in the synced state: looking through the log for it
     * holds up a worker, not the state's thread. */
    bool past = d.synced_time_ms > m.issued_at_ms && d.synced_time_ms - m.issued_at_ms > LIMIT_SKEW_MS;
    q->read = (struct state_read){.fresh = !past, .data = q, .run = lookup_run, .done = looked_up};
    e = driver_read(s->node->driver, &q->read);
    if (e != OK) looked_up(&q->read, e);
}

/* --- CHECKPOINT --- */

void serve_checkpoint(struct session *s, uint64_t id, struct bytes body)
{
    struct message_note m = {{0}};
    uint64_t size, raft_index, raft_term;
    struct digest root;
    enum err e = message_empty_decode(body);
    if (e != OK) {
        session_fail(s, id, e, NULL, 0);
        return;
    }
    witness_newest(s->node->witness, &m.note, &size, &root, &raft_index, &raft_term);
    struct buffer out = {.limit = LIMIT_FRAME};
    message_note_encode(&out, &m);
    session_send(s, MESSAGE_NOTE, id, &out);
    buffer_free(&out);
}

/* --- KEYS --- */

/* The activation leaf under the newest witnessed note that this node holds and that covers it. */
struct keys_question {
    struct question q;
    struct buffer note;
    uint64_t size;
};

static enum err keys_run(struct state_read *read, struct table_txn *txn)
{
    struct keys_question *k = read->data; /* its question is its first member */
    struct epoch epoch;
    enum err e = state_epoch_get(&epoch, txn, (uint8_t)k->q.secret, 1);
    if (e == ERR_NOT_FOUND || (e == OK && epoch.activation >= k->size)) return ERR_NOT_READY;
    if (e != OK) return e;
    struct buffer leaf = {0};
    struct tree_proof proof = {0};
    e = proof_leaf(&leaf, txn, epoch.activation);
    if (e == OK) e = proof_inclusion(&proof, txn, epoch.activation, k->size);
    if (e == OK) {
        struct message_key *m = xcalloc(1, sizeof *m);
        m->leaf = buffer_bytes(&leaf);
        m->index = epoch.activation;
        m->hash_count = proof.count;
        memcpy(m->hashes, proof.hashes, proof.count * sizeof proof.hashes[0]);
        m->note = buffer_bytes(&k->note);
        message_key_encode(&k->q.answer, m);
        free(m);
    }
    buffer_free(&leaf);
    return e;
}

static void keys_answered(struct state_read *read, enum err code)
{
    struct keys_question *k = read->data; /* its question is its first member */
    buffer_free(&k->note);
    answered(read, code);
}

void serve_keys(struct session *s, uint64_t id, struct bytes body)
{
    struct message_keys m;
    struct bytes note;
    uint64_t size, raft_index, raft_term;
    struct digest root;
    enum err e = message_keys_decode(&m, body);
    if (e == OK && !witness_newest(s->node->witness, &note, &size, &root, &raft_index, &raft_term))
        e = ERR_NOT_READY;
    if (e != OK) {
        session_fail(s, id, e, e == ERR_NOT_READY ? "the collective key is not active yet" : NULL,
                     e == ERR_NOT_READY ? 500 : 0);
        return;
    }
    struct keys_question *k = calloc(1, sizeof *k);
    if (!k || !session_begin(s, id)) {
        free(k);
        return;
    }
    k->q = (struct question){.session = s, .id = id, .answer_type = MESSAGE_KEY, .answer = {.limit = LIMIT_FRAME},
                             .secret = m.secret};
    buffer_append_bytes(&k->note, note);
    k->size = size;
    struct driver_status d;
    driver_status(s->node->driver, &d);
    k->q.read = (struct state_read){.fresh = size > d.synced_size, .data = k, .run = keys_run, .done = keys_answered};
    e = driver_read(s->node->driver, &k->q.read);
    if (e != OK) keys_answered(&k->q.read, e);
}

/* --- LEAVES --- */

static enum err read_leaf(struct buffer *out, struct table_cursor *cursor, uint64_t index)
{
    struct bytes at = table_cursor_key(cursor);
    if (at.size != 8 || get_be64(at.data) != index) return ERR_NOT_FOUND;
    enum err e = table_cursor_value(cursor, out);
    return e == OK && out->size == 0 ? ERR_CORRUPT : e;
}

/* From m->from on, as many as may go into one answer. */
static enum err pack_leaves(struct buffer *packed, struct message_leaves_ok *m, struct table_cursor *cursor,
                            uint64_t most)
{
    struct buffer leaves[2] = {{0}}; /* by turns: this one and the one before */
    uint8_t key[8];
    size_t bytes = 0;
    put_be64(key, m->from);
    enum err e = table_cursor_seek(cursor, BYTES(key));
    for (;;) {
        struct buffer *leaf = &leaves[m->count % 2], *before = &leaves[1 - m->count % 2];
        if (e == OK) e = read_leaf(leaf, cursor, m->from + m->count);
        if (e != OK || (bytes += leaf->size) > LIMIT_ANSWER) break;
        leaf_pack(packed, buffer_bytes(before), buffer_bytes(leaf));
        if (++m->count == most) break;
        e = table_cursor_next(cursor);
    }
    buffer_free(&leaves[0]);
    buffer_free(&leaves[1]);
    return e == OK && packed->failed ? ERR_NOMEM : e;
}

static enum err leaves_run(struct state_read *read, struct table_txn *txn)
{
    struct question *q = read->data;
    struct message_leaves_ok m = {.from = q->leaves.from};
    struct buffer packed = {.limit = LIMIT_FRAME};
    struct table_cursor *cursor = NULL;
    enum err e = proof_size(&m.ledger_size, txn);
    if (e == OK) e = query_may_export(txn, &q->permit.exporter, q->permit.entry);
    uint64_t left = m.from < m.ledger_size ? m.ledger_size - m.from : 0;
    if (e == OK && left > 0) e = table_cursor_open(&cursor, txn, TABLE_LEAF);
    if (e == OK && left > 0) e = pack_leaves(&packed, &m, cursor, left < q->leaves.max ? left : q->leaves.max);
    m.packed = buffer_bytes(&packed);
    if (e == OK) message_leaves_ok_encode(&q->answer, &m);
    table_cursor_close(cursor);
    buffer_free(&packed);
    return e;
}

void serve_leaves(struct session *s, uint64_t id, struct bytes body)
{
    struct message_leaves m;
    enum err e = message_leaves_decode(&m, body);
    if (e == OK && !(s->may_export && export_permits(&s->exported, m.from, m.from + 1))) e = ERR_UNAUTHORIZED;
    if (e != OK) {
        session_refuse_export(s, id, e);
        return;
    }
    struct question *q = question_new(s, id, MESSAGE_LEAVES_OK);
    if (!q) return;
    q->leaves = m;
    if (s->exported.to && m.max > s->exported.to - m.from) q->leaves.max = (uint32_t)(s->exported.to - m.from);
    q->permit = s->exported;
    struct driver_status d;
    driver_status(s->node->driver, &d);
    /* Near the end of the ledger the synced state may lag: short pages from the open transaction. */
    bool fresh = m.from + m.max > d.synced_size && d.synced_size < d.size;
    if (fresh && q->leaves.max > 512) q->leaves.max = 512;
    ask_scan(q, fresh, leaves_run);
}

/* --- STORED --- */

/* What this attachment hashes to, as it is read now; zeros when it can't be. */
static enum err hash_stored(struct stored_hash *out, size_t *bytes, struct table_cursor *cursor)
{
    struct buffer value = {0};
    struct attachment a;
    out->hash = (struct digest){{0}};
    enum err e = table_cursor_value(cursor, &value);
    if (e == OK && attachment_decode(&a, buffer_bytes(&value)) == OK) out->hash = attachment_hash(a.salt, a.content);
    *bytes += value.size;
    buffer_free(&value);
    return e == ERR_CORRUPT ? OK : e;
}

static enum err hash_all_stored(struct message_stored_ok *m, struct stored_hash *items, struct table_txn *txn,
                                const struct message_stored *asked)
{
    struct table_cursor *cursor;
    uint8_t key[8];
    size_t bytes = 0;
    put_be64(key, asked->from);
    enum err e = table_cursor_open(&cursor, txn, TABLE_ATTACHMENT);
    if (e != OK) return e;
    for (e = table_cursor_seek(cursor, BYTES(key)); e == OK; e = table_cursor_next(cursor)) {
        struct bytes at = table_cursor_key(cursor);
        uint64_t index = at.size == 8 ? get_be64(at.data) : asked->to;
        m->next = index < asked->to ? index : asked->to;
        if (index >= asked->to || m->count == LIMIT_STORED || bytes >= LIMIT_STORED_BYTES) break;
        items[m->count].index = index;
        e = hash_stored(&items[m->count++], &bytes, cursor);
        if (e != OK) break;
        m->next = index + 1;
    }
    if (e == ERR_NOT_FOUND) m->next = asked->to;
    table_cursor_close(cursor);
    return e == ERR_NOT_FOUND ? OK : e;
}

static enum err stored_run(struct state_read *read, struct table_txn *txn)
{
    struct question *q = read->data;
    struct message_stored asked = q->stored;
    struct message_stored_ok m = {.next = asked.from};
    struct stored_hash *items = calloc(LIMIT_STORED, sizeof *items);
    uint64_t size = 0;
    enum err e = items ? proof_size(&size, txn) : ERR_NOMEM;
    if (e == OK) e = query_may_export(txn, &q->permit.exporter, q->permit.entry);
    if (e == OK && asked.to > size) e = ERR_NOT_READY; /* of the synced state, which may lag */
    if (e == OK) e = hash_all_stored(&m, items, txn, &asked);
    if (e == OK) message_stored_sum(&m.sum, items, m.count);
    m.items = asked.listed ? items : NULL;
    if (e == OK) message_stored_ok_encode(&q->answer, &m);
    free(items);
    return e;
}

/* Reads much, so never from the open transaction. */
void serve_stored(struct session *s, uint64_t id, struct bytes body)
{
    struct message_stored m;
    enum err e = message_stored_decode(&m, body);
    if (e == OK && !(s->may_export && export_permits(&s->exported, m.from, m.to))) e = ERR_UNAUTHORIZED;
    if (e != OK) {
        session_refuse_export(s, id, e);
        return;
    }
    struct question *q = question_new(s, id, MESSAGE_STORED_OK);
    if (!q) return;
    q->stored = m;
    q->permit = s->exported;
    ask_scan(q, false, stored_run);
}

/* --- CONSISTENCY --- */

static enum err consistency_run(struct state_read *read, struct table_txn *txn)
{
    struct question *q = read->data;
    struct tree_proof proof;
    enum err e = proof_consistency(&proof, txn, q->consistency.old_size, q->consistency.new_size);
    if (e != OK) return e;
    struct message_consistent *m = xcalloc(1, sizeof *m);
    m->count = proof.count;
    memcpy(m->hashes, proof.hashes, proof.count * sizeof proof.hashes[0]);
    message_consistent_encode(&q->answer, m);
    free(m);
    return OK;
}

void serve_consistency(struct session *s, uint64_t id, struct bytes body)
{
    struct message_consistency m;
    enum err e = message_consistency_decode(&m, body);
    if (e != OK) {
        session_fail(s, id, e, NULL, 0);
        return;
    }
    struct question *q = question_new(s, id, MESSAGE_CONSISTENT);
    if (!q) return;
    q->consistency = m;
    struct driver_status d;
    driver_status(s->node->driver, &d);
    ask(q, m.new_size > d.synced_size, consistency_run);
}

/* --- TILE --- */

static enum err tile_run(struct state_read *read, struct table_txn *txn)
{
    struct question *q = read->data;
    struct digest hashes[TILE_WIDTH];
    enum err e = proof_tile(hashes, txn, &q->tile);
    if (e != OK) return e;
    message_tile_ok_encode(&q->answer, &(struct message_tile_ok){bytes_of(hashes, q->tile.width * sizeof hashes[0])});
    return OK;
}

static void tile_read(struct state_read *read, enum err code)
{
    struct question *q = read->data;
    q->session->node->tiles--;
    answered(read, code);
}

/* Hashes only: for anybody, as over HTTP, and so only a few at once. */
void serve_tile(struct session *s, uint64_t id, struct bytes body)
{
    struct message_tile m;
    struct driver_status d;
    enum err e = message_tile_decode(&m, body);
    driver_status(s->node->driver, &d);
    if (e == OK && tile_width_at(d.size, m.level, m.index) < m.width) e = ERR_NOT_FOUND;
    if (e == OK && s->node->tiles >= LIMIT_TILES) e = ERR_BUSY;
    if (e != OK) {
        session_fail(s, id, e, NULL, e == ERR_BUSY ? 20 : 0);
        return;
    }
    struct question *q = question_new(s, id, MESSAGE_TILE_OK);
    if (!q) return;
    q->tile = (struct tile){m.level, m.index, m.width};
    s->node->tiles++;
    bool fresh = tile_end(&q->tile) > d.synced_size;
    q->read = (struct state_read){.fresh = fresh, .data = q, .run = tile_run, .done = tile_read};
    e = driver_read(s->node->driver, &q->read);
    if (e != OK) tile_read(&q->read, e);
}

/* --- FOLLOW --- */

struct session_follow {
    struct session *session;
    uint64_t id, query, next, size; /* next: the first leaf not looked at */
    struct state_read read;
    bool reading, ended, checked;
    struct actor actor;
    struct buffer rows;
};

static void follow_more(struct session_follow *f);

/* The query is this session's actor's own. */
static enum err follow_check(struct session_follow *f, struct table_txn *txn)
{
    struct buffer bytes = {0};
    struct leaf leaf;
    enum err e = proof_leaf(&bytes, txn, f->query);
    if (e == OK) e = leaf_decode(&leaf, buffer_bytes(&bytes));
    if (e == OK && (leaf.index == 0 || !actor_equal(&leaf.operation.actor, &f->actor))) e = ERR_UNAUTHORIZED;
    buffer_free(&bytes);
    return e;
}

static enum err follow_run(struct state_read *read, struct table_txn *txn)
{
    struct session_follow *f = read->data;
    f->rows.limit = LIMIT_ANSWER;
    enum err e = f->checked ? OK : follow_check(f, txn);
    if (e != OK) return e;
    f->checked = true;
    return query_follow(&f->rows, &f->next, txn, f->query, f->next);
}

static void follow_free(struct session_follow *f)
{
    buffer_free(&f->rows);
    session_release(f->session);
    free(f);
}

static void follow_done(struct state_read *read, enum err code)
{
    struct session_follow *f = read->data;
    f->reading = false;
    if (f->ended) {
        follow_free(f);
        return;
    }
    if (code != OK && code != ERR_BUSY) {
        session_fail(f->session, f->id, code, NULL, 0);
        follow_end(f->session);
        return;
    }
    if (code == OK && f->rows.size > 1) { /* more than the empty array */
        struct message_rows m = {buffer_bytes(&f->rows)};
        struct buffer out = {.limit = LIMIT_FRAME};
        message_rows_encode(&out, &m);
        session_send(f->session, MESSAGE_ROWS, f->id, &out);
        buffer_free(&out);
    }
    if (f->next < f->size) follow_more(f);
}

static void follow_more(struct session_follow *f)
{
    if (f->reading || f->ended) return;
    f->reading = true;
    f->read = (struct state_read){.fresh = true, .data = f, .run = follow_run, .done = follow_done};
    if (driver_read(f->session->node->driver, &f->read) != OK) f->reading = false; /* the next block tries again */
}

void follow_applied(struct session *s, uint64_t size)
{
    s->follow->size = size;
    follow_more(s->follow);
}

void follow_end(struct session *s)
{
    struct session_follow *f = s->follow;
    if (!f) return;
    s->follow = NULL;
    f->ended = true;
    if (!f->reading) follow_free(f);
}

void follow_refuse(struct session *s, enum err code)
{
    if (!s->follow) return;
    session_fail(s, s->follow->id, code, NULL, 0);
    follow_end(s);
}

void serve_follow(struct session *s, uint64_t id, struct bytes body)
{
    struct message_follow m;
    struct actor actor;
    enum err e = message_follow_decode(&m, body);
    if (e == OK && !session_actor(&actor, s, &m.leaf_index, 1)) e = ERR_UNAUTHORIZED;
    if (e == OK && s->follow) e = ERR_UNEXPECTED;
    struct driver_status d;
    driver_status(s->node->driver, &d);
    if (e == OK && d.quarantined) e = ERR_QUARANTINED;
    struct session_follow *f = e == OK ? calloc(1, sizeof *f) : NULL;
    if (e == OK && !f) e = ERR_BUSY;
    if (e != OK) {
        session_fail(s, id, e, NULL, 0);
        return;
    }
    session_hold(s);
    *f = (struct session_follow){.session = s, .id = id, .query = m.leaf_index, .next = m.leaf_index + 1,
                                 .size = d.size, .actor = actor};
    s->follow = f;
    follow_more(f);
}
