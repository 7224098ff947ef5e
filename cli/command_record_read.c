/* record show, history, list. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "cli/commands.h"
#include "cli/difference.h"
#include "cli/files.h"
#include "cli/people.h"
#include "cli/reading.h"
#include "cli/tool.h"
#include "crypto/secret.h"

/* --- show --- */

/* Content as a JSON value beside its row: text as text, else base64. */
static json_t *content_json(const struct record_row *row, struct bytes content)
{
    json_t *o = record_row_json(row);
    json_t *text = is_text(content) ? json_stringn((const char *)content.data, content.size) : NULL;
    if (text) {
        json_object_set_new(o, "content", text);
        return o;
    }
    struct buffer encoded = {.secret = true};
    base64_append(&encoded, content);
    json_object_set_new(o, "content_base64", json_text(buffer_bytes(&encoded)));
    secret_wipe_buffer(&encoded);
    return o;
}

static enum err write_stdout(struct tool *t, struct bytes content)
{
    bool written = fwrite(content.data, 1, content.size, stdout) == content.size && fflush(stdout) == 0;
    return written ? OK : fail(&t->failure, ERR_IO, "cannot write the content to standard output");
}

/* Byte for byte, except at a terminal, where it must do no harm. */
static enum err print_content(struct tool *t, struct bytes content)
{
    if (!isatty(STDOUT_FILENO)) return write_stdout(t, content);
    if (!is_text(content)) {
        output_message(&t->output, "%zu bytes that are no text; write them to a file with -o FILE", content.size);
        return OK;
    }
    struct buffer clean = {.secret = true};
    text_clean(&clean, content, true);
    if (clean.size == 0 || clean.data[clean.size - 1] != '\n') buffer_append_text(&clean, "\n");
    enum err e = write_stdout(t, buffer_bytes(&clean));
    secret_wipe_buffer(&clean);
    return e;
}

/* Content that was opened before is not lost by a name that is taken; the access is not made for it, either.
 * A device or a pipe takes what comes. */
static bool writes_over(const struct tool *t, const char *path)
{
    struct stat st;
    return option_given(t->line, "force") || (stat(path, &st) == 0 && (S_ISCHR(st.st_mode) || S_ISFIFO(st.st_mode)));
}

static enum err put_into(struct tool *t, const char *path, struct bytes content)
{
    struct failure why = {0};
    enum err e = file_write(path, content, 0600, !writes_over(t, path), &why);
    if (e == ERR_EXISTS) return fail(&t->failure, e, "%s exists already; --force writes over it", path);
    return e == OK ? OK : fail(&t->failure, e, "%s", why.text);
}

static enum err check_output(struct tool *t, const char *path)
{
    struct stat st;
    if (!path) return OK;
    if (!writes_over(t, path) && lstat(path, &st) == 0)
        return fail(&t->failure, ERR_EXISTS, "%s exists already, so nothing was asked for; --force writes over it",
                    path);
    char *folder = path_folder(path);
    bool there = stat(folder, &st) == 0 && S_ISDIR(st.st_mode);
    enum err e = there ? OK : fail(&t->failure, ERR_NO_FILE, "there is no folder %s, so nothing was asked for", folder);
    free(folder);
    return e;
}

/* With the entry that this look at it became. */
static json_t *shown_json(const struct reading *r, struct bytes content)
{
    json_t *o = content_json(&r->rows[0], content);
    json_object_set_new(o, "entry", json_integer((json_int_t)r->submission.outcomes[0].index));
    json_object_set_new(o, "entry_time", json_time(r->submission.outcomes[0].time_ms));
    return o;
}

static int show_one(struct tool *t)
{
    struct reading reading = {0};
    struct buffer content = {.secret = true};
    struct id record;
    uint64_t version;
    const char *text = tool_operand(t, 0), *output = option_text(t->line, "output");
    enum err e = option_number(&version, t->line, "version", 0, 1, RECORD_VERSION_MAX, &t->failure);
    if (e == OK && (id_parse(&record, text) != OK || id_is_zero(&record)))
        e = fail(&t->failure, ERR_USAGE, "'%s' is no record's id (26 characters, as 'record list PATIENT' shows)",
                 text);
    if (e == OK) e = check_output(t, output);
    if (e == OK) e = reading_ask_record(t, &reading, &record, version);
    if (e == OK) e = reading_open_one(t, &reading, &content);
    output_progress_end(&t->output);
    if (e == OK && t->output.json) output_json(&t->output, shown_json(&reading, buffer_bytes(&content)));
    if (e == OK && output) e = put_into(t, output, buffer_bytes(&content));
    if (e == OK && !output && !t->output.json) e = print_content(t, buffer_bytes(&content));
    secret_wipe_buffer(&content);
    reading_end(&reading);
    return e == OK ? EXIT_DONE : tool_failed(t);
}

