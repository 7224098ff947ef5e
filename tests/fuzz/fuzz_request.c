/* ledger/request.h: whatever decodes comes back byte for byte. First byte
 *   0x93: the whole input is a request (all of them begin so);
 *   else: a signed one is made, of up to four operations (64, when odd), and all of it is good. Then bytes are changed:
 *         what is signed no longer verifies, an attachment is not the one that was named, and nothing else is taken. */
#include <string.h>

#include "crypto/random.h"
#include "tests/lib/recode.h"
#include "tests/lib/signed_seed.h"
#include "tests/lib/taken.h"

#define REQUEST 0x93
#define USER 3

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool whole(struct bytes in)
{
    struct buffer out = {0};
    bool taken = recode_request(&out, in) == OK;
    if (taken) CHECK(!out.failed && bytes_equal(buffer_bytes(&out), in));
    buffer_free(&out);
    return taken;
}

/* Any request: its paths lead to its root, and its attachments are judged alike twice. */
static void check_parts(struct request *r)
{
    struct tree_proof path;
    struct attachment a;
    for (uint32_t i = 0; i < r->count; i++) {
        request_path(&path, r, i);
        CHECK(path.count == tree_inclusion_size(i, r->count) && path.count <= LIMIT_REQUEST_PATH);
        CHECK(tree_inclusion_verify(&r->nodes[i], i, r->count, path.hashes, path.count, &r->root) == OK);
        enum err e = request_item_attachment(&r->items[i], &a);
        CHECK((e == OK || e == ERR_ATTACHMENT) && request_item_attachment(&r->items[i], NULL) == e);
        if (e == OK) CHECK((a.content.data != NULL) == operation_has_attachment(&r->items[i].operation));
    }
}

static bool any(struct bytes in)
{
    struct request r;
    if (!whole(in)) return false;
    CHECK(request_decode(&r, in) == OK);
    (void)request_is_known(&r);
    check_parts(&r);
    (void)request_verify(&r, &seed_user(USER)->key);
    request_free(&r);
    return true;
}

/* All is good under the signer's key, whether the verdicts are kept from before or not; under another it isn't. */
static void check_good(struct request *r, const struct sign_public *key)
{
    const struct sign_public *another = &seed_user(USER + 1)->key;
    request_check(r, another);
    CHECK(r->verified == VERDICT_BAD && r->items[0].attachment_good == VERDICT_UNKNOWN);
    request_check(r, key);
    CHECK(r->verified == VERDICT_GOOD && request_verify(r, key) == OK && request_is_known(r));
    for (uint32_t i = 0; i < r->count; i++) CHECK(request_item_attachment(&r->items[i], NULL) == OK);
    check_parts(r);
    CHECK(request_verify(r, another) == ERR_BAD_SIGNATURE);
}

/* The operations and the signature are the same. */
static bool same_signed(const struct request *a, const struct request *b)
{
    bool same = a->count == b->count && memcmp(&a->signature, &b->signature, sizeof a->signature) == 0;
    for (uint32_t i = 0; same && i < a->count; i++)
        same = bytes_equal(a->items[i].operation.raw, b->items[i].operation.raw);
    return same;
}

static void check_changed(const struct request *good, struct bytes changed, const struct sign_public *key)
{
    struct request r;
    if (request_decode(&r, changed) != OK) return;
    bool same = same_signed(good, &r);
    CHECK((request_verify(&r, key) == OK) == same);
    for (uint32_t i = 0; same && i < r.count; i++) {
        bool attached = bytes_equal(r.items[i].attachment, good->items[i].attachment);
        CHECK((request_item_attachment(&r.items[i], NULL) == OK) == attached);
    }
    check_parts(&r);
    request_free(&r);
}

static void signed_request(struct seed_input *in, bool many)
{
    struct request r;
    const struct sign_public *key = &seed_user(USER)->key;
    struct buffer good = {0}, changed = {0};
    seed_request(&good, in, USER, many);
    CHECK(whole(buffer_bytes(&good)) && request_decode(&r, buffer_bytes(&good)) == OK);
    check_good(&r, key);
    fuzz_taken = true;
    buffer_append_bytes(&changed, buffer_bytes(&good));
    bool different = seed_change(&changed, in);
    CHECK(whole(buffer_bytes(&changed)) || different);
    check_changed(&r, buffer_bytes(&changed), key);
    request_free(&r);
    buffer_free(&good);
    buffer_free(&changed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    crypto_init();
    if (size == 0 || data[0] == REQUEST)
        fuzz_taken = any(bytes_of(data, size));
    else
        signed_request(&(struct seed_input){data + 1, data + size}, data[0] % 2);
    return 0;
}
