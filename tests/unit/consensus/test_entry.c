#include "consensus/entry.h"

#include "base/pack.h"
#include "ledger/evidence.h"
#include "tests/lib/samples.h"
#include "tests/lib/unit.h"

static struct block_place place_of(uint64_t term, uint64_t index)
{
    return (struct block_place){.cluster = sample_digest(1), .term = term, .index = index};
}

static void make(struct buffer *out, struct block_place *place, unsigned signer)
{
    struct node_secrets secrets;
    sample_node_secrets(&secrets, signer);
    assert_non_null(buffer_extend(out, ENTRY_HEAD));
    block_encode(out, SAMPLE_TIME, NULL, 0);
    entry_sign(out, place, signer, &secrets.message);
}

static void an_entry_is_signed_for_its_place(void **state)
{
    (void)state;
    struct genesis genesis;
    struct buffer bytes = {0};
    struct entry entry;
    struct digest hash;
    sample_genesis(&genesis, 4, 1);
    struct block_place place = place_of(3, 17), other;
    make(&bytes, &place, 2);
    assert_int_equal(entry_open(&entry, buffer_bytes(&bytes)), OK);
    assert_int_equal(entry.signer, 2);
    assert_int_equal(entry.block.size, bytes.size - ENTRY_HEAD);
    const struct sign_public *key = &genesis.members[1].keys.message;
    other = place_of(3, 17);
    assert_int_equal(entry_verify(&entry, &other, key), OK);
    assert_true(digest_equal(&other.hash, &place.hash));
    struct raft_blob view = {.size = (uint32_t)bytes.size, .data = bytes.data};
    struct raft_entry raft = {.type = RAFT_ENTRY_BLOCK, .blob = &view};
    entry_hash(&hash, &raft);
    assert_true(digest_equal(&hash, &place.hash));
    other = place_of(4, 17);
    assert_int_equal(entry_verify(&entry, &other, key), ERR_BAD_SIGNATURE);
    other = place_of(3, 18);
    assert_int_equal(entry_verify(&entry, &other, key), ERR_BAD_SIGNATURE);
    other = place_of(3, 17);
    assert_int_equal(entry_verify(&entry, &other, &genesis.members[0].keys.message), ERR_BAD_SIGNATURE);
    other = place_of(3, 17);
    bytes.data[bytes.size - 1] ^= 1;
    assert_int_equal(entry_verify(&entry, &other, key), ERR_BAD_SIGNATURE);
    buffer_free(&bytes);
}

static void short_entries(void **state)
{
    (void)state;
    struct entry entry;
    uint8_t bytes[ENTRY_HEAD + 1] = {0};
    assert_int_equal(entry_open(&entry, (struct bytes){0}), ERR_TRUNCATED);
    assert_int_equal(entry_open(&entry, bytes_of(bytes, ENTRY_HEAD)), ERR_TRUNCATED);
    assert_int_equal(entry_open(&entry, bytes_of(bytes, ENTRY_HEAD + 1)), OK);
    assert_int_equal(entry.block.size, 1);
    struct raft_entry noop = {.type = RAFT_ENTRY_NOOP};
    struct digest hash;
    entry_hash(&hash, &noop); /* of nothing, but defined */
}

static void statements(void **state)
{
    (void)state;
    struct genesis genesis;
    struct node_secrets secrets;
    struct buffer out = {0};
    struct signature signature;
    struct block_place place = place_of(5, 9), read = place_of(5, 0);
    sample_genesis(&genesis, 4, 1);
    sample_node_secrets(&secrets, 3);
    place.hash = sample_digest(8);
    statement_sign(&out, &place, &secrets.message);
    assert_true(out.size <= LIMIT_RAFT_EXTRA);
    assert_int_equal(statement_open(&read, &signature, buffer_bytes(&out)), OK);
    assert_int_equal(read.index, 9);
    assert_true(digest_equal(&read.hash, &place.hash));
    struct statement s = {.kind = STATEMENT_COMMIT, .term = 5, .index = 9, .hash = read.hash, .signature = signature};
    genesis.cluster = place.cluster;
    assert_int_equal(evidence_statement_verify(&s, &genesis, 3), OK);
    s.term = 6;
    assert_int_equal(evidence_statement_verify(&s, &genesis, 3), ERR_BAD_SIGNATURE);
    for (size_t cut = 0; cut < out.size; cut++)
        assert_int_not_equal(statement_open(&read, &signature, bytes_of(out.data, cut)), OK);
    buffer_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_entry_is_signed_for_its_place),
        cmocka_unit_test(short_entries),
        cmocka_unit_test(statements),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
