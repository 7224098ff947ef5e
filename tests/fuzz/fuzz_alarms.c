/* Messages about alarms, by their first byte: whatever decodes comes back byte for byte. */
#include "tests/lib/recode_alarms.h"
#include "tests/lib/taken.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static enum err (*const recode[])(struct buffer *, struct bytes) = {recode_notice, recode_alarms, recode_alarms_ok};
    struct buffer out = {0};
    if (size == 0) return 0;
    struct bytes body = bytes_of(data + 1, size - 1);
    if (recode[data[0] % 3](&out, body) == OK) {
        CHECK(!out.failed && bytes_equal(buffer_bytes(&out), body));
        fuzz_taken = true;
    }
    buffer_free(&out);
    return 0;
}
