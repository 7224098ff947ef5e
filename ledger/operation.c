#include "ledger/operation.h"

#include <string.h>

#include "base/check.h"
#include "ledger/fields.h"

#define OPERATION_FIELDS 9

const char *purpose_code(unsigned purpose)
{
    switch (purpose) {
#define X(name, number, code, text)                                                                \
    case number: return code;
        PURPOSE_LIST(X)
#undef X
    }
    return "unknown";
}

int purpose_from_code(const char *code)
{
#define X(name, number, text, words)                                                               \
    if (strcmp(code, text) == 0) return number;
    PURPOSE_LIST(X)
#undef X
    return -1;
}

bool actor_equal(const struct actor *a, const struct actor *b)
{
    return a->kind == b->kind && id_equal(&a->id, &b->id) && key_id_equal(&a->key, &b->key);
}

void pack_actor(struct buffer *out, const struct actor *actor)
{
    pack_array(out, 3);
    pack_uint(out, actor->kind);
    pack_id(out, &actor->id);
    pack_bin(out, actor->key.bytes, sizeof actor->key.bytes);
}

struct actor unpack_actor(struct unpack *u)
{
    struct actor actor = {0};
    unpack_array_of(u, 3);
    actor.kind = (enum actor_kind)unpack_range(u, ACTOR_USER, ACTOR_NODE);
    actor.id = unpack_id_required(u);
    unpack_bin_exact(u, actor.key.bytes, sizeof actor.key.bytes);
    return actor;
}

bool operation_has_attachment(const struct operation *op) { return !digest_is_zero(&op->attachment); }

void operation_encode(struct buffer *out, const struct operation *op)
{
    struct unpack args = unpack_start(op->args);
    unpack_array_raw(&args);
    CHECK(unpack_done(&args) == OK);
    pack_array(out, OPERATION_FIELDS);
    pack_uint(out, OPERATION_VERSION);
    pack_digest(out, &op->cluster);
    pack_id(out, &op->request_id);
    pack_uint(out, op->issued_at_ms);
    pack_actor(out, &op->actor);
    pack_uint(out, op->action);
    buffer_append_bytes(out, op->args);
    pack_uint(out, op->purpose);
    pack_digest_optional(out, &op->attachment);
}

enum err operation_decode(struct operation *out, struct bytes in)
{
    if (in.size > LIMIT_OPERATION) return ERR_TOO_LARGE;
    struct unpack u = unpack_start(in);
    uint32_t fields = unpack_array(&u, UINT32_MAX);
    uint64_t version = unpack_uint(&u);
    if (version != OPERATION_VERSION) unpack_fail(&u, ERR_VERSION);
    if (fields != OPERATION_FIELDS) unpack_fail(&u, ERR_MALFORMED);
    out->cluster = unpack_digest(&u);
    if (digest_is_zero(&out->cluster)) unpack_fail(&u, ERR_MALFORMED);
    out->request_id = unpack_id_required(&u);
    out->issued_at_ms = unpack_time(&u);
    out->actor = unpack_actor(&u);
    out->action = (uint32_t)unpack_uint_max(&u, UINT32_MAX);
    out->args = unpack_array_raw(&u);
    out->purpose = (uint8_t)unpack_uint_max(&u, PURPOSE_MAX);
    out->attachment = unpack_digest_optional(&u);
    out->raw = in;
    return unpack_done(&u);
}
