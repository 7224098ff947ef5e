/* One operation on its way: who it is, whether it is fresh, the leaf that it gets. */
#include <string.h>

#include "base/check.h"
#include "ledger/fields.h"
#include "ledger/keygen.h"
#include "ledger/rules.h"

/* --- users, through the cache --- */

static struct user_slot *user_slot(struct ledger *ledger, const struct id *id)
{
    return &ledger->users[get_be16(id->bytes) % USER_CACHE];
}

/* The key ids are hashes, and each operation of a user asks for one. */
static void fill_slot(struct user_slot *slot, const struct id *id)
{
    slot->id = *id;
    slot->used = true;
    for (uint32_t i = 0; i < slot->user.key_count; i++) slot->key_ids[i] = key_id_of(&slot->user.keys[i].key);
}

static const struct user_slot *user_cached(enum err *err, struct ledger *ledger, struct table_txn *txn,
                                           const struct id *id)
{
    struct user_slot *slot = user_slot(ledger, id);
    *err = OK;
    if (slot->used && id_equal(&slot->id, id)) return slot;
    slot->used = false;
    *err = state_user_get(&slot->user, txn, id);
    if (*err != OK) return NULL;
    fill_slot(slot, id);
    return slot;
}

enum err ledger_user_get(struct user *out, struct ledger *ledger, struct table_txn *txn, const struct id *id)
{
    enum err err;
    const struct user_slot *slot = user_cached(&err, ledger, txn, id);
    if (slot) *out = slot->user;
    return err;
}

enum err ledger_user_put(struct ledger *ledger, struct table_txn *txn, const struct id *id, const struct user *user)
{
    struct user_slot *slot = user_slot(ledger, id);
    slot->user = *user;
    fill_slot(slot, id);
    return state_user_put(txn, id, user);
}

/* --- beginning --- */

void step_begin(struct step *step, struct ledger *ledger, struct table_txn *txn, const struct operation *op,
                uint64_t time_ms)
{
    step->ledger = ledger;
    step->txn = txn;
    step->op = op;
    step->attachment = (struct bytes){NULL, 0};
    step->index = ledger->meta.size;
    step->time_ms = time_ms > ledger->meta.time_ms ? time_ms : ledger->meta.time_ms;
    step->err = OK;
    step->role = -1;
    step->member = 0;
    step->key_revoked = false;
    step->reason = REASON_NONE;
    step->subject = (struct id){{0}};
    step->also = (struct id){{0}};
    step->target_id = (struct id){{0}};
    step->opened_count = 0;
    step->opened_rest = (struct opened_rest){0};
    step->keygen_changed = false;
    step->policy_changed = false;
    step->alarms_changed = false;
    step->digest_asked = false;
}

static enum err authenticate_user(struct step *step)
{
    const struct actor *actor = &step->op->actor;
    enum err err;
    const struct user_slot *slot = user_cached(&err, step->ledger, step->txn, &actor->id);
    if (!slot) return err == ERR_NOT_FOUND ? ERR_UNKNOWN_ACTOR : err;
    const struct user *user = &slot->user;
    uint32_t key = 0;
    while (key < user->key_count && !key_id_equal(&slot->key_ids[key], &actor->key)) key++;
    if (key == user->key_count) return ERR_UNKNOWN_ACTOR;
    step->actor = *user;
    step->key = user->keys[key].key;
    step->key_revoked = user->keys[key].revoked;
    step->role = policy_role(&step->ledger->policy, bytes_text(user->role));
    return OK;
}

static enum err authenticate_node(struct step *step)
{
    const struct actor *actor = &step->op->actor;
    uint32_t index = genesis_member_by_id(&step->ledger->genesis, &actor->id);
    if (!index) return ERR_UNKNOWN_ACTOR;
    step->key = genesis_member(&step->ledger->genesis, index)->keys.message;
    struct key_id have = key_id_of(&step->key);
    if (!key_id_equal(&have, &actor->key)) return ERR_UNKNOWN_ACTOR;
    step->member = index;
    return OK;
}

