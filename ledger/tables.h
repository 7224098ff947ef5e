/* Tables of a node: numbers, names, keys and values.
 *
 * Replicated tables follow from the leaves alone (attachments from the leaves'
 * hashes): every node that applied the same leaves holds the same rows, and
 * the state digest (ledger/state_digest.h) covers them. Node-local tables are a node's own and are left
 * out of it. Numbers and names are never changed or reused.
 *
 * Integers in keys are big-endian, so that LMDB's order is theirs; `index` is a
 * leaf index (8 bytes). [...] are canonical msgpack arrays; `a b c` are fixed
 * big-endian fields one after the other, for the rows that every operation
 * writes. ledger/state_*.c have their one encoder and decoder.
 */
#ifndef LEDGER_TABLES_H
#define LEDGER_TABLES_H

#include <stdbool.h>
#include <stddef.h>

#include "base/table.h"

/* X(NAME, number, "name", replicated)                key -> value
 *
 * leaf            index -> the leaf, as encoded
 * attachment      index -> [salt(16), bytes]; absent: none, erased, or not here yet
 * tree            index -> interior nodes that this leaf completes (ledger/tree.h)
 * seen            issued_at(8) actor_kind(1) actor(16) request_id(16) -> index(8) decision(1) reason(2)
 * user            id(16) -> [hospital, role, disabled, login_tag, created, person index, [[key, revoked] ...]]
 * login           login_tag(32) -> user id(16)
 * key             public key(32) -> user id(16), raw: whose it is, or was; for ever
 * team            patient(16) user(16) -> since_ms(8) index(8)
 * record          record(16) -> [patient, kind, created, latest, version...]: the latest one's fields again
 * version         record(16) version(4) -> [conf, deleted, content_tag, author, time_ms, index]
 * patient_record  patient(16) index(8) -> record(16); index = the leaf that created it
 * log_subject     subject(16) index(8) -> time_ms(8) action(2) decision(1) role of the actor (text)
 * log_actor       kind(1) actor(16) index(8) -> the same
 * opened          index(8) -> record(16) version(4) content index(8), for each that an approved read opens; then,
 *                 of a part of a chart, next page's first(8) how many are left out(8)
 * policy          index(8) -> the text; the last row is in force
 * epoch           secret(1) epoch(8) -> [n, b, k, attempt, activation index, Y, [Y_i ...]]
 * keygen          secret(1) -> struct keygen (ledger/keygen.h)
 * dealing         secret(1) dealer(1) -> [attempt, commitments, digests of sub-shares] of the latest attempt
 * alarm           index(8) -> [kind, named, raiser, first, last, since_ms, status, closed, claimed_by, claimed_ms,
 *                 told, told_ms, told_by, told_ways, saying], of each alarm ever raised (ledger/alarm.h)
 * alarm_open      index(8) -> saying(2: bit i = member i), of those that are open
 * alarm_last      kind(1) named(1) first(8) -> index(8) of the latest such alarm
 * state           "state" -> [rules, size, last hash, time_ms, usable roots, users, records, denied]
 *                 "digest" -> index(8) time_ms(8) of the last leaf that asked for a state digest; absent: none did
 *
 * content_info    index -> [context, capsule, SHA-256(ciphertext), size of the ciphertext], from the attachment
 * applied         "raft" -> raft index(8) raft term(8) of the last block applied
 * checkpoint      size(8) -> a witnessed note
 * peer_mark       member(1) -> the highest state that this peer has signed; its own: what it had signed before it was
 *                 set back
 * dkg_secret      secret(1) ... -> polynomials and sub-shares of the key generation's agent
 * evidence        id(32) -> two signed statements that contradict each other (ledger/evidence.h)
 * missing         index -> empty: a replayed leaf names an attachment that is not here yet
 * digest          leaf(8) member(1) -> what a member stated of its state (ledger/state_digest.h)
 * finding         kind(1) named(1) first(8) -> what this node found (node/integrity_kept.c), until its alarm is closed
 * blob            name -> whatever a part of the node keeps for itself
 */
/* In the place of a row of TABLE_PEER_MARK that could not be read: that there was one is what counts for a node's own. */
#define MARK_LOST "?"

#define TABLE_LIST(X)                                                                              \
    X(TABLE_LEAF, 1, "leaf", true)                                                                 \
    X(TABLE_ATTACHMENT, 2, "attachment", true)                                                     \
    X(TABLE_TREE, 3, "tree", true)                                                                 \
    X(TABLE_SEEN, 4, "seen", true)                                                                 \
    X(TABLE_USER, 5, "user", true)                                                                 \
    X(TABLE_LOGIN, 6, "login", true)                                                               \
    X(TABLE_TEAM, 7, "team", true)                                                                 \
    X(TABLE_RECORD, 8, "record", true)                                                             \
    X(TABLE_VERSION, 9, "version", true)                                                           \
    X(TABLE_PATIENT_RECORD, 10, "patient_record", true)                                            \
    X(TABLE_LOG_SUBJECT, 11, "log_subject", true)                                                  \
    X(TABLE_LOG_ACTOR, 12, "log_actor", true)                                                      \
    X(TABLE_OPENED, 13, "opened", true)                                                            \
    X(TABLE_POLICY, 14, "policy", true)                                                            \
    X(TABLE_EPOCH, 15, "epoch", true)                                                              \
    X(TABLE_KEYGEN, 16, "keygen", true)                                                            \
    X(TABLE_DEALING, 17, "dealing", true)                                                          \
    X(TABLE_KEY, 19, "key", true)                                                                  \
    X(TABLE_META, 18, "state", true)                                                               \
    X(TABLE_ALARM, 20, "alarm", true)                                                              \
    X(TABLE_ALARM_OPEN, 21, "alarm_open", true)                                                    \
    X(TABLE_ALARM_LAST, 22, "alarm_last", true)                                                    \
    X(TABLE_CONTENT_INFO, 32, "content_info", false)                                               \
    X(TABLE_APPLIED, 33, "applied", false)                                                         \
    X(TABLE_CHECKPOINT, 34, "checkpoint", false)                                                   \
    X(TABLE_PEER_MARK, 35, "peer_mark", false)                                                     \
    X(TABLE_DKG_SECRET, 36, "dkg_secret", false)                                                   \
    X(TABLE_BLOB, 37, "blob", false)                                                               \
    X(TABLE_MISSING, 38, "missing", false)                                                         \
    X(TABLE_EVIDENCE, 39, "evidence", false)                                                       \
    X(TABLE_FINDING, 40, "finding", false)                                                         \
    X(TABLE_STATEMENT, 45, "digest", false)

enum table_number {
#define X(name, number, text, replicated) name = number,
    TABLE_LIST(X)
#undef X
};

/* For opening a store: all tables, in the order of their numbers. Static. */
extern const struct table_name ledger_tables[];
extern const size_t ledger_tables_count;

bool table_is_replicated(enum table_number table);

#endif
