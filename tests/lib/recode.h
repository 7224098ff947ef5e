/* Decode, then encode again. Every format here is canonical: what a decoder
 * takes must come back byte for byte (fuzz targets, mutation tests).
 *
 * Each function returns the decoder's error and appends the encoding on OK.
 * Header-only, since fuzz targets link no test library. */
#ifndef TESTS_LIB_RECODE_H
#define TESTS_LIB_RECODE_H

#include <string.h>

#include "base/check.h"
#include "base/pack.h"
#include "ledger/arguments.h"
#include "ledger/block.h"
#include "ledger/checkpoint.h"
#include "ledger/genesis.h"
#include "ledger/leaf.h"
#include "ledger/tlog_proof.h"

static inline enum err recode_arguments(struct buffer *out, uint32_t action, struct bytes in)
{
    struct arguments a;
    enum err e = arguments_decode(&a, action, in);
    if (e == OK) arguments_encode(out, &a);
    return e;
}

static inline enum err recode_operation(struct buffer *out, struct bytes in)
{
    struct operation op;
    struct buffer args = {0};
    enum err e = operation_decode(&op, in);
    if (e != OK) return e;
    if (recode_arguments(&args, op.action, op.args) == OK) CHECK(bytes_equal(buffer_bytes(&args), op.args));
    buffer_free(&args);
    op.raw = (struct bytes){0};
    operation_encode(out, &op);
    return OK;
}

static inline void recode_part(struct buffer *out, enum err (*recode)(struct buffer *, struct bytes), struct bytes in)
{
    struct buffer part = {0};
    CHECK(recode(&part, in) == OK);
    pack_bytes(out, buffer_bytes(&part));
    buffer_free(&part);
}

static inline enum err recode_request(struct buffer *out, struct bytes in)
{
    struct request r;
    enum err e = request_decode(&r, in);
    if (e != OK) return e;
    pack_array(out, 3);
    pack_array(out, r.count);
    for (uint32_t i = 0; i < r.count; i++)
        recode_part(out, recode_operation, r.items[i].operation.raw);
    pack_array(out, r.count);
    for (uint32_t i = 0; i < r.count; i++)
        pack_bytes(out, r.items[i].attachment);
    pack_bin(out, r.signature.bytes, sizeof r.signature.bytes);
    request_free(&r);
    return OK;
}

static inline enum err recode_block(struct buffer *out, struct bytes in)
{
    struct block b;
    enum err e = block_decode(&b, in);
    if (e != OK) return e;
    pack_array(out, 2);
    pack_uint(out, b.time_ms);
    pack_array(out, b.count);
    for (uint32_t i = 0; i < b.count; i++)
        recode_part(out, recode_request, b.requests[i].raw);
    block_free(&b);
    return OK;
}

static inline enum err recode_leaf(struct buffer *out, struct bytes in)
{
    struct leaf leaf;
    struct buffer op = {0};
    enum err e = leaf_decode(&leaf, in);
    if (e != OK) return e;
    if (leaf.index != 0) {
        CHECK(recode_operation(&op, leaf.operation.raw) == OK);
        leaf.operation.raw = buffer_bytes(&op);
    }
    leaf_encode(out, &leaf);
    buffer_free(&op);
    return OK;
}

static inline enum err recode_attachment(struct buffer *out, struct bytes in)
{
    struct attachment a;
    enum err e = attachment_decode(&a, in);
    if (e == OK) attachment_encode(out, a.salt, a.content);
    return e;
}

static inline enum err recode_person(struct buffer *out, struct bytes in)
{
    struct person p;
    enum err e = person_decode(&p, in);
    if (e == OK) person_encode(out, &p);
    return e;
}

static inline enum err recode_content(struct buffer *out, struct bytes in)
{
    struct content c;
    enum err e = content_decode(&c, in);
    if (e == OK) content_encode(out, &c);
    return e;
}

static inline enum err recode_context(struct buffer *out, struct bytes in)
{
    struct record_context c;
    enum err e = record_context_decode(&c, in);
    if (e == OK) record_context_encode(out, &c);
    return e;
}

static inline enum err recode_genesis(struct buffer *out, struct bytes in)
{
    struct genesis g;
    enum err e = genesis_parse(&g, in, NULL);
    if (e == OK) CHECK(genesis_format(out, &g, NULL) == OK);
    return e;
}

/* With a final newline when it had one, which the parser tolerates. */
static inline enum err recode_descriptor(struct buffer *out, struct bytes in)
{
    struct descriptor d;
    enum err e = descriptor_parse(&d, in, NULL);
    if (e == OK) descriptor_format(out, &d);
    if (e == OK && in.data[in.size - 1] == '\n') buffer_append_text(out, "\n");
    return e;
}

static inline enum err recode_vkey(struct buffer *out, struct bytes in)
{
    struct cosigner c;
    enum err e = cosigner_parse(&c, in);
    if (e == OK) cosigner_vkey(out, &c);
    return e;
}

static inline void recode_note_line(struct buffer *out, const struct note_line *line)
{
    struct buffer raw = {0}, encoded = {0};
    CHECK(base64_decode(&raw, line->encoded) == OK && memcmp(raw.data, line->key_id, sizeof line->key_id) == 0);
    if (line->is_cosignature) {
        put_be64(raw.data + 4, line->cosignature.time_s);
        memcpy(raw.data + 12, line->cosignature.signature.bytes, 64);
    }
    base64_append(&encoded, buffer_bytes(&raw));
    buffer_append_text(out, "\xe2\x80\x94 ");
    buffer_append_bytes(out, line->name);
    buffer_append_text(out, " ");
    buffer_append_bytes(out, buffer_bytes(&encoded));
    buffer_append_text(out, "\n");
    buffer_free(&raw);
    buffer_free(&encoded);
}

static inline enum err recode_note(struct buffer *out, struct bytes in)
{
    struct note note;
    enum err e = note_parse(&note, in);
    if (e != OK) return e;
    checkpoint_body(out, &note.checkpoint);
    buffer_append_text(out, "\n");
    for (uint32_t i = 0; i < note.count; i++)
        recode_note_line(out, &note.lines[i]);
    return OK;
}

static inline enum err recode_tlog_proof(struct buffer *out, struct bytes in)
{
    struct tlog_proof proof;
    struct buffer extra = {0};
    enum err e = tlog_proof_parse(&proof, &extra, in, NULL);
    if (e == OK) tlog_proof_format(out, &proof);
    buffer_free(&extra);
    return e;
}

#endif
