/* Audits of a ledger with checkpoints that are none, or that are of another history; and
 * what goes wrong on the auditor's own machine. */
#include "cli/leaf_words.h"
#include "tests/unit/cli/bed_auditing.h"

/* --- checkpoints --- */

static void expect_unproven(struct fake *f)
{
    struct audit a = replay(f), b = compare(f);
    assert_int_equal(a.verdict, AUDIT_UNPROVEN);
    assert_int_equal(b.verdict, AUDIT_UNPROVEN);
    assert_true(audit_failed(a.verdict));
}

static void test_bad_checkpoints(void **state)
{
    (void)state;
    struct fake *f = fake_new();
    set_true_note(&f->note, truth_size, 3); /* two of four */
    expect_unproven(f);
    set_true_note(&f->note, truth_size, 7);
    f->note.data[f->note.size - 10] ^= 1; /* in a signature */
    expect_unproven(f);
    assert_non_null(strstr(replay(f).finding.text, "is not one of this text"));
    buffer_clear(&f->note);
    buffer_append_text(&f->note, "not a note\n");
    expect_unproven(f);
    assert_non_null(strstr(replay(f).finding.text, "it is no checkpoint"));
    f->note_error = ERR_MALFORMED;
    expect_unproven(f);
    f->note_error = OK;
    buffer_clear(&f->note);
    assert_int_equal(replay(f).verdict, AUDIT_UNPROVEN); /* none at all, after some waiting */
    assert_true(f->waits > 0);
    assert_int_equal(compare(f).verdict, AUDIT_FINE); /* one that has just begun has none */
    fake_free(f);
}

/* The lines of a note's cosignatures. */
static struct bytes lines_of(const struct buffer *note)
{
    const uint8_t *line = (const uint8_t *)memmem(note->data, note->size, "\n\n", 2) + 2;
    return bytes_of(line, (size_t)(note->data + note->size - line));
}

/* One too few, and somebody in the missing one's place. */
static void test_cosigners_that_do_not_count(void **state)
{
    (void)state;
    struct fake *f = fake_new();
    struct buffer other = {0};
    struct sign_secret secret;
    struct sign_public key;
    struct cosigner stranger;
    struct cosignature c;
    struct checkpoint checkpoint;
    set_true_note(&f->note, truth_size, 3);
    set_true_note(&other, truth_size, 1);
    buffer_append_bytes(&f->note, lines_of(&other)); /* the first once more */
    expect_unproven(f);
    assert_non_null(strstr(replay(f).finding.text, "cosigned it twice"));

    set_true_note(&f->note, truth_size, 3);
    sample_key(&secret, &key, 99);
    cosigner_set(&stranger, "example.org/stranger", &key);
    CHECK(checkpoint_verify(&checkpoint, buffer_bytes(&f->note), &kit.genesis) == ERR_TOO_FEW_COSIGNATURES);
    set_true_note(&other, truth_size, 7);
    CHECK(checkpoint_verify(&checkpoint, buffer_bytes(&other), &kit.genesis) == OK);
    checkpoint_cosign(&c, &checkpoint, 1790000000, &secret);
    buffer_clear(&other);
    checkpoint_format(&other, &checkpoint, &stranger, &c, 1);
    buffer_append_bytes(&f->note, lines_of(&other));
    expect_unproven(f);
    assert_non_null(strstr(replay(f).finding.text, "2 of its nodes cosigned it, but it needs 3; others don't count"));
    buffer_free(&other);
    fake_free(f);
}

/* Its nodes have the same names and keys; each of them cosigned. */
static void test_checkpoint_of_another_cluster(void **state)
{
    (void)state;
    struct fake *f = fake_new();
    struct genesis own = kit.genesis;
    char *last = kit.genesis.checkpoint_origin + strlen(kit.genesis.checkpoint_origin) - 1;
    *last ^= 1;
    set_true_note(&f->note, truth_size, 15);
    kit.genesis = own;
    expect_unproven(f);
    assert_non_null(strstr(replay(f).finding.text, "it is of another cluster"));
    set_true_note(&f->note, truth_size, 15);
    assert_int_equal(replay(f).verdict, AUDIT_FINE);
    fake_free(f);
}

static void test_forked(void **state)
{
    (void)state;
    struct fake *f = fake_new();
    struct digest other = sample_digest(9);
    struct audit_known known = known_plain();
    set_note(&f->note, truth_size - 2, &other, 7); /* three nodes signed another history */
    assert_int_equal(compare(f).verdict, AUDIT_FORKED);
    set_true_note(&f->note, truth_size, 7);
    known.seen = (struct checkpoint){.size = 17, .root = other};
    struct audit a = replay_known(f, &known);
    assert_int_equal(a.verdict, AUDIT_FORKED);
    CHECK(proof_root(&known.seen.root, kit.txn, 17) == OK);
    assert_int_equal(replay_known(f, &known).verdict, AUDIT_FINE);
    fake_free(f);
}

static void test_newer_checkpoint_unproved(void **state)
{
    (void)state;
    struct fake *f = fake_new();
    f->proofs = NULL;
    assert_int_equal(compare_with(f, truth_size - 4).verdict, AUDIT_UNPROVEN);
    fake_free(f);
}

/* --- this machine's trouble --- */

static void test_no_room(void **state)
{
    (void)state;
    struct verifier *v;
    struct failure failure = {0};
    char *before = getenv("TMPDIR") ? strdup(getenv("TMPDIR")) : NULL;
    setenv("TMPDIR", "/proc/nonexistent", 1);
    assert_int_equal(verifier_open(&v, &kit.genesis, &failure), ERR_IO);
    assert_non_null(strstr(failure.text, "TMPDIR"));
    if (before)
        setenv("TMPDIR", before, 1);
    else
        unsetenv("TMPDIR");
    free(before);
}

static void test_words(void **state)
{
    (void)state;
    char words[240];
    struct fake *f = fake_new();
    leaf_words(words, sizeof words, buffer_bytes(&f->leaves[0]));
    assert_non_null(strstr(words, "genesis"));
    leaf_words(words, sizeof words, bytes_text("nonsense"));
    assert_non_null(strstr(words, "no entry"));
    leaf_words(words, sizeof words, buffer_bytes(&f->leaves[truth_size - 1]));
    assert_non_null(strstr(words, "event.add by "));
    fake_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_checkpoints),
        cmocka_unit_test(test_cosigners_that_do_not_count),
        cmocka_unit_test(test_checkpoint_of_another_cluster),
        cmocka_unit_test(test_forked),
        cmocka_unit_test(test_newer_checkpoint_unproved),
        cmocka_unit_test(test_no_room),
        cmocka_unit_test(test_words),
    };
    return cmocka_run_group_tests(tests, bed_open, bed_close);
}
