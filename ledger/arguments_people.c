/* Arguments of user.*, role.*, team.*. */
#include <string.h>

#include "base/check.h"
#include "ledger/arguments.h"
#include "ledger/fields.h"

void args_user_create_encode(struct buffer *out, const struct args_user_create *a)
{
    CHECK(a->key_count <= LIMIT_KEYS_PER_USER);
    pack_array(out, 5);
    pack_id(out, &a->user);
    pack_str(out, a->hospital);
    pack_str(out, a->role);
    pack_digest_optional(out, &a->login_tag);
    pack_array(out, a->key_count);
    for (uint32_t i = 0; i < a->key_count; i++)
        pack_public(out, &a->keys[i]);
}

static bool key_twice(const struct args_user_create *a)
{
    for (uint32_t i = 1; i < a->key_count; i++)
        for (uint32_t j = 0; j < i; j++)
            if (memcmp(&a->keys[i], &a->keys[j], sizeof a->keys[i]) == 0) return true;
    return false;
}

enum err args_user_create_decode(struct args_user_create *a, struct bytes in)
{
    struct unpack u = unpack_start(in);
    unpack_array_of(&u, 5);
    a->user = unpack_id_required(&u);
    a->hospital = unpack_label(&u);
    a->role = unpack_label(&u);
    a->login_tag = unpack_digest_optional(&u);
    a->key_count = unpack_array(&u, LIMIT_KEYS_PER_USER);
    for (uint32_t i = 0; i < a->key_count; i++)
        a->keys[i] = unpack_public(&u);
    if (key_twice(a)) unpack_fail(&u, ERR_MALFORMED);
    return unpack_done(&u);
}

void args_user_update_encode(struct buffer *out, const struct args_user_update *a)
{
    pack_array(out, 3);
    pack_id(out, &a->user);
    pack_str(out, a->hospital);
    pack_digest_optional(out, &a->login_tag);
}

enum err args_user_update_decode(struct args_user_update *a, struct bytes in)
{
    struct unpack u = unpack_start(in);
    unpack_array_of(&u, 3);
    a->user = unpack_id_required(&u);
    a->hospital = unpack_label_optional(&u);
    a->login_tag = unpack_digest_optional(&u);
    return unpack_done(&u);
}

void args_user_disable_encode(struct buffer *out, const struct args_user_disable *a)
{
    pack_array(out, 2);
    pack_id(out, &a->user);
    pack_bool(out, a->disabled);
}

enum err args_user_disable_decode(struct args_user_disable *a, struct bytes in)
{
    struct unpack u = unpack_start(in);
    unpack_array_of(&u, 2);
    a->user = unpack_id_required(&u);
    a->disabled = unpack_bool(&u);
    return unpack_done(&u);
}

void args_user_key_encode(struct buffer *out, const struct args_user_key *a)
{
    pack_array(out, 3);
    pack_id(out, &a->user);
    pack_bool(out, a->revoke);
    pack_public(out, &a->key);
}

enum err args_user_key_decode(struct args_user_key *a, struct bytes in)
{
    struct unpack u = unpack_start(in);
    unpack_array_of(&u, 3);
    a->user = unpack_id_required(&u);
    a->revoke = unpack_bool(&u);
    a->key = unpack_public(&u);
    return unpack_done(&u);
}

void args_role_assign_encode(struct buffer *out, const struct args_role_assign *a)
{
    pack_array(out, 2);
    pack_id(out, &a->user);
    pack_str(out, a->role);
}

enum err args_role_assign_decode(struct args_role_assign *a, struct bytes in)
{
    struct unpack u = unpack_start(in);
    unpack_array_of(&u, 2);
    a->user = unpack_id_required(&u);
    a->role = unpack_label(&u);
    return unpack_done(&u);
}

void args_user_search_encode(struct buffer *out, const struct args_user_search *a)
{
    pack_array(out, 6);
    pack_id_optional(out, &a->user);
    pack_digest_optional(out, &a->login_tag);
    pack_str(out, a->role);
    pack_str(out, a->hospital);
    pack_uint(out, a->limit);
    pack_bytes(out, a->cursor);
}

enum err args_user_search_decode(struct args_user_search *a, struct bytes in)
{
    struct unpack u = unpack_start(in);
    unpack_array_of(&u, 6);
    a->user = unpack_id_optional(&u);
    a->login_tag = unpack_digest_optional(&u);
    a->role = unpack_label_optional(&u);
    a->hospital = unpack_label_optional(&u);
    a->limit = (uint32_t)unpack_range(&u, 1, LIMIT_ROWS);
    a->cursor = unpack_bin(&u, LIMIT_CURSOR);
    return unpack_done(&u);
}

void args_team_assign_encode(struct buffer *out, const struct args_team_assign *a)
{
    pack_array(out, 3);
    pack_id(out, &a->patient);
    pack_id(out, &a->user);
    pack_bool(out, a->remove);
}

enum err args_team_assign_decode(struct args_team_assign *a, struct bytes in)
{
    struct unpack u = unpack_start(in);
    unpack_array_of(&u, 3);
    a->patient = unpack_id_required(&u);
    a->user = unpack_id_required(&u);
    a->remove = unpack_bool(&u);
    return unpack_done(&u);
}

void args_team_list_encode(struct buffer *out, const struct args_team_list *a)
{
    pack_array(out, 1);
    pack_id(out, &a->patient);
}

enum err args_team_list_decode(struct args_team_list *a, struct bytes in)
{
    struct unpack u = unpack_start(in);
    unpack_array_of(&u, 1);
    a->patient = unpack_id_required(&u);
    return unpack_done(&u);
}