enum err step_authenticate(struct step *step)
{
    const struct operation *op = step->op;
    if (!digest_equal(&op->cluster, &step->ledger->genesis.cluster)) return ERR_OTHER_CLUSTER;
    if (action_actor((enum action)op->action) == ACTOR_NONE) return ERR_UNKNOWN_ACTION;
    switch (op->actor.kind) {
    case ACTOR_USER: return authenticate_user(step);
    case ACTOR_NODE: return authenticate_node(step);
    case ACTOR_NONE: break;
    }
    return ERR_UNKNOWN_ACTOR;
}

bool step_stale(const struct step *step)
{
    uint64_t issued = step->op->issued_at_ms, now = step->time_ms;
    return issued > now ? issued - now > LIMIT_SKEW_MS : now - issued > LIMIT_SKEW_MS;
}

enum err step_fresh(struct step *step, struct seen *first)
{
    const struct operation *op = step->op;
    if (step_stale(step)) return ERR_STALE;
    enum err err = state_seen_get(first, step->txn, op->issued_at_ms, (uint8_t)op->actor.kind, &op->actor.id,
                                  &op->request_id);
    if (err == OK) return ERR_DUPLICATE;
    return err == ERR_NOT_FOUND ? OK : err;
}

/* --- reach and permission --- */

enum reason step_failed(struct step *step, enum err err)
{
    CHECK(err != OK);
    if (step->err == OK) step->err = err;
    return REASON_FIELDS;
}

static scope_set reach_without_team(const struct id *viewer_id, const struct user *viewer, const struct id *person_id,
                                    const struct user *person)
{
    scope_set reached = SCOPE_BIT(SCOPE_ANY);
    if (id_equal(viewer_id, person_id)) reached |= SCOPE_BIT(SCOPE_OWN);
    if (viewer->hospital[0] && strcmp(viewer->hospital, person->hospital) == 0) reached |= SCOPE_BIT(SCOPE_HOSPITAL);
    return reached;
}

/* In the person's team, or the person in one's own. */
static enum err same_team(bool *out, struct table_txn *txn, const struct id *a, const struct id *b)
{
    struct team_row row;
    enum err err = state_team_get(&row, txn, b, a);
    if (err == ERR_NOT_FOUND) err = state_team_get(&row, txn, a, b);
    *out = err == OK;
    return err == ERR_NOT_FOUND ? OK : err;
}

enum err viewer_reach(scope_set *out, const struct viewer *viewer, const struct id *person_id,
                      const struct user *person, bool team)
{
    bool together = false;
    *out = reach_without_team(viewer->id, viewer->user, person_id, person);
    enum err err = team ? same_team(&together, viewer->txn, viewer->id, person_id) : OK;
    if (together) *out |= SCOPE_BIT(SCOPE_TEAM);
    return err;
}

scope_set step_reach(struct step *step, const struct id *person_id, const struct user *person)
{
    struct viewer viewer = {step->txn, &step->ledger->policy, &step->op->actor.id, &step->actor};
    scope_set reached;
    enum err err = viewer_reach(&reached, &viewer, person_id, person, true);
    if (err != OK) step_failed(step, err);
    return reached;
}

enum reason step_permit(struct step *step, enum action action, const struct id *person_id, const struct user *person,
                        enum confidentiality conf)
{
    const struct policy *policy = &step->ledger->policy;
    scope_set reached = reach_without_team(&step->op->actor.id, &step->actor, person_id, person);
    enum reason reason = policy_decide(policy, step->role, action, reached, conf);
    if (reason == REASON_NONE || reason == REASON_NO_PERMISSION) return reason;
    if (!policy->roles[step->role].grant[action][SCOPE_TEAM]) return reason;
    return policy_decide(policy, step->role, action, step_reach(step, person_id, person), conf);
}

