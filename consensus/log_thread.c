#include "consensus/log_thread.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "consensus/driver.h"
#include "storage/log.h"

#define IDLE_NS (20ull * 1000000) /* nothing to write for so long: time to prepare ahead */

struct log_thread {
    pthread_t thread;
    struct log *log;
    struct wake *wake;
    struct job_queue jobs, finished;
    enum err failed;     /* sticky; the thread's own */
    atomic_bool abandon; /* stop without flushing */
    bool warned;
};

/* ---- jobs ---- */

struct log_write *log_write_new(const struct raft_ready *ready)
{
    struct log_write *w = xcalloc(1, sizeof *w + ready->entry_count * sizeof w->entries[0]);
    w->job.kind = LOG_JOB_WRITE;
    w->number = ready->write;
    w->hard_state = ready->hard_state;
    w->term = ready->term;
    w->vote = ready->vote;
    w->reset = ready->reset;
    w->reset_to = ready->reset_to;
    w->truncate_from = ready->truncate_from;
    w->count = ready->entry_count;
    for (size_t i = 0; i < w->count; i++) {
        w->entries[i] = ready->entries[i];
        raft_blob_retain(w->entries[i].blob);
    }
    return w;
}

void log_write_free(struct log_write *w)
{
    for (size_t i = 0; i < w->count; i++)
        raft_blob_release(w->entries[i].blob);
    buffer_free(&w->config);
    buffer_free(&w->manifest);
    free(w);
}

void log_compaction_free(struct log_compaction *c)
{
    buffer_free(&c->config);
    buffer_free(&c->manifest);
    free(c);
}

void log_patch_free(struct log_patch *p)
{
    raft_blob_release(p->entry.blob);
    free(p);
}

enum err log_entry_to_raft(struct raft_entry *out, const struct log_entry *entry)
{
    *out = (struct raft_entry){.index = entry->index, .term = entry->term, .type = (enum raft_entry_type)entry->kind};
    if (entry->kind < RAFT_ENTRY_BLOCK || entry->kind > RAFT_ENTRY_CONFIG) return ERR_CORRUPT;
    if (entry->payload.size == 0) return OK;
    out->blob = raft_blob_copy(entry->payload);
    return out->blob ? OK : ERR_NOMEM;
}

static struct log_entry to_log_entry(const struct raft_entry *e)
{
    return (struct log_entry){
        .index = e->index, .term = e->term, .kind = (uint8_t)e->type, .payload = raft_blob_bytes(e->blob)};
}

/* ---- on the thread ---- */

/* The log goes on after a state that was pulled: what it held beside is dropped. Co-signed
 * entries lie before that state, so they are not in the way of the truncation. */
static enum err stage_reset(struct log_thread *t, const struct log_write *w)
{
    struct log_status status;
    enum err e = log_sync(t->log);
    if (e != OK) return e;
    log_status(t->log, &status);
    if (status.last >= w->reset_to.index) {
        uint64_t from = status.first;
        if (status.cosigned.index >= from) from = status.cosigned.index + 1;
        e = log_truncate(t->log, from);
        if (e == OK) e = log_sync(t->log);
    }
    return e != OK ? e
                   : log_compact(t->log, w->reset_to.index, w->reset_to.term, buffer_bytes(&w->config),
                                 buffer_bytes(&w->manifest));
}

static enum err stage_write(struct log_thread *t, const struct log_write *w)
{
    enum err e = w->hard_state ? log_set_vote(t->log, w->term, w->vote) : OK;
    if (e == OK && w->reset) e = stage_reset(t, w);
    if (e == OK && w->truncate_from != 0) e = log_truncate(t->log, w->truncate_from);
    for (size_t i = 0; i < w->count && e == OK; i++) {
        struct log_entry entry = to_log_entry(&w->entries[i]);
        e = log_append(t->log, &entry, 1);
    }
    return e;
}

