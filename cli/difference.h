/* What changed between two texts, line by line, for a person who has to say yes. */
#ifndef CLI_DIFFERENCE_H
#define CLI_DIFFERENCE_H

#include <stdbool.h>

#include "base/bytes.h"

/* Appends lines with "-", "+" or " " before them (up to three equal lines around a
 * change), cleaned for a terminal. Content that is no text, or too long to
 * compare, gets one line about sizes. */
void difference_format(struct buffer *out, struct bytes before, struct bytes after);
/* UTF-8 without control characters but tab, newline and carriage return. */
bool is_text(struct bytes content);

#endif
