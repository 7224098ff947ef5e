#include "node/request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "crypto/hash.h"
#include "crypto/tdh2.h"
#include "ledger/apply.h"
#include "ledger/arguments.h"
#include "ledger/leaf.h"
#include "ledger/proof.h"
#include "ledger/query.h"
#include "ledger/record.h"
#include "ledger/request.h"
#include "node/integrity.h"
#include "node/status.h"

#define CHECK_JOBS 16           /* of one batch on a worker */
#define CHECK_BYTES (256 * KIB)
#define CHECK_ALONE (16 * KIB)  /* the only request under way is checked on the loop, up to this */

enum job_state { CHECKING, FINDING_KEY, SUBMITTED, WITNESSING, PROVING };

struct result {
    uint32_t action;
    bool has_leaf;
    uint64_t index;
    struct buffer leaf; /* empty: read it when proving */
    struct args_ledger_export exported; /* of ledger.export */
};

struct request_job {
    struct session *session;
    struct node *node;
    uint64_t id; /* of the question */
    enum wait wait;
    enum job_state state;
    uint64_t deadline_ns;
    size_t bytes;
    bool counted; /* in node->requests; of PROVE: in node->proves */
    bool first;   /* in node->first_requests */

    struct submission submission;
    struct witness_wait witnessing;
    struct state_read read;
    enum err code; /* of the worker */
    const char *text;
    bool fresh_tried, has_key;
    uint64_t committed; /* when the key was looked for: driver_committed */
    struct sign_public key;
    struct actor actor, key_actor; /* key_actor: whose key the session knows */
    struct sign_public session_key;
    bool has_collective;
    struct point collective;

    bool of_rows;      /* of PROVE_ROWS: leaves that the log.query at `query` shows */
    uint64_t query;
    bool prove_only, any_leaf; /* any_leaf: those of an export */
    struct export_permit exported;
    size_t count;
    struct result *results;
    struct buffer answer;
    struct queue_link link; /* in node->checking or node->proving */
};

/* What this request holds in memory counts, in its session's share and in the node's. */
static void charge(struct request_job *j, size_t bytes)
{
    j->node->request_bytes += bytes - j->bytes;
    j->session->request_bytes += bytes - j->bytes;
    network_take(j->node->network, bytes);
    network_give(j->node->network, j->bytes);
    j->bytes = bytes;
}

static void job_free(struct request_job *j)
{
    if (j->counted && j->prove_only) {
        j->node->proves--;
    } else if (j->counted) {
        j->node->requests--;
        charge(j, 0);
        j->node->first_requests -= j->first;
    }
    for (size_t i = 0; i < j->count && j->results; i++)
        buffer_free(&j->results[i].leaf);
    free(j->results);
    buffer_free(&j->submission.request);
    buffer_free(&j->answer);
    session_end(j->session);
    free(j);
}

static void job_fail(struct request_job *j, enum err code, const char *text)
{
    uint64_t retry = code == ERR_BUSY ? 100 : code == ERR_NOT_READY ? 200 : 0;
    session_fail(j->session, j->id, code, text, retry);
    j->node->counters.refused++;
    job_free(j);
}

static struct request_job *job_new(struct session *s, uint64_t id)
{
    struct request_job *j = calloc(1, sizeof *j);
    if (!j) {
        session_fail(s, id, ERR_BUSY, "out of memory", 1000);
        return NULL;
    }
    if (!session_begin(s, id)) {
        free(j);
        return NULL;
    }
    j->session = s;
    j->node = s->node;
    j->id = id;
    j->deadline_ns = clock_monotonic_ns() + (uint64_t)LIMIT_REQUEST_MS * 1000000;
    return j;
}

/* --- CHECKING: on a worker --- */

/* Requests that come while all workers check make a batch. */
struct check_batch {
    struct worker_task task; /* the first member */
    struct node *node;
    size_t count;
    struct request_job *jobs[CHECK_JOBS];
};

