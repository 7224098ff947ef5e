/* The Raft core: pure, deterministic, events in and actions out.
 *
 * It knows no clock, socket, file, thread or randomness: the driver feeds it
 * messages, ticks, proposals and completions, and then takes one `ready` that
 * says what to write, send, read, apply and install. Given the same options
 * (with their seed) and the same calls it does the same things.
 *
 * Sources: Ongaro, "Consensus: Bridging Theory and Practice" (2014), chapters
 * 3 (replication, transfer), 4 (one-at-a-time membership, with the correction
 * of 2015: not before an entry of the leader's own term is committed), 6.4, 9.6
 * (pre-vote), 10.2.1 (the leader's write in parallel); the shape is etcd's.
 *
 * THE DRIVER'S LOOP. All calls come from one thread (the loop thread); only
 * blobs may travel to others.
 *
 *   1. Feed any number of events: raft_step, raft_tick, raft_propose,
 *      raft_persisted, raft_applied, raft_read_done, raft_snapshot_installed ...
 *   2. ready = raft_take(raft). It is valid until the next raft_take.
 *   3. If ready->write is not 0, hand ONE write to the log thread, with this
 *      order inside: term and vote (if hard_state), reset (if reset), truncation
 *      (if truncate_from), entries. Writes are executed in the order of their
 *      numbers. A write that a crash tears must lose a suffix of that order,
 *      never a part in the middle. The log thread retains the entries' blobs.
 *      When the write (and so all before it) is durable: raft_persisted(raft,
 *      ready->write). Several may be outstanding; the completions may be joined
 *      (only the highest number reported).
 *      If a write fails: raft_halt, and stop the process. A restart replays.
 *   4. Send ready->messages. They never depend on this ready's write: the core
 *      itself holds back every message whose term, vote or entries are not yet
 *      durable, and gives it out in a ready after raft_persisted (or drops it when
 *      it became stale meanwhile). So 3 and 4 need no order between them; sending
 *      first lets the leader's replication overlap with its own disk write.
 *      Messages may be lost, delayed, repeated or reordered, and each one to a
 *      peer that cannot be reached is simply dropped (and raft_peer_lost called).
 *   5. Start ready->reads: entries of our own log that a lagging peer needs and
 *      that left the cache; answer each with raft_read_done or raft_read_failed.
 *   6. If apply_to is not 0: entries apply_from .. apply_to are committed and
 *      durable in this node's own log; apply them in order at whatever pace. Take
 *      each by raft_entry_cached, else read it from the log (on the log thread: an
 *      entry that is not cached is always durable). Then raft_applied.
 *   7. If install is set: fetch that state, make it durable, then
 *      raft_snapshot_installed, or raft_snapshot_failed.
 *   8. Notices: role_changed, config_changed, conflict.
 *
 * A PROPOSAL's fate: it has the index that raft_propose gave and the term of
 * that moment. It is done when that index is applied and its term is still the
 * same (raft_term_of before compaction, or the term given with the entry). It is lost when a
 * ready has truncate_from <= index, or reset. Otherwise its fate is unknown: wait.
 *
 * ADMISSION: what the driver does not like (block too far in the future, bad
 * signature, wrong sender) it just does not step. The leader notices by the
 * next heartbeat answer and sends that one append again once per heartbeat.
 *
 * START: raft_new takes what the disk holds. Order of durable things at
 * compaction: first the state at or beyond the index, then the log is trimmed.
 * After a crash between installing a snapshot's state and the log's reset, the
 * driver finds its state at a position that the log does not contain (index
 * beyond the log's last, or another term there): it then drops the whole log, and
 * starts with `compacted` = the state's position and no runs.
 *
 * A LAGGARD of terms: a message whose term is more than RAFT_TERM_JUMP beyond
 * ours is refused, or one liar could push the term to its end and stop elections
 * for ever. But each such message may raise our own term by RAFT_TERM_JUMP, at
 * most once in an election time-out; so a node that really was away for that many
 * elections climbs after the cluster, unaided.
 *
 * A DAMAGED log (a hole that is no torn tail), or a disk that was set back: start
 * the core with the intact prefix, raft_set_may_vote(false) and
 * raft_set_may_acknowledge(false); the leader sees that the node lost what it once
 * acknowledged, and sends it again. consensus/rejoin.h says when it may do both again.
 */
#ifndef CONSENSUS_RAFT_H
#define CONSENSUS_RAFT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/limits.h"

