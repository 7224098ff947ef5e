/* Rows of the replicated state, typed: one strict encoder and decoder each.
 *
 * A get fills the struct from a transaction. ERR_NOT_FOUND: no such row;
 * ERR_CORRUPT: a row that does not decode; ERR_IO and the like from the store.
 * The structs own their bytes (no views). One transaction, one thread.
 */
#ifndef LEDGER_STATE_H
#define LEDGER_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/limits.h"
#include "base/table.h"
#include "crypto/group.h"
#include "crypto/keys.h"
#include "ledger/action.h"
#include "ledger/policy.h"
#include "ledger/record.h"

/* --- users --- */

struct user_key {
    struct sign_public key;
    bool revoked;
};

struct user {
    char hospital[LIMIT_NAME + 1];
    char role[POLICY_ROLE_NAME + 1];
    bool disabled;
    bool has_login;
    struct digest login_tag;
    uint64_t created;      /* leaf index */
    uint64_t person_index; /* leaf whose attachment is the person */
    uint32_t key_count;
    struct user_key keys[LIMIT_KEYS_PER_USER];
};

enum err state_user_get(struct user *out, struct table_txn *txn, const struct id *id);
enum err state_user_put(struct table_txn *txn, const struct id *id, const struct user *user);
enum err state_login_get(struct id *out, struct table_txn *txn, const struct digest *tag);
enum err state_login_put(struct table_txn *txn, const struct digest *tag, const struct id *id);
enum err state_login_delete(struct table_txn *txn, const struct digest *tag);
/* Whose key that is or was: one key, one person, so that an entry names who made it. */
enum err state_key_get(struct id *out, struct table_txn *txn, const struct sign_public *key);
enum err state_key_put(struct table_txn *txn, const struct sign_public *key, const struct id *id);

/* The position of a key in user->keys, or -1. */
int user_key_find(const struct user *user, const struct key_id *key_id);
bool user_usable(const struct user *user); /* not disabled and with a key that is not revoked */

/* --- teams --- */

struct team_row {
    uint64_t since_ms, index;
};
enum err state_team_get(struct team_row *out, struct table_txn *txn, const struct id *patient, const struct id *user);
enum err state_team_put(struct table_txn *txn, const struct id *patient, const struct id *user,
                        const struct team_row *row);
enum err state_team_delete(struct table_txn *txn, const struct id *patient, const struct id *user);

/* --- records --- */

struct version {
    uint8_t conf;
    bool deleted; /* a tombstone: no content */
    bool has_tag;
    struct digest content_tag;
    struct id author;
    uint64_t time_ms;
    uint64_t index; /* leaf; its attachment is the content */
};

struct record {
    struct id patient;
    char kind[LIMIT_NAME + 1];
    uint64_t created; /* leaf index */
    uint32_t latest;  /* version number, from 1 */
    struct version version; /* the latest one, again */
};

enum err state_record_get(struct record *out, struct table_txn *txn, const struct id *id);
/* Writes the record and its latest version's row; `created` also the patient's list. */
enum err state_record_put(struct table_txn *txn, const struct id *id, const struct record *record, bool created);
enum err state_version_get(struct version *out, struct table_txn *txn, const struct id *id, uint32_t version);
/* One version's row alone, for repairs: the rules use state_record_put. */
enum err state_version_put(struct table_txn *txn, const struct id *id, uint32_t version, const struct version *row);

/* --- what was opened by a read --- */

struct opened {
    struct id record;
    uint32_t version;
    uint64_t content; /* leaf index of the content */
};
/* What a chart has beyond these: both 0 for most. */
struct opened_rest {
    uint64_t next;     /* the record, by the leaf that created it, with which the next page begins; 0: the end */
    uint64_t left_out; /* above what the role may see */
};
enum err state_opened_put(struct table_txn *txn, uint64_t index, const struct opened *rows, size_t count,
                          const struct opened_rest *rest);
/* ERR_NOT_FOUND: that leaf is no approved read. */
enum err state_opened_get(struct opened out[static LIMIT_OPENED], size_t *count, struct opened_rest *rest,
                          struct table_txn *txn, uint64_t index);
/* The same of a row's value: how many it names (at most LIMIT_OPENED), and each. ERR_CORRUPT. */
enum err opened_decode(size_t *count, struct opened_rest *rest, struct bytes value);
/* Without the rest, which versions before did not keep: what is compared between nodes. */
struct bytes opened_compared(struct bytes value);
struct opened opened_at(struct bytes value, size_t position);

