/* Audits of ledgers that lie in memory: whole, altered in every way that one
 * node's operator could think of, cut, silent, or with checkpoints that are none. */
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "cli/audit.h"
#include "cli/leaf_words.h"
#include "ledger/leaf.h"
#include "ledger/proof.h"
#include "tests/lib/ledger_kit.h"
#include "tests/lib/samples.h"
#include "tests/lib/unit.h"

#define NONE ((struct bytes){0})
#define MOST 400

/* --- the true ledger --- */

static struct kit kit;
static uint64_t truth_size;

static void do_event(const struct kit_actor *who, unsigned patient, const char *what)
{
    struct arguments a = {.action = ACTION_EVENT_ADD};
    a.event_add = (struct args_event_add){sample_id(patient), bytes_text(what), bytes_text("B-17")};
    kit_do(&kit, who, &a, NONE);
}

/* One request of several operations: leaves that share a signature. */
static void do_batch(const struct kit_actor *who, unsigned patient, uint32_t count)
{
    struct request_builder *builder = xcalloc(1, sizeof *builder);
    struct buffer request = {0};
    for (uint32_t i = 0; i < count; i++) {
        struct buffer args = {0};
        struct args_event_add event = {sample_id(patient), bytes_text("visit.add"), bytes_text("V-1")};
        args_event_add_encode(&args, &event);
        struct operation op = {.cluster = kit.genesis.cluster, .request_id = sample_id(++kit.ids),
                               .issued_at_ms = kit.now,
                               .actor = who->actor, .action = ACTION_EVENT_ADD, .args = buffer_bytes(&args)};
        CHECK(request_builder_add(builder, &op, NONE) == OK);
        buffer_free(&args);
    }
    CHECK(request_builder_sign(&request, builder, &who->secret) == OK);
    struct bytes bytes = buffer_bytes(&request);
    kit_apply(&kit, &bytes, 1);
    buffer_free(&request);
    request_builder_free(builder);
    free(builder);
}

static int setup(void **state)
{
    (void)state;
    kit_open(&kit, 4, 1, NONE);
    kit_activate(&kit, KEY_RECORDS);
    struct kit_actor doctor = kit_add_user(&kit, 1, "doctor", "Mercy", "Dr. House");
    struct kit_actor nurse = kit_add_user(&kit, 2, "nurse", "Mercy", "Nurse Joy");
    kit_add_user(&kit, 5, "patient", "Mercy", "Jane Doe");
    kit_add_team(&kit, 5, 1);
    struct buffer content = {0};
    kit_content(&content, "content");
    struct arguments create = {.action = ACTION_RECORD_CREATE};
    create.record_create = (struct args_record_create){sample_id(70), sample_id(5), bytes_text("Note"), CONF_RESTRICTED,
                                                       {{0}}};
    kit_do(&kit, &doctor, &create, buffer_bytes(&content));
    buffer_free(&content);
    struct arguments list = {.action = ACTION_RECORD_LIST};
    list.record_list = (struct args_record_list){.patient = sample_id(5), .limit = 10};
    kit_do(&kit, &nurse, &list, NONE); /* denied */
    for (int i = 0; i < 4; i++) do_event(&doctor, 5, "bill.print");
    do_batch(&doctor, 5, 5);
    do_event(&nurse, 5, "bill.print");
    for (int i = 0; i < 4; i++) do_event(&doctor, 5, "visit.add");
    truth_size = ledger_size(kit.ledger);
    CHECK(truth_size < MOST);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    kit_close(&kit);
    return 0;
}

/* --- sources --- */

struct fake {
    struct ledger_source source;
    uint64_t count; /* leaves that it gives */
    struct buffer leaves[MOST];
    uint64_t says;  /* how many it says that it has */
    uint32_t per_page;
    uint64_t hole, silent_from; /* MOST: none */
    struct buffer note;
    enum err note_error;
    struct table_txn *proofs; /* whose tree its proofs come from; NULL: it gives none */
    unsigned calls, waits;
    uint64_t grows; /* leaves that turn up while it is waited for */
    struct bytes views[MOST];
};

