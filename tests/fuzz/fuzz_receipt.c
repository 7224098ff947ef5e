/* ledger/tlog_proof.h: receipts come back byte for byte, and what they hold goes on
 * to the readers of entries and notes. */
#include "tests/lib/recode.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buffer out = {0}, extra = {0};
    struct bytes in = bytes_of(data, size);
    struct tlog_proof proof;
    struct failure why = {0};
    if (recode_tlog_proof(&out, in) == OK) CHECK(!out.failed && bytes_equal(buffer_bytes(&out), in));
    if (tlog_proof_parse(&proof, &extra, in, &why) == OK) {
        struct leaf leaf;
        struct note note;
        (void)leaf_decode(&leaf, proof.extra);
        (void)note_parse(&note, proof.note);
    } else {
        CHECK(why.code != OK && why.text[0]);
    }
    buffer_free(&out);
    buffer_free(&extra);
    return 0;
}
