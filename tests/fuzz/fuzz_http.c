/* The way of an HTTP request: what is read in pieces, as the input's own bytes say, gives the same
 * requests as what is read at once; paths of tiles are written back the same. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "ledger/tile.h"
#include "net/http_request.h"
#include "tests/lib/taken.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* In memory of its own size, so that reading beyond it is seen. */
static enum http_outcome feed(struct http_reader *r, size_t *used, struct bytes in)
{
    uint8_t *copy = xmalloc(in.size);
    memcpy(copy, in.data, in.size);
    enum http_outcome outcome = http_reader_feed(r, used, bytes_of(copy, in.size));
    free(copy);
    return outcome;
}

static void look_at_path(const char *path)
{
    struct tile tile;
    bool entries;
    struct buffer again = {0};
    if (tile_path_parse(&tile, &entries, bytes_text(path + 1)) != OK) return;
    CHECK(tile.width >= 1 && tile.width <= TILE_WIDTH);
    CHECK(tile_width_at(TREE_SIZE_MAX, tile.level, tile.index) <= TILE_WIDTH);
    tile_path_append(&again, &tile, entries);
    CHECK(again.size <= TILE_PATH_MAX && bytes_equal(buffer_bytes(&again), bytes_text(path + 1)));
    buffer_free(&again);
}

static void note_request(struct buffer *out, const struct http_request *q)
{
    CHECK(q->path[0] == '/' && strlen(q->path) <= LIMIT_HTTP_TARGET && strlen(q->if_none_match) <= LIMIT_HTTP_TAG);
    look_at_path(q->path);
    buffer_printf(out, "%d%d %s %s\n", q->head, q->keep_alive, q->path, q->if_none_match);
}

/* All requests of `in` as text, and whether it was refused, or ends within one. */
static enum http_outcome read_all(struct buffer *out, struct bytes in, const uint8_t *cuts, size_t cut_count)
{
    struct http_reader *r = http_reader_new();
    enum http_outcome outcome = HTTP_INCOMPLETE;
    CHECK(r);
    for (size_t at = 0, turn = 0, used; at < in.size && outcome != HTTP_REFUSED; at += used, turn++) {
        size_t n = cut_count ? (size_t)cuts[turn % cut_count] + 1 : in.size;
        if (n > in.size - at) n = in.size - at;
        outcome = feed(r, &used, bytes_of(in.data + at, n));
        CHECK(used <= n && (outcome != HTTP_INCOMPLETE || used == n));
        if (outcome == HTTP_COMPLETE) {
            CHECK(used > 0 && !http_reader_begun(r));
            note_request(out, http_reader_request(r));
        }
    }
    if (outcome == HTTP_REFUSED) {
        size_t used;
        CHECK(http_reader_status(r) >= 400 && http_reader_status(r) <= 505);
        CHECK(http_reader_feed(r, &used, bytes_text("GET / HTTP/1.0\r\n\r\n")) == HTTP_REFUSED && used == 0);
    }
    http_reader_free(r);
    return outcome;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buffer whole = {0}, pieces = {0};
    size_t cuts = size > 8 ? 4 : 0;
    struct bytes in = bytes_of(data + cuts, size - cuts);
    enum http_outcome first = read_all(&whole, in, NULL, 0);
    enum http_outcome second = read_all(&pieces, in, data, cuts);
    CHECK(first == second);
    fuzz_taken = first == HTTP_COMPLETE;
    CHECK(bytes_equal(buffer_bytes(&whole), buffer_bytes(&pieces)));
    buffer_free(&whole);
    buffer_free(&pieces);
    return 0;
}
