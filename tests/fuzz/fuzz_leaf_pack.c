/* Packed leaves. First byte
 *   not 0: so many leaves; the rest is packed. What is read takes no more than its limit, and packed again and read it
 *          is the same;
 *   0:     the rest says what leaves there are, each as what differs from the one before. They come back, however many
 *          are read at a time; then a byte of the packed ones is changed. */
#include <string.h>

#include "base/check.h"
#include "net/leaf_pack.h"
#include "tests/lib/taken.h"

#define ROOM 4096u
#define LEAVES 16u
#define LEAF_MOST 1024u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void again(const struct bytes *leaves, uint32_t count)
{
    struct buffer packed = {0}, plain = {.limit = ROOM};
    struct bytes second[256];
    for (uint32_t i = 0; i < count; i++) leaf_pack(&packed, i > 0 ? leaves[i - 1] : (struct bytes){0}, leaves[i]);
    CHECK(!packed.failed && leaf_unpack(&plain, second, count, buffer_bytes(&packed)) == OK);
    for (uint32_t i = 0; i < count; i++) CHECK(bytes_equal(leaves[i], second[i]));
    buffer_free(&plain);
    buffer_free(&packed);
}

/* One at a time it is the same, up to the first error. */
static void by_one(const struct bytes *leaves, uint32_t count, struct bytes packed, enum err expected)
{
    struct buffer plain = {.limit = 2 * ROOM}; /* of two leaves at once */
    struct leaf_unpacker u = leaf_unpack_start(packed);
    struct bytes leaf;
    enum err e = OK;
    for (uint32_t i = 0; i < count && e == OK; i++) {
        e = leaf_unpack_next(&u, &plain, &leaf, 1);
        CHECK(plain.size <= 2 * ROOM && (e != OK || expected != OK || bytes_equal(leaf, leaves[i])));
    }
    if (e == OK) e = leaf_unpack_done(&u);
    CHECK(expected == ERR_TOO_LARGE || e == expected);
    buffer_free(&plain);
}

static enum err read(uint32_t count, struct bytes packed, uint32_t limit)
{
    struct buffer plain = {.limit = limit};
    struct bytes leaves[256];
    enum err e = leaf_unpack(&plain, leaves, count, packed);
    CHECK(plain.size <= limit);
    if (limit == ROOM) by_one(leaves, count, packed, e);
    if (limit == ROOM && e == OK) again(leaves, count);
    buffer_free(&plain);
    return e;
}

/* --- leaves that the input describes --- */

struct made {
    uint32_t count;
    size_t sizes[LEAVES];
    uint8_t leaves[LEAVES][LEAF_MOST];
};

/* The one before, with some bytes put in or left out, and others in the place of some, or of all that follow. */
static size_t next_leaf(uint8_t *leaf, const uint8_t *before, size_t size, const uint8_t change[static 5])
{
    size_t at = size ? (change[1] << 8 | change[2]) % size : 0, n = change[3] & 0x80 ? LEAF_MOST : change[3] % 32u;
    memcpy(leaf, before, size);
    switch (change[0] % 4) {
    case 0: /* put in */
        if (size + n + 1 > LEAF_MOST) return size;
        memmove(leaf + at + n + 1, leaf + at, size - at);
        memset(leaf + at, change[4], n + 1);
        return size + n + 1;
    case 1: /* left out */
        if (n >= size - at) n = size - at - (at == 0);
        memmove(leaf + at, leaf + at + n, size - at - n);
        return size - n;
    case 2: /* in the place of others */
        for (size_t i = at; i < size && i <= at + n; i++) leaf[i] ^= (uint8_t)(change[4] + i);
        return size;
    default: /* as many again */
        if (2 * size > LEAF_MOST) return size;
        memcpy(leaf + size, before, size);
        return 2 * size;
    }
}

static void make(struct made *out, struct bytes in)
{
    static const uint8_t none[LEAF_MOST];
    out->count = 0;
    for (size_t at = 0; at + 5 <= in.size && out->count < LEAVES; at += 5) {
        uint32_t i = out->count++;
        uint8_t first[5] = {0, 0, 0, in.data[at + 3] & 0x7f, in.data[at + 4]}; /* of one byte at least */
        out->sizes[i] = next_leaf(out->leaves[i], i ? out->leaves[i - 1] : none, i ? out->sizes[i - 1] : 0,
                                  i ? in.data + at : first);
    }
}

/* `step` at a time, in memory that holds so many and the one before. */
static void read_by(const struct made *m, struct bytes packed, uint32_t step)
{
    struct buffer plain = {.limit = (step + 1) * LEAF_MOST};
    struct leaf_unpacker u = leaf_unpack_start(packed);
    struct bytes leaves[LEAVES];
    for (uint32_t i = 0; i < m->count; i += step) {
        uint32_t count = m->count - i < step ? m->count - i : step;
        CHECK(leaf_unpack_next(&u, &plain, leaves, count) == OK);
        for (uint32_t j = 0; j < count; j++)
            CHECK(bytes_equal(leaves[j], bytes_of(m->leaves[i + j], m->sizes[i + j])));
    }
    CHECK(leaf_unpack_done(&u) == OK);
    buffer_free(&plain);
}

static void made(struct bytes in)
{
    static struct made m;
    struct buffer packed = {0};
    if (in.size < 3 + 5) return;
    make(&m, bytes_of(in.data + 3, in.size - 3));
    for (uint32_t i = 0; i < m.count; i++) {
        size_t start = packed.size;
        struct bytes before = i > 0 ? bytes_of(m.leaves[i - 1], m.sizes[i - 1]) : (struct bytes){0};
        leaf_pack(&packed, before, bytes_of(m.leaves[i], m.sizes[i]));
        CHECK(packed.size - start <= m.sizes[i] + 4 + 2 * (m.sizes[i] / 8 + 2));
    }
    read_by(&m, buffer_bytes(&packed), 1 + in.data[0] % LEAVES);
    fuzz_taken = true;
    packed.data[(in.data[0] << 8 | in.data[1]) % packed.size] ^= in.data[2];
    (void)read(m.count, buffer_bytes(&packed), LEAVES * LEAF_MOST);
    buffer_free(&packed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) return 0;
    if (data[0] == 0)
        made(bytes_of(data + 1, size - 1));
    else
        fuzz_taken = read(data[0], bytes_of(data + 1, size - 1), ROOM) == OK;
    return 0;
}
