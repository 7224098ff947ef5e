/* Users, roles, teams: who may change whom. */
#include <string.h>

#include "base/check.h"
#include "ledger/fields.h"
#include "ledger/rules.h"

/* The last usable root must stay: nobody could appoint another. */
static bool is_last_root(const struct step *step, const struct user *user)
{
    return strcmp(user->role, ROLE_ROOT) == 0 && user_usable(user) && step->ledger->meta.roots == 1;
}

static enum reason find_user(struct step *step, struct user *out, const struct id *id)
{
    enum err err = ledger_user_get(out, step->ledger, step->txn, id);
    if (err == ERR_NOT_FOUND) return REASON_UNKNOWN_USER;
    return err == OK ? REASON_NONE : step_failed(step, err);
}

/* May the actor give the role that this user has? A role that the policy no longer
 * has is given by nobody, so root may change those users. */
static bool may_give_role_of(const struct step *step, const struct user *user)
{
    int given = policy_role(&step->ledger->policy, bytes_text(user->role));
    if (given < 0) return strcmp(step->actor.role, ROLE_ROOT) == 0;
    return policy_may_grant(&step->ledger->policy, step->role, given);
}

/* Oneself, or a user whose role one may give. */
static bool may_change(const struct step *step, const struct id *id, const struct user *user)
{
    return id_equal(id, &step->op->actor.id) || may_give_role_of(step, user);
}

/* What all changes of an existing user have in common. */
static enum reason decide_change(struct step *step, enum action action, const struct id *id)
{
    struct user *target = &step->target;
    if (!step_has_permission(step, action)) return REASON_NO_PERMISSION;
    enum reason reason = find_user(step, target, id);
    if (reason == REASON_NONE) reason = step_permit(step, action, id, target, CONF_NORMAL);
    if (reason == REASON_NONE && !may_change(step, id, target)) reason = REASON_ROLE_NOT_GRANTABLE;
    return reason;
}

/* A person of that hospital who is not there yet: neither own nor team reaches. */
static enum reason permit_hospital(struct step *step, enum action action, struct bytes hospital)
{
    scope_set reached = SCOPE_BIT(SCOPE_ANY);
    if (step->actor.hospital[0] && bytes_equal(hospital, bytes_text(step->actor.hospital)))
        reached |= SCOPE_BIT(SCOPE_HOSPITAL);
    return policy_decide(&step->ledger->policy, step->role, action, reached, CONF_NORMAL);
}

static enum reason decide_login(struct step *step, const struct digest *tag, const struct id *user)
{
    struct id owner;
    if (digest_is_zero(tag)) return REASON_NONE;
    enum err err = state_login_get(&owner, step->txn, tag);
    if (err == ERR_NOT_FOUND) return REASON_NONE;
    if (err != OK) return step_failed(step, err);
    return id_equal(&owner, user) ? REASON_NONE : REASON_LOGIN_TAKEN;
}

/* A key that two people had would leave open which of them acted. */
static enum reason decide_owner(struct step *step, const struct sign_public *key, const struct id *user)
{
    struct id owner;
    enum err err = state_key_get(&owner, step->txn, key);
    if (err == ERR_NOT_FOUND) return REASON_NONE;
    if (err != OK) return step_failed(step, err);
    return id_equal(&owner, user) ? REASON_NONE : REASON_KEY_EXISTS;
}

static bool key_ids_differ(const struct args_user_create *args)
{
    for (uint32_t i = 0; i < args->key_count; i++)
        for (uint32_t j = 0; j < i; j++) {
            struct key_id a = key_id_of(&args->keys[i]), b = key_id_of(&args->keys[j]);
            if (key_id_equal(&a, &b)) return false;
        }
    return true;
}

static enum reason decide_create(struct step *step)
{
    const struct args_user_create *args = &step->args.user_create;
    struct user existing;
    if (!step_has_permission(step, ACTION_USER_CREATE)) return REASON_NO_PERMISSION;
    int role = policy_role(&step->ledger->policy, args->role);
    if (role < 0) return REASON_UNKNOWN_ROLE;
    if (!policy_may_grant(&step->ledger->policy, step->role, role)) return REASON_ROLE_NOT_GRANTABLE;
    enum reason reason = permit_hospital(step, ACTION_USER_CREATE, args->hospital);
    if (reason != REASON_NONE) return reason;
    reason = find_user(step, &existing, &args->user);
    if (reason != REASON_UNKNOWN_USER) return reason == REASON_NONE ? REASON_USER_EXISTS : reason;
    if (!key_ids_differ(args)) return REASON_KEY_EXISTS;
    for (uint32_t i = 0; i < args->key_count; i++) {
        reason = decide_owner(step, &args->keys[i], &args->user);
        if (reason != REASON_NONE) return reason;
    }
    return decide_login(step, &args->login_tag, &args->user);
}

