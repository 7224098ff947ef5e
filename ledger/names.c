#include "ledger/names.h"

#include <stdlib.h>
#include <string.h>

#include <utf8proc.h>

#include "base/check.h"
#include "ledger/attachment.h"
#include "ledger/state.h"
#include "ledger/tables.h"

char *names_fold(struct bytes text)
{
    utf8proc_uint8_t *folded = NULL;
    utf8proc_ssize_t size =
        utf8proc_map(text.data, (utf8proc_ssize_t)text.size, &folded,
                     UTF8PROC_STABLE | UTF8PROC_COMPAT | UTF8PROC_DECOMPOSE | UTF8PROC_CASEFOLD |
                         UTF8PROC_STRIPMARK | UTF8PROC_IGNORE);
    if (size >= 0) return (char *)folded;
    free(folded);
    return NULL;
}

bool names_match(const struct name_entry *entry, const char *folded_query)
{
    char query[4 * LIMIT_PERSON_TEXT], *rest = query, *word;
    size_t size = strlen(folded_query);
    if (!entry->folded || size >= sizeof query) return false;
    memcpy(query, folded_query, size + 1);
    while ((word = strsep(&rest, " \t\n")) != NULL)
        if (*word && !strstr(entry->folded, word)) return false;
    return true;
}

size_t names_seek(const struct names *names, uint64_t created)
{
    size_t low = 0, high = names->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (names->items[middle].created < created)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* First administrators all have created 0: after those of the same leaf, unless it is there. */
static struct name_entry *entry_for(struct names *names, const struct id *id, uint64_t created)
{
    size_t at = names_seek(names, created);
    for (; at < names->count && names->items[at].created == created; at++)
        if (id_equal(&names->items[at].id, id)) return &names->items[at];
    if (names->count == names->capacity) {
        names->capacity = names->capacity ? 2 * names->capacity : 64;
        names->items = xrealloc(names->items, names->capacity * sizeof *names->items);
    }
    memmove(&names->items[at + 1], &names->items[at], (names->count - at) * sizeof *names->items);
    names->count++;
    names->items[at] = (struct name_entry){.created = created, .id = *id};
    return &names->items[at];
}

static char *fold_person(struct bytes encoded)
{
    struct person person;
    struct buffer text = {0};
    if (encoded.size == 0 || person_decode(&person, encoded) != OK) return NULL;
    buffer_append_bytes(&text, person.login);
    buffer_append_text(&text, "\n");
    buffer_append_bytes(&text, person.name);
    buffer_append_text(&text, "\n");
    buffer_append_bytes(&text, person.hospital_number);
    char *folded = text.failed ? NULL : names_fold(buffer_bytes(&text));
    buffer_free(&text);
    return folded;
}

void names_set(struct names *names, const struct id *id, uint64_t created, struct bytes person)
{
    if (!names->loaded) return;
    struct name_entry *entry = entry_for(names, id, created);
    free(entry->folded);
    entry->folded = fold_person(person);
}

void names_free(struct names *names)
{
    for (size_t i = 0; i < names->count; i++) free(names->items[i].folded);
    free(names->items);
    *names = (struct names){0};
}

static enum err load_person(struct name_entry *entry, struct table_txn *txn, struct buffer *value, uint64_t index)
{
    uint8_t key[8];
    struct attachment attachment;
    put_be64(key, index);
    enum err err = table_get(txn, TABLE_ATTACHMENT, BYTES(key), value);
    if (err == ERR_NOT_FOUND) return OK;
    if (err == OK) err = attachment_decode(&attachment, buffer_bytes(value));
    if (err == OK) entry->folded = fold_person(attachment.content);
    return err;
}

static enum err load_user(struct names *names, struct table_txn *txn, struct buffer *value, const struct id *id)
{
    struct user user;
    enum err err = state_user_get(&user, txn, id);
    if (err != OK) return err;
    if (names->count == names->capacity) {
        names->capacity = names->capacity ? 2 * names->capacity : 64;
        names->items = xrealloc(names->items, names->capacity * sizeof *names->items);
    }
    struct name_entry *entry = &names->items[names->count++];
    *entry = (struct name_entry){.created = user.created, .id = *id};
    return load_person(entry, txn, value, user.person_index);
}

static int by_creation(const void *a, const void *b)
{
    uint64_t x = ((const struct name_entry *)a)->created, y = ((const struct name_entry *)b)->created;
    return (x > y) - (x < y);
}

enum err names_load(struct names *names, struct table_txn *txn)
{
    struct table_cursor *c;
    struct buffer value = {0};
    if (names->loaded) return OK;
    enum err err = table_cursor_open(&c, txn, TABLE_USER);
    if (err != OK) return err;
    for (err = table_cursor_seek(c, (struct bytes){0}); err == OK; err = table_cursor_next(c)) {
        struct id id;
        struct bytes key = table_cursor_key(c);
        if (key.size != sizeof id.bytes) {
            err = ERR_CORRUPT;
            break;
        }
        memcpy(id.bytes, key.data, sizeof id.bytes);
        err = load_user(names, txn, &value, &id);
        if (err != OK) break;
    }
    table_cursor_close(c);
    buffer_free(&value);
    if (err != ERR_NOT_FOUND) {
        names_free(names);
        return err;
    }
    if (names->count) qsort(names->items, names->count, sizeof *names->items, by_creation);
    names->loaded = true;
    return OK;
}
