/* Key generation over the ledger: its replicated state.
 *
 * R. Gennaro et al.: "Secure Distributed Key Generation for Discrete-Log Based
 * Cryptosystems" (J. Cryptology 2007) calls this joint Feldman; commitments by
 * hash come first here, so that nobody chooses a polynomial after seeing others'.
 *
 *   COMMIT    key.commit of each dealer. The first one starts the phase's time.
 *   REVEAL    key.reveal of each that committed: it must match (REASON_COMMITMENT).
 *   CONFIRM   key.confirm of each member that holds, or complains about, the
 *             sub-shares of all dealers that revealed. Not only dealers receive: a
 *             member that came too late to deal does as well. key.answer of a dealer
 *             complained about publishes that sub-share; apply checks it against the
 *             commitments.
 *   ANSWER    only while complaints are open: no new ones, only answers.
 *   READY     at least k dealers qualify. Y and the Y_i follow from their
 *             commitments; any member states them with key.activate.
 *   ACTIVE    that leaf is the activation leaf: it carries Y and the Y_i, and
 *             clients take them from it alone.
 *
 * A phase ends when all have done their part, or by key.close once the ledger's
 * time is KEYGEN_PHASE_MS past its start (REASON_TOO_EARLY before):
 *   COMMIT    needs k that committed (else it waits on: nobody is there)
 *   REVEAL    who did not reveal is excluded; fewer than k: the attempt has failed
 *   CONFIRM   needs k that confirmed; without them it fails after twice the time
 *   ANSWER    who did not answer rightly is excluded; fewer than k: it has failed
 * After a failed attempt the next one is in COMMIT, and waits for its first commit.
 *
 * A member that was away confirms when ACTIVE. Its complaint then excludes nobody
 * any more (Y stands), but dealers may still answer, and it confirms again with
 * fewer complaints. Once all members have confirmed without an open complaint,
 * `settled` is true and dealers wipe what they kept.
 *
 * The party that reveals last may drop out after seeing the others' commitments,
 * and so bias Y by at most a bit per excluded dealer: harmless for encryption.
 */
#ifndef LEDGER_KEYGEN_H
#define LEDGER_KEYGEN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/limits.h"
#include "base/table.h"
#include "crypto/dkg.h"

#define KEYGEN_PHASE_MS 4000

enum keygen_phase {
    KEYGEN_COMMIT = 1,
    KEYGEN_REVEAL = 2,
    KEYGEN_CONFIRM = 3,
    KEYGEN_ANSWER = 4,
    KEYGEN_READY = 5,
    KEYGEN_ACTIVE = 6,
};

/* Members are 1 .. n in the genesis' order; in masks, bit i is member i. */
typedef uint32_t member_mask;
#define MEMBER_BIT(i) ((member_mask)1 << (i))

struct keygen {
    uint32_t attempt; /* from 1 */
    enum keygen_phase phase;
    bool started;      /* the phase's time runs (false only in COMMIT before the first) */
    uint64_t start_ms; /* ledger time of the phase's start */
    member_mask committed, revealed, confirmed, excluded;
    struct digest commitment[LIMIT_NODES + 1];    /* of member i, when committed */
    member_mask complaints[LIMIT_NODES + 1];      /* of receiver i: dealers not yet answered */
    member_mask answered[LIMIT_NODES + 1];        /* of receiver i: dealers whose sub-share is in the ledger */
    uint64_t answer_leaf[LIMIT_NODES + 1][LIMIT_NODES + 1]; /* [receiver][dealer], when answered */
};

/* A dealer's key.reveal of the current attempt. */
struct dealing {
    uint32_t attempt;
    struct dkg_commitments commitments;
    struct digest subshare_hash[LIMIT_NODES + 1]; /* of the sealed sub-share for member i */
};

/* The state of a secret; a fresh one (attempt 1, COMMIT, not started) when there is none yet. */
enum err keygen_get(struct keygen *out, struct table_txn *txn, uint8_t secret);
/* ERR_NOT_FOUND: that dealer has not revealed in this attempt. */
enum err keygen_dealing_get(struct dealing *out, struct table_txn *txn, uint8_t secret, uint32_t attempt,
                            unsigned dealer);

/* The dealers whose polynomials make the key, of those known now. */
member_mask keygen_qualified(const struct keygen *keygen);
/* The ledger time from which key.close ends the phase; UINT64_MAX: nothing to close now. */
uint64_t keygen_deadline(const struct keygen *keygen, unsigned k);
/* ACTIVE, and every member has confirmed without an open complaint. */
bool keygen_settled(const struct keygen *keygen, unsigned n);

/* The context that commitments are hashed under (dkg_commitments_hash):
 * "consilium/keygen/v1\n" || cluster id || secret || be32(attempt) || dealer. */
#define KEYGEN_CONTEXT_SIZE (20 + 32 + 1 + 4 + 1)
void keygen_context(uint8_t out[static KEYGEN_CONTEXT_SIZE], const struct digest *cluster, uint8_t secret,
                    uint32_t attempt, unsigned dealer);

/* READY or ACTIVE: Y and the verification keys of members 1 .. n (at 0 .. n - 1),
 * as key.activate must state them. ERR_NOT_READY before. */
enum err keygen_keys(struct point *key, struct point *verification, struct table_txn *txn, uint8_t secret,
                     unsigned n);
/* The sub-share that a dealer published for a receiver in answer to a complaint; ERR_NOT_FOUND. */
enum err keygen_answer_get(struct scalar *out, struct table_txn *txn, const struct keygen *keygen, unsigned receiver,
                           unsigned dealer);

/* What a member is to do now, for the node's agent. */
struct keygen_view {
    struct keygen state;
    bool commit;          /* key.commit is due from this member */
    bool reveal;          /* key.reveal is due */
    bool confirm;         /* key.confirm is due once the sub-shares of `dealers` were looked at. ACTIVE and
                             state.complaints[self] not 0: only with fewer complaints than those */
    member_mask dealers;  /* whose sub-shares this member needs */
    member_mask answer;   /* receivers whose complaint about this member is open: key.answer each */
    bool activate;        /* key.activate is due (any member) */
    bool settled;         /* wipe polynomial and sub-shares kept for others */
    uint64_t deadline_ms; /* ledger time from which key.close is taken; UINT64_MAX: none */
};
enum err keygen_view(struct keygen_view *out, struct table_txn *txn, uint8_t secret, unsigned self, unsigned n,
                     unsigned k);

#endif
