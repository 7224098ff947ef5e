/* ADMIT: a connection is opened to who may export the ledger, by an entry that another connection made.
 *
 * An audit asks all nodes, and leaves one entry. That entry alone admits nobody, for whoever was shown it has all of it: its
 * actor signs that this node may take the asker for them. Old ones admit no more, so that an audit of today is an entry of
 * today. */
#include <stdlib.h>

#include "base/check.h"
#include "base/clock.h"
#include "ledger/arguments.h"
#include "ledger/leaf.h"
#include "ledger/proof.h"
#include "ledger/query.h"
#include "ledger/state.h"
#include "node/serve.h"

struct admission {
    struct session *session;
    uint64_t id;
    struct message_admit asked;
    struct state_read read;
    struct export_permit permit;
};

/* With the key that the entry was made with; whether it may still is another question. */
static enum err check_signature(const struct admission *a, struct table_txn *txn, const struct actor *actor)
{
    const struct node *node = a->session->node;
    struct user user;
    struct buffer text = {0};
    enum err e = state_user_get(&user, txn, &actor->id);
    int key = e == OK ? user_key_find(&user, &actor->key) : -1;
    if (e == ERR_NOT_FOUND || (e == OK && key < 0)) return ERR_UNKNOWN_ACTOR;
    if (e != OK) return e;
    message_admit_signing(&text, &node->genesis.cluster, &node->identity.descriptor.id, &a->asked);
    e = text.failed ? ERR_NOMEM : sign_verify(&a->asked.signature, &user.keys[key].key, buffer_bytes(&text));
    buffer_free(&text);
    return e;
}

static enum err take_entry(struct admission *a, struct table_txn *txn, struct bytes raw, uint64_t index)
{
    struct leaf leaf;
    struct args_ledger_export args;
    if (leaf_decode(&leaf, raw) != OK) return ERR_CORRUPT;
    if (leaf.operation.action != ACTION_LEDGER_EXPORT || leaf.decision != DECISION_APPROVED) return ERR_UNAUTHORIZED;
    if (args_ledger_export_decode(&args, leaf.operation.args) != OK) return ERR_CORRUPT;
    a->permit = (struct export_permit){leaf.operation.actor, args.from, args.to, index};
    return check_signature(a, txn, &a->permit.exporter);
}

/* Found by its request, as the same request sent again would be: by index another node's ledger, which may be wrong, has
 * another entry there, and whoever looks for that would not be let in. */
static enum err run(struct state_read *read, struct table_txn *txn)
{
    struct admission *a = read->data;
    const struct message_admit *m = &a->asked;
    struct seen seen;
    struct buffer raw = {0};
    enum err e = state_seen_get(&seen, txn, m->issued_at_ms, ACTOR_USER, &m->actor, &m->request);
    if (e == ERR_NOT_FOUND) return ERR_NOT_READY; /* not here so far */
    if (e == OK) e = proof_leaf(&raw, txn, seen.index);
    if (e == OK) e = take_entry(a, txn, buffer_bytes(&raw), seen.index);
    if (e == OK) e = query_may_export(txn, &a->permit.exporter, a->permit.entry);
    buffer_free(&raw);
    return e;
}

static void done(struct state_read *read, enum err code)
{
    struct admission *a = read->data;
    struct session *s = a->session;
    struct buffer out = {.limit = LIMIT_ANSWER};
    if (code == OK) {
        s->may_export = true;
        s->exported = a->permit;
        message_empty_encode(&out);
        session_send(s, MESSAGE_ADMITTED, a->id, &out);
    } else {
        session_fail(s, a->id, code, NULL, code == ERR_BUSY ? 100 : 0);
    }
    buffer_free(&out);
    session_end(s);
    free(a);
}

static bool is_recent(uint64_t issued_at_ms, uint64_t now_ms)
{
    return issued_at_ms <= now_ms + LIMIT_SKEW_MS && now_ms <= issued_at_ms + LIMIT_SKEW_MS;
}

/* Just made, mostly, so from the newest state. */
void serve_admit(struct session *s, uint64_t id, struct bytes body)
{
    struct message_admit m;
    enum err e = message_admit_decode(&m, body);
    if (e == OK && !is_recent(m.issued_at_ms, clock_wall_ms())) e = ERR_UNAUTHORIZED;
    struct admission *a = e == OK ? calloc(1, sizeof *a) : NULL;
    if (e == OK && !a) e = ERR_BUSY;
    if (e != OK) {
        session_fail(s, id, e, NULL, e == ERR_BUSY ? 1000 : 0);
        return;
    }
    if (!session_begin(s, id)) {
        free(a);
        return;
    }
    *a = (struct admission){.session = s, .id = id, .asked = m};
    a->read = (struct state_read){.fresh = true, .data = a, .run = run, .done = done};
    e = driver_read(s->node->driver, &a->read);
    if (e != OK) done(&a->read, e);
}
