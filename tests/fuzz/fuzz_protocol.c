/* Bodies of client messages: the first byte says the type. What a decoder takes
 * comes back byte for byte. */
#include "tests/lib/recode_messages.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buffer out = {0};
    if (size == 0) return 0;
    struct bytes body = bytes_of(data + 1, size - 1);
    if (recode_message(&out, data[0], body) == OK)
        CHECK(!out.failed && bytes_equal(buffer_bytes(&out), body));
    buffer_free(&out);
    return 0;
}
