#include "consensus/state_thread.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "consensus/driver.h"
#include "crypto/hash.h"
#include "ledger/apply.h"
#include "ledger/block.h"
#include "ledger/genesis.h"
#include "ledger/tables.h"
#include "storage/store.h"

#define SPACE_NS (1000ull * 1000000) /* how often free space is looked at */
/* Nothing is applied during a commit, so where commits are slow (a busy device: 20 ms and more) they come
 * more rarely than each LIMIT_COMMIT_MS: they take at most a tenth of the time, up to a second apart. */
#define COMMIT_SHARE 9u
#define COMMIT_NS_MAX (1000ull * 1000000)

static const char ahead_key[] = "driver/ahead";

struct state_thread {
    pthread_t thread;
    struct store *store;
    struct wake *wake;
    struct job_queue jobs, finished;
    atomic_bool abandon;
    atomic_bool snapshot_out; /* handed out, and not ended so far */

    /* start-up */
    struct bytes genesis_text;
    struct buffer *marks;
    struct failure *failure;
    pthread_mutex_t lock; /* guards `synced` and `started` */
    pthread_cond_t ready;
    bool started;
    struct state_synced synced;

    /* the thread's own */
    struct ledger *ledger;
    struct table_txn *txn; /* NULL: none open */
    bool dirty;
    uint64_t commit_at, space_at, commit_took;
    uint64_t size_at_commit;
    struct state_position position;
    struct ledger_results scratch;
    struct queue waiting; /* done, but to be told only when durable */
    enum err failed;
};

/* ---- transactions ---- */

static enum err begin(struct state_thread *t)
{
    return t->txn ? OK : store_begin_write(&t->txn, t->store);
}

static void touched(struct state_thread *t)
{
    if (t->dirty) return;
    uint64_t wait = LIMIT_COMMIT_MS * 1000000ull;
    if (wait < t->commit_took * COMMIT_SHARE) wait = t->commit_took * COMMIT_SHARE;
    t->dirty = true;
    t->commit_at = clock_monotonic_ns() + (wait < COMMIT_NS_MAX ? wait : COMMIT_NS_MAX);
}

static void deliver(struct state_thread *t, struct queue *jobs)
{
    if (!jobs->first) return;
    job_queue_push_all(&t->finished, jobs);
    wake_send(t->wake);
}

static void deliver_one(struct state_thread *t, struct job *job)
{
    struct queue one = {0};
    queue_add(&one, &job->link);
    deliver(t, &one);
}

static void publish(struct state_thread *t, bool committed)
{
    pthread_mutex_lock(&t->lock);
    if (committed) {
        t->synced.position = t->position;
        t->synced.commits++;
    }
    t->synced.failed = t->failed;
    pthread_mutex_unlock(&t->lock);
    wake_send(t->wake);
}

static void set_failed(struct state_thread *t, enum err e)
{
    if (t->failed == OK) t->failed = e;
    store_abort(t->txn);
    t->txn = NULL;
    t->dirty = false;
    publish(t, false);
}

static void look_at_space(struct state_thread *t, uint64_t now)
{
    struct store_space space;
    t->space_at = now + SPACE_NS;
    if (store_space(t->store, &space) != OK) return;
    pthread_mutex_lock(&t->lock);
    bool changed = t->synced.space_low != space.low;
    t->synced.space_low = space.low;
    pthread_mutex_unlock(&t->lock);
    if (changed) wake_send(t->wake);
}

/* Makes everything so far durable, and tells those who waited for it. */
static void commit(struct state_thread *t)
{
    if (t->failed == OK && t->txn) {
        uint64_t start = clock_monotonic_ns();
        enum err e = store_commit(t->txn);
        t->commit_took = clock_monotonic_ns() - start;
        t->txn = NULL;
        t->dirty = false;
        t->size_at_commit = t->position.size;
        if (e != OK)
            set_failed(t, e);
        else
            publish(t, true);
    }
    for (struct queue_link *at = t->waiting.first; at && t->failed != OK; at = at->next)
        container(at, struct job, link)->code = t->failed;
    deliver(t, &t->waiting);
}

static bool commit_is_due(const struct state_thread *t)
{
    if (!t->dirty || !t->txn) return false;
    return t->position.size - t->size_at_commit >= LIMIT_COMMIT_LEAVES ||
           store_txn_bytes(t->txn) >= LIMIT_COMMIT_BYTES || clock_monotonic_ns() >= t->commit_at;
}

/* ---- jobs ---- */

static void take_position(struct state_thread *t)
{
    ledger_applied(t->ledger, &t->position.raft_index, &t->position.raft_term);
    t->position.size = ledger_size(t->ledger);
    t->position.time_ms = ledger_time_ms(t->ledger);
    t->position.root = ledger_root(t->ledger);
}