/* The context that this operation's content must have been encrypted under. */
static bool content_context(struct record_context *c, const struct operation *op)
{
    struct arguments a;
    *c = (struct record_context){.cluster = op->cluster, .author = op->actor.id, .version = 1};
    if (arguments_decode(&a, op->action, op->args) != OK) return false; /* apply will say so */
    if (a.action == ACTION_RECORD_CREATE) {
        c->patient = a.record_create.patient, c->record = a.record_create.record, c->conf = a.record_create.conf;
    } else if (a.action == ACTION_RECORD_UPDATE) {
        c->patient = a.record_update.patient, c->record = a.record_update.record, c->conf = a.record_update.conf;
        c->version = a.record_update.base_version + 1;
    } else if (a.action == ACTION_RECORD_COPY) {
        c->patient = a.record_copy.patient, c->record = a.record_copy.record, c->conf = a.record_copy.conf;
    } else {
        return false;
    }
    return true;
}

static enum err check_capsule(const struct request_job *j, struct request_item *item)
{
    struct record_context context;
    if (!content_context(&context, &item->operation)) return OK;
    struct attachment attachment;
    struct content content;
    struct tdh2_capsule capsule;
    enum err e = request_item_attachment(item, &attachment);
    if (e != OK) return e;
    e = content_decode(&content, attachment.content);
    if (e != OK) return e;
    if (tdh2_capsule_decode(&capsule, content.capsule) != OK) return ERR_BAD_CAPSULE;
    if (!j->has_collective) return OK; /* every node checks before its first share */
    uint8_t bytes[RECORD_CONTEXT_MAX];
    struct buffer encoded = {.limit = sizeof bytes};
    record_context_encode(&encoded, &context);
    CHECK(!encoded.failed);
    memcpy(bytes, encoded.data, encoded.size);
    struct digest label = record_label(bytes_of(bytes, encoded.size), content.ciphertext);
    buffer_free(&encoded);
    return tdh2_capsule_verify(&capsule, &j->collective, &label);
}

static enum err find_key(struct request_job *j, struct table_txn *txn)
{
    struct user user;
    enum err e = state_user_get(&user, txn, &j->actor.id);
    if (e == ERR_NOT_FOUND) return ERR_UNKNOWN_ACTOR;
    if (e != OK) return e;
    int i = user_key_find(&user, &j->actor.key);
    if (i < 0) return ERR_UNKNOWN_ACTOR;
    j->key = user.keys[i].key;
    j->has_key = true;
    return OK;
}

static enum err find_key_synced(struct request_job *j)
{
    struct table_txn *txn;
    /* A key id is the key's hash: the same actor has the same key. Whether it still may, apply decides. */
    if (j->key_actor.kind != ACTOR_NONE && actor_equal(&j->key_actor, &j->actor)) {
        j->key = j->session_key;
        j->has_key = true;
        return OK;
    }
    enum err e = store_begin_read(&txn, j->node->store);
    if (e != OK) return e;
    e = find_key(j, txn);
    store_abort(txn);
    return e;
}

static void note_operation(struct result *r, const struct operation *op)
{
    r->action = op->action;
    if (op->action == ACTION_LEDGER_EXPORT && args_ledger_export_decode(&r->exported, op->args) != OK)
        r->action = 0; /* apply will say so */
}

static enum err check_items(struct request_job *j, struct request *r)
{
    if (!request_is_known(r)) return ERR_UNKNOWN_ACTION; /* it would be replicated for nothing */
    for (uint32_t i = 0; i < r->count; i++) {
        if (r->items[i].attachment_good == VERDICT_BAD) return ERR_ATTACHMENT;
        enum err e = check_capsule(j, &r->items[i]);
        if (e != OK) return e;
        note_operation(&j->results[i], &r->items[i].operation);
    }
    return OK;
}