enum reason step_permit_any(struct step *step, enum action action)
{
    return policy_decide(&step->ledger->policy, step->role, action, SCOPE_BIT(SCOPE_ANY), CONF_NORMAL);
}

bool step_has_permission(const struct step *step, enum action action)
{
    return policy_highest(&step->ledger->policy, step->role, action, (scope_set)~0u) >= 0;
}

enum reason step_patient(struct step *step, struct user *patient, enum action action, const struct id *id,
                         enum confidentiality conf)
{
    if (!step_has_permission(step, action)) return REASON_NO_PERMISSION;
    enum err err = ledger_user_get(patient, step->ledger, step->txn, id);
    if (err == ERR_NOT_FOUND) return REASON_UNKNOWN_PATIENT;
    if (err != OK) return step_failed(step, err);
    if (strcmp(patient->role, ROLE_PATIENT) != 0) return REASON_NOT_A_PATIENT;
    return step_permit(step, action, id, patient, conf);
}

/* --- deciding --- */

enum presence { ABSENT, OPTIONAL, REQUIRED };

static enum presence attachment_presence(enum action action)
{
    switch (action) {
    case ACTION_RECORD_CREATE:
    case ACTION_RECORD_UPDATE:
    case ACTION_RECORD_COPY: return REQUIRED;
    case ACTION_USER_CREATE:
    case ACTION_USER_UPDATE:
    case ACTION_USER_DISABLE:
    case ACTION_USER_SEARCH:
    case ACTION_EVENT_ADD:
    case ACTION_ALARM_CLEAR: return OPTIONAL;
    case ACTION_GENESIS:
    case ACTION_USER_KEY:
    case ACTION_ROLE_ASSIGN:
    case ACTION_TEAM_ASSIGN:
    case ACTION_TEAM_LIST:
    case ACTION_RECORD_DELETE:
    case ACTION_RECORD_READ:
    case ACTION_RECORD_HISTORY:
    case ACTION_RECORD_LIST:
    case ACTION_LOG_QUERY:
    case ACTION_LEDGER_EXPORT:
    case ACTION_POLICY_SET:
    case ACTION_POLICY_SHOW:
    case ACTION_KEY_COMMIT:
    case ACTION_KEY_REVEAL:
    case ACTION_KEY_CONFIRM:
    case ACTION_KEY_ANSWER:
    case ACTION_KEY_CLOSE:
    case ACTION_KEY_ACTIVATE:
    case ACTION_NODE_ALARM:
    case ACTION_ALARM_TELL:
    case ACTION_STATE_DIGEST:
    case ACTION_NODE_DIGEST: break;
    }
    return ABSENT;
}

static bool attachment_fits(const struct operation *op)
{
    enum presence presence = attachment_presence((enum action)op->action);
    return operation_has_attachment(op) ? presence != ABSENT : presence != REQUIRED;
}

static enum reason decide_action(struct step *step)
{
    switch ((enum action)step->op->action) {
    case ACTION_USER_CREATE:
    case ACTION_USER_UPDATE:
    case ACTION_USER_DISABLE:
    case ACTION_USER_KEY:
    case ACTION_ROLE_ASSIGN:
    case ACTION_TEAM_ASSIGN:
    case ACTION_TEAM_LIST: return decide_people(step);
    case ACTION_RECORD_CREATE:
    case ACTION_RECORD_UPDATE:
    case ACTION_RECORD_DELETE:
    case ACTION_RECORD_READ:
    case ACTION_RECORD_HISTORY:
    case ACTION_RECORD_COPY:
    case ACTION_RECORD_LIST:
    case ACTION_EVENT_ADD: return decide_records(step);
    case ACTION_USER_SEARCH:
    case ACTION_LOG_QUERY:
    case ACTION_LEDGER_EXPORT:
    case ACTION_POLICY_SET:
    case ACTION_POLICY_SHOW: return decide_queries(step);
    case ACTION_KEY_COMMIT:
    case ACTION_KEY_REVEAL:
    case ACTION_KEY_CONFIRM:
    case ACTION_KEY_ANSWER:
    case ACTION_KEY_CLOSE:
    case ACTION_KEY_ACTIVATE: return decide_nodes(step);
    case ACTION_NODE_ALARM:
    case ACTION_ALARM_TELL:
    case ACTION_ALARM_CLEAR: return decide_alarms(step);
    case ACTION_STATE_DIGEST:
    case ACTION_NODE_DIGEST: return decide_digest(step);
    case ACTION_GENESIS: break;
    }
    return REASON_FIELDS;
}

