/* Inside the Raft core: its state, and what its files call of each other.
 *
 * raft.c           making, ticking, dispatch of messages, settings, queries
 * raft_blob.c      shared bytes
 * raft_config.c    member lists, and their history along the log
 * raft_log.c       index-to-term runs and the cache of recent entries
 * raft_ready.c     what comes out: writes, held-back messages, the ready
 * raft_election.c  pre-votes, votes, roles, handing over
 * raft_leader.c    proposals, commit index, answers of peers
 * raft_progress.c  what to send to which peer next
 * raft_follower.c  appends, heartbeats and snapshot offers of a leader
 * raft_message.c   encoding
 */
#ifndef CONSENSUS_RAFT_INTERNAL_H
#define CONSENSUS_RAFT_INTERNAL_H

#include "base/check.h"
#include "consensus/raft.h"

/* What an entry costs beside its bytes, in all limits of bytes. */
#define ENTRY_OVERHEAD 64u
/* Of heirs, in one hand-over of an election time-out: the default's are five ticks long. */
#define HEIR_TURNS 4u
/* Election time-outs: so a leader with a slow disk that finds no heir takes proposals for nine tenths of the time. */
#define YIELD_REST 10u
/* A learner this close behind may become a voter. */
#define PROMOTION_LAG 1024u

static inline raft_index index_min(raft_index a, raft_index b) { return a < b ? a : b; }
static inline raft_index index_max(raft_index a, raft_index b) { return a > b ? a : b; }

/* ---- the log (raft_log.c) ---- */

struct cached_entry {
    struct raft_entry entry;
    uint64_t bytes_before; /* of all entries ever cached before it: a difference is a range's size */
};

struct raft_log {
    struct raft_position compacted;
    raft_index last;
    struct raft_run *runs;
    size_t run_count, run_capacity;
    struct cached_entry *ring; /* capacity a power of two; holds cached_first .. last */
    size_t ring_capacity;
    raft_index cached_first; /* last + 1: none */
    uint64_t bytes_total;
    uint64_t bytes_evicted; /* bytes_before of cached_first */
};

void raft_log_init(struct raft_log *log, struct raft_position compacted);
void raft_log_free(struct raft_log *log);
void raft_log_append_run(struct raft_log *log, raft_index first, raft_index last, raft_term term);
void raft_log_append(struct raft_log *log, const struct raft_entry *entry); /* retains the blob */
void raft_log_truncate(struct raft_log *log, raft_index from);
void raft_log_reset(struct raft_log *log, struct raft_position position);
void raft_log_compact(struct raft_log *log, raft_index index);
/* Forgets cached entries up to `until` while more than `bytes` are cached. */
void raft_log_evict(struct raft_log *log, raft_index until, size_t bytes);
raft_term raft_log_term(const struct raft_log *log, raft_index index); /* 0: outside */
struct raft_position raft_log_position(const struct raft_log *log, raft_index index);
raft_index raft_log_run_first(const struct raft_log *log, raft_index index); /* first index of its term */
/* The highest index <= `index` whose term is <= `term`; one below the compacted index if there is none. */
raft_index raft_log_find(const struct raft_log *log, raft_index index, raft_term term);
const struct raft_entry *raft_log_cached(const struct raft_log *log, raft_index index);
size_t raft_log_bytes_after(const struct raft_log *log, raft_index index); /* cached ones */
size_t raft_entry_cost(const struct raft_entry *entry);

/* ---- members along the log (raft_config.c) ---- */

struct config_history {
    struct raft_config_at *at; /* at[0]: as of the compacted index; ascending; never empty */
    size_t count, capacity;
};
void config_history_init(struct config_history *h, raft_index index, const struct raft_config *base);
void config_history_free(struct config_history *h);
void config_history_add(struct config_history *h, raft_index index, const struct raft_config *config);
bool config_history_truncate(struct config_history *h, raft_index from); /* true: the latest changed */
void config_history_compact(struct config_history *h, raft_index index);
const struct raft_config_at *config_history_of(const struct config_history *h, raft_index index);
static inline const struct raft_config_at *config_history_latest(const struct config_history *h)
{
    return &h->at[h->count - 1];
}
bool raft_config_valid(const struct raft_config *config);
bool raft_config_votes(const struct raft_config *config, raft_id id); /* is a voter in it */
/* Two voters that are a majority by themselves, in force: of 2 or 3 voters. */
bool raft_two_decide(const struct raft *r, raft_id one, raft_id other);
/* `to` is one permitted step from `from`; a step's kind is also told. */
bool raft_config_is_step(const struct raft_config *from, const struct raft_config *to, raft_id *promoted);

