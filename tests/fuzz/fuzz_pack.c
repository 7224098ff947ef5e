/* The msgpack reader: whatever it accepts, the encoder writes back byte for
 * byte (there is one form), and skipping agrees with reading. */
#include "base/check.h"
#include "base/limits.h"
#include "base/pack.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void copy(struct buffer *out, struct unpack *u, unsigned depth)
{
    if (u->error != OK || u->at == u->end || depth > LIMIT_PACK_DEPTH) return;
    uint8_t c = *u->at;
    if ((c & 0xf0) == 0x90 || c == 0xdc || c == 0xdd) {
        uint32_t n = unpack_array(u, UINT32_MAX);
        if (u->error == OK) pack_array(out, n);
        while (n-- && u->error == OK)
            copy(out, u, depth + 1);
    } else if ((c & 0xe0) == 0xa0 || (c >= 0xd9 && c <= 0xdb)) {
        struct bytes v = unpack_str(u, SIZE_MAX);
        if (u->error == OK) pack_str(out, v);
    } else if (c >= 0xc4 && c <= 0xc6) {
        struct bytes v = unpack_bin(u, SIZE_MAX);
        if (u->error == OK) pack_bytes(out, v);
    } else if (c == 0xc2 || c == 0xc3) {
        bool v = unpack_bool(u);
        if (u->error == OK) pack_bool(out, v);
    } else {
        uint64_t v = unpack_uint(u);
        if (u->error == OK) pack_uint(out, v);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct unpack skip = unpack_start(bytes_of(data, size)), read = skip, shallow = skip;
    struct buffer out = {0};
    struct bytes raw = unpack_raw(&skip);
    if (unpack_done(&skip) == OK) {
        CHECK(bytes_equal(raw, bytes_of(data, size)));
        copy(&out, &read, 0);
        CHECK(unpack_done(&read) == OK);
        CHECK(bytes_equal(buffer_bytes(&out), raw));
    }
    buffer_free(&out);
    /* a fixed shape over any bytes: no read beyond the end */
    unpack_array_of(&shallow, 5);
    unpack_id(&shallow);
    unpack_digest(&shallow);
    unpack_uint_max(&shallow, 100);
    unpack_str(&shallow, 64);
    unpack_bin(&shallow, 64);
    CHECK(shallow.at <= shallow.end);
    return 0;
}
