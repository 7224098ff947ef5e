#include "tests/lib/unit.h"

#include <stdio.h>
#include <stdlib.h>

#include "tests/lib/dies.h"
#include "tests/lib/mutate.h"
#include "tests/lib/recode.h"
#include "tests/lib/samples.h"

#define TIME_S 1790000000ull

/* A cluster of four and a checkpoint that all of them cosigned. */
static struct genesis genesis;
static struct buffer genesis_text;
static struct checkpoint checkpoint;
static struct cosigner cosigners[LIMIT_NODES];
static struct cosignature cosignatures[LIMIT_NODES];

static int setup(void **state)
{
    (void)state;
    struct digest root = sample_digest(77);
    sample_genesis_parsed(&genesis, &genesis_text, 4, 1);
    checkpoint_set(&checkpoint, &genesis, 1234567, &root);
    cosigners_of_genesis(cosigners, &genesis);
    for (uint32_t i = 0; i < 4; i++) {
        struct node_secrets secrets;
        sample_node_secrets(&secrets, i + 1);
        checkpoint_cosign(&cosignatures[i], &checkpoint, TIME_S + i, &secrets.cosign);
    }
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    buffer_free(&genesis_text);
    return 0;
}

/* The note with the cosignatures of those in `mask`. */
static struct buffer note_of(uint32_t mask)
{
    struct buffer out = {0};
    struct cosignature chosen[4];
    for (uint32_t i = 0; i < 4; i++)
        chosen[i] = mask >> i & 1 ? cosignatures[i] : (struct cosignature){0};
    checkpoint_format(&out, &checkpoint, cosigners, chosen, 4);
    assert_false(out.failed);
    return out;
}

static void test_k_of_n(void **state)
{
    (void)state;
    for (uint32_t mask = 0; mask < 16; mask++) {
        struct buffer text = note_of(mask);
        struct checkpoint got = {.size = 1};
        struct note note;
        uint32_t valid = 99;
        enum err e = checkpoint_verify(&got, buffer_bytes(&text), &genesis);
        if (mask == 0) {
            assert_int_equal(e, ERR_CHECKPOINT); /* a note has at least one signature */
        } else {
            assert_int_equal(e, __builtin_popcount(mask) >= 3 ? OK : ERR_TOO_FEW_COSIGNATURES);
            assert_int_equal(note_parse(&note, buffer_bytes(&text)), OK);
            note_verify(&valid, &note, genesis.checkpoint_origin, cosigners, 4, 3);
            assert_int_equal(valid, mask);
        }
        if (e == OK)
            assert_memory_equal(&got, &checkpoint, sizeof got);
        else
            assert_int_equal(got.size, 1); /* untouched */
        buffer_free(&text);
    }
}

static void test_text(void **state)
{
    (void)state;
    struct buffer text = note_of(1), expected = {0};
    uint8_t payload[76];
    buffer_append_text(&expected, genesis.checkpoint_origin);
    buffer_append_text(&expected, "\n1234567\n");
    base64_append(&expected, BYTES(checkpoint.root.bytes));
    buffer_append_text(&expected, "\n\n\xe2\x80\x94 consilium/north-region/node-1 ");
    memcpy(payload, cosigners[0].key_id, 4);
    put_be64(payload + 4, TIME_S);
    memcpy(payload + 12, cosignatures[0].signature.bytes, 64);
    base64_append(&expected, BYTES(payload));
    buffer_append_text(&expected, "\n");
    assert_true(bytes_equal(buffer_bytes(&text), buffer_bytes(&expected)));
    buffer_free(&text);
    buffer_free(&expected);
}

/* Replaces the first `from`. */
static struct buffer replaced(struct bytes text, const char *from, const char *to)
{
    struct buffer out = {0};
    const uint8_t *at = memmem(text.data, text.size, from, strlen(from));
    assert_non_null(at);
    size_t before = (size_t)(at - text.data);
    buffer_append(&out, text.data, before);
    buffer_append_text(&out, to);
    buffer_append(&out, at + strlen(from), text.size - before - strlen(from));
    return out;
}

static void expect_replaced(const char *from, const char *to, enum err code)
{
    struct buffer text = note_of(15), changed = replaced(buffer_bytes(&text), from, to);
    struct checkpoint got;
    enum err e = checkpoint_verify(&got, buffer_bytes(&changed), &genesis);
    if (e != code) printf("'%s' -> '%s': %s\n", from, to, err_name(e));
    assert_int_equal(e, code);
    buffer_free(&text);
    buffer_free(&changed);
}

