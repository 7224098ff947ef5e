/* What a running command has at hand; each part is opened when first needed. */
#ifndef CLI_TOOL_H
#define CLI_TOOL_H

#include <stdbool.h>

#include "cli/cluster.h"
#include "cli/collective.h"
#include "cli/command_line.h"
#include "cli/signer.h"
#include "cli/output.h"
#include "cli/receipt_files.h"
#include "cli/settings.h"
#include "cli/submit.h"

struct tool {
    const struct command_line *line;
    const struct command *commands;
    struct settings settings;
    struct output output;
    struct failure failure; /* of the last step */
    struct receipt_files receipts; /* of --receipt */

    bool cluster_opened, signer_opened, collective_known;
    struct cluster cluster;
    struct signer signer;
    struct collective collective;
};

/* Each is idempotent; on an error tool->failure says why. */
enum err tool_cluster(struct tool *t);    /* the genesis file, no connection */
enum err tool_signer(struct tool *t);   /* unlocked; open alarms are said before an error, once tool_cluster is done */
enum err tool_collective(struct tool *t); /* the records' collective key, proved */
void tool_close(struct tool *t);

/* Prints tool->failure; its exit code. */
int tool_failed(struct tool *t);

/* Submits one operation. OK: approved and co-signed, *out is set (zero it
 * before; free with submission_free in every case). A denial is an error
 * (err_of_reason) with the entry and the reason in tool->failure. A query whose
 * rows were lost on the way is asked anew. */
enum err tool_submit(struct tool *t, struct submission *out, const struct draft *draft);

/* --receipt: the proofs of this run's entries, approved or denied (cli/receipt_files.h).
 * tool_receipt_begin: an error where the place can't be used, before anything is recorded.
 * tool_receipt_keep says itself what went wrong, for the entry stands all the same.
 * tool_receipt_end: the exit code, which is not EXIT_DONE any more where a receipt is
 * missing, or there is nothing to prove. */
enum err tool_receipt_begin(struct tool *t);
void tool_receipt_keep(struct tool *t, uint64_t index, struct bytes receipt);
int tool_receipt_end(struct tool *t, int code);

/* Operand i, CHECKed to be there. */
const char *tool_operand(const struct tool *t, size_t i);
/* "--yes", or the person says yes. */
enum err tool_confirm(struct tool *t, const char *question);
/* --purpose CODE, or `otherwise`. */
enum err tool_purpose(struct tool *t, enum purpose *out, enum purpose otherwise);
/* --limit N and --cursor HEX of commands that page. The cursor is allocated. */
enum err tool_page(struct tool *t, uint32_t *limit, uint32_t otherwise, uint32_t most, struct buffer *cursor);
/* How to go on, where the answer goes on, and how many rows policy withheld, if any: with --json as a last
 * object of `rows`, {"next": HEX or null, "left_out": N}, of which there is none at the end of all; without, on
 * standard error. Before the rows are printed, and after. */
void tool_page_mark(const struct tool *t, json_t *rows, struct bytes cursor, uint64_t left_out);
void tool_page_end(struct tool *t, struct bytes cursor, uint64_t left_out);
/* "done": the entry that says so, with `more` fields (taken over, may be NULL) above it. */
int tool_done(struct tool *t, const struct submission *s, const struct column *columns, size_t count, json_t *more);

#endif
