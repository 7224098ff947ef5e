#include "ledger/request.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "ledger/fields.h"

static const char signed_tag[] = "consilium/request/v1\n";
static_assert(sizeof signed_tag - 1 + 8 + sizeof(struct digest) == REQUEST_SIGNED_SIZE, "tag, count, root");

void request_signed_bytes(uint8_t out[static REQUEST_SIGNED_SIZE], uint64_t count, const struct digest *root)
{
    const size_t tag = sizeof signed_tag - 1;
    memcpy(out, signed_tag, tag);
    put_be64(out + tag, count);
    memcpy(out + tag + 8, root->bytes, sizeof root->bytes);
}

/* --- reading --- */

static bool same_sender(const struct operation *a, const struct operation *b)
{
    return digest_equal(&a->cluster, &b->cluster) && actor_equal(&a->actor, &b->actor);
}

static enum err check_items(const struct request *r)
{
    for (uint32_t i = 1; i < r->count; i++) {
        const struct operation *op = &r->items[i].operation;
        if (!same_sender(op, &r->items[0].operation)) return ERR_INVALID;
        for (uint32_t j = 0; j < i; j++)
            if (id_equal(&op->request_id, &r->items[j].operation.request_id)) return ERR_INVALID;
    }
    return OK;
}

static void decode_items(struct request *r, struct unpack *u)
{
    for (uint32_t i = 0; i < r->count && u->error == OK; i++) {
        struct bytes raw = unpack_bin(u, LIMIT_OPERATION);
        enum err e = u->error == OK ? operation_decode(&r->items[i].operation, raw) : OK;
        if (e != OK) unpack_fail(u, e);
    }
    unpack_array_of(u, r->count);
    for (uint32_t i = 0; i < r->count && u->error == OK; i++)
        r->items[i].attachment = unpack_bin(u, LIMIT_ATTACHMENT);
}

static void hash_items(struct request *r)
{
    for (uint32_t i = 0; i < r->count; i++)
        tree_leaf_hash(&r->nodes[i], r->items[i].operation.raw);
    r->root = r->nodes[tree_list_build(r->nodes, r->count) - 1];
}

enum err request_decode(struct request *out, struct bytes in)
{
    *out = (struct request){.raw = in};
    if (in.size > LIMIT_REQUEST) return ERR_TOO_LARGE;
    struct unpack u = unpack_start(in);
    unpack_array_of(&u, 3);
    out->count = unpack_array(&u, LIMIT_OPERATIONS);
    if (out->count == 0) unpack_fail(&u, ERR_MALFORMED);
    if (u.error != OK) return u.error;
    out->items = calloc(out->count, sizeof *out->items);
    out->nodes = malloc(TREE_LIST_NODES(out->count) * sizeof *out->nodes);
    enum err e = out->items && out->nodes ? OK : ERR_NOMEM;
    if (e == OK) {
        decode_items(out, &u);
        out->signature = unpack_signature(&u);
        e = unpack_done(&u);
    }
    if (e == OK) e = check_items(out);
    if (e == OK)
        hash_items(out);
    else
        request_free(out);
    return e;
}

void request_free(struct request *r)
{
    free(r->items);
    free(r->nodes);
    *r = (struct request){0};
}

enum err request_verify(struct request *r, const struct sign_public *key)
{
    bool known = r->verified != VERDICT_UNKNOWN && memcmp(&r->verified_key, key, sizeof *key) == 0;
    if (!known) {
        uint8_t message[REQUEST_SIGNED_SIZE];
        request_signed_bytes(message, r->count, &r->root);
        r->verified = sign_verify(&r->signature, key, BYTES(message)) == OK ? VERDICT_GOOD : VERDICT_BAD;
        r->verified_key = *key;
    }
    return r->verified == VERDICT_GOOD ? OK : ERR_BAD_SIGNATURE;
}

static enum verdict judge_attachment(const struct request_item *item)
{
    struct attachment a;
    if (!operation_has_attachment(&item->operation))
        return item->attachment.size == 0 ? VERDICT_GOOD : VERDICT_BAD;
    return attachment_check(&a, item->attachment, &item->operation.attachment) == OK ? VERDICT_GOOD : VERDICT_BAD;
}

enum err request_item_attachment(struct request_item *item, struct attachment *out)
{
    if (item->attachment_good == VERDICT_UNKNOWN) item->attachment_good = judge_attachment(item);
    if (out) *out = (struct attachment){0};
    if (item->attachment_good == VERDICT_BAD) return ERR_ATTACHMENT;
    if (out && item->attachment.size != 0) CHECK(attachment_decode(out, item->attachment) == OK);
    return OK;
}

