/* FHIR R4 Bundles (http://hl7.org/fhir/R4/bundle.html), as far as importing needs
 * them: one patient, and each resource's own bytes.
 *
 * A resource stays as it was written, but for the white space between its tokens.
 * Reading and printing JSON anew would change numbers (in FHIR 1.50 is not 1.5),
 * escapes and the order of members, and so make new versions of what is the same.
 * Therefore the file is cut into its values here, and jansson judges each of them
 * alone, which also bounds the memory that a file costs.
 *
 * Pure; any thread. */
#ifndef CLI_FHIR_H
#define CLI_FHIR_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/limits.h"
#include "ledger/record.h"

struct fhir_entry {
    struct bytes resource;     /* as it stands in the file: a view */
    uint32_t line;             /* where it begins there */
    char type[LIMIT_NAME + 1]; /* resourceType */
    /* Owned; NULL where it says none. */
    char *full_url, *id, *subject; /* subject: the reference to whom it is about */
    char *source;   /* never NULL: names this resource in the next import, too */
    enum confidentiality conf; /* by its meta.security; normal where it says nothing */
    bool foreign;   /* it is about somebody else than the bundle's patient */
    uint32_t first; /* the first entry with the same source: itself, unless it repeats one */
};

struct fhir_bundle {
    uint32_t count, capacity;
    struct fhir_entry *entries;
    uint32_t empty;    /* entries without a resource (deletions): nothing to store */
    uint32_t patients; /* Patient resources among the entries */
    uint32_t patient;  /* the first one's place */
};

/* A transaction, batch or collection. `text` (at most LIMIT_BUNDLE bytes) outlives
 * the bundle. ERR_SYNTAX names the line; ERR_INVALID: JSON, but no such bundle;
 * ERR_TOO_DEEP, ERR_TOO_LARGE, ERR_NOMEM. Free in every case. */
enum err fhir_bundle_read(struct fhir_bundle *out, struct bytes text, struct failure *failure);
void fhir_bundle_free(struct fhir_bundle *bundle);

/* Appends JSON without the white space between its tokens. */
void fhir_compact(struct buffer *out, struct bytes json);

/* Who a Patient resource is. Texts are fit for ledger/attachment.h. */
struct fhir_patient {
    char name[LIMIT_PERSON_TEXT + 1], address[LIMIT_PERSON_TEXT + 1];
    char number[LIMIT_PERSON_TEXT + 1]; /* the medical record number, or another identifier */
    char *source; /* names this person in the next import, too; owned */
};
/* ERR_INVALID: it has neither identifier, id nor full URL, so it could not be found again. */
enum err fhir_patient_read(struct fhir_patient *out, const struct fhir_entry *entry, struct failure *failure);
void fhir_patient_free(struct fhir_patient *patient);

#endif
