/* Bundles: what is taken, what is refused and where, and what a resource's bytes become. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "cli/fhir.h"
#include "tests/lib/unit.h"

static struct fhir_bundle bundle;
static struct failure failure;

static enum err read_text(const char *text)
{
    failure = (struct failure){0};
    return fhir_bundle_read(&bundle, bytes_text(text), &failure);
}

static void refuse(const char *text, enum err code, const char *words)
{
    enum err e = read_text(text);
    fhir_bundle_free(&bundle);
    if (e != code || !strstr(failure.text, words))
        fail_msg("%.60s...: %s \"%s\", expected %s with \"%s\"", text, err_name(e), failure.text, err_name(code),
                 words);
}

static void accept(const char *text)
{
    enum err e = read_text(text);
    if (e != OK) fail_msg("%.60s...: %s: %s", text, err_name(e), failure.text);
}

#define BUNDLE(entries) "{\"resourceType\":\"Bundle\",\"type\":\"transaction\",\"entry\":[" entries "]}"
#define PATIENT "{\"fullUrl\":\"urn:uuid:p\",\"resource\":{\"resourceType\":\"Patient\",\"id\":\"p1\"}}"

/* --- bundles --- */

static void test_small(void **state)
{
    (void)state;
    accept(BUNDLE(PATIENT ",{\"request\":{\"method\":\"POST\"},\"fullUrl\":\"urn:uuid:o\","
                          "\"resource\":{\"resourceType\":\"Observation\",\"id\":\"o1\","
                          "\"subject\":{\"reference\":\"urn:uuid:p\"}}}"));
    assert_int_equal(bundle.count, 2);
    assert_int_equal(bundle.patients, 1);
    assert_int_equal(bundle.patient, 0);
    assert_string_equal(bundle.entries[1].type, "Observation");
    assert_string_equal(bundle.entries[1].source, "id:Observation/o1");
    assert_string_equal(bundle.entries[1].full_url, "urn:uuid:o");
    assert_false(bundle.entries[1].foreign);
    fhir_bundle_free(&bundle);
}

static void test_odd_but_valid(void **state)
{
    (void)state;
    accept("\xef\xbb\xbf \r\n{ \"entry\" : [ ] , \"type\":\"collection\",\"resourceType\":\"Bundle\" } \n");
    fhir_bundle_free(&bundle);
    accept("{\"resourceType\":\"Bundle\",\"type\":\"batch\"}");
    assert_int_equal(bundle.count, 0);
    fhir_bundle_free(&bundle);
    accept("{\"resourceType\":\"Bundle\",\"type\":\"\\u0062atch\",\"link\":[{\"a\":[{}]}],"
           "\"\\u0065ntry\":[" PATIENT "]}");
    assert_int_equal(bundle.count, 1);
    fhir_bundle_free(&bundle);
    accept(BUNDLE(PATIENT ",{\"request\":{\"method\":\"DELETE\",\"url\":\"Observation/1\"}}"));
    assert_int_equal(bundle.empty, 1);
    assert_int_equal(bundle.count, 1);
    fhir_bundle_free(&bundle);
    /* Numbers that no C type holds exactly are numbers. */
    accept(BUNDLE("{\"resource\":{\"resourceType\":\"Observation\",\"v\":123456789012345678901234567890,\"w\":1.50}}"));
    fhir_bundle_free(&bundle);
}

