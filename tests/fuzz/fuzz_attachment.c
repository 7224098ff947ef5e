/* ledger/attachment.h, the bytes inside too, and what a record's content is bound to: whatever decodes comes back byte
 * for byte. */
#include "tests/lib/recode.h"

static void check(enum err (*recode)(struct buffer *, struct bytes), struct bytes in)
{
    struct buffer out = {0};
    if (recode(&out, in) == OK) CHECK(!out.failed && bytes_equal(buffer_bytes(&out), in));
    buffer_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct attachment a = {.content = bytes_of(data, size)};
    check(recode_attachment, bytes_of(data, size));
    check(recode_context, bytes_of(data, size));
    attachment_decode(&a, bytes_of(data, size));
    check(recode_person, a.content);
    check(recode_content, a.content);
    note_check(a.content);
    return 0;
}
