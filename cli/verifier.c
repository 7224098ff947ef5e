#include "cli/verifier.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/limits.h"
#include "cli/files.h"
#include "cli/leaf_rows.h"
#include "cli/leaf_words.h"
#include "cli/pipeline.h"
#include "cli/scratch_file.h"
#include "cli/seen_marks.h"
#include "cli/signatures.h"
#include "ledger/apply.h"
#include "ledger/content.h"
#include "ledger/replay.h"
#include "ledger/tables.h"
#include "storage/store.h"

#define MAP_LEAST (UINT64_C(1) << 32)
#define BATCH_LEAVES 256u /* read, hashed and replayed within a processor's cache */
#define BATCH_BYTES (1 * MIB) /* more than one leaf's at most */
#define EXPECTED 12u          /* leaves whose marks are on their way from memory */

/* Leaves on their way. */
struct batch {
    struct buffer bytes; /* of the leaves, one after the other */
    uint64_t first;
    uint32_t count;
    uint32_t sizes[BATCH_LEAVES];
    struct replay_leaf *leaves; /* BATCH_LEAVES; views; NULL before its first use */
    enum err written;           /* their rows */
};

struct verifier {
    const struct genesis *genesis;
    struct signatures *signatures;
    struct leaf_rows *rows;
    struct seen_marks *marks;
    struct pipeline *pipeline;
    struct batch batches[PIPELINE_SLOTS];
    struct batch *open;    /* being filled; NULL: none */
    uint64_t taken;        /* leaves */
    bool settled;
    atomic_uint_fast64_t size;

    /* the replaying thread's, until it is settled */
    struct store *store;
    struct table_txn *txn; /* open for writing; NULL after a failure of the store */
    struct ledger *ledger; /* NULL before leaf 0 */
    struct replay_aside aside;
    struct signed_request signed_last; /* by which the batch before ended */
    uint64_t changed;      /* bytes of the transaction, when leaves were counted last */
    uint32_t uncommitted;  /* leaves that changed something */
    bool alarms_changed;   /* since they were read */
    struct alarm *alarms;  /* open ones; NULL before the first */
    size_t alarm_count;
    struct finding finding;
    struct failure failure; /* code OK: none */
};

void finding_set(struct finding *f, enum err code, uint64_t index, const char *format, ...)
{
    va_list args;
    CHECK(code != OK);
    *f = (struct finding){.code = code, .index = index, .located = true};
    va_start(args, format);
    vsnprintf(f->text, sizeof f->text, format, args);
    va_end(args);
}

/* --- the store --- */

/* LMDB works on with its open files, and nothing is left when this program is killed. */
static void unlink_store(const char *folder)
{
    static const char *const names[] = {"data.mdb", "lock.mdb", "lock"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char *path = path_join(folder, names[i]);
        unlink(path);
        free(path);
    }
    rmdir(folder);
}

/* The map is address space only, but there may be a limit to that, too (ulimit -v, a sanitizer). */
static enum err open_map(struct verifier *v, const char *folder, struct failure *failure)
{
    struct store_options options = {.directory = folder, .tables = ledger_tables, .table_count = ledger_tables_count,
                                    .map_size = STORE_MAP_SIZE, .scratch = true};
    enum err e;
    while ((e = store_open(&v->store, &options, failure)) == ERR_NOMEM && options.map_size > MAP_LEAST)
        options.map_size /= 2;
    return e;
}

static enum err open_store(struct verifier *v, struct failure *failure)
{
    char *folder = path_join(scratch_folder(), "consilium-verify-XXXXXX");
    enum err e = OK;
    if (!mkdtemp(folder)) {
        e = fail(failure, ERR_IO, "cannot make %s: %s; set TMPDIR to a folder with space for a copy of the ledger",
                 folder, strerror(errno));
    } else {
        e = open_map(v, folder, failure);
        unlink_store(folder);
    }
    free(folder);
    return e;
}

static enum err scratch_trouble(struct failure *failure, enum err e)
{
    return fail(failure, e, "what the verification keeps in %s failed: %s%s", scratch_folder(), err_text(e),
                e == ERR_FULL ? "; set TMPDIR to a folder with more space" : "");
}

/* Keeps the transaction small. Nothing is synced: it lives as long as this process. */
static enum err commit_some(struct verifier *v)
{
    uint64_t changed = store_txn_bytes(v->txn);
    if (changed == v->changed) return OK;
    v->changed = changed;
    if (++v->uncommitted < LIMIT_COMMIT_LEAVES && changed < LIMIT_COMMIT_BYTES) return OK;
    enum err e = store_commit(v->txn);
    v->txn = NULL;
    v->changed = 0;
    v->uncommitted = 0;
    return e == OK ? store_begin_write(&v->txn, v->store) : e;
}

/* --- any worker --- */

