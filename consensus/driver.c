#include "consensus/driver.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "consensus/driver_internal.h"
#include "storage/log.h"
#include "storage/store.h"

#define LEAVE_TICKS 40 /* at most so long is spent on handing over leadership */

bool driver_alive(const struct driver *d)
{
    return d->raft && (d->phase == DRIVER_RUNNING || d->phase == DRIVER_LEAVING);
}

void driver_fail(struct driver *d, enum err code, const char *format, ...)
{
    char text[256];
    va_list args;
    if (d->phase == DRIVER_FAILED || d->phase == DRIVER_STOPPED) return;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    d->phase = DRIVER_FAILED;
    if (d->raft) raft_halt(d->raft);
    d->leads = false;
    driver_finish_all(d, ERR_STOPPED);
    if (d->starting) {
        fail(d->starting, code, "%s", text);
        return;
    }
    log_error("driver", "%s: nothing more is acknowledged", text);
    if (d->o.on_fatal) d->o.on_fatal(d->o.data, code, text);
}

/* ---- reads and writes of the state, marks ---- */

struct read_task {
    struct worker_task task;
    struct driver *d;
    struct state_read *read;
    enum err code;
};

static void read_run(struct worker_task *task)
{
    struct read_task *t = (struct read_task *)task;
    struct table_txn *txn;
    t->code = store_begin_read(&txn, t->d->o.store);
    if (t->code != OK) return;
    t->code = t->read->run(t->read, txn);
    store_abort(txn);
}

static void read_done(struct worker_task *task, bool canceled)
{
    struct read_task *t = (struct read_task *)task;
    if (!canceled) {
        t->d->state_jobs--;
        t->read->done(t->read, t->code);
    }
    free(t);
}

static bool takes_state_jobs(const struct driver *d)
{
    return d->phase == DRIVER_OPENING || d->phase == DRIVER_RUNNING || d->phase == DRIVER_LEAVING;
}

enum err driver_read(struct driver *d, struct state_read *r)
{
    if (!takes_state_jobs(d)) return ERR_STOPPED;
    /* Clients' questions are reads: they leave room for what the node itself has to write. */
    if (d->state_jobs >= LIMIT_STATE_JOBS / 4 * 3) return ERR_BUSY;
    d->state_jobs++;
    if (r->fresh) {
        r->driver.job.kind = STATE_JOB_READ;
        state_thread_push(d->state, &r->driver.job);
        return OK;
    }
    struct read_task *t = xcalloc(1, sizeof *t);
    *t = (struct read_task){.task = {.run = read_run, .done = read_done}, .d = d, .read = r};
    workers_queue(d->workers, &t->task);
    return OK;
}

enum err driver_work(struct driver *d, struct worker_task *task)
{
    if (!d->workers) return ERR_STOPPED;
    workers_queue(d->workers, task);
    return OK;
}

enum err driver_write(struct driver *d, struct state_write *w)
{
    if (!takes_state_jobs(d)) return ERR_STOPPED;
    if (d->state_jobs >= LIMIT_STATE_JOBS) return ERR_BUSY;
    d->state_jobs++;
    w->driver.job.kind = STATE_JOB_WRITE;
    state_thread_push(d->state, &w->driver.job);
    return OK;
}

void driver_digest_ended(struct driver *d)
{
    if (d->state) state_thread_snapshot_ended(d->state);
}

enum err driver_log_cosigned(struct driver *d, struct cosigned_mark *m)
{
    if (!driver_alive(d)) return ERR_STOPPED;
    if (m->size < d->past.size && d->excused.size < d->past.size)
        return ERR_CONFLICT; /* it cosigned more before its disk was set back */
    if (m->raft_index > d->marking) d->marking = m->raft_index;
    m->driver.job.kind = LOG_JOB_MARK;
    log_thread_push(d->log, &m->driver.job);
    return OK;
}

