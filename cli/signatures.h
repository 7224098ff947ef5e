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
 * keys that they bring. */
void signatures_check(struct signatures *s, struct replay_leaf *leaves, uint32_t count);

#endif
