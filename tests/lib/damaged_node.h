/* A node whose files were damaged: how it ends, what becomes of it in its cluster, and that what it says to do works.
 * It may end by itself only in order, with status 1, and after it said what to do: anything else ends the test
 * (testbed_fail), and so does waiting longer than TESTBED_PATIENCE_S for what must come.
 */
#ifndef TESTS_LIB_DAMAGED_NODE_H
#define TESTS_LIB_DAMAGED_NODE_H

#include "tests/lib/chaos.h"

struct damaged_node {
    struct chaos *chaos; /* the cluster, which outlives this */
    struct testbed *bed; /* its own */
    unsigned number;
    char folder[300];
    struct buffer out, errors; /* what a client said last, of it or to it */
};

void damaged_open(struct damaged_node *d, struct chaos *chaos, unsigned number);
void damaged_close(struct damaged_node *d);

/* Whether what was begun at `since_ns` (monotonic) may still be waited for. */
bool damaged_in_time(uint64_t since_ns);

void damaged_stop(struct damaged_node *d, int number);  /* SIGTERM or SIGKILL; when it runs */
bool damaged_has_ended(struct damaged_node *d);         /* also when it does not run */
bool damaged_is_set_back(const struct damaged_node *d); /* as it says in this life */
/* By its own words in this life, and as the others know by now: they may not have heard yet of a start after a
 * rebuild. */
bool damaged_is_quarantined(struct damaged_node *d);

/* What becomes of it after a start: it is ready with the others' root, also as one whose disk was set back; or it
 * ended, or is quarantined. */
enum verdict { VERDICT_WHOLE, VERDICT_REFUSED, VERDICT_SET_BACK };
enum verdict damaged_verdict(struct damaged_node *d);
/* One whose log lost what it had signed is left running, as it says: until it votes again. False: it refuses then. */
bool damaged_votes_again(struct damaged_node *d);
/* One that refused: what it said to do works, or says itself why not. Then false, and only a new node helps. */
bool damaged_rebuilt(struct damaged_node *d);

/* Runs `consiliumd` with these words and its folder; the exit code. What that says is added to the file `said` in the
 * cluster's folder. */
int damaged_consiliumd(struct damaged_node *d, const char *words);

#endif
