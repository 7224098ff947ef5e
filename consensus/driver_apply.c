/* Entries on their way from admission to applied.
 *
 * Happy path: the core takes an entry into its log (driver_adopt) -> its requests
 * are checked on workers -> the core says it is committed and durable here
 * (apply_due) -> driver_pump hands it to the state thread, in order, together with
 * the submissions that it answers -> driver_applied tells them and the observers.
 * What isn't in memory any more, or never was (restart), is read from the log.
 */
#include <stdlib.h>
#include <string.h>

#include "consensus/driver_internal.h"
#include "storage/log.h"
#include "storage/store.h"

/* ---- one entry ---- */

static void job_free(struct block_job *job)
{
    store_abort(job->apply.snapshot);
    block_free(&job->block);
    raft_blob_release(job->entry.blob);
    if (job->apply.results) ledger_results_free(job->apply.results);
    free(job->apply.results);
    free(job->wanted);
    free(job->matched);
    free(job);
}

void block_job_drop(struct block_job *job)
{
    if (!job) return;
    job->dropped = true;
    if (job->check.running == 0) job_free(job);
}

static void checked(struct preverify_job *check, bool canceled)
{
    struct block_job *job = container(check, struct block_job, check);
    if (job->dropped)
        job_free(job);
    else if (!canceled)
        job->d->dirty = true;
}

struct block_job *block_job_new(struct driver *d, const struct raft_entry *entry)
{
    struct block_job *job = xcalloc(1, sizeof *job);
    job->d = d;
    job->entry = *entry;
    raft_blob_retain(job->entry.blob);
    job->apply.job.kind = STATE_JOB_APPLY;
    job->apply.raft_index = entry->index;
    job->apply.raft_term = entry->term;
    job->check.done = checked;
    return job;
}

enum err block_job_decode(struct block_job *job)
{
    struct entry entry;
    if (job->entry.type != RAFT_ENTRY_BLOCK || entry_open(&entry, raft_blob_bytes(job->entry.blob)) != OK) return OK;
    enum err e = block_decode(&job->block, entry.block);
    if (e == ERR_NOMEM) return e;
    if (e != OK) return OK; /* committed by a majority nevertheless: a no-op, on every node */
    job->decoded = true;
    job->apply.block = &job->block;
    for (uint32_t i = 0; i < job->block.count; i++)
        job->operations += job->block.requests[i].count;
    return OK;
}

/* What it holds in memory: of small operations what was decoded is as much as their bytes. */
static size_t job_bytes(const struct block_job *job)
{
    return raft_blob_bytes(job->entry.blob).size + sizeof *job + job->block.count * sizeof(struct request) +
           job->operations * (sizeof(struct request_item) + 2 * sizeof(struct digest));
}

/* What a session here has checked needs no worker. */
static void take_own_verdicts(struct driver *d, struct block_job *job)
{
    static const struct sign_public untold;
    for (uint32_t i = 0; i < job->block.count; i++) {
        struct request *r = &job->block.requests[i];
        for (const struct intake_item *item = intake_find(&d->intake, r->raw); item; item = intake_find_next(item)) {
            const struct submission *s = item->submission;
            if (!s || !s->verified || memcmp(&s->verified_key, &untold, sizeof untold) == 0) continue;
            r->verified = VERDICT_GOOD;
            r->verified_key = s->verified_key;
            for (uint32_t k = 0; k < r->count; k++)
                r->items[k].attachment_good = VERDICT_GOOD;
            break;
        }
    }
}

static void start_checks(struct driver *d, struct block_job *job)
{
    if (!job->decoded) return;
    take_own_verdicts(d, job);
    job->check.block = &job->block;
    preverify_start(d->preverify, &job->check);
}

/* ---- the pipeline ---- */

static struct block_job **slot_of(struct driver *d, raft_index index) { return &d->slots[index % LIMIT_PIPELINE]; }

static bool has_room(const struct driver *d, raft_index index, size_t bytes)
{
    return index >= d->apply_next && index - d->apply_next < LIMIT_PIPELINE &&
           (d->pipeline_bytes == 0 || d->pipeline_bytes + bytes <= LIMIT_PIPELINE_BYTES);
}

