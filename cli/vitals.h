/* Vital signs typed as name=value, as a FHIR R4 record.
 *
 * One sign makes an Observation of the vital-signs profile
 * (http://hl7.org/fhir/R4/observation-vitalsigns.html: LOINC code, UCUM unit),
 * several a Bundle (collection) of them. Values outside what a living body can
 * have are refused: a slip of the finger must not become a record.
 */
#ifndef CLI_VITALS_H
#define CLI_VITALS_H

#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"

/* `settings`: "temperature=38.5" and so on. Appends JSON text that ends with a
 * newline. The same settings, patient and time make the same bytes. `kind` is
 * "Observation" or "Bundle". ERR_USAGE in words, with the nearest name. */
enum err vitals_format(struct buffer *out, const char **kind, const char *const *settings, size_t count,
                       const struct id *patient, uint64_t time_ms, struct failure *failure);
/* The names that can be set, for help: "temperature (Cel)", ... */
void vitals_names(struct buffer *out);

#endif
