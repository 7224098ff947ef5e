#include "ledger/record.h"

#include <string.h>

#include "base/check.h"
#include "crypto/hash.h"
#include "crypto/tdh2.h"
#include "ledger/fields.h"

char confidentiality_letter(enum confidentiality conf)
{
    switch (conf) {
    case CONF_NORMAL: return 'N';
    case CONF_RESTRICTED: return 'R';
    case CONF_VERY_RESTRICTED: return 'V';
    }
    return '?';
}

enum err confidentiality_parse(enum confidentiality *out, const char *text)
{
    if (text[0] == '\0' || text[1] != '\0') return ERR_INVALID;
    switch (text[0]) {
    case 'N':
    case 'n': *out = CONF_NORMAL; return OK;
    case 'R':
    case 'r': *out = CONF_RESTRICTED; return OK;
    case 'V':
    case 'v': *out = CONF_VERY_RESTRICTED; return OK;
    }
    return ERR_INVALID;
}

void record_context_encode(struct buffer *out, const struct record_context *c)
{
    pack_array(out, 6);
    pack_digest(out, &c->cluster);
    pack_id(out, &c->patient);
    pack_id(out, &c->record);
    pack_uint(out, c->version);
    pack_uint(out, c->conf);
    pack_id(out, &c->author);
}

enum err record_context_decode(struct record_context *out, struct bytes in)
{
    struct unpack u = unpack_start(in);
    unpack_array_of(&u, 6);
    out->cluster = unpack_digest(&u);
    out->patient = unpack_id_required(&u);
    out->record = unpack_id_required(&u);
    out->version = unpack_range(&u, 1, RECORD_VERSION_MAX);
    out->conf = (enum confidentiality)unpack_uint_max(&u, CONF_MAX);
    out->author = unpack_id_required(&u);
    return unpack_done(&u);
}

struct digest record_label(struct bytes context, struct bytes ciphertext)
{
    struct digest hash;
    hash_sha256(&hash, ciphertext.data, ciphertext.size);
    return tdh2_label(context, &hash);
}

struct digest record_content_tag(struct bytes key, struct bytes content)
{
    struct bytes parts[] = {bytes_text("consilium/content-tag/v1\n"), content};
    struct digest tag;
    hmac_sha256_parts(&tag, key, parts, 2);
    return tag;
}

struct id record_id_derive(struct bytes key, const struct id *patient, struct bytes source)
{
    struct bytes parts[] = {bytes_text("consilium/record-id/v1\n"), BYTES(patient->bytes), source};
    struct digest whole;
    struct id id;
    hmac_sha256_parts(&whole, key, parts, 3);
    memcpy(id.bytes, whole.bytes, sizeof id.bytes);
    return id;
}
