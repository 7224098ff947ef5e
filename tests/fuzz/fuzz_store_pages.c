/* What stands on LMDB's pages, which carry no checksum, and is looked at before LMDB believes it. First byte
 *   even: a record of its list of free pages, in a file of as many pages as the next two bytes say, of which the third
 *         names some that another record had. One that is taken names each page once, in the file, in order.
 *   odd:  the pages of a file and a value on one of them: where and how long it is say the next four bytes. Where the
 *         head of its page is taken, its pages hold the value. */
#include "storage/store_pages.c" /* its decoders are its own */

#include "base/check.h"
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) return 0;
    struct bytes in = bytes_of(data + 1, size - 1);
    if (data[0] & 1)
        head(in);
    else
        record(in);
    return 0;
}
