/* The simulator: several Raft cores, their disks and their network in one thread,
 * under one random sequence. Time is in microseconds and only moves by events, so
 * a seed gives the same run every time.
 *
 * simulate.c  the command: seeds, totals, how to replay
 * world.c     random numbers, events, the network
 * disk.c      what a crash keeps
 * node.c      the driver's side of one core, as consensus/raft.h demands it
 * oracle.c    the invariants, checked after every step
 * faults.c    a seed's plan: which faults, how often, then healing
 */
#ifndef TESTS_SIM_H
#define TESTS_SIM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "consensus/raft.h"
#include "consensus/rejoin.h"

#define SIM_NODES 7 /* ids 1 .. SIM_NODES */
#define SIM_TICK_US 10000

struct world;

/* ---- disk.c ---- */

struct write { /* as a ready gave it */
    uint64_t number;
    bool hard_state;
    raft_term term;
    raft_id vote;
    bool reset;
    struct raft_position reset_to;
    struct raft_config reset_config;
    raft_index truncate_from;
    struct raft_entry *entries; /* references held */
    size_t entry_count;
    uint64_t done_at;
};

struct state { /* of the state machine */
    struct raft_position position;
    struct raft_config config;
    uint64_t chain; /* a hash over all entries applied */
};

struct disk {
    raft_term term;
    raft_id vote;
    struct raft_position base; /* the log starts after it */
    struct raft_config base_config;
    struct raft_entry *log; /* base.index + 1 ... */
    size_t log_count, log_capacity;
    struct state state;
};

void disk_init(struct disk *d, const struct raft_config *genesis);
void disk_free(struct disk *d);
void disk_copy(struct disk *out, const struct disk *d); /* replaces what `out` was */
/* The first `parts` of a write's parts (term and vote, reset, truncation, each entry); all: SIZE_MAX. */
void disk_write(struct world *w, struct disk *d, const struct write *write, size_t parts);
size_t write_parts(const struct write *write);
void write_free(struct write *write);
raft_index disk_last(const struct disk *d);
raft_term disk_term_at(const struct disk *d, raft_index index); /* 0: not there */
const struct raft_entry *disk_entry(const struct disk *d, raft_index index); /* NULL: not there */
/* Loses up to `count` durable entries at the end. */
void disk_damage(struct disk *d, size_t count);
void disk_lose_vote(struct world *w, struct disk *d); /* and perhaps its term: back to what the rest still shows */
void disk_compact(struct disk *d, raft_index index, const struct raft_config *config);
/* What a start finds; brings log and state together as raft.h says. The arrays are the caller's to free. */
void disk_recover(struct disk *d, struct raft_state *out, const struct raft_config *genesis);

/* ---- node.c ---- */

struct node {
    raft_id id;
    struct raft *raft; /* NULL: down */
    uint64_t incarnation;
    struct disk disk;
    struct write *writes; /* submitted, not durable; in order */
    size_t write_count, write_capacity;
    uint64_t disk_free_at, disk_stalled_until;
    struct state applied; /* in memory */
    raft_index apply_to;
    bool apply_scheduled;
    uint64_t tick_us;
    bool installing;
    struct state install;
    uint64_t refuses_until; /* its driver takes no entries */
    uint64_t paused_until;  /* its process does nothing, and then all that came meanwhile */
    bool no_vote;           /* as set */
    struct disk image;      /* its disk at an earlier moment */
    bool set_back;          /* its disk was, or is damaged, and knows that; false again only when that doesn't matter any more */
    bool forgot;            /* the same, in memory */
    unsigned set_backs;     /* so often */
    raft_index once_applied; /* before one of those */
    struct rejoin rejoin;
    uint64_t ticks;
    struct world *world;
    /* for the oracle */
    struct raft_status before;
    raft_index commit_seen;
};

void node_start(struct world *w, struct node *n);
void node_crash(struct world *w, struct node *n);
void node_tick(struct world *w, struct node *n);
void node_deliver(struct world *w, struct node *n, const struct raft_message *m);
void node_receive_part(struct world *w, struct node *n, raft_id from);
void node_deliver_rejoin(struct world *w, struct node *n, raft_id from, const struct rejoin_message *m);
void node_write_done(struct world *w, struct node *n);
void node_read_done(struct world *w, struct node *n, const struct raft_read *read);
void node_apply(struct world *w, struct node *n);
void node_install_done(struct world *w, struct node *n);
void node_handle_ready(struct world *w, struct node *n); /* after any call into the core */
void node_sync_state(struct world *w, struct node *n, bool compact);
void node_set_may_vote(struct node *n, bool may);
void node_settle(struct node *n); /* may vote and lead as it should */
void node_propose(struct world *w, struct node *n, unsigned count);

/* ---- world.c ---- */

enum event_kind {
    EVENT_TICK,
    EVENT_DELIVER,
    EVENT_PART,
    EVENT_REJOIN,
    EVENT_WRITE_DONE,
    EVENT_READ_DONE,
    EVENT_INSTALL_DONE,
    EVENT_APPLY,
    EVENT_FAULT,
    EVENT_CLIENT,
    EVENT_CRASH,
    EVENT_MEMBERS,
};

struct event {
    uint64_t at, sequence;
    enum event_kind kind;
    raft_id node;
    uint64_t incarnation; /* of the node; an event of an earlier one is void */
    struct raft_message *message; /* DELIVER */
    unsigned set_backs;           /* ... of the receiver when it was sent */
    struct raft_read read;        /* READ_DONE */
    struct rejoin_message rejoin; /* REJOIN */
    raft_id from;                 /* ...; PART */
};

