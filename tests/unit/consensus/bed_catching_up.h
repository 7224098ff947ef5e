/* Node 4 catches up from nodes 1 to 3, over a real state thread, store and ledger;
 * drivers and the network are doubles, and any message can be altered on its way. So this
 * is linked only to the test programs of its name. */
#ifndef TESTS_UNIT_CONSENSUS_BED_CATCHING_UP_H
#define TESTS_UNIT_CONSENSUS_BED_CATCHING_UP_H

#include "tests/lib/unit.h"

#include "consensus/catchup.h"
#include "consensus/driver.h"
#include "consensus/state_thread.h"
#include "ledger/checkpoint.h"
#include "tests/lib/ledger_kit.h"

#define N 4
#define TARGET 4

#define EVENTS 2200
#define RECORDS 40
#define LARGE 400000
#define MARKS 3

struct mark {
    uint64_t size, raft_index, raft_term;
    struct digest root;
    struct buffer note;
};

struct message {
    unsigned from, to;
    uint32_t type;
    uint64_t id;
    struct buffer body;
    uint64_t due_ns;
};

struct peers {
    unsigned self;
};

struct driver {
    unsigned self, leader;
    struct store *store;
    struct state_thread *state; /* the target's */
    uint64_t synced_index;
    unsigned log_filled;
    struct state_read *reads[64]; /* over the synced state; run in a later turn */
    size_t read_count;
    bool refuse; /* reads and writes: busy */
    unsigned caught_up, failed, quarantined;
    uint64_t caught_index, caught_term, caught_size, failed_index;
    unsigned writes;
};

struct node {
    struct driver driver;
    struct peers peers;
    struct witness *witness;
    struct catchup *catchup;
    struct node_secrets keys;
    bool ready;
    unsigned ready_calls;
};

extern struct kit kit;
extern struct digest kit_whole;
extern struct mark marks[MARKS]; /* at a third, two thirds, and the end */

/* A checkpoint with the cosignatures of the first so many nodes. */
struct buffer make_note(uint64_t size, const struct digest *root, unsigned signers);
/* Among those that the source keeps and offers. */
void put_row(struct table_txn *txn, const struct mark *m);

extern struct node nodes[N + 1];
extern char folder[FOLDER_PATH];
extern bool down[N + 1];
extern bool (*tamper)(struct message *m); /* false: lost */
extern unsigned late_ms[N + 1]; /* what a node sends comes so much later */
extern unsigned answers_of[N + 1][128]; /* messages from a node, by type */
extern uint64_t pulls_from_least; /* least `from` of a PULL */

void run_reads(struct driver *d);
void turn(void);
bool wait_for(bool (*met)(void), unsigned ms);
bool never(void);
bool caught_up(void);
bool ready(void);
bool has_failed(void);
bool quarantined(void);

void open_target(void);
/* `flush` false: as after a crash, what was not committed is lost. */
void close_target(bool flush);
void drop_messages(void);
/* Before and after each test: three nodes that have it all, and an empty one. */
int setup(void **state);
int teardown(void **state);
/* What Raft asks the target for: to come as far as that. */
void install(const struct mark *m);
/* The target's own, and whether it is that mark's. */
struct state_position position(void);
void assert_at(const struct mark *m);
/* Everything, attachments too, as the source has it. */
void assert_whole(void);

/* For a stop in the middle: answers with leaves, of which two arrive. */
extern unsigned pulled_seen;

bool stop_after_two(struct message *m);
bool two_pulled(void);

/* Before and after all tests of a program: makes the ledger that nodes 1 to 3 have. */
int bed_open(void **state);
int bed_close(void **state);
#define BED_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
