/* Audits of ledgers that lie in memory: whole, altered in every way that one
 * node's operator could think of, cut, or silent. */
#include "tests/unit/cli/bed_auditing.h"

/* --- whole ledgers --- */

static void test_fine(void **state)
{
    (void)state;
    for (uint32_t per_page = 1; per_page < 100; per_page = per_page * 3 + 1) {
        struct fake *f = fake_new();
        f->per_page = per_page;
        struct audit a = replay(f), b = compare(f);
        struct digest root = ledger_root(kit.ledger);
        assert_int_equal(a.verdict, AUDIT_FINE);
        assert_int_equal(a.checked, truth_size);
        assert_int_equal(a.size, truth_size);
        assert_true(digest_equal(&a.root, &root));
        assert_int_equal(b.verdict, AUDIT_FINE);
        assert_int_equal(b.checked, truth_size);
        fake_free(f);
    }
}

/* A checkpoint that lags behind the ledger bounds what is checked. */
static void test_older_checkpoint(void **state)
{
    (void)state;
    struct fake *f = fake_new();
    set_true_note(&f->note, truth_size - 3, 15);
    struct audit_known known = {.genesis = &kit.genesis, .least = truth_size - 5};
    struct audit a = replay_known(f, &known);
    assert_int_equal(a.verdict, AUDIT_FINE);
    assert_int_equal(a.checked, truth_size - 3);
    assert_int_equal(compare(f).verdict, AUDIT_FINE);
    fake_free(f);
}

static void test_grows_on(void **state)
{
    (void)state;
    struct fake *f = fake_new();
    struct audit a = compare_with(f, truth_size - 4); /* its own checkpoint is newer: a consistency proof */
    assert_int_equal(a.verdict, AUDIT_FINE);
    assert_int_equal(a.checked, truth_size - 4);
    f->count = f->says = truth_size - 4; /* lags, and catches up while it is waited for */
    f->grows = 1;
    a = replay(f);
    assert_int_equal(a.verdict, AUDIT_FINE);
    assert_int_equal(f->waits, 4);
    fake_free(f);
}

/* --- altered entries --- */

static void turn_decision(struct fake *f, uint64_t index)
{
    struct leaf leaf = get_leaf(f, index);
    bool approved = leaf.decision == DECISION_APPROVED;
    leaf.decision = approved ? DECISION_DENIED : DECISION_APPROVED;
    leaf.reason = approved ? REASON_NO_PERMISSION : REASON_NONE;
    put_leaf(f, index, &leaf);
}

static void test_decision_turned(void **state)
{
    (void)state;
    for (uint64_t i = 1; i < truth_size; i++) {
        struct fake *f = fake_new();
        turn_decision(f, i);
        struct audit a = replay(f), b = compare(f);
        assert_wrong_at(&a, i);
        assert_int_equal(a.finding.code, ERR_DECISION);
        assert_wrong_at(&b, i);
        assert_non_null(strstr(b.finding.expected, get_leaf(f, i).decision == DECISION_APPROVED ? "denied"
                                                                                                : "approved"));
        fake_free(f);
    }
}

/* Fits itself and all before it: only the next one's hash, or the checkpoint, shows it. */
static void test_time_altered(void **state)
{
    (void)state;
    for (uint64_t i = 1; i < truth_size; i++) {
        struct fake *f = fake_new();
        struct leaf leaf = get_leaf(f, i);
        leaf.time_ms++;
        put_leaf(f, i, &leaf);
        struct audit a = replay(f), b = compare(f);
        assert_wrong_at(&a, i);
        assert_wrong_at(&b, i);
        f->proofs = NULL; /* without proofs the one after it is the best that can be said */
        a = replay(f);
        assert_int_equal(a.verdict, AUDIT_WRONG);
        assert_int_equal(a.finding.located, i + 1 < truth_size);
        if (i + 1 < truth_size) assert_int_equal(a.finding.index, i + 1);
        fake_free(f);
    }
}

static void test_swapped(void **state)
{
    (void)state;
    for (uint64_t i = 1; i + 1 < truth_size; i += 3) {
        struct fake *f = fake_new();
        struct buffer kept = f->leaves[i];
        f->leaves[i] = f->leaves[i + 1];
        f->leaves[i + 1] = kept;
        struct audit a = replay(f), b = compare(f);
        assert_wrong_at(&a, i);
        assert_wrong_at(&b, i);
        fake_free(f);
    }
}

