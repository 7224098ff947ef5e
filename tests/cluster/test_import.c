/* import against real nodes: generated patients, twice; what changed in the file or
 * here meanwhile; what can't be imported; imports that are killed on their way. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/bed.h"
#include "tests/lib/unit.h"

static char doctor[ID_TEXT_SIZE], registrar[ID_TEXT_SIZE];

static int setup(void **state)
{
    (void)state;
    testbed_make(&bed, 4, 1);
    testbed_start_all(&bed);
    testbed_wait_ready(&bed, 60);
    testbed_user(&bed, "doctor", "Hospital 1", "doctor", doctor);
    testbed_user(&bed, "registrar", "Hospital 1", "registrar", registrar);
    return 0;
}

static FILE *create_file(const char *name)
{
    char path[400];
    snprintf(path, sizeof path, "%s/%s", bed.dir, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    return f;
}

static void import(int code, const char *who, const char *options, const char *name)
{
    int got = testbed_cli(&bed, &out, &errors, "-i %s/%s.key --json import %s %s/%s", bed.dir, who, options, bed.dir,
                          name);
    if (got != code) testbed_fail(&bed, "import of %s: exit %d, expected %d\n%s%s", name, got, code, text(), said());
}

static int number(const char *path)
{
    char value[40];
    testbed_json(&out, path, value, sizeof value);
    return atoi(value);
}

static void expect_counts(int created, int updated, int unchanged, int kept)
{
    if (number("created") != created || number("updated") != updated || number("unchanged") != unchanged ||
        number("kept") != kept)
        testbed_fail(&bed, "expected %d created, %d updated, %d unchanged, %d kept:\n%s%s", created, updated, unchanged,
                     kept, text(), said());
}

/* --- patients --- */

static void generated_patients_twice(void **state)
{
    (void)state;
    char command[500], id[ID_TEXT_SIZE], again[ID_TEXT_SIZE];
    snprintf(command, sizeof command, "sh tests/demo/patients.sh %s/patients", bed.dir);
    assert_int_equal(system(command), 0);
    testbed_expect(&bed, 0, &out, "-i %s/registrar.key --json import %s/patients/ada.json %s/patients/jonas.json",
                   bed.dir, bed.dir, bed.dir);
    expect_counts(76, 0, 0, 0);
    testbed_json(&out, "patients.1.id", id, sizeof id);
    testbed_expect(&bed, 0, &out, "-i %s/registrar.key --json import %s/patients/jonas.json", bed.dir, bed.dir);
    expect_counts(0, 0, 38, 0);
    testbed_json(&out, "patients.0.id", again, sizeof again);
    assert_string_equal(id, again);
    testbed_expect(&bed, 0, &out, "-i %s/registrar.key import %s/patients/jonas.json", bed.dir, bed.dir);
    assert_non_null(strstr(text(), "0 created, 38 unchanged"));
    testbed_expect(&bed, 0, &out, "-i %s/registrar.key --json user show %s", bed.dir, id);
    char value[100];
    testbed_json(&out, "name", value, sizeof value);
    assert_string_equal(value, "Jonas Example");
    testbed_json(&out, "hospital", value, sizeof value);
    assert_string_equal(value, "Hospital 1");
    testbed_json(&out, "hospital_number", value, sizeof value);
    assert_string_equal(value, "H-6f0a2c1e-0002");
}

/* --- what changes --- */

#define HEAD "{\"resourceType\": \"Bundle\", \"type\": \"collection\", \"entry\": [\n"                                   \
             "  {\"resource\": {\"resourceType\": \"Patient\", \"id\": \"small\", \"name\": [{\"family\": \"Small\"}]}}"
#define BATCH_OF(type) "{\"resourceType\":\"Bundle\",\"type\":\"batch\",\"entry\":["                                        \
                       "{\"resource\":{\"resourceType\":\"" type "\",\"id\":\"z\"}}]}"
#define WEIGHT(value) ",\n  {\"resource\": {\"resourceType\": \"Observation\", \"id\": \"w\", \"value\": " value "}}"
#define NOTE(rest) ",\n  {\"resource\": {\"resourceType\": \"DocumentReference\", \"id\": \"n\"" rest "}}"
#define TAIL "]}"

static char patient[ID_TEXT_SIZE], weight[ID_TEXT_SIZE], note[ID_TEXT_SIZE];

/* The id of the patient's only record of that kind. */
static void find_record(char id[static ID_TEXT_SIZE], const char *kind)
{
    char path[30], value[100];
    testbed_expect(&bed, 0, &out, "-i %s/registrar.key --json record list %s", bed.dir, patient);
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%d.kind", i);
        testbed_json(&out, path, value, sizeof value);
        if (strcmp(value, kind) != 0) continue;
        snprintf(path, sizeof path, "%d.record", i);
        testbed_json(&out, path, id, ID_TEXT_SIZE);
        return;
    }
    testbed_fail(&bed, "no %s in %s", kind, text());
}

