/* Client messages: round trips, every mutation, every limit. */
#include "net/protocol.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/pack.h"
#include "crypto/hash.h"
#include "tests/lib/dies.h"
#include "tests/lib/mutate.h"
#include "tests/lib/recode_messages.h"
#include "tests/lib/samples.h"
#include "tests/lib/unit.h"

/* A valid body of each type; false: no such type. Small, so that all mutants are tried. */
static void fill_applied(struct buffer *out)
{
    struct message_applied *m = xcalloc(1, sizeof *m);
    m->count = 2;
    m->results[0] = (struct message_result){OK, 17, DECISION_APPROVED, REASON_NONE, bytes_text("answer")};
    m->results[1] = (struct message_result){ERR_DUPLICATE, 300, DECISION_DENIED, REASON_SCOPE, {0}};
    message_applied_encode(out, m);
    free(m);
}

static void fill_cosigned(struct buffer *out)
{
    struct message_cosigned *m = xcalloc(1, sizeof *m);
    struct digest hashes[3] = {sample_digest(1), sample_digest(2), sample_digest(3)};
    m->note = bytes_text("note\n");
    m->count = 3;
    m->proofs[0] = (struct message_proof){bytes_text("leaf"), hashes, 2};
    m->proofs[1] = (struct message_proof){{0}, NULL, 0};
    m->proofs[2] = (struct message_proof){bytes_text("another"), hashes + 2, 1};
    message_cosigned_encode(out, m);
    free(m);
}

static void fill_status_ok(struct buffer *out)
{
    struct message_status_ok *m = xcalloc(1, sizeof *m);
    m->member_count = 2;
    m->members[0] = (struct message_member){
        .member = 1, .name = bytes_text("mercy"), .hospital = bytes_text("Mercy"), .reachable = true,
        .state = bytes_text("leader"), .term = 3, .last = 70000, .applied = 69999, .cosigned_size = 5,
        .witnessed_size = 4, .ledger_size = 6, .root = sample_digest(4), .version = bytes_text("0.1"), .leads = true,
        .time_ms = SAMPLE_TIME};
    m->members[1] = (struct message_member){.member = 2, .name = bytes_text("hope")};
    m->counter_count = 1;
    m->counters[0] = (struct message_counter){bytes_text("denied"), 12};
    message_status_ok_encode(out, m);
    free(m);
}

static void fill_shared(struct buffer *out)
{
    struct message_shared m = {.count = 2};
    m.shares[0] = (struct message_sealed){.member = 1, .sealed = bytes_text("box"), .signature = {1, 2, 3}};
    m.shares[1] = (struct message_sealed){.member = 4};
    message_shared_encode(out, &m);
}

static void fill_share_box(struct buffer *out)
{
    struct share_item items[2] = {
        {.label = sample_digest(1), .epoch = 1, .share = {9}},
        {.label = sample_digest(2), .epoch = 300, .share = {8}, .has_proof = true, .proof = {7}}};
    share_box_encode(out, &(struct share_box){.leaf_index = 40, .first = 2, .member = 3, .count = 2,
                                              .extent = {7, 300, 9}, .items = items});
}