static void put(struct driver *d, struct block_job *job)
{
    struct block_job **slot = slot_of(d, job->entry.index);
    CHECK(*slot == NULL);
    *slot = job;
    d->pipeline_bytes += job_bytes(job);
    start_checks(d, job);
}

static struct block_job *take(struct driver *d, raft_index index)
{
    struct block_job **slot = slot_of(d, index);
    struct block_job *job = *slot;
    if (!job) return NULL;
    CHECK(job->entry.index == index);
    *slot = NULL;
    d->pipeline_bytes -= job_bytes(job);
    return job;
}

static struct block_job *find_admitted(struct driver *d, const struct raft_entry *entry)
{
    for (struct job *j; (j = queue_pop(&d->admitted, struct job, link));) {
        struct block_job *job = container(j, struct block_job, apply.job);
        if (job->entry.blob == entry->blob && job->entry.index == entry->index && job->entry.term == entry->term)
            return job;
        block_job_drop(job); /* stepped, but not taken by the core */
    }
    return NULL;
}

static void note_came(struct driver *d, const struct raft_entry *entry, const struct digest *hash)
{
    driver_note_head(d, entry, hash);
    d->heads[entry->index % DRIVER_HEADS].came = true;
}

void driver_adopt(struct driver *d, const struct raft_entry *entry)
{
    struct block_job *job = entry->type == RAFT_ENTRY_BLOCK ? find_admitted(d, entry) : NULL;
    driver_count_size(d, entry->index, raft_blob_bytes(entry->blob).size);
    if (entry->type != RAFT_ENTRY_BLOCK) {
        struct digest hash;
        entry_hash(&hash, entry);
        note_came(d, entry, &hash);
    }
    if (job) {
        note_came(d, entry, &job->hash);
        d->counters.blocks++;
    }
    if (job && !has_room(d, entry->index, job_bytes(job))) {
        block_job_drop(job); /* read from the log when it is due */
        job = NULL;
    }
    if (job) put(d, job);
}

void driver_drop_admitted(struct queue *admitted)
{
    for (struct job *j; (j = queue_pop(admitted, struct job, link));)
        block_job_drop(container(j, struct block_job, apply.job));
}

void driver_truncate(struct driver *d, raft_index from)
{
    raft_index first = from > d->apply_next ? from : d->apply_next;
    for (raft_index i = first; i < d->apply_next + LIMIT_PIPELINE; i++)
        block_job_drop(take(d, i));
    CHECK(from > d->apply_due);
}

void driver_pipeline_reset(struct driver *d, raft_index applied)
{
    for (raft_index i = d->apply_next; i < d->apply_next + LIMIT_PIPELINE; i++)
        block_job_drop(take(d, i));
    d->apply_next = applied + 1;
    d->apply_due = applied;
}

/* ---- reading from the own log ---- */

static void fetch_free(struct fetch *f)
{
    for (size_t i = 0; i < f->count; i++) {
        raft_blob_release(f->entries[i].blob);
        if (f->jobs) block_job_drop(f->jobs[i]);
    }
    free(f->entries);
    free(f->jobs);
    free(f);
}

static enum err fetch_entries(struct fetch *f, struct buffer *bytes)
{
    size_t capacity = (size_t)(f->last - f->first + 1), count = 0;
    struct log_entry *raw = xcalloc(capacity, sizeof *raw);
    enum err e = log_read(f->d->o.log, bytes, raw, &count, capacity, f->first, f->max_bytes);
    if (e == OK) f->entries = xcalloc(count, sizeof *f->entries);
    for (; e == OK && f->count < count; f->count += e == OK)
        e = log_entry_to_raft(&f->entries[f->count], &raw[f->count]);
    free(raw);
    return e;
}

/* On a worker. */
static void fetch_run(struct worker_task *task)
{
    struct fetch *f = (struct fetch *)task;
    struct buffer bytes = {0};
    f->code = fetch_entries(f, &bytes);
    buffer_free(&bytes);
    if (f->code != OK || f->peer != 0 || f->for_repair) return;
    f->jobs = xcalloc(f->count, sizeof(struct block_job *));
    for (size_t i = 0; i < f->count && f->code == OK; i++) {
        f->jobs[i] = block_job_new(f->d, &f->entries[i]);
        entry_hash(&f->jobs[i]->hash, &f->entries[i]);
        f->code = block_job_decode(f->jobs[i]);
    }
}

