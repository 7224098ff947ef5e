#include "ledger/evidence.h"

#include <string.h>

#include "base/check.h"
#include "base/pack.h"
#include "crypto/hash.h"
#include "ledger/block.h"
#include "ledger/checkpoint.h"

#define VERSION 1
#define LINE 64 /* base64 characters in a line of a file */

static const char begin_line[] = "-----BEGIN CONSILIUM EVIDENCE-----";
static const char end_line[] = "-----END CONSILIUM EVIDENCE-----";
static const char commit_tag[] = "consilium/commit/v1\n", tell_tag[] = "consilium/tell/v1\n";
#define SIGNED_MAX 160

const char *evidence_kind_text(enum evidence_kind kind)
{
    switch (kind) {
#define X(name, number, text, meaning)                                                             \
    case name: return text;
        EVIDENCE_LIST(X)
#undef X
    }
    return "unknown";
}

const char *evidence_kind_meaning(enum evidence_kind kind)
{
    switch (kind) {
#define X(name, number, text, meaning)                                                             \
    case name: return meaning;
        EVIDENCE_LIST(X)
#undef X
    }
    return "unknown";
}

/* ---- statements ---- */

static uint8_t *put(uint8_t *at, const void *data, size_t size)
{
    memcpy(at, data, size);
    return at + size;
}

static uint8_t *put_number(uint8_t *at, uint64_t v)
{
    put_be64(at, v);
    return at + 8;
}

static struct bytes commit_bytes(uint8_t out[static SIGNED_MAX], const struct statement *s,
                                 const struct digest *cluster)
{
    uint8_t *at = put(out, commit_tag, sizeof commit_tag - 1);
    at = put(at, cluster->bytes, sizeof cluster->bytes);
    at = put_number(put_number(at, s->term), s->index);
    at = put(at, s->hash.bytes, sizeof s->hash.bytes);
    return bytes_of(out, (size_t)(at - out));
}

static struct bytes tell_bytes(uint8_t out[static SIGNED_MAX], const struct statement *s, const struct digest *cluster)
{
    uint8_t *at = put(out, tell_tag, sizeof tell_tag - 1);
    at = put(at, cluster->bytes, sizeof cluster->bytes);
    at = put_number(at, s->size);
    at = put(at, s->hash.bytes, sizeof s->hash.bytes);
    at = put_number(put_number(at, s->index), s->term);
    return bytes_of(out, (size_t)(at - out));
}

/* What the message key signs. */
static struct bytes signed_bytes(uint8_t out[static SIGNED_MAX], const struct statement *s,
                                 const struct digest *cluster)
{
    struct block_place place = {.cluster = *cluster, .term = s->term, .index = s->index, .hash = s->hash};
    switch (s->kind) {
    case STATEMENT_BLOCK: block_signed_bytes(out, &place); return bytes_of(out, BLOCK_SIGNED_SIZE);
    case STATEMENT_COMMIT: return commit_bytes(out, s, cluster);
    case STATEMENT_TELL: return tell_bytes(out, s, cluster);
    case STATEMENT_COSIGNED: break;
    }
    CHECK(!"a statement of the message key");
    return (struct bytes){0};
}

void evidence_statement_sign(struct statement *s, const struct digest *cluster, const struct sign_secret *message_key)
{
    uint8_t message[SIGNED_MAX];
    sign_message(&s->signature, message_key, signed_bytes(message, s, cluster));
}

enum err evidence_statement_verify(const struct statement *s, const struct genesis *genesis, unsigned signer)
{
    uint8_t message[SIGNED_MAX];
    const struct descriptor *member = genesis_member(genesis, signer);
    if (!member) return ERR_INVALID;
    if (s->kind != STATEMENT_COSIGNED)
        return sign_verify(&s->signature, &member->keys.message, signed_bytes(message, s, &genesis->cluster));
    struct checkpoint checkpoint;
    struct cosignature cosignature = {.time_s = s->time_s, .signature = s->signature};
    checkpoint_set(&checkpoint, genesis, s->size, &s->hash);
    return checkpoint_cosignature_verify(&cosignature, &checkpoint, &member->keys.cosign);
}

static bool is_of_block(enum statement_kind kind) { return kind == STATEMENT_BLOCK || kind == STATEMENT_COMMIT; }

bool evidence_contradict(const struct statement *a, const struct statement *b)
{
    bool same_place = a->term == b->term && a->index == b->index, same_hash = digest_equal(&a->hash, &b->hash);
    if (is_of_block(a->kind) && is_of_block(b->kind)) return same_place && !same_hash;
    if (a->kind != b->kind) return false;
    if (a->kind == STATEMENT_TELL) return same_place && (a->size != b->size || !same_hash);
    return a->size == b->size && !same_hash;
}

