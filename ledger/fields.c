#include "ledger/fields.h"

#include <string.h>

#include "base/limits.h"
#include "ledger/operation.h"

bool digest_is_zero(const struct digest *digest)
{
    static const struct digest zero;
    return digest_equal(digest, &zero);
}

struct id unpack_id_required(struct unpack *u)
{
    struct id id = unpack_id(u);
    if (id_is_zero(&id)) unpack_fail(u, ERR_MALFORMED);
    return id;
}

/* Of ids and digests, whose sizes are multiples of 8. */
static inline bool any_bit(const uint8_t *at, size_t size)
{
    uint64_t any = 0, eight;
    for (size_t i = 0; i < size; i += sizeof eight) {
        memcpy(&eight, at + i, sizeof eight);
        any |= eight;
    }
    return any != 0;
}

/* Empty, or `size` bytes that are not all zero. Inline: the size is a constant then. */
static inline void unpack_optional(struct unpack *u, uint8_t *out, size_t size)
{
    if (unpack_bin_next(u, size)) {
        unpack_bin_exact(u, out, size);
        if (!any_bit(out, size)) unpack_fail(u, ERR_MALFORMED);
        return;
    }
    struct bytes v = unpack_bin(u, size);
    if (v.size != 0) unpack_fail(u, ERR_MALFORMED);
    memset(out, 0, size);
}

void pack_id_optional(struct buffer *out, const struct id *id)
{
    pack_bin(out, id->bytes, id_is_zero(id) ? 0 : sizeof id->bytes);
}

struct id unpack_id_optional(struct unpack *u)
{
    struct id id = {{0}};
    unpack_optional(u, id.bytes, sizeof id.bytes);
    return id;
}

void pack_digest_optional(struct buffer *out, const struct digest *digest)
{
    pack_bin(out, digest->bytes, digest_is_zero(digest) ? 0 : sizeof digest->bytes);
}

struct digest unpack_digest_optional(struct unpack *u)
{
    struct digest digest = {{0}};
    unpack_optional(u, digest.bytes, sizeof digest.bytes);
    return digest;
}

void pack_signature(struct buffer *out, const struct signature *signature)
{
    pack_bin(out, signature->bytes, sizeof signature->bytes);
}

struct signature unpack_signature(struct unpack *u)
{
    struct signature signature = {{0}};
    unpack_bin_exact(u, signature.bytes, sizeof signature.bytes);
    return signature;
}

void pack_public(struct buffer *out, const struct sign_public *key)
{
    pack_bin(out, key->bytes, sizeof key->bytes);
}

struct sign_public unpack_public(struct unpack *u)
{
    struct sign_public key = {{0}};
    unpack_bin_exact(u, key.bytes, sizeof key.bytes);
    return key;
}

bool label_valid(struct bytes text)
{
    if (text.size == 0 || text.size > LIMIT_NAME || !text_valid(text)) return false;
    return !memchr(text.data, '\n', text.size) && !memchr(text.data, '\t', text.size);
}

struct bytes unpack_label(struct unpack *u)
{
    struct bytes text = unpack_str(u, LIMIT_NAME);
    if (!label_valid(text)) unpack_fail(u, ERR_MALFORMED);
    return text;
}

struct bytes unpack_label_optional(struct unpack *u)
{
    struct bytes text = unpack_str(u, LIMIT_NAME);
    if (text.size != 0 && !label_valid(text)) unpack_fail(u, ERR_MALFORMED);
    return text;
}

struct bytes unpack_code(struct unpack *u, size_t least, size_t most)
{
    struct bytes text = unpack_str(u, most);
    if (text.size < least) unpack_fail(u, ERR_MALFORMED);
    for (size_t i = 0; i < text.size; i++)
        if (text.data[i] < 0x21 || text.data[i] > 0x7e) unpack_fail(u, ERR_MALFORMED);
    return text;
}

uint64_t unpack_range(struct unpack *u, uint64_t least, uint64_t most)
{
    uint64_t v = unpack_uint_max(u, most);
    if (v < least) unpack_fail(u, ERR_MALFORMED);
    return v;
}

uint64_t unpack_time(struct unpack *u) { return unpack_uint_max(u, TIME_MAX_MS); }

bool is_array(struct bytes encoded)
{
    return encoded.size != 0 &&
           ((encoded.data[0] & 0xf0) == 0x90 || encoded.data[0] == 0xdc || encoded.data[0] == 0xdd);
}

struct bytes unpack_array_raw(struct unpack *u)
{
    struct bytes raw = unpack_raw(u);
    if (!is_array(raw)) unpack_fail(u, ERR_MALFORMED);
    return raw;
}
