#include "tests/lib/unit.h"

#include <stdlib.h>

#include "crypto/aead.h"
#include "crypto/hash.h"
#include "crypto/tdh2.h"
#include "tests/lib/mutate.h"
#include "tests/lib/recode.h"
#include "tests/lib/samples.h"

static const uint8_t salt[ATTACHMENT_SALT] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};

static void test_round_trip_and_hash(void **state)
{
    (void)state;
    struct buffer out = {0}, salted = {0};
    struct attachment a;
    struct digest expected, hash;
    attachment_encode(&out, salt, bytes_text("hello"));
    assert_memory_equal(out.data, "\x92\xc4\x10", 3);
    assert_memory_equal(out.data + 19, "\xc4\x05hello", 7);
    assert_int_equal(attachment_decode(&a, buffer_bytes(&out)), OK);
    assert_memory_equal(a.salt, salt, sizeof salt);
    assert_true(bytes_equal(a.content, bytes_text("hello")));
    buffer_append(&salted, salt, sizeof salt);
    buffer_append_text(&salted, "hello");
    hash_sha256(&expected, salted.data, salted.size);
    hash = attachment_hash(salt, bytes_text("hello"));
    assert_memory_equal(&hash, &expected, sizeof hash);
    assert_int_equal(attachment_check(&a, buffer_bytes(&out), &expected), OK);
    expected.bytes[0] ^= 1;
    assert_int_equal(attachment_check(&a, buffer_bytes(&out), &expected), ERR_ATTACHMENT);
    out.data[0] = 0x93;
    assert_int_equal(attachment_check(&a, buffer_bytes(&out), &expected), ERR_ATTACHMENT);
    buffer_free(&out);
    buffer_free(&salted);
}

static void test_sizes(void **state)
{
    (void)state;
    struct attachment a;
    struct buffer out = {0};
    uint8_t *zeros = calloc(1, LIMIT_ATTACHMENT + 1);
    attachment_encode(&out, salt, bytes_of(zeros, LIMIT_ATTACHMENT - ATTACHMENT_OVERHEAD));
    assert_true(out.size <= LIMIT_ATTACHMENT);
    assert_int_equal(attachment_decode(&a, buffer_bytes(&out)), OK);
    buffer_clear(&out);
    attachment_encode(&out, salt, bytes_of(zeros, LIMIT_ATTACHMENT - ATTACHMENT_OVERHEAD + 1));
    assert_int_equal(attachment_decode(&a, buffer_bytes(&out)), ERR_TOO_LARGE);
    buffer_clear(&out);
    attachment_encode(&out, salt, (struct bytes){0});
    assert_int_equal(attachment_decode(&a, buffer_bytes(&out)), OK);
    assert_int_equal(a.content.size, 0);
    buffer_free(&out);
    free(zeros);
}

static void test_person(void **state)
{
    (void)state;
    struct person p = {bytes_text("m.curie"), bytes_text("Marie Sk\xc5\x82odowska Curie"), bytes_text("Rue 1\nParis"),
                       bytes_text("physician"), bytes_text("17-A")},
                  back;
    char longest[LIMIT_PERSON_TEXT + 2] = {0};
    struct buffer out = {0};
    person_encode(&out, &p);
    assert_int_equal(person_decode(&back, buffer_bytes(&out)), OK);
    assert_true(bytes_equal(back.name, p.name) && bytes_equal(back.hospital_number, p.hospital_number));
    struct mutants m = mutate(recode_person, buffer_bytes(&out));
    assert_true(m.accepted < m.tried);
    memset(longest, 'x', LIMIT_PERSON_TEXT + 1);
    p.name = bytes_of(longest, LIMIT_PERSON_TEXT);
    buffer_clear(&out);
    person_encode(&out, &p);
    assert_int_equal(person_decode(&back, buffer_bytes(&out)), OK);
    p.name.size++;
    buffer_clear(&out);
    person_encode(&out, &p);
    assert_int_equal(person_decode(&back, buffer_bytes(&out)), ERR_TOO_LARGE);
    p.name = bytes_text("bell\a");
    buffer_clear(&out);
    person_encode(&out, &p);
    assert_int_equal(person_decode(&back, buffer_bytes(&out)), ERR_MALFORMED);
    buffer_free(&out);
}

static enum err content_of(size_t capsule, size_t ciphertext)
{
    uint8_t *zeros = calloc(1, LIMIT_RECORD + 100);
    struct content c = {bytes_of(zeros, capsule), bytes_of(zeros, ciphertext)}, back;
    struct buffer out = {0};
    content_encode(&out, &c);
    enum err e = content_decode(&back, buffer_bytes(&out));
    if (e == OK) assert_true(back.capsule.size == capsule && back.ciphertext.size == ciphertext);
    buffer_free(&out);
    free(zeros);
    return e;
}

static void test_content(void **state)
{
    (void)state;
    assert_int_equal(content_of(100, 16), OK); /* an empty record has its tag */
    assert_int_equal(content_of(TDH2_CAPSULE_SIZE_MAX, LIMIT_RECORD + 16), OK);
    assert_int_equal(content_of(100, LIMIT_RECORD + 17), ERR_RECORD_TOO_LARGE);
    assert_int_equal(content_of(100, 15), ERR_MALFORMED);
    assert_int_equal(content_of(0, 16), ERR_MALFORMED);
    assert_int_equal(content_of(LIMIT_CAPSULE + 1, 16), ERR_TOO_LARGE);
    /* the largest record with its capsule fits into an attachment */
    assert_true(LIMIT_RECORD + 16 + TDH2_CAPSULE_SIZE_MAX + 16 <= LIMIT_ATTACHMENT - ATTACHMENT_OVERHEAD);
}