static void test_signature_altered(void **state)
{
    (void)state;
    for (uint64_t i = 1; i < truth_size; i += 2) {
        struct fake *f = fake_new();
        struct leaf leaf = get_leaf(f, i);
        leaf.signature.bytes[i % 64] ^= 1;
        put_leaf(f, i, &leaf);
        struct audit a = replay(f), b = compare(f), c = compare_alone(f);
        assert_wrong_at(&a, i);
        assert_int_equal(a.finding.code, ERR_BAD_SIGNATURE);
        assert_wrong_at(&b, i);
        assert_true(b.finding.expected[0] && b.finding.found[0]);
        assert_wrong_at(&c, i);
        assert_true(!c.finding.expected[0] && c.finding.found[0]);
        fake_free(f);
    }
}

/* An access that never was, by an operator who has no user's key. */
static void test_operation_altered(void **state)
{
    (void)state;
    struct fake *f = fake_new();
    uint64_t at = truth_size - 2;
    struct leaf leaf = get_leaf(f, at);
    struct buffer operation = {0};
    leaf.operation.issued_at_ms++;
    operation_encode(&operation, &leaf.operation);
    leaf.operation.raw = buffer_bytes(&operation);
    put_leaf(f, at, &leaf);
    struct audit a = replay(f), b = compare(f);
    assert_wrong_at(&a, at);
    assert_int_equal(a.finding.code, ERR_BAD_SIGNATURE);
    assert_wrong_at(&b, at);
    assert_non_null(strstr(b.finding.found, "event.add by "));
    buffer_free(&operation);
    fake_free(f);
}

static void test_removed(void **state)
{
    (void)state;
    for (uint64_t i = 1; i < truth_size; i += 2) {
        struct fake *f = fake_new();
        remove_leaf(f, i);
        f->says = f->count;
        struct audit a = replay(f), b = compare(f);
        if (i + 1 == truth_size) {
            assert_int_equal(a.verdict, AUDIT_SHORT);
            assert_int_equal(b.verdict, AUDIT_SHORT);
        } else {
            assert_wrong_at(&a, i);
            assert_wrong_at(&b, i);
        }
        fake_free(f);
    }
}

/* All leaves after it made anew: each follows from those before, but the root is
 * another. Proofs that the node still has from before tell where. */
static void test_removed_and_rechained(void **state)
{
    (void)state;
    for (uint64_t i = truth_size - 12; i + 1 < truth_size; i++) {
        struct fake *f = fake_new();
        remove_leaf(f, i);
        rechain(f, i);
        f->says = f->count;
        set_true_note(&f->note, f->count, 7); /* an older true checkpoint of the new size */
        struct audit_known known = {.genesis = &kit.genesis, .least = f->count};
        struct audit a = replay_known(f, &known), b = compare_with(f, f->count);
        assert_wrong_at(&a, i);
        assert_int_equal(a.finding.code, ERR_ROOT);
        assert_wrong_at(&b, i);
        f->proofs = NULL;
        a = replay_known(f, &known);
        assert_int_equal(a.verdict, AUDIT_WRONG);
        assert_false(a.finding.located);
        assert_non_null(strstr(a.finding.expected, "root "));
        fake_free(f);
    }
}

static void test_other_genesis(void **state)
{
    (void)state;
    struct genesis other;
    struct buffer text = {0}, leaf = {0};
    struct fake *f = fake_new();
    sample_genesis_parsed(&other, &text, 5, 1);
    genesis_leaf(&leaf, &other);
    buffer_free(&f->leaves[0]);
    f->leaves[0] = leaf;
    struct audit a = replay(f), b = compare(f);
    assert_wrong_at(&a, 0);
    assert_int_equal(a.finding.code, ERR_OTHER_CLUSTER);
    assert_wrong_at(&b, 0);
    buffer_free(&text);
    fake_free(f);
}