/* ---- peers, as a leader sees them (raft_progress.c) ---- */

struct progress {
    raft_id id;
    bool voter;
    enum raft_progress state;
    uint64_t round; /* a new one with each change of state, and each probe: rejections of an older one are ignored,
                       or a few lost appends would have each of a whole window's rejections send another window */
    raft_index match, next;
    bool paused;          /* probe: one append is out, wait for a heartbeat's answer */
    bool reading;         /* a read of our own log is out */
    raft_index snapshot;  /* offered */
    raft_index commit_sent, durable_sent;
    bool counts; /* raft_peer_counts: it reads what is sent of `durable` */
    uint32_t silent_ticks;
    unsigned turns;       /* as heir, in this hand-over */
    size_t window_bytes;
    unsigned window_first, window_count;
    struct {
        raft_index last;
        size_t bytes;
    } window[LIMIT_RAFT_WINDOW];
};

/* ---- what goes out (raft_ready.c) ---- */

struct message_list {
    struct raft_message *items;
    size_t count, capacity;
};
struct read_list {
    struct raft_read *items;
    size_t count, capacity;
};
struct entry_list {
    struct raft_entry *items;
    size_t count, capacity;
};

/* A write handed out and not yet durable. */
struct ticket {
    uint64_t number;
    raft_index last; /* highest of its entries that is still in the log; 0: none */
    uint64_t issued_tick;
};

/* Buffers behind a ready that was handed out. */
struct ready_store {
    struct raft_ready ready;
    struct message_list messages;
    struct read_list reads;
    struct entry_list entries;
    struct raft_install install;
    struct raft_conflict conflict;
};

struct raft {
    struct raft_options options;
    bool halted;
    uint64_t random;
    uint64_t ticks;

    raft_term term;
    raft_id vote;
    enum raft_role role;
    raft_id leader;
    struct raft_log log;
    struct config_history configs;

    raft_index commit;
    raft_index applied;
    raft_index apply_given; /* handed out to be applied */
    raft_index floor;
    raft_index snapshot; /* offered to peers, with manifest */
    struct raft_blob *manifest;

    bool may_vote, may_lead, may_acknowledge;
    uint32_t election_elapsed, election_timeout;
    uint32_t heartbeat_elapsed;
    uint64_t climbed_tick; /* of the last jump of term */
    uint64_t heard_tick;   /* of the last word of a leader whose term was this node's; its own while it leads */
    uint64_t elections, yielded;

    /* durability */
    bool hard_dirty;         /* term or vote not yet in a write */
    uint64_t hard_write;     /* the last write that holds them */
    raft_index written;      /* entries up to here are in writes */
    raft_index persisted;    /* entries up to here are durable */
    raft_index truncate_from; /* for the next write; 0: none */
    bool reset;
    struct raft_position reset_to;
    uint64_t write_issued, write_done;
    struct ticket tickets[LIMIT_RAFT_WRITES];
    unsigned ticket_first, ticket_count;
    uint64_t behind_write, behind_tick; /* a leader's oldest write, which a majority has durable, since when */
    uint64_t late_tick;                 /* when a late one was done */
    unsigned slow_writes;               /* late ones in a row */

    /* follower */
    raft_index checked; /* agrees with this term's leader up to here */
    raft_index acknowledged; /* the match last told to it */
    uint64_t answered_tick;  /* when it was last sent a heartbeat's answer */
    raft_index leader_commit; /* as told in this term, not clamped */
    raft_index leader_durable; /* the same, of the leader's own log */
    bool installing;
    struct raft_install install;
    raft_term install_term; /* when offered */

    /* candidate: by place in the latest configuration */
    enum { VOTE_NONE, VOTE_YES, VOTE_NO } votes[LIMIT_NODES];
    bool asked; /* it stands, or led from then on, since the leader before it handed over */

