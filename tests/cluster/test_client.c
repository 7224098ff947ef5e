/* What programs and people get from the client: pages with their ends, files that are not written over, hints that
 * fit, a receipt of each command that makes an entry, a bar on a terminal, a report that programs can rely on. */
#include <fcntl.h>
#include <jansson.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/testbed.h"
#include "tests/lib/unit.h"

#define EVENTS 7

static struct testbed bed;
static char doctor[ID_TEXT_SIZE], patient[ID_TEXT_SIZE], auditor[ID_TEXT_SIZE], chief[ID_TEXT_SIZE], record[ID_TEXT_SIZE];
static struct buffer out, errors;

static const char *text(void) { return out.data ? (const char *)out.data : ""; }
static const char *said(void) { return errors.data ? (const char *)errors.data : ""; }

static int setup(void **state)
{
    (void)state;
    testbed_make(&bed, 4, 1);
    testbed_start_all(&bed);
    testbed_wait_ready(&bed, 60);
    testbed_care(&bed, doctor, patient);
    testbed_user(&bed, "auditor", "Hospital 1", "auditor", auditor);
    testbed_user(&bed, "admin", "Hospital 1", "chief", chief);
    testbed_record(&bed, record, patient, "the first words");
    for (int i = 0; i < EVENTS; i++)
        testbed_expect(&bed, 0, &out, "-i %s/doctor.key event add %s bill.print B-%d", bed.dir, patient, i);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    testbed_end(&bed);
    buffer_free(&out);
    buffer_free(&errors);
    return 0;
}

/* --- pages --- */

/* The rows of the answer, NULL when it is no array. */
static json_t *answer_rows(void)
{
    json_t *rows = json_loadb((const char *)out.data, out.size, 0, NULL);
    if (!json_is_array(rows)) testbed_fail(&bed, "no array of rows:\n%s%s", text(), said());
    return rows;
}

/* Takes the mark off the rows: how to go on, or "". */
static void take_next(char next[static 300], json_t *rows)
{
    size_t last = json_array_size(rows) - 1;
    const char *hex = json_array_size(rows) ? json_string_value(json_object_get(json_array_get(rows, last), "next")) : NULL;
    snprintf(next, 300, "%s", hex ? hex : "");
    if (hex) json_array_remove(rows, last);
}

/* Page by page it is what it is at once, by what is on standard output alone. */
static void pages_are_the_whole(const char *key, const char *words, size_t least)
{
    char next[300] = "", from[320] = "";
    testbed_expect(&bed, 0, &out, "%s", words);
    json_t *whole = answer_rows();
    take_next(next, whole);
    assert_string_equal(next, "");
    size_t count = json_array_size(whole), at = 0;
    assert_true(count >= least);
    do {
        if (testbed_cli(&bed, &out, &errors, "%s --limit 2%s", words, from) != 0) testbed_fail(&bed, "%s: %s", words, said());
        assert_null(strstr(said(), "--cursor")); /* programs are told once */
        json_t *page = answer_rows(), *row;
        size_t i;
        take_next(next, page);
        json_array_foreach(page, i, row) {
            if (at == count) testbed_fail(&bed, "%s: more rows than there are", words);
            json_t *expected = json_array_get(whole, at++);
            assert_true(json_equal(json_object_get(row, key), json_object_get(expected, key)));
        }
        json_decref(page);
        snprintf(from, sizeof from, " --cursor %s", next);
    } while (*next);
    assert_int_equal(at, count);
    json_decref(whole);
}

static void pages_say_how_to_go_on(void **state)
{
    (void)state;
    char words[600];
    snprintf(words, sizeof words, "-i %s/auditor.key --json log --all --action event.add", bed.dir);
    pages_are_the_whole("index", words, EVENTS);
    for (int i = 0; i < 3; i++) testbed_record(&bed, record, patient, "more words");
    snprintf(words, sizeof words, "-i %s/doctor.key --json record list %s", bed.dir, patient);
    pages_are_the_whole("record", words, 4);
    snprintf(words, sizeof words, "-i %s/doctor.key --json record show --patient %s", bed.dir, patient);
    pages_are_the_whole("record", words, 4);
    snprintf(words, sizeof words, "-i %s --json user search", bed.admin);
    pages_are_the_whole("id", words, 3);
    /* For people it stands on standard error, as before. */
    assert_int_equal(testbed_cli(&bed, &out, &errors, "-i %s/auditor.key log --all --limit 1", bed.dir), 0);
    assert_non_null(strstr(said(), "there is more: add --cursor "));
    assert_null(strstr(text(), "next"));
}