static enum err check_request(struct request_job *j, struct request *r)
{
    const struct operation *first = &r->items[0].operation;
    j->actor = first->actor;
    if (!digest_equal(&first->cluster, &j->node->genesis.cluster)) return ERR_OTHER_CLUSTER;
    if (first->actor.kind != ACTOR_USER) return ERR_UNAUTHORIZED;
    if (!j->results) {
        j->results = calloc(r->count, sizeof *j->results);
        if (!j->results) return ERR_NOMEM;
        j->count = r->count;
    }
    enum err e = j->has_key ? OK : find_key_synced(j);
    if (e != OK) return e;
    request_check(r, &j->key);
    if (r->verified != VERDICT_GOOD) return ERR_BAD_SIGNATURE;
    return check_items(j, r);
}

static void check_job(struct request_job *j)
{
    struct request r;
    j->code = request_decode(&r, buffer_bytes(&j->submission.request));
    if (j->code != OK) return;
    j->code = check_request(j, &r);
    request_free(&r);
}

static void check_work(struct worker_task *task)
{
    struct check_batch *b = (struct check_batch *)task;
    for (size_t i = 0; i < b->count; i++)
        check_job(b->jobs[i]);
}

/* --- PROVING --- */

#define PROVE_JOBS 64
#define PROVE_OPERATIONS 256 /* of a batch of several: it may run on the state thread */

/* Answers that are proved under one checkpoint: one read of the state, one cache. */
struct prove_batch {
    struct node *node;
    struct state_read read;
    struct buffer note;
    uint64_t size; /* of the checkpoint in `note` */
    struct proof_cache cache;
    size_t count;
    struct request_job *jobs[PROVE_JOBS];
};

/* A session sees its own actor's leaves; an approved export opens all, an approved query those of its rows. */
static bool may_see(const struct request_job *j, const struct buffer *bytes)
{
    struct leaf leaf;
    if (!j->prove_only || j->of_rows) return true;
    if (leaf_decode(&leaf, buffer_bytes(bytes)) != OK) return false;
    if (j->any_leaf && export_permits(&j->exported, leaf.index, leaf.index + 1)) return true;
    return leaf.index != 0 && actor_equal(&leaf.operation.actor, &j->actor);
}

static enum err may_see_rows(const struct request_job *j, struct table_txn *txn)
{
    uint64_t indexes[LIMIT_OPERATIONS];
    for (size_t i = 0; i < j->count; i++) indexes[i] = j->results[i].index;
    return query_shows(txn, j->query, &j->actor, indexes, j->count);
}

static enum err prove_one(struct prove_batch *b, struct request_job *j, struct result *r, struct message_proof *proof,
                          struct tree_proof *hashes, struct table_txn *txn)
{
    *proof = (struct message_proof){0};
    if (!r->has_leaf) return OK;
    enum err e = r->leaf.size ? OK : proof_leaf(&r->leaf, txn, r->index);
    if (e == OK && !may_see(j, &r->leaf)) e = ERR_UNAUTHORIZED;
    if (e == OK) e = proof_inclusion_cached(hashes, &b->cache, txn, r->index, b->size);
    if (e != OK) return e;
    *proof = (struct message_proof){buffer_bytes(&r->leaf), hashes->hashes, hashes->count};
    return OK;
}

static enum err prove_job(struct prove_batch *b, struct request_job *j, struct table_txn *txn)
{
    enum err e = OK;
    struct message_cosigned *m = calloc(1, sizeof *m);
    struct tree_proof *hashes = calloc(j->count, sizeof *hashes);
    if (!m || !hashes) e = ERR_NOMEM;
    if (e == OK && j->any_leaf) e = query_may_export(txn, &j->exported.exporter, j->exported.entry);
    if (e == ERR_UNAUTHORIZED) j->any_leaf = false, e = OK; /* no longer: its own leaves, as all others */
    if (e == OK && j->of_rows) e = may_see_rows(j, txn);
    for (size_t i = 0; e == OK && i < j->count; i++)
        e = prove_one(b, j, &j->results[i], &m->proofs[i], &hashes[i], txn);
    if (e == OK) {
        m->note = buffer_bytes(&b->note);
        m->count = (uint32_t)j->count;
        j->answer.limit = LIMIT_FRAME;
        message_cosigned_encode(&j->answer, m);
    }
    free(hashes);
    free(m);
    return e;
}

