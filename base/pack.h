/* msgpack in canonical shortest form.
 *
 * One encoder: pack_* write through msgpack-c's packer, which picks the
 * shortest form of integers, strings, bins and arrays. Only unsigned integers,
 * booleans, bin, str and arrays are used; no maps, floats, nil or extensions.
 *
 * The reader is ours because msgpack-c's allocates what a header claims before
 * the bytes are there and accepts longer forms than needed: this one allocates
 * nothing, gives views into the input, and refuses what is not canonical. It is
 * a cursor with a sticky error: read all fields, check once with unpack_done.
 * Specification: https://github.com/msgpack/msgpack/blob/master/spec.md
 */
#ifndef BASE_PACK_H
#define BASE_PACK_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/bytes.h"

void pack_array(struct buffer *out, uint32_t count); /* then `count` values */
void pack_uint(struct buffer *out, uint64_t value);
void pack_bool(struct buffer *out, bool value);
void pack_bin(struct buffer *out, const void *data, size_t size);
void pack_bytes(struct buffer *out, struct bytes data); /* as bin */
void pack_bin_head(struct buffer *out, size_t size);    /* of a bin whose bytes follow elsewhere */
void pack_text(struct buffer *out, const char *text);   /* as str */
void pack_str(struct buffer *out, struct bytes text);   /* as str */
void pack_id(struct buffer *out, const struct id *id);
void pack_digest(struct buffer *out, const struct digest *digest);
void pack_digests(struct buffer *out, const struct digest *digests, uint32_t count); /* an array */

struct unpack {
    const uint8_t *at, *end;
    enum err error; /* the first; later reads return zero values */
    uint8_t depth;
};

struct unpack unpack_start(struct bytes in);
/* Count of an array that follows; more than `max`, or more than the bytes left, is an error. */
uint32_t unpack_array(struct unpack *u, uint32_t max);
/* An array of exactly `count`. */
void unpack_array_of(struct unpack *u, uint32_t count);
uint64_t unpack_uint(struct unpack *u);
uint64_t unpack_uint_max(struct unpack *u, uint64_t max); /* ERR_MALFORMED above max */
bool unpack_bool(struct unpack *u);
struct bytes unpack_bin(struct unpack *u, size_t max); /* a view; ERR_TOO_LARGE above max */
/* The next value, a bin of so many bytes; zeros after an error. */
static inline void unpack_bin_exact(struct unpack *u, void *out, size_t size);
struct bytes unpack_str(struct unpack *u, size_t max); /* a view; valid UTF-8, of control characters only \t, \n */
bool text_valid(struct bytes text); /* what unpack_str takes */
static inline struct id unpack_id(struct unpack *u);
static inline struct digest unpack_digest(struct unpack *u);
uint32_t unpack_digests(struct unpack *u, struct digest *digests, uint32_t max); /* an array; how many there are */
/* The bytes of the next value, whatever it is (nesting limit LIMIT_PACK_DEPTH). */
struct bytes unpack_raw(struct unpack *u);
void unpack_fail(struct unpack *u, enum err code); /* sets the sticky error if none is set */
/* OK only when all was read without an error and nothing is left (ERR_TRAILING). */
enum err unpack_done(const struct unpack *u);

/* --- ids, hashes, signatures: most of a leaf. Inline, so that they are moved by a constant size --- */

/* Any other case, and every error. */
void unpack_bin_checked(struct unpack *u, void *out, size_t size);
/* Whether a bin of exactly so many bytes is next, at most 255; nothing is read. */
static inline bool unpack_bin_next(const struct unpack *u, size_t size)
{
    return u->error == OK && size <= UINT8_MAX && (size_t)(u->end - u->at) >= 2 + size && u->at[0] == 0xc4 &&
           u->at[1] == size;
}

static inline void unpack_bin_exact(struct unpack *u, void *out, size_t size)
{
    if (!unpack_bin_next(u, size)) {
        unpack_bin_checked(u, out, size);
        return;
    }
    memcpy(out, u->at + 2, size);
    u->at += 2 + size;
}

static inline struct id unpack_id(struct unpack *u)
{
    struct id id = {{0}};
    unpack_bin_exact(u, id.bytes, sizeof id.bytes);
    return id;
}

static inline struct digest unpack_digest(struct unpack *u)
{
    struct digest digest = {{0}};
    unpack_bin_exact(u, digest.bytes, sizeof digest.bytes);
    return digest;
}

#endif
