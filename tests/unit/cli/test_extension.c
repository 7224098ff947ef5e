/* Today's ledger against an older checkpoint: true ones, shorter ones, forks, and
 * nodes that show nothing or nonsense. Trees are made of numbers; no entry is read. */
#include "cli/extension.h"

#include <stdlib.h>

#include "base/check.h"
#include "ledger/tlog_proof.h"
#include "tests/lib/samples.h"
#include "tests/lib/unit.h"

#define MOST 70
#define FORKED_AT 20 /* the other history differs from here on */
#define TRUE_TREE 0
#define OTHER_TREE 1

static struct genesis genesis, elsewhere;
static struct buffer genesis_text, elsewhere_text;
static struct tree_row rows[2][MOST];

static enum err fetch(void *context, struct digest *out, unsigned level, uint64_t index)
{
    const struct tree_row *tree = context;
    uint64_t row = tree_row_of(level, index);
    CHECK(row < MOST && level < tree[row].count);
    *out = tree[row].hashes[level];
    return OK;
}

static int setup(void **state)
{
    (void)state;
    sample_genesis_parsed(&genesis, &genesis_text, 4, 1);
    sample_genesis_parsed(&elsewhere, &elsewhere_text, 5, 1);
    for (int which = 0; which < 2; which++) {
        struct tree tree = {0};
        for (unsigned i = 0; i < MOST; i++) {
            struct digest leaf = sample_digest(i + 1 + (which == OTHER_TREE && i >= FORKED_AT ? 1000 : 0));
            tree_append(&tree, &rows[which][i], &leaf);
        }
    }
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    buffer_free(&genesis_text);
    buffer_free(&elsewhere_text);
    return 0;
}

static struct checkpoint checkpoint_at(int which, uint64_t size)
{
    struct checkpoint c;
    struct digest root;
    CHECK(tree_root_at(&root, size, fetch, rows[which]) == OK);
    checkpoint_set(&c, &genesis, size, &root);
    return c;
}

/* Cosigned by those in `mask`; appends. */
static void write_note(struct buffer *out, const struct checkpoint *c, unsigned mask)
{
    struct cosigner cosigners[LIMIT_NODES];
    struct cosignature cosignatures[LIMIT_NODES] = {{0}};
    uint32_t n = cosigners_of_genesis(cosigners, &genesis);
    for (uint32_t i = 0; i < n; i++) {
        struct node_secrets secrets;
        sample_node_secrets(&secrets, i + 1);
        if (mask >> i & 1) checkpoint_cosign(&cosignatures[i], c, 1790000000, &secrets.cosign);
    }
    checkpoint_format(out, c, cosigners, cosignatures, n);
}

/* --- the source --- */

struct fake {
    int tree, proof_tree; /* of its note, and of its proofs */
    uint64_t size, grows; /* while it is waited for */
    unsigned mask, waits;
    enum err note_error, proof_error;
    bool no_note;
    uint32_t spare; /* hashes too many */
};

static enum err fake_checkpoint(void *data, struct buffer *note, struct failure *failure)
{
    struct fake *f = data;
    if (f->note_error != OK) return fail(failure, f->note_error, "no checkpoint for you");
    struct checkpoint c = checkpoint_at(f->tree, f->size);
    if (!f->no_note) write_note(note, &c, f->mask);
    return OK;
}

static enum err fake_consistency(void *data, struct tree_proof *out, uint64_t old_size, uint64_t new_size,
                                 struct failure *failure)
{
    struct fake *f = data;
    if (f->proof_error != OK) return fail(failure, f->proof_error, "no proof for you");
    enum err e = tree_consistency(out, old_size, new_size, fetch, rows[f->proof_tree]);
    for (uint32_t i = 0; i < f->spare; i++) out->hashes[out->count++] = sample_digest(5);
    return e;
}

static bool fake_wait(void *data, uint32_t waited_ms)
{
    struct fake *f = data;
    f->waits++;
    f->size += f->grows;
    return waited_ms < 5 * SOURCE_WAIT_MS;
}

static struct extension check(struct fake *f, const struct checkpoint *old)
{
    struct extension x;
    struct ledger_source source = {"mercy", f, NULL, fake_checkpoint, fake_consistency, NULL, fake_wait};
    extension_check(&x, &source, &genesis, old);
    assert_true((x.verdict == AUDIT_FINE) == (x.text[0] == '\0'));
    return x;
}

static void expect(struct fake f, const struct checkpoint *old, enum audit_verdict verdict, const char *words)
{
    struct extension x = check(&f, old);
    if (x.verdict != verdict || !strstr(x.text, words))
        fail_msg("%s: '%s'; expected %s: '%s'", audit_word(x.verdict), x.text, audit_word(verdict), words);
}

/* --- the cases --- */

