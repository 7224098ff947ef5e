/* Applying: what gets a leaf and what does not, the state after each, and that a
 * replay of the leaves gives the same state. */
#include "tests/lib/unit.h"

#include <stdio.h>

#include "base/check.h"
#include "ledger/leaf.h"
#include "ledger/proof.h"
#include "ledger/release.h"
#include "tests/lib/ledger_kit.h"
#include "tests/lib/samples.h"

#define NONE ((struct bytes){0})

static struct arguments event_args(unsigned patient)
{
    struct arguments a = {.action = ACTION_EVENT_ADD};
    a.event_add = (struct args_event_add){sample_id(patient), bytes_text("bill.print"), bytes_text("B-17")};
    return a;
}

static struct arguments record_args(unsigned record, unsigned patient, enum confidentiality conf)
{
    struct arguments a = {.action = ACTION_RECORD_CREATE};
    a.record_create =
        (struct args_record_create){sample_id(record), sample_id(patient), bytes_text("Observation"), conf, {{0}}};
    return a;
}

static struct arguments read_args(unsigned record, uint64_t version)
{
    struct arguments a = {.action = ACTION_RECORD_READ};
    a.record_read = (struct args_record_read){
        .record = sample_id(record), .version = version, .reader_key = {{5}}, .limit = 1};
    return a;
}

static struct arguments update_args(unsigned record, unsigned patient, uint64_t base, enum confidentiality conf)
{
    struct arguments a = {.action = ACTION_RECORD_UPDATE};
    a.record_update = (struct args_record_update){sample_id(record), sample_id(patient), base, conf, {{0}}};
    return a;
}

/* A doctor 1, a nurse 2, a patient 5 with both in the team, records possible. */
struct ward {
    struct kit kit;
    struct kit_actor doctor, nurse, patient;
};

static void ward_open(struct ward *w)
{
    kit_open(&w->kit, 4, 1, NONE);
    kit_activate(&w->kit, KEY_RECORDS);
    w->doctor = kit_add_user(&w->kit, 1, "doctor", "Mercy", "Dr. House");
    w->nurse = kit_add_user(&w->kit, 2, "nurse", "Mercy", "Nurse Joy");
    w->patient = kit_add_user(&w->kit, 5, "patient", "Mercy", "Jane Doe");
    kit_add_team(&w->kit, 5, 1);
    kit_add_team(&w->kit, 5, 2);
}

static void assert_replays(struct kit *kit)
{
    struct kit other;
    kit_open_empty(&other, kit);
    kit_replay_all(&other, kit);
    struct digest a = ledger_root(kit->ledger), b = ledger_root(other.ledger);
    assert_string_equal(kit_difference(kit, &other), "");
    assert_true(digest_equal(&a, &b));
    kit_close(&other);
}

static void expect(const struct ledger_result *r, enum reason reason)
{
    assert_int_equal(r->code, OK);
    assert_int_equal(r->reason, reason);
    assert_int_equal(r->decision, reason == REASON_NONE ? DECISION_APPROVED : DECISION_DENIED);
    struct leaf leaf;
    assert_int_equal(leaf_decode(&leaf, r->leaf), OK);
    assert_int_equal(leaf.index, r->leaf_index);
    assert_int_equal(leaf.reason, reason);
}

static void test_genesis(void **state)
{
    (void)state;
    struct kit kit;
    struct buffer leaf = {0};
    kit_open(&kit, 4, 1, NONE);
    assert_int_equal(ledger_size(kit.ledger), 1);
    assert_int_equal(proof_leaf(&leaf, kit.txn, 0), OK);
    struct digest root = ledger_root(kit.ledger), hash;
    tree_leaf_hash(&hash, buffer_bytes(&leaf));
    assert_true(digest_equal(&root, &hash));
    struct ledger *again;
    assert_int_equal(ledger_create(&again, kit.txn, buffer_bytes(&kit.genesis_text), NULL), ERR_EXISTS);
    kit_reopen(&kit);
    struct digest reopened = ledger_root(kit.ledger);
    assert_true(digest_equal(&root, &reopened));
    buffer_free(&leaf);
    kit_close(&kit);
}

