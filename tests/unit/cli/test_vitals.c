/* Vital signs become exactly the FHIR that was meant, or nothing. */
#include "cli/vitals.h"

#include <jansson.h>
#include <stdlib.h>

#include "tests/lib/samples.h"
#include "tests/lib/unit.h"

static struct failure failure;

static enum err format(struct buffer *out, const char **kind, const char *const *settings, size_t count)
{
    struct id patient = sample_id(5);
    failure = (struct failure){0};
    return vitals_format(out, kind, settings, count, &patient, SAMPLE_TIME, &failure);
}
#define FORMAT(out, kind, ...)                                                                     \
    format(out, kind, (const char *[]){__VA_ARGS__}, sizeof(const char *[]){__VA_ARGS__} / sizeof(char *))

static json_t *parse(const struct buffer *text)
{
    json_error_t error;
    json_t *value = json_loadb((const char *)text->data, text->size, JSON_REJECT_DUPLICATES, &error);
    if (!value) fail_msg("not JSON: %s in %.*s", error.text, (int)text->size, (const char *)text->data);
    return value;
}

static void test_one_sign(void **state)
{
    (void)state;
    struct buffer text = {0};
    const char *kind, *type, *loinc, *ucum, *subject, *time, *category;
    double value;
    assert_int_equal(FORMAT(&text, &kind, "temperature=38.5"), OK);
    assert_string_equal(kind, "Observation");
    json_t *o = parse(&text);
    assert_int_equal(json_unpack(o, "{s:s, s:{s:[{s:s}]}, s:{s:s}, s:s, s:{s:F, s:s}, s:[{s:[{s:s}]}]}", "resourceType",
                                 &type, "code", "coding", "code", &loinc, "subject", "reference", &subject,
                                 "effectiveDateTime", &time, "valueQuantity", "value", &value, "code", &ucum,
                                 "category", "coding", "code", &category), 0);
    assert_string_equal(type, "Observation");
    assert_string_equal(loinc, "8310-5");
    assert_string_equal(ucum, "Cel");
    assert_string_equal(category, "vital-signs");
    assert_true(value == 38.5);
    assert_memory_equal(subject, "Patient/", 8);
    assert_int_equal(strlen(subject), 8 + 26);
    assert_string_equal(time, "2026-09-21T14:13:20.000Z");
    json_decref(o);
    buffer_free(&text);
}

static void test_a_panel(void **state)
{
    (void)state;
    struct buffer text = {0};
    const char *kind, *panel, *first, *second;
    int systolic, diastolic;
    assert_int_equal(FORMAT(&text, &kind, "blood_pressure=120/80"), OK);
    json_t *o = parse(&text);
    assert_int_equal(json_unpack(o, "{s:{s:[{s:s}]}, s:[{s:{s:[{s:s}]}, s:{s:i}}, {s:{s:[{s:s}]}, s:{s:i}}]}", "code",
                                 "coding", "code", &panel, "component", "code", "coding", "code", &first,
                                 "valueQuantity", "value", &systolic, "code", "coding", "code", &second,
                                 "valueQuantity", "value", &diastolic), 0);
    assert_string_equal(panel, "85354-9");
    assert_string_equal(first, "8480-6");
    assert_string_equal(second, "8462-4");
    assert_int_equal(systolic, 120);
    assert_int_equal(diastolic, 80);
    assert_null(json_object_get(o, "valueQuantity"));
    json_decref(o);
    buffer_free(&text);
}

static void test_a_bundle(void **state)
{
    (void)state;
    struct buffer text = {0}, again = {0};
    const char *kind;
    assert_int_equal(FORMAT(&text, &kind, "temperature=36.6", "heart_rate=72", "blood_pressure=118/76"), OK);
    assert_string_equal(kind, "Bundle");
    json_t *o = parse(&text);
    json_t *entries = json_object_get(o, "entry");
    assert_int_equal(json_array_size(entries), 3);
    for (size_t i = 0; i < 3; i++)
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(json_string_value(json_object_get(json_array_get(entries, i), "fullUrl")),
                                    json_string_value(json_object_get(json_array_get(entries, j), "fullUrl")));
    json_decref(o);
    assert_int_equal(FORMAT(&again, &kind, "temperature=36.6", "heart_rate=72", "blood_pressure=118/76"), OK);
    assert_true(bytes_equal(buffer_bytes(&text), buffer_bytes(&again)));
    buffer_free(&text);
    buffer_free(&again);
}

/* A decimal's digits say how exact it is: 37.0 is not 37. */
static void test_digits_stay(void **state)
{
    (void)state;
    static const char *const values[] = {"37.0", "37", "36.60", "36.6"};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        struct buffer text = {0};
        const char *kind;
        char setting[40], wanted[40];
        snprintf(setting, sizeof setting, "temperature=%s", values[i]);
        snprintf(wanted, sizeof wanted, "\"value\": %s,", values[i]);
        assert_int_equal(FORMAT(&text, &kind, setting), OK);
        buffer_append(&text, "", 1);
        assert_non_null(strstr((const char *)text.data, wanted));
        buffer_free(&text);
    }
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *setting, *says;
    } cases[] = {
        {"temperature", "name=value"},
        {"temperature=", "not a decimal"},
        {"temperature=warm", "not a decimal"},
        {"temperature=3e1", "not a decimal"},
        {"temperature=+38", "not a decimal"},
        {"temperature=-38", "not a decimal"},
        {"temperature=38,5", "not a decimal"},
        {"temperature=38.", "not a decimal"},
        {"temperature=.5", "not a decimal"},
        {"temperature=038", "not a decimal"},
        {"temperature=38.5 ", "not a decimal"},
        {"temperature=38.5555", "not a decimal"},
        {"temperature=38.5\", \"x\": \"", "not a decimal"},
        {"temperature=385", "outside 20 to 46"},
        {"temperature=3.85", "outside"},
        {"temprature=38", "did you mean 'temperature'"},
        {"mood=good", "there are: temperature (Cel)"},
        {"blood_pressure=120", "120/80"},
        {"blood_pressure=120/", "not a decimal"},
        {"blood_pressure=/80", "not a decimal"},
        {"blood_pressure=80/120", "above the second"},
        {"blood_pressure=120/80/60", "not a decimal"},
        {"heart_rate=9", "outside"},
        {"=5", "no vital sign"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buffer text = {0};
        const char *kind;
        assert_int_equal(FORMAT(&text, &kind, cases[i].setting), ERR_USAGE);
        if (!strstr(failure.text, cases[i].says)) fail_msg("'%s' does not say '%s'", failure.text, cases[i].says);
        buffer_free(&text);
    }
    struct buffer text = {0};
    const char *kind;
    assert_int_equal(FORMAT(&text, &kind, "temperature=38", "temperature=39"), ERR_USAGE);
    buffer_free(&text);
}

static void test_bounds(void **state)
{
    (void)state;
    static const char *const good[] = {"temperature=20", "temperature=46", "oxygen_saturation=100",
                                       "weight=0.2",     "weight=700",     "respiratory_rate=1",
                                       "height=280",     "bmi=22.5",       "head_circumference=34.5"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct buffer text = {0};
        const char *kind;
        assert_int_equal(FORMAT(&text, &kind, good[i]), OK);
        json_decref(parse(&text));
        buffer_free(&text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_sign), cmocka_unit_test(test_a_panel), cmocka_unit_test(test_a_bundle),
        cmocka_unit_test(test_digits_stay), cmocka_unit_test(test_refused), cmocka_unit_test(test_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
