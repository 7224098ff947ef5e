#include "tests/lib/bed.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct testbed bed;
struct buffer out, errors;

const char *text(void) { return out.data ? (const char *)out.data : ""; }
const char *said(void) { return errors.data ? (const char *)errors.data : ""; }

int bed_end(void **state)
{
    (void)state;
    testbed_end(&bed);
    buffer_free(&out);
    buffer_free(&errors);
    return 0;
}

const char *in_bed(const char *name)
{
    static char paths[4][400];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", bed.dir, name);
    return path;
}

const char *build(void)
{
    static char path[PATH_MAX];
    const char *folder = getenv("BUILD");
    if (!realpath(folder && *folder ? folder : "build", path)) testbed_fail(&bed, "there is no folder of programs");
    return path;
}

void shell(const char *format, ...)
{
    char command[2400];
    va_list args;
    int n = snprintf(command, sizeof command, "cd '%s' && ", bed.dir);
    va_start(args, format);
    n += vsnprintf(command + n, sizeof command - (size_t)n, format, args);
    va_end(args);
    if ((size_t)n >= sizeof command || system(command) != 0) testbed_fail(&bed, "%s failed", command);
}

void write_file(const char *name, struct bytes content)
{
    FILE *f = fopen(in_bed(name), "w");
    if (!f || fwrite(content.data, 1, content.size, f) != content.size || fclose(f) != 0)
        testbed_fail(&bed, "cannot write %s", in_bed(name));
}

void json_is(const char *path, const char *expected)
{
    char value[400];
    testbed_json(&out, path, value, sizeof value);
    if (strcmp(value, expected) != 0) testbed_fail(&bed, "%s is %s, expected %s\n%s", path, value, expected, text());
}