/* Terms and indexes are compared and counted everywhere, so they stay plain
 * integers; where both go together they travel as one raft_position. Index 0
 * (term 0) is the place before the first entry. */
typedef uint64_t raft_term;
typedef uint64_t raft_index;
typedef uint16_t raft_id; /* of a node, never reused; 0: nobody */

#define RAFT_TERM_JUMP ((raft_term)1 << 20)
#define RAFT_TERM_MAX ((raft_term)1 << 62)
#define RAFT_INDEX_MAX ((raft_index)1 << 62)

struct raft_position {
    raft_index index;
    raft_term term;
};

/* ------------------------------------------------------------------ blobs */

/* Immutable bytes shared by threads: proposed, sent, logged and applied without
 * a copy. Whoever keeps a pointer holds a reference. */
struct raft_blob {
    atomic_uint references;
    uint32_t size;
    const uint8_t *data;
    void (*release)(void *owner); /* NULL: the data follows this struct */
    void *owner;
};

/* A blob with one reference and `size` bytes to be filled through *fill by the
 * maker before it is shared. NULL without memory. Any thread, as all of these. */
struct raft_blob *raft_blob_new(uint8_t **fill, size_t size);
struct raft_blob *raft_blob_copy(struct bytes content); /* NULL without memory */
/* Around memory that somebody else owns: release(owner) is called with the last
 * reference, from whichever thread drops it. NULL without memory (then nothing is called). */
struct raft_blob *raft_blob_wrap(struct bytes content, void (*release)(void *owner), void *owner);
struct raft_blob *raft_blob_retain(struct raft_blob *blob); /* NULL gives NULL */
void raft_blob_release(struct raft_blob *blob);             /* NULL: nothing */
struct bytes raft_blob_bytes(const struct raft_blob *blob); /* NULL: empty */

/* ---------------------------------------------------------------- entries */

enum raft_entry_type {
    RAFT_ENTRY_BLOCK = 1,  /* the driver's bytes */
    RAFT_ENTRY_NOOP = 2,   /* a leader's first; no bytes (blob NULL) */
    RAFT_ENTRY_CONFIG = 3, /* a member list: raft_config_decode */
};

struct raft_entry {
    raft_index index;
    raft_term term;
    enum raft_entry_type type;
    struct raft_blob *blob; /* NULL when empty */
};

/* ---------------------------------------------------------------- members */

struct raft_member {
    raft_id id;
    bool voter; /* false: a learner gets entries, but counts in no majority */
};

/* Sorted by id, ids unique. */
struct raft_config {
    uint16_t count;
    struct raft_member members[LIMIT_NODES];
};

const struct raft_member *raft_config_find(const struct raft_config *config, raft_id id);
/* Adds, or changes the role; false when full or id is 0. Keeps the order. */
bool raft_config_set(struct raft_config *config, raft_id id, bool voter);
bool raft_config_remove(struct raft_config *config, raft_id id); /* false when absent */
unsigned raft_config_voters(const struct raft_config *config);

/* The payload of a configuration entry: [[[id, voter]...], context]; `context` is
 * the driver's (which leaf approved it), at most LIMIT_RAFT_CONTEXT. */
void raft_config_encode(struct buffer *out, const struct raft_config *config, struct bytes context);
/* `context` (may be NULL) is a view into `in`. ERR_MALFORMED and the like. */
enum err raft_config_decode(struct raft_config *config, struct bytes *context, struct bytes in);

/* --------------------------------------------------------------- messages */

enum raft_message_type {
    RAFT_PREVOTE = 1,         /* would you vote for me in `proposed`? changes nobody's term */
    RAFT_PREVOTE_ANSWER = 2,
    RAFT_VOTE = 3,
    RAFT_VOTE_ANSWER = 4,
    RAFT_APPEND = 5,
    RAFT_APPEND_ANSWER = 6,
    RAFT_HEARTBEAT = 7,
    RAFT_HEARTBEAT_ANSWER = 8,
    RAFT_SNAPSHOT = 9,        /* an offer: (position, members, manifest); the state is pulled */
    RAFT_SNAPSHOT_ANSWER = 10,
    RAFT_TIMEOUT_NOW = 11,    /* the leader hands over */
};

/* One message, all types. Unused fields are zero. `term` is always the sender's own
 * current term. */
