/* Segments of the log as an adversary or a broken disk may leave them.
 *
 * First byte even: the rest is the image of a segment's records, as it is.
 * First byte odd: the rest describes records, which are encoded with good checksums
 * and seals, so that the replay sees strange but valid ones; then bytes are changed.
 *
 * Whatever comes, the replay ends, its view is consistent, and when there was no
 * damage, cutting the torn tail and replaying again gives the same and cuts nothing. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "crypto/random.h"
#include "storage/log_replay.h"
#include "tests/lib/taken.h"

#define SIZE LOG_SEGMENT_MIN
#define TAG 0x1122334455667788u

static const struct seal_key key = {.bytes = "fuzz"};

struct input {
    const uint8_t *at, *end;
};

static uint8_t take(struct input *in) { return in->at < in->end ? *in->at++ : 0; }

/* Small, or one that no log reaches: filling up to one in between only takes time. */
static uint64_t take_index(struct input *in, bool far)
{
    uint64_t index = take(in);
    unsigned shift = far ? take(in) % 64 : 0;
    return shift < 12 || shift > 23 ? index + (UINT64_C(1) << shift) - 1 : index;
}

static struct log_header take_header(struct input *in, uint32_t offset, uint64_t *batch, uint32_t *start)
{
    uint8_t flags = take(in);
    if (flags & 0x10) {
        ++*batch;
        *start = offset;
    }
    struct log_header h = {
        .type = (enum log_record_type)(LOG_STATE + flags % 5),
        .kind = flags,
        .tag = TAG,
        .batch = *batch,
        .index = take_index(in, flags & 0x20),
        .term = take(in),
        .low = flags & 0x40 ? LOG_NEVER : take(in),
        .truncations = flags & 0x80 ? take(in) : 0,
        .batch_start = *start,
        .offset = offset,
    };
    return h;
}

/* The payload that the type wants, or else some bytes. */
static struct bytes take_payload(struct input *in, uint8_t out[static 512], const struct log_header *h)
{
    uint8_t size = take(in);
    memset(out, size, 512);
    if (h->type == LOG_STATE && size % 8) {
        struct log_state s = {.vote = size, .last_term = take(in), .compact_index = take(in), .flags = size % 4};
        log_state_encode(out, &s);
        return bytes_of(out, LOG_STATE_SIZE);
    }
    if (h->type == LOG_COMPACT && size % 8) {
        struct buffer b = {0};
        log_snapshot_encode(&b, bytes_of(out, size), bytes_of(out, size / 2));
        size_t length = b.size;
        CHECK(length <= 512);
        memcpy(out, b.data, length);
        buffer_free(&b);
        return bytes_of(out, length);
    }
    return bytes_of(out, size);
}

static void build(uint8_t *image, struct input *in, const struct log_cipher *cipher)
{
    uint64_t batch = 1;
    uint32_t at = LOG_DATA_START, start = at;
    uint8_t plain[512];
    for (unsigned records = take(in) % 64; records > 0 && at < SIZE - 1024; records--) {
        struct log_header h = take_header(in, at, &batch, &start);
        struct bytes payload = take_payload(in, plain, &h);
        at += log_record_encode(image + at, &h, cipher, payload);
    }
    while (in->end - in->at >= 3) {
        uint32_t where = LOG_DATA_START + (take(in) << 8 | take(in)) % (SIZE - LOG_DATA_START);
        uint8_t change = take(in);
        if (change) image[where] ^= change;
        else memset(image + where / 512 * 512, 0, 512);
    }
}

static void check_view(const struct log_view *v)
{
    uint64_t damaged = 0;
    for (uint64_t i = v->base + 1; i <= log_view_last(v); i++) {
        const struct log_slot *s = log_view_slot(v, i);
        CHECK(s != NULL);
        damaged += s->place.segment == 0;
        CHECK(s->place.segment == 0 || s->place.offset + s->place.span <= SIZE);
    }
    CHECK(damaged == v->damaged && log_view_slot(v, v->base) == NULL);
    CHECK(log_view_slot(v, log_view_last(v) + 1) == NULL);
    CHECK(v->start + v->count <= v->capacity);
}

/* Replays a copy of the image; the caller frees the view. */
static struct log_replay replay(struct log_view *v, const uint8_t *image, const struct log_cipher *cipher)
{
    struct log_replay r = {.view = v, .cipher = cipher};
    struct log_image i = {.sequence = 1, .data = malloc(SIZE), .size = SIZE, .tag = TAG};
    CHECK(i.data != NULL);
    memcpy(i.data, image, SIZE);
    *v = (struct log_view){.low = LOG_NEVER};
    log_replay_probe(&r, &i);
    enum err code = log_replay_segment(&r, &i);
    CHECK(code == OK || code == ERR_FULL);
    CHECK(r.end >= LOG_DATA_START && r.end <= SIZE);
    log_view_finish(v);
    check_view(v);
    free(i.data);
    return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t image[SIZE];
    struct input in = {data, data + size};
    struct log_cipher cipher;
    struct log_view first, second;
    struct id id = {{0}};
    crypto_init();
    log_cipher_setup(&cipher, &key, "fuzz", &id);
    memset(image, 0, sizeof image);
    if (take(&in) & 1)
        build(image, &in, &cipher);
    else if (in.at < in.end)
        memcpy(image + LOG_DATA_START, in.at, (size_t)(in.end - in.at) < SIZE - LOG_DATA_START
               ? (size_t)(in.end - in.at) : SIZE - LOG_DATA_START);
    struct log_replay r = replay(&first, image, &cipher);
    fuzz_taken = r.last_batch > 0; /* a record, at least, was */
    if (r.cut && !r.damage) {
        memset(image + r.end, 0, SIZE - r.end);
        struct log_replay again = replay(&second, image, &cipher);
        CHECK(!again.cut && again.end == r.end);
        CHECK(second.base == first.base && second.count == first.count && second.damaged == first.damaged);
        CHECK(second.term == first.term && second.vote == first.vote && second.flags == first.flags);
        log_view_free(&second);
    }
    log_view_free(&first);
    return 0;
}
