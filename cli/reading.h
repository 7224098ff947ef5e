/* Reading records: one operation, the rows that it opens, and their content. */
#ifndef CLI_READING_H
#define CLI_READING_H

#include "cli/content.h"
#include "cli/rows.h"
#include "cli/tool.h"
#include "ledger/arguments.h"

/* Zero-initialise; reading_end in every case. */
struct reading {
    struct submission submission;
    struct reader reader;
    struct record_row *rows; /* owned; views into the submission */
    uint32_t count;
    struct bytes cursor;
    uint64_t left_out;
};

/* record.read with a fresh reader's key (args->reader_key is set here). */
enum err reading_ask(struct tool *t, struct reading *r, struct args_record_read *args);
/* The latest version, or that one, of one record. */
enum err reading_ask_record(struct tool *t, struct reading *r, const struct id *record, uint64_t version);
/* Opens all rows' content, in order; each is checked to be the version its row
 * names. As content_open. */
enum err reading_open(struct tool *t, struct reading *r,
                      enum err (*take)(void *data, uint32_t position, struct opened_content *item), void *data);
/* The content of a reading with one row. `out`: secret_wipe_buffer. */
enum err reading_open_one(struct tool *t, struct reading *r, struct buffer *out);
void reading_end(struct reading *r);

#endif
