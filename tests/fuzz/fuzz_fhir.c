/* cli/fhir.h: any bytes are refused with a line, or give resources that are JSON,
 * also without their white space, and a patient whose texts may be sent. */
#include <jansson.h>
#include <string.h>

#include "base/check.h"
#include "base/pack.h"
#include "cli/fhir.h"
#include "tests/lib/taken.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static json_t *parse(struct bytes json)
{
    return json_loadb((const char *)json.data, json.size, JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL, NULL);
}

static void check_entry(const struct fhir_bundle *bundle, uint32_t i)
{
    const struct fhir_entry *e = &bundle->entries[i];
    struct buffer compact = {0}, again = {0};
    fhir_compact(&compact, e->resource);
    fhir_compact(&again, buffer_bytes(&compact));
    CHECK(bytes_equal(buffer_bytes(&compact), buffer_bytes(&again)));
    json_t *before = parse(e->resource), *after = parse(buffer_bytes(&compact));
    CHECK(before && after && json_equal(before, after));
    json_decref(before);
    json_decref(after);
    buffer_free(&compact);
    buffer_free(&again);
    CHECK(e->line > 0 && e->source && e->type[0] && e->first <= i);
    CHECK(strcmp(bundle->entries[e->first].source, e->source) == 0);
}

static void check_patient(const struct fhir_entry *entry)
{
    struct fhir_patient p;
    if (fhir_patient_read(&p, entry, NULL) != OK) return;
    CHECK(text_valid(bytes_text(p.name)) && text_valid(bytes_text(p.address)) && text_valid(bytes_text(p.number)));
    CHECK(*p.source);
    fhir_patient_free(&p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fhir_bundle bundle;
    struct failure failure = {.code = OK};
    enum err err = fhir_bundle_read(&bundle, bytes_of(data, size), &failure);
    CHECK(err == OK || (failure.code == err && failure.text[0]));
    for (uint32_t i = 0; err == OK && i < bundle.count; i++) check_entry(&bundle, i);
    fuzz_taken = err == OK;
    if (err == OK && bundle.patients > 0) check_patient(&bundle.entries[bundle.patient]);
    fhir_bundle_free(&bundle);
    return 0;
}
