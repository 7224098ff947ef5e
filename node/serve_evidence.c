/* EVIDENCE: what this node keeps (node-local table evidence), and what stands with the alarms
 * in the ledger. For those who were allowed to export the ledger on this connection. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "ledger/alarm.h"
#include "ledger/arguments.h"
#include "ledger/evidence.h"
#include "ledger/leaf.h"
#include "ledger/proof.h"
#include "ledger/query.h"
#include "ledger/tables.h"
#include "net/protocol_evidence.h"
#include "node/serve.h"

#define ALARMS_SEEN 256u /* the newest ones */

struct evidence_question {
    struct session *session;
    uint64_t id;
    struct state_read read;
    struct export_permit permit;
    uint32_t count;
    struct digest ids[LIMIT_EVIDENCE];
    struct buffer items[LIMIT_EVIDENCE];
};

/* Once each; only what proves something. */
static void add(struct evidence_question *q, struct bytes encoded)
{
    struct evidence e;
    struct digest id;
    evidence_id(&id, encoded);
    for (uint32_t i = 0; i < q->count; i++)
        if (digest_equal(&q->ids[i], &id)) return;
    if (q->count == LIMIT_EVIDENCE || evidence_open(&e, encoded, &q->session->node->genesis) != OK) return;
    buffer_append_bytes(&q->items[q->count], encoded);
    if (q->items[q->count].failed) return;
    q->ids[q->count++] = id;
}

static enum err add_kept(struct evidence_question *q, struct table_txn *txn)
{
    struct table_cursor *c;
    struct buffer value = {0};
    enum err e = table_cursor_open(&c, txn, TABLE_EVIDENCE);
    if (e != OK) return e;
    for (e = table_cursor_seek(c, (struct bytes){0}); e == OK; e = table_cursor_next(c)) {
        e = table_cursor_value(c, &value);
        if (e != OK) break;
        add(q, buffer_bytes(&value));
    }
    table_cursor_close(c);
    buffer_free(&value);
    return e == ERR_NOT_FOUND ? OK : e;
}

static enum err add_of_leaf(struct evidence_question *q, struct table_txn *txn, uint64_t index)
{
    struct buffer value = {0};
    struct args_node_alarm args;
    struct leaf leaf;
    enum err e = proof_leaf(&value, txn, index);
    if (e == OK) e = leaf_decode(&leaf, buffer_bytes(&value));
    if (e == OK) e = args_node_alarm_decode(&args, leaf.operation.args);
    if (e == OK) add(q, args.evidence);
    buffer_free(&value);
    return e;
}

static enum err add_of_alarms(struct evidence_question *q, struct table_txn *txn)
{
    size_t count = 0;
    struct alarm *alarms = calloc(ALARMS_SEEN, sizeof *alarms);
    enum err e = alarms ? state_alarms_page(alarms, &count, txn, UINT64_MAX, ALARMS_SEEN) : ERR_NOMEM;
    for (size_t i = 0; i < count && e == OK; i++)
        if (alarms[i].kind == ALARM_FORKED) e = add_of_leaf(q, txn, alarms[i].index);
    free(alarms);
    return e;
}

static enum err run(struct state_read *read, struct table_txn *txn)
{
    struct evidence_question *q = read->data;
    enum err e = query_may_export(txn, &q->permit.exporter, q->permit.entry);
    if (e == OK) e = add_kept(q, txn);
    return e == OK ? add_of_alarms(q, txn) : e;
}

static void done(struct state_read *read, enum err code)
{
    struct evidence_question *q = read->data;
    struct bytes items[LIMIT_EVIDENCE];
    struct buffer out = {.limit = LIMIT_FRAME};
    for (uint32_t i = 0; i < q->count; i++)
        items[i] = buffer_bytes(&q->items[i]);
    message_evidence_ok_encode(&out, &(struct message_evidence_ok){q->count, items});
    if (code == OK)
        session_send(q->session, MESSAGE_EVIDENCE_OK, q->id, &out);
    else
        session_fail(q->session, q->id, code, NULL, code == ERR_BUSY ? 100 : 0);
    buffer_free(&out);
    for (uint32_t i = 0; i < LIMIT_EVIDENCE; i++)
        buffer_free(&q->items[i]);
    session_end(q->session);
    free(q);
}

void serve_evidence(struct session *s, uint64_t id, struct bytes body)
{
    enum err e = message_empty_decode(body);
    if (e == OK && !s->may_export) e = ERR_UNAUTHORIZED;
    if (e != OK) {
        session_refuse_export(s, id, e);
        return;
    }
    struct evidence_question *q = calloc(1, sizeof *q);
    if (!q) {
        session_fail(s, id, ERR_BUSY, NULL, 1000);
        return;
    }
    if (!session_begin(s, id)) {
        free(q);
        return;
    }
    q->session = s;
    q->id = id;
    q->permit = s->exported;
    /* Signatures are checked: on a worker, not on the state's thread. Evidence is kept in synced transactions. */
    q->read = (struct state_read){.data = q, .run = run, .done = done};
    e = driver_read(s->node->driver, &q->read);
    if (e != OK) done(&q->read, e);
}