static enum err prove_run(struct state_read *read, struct table_txn *txn)
{
    struct prove_batch *b = read->data;
    for (size_t i = 0; i < b->count; i++)
        b->jobs[i]->code = prove_job(b, b->jobs[i], txn);
    return OK;
}

static void prove_waiting(struct node *node);

static void prove_end(struct prove_batch *b, enum err code)
{
    for (size_t i = 0; i < b->count; i++) {
        struct request_job *j = b->jobs[i];
        enum err e = code != OK ? code : j->code;
        if (e == OK) {
            session_send(j->session, MESSAGE_COSIGNED, j->id, &j->answer);
            job_free(j);
        } else {
            job_fail(j, e, NULL);
        }
    }
    buffer_free(&b->note);
    free(b);
}

static void proved(struct state_read *read, enum err code)
{
    struct prove_batch *b = read->data;
    struct node *node = b->node;
    prove_end(b, code);
    node->prove_running = false;
    prove_waiting(node);
}

static void take_proving(struct prove_batch *b, struct node *node)
{
    size_t operations = 0;
    while (b->count < PROVE_JOBS && node->proving.first) {
        operations += container(node->proving.first, struct request_job, link)->count;
        if (b->count > 0 && operations > PROVE_OPERATIONS) return;
        b->jobs[b->count++] = queue_pop(&node->proving, struct request_job, link);
    }
}

/* One batch at a time: what is witnessed meanwhile waits for the next, so that it grows with the load. */
static void prove_waiting(struct node *node)
{
    while (node->proving.first && !node->prove_running) {
        struct bytes note;
        uint64_t raft_index, raft_term;
        struct digest root;
        struct driver_status d;
        struct prove_batch *b = xcalloc(1, sizeof *b);
        b->node = node;
        take_proving(b, node);
        enum err e = ERR_NOT_WITNESSED;
        if (witness_newest(node->witness, &note, &b->size, &root, &raft_index, &raft_term)) {
            buffer_append_bytes(&b->note, note);
            driver_status(node->driver, &d);
            b->read = (struct state_read){.fresh = b->size > d.synced_size, .data = b, .run = prove_run,
                                          .done = proved};
            e = b->note.failed ? ERR_NOMEM : driver_read(node->driver, &b->read);
        }
        if (e == OK)
            node->prove_running = true;
        else
            prove_end(b, e);
    }
}

static void prove(struct request_job *j)
{
    struct node *node = j->node;
    j->state = PROVING;
    queue_add(&node->proving, &j->link);
    prove_waiting(node);
}

/* --- WITNESSING --- */

static void witnessed(struct witness_wait *w, enum err code)
{
    struct request_job *j = w->data;
    if (code == OK)
        prove(j);
    else
        job_fail(j, code, j->text);
}

static void wait_for_witness(struct request_job *j)
{
    uint64_t last = j->of_rows ? j->query : 0; /* what shows the rows is to be there, too */
    bool any = false;
    for (size_t i = 0; i < j->count; i++)
        if (j->results[i].has_leaf) {
            any = true;
            if (j->results[i].index > last) last = j->results[i].index;
        }
    if (!any || !j->session->connection) {
        job_free(j);
        return;
    }
    j->state = WITNESSING;
    j->witnessing = (struct witness_wait){.leaf_index = last, .deadline_ns = j->deadline_ns, .data = j,
                                          .done = witnessed};
    witness_wait(j->node->witness, &j->witnessing);
}

/* --- SUBMITTED --- */

