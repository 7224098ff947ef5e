/* Inside the driver: its state, and what its files call of each other.
 *
 * driver.c           start, stop, the loop's handles, reads and writes of the state
 * driver_core.c      events into the Raft core, its ready out of it, admission of blocks
 * driver_apply.c     entries on their way from admission to applied
 * driver_submit.c    submissions, forwarding, assembly of blocks
 * driver_open.c      the core from what the disk holds
 * driver_repair.c    damaged log entries from peers
 * driver_trim.c      snapshots, compaction, catching up
 * driver_evidence.c  leaders that contradict themselves
 * driver_blame.c     evidence: kept, told to all; who is named by it
 * driver_fork.c      on which side of a fork this node stands
 * driver_distrust.c  leaders whose blocks can't be taken
 * driver_past.c      a disk that was set back to an old image
 * driver_rejoin.c    ... and how such a node gets its vote back
 */
#ifndef CONSENSUS_DRIVER_INTERNAL_H
#define CONSENSUS_DRIVER_INTERNAL_H

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "consensus/driver.h"
#include "consensus/entry.h"
#include "consensus/intake.h"
#include "consensus/log_thread.h"
#include "consensus/pace.h"
#include "consensus/peer_messages.h"
#include "consensus/preverify.h"
#include "consensus/raft.h"
#include "consensus/rejoin.h"
#include "consensus/state_thread.h"
#include "net/workers.h"
#include "ledger/apply.h"
#include "ledger/evidence.h"
#include "ledger/genesis.h"

#define DRIVER_JAMMED (128 * KIB) /* on the way to a peer: its link is not fast, or has much to do */
#define DRIVER_TICK_MS 50      /* the core's unit of time */
#define DRIVER_SLOW_TICKS 20   /* once a second: trimming, space, repair */
#define DRIVER_HEADS 1024u     /* recent entries whose hashes and signatures are kept for evidence */
#define EVIDENCE_PER_MEMBER 4  /* kept: the first ones */
#define DRIVER_SPARE_RESULTS 8 /* result buffers kept for the next blocks */

enum driver_phase {
    DRIVER_OPENING, /* the log is being repaired, or the state lags behind the log: no core yet */
    DRIVER_RUNNING,
    DRIVER_LEAVING, /* stopping: hands over leadership first */
    DRIVER_FLUSHING, /* stopping: waits for reads on workers */
    DRIVER_STOPPED,
    DRIVER_FAILED,
};

/* What one entry of the log is on its way from admission to applied. */
struct block_job {
    struct state_apply apply;
    struct preverify_job check;
    struct driver *d;
    struct raft_entry entry; /* holds a reference to the blob */
    struct digest hash;
    struct block block;
    bool decoded; /* `block` holds requests */
    bool dropped; /* nobody wants it: freed once no worker has it */
    bool *wanted;
    struct matched { /* submissions answered by this block */
        struct submission *submission; /* NULL: gone meanwhile */
        uint32_t first; /* result of its first operation */
        uint32_t count;
    } *matched;
    size_t matched_count;
    uint32_t operations;
};

/* Entries read from the own log on a worker. */
struct fetch {
    struct worker_task task;
    struct driver *d;
    raft_index first, last;
    size_t max_bytes;
    raft_id peer;  /* for a lagging peer; 0: to be applied here */
    uint64_t id;   /* of a peer's PEER_BLOCK_ASK; the answer carries it */
    bool for_repair;
    enum err code;
    struct raft_entry *entries;
    size_t count;
    struct block_job **jobs; /* decoded, when to be applied */
};

/* The handles live on until the loop has closed them. */
struct driver_handles {
    struct driver *d; /* NULL: gone */
    struct wake wake;
    uv_timer_t tick, pace;
    uv_prepare_t before_poll;
    uv_check_t after_poll;
    unsigned open;
};

/* How far a node had come, under its signature; term 0: none. */
struct past {
    uint64_t term, index, size; /* durable; committed and durable; cosigned */
    struct signature signature;
};

struct size_mark { /* the log's entries before `index` make `bytes` */
    raft_index index;
    uint64_t bytes;
};

/* What stands at an index of the log, and who signed it as leader; signer 0: nobody. */
struct head {
    raft_index index;
    raft_term term;
    struct digest hash;
    unsigned signer;
    struct signature signature;
    bool came; /* since this start, from the leader; else it was in the log */
};

