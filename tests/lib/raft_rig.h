/* A few Raft cores on a bench, for scripted tests: every message, write and tick
 * happens when the script says so. Failures end the test through cmocka. */
#ifndef TESTS_LIB_RAFT_RIG_H
#define TESTS_LIB_RAFT_RIG_H

#include "consensus/raft.h"

#define RIG_NODES 7
#define RIG_SENT 4096

struct rig_node {
    struct raft *raft; /* NULL: down */
    raft_id id;
    bool slow_disk; /* writes wait for rig_persist */
    bool slow_reads;
    /* the disk */
    raft_term term;
    raft_id vote;
    struct raft_position base;
    struct raft_config base_config;
    struct raft_entry log[512]; /* base.index + 1 ... */
    size_t log_count;
    raft_index durable_applied;
    struct raft_blob *manifest;
    raft_index snapshot;
    /* writes that wait */
    struct rig_write {
        uint64_t number;
        bool hard_state;
        raft_term term;
        raft_id vote;
        bool reset;
        struct raft_position reset_to;
        raft_index truncate_from;
        struct raft_entry entries[64];
        size_t entry_count;
    } writes[64];
    size_t write_count;
    /* what the readies said last */
    raft_index apply_to, truncated;
    bool has_install;
    struct raft_install install; /* manifest retained */
    unsigned installs, conflicts, role_changes;
    struct raft_conflict conflict; /* without the entry's blob */
    struct raft_read read;
    unsigned reads;
};

struct rig {
    struct rig_node nodes[RIG_NODES + 1];
    struct raft_options options; /* for nodes started from now on */
    struct raft_config genesis;
    bool votes_only; /* everything else is lost */
    bool cut[RIG_NODES + 1][RIG_NODES + 1]; /* from, to */
    bool older[RIG_NODES + 1];              /* speaks version 1 only (consensus/peer_messages.h) */
    struct raft_message wire[RIG_SENT];     /* not yet delivered; owned */
    size_t wire_count;
    struct raft_message seen[RIG_SENT]; /* all that was sent, without entries and manifest */
    size_t seen_entries[RIG_SENT];
    size_t seen_count;
};

/* Nodes 1 .. count, of which 1 .. voters are members. */
struct rig *rig_new(unsigned voters, unsigned count);
void rig_free(struct rig *rig);
void rig_start_node(struct rig *rig, raft_id id); /* from its disk */
void rig_crash(struct rig *rig, raft_id id);      /* waiting writes are lost */
/* Takes readies: messages go to the wire, writes to the disk unless it is slow. */
void rig_take(struct rig *rig, raft_id id);
/* Takes and delivers until nothing moves. */
void rig_run(struct rig *rig);
void rig_persist(struct rig *rig, raft_id id, size_t count); /* the oldest waiting writes */
void rig_disk(struct rig *rig, raft_id id, bool slow);       /* false: also writes what waits */
void rig_tick(struct rig *rig, raft_id id, unsigned ticks);  /* of one node, then takes */
void rig_ticks(struct rig *rig, unsigned ticks);             /* of all, running in between */
void rig_elect(struct rig *rig, raft_id id); /* makes it the leader; fails the test if it cannot */
/* A block with this text; its index, 0 when refused. */
raft_index rig_propose(struct rig *rig, raft_id id, const char *text);
void rig_isolate(struct rig *rig, raft_id id);
void rig_heal(struct rig *rig);
void rig_drop(struct rig *rig); /* what is on the wire */
/* Steps a message made by the script. Entries' blobs stay the caller's. */
enum err rig_step(struct rig *rig, raft_id to, struct raft_message m);
/* The last message of that type sent; NULL: none. `from` 0: anybody. */
const struct raft_message *rig_sent(struct rig *rig, raft_id from, raft_id to, enum raft_message_type type);
unsigned rig_count(struct rig *rig, raft_id from, enum raft_message_type type);
void rig_forget(struct rig *rig); /* what was sent so far */
struct raft_status rig_status(struct rig *rig, raft_id id);
const char *rig_text(struct rig *rig, raft_id id, raft_index index); /* of the block on disk; "" if none */
void rig_sync(struct rig *rig, raft_id id);                          /* applied state becomes durable */
void rig_compact(struct rig *rig, raft_id id, raft_index index);
enum err rig_change(struct rig *rig, raft_id leader, raft_id id, int role); /* -1 absent, 0 learner, 1 voter */

#endif
