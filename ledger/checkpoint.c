#include "ledger/checkpoint.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/pack.h"
#include "crypto/hash.h"
#include "ledger/tree.h"

#define COSIGNATURE_TYPE 0x04
#define COSIGNATURE_SIZE (4 + 8 + 64) /* key id, time, signature */

static const char dash[] = "\xe2\x80\x94 "; /* U+2014 and a space */

void checkpoint_set(struct checkpoint *out, const struct genesis *genesis, uint64_t size, const struct digest *root)
{
    *out = (struct checkpoint){.size = size, .root = *root};
    memcpy(out->origin, genesis->checkpoint_origin, sizeof genesis->checkpoint_origin);
}

void checkpoint_body(struct buffer *out, const struct checkpoint *checkpoint)
{
    buffer_printf(out, "%s\n%llu\n", checkpoint->origin, (unsigned long long)checkpoint->size);
    base64_append(out, BYTES(checkpoint->root.bytes));
    buffer_append_text(out, "\n");
}

/* --- cosigners --- */

/* C2SP signed-note: not empty, no spaces, no plus. We allow visible ASCII only. */
static bool name_valid(struct bytes name)
{
    for (size_t i = 0; i < name.size; i++)
        if (name.data[i] <= 0x20 || name.data[i] > 0x7e || name.data[i] == '+') return false;
    return name.size >= 1 && name.size < COSIGNER_NAME_SIZE;
}

void cosigner_set(struct cosigner *out, const char *name, const struct sign_public *key)
{
    static const uint8_t type[] = {'\n', COSIGNATURE_TYPE};
    struct bytes parts[] = {bytes_text(name), BYTES(type), BYTES(key->bytes)};
    struct digest hash;
    CHECK(name_valid(parts[0]));
    *out = (struct cosigner){.key = *key};
    memcpy(out->name, name, parts[0].size);
    hash_sha256_parts(&hash, parts, 3);
    memcpy(out->key_id, hash.bytes, sizeof out->key_id);
}

void cosigner_of_member(struct cosigner *out, const struct genesis *genesis, uint32_t index)
{
    const struct descriptor *member = genesis_member(genesis, index);
    char name[COSIGNER_NAME_SIZE];
    CHECK(member);
    snprintf(name, sizeof name, "%s/%s", genesis->origin, member->name);
    cosigner_set(out, name, &member->keys.cosign);
}

uint32_t cosigners_of_genesis(struct cosigner out[static LIMIT_NODES], const struct genesis *genesis)
{
    for (uint32_t i = 0; i < genesis->member_count; i++)
        cosigner_of_member(&out[i], genesis, i + 1);
    return genesis->member_count;
}

void cosigner_vkey(struct buffer *out, const struct cosigner *cosigner)
{
    char hex[2 * sizeof cosigner->key_id + 1];
    uint8_t key[1 + sizeof cosigner->key] = {COSIGNATURE_TYPE};
    hex_format(hex, cosigner->key_id, sizeof cosigner->key_id);
    memcpy(key + 1, cosigner->key.bytes, sizeof cosigner->key);
    buffer_printf(out, "%s+%s+", cosigner->name, hex);
    base64_append(out, BYTES(key));
}

/* base64 of exactly `size` bytes. */
static bool decode_exact(void *out, size_t size, struct bytes text)
{
    struct buffer raw = {0};
    bool ok = text.size <= 4 * ((size + 2) / 3) && base64_decode(&raw, text) == OK && raw.size == size;
    if (ok) memcpy(out, raw.data, size);
    buffer_free(&raw);
    return ok;
}

/* name, 8 hex digits, type and key of a vkey. */
static bool split_vkey(struct bytes vkey, char name[static COSIGNER_NAME_SIZE], uint8_t key_id[static 4],
                       uint8_t key[static 33])
{
    const uint8_t *plus = vkey.size ? memchr(vkey.data, '+', vkey.size) : NULL;
    if (!plus) return false;
    struct bytes first = bytes_of(vkey.data, (size_t)(plus - vkey.data));
    struct bytes rest = bytes_of(plus + 1, vkey.size - first.size - 1);
    if (!name_valid(first) || rest.size < 9 || rest.data[8] != '+') return false;
    char hex[9] = {0}, again[9];
    memcpy(name, first.data, first.size);
    name[first.size] = '\0';
    memcpy(hex, rest.data, 8);
    if (hex_parse(key_id, 4, hex) != OK) return false;
    hex_format(again, key_id, 4);
    return strcmp(hex, again) == 0 && decode_exact(key, 33, bytes_of(rest.data + 9, rest.size - 9));
}

enum err cosigner_parse(struct cosigner *out, struct bytes vkey)
{
    char name[COSIGNER_NAME_SIZE];
    uint8_t key_id[4], key[33];
    struct sign_public public_key;
    if (!split_vkey(vkey, name, key_id, key)) return ERR_SYNTAX;
    memcpy(public_key.bytes, key + 1, sizeof public_key.bytes);
    cosigner_set(out, name, &public_key);
    return key[0] == COSIGNATURE_TYPE && memcmp(out->key_id, key_id, sizeof key_id) == 0 ? OK : ERR_INVALID;
}

