/* A client that keeps to no rules: raw frames to a node of a testbed, and requests
 * that are wrong in exactly one way.
 *
 * What fails by the test's own fault ends the test (testbed_fail).
 */
#ifndef TESTS_LIB_ATTACKER_H
#define TESTS_LIB_ATTACKER_H

#include "cli/cluster.h"
#include "cli/collective.h"
#include "cli/signer.h"
#include "ledger/arguments.h"
#include "ledger/request.h"
#include "tests/lib/testbed.h"

struct attacker {
    const struct testbed *bed;
    struct cluster cluster; /* genesis and TLS context; its own connection is not used but for the collective key */
    struct collective key;
    struct tls_ticket *tickets[LIMIT_NODES + 1]; /* by node: later connections cost little */
};
void attacker_open(struct attacker *a, const struct testbed *bed); /* all nodes are ready */
void attacker_close(struct attacker *a);

/* --- connections --- */

/* TLS is open, nothing is said. NULL where the node does not take it within `ms`. */
struct client *attacker_try(struct attacker *a, unsigned node, uint32_t ms);
struct client *attacker_connect(struct attacker *a, unsigned node);
struct client *attacker_greet(struct attacker *a, unsigned node); /* and HELLO is answered */

/* What a node answered. */
struct said {
    uint32_t type;  /* 0: it closed without a word */
    enum err code;  /* of FAILED; OK else */
    char text[200];
    uint64_t id, retry_after_ms;
    struct buffer body; /* kept by the struct; said_free */
};
void said_free(struct said *s);
void attacker_send(struct attacker *a, struct client *c, uint32_t type, uint64_t id, struct bytes body);
void attacker_write(struct attacker *a, struct client *c, struct bytes bytes); /* not even a frame */
void attacker_hear(struct attacker *a, struct client *c, struct said *out, uint32_t ms);
void attacker_ask(struct attacker *a, struct client *c, struct said *out, uint32_t type, struct bytes body);
bool attacker_closed(struct client *c, uint32_t ms); /* the node ends the connection within that time */

/* --- state --- */

/* Of one node, as it says itself. */
struct ledger_mark {
    uint64_t size;
    struct digest root;
};
struct ledger_mark attacker_mark(struct attacker *a, unsigned node);
uint64_t attacker_counter(struct attacker *a, unsigned node, const char *name);
/* Private memory of a node's process, in KiB. */
uint64_t attacker_memory_kib(const struct attacker *a, unsigned node);

/* --- requests --- */

struct signer attacker_signer(const struct attacker *a, const char *login); /* DIR/<login>.key */

/* One operation; what is zero is made as it should be. */
struct wrong {
    uint64_t issued_at_ms;
    const struct digest *cluster;
    const struct actor *actor;
    const struct sign_secret *secret; /* signs instead */
    bool no_signature;                /* 64 zero bytes */
    bool other_attachment, no_attachment, more_attachment;
    uint32_t action; /* instead */
};
void attacker_request(struct buffer *out, const struct attacker *a, const struct signer *who,
                      const struct arguments *args, struct bytes content, const struct wrong *wrong);
/* Sends it and hears the first answer: APPLIED (its first result in *result) or FAILED. */
void attacker_submit(struct attacker *a, struct client *c, struct said *out, struct message_result *result,
                     struct bytes request);

#endif
