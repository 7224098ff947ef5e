/* Inside the witness: its state, and what its files call of each other.
 *
 * witness.c           start, telling, cosigning
 * witness_rounds.c    when all are asked to tell
 * witness_wait.c      who waits for a size
 * witness_evidence.c  what members told: kept for a while, compared, shown around
 * witness_notes.c     whole notes of peers
 */
#ifndef CONSENSUS_WITNESS_INTERNAL_H
#define CONSENSUS_WITNESS_INTERNAL_H

#include "consensus/witness.h"
#include "ledger/checkpoint.h"
#include "ledger/evidence.h"
#include "ledger/genesis.h"

#define ENDS_KEPT 4096   /* ends of applied blocks that a peer may still ask about */
#define ROUNDS_MOST 4    /* of one node, under way at once */

/* The end of a block that this node applied. */
struct end {
    uint64_t raft_index, raft_term, size, time_ms;
    struct digest root;
};

/* What a member last told, and last cosigned. */
struct told {
    struct end end; /* raft_index 0: nothing yet */
    struct signature signature;
    bool verified;  /* of those in `recent`; the others always are */
    uint64_t under; /* of this node's own in `recent`: the term in which it last said so */
};
#define TOLD_KEPT 64 /* of each member, this node too, by raft_index modulo this */
struct cosigned {
    uint64_t size; /* 0: nothing yet */
    struct digest root;
    struct cosignature cosignature;
};

/* What all were asked to tell. */
struct round {
    struct end end; /* raft_index 0: none */
    uint64_t begun_ns;
    bool again; /* it was told of before: words may be here already */
};

struct witness {
    struct witness_options o;
    struct cosigner cosigners[LIMIT_NODES];
    unsigned n, k;
    uv_timer_t timer, pace_timer; /* pace_timer: the next round isn't due yet */
    bool leads, stopped, quarantined;
    uint64_t term;

    struct end ends[ENDS_KEPT]; /* by raft_index modulo the size */
    struct end newest;          /* applied */
    struct told told[LIMIT_NODES + 1];
    struct told told_before[LIMIT_NODES + 1][ROUNDS_MOST - 1]; /* of the rounds before, the newest first */
    struct told recent[LIMIT_NODES + 1][TOLD_KEPT];
    struct end withdrawn[LIMIT_NODES + 1]; /* up to which raft_index and raft_term their word is taken back */
    uint64_t stalled_ns;    /* since when k members told different roots under the present leader; 0: they don't */
    struct end split;       /* after which they did, then */
    uint32_t excluded;      /* bits: members whose word does not count any more */
    uint64_t shown_ns;      /* when what members told was last shown around */
    struct cosigned cosigned[LIMIT_NODES + 1][ROUNDS_MOST]; /* the largest size first */
    struct round rounds[ROUNDS_MOST]; /* that this node began, the newest first; under way: those not witnessed */
    uint64_t words_ns;      /* from the begin of such a round until this node had cosigned, about; 0: never did */
    struct end asked[LIMIT_NODES + 1][ROUNDS_MOST]; /* of each member: its last paces, newest first, until answered */
    uint64_t again_ns[LIMIT_NODES + 1]; /* when each member's pace was last answered with what was told before */
    uint64_t moved_ns;      /* when a round last began or ended */
    uint64_t awaited;       /* somebody waits for this size */
    bool marking;           /* a cosigned mark is on its way to the disk */
    struct cosigned_mark mark;
    struct end marks[ROUNDS_MOST]; /* what was marked, or is being: the newest first */
    struct end cosigned_end; /* of this node's last cosignature since its start; raft_index 0: none */
    uint64_t cosigned_ns;
    uint64_t alone_size;    /* for which k words came here and, for long, no k cosignatures; 0: none */

    struct witnessed kept[WITNESS_KEPT]; /* by kept_next modulo the size, newest at kept_next - 1 */
    uint64_t kept_next;
    uint64_t size; /* witnessed */
    struct buffer later; /* a note beyond what is applied here */
    struct checkpoint later_checkpoint;
    struct buffer latest; /* the largest that came while `later` waits, or empty */
    struct checkpoint latest_checkpoint;
    bool checking;       /* the own root at its size is being read */
    struct witness_wait *waits, *due; /* due: about to be called back */
    uint64_t warned_ns[LIMIT_NODES + 1];
    unsigned wrong[LIMIT_NODES + 1]; /* messages of each member that were, since wrong_ns */
    uint64_t wrong_ns[LIMIT_NODES + 1];
    uint32_t differing; /* members whose different root was reported already, until they tell this node's again */
};

