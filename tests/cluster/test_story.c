/* The main job on four real nodes through the CLI: people, records, what is
 * denied, conflicts, no quorum, and a node that was away or lost its disk. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/lib/bed.h"
#include "tests/lib/unit.h"

static char doctor[ID_TEXT_SIZE], nurse[ID_TEXT_SIZE], patient[ID_TEXT_SIZE], auditor[ID_TEXT_SIZE];

static void create(char id[static ID_TEXT_SIZE], const char *kind, const char *conf, const char *content)
{
    write_file("content", bytes_text(content));
    testbed_expect(&bed, 0, &out, "-i %s/doctor.key --json record create --patient %s --kind %s -c %s %s/content",
                   bed.dir, patient, kind, conf, bed.dir);
    testbed_json(&out, "record", id, ID_TEXT_SIZE);
}

static int setup(void **state)
{
    (void)state;
    testbed_make(&bed, 4, 1);
    bed.extra = "--log-keep-mib 32";
    testbed_start_all(&bed);
    testbed_wait_ready(&bed, 60);
    testbed_care(&bed, doctor, patient);
    testbed_user(&bed, "nurse", "Hospital 1", "nurse", nurse);
    testbed_user(&bed, "auditor", "Hospital 2", "auditor", auditor);
    testbed_expect(&bed, 0, &out, "-i %s/registrar.key team add %s %s", bed.dir, patient, nurse);
    return 0;
}

static void content_comes_back_byte_for_byte(void **state)
{
    (void)state;
    char id[ID_TEXT_SIZE], *content = malloc(300001);
    for (int i = 0; i < 300000; i++)
        content[i] = (char)(1 + (unsigned)i * 7919u % 127u);
    content[300000] = '\0';
    create(id, "note", "N", content);
    for (unsigned node = 1; node <= 4; node++) {
        testbed_expect(&bed, 0, &out, "-i %s/doctor.key --via node-%u record show %s", bed.dir, node, id);
        assert_int_equal(out.size, 300000);
        assert_memory_equal(out.data, content, 300000);
    }
    free(content);
}

/* Through a pipe, bytes that are no text, and back. */
static void standard_input_comes_back(void **state)
{
    (void)state;
    char command[2048], path[400], record[ID_TEXT_SIZE];
    static uint8_t bytes[70000];
    struct buffer created = {0};
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 7919u >> 3);
    snprintf(path, sizeof path, "%s/binary", bed.dir);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, sizeof bytes, f), sizeof bytes);
    assert_int_equal(fclose(f), 0);
    snprintf(command, sizeof command,
             "cat %s | %s/consilium --cluster %s -i %s/doctor.key --json record create --patient %s --kind blob", path,
             build(), bed.genesis, bed.dir, patient);
    f = popen(command, "r");
    assert_non_null(f);
    buffer_extend(&created, 4096);
    created.size = fread(created.data, 1, 4095, f);
    created.data[created.size] = '\0';
    assert_int_equal(pclose(f), 0);
    testbed_json(&created, "record", record, sizeof record);
    testbed_expect(&bed, 0, &out, "-i %s/doctor.key record show %s", bed.dir, record);
    assert_int_equal(out.size, sizeof bytes);
    assert_memory_equal(out.data, bytes, sizeof bytes);
    buffer_free(&created);
}

/* A pipe that broke, or an export that failed, makes no empty record: only who says so gets one. */
static void empty_content_is_refused_unless_meant(void **state)
{
    (void)state;
    char id[ID_TEXT_SIZE];
    write_file("nothing", bytes_text(""));
    const char *const sources[] = {"", "-", "nothing"};
    for (size_t i = 0; i < sizeof sources / sizeof sources[0]; i++) {
        const char *folder = strcmp(sources[i], "nothing") == 0 ? bed.dir : "", *slash = *folder ? "/" : "";
        int code = testbed_cli(&bed, &out, &errors, "-i %s/doctor.key record create --patient %s --kind note %s%s%s",
                               bed.dir, patient, folder, slash, sources[i]);
        assert_int_equal(code, 2);
        assert_non_null(strstr(said(), "is empty; add --empty"));
    }
    testbed_expect(&bed, 0, &out, "-i %s/doctor.key --json record create --patient %s --kind note --empty", bed.dir,
                   patient);
    testbed_json(&out, "record", id, ID_TEXT_SIZE);
    testbed_expect(&bed, 0, &out, "-i %s/doctor.key record show %s", bed.dir, id);
    assert_int_equal(out.size, 0);
    assert_int_equal(testbed_cli(&bed, &out, &errors, "-i %s/doctor.key record update %s --base 1", bed.dir, id), 2);
}

