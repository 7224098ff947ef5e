/* The private copy of leaves: read back in any order, roots of any size, and a file that somebody changed. */
#include "tests/lib/unit.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/check.h"
#include "base/limits.h"
#include "cli/leaf_copy.h"

#define LEAVES 20000u

static void leaf_of(struct buffer *out, uint64_t index)
{
    uint8_t bytes[8];
    buffer_clear(out);
    put_be64(bytes, index * UINT64_C(0x9e3779b97f4a7c15));
    for (uint64_t i = 0; i <= index % 13; i++) buffer_append(out, bytes, 1 + (index + i) % 8);
}

/* Chunks of 1, 2, 3 ... leaves, the trees' roots at each size in `roots`. */
static struct leaf_copy *filled(struct digest *roots)
{
    struct leaf_copy *c;
    struct buffer chunk = {0}, room = {0}, leaf = {0};
    struct tree tree = {.size = 0};
    assert_int_equal(leaf_copy_open(&c, NULL), OK);
    tree_root(&roots[0], &tree);
    for (uint64_t at = 0, count = 1; at < LEAVES; at += count, count = count % 700 + 1) {
        struct leaf_place place;
        struct tree before = tree;
        if (count > LEAVES - at) count = LEAVES - at;
        buffer_clear(&chunk);
        for (uint64_t i = at; i < at + count; i++) {
            struct digest hash;
            leaf_of(&leaf, i);
            leaf_chunk_append(&chunk, buffer_bytes(&leaf));
            tree_leaf_hash(&hash, buffer_bytes(&leaf));
            tree_append(&tree, NULL, &hash);
            tree_root(&roots[i + 1], &tree);
        }
        assert_int_equal(leaf_copy_write(c, &place, &room, buffer_bytes(&chunk)), OK);
        leaf_copy_add(c, &place, (uint32_t)count, &before);
    }
    buffer_free(&chunk);
    buffer_free(&room);
    buffer_free(&leaf);
    return c;
}

static void assert_leaf(struct leaf_copy *c, uint64_t index)
{
    struct buffer leaf = {0};
    struct bytes got;
    leaf_of(&leaf, index);
    assert_int_equal(leaf_copy_get(&got, c, index), OK);
    assert_true(bytes_equal(got, buffer_bytes(&leaf)));
    buffer_free(&leaf);
}

static void test_any_order(void **state)
{
    (void)state;
    struct digest *roots = xcalloc(LEAVES + 1, sizeof *roots), root;
    struct leaf_copy *c = filled(roots);
    for (uint64_t i = 0; i < LEAVES; i++) assert_leaf(c, i);
    for (uint64_t i = LEAVES; i-- > LEAVES - 900;) assert_leaf(c, i);
    for (uint64_t i = 0; i < 500; i++) assert_leaf(c, i * 7919 % LEAVES);
    for (uint64_t size = 0; size <= LEAVES; size += size < 300 || size > LEAVES - 300 ? 1 : 613) {
        assert_int_equal(leaf_copy_root(&root, c, size), OK);
        assert_true(digest_equal(&root, &roots[size]));
    }
    leaf_copy_close(c);
    free(roots);
}

/* A chunk lies at another place than it was written for, or is altered. */
static void test_altered(void **state)
{
    (void)state;
    struct leaf_copy *c;
    struct buffer chunk = {0}, room = {0};
    struct leaf_place places[2];
    struct tree tree = {.size = 0};
    struct digest hash = {{0}};
    struct bytes leaf;
    assert_int_equal(leaf_copy_open(&c, NULL), OK);
    leaf_chunk_append(&chunk, bytes_text("the one leaf"));
    for (int i = 0; i < 2; i++) assert_int_equal(leaf_copy_write(c, &places[i], &room, buffer_bytes(&chunk)), OK);
    leaf_copy_add(c, &places[0], 1, &tree);
    tree_append(&tree, NULL, &hash);
    leaf_copy_add(c, &(struct leaf_place){places[0].at + 1, places[0].size}, 1, &tree);
    tree_append(&tree, NULL, &hash);
    leaf_copy_add(c, &(struct leaf_place){places[1].at, places[1].size + 5}, 1, &tree); /* beyond the end */
    assert_int_equal(leaf_copy_get(&leaf, c, 0), OK);
    assert_true(bytes_equal(leaf, bytes_text("the one leaf")));
    assert_int_equal(leaf_copy_get(&leaf, c, 1), ERR_CORRUPT);
    assert_int_equal(leaf_copy_get(&leaf, c, 2), ERR_CORRUPT);
    assert_int_equal(leaf_copy_get(&leaf, c, 0), OK);
    buffer_free(&chunk);
    buffer_free(&room);
    leaf_copy_close(c);
}

static void test_no_folder(void **state)
{
    (void)state;
    struct leaf_copy *c;
    struct failure failure = {0};
    setenv("TMPDIR", "/nowhere/at/all", 1);
    assert_int_equal(leaf_copy_open(&c, &failure), ERR_IO);
    assert_non_null(strstr(failure.text, "TMPDIR"));
    unsetenv("TMPDIR");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_any_order), cmocka_unit_test(test_altered),
                                       cmocka_unit_test(test_no_folder)};
    return cmocka_run_group_tests_name("cli/leaf_copy", tests, NULL, NULL);
}