static enum err fake_leaves(void *data, struct leaf_page *out, uint64_t from, uint32_t most, struct failure *failure)
{
    struct fake *f = data;
    CHECK(most >= 1 && ++f->calls < 100000);
    uint32_t count = 0;
    while (count < most && count < f->per_page && from + count < f->count) {
        uint64_t at = from + count;
        if (at >= f->silent_from) {
            if (count > 0) break;
            return fail(failure, ERR_TIMEOUT, "no answer");
        }
        if (at == f->hole) return fail(failure, ERR_NOT_FOUND, "not found");
        f->views[count++] = buffer_bytes(&f->leaves[at]);
    }
    *out = (struct leaf_page){count, f->views, f->says};
    return OK;
}

static enum err fake_checkpoint(void *data, struct buffer *note, struct failure *failure)
{
    struct fake *f = data;
    if (f->note_error != OK) return fail(failure, f->note_error, "no checkpoint for you");
    buffer_append_bytes(note, buffer_bytes(&f->note));
    return OK;
}

static enum err fake_consistency(void *data, struct tree_proof *out, uint64_t old_size, uint64_t new_size,
                                 struct failure *failure)
{
    struct fake *f = data;
    enum err e = f->proofs ? proof_consistency(out, f->proofs, old_size, new_size) : ERR_INVALID;
    return e == OK ? OK : fail(failure, e, "no proof");
}

static bool fake_wait(void *data, uint32_t waited_ms)
{
    struct fake *f = data;
    f->waits++;
    f->count += f->grows;
    f->says += f->grows;
    return waited_ms < 5 * SOURCE_WAIT_MS;
}

/* A note for this tree, cosigned by those in `mask` (bit i: member i + 1). */
static void set_note(struct buffer *out, uint64_t size, const struct digest *root, unsigned mask)
{
    struct checkpoint checkpoint;
    struct cosigner cosigners[LIMIT_NODES];
    struct cosignature cosignatures[LIMIT_NODES] = {{0}};
    checkpoint_set(&checkpoint, &kit.genesis, size, root);
    uint32_t n = cosigners_of_genesis(cosigners, &kit.genesis);
    for (uint32_t i = 0; i < n; i++)
        if (mask >> i & 1) checkpoint_cosign(&cosignatures[i], &checkpoint, 1790000000, &kit.nodes[i + 1].cosign);
    buffer_clear(out);
    checkpoint_format(out, &checkpoint, cosigners, cosignatures, n);
    CHECK(!out->failed);
}

static void set_true_note(struct buffer *out, uint64_t size, unsigned mask)
{
    struct digest root;
    CHECK(proof_root(&root, kit.txn, size) == OK);
    set_note(out, size, &root, mask);
}

static struct fake *fake_new(void)
{
    struct fake *f = xcalloc(1, sizeof *f);
    f->source = (struct ledger_source){"mercy", f, fake_leaves, fake_checkpoint, fake_consistency, NULL, fake_wait};
    f->count = f->says = truth_size;
    f->per_page = 7;
    f->hole = f->silent_from = MOST;
    f->proofs = kit.txn;
    for (uint64_t i = 0; i < truth_size; i++) CHECK(proof_leaf(&f->leaves[i], kit.txn, i) == OK);
    set_true_note(&f->note, truth_size, 7);
    return f;
}

static void fake_free(struct fake *f)
{
    for (size_t i = 0; i < MOST; i++) buffer_free(&f->leaves[i]);
    buffer_free(&f->note);
    free(f);
}

static void put_leaf(struct fake *f, uint64_t index, const struct leaf *leaf)
{
    struct buffer fresh = {0};
    leaf_encode(&fresh, leaf);
    CHECK(!fresh.failed);
    buffer_free(&f->leaves[index]);
    f->leaves[index] = fresh;
}

static struct leaf get_leaf(const struct fake *f, uint64_t index)
{
    struct leaf leaf;
    CHECK(leaf_decode(&leaf, buffer_bytes(&f->leaves[index])) == OK);
    return leaf;
}