static void test_empty_store(void **state)
{
    (void)state;
    struct kit kit, other;
    struct ledger *ledger;
    kit_open(&kit, 4, 1, NONE);
    kit_open_empty(&other, &kit);
    assert_int_equal(ledger_open(&ledger, other.txn, NULL), ERR_NOT_FOUND);
    kit_close(&kit);
    kit_close(&other);
}

/* The only rows of a table of the open ledger, gone. */
static void lose_rows(struct kit *kit, uint8_t table)
{
    struct table_cursor *c;
    struct buffer key = {0};
    for (;;) {
        assert_int_equal(table_cursor_open(&c, kit->txn, table), OK);
        enum err e = table_cursor_seek(c, (struct bytes){0});
        buffer_clear(&key);
        if (e == OK) buffer_append_bytes(&key, table_cursor_key(c));
        table_cursor_close(c);
        if (e != OK) break;
        assert_int_equal(table_delete(kit->txn, table, buffer_bytes(&key)), OK);
    }
    buffer_free(&key);
}

/* What a damaged store has lost doesn't make it a new one. */
static void test_lost_tables(void **state)
{
    (void)state;
    static const uint8_t lost[] = {TABLE_LEAF, TABLE_TREE, TABLE_POLICY};
    struct ledger *ledger;
    struct failure failure = {.code = OK};
    for (unsigned i = 0; i < sizeof lost; i++) {
        struct kit kit;
        kit_open(&kit, 4, 1, NONE);
        lose_rows(&kit, lost[i]);
        assert_int_equal(ledger_open(&ledger, kit.txn, &failure), ERR_CORRUPT);
        assert_int_equal(failure.code, ERR_CORRUPT);
        kit_close(&kit);
    }
    struct kit kit;
    kit_open(&kit, 4, 1, NONE);
    lose_rows(&kit, TABLE_META);
    assert_int_equal(ledger_open(&ledger, kit.txn, NULL), ERR_NOT_FOUND);
    assert_int_equal(ledger_create(&ledger, kit.txn, buffer_bytes(&kit.genesis_text), &failure), ERR_CORRUPT);
    kit_close(&kit);
}

static void test_event(void **state)
{
    (void)state;
    struct ward w;
    ward_open(&w);
    struct arguments a = event_args(5);
    uint64_t size = ledger_size(w.kit.ledger);
    const struct ledger_result *r = kit_do(&w.kit, &w.doctor, &a, bytes_text("printed twice"));
    expect(r, REASON_NONE);
    assert_int_equal(r->leaf_index, size);
    struct leaf leaf;
    assert_int_equal(leaf_decode(&leaf, r->leaf), OK);
    struct id patient = sample_id(5);
    assert_true(id_equal(&leaf.subject, &patient));
    assert_int_equal(leaf_verify(&leaf, &w.doctor.key), OK);
    assert_int_equal(ledger_size(w.kit.ledger), size + 1);
    assert_replays(&w.kit);
    kit_close(&w.kit);
}

/* A read of one version is fixed at its leaf; later updates change nothing of it. */
static void test_record_read(void **state)
{
    (void)state;
    struct ward w;
    struct buffer content = {0}, content2 = {0}, ciphertext = {0};
    struct release release;
    struct content_info info;
    ward_open(&w);
    kit_content(&content, "first version, encrypted");
    kit_content(&content2, "second and its tag");
    struct arguments a = record_args(100, 5, CONF_NORMAL);
    expect(kit_do(&w.kit, &w.doctor, &a, buffer_bytes(&content)), REASON_NONE);
    a = read_args(100, 0);
    const struct ledger_result *r = kit_do(&w.kit, &w.nurse, &a, NONE);
    expect(r, REASON_NONE);
    uint64_t read = r->leaf_index;
    a = update_args(100, 5, 1, CONF_RESTRICTED);
    expect(kit_do(&w.kit, &w.doctor, &a, buffer_bytes(&content2)), REASON_NONE);
    assert_int_equal(release_load(&release, w.kit.txn, read), OK);
    assert_int_equal(release.count, 1);
    assert_int_equal(release.items[0].version, 1);
    assert_true(id_equal(&release.reader, &w.nurse.actor.id));
    assert_int_equal(release_info(&info, w.kit.txn, &release, 0), OK);
    assert_int_equal(info.ciphertext_size, strlen("first version, encrypted"));
    assert_int_equal(release_ciphertext(&ciphertext, w.kit.txn, &release, 0, &info), OK);
    assert_true(bytes_equal(buffer_bytes(&ciphertext), bytes_text("first version, encrypted")));
    assert_int_equal(release_info(&info, w.kit.txn, &release, 1), ERR_INVALID);
    assert_int_equal(release_load(&release, w.kit.txn, read - 1), ERR_NOT_FOUND);
    assert_int_equal(release_load(&release, w.kit.txn, read + 100), ERR_NOT_FOUND);
    a = read_args(100, 0);
    r = kit_do(&w.kit, &w.nurse, &a, NONE);
    expect(r, REASON_CONFIDENTIALITY);
    assert_int_equal(release_load(&release, w.kit.txn, r->leaf_index), ERR_NOT_FOUND);
    a = read_args(100, 1); /* the record was raised: its first version too */
    expect(kit_do(&w.kit, &w.nurse, &a, NONE), REASON_CONFIDENTIALITY);
    expect(kit_do(&w.kit, &w.doctor, &a, NONE), REASON_NONE);
    assert_replays(&w.kit);
    buffer_free(&content);
    buffer_free(&content2);
    buffer_free(&ciphertext);
    kit_close(&w.kit);
}