/* Of exactly this state: nothing else writes, so what is read is what was committed here. An error is the store's. */
static enum err take_snapshot(struct state_thread *t, struct state_apply *a)
{
    a->snapshot_code = ERR_BUSY;
    if (atomic_load(&t->snapshot_out)) return OK;
    commit(t);
    if (t->failed != OK) return t->failed;
    a->snapshot_code = store_begin_read(&a->snapshot, t->store);
    if (a->snapshot_code != OK) a->snapshot = NULL;
    atomic_store(&t->snapshot_out, a->snapshot != NULL);
    return OK;
}

static enum err apply(struct state_thread *t, struct state_apply *a)
{
    uint64_t before = t->position.size;
    a->skipped = a->raft_index <= t->position.raft_index || t->position.ahead;
    if (!a->skipped) {
        struct ledger_results *results = a->results ? a->results : &t->scratch;
        touched(t);
        enum err e = a->block ? ledger_apply(t->ledger, t->txn, results, a->block, a->wanted, a->raft_index,
                                             a->raft_term)
                              : ledger_set_applied(t->ledger, t->txn, a->raft_index, a->raft_term);
        if (e != OK) return e;
        a->keygen_changed = a->block && results->keygen_changed;
        a->policy_changed = a->block && results->policy_changed;
        a->alarms_changed = a->block && results->alarms_changed;
        a->digest_leaf = a->block ? results->digest_leaf : 0;
        take_position(t);
    }
    a->position = t->position;
    a->leaves = t->position.size - before;
    return a->digest_leaf ? take_snapshot(t, a) : OK;
}

/* A replayed leaf without a position makes the state ahead; a position ends that. */
static enum err note_ahead(struct state_thread *t, const struct state_position *before)
{
    struct bytes key = bytes_text(ahead_key);
    bool moved = before->raft_index != t->position.raft_index;
    bool ahead = !moved && (before->ahead || before->size != t->position.size);
    if (ahead == before->ahead) return OK;
    t->position.ahead = ahead;
    return ahead ? table_put(t->txn, TABLE_BLOB, key, bytes_text("1")) : table_delete(t->txn, TABLE_BLOB, key);
}

static enum err run_write(struct state_thread *t, struct state_write *w)
{
    struct state_position before = t->position;
    touched(t);
    w->driver.job.code = w->run(w, t->txn, t->ledger);
    if (w->torn) return w->driver.job.code;
    take_position(t);
    enum err e = note_ahead(t, &before);
    if (before.size != t->position.size || before.raft_index != t->position.raft_index) {
        pthread_mutex_lock(&t->lock);
        t->synced.moved = t->position;
        pthread_mutex_unlock(&t->lock);
    }
    return e != OK ? e : store_failed(t->store);
}

static enum err run_read(struct state_thread *t, struct state_read *r)
{
    r->driver.job.code = r->run(r, t->txn);
    return store_failed(t->store);
}

/* Runs a job; *wait says that it is told only after the next commit. */
static enum err run_kind(struct state_thread *t, struct job *job, bool *wait)
{
    switch ((enum state_job_kind)job->kind) {
    case STATE_JOB_APPLY: return apply(t, container(job, struct state_apply, job));
    case STATE_JOB_READ: return run_read(t, container(job, struct state_read, driver.job));
    case STATE_JOB_WRITE: {
        struct state_write *w = container(job, struct state_write, driver.job);
        *wait = w->durable;
        return run_write(t, w);
    }
    case STATE_JOB_SYNC: *wait = true; return OK;
    }
    CHECK(!"kind of job");
    return ERR_INVALID;
}

static void run_job(struct state_thread *t, struct job *job)
{
    bool wait = false;
    enum err e = t->failed;
    job->code = OK;
    if (e == OK && atomic_load(&t->abandon)) e = ERR_STOPPED;
    if (e == OK) {
        e = begin(t);
        if (e == OK) e = run_kind(t, job, &wait);
        if (e != OK) set_failed(t, e);
    }
    if (e != OK) job->code = e;
    if (wait)
        queue_add(&t->waiting, &job->link);
    else
        deliver_one(t, job);
    if (e == OK && commit_is_due(t)) commit(t);
}

static uint64_t next_wake(const struct state_thread *t)
{
    return t->dirty && t->commit_at < t->space_at ? t->commit_at : t->space_at;
}

static void run_all(struct state_thread *t)
{
    for (;;) {
        struct queue jobs = {0};
        enum job_wait wait = job_queue_wait(&t->jobs, &jobs, next_wake(t));
        for (struct job *job; (job = queue_pop(&jobs, struct job, link));)
            run_job(t, job);
        if (t->waiting.first || commit_is_due(t)) commit(t);
        /* An open transaction without changes would keep pages of an old state from being reused. */
        if (t->txn && !t->dirty) {
            store_abort(t->txn);
            t->txn = NULL;
        }
        uint64_t now = clock_monotonic_ns();
        if (now >= t->space_at) look_at_space(t, now);
        if (wait == JOB_WAIT_CLOSED) return;
    }
}

/* ---- start and stop ---- */

static enum err read_ahead(struct state_thread *t)
{
    enum err e = table_exists(t->txn, TABLE_BLOB, bytes_text(ahead_key));
    t->position.ahead = e == OK;
    return e == ERR_NOT_FOUND ? OK : e;
}

