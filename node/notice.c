#include "node/notice.h"

#include <stdlib.h>

#include "base/check.h"
#include "net/protocol_alarms.h"
#include "node/integrity.h"
#include "node/serve.h"

static struct message_alarm row_of(const struct alarm *a)
{
    return (struct message_alarm){
        .index = a->index, .kind = a->kind, .named = a->named, .raiser = a->raiser, .first = a->first, .last = a->last,
        .since_ms = a->since_ms, .status = a->status, .closed = a->closed, .told = a->told, .told_ms = a->told_ms,
        .told_by = a->told_by, .told_ways = a->told_ways, .saying = a->saying,
    };
}

/* --- NOTICE --- */

static void encode_notice(struct buffer *out, const struct integrity_view *view)
{
    struct message_notice *m = xcalloc(1, sizeof *m);
    m->quarantined = view->quarantined;
    m->total = view->count;
    for (size_t i = 0; i < view->count && i < LIMIT_NOTICE; i++) m->alarms[m->count++] = row_of(&view->alarms[i]);
    message_notice_encode(out, m);
    free(m);
}

void notice_greet(struct session *s)
{
    struct integrity_view view;
    struct buffer body = {.limit = LIMIT_ANSWER};
    integrity_view(s->node, &view);
    if (view.count == 0 && !view.quarantined) return;
    encode_notice(&body, &view);
    session_send(s, MESSAGE_NOTICE, 0, &body);
    buffer_free(&body);
}

void notice_push(struct node *node)
{
    struct integrity_view view;
    struct buffer body = {.limit = LIMIT_ANSWER};
    integrity_view(node, &view);
    encode_notice(&body, &view);
    for (struct session *s = node->sessions, *next; s; s = next) {
        next = s->next;
        if (!s->greeted) continue;
        session_hold(s);
        session_send(s, MESSAGE_NOTICE, 0, &body);
        if (view.quarantined) follow_refuse(s, ERR_QUARANTINED);
        session_release(s);
    }
    buffer_free(&body);
}

/* --- ALARMS --- */

struct asking {
    struct session *session;
    uint64_t id;
    struct message_alarms asked;
    struct state_read read;
    struct alarm *rows; /* one more than is answered: whether there are more */
    size_t count;
};

static enum err alarms_run(struct state_read *read, struct table_txn *txn)
{
    struct asking *a = read->data;
    size_t most = (size_t)a->asked.max + 1;
    return a->asked.all ? state_alarms_page(a->rows, &a->count, txn, a->asked.before, most)
                        : state_alarms_open(a->rows, &a->count, txn, most);
}

static void answer(struct asking *a)
{
    struct message_alarm *rows = xcalloc(LIMIT_ALARMS, sizeof *rows);
    struct message_alarms_ok m = {.more = a->count > a->asked.max, .alarms = rows};
    struct buffer body = {.limit = LIMIT_ANSWER};
    for (size_t i = 0; i < a->count && i < a->asked.max; i++) rows[m.count++] = row_of(&a->rows[i]);
    message_alarms_ok_encode(&body, &m);
    session_send(a->session, MESSAGE_ALARMS_OK, a->id, &body);
    buffer_free(&body);
    free(rows);
}

static void alarms_done(struct state_read *read, enum err code)
{
    struct asking *a = read->data;
    a->session->node->lookups--;
    if (code == OK)
        answer(a);
    else
        session_fail(a->session, a->id, code, NULL, code == ERR_BUSY ? 100 : 0);
    session_end(a->session);
    free(a->rows);
    free(a);
}

/* Anybody may ask, as for the status: which nodes can't be trusted is for everybody to know. */
void notice_alarms(struct session *s, uint64_t id, struct bytes body)
{
    struct message_alarms m;
    enum err e = message_alarms_decode(&m, body);
    if (e == OK && s->node->lookups >= LIMIT_LOOKUPS) e = ERR_BUSY;
    if (e != OK) {
        session_fail(s, id, e, NULL, e == ERR_BUSY ? 100 : 0);
        return;
    }
    if (!session_begin(s, id)) return;
    struct asking *a = xcalloc(1, sizeof *a);
    a->session = s;
    a->id = id;
    a->asked = m;
    a->rows = xcalloc((size_t)m.max + 1, sizeof *a->rows);
    s->node->lookups++;
    a->read = (struct state_read){.fresh = true, .data = a, .run = alarms_run, .done = alarms_done};
    e = driver_read(s->node->driver, &a->read);
    if (e != OK) alarms_done(&a->read, e);
}