struct raft_message {
    enum raft_message_type type;
    raft_id from, to;
    raft_term term;
    raft_term proposed;       /* PREVOTE and its answer: the term asked for */
    struct raft_position log; /* PREVOTE, VOTE: sender's last durable entry; APPEND: the entry before
                                 the first; SNAPSHOT and its answer: the offered position */
    raft_index commit;        /* APPEND, HEARTBEAT: the leader's commit index (the receiver clamps it) */
    raft_index durable;       /* the same: up to where the leader's own log is durable; 0: not told */
    uint64_t round;           /* APPEND, HEARTBEAT, SNAPSHOT: which attempt to find and follow this peer's log;
                                 echoed, so that answers to an abandoned attempt are told apart; in a HEARTBEAT_ANSWER
                                 0: to no heartbeat, see raft_receiving */
    raft_index sent;          /* HEARTBEAT: last index that the leader sent to this peer; echoed */
    raft_index match;         /* APPEND_, HEARTBEAT_ANSWER: durable and checked against this leader */
    raft_index checked;       /* the same: checked against this leader, perhaps not yet durable */
    raft_index installing;    /* HEARTBEAT_ANSWER: index of the snapshot being installed, or 0 */
    struct raft_position conflict; /* APPEND_ANSWER, rejected: highest own entry that could match */
    raft_index conflict_first;     /* ... and the first own index of that entry's term */
    bool transfer;            /* VOTE: the leader asked for this election (beats stickiness) */
    bool granted;             /* PREVOTE_ANSWER, VOTE_ANSWER */
    bool rejected;            /* APPEND_ANSWER: `log` does not match; SNAPSHOT_ANSWER: failed */
    struct raft_entry *entries; /* APPEND: consecutive from log.index + 1; the message owns the array
                                   and one reference to each blob */
    size_t entry_count;
    struct raft_config config;  /* SNAPSHOT: members at `log` */
    struct raft_blob *manifest; /* SNAPSHOT: the driver's description of the state; owned */
    struct bytes extra;         /* the driver's, at most LIMIT_RAFT_EXTRA; a view, not owned; the core ignores it */
};

/* Blobs of RAFT_LENT_LEAST bytes and more, left out of an encoding: that of blobs[i] belongs before its byte at[i]. */
#define RAFT_LENT_LEAST (16 * KIB)
#define RAFT_LENT_MAX 15
struct raft_lent {
    size_t count;
    size_t at[RAFT_LENT_MAX];
    struct raft_blob *blobs[RAFT_LENT_MAX]; /* each with a reference */
};

/* Appends the encoding: [type, from, to, term, extra, fields of the type...]. `extra` comes from the message. `version`
 * (consensus/peer_messages.h): of the link that it is for; before PEER_VERSION_DURABLE `durable` is left out. With
 * `lent` (may be NULL) large blobs are not copied: *lent says which ones belong where; the caller releases these. */
void raft_message_encode(struct buffer *out, struct raft_lent *lent, const struct raft_message *message,
                         unsigned version);
/* Fills *message (to be cleared by raft_message_clear) from exactly `in`, which came in that version and must have its form;
 * what that lacks is 0. Blobs are copies, `extra` is a view into `in`. On error *message is empty. ERR_MALFORMED,
 * ERR_TRUNCATED, ERR_NOT_CANONICAL, ERR_TRAILING, ERR_TOO_LARGE, ERR_UNKNOWN_TYPE, ERR_NOMEM. Any thread.
 * The driver compares `from` with the connection's authenticated node. */
enum err raft_message_decode(struct raft_message *message, struct bytes in, unsigned version);
/* Releases entries and manifest; then the message is zero. */
void raft_message_clear(struct raft_message *message);
const char *raft_message_name(enum raft_message_type type);

/* --------------------------------------------------------- start and stop */

/* Times are in ticks, sizes in bytes. raft_options_default fills all but id and seed. */
struct raft_options {
    raft_id id;
    uint64_t seed;            /* of the randomised time-outs; different on each node and start */
    uint32_t election_ticks;  /* T: followers wait T .. 2T-1 ticks; check-quorum and stickiness use T */
    uint32_t heartbeat_ticks; /* less than a third of election_ticks */
    uint32_t stall_ticks;     /* a leader whose own write takes longer hands over; 0: never */
    uint32_t slow_ticks;      /* a leader's own write is late when it is done so long after a majority's; and ... */
    uint32_t slow_writes;     /* ... so many late ones in a row make it hand over, too; 0: never */
    uint32_t window_messages; /* appends in flight per peer, at most LIMIT_RAFT_WINDOW */
    size_t window_bytes;      /* of entries in flight per peer (one entry always passes) */
    size_t message_bytes;     /* of entries per append, at most LIMIT_BLOCK (one entry always passes) */
    size_t cache_bytes;       /* of recent entries that are durable, applied or not, had by all peers or not */
    size_t spent_bytes;       /* the same, of those that are applied here and durable on all active peers */
    size_t backlog_bytes;     /* uncommitted, or not yet durable here: beyond it proposals and appends are refused */
    size_t block_head;        /* so many bytes before a block don't make it another one: who signed it */
};
void raft_options_default(struct raft_options *options);

