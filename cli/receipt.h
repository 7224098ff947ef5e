/* What a client checks before it says "done": pure functions of bytes. */
#ifndef CLI_RECEIPT_H
#define CLI_RECEIPT_H

#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "ledger/checkpoint.h"
#include "ledger/genesis.h"
#include "ledger/leaf.h"

/* A note under k cosignatures of the genesis' members, and the leaf in its tree.
 * `out` points into `leaf`. ERR_CHECKPOINT, ERR_TOO_FEW_COSIGNATURES,
 * ERR_OTHER_CLUSTER (the note's origin is another cluster's), ERR_BAD_PROOF,
 * ERR_MALFORMED; all of them mean: do not trust the sender. */
enum err receipt_check_leaf(struct leaf *out, const struct genesis *genesis, struct bytes note, struct bytes leaf,
                          const struct digest *hashes, uint32_t count, struct failure *failure);
/* The two halves of it, for several leaves under one note. */
enum err receipt_check_note(struct checkpoint *out, const struct genesis *genesis, struct bytes note,
                            struct failure *failure);
enum err receipt_check_inclusion(struct leaf *out, const struct genesis *genesis, const struct checkpoint *checkpoint,
                                 struct bytes leaf, const struct digest *hashes, uint32_t count,
                                 struct failure *failure);
/* That leaf holds exactly this operation, signed by this key. */
enum err receipt_check_operation(const struct leaf *leaf, struct bytes operation, const struct sign_public *key,
                               struct failure *failure);

/* --- receipts kept as files (ledger/tlog_proof.h) --- */

/* What a receipt says, once checked. Views into what receipt_check was given. */
struct receipt {
    struct leaf leaf;
    struct checkpoint checkpoint;
    uint32_t cosigners; /* bit i: member i + 1 of the genesis has cosigned */
};
/* Appends the file's text. */
void receipt_format(struct buffer *out, struct bytes leaf, uint64_t index, const struct digest *hashes, uint32_t count,
                    struct bytes note);
/* All of it, without any node. `room` holds what `out` points into, and is the
 * caller's to free. The errors of receipt_check_leaf; text that is no receipt, or one
 * without its entry, is ERR_BAD_PROOF, too. */
enum err receipt_check(struct receipt *out, struct buffer *room, const struct genesis *genesis, struct bytes text,
                       struct failure *failure);

/* The same for one of many: `last` (zero at first; the caller frees its text) holds the checkpoint that was checked
 * last, which receipts of one run often share. */
struct receipt_note {
    struct buffer text;
    struct checkpoint checkpoint;
    uint32_t cosigners;
};
enum err receipt_check_next(struct receipt *out, struct buffer *room, struct receipt_note *last,
                            const struct genesis *genesis, struct bytes text, struct failure *failure);

#endif