struct blame { /* of one member */
    unsigned count;
    struct digest ids[EVIDENCE_PER_MEMBER];
    struct buffer first; /* encoded evidence */
};
struct holder { /* one peer, since it was asked */
    bool answered;
    bool same, apart; /* its log has our entry at the fork's index, or another one; neither: it doesn't know */
    raft_index cosigned;
};
struct compare { /* with one peer */
    uint64_t tick;
    raft_index next, last;
    raft_index given; /* the last one found of which it has another entry than a leader gave this node; 0: none */
    raft_index same;  /* up to there nothing like that was found the last time */
};
struct contradiction { /* index 0: none */
    raft_index index; /* after that entry these members say otherwise, by their signatures: it is applied there, too */
    uint32_t members; /* bits */
    uint64_t since;   /* tick */
    char why[240];
};
struct fork { /* index 0: none known */
    raft_index index; /* the first one where our log differs from this leader's */
    unsigned leader;
    raft_term term;
    uint64_t since, asked; /* ticks: of the first question, of the last */
    struct raft_position last; /* up to where our word is withdrawn */
};
struct statements;

/* Of one node as leader, in ticks; 0: never. */
struct distrust {
    uint64_t first, last; /* refusals that belong together */
    uint64_t until;       /* not heard as a leader or candidate before then */
    bool overlong;        /* a message was not whole in time, and no entry since */
};

struct driver {
    struct driver_options o;
    enum driver_phase phase;
    struct driver_handles *handles;
    struct workers *workers;
    struct preverify *preverify;
    struct log_thread *log;
    struct state_thread *state;
    struct raft *raft; /* NULL while opening */
    bool dirty;        /* the core, or the pipeline, may have something to do */
    bool turning;
    struct failure *starting; /* inside driver_start: where a failure goes */
    uint64_t ticks;
    uint64_t transfer_ns; /* when something was last seen to take long on its way to or from the leader: monotonic */
    uint64_t sending_ns;  /* since when a lot is on its way to it; 0: it is not */
    uint64_t returned_ns; /* of the requests forwarded to it that came back in a block: when the last one was sent */

    /* as last told */
    bool leads;
    unsigned leader;
    uint64_t term;

    /* what the driver decides */
    bool quarantined, clock_ok, space_low;
    unsigned log_filled; /* thousandths of the log's limits ... */
    bool log_full;       /* ... so many that no new blocks are begun */
    uint64_t yielded, warned_disk_ns; /* as the core last said; see watch_disk */
    uint64_t wished_ns;  /* when this node last said that it wants another leader */
    bool stuck;             /* the state takes nothing, though it should */
    raft_index moved_to;    /* where it was ... */
    uint64_t moved_tick;    /* ... since then, if it should go on */
    char quarantined_why[240];
    struct cosigned_mark mark;   /* the last durable one */
    bool marked;

    /* submissions */
    struct intake intake;
    bool held;             /* some wait here, for less of this node's to be at the leader */
    struct pace pace;      /* of the blocks proposed here */
    int64_t clock_ahead_ms; /* the wall clock of the monotonic one, when last looked at; 0: not yet */
    uint64_t clock_set_ns;  /* when the wall clock was seen to be set, 0: never */

    /* pipeline */
    struct queue admitted; /* block_jobs of messages stepped, and blocks proposed, since the last ready */
    struct block_job *slots[LIMIT_PIPELINE]; /* by index modulo the size: apply_next .. */
    size_t pipeline_bytes;
    raft_index apply_next;   /* to hand to the state thread */
    raft_index apply_due;    /* committed, and durable here */
    size_t applying, applying_bytes;
    bool fetching;
    uint64_t fetch_next; /* tick: not before then, an entry that is due is being mended */
    struct state_position position;
    struct state_synced synced;
    struct ledger_results *spare[DRIVER_SPARE_RESULTS];
    size_t spare_count;
    unsigned state_jobs; /* reads and writes of others */

    /* trimming and catching up */
    bool compacting, hold;     /* hold: the state is ahead of its position: nothing is applied */
    bool installing, asked;    /* asked: on_install was called, and not answered */
    struct raft_position install;   /* the one offered */
    struct raft_position confirmed; /* what b + 1 members have said of where a size stands, last */
    struct raft_blob *manifest; /* of the snapshot offered, or being installed */
    uint64_t asked_tick;
    struct size_mark *sizes;
    size_t size_count, size_capacity;
    uint64_t log_bytes; /* appended since the log's beginning, as counted here */

    /* repair */
    struct repair *repair;
    uint64_t repair_told; /* tick: when people were last told that a damaged entry keeps this node out; 0: never */
    raft_index pulled;    /* the state was pulled for the want of that entry */
    uint64_t repair_asks; /* so many questions, each with its number as id: which one an answer is to */
    unsigned giving[LIMIT_NODES + 1]; /* entries being read for a member that repairs its log */