/* The state of now may only refuse: a disabled reader, an erased content. */
static void test_release_refused(void **state)
{
    (void)state;
    struct ward w;
    struct buffer content = {0};
    struct release release;
    struct content_info info;
    uint8_t key[8];
    ward_open(&w);
    kit_content(&content, "text and its tag");
    struct arguments a = record_args(100, 5, CONF_NORMAL);
    const struct ledger_result *r = kit_do(&w.kit, &w.doctor, &a, buffer_bytes(&content));
    expect(r, REASON_NONE);
    uint64_t written = r->leaf_index;
    a = read_args(100, 0);
    uint64_t read = kit_do(&w.kit, &w.nurse, &a, NONE)->leaf_index;
    a = (struct arguments){.action = ACTION_USER_DISABLE, .user_disable = {sample_id(2), true}};
    expect(kit_do(&w.kit, &w.kit.root, &a, NONE), REASON_NONE);
    assert_int_equal(release_load(&release, w.kit.txn, read), ERR_DENIED);
    a.user_disable.disabled = false;
    expect(kit_do(&w.kit, &w.kit.root, &a, NONE), REASON_NONE);
    assert_int_equal(release_load(&release, w.kit.txn, read), OK);
    a = (struct arguments){.action = ACTION_USER_KEY, .user_key = {sample_id(2), true, w.nurse.key}};
    expect(kit_do(&w.kit, &w.kit.root, &a, NONE), REASON_NONE);
    assert_int_equal(release_load(&release, w.kit.txn, read), ERR_DENIED);
    a = read_args(100, 0);
    read = kit_do(&w.kit, &w.doctor, &a, NONE)->leaf_index;
    assert_int_equal(release_load(&release, w.kit.txn, read), OK);
    assert_int_equal(release_info(&info, w.kit.txn, &release, 0), OK);
    put_be64(key, written);
    assert_int_equal(table_delete(w.kit.txn, TABLE_ATTACHMENT, BYTES(key)), OK);
    assert_int_equal(release_load(&release, w.kit.txn, read), OK);
    assert_int_equal(release_info(&info, w.kit.txn, &release, 0), ERR_NOT_FOUND);
    buffer_free(&content);
    kit_close(&w.kit);
}