static enum err stage(struct log_thread *t, struct job *job)
{
    switch ((enum log_job_kind)job->kind) {
    case LOG_JOB_WRITE: return stage_write(t, container(job, struct log_write, job));
    case LOG_JOB_MARK: {
        const struct cosigned_mark *m = container(job, struct cosigned_mark, driver.job);
        struct log_cosigned mark = {.index = m->raft_index, .size = m->size, .root = m->root};
        return log_set_cosigned(t->log, &mark);
    }
    case LOG_JOB_COMPACT: {
        const struct log_compaction *c = container(job, struct log_compaction, job);
        return log_compact(t->log, c->at.index, c->at.term, buffer_bytes(&c->config), buffer_bytes(&c->manifest));
    }
    case LOG_JOB_REPAIR: {
        struct log_entry entry = to_log_entry(&container(job, struct log_patch, job)->entry);
        return log_repair(t->log, &entry);
    }
    case LOG_JOB_FORGOTTEN: return log_set_forgotten(t->log);
    case LOG_JOB_RECOVERED: return log_set_recovered(t->log);
    }
    CHECK(!"kind of job");
    return ERR_INVALID;
}

/* What the log refuses without any change fails the job alone. */
static bool is_refusal(const struct job *job, enum err e)
{
    return (job->kind == LOG_JOB_MARK && e == ERR_CONFLICT) ||
           (job->kind == LOG_JOB_REPAIR && (e == ERR_NOT_FOUND || e == ERR_CONFLICT));
}

static void run_batch(struct log_thread *t, struct queue *jobs)
{
    for (struct queue_link *at = jobs->first; at; at = at->next) {
        struct job *job = container(at, struct job, link);
        if (atomic_load(&t->abandon) && t->failed == OK) t->failed = ERR_STOPPED;
        job->code = t->failed != OK ? t->failed : stage(t, job);
        if (job->code != OK && !is_refusal(job, job->code)) t->failed = job->code;
    }
    if (t->failed == OK) t->failed = log_sync(t->log);
    for (struct queue_link *at = jobs->first; at; at = at->next) {
        struct job *job = container(at, struct job, link);
        if (job->code == OK) job->code = t->failed;
    }
    job_queue_push_all(&t->finished, jobs);
    wake_send(t->wake);
}

/* Another step waits when true. */
static bool run_idle(struct log_thread *t)
{
    bool more = false;
    if (t->failed != OK) return false;
    enum err e = log_idle(t->log, &more);
    if (e != OK && !t->warned) {
        log_warning("log", "cannot prepare the next segment: %s; the log stops when this one is full", err_text(e));
        t->warned = true;
    }
    return e == OK && more;
}

static void *run(void *data)
{
    struct log_thread *t = data;
    uint64_t idle_at = clock_monotonic_ns() + IDLE_NS;
    for (;;) {
        struct queue jobs = {0};
        switch (job_queue_wait(&t->jobs, &jobs, idle_at)) {
        case JOB_WAIT_FILLED:
            run_batch(t, &jobs);
            idle_at = clock_monotonic_ns() + IDLE_NS;
            break;
        case JOB_WAIT_TIMEOUT: idle_at = run_idle(t) ? 0 : UINT64_MAX; break;
        case JOB_WAIT_CLOSED: return NULL;
        }
    }
}

/* ---- on the loop ---- */

struct log_thread *log_thread_start(struct log *log, struct wake *wake)
{
    struct log_thread *t = xcalloc(1, sizeof *t);
    t->log = log;
    t->wake = wake;
    job_queue_init(&t->jobs);
    job_queue_init(&t->finished);
    CHECK(pthread_create(&t->thread, NULL, run, t) == 0);
    return t;
}

void log_thread_push(struct log_thread *t, struct job *job) { job_queue_push(&t->jobs, job); }

bool log_thread_finished(struct log_thread *t, struct queue *out) { return job_queue_take(&t->finished, out); }

void log_thread_stop(struct log_thread *t, bool flush, struct queue *left)
{
    if (!flush) atomic_store(&t->abandon, true);
    job_queue_close(&t->jobs);
    CHECK(pthread_join(t->thread, NULL) == 0);
    job_queue_take(&t->finished, left);
    job_queue_destroy(&t->jobs);
    job_queue_destroy(&t->finished);
    free(t);
}
