/* Valid objects of every format, the same each time: for round trips, mutations
 * and as a start for tests of the rules. Keys come from numbers, never random. */
#ifndef TESTS_LIB_SAMPLES_H
#define TESTS_LIB_SAMPLES_H

#include "ledger/arguments.h"
#include "ledger/genesis.h"
#include "ledger/leaf.h"
#include "ledger/operation.h"
#include "ledger/request.h"

struct id sample_id(unsigned n);         /* n > 0 */
struct digest sample_digest(unsigned n); /* n > 0 */
void sample_key(struct sign_secret *secret, struct sign_public *public_key, unsigned n);

#define SAMPLE_TIME 1790000000000ull

/* Arguments that are valid for `action`, with all optional fields given or none.
 * False: there is no such action, or it has no arguments. Views are of static storage. */
bool sample_arguments(struct arguments *out, uint32_t action, bool full);

/* An operation by user n (its key: sample_key(n)); `args` is owned by the caller. */
struct operation sample_operation(unsigned user, unsigned request, uint32_t action, struct bytes args);

/* A signed request of `count` event.add operations by user n, every second one
 * with a note; appends. */
void sample_request(struct buffer *out, unsigned user, uint32_t count);
/* A denied (odd index) or approved leaf with the operation at `position` of that request; appends. */
void sample_leaf(struct buffer *out, uint64_t index, const struct request *request, uint32_t position);

/* A genesis of n members named "node-1" ..., and 2 administrators. The policy is static. */
void sample_genesis(struct genesis *out, uint32_t n, uint32_t b);
/* Its file, and the parsed result with views into it. */
void sample_genesis_parsed(struct genesis *out, struct buffer *text, uint32_t n, uint32_t b);
/* The secrets of its members: message, cosign and seal keys of member 1 .. n. */
void sample_node_secrets(struct node_secrets *out, uint32_t member);

#endif