bool driver_cosigned(const struct driver *d, struct cosigned_mark *out)
{
    if (d->marked) *out = d->mark;
    return d->marked;
}

static void check_store(struct driver *d, enum err code)
{
    enum err e = store_failed(d->o.store);
    if (code != OK && e != OK) driver_fail(d, e, "cannot write the state: %s", err_text(e));
}

void driver_state_done(struct driver *d, struct job *job)
{
    enum err code = job->code;
    switch ((enum state_job_kind)job->kind) {
    case STATE_JOB_APPLY: driver_applied(d, container(job, struct block_job, apply.job)); return;
    case STATE_JOB_READ: {
        struct state_read *r = container(job, struct state_read, driver.job);
        d->state_jobs--;
        r->done(r, code);
        break;
    }
    case STATE_JOB_WRITE: {
        struct state_write *w = container(job, struct state_write, driver.job);
        d->state_jobs--;
        if (takes_state_jobs(d)) driver_state_moved(d);
        w->done(w, code);
        break;
    }
    case STATE_JOB_SYNC:
        free(job);
        if (code == OK && takes_state_jobs(d)) driver_state_synced(d);
        break;
    }
    check_store(d, code);
}

/* ---- the loop's handles ---- */

/* With the settings that say what is little: a device may look far from full. */
static void say_little_space(const struct driver *d)
{
    struct store_space space = {0};
    store_space(d->o.store, &space);
    log_error("driver", "little space left on the device: no new blocks are taken; %llu MiB are free there, and %llu "
              "MiB of the state's address space (settings free-mib, map-gib)",
              (unsigned long long)(space.device_free >> 20),
              (unsigned long long)((space.map_size - space.map_used) >> 20));
}

static void take_synced(struct driver *d)
{
    bool was_low = d->space_low;
    state_thread_synced(d->state, &d->synced);
    d->space_low = d->synced.space_low;
    if (d->synced.failed != OK) {
        driver_fail(d, d->synced.failed, "cannot write the state: %s", err_text(d->synced.failed));
        return;
    }
    if (was_low == d->space_low) return;
    if (d->space_low)
        say_little_space(d);
    else
        log_notice("driver", "space on the device again");
    driver_apply_settings(d);
}

/* Log before state: what is durable may be applied in the same turn. */
static void take_finished(struct driver *d)
{
    struct queue jobs = {0};
    log_thread_finished(d->log, &jobs);
    for (struct job *j; (j = queue_pop(&jobs, struct job, link));)
        driver_log_done(d, j);
    state_thread_finished(d->state, &jobs);
    for (struct job *j; (j = queue_pop(&jobs, struct job, link));)
        driver_state_done(d, j);
    if (d->phase != DRIVER_FAILED && d->phase != DRIVER_STOPPED) take_synced(d);
}

static void flush_when_idle(struct driver *d);

static void on_wake(struct wake *wake)
{
    struct driver *d = ((struct driver_handles *)wake->poll.data)->d;
    if (!d || d->phase == DRIVER_STOPPED) return;
    take_finished(d);
    flush_when_idle(d);
}

static void on_tick(uv_timer_t *handle)
{
    struct driver *d = ((struct driver_handles *)handle->data)->d;
    if (!d) return;
    driver_tick(d);
    flush_when_idle(d);
}

static void on_pace(uv_timer_t *handle)
{
    struct driver *d = ((struct driver_handles *)handle->data)->d;
    if (d) d->dirty = true; /* the turn follows before the loop waits */
}

void driver_wake_in(struct driver *d, uint64_t ms)
{
    CHECK(uv_timer_start(&d->handles->pace, on_pace, ms, 0) == 0);
}

static void on_prepare(uv_prepare_t *handle)
{
    struct driver *d = ((struct driver_handles *)handle->data)->d;
    if (d && d->dirty) driver_turn(d);
}

static void on_check(uv_check_t *handle)
{
    struct driver *d = ((struct driver_handles *)handle->data)->d;
    if (d && d->dirty) driver_turn(d);
}

