/* ledger/checkpoint.h: notes and verifier keys come back byte for byte. */
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
    check(recode_note, bytes_of(data, size));
    check(recode_vkey, bytes_of(data, size));
    return 0;
}
