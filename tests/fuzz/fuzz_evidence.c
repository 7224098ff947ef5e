/* ledger/evidence.h: what decodes comes back byte for byte; nothing made up proves anything. The first byte
 * chooses between the encoding and a file. */
#include "base/check.h"
#include "ledger/evidence.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void encoded(struct bytes in)
{
    static const struct genesis nobody;
    struct evidence e;
    struct buffer out = {0};
    if (evidence_decode(&e, in) != OK) return;
    evidence_encode(&out, &e);
    CHECK(!out.failed && bytes_equal(buffer_bytes(&out), in));
    CHECK(evidence_verify(&e, &nobody) != OK);
    if (evidence_contradict(&e.first, &e.second)) CHECK(evidence_kind_text(evidence_kind(&e))[0]);
    buffer_clear(&out);
    evidence_format(&out, &e, &nobody);
    struct buffer again = {0};
    CHECK(!out.failed && evidence_parse(&again, buffer_bytes(&out)) == OK && bytes_equal(buffer_bytes(&again), in));
    buffer_free(&again);
    buffer_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) return 0;
    struct bytes in = bytes_of(data + 1, size - 1);
    struct buffer inside = {0};
    if (data[0] != 't')
        encoded(in);
    else if (evidence_parse(&inside, in) == OK)
        encoded(buffer_bytes(&inside));
    buffer_free(&inside);
    return 0;
}