static void handles_closed(uv_handle_t *handle)
{
    struct driver_handles *h = handle->data;
    if (--h->open > 0) return;
    struct driver *d = h->d;
    if (d) d->handles = NULL;
    free(h);
    if (d && d->stopped) d->stopped(d->stopped_data);
}

static struct driver_handles *handles_open(struct driver *d, uv_loop_t *loop)
{
    struct driver_handles *h = xcalloc(1, sizeof *h);
    if (wake_open(&h->wake, loop, on_wake) != OK) {
        free(h);
        return NULL;
    }
    h->d = d;
    h->open = 5;
    h->wake.poll.data = h->tick.data = h->pace.data = h->before_poll.data = h->after_poll.data = h;
    CHECK(uv_timer_init(loop, &h->tick) == 0 && uv_timer_init(loop, &h->pace) == 0);
    CHECK(uv_prepare_init(loop, &h->before_poll) == 0);
    CHECK(uv_check_init(loop, &h->after_poll) == 0);
    uint64_t tick = d->o.tick_ms ? d->o.tick_ms : DRIVER_TICK_MS;
    CHECK(uv_timer_start(&h->tick, on_tick, tick, tick) == 0);
    CHECK(uv_prepare_start(&h->before_poll, on_prepare) == 0);
    CHECK(uv_check_start(&h->after_poll, on_check) == 0);
    return h;
}

/* The handles outlive their driver by a turn of the loop. */
static void handles_close(struct driver_handles *h)
{
    wake_close(&h->wake, handles_closed);
    uv_close((uv_handle_t *)&h->tick, handles_closed);
    uv_close((uv_handle_t *)&h->pace, handles_closed);
    uv_close((uv_handle_t *)&h->before_poll, handles_closed);
    uv_close((uv_handle_t *)&h->after_poll, handles_closed);
}

static void let_go(struct driver *d)
{
    d->handles->d = NULL;
    handles_close(d->handles);
}

/* ---- start ---- */

/* One whose file is gone, or empty, opens as a new one. */
static void tell_of_lost_state(const struct driver *d)
{
    struct log_status log;
    log_status(d->o.log, &log);
    if (d->position.raft_index == 0 && log.cosigned.size > 0)
        log_warning("driver", "the state is empty, though this node co-signed %llu leaves: it is derived anew, from the "
                    "log and the other nodes", (unsigned long long)log.cosigned.size);
}

enum err driver_start(struct driver **out, const struct driver_options *options, struct failure *failure)
{
    CHECK(options->self >= 1 && options->self <= options->genesis->member_count && options->log_keep_bytes > 0);
    struct driver *d = xcalloc(1, sizeof *d);
    *out = NULL;
    d->o = *options;
    d->clock_ok = true;
    d->ticks = 1; /* 0 is "never" */
    d->out.limit = 2 * LIMIT_FRAME;
    d->handles = handles_open(d, options->loop);
    d->workers = d->handles ? workers_new(options->loop, &(struct workers_options){.threads = options->workers}) : NULL;
    if (!d->workers) {
        if (d->handles) let_go(d);
        free(d);
        return fail(failure, ERR_IO, "no file descriptor is left: raise the limit (ulimit -n)");
    }
    struct buffer marks[LIMIT_NODES + 1] = {{0}};
    enum err e = state_thread_start(&d->state, &d->position, marks, options->store, options->genesis->text,
                                    &d->handles->wake, failure);
    driver_rejoin_init(d);
    driver_past_wait(d); /* a node without peers needs not */
    for (unsigned i = 1; i <= LIMIT_NODES; i++) {
        if (e == OK) driver_past_load(d, i, buffer_bytes(&marks[i]));
        buffer_free(&marks[i]);
    }
    if (e != OK) {
        workers_stop(d->workers, NULL, NULL);
        let_go(d);
        free(d);
        return e;
    }
    e = driver_blame_load(d);
    d->synced.position = d->position;
    d->preverify = preverify_new(d->workers, options->genesis);
    d->log = log_thread_start(options->log, &d->handles->wake);
    struct failure why = {.code = OK};
    if (e != OK) fail(&why, e, "the kept evidence can't be read: %s", err_text(e));
    d->starting = &why;
    if (e == OK) tell_of_lost_state(d);
    if (e == OK) driver_open(d);
    d->starting = NULL;
    if (why.code != OK) {
        driver_free(d);
        return fail(failure, why.code, "%s", why.text);
    }
    *out = d;
    return OK;
}

