/* Text from others does no harm at a terminal; values, tables, exit codes. */
#include "cli/output.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "ledger/action.h"
#include "tests/lib/unit.h"

static void assert_clean(const char *in, size_t size, bool lines, const char *expected)
{
    struct buffer out = {0};
    text_clean(&out, bytes_of(in, size), lines);
    buffer_append(&out, "", 1);
    assert_string_equal((const char *)out.data, expected);
    buffer_free(&out);
}
#define CLEAN(in, lines, expected) assert_clean(in, sizeof(in) - 1, lines, expected)

static void test_clean(void **state)
{
    (void)state;
    CLEAN("plain", false, "plain");
    CLEAN("J\xc3\xbcrgen \xe6\x97\xa5\xe6\x9c\xac", false, "J\xc3\xbcrgen \xe6\x97\xa5\xe6\x9c\xac");
    CLEAN("\x1b[2J\x1b]0;owned\x07", false, "\\x1b[2J\\x1b]0;owned\\x07");
    CLEAN("\xc2\x9b" "31m", false, "\\x9b31m");                             /* CSI as one C1 character */
    CLEAN("a\xe2\x80\xae" "b", false, "a\\u{202e}b");                          /* right-to-left override */
    CLEAN("a\xe2\x81\xa6" "b", false, "a\\u{2066}b");                          /* isolate */
    CLEAN("\xef\xbb\xbf" "x", false, "\\u{feff}x");                            /* byte order mark */
    CLEAN("\xe2\x80\xa8" "x", false, "\\u{2028}x");                            /* line separator */
    CLEAN("\xf3\xa0\x81\x81", false, "\\u{e0041}");                           /* tag character */
    CLEAN("\xe0\xa4\x95\xe2\x80\x8d", false, "\xe0\xa4\x95\xe2\x80\x8d");  /* a joiner belongs to words */
    CLEAN("\xff\xfe", false, "\\xff\\xfe");
    CLEAN("\xed\xa0\x80", false, "\\xed\\xa0\\x80"); /* a surrogate is no UTF-8 */
    CLEAN("\xc3", false, "\\xc3");                     /* cut */
    CLEAN("a\nb\tc\r", false, "a b c\\x0d");
    CLEAN("a\nb\tc\r", true, "a\nb\tc\\x0d");
    CLEAN("\0", false, "\\x00");
    CLEAN("\x7f", true, "\\x7f");
}

static void test_json_text(void **state)
{
    (void)state;
    json_t *good = json_text(bytes_text("\x1b[31mred")), *bad = json_text(bytes_of("\xff", 1));
    assert_string_equal(json_string_value(good), "\x1b[31mred"); /* JSON escapes it itself, without loss */
    assert_string_equal(json_string_value(bad), "\\xff");
    json_decref(good);
    json_decref(bad);
    struct id zero = {{0}};
    json_t *none = json_id(&zero);
    assert_true(json_is_null(none));
    json_decref(none);
}

/* --- what is printed --- */

/* Standard output and error of `call` go to temporary files, and come back as text. */
static char printed[2][8192];

static void capture(void (*call)(struct output *o), bool json)
{
    FILE *files[2] = {tmpfile(), tmpfile()};
    int kept[2] = {dup(1), dup(2)};
    struct output o;
    fflush(NULL);
    for (int i = 0; i < 2; i++)
        dup2(fileno(files[i]), i + 1);
    output_setup(&o, json);
    call(&o);
    fflush(NULL);
    for (int i = 0; i < 2; i++) {
        dup2(kept[i], i + 1);
        close(kept[i]);
        rewind(files[i]);
        size_t n = fread(printed[i], 1, sizeof printed[i] - 1, files[i]);
        printed[i][n] = '\0';
        fclose(files[i]);
    }
}

static json_t *two_rows(void)
{
    return json_pack("[{s:s, s:i, s:b}, {s:s, s:i, s:b, s:s}]", "name", "\x1b[31mevil", "count", 5, "yes", 1, "name",
                     "b", "count", 12345, "yes", 0, "other", "x");
}

static const struct column columns[] = {{"name", "NAME", COLUMN_TEXT}, {"count", "COUNT", COLUMN_NUMBER},
                                        {"yes", "YES", COLUMN_YES}, {"missing", "MISSING", COLUMN_TEXT}};

static void print_rows(struct output *o) { output_rows(o, columns, 4, two_rows(), "nothing"); }
static void print_none(struct output *o) { output_rows(o, columns, 4, json_array(), "nothing at all"); }
static void print_fields(struct output *o)
{
    output_fields(o, columns, 4, json_pack("{s:s, s:i}", "name", "x", "count", 3));
}

static void print_text(struct output *o)
{
    (void)o;
    output_text(bytes_text("a\nb\x1b"), false);
    output_text(bytes_text("\na\nb\r"), true);
}