struct raft_run { /* entries first .. (next run's first - 1) have this term */
    raft_index first;
    raft_term term;
};
struct raft_config_at { /* a configuration entry of the log */
    raft_index index;
    struct raft_config config;
};

/* What a node's disk holds. Everything is copied. */
struct raft_state {
    raft_term term;
    raft_id vote; /* in that term, 0: none */
    struct raft_position compacted;     /* the log starts after it; {0, 0}: nothing compacted */
    struct raft_config compacted_config; /* members as of `compacted`; at {0, 0} those of the genesis */
    raft_index last;                    /* of the log; compacted.index when empty */
    const struct raft_run *runs;        /* of compacted.index + 1 .. last, ascending */
    size_t run_count;
    const struct raft_config_at *configs; /* configuration entries after `compacted`, ascending */
    size_t config_count;
    raft_index applied;  /* durable in the state: known committed; compacted.index <= applied <= last */
    raft_index snapshot; /* position that can be offered, with its manifest; 0: none */
    struct raft_blob *manifest;
};

struct raft;

/* A follower without a leader. ERR_CORRUPT when the state contradicts itself (runs out of order, a
 * term above `term`, positions out of range), ERR_INVALID for options out of range. */
enum err raft_new(struct raft **out, const struct raft_options *options, const struct raft_state *state);
void raft_free(struct raft *raft); /* also frees the last ready */
/* For ever: no message, write or apply comes out any more; calls return ERR_STOPPED or do nothing. */
void raft_halt(struct raft *raft);

/* ------------------------------------------------------------------ events */

/* One message from an authenticated node. The caller keeps (and clears) it.
 *   OK              taken, answered or found stale
 *   ERR_INVALID     not for us, or what no correct node sends (terms out of order, bad configuration)
 *   ERR_CONFLICT    contradicts an entry at or below the floor: ready->conflict; not acknowledged
 *   ERR_UNEXPECTED  a second leader in one term: evidence, if signed; ignored
 *   ERR_BUSY        entries not taken now (disk behind, or a snapshot being installed); they come again
 *   ERR_TOO_LARGE   a term more than RAFT_TERM_JUMP ahead of ours
 *   ERR_STOPPED     halted */
enum err raft_step(struct raft *raft, const struct raft_message *message);
/* Bytes of a message from this peer came, and the message is not whole yet. On a slow link one message may take longer
 * than an election, and heartbeats wait behind it; so a follower counts its leader as heard, and tells it that as often as
 * it would answer heartbeats, and a leader counts the peer as heard. No other node is, nor in any other role. What is cut
 * off ends its part soon; of a leader that steps down the driver has to drop what it has sent and is on its way still, or
 * it counts as one until all of that has come. May be called at any time, as often as bytes come. Whether a ready may have
 * something to send. */
bool raft_receiving(struct raft *raft, raft_id from);
/* The time-out unit passed (the driver's timer, 20 to 100 ms). */
void raft_tick(struct raft *raft);
/* Leader: appends `count` blocks, all or none; *first is the first one's index. The core retains what it
 * needs, the caller keeps its references. ERR_NOT_LEADER, ERR_BUSY (backlog full, or handing over),
 * ERR_TOO_LARGE (over LIMIT_BLOCK), ERR_STOPPED. The block's index and term, if it must be signed with them:
 * raft_next_index and the status' term, in the same turn of the loop. */
enum err raft_propose(struct raft *raft, raft_index *first, struct raft_blob *const *blocks, size_t count);
/* Leader: one empty entry, as at the beginning of its term. Errors as of raft_propose. */
enum err raft_propose_empty(struct raft *raft);
raft_index raft_next_index(const struct raft *raft);
/* Leader: a change of members by one step: add a learner, promote a learner, demote or
 * remove a member. In force as soon as it is appended. *index as above. ERR_NOT_READY (no
 * entry of our own term committed yet, or the learner to be promoted is far behind),
 * ERR_BUSY (the last change is not committed), ERR_INVALID (no such step, or no voter left),
 * ERR_NOT_LEADER, ERR_TOO_LARGE (context), ERR_NOMEM, ERR_STOPPED. A leader that takes itself
 * out leads until that is committed, without counting itself, then hands over. */
