/* Leaves in a few words, for an auditor. Ids and codes only: a leaf holds no names. Pure. */
#ifndef CLI_LEAF_WORDS_H
#define CLI_LEAF_WORDS_H

#include <stddef.h>

#include "base/bytes.h"

/* "record.read by 7mz3... about 2xq5..., denied (outside the role's scope ...)". */
void leaf_words(char *out, size_t size, struct bytes leaf);
/* What differs between two leaves of one place, as what is expected and what was
 * found; for the first field that differs in a way that a person can follow. */
void leaf_difference(char *expected, char *found, size_t size, struct bytes right, struct bytes wrong);

#endif
