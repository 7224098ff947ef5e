/* Five real nodes, or three, under load while a test torments them, and the proof afterwards
 * that nothing which was acknowledged is missing.
 *
 * Eight clients, processes that run the CLI again and again, write down in shared
 * memory each operation that they were told is done, and when it began. The first ones go
 * only through the node of their number, so that a test knows who told them; the
 * others go through any. Three kinds of operation: an event with a code that is unique; a
 * new version of the client's own record, whose content is a number that only grows;
 * and opening somebody's record, which must show no less than what was acknowledged, or
 * shown, before it began: else the answer was stale, and the test fails.
 *
 * What fails ends the test (testbed_fail), with the seed.
 */
#ifndef TESTS_LIB_CHAOS_H
#define TESTS_LIB_CHAOS_H

#include "tests/lib/partition.h"
#include "tests/lib/testbed.h"

#define CHAOS_NODES 5u
#define CHAOS_CLIENTS 8u
#define CHAOS_ALL 0x3eu /* nodes 1 .. 5, as bits 1 << index */

struct chaos_shared; /* between the clients and the test */

struct chaos {
    struct testbed bed;
    char doctor[ID_TEXT_SIZE], patient[ID_TEXT_SIZE];
    uint64_t seed, random;
    unsigned patience_s; /* how long clients started from now on wait for an operation; 0: two seconds,
                             up to eight after what failed */
    unsigned damaged; /* this node's files are: who asks it, and no other, may be told that its answer proves to be wrong */
    unsigned pause_ms;   /* of clients, after each operation: where they are not to take the processors from nodes */
    pid_t clients[CHAOS_CLIENTS + 1]; /* 0: not running */
    unsigned ailing, leaving; /* nodes, as bits: chaos_disk_ails, and those that were sent SIGTERM */
    struct chaos_shared *shared;
    char orders[CHAOS_NODES + 1][300], clock[CHAOS_NODES + 1][300]; /* files that a frail node reads */
    char program[CHAOS_NODES + 1][400];
};

/* So many nodes that are ready, each at an address of its own: CHAOS_NODES, 3, or CHAOS_BY_SEED (one of the two);
 * `faulty`: b of the genesis, or CHAOS_BY_SEED (0 or 1; 0 of three); `frail`: their disks and clocks obey orders
 * (tests/lib/bad_disk.c, bad_clock.c). SEED in the environment, or another each time; it is printed. */
#define CHAOS_BY_SEED UINT32_MAX
void chaos_open(struct chaos *c, unsigned nodes, unsigned faulty, bool frail);
/* Of that program (tests/lib/testbed.h), and not frail. */
void chaos_open_as(struct chaos *c, unsigned nodes, unsigned faulty, const char *program);
/* chaos_open in two steps, between which a test may change settings and folders of the nodes. */
void chaos_prepare(struct chaos *c, unsigned nodes, unsigned faulty, bool frail);
void chaos_start(struct chaos *c);
void chaos_close(struct chaos *c);
unsigned chaos_below(struct chaos *c, unsigned n); /* 0 .. n - 1 */
/* What is drawn from here on follows from the seed and these two alone, whatever was drawn before. */
void chaos_draw(struct chaos *c, unsigned round, unsigned step);

void chaos_load(struct chaos *c);   /* starts the clients */
void chaos_unload(struct chaos *c); /* ends them */

/* So many more, each of which opens one record through this node, and waits for that as long as it takes: an answer is
 * checked like any. The end waits for them, and returns how many had one. */
void chaos_readers(struct chaos *c, unsigned node, pid_t *pids, unsigned count);
unsigned chaos_readers_end(struct chaos *c, const pid_t *pids, unsigned count);

uint64_t chaos_now_ms(void); /* monotonic */

/* Waits until one who goes through each of these nodes was told that an operation is done which began after now, and
 * prints how long that took; 0: any client. Fails when it doesn't come. Returns ms. */
uint64_t chaos_goes_on(struct chaos *c, unsigned nodes, const char *what);
/* The same after `since_ms`, where something else was done meanwhile. */
uint64_t chaos_went_on(struct chaos *c, unsigned nodes, const char *what, uint64_t since_ms);
/* Whether that is so for what began at `since_ms` or later; fails on what a client found wrong. */
bool chaos_gone_on(struct chaos *c, unsigned nodes, uint64_t since_ms);
/* Nobody who goes through these nodes was told anything, or shown a record, that began after `since_ms`; nor is
 * this process, which tries both at one of them and gives each a second. */
void chaos_was_silent(struct chaos *c, unsigned nodes, uint64_t since_ms, const char *what);
unsigned chaos_acknowledged(const struct chaos *c);
/* Waits until each client was told that so many operations are done which began at `since_ms` or later, and says how long
 * those took of which they were told by then. Fails when nothing comes. */
struct chaos_times {
    unsigned count;
    uint64_t median_ms, p99_ms, most_ms;
};
void chaos_measure(struct chaos *c, struct chaos_times *out, unsigned each, uint64_t since_ms);
/* What a client was told the first time that an operation did not end with "done"; NULL: never. */
const char *chaos_refusal(const struct chaos *c, unsigned client);
/* The longest time in which a client that may go through any node was told nothing, in ms. */
uint64_t chaos_longest_gap(const struct chaos *c);

/* One who runs, leads, and has the highest term as the running nodes say; 0: nobody now. *term may be NULL. */
unsigned chaos_leader(struct chaos *c, uint64_t *term);
unsigned chaos_await_leader(struct chaos *c, uint64_t *term);
/* Whether this node has the root of another one now, as `as` says: also under load, when roots differ from moment to
 * moment. */
bool chaos_same_root(struct chaos *c, unsigned node, unsigned as);
/* The term that a node says it is in; 0: no answer within two seconds. */
uint64_t chaos_term(struct chaos *c, unsigned node);

/* A running node's disk or clock from now on; NULL: as it should be again. */
void chaos_order_disk(struct chaos *c, unsigned node, const char *order);
void chaos_order_clock(struct chaos *c, unsigned node, const char *order);

/* ---- ends of nodes: each fails when a node had ended by itself, other than by SIGKILL ---- */

/* The same as chaos_order_disk for what is no death: until chaos_heal the node may also end with status 1, after it said
 * why. */
void chaos_disk_ails(struct chaos *c, unsigned node, const char *order);
void chaos_kill(struct chaos *c, unsigned node);
/* SIGTERM, and waits for the end: in order, unless it has not begun to serve. Not of one that SIGSTOP stopped. */
void chaos_stop(struct chaos *c, unsigned node);
bool chaos_ended(struct chaos *c, unsigned node); /* also when it does not run */

/* Takes all of that back from all nodes, wakes those that stopped, stops those whose disk was ailing in order, and starts
 * all that do not run. */
void chaos_heal(struct chaos *c);

/* After the last fault: ends the load, waits until all nodes have one root, and looks for every acknowledged operation,
 * as the entry that its client was told of, on every node, and for the content of some versions; the whole ledger of each
 * verifies. */
void chaos_check(struct chaos *c);
/* The same where an alarm has a cause: none is open any more, or it is waited for that who raised it has closed it. */
void chaos_check_mended(struct chaos *c);
bool chaos_mended(struct chaos *c); /* no alarm is open */
/* Ends the load, and looks for every acknowledged operation on these nodes only, which run. */
void chaos_check_on(struct chaos *c, unsigned nodes);
/* For a cluster that was put back to how it was before the first load: nothing was acknowledged so far. */
void chaos_forget(struct chaos *c);

#endif
