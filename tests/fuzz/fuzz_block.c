/* ledger/block.h: whatever decodes comes back byte for byte. First byte
 *   0x92: the whole input is a block (all of them begin so);
 *   else: its low bits say how many signed requests are put into one that its leader signs. All of it verifies; then
 *         bytes are changed, of the block or (bit 7) of where it stands and of its signature: it is another block. */
#include <string.h>

#include "crypto/random.h"
#include "tests/lib/recode.h"
#include "tests/lib/signed_seed.h"
#include "tests/lib/taken.h"

#define BLOCK 0x92
#define REQUESTS 4u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool whole(struct bytes in)
{
    struct buffer out = {0};
    bool taken = recode_block(&out, in) == OK;
    if (taken) CHECK(!out.failed && bytes_equal(buffer_bytes(&out), in));
    buffer_free(&out);
    return taken;
}

static void make(struct buffer *out, struct seed_input *in, unsigned count)
{
    struct buffer requests[REQUESTS] = {{0}};
    struct bytes views[REQUESTS];
    size_t all = BLOCK_OVERHEAD;
    for (unsigned i = 0; i < count; i++) {
        seed_request(&requests[i], in, i + 1, false);
        views[i] = buffer_bytes(&requests[i]);
        all += views[i].size + BLOCK_REQUEST_OVERHEAD;
    }
    block_encode(out, SAMPLE_TIME + seed_take(in), views, count);
    CHECK(!out->failed && out->size <= all);
    for (unsigned i = 0; i < count; i++) buffer_free(&requests[i]);
}

static void check_requests(struct bytes in, unsigned count)
{
    struct block b;
    CHECK(block_decode(&b, in) == OK && b.count == count);
    for (unsigned i = 0; i < count; i++) CHECK(request_verify(&b.requests[i], &seed_user(i + 1)->key) == OK);
    block_free(&b);
}

/* Its hash in its place is what the leader signs. */
static void check_leader(struct buffer *block, struct seed_input *in, bool of_place)
{
    const struct seed_user *leader = seed_user(9);
    struct signature signature;
    struct block_place place = {.cluster = sample_digest(1), .term = seed_take(in)};
    place.index = seed_take(in);
    block_hash(&place.hash, buffer_bytes(block));
    block_sign(&signature, &place, &leader->secret);
    CHECK(block_verify(&signature, &place, &leader->key) == OK);
    bool changed;
    if (of_place) {
        struct buffer parts = {0};
        buffer_append(&parts, &place, sizeof place);
        buffer_append_bytes(&parts, BYTES(signature.bytes));
        seed_change(&parts, &(struct seed_input){in->at, in->at + seed_left(in) / 3 * 3}); /* not cut */
        changed = memcmp(parts.data, &place, sizeof place) != 0 ||
                  memcmp(parts.data + sizeof place, signature.bytes, sizeof signature) != 0;
        memcpy(&place, parts.data, sizeof place);
        memcpy(signature.bytes, parts.data + sizeof place, sizeof signature);
        buffer_free(&parts);
    } else {
        changed = seed_change(block, in);
        block_hash(&place.hash, buffer_bytes(block));
        CHECK(whole(buffer_bytes(block)) || changed);
    }
    CHECK((block_verify(&signature, &place, &leader->key) == OK) == !changed);
}

static void signed_block(struct seed_input *in, uint8_t how)
{
    struct buffer block = {0};
    unsigned count = how % (REQUESTS + 1);
    make(&block, in, count);
    CHECK(whole(buffer_bytes(&block)));
    check_requests(buffer_bytes(&block), count);
    fuzz_taken = true;
    check_leader(&block, in, how & 0x80);
    buffer_free(&block);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    crypto_init();
    if (size == 0 || data[0] == BLOCK)
        fuzz_taken = whole(bytes_of(data, size));
    else
        signed_block(&(struct seed_input){data + 1, data + size}, data[0]);
    return 0;
}
