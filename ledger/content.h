/* Attachments of approved leaves: kept, and what this node notes of them (the
 * capsule and hash that shares are computed from; people's names). Those of denied
 * leaves are not kept: nobody fills disks without permission.
 */
#ifndef LEDGER_CONTENT_H
#define LEDGER_CONTENT_H

#include "ledger/rules.h"

/* Whether the leaf of this operation has an attachment to keep. */
bool content_kept(const struct operation *op, enum decision decision);

/* What this node notes of a record's content (table content_info), from the attachment's bytes.
 * *any false: the operation brings none, or it has another shape: nobody can open it, and that its
 * author's node let it pass changes no state. ERR_NOMEM. */
enum err content_describe(struct content_info *out, bool *any, const struct arguments *args, const struct operation *op,
                          struct bytes bytes);

/* Stores an attachment that was checked against its hash. `ledger` may be NULL. */
enum err content_store(struct ledger *ledger, struct table_txn *txn, uint64_t index, const struct arguments *args,
                       const struct operation *op, struct bytes attachment);

/* Of the step's leaf: stores it when it is here, else notes that it is missing. */
void content_put(struct step *step);

#endif