static void note_outcome(struct request_job *j, struct result *r, const struct outcome *o)
{
    struct session_again *again = &j->session->again;
    r->has_leaf = o->code == OK || o->code == ERR_DUPLICATE;
    r->index = o->leaf_index;
    if (j->wait == WAIT_COSIGNED && o->code == OK) buffer_append_bytes(&r->leaf, o->leaf);
    if (!r->has_leaf) return;
    if (o->code == OK) {
        j->session->known = true;
        j->session->actor = j->actor;
    } else {
        again->leaves[again->count++] = o->leaf_index;
    }
    if (r->action != ACTION_LEDGER_EXPORT || o->decision != DECISION_APPROVED) return;
    if (o->code != OK) {
        j->session->export_again = true;
        return;
    }
    j->session->may_export = true;
    j->session->exported = (struct export_permit){j->actor, r->exported.from, r->exported.to, r->index};
}

static void send_applied(struct request_job *j, const struct outcome *outcomes)
{
    struct message_applied *m = xcalloc(1, sizeof *m);
    m->count = (uint32_t)j->count;
    for (size_t i = 0; i < j->count; i++)
        m->results[i] = (struct message_result){outcomes[i].code, outcomes[i].leaf_index, outcomes[i].decision,
                                                outcomes[i].reason, outcomes[i].answer};
    struct buffer body = {.limit = LIMIT_FRAME};
    message_applied_encode(&body, m);
    session_send(j->session, MESSAGE_APPLIED, j->id, &body);
    buffer_free(&body);
    free(m);
}

/* Its proof may take a while yet, and needs no more than these. */
static void keep_leaves(struct request_job *j)
{
    size_t bytes = 0;
    for (size_t i = 0; i < j->count; i++)
        bytes += j->results[i].leaf.capacity;
    buffer_free(&j->submission.request);
    charge(j, bytes);
}

static void applied(struct submission *s, enum err code, const struct outcome *outcomes, size_t count)
{
    struct request_job *j = s->data;
    if (code != OK) {
        job_fail(j, code, NULL);
        return;
    }
    CHECK(count == j->count && count <= LIMIT_OPERATIONS);
    for (size_t i = 0; i < count; i++)
        if (outcomes[i].code == ERR_DUPLICATE) j->session->again = (struct session_again){.actor = j->actor};
    for (size_t i = 0; i < count; i++)
        note_outcome(j, &j->results[i], &outcomes[i]);
    send_applied(j, outcomes);
    keep_leaves(j);
    if (j->wait == WAIT_COSIGNED)
        wait_for_witness(j);
    else
        job_free(j);
}

/* Shares leave a node only under a checkpoint that covers the read. */
static bool reads_records(const struct request_job *j)
{
    for (size_t i = 0; i < j->count; i++)
        if (j->results[i].action == ACTION_RECORD_READ) return true;
    return false;
}

static void submit_checked(struct request_job *j)
{
    j->state = SUBMITTED;
    j->submission.verified = true;
    j->submission.verified_key = j->key;
    j->submission.deadline_ns = j->deadline_ns;
    j->submission.awaited = j->wait == WAIT_COSIGNED || reads_records(j);
    j->submission.data = j;
    j->submission.done = applied;
    enum err e = board_log_full(j->node) ? ERR_LOG_FULL : driver_submit(j->node->driver, &j->submission);
    if (e != OK) job_fail(j, e, NULL);
}

/* --- CHECKING and FINDING_KEY: back on the loop --- */

static void check(struct request_job *j);

static enum err find_key_run(struct state_read *read, struct table_txn *txn)
{
    return find_key(read->data, txn);
}

/* Rows that are there for all others may be gone here. (A disk that was set back has them again once it is not behind.) */
static bool data_in_doubt(const struct node *node)
{
    struct integrity_view view;
    integrity_view(node, &view);
    bool doubt = view.quarantined;
    for (size_t i = 0; i < view.count && !doubt; i++) {
        const struct alarm *a = &view.alarms[i];
        doubt = a->named == node->self && (a->kind == ALARM_MODIFIED || a->kind == ALARM_DELETED);
    }
    return doubt;
}