static void test_conflict(void **state)
{
    (void)state;
    struct ward w;
    struct buffer content = {0};
    ward_open(&w);
    kit_content(&content, "text and its tag");
    struct arguments a = record_args(100, 5, CONF_NORMAL);
    expect(kit_do(&w.kit, &w.doctor, &a, buffer_bytes(&content)), REASON_NONE);
    a = update_args(100, 5, 1, CONF_NORMAL);
    expect(kit_do(&w.kit, &w.doctor, &a, buffer_bytes(&content)), REASON_NONE);
    expect(kit_do(&w.kit, &w.nurse, &a, buffer_bytes(&content)), REASON_CONFLICT);
    a = update_args(100, 5, 3, CONF_NORMAL);
    expect(kit_do(&w.kit, &w.nurse, &a, buffer_bytes(&content)), REASON_CONFLICT);
    a = record_args(100, 5, CONF_NORMAL);
    expect(kit_do(&w.kit, &w.doctor, &a, buffer_bytes(&content)), REASON_RECORD_EXISTS);
    a = (struct arguments){.action = ACTION_RECORD_DELETE, .record_delete = {sample_id(100), sample_id(5), 1}};
    expect(kit_do(&w.kit, &w.doctor, &a, NONE), REASON_CONFLICT);
    a.record_delete.base_version = 2;
    expect(kit_do(&w.kit, &w.doctor, &a, NONE), REASON_NONE);
    expect(kit_do(&w.kit, &w.doctor, &a, NONE), REASON_RECORD_DELETED);
    a = read_args(100, 0);
    expect(kit_do(&w.kit, &w.doctor, &a, NONE), REASON_RECORD_DELETED);
    a = read_args(100, 2); /* versions stay for those who may see the history */
    expect(kit_do(&w.kit, &w.doctor, &a, NONE), REASON_NONE);
    expect(kit_do(&w.kit, &w.nurse, &a, NONE), REASON_NO_PERMISSION);
    a = read_args(100, 3);
    expect(kit_do(&w.kit, &w.doctor, &a, NONE), REASON_RECORD_DELETED);
    a = read_args(100, 4);
    expect(kit_do(&w.kit, &w.doctor, &a, NONE), REASON_UNKNOWN_VERSION);
    a = update_args(100, 5, 3, CONF_NORMAL);
    expect(kit_do(&w.kit, &w.doctor, &a, buffer_bytes(&content)), REASON_RECORD_DELETED);
    assert_replays(&w.kit);
    buffer_free(&content);
    kit_close(&w.kit);
}

/* A record named with another person's id: its real patient is the one affected. */
static void test_wrong_patient(void **state)
{
    (void)state;
    struct ward w;
    struct buffer content = {0};
    struct leaf leaf;
    struct id patient = sample_id(5);
    ward_open(&w);
    kit_content(&content, "text and its tag");
    kit_add_user(&w.kit, 6, "patient", "Mercy", "Other");
    kit_add_team(&w.kit, 6, 1);
    struct arguments a = record_args(100, 5, CONF_NORMAL);
    expect(kit_do(&w.kit, &w.doctor, &a, buffer_bytes(&content)), REASON_NONE);
    a = update_args(100, 6, 1, CONF_NORMAL);
    const struct ledger_result *r = kit_do(&w.kit, &w.doctor, &a, buffer_bytes(&content));
    expect(r, REASON_UNKNOWN_RECORD);
    assert_int_equal(leaf_decode(&leaf, r->leaf), OK);
    assert_true(id_equal(&leaf.subject, &patient));
    a = update_args(101, 5, 1, CONF_NORMAL);
    expect(kit_do(&w.kit, &w.doctor, &a, buffer_bytes(&content)), REASON_UNKNOWN_RECORD);
    buffer_free(&content);
    kit_close(&w.kit);
}

/* --- without a leaf, and without any change --- */

static void expect_refused(struct kit *kit, struct bytes request, enum err code)
{
    struct digest before = kit_digest(kit);
    uint64_t size = ledger_size(kit->ledger);
    kit_apply(kit, &request, 1);
    for (size_t i = 0; i < kit->results.count; i++) {
        assert_int_equal(kit->results.items[i].code, code);
        assert_int_equal(kit->results.items[i].leaf.size, 0);
        assert_int_equal(kit->results.items[i].answer.size, 0);
    }
    struct digest after = kit_digest(kit);
    assert_true(digest_equal(&before, &after));
    assert_int_equal(ledger_size(kit->ledger), size);
}