static void test_altered_notes(void **state)
{
    (void)state;
    char origin[sizeof genesis.checkpoint_origin];
    memcpy(origin, genesis.checkpoint_origin, sizeof origin);
    origin[strlen(origin) - 1] ^= 1;
    expect_replaced(genesis.checkpoint_origin, origin, ERR_CHECKPOINT); /* another origin */
    expect_replaced("1234567", "1234568", ERR_CHECKPOINT);              /* another size */
    expect_replaced("1234567", "01234567", ERR_CHECKPOINT);
    expect_replaced("1234567", "+1234567", ERR_CHECKPOINT);
    expect_replaced("1234567", "", ERR_CHECKPOINT);
    expect_replaced("1234567", "9223372036854775808", ERR_CHECKPOINT);
    expect_replaced("1234567", "18446744073709551615", ERR_CHECKPOINT);
    expect_replaced("1234567\n0Q", "1234567\n0A", ERR_CHECKPOINT); /* another root */
    expect_replaced("=\n\n", "=\nextension\n\n", ERR_CHECKPOINT);
    expect_replaced("=\n\n", "=\n", ERR_CHECKPOINT);
    expect_replaced("=\n\n", "\n\n", ERR_CHECKPOINT);
    expect_replaced("\xe2\x80\x94 ", "- ", ERR_CHECKPOINT);
    expect_replaced("\xe2\x80\x94 ", "\xe2\x80\x93 ", ERR_CHECKPOINT);
    expect_replaced("\xe2\x80\x94 ", "\xe2\x80\x94  ", ERR_CHECKPOINT);
    expect_replaced("\xe2\x80\x94 consilium", "\n\xe2\x80\x94 consilium", ERR_CHECKPOINT);
    expect_replaced("region/node-1", "region/node-9", OK); /* a stranger: three are left */
    expect_replaced("region/node-1", "region/node-2", OK); /* that key id is not node-2's: a stranger too */
}

/* A valid line of a cosigner counts once and may be there once. */
static void test_duplicates_are_refused(void **state)
{
    (void)state;
    struct buffer text = note_of(7), again = note_of(1);
    const uint8_t *line = (const uint8_t *)memmem(again.data, again.size, "\n\n", 2) + 2;
    struct checkpoint got;
    assert_int_equal(checkpoint_verify(&got, buffer_bytes(&text), &genesis), OK);
    buffer_append(&text, line, (size_t)(again.data + again.size - line));
    assert_int_equal(checkpoint_verify(&got, buffer_bytes(&text), &genesis), ERR_CHECKPOINT);
    buffer_free(&text);
    buffer_free(&again);
}

/* Cosignatures over another size, by another key, with another time. */
static void test_wrong_cosignatures(void **state)
{
    (void)state;
    struct cosignature good = cosignatures[1], wrong = good;
    struct checkpoint other = checkpoint, got;
    struct node_secrets secrets;
    struct buffer text;
    assert_int_equal(checkpoint_cosignature_verify(&good, &checkpoint, &cosigners[1].key), OK);
    assert_int_equal(checkpoint_cosignature_verify(&good, &checkpoint, &cosigners[2].key), ERR_BAD_SIGNATURE);
    other.size++;
    assert_int_equal(checkpoint_cosignature_verify(&good, &other, &cosigners[1].key), ERR_BAD_SIGNATURE);
    other = checkpoint;
    other.root.bytes[9] ^= 1;
    assert_int_equal(checkpoint_cosignature_verify(&good, &other, &cosigners[1].key), ERR_BAD_SIGNATURE);
    wrong.time_s++;
    assert_int_equal(checkpoint_cosignature_verify(&wrong, &checkpoint, &cosigners[1].key), ERR_BAD_SIGNATURE);
    wrong.time_s = 0;
    assert_int_equal(checkpoint_cosignature_verify(&wrong, &checkpoint, &cosigners[1].key), ERR_BAD_SIGNATURE);

    /* node-2's message key instead of its cosigning key */
    sample_node_secrets(&secrets, 2);
    checkpoint_cosign(&cosignatures[1], &checkpoint, TIME_S, &secrets.message);
    text = note_of(15);
    assert_int_equal(checkpoint_verify(&got, buffer_bytes(&text), &genesis), ERR_CHECKPOINT);
    cosignatures[1] = good;
    buffer_free(&text);
}

