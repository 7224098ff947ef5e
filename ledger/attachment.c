#include "ledger/attachment.h"

#include <string.h>

#include "base/pack.h"
#include "crypto/aead.h"
#include "crypto/hash.h"

void attachment_encode(struct buffer *out, const uint8_t salt[static ATTACHMENT_SALT], struct bytes content)
{
    pack_array(out, 2);
    pack_bin(out, salt, ATTACHMENT_SALT);
    pack_bytes(out, content);
}

enum err attachment_decode(struct attachment *out, struct bytes in)
{
    struct unpack u = unpack_start(in);
    unpack_array_of(&u, 2);
    unpack_bin_exact(&u, out->salt, sizeof out->salt);
    out->content = unpack_bin(&u, LIMIT_ATTACHMENT - ATTACHMENT_OVERHEAD);
    return unpack_done(&u);
}

struct digest attachment_hash(const uint8_t salt[static ATTACHMENT_SALT], struct bytes content)
{
    struct bytes parts[] = {bytes_of(salt, ATTACHMENT_SALT), content};
    struct digest hash;
    hash_sha256_parts(&hash, parts, 2);
    return hash;
}

enum err attachment_check(struct attachment *out, struct bytes in, const struct digest *hash)
{
    if (attachment_decode(out, in) != OK) return ERR_ATTACHMENT;
    struct digest actual = attachment_hash(out->salt, out->content);
    return digest_equal(&actual, hash) ? OK : ERR_ATTACHMENT;
}

void person_encode(struct buffer *out, const struct person *person)
{
    pack_array(out, 5);
    pack_str(out, person->login);
    pack_str(out, person->name);
    pack_str(out, person->address);
    pack_str(out, person->designation);
    pack_str(out, person->hospital_number);
}

enum err person_decode(struct person *out, struct bytes in)
{
    struct unpack u = unpack_start(in);
    unpack_array_of(&u, 5);
    out->login = unpack_str(&u, LIMIT_NAME);
    out->name = unpack_str(&u, LIMIT_PERSON_TEXT);
    out->address = unpack_str(&u, LIMIT_PERSON_TEXT);
    out->designation = unpack_str(&u, LIMIT_PERSON_TEXT);
    out->hospital_number = unpack_str(&u, LIMIT_PERSON_TEXT);
    return unpack_done(&u);
}

void content_encode(struct buffer *out, const struct content *content)
{
    pack_array(out, 2);
    pack_bytes(out, content->capsule);
    pack_bytes(out, content->ciphertext);
}

enum err content_decode(struct content *out, struct bytes in)
{
    struct unpack u = unpack_start(in);
    unpack_array_of(&u, 2);
    out->capsule = unpack_bin(&u, LIMIT_CAPSULE);
    out->ciphertext = unpack_bin(&u, SIZE_MAX);
    if (out->capsule.size == 0 || out->ciphertext.size < AEAD_TAG_SIZE) unpack_fail(&u, ERR_MALFORMED);
    if (out->ciphertext.size > LIMIT_RECORD + AEAD_TAG_SIZE) unpack_fail(&u, ERR_RECORD_TOO_LARGE);
    return unpack_done(&u);
}

enum err note_check(struct bytes text)
{
    if (text.size > LIMIT_NOTE) return ERR_TOO_LARGE;
    return text_valid(text) ? OK : ERR_MALFORMED;
}
