/* Exported entries as rows, one an entry: NDJSON (https://github.com/ndjson/ndjson-spec), or CSV
 * (RFC 4180) that a spreadsheet opens without running anything.
 *
 * The columns are those of `log`, as far as an entry itself proves them: people and records by id. The
 * actor's role then and notes are no part of an entry, so they are not here; its hash is. */
#ifndef CLI_EXPORT_ROWS_H
#define CLI_EXPORT_ROWS_H

#include <stdio.h>

#include "cli/export.h"

enum row_format { ROWS_NDJSON, ROWS_CSV };

struct row_writer {
    FILE *file;       /* NULL: could not be made */
    const char *path; /* NULL: standard output */
    char *temporary;  /* becomes `path` when all is there */
    enum row_format format;
    uint64_t from, to; /* entries that are written, of the tiles that come: set before the first */
    uint64_t rows;
    struct buffer line;
};
/* `path` NULL: standard output. ERR_EXISTS: never over a file. row_writer_free in every case. */
enum err row_writer_open(struct row_writer *w, const char *path, enum row_format format, struct failure *failure);
struct export_sink row_writer_sink(struct row_writer *w);
enum err row_writer_finish(struct row_writer *w, struct failure *failure);
void row_writer_free(struct row_writer *w);

/* One entry as a line; appends. Errors of leaf_decode. */
enum err row_format_leaf(struct buffer *out, enum row_format format, struct bytes leaf, const struct digest *hash);
/* The line of headings; none in NDJSON. */
void row_format_head(struct buffer *out, enum row_format format);
/* A field of CSV: quoted where RFC 4180 needs it. A text that a spreadsheet would take for a formula
 * (= + - @, tab, return at its start) gets an apostrophe before it. */
void csv_field(struct buffer *out, struct bytes text);

#endif
