/* Inside of the rules: one operation on its way through apply or replay.
 * Only for ledger/: apply.c, replay.c, rules_*.c, answers_*.c, keygen*.c.
 *
 *   step_begin      cluster, action, actor: whose key is it?        (else no leaf)
 *   caller          signature, attachment
 *   step_fresh      stale, duplicate                                (else no leaf)
 *   step_decide     arguments, policy, state -> reason, subject; reads only
 *   step_append     leaf, chain, tree, indexes, seen row
 *   step_change     what an approved operation does to the state
 *   step_answer     its rows, when somebody waits for them
 *
 * Reasons are results; errors of the store are sticky in step->err and end the
 * block. Decisions look at operation fields and state only, never at an
 * attachment: it may be erased when the leaf is replayed.
 */
#ifndef LEDGER_RULES_H
#define LEDGER_RULES_H

#include "ledger/apply.h"
#include "ledger/arguments.h"
#include "ledger/genesis.h"
#include "ledger/keygen.h"
#include "ledger/leaf.h"
#include "ledger/names.h"
#include "ledger/policy.h"
#include "ledger/request.h"
#include "ledger/state.h"
#include "ledger/tables.h"
#include "ledger/tree.h"

#define USER_CACHE 2048 /* rows; direct-mapped by id, which is random */
/* Every so many leaves, so many of the oldest rows of `seen` are looked at: keeps
 * up with any rate, and no single leaf pays for hours. Part of the rules. */
#define SEEN_PRUNE_EVERY 64
#define SEEN_PRUNE_ROWS 512
/* Records that a chart looks at for one page: every node does it. Part of the rules. */
#define CHART_EXAMINED (4 * LIMIT_OPENED)
/* Operations of one request share what its answers may cost; each has at least this. */
#define ANSWER_EXAMINED_LEAST 256
/* What a page costs beside rows of an index, which cost 1 each (about 0.5 us): an answer is made on
 * the state's thread, where all wait for it. */
#define COST_LEAF 3      /* read, opened, decoded */
#define COST_ROW 4       /* a user, a record or a version */
#define COST_BYTES 512   /* each so many bytes of an attachment */

struct replay_aside;

struct user_slot {
    struct id id;
    bool used;
    struct user user;
    struct key_id key_ids[LIMIT_KEYS_PER_USER]; /* of user.keys */
};

/* The last request whose signature was verified in replay: its other leaves follow. */
struct verified_root {
    bool valid;
    uint32_t count;
    struct digest root;
    struct sign_public key;
    struct signature signature;
};

struct ledger {
    struct buffer genesis_text;
    struct genesis genesis; /* views into genesis_text */
    struct tree tree;
    struct meta meta;
    struct applied applied;
    struct policy policy;
    bool records_key; /* the collective key for records is active */
    struct user_slot *users;
    struct names names;
    struct verified_root verified;
    const struct replay_aside *aside; /* ledger/replay.h; NULL: all rows are written */
    struct step *step;     /* reused; large */
    struct buffer scratch; /* leaf being encoded in replay */
};

/* Rows being answered. */
struct answer {
    struct buffer rows;
    uint32_t count;
    uint8_t cursor[16];
    size_t cursor_size;
    uint64_t left_out;
    size_t budget;     /* bytes of rows */
    uint32_t examined; /* what looking at more rows may still cost */
};

struct step {
    struct ledger *ledger;
    struct table_txn *txn;
    const struct operation *op;
    struct bytes attachment; /* encoded; for answers, never for decisions; empty in replay */
    uint64_t index, time_ms;
    enum err err;

    /* who */
    struct user actor; /* of a user */
    int role;          /* in the policy, or -1 */
    unsigned member;   /* of a node: 1 .. n */
    struct sign_public key;
    bool key_revoked;

    /* what is decided */
    struct arguments args;
    enum reason reason;
    struct id subject;
    struct id also; /* a second person affected, for the log's index; zero: nobody */