static void test_strangers_are_ignored(void **state)
{
    (void)state;
    struct buffer text = note_of(7), alone = {0};
    struct sign_secret secret;
    struct sign_public key;
    struct cosigner stranger;
    struct cosignature c;
    struct checkpoint got;
    uint8_t huge[1000] = {1, 2, 3, 4};
    sample_key(&secret, &key, 5);
    cosigner_set(&stranger, "example.org/witness", &key);
    checkpoint_cosign(&c, &checkpoint, TIME_S, &secret);
    checkpoint_format(&alone, &checkpoint, &stranger, &c, 1);
    assert_int_equal(checkpoint_verify(&got, buffer_bytes(&alone), &genesis), ERR_TOO_FEW_COSIGNATURES);
    const uint8_t *line = (const uint8_t *)memmem(alone.data, alone.size, "\n\n", 2) + 2;
    buffer_append(&text, line, (size_t)(alone.data + alone.size - line));
    assert_int_equal(checkpoint_verify(&got, buffer_bytes(&text), &genesis), OK);
    buffer_append_text(&text, "\xe2\x80\x94 example.org/other-algorithm ");
    base64_append(&text, BYTES(huge));
    buffer_append_text(&text, "\n");
    assert_int_equal(checkpoint_verify(&got, buffer_bytes(&text), &genesis), OK);
    /* a member's name and key id, but no cosignature/v1: known and invalid */
    buffer_append_text(&text, "\xe2\x80\x94 consilium/north-region/node-4 ");
    memcpy(huge, cosigners[3].key_id, 4);
    base64_append(&text, bytes_of(huge, 68));
    buffer_append_text(&text, "\n");
    assert_int_equal(checkpoint_verify(&got, buffer_bytes(&text), &genesis), ERR_CHECKPOINT);
    buffer_free(&text);
    buffer_free(&alone);
}

static void test_limits(void **state)
{
    (void)state;
    struct note note;
    struct buffer text = note_of(1);
    for (int i = 1; i < LIMIT_NOTE_LINES; i++)
        buffer_append_text(&text, "\xe2\x80\x94 a AAAAAAA=\n");
    assert_int_equal(note_parse(&note, buffer_bytes(&text)), OK);
    assert_int_equal(note.count, LIMIT_NOTE_LINES);
    buffer_append_text(&text, "\xe2\x80\x94 a AAAAAAA=\n");
    assert_int_equal(note_parse(&note, buffer_bytes(&text)), ERR_TOO_LARGE);
    memset(buffer_extend(&text, LIMIT_CHECKPOINT_NOTE), 'x', LIMIT_CHECKPOINT_NOTE);
    assert_int_equal(note_parse(&note, buffer_bytes(&text)), ERR_TOO_LARGE);
    assert_int_equal(note_parse(&note, (struct bytes){0}), ERR_CHECKPOINT);
    buffer_free(&text);
    /* all members of the largest cluster fit */
    struct genesis g;
    struct buffer file = {0}, full = {0};
    struct checkpoint c, got;
    struct cosigner who[LIMIT_NODES];
    struct cosignature all[LIMIT_NODES];
    struct digest root = sample_digest(1);
    sample_genesis(&g, LIMIT_NODES, 4);
    memset(g.origin, 'o', LIMIT_ORIGIN);
    for (int i = 0; i < LIMIT_NODES; i++)
        memset(g.members[i].name, 'a' + i, LIMIT_NAME);
    assert_int_equal(genesis_format(&file, &g, NULL), OK);
    assert_int_equal(genesis_parse(&g, buffer_bytes(&file), NULL), OK);
    checkpoint_set(&c, &g, TREE_SIZE_MAX, &root);
    assert_int_equal(cosigners_of_genesis(who, &g), LIMIT_NODES);
    for (uint32_t i = 0; i < LIMIT_NODES; i++) {
        struct node_secrets secrets;
        sample_node_secrets(&secrets, i + 1);
        checkpoint_cosign(&all[i], &c, UINT64_MAX, &secrets.cosign);
    }
    checkpoint_format(&full, &c, who, all, LIMIT_NODES);
    assert_true(full.size <= LIMIT_CHECKPOINT_NOTE);
    assert_int_equal(checkpoint_verify(&got, buffer_bytes(&full), &g), OK);
    assert_int_equal(got.size, TREE_SIZE_MAX);
    buffer_free(&file);
    buffer_free(&full);
}

static void test_mutations(void **state)
{
    (void)state;
    struct buffer text = note_of(7);
    struct mutants m = mutate(recode_note, buffer_bytes(&text));
    assert_true(m.accepted > 0 && m.accepted < m.tried);
    buffer_free(&text);
}

/* No single-bit change of a note with exactly k cosignatures verifies. */
static void test_every_byte_counts(void **state)
{
    (void)state;
    struct buffer text = note_of(7);
    struct checkpoint got;
    for (size_t i = 0; i < text.size; i++) {
        text.data[i] ^= 1 << i % 8;
        assert_int_not_equal(checkpoint_verify(&got, buffer_bytes(&text), &genesis), OK);
        text.data[i] ^= 1 << i % 8;
    }
    buffer_free(&text);
}

