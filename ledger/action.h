/* Actions: their numbers, permission names, argument and answer layouts.
 *
 * Numbers and layouts are the wire format (ledger/FORMAT.md repeats them for
 * those who write another implementation): a number is never reused and a
 * layout never changed; a new layout is a new action.
 *
 * Arguments are one msgpack array. id = bin 16, digest = bin 32, "text" = str,
 * conf = 0 N, 1 R, 2 V (HL7 v3 Confidentiality: normal, restricted, very
 * restricted). A field that may be absent is the empty bin or the empty str.
 * No name, address or free text of a person stands in arguments: those travel
 * in the attachment.
 *
 * Answers are made during apply, by the node that took the request only, from
 * the state at exactly that entry; they are no part of the leaf. An answer is
 * [rows, cursor, left_out]: rows = array of the rows given below (none: []);
 * cursor = bin, empty at the end, else handed back in the next query;
 * left_out = how many rows policy withheld, when the action says so.
 */
#ifndef LEDGER_ACTION_H
#define LEDGER_ACTION_H

/* X(NAME, number, "permission", kind of actor)
 *
 * user.create    [id, hospital, role, login_tag (digest or empty), [public_key(32) ...]]
 *                attachment: person (below). Subject: the new user. The id is 16 random bytes.
 * user.update    [id, hospital (or ""), login_tag (or empty)]   attachment: person, replaces the former
 * user.disable   [id, disabled (bool)]                          attachment: note
 * user.key       [id, revoke (bool), public_key(32)]
 * role.assign    [id, role]
 * user.search    [id (or empty), login_tag (or empty), role (or ""), hospital (or ""), limit, cursor]
 *                attachment: text searched for in names (optional). With an id or a tag: that user.
 *                row: [id, hospital, role, status (0 active, 1 disabled), [key_id(8) ...], leaf_index, person (bin,
 *                empty if none or erased)]
 *                Users of role root or admin are never in a search's rows (the actor's own row is).
 * team.assign    [patient, user, remove (bool)]
 * team.list      [patient]                                      row: [user, role, hospital, since_ms]
 * record.create  [record, patient, kind, conf, content_tag (bin 0 or 32)]   attachment: content
 * record.update  [record, patient, base_version, conf, content_tag]         attachment: content
 *                makes version base_version + 1; another latest version: reason CONFLICT
 *                answer of both: row [record, version]
 * record.delete  [record, patient, base_version]
 * record.read    [record (or empty), version (0: latest), patient (or empty), reader_key(32, X25519), cursor, limit]
 *                one record, or with an empty record the latest versions of all of a patient's records (a chart),
 *                at most `limit` (1..LIMIT_OPENED) from `cursor`. Versions above the allowed conf are left out.
 *                row: [record, version, patient, kind, conf, author, time_ms, leaf_index, content_size]
 *                content_size: bytes of the plaintext; 0 when it was erased
 *                What this leaf opens is fixed by apply; content and shares are asked for by leaf index.
 * record.history [record]        row: [version, author, time_ms, conf, leaf_index, deleted (bool), content_tag]
 * record.copy    [source, source_version, record, patient, kind, conf, content_tag]
 *                attachment: content (encrypted anew)
 *                answer: row [record, version]
 * record.list    [patient, cursor, limit]
 *                row: [record, kind, conf, version, author, time_ms, deleted (bool), content_tag]
 * event.add      [patient, what, object]                        attachment: note (optional)
 *                what: a code of the other system, 1..64 characters ("bill.print"); object: a code, 0..128
 * log.query      [patient (or empty), actor (or empty), action (0: any), decision (0 any, 1 approved, 2 denied),
 *                 from_ms, to_ms (0: no end), limit, cursor, follow (bool)]
 *                newest first. row: [leaf_index, time_ms, actor_kind, actor, actor_role, subject (or empty), action,
 *                object (str or bin 16/0), decision, reason, note (bin: the attachment; empty if none or erased)]
 * ledger.export  [from, to (0: no end)]     approval lets this session pull leaves
 * policy.set     [policy (bin, configs/policy.conf's text)]
 * policy.show    []                         row: [leaf_index, policy (bin)]
 * alarm.clear    [leaf index of the alarm]                       attachment: note (optional)
 * state.digest   []                         every node digests its state after the block with this leaf:
 *                ledger/state_digest.h
 *
 * Of nodes (actor kind node; permitted to members of the epoch, for themselves only). secret: 1 records, 2 passwords
 * key.commit     [secret, attempt, digest of the commitments]
 * key.reveal     [secret, attempt, [commitment(32) * k], [digest of sealed sub-share * n]]
 * key.confirm    [secret, attempt, complaints (bit mask of dealers, bit i = member index i)]
 *                0: all dealers' sub-shares are here and right
 * key.answer     [secret, attempt, receiver (member index), sub-share(32)]
 * key.close      [secret, attempt, phase]   the phase's time is past
 * key.activate   [secret, attempt, qualified dealers (bit mask), Y(32), [verification key Y_i(32) * n]]
 *                once the dealers are settled any member sends what the revealed commitments give; every node
 *                computes it itself and approves only exactly that (else COMMITMENT). The first approved one is
 *                the activation leaf: it starts epoch 1, and is what a client takes Y and Y_i from.
 * node.alarm     [kind, named member index, first, last, status (1 open, 2 repaired), evidence (bin, or empty)]
 *                first to last: leaf indexes, sizes, or Raft indexes. Evidence (ledger/evidence.h): of "forked" only,
 *                which is denied without. ledger/alarm.h
 * alarm.tell     [leaf index of the alarm, step (1 claim, 2 told), ways (bits 1 mail, 2 webhook; of a claim of all: 0)]
 *                who tells people outside of it, and that it did
 * node.digest    []                         as state.digest, when nobody asked for a while
 */
