#include "ledger/leaf.h"

#include <string.h>

#include "base/check.h"
#include "ledger/fields.h"

#define LEAF_FIELDS 10
#define LEAF_0_FIELDS 5

static void encode_head(struct buffer *out, const struct leaf *leaf, uint32_t fields)
{
    pack_array(out, fields);
    pack_uint(out, LEAF_VERSION);
    pack_uint(out, leaf->index);
    pack_uint(out, leaf->time_ms);
    pack_digest(out, &leaf->previous);
}

static void encode_genesis(struct buffer *out, const struct leaf *leaf)
{
    CHECK(leaf->time_ms == 0 && digest_is_zero(&leaf->previous));
    CHECK(leaf->genesis.size != 0 && leaf->genesis.size <= LIMIT_GENESIS);
    encode_head(out, leaf, LEAF_0_FIELDS);
    pack_bytes(out, leaf->genesis);
}

static bool reason_matches(enum decision decision, uint32_t reason)
{
    return (decision == DECISION_APPROVED) == (reason == REASON_NONE);
}

void leaf_encode(struct buffer *out, const struct leaf *leaf)
{
    if (leaf->index == 0) {
        encode_genesis(out, leaf);
        return;
    }
    CHECK(leaf->count <= LIMIT_OPERATIONS && leaf->path_count == tree_inclusion_size(leaf->position, leaf->count));
    CHECK(leaf->time_ms <= TIME_MAX_MS && leaf->operation.raw.size != 0);
    CHECK(leaf->decision == DECISION_APPROVED || leaf->decision == DECISION_DENIED);
    CHECK(reason_matches(leaf->decision, leaf->reason));
    encode_head(out, leaf, LEAF_FIELDS);
    pack_bytes(out, leaf->operation.raw);
    pack_array(out, 3);
    pack_uint(out, leaf->position);
    pack_uint(out, leaf->count);
    pack_array(out, leaf->path_count);
    for (uint32_t i = 0; i < leaf->path_count; i++)
        pack_digest(out, &leaf->path[i]);
    pack_signature(out, &leaf->signature);
    pack_uint(out, leaf->decision);
    pack_uint(out, leaf->reason);
    pack_id_optional(out, &leaf->subject);
}

void leaf_set_operation(struct leaf *leaf, const struct request *request, uint32_t position)
{
    struct tree_proof path;
    request_path(&path, request, position);
    CHECK(path.count <= LIMIT_REQUEST_PATH);
    leaf->operation = request->items[position].operation;
    leaf->position = position;
    leaf->count = request->count;
    leaf->path_count = path.count;
    memcpy(leaf->path, path.hashes, path.count * sizeof path.hashes[0]);
    leaf->signature = request->signature;
}

static void decode_path(struct leaf *out, struct unpack *u)
{
    unpack_array_of(u, 3);
    out->position = (uint32_t)unpack_uint_max(u, LIMIT_OPERATIONS - 1);
    out->count = (uint32_t)unpack_range(u, 1, LIMIT_OPERATIONS);
    if (out->position >= out->count) unpack_fail(u, ERR_MALFORMED);
    if (u->error != OK) return;
    out->path_count = tree_inclusion_size(out->position, out->count);
    unpack_array_of(u, out->path_count);
    for (uint32_t i = 0; i < out->path_count; i++)
        out->path[i] = unpack_digest(u);
}

static void decode_operation(struct leaf *out, struct unpack *u)
{
    struct bytes raw = unpack_bin(u, LIMIT_OPERATION);
    enum err e = u->error == OK ? operation_decode(&out->operation, raw) : OK;
    if (e != OK) unpack_fail(u, e);
    decode_path(out, u);
    out->signature = unpack_signature(u);
    out->decision = (enum decision)unpack_range(u, DECISION_APPROVED, DECISION_DENIED);
    out->reason = (uint32_t)unpack_uint_max(u, UINT16_MAX);
    if (!reason_matches(out->decision, out->reason)) unpack_fail(u, ERR_MALFORMED);
    out->subject = unpack_id_optional(u);
    if (out->index == 0) unpack_fail(u, ERR_MALFORMED);
}

static void decode_genesis(struct leaf *out, struct unpack *u)
{
    out->genesis = unpack_bin(u, LIMIT_GENESIS);
    if (out->genesis.size == 0 || out->index != 0 || out->time_ms != 0 || !digest_is_zero(&out->previous))
        unpack_fail(u, ERR_MALFORMED);
}

enum err leaf_decode(struct leaf *out, struct bytes in)
{
    *out = (struct leaf){.raw = in};
    if (in.size > LIMIT_LEAF_0) return ERR_TOO_LARGE;
    struct unpack u = unpack_start(in);
    uint32_t fields = unpack_array(&u, UINT32_MAX);
    uint64_t version = unpack_uint(&u);
    if (version != LEAF_VERSION) unpack_fail(&u, ERR_VERSION);
    out->index = unpack_uint_max(&u, TREE_SIZE_MAX - 1);
    out->time_ms = unpack_time(&u);
    out->previous = unpack_digest(&u);
    if (fields == LEAF_FIELDS)
        decode_operation(out, &u);
    else if (fields == LEAF_0_FIELDS)
        decode_genesis(out, &u);
    else
        unpack_fail(&u, ERR_MALFORMED);
    return unpack_done(&u);
}

void leaf_hash(struct digest *out, struct bytes leaf) { tree_leaf_hash(out, leaf); }

enum err leaf_verify(const struct leaf *leaf, const struct sign_public *key)
{
    CHECK(leaf->index != 0);
    struct digest hash, root;
    uint8_t message[REQUEST_SIGNED_SIZE];
    tree_leaf_hash(&hash, leaf->operation.raw);
    if (tree_inclusion_root(&root, &hash, leaf->position, leaf->count, leaf->path, leaf->path_count) != OK)
        return ERR_BAD_SIGNATURE;
    request_signed_bytes(message, leaf->count, &root);
    return sign_verify(&leaf->signature, key, BYTES(message));
}
