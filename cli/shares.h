/* Shares of opened items: which nodes' fit, who lied, and the content's key.
 * Pure: bytes in, verdicts out. */
#ifndef CLI_SHARES_H
#define CLI_SHARES_H

#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/limits.h"
#include "cli/collective.h"
#include "crypto/seal.h"
#include "crypto/tdh2.h"
#include "ledger/genesis.h"
#include "net/protocol.h"

/* A reader's ephemeral key pair, one for each read; wiped by the caller. */
struct reader {
    struct seal_public public_key;
    struct seal_secret secret;
};

/* Bit i = member index i. */
typedef uint32_t member_set;
#define MEMBER(i) ((member_set)1 << (i))

/* What the nodes sealed for us when they were asked so. */
struct share_set {
    struct share_ask ask;
    uint32_t holder_count;
    struct holder {
        uint32_t member;
        struct share_item *items; /* owned; ask.count of them */
    } holders[LIMIT_NODES];
    member_set unsigned_set; /* sent in these members' names, but without their signature as an answer to this */
    member_set wrong;        /* signed by these members as an answer to this, but none */
    member_set elsewhere;    /* signed by these holders: that the read opens other items in all than the answer says */
};

/* From the body of a SHARED message; `extent`: what the read opens in all, by its answer. ERR_MALFORMED and the like:
 * the serving node's fault. Free in every case. */
enum err share_set_read(struct share_set *out, const struct genesis *genesis, const struct reader *reader,
                        const struct share_ask *ask, const struct read_extent *extent, struct bytes body);
void share_set_free(struct share_set *s);

/* One item to open. */
struct sealed_item {
    struct tdh2_capsule capsule;
    struct digest label, context_hash;
};

/* Of the holders' shares of one item. */
struct share_sorts {
    member_set fitting; /* for that label and epoch */
    member_set other;   /* for another, or of members who are in `elsewhere` */
    member_set none;    /* who give none: to them it is erased, or not there yet */
};
struct share_sorts share_set_sort(const struct share_set *s, uint32_t position, const struct digest *label,
                                  uint64_t epoch);
/* Those of `members` whose share of item `position` carries a proof that verifies (*proved),
 * and those whose proof is missing or wrong (*refuted). */
void share_set_verify(member_set *proved, member_set *refuted, const struct share_set *s, uint32_t position,
                      const struct collective *key, const struct sealed_item *item, member_set members);
/* The content's key from the first k of `members`, whoever lied. ERR_TOO_FEW_SHARES; ERR_BAD_SHARE: a share or the
 * capsule is wrong, which proofs tell. Wiped by the caller. */
enum err share_set_open(uint8_t key[static 32], const struct share_set *s, uint32_t position,
                        const struct collective *collective, const struct sealed_item *item, member_set members,
                        uint32_t k);
/* The same where share_set_verify has proved all of `members`. */
enum err share_set_open_proved(uint8_t key[static 32], const struct share_set *s, uint32_t position,
                               const struct sealed_item *item, member_set members, uint32_t k);

uint32_t member_count(member_set set);

#endif
