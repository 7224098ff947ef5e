/* What stands on LMDB's pages, which carry no checksum, and is looked at before LMDB believes it. First byte
 *   even: a record of its list of free pages, in a file of as many pages as the next two bytes say, of which the third
 *         names some that another record had. One that is taken names each page once, in the file, in order.
 *   odd:  the pages of a file and a value on one of them: where and how long it is say the next four bytes. Where the
 *         head of its page is taken, its pages hold the value.
 *   0xff: LMDB's own file with such records, of which numbers are changed: which one (of all records', two bytes) and
 *         by how much, which is added. The books that were kept are right, and what says otherwise is told in words. */
#include "storage/store_pages.c" /* its decoders are its own */

#include <fcntl.h>
#include <unistd.h>

#include "base/check.h"
#include "tests/lib/folder.h"
#include "tests/lib/taken.h"

#define PAGE 512u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void record(struct bytes in)
{
    uint8_t seen[(1u << 16) / 8 + 1] = {0}, before[sizeof seen];
    struct failure why = {0};
    if (in.size < 3) return;
    uint64_t pages = META_PAGES + (in.data[0] | (uint64_t)in.data[1] << 8) % 65000;
    struct books b = {.pages = pages, .seen = seen, .failure = &why};
    seen[in.data[2]] = in.data[2];
    memcpy(before, seen, sizeof seen);
    MDB_val value = {in.size - 3, (void *)(uintptr_t)(in.data + 3)};
    if (take_record(&b, &value) != OK) {
        CHECK(why.code == ERR_CORRUPT && why.text[0]);
        return;
    }
    uint64_t last = pages;
    for (uint64_t i = 1; i <= b.free; i++) {
        uint64_t page;
        CHECK(i < value.mv_size / sizeof page);
        memcpy(&page, in.data + 3 + i * sizeof page, sizeof page);
        CHECK(page >= META_PAGES && page < last && !(before[page / 8] >> page % 8 & 1));
        CHECK(seen[page / 8] >> page % 8 & 1);
        last = page;
    }
    fuzz_taken = true;
}

static void check_sound(const struct store_map *map, const MDB_val *value)
{
    size_t at = (uintptr_t)value->mv_data - map->base, offset = at % PAGE;
    const uint8_t *page = (const uint8_t *)value->mv_data - offset;
    uint64_t number;
    uint32_t pages;
    memcpy(&number, page, sizeof number);
    memcpy(&pages, page + HEAD_PAGES, sizeof pages);
    CHECK(number == at / PAGE);
    if (offset == HEAD)
        CHECK((uint64_t)pages * PAGE >= HEAD + value->mv_size);
    else
        CHECK(offset > HEAD && (pages & 0xffff) <= pages >> 16 && pages >> 16 < offset);
}

static void head(struct bytes in)
{
    if (in.size < 4 + PAGE) return;
    struct store_map map;
    size_t size = (in.size - 4) / PAGE * PAGE, at = (in.data[0] | (size_t)in.data[1] << 8) % size;
    uint8_t *file = aligned_alloc(PAGE, size);
    CHECK(file);
    memcpy(file, in.data + 4, size);
    MDB_val value = {in.data[2] | (size_t)in.data[3] << 8, file + at};
    store_map_find(&map, &value, PAGE, size);
    bool known = map.base && (uintptr_t)value.mv_data - map.base < map.size; /* else it is not looked at */
    if (store_page_sound(&map, &value) && known) {
        check_sound(&map, &value);
        fuzz_taken = true;
    }
    free(file);
}

/* --- a file of LMDB's --- */

#define NUMBERS 256

static char folder[FOLDER_PATH], path[FOLDER_PATH];
static off_t numbers[NUMBERS]; /* where in the file the records' numbers stand */
static size_t number_count;

static void remove_folder(void) { folder_remove(folder); }

static MDB_env *open_env(unsigned flags)
{
    MDB_env *env;
    CHECK(mdb_env_create(&env) == 0 && mdb_env_set_mapsize(env, 1 << 20) == 0);
    CHECK(mdb_env_open(env, folder, flags | MDB_NOLOCK, 0600) == 0);
    return env;
}

