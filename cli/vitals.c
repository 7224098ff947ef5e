#include "cli/vitals.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/nearest.h"
#include "crypto/hash.h"

struct quantity {
    const char *loinc, *display;
    const char *unit, *ucum; /* for people, and the UCUM code */
    double least, most;      /* what a living body can have */
};

struct sign {
    const char *name, *profile;
    struct quantity whole;    /* of a panel: its code only */
    struct quantity parts[2]; /* of a panel, "120/80" */
};

/* Codes: http://hl7.org/fhir/R4/observation-vitalsigns.html */
static const struct sign signs[] = {
    {"temperature", "bodytemp", {"8310-5", "Body temperature", "C", "Cel", 20, 46}},
    {"heart_rate", "heartrate", {"8867-4", "Heart rate", "beats/minute", "/min", 10, 350}},
    {"respiratory_rate", "resprate", {"9279-1", "Respiratory rate", "breaths/minute", "/min", 1, 120}},
    {"oxygen_saturation", "oxygensat", {"2708-6", "Oxygen saturation in Arterial blood", "%", "%", 20, 100}},
    {"blood_pressure",
     "bp",
     {"85354-9", "Blood pressure panel with all children optional", "mmHg", "mm[Hg]", 0, 0},
     {{"8480-6", "Systolic blood pressure", "mmHg", "mm[Hg]", 20, 350},
      {"8462-4", "Diastolic blood pressure", "mmHg", "mm[Hg]", 5, 250}}},
    {"weight", "bodyweight", {"29463-7", "Body weight", "kg", "kg", 0.2, 700}},
    {"height", "bodyheight", {"8302-2", "Body height", "cm", "cm", 20, 280}},
    {"bmi", "bmi", {"39156-5", "Body mass index (BMI) [Ratio]", "kg/m2", "kg/m2", 4, 250}},
    {"head_circumference", "headcircum", {"9843-4", "Head Occipital-frontal circumference", "cm", "cm", 15, 90}},
};
#define SIGNS (sizeof signs / sizeof signs[0])

struct measured {
    const struct sign *sign;
    char values[2][16]; /* as typed: a decimal's digits say how exact it is */
};

/* --- reading "name=value" --- */

/* A JSON decimal as FHIR has it: digits, and up to three behind a point. */
static bool is_decimal(const char *text)
{
    size_t whole = strspn(text, "0123456789");
    if (whole < 1 || whole > 4 || (whole > 1 && text[0] == '0')) return false;
    if (text[whole] == '\0') return true;
    size_t digits = strspn(text + whole + 1, "0123456789");
    return text[whole] == '.' && digits >= 1 && digits <= 3 && text[whole + 1 + digits] == '\0';
}

/* Without strtod, whose point follows the locale. */
static double decimal_value(const char *text)
{
    double value = 0, scale = 1;
    bool behind = false;
    for (; *text; text++) {
        if (*text == '.') {
            behind = true;
            continue;
        }
        value = value * 10 + (*text - '0');
        if (behind) scale *= 10;
    }
    return value / scale;
}

static enum err read_value(char out[16], const struct sign *sign, const struct quantity *q, const char *text,
                           struct failure *failure)
{
    if (!is_decimal(text))
        return fail(failure, ERR_USAGE, "%s: '%s' is not a decimal number like 38.5", sign->name, text);
    double value = decimal_value(text);
    if (value < q->least || value > q->most)
        return fail(failure, ERR_USAGE, "%s: %s %s is outside %g to %g", sign->name, text, q->unit, q->least, q->most);
    memcpy(out, text, strlen(text) + 1);
    return OK;
}

static enum err read_panel(struct measured *out, const char *text, struct failure *failure)
{
    const struct sign *sign = out->sign;
    char first[16];
    const char *slash = strchr(text, '/');
    if (!slash || (size_t)(slash - text) >= sizeof first)
        return fail(failure, ERR_USAGE, "%s takes two numbers, as in %s=120/80", sign->name, sign->name);
    memcpy(first, text, (size_t)(slash - text));
    first[slash - text] = '\0';
    enum err e = read_value(out->values[0], sign, &sign->parts[0], first, failure);
    if (e == OK) e = read_value(out->values[1], sign, &sign->parts[1], slash + 1, failure);
    if (e == OK && decimal_value(out->values[0]) <= decimal_value(out->values[1]))
        e = fail(failure, ERR_USAGE, "%s: the first number, %s, must be above the second, %s", sign->name,
                 out->values[0], out->values[1]);
    return e;
}

static enum err read_setting(struct measured *out, const char *setting, struct failure *failure)
{
    size_t size = strcspn(setting, "=");
    char name[32] = "";
    if (size < sizeof name) memcpy(name, setting, size);
    if (setting[size] != '=') return fail(failure, ERR_USAGE, "--set takes name=value, not '%s'", setting);
    const char *names[SIGNS];
    out->sign = NULL;
    for (size_t i = 0; i < SIGNS; i++) {
        names[i] = signs[i].name;
        if (strcmp(name, names[i]) == 0) out->sign = &signs[i];
    }
    if (!out->sign) {
        const char *near = nearest(name, names, SIGNS);
        struct buffer all = {0};
        vitals_names(&all);
        enum err e = near ? fail(failure, ERR_USAGE, "there is no vital sign '%s'; did you mean '%s'?", name, near)
                          : fail(failure, ERR_USAGE, "there is no vital sign '%.*s'; there are: %.*s", (int)size,
                                 setting, (int)all.size, all.data ? (const char *)all.data : "");
        buffer_free(&all);
        return e;
    }
    const char *value = setting + size + 1;
    if (out->sign->parts[0].loinc) return read_panel(out, value, failure);
    return read_value(out->values[0], out->sign, &out->sign->whole, value, failure);
}