/* A record stays of its kind: vital signs are no note, and don't replace one. */
static void vital_signs_are_no_note(void **state)
{
    (void)state;
    char id[ID_TEXT_SIZE];
    assert_int_equal(testbed_cli(&bed, &out, &errors,
                                 "-i %s/doctor.key record create --patient %s --kind Note --set temperature=38.5",
                                 bed.dir, patient), 2);
    assert_non_null(strstr(said(), "--set makes a record of kind 'Observation', not 'Note': leave out --kind"));
    create(id, "note", "N", "a text that must not be lost");
    assert_int_equal(testbed_cli(&bed, &out, &errors, "-i %s/doctor.key --yes record update %s --set temperature=39",
                                 bed.dir, id), 2);
    assert_non_null(strstr(said(), "not 'note': give its new content as a file"));
    testbed_expect(&bed, 0, &out, "-i %s/doctor.key record show %s", bed.dir, id);
    assert_string_equal(text(), "a text that must not be lost");
    testbed_expect(&bed, 0, &out, "-i %s/doctor.key --json record create --patient %s --kind Bundle --set weight=70 "
                   "--set height=180", bed.dir, patient);
    testbed_json(&out, "record", id, sizeof id);
    assert_int_equal(testbed_cli(&bed, &out, &errors, "-i %s/doctor.key --yes record update %s --set weight=71", bed.dir,
                                 id), 2);
    testbed_expect(&bed, 0, &out, "-i %s/doctor.key --yes record update %s --set weight=71 --set height=180", bed.dir,
                   id);
    testbed_expect(&bed, 0, &out, "-i %s/doctor.key record show %s", bed.dir, id);
    assert_non_null(strstr(text(), "\"resourceType\": \"Bundle\""));
}

static void versions_conflicts_and_history(void **state)
{
    (void)state;
    char id[ID_TEXT_SIZE];
    create(id, "note", "N", "first");
    write_file("second", bytes_text("second"));
    testbed_expect(&bed, 0, &out, "-i %s/doctor.key record update %s --base 1 %s/second", bed.dir, id, bed.dir);
    assert_int_equal(testbed_cli(&bed, &out, &errors, "-i %s/doctor.key record update %s --base 1 %s/content", bed.dir,
                                 id, bed.dir), 7);
    testbed_expect(&bed, 0, &out, "-i %s/doctor.key record show %s", bed.dir, id);
    assert_string_equal(text(), "second");
    testbed_expect(&bed, 0, &out, "-i %s/doctor.key record show %s --version 1", bed.dir, id);
    assert_string_equal(text(), "first");
    testbed_expect(&bed, 0, &out, "-i %s/doctor.key --json record history %s", bed.dir, id);
    assert_non_null(strstr(text(), "\"version\": 2"));
    testbed_expect(&bed, 0, &out, "-i %s/doctor.key --yes record delete %s", bed.dir, id);
    assert_int_not_equal(testbed_cli(&bed, &out, &errors, "-i %s/doctor.key record show %s", bed.dir, id), 0);
}

static void a_nurse_is_denied_and_the_patient_sees_it(void **state)
{
    (void)state;
    char id[ID_TEXT_SIZE];
    create(id, "note", "R", "restricted");
    assert_int_equal(testbed_cli(&bed, &out, &errors, "-i %s/nurse.key record show %s", bed.dir, id), 3);
    assert_int_equal(out.size, 0);
    testbed_expect(&bed, 0, &out, "-i %s/patient.key --json log -n 5", bed.dir);
    assert_non_null(strstr(text(), "denied"));
    assert_non_null(strstr(text(), nurse));
    testbed_expect(&bed, 0, &out, "-i %s/patient.key record show %s", bed.dir, id);
    assert_string_equal(text(), "restricted");
}

static void a_chart_opens_what_the_reader_may_see(void **state)
{
    (void)state;
    testbed_expect(&bed, 0, &out, "-i %s/nurse.key --json record show --patient %s", bed.dir, patient);
    assert_null(strstr(text(), "restricted"));
    testbed_expect(&bed, 0, &out, "-i %s/doctor.key --json record show --patient %s", bed.dir, patient);
    assert_non_null(strstr(text(), "restricted"));
}

