#include "tests/unit/cli/bed_auditing.h"

/* --- the true ledger --- */

struct kit kit;
uint64_t truth_size;

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

int bed_open(void **state)
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

int bed_close(void **state)
{
    (void)state;
    kit_close(&kit);
    return 0;
}

/* --- sources --- */

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

void set_note(struct buffer *out, uint64_t size, const struct digest *root, unsigned mask)
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

void set_true_note(struct buffer *out, uint64_t size, unsigned mask)
{
    struct digest root;
    CHECK(proof_root(&root, kit.txn, size) == OK);
    set_note(out, size, &root, mask);
}

struct fake *fake_new(void)
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

void fake_free(struct fake *f)
{
    for (size_t i = 0; i < MOST; i++) buffer_free(&f->leaves[i]);
    buffer_free(&f->note);
    free(f);
}

void put_leaf(struct fake *f, uint64_t index, const struct leaf *leaf)
{
    struct buffer fresh = {0};
    leaf_encode(&fresh, leaf);
    CHECK(!fresh.failed);
    buffer_free(&f->leaves[index]);
    f->leaves[index] = fresh;
}

struct leaf get_leaf(const struct fake *f, uint64_t index)
{
    struct leaf leaf;
    CHECK(leaf_decode(&leaf, buffer_bytes(&f->leaves[index])) == OK);
    return leaf;
}

void rechain(struct fake *f, uint64_t from)
{
    for (uint64_t i = from; i < f->count; i++) {
        struct leaf leaf = get_leaf(f, i);
        leaf.index = i;
        leaf_hash(&leaf.previous, buffer_bytes(&f->leaves[i - 1]));
        put_leaf(f, i, &leaf);
    }
}

void remove_leaf(struct fake *f, uint64_t index)
{
    buffer_free(&f->leaves[index]);
    memmove(&f->leaves[index], &f->leaves[index + 1], (f->count - index - 1) * sizeof f->leaves[0]);
    f->leaves[--f->count] = (struct buffer){0};
}

/* --- auditing --- */

struct audit_known known_plain(void)
{
    return (struct audit_known){.genesis = &kit.genesis, .least = truth_size};
}

struct audit replay_known(struct fake *f, const struct audit_known *known)
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

struct audit replay(struct fake *f)
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

struct audit compare_with(struct fake *f, uint64_t size)
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

struct audit compare_alone(struct fake *f)
{
    struct audit audit;
    struct audit_known known;
    struct verifier *v = reference(&known, truth_size);
    assert_int_equal(audit_compare(&audit, v, &f->source, &known, NULL), OK);
    verifier_close(v);
    return audit;
}

struct audit compare(struct fake *f) { return compare_with(f, truth_size); }

void assert_wrong_at(const struct audit *a, uint64_t index)
{
    if (a->verdict != AUDIT_WRONG || a->finding.index != index || !a->finding.located)
        fail_msg("expected wrong at %llu, got %s at %llu (%s)", (unsigned long long)index, audit_word(a->verdict),
                 (unsigned long long)a->finding.index, a->finding.text);
    assert_int_equal(a->checked, index);
    assert_true(a->finding.text[0]);
}
