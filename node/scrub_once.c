/* `consiliumd scrub --now`: one pass for an operator, read-only. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "ledger/leaf.h"
#include "ledger/proof.h"
#include "ledger/scan.h"
#include "ledger/tables.h"
#include "node/scrub.h"
#include "storage/store_guard.h"

#define STEP (4 * MIB) /* in one transaction */
#define EXIT_DAMAGED 6
#define LOG_BAD 4096u  /* damaged entries of the log that are remembered */

/* --- the genesis --- */

/* Whether any row is left, or can't be reached. */
static bool holds_anything(struct table_txn *txn)
{
    struct table_cursor *c;
    bool found = false;
    for (size_t i = 0; i < ledger_tables_count && !found; i++) {
        if (table_cursor_open(&c, txn, ledger_tables[i].table) != OK) return true;
        found = table_cursor_seek(c, (struct bytes){0}) != ERR_NOT_FOUND;
        table_cursor_close(c);
    }
    return found;
}

/* The one that the store itself has: good for everything but the question whose ledger this is. */
static enum err genesis_of_store(struct buffer *text, struct store *store, struct failure *failure)
{
    struct table_txn *txn;
    struct buffer bytes = {0};
    struct leaf leaf;
    enum err e = store_begin_read(&txn, store);
    if (e != OK) return fail(failure, e, "the store can't be read: %s", err_text(e));
    e = proof_leaf(&bytes, txn, 0);
    if (e == OK) e = leaf_decode(&leaf, buffer_bytes(&bytes));
    if (e == OK && leaf.index != 0) e = ERR_CORRUPT;
    if (e == OK) buffer_append_bytes(text, leaf.genesis);
    bool gone = e == ERR_NOT_FOUND && holds_anything(txn);
    store_abort(txn);
    buffer_free(&bytes);
    if (gone) return fail(failure, ERR_CORRUPT, "leaf 0 is gone");
    if (e == ERR_NOT_FOUND) return fail(failure, ERR_NO_STORE, "there is no ledger in this store yet");
    return e == OK ? OK : fail(failure, ERR_CORRUPT, "leaf 0, the genesis, can't be read (%s); with --genesis FILE the "
                                                      "rest is checked as well", err_text(e));
}

static enum err load_genesis(struct genesis *out, struct buffer *text, struct store *store, const char *path,
                             struct failure *failure)
{
    struct failure why = {0};
    enum err e = path ? files_read(text, path, LIMIT_GENESIS, failure) : genesis_of_store(text, store, failure);
    if (e != OK) return e;
    if (!path) puts("The genesis is the one in this store (leaf 0); give --genesis FILE to check against your own.");
    e = genesis_parse(out, buffer_bytes(text), &why);
    return e == OK ? OK : fail(failure, e, "%s is not a genesis file: %s", path ? path : "leaf 0", why.text);
}

/* Another genesis file than the ledger's own would make everything look altered. */
static enum err check_cluster(const struct genesis *genesis, struct store *store, struct failure *failure)
{
    struct buffer text = {0};
    struct genesis own;
    enum err e = genesis_of_store(&text, store, NULL);
    bool other = e == OK && genesis_parse(&own, buffer_bytes(&text), NULL) == OK &&
                 !digest_equal(&own.cluster, &genesis->cluster);
    buffer_free(&text);
    return other ? fail(failure, ERR_OTHER_CLUSTER, "this store is of another cluster than the genesis file") : OK;
}

/* --- the state --- */

struct tally {
    uint64_t found, rebuild;
};

static const char *help_for(enum damage_kind kind)
{
    switch (kind) {
    case DAMAGE_NONE: return "";
    case DAMAGE_LEAF:
    case DAMAGE_ATTACHMENT: return "other nodes have it";
    case DAMAGE_DERIVED:
    case DAMAGE_STRAY:
    case DAMAGE_LOCAL: return "it follows from the rest";
    case DAMAGE_STATE:
    case DAMAGE_ROOT:
    case DAMAGE_STORE: return "rebuild";
    }
    return "";
}

