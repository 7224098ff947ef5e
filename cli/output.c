#include "cli/output.h"

#include <libsmartcols/libsmartcols.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>
#include <utf8proc.h>

#include "base/check.h"
#include "base/clock.h"
#include "ledger/action.h"

/* --- exit codes --- */

int exit_code_of(enum err code)
{
    switch ((int)code) {
    case OK: return EXIT_DONE;
    case ERR_USAGE: return EXIT_USAGE;
    case ERR_DENIED:
    case ERR_UNAUTHORIZED: return EXIT_DENIED;
    case ERR_NO_KEY:
    case ERR_PASSPHRASE:
    case ERR_UNKNOWN_ACTOR: return EXIT_IDENTITY;
    case ERR_TIMEOUT:
    case ERR_CLOSED:
    case ERR_UNREACHABLE:
    case ERR_BUSY:
    case ERR_NO_QUORUM:
    case ERR_NOT_LEADER:
    case ERR_NOT_READY:
    case ERR_NOT_WITNESSED:
    case ERR_LOG_FULL:
    /* What only nodes say: it is not this machine that failed. */
    case ERR_QUARANTINED:
    case ERR_CLOCK:
    case ERR_STOPPED:
    case ERR_TOO_MANY_CONNECTIONS:
    case ERR_TOO_FEW_SHARES: return EXIT_NO_QUORUM;
    case ERR_WRONG_PEER:
    case ERR_OTHER_CLUSTER:
    case ERR_DECRYPT:
    case ERR_BAD_PROOF:
    case ERR_BAD_SHARE:
    case ERR_LEFT_OUT:
    case ERR_CHAIN:
    case ERR_ROOT:
    case ERR_DECISION:
    case ERR_CHECKPOINT:
    case ERR_TOO_FEW_COSIGNATURES: return EXIT_VERIFICATION;
    /* What was asked for is not what the ledger has. */
    case ERR_NOT_FOUND:
    case ERR_TAKEN:
    case ERR_UNCHANGED:
    case ERR_CONFLICT: return EXIT_CONFLICT;
    }
    return EXIT_FAILED;
}

enum err err_of_reason(unsigned reason)
{
    switch ((enum reason)reason) {
    case REASON_NONE: return OK;
    case REASON_NO_PERMISSION:
    case REASON_SCOPE:
    case REASON_CONFIDENTIALITY:
    case REASON_DISABLED:
    case REASON_KEY_REVOKED:
    case REASON_ROLE_NOT_GRANTABLE:
    case REASON_LAST_ADMINISTRATOR: return ERR_DENIED;
    case REASON_UNKNOWN_USER:
    case REASON_UNKNOWN_PATIENT:
    case REASON_NOT_A_PATIENT:
    case REASON_UNKNOWN_RECORD:
    case REASON_UNKNOWN_VERSION:
    case REASON_UNKNOWN_ROLE:
    case REASON_RECORD_DELETED:
    case REASON_UNKNOWN_ALARM:
    case REASON_KEY_UNKNOWN: return ERR_NOT_FOUND;
    case REASON_USER_EXISTS:
    case REASON_LOGIN_TAKEN:
    case REASON_RECORD_EXISTS:
    case REASON_KEY_EXISTS: return ERR_TAKEN;
    case REASON_CONFLICT: return ERR_CONFLICT;
    case REASON_KEY_NOT_ACTIVE: return ERR_NOT_READY;
    case REASON_TOO_MANY_KEYS: return ERR_TOO_LARGE;
    case REASON_ALARM_CLOSED:
    case REASON_UNCHANGED: return ERR_UNCHANGED;
    case REASON_POLICY_INVALID:
    case REASON_FIELDS: return ERR_INVALID;
    case REASON_NOT_A_MEMBER:
    case REASON_WRONG_PHASE:
    case REASON_WRONG_ATTEMPT:
    case REASON_ALREADY_DONE:
    case REASON_COMMITMENT:
    case REASON_TOO_EARLY:
    case REASON_ALREADY_RAISED:
    case REASON_TOO_MANY_ALARMS:
    case REASON_NOT_RAISER:
    case REASON_PROVEN:
    case REASON_CLAIMED:
    case REASON_NOT_CLAIMED:
    case REASON_ALREADY_TOLD:
    case REASON_TOO_SOON:
    case REASON_NOT_PROVEN:
    case REASON_NOT_ITS_TURN: return ERR_UNEXPECTED; /* of nodes only */
    }
    return ERR_DENIED; /* a newer node's reason */
}