void vitals_names(struct buffer *out)
{
    for (size_t i = 0; i < SIGNS; i++)
        buffer_printf(out, "%s%s (%s)", i ? ", " : "", signs[i].name, signs[i].whole.ucum);
}

/* --- writing FHIR --- */

struct place {
    char patient[ID_TEXT_SIZE], time[CLOCK_TEXT_SIZE];
};

static void write_code(struct buffer *out, const char *indent, const struct quantity *q)
{
    buffer_printf(
        out, "%s\"code\": {\"coding\": [{\"system\": \"http://loinc.org\", \"code\": \"%s\", \"display\": \"%s\"}]}",
        indent, q->loinc, q->display);
}

static void write_quantity(struct buffer *out, const char *indent, const struct quantity *q, const char *value)
{
    buffer_printf(out,
                  "%s\"valueQuantity\": {\"value\": %s, \"unit\": \"%s\", "
                  "\"system\": \"http://unitsofmeasure.org\", \"code\": \"%s\"}",
                  indent, value, q->unit, q->ucum);
}

static void write_observation(struct buffer *out, const struct measured *m, const struct place *place)
{
    const struct sign *sign = m->sign;
    buffer_printf(out,
                  "{\n  \"resourceType\": \"Observation\",\n"
                  "  \"meta\": {\"profile\": [\"http://hl7.org/fhir/StructureDefinition/%s\"]},\n"
                  "  \"status\": \"final\",\n"
                  "  \"category\": [{\"coding\": [{\"system\": "
                  "\"http://terminology.hl7.org/CodeSystem/observation-category\", "
                  "\"code\": \"vital-signs\", \"display\": \"Vital Signs\"}]}],\n",
                  sign->profile);
    write_code(out, "  ", &sign->whole);
    buffer_printf(out, ",\n  \"subject\": {\"reference\": \"Patient/%s\"},\n  \"effectiveDateTime\": \"%s\",\n",
                  place->patient, place->time);
    if (!sign->parts[0].loinc) {
        write_quantity(out, "  ", &sign->whole, m->values[0]);
    } else {
        buffer_append_text(out, "  \"component\": [\n");
        for (int i = 0; i < 2; i++) {
            buffer_append_text(out, "    {");
            write_code(out, "", &sign->parts[i]);
            write_quantity(out, ", ", &sign->parts[i], m->values[i]);
            buffer_printf(out, "}%s\n", i == 0 ? "," : "");
        }
        buffer_append_text(out, "  ]");
    }
    buffer_append_text(out, "\n}");
}

/* A name for an entry of a bundle, the same for the same measurement (RFC 9562, version 8). */
static void write_uuid(struct buffer *out, const struct measured *m, const struct place *place)
{
    struct digest hash;
    struct bytes parts[] = {bytes_text("consilium/vitals/v1\n"), bytes_text(place->patient), bytes_text(place->time),
                            bytes_text(m->sign->whole.loinc)};
    hash_sha256_parts(&hash, parts, sizeof parts / sizeof parts[0]);
    hash.bytes[6] = (uint8_t)((hash.bytes[6] & 0x0f) | 0x80);
    hash.bytes[8] = (uint8_t)((hash.bytes[8] & 0x3f) | 0x80);
    char hex[33];
    hex_format(hex, hash.bytes, 16);
    buffer_printf(out, "urn:uuid:%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12, hex + 16, hex + 20);
}

static void write_bundle(struct buffer *out, const struct measured *all, size_t count, const struct place *place)
{
    buffer_printf(out,
                  "{\n\"resourceType\": \"Bundle\",\n\"type\": \"collection\",\n\"timestamp\": \"%s\",\n\"entry\": [\n",
                  place->time);
    for (size_t i = 0; i < count; i++) {
        buffer_append_text(out, "{\"fullUrl\": \"");
        write_uuid(out, &all[i], place);
        buffer_append_text(out, "\", \"resource\": ");
        write_observation(out, &all[i], place);
        buffer_printf(out, "}%s\n", i + 1 < count ? "," : "");
    }
    buffer_append_text(out, "]\n}");
}

enum err vitals_format(struct buffer *out, const char **kind, const char *const *settings, size_t count,
                       const struct id *patient, uint64_t time_ms, struct failure *failure)
{
    CHECK(count >= 1);
    if (count > SIGNS) return fail(failure, ERR_USAGE, "there are only %zu vital signs to --set", SIGNS);
    struct measured all[SIGNS];
    struct place place;
    for (size_t i = 0; i < count; i++) {
        enum err e = read_setting(&all[i], settings[i], failure);
        if (e != OK) return e;
        for (size_t j = 0; j < i; j++)
            if (all[j].sign == all[i].sign)
                return fail(failure, ERR_USAGE, "%s is set twice", all[i].sign->name);
    }
    id_format(place.patient, patient);
    clock_format(place.time, time_ms);
    *kind = count == 1 ? "Observation" : "Bundle";
    if (count == 1)
        write_observation(out, &all[0], &place);
    else
        write_bundle(out, all, count, &place);
    buffer_append_text(out, "\n");
    return out->failed ? fail(failure, ERR_NOMEM, "no memory for the record") : OK;
}