enum err raft_propose_config(struct raft *raft, raft_index *index, const struct raft_config *config,
                             struct bytes context);
/* All writes up to this number are durable. Misuse: a number not given out, or not higher than the last. */
void raft_persisted(struct raft *raft, uint64_t write);
/* Applied up to `index` (for compaction and status). */
void raft_applied(struct raft *raft, raft_index index);

/* Leader: hands over to `target` (0: the best, then by turns the next best, until one starts an election),
 * once it has all entries; proposals are refused meanwhile, at most an election time-out; the outcome is a
 * change of role, or none.
 * ERR_NOT_LEADER, ERR_INVALID (not another voter), ERR_BUSY (handing over already),
 * ERR_UNREACHABLE (no other voter was heard lately), ERR_STOPPED. */
enum err raft_transfer(struct raft *raft, raft_id target);
/* The connection to a peer broke: what is in flight to it may be lost; probes anew. Optional (speed only). */
void raft_peer_lost(struct raft *raft, raft_id peer);
/* Leader: whether `durable` reaches this peer (a link of an older version leaves it out), so that where it may count the
 * two copies itself nothing more need be told. Not so (at first): it hears of each commit at once. Said with each
 * message that is sent to it, since its next link may be of another version; one message later does no harm. */
void raft_peer_counts(struct raft *raft, raft_id peer, bool counts);

/* The answer to a ready's read: entries first .. first + count - 1 (count >= 1; as many as
 * fit, at least one). The core retains the blobs it needs. An outdated answer is dropped. */
void raft_read_done(struct raft *raft, raft_id peer, const struct raft_entry *entries, size_t count);
void raft_read_failed(struct raft *raft, raft_id peer); /* asked again after a heartbeat */

/* ------------------------------------------------- what the driver decides */

/* Entries at or below max(commit index, floor) are never truncated: an append that contradicts one is
 * refused. For the cosigned index; never goes down. */
void raft_set_floor(struct raft *raft, raft_index floor);
/* false: grants no vote and starts no election (damaged log, rolled-back disk, quarantine). Acknowledges
 * entries as ever. A leader hands over as below. True at start. */
void raft_set_may_vote(struct raft *raft, bool may);
/* false: what this log holds counts in no majority. For a node that forgot votes: one of them, still under way in a higher
 * term, could elect somebody who lacks what is committed by this copy now. It takes entries as ever, tells how far they
 * fit, and acknowledges what it knows to be committed; as a leader that found out it counts the others only. True at start. */
void raft_set_may_acknowledge(struct raft *raft, bool may);
/* A follower with a leader, that may have voted in this term and forgot it: its leader is whom it voted for, durably.
 * For consensus/rejoin.h, before it may vote again. */
void raft_rejoin(struct raft *raft);
/* false: starts no election (clock off); a leader hands over, and steps down if that
 * fails within an election time-out. True at start. */
void raft_set_may_lead(struct raft *raft, bool may);
/* The state at `index` (<= applied, not before the last one) is durable and can be offered
 * to peers under this manifest (retained; at most LIMIT_RAFT_MANIFEST). */
void raft_set_snapshot(struct raft *raft, raft_index index, struct raft_blob *manifest);
/* The log's entries up to `index` will be trimmed: they are not asked for any more. At most the offered
 * snapshot's index, or nothing could be sent to a peer that needs them. The driver persists `compacted`
 * (raft_term_of) and its members (raft_config_of) BEFORE this call, since both are forgotten here. */
void raft_compact(struct raft *raft, raft_index index);
/* The lowest index that an active peer still needs: entries above it, and those after a snapshot that is being
 * installed, should stay, up to the driver's limit of space. Otherwise a peer may install
 * snapshots for ever (its install takes longer than the trail is long). */
raft_index raft_needed_from(const struct raft *raft);
/* The state of `install`, durable: the log is dropped and continues from there (ready->reset). The
 * manifest becomes the one that this node offers. */
void raft_snapshot_installed(struct raft *raft, struct raft_position position);
void raft_snapshot_failed(struct raft *raft);

