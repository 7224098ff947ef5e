#include "cli/verifier.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/limits.h"
#include "cli/files.h"
#include "cli/leaf_words.h"
#include "cli/signatures.h"
#include "ledger/apply.h"
#include "ledger/proof.h"
#include "ledger/replay.h"
#include "ledger/tables.h"
#include "storage/store.h"

#define MAP_LEAST (UINT64_C(1) << 32) /* some 3 million entries */

struct verifier {
    const struct genesis *genesis;
    struct store *store;
    struct table_txn *txn; /* open for writing; NULL after a failure of the store */
    struct ledger *ledger; /* NULL before leaf 0 */
    uint32_t uncommitted;  /* leaves */
    struct signatures *signatures;
    struct buffer leaf;    /* of verifier_leaf */
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

static const char *temporary_folder(void)
{
    const char *folder = getenv("TMPDIR");
    if (folder && *folder) return folder;
    return access("/var/tmp", W_OK) == 0 ? "/var/tmp" : "/tmp"; /* the latter may be memory: Debian 13 */
}

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
    char *folder = path_join(temporary_folder(), "consilium-verify-XXXXXX");
    enum err e = OK;
    if (!mkdtemp(folder)) {
        e = fail(failure, ERR_IO, "cannot make %s: %s; set TMPDIR to a folder with space for a copy of the ledger", folder,
                 strerror(errno));
    } else {
        e = open_map(v, folder, failure);
        unlink_store(folder);
    }
    free(folder);
    return e;
}

static enum err store_trouble(struct verifier *v, enum err e, struct failure *failure)
{
    store_abort(v->txn);
    v->txn = NULL;
    return fail(failure, e, "the private copy of the ledger in %s failed: %s%s", temporary_folder(), err_text(e),
                e == ERR_FULL ? "; set TMPDIR to a folder with more space" : "");
}

static enum err begin(struct verifier *v, struct failure *failure)
{
    enum err e = store_begin_write(&v->txn, v->store);
    v->uncommitted = 0;
    return e == OK ? OK : store_trouble(v, e, failure);
}

/* Keeps the transaction small. Nothing is synced: the copy lives as long as this process. */
static enum err commit_some(struct verifier *v, struct failure *failure)
{
    if (v->uncommitted < LIMIT_COMMIT_LEAVES && store_txn_bytes(v->txn) < LIMIT_COMMIT_BYTES) return OK;
    enum err e = store_commit(v->txn);
    v->txn = NULL;
    return e == OK ? begin(v, failure) : store_trouble(v, e, failure);
}

enum err verifier_open(struct verifier **out, const struct genesis *genesis, struct failure *failure)
{
    struct verifier *v = xcalloc(1, sizeof *v);
    v->genesis = genesis;
    v->signatures = signatures_new(genesis);
    enum err e = open_store(v, failure);
    if (e == OK) e = begin(v, failure);
    if (e == OK)
        *out = v;
    else
        verifier_close(v);
    return e;
}

void verifier_close(struct verifier *v)
{
    if (!v) return;
    ledger_free(v->ledger);
    signatures_free(v->signatures);
    store_abort(v->txn);
    store_close(v->store);
    buffer_free(&v->leaf);
    free(v);
}

/* --- taking leaves --- */

/* Errors that are this machine's, not the ledger's. */
static bool is_ours(const struct verifier *v, enum err e)
{
    return e == ERR_NOMEM || e == ERR_IO || e == ERR_FULL || e == ERR_CORRUPT || store_failed(v->store) != OK;
}

static enum err take_one(struct verifier *v, struct finding *finding, struct bytes leaf, const struct signature_check *check,
                         struct failure *failure)
{
    struct failure why = {0};
    uint64_t index = verifier_size(v);
    if (index > 0 && check->good) ledger_replay_verified(v->ledger, check->count, &check->root, &check->key, &check->signature);
    enum err e = index == 0 ? ledger_replay_genesis(&v->ledger, v->txn, leaf, &v->genesis->cluster, &why)
                            : ledger_replay(v->ledger, v->txn, leaf, &why);
    if (e == OK) {
        v->uncommitted++;
        return commit_some(v, failure);
    }
    if (is_ours(v, e)) return store_trouble(v, e, failure);
    finding_set(finding, e, index, "%s", why.text);
    leaf_words(finding->found, sizeof finding->found, leaf);
    return OK;
}

enum err verifier_take(struct verifier *v, struct finding *finding, const struct bytes *leaves, uint32_t count,
                       struct failure *failure)
{
    enum err e = OK;
    CHECK(v->txn != NULL);
    *finding = (struct finding){0};
    const struct signature_check *checks = signatures_check(v->signatures, v->txn, leaves, count);
    for (uint32_t i = 0; e == OK && finding->code == OK && i < count; i++)
        e = take_one(v, finding, leaves[i], &checks[i], failure);
    return e;
}

uint64_t verifier_size(const struct verifier *v) { return v->ledger ? ledger_size(v->ledger) : 0; }

enum err verifier_root(struct digest *out, struct verifier *v, uint64_t size, struct failure *failure)
{
    CHECK(v->txn != NULL && size <= verifier_size(v));
    if (v->ledger && size == verifier_size(v)) {
        *out = ledger_root(v->ledger);
        return OK;
    }
    enum err e = proof_root(out, v->txn, size);
    return e == OK ? OK : store_trouble(v, e, failure);
}

/* --- comparing --- */

enum err verifier_leaf(struct bytes *out, struct verifier *v, uint64_t index, struct failure *failure)
{
    CHECK(v->txn != NULL && index < verifier_size(v));
    enum err e = proof_leaf(&v->leaf, v->txn, index);
    *out = buffer_bytes(&v->leaf);
    return e == OK ? OK : store_trouble(v, e, failure);
}

enum err verifier_compare(struct verifier *v, struct finding *finding, uint64_t index, struct bytes leaf,
                          struct failure *failure)
{
    struct bytes mine;
    *finding = (struct finding){0};
    enum err e = verifier_leaf(&mine, v, index, failure);
    if (e != OK || bytes_equal(mine, leaf)) return e;
    finding_set(finding, ERR_ROOT, index, "entry %" PRIu64 " is not the one that was co-signed", index);
    leaf_difference(finding->expected, finding->found, sizeof finding->expected, mine, leaf);
    return OK;
}