/* witness.c */
const struct end *witness_end_at(const struct witness *w, uint64_t raft_index); /* NULL: not remembered */
/* The first one: entries without a leaf leave the size as it is, and all members are to keep one position with it. */
const struct end *witness_end_of_size(const struct witness *w, uint64_t size);
void witness_quarantine(struct witness *w, const char *why);
/* k members say otherwise (bits; this node's is of no account): quarantines, and has the node rebuilt where it has
 * cosigned none of what they contradict: its own root after that entry, of so many leaves. */
void witness_contradicted(struct witness *w, uint32_t members, uint64_t size, uint64_t raft_index, const char *why);
void witness_try_cosign(struct witness *w, const struct end *own);
bool witness_is_quiet(const struct witness *w, const struct end *end); /* nothing is told of it */
void witness_tell(struct witness *w, const struct end *end, uint32_t type); /* TELL or PACE, to all */
void witness_send_cosignature(struct witness *w, unsigned to); /* this node's last; 0: to all */
void witness_take_witnessed(struct witness *w, struct witnessed *fresh); /* takes the note over */
void witness_warn(struct witness *w, unsigned from, const char *what);
bool witness_end_equal(const struct end *a, const struct end *b);
bool witness_counts(const struct witness *w, unsigned member, const struct end *end); /* its word on this */
bool witness_hears(const struct witness *w, unsigned member);
/* A block, of those not witnessed, after which k members told, this one under the present leader, but no k the same;
 * NULL: none. Words come late, so it may be any of those told of. */
const struct end *witness_find_split(const struct witness *w);
bool witness_agree(const struct witness *w, uint64_t size); /* k told the same as this node, of so much or more */

/* witness_rounds.c */
void witness_next_round(struct witness *w); /* of the leader: now, or when it is due */
void witness_overdue_round(struct witness *w, uint64_t now_ns); /* of any node, if it is */
void witness_round_cosigned(struct witness *w, const struct end *end); /* by this node: how long words take */

/* witness_wait.c */
void witness_run_waits(struct witness *w, uint64_t now_ns, bool all); /* for what is witnessed, late ones, or all */

/* witness_evidence.c */
/* What this member says now. What it said of the last few blocks before counts, too, until it goes back. */
void witness_set_told(struct witness *w, unsigned member, const struct told *told);
void witness_keep_own(struct witness *w, const struct told *told);
bool witness_has_told(const struct witness *w, unsigned member, const struct end *end);
void witness_sign_tell(struct told *out, const struct witness *w, const struct end *end);
void witness_pack_tell(struct buffer *out, const struct told *told);
enum err witness_unpack_tell(struct told *out, struct bytes body);
/* A member's word, from itself or shown by another: verified and kept; false: bad signature. */
bool witness_note_tell(struct witness *w, unsigned member, const struct told *told);
void witness_note_late(struct witness *w, unsigned member, const struct told *told); /* kept as it is */
void witness_compare(struct witness *w, unsigned from, const struct end *own, const struct end *theirs);
void witness_look_back(struct witness *w, const struct end *own); /* what was told before this block was applied here */
void witness_show(struct witness *w, const struct end *end); /* what members told after this block, to all; not often */
void witness_take_shown(struct witness *w, unsigned from, struct bytes body);
/* The member's cosignature in a note, not verified; false: it has none. */
bool witness_line_of(struct cosignature *out, const struct witness *w, const struct note *note, unsigned member);
/* What a member cosigned of this size, in one of the last few rounds; NULL: nothing. */
const struct cosigned *witness_cosigned_at(const struct witness *w, unsigned member, uint64_t size);
void witness_keep_cosigned(struct witness *w, unsigned member, const struct cosigned *c);
/* What is witnessed already needs no more cosignatures; but another root for its size is a lie. */
void witness_late_cosigned(struct witness *w, unsigned from, const struct cosigned *c);
/* Of one size and another root than `known`, both by this member. False: they prove nothing, one is not its own. */
bool witness_two_cosigned(struct witness *w, unsigned from, const struct cosigned *known, const struct cosigned *now);

/* witness_notes.c */
void witness_check_later(struct witness *w);
void witness_take_push(struct witness *w, unsigned from, struct bytes body);

#endif
