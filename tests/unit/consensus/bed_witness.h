/* Four witnesses over drivers, disks and a network made by the test: a network that
 * loses, doubles and reorders by a seed (SEED=n replays), drivers whose marks take a
 * while, a ledger of a tree whose leaves are numbers. What the driver and the peers do is
 * doubled here, so this is linked only to the test programs of its name. */
#ifndef TESTS_UNIT_CONSENSUS_BED_WITNESS_H
#define TESTS_UNIT_CONSENSUS_BED_WITNESS_H

#include "tests/lib/unit.h"

#include "consensus/driver.h"
#include "consensus/witness.h"
#include "crypto/keys.h"
#include "ledger/evidence.h"
#include "ledger/tree.h"

#define N 4
#define MAP_SIZE (UINT64_C(1) << 30) /* of address space a sanitizer has little */
#define K 3

struct message {
    unsigned from, to, delay;
    uint32_t type;
    struct buffer body;
};

struct peers {
    unsigned self;
};

struct pending { /* a job of the fake driver, finished in a later turn */
    struct state_read *read;
    struct state_write *write;
    struct cosigned_mark *mark;
};

struct driver {
    unsigned self;
    struct store *store;
    struct tree tree;
    uint64_t raft_index, raft_term, time_ms;
    struct cosigned_mark durable;
    bool any_mark, forgot;
    enum err read_refused;
    enum err mark_error, mark_refused; /* what the next mark ends with; driver_log_cosigned returns */
    bool hold_marks;
    struct pending pending[256];
    size_t pending_count;
};

struct node {
    struct driver driver;
    struct peers peers;
    struct witness *witness;
    struct node_secrets keys;
    bool cut; /* nothing comes or goes */
    unsigned witnessed_calls, quarantined, deceived, stalled, evidence[N + 1];
    uint32_t contradicting;    /* the members, and the index, with which it was last deceived */
    uint64_t contradicted_at;
    char kind[64];
    struct buffer last_evidence;
    uint64_t cosigned_most; /* largest size in a COSIGN it sent */
    uint64_t told_most;     /* largest raft index that it told */
};

struct claim {
    uint64_t size, raft_index, raft_term;
    struct digest root;
};

extern struct genesis genesis;
extern struct node nodes[N + 1];
extern size_t queued;
extern uint64_t seed, sent[128];
extern unsigned lose_percent, double_percent, delay_most;
extern bool reorder;
extern uint32_t drop_type; /* messages of this type, and ... */
extern unsigned drop_to;   /* ... to this node (0: all) are lost */
extern bool apart[N + 1][N + 1]; /* no message from the one reaches the other */

/* The driver's job, for a later turn. */
void later(struct driver *d, struct pending what);

struct digest leaf_of(uint64_t index, bool forked);
/* A block of so many leaves; `forked`: other ones than the others'. */
struct driver_applied grow(struct driver *d, unsigned leaves, bool forked);
/* The same, and the node's witness hears of it. */
void apply_forked(unsigned node, unsigned leaves, bool forked);
void apply(unsigned node, unsigned leaves);
void apply_all(unsigned leaves);

extern uint64_t quiet_index, quiet_term; /* of the next start */
extern bool takes_deceived;
void may_be_rebuilt(unsigned node); /* its witness, made anew, takes it */
extern uint64_t turn_takes_ns; /* 0: as long as it does */

void start_witness(unsigned i);
void stop_witness(unsigned i);
/* Before and after each test: four nodes with empty states, a network that loses nothing. */
int setup(void **state);
int teardown(void **state);

void turn(void);
void settle(void); /* until nobody has anything left to do */
void sleep_ms(unsigned ms);
/* All have a witnessed checkpoint of that size. */
bool all_at(uint64_t size);
bool wait_all_at(uint64_t size, unsigned ms);
void lead(unsigned leader, uint64_t term);
/* Its newest note is whole, and of the common ledger at that size. */
void assert_note(unsigned node, uint64_t size);

/* Messages as the named node would have signed them, whatever they claim. */
void make_tell(struct buffer *out, unsigned signer, const struct claim *c);
void send_tell(unsigned from, unsigned to, uint32_t type, const struct claim *c);
void send_cosign(unsigned from, unsigned to, uint64_t size, const struct digest *root);
/* What is true of a node. */
struct claim own_claim(unsigned node);

/* Before and after all tests of a program. */
int bed_open(void **state);
int bed_close(void **state);
#define BED_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