/* ---- evidence ---- */

static void encode_statement(struct buffer *out, const struct statement *s)
{
    pack_array(out, s->kind == STATEMENT_TELL ? 6 : 5);
    pack_uint(out, s->kind);
    if (s->kind != STATEMENT_COSIGNED) {
        pack_uint(out, s->term);
        pack_uint(out, s->index);
    }
    if (!is_of_block(s->kind)) pack_uint(out, s->size);
    pack_digest(out, &s->hash);
    if (s->kind == STATEMENT_COSIGNED) pack_uint(out, s->time_s);
    pack_bin(out, s->signature.bytes, sizeof s->signature.bytes);
}

static struct statement decode_statement(struct unpack *u)
{
    struct statement s = {0};
    uint32_t count = unpack_array(u, 6);
    s.kind = (enum statement_kind)unpack_uint_max(u, STATEMENT_COSIGNED);
    if (s.kind < STATEMENT_BLOCK || count != (s.kind == STATEMENT_TELL ? 6 : 5)) unpack_fail(u, ERR_MALFORMED);
    if (s.kind != STATEMENT_COSIGNED) {
        s.term = unpack_uint(u);
        s.index = unpack_uint(u);
    }
    if (!is_of_block(s.kind)) s.size = unpack_uint(u);
    s.hash = unpack_digest(u);
    if (s.kind == STATEMENT_COSIGNED) s.time_s = unpack_uint(u);
    unpack_bin_exact(u, s.signature.bytes, sizeof s.signature.bytes);
    return s;
}

static bool in_order(const struct statement *a, const struct statement *b)
{
    struct buffer first = {0}, second = {0};
    encode_statement(&first, a);
    encode_statement(&second, b);
    CHECK(!first.failed && !second.failed);
    bool yes = bytes_compare(buffer_bytes(&first), buffer_bytes(&second)) < 0;
    buffer_free(&first);
    buffer_free(&second);
    return yes;
}

enum err evidence_make(struct evidence *out, const struct genesis *genesis, unsigned signer, const struct statement *a,
                       const struct statement *b)
{
    bool order = in_order(a, b);
    *out = (struct evidence){.cluster = genesis->cluster, .signer = signer, .first = order ? *a : *b,
                             .second = order ? *b : *a};
    return evidence_verify(out, genesis);
}

enum err evidence_verify(const struct evidence *e, const struct genesis *genesis)
{
    if (!digest_equal(&e->cluster, &genesis->cluster)) return ERR_OTHER_CLUSTER;
    if (!evidence_contradict(&e->first, &e->second)) return ERR_INVALID;
    enum err code = evidence_statement_verify(&e->first, genesis, e->signer);
    return code == OK ? evidence_statement_verify(&e->second, genesis, e->signer) : code;
}

enum evidence_kind evidence_kind(const struct evidence *e)
{
    bool mixed = e->first.kind != e->second.kind;
    switch (e->first.kind) {
    case STATEMENT_BLOCK: return mixed ? EVIDENCE_OTHER_COMMIT : EVIDENCE_BLOCKS;
    case STATEMENT_COMMIT: return EVIDENCE_COMMITS;
    case STATEMENT_TELL: return EVIDENCE_ROOTS;
    case STATEMENT_COSIGNED: return EVIDENCE_CHECKPOINTS;
    }
    CHECK(!"a statement that was decoded");
    return EVIDENCE_BLOCKS;
}

uint64_t evidence_place(const struct evidence *e)
{
    return e->first.kind == STATEMENT_COSIGNED ? e->first.size : e->first.index;
}

void evidence_encode(struct buffer *out, const struct evidence *e)
{
    pack_array(out, 5);
    pack_uint(out, VERSION);
    pack_digest(out, &e->cluster);
    pack_uint(out, e->signer);
    encode_statement(out, &e->first);
    encode_statement(out, &e->second);
}

enum err evidence_decode(struct evidence *out, struct bytes in)
{
    *out = (struct evidence){0};
    if (in.size > EVIDENCE_SIZE) return ERR_TOO_LARGE;
    struct unpack u = unpack_start(in);
    unpack_array_of(&u, 5);
    if (unpack_uint(&u) != VERSION) unpack_fail(&u, ERR_VERSION);
    out->cluster = unpack_digest(&u);
    out->signer = (unsigned)unpack_uint_max(&u, LIMIT_NODES);
    out->first = decode_statement(&u);
    out->second = decode_statement(&u);
    enum err e = unpack_done(&u);
    return e == OK && !in_order(&out->first, &out->second) ? ERR_NOT_CANONICAL : e;
}