    /* evidence */
    struct head heads[DRIVER_HEADS]; /* by index modulo the size */
    struct statements *statements;   /* of leaders, NULL before the first */
    uint64_t said_ns[LIMIT_NODES + 1];
    struct blame blame[LIMIT_NODES + 1];
    struct holder holders[LIMIT_NODES + 1];
    struct compare compares[LIMIT_NODES + 1];
    struct contradiction contradiction;
    struct fork fork;
    uint64_t fork_said;      /* tick at which a fork last stood in the program's log; 0: never */
    raft_index doubted;      /* 1 + the cosigned index when a leader was last distrusted for a fork of its own word */
    bool deceived;           /* the owner was told */
    raft_index marking;      /* a cosigned mark on its way to the disk */
    struct driver_rebuilt rebuilt;
    raft_index stated;       /* index of `statement` */
    raft_term stated_term;
    struct buffer statement;

    struct distrust distrust[LIMIT_NODES + 1]; /* by member index */

    struct past claim;                   /* the last one of this node's own */
    struct past pasts[LIMIT_NODES + 1];  /* the furthest of each peer */
    struct past past;                    /* this node's own, as peers showed it */
    bool forgot; /* votes, and what it acknowledged: set back, or its log damaged; counts in no majority till it rejoined */
    bool log_says_forgot; /* or will, once the log thread has come there */
    struct past excused;                 /* forgotten, and matters no more, or was accepted; no signature */
    bool past_told[LIMIT_NODES + 1];     /* by that member, since the start: what it knows of this node's own past */
    bool past_known;                     /* all that can be told now was */
    bool past_due[LIMIT_NODES + 1];      /* what the disk says of it is not what `pasts` says */
    uint64_t past_kept[LIMIT_NODES + 1]; /* the tick in which it was written last; 0: never */
    bool tells_loss;    /* what the operator accepted, as far as a Raft index says it, is to be told */
    raft_index accepted;
    struct rejoin rejoin;
    raft_term rejoined_in; /* its vote in that term, its leader's, is not durable yet; 0: no such thing */

    /* stopping */
    void (*stopped)(void *data);
    void *stopped_data;
    uint64_t leave_by; /* tick */
    bool leaves;       /* leadership */

    struct buffer out; /* a message being encoded */
    struct driver_status counters;
};

/* driver.c */
void driver_fail(struct driver *d, enum err code, const char *format, ...) __attribute__((format(printf, 3, 4)));
bool driver_alive(const struct driver *d); /* takes part: has a core, not failed or stopped */
void driver_state_done(struct driver *d, struct job *job);
void driver_wake_in(struct driver *d, uint64_t ms); /* a turn, then */

/* driver_core.c */
void driver_turn(struct driver *d);
void driver_tick(struct driver *d);
void driver_watch_clock(struct driver *d); /* at each tick */
void driver_log_done(struct driver *d, struct job *job);
void driver_apply_settings(struct driver *d); /* may_vote, may_lead from what is known */
void driver_every(uint64_t *count, const char *what, unsigned from, enum err e); /* counts, and logs ever more rarely */

/* driver_apply.c */
struct block_job *block_job_new(struct driver *d, const struct raft_entry *entry);
enum err block_job_decode(struct block_job *job); /* OK also when the bytes are no block (a no-op then) */
void block_job_drop(struct block_job *job);
void driver_adopt(struct driver *d, const struct raft_entry *entry);
void driver_drop_admitted(struct queue *admitted);
void driver_truncate(struct driver *d, raft_index from);
void driver_pipeline_reset(struct driver *d, raft_index applied);
void driver_pump(struct driver *d);
void driver_applied(struct driver *d, struct block_job *job);
void driver_fetch(struct driver *d, const struct fetch *what);

/* driver_submit.c */
void driver_route_all(struct driver *d); /* own requests that nobody has: to the leader, or into the intake */
void driver_unsent(struct driver *d);    /* forget that they were forwarded */
void driver_deadlines(struct driver *d);
void driver_propose(struct driver *d);
void driver_finish(struct driver *d, struct intake_item *item, enum err code, const struct outcome *outcomes,
                   size_t count);
void driver_finish_all(struct driver *d, enum err code);
void driver_forwarded(struct driver *d, unsigned from, struct bytes body);

/* driver_open.c */
void driver_open(struct driver *d);
void driver_genesis_config(struct raft_config *config, const struct genesis *genesis);
struct without { /* a damaged entry of the log: the first one */
    raft_index index;
    unsigned lacking; /* so many peers are there and don't have it, or can't prove that it is the one */
    bool waited;      /* long enough for it; else all lack it */
    bool behind;      /* one that lacks it has committed more: it may have compacted it */
};
bool driver_give_up(struct driver *d, const struct without *w); /* false: it still keeps this node out */

