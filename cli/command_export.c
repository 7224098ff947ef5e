/* export: a part of the ledger, proved, as a folder that proves itself or as rows; and such a folder checked. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "cli/commands.h"
#include "cli/export_bundle.h"
#include "cli/export_rows.h"

enum export_format { EXPORT_BUNDLE, EXPORT_NDJSON, EXPORT_CSV };

struct exporting {
    struct tool *t;
    struct export export;
    enum export_format format;
    enum purpose purpose;
    uint64_t from, to; /* [from, to); to 0: the end */
    const char *output;
};

/* --- the result --- */

static void say_done(struct exporting *ex, uint64_t entries, uint64_t found)
{
    struct export *x = &ex->export;
    char root[65];
    hex_format(root, x->checkpoint.root.bytes, 32);
    if (ex->t->output.json && ex->output) {
        output_json(&ex->t->output,
                    json_pack("{s:I, s:I, s:I, s:I, s:I, s:{s:I, s:s}, s:s}", "from", (json_int_t)x->from, "to",
                              (json_int_t)(x->to - 1), "entries", (json_int_t)entries, "found", (json_int_t)found,
                              "entry", (json_int_t)x->pass.index, "checkpoint", "size", (json_int_t)x->checkpoint.size,
                              "root", root, "output", ex->output));
        return;
    }
    output_message(&ex->t->output,
                   "exported entries %" PRIu64 " to %" PRIu64 " (%" PRIu64
                   "%s), each proved against the checkpoint of %" PRIu64
                   " entries that %u nodes co-signed; this export is entry %" PRIu64,
                   x->from, x->to - 1, entries + found, found ? ", some of them there already" : "", x->checkpoint.size,
                   ex->t->cluster.genesis.quorum, x->pass.index);
}

static enum err open_export(struct exporting *ex)
{
    return export_open(&ex->export, ex->t, ex->from, ex->to, ex->format == EXPORT_BUNDLE, ex->purpose);
}

/* Where it can't be written, nothing is exported, and the ledger has no entry of it. */
static enum err run_bundle(struct exporting *ex)
{
    struct bundle_writer w;
    struct failure *failure = &ex->t->failure;
    bool made = access(ex->output, F_OK) != 0;
    enum err e = bundle_writer_open(&w, &ex->export, ex->output, &ex->t->cluster.genesis, failure);
    struct export_sink sink = bundle_writer_sink(&w);
    if (e == OK) e = open_export(ex);
    if (e == OK) e = export_run(&ex->export, &sink);
    if (e == OK) e = bundle_writer_finish(&w, failure);
    if (e == OK) say_done(ex, w.written, w.found);
    if (e != OK && w.written > 0) output_message(&ex->t->output, "the same command goes on where this one ended");
    if (e != OK && made) rmdir(ex->output); /* where nothing is in it */
    bundle_writer_free(&w);
    return e;
}

static enum err run_rows(struct exporting *ex)
{
    struct row_writer w;
    struct failure *failure = &ex->t->failure;
    enum row_format format = ex->format == EXPORT_CSV ? ROWS_CSV : ROWS_NDJSON;
    enum err e = row_writer_open(&w, ex->output, format, failure);
    struct export_sink sink = row_writer_sink(&w);
    if (e == OK) e = open_export(ex);
    w.from = ex->export.from;
    w.to = ex->export.to;
    if (e == OK) e = export_run(&ex->export, &sink);
    if (e == OK) e = row_writer_finish(&w, failure);
    if (e == OK) say_done(ex, w.rows, 0);
    row_writer_free(&w);
    return e;
}

/* --- what is asked for --- */

static enum err take_format(struct exporting *ex)
{
    static const char *const names[] = {"bundle", "ndjson", "csv"};
    const char *text = option_text(ex->t->line, "format");
    ex->format = EXPORT_BUNDLE;
    if (!text) return OK;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(text, names[i]) == 0) {
            ex->format = (enum export_format)i;
            return OK;
        }
    return fail(&ex->t->failure, ERR_USAGE, "--format is bundle, ndjson or csv, not '%s'", text);
}

static enum err take_options(struct exporting *ex)
{
    struct tool *t = ex->t;
    uint64_t last = 0;
    enum err e = take_format(ex);
    if (e == OK) e = option_number(&ex->from, t->line, "from", 0, 0, TREE_SIZE_MAX, &t->failure);
    if (e == OK) e = option_number(&last, t->line, "to", 0, 0, TREE_SIZE_MAX - 1, &t->failure);
    if (e != OK) return e;
    ex->to = option_given(t->line, "to") ? last + 1 : 0;
    if (ex->to && ex->from >= ex->to) return fail(&t->failure, ERR_USAGE, "--from is later than --to");
    ex->output = option_text(t->line, "output");
    if (ex->output && strcmp(ex->output, "-") == 0) ex->output = NULL;
    if (ex->format == EXPORT_BUNDLE && !ex->output)
        return fail(&t->failure, ERR_USAGE,
                    "a bundle is a folder: name it with -o FOLDER (rows go to standard output: "
                    "--format ndjson or csv)");
    return tool_purpose(t, &ex->purpose, PURPOSE_AUDIT);
}

