/* Exported rows: CSV as RFC 4180 and spreadsheets want it, and what a row says of an entry. */
#include "tests/lib/unit.h"

#include <fcntl.h>
#include <jansson.h>
#include <string.h>
#include <unistd.h>

#include "cli/export_rows.h"
#include "ledger/leaf.h"
#include "ledger/proof.h"
#include "tests/lib/folder.h"
#include "tests/lib/ledger_kit.h"
#include "tests/lib/samples.h"

static void fields_are_quoted_where_they_must(void **state)
{
    (void)state;
    static const struct { const char *text, *field; } rows[] = {
        {"", ""}, {"plain", "plain"}, {"two words", "two words"}, {"a,b", "\"a,b\""},
        {"say \"x\"", "\"say \"\"x\"\"\""},
        {"two\nlines", "\"two\nlines\""}, {"\r", "\"'\r\""}, {"\xc3\xa4", "\xc3\xa4"}, {"'x", "'x"},
        {"=HYPERLINK(\"http://x\")", "\"'=HYPERLINK(\"\"http://x\"\")\""}, {"+1", "\"'+1\""}, {"-1", "\"'-1\""},
        {"@SUM(A1)", "\"'@SUM(A1)\""}, {"\tx", "\"'\tx\""}, {"a=b", "a=b"}, {"7-8", "7-8"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct buffer out = {0};
        csv_field(&out, bytes_text(rows[i].text));
        buffer_append(&out, "", 1);
        assert_string_equal((char *)out.data, rows[i].field);
        buffer_free(&out);
    }
}

static json_t *row_of(struct kit *kit, uint64_t index, struct buffer *csv)
{
    struct buffer leaf = {0}, line = {0};
    struct digest hash;
    assert_int_equal(proof_leaf(&leaf, kit->txn, index), OK);
    leaf_hash(&hash, buffer_bytes(&leaf));
    assert_int_equal(row_format_leaf(&line, ROWS_NDJSON, buffer_bytes(&leaf), &hash), OK);
    buffer_clear(csv);
    assert_int_equal(row_format_leaf(csv, ROWS_CSV, buffer_bytes(&leaf), &hash), OK);
    buffer_append(csv, "", 1);
    assert_int_equal(line.data[line.size - 1], '\n');
    assert_null(memchr(line.data, '\n', line.size - 1)); /* one line */
    json_t *row = json_loadb((char *)line.data, line.size, 0, NULL);
    assert_non_null(row);
    char hex[65];
    hex_format(hex, hash.bytes, 32);
    assert_string_equal(json_string_value(json_object_get(row, "hash")), hex);
    buffer_free(&leaf);
    buffer_free(&line);
    return row;
}

static const char *value(const json_t *row, const char *key) { return json_string_value(json_object_get(row, key)); }

static void a_row_says_what_the_entry_proves(void **state)
{
    (void)state;
    struct kit kit;
    struct buffer csv = {0};
    kit_open(&kit, 4, 1, kit_default_policy());
    struct kit_actor doctor = kit_add_user(&kit, 10, "doctor", "Mercy", "Gregory House");
    kit_add_user(&kit, 11, "patient", "Mercy", "a patient");
    struct arguments args = {.action = ACTION_EVENT_ADD, .event_add = {.patient = sample_id(11),
                             .what = bytes_text("bill.print"), .object = bytes_text("=cmd()")}};
    const struct ledger_result *result = kit_do(&kit, &doctor, &args, bytes_text("a note"));
    uint64_t index = result->leaf_index;
    char id[ID_TEXT_SIZE];
    json_t *row = row_of(&kit, index, &csv);
    id_format(id, &doctor.actor.id);
    assert_string_equal(value(row, "actor"), id);
    assert_string_equal(value(row, "action"), "event.add");
    assert_string_equal(value(row, "object"), "bill.print =cmd()");
    assert_int_equal(json_integer_value(json_object_get(row, "index")), index);
    assert_null(json_object_get(row, "note")); /* an attachment, which can be erased */
    assert_null(json_object_get(row, "role"));
    assert_int_equal(json_object_size(row), 12);
    assert_non_null(strstr((char *)csv.data, ",event.add,30,bill.print =cmd(),"));
    assert_non_null(strstr((char *)csv.data, "\r\n"));
    json_decref(row);
    row = row_of(&kit, 0, &csv);
    assert_string_equal(value(row, "action"), "genesis");
    assert_string_equal(value(row, "decision"), "approved");
    json_decref(row);
    for (uint64_t i = 0; i <= index; i++) json_decref(row_of(&kit, i, &csv));
    buffer_free(&csv);
    kit_close(&kit);
}

static void what_is_no_entry_is_no_row(void **state)
{
    (void)state;
    struct buffer out = {0};
    struct digest hash = {{0}};
    assert_int_not_equal(row_format_leaf(&out, ROWS_CSV, bytes_text("x"), &hash), OK);
    assert_int_equal(out.size, 0);
    row_format_head(&out, ROWS_NDJSON);
    assert_int_equal(out.size, 0);
    row_format_head(&out, ROWS_CSV);
    buffer_append(&out, "", 1);
    assert_string_equal((char *)out.data, "index,time,actor_kind,actor,patient,action,action_number,object,decision,"
                                          "reason,reason_number,hash\r\n");
    buffer_free(&out);
}

/* Where no file can be made, standard output stays open: what is wrong may be told there, and another file would get
 * its number. */
static void a_file_that_is_there_stays_and_closes_nothing(void **state)
{
    (void)state;
    struct row_writer w;
    char path[FOLDER_PATH];
    folder_store(test_folder, "rows.csv", bytes_text("mine"));
    folder_join(path, test_folder, "rows.csv");
    int kept = dup(STDOUT_FILENO);
    fflush(stdout);
    assert_int_equal(row_writer_open(&w, path, ROWS_CSV, NULL), ERR_EXISTS);
    row_writer_free(&w);
    bool open = fcntl(STDOUT_FILENO, F_GETFD) >= 0;
    dup2(kept, STDOUT_FILENO);
    close(kept);
    assert_true(open);
    struct buffer there = folder_load(test_folder, "rows.csv");
    assert_true(bytes_equal(buffer_bytes(&there), bytes_text("mine")));
    buffer_free(&there);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_are_quoted_where_they_must),
        cmocka_unit_test(a_row_says_what_the_entry_proves),
        cmocka_unit_test(what_is_no_entry_is_no_row),
        cmocka_unit_test_setup_teardown(a_file_that_is_there_stays_and_closes_nothing, folder_setup, folder_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