static void test_malformed(void **state)
{
    (void)state;
    refuse("", ERR_SYNTAX, "line 1: the text ends where an object is expected");
    refuse("[]", ERR_SYNTAX, "line 1: an object is expected");
    refuse("null", ERR_SYNTAX, "an object");
    refuse("{", ERR_SYNTAX, "ends");
    refuse("{\"a\"", ERR_SYNTAX, "':'");
    refuse("{\"a\":", ERR_SYNTAX, "a value");
    refuse("{\"a\":}", ERR_SYNTAX, "a value");
    refuse("{\"a\":1", ERR_SYNTAX, "',' or '}'");
    refuse("{\"a\":1,}", ERR_SYNTAX, "after ','");
    refuse("{,\"a\":1}", ERR_SYNTAX, "a member's name");
    refuse("{\"a\":1 \"b\":2}", ERR_SYNTAX, "',' or '}'");
    refuse("{\"a", ERR_SYNTAX, "a string has no end");
    refuse("{\"a\":tru}", ERR_SYNTAX, "line 1");
    refuse("{\"a\":01}", ERR_SYNTAX, "line 1");
    refuse("{\"a\":\"\\x\"}", ERR_SYNTAX, "line 1");
    refuse("{\"a\":\"\n\"}", ERR_SYNTAX, "line");
    refuse("{\"a\":\"\xff\"}", ERR_SYNTAX, "unable to decode byte");
    refuse("{\"\xff\":1}", ERR_SYNTAX, "unable to decode byte");
    refuse("{'a':1}", ERR_SYNTAX, "a member's name");
    refuse("{\"a\":[1,2}", ERR_SYNTAX, "line 1");
    refuse("{\"a\":{\"b\":1,\"b\":2}}", ERR_SYNTAX, "duplicate");
    refuse(BUNDLE(PATIENT) "x", ERR_SYNTAX, "follows the end");
    refuse(BUNDLE(PATIENT ","), ERR_SYNTAX, "after ','");
    refuse(BUNDLE(PATIENT " " PATIENT), ERR_SYNTAX, "',' or ']'");
    refuse(BUNDLE("1"), ERR_SYNTAX, "an object is expected");
    refuse(BUNDLE("{\"resource\":1}"), ERR_INVALID, "without a resourceType");
    refuse(BUNDLE("{\"resource\":{\"resourceType\":1}}"), ERR_INVALID, "without a resourceType");
    refuse(BUNDLE("{\"resource\":{\"id\":\"x\"}}"), ERR_INVALID, "without a resourceType");
    refuse(BUNDLE("{\"fullUrl\":1,\"resource\":{\"resourceType\":\"A\"}}"), ERR_INVALID, "fullUrl");
    refuse(BUNDLE("{\"resource\":{\"resourceType\":\"A\"},\"resource\":{\"resourceType\":\"A\"}}"), ERR_SYNTAX,
           "twice");
    refuse("{\"resourceType\":\"Bundle\",\"type\":\"batch\",\"entry\":[],\"entry\":[]}", ERR_SYNTAX,
           "\"entry\" stands there twice");
    refuse("{\"resourceType\":\"Bundle\",\"type\":\"batch\",\"entry\":{}}", ERR_SYNTAX, "an array is expected");
}

static void test_places(void **state)
{
    (void)state;
    refuse("{\n\"resourceType\":\n\"Bundle\",\n\"type\": oops}", ERR_SYNTAX, "line 4: ");
    refuse("{\n\"entry\":[\n{\"resource\":{\n\n\"resourceType\":\"A\" \"b\":1}}]}", ERR_SYNTAX, "line 5: ");
    accept("{\"resourceType\":\"Bundle\",\"type\":\"batch\",\n\"entry\":[\n" PATIENT ",\n" PATIENT "\n]}");
    assert_int_equal(bundle.entries[0].line, 3);
    assert_int_equal(bundle.entries[1].line, 4);
    fhir_bundle_free(&bundle);
}

static void test_other_things(void **state)
{
    (void)state;
    refuse("{}", ERR_INVALID, "no resourceType");
    refuse("{\"resourceType\":5}", ERR_INVALID, "no resourceType");
    refuse("{\"resourceType\":\"Patient\",\"id\":\"x\",\"type\":[{}]}", ERR_INVALID, "a Patient, not a Bundle");
    refuse("{\"resourceType\":\"Bundle\",\"entry\":[]}", ERR_INVALID, "type ''");
    refuse("{\"resourceType\":\"Bundle\",\"type\":\"history\",\"entry\":[]}", ERR_INVALID, "type 'history'");
    refuse("{\"resourceType\":\"Bundle\",\"type\":3,\"entry\":[]}", ERR_INVALID,
           "only transaction, batch and collection");
}

