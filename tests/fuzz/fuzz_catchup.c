/* consensus/catchup_messages.h, each decoder on the same bytes: what decodes comes back byte for byte. */
#include "tests/lib/recode_catchup.h"
#include "tests/lib/taken.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try(enum err (*recode)(struct buffer *out, struct bytes in), struct bytes in)
{
    struct buffer out = {0};
    if (recode(&out, in) == OK) {
        CHECK(!out.failed && bytes_equal(buffer_bytes(&out), in));
        fuzz_taken = true;
    }
    buffer_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes in = bytes_of(data, size);
    struct refusal refusal;
#define X(name) try(recode_##name, in);
    RECODE_CATCHUP(X)
#undef X
    try(recode_pulled, in);
    try(recode_attached, in);
    if (refusal_decode(&refusal, in) == OK) {
        CHECK(refusal.text.size <= 256);
        fuzz_taken = true;
    }
    return 0;
}