static void test_duplicate(void **state)
{
    (void)state;
    struct ward w;
    struct buffer request = {0};
    uint64_t index;
    uint8_t decision;
    uint16_t reason;
    ward_open(&w);
    struct arguments a = event_args(5);
    uint64_t issued = w.kit.now;
    kit_request(&w.kit, &request, &w.doctor, &a, NONE);
    struct bytes one = buffer_bytes(&request), both[2] = {one, one};
    struct id id = sample_id(w.kit.ids);
    assert_int_equal(
        ledger_lookup(&index, &decision, &reason, w.kit.txn, ACTOR_USER, &w.doctor.actor.id, issued, &id),
        ERR_NOT_FOUND);
    kit_apply(&w.kit, both, 2); /* twice in one block */
    assert_int_equal(w.kit.results.items[0].code, OK);
    assert_int_equal(w.kit.results.items[1].code, ERR_DUPLICATE);
    uint64_t first = w.kit.results.items[0].leaf_index;
    assert_int_equal(w.kit.results.items[1].leaf_index, first);
    expect_refused(&w.kit, one, ERR_DUPLICATE); /* later */
    assert_int_equal(w.kit.results.items[0].leaf_index, first);
    assert_int_equal(w.kit.results.items[0].decision, DECISION_APPROVED);
    kit_reopen(&w.kit); /* after a restart */
    expect_refused(&w.kit, one, ERR_DUPLICATE);
    assert_int_equal(
        ledger_lookup(&index, &decision, &reason, w.kit.txn, ACTOR_USER, &w.doctor.actor.id, issued, &id), OK);
    assert_int_equal(index, first);
    assert_int_equal(decision, DECISION_APPROVED);
    w.kit.now = issued + LIMIT_SKEW_MS; /* the last moment */
    expect_refused(&w.kit, one, ERR_DUPLICATE);
    w.kit.now = issued + LIMIT_SKEW_MS + 1;
    expect_refused(&w.kit, one, ERR_STALE);
    buffer_free(&request);
    kit_close(&w.kit);
}

/* Old rows of `seen` go, as leaves come. */
static void test_seen_is_pruned(void **state)
{
    (void)state;
    struct ward w;
    ward_open(&w);
    struct arguments a = event_args(5);
    for (int i = 0; i < 300; i++) expect(kit_do(&w.kit, &w.doctor, &a, NONE), REASON_NONE);
    uint64_t full = table_count(w.kit.txn, TABLE_SEEN);
    assert_true(full > 300);
    w.kit.now += LIMIT_SKEW_MS + 1;
    for (int i = 0; i < 64; i++) expect(kit_do(&w.kit, &w.doctor, &a, NONE), REASON_NONE);
    assert_true(table_count(w.kit.txn, TABLE_SEEN) <= 64);
    assert_replays(&w.kit);
    kit_close(&w.kit);
}

static void test_stale(void **state)
{
    (void)state;
    struct ward w;
    struct buffer request = {0};
    ward_open(&w);
    struct arguments a = event_args(5);
    uint64_t issued = w.kit.now;
    kit_request(&w.kit, &request, &w.doctor, &a, NONE);
    w.kit.now = issued + LIMIT_SKEW_MS + 1;
    expect_refused(&w.kit, buffer_bytes(&request), ERR_STALE);
    w.kit.now = issued + 20000000;
    kit_request(&w.kit, &request, &w.doctor, &a, NONE);
    w.kit.now -= LIMIT_SKEW_MS + 1; /* from the future */
    expect_refused(&w.kit, buffer_bytes(&request), ERR_STALE);
    w.kit.now += 1; /* KIT_TICK has moved it as well */
    kit_apply(&w.kit, &(struct bytes){request.data, request.size}, 1);
    assert_int_equal(w.kit.results.items[0].code, OK);
    buffer_free(&request);
    kit_close(&w.kit);
}

static void test_other_cluster(void **state)
{
    (void)state;
    struct ward w;
    struct kit other;
    struct buffer request = {0};
    ward_open(&w);
    kit_open(&other, 5, 1, NONE);
    other.now = w.kit.now;
    struct arguments a = event_args(5);
    kit_request(&other, &request, &w.doctor, &a, NONE);
    expect_refused(&w.kit, buffer_bytes(&request), ERR_OTHER_CLUSTER);
    buffer_free(&request);
    kit_close(&w.kit);
    kit_close(&other);
}

static void test_unknown_actor(void **state)
{
    (void)state;
    struct ward w;
    struct buffer request = {0};
    ward_open(&w);
    struct arguments a = event_args(5);
    struct kit_actor stranger = kit_user(77), node = kit_node(&w.kit, 1), mixed = w.doctor;
    kit_request(&w.kit, &request, &stranger, &a, NONE);
    expect_refused(&w.kit, buffer_bytes(&request), ERR_UNKNOWN_ACTOR);
    mixed.actor.key = stranger.actor.key; /* a key that is not this user's */
    mixed.secret = stranger.secret;
    kit_request(&w.kit, &request, &mixed, &a, NONE);
    expect_refused(&w.kit, buffer_bytes(&request), ERR_UNKNOWN_ACTOR);
    node.actor.id = sample_id(3);
    kit_request(&w.kit, &request, &node, &a, NONE);
    expect_refused(&w.kit, buffer_bytes(&request), ERR_UNKNOWN_ACTOR);
    buffer_free(&request);
    kit_close(&w.kit);
}