/* ---- stop ---- */

/* What a thread hands back when it ends. */
static void take_left(struct driver *d, struct queue *left, void (*done)(struct driver *d, struct job *job))
{
    for (struct job *j; (j = queue_pop(left, struct job, link));)
        done(d, j);
}

/* Not before somebody leads: the heir may need this node's vote, which is given once it is durable. */
static bool has_heir(const struct driver *d) { return !d->leads && d->leader != 0; }

static void say_handed_over(const struct driver *d)
{
    if (!d->leaves) return;
    if (has_heir(d))
        log_notice("raft", "leadership is handed over");
    else
        log_warning("raft", "nobody takes leadership over: this node stops all the same");
}

/* Reads on workers are short: when they are done, what is left in the threads is flushed. */
static void flush_when_idle(struct driver *d)
{
    struct queue left = {0};
    if (d->phase == DRIVER_LEAVING && (!d->leaves || has_heir(d) || d->ticks >= d->leave_by)) {
        say_handed_over(d);
        d->phase = DRIVER_FLUSHING;
        if (d->raft) raft_halt(d->raft);
        driver_finish_all(d, ERR_STOPPED);
    }
    if ((d->phase != DRIVER_FLUSHING && !(d->phase == DRIVER_FAILED && d->stopped)) || workers_count(d->workers) > 0)
        return;
    bool failed = d->phase == DRIVER_FAILED;
    log_thread_stop(d->log, !failed, &left);
    d->log = NULL;
    take_left(d, &left, driver_log_done);
    state_thread_stop(d->state, !failed, &left);
    d->state = NULL;
    take_left(d, &left, driver_state_done);
    workers_stop(d->workers, NULL, NULL);
    d->workers = NULL;
    d->phase = DRIVER_STOPPED;
    handles_close(d->handles);
}

void driver_stop(struct driver *d, void (*done)(void *data), void *data)
{
    struct raft_status status = {0};
    CHECK(!d->stopped && d->phase != DRIVER_STOPPED);
    d->stopped = done;
    d->stopped_data = data;
    if (d->phase != DRIVER_FAILED) {
        d->phase = DRIVER_LEAVING;
        d->leave_by = d->ticks + LEAVE_TICKS;
        d->leaves = d->leads;
        if (d->leads)
            log_notice("raft", "hands leadership over: it led in term %llu, and stops", (unsigned long long)d->term);
        driver_apply_settings(d); /* it hands over, and does not lead again */
        if (d->raft) raft_status_get(d->raft, &status);
        if (!status.transfer) d->leave_by = d->ticks; /* nobody is there */
    }
    wake_send(&d->handles->wake); /* never from within this call */
}

static void drop_log_job(struct driver *d, struct job *job)
{
    (void)d;
    switch ((enum log_job_kind)job->kind) {
    case LOG_JOB_WRITE: log_write_free(container(job, struct log_write, job)); break;
    case LOG_JOB_MARK: break; /* its owner's */
    case LOG_JOB_COMPACT: log_compaction_free(container(job, struct log_compaction, job)); break;
    case LOG_JOB_REPAIR: log_patch_free(container(job, struct log_patch, job)); break;
    case LOG_JOB_FORGOTTEN:
    case LOG_JOB_RECOVERED: free(job); break;
    }
}

