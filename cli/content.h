/* Record content: closed before it leaves this machine, opened only here. */
#ifndef CLI_CONTENT_H
#define CLI_CONTENT_H

#include "base/bytes.h"
#include "base/error.h"
#include "cli/cluster.h"
#include "cli/collective.h"
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

/* A reader's ephemeral key pair; wiped by the caller. */
struct reader {
    struct seal_public public_key;
    struct seal_secret secret;
};

/* Opens items first .. first + count - 1 of what the approved read at
 * `leaf_index` opens, and gives each in order to `take` (which may keep
 * item->plain by zeroing it). A share that does not fit is detected: its node is
 * named on standard error, and others' shares are used. ERR_TOO_FEW_SHARES,
 * ERR_DECRYPT, ERR_BAD_SHARE; what `take` returns ends it. */
enum err content_open(struct cluster *cluster, const struct collective *key, const struct reader *reader,
                      uint64_t leaf_index, uint32_t first, uint32_t count,
                      enum err (*take)(void *data, uint32_t position, struct opened_content *item), void *data,
                      struct failure *failure);

#endif
