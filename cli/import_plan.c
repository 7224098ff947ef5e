#include "cli/import_plan.h"

#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "crypto/hash.h"
#include "ledger/fields.h"
#include "ledger/record.h"

/* --- what is there --- */

enum err import_known_add(struct import_known *k, const struct list_row *row)
{
    if (k->count == k->capacity) {
        uint32_t capacity = k->capacity ? 2 * k->capacity : LIMIT_ROWS;
        struct list_row *rows = realloc(k->rows, capacity * sizeof *rows);
        if (!rows) return ERR_NOMEM;
        k->rows = rows;
        k->capacity = capacity;
    }
    k->rows[k->count] = *row;
    k->rows[k->count++].kind = (struct bytes){0}; /* a view of an answer that goes */
    return OK;
}

void import_known_free(struct import_known *k)
{
    free(k->rows);
    *k = (struct import_known){0};
}

static int compare_rows(const void *a, const void *b)
{
    const struct list_row *x = a, *y = b;
    return memcmp(x->record.bytes, y->record.bytes, sizeof x->record.bytes);
}

static const struct list_row *find_row(const struct import_known *k, const struct id *record)
{
    struct list_row key = {.record = *record};
    return k->count ? bsearch(&key, k->rows, k->count, sizeof *k->rows, compare_rows) : NULL;
}

/* --- one resource --- */

struct planning {
    const struct fhir_bundle *bundle;
    const struct import_known *known;
    struct bytes tag_key;
    const struct id *patient, *self;
    bool replace;
    struct buffer content; /* reused */
};

static enum err compact(struct planning *p, const struct fhir_entry *entry)
{
    buffer_clear(&p->content);
    fhir_compact(&p->content, entry->resource);
    return p->content.failed ? ERR_NOMEM : OK;
}

static enum import_fate fate_of_known(struct planning *p, const struct list_row *row, enum confidentiality conf)
{
    struct digest tag = record_content_tag(p->tag_key, buffer_bytes(&p->content));
    if (row->deleted) return IMPORT_DELETED_HERE;
    if (digest_equal(&tag, &row->content_tag) && row->conf == conf) return IMPORT_UNCHANGED;
    return p->replace || id_equal(&row->author, p->self) ? IMPORT_UPDATE : IMPORT_CHANGED_HERE;
}

/* Two entries with one name can't become one record, unless they are the same. */
static enum err same_as_first(bool *same, struct planning *p, const struct fhir_entry *entry)
{
    struct buffer first = {0};
    fhir_compact(&first, p->bundle->entries[entry->first].resource);
    *same = bytes_equal(buffer_bytes(&first), buffer_bytes(&p->content));
    enum err e = first.failed ? ERR_NOMEM : OK;
    buffer_free(&first);
    return e;
}

static enum err plan_one(struct planning *p, struct import_item *item)
{
    const struct fhir_entry *entry = &p->bundle->entries[item->entry];
    bool repeated = entry->first != item->entry, same = false;
    enum err e = compact(p, entry);
    if (e == OK && repeated) e = same_as_first(&same, p, entry);
    if (e != OK) return e;
    item->record = record_id_derive(p->tag_key, p->patient, bytes_text(entry->source));
    item->version = 1;
    item->conf = entry->conf;
    const struct list_row *row = find_row(p->known, &item->record);
    if (entry->foreign) {
        item->fate = IMPORT_FOREIGN;
    } else if (repeated) {
        item->fate = same ? IMPORT_UNCHANGED : IMPORT_REPEATED;
    } else if (p->content.size > LIMIT_RECORD) {
        item->fate = IMPORT_TOO_LARGE;
    } else if (row) {
        if (row->conf > item->conf) item->conf = row->conf; /* raised here */
        item->version = row->version + 1;
        item->fate = fate_of_known(p, row, item->conf);
    } else {
        item->fate = IMPORT_CREATE;
    }
    return OK;
}

/* --- all --- */

enum err import_plan_make(struct import_plan *out, const struct fhir_bundle *bundle, struct import_known *known,
                          struct bytes tag_key, const struct id *patient, const struct id *self, bool replace)
{
    struct planning p = {.bundle = bundle, .known = known, .tag_key = tag_key, .patient = patient, .self = self,
                         .replace = replace};
    *out = (struct import_plan){.items = calloc(bundle->count ? bundle->count : 1, sizeof *out->items)};
    enum err e = out->items ? OK : ERR_NOMEM;
    if (known->count) qsort(known->rows, known->count, sizeof *known->rows, compare_rows);
    for (uint32_t i = 0; e == OK && i < bundle->count; i++) {
        out->items[i].entry = i;
        e = plan_one(&p, &out->items[i]);
        out->fates[out->items[i].fate]++;
        out->count++;
    }
    buffer_free(&p.content);
    if (e != OK) import_plan_free(out);
    return e;
}

void import_plan_free(struct import_plan *plan)
{
    free(plan->items);
    *plan = (struct import_plan){0};
}

const char *import_fate_word(enum import_fate fate)
{
    static const char *const words[IMPORT_FATE_COUNT] = {
#define X(name, word) word,
        IMPORT_FATES(X)
#undef X
    };
    return words[fate];
}

struct id import_patient_id(struct bytes tag_key, const char *source)
{
    const struct bytes parts[] = {bytes_text("consilium/patient-id/v1\n"), bytes_text(source)};
    struct digest digest;
    struct id id;
    hmac_sha256_parts(&digest, tag_key, parts, 2);
    memcpy(id.bytes, digest.bytes, sizeof id.bytes);
    return id;
}