static enum err write_rows(struct verifier *v, const struct batch *b)
{
    struct leaf_row rows[BATCH_LEAVES];
    for (uint32_t i = 0; i < b->count; i++) {
        const struct replay_leaf *read = &b->leaves[i];
        rows[i] = (struct leaf_row){.leaf = read->hash};
        bool kept = read->decoded == OK && content_kept(&read->leaf.operation, read->leaf.decision);
        if (kept) rows[i].attachment = read->leaf.operation.attachment;
    }
    return leaf_rows_write(v->rows, b->first, rows, b->count);
}

static void prepare_batch(void *data, uint32_t slot)
{
    struct verifier *v = data;
    struct batch *b = &v->batches[slot];
    struct tree_memo memo = {0};
    const uint8_t *at = b->bytes.data;
    for (uint32_t i = 0; i < b->count; i++) {
        struct replay_leaf *read = &b->leaves[i];
        replay_leaf_read(read, &memo, bytes_of(at, b->sizes[i]));
        if (read->decoded == OK) seen_marks_of(read->mark, v->marks, &read->leaf.operation);
        at += b->sizes[i];
    }
    signatures_check(v->signatures, b->leaves, b->count);
    b->written = write_rows(v, b);
}

/* --- the replaying thread --- */

static enum err find_seen(void *data, uint64_t *index, const struct replay_leaf *read)
{
    struct verifier *v = data;
    return seen_marks_find(index, v->marks, read->mark);
}

static enum err add_seen(void *data, const struct replay_leaf *read, uint64_t index, uint64_t time_ms)
{
    struct verifier *v = data;
    return seen_marks_add(v->marks, read->mark, index, time_ms);
}

static bool begin_replay(void *data)
{
    struct verifier *v = data;
    enum err e = store_begin_write(&v->txn, v->store);
    if (e != OK) scratch_trouble(&v->failure, e);
    return e == OK;
}

static void end_replay(void *data)
{
    struct verifier *v = data;
    store_abort(v->txn);
    v->txn = NULL;
}

static enum err replay_first(struct verifier *v, struct bytes leaf, struct failure *why)
{
    enum err e = ledger_replay_genesis(&v->ledger, v->txn, leaf, &v->genesis->cluster, why);
    if (e == OK) ledger_replay_aside(v->ledger, &v->aside);
    return e;
}

static enum err replay_next(struct verifier *v, struct replay_leaf *read, struct failure *why)
{
    bool before = read->verified;
    enum err e = ledger_replay_read(v->ledger, v->txn, read, why);
    if (e == OK && read->verified && !before)
        signatures_note(v->signatures, &read->leaf.operation.actor, &read->key);
    return e;
}

static bool changes_alarms(const struct replay_leaf *read)
{
    if (read->decoded != OK) return false;
    enum action action = read->leaf.operation.action;
    return action == ACTION_NODE_ALARM || action == ACTION_ALARM_CLEAR;
}

static enum err read_alarms(struct verifier *v)
{
    if (!v->alarms_changed) return OK;
    if (!v->alarms) v->alarms = xcalloc(ALARMS_OPEN_MOST, sizeof *v->alarms);
    v->alarms_changed = false;
    return state_alarms_open(v->alarms, &v->alarm_count, v->txn, ALARMS_OPEN_MOST);
}

/* Errors that are this machine's, not the ledger's. */
static bool is_ours(const struct verifier *v, enum err e)
{
    return e == ERR_NOMEM || e == ERR_IO || e == ERR_FULL || e == ERR_CORRUPT || store_failed(v->store) != OK;
}

static bool replay_one(struct verifier *v, struct replay_leaf *read)
{
    struct failure why = {0};
    uint64_t index = atomic_load(&v->size);
    enum err e = index == 0 ? replay_first(v, read->leaf.raw, &why) : replay_next(v, read, &why);
    bool replayed = e == OK;
    if (replayed) {
        atomic_store(&v->size, index + 1);
        v->alarms_changed = v->alarms_changed || changes_alarms(read);
        e = commit_some(v);
    }
    if (e == OK) return true;
    if (replayed || is_ours(v, e)) {
        scratch_trouble(&v->failure, e);
    } else {
        finding_set(&v->finding, e, index, "%s", why.text);
        leaf_words(v->finding.found, sizeof v->finding.found, read->leaf.raw);
    }
    return false;
}

static bool finish_batch(void *data, uint32_t slot)
{
    struct verifier *v = data;
    struct batch *b = &v->batches[slot];
    struct tree tree = {.size = 0};
    if (b->written != OK) {
        scratch_trouble(&v->failure, b->written);
        return false;
    }
    if (v->ledger) ledger_tree(&tree, v->ledger);
    leaf_rows_add(v->rows, b->count, &tree);
    signatures_carry(&v->signed_last, b->leaves, b->count);
    for (uint32_t i = 0; i < b->count; i++) {
        const struct replay_leaf *ahead = i + EXPECTED < b->count ? &b->leaves[i + EXPECTED] : NULL;
        if (ahead && ahead->decoded == OK) seen_marks_expect(v->marks, ahead->mark);
        if (!replay_one(v, &b->leaves[i])) return false;
    }
    enum err e = read_alarms(v);
    if (e != OK) scratch_trouble(&v->failure, e);
    return e == OK;
}

