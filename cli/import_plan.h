/* What an import has to do for one bundle: its resources against the records that
 * the patient has. Pure. */
#ifndef CLI_IMPORT_PLAN_H
#define CLI_IMPORT_PLAN_H

#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "cli/fhir.h"
#include "cli/rows.h"

/* Records of the patient as record.list tells of them. */
struct import_known {
    uint32_t count, capacity;
    struct list_row *rows; /* owned; their `kind` is not kept */
};
enum err import_known_add(struct import_known *k, const struct list_row *row); /* ERR_NOMEM */
void import_known_free(struct import_known *k);

/* What becomes of a resource.
 * X(NAME, "word") */
#define IMPORT_FATES(X)                                                                            \
    X(IMPORT_CREATE, "created")         /* no such record yet */                                     \
    X(IMPORT_UPDATE, "updated")         /* we wrote other content before */                          \
    X(IMPORT_UNCHANGED, "unchanged")    /* its content tag is the same */                            \
    X(IMPORT_CHANGED_HERE, "kept")      /* somebody else wrote the latest version */                 \
    X(IMPORT_DELETED_HERE, "deleted")   /* deleted since: stays so */                                \
    X(IMPORT_TOO_LARGE, "too large")    /* over LIMIT_RECORD */                                      \
    X(IMPORT_FOREIGN, "about another patient")                                                       \
    X(IMPORT_REPEATED, "repeated")      /* twice in the bundle, with other content */

enum import_fate {
#define X(name, word) name,
    IMPORT_FATES(X)
#undef X
    IMPORT_FATE_COUNT
};

struct import_item {
    uint32_t entry; /* of the bundle */
    enum import_fate fate;
    struct id record;
    uint64_t version;          /* that is to be made: 1 for IMPORT_CREATE */
    enum confidentiality conf; /* the resource's, or the record's when that is higher */
};

struct import_plan {
    uint32_t count;
    struct import_item *items; /* owned; one for each entry */
    uint32_t fates[IMPORT_FATE_COUNT];
};

/* `known` is sorted by this. `self` writes; `tag_key` is its key for tags and ids.
 * `replace`: what others changed here is overwritten, too. ERR_NOMEM. */
enum err import_plan_make(struct import_plan *out, const struct fhir_bundle *bundle, struct import_known *known,
                          struct bytes tag_key, const struct id *patient, const struct id *self, bool replace);
void import_plan_free(struct import_plan *plan);
const char *import_fate_word(enum import_fate fate);

/* The user id that this key's owner gives to a patient: HMAC-SHA-256(key,
 * "consilium/patient-id/v1\n" || source)[:16]. */
struct id import_patient_id(struct bytes tag_key, const char *source);

#endif