static bool sample_small(struct buffer *out, uint32_t type)
{
    struct id id = sample_id(7);
    static const uint8_t two[64] = {1, 2, 3};
    switch (type) {
    case MESSAGE_HELLO: message_hello_encode(out, &(struct message_hello){1, bytes_text("test")}); return true;
    case MESSAGE_SUBMIT:
        message_submit_encode(out, &(struct message_submit){bytes_text("request"), WAIT_COSIGNED});
        return true;
    case MESSAGE_FAILED:
        message_failed_encode(out, &(struct message_failed){ERR_BUSY, bytes_text("busy"), 250});
        return true;
    case MESSAGE_LOOKUP:
        message_lookup_encode(out, &(struct message_lookup){ACTOR_USER, id, SAMPLE_TIME, id});
        return true;
    case MESSAGE_FOUND:
        message_found_encode(out, &(struct message_found){true, 5, DECISION_DENIED, REASON_SCOPE, SAMPLE_TIME, true});
        return true;
    case MESSAGE_PROVE: message_prove_encode(out, &(struct message_prove){2, {1, 70000}}); return true;
    case MESSAGE_PROVE_ROWS:
        message_prove_rows_encode(out, &(struct message_prove_rows){90, {3, {1, 300, 70000}}});
        return true;
    case MESSAGE_CONTENT: message_opening_encode(out, &(struct message_opening){9, 0, 512, false, 0, {0}}); return true;
    case MESSAGE_SHARES:
        message_opening_encode(out, &(struct message_opening){9, 1, 2, true, 2, {1, 3}});
        return true;
    case MESSAGE_ADMIT:
        message_admit_encode(out, &(struct message_admit){id, SAMPLE_TIME, sample_id(8), {{5}}});
        return true;
    case MESSAGE_ADMITTED:
    case MESSAGE_STATUS:
    case MESSAGE_EVIDENCE:
    case MESSAGE_CHECKPOINT: message_empty_encode(out); return true;
    case MESSAGE_NOTE: message_note_encode(out, &(struct message_note){bytes_text("note")}); return true;
    case MESSAGE_KEYS: message_keys_encode(out, &(struct message_keys){1}); return true;
    case MESSAGE_LEAVES: message_leaves_encode(out, &(struct message_leaves){3, LIMIT_LEAVES}); return true;
    case MESSAGE_CONSISTENCY: message_consistency_encode(out, &(struct message_consistency){3, 9}); return true;
    case MESSAGE_STORED: message_stored_encode(out, &(struct message_stored){3, 900, true}); return true;
    case MESSAGE_TILE: message_tile_encode(out, &(struct message_tile){2, 70000, LIMIT_TILE}); return true;
    case MESSAGE_TILE_OK: message_tile_ok_encode(out, &(struct message_tile_ok){BYTES(two)}); return true;
    case MESSAGE_DIGESTS: message_digests_encode(out, &(struct message_digests){41}); return true;
    case MESSAGE_DIGESTS_OK:
        message_digests_ok_encode(out, &(struct message_digests_ok){41, 2, {BYTES(two), bytes_text("x")}});
        return true;
    case MESSAGE_FOLLOW: message_follow_encode(out, &(struct message_follow){77}); return true;
    case MESSAGE_ROWS: message_rows_encode(out, &(struct message_rows){bytes_of("\x92\x01\xa1x", 4)}); return true;
    }
    return false;
}

static bool sample_message(struct buffer *out, uint32_t type)
{
    struct bytes two[2] = {bytes_text("first"), bytes_text("second")};
    struct message_item item = {bytes_text("context"), bytes_text("capsule"), bytes_text("ciphertext")};
    switch (type) {
    case MESSAGE_APPLIED: fill_applied(out); return true;
    case MESSAGE_COSIGNED: fill_cosigned(out); return true;
    case MESSAGE_STATUS_OK: fill_status_ok(out); return true;
    case MESSAGE_SHARED: fill_shared(out); return true;
    case RECODE_SHARE_BOX: fill_share_box(out); return true;
    case MESSAGE_CONTENTS: message_contents_encode(out, &(struct message_contents){3, 1, &item}); return true;
    case MESSAGE_LEAVES_OK: message_leaves_ok_encode(out, &(struct message_leaves_ok){7, 2, two[0], 9}); return true;
    case MESSAGE_EVIDENCE_OK:
        message_evidence_ok_encode(out, &(struct message_evidence_ok){2, two});
        return true;
    case MESSAGE_STORED_OK: {
        struct stored_hash hashes[2] = {{3, sample_digest(1)}, {7, {{0}}}};
        message_stored_ok_encode(out, &(struct message_stored_ok){8, 2, sample_digest(4), hashes});
        return true;
    }
    case MESSAGE_CONSISTENT:
        message_consistent_encode(out, &(struct message_consistent){2, {sample_digest(1), sample_digest(2)}});
        return true;
    case MESSAGE_KEY:
        message_key_encode(out,
                           &(struct message_key){bytes_text("leaf"), 30, 1, {sample_digest(5)}, bytes_text("note")});
        return true;
    case MESSAGE_WELCOME:
        message_welcome_encode(out, &(struct message_welcome){sample_id(1), 2, sample_digest(1), SAMPLE_TIME, 4, 1, 3,
                                                              bytes_text("ready"), bytes_text("careful")});
        return true;
    }
    return sample_small(out, type);
}

/* --- every type --- */

static uint32_t mutated_type;
static enum err recode_mutated(struct buffer *out, struct bytes in) { return recode_message(out, mutated_type, in); }

static void test_every_type(void **state)
{
    (void)state;
    unsigned types = 0;
    for (uint32_t type = 0; type <= RECODE_SHARE_BOX; type++) {
        struct buffer body = {0}, none = {0};
        bool known = recode_message(&none, type, (struct bytes){0}) != ERR_UNKNOWN_TYPE;
        buffer_free(&none);
        assert_int_equal(sample_message(&body, type), known);
        if (!known) continue;
        types++;
        mutated_type = type;
        struct mutants m = mutate(recode_mutated, buffer_bytes(&body));
        if (m.tried < 256 + body.size * 255) fail_test();
        buffer_free(&body);
    }
    assert_true(types > MESSAGE_ROWS);
}