    /* leader */
    struct progress progress[LIMIT_NODES];
    unsigned progress_count;
    uint64_t round; /* the last given out */
    raft_index term_start; /* our no-op */
    raft_id transfer;      /* target, 0: none */
    bool transfer_named;   /* it was asked for; else the next heir gets a turn after a while */
    uint32_t transfer_elapsed, heir_elapsed;
    uint64_t yield_after;  /* tick; before it no hand-over for a slow disk */

    /* out */
    struct message_list outbox; /* may be sent */
    struct message_list held;   /* wait for term and vote to be durable */
    struct read_list reads;
    bool install_notice, config_notice, conflict_notice;
    struct raft_conflict conflict;
    enum raft_role told_role;
    raft_term told_term;
    raft_id told_leader;
    struct ready_store taken;
};

/* How far this node's copy counts in a majority: what is durable here; where it may not count, what needs it no more. */
static inline raft_index raft_own_copy(const struct raft *r)
{
    return r->may_acknowledge ? r->persisted : index_min(r->persisted, r->commit);
}

/* raft_ready.c */
void raft_ready_init(struct raft *r);
void raft_ready_free(struct raft *r);
/* Sends when term and vote are durable. Takes over entries and manifest. Sets from and term. */
void raft_emit(struct raft *r, struct raft_message *m);
bool raft_hard_state_is_durable(const struct raft *r);
void raft_drop_campaign(struct raft *r); /* held-back requests for votes */
void raft_set_hard_state(struct raft *r, raft_term term, raft_id vote);
void raft_truncate_log(struct raft *r, raft_index from);
void raft_reset_log(struct raft *r, struct raft_position position);
void raft_request_read(struct raft *r, const struct raft_read *read);
void raft_note_conflict(struct raft *r, const struct raft_message *m, const struct raft_entry *theirs);
void raft_drop_outbox(struct raft *r);
void raft_evict(struct raft *r); /* cached entries beyond the limits */

/* raft_election.c */
void raft_become_follower(struct raft *r, raft_term term, raft_id leader);
void raft_campaign(struct raft *r, bool transfer);
bool raft_electable(const struct raft *r);
bool raft_in_lease(const struct raft *r);
void raft_reset_election_timer(struct raft *r);
void raft_hard_state_durable(struct raft *r); /* a candidate may count its own vote */
enum err raft_handle_prevote(struct raft *r, const struct raft_message *m);
enum err raft_handle_prevote_answer(struct raft *r, const struct raft_message *m);
enum err raft_handle_vote(struct raft *r, const struct raft_message *m);
enum err raft_handle_vote_answer(struct raft *r, const struct raft_message *m);
enum err raft_handle_timeout_now(struct raft *r, const struct raft_message *m);
void raft_deny_vote(struct raft *r, const struct raft_message *m);

/* raft_leader.c */
void raft_leader_start(struct raft *r);
void raft_leader_tick(struct raft *r);
void raft_maybe_commit(struct raft *r);
void raft_append_own(struct raft *r, enum raft_entry_type type, struct raft_blob *blob);
void raft_hand_over(struct raft *r); /* may not lead any more, or was removed */
void raft_advance_transfer(struct raft *r, const struct progress *p);
enum err raft_handle_append_answer(struct raft *r, const struct raft_message *m);
enum err raft_handle_heartbeat_answer(struct raft *r, const struct raft_message *m);
enum err raft_handle_snapshot_answer(struct raft *r, const struct raft_message *m);

/* raft_progress.c */
struct progress *raft_progress_of(struct raft *r, raft_id id);
void raft_progress_sync(struct raft *r); /* after the configuration changed */
void raft_progress_probe(struct raft *r, struct progress *p, raft_index next);
void raft_progress_replicate(struct raft *r, struct progress *p, raft_index next);
void raft_progress_matched(struct progress *p, raft_index match);
bool raft_progress_active(const struct raft *r, const struct progress *p);
void raft_flush(struct raft *r);
void raft_broadcast_heartbeat(struct raft *r);

/* raft_follower.c */
enum err raft_handle_append(struct raft *r, const struct raft_message *m);
enum err raft_handle_heartbeat(struct raft *r, const struct raft_message *m);
enum err raft_handle_snapshot(struct raft *r, const struct raft_message *m);
bool raft_follower_receiving(struct raft *r, raft_id from);
void raft_acknowledge(struct raft *r); /* tells the leader what became durable */
void raft_answer_stale_leader(struct raft *r, const struct raft_message *m);

#endif