/* ------------------------------------------------------------------- ready */

struct raft_read {
    raft_id peer;
    raft_index first, last; /* as many of these as fit in max_bytes, at least one */
    size_t max_bytes;
};

struct raft_install {
    raft_id from; /* the leader that offered it */
    struct raft_position position;
    struct raft_config config;
    struct raft_blob *manifest;
};

/* An append that contradicts what may not change. With the message (and its extra) evidence of two
 * leaders' blocks at one index; which one lied is for the driver to find out. */
struct raft_conflict {
    raft_id leader;
    raft_term leader_term;       /* the message's */
    raft_index index;
    raft_term own_term;          /* of our entry there */
    struct raft_entry entry;     /* theirs */
};

struct raft_ready {
    bool any; /* false: nothing to do */

    uint64_t write; /* number of the write, 0: nothing to write; see the head of this file */
    bool hard_state;
    raft_term term;
    raft_id vote;
    bool reset; /* drop all entries; the log continues after reset_to */
    struct raft_position reset_to;
    raft_index truncate_from; /* drop entries from here on (perhaps there are none); 0: no truncation */
    const struct raft_entry *entries;
    size_t entry_count;

    struct raft_message *messages; /* the driver may set `extra` */
    size_t message_count;

    const struct raft_read *reads; /* at most one outstanding per peer */
    size_t read_count;

    raft_index apply_from, apply_to; /* newly to apply; 0: none */
    const struct raft_install *install; /* NULL: none. Only one until installed or failed */

    bool role_changed;   /* role, term or leader: see raft_status_get */
    bool config_changed; /* raft_config_latest: connect to these */
    const struct raft_conflict *conflict; /* NULL: none */
};

/* Never NULL. Valid, with all it points to, until the next raft_take or raft_free; retain
 * blobs that are needed longer. */
struct raft_ready *raft_take(struct raft *raft);

/* ----------------------------------------------------------------- queries */

enum raft_role { RAFT_FOLLOWER, RAFT_PRECANDIDATE, RAFT_CANDIDATE, RAFT_LEADER };
const char *raft_role_name(enum raft_role role);

struct raft_status {
    raft_id id;
    enum raft_role role;
    raft_id leader; /* 0: unknown */
    raft_term term;
    raft_id vote;
    raft_index commit, applied;
    struct raft_position last;
    raft_index persisted; /* durable in the own log */
    raft_index checked;   /* checked against this term's leader (a leader: last) */
    raft_index leader_commit; /* the highest commit index that this term's leader told, perhaps beyond our log */
    raft_index floor;     /* as set */
    struct raft_position compacted;
    raft_index snapshot;   /* offered */
    raft_index installing; /* 0: none */
    raft_id transfer;      /* target at the moment, 0: none */
    bool may_vote, may_lead;
    size_t backlog_bytes, cache_bytes; /* now */
    uint64_t unheard_ticks; /* since a leader was heard last, or was this node */
    bool asked;            /* the last time that it stood for election, the leader before it had handed over to it */
    uint64_t elections;    /* started here since start */
    uint64_t yielded;      /* times that it began to hand over, as a leader whose own disk was slow or hung */
};
void raft_status_get(const struct raft *raft, struct raft_status *out);

enum raft_progress { RAFT_PROBE, RAFT_REPLICATE, RAFT_SNAPSHOT_SENT };
struct raft_peer {
    raft_id id;
    bool voter;
    bool active;          /* heard in this or the last election time-out */
    enum raft_progress progress;
    raft_index match, next;
    size_t window_messages, window_bytes; /* in flight */
    uint32_t silent_ticks; /* since it was heard */
};
/* A leader's view; ERR_NOT_LEADER, ERR_NOT_FOUND. */
enum err raft_peer_get(const struct raft *raft, raft_id peer, struct raft_peer *out);

/* In force: the last appended. Its entry's index in *index (may be NULL), compacted or 0: base. */
const struct raft_config *raft_config_latest(const struct raft *raft, raft_index *index);
/* As of an index compacted.index .. last. */
const struct raft_config *raft_config_of(const struct raft *raft, raft_index index);
/* The term of an entry compacted.index .. last; 0 outside (and at index 0). */
raft_term raft_term_of(const struct raft *raft, raft_index index);
/* A recent entry, borrowed until the next call that changes the core; NULL: read it from the log. */
const struct raft_entry *raft_entry_cached(const struct raft *raft, raft_index index);

#endif
