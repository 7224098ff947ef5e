/* Who a Patient resource is (http://hl7.org/fhir/R4/patient.html). */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "cli/fhir.h"

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

/* One line of at most LIMIT_PERSON_TEXT bytes, cut between characters. */
static void put_text(char out[static LIMIT_PERSON_TEXT + 1], const struct buffer *text)
{
    size_t n = text->failed ? 0 : text->size;
    if (n > LIMIT_PERSON_TEXT) {
        n = LIMIT_PERSON_TEXT;
        while (n > 0 && (text->data[n] & 0xc0) == 0x80) n--;
    }
    for (size_t i = 0; i < n; i++) out[i] = text->data[i] < 0x20 || text->data[i] == 0x7f ? ' ' : (char)text->data[i];
    out[n] = '\0';
}

static void append_word(struct buffer *out, const char *separator, const char *word)
{
    if (!*word) return;
    if (out->size) buffer_append_text(out, separator);
    buffer_append_text(out, word);
}

static void append_words(struct buffer *out, const char *separator, const json_t *words)
{
    for (size_t i = 0; i < json_array_size(words); i++) {
        const char *word = json_string_value(json_array_get(words, i));
        if (word) append_word(out, separator, word);
    }
}

/* The element of a list whose "use" comes first in `uses`; else the first that is not old. */
static const json_t *preferred(const json_t *list, const char *const *uses)
{
    for (; *uses; uses++)
        for (size_t i = 0; i < json_array_size(list); i++)
            if (strcmp(text_of(json_array_get(list, i), "use"), *uses) == 0) return json_array_get(list, i);
    for (size_t i = 0; i < json_array_size(list); i++)
        if (strcmp(text_of(json_array_get(list, i), "use"), "old") != 0) return json_array_get(list, i);
    return json_array_get(list, 0);
}

/* --- name and address --- */

static void read_name(char out[static LIMIT_PERSON_TEXT + 1], const json_t *patient)
{
    static const char *const uses[] = {"official", "usual", NULL};
    const json_t *name = preferred(json_object_get(patient, "name"), uses);
    struct buffer text = {0};
    append_words(&text, " ", json_object_get(name, "given"));
    append_word(&text, " ", text_of(name, "family"));
    if (text.size == 0) append_word(&text, "", text_of(name, "text"));
    put_text(out, &text);
    buffer_free(&text);
}

static void read_address(char out[static LIMIT_PERSON_TEXT + 1], const json_t *patient)
{
    static const char *const uses[] = {"home", NULL};
    const json_t *address = preferred(json_object_get(patient, "address"), uses);
    struct buffer text = {0}, city = {0};
    append_words(&text, ", ", json_object_get(address, "line"));
    append_word(&city, " ", text_of(address, "postalCode"));
    append_word(&city, " ", text_of(address, "city"));
    buffer_append(&city, "", 1);
    if (!city.failed) append_word(&text, ", ", (const char *)city.data);
    append_word(&text, ", ", text_of(address, "state"));
    append_word(&text, ", ", text_of(address, "country"));
    if (text.size == 0) append_word(&text, "", text_of(address, "text"));
    put_text(out, &text);
    buffer_free(&city);
    buffer_free(&text);
}

/* --- identifiers --- */

/* HL7 v2 table 0203: MR is the medical record number. */
static bool is_record_number(const json_t *identifier)
{
    const json_t *codings = json_object_get(json_object_get(identifier, "type"), "coding");
    for (size_t i = 0; i < json_array_size(codings); i++)
        if (strcmp(text_of(json_array_get(codings, i), "code"), "MR") == 0) return true;
    return false;
}

static bool is_usable(const json_t *identifier)
{
    return *text_of(identifier, "value") && strcmp(text_of(identifier, "use"), "old") != 0 &&
           strcmp(text_of(identifier, "use"), "temp") != 0;
}

/* The medical record number, else the first that has a system, else the first. */
static const json_t *best_identifier(const json_t *list)
{
    const json_t *with_system = NULL, *any = NULL;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *identifier = json_array_get(list, i);
        if (!is_usable(identifier)) continue;
        if (is_record_number(identifier)) return identifier;
        if (!with_system && *text_of(identifier, "system")) with_system = identifier;
        if (!any) any = identifier;
    }
    return with_system ? with_system : any;
}

/* A number with its system names a person; a bare number does not, since another
 * source may count the same way. */
static char *source_of(const json_t *identifier, const struct fhir_entry *entry)
{
    struct buffer out = {0};
    const char *system = text_of(identifier, "system");
    if (*system)
        buffer_printf(&out, "identifier:%s|%s", system, text_of(identifier, "value"));
    else if (entry->full_url || entry->id)
        buffer_append_text(&out, entry->source);
    else if (identifier)
        buffer_printf(&out, "identifier:|%s", text_of(identifier, "value"));
    else
        return NULL;
    buffer_append(&out, "", 1);
    CHECK(!out.failed);
    return (char *)out.data;
}

enum err fhir_patient_read(struct fhir_patient *out, const struct fhir_entry *entry, struct failure *failure)
{
    *out = (struct fhir_patient){0};
    json_t *patient = json_loadb((const char *)entry->resource.data, entry->resource.size, JSON_DECODE_INT_AS_REAL,
                                 NULL);
    if (!patient) return fail(failure, ERR_NOMEM, "no memory for the Patient");
    const json_t *identifier = best_identifier(json_object_get(patient, "identifier"));
    struct buffer number = {0};
    read_name(out->name, patient);
    read_address(out->address, patient);
    append_word(&number, "", text_of(identifier, "value"));
    put_text(out->number, &number);
    buffer_free(&number);
    out->source = source_of(identifier, entry);
    json_decref(patient);
    if (out->source) return OK;
    return fail(failure, ERR_INVALID,
                "the Patient has neither an identifier nor an id, so a second import could not find it");
}

void fhir_patient_free(struct fhir_patient *patient)
{
    free(patient->source);
    *patient = (struct fhir_patient){0};
}