static bool update_changes(const struct step *step)
{
    const struct args_user_update *args = &step->args.user_update;
    const struct user *user = &step->target;
    if (operation_has_attachment(step->op)) return true;
    if (args->hospital.size && !bytes_equal(args->hospital, bytes_text(user->hospital))) return true;
    return !digest_is_zero(&args->login_tag) && !(user->has_login && digest_equal(&args->login_tag, &user->login_tag));
}

static enum reason decide_update(struct step *step)
{
    const struct args_user_update *args = &step->args.user_update;
    enum reason reason = decide_change(step, ACTION_USER_UPDATE, &args->user);
    if (reason != REASON_NONE) return reason;
    bool moves = args->hospital.size && !bytes_equal(args->hospital, bytes_text(step->target.hospital));
    if (moves) reason = permit_hospital(step, ACTION_USER_UPDATE, args->hospital);
    if (reason != REASON_NONE) return reason;
    if (!update_changes(step)) return REASON_UNCHANGED;
    return decide_login(step, &args->login_tag, &args->user);
}

static enum reason decide_disable(struct step *step)
{
    const struct args_user_disable *args = &step->args.user_disable;
    enum reason reason = decide_change(step, ACTION_USER_DISABLE, &args->user);
    if (reason != REASON_NONE) return reason;
    if (args->disabled == step->target.disabled) return REASON_UNCHANGED;
    return args->disabled && is_last_root(step, &step->target) ? REASON_LAST_ADMINISTRATOR : REASON_NONE;
}

static int find_key(const struct user *user, const struct sign_public *key)
{
    struct key_id id = key_id_of(key);
    return user_key_find(user, &id);
}

static int find_revoked(const struct user *user)
{
    for (uint32_t i = 0; i < user->key_count; i++)
        if (user->keys[i].revoked) return (int)i;
    return -1;
}

static enum reason decide_key(struct step *step)
{
    const struct args_user_key *args = &step->args.user_key;
    struct user *user = &step->target;
    enum reason reason = decide_change(step, ACTION_USER_KEY, &args->user);
    if (reason != REASON_NONE) return reason;
    int at = find_key(user, &args->key);
    if (!args->revoke) {
        if (at >= 0) return REASON_KEY_EXISTS;
        reason = decide_owner(step, &args->key, &args->user);
        if (reason != REASON_NONE) return reason;
        bool room = user->key_count < LIMIT_KEYS_PER_USER || find_revoked(user) >= 0;
        return room ? REASON_NONE : REASON_TOO_MANY_KEYS;
    }
    if (at < 0) return REASON_KEY_UNKNOWN;
    if (user->keys[at].revoked) return REASON_UNCHANGED;
    struct user without = *user;
    without.keys[at].revoked = true;
    return is_last_root(step, user) && !user_usable(&without) ? REASON_LAST_ADMINISTRATOR : REASON_NONE;
}

static enum reason decide_role(struct step *step)
{
    const struct args_role_assign *args = &step->args.role_assign;
    enum reason reason = decide_change(step, ACTION_ROLE_ASSIGN, &args->user);
    if (reason != REASON_NONE) return reason;
    if (!may_give_role_of(step, &step->target)) return REASON_ROLE_NOT_GRANTABLE; /* nor leave one's own role */
    int role = policy_role(&step->ledger->policy, args->role);
    if (role < 0) return REASON_UNKNOWN_ROLE;
    if (!policy_may_grant(&step->ledger->policy, step->role, role)) return REASON_ROLE_NOT_GRANTABLE;
    if (bytes_equal(args->role, bytes_text(step->target.role))) return REASON_UNCHANGED;
    return is_last_root(step, &step->target) ? REASON_LAST_ADMINISTRATOR : REASON_NONE;
}

static enum reason decide_team(struct step *step)
{
    const struct args_team_assign *args = &step->args.team_assign;
    struct user patient;
    struct team_row row;
    enum reason reason = step_patient(step, &patient, ACTION_TEAM_ASSIGN, &args->patient, CONF_NORMAL);
    if (reason == REASON_NONE) reason = find_user(step, &step->target, &args->user);
    if (reason != REASON_NONE) return reason;
    enum err err = state_team_get(&row, step->txn, &args->patient, &args->user);
    if (err != OK && err != ERR_NOT_FOUND) return step_failed(step, err);
    if ((err == OK) != args->remove) return REASON_UNCHANGED;
    step->also = args->user;
    if (args->remove) return REASON_NONE;
    if (id_equal(&args->patient, &args->user)) return REASON_FIELDS;
    return step->target.disabled ? REASON_DISABLED : REASON_NONE;
}

static enum reason decide_team_list(struct step *step)
{
    struct user patient;
    return step_patient(step, &patient, ACTION_TEAM_LIST, &step->args.team_list.patient, CONF_NORMAL);
}