/* Cut anywhere, an error; never a crash and never taken. */
static void test_truncated(void **state)
{
    (void)state;
    for (uint32_t type = 1; type < RECODE_SHARE_BOX; type++) {
        struct buffer body = {0}, out = {0};
        if (!sample_message(&body, type)) continue;
        for (size_t size = 0; size < body.size; size++) {
            if (recode_message(&out, type, bytes_of(body.data, size)) == OK) fail_test();
            buffer_clear(&out);
        }
        buffer_append(&body, "\xc3", 1);
        assert_int_equal(recode_message(&out, type, buffer_bytes(&body)), ERR_TRAILING);
        buffer_free(&out);
        buffer_free(&body);
    }
}

/* Every field of the larger ones comes back. */
static void test_fields(void **state)
{
    (void)state;
    struct buffer body = {0};
    struct message_cosigned *m = xcalloc(1, sizeof *m);
    struct digest hashes[3];
    struct digest one = sample_digest(1), three = sample_digest(3);
    fill_cosigned(&body);
    assert_int_equal(message_cosigned_decode(m, hashes, 3, buffer_bytes(&body)), OK);
    assert_int_equal(m->count, 3);
    assert_int_equal(m->proofs[0].count, 2);
    assert_true(digest_equal(&m->proofs[0].hashes[0], &one));
    assert_int_equal(m->proofs[1].leaf.size, 0);
    assert_true(digest_equal(&m->proofs[2].hashes[0], &three));
    assert_int_equal(message_cosigned_decode(m, hashes, 2, buffer_bytes(&body)), ERR_TOO_LARGE);
    free(m);
    buffer_clear(&body);

    struct share_box box;
    struct share_item items[2];
    fill_share_box(&body);
    assert_int_equal(share_box_decode(&box, items, 2, buffer_bytes(&body)), OK);
    assert_int_equal(box.leaf_index, 40);
    assert_int_equal(box.member, 3);
    assert_true(read_extent_equal(&box.extent, &(struct read_extent){7, 300, 9}));
    assert_false(read_extent_equal(&box.extent, &(struct read_extent){6, 300, 9}));
    assert_false(read_extent_equal(&box.extent, &(struct read_extent){7, 0, 9}));
    assert_false(read_extent_equal(&box.extent, &(struct read_extent){7, 300, 0}));
    assert_false(items[0].has_proof);
    assert_true(items[1].has_proof);
    assert_int_equal(items[1].proof[0], 7);
    assert_int_equal(share_box_decode(&box, items, 1, buffer_bytes(&body)), ERR_TOO_LARGE);
    buffer_free(&body);
}

/* --- limits --- */

/* An array of `count` ones as a list inside an array of `outer`, at place `at`. */
static void test_lists_are_bounded(void **state)
{
    (void)state;
    struct buffer body = {0}, out = {0};
    pack_array(&body, LIMIT_OPERATIONS + 1);
    for (int i = 0; i <= LIMIT_OPERATIONS; i++)
        pack_uint(&body, 1);
    assert_int_equal(recode_message(&out, MESSAGE_PROVE, buffer_bytes(&body)), ERR_TOO_LARGE);
    buffer_clear(&body);

    pack_array(&body, 5);
    pack_uint(&body, 1), pack_uint(&body, 0), pack_uint(&body, 1), pack_bool(&body, false);
    pack_array(&body, LIMIT_NODES + 1);
    for (int i = 0; i <= LIMIT_NODES; i++)
        pack_uint(&body, 1);
    assert_int_equal(recode_message(&out, MESSAGE_SHARES, buffer_bytes(&body)), ERR_TOO_LARGE);
    buffer_clear(&body);

    pack_array(&body, 1);
    pack_array(&body, LIMIT_CONSISTENCY + 1);
    struct digest d = sample_digest(1);
    for (int i = 0; i <= LIMIT_CONSISTENCY; i++)
        pack_digest(&body, &d);
    assert_int_equal(recode_message(&out, MESSAGE_CONSISTENT, buffer_bytes(&body)), ERR_TOO_LARGE);
    buffer_free(&body);
    buffer_free(&out);
}

