/* The file form of receipts, against the example and the rules of c2sp.org/tlog-proof. */
#include "ledger/tlog_proof.h"

#include <stdio.h>
#include <stdlib.h>

#include "tests/lib/dies.h"
#include "tests/lib/mutate.h"
#include "tests/lib/recode.h"
#include "tests/lib/samples.h"
#include "tests/lib/unit.h"

#define HASH_A "gSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ="
#define HASH_B "B95lDa8R83lS8n0eG+o0buTxRKQTYFi//1U8anccXmA="
#define NOTE "example.com/fancylog\n109482\nsFodV/vSp5O8n9a8QpW6PRY97tfOSW5bsc2Xl/EQi08=\n\nsignatures\n"
#define EXTRA "extra YWdlLXYxLjIuMS1kYXJ3aW4tYXJtNjQudGFyLmd6\n"
#define FIRST "c2sp.org/tlog-proof@v1\n"

static struct buffer extra;
static struct tlog_proof proof;
static struct failure why;

static enum err parse(const char *text)
{
    why = (struct failure){0};
    return tlog_proof_parse(&proof, &extra, bytes_text(text), &why);
}

static void test_the_published_form(void **state)
{
    (void)state;
    struct buffer out = {0};
    const char *text = FIRST EXTRA "index 73894\n" HASH_A "\n" HASH_B "\n\n" NOTE;
    assert_int_equal(parse(text), OK);
    assert_true(proof.has_extra);
    assert_true(bytes_equal(proof.extra, bytes_text("age-v1.2.1-darwin-arm64.tar.gz")));
    assert_int_equal(proof.index, 73894);
    assert_int_equal(proof.path.count, 2);
    assert_int_equal(proof.path.hashes[0].bytes[0], 0x81);
    assert_int_equal(proof.path.hashes[1].bytes[0], 0x07);
    assert_true(bytes_equal(proof.note, bytes_text(NOTE)));
    tlog_proof_format(&out, &proof);
    assert_true(bytes_equal(buffer_bytes(&out), bytes_text(text)));
    buffer_free(&out);

    assert_int_equal(parse(FIRST "index 0\n\n" NOTE), OK); /* the only entry, and nothing beside */
    assert_false(proof.has_extra);
    assert_int_equal(proof.extra.size, 0);
    assert_int_equal(proof.path.count, 0);
    assert_int_equal(parse(FIRST "index 9223372036854775806\n\n" NOTE), OK);
}

static void test_what_is_refused(void **state)
{
    (void)state;
    static const struct { const char *text; unsigned line; } rows[] = {
        {"", 1},
        {"c2sp.org/tlog-proof@v1", 1},
        {"c2sp.org/tlog-proof@v2\nindex 0\n\n" NOTE, 1},
        {"c2sp.org/tlog-proof@v1\r\nindex 0\n\n" NOTE, 1},
        {FIRST, 2},
        {FIRST "\n" NOTE, 2},
        {FIRST "extra \nindex 0\n\n" NOTE, 2},
        {FIRST "extra YQ\nindex 0\n\n" NOTE, 2},
        {FIRST "extra YR==\nindex 0\n\n" NOTE, 2}, /* bits that are not used are not zero */
        {FIRST EXTRA, 3},
        {FIRST EXTRA EXTRA "index 0\n\n" NOTE, 3},
        {FIRST "index \n\n" NOTE, 2},
        {FIRST "index 00\n\n" NOTE, 2},
        {FIRST "index 01\n\n" NOTE, 2},
        {FIRST "index -1\n\n" NOTE, 2},
        {FIRST "index +1\n\n" NOTE, 2},
        {FIRST "index 1 \n\n" NOTE, 2},
        {FIRST "index 0x1\n\n" NOTE, 2},
        {FIRST "index 9223372036854775807\n\n" NOTE, 2},
        {FIRST "index 18446744073709551616\n\n" NOTE, 2},
        {FIRST "index 1\n" HASH_A "\n" NOTE, 4},     /* no empty line */
        {FIRST "index 1\n" HASH_A " \n\n" NOTE, 3},
        {FIRST "index 1\nYQ==\n\n" NOTE, 3},
        {FIRST "index 1\n" HASH_A "\n", 4},
        {FIRST "index 1\n" HASH_A "\n\n", 5},
        {FIRST "index 1\n\n", 4},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char line[20];
        snprintf(line, sizeof line, "line %u:", rows[i].line);
        if (parse(rows[i].text) != ERR_SYNTAX || strncmp(why.text, line, strlen(line)) != 0)
            fail_msg("%zu: '%s': %s %s, expected %s", i, rows[i].text, err_name(why.code), why.text, line);
    }
}

static void test_limits(void **state)
{
    (void)state;
    struct buffer text = {0};
    for (unsigned count = TREE_LEVELS; count <= TREE_LEVELS + 2; count++) {
        buffer_clear(&text);
        buffer_append_text(&text, FIRST "index 1\n");
        for (unsigned i = 0; i < count; i++) buffer_append_text(&text, HASH_A "\n");
        buffer_append_text(&text, "\n" NOTE);
        enum err e = tlog_proof_parse(&proof, &extra, buffer_bytes(&text), &why);
        assert_int_equal(e, count <= TREE_LEVELS + 1 ? OK : ERR_SYNTAX);
    }
    buffer_clear(&text);
    buffer_append_text(&text, FIRST "index 1\n\n");
    while (text.size < LIMIT_RECEIPT) buffer_append_text(&text, "x");
    assert_int_equal(tlog_proof_parse(&proof, &extra, buffer_bytes(&text), &why), OK);
    buffer_append_text(&text, "x");
    assert_int_equal(tlog_proof_parse(&proof, &extra, buffer_bytes(&text), &why), ERR_TOO_LARGE);
    buffer_free(&text);
}

/* The largest entry there is, with the longest proof and note, fits. */
static void test_the_largest_fits(void **state)
{
    (void)state;
    struct buffer leaf = {0}, note = {0}, out = {0};
    assert_non_null(buffer_extend(&leaf, LIMIT_LEAF_0));
    memset(leaf.data, 'x', leaf.size);
    assert_non_null(buffer_extend(&note, LIMIT_CHECKPOINT_NOTE));
    memset(note.data, 'n', note.size);
    struct tlog_proof most = {.has_extra = true, .extra = buffer_bytes(&leaf), .index = TREE_SIZE_MAX - 1,
                              .path = {.count = TREE_LEVELS + 1}, .note = buffer_bytes(&note)};
    tlog_proof_format(&out, &most);
    assert_int_equal(tlog_proof_parse(&proof, &extra, buffer_bytes(&out), &why), OK);
    assert_true(bytes_equal(proof.extra, most.extra));
    buffer_free(&leaf);
    buffer_free(&note);
    buffer_free(&out);
}

static void format_without_note(void)
{
    struct buffer out = {0};
    tlog_proof_format(&out, &(struct tlog_proof){.index = 1});
}

static void test_misuse(void **state)
{
    (void)state;
    assert_true(dies(format_without_note));
}

static void test_mutants(void **state)
{
    (void)state;
    struct mutants m = mutate(recode_tlog_proof, bytes_text(FIRST EXTRA "index 73894\n" HASH_A "\n\nnote\n"));
    assert_true(m.tried > 10000);
}

static int teardown(void **state)
{
    (void)state;
    buffer_free(&extra);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_published_form), cmocka_unit_test(test_what_is_refused),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_the_largest_fits),   cmocka_unit_test(test_mutants),
        cmocka_unit_test(test_misuse),
    };
    return cmocka_run_group_tests(tests, NULL, teardown);
}