enum err evidence_open(struct evidence *out, struct bytes in, const struct genesis *genesis)
{
    enum err e = evidence_decode(out, in);
    return e == OK ? evidence_verify(out, genesis) : e;
}

void evidence_id(struct digest *out, struct bytes encoded) { hash_sha256(out, encoded.data, encoded.size); }

/* ---- files ---- */

static void explain_statement(struct buffer *out, const struct statement *s)
{
    char hash[2 * sizeof s->hash.bytes + 1];
    hex_format(hash, s->hash.bytes, sizeof s->hash.bytes);
    unsigned long long term = s->term, index = s->index, size = s->size;
    switch (s->kind) {
    case STATEMENT_BLOCK:
        buffer_printf(out, "  signed as leader of term %llu: the block at index %llu is %s\n", term, index, hash);
        return;
    case STATEMENT_COMMIT:
        buffer_printf(out, "  signed as leader of term %llu: committed at index %llu is the block %s\n", term, index,
                      hash);
        return;
    case STATEMENT_TELL:
        buffer_printf(out, "  signed: after index %llu of term %llu the ledger has %llu leaves and the root %s\n",
                      index, term, size, hash);
        return;
    case STATEMENT_COSIGNED:
        buffer_printf(out, "  co-signed at POSIX time %llu: %llu leaves have the root %s\n",
                      (unsigned long long)s->time_s, size, hash);
        return;
    }
}

void evidence_explain(struct buffer *out, const struct evidence *e, const struct genesis *genesis)
{
    const struct descriptor *member = genesis_member(genesis, e->signer);
    char cluster[2 * sizeof e->cluster.bytes + 1];
    hex_format(cluster, e->cluster.bytes, sizeof e->cluster.bytes);
    buffer_printf(out, "Node %u (%s, %s) of cluster %s %s.\n", e->signer, member ? member->name : "?",
                  member ? member->hospital : "?", cluster, evidence_kind_meaning(evidence_kind(e)));
    explain_statement(out, &e->first);
    explain_statement(out, &e->second);
}

void evidence_format(struct buffer *out, const struct evidence *e, const struct genesis *genesis)
{
    struct buffer encoded = {0}, text = {0};
    evidence_explain(out, e, genesis);
    buffer_append_text(out, "No honest node signs both. Check it with the genesis file alone: "
                            "consilium evidence verify FILE\n");
    evidence_encode(&encoded, e);
    base64_append(&text, buffer_bytes(&encoded));
    buffer_printf(out, "%s\n", begin_line);
    for (size_t at = 0; at < text.size; at += LINE) {
        buffer_append(out, text.data + at, text.size - at < LINE ? text.size - at : LINE);
        buffer_append_text(out, "\n");
    }
    buffer_printf(out, "%s\n", end_line);
    if (encoded.failed || text.failed) out->failed = true;
    buffer_free(&encoded);
    buffer_free(&text);
}

static bool next_line(struct bytes *rest, struct bytes *line)
{
    const uint8_t *end = rest->size ? memchr(rest->data, '\n', rest->size) : NULL;
    if (!end) return false;
    *line = bytes_of(rest->data, (size_t)(end - rest->data));
    *rest = bytes_of(end + 1, rest->size - line->size - 1);
    return true;
}

enum err evidence_parse(struct buffer *encoded, struct bytes text)
{
    struct bytes line;
    struct buffer joined = {0};
    bool begun = false, ended = false;
    if (text.size > EVIDENCE_TEXT) return ERR_TOO_LARGE;
    while (!ended && next_line(&text, &line)) {
        if (!begun)
            begun = bytes_equal(line, bytes_text(begin_line));
        else if (bytes_equal(line, bytes_text(end_line)))
            ended = true;
        else if (line.size == 0 || line.size > LINE || joined.size % LINE != 0) /* only the last one is shorter */
            break;
        else
            buffer_append_bytes(&joined, line);
    }
    enum err e = ended && joined.size && text.size == 0 ? OK : ERR_SYNTAX;
    if (e == OK && joined.failed) e = ERR_NOMEM;
    if (e == OK && base64_decode(encoded, buffer_bytes(&joined)) != OK) e = ERR_SYNTAX;
    buffer_free(&joined);
    return e;
}