/* The subject is set also when it is denied, so that an affected person sees the attempt. */
void step_decide(struct step *step)
{
    const struct operation *op = step->op;
    bool fields_good = arguments_decode(&step->args, op->action, op->args) == OK;
    enum reason reason = REASON_FIELDS;
    if (fields_good) {
        struct target target;
        arguments_target(&target, &step->args);
        step->subject = target.person;
        bool may_act = action_actor((enum action)op->action) == op->actor.kind;
        reason = may_act ? decide_action(step) : REASON_NO_PERMISSION;
        if (reason == REASON_NONE && !attachment_fits(op)) reason = REASON_FIELDS;
    }
    if (op->actor.kind == ACTOR_USER && step->key_revoked) reason = REASON_KEY_REVOKED;
    if (op->actor.kind == ACTOR_USER && step->actor.disabled) reason = REASON_DISABLED;
    step->reason = reason;
}

/* --- appending --- */

static void prune_seen(struct step *step)
{
    struct table_cursor *c;
    uint8_t keys[SEEN_PRUNE_ROWS][48];
    size_t sizes[SEEN_PRUNE_ROWS], count = 0;
    enum err err = table_cursor_open(&c, step->txn, TABLE_SEEN);
    if (err != OK) {
        step_failed(step, err);
        return;
    }
    for (err = table_cursor_seek(c, (struct bytes){0}); err == OK && count < SEEN_PRUNE_ROWS;
         err = table_cursor_next(c)) {
        struct bytes key = table_cursor_key(c);
        if (key.size < 8 || key.size > sizeof keys[0]) {
            err = ERR_CORRUPT;
            break;
        }
        if (get_be64(key.data) + LIMIT_SKEW_MS >= step->time_ms) break;
        memcpy(keys[count], key.data, key.size);
        sizes[count++] = key.size;
    }
    table_cursor_close(c);
    if (err == ERR_NOT_FOUND) err = OK;
    for (size_t i = 0; i < count && err == OK; i++)
        err = table_delete(step->txn, TABLE_SEEN, bytes_of(keys[i], sizes[i]));
    if (err != OK) step_failed(step, err);
}

static enum err put_leaf(struct step *step, struct bytes encoded)
{
    struct ledger *ledger = step->ledger;
    struct tree_row row;
    uint8_t key[8];
    put_be64(key, step->index);
    enum err err = table_put(step->txn, TABLE_LEAF, BYTES(key), encoded);
    if (err != OK) return err;
    leaf_hash(&ledger->meta.last, encoded);
    tree_append(&ledger->tree, &row, &ledger->meta.last);
    ledger->meta.size = step->index + 1;
    ledger->meta.time_ms = step->time_ms;
    return table_put(step->txn, TABLE_TREE, BYTES(key), bytes_of(row.hashes, row.count * sizeof row.hashes[0]));
}

static enum err put_log(struct step *step)
{
    const struct operation *op = step->op;
    struct log_facts facts = {.time_ms = step->time_ms, .action = (uint16_t)op->action};
    facts.decision = step->reason == REASON_NONE ? DECISION_APPROVED : DECISION_DENIED;
    if (op->actor.kind == ACTOR_USER) memcpy(facts.role, step->actor.role, sizeof facts.role);
    enum err err = state_log_put(step->txn, step->index, &step->subject, (uint8_t)op->actor.kind, &op->actor.id,
                                 &facts);
    if (err == OK && !id_is_zero(&step->also) && !id_equal(&step->also, &step->subject))
        err = state_log_put_also(step->txn, step->index, &step->also, &facts);
    return err;
}

