#include "cli/fhir.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "cli/fhir_scan.h"
#include "crypto/hash.h"

/* --- texts --- */

static char *copy_string(const json_t *value)
{
    const char *text = json_string_value(value);
    return text && *text ? xstrdup(text) : NULL;
}

static const json_t *member(const json_t *object, const char *a, const char *b)
{
    return json_object_get(json_object_get(object, a), b);
}

static bool starts_with(const char *text, const char *start) { return strncmp(text, start, strlen(start)) == 0; }

static char *joined(const char *a, const char *b, const char *c)
{
    struct buffer out = {0};
    buffer_printf(&out, "%s%s%s", a, b, c);
    buffer_append(&out, "", 1);
    CHECK(!out.failed);
    return (char *)out.data;
}

void fhir_compact(struct buffer *out, struct bytes json)
{
    size_t from = 0;
    bool in_string = false;
    for (size_t at = 0; at < json.size; at++) {
        uint8_t c = json.data[at];
        if (in_string && c == '\\')
            at++;
        else if (c == '"')
            in_string = !in_string;
        else if (!in_string && (c == ' ' || c == '\t' || c == '\n' || c == '\r')) {
            buffer_append(out, json.data + from, at - from);
            from = at + 1;
        }
    }
    if (from < json.size) buffer_append(out, json.data + from, json.size - from);
}

/* --- what names a resource from import to import --- */

static char *content_source(struct bytes resource)
{
    struct buffer compact = {0};
    struct digest hash;
    char hex[2 * sizeof hash.bytes + 1];
    fhir_compact(&compact, resource);
    if (compact.failed) return NULL;
    hash_sha256(&hash, compact.data, compact.size);
    hex_format(hex, hash.bytes, sizeof hash.bytes);
    buffer_free(&compact);
    return joined("content:", hex, "");
}

/* An absolute URL names it in the whole world. Those of the form urn:uuid: are
 * often made anew for each bundle, so the id is better. Without any name only
 * the content itself can be recognised. */
static char *source_of(const struct fhir_entry *e)
{
    if (e->full_url && (starts_with(e->full_url, "http:") || starts_with(e->full_url, "https:")))
        return joined("url:", e->full_url, "");
    if (e->id) {
        char *name = joined(e->type, "/", e->id), *source = joined("id:", name, "");
        free(name);
        return source;
    }
    return e->full_url ? joined("url:", e->full_url, "") : content_source(e->resource);
}

/* --- one entry --- */

static void entry_free(struct fhir_entry *e)
{
    free(e->full_url);
    free(e->id);
    free(e->subject);
    free(e->source);
}

static bool add_entry(struct fhir_bundle *b, struct json_scan *s, const struct fhir_entry *entry)
{
    if (b->count == LIMIT_BUNDLE_ENTRIES) {
        json_scan_fail(s, ERR_TOO_LARGE, "more than %u entries; split the bundle", LIMIT_BUNDLE_ENTRIES);
        return false;
    }
    if (b->count == b->capacity) {
        uint32_t capacity = b->capacity ? 2 * b->capacity : 64;
        struct fhir_entry *entries = realloc(b->entries, capacity * sizeof *entries);
        if (!entries) {
            json_scan_fail(s, ERR_NOMEM, "no memory for so many entries");
            return false;
        }
        b->entries = entries;
        b->capacity = capacity;
    }
    b->entries[b->count++] = *entry;
    return true;
}

/* HL7 v3 Confidentiality, among the resource's security labels; the highest counts.
 * Unrestricted, low and moderate are within what everybody who treats may see. */
static enum confidentiality confidentiality_of(const json_t *resource)
{
    const json_t *labels = member(resource, "meta", "security");
    enum confidentiality highest = CONF_NORMAL;
    for (size_t i = 0; i < json_array_size(labels); i++) {
        const json_t *label = json_array_get(labels, i);
        const char *system = json_string_value(json_object_get(label, "system"));
        const char *code = json_string_value(json_object_get(label, "code"));
        if (!system || !code || !strstr(system, "Confidentiality")) continue;
        if (strcmp(code, "V") == 0) return CONF_VERY_RESTRICTED;
        if (strcmp(code, "R") == 0) highest = CONF_RESTRICTED;
    }
    return highest;
}

/* The resource, which the scan stands behind. */
static void read_resource(struct fhir_entry *e, struct json_scan *s)
{
    json_t *resource = json_scan_parse(s, e->resource);
    const char *type = json_string_value(json_object_get(resource, "resourceType"));
    if (s->error == OK && (!type || !*type || strlen(type) > LIMIT_NAME)) {
        s->at = (const char *)e->resource.data;
        json_scan_fail(s, ERR_INVALID, "a resource without a resourceType");
    }
    if (s->error == OK) {
        memcpy(e->type, type, strlen(type) + 1);
        e->id = copy_string(json_object_get(resource, "id"));
        e->conf = confidentiality_of(resource);
        e->subject = copy_string(member(resource, "subject", "reference"));
        if (!e->subject) e->subject = copy_string(member(resource, "patient", "reference"));
    }
    json_decref(resource);
}