/* Brackets beyond the limit cost neither stack nor time. */
static void test_deep(void **state)
{
    (void)state;
    struct buffer text = {0};
    for (uint32_t depth = LIMIT_JSON_DEPTH - 1; depth <= LIMIT_JSON_DEPTH + 1; depth++) {
        buffer_clear(&text);
        buffer_append_text(&text, "{\"resourceType\":\"Bundle\",\"type\":\"batch\",\"x\":");
        for (uint32_t i = 0; i < depth; i++) buffer_append_text(&text, "[");
        for (uint32_t i = 0; i < depth; i++) buffer_append_text(&text, "]");
        buffer_append_text(&text, "}");
        enum err e = fhir_bundle_read(&bundle, buffer_bytes(&text), &failure);
        assert_int_equal(e, depth <= LIMIT_JSON_DEPTH ? OK : ERR_TOO_DEEP);
        fhir_bundle_free(&bundle);
    }
    buffer_clear(&text);
    for (uint32_t i = 0; i < 1000000; i++) buffer_append_text(&text, "{\"entry\":[");
    assert_int_not_equal(fhir_bundle_read(&bundle, buffer_bytes(&text), &failure), OK);
    fhir_bundle_free(&bundle);
    buffer_free(&text);
}

static void test_too_many(void **state)
{
    (void)state;
    struct buffer text = {0};
    buffer_append_text(&text, "{\"resourceType\":\"Bundle\",\"type\":\"batch\",\"entry\":[");
    for (uint32_t i = 0; i <= LIMIT_BUNDLE_ENTRIES; i++)
        buffer_printf(&text, "%s{\"resource\":{\"resourceType\":\"A\",\"id\":\"%u\"}}", i ? "," : "", i);
    buffer_append_text(&text, "]}");
    assert_int_equal(fhir_bundle_read(&bundle, buffer_bytes(&text), &failure), ERR_TOO_LARGE);
    fhir_bundle_free(&bundle);
    buffer_free(&text);
    struct bytes large = {(const uint8_t *)"", LIMIT_BUNDLE + 1u};
    assert_int_equal(fhir_bundle_read(&bundle, large, &failure), ERR_TOO_LARGE);
}

/* Every beginning of a bundle is refused or, at the very end, whole; nothing is read past it. */
static void test_cut(void **state)
{
    (void)state;
    static const char whole[] = "{\"resourceType\":\"Bundle\",\"type\":\"batch\",\"entry\":[" PATIENT "]}";
    for (size_t size = 0; size < sizeof whole - 1; size++) {
        uint8_t *exact = xmalloc(size ? size : 1);
        memcpy(exact, whole, size);
        assert_int_not_equal(fhir_bundle_read(&bundle, bytes_of(exact, size), &failure), OK);
        fhir_bundle_free(&bundle);
        free(exact);
    }
}

/* --- a resource's bytes --- */

static void assert_compact(const char *in, const char *out)
{
    struct buffer compact = {0};
    fhir_compact(&compact, bytes_text(in));
    if (!bytes_equal(buffer_bytes(&compact), bytes_text(out)))
        fail_msg("%s became %.*s", in, (int)compact.size, (const char *)compact.data);
    buffer_free(&compact);
}

static void test_compact(void **state)
{
    (void)state;
    assert_compact("", "");
    assert_compact("  {\r\n\t\"a\" : [ 1.50 , -0e+1 ,\"b c\\\" d\\\\\" ] } ", "{\"a\":[1.50,-0e+1,\"b c\\\" d\\\\\"]}");
    assert_compact("{\"a\":\"\\u00e9 \xc3\xa9\"}", "{\"a\":\"\\u00e9 \xc3\xa9\"}");
    assert_compact("{\"z\":1,\"a\":2}", "{\"z\":1,\"a\":2}");
}

/* --- names from import to import --- */

static void expect_source(const char *entry, const char *source)
{
    char text[800];
    snprintf(text, sizeof text, BUNDLE("%s"), entry);
    accept(text);
    assert_string_equal(bundle.entries[0].source, source);
    fhir_bundle_free(&bundle);
}