/* --- text from others --- */

/* Characters that move the cursor, hide, or reorder what stands around them.
 * The two joiners (U+200C, U+200D) are part of ordinary words in some scripts. */
static bool is_harmful(utf8proc_int32_t c)
{
    if (c == 0x200c || c == 0x200d) return false;
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP: return true;
    default: return false; /* a library's enum: what is new there is no control character */
    }
}

void text_clean(struct buffer *out, struct bytes text, bool lines)
{
    for (size_t at = 0; at < text.size;) {
        utf8proc_int32_t c;
        utf8proc_ssize_t n = utf8proc_iterate(text.data + at, (utf8proc_ssize_t)(text.size - at), &c);
        if (n <= 0) {
            buffer_printf(out, "\\x%02x", text.data[at++]);
            continue;
        }
        if (c == '\n' || c == '\t')
            buffer_append_text(out, !lines ? " " : c == '\n' ? "\n" : "\t");
        else if (!is_harmful(c))
            buffer_append(out, text.data + at, (size_t)n);
        else if (c < 0x100)
            buffer_printf(out, "\\x%02x", (unsigned)c);
        else
            buffer_printf(out, "\\u{%04x}", (unsigned)c);
        at += (size_t)n;
    }
}

/* Cleaned, as a C string that the caller frees. */
static char *clean_text(const char *text, bool lines)
{
    struct buffer b = {0};
    text_clean(&b, bytes_text(text), lines);
    buffer_append(&b, "", 1);
    CHECK(!b.failed);
    return (char *)b.data;
}

void output_text(struct bytes text, bool lines)
{
    struct buffer clean = {0};
    text_clean(&clean, text, lines);
    CHECK(!clean.failed);
    fwrite(clean.data, 1, clean.size, stdout);
    buffer_free(&clean);
}

/* --- JSON values --- */

json_t *json_text(struct bytes text)
{
    json_t *value = json_stringn((const char *)text.data, text.size);
    if (value) return value;
    struct buffer b = {0};
    text_clean(&b, text, true);
    value = json_stringn((const char *)b.data, b.size);
    buffer_free(&b);
    CHECK(value != NULL);
    return value;
}

json_t *json_id(const struct id *id)
{
    if (id_is_zero(id)) return json_null();
    char text[ID_TEXT_SIZE];
    id_format(text, id);
    return json_string(text);
}

json_t *json_digest(const struct digest *digest)
{
    char text[2 * sizeof digest->bytes + 1];
    hex_format(text, digest->bytes, sizeof digest->bytes);
    return json_string(text);
}

json_t *json_time(uint64_t wall_ms)
{
    if (wall_ms == 0) return json_null();
    char text[CLOCK_TEXT_SIZE];
    clock_format(text, wall_ms);
    return json_string(text);
}

static void print_json(const json_t *value, size_t flags)
{
    if (isatty(STDOUT_FILENO)) flags |= JSON_ENSURE_ASCII;
    json_dumpf(value, stdout, flags | JSON_ENCODE_ANY);
    fputc('\n', stdout);
}

void output_json(struct output *o, json_t *value)
{
    output_progress_end(o);
    print_json(value, JSON_INDENT(2));
    json_decref(value);
}

/* --- tables --- */

void output_setup(struct output *o, bool json)
{
    const char *term = getenv("TERM"), *no_color = getenv("NO_COLOR");
    bool wanted = !(no_color && *no_color) && term && strcmp(term, "dumb") != 0;
    *o = (struct output){.json = json, .programs = json, .colors = !json && wanted && isatty(STDOUT_FILENO)};
}

/* "2026-01-31T12:34:56.789Z" as "2026-01-31 13:34:56" where people live. */
static char *local_time(const char *utc)
{
    struct tm tm = {0};
    const char *end = strptime(utc, "%Y-%m-%dT%H:%M:%S", &tm);
    if (!end) return clean_text(utc, false);
    time_t seconds = timegm(&tm);
    struct tm local;
    char text[64];
    if (!localtime_r(&seconds, &local)) return clean_text(utc, false);
    strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &local);
    return xstrdup(text);
}

