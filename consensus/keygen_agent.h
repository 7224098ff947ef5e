/* This node's part in key generation: watches the replicated state
 * (ledger/keygen.h) and does what is due: commit, reveal, deal sub-shares,
 * confirm or complain, answer complaints, close phases whose time is past.
 *
 * Everything secret is durable (sealed, node-local table) before anything that
 * depends on it is sent: a node that crashes after its commitment deals the same
 * polynomial. Sub-shares stay until every receiver has confirmed, so a node that
 * was down asks for its own and gets its share unaided; then they are wiped.
 *
 * The share is also kept in a sealed file apart from the store, DIR/key-share-S-E
 * (secret, epoch): a state that is thrown away is derived again from the ledger,
 * but a share can't be. It is used only if it fits the verification key, and written anew at a start
 * when it is gone or damaged.
 * Threads: loop; secrets move through driver_write and driver_read.
 */
#ifndef CONSENSUS_KEYGEN_AGENT_H
#define CONSENSUS_KEYGEN_AGENT_H

#include <uv.h>

#include "consensus/driver.h"
#include "crypto/group.h"

struct keygen_agent;

struct keygen_agent_options {
    uv_loop_t *loop;
    const struct genesis *genesis;
    unsigned self;
    const struct node_secrets *keys;
    struct driver *driver;
    struct peers *peers;
    const char *directory;              /* of the node, for the share's file */
    const struct seal_key *storage_key;
    void *data;
    void (*on_share)(void *data, uint8_t secret, uint64_t epoch); /* this node holds its share now */
};
enum err keygen_agent_start(struct keygen_agent **out, const struct keygen_agent_options *options,
                            struct failure *failure);
void keygen_agent_stop(struct keygen_agent *a);
void keygen_agent_free(struct keygen_agent *a); /* wipes */
void keygen_agent_applied(struct keygen_agent *a, const struct driver_applied *applied);
void keygen_agent_peer_up(struct keygen_agent *a, unsigned peer);
void keygen_agent_message(struct keygen_agent *a, unsigned from, uint32_t type, uint64_t id, struct bytes body);

/* The share of `secret` in `epoch`, in secret memory; NULL when this node has none (yet). */
const struct scalar *keygen_agent_share(const struct keygen_agent *a, uint8_t secret, uint64_t epoch);
/* The key is active, everybody else is done, and this node's share is gone (its disk was emptied): it
 * replicates and serves, but adds no share. */
bool keygen_agent_share_lost(const struct keygen_agent *a);
bool keygen_agent_active(const struct keygen_agent *a, uint8_t secret); /* a collective key is active */

#endif
