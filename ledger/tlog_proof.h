/* Receipts as C2SP tlog-proof: an entry, its place in the tree, and the checkpoint
 * that witnesses it, verifiable without any node. https://c2sp.org/tlog-proof
 *
 *   c2sp.org/tlog-proof@v1
 *   extra base64(leaf)                 ours: the leaf itself, so that its hash and its words follow
 *   index 57
 *   base64(hash)                       the inclusion proof, RFC 6962 section 2.1.1, leaf's sibling first
 *   ...
 *                                      (an empty line)
 *   the checkpoint, verbatim           ledger/checkpoint.h
 *
 * Pure; any thread. */
#ifndef LEDGER_TLOG_PROOF_H
#define LEDGER_TLOG_PROOF_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/limits.h"
#include "ledger/tree.h"

struct tlog_proof {
    bool has_extra;
    struct bytes extra; /* nothing in it is authenticated but by what follows from it */
    uint64_t index;
    struct tree_proof path;
    struct bytes note; /* not looked at here */
};

/* Appends. Without has_extra the line is left out. The note is not empty (CHECK). */
void tlog_proof_format(struct buffer *out, const struct tlog_proof *proof);
/* Strict: exactly the text that tlog_proof_format writes for what was read. `out->note`
 * is a view into `text`, `out->extra` one into `extra`, which gets its bytes (cleared
 * first). ERR_SYNTAX with the line, ERR_TOO_LARGE above LIMIT_RECEIPT, ERR_NOMEM. */
enum err tlog_proof_parse(struct tlog_proof *out, struct buffer *extra, struct bytes text, struct failure *failure);

#endif