/* Behind the others, this node may not have applied the entry that made this user; damaged, not find it any more. */
static void key_found(struct state_read *read, enum err code)
{
    struct request_job *j = read->data;
    struct driver_status d;
    driver_status(j->node->driver, &d);
    if (code == OK)
        check(j);
    else if (code == ERR_UNKNOWN_ACTOR && d.applied < j->committed)
        job_fail(j, ERR_NOT_READY, "this node knows no such user or key, but is behind the other nodes");
    else if (code == ERR_UNKNOWN_ACTOR && data_in_doubt(j->node))
        job_fail(j, ERR_NOT_READY, "this node knows no such user or key, but an alarm about its data is open");
    else
        job_fail(j, code, NULL);
}

static void find_key_fresh(struct request_job *j)
{
    struct driver_status d;
    driver_status(j->node->driver, &d);
    j->committed = driver_committed(&d);
    j->fresh_tried = true;
    j->state = FINDING_KEY;
    j->read = (struct state_read){.fresh = true, .data = j, .run = find_key_run, .done = key_found};
    enum err e = driver_read(j->node->driver, &j->read);
    if (e != OK) job_fail(j, e, NULL);
}

static void checked(struct request_job *j, enum err code)
{
    if (code == OK) {
        j->session->key_actor = j->actor;
        j->session->key = j->key;
        submit_checked(j);
    } else if (code == ERR_UNKNOWN_ACTOR && !j->fresh_tried) {
        find_key_fresh(j);
    } else {
        job_fail(j, code, NULL);
    }
}

static void check_waiting(struct node *node);

static void check_done(struct worker_task *task, bool canceled)
{
    struct check_batch *b = (struct check_batch *)task;
    b->node->checks_running--;
    for (size_t i = 0; i < b->count; i++)
        checked(b->jobs[i], canceled ? ERR_STOPPED : b->jobs[i]->code);
    check_waiting(b->node);
    free(b);
}

/* The driver has stopped, and the node is about to. */
static void refuse_batch(struct check_batch *b)
{
    b->node->checks_running--;
    for (size_t i = 0; i < b->count; i++)
        checked(b->jobs[i], ERR_STOPPED);
    free(b);
}

static void check_waiting(struct node *node)
{
    if (node->checks_most == 0) node->checks_most = uv_available_parallelism();
    while (node->checking.first && node->checks_running < node->checks_most) {
        struct check_batch *b = xcalloc(1, sizeof *b);
        size_t bytes = 0;
        b->node = node;
        b->task = (struct worker_task){.run = check_work, .done = check_done};
        while (b->count < CHECK_JOBS && node->checking.first) {
            bytes += container(node->checking.first, struct request_job, link)->bytes;
            if (b->count > 0 && bytes > CHECK_BYTES) break;
            b->jobs[b->count++] = queue_pop(&node->checking, struct request_job, link);
        }
        node->checks_running++;
        if (driver_work(node->driver, &b->task) != OK) refuse_batch(b);
    }
}

static void check(struct request_job *j)
{
    struct node *node = j->node;
    j->state = CHECKING;
    j->has_collective = node->epoch.epoch != 0;
    j->collective = node->epoch.key;
    j->key_actor = j->session->key_actor;
    j->session_key = j->session->key;
    if (node->requests == 1 && j->bytes <= CHECK_ALONE && j->key_actor.kind != ACTOR_NONE) {
        /* Handing it over and back would take longer, and nobody else waits for the loop. */
        check_job(j);
        checked(j, j->code);
        return;
    }
    queue_add(&node->checking, &j->link);
    check_waiting(node);
}

/* The fewer places are left, the fewer one connection may have: many that ask without end
 * leave some for who comes with a first request. */
