/* Rows of leaves: read back in any order, whoever wrote them first, and roots of any size. */
#include "tests/lib/unit.h"

#include <stdlib.h>

#include "base/check.h"
#include "cli/leaf_rows.h"

#define LEAVES 20000u

static struct leaf_row row_of(uint64_t index)
{
    struct leaf_row row = {.leaf = {{1}}};
    put_be64(row.leaf.bytes + 8, index * UINT64_C(0x9e3779b97f4a7c15));
    if (index % 3 == 0) put_be64(row.attachment.bytes, index + 1);
    return row;
}

static void write_rows(struct leaf_rows *l, uint64_t first, uint64_t count)
{
    struct leaf_row *rows = xcalloc(count, sizeof *rows);
    for (uint64_t i = 0; i < count; i++) rows[i] = row_of(first + i);
    assert_int_equal(leaf_rows_write(l, first, rows, (uint32_t)count), OK);
    free(rows);
}

/* Pieces of 1, 2, 3 ... leaves, of each two the second first; the trees' roots at each size in `roots`. */
static struct leaf_rows *filled(struct digest *roots)
{
    struct leaf_rows *l;
    struct tree tree = {.size = 0};
    assert_int_equal(leaf_rows_open(&l, NULL), OK);
    tree_root(&roots[0], &tree);
    for (uint64_t at = 0, count = 1; at < LEAVES; at += count, count = count % 700 + 1) {
        struct tree before = tree;
        if (count > LEAVES - at) count = LEAVES - at;
        write_rows(l, at + count / 2, count - count / 2);
        if (count > 1) write_rows(l, at, count / 2);
        for (uint64_t i = at; i < at + count; i++) {
            struct leaf_row row = row_of(i);
            tree_append(&tree, NULL, &row.leaf);
            tree_root(&roots[i + 1], &tree);
        }
        leaf_rows_add(l, (uint32_t)count, &before);
        struct digest root;
        assert_int_equal(leaf_rows_root(&root, l, at + count), OK);
        assert_true(digest_equal(&root, &roots[at + count]));
    }
    return l;
}

static void assert_row(struct leaf_rows *l, uint64_t index)
{
    struct leaf_row got, row = row_of(index);
    assert_int_equal(leaf_rows_get(&got, l, index), OK);
    assert_true(digest_equal(&got.leaf, &row.leaf) && digest_equal(&got.attachment, &row.attachment));
}

static void test_any_order(void **state)
{
    (void)state;
    struct digest *roots = xcalloc(LEAVES + 1, sizeof *roots), root;
    struct leaf_rows *l = filled(roots);
    for (uint64_t i = 0; i < LEAVES; i++) assert_row(l, i);
    for (uint64_t i = LEAVES; i-- > LEAVES - 900;) assert_row(l, i);
    for (uint64_t i = 0; i < 500; i++) assert_row(l, i * 7919 % LEAVES);
    for (uint64_t size = 0; size <= LEAVES; size += size < 300 || size > LEAVES - 300 ? 1 : 613) {
        assert_int_equal(leaf_rows_root(&root, l, size), OK);
        assert_true(digest_equal(&root, &roots[size]));
    }
    leaf_rows_close(l);
    free(roots);
}

/* Rows that should be there, and are not in the file. */
static void test_missing(void **state)
{
    (void)state;
    struct leaf_rows *l;
    struct leaf_row row;
    struct digest root;
    struct tree tree = {.size = 0};
    assert_int_equal(leaf_rows_open(&l, NULL), OK);
    leaf_rows_add(l, 3, &tree);
    assert_int_equal(leaf_rows_get(&row, l, 0), ERR_TRUNCATED);
    assert_int_equal(leaf_rows_root(&root, l, 2), ERR_TRUNCATED);
    write_rows(l, 0, 3);
    assert_row(l, 2);
    leaf_rows_close(l);
    leaf_rows_close(NULL);
}

static void test_no_folder(void **state)
{
    (void)state;
    struct leaf_rows *l;
    struct failure failure = {0};
    setenv("TMPDIR", "/nowhere/at/all", 1);
    assert_int_equal(leaf_rows_open(&l, &failure), ERR_IO);
    assert_non_null(strstr(failure.text, "TMPDIR"));
    unsetenv("TMPDIR");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_any_order), cmocka_unit_test(test_missing),
                                       cmocka_unit_test(test_no_folder)};
    return cmocka_run_group_tests_name("cli/leaf_rows", tests, NULL, NULL);
}
