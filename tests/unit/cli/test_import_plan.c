/* What an import decides about each resource, from the list of records alone. */
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "cli/import_plan.h"
#include "ledger/record.h"
#include "tests/lib/samples.h"
#include "tests/lib/unit.h"

static const uint8_t tag_key[32] = {1, 2, 3};
static struct id patient, self;
static struct fhir_bundle bundle;
static struct import_known known;
static struct import_plan plan;

#define ENTRY(id, rest) "{\"resource\":{\"resourceType\":\"Observation\",\"id\":\"" id "\"" rest "}}"
#define START "{\"resourceType\":\"Bundle\",\"type\":\"batch\",\"entry\":["

static int setup(void **state)
{
    (void)state;
    patient = sample_id(1);
    self = sample_id(2);
    return 0;
}

static int clear(void **state)
{
    (void)state;
    import_plan_free(&plan);
    import_known_free(&known);
    fhir_bundle_free(&bundle);
    return 0;
}

static void read_bundle(const char *text)
{
    struct failure failure;
    enum err e = fhir_bundle_read(&bundle, bytes_text(text), &failure);
    if (e != OK) fail_msg("%s", failure.text);
}

static void make(bool replace)
{
    import_plan_free(&plan);
    assert_int_equal(import_plan_make(&plan, &bundle, &known, BYTES(tag_key), &patient, &self, replace), OK);
    assert_int_equal(plan.count, bundle.count);
    uint32_t sum = 0;
    for (int i = 0; i < IMPORT_FATE_COUNT; i++) sum += plan.fates[i];
    assert_int_equal(sum, plan.count);
}

/* A record as it stands after entry `i` was imported, written by `author`. */
static struct list_row row_of(uint32_t i, const struct id *author, uint64_t version)
{
    struct buffer content = {0};
    fhir_compact(&content, bundle.entries[i].resource);
    struct list_row row = {.record = record_id_derive(BYTES(tag_key), &patient, bytes_text(bundle.entries[i].source)),
                           .author = *author, .version = version, .kind = bytes_text("Observation"),
                           .content_tag = record_content_tag(BYTES(tag_key), buffer_bytes(&content))};
    buffer_free(&content);
    return row;
}

static void know(const struct list_row *row) { assert_int_equal(import_known_add(&known, row), OK); }

static void expect(uint32_t i, enum import_fate fate, uint64_t version)
{
    if (plan.items[i].fate != fate || plan.items[i].version != version)
        fail_msg("entry %u: %s, version %llu; expected %s, %llu", i, import_fate_word(plan.items[i].fate),
                 (unsigned long long)plan.items[i].version, import_fate_word(fate), (unsigned long long)version);
}

static void test_new(void **state)
{
    (void)state;
    read_bundle(START ENTRY("a", "") "," ENTRY("b", "") "]}");
    make(false);
    expect(0, IMPORT_CREATE, 1);
    expect(1, IMPORT_CREATE, 1);
    assert_false(id_equal(&plan.items[0].record, &plan.items[1].record));
    struct id first = plan.items[0].record;
    make(false); /* the same ids each time */
    assert_true(id_equal(&plan.items[0].record, &first));
    struct id other = sample_id(9);
    import_plan_free(&plan);
    assert_int_equal(import_plan_make(&plan, &bundle, &known, BYTES(tag_key), &other, &self, false), OK);
    assert_false(id_equal(&plan.items[0].record, &first)); /* another patient's is another record */
}

static void test_again(void **state)
{
    (void)state;
    read_bundle(START ENTRY("a", "") "," ENTRY("b", "") "," ENTRY("c", "") "]}");
    for (uint32_t i = 3; i-- > 0;) {
        struct list_row row = row_of(i, &self, 1);
        know(&row);
    }
    make(false);
    for (uint32_t i = 0; i < 3; i++) assert_int_equal(plan.items[i].fate, IMPORT_UNCHANGED);
    fhir_bundle_free(&bundle); /* other white space, the same resources */
    read_bundle(START "\n" ENTRY("c", " ") " ,\t" ENTRY("a", "\n") "," ENTRY("b", "") "]}");
    make(false);
    assert_int_equal(plan.fates[IMPORT_UNCHANGED], 3);
}

static void test_changed(void **state)
{
    (void)state;
    struct id doctor = sample_id(3);
    read_bundle(START ENTRY("a", "") "," ENTRY("b", "") "," ENTRY("c", "") "]}");
    struct list_row mine = row_of(0, &self, 4), theirs = row_of(1, &doctor, 2), gone = row_of(2, &self, 3);
    mine.content_tag.bytes[0] ^= 1;
    theirs.content_tag = sample_digest(5);
    gone.deleted = true;
    know(&mine), know(&theirs), know(&gone);
    make(false);
    expect(0, IMPORT_UPDATE, 5);
    assert_int_equal(plan.items[1].fate, IMPORT_CHANGED_HERE);
    assert_int_equal(plan.items[2].fate, IMPORT_DELETED_HERE);
    make(true);
    expect(0, IMPORT_UPDATE, 5);
    expect(1, IMPORT_UPDATE, 3);
    assert_int_equal(plan.items[2].fate, IMPORT_DELETED_HERE);
}