static void print_damage(struct tally *t, const struct damage *d)
{
    bool rebuild = d->kind == DAMAGE_STATE || d->kind == DAMAGE_ROOT || d->kind == DAMAGE_STORE;
    t->found++;
    t->rebuild += rebuild;
    printf("%-9s %s (%s)\n", d->gone ? "DELETED" : "MODIFIED", d->text, help_for(d->kind));
}

static void print_progress(const struct scan *s)
{
    if (!isatty(STDERR_FILENO)) return;
    unsigned permille = scan_permille(s);
    fprintf(stderr, "\r%3u.%u %%  %" PRIu64 " MiB", permille / 10, permille % 10, s->bytes / MIB);
    if (s->phase == SCAN_DONE) fputs("\r\033[K", stderr);
}

static enum err look_at_pages(struct tally *tally, struct store *store)
{
    struct table_txn *txn;
    struct damage d;
    enum err e = store_begin_read(&txn, store);
    if (e != OK) return e;
    e = scrub_pages(&d, txn);
    store_abort(txn);
    if (e == OK && d.kind != DAMAGE_NONE) print_damage(tally, &d);
    return e;
}

static enum err scan_store(struct tally *tally, struct scan *s, struct store *store)
{
    enum err e = look_at_pages(tally, store);
    while (e == OK && s->phase != SCAN_DONE) {
        struct table_txn *txn;
        struct damage d;
        e = store_begin_read(&txn, store);
        if (e != OK) break;
        e = scan_step(s, txn, STEP, &d);
        store_abort(txn);
        if (e != OK) break;
        print_progress(s);
        if (d.kind == DAMAGE_NONE) continue;
        /* The row that says how many leaves there are, though it was passed over: nothing behind it can be read. */
        if (d.kind == DAMAGE_STATE && d.table == TABLE_META && s->passed & 1u << DAMAGE_STATE) break;
        print_damage(tally, &d);
        if (d.kind == DAMAGE_STORE) break; /* here, neither */
        scan_pass_over(s, &d);
    }
    return e;
}

/* --- the log --- */

struct log_tally {
    uint64_t records, bytes;
    uint64_t holes;            /* whose index isn't known */
    uint64_t bad[LOG_BAD];     /* indexes of damaged entries */
    unsigned count;
    bool runs;                 /* the node does, and writes */
    bool last_torn;            /* the last record that was seen may be half written */
};

static bool visit_record(void *data, const struct log_record *r)
{
    struct log_tally *t = data;
    t->records++;
    t->bytes += r->size;
    t->last_torn = r->damaged && (t->runs || r->torn);
    bool known = r->damaged && r->header_known && (r->type == LOG_BLOCK || r->type == LOG_REPAIR);
    if (known && t->count < LOG_BAD) t->bad[t->count++] = r->index;
    if (r->damaged && !known) t->holes++;
    if (r->damaged || r->type != LOG_REPAIR) return true;
    t->holes = 0; /* put back behind it */
    for (unsigned i = 0; i < t->count; i++)
        if (t->bad[i] == r->index) t->bad[i--] = t->bad[--t->count];
    return true;
}

static enum err scan_log(struct tally *tally, const struct node_identity *id, bool runs, struct failure *failure)
{
    struct log_options options = {.directory = id->log_directory, .name = "raft", .key = id->storage_key};
    struct log_tally *t = xcalloc(1, sizeof *t);
    t->runs = runs;
    enum err e = log_visit(&options, visit_record, t, failure);
    if (e == ERR_NOT_FOUND) e = OK; /* none yet */
    /* What a running node writes just now is seen half written; a stopped one cuts a torn end when it starts, but an
     * end that was written and is not readable any more is damage. */
    if (t->last_torn && t->holes > 0) t->holes--;
    for (unsigned i = 0; i < t->count; i++)
        printf("MODIFIED  entry %" PRIu64 " of the replicated log (other nodes have it)\n", t->bad[i]);
    if (t->holes)
        printf("MODIFIED  %" PRIu64 " places of the replicated log can't be read (other nodes have them)\n", t->holes);
    tally->found += t->count + t->holes;
    if (e == OK)
        printf("Log: %" PRIu64 " records, %" PRIu64 " KiB read%s.\n", t->records, t->bytes / KIB,
               runs ? ", while the node writes it" : "");
    free(t);
    return e;
}