/* Whether a member's name, with its quotes, is `name`; it may be written with escapes. */
static bool is_named(struct json_scan *s, struct bytes key, const char *name)
{
    json_t *text = json_scan_parse(s, key);
    bool same = text && strcmp(json_string_value(text), name) == 0;
    json_decref(text);
    return same;
}

/* A value of no interest must be JSON all the same. */
static void skip_value(struct json_scan *s)
{
    struct bytes value = json_scan_value(s);
    json_decref(json_scan_parse(s, value));
}

/* False: a member of this name was there before. */
static bool once(struct json_scan *s, bool *seen, const char *name)
{
    if (*seen) json_scan_fail(s, ERR_SYNTAX, "\"%s\" stands there twice", name);
    *seen = true;
    return s->error == OK;
}

static void read_entry_member(struct fhir_entry *e, struct json_scan *s, struct bytes key, bool seen[static 2])
{
    if (is_named(s, key, "fullUrl")) {
        if (!once(s, &seen[0], "fullUrl")) return;
        json_t *url = json_scan_parse(s, json_scan_value(s));
        if (url && !json_is_string(url)) json_scan_fail(s, ERR_INVALID, "a fullUrl that is no text");
        e->full_url = copy_string(url);
        json_decref(url);
    } else if (is_named(s, key, "resource")) {
        if (!once(s, &seen[1], "resource")) return;
        json_scan_peek(s);
        e->line = json_scan_line(s, s->at);
        e->resource = json_scan_value(s);
        read_resource(e, s);
    } else {
        skip_value(s);
    }
}

static void read_entry(struct fhir_bundle *b, struct json_scan *s)
{
    struct fhir_entry entry = {0};
    struct bytes key;
    bool seen[2] = {false, false};
    if (json_scan_open(s, '{'))
        while (json_scan_member(s, &key)) read_entry_member(&entry, s, key, seen);
    if (s->error == OK && !seen[1]) b->empty++;
    if (s->error == OK && seen[1]) {
        entry.source = source_of(&entry);
        if (!entry.source) json_scan_fail(s, ERR_NOMEM, "no memory for a resource");
        if (s->error == OK && add_entry(b, s, &entry)) return;
    }
    entry_free(&entry);
}

/* --- about whom --- */

/* A reference without the version behind it. */
static size_t reference_size(const char *reference)
{
    const char *history = strstr(reference, "/_history/");
    return history ? (size_t)(history - reference) : strlen(reference);
}

static bool ends_with_id(const char *reference, size_t size, const char *id)
{
    size_t n = strlen(id);
    return size > n && memcmp(reference + size - n, id, n) == 0 && reference[size - n - 1] == '/';
}

/* "Patient/x", or ".../Patient/x" of a server. */
static bool names_patient(const char *reference, size_t size)
{
    for (size_t i = 0; i + 8 <= size; i++)
        if (memcmp(reference + i, "Patient/", 8) == 0 && (i == 0 || reference[i - 1] == '/')) return true;
    return false;
}

/* Full URLs in order. */
struct urls {
    uint32_t count;
    const char **items;
};

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static enum err urls_collect(struct urls *out, const struct fhir_bundle *b)
{
    *out = (struct urls){.items = calloc(b->count, sizeof *out->items)};
    if (!out->items) return ERR_NOMEM;
    for (uint32_t i = 0; i < b->count; i++)
        if (b->entries[i].full_url) out->items[out->count++] = b->entries[i].full_url;
    qsort(out->items, out->count, sizeof *out->items, compare_texts);
    return OK;
}

static bool urls_have(const struct urls *urls, const char *url)
{
    return bsearch(&url, urls->items, urls->count, sizeof *urls->items, compare_texts) != NULL;
}

/* What is about somebody else must not get into this patient's chart. A search
 * ("Patient?identifier=...") can't be compared and is taken. */
static bool is_foreign(const struct fhir_bundle *b, const struct urls *urls, const char *reference)
{
    const struct fhir_entry *patient = &b->entries[b->patient];
    size_t size = reference_size(reference);
    if (patient->full_url && strlen(patient->full_url) == size && memcmp(reference, patient->full_url, size) == 0)
        return false;
    if (names_patient(reference, size)) return !patient->id || !ends_with_id(reference, size, patient->id);
    return starts_with(reference, "urn:") && !urls_have(urls, reference);
}

