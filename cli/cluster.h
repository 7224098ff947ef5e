/* The cluster as this client trusts it (the genesis file), and a connection to
 * one of its nodes: the one asked for, or whichever answers. */
#ifndef CLI_CLUSTER_H
#define CLI_CLUSTER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "cli/output.h"
#include "ledger/genesis.h"
#include "net/client.h"
#include "net/protocol.h"
#include "net/protocol_alarms.h"

struct watch;

struct cluster {
    struct buffer text; /* the genesis file; `genesis` points into it */
    struct genesis genesis;
    struct output *output; /* for progress and warnings; may be NULL */
    uint32_t timeout_ms;   /* of a command, or of each of its requests: see one_deadline */
    bool one_deadline;     /* all that a command asks shares its time-out; import, verify and log --follow run longer */
    uint64_t end_ns;       /* monotonic: when that time-out ends; 0: nothing was asked so far */
    uint64_t give_up_ns;   /* monotonic: connecting, greeting and sending wait no longer; 0: no such bound */

    struct tls_context *tls;
    struct client *client; /* NULL: not connected */
    uint32_t member;       /* index of the node we are connected to, or were last */
    uint32_t via;          /* 0: any; else only this one */
    uint32_t started;      /* where the search for a node began; 0: not yet */
    uint64_t next_id;
    char state[LIMIT_NAME + 1]; /* of that node, as it said at connecting: "ready", or why not */
    char warning[400];          /* what it says about the cluster; empty: nothing */
    bool warned_clock;
    struct message_notice notice; /* what that node last said to be open (cli/alarms.h) */
    bool connected;        /* greeted */
    bool listens;          /* for alarms only: says nothing else (cli/watch.h) */
    int stop;              /* of client_options; 0: none */
    bool watches;          /* cluster_watch does something, and connecting calls it */
    struct watch *watch;   /* or NULL */
    bool leaves_named;     /* drop the connection (ERR_CLOSED) once a notice names that node, where others may answer */
    /* May be NULL. A frame that came while another was waited for; its body is a view during the call. */
    void (*on_other)(void *data, const struct frame *frame);
    void *other_data;
};

/* Reads and checks the genesis file. `via`: a member's name, or NULL.
 * ERR_NOT_FOUND for a name that no member has (with the nearest one). */
enum err cluster_open(struct cluster *c, const char *genesis_file, const char *via, uint32_t timeout_ms,
                      struct output *output, struct failure *failure);
void cluster_close(struct cluster *c);
/* Another connection to the same cluster, without reading the file again: its genesis is that of `of`, and lives no
 * longer. timeout_ms is for the caller to set. Close in every case. */
enum err cluster_share(struct cluster *c, const struct cluster *of, struct output *output);
/* With `watches`: what all nodes tell of alarms is said from now on, whatever the command waits for, until the closing
 * (cli/watch.h). Idempotent. */
void cluster_watch(struct cluster *c);

/* When to give up what is asked now, monotonic: with one_deadline the same for all since the first
 * time, else the time-out from now on. */
uint64_t cluster_deadline(struct cluster *c);
/* The time-out begins anew: a person was asked, or a part of what a command does is done. */
void cluster_renew(struct cluster *c);
/* Milliseconds until `deadline_ns`; 0: it has passed. */
uint32_t cluster_left_ms(uint64_t deadline_ns);
/* Of one answer: what is left until give_up_ns, at least 1, or the time-out. */
uint32_t cluster_answer_ms(const struct cluster *c);
/* How long one node may be waited for, so that time is left for another: the rest with --via. */
uint32_t cluster_patience_ms(const struct cluster *c, uint64_t deadline_ns);

/* Connects unless connected: each member once, beginning with the one that
 * answered last time, or behind the one that was dropped.
 * A node that an open alarm names (cli/alarms.h) is taken only where no other answers.
 * Checks the node's key (pin), cluster id, n, b and k. ERR_OTHER_CLUSTER,
 * ERR_WRONG_PEER (these only when no other node answers), ERR_UNREACHABLE. */
enum err cluster_connect(struct cluster *c, struct failure *failure);
/* To exactly this member. */
enum err cluster_connect_to(struct cluster *c, uint32_t member, struct failure *failure);
void cluster_drop(struct cluster *c); /* closes; the next connect begins with another member */

/* A question. *id is what its answers carry. */
enum err cluster_send(struct cluster *c, uint64_t *id, enum message_type type, struct bytes body,
                      struct failure *failure);
/* Says what notices have come meanwhile, without waiting: for work that goes on for long between two questions. */
void cluster_listen(struct cluster *c);
/* The next answer to `id`; others go to on_other, where there is one, or are skipped. FAILED comes as its code and the
 * node's text (*retry_after_ms may be NULL). ERR_TIMEOUT leaves the connection
 * as it is, other trouble of the connection drops it. The body's view is valid
 * until the next call. */
enum err cluster_receive(struct cluster *c, struct frame *out, uint64_t id, uint32_t timeout_ms,
                         uint64_t *retry_after_ms, struct failure *failure);
/* Both, for an answer of one type: ERR_UNEXPECTED for another. Connects first.
 * Tries other nodes when this one is down or silent, all within cluster_deadline. */
enum err cluster_ask(struct cluster *c, struct frame *out, enum message_type type, struct bytes body,
                     enum message_type expected, struct failure *failure);

/* What the node that answers says of all members: each once, in the order of the genesis, or ERR_MALFORMED. Texts are
 * that node's, and views until the next question. */
enum err cluster_status(struct cluster *c, struct message_status_ok *out, struct failure *failure);

const char *cluster_member_name(const struct cluster *c, uint32_t member); /* "?" for none */
/* ~/.cache/consilium/<cluster id>/NAME; allocated; NULL without a home. */
char *cluster_cache_path(const struct cluster *c, const char *name);

#endif