static void test_bad_signature(void **state)
{
    (void)state;
    struct ward w;
    struct buffer request = {0};
    ward_open(&w);
    struct arguments a = event_args(5);
    struct kit_actor forged = w.doctor;
    forged.secret = w.nurse.secret; /* says it is the doctor */
    kit_request(&w.kit, &request, &forged, &a, NONE);
    expect_refused(&w.kit, buffer_bytes(&request), ERR_BAD_SIGNATURE);
    buffer_free(&request);
    kit_close(&w.kit);
}

/* Spoils the attachment's last byte in the encoded request. */
static void test_bad_attachment(void **state)
{
    (void)state;
    static const char note[] = "a note to be found again";
    struct ward w;
    struct buffer request = {0};
    ward_open(&w);
    struct arguments a = event_args(5);
    kit_request(&w.kit, &request, &w.doctor, &a, bytes_text(note));
    uint8_t *at = memmem(request.data, request.size, note, sizeof note - 1);
    assert_non_null(at);
    at[0] ^= 1;
    expect_refused(&w.kit, buffer_bytes(&request), ERR_ATTACHMENT);
    buffer_free(&request);
    kit_close(&w.kit);
}

static void test_unknown_action(void **state)
{
    (void)state;
    struct ward w;
    struct buffer request = {0}, args = {0};
    ward_open(&w);
    struct request_builder *builder = xcalloc(1, sizeof *builder);
    static const uint32_t unknown[] = {0, 7, 59, 127, 128, 70000};
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
        struct operation op = {.cluster = w.kit.genesis.cluster, .actor = w.doctor.actor, .action = unknown[i]};
        op.request_id = sample_id(5000);
        op.issued_at_ms = w.kit.now;
        buffer_clear(&args);
        buffer_clear(&request);
        pack_array(&args, 0);
        op.args = buffer_bytes(&args);
        assert_int_equal(request_builder_add(builder, &op, NONE), OK);
        assert_int_equal(request_builder_sign(&request, builder, &w.doctor.secret), OK);
        request_builder_free(builder);
        memset(builder, 0, sizeof *builder);
        expect_refused(&w.kit, buffer_bytes(&request), ERR_UNKNOWN_ACTION);
    }
    free(builder);
    buffer_free(&request);
    buffer_free(&args);
    kit_close(&w.kit);
}

/* --- authenticated, so it has a leaf --- */

static void test_denied_has_leaf(void **state)
{
    (void)state;
    struct ward w;
    ward_open(&w);
    struct arguments a = event_args(5);
    expect(kit_do(&w.kit, &w.patient, &a, NONE), REASON_NO_PERMISSION);
    a = event_args(99);
    expect(kit_do(&w.kit, &w.doctor, &a, NONE), REASON_UNKNOWN_PATIENT);
    a = event_args(2);
    expect(kit_do(&w.kit, &w.doctor, &a, NONE), REASON_NOT_A_PATIENT);
    struct kit_actor node = kit_node(&w.kit, 1);
    a = event_args(5);
    expect(kit_do(&w.kit, &node, &a, NONE), REASON_NO_PERMISSION);
    a = (struct arguments){.action = ACTION_KEY_CLOSE, .key_close = {KEY_RECORDS, 1, 1}};
    expect(kit_do(&w.kit, &w.doctor, &a, NONE), REASON_NO_PERMISSION);
    a = record_args(100, 5, CONF_NORMAL); /* without content */
    expect(kit_do(&w.kit, &w.doctor, &a, NONE), REASON_FIELDS);
    a = (struct arguments){.action = ACTION_POLICY_SHOW}; /* with an attachment that it hasn't */
    expect(kit_do(&w.kit, &w.doctor, &a, bytes_text("x")), REASON_FIELDS);
    a = (struct arguments){.action = ACTION_USER_DISABLE, .user_disable = {sample_id(1), true}};
    expect(kit_do(&w.kit, &w.kit.root, &a, NONE), REASON_NONE);
    a = event_args(5);
    expect(kit_do(&w.kit, &w.doctor, &a, NONE), REASON_DISABLED);
    a = (struct arguments){.action = ACTION_USER_KEY, .user_key = {sample_id(2), true, w.nurse.key}};
    expect(kit_do(&w.kit, &w.kit.root, &a, NONE), REASON_NONE);
    a = event_args(5);
    expect(kit_do(&w.kit, &w.nurse, &a, NONE), REASON_KEY_REVOKED);
    assert_replays(&w.kit);
    kit_close(&w.kit);
}