static enum err mark_foreign(struct fhir_bundle *b)
{
    struct urls urls;
    if (b->patients != 1) return OK;
    enum err e = urls_collect(&urls, b);
    for (uint32_t i = 0; e == OK && i < b->count; i++)
        b->entries[i].foreign = b->entries[i].subject && is_foreign(b, &urls, b->entries[i].subject);
    free(urls.items);
    return e;
}

/* --- twice the same --- */

struct sourced {
    const char *source;
    uint32_t place;
};

static int compare_sources(const void *a, const void *b)
{
    const struct sourced *x = a, *y = b;
    int order = strcmp(x->source, y->source);
    return order ? order : (x->place > y->place) - (x->place < y->place);
}

static enum err find_repeated(struct fhir_bundle *b)
{
    struct sourced *all = calloc(b->count ? b->count : 1, sizeof *all);
    if (!all) return ERR_NOMEM;
    for (uint32_t i = 0; i < b->count; i++) all[i] = (struct sourced){b->entries[i].source, i};
    qsort(all, b->count, sizeof *all, compare_sources);
    for (uint32_t i = 0, first = 0; i < b->count; i++) {
        if (strcmp(all[i].source, all[first].source) != 0) first = i;
        b->entries[all[i].place].first = all[first].place;
    }
    free(all);
    return OK;
}

/* --- the bundle --- */

static bool is_importable(const char *type)
{
    return strcmp(type, "transaction") == 0 || strcmp(type, "batch") == 0 || strcmp(type, "collection") == 0;
}

/* What the file says of itself; members stand in any order. */
struct heading {
    bool seen_kind, seen_type, seen_entry;
    char kind[LIMIT_NAME + 1], type[LIMIT_NAME + 1]; /* empty: not said, or no short text */
};

static void read_text(struct json_scan *s, char out[static LIMIT_NAME + 1])
{
    json_t *value = json_scan_parse(s, json_scan_value(s));
    const char *text = json_string_value(value);
    if (text && strlen(text) <= LIMIT_NAME) memcpy(out, text, strlen(text) + 1);
    json_decref(value);
}

static void read_member(struct fhir_bundle *b, struct heading *h, struct json_scan *s, struct bytes key)
{
    if (is_named(s, key, "resourceType")) {
        if (once(s, &h->seen_kind, "resourceType")) read_text(s, h->kind);
    } else if (is_named(s, key, "type")) {
        if (once(s, &h->seen_type, "type")) read_text(s, h->type);
    } else if (is_named(s, key, "entry")) {
        if (once(s, &h->seen_entry, "entry") && json_scan_open(s, '['))
            while (json_scan_element(s)) read_entry(b, s);
    } else {
        skip_value(s);
    }
}

static enum err check_heading(const struct heading *h, struct failure *failure)
{
    if (!*h->kind) return fail(failure, ERR_INVALID, "it has no resourceType: this is no FHIR resource");
    if (strcmp(h->kind, "Bundle") != 0) return fail(failure, ERR_INVALID, "it is a %s, not a Bundle", h->kind);
    if (is_importable(h->type)) return OK;
    return fail(failure, ERR_INVALID, "a Bundle of type '%s'; only transaction, batch and collection can be imported",
                h->type);
}

static enum err read_bundle(struct fhir_bundle *b, struct json_scan *s, struct failure *failure)
{
    struct heading heading = {0};
    struct bytes key;
    if (json_scan_open(s, '{'))
        while (json_scan_member(s, &key)) read_member(b, &heading, s, key);
    json_scan_finish(s);
    if (s->error != OK) return fail(failure, s->error, "%s", s->text);
    for (uint32_t i = b->count; i-- > 0;) {
        if (strcmp(b->entries[i].type, "Patient") != 0) continue;
        b->patients++;
        b->patient = i;
    }
    return check_heading(&heading, failure);
}

enum err fhir_bundle_read(struct fhir_bundle *out, struct bytes text, struct failure *failure)
{
    *out = (struct fhir_bundle){0};
    if (text.size > LIMIT_BUNDLE)
        return fail(failure, ERR_TOO_LARGE, "longer than %u MiB; split it", LIMIT_BUNDLE / MIB);
    struct json_scan s = json_scan_start(text);
    enum err e = read_bundle(out, &s, failure);
    if (e != OK) return e;
    e = mark_foreign(out);
    if (e == OK) e = find_repeated(out);
    return e == OK ? OK : fail(failure, e, "no memory for so many entries");
}

void fhir_bundle_free(struct fhir_bundle *bundle)
{
    for (uint32_t i = 0; i < bundle->count; i++) entry_free(&bundle->entries[i]);
    free(bundle->entries);
    *bundle = (struct fhir_bundle){0};
}