/* What any operator can do without a user's key: number and chain the leaves anew. */
static void rechain(struct fake *f, uint64_t from)
{
    for (uint64_t i = from; i < f->count; i++) {
        struct leaf leaf = get_leaf(f, i);
        leaf.index = i;
        leaf_hash(&leaf.previous, buffer_bytes(&f->leaves[i - 1]));
        put_leaf(f, i, &leaf);
    }
}

static void remove_leaf(struct fake *f, uint64_t index)
{
    buffer_free(&f->leaves[index]);
    memmove(&f->leaves[index], &f->leaves[index + 1], (f->count - index - 1) * sizeof f->leaves[0]);
    f->leaves[--f->count] = (struct buffer){0};
}

/* --- auditing --- */

static struct audit_known known_plain(void)
{
    return (struct audit_known){.genesis = &kit.genesis, .least = truth_size};
}

static struct audit replay_known(struct fake *f, const struct audit_known *known)
{
    struct audit audit;
    struct verifier *v;
    struct buffer note = {0};
    struct failure failure = {0};
    assert_int_equal(verifier_open(&v, &kit.genesis, &failure), OK);
    assert_int_equal(audit_replay(&audit, &note, v, &f->source, known, &failure), OK);
    if (audit.verdict == AUDIT_FINE) assert_true(note.size > 0);
    verifier_close(v);
    buffer_free(&note);
    return audit;
}

static struct audit replay(struct fake *f)
{
    struct audit_known known = known_plain();
    return replay_known(f, &known);
}

/* A verifier that holds the first `size` true leaves, and its checkpoint. */
static struct verifier *reference(struct audit_known *known, uint64_t size)
{
    struct verifier *v;
    struct finding finding;
    struct fake *f = fake_new();
    assert_int_equal(verifier_open(&v, &kit.genesis, NULL), OK);
    for (uint64_t i = 0; i < size; i++) {
        struct bytes leaf = buffer_bytes(&f->leaves[i]);
        assert_int_equal(verifier_take(v, &finding, &leaf, 1, NULL), OK);
    }
    assert_int_equal(verifier_settle(v, &finding, NULL), OK);
    assert_int_equal(finding.code, OK);
    *known = (struct audit_known){.genesis = &kit.genesis, .least = size};
    known->reference.size = size;
    assert_int_equal(verifier_root(&known->reference.root, v, size, NULL), OK);
    fake_free(f);
    return v;
}

static struct audit compare_with(struct fake *f, uint64_t size)
{
    struct audit audit;
    struct audit_known known;
    struct verifier *v = reference(&known, size);
    struct fake *origin = fake_new();
    known.origin = &origin->source;
    assert_int_equal(audit_compare(&audit, v, &f->source, &known, NULL), OK);
    fake_free(origin);
    verifier_close(v);
    return audit;
}

/* Nobody can say what the entry should be in words. */
static struct audit compare_alone(struct fake *f)
{
    struct audit audit;
    struct audit_known known;
    struct verifier *v = reference(&known, truth_size);
    assert_int_equal(audit_compare(&audit, v, &f->source, &known, NULL), OK);
    verifier_close(v);
    return audit;
}

static struct audit compare(struct fake *f) { return compare_with(f, truth_size); }

static void assert_wrong_at(const struct audit *a, uint64_t index)
{
    if (a->verdict != AUDIT_WRONG || a->finding.index != index || !a->finding.located)
        fail_msg("expected wrong at %llu, got %s at %llu (%s)", (unsigned long long)index, audit_word(a->verdict),
                 (unsigned long long)a->finding.index, a->finding.text);
    assert_int_equal(a->checked, index);
    assert_true(a->finding.text[0]);
}

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
        cmocka_unit_test(test_bad_checkpoints),
        cmocka_unit_test(test_cosigners_that_do_not_count),
        cmocka_unit_test(test_checkpoint_of_another_cluster),
        cmocka_unit_test(test_forked),
        cmocka_unit_test(test_newer_checkpoint_unproved),
        cmocka_unit_test(test_no_room),
        cmocka_unit_test(test_words),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