/* --- a chart --- */

struct chart {
    struct tool *tool;
    struct reading *reading;
    const char *folder; /* -o, or NULL */
    json_t *rows;       /* with --json */
};

static enum err write_into(struct chart *c, const struct record_row *row, struct bytes content)
{
    char id[ID_TEXT_SIZE], name[ID_TEXT_SIZE + 32];
    id_format(id, &row->record);
    snprintf(name, sizeof name, "%s-v%llu", id, (unsigned long long)row->version);
    char *path = path_join(c->folder, name);
    enum err e = put_into(c->tool, path, content);
    free(path);
    return e;
}

static enum err print_part(struct chart *c, const struct record_row *row, struct bytes content)
{
    char id[ID_TEXT_SIZE];
    id_format(id, &row->record);
    output_progress_end(&c->tool->output);
    printf("== %s  ", id);
    output_text(row->kind, false);
    printf("  version %llu  %c  %llu bytes\n", (unsigned long long)row->version, confidentiality_letter(row->conf),
           (unsigned long long)content.size);
    enum err e = print_content(c->tool, content);
    bool ended = isatty(STDOUT_FILENO) || (content.size > 0 && content.data[content.size - 1] == '\n');
    if (!ended) putchar('\n'); /* at a terminal the line is ended already */
    return e;
}

static enum err take_part(void *data, uint32_t position, struct opened_content *item)
{
    struct chart *c = data;
    const struct record_row *row = &c->reading->rows[position];
    struct bytes content = buffer_bytes(&item->plain);
    if (c->folder) return write_into(c, row, content);
    if (!c->rows) return print_part(c, row, content);
    json_array_append_new(c->rows, content_json(row, content));
    return OK;
}

static int show_chart(struct tool *t)
{
    struct args_record_read args = {0};
    struct reading reading = {0};
    struct buffer cursor = {0};
    struct chart chart = {.tool = t, .reading = &reading, .folder = option_text(t->line, "output")};
    enum err e = tool_page(t, &args.limit, LIMIT_OPENED, LIMIT_OPENED, &cursor);
    args.cursor = buffer_bytes(&cursor);
    if (e == OK && option_given(t->line, "version"))
        e = fail(&t->failure, ERR_USAGE, "a chart has each record's latest version; --version is for one record");
    if (e == OK && chart.folder) e = folder_create(chart.folder, &t->failure);
    if (e == OK) e = people_resolve(t, &args.patient, option_text(t->line, "patient"));
    if (e == OK) e = reading_ask(t, &reading, &args);
    if (e == OK && t->output.json) chart.rows = json_array();
    if (e == OK) e = reading_open(t, &reading, take_part, &chart);
    if (e == OK && chart.rows) tool_page_mark(t, chart.rows, reading.cursor, reading.left_out);
    if (e == OK && chart.rows) output_json(&t->output, json_incref(chart.rows));
    if (e == OK && reading.count == 0) output_message(&t->output, "no records that you may open");
    if (e == OK && reading.count > 0 && chart.folder)
        output_message(&t->output, "%u records written into %s", (unsigned)reading.count, chart.folder);
    if (e == OK) tool_page_end(t, reading.cursor, reading.left_out);
    json_decref(chart.rows);
    reading_end(&reading);
    buffer_free(&cursor);
    return e == OK ? EXIT_DONE : tool_failed(t);
}

int command_record_show(struct tool *t)
{
    bool chart = option_given(t->line, "patient"), one = t->line->operand_count > 0;
    if (chart == one) {
        fail(&t->failure, ERR_USAGE, "'record show' needs either a RECORD or --patient PATIENT");
        return tool_failed(t);
    }
    return chart ? show_chart(t) : show_one(t);
}

/* --- history --- */

