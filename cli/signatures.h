/* Request signatures of leaves, verified ahead of replaying them: with large
 * numbers of small requests they are most of what that costs. Only a speed-up: a
 * verdict counts only for exactly the key that the state names then, and what has
 * none is verified by who replays it. Any thread, at once. */
#ifndef CLI_SIGNATURES_H
#define CLI_SIGNATURES_H

#include <stdint.h>

#include "crypto/sign.h"
#include "ledger/genesis.h"
#include "ledger/replay.h"

struct signatures; /* keys seen so far, up to a limit */
/* Knows the genesis' keys. It is only looked at here. */
struct signatures *signatures_new(const struct genesis *genesis);
void signatures_free(struct signatures *s); /* NULL is nothing */

/* Whose key that is: an actor of leaves that come later. */
void signatures_note(struct signatures *s, const struct actor *actor, const struct sign_public *key);
/* Verifies the signatures of leaves that were read, in their order, as far as their keys are known, and notes the
 * keys that they bring. Leaves that begin within a request, and go on with it, are left to signatures_carry: who had
 * the leaves before them has verified its signature. */
void signatures_check(struct signatures *s, struct replay_leaf *leaves, uint32_t count);

/* The request that leaves ended in, if its signature was verified. Zero-initialise. */
struct signed_request {
    struct actor actor; /* kind ACTOR_NONE: there is none */
    uint32_t count;
    struct digest root;
    struct signature signature;
    struct sign_public key;
};
/* After signatures_check, for one batch of leaves after the other, in order: those that go on with the request that the
 * batch before ended in share its verdict. One thread, which need not be that of signatures_check. */
void signatures_carry(struct signed_request *last, struct replay_leaf *leaves, uint32_t count);

#endif
