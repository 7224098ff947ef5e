/* A node with nothing but a store and its desk for state digests: everything around the desk is played here, and its
 * clock runs only as `later` and `pass` let it. Doubles functions of the product, so this is linked only to the test
 * programs of its name. */
#ifndef TESTS_UNIT_NODE_BED_DIGEST_H
#define TESTS_UNIT_NODE_BED_DIGEST_H

#include "tests/lib/unit.h"

#include "base/clock.h"
#include "consensus/node_request.h"
#include "ledger/state_digest.h"
#include "node/digest.h"
#include "node/integrity.h"
#include "node/session.h"

#define N 4
#define SELF 1

extern struct node node;
extern struct config config;

/* What the desk did. */
extern struct finding found[16];
extern struct repair {
    unsigned named;
    uint64_t from, to;
} repaired[16];
extern size_t found_count, repaired_count, quarantines, asked, ended; /* ended: digests that were begun */
extern size_t sent[N + 1]; /* statements to each */
extern node_request_done asked_done;
extern void *asked_data;
extern struct buffer answer;

/* What it sees. */
extern struct driver_status status;
extern struct alarm alarms[2]; /* open ones */
extern size_t row_count;       /* of these */

int setup(void **state);
int teardown(void **state);
void restart(void);
#define BED_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* Of a state with that content; 0: none, as a reason why not. */
struct state_statement statement(unsigned member, uint64_t leaf, unsigned content);
/* What a node with what is in this store says. */
struct state_statement as_stored(unsigned member, uint64_t leaf);
void hear(unsigned member, uint64_t leaf, unsigned content);
void hear_as(unsigned from, const struct state_statement *s);
/* This node applies a leaf that asks, over what stands in its store, and digests; or can't. */
void digest_own(uint64_t leaf);
void not_own(uint64_t leaf);
void put_user(const char *value);
uint64_t stored(void); /* statements in the store */

/* The loop turns for so long, of real time, which the desk's clock doesn't follow. */
void turn(unsigned ms);
/* So much passes on the desk's clock; `later`: and its timer comes. */
void pass(unsigned seconds);
void later(unsigned seconds);
void wall_clock_leaps(uint64_t ms);

#endif