enum reason decide_people(struct step *step)
{
    switch (step->op->action) {
    case ACTION_USER_CREATE: return decide_create(step);
    case ACTION_USER_UPDATE: return decide_update(step);
    case ACTION_USER_DISABLE: return decide_disable(step);
    case ACTION_USER_KEY: return decide_key(step);
    case ACTION_ROLE_ASSIGN: return decide_role(step);
    case ACTION_TEAM_ASSIGN: return decide_team(step);
    case ACTION_TEAM_LIST: return decide_team_list(step);
    }
    CHECK(!"not an action on people");
    return REASON_FIELDS;
}

/* --- changes --- */

static void set_text(char *out, size_t size, struct bytes text)
{
    CHECK(text.size < size);
    memset(out, 0, size);
    if (text.size) memcpy(out, text.data, text.size);
}

static bool is_usable_root(const struct user *user) { return strcmp(user->role, ROLE_ROOT) == 0 && user_usable(user); }

/* Writes the target and counts roots. `before` NULL: a new user. */
static void put_user(struct step *step, const struct id *id, const struct user *before)
{
    struct meta *meta = &step->ledger->meta;
    if (before && is_usable_root(before)) meta->roots--;
    if (is_usable_root(&step->target)) meta->roots++;
    enum err err = ledger_user_put(step->ledger, step->txn, id, &step->target);
    if (err != OK) step_failed(step, err);
}

static void set_login(struct step *step, const struct id *id, const struct digest *tag)
{
    struct user *user = &step->target;
    enum err err = OK;
    if (digest_is_zero(tag) || (user->has_login && digest_equal(tag, &user->login_tag))) return;
    if (user->has_login) err = state_login_delete(step->txn, &user->login_tag);
    if (err == OK) err = state_login_put(step->txn, tag, id);
    if (err != OK) step_failed(step, err);
    user->has_login = true;
    user->login_tag = *tag;
}

static void put_key(struct step *step, const struct sign_public *key, const struct id *user)
{
    enum err err = state_key_put(step->txn, key, user);
    if (err != OK) step_failed(step, err);
}

static void change_create(struct step *step)
{
    const struct args_user_create *args = &step->args.user_create;
    struct user *user = &step->target;
    memset(user, 0, sizeof *user);
    set_text(user->hospital, sizeof user->hospital, args->hospital);
    set_text(user->role, sizeof user->role, args->role);
    user->created = step->index;
    user->person_index = step->index;
    user->key_count = args->key_count;
    for (uint32_t i = 0; i < args->key_count; i++) {
        user->keys[i].key = args->keys[i];
        put_key(step, &args->keys[i], &args->user);
    }
    set_login(step, &args->user, &args->login_tag);
    step->ledger->meta.users++;
    put_user(step, &args->user, NULL);
    names_set(&step->ledger->names, &args->user, step->index, (struct bytes){NULL, 0});
}

static void change_update(struct step *step)
{
    const struct args_user_update *args = &step->args.user_update;
    struct user before = step->target;
    if (args->hospital.size) set_text(step->target.hospital, sizeof step->target.hospital, args->hospital);
    if (operation_has_attachment(step->op)) step->target.person_index = step->index;
    set_login(step, &args->user, &args->login_tag);
    put_user(step, &args->user, &before);
}

static void change_key(struct step *step)
{
    const struct args_user_key *args = &step->args.user_key;
    struct user *user = &step->target, before = *user;
    if (args->revoke) {
        user->keys[find_key(user, &args->key)].revoked = true;
    } else {
        if (user->key_count == LIMIT_KEYS_PER_USER) { /* the oldest revoked key makes room */
            int at = find_revoked(user);
            user->key_count--;
            memmove(&user->keys[at], &user->keys[at + 1], (user->key_count - (size_t)at) * sizeof user->keys[0]);
        }
        user->keys[user->key_count++] = (struct user_key){.key = args->key};
        put_key(step, &args->key, &args->user);
    }
    put_user(step, &args->user, &before);
}

static void change_team(struct step *step)
{
    const struct args_team_assign *args = &step->args.team_assign;
    struct team_row row = {.since_ms = step->time_ms, .index = step->index};
    enum err err = args->remove ? state_team_delete(step->txn, &args->patient, &args->user)
                                : state_team_put(step->txn, &args->patient, &args->user, &row);
    if (err != OK) step_failed(step, err);
}

void change_people(struct step *step)
{
    struct user before = step->target;
    switch (step->op->action) {
    case ACTION_USER_CREATE: change_create(step); return;
    case ACTION_USER_UPDATE: change_update(step); return;
    case ACTION_USER_DISABLE:
        step->target.disabled = step->args.user_disable.disabled;
        put_user(step, &step->args.user_disable.user, &before);
        return;
    case ACTION_USER_KEY: change_key(step); return;
    case ACTION_ROLE_ASSIGN:
        set_text(step->target.role, sizeof step->target.role, step->args.role_assign.role);
        put_user(step, &step->args.role_assign.user, &before);
        return;
    case ACTION_TEAM_ASSIGN: change_team(step); return;
    }
}
