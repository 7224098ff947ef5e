/* Rows of the log that a node shows, checked against the ledger that k nodes co-signed.
 *
 * For each row the node gives the leaf and its inclusion proof under a witnessed
 * checkpoint; the row is then made anew from the leaf, and compared byte for byte.
 * What a leaf does not say is the role that its actor had then (it follows from
 * earlier leaves; `verify` checks them all): that word is the node's, and is shown as such
 * ("role_said"; the heading ROLE (UNPROVED)). A note is
 * checked against its hash in the leaf; that one is left out can't be told from an erasure. */
#ifndef CLI_PROVED_ROWS_H
#define CLI_PROVED_ROWS_H

#include "cli/rows.h"
#include "cli/submit.h"
#include "ledger/leaf.h"

/* Whether that row is the one of this leaf, which is proved. Pure. */
bool row_fits_leaf(const struct log_row *row, const struct leaf *leaf);

/* Sets proved[i] for each row that `query` (an approved log.query of this identity)
 * brought. ERR_BAD_PROOF and the like: the node's proof as a whole is none, and
 * nothing is proved; or the connection's errors. */
enum err rows_prove(bool *proved, struct cluster *cluster, const struct submission *query, const struct log_row *rows,
                    uint32_t count, struct failure *failure);

#endif
