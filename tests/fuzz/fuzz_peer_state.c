/* What a peer says of itself for status and the comparison of clocks (node/status.c):
 * what decodes comes back byte for byte, and no time that it names overflows. */
#include "node/status.c" /* its decoder is its own */

#include "tests/lib/taken.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct entry e = {0};
    struct buffer out = {0};
    if (decode_state(&e, bytes_of(data, size)) != OK) return 0;
    fuzz_taken = true;
    int64_t ahead = ahead_of(1790000000000, e.time_ms);
    CHECK((e.time_ms > 1790000000000) == (ahead > 0));
    CHECK(ahead <= 1000 * (int64_t)CLOCK_OFF_MS && ahead >= -1000 * (int64_t)CLOCK_OFF_MS);
    CHECK(e.leader <= LIMIT_NODES && e.own.count <= PEER_FINDINGS);
    for (uint32_t i = 0; i < e.own.count; i++)
        CHECK(alarm_kind_text(e.own.own[i].kind)[0] && e.own.own[i].first <= e.own.own[i].last);
    CHECK(strlen(e.state) <= LIMIT_NAME && strlen(e.version) <= LIMIT_NAME);
    encode_state(&out, &e);
    CHECK(!out.failed && bytes_equal(buffer_bytes(&out), bytes_of(data, size)));
    buffer_free(&out);
    return 0;
}
