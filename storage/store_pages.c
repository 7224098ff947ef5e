/* Whether LMDB's books of its pages can be true.
 *
 * LMDB's pages carry no checksum. What it writes next goes to pages that its list of free
 * ones names: one that is damaged, or of another time, lets it write over what is in use,
 * or merge lists of pages that don't exist until memory or device are full. So the list is
 * read before anything is written: each record's numbers descend, lie within the file and
 * stand in no other record, and free ones and those of the tables together are no more
 * than there are. Fewer would be pages that nobody uses any more: no harm.
 *
 * A value of more than about half a page has pages of its own. How many, and the first
 * one's number, stand only at their head, and LMDB puts as many on its list when the value
 * goes; so the head is looked at before that. */
#include <lmdb.h>
#include <stdlib.h>
#include <string.h>

#include "storage/store_internal.h"

/* LMDB's own two data bases, by the numbers that its mdb_stat reads them by; only a read transaction may. */
#define FREE_DBI 0
#define MAIN_DBI 1
#define META_PAGES 2
#define PAGE_LEAST 512 /* bytes; LMDB's are the system's */

struct books {
    uint64_t pages, used, free; /* of the file; of all trees; in the list */
    uint8_t *seen;              /* a bit for each page */
    struct failure *failure;
};

static enum err wrong(struct books *b, const char *what)
{
    return fail(b->failure, ERR_CORRUPT, "LMDB's list of free pages is damaged: %s", what);
}

/* Of a row, which may lie at any even address. */
static size_t number(const MDB_val *value, size_t i)
{
    size_t n;
    memcpy(&n, (const uint8_t *)value->mv_data + i * sizeof n, sizeof n);
    return n;
}

/* One record: how many, then the numbers, each less than the one before. */
static enum err take_record(struct books *b, const MDB_val *value)
{
    size_t room = value->mv_size / sizeof(size_t), last = (size_t)b->pages;
    size_t listed = room ? number(value, 0) : 0;
    if (room == 0 || listed > room - 1) return wrong(b, "a record is longer than its row");
    for (size_t i = 1; i <= listed; i++) {
        size_t page = number(value, i);
        if (page < META_PAGES || page >= last) return wrong(b, "a record names pages out of order, or beyond the end");
        if (b->seen[page / 8] >> page % 8 & 1) return wrong(b, "a page is in it twice");
        b->seen[page / 8] |= (uint8_t)(1u << page % 8);
        last = page;
    }
    b->free += listed;
    return OK;
}

static int take_list(struct books *b, MDB_txn *txn, enum err *found)
{
    MDB_cursor *c;
    MDB_val key, value;
    size_t last = 0;
    int code = mdb_cursor_open(txn, FREE_DBI, &c);
    if (code != 0) return code;
    while (*found == OK && (code = mdb_cursor_get(c, &key, &value, MDB_NEXT)) == 0) {
        size_t id = key.mv_size == sizeof id ? number(&key, 0) : 0;
        if (id <= last || id > mdb_txn_id(txn))
            *found = wrong(b, "a record is of no transaction that there was");
        else
            *found = take_record(b, &value);
        last = id;
    }
    mdb_cursor_close(c);
    return code == MDB_NOTFOUND ? 0 : code;
}

static int take_tree(struct books *b, MDB_txn *txn, MDB_dbi handle)
{
    MDB_stat stat;
    int code = mdb_stat(txn, handle, &stat);
    if (code != 0) return code;
    const uint64_t parts[] = {stat.ms_branch_pages, stat.ms_leaf_pages, stat.ms_overflow_pages};
    for (unsigned i = 0; i < 3; i++) /* each within bounds, so that the sum is */
        b->used += parts[i] < b->pages ? parts[i] : b->pages;
    return 0;
}

enum err store_pages_check(MDB_env *env, MDB_txn *txn, const MDB_dbi *tables, size_t count, int *code,
                           struct failure *failure)
{
    MDB_envinfo info;
    enum err found = OK;
    *code = mdb_env_info(env, &info);
    if (*code != 0) return OK;
    if (info.me_last_txnid != mdb_txn_id(txn)) return ERR_BUSY;
    struct books b = {.pages = (uint64_t)info.me_last_pgno + 1, .used = META_PAGES, .failure = failure};
    if (b.pages > info.me_mapsize / PAGE_LEAST) return wrong(&b, "it is of a file of another size");
    b.seen = calloc(b.pages / 8 + 1, 1);
    if (!b.seen) return fail(failure, ERR_NOMEM, "out of memory");
    *code = take_tree(&b, txn, FREE_DBI);
    if (*code == 0) *code = take_tree(&b, txn, MAIN_DBI);
    for (size_t i = 0; i < count && *code == 0; i++) *code = take_tree(&b, txn, tables[i]);
    if (*code == 0) *code = take_list(&b, txn, &found);
    free(b.seen);
    if (*code != 0 || found != OK) return found;
    return b.used + b.free <= b.pages ? OK : wrong(&b, "some of its pages are in use");
}

/* --- values with pages of their own --- */

/* What stands at the head of a page in LMDB 0.9 (struct MDB_page). */
#define HEAD 16
#define HEAD_FLAGS 10
#define HEAD_PAGES 12
#define HEAD_LOWER 12 /* the same place, in a leaf page: where its free room begins and ends */
#define HEAD_UPPER 14
#define FLAG_LEAF 0x02u
#define FLAG_OVERFLOW 0x04u

static size_t pages_for(size_t size, size_t page_size) { return (HEAD - 1 + size) / page_size + 1; }

static size_t number_of(const uint8_t *page)
{
    size_t n;
    memcpy(&n, page, sizeof n);
    return n;
}

/* LMDB maps the file from a page's beginning on, and says only of a map at a fixed address where. */
void store_map_find(struct store_map *map, const MDB_val *value, size_t page_size, size_t size)
{
    const uint8_t *page = (const uint8_t *)((uintptr_t)value->mv_data / page_size * page_size);
    size_t number = number_of(page);
    *map = (struct store_map){.page_size = page_size, .size = size};
    if (number < size / page_size) map->base = (uintptr_t)page - number * page_size;
}

static unsigned at16(const uint8_t *page, unsigned offset)
{
    uint16_t n;
    memcpy(&n, page + offset, sizeof n);
    return n;
}

static bool of_more_pages(const uint8_t *page, size_t size, size_t page_size)
{
    uint32_t pages;
    memcpy(&pages, page + HEAD_PAGES, sizeof pages);
    /* A shorter value takes the pages of the one before it, all of them. */
    return pages >= pages_for(size, page_size) && pages <= pages_for(LIMIT_STORE_VALUE + SEAL_OVERHEAD, page_size);
}

bool store_page_sound(const struct store_map *map, const MDB_val *value)
{
    uintptr_t at = (uintptr_t)value->mv_data - map->base;
    /* Of this transaction, and not in the file yet. */
    if (!map->base || (uintptr_t)value->mv_data < map->base || at >= map->size) return true;
    size_t offset = at % map->page_size;
    const uint8_t *page = (const uint8_t *)value->mv_data - offset;
    unsigned flags = at16(page, HEAD_FLAGS), lower = at16(page, HEAD_LOWER), upper = at16(page, HEAD_UPPER);
    if (number_of(page) != at / map->page_size) return false;
    if (offset == HEAD) return flags == FLAG_OVERFLOW && of_more_pages(page, value->mv_size, map->page_size);
    return flags == FLAG_LEAF && lower >= HEAD && lower % 2 == 0 && lower <= upper && upper < offset;
}