/* Whoever names another genesis file must not go on with this cluster's state. */
static enum err check_genesis(struct state_thread *t)
{
    struct digest stored = ledger_genesis(t->ledger)->cluster, given;
    hash_sha256(&given, t->genesis_text.data, t->genesis_text.size);
    if (digest_equal(&stored, &given)) return OK;
    return fail(t->failure, ERR_OTHER_CLUSTER, "the state in this node's folder is of cluster %02x%02x%02x%02x..., the "
                "genesis file makes %02x%02x%02x%02x...", stored.bytes[0], stored.bytes[1], stored.bytes[2],
                stored.bytes[3], given.bytes[0], given.bytes[1], given.bytes[2], given.bytes[3]);
}

static enum err read_marks(struct state_thread *t)
{
    enum err e = OK;
    for (uint8_t i = 1; e == OK && i <= LIMIT_NODES; i++) {
        e = table_get(t->txn, TABLE_PEER_MARK, bytes_of(&i, 1), &t->marks[i]);
        if (e == ERR_NOT_FOUND) e = OK;
        if (e == ERR_CORRUPT || e == ERR_DECRYPT) { /* the scrub finds it, too */
            buffer_clear(&t->marks[i]);
            buffer_append_text(&t->marks[i], MARK_LOST);
            e = OK;
        }
    }
    return e;
}

static enum err open_ledger(struct state_thread *t)
{
    enum err e = begin(t);
    if (e != OK) return fail(t->failure, e, "cannot begin to write to the store: %s", err_text(e));
    e = ledger_open(&t->ledger, t->txn, t->failure);
    if (e == OK) e = check_genesis(t);
    if (e == ERR_NOT_FOUND) {
        e = ledger_create(&t->ledger, t->txn, t->genesis_text, t->failure);
        if (e == OK) touched(t);
    }
    if (e == OK) e = read_ahead(t);
    if (e == OK) e = read_marks(t);
    if (e == OK) {
        take_position(t);
        commit(t);
        e = t->failed;
    }
    if (e != OK) set_failed(t, e);
    return e;
}

static void *run(void *data)
{
    struct state_thread *t = data;
    look_at_space(t, clock_monotonic_ns());
    enum err e = open_ledger(t);
    pthread_mutex_lock(&t->lock);
    t->started = true;
    t->synced.failed = e;
    pthread_cond_signal(&t->ready);
    pthread_mutex_unlock(&t->lock);
    if (e == OK) run_all(t);
    if (t->failed == OK && !atomic_load(&t->abandon)) commit(t);
    store_abort(t->txn);
    ledger_free(t->ledger);
    ledger_results_free(&t->scratch);
    return NULL;
}

enum err state_thread_start(struct state_thread **out, struct state_position *position, struct buffer *marks,
                            struct store *store, struct bytes genesis_text, struct wake *wake,
                            struct failure *failure)
{
    struct failure own = {.code = OK};
    struct state_thread *t = xcalloc(1, sizeof *t);
    t->store = store;
    t->wake = wake;
    t->genesis_text = genesis_text;
    t->marks = marks;
    t->failure = &own;
    job_queue_init(&t->jobs);
    job_queue_init(&t->finished);
    CHECK(pthread_mutex_init(&t->lock, NULL) == 0 && pthread_cond_init(&t->ready, NULL) == 0);
    CHECK(pthread_create(&t->thread, NULL, run, t) == 0);
    pthread_mutex_lock(&t->lock);
    while (!t->started)
        pthread_cond_wait(&t->ready, &t->lock);
    enum err e = t->synced.failed;
    *position = t->synced.position;
    pthread_mutex_unlock(&t->lock);
    *out = t;
    if (e == OK) return OK;
    struct queue left = {0};
    state_thread_stop(t, false, &left);
    *out = NULL;
    return fail(failure, e, "cannot open the ledger: %s", own.code != OK ? own.text : err_text(e));
}

void state_thread_push(struct state_thread *t, struct job *job) { job_queue_push(&t->jobs, job); }

bool state_thread_finished(struct state_thread *t, struct queue *out)
{
    return job_queue_take(&t->finished, out);
}

void state_thread_synced(struct state_thread *t, struct state_synced *out)
{
    pthread_mutex_lock(&t->lock);
    *out = t->synced;
    pthread_mutex_unlock(&t->lock);
}

void state_thread_snapshot_ended(struct state_thread *t) { atomic_store(&t->snapshot_out, false); }

void state_thread_stop(struct state_thread *t, bool flush, struct queue *left)
{
    if (!flush) atomic_store(&t->abandon, true);
    job_queue_close(&t->jobs);
    CHECK(pthread_join(t->thread, NULL) == 0);
    job_queue_take(&t->finished, left);
    job_queue_destroy(&t->jobs);
    job_queue_destroy(&t->finished);
    pthread_cond_destroy(&t->ready);
    pthread_mutex_destroy(&t->lock);
    free(t);
}
