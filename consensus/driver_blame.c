/* Evidence against members: kept, told to all, and what follows from it.
 *
 * Happy path: two statements that contradict each other, found here, by the witness
 * or sent by a peer, are verified -> kept durably (node-local table evidence; a few per
 * member, also across restarts) -> the owner hears of it, once each -> all peers get it.
 * From then on its signer is named: no node that holds the evidence follows it, votes
 * for it, or counts what it tells of roots. Evidence proves itself, so nobody can be
 * named by another's word; and it is kept for good: who signed two things once is not
 * believed again.
 */
#include <stdlib.h>

#include "base/pack.h"
#include "consensus/driver_internal.h"
#include "ledger/tables.h"
#include "net/peers.h"
#include "storage/store.h"

/* ---- keeping ---- */

struct keep {
    struct state_write write;
    struct digest id;
    struct buffer value;
};

static enum err keep_run(struct state_write *w, struct table_txn *txn, struct ledger *ledger)
{
    struct keep *k = w->data;
    (void)ledger;
    return table_put(txn, TABLE_EVIDENCE, BYTES(k->id.bytes), buffer_bytes(&k->value));
}

static void keep_done(struct state_write *w, enum err code)
{
    struct keep *k = w->data;
    if (code != OK) log_warning("driver", "cannot keep evidence: %s", err_text(code));
    buffer_free(&k->value);
    free(k);
}

static void keep(struct driver *d, const struct digest *id, struct bytes encoded)
{
    struct keep *k = xcalloc(1, sizeof *k);
    k->id = *id;
    buffer_append_bytes(&k->value, encoded);
    k->write = (struct state_write){
        .durable = true, .detached = true, .data = k, .run = keep_run, .done = keep_done};
    if (!k->value.failed && driver_write(d, &k->write) == OK) return;
    buffer_free(&k->value);
    free(k);
}

/* ---- who is named ---- */

bool driver_is_named(const struct driver *d, unsigned member)
{
    return member >= 1 && member <= LIMIT_NODES && d->blame[member].count > 0;
}

static bool is_known(const struct blame *b, const struct digest *id)
{
    for (unsigned i = 0; i < b->count; i++)
        if (digest_equal(&b->ids[i], id)) return true;
    return false;
}

/* False: known already, or enough is. */
static bool note(struct driver *d, const struct evidence *e, struct bytes encoded, struct digest *id)
{
    struct blame *b = &d->blame[e->signer];
    evidence_id(id, encoded);
    if (b->count == EVIDENCE_PER_MEMBER || is_known(b, id)) return false;
    if (b->count == 0) buffer_append_bytes(&b->first, encoded);
    b->ids[b->count++] = *id;
    return true;
}

static void send_evidence(struct driver *d, unsigned peer, struct bytes encoded)
{
    buffer_clear(&d->out);
    pack_array(&d->out, 1);
    pack_bytes(&d->out, encoded);
    if (!d->out.failed) peers_send(d->o.peers, peer, PEER_EVIDENCE, 0, buffer_bytes(&d->out));
}

void driver_blame_up(struct driver *d, unsigned peer)
{
    for (unsigned named = 1; named <= LIMIT_NODES; named++)
        if (driver_is_named(d, named)) send_evidence(d, peer, buffer_bytes(&d->blame[named].first));
}

static void tell_all(struct driver *d, struct bytes encoded)
{
    for (unsigned i = 1; i <= d->o.genesis->member_count; i++)
        if (i != d->o.self) send_evidence(d, i, encoded);
}

static void act_on(struct driver *d, const struct evidence *e, struct bytes encoded)
{
    struct digest id;
    if (!note(d, e, encoded, &id)) return;
    const struct descriptor *member = genesis_member(d->o.genesis, e->signer);
    const char *text = evidence_kind_meaning(evidence_kind(e));
    d->counters.evidence++;
    log_error("driver", "EVIDENCE: node %u (%s) %s (%llu). It is not followed, voted for or believed any more",
              e->signer, member->name, text, (unsigned long long)evidence_place(e));
    keep(d, &id, encoded);
    driver_apply_settings(d);
    if (d->o.on_evidence)
        d->o.on_evidence(d->o.data, evidence_kind_text(evidence_kind(e)), e->signer, evidence_place(e), encoded);
    tell_all(d, encoded);
}

enum err driver_evidence(struct driver *d, struct bytes encoded)
{
    struct evidence e;
    struct digest id;
    enum err code = evidence_decode(&e, encoded);
    if (code != OK) return code;
    evidence_id(&id, encoded);
    if (is_known(&d->blame[e.signer], &id)) return OK;
    code = evidence_verify(&e, d->o.genesis);
    if (code == OK) act_on(d, &e, encoded);
    return code;
}

bool driver_contradiction(struct driver *d, unsigned signer, const struct statement *a, const struct statement *b)
{
    struct evidence e;
    struct buffer encoded = {0};
    if (evidence_make(&e, d->o.genesis, signer, a, b) != OK) return false;
    evidence_encode(&encoded, &e);
    if (!encoded.failed) act_on(d, &e, buffer_bytes(&encoded));
    buffer_free(&encoded);
    return true;
}

/* ---- from peers ---- */

void driver_evidence_came(struct driver *d, unsigned from, struct bytes body)
{
    struct unpack u = unpack_start(body);
    unpack_array_of(&u, 1);
    struct bytes encoded = unpack_bin(&u, EVIDENCE_SIZE);
    enum err e = unpack_done(&u);
    if (e == OK) e = driver_evidence(d, encoded);
    if (e != OK) driver_every(&d->counters.bad_messages, "evidence", from, e);
}

/* ---- what was kept ---- */

static enum err load_rows(struct driver *d, struct table_txn *txn)
{
    struct table_cursor *c;
    struct buffer value = {0};
    enum err e = table_cursor_open(&c, txn, TABLE_EVIDENCE);
    if (e != OK) return e;
    for (e = table_cursor_seek(c, (struct bytes){0}); e == OK; e = table_cursor_next(c)) {
        struct evidence evidence;
        struct digest id;
        e = table_cursor_value(c, &value);
        if (e != OK && e != ERR_CORRUPT) break;
        if (e == OK && evidence_open(&evidence, buffer_bytes(&value), d->o.genesis) == OK)
            note(d, &evidence, buffer_bytes(&value), &id);
        else /* the scrub will remove it */
            log_warning("driver", "kept evidence can't be read, and is passed over: peers send theirs");
    }
    table_cursor_close(c);
    buffer_free(&value);
    return e == ERR_NOT_FOUND ? OK : e;
}

static enum err load_rebuilt(struct driver *d, struct table_txn *txn)
{
    struct buffer row = {0};
    enum err e = table_get(txn, TABLE_BLOB, bytes_text(DRIVER_REBUILT), &row);
    if (e == OK && driver_rebuilt_decode(&d->rebuilt, buffer_bytes(&row)) != OK) e = ERR_CORRUPT;
    buffer_free(&row);
    return e == ERR_NOT_FOUND ? OK : e;
}

enum err driver_blame_load(struct driver *d)
{
    struct table_txn *txn;
    enum err e = store_begin_read(&txn, d->o.store);
    if (e != OK) return e;
    e = load_rows(d, txn);
    if (e == OK) e = load_rebuilt(d, txn);
    store_abort(txn);
    return e;
}

void driver_blame_free(struct driver *d)
{
    for (unsigned i = 0; i <= LIMIT_NODES; i++)
        buffer_free(&d->blame[i].first);
}