static enum err put_seen(struct step *step)
{
    const struct operation *op = step->op;
    struct seen row = {.index = step->index, .reason = (uint16_t)step->reason};
    row.decision = step->reason == REASON_NONE ? DECISION_APPROVED : DECISION_DENIED;
    return state_seen_put(step->txn, op->issued_at_ms, (uint8_t)op->actor.kind, &op->actor.id, &op->request_id, &row);
}

void step_append(struct step *step, struct buffer *out, struct leaf *leaf)
{
    size_t start = out->size;
    leaf->index = step->index;
    leaf->time_ms = step->time_ms;
    leaf->previous = step->ledger->meta.last;
    leaf->decision = step->reason == REASON_NONE ? DECISION_APPROVED : DECISION_DENIED;
    leaf->reason = step->reason;
    leaf->subject = step->subject;
    leaf_encode(out, leaf);
    enum err err = out->failed ? ERR_NOMEM : put_leaf(step, bytes_of(out->data + start, out->size - start));
    if (err == OK) err = put_log(step);
    if (err == OK) err = put_seen(step);
    if (err != OK) step_failed(step, err);
    if (leaf->decision == DECISION_DENIED) step->ledger->meta.denied++;
    if (err == OK && step->index % SEEN_PRUNE_EVERY == 0) prune_seen(step);
}

void step_change(struct step *step)
{
    if (step->reason != REASON_NONE) return;
    uint32_t action = step->op->action;
    if (action == ACTION_NODE_ALARM || action == ACTION_ALARM_TELL || action == ACTION_ALARM_CLEAR)
        change_alarms(step);
    else if (action == ACTION_STATE_DIGEST || action == ACTION_NODE_DIGEST)
        change_digest(step);
    else if (step->op->actor.kind == ACTOR_NODE)
        change_nodes(step);
    else if (action >= ACTION_USER_CREATE && action <= ACTION_TEAM_LIST)
        change_people(step);
    else if (action >= ACTION_RECORD_CREATE && action <= ACTION_EVENT_ADD)
        change_records(step);
    else
        change_queries(step);
}

/* --- answers --- */

void step_answer(struct step *step, struct answer *answer)
{
    if (step->reason != REASON_NONE || step->op->actor.kind != ACTOR_USER) return;
    uint32_t action = step->op->action;
    if (action == ACTION_TEAM_LIST)
        answer_people(step, answer);
    else if (action >= ACTION_RECORD_CREATE && action <= ACTION_RECORD_LIST)
        answer_records(step, answer);
    else
        answer_queries(step, answer);
}

bool answer_full(const struct answer *answer, uint32_t limit)
{
    return answer->count >= limit || answer->examined == 0 || answer->rows.size >= answer->budget ||
           answer->rows.failed;
}

void answer_spend(struct answer *answer, size_t cost)
{
    answer->examined -= cost < answer->examined ? (uint32_t)cost : answer->examined;
}

void answer_cursor(struct answer *answer, uint64_t position)
{
    put_be64(answer->cursor, position);
    answer->cursor_size = 8;
}

bool cursor_valid(struct bytes cursor) { return cursor.size == 0 || cursor.size == 8; }

uint64_t cursor_position(struct bytes cursor, uint64_t if_empty)
{
    return cursor.size == 8 ? get_be64(cursor.data) : if_empty;
}

void answer_finish(struct buffer *out, struct answer *answer)
{
    pack_array(out, 3);
    pack_array(out, answer->count);
    buffer_append_bytes(out, buffer_bytes(&answer->rows));
    pack_bin(out, answer->cursor, answer->cursor_size);
    pack_uint(out, answer->left_out);
    if (answer->rows.failed) out->failed = true;
    buffer_free(&answer->rows);
}
