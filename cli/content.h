/* Record content: closed before it leaves this machine, opened only here. */
#ifndef CLI_CONTENT_H
#define CLI_CONTENT_H

#include "base/bytes.h"
#include "base/error.h"
#include "cli/collective.h"
#include "cli/shares.h"
#include "cli/submit.h"
#include "crypto/seal.h"
#include "ledger/record.h"

/* Encrypts `plain` for the place that `context` names and encapsulates the key:
 * appends the content attachment's bytes (ledger/attachment.h). ERR_RECORD_TOO_LARGE. */
enum err content_close(struct buffer *out, const struct collective *key, const struct record_context *context,
                       struct bytes plain, struct failure *failure);

/* One opened version. */
struct opened_content {
    struct record_context context;
    struct buffer plain; /* owned; secret_wipe_buffer */
};

/* Opens the items from `first` on of what the approved read (outcome 0 of
 * `read`) opens, and gives each in order to `take` (which may keep item->plain by
 * zeroing it). `extent`: what the read opens in all, by its answer, which is one node's word.
 * OK also says that k nodes have signed that. ERR_LEFT_OUT: more nodes than may lie have signed another one.
 * A wrong share is detected, its node named on standard error, and
 * others' shares used; content that the serving node altered likewise, and
 * another node serves. ERR_TOO_FEW_SHARES, ERR_DECRYPT, ERR_BAD_SHARE; what
 * `take` returns ends it. */
enum err content_open(struct cluster *cluster, const struct collective *key, const struct reader *reader,
                      const struct submission *read, uint32_t first, const struct read_extent *extent,
                      enum err (*take)(void *data, uint32_t position, struct opened_content *item), void *data,
                      struct failure *failure);

#endif
