/* Notes that others published, and wrote with other programs: what they say, that their signatures
 * hold under the published keys, and that no altered byte goes unseen.
 *   - the example of the C2SP texts tlog-checkpoint and tlog-cosignature (c2sp.org; no key is published for it),
 *   - a checkpoint of the staging log coachandhorses2026h1 with the cosignature of the public witness navigli, whose
 *     key stands at geomys.org/witness/navigli (its third line, ML-DSA-44, is left out),
 *   - the example of Go's golang.org/x/mod/sumdb/note: a signed note that is no checkpoint. */
#include "tests/lib/unit.h"

#include "crypto/hash.h"
#include "crypto/sign.h"
#include "ledger/checkpoint.h"
#include "tests/lib/recode.h"
#include "tests/lib/unhex.h"

#define DASH "\xe2\x80\x94 "

#define SOFA_TEXT "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
#define SOFA_LOG DASH "example.com/behind-the-sofa " \
    "Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
#define SOFA_WITNESS DASH "witness.example.com/w1 " \
    "jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n"

#define CT_ORIGIN "coachandhorses2026h1.staging.certificate.transparency.goog"
#define CT_TEXT CT_ORIGIN "\n185550722\nYXAM0VmnrfvLaBCOOYSJhCaE5F10oGBOo+hkbDa1kng=\n"
#define CT_LOG DASH CT_ORIGIN " " \
    "MpXgsHy8ZwxXnO+WjtVrPxAzL49Rs1gWTkNVNeEa//5peAzaocRCB3qt3EaibjzY5GILLtGgBP7dBhgcSHy+JQh0OAc=\n"
#define NAVIGLI "witness.navigli.sunlight.geomys.org"
#define CT_WITNESS DASH NAVIGLI " " \
    "o+AP4gAAAABqb7DzNrGFRJnQ9vrJ8xpnwZytnr/ZYczDIsvwvouiSjwOjn7a72ccxBk+lKnZ7dKqkYKER1s/KxLTaVwQD7lJZTC/CQ==\n"
#define NAVIGLI_KEY NAVIGLI "+a3e00fe2+BNy/co4C1Hn1p+INwJrfUlgz7W55dSZReusH/GhUhJ/G"

#define GO_TEXT "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
#define GO_SIGNATURE "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
#define GO_KEY "ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"

static void assert_base64(const void *data, size_t size, const char *text)
{
    struct buffer encoded = {0};
    base64_append(&encoded, bytes_of(data, size));
    assert_true(bytes_equal(buffer_bytes(&encoded), bytes_text(text)));
    buffer_free(&encoded);
}

static void assert_line(const struct note_line *line, const char *name, const char *key_id)
{
    uint8_t id[4];
    unhex_to(id, sizeof id, key_id);
    assert_true(bytes_equal(line->name, bytes_text(name)));
    assert_memory_equal(line->key_id, id, sizeof id);
}

static void assert_recoded(const char *text)
{
    struct buffer again = {0};
    assert_int_equal(recode_note(&again, bytes_text(text)), OK);
    assert_true(bytes_equal(buffer_bytes(&again), bytes_text(text)));
    buffer_free(&again);
}

static void test_example_of_the_specification(void **state)
{
    (void)state;
    static const char text[] = SOFA_TEXT "\n" SOFA_LOG SOFA_WITNESS;
    struct note note;
    assert_int_equal(note_parse(&note, bytes_text(text)), OK);
    assert_string_equal(note.checkpoint.origin, "example.com/behind-the-sofa");
    assert_int_equal(note.checkpoint.size, 20852163);
    assert_base64(note.checkpoint.root.bytes, 32, "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=");
    assert_true(bytes_equal(note.body, bytes_text(SOFA_TEXT)));
    assert_int_equal(note.count, 2);
    assert_line(&note.lines[0], "example.com/behind-the-sofa", "033de0ae");
    assert_false(note.lines[0].is_cosignature);
    assert_line(&note.lines[1], "witness.example.com/w1", "8d66cf3f");
    assert_true(note.lines[1].is_cosignature);
    assert_int_equal(note.lines[1].cosignature.time_s, 1679315147);
    assert_recoded(text);
    struct buffer body = {0};
    checkpoint_body(&body, &note.checkpoint);
    assert_true(bytes_equal(buffer_bytes(&body), note.body));
    buffer_free(&body);
}

/* No key is published for it: nobody we know signed it, and another key under that name and key id is refused. */
static void test_example_under_other_keys(void **state)
{
    (void)state;
    static const char text[] = SOFA_TEXT "\n" SOFA_LOG SOFA_WITNESS;
    struct note note;
    struct cosigner witness;
    uint32_t valid = 99;
    assert_int_equal(note_parse(&note, bytes_text(text)), OK);
    assert_int_equal(cosigner_parse(&witness, bytes_text(NAVIGLI_KEY)), OK);
    assert_int_equal(note_verify(&valid, &note, "example.com/behind-the-sofa", &witness, 1, 1),
                     ERR_TOO_FEW_COSIGNATURES);
    assert_int_equal(valid, 0);
    strcpy(witness.name, "witness.example.com/w1");
    memcpy(witness.key_id, note.lines[1].key_id, sizeof witness.key_id);
    assert_int_equal(note_verify(&valid, &note, "example.com/behind-the-sofa", &witness, 1, 1), ERR_CHECKPOINT);
}

