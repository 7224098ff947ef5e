/* Where the scrub of a running node stands, as it is kept over a restart: a note that is taken comes back byte for
 * byte; one that isn't, or whose position isn't one, means that a pass begins anew. */
#include "node/scrub.c" /* its decoder is its own */

#include "tests/lib/taken.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct node node;
    struct bytes row = bytes_of(data, size);
    struct buffer out = {0};
    struct scrub *s = xcalloc(1, sizeof *s);
    s->node = &node;
    scan_begin(&s->scan, &node.genesis);
    take_note(s, row);
    encode_note(&out, s);
    CHECK(!out.failed && (bytes_equal(buffer_bytes(&out), row) || s->scan.end == 0));
    CHECK(s->scan.phase != SCAN_DONE && scan_permille(&s->scan) <= 1000);
    fuzz_taken = bytes_equal(buffer_bytes(&out), row);
    buffer_free(&out);
    scan_free(&s->scan);
    free(s);
    return 0;
}