/* Damaged since it was written: it is fetched from peers, and then read once more. */
static bool is_damaged(struct driver *d, const struct fetch *f)
{
    uint64_t first, last;
    if (f->code != ERR_CORRUPT) return false;
    if (log_damage(d->o.log, &first, &last, f->first) != OK || first != f->first) return false;
    driver_repair_log(d);
    d->fetch_next = d->ticks + DRIVER_SLOW_TICKS;
    return true;
}

static void fetched_to_apply(struct driver *d, struct fetch *f)
{
    d->fetching = false;
    if (f->code != OK && f->first >= d->apply_next && f->first <= d->apply_due && !is_damaged(d, f)) {
        driver_fail(d, f->code, "cannot read entry %llu of the log: %s", (unsigned long long)f->first,
                    err_text(f->code));
        return;
    }
    for (size_t i = 0; f->code == OK && i < f->count; i++) {
        struct block_job *job = f->jobs[i];
        /* Committed entries never change, so what was read is what is due. */
        if (job->entry.index > d->apply_due || !has_room(d, job->entry.index, job_bytes(job)) ||
            *slot_of(d, job->entry.index))
            continue;
        f->jobs[i] = NULL;
        if (!driver_head(d, job->entry.index)) driver_note_head(d, &job->entry, &job->hash);
        put(d, job);
    }
    d->dirty = true;
}

static void fetched_for_peer(struct driver *d, struct fetch *f)
{
    if (!d->raft) return;
    if (f->code == OK)
        raft_read_done(d->raft, f->peer, f->entries, f->count);
    else
        raft_read_failed(d->raft, f->peer);
    d->dirty = true;
}

static void fetch_done(struct worker_task *task, bool canceled)
{
    struct fetch *f = (struct fetch *)task;
    if (!canceled && f->for_repair)
        driver_block_given(f->d, f);
    else if (!canceled && driver_alive(f->d) && f->peer != 0)
        fetched_for_peer(f->d, f);
    else if (!canceled && driver_alive(f->d))
        fetched_to_apply(f->d, f);
    fetch_free(f);
}

void driver_fetch(struct driver *d, const struct fetch *what)
{
    struct fetch *f = xcalloc(1, sizeof *f);
    *f = *what;
    f->d = d;
    f->task.run = fetch_run;
    f->task.done = fetch_done;
    workers_queue(d->workers, &f->task);
}

/* The first entry that is due and not in memory, within the pipeline's room. */
static void fetch_ahead(struct driver *d)
{
    raft_index end = d->apply_next + LIMIT_PIPELINE / 2;
    if (d->fetching || d->ticks < d->fetch_next || d->pipeline_bytes > LIMIT_PIPELINE_BYTES / 2) return;
    for (raft_index i = d->apply_next; i <= d->apply_due && i < end; i++) {
        if (*slot_of(d, i) || raft_entry_cached(d->raft, i)) continue;
        raft_index last = d->apply_due < end ? d->apply_due : end - 1;
        struct fetch what = {.first = i, .last = last, .max_bytes = LIMIT_PIPELINE_BYTES / 8};
        d->fetching = true;
        driver_fetch(d, &what);
        return;
    }
}

/* ---- handing over ---- */

/* Submissions whose request stands in this block, byte for byte. Each once: a leader may put a request in twice. */
static void match(struct driver *d, struct block_job *job)
{
    uint32_t first = 0;
    size_t capacity = 0;
    for (uint32_t i = 0; i < job->block.count; i++) {
        const struct request *r = &job->block.requests[i];
        for (struct intake_item *item = intake_find(&d->intake, r->raw); item; item = intake_find_next(item)) {
            if (!item->submission || item->slot) continue;
            /* Which copy it was nobody knows. */
            if (item->first_ns > d->returned_ns) d->returned_ns = item->first_ns;
            if (job->matched_count == capacity) {
                capacity = capacity ? 2 * capacity : 16;
                job->matched = xrealloc(job->matched, capacity * sizeof *job->matched);
            }
            if (!job->wanted) job->wanted = xcalloc(job->block.count, sizeof *job->wanted);
            job->wanted[i] = true;
            job->matched[job->matched_count++] =
                (struct matched){.submission = item->submission, .first = first, .count = r->count};
            item->slot = &item->submission; /* taken */
        }
        first += r->count;
    }
    /* Only now: the array stays where it is. */
    for (size_t i = 0; i < job->matched_count; i++)
        job->matched[i].submission->driver.slot = &job->matched[i].submission;
}