static void test_sources(void **state)
{
    (void)state;
    expect_source("{\"fullUrl\":\"https://a.example/fhir/A/7\",\"resource\":{\"resourceType\":\"A\",\"id\":\"7\"}}",
                  "url:https://a.example/fhir/A/7");
    expect_source("{\"fullUrl\":\"urn:uuid:1\",\"resource\":{\"resourceType\":\"A\",\"id\":\"7\"}}", "id:A/7");
    expect_source("{\"fullUrl\":\"urn:uuid:1\",\"resource\":{\"resourceType\":\"A\"}}", "url:urn:uuid:1");
    expect_source("{\"resource\":{\"resourceType\":\"A\",\"id\":\"7\"}}", "id:A/7");
    /* Nothing names it but its content, whatever the white space. */
    accept(BUNDLE("{\"resource\":{\"resourceType\":\"A\",\"b\":1}},{\"resource\":{ \"resourceType\": \"A\", \"b\": 1 "
                  "}},"
                  "{\"resource\":{\"resourceType\":\"A\",\"b\":2}}"));
    assert_memory_equal(bundle.entries[0].source, "content:", 8);
    assert_string_equal(bundle.entries[0].source, bundle.entries[1].source);
    assert_string_not_equal(bundle.entries[0].source, bundle.entries[2].source);
    assert_int_equal(bundle.entries[0].first, 0);
    assert_int_equal(bundle.entries[1].first, 0);
    assert_int_equal(bundle.entries[2].first, 2);
    fhir_bundle_free(&bundle);
}

/* --- about whom --- */

static void expect_foreign(const char *member, const char *reference, bool foreign)
{
    char text[1200];
    snprintf(text, sizeof text,
             BUNDLE("{\"fullUrl\":\"http://s/Patient/p1\",\"resource\":{\"resourceType\":\"Patient\",\"id\":\"p1\"}},"
                    "{\"fullUrl\":\"urn:uuid:g\",\"resource\":{\"resourceType\":\"Group\"}},"
                    "{\"resource\":{\"resourceType\":\"Observation\",\"%s\":{\"reference\":\"%s\"}}}"),
             member, reference);
    accept(text);
    if (bundle.entries[2].foreign != foreign)
        fail_msg("%s %s: foreign is %d", member, reference, bundle.entries[2].foreign);
    fhir_bundle_free(&bundle);
}

static void test_foreign(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        const char *member = i ? "patient" : "subject";
        expect_foreign(member, "http://s/Patient/p1", false);
        expect_foreign(member, "http://s/Patient/p1/_history/3", false);
        expect_foreign(member, "Patient/p1", false);
        expect_foreign(member, "http://s/Patient/p2", true);
        expect_foreign(member, "Patient/p2", true);
        expect_foreign(member, "Patient/xp1", true);
        expect_foreign(member, "Patient/p1x", true);
        expect_foreign(member, "urn:uuid:somebody", true);
        expect_foreign(member, "urn:uuid:g", false);
        expect_foreign(member, "Group/3", false);
        expect_foreign(member, "#inside", false);
        expect_foreign(member, "Patient?identifier=1", false);
    }
}

static void test_confidentiality(void **state)
{
    (void)state;
    static const struct {
        const char *labels;
        enum confidentiality conf;
    } cases[] = {{"[]", CONF_NORMAL},
                 {"[{\"system\":\"http://terminology.hl7.org/CodeSystem/v3-Confidentiality\",\"code\":\"R\"}]",
                  CONF_RESTRICTED},
                 {"[{\"system\":\"http://terminology.hl7.org/CodeSystem/v3-Confidentiality\",\"code\":\"N\"}]",
                  CONF_NORMAL},
                 {"[{\"system\":\"http://terminology.hl7.org/CodeSystem/v3-Confidentiality\",\"code\":\"R\"},"
                  "{\"system\":\"http://terminology.hl7.org/CodeSystem/v3-Confidentiality\",\"code\":\"V\"}]",
                  CONF_VERY_RESTRICTED},
                 {"[{\"system\":\"http://x/other\",\"code\":\"V\"}]", CONF_NORMAL},
                 {"[{\"code\":\"V\"},7]", CONF_NORMAL},
                 {"7", CONF_NORMAL}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[800];
        snprintf(text, sizeof text, BUNDLE("{\"resource\":{\"resourceType\":\"A\",\"meta\":{\"security\":%s}}}"),
                 cases[i].labels);
        accept(text);
        assert_int_equal(bundle.entries[0].conf, cases[i].conf);
        fhir_bundle_free(&bundle);
    }
}

/* --- patients --- */

static struct fhir_patient patient;

