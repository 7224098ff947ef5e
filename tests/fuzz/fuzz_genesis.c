/* ledger/genesis.h: whatever decodes comes back byte for byte. */
#include "tests/lib/recode.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buffer out = {0};
    if (recode_genesis(&out, bytes_of(data, size)) == OK)
        CHECK(!out.failed && bytes_equal(buffer_bytes(&out), bytes_of(data, size)));
    buffer_free(&out);
    return 0;
}
