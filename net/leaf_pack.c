#include "net/leaf_pack.h"

#include <endian.h>
#include <string.h>

#include "base/check.h"

#define RUN_MOST 255u  /* bytes as they are */
#define COPY_MOST 127u /* bytes from the leaf before */
#define COPY_LEAST 8u  /* fewer would cost more to say than to write */
#define FROM_END 128u
#define SIZE_BYTES 4u /* of a LEB128 */

/* --- writing --- */

struct packer {
    uint8_t *at;
    const uint8_t *leaf, *before;
    size_t size, before_size;
    size_t written; /* bytes of the leaf that are out */
};

/* The first byte is the highest. */
static uint64_t load64(const uint8_t *at)
{
    uint64_t v;
    memcpy(&v, at, sizeof v);
    return be64toh(v);
}

/* Bytes that are the same, from the first on. */
static size_t same_bytes(const uint8_t *a, const uint8_t *b, size_t most)
{
    size_t n = 0;
    while (n + 8 <= most && load64(a + n) == load64(b + n)) n += 8;
    while (n < most && a[n] == b[n]) n++;
    return n;
}

static void put_literals(struct packer *p, size_t until)
{
    while (until - p->written > RUN_MOST) {
        *p->at++ = RUN_MOST;
        p->at = (uint8_t *)memcpy(p->at, p->leaf + p->written, RUN_MOST) + RUN_MOST;
        *p->at++ = 0;
        p->written += RUN_MOST;
    }
    size_t n = until - p->written;
    *p->at++ = (uint8_t)n;
    if (n > 0) p->at = (uint8_t *)memcpy(p->at, p->leaf + p->written, n) + n;
    p->written = until;
}

static void put_copy(struct packer *p, size_t size, unsigned from)
{
    for (;;) {
        size_t n = size < COPY_MOST ? size : COPY_MOST;
        *p->at++ = (uint8_t)(from | n);
        p->written += n;
        size -= n;
        if (size == 0) return;
        *p->at++ = 0; /* no bytes as they are before the next copy */
    }
}

/* How many bytes at `i` are those of the leaf before, at `j`. */
static size_t match(const struct packer *p, size_t i, size_t j)
{
    if (j > p->before_size || p->before_size - j < COPY_LEAST || load64(p->leaf + i) != load64(p->before + j)) return 0;
    size_t left = p->size - i, there = p->before_size - j;
    return same_bytes(p->leaf + i, p->before + j, left < there ? left : there);
}

/* Bytes from `i` on at which no copy begins: up to the last one of eight that differs. */
static size_t step(const struct packer *p, size_t i, size_t shift)
{
    if (shift != 0 || i + 8 > p->before_size) return 1;
    uint64_t differ = load64(p->leaf + i) ^ load64(p->before + i);
    return 8 - (size_t)__builtin_ctzll(differ) / 8;
}

static void pack_runs(struct packer *p)
{
    size_t i = 0, shift = p->before_size - p->size; /* modulo 2^64 */
    while (i + COPY_LEAST <= p->size) {
        unsigned from = 0;
        size_t n = match(p, i, i);
        if (n == 0 && shift != 0) {
            n = match(p, i, i + shift);
            from = FROM_END;
        }
        if (n == 0) {
            i += step(p, i, shift);
            continue;
        }
        put_literals(p, i);
        put_copy(p, n, from);
        i += n;
    }
    if (p->written < p->size) put_literals(p, p->size);
}

static uint8_t *put_size(uint8_t *at, size_t size)
{
    for (; size >= 0x80; size >>= 7) *at++ = (uint8_t)(size | 0x80);
    *at++ = (uint8_t)size;
    return at;
}

void leaf_pack(struct buffer *out, struct bytes before, struct bytes leaf)
{
    CHECK(leaf.size > 0 && leaf.size >> (7 * SIZE_BYTES) == 0);
    size_t most = SIZE_BYTES + leaf.size + 2 * (leaf.size / COPY_LEAST + 2); /* a run's two bytes stand for 8 or more */
    uint8_t *at = buffer_extend(out, most);
    if (!at) return;
    struct packer p = {put_size(at, leaf.size), leaf.data, before.data, leaf.size, before.size, 0};
    pack_runs(&p);
    CHECK((size_t)(p.at - at) <= most);
    out->size -= most - (size_t)(p.at - at);
}

/* --- reading --- */

