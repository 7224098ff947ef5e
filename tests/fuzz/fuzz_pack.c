/* The msgpack reader: whatever it accepts, the encoder writes back byte for byte (there is one form), and skipping
 * agrees with reading. The typed readers (ledger/fields.h) take nothing else than their own encoders write. */
#include "base/check.h"
#include "base/limits.h"
#include "base/pack.h"
#include "ledger/fields.h"
#include "tests/lib/taken.h"

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

static void check_whole(struct bytes in)
{
    struct unpack skip = unpack_start(in), read = skip;
    struct buffer out = {0};
    struct bytes raw = unpack_raw(&skip);
    if (unpack_done(&skip) == OK) {
        fuzz_taken = true;
        CHECK(bytes_equal(raw, in));
        copy(&out, &read, 0);
        CHECK(unpack_done(&read) == OK);
        CHECK(bytes_equal(buffer_bytes(&out), raw));
    }
    buffer_free(&out);
}

/* A fixed shape over any bytes: no read beyond the end, and zero values after the first error. */
static void check_shape(struct bytes in)
{
    struct unpack shallow = unpack_start(in);
    struct digest digests[4] = {{{0}}};
    unpack_array_of(&shallow, 5);
    unpack_id(&shallow);
    unpack_digest(&shallow);
    unpack_uint_max(&shallow, 100);
    unpack_str(&shallow, 64);
    unpack_bin(&shallow, 64);
    uint32_t count = unpack_digests(&shallow, digests, 4);
    CHECK(shallow.at <= shallow.end && count <= 4);
    if (shallow.error == OK) return;
    struct id id = unpack_id(&shallow);
    CHECK(id_is_zero(&id) && unpack_uint(&shallow) == 0 && unpack_raw(&shallow).size == 0 && !unpack_bool(&shallow));
}

/* --- values of one kind --- */

#define FIELDS 12

/* The value as it is written again; false: it is none of this kind. */
static bool field(struct buffer *out, struct unpack *u, unsigned kind)
{
    struct id id = {{0}};
    struct digest digest = {{0}}, digests[4] = {{{0}}};
    struct signature signature;
    struct sign_public key;
    struct bytes text = {0};
    uint64_t number = 0;
    uint32_t count = 0;
    switch (kind) {
    case 0: id = unpack_id_required(u); pack_id(out, &id); break;
    case 1: id = unpack_id_optional(u); pack_id_optional(out, &id); break;
    case 2: digest = unpack_digest_optional(u); pack_digest_optional(out, &digest); break;
    case 3: signature = unpack_signature(u); pack_signature(out, &signature); break;
    case 4: key = unpack_public(u); pack_public(out, &key); break;
    case 5: text = unpack_label(u); pack_str(out, text); break;
    case 6: text = unpack_label_optional(u); pack_str(out, text); break;
    case 7: text = unpack_code(u, 1, 64); pack_str(out, text); break;
    case 8: number = unpack_range(u, 3, 300); pack_uint(out, number); break;
    case 9: number = unpack_time(u); pack_uint(out, number); break;
    case 10: text = unpack_array_raw(u); buffer_append_bytes(out, text); break;
    case 11: count = unpack_digests(u, digests, 4); pack_digests(out, digests, count); break;
    }
    if (u->error != OK) return false;
    CHECK(kind != 0 || !id_is_zero(&id));
    CHECK(kind != 5 || label_valid(text));
    CHECK(kind != 8 || (number >= 3 && number <= 300));
    CHECK(kind != 10 || is_array(text));
    return true;
}

/* The input's first value, as each of them. */
static void check_fields(struct bytes in)
{
    for (unsigned kind = 0; kind < FIELDS; kind++) {
        struct unpack u = unpack_start(in);
        struct buffer out = {0};
        if (field(&out, &u, kind)) CHECK(bytes_equal(buffer_bytes(&out), bytes_of(in.data, (size_t)(u.at - in.data))));
        CHECK(u.at <= u.end);
        buffer_free(&out);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes in = bytes_of(data, size);
    check_whole(in);
    check_shape(in);
    check_fields(in);
    return 0;
}