static void test_extends(void **state)
{
    (void)state;
    for (uint64_t old_size = 1; old_size < MOST; old_size++) {
        struct checkpoint old = checkpoint_at(TRUE_TREE, old_size);
        for (uint64_t size = old_size; size < MOST; size += 1 + size % 5) {
            struct fake f = {.size = size, .mask = 13};
            struct extension x = check(&f, &old);
            assert_int_equal(x.verdict, AUDIT_FINE);
            assert_int_equal(x.now.size, size);
            assert_int_equal(f.waits, 0);
        }
    }
}

static void test_does_not_extend(void **state)
{
    (void)state;
    for (uint64_t old_size = FORKED_AT + 1; old_size < MOST - 1; old_size++) {
        struct checkpoint old = checkpoint_at(OTHER_TREE, old_size);
        expect((struct fake){.size = old_size, .mask = 7}, &old, AUDIT_FORKED, "two different histories");
        for (int proofs = 0; proofs < 2; proofs++)
            expect((struct fake){.size = MOST - 1, .mask = 7, .proof_tree = proofs}, &old, AUDIT_UNPROVEN,
                   "does not hold");
    }
    struct checkpoint same = checkpoint_at(OTHER_TREE, FORKED_AT); /* the histories are one up to there */
    expect((struct fake){.size = MOST - 1, .mask = 7}, &same, AUDIT_FINE, "");
}

static void test_false_proofs(void **state)
{
    (void)state;
    struct checkpoint old = checkpoint_at(TRUE_TREE, 30);
    expect((struct fake){.size = 60, .mask = 7, .proof_tree = OTHER_TREE}, &old, AUDIT_UNPROVEN, "does not hold");
    expect((struct fake){.size = 60, .mask = 7, .spare = 1}, &old, AUDIT_UNPROVEN, "does not hold");
    expect((struct fake){.size = 60, .mask = 7, .proof_error = ERR_INVALID}, &old, AUDIT_UNPROVEN, "no proof for you");
    expect((struct fake){.size = 60, .mask = 7, .proof_error = ERR_TIMEOUT}, &old, AUDIT_SILENT, "no proof for you");
}

static void test_no_checkpoint_of_today(void **state)
{
    (void)state;
    struct checkpoint old = checkpoint_at(TRUE_TREE, 30);
    expect((struct fake){.size = 60, .mask = 3}, &old, AUDIT_UNPROVEN, "not valid"); /* k - 1 */
    expect((struct fake){.size = 60, .note_error = ERR_UNREACHABLE}, &old, AUDIT_UNREACHABLE, "no checkpoint for you");
    expect((struct fake){.size = 60, .note_error = ERR_MALFORMED}, &old, AUDIT_UNPROVEN, "no checkpoint for you");
    expect((struct fake){.size = 60, .no_note = true}, &old, AUDIT_SHORT, "has 0 entries");
}

static void test_shorter(void **state)
{
    (void)state;
    struct checkpoint old = checkpoint_at(TRUE_TREE, 30);
    expect((struct fake){.size = 29, .mask = 7}, &old, AUDIT_SHORT, "has 29 entries, the older one 30");
    struct fake lags = {.size = 25, .grows = 2, .mask = 7};
    assert_int_equal(check(&lags, &old).verdict, AUDIT_FINE);
    assert_int_equal(lags.waits, 3);
}

static void test_the_older_one(void **state)
{
    (void)state;
    struct checkpoint old = checkpoint_at(TRUE_TREE, 30), got;
    struct buffer note = {0}, receipt = {0}, few = {0};
    struct failure why = {0};
    write_note(&note, &old, 14);
    write_note(&few, &old, 12);
    assert_int_equal(extension_read_old(&got, buffer_bytes(&note), &genesis, &why), OK);
    assert_memory_equal(&got, &old, sizeof got);
    tlog_proof_format(&receipt, &(struct tlog_proof){.index = 3, .note = buffer_bytes(&note)});
    assert_int_equal(extension_read_old(&got, buffer_bytes(&receipt), &genesis, &why), OK);
    assert_memory_equal(&got, &old, sizeof got);
    assert_int_equal(extension_read_old(&got, buffer_bytes(&few), &genesis, &why), ERR_TOO_FEW_COSIGNATURES);
    assert_int_equal(extension_read_old(&got, buffer_bytes(&note), &elsewhere, &why), ERR_OTHER_CLUSTER);
    assert_int_equal(extension_read_old(&got, bytes_text("nonsense\n"), &genesis, &why), ERR_CHECKPOINT);
    assert_int_equal(extension_read_old(&got, bytes_text(""), &genesis, &why), ERR_CHECKPOINT);
    struct checkpoint empty = checkpoint_at(TRUE_TREE, 0);
    buffer_clear(&note);
    write_note(&note, &empty, 15);
    assert_int_equal(extension_read_old(&got, buffer_bytes(&note), &genesis, &why), ERR_CHECKPOINT);
    buffer_free(&note);
    buffer_free(&few);
    buffer_free(&receipt);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_extends),      cmocka_unit_test(test_does_not_extend),
        cmocka_unit_test(test_false_proofs), cmocka_unit_test(test_no_checkpoint_of_today),
        cmocka_unit_test(test_shorter),      cmocka_unit_test(test_the_older_one),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
