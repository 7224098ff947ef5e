/* What people and programs see: tables and fields on standard output (or JSON),
 * everything else on standard error; exit codes.
 *
 * Text that comes from others (names, notes, nodes' messages, record content)
 * may hold escape sequences that take over a terminal. Whatever is printed here
 * goes through text_clean, and JSON for a terminal is escaped to ASCII.
 */
#ifndef CLI_OUTPUT_H
#define CLI_OUTPUT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/bytes.h"
#include "base/error.h"

enum exit_code {
    EXIT_DONE = 0,
    EXIT_FAILED = 1,
    EXIT_USAGE = 2,
    EXIT_DENIED = 3,
    EXIT_IDENTITY = 4,
    EXIT_NO_QUORUM = 5,
    EXIT_VERIFICATION = 6,
    EXIT_CONFLICT = 7,
};
int exit_code_of(enum err code);
/* What a denied operation's reason is as an error: ERR_DENIED where the policy
 * forbids it, else ERR_CONFLICT, ERR_NOT_FOUND, ERR_TAKEN ... */
enum err err_of_reason(unsigned reason);

#define OUTPUT_COLUMNS 24

struct output {
    bool json;
    bool programs; /* --json was given: warnings are JSON lines, too */
    bool colors; /* standard output is a terminal that wants them */
    bool beside; /* of a thread beside the command's own: its messages don't wait for standard output */
    const char *command; /* whose --help to point at; NULL: none in particular */
    size_t widths[OUTPUT_COLUMNS]; /* of the last table, so that rows that follow stand below it */
};
/* Looks at the terminal, NO_COLOR (https://no-color.org) and TERM. */
void output_setup(struct output *o, bool json);

/* How a value of a row is shown in a table; JSON gets it as it is. */
enum column_kind {
    COLUMN_TEXT,    /* a string */
    COLUMN_NUMBER,  /* an integer, to the right */
    COLUMN_TIME,    /* an RFC 3339 string, shown in local time */
    COLUMN_YES,     /* a boolean: "yes" or "-" */
    COLUMN_VERDICT, /* a string; green "approved", "ready", "equal" ..., red "denied", "unreachable" */
};
struct column {
    const char *key, *heading;
    enum column_kind kind;
};

/* A table of objects, or with --json the array. Takes over `rows`. `empty` is
 * said (on standard error) where there are none. */
void output_rows(struct output *o, const struct column *columns, size_t count, json_t *rows, const char *empty);
/* The same without headings, for rows that follow an earlier table; JSON: an object a line. */
void output_more_rows(struct output *o, const struct column *columns, size_t count, json_t *rows);
/* "heading: value" lines of one object, or with --json the object. Takes it over. */
void output_fields(struct output *o, const struct column *columns, size_t count, json_t *object);
/* Prints JSON, whatever the mode. Takes it over. */
void output_json(struct output *o, json_t *value);

/* Standard error is one for all threads of a program: what these write doesn't mix.
 * A line on it, "consilium: " before it. */
void output_message(struct output *o, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* What happened, and what to do next; as one JSON line with --json. Returns exit_code_of(code). */
int output_failure(struct output *o, const struct failure *failure);
/* A JSON line on standard error. Takes it over. */
void output_error_json(struct output *o, json_t *value);
/* What is going on now, on a terminal only; replaced by whatever comes next. */
void output_progress(struct output *o, const char *format, ...) __attribute__((format(printf, 2, 3)));
void output_progress_end(struct output *o);
/* A question to a person at the terminal: shown now, and again behind whatever other threads say, until
 * it is NULL. Stays the caller's, and must live so long. */
void output_prompt(const char *question);

/* Appends `text` fit for a terminal: control and format characters (also those
 * that reorder text) and invalid UTF-8 become \xNN or \u{NNNN}; tabs and
 * newlines stay when `lines` is set, else become spaces. */
void text_clean(struct buffer *out, struct bytes text, bool lines);
/* The same to standard output. */
void output_text(struct bytes text, bool lines);
/* The same as a JSON string, allocated: for values of rows, where only invalid UTF-8 has to go. */
json_t *json_text(struct bytes text);
json_t *json_id(const struct id *id);       /* its 26 characters; null for the zero id */
json_t *json_digest(const struct digest *digest); /* hex */
json_t *json_time(uint64_t wall_ms);        /* RFC 3339; null for 0 */

#endif