/* Bytes changed at random: never fine, never a later entry than the one that was hit. */
static void test_bytes_altered(void **state)
{
    (void)state;
    const char *given = getenv("SEED");
    unsigned seed = given ? (unsigned)strtoul(given, NULL, 10) : 20261121;
    srandom(seed);
    for (int round = 0; round < 300; round++) {
        struct fake *f = fake_new();
        uint64_t i = (uint64_t)random() % truth_size;
        struct buffer *leaf = &f->leaves[i];
        switch (random() % 3) {
        case 0: leaf->data[(size_t)random() % leaf->size] ^= (uint8_t)(1 + random() % 255); break;
        case 1: leaf->size = (size_t)random() % leaf->size; break;
        case 2: buffer_append(leaf, "\0", 1); break;
        }
        struct audit a = replay(f), b = compare(f);
        if (a.verdict != AUDIT_WRONG || a.finding.index != i || b.verdict != AUDIT_WRONG || b.finding.index != i)
            fail_msg("SEED=%u, round %d, entry %llu: %s at %llu (%s), %s at %llu", seed, round, (unsigned long long)i,
                     audit_word(a.verdict), (unsigned long long)a.finding.index, a.finding.text, audit_word(b.verdict),
                     (unsigned long long)b.finding.index);
        fake_free(f);
    }
}

/* --- missing entries --- */

static void test_hole(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < truth_size; i += 5) {
        struct fake *f = fake_new();
        f->hole = i;
        f->per_page = MOST;
        struct audit a = replay(f), b = compare(f);
        assert_wrong_at(&a, i);
        assert_wrong_at(&b, i);
        assert_true(f->calls < 60); /* halving, not one by one */
        assert_string_equal(b.finding.found, "nothing");
        assert_true(b.finding.expected[0]);
        fake_free(f);
    }
}

/* It claims to have them, but a page comes empty. */
static void test_gives_nothing(void **state)
{
    (void)state;
    struct fake *f = fake_new();
    f->count = 20;
    struct audit a = replay(f), b = compare(f);
    assert_wrong_at(&a, 20);
    assert_wrong_at(&b, 20);
    fake_free(f);
}

static void test_short(void **state)
{
    (void)state;
    for (uint64_t size = 1; size < truth_size; size += 4) {
        struct fake *f = fake_new();
        f->count = f->says = size;
        struct audit a = replay(f), b = compare(f);
        assert_int_equal(a.verdict, AUDIT_SHORT);
        assert_int_equal(a.finding.index, size);
        assert_int_equal(a.checked, size);
        assert_int_equal(b.verdict, AUDIT_SHORT);
        assert_int_equal(b.finding.index, size);
        assert_true(f->waits > 0);
        fake_free(f);
    }
}

/* Cut, with a true checkpoint of that time: what is known to be recorded is missing. */
static void test_cut_with_old_checkpoint(void **state)
{
    (void)state;
    struct fake *f = fake_new();
    f->count = f->says = truth_size - 6;
    set_true_note(&f->note, truth_size - 6, 15);
    struct audit a = replay(f);
    assert_int_equal(a.verdict, AUDIT_SHORT);
    assert_int_equal(a.finding.index, truth_size - 6);
    struct audit_known known = {.genesis = &kit.genesis, .least = 1};
    known.seen.size = truth_size;
    assert_int_equal(replay_known(f, &known).verdict, AUDIT_SHORT);
    fake_free(f);
}

static void test_silent(void **state)
{
    (void)state;
    struct fake *f = fake_new();
    f->silent_from = 30;
    struct audit a = replay(f), b = compare(f);
    assert_int_equal(a.verdict, AUDIT_SILENT);
    assert_int_equal(a.checked, 30);
    assert_int_equal(b.verdict, AUDIT_SILENT);
    assert_false(audit_failed(b.verdict));
    f->silent_from = 0;
    assert_int_equal(replay(f).verdict, AUDIT_UNREACHABLE);
    f->silent_from = MOST;
    f->note_error = ERR_UNREACHABLE;
    a = replay(f);
    assert_int_equal(a.verdict, AUDIT_UNREACHABLE);
    assert_string_equal(a.finding.text, "no checkpoint for you");
    fake_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fine),
        cmocka_unit_test(test_older_checkpoint),
        cmocka_unit_test(test_grows_on),
        cmocka_unit_test(test_decision_turned),
        cmocka_unit_test(test_time_altered),
        cmocka_unit_test(test_swapped),
        cmocka_unit_test(test_signature_altered),
        cmocka_unit_test(test_operation_altered),
        cmocka_unit_test(test_removed),
        cmocka_unit_test(test_removed_and_rechained),
        cmocka_unit_test(test_other_genesis),
        cmocka_unit_test(test_bytes_altered),
        cmocka_unit_test(test_hole),
        cmocka_unit_test(test_gives_nothing),
        cmocka_unit_test(test_short),
        cmocka_unit_test(test_cut_with_old_checkpoint),
        cmocka_unit_test(test_silent),
    };
    return cmocka_run_group_tests(tests, bed_open, bed_close);
}