static void content_is_as_in_the_file(void **state)
{
    (void)state;
    write_file("small.json", bytes_text(HEAD WEIGHT("1.50") NOTE("") TAIL));
    import(0, "registrar", "", "small.json");
    expect_counts(3, 0, 0, 0);
    testbed_json(&out, "patients.0.id", patient, sizeof patient);
    find_record(weight, "Observation");
    find_record(note, "DocumentReference");
    testbed_expect(&bed, 3, &out, "-i %s/registrar.key record show %s", bed.dir, weight); /* filed, not read */
    testbed_expect(&bed, 0, &out, "-i %s/registrar.key team add %s %s", bed.dir, patient, doctor);
    testbed_expect(&bed, 0, &out, "-i %s/doctor.key record show %s", bed.dir, weight);
    assert_string_equal(text(), "{\"resourceType\":\"Observation\",\"id\":\"w\",\"value\":1.50}");
}

static void changed_content_makes_a_version(void **state)
{
    (void)state;
    write_file("small.json", bytes_text("\xef\xbb\xbf" HEAD "\t" WEIGHT("1.51") NOTE("\n") TAIL "\n"));
    import(0, "registrar", "", "small.json");
    expect_counts(0, 1, 2, 0);
    testbed_expect(&bed, 0, &out, "-i %s/doctor.key record show %s", bed.dir, weight);
    assert_non_null(strstr(text(), "1.51"));
    testbed_expect(&bed, 0, &out, "-i %s/doctor.key record show %s --version 1", bed.dir, weight);
    assert_non_null(strstr(text(), "1.50"));
    import(0, "registrar", "", "small.json");
    expect_counts(0, 0, 3, 0);
}

static void what_a_doctor_changed_is_kept(void **state)
{
    (void)state;
    write_file("amended", bytes_text("{\"resourceType\":\"Observation\",\"value\":70}"));
    testbed_expect(&bed, 0, &out, "-i %s/doctor.key record update %s --base 2 --yes %s/amended", bed.dir, weight,
                   bed.dir);
    testbed_expect(&bed, 0, &out, "-i %s/doctor.key record delete %s --yes", bed.dir, note);
    import(0, "registrar", "", "small.json");
    expect_counts(0, 0, 1, 1);
    assert_int_equal(number("deleted"), 1);
    testbed_expect(&bed, 0, &out, "-i %s/doctor.key record show %s", bed.dir, weight);
    assert_non_null(strstr(text(), "70"));
    import(0, "registrar", "--replace", "small.json");
    expect_counts(0, 1, 1, 0);
    assert_int_equal(number("deleted"), 1);
    testbed_expect(&bed, 0, &out, "-i %s/doctor.key record show %s", bed.dir, weight);
    assert_non_null(strstr(text(), "1.51"));
}

/* --- what can't be imported --- */

static void the_role_decides(void **state)
{
    (void)state;
    write_file("other.json", bytes_text(BATCH_OF("Patient")));
    import(3, "doctor", "", "other.json");
    assert_non_null(strstr(said(), "user.create was denied"));
}

static void bad_files_are_named(void **state)
{
    (void)state;
    write_file("broken.json", bytes_text(HEAD WEIGHT("1.5.0") TAIL));
    import(1, "registrar", "", "broken.json");
    assert_non_null(strstr(said(), "broken.json: line 3: "));
    assert_non_null(strstr(said(), "nothing of it was imported"));
    assert_int_equal(number("files_failed"), 1);
    write_file("nobody.json", bytes_text(BATCH_OF("Practitioner")));
    import(1, "registrar", "", "nobody.json"); /* nothing was imported at all */
    assert_non_null(strstr(said(), "no Patient among its 1 resources"));
    testbed_expect(&bed, 0, &out, "-i %s/registrar.key --json import %s/nobody.json %s/small.json", bed.dir, bed.dir,
                   bed.dir);
    assert_int_equal(number("files_without_patient"), 1);
    import(1, "registrar", "", "missing.json");
    assert_non_null(strstr(said(), "missing.json"));
    testbed_expect(&bed, 1, &out, "-i %s/registrar.key --json import %s/broken.json %s/small.json", bed.dir, bed.dir,
                   bed.dir);
    assert_int_equal(number("unchanged"), 2); /* a bad file doesn't keep the others from it */
}