    /* what the decision found, for the change and the answer */
    struct user target;
    struct id target_id; /* of a search for one user; zero: nobody, or not to be found */
    struct record record;
    struct record copy_source;
    struct opened *opened; /* LIMIT_OPENED */
    uint32_t opened_count;
    struct opened_rest opened_rest;
    bool keygen_changed, policy_changed, alarms_changed, digest_asked;
    struct alarm alarm;   /* that an alarm's operation is about */
    struct keygen keygen; /* of the operation's secret */
};

void step_begin(struct step *step, struct ledger *ledger, struct table_txn *txn, const struct operation *op,
                uint64_t time_ms);
enum err step_authenticate(struct step *step); /* ERR_OTHER_CLUSTER, ERR_UNKNOWN_ACTION, ERR_UNKNOWN_ACTOR */
bool step_stale(const struct step *step);
enum err step_fresh(struct step *step, struct seen *first); /* ERR_STALE, ERR_DUPLICATE with `first` */
void step_decide(struct step *step);
/* Encodes the leaf at the end of `out` (position and signature are in `leaf`) and writes all rows that every leaf
 * has. */
void step_append(struct step *step, struct buffer *out, struct leaf *leaf);
void step_change(struct step *step);
void step_answer(struct step *step, struct answer *answer);

/* --- for rules_*.c --- */

/* Reasons of the store's errors are never looked at: step->err is set. */
enum reason step_failed(struct step *step, enum err err);

enum err ledger_user_get(struct user *out, struct ledger *ledger, struct table_txn *txn, const struct id *id);
enum err ledger_user_put(struct ledger *ledger, struct table_txn *txn, const struct id *id, const struct user *user);

/* Whether the actor may do this to a person (a patient or any user): own, team,
 * hospital, any. The team is looked up only when it could change the result. */
enum reason step_permit(struct step *step, enum action action, const struct id *person_id, const struct user *person,
                        enum confidentiality conf);
/* How the actor reaches that person, all scopes. */
scope_set step_reach(struct step *step, const struct id *person_id, const struct user *person);
/* Something that is nobody's: only the scope any reaches it. */
enum reason step_permit_any(struct step *step, enum action action);
bool step_has_permission(const struct step *step, enum action action);
/* NO_PERMISSION, UNKNOWN_PATIENT, NOT_A_PATIENT, then as step_permit. */
enum reason step_patient(struct step *step, struct user *patient, enum action action, const struct id *id,
                         enum confidentiality conf);

/* Bits of `reach` computed without a step, for log queries that are followed. */
struct viewer {
    struct table_txn *txn;
    const struct policy *policy;
    const struct id *id;
    const struct user *user;
};
enum err viewer_reach(scope_set *out, const struct viewer *viewer, const struct id *person_id,
                      const struct user *person, bool team);

enum reason decide_people(struct step *step);
void change_people(struct step *step);
void answer_people(struct step *step, struct answer *answer);

enum reason decide_records(struct step *step);
void change_records(struct step *step);
void answer_records(struct step *step, struct answer *answer);

enum reason decide_queries(struct step *step);
void change_queries(struct step *step);
void answer_queries(struct step *step, struct answer *answer);

/* May they see that part of the log? (log.query's arguments) */
enum err log_query_decide(enum reason *reason, const struct viewer *viewer, int role,
                          const struct args_log_query *args);
void answer_log(struct step *step, struct answer *answer);   /* query_log.c */
void answer_search(struct step *step, struct answer *answer); /* query_people.c */
/* Root and admin are found by nobody but themselves. */
bool user_is_hidden(const struct user *user);

enum reason decide_nodes(struct step *step);
void change_nodes(struct step *step);

enum reason decide_alarms(struct step *step);
void change_alarms(struct step *step);

enum reason decide_digest(struct step *step);
void change_digest(struct step *step);

/* --- for answers --- */

bool answer_full(const struct answer *answer, uint32_t limit); /* no further row */
void answer_spend(struct answer *answer, size_t cost); /* of what may be examined; at 0 the page ends */
void answer_cursor(struct answer *answer, uint64_t position);
bool cursor_valid(struct bytes cursor); /* empty or 8 bytes */
uint64_t cursor_position(struct bytes cursor, uint64_t if_empty);
void answer_finish(struct buffer *out, struct answer *answer); /* appends, frees the rows */

#endif