/* A list that claims 4 billion items in a body of 8 bytes. */
static void test_claims_cost_nothing(void **state)
{
    (void)state;
    static const uint8_t claim[] = {0x91, 0xdd, 0xff, 0xff, 0xff, 0xff, 0x01, 0x02};
    struct buffer out = {0};
    assert_int_not_equal(recode_message(&out, MESSAGE_APPLIED, BYTES(claim)), OK);
    assert_int_not_equal(recode_message(&out, MESSAGE_SHARED, BYTES(claim)), OK);
    assert_int_not_equal(recode_message(&out, MESSAGE_ROWS, BYTES(claim)), OK);
    buffer_free(&out);
}

static void expect(uint32_t type, const struct buffer *body, enum err code)
{
    struct buffer out = {0};
    assert_int_equal(recode_message(&out, type, buffer_bytes(body)), code);
    buffer_free(&out);
}

static void test_values_out_of_range(void **state)
{
    (void)state;
    struct buffer body = {0};
    message_opening_encode(&body, &(struct message_opening){.leaf_index = 9, .first = LIMIT_OPENED, .count = 1});
    body.data[4]++; /* first: beyond what a read opens */
    expect(MESSAGE_CONTENT, &body, ERR_MALFORMED);
    buffer_clear(&body);
    message_submit_encode(&body, &(struct message_submit){bytes_text("r"), WAIT_COSIGNED});
    body.data[body.size - 1] = 2; /* a wait that isn't there */
    expect(MESSAGE_SUBMIT, &body, ERR_MALFORMED);
    buffer_clear(&body);
    message_consistency_encode(&body, &(struct message_consistency){3, 3});
    body.data[body.size - 1] = 2; /* new below old */
    expect(MESSAGE_CONSISTENCY, &body, ERR_MALFORMED);
    buffer_clear(&body);
    pack_array(&body, 3); /* a failure that is none */
    pack_uint(&body, OK), pack_text(&body, ""), pack_uint(&body, 0);
    expect(MESSAGE_FAILED, &body, ERR_MALFORMED);
    buffer_clear(&body);
    pack_array(&body, 1); /* rows that are no array */
    pack_uint(&body, 1);
    expect(MESSAGE_ROWS, &body, ERR_MALFORMED);
    buffer_free(&body);
}

/* A code that this version doesn't know passes, as the number that it is. */
static void test_unknown_codes(void **state)
{
    (void)state;
    struct buffer body = {0};
    struct message_failed m;
    message_failed_encode(&body, &(struct message_failed){(enum err)9999, bytes_text("new"), 0});
    assert_int_equal(message_failed_decode(&m, buffer_bytes(&body)), OK);
    assert_int_equal((int)m.code, 9999);
    buffer_free(&body);
}

/* --- our own misuse --- */

static void encode_no_results(void) { message_applied_encode(&(struct buffer){0}, &(struct message_applied){0}); }
static void encode_too_many_items(void)
{
    message_contents_encode(&(struct buffer){0}, &(struct message_contents){.count = LIMIT_OPENED + 1});
}

static void test_misuse_dies(void **state)
{
    (void)state;
    assert_true(dies(encode_no_results));
    assert_true(dies(encode_too_many_items));
}

/* What a node signs over a sealed share: the tag, what was asked for, the box's hash. */
static void test_share_signing(void **state)
{
    (void)state;
    struct buffer text = {0};
    struct digest hash;
    hash_sha256(&hash, "box", 3);
    share_box_signing(&text, &(struct share_ask){0x0102, 3, 0x0405, true}, bytes_text("box"));
    assert_int_equal(text.size, 20 + 8 + 4 + 4 + 1 + 32);
    assert_memory_equal(text.data, "consilium/shares/v2\n\0\0\0\0\0\0\1\2\0\0\0\3\0\0\4\5\1", 37);
    assert_memory_equal(text.data + 37, hash.bytes, 32);
    buffer_free(&text);
}

/* Writes the samples as a fuzz corpus: CORPUS=folder. */
static void test_write_corpus(void **state)
{
    (void)state;
    const char *folder = getenv("CORPUS");
    for (uint32_t type = 1; folder && type <= RECODE_SHARE_BOX; type++) {
        struct buffer body = {0};
        char path[300];
        snprintf(path, sizeof path, "%s/message-%u", folder, type);
        FILE *file = sample_message(&body, type) ? fopen(path, "wb") : NULL;
        if (file) {
            fputc((int)type, file);
            fwrite(body.data, 1, body.size, file);
            fclose(file);
        }
        buffer_free(&body);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_type),
        cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_lists_are_bounded),
        cmocka_unit_test(test_claims_cost_nothing),
        cmocka_unit_test(test_values_out_of_range),
        cmocka_unit_test(test_unknown_codes),
        cmocka_unit_test(test_misuse_dies),
        cmocka_unit_test(test_share_signing),
        cmocka_unit_test(test_write_corpus),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