void request_check(struct request *r, const struct sign_public *key)
{
    /* What nobody signed is not worth hashing: apply refuses it by the signature alone. */
    if (request_verify(r, key) != OK) return;
    for (uint32_t i = 0; i < r->count; i++)
        request_item_attachment(&r->items[i], NULL);
}

bool request_is_known(const struct request *r)
{
    for (uint32_t i = 0; i < r->count; i++)
        if (action_actor((enum action)r->items[i].operation.action) != ACTOR_NONE) return true;
    return false;
}

void request_path(struct tree_proof *out, const struct request *r, uint32_t position)
{
    tree_list_path(out, r->nodes, r->count, position);
}

/* --- making --- */

#define REQUEST_OVERHEAD 80     /* arrays and signature, at most */
#define REQUEST_BIN_OVERHEAD 5  /* of a bin, at most */

static bool known_request_id(const struct request_builder *b, const struct id *id)
{
    for (uint32_t i = 0; i < b->count; i++)
        if (id_equal(&b->request_ids[i], id)) return true;
    return false;
}

static bool fits(const struct request_builder *b, const struct operation *op)
{
    return digest_equal(&b->cluster, &op->cluster) && actor_equal(&b->actor, &op->actor);
}

/* The operation with its attachment's hash, encoded and read back, so that
 * nothing is signed that a node would refuse. */
static enum err encode_checked(struct buffer *out, const struct operation *op, struct bytes attachment)
{
    struct operation own = *op, again;
    own.attachment = (struct digest){{0}};
    if (attachment.size != 0) {
        struct attachment a;
        enum err e = attachment_decode(&a, attachment);
        if (e != OK) return e;
        own.attachment = attachment_hash(a.salt, a.content);
    }
    operation_encode(out, &own);
    return out->failed ? ERR_NOMEM : operation_decode(&again, buffer_bytes(out));
}

enum err request_builder_add(struct request_builder *b, const struct operation *op, struct bytes attachment)
{
    if (b->count == LIMIT_OPERATIONS || attachment.size > LIMIT_ATTACHMENT) return ERR_TOO_LARGE;
    if (b->count != 0 && (!fits(b, op) || known_request_id(b, &op->request_id))) return ERR_INVALID;
    struct buffer encoded = {0}, copy = {0};
    enum err e = encode_checked(&encoded, op, attachment);
    buffer_append_bytes(&copy, attachment);
    if (e == OK && copy.failed) e = ERR_NOMEM;
    size_t more = encoded.size + copy.size + 2 * REQUEST_BIN_OVERHEAD;
    if (e == OK && b->size + more > LIMIT_REQUEST - REQUEST_OVERHEAD) e = ERR_TOO_LARGE;
    if (e != OK) {
        buffer_free(&encoded);
        buffer_free(&copy);
        return e;
    }
    b->cluster = op->cluster;
    b->actor = op->actor;
    b->request_ids[b->count] = op->request_id;
    b->operations[b->count] = encoded;
    b->attachments[b->count] = copy;
    b->size += more;
    b->count++;
    return OK;
}

static void builder_root(struct digest *root, const struct request_builder *b)
{
    struct digest nodes[TREE_LIST_NODES(LIMIT_OPERATIONS)] = {{{0}}};
    for (uint32_t i = 0; i < b->count; i++)
        tree_leaf_hash(&nodes[i], buffer_bytes(&b->operations[i]));
    *root = nodes[tree_list_build(nodes, b->count) - 1];
}

enum err request_builder_sign(struct buffer *out, const struct request_builder *b, const struct sign_secret *secret)
{
    CHECK(b->count > 0);
    struct digest root;
    struct signature signature;
    uint8_t message[REQUEST_SIGNED_SIZE];
    builder_root(&root, b);
    request_signed_bytes(message, b->count, &root);
    sign_message(&signature, secret, BYTES(message));
    pack_array(out, 3);
    pack_array(out, b->count);
    for (uint32_t i = 0; i < b->count; i++)
        pack_bytes(out, buffer_bytes(&b->operations[i]));
    pack_array(out, b->count);
    for (uint32_t i = 0; i < b->count; i++)
        pack_bytes(out, buffer_bytes(&b->attachments[i]));
    pack_signature(out, &signature);
    return out->failed ? ERR_NOMEM : OK;
}

void request_builder_free(struct request_builder *b)
{
    for (uint32_t i = 0; i < b->count; i++) {
        buffer_free(&b->operations[i]);
        buffer_free(&b->attachments[i]);
    }
    *b = (struct request_builder){0};
}