struct plan { /* drawn from the seed; chances are per 1000 */
    unsigned voters, nodes;
    struct raft_options options;
    uint64_t fault_phase_us, fault_every_us, client_every_us;
    unsigned delay_us, loss, duplicate;
    bool fifo, codec;
    unsigned entry_us; /* that an entry with content takes to pass; what is sent later on that link waits; 0: nothing does */
    unsigned write_us, read_fail, install_fail;
    unsigned crash, crash_leader, crash_new_leader, restart, stall, sync;
    unsigned partition, lonely_leader, heal_links, peer_lost;
    unsigned transfer, members, settings;
    unsigned batch, payload;
    bool torn;
    unsigned damage; /* a crash that loses durable entries, and perhaps term and vote */
    unsigned refuse, plot;
    unsigned stay_down; /* nodes that come back only after the others went on */
    unsigned set_back;  /* a crash after which the disk is an older one */
    unsigned image;     /* taken of some disk */
    unsigned most_set_back; /* or damaged, so many at once; with more than a minority nothing has to go on */
    unsigned rejoin_ticks;
    unsigned crash_voter, pause_candidate; /* when votes leave, and requests for them */
    unsigned pause, late_vote, lost_vote, vote_plot;
};

/* A leader that commits by a copy that was lost, and is gone before it hears of that. */
struct plot {
    unsigned step; /* the next; 0: none */
    uint64_t due;
    raft_id leader, loser, holder; /* who loses an entry that the leader has, and who gets it then */
};

/* A candidacy of which the leader does not hear, while who voted in it forgets that, and helps the leader to commit. */
struct vote_plot {
    uint64_t until;
    raft_id leader, stands, forgets, other; /* the other voter that is needed, of five: 0: none */
    bool other_forgets;                     /* or is asked only late, and takes no entries from some moment on */
    uint64_t refuses_from;
};

struct totals {
    uint64_t seeds, events, messages, committed;
    uint64_t elections, leaders, crashes, truncations, conflicts;
    uint64_t reads, installs, configs, transfers, damages, set_backs, rejoins, stranded;
};

struct term_entry { /* of one index */
    raft_term term, previous_term;
    uint64_t hash;
    unsigned lost_by; /* by id, a bit each: had it durable before the disk was set back */
    struct term_entry *next;
};

struct oracle {
    struct term_entry **entries; /* by index: every entry ever made there */
    raft_term *committed;        /* by index: the entry's term; 0: not */
    raft_term *committed_in;     /* by index: the term of who first knew */
    uint64_t *chains;            /* by index: state hash after applying it */
    raft_index capacity;
    raft_index last_committed, last_applied;
    raft_id *leaders; /* by term */
    raft_term leader_capacity;
};

struct world {
    uint64_t seed, random, now, sequence;
    bool verbose, healed;
    struct plan plan;
    struct event *heap;
    size_t heap_count, heap_capacity;
    struct node nodes[SIM_NODES + 1];
    bool cut[SIM_NODES + 1][SIM_NODES + 1]; /* from, to */
    uint64_t link_free[SIM_NODES + 1][SIM_NODES + 1];
    uint64_t next_payload;
    struct plot plot;
    struct vote_plot vote_plot;
    struct raft_config genesis;
    struct oracle oracle;
    struct raft_position marker; /* a block proposed after healing */
    struct totals *totals;
};

uint64_t sim_random(struct world *w);
uint64_t sim_below(struct world *w, uint64_t bound);   /* 0 .. bound - 1 */
bool sim_chance(struct world *w, unsigned per_thousand);
void sim_trace(struct world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
_Noreturn void sim_fail(struct world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Takes over a message given by pointer. */
void sim_schedule(struct world *w, uint64_t delay, struct event event);
bool sim_next(struct world *w, struct event *out);
void sim_drop_events(struct world *w);
void sim_send(struct world *w, const struct raft_message *m);
void sim_send_rejoin(struct world *w, raft_id from, raft_id to, const struct rejoin_message *m);
unsigned sim_version(const struct world *w, raft_id from, raft_id to); /* of the link between them */
uint64_t sim_hash(uint64_t hash, const void *data, size_t size);

/* ---- faults.c ---- */

void plan_draw(struct world *w);
void faults_step(struct world *w);
void faults_change_members(struct world *w, struct node *n);
/* Ends all faults; `stay_down` random nodes are down until faults_heal_rest. */
void faults_heal(struct world *w);
void faults_heal_rest(struct world *w);
/* After healing: true once a block proposed since then is applied by every member, and all vote. */
bool faults_converged(struct world *w);
/* A message of votes is about to leave: what the plot makes of it. False: it is lost. */
bool faults_plot_vote(struct world *w, const struct raft_message *m, uint64_t *delay);
unsigned faults_impaired(const struct world *w); /* nodes whose disk was set back, or lost something */
bool faults_can_heal(const struct world *w);     /* false: so many that nobody can tell what was forgotten */

/* ---- oracle.c ---- */

void oracle_init(struct oracle *o);
void oracle_free(struct oracle *o);
void oracle_entry(struct world *w, const struct raft_entry *e, raft_term previous_term); /* made or stored */
void oracle_message(struct world *w, struct node *n, const struct raft_message *m);      /* about to leave */
void oracle_ready(struct world *w, struct node *n, const struct raft_ready *ready);
void oracle_applied(struct world *w, struct node *n, const struct raft_entry *e, uint64_t chain);
void oracle_step(struct world *w, struct node *n); /* after every call into a core */
void oracle_lost(struct world *w, const struct node *n); /* its disk is about to be set back */
uint64_t oracle_entry_hash(const struct raft_entry *e);

#endif
