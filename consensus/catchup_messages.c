#include "consensus/catchup_messages.h"

#include "base/pack.h"
#include "ledger/leaf.h"

/* --- what the core carries --- */

void offer_encode(struct buffer *out, const struct offer *offer)
{
    pack_array(out, 3);
    pack_uint(out, offer->size);
    pack_digest(out, &offer->root);
    pack_bytes(out, offer->note);
}

enum err offer_decode(struct offer *out, struct bytes in)
{
    struct unpack u = unpack_start(in);
    unpack_array_of(&u, 3);
    out->size = unpack_uint_max(&u, TREE_SIZE_MAX);
    out->root = unpack_digest(&u);
    out->note = unpack_bin(&u, LIMIT_CHECKPOINT_NOTE);
    return unpack_done(&u);
}

/* --- manifests --- */

void manifest_ask_encode(struct buffer *out, const struct manifest_ask *ask)
{
    pack_array(out, 3);
    pack_uint(out, ask->size);
    pack_uint(out, ask->raft_index);
    pack_uint(out, ask->raft_term);
}

enum err manifest_ask_decode(struct manifest_ask *out, struct bytes in)
{
    struct unpack u = unpack_start(in);
    unpack_array_of(&u, 3);
    out->size = unpack_uint_max(&u, TREE_SIZE_MAX);
    out->raft_index = unpack_uint(&u);
    out->raft_term = unpack_uint(&u);
    return unpack_done(&u);
}

void manifest_encode(struct buffer *out, const struct manifest *manifest)
{
    pack_array(out, 5);
    pack_uint(out, manifest->raft_index);
    pack_uint(out, manifest->raft_term);
    pack_uint(out, manifest->size);
    pack_digest(out, &manifest->root);
    pack_bytes(out, manifest->note);
}

enum err manifest_decode(struct manifest *out, struct bytes in)
{
    struct unpack u = unpack_start(in);
    unpack_array_of(&u, 5);
    out->raft_index = unpack_uint(&u);
    out->raft_term = unpack_uint(&u);
    out->size = unpack_uint_max(&u, TREE_SIZE_MAX);
    out->root = unpack_digest(&u);
    out->note = unpack_bin(&u, LIMIT_CHECKPOINT_NOTE);
    return unpack_done(&u);
}

/* --- leaves --- */

void pull_encode(struct buffer *out, const struct pull *pull)
{
    pack_array(out, 2);
    pack_uint(out, pull->from);
    pack_uint(out, pull->to);
}

enum err pull_decode(struct pull *out, struct bytes in)
{
    struct unpack u = unpack_start(in);
    unpack_array_of(&u, 2);
    out->from = unpack_uint_max(&u, TREE_SIZE_MAX);
    out->to = unpack_uint_max(&u, TREE_SIZE_MAX);
    if (out->from == 0 || out->from >= out->to) unpack_fail(&u, ERR_INVALID);
    return unpack_done(&u);
}

static void pack_proof(struct buffer *out, const struct tree_proof *proof)
{
    pack_digests(out, proof->hashes, proof->count);
}

static void unpack_proof(struct tree_proof *out, struct unpack *u)
{
    out->count = unpack_digests(u, out->hashes, TREE_LEVELS + 1);
}

void pulled_add_leaf(struct buffer *leaves, struct bytes leaf) { pack_bytes(leaves, leaf); }

void pulled_encode(struct buffer *out, const struct pulled *pulled, struct bytes leaves)
{
    pack_array(out, 6);
    pack_uint(out, pulled->from);
    pack_uint(out, pulled->to);
    pack_digest(out, &pulled->base);
    pack_proof(out, &pulled->base_proof);
    pack_array(out, pulled->count);
    buffer_append_bytes(out, leaves);
    pack_proof(out, &pulled->end_proof);
}

enum err pulled_decode(struct pulled *out, struct bytes in)
{
    struct unpack u = unpack_start(in);
    unpack_array_of(&u, 6);
    out->from = unpack_uint_max(&u, TREE_SIZE_MAX);
    out->to = unpack_uint_max(&u, TREE_SIZE_MAX);
    out->base = unpack_digest(&u);
    unpack_proof(&out->base_proof, &u);
    out->count = unpack_array(&u, LIMIT_PULL_LEAVES);
    for (uint32_t i = 0; i < out->count; i++)
        out->leaves[i] = unpack_bin(&u, LIMIT_LEAF);
    unpack_proof(&out->end_proof, &u);
    if (out->count == 0 || out->from >= out->to || out->count > out->to - out->from) unpack_fail(&u, ERR_INVALID);
    return unpack_done(&u);
}

/* --- attachments --- */

void attachments_ask_encode(struct buffer *out, const struct attachments_ask *ask)
{
    pack_array(out, 1);
    pack_array(out, ask->count);
    for (uint32_t i = 0; i < ask->count; i++)
        pack_uint(out, ask->indexes[i]);
}

enum err attachments_ask_decode(struct attachments_ask *out, struct bytes in)
{
    struct unpack u = unpack_start(in);
    unpack_array_of(&u, 1);
    out->count = unpack_array(&u, LIMIT_PULL_ATTACHMENTS);
    for (uint32_t i = 0; i < out->count; i++) {
        out->indexes[i] = unpack_uint(&u);
        if (i > 0 && out->indexes[i] <= out->indexes[i - 1]) unpack_fail(&u, ERR_INVALID);
    }
    if (out->count == 0) unpack_fail(&u, ERR_INVALID);
    return unpack_done(&u);
}

void attached_add(struct buffer *items, enum attachment_state state, struct bytes attachment)
{
    pack_array(items, 2);
    pack_uint(items, state);
    pack_bytes(items, attachment);
}

void attached_encode(struct buffer *out, uint32_t count, struct bytes items)
{
    pack_array(out, 1);
    pack_array(out, count);
    buffer_append_bytes(out, items);
}

enum err attached_decode(struct attached *out, struct bytes in)
{
    struct unpack u = unpack_start(in);
    unpack_array_of(&u, 1);
    out->count = unpack_array(&u, LIMIT_PULL_ATTACHMENTS);
    for (uint32_t i = 0; i < out->count; i++) {
        unpack_array_of(&u, 2);
        out->states[i] = (enum attachment_state)unpack_uint_max(&u, ATTACHMENT_NOT_YET);
        out->attachments[i] = unpack_bin(&u, LIMIT_ATTACHMENT);
        if ((out->states[i] == ATTACHMENT_HERE) != (out->attachments[i].size > 0)) unpack_fail(&u, ERR_INVALID);
    }
    if (out->count == 0) unpack_fail(&u, ERR_INVALID);
    return unpack_done(&u);
}

/* --- refusals --- */

void refusal_encode(struct buffer *out, enum err code)
{
    pack_array(out, 2);
    pack_uint(out, code);
    pack_text(out, err_text(code));
}

enum err refusal_decode(struct refusal *out, struct bytes in)
{
    struct unpack u = unpack_start(in);
    unpack_array_of(&u, 2);
    out->code = (enum err)unpack_uint_max(&u, UINT16_MAX);
    out->text = unpack_str(&u, 256);
    return unpack_done(&u);
}