/* One key, one person: neither a key in use nor a revoked one can be given to somebody else. */
static void test_a_key_has_one_owner(void **state)
{
    (void)state;
    struct ward w;
    ward_open(&w);
    struct arguments a = {.action = ACTION_USER_KEY, .user_key = {sample_id(5), false, w.nurse.key}};
    expect(kit_do(&w.kit, &w.kit.root, &a, NONE), REASON_KEY_EXISTS);
    a.user_key.key = w.kit.root.key;
    expect(kit_do(&w.kit, &w.kit.root, &a, NONE), REASON_KEY_EXISTS);
    a = (struct arguments){.action = ACTION_USER_KEY, .user_key = {sample_id(2), true, w.nurse.key}};
    expect(kit_do(&w.kit, &w.kit.root, &a, NONE), REASON_NONE);
    a = (struct arguments){.action = ACTION_USER_KEY, .user_key = {sample_id(5), false, w.nurse.key}};
    expect(kit_do(&w.kit, &w.kit.root, &a, NONE), REASON_KEY_EXISTS);
    a = (struct arguments){.action = ACTION_USER_CREATE,
                           .user_create = {.user = sample_id(77), .hospital = bytes_text("Mercy"),
                                           .role = bytes_text("nurse"), .key_count = 1}};
    a.user_create.keys[0] = w.doctor.key;
    expect(kit_do(&w.kit, &w.kit.root, &a, NONE), REASON_KEY_EXISTS);
    assert_replays(&w.kit);
    kit_close(&w.kit);
}

/* The attachment of a denied operation is not kept. */
static void test_denied_keeps_no_attachment(void **state)
{
    (void)state;
    struct ward w;
    struct buffer value = {0};
    ward_open(&w);
    struct arguments a = event_args(5);
    const struct ledger_result *r = kit_do(&w.kit, &w.patient, &a, bytes_text("spam"));
    expect(r, REASON_NO_PERMISSION);
    assert_int_equal(ledger_attachment(&value, w.kit.txn, r->leaf_index), ERR_NOT_FOUND);
    buffer_free(&value);
    kit_close(&w.kit);
}

static void test_not_active(void **state)
{
    (void)state;
    struct kit kit;
    struct buffer content = {0};
    kit_open(&kit, 4, 1, NONE);
    kit_content(&content, "text and its tag");
    struct kit_actor doctor = kit_add_user(&kit, 1, "doctor", "Mercy", "Dr. House");
    kit_add_user(&kit, 5, "patient", "Mercy", "Jane Doe");
    kit_add_team(&kit, 5, 1);
    struct arguments a = record_args(100, 5, CONF_NORMAL);
    expect(kit_do(&kit, &doctor, &a, buffer_bytes(&content)), REASON_KEY_NOT_ACTIVE);
    kit_activate(&kit, KEY_PASSWORDS); /* the other secret is of no help */
    expect(kit_do(&kit, &doctor, &a, buffer_bytes(&content)), REASON_KEY_NOT_ACTIVE);
    kit_activate(&kit, KEY_RECORDS);
    expect(kit_do(&kit, &doctor, &a, buffer_bytes(&content)), REASON_NONE);
    buffer_free(&content);
    kit_close(&kit);
}

/* Time never goes back, whatever a leader says. */
static void test_time(void **state)
{
    (void)state;
    struct ward w;
    ward_open(&w);
    struct arguments a = event_args(5);
    kit_do(&w.kit, &w.doctor, &a, NONE);
    uint64_t time = ledger_time_ms(w.kit.ledger);
    w.kit.now = time - 5000;
    expect(kit_do(&w.kit, &w.doctor, &a, NONE), REASON_NONE);
    assert_int_equal(ledger_time_ms(w.kit.ledger), time);
    assert_replays(&w.kit);
    kit_close(&w.kit);
}