/* --- cosignatures --- */

static void signed_text(struct buffer *out, uint64_t time_s, struct bytes body)
{
    buffer_printf(out, "cosignature/v1\ntime %llu\n", (unsigned long long)time_s);
    buffer_append_bytes(out, body);
    CHECK(!out->failed);
}

static enum err verify_body(const struct cosignature *cosignature, struct bytes body, const struct sign_public *key)
{
    if (cosignature->time_s == 0) return ERR_BAD_SIGNATURE;
    struct buffer message = {0};
    signed_text(&message, cosignature->time_s, body);
    enum err e = sign_verify(&cosignature->signature, key, buffer_bytes(&message));
    buffer_free(&message);
    return e;
}

void checkpoint_cosign(struct cosignature *out, const struct checkpoint *checkpoint, uint64_t time_s,
                       const struct sign_secret *secret)
{
    CHECK(time_s != 0);
    struct buffer body = {0}, message = {0};
    checkpoint_body(&body, checkpoint);
    CHECK(!body.failed);
    signed_text(&message, time_s, buffer_bytes(&body));
    out->time_s = time_s;
    sign_message(&out->signature, secret, buffer_bytes(&message));
    buffer_free(&message);
    buffer_free(&body);
}

enum err checkpoint_cosignature_verify(const struct cosignature *cosignature, const struct checkpoint *checkpoint,
                                       const struct sign_public *key)
{
    struct buffer body = {0};
    checkpoint_body(&body, checkpoint);
    CHECK(!body.failed);
    enum err e = verify_body(cosignature, buffer_bytes(&body), key);
    buffer_free(&body);
    return e;
}

void checkpoint_format(struct buffer *out, const struct checkpoint *checkpoint, const struct cosigner *cosigners,
                       const struct cosignature *cosignatures, uint32_t count)
{
    checkpoint_body(out, checkpoint);
    buffer_append_text(out, "\n");
    for (uint32_t i = 0; i < count; i++) {
        if (cosignatures[i].time_s == 0) continue;
        uint8_t payload[COSIGNATURE_SIZE];
        memcpy(payload, cosigners[i].key_id, 4);
        put_be64(payload + 4, cosignatures[i].time_s);
        memcpy(payload + 12, cosignatures[i].signature.bytes, sizeof cosignatures[i].signature);
        buffer_printf(out, "%s%s ", dash, cosigners[i].name);
        base64_append(out, BYTES(payload));
        buffer_append_text(out, "\n");
    }
}

/* --- reading notes --- */

static bool take_line(struct bytes *rest, struct bytes *line)
{
    const uint8_t *end = rest->size ? memchr(rest->data, '\n', rest->size) : NULL;
    if (!end) return false;
    *line = bytes_of(rest->data, (size_t)(end - rest->data));
    *rest = bytes_of(end + 1, rest->size - line->size - 1);
    return true;
}

/* Decimal without leading zeros, at most TREE_SIZE_MAX. */
static bool parse_size(uint64_t *out, struct bytes text)
{
    uint64_t n = 0;
    if (text.size == 0 || text.size > 19 || (text.data[0] == '0' && text.size > 1)) return false;
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') return false;
        n = n * 10 + (uint64_t)(text.data[i] - '0'); /* 19 digits fit into 64 bits */
    }
    *out = n;
    return n <= TREE_SIZE_MAX;
}

static bool parse_body(struct note *out, struct bytes *rest)
{
    struct bytes origin, size, root, empty;
    const uint8_t *start = rest->data;
    if (!take_line(rest, &origin) || !take_line(rest, &size) || !take_line(rest, &root)) return false;
    out->body = bytes_of(start, (size_t)(rest->data - start));
    if (!name_valid(origin) || origin.size >= sizeof out->checkpoint.origin) return false;
    memcpy(out->checkpoint.origin, origin.data, origin.size);
    return parse_size(&out->checkpoint.size, size) &&
           decode_exact(out->checkpoint.root.bytes, sizeof out->checkpoint.root.bytes, root) &&
           take_line(rest, &empty) && empty.size == 0;
}

/* U+2014, space, name, space, base64 of a key id and at least one byte more. */
static bool parse_line(struct note_line *out, struct bytes line)
{
    const size_t prefix = sizeof dash - 1;
    if (line.size <= prefix || memcmp(line.data, dash, prefix) != 0) return false;
    const uint8_t *name = line.data + prefix;
    const uint8_t *space = memchr(name, ' ', line.size - prefix);
    if (!space) return false;
    out->name = bytes_of(name, (size_t)(space - name));
    out->encoded = bytes_of(space + 1, line.size - prefix - out->name.size - 1);
    if (out->name.size == 0 || memchr(name, '+', out->name.size) || memchr(name, '\t', out->name.size)) return false;

    struct buffer raw = {0};
    bool ok = base64_decode(&raw, out->encoded) == OK && raw.size > sizeof out->key_id;
    if (ok) memcpy(out->key_id, raw.data, sizeof out->key_id);
    out->is_cosignature = ok && raw.size == COSIGNATURE_SIZE;
    if (out->is_cosignature) {
        out->cosignature.time_s = get_be64(raw.data + 4);
        memcpy(out->cosignature.signature.bytes, raw.data + 12, sizeof out->cosignature.signature);
    }
    buffer_free(&raw);
    return ok;
}

