#include "storage/log_format.h"

#include <assert.h>
#include <string.h>

#include "base/check.h"
#include "storage/crc32c.h"

#define RECORD_MAGIC 0x434c7231u /* "CLr1" */
#define PADDING 0xa5
#define CHECKED 68 /* header bytes in its own checksum */

static const uint8_t segment_magic[8] = {'C', 'N', 'S', 'L', 'M', 'L', 'O', 'G'};
static const char record_domain[] = "consilium/log/v1\n";
static const char segment_domain[] = "consilium/log/segment/v1\n";

static_assert(LOG_HEADER_SIZE % 8 == 0, "records start at multiples of 8");
static_assert(LIMIT_LOG_RECORD >= LIMIT_BLOCK + LOG_HEADER_SIZE + SEAL_OVERHEAD + 8, "a block's record fits");
static_assert(LOG_SEGMENT_SIZE >= LOG_DATA_START + LIMIT_LOG_RECORD + 2 * LIMIT_LOG_SNAPSHOT + 2 * KIB,
              "a segment's head and the largest block fit into a segment");

const char *log_record_name(enum log_record_type type)
{
    switch (type) {
    case LOG_STATE: return "state";
    case LOG_BLOCK: return "block";
    case LOG_TRUNCATE: return "truncate";
    case LOG_REPAIR: return "repair";
    case LOG_COMPACT: return "compact";
    }
    return "unknown";
}

void log_cipher_setup(struct log_cipher *c, const struct seal_key *key, const char *name,
                      const struct id *log_id)
{
    size_t length = strlen(name);
    CHECK(length <= LIMIT_NAME);
    c->key = key;
    uint8_t *p = c->prefix;
    memcpy(p, record_domain, sizeof record_domain - 1);
    p += sizeof record_domain - 1;
    memcpy(p, name, length);
    p += length;
    *p++ = '\n';
    memcpy(p, log_id->bytes, sizeof log_id->bytes);
    c->prefix_size = (size_t)(p - c->prefix) + sizeof log_id->bytes;
    CHECK(c->prefix_size <= sizeof c->prefix);
}

/* --- segment header: magic 8, version 4, size 4, sequence 4, zero 4, log id 16,
 * tag 8, sealed proof of the key 56, CRC-32C 4 --- */

#define PROOF 16
enum { AT_VERSION = 8, AT_SIZE = 12, AT_SEQUENCE = 16, AT_ZERO = 20, AT_ID = 24, AT_TAG = 40, AT_PROOF = 48,
       AT_CRC = AT_PROOF + PROOF + SEAL_OVERHEAD };
static_assert(AT_CRC + 4 == LOG_SEGMENT_HEADER_SIZE, "size of the segment header");

/* Additional data of the proof: domain, the header before it, the log's name. */
static struct bytes proof_additional(struct buffer *b, const uint8_t *header, const char *name)
{
    buffer_append(b, segment_domain, sizeof segment_domain - 1);
    buffer_append(b, header, AT_PROOF);
    buffer_append_text(b, name);
    CHECK(!b->failed);
    return buffer_bytes(b);
}

void log_segment_header_encode(uint8_t *out, const struct log_segment_header *h,
                               const struct seal_key *key, const char *name)
{
    static const uint8_t proof[PROOF];
    struct buffer additional = {0};
    memset(out, 0, LOG_SEGMENT_HEADER_SIZE);
    memcpy(out, segment_magic, sizeof segment_magic);
    put_be32(out + AT_VERSION, LOG_VERSION);
    put_be32(out + AT_SIZE, h->size);
    put_be32(out + AT_SEQUENCE, h->sequence);
    memcpy(out + AT_ID, h->log_id.bytes, sizeof h->log_id.bytes);
    put_be64(out + AT_TAG, h->tag);
    seal_rest(out + AT_PROOF, key, BYTES(proof), proof_additional(&additional, out, name));
    put_be32(out + AT_CRC, crc32c(out, AT_CRC));
    buffer_free(&additional);
}