static void bad_input_has_its_code_and_changes_nothing(void **state)
{
    (void)state;
    assert_int_equal(testbed_cli(&bed, &out, &errors, "recrd show x"), 2);
    assert_non_null(strstr(said(), "did you mean"));
    assert_int_equal(testbed_cli(&bed, &out, &errors, "-i /nonexistent.key record list %s", patient), 4);
    assert_int_equal(testbed_cli(&bed, &out, &errors,
                                 "-i %s user add --role doctor --hospital 'Hospital 1' --login doctor", bed.admin), 7);
    assert_non_null(strstr(said(), "login name is taken"));
    assert_int_equal(testbed_cli(&bed, &out, &errors, "-i %s/doctor.key record show %s", bed.dir, doctor), 7);
    assert_int_equal(testbed_cli(&bed, &out, &errors, "-i %s/nurse.key user add --role root --hospital X", bed.dir), 3);
    assert_non_null(strstr(said(), "hospital 'X'. The nodes' are: 'Hospital 1'")); /* a slip, perhaps */
    assert_int_equal(testbed_cli(&bed, &out, &errors, "-i %s user add --role= --hospital H", bed.admin), 2);
    assert_int_equal(testbed_cli(&bed, &out, &errors, "-i %s user add --role doctor --hospital H --login=", bed.admin),
                     1);
}

static void programs_get_json_also_for_slips_and_keys(void **state)
{
    (void)state;
    char code[40], shown[80], read[80];
    assert_int_equal(testbed_cli(&bed, &out, &errors, "--json recrd show x"), 2);
    testbed_json(&errors, "error", code, sizeof code);
    assert_string_equal(code, "ERR_USAGE");
    assert_int_equal(testbed_cli(&bed, &out, &errors, "user frobnicate"), 2);
    assert_non_null(strstr(said(), "see 'consilium user --help'"));
    testbed_expect(&bed, 0, &out, "-i %s/doctor.key --json whoami --offline", bed.dir);
    testbed_json(&out, "public_key", shown, sizeof shown);
    testbed_expect(&bed, 0, &out, "--json key public %s/doctor.key", bed.dir);
    testbed_json(&out, "public_key", read, sizeof read);
    assert_string_equal(read, shown);
    assert_int_equal(testbed_cli(&bed, &out, &errors, "key new -o %s/doctor.key", bed.dir), 1);
    assert_non_null(strstr(said(), "exists already")); /* and no passphrase was asked for */
    testbed_expect(&bed, 0, &out, "-i %s/doctor.key whoami --offline", bed.dir);
}

/* Until node 1's status has this exit code: programs and people are told the same, and of all nodes. */
static void await_status(int code, const char *words)
{
    char opening[8], recording[8], name[32];
    int got = -1;
    for (unsigned i = 0; i < TESTBED_PATIENCE_S * 10 && got != code; i++) {
        if (i > 0) usleep(100000);
        got = testbed_cli(&bed, &out, &errors, "--json --via node-1 status");
    }
    assert_int_equal(got, code);
    testbed_json(&out, "opening_possible", opening, sizeof opening);
    testbed_json(&out, "recording_possible", recording, sizeof recording);
    assert_true((strcmp(opening, "true") == 0 && strcmp(recording, "true") == 0) == (code == 0));
    testbed_json(&out, "members.3.name", name, sizeof name);
    assert_string_equal(name, "node-4");
    testbed_expect(&bed, code, &out, "--via node-1 status");
    assert_non_null(strstr(text(), words));
    assert_non_null(strstr(text(), "node-4"));
}

/* With two of four nodes there is no majority of three: nothing is half done. */
static void without_a_majority_there_is_no_quorum(void **state)
{
    (void)state;
    testbed_signal(&bed, 3, SIGKILL);
    testbed_signal(&bed, 4, SIGKILL);
    assert_int_equal(testbed_cli(&bed, &out, &errors, "-i %s/doctor.key --timeout 3 event add %s a b", bed.dir,
                                 patient),
                     5);
    await_status(5, "NOTHING can be opened");
    testbed_start(&bed, 3);
    testbed_wait_ready(&bed, 30);
    testbed_expect(&bed, 0, &out, "-i %s/doctor.key event add %s back again", bed.dir, patient);
    await_status(0, "No further node may fail before work stops");
    testbed_start(&bed, 4);
    testbed_wait_ready(&bed, 30);
}