int command_export(struct tool *t)
{
    struct exporting ex = {.t = t};
    enum err e = take_options(&ex);
    if (e == OK) e = tool_cluster(t);
    if (e == OK) e = ex.format == EXPORT_BUNDLE ? run_bundle(&ex) : run_rows(&ex);
    export_close(&ex.export);
    return e == OK ? EXIT_DONE : tool_failed(t);
}

/* --- export verify --- */

static void show_progress(void *data, const struct bundle_report *r)
{
    struct tool *t = data;
    output_progress(&t->output, "checked %" PRIu64 " entries, %u%%", r->entries,
                    (unsigned)(r->tiles_done * 100 / r->tile_count));
}

static json_t *ranges_json(const struct bundle_report *r)
{
    json_t *rows = json_array();
    for (uint32_t i = 0; i < r->range_count; i++)
        json_array_append_new(rows, json_pack("{s:I, s:I}", "from", (json_int_t)r->ranges[i].from, "to",
                                              (json_int_t)r->ranges[i].to));
    return rows;
}

/* Nobody signed the folder's word: who removed files could have changed it, too. */
static void print_ranges(const struct bundle_report *r)
{
    printf("range: ");
    for (uint32_t i = 0; i < r->range_count; i++)
        printf("%sentries %" PRIu64 " to %" PRIu64, i ? ", " : "", r->ranges[i].from, r->ranges[i].to);
    puts(r->range_count ? ", as the folder states: nothing signs that; compare it with what was asked for, or give "
                          "--from and --to"
                        : "not stated, so whether entries at the beginning or the end are missing can't be said; give "
                          "--from and --to");
}

static void print_verified(struct tool *t, const struct bundle_report *r, const char *folder)
{
    char root[65];
    hex_format(root, r->checkpoint.root.bytes, 32);
    if (t->output.json) {
        output_json(&t->output, json_pack("{s:s, s:o, s:I, s:I, s:I, s:I, s:{s:I, s:s}}", "verdict", "genuine",
                                          "stated", ranges_json(r), "first",
                                          (json_int_t)r->first, "last", (json_int_t)r->last, "entries",
                                          (json_int_t)r->entries, "missing", (json_int_t)r->gaps, "checkpoint", "size",
                                          (json_int_t)r->checkpoint.size, "root", root));
        return;
    }
    printf("checkpoint: %" PRIu64 " entries, root %.16s..., co-signed by %u nodes\n", r->checkpoint.size, root,
           t->cluster.genesis.quorum);
    print_ranges(r);
    if (r->gaps) printf("not in %s: %" PRIu64 " entries between them\n", folder, r->gaps);
    printf("verdict: genuine. The %" PRIu64 " entries from %" PRIu64 " to %" PRIu64
           " are those of the ledger that was co-signed.\n",
           r->entries, r->first, r->last);
    fflush(stdout);
}

/* A slip in the name is no finding about an export. */
static enum err check_folder(struct tool *t, const char *folder)
{
    struct stat st;
    if (stat(folder, &st) == 0 && S_ISDIR(st.st_mode)) return OK;
    return fail(&t->failure, ERR_NO_FILE, "%s is no folder: give the one that 'consilium export -o' wrote", folder);
}

/* --from alone: that entry; --to alone: all from the first on. */
static enum err take_asked(struct bundle_range *out, struct tool *t)
{
    enum err e = option_number(&out->from, t->line, "from", 0, 0, TREE_SIZE_MAX - 1, &t->failure);
    if (e == OK) e = option_number(&out->to, t->line, "to", out->from, 0, TREE_SIZE_MAX - 1, &t->failure);
    if (e == OK && out->from > out->to) e = fail(&t->failure, ERR_USAGE, "--from is later than --to");
    return e;
}

int command_export_verify(struct tool *t)
{
    struct bundle_report report;
    struct bundle_range asked;
    bool is_asked = option_given(t->line, "from") || option_given(t->line, "to");
    const char *folder = tool_operand(t, 0);
    enum err e = take_asked(&asked, t);
    if (e == OK) e = tool_cluster(t);
    if (e == OK) e = check_folder(t, folder);
    if (e != OK) return tool_failed(t);
    e = bundle_verify(&report, folder, &t->cluster.genesis, is_asked ? &asked : NULL, show_progress, t, &t->failure);
    output_progress_end(&t->output);
    if (e == OK) {
        print_verified(t, &report, folder);
        return EXIT_DONE;
    }
    int code = tool_failed(t);
    bool ours = e == ERR_IO || e == ERR_NOMEM || e == ERR_PERMISSION; /* this machine's, not the folder's */
    return ours ? code : EXIT_VERIFICATION;
}
