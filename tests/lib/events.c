#include "tests/lib/events.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int compare(const void *a, const void *b) { return strcmp(a, b); }

static const char *text_of(const struct testbed *bed, json_t *row, const char *name)
{
    const char *text = json_string_value(json_object_get(row, name));
    if (!text) testbed_fail(bed, "a row of the ledger without '%s'", name);
    return text;
}

/* All rows that fit `filter`, as the node shows them. */
static void each_row(const struct testbed *bed, unsigned node, const char *filter,
                     void (*take)(void *data, const struct testbed *bed, json_t *row), void *data)
{
    char cursor[2 * LIMIT_CURSOR + 16] = "";
    struct buffer out = {0}, errors = {0};
    for (bool more = true; more;) {
        int code = testbed_cli(bed, &out, &errors, "-i %s/auditor.key --via node-%u --json log --all %s -n 256 %s",
                               bed->dir, node, filter, cursor);
        if (code != 0) testbed_fail(bed, "log of node %u: exit %d: %s", node, code, (const char *)errors.data);
        json_t *rows = json_loadb((const char *)out.data, out.size, 0, NULL), *row;
        size_t i;
        json_array_foreach(rows, i, row) {
            if (!json_object_get(row, "next")) take(data, bed, row);
        }
        const char *next = json_string_value(json_object_get(json_array_get(rows, json_array_size(rows) - 1), "next"));
        more = next != NULL;
        snprintf(cursor, sizeof cursor, "--cursor %s", more ? next : "");
        json_decref(rows);
    }
    buffer_free(&out);
    buffer_free(&errors);
}

/* Room for one more. */
static void *grown(const struct testbed *bed, void *items, size_t count, size_t *room, size_t size)
{
    if (count < *room) return items;
    *room = *room ? 2 * *room : 4096;
    items = realloc(items, *room * size);
    if (!items) testbed_fail(bed, "no memory");
    return items;
}

/* What ends the row's object. */
static const char *object_end(const struct testbed *bed, json_t *row)
{
    const char *object = text_of(bed, row, "object"), *end = strrchr(object, ' ');
    return end ? end + 1 : object;
}

static void add_code(struct events *e, const struct testbed *bed, const char *code)
{
    e->codes = grown(bed, e->codes, e->count, &e->room, sizeof e->codes[0]);
    snprintf(e->codes[e->count++], sizeof e->codes[0], "%.*s", EVENT_CODE_SIZE - 1, code);
}

static void add_event(void *data, const struct testbed *bed, json_t *row)
{
    add_code(data, bed, object_end(bed, row));
}

void events_read(struct events *e, const struct testbed *bed, unsigned node)
{
    e->count = 0;
    each_row(bed, node, "--action event.add", add_event, e);
    if (e->count) qsort(e->codes, e->count, sizeof e->codes[0], compare);
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

static void add_entry(void *data, const struct testbed *bed, json_t *row)
{
    struct entries *e = data;
    e->rows = grown(bed, e->rows, e->count, &e->room, sizeof e->rows[0]);
    struct entry *entry = &e->rows[e->count++];
    entry->index = (uint64_t)json_integer_value(json_object_get(row, "index"));
    entry->approved = strcmp(text_of(bed, row, "decision"), "approved") == 0;
    snprintf(entry->action, sizeof entry->action, "%s", text_of(bed, row, "action"));
    snprintf(entry->object, sizeof entry->object, "%s", object_end(bed, row));
}

static int by_index(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    return (x->index > y->index) - (x->index < y->index);
}

void entries_read(struct entries *e, const struct testbed *bed, unsigned node)
{
    e->count = 0;
    each_row(bed, node, "", add_entry, e);
    if (e->count) qsort(e->rows, e->count, sizeof e->rows[0], by_index);
}

const struct entry *entries_at(const struct entries *e, uint64_t index)
{
    struct entry sought = {.index = index};
    return e->count ? bsearch(&sought, e->rows, e->count, sizeof e->rows[0], by_index) : NULL;
}

void entries_free(struct entries *e)
{
    free(e->rows);
    *e = (struct entries){0};
}

void events_of(struct events *out, const struct testbed *bed, const struct entries *e)
{
    out->count = 0;
    for (size_t i = 0; i < e->count; i++)
        if (strcmp(e->rows[i].action, "event.add") == 0) add_code(out, bed, e->rows[i].object);
    if (out->count) qsort(out->codes, out->count, sizeof out->codes[0], compare);
}
