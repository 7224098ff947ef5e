/* Bodies of client messages: the first byte says the type. What a decoder takes
 * comes back byte for byte; of a list for which there is not enough room nothing is
 * written behind it. */
#include "tests/lib/recode_messages.h"
#include "tests/lib/taken.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The room is of exactly that size, so that a sanitizer sees a write behind it. */
static void with_little_room(uint32_t type, struct bytes body, enum err enough)
{
    for (size_t places = 0; places < 3; places++) {
        struct buffer out = {0};
        enum err e = recode_message_within(&out, type, body, places);
        CHECK(enough == OK ? e == OK || e == ERR_TOO_LARGE || e == ERR_UNKNOWN_TYPE : e != OK);
        if (e == OK) CHECK(!out.failed && bytes_equal(buffer_bytes(&out), body));
        buffer_free(&out);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buffer out = {0};
    if (size == 0) return 0;
    struct bytes body = bytes_of(data + 1, size - 1);
    enum err e = recode_message(&out, data[0], body);
    if (e == OK) {
        CHECK(!out.failed && bytes_equal(buffer_bytes(&out), body));
        fuzz_taken = true;
    }
    with_little_room(data[0], body, e);
    buffer_free(&out);
    return 0;
}