/* An empty block moves only the position in the Raft log. */
static void test_empty_block(void **state)
{
    (void)state;
    struct ward w;
    ward_open(&w);
    struct digest before = kit_digest(&w.kit);
    uint64_t raft_index, term;
    kit_apply(&w.kit, NULL, 0);
    struct digest after = kit_digest(&w.kit);
    assert_true(digest_equal(&before, &after));
    kit_reopen(&w.kit);
    ledger_applied(w.kit.ledger, &raft_index, &term);
    assert_int_equal(raft_index, w.kit.raft_index);
    assert_int_equal(term, 1);
    kit_close(&w.kit);
}

/* A store that runs full in the middle of a block: its error comes back, whatever
 * table it hit, and nothing is freed twice or lost. */
static void test_store_full(void **state)
{
    (void)state;
    for (uint64_t size = 300 * KIB; size <= 420 * KIB; size += 20 * KIB) {
        struct kit kit;
        enum err err = OK;
        struct buffer request = {0}, encoded = {0};
        kit_open_small(&kit, size);
        struct kit_actor doctor = kit_add_user(&kit, 1, "doctor", "Mercy", "Dr. House");
        kit_add_user(&kit, 5, "patient", "Mercy", "Jane Doe");
        struct arguments a = event_args(5);
        for (unsigned i = 0; i < 2000 && err == OK; i++) {
            struct block block;
            kit_request(&kit, &request, &doctor, &a, bytes_text("a note"));
            struct bytes one = buffer_bytes(&request);
            buffer_clear(&encoded);
            block_encode(&encoded, kit.now, &one, 1);
            assert_int_equal(block_decode(&block, buffer_bytes(&encoded)), OK);
            err = ledger_apply(kit.ledger, kit.txn, &kit.results, &block, NULL, ++kit.raft_index, 1);
            block_free(&block);
        }
        assert_int_equal(err, ERR_FULL);
        buffer_free(&request);
        buffer_free(&encoded);
        kit_close(&kit);
    }
}

/* What is open may be closed after any block: the tables hold it all. */
static void test_reopen_each_time(void **state)
{
    (void)state;
    struct ward w, x;
    struct buffer content = {0};
    ward_open(&w);
    ward_open(&x);
    kit_content(&content, "text and its tag");
    for (unsigned i = 0; i < 12; i++) {
        struct arguments a = i % 2 ? event_args(5) : record_args(100 + i, 5, CONF_NORMAL);
        struct bytes c = i % 2 ? NONE : buffer_bytes(&content);
        expect(kit_do(&w.kit, &w.doctor, &a, c), REASON_NONE);
        expect(kit_do(&x.kit, &x.doctor, &a, c), REASON_NONE);
        kit_reopen(&x.kit);
    }
    assert_string_equal(kit_difference(&w.kit, &x.kit), "");
    buffer_free(&content);
    kit_close(&w.kit);
    kit_close(&x.kit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_genesis),
        cmocka_unit_test(test_empty_store),
        cmocka_unit_test(test_lost_tables),
        cmocka_unit_test(test_event),
        cmocka_unit_test(test_record_read),
        cmocka_unit_test(test_release_refused),
        cmocka_unit_test(test_conflict),
        cmocka_unit_test(test_wrong_patient),
        cmocka_unit_test(test_duplicate),
        cmocka_unit_test(test_seen_is_pruned),
        cmocka_unit_test(test_stale),
        cmocka_unit_test(test_other_cluster),
        cmocka_unit_test(test_unknown_actor),
        cmocka_unit_test(test_bad_signature),
        cmocka_unit_test(test_bad_attachment),
        cmocka_unit_test(test_unknown_action),
        cmocka_unit_test(test_denied_has_leaf),
        cmocka_unit_test(test_denied_keeps_no_attachment),
        cmocka_unit_test(test_not_active),
        cmocka_unit_test(test_time),
        cmocka_unit_test(test_empty_block),
        cmocka_unit_test(test_store_full),
        cmocka_unit_test(test_a_key_has_one_owner),
        cmocka_unit_test(test_reopen_each_time),
    };
    return cmocka_run_group_tests_name("ledger/apply", tests, NULL, NULL);
}
