#include "tests/lib/unit.h"

#include <stdio.h>

#include "base/pack.h"
#include "ledger/leaf.h"
#include "tests/lib/mutate.h"
#include "tests/lib/recode_catchup.h"
#include "tests/lib/samples.h"

/* CORPUS=folder: writes what is mutated there, as a start for the fuzzer. */
static void keep(const char *name, const struct buffer *b)
{
    const char *folder = getenv("CORPUS");
    char path[512];
    if (!folder) return;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "wb");
    CHECK(f && fwrite(b->data, 1, b->size, f) == b->size && fclose(f) == 0);
}

static void each_comes_back_or_is_refused(void **state)
{
    (void)state;
    struct buffer b = {0};
#define EACH(name, recode, ...)                                                                    \
    buffer_clear(&b);                                                                              \
    __VA_ARGS__;                                                                                   \
    keep(name, &b);                                                                                \
    assert_true(mutate(recode, buffer_bytes(&b)).tried > 100)
    struct offer offer = {300, sample_digest(1), bytes_text("a note")};
    struct manifest_ask manifest_ask = {300, 70000, 2};
    struct manifest manifest = {70000, 2, 300, sample_digest(2), bytes_text("a note")};
    struct pull pull = {1, 300};
    struct attachments_ask attachments = {3, {1, 200, 70000}};
    EACH("offer", recode_offer, offer_encode(&b, &offer));
    EACH("manifest_ask", recode_manifest_ask, manifest_ask_encode(&b, &manifest_ask));
    EACH("manifest", recode_manifest, manifest_encode(&b, &manifest));
    EACH("pull", recode_pull, pull_encode(&b, &pull));
    EACH("attachments", recode_attachments_ask, attachments_ask_encode(&b, &attachments));
    struct pulled *p = xcalloc(1, sizeof *p);
    struct buffer leaves = {0}, items = {0};
    *p = (struct pulled){.from = 5, .to = 300, .base = sample_digest(3), .count = 2};
    p->base_proof = (struct tree_proof){1, {sample_digest(4)}};
    p->end_proof = (struct tree_proof){2, {sample_digest(5), sample_digest(6)}};
    pulled_add_leaf(&leaves, bytes_text("leaf five"));
    pulled_add_leaf(&leaves, bytes_text("leaf six"));
    EACH("pulled", recode_pulled, pulled_encode(&b, p, buffer_bytes(&leaves)));
    attached_add(&items, ATTACHMENT_HERE, bytes_text("content"));
    attached_add(&items, ATTACHMENT_ERASED, (struct bytes){0});
    attached_add(&items, ATTACHMENT_NOT_YET, (struct bytes){0});
    EACH("attached", recode_attached, attached_encode(&b, 3, buffer_bytes(&items)));
    buffer_free(&leaves);
    buffer_free(&items);
    buffer_free(&b);
    free(p);
}

static enum err try_pulled(uint64_t from, uint64_t to, uint32_t count, size_t leaf_size, uint32_t proof)
{
    struct pulled *p = xcalloc(1, sizeof *p);
    struct buffer leaves = {0}, b = {0};
    uint8_t *leaf = xcalloc(1, leaf_size + 1);
    *p = (struct pulled){.from = from, .to = to, .count = count};
    p->base_proof.count = proof;
    for (uint32_t i = 0; i < count; i++)
        pulled_add_leaf(&leaves, bytes_of(leaf, leaf_size));
    pulled_encode(&b, p, buffer_bytes(&leaves));
    enum err e = pulled_decode(p, buffer_bytes(&b));
    buffer_free(&leaves);
    buffer_free(&b);
    free(leaf);
    free(p);
    return e;
}

static void limits_of_a_chunk(void **state)
{
    (void)state;
    assert_int_equal(try_pulled(1, 1000, LIMIT_PULL_LEAVES, 1, TREE_LEVELS + 1), OK);
    assert_int_not_equal(try_pulled(1, 1000, LIMIT_PULL_LEAVES + 1, 1, 0), OK);
    assert_int_equal(try_pulled(1, 3, 1, LIMIT_LEAF, 0), OK);
    assert_int_equal(try_pulled(1, 3, 1, LIMIT_LEAF + 1, 0), ERR_TOO_LARGE);
    assert_int_equal(try_pulled(1, 3, 0, 1, 0), ERR_INVALID);
    assert_int_equal(try_pulled(1, 3, 2, 1, 0), OK);
    assert_int_equal(try_pulled(1, 3, 3, 1, 0), ERR_INVALID); /* more than were asked for */
    assert_int_equal(try_pulled(3, 3, 1, 1, 0), ERR_INVALID);
    assert_int_equal(try_pulled(4, 3, 1, 1, 0), ERR_INVALID);
    assert_int_not_equal(try_pulled(1, TREE_SIZE_MAX + 1, 1, 1, 0), OK);
}

static void limits_of_attachments(void **state)
{
    (void)state;
    struct buffer items = {0}, b = {0};
    struct attached *a = xcalloc(1, sizeof *a);
    uint8_t *large = xcalloc(1, LIMIT_ATTACHMENT + 1);
    for (int more = 0; more < 2; more++) {
        buffer_clear(&items);
        buffer_clear(&b);
        attached_add(&items, ATTACHMENT_HERE, bytes_of(large, (size_t)LIMIT_ATTACHMENT + (size_t)more));
        attached_encode(&b, 1, buffer_bytes(&items));
        assert_int_equal(attached_decode(a, buffer_bytes(&b)), more ? ERR_TOO_LARGE : OK);
    }
    static const enum attachment_state states[] = {ATTACHMENT_HERE, ATTACHMENT_ERASED, ATTACHMENT_NOT_YET};
    for (int i = 0; i < 3; i++) { /* bytes where there must be none, and none where there must be some */
        buffer_clear(&items);
        buffer_clear(&b);
        attached_add(&items, states[i], states[i] == ATTACHMENT_HERE ? (struct bytes){0} : bytes_text("x"));
        attached_encode(&b, 1, buffer_bytes(&items));
        assert_int_equal(attached_decode(a, buffer_bytes(&b)), ERR_INVALID);
    }
    struct attachments_ask *ask = xcalloc(1, sizeof *ask);
    for (uint32_t count = LIMIT_PULL_ATTACHMENTS; count <= LIMIT_PULL_ATTACHMENTS + 1; count++) {
        buffer_clear(&b);
        pack_array(&b, 1);
        pack_array(&b, count);
        for (uint32_t i = 0; i < count; i++)
            pack_uint(&b, i);
        enum err e = attachments_ask_decode(ask, buffer_bytes(&b));
        assert_int_equal(e == OK, count == LIMIT_PULL_ATTACHMENTS);
    }
    free(ask);
    free(a);
    free(large);
    buffer_free(&items);
    buffer_free(&b);
}

static void a_refusal_names_its_code(void **state)
{
    (void)state;
    struct buffer b = {0};
    struct refusal r;
    refusal_encode(&b, ERR_BUSY);
    assert_int_equal(refusal_decode(&r, buffer_bytes(&b)), OK);
    assert_int_equal(r.code, ERR_BUSY);
    assert_true(bytes_equal(r.text, bytes_text(err_text(ERR_BUSY))));
    for (size_t size = 0; size < b.size; size++)
        assert_int_not_equal(refusal_decode(&r, bytes_of(b.data, size)), OK);
    buffer_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_comes_back_or_is_refused),
        cmocka_unit_test(limits_of_a_chunk),
        cmocka_unit_test(limits_of_attachments),
        cmocka_unit_test(a_refusal_names_its_code),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
