/* Users, logins, teams; what was seen; the log's indexes. */
#include <string.h>

#include "base/check.h"
#include "ledger/fields.h"
#include "ledger/rows.h"
#include "ledger/state.h"

void row_text(char *out, size_t size, struct unpack *u)
{
    struct bytes text = unpack_str(u, size - 1);
    if (text.size) memcpy(out, text.data, text.size);
    out[text.size] = 0;
}

/* --- users --- */

static void unpack_user_keys(struct user *out, struct unpack *u)
{
    out->key_count = unpack_array(u, LIMIT_KEYS_PER_USER);
    for (uint32_t i = 0; i < out->key_count; i++) {
        unpack_array_of(u, 2);
        out->keys[i].key = unpack_public(u);
        out->keys[i].revoked = unpack_bool(u);
    }
}

enum err state_user_get(struct user *out, struct table_txn *txn, const struct id *id)
{
    struct row row;
    row_open(&row, txn, TABLE_USER, BYTES(id->bytes));
    struct unpack *u = &row.u;
    memset(out, 0, sizeof *out);
    unpack_array_of(u, 7);
    row_text(out->hospital, sizeof out->hospital, u);
    row_text(out->role, sizeof out->role, u);
    out->disabled = unpack_bool(u);
    out->login_tag = unpack_digest_optional(u);
    out->has_login = !digest_is_zero(&out->login_tag);
    out->created = unpack_uint(u);
    out->person_index = unpack_uint(u);
    unpack_user_keys(out, u);
    return row_close(&row);
}

enum err state_user_put(struct table_txn *txn, const struct id *id, const struct user *user)
{
    static const struct digest none;
    struct buffer b = {0};
    pack_array(&b, 7);
    pack_text(&b, user->hospital);
    pack_text(&b, user->role);
    pack_bool(&b, user->disabled);
    pack_digest_optional(&b, user->has_login ? &user->login_tag : &none);
    pack_uint(&b, user->created);
    pack_uint(&b, user->person_index);
    pack_array(&b, user->key_count);
    for (uint32_t i = 0; i < user->key_count; i++) {
        pack_array(&b, 2);
        pack_public(&b, &user->keys[i].key);
        pack_bool(&b, user->keys[i].revoked);
    }
    return row_put(txn, TABLE_USER, BYTES(id->bytes), &b);
}

int user_key_find(const struct user *user, const struct key_id *key_id)
{
    for (uint32_t i = 0; i < user->key_count; i++) {
        struct key_id have = key_id_of(&user->keys[i].key);
        if (key_id_equal(&have, key_id)) return (int)i;
    }
    return -1;
}

bool user_usable(const struct user *user)
{
    if (user->disabled) return false;
    for (uint32_t i = 0; i < user->key_count; i++)
        if (!user->keys[i].revoked) return true;
    return false;
}

enum err state_login_get(struct id *out, struct table_txn *txn, const struct digest *tag)
{
    return row_get_fixed(out->bytes, sizeof out->bytes, txn, TABLE_LOGIN, BYTES(tag->bytes));
}

enum err state_key_get(struct id *out, struct table_txn *txn, const struct sign_public *key)
{
    return row_get_fixed(out->bytes, sizeof out->bytes, txn, TABLE_KEY, BYTES(key->bytes));
}

enum err state_key_put(struct table_txn *txn, const struct sign_public *key, const struct id *id)
{
    return table_put(txn, TABLE_KEY, BYTES(key->bytes), BYTES(id->bytes));
}

enum err state_login_put(struct table_txn *txn, const struct digest *tag, const struct id *id)
{
    return table_put(txn, TABLE_LOGIN, BYTES(tag->bytes), BYTES(id->bytes));
}

enum err state_login_delete(struct table_txn *txn, const struct digest *tag)
{
    return table_delete(txn, TABLE_LOGIN, BYTES(tag->bytes));
}

/* --- teams --- */

static void team_key(uint8_t key[static 32], const struct id *patient, const struct id *user)
{
    memcpy(key, patient->bytes, 16);
    memcpy(key + 16, user->bytes, 16);
}

enum err state_team_get(struct team_row *out, struct table_txn *txn, const struct id *patient, const struct id *user)
{
    uint8_t key[32], value[16];
    team_key(key, patient, user);
    enum err err = row_get_fixed(value, sizeof value, txn, TABLE_TEAM, BYTES(key));
    if (err != OK) return err;
    out->since_ms = get_be64(value);
    out->index = get_be64(value + 8);
    return OK;
}

enum err state_team_put(struct table_txn *txn, const struct id *patient, const struct id *user,
                        const struct team_row *row)
{
    uint8_t key[32], value[16];
    team_key(key, patient, user);
    put_be64(value, row->since_ms);
    put_be64(value + 8, row->index);
    return table_put(txn, TABLE_TEAM, BYTES(key), BYTES(value));
}