/* What a table shows of a value; the caller frees. */
static char *cell_text(const struct column *column, const json_t *value)
{
    char number[32];
    if (json_is_string(value))
        return column->kind == COLUMN_TIME ? local_time(json_string_value(value))
                                           : clean_text(json_string_value(value), false);
    if (json_is_integer(value)) {
        snprintf(number, sizeof number, "%lld", (long long)json_integer_value(value));
        return xstrdup(number);
    }
    if (json_is_boolean(value)) return xstrdup(json_is_true(value) ? "yes" : "-");
    if (json_is_array(value)) {
        struct buffer b = {0};
        for (size_t i = 0; i < json_array_size(value); i++) {
            char *item = cell_text(column, json_array_get(value, i));
            buffer_printf(&b, "%s%s", i ? ", " : "", item);
            free(item);
        }
        buffer_append(&b, "", 1);
        CHECK(!b.failed);
        return (char *)b.data;
    }
    return xstrdup(column->kind == COLUMN_YES ? "-" : "");
}

static const char *verdict_color(const char *text)
{
    static const char *const good[] = {"approved", "ready", "leader", "follower",
                                       "yes",      "active", "verified", "equal"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        if (strcmp(text, good[i]) == 0) return "green";
    return *text && strcmp(text, "-") != 0 ? "red" : NULL;
}

/* Columns that a text takes. */
static size_t text_width(const char *text)
{
    size_t width = 0;
    utf8proc_int32_t c;
    for (utf8proc_ssize_t n; *text && (n = utf8proc_iterate((const utf8proc_uint8_t *)text, -1, &c)) > 0; text += n)
        width += (size_t)utf8proc_charwidth(c);
    return width;
}

static void widen(size_t *width, const char *text)
{
    size_t needed = text_width(text);
    if (needed > *width) *width = needed;
}

/* Sets o->widths to what the headings and these rows take; rows that follow only widen it. */
static void measure(struct output *o, const struct column *columns, size_t count, const json_t *rows, bool headings)
{
    CHECK(count <= OUTPUT_COLUMNS);
    for (size_t i = 0; i < count; i++) {
        if (headings) o->widths[i] = text_width(columns[i].heading);
        for (size_t j = 0; j < json_array_size(rows); j++) {
            char *text = cell_text(&columns[i], json_object_get(json_array_get(rows, j), columns[i].key));
            widen(&o->widths[i], text);
            free(text);
        }
    }
}

static void fill_line(const struct output *o, struct libscols_line *line, const struct column *columns, size_t count,
                      const json_t *row)
{
    for (size_t i = 0; i < count; i++) {
        char *text = cell_text(&columns[i], json_object_get(row, columns[i].key));
        if (o->colors && columns[i].kind == COLUMN_VERDICT)
            scols_cell_set_color(scols_line_get_cell(line, i), verdict_color(text));
        CHECK(scols_line_refer_data(line, i, text) == 0); /* takes the text over */
    }
}

static int column_flags(enum column_kind kind)
{
    switch (kind) {
    case COLUMN_NUMBER: return SCOLS_FL_RIGHT;
    case COLUMN_TEXT:
    case COLUMN_TIME:
    case COLUMN_YES:
    case COLUMN_VERDICT: break;
    }
    return 0;
}

/* The width to fit tables into: the terminal's, or COLUMNS where output goes elsewhere. 0: any. */
static size_t room_of_output(void)
{
    struct winsize size;
    if (isatty(STDOUT_FILENO)) return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
    const char *columns = getenv("COLUMNS");
    return columns ? (size_t)strtoul(columns, NULL, 10) : 0;
}

/* --- tables wider than the terminal --- */

/* One row on as many lines as it takes, cells under their headings, so that ids stay whole. */
struct fold {
    size_t room, indent; /* indent: of the second line and on */
    bool starts[OUTPUT_COLUMNS]; /* a line starts with this column */
};

static struct fold fold_of(const size_t *widths, size_t count, size_t room)
{
    struct fold f = {.room = room, .indent = widths[0] <= 8 ? widths[0] + 1 : 4, .starts = {true}};
    size_t used = widths[0];
    for (size_t i = 1; i < count; i++) {
        f.starts[i] = used + 1 + widths[i] > room;
        used = (f.starts[i] ? f.indent : used + 1) + widths[i];
    }
    return f;
}

static bool line_is_blank(char *const *cells, const struct fold *f, size_t from, size_t count)
{
    for (size_t i = from; i < count && (i == from || !f->starts[i]); i++)
        if (*cells[i]) return false;
    return true;
}

static void print_spaces(size_t n) { printf("%*s", (int)n, ""); }

/* Blanks are printed before the next cell only, so that no line ends with them. */
static void print_folded_row(const struct output *o, const struct column *columns, size_t count,
                             const struct fold *f, char *const *cells, bool headings)
{
    size_t owed = 0;
    bool skip = false;
    for (size_t i = 0; i < count; i++) {
        if (f->starts[i]) {
            skip = i > 0 && line_is_blank(cells, f, i, count);
            if (i > 0 && !skip) putchar('\n');
            owed = i > 0 ? f->indent : 0;
        }
        if (skip) continue;
        size_t blank = o->widths[i] - text_width(cells[i]);
        bool right = column_flags(columns[i].kind) & SCOLS_FL_RIGHT;
        const char *color = o->colors && !headings && columns[i].kind == COLUMN_VERDICT ? verdict_color(cells[i])
                                                                                        : NULL;
        if (*cells[i]) {
            print_spaces(owed + (right ? blank : 0));
            printf("%s%s%s", !color ? "" : *color == 'g' ? "\x1b[32m" : "\x1b[31m", cells[i], color ? "\x1b[0m" : "");
            owed = 1 + (right ? 0 : blank);
        } else {
            owed += 1 + o->widths[i];
        }
    }
    putchar('\n');
}

static void print_folded(const struct output *o, const struct column *columns, size_t count, const json_t *rows,
                         bool headings, size_t room)
{
    struct fold f = fold_of(o->widths, count, room);
    char *cells[OUTPUT_COLUMNS];
    for (size_t i = 0; i < count; i++)
        cells[i] = (char *)columns[i].heading;
    if (headings) print_folded_row(o, columns, count, &f, cells, true);
    for (size_t j = 0; j < json_array_size(rows); j++) {
        for (size_t i = 0; i < count; i++)
            cells[i] = cell_text(&columns[i], json_object_get(json_array_get(rows, j), columns[i].key));
        print_folded_row(o, columns, count, &f, cells, false);
        for (size_t i = 0; i < count; i++)
            free(cells[i]);
    }
}

static void print_table(struct output *o, const struct column *columns, size_t count, const json_t *rows,
                        bool headings)
{
    measure(o, columns, count, rows, headings);
    size_t room = room_of_output(), wanted = count - 1;
    for (size_t i = 0; i < count; i++)
        wanted += o->widths[i];
    if (room > 0 && wanted > room) {
        print_folded(o, columns, count, rows, headings, room);
        return;
    }
    struct libscols_table *table = scols_new_table();
    CHECK(table != NULL);
    scols_table_set_stream(table, stdout);
    scols_table_enable_noheadings(table, !headings);
    scols_table_enable_noencoding(table, 1); /* text_clean has done it, and shows more */
    scols_table_enable_colors(table, o->colors);
    /* Ids must stay whole to be copied: what doesn't fit is folded (above), never cut. */
    scols_table_set_termforce(table, SCOLS_TERMFORCE_NEVER);
    for (size_t i = 0; i < count; i++) {
        /* A width of 1 and more is the least in characters; the last column needs none. */
        double least = headings || i + 1 == count ? 0 : (double)o->widths[i];
        CHECK(scols_table_new_column(table, columns[i].heading, least, column_flags(columns[i].kind)) != NULL);
    }
    for (size_t i = 0; i < json_array_size(rows); i++) {
        struct libscols_line *line = scols_table_new_line(table, NULL);
        CHECK(line != NULL);
        fill_line(o, line, columns, count, json_array_get(rows, i));
    }
    scols_print_table(table);
    scols_unref_table(table);
}

void output_rows(struct output *o, const struct column *columns, size_t count, json_t *rows, const char *empty)
{
    output_progress_end(o);
    if (o->json)
        print_json(rows, JSON_INDENT(2));
    else if (json_array_size(rows) > 0)
        print_table(o, columns, count, rows, true);
    else if (empty)
        output_message(o, "%s", empty);
    fflush(stdout);
    json_decref(rows);
}

void output_more_rows(struct output *o, const struct column *columns, size_t count, json_t *rows)
{
    output_progress_end(o);
    for (size_t i = 0; o->json && i < json_array_size(rows); i++)
        print_json(json_array_get(rows, i), JSON_COMPACT);
    if (!o->json && json_array_size(rows) > 0) print_table(o, columns, count, rows, false);
    fflush(stdout);
    json_decref(rows);
}

void output_fields(struct output *o, const struct column *columns, size_t count, json_t *object)
{
    output_progress_end(o);
    int width = 0;
    for (size_t i = 0; i < count; i++)
        if ((int)strlen(columns[i].heading) > width) width = (int)strlen(columns[i].heading);
    for (size_t i = 0; !o->json && i < count; i++) {
        char *text = cell_text(&columns[i], json_object_get(object, columns[i].key));
        if (*text) printf("%-*s  %s\n", width, columns[i].heading, text);
        free(text);
    }
    if (o->json) print_json(object, JSON_INDENT(2));
    fflush(stdout);
    json_decref(object);
}

/* --- standard error --- */

static struct {
    pthread_mutex_t lock;
    bool progress;      /* the last line is one of output_progress */
    const char *prompt; /* what a person is asked now, or NULL */
} error_stream = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Behind what stands there; a question stays, and what was typed. */
static void begin_error(const struct output *o)
{
    if (!o->beside) fflush(stdout);
    pthread_mutex_lock(&error_stream.lock);
    if (error_stream.progress) fputs("\r\x1b[K", stderr);
    if (error_stream.prompt) fputc('\n', stderr);
    error_stream.progress = false;
}

static void end_error(void)
{
    if (error_stream.prompt) fputs(error_stream.prompt, stderr);
    fflush(stderr);
    pthread_mutex_unlock(&error_stream.lock);
}

/* One line, in one write, so that lines of two processes don't mix; also where a node's text in it has several, which
 * else would look like this program's own words. */
static void print_error_line(const struct output *o, const char *prefix, const char *text)
{
    char *clean = clean_text(text, false);
    struct buffer b = {0};
    buffer_printf(&b, "%s%s\n", prefix, clean);
    begin_error(o);
    if (!b.failed) fwrite(b.data, 1, b.size, stderr);
    end_error();
    buffer_free(&b);
    free(clean);
}

void output_error_json(struct output *o, json_t *value)
{
    char *line = json_dumps(value, JSON_COMPACT | JSON_ENSURE_ASCII);
    begin_error(o);
    if (line) fprintf(stderr, "%s\n", line);
    end_error();
    free(line);
    json_decref(value);
}

void output_message(struct output *o, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    print_error_line(o, "consilium: ", text);
}

int output_failure(struct output *o, const struct failure *failure)
{
    const char *text = failure->text[0] ? failure->text : err_text(failure->code);
    /* What is said about a missing key says what to do already; who said no needs no advice. */
    bool told = failure->text[0] && (failure->code == ERR_NO_KEY || failure->code == ERR_CANCELED);
    const char *next = told ? "" : err_hint(failure->code);
    char help[64];
    if (failure->code == ERR_USAGE && o->command) {
        snprintf(help, sizeof help, "see 'consilium %s --help'", o->command);
        next = help;
    }
    if (o->json) {
        json_t *text_value = json_text(bytes_text(text));
        json_t *value = json_pack("{s:s, s:i, s:o, s:s}", "error", err_name(failure->code), "code",
                                  (int)failure->code, "text", text_value, "next", next);
        CHECK(value != NULL);
        output_error_json(o, value);
    } else {
        print_error_line(o, "consilium: ", text);
        if (*next) {
            char advice[400];
            snprintf(advice, sizeof advice, "%s.", next);
            print_error_line(o, "What to do: ", advice);
        }
    }
    return exit_code_of(failure->code);
}

void output_progress(struct output *o, const char *format, ...)
{
    if (o->json || !isatty(STDERR_FILENO)) return;
    char text[200];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    char *clean = clean_text(text, false);
    pthread_mutex_lock(&error_stream.lock);
    fprintf(stderr, "\r%s\x1b[K", clean);
    error_stream.progress = true;
    end_error();
    free(clean);
}

void output_progress_end(struct output *o)
{
    if (o->json) return; /* there is none */
    pthread_mutex_lock(&error_stream.lock);
    if (error_stream.progress) fputs("\r\x1b[K", stderr);
    error_stream.progress = false;
    end_error();
}

void output_prompt(const char *question)
{
    pthread_mutex_lock(&error_stream.lock);
    error_stream.prompt = question;
    end_error();
}
