#include "base/environment.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/nearest.h"

static bool starts_with(const char *text, const char *start) { return strncmp(text, start, strlen(start)) == 0; }

/* What stands behind the prefix, or behind that of another program or none: "LISTEN" of "CONSILIUM_LISTEN". */
static const char *own_part(const char *name, const char *prefix)
{
    if (starts_with(name, prefix)) return name + strlen(prefix);
    const char *rest = name + strlen(ENVIRONMENT_FAMILY), *line = strchr(rest, '_');
    return line ? line + 1 : rest;
}

void environment_check(char *const *environment, const char *prefix, const char *const *names, size_t count,
                       void (*warn)(void *data, const char *name, const char *text), void *data)
{
    for (; *environment; environment++) {
        char name[ENVIRONMENT_NAME], known[ENVIRONMENT_NAME] = "", text[2 * ENVIRONMENT_NAME + 100];
        if (!starts_with(*environment, ENVIRONMENT_FAMILY)) continue;
        snprintf(name, sizeof name, "%.*s", (int)strcspn(*environment, "="), *environment);
        const char *part = own_part(name, prefix), *near = nearest(part, names, count);
        if (near) snprintf(known, sizeof known, "%s%s", prefix, near);
        bool meant = starts_with(name, prefix) || (near && edit_distance(part, near) == 0);
        if (!meant || strcmp(name, known) == 0) continue;
        snprintf(text, sizeof text, "%s in the environment is no setting, and is ignored%s%s%s", name,
                 near ? "; did you mean " : "", known, near ? "?" : "");
        warn(data, name, text);
    }
}
