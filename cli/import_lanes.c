#include "cli/import_lanes.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "cli/content.h"
#include "crypto/secret.h"
#include "ledger/arguments.h"

#define LANES 4u
#define BATCH_BYTES (3 * MIB)
#define ITEM_OVERHEAD 1024u /* of an operation, its capsule and its attachment, at most */
#define PROGRESS_MS 100

struct lane {
    struct import_lanes *owner;
    pthread_t thread;
    struct cluster own, *cluster; /* the first lane uses the tool's */
    struct output quiet;          /* says what matters, shows no progress of its own */
    bool opened;
    /* the batch */
    uint32_t count;
    uint32_t items[LIMIT_OPERATIONS]; /* of the plan */
    struct buffer args[LIMIT_OPERATIONS], attachments[LIMIT_OPERATIONS];
    struct buffer content;
};

struct import_lanes {
    struct tool *tool;
    enum purpose purpose;
    struct lane lanes[LANES];
    /* the plan being carried out */
    const struct fhir_bundle *bundle;
    const struct import_plan *plan;
    const struct id *patient;

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t moved;
    uint32_t next, finished, running;
    uint32_t *done;
    struct failure failure; /* the first one; ends the run */
};

/* --- opening --- */

static void lane_init(struct import_lanes *l, uint32_t i)
{
    struct lane *lane = &l->lanes[i];
    lane->owner = l;
    lane->quiet = l->tool->output;
    lane->quiet.json = true;
    lane->cluster = i == 0 ? &l->tool->cluster : &lane->own;
    lane->opened = i == 0;
}

enum err import_lanes_open(struct import_lanes **out, struct tool *t, enum purpose purpose)
{
    CHECK(t->cluster_opened && t->signer_opened && t->collective_known);
    struct import_lanes *l = calloc(1, sizeof *l);
    if (!l) return fail(&t->failure, ERR_NOMEM, "no memory for the import");
    l->tool = t;
    l->purpose = purpose;
    CHECK(pthread_mutex_init(&l->lock, NULL) == 0 && pthread_cond_init(&l->moved, NULL) == 0);
    for (uint32_t i = 0; i < LANES; i++) lane_init(l, i);
    *out = l;
    return OK;
}

