/* Variables of the environment that were meant for us, and are mistyped: nobody else would say so. */
#ifndef BASE_ENVIRONMENT_H
#define BASE_ENVIRONMENT_H

#include <stddef.h>

#define ENVIRONMENT_FAMILY "CONSILIUM" /* what the variables of all our programs begin with */
#define ENVIRONMENT_NAME 128           /* bytes of a longer name that are told, the end included */

/* `names` are those that count, without `prefix`, which begins with ENVIRONMENT_FAMILY. Calls `warn` for each variable
 * of `environment` ("NAME=value", ends with NULL) that begins with `prefix` and is none of them; and for one of the
 * family that is one of them behind another prefix. `text` says so, with the nearest that counts. It is a warning, since
 * the variable may be meant for others. Both texts end with the call. */
void environment_check(char *const *environment, const char *prefix, const char *const *names, size_t count,
                       void (*warn)(void *data, const char *name, const char *text), void *data);

#endif
