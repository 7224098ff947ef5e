/* Shares from a node that lies, and a dealer's commitments: exact decoding, and
 * opening and verifying without a crash. */
#include "base/check.h"
#include "crypto/dkg.h"
#include "crypto/random.h"
#include "crypto/tdh2.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void commitments(struct bytes in)
{
    struct dkg_commitments c;
    struct point keys[4];
    struct buffer out = {0};
    if (dkg_commitments_decode(&c, (uint32_t)(in.size / 32), in) != OK) return;
    CHECK(dkg_commitments_encode(&out, &c) == OK && bytes_equal(buffer_bytes(&out), in));
    buffer_free(&out);
    dkg_verification_keys(keys, 4, &c);
}

static void polynomial(struct bytes in)
{
    struct dkg_polynomial p;
    struct buffer out = {0};
    if (dkg_polynomial_decode(&p, in) != OK) return;
    CHECK(dkg_polynomial_encode(&out, &p) == OK && bytes_equal(buffer_bytes(&out), in));
    buffer_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tdh2_share share;
    struct digest context = {{0}};
    uint8_t key[32];
    crypto_init();
    commitments(bytes_of(data, size));
    polynomial(bytes_of(data, size));
    if (tdh2_share_decode(&share, bytes_of(data, size)) != OK) return 0;
    struct buffer out = {0};
    tdh2_share_pack(&out, &share);
    CHECK(bytes_equal(buffer_bytes(&out), bytes_of(data, size)));
    CHECK(size <= TDH2_SHARE_SIZE_MAX);
    buffer_free(&out);
    enum err e = tdh2_share_verify(&share, &POINT_GENERATOR, &POINT_GENERATOR);
    CHECK(e == OK || e == ERR_BAD_SHARE);
    CHECK(tdh2_combine(key, &share, 1, &POINT_GENERATOR, &context) == OK);
    return 0;
}