void import_lanes_close(struct import_lanes *l)
{
    if (!l) return;
    for (uint32_t i = 1; i < LANES; i++)
        if (l->lanes[i].opened) cluster_close(&l->lanes[i].own);
    pthread_cond_destroy(&l->moved);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

/* Another connection, to another node than the lanes before: they share the work. */
static enum err open_cluster(struct lane *lane, struct failure *failure)
{
    struct tool *t = lane->owner->tool;
    if (lane->opened) return OK;
    enum err e = cluster_open(&lane->own, t->settings.values[SETTING_CLUSTER], t->settings.values[SETTING_VIA],
                              t->cluster.timeout_ms, &lane->quiet, failure);
    if (e != OK) return e;
    uint32_t place = (uint32_t)(lane - lane->owner->lanes), n = lane->own.genesis.member_count;
    lane->own.started = (t->cluster.member + place - 1) % n + 1;
    lane->opened = true;
    return OK;
}

/* --- a batch --- */

static bool is_due(const struct import_item *item)
{
    return item->fate == IMPORT_CREATE || item->fate == IMPORT_UPDATE;
}

static size_t size_of(const struct import_lanes *l, const struct import_item *item)
{
    size_t size = l->bundle->entries[item->entry].resource.size; /* with its white space: an upper bound */
    return (size < LIMIT_RECORD ? size : LIMIT_RECORD) + ITEM_OVERHEAD;
}

/* The next items, as many as one request holds. */
static bool take_batch(struct lane *lane)
{
    struct import_lanes *l = lane->owner;
    size_t bytes = 0;
    lane->count = 0;
    pthread_mutex_lock(&l->lock);
    while (l->failure.code == OK && l->next < l->plan->count && lane->count < LIMIT_OPERATIONS) {
        const struct import_item *item = &l->plan->items[l->next];
        size_t size = is_due(item) ? size_of(l, item) : 0;
        if (lane->count > 0 && bytes + size > BATCH_BYTES) break;
        if (is_due(item)) lane->items[lane->count++] = l->next;
        bytes += size;
        l->next++;
    }
    pthread_mutex_unlock(&l->lock);
    return lane->count > 0;
}

static void encode_args(struct buffer *out, const struct import_lanes *l, const struct import_item *item,
                        const struct digest *tag)
{
    if (item->fate == IMPORT_CREATE) {
        const char *kind = l->bundle->entries[item->entry].type;
        args_record_create_encode(out, &(struct args_record_create){.record = item->record, .patient = *l->patient,
                                                                    .kind = bytes_text(kind), .conf = item->conf,
                                                                    .content_tag = *tag});
    } else {
        args_record_update_encode(out, &(struct args_record_update){.record = item->record, .patient = *l->patient,
                                                                    .base_version = item->version - 1,
                                                                    .conf = item->conf, .content_tag = *tag});
    }
}

static enum err close_item(struct lane *lane, uint32_t i, struct failure *failure)
{
    struct import_lanes *l = lane->owner;
    const struct tool *t = l->tool;
    const struct import_item *item = &l->plan->items[lane->items[i]];
    struct record_context context = {.cluster = t->cluster.genesis.cluster, .patient = *l->patient,
                                     .record = item->record, .version = item->version, .conf = item->conf,
                                     .author = t->signer.user};
    lane->content.secret = true;
    buffer_clear(&lane->content);
    buffer_clear(&lane->args[i]);
    buffer_clear(&lane->attachments[i]);
    fhir_compact(&lane->content, l->bundle->entries[item->entry].resource);
    if (lane->content.failed) return fail(failure, ERR_NOMEM, "no memory for a record");
    struct digest tag = record_content_tag(BYTES(t->signer.secrets->tag_key), buffer_bytes(&lane->content));
    encode_args(&lane->args[i], l, item, &tag);
    return content_close(&lane->attachments[i], &t->collective, &context, buffer_bytes(&lane->content), failure);
}

/* --- what became of it --- */

static enum err fate_of(enum import_fate *out, enum import_fate planned, const struct outcome *o,
                        struct failure *failure)
{
    *out = planned;
    if (o->code != OK) return fail(failure, o->code, "a record was refused: %s", err_text(o->code));
    if (o->decision == DECISION_APPROVED) return OK;
    *out = IMPORT_UNCHANGED;
    if (o->reason == REASON_RECORD_EXISTS || o->reason == REASON_UNCHANGED) return OK;
    *out = o->reason == REASON_RECORD_DELETED ? IMPORT_DELETED_HERE : IMPORT_CHANGED_HERE;
    if (o->reason == REASON_RECORD_DELETED || o->reason == REASON_CONFLICT) return OK;
    return fail(failure, err_of_reason(o->reason), "record.%s was denied: %s (entry %llu)",
                planned == IMPORT_CREATE ? "create" : "update", reason_text((enum reason)o->reason),
                (unsigned long long)o->index);
}

static enum err settle(struct lane *lane, const struct submission *s, struct failure *failure)
{
    struct import_lanes *l = lane->owner;
    enum err first = OK;
    pthread_mutex_lock(&l->lock);
    for (uint32_t i = 0; i < lane->count; i++) {
        enum import_fate fate;
        enum err e = fate_of(&fate, l->plan->items[lane->items[i]].fate, &s->outcomes[i], first == OK ? failure : NULL);
        if (first == OK) first = e;
        if (e == OK) l->done[fate]++;
    }
    l->finished += lane->count;
    pthread_cond_signal(&l->moved);
    pthread_mutex_unlock(&l->lock);
    return first;
}

static enum err keep_receipts(struct lane *lane, const struct submission *s, struct failure *failure)
{
    struct receipt_files *files = &lane->owner->tool->receipts;
    struct failure why = {0};
    enum err e = OK;
    for (uint32_t i = 0; e == OK && i < s->count; i++)
        e = receipt_files_keep(files, s->outcomes[i].index, buffer_bytes(&s->outcomes[i].receipt), &why);
    return e == OK ? OK : fail(failure, e, "the receipts could not be kept: %s", why.text);
}

static enum err do_batch(struct lane *lane, struct failure *failure)
{
    struct import_lanes *l = lane->owner;
    struct draft drafts[LIMIT_OPERATIONS];
    struct submission s = {0};
    enum err e = open_cluster(lane, failure);
    for (uint32_t i = 0; e == OK && i < lane->count; i++) {
        e = close_item(lane, i, failure);
        enum action action = l->plan->items[lane->items[i]].fate == IMPORT_CREATE ? ACTION_RECORD_CREATE
                                                                                  : ACTION_RECORD_UPDATE;
        drafts[i] = (struct draft){.action = action, .args = buffer_bytes(&lane->args[i]), .purpose = l->purpose,
                                   .attached = true, .attachment = buffer_bytes(&lane->attachments[i])};
    }
    if (e == OK) e = submit(&s, lane->cluster, &l->tool->signer, drafts, lane->count, failure);
    bool answered = e == OK;
    if (e == OK) e = settle(lane, &s, failure);
    if (answered) {
        enum err kept = keep_receipts(lane, &s, e == OK ? failure : NULL);
        if (e == OK) e = kept;
    }
    submission_free(&s);
    return e;
}

/* --- threads --- */

static void *lane_main(void *data)
{
    struct lane *lane = data;
    struct import_lanes *l = lane->owner;
    struct failure failure = {0};
    while (take_batch(lane) && do_batch(lane, &failure) == OK)
        ;
    for (uint32_t i = 0; i < LIMIT_OPERATIONS; i++) {
        buffer_free(&lane->args[i]);
        buffer_free(&lane->attachments[i]);
    }
    secret_wipe_buffer(&lane->content);
    pthread_mutex_lock(&l->lock);
    if (failure.code != OK && l->failure.code == OK) l->failure = failure;
    l->running--;
    pthread_cond_signal(&l->moved);
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

/* The first lane speaks through the tool's connection, whose progress is ours meanwhile. */
static uint32_t start_lanes(struct import_lanes *l, uint32_t wanted)
{
    uint32_t started = 0;
    l->tool->cluster.output = &l->lanes[0].quiet;
    while (started < wanted && pthread_create(&l->lanes[started].thread, NULL, lane_main, &l->lanes[started]) == 0)
        started++;
    return started;
}

static void wait_for_lanes(struct import_lanes *l, void (*progress)(void *data, uint32_t finished), void *data)
{
    pthread_mutex_lock(&l->lock);
    while (l->running > 0) {
        uint32_t finished = l->finished;
        pthread_mutex_unlock(&l->lock);
        progress(data, finished);
        pthread_mutex_lock(&l->lock);
        if (l->running == 0 || l->finished != finished) continue;
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += PROGRESS_MS * 1000000l;
        until.tv_sec += until.tv_nsec / 1000000000l;
        until.tv_nsec %= 1000000000l;
        pthread_cond_timedwait(&l->moved, &l->lock, &until);
    }
    pthread_mutex_unlock(&l->lock);
}

enum err import_lanes_run(struct import_lanes *l, const struct fhir_bundle *bundle, const struct import_plan *plan,
                          const struct id *patient, uint32_t done[static IMPORT_FATE_COUNT],
                          void (*progress)(void *data, uint32_t finished), void *data)
{
    uint32_t due = plan->fates[IMPORT_CREATE] + plan->fates[IMPORT_UPDATE];
    uint32_t lanes = (due + LIMIT_OPERATIONS - 1) / LIMIT_OPERATIONS;
    if (lanes == 0) return OK;
    l->bundle = bundle, l->plan = plan, l->patient = patient, l->done = done;
    l->next = l->finished = 0;
    l->failure = (struct failure){0};
    if (lanes > LANES) lanes = LANES;
    /* Counted before they run: a lane that ends at once must not seem to be the last. */
    pthread_mutex_lock(&l->lock);
    l->running = lanes;
    pthread_mutex_unlock(&l->lock);
    struct output *shown = l->tool->cluster.output;
    uint32_t started = start_lanes(l, lanes);
    pthread_mutex_lock(&l->lock);
    l->running -= lanes - started;
    if (started == 0) fail(&l->failure, ERR_NOMEM, "the system gives this program no thread");
    pthread_mutex_unlock(&l->lock);
    wait_for_lanes(l, progress, data);
    for (uint32_t i = 0; i < started; i++) pthread_join(l->lanes[i].thread, NULL);
    l->tool->cluster.output = shown;
    if (l->failure.code == OK) return OK;
    return fail(&l->tool->failure, l->failure.code, "%s", l->failure.text);
}