enum err state_team_delete(struct table_txn *txn, const struct id *patient, const struct id *user)
{
    uint8_t key[32];
    team_key(key, patient, user);
    return table_delete(txn, TABLE_TEAM, BYTES(key));
}

/* --- duplicates --- */

#define SEEN_KEY (8 + 1 + 16 + 16)

static void seen_key(uint8_t key[static SEEN_KEY], uint64_t issued_at_ms, uint8_t kind, const struct id *actor,
                     const struct id *request_id)
{
    put_be64(key, issued_at_ms);
    key[8] = kind;
    memcpy(key + 9, actor->bytes, 16);
    memcpy(key + 25, request_id->bytes, 16);
}

enum err state_seen_get(struct seen *out, struct table_txn *txn, uint64_t issued_at_ms, uint8_t actor_kind,
                        const struct id *actor, const struct id *request_id)
{
    uint8_t key[SEEN_KEY], value[11];
    seen_key(key, issued_at_ms, actor_kind, actor, request_id);
    enum err err = row_get_fixed(value, sizeof value, txn, TABLE_SEEN, BYTES(key));
    if (err != OK) return err;
    out->index = get_be64(value);
    out->decision = value[8];
    out->reason = get_be16(value + 9);
    return OK;
}

enum err state_seen_put(struct table_txn *txn, uint64_t issued_at_ms, uint8_t actor_kind, const struct id *actor,
                        const struct id *request_id, const struct seen *row)
{
    uint8_t key[SEEN_KEY], value[11];
    seen_key(key, issued_at_ms, actor_kind, actor, request_id);
    put_be64(value, row->index);
    value[8] = row->decision;
    put_be16(value + 9, row->reason);
    return table_put(txn, TABLE_SEEN, BYTES(key), BYTES(value));
}

/* --- the log's indexes --- */

#define FACTS_FIXED (8 + 2 + 1)

static struct bytes facts_encode(uint8_t out[static FACTS_FIXED + POLICY_ROLE_NAME], const struct log_facts *facts)
{
    size_t role = strlen(facts->role);
    CHECK(role <= POLICY_ROLE_NAME);
    put_be64(out, facts->time_ms);
    put_be16(out + 8, facts->action);
    out[10] = facts->decision;
    memcpy(out + FACTS_FIXED, facts->role, role);
    return bytes_of(out, FACTS_FIXED + role);
}

enum err state_log_facts_decode(struct log_facts *out, struct bytes value)
{
    if (value.size < FACTS_FIXED || value.size > FACTS_FIXED + POLICY_ROLE_NAME) return ERR_CORRUPT;
    memset(out, 0, sizeof *out);
    out->time_ms = get_be64(value.data);
    out->action = get_be16(value.data + 8);
    out->decision = value.data[10];
    memcpy(out->role, value.data + FACTS_FIXED, value.size - FACTS_FIXED);
    return OK;
}

void state_log_subject_key(uint8_t key[static LOG_SUBJECT_KEY], const struct id *subject, uint64_t index)
{
    memcpy(key, subject->bytes, 16);
    put_be64(key + 16, index);
}

void state_log_actor_key(uint8_t key[static LOG_ACTOR_KEY], uint8_t kind, const struct id *actor, uint64_t index)
{
    key[0] = kind;
    memcpy(key + 1, actor->bytes, 16);
    put_be64(key + 17, index);
}

enum err state_log_put_also(struct table_txn *txn, uint64_t index, const struct id *also, const struct log_facts *facts)
{
    uint8_t key[LOG_SUBJECT_KEY], value[FACTS_FIXED + POLICY_ROLE_NAME];
    state_log_subject_key(key, also, index);
    return table_put(txn, TABLE_LOG_SUBJECT, BYTES(key), facts_encode(value, facts));
}

enum err state_log_put(struct table_txn *txn, uint64_t index, const struct id *subject, uint8_t actor_kind,
                       const struct id *actor, const struct log_facts *facts)
{
    uint8_t key[LOG_ACTOR_KEY], value[FACTS_FIXED + POLICY_ROLE_NAME];
    enum err err = id_is_zero(subject) ? OK : state_log_put_also(txn, index, subject, facts);
    if (err != OK) return err;
    state_log_actor_key(key, actor_kind, actor, index);
    return table_put(txn, TABLE_LOG_ACTOR, BYTES(key), facts_encode(value, facts));
}

enum err state_log_actor_get(struct log_facts *out, struct table_txn *txn, uint64_t index, uint8_t actor_kind,
                             const struct id *actor)
{
    uint8_t key[LOG_ACTOR_KEY];
    struct buffer value = {0};
    state_log_actor_key(key, actor_kind, actor, index);
    enum err err = table_get(txn, TABLE_LOG_ACTOR, BYTES(key), &value);
    if (err == OK) err = state_log_facts_decode(out, buffer_bytes(&value));
    buffer_free(&value);
    return err;
}