/* driver_repair.c */
void driver_repair_start(struct driver *d);
void driver_repair_tick(struct driver *d);
void driver_repair_free(struct driver *d);
raft_term driver_known_term(const struct driver *d, raft_index index); /* 0: nothing says it any more */
void driver_block_asked(struct driver *d, unsigned from, uint64_t id, struct bytes body);
void driver_block_given(struct driver *d, struct fetch *fetch);
void driver_block_came(struct driver *d, unsigned from, uint64_t id, struct bytes body);
void driver_patched(struct driver *d, enum err code);

/* driver_trim.c */
void driver_trim(struct driver *d);
void driver_count_size(struct driver *d, raft_index index, size_t bytes);
void driver_install(struct driver *d, const struct raft_install *install);
void driver_ask_state(struct driver *d); /* catching up that no leader asked for */
void driver_state_moved(struct driver *d);
void driver_state_synced(struct driver *d);
void driver_compacted(struct driver *d, struct log_compaction *c);

/* driver_distrust.c */
void driver_distrust(struct driver *d, unsigned node, const char *why); /* for a while */
void driver_refused(struct driver *d, unsigned from, enum err code); /* a block of this leader */
void driver_refused_lately(struct driver *d, unsigned from); /* still: a part of what it says next came */
void driver_accepted(struct driver *d, unsigned from);
bool driver_shuns(const struct driver *d, unsigned node); /* its word is not taken: named a liar, or distrusted now */
bool driver_hears(const struct driver *d, const struct raft_message *m); /* false: drop it */

/* driver_past.c */
void driver_past_load(struct driver *d, unsigned peer, struct bytes row); /* as it was kept */
void driver_past_tick(struct driver *d);
void driver_past_wait(struct driver *d); /* whether it still has to, before it votes */
void driver_past_up(struct driver *d, unsigned peer);
void driver_past_came(struct driver *d, unsigned from, struct bytes body);
void driver_past_judge(struct driver *d); /* once the core runs: is the log behind the past? */
void driver_past_raise(struct past *p, const struct past *by); /* to the furthest of both, in each of the three */
void driver_past_keep(struct driver *d, unsigned node);        /* what `pasts` says of it, durably soon */
bool driver_past_reached(const struct driver *d); /* index and cosigned size of all that it ever claimed */

/* driver_rejoin.c */
void driver_rejoin_init(struct driver *d);
/* This node may have voted and acknowledged what it doesn't know of, at least up to there. */
void driver_forgets(struct driver *d, const struct past *lost, const char *why);
void driver_note_forgotten(struct driver *d); /* in the log, too, where it forgot and that isn't noted yet */
void driver_rejoin_tick(struct driver *d);  /* once a second */
void driver_rejoin_came(struct driver *d, unsigned from, struct bytes body);

/* driver_evidence.c */
void driver_note_head(struct driver *d, const struct raft_entry *entry, const struct digest *hash);
const struct head *driver_head(const struct driver *d, raft_index index); /* NULL: not remembered */
struct statement driver_head_statement(const struct head *head);
bool driver_two_heads(struct driver *d, const struct head *a, const struct head *b); /* evidence, if one signed both */
void driver_state_commit(struct driver *d); /* renews d->statement */
void driver_check_statement(struct driver *d, const struct raft_message *heartbeat);
void driver_conflict(struct driver *d, const struct raft_conflict *conflict);

/* driver_blame.c */
enum err driver_blame_load(struct driver *d);
void driver_blame_free(struct driver *d);
void driver_blame_up(struct driver *d, unsigned peer);
void driver_evidence_came(struct driver *d, unsigned from, struct bytes body);
/* Whether the two are evidence against the signer; then it is kept, and told. */
bool driver_contradiction(struct driver *d, unsigned signer, const struct statement *a, const struct statement *b);

/* driver_fork.c */
void driver_heads_asked(struct driver *d, unsigned from, struct bytes body);
void driver_heads_came(struct driver *d, unsigned from, struct bytes body);
void driver_differs(struct driver *d, unsigned from, raft_index index); /* our log and this peer's */
/* This node drops what nobody cosigned. `told`: a leader gave it another history; else its own data are in doubt. */
void driver_deceived(struct driver *d, bool told, const char *why);
void driver_withdraw_came(struct driver *d, unsigned from, struct bytes body);
void driver_withdrawn_came(struct driver *d, unsigned from, struct bytes body);
void driver_fork_tick(struct driver *d);
#define DRIVER_REBUILDS 3u              /* by itself, without having cosigned anything between */

/* driver_contradicted.c */
bool driver_was_given(const struct driver *d, const struct head *own); /* by another node that led */
void driver_contradicted_tick(struct driver *d);

#endif