static void test_text(void **state)
{
    (void)state;
    capture(print_text, false);
    assert_string_equal(printed[0], "a b\\x1b\na\nb\\x0d");
}

static void test_tables(void **state)
{
    (void)state;
    capture(print_rows, false);
    assert_non_null(strstr(printed[0], "NAME"));
    assert_non_null(strstr(printed[0], "\\x1b[31mevil"));
    assert_null(strchr(printed[0], '\x1b'));
    assert_non_null(strstr(printed[0], "12345 -"));
    assert_string_equal(printed[1], "");
    capture(print_rows, true);
    json_t *back = json_loads(printed[0], 0, NULL);
    assert_int_equal(json_array_size(back), 2);
    assert_string_equal(json_string_value(json_object_get(json_array_get(back, 0), "name")), "\x1b[31mevil");
    assert_null(strchr(printed[0], '\x1b'));
    json_decref(back);
    capture(print_none, false);
    assert_string_equal(printed[0], "");
    assert_string_equal(printed[1], "consilium: nothing at all\n");
    capture(print_none, true);
    assert_string_equal(printed[0], "[]\n");
    capture(print_fields, false);
    assert_string_equal(printed[0], "NAME     x\nCOUNT    3\nYES      -\n");
}

static void print_followed(struct output *o)
{
    static const struct column two[] = {{"a", "A", COLUMN_TEXT}, {"b", "B", COLUMN_TEXT}};
    output_rows(o, two, 2, json_pack("[{s:s, s:s}]", "a", "a longer one", "b", "x"), NULL);
    output_more_rows(o, two, 2, json_pack("[{s:s, s:s}]", "a", "short", "b", "y"));
    output_more_rows(o, two, 2, json_array());
}

static void test_rows_that_follow(void **state)
{
    (void)state;
    capture(print_followed, false);
    assert_string_equal(printed[0], "A            B\na longer one x\nshort        y\n");
    capture(print_followed, true);
    assert_non_null(strstr(printed[0], "{\"a\":\"short\",\"b\":\"y\"}\n"));
}

/* A row goes on below where it doesn't fit; nothing is cut, blanks end no line, and a blank line is left out. */
static void print_sparse(struct output *o)
{
    static const struct column three[] = {{"n", "N", COLUMN_NUMBER}, {"id", "ID", COLUMN_TEXT},
                                          {"why", "WHY", COLUMN_TEXT}};
    output_rows(o, three, 3, json_pack("[{s:i, s:s}, {s:i, s:s, s:s}]", "n", 7, "id", "\u00e4bcdefgh", "n", 12, "id",
                                       "x",
                                       "why", "because"), NULL);
}

static void test_narrow(void **state)
{
    (void)state;
    setenv("COLUMNS", "20", 1);
    capture(print_rows, false);
    assert_string_equal(printed[0], "NAME         COUNT\n    YES MISSING\n\\x1b[31mevil     5\n    yes\n"
                                    "b            12345\n    -\n");
    setenv("COLUMNS", "1", 1);
    capture(print_followed, false);
    assert_string_equal(printed[0], "A\n    B\na longer one\n    x\nshort\n    y\n");
    setenv("COLUMNS", "18", 1);
    capture(print_sparse, false);
    assert_string_equal(printed[0], " N ID\n   WHY\n 7 \u00e4bcdefgh\n12 x\n   because\n");
    setenv("COLUMNS", "19", 1); /* fits just so */
    capture(print_sparse, false);
    assert_non_null(strstr(printed[0], "because\n"));
    assert_null(strstr(printed[0], "\n   "));
    setenv("COLUMNS", "none", 1);
    capture(print_rows, false);
    assert_non_null(strstr(printed[0], "COUNT YES"));
    unsetenv("COLUMNS");
}

/* The good words of all tables; what isn't one of them is for a person to look at. */
static void print_verdicts(struct output *o)
{
    static const struct column two[] = {{"a", "A", COLUMN_VERDICT}, {"b", "B", COLUMN_VERDICT}};
    o->colors = true;
    output_rows(o, two, 2, json_pack("[{s:s, s:s}, {s:s, s:s}, {s:s, s:s}, {s:s, s:s}, {s:s}]", "a", "equal", "b",
                                     "DIFFERS", "a", "ready", "b", "unreachable", "a", "verified", "b", "COMPROMISED",
                                     "a", "active", "b", "disabled", "a", "approved"), NULL);
}

static void test_colors_of_verdicts(void **state)
{
    (void)state;
    static const char *const good[] = {"equal", "ready", "verified", "active", "approved"};
    static const char *const bad[] = {"DIFFERS", "unreachable", "COMPROMISED", "disabled"};
    char words[64];
    setenv("COLUMNS", "1", 1); /* folded: the colors are our own */
    capture(print_verdicts, false);
    unsetenv("COLUMNS");
    for (size_t i = 0; i < 9; i++) {
        snprintf(words, sizeof words, "\x1b[%dm%s\x1b[0m", i < 5 ? 32 : 31, i < 5 ? good[i] : bad[i - 5]);
        assert_non_null(strstr(printed[0], words));
    }
}

