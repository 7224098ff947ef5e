/* Reading records: one operation, the rows that it opens, and their content. */
#ifndef CLI_READING_H
#define CLI_READING_H

#include "cli/content.h"
#include "cli/rows.h"
#include "cli/tool.h"
#include "ledger/arguments.h"

/* Zero-initialise; reading_end in every case. */
struct reading {
    struct args_record_read args; /* its views are the caller's, and live as long */
    struct submission submission;
    struct reader reader;
    struct record_row *rows; /* owned; views into the submission */
    uint32_t count;
    struct bytes cursor;
    uint64_t left_out;
    uint32_t member; /* whose answer that is: one node's word, until it is opened */
    bool wrong;      /* that answer: another node may give a right one */
    uint32_t asked;  /* times */
    bool opened;     /* something was given to `take` */
};

/* record.read with a fresh reader's key (args->reader_key is set here). Where an answer is wrong, here or in
 * reading_open, the read is asked for once more at another node, as another entry, which is said: n times in all. */
enum err reading_ask(struct tool *t, struct reading *r, const struct args_record_read *args);
/* The latest version, or that one, of one record. */
enum err reading_ask_record(struct tool *t, struct reading *r, const struct id *record, uint64_t version);
/* Opens all rows' content, in order; each is checked to be the version its row
 * names. As content_open: OK says, too, that k nodes have signed how many rows, and what else, the answer should have.
 * As long as nothing was taken another node may be asked: so look at rows, cursor and left_out only after this. A row's
 * kind, time and entry stay one node's word. */
enum err reading_open(struct tool *t, struct reading *r,
                      enum err (*take)(void *data, uint32_t position, struct opened_content *item), void *data);
/* The content of a reading with one row. `out`: secret_wipe_buffer. */
enum err reading_open_one(struct tool *t, struct reading *r, struct buffer *out);
void reading_end(struct reading *r);

#endif