static bool has_share(const struct request_job *j)
{
    const struct node *node = j->node;
    const struct session *s = j->session;
    size_t places = LIMIT_REQUESTS - node->requests, bytes = LIMIT_REQUEST_BYTES - node->request_bytes;
    if (!s->known) {
        if (node->first_requests >= LIMIT_FIRST_REQUESTS) return false;
        if (places > LIMIT_FIRST_REQUESTS - node->first_requests) places = LIMIT_FIRST_REQUESTS - node->first_requests;
    }
    return s->in_flight <= 1 + places / 8 && s->request_bytes <= bytes / 2 &&
           s->request_bytes + j->bytes <= LIMIT_SESSION_BYTES;
}

static bool admit(struct request_job *j)
{
    struct node *node = j->node;
    size_t bytes = j->bytes;
    if (node->stopping || node->requests >= LIMIT_REQUESTS || node->request_bytes + j->bytes > LIMIT_REQUEST_BYTES ||
        !has_share(j))
        return false;
    node->requests++;
    j->bytes = 0;
    charge(j, bytes);
    j->first = !j->session->known;
    node->first_requests += j->first;
    node->counters.requests++;
    j->counted = true;
    return true;
}

void request_submit(struct session *s, uint64_t id, struct bytes body)
{
    struct message_submit m;
    enum err e = message_submit_decode(&m, body);
    if (e != OK) {
        session_fail(s, id, e, NULL, 0);
        return;
    }
    struct request_job *j = job_new(s, id);
    if (!j) return;
    j->wait = m.wait;
    j->bytes = m.request.size;
    if (!admit(j)) {
        job_fail(j, s->node->stopping ? ERR_STOPPED : ERR_BUSY, NULL);
        return;
    }
    j->submission.request.limit = LIMIT_REQUEST;
    buffer_append_bytes(&j->submission.request, m.request);
    if (j->submission.request.failed)
        job_fail(j, ERR_NOMEM, NULL);
    else
        check(j);
}

static void begin_proof(struct session *s, uint64_t id, const struct message_prove *m, const struct actor *actor,
                        bool of_rows, uint64_t query)
{
    struct request_job *j = job_new(s, id);
    if (!j) return;
    j->prove_only = true;
    j->any_leaf = s->may_export && !of_rows;
    j->of_rows = of_rows;
    j->query = query;
    j->actor = *actor;
    j->exported = s->exported;
    if (s->node->proves >= LIMIT_REQUESTS) {
        job_fail(j, ERR_BUSY, NULL);
        return;
    }
    s->node->proves++;
    j->counted = true;
    j->results = calloc(m->count, sizeof *j->results);
    if (!j->results) {
        job_fail(j, ERR_NOMEM, NULL);
        return;
    }
    j->count = m->count;
    for (uint32_t i = 0; i < m->count; i++)
        j->results[i] = (struct result){.has_leaf = true, .index = m->leaves[i]};
    wait_for_witness(j);
}

void request_prove(struct session *s, uint64_t id, struct bytes body)
{
    struct message_prove m;
    struct actor actor = {0};
    enum err e = message_prove_decode(&m, body);
    if (e == OK && !session_actor(&actor, s, m.leaves, m.count) && !s->may_export) e = ERR_UNAUTHORIZED;
    if (e != OK)
        session_fail(s, id, e, NULL, 0);
    else
        begin_proof(s, id, &m, &actor, false, 0);
}

void request_prove_rows(struct session *s, uint64_t id, struct bytes body)
{
    struct message_prove_rows m;
    struct actor actor;
    enum err e = message_prove_rows_decode(&m, body);
    if (e == OK && !session_actor(&actor, s, &m.query, 1)) e = ERR_UNAUTHORIZED;
    if (e != OK)
        session_fail(s, id, e, NULL, 0);
    else
        begin_proof(s, id, &m.rows, &actor, true, m.query);
}
