/* Operations of the node itself (key generation, alarms): signed with its message
 * key and submitted like a client's. Loop thread. */
#ifndef CONSENSUS_NODE_REQUEST_H
#define CONSENSUS_NODE_REQUEST_H

#include "consensus/driver.h"
#include "ledger/action.h"

struct node_secrets;

struct node_signer {
    struct driver *driver;
    const struct genesis *genesis;
    const struct node_secrets *keys;
    unsigned self;
};

/* What became of it; called once, never before node_request_submit returned.
 * `code` as of struct submission, or of the outcome (OK and ERR_DUPLICATE: the
 * leaf's index, decision and reason hold). */
typedef void (*node_request_done)(void *data, enum err code, uint64_t leaf_index, enum decision decision,
                                  enum reason reason);

/* `args`: the encoded array; `attachment`: its content (a salt is added), or empty.
 * The error when it could not be submitted; `done` is not called then. */
enum err node_request_submit(const struct node_signer *signer, enum action action, struct bytes args,
                             struct bytes attachment, void *data, node_request_done done);

#endif