/* Most runs are short, and take longer to call for than to move. What lies behind `n` is written by later runs. */
static void copy_run(uint8_t *to, size_t room, const uint8_t *from, size_t there, size_t n)
{
    if (n <= 32 && room >= 32 && there >= 32)
        memcpy(to, from, 32);
    else
        memcpy(to, from, n);
}

/* ERR_TRUNCATED; a LEB128 of a form longer than needed, or of more than SIZE_BYTES, is ERR_MALFORMED. */
static enum err get_size(size_t *out, struct leaf_unpacker *u)
{
    size_t size = 0;
    for (unsigned i = 0; i < SIZE_BYTES; i++) {
        if (u->at == u->end) return ERR_TRUNCATED;
        uint8_t byte = *u->at++;
        size |= (size_t)(byte & 0x7f) << (7 * i);
        if (byte & 0x80) continue;
        *out = size;
        return byte == 0 ? ERR_MALFORMED : OK; /* 0: no leaf, or a shorter form would do */
    }
    return ERR_MALFORMED;
}

/* A copy to the place `written` of a leaf of `size` bytes. */
static enum err get_copy(uint8_t *leaf, size_t size, size_t written, const uint8_t *before, size_t before_size,
                         uint8_t code)
{
    size_t n = code & COPY_MOST, from = written;
    if (n == 0) return code == 0 ? OK : ERR_MALFORMED;
    if (code & FROM_END) {
        if (before_size + written < size) return ERR_MALFORMED;
        from = before_size + written - size;
    }
    if (n > size - written || from > before_size || n > before_size - from) return ERR_MALFORMED;
    copy_run(leaf + written, size - written, before + from, before_size - from, n);
    return OK;
}

/* `leaf` has room for `size` bytes. */
static enum err get_runs(uint8_t *leaf, size_t size, const uint8_t *before, size_t before_size, struct leaf_unpacker *u)
{
    size_t written = 0;
    for (;;) {
        if (u->at == u->end) return ERR_TRUNCATED;
        size_t n = *u->at++;
        if (n > (size_t)(u->end - u->at)) return ERR_TRUNCATED;
        if (n > size - written) return ERR_MALFORMED;
        if (n > 0) copy_run(leaf + written, size - written, u->at, (size_t)(u->end - u->at), n);
        u->at += n;
        written += n;
        if (written == size) return n > 0 ? OK : ERR_MALFORMED;
        if (u->at == u->end) return ERR_TRUNCATED;
        uint8_t code = *u->at++;
        enum err e = n + code > 0 ? get_copy(leaf, size, written, before, before_size, code) : ERR_MALFORMED;
        if (e != OK) return e;
        written += code & COPY_MOST;
        if (written == size) return OK;
    }
}

struct leaf_unpacker leaf_unpack_start(struct bytes packed)
{
    return (struct leaf_unpacker){.at = packed.data, .end = packed.size > 0 ? packed.data + packed.size : packed.data};
}

/* The last leaf, which the next ones are written as differences from, moves to the beginning. */
static void keep_last(struct buffer *plain, size_t size)
{
    CHECK(size <= plain->size);
    if (size > 0) memmove(plain->data, plain->data + plain->size - size, size);
    plain->size = size;
}

enum err leaf_unpack_next(struct leaf_unpacker *u, struct buffer *plain, struct bytes *leaves, uint32_t count)
{
    size_t limit = plain->limit ? plain->limit : SIZE_MAX;
    keep_last(plain, u->before);
    size_t start = plain->size;
    for (uint32_t i = 0; i < count; i++) {
        size_t size;
        enum err e = get_size(&size, u);
        if (e != OK) return e;
        if (size > limit - plain->size) return ERR_TOO_LARGE;
        uint8_t *leaf = buffer_extend(plain, size);
        if (!leaf) return ERR_NOMEM;
        e = get_runs(leaf, size, leaf - u->before, u->before, u);
        if (e != OK) return e;
        leaves[i].size = u->before = size;
    }
    for (uint32_t i = 0; i < count; start += leaves[i++].size) leaves[i].data = plain->data + start;
    return OK;
}

enum err leaf_unpack_done(const struct leaf_unpacker *u) { return u->at == u->end ? OK : ERR_TRAILING; }

enum err leaf_unpack(struct buffer *plain, struct bytes *leaves, uint32_t count, struct bytes packed)
{
    struct leaf_unpacker u = leaf_unpack_start(packed);
    enum err e = leaf_unpack_next(&u, plain, leaves, count);
    return e == OK ? leaf_unpack_done(&u) : e;
}