enum err log_segment_header_decode(struct log_segment_header *h, const uint8_t *in,
                                   const struct seal_key *key, const char *name)
{
    uint8_t proof[PROOF];
    struct buffer additional = {0};
    if (memcmp(in, segment_magic, sizeof segment_magic) != 0) return ERR_CORRUPT;
    if (get_be32(in + AT_CRC) != crc32c(in, AT_CRC)) return ERR_CORRUPT;
    if (get_be32(in + AT_VERSION) != LOG_VERSION) return ERR_VERSION;
    h->size = get_be32(in + AT_SIZE);
    h->sequence = get_be32(in + AT_SEQUENCE);
    memcpy(h->log_id.bytes, in + AT_ID, sizeof h->log_id.bytes);
    h->tag = get_be64(in + AT_TAG);
    if (h->size < LOG_SEGMENT_MIN || h->size > LOG_SEGMENT_MAX || h->size % LOG_PAGE != 0) return ERR_CORRUPT;
    enum err code = seal_rest_open(proof, key, bytes_of(in + AT_PROOF, PROOF + SEAL_OVERHEAD),
                                   proof_additional(&additional, in, name));
    buffer_free(&additional);
    return code;
}

/* --- records --- */

uint32_t log_record_span(uint32_t sealed) { return (LOG_HEADER_SIZE + sealed + 8) / 8 * 8; }

static void header_encode(uint8_t *out, const struct log_header *h)
{
    put_be32(out, RECORD_MAGIC);
    out[4] = (uint8_t)h->type;
    out[5] = h->kind;
    out[6] = out[7] = 0;
    put_be32(out + 8, h->size);
    put_be32(out + 12, h->crc);
    put_be64(out + 16, h->tag);
    put_be64(out + 24, h->batch);
    put_be64(out + 32, h->index);
    put_be64(out + 40, h->term);
    put_be64(out + 48, h->low);
    put_be32(out + 56, h->truncations);
    put_be32(out + 60, h->batch_start);
    put_be32(out + 64, h->offset);
    put_be32(out + 68, 0);
}

static bool type_known(uint8_t type) { return type >= LOG_STATE && type <= LOG_COMPACT; }

bool log_header_decode(struct log_header *h, const uint8_t *in)
{
    if (get_be32(in) != RECORD_MAGIC || !type_known(in[4])) return false;
    if (get_be32(in + 68) != crc32c(in, CHECKED)) return false;
    h->type = (enum log_record_type)in[4];
    h->kind = in[5];
    h->size = get_be32(in + 8);
    h->crc = get_be32(in + 12);
    h->tag = get_be64(in + 16);
    h->batch = get_be64(in + 24);
    h->index = get_be64(in + 32);
    h->term = get_be64(in + 40);
    h->low = get_be64(in + 48);
    h->truncations = get_be32(in + 56);
    h->batch_start = get_be32(in + 60);
    h->offset = get_be32(in + 64);
    return h->size >= SEAL_OVERHEAD && h->size <= LIMIT_LOG_RECORD;
}

/* Additional data of a record's seal into `out`; returns its size. */
static size_t record_additional(uint8_t *out, const struct log_cipher *c, const struct log_header *h)
{
    struct log_header bare = *h;
    bare.crc = 0;
    memcpy(out, c->prefix, c->prefix_size);
    header_encode(out + c->prefix_size, &bare);
    return c->prefix_size + LOG_HEADER_SIZE;
}

