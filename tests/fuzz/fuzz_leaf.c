/* ledger/leaf.h: whatever decodes comes back byte for byte. First byte
 *   0x9a or 0x95: the whole input is a leaf, or leaf 0 (all of them begin so);
 *   else: leaves of a request that is signed. Each verifies, read with what the ones before it had in common (ledger/
 *         replay.h) as without. Then one is changed as the input says: it verifies exactly when the signed part is the
 *         same. (What nobody signed, chain, time and decision, the replay compares: fuzz_rules.) */
#include <string.h>

#include "crypto/random.h"
#include "ledger/replay.h"
#include "tests/lib/recode.h"
#include "tests/lib/signed_seed.h"
#include "tests/lib/taken.h"

#define LEAF 0x9a
#define LEAF_0 0x95
#define USER 3

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool whole(struct bytes in)
{
    struct buffer out = {0};
    bool taken = recode_leaf(&out, in) == OK;
    if (taken) CHECK(!out.failed && bytes_equal(buffer_bytes(&out), in));
    buffer_free(&out);
    return taken;
}

/* Index, time, previous, decision, reason and subject are the node's that makes it. */
static void make(struct buffer *out, struct seed_input *in, const struct request *r, uint32_t position)
{
    uint8_t choice = seed_take(in), reason = seed_take(in);
    unsigned shift = seed_take(in) % 56;
    struct leaf leaf = {.index = (UINT64_C(1) << shift) + position, .time_ms = SAMPLE_TIME + choice};
    leaf.previous = sample_digest(1 + choice);
    leaf_set_operation(&leaf, r, position);
    leaf.decision = reason ? DECISION_DENIED : DECISION_APPROVED;
    leaf.reason = reason;
    if (choice % 2) leaf.subject = sample_id(5);
    leaf_encode(out, &leaf);
}

static bool same_signed(const struct leaf *a, const struct leaf *b)
{
    return bytes_equal(a->operation.raw, b->operation.raw) && a->position == b->position && a->count == b->count &&
           a->path_count == b->path_count && memcmp(a->path, b->path, a->path_count * sizeof a->path[0]) == 0 &&
           memcmp(&a->signature, &b->signature, sizeof a->signature) == 0;
}

/* As replay reads it: the memo changes nothing. */
static struct replay_leaf read(struct tree_memo *memo, struct bytes in)
{
    struct replay_leaf with, without;
    replay_leaf_read(&with, memo, in);
    replay_leaf_read(&without, NULL, in);
    CHECK(with.decoded == without.decoded && with.rooted == without.rooted && !with.verified);
    CHECK(digest_equal(&with.hash, &without.hash));
    if (with.rooted) CHECK(digest_equal(&with.root, &without.root));
    return with;
}

static void check_change(struct buffer *encoded, struct seed_input *in, struct tree_memo *memo,
                         const struct sign_public *key)
{
    struct leaf good;
    struct buffer copy = {0};
    buffer_append_bytes(&copy, buffer_bytes(encoded));
    CHECK(leaf_decode(&good, buffer_bytes(&copy)) == OK);
    bool changed = seed_change(encoded, in);
    struct replay_leaf r = read(memo, buffer_bytes(encoded));
    CHECK((r.decoded == OK) == whole(buffer_bytes(encoded)) && (changed || r.decoded == OK));
    if (r.decoded == OK && r.leaf.index > 0)
        CHECK((leaf_verify(&r.leaf, key) == OK) == same_signed(&good, &r.leaf));
    buffer_free(&copy);
}

static void signed_leaves(struct seed_input *in)
{
    const struct sign_public *key = &seed_user(USER)->key, *another = &seed_user(USER + 1)->key;
    struct tree_memo memo = {0};
    struct request r;
    struct buffer request = {0}, leaf = {0};
    uint32_t chosen = seed_take(in);
    seed_request(&request, in, USER, false);
    CHECK(request_decode(&r, buffer_bytes(&request)) == OK);
    for (uint32_t i = 0; i <= chosen % r.count; i++) {
        buffer_clear(&leaf);
        make(&leaf, in, &r, i);
        struct replay_leaf made = read(&memo, buffer_bytes(&leaf));
        CHECK(made.decoded == OK && made.rooted && digest_equal(&made.root, &r.root));
    }
    struct replay_leaf last = read(&memo, buffer_bytes(&leaf));
    CHECK(leaf_verify(&last.leaf, key) == OK && leaf_verify(&last.leaf, another) == ERR_BAD_SIGNATURE);
    fuzz_taken = true;
    check_change(&leaf, in, &memo, key);
    request_free(&r);
    buffer_free(&request);
    buffer_free(&leaf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    crypto_init();
    if (size == 0 || data[0] == LEAF || data[0] == LEAF_0)
        fuzz_taken = whole(bytes_of(data, size));
    else
        signed_leaves(&(struct seed_input){data + 1, data + size});
    return 0;
}
