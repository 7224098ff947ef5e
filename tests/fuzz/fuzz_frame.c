/* The frame reader: input cut into pieces as its own bytes say gives exactly
 * what the same input gives at once, and what is accepted is written back the
 * same by frame_append. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "net/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* All frames of `in`, written again; the error that ends them. */
static enum err read_all(struct buffer *out, struct bytes in, const uint8_t *cuts, size_t cut_count)
{
    struct frame_reader r = {0};
    struct frame f;
    enum err err = ERR_NOT_FOUND;
    for (size_t at = 0, turn = 0; at < in.size && err == ERR_NOT_FOUND; turn++) {
        size_t n = cut_count ? (size_t)cuts[turn % cut_count] + 1 : in.size;
        if (n > in.size - at) n = in.size - at;
        uint8_t *piece = xmalloc(n);
        memcpy(piece, in.data + at, n);
        at += n;
        frame_feed(&r, bytes_of(piece, n));
        while ((err = frame_next(&r, &f)) == OK) {
            CHECK(frame_append(out, f.type, f.id, f.body) == OK);
            if (cut_count && (f.id & 1)) CHECK(frame_keep(&r) == OK);
        }
        CHECK(frame_memory(&r) <= 2 * in.size + 64);
        free(piece);
    }
    if (err == ERR_NOT_FOUND) err = frame_end(&r);
    frame_reader_free(&r);
    return err;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buffer whole = {0}, pieces = {0};
    size_t cuts = size > 8 ? 4 : 0;
    struct bytes in = bytes_of(data + cuts, size - cuts);
    enum err first = read_all(&whole, in, NULL, 0);
    enum err second = read_all(&pieces, in, data, cuts);
    CHECK(first == second);
    CHECK(bytes_equal(buffer_bytes(&whole), buffer_bytes(&pieces)));
    CHECK(whole.size <= in.size && (whole.size == 0 || memcmp(whole.data, in.data, whole.size) == 0));
    buffer_free(&whole);
    buffer_free(&pieces);
    return 0;
}