static struct ledger_results *results_get(struct driver *d)
{
    if (d->spare_count > 0) return d->spare[--d->spare_count];
    return xcalloc(1, sizeof(struct ledger_results));
}

static void results_put(struct driver *d, struct ledger_results *results)
{
    if (!results) return;
    if (d->spare_count < DRIVER_SPARE_RESULTS && results->bytes.capacity <= 256 * KIB) {
        d->spare[d->spare_count++] = results;
        return;
    }
    ledger_results_free(results);
    free(results);
}

static void hand_over(struct driver *d, struct block_job *job)
{
    if (job->decoded) match(d, job);
    job->apply.wanted = job->wanted;
    job->apply.results = job->matched_count > 0 ? results_get(d) : NULL;
    d->applying++;
    d->applying_bytes += job_bytes(job);
    state_thread_push(d->state, &job->apply.job);
}

/* The entry at apply_next, checked; NULL: not yet. */
static struct block_job *next_job(struct driver *d)
{
    struct block_job *next = *slot_of(d, d->apply_next);
    if (!next) {
        const struct raft_entry *entry = raft_entry_cached(d->raft, d->apply_next);
        if (!entry) return NULL;
        next = block_job_new(d, entry);
        enum err e = block_job_decode(next);
        if (e != OK) {
            block_job_drop(next);
            driver_fail(d, e, "cannot apply entry %llu: %s", (unsigned long long)entry->index, err_text(e));
            return NULL;
        }
        put(d, next);
    }
    return next->check.running == 0 ? take(d, d->apply_next) : NULL;
}

/* The state came past these by replaying. */
static void skip_replayed(struct driver *d)
{
    raft_index to = d->position.raft_index < d->apply_due ? d->position.raft_index : d->apply_due;
    if (d->hold || d->applying > 0 || to < d->apply_next) return;
    for (raft_index i = d->apply_next; i <= to; i++) {
        if (i - d->apply_next >= LIMIT_PIPELINE) break;
        block_job_drop(take(d, i));
    }
    d->apply_next = to + 1;
    raft_applied(d->raft, to);
}

void driver_pump(struct driver *d)
{
    if (!driver_alive(d) || d->hold || d->installing) return;
    skip_replayed(d);
    while (d->apply_next <= d->apply_due && d->applying < LIMIT_APPLYING &&
           (d->applying_bytes < LIMIT_APPLYING_BYTES)) {
        struct block_job *job = next_job(d);
        if (!job) break;
        d->apply_next++;
        hand_over(d, job);
    }
    if (d->phase != DRIVER_FAILED) fetch_ahead(d);
}

/* ---- applied ---- */

static void answer(struct driver *d, const struct matched *m, const struct ledger_results *results)
{
    struct outcome outcomes[LIMIT_OPERATIONS];
    struct submission *s = m->submission;
    CHECK(m->count <= LIMIT_OPERATIONS && m->first + m->count <= results->count);
    for (uint32_t i = 0; i < m->count; i++) {
        const struct ledger_result *r = &results->items[m->first + i];
        outcomes[i] = (struct outcome){.code = r->code,
                                       .leaf_index = r->leaf_index,
                                       .decision = r->decision,
                                       .reason = r->reason,
                                       .answer = r->answer,
                                       .leaf = r->leaf};
    }
    driver_finish(d, &s->driver, OK, outcomes, m->count);
}

/* True: somebody waits for a checkpoint. */
static bool answer_all(struct driver *d, const struct block_job *job)
{
    bool awaited = false;
    for (size_t i = 0; i < job->matched_count; i++) {
        if (!job->matched[i].submission || job->apply.skipped) continue;
        awaited |= job->matched[i].submission->awaited;
        answer(d, &job->matched[i], job->apply.results);
    }
    return awaited;
}