static void resources_left_out_are_named(void **state)
{
    (void)state;
    FILE *f = create_file("large.json");
    fputs(HEAD ",\n{\"resource\":{\"resourceType\":\"Binary\",\"id\":\"big\",\"data\":\"", f);
    for (int i = 0; i < 1100; i++) fprintf(f, "%01000d", 0);
    fputs("\"}},\n{\"resource\":{\"resourceType\":\"Observation\",\"id\":\"x\",\"subject\":{\"reference\":\"Patient/else\"}}}" TAIL, f);
    assert_int_equal(fclose(f), 0);
    import(1, "registrar", "", "large.json");
    assert_int_equal(number("skipped"), 2);
    assert_int_equal(number("unchanged"), 1);
    assert_non_null(strstr(said(), "line 3: Binary big: it is larger than a record holds"));
    assert_non_null(strstr(said(), "line 4: Observation x: it is about Patient/else"));
}

/* --- killed on the way --- */

#define MANY 2500

static void write_many(const char *id)
{
    FILE *f = create_file("many.json");
    fprintf(f, "{\"resourceType\":\"Bundle\",\"type\":\"transaction\",\"entry\":["
               "{\"resource\":{\"resourceType\":\"Patient\",\"id\":\"%s\"}}", id);
    for (int i = 1; i < MANY; i++)
        fprintf(f, ",\n{\"resource\":{\"resourceType\":\"Observation\",\"id\":\"%d\","
                   "\"valueQuantity\":{\"value\":%d.%d0}}}", i, i, i % 10);
    fputs("]}", f);
    assert_int_equal(fclose(f), 0);
}

static pid_t start_import(void)
{
    char program[400], key[400], file[400];
    snprintf(program, sizeof program, "%s/consilium", build());
    snprintf(key, sizeof key, "%s/registrar.key", bed.dir);
    snprintf(file, sizeof file, "%s/many.json", bed.dir);
    pid_t pid = fork();
    if (pid != 0) return pid;
    int null = open("/dev/null", O_RDWR);
    dup2(null, 1);
    dup2(null, 2);
    execl(program, program, "--cluster", bed.genesis, "-i", key, "import", file, (char *)NULL);
    _exit(127);
}

static unsigned ledger_size_now(void)
{
    testbed_expect(&bed, 0, &out, "-i %s/registrar.key --json status", bed.dir);
    return (unsigned)number("members.0.size");
}

/* Each life does a part; together exactly all of it, nothing twice. */
static void a_killed_import_goes_on(void **state)
{
    (void)state;
    static const useconds_t lives_us[] = {60000, 150000, 250000, 400000};
    enum { LIVES = sizeof lives_us / sizeof lives_us[0] };
    unsigned killed = 0, size = ledger_size_now();
    write_many("m");
    /* Longer where the machine is slow; what a life asks before its first record makes a few entries, too. */
    for (size_t i = 0; i < LIVES || ledger_size_now() <= size + 10 * i; i++) {
        int status;
        pid_t pid = start_import();
        usleep(lives_us[i % LIVES] * (1 + (useconds_t)(i / LIVES)));
        kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        killed += WIFSIGNALED(status) ? 1 : 0;
    }
    assert_true(killed > 0);
    import(0, "registrar", "", "many.json");
    int created = number("created"), unchanged = number("unchanged");
    assert_int_equal(created + unchanged, MANY);
    assert_true(created < MANY); /* the lives before did something */
    import(0, "registrar", "", "many.json");
    expect_counts(0, 0, MANY, 0);
}

/* The leader dies under an import: it goes on through another node. */
static void a_leader_dies_meanwhile(void **state)
{
    (void)state;
    char name[64];
    testbed_expect(&bed, 0, &out, "-i %s/registrar.key --json status", bed.dir);
    unsigned leader = 0;
    for (unsigned i = 1; i <= 4; i++) {
        snprintf(name, sizeof name, "members.%u.leads", i - 1);
        char leads[10];
        testbed_json(&out, name, leads, sizeof leads);
        if (strcmp(leads, "true") == 0) leader = i;
    }
    assert_true(leader > 0);
    write_many("n");
    int status;
    pid_t pid = start_import();
    usleep(300000);
    testbed_signal(&bed, leader, SIGKILL);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    import(0, "registrar", "", "many.json");
    expect_counts(0, 0, MANY, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(generated_patients_twice),
        cmocka_unit_test(content_is_as_in_the_file),
        cmocka_unit_test(changed_content_makes_a_version),
        cmocka_unit_test(what_a_doctor_changed_is_kept),
        cmocka_unit_test(the_role_decides),
        cmocka_unit_test(bad_files_are_named),
        cmocka_unit_test(resources_left_out_are_named),
        cmocka_unit_test(a_killed_import_goes_on),
        cmocka_unit_test(a_leader_dies_meanwhile),
    };
    return cmocka_run_group_tests(tests, setup, bed_end);
}
