/* Arguments of log.query, ledger.export, policy.set. */
#include "ledger/arguments.h"
#include "ledger/fields.h"
#include "ledger/operation.h"

void args_log_query_encode(struct buffer *out, const struct args_log_query *a)
{
    pack_array(out, 9);
    pack_id_optional(out, &a->patient);
    pack_id_optional(out, &a->actor);
    pack_uint(out, a->action);
    pack_uint(out, a->decision);
    pack_uint(out, a->from_ms);
    pack_uint(out, a->to_ms);
    pack_uint(out, a->limit);
    pack_bytes(out, a->cursor);
    pack_bool(out, a->follow);
}

enum err args_log_query_decode(struct args_log_query *a, struct bytes in)
{
    struct unpack u = unpack_start(in);
    unpack_array_of(&u, 9);
    a->patient = unpack_id_optional(&u);
    a->actor = unpack_id_optional(&u);
    a->action = (uint32_t)unpack_uint_max(&u, UINT32_MAX);
    a->decision = (uint32_t)unpack_uint_max(&u, DECISION_DENIED);
    a->from_ms = unpack_time(&u);
    a->to_ms = unpack_time(&u);
    if (a->to_ms != 0 && a->to_ms < a->from_ms) unpack_fail(&u, ERR_MALFORMED);
    a->limit = (uint32_t)unpack_range(&u, 1, LIMIT_ROWS);
    a->cursor = unpack_bin(&u, LIMIT_CURSOR);
    a->follow = unpack_bool(&u);
    return unpack_done(&u);
}

void args_ledger_export_encode(struct buffer *out, const struct args_ledger_export *a)
{
    pack_array(out, 2);
    pack_uint(out, a->from);
    pack_uint(out, a->to);
}

enum err args_ledger_export_decode(struct args_ledger_export *a, struct bytes in)
{
    struct unpack u = unpack_start(in);
    unpack_array_of(&u, 2);
    a->from = unpack_uint(&u);
    a->to = unpack_uint(&u);
    if (a->to != 0 && a->to <= a->from) unpack_fail(&u, ERR_MALFORMED);
    return unpack_done(&u);
}

void args_policy_set_encode(struct buffer *out, const struct args_policy_set *a)
{
    pack_array(out, 1);
    pack_bytes(out, a->policy);
}

enum err args_policy_set_decode(struct args_policy_set *a, struct bytes in)
{
    struct unpack u = unpack_start(in);
    unpack_array_of(&u, 1);
    a->policy = unpack_bin(&u, LIMIT_POLICY);
    if (a->policy.size == 0) unpack_fail(&u, ERR_MALFORMED);
    return unpack_done(&u);
}