static enum err verify_navigli(struct bytes text)
{
    struct cosigner witness;
    struct note note;
    assert_int_equal(cosigner_parse(&witness, bytes_text(NAVIGLI_KEY)), OK);
    enum err e = note_parse(&note, text);
    return e != OK ? e : note_verify(NULL, &note, CT_ORIGIN, &witness, 1, 1);
}

static void test_cosignature_of_a_public_witness(void **state)
{
    (void)state;
    static const char text[] = CT_TEXT "\n" CT_LOG CT_WITNESS;
    struct note note;
    assert_int_equal(note_parse(&note, bytes_text(text)), OK);
    assert_string_equal(note.checkpoint.origin, CT_ORIGIN);
    assert_int_equal(note.checkpoint.size, 185550722);
    assert_base64(note.checkpoint.root.bytes, 32, "YXAM0VmnrfvLaBCOOYSJhCaE5F10oGBOo+hkbDa1kng=");
    assert_int_equal(note.count, 2);
    assert_line(&note.lines[1], NAVIGLI, "a3e00fe2");
    assert_int_equal(note.lines[1].cosignature.time_s, 1785704691);
    assert_int_equal(verify_navigli(bytes_text(text)), OK);
    assert_recoded(text);
}

/* Each byte but those of the log's own line, which is of a type that we don't read. */
static void test_every_byte_of_it_counts(void **state)
{
    (void)state;
    char text[] = CT_TEXT "\n" CT_LOG CT_WITNESS;
    size_t log_from = strlen(CT_TEXT "\n"), log_to = log_from + strlen(CT_LOG), refused = 0;
    for (size_t i = 0; i < strlen(text); i++) {
        if (i >= log_from && i < log_to) continue;
        for (unsigned bit = 0; bit < 8; bit++) {
            text[i] = (char)(text[i] ^ 1 << bit);
            assert_int_not_equal(verify_navigli(bytes_of(text, sizeof text - 1)), OK);
            text[i] = (char)(text[i] ^ 1 << bit);
            refused++;
        }
    }
    assert_int_equal(refused, 8 * strlen(CT_TEXT "\n" CT_WITNESS));
    assert_int_equal(verify_navigli(bytes_text(text)), OK);
}

/* Type 1: Ed25519 over the text alone. Our nodes neither make nor take it as a cosignature. */
static void test_example_of_the_go_package(void **state)
{
    (void)state;
    static const uint8_t newline[] = {'\n'};
    struct buffer key = {0}, signed_by = {0};
    struct sign_public public_key;
    struct signature signature;
    struct digest hash;
    assert_int_equal(base64_decode(&key, bytes_text(GO_KEY)), OK);
    assert_int_equal(base64_decode(&signed_by, bytes_text(GO_SIGNATURE)), OK);
    assert_true(key.size == 33 && key.data[0] == 1 && signed_by.size == 4 + 64);
    struct bytes parts[] = {bytes_text("PeterNeumann"), BYTES(newline), buffer_bytes(&key)};
    hash_sha256_parts(&hash, parts, 3);
    assert_memory_equal(hash.bytes, "\xc7\x4f\x20\xa3", 4);
    assert_memory_equal(signed_by.data, hash.bytes, 4);
    memcpy(public_key.bytes, key.data + 1, 32);
    memcpy(signature.bytes, signed_by.data + 4, 64);
    char text[] = GO_TEXT;
    assert_int_equal(sign_verify(&signature, &public_key, bytes_text(text)), OK);
    for (size_t i = 0; i < strlen(GO_TEXT); i++) {
        text[i] ^= 1;
        assert_int_equal(sign_verify(&signature, &public_key, bytes_of(text, sizeof text - 1)), ERR_BAD_SIGNATURE);
        text[i] ^= 1;
    }
    struct note note;
    assert_int_equal(note_parse(&note, bytes_text(GO_TEXT "\n" DASH "PeterNeumann " GO_SIGNATURE "\n")),
                     ERR_CHECKPOINT);
    assert_int_equal(cosigner_parse(&(struct cosigner){0}, bytes_text("PeterNeumann+c74f20a3+" GO_KEY)), ERR_INVALID);
    buffer_free(&key);
    buffer_free(&signed_by);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_example_of_the_specification),
        cmocka_unit_test(test_example_under_other_keys),
        cmocka_unit_test(test_cosignature_of_a_public_witness),
        cmocka_unit_test(test_every_byte_of_it_counts),
        cmocka_unit_test(test_example_of_the_go_package),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
