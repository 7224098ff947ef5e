/* What the files of the key generation's agent share; nobody else includes this. All on the loop's thread. */
#ifndef CONSENSUS_KEYGEN_AGENT_INTERNAL_H
#define CONSENSUS_KEYGEN_AGENT_INTERNAL_H

#include "consensus/keygen_agent.h"
#include "consensus/keygen_store.h"
#include "consensus/node_request.h"
#include "crypto/keys.h"
#include "ledger/genesis.h"
#include "ledger/keygen.h"
#include "ledger/state.h"

#define SEALED_SIZE (32 + SEAL_BOX_OVERHEAD) /* a sub-share */

/* What is to do, read in one transaction. */
struct look {
    struct keygen_view view;
    struct keygen_own own;                     /* secret */
    struct keygen_received received;           /* secret */
    bool has_dealing[LIMIT_NODES + 1];
    struct dealing dealings[LIMIT_NODES + 1];
    bool answered[LIMIT_NODES + 1];            /* the dealer published our sub-share */
    struct scalar answers[LIMIT_NODES + 1];
    bool has_keys;                             /* READY or ACTIVE */
    struct point key, verification[LIMIT_NODES];
    struct epoch epoch;                        /* epoch 0: not active */
    bool has_share;
    struct scalar share;                       /* secret, of epoch.epoch */
};

enum duty { DUTY_COMMIT, DUTY_REVEAL, DUTY_CONFIRM, DUTY_ANSWER, DUTY_CLOSE, DUTY_ACTIVATE, DUTIES };

struct keygen_agent {
    struct keygen_agent_options o;
    struct node_signer signer;
    uv_timer_t timer;
    unsigned n, k;
    uint8_t secret;
    bool stopped, reading, writing, look_again, idle;
    bool outdated; /* what is being read was read before an operation of ours was applied */
    struct state_read read;
    struct state_write write;
    struct look *look;         /* secret memory: what the last read found */
    struct look *next;         /* secret memory: being read; else wiped */
    struct scalar *share;      /* secret memory */
    uint64_t share_epoch;      /* 0: none */
    bool active;
    struct keygen_own *to_write; /* secret memory: a new polynomial on its way to the disk; else wiped */
    struct buffer came[LIMIT_NODES + 1]; /* sealed sub-shares from members, not checked yet ... */
    uint32_t came_attempt[LIMIT_NODES + 1]; /* ... of this attempt */
    member_mask bad;           /* dealers whose sub-share is wrong */
    uint64_t asked_ns;         /* sub-shares were last asked for */
    uint64_t phase_ns;         /* when this phase was first seen */
    uint32_t phase_attempt;
    enum keygen_phase phase;
    bool file_tried, lost;
    bool file_seen; /* it was looked whether the share's file is there, and whole */
    bool forgotten; /* said that the own polynomial is not the one that was committed to */
    uint64_t warned_ns[LIMIT_NODES + 1];
    uint64_t unread_ns, unwritten_ns; /* when it was last said that the state can't be read, or a secret not stored */
    uint64_t unfit_ns;   /* ... or that the sub-shares make no share */
    uint64_t unfiled_ns; /* ... or the share's file not written: the state thread's */
    bool submitting[DUTIES];
    uint64_t submitted_ns[DUTIES];
    unsigned in_flight, ticks;
};

/* Reads what is to do and does it; again afterwards, when that is being read already. */
void keygen_agent_look(struct keygen_agent *a);

/* Submit this node's part, as the last look has it. Nothing, while one of that kind is under way or was tried just
 * now. */
void keygen_submit_commit(struct keygen_agent *a);
void keygen_submit_reveal(struct keygen_agent *a);
void keygen_submit_confirm(struct keygen_agent *a, member_mask complaints); /* 0: all sub-shares are right */
void keygen_submit_answer(struct keygen_agent *a);
void keygen_submit_close(struct keygen_agent *a);
void keygen_submit_activate(struct keygen_agent *a);

#endif