static void test_verifier_keys(void **state)
{
    (void)state;
    struct buffer vkey = {0};
    struct cosigner c;
    cosigner_vkey(&vkey, &cosigners[0]);
    assert_int_equal(cosigner_parse(&c, buffer_bytes(&vkey)), OK);
    assert_memory_equal(&c, &cosigners[0], sizeof c);
    mutate(recode_vkey, buffer_bytes(&vkey));
    struct buffer other = replaced(buffer_bytes(&vkey), "node-1", "node-2");
    assert_int_equal(cosigner_parse(&c, buffer_bytes(&other)), ERR_INVALID); /* the key id binds the name */
    buffer_free(&other);
    assert_int_equal(cosigner_parse(&c, bytes_text("")), ERR_SYNTAX);
    assert_int_equal(cosigner_parse(&c, bytes_text("a+b+c")), ERR_SYNTAX);
    assert_int_equal(cosigner_parse(&c, bytes_of(vkey.data, vkey.size - 1)), ERR_SYNTAX);
    buffer_free(&vkey);
}

/* --- a note that golang.org/x/mod/sumdb/note accepted --- */

static struct bytes between(struct bytes text, const char *start, const char *end)
{
    const uint8_t *at = memmem(text.data, text.size, start, strlen(start));
    assert_non_null(at);
    at += strlen(start);
    size_t left = text.size - (size_t)(at - text.data);
    const uint8_t *stop = memmem(at, left, end, strlen(end));
    assert_non_null(stop);
    return bytes_of(at, (size_t)(stop - at));
}

static void test_published_note(void **state)
{
    (void)state;
    const char *folder = getenv("VECTORS");
    if (!folder) {
        printf("VECTORS is not set: the published note is not checked\n");
        skip();
    }
    char path[4096];
    uint8_t data[8192];
    snprintf(path, sizeof path, "%s/cosignature.txt", folder);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    struct bytes all = bytes_of(data, fread(data, 1, sizeof data, file));
    fclose(file);
    struct bytes text = between(all, "-----\n", "-----\n");
    struct cosigner node;
    struct note note;
    struct digest empty;
    uint32_t valid;
    assert_int_equal(cosigner_parse(&node, between(all, "node vkey: ", "\n")), OK);
    /* the log's own key has another type, which we neither need nor take */
    assert_int_equal(cosigner_parse(&(struct cosigner){0}, between(all, "log vkey: ", "\n")), ERR_INVALID);
    assert_int_equal(note_parse(&note, text), OK);
    tree_empty_root(&empty);
    assert_string_equal(note.checkpoint.origin, "example.org/hospital-ledger");
    assert_int_equal(note.checkpoint.size, 0);
    assert_memory_equal(&note.checkpoint.root, &empty, sizeof empty);
    assert_int_equal(note.count, 2);
    assert_int_equal(note_verify(&valid, &note, "example.org/hospital-ledger", &node, 1, 1), OK);
    assert_int_equal(valid, 1);
    assert_int_equal(note_verify(&valid, &note, "example.org/hospital", &node, 1, 1), ERR_CHECKPOINT);
    struct buffer again = {0};
    assert_int_equal(recode_note(&again, text), OK);
    assert_true(bytes_equal(buffer_bytes(&again), text));
    buffer_free(&again);
    note.lines[1].cosignature.signature.bytes[3] ^= 1;
    assert_int_equal(note_verify(&valid, &note, "example.org/hospital-ledger", &node, 1, 1), ERR_CHECKPOINT);
}

static void name_with_space(void)
{
    struct cosigner c;
    cosigner_set(&c, "a b", &cosigners[0].key);
}
static void cosign_at_0(void)
{
    struct node_secrets secrets;
    struct cosignature c;
    sample_node_secrets(&secrets, 1);
    checkpoint_cosign(&c, &checkpoint, 0, &secrets.cosign);
}
static void test_misuse_dies(void **state)
{
    (void)state;
    assert_true(dies(name_with_space));
    assert_true(dies(cosign_at_0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_k_of_n),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_altered_notes),
        cmocka_unit_test(test_duplicates_are_refused),
        cmocka_unit_test(test_wrong_cosignatures),
        cmocka_unit_test(test_strangers_are_ignored),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_mutations),
        cmocka_unit_test(test_every_byte_counts),
        cmocka_unit_test(test_verifier_keys),
        cmocka_unit_test(test_published_note),
        cmocka_unit_test(test_misuse_dies),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
