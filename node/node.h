/* The parts of a running node, and who knows whom.
 *
 * daemon.c makes and ends them; every other file of node/ gets this struct and
 * uses the parts it needs. All on the loop's thread.
 */
#ifndef NODE_NODE_H
#define NODE_NODE_H

#include <uv.h>

#include "base/queue.h"
#include "base/version.h"
#include "consensus/catchup.h"
#include "consensus/driver.h"
#include "consensus/keygen_agent.h"
#include "consensus/witness.h"
#include "ledger/genesis.h"
#include "ledger/state.h"
#include "net/listener.h"
#include "net/peers.h"
#include "node/config.h"
#include "node/identity.h"
#include "node/rebuild.h"
#include "storage/log.h"
#include "storage/store.h"

struct integrity;    /* node/integrity.h */
struct scrub;        /* node/scrub.h */
struct digest_desk;  /* node/digest.h */
struct alert;        /* node/alert.h */
struct http_desk;    /* node/http.h */
struct release_desk; /* node/release.h */
struct board;        /* node/status.h */
struct session;      /* node/session.h */
struct bulk;         /* node/bulk.h */

struct node {
    const struct config *config;
    struct node_identity identity;
    struct buffer genesis_text;
    struct genesis genesis;
    unsigned self; /* member index */

    uv_loop_t loop;
    struct tls_context *tls;
    struct network *network;
    struct listener *listener;
    struct peers *peers;
    struct log *log;
    struct store *store;
    struct driver *driver;
    struct witness *witness;
    struct catchup *catchup;
    struct keygen_agent *keygen;
    struct release_desk *release;
    struct board *board;
    struct http_desk *http;
    struct integrity *integrity;
    struct scrub *scrub;
    struct digest_desk *digest;
    struct alert *alert; /* tells people of alarms */
    struct bulk *bulk;   /* long scans of clients take turns */

    struct session *sessions; /* of clients, a list */
    struct queue checking;    /* requests that wait for their signatures' check, */
    struct queue proving;     /* ... and that are witnessed, and wait for their proofs */
    unsigned checks_running, checks_most; /* batches on workers; checks_most 0: not asked so far */
    bool prove_running;       /* a batch is being proved */
    size_t requests;          /* in flight, of all clients */
    size_t request_bytes;
    size_t proves, lookups, tiles; /* PROVE, LOOKUP and TILE under way */
    size_t first_requests;    /* of `requests`: of sessions nothing is known of yet */
    struct epoch epoch;       /* newest of the record key; epoch.epoch 0: not active yet */
    bool epoch_asked;         /* a read of it is under way */
    bool ready;               /* all state and attachments are here, and the record key is active */
    bool stopping;
    bool rebuild;             /* after the stop: node/rebuild.h, then start again */
    enum rebuild_log rebuild_log;
    int exit_code;
    struct {
        uint64_t sessions, requests, refused, releases;
    } counters;
};

/* "ready", or in a word why not: "catching up", "generating keys", "no leader", "quarantined",
 * or NODE_LOG_FULL, also where it is the leader's. What begins with "ready" serves. */
#define NODE_NO_VOTE "ready, without a vote" /* it forgot votes (consensus/driver_rejoin.c), and serves */
#define NODE_LOG_FULL "log full: start the nodes that are away"
const char *node_state(const struct node *node);
/* Runs until SIGTERM or SIGINT, or until it can't go on. Returns the exit code. */
int node_run(struct node *node);
/* Begins a clean stop. */
void node_stop(struct node *node, int exit_code);

#endif