static enum err read_patient(const char *members)
{
    struct buffer text = {0};
    buffer_printf(&text, BUNDLE("{\"resource\":{\"resourceType\":\"Patient\"%s}}"), members);
    buffer_append(&text, "", 1);
    accept((const char *)text.data);
    enum err e = fhir_patient_read(&patient, &bundle.entries[0], &failure);
    fhir_bundle_free(&bundle);
    buffer_free(&text);
    return e;
}

static void test_patient(void **state)
{
    (void)state;
    assert_int_equal(read_patient(",\"id\":\"7\",\"identifier\":[{\"system\":\"urn:a\",\"value\":\"A-1\"},"
                                  "{\"type\":{\"coding\":[{\"code\":\"MR\"}]},"
                                  "\"system\":\"urn:mr\",\"value\":\"H-9\"}],"
                                  "\"name\":[{\"use\":\"maiden\",\"family\":\"Old\"},"
                                  "{\"use\":\"official\",\"family\":\"Muster\","
                                  "\"given\":[\"Elif\",\"Ay\\u015fe\"]}],\"address\":[{\"line\":[\"1 "
                                  "Street\"],\"city\":\"Town\","
                                  "\"postalCode\":\"123\",\"state\":\"S\",\"country\":\"XX\"}]"), OK);
    assert_string_equal(patient.name, "Elif Ay\xc5\x9f" "e Muster");
    assert_string_equal(patient.address, "1 Street, 123 Town, S, XX");
    assert_string_equal(patient.number, "H-9");
    assert_string_equal(patient.source, "identifier:urn:mr|H-9");
    fhir_patient_free(&patient);
}

static void test_patient_bare(void **state)
{
    (void)state;
    assert_int_equal(read_patient(",\"id\":\"7\""), OK);
    assert_string_equal(patient.name, "");
    assert_string_equal(patient.source, "id:Patient/7");
    fhir_patient_free(&patient);
    assert_int_equal(read_patient(",\"id\":\"7\",\"identifier\":[{\"value\":\"12\"}],\"name\":[{\"text\":\"A B\"}]"),
                     OK);
    assert_string_equal(patient.source, "id:Patient/7"); /* a bare number may be another source's, too */
    assert_string_equal(patient.number, "12");
    assert_string_equal(patient.name, "A B");
    fhir_patient_free(&patient);
    assert_int_equal(read_patient(",\"identifier\":[{\"value\":\"12\"}]"), OK);
    assert_string_equal(patient.source, "identifier:|12");
    fhir_patient_free(&patient);
    assert_int_equal(read_patient(",\"identifier\":[{\"use\":\"old\",\"system\":\"s\",\"value\":\"12\"}]"),
                     ERR_INVALID);
    fhir_patient_free(&patient);
    /* Members of other types than they should be are as good as none. */
    assert_int_equal(read_patient(",\"id\":\"7\",\"name\":{\"family\":3},\"address\":[7],\"identifier\":\"x\""), OK);
    assert_string_equal(patient.name, "");
    fhir_patient_free(&patient);
}

/* Cut between characters, in one line. */
static void test_patient_long(void **state)
{
    (void)state;
    struct buffer members = {0};
    buffer_append_text(&members, ",\"id\":\"7\",\"name\":[{\"family\":\"x");
    for (int i = 0; i < 300; i++) buffer_append_text(&members, "\xc3\xa9");
    buffer_append_text(&members, "\"}],\"address\":[{\"text\":\"a\\nb\\tc\"}]");
    buffer_append(&members, "", 1);
    assert_int_equal(read_patient((const char *)members.data), OK);
    assert_int_equal(strlen(patient.name), LIMIT_PERSON_TEXT - 1);
    assert_int_equal((uint8_t)patient.name[LIMIT_PERSON_TEXT - 2], 0xa9);
    assert_string_equal(patient.address, "a b c");
    fhir_patient_free(&patient);
    buffer_free(&members);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small),      cmocka_unit_test(test_odd_but_valid), cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_places),     cmocka_unit_test(test_other_things),  cmocka_unit_test(test_deep),
        cmocka_unit_test(test_too_many),   cmocka_unit_test(test_cut),           cmocka_unit_test(test_compact),
        cmocka_unit_test(test_sources),    cmocka_unit_test(test_foreign),       cmocka_unit_test(test_confidentiality),
        cmocka_unit_test(test_patient),    cmocka_unit_test(test_patient_bare),  cmocka_unit_test(test_patient_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
