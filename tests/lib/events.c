#include "tests/lib/events.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int compare(const void *a, const void *b) { return strcmp(a, b); }

static void add(struct events *e, const struct testbed *bed, const char *object)
{
    if (e->count == e->room) {
        e->room = e->room ? 2 * e->room : 4096;
        e->codes = realloc(e->codes, e->room * sizeof e->codes[0]);
        if (!e->codes) testbed_fail(bed, "no memory");
    }
    const char *code = strrchr(object, ' ');
    snprintf(e->codes[e->count++], sizeof e->codes[0], "%s", code ? code + 1 : object);
}

void events_read(struct events *e, const struct testbed *bed, unsigned node)
{
    char cursor[2 * LIMIT_CURSOR + 16] = "";
    struct buffer out = {0}, errors = {0};
    e->count = 0;
    for (;;) {
        int code = testbed_cli(bed, &out, &errors,
                               "-i %s/auditor.key --via node-%u --json log --all --action event.add -n 256 %s",
                               bed->dir, node, cursor);
        if (code != 0) testbed_fail(bed, "log of node %u: exit %d: %s", node, code, (const char *)errors.data);
        json_t *rows = json_loadb((const char *)out.data, out.size, 0, NULL), *row;
        size_t i;
        json_array_foreach(rows, i, row) {
            if (json_object_get(row, "next")) continue;
            const char *object = json_string_value(json_object_get(row, "object"));
            if (!object) testbed_fail(bed, "a row without an object");
            add(e, bed, object);
        }
        const char *more = json_string_value(json_object_get(json_array_get(rows, json_array_size(rows) - 1), "next"));
        snprintf(cursor, sizeof cursor, "--cursor %s", more ? more : "");
        json_decref(rows);
        if (!more) break;
    }
    if (e->count) qsort(e->codes, e->count, sizeof e->codes[0], compare);
    buffer_free(&out);
    buffer_free(&errors);
}

bool events_have(const struct events *e, const char *code)
{
    return e->count && bsearch(code, e->codes, e->count, sizeof e->codes[0], compare);
}

const char *events_twice(const struct events *e)
{
    for (size_t i = 1; i < e->count; i++)
        if (strcmp(e->codes[i - 1], e->codes[i]) == 0) return e->codes[i];
    return NULL;
}

void events_free(struct events *e)
{
    free(e->codes);
    *e = (struct events){0};
}
