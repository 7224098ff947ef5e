/* The frame reader: input cut into pieces as its own bytes say gives exactly
 * what the same input gives at once, and what is accepted is written back the
 * same by frame_append. The first bytes are the cuts; the first of them also says
 * how long a frame may be (bit 0), and whether the rest are frames as they are or the
 * sizes of frames to be made (bit 7): those are larger than an input. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/pack.h"
#include "net/frame.h"
#include "tests/lib/taken.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CUTS 4
#define SHORT 40         /* bytes of a frame, where few are allowed */
#define MADE_MOST 4      /* frames */
#define MADE_UNIT 2      /* bytes for each number of a size */
#define MADE_CUT 1000    /* bytes of a piece, for each number of a cut */

struct cuts {
    const uint8_t *cuts; /* CUTS of them; NULL: at once */
    size_t unit, limit;  /* of a piece, of a frame (0: the usual) */
};

static void feed(struct frame_reader *r, struct buffer *out, struct bytes piece, enum err *err, bool keep)
{
    struct frame f;
    frame_feed(r, piece);
    while ((*err = frame_next(r, &f)) == OK) {
        CHECK(frame_append(out, f.type, f.id, f.body) == OK);
        if (keep && (f.id & 1)) CHECK(frame_keep(r) == OK);
    }
}

/* All frames of `in`, written again; the error that ends them. */
static enum err read_all(struct buffer *out, struct bytes in, const struct cuts *how)
{
    struct frame_reader r = {.limit = how->limit};
    struct frame f;
    enum err err = ERR_NOT_FOUND;
    for (size_t at = 0, turn = 0; at < in.size && err == ERR_NOT_FOUND; turn++) {
        size_t n = how->cuts ? (how->cuts[turn % CUTS] + 1) * how->unit : in.size;
        if (n > in.size - at) n = in.size - at;
        uint8_t *piece = xmalloc(n);
        memcpy(piece, in.data + at, n);
        at += n;
        feed(&r, out, bytes_of(piece, n), &err, how->cuts != NULL);
        CHECK(frame_memory(&r) <= 2 * in.size + 64);
        free(piece);
    }
    if (err == ERR_NOT_FOUND)
        err = frame_end(&r);
    else if (err != OK)
        CHECK(frame_next(&r, &f) == err && frame_end(&r) == err && frame_memory(&r) == 0);
    frame_reader_free(&r);
    return err;
}

static void compare(struct bytes in, const uint8_t *cuts, size_t unit, size_t limit)
{
    struct buffer whole = {0}, pieces = {0};
    enum err first = read_all(&whole, in, &(struct cuts){NULL, 0, limit});
    enum err second = read_all(&pieces, in, &(struct cuts){cuts, unit, limit});
    CHECK(first == second);
    CHECK(bytes_equal(buffer_bytes(&whole), buffer_bytes(&pieces)));
    CHECK(whole.size <= in.size && (whole.size == 0 || memcmp(whole.data, in.data, whole.size) == 0));
    CHECK((first == OK) == (whole.size == in.size));
    fuzz_taken = first == OK && in.size > 0;
    buffer_free(&whole);
    buffer_free(&pieces);
}

/* Frames of the sizes that are listed (2 bytes each); what is left over comes behind them as it is. */
static void make_frames(struct buffer *out, struct bytes in)
{
    struct buffer body = {0};
    for (unsigned i = 0; i < MADE_MOST && in.size >= 2; i++) {
        size_t size = (size_t)get_be16(in.data) * MADE_UNIT;
        in = bytes_of(in.data + 2, in.size - 2);
        buffer_clear(&body);
        struct buffer content = {0};
        uint8_t *at = size ? buffer_extend(&content, size) : NULL;
        if (at) memset(at, (int)i, size);
        pack_bytes(&body, buffer_bytes(&content));
        CHECK(!body.failed && frame_append(out, i + 1, size, buffer_bytes(&body)) == OK);
        buffer_free(&content);
    }
    buffer_append_bytes(out, in);
    buffer_free(&body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buffer made = {0};
    if (size <= CUTS) return 0;
    struct bytes in = bytes_of(data + CUTS, size - CUTS);
    bool makes = data[0] & 0x80;
    if (makes) make_frames(&made, in);
    size_t limit = !(data[0] & 1) ? 0 : makes ? 16 * KIB : SHORT;
    compare(makes ? buffer_bytes(&made) : in, data, makes ? MADE_CUT : 1, limit);
    buffer_free(&made);
    return 0;
}
