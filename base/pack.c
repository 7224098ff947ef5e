#include "base/pack.h"

#include <msgpack.h>
#include <string.h>

#include "base/limits.h"

static int write_buffer(void *out, const char *data, size_t size)
{
    buffer_append(out, data, size);
    return ((struct buffer *)out)->failed ? -1 : 0;
}

static msgpack_packer packer(struct buffer *out)
{
    msgpack_packer p;
    msgpack_packer_init(&p, out, write_buffer);
    return p;
}

void pack_array(struct buffer *out, uint32_t count)
{
    msgpack_packer p = packer(out);
    msgpack_pack_array(&p, count);
}

void pack_uint(struct buffer *out, uint64_t value)
{
    msgpack_packer p = packer(out);
    msgpack_pack_uint64(&p, value);
}

void pack_bool(struct buffer *out, bool value)
{
    msgpack_packer p = packer(out);
    if (value)
        msgpack_pack_true(&p);
    else
        msgpack_pack_false(&p);
}

void pack_bin_head(struct buffer *out, size_t size)
{
    msgpack_packer p = packer(out);
    msgpack_pack_bin(&p, size);
}

void pack_bin(struct buffer *out, const void *data, size_t size)
{
    pack_bin_head(out, size);
    buffer_append(out, data, size);
}

void pack_bytes(struct buffer *out, struct bytes data) { pack_bin(out, data.data, data.size); }

void pack_str(struct buffer *out, struct bytes text)
{
    msgpack_packer p = packer(out);
    msgpack_pack_str(&p, text.size);
    if (text.size) msgpack_pack_str_body(&p, text.data, text.size);
}

void pack_text(struct buffer *out, const char *text) { pack_str(out, bytes_text(text)); }
void pack_id(struct buffer *out, const struct id *id) { pack_bin(out, id->bytes, sizeof id->bytes); }
void pack_digest(struct buffer *out, const struct digest *d) { pack_bin(out, d->bytes, sizeof d->bytes); }

void pack_digests(struct buffer *out, const struct digest *digests, uint32_t count)
{
    pack_array(out, count);
    for (uint32_t i = 0; i < count; i++) pack_digest(out, &digests[i]);
}

struct unpack unpack_start(struct bytes in)
{
    return (struct unpack){.at = in.data, .end = in.data ? in.data + in.size : in.data, .error = OK};
}

void unpack_fail(struct unpack *u, enum err code)
{
    if (u->error == OK) u->error = code;
}

static size_t left(const struct unpack *u) { return (size_t)(u->end - u->at); }

static const uint8_t *take(struct unpack *u, size_t size)
{
    if (u->error != OK) return NULL;
    if (left(u) < size) {
        unpack_fail(u, ERR_TRUNCATED);
        return NULL;
    }
    const uint8_t *at = u->at;
    u->at += size;
    return at;
}

/* A big-endian integer of 1, 2, 4 or 8 bytes that must be at least `least`. */
static uint64_t take_be(struct unpack *u, size_t size, uint64_t least)
{
    const uint8_t *p = take(u, size);
    uint64_t v = 0;
    for (size_t i = 0; p && i < size; i++)
        v = v << 8 | p[i];
    if (p && v < least) unpack_fail(u, ERR_NOT_CANONICAL);
    return u->error == OK ? v : 0;
}

uint32_t unpack_array(struct unpack *u, uint32_t max)
{
    const uint8_t *p = take(u, 1);
    uint64_t n = 0;
    if (!p) return 0;
    if ((*p & 0xf0) == 0x90)
        n = *p & 0x0f;
    else if (*p == 0xdc)
        n = take_be(u, 2, 16);
    else if (*p == 0xdd)
        n = take_be(u, 4, 0x10000);
    else
        unpack_fail(u, ERR_MALFORMED);
    if (n > max || n > left(u)) unpack_fail(u, n > max ? ERR_TOO_LARGE : ERR_TRUNCATED);
    return u->error == OK ? (uint32_t)n : 0;
}

void unpack_array_of(struct unpack *u, uint32_t count)
{
    uint32_t n = unpack_array(u, UINT32_MAX);
    if (n != count) unpack_fail(u, ERR_MALFORMED);
}

uint64_t unpack_uint(struct unpack *u)
{
    const uint8_t *p = take(u, 1);
    if (!p) return 0;
    if (*p < 0x80) return *p;
    switch (*p) {
    case 0xcc: return take_be(u, 1, 0x80);
    case 0xcd: return take_be(u, 2, 0x100);
    case 0xce: return take_be(u, 4, 0x10000);
    case 0xcf: return take_be(u, 8, 0x100000000);
    }
    unpack_fail(u, ERR_MALFORMED);
    return 0;
}

uint64_t unpack_uint_max(struct unpack *u, uint64_t max)
{
    uint64_t v = unpack_uint(u);
    if (v > max) unpack_fail(u, ERR_MALFORMED);
    return u->error == OK ? v : 0;
}

bool unpack_bool(struct unpack *u)
{
    const uint8_t *p = take(u, 1);
    if (p && *p != 0xc2 && *p != 0xc3) unpack_fail(u, ERR_MALFORMED);
    return u->error == OK && *p == 0xc3;
}

