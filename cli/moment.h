/* Points in time as people type them. */
#ifndef CLI_MOMENT_H
#define CLI_MOMENT_H

#include <stdint.h>

#include "base/error.h"

/* "2026-01-31", "2026-01-31 14:00", "2026-01-31T14:00:30" in local time, with a
 * "Z" behind in UTC; "90m", "12h", "7d" ago; "today", "yesterday" (their
 * beginning). Milliseconds since 1970. ERR_USAGE. */
enum err moment_parse(uint64_t *out, const char *text, struct failure *failure);
/* The same against a given present, for tests. */
enum err moment_parse_at(uint64_t *out, const char *text, uint64_t now_ms, struct failure *failure);

#endif
