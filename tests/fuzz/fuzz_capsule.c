/* Capsules from anybody: what decodes encodes to the same bytes and can be verified without a crash. */
#include "base/check.h"
#include "crypto/hash.h"
#include "crypto/random.h"
#include "crypto/tdh2.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tdh2_capsule capsule;
    crypto_init();
    if (tdh2_capsule_decode(&capsule, bytes_of(data, size)) != OK) return 0;
    struct buffer out = {0};
    tdh2_capsule_pack(&out, &capsule);
    CHECK(bytes_equal(buffer_bytes(&out), bytes_of(data, size)));
    CHECK(size <= TDH2_CAPSULE_SIZE_MAX);
    buffer_free(&out);
    struct digest label = {{0}};
    tdh2_capsule_verify(&capsule, &POINT_GENERATOR, &label);
    struct point d;
    tdh2_share_point(&d, &capsule.e, &capsule.u);
    return 0;
}