/* --- duplicates --- */

struct seen {
    uint64_t index;
    uint8_t decision;
    uint16_t reason;
};
/* What became of an operation, kept until 5 minutes after issued_at. */
enum err state_seen_get(struct seen *out, struct table_txn *txn, uint64_t issued_at_ms, uint8_t actor_kind,
                        const struct id *actor, const struct id *request_id);
enum err state_seen_put(struct table_txn *txn, uint64_t issued_at_ms, uint8_t actor_kind, const struct id *actor,
                        const struct id *request_id, const struct seen *row);

/* --- the log's indexes --- */

struct log_facts { /* so that a query filters without opening leaves */
    uint64_t time_ms;
    uint16_t action;
    uint8_t decision;
    char role[POLICY_ROLE_NAME + 1]; /* of the actor, then; "" for nodes */
};
/* `subject` zero: nobody. */
enum err state_log_put(struct table_txn *txn, uint64_t index, const struct id *subject,
                       uint8_t actor_kind, const struct id *actor, const struct log_facts *facts);
/* The same row under a second person affected. */
enum err state_log_put_also(struct table_txn *txn, uint64_t index, const struct id *also,
                            const struct log_facts *facts);
enum err state_log_facts_decode(struct log_facts *out, struct bytes value);
enum err state_log_actor_get(struct log_facts *out, struct table_txn *txn, uint64_t index, uint8_t actor_kind,
                             const struct id *actor);
#define LOG_SUBJECT_KEY (16 + 8)
#define LOG_ACTOR_KEY (1 + 16 + 8)
void state_log_subject_key(uint8_t key[static LOG_SUBJECT_KEY], const struct id *subject, uint64_t index);
void state_log_actor_key(uint8_t key[static LOG_ACTOR_KEY], uint8_t kind, const struct id *actor, uint64_t index);

/* --- content, as this node has it (node-local) --- */

struct content_info {
    uint8_t context[RECORD_CONTEXT_MAX]; /* canonical msgpack, ledger/record.h */
    size_t context_size;
    uint8_t capsule[LIMIT_CAPSULE]; /* as it stands in the attachment */
    size_t capsule_size;
    struct digest ciphertext_hash;
    uint64_t ciphertext_size;
};
enum err state_content_get(struct content_info *out, struct table_txn *txn, uint64_t index);
enum err state_content_put(struct table_txn *txn, uint64_t index, const struct content_info *info);

/* --- epochs of collective keys; `secret` is an enum key_secret --- */

struct epoch {
    uint64_t epoch; /* from 1 */
    uint32_t n, b, k;
    uint32_t attempt;    /* of key generation */
    uint64_t activation; /* leaf index */
    struct point key;    /* Y */
    struct point verification[LIMIT_NODES]; /* Y_i of member i at i - 1 */
};
/* ERR_NOT_FOUND: not active yet. epoch 0: the newest. */
enum err state_epoch_get(struct epoch *out, struct table_txn *txn, uint8_t secret, uint64_t epoch);
enum err state_epoch_put(struct table_txn *txn, uint8_t secret, const struct epoch *row);

/* --- the whole --- */

struct meta {
    uint32_t rules;      /* version of the rules in force */
    uint64_t size;       /* leaves */
    struct digest last;  /* hash of the last leaf */
    uint64_t time_ms;    /* of the last leaf */
    uint64_t roots;      /* usable users of role root */
    uint64_t users, records, denied; /* counters */
};
#define RULES_VERSION 1

/* The last leaf that asked for a state digest, and its time. ERR_NOT_FOUND: none did. */
enum err state_digest_asked_get(uint64_t *index, uint64_t *time_ms, struct table_txn *txn);
enum err state_digest_asked_put(struct table_txn *txn, uint64_t index, uint64_t time_ms);
enum err state_meta_get(struct meta *out, struct table_txn *txn);
enum err state_meta_put(struct table_txn *txn, const struct meta *meta);

struct applied { /* node-local: where in the Raft log the state stands */
    uint64_t raft_index, raft_term;
};
enum err state_applied_get(struct applied *out, struct table_txn *txn); /* absent: zeros, OK */
enum err state_applied_put(struct table_txn *txn, const struct applied *applied);

/* The text of the policy in force, and the leaf that set it. */
enum err state_policy_get(struct buffer *text, uint64_t *index, struct table_txn *txn);
enum err state_policy_put(struct table_txn *txn, uint64_t index, struct bytes text);

#endif