/* --- files --- */

static void content_is(const char *name, const char *expected)
{
    char path[400], content[200] = "";
    snprintf(path, sizeof path, "%s/%s", bed.dir, name);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    size_t size = fread(content, 1, sizeof content - 1, f);
    content[size] = '\0';
    fclose(f);
    assert_string_equal(content, expected);
}

static unsigned reads(void)
{
    unsigned count = 0;
    testbed_expect(&bed, 0, &out, "-i %s/auditor.key --json log --all --action record.read", bed.dir);
    for (const char *at = text(); (at = strstr(at, "\"index\"")); at++) count++;
    return count;
}

static void a_file_is_not_written_over(void **state)
{
    (void)state;
    testbed_record(&bed, record, patient, "words to keep");
    testbed_expect(&bed, 0, &out, "-i %s/doctor.key record show %s -o %s/shown", bed.dir, record, bed.dir);
    content_is("shown", "words to keep");
    char path[400];
    snprintf(path, sizeof path, "%s/mine", bed.dir);
    FILE *f = fopen(path, "w");
    assert_true(f && fputs("something else", f) >= 0 && fclose(f) == 0);
    unsigned before = reads();
    assert_int_equal(testbed_cli(&bed, &out, &errors, "-i %s/doctor.key record show %s -o %s/mine", bed.dir, record, bed.dir), 1);
    assert_non_null(strstr(said(), "exists already"));
    assert_non_null(strstr(said(), "--force"));
    content_is("mine", "something else");
    assert_int_equal(reads(), before); /* no access was made for nothing */
    testbed_expect(&bed, 0, &out, "-i %s/doctor.key record show %s -o %s/mine --force", bed.dir, record, bed.dir);
    content_is("mine", "words to keep");
    testbed_expect(&bed, 0, &out, "-i %s/doctor.key record show --patient %s -o %s/chart", bed.dir, patient, bed.dir);
    testbed_expect(&bed, 1, &out, "-i %s/doctor.key record show --patient %s -o %s/chart", bed.dir, patient, bed.dir);
    testbed_expect(&bed, 0, &out, "-i %s/doctor.key record show --patient %s -o %s/chart --force", bed.dir, patient, bed.dir);
    testbed_expect(&bed, 0, &out, "-i %s/doctor.key record show %s -o /dev/null", bed.dir, record);
}

static void hint_is(int code, const char *hint, const char *words)
{
    int got = testbed_cli(&bed, &out, &errors, "%s", words);
    if (got != code || !strstr(said(), hint)) testbed_fail(&bed, "%s: exit %d, expected %d with '%s':\n%s", words, got, code, hint, said());
}

static void hints_fit(void **state)
{
    (void)state;
    char words[600];
    hint_is(1, "next: check the path", "receipt verify /no/such/file");
    hint_is(1, "next: check the path", "evidence verify /no/such/file");
    hint_is(1, "next: check the path", "export verify /no/such/folder");
    hint_is(1, "next: check the path", "genesis show /no/such/file");
    snprintf(words, sizeof words, "-i %s/doctor.key record create --patient %s -k note /no/such/file", bed.dir, patient);
    hint_is(1, "next: check the path", words);
    snprintf(words, sizeof words, "-i %s/doctor.key record show %s -o /no/such/folder/file", bed.dir, record);
    hint_is(1, "next: check the path", words);
    snprintf(words, sizeof words, "-i %s/doctor.key user show nobody", bed.dir);
    hint_is(1, "next: check the name or id", words);
    hint_is(4, "make one with", "-i /no/such/key whoami");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pages_say_how_to_go_on),
        cmocka_unit_test(a_file_is_not_written_over),
        cmocka_unit_test(hints_fit),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
