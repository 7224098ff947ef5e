/* The arguments of every action, typed; encoders and decoders side by side in
 * arguments_people.c, arguments_records.c, arguments_queries.c, arguments_nodes.c.
 * ledger/action.h says what they mean.
 *
 * Absent values: a zero id or digest stands for the empty bin (an explicit
 * 16 or 32 zero bytes is refused), empty bytes for the empty str or bin.
 *
 * Encoders append one array and expect fields within the limits (CHECK where a
 * count would run over its array). Decoders are strict: what they accept, the
 * encoder gives back byte for byte. Their errors are those of base/pack.h; the
 * rules answer any of them with REASON_FIELDS. Views point into `in`.
 * Text is UTF-8; a "label" is 1..LIMIT_NAME bytes in one line; a "code" has
 * printable ASCII only (0x21..0x7e), no spaces. Any thread. */
#ifndef LEDGER_ARGUMENTS_H
#define LEDGER_ARGUMENTS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/limits.h"
#include "crypto/group.h"
#include "crypto/seal.h"
#include "crypto/sign.h"
#include "ledger/action.h"
#include "ledger/alarm.h"
#include "ledger/record.h"

/* --- people --- */

struct args_user_create {
    struct id user;
    struct bytes hospital, role; /* labels */
    struct digest login_tag;     /* or zero */
    uint32_t key_count;          /* 0 .. LIMIT_KEYS_PER_USER, all different */
    struct sign_public keys[LIMIT_KEYS_PER_USER];
};
struct args_user_update {
    struct id user;
    struct bytes hospital;   /* label, or empty: as it is */
    struct digest login_tag; /* or zero: as it is */
};
struct args_user_disable {
    struct id user;
    bool disabled;
};
struct args_user_key {
    struct id user;
    bool revoke;
    struct sign_public key;
};
struct args_role_assign {
    struct id user;
    struct bytes role; /* label */
};
struct args_user_search {
    struct id user;              /* or zero */
    struct digest login_tag;     /* or zero */
    struct bytes role, hospital; /* labels, or empty */
    uint32_t limit;              /* 1 .. LIMIT_ROWS */
    struct bytes cursor;
};
struct args_team_assign {
    struct id patient, user;
    bool remove;
};
struct args_team_list {
    struct id patient;
};

/* --- records --- */

struct args_record_create {
    struct id record, patient;
    struct bytes kind; /* label */
    enum confidentiality conf;
    struct digest content_tag; /* or zero */
};
struct args_record_update {
    struct id record, patient;
    uint64_t base_version; /* 1 .. RECORD_VERSION_MAX - 1 */
    enum confidentiality conf;
    struct digest content_tag; /* or zero */
};
struct args_record_delete {
    struct id record, patient;
    uint64_t base_version; /* as above */
};
struct args_record_read {
    struct id record;            /* exactly one of record and patient is given */
    uint64_t version;            /* 0: the latest; 0 with a patient */
    struct id patient;
    struct seal_public reader_key; /* not zero */
    struct bytes cursor;
    uint32_t limit; /* 1 .. LIMIT_OPENED */
};
struct args_record_history {
    struct id record;
};
struct args_record_copy {
    struct id source;
    uint64_t source_version; /* 1 .. */
    struct id record, patient;
    struct bytes kind; /* label */
    enum confidentiality conf;
    struct digest content_tag; /* or zero */
};
struct args_record_list {
    struct id patient;
    struct bytes cursor;
    uint32_t limit; /* 1 .. LIMIT_ROWS */
};
struct args_event_add {
    struct id patient;
    struct bytes what;   /* code, 1..64 */
    struct bytes object; /* code, 0..128 */
};

/* --- queries and policy --- */

struct args_log_query {
    struct id patient, actor; /* or zero */
    uint32_t action;          /* 0: any */
    uint32_t decision;        /* 0: any */
    uint64_t from_ms, to_ms;  /* to 0: no end; 0 or from <= to */
    uint32_t limit;           /* 1 .. LIMIT_ROWS */
    struct bytes cursor;
    bool follow;
};
struct args_ledger_export {
    uint64_t from, to; /* leaf indexes, [from, to); to 0: no end, else from < to */
};
struct args_policy_set {
    struct bytes policy; /* 1 .. LIMIT_POLICY bytes */
};
/* ACTION_POLICY_SHOW, ACTION_STATE_DIGEST and ACTION_NODE_DIGEST have no arguments: []. */
struct args_alarm_clear {
    uint64_t index; /* of the alarm's leaf */
};

/* --- of nodes --- */

enum key_secret { KEY_RECORDS = 1, KEY_PASSWORDS = 2 };