/* Rows come and go, some with pages of their own. */
static void write_rows(MDB_env *env)
{
    uint8_t content[9000] = {1};
    for (unsigned turn = 0; turn < 12; turn++) {
        MDB_txn *txn;
        MDB_dbi rows;
        CHECK(mdb_txn_begin(env, NULL, 0, &txn) == 0 && mdb_dbi_open(txn, NULL, 0, &rows) == 0);
        for (unsigned i = 0; i < 6; i++) {
            unsigned number = turn * 4 + i, gone = turn * 3 + i;
            MDB_val key = {sizeof number, &number}, old = {sizeof gone, &gone}, value = {1500 * i, content};
            CHECK(mdb_put(txn, rows, &key, &value, 0) == 0);
            int code = turn > 2 ? mdb_del(txn, rows, &old, NULL) : 0;
            CHECK(code == 0 || code == MDB_NOTFOUND);
        }
        CHECK(mdb_txn_commit(txn) == 0);
    }
}

/* By the map, which is the file. */
static void find_numbers(MDB_env *env)
{
    MDB_txn *txn;
    MDB_cursor *c;
    MDB_val key, value;
    MDB_envinfo info;
    uint8_t *first = NULL;
    CHECK(mdb_txn_begin(env, NULL, MDB_RDONLY, &txn) == 0 && mdb_cursor_open(txn, FREE_DBI, &c) == 0);
    CHECK(mdb_env_info(env, &info) == 0);
    long page = sysconf(_SC_PAGESIZE);
    while (mdb_cursor_get(c, &key, &value, MDB_NEXT) == 0) {
        uint8_t *at = value.mv_data, *head = at - (uintptr_t)at % (size_t)page;
        first = (uint8_t *)key.mv_data - (uintptr_t)key.mv_data % (size_t)page;
        first -= number_of(first) * (size_t)page;
        CHECK(head - number_of(head) * (size_t)page == first && number_count < NUMBERS);
        numbers[number_count++] = (uint8_t *)key.mv_data - first; /* of the transaction */
        for (size_t i = 0; i <= number(&value, 0) && number_count < NUMBERS; i++)
            numbers[number_count++] = at + i * sizeof(size_t) - first;
    }
    CHECK(number_count > 4);
    mdb_cursor_close(c);
    mdb_txn_abort(txn);
}

static void make(void)
{
    folder_make(folder, 1);
    CHECK(atexit(remove_folder) == 0);
    folder_join(path, folder, "data.mdb");
    MDB_env *env = open_env(MDB_NOSYNC);
    write_rows(env);
    find_numbers(env);
    mdb_env_close(env);
}

/* Adds to that number in the file; twice, with the opposite, it is as before. */
static void add(int file, off_t where, size_t what)
{
    size_t n;
    CHECK(pread(file, &n, sizeof n, where) == (ssize_t)sizeof n);
    n += what;
    CHECK(pwrite(file, &n, sizeof n, where) == (ssize_t)sizeof n);
}

static void change(struct bytes in, size_t sign)
{
    int file = open(path, O_RDWR);
    CHECK(file >= 0);
    for (; in.size >= 3; in = bytes_of(in.data + 3, in.size - 3))
        add(file, numbers[(in.data[0] | (size_t)in.data[1] << 8) % number_count], sign * (size_t)(int8_t)in.data[2]);
    CHECK(close(file) == 0);
}

static void environment(struct bytes in)
{
    MDB_txn *txn;
    struct failure why = {0};
    int code = 0;
    if (!number_count) make();
    change(in, 1);
    MDB_env *env = open_env(MDB_RDONLY);
    CHECK(mdb_txn_begin(env, NULL, MDB_RDONLY, &txn) == 0);
    enum err e = store_pages_check(env, txn, NULL, 0, &code, &why);
    CHECK(code == 0 && (e == OK || (e == ERR_CORRUPT && why.code == e && why.text[0])));
    if (in.size < 3) CHECK(e == OK);
    fuzz_taken = e == OK;
    mdb_txn_abort(txn);
    mdb_env_close(env);
    change(in, (size_t)-1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) return 0;
    struct bytes in = bytes_of(data + 1, size - 1);
    if (data[0] == 0xff)
        environment(in);
    else if (data[0] & 1)
        head(in);
    else
        record(in);
    return 0;
}
