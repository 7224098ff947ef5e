/* Searching for users, the log, export, the policy: what they need. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "ledger/fields.h"
#include "ledger/rules.h"

bool user_is_hidden(const struct user *user)
{
    return strcmp(user->role, ROLE_ROOT) == 0 || strcmp(user->role, ROLE_ADMIN) == 0;
}

/* --- user.search --- */

/* One user, by id or login. Who isn't there and who is hidden look the same: no row. */
static enum reason decide_one(struct step *step)
{
    const struct args_user_search *args = &step->args.user_search;
    struct id id = args->user;
    enum err err = OK;
    if (id_is_zero(&id)) err = state_login_get(&id, step->txn, &args->login_tag);
    if (err == OK) err = ledger_user_get(&step->target, step->ledger, step->txn, &id);
    if (err == ERR_NOT_FOUND) return REASON_NONE;
    if (err != OK) return step_failed(step, err);
    if (user_is_hidden(&step->target) && !id_equal(&id, &step->op->actor.id)) return REASON_NONE;
    step->subject = id;
    step->target_id = id;
    return step_permit(step, ACTION_USER_SEARCH, &id, &step->target, CONF_NORMAL);
}

/* Many users: rows are those that the actor reaches, so only a hospital that no
 * scope reaches is refused as a whole. */
static enum reason decide_many(struct step *step)
{
    const struct args_user_search *args = &step->args.user_search;
    scope_set reached = SCOPE_BIT(SCOPE_ANY) | SCOPE_BIT(SCOPE_OWN) | SCOPE_BIT(SCOPE_TEAM);
    if (args->hospital.size == 0 || bytes_equal(args->hospital, bytes_text(step->actor.hospital)))
        reached |= SCOPE_BIT(SCOPE_HOSPITAL);
    return policy_decide(&step->ledger->policy, step->role, ACTION_USER_SEARCH, reached, CONF_NORMAL);
}

static enum reason decide_search(struct step *step)
{
    const struct args_user_search *args = &step->args.user_search;
    if (!step_has_permission(step, ACTION_USER_SEARCH)) return REASON_NO_PERMISSION;
    if (!cursor_valid(args->cursor)) return REASON_FIELDS;
    bool one = !id_is_zero(&args->user) || !digest_is_zero(&args->login_tag);
    return one ? decide_one(step) : decide_many(step);
}

/* --- log.query --- */

static enum err reach_log(scope_set *reached, const struct viewer *viewer, const struct args_log_query *args)
{
    struct user person;
    bool by_patient = !id_is_zero(&args->patient);
    const struct id *id = by_patient ? &args->patient : &args->actor;
    *reached = SCOPE_BIT(SCOPE_ANY);
    if (id_is_zero(id)) return OK;
    enum err err = state_user_get(&person, viewer->txn, id);
    if (err == OK) err = viewer_reach(reached, viewer, id, &person, by_patient);
    if (id_equal(&args->actor, viewer->id)) *reached |= SCOPE_BIT(SCOPE_OWN);
    return err == ERR_NOT_FOUND ? OK : err;
}

enum err log_query_decide(enum reason *reason, const struct viewer *viewer, int role, const struct args_log_query *args)
{
    scope_set reached;
    enum err err = reach_log(&reached, viewer, args);
    if (err == OK) *reason = policy_decide(viewer->policy, role, ACTION_LOG_QUERY, reached, CONF_NORMAL);
    return err;
}

static enum reason decide_log(struct step *step)
{
    const struct args_log_query *args = &step->args.log_query;
    struct viewer viewer = {step->txn, &step->ledger->policy, &step->op->actor.id, &step->actor};
    enum reason reason = REASON_FIELDS;
    if (!step_has_permission(step, ACTION_LOG_QUERY)) return REASON_NO_PERMISSION;
    if (!cursor_valid(args->cursor)) return REASON_FIELDS;
    enum err err = log_query_decide(&reason, &viewer, step->role, args);
    return err == OK ? reason : step_failed(step, err);
}

/* --- policy --- */

static enum reason decide_policy(struct step *step)
{
    struct bytes text = step->args.policy_set.policy;
    struct buffer now = {0};
    uint64_t index;
    enum reason reason = step_permit_any(step, ACTION_POLICY_SET);
    if (reason != REASON_NONE) return reason;
    struct policy *policy = xmalloc(sizeof *policy);
    if (policy_parse(policy, text, NULL) != OK) reason = REASON_POLICY_INVALID;
    free(policy);
    enum err err = state_policy_get(&now, &index, step->txn);
    if (err != OK)
        reason = step_failed(step, err);
    else if (bytes_equal(buffer_bytes(&now), text))
        reason = REASON_UNCHANGED;
    buffer_free(&now);
    return reason;
}

enum reason decide_queries(struct step *step)
{
    switch (step->op->action) {
    case ACTION_USER_SEARCH: return decide_search(step);
    case ACTION_LOG_QUERY: return decide_log(step);
    case ACTION_LEDGER_EXPORT: return step_permit_any(step, ACTION_LEDGER_EXPORT);
    case ACTION_POLICY_SET: return decide_policy(step);
    case ACTION_POLICY_SHOW: return step_permit_any(step, ACTION_POLICY_SHOW);
    }
    CHECK(!"not a query");
    return REASON_FIELDS;
}

void change_queries(struct step *step)
{
    if (step->op->action != ACTION_POLICY_SET) return;
    enum err err = state_policy_put(step->txn, step->index, step->args.policy_set.policy);
    if (err != OK) step_failed(step, err);
    CHECK(policy_parse(&step->ledger->policy, step->args.policy_set.policy, NULL) == OK);
    step->policy_changed = true;
}

static void answer_policy(struct step *step, struct answer *answer)
{
    struct buffer text = {0};
    uint64_t index;
    enum err err = state_policy_get(&text, &index, step->txn);
    if (err == OK) {
        pack_array(&answer->rows, 2);
        pack_uint(&answer->rows, index);
        pack_bytes(&answer->rows, buffer_bytes(&text));
        answer->count++;
    } else {
        step_failed(step, err);
    }
    buffer_free(&text);
}

void answer_queries(struct step *step, struct answer *answer)
{
    switch (step->op->action) {
    case ACTION_USER_SEARCH: answer_search(step, answer); return;
    case ACTION_LOG_QUERY: answer_log(step, answer); return;
    case ACTION_POLICY_SHOW: answer_policy(step, answer); return;
    }
}