struct args_key_commit {
    enum key_secret secret;
    uint32_t attempt;
    struct digest commitments; /* dkg_commitments_hash */
};
struct args_key_reveal {
    enum key_secret secret;
    uint32_t attempt;
    uint32_t k; /* 1 .. LIMIT_NODES */
    struct point commitments[LIMIT_NODES]; /* 32 bytes each, not decoded as points: dkg_commitments_decode judges */
    uint32_t n;                            /* 1 .. LIMIT_NODES */
    struct digest subshares[LIMIT_NODES];  /* of member 1 .. n */
};
struct args_key_confirm {
    enum key_secret secret;
    uint32_t attempt;
    uint32_t complaints; /* bit i = member index i, 1 .. LIMIT_NODES; bit 0 is never set */
};
struct args_key_answer {
    enum key_secret secret;
    uint32_t attempt;
    uint32_t receiver; /* member index 1 .. LIMIT_NODES */
    uint8_t subshare[32];
};
struct args_key_close {
    enum key_secret secret;
    uint32_t attempt;
    uint32_t phase; /* 0 .. 255 */
};
struct args_key_activate {
    enum key_secret secret;
    uint32_t attempt;
    uint32_t qualified;                     /* bit i = dealer i, 1 .. LIMIT_NODES; bit 0 is never set */
    struct point key;                       /* Y; 32 bytes each, not decoded as points */
    uint32_t n;                             /* 1 .. LIMIT_NODES */
    struct point verification[LIMIT_NODES]; /* Y_i of member 1 .. n */
};
struct args_node_alarm {
    enum alarm_kind kind;
    uint32_t named;           /* member index, 1 .. LIMIT_NODES */
    uint64_t first, last;     /* first <= last */
    enum alarm_status status; /* ALARM_OPEN or ALARM_REPAIRED */
    struct bytes evidence;    /* encoded (ledger/evidence.h), or empty; a view */
};
struct args_alarm_tell {
    uint64_t index; /* of the alarm's leaf */
    enum alarm_step step;
    unsigned ways; /* enum alarm_way: by which people were told; of a claim those that the last telling lacks, or 0 */
};

/* args_NAME_encode(out, args) and args_NAME_decode(args, in) of each struct above. */
#define ARGUMENTS_LIST(X)                                                                          \
    X(ACTION_USER_CREATE, user_create)                                                             \
    X(ACTION_USER_UPDATE, user_update)                                                             \
    X(ACTION_USER_DISABLE, user_disable)                                                           \
    X(ACTION_USER_KEY, user_key)                                                                   \
    X(ACTION_ROLE_ASSIGN, role_assign)                                                             \
    X(ACTION_USER_SEARCH, user_search)                                                             \
    X(ACTION_TEAM_ASSIGN, team_assign)                                                             \
    X(ACTION_TEAM_LIST, team_list)                                                                 \
    X(ACTION_RECORD_CREATE, record_create)                                                         \
    X(ACTION_RECORD_UPDATE, record_update)                                                         \
    X(ACTION_RECORD_DELETE, record_delete)                                                         \
    X(ACTION_RECORD_READ, record_read)                                                             \
    X(ACTION_RECORD_HISTORY, record_history)                                                       \
    X(ACTION_RECORD_COPY, record_copy)                                                             \
    X(ACTION_RECORD_LIST, record_list)                                                             \
    X(ACTION_EVENT_ADD, event_add)                                                                 \
    X(ACTION_LOG_QUERY, log_query)                                                                 \
    X(ACTION_LEDGER_EXPORT, ledger_export)                                                         \
    X(ACTION_POLICY_SET, policy_set)                                                               \
    X(ACTION_ALARM_CLEAR, alarm_clear)                                                             \
    X(ACTION_KEY_COMMIT, key_commit)                                                               \
    X(ACTION_KEY_REVEAL, key_reveal)                                                               \
    X(ACTION_KEY_CONFIRM, key_confirm)                                                             \
    X(ACTION_KEY_ANSWER, key_answer)                                                               \
    X(ACTION_KEY_CLOSE, key_close)                                                                 \
    X(ACTION_KEY_ACTIVATE, key_activate)                                                           \
    X(ACTION_NODE_ALARM, node_alarm)                                                               \
    X(ACTION_ALARM_TELL, alarm_tell)

#define X(action, name)                                                                            \
    void args_##name##_encode(struct buffer *out, const struct args_##name *args);                 \
    enum err args_##name##_decode(struct args_##name *args, struct bytes in);
ARGUMENTS_LIST(X)
#undef X

/* All of them in one, for those who handle any action. */
struct arguments {
    enum action action;
    union {
#define X(action, name) struct args_##name name;
        ARGUMENTS_LIST(X)
#undef X
    };
};
/* ERR_UNKNOWN_ACTION: `action` has no arguments of its own (genesis, or no action). */
enum err arguments_decode(struct arguments *out, uint32_t action, struct bytes in);
void arguments_encode(struct buffer *out, const struct arguments *args);

/* Whom and what an operation is about, as its arguments alone say.
 * Where only a record is named, its patient is found in the state by the rules. */
struct target {
    struct id person;    /* zero: not named. The patient, or the user acted upon: the leaf's subject */
    struct id record;    /* zero: not named; of a copy: the new record */
    struct bytes object; /* the log's object column: bin 16 (record, member of a team), text (event, role), or empty */
    bool object_is_text;
};
/* `object` points into `args`, which outlives it. */
void arguments_target(struct target *out, const struct arguments *args);

#endif