#define ACTION_LIST(X)                                                                             \
    X(ACTION_GENESIS, 0, "genesis", ACTOR_NONE)                                                    \
    X(ACTION_USER_CREATE, 1, "user.create", ACTOR_USER)                                            \
    X(ACTION_USER_UPDATE, 2, "user.update", ACTOR_USER)                                            \
    X(ACTION_USER_DISABLE, 3, "user.disable", ACTOR_USER)                                          \
    X(ACTION_USER_KEY, 4, "user.key", ACTOR_USER)                                                  \
    X(ACTION_ROLE_ASSIGN, 5, "role.assign", ACTOR_USER)                                            \
    X(ACTION_USER_SEARCH, 6, "user.search", ACTOR_USER)                                            \
    X(ACTION_TEAM_ASSIGN, 8, "team.assign", ACTOR_USER)                                            \
    X(ACTION_TEAM_LIST, 9, "team.list", ACTOR_USER)                                                \
    X(ACTION_RECORD_CREATE, 20, "record.create", ACTOR_USER)                                       \
    X(ACTION_RECORD_UPDATE, 21, "record.update", ACTOR_USER)                                       \
    X(ACTION_RECORD_DELETE, 22, "record.delete", ACTOR_USER)                                       \
    X(ACTION_RECORD_READ, 23, "record.read", ACTOR_USER)                                           \
    X(ACTION_RECORD_HISTORY, 24, "record.history", ACTOR_USER)                                     \
    X(ACTION_RECORD_COPY, 25, "record.copy", ACTOR_USER)                                           \
    X(ACTION_RECORD_LIST, 26, "record.list", ACTOR_USER)                                           \
    X(ACTION_EVENT_ADD, 30, "event.add", ACTOR_USER)                                               \
    X(ACTION_LOG_QUERY, 40, "log.query", ACTOR_USER)                                               \
    X(ACTION_LEDGER_EXPORT, 41, "ledger.export", ACTOR_USER)                                       \
    X(ACTION_POLICY_SET, 50, "policy.set", ACTOR_USER)                                             \
    X(ACTION_POLICY_SHOW, 51, "policy.show", ACTOR_USER)                                           \
    X(ACTION_ALARM_CLEAR, 52, "alarm.clear", ACTOR_USER)                                           \
    X(ACTION_STATE_DIGEST, 53, "state.digest", ACTOR_USER)                                         \
    X(ACTION_KEY_COMMIT, 60, "key.commit", ACTOR_NODE)                                             \
    X(ACTION_KEY_REVEAL, 61, "key.reveal", ACTOR_NODE)                                             \
    X(ACTION_KEY_CONFIRM, 62, "key.confirm", ACTOR_NODE)                                           \
    X(ACTION_KEY_ANSWER, 63, "key.answer", ACTOR_NODE)                                             \
    X(ACTION_KEY_CLOSE, 64, "key.close", ACTOR_NODE)                                               \
    X(ACTION_KEY_ACTIVATE, 65, "key.activate", ACTOR_NODE)                                         \
    X(ACTION_NODE_ALARM, 70, "node.alarm", ACTOR_NODE)                                             \
    X(ACTION_ALARM_TELL, 71, "alarm.tell", ACTOR_NODE)                                             \
    X(ACTION_NODE_DIGEST, 72, "node.digest", ACTOR_NODE)

enum actor_kind { ACTOR_NONE = 0, ACTOR_USER = 1, ACTOR_NODE = 2 };

enum action {
#define X(name, number, permission, actor) name = number,
    ACTION_LIST(X)
#undef X
};