/* --- opening --- */

enum err verifier_open(struct verifier **out, const struct genesis *genesis, struct failure *failure)
{
    struct verifier *v = xcalloc(1, sizeof *v);
    struct pipeline_work work = {v, prepare_batch, finish_batch, begin_replay, end_replay};
    v->genesis = genesis;
    v->settled = true;
    v->aside = (struct replay_aside){v, find_seen, add_seen};
    v->signatures = signatures_new(genesis);
    enum err e = open_store(v, failure);
    if (e == OK) e = leaf_rows_open(&v->rows, failure);
    if (e == OK) e = seen_marks_open(&v->marks, failure);
    if (e == OK) e = pipeline_open(&v->pipeline, &work, failure);
    if (e == OK)
        *out = v;
    else
        verifier_close(v);
    return e;
}

void verifier_close(struct verifier *v)
{
    if (!v) return;
    pipeline_close(v->pipeline);
    ledger_free(v->ledger);
    store_close(v->store);
    free(v->alarms);
    seen_marks_close(v->marks);
    leaf_rows_close(v->rows);
    signatures_free(v->signatures);
    for (uint32_t i = 0; i < PIPELINE_SLOTS; i++) {
        buffer_free(&v->batches[i].bytes);
        free(v->batches[i].leaves);
    }
    free(v);
}

/* --- taking leaves --- */

void verifier_foresee(struct verifier *v, uint64_t leaves)
{
    CHECK(v->taken == 0);
    seen_marks_foresee(v->marks, leaves);
}

static void submit(struct verifier *v)
{
    if (!v->open) return;
    v->open = NULL;
    pipeline_submit(v->pipeline);
}

static enum err add(struct verifier *v, struct bytes leaf)
{
    if (v->open && (v->open->count == BATCH_LEAVES || v->open->bytes.size + leaf.size > BATCH_BYTES)) submit(v);
    struct batch *b = v->open;
    if (!b) {
        b = v->open = &v->batches[pipeline_slot(v->pipeline)];
        if (!b->leaves) b->leaves = xcalloc(BATCH_LEAVES, sizeof *b->leaves);
        b->first = v->taken;
        b->count = 0;
        buffer_clear(&b->bytes);
    }
    buffer_append_bytes(&b->bytes, leaf);
    if (b->bytes.failed) return ERR_NOMEM;
    b->sizes[b->count++] = (uint32_t)leaf.size;
    v->taken++;
    return OK;
}

/* What the replaying thread left, once everything is finished. */
static enum err outcome(const struct verifier *v, struct finding *finding, struct failure *failure)
{
    *finding = v->finding;
    return v->failure.code == OK ? OK : fail(failure, v->failure.code, "%s", v->failure.text);
}

enum err verifier_settle(struct verifier *v, struct finding *finding, struct failure *failure)
{
    submit(v);
    pipeline_drain(v->pipeline);
    v->settled = true;
    return outcome(v, finding, failure);
}

enum err verifier_take(struct verifier *v, struct finding *finding, const struct bytes *leaves, uint32_t count,
                       struct failure *failure)
{
    *finding = (struct finding){0};
    v->settled = false;
    for (uint32_t i = 0; i < count; i++) {
        enum err e = add(v, leaves[i]);
        if (e != OK) return scratch_trouble(failure, e);
    }
    return pipeline_stopped(v->pipeline) ? verifier_settle(v, finding, failure) : OK;
}

uint64_t verifier_size(const struct verifier *v) { return atomic_load(&v->size); }

enum err verifier_root(struct digest *out, struct verifier *v, uint64_t size, struct failure *failure)
{
    CHECK(v->settled && size <= verifier_size(v));
    enum err e = leaf_rows_root(out, v->rows, size);
    return e == OK ? OK : scratch_trouble(failure, e);
}

static enum err row_of(struct leaf_row *out, struct verifier *v, uint64_t index, struct failure *failure)
{
    CHECK(v->settled && index < verifier_size(v));
    enum err e = leaf_rows_get(out, v->rows, index);
    return e == OK ? OK : scratch_trouble(failure, e);
}

enum err verifier_is(bool *out, struct verifier *v, uint64_t index, struct bytes leaf, struct failure *failure)
{
    struct leaf_row row;
    struct digest hash;
    enum err e = row_of(&row, v, index, failure);
    leaf_hash(&hash, leaf);
    *out = e == OK && digest_equal(&hash, &row.leaf);
    return e;
}

enum err verifier_attachment(struct digest *out, struct verifier *v, uint64_t index, struct failure *failure)
{
    struct leaf_row row;
    enum err e = row_of(&row, v, index, failure);
    if (e == OK) *out = row.attachment;
    return e;
}

size_t verifier_alarms(const struct alarm **out, const struct verifier *v)
{
    CHECK(v->settled);
    *out = v->alarms;
    return v->alarm_count;
}
