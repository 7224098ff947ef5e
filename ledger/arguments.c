#include "ledger/arguments.h"

#include "base/check.h"
#include "base/pack.h"

/* [] : nothing to say. */
static enum err nothing_decode(struct bytes in)
{
    struct unpack u = unpack_start(in);
    unpack_array_of(&u, 0);
    return unpack_done(&u);
}

enum err arguments_decode(struct arguments *out, uint32_t action, struct bytes in)
{
    out->action = (enum action)action;
    switch ((enum action)action) {
#define X(number, name)                                                                            \
    case number: return args_##name##_decode(&out->name, in);
        ARGUMENTS_LIST(X)
#undef X
    case ACTION_POLICY_SHOW:
    case ACTION_STATE_DIGEST:
    case ACTION_NODE_DIGEST: return nothing_decode(in);
    case ACTION_GENESIS: break;
    }
    return ERR_UNKNOWN_ACTION;
}

void arguments_encode(struct buffer *out, const struct arguments *args)
{
    switch (args->action) {
#define X(number, name)                                                                            \
    case number: args_##name##_encode(out, &args->name); return;
        ARGUMENTS_LIST(X)
#undef X
    case ACTION_POLICY_SHOW:
    case ACTION_STATE_DIGEST:
    case ACTION_NODE_DIGEST: pack_array(out, 0); return;
    case ACTION_GENESIS: break;
    }
    CHECK(!"an action without arguments");
}

static struct target of_person(const struct id *person) { return (struct target){.person = *person}; }

static struct target of_role(const struct id *user, struct bytes role)
{
    return (struct target){.person = *user, .object = role, .object_is_text = true};
}

/* `patient` may be zero. */
static struct target of_record(const struct id *record, const struct id *patient)
{
    struct target t = {.record = *record, .person = *patient};
    if (!id_is_zero(record)) t.object = BYTES(record->bytes);
    return t;
}

static struct target target_of(const struct arguments *a)
{
    static const struct id unknown; /* the state knows the record's patient */
    switch (a->action) {
    case ACTION_USER_CREATE: return of_role(&a->user_create.user, a->user_create.role);
    case ACTION_USER_UPDATE: return of_person(&a->user_update.user);
    case ACTION_USER_DISABLE: return of_person(&a->user_disable.user);
    case ACTION_USER_KEY: return of_person(&a->user_key.user);
    case ACTION_ROLE_ASSIGN: return of_role(&a->role_assign.user, a->role_assign.role);
    case ACTION_USER_SEARCH: return of_person(&a->user_search.user);
    case ACTION_TEAM_ASSIGN:
        return (struct target){.person = a->team_assign.patient, .object = BYTES(a->team_assign.user.bytes)};
    case ACTION_TEAM_LIST: return of_person(&a->team_list.patient);
    case ACTION_RECORD_CREATE: return of_record(&a->record_create.record, &a->record_create.patient);
    case ACTION_RECORD_UPDATE: return of_record(&a->record_update.record, &a->record_update.patient);
    case ACTION_RECORD_DELETE: return of_record(&a->record_delete.record, &a->record_delete.patient);
    case ACTION_RECORD_READ: return of_record(&a->record_read.record, &a->record_read.patient);
    case ACTION_RECORD_HISTORY: return of_record(&a->record_history.record, &unknown);
    case ACTION_RECORD_COPY: return of_record(&a->record_copy.record, &a->record_copy.patient);
    case ACTION_RECORD_LIST: return of_person(&a->record_list.patient);
    case ACTION_EVENT_ADD:
        return (struct target){.person = a->event_add.patient, .object = a->event_add.object, .object_is_text = true};
    case ACTION_LOG_QUERY: return of_person(&a->log_query.patient);
    case ACTION_GENESIS:
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
    case ACTION_ALARM_CLEAR:
    case ACTION_STATE_DIGEST:
    case ACTION_NODE_DIGEST: break;
    }
    return (struct target){0};
}

void arguments_target(struct target *out, const struct arguments *args) { *out = target_of(args); }