/* Attachments, each [salt(16), bytes]; the bytes are, by action:
 * person   msgpack [login, name, address, designation, hospital_number], all str, "" when not given
 * content  msgpack [capsule (bin, crypto/tdh2.h), ciphertext (bin)]
 * note     UTF-8 text, at most LIMIT_NOTE
 * searched UTF-8 text, at most LIMIT_NAME
 */

/* Decision and reason of a leaf. Reason numbers are never reused. */
enum decision { DECISION_APPROVED = 1, DECISION_DENIED = 2 };

#define REASON_LIST(X)                                                                             \
    X(REASON_NONE, 0, "")                                                                          \
    X(REASON_NO_PERMISSION, 1, "the role has no such permission")                                  \
    X(REASON_SCOPE, 2, "outside the role's scope (own, team, hospital)")                           \
    X(REASON_CONFIDENTIALITY, 3, "above the role's confidentiality")                               \
    X(REASON_DISABLED, 4, "the user is disabled")                                                  \
    X(REASON_KEY_REVOKED, 5, "the key is revoked")                                                 \
    X(REASON_ROLE_NOT_GRANTABLE, 6, "the role may not give that role")                             \
    X(REASON_LAST_ADMINISTRATOR, 7, "the last administrator can't be removed")                     \
    X(REASON_UNKNOWN_USER, 10, "no such user")                                                     \
    X(REASON_UNKNOWN_PATIENT, 11, "no such patient")                                               \
    X(REASON_UNKNOWN_RECORD, 12, "no such record")                                                 \
    X(REASON_UNKNOWN_VERSION, 13, "no such version")                                               \
    X(REASON_UNKNOWN_ROLE, 14, "no such role")                                                     \
    X(REASON_USER_EXISTS, 15, "a user with that id exists")                                        \
    X(REASON_LOGIN_TAKEN, 16, "the login name is taken")                                           \
    X(REASON_RECORD_EXISTS, 17, "a record with that id exists")                                    \
    X(REASON_CONFLICT, 18, "changed meanwhile: not the latest version")                            \
    X(REASON_RECORD_DELETED, 19, "the record is deleted")                                          \
    X(REASON_NOT_A_PATIENT, 20, "the user is not a patient")                                       \
    X(REASON_KEY_EXISTS, 21, "the key is registered already, or was revoked")                      \
    X(REASON_KEY_UNKNOWN, 22, "the user has no such key")                                          \
    X(REASON_TOO_MANY_KEYS, 23, "the user has as many keys as may be")                             \
    X(REASON_UNCHANGED, 24, "nothing would change")                                                \
    X(REASON_POLICY_INVALID, 25, "the policy is not valid")                                        \
    X(REASON_FIELDS, 26, "the fields are not valid for the action")                                \
    X(REASON_KEY_NOT_ACTIVE, 27, "the collective key is not active yet")                           \
    X(REASON_NOT_A_MEMBER, 40, "the node is not a member")                                         \
    X(REASON_WRONG_PHASE, 41, "not in this phase of key generation")                               \
    X(REASON_WRONG_ATTEMPT, 42, "not this attempt of key generation")                              \
    X(REASON_ALREADY_DONE, 43, "done already")                                                     \
    X(REASON_COMMITMENT, 44, "does not match the commitment")                                      \
    X(REASON_TOO_EARLY, 45, "the phase's time is not past, or too few dealers")                    \
    X(REASON_ALREADY_RAISED, 46, "such an alarm is open already")                                  \
    X(REASON_TOO_MANY_ALARMS, 47, "the node has as many open alarms as may be")                    \
    X(REASON_UNKNOWN_ALARM, 48, "no such alarm")                                                   \
    X(REASON_ALARM_CLOSED, 49, "the alarm is closed already")                                      \
    X(REASON_NOT_RAISER, 50, "other nodes raised the alarm")                                       \
    X(REASON_PROVEN, 51, "what signatures prove only an administrator clears")                     \
    X(REASON_CLAIMED, 52, "a node's claim to tell of the alarm still holds")                       \
    X(REASON_NOT_CLAIMED, 53, "the node has no claim to tell of the alarm")                        \
    X(REASON_ALREADY_TOLD, 54, "people were told of it within 24 hours")                           \
    X(REASON_TOO_SOON, 55, "too soon after the last one")                                          \
    X(REASON_NOT_PROVEN, 56, "no evidence proves it")                                              \
    X(REASON_NOT_ITS_TURN, 57, "other nodes come first to tell of the alarm")

enum reason {
#define X(name, number, text) name = number,
    REASON_LIST(X)
#undef X
};

const char *action_name(enum action action);      /* "record.read"; "unknown" */
int action_from_name(const char *name);           /* the number, or -1 */
enum actor_kind action_actor(enum action action); /* ACTOR_NONE for numbers that are no action */
const char *reason_text(enum reason reason);

#endif