static void test_notes(void **state)
{
    (void)state;
    char text[LIMIT_NOTE + 1];
    memset(text, 'x', sizeof text);
    assert_int_equal(note_check((struct bytes){0}), OK);
    assert_int_equal(note_check(bytes_text("two\nlines, \xe2\x82\xac 5")), OK);
    assert_int_equal(note_check(bytes_of(text, LIMIT_NOTE)), OK);
    assert_int_equal(note_check(bytes_of(text, LIMIT_NOTE + 1)), ERR_TOO_LARGE);
    assert_int_equal(note_check(bytes_text("\xc3")), ERR_MALFORMED);
    assert_int_equal(note_check(bytes_text("esc\x1b[0m")), ERR_MALFORMED);
}

static void test_mutations(void **state)
{
    (void)state;
    struct buffer inner = {0}, out = {0};
    struct content c = {bytes_text("capsule"), bytes_text("ciphertext and tag")};
    content_encode(&inner, &c);
    mutate(recode_content, buffer_bytes(&inner));
    attachment_encode(&out, salt, buffer_bytes(&inner));
    struct mutants m = mutate(recode_attachment, buffer_bytes(&out));
    assert_true(m.accepted > 0 && m.accepted < m.tried);
    buffer_free(&inner);
    buffer_free(&out);
}

/* --- ledger/record.h --- */

static void test_context(void **state)
{
    (void)state;
    struct record_context c = {sample_digest(1), sample_id(1), sample_id(2), RECORD_VERSION_MAX, CONF_VERY_RESTRICTED,
                               sample_id(3)},
                          back;
    struct buffer out = {0};
    record_context_encode(&out, &c);
    assert_true(out.size <= RECORD_CONTEXT_MAX);
    assert_int_equal(record_context_decode(&back, buffer_bytes(&out)), OK);
    assert_true(id_equal(&back.record, &c.record) && back.version == c.version && back.conf == c.conf);
    struct mutants m = mutate(recode_context, buffer_bytes(&out));
    assert_true(m.accepted > 0 && m.accepted < m.tried);
    const struct record_context bad[] = {
        {c.cluster, c.patient, c.record, 0, c.conf, c.author},
        {c.cluster, c.patient, c.record, RECORD_VERSION_MAX + 1, c.conf, c.author},
        {c.cluster, c.patient, c.record, 1, (enum confidentiality)3, c.author},
        {c.cluster, {{0}}, c.record, 1, c.conf, c.author},
        {c.cluster, c.patient, {{0}}, 1, c.conf, c.author},
        {c.cluster, c.patient, c.record, 1, c.conf, {{0}}},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        buffer_clear(&out);
        record_context_encode(&out, &bad[i]);
        assert_int_equal(record_context_decode(&back, buffer_bytes(&out)), ERR_MALFORMED);
    }
    buffer_free(&out);
}

static void test_label_covers_context_and_ciphertext(void **state)
{
    (void)state;
    struct digest hash, expected, label = record_label(bytes_text("context"), bytes_text("ciphertext"));
    hash_sha256(&hash, "ciphertext", 10);
    struct bytes parts[] = {bytes_text("context"), BYTES(hash.bytes)};
    hash_sha256_parts(&expected, parts, 2);
    assert_memory_equal(&label, &expected, sizeof label);
    struct digest other = record_label(bytes_text("Context"), bytes_text("ciphertext"));
    assert_memory_not_equal(&label, &other, sizeof label);
}

static void test_tags_depend_on_the_key(void **state)
{
    (void)state;
    struct id patient = sample_id(1), other_patient = sample_id(2);
    struct bytes k1 = bytes_text("key one"), k2 = bytes_text("key two"), a = bytes_text("a"), b = bytes_text("b");
    struct digest t = record_content_tag(k1, a), again = record_content_tag(k1, a), u;
    assert_memory_equal(&t, &again, sizeof t);
    u = record_content_tag(k2, a);
    assert_memory_not_equal(&t, &u, sizeof t);
    u = record_content_tag(k1, b);
    assert_memory_not_equal(&t, &u, sizeof t);
    struct id r = record_id_derive(k1, &patient, a), s = record_id_derive(k1, &patient, a);
    assert_true(id_equal(&r, &s) && !id_is_zero(&r));
    s = record_id_derive(k1, &other_patient, a);
    assert_false(id_equal(&r, &s));
    s = record_id_derive(k2, &patient, a);
    assert_false(id_equal(&r, &s));
    s = record_id_derive(k1, &patient, b);
    assert_false(id_equal(&r, &s));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip_and_hash),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_person),
        cmocka_unit_test(test_content),
        cmocka_unit_test(test_notes),
        cmocka_unit_test(test_mutations),
        cmocka_unit_test(test_context),
        cmocka_unit_test(test_label_covers_context_and_ciphertext),
        cmocka_unit_test(test_tags_depend_on_the_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