enum err note_parse(struct note *out, struct bytes text)
{
    *out = (struct note){0};
    struct bytes line;
    if (text.size > LIMIT_CHECKPOINT_NOTE) return ERR_TOO_LARGE;
    if (!text_valid(text) || !parse_body(out, &text)) return ERR_CHECKPOINT;
    while (text.size != 0) {
        if (out->count == LIMIT_NOTE_LINES) return ERR_TOO_LARGE;
        if (!take_line(&text, &line) || !parse_line(&out->lines[out->count], line)) return ERR_CHECKPOINT;
        out->count++;
    }
    return out->count == 0 ? ERR_CHECKPOINT : OK;
}

static int find_cosigner(const struct note_line *line, const struct cosigner *cosigners, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (bytes_equal(line->name, bytes_text(cosigners[i].name)) &&
            memcmp(line->key_id, cosigners[i].key_id, sizeof line->key_id) == 0)
            return (int)i;
    return -1;
}

enum err note_verify(uint32_t *valid, const struct note *note, const char *origin, const struct cosigner *cosigners,
                     uint32_t count, uint32_t k)
{
    uint32_t seen = 0;
    CHECK(count <= 32);
    if (valid) *valid = 0;
    if (strcmp(note->checkpoint.origin, origin) != 0) return ERR_CHECKPOINT;
    for (uint32_t i = 0; i < note->count; i++) {
        const struct note_line *line = &note->lines[i];
        int who = find_cosigner(line, cosigners, count);
        if (who < 0) continue;
        if (seen >> who & 1 || !line->is_cosignature ||
            verify_body(&line->cosignature, note->body, &cosigners[who].key) != OK)
            return ERR_CHECKPOINT;
        seen |= 1u << who;
    }
    if (valid) *valid = seen;
    return (uint32_t)__builtin_popcount(seen) >= k ? OK : ERR_TOO_FEW_COSIGNATURES;
}

enum err checkpoint_verify(struct checkpoint *out, struct bytes text, const struct genesis *genesis)
{
    struct cosigner cosigners[LIMIT_NODES];
    struct note note;
    uint32_t count = cosigners_of_genesis(cosigners, genesis);
    enum err e = note_parse(&note, text);
    if (e == OK) e = note_verify(NULL, &note, genesis->checkpoint_origin, cosigners, count, genesis->quorum);
    if (e == OK) *out = note.checkpoint;
    return e;
}

/* --- for people --- */

/* Whether it found the line that makes the whole note invalid. */
static bool explain_lines(char out[static CHECKPOINT_WHY], uint32_t *known, const struct note *note,
                          const struct cosigner *cosigners, uint32_t count)
{
    *known = 0;
    for (uint32_t i = 0; i < note->count; i++) {
        const struct note_line *line = &note->lines[i];
        int who = find_cosigner(line, cosigners, count);
        if (who < 0) continue;
        bool twice = *known >> who & 1;
        if (!twice && line->is_cosignature && verify_body(&line->cosignature, note->body, &cosigners[who].key) == OK) {
            *known |= 1u << who;
            continue;
        }
        if (twice)
            snprintf(out, CHECKPOINT_WHY, "%.150s cosigned it twice", cosigners[who].name);
        else
            snprintf(out, CHECKPOINT_WHY, "the cosignature of %.150s is not one of this text", cosigners[who].name);
        return true;
    }
    return false;
}

void checkpoint_explain(char out[static CHECKPOINT_WHY], struct bytes text, const struct genesis *genesis)
{
    struct cosigner cosigners[LIMIT_NODES];
    struct note note;
    uint32_t known, count = cosigners_of_genesis(cosigners, genesis);
    enum err e = note_parse(&note, text);
    if (e != OK)
        snprintf(out, CHECKPOINT_WHY, "it is no checkpoint (%s)", err_text(e));
    else if (strcmp(note.checkpoint.origin, genesis->checkpoint_origin) != 0)
        snprintf(out, CHECKPOINT_WHY, "it is of another cluster, %.150s", note.checkpoint.origin);
    else if (!explain_lines(out, &known, &note, cosigners, count))
        snprintf(out, CHECKPOINT_WHY, "%d of its nodes cosigned it, but it needs %u%s", __builtin_popcount(known),
                 genesis->quorum, (uint32_t)__builtin_popcount(known) < note.count ? "; others don't count" : "");
}