static void drop_state_job(struct driver *d, struct job *job)
{
    (void)d;
    switch ((enum state_job_kind)job->kind) {
    case STATE_JOB_APPLY: block_job_drop(container(job, struct block_job, apply.job)); break;
    case STATE_JOB_READ: break; /* its owner's */
    case STATE_JOB_WRITE: {
        struct state_write *w = container(job, struct state_write, driver.job);
        if (w->detached) w->done(w, ERR_STOPPED); /* else its owner's, like a read */
        break;
    }
    case STATE_JOB_SYNC: free(job); break;
    }
}

/* As if the process had ended here: nothing is flushed, no callback comes. */
static void abandon(struct driver *d)
{
    struct queue left = {0};
    if (d->log) log_thread_stop(d->log, false, &left);
    take_left(d, &left, drop_log_job);
    if (d->state) state_thread_stop(d->state, false, &left);
    take_left(d, &left, drop_state_job);
    if (d->workers) workers_stop(d->workers, NULL, NULL);
    d->log = NULL;
    d->state = NULL;
    d->workers = NULL;
    intake_abdicate(&d->intake); /* frees what was forwarded */
}

void driver_free(struct driver *d)
{
    if (!d) return;
    if (d->phase != DRIVER_STOPPED) abandon(d);
    driver_drop_admitted(&d->admitted);
    driver_pipeline_reset(d, d->apply_next - 1);
    for (size_t i = 0; i < d->spare_count; i++) {
        ledger_results_free(d->spare[i]);
        free(d->spare[i]);
    }
    driver_repair_free(d);
    driver_blame_free(d);
    free(d->statements);
    preverify_free(d->preverify);
    raft_free(d->raft);
    raft_blob_release(d->manifest);
    free(d->sizes);
    buffer_free(&d->statement);
    buffer_free(&d->out);
    if (d->handles) {
        d->handles->d = NULL;
        if (d->phase != DRIVER_STOPPED) handles_close(d->handles);
    }
    free(d);
}

/* ---- settings and status ---- */

void driver_quarantine(struct driver *d, const char *why)
{
    if (d->quarantined) return;
    d->quarantined = true;
    snprintf(d->quarantined_why, sizeof d->quarantined_why, "%s", why);
    log_error("driver", "quarantined: %s", why);
    driver_apply_settings(d);
    driver_finish_all(d, ERR_QUARANTINED);
}

const char *driver_quarantined_why(const struct driver *d) { return d->quarantined_why; }

void driver_set_clock_ok(struct driver *d, bool ok)
{
    if (d->clock_ok == ok) return;
    d->clock_ok = ok;
    driver_apply_settings(d);
}

void driver_status(const struct driver *d, struct driver_status *out)
{
    struct raft_status status = {0};
    if (d->raft) raft_status_get(d->raft, &status);
    *out = d->counters;
    out->leads = d->leads;
    out->quarantined = d->quarantined;
    out->contradicted = d->contradiction.index != 0 && !d->deceived;
    out->space_low = d->space_low;
    out->log_full = d->log_full;
    out->log_filled = d->log_filled;
    out->catching_up = d->installing || d->hold || d->asked;
    out->may_vote = d->raft && !d->quarantined && !d->forgot; /* or will, once it knows its past */
    out->leader = d->leader;
    out->term = status.term;
    out->first = status.compacted.index + 1;
    out->last = status.last.index;
    out->commit = status.commit;
    out->leader_commit = status.leader_commit;
    out->applied = d->position.raft_index;
    out->applied_term = d->position.raft_term;
    out->synced_index = d->synced.position.raft_index;
    out->size = d->position.size;
    out->synced_size = d->synced.position.size;
    out->synced_time_ms = d->synced.position.time_ms;
    out->root = d->position.root;
    out->last_time_ms = d->position.time_ms;
    out->waiting = d->intake.waiting.count + d->intake.aside.count;
}
