#include "net/frame.h"

#include <string.h>

#include "base/check.h"
#include "base/pack.h"

size_t frame_head(uint8_t out[static FRAME_HEAD_MAX], uint32_t type, uint64_t id, size_t body_size)
{
    CHECK(type <= FRAME_TYPE_MAX && body_size <= FRAME_BODY_MAX);
    /* pack_* write to a growing buffer; one of fixed capacity never grows. */
    struct buffer head = {.data = out, .capacity = FRAME_HEAD_MAX, .limit = FRAME_HEAD_MAX};
    buffer_extend(&head, FRAME_PREFIX);
    pack_array(&head, 3);
    pack_uint(&head, type);
    pack_uint(&head, id);
    CHECK(!head.failed && head.data == out);
    put_be32(out, (uint32_t)(head.size - FRAME_PREFIX + body_size));
    return head.size;
}

enum err frame_append(struct buffer *out, uint32_t type, uint64_t id, struct bytes body)
{
    static const uint8_t empty_array = 0x90;
    uint8_t head[FRAME_HEAD_MAX];
    if (body.size == 0) body = bytes_of(&empty_array, 1);
    if (body.size > FRAME_BODY_MAX) return ERR_FRAME_TOO_LONG;
    size_t head_size = frame_head(head, type, id, body.size);
    uint8_t *at = buffer_extend(out, head_size + body.size);
    if (!at) return ERR_NOMEM;
    memcpy(at, head, head_size);
    memcpy(at + head_size, body.data, body.size);
    return OK;
}

void frame_reader_free(struct frame_reader *r)
{
    buffer_free(&r->kept);
    *r = (struct frame_reader){.limit = r->limit};
}

static void free_kept(struct frame_reader *r)
{
    buffer_free(&r->kept);
    r->kept_at = r->kept_most = 0;
}

static size_t kept_size(const struct frame_reader *r) { return r->kept.size - r->kept_at; }

void frame_feed(struct frame_reader *r, struct bytes in)
{
    CHECK(r->input.size == 0);
    r->input = in;
}

/* What was lent is dropped; an empty buffer is given back whole, so that a
 * connection between two frames holds no memory. */
static void drop_read(struct frame_reader *r)
{
    if (r->kept_at && kept_size(r) == 0) free_kept(r);
}

#define LARGE (32 * KIB) /* what is kept of a frame, from where on it has a mapping */

static bool has_mapping(const struct frame_reader *r) { return r->kept.capacity >= BUFFER_MAPPED; }

/* Moves up to `size` bytes of the input behind what is kept. */
static enum err take_over(struct frame_reader *r, size_t size)
{
    size_t n = size < r->input.size ? size : r->input.size;
    if (n == 0) return OK;
    if (r->kept_at) { /* what was read makes room first */
        memmove(r->kept.data, r->kept.data + r->kept_at, kept_size(r));
        r->kept.size -= r->kept_at;
        r->kept_at = 0;
    }
    /* Doubling stops at a whole frame of the largest size. */
    size_t most = FRAME_PREFIX + (r->limit ? r->limit : LIMIT_FRAME);
    r->kept.limit = r->kept.size + n > most ? r->kept.size + n : most;
    r->kept.mapped = true;
    if (r->kept.size + n > LARGE && !buffer_reserve(&r->kept, BUFFER_MAPPED)) return ERR_NOMEM;
    buffer_append(&r->kept, r->input.data, n);
    if (r->kept.failed) return ERR_NOMEM;
    if (r->kept_most < r->kept.size) r->kept_most = r->kept.size;
    r->input.data += n;
    r->input.size -= n;
    return OK;
}

static enum err parse(struct frame *out, struct bytes in)
{
    struct unpack u = unpack_start(in);
    unpack_array_of(&u, 3);
    out->type = (uint32_t)unpack_uint_max(&u, FRAME_TYPE_MAX);
    out->id = unpack_uint(&u);
    out->body = unpack_raw(&u);
    return unpack_done(&u);
}

static enum err read_length(const struct frame_reader *r, const uint8_t *at, size_t *length)
{
    *length = get_be32(at);
    return *length > (r->limit ? r->limit : LIMIT_FRAME) ? ERR_FRAME_TOO_LONG : OK;
}

/* A whole frame that lies in the input: no copy. */
static enum err next_of_input(struct frame_reader *r, struct frame *out)
{
    size_t length;
    if (r->input.size < FRAME_PREFIX) return ERR_NOT_FOUND;
    enum err err = read_length(r, r->input.data, &length);
    if (err != OK) return err;
    if (r->input.size - FRAME_PREFIX < length) return ERR_NOT_FOUND;
    struct bytes whole = bytes_of(r->input.data + FRAME_PREFIX, length);
    r->input.data += FRAME_PREFIX + length;
    r->input.size -= FRAME_PREFIX + length;
    return parse(out, whole);
}

/* A frame that began in an earlier feed: exactly what it lacks is taken over. */
static enum err next_of_kept(struct frame_reader *r, struct frame *out)
{
    size_t length;
    enum err err;
    if (kept_size(r) < FRAME_PREFIX && (err = take_over(r, FRAME_PREFIX - kept_size(r))) != OK) return err;
    if (kept_size(r) < FRAME_PREFIX) return ERR_NOT_FOUND;
    if ((err = read_length(r, r->kept.data + r->kept_at, &length)) != OK) return err;
    size_t whole = FRAME_PREFIX + length;
    if (kept_size(r) < whole && (err = take_over(r, whole - kept_size(r))) != OK) return err;
    if (kept_size(r) < whole) return ERR_NOT_FOUND;
    struct bytes in = bytes_of(r->kept.data + r->kept_at + FRAME_PREFIX, length);
    r->kept_at += whole;
    return parse(out, in);
}

enum err frame_next(struct frame_reader *r, struct frame *out)
{
    *out = (struct frame){0};
    drop_read(r);
    if (r->error != OK) return r->error;
    enum err err = kept_size(r) ? next_of_kept(r, out) : next_of_input(r, out);
    if (err == ERR_NOT_FOUND) {
        err = take_over(r, r->input.size);
        if (err == OK) return ERR_NOT_FOUND;
    }
    if (err != OK) {
        *out = (struct frame){0};
        r->error = err;
        free_kept(r);
        r->input = (struct bytes){0};
    }
    return err;
}

enum err frame_keep(struct frame_reader *r)
{
    drop_read(r);
    return take_over(r, r->input.size);
}

enum err frame_end(const struct frame_reader *r)
{
    if (r->error != OK) return r->error;
    return kept_size(r) ? ERR_TRUNCATED : OK;
}

size_t frame_memory(const struct frame_reader *r) { return has_mapping(r) ? r->kept_most : r->kept.capacity; }