static int exit_code;
static void print_failure(struct output *o)
{
    struct failure f = {0};
    fail(&f, ERR_CONFLICT, "it \x1b[2J changed");
    exit_code = output_failure(o, &f);
}

static void test_failures(void **state)
{
    (void)state;
    capture(print_failure, false);
    assert_int_equal(exit_code, EXIT_CONFLICT);
    assert_string_equal(printed[0], "");
    assert_string_equal(printed[1],
                        "consilium: it \\x1b[2J changed\nWhat to do: show the latest version, then try again.\n");
    capture(print_failure, true);
    json_t *back = json_loads(printed[1], 0, NULL);
    assert_string_equal(json_string_value(json_object_get(back, "error")), "ERR_CONFLICT");
    json_decref(back);
}

static void print_lines_of_a_node(struct output *o)
{
    struct failure f = {0};
    fail(&f, ERR_BUSY, "node-2: %s", "wait\nconsilium: WARNING: COMPROMISED: node-1");
    output_message(o, "%s; asking another node", f.text);
    output_failure(o, &f);
}

/* Each line of ours begins with our name: a node's text can't make one up. */
static void test_a_node_makes_up_no_line(void **state)
{
    (void)state;
    capture(print_lines_of_a_node, false);
    assert_null(strstr(printed[1], "\nconsilium: WARNING"));
    assert_non_null(strstr(printed[1], "consilium: node-2: wait consilium: WARNING: COMPROMISED: node-1; asking"));
}

static void test_exit_codes(void **state)
{
    (void)state;
    assert_int_equal(exit_code_of(OK), 0);
    assert_int_equal(exit_code_of(ERR_IO), 1);
    assert_int_equal(exit_code_of(ERR_USAGE), 2);
    assert_int_equal(exit_code_of(ERR_DENIED), 3);
    assert_int_equal(exit_code_of(ERR_PASSPHRASE), 4);
    assert_int_equal(exit_code_of(ERR_NO_KEY), 4);
    assert_int_equal(exit_code_of(ERR_NO_QUORUM), 5);
    assert_int_equal(exit_code_of(ERR_NOT_WITNESSED), 5);
    assert_int_equal(exit_code_of(ERR_UNREACHABLE), 5);
    assert_int_equal(exit_code_of(ERR_QUARANTINED), 5);
    assert_int_equal(exit_code_of(ERR_TOO_MANY_CONNECTIONS), 5);
    assert_int_equal(exit_code_of(ERR_BAD_PROOF), 6);
    assert_int_equal(exit_code_of(ERR_TOO_FEW_COSIGNATURES), 6);
    assert_int_equal(exit_code_of(ERR_OTHER_CLUSTER), 6);
    assert_int_equal(exit_code_of(ERR_CONFLICT), 7);
    assert_int_equal(exit_code_of(ERR_TAKEN), 7);
    assert_int_equal(exit_code_of(ERR_UNCHANGED), 7);
    assert_int_equal(exit_code_of(ERR_NOT_FOUND), 7); /* in the ledger; of files it is ... */
    assert_int_equal(exit_code_of(ERR_NO_FILE), 1);
    assert_int_equal(exit_code_of(ERR_EXISTS), 1);
    assert_int_equal(exit_code_of((enum err)9999), 1);
    assert_int_equal(err_of_reason(REASON_SCOPE), ERR_DENIED);
    assert_int_equal(err_of_reason(REASON_CONFLICT), ERR_CONFLICT);
    assert_int_equal(err_of_reason(REASON_UNKNOWN_RECORD), ERR_NOT_FOUND);
    assert_int_equal(err_of_reason(REASON_UNKNOWN_ALARM), ERR_NOT_FOUND);
    assert_int_equal(err_of_reason(REASON_NOT_A_PATIENT), ERR_NOT_FOUND); /* there is no such patient */
    assert_int_equal(err_of_reason(REASON_LOGIN_TAKEN), ERR_TAKEN);
    assert_int_equal(err_of_reason(60000), ERR_DENIED);
}

int main(void)
{
    setenv("TZ", "UTC", 1);
    unsetenv("COLUMNS");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clean),    cmocka_unit_test(test_json_text), cmocka_unit_test(test_text),
        cmocka_unit_test(test_tables),
        cmocka_unit_test(test_rows_that_follow), cmocka_unit_test(test_failures), cmocka_unit_test(test_exit_codes),
        cmocka_unit_test(test_narrow),   cmocka_unit_test(test_colors_of_verdicts),
        cmocka_unit_test(test_a_node_makes_up_no_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