static struct bytes take_view(struct unpack *u, uint64_t size, size_t max)
{
    if (size > max) unpack_fail(u, ERR_TOO_LARGE);
    const uint8_t *p = u->error == OK ? take(u, (size_t)size) : NULL;
    return p ? bytes_of(p, (size_t)size) : (struct bytes){0};
}

struct bytes unpack_bin(struct unpack *u, size_t max)
{
    const uint8_t *p = take(u, 1);
    uint64_t n = 0;
    if (!p) return (struct bytes){0};
    switch (*p) {
    case 0xc4: n = take_be(u, 1, 0); break;
    case 0xc5: n = take_be(u, 2, 0x100); break;
    case 0xc6: n = take_be(u, 4, 0x10000); break;
    default: unpack_fail(u, ERR_MALFORMED);
    }
    return take_view(u, n, max);
}

void unpack_bin_checked(struct unpack *u, void *out, size_t size)
{
    struct bytes v = unpack_bin(u, SIZE_MAX);
    if (u->error == OK && v.size != size) unpack_fail(u, ERR_MALFORMED);
    if (u->error == OK && size)
        memcpy(out, v.data, size);
    else
        memset(out, 0, size);
}

/* Eight bytes of ASCII from ' ' to '~'. No byte carries into its neighbour as long as none has its highest bit set. */
static bool all_printable(const uint8_t at[static 8])
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    uint64_t v;
    memcpy(&v, at, sizeof v);
    if (v & ones * 0x80) return false;
    return (((v + ones) | ~(v + ones * 0x60)) & ones * 0x80) == 0;
}

/* RFC 3629, and no control characters but tab and newline. */
bool text_valid(struct bytes text)
{
    const uint8_t *p = text.data;
    size_t n = text.size;
    for (size_t i = 0; i < n;) {
        if (n - i >= 8 && all_printable(p + i)) {
            i += 8;
            continue;
        }
        uint8_t c = p[i++];
        if (c < 0x80) {
            if ((c < 0x20 && c != '\t' && c != '\n') || c == 0x7f) return false;
            continue;
        }
        size_t more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : 1;
        if (c < 0xc2 || c > 0xf4 || n - i < more) return false;
        uint32_t v = c & (0x3f >> more);
        while (more--) {
            if ((p[i] & 0xc0) != 0x80) return false;
            v = v << 6 | (p[i++] & 0x3f);
        }
        bool too_long = (c >= 0xf0 && v < 0x10000) || (c >= 0xe0 && c < 0xf0 && v < 0x800);
        if (too_long || v > 0x10ffff || (v >= 0xd800 && v < 0xe000) || (v >= 0x80 && v < 0xa0)) return false;
    }
    return true;
}

struct bytes unpack_str(struct unpack *u, size_t max)
{
    const uint8_t *p = take(u, 1);
    uint64_t n = 0;
    if (!p) return (struct bytes){0};
    if ((*p & 0xe0) == 0xa0)
        n = *p & 0x1f;
    else if (*p == 0xd9)
        n = take_be(u, 1, 32);
    else if (*p == 0xda)
        n = take_be(u, 2, 0x100);
    else if (*p == 0xdb)
        n = take_be(u, 4, 0x10000);
    else
        unpack_fail(u, ERR_MALFORMED);
    struct bytes v = take_view(u, n, max);
    if (u->error == OK && !text_valid(v)) unpack_fail(u, ERR_MALFORMED);
    return u->error == OK ? v : (struct bytes){0};
}

uint32_t unpack_digests(struct unpack *u, struct digest *digests, uint32_t max)
{
    uint32_t count = unpack_array(u, max);
    for (uint32_t i = 0; i < count && u->error == OK; i++) digests[i] = unpack_digest(u);
    return count;
}

static void skip(struct unpack *u)
{
    if (u->error != OK) return;
    if (left(u) == 0) {
        unpack_fail(u, ERR_TRUNCATED);
        return;
    }
    uint8_t c = *u->at;
    if ((c & 0xf0) == 0x90 || c == 0xdc || c == 0xdd) {
        if (u->depth == LIMIT_PACK_DEPTH) {
            unpack_fail(u, ERR_TOO_DEEP);
            return;
        }
        u->depth++;
        for (uint32_t n = unpack_array(u, UINT32_MAX); n && u->error == OK; n--)
            skip(u);
        u->depth--;
    } else if ((c & 0xe0) == 0xa0 || (c >= 0xd9 && c <= 0xdb)) {
        unpack_str(u, SIZE_MAX);
    } else if (c >= 0xc4 && c <= 0xc6) {
        unpack_bin(u, SIZE_MAX);
    } else if (c == 0xc2 || c == 0xc3) {
        unpack_bool(u);
    } else {
        unpack_uint(u);
    }
}

struct bytes unpack_raw(struct unpack *u)
{
    const uint8_t *start = u->at;
    skip(u);
    return u->error == OK ? bytes_of(start, (size_t)(u->at - start)) : (struct bytes){0};
}

enum err unpack_done(const struct unpack *u)
{
    if (u->error != OK) return u->error;
    return u->at == u->end ? OK : ERR_TRAILING;
}