uint32_t log_record_encode(uint8_t *at, struct log_header *h, const struct log_cipher *c,
                           struct bytes plain)
{
    uint8_t additional[sizeof c->prefix + LOG_HEADER_SIZE];
    CHECK(plain.size <= LIMIT_LOG_RECORD - SEAL_OVERHEAD && type_known(h->type));
    h->size = (uint32_t)plain.size + SEAL_OVERHEAD;
    uint32_t span = log_record_span(h->size);
    seal_rest(at + LOG_HEADER_SIZE, c->key, plain, bytes_of(additional, record_additional(additional, c, h)));
    memset(at + LOG_HEADER_SIZE + h->size, PADDING, span - LOG_HEADER_SIZE - h->size);
    h->crc = crc32c(at + LOG_HEADER_SIZE, span - LOG_HEADER_SIZE);
    header_encode(at, h);
    put_be32(at + 68, crc32c(at, CHECKED));
    return span;
}

bool log_record_check(const uint8_t *at, const struct log_header *h)
{
    return crc32c(at + LOG_HEADER_SIZE, log_record_span(h->size) - LOG_HEADER_SIZE) == h->crc;
}

enum err log_record_open(struct bytes *plain, uint8_t *at, const struct log_header *h,
                         const struct log_cipher *c)
{
    uint8_t additional[sizeof c->prefix + LOG_HEADER_SIZE];
    uint8_t *sealed = at + LOG_HEADER_SIZE;
    size_t size = record_additional(additional, c, h);
    if (seal_rest_open(sealed + SEAL_NONCE, c->key, bytes_of(sealed, h->size), bytes_of(additional, size)) != OK)
        return ERR_CORRUPT;
    *plain = bytes_of(sealed + SEAL_NONCE, h->size - SEAL_OVERHEAD);
    return OK;
}

bool log_written(const uint8_t *image, uint32_t from, uint32_t to)
{
    while (from < to) {
        uint32_t end = (from / LOG_SECTOR + 1) * LOG_SECTOR;
        uint8_t any = 0;
        if (end > to) end = to;
        for (; from < end; from++) any |= image[from];
        if (!any) return false;
    }
    return true;
}

/* --- payloads --- */

void log_state_encode(uint8_t out[static LOG_STATE_SIZE], const struct log_state *s)
{
    put_be64(out, s->vote);
    put_be64(out + 8, s->cosigned.index);
    put_be64(out + 16, s->cosigned.size);
    memcpy(out + 24, s->cosigned.root.bytes, 32);
    put_be64(out + 56, s->last_term);
    put_be64(out + 64, s->compact_index);
    put_be64(out + 72, s->compact_term);
    put_be32(out + 80, s->flags);
}

enum err log_state_decode(struct log_state *s, struct bytes in)
{
    if (in.size != LOG_STATE_SIZE) return ERR_CORRUPT;
    s->vote = get_be64(in.data);
    s->cosigned.index = get_be64(in.data + 8);
    s->cosigned.size = get_be64(in.data + 16);
    memcpy(s->cosigned.root.bytes, in.data + 24, 32);
    s->last_term = get_be64(in.data + 56);
    s->compact_index = get_be64(in.data + 64);
    s->compact_term = get_be64(in.data + 72);
    s->flags = get_be32(in.data + 80);
    return OK;
}

static void append_string(struct buffer *out, struct bytes s)
{
    uint8_t size[4];
    put_be32(size, (uint32_t)s.size);
    buffer_append(out, size, sizeof size);
    buffer_append_bytes(out, s);
}

void log_snapshot_encode(struct buffer *out, struct bytes config, struct bytes manifest)
{
    append_string(out, config);
    append_string(out, manifest);
}

static bool take_string(struct bytes *out, struct bytes *in)
{
    if (in->size < 4) return false;
    size_t size = get_be32(in->data);
    if (size > in->size - 4 || size > LIMIT_LOG_SNAPSHOT) return false;
    *out = bytes_of(in->data + 4, size);
    *in = bytes_of(in->data + 4 + size, in->size - 4 - size);
    return true;
}

enum err log_snapshot_decode(struct bytes *config, struct bytes *manifest, struct bytes in)
{
    return take_string(config, &in) && take_string(manifest, &in) && in.size == 0 ? OK : ERR_CORRUPT;
}
