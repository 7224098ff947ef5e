/* Four agents, each over a ledger of its own that applies the same blocks; their drivers, network
 * and clock are doubles, so this is linked only to the test programs of its name. The clock runs
 * eight times as fast. SEED=n replays what a network loses. */
#ifndef TESTS_UNIT_CONSENSUS_BED_KEYGEN_AGENT_H
#define TESTS_UNIT_CONSENSUS_BED_KEYGEN_AGENT_H

#include "tests/lib/unit.h"

#include "consensus/driver.h"
#include "consensus/keygen_agent.h"
#include "ledger/keygen.h"
#include "tests/lib/ledger_kit.h"

#define N 4
#define K 3
#define BLOCKS 4096

struct peers {
    unsigned self;
};

struct driver {
    unsigned self;
    struct kit kit; /* its state */
    size_t applied; /* blocks */
    struct state_read *reads[16];
    size_t read_count;
    struct state_write *writes[16];
    size_t write_count;
    struct submission *submissions[16]; /* in order */
    size_t submission_count;
    unsigned written, submits;
};

struct node {
    struct driver driver;
    struct peers peers;
    struct keygen_agent *agent;
    char folder[FOLDER_PATH];
    unsigned shares; /* on_share calls */
    bool away;       /* neither applies nor sends nor receives */
};

struct message {
    unsigned from, to;
    uint32_t type;
    struct buffer body;
};

extern struct node nodes[N + 1];
extern struct buffer blocks[BLOCKS]; /* the common log: a request each */
extern uint64_t block_times[BLOCKS];
extern size_t block_count;
extern struct message queue[4096];
extern size_t queued;
extern unsigned lose_percent;
extern uint64_t seed;
extern uint32_t mute_action; /* operations of this action ... */
extern unsigned mute_node; /* ... by this node are lost */
extern unsigned lying_dealer, lied_to; /* what one deals to the other is not on its polynomial */
extern unsigned garbling; /* other bytes than it published the hash of come from this node */
extern unsigned silent; /* no sub-share comes from this node */
extern unsigned leads; /* 0: none of the nodes has heard a leader */
extern bool nothing_of_term; /* a leader is known, and nothing of its term is applied */

void apply_block(struct driver *d, const struct submission *of, enum err *code, struct outcome *outcome);
void turn(void);

void start_agent(unsigned i);
void stop_agent(unsigned i);
int setup(void **state);
int teardown(void **state);
void start_all(unsigned but);
void come_back(unsigned i);

bool has_share(unsigned i);
struct keygen state_of(unsigned i);
bool wiped(unsigned i);
/* `ms` of the fast clocks. */
bool wait_shares(unsigned but, unsigned ms);
void run_for(unsigned ms);
bool wait_wiped(unsigned ms);
/* Any k shares make the secret of Y, and each is that of its verification key. */
void assert_key(unsigned a, unsigned b, unsigned c);
unsigned leaves_of(uint32_t action, enum decision decision);
unsigned denied(void);

/* Before and after all tests of a program. */
int bed_open(void **state);
int bed_close(void **state);
#define BED_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
