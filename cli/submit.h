/* From an operation to "done": sign, send, wait, check, and find out what became
 * of it when a node dies on the way.
 *
 * A request is signed once and sent again, as the same bytes, through another
 * node until its deadline: the ledger drops duplicates, so this is safe. Only
 * LOOKUP tells afterwards; a new signature is made only when the witnessed time
 * is past issued_at + 5 minutes, since then the old one can't get in any more.
 */
#ifndef CLI_SUBMIT_H
#define CLI_SUBMIT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/limits.h"
#include "cli/cluster.h"
#include "cli/signer.h"
#include "ledger/action.h"
#include "ledger/operation.h"

/* What is to be asked for. */
struct draft {
    enum action action;
    struct bytes args; /* the encoded array */
    enum purpose purpose;
    bool attached;
    struct bytes attachment; /* what goes into the attachment, without its salt */
};

/* What became of it, from the checked leaf. */
struct outcome {
    enum err code; /* OK: in the ledger; else why it was refused without a leaf */
    uint64_t index, time_ms;
    enum decision decision;
    uint32_t reason;
    struct buffer answer; /* [rows, cursor, left_out]; owned. Not provable: one node's word. Empty: ask anew */
    uint32_t member;      /* whose: maybe not the one that proved the entry */
    struct buffer receipt; /* its proof as a file (cli/receipt.h); owned; empty where there is no entry */
};

struct submission {
    uint32_t count;
    struct outcome outcomes[LIMIT_OPERATIONS];
    struct id request_ids[LIMIT_OPERATIONS];
    uint64_t issued_at_ms;
    struct buffer request; /* as it was signed, for sending it again */
};

/* All drafts (1 .. LIMIT_OPERATIONS) as one request, within the cluster's
 * time-out. OK: each is in the ledger, approved or denied, under a checkpoint
 * that k nodes co-signed, and checked, or was refused without a leaf
 * (outcomes[i].code). ERR_NOT_WITNESSED: recorded, not yet co-signed.
 * ERR_NO_QUORUM, ERR_UNREACHABLE: unknown, or not recorded; the text says which
 * and gives the request token. A node whose receipt does not verify is named and
 * another one asked; where none is left, the proof's error. Free in every case. */
enum err submit(struct submission *out, struct cluster *cluster, const struct signer *signer,
                const struct draft *drafts, uint32_t count, struct failure *failure);
void submission_free(struct submission *s);

/* Sends the same bytes to the node that we are connected to now: it refuses them
 * as a duplicate, but knows from then on whose session this is (CONTENT, SHARES
 * and FOLLOW are answered only to the one who asked). */
enum err submit_again(struct cluster *cluster, const struct submission *s, struct failure *failure);

/* "ISSUED_MS-REQUESTID", what `consilium lookup` takes. */
#define REQUEST_TOKEN_SIZE 64
void request_token_format(char out[static REQUEST_TOKEN_SIZE], uint64_t issued_at_ms, const struct id *request);
enum err request_token_parse(uint64_t *issued_at_ms, struct id *request, const char *text);

enum fate {
    FATE_RECORDED,     /* index, decision, reason are set */
    FATE_NOT_RECORDED, /* and never will be: sign anew */
    FATE_UNKNOWN,
};
struct found {
    enum fate fate;
    uint64_t index;
    uint32_t decision, reason;
    uint64_t witnessed_time_ms;
    uint32_t member; /* the node that said so */
};
/* Asks the nodes until one knows it; all of them before it says otherwise. */
enum err submit_lookup(struct found *out, struct cluster *cluster, const struct signer *signer,
                       uint64_t issued_at_ms, const struct id *request, struct failure *failure);

#endif