/* --- all --- */

/* The store is a mapped file whose pages carry no checksum: reading one that was cut short, or is full of something
 * else, can end here. */
static void on_bad_page(const char *directory)
{
    static const char text[] = "MODIFIED  the state's file: it can't be read (its device failed, it was cut short, or "
                               "overwritten).\nRun 'consiliumd rebuild --dir DIR' with the node stopped.\n";
    (void)directory;
    _exit(write(STDOUT_FILENO, text, sizeof text - 1) > 0 ? EXIT_DAMAGED : 1);
}

static int print_unreadable(const struct node_identity *id, const struct failure *why)
{
    printf("MODIFIED  the state's file: %s\nRun 'consiliumd rebuild --dir %s' with the node stopped.\n", why->text,
           id->directory);
    return fflush(stdout) == 0 ? EXIT_DAMAGED : 1;
}

static void print_verdict(const struct tally *t, const struct scan *s, const struct node_identity *id, bool runs)
{
    printf("State: %" PRIu64 " entries, %" PRIu64 " rows, %" PRIu64 " KiB checked.\n", s->end, s->rows, s->bytes / KIB);
    if (t->found == 0) {
        puts("Nothing is damaged. (State that only a replay proves, such as a role, is compared by 'consilium status "
             "--state-digest'.)");
        return;
    }
    printf("%" PRIu64 " damaged.\n", t->found);
    if (t->rebuild)
        printf("%s'consiliumd rebuild --dir %s', then start it: it derives its state anew from its peers' ledger.\n",
               runs ? "Stop the node, run " : "Run ", id->directory);
    else
        puts(runs ? "The node runs, and repairs this when its own pass comes there: see 'consilium status'."
                  : "Start the node: what is missing by this it gets from its peers, with an alarm; its log says more.");
}

int scrub_once(const struct node_identity *id, const char *path, bool runs, struct failure *failure)
{
    struct store *store = NULL;
    struct buffer text = {0};
    struct genesis *genesis = xcalloc(1, sizeof *genesis);
    struct scan scan = {0};
    struct tally tally = {0};
    struct store_options options = {.directory = id->state_directory, .tables = ledger_tables,
                                    .table_count = ledger_tables_count, .key = id->storage_key, .read_only = true};
    store_guard_install(on_bad_page);
    enum err e = store_open(&store, &options, failure);
    if (e == ERR_CORRUPT) {
        free(genesis);
        return print_unreadable(id, failure);
    }
    if (e == OK) e = load_genesis(genesis, &text, store, path, failure);
    if (e == OK) e = check_cluster(genesis, store, failure);
    if (e == OK) {
        scan_begin(&scan, genesis);
        e = scan_store(&tally, &scan, store);
        if (e != OK) fail(failure, e, "it can't be read any further (%s)", err_text(e));
    }
    /* What is behind a damaged page comes as an error of reading. */
    bool unreadable = e == ERR_CORRUPT || e == ERR_IO;
    if (e == OK) e = scan_log(&tally, id, runs, failure);
    if (e == OK) print_verdict(&tally, &scan, id, runs);
    scan_free(&scan);
    store_close(store);
    buffer_free(&text);
    free(genesis);
    if (unreadable) return print_unreadable(id, failure);
    if (e != OK) return 1;
    return fflush(stdout) != 0 ? 1 : tally.found ? EXIT_DAMAGED : 0;
}
