/* A client's request, from SUBMIT to its last answer.
 *
 *   state       entered when                          next
 *   CHECKING    SUBMIT decoded; a worker verifies      key not in the synced state -> FINDING_KEY; good -> SUBMITTED
 *   FINDING_KEY the state thread looks the key up      CHECKING again, or refused; only for now while this node
 *                                                      is behind the others
 *   SUBMITTED   the driver has it                      applied -> APPLIED sent; WITNESSING if the client waits
 *   WITNESSING  leaves wait for a checkpoint           -> PROVING
 *   PROVING     leaves and inclusion proofs are read   COSIGNED sent -> done
 * From every state: an error answers FAILED -> done. The session may close at any
 * time: the job goes on to its end without an audience, since the operation is
 * the ledger's by then.
 * Invariant: a request counts in node->requests and request_bytes until done.
 */
#ifndef NODE_REQUEST_H
#define NODE_REQUEST_H

#include "node/session.h"

/* Takes a SUBMIT message's body. */
void request_submit(struct session *s, uint64_t id, struct bytes body);
/* PROVE: leaves of this session's actor (or any after an approved export), with proofs. */
void request_prove_rows(struct session *s, uint64_t id, struct bytes body);
void request_prove(struct session *s, uint64_t id, struct bytes body);

#endif