/* A label in the file raises; what was raised here is not lowered. */
static void test_confidentiality(void **state)
{
    (void)state;
#define LABEL(code)                                                                                                    \
    ",\"meta\":{\"security\":[{\"system\":\"http://terminology.hl7.org/CodeSystem/v3-Confidentiality\",\"code\":\"" code "\"}]}"
    read_bundle(START ENTRY("a", LABEL("R")) "," ENTRY("b", LABEL("V")) "," ENTRY("c", "") "]}");
    struct list_row lower = row_of(1, &self, 1), raised = row_of(2, &self, 1);
    lower.conf = CONF_NORMAL;
    raised.conf = CONF_RESTRICTED;
    know(&lower), know(&raised);
    make(false);
    expect(0, IMPORT_CREATE, 1);
    assert_int_equal(plan.items[0].conf, CONF_RESTRICTED);
    expect(1, IMPORT_UPDATE, 2);
    assert_int_equal(plan.items[1].conf, CONF_VERY_RESTRICTED);
    assert_int_equal(plan.items[2].fate, IMPORT_UNCHANGED);
    raised.content_tag.bytes[0] ^= 1;
    import_known_free(&known);
    know(&raised);
    make(false);
    expect(2, IMPORT_UPDATE, 2);
    assert_int_equal(plan.items[2].conf, CONF_RESTRICTED);
}

static void test_left_out(void **state)
{
    (void)state;
    read_bundle(START "{\"resource\":{\"resourceType\":\"Patient\",\"id\":\"p\"}},"
                ENTRY("a", ",\"subject\":{\"reference\":\"Patient/q\"}") "," ENTRY("b", "") "," ENTRY("b",
                                                                                                      ",\"c\":1") ","
                ENTRY("b", " ") "]}");
    make(false);
    assert_int_equal(plan.items[0].fate, IMPORT_CREATE);
    assert_int_equal(plan.items[1].fate, IMPORT_FOREIGN);
    assert_int_equal(plan.items[2].fate, IMPORT_CREATE);
    assert_int_equal(plan.items[3].fate, IMPORT_REPEATED);
    assert_int_equal(plan.items[4].fate, IMPORT_UNCHANGED);
}

static void test_too_large(void **state)
{
    (void)state;
    static const char head[] = START "{\"resource\":{\"resourceType\":\"Binary\",\"id\":\"x\",\"data\":\"",
                               tail[] = "\"   }}]}";
    const size_t overhead = strlen("{\"resourceType\":\"Binary\",\"id\":\"x\",\"data\":\"\"}");
    for (size_t over = 0; over < 2; over++) {
        size_t data = LIMIT_RECORD - overhead + over;
        char *text = xmalloc(sizeof head + data + sizeof tail);
        memcpy(text, head, sizeof head);
        memset(text + sizeof head - 1, 'A', data);
        memcpy(text + sizeof head - 1 + data, tail, sizeof tail);
        read_bundle(text);
        make(false); /* the white space at its end doesn't count */
        assert_int_equal(plan.items[0].fate, over ? IMPORT_TOO_LARGE : IMPORT_CREATE);
        fhir_bundle_free(&bundle);
        free(text);
    }
}

/* More records than one page of the list, in any order. */
static void test_many(void **state)
{
    (void)state;
    struct buffer text = {0};
    buffer_append_text(&text, START);
    for (int i = 0; i < 1000; i++)
        buffer_printf(&text, "%s{\"resource\":{\"resourceType\":\"Observation\",\"id\":\"%d\"}}", i ? "," : "", i);
    buffer_append_text(&text, "]}");
    buffer_append(&text, "", 1);
    read_bundle((const char *)text.data);
    for (uint32_t i = 0; i < 1000; i += 2) {
        struct list_row row = row_of((i * 7) % 1000, &self, 1);
        know(&row);
    }
    make(false);
    assert_int_equal(plan.fates[IMPORT_UNCHANGED], 500);
    assert_int_equal(plan.fates[IMPORT_CREATE], 500);
    for (uint32_t i = 0; i < 1000; i++)
        assert_int_equal(plan.items[i].fate, i % 2 ? IMPORT_CREATE : IMPORT_UNCHANGED);
    fhir_bundle_free(&bundle); /* its entries are views of the text */
    buffer_free(&text);
}

/* Known answers, computed apart: a second import must find them for ever. */
static void test_patient_ids(void **state)
{
    (void)state;
    struct id a = import_patient_id(BYTES(tag_key), "identifier:urn:mr|H-9");
    struct id b = import_patient_id(BYTES(tag_key), "identifier:urn:mr|H-10");
    char hex[33];
    assert_false(id_equal(&a, &b));
    hex_format(hex, a.bytes, sizeof a.bytes);
    assert_string_equal(hex, "585532c6171442d4cc0328b08ec492f6");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_new, NULL, clear),
        cmocka_unit_test_setup_teardown(test_again, NULL, clear),
        cmocka_unit_test_setup_teardown(test_changed, NULL, clear),
        cmocka_unit_test_setup_teardown(test_confidentiality, NULL, clear),
        cmocka_unit_test_setup_teardown(test_left_out, NULL, clear),
        cmocka_unit_test_setup_teardown(test_too_large, NULL, clear),
        cmocka_unit_test_setup_teardown(test_many, NULL, clear),
        cmocka_unit_test(test_patient_ids),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