static enum err print_history(struct tool *t, struct bytes bytes)
{
    static const struct column columns[] = {{"version", "VERSION", COLUMN_NUMBER}, {"time", "TIME", COLUMN_TIME},
                                            {"author", "AUTHOR", COLUMN_TEXT}, {"confidentiality", "CONF", COLUMN_TEXT},
                                            {"deleted", "DELETED", COLUMN_YES}, {"index", "ENTRY", COLUMN_NUMBER}};
    struct answer answer;
    json_t *rows = json_array();
    enum err e = answer_open(&answer, bytes, UINT16_MAX);
    for (uint32_t i = 0; e == OK && i < answer.count; i++) {
        struct history_row row;
        history_row_read(&row, &answer.rows);
        e = answer.rows.error;
        if (e == OK) json_array_append_new(rows, history_row_json(&row));
    }
    if (e != OK) {
        json_decref(rows);
        return fail(&t->failure, e, "the node's answer can't be read: %s", err_text(e));
    }
    tool_page_mark(t, rows, answer.cursor, answer.left_out);
    output_rows(&t->output, columns, sizeof columns / sizeof columns[0], rows, "no versions that you may see");
    tool_page_end(t, answer.cursor, answer.left_out);
    return OK;
}

int command_record_history(struct tool *t)
{
    struct args_record_history args;
    struct submission s = {0};
    struct buffer encoded = {0};
    const char *text = tool_operand(t, 0);
    enum purpose purpose;
    enum err e = tool_purpose(t, &purpose, PURPOSE_TREATMENT);
    if (e == OK && (id_parse(&args.record, text) != OK || id_is_zero(&args.record)))
        e = fail(&t->failure, ERR_USAGE, "'%s' is no record's id", text);
    if (e == OK) {
        args_record_history_encode(&encoded, &args);
        e = tool_submit(
            t, &s,
            &(struct draft){.action = ACTION_RECORD_HISTORY, .args = buffer_bytes(&encoded), .purpose = purpose});
    }
    if (e == OK) e = print_history(t, buffer_bytes(&s.outcomes[0].answer));
    buffer_free(&encoded);
    submission_free(&s);
    return e == OK ? EXIT_DONE : tool_failed(t);
}

/* --- list --- */

static enum err print_list(struct tool *t, struct bytes bytes)
{
    static const struct column columns[] = {
        {"record", "RECORD", COLUMN_TEXT},     {"kind", "KIND", COLUMN_TEXT}, {"confidentiality", "CONF", COLUMN_TEXT},
        {"version", "VERSION", COLUMN_NUMBER}, {"time", "TIME", COLUMN_TIME}, {"author", "AUTHOR", COLUMN_TEXT},
        {"deleted", "DELETED", COLUMN_YES}};
    struct answer answer;
    json_t *rows = json_array();
    enum err e = answer_open(&answer, bytes, LIMIT_ROWS);
    for (uint32_t i = 0; e == OK && i < answer.count; i++) {
        struct list_row row;
        list_row_read(&row, &answer.rows);
        e = answer.rows.error;
        if (e == OK) json_array_append_new(rows, list_row_json(&row));
    }
    if (e != OK) {
        json_decref(rows);
        return fail(&t->failure, e, "the node's answer can't be read: %s", err_text(e));
    }
    tool_page_mark(t, rows, answer.cursor, answer.left_out);
    output_rows(&t->output, columns, sizeof columns / sizeof columns[0], rows, "no records that you may see");
    tool_page_end(t, answer.cursor, answer.left_out);
    return OK;
}

int command_record_list(struct tool *t)
{
    struct args_record_list args = {0};
    struct submission s = {0};
    struct buffer encoded = {0}, cursor = {0};
    enum purpose purpose;
    enum err e = tool_purpose(t, &purpose, PURPOSE_TREATMENT);
    if (e == OK) e = tool_page(t, &args.limit, 100, LIMIT_ROWS, &cursor);
    if (e == OK) e = people_resolve(t, &args.patient, tool_operand(t, 0));
    if (e == OK) {
        args.cursor = buffer_bytes(&cursor);
        args_record_list_encode(&encoded, &args);
        e = tool_submit(
            t, &s, &(struct draft){.action = ACTION_RECORD_LIST, .args = buffer_bytes(&encoded), .purpose = purpose});
    }
    if (e == OK) e = print_list(t, buffer_bytes(&s.outcomes[0].answer));
    buffer_free(&encoded);
    buffer_free(&cursor);
    submission_free(&s);
    return e == OK ? EXIT_DONE : tool_failed(t);
}
