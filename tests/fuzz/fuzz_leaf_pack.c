/* Packed leaves: the first byte says how many. What is read takes no more than its limit, and packed again and read
 * it is the same. */
#include "base/check.h"
#include "net/leaf_pack.h"

#define ROOM 4096u

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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buffer plain = {.limit = ROOM};
    struct bytes leaves[256];
    if (size == 0) return 0;
    enum err e = leaf_unpack(&plain, leaves, data[0], bytes_of(data + 1, size - 1));
    CHECK(plain.size <= ROOM);
    by_one(leaves, data[0], bytes_of(data + 1, size - 1), e);
    if (e == OK) again(leaves, data[0]);
    buffer_free(&plain);
    return 0;
}