/* An honest node looks at signature and attachments before it forwards; who signed is known to it
 * as well as to apply. */
static bool is_junk(const struct request *r)
{
    bool junk = r->verified == VERDICT_BAD;
    for (uint32_t i = 0; i < r->count; i++)
        junk |= r->items[i].attachment_good == VERDICT_BAD;
    return junk;
}

static void strike(struct driver *d, unsigned peer)
{
    uint64_t ms = quota_strike(&d->intake.peers[peer].quota, clock_monotonic_ns());
    if (ms == 0) return;
    d->counters.bad_messages++;
    log_warning("driver", "node %u forwarded a request that nobody signed: none of its requests are taken for %llu ms",
                peer, (unsigned long long)ms);
}

/* Forwarded requests that this block brought are done with. True: somebody waits for a checkpoint. */
static bool release_forwarded(struct driver *d, const struct block_job *job)
{
    bool awaited = false;
    uint32_t struck = 0; /* members */
    if (d->intake.forwarded_count == 0) return false;
    for (uint32_t i = 0; i < job->block.count; i++) {
        struct intake_item *item = intake_find(&d->intake, job->block.requests[i].raw);
        while (item) {
            struct intake_item *next = intake_find_next(item);
            awaited |= item->awaited;
            if (!item->submission && !job->apply.skipped && is_junk(&job->block.requests[i])) {
                strike(d, item->from);
                struck |= UINT32_C(1) << item->from;
            }
            if (!item->submission) intake_remove(&d->intake, item);
            item = next;
        }
    }
    for (unsigned peer = 1; struck && peer <= d->o.genesis->member_count; peer++)
        if (struck & UINT32_C(1) << peer) intake_silence(&d->intake, peer);
    return awaited;
}

static void tell_applied(struct driver *d, const struct block_job *job, bool awaited)
{
    const struct state_apply *a = &job->apply;
    struct driver_applied told = {.raft_index = a->position.raft_index,
                                  .raft_term = a->position.raft_term,
                                  .size = a->position.size,
                                  .root = a->position.root,
                                  .time_ms = a->position.time_ms,
                                  .keygen_changed = a->keygen_changed,
                                  .policy_changed = a->policy_changed,
                                  .alarms_changed = a->alarms_changed,
                                  .awaited = awaited};
    if (d->o.on_applied) d->o.on_applied(d->o.data, &told);
}

static void tell_digest(struct driver *d, struct state_apply *a)
{
    struct driver_digest told = {.time_ms = a->position.time_ms, .leaf = a->digest_leaf, .size = a->position.size,
                                 .snapshot = a->snapshot, .code = a->snapshot_code};
    if (a->digest_leaf == 0) return;
    a->snapshot = NULL;
    if (d->o.on_digest) {
        d->o.on_digest(d->o.data, &told);
        return;
    }
    store_abort(told.snapshot);
    driver_digest_ended(d);
}

void driver_applied(struct driver *d, struct block_job *job)
{
    struct state_apply *a = &job->apply;
    d->applying--;
    d->applying_bytes -= job_bytes(job);
    if (a->job.code != OK) {
        driver_fail(d, a->job.code, "cannot apply entry %llu: %s", (unsigned long long)a->raft_index,
                    err_text(a->job.code));
    } else if (driver_alive(d)) {
        CHECK(!a->skipped || a->position.raft_index >= a->raft_index);
        d->position = a->position;
        d->counters.applied_operations += a->leaves;
        raft_applied(d->raft, a->raft_index);
        bool awaited = answer_all(d, job);
        if (d->held) driver_route_all(d);
        if (job->decoded) {
            awaited |= release_forwarded(d, job);
            preverify_learn(d->preverify, &job->block);
        }
        if (!a->skipped) tell_applied(d, job, awaited);
        tell_digest(d, a);
        d->dirty = true;
    }
    results_put(d, a->results);
    a->results = NULL;
    for (size_t i = 0; i < job->matched_count; i++)
        if (job->matched[i].submission) job->matched[i].submission->driver.slot = NULL;
    block_job_drop(job);
}
