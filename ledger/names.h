/* The folded index of people's names, in memory: user search looks here, so that
 * no name is ever a key on disk. Built from the tables when a ledger is opened, then
 * kept as users come and change. Never state: nothing is decided by it.
 */
#ifndef LEDGER_NAMES_H
#define LEDGER_NAMES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/table.h"

struct name_entry {
    uint64_t created; /* leaf index of the user.create: the order of entries */
    struct id id;
    char *folded; /* login, name and hospital number; NULL: nothing known */
};
struct names {
    bool loaded;
    struct name_entry *items;
    size_t count, capacity;
};

/* Reads all users; nothing when loaded already. */
enum err names_load(struct names *names, struct table_txn *txn);
/* A new user, or new particulars of one (`person` as in the attachment; empty: none, or erased). */
void names_set(struct names *names, const struct id *id, uint64_t created, struct bytes person);
/* Position of the first entry created at or after that leaf. */
size_t names_seek(const struct names *names, uint64_t created);
void names_free(struct names *names);

/* Text folded for comparing: decomposed, without marks and case (Unicode, no
 * locale). NULL: not UTF-8, or no memory. The caller frees it. */
char *names_fold(struct bytes text);
/* Whether each word of `folded_query` is somewhere in the entry. */
bool names_match(const struct name_entry *entry, const char *folded_query);

#endif