static void wait_equal(unsigned a, unsigned b)
{
    char path[64], one[256] = "", two[256] = "x";
    for (unsigned i = 0; i < TESTBED_PATIENCE_S * 10; i++) {
        testbed_status(&bed, &out, a);
        snprintf(path, sizeof path, "members.%u.root", a - 1);
        testbed_json(&out, path, one, sizeof one);
        testbed_status(&bed, &out, b);
        snprintf(path, sizeof path, "members.%u.root", b - 1);
        testbed_json(&out, path, two, sizeof two);
        if (strcmp(one, two) == 0) return;
        usleep(100000);
    }
    testbed_fail(&bed, "nodes %u and %u have different roots: %s %s", a, b, one, two);
}

/* Everything but its keys is gone: ledger, records and log come back from the peers. */
static void an_emptied_node_catches_up(void **state)
{
    (void)state;
    char command[600], id[ID_TEXT_SIZE];
    create(id, "note", "N", "before the fire");
    testbed_signal(&bed, 2, SIGTERM);
    testbed_expect(&bed, 0, &out, "-i %s/doctor.key event add %s while away", bed.dir, patient);
    snprintf(command, sizeof command, "rm -rf %s/node-2/state %s/node-2/log", bed.dir, bed.dir);
    assert_int_equal(system(command), 0);
    testbed_start(&bed, 2);
    testbed_wait_ready(&bed, 40);
    wait_equal(1, 2);
    testbed_expect(&bed, 0, &out, "-i %s/doctor.key --via node-2 record show %s", bed.dir, id);
    assert_string_equal(text(), "before the fire");
    testbed_await_log(&bed, 2, "this node votes again"); /* or no second one could be away */
}

/* The log is kept, the derived state thrown away: it is derived again. */
static void a_state_thrown_away_is_derived_again(void **state)
{
    (void)state;
    char command[600];
    testbed_signal(&bed, 3, SIGTERM);
    snprintf(command, sizeof command, "%s/consiliumd rebuild --dir %s/node-3", build(),
             bed.dir);
    assert_int_equal(system(command), 0);
    testbed_start(&bed, 3);
    testbed_wait_ready(&bed, 40);
    wait_equal(1, 3);
}

/* While a node is away the others write more than they keep of the log: it pulls the
 * ledger and derives its state, instead of getting blocks. */
static void a_node_far_behind_pulls_the_ledger(void **state)
{
    (void)state;
    char id[ID_TEXT_SIZE], path[400], *big = malloc(1000001);
    memset(big, 'b', 1000000);
    big[1000000] = '\0';
    testbed_signal(&bed, 4, SIGTERM);
    for (int i = 0; i < 90; i++)
        create(id, "note", "N", big);
    free(big);
    snprintf(path, sizeof path, "%s/content", bed.dir);
    testbed_start(&bed, 4);
    testbed_wait_ready(&bed, 60);
    wait_equal(1, 4);
    assert_true(testbed_log_has(&bed, 4, "caught up"));
    /* Contents come after the ledger: until then this node, asked alone, says that it isn't ready. */
    int code = 5;
    for (unsigned i = 0; i < TESTBED_PATIENCE_S * 10 && code == 5; i++) {
        code = testbed_cli(&bed, &out, &errors, "-i %s/doctor.key --via node-4 record show %s", bed.dir, id);
        usleep(100000);
    }
    if (code != 0) testbed_fail(&bed, "exit %d: %s", code, said());
    assert_int_equal(out.size, 1000000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(content_comes_back_byte_for_byte),
        cmocka_unit_test(standard_input_comes_back),
        cmocka_unit_test(empty_content_is_refused_unless_meant),
        cmocka_unit_test(vital_signs_are_no_note),
        cmocka_unit_test(versions_conflicts_and_history),
        cmocka_unit_test(a_nurse_is_denied_and_the_patient_sees_it),
        cmocka_unit_test(a_chart_opens_what_the_reader_may_see),
        cmocka_unit_test(bad_input_has_its_code_and_changes_nothing),
        cmocka_unit_test(programs_get_json_also_for_slips_and_keys),
        cmocka_unit_test(without_a_majority_there_is_no_quorum),
        cmocka_unit_test(an_emptied_node_catches_up),
        cmocka_unit_test(a_state_thrown_away_is_derived_again),
        cmocka_unit_test(a_node_far_behind_pulls_the_ledger),
    };
    return cmocka_run_group_tests(tests, setup, bed_end);
}
