#include "node/rebuild.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "consensus/driver.h"
#include "ledger/tables.h"
#include "node/integrity.h"
#include "storage/log.h"
#include "storage/store.h"

#define MAP_SIZE (UINT64_C(1) << 30) /* while rows are carried over; each start makes it as large as it wants */

static enum err open_state(struct store **out, const struct node_identity *id, const char *directory, bool reads,
                           struct failure *failure)
{
    struct store_options options = {.directory = directory, .tables = ledger_tables, .table_count = ledger_tables_count,
                                    .key = id->storage_key, .map_size = reads ? 0 : MAP_SIZE, .read_only = reads};
    return store_open(out, &options, failure);
}

/* ---- carrying over ---- */

static enum err copy_table(struct table_txn *to, struct table_txn *from, enum table_number table)
{
    struct table_cursor *c;
    struct buffer value = {0};
    enum err e = table_cursor_open(&c, from, table);
    if (e != OK) return e;
    for (e = table_cursor_seek(c, (struct bytes){0}); e == OK; e = table_cursor_next(c)) {
        e = table_cursor_value(c, &value);
        bool lost = e == ERR_CORRUPT || e == ERR_DECRYPT;
        if (lost && table != TABLE_PEER_MARK) continue;
        if (lost) {
            buffer_clear(&value);
            buffer_append_text(&value, MARK_LOST);
            e = value.failed ? ERR_NOMEM : OK;
        }
        if (e == OK) e = table_put(to, table, table_cursor_key(c), buffer_bytes(&value));
        if (e != OK) break;
    }
    table_cursor_close(c);
    buffer_free(&value);
    return e == ERR_NOT_FOUND ? OK : e;
}

/* What the old state said of earlier rebuilds; nothing when it can't be read. */
static struct driver_rebuilt rebuilt_before(struct table_txn *from)
{
    struct driver_rebuilt r = {0};
    struct buffer row = {0};
    if (table_get(from, TABLE_BLOB, bytes_text(DRIVER_REBUILT), &row) != OK ||
        driver_rebuilt_decode(&r, buffer_bytes(&row)) != OK)
        r = (struct driver_rebuilt){0};
    buffer_free(&row);
    return r;
}

/* Up to where roots may have been told: entries are durable in the log before they are applied. */
static struct driver_rebuilt rebuilt_now(const struct log_status *log, const struct driver_rebuilt *before)
{
    struct driver_rebuilt r = {.term = log->last_term, .index = log->last, .cosigned = log->cosigned.size, .times = 1};
    if (before->term > r.term) r.term = before->term;
    if (before->index > r.index) r.index = before->index;
    if (before->times && before->cosigned == r.cosigned) r.times = before->times + 1;
    return r;
}

static enum err fill(struct table_txn *to, struct table_txn *from, const struct log_status *log)
{
    struct driver_rebuilt before = {0};
    struct buffer row = {0};
    enum err e = from ? copy_table(to, from, TABLE_EVIDENCE) : OK;
    if (e == OK && from) e = copy_table(to, from, TABLE_PEER_MARK);
    if (e == OK && from) e = integrity_carry(to, from);
    if (from) before = rebuilt_before(from);
    struct driver_rebuilt now = rebuilt_now(log, &before);
    driver_rebuilt_encode(&row, &now);
    if (e == OK) e = row.failed ? ERR_NOMEM : table_put(to, TABLE_BLOB, bytes_text(DRIVER_REBUILT), buffer_bytes(&row));
    buffer_free(&row);
    return e;
}

/* A state that can't be opened any more has nothing to be carried over. */
static enum err make_state(const struct node_identity *id, const char *fresh, const struct log_status *log, bool carry,
                           struct failure *failure)
{
    struct store *old = NULL, *new = NULL;
    struct table_txn *from = NULL, *to = NULL;
    if (carry && files_exists(id->state_directory) && open_state(&old, id, id->state_directory, true, NULL) == OK &&
        store_begin_read(&from, old) != OK)
        from = NULL;
    enum err e = files_make_directory(fresh, failure);
    if (e == OK) e = open_state(&new, id, fresh, false, failure);
    if (e == OK) {
        e = store_begin_write(&to, new);
        if (e == OK) e = fill(to, from, log);
        if (e == OK)
            e = store_commit(to);
        else
            store_abort(to);
        if (e != OK) fail(failure, e, "%s: %s", fresh, err_text(e));
    }
    store_abort(from);
    store_close(new);
    store_close(old);
    return e;
}

static void remove_state(const char *directory)
{
    static const char *const names[] = {"data.mdb", "lock.mdb", "lock"};
    char path[FILES_PATH + 64];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", directory, names[i]);
        unlink(path);
    }
    rmdir(directory);
}

/* The store's pages carry no checksum: a file that was cut short, or is full of something else, can end the
 * process that reads it. That must not be this one, for it is the way out. */
static bool make_state_apart(const struct node_identity *id, const char *fresh, const struct log_status *log)
{
    int status;
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        signal(SIGBUS, SIG_DFL);
        signal(SIGSEGV, SIG_DFL);
        _exit(make_state(id, fresh, log, true, NULL) == OK ? 0 : 1);
    }
    if (child < 0) return false;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {}
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static enum err make_fresh(const struct node_identity *id, const char *fresh, const struct log_status *log,
                           struct failure *failure)
{
    if (make_state_apart(id, fresh, log)) return OK;
    remove_state(fresh);
    log_warning("rebuild", "nothing can be carried over from the state in %s: it can't be read", id->state_directory);
    return make_state(id, fresh, log, false, failure);
}

static enum err move(const char *from, const char *to, struct failure *failure)
{
    if (rename(from, to) == 0) return OK;
    return fail(failure, ERR_IO, "%s can't be renamed to %s: %s", from, to, strerror(errno));
}

/* ---- the log ---- */

/* That it forgets is durable together with the cut. */
static enum err cut_log(struct log *log, const struct log_status *status, bool forgets)
{
    uint64_t keep = status->cosigned.index > status->compact_index ? status->cosigned.index : status->compact_index;
    if (keep >= status->last) return OK;
    enum err e = forgets ? log_set_forgotten(log) : OK;
    if (e == OK) e = log_truncate(log, keep + 1);
    return e == OK ? log_sync(log) : e;
}

enum err rebuild(char aside[static REBUILD_PATH], const struct node_identity *identity,
                 enum rebuild_log beyond, struct failure *failure)
{
    struct log *log;
    struct log_status status;
    struct log_options options = {.directory = identity->log_directory, .name = "raft", .key = identity->storage_key};
    char fresh[REBUILD_PATH];
    unsigned long long now = clock_wall_ms();
    snprintf(aside, REBUILD_PATH, "%s.set-aside-%llu", identity->state_directory, now);
    snprintf(fresh, sizeof fresh, "%s.new-%llu", identity->state_directory, now);
    enum err e = log_open(&log, &options, failure);
    if (e != OK) return e;
    log_status(log, &status);
    e = make_fresh(identity, fresh, &status, failure);
    if (e == OK && files_exists(identity->state_directory)) e = move(identity->state_directory, aside, failure);
    if (e == OK) e = move(fresh, identity->state_directory, failure);
    if (e == OK && beyond != REBUILD_KEEPS_LOG) {
        e = cut_log(log, &status, beyond == REBUILD_FORGETS);
        if (e != OK) fail(failure, e, "the log in %s can't be cut: %s", identity->log_directory, err_text(e));
    }
    log_close(log);
    return e;
}
